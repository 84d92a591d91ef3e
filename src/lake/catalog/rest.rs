//! Iceberg's REST catalog. The rest of the lake says where a table's metadata were and where they shall be; here that
//! becomes requirements and updates, and the server makes the new metadata itself: the file at the new location is only a
//! draft, and goes. Leases and checkpoints stay in the metastore, since no server keeps them in its transactions: what a
//! position must be is part of what the table must be.

mod change;
mod client;
mod difference;
mod keys;
mod names;
mod seen;
mod view;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use iceberg::spec::TableMetadata;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::cache::{Cache, Weighed};
use super::super::commit::unknown_outcome;
use super::super::{Described, Store, metadata, shown};
use super::Catalog;
use crate::error::{Error, Kind, Result};
use crate::metastore::{
    Also, Metastore, RowKind, Swap, SwapError, Swapped, TableKey, TableRow, schema_in_use, undefined_schema,
};
use crate::secret::Secret;
use change::several_at_once;
use client::{Client, Lost, Request, unreadable};
use names::{encoded, joined, levels};
use seen::Seen;

/// `[rest]` of a lake's file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Of the source's file itself.
    #[serde(skip)]
    pub uri: String,
    #[serde(skip)]
    pub tls_ca_file: Option<PathBuf>,
    #[serde(skip)]
    pub timeout_ms: u64,
    /// Which of the server's warehouses; many have one.
    pub warehouse: Option<String>,
    /// A bearer token, where somebody else makes them.
    pub token: Option<Secret<String>>,
    pub token_env: Option<String>,
    /// OAuth2 client credentials.
    pub client_id: Option<String>,
    pub client_secret: Option<Secret<String>>,
    pub client_secret_env: Option<String>,
    /// Where they become tokens; the server's own `/v1/oauth/tokens` where absent.
    pub oauth2_server_uri: Option<String>,
    /// `catalog` where absent.
    pub scope: Option<String>,
    /// The server's `/transactions/commit` changes all tables or none, whoever else writes: Nessie's does, that of Iceberg's
    /// reference server does not. Without it a transaction changes one table.
    pub atomic_transactions: bool,
    /// Asks for keys to each table's files.
    pub vended_credentials: bool,
}

/// What others make and drop is looked for this often; the rows of a table that is known are as they are at each statement.
const LOOK_EVERY: Duration = Duration::from_secs(10);
const UNHEARD: Duration = Duration::from_secs(6 * 3600);
const AT_ONCE: usize = 16;
/// Of namespaces within each other.
const LEVELS_MAX: usize = 8;
/// Of one list: a server that always has another page has no end. Each table is looked at, so that more could not be served.
const PAGES_MAX: usize = 10_000;
const NAMES_MAX: usize = 100_000;
const PAGE: &str = "1000";

#[derive(Debug)]
pub(in crate::lake) struct Rest {
    client: Arc<Client>,
    name: String,
    store: Store,
    cache: Parsed,
    metastore: Arc<Metastore>,
    atomic: bool,
    vended: bool,
    seen: Mutex<Seen>,
    /// Of our own.
    changes: AtomicU64,
    began: Instant,
}

/// The lake's cache of metadata files.
struct Parsed(Cache);

/// Something that is kept by name in a namespace.
#[derive(Clone, Copy)]
enum Shelf {
    Tables,
    Views,
}

impl Shelf {
    fn word(self) -> &'static str {
        match self {
            Self::Tables => "tables",
            Self::Views => "views",
        }
    }

    fn kind(self) -> RowKind {
        match self {
            Self::Tables => RowKind::Table,
            Self::Views => RowKind::View,
        }
    }
}

impl Rest {
    /// Connects nothing yet.
    pub(in crate::lake) fn new(
        config: &Config,
        name: &str,
        store: Store,
        cache: Cache,
        metastore: Arc<Metastore>,
    ) -> Result<Self> {
        Ok(Self {
            client: Arc::new(Client::new(config)?),
            name: name.into(),
            store,
            cache: Parsed(cache),
            metastore,
            atomic: config.atomic_transactions,
            vended: config.vended_credentials,
            seen: Mutex::default(),
            changes: AtomicU64::new(0),
            began: Instant::now(),
        })
    }

    // --- names

