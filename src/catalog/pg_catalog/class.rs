//! pg_class and its two readable forms, pg_tables and pg_views. Relation kinds we do not have (indexes, sequences) have
//! no row; nothing is told of sizes and row counts, since a row filter may hold.

use super::image;
use super::rows::Rows;
use crate::catalog::visible::{BOOTSTRAP, SYSTEM_SCHEMAS, View, is_temporary};
use crate::error::Result;
use crate::types::TableName;

/// The heap access method of `pg_am`; views have none.
const HEAP: u32 = 2;

/// A table, dataset or system relation of the session.
pub(in crate::catalog) struct Class<'a> {
    pub(in crate::catalog) name: &'a TableName,
    pub(in crate::catalog) oid: u32,
    pub(in crate::catalog) schema_oid: u32,
    pub(in crate::catalog) kind: char,
    pub(in crate::catalog) owner: &'a str,
    pub(in crate::catalog) columns: usize,
    /// Only of datasets, only for admins.
    pub(in crate::catalog) definition: Option<&'a str>,
    pub(in crate::catalog) may_insert: bool,
}

/// Everything that has a name in the session's catalogs, system relations first.
pub(in crate::catalog) fn classes(view: &View) -> impl Iterator<Item = Class<'_>> {
    let schema_oid = |name: &str| SYSTEM_SCHEMAS.iter().find(|(n, _)| *n == name).map_or(0, |(_, oid)| *oid);
    let system = image::relations().iter().map(move |r| Class {
        name: &r.name,
        oid: r.oid,
        schema_oid: schema_oid(&r.name.schema),
        kind: r.kind,
        owner: BOOTSTRAP.0,
        columns: r.types.len(),
        definition: None,
        may_insert: false,
    });
    system.chain(view.tables.iter().map(|t| Class {
        name: &t.name,
        oid: t.oid,
        schema_oid: view.schema_oid(&t.name.schema).unwrap_or(0),
        kind: t.kind,
        owner: &t.owner,
        columns: t.schema.fields().len(),
        definition: t.definition.as_deref(),
        may_insert: t.may_insert,
    }))
}

pub(super) fn pg_class(view: &View, rows: &mut Rows) -> Result<()> {
    for class in classes(view) {
        let is_table = class.kind == 'r';
        rows.push([
            ("oid", class.oid.into()),
            ("relname", (&class.name.table).into()),
            ("relnamespace", class.schema_oid.into()),
            ("relowner", view.role_oid(class.owner).into()),
            ("relam", (if is_table { HEAP } else { 0 }).into()),
            ("reltuples", (-1.0).into()),
            ("relpersistence", (if is_temporary(&class.name.schema) { 't' } else { 'p' }).into()),
            ("relkind", class.kind.into()),
            ("relnatts", i64::try_from(class.columns).unwrap_or(i64::from(i16::MAX)).into()),
            ("relispopulated", true.into()),
            ("relreplident", (if is_table { 'd' } else { 'n' }).into()),
        ])?;
    }
    Ok(())
}

pub(super) fn pg_tables(view: &View, rows: &mut Rows) -> Result<()> {
    for class in classes(view).filter(|c| c.kind == 'r') {
        rows.push([
            ("schemaname", (&class.name.schema).into()),
            ("tablename", (&class.name.table).into()),
            ("tableowner", class.owner.into()),
            ("hasindexes", false.into()),
            ("hasrules", false.into()),
            ("hastriggers", false.into()),
            ("rowsecurity", false.into()),
        ])?;
    }
    Ok(())
}

pub(super) fn pg_views(view: &View, rows: &mut Rows) -> Result<()> {
    for class in classes(view).filter(|c| c.kind == 'v') {
        rows.push([
            ("schemaname", (&class.name.schema).into()),
            ("viewname", (&class.name.table).into()),
            ("viewowner", class.owner.into()),
            ("definition", class.definition.unwrap_or_default().into()),
        ])?;
    }
    Ok(())
}
