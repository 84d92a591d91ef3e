//! A lake's tables under a source's name: namespaces are schemas, a statement reads a table's newest snapshot. What the
//! tables are made of is `lake`'s business.

mod alter;
mod base;
mod columns;
mod config;
mod counter;
mod history;
mod inspected;
mod maintained;
mod places;
mod staged;
mod unnamed;
mod view;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, RwLock};

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::execution::SendableRecordBatchStream;
use futures::{StreamExt, TryStreamExt};

use self::columns::{default_property, field_ids, shown_schema};
pub(crate) use self::columns::{is_uuid, type_property};
pub use self::config::Config;
use self::history::History;
pub use self::maintained::Maintained;
pub(crate) use self::unnamed::NAMESPACE as UNNAMED;
pub use self::unnamed::{Filling, Unnamed};
use super::declared::{Counter, Declared, Materialized};
use super::{Alteration, Base, Isolation, Pinned, Source, Staging, Standing, Table, ViewText, Writer};
use crate::error::{Error, Kind, Result};
use crate::lake::{self, BatchId, Columns, DEFAULT, Lake, Outcome, RowKind, Staged, TableKey, TableRow};
use crate::types::{AsOf, TableName, Version};

/// Kafka's key and headers, as pipelines name them: no `*` of a policy reaches them.
const RAW_COLUMNS: [&str; 2] = ["_key", "_headers"];
/// Metadata files read at once.
const READ_AHEAD: usize = 16;

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
    tables: HashMap<(TableName, String), Known>,
}

/// A row of the catalog, read.
#[derive(Clone, Debug)]
enum Known {
    Table(Arc<LakeTable>),
    View(Arc<view::LakeView>),
}

impl Known {
    fn shown(&self) -> Arc<dyn Table> {
        match self {
            Self::Table(table) => Arc::clone(table) as Arc<dyn Table>,
            Self::View(view) => Arc::clone(view) as Arc<dyn Table>,
        }
    }
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
    history: Arc<History>,
    /// The snapshot that it is read at; `None`: the newest.
    at: Option<i64>,
    /// A pipeline has.
    is_filled: bool,
    state: Result<uuid::Uuid, Fault>,
}

/// Why a table cannot be read, in words that can be repeated.
#[derive(Clone, Debug)]
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
        self.0.lake.revision().await.map_err(|e| self.0.named(e))
    }

    async fn tables(&self) -> Result<Vec<Arc<dyn Table>>> {
        let inner = &self.0;
        let mut namespaces = inner.lake.namespaces().await.map_err(|e| inner.named(e))?;
        let mut rows = inner.lake.rows().await.map_err(|e| inner.named(e))?;
        // what the server keeps for itself has no name here
        namespaces.retain(|namespace| namespace != UNNAMED);
        rows.retain(|row| row.namespace != UNNAMED);
        let tables = futures::stream::iter(rows.into_iter().map(|row| Inner::table(Arc::clone(inner), row)));
        let tables: Vec<(String, Known)> = tables.buffered(READ_AHEAD).try_collect().await?;
        let answer = tables.iter().map(|(_, known)| known.shown()).collect();
        let mounted = Mounted {
            schemas: namespaces.iter().map(|n| inner.schema_of(n)).collect(),
            tables: tables.into_iter().map(|(at, known)| ((known.shown().name().clone(), at), known)).collect(),
        };
        *inner.mounted.write().expect("no panic under the lock") = mounted;
        Ok(answer)
    }

    fn writer(&self) -> Option<Arc<dyn Writer>> {
        Some(Arc::clone(&self.0) as Arc<dyn Writer>)
    }

    async fn begin(&self, isolation: Isolation) -> Result<Option<Arc<dyn Staging>>> {
        staged::begin(&self.0, isolation).await.map(Some)
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
            // what has a hint says more already
            Kind::SourceUnreachable if error.hint().is_none() => {
                let message = format!("source \"{}\" cannot be reached", self.name);
                Error::new(Kind::SourceUnreachable, message).with_source(error)
            }
            _ => error,
        }
    }

    /// A row of the catalog as a table, and its location. Only an unreachable store is an error of the whole source.
    async fn table(self: Arc<Self>, row: TableRow) -> Result<(String, Known)> {
        let name = TableName::new(self.schema_of(&row.namespace), &row.name);
        let at = (name, row.location);
        let known = self.mounted.read().expect("no panic under the lock").tables.get(&at).cloned();
        if let Some(known) = known {
            return Ok((at.1, known));
        }
        let (name, location) = at;
        let key = self.lake.key(&row.namespace, &row.name);
        if row.kind == RowKind::View {
            let view = view::LakeView::load(&self, name, &key, &location).await?;
            return Ok((location, Known::View(Arc::new(view))));
        }
        let (schema, state) = match self.lake.load(&key, &location).await {
            Ok(table) => {
                let table = Arc::new(LakeTable::of(self, name, key, &table));
                return Ok((location, Known::Table(table)));
            }
            Err(error) if error.kind() == Kind::SourceUnreachable => return Err(self.named(error)),
            Err(error) => {
                tracing::warn!(source = %self.name, table = %name, error = ?error, "a table cannot be read");
                let fault = Fault { kind: error.kind(), message: error.message().to_string() };
                (Arc::new(Schema::empty()), Err(fault))
            }
        };
        let (place, raw_columns, declared, history, at) = (vec![], vec![], Declared::default(), Arc::default(), None);
        let is_filled = false;
        let table =
            LakeTable { source: self, name, key, schema, raw_columns, place, declared, history, at, is_filled, state };
        Ok((location, Known::Table(Arc::new(table))))
    }
}