    async fn namespace_path(&self, namespace: &str) -> Result<String> {
        Ok(format!("namespaces/{}", self.client.settings().await?.namespace(namespace)))
    }

    async fn path(&self, shelf: Shelf, key: &TableKey) -> Result<String> {
        let namespace = self.namespace_path(&key.namespace).await?;
        Ok(format!("{namespace}/{}/{}", shelf.word(), encoded(&key.name)))
    }

    async fn has_views(&self) -> Result<bool> {
        self.client.can("GET /v1/{prefix}/namespaces/{namespace}/views", false).await
    }

    /// All pages of a list; `None` where there is no such namespace.
    async fn list(&self, path: &str, mut query: Vec<(&'static str, String)>, of: &str) -> Result<Option<Vec<Value>>> {
        let mut all = vec![];
        let mut page = String::new();
        query.push(("pageSize", PAGE.into()));
        for _ in 0..PAGES_MAX {
            let mut request = Request::get(path.into());
            request.query.clone_from(&query);
            request.query.push(("pageToken", page.clone()));
            let answer = self.client.read(request).await?;
            if answer.status.as_u16() == 404 {
                return Ok(None);
            }
            if !answer.status.is_success() {
                return Err(answer.refused("a list of names"));
            }
            let mut said = answer.json()?;
            match said.get_mut(of).map(Value::take) {
                Some(Value::Array(names)) => all.extend(names),
                _ => return Err(unreadable()),
            }
            if all.len() > NAMES_MAX {
                break;
            }
            match said.get("next-page-token").and_then(Value::as_str) {
                Some(next) if !next.is_empty() && next != page => page = next.to_string(),
                _ => return Ok(Some(all)),
            }
        }
        let text = format!("the lake's catalog lists more than {NAMES_MAX} names in one place");
        Err(Error::new(Kind::TooLarge, text))
    }

    /// Whether there is a namespace, as the server says it now.
    async fn has_namespace(&self, namespace: &str) -> Result<bool> {
        let answer = self.client.read(Request::get(self.namespace_path(namespace).await?)).await?;
        match answer.status.as_u16() {
            200..300 => Ok(true),
            404 => Ok(false),
            _ => Err(answer.refused(&format!("a look at schema {namespace}"))),
        }
    }

    /// What became of a change of a namespace whose answer was lost, as far as a look can tell: `Ok` where it is as it was to
    /// be, whoever made it so.
    async fn looked_up(&self, namespace: &str, there: bool, lost: Error) -> Result<()> {
        match self.has_namespace(namespace).await {
            Ok(is) if is == there => Ok(()),
            Ok(_) => Err(lost),
            Err(error) => {
                let what = format!("the change of schema {namespace}");
                Err(unknown_outcome(&what).with_source(error))
            }
        }
    }

    /// Those right below one, the outermost where that is none.
    async fn children(&self, parent: Option<&str>) -> Result<Vec<String>> {
        let query = match parent {
            // the separator is encoded as it is
            Some(parent) => vec![("parent", self.client.settings().await?.plain(parent))],
            None => vec![],
        };
        let listed = self.list("namespaces", query, "namespaces").await?.unwrap_or_default();
        let mut names = vec![];
        for levels in listed {
            let levels: Vec<String> = serde_json::from_value(levels).map_err(|e| unreadable().with_source(e))?;
            let levels: Vec<&str> = levels.iter().map(String::as_str).collect();
            match joined(&levels) {
                Some(name) => names.push(name),
                None => tracing::debug!(?levels, "a namespace is left out, whose levels have dots in their names"),
            }
        }
        // some answer the whole tree
        let depth = parent.map_or(0, |parent| levels(parent).count());
        names.retain(|name| {
            let below = parent.is_none_or(|parent| name.strip_prefix(parent).is_some_and(|rest| rest.starts_with('.')));
            below && levels(name).count() == depth + 1
        });
        Ok(names)
    }

    async fn names(&self, shelf: Shelf, namespace: &str) -> Result<Vec<TableKey>> {
        let path = format!("{}/{}", self.namespace_path(namespace).await?, shelf.word());
        let listed = self.list(&path, vec![], "identifiers").await?.unwrap_or_default();
        let name = |each: Value| each.get("name").and_then(Value::as_str).map(str::to_string);
        let key = |name| TableKey { catalog: self.name.clone(), namespace: namespace.into(), name };
        Ok(listed.into_iter().filter_map(name).map(key).collect())
    }

    /// As the lake reads it, and with the same cache.
    async fn parsed(&self, key: &TableKey, location: &str) -> Result<Arc<TableMetadata>> {
        let read = async {
            let bytes = match self.metadata(key, location).await? {
                Some(bytes) => bytes,
                None => self.store.read(location).await?,
            };
            let (parsed, beyond) = metadata::parse(key, &bytes)?;
            let described = Described { metadata: Arc::new(parsed), beyond: Arc::new(beyond) };
            Ok(Weighed { parsed: Arc::new(described), bytes: bytes.len() as u64 * 2 })
        };
        Ok(Arc::clone(&self.cache.0.get(location, read).await?.metadata))
    }
}

#[async_trait]
impl Catalog for Rest {
    /// Moves with each change of ours, and every few seconds, since the server tells of nothing.
    async fn revision(&self) -> Result<Option<u64>> {
        let looks = self.began.elapsed().as_secs() / LOOK_EVERY.as_secs();
        Ok(Some(self.changes.load(Ordering::Relaxed).wrapping_mul(1 << 32).wrapping_add(looks)))
    }

