//! The lake: Iceberg tables, read and written by DataFusion's own Parquet code. The only home of the `iceberg` crate,
//! which is used for metadata alone. It knows no policy (that stands above) and no SQL of the catalog (`metastore`).

mod commit;
mod connect;
mod fault;
mod plan;
mod read;
mod schema;
mod write;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use iceberg::io::FileIO;
use iceberg::spec::{Manifest, ManifestFile, ManifestList, PrimitiveType, SnapshotRef, TableMetadata, Type};

use crate::error::{Error, Kind, Result};
use crate::metastore::Metastore;

pub use commit::{Expected, Kind as CommitKind, Outcome, Staged};
pub use connect::{S3Config, Store};
pub use fault::{Step, reach, reach_named};
pub use read::Reading;
pub use schema::{Columns, FIELD_ID, field_id, fields_within};
pub use write::{BatchId, Written};

pub use crate::metastore::{Also, Lease, TableKey, TableRow};

/// In a snapshot's summary: the batch that it committed.
pub const BATCH: &str = "lakegate.batch-id";

/// Where a lake's catalog and files are.
#[derive(Clone, Debug)]
pub struct Config {
    /// The catalog's name in the metastore, as other clients configure it.
    pub catalog: String,
    /// `file:///…` or `s3://bucket/…`: where new tables go.
    pub warehouse: String,
    pub s3: Option<S3Config>,
    /// Parsed metadata kept in memory, by estimate.
    pub manifest_cache_bytes: u64,
}

/// One catalog, its object store and what has been read of its metadata. All of a table's metadata files are immutable,
/// so the cache is by path and never goes stale.
pub struct Lake {
    metastore: Arc<Metastore>,
    catalog: String,
    warehouse: String,
    store: Store,
    io: FileIO,
    cache: moka::future::Cache<String, Cached>,
    queues: commit::Queues,
}

/// A table as one metadata file describes it. Immutable; the base of whatever is staged on it.
#[derive(Clone)]
pub struct Table {
    pub key: TableKey,
    /// Of the metadata file it was read from.
    pub location: String,
    /// What the catalog names: another file than `location` where that one is lost or damaged.
    pointer: String,
    metadata: Arc<TableMetadata>,
}

#[derive(Clone, Debug)]
enum Cached {
    Metadata(Arc<TableMetadata>, u32),
    List(Arc<ManifestList>, u32),
    Manifest(Arc<Manifest>, u32),
}

impl Lake {
    /// Connects nothing: a store that does not answer is found out by the first read.
    pub fn connect(config: &Config, metastore: Arc<Metastore>) -> Result<Self> {
        let store = Store::connect(&config.warehouse, config.s3.as_ref())?;
        Ok(Self::over(config, store, metastore))
    }

    /// As [`Lake::connect`], over a store of the caller's.
    pub fn over(config: &Config, store: Store, metastore: Arc<Metastore>) -> Self {
        let cache = moka::future::Cache::builder()
            .max_capacity(config.manifest_cache_bytes)
            .weigher(|path: &String, cached: &Cached| {
                let (Cached::Metadata(_, bytes) | Cached::List(_, bytes) | Cached::Manifest(_, bytes)) = cached;
                bytes.saturating_add(u32::try_from(path.len()).unwrap_or(u32::MAX))
            })
            .build();
        let io = store.file_io();
        let warehouse = config.warehouse.trim_end_matches('/').to_string();
        Self { metastore, catalog: config.catalog.clone(), warehouse, store, io, cache, queues: Default::default() }
    }

    pub fn metastore(&self) -> &Arc<Metastore> {
        &self.metastore
    }

    pub fn key(&self, namespace: &str, name: &str) -> TableKey {
        TableKey { catalog: self.catalog.clone(), namespace: namespace.into(), name: name.into() }
    }

    /// Moves whenever [`Lake::tables`] or [`Lake::namespaces`] would answer differently.
    pub async fn revision(&self) -> Result<u64> {
        self.metastore.revision(&self.catalog).await
    }

    /// Every table's name and newest location; no file is opened.
    pub async fn tables(&self) -> Result<Vec<TableRow>> {
        self.metastore.tables(&self.catalog).await
    }

    pub async fn namespaces(&self) -> Result<Vec<String>> {
        self.metastore.namespaces(&self.catalog).await
    }

    pub async fn create_namespace(&self, namespace: &str) -> Result<bool> {
        self.metastore.create_namespace(&self.catalog, namespace).await
    }

    pub async fn drop_namespace(&self, namespace: &str) -> Result<()> {
        self.metastore.drop_namespace(&self.catalog, namespace).await
    }

