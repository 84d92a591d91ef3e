//! Names to oids and back: what `'x'::regclass` and its relatives mean, but for functions and operators, which are `sql`'s;
//! and which names need no schema. The language calls the `lakegate_reg…` functions for casts; an integer passes through
//! them, as a cast of an oid does.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::UInt32Type;

use super::Argument::{Int, Name, Text};
use super::{Argument, Function, Returns};
use crate::catalog::pg_catalog::image::{function_by_oid, type_by_oid};
use crate::catalog::pg_catalog::relation;
use crate::catalog::pg_catalog::rows::{Asked, Cell};
use crate::catalog::visible::{View, system_schema_name};
use crate::engine::temporary;
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::ObjectNames;
use crate::pgtype;
use crate::types::{Identifier, TableName};

const REGCLASS: Returns = Returns::OidOf(pgtype::oid::REGCLASS);
const REGNAMESPACE: Returns = Returns::OidOf(pgtype::oid::REGNAMESPACE);
const REGROLE: Returns = Returns::OidOf(pgtype::oid::REGROLE);

const NAMED: &[&[Argument]] = &[&[Name]];
const TEXT: &[&[Argument]] = &[&[Text]];
const OID: &[&[Argument]] = &[&[Int]];

#[rustfmt::skip]
pub(super) const FUNCTIONS: &[Function] = &[
    Function::stable("lakegate_regclass", NAMED, REGCLASS, |v, a| must(v, a, class_named)),
    Function::stable("lakegate_regnamespace", NAMED, REGNAMESPACE, |v, a| must(v, a, schema_named)),
    Function::stable("lakegate_regrole", NAMED, REGROLE, |v, a| must(v, a, role_named)),
    Function::stable("to_regclass", TEXT, REGCLASS, |v, a| may(v, a, class_found)),
    Function::stable("to_regnamespace", TEXT, REGNAMESPACE, |v, a| may(v, a, |v, text| Ok(v.schema_oid(&one_name(text)?)))),
    Function::stable("to_regrole", TEXT, REGROLE, |v, a| may(v, a, |v, text| Ok(role_of_name(v, &one_name(text)?)))),
    Function::stable("lakegate_regclass_name", OID, Returns::Text, |v, a| name(v, a, class_name)),
    Function::stable("lakegate_regnamespace_name", OID, Returns::Text, |v, a| name(v, a, schema_name)),
    Function::stable("lakegate_regrole_name", OID, Returns::Text, |v, a| name(v, a, |v, oid| v.role_name(oid).map(quoted))),
    Function::stable("pg_table_is_visible", OID, Returns::Bool, table_is_visible),
    Function::stable("pg_type_is_visible", OID, Returns::Bool, type_is_visible),
    Function::stable("pg_function_is_visible", OID, Returns::Bool, function_is_visible),
    Function::stable("pg_operator_is_visible", OID, Returns::Bool, operator_is_visible),
    Function::stable("pg_opclass_is_visible", OID, Returns::Bool, |v, a| is_of_catalog(v, a, "pg_opclass")),
    Function::stable("pg_opfamily_is_visible", OID, Returns::Bool, |v, a| is_of_catalog(v, a, "pg_opfamily")),
    Function::stable("pg_collation_is_visible", OID, Returns::Bool, |v, a| is_of_catalog(v, a, "pg_collation")),
    Function::stable("pg_conversion_is_visible", OID, Returns::Bool, |v, a| is_of_catalog(v, a, "pg_conversion")),
    Function::stable("pg_statistics_obj_is_visible", OID, Returns::Bool, |v, a| is_of_catalog(v, a, "pg_statistic_ext")),
    Function::stable("pg_ts_config_is_visible", OID, Returns::Bool, |v, a| is_of_catalog(v, a, "pg_ts_config")),
    Function::stable("pg_ts_dict_is_visible", OID, Returns::Bool, |v, a| is_of_catalog(v, a, "pg_ts_dict")),
    Function::stable("pg_ts_parser_is_visible", OID, Returns::Bool, |v, a| is_of_catalog(v, a, "pg_ts_parser")),
    Function::stable("pg_ts_template_is_visible", OID, Returns::Bool, |v, a| is_of_catalog(v, a, "pg_ts_template")),
];

/// The segments of a name as SQL writes it: folded to lower case outside double quotes. `None`: not a name.
pub(in crate::engine) fn segments(text: &str) -> Option<Vec<String>> {
    let mut segments = vec![];
    let mut rest = text.trim();
    loop {
        let (segment, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_segment(quoted)?,
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                let word = word.trim();
                if word.is_empty() || word.contains(|c: char| c == '"' || c.is_ascii_whitespace()) {
                    return None;
                }
                (word.to_ascii_lowercase(), after)
            }
        };
        segments.push(segment);
        match after.trim_start().strip_prefix('.') {
            Some(more) => rest = more.trim_start(),
            None if after.trim().is_empty() => return Some(segments),
            None => return None,
        }
    }
}

