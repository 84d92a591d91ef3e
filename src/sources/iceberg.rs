//! A lake's tables under a source's name: namespaces are schemas, a statement reads a table's newest snapshot. What the
//! tables are made of is `lake`'s business.

mod base;
mod places;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, RwLock};

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::execution::SendableRecordBatchStream;
use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;

use super::declared::Declared;
use super::{Base, Pinned, Source, Table, Writer};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::OID;
use crate::lake::{self, BatchId, Columns, Lake, Outcome, S3Config, Staged, TableKey, TableRow};
use crate::types::{TableName, Version};

/// The `uuid` type's oid: sixteen bytes alone do not tell.
const UUID_OID: &str = "2950";
/// The `json` type's: the text of a variant.
const JSON_OID: &str = "114";
/// Kafka's key and headers, as pipelines name them: no `*` of a policy reaches them.
const RAW_COLUMNS: [&str; 2] = ["_key", "_headers"];
/// Metadata files read at once.
const READ_AHEAD: usize = 16;

/// `catalog/sources/<name>.toml` of kind `iceberg`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The catalog's name in the metastore, as PyIceberg's `SqlCatalog` is called.
    #[serde(default = "catalog")]
    pub catalog: String,
    /// `file:///…` or `s3://bucket/…`.
    pub warehouse: String,
    pub s3: Option<S3Config>,
    /// Namespace → the schema it is mounted as; a namespace that is not named keeps its own name.
    #[serde(default)]
    pub schemas: BTreeMap<String, String>,
    #[serde(default = "manifest_cache_bytes")]
    pub manifest_cache_bytes: u64,
}

fn catalog() -> String {
    "lakegate".into()
}

fn manifest_cache_bytes() -> u64 {
    256 << 20
}

impl Config {
    /// What the lake itself needs of it.
    pub fn lake(&self) -> lake::Config {
        lake::Config {
            catalog: self.catalog.clone(),
            warehouse: self.warehouse.clone(),
            s3: self.s3.clone(),
            manifest_cache_bytes: self.manifest_cache_bytes,
        }
    }
}

/// A lake as a source.
#[derive(Debug)]
pub struct Iceberg(Arc<Inner>);

struct Inner {
    name: String,
    lake: Arc<Lake>,
    schemas: BTreeMap<String, String>,
    /// As of the last [`Source::tables`].
    mounted: RwLock<Mounted>,
}

#[derive(Default)]
struct Mounted {
    schemas: Vec<String>,
    /// By location: a table that did not move stays the value it was.
    tables: HashMap<(TableName, String), Arc<LakeTable>>,
}

/// A table as one metadata file describes it; a table that cannot be read stands here too, without columns, so that
/// asking for it says why.
#[derive(Debug)]
struct LakeTable {
    source: Arc<Inner>,
    name: TableName,
    key: TableKey,
    schema: SchemaRef,
    raw_columns: Vec<String>,
    /// By which its rows are known.
    place: Vec<FieldRef>,
    declared: Declared,
    state: Result<uuid::Uuid, Fault>,
}

/// Why a table cannot be read, in words that can be repeated.
#[derive(Debug)]
struct Fault {
    kind: Kind,
    message: String,
}

impl Iceberg {
    pub fn new(name: impl Into<String>, config: &Config, lake: Arc<Lake>) -> Self {
        let schemas = config.schemas.clone();
        Self(Arc::new(Inner { name: name.into(), lake, schemas, mounted: RwLock::default() }))
    }
}

#[async_trait]
impl Source for Iceberg {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn schemas(&self) -> Vec<String> {
        self.0.mounted.read().expect("no panic under the lock").schemas.clone()
    }

    fn finds_schemas(&self) -> bool {
        true
    }

    async fn revision(&self) -> Result<Option<u64>> {
        self.0.lake.revision().await.map(Some).map_err(|e| self.0.named(e))
    }

    async fn tables(&self) -> Result<Vec<Arc<dyn Table>>> {
        let inner = &self.0;
        let namespaces = inner.lake.namespaces().await.map_err(|e| inner.named(e))?;
        let rows = inner.lake.tables().await.map_err(|e| inner.named(e))?;
        let tables = futures::stream::iter(rows.into_iter().map(|row| Inner::table(Arc::clone(inner), row)));
        let tables: Vec<(String, Arc<LakeTable>)> = tables.buffered(READ_AHEAD).try_collect().await?;
        let answer = tables.iter().map(|(_, t)| Arc::clone(t) as Arc<dyn Table>).collect();
        let mounted = Mounted {
            schemas: namespaces.iter().map(|n| inner.schema_of(n)).collect(),
            tables: tables.into_iter().map(|(location, t)| ((t.name.clone(), location), t)).collect(),
        };
        *inner.mounted.write().expect("no panic under the lock") = mounted;
        Ok(answer)
    }

    fn writer(&self) -> Option<Arc<dyn Writer>> {
        Some(Arc::clone(&self.0) as Arc<dyn Writer>)
    }
}

