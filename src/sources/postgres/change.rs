//! One statement's changes of a table here: rows of values → INSERT, UPDATE and DELETE as this database says them, each value
//! in its type's own spelling. Which rows those are, and who may do it, is settled before.

use std::any::Any;
use std::collections::HashSet;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Array, AsArray, StringArray};
use arrow::compute::{sort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use datafusion::catalog::Session;
use futures::future::BoxFuture;
use futures::{TryStreamExt, join};
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

use super::pushdown::identifier;
use super::refusal::{self, Of, overtaken};
use super::relations::{PLACE, Relation};
use super::rows;
use super::transaction::{PATH_OF_OURS, PATH_OF_ROLE, Transaction};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::copy::{self, CopyDecoder};
use crate::formats::postgres::{Style, texts};
use crate::sources::{
    Base, Change, Foreign, ForeignDone, ForeignHow, ForeignRows, ForeignShown, Overriding, Pinned, SkipConflict,
};
use crate::types::TableName;

/// Types of [`PLACE`], in arrays of which places are sent.
const PLACE_TYPES: [&str; 3] = ["oid", "tid", "xid"];
const INT8: u32 = 20;
/// Of the type that is one byte.
const CHAR: u32 = 18;
/// What a statement that is done again goes back to.
const STATEMENT: &str = "lakegate_statement";

#[derive(Debug)]
pub(super) struct Changing {
    relation: Arc<Relation>,
    transaction: Arc<Transaction>,
    /// Something was asked for.
    begun: AtomicBool,
}

impl Changing {
    /// In this transaction, or in one of its own.
    pub(super) fn of(relation: Arc<Relation>, transaction: Option<Arc<Transaction>>) -> Arc<dyn Base> {
        let transaction = transaction.unwrap_or_else(|| Transaction::single(Arc::clone(&relation.pool)));
        Arc::new(Self { relation, transaction, begun: AtomicBool::new(false) })
    }
}

impl Base for Changing {
    fn pinned(&self) -> Pinned {
        self.relation.pinned(Some(&self.transaction), false)
    }

    fn rows(&self) -> Pinned {
        self.relation.pinned(Some(&self.transaction), true)
    }

    fn change<'a>(&'a self, _: &'a dyn Session, _: Change) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Err(Error::internal("a source's rows were to be changed as a lake's")) })
    }

    fn foreign(self: Arc<Self>) -> Option<Arc<dyn Foreign>> {
        Some(self)
    }

    fn transaction(&self) -> Option<&(dyn Any + Send + Sync)> {
        Some(&self.transaction)
    }
}

#[async_trait]
impl Foreign for Changing {
    async fn change(&self, rows: ForeignRows, how: ForeignHow) -> Result<ForeignDone> {
        let asked = Asked::of(&self.relation, &rows, how.shows)?;
        let turn = self.transaction.turn().await?;
        let mut before = vec![];
        if !self.begun.swap(true, Ordering::AcqRel) {
            self.transaction.changes();
            if !self.transaction.is_single() {
                before.push(format!("SAVEPOINT {STATEMENT}"));
            }
        }
        before.push(PATH_OF_ROLE.to_owned());
        let (before, asked) = (before.join("; "), &asked);
        // each pair is sent at once, and answered in its order
        let done = turn.run(|client| async move {
            let ((), prepared) = in_order(client.batch_execute(&before), client.prepare(&asked.sql)).await?;
            let after = client.batch_execute(PATH_OF_OURS);
            if !how.shows {
                let parameters: Vec<&(dyn ToSql + Sync)> = asked.parameters.iter().map(|p| p as _).collect();
                let (rows, ()) = in_order(client.execute(&prepared, &parameters), after).await?;
                return Ok((rows, vec![]));
            }
            let shown = async {
                let rows = client.query_raw(&prepared, &asked.parameters).await?;
                rows.and_then(|row| async move { rows::tuple(&row) }).try_collect::<Vec<Bytes>>().await
            };
            let (shown, ()) = in_order(shown, after).await?;
            Ok((shown.len() as u64, shown))
        });
        let names = |column: &str| asked.given.contains(column);
        let of = Of { remote: &self.relation.remote, sees_all: how.sees_all, names: &names };
        let (rows, shown) = done.await?.map_err(|error| refusal::refused(&self.relation.pool, error, Some(&of)))?;
        let wanted = asked.places.as_ref().map_or(rows, |(_, count)| *count);
        if let Some((places, _)) = &asked.places
            && rows < wanted
        {
            // Others have changed them since; or a trigger has left out some that are still as they were.
            let still = format!(
                "SELECT pg_catalog.count(*) FROM {} AS t JOIN {} ON {}",
                table(&self.relation)?,
                asked.from(0)?,
                SAME_PLACE
            );
            let counted = turn.run(|client| async move {
                let places: Vec<&(dyn ToSql + Sync)> = places.iter().map(|p| p as _).collect();
                client.query_one(&still, &places).await?.try_get::<_, i64>(0)
            });
            let left = counted.await?.map_err(|error| self.relation.pool.failed(error))?;
            if u64::try_from(left).ok() != Some(wanted - rows) {
                return Err(overtaken());
            }
        }
        let shown = match how.shows {
            true => Some(self.shown(&shown, asked.numbered)?),
            false => None,
        };
        Ok(ForeignDone { rows, shown })
    }

