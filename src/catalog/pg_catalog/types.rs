//! pg_type, and how types are spelt: what `formats` knows of names, as PostgreSQL's functions ask for it. Each table of the
//! session has a row type and an array of it.

use super::image::{Type, type_by_oid};
use super::rows::Rows;
use crate::catalog::visible::{View, row_type, system_schema_name};
use crate::error::Result;
use crate::formats::postgres;
use crate::pgtype;
use crate::types::Identifier;

const BIT: u32 = 1560;
const BPCHAR: u32 = 1042;
/// The longest name, in bytes.
const NAME_MAX: usize = 63;

/// `_name`, no longer than a name may be.
fn array_name(name: &str) -> String {
    let mut text = format!("_{name}");
    while text.len() > NAME_MAX {
        text.pop();
    }
    text
}

pub(super) fn pg_type(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    let function = |name: &str| crate::sql::image::procs(name).first().map_or(0, |proc| proc.oid);
    for table in &view.tables {
        let (row, array) = row_type(table.oid);
        let schema = view.schema_oid(&table.name.schema).unwrap_or(0);
        rows.push([
            ("oid", row.into()),
            ("typname", (&table.name.table).into()),
            ("typnamespace", schema.into()),
            ("typowner", view.role_oid(&table.owner).into()),
            ("typlen", (-1).into()),
            ("typtype", 'c'.into()),
            ("typcategory", 'C'.into()),
            ("typisdefined", true.into()),
            ("typdelim", ','.into()),
            ("typrelid", table.oid.into()),
            ("typarray", array.into()),
            ("typinput", function("record_in").into()),
            ("typoutput", function("record_out").into()),
            ("typreceive", function("record_recv").into()),
            ("typsend", function("record_send").into()),
            ("typalign", 'd'.into()),
            ("typstorage", 'x'.into()),
            ("typtypmod", (-1).into()),
        ])?;
        rows.push([
            ("oid", array.into()),
            ("typname", array_name(&table.name.table).into()),
            ("typnamespace", schema.into()),
            ("typowner", view.role_oid(&table.owner).into()),
            ("typlen", (-1).into()),
            ("typtype", 'b'.into()),
            ("typcategory", 'A'.into()),
            ("typisdefined", true.into()),
            ("typdelim", ','.into()),
            ("typsubscript", function("array_subscript_handler").into()),
            ("typelem", row.into()),
            ("typinput", function("array_in").into()),
            ("typoutput", function("array_out").into()),
            ("typreceive", function("array_recv").into()),
            ("typsend", function("array_send").into()),
            ("typanalyze", function("array_typanalyze").into()),
            ("typalign", 'd'.into()),
            ("typstorage", 'x'.into()),
            ("typtypmod", (-1).into()),
        ])?;
    }
    Ok(())
}

/// A type's name for a session: types of tables stand with their schema unless it is on the path.
pub(crate) fn type_name(view: &View, oid: u32, typmod: Option<i32>) -> String {
    match view.table_of_type(oid) {
        Some((table, is_array)) => {
            let bare = Identifier(&table.name.table).to_string();
            let name = if view.is_on_path(&table.name) { bare } else { table.name.to_string() };
            if is_array { format!("{name}[]") } else { name }
        }
        None => format_type(oid, typmod),
    }
}

/// As PostgreSQL's function of this name: `typmod` NULL leaves modifiers out, an unknown oid is `???`.
pub fn format_type(oid: u32, typmod: Option<i32>) -> String {
    match (oid, typmod) {
        // With a modifier of -1 these two keep their internal names: `character` alone would mean one character.
        (BPCHAR, None) => "character".into(),
        (BIT, None) => "bit".into(),
        (_, None) => row_type_name(oid).unwrap_or_else(|| pgtype::name(oid)),
        (_, Some(typmod)) => row_type_name(oid).unwrap_or_else(|| postgres::type_name(oid, typmod)),
    }
}

/// Of a built-in type that the language does not know as a type of values: the row type of a system relation, or a domain.
fn row_type_name(oid: u32) -> Option<String> {
    let row = type_by_oid(oid)?;
    let known = postgres::by_oid(oid).is_some();
    let schema = system_schema_name(row.schema).filter(|name| *name != "pg_catalog");
    let of_element = || {
        type_by_oid(row.element).filter(|_| row.is_array).map(|element| {
            format!("{}[]", row_type_name(element.oid).unwrap_or_else(|| postgres::type_name(element.oid, -1)))
        })
    };
    (!known).then(|| {
        of_element().unwrap_or_else(|| match schema {
            Some(schema) => format!("{schema}.{}", Identifier(row.name)),
            None => Identifier(row.name).to_string(),
        })
    })
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