impl Inner {
    fn schema_of(&self, namespace: &str) -> String {
        self.schemas.get(namespace).cloned().unwrap_or_else(|| namespace.to_string())
    }

    /// The namespace mounted as `schema`.
    fn namespace_of(&self, schema: &str) -> String {
        let renamed = self.schemas.iter().find(|(_, mounted)| *mounted == schema).map(|(namespace, _)| namespace);
        renamed.cloned().unwrap_or_else(|| schema.to_string())
    }

    fn key(&self, name: &TableName) -> TableKey {
        self.lake.key(&self.namespace_of(&name.schema), &name.table)
    }

    /// An error of the lake, with this source's name where the reader must know which source it is.
    fn named(&self, error: Error) -> Error {
        match error.kind() {
            Kind::SourceUnreachable => {
                let message = format!("source \"{}\" cannot be reached", self.name);
                Error::new(Kind::SourceUnreachable, message).with_source(error)
            }
            _ => error,
        }
    }

    /// A row of the catalog as a table, and its location. Only an unreachable store is an error of the whole source.
    async fn table(self: Arc<Self>, row: TableRow) -> Result<(String, Arc<LakeTable>)> {
        let name = TableName::new(self.schema_of(&row.namespace), &row.name);
        let at = (name, row.location);
        let known = self.mounted.read().expect("no panic under the lock").tables.get(&at).cloned();
        if let Some(known) = known {
            return Ok((at.1, known));
        }
        let (name, location) = at;
        let key = self.lake.key(&row.namespace, &row.name);
        let (mut place, mut declared) = (vec![], Declared::default());
        let (schema, state) = match self.lake.load(&key, &location).await {
            Ok(table) => {
                (place, declared) = (base::place(&table), base::declared(&name, &table));
                (shown_schema(&table), Ok(table.uuid()))
            }
            Err(error) if error.kind() == Kind::SourceUnreachable => return Err(self.named(error)),
            Err(error) => {
                tracing::warn!(source = %self.name, table = %name, error = ?error, "a table cannot be read");
                let fault = Fault { kind: error.kind(), message: error.message().to_string() };
                (Arc::new(Schema::empty()), Err(fault))
            }
        };
        let names = schema.fields().iter().map(|f| f.name());
        let raw_columns = names.filter(|name| RAW_COLUMNS.contains(&name.as_str())).cloned().collect();
        Ok((location, Arc::new(LakeTable { source: self, name, key, schema, raw_columns, place, declared, state })))
    }
}

#[async_trait]
impl Table for LakeTable {
    fn name(&self) -> &TableName {
        &self.name
    }

    fn identity(&self) -> String {
        match &self.state {
            Ok(uuid) => identity(*uuid),
            Err(_) => format!("iceberg:{}:{}", self.source.name, self.name),
        }
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn column_ids(&self) -> Vec<Vec<String>> {
        self.schema.fields().iter().map(|field| field_ids(field)).collect()
    }

    /// What pipelines keep of a record as it came, by name: a copy of such a table holds the same.
    fn raw_columns(&self) -> &[String] {
        &self.raw_columns
    }

    fn declared(&self) -> &Declared {
        &self.declared
    }

    fn place(&self) -> Vec<FieldRef> {
        self.place.clone()
    }

    async fn base(&self) -> Result<Arc<dyn Base>> {
        let newest = self.newest().await?;
        base::of(self, newest).await
    }

    async fn pin(&self) -> Result<Pinned> {
        let newest = self.newest().await?;
        self.source.pinned(&newest, self.schema()).await
    }
}

impl LakeTable {
    /// The table of now, where it is still the one that was planned.
    async fn newest(&self) -> Result<lake::Table> {
        let uuid = self.state.as_ref().map_err(|fault| Error::new(fault.kind, &fault.message))?;
        let newest = self.source.lake.table(&self.key).await.map_err(|e| self.source.named(e))?;
        let newest = newest.filter(|t| t.uuid() == *uuid).ok_or_else(changed)?;
        if shown_schema(&newest) != self.schema {
            return Err(changed());
        }
        Ok(newest)
    }
}

/// PostgreSQL's own words; the caller looks at the catalog again.
fn changed() -> Error {
    Error::new(Kind::CachedPlanChanged, "cached plan must not change result type")
}

#[async_trait]
impl Writer for Inner {
    async fn create_schema(&self, name: &str) -> Result<()> {
        match self.lake.create_namespace(&self.namespace_of(name)).await.map_err(|e| self.named(e))? {
            true => Ok(()),
            false => Err(Error::new(Kind::DuplicateSchema, format!("schema \"{name}\" already exists"))),
        }
    }

    async fn drop_schema(&self, name: &str) -> Result<()> {
        self.lake.drop_namespace(&self.namespace_of(name)).await.map_err(|e| self.named(e))
    }

