//! The tables of a source that a pipeline follows: which there are, how their rows are told apart, and as what each column is
//! kept. It reads catalogs and no rows.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use xxhash_rust::xxh3::Xxh3;

use super::pattern::matches;
use super::place::Known;
use super::wire::{Row, Wire, literal};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::{copy, field};
use crate::ingest::origin::{SOURCE_ID, Shape};
use crate::types::quoted;

/// Field metadata: what rows have in the column that were there before it (`attmissingval`), as text. Absent: NULL.
pub const MISSING: &str = "lakegate.missing";

const TEXT: u32 = 25;
const NUMERIC: u32 = 1700;

/// More than that is a pattern that was not meant.
const TABLES_MAX: usize = 10_000;

/// The numbers of the columns by which a table's rows are told apart, of the `pg_class` row `c`.
const KEY: &str = "SELECT array_to_string((i.indkey::int2[])[0:i.indnkeyatts - 1], ' ') FROM pg_index i
        WHERE i.indrelid = c.oid AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
          AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END LIMIT 1";

/// Tables that a slot can follow, one row each: what is temporary, unlogged or the system's own writes no log for it, and
/// partitions come under their root's name. Between the two stands [`KEY`].
const TABLES: [&str; 2] = [
    "SELECT c.oid, n.nspname, c.relname, c.relkind, c.relreplident, greatest(c.reltuples, 0)::bigint, (",
    ")
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT c.relispartition
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
ORDER BY n.nspname, c.relname",
];

/// A domain is its base type. A generated column is not in the stream, so it is in no copy either.
const COLUMNS: &str = "
SELECT a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod, b.oid,
       CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END, b.typtype, a.attndims,
       CASE WHEN a.atthasmissing THEN (a.attmissingval::text::text[])[1] END,
       a.atthasdef AND NOT a.atthasmissing, format_type(a.atttypid, a.atttypmod)
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attrelid IN (";

/// One table as the source has it now.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) oid: u32,
    pub(super) partitioned: bool,
    pub(super) columns: Vec<Column>,
    /// Which of them tell rows apart, in the key's order.
    pub(super) key: Vec<usize>,
    /// How many rows it has, as the source guesses.
    pub(super) estimate: u64,
    /// The publication's condition on its rows, as SQL.
    pub(super) filter: Option<String>,
    /// It was there once; no change of it comes any more.
    pub(super) gone: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    pub(super) attnum: i16,
    pub(super) name: String,
    /// As messages of the stream give it.
    pub(super) type_oid: u32,
    pub(super) typmod: i32,
    /// As what its values are read: its base type, or text for all that have no form of their own in the lake.
    pub(super) read_oid: u32,
    /// Its binary form is what `read_oid` says, so that the stream may send it.
    pub(super) binary: bool,
    /// Rows that were there before it have values that no catalog tells: a default that was computed for each.
    pub(super) computed: bool,
    pub(super) field: Field,
}

impl Table {
    pub(super) fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    pub(super) fn quoted(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }

