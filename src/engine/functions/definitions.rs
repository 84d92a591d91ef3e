//! How things are spelt and described: types, owners, encodings, definitions, comments, sizes. Sizes and comments are
//! unknown to everybody: under a row filter a size would tell of hidden rows.

use super::Argument::{Any, Bool, Int, Name, Text};
use super::lookup::{class_named, class_oid, oid};
use super::{Argument, Function, NAME, Returns};
use crate::catalog::pg_catalog::attribute::attributes;
use crate::catalog::pg_catalog::image::{domain_check, function_by_oid};
use crate::catalog::pg_catalog::keys;
use crate::catalog::pg_catalog::rows::Cell;
use crate::catalog::pg_catalog::text::{self, CLASS};
use crate::catalog::pg_catalog::timezones;
use crate::catalog::pg_catalog::types::type_name;
use crate::catalog::visible::View;
use crate::error::{Error, Kind, Result};

const OID: &[&[Argument]] = &[&[Int]];
const OID_PRETTY: &[&[Argument]] = &[&[Int], &[Int, Bool]];

#[rustfmt::skip]
pub(super) const FUNCTIONS: &[Function] = &[
    Function::stable("format_type", &[&[Int, Int]], Returns::Text, type_text).called_on_null(),
    Function::stable("pg_get_userbyid", OID, NAME, user_by_id),
    Function::pure("getdatabaseencoding", &[&[]], NAME, |_, _| Ok("UTF8".into())),
    Function::stable("pg_get_viewdef", &[&[Name], &[Name, Bool], &[Name, Int]], Returns::Text, view_definition),
    // An expression's stored form is its text.
    Function::stable("pg_get_expr", &[&[Text, Int], &[Text, Int, Bool]], Returns::Text, |_, a| Ok(a[0].clone())),
    Function::stable("pg_get_constraintdef", OID_PRETTY, Returns::Text, constraint_definition),
    Function::stable("pg_get_indexdef", &[&[Int], &[Int, Int, Bool]], Returns::Text, index_definition),
    Function::stable("pg_get_triggerdef", OID_PRETTY, Returns::Text, unknown),
    Function::stable("pg_get_ruledef", OID_PRETTY, Returns::Text, unknown),
    Function::stable("pg_get_partkeydef", OID, Returns::Text, unknown),
    Function::stable("pg_get_partition_constraintdef", OID, Returns::Text, unknown),
    Function::stable("pg_get_statisticsobjdef", OID, Returns::Text, unknown),
    Function::stable("pg_get_statisticsobjdef_columns", OID, Returns::Text, unknown),
    Function::stable("pg_get_serial_sequence", &[&[Text, Text]], Returns::Text, serial_sequence),
    Function::stable("pg_get_functiondef", OID, Returns::Text, function_definition),
    Function::stable("pg_get_function_arguments", OID, Returns::Text, |_, a| Ok(of_function(a, |f| Some(f.arguments(true))))),
    Function::stable("pg_get_function_identity_arguments", OID, Returns::Text, |_, a| Ok(of_function(a, |f| Some(f.arguments(false))))),
    Function::stable("pg_get_function_result", OID, Returns::Text, |_, a| Ok(of_function(a, Described::result_text))),
    Function::stable("pg_get_function_sqlbody", OID, Returns::Text, |_, a| Ok(of_function(a, Described::sql_body))),
    Function::stable("pg_get_function_arg_default", &[&[Int, Int]], Returns::Text, argument_default),
    Function::stable("obj_description", &[&[Int], &[Int, Text]], Returns::Text, object_comment),
    Function::stable("shobj_description", &[&[Int, Text]], Returns::Text, unknown),
    Function::stable("col_description", &[&[Int, Int]], Returns::Text, column_comment),
    Function::stable("pg_describe_object", &[&[Int, Int, Int]], Returns::Text, object_words),
    Function::stable("pg_relation_size", &[&[Name], &[Name, Text]], Returns::Int8, relation_size),
    Function::stable("pg_table_size", &[&[Name]], Returns::Int8, unknown),
    Function::stable("pg_indexes_size", &[&[Name]], Returns::Int8, unknown),
    Function::stable("pg_total_relation_size", &[&[Name]], Returns::Int8, unknown),
    Function::stable("pg_database_size", &[&[Name]], Returns::Int8, database_size),
    Function::stable("pg_tablespace_size", &[&[Name]], Returns::Int8, tablespace_size),
    Function::stable("pg_tablespace_location", OID, Returns::Text, |_, _| Ok("".into())),
    Function::stable("pg_relation_filenode", &[&[Name]], Returns::OidOf(26), unknown),
    Function::stable("pg_relation_filepath", &[&[Name]], Returns::Text, unknown),
    Function::stable("pg_relation_is_updatable", &[&[Name, Bool]], Returns::Int4, updatable),
    Function::stable("pg_column_is_updatable", &[&[Name, Int, Bool]], Returns::Bool, |view, a| Ok((updatable(view, a)? != Cell::Int(0)).into())),
    Function::stable("pg_relation_is_publishable", &[&[Name]], Returns::Bool, |_, _| Ok(false.into())),
    Function::stable("pg_index_column_has_property", &[&[Int, Int, Text]], Returns::Bool, index_column_property),
    Function::stable("pg_index_has_property", &[&[Int, Text]], Returns::Bool, index_property),
    Function::pure("pg_indexam_has_property", &[&[Int, Text]], Returns::Bool, method_property),
    Function::stable("pg_timezone_names", &[&[]], ZONES, |_, _| Ok(records(timezones::names()))),
    Function::stable("pg_timezone_abbrevs", &[&[]], ABBREVIATIONS, |_, _| Ok(records(timezones::abbreviated()))),
    Function::pure("pg_column_size", &[&[Any]], Returns::Int4, unknown),
];

