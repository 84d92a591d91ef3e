//! What PostgreSQL [`SERVER_VERSION`] itself holds: the columns of its system relations, and the rows of those that are
//! the same in every database, dumped once with their oids (`image/`; those of the language lie beside it, in `sql/image`
//! and `pgtype`). Nothing here depends on a session.

mod copy;
mod fixed;
mod function;
mod keys;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef, TimeUnit};

use crate::catalog::visible::system_schema;
use crate::formats::postgres::{OID, TYPMOD};
use crate::pgtype;
use crate::types::TableName;

pub(in crate::catalog) use fixed::comments;
pub(super) use fixed::fixed;
pub(in crate::catalog) use function::functions;
pub(crate) use function::{Function, function_by_oid};
pub(crate) use keys::domain_check;
pub(in crate::catalog) use keys::{constraints, default_operator_class, index_by_name, index_by_oid, indexes};

/// The version announced to clients, whose catalogs these are: raised only together with the image and the recordings
/// of clients, since psql, pgjdbc and Npgsql choose their statements by it.
pub const SERVER_VERSION: &str = "15.18";

/// `pg_collation.oid` of `C`, which columns of texts have in PostgreSQL's own relations.
const C: u32 = 950;
const POSIX: u32 = 951;

/// A system relation as PostgreSQL declares it.
#[derive(Debug)]
pub struct Declared {
    pub name: TableName,
    pub oid: u32,
    /// `r`, `v`, `t`.
    pub kind: char,
    /// All nullable: DataFusion types an empty scalar subquery by its column's nullability.
    pub schema: SchemaRef,
    pub not_null: Vec<bool>,
    /// PostgreSQL's type of each column, also where [`Declared::schema`] shows it as plain text.
    pub types: Vec<u32>,
    /// `attcollation` of each column.
    pub collations: Vec<u32>,
}

/// A row of pg_type, as far as others ask for it.
#[derive(Debug)]
pub struct Type {
    pub oid: u32,
    pub name: &'static str,
    /// `typnamespace`.
    pub schema: u32,
    pub length: i16,
    pub by_value: bool,
    pub element: u32,
    pub array: u32,
    pub align: &'static str,
    pub storage: &'static str,
    /// Of a domain, what it is made of; 0 for other types.
    pub base: u32,
    pub typmod: i32,
    pub collation: u32,
    /// A true array, not a vector or a name, whose elements are fixed.
    pub is_array: bool,
}

struct Relations {
    all: Vec<Declared>,
    by_oid: HashMap<u32, usize>,
    by_name: HashMap<TableName, usize>,
}

static RELATIONS: LazyLock<Relations> = LazyLock::new(|| {
    let classes: HashMap<(&str, &str), Vec<&str>> = fixed::lines("pg_class")
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .filter_map(|row| Some(((*row.get(2)?, *row.get(1)?), row)))
        .collect();
    let declared = |line| {
        declared(line, &classes).expect("a line of relations.txt is a relation of pg_class.tsv, then column:type …")
    };
    let all: Vec<Declared> = include_str!("image/relations.txt").lines().map(declared).collect();
    let by_oid = all.iter().enumerate().map(|(i, r)| (r.oid, i)).collect();
    let by_name = all.iter().enumerate().map(|(i, r)| (r.name.clone(), i)).collect();
    Relations { all, by_oid, by_name }
});

struct Types {
    by_oid: HashMap<u32, Type>,
    by_name: HashMap<&'static str, u32>,
}

static TYPES: LazyLock<Types> = LazyLock::new(|| {
    let rows = pgtype::rows().map(|row| type_of_row(row).expect("pg_type.tsv holds whole rows of pg_type"));
    let by_oid: HashMap<u32, Type> = rows.map(|t| (t.oid, t)).collect();
    let by_name = by_oid.values().map(|t| (t.name, t.oid)).collect();
    Types { by_oid, by_name }
});

/// Every system relation, by name.
pub fn relations() -> &'static [Declared] {
    &RELATIONS.all
}

pub fn relation_by_oid(oid: u32) -> Option<&'static Declared> {
    RELATIONS.by_oid.get(&oid).and_then(|i| RELATIONS.all.get(*i))
}

pub fn relation_by_name(name: &TableName) -> Option<&'static Declared> {
    RELATIONS.by_name.get(name).and_then(|i| RELATIONS.all.get(*i))
}

pub fn type_by_oid(oid: u32) -> Option<&'static Type> {
    TYPES.by_oid.get(&oid)
}

/// By `typname`: `int4`, `_int4`.
pub fn type_by_name(name: &str) -> Option<&'static Type> {
    TYPES.by_name.get(name).and_then(|oid| type_by_oid(*oid))
}

/// Names of pg_collation.tsv, in its order.
pub(in crate::catalog) const COLLATIONS: [&str; 5] = ["default", "C", "POSIX", "ucs_basic", "C.utf8"];

