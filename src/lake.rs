//! The lake: Iceberg tables, read and written by DataFusion's own Parquet code. The only home of the `iceberg` crate,
//! which is used for metadata alone. It knows no policy (that stands above) and no SQL of the catalog (`metastore`).

mod avro;
mod cache;
mod catalog;
mod change;
mod commit;
mod connect;
mod deletes;
mod difference;
mod evolve;
mod fault;
#[cfg(test)]
pub(crate) mod fixture;
mod history;
mod inspect;
mod maintain;
mod manifest;
mod metadata;
mod plan;
mod read;
mod schema;
mod table;
mod tail;
mod transaction;
mod view;
mod write;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use iceberg::spec::{ManifestList, SnapshotRef, TableMetadata};

use crate::error::{Error, Kind, Result};
use crate::metastore::Metastore;

pub use catalog::{At, RestConfig};
pub use change::Verb;
pub use commit::{Action, Expected, FORMAT_VERSION, Making, Outcome, RefKind, SortedBy, Staged};
pub(crate) use commit::{overtaken, unknown_outcome};
pub use connect::{S3Config, Store};
pub use difference::{Added, Changed, Part};
pub use evolve::Alter;
pub use fault::{Step, reach, reach_named};
pub use history::Version as SnapshotVersion;
pub use inspect::Inspected;
pub use maintain::{
    Compacted, Expired, Expiry, Findings, KEEPER_ENABLED, Keeper, Kept, Merged, Orphans, Selection, Wanted,
};
pub use read::{GuardExec, Reading, grouped, holds_floats};
pub use schema::{Columns, DEFAULT, FIELD_ID, KEY, field_id, fields_within};
pub use table::Table;
pub use tail::{Cut, Freshness, Hot, Looked, Reach, Showing, Stand, Tail, Tailed, Tails};
pub use transaction::{Isolation, Transaction};
pub use view::{View, ViewColumn, ViewText};
pub use write::{BatchId, Deleted, LiveFile, Rows, Written};

pub use crate::metastore::{Also, Lease, RowKind, TableKey, TableRow};

use cache::{Cache, Weighed};
use catalog::{Catalog, Rest, Sql};
use metadata::Beyond;

/// In a snapshot's summary: the batch that it committed.
pub const BATCH: &str = "lakegate.batch-id";
/// The table's property that holds how far a pipeline has filled it; what it says is the pipeline's business.
pub const POSITION: &str = "lakegate.position";
/// Before what a pipeline's origin knows a column by: the column's field id, a property of the table from its beginning.
pub const SOURCE: &str = "lakegate.source.";

/// Where a lake's catalog and files are.
#[derive(Clone, Debug)]
pub struct Config {
    /// The catalog's name in the metastore, as other clients configure it.
    pub catalog: String,
    pub at: At,
    /// `file:///…` or `s3://bucket/…`: where new tables go.
    pub warehouse: String,
    pub s3: Option<S3Config>,
    /// Parsed metadata kept in memory, by estimate.
    pub manifest_cache_bytes: u64,
}

/// One catalog, its object store and what has been read of its metadata. All of a table's metadata files are immutable,
/// so the cache is by path and never goes stale.
pub struct Lake {
    catalog: Arc<dyn Catalog>,
    /// The catalog's name.
    name: String,
    /// Leases, checkpoints and what statements read; the tables' names are asked of `catalog`.
    metastore: Arc<Metastore>,
    warehouse: String,
    store: Store,
    cache: Cache,
    /// The metadata file of each table that is in the cache: an older one is not asked for again.
    newest: Mutex<HashMap<TableKey, String>>,
    queues: commit::Queues,
    /// Of a transaction: what was done in it.
    log: Option<transaction::Log>,
    /// The runtime it was connected on: outlives every statement.
    home: Option<tokio::runtime::Handle>,
}

/// A metadata file, parsed.
struct Described {
    metadata: Arc<TableMetadata>,
    beyond: Arc<Beyond>,
}