const ZONES: Returns = Returns::Records(&[("name", 25), ("abbrev", 25), ("utc_offset", 1186), ("is_dst", 16)]);
const ABBREVIATIONS: Returns = Returns::Records(&[("abbrev", 25), ("utc_offset", 1186), ("is_dst", 16)]);

fn records<const N: usize>(rows: impl Iterator<Item = [Cell; N]>) -> Cell {
    Cell::List(rows.map(|row| Cell::List(row.to_vec())).collect())
}

type Described = crate::catalog::pg_catalog::image::Function;

fn unknown(_: &View, _: &[Cell]) -> Result<Cell> {
    Ok(Cell::Null)
}

fn relation_size(_: &View, arguments: &[Cell]) -> Result<Cell> {
    match arguments.get(1) {
        Some(Cell::Text(fork)) if !["main", "fsm", "vm", "init"].contains(&fork.as_str()) => {
            let hint = "Valid fork names are \"main\", \"fsm\", \"vm\", and \"init\".";
            Err(Error::new(Kind::InvalidParameter, "invalid fork name").with_hint(hint))
        }
        _ => Ok(Cell::Null),
    }
}

fn database_size(view: &View, arguments: &[Cell]) -> Result<Cell> {
    match arguments.first() {
        Some(Cell::Text(name)) if *name != view.database => {
            Err(Error::new(Kind::UndefinedDatabase, format!("database \"{name}\" does not exist")))
        }
        _ => Ok(Cell::Null),
    }
}

fn tablespace_size(_: &View, arguments: &[Cell]) -> Result<Cell> {
    match arguments.first() {
        Some(Cell::Text(name)) => tablespace_named(name).map(|()| Cell::Null),
        _ => Ok(Cell::Null),
    }
}

/// 42704 for any but those that each server has.
pub(super) fn tablespace_named(name: &str) -> Result<()> {
    match name {
        "pg_default" | "pg_global" => Ok(()),
        _ => Err(Error::new(Kind::UndefinedObject, format!("tablespace \"{name}\" does not exist"))),
    }
}