/// The name of a collation that is not the default.
pub(in crate::catalog) fn collation_name(oid: u32) -> Option<&'static str> {
    match oid {
        C => Some("C"),
        POSIX => Some("POSIX"),
        _ => None,
    }
}

/// The domains of information_schema, the only ones.
pub(in crate::catalog) fn domains() -> Vec<&'static Type> {
    let mut domains: Vec<&Type> = TYPES.by_oid.values().filter(|kind| kind.base != 0).collect();
    domains.sort_by_key(|domain| domain.oid);
    domains
}

fn declared(line: &'static str, classes: &HashMap<(&str, &str), Vec<&str>>) -> Option<Declared> {
    let mut words = line.split(' ');
    let (schema, table) = words.next()?.split_once('.')?;
    let schema_oid = system_schema(schema)?.to_string();
    let class = classes.get(&(schema_oid.as_str(), table))?;
    let (mut fields, mut not_null, mut types, mut collations) = (vec![], vec![], vec![], vec![]);
    for word in words {
        let (name, type_name) = word.split_once(':')?;
        let kind = type_by_name(type_name.trim_end_matches(['!', '~']))?;
        fields.push(field(name, kind)?);
        not_null.push(type_name.contains('!'));
        types.push(kind.oid);
        collations.push(if type_name.contains('~') { C } else { kind.collation });
    }
    Some(Declared {
        name: TableName::new(schema, table),
        oid: class.first()?.parse().ok()?,
        kind: class.get(16)?.chars().next()?,
        schema: Arc::new(Schema::new(fields)),
        not_null,
        types,
        collations,
    })
}

/// The Arrow field of a system column. Types that are only ever read as text are text here (aclitem, pg_node_tree).
fn field(name: &str, kind: &Type) -> Option<Field> {
    // a domain is told as what it is made of, with its modifier
    let (kind, typmod) = if kind.base == 0 { (kind, -1) } else { (type_by_oid(kind.base)?, kind.typmod) };
    let (data_type, oid) = arrow_type(kind)?;
    let oid = oid.map(|oid| (OID.to_string(), oid.to_string()));
    let typmod = (typmod != -1).then(|| (TYPMOD.to_string(), typmod.to_string()));
    Some(Field::new(name, data_type, true).with_metadata(oid.into_iter().chain(typmod).collect()))
}

/// Arrow's type, and the oid where Arrow's type alone would tell another one.
fn arrow_type(kind: &Type) -> Option<(DataType, Option<u32>)> {
    let plain = |data_type| (data_type, None);
    let marked = |data_type| (data_type, Some(kind.oid));
    let list = |data_type| DataType::List(Arc::new(Field::new("item", data_type, true)));
    Some(match kind.name {
        "bool" => plain(DataType::Boolean),
        "int2" => plain(DataType::Int16),
        "int4" => plain(DataType::Int32),
        "int8" => plain(DataType::Int64),
        "float4" => plain(DataType::Float32),
        "float8" => plain(DataType::Float64),
        "numeric" => plain(DataType::Decimal128(38, 0)),
        "bytea" => plain(DataType::Binary),
        "timestamptz" => plain(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        "interval" => plain(DataType::Interval(IntervalUnit::MonthDayNano)),
        "text" => plain(DataType::Utf8),
        "pg_lsn" => marked(DataType::UInt64),
        "anyarray" | "name" | "pg_node_tree" | "varchar" | "char" | "inet" | "pg_ndistinct" | "pg_dependencies"
        | "pg_mcv_list" => marked(DataType::Utf8),
        "oid" | "xid" | "regproc" | "regtype" => marked(DataType::UInt32),
        "int2vector" => marked(list(DataType::Int16)),
        "oidvector" => marked(list(DataType::UInt32)),
        "_text" | "_pg_statistic" => plain(list(DataType::Utf8)),
        "_name" | "_char" | "_aclitem" => marked(list(DataType::Utf8)),
        "_oid" | "_regtype" => marked(list(DataType::UInt32)),
        "_int2" => plain(list(DataType::Int16)),
        "_bool" => plain(list(DataType::Boolean)),
        "_float4" => plain(list(DataType::Float32)),
        "_float8" => plain(list(DataType::Float64)),
        _ => return None,
    })
}

fn type_of_row(row: &'static str) -> Option<Type> {
    let columns: Vec<&'static str> = row.split('\t').collect();
    let at = |i: usize| columns.get(i).copied();
    let number = |i: usize| at(i)?.parse::<u32>().ok();
    Some(Type {
        oid: number(0)?,
        name: at(1)?,
        schema: number(2)?,
        length: at(4)?.parse().ok()?,
        by_value: at(5)? == "t",
        is_array: at(12)? == "array_subscript_handler" && at(23)? != "p",
        element: number(13)?,
        array: number(14)?,
        align: at(22)?,
        storage: at(23)?,
        base: number(25)?,
        typmod: at(26)?.parse().ok()?,
        collation: number(28)?,
    })
}