impl Lake {
    /// Connects nothing: a store that does not answer is found out by the first read.
    pub fn connect(config: &Config, metastore: Arc<Metastore>) -> Result<Self> {
        let store = match &config.at {
            At::Rest(at) if at.vended_credentials => Store::connect_vended(&config.warehouse, config.s3.as_ref())?,
            _ => Store::connect(&config.warehouse, config.s3.as_ref())?,
        };
        Self::over(config, store, metastore)
    }

    /// As [`Lake::connect`], over a store of the caller's.
    pub fn over(config: &Config, store: Store, metastore: Arc<Metastore>) -> Result<Self> {
        let cache = Cache::new(config.manifest_cache_bytes);
        let warehouse = config.warehouse.trim_end_matches('/').to_string();
        let (newest, queues) = (Mutex::default(), commit::Queues::default());
        let name = config.catalog.clone();
        // leases and checkpoints stand where the tables' rows do, as far as that can be
        let metastore = match &config.at {
            At::Postgres(at) => metastore.beside(at)?,
            At::Metastore | At::Rest(_) | At::Nowhere(_) => metastore,
        };
        let catalog: Arc<dyn Catalog> = match &config.at {
            At::Metastore | At::Postgres(_) => Arc::new(Sql { metastore: Arc::clone(&metastore), name: name.clone() }),
            At::Rest(at) => Arc::new(Rest::new(at, &name, store.clone(), cache.clone(), Arc::clone(&metastore))?),
            At::Nowhere(why) => return Err(Error::new(Kind::Config, why)),
        };
        let home = tokio::runtime::Handle::try_current().ok();
        Ok(Self { catalog, name, metastore, warehouse, store, cache, newest, queues, log: None, home })
    }

    /// It is what one transaction sees.
    pub fn is_staged(&self) -> bool {
        self.log.is_some()
    }

    pub fn metastore(&self) -> &Arc<Metastore> {
        &self.metastore
    }

    pub fn key(&self, namespace: &str, name: &str) -> TableKey {
        TableKey { catalog: self.name.clone(), namespace: namespace.into(), name: name.into() }
    }

    /// Moves whenever [`Lake::rows`] or [`Lake::namespaces`] would answer differently.
    pub async fn revision(&self) -> Result<Option<u64>> {
        self.catalog.revision().await
    }

    /// Every table's name and newest location; no file is opened.
    pub async fn tables(&self) -> Result<Vec<TableRow>> {
        let rows = self.rows().await?;
        Ok(rows.into_iter().filter(|row| row.kind == RowKind::Table).collect())
    }

    /// As [`Lake::tables`], with the views.
    pub async fn rows(&self) -> Result<Vec<TableRow>> {
        self.catalog.tables().await
    }

    pub async fn namespaces(&self) -> Result<Vec<String>> {
        self.catalog.namespaces().await
    }

    pub async fn create_namespace(&self, namespace: &str) -> Result<bool> {
        self.catalog.create_namespace(namespace).await
    }

    pub async fn drop_namespace(&self, namespace: &str) -> Result<()> {
        self.catalog.drop_namespace(namespace).await
    }

    /// The table as the last commit left it, `None` where there is none.
    pub async fn table(&self, key: &TableKey) -> Result<Option<Table>> {
        let mut last = None;
        loop {
            let Some(location) = self.catalog.location(key).await? else { return Ok(None) };
            match self.load(key, &location).await {
                // Others may have committed meanwhile, and old metadata files go.
                Err(error) if error.kind() == Kind::DataGone && last.as_ref() != Some(&location) => {
                    last = Some(location);
                }
                // of the moment that a transaction sees: it does not move on
                Err(error) if error.kind() == Kind::DataGone && self.log.is_some() => {
                    let text = format!("Table {} has been changed too often since then.", shown(key));
                    return Err(overtaken().with_detail(text).with_source(error));
                }
                loaded => return loaded.map(Some),
            }
        }
    }