    async fn create_table(
        &self,
        name: &TableName,
        schema: SchemaRef,
        rows: Option<SendableRecordBatchStream>,
    ) -> Result<u64> {
        let is_uuid = |field: &Field| field.metadata().get(OID).is_some_and(|oid| oid == UUID_OID);
        let columns = Columns { schema: &schema, is_uuid: &is_uuid, all_nullable: rows.is_some() };
        let made = self.lake.create_table(&self.key(name), &columns, rows).await;
        made.map(|(_, rows)| rows).map_err(|e| self.named(e))
    }

    async fn append(&self, planned: &dyn Table, rows: SendableRecordBatchStream) -> Result<u64> {
        self.try_append(planned, rows).await.map_err(|e| self.named(e))
    }

    async fn drop_table(&self, name: &TableName) -> Result<()> {
        self.lake.drop_table(&self.key(name)).await.map_err(|e| self.named(e))
    }
}

impl Inner {
    async fn pinned(&self, table: &lake::Table, schema: SchemaRef) -> Result<Pinned> {
        let version = Version::Snapshot(table.snapshot_id());
        let reading = self.lake.read(table, schema).await.map_err(|e| self.named(e))?;
        Ok(Pinned { version, reads: reading.reads(), provider: Arc::new(reading) })
    }

    /// The commit demands the table and the columns of `base`, and `base` those of the plan: what was planned for one
    /// column cannot come into another, whoever changes the table on the way.
    async fn try_append(&self, planned: &dyn Table, rows: SendableRecordBatchStream) -> Result<u64> {
        let name = planned.name();
        let missing = || Error::new(Kind::UndefinedTable, format!("relation \"{name}\" does not exist"));
        let base = self.lake.table(&self.key(name)).await?.ok_or_else(missing)?;
        if planned.identity() != identity(base.uuid()) {
            return Err(
                overtaken().with_detail("The table was dropped and made again after the statement was planned.")
            );
        }
        let rows = places::arranged(rows, &planned.schema(), &shown_schema(&base)).ok_or_else(|| {
            overtaken().with_detail("Columns of the table were changed after the statement was planned.")
        })?;
        let batch = BatchId::new();
        let written = self.lake.write(&base, batch, rows).await?;
        let count = written.rows;
        if count == 0 {
            return Ok(0);
        }
        let outcome = self.lake.commit(vec![Staged::append(base, written, batch)], &Default::default()).await?;
        committed(outcome, name, "the rows were added to").map(|()| count)
    }
}

/// `what`: it is not known whether … table t.
fn committed(outcome: Outcome, name: &TableName, what: &str) -> Result<()> {
    match outcome {
        Outcome::Committed(_) => Ok(()),
        Outcome::Conflict(now) if now.iter().any(Option::is_none) => {
            Err(Error::new(Kind::UndefinedTable, format!("relation \"{name}\" does not exist")))
        }
        Outcome::Conflict(_) | Outcome::LeaseLost => Err(overtaken()),
        Outcome::Unknown(batch) => {
            let message = format!("it is not known whether {what} table {name}");
            Err(Error::new(Kind::SourceUnreachable, message)
                .with_hint("Count the rows before you send the statement again.")
                .with_source(format!("batch {batch}")))
        }
    }
}

fn identity(uuid: uuid::Uuid) -> String {
    format!("iceberg:{uuid}")
}

/// PostgreSQL's own words for a writer that came too late; the statement may be sent again.
fn overtaken() -> Error {
    Error::new(Kind::Conflict, "could not serialize access due to concurrent update")
}

/// The table's columns with the metadata by which PostgreSQL's types are told.
fn shown_schema(table: &lake::Table) -> SchemaRef {
    let uuids = table.uuid_columns().into_iter().map(|id| (id, UUID_OID));
    let oids: HashMap<i32, &str> = uuids.chain(table.json_columns().into_iter().map(|id| (id, JSON_OID))).collect();
    let fields: Vec<FieldRef> = table.schema().fields().iter().map(|f| shown_field(f, &oids)).collect();
    Arc::new(Schema::new(fields))
}

/// The column's field id, and those of all fields within it.
fn field_ids(field: &Field) -> Vec<String> {
    let own = lake::field_id(field).map_or_else(|| field.name().clone(), |id| format!("#{id}"));
    let within = lake::fields_within(field.data_type()).into_iter().flat_map(|field| field_ids(&field));
    std::iter::once(own).chain(within).collect()
}

fn shown_field(field: &FieldRef, oids: &HashMap<i32, &str>) -> FieldRef {
    if oids.is_empty() {
        return Arc::clone(field);
    }
    let mut metadata = field.metadata().clone();
    if let Some(oid) = lake::field_id(field).and_then(|id| oids.get(&id)) {
        metadata.insert(OID.into(), (*oid).into());
    }
    let of = match field.data_type() {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|f| shown_field(f, oids)).collect()),
        DataType::List(element) => DataType::List(shown_field(element, oids)),
        DataType::Map(entries, sorted) => DataType::Map(shown_field(entries, oids), *sorted),
        other => other.clone(),
    };
    Arc::new(field.as_ref().clone().with_data_type(of).with_metadata(metadata))
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iceberg").field("name", &self.name).finish_non_exhaustive()
    }
}
