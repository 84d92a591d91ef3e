//! A swap → what the server is asked for. Of one table it is asked with conditions; several tables are changed together
//! only where its transactions are what they should be. A change is sent once: whether it is sent again the commit decides.

use std::sync::atomic::Ordering;

use iceberg::TableRequirement;
use object_store::ObjectStoreExt;
use serde_json::{Value, json};

use super::client::{Answer, Lost, Request};
use super::names::levels;
use super::{Rest, Shelf, difference};
use crate::error::{Error, Kind, Result};
use crate::lake::catalog::Catalog;
use crate::lake::shown;
use crate::metastore::{RowKind, Swap, SwapError, Swapped, TableKey};

impl Rest {
    pub(super) async fn change(&self, swaps: &[Swap]) -> Result<Swapped, SwapError> {
        if let Some(refused) = self.refusal(swaps) {
            return Err(SwapError::Before(refused));
        }
        match swaps {
            [] => Ok(Swapped::Done),
            [one] => self.one(one).await,
            several => self.several(several).await,
        }
    }

    async fn one(&self, swap: &Swap) -> Result<Swapped, SwapError> {
        match swap {
            Swap::Update { table, from, to } => match self.stands(table, from).await? {
                Some(Shelf::Tables) => self.change_table(table, swap).await,
                Some(Shelf::Views) => self.replace_view(table, from, to).await,
                None => Ok(Swapped::Moved),
            },
            Swap::Insert { table, .. } => self.change_table(table, swap).await,
            Swap::InsertView { table, to } => self.create_view(table, to).await,
            Swap::Delete { table, from } => {
                let Some(shelf) = self.stands(table, from).await? else { return Ok(Swapped::Moved) };
                let mut request = Request::delete(self.path(shelf, table).await.map_err(SwapError::Before)?);
                if matches!(shelf, Shelf::Tables) {
                    request.query.push(("purgeRequested", "false".into()));
                }
                self.send(request, &format!("to drop {}", shown(table))).await
            }
            Swap::Rename { table, at, to } => {
                let Some(shelf) = self.stands(table, at).await? else { return Ok(Swapped::Moved) };
                let body = json!({"source": identifier(table), "destination": identifier(to)});
                let request = Request::post(format!("{}/rename", shelf.word()), &body);
                self.send(request, &format!("to rename {}", shown(table))).await
            }
            Swap::Hold { table, at } => {
                let row = self.row(table).await.map_err(SwapError::Before)?;
                let stands = row.map(|row| row.location) == *at;
                Ok(if stands { Swapped::Done } else { Swapped::Moved })
            }
            Swap::CreateNamespace { namespace, .. } => {
                let made = self.create_namespace(namespace).await.map_err(SwapError::Before)?;
                Ok(if made { Swapped::Done } else { Swapped::Moved })
            }
            Swap::DropNamespace { namespace, .. } => match self.drop_namespace(namespace).await {
                Ok(()) => Ok(Swapped::Done),
                Err(error) if error.kind() == Kind::UndefinedSchema => Ok(Swapped::Done),
                Err(error) => Err(SwapError::Before(error)),
            },
        }
    }

    async fn change_table(&self, table: &TableKey, swap: &Swap) -> Result<Swapped, SwapError> {
        let body = self.asked_for(swap).await.map_err(SwapError::Before)?;
        let path = self.path(Shelf::Tables, table).await.map_err(SwapError::Before)?;
        // before it is sent: an error behind that would say that nothing was
        let wanted = if let Swap::Insert { to, .. } = swap {
            Some(self.parsed(table, to).await.map_err(SwapError::Before)?)
        } else {
            None
        };
        let what = format!("the change of table {}", shown(table));
        let (swapped, answer) = self.sent(Request::post(path.clone(), &body), &what).await?;
        let Some(wanted) = wanted.filter(|_| swapped == Swapped::Done) else { return Ok(swapped) };
        // some make a table of a version that they know of one that they do not
        let made = answer.json().ok().and_then(|said| said.pointer("/metadata/format-version").and_then(Value::as_u64));
        if made.is_some_and(|made| made != u64::from(difference::number(&wanted))) {
            self.send(Request::delete(path), &what).await?;
            let text = format!("this lake's catalog cannot hold table {}", shown(table));
            let error = Error::new(Kind::Unsupported, text);
            return Err(SwapError::Before(
                error.with_hint("It does not know the format version of the table: make one of version 2."),
            ));
        }
        Ok(swapped)
    }