    /// The table as the metadata file at `location` describes it; as the one before it does, where that file is lost or
    /// damaged. 0A000 naming table and column where a column's type cannot be read.
    pub async fn load(&self, key: &TableKey, location: &str) -> Result<Table> {
        // A file elsewhere is not a lost one.
        if !self.catalog.hands_out() {
            self.store.path(location)?;
        }
        match self.metadata(key, location).await {
            Ok(described) => {
                self.supersede(key, location).await;
                Ok(described.table(key, location, location))
            }
            Err(error) if error.kind() == Kind::DataGone => self.before(key, location, error).await,
            Err(error) => Err(error),
        }
    }

    /// Each metadata file lists all snapshots: kept, those of a table that is written all the time would fill the cache.
    async fn supersede(&self, key: &TableKey, location: &str) {
        if self.log.is_some() {
            return; // what a transaction stands on is everybody's
        }
        let before = {
            let mut newest = self.newest.lock().expect("no panic under the lock");
            match newest.get_mut(key) {
                Some(known) if known == location => None,
                Some(known) => Some(std::mem::replace(known, location.into())),
                None => newest.insert(key.clone(), location.into()),
            }
        };
        if let Some(before) = before {
            self.cache.forget(&before).await;
        }
    }

    /// The last commit of the table is lost with its metadata file; what was before it is not.
    async fn before(&self, key: &TableKey, location: &str, error: Error) -> Result<Table> {
        let Some(previous) = self.catalog.previous_location(key, location).await? else { return Err(error) };
        let Ok(described) = self.metadata(key, &previous).await else { return Err(error) };
        metrics::counter!(crate::telemetry::metrics::LAKE_METADATA_LOST).increment(1);
        tracing::error!(
            table = shown(key), lost = location, used = previous, error = ?error,
            "a table's newest metadata file is lost or damaged: its last commit is gone, the table is as it was before"
        );
        Ok(described.table(key, &previous, location))
    }

    /// A metadata file of a table or a view, from whoever has it.
    async fn metadata_bytes(&self, key: &TableKey, location: &str) -> Result<bytes::Bytes> {
        match self.catalog.metadata(key, location).await? {
            Some(bytes) => Ok(bytes),
            None => self.store.read(location).await,
        }
    }

    async fn metadata(&self, key: &TableKey, location: &str) -> Result<Arc<Described>> {
        let read = async {
            let bytes = self.metadata_bytes(key, location).await?;
            let (parsed, beyond) = metadata::parse(key, &bytes)?;
            let described = Described { metadata: Arc::new(parsed), beyond: Arc::new(beyond) };
            Ok(Weighed { parsed: Arc::new(described), bytes: bytes.len() as u64 * 2 })
        };
        self.cache.get(location, read).await
    }

    /// A snapshot's list of manifests.
    async fn list(&self, table: &Table, snapshot: &SnapshotRef) -> Result<Arc<ManifestList>> {
        let path = snapshot.manifest_list();
        let read = async {
            let bytes = self.store.read(path).await?;
            let list = ManifestList::parse_with_version(&bytes, table.metadata.format_version());
            Ok(Weighed { parsed: Arc::new(list.map_err(connect::broken)?), bytes: bytes.len() as u64 * 4 })
        };
        self.cache.get(path, read).await
    }
}

impl Described {
    fn table(&self, key: &TableKey, location: &str, pointer: &str) -> Table {
        Table {
            key: key.clone(),
            location: location.into(),
            pointer: pointer.into(),
            metadata: Arc::clone(&self.metadata),
            beyond: Arc::clone(&self.beyond),
        }
    }
}

impl fmt::Debug for Lake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lake").field("catalog", &self.name).field("warehouse", &self.warehouse).finish_non_exhaustive()
    }
}

fn shown(key: &TableKey) -> String {
    crate::types::TableName::new(&key.namespace, &key.name).to_string()
}