    /// The table as the last commit left it, `None` where there is none.
    pub async fn table(&self, key: &TableKey) -> Result<Option<Table>> {
        let mut last = None;
        loop {
            let Some(location) = self.metastore.location(key).await? else { return Ok(None) };
            match self.load(key, &location).await {
                // Others may have committed meanwhile, and old metadata files go.
                Err(error) if error.kind() == Kind::DataGone && last.as_ref() != Some(&location) => {
                    last = Some(location);
                }
                loaded => return loaded.map(Some),
            }
        }
    }

    /// The table as the metadata file at `location` describes it; as the one before it does, where that file is lost or
    /// damaged. 0A000 naming table and column where a column's type cannot be read.
    pub async fn load(&self, key: &TableKey, location: &str) -> Result<Table> {
        // A file elsewhere is not a lost one.
        self.store.path(location)?;
        match self.metadata(key, location).await {
            Ok(metadata) => {
                Ok(Table { key: key.clone(), location: location.into(), pointer: location.into(), metadata })
            }
            Err(error) if error.kind() == Kind::DataGone => self.before(key, location, error).await,
            Err(error) => Err(error),
        }
    }

    /// The last commit of the table is lost with its metadata file; what was before it is not.
    async fn before(&self, key: &TableKey, location: &str, error: Error) -> Result<Table> {
        let Some(previous) = self.metastore.previous_location(key, location).await? else { return Err(error) };
        let Ok(metadata) = self.metadata(key, &previous).await else { return Err(error) };
        metrics::counter!(crate::telemetry::metrics::LAKE_METADATA_LOST).increment(1);
        tracing::error!(
            table = shown(key), lost = location, used = previous, error = ?error,
            "a table's newest metadata file is lost or damaged: its last commit is gone, the table is as it was before"
        );
        Ok(Table { key: key.clone(), location: previous, pointer: location.into(), metadata })
    }

    async fn metadata(&self, key: &TableKey, location: &str) -> Result<Arc<TableMetadata>> {
        match self.cached(location, self.read_metadata(key, location)).await? {
            Cached::Metadata(metadata, _) => Ok(metadata),
            Cached::List(..) | Cached::Manifest(..) => Err(Error::internal("not a metadata file")),
        }
    }

    async fn read_metadata(&self, key: &TableKey, location: &str) -> Result<Cached> {
        let bytes = self.store.read(location).await?;
        let weight = bytes.len() as u64 * 2;
        let parsed = match gzipped(&bytes) {
            false => serde_json::from_slice::<TableMetadata>(&bytes).map_err(iceberg::Error::from),
            // The crate opens it; what it cannot read stays unnamed inside a compressed file.
            true => TableMetadata::read_from(&self.io, location).await,
        };
        match parsed {
            Ok(metadata) => Ok(Cached::Metadata(Arc::new(metadata), weigh(weight))),
            Err(error) if damaged(&bytes, &error) => {
                let message = format!("the metadata file of table {} is damaged", shown(key));
                Err(Error::new(Kind::DataGone, message).with_source(error))
            }
            Err(error) => Err(unreadable(key, &bytes, error)),
        }
    }

    /// A snapshot's list of manifests.
    async fn list(&self, table: &Table, snapshot: &SnapshotRef) -> Result<Arc<ManifestList>> {
        let path = snapshot.manifest_list();
        let read = async {
            let bytes = self.store.read(path).await?;
            let list = ManifestList::parse_with_version(&bytes, table.metadata.format_version());
            Ok(Cached::List(Arc::new(list.map_err(connect::broken)?), weigh(bytes.len() as u64 * 4)))
        };
        match self.cached(path, read).await? {
            Cached::List(list, _) => Ok(list),
            _ => Err(Error::internal("not a manifest list")),
        }
    }

    /// A manifest, its entries with the values they inherit from the list.
    async fn manifest(&self, file: &ManifestFile) -> Result<Arc<Manifest>> {
        let read = async {
            let manifest = file.load_manifest(&self.io).await.map_err(connect::broken)?;
            let weight = plan::weight(&manifest);
            Ok(Cached::Manifest(Arc::new(manifest), weigh(weight)))
        };
        match self.cached(&file.manifest_path, read).await? {
            Cached::Manifest(manifest, _) => Ok(manifest),
            _ => Err(Error::internal("not a manifest")),
        }
    }

    /// One read a path, however many ask at once. An error is not kept.
    async fn cached(&self, path: &str, read: impl Future<Output = Result<Cached>>) -> Result<Cached> {
        self.cache.try_get_with_by_ref(path, read).await.map_err(|shared| again(&shared))
    }
}

impl fmt::Debug for Lake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lake")
            .field("catalog", &self.catalog)
            .field("warehouse", &self.warehouse)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("key", &self.key).field("location", &self.location).finish_non_exhaustive()
    }
}

impl Table {
    /// The table's own identity: it survives renames and dies with a drop.
    pub fn uuid(&self) -> uuid::Uuid {
        self.metadata.uuid()
    }

