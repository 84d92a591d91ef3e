//! How things are spelt and described: types, owners, encodings, definitions, comments, sizes. Sizes and comments are
//! unknown to everybody: under a row filter a size would tell of hidden rows.

use super::Argument::{Any, Bool, Int, Name, Text};
use super::lookup::{class_oid, oid};
use super::{Argument, Function, NAME, Returns};
use crate::catalog::pg_catalog::rows::Cell;
use crate::catalog::pg_catalog::types::format_type;
use crate::catalog::visible::View;
use crate::error::{Error, Kind, Result};

const OID: &[&[Argument]] = &[&[Int]];
const OID_PRETTY: &[&[Argument]] = &[&[Int], &[Int, Bool]];

/// PostgreSQL's number for UTF-8, the only encoding here.
const UTF8: i64 = 6;

#[rustfmt::skip]
pub(super) const FUNCTIONS: &[Function] = &[
    Function::pure("format_type", &[&[Int, Int]], Returns::Text, type_text).called_on_null(),
    Function::stable("pg_get_userbyid", OID, NAME, user_by_id),
    Function::pure("pg_encoding_to_char", OID, NAME, |_, a| Ok(if a == [Cell::Int(UTF8)] { "UTF8" } else { "" }.into())),
    Function::pure("getdatabaseencoding", &[&[]], NAME, |_, _| Ok("UTF8".into())),
    Function::pure("pg_char_to_encoding", &[&[Text]], Returns::Int4, encoding_number),
    Function::stable("pg_get_viewdef", &[&[Name], &[Name, Bool], &[Name, Int]], Returns::Text, view_definition),
    // An expression's stored form is its text; there are no stored expressions.
    Function::stable("pg_get_expr", &[&[Text, Int], &[Text, Int, Bool]], Returns::Text, |_, a| Ok(a[0].clone())),
    Function::stable("pg_get_constraintdef", OID_PRETTY, Returns::Text, unknown),
    Function::stable("pg_get_indexdef", &[&[Int], &[Int, Int, Bool]], Returns::Text, unknown),
    Function::stable("pg_get_triggerdef", OID_PRETTY, Returns::Text, unknown),
    Function::stable("pg_get_ruledef", OID_PRETTY, Returns::Text, unknown),
    Function::stable("pg_get_partkeydef", OID, Returns::Text, unknown),
    Function::stable("pg_get_partition_constraintdef", OID, Returns::Text, unknown),
    Function::stable("pg_get_statisticsobjdef_columns", OID, Returns::Text, unknown),
    Function::stable("pg_get_serial_sequence", &[&[Text, Text]], Returns::Text, unknown),
    Function::stable("pg_get_functiondef", OID, Returns::Text, unknown),
    Function::stable("pg_get_function_arguments", OID, Returns::Text, unknown),
    Function::stable("pg_get_function_identity_arguments", OID, Returns::Text, unknown),
    Function::stable("pg_get_function_result", OID, Returns::Text, unknown),
    Function::stable("pg_get_function_sqlbody", OID, Returns::Text, unknown),
    Function::stable("obj_description", &[&[Int], &[Int, Text]], Returns::Text, unknown),
    Function::stable("shobj_description", &[&[Int, Text]], Returns::Text, unknown),
    Function::stable("col_description", &[&[Int, Int]], Returns::Text, unknown),
    Function::stable("pg_relation_size", &[&[Name], &[Name, Text]], Returns::Int8, unknown),
    Function::stable("pg_table_size", &[&[Name]], Returns::Int8, unknown),
    Function::stable("pg_indexes_size", &[&[Name]], Returns::Int8, unknown),
    Function::stable("pg_total_relation_size", &[&[Name]], Returns::Int8, unknown),
    Function::stable("pg_database_size", &[&[Name]], Returns::Int8, unknown),
    Function::stable("pg_tablespace_size", &[&[Name]], Returns::Int8, unknown),
    Function::stable("pg_tablespace_location", OID, Returns::Text, |_, _| Ok("".into())),
    Function::stable("pg_relation_is_publishable", &[&[Name]], Returns::Bool, |_, _| Ok(false.into())),
    Function::pure("pg_column_size", &[&[Any]], Returns::Int4, unknown),
    Function::pure("pg_size_pretty", OID, Returns::Text, size_text),
];

fn unknown(_: &View, _: &[Cell]) -> Result<Cell> {
    Ok(Cell::Null)
}

fn type_text(_: &View, arguments: &[Cell]) -> Result<Cell> {
    let typmod = match arguments.get(1) {
        Some(Cell::Int(typmod)) => i32::try_from(*typmod).ok(),
        _ => None,
    };
    Ok(match arguments.first() {
        Some(Cell::Null) | None => Cell::Null,
        Some(other) => oid(other).map_or_else(|| "???".into(), |oid| format_type(oid, typmod)).into(),
    })
}

fn user_by_id(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let Some(oid) = arguments.first().and_then(oid) else { return Ok(Cell::Null) };
    Ok(view.role_name(oid).map_or_else(|| format!("unknown (OID={oid})"), Into::into).into())
}

fn encoding_number(_: &View, arguments: &[Cell]) -> Result<Cell> {
    let is_utf8 = match arguments {
        [Cell::Text(name)] => {
            let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
            matches!(letters.to_lowercase().as_str(), "utf8" | "unicode")
        }
        _ => false,
    };
    Ok(if is_utf8 { UTF8 } else { -1 }.into())
}

/// A dataset's text for admins; empty for everybody else, since it names tables they may not know of.
fn view_definition(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let found = match arguments.first() {
        Some(Cell::Text(name)) => match class_oid(view, name) {
            Some(oid) => Some(oid),
            None => return Err(Error::new(Kind::UndefinedTable, format!("relation \"{name}\" does not exist"))),
        },
        Some(other) => oid(other),
        None => None,
    };
    let Some(name) = found.and_then(|oid| view.relation_name(oid)) else { return Ok(Cell::Null) };
    Ok(view.table(name).and_then(|t| t.definition.as_deref()).unwrap_or_default().into())
}

/// `10 kB`: the next unit from about 10,240 of one on, rounded half away from zero.
fn size_text(_: &View, arguments: &[Cell]) -> Result<Cell> {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    let [Cell::Int(bytes)] = arguments else { return Ok(Cell::Null) };
    if bytes.unsigned_abs() < 10_240 {
        return Ok(format!("{bytes} bytes").into());
    }
    // Halves of a unit are counted, to round by at the end.
    let (mut halves, mut unit) = (bytes / 512, 0);
    while halves.unsigned_abs() >= 20_479 && unit + 1 < UNITS.len() {
        halves /= 1_024;
        unit += 1;
    }
    Ok(format!("{} {}", (halves + halves.signum()) / 2, UNITS[unit]).into())
}
