//! PostgreSQL's types as the language speaks of them: an oid with its modifier, names, input and output functions, and
//! the one Arrow type in which an expression of that type lies. Values are read and spelt by `formats`.
//!
//! | PostgreSQL | Arrow |
//! |---|---|
//! | numeric of a known scale (a column `numeric(p,s)`, a literal) | `Decimal128(p,s)`, `Decimal256(p,s)` |
//! | any other numeric | `Binary`, [`postgres::numeric`]'s ordered bytes |
//! | text, varchar, bpchar, name, json, jsonb, bit, inet, ranges … | `Utf8` |
//! | timestamp, timestamptz | `Timestamp(µs)`, `Timestamp(µs, "UTC")`; infinities are the least and the greatest i64 |
//! | interval | `Interval(MonthDayNano)` |
//! | timetz | `FixedSizeBinary(12)`: microseconds of the day, seconds west of Greenwich, big-endian |
//! | oid and its aliases | `UInt32` |
//! | arrays | `List` of the element; nested for more dimensions |
//! | records | `Struct` |

use std::collections::HashMap;
use std::sync::LazyLock;

use arrow::datatypes::{DataType, Field};

use crate::formats::postgres::{self, OID, SCALE, TYPMOD, TypeRow, by_oid};

pub(crate) mod oid {
    //! Oids of `pg_type` that the code names.
    pub(crate) const BOOL: u32 = 16;
    pub(crate) const BYTEA: u32 = 17;
    pub(crate) const CHAR: u32 = 18;
    pub(crate) const NAME: u32 = 19;
    pub(crate) const INT8: u32 = 20;
    pub(crate) const INT2: u32 = 21;
    pub(crate) const INT2VECTOR: u32 = 22;
    pub(crate) const INT4: u32 = 23;
    pub(crate) const REGPROC: u32 = 24;
    pub(crate) const TEXT: u32 = 25;
    pub(crate) const OID: u32 = 26;
    pub(crate) const OIDVECTOR: u32 = 30;
    pub(crate) const JSON: u32 = 114;
    pub(crate) const XML: u32 = 142;
    pub(crate) const CIDR: u32 = 650;
    pub(crate) const FLOAT4: u32 = 700;
    pub(crate) const FLOAT8: u32 = 701;
    pub(crate) const UNKNOWN: u32 = 705;
    pub(crate) const MACADDR8: u32 = 774;
    pub(crate) const MONEY: u32 = 790;
    pub(crate) const MACADDR: u32 = 829;
    pub(crate) const INET: u32 = 869;
    pub(crate) const BPCHAR: u32 = 1042;
    pub(crate) const VARCHAR: u32 = 1043;
    pub(crate) const DATE: u32 = 1082;
    pub(crate) const TIME: u32 = 1083;
    pub(crate) const TIMESTAMP: u32 = 1114;
    pub(crate) const TIMESTAMPTZ: u32 = 1184;
    pub(crate) const INTERVAL: u32 = 1186;
    pub(crate) const NUMERICS: u32 = 1231;
    pub(crate) const TIMETZ: u32 = 1266;
    pub(crate) const BIT: u32 = 1560;
    pub(crate) const VARBIT: u32 = 1562;
    pub(crate) const NUMERIC: u32 = 1700;
    pub(crate) const REGPROCEDURE: u32 = 2202;
    pub(crate) const REGOPER: u32 = 2203;
    pub(crate) const REGOPERATOR: u32 = 2204;
    pub(crate) const REGCLASS: u32 = 2205;
    pub(crate) const REGTYPE: u32 = 2206;
    pub(crate) const TSVECTOR: u32 = 3614;
    pub(crate) const TSQUERY: u32 = 3615;
    pub(crate) const RECORD: u32 = 2249;
    pub(crate) const CSTRING: u32 = 2275;
    pub(crate) const ANY: u32 = 2276;
    pub(crate) const ANYARRAY: u32 = 2277;
    pub(crate) const VOID: u32 = 2278;
    pub(crate) const ANYELEMENT: u32 = 2283;
    pub(crate) const ANYNONARRAY: u32 = 2776;
    pub(crate) const UUID: u32 = 2950;
    pub(crate) const ANYENUM: u32 = 3500;
    pub(crate) const REGCONFIG: u32 = 3734;
    pub(crate) const REGDICTIONARY: u32 = 3769;
    pub(crate) const REGCOLLATION: u32 = 4191;
    pub(crate) const JSONB: u32 = 3802;
    pub(crate) const ANYRANGE: u32 = 3831;
    pub(crate) const REGNAMESPACE: u32 = 4089;
    pub(crate) const REGROLE: u32 = 4096;
    pub(crate) const ANYMULTIRANGE: u32 = 4537;
    pub(crate) const ANYCOMPATIBLEMULTIRANGE: u32 = 4538;
    pub(crate) const ANYCOMPATIBLE: u32 = 5077;
    pub(crate) const ANYCOMPATIBLEARRAY: u32 = 5078;
    pub(crate) const ANYCOMPATIBLENONARRAY: u32 = 5079;
    pub(crate) const ANYCOMPATIBLERANGE: u32 = 5080;
}