/// The oid of a relation the session sees, by a name of one, two or three segments.
pub(super) fn class_oid(view: &View, text: &str) -> Option<u32> {
    let mut segments = segments(text)?;
    let table = segments.pop()?;
    match (segments.pop(), segments.pop()) {
        (None, _) => view.lookup_path().find_map(|schema| view.relation_oid(&TableName::new(schema, table.as_str()))),
        (Some(_), Some(database)) if database != view.database || !segments.is_empty() => None,
        (Some(schema), _) if schema == temporary::ALIAS => view.relation_oid(&TableName::new(temporary::SCHEMA, table)),
        (Some(schema), _) => view.relation_oid(&TableName::new(schema, table)),
    }
}

pub(super) fn role_oid(view: &View, text: &str) -> Option<u32> {
    role_of_name(view, &single(text)?)
}

fn role_of_name(view: &View, name: &str) -> Option<u32> {
    view.roles.iter().find(|r| r.name == name).map(|r| r.oid)
}

/// 42602, as stringToQualifiedNameList.
fn names(text: &str) -> Result<Vec<String>> {
    segments(text).ok_or_else(|| Error::new(Kind::InvalidName, "invalid name syntax"))
}

fn one_name(text: &str) -> Result<String> {
    match names(text)?.as_mut_slice() {
        [name] => Ok(std::mem::take(name)),
        _ => Err(Error::new(Kind::InvalidName, "invalid name syntax")),
    }
}

/// `None` where it is not there; an error for what names nothing that could be (makeRangeVarFromNameList).
fn class_found(view: &View, text: &str) -> Result<Option<u32>> {
    let names = names(text)?;
    match names.as_slice() {
        [_] | [_, _] => {}
        [database, _, _] if *database == view.database => {}
        [_, _, _] => {
            let text = format!("cross-database references are not implemented: \"{}\"", names.join("."));
            return Err(Error::unsupported(text));
        }
        _ => {
            let text = format!("improper relation name (too many dotted names): {}", names.join("."));
            return Err(Error::new(Kind::Syntax, text));
        }
    }
    Ok(class_oid(view, text))
}

/// 3F000 or 42P01 where it is not there.
pub(super) fn class_named(view: &View, text: &str) -> Result<u32> {
    if let Some(oid) = class_found(view, text)? {
        return Ok(oid);
    }
    let mut names = names(text)?;
    let of_database = names.len() == 3;
    if of_database {
        names.remove(0);
    }
    match names.as_slice() {
        [schema, _] if schema != temporary::ALIAS && view.schema_oid(schema).is_none() => Err(no_schema(schema)),
        _ => {
            let text = format!("relation \"{}\" does not exist", names.join("."));
            Err(Error::new(Kind::UndefinedTable, text))
        }
    }
}

fn schema_named(view: &View, text: &str) -> Result<u32> {
    let name = one_name(text)?;
    view.schema_oid(&name).ok_or_else(|| no_schema(&name))
}

pub(super) fn no_schema(name: &str) -> Error {
    Error::new(Kind::UndefinedSchema, format!("schema \"{name}\" does not exist"))
}

fn role_named(view: &View, text: &str) -> Result<u32> {
    let name = one_name(text)?;
    let missing = || Error::new(Kind::UndefinedObject, format!("role \"{name}\" does not exist"));
    role_of_name(view, &name).ok_or_else(missing)
}

/// An oid argument; `None` where the number cannot be one.
pub(super) fn oid(cell: &Cell) -> Option<u32> {
    match cell {
        Cell::Int(number) => u32::try_from(*number).ok(),
        _ => None,
    }
}

type Find = fn(&View, &str) -> Result<u32>;

/// A cast from text: the thing must be there. Digits are an oid, `-` is none.
fn must(view: &View, arguments: &[Cell], find: Find) -> Result<Cell> {
    match arguments {
        [Cell::Text(text)] if text == "-" => Ok(0.into()),
        [Cell::Text(text)] if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
            let number = text.parse::<u32>().map_err(|_| {
                Error::new(Kind::NumericRange, format!("value \"{text}\" is out of range for type oid"))
            })?;
            Ok(number.into())
        }
        [Cell::Text(text)] => Ok(find(view, text)?.into()),
        [other] => match oid(other) {
            Some(oid) => Ok(oid.into()),
            None => Err(Error::new(Kind::NumericRange, "OID out of range")),
        },
        _ => Ok(Cell::Null),
    }
}

/// `to_reg…`: NULL where the thing is not there.
fn may(view: &View, arguments: &[Cell], find: fn(&View, &str) -> Result<Option<u32>>) -> Result<Cell> {
    match arguments {
        [Cell::Text(text)] => Ok(find(view, text)?.into()),
        _ => Ok(Cell::Null),
    }
}

