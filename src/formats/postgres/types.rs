//! PostgreSQL's built-in types as `pg_type` describes them, and how each lies in Arrow. The oids, sizes and letters are
//! those of PostgreSQL 15; array types are made from their elements. It does not know enums or composites of a source.

mod table;

use std::collections::HashMap;
use std::sync::LazyLock;

use table::{ARRAYS, TYPES};

/// One row of `pg_type`, as far as it does not depend on an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeRow {
    pub oid: u32,
    /// `typname`: the internal name, such as `int4` or `_int4`.
    pub name: &'static str,
    /// `typarray`; 0 where there is none.
    pub array: u32,
    /// `typlen`.
    pub size: i16,
    /// `typelem`; 0 where there is none.
    pub element: u32,
    /// `typcategory`.
    pub category: char,
    /// `typtype`: b(ase), p(seudo), r(ange), m(ultirange).
    pub kind: char,
    /// `typalign`.
    pub align: char,
    /// `typbyval`.
    pub by_value: bool,
    /// `typispreferred`.
    pub preferred: bool,
    pub(crate) shape: Shape,
}

/// How the values of a type lie in Arrow, and so who reads and writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    /// Strings whose binary form is the text itself.
    Text,
    /// Strings whose binary form is a version byte and the text.
    Versioned,
    /// Strings in PostgreSQL's spelling of a type we do not take apart: no binary form.
    Spelt,
    Bytes,
    Date,
    /// Microseconds of the day.
    Time,
    /// Twelve bytes as on the wire: microseconds of the day, seconds west of Greenwich. Equal bytes are equal values.
    TimeTz,
    Timestamp,
    TimestampTz,
    Interval,
    Uuid,
    /// Unsigned 32 bits.
    Oid,
    /// Six bytes as on the wire: block, line.
    Tid,
    /// Unsigned 64 bits in decimal.
    Xid8,
    /// Unsigned 64 bits as `16/B374D848`.
    Lsn,
    /// `int2vector`, `oidvector`: lists whose text has neither braces nor commas and which count from 0.
    Vector,
    /// A list of the row's `element`.
    Array,
    Record,
    /// Never a column of ours.
    Opaque,
}

pub(crate) const BOOL: u32 = 16;
pub(crate) const BYTEA: u32 = 17;
/// The one-byte type, `"char"` in quotes.
pub(crate) const CHAR: u32 = 18;
pub(crate) const INT8: u32 = 20;
pub(crate) const INT2: u32 = 21;
pub(crate) const INT4: u32 = 23;
pub(crate) const TEXT: u32 = 25;
pub(crate) const FLOAT4: u32 = 700;
pub(crate) const FLOAT8: u32 = 701;
pub(crate) const BPCHAR: u32 = 1042;
pub(crate) const VARCHAR: u32 = 1043;
pub(crate) const DATE: u32 = 1082;
pub(crate) const TIME: u32 = 1083;
pub(crate) const TIMESTAMP: u32 = 1114;
pub(crate) const TIMESTAMPTZ: u32 = 1184;
pub(crate) const INTERVAL: u32 = 1186;
pub(crate) const TIMETZ: u32 = 1266;
pub(crate) const NUMERIC: u32 = 1700;
pub(crate) const REGTYPE: u32 = 2206;
pub(crate) const RECORD: u32 = 2249;
pub(crate) const RECORD_ARRAY: u32 = 2287;
pub(crate) const UUID: u32 = 2950;
/// What PostgreSQL adds to lengths in type modifiers.
pub(crate) const HEADER: i32 = 4;
/// The longest `varchar(n)`.
const LENGTH_MAX: i32 = 10_485_760;
pub(crate) const CIDR: u32 = 650;
pub(crate) const MACADDR8: u32 = 774;
pub(crate) const MONEY: u32 = 790;
pub(crate) const MACADDR: u32 = 829;
pub(crate) const INET: u32 = 869;
pub(crate) const BIT: u32 = 1560;
pub(crate) const VARBIT: u32 = 1562;
/// Oids below belong to PostgreSQL; enums and composites of a source, and objects of ours, lie at or above.
pub(crate) const FIRST_NORMAL_OID: u32 = 16384;