    /// Only where the server's transactions are what they should be.
    async fn several(&self, swaps: &[Swap]) -> Result<Swapped, SwapError> {
        let mut changes = vec![];
        for swap in swaps {
            if let Swap::Update { table, from: at, .. } | Swap::Hold { table, at: Some(at) } = swap
                && self.stands(table, at).await?.is_none()
            {
                return Ok(Swapped::Moved);
            }
            changes.push(self.asked_for(swap).await.map_err(SwapError::Before)?);
        }
        let known = self.client.can("POST /v1/{prefix}/transactions/commit", true).await;
        if !known.map_err(SwapError::Before)? {
            return Err(SwapError::Before(several_at_once()));
        }
        let body = json!({"table-changes": changes});
        self.send(Request::post("transactions/commit".into(), &body), "the change of several tables").await
    }

    /// How things stood a moment ago. Of a table's change the server looks again; a drop or a new name has no condition.
    async fn stands(&self, table: &TableKey, at: &str) -> Result<Option<Shelf>, SwapError> {
        let row = self.row(table).await.map_err(SwapError::Before)?;
        Ok(row.filter(|row| row.location == at).map(|row| match row.kind {
            RowKind::Table => Shelf::Tables,
            RowKind::View => Shelf::Views,
        }))
    }

    /// Of one table.
    async fn asked_for(&self, swap: &Swap) -> Result<Value> {
        let (table, requirements, updates, new) = match swap {
            Swap::Insert { table, to } => {
                let new = self.parsed(table, to).await?;
                (table, vec![TableRequirement::NotExist], difference::from_nothing(&new)?, new)
            }
            Swap::Update { table, from, to } => {
                let (base, new) = (self.parsed(table, from).await?, self.parsed(table, to).await?);
                if base.uuid() != new.uuid() {
                    return Err(several_at_once());
                }
                let mut requirements = difference::requirements(&base);
                requirements.extend(difference::of_refs(&base, &new)?);
                (table, requirements, difference::updates(&base, &new)?, new)
            }
            Swap::Hold { table, at: Some(at) } => {
                let base = self.parsed(table, at).await?;
                (table, difference::requirements(&base), vec![], base)
            }
            Swap::InsertView { .. }
            | Swap::Delete { .. }
            | Swap::Rename { .. }
            | Swap::Hold { at: None, .. }
            | Swap::CreateNamespace { .. }
            | Swap::DropNamespace { .. } => return Err(several_at_once()),
        };
        let mut updates =
            serde_json::to_value(updates).map_err(|e| Error::internal("updates as JSON").with_source(e))?;
        for update in updates.as_array_mut().into_iter().flatten() {
            // not in the specification any more, and some will not do without
            if update.get("action").is_some_and(|action| action == "add-schema") {
                update["last-column-id"] = json!(new.last_column_id());
            }
        }
        Ok(json!({"identifier": identifier(table), "requirements": requirements, "updates": updates}))
    }

    /// A change, sent once. 409 is a conflict, or ours sent before; what the server does not say is told as unknown.
    pub(super) async fn send(&self, request: Request<'_>, what: &str) -> Result<Swapped, SwapError> {
        self.sent(request, what).await.map(|(swapped, _)| swapped)
    }

    async fn sent(&self, request: Request<'_>, what: &str) -> Result<(Swapped, Answer), SwapError> {
        let answer = match self.client.ask(request).await {
            Ok(answer) => answer,
            Err(Lost::Before(error)) => return Err(SwapError::Before(error)),
            Err(Lost::Unknown(error)) => return Err(SwapError::Unknown(error)),
        };
        self.changes.fetch_add(1, Ordering::Relaxed);
        match answer.status.as_u16() {
            200..300 => Ok((Swapped::Done, answer)),
            404 | 409 => Ok((Swapped::Moved, answer)),
            500.. => Err(SwapError::Unknown(answer.refused(what))),
            _ => Err(SwapError::Before(answer.refused(what))),
        }
    }

    /// Drafts that became the server's own metadata. One that stays is the orphan sweeper's.
    pub(super) async fn drop_drafts(&self, swaps: &[Swap]) {
        for swap in swaps {
            let (Swap::Insert { to, .. } | Swap::InsertView { to, .. } | Swap::Update { to, .. }) = swap else {
                continue;
            };
            let Ok(path) = self.store.path(to) else { continue };
            if let Err(error) = self.store.objects().delete(&path).await {
                tracing::debug!(draft = to, %error, "a draft of a table's metadata stays");
            }
        }
    }
}

pub(super) fn identifier(table: &TableKey) -> Value {
    json!({"namespace": levels(&table.namespace).collect::<Vec<_>>(), "name": table.name})
}

pub(super) fn several_at_once() -> Error {
    Error::new(Kind::Unsupported, "this lake's catalog cannot make several such changes at once").with_hint(
        "A REST catalog changes one table at a time: commit each change by itself. Where the server's transactions are \
         atomic, an administrator sets atomic_transactions in [rest] of the source's file.",
    )
}
