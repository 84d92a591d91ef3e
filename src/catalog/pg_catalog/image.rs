//! What PostgreSQL [`SERVER_VERSION`] itself holds: the columns of its system relations, and the rows of those that are
//! the same in every database, dumped once with their oids (`image/`). Nothing here depends on a session.
//!
//! `pg_proc` holds the functions that the other images name (input, output, handlers), not all of PostgreSQL's.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::rows::Cell;
use crate::error::{Error, Result};
use crate::formats::postgres::OID;
use crate::types::TableName;

/// The version announced to clients, whose catalogs these are: raised only together with the image and the recordings
/// of clients, since psql, pgjdbc and Npgsql choose their statements by it.
pub const SERVER_VERSION: &str = "15.18";

/// By its `typsubscript` and its storage PostgreSQL tells a true array from a vector.
const ARRAY_SUBSCRIPT_HANDLER: u32 = 6179;

/// A system relation as PostgreSQL declares it.
#[derive(Debug)]
pub struct Declared {
    pub name: TableName,
    pub oid: u32,
    /// `r` or `v`.
    pub kind: char,
    /// All nullable: DataFusion types an empty scalar subquery by its column's nullability.
    pub schema: SchemaRef,
    pub not_null: Vec<bool>,
    /// PostgreSQL's type of each column, also where [`Declared::schema`] shows it as plain text.
    pub types: Vec<u32>,
}

/// A row of pg_type, as far as others ask for it.
#[derive(Debug, Clone)]
pub struct Type {
    pub oid: u32,
    pub name: String,
    pub length: i16,
    pub by_value: bool,
    pub element: u32,
    pub array: u32,
    pub align: String,
    pub storage: String,
    pub collation: u32,
    /// A true array, not a vector or a name, whose elements are fixed.
    pub is_array: bool,
}

static RELATIONS: LazyLock<Vec<Declared>> = LazyLock::new(|| {
    let lines = include_str!("image/relations.txt").lines();
    lines
        .map(|line| declared(line).expect("each line of relations.txt is: kind oid schema.name column:type …"))
        .collect()
});

static TYPES: LazyLock<BTreeMap<u32, Type>> = LazyLock::new(|| {
    let rows = include_str!("image/pg_type.tsv").lines();
    rows.map(|row| type_of_row(row).expect("pg_type.tsv holds whole rows of pg_type")).map(|t| (t.oid, t)).collect()
});

static PROCEDURES: LazyLock<BTreeMap<u32, &'static str>> = LazyLock::new(|| {
    let rows = include_str!("image/pg_proc.tsv").lines();
    let pairs = rows.map(|row| {
        let mut columns = row.split('\t');
        Some((columns.next()?.parse().ok()?, columns.next()?))
    });
    pairs.map(|pair| pair.expect("pg_proc.tsv begins with oid and name")).collect()
});

/// Every system relation, by name.
pub fn relations() -> &'static [Declared] {
    &RELATIONS
}

pub fn type_by_oid(oid: u32) -> Option<&'static Type> {
    TYPES.get(&oid)
}

/// By `typname`: `int4`, `_int4`.
pub fn type_by_name(name: &str) -> Option<&'static Type> {
    TYPES.values().find(|t| t.name == name)
}

pub fn procedure_name(oid: u32) -> Option<&'static str> {
    PROCEDURES.get(&oid).copied()
}

/// The rows of a relation that is the same for everybody; `None` for one that is not.
pub(crate) fn fixed(name: &str) -> Option<&'static str> {
    Some(match name {
        "pg_am" => include_str!("image/pg_am.tsv"),
        "pg_collation" => include_str!("image/pg_collation.tsv"),
        "pg_language" => include_str!("image/pg_language.tsv"),
        "pg_proc" => include_str!("image/pg_proc.tsv"),
        "pg_range" => include_str!("image/pg_range.tsv"),
        "pg_tablespace" => include_str!("image/pg_tablespace.tsv"),
        "pg_type" => include_str!("image/pg_type.tsv"),
        _ => return None,
    })
}