/// Every built-in type, arrays included, in no particular order.
pub fn types() -> impl Iterator<Item = &'static TypeRow> {
    TYPES.iter().chain(ARRAYS.iter().filter(|row| row.oid != 0))
}

pub fn by_oid(oid: u32) -> Option<&'static TypeRow> {
    static ROWS: LazyLock<HashMap<u32, &'static TypeRow>> =
        LazyLock::new(|| types().map(|row| (row.oid, row)).collect());
    ROWS.get(&oid).copied()
}

/// A type by `typname`, as `pg_type` writes it: `int4`, not `integer`.
pub(crate) fn by_internal_name(name: &str) -> Option<&'static TypeRow> {
    static ROWS: LazyLock<HashMap<&'static str, &'static TypeRow>> =
        LazyLock::new(|| types().map(|row| (row.name, row)).collect());
    ROWS.get(name).copied()
}

/// Oid and type modifier (-1 for none) of a type as SQL writes it: by its internal name, its SQL name or a common alias,
/// in any case, with modifiers, `[]` for its array. `int4`, `integer`, `pg_catalog.int4`, `varchar(10)`, `numeric(12,2)`,
/// `timestamp(3) with time zone`, `text[]`, `_text`.
pub fn by_name(name: &str) -> Option<(u32, i32)> {
    let lower = name.to_ascii_lowercase().split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let plain = lower.strip_prefix("pg_catalog.").unwrap_or(&lower).trim_end();
    if let Some((element, _)) = plain.strip_suffix(']').and_then(|open| open.split_once('[')) {
        let (oid, typmod) = by_name(element)?;
        return by_oid(oid).map(|row| row.array).filter(|&array| array != 0).map(|array| (array, typmod));
    }
    // The modifiers stand behind the name's first word or its last: `time(3) with time zone`.
    let (plain, modifiers) = match plain.split_once('(') {
        None => (plain.to_owned(), None),
        Some((before, rest)) => {
            let (inside, after) = rest.split_once(')')?;
            let numbers = inside.split(',').map(|number| number.trim().parse::<i32>().ok());
            (format!("{}{}", before.trim_end(), after.trim_end()), Some(numbers.collect::<Option<Vec<_>>>()?))
        }
    };
    let row = named(&plain, modifiers.as_deref())?;
    Some((row.oid, modifier(row, &plain, modifiers.as_deref().unwrap_or_default())?))
}

fn named(plain: &str, modifiers: Option<&[i32]>) -> Option<&'static TypeRow> {
    let internal = match (plain, modifiers) {
        ("\"char\"", None) => "char",
        // Unquoted, SQL's char is bpchar; the one-byte type is asked for in quotes.
        ("char" | "nchar" | "character" | "national character", _) => "bpchar",
        ("char varying", _) => "varchar",
        ("dec" | "decimal", _) => "numeric",
        ("int", None) => "int4",
        ("float", None | Some([25..=53])) => "float8",
        ("float", Some([1..=24])) => "float4",
        (other, _) => types().find(|row| sql_name(row.oid) == Some(other)).map_or(other, |row| row.name),
    };
    types().find(|row| row.name == internal)
}

/// `None` for modifiers that the type does not take.
fn modifier(row: &TypeRow, plain: &str, modifiers: &[i32]) -> Option<i32> {
    match (row.oid, modifiers) {
        // SQL's char and bit without a length have one character and one bit.
        (BPCHAR, []) if plain != "bpchar" => Some(1 + HEADER),
        (BIT, []) => Some(1),
        (_, []) => Some(-1),
        (BPCHAR | VARCHAR, &[length @ 1..=LENGTH_MAX]) => Some(length + HEADER),
        (BIT | VARBIT, &[length @ 1..=LENGTH_MAX]) => Some(length),
        (NUMERIC, &[precision @ 1..=1000]) => Some((precision << 16) + HEADER),
        (NUMERIC, &[precision @ 1..=1000, scale @ -1000..=1000]) => {
            Some(((precision << 16) | (scale & 0x7ff)) + HEADER)
        }
        (TIME | TIMETZ | TIMESTAMP | TIMESTAMPTZ, &[precision @ (0..)]) => Some(precision.min(6)),
        (INTERVAL, &[precision @ (0..)]) => Some((0x7fff << 16) | precision.min(6)),
        (FLOAT4 | FLOAT8, _) if plain == "float" => Some(-1),
        _ => None,
    }
}

