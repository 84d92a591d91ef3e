//! information_schema.columns: what a column's type means in the standard's terms.

use super::yes_or_no;
use crate::catalog::pg_catalog::attribute::{Attribute, attributes};
use crate::catalog::pg_catalog::class::{Class, classes};
use crate::catalog::pg_catalog::image::{Type, type_by_oid};
use crate::catalog::pg_catalog::rows::Rows;
use crate::catalog::pg_catalog::types::{format_type, numeric_modifier};
use crate::catalog::visible::View;
use crate::error::Result;

/// UTF-8 has at most four bytes a character.
const BYTES_PER_CHARACTER: i32 = 4;
/// What PostgreSQL says of text without a limit.
const OCTETS_MAX: i32 = 1 << 30;

pub(super) fn columns(view: &View, rows: &mut Rows) -> Result<()> {
    for class in classes(view) {
        for attribute in attributes(view, class.oid) {
            push(view, rows, &class, &attribute)?;
        }
    }
    Ok(())
}

/// The numbers the standard asks for; each only where the type has it.
#[derive(Default)]
struct Sizes {
    characters: Option<i32>,
    octets: Option<i32>,
    precision: Option<i32>,
    radix: Option<i32>,
    scale: Option<i32>,
    fraction: Option<i32>,
}

fn push(view: &View, rows: &mut Rows, class: &Class<'_>, attribute: &Attribute<'_>) -> Result<()> {
    let kind = type_by_oid(attribute.type_oid);
    let sizes = kind.map(|kind| sizes(kind, attribute.typmod)).unwrap_or_default();
    let data_type = match kind {
        Some(kind) if kind.is_array => "ARRAY".to_string(),
        _ => format_type(attribute.type_oid, None),
    };
    rows.push([
        ("table_catalog", (&view.database).into()),
        ("table_schema", (&class.name.schema).into()),
        ("table_name", (&class.name.table).into()),
        ("column_name", attribute.name.into()),
        ("ordinal_position", attribute.number.into()),
        ("is_nullable", yes_or_no(!attribute.not_null).into()),
        ("data_type", data_type.into()),
        ("character_maximum_length", sizes.characters.into()),
        ("character_octet_length", sizes.octets.into()),
        ("numeric_precision", sizes.precision.into()),
        ("numeric_precision_radix", sizes.radix.into()),
        ("numeric_scale", sizes.scale.into()),
        ("datetime_precision", sizes.fraction.into()),
        ("udt_catalog", (&view.database).into()),
        ("udt_schema", "pg_catalog".into()),
        ("udt_name", kind.map_or("unknown", |t| &t.name).into()),
        ("dtd_identifier", attribute.number.to_string().into()),
        ("is_self_referencing", "NO".into()),
        ("is_identity", "NO".into()),
        ("identity_cycle", "NO".into()),
        ("is_generated", "NEVER".into()),
        ("is_updatable", yes_or_no(class.may_insert).into()),
    ])
}

fn sizes(kind: &Type, typmod: i32) -> Sizes {
    let binary = |precision, scale| Sizes { precision: Some(precision), radix: Some(2), scale, ..Sizes::default() };
    let limited = (typmod > 4).then_some(typmod - 4);
    let decimal = (typmod >= 4).then(|| numeric_modifier(typmod));
    match kind.name.as_str() {
        "int2" => binary(16, Some(0)),
        "int4" => binary(32, Some(0)),
        "int8" => binary(64, Some(0)),
        "float4" => binary(24, None),
        "float8" => binary(53, None),
        "numeric" => Sizes {
            precision: decimal.map(|(precision, _)| precision),
            radix: Some(10),
            scale: decimal.map(|(_, scale)| scale),
            ..Sizes::default()
        },
        "text" => Sizes { octets: Some(OCTETS_MAX), ..Sizes::default() },
        "varchar" | "bpchar" => Sizes {
            characters: limited,
            octets: Some(limited.map_or(OCTETS_MAX, |n| n.saturating_mul(BYTES_PER_CHARACTER))),
            ..Sizes::default()
        },
        "date" => Sizes { fraction: Some(0), ..Sizes::default() },
        "time" | "timetz" | "timestamp" | "timestamptz" | "interval" => {
            Sizes { fraction: Some(if typmod < 0 { 6 } else { typmod }), ..Sizes::default() }
        }
        _ => Sizes::default(),
    }
}
