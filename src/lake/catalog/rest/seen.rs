//! What the server has told of tables and views: where each was last, so that it need not be told again, and what it said,
//! until somebody takes it. The lake's own cache keeps what was parsed.

use std::collections::HashMap;
use std::hash::Hasher;
use std::sync::{MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::Value;
use xxhash_rust::xxh3::Xxh3;

use super::client::{Answer, Request, unreadable};
use super::{Rest, Shelf};
use crate::error::Result;
use crate::lake::shown;
use crate::metastore::{TableKey, TableRow};

/// Of answers that nobody has asked for yet.
const KEPT_BYTES_MAX: usize = 64 << 20;

#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The newest of each name, so that it need not be told again.
    pub(super) newest: HashMap<TableKey, Newest>,
    /// Metadata by location, until somebody takes them.
    answers: HashMap<String, Bytes>,
    bytes: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Newest {
    etag: Option<String>,
    pub(super) location: String,
}

impl Rest {
    /// Asks for a table or a view and keeps what it is told until somebody takes it.
    pub(super) async fn look(&self, shelf: Shelf, key: &TableKey) -> Result<Option<TableRow>> {
        let known = self.seen().newest.get(key).cloned();
        let mut request = Request::get(self.path(shelf, key).await?);
        request.known = known.as_ref().and_then(|known| known.etag.as_deref());
        let answer = self.client.read(request).await?;
        let location = match (answer.status.as_u16(), known) {
            (304, Some(known)) => known.location,
            (404, _) => {
                self.seen().newest.remove(key);
                return Ok(None);
            }
            (200, _) => {
                self.keys(shelf, key, &answer).await?;
                self.told(key, &answer)?
            }
            _ => return Err(answer.refused(&format!("a look at {}", shown(key)))),
        };
        let (namespace, name) = (key.namespace.clone(), key.name.clone());
        Ok(Some(TableRow { namespace, name, location, kind: shelf.kind() }))
    }

    /// What an answer says of a table or a view; its location.
    fn told(&self, key: &TableKey, answer: &Answer) -> Result<String> {
        let mut said = answer.json()?;
        let metadata = said.get_mut("metadata").map(Value::take).filter(Value::is_object);
        let mut metadata = metadata.ok_or_else(unreadable)?;
        if let Some(properties) = metadata.get_mut("properties").and_then(Value::as_object_mut) {
            // Nessie's word for whatever was last done to any table
            properties.retain(|name, _| !name.starts_with("nessie.commit."));
        }
        let bytes = Bytes::from(serde_json::to_vec(&metadata).map_err(|e| unreadable().with_source(e))?);
        let location = match said.get("metadata-location").and_then(Value::as_str) {
            Some(file) if self.store.path(file).is_ok() => file.to_string(),
            // some name no file, or one name for whatever is newest
            Some(_) | None => {
                let mut hash = Xxh3::new();
                hash.write(&bytes);
                format!("rest:{:016x}", hash.finish())
            }
        };
        let mut seen = self.seen();
        seen.keep(&location, bytes);
        let newest = Newest { etag: answer.etag.clone(), location: location.clone() };
        seen.newest.insert(key.clone(), newest);
        Ok(location)
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn keep(&mut self, location: &str, bytes: Bytes) {
        if self.bytes.saturating_add(bytes.len()) > KEPT_BYTES_MAX {
            // they are asked for again
            self.answers.clear();
            self.bytes = 0;
        }
        self.bytes = self.bytes.saturating_add(bytes.len());
        if let Some(before) = self.answers.insert(location.to_string(), bytes) {
            self.bytes = self.bytes.saturating_sub(before.len());
        }
    }

    pub(super) fn take(&mut self, location: &str) -> Option<Bytes> {
        let bytes = self.answers.remove(location)?;
        self.bytes = self.bytes.saturating_sub(bytes.len());
        Some(bytes)
    }
}