impl LakeTable {
    fn of(source: Arc<Inner>, name: TableName, key: TableKey, table: &lake::Table) -> Self {
        let (schema, history, state) = (shown_schema(table), Arc::new(History::of(table)), Ok(table.uuid()));
        let (raw_columns, place) = (raw_columns(&schema), base::place(table));
        let declared = base::declared(&name, table);
        // It is known as a pipeline's before the first commit, where its origin numbers columns.
        let is_filled = table.properties().keys().any(|name| name == lake::POSITION || name.starts_with(lake::SOURCE));
        Self { source, name, key, schema, raw_columns, place, declared, history, at: None, is_filled, state }
    }

    fn as_of(&self, asked: &AsOf, named: impl Fn(&str) -> Option<i64>) -> Result<Self> {
        let uuid = *self.state.as_ref().map_err(|fault| Error::new(fault.kind, &fault.message))?;
        let snapshot = self.history.find(&self.name, asked, named)?;
        let schema = self.history.columns(snapshot, &self.schema).ok_or_else(changed)?;
        Ok(Self {
            source: Arc::clone(&self.source),
            name: self.name.clone(),
            key: self.key.clone(),
            raw_columns: raw_columns(&schema),
            // rows of then are no one's to change
            place: vec![],
            declared: self.declared.clone(),
            schema,
            history: Arc::clone(&self.history),
            at: Some(snapshot),
            is_filled: self.is_filled,
            state: Ok(uuid),
        })
    }

    /// The newest, where it is the same table still.
    async fn newest(&self) -> Result<lake::Table> {
        let uuid = self.state.as_ref().map_err(|fault| Error::new(fault.kind, &fault.message))?;
        let newest = self.source.lake.table(&self.key).await.map_err(|e| self.source.named(e))?;
        newest.filter(|t| t.uuid() == *uuid).ok_or_else(changed)
    }
}

fn raw_columns(schema: &Schema) -> Vec<String> {
    let names = schema.fields().iter().map(|f| f.name());
    names.filter(|name| RAW_COLUMNS.contains(&name.as_str())).cloned().collect()
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
        base::of(self, self.newest().await?).await
    }

    async fn take(&self, column: &str, count: u32) -> Result<(i64, u32)> {
        self.counted(column)?.take(count).await
    }

    async fn restart(&self, column: &str, next: i128) -> Result<()> {
        self.counted(column)?.restart(next).await
    }

    fn metadata_tables(&self) -> Vec<Arc<dyn Table>> {
        let Ok(uuid) = self.state else { return vec![] };
        let of = (&self.name, &self.key);
        let one = |what| Arc::new(inspected::InspectedTable::new(&self.source, of, uuid, what)) as Arc<dyn Table>;
        lake::Inspected::ALL.into_iter().map(one).collect()
    }

    fn keeps_versions(&self) -> bool {
        self.state.is_ok()
    }

    async fn version(&self, asked: &AsOf) -> Result<Arc<dyn Table>> {
        let newest = self.newest().await?;
        let now = Self::of(Arc::clone(&self.source), self.name.clone(), self.key.clone(), &newest);
        Ok(Arc::new(now.as_of(asked, |name| newest.named(name))?))
    }

    fn known_version(&self, asked: &AsOf) -> Result<Arc<dyn Table>> {
        Ok(Arc::new(self.as_of(asked, |_| None)?))
    }

    async fn pin(&self) -> Result<Pinned> {
        let mut newest = self.newest().await?;
        let schema = match self.at {
            None => shown_schema(&newest),
            Some(snapshot) => {
                let history = History::of(&newest);
                let schema = history.columns(snapshot, &shown_schema(&newest)).ok_or_else(changed)?;
                newest = newest.at(snapshot)?;
                schema
            }
        };
        if schema != self.schema {
            return Err(changed());
        }
        if self.at.is_none() && base::materialized(&newest).is_some_and(|view| !view.is_populated) {
            let text = format!("materialized view \"{}\" has not been populated", self.name.table);
            return Err(Error::new(Kind::NotInState, text).with_hint("Use the REFRESH MATERIALIZED VIEW command."));
        }
        self.source.pinned(&newest, self.schema()).await
    }

    /// A transaction that changes the lake, or reads it repeatably, sees the lake its own way.
    fn tailed(&self) -> Option<lake::Tailed> {
        let table = *self.state.as_ref().ok()?;
        let is_now = self.at.is_none() && !self.source.lake.is_staged();
        is_now.then_some(lake::Tailed { table, is_filled: self.is_filled })
    }

    async fn holds(&self, tail: &Arc<lake::Tail>) -> Result<bool> {
        Ok(self.newest().await?.location == tail.table.location)
    }

    async fn pin_with(&self, tail: &Arc<lake::Tail>) -> Result<Pinned> {
        if self.state.as_ref().ok() != Some(&tail.table.uuid()) || shown_schema(&tail.table) != self.schema {
            return Err(changed());
        }
        let version = Version::Fresh(tail.table.snapshot_id(), tail.number);
        let reading = self.source.lake.read_fresh(tail, self.schema()).await.map_err(|e| self.source.named(e))?;
        Ok(Pinned { version, reads: reading.reads(), provider: Arc::new(reading) })
    }
}