    /// As changes come: every column may be NULL.
    pub(super) fn rows_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(|c| c.field.clone()).collect::<Vec<_>>()))
    }

    pub(super) fn shape(&self, target: String) -> Shape {
        let field = |(at, column): (usize, &Column)| column.field.clone().with_nullable(!self.key.contains(&at));
        let fields: Vec<Field> = self.columns.iter().enumerate().map(field).collect();
        let columns = Arc::new(Schema::new(fields));
        Shape { name: self.full_name(), target, columns, key: self.key.clone(), beside: vec![] }
    }

    /// The same columns, whatever else has changed.
    pub(super) fn same_layout(&self, other: &Self) -> bool {
        let layout = |table: &Self| -> Vec<_> {
            table.columns.iter().map(|c| (c.attnum, c.name.clone(), c.type_oid, c.typmod)).collect()
        };
        self.oid == other.oid && self.key == other.key && layout(self) == layout(other)
    }

    /// As a place notes it.
    pub(super) fn known(&self) -> Known {
        let last_column = self.columns.iter().map(|c| c.attnum).max().unwrap_or_default();
        Known { oid: self.oid, last_column, hash: self.hash(last_column) }
    }

    /// As [`Table::rewritten_since`], by the little that a place says: a column that was dropped is taken for one that had
    /// another type.
    pub(super) fn may_be_rewritten_since(&self, before: Known) -> bool {
        let came = |column: &&Column| column.attnum > before.last_column;
        self.oid != before.oid
            || self.hash(before.last_column) != before.hash
            || self.columns.iter().filter(came).any(Column::has_values)
    }

    /// Of the columns up to this number.
    fn hash(&self, last_column: i16) -> u32 {
        let mut hash = Xxh3::new();
        hash.update(format!("{:?}", self.key_numbers()).as_bytes());
        for column in self.columns.iter().filter(|c| c.attnum <= last_column) {
            hash.update(format!("{} {} {};", column.attnum, column.type_oid, column.field.data_type()).as_bytes());
        }
        // Its lower half is as good as any.
        u32::try_from(hash.digest() & u64::from(u32::MAX)).unwrap_or_default()
    }

    /// Rows that were taken over as `before` are not what the source now has: it is another table of the name, a column's type
    /// has changed, which may have computed its values anew, or a column came with values. No message tells of any of it.
    pub(super) fn rewritten_since(&self, before: &Self) -> bool {
        let was = |column: &Column| before.columns.iter().find(|c| c.attnum == column.attnum);
        let rewritten = |column: &Column| match was(column) {
            Some(was) => was.type_oid != column.type_oid || was.typmod != column.typmod && !only_wider(was, column),
            None => column.has_values(),
        };
        // By another key its rows are told apart otherwise, and the lake's are told apart by the one before.
        let other_key = self.key_numbers() != before.key_numbers();
        self.oid != before.oid || other_key || self.columns.iter().any(rewritten)
    }

    pub(super) fn key_numbers(&self) -> Vec<i16> {
        self.key.iter().filter_map(|at| Some(self.columns.get(*at)?.attnum)).collect()
    }
}

impl Column {
    /// It came with values in the rows that were there.
    fn has_values(&self) -> bool {
        self.computed || self.field.metadata().contains_key(MISSING)
    }
}

/// A longer varchar or a numeric with more digits before the point: no value changes.
fn only_wider(from: &Column, to: &Column) -> bool {
    match to.type_oid {
        1043 => to.typmod < 0 || to.typmod >= from.typmod,
        _ => from.field.data_type() == to.field.data_type(),
    }
}

/// The tables that `patterns` name, in the order of their names. A name without `*` that stands for no table is an error,
/// unless it is among those `known` from before; so is a table whose changes cannot be followed, unless a pattern brought it,
/// which leaves it out.
pub(super) async fn read(
    wire: &mut Wire,
    patterns: &[String],
    known: &[Table],
    scales: &Scales<'_>,
) -> Result<Vec<Table>> {
    let rows = wire.query(&TABLES.join(KEY)).await.map_err(|t| wire.error(t))?;
    let mut found: Vec<(Table, Vec<i16>)> = vec![];
    // One that was followed until now is not left behind for a pattern's sake.
    let followed = |name: &str| known.iter().any(|table| !table.gone && table.full_name() == name);
    for row in rows {
        let Some((table, identity, key)) = table(&row) else { return Err(wire.broken("a row of pg_class")) };
        let full = table.full_name();
        let Some(pattern) = patterns.iter().find(|pattern| matches(pattern, &full)) else { continue };
        if let Some(fault) = unfollowable(&table, identity, &key) {
            if !pattern.contains('*') || followed(&full) {
                return Err(fault);
            }
            left_out(wire, &full, &fault);
            continue;
        }
        found.push((table, key));
    }
    let missing = |pattern: &&String| {
        let is = |table: &Table| table.full_name() == **pattern;
        !pattern.contains('*') && !found.iter().any(|(t, _)| is(t)) && !known.iter().any(is)
    };
    if let Some(name) = patterns.iter().find(missing) {
        let text = format!("source \"{}\" has no table {name} that can be followed", wire.source);
        let hint =
            "Views, foreign, unlogged and temporary tables have no log, and partitions come under their root's name.";
        return Err(Error::new(Kind::UndefinedTable, text).with_hint(hint));
    }
    if found.len() > TABLES_MAX {
        let text = format!("{} tables of source \"{}\" match `tables`, {TABLES_MAX} at most", found.len(), wire.source);
        return Err(Error::new(Kind::Config, text));
    }
    if !found.is_empty() {
        let oids: Vec<String> = found.iter().map(|(t, _)| t.oid.to_string()).collect();
        let sql = format!("{COLUMNS}{}) ORDER BY a.attrelid, a.attnum", oids.join(", "));
        let rows = wire.query(&sql).await.map_err(|t| wire.error(t))?;
        for row in &rows {
            let oid: u32 = number(row, 0).ok_or_else(|| wire.broken("a row of pg_attribute"))?;
            let Some((table, _)) = found.iter_mut().find(|(t, _)| t.oid == oid) else { continue };
            let full = table.full_name();
            let column = column(row, &full, scales).ok_or_else(|| wire.broken("a row of pg_attribute"))?;
            table.columns.push(column);
        }
    }
    let mut settled = vec![];
    for (mut table, key) in found {
        if table.columns.is_empty() {
            continue;
        }
        let place = |attnum: &i16| table.columns.iter().position(|c| c.attnum == *attnum);
        let places: Option<Vec<usize>> = key.iter().map(place).collect();
        match places {
            Some(places) => table.key = places,
            // By the rest of its key two rows would be one.
            None => {
                let full = table.full_name();
                let fault = key_left_out(&full, "its log leaves out a generated column of its key");
                if patterns.contains(&full) || followed(&full) {
                    return Err(fault);
                }
                left_out(wire, &full, &fault);
                continue;
            }
        }
        settled.push(table);
    }
    Ok(settled)
}

