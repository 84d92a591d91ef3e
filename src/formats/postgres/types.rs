//! PostgreSQL's built-in types as `pg_type` describes them, and how each lies in Arrow. The oids, sizes and letters are
//! those of PostgreSQL 15; array types are made from their elements. It does not know enums or composites of a source.

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
const BIT: u32 = 1560;
const VARBIT: u32 = 1562;
/// Oids below belong to PostgreSQL; enums and composites of a source, and objects of ours, lie at or above.
pub(crate) const FIRST_NORMAL_OID: u32 = 16384;

/// Every built-in type, arrays included, in no particular order.
pub fn types() -> impl Iterator<Item = &'static TypeRow> {
    TYPES.iter().chain(ARRAYS.iter().filter(|row| row.oid != 0))
}

pub fn by_oid(oid: u32) -> Option<&'static TypeRow> {
    types().find(|row| row.oid == oid)
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
        (NUMERIC, &[precision @ 1..=1000, scale @ -1000..=1000]) => Some(((precision << 16) | (scale & 0x7ff)) + HEADER),
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

/// One table, two lists: the types, and beside each its array, which differs from row to row in name and alignment only.
macro_rules! types {
    ($($oid:literal $name:literal $array:literal $size:literal $element:literal $category:literal $kind:literal
       $align:literal $by_value:literal $preferred:literal $shape:ident;)*) => {
        static TYPES: &[TypeRow] = &[$(TypeRow {
            oid: $oid, name: $name, array: $array, size: $size, element: $element, category: $category, kind: $kind,
            align: $align, by_value: $by_value, preferred: $preferred, shape: Shape::$shape,
        },)*];
        static ARRAYS: &[TypeRow] = &[$(TypeRow {
            oid: $array, name: concat!("_", $name), array: 0, size: -1, element: $oid, category: 'A', kind: 'b',
            align: if $align == 'd' { 'd' } else { 'i' }, by_value: false, preferred: false, shape: Shape::Array,
        },)*];
    };
}

