//! What pipelines read of tables, read as the server's own: a query of ours over one table pinned once, through the pipeline of
//! every query. What becomes of its rows it does not know; they go to a table that has rights of its own.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Field, FieldRef, Int64Type, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;
use tokio_util::sync::CancellationToken;

use super::bodies;
use super::deep::{Deep, on_big_stack};
use super::facts::Facts;
use super::limits::Limits;
use super::pipeline::{self, Asked, Planned, Told, What};
use super::run::{self, Bounds};
use super::statement::storable;
use super::{Engine, World};
use crate::catalog::{Body, Entry};
use crate::error::{Error, Kind, Result};
use crate::pgtype::{self, oid};
use crate::policy::guard::Pins;
use crate::policy::own;
use crate::sources::declared::KeyKind;
use crate::sources::{Pinned, Table};
use crate::table_reads::{TableRead, TableReader};
use crate::types::{ObjectId, TableName, Version, quoted};

/// Of the value that rows are ordered by, behind the table's columns. No column of a table is called so.
const VALUE: &str = "\u{1}value";

/// For the pipelines of a process.
pub struct Reader(Arc<Engine>);

impl Reader {
    pub fn new(engine: Arc<Engine>) -> Self {
        Self(engine)
    }
}

/// One table, pinned.
struct Read {
    engine: Arc<Engine>,
    world: Arc<World>,
    id: ObjectId,
    name: TableName,
    identity: String,
    columns: SchemaRef,
    column_ids: Vec<Option<String>>,
    key: Vec<String>,
    /// Columns that are never NULL, as their source says.
    required: BTreeSet<String>,
    pinned: Pinned,
}

#[async_trait]
impl TableReader for Reader {
    async fn look(&self, name: &TableName) -> Result<Arc<dyn TableRead>> {
        let (engine, world) = (Arc::clone(&self.0), self.0.world());
        let missing = || Error::new(Kind::UndefinedTable, format!("relation \"{name}\" does not exist"));
        let Entry { object, body, .. } = world.catalog.entries.get(name).ok_or_else(missing)?;
        let Body::Table(table) = body else {
            let text = format!("\"{name}\" is a dataset or a view, and pipelines read tables");
            let hint = "A reflection keeps what a query says; a pipeline reads the tables that it is of.";
            return Err(Error::new(Kind::WrongObjectType, text).with_hint(hint));
        };
        let pinned = table.pin().await?;
        let column_ids = ids(table.as_ref());
        let key = primary_key(table.as_ref());
        let (id, identity, schema) = (object.id, table.identity(), Arc::clone(&object.schema));
        let required = schema.fields().iter().filter(|field| !field.is_nullable()).map(|field| field.name().clone());
        let required = required.collect();
        let mut read = Read {
            engine,
            world,
            id,
            name: name.clone(),
            identity,
            columns: schema,
            column_ids,
            key,
            required,
            pinned,
        };
        read.columns = read.kept().await?;
        Ok(Arc::new(read))
    }
}

/// What tells columns from later ones of their names, where that is not the name.
fn ids(table: &dyn Table) -> Vec<Option<String>> {
    let schema = table.schema();
    let ids = table.column_ids().into_iter().zip(schema.fields().iter());
    ids.map(|(ids, field)| ids.into_iter().next().filter(|id| id != field.name())).collect()
}

fn primary_key(table: &dyn Table) -> Vec<String> {
    let keys = &table.declared().keys;
    keys.iter().find(|key| key.kind == KeyKind::Primary).map(|key| key.columns.clone()).unwrap_or_default()
}

#[async_trait]
impl TableRead for Read {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn columns(&self) -> SchemaRef {
        Arc::clone(&self.columns)
    }

    fn column_ids(&self) -> &[Option<String>] {
        &self.column_ids
    }

    fn key(&self) -> &[String] {
        &self.key
    }

    fn version(&self) -> Option<String> {
        match &self.pinned.version {
            Version::Live => None,
            known @ (Version::Fixed(_)
            | Version::Snapshot(_)
            | Version::Fresh(..)
            | Version::Offsets { .. }
            | Version::Files(_)) => Some(format!("{known:?}")),
        }
    }

    fn may_order_by(&self, column: &str) -> Result<()> {
        self.ordered_by(column).map(|_| ())
    }

    async fn rows(&self) -> Result<SendableRecordBatchStream> {
        let sql = format!("SELECT {} FROM {}", self.list(), self.from());
        self.query(&sql, self.columns.fields().to_vec()).await
    }

    async fn rows_from(&self, column: &str, least: Option<&str>) -> Result<SendableRecordBatchStream> {
        let (by, column) = (self.ordered_by(column)?, quoted(column));
        let chosen = match least {
            Some(least) => format!("{column} >= {}", by.constant(least)),
            None => format!("{column} IS NOT NULL"),
        };
        let text = by.text(&column);
        // a cast is called as its column otherwise, by which rows are ordered
        let (list, value, from) = (self.list(), quoted(VALUE), self.from());
        let sql = format!("SELECT {list}, {text} AS {value} FROM {from} WHERE {chosen} ORDER BY {column}");
        let value = Arc::new(pgtype::field(VALUE, pgtype::Ty::TEXT, arrow::datatypes::DataType::Utf8));
        self.query(&sql, self.columns.fields().iter().cloned().chain([value]).collect()).await
    }