/// Asks for the key of one table, as [`numbers`] reads it.
pub(super) fn key_of(oid: u32) -> String {
    format!("SELECT ({KEY}) FROM pg_class c WHERE c.oid = {oid}")
}

fn left_out(wire: &Wire, table: &str, fault: &Error) {
    tracing::warn!(source = wire.source, table, hint = fault.hint(), "{}; left out", fault.message());
}

fn key_left_out(table: &str, why: &str) -> Error {
    Error::new(Kind::InvalidTableDefinition, format!("table {table} cannot be followed: {why}"))
        .with_hint("Give it a key of columns that are in its log, or leave it out of `tables`.")
}

/// What a publication leaves out of the tables, which it may from PostgreSQL 15 on: columns and rows. The copy leaves out the
/// same.
pub(super) async fn restrict(wire: &mut Wire, publication: &str, tables: &mut [Table]) -> Result<()> {
    let sql = format!(
        "SELECT schemaname || '.' || tablename, rowfilter, array_to_json(attnames) FROM pg_publication_tables WHERE pubname = {}",
        literal(publication)
    );
    for row in wire.query(&sql).await.map_err(|t| wire.error(t))? {
        let Some(name) = text(&row, 0) else { continue };
        let Some(table) = tables.iter_mut().find(|t| t.full_name() == name) else { continue };
        table.filter = text(&row, 1).map(|filter| format!("({filter})"));
        let names: Option<Vec<String>> = text(&row, 2).and_then(|json| serde_json::from_str(json).ok());
        let Some(names) = names else { continue };
        let key: Vec<i16> = table.key.iter().filter_map(|at| table.columns.get(*at)).map(|c| c.attnum).collect();
        table.columns.retain(|column| names.contains(&column.name));
        let place = |attnum: &i16| table.columns.iter().position(|c| c.attnum == *attnum);
        let places: Option<Vec<usize>> = key.iter().map(place).collect();
        table.key = places.ok_or_else(|| key_left_out(name, "its publication leaves out a column of its key"))?;
    }
    Ok(())
}

/// Digits after the point of numerics that declare none, where the source's file says so.
pub(super) type Scales<'a> = dyn Fn(&str, &str) -> Option<u8> + Sync + 'a;

fn table(row: &Row) -> Option<(Table, char, Vec<i16>)> {
    let letter = |at: usize| text(row, at)?.chars().next();
    let key = numbers(text(row, 6).unwrap_or_default())?;
    let table = Table {
        schema: text(row, 1)?.to_string(),
        name: text(row, 2)?.to_string(),
        oid: number(row, 0)?,
        partitioned: letter(3)? == 'p',
        columns: vec![],
        key: vec![],
        estimate: number(row, 5)?,
        filter: None,
        gone: false,
    };
    Some((table, letter(4)?, key))
}