// oid name array size element category kind align by_value preferred shape
#[rustfmt::skip]
types! {
      16 "bool"                         1000  1   0 'B' 'b' 'c' true  true  Bool;
      17 "bytea"                        1001 -1   0 'U' 'b' 'i' false false Bytes;
      18 "char"                         1002  1   0 'Z' 'b' 'c' true  false Text;
      19 "name"                         1003 64  18 'S' 'b' 'c' false false Text;
      20 "int8"                         1016  8   0 'N' 'b' 'd' true  false Int8;
      21 "int2"                         1005  2   0 'N' 'b' 's' true  false Int2;
      22 "int2vector"                   1006 -1  21 'A' 'b' 'i' false false Vector;
      23 "int4"                         1007  4   0 'N' 'b' 'i' true  false Int4;
      24 "regproc"                      1008  4   0 'N' 'b' 'i' true  false Oid;
      25 "text"                         1009 -1   0 'S' 'b' 'i' false true  Text;
      26 "oid"                          1028  4   0 'N' 'b' 'i' true  true  Oid;
      27 "tid"                          1010  6   0 'U' 'b' 's' false false Tid;
      28 "xid"                          1011  4   0 'U' 'b' 'i' true  false Oid;
      29 "cid"                          1012  4   0 'U' 'b' 'i' true  false Oid;
      30 "oidvector"                    1013 -1  26 'A' 'b' 'i' false false Vector;
      32 "pg_ddl_command"                  0  8   0 'P' 'p' 'd' true  false Opaque;
     114 "json"                          199 -1   0 'U' 'b' 'i' false false Text;
     142 "xml"                           143 -1   0 'U' 'b' 'i' false false Text;
     194 "pg_node_tree"                    0 -1   0 'Z' 'b' 'i' false false Text;
     269 "table_am_handler"                0  4   0 'P' 'p' 'i' true  false Opaque;
     325 "index_am_handler"                0  4   0 'P' 'p' 'i' true  false Opaque;
     600 "point"                        1017 16 701 'G' 'b' 'd' false false Spelt;
     601 "lseg"                         1018 32 600 'G' 'b' 'd' false false Spelt;
     602 "path"                         1019 -1   0 'G' 'b' 'd' false false Spelt;
     603 "box"                          1020 32 600 'G' 'b' 'd' false false Spelt;
     604 "polygon"                      1027 -1   0 'G' 'b' 'd' false false Spelt;
     628 "line"                          629 24 701 'G' 'b' 'd' false false Spelt;
     650 "cidr"                          651 -1   0 'I' 'b' 'i' false false Spelt;
     700 "float4"                       1021  4   0 'N' 'b' 'i' true  false Float4;
     701 "float8"                       1022  8   0 'N' 'b' 'd' true  true  Float8;
     705 "unknown"                         0 -2   0 'X' 'p' 'c' false false Text;
     718 "circle"                        719 24   0 'G' 'b' 'd' false false Spelt;
     774 "macaddr8"                      775  8   0 'U' 'b' 'i' false false Spelt;
     790 "money"                         791  8   0 'N' 'b' 'd' true  false Spelt;
     829 "macaddr"                      1040  6   0 'U' 'b' 'i' false false Spelt;
     869 "inet"                         1041 -1   0 'I' 'b' 'i' false true  Spelt;
    1033 "aclitem"                      1034 12   0 'U' 'b' 'i' false false Spelt;
    1042 "bpchar"                       1014 -1   0 'S' 'b' 'i' false false Text;
    1043 "varchar"                      1015 -1   0 'S' 'b' 'i' false false Text;
    1082 "date"                         1182  4   0 'D' 'b' 'i' true  false Date;
    1083 "time"                         1183  8   0 'D' 'b' 'd' true  false Time;
    1114 "timestamp"                    1115  8   0 'D' 'b' 'd' true  false Timestamp;
    1184 "timestamptz"                  1185  8   0 'D' 'b' 'd' true  true  TimestampTz;
    1186 "interval"                     1187 16   0 'T' 'b' 'd' false true  Interval;
    1266 "timetz"                       1270 12   0 'D' 'b' 'd' false false TimeTz;
    1560 "bit"                          1561 -1   0 'V' 'b' 'i' false false Spelt;
    1562 "varbit"                       1563 -1   0 'V' 'b' 'i' false true  Spelt;
    1700 "numeric"                      1231 -1   0 'N' 'b' 'i' false false Numeric;
    1790 "refcursor"                    2201 -1   0 'U' 'b' 'i' false false Text;
    2202 "regprocedure"                 2207  4   0 'N' 'b' 'i' true  false Oid;
    2203 "regoper"                      2208  4   0 'N' 'b' 'i' true  false Oid;
    2204 "regoperator"                  2209  4   0 'N' 'b' 'i' true  false Oid;
    2205 "regclass"                     2210  4   0 'N' 'b' 'i' true  false Oid;
    2206 "regtype"                      2211  4   0 'N' 'b' 'i' true  false Oid;
    2249 "record"                       2287 -1   0 'P' 'p' 'd' false false Record;
    2275 "cstring"                      1263 -2   0 'P' 'p' 'c' false false Text;
    2276 "any"                             0  4   0 'P' 'p' 'i' true  false Opaque;
    2277 "anyarray"                        0 -1   0 'P' 'p' 'd' false false Opaque;
    2278 "void"                            0  4   0 'P' 'p' 'i' true  false Opaque;
    2279 "trigger"                         0  4   0 'P' 'p' 'i' true  false Opaque;
    2280 "language_handler"                0  4   0 'P' 'p' 'i' true  false Opaque;
    2281 "internal"                        0  8   0 'P' 'p' 'd' true  false Opaque;
    2283 "anyelement"                      0  4   0 'P' 'p' 'i' true  false Opaque;
    2776 "anynonarray"                     0  4   0 'P' 'p' 'i' true  false Opaque;
    2950 "uuid"                         2951 16   0 'U' 'b' 'c' false false Uuid;
    2970 "txid_snapshot"                2949 -1   0 'U' 'b' 'd' false false Spelt;
    3115 "fdw_handler"                     0  4   0 'P' 'p' 'i' true  false Opaque;
    3220 "pg_lsn"                       3221  8   0 'U' 'b' 'd' true  false Lsn;
    3310 "tsm_handler"                     0  4   0 'P' 'p' 'i' true  false Opaque;
    3361 "pg_ndistinct"                    0 -1   0 'Z' 'b' 'i' false false Opaque;
    3402 "pg_dependencies"                 0 -1   0 'Z' 'b' 'i' false false Opaque;
    3500 "anyenum"                         0  4   0 'P' 'p' 'i' true  false Opaque;
    3614 "tsvector"                     3643 -1   0 'U' 'b' 'i' false false Spelt;
    3615 "tsquery"                      3645 -1   0 'U' 'b' 'i' false false Spelt;
    3642 "gtsvector"                    3644 -1   0 'U' 'b' 'i' false false Opaque;
    3734 "regconfig"                    3735  4   0 'N' 'b' 'i' true  false Oid;
    3769 "regdictionary"                3770  4   0 'N' 'b' 'i' true  false Oid;
    3802 "jsonb"                        3807 -1   0 'U' 'b' 'i' false false Versioned;
    3831 "anyrange"                        0 -1   0 'P' 'p' 'd' false false Opaque;
    3838 "event_trigger"                   0  4   0 'P' 'p' 'i' true  false Opaque;
    3904 "int4range"                    3905 -1   0 'R' 'r' 'i' false false Spelt;
    3906 "numrange"                     3907 -1   0 'R' 'r' 'i' false false Spelt;
    3908 "tsrange"                      3909 -1   0 'R' 'r' 'd' false false Spelt;
    3910 "tstzrange"                    3911 -1   0 'R' 'r' 'd' false false Spelt;
    3912 "daterange"                    3913 -1   0 'R' 'r' 'i' false false Spelt;
    3926 "int8range"                    3927 -1   0 'R' 'r' 'd' false false Spelt;
    4072 "jsonpath"                     4073 -1   0 'U' 'b' 'i' false false Versioned;
    4089 "regnamespace"                 4090  4   0 'N' 'b' 'i' true  false Oid;
    4096 "regrole"                      4097  4   0 'N' 'b' 'i' true  false Oid;
    4191 "regcollation"                 4192  4   0 'N' 'b' 'i' true  false Oid;
    4451 "int4multirange"               6150 -1   0 'R' 'm' 'i' false false Spelt;
    4532 "nummultirange"                6151 -1   0 'R' 'm' 'i' false false Spelt;
    4533 "tsmultirange"                 6152 -1   0 'R' 'm' 'd' false false Spelt;
    4534 "tstzmultirange"               6153 -1   0 'R' 'm' 'd' false false Spelt;
    4535 "datemultirange"               6155 -1   0 'R' 'm' 'i' false false Spelt;
    4536 "int8multirange"               6157 -1   0 'R' 'm' 'd' false false Spelt;
    4537 "anymultirange"                   0 -1   0 'P' 'p' 'd' false false Opaque;
    4538 "anycompatiblemultirange"         0 -1   0 'P' 'p' 'd' false false Opaque;
    4600 "pg_brin_bloom_summary"           0 -1   0 'Z' 'b' 'i' false false Opaque;
    4601 "pg_brin_minmax_multi_summary"    0 -1   0 'Z' 'b' 'i' false false Opaque;
    5017 "pg_mcv_list"                     0 -1   0 'Z' 'b' 'i' false false Opaque;
    5038 "pg_snapshot"                  5039 -1   0 'U' 'b' 'd' false false Spelt;
    5069 "xid8"                          271  8   0 'U' 'b' 'd' true  false Xid8;
    5077 "anycompatible"                   0  4   0 'P' 'p' 'i' true  false Opaque;
    5078 "anycompatiblearray"              0 -1   0 'P' 'p' 'd' false false Opaque;
    5079 "anycompatiblenonarray"           0  4   0 'P' 'p' 'i' true  false Opaque;
    5080 "anycompatiblerange"              0 -1   0 'P' 'p' 'd' false false Opaque;
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
        for name in ["nonsense", "unknown[]", "text(3)", "varchar(0)", "varchar(x)", "varchar(3", "int(3)", "float(54)", "[]", ""] {
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