fn type_text(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let typmod = match arguments.get(1) {
        Some(Cell::Int(typmod)) => i32::try_from(*typmod).ok(),
        _ => None,
    };
    Ok(match arguments.first() {
        Some(Cell::Null) | None => Cell::Null,
        Some(other) => oid(other).map_or_else(|| "???".into(), |oid| type_name(view, oid, typmod)).into(),
    })
}

/// What is written of the function of an oid.
fn of_function(arguments: &[Cell], write: fn(&Described) -> Option<String>) -> Cell {
    arguments.first().and_then(oid).and_then(function_by_oid).and_then(write).into()
}

/// 42809 for an aggregate, which has no definition of the kind.
fn function_definition(_: &View, arguments: &[Cell]) -> Result<Cell> {
    let Some(function) = arguments.first().and_then(oid).and_then(function_by_oid) else { return Ok(Cell::Null) };
    match function.definition() {
        Some(text) => Ok(text.into()),
        None => Err(Error::new(Kind::WrongObjectType, format!("\"{}\" is an aggregate function", function.name))),
    }
}

fn argument_default(_: &View, arguments: &[Cell]) -> Result<Cell> {
    let [of, Cell::Int(number)] = arguments else { return Ok(Cell::Null) };
    let place = usize::try_from(*number - 1).ok();
    let function = oid(of).and_then(function_by_oid);
    Ok(function.zip(place).and_then(|(function, place)| function.default_of(place)).into())
}

fn constraint_definition(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let Some(oid) = arguments.first().and_then(oid) else { return Ok(Cell::Null) };
    if let Some((relation, key)) = view.constraint_by_oid(oid) {
        return Ok(keys::constraint_definition(view, relation, key).into());
    }
    let pretty = arguments.get(1) == Some(&Cell::Bool(true));
    let check = |condition: &str| match pretty {
        true => format!("CHECK {condition}"),
        false => format!("CHECK ({condition})"),
    };
    Ok(domain_check(oid).map(check).into())
}

/// The whole, or the column at a place of it: none for a place that is not there.
fn index_definition(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let Some((relation, index)) = arguments.first().and_then(oid).and_then(|oid| view.index_by_oid(oid)) else {
        return Ok(Cell::Null);
    };
    Ok(match arguments.get(1) {
        None | Some(Cell::Int(0)) => {
            let pretty = arguments.get(2) == Some(&Cell::Bool(true));
            keys::index_definition(view, relation, index, pretty).into()
        }
        Some(Cell::Int(place)) => {
            let column =
                usize::try_from(*place).ok().and_then(|place| keys::index_column(view, relation, index, place));
            column.unwrap_or_default().into()
        }
        Some(_) => Cell::Null,
    })
}

/// Of a btree, the only method here: every column is ascending, NULLs last.
fn index_column_property(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let [of, Cell::Int(number), Cell::Text(property)] = arguments else { return Ok(Cell::Null) };
    let Some((_, index)) = oid(of).and_then(|oid| view.index_by_oid(oid)) else { return Ok(Cell::Null) };
    let is_there = usize::try_from(*number).is_ok_and(|number| (1..=index.columns.len()).contains(&number));
    Ok(match property.to_ascii_lowercase().as_str() {
        "asc" | "nulls_last" | "orderable" | "returnable" | "search_array" | "search_nulls" => is_there.then_some(true),
        "desc" | "nulls_first" | "distance_orderable" => is_there.then_some(false),
        _ => None,
    }
    .into())
}

fn index_property(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let [of, Cell::Text(property)] = arguments else { return Ok(Cell::Null) };
    let known = oid(of).and_then(|oid| view.index_by_oid(oid));
    Ok(match property.to_ascii_lowercase().as_str() {
        "clusterable" | "index_scan" | "bitmap_scan" | "backward_scan" => known.map(|_| true),
        _ => None,
    }
    .into())
}

