//! Where raw tables come from. A source names its tables and pins them; it knows no policy and no user, so nothing
//! here is ever handed to a session: `catalog` seals what it gets.

pub mod declared;
pub mod files;
mod guess;
pub mod iceberg;
pub mod kafka;
pub mod memory;
pub mod postgres;
mod tls;

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::execution::SendableRecordBatchStream;
use futures::future::BoxFuture;
use roaring::RoaringTreemap;

use serde::{Deserialize, Deserializer};

use crate::error::{Error, Result};
use crate::lake::{self, Lake};
use crate::metastore::Metastore;
use crate::types::{AsOf, Reads, TableName, Version};

use self::iceberg::Maintained;
use declared::{Declared, Materialized};

pub use crate::lake::{Isolation, ViewColumn, ViewText};

/// What `catalog/sources/<name>.toml` says beside its `kind`.
#[derive(Debug, Clone)]
pub enum Config {
    Files(files::Config),
    Iceberg(self::iceberg::Config),
    Kafka(kafka::Config),
    Memory(memory::Config),
    Postgres(postgres::Config),
}

impl Config {
    /// Every word `kind` takes.
    pub const KINDS: [&str; 5] = ["files", "iceberg", "kafka", "memory", "postgres"];

    /// The file gives this source the schema, so that nobody else may have it. A lake's schemas are found.
    pub fn declares(&self, schema: &str) -> bool {
        match self {
            Self::Files(config) => config.schema == schema,
            Self::Iceberg(_) => false,
            Self::Kafka(config) => config.schema == schema,
            Self::Memory(config) => {
                config.table.iter().any(|t| t.name.split_once('.').is_some_and(|(first, _)| first == schema))
            }
            Self::Postgres(config) => config.schemas.values().any(|mounted| mounted == schema),
        }
    }

    /// The keys of this kind; `None` where there is no such kind.
    pub fn read<'de, D: Deserializer<'de>>(kind: &str, keys: D) -> Option<Result<Self, D::Error>> {
        Some(match kind {
            "files" => files::Config::deserialize(keys).map(Self::Files),
            "iceberg" => self::iceberg::Config::deserialize(keys).map(Self::Iceberg),
            "kafka" => kafka::Config::deserialize(keys).map(Self::Kafka),
            "memory" => memory::Config::deserialize(keys).map(Self::Memory),
            "postgres" => postgres::Config::deserialize(keys).map(Self::Postgres),
            _ => return None,
        })
    }
}

/// The source that a file describes; what contradicts itself there is found, nothing is asked of the source yet. Lakes
/// keep their catalog in `metastore`.
pub fn connect(name: &str, config: &Config, metastore: &Arc<Metastore>) -> Result<Arc<dyn Source>> {
    Ok(match config {
        Config::Files(config) => Arc::new(files::Files::new(name, config)?),
        Config::Iceberg(config) => {
            let lake = Lake::connect(&config.lake(), Arc::clone(metastore))?;
            Arc::new(self::iceberg::Iceberg::new(name, config, Arc::new(lake)))
        }
        Config::Kafka(config) => Arc::new(kafka::Kafka::new(name, config.clone())?),
        Config::Memory(config) => Arc::new(memory::Memory::configured(name, config)?),
        Config::Postgres(config) => Arc::new(postgres::Postgres::new(name, config.clone())?),
    })
}

/// One configured source: `catalog/sources/<name>.toml`.
///
/// Nothing connects in a constructor: a source that is down is found out by [`Source::tables`], which answers
/// [`crate::error::Kind::SourceUnreachable`] naming the source, within its own timeout. The caller retries.
#[async_trait]
pub trait Source: Debug + Send + Sync {
    /// The file's name, used in every error about this source.
    fn name(&self) -> &str;

    /// The schemas this source mounts and nobody else may: known without connecting. A lake mounts what it finds and
    /// answers its namespaces of the last [`Source::tables`]; two files that declare one schema are a load error.
    fn schemas(&self) -> Vec<String>;