    async fn finish(&self) -> Result<()> {
        match (self.transaction.is_single(), self.begun.swap(false, Ordering::AcqRel)) {
            (true, _) => self.transaction.commit().await,
            (false, false) => Ok(()),
            (false, true) => self.behind(format!("RELEASE SAVEPOINT {STATEMENT}")).await,
        }
    }

    async fn undo(&self) -> Result<()> {
        match (self.transaction.is_single(), self.begun.swap(false, Ordering::AcqRel)) {
            // it goes with this
            (true, _) | (false, false) => Ok(()),
            (false, true) => {
                self.behind(format!("ROLLBACK TO SAVEPOINT {STATEMENT}; RELEASE SAVEPOINT {STATEMENT}")).await
            }
        }
    }
}

/// Both, sent at once: where the first fails the second does too, for no reason of its own, and may be heard of before.
async fn in_order<A, B>(
    first: impl Future<Output = Result<A, tokio_postgres::Error>>,
    second: impl Future<Output = Result<B, tokio_postgres::Error>>,
) -> Result<(A, B), tokio_postgres::Error> {
    let (first, second) = join!(first, second);
    Ok((first?, second?))
}

impl Changing {
    async fn behind(&self, what: String) -> Result<()> {
        let turn = self.transaction.turn().await?;
        let done = turn.run(|client| async move { client.batch_execute(&what).await }).await?;
        done.map_err(|error| self.relation.pool.failed(error))
    }

    /// Rows that came back, whose first column says which they are where they are numbered.
    fn shown(&self, tuples: &[Bytes], numbered: bool) -> Result<ForeignShown> {
        let number = numbered.then(|| Arc::new(Field::new("\0n", DataType::Int64, false)));
        let fields: Vec<_> = number.into_iter().chain(self.relation.schema.fields().iter().cloned()).collect();
        let first = usize::from(numbered);
        let oids: Vec<u32> =
            numbered.then_some(INT8).into_iter().chain(self.relation.columns.iter().map(|c| c.oid)).collect();
        let mut decoder = CopyDecoder::new(Arc::new(Schema::new(fields)), &oids)?;
        decoder.feed(&copy::beginning())?;
        for tuple in tuples {
            decoder.feed(tuple).map_err(|error| match error.kind() {
                Kind::InvalidBinary => {
                    let text = format!("source \"{}\" failed", self.relation.pool.source());
                    Error::new(Kind::SourceFailed, text).with_source(error)
                }
                _ => error,
            })?;
        }
        decoder.feed(&copy::TRAILER)?;
        decoder.finish()?;
        let mut batch = decoder.take()?;
        if numbered {
            // joined to their places they come in any order
            let order = sort_to_indices(batch.column(0), None, None)?;
            batch = take_record_batch(&batch, &order)?;
        }
        let all: Vec<usize> = (first..batch.num_columns()).collect();
        let of = match numbered {
            false => vec![],
            true => {
                let numbers = batch.column(0).as_primitive::<arrow::datatypes::Int64Type>();
                // WITH ORDINALITY counts from one
                numbers.values().iter().filter_map(|n| usize::try_from(*n).ok()?.checked_sub(1)).collect()
            }
        };
        Ok(ForeignShown { of, rows: batch.project(&all)? })
    }
}

/// `u` has the places of rows of `t`.
const SAME_PLACE: &str = "t.tableoid = u.p0 AND t.ctid = u.p1 AND t.xmin = u.p2";

/// A statement for the source, and an array for each of its columns.
struct Asked<'a> {
    sql: String,
    parameters: Vec<Spelt>,
    /// Of rows that are there: their arrays, and how many they are.
    places: Option<(Vec<Spelt>, u64)>,
    given: HashSet<&'a str>,
    /// RETURNING has their numbers first.
    numbered: bool,
}