fn method_property(_: &View, arguments: &[Cell]) -> Result<Cell> {
    /// `pg_am.oid` of btree.
    const BTREE: i64 = 403;
    let [Cell::Int(BTREE), Cell::Text(property)] = arguments else { return Ok(Cell::Null) };
    let has = ["can_order", "can_unique", "can_multi_col", "can_exclude", "can_include"];
    Ok(has.contains(&property.to_ascii_lowercase().as_str()).then_some(true).into())
}

/// Nothing is made by sequences; a column that is not there is said so.
fn serial_sequence(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let [Cell::Text(table), Cell::Text(column)] = arguments else { return Ok(Cell::Null) };
    let relation = class_named(view, table)?;
    let bare = view.relation_name(relation).map_or(table.as_str(), |name| &name.table);
    let Some(number) = attributes(view, relation).iter().find(|a| a.name == column).map(|a| a.number) else {
        let text = format!("column \"{column}\" of relation \"{bare}\" does not exist");
        return Err(Error::new(Kind::UndefinedColumn, text));
    };
    let sequences = view.table_by_oid(relation).map_or(&[][..], |table| &table.declared.sequences);
    Ok(sequences.iter().find(|sequence| sequence.column == number).map(|sequence| sequence.name.to_string()).into())
}

/// Without a catalog, any object of that oid that has a comment.
fn object_comment(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let Some(object) = arguments.first().and_then(oid) else { return Ok(Cell::Null) };
    let catalog = match arguments.get(1) {
        Some(Cell::Text(name)) => match class_oid(view, &format!("pg_catalog.\"{name}\"")) {
            Some(oid) => Some(oid),
            None => return Ok(Cell::Null),
        },
        _ => None,
    };
    Ok(text::comment(view, object, catalog, 0).into())
}

fn column_comment(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let [of, Cell::Int(number)] = arguments else { return Ok(Cell::Null) };
    let number = i16::try_from(*number).ok().filter(|number| *number != 0);
    Ok(oid(of).zip(number).and_then(|(oid, number)| text::comment(view, oid, Some(CLASS), number)).into())
}

/// The eight kinds of change that a relation takes, as bits of its command's number.
fn updatable(view: &View, arguments: &[Cell]) -> Result<Cell> {
    const UPDATE: i64 = 1 << 2;
    const INSERT: i64 = 1 << 3;
    const DELETE: i64 = 1 << 4;
    let table = arguments.first().and_then(oid).and_then(|oid| view.table_by_oid(oid));
    let bit = |may: bool, bit: i64| if may { bit } else { 0 };
    // rows of a materialized view are its query's
    let table = table.filter(|table| table.kind != 'm');
    Ok(table.map_or(0, |t| bit(t.may_update, UPDATE) | bit(t.may_insert, INSERT) | bit(t.may_delete, DELETE)).into())
}

fn object_words(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let [catalog, object, Cell::Int(part)] = arguments else { return Ok(Cell::Null) };
    let (Some(catalog), Some(object)) = (oid(catalog), oid(object)) else { return Ok(Cell::Null) };
    Ok(text::described(view, catalog, object, *part).into())
}

fn user_by_id(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let Some(oid) = arguments.first().and_then(oid) else { return Ok(Cell::Null) };
    Ok(view.role_name(oid).map_or_else(|| format!("unknown (OID={oid})"), Into::into).into())
}

/// A dataset's text for admins; empty for everybody else, since it names tables they may not know of.
fn view_definition(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let found = match arguments.first() {
        Some(Cell::Text(name)) => Some(class_named(view, name)?),
        Some(other) => oid(other),
        None => None,
    };
    let Some(name) = found.and_then(|oid| view.relation_name(oid)) else { return Ok(Cell::Null) };
    Ok(match view.table(name) {
        Some(table) if table.kind == 'r' => Cell::Null,
        found => found.and_then(|table| table.definition.as_deref()).unwrap_or_default().into(),
    })
}