    /// Its schemas are found in the source, where others may make them, and not declared in its file: a name that a file
    /// declares is not given to it.
    fn finds_schemas(&self) -> bool {
        false
    }

    /// Something that changes whenever [`Source::tables`] would answer differently, cheap enough to ask three times a second.
    /// `None`: there is no such thing; ask for the tables at leisure (every few seconds).
    async fn revision(&self) -> Result<Option<u64>>;

    /// Every table and every view that it keeps, in any order, under mounted names. Called whenever the revision moved.
    async fn tables(&self) -> Result<Vec<Arc<dyn Table>>>;

    /// Whether it runs texts as they stand ([`Source::query`]).
    fn answers_queries(&self) -> bool {
        false
    }

    /// What a text in the source's own language comes to, described and not run: a scan of the provider runs it, once each.
    /// It reads and changes nothing, as far as the source itself sees to that, and its names are the source's. An error of
    /// the source's is told in its own words and with its SQLSTATE, since whoever gets here may query it.
    async fn query(&self, _text: &str) -> Result<Pinned> {
        Err(Error::unsupported(format!("running a text on source \"{}\"", self.name())))
    }

    /// Tables of this source can be made, filled and dropped. `None` for a source that is only read.
    fn writer(&self) -> Option<Arc<dyn Writer>> {
        None
    }

    /// Whether rows of its tables are changed by statements of its own ([`Table::is_foreign`]): as its file says, or never.
    fn changes_rows(&self) -> ChangesRows {
        ChangesRows::Never
    }

    /// Several changes that others see at once or not at all; `None` for a source that is only read.
    async fn begin(&self, _: Isolation) -> Result<Option<Arc<dyn Staging>>> {
        Ok(None)
    }
}

/// Of a source that is no lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangesRows {
    Never,
    /// Its file may allow it, and does not.
    NotAllowed,
    Allowed,
}

/// What one session's transaction does to a source. Dropped, nothing of it happened.
#[async_trait]
pub trait Staging: Debug + Send + Sync {
    /// The source as the transaction sees it.
    fn source(&self) -> Arc<dyn Source>;

    fn has_changes(&self) -> bool;

    /// Savepoints, counted from 0.
    fn save(&self);

    /// What was done since belongs to what is around it.
    fn release(&self, level: usize);

    /// As it was at the savepoint, which stays.
    fn roll_back_to(&self, level: usize);

    /// All of it, or an error and nothing: 40001 where others changed what it stands on. 08007 where it cannot be known
    /// whether it happened.
    async fn commit(&self) -> Result<()>;

    /// The statement that ran was given up: what it left running at the source ends, and the transaction waits for that.
    fn interrupt(&self) {}
}

/// One raw table. Immutable: a table whose columns changed is a new value under the same identity.
#[async_trait]
pub trait Table: Debug + Send + Sync {
    fn name(&self) -> &TableName;

    /// Stable across rename and restart, new after drop and create: `iceberg:<uuid>`, `postgres:<source>:<oid>`,
    /// `files:<source>:<table>`, `kafka:<source>:<topic>`, `memory:<schema.table>`.
    fn identity(&self) -> String;

    /// Raw columns with true nullability; Field metadata as `formats::postgres` defines it (oid, typmod).
    fn schema(&self) -> SchemaRef;

    /// For each column of [`Table::schema`] what tells it from a later one of its name, and the same for each field within
    /// it: Iceberg's field ids, PostgreSQL's attnum. By default the name: a source that has nothing else cannot tell.
    fn column_ids(&self) -> Vec<Vec<String>> {
        by_name(&self.schema())
    }

    /// Keys, indexes and comments, for the catalogs.
    fn declared(&self) -> &Declared {
        Declared::nothing()
    }

    /// Columns that a `*` or a whole-table grant does not cover and that need a policy line of their own (a Kafka
    /// record's raw `_key`). They stand in [`Table::schema`] too.
    fn raw_columns(&self) -> &[String] {
        &[]
    }