    async fn tables(&self) -> Result<Vec<TableRow>> {
        let shelves: &[Shelf] = if self.has_views().await? { &[Shelf::Tables, Shelf::Views] } else { &[Shelf::Tables] };
        let mut rows = vec![];
        let namespaces = self.namespaces().await?;
        for shelf in shelves {
            let lists = namespaces.iter().map(|namespace| self.names(*shelf, namespace)).collect::<Vec<_>>();
            let keys: Vec<Vec<TableKey>> = futures::stream::iter(lists).buffered(AT_ONCE).try_collect().await?;
            let looks = keys.into_iter().flatten().map(|key| async move {
                match self.look(*shelf, &key).await {
                    Err(error) if error.kind() != Kind::SourceUnreachable => {
                        tracing::warn!(table = shown(&key), error = ?error, "a table of a catalog is left out");
                        Ok(None)
                    }
                    looked => looked,
                }
            });
            let looks = looks.collect::<Vec<_>>();
            let found: Vec<Option<TableRow>> = futures::stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
            rows.extend(found.into_iter().flatten());
        }
        rows.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        Ok(rows)
    }

    async fn namespaces(&self) -> Result<Vec<String>> {
        let mut all = self.children(None).await?;
        let mut level = all.clone();
        for _ in 1..LEVELS_MAX {
            if level.is_empty() {
                break;
            }
            let below = level.iter().map(|parent| self.children(Some(parent))).collect::<Vec<_>>();
            let below: Vec<Vec<String>> = futures::stream::iter(below).buffered(AT_ONCE).try_collect().await?;
            level = below.into_iter().flatten().collect();
            all.extend(level.iter().cloned());
        }
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    async fn create_namespace(&self, namespace: &str) -> Result<bool> {
        let body = json!({"namespace": levels(namespace).collect::<Vec<_>>(), "properties": {}});
        let what = format!("to make schema {namespace}");
        let answer = self.client.ask(Request::post("namespaces".into(), &body)).await;
        self.changes.fetch_add(1, Ordering::Relaxed);
        match answer {
            Ok(answer) => match answer.status.as_u16() {
                200..300 => Ok(true),
                409 => Ok(false),
                500.. => self.looked_up(namespace, true, answer.refused(&what)).await.map(|()| true),
                _ => Err(answer.refused(&what)),
            },
            Err(Lost::Before(error)) => Err(error),
            Err(Lost::Unknown(error)) => self.looked_up(namespace, true, error).await.map(|()| true),
        }
    }

    async fn drop_namespace(&self, namespace: &str) -> Result<()> {
        // some drop what is not empty
        let mut in_use = !self.names(Shelf::Tables, namespace).await?.is_empty();
        if !in_use && self.has_views().await? {
            in_use = !self.names(Shelf::Views, namespace).await?.is_empty();
        }
        if in_use || !self.children(Some(namespace)).await?.is_empty() {
            return Err(schema_in_use(namespace));
        }
        let request = Request::delete(self.namespace_path(namespace).await?);
        let what = format!("to drop schema {namespace}");
        let answer = self.client.ask(request).await;
        self.changes.fetch_add(1, Ordering::Relaxed);
        match answer {
            Ok(answer) => match answer.status.as_u16() {
                200..300 => Ok(()),
                404 => Err(undefined_schema(namespace)),
                409 => Err(schema_in_use(namespace)),
                500.. => self.looked_up(namespace, false, answer.refused(&what)).await,
                _ => Err(answer.refused(&what)),
            },
            Err(Lost::Before(error)) => Err(error),
            Err(Lost::Unknown(error)) => self.looked_up(namespace, false, error).await,
        }
    }

    async fn row(&self, name: &TableKey) -> Result<Option<TableRow>> {
        match self.look(Shelf::Tables, name).await? {
            Some(row) => Ok(Some(row)),
            None if self.has_views().await? => self.look(Shelf::Views, name).await,
            None => Ok(None),
        }
    }

    /// As [`Catalog::row`], without a look at the views.
    async fn location(&self, table: &TableKey) -> Result<Option<String>> {
        Ok(self.look(Shelf::Tables, table).await?.map(|row| row.location))
    }

    /// The server keeps its own.
    async fn previous_location(&self, _table: &TableKey, _location: &str) -> Result<Option<String>> {
        Ok(None)
    }

    fn hands_out(&self) -> bool {
        true
    }

    async fn metadata(&self, name: &TableKey, location: &str) -> Result<Option<Bytes>> {
        if let Some(bytes) = self.seen().take(location) {
            return Ok(Some(bytes));
        }
        let newest = self.seen().newest.get(name).is_some_and(|newest| newest.location == location);
        if newest {
            // told before, and taken since
            self.seen().newest.remove(name);
            let row = self.row(name).await?;
            if row.is_some_and(|row| row.location == location) {
                return Ok(self.seen().take(location));
            }
        }
        // a draft, or what was newest once; a name of ours is in no store
        Ok(None)
    }

    async fn keeps_more(&self) -> Result<bool> {
        Ok(self.client.settings().await?.is_nessie)
    }

    /// Nessie takes "there is no such branch" for nothing said.
    async fn fences_first(&self) -> Result<bool> {
        Ok(!self.client.settings().await?.is_nessie)
    }

    async fn announce(&self, table: &TableKey, metadata: &TableMetadata) -> Result<()> {
        self.keys_to_new(table, metadata).await
    }

    /// Whatever other machines read is told nowhere: this long a statement of theirs may last.
    fn unheard(&self) -> Duration {
        UNHEARD
    }

    fn refusal(&self, swaps: &[Swap]) -> Option<Error> {
        let changes = swaps.iter().filter(|swap| !matches!(swap, Swap::Hold { .. })).count();
        let is_change =
            |swap: &Swap| matches!(swap, Swap::Insert { .. } | Swap::Update { .. } | Swap::Hold { at: Some(_), .. });
        let alone = swaps.len() <= 1 || (self.atomic && swaps.iter().all(is_change));
        // what was only read need not be sent along with nothing
        (!alone && changes > 0).then(several_at_once)
    }

    async fn swap(&self, swaps: &[Swap], also: &Also) -> Result<Swapped, SwapError> {
        if let Some(held) = &also.lease {
            // not in one transaction with the change: whoever took over meanwhile has moved the table, or will see it moved
            let now = self.metastore.lease(&held.pipeline).await.map_err(SwapError::Before)?;
            if now.is_none_or(|(lease, _)| lease != *held) {
                return Ok(Swapped::LeaseLost);
            }
        }
        let swapped = self.change(swaps).await?;
        if swapped == Swapped::Done {
            self.settle(swaps, also).await;
        }
        Ok(swapped)
    }

    async fn settle(&self, swaps: &[Swap], also: &Also) {
        self.drop_drafts(swaps).await;
        for (name, value) in &also.puts {
            // never before: what they say of the table is not so until then
            if let Err(error) = self.metastore.put(name, value).await {
                tracing::warn!(name, %error, "what goes with a commit was not noted");
            }
        }
    }
}

/// Whether two states of a table differ in nothing but when they came to be.
pub(in crate::lake) fn says_the_same(one: &TableMetadata, other: &TableMetadata) -> Result<bool> {
    Ok(difference::updates(one, other)?.is_empty() && difference::updates(other, one)?.is_empty())
}

impl std::fmt::Debug for Parsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cache")
    }
}