/// A type as an expression has it: `typmod` is -1 where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ty {
    pub(crate) oid: u32,
    pub(crate) typmod: i32,
}

impl Ty {
    pub(crate) const UNKNOWN: Ty = Ty::of(oid::UNKNOWN);
    pub(crate) const BOOL: Ty = Ty::of(oid::BOOL);
    pub(crate) const INT4: Ty = Ty::of(oid::INT4);
    pub(crate) const INT8: Ty = Ty::of(oid::INT8);
    pub(crate) const TEXT: Ty = Ty::of(oid::TEXT);
    pub(crate) const NUMERIC: Ty = Ty::of(oid::NUMERIC);

    pub(crate) const fn of(oid: u32) -> Self {
        Self { oid, typmod: -1 }
    }

    pub(crate) fn is_unknown(self) -> bool {
        self.oid == oid::UNKNOWN
    }

    /// As error messages name it: `integer`, `character varying`, without its modifier.
    pub(crate) fn name(self) -> String {
        name(self.oid)
    }

    /// `format_type(oid, typmod)`.
    pub(crate) fn name_with_modifier(self) -> String {
        postgres::type_name(self.oid, self.typmod)
    }

    pub(crate) fn row(self) -> Option<&'static TypeRow> {
        by_oid(self.oid)
    }
}

/// `format_type(oid, NULL)`.
pub(crate) fn name(type_oid: u32) -> String {
    match type_oid {
        oid::BPCHAR => "character".into(),
        oid::BIT => "bit".into(),
        _ => match functions(type_oid) {
            Some(domain) if domain.base != 0 => format!("information_schema.{}", domain.name),
            // the row type of a system relation, or an array of one
            Some(row) if by_oid(type_oid).is_none() => match row.name.strip_prefix('_') {
                Some(row) => format!("{row}[]"),
                None => row.name.to_owned(),
            },
            _ => postgres::type_name(type_oid, -1),
        },
    }
}

/// The type that a domain (of information_schema) is made of; any other type itself.
pub(crate) fn base(type_oid: u32) -> u32 {
    functions(type_oid).map(|row| row.base).filter(|base| *base != 0).unwrap_or(type_oid)
}

/// What `pg_type` says beside [`TypeRow`].
#[derive(Debug)]
pub(crate) struct Functions {
    /// `typname`.
    pub(crate) name: &'static str,
    pub(crate) input: &'static str,
    pub(crate) output: &'static str,
    /// `typbasetype` of a domain; 0 for others.
    pub(crate) base: u32,
    /// Whether its values have a collation.
    pub(crate) collated: bool,
}

static FUNCTIONS: LazyLock<HashMap<u32, Functions>> = LazyLock::new(|| {
    let row = |line: &'static str| {
        let f: Vec<&str> = line.split('\t').collect();
        let functions =
            Functions { name: f[1], input: f[15], output: f[16], base: f[25].parse().ok()?, collated: f[28] != "0" };
        Some((f[0].parse().ok()?, functions))
    };
    rows().map(|line| row(line).expect("pg_type.tsv holds whole rows of pg_type")).collect()
});