    /// By which a row is known to whoever would change it: the columns that [`Base::rows`] has behind the table's, its file
    /// and its position there first. None where rows cannot be changed.
    fn place(&self) -> Vec<FieldRef> {
        vec![]
    }

    /// The source changes its rows by statements of its own ([`Base::foreign`]), and [`Table::place`] is what those know a row
    /// by.
    fn is_foreign(&self) -> bool {
        false
    }

    /// As [`Table::pin`], to be changed.
    async fn base(&self) -> Result<Arc<dyn Base>> {
        Err(Error::unsupported("changing rows of this table"))
    }

    /// Whether the tail is one of the table as it is now.
    async fn holds(&self, _: &Arc<lake::Tail>) -> Result<bool> {
        Ok(true)
    }

    /// Numbers that nobody else gets of a column that counts ([`declared::Counter`]), one increment apart: the first, and how
    /// many it is of, `count` where there are so many. 2200H where there are none left.
    async fn take(&self, _column: &str, _count: u32) -> Result<(i64, u32)> {
        Err(Error::unsupported("counting a column of this table"))
    }

    /// The next number that [`Table::take`] gives.
    async fn restart(&self, _column: &str, _next: i128) -> Result<()> {
        Err(Error::unsupported("counting a column of this table"))
    }

    /// What the source says of the table, as tables beside it.
    fn metadata_tables(&self) -> Vec<Arc<dyn Table>> {
        vec![]
    }

    /// Of one of [`Table::metadata_tables`]: its rows tell values of the table that it is about, or how many it has.
    fn tells_values(&self) -> bool {
        true
    }

    /// Whether [`Table::version`] can be asked.
    fn keeps_versions(&self) -> bool {
        false
    }

    /// The table as it was: the same identity, the columns of then by their names of then. A column that is there still has
    /// the type of now, which is as wide or wider. 22023 where there is no such version, 0A000 where the source keeps none.
    async fn version(&self, _: &AsOf) -> Result<Arc<dyn Table>> {
        Err(no_versions(self.name()))
    }

    /// As [`Table::version`], without asking the source: among those that were there when it was asked last. For columns,
    /// not for rows.
    fn known_version(&self, _: &AsOf) -> Result<Arc<dyn Table>> {
        Err(no_versions(self.name()))
    }

    /// For a view that the source only keeps: its text is planned as a dataset's is, and it is never pinned.
    fn view(&self) -> Option<&ViewText> {
        None
    }

    /// Fixes what one statement sees: an Iceberg snapshot, Kafka end offsets. The provider's schema equals
    /// [`Table::schema`] in names, types and order, or the error is [`crate::error::Kind::CachedPlanChanged`] and the
    /// caller refreshes the catalog and plans again. The provider answers its own filters as `Inexact` at most where it
    /// cannot filter exactly, and may be scanned several times with one answer.
    async fn pin(&self) -> Result<Pinned>;

    /// As [`Table::pin`], in the transaction in which a statement changes another table of this source: what it reads besides
    /// needs no connection of its own. `None` where there is no such thing.
    fn pin_beside(&self, _: &dyn Base) -> Option<Pinned> {
        None
    }

    /// By which it is known whether a pipeline has taken in changes of it that no commit has. `None` where there is no such
    /// thing, or where the table is not read as it is now.
    fn tailed(&self) -> Option<lake::Tailed> {
        None
    }

    /// As [`Table::pin`], with those changes: the snapshot is the tail's.
    async fn pin_with(&self, _: &Arc<lake::Tail>) -> Result<Pinned> {
        Err(Error::internal(format!("a tail of table {}, which has none", self.name())))
    }
}

fn no_versions(name: &TableName) -> Error {
    Error::unsupported(format!("reading table {name} as it was"))
}

/// Ids of columns that have nothing but their names.
pub fn by_name(schema: &Schema) -> Vec<Vec<String>> {
    schema.fields().iter().map(|field| vec![field.name().clone()]).collect()
}

/// Key of the metadata of a field that could not keep its column's name, because another one has it.
pub(crate) const CALLED: &str = "lakegate.called";