/// As `format_type(oid, typmod)` prints it: `character varying(10)`, `numeric(12,2)`, `integer[]`; `???` for an oid that
/// is not PostgreSQL's own.
pub fn type_name(oid: u32, typmod: i32) -> String {
    if oid == 0 {
        return "-".to_owned();
    }
    let Some(row) = by_oid(oid) else { return "???".to_owned() };
    match row.shape {
        Shape::Array => format!("{}[]", type_name(row.element, typmod)),
        _ => scalar_name(row, typmod),
    }
}

fn scalar_name(row: &TypeRow, typmod: i32) -> String {
    let length = typmod.saturating_sub(HEADER);
    match (row.oid, typmod) {
        // Without a length `character` would mean one character, and `bit` one bit, so these keep their internal names.
        (BPCHAR, ..0) => "bpchar".to_owned(),
        (BIT, ..0) => "\"bit\"".to_owned(),
        (BPCHAR, _) => format!("character({length})"),
        (VARCHAR, 0..) => format!("character varying({length})"),
        (BIT | VARBIT, 0..) => format!("{}({typmod})", sql_name(row.oid).unwrap_or(row.name)),
        (NUMERIC, 4..) => {
            let (precision, scale) = numeric_modifier(typmod);
            format!("numeric({precision},{scale})")
        }
        (TIME, 0..) => format!("time({typmod}) without time zone"),
        (TIMETZ, 0..) => format!("time({typmod}) with time zone"),
        (TIMESTAMP, 0..) => format!("timestamp({typmod}) without time zone"),
        (TIMESTAMPTZ, 0..) => format!("timestamp({typmod}) with time zone"),
        (INTERVAL, 0..) => interval_name(typmod),
        _ => sql_name(row.oid).unwrap_or(row.name).to_owned(),
    }
}

/// Precision and scale of a numeric's type modifier; the scale may be negative.
pub(crate) fn numeric_modifier(typmod: i32) -> (i32, i32) {
    let packed = typmod.saturating_sub(HEADER);
    ((packed >> 16) & 0xffff, ((packed & 0x7ff) ^ 1024) - 1024)
}

/// The modifier holds a precision and a mask of the fields that are kept.
fn interval_name(typmod: i32) -> String {
    let (fields, precision) = ((typmod >> 16) & 0x7fff, typmod & 0xffff);
    let range = match fields {
        0x0004 => " year",
        0x0002 => " month",
        0x0008 => " day",
        0x0400 => " hour",
        0x0800 => " minute",
        0x1000 => " second",
        0x0006 => " year to month",
        0x0408 => " day to hour",
        0x0c08 => " day to minute",
        0x1c08 => " day to second",
        0x0c00 => " hour to minute",
        0x1c00 => " hour to second",
        0x1800 => " minute to second",
        _ => "",
    };
    if precision == 0xffff { format!("interval{range}") } else { format!("interval{range}({precision})") }
}

