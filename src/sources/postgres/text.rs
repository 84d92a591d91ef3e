//! A text that the source runs as it stands, for whoever may query it: described, and read by COPY like everything else. It
//! runs in a transaction that reads only, on a connection that is lent to no scan of a table. What a function of the source
//! does beside its transaction (a dblink, a file, a sleep) is the source's to allow.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use tokio_postgres::Statement as Prepared;
use tokio_postgres::types::Kind as TypeKind;

use super::connect::{Lease, Pool, Use};
use super::pushdown::Statement;
use super::relations::{Form, NUMERIC, any_numeric, shaped};
use super::scan::{Asked, PostgresExec, Scan};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::field;
use crate::scan::{Scanned, scan_by};
use crate::sources::{CALLED, Pinned};
use crate::types::{Share, Version};

/// Names without a schema are looked up as in a session of the source's role: nobody else wrote the text.
const BEGIN: &str = "BEGIN READ ONLY; SET LOCAL search_path TO DEFAULT";

/// One query of the source's language, and what it comes to.
#[derive(Debug)]
pub(super) struct Text {
    pool: Arc<Pool>,
    sql: String,
    columns: Vec<Column>,
    schema: SchemaRef,
}

/// A column as the source describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Column {
    name: String,
    oid: u32,
    typmod: i32,
    form: Form,
}

/// What a text comes to; nothing of it runs.
pub(super) async fn pinned(pool: &Arc<Pool>, text: &str) -> Result<Pinned> {
    // a query that stands in another one ends without it
    let sql = text.trim_end_matches(|c: char| c == ';' || c.is_whitespace());
    if sql.contains('\0') {
        return Err(Error::new(Kind::InvalidParameter, "a query contains a NUL character"));
    }
    let text = Arc::new(described(pool, sql).await?);
    let known = Arc::clone(&text);
    let reads = Arc::new(move |leaf: &dyn ExecutionPlan| PostgresExec::runs(leaf, &known).then_some(Share::WHOLE));
    Ok(Pinned { version: Version::Live, reads, provider: Arc::new(Answer(text)) })
}

async fn described(pool: &Arc<Pool>, sql: &str) -> Result<Text> {
    loop {
        let lease = pool.lease(Use::Texts).await?;
        match describe(pool, &lease, sql).await {
            Ok(text) => {
                lease.finish();
                return Ok(text);
            }
            // The server was restarted while the connection lay idle.
            Err(_) if lease.used && lease.client().is_closed() => lease.discard(),
            Err(error) => {
                if error.kind() != Kind::SourceUnreachable {
                    lease.finish();
                }
                return Err(error);
            }
        }
    }
}

async fn describe(pool: &Arc<Pool>, lease: &Lease, sql: &str) -> Result<Text> {
    let prepared = prepare(pool, lease, sql).await?;
    if !prepared.params().is_empty() {
        return Err(Error::new(Kind::UndefinedParameter, "there is no parameter $1"));
    }
    let columns: Vec<Column> = prepared.columns().iter().map(Column::of).collect();
    if columns.is_empty() {
        return Err(Error::unsupported("a query for a source that has no columns"));
    }
    let schema = Arc::new(Schema::new(fields(&prepared)));
    let text = Text { pool: Arc::clone(pool), sql: sql.to_owned(), columns, schema };
    // SHOW, EXPLAIN, FETCH and what changes rows have columns too
    let all: Vec<usize> = (0..text.columns.len()).collect();
    match pool.answered(lease.client().prepare(&text.select(&all, None))).await {
        Ok(_) => Ok(text),
        Err(error) if error.sqlstate() == Kind::Syntax.sqlstate() => {
            let told = "a source runs one SELECT, VALUES, TABLE or WITH query";
            Err(Error::new(Kind::Unsupported, told).with_source(error))
        }
        Err(error) => Err(error),
    }
}

/// The text by itself, so that it is one statement and whole: what is put around it then ends where it should.
async fn prepare(pool: &Arc<Pool>, lease: &Lease, sql: &str) -> Result<Prepared> {
    pool.within(lease.client().batch_execute(BEGIN)).await?;
    pool.answered(lease.client().prepare(sql)).await
}

