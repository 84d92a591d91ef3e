//! pg_attribute: `attnum` is dense over what the session sees, so that a gap tells nothing of a hidden column.

use super::image;
use super::rows::Rows;
use crate::catalog::visible::View;
use crate::error::Result;
use crate::formats::postgres::pg_type;

/// The type shown for a column that no PostgreSQL type stands for; it cannot be selected either.
const UNKNOWN: u32 = 705;

/// A column as clients of the wire would describe it.
pub(crate) struct Attribute<'a> {
    pub(crate) name: &'a str,
    /// From 1.
    pub(crate) number: i64,
    pub(crate) type_oid: u32,
    pub(crate) typmod: i32,
    pub(crate) not_null: bool,
}

/// The columns of a relation in the session's sight, in order.
pub(crate) fn attributes(view: &View, relation: u32) -> Vec<Attribute<'_>> {
    if let Some(table) = view.tables.iter().find(|t| t.oid == relation) {
        let columns = table.schema.fields().iter().zip(1..);
        return columns
            .map(|(field, number)| {
                let (type_oid, typmod) = pg_type(field).map_or((UNKNOWN, -1), |t| (t.oid, t.typmod));
                Attribute { name: field.name(), number, type_oid, typmod, not_null: !field.is_nullable() }
            })
            .collect();
    }
    let Some(declared) = image::relations().iter().find(|r| r.oid == relation) else { return vec![] };
    let columns = declared.schema.fields().iter().zip(&declared.types).zip(&declared.not_null).zip(1..);
    columns
        .map(|(((field, type_oid), not_null), number)| Attribute {
            name: field.name(),
            number,
            type_oid: *type_oid,
            typmod: -1,
            not_null: *not_null,
        })
        .collect()
}

pub(super) fn pg_attribute(view: &View, rows: &mut Rows) -> Result<()> {
    let system = image::relations().iter().map(|r| r.oid);
    for relation in system.chain(view.tables.iter().map(|t| t.oid)) {
        for attribute in attributes(view, relation) {
            push(rows, relation, &attribute)?;
        }
    }
    Ok(())
}

fn push(rows: &mut Rows, relation: u32, attribute: &Attribute<'_>) -> Result<()> {
    let kind = image::type_by_oid(attribute.type_oid);
    rows.push([
        ("attrelid", relation.into()),
        ("attname", attribute.name.into()),
        ("atttypid", attribute.type_oid.into()),
        ("attstattarget", (-1).into()),
        ("attlen", kind.map_or(-1, |t| t.length).into()),
        ("attnum", attribute.number.into()),
        ("attndims", i32::from(kind.is_some_and(|t| t.is_array)).into()),
        ("attcacheoff", (-1).into()),
        ("atttypmod", attribute.typmod.into()),
        ("attbyval", kind.is_some_and(|t| t.by_value).into()),
        ("attalign", kind.map_or("i", |t| &t.align).into()),
        ("attstorage", kind.map_or("x", |t| &t.storage).into()),
        ("attnotnull", attribute.not_null.into()),
        ("attislocal", true.into()),
        ("attcollation", kind.map_or(0, |t| t.collation).into()),
    ])
}