/// A published table without an identity refuses its own users' UPDATE and DELETE: it must never come to that.
fn unfollowable(table: &Table, identity: char, key: &[i16]) -> Option<Error> {
    if identity == 'f' || identity != 'n' && !key.is_empty() {
        return None;
    }
    let text = format!("table {} has nothing by which its changed rows are known", table.full_name());
    let name = table.quoted();
    let hint = match key.is_empty() {
        true => format!("Give it a primary key, or run: ALTER TABLE {name} REPLICA IDENTITY FULL;"),
        false => format!("Run: ALTER TABLE {name} REPLICA IDENTITY DEFAULT;"),
    };
    Some(Error::new(Kind::InvalidTableDefinition, text).with_hint(hint))
}

fn column(row: &Row, table: &str, scales: &Scales<'_>) -> Option<Column> {
    let name = text(row, 2)?.to_string();
    let attnum: i16 = number(row, 1)?;
    let (base, typmod, dimensions): (u32, i32, i32) = (number(row, 5)?, number(row, 6)?, number(row, 8)?);
    let label = text(row, 7)? == "e";
    let (mut field, read_oid, binary) = match kept(&name, base, typmod, dimensions, scales(table, &name)) {
        Some(field) if !label => (field, base, true),
        _ => (Field::new(&name, DataType::Utf8, true), TEXT, label),
    };
    let mut metadata = field.metadata().clone();
    metadata.insert(SOURCE_ID.into(), attnum.to_string());
    if let Some(missing) = text(row, 9) {
        metadata.insert(MISSING.into(), missing.to_string());
    }
    field = field.with_metadata(metadata);
    let (type_oid, own_typmod) = (number(row, 3)?, number(row, 4)?);
    let computed = text(row, 10)? == "t";
    Some(Column { attnum, name, type_oid, typmod: own_typmod, read_oid, binary, computed, field })
}

/// The field of a type that a lake keeps as what it is; `None`: as text, which loses nothing.
fn kept(name: &str, oid: u32, typmod: i32, dimensions: i32, scale: Option<u8>) -> Option<Field> {
    if oid == NUMERIC && typmod < 0 {
        // Each value has a scale of its own, or none (NaN): only a person can say that one is enough.
        let scale = i8::try_from(scale?).ok()?;
        return Some(Field::new(name, DataType::Decimal128(38, scale), true));
    }
    let found = field(name, oid, typmod, true)?;
    let holds = |of: &DataType| match of {
        DataType::Decimal128(..) => typmod >= 0,
        DataType::Boolean
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Utf8
        | DataType::Binary
        | DataType::Date32
        | DataType::Time64(_)
        | DataType::Timestamp(..) => true,
        _ => false,
    };
    let held = match found.data_type() {
        // uuid; other types of a fixed size lie there as bytes that only their type explains.
        DataType::FixedSizeBinary(16) => true,
        DataType::List(item) => dimensions <= 1 && holds(item.data_type()),
        of => holds(of),
    };
    (held && copy::reads(found.data_type(), oid)).then_some(found)
}

/// Of columns, with blanks between; nothing where there is no key.
pub(super) fn numbers(text: &str) -> Option<Vec<i16>> {
    text.split_whitespace().map(|n| n.parse().ok()).collect()
}

fn text(row: &Row, at: usize) -> Option<&str> {
    row.get(at)?.as_deref()
}

fn number<T: std::str::FromStr>(row: &Row, at: usize) -> Option<T> {
    text(row, at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_lake_cannot_hold_is_text() {
        let of = |oid, typmod, dimensions| {
            kept("c", oid, typmod, dimensions, None).map_or("text".to_string(), |f| f.data_type().to_string())
        };
        let decimal = ((10 << 16) | 2) + 4;
        assert_eq!(of(23, -1, 0), "Int32");
        assert_eq!(of(NUMERIC, -1, 0), "text");
        assert_eq!(of(NUMERIC, decimal, 0), "Decimal128(10, 2)");
        assert_eq!(of(1186, -1, 0), "text", "interval");
        assert_eq!(of(1266, -1, 0), "text", "timetz");
        assert_eq!(of(869, -1, 0), "text", "inet");
        assert_eq!(of(1007, -1, 2), "text", "int4[][]");
        assert!(of(1007, -1, 1).starts_with("List"), "int4[]");
        assert_eq!(of(1231, -1, 1), "text", "numeric[]");
        assert_eq!(of(90_000, -1, 0), "text");
        let scaled = kept("c", NUMERIC, -1, 0, Some(4)).unwrap();
        assert_eq!(*scaled.data_type(), DataType::Decimal128(38, 4));
    }
}