/// The rows of pg_type, each a line in COPY's form: functions stand there by name.
pub(crate) fn rows() -> impl Iterator<Item = &'static str> {
    include_str!("pgtype/pg_type.tsv").lines()
}

/// Input, output and the like of a built-in type.
pub(crate) fn functions(type_oid: u32) -> Option<&'static Functions> {
    FUNCTIONS.get(&type_oid)
}

/// The element of a true array (not of a vector, a name or a point); `None` for what is no array.
pub(crate) fn element(type_oid: u32) -> Option<u32> {
    let row = by_oid(type_oid)?;
    (row.category == 'A' && row.element != 0).then_some(row.element)
}

/// Where the elements of an array are counted from: the vectors of the catalogs begin at zero.
pub(crate) fn lower_bound(type_oid: u32) -> i32 {
    if matches!(type_oid, oid::INT2VECTOR | oid::OIDVECTOR) { 0 } else { 1 }
}

/// The array of a type; `None` where it has none.
pub(crate) fn array(type_oid: u32) -> Option<u32> {
    by_oid(type_oid).map(|row| row.array).filter(|oid| *oid != 0)
}

/// Any of the polymorphic pseudo-types.
pub(crate) fn is_polymorphic(type_oid: u32) -> bool {
    use oid::*;
    matches!(
        type_oid,
        ANYELEMENT
            | ANYARRAY
            | ANYNONARRAY
            | ANYENUM
            | ANYRANGE
            | ANYMULTIRANGE
            | ANYCOMPATIBLE
            | ANYCOMPATIBLEARRAY
            | ANYCOMPATIBLENONARRAY
            | ANYCOMPATIBLERANGE
            | ANYCOMPATIBLEMULTIRANGE
    )
}

/// The Arrow type of an expression of this type whose scale, if it is a numeric, is not known. `None` where no value of it
/// can lie in an expression. A record's fields are its own.
pub(crate) fn arrow(type_oid: u32) -> Option<DataType> {
    let type_oid = base(type_oid);
    match type_oid {
        oid::NUMERIC => Some(DataType::Binary),
        oid::UNKNOWN | oid::CSTRING | oid::VOID => Some(DataType::Utf8),
        _ => match element(type_oid) {
            Some(item) => {
                let item = field("item", Ty::of(item), arrow(item)?);
                Some(DataType::List(item.into()))
            }
            None => postgres::field("", type_oid, -1, true).map(|field| field.data_type().clone()).or(
                // a source's own types are text
                (type_oid >= 16384 || by_oid(type_oid).is_none()).then_some(DataType::Utf8),
            ),
        },
    }
}

/// A column of this type, lying as `data_type`, with the metadata by which every floor knows the type again.
pub(crate) fn field(name: &str, ty: Ty, data_type: DataType) -> Field {
    let plain = Field::new(name, data_type, true);
    match postgres::pg_type(&plain) {
        Ok(found)
            if found.oid == ty.oid && (found.typmod == ty.typmod || ty.oid == oid::NUMERIC && ty.typmod != -1) =>
        {
            plain
        }
        _ => {
            let mut metadata =
                HashMap::from([(OID.to_owned(), ty.oid.to_string()), (TYPMOD.to_owned(), ty.typmod.to_string())]);
            if ty.oid == oid::NUMERIC && ty.typmod == -1 && *plain.data_type() != DataType::Binary {
                metadata.insert(SCALE.to_owned(), "shown".to_owned());
            }
            plain.with_metadata(metadata)
        }
    }
}

/// What a field of a table or of a plan is in PostgreSQL's eyes.
pub(crate) fn of_field(field: &Field) -> crate::error::Result<Ty> {
    let found = postgres::pg_type(field)?;
    Ok(Ty { oid: found.oid, typmod: found.typmod })
}