/// A cast to text: `-` for zero, the number itself for an oid of nothing known.
fn name(view: &View, arguments: &[Cell], name_of: fn(&View, u32) -> Option<String>) -> Result<Cell> {
    Ok(match arguments.first().and_then(oid) {
        Some(0) => "-".into(),
        Some(oid) => name_of(view, oid).unwrap_or_else(|| oid.to_string()).into(),
        None => Cell::Null,
    })
}

/// How a client is shown a value of a `reg…` type: names of what the session may see, digits of all else.
pub(in crate::engine) fn object_names(view: &Arc<View>) -> ObjectNames {
    let (view, reading) = (Arc::clone(view), Arc::clone(view));
    let names = ObjectNames::by(move |type_oid, of| match (type_oid, of) {
        (pgtype::oid::REGCLASS | pgtype::oid::REGNAMESPACE | pgtype::oid::REGROLE, 0) => Some("-".into()),
        (pgtype::oid::REGCLASS, _) => class_name(&view, of),
        (pgtype::oid::REGNAMESPACE, _) => schema_name(&view, of),
        (pgtype::oid::REGROLE, _) => view.role_name(of).map(quoted),
        _ => crate::sql::functions::object_name(type_oid, of),
    });
    names.read_by(move |type_oid, name| {
        let find: Find = match type_oid {
            pgtype::oid::REGCLASS => class_named,
            pgtype::oid::REGNAMESPACE => schema_named,
            pgtype::oid::REGROLE => role_named,
            _ => return crate::sql::functions::object_oid(type_oid, name),
        };
        Some(find(&reading, name))
    })
}

fn class_name(view: &View, oid: u32) -> Option<String> {
    let name = view.relation_name(oid)?;
    Some(if view.is_on_path(name) { quoted(&name.table) } else { name.to_string() })
}

fn schema_name(view: &View, oid: u32) -> Option<String> {
    view.schemas.iter().find(|(_, o)| *o == oid).map(|(name, _)| quoted(name))
}

fn quoted(name: &str) -> String {
    Identifier(name).to_string()
}

/// NULL for a relation the session does not see, as for one that is not there.
fn table_is_visible(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let name = arguments.first().and_then(oid).and_then(|oid| view.relation_name(oid));
    Ok(name.map(|name| view.is_on_path(name)).into())
}

/// NULL for a type that is not there.
fn type_is_visible(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let Some(oid) = arguments.first().and_then(oid) else { return Ok(Cell::Null) };
    Ok(match (view.table_of_type(oid), type_by_oid(oid)) {
        (Some((table, _)), _) => Some(view.is_on_path(&table.name)),
        (None, Some(kind)) => Some(is_searched(view, system_schema_name(kind.schema))),
        (None, None) => None,
    }
    .into())
}

fn function_is_visible(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let function = arguments.first().and_then(oid).and_then(function_by_oid);
    Ok(function.map(|function| is_searched(view, system_schema_name(function.schema))).into())
}

/// Whether names of that schema are found without it; what is no schema of the system's is `public`'s, an extension's.
fn is_searched(view: &View, schema: Option<&str>) -> bool {
    view.lookup_path().any(|searched| searched == schema.unwrap_or("public"))
}

fn operator_is_visible(_: &View, arguments: &[Cell]) -> Result<Cell> {
    let operator = arguments.first().and_then(oid).and_then(crate::sql::image::operator);
    Ok(operator.map(|_| true).into())
}

/// What only the system has is found without its schema; NULL for what is not there.
fn is_of_catalog(view: &View, arguments: &[Cell], name: &str) -> Result<Cell> {
    let Some(wanted) = arguments.first().and_then(oid) else { return Ok(Cell::Null) };
    let relation = relation(&TableName::new("pg_catalog", name));
    let relation = relation.ok_or_else(|| Error::internal(format!("no relation pg_catalog.{name}")))?;
    for batch in relation.read(view, &Asked::default())? {
        let oids = batch.column_by_name("oid").and_then(|column| column.as_primitive_opt::<UInt32Type>());
        if oids.is_some_and(|oids| oids.values().contains(&wanted)) {
            return Ok(true.into());
        }
    }
    Ok(Cell::Null)
}

fn single(text: &str) -> Option<String> {
    let mut segments = segments(text)?;
    let name = segments.pop()?;
    segments.is_empty().then_some(name)
}

/// What stands up to the closing quote, doubled quotes made single, and the rest after it.
fn quoted_segment(text: &str) -> Option<(String, &str)> {
    let mut segment = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        segment.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                segment.push('"');
                rest = more;
            }
            None if segment.is_empty() => return None,
            None => return Some((segment, after)),
        }
    }
}
