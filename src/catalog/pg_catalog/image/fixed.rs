//! Which relations hold rows that are the same for everybody, and these rows, made once a process. A relation may have
//! rows of the session besides.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use arrow::array::RecordBatch;

use super::{Declared, copy};
use crate::catalog::pg_catalog::attribute;
use crate::catalog::pg_catalog::rows::Rows;
use crate::error::Result;
use crate::pgtype;
use crate::sql::image as language;

/// What was dumped of a relation, a line a row.
pub(super) fn lines(table: &str) -> Box<dyn Iterator<Item = &'static str>> {
    if let Some(rows) = language::rows(table) {
        return Box::new(rows);
    }
    Box::new(
        match table {
            "pg_type" => return Box::new(pgtype::rows()),
            "pg_am" => include_str!("pg_am.tsv"),
            "pg_amop" => include_str!("pg_amop.tsv"),
            "pg_amproc" => include_str!("pg_amproc.tsv"),
            "pg_class" => include_str!("pg_class.tsv"),
            "pg_constraint" => include_str!("pg_constraint.tsv"),
            "pg_conversion" => include_str!("pg_conversion.tsv"),
            "pg_description" => include_str!("pg_description.tsv"),
            "pg_extension" => include_str!("pg_extension.tsv"),
            "pg_index" => include_str!("pg_index.tsv"),
            "pg_language" => include_str!("pg_language.tsv"),
            "pg_opclass" => include_str!("pg_opclass.tsv"),
            "pg_opfamily" => include_str!("pg_opfamily.tsv"),
            "pg_range" => include_str!("pg_range.tsv"),
            "pg_tablespace" => include_str!("pg_tablespace.tsv"),
            "pg_ts_config_map" => include_str!("pg_ts_config_map.tsv"),
            "pg_ts_parser" => include_str!("pg_ts_parser.tsv"),
            "pg_ts_template" => include_str!("pg_ts_template.tsv"),
            "sql_features" => include_str!("sql_features.tsv"),
            "sql_implementation_info" => include_str!("sql_implementation_info.tsv"),
            "sql_parts" => include_str!("sql_parts.tsv"),
            "sql_sizing" => include_str!("sql_sizing.tsv"),
            _ => "",
        }
        .lines(),
    )
}

/// The rows that everybody sees; a batch without rows where there are none.
pub(in crate::catalog::pg_catalog) fn fixed(relation: &'static Declared) -> Result<RecordBatch> {
    static MADE: LazyLock<Mutex<HashMap<u32, RecordBatch>>> = LazyLock::new(Mutex::default);
    if let Some(made) = MADE.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(&relation.oid) {
        return Ok(made.clone());
    }
    // made outside of the lock: two may make the same
    let made = make(relation)?;
    MADE.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(relation.oid, made.clone());
    Ok(made)
}

fn make(relation: &'static Declared) -> Result<RecordBatch> {
    let mut rows = Rows::all(relation);
    if relation.name.table == "pg_attribute" {
        attribute::of_system(&mut rows)?;
    }
    for line in lines(&relation.name.table) {
        let cells = relation.schema.fields().iter().zip(line.split('\t'));
        rows.push_all(cells.map(|(field, text)| copy::cell(field.data_type(), text)).collect::<Result<_>>()?)?;
    }
    rows.finish()
}

/// Of an ordered-set aggregate, how many arguments are direct.
pub(super) fn ordered_set_arguments(function: u32) -> Option<usize> {
    static DIRECT: LazyLock<HashMap<u32, usize>> = LazyLock::new(|| {
        let of_line = |line: &'static str| {
            let f: Vec<&str> = line.split('\t').collect();
            (*f.get(1)? != "n").then_some(())?;
            Some((f.first()?.parse().ok()?, f.get(2)?.parse().ok()?))
        };
        lines("pg_aggregate").filter_map(of_line).collect()
    });
    DIRECT.get(&function).copied()
}

/// Object, catalog, part and text of every comment on what PostgreSQL brings.
pub(in crate::catalog) fn comments() -> impl Iterator<Item = (u32, u32, i16, String)> {
    lines("pg_description").filter_map(|line| {
        let mut cells = line.split('\t');
        let (object, catalog) = (cells.next()?.parse().ok()?, cells.next()?.parse().ok()?);
        Some((object, catalog, cells.next()?.parse().ok()?, copy::unescaped(cells.next()?)))
    })
}