/// How a source calls the column.
pub(crate) fn called(field: &Field) -> &str {
    field.metadata().get(CALLED).map_or(field.name(), String::as_str)
}

/// A table as one statement sees it.
#[derive(Clone)]
pub struct Pinned {
    pub version: Version,
    pub provider: Arc<dyn TableProvider>,
    /// Knows the leaves of this table's scans. A leaf under a full grant must be known so, or the statement is refused.
    pub reads: Reads,
}

impl Debug for Pinned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pinned").field("version", &self.version).finish_non_exhaustive()
    }
}

/// A change of a table's definition.
#[derive(Clone, Debug)]
pub enum Alteration {
    Column(lake::Alter),
    /// What a column is where a row is written without a value for it.
    Default {
        column: String,
        to: Option<String>,
    },
    /// Properties that the table gets.
    Set(Vec<(String, String)>),
    Unset(Vec<String>),
    /// What the table is, in words.
    Comment(Option<String>),
}

/// A table as the statement found it that changes it.
pub trait Base: Debug + Send + Sync {
    /// As [`Table::pin`] has it, of the same snapshot: what the statement reads of it besides.
    fn pinned(&self) -> Pinned;

    /// Its rows, [`Table::place`]'s columns behind the table's.
    fn rows(&self) -> Pinned;

    /// One commit, after the last row has come: rows are added, and those that are gone by then are deleted. The stream's
    /// columns are the table's, in order; behind them may be the third of [`Table::place`], where rows stay the rows they
    /// were. 40001 where others changed the same rows or their neighbours meanwhile; what they added stays.
    fn change<'a>(&'a self, session: &'a dyn Session, change: Change) -> BoxFuture<'a, Result<()>>;

    /// Where the source changes the rows itself, how; then [`Base::change`] is not asked.
    fn foreign(self: Arc<Self>) -> Option<Arc<dyn Foreign>> {
        None
    }

    /// What [`Table::pin_beside`] knows its source's transaction by.
    fn transaction(&self) -> Option<&(dyn Any + Send + Sync)> {
        None
    }
}

/// One statement's changes of a table whose source makes them: in the transaction that the table was found in, or in one of
/// the statement's own. Dropped before [`Foreign::finish`], nothing of one of its own happened.
#[async_trait]
pub trait Foreign: Debug + Send + Sync {
    /// May be asked several times. An error leaves the transaction of no use, but for [`Foreign::undo`]. 40001 where rows
    /// are not what the statement has read.
    async fn change(&self, rows: ForeignRows, how: ForeignHow) -> Result<ForeignDone>;

    /// The statement is done; a transaction of its own is committed, as [`Staging::commit`] does it.
    async fn finish(&self) -> Result<()>;

    /// Nothing of the statement happened; it may begin again, over a [`Table::base`] of then.
    async fn undo(&self) -> Result<()>;
}

/// Rows for a source to change. Columns go by their names, and are some of [`Table::schema`]'s.
pub enum ForeignRows {
    /// `given`: what has values; other columns are what the source makes of them.
    Insert {
        given: RecordBatch,
        overriding: Option<Overriding>,
        conflict: Option<SkipConflict>,
    },
    /// `places`: the columns of [`Table::place`]; `defaults`: columns that become what the source gives them.
    Update {
        places: RecordBatch,
        given: RecordBatch,
        defaults: Vec<String>,
    },
    Delete {
        places: RecordBatch,
    },
}

/// Whose value an identity column of a new row gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overriding {
    User,
    System,
}

/// New rows with whose keys there is a row already are left out: by this key, or by any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SkipConflict {
    Any,
    Columns(Vec<String>),
    Constraint(String),
}

/// What a source is asked besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignHow {
    /// The rows as they are afterwards, all columns.
    pub shows: bool,
    /// Whoever asks may read all of the table: errors about it are told in the source's words.
    pub sees_all: bool,
}

/// What came of it.
pub struct ForeignDone {
    pub rows: u64,
    /// In the order of [`Table::schema`], where they were asked for.
    pub shown: Option<ForeignShown>,
}