impl<'a> Asked<'a> {
    fn of(relation: &'a Relation, rows: &'a ForeignRows, shows: bool) -> Result<Self> {
        let (places, given) = match rows {
            ForeignRows::Insert { given, .. } => (None, Some(given)),
            ForeignRows::Update { places, given, .. } => (Some(places), Some(given)),
            ForeignRows::Delete { places } => (Some(places), None),
        };
        let places = match places {
            None => None,
            Some(places) => {
                let columns = places.columns().iter().map(|column| {
                    column.as_string_opt::<i32>().map(array).ok_or_else(|| Error::internal("places that are no texts"))
                });
                Some((columns.collect::<Result<Vec<_>>>()?, places.num_rows() as u64))
            }
        };
        let mut asked = Self { sql: String::new(), parameters: vec![], places, given: HashSet::new(), numbered: false };
        asked.parameters.extend(asked.places.iter().flat_map(|(places, _)| places.iter().cloned()));
        let style = Style { extra_float_digits: 3, ..Style::of(chrono_tz::UTC) };
        let mut columns = vec![];
        for (field, values) in given.iter().flat_map(|given| given.schema_ref().fields().iter().zip(given.columns())) {
            let (_, column) = relation.column(field.name())?;
            asked.given.insert(field.name());
            let mut values = texts(field, values, &style)?;
            if column.own_oid == CHAR {
                // a byte of zero is spelt as nothing
                values = values.iter().map(|value| value.map(|value| value.trim_end_matches('\0'))).collect();
            }
            asked.parameters.push(array(&values));
            let at = columns.len();
            columns.push((identifier(&column.name)?, format!("u.c{at}::{}", column.spelt)));
        }
        let table = table(relation)?;
        asked.sql = match rows {
            ForeignRows::Insert { given, overriding, conflict } => {
                let overriding = match overriding {
                    None => "",
                    Some(Overriding::User) => " OVERRIDING USER VALUE",
                    Some(Overriding::System) => " OVERRIDING SYSTEM VALUE",
                };
                let (names, values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
                let rows = match names.is_empty() {
                    // as many as there are, of nothing but defaults
                    true => format!("{overriding} SELECT FROM pg_catalog.generate_series(1, {})", given.num_rows()),
                    false => {
                        let from = asked.from(names.len())?;
                        format!(" ({}){overriding} SELECT {} FROM {from}", names.join(", "), values.join(", "))
                    }
                };
                format!("INSERT INTO {table} AS t{rows}{}", skipping(relation, conflict.as_ref())?)
            }
            ForeignRows::Update { defaults, .. } => {
                let mut set: Vec<String> = columns.iter().map(|(name, value)| format!("{name} = {value}")).collect();
                for name in defaults {
                    let (_, column) = relation.column(name)?;
                    asked.given.insert(name);
                    set.push(format!("{} = DEFAULT", identifier(&column.name)?));
                }
                let from = asked.from(columns.len())?;
                asked.numbered = shows;
                format!("UPDATE {table} AS t SET {} FROM {from} WHERE {SAME_PLACE}", set.join(", "))
            }
            ForeignRows::Delete { .. } => {
                let from = asked.from(0)?;
                asked.numbered = shows;
                format!("DELETE FROM {table} AS t USING {from} WHERE {SAME_PLACE}")
            }
        };
        if shows {
            let mut all = if asked.numbered { vec!["u.n".to_owned()] } else { vec![] };
            for column in &relation.columns {
                all.push(column.form.sql(&format!("t.{}", identifier(&column.name)?)));
            }
            let _ = write!(asked.sql, " RETURNING {}", all.join(", "));
        }
        Ok(asked)
    }

    /// The places, and so many columns of text behind them.
    fn from(&self, columns: usize) -> Result<String> {
        let places = if self.places.is_some() { PLACE.len() } else { 0 };
        let types = PLACE_TYPES.iter().take(places).copied().chain(std::iter::repeat_n("text", columns));
        let arrays: Vec<String> = types
            .enumerate()
            .map(|(at, name)| format!("pg_catalog.unnest(${}::pg_catalog.{name}[])", at + 1))
            .collect();
        let names = (0..places).map(|at| format!("p{at}")).chain((0..columns).map(|at| format!("c{at}")));
        let names: Vec<String> = names.chain(["n".to_owned()]).collect();
        match arrays.is_empty() {
            true => Err(Error::internal("rows of no column")),
            false => {
                let (arrays, names) = (arrays.join(", "), names.join(", "));
                Ok(format!("ROWS FROM ({arrays}) WITH ORDINALITY AS u ({names})"))
            }
        }
    }
}

fn skipping(relation: &Relation, conflict: Option<&SkipConflict>) -> Result<String> {
    Ok(match conflict {
        None => String::new(),
        Some(SkipConflict::Any) => " ON CONFLICT DO NOTHING".to_owned(),
        Some(SkipConflict::Constraint(name)) => format!(" ON CONFLICT ON CONSTRAINT {} DO NOTHING", identifier(name)?),
        Some(SkipConflict::Columns(names)) => {
            let quoted = names.iter().map(|name| identifier(&relation.column(name)?.1.name));
            format!(" ON CONFLICT ({}) DO NOTHING", quoted.collect::<Result<Vec<_>>>()?.join(", "))
        }
    })
}

fn table(relation: &Relation) -> Result<String> {
    let TableName { schema, table } = &relation.remote;
    Ok(format!("{}.{}", identifier(schema)?, identifier(table)?))
}

/// The text of an array of texts, or of what is spelt without a comma or a quote.
fn array(values: &StringArray) -> Spelt {
    let mut text = String::with_capacity(values.len() * 8);
    text.push('{');
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        match value {
            None => text.push_str("NULL"),
            Some(value) => {
                text.push('"');
                for c in value.chars() {
                    if matches!(c, '"' | '\\') {
                        text.push('\\');
                    }
                    text.push(c);
                }
                text.push('"');
            }
        }
    }
    text.push('}');
    Spelt(text.into())
}

/// A parameter as its type's input function reads it.
#[derive(Clone, Debug)]
struct Spelt(Arc<str>);

impl ToSql for Spelt {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}