/// Each has a name of its own; one that another column has already stands beside it.
fn fields(prepared: &Prepared) -> Vec<Field> {
    let mut taken = HashSet::new();
    let each = prepared.columns().iter().enumerate().map(|(at, described)| {
        let name = described.name();
        let own = match taken.insert(name.to_owned()) {
            true => name.to_owned(),
            false => format!("{name}\0{at}"),
        };
        let (field, _) = shape(&own, described);
        match own == name {
            true => field,
            false => {
                let metadata = field.metadata().clone().into_iter().chain([(CALLED.to_owned(), name.to_owned())]);
                field.with_metadata(metadata.collect())
            }
        }
    });
    each.collect()
}

fn shape(name: &str, described: &tokio_postgres::Column) -> (Field, Form) {
    let (oid, typmod) = (described.type_().oid(), described.type_modifier());
    let typed = match described.type_().kind() {
        TypeKind::Enum(_) => None,
        _ if oid == NUMERIC => Some(any_numeric(name, typmod)),
        _ => field(name, oid, typmod, true),
    };
    shaped(name, oid, typed, true)
}

impl Column {
    fn of(described: &tokio_postgres::Column) -> Self {
        let (oid, typmod) = (described.type_().oid(), described.type_modifier());
        Self { name: described.name().to_owned(), oid, typmod, form: shape("", described).1 }
    }
}

impl Text {
    /// Its transaction, in which it is what it was when it was planned.
    pub(super) async fn begin(&self, lease: &Lease) -> Result<()> {
        let prepared = prepare(&self.pool, lease, &self.sql).await?;
        let now = prepared.columns().iter().map(Column::of);
        match now.eq(self.columns.iter().cloned()) {
            true => Ok(()),
            false => Err(Error::new(Kind::CachedPlanChanged, "cached plan must not change result type")),
        }
    }

    /// The type in which a column comes.
    pub(super) fn asked_oid(&self, at: usize) -> Option<u32> {
        self.columns.get(at).map(|column| column.form.asked(column.oid))
    }

    /// A line comment at its end ends with the line.
    fn select(&self, columns: &[usize], limit: Option<usize>) -> String {
        let names: Vec<String> = (0..self.columns.len()).map(|at| format!("c{at}")).collect();
        let asked = columns.iter().filter_map(|at| {
            let (column, name) = (self.columns.get(*at)?, names.get(*at)?);
            Some(column.form.sql(&format!("q.{name}")))
        });
        let asked = asked.collect::<Vec<_>>().join(", ");
        let limit = limit.map(|rows| format!(" LIMIT {rows}")).unwrap_or_default();
        format!("SELECT {asked} FROM (\n{}\n) AS q ({}){limit}", self.sql, names.join(", "))
    }
}

/// The rows of a text. Filters stay above it: what the source is asked is what was written.
#[derive(Debug)]
struct Answer(Arc<Text>);

impl TableProvider for Answer {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    scan_by!(scanned);
}

impl Answer {
    fn scanned<'a>(
        &'a self,
        _: &'a dyn Session,
        projection: Option<&'a Vec<usize>>,
        filters: &'a [Expr],
        limit: Option<usize>,
    ) -> Scanned<'a> {
        Box::pin(async move {
            let text = Arc::clone(&self.0);
            let columns = projection.cloned().unwrap_or_else(|| (0..text.columns.len()).collect());
            let sql = text.select(&columns, limit.filter(|_| filters.is_empty()));
            let schema = Arc::new(text.schema.project(&columns)?);
            let scan = Scan {
                pool: Arc::clone(&text.pool),
                transaction: None,
                tables: vec![],
                statement: Statement { sql, shape: "as given".into() },
                schema,
                asked: Asked::Text { text, columns },
                rows: None,
            };
            Ok(Arc::new(PostgresExec::new(scan)) as Arc<dyn ExecutionPlan>)
        })
    }
}