/// Rows as they are at the source.
pub struct ForeignShown {
    /// Which of the rows of an UPDATE each was, from 0. An INSERT does not say.
    pub of: Vec<usize>,
    pub rows: RecordBatch,
}

/// What a statement does to a table's rows.
pub struct Change {
    pub how: How,
    pub rows: SendableRecordBatchStream,
    /// Positions by file. Complete once `rows` have ended.
    pub gone: Arc<Mutex<Gone>>,
    /// What was not there counts too: it comes to 40001 where others have added rows meanwhile.
    pub alone: bool,
}

/// Rows of a table by their places.
pub type Gone = BTreeMap<String, RoaringTreemap>;

/// Tables may want each of them done in another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Delete,
    Update,
    Merge,
}

/// The rows that a materialized view has. None but [`Writer::standing`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    snapshot: Option<i64>,
}

/// Makes, fills and drops tables. Each call is one atomic commit; an error leaves nothing visible.
#[async_trait]
pub trait Writer: Debug + Send + Sync {
    /// 42P06 where it exists already.
    async fn create_schema(&self, name: &str) -> Result<()>;

    /// 2BP01 while tables stand in it, 3F000 where it is absent.
    async fn drop_schema(&self, name: &str) -> Result<()>;

    /// Makes the table and, with `rows`, fills it in the same commit (CREATE TABLE AS). Returns the rows written.
    async fn create_table(
        &self,
        name: &TableName,
        schema: SchemaRef,
        making: lake::Making,
        rows: Option<SendableRecordBatchStream>,
    ) -> Result<u64>;

    /// Appends in one commit. `planned` is the table as the statement was planned over it, and the stream's columns are
    /// its columns, in order. Each goes into the column that it was planned for, wherever that stands by now; 40001 where
    /// the table is another or one of the columns is not there any more.
    async fn append(&self, planned: &dyn Table, rows: SendableRecordBatchStream) -> Result<u64>;

    /// Forgets the table; its files stay.
    async fn drop_table(&self, name: &TableName) -> Result<()>;

    /// All changes in one commit: 42703, 42701, 23502 where rows have NULLs in what is to have none, 0A000 where the table's
    /// format has no such change. 40001 where the table is another one than `planned`.
    async fn alter_table(&self, session: &dyn Session, planned: &dyn Table, changes: &[Alteration]) -> Result<()>;

    /// Another name, perhaps in another schema of the same source. 42P07, 3F000.
    async fn rename_table(&self, name: &TableName, to: &TableName) -> Result<()>;

    /// Every row goes, in one commit.
    async fn truncate_table(&self, planned: &dyn Table) -> Result<()>;

    /// What a refresh that begins now is going to replace.
    async fn standing(&self, planned: &dyn Table) -> Result<Standing>;

    /// Every row of a materialized view goes and these come, in one commit, which says `of` of it. 40001 where others
    /// changed its rows since `standing`, and where they changed its files alone (a compaction, its manifests).
    async fn refill(
        &self,
        planned: &dyn Table,
        standing: Standing,
        rows: Option<SendableRecordBatchStream>,
        of: &Materialized,
    ) -> Result<u64>;

    /// 42P07 where a table or a view has the name, 0A000 where the source's catalog cannot hold views.
    async fn create_view(&self, name: &TableName, view: &ViewText) -> Result<()>;

    /// `planned` is the view as the statement saw it: 40001 where it is another one by now.
    async fn replace_view(&self, planned: &dyn Table, view: &ViewText) -> Result<()>;

    /// To another name of this source. 42P07 where that is taken, 40001 as [`Writer::replace_view`].
    async fn rename_view(&self, planned: &dyn Table, to: &TableName) -> Result<()>;

    /// 40001 as [`Writer::replace_view`].
    async fn drop_view(&self, planned: &dyn Table) -> Result<()>;

    /// What is behind it, for those who keep its tables in order: no statement of a transaction does. `None` where there is
    /// nothing to keep.
    fn maintained(&self) -> Option<Maintained> {
        None
    }
}
