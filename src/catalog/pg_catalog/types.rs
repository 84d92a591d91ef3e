//! Type names as SQL spells them: oid → `numeric(10,2)` and back. It knows PostgreSQL's built-in types, no others.

use super::image::{Type, type_by_name, type_by_oid};

/// `typname` → SQL's own name, where the two differ.
const SPELLED: [(&str, &str); 15] = [
    ("bool", "boolean"),
    ("bpchar", "character"),
    ("char", "\"char\""),
    ("any", "\"any\""),
    ("float4", "real"),
    ("float8", "double precision"),
    ("int2", "smallint"),
    ("int4", "integer"),
    ("int8", "bigint"),
    ("time", "time without time zone"),
    ("timestamp", "timestamp without time zone"),
    ("timestamptz", "timestamp with time zone"),
    ("timetz", "time with time zone"),
    ("varbit", "bit varying"),
    ("varchar", "character varying"),
];

/// Other words SQL has for them.
const ALIASES: [(&str, &str); 6] = [
    ("int", "int4"),
    ("decimal", "numeric"),
    ("dec", "numeric"),
    ("float", "float8"),
    ("char", "bpchar"),
    ("bit", "bit"),
];

/// As PostgreSQL's function of this name: `typmod` NULL leaves modifiers out, an unknown oid is `???`.
pub fn format_type(oid: u32, typmod: Option<i32>) -> String {
    if oid == 0 {
        return "-".into();
    }
    match type_by_oid(oid) {
        None => "???".into(),
        Some(array) if array.is_array => match type_by_oid(array.element) {
            Some(element) => format!("{}[]", spell(element, typmod)),
            None => "???[]".into(),
        },
        Some(kind) => spell(kind, typmod),
    }
}

/// The type of a name as `::regtype` takes it: `int`, `pg_catalog.int4`, `character varying(12)`, `text[]`.
pub fn parse_type(text: &str) -> Option<&'static Type> {
    let text = text.trim();
    // PostgreSQL has one array type for all numbers of dimensions.
    let element = text.trim_end_matches("[]");
    if element.len() < text.len() {
        return type_by_oid(parse_type(element)?.array);
    }
    let name = text.strip_prefix("pg_catalog.").unwrap_or(text);
    if let Some(quoted) = name.strip_prefix('"').and_then(|n| n.strip_suffix('"')) {
        return type_by_name(quoted);
    }
    let name = without_modifier(&name.to_lowercase());
    let spelled = || SPELLED.iter().find(|(_, sql)| *sql == name).map(|(name, _)| *name);
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, name)| *name);
    type_by_name(alias.or_else(spelled).unwrap_or(&name))
}

fn spell(kind: &Type, typmod: Option<i32>) -> String {
    let name = SPELLED.iter().find(|(n, _)| *n == kind.name).map_or(kind.name.as_str(), |(_, sql)| *sql);
    match (kind.name.as_str(), typmod) {
        // Without a length `character` would mean one character.
        ("bpchar", Some(-1)) => "bpchar".into(),
        (_, None) => name.into(),
        ("bpchar" | "varchar", Some(m)) if m > 4 => format!("{name}({})", m - 4),
        ("bit" | "varbit", Some(m)) if m >= 0 => format!("{name}({m})"),
        ("numeric", Some(m)) if m >= 4 => {
            let (precision, scale) = numeric_modifier(m);
            format!("numeric({precision},{scale})")
        }
        ("time" | "timestamp" | "timetz" | "timestamptz", Some(m)) if m >= 0 => match name.split_once(' ') {
            Some((first, rest)) => format!("{first}({m}) {rest}"),
            None => name.into(),
        },
        _ => name.into(),
    }
}

/// (precision, scale) of a numeric's typmod; the scale is a signed number of 11 bits.
pub(in crate::catalog) fn numeric_modifier(typmod: i32) -> (i32, i32) {
    let packed = typmod - 4;
    ((packed >> 16) & 0xffff, ((packed & 0x7ff) ^ 1024) - 1024)
}

/// `character varying(12)` → `character varying`, `timestamp(3) with time zone` → `timestamp with time zone`.
fn without_modifier(name: &str) -> String {
    let Some((head, rest)) = name.split_once('(') else { return name.to_string() };
    let tail = rest.split_once(')').map_or("", |(_, tail)| tail);
    let words = head.split_whitespace().chain(tail.split_whitespace());
    words.collect::<Vec<_>>().join(" ")
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
