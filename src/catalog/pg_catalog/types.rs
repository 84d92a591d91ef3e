//! Type names for the catalogs: what `formats` knows of spelling, as PostgreSQL's functions ask for it.

use super::image::{Type, type_by_oid};
use crate::formats::postgres;

const BIT: u32 = 1560;
const BPCHAR: u32 = 1042;

/// As PostgreSQL's function of this name: `typmod` NULL leaves modifiers out, an unknown oid is `???`.
pub fn format_type(oid: u32, typmod: Option<i32>) -> String {
    match (oid, typmod) {
        // With a modifier of -1 these two keep their internal names: `character` alone would mean one character.
        (BPCHAR, None) => "character".into(),
        (BIT, None) => "bit".into(),
        (_, typmod) => postgres::type_name(oid, typmod.unwrap_or(-1)),
    }
}

/// The type of a name as `::regtype` takes it: `int`, `pg_catalog.int4`, `character varying(12)`, `text[]`.
pub fn parse_type(text: &str) -> Option<&'static Type> {
    type_by_oid(postgres::by_name(text)?.0)
}

/// (precision, scale) of a numeric's typmod; the scale is a signed number of 11 bits.
pub(in crate::catalog) fn numeric_modifier(typmod: i32) -> (i32, i32) {
    let packed = typmod - 4;
    ((packed >> 16) & 0xffff, ((packed & 0x7ff) ^ 1024) - 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_spelled_as_postgres_spells_them() {
        let rows = [
            (1042, None, "character"),
            (1042, Some(-1), "bpchar"),
            (1042, Some(14), "character(10)"),
            (1043, Some(14), "character varying(10)"),
            (1700, Some(655_366), "numeric(10,2)"),
            (1700, Some(((10 << 16) | 2046) + 4), "numeric(10,-2)"),
            (1700, Some(-1), "numeric"),
            (1184, Some(3), "timestamp(3) with time zone"),
            (1114, Some(0), "timestamp(0) without time zone"),
            (1186, Some(-1), "interval"),
            (1083, Some(2), "time(2) without time zone"),
            (1560, Some(8), "bit(8)"),
            (1562, Some(8), "bit varying(8)"),
            (1015, Some(14), "character varying(10)[]"),
            (1231, Some(655_366), "numeric(10,2)[]"),
            (1002, Some(-1), "\"char\"[]"),
            (18, Some(-1), "\"char\""),
            (30, Some(-1), "oidvector"),
            (25, None, "text"),
            (0, None, "-"),
            (999_999, None, "???"),
        ];
        for (oid, typmod, expect) in rows {
            assert_eq!(format_type(oid, typmod), expect, "{oid} {typmod:?}");
        }
    }

    #[test]
    fn names_of_types_are_found_in_every_spelling() {
        let rows = [
            ("int", Some(23)),
            ("INTEGER", Some(23)),
            ("pg_catalog.int4", Some(23)),
            ("int[]", Some(1007)),
            ("character varying(12)", Some(1043)),
            ("timestamp(3) with time zone", Some(1184)),
            ("double precision", Some(701)),
            ("char", Some(1042)),
            ("\"char\"", Some(18)),
            ("text[]", Some(1009)),
            ("_text", Some(1009)),
            ("oidvector", Some(30)),
            ("hstore", None),
            ("int[][]", Some(1007)),
            ("", None),
        ];
        for (name, oid) in rows {
            assert_eq!(parse_type(name).map(|t| t.oid), oid, "{name}");
        }
    }
}