/// One value of COPY's text form. The images hold no escapes but `\N`, and no text with a blank in a list.
pub(crate) fn cell(data_type: &DataType, text: &str) -> Result<Cell> {
    let wrong = || Error::internal(format!("{text:?} of an image is no {data_type}"));
    if text == "\\N" {
        return Ok(Cell::Null);
    }
    Ok(match data_type {
        DataType::Boolean => Cell::Bool(text == "t"),
        DataType::Utf8 => text.into(),
        DataType::Float32 | DataType::Float64 => Cell::Float(text.parse().map_err(|_| wrong())?),
        DataType::List(item) => {
            let items = text.trim_matches(['{', '}']).split([',', ' ']).filter(|t| !t.is_empty());
            Cell::List(items.map(|t| cell(item.data_type(), t)).collect::<Result<_>>()?)
        }
        _ => Cell::Int(text.parse().map_err(|_| wrong())?),
    })
}

fn declared(line: &str) -> Option<Declared> {
    let mut words = line.split(' ');
    let kind = words.next()?.chars().next()?;
    let oid = words.next()?.parse().ok()?;
    let (schema, table) = words.next()?.split_once('.')?;
    let mut fields = vec![];
    let mut not_null = vec![];
    let mut types = vec![];
    for word in words {
        let (name, type_name) = word.split_once(':')?;
        let bare = type_name.trim_end_matches('!');
        let kind = type_by_name(bare)?;
        fields.push(field(name, kind)?);
        not_null.push(bare.len() < type_name.len());
        types.push(kind.oid);
    }
    let schema_of = Arc::new(Schema::new(fields));
    Some(Declared { name: TableName::new(schema, table), oid, kind, schema: schema_of, not_null, types })
}

/// The Arrow field of a system column. Types that are only ever read as text are text here (aclitem, pg_node_tree).
fn field(name: &str, kind: &Type) -> Option<Field> {
    let (data_type, oid) = arrow_type(kind)?;
    let field = Field::new(name, data_type, true);
    Some(match oid {
        Some(oid) => field.with_metadata([(OID.to_string(), oid.to_string())].into()),
        None => field,
    })
}

/// Arrow's type, and the oid where Arrow's type alone would tell another one.
fn arrow_type(kind: &Type) -> Option<(DataType, Option<u32>)> {
    let plain = |data_type| (data_type, None);
    let marked = |data_type| (data_type, Some(kind.oid));
    let list = |data_type| DataType::List(Arc::new(Field::new("item", data_type, true)));
    Some(match kind.name.as_str() {
        "bool" => plain(DataType::Boolean),
        "int2" => plain(DataType::Int16),
        "int4" => plain(DataType::Int32),
        "int8" => plain(DataType::Int64),
        "float4" => plain(DataType::Float32),
        "float8" => plain(DataType::Float64),
        "numeric" => plain(DataType::Decimal128(38, 0)),
        "bytea" => plain(DataType::Binary),
        "timestamptz" => plain(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        "text" | "pg_lsn" | "anyarray" => plain(DataType::Utf8),
        "name" | "pg_node_tree" | "varchar" | "char" | "inet" => marked(DataType::Utf8),
        "oid" | "xid" | "regproc" | "regtype" => marked(DataType::UInt32),
        "int2vector" => marked(list(DataType::Int16)),
        "oidvector" => marked(list(DataType::UInt32)),
        "_text" | "_aclitem" => plain(list(DataType::Utf8)),
        "_name" | "_char" => marked(list(DataType::Utf8)),
        "_oid" | "_regtype" => marked(list(DataType::UInt32)),
        "_int2" => plain(list(DataType::Int16)),
        "_float4" => plain(list(DataType::Float32)),
        _ => return None,
    })
}

fn type_of_row(row: &str) -> Option<Type> {
    let columns: Vec<&str> = row.split('\t').collect();
    let at = |i: usize| columns.get(i).copied();
    let number = |i: usize| at(i)?.parse::<u32>().ok();
    Some(Type {
        oid: number(0)?,
        name: at(1)?.to_string(),
        length: at(4)?.parse().ok()?,
        by_value: at(5)? == "t",
        is_array: number(12)? == ARRAY_SUBSCRIPT_HANDLER && at(23)? != "p",
        element: number(13)?,
        array: number(14)?,
        align: at(22)?.to_string(),
        storage: at(23)?.to_string(),
        collation: number(28)?,
    })
}