/// SQL's own names, where they differ from the internal ones.
fn sql_name(oid: u32) -> Option<&'static str> {
    Some(match oid {
        BOOL => "boolean",
        CHAR => "\"char\"",
        INT8 => "bigint",
        INT2 => "smallint",
        INT4 => "integer",
        FLOAT4 => "real",
        FLOAT8 => "double precision",
        BPCHAR => "character",
        VARCHAR => "character varying",
        TIME => "time without time zone",
        TIMETZ => "time with time zone",
        TIMESTAMP => "timestamp without time zone",
        TIMESTAMPTZ => "timestamp with time zone",
        BIT => "bit",
        VARBIT => "bit varying",
        2276 => "\"any\"",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `format_type` of PostgreSQL 15 answered.
    #[test]
    fn type_names_are_those_of_format_type() {
        let rows = [
            (BIT, -1, "\"bit\""),
            (BPCHAR, -1, "bpchar"),
            (BPCHAR, 14, "character(10)"),
            (VARCHAR, 14, "character varying(10)"),
            (VARCHAR, -1, "character varying"),
            (INTERVAL, (0x7fff << 16) + 3, "interval(3)"),
            (INTERVAL, (4 << 16) + 0xffff, "interval year"),
            (TIMESTAMP, 3, "timestamp(3) without time zone"),
            (TIMESTAMPTZ, -1, "timestamp with time zone"),
            (1270, 2, "time(2) with time zone[]"),
            (1231, 786438, "numeric(12,2)[]"),
            (NUMERIC, (12 << 16) + 4 + (-2 & 2047), "numeric(12,-2)"),
            (18, -1, "\"char\""),
            (RECORD_ARRAY, -1, "record[]"),
            (22, -1, "int2vector"),
            (1006, -1, "int2vector[]"),
            (VARBIT, 7, "bit varying(7)"),
            (BIT, 7, "bit(7)"),
            (0, -1, "-"),
            (99999, -1, "???"),
        ];
        for (oid, typmod, expect) in rows {
            assert_eq!(type_name(oid, typmod), expect, "{oid} {typmod}");
        }
    }

    #[test]
    fn names_find_their_types() {
        let rows = [
            ("int4", INT4, -1),
            ("INTEGER", INT4, -1),
            (" int ", INT4, -1),
            ("pg_catalog.int8", INT8, -1),
            ("character varying", VARCHAR, -1),
            ("VARCHAR(10)", VARCHAR, 14),
            ("character  varying (10)", VARCHAR, 14),
            ("char", BPCHAR, 5),
            ("char(3)", BPCHAR, 7),
            ("bpchar", BPCHAR, -1),
            ("\"char\"", 18, -1),
            ("timestamp with time zone", TIMESTAMPTZ, -1),
            ("TIMESTAMP(3) WITH TIME ZONE", TIMESTAMPTZ, 3),
            ("timestamptz(9)", TIMESTAMPTZ, 6),
            ("timestamp(0)", TIMESTAMP, 0),
            ("time without time zone", TIME, -1),
            ("interval(3)", INTERVAL, (0x7fff << 16) + 3),
            ("_int4", 1007, -1),
            ("integer[]", 1007, -1),
            ("text[][]", 1009, -1),
            ("numeric(12,2)[]", 1231, 786438),
            ("decimal", NUMERIC, -1),
            ("DECIMAL(12, 2)", NUMERIC, 786438),
            ("numeric(5,-2)", NUMERIC, (5 << 16) + (-2 & 0x7ff) + 4),
            ("double precision", FLOAT8, -1),
            ("float(24)", FLOAT4, -1),
            ("float(53)", FLOAT8, -1),
            ("bit", BIT, 1),
            ("record[]", RECORD_ARRAY, -1),
        ];
        for (name, oid, typmod) in rows {
            assert_eq!(by_name(name), Some((oid, typmod)), "{name}");
        }
        for name in [
            "nonsense",
            "unknown[]",
            "text(3)",
            "varchar(0)",
            "varchar(x)",
            "varchar(3",
            "int(3)",
            "float(54)",
            "[]",
            "",
        ] {
            assert_eq!(by_name(name), None, "{name}");
        }
    }

    #[test]
    fn oids_and_names_are_unique_and_arrays_point_back() {
        let mut seen = std::collections::HashSet::new();
        for row in types() {
            assert!(seen.insert(row.oid), "{row:?}");
            assert_eq!(by_oid(row.oid), Some(row));
            if row.array != 0 {
                let array = by_oid(row.array).expect("every array is listed");
                assert_eq!((array.element, array.shape), (row.oid, Shape::Array));
            }
        }
    }
}
