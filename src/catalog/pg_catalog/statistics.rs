//! Counters of tables and indexes, and of the server's own work. Nothing is counted by table, so that all are zero, as
//! PostgreSQL's are after a reset; a count of rows would tell of hidden ones.

use super::class::{Class, classes};
use super::image;
use super::keys::owned_indexes;
use super::rows::{Cell, Rows};
use crate::catalog::visible::View;
use crate::error::Result;

pub(super) fn all_tables(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    tables(view, rows, |_| true)
}

pub(super) fn user_tables(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    tables(view, rows, |class| class.table.is_some())
}

pub(super) fn system_tables(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    tables(view, rows, |class| class.table.is_none())
}

fn tables(view: &View, rows: &mut Rows<'_>, is_meant: fn(&Class<'_>) -> bool) -> Result<()> {
    for class in classes(view).filter(|class| matches!(class.kind, 'r' | 'm' | 't')).filter(is_meant) {
        counters(rows, vec![class.oid.into(), (&class.name.schema).into(), (&class.name.table).into()])?;
    }
    Ok(())
}

pub(super) fn all_indexes(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    system_indexes(view, rows)?;
    user_indexes(view, rows)
}

pub(super) fn user_indexes(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for (table, index) in owned_indexes(view) {
        let names = [&table.name.schema, &table.name.table, &index.name.table].map(Cell::from);
        counters(rows, [table.oid.into(), index.oid.into()].into_iter().chain(names).collect())?;
    }
    Ok(())
}

pub(super) fn system_indexes(_: &View, rows: &mut Rows<'_>) -> Result<()> {
    for (relation, index) in image::indexes() {
        let Some(declared) = image::relation_by_oid(*relation) else { continue };
        let names = [&declared.name.schema, &declared.name.table, &index.name.table].map(Cell::from);
        counters(rows, [(*relation).into(), index.oid.into()].into_iter().chain(names).collect())?;
    }
    Ok(())
}

/// What names the thing, then zero for each counter; times are unknown.
fn counters(rows: &mut Rows<'_>, mut cells: Vec<Cell>) -> Result<()> {
    let rest: Vec<Cell> = rows.zeros().skip(cells.len()).collect();
    cells.extend(rest);
    rows.push_all(cells)
}

pub(super) fn pg_stat_archiver(_: &View, rows: &mut Rows<'_>) -> Result<()> {
    counters(rows, vec![])
}

pub(super) fn pg_stat_bgwriter(_: &View, rows: &mut Rows<'_>) -> Result<()> {
    counters(rows, vec![])
}

pub(super) fn pg_stat_wal(_: &View, rows: &mut Rows<'_>) -> Result<()> {
    counters(rows, vec![])
}