    /// The columns, each field with its [`FIELD_ID`].
    pub fn schema(&self) -> SchemaRef {
        schema::arrow_schema(self.metadata.current_schema())
    }

    /// Ids of the columns, nested ones too, whose sixteen bytes are a uuid.
    pub fn uuid_columns(&self) -> HashSet<i32> {
        let uuid = Type::Primitive(PrimitiveType::Uuid);
        let fields = self.metadata.current_schema().field_id_to_fields();
        fields.iter().filter(|(_, f)| *f.field_type == uuid).map(|(id, _)| *id).collect()
    }

    pub fn snapshot_id(&self) -> Option<i64> {
        self.metadata.current_snapshot_id()
    }

    /// Table properties: an ingest position among them.
    pub fn properties(&self) -> &HashMap<String, String> {
        self.metadata.properties()
    }

    /// What a snapshot of the table said of itself; `None` where it is not among the retained ones.
    pub fn summary(&self, snapshot: i64) -> Option<&HashMap<String, String>> {
        Some(&self.metadata.snapshot_by_id(snapshot)?.summary().additional_properties)
    }

    /// Snapshots from the newest back along main's ancestry, as far as they are retained.
    pub fn ancestry(&self) -> impl Iterator<Item = i64> + '_ {
        self.main().map(|snapshot| snapshot.snapshot_id())
    }

    fn main(&self) -> impl Iterator<Item = &SnapshotRef> {
        let mut next = self.metadata.current_snapshot();
        std::iter::from_fn(move || {
            let here = next?;
            next = here.parent_snapshot_id().and_then(|id| self.metadata.snapshot_by_id(id));
            Some(here)
        })
    }

    /// Whether [`Table::ancestry`] goes back to the table's first snapshot: nothing of it has expired.
    pub fn is_whole(&self) -> bool {
        self.main().last().is_none_or(|oldest| oldest.parent_snapshot_id().is_none())
    }

    /// The sequence number of the next commit, if it is the next one.
    pub fn next_sequence(&self) -> i64 {
        self.metadata.next_sequence_number()
    }

    /// Whether main still stands on the commit of a batch, whose sequence number was `sequence` or a later one. False
    /// once another program has set the table back behind it. A history that has expired is believed.
    pub fn stands_on(&self, batch: &str, sequence: i64) -> bool {
        let is_ours = |snapshot: &SnapshotRef| {
            snapshot.summary().additional_properties.get(BATCH).is_some_and(|named| named == batch)
        };
        if self.main().any(is_ours) {
            return true;
        }
        // Retained and not on main; or main is known from its first snapshot on, or from one before ours.
        let set_aside = self.metadata.snapshots().any(is_ours);
        let oldest = self.main().last();
        !set_aside && !self.is_whole() && oldest.is_some_and(|oldest| oldest.sequence_number() > sequence)
    }

    /// How errors name it.
    fn shown(&self) -> String {
        shown(&self.key)
    }
}

fn shown(key: &TableKey) -> String {
    crate::types::TableName::new(&key.namespace, &key.name).to_string()
}

fn gzipped(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

fn weigh(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Torn or overwritten, and not merely in a form of another engine's that is not understood here: what is no JSON at all.
fn damaged(bytes: &[u8], error: &iceberg::Error) -> bool {
    if !gzipped(bytes) {
        return serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_err();
    }
    // What was compressed is seen by the crate alone: it could not unpack it, or found no JSON.
    let mut at: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(e) = at {
        if e.is::<std::io::Error>()
            || e.downcast_ref::<serde_json::Error>().is_some_and(|e| e.is_eof() || e.is_syntax())
        {
            return true;
        }
        at = e.source();
    }
    false
}

/// Names the column whose type the crate does not know, where that is the reason.
fn unreadable(key: &TableKey, bytes: &[u8], error: iceberg::Error) -> Error {
    let json = serde_json::from_slice::<serde_json::Value>(bytes).ok();
    match json.as_ref().and_then(schema::unknown_types) {
        Some((column, of)) => Error::new(
            Kind::Unsupported,
            format!("column \"{column}\" of table {} has the type {of}, which is not supported", shown(key)),
        )
        .with_source(error),
        None => Error::new(Kind::SourceFailed, format!("the metadata of table {} cannot be read", shown(key)))
            .with_source(error),
    }
}

/// An error shared by everyone who waited for the same read: what clients may see is copied, the source is printed.
fn again(shared: &Arc<Error>) -> Error {
    let mut copy = Error::new(shared.kind(), shared.message()).with_source(format!("{shared:?}"));
    if let Some(detail) = shared.detail() {
        copy = copy.with_detail(detail);
    }
    if let Some(hint) = shared.hint() {
        copy = copy.with_hint(hint);
    }
    copy
}