/// PostgreSQL's own words; the caller looks at the catalog again.
fn changed() -> Error {
    Error::new(Kind::CachedPlanChanged, "cached plan must not change result type")
}

#[async_trait]
impl Writer for Inner {
    async fn create_schema(&self, name: &str) -> Result<()> {
        if self.namespace_of(name) == UNNAMED {
            let text = format!("unacceptable schema name \"{name}\"");
            return Err(Error::new(Kind::ReservedName, text).with_detail("The server keeps tables of its own there."));
        }
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
        mut making: lake::Making,
        rows: Option<SendableRecordBatchStream>,
    ) -> Result<u64> {
        let columns = Columns { schema: &schema, is_uuid: &is_uuid, all_nullable: rows.is_some() };
        // columns get their ids in their order
        let types = (1..).zip(schema.fields()).map(|(id, field)| type_property(id, field));
        making.properties.extend(types.filter_map(|(name, value)| Some((name, value?))));
        let default =
            |(id, field): (i32, &FieldRef)| Some((default_property(id), field.metadata().get(DEFAULT)?.clone()));
        making.properties.extend((1..).zip(schema.fields()).filter_map(default));
        let counts =
            |(id, field): (i32, &FieldRef)| Some((counter::property(id), field.metadata().get(Counter::KEY)?.clone()));
        making.properties.extend((1..).zip(schema.fields()).filter_map(counts));
        let made = self.lake.create_table(&self.key(name), &columns, making, rows).await;
        made.map(|(_, rows)| rows).map_err(|e| self.named(e))
    }

    async fn append(&self, planned: &dyn Table, rows: SendableRecordBatchStream) -> Result<u64> {
        self.try_append(planned, rows).await.map_err(|e| self.named(e))
    }

    async fn drop_table(&self, name: &TableName) -> Result<()> {
        self.lake.drop_table(&self.key(name)).await.map_err(|e| self.named(e))
    }

    async fn alter_table(&self, session: &dyn Session, planned: &dyn Table, changes: &[Alteration]) -> Result<()> {
        self.alter(session, planned, changes).await.map_err(|e| self.named(e))
    }

    async fn rename_table(&self, name: &TableName, to: &TableName) -> Result<()> {
        self.lake.rename_table(&self.key(name), &self.key(to)).await.map_err(|e| self.named(e))
    }

    async fn truncate_table(&self, planned: &dyn Table) -> Result<()> {
        self.truncate(planned).await.map_err(|e| self.named(e))
    }

    async fn standing(&self, planned: &dyn Table) -> Result<Standing> {
        let base = self.base(planned).await.map_err(|e| self.named(e))?;
        Ok(Standing { snapshot: base.snapshot_id() })
    }

    async fn refill(
        &self,
        planned: &dyn Table,
        standing: Standing,
        rows: Option<SendableRecordBatchStream>,
        of: &Materialized,
    ) -> Result<u64> {
        self.try_refill(planned, standing, rows, of).await.map_err(|e| self.named(e))
    }

    async fn create_view(&self, name: &TableName, view: &ViewText) -> Result<()> {
        self.lake.create_view(&self.key(name), view).await.map(|_| ()).map_err(|e| self.named(e))
    }

    async fn replace_view(&self, planned: &dyn Table, view: &ViewText) -> Result<()> {
        let base = self.view_as(planned).await?;
        self.lake.replace_view(&base, view).await.map(|_| ()).map_err(|e| self.named(e))
    }

    async fn rename_view(&self, planned: &dyn Table, to: &TableName) -> Result<()> {
        let base = self.view_as(planned).await?;
        self.lake.rename_view(&base, &self.key(to)).await.map_err(|e| self.named(e))
    }

    async fn drop_view(&self, planned: &dyn Table) -> Result<()> {
        let base = self.view_as(planned).await?;
        self.lake.drop_view(&base).await.map_err(|e| self.named(e))
    }

    fn maintained(&self) -> Option<Maintained> {
        Some(Maintained { lake: Arc::clone(&self.lake), schemas: self.schemas.clone() })
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
                lake::overtaken().with_detail("The table was dropped and made again after the statement was planned.")
            );
        }
        let rows = places::arranged(rows, &planned.schema(), &shown_schema(&base)).ok_or_else(|| {
            lake::overtaken().with_detail("Columns of the table were changed after the statement was planned.")
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
        Outcome::Conflict(_) | Outcome::LeaseLost => Err(lake::overtaken()),
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

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iceberg").field("name", &self.name).finish_non_exhaustive()
    }
}