    async fn nulls(&self, column: &str) -> Result<u64> {
        let known = self.columns.field_with_name(column).map_err(|_| self.no_column(column))?;
        if self.required.contains(column) {
            return Ok(0);
        }
        let sql = format!("SELECT count(*) FROM {} WHERE {} IS NULL", self.from(), quoted(known.name()));
        let count = Arc::new(pgtype::field("count", pgtype::Ty::INT8, arrow::datatypes::DataType::Int64));
        let rows: Vec<_> = self.query(&sql, vec![count]).await?.try_collect().await?;
        let count = rows.iter().find_map(|rows| rows.column(0).as_primitive_opt::<Int64Type>()?.iter().next()?);
        u64::try_from(count.unwrap_or(-1)).map_err(|_| Error::internal("a count that gave no number"))
    }
}

impl Read {
    fn no_column(&self, column: &str) -> Error {
        Error::new(Kind::UndefinedColumn, format!("column \"{column}\" of \"{}\" does not exist", self.name))
    }

    fn ordered_by(&self, column: &str) -> Result<By> {
        let field = self.columns.field_with_name(column).map_err(|_| self.no_column(column))?;
        let ty = pgtype::of_field(field)?;
        By::of(ty.oid).ok_or_else(|| {
            let text = format!("column \"{column}\" of \"{}\" is of type {}, which is no cursor", self.name, ty.name());
            let hint = "A cursor is of type smallint, integer, bigint, numeric, date, timestamp or timestamptz.";
            Error::unsupported(text).with_hint(hint)
        })
    }

    fn from(&self) -> String {
        format!("{}.{}", quoted(&self.name.schema), quoted(&self.name.table))
    }

    fn list(&self) -> String {
        let mut list = String::new();
        for (at, field) in self.columns.fields().iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            let _ = write!(list, "{comma}{}", quoted(field.name()));
        }
        list
    }

    /// The columns as a table of a lake has them.
    async fn kept(&self) -> Result<SchemaRef> {
        let sql = format!("SELECT {} FROM {}", self.list(), self.from());
        let shown = self.planned(&sql, vec![]).await?.columns;
        let fields = storable(&shown).unwrap_or_else(|| shown.fields().to_vec());
        let nullable = fields.iter().map(|field| field.as_ref().clone().with_nullable(true));
        Ok(Arc::new(Schema::new(nullable.collect::<Vec<Field>>())))
    }

    async fn planned(&self, sql: &str, into: Vec<FieldRef>) -> Result<Planned> {
        let shared = &self.engine.shared;
        let policy = own::server_reading(&self.world.policies, [self.id]);
        let facts = Arc::new(Facts::of_server(Arc::new(self.world.for_server(None)), policy, shared)?);
        let query = on_big_stack(|| bodies::read(sql, &Limits::default()).map(|query| Deep::new(*query)))?;
        let told = Told { text: sql.into(), into, ..Told::default() };
        pipeline::plan(shared, &facts, Asked { what: What::Query(query), told }).await
    }

    async fn query(&self, sql: &str, into: Vec<FieldRef>) -> Result<SendableRecordBatchStream> {
        let shared = &self.engine.shared;
        let schema = Arc::new(Schema::new(into.clone()));
        let planned = self.planned(sql, into).await?;
        let Pinned { version, provider, reads } = self.pinned.clone();
        let mut pins = Pins::default();
        pins.insert(self.id, version, provider, reads);
        let bounds = Bounds { cancel: CancellationToken::new(), deadline: None };
        let ready = pipeline::over(shared, &planned, pins, &bounds).await?;
        Ok(run::run(&shared.lanes, ready, bounds)?.into_stream(None, schema))
    }
}

/// How the values of a column become texts, one each, and constants again. Floats are no cursors, as NaN is above all of them;
/// nor are texts, whose order is another in each source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Plain(&'static str),
    /// 1.0 and 1.00 are one value.
    Numeric,
    /// In whatever zone a session stands.
    Instant,
}

impl By {
    fn of(ty: u32) -> Option<Self> {
        Some(match ty {
            oid::INT2 => Self::Plain("smallint"),
            oid::INT4 => Self::Plain("integer"),
            oid::INT8 => Self::Plain("bigint"),
            oid::DATE => Self::Plain("date"),
            oid::TIMESTAMP => Self::Plain("timestamp"),
            oid::NUMERIC => Self::Numeric,
            oid::TIMESTAMPTZ => Self::Instant,
            _ => return None,
        })
    }

    fn text(self, column: &str) -> String {
        match self {
            Self::Plain(_) => format!("{column}::text"),
            Self::Numeric => format!("trim_scale({column})::text"),
            Self::Instant => format!("({column} AT TIME ZONE 'UTC')::text"),
        }
    }

    fn constant(self, text: &str) -> String {
        let text = text.replace('\'', "''");
        match self {
            Self::Plain(ty) => format!("'{text}'::{ty}"),
            Self::Numeric => format!("'{text}'::numeric"),
            Self::Instant => format!("('{text}'::timestamp AT TIME ZONE 'UTC')"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_text_and_that_text_the_value() {
        let check = |ty, text: &str, constant: &str| {
            let by = By::of(ty).unwrap();
            assert_eq!((by.text("c").as_str(), by.constant("5'").as_str()), (text, constant));
        };
        check(oid::INT4, "c::text", "'5'''::integer");
        check(oid::NUMERIC, "trim_scale(c)::text", "'5'''::numeric");
        check(oid::TIMESTAMPTZ, "(c AT TIME ZONE 'UTC')::text", "('5'''::timestamp AT TIME ZONE 'UTC')");
        for none in [oid::TEXT, oid::FLOAT8, oid::UUID, oid::BOOL, oid::INTERVAL] {
            assert_eq!(By::of(none), None);
        }
    }
}
