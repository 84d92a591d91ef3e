//! Functions behind system relations: the rows of a relation as a set of records, and its counters one by one. Which rows
//! there are is the relation's.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};

use super::Argument::Int;
use super::{Argument, Function, Returns};
use crate::catalog::pg_catalog::relation;
use crate::catalog::pg_catalog::rows::{Asked, Cell};
use crate::catalog::visible::View;
use crate::error::{Error, Result};
use crate::pgtype::oid;
use crate::types::TableName;

type Fields = &'static [(&'static str, u32)];

const NONE: &[&[Argument]] = &[&[]];
const OID: &[&[Argument]] = &[&[Int]];

const SETTINGS: Fields = &[
    ("name", oid::TEXT),
    ("setting", oid::TEXT),
    ("unit", oid::TEXT),
    ("category", oid::TEXT),
    ("short_desc", oid::TEXT),
    ("extra_desc", oid::TEXT),
    ("context", oid::TEXT),
    ("vartype", oid::TEXT),
    ("source", oid::TEXT),
    ("min_val", oid::TEXT),
    ("max_val", oid::TEXT),
    ("enumvals", 1009),
    ("boot_val", oid::TEXT),
    ("reset_val", oid::TEXT),
    ("sourcefile", oid::TEXT),
    ("sourceline", oid::INT4),
    ("pending_restart", oid::BOOL),
];
const EXTENSIONS: Fields = &[("name", oid::NAME), ("default_version", oid::TEXT), ("comment", oid::TEXT)];
const VERSIONS: Fields = &[
    ("name", oid::NAME),
    ("version", oid::TEXT),
    ("superuser", oid::BOOL),
    ("trusted", oid::BOOL),
    ("relocatable", oid::BOOL),
    ("schema", oid::NAME),
    ("requires", 1003),
    ("comment", oid::TEXT),
];
const CURSORS: Fields = &[
    ("name", oid::TEXT),
    ("statement", oid::TEXT),
    ("is_holdable", oid::BOOL),
    ("is_binary", oid::BOOL),
    ("is_scrollable", oid::BOOL),
    ("creation_time", oid::TIMESTAMPTZ),
];
const LOCKS: Fields = &[
    ("locktype", oid::TEXT),
    ("database", oid::OID),
    ("relation", oid::OID),
    ("page", oid::INT4),
    ("tuple", oid::INT2),
    ("virtualxid", oid::TEXT),
    ("transactionid", 28),
    ("classid", oid::OID),
    ("objid", oid::OID),
    ("objsubid", oid::INT2),
    ("virtualtransaction", oid::TEXT),
    ("pid", oid::INT4),
    ("mode", oid::TEXT),
    ("granted", oid::BOOL),
    ("fastpath", oid::BOOL),
    ("waitstart", oid::TIMESTAMPTZ),
];

#[rustfmt::skip]
pub(super) const FUNCTIONS: &[Function] = &[
    Function::volatile("pg_show_all_settings", NONE, Returns::Records(SETTINGS), |v, _| rows(v, "pg_settings", SETTINGS)),
    Function::stable("pg_available_extensions", NONE, Returns::Records(EXTENSIONS), |v, _| rows(v, "pg_available_extensions", EXTENSIONS)),
    Function::stable("pg_available_extension_versions", NONE, Returns::Records(VERSIONS), |v, _| rows(v, "pg_available_extension_versions", VERSIONS)),
    Function::volatile("pg_cursor", NONE, Returns::Records(CURSORS), |v, _| rows(v, "pg_cursors", CURSORS)),
    Function::volatile("pg_lock_status", NONE, Returns::Records(LOCKS), |v, _| rows(v, "pg_locks", LOCKS)),
    Function::stable("pg_stat_get_numscans", OID, Returns::Int8, nothing),
    Function::stable("pg_stat_get_tuples_returned", OID, Returns::Int8, nothing),
    Function::stable("pg_stat_get_tuples_fetched", OID, Returns::Int8, nothing),
    Function::stable("pg_stat_get_tuples_inserted", OID, Returns::Int8, nothing),
    Function::stable("pg_stat_get_tuples_updated", OID, Returns::Int8, nothing),
    Function::stable("pg_stat_get_tuples_deleted", OID, Returns::Int8, nothing),
    Function::stable("pg_stat_get_tuples_hot_updated", OID, Returns::Int8, nothing),
    Function::stable("pg_stat_get_live_tuples", OID, Returns::Int8, nothing),
    Function::stable("pg_stat_get_dead_tuples", OID, Returns::Int8, nothing),
    Function::stable("pg_stat_get_mod_since_analyze", OID, Returns::Int8, nothing),
    Function::stable("pg_stat_get_ins_since_vacuum", OID, Returns::Int8, nothing),
    Function::stable("pg_stat_get_blocks_fetched", OID, Returns::Int8, nothing),
    Function::stable("pg_stat_get_blocks_hit", OID, Returns::Int8, nothing),
    Function::stable("pg_stat_get_vacuum_count", OID, Returns::Int8, nothing),
    Function::stable("pg_stat_get_autovacuum_count", OID, Returns::Int8, nothing),
    Function::stable("pg_stat_get_analyze_count", OID, Returns::Int8, nothing),
    Function::stable("pg_stat_get_autoanalyze_count", OID, Returns::Int8, nothing),
    Function::stable("pg_stat_get_last_vacuum_time", OID, Returns::Time, never),
    Function::stable("pg_stat_get_last_autovacuum_time", OID, Returns::Time, never),
    Function::stable("pg_stat_get_last_analyze_time", OID, Returns::Time, never),
    Function::stable("pg_stat_get_last_autoanalyze_time", OID, Returns::Time, never),
];

/// Nothing is counted by table: as pg_stat_all_tables shows it.
fn nothing(_: &View, _: &[Cell]) -> Result<Cell> {
    Ok(0.into())
}

fn never(_: &View, _: &[Cell]) -> Result<Cell> {
    Ok(Cell::Null)
}

fn rows(view: &View, name: &str, fields: Fields) -> Result<Cell> {
    let relation = relation(&TableName::new("pg_catalog", name));
    let relation = relation.ok_or_else(|| Error::internal(format!("no relation pg_catalog.{name}")))?;
    let mut rows = vec![];
    for batch in relation.read(view, &Asked::default())? {
        let column = |(field, _): &(&str, u32)| {
            batch
                .column_by_name(field)
                .ok_or_else(|| Error::internal(format!("no column {field} in pg_catalog.{name}")))
        };
        let columns = fields.iter().map(column).collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            rows.push(Cell::List(columns.iter().map(|column| cell(column, row)).collect::<Result<_>>()?));
        }
    }
    Ok(Cell::List(rows))
}

/// Of a type that a relation here has.
fn cell(column: &ArrayRef, row: usize) -> Result<Cell> {
    if column.is_null(row) {
        return Ok(Cell::Null);
    }
    Ok(match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            Cell::List((0..items.len()).map(|i| cell(&items, i)).collect::<Result<_>>()?)
        }
        // numbers, and times in microseconds
        _ => cast(&column.slice(row, 1), &DataType::Int64)?.as_primitive::<Int64Type>().value(0).into(),
    })
}
