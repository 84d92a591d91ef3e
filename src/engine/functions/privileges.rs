//! has_…_privilege: true answers, from what the policy lets the session see. The rights of others are not told.

use super::Argument::{Int, Name, Text};
use super::definitions::tablespace_named;
use super::lookup::{class_named, no_schema, oid, role_oid};
use super::{Argument, Function, Returns};
use crate::catalog::pg_catalog::attribute::attributes;
use crate::catalog::pg_catalog::rows::Cell;
use crate::catalog::visible::View;
use crate::error::{Error, Kind, Result};
use crate::pgtype;

const OF_OBJECT: &[&[Argument]] = &[&[Name, Text], &[Name, Name, Text]];
const OF_COLUMN: &[&[Argument]] =
    &[&[Name, Text, Text], &[Name, Int, Text], &[Name, Name, Text, Text], &[Name, Name, Int, Text]];
const OF_ROLE: &[&[Argument]] = &[&[Name, Text], &[Name, Name, Text]];

#[rustfmt::skip]
pub(super) const FUNCTIONS: &[Function] = &[
    Function::stable("has_table_privilege", OF_OBJECT, Returns::Bool, |v, a| as_own(v, a, 2, table)),
    Function::stable("has_any_column_privilege", OF_OBJECT, Returns::Bool, |v, a| as_own(v, a, 2, any_column)),
    Function::stable("has_column_privilege", OF_COLUMN, Returns::Bool, |v, a| as_own(v, a, 3, column)),
    Function::stable("has_schema_privilege", OF_OBJECT, Returns::Bool, |v, a| as_own(v, a, 2, schema)),
    Function::stable("has_database_privilege", OF_OBJECT, Returns::Bool, |v, a| as_own(v, a, 2, database)),
    Function::stable("has_type_privilege", OF_OBJECT, Returns::Bool, |v, a| as_own(v, a, 2, of_type)),
    Function::stable("has_function_privilege", OF_OBJECT, Returns::Bool, |v, a| as_own(v, a, 2, function)),
    Function::stable("has_sequence_privilege", OF_OBJECT, Returns::Bool, |v, a| as_own(v, a, 2, sequence)),
    Function::stable("has_tablespace_privilege", OF_OBJECT, Returns::Bool, |v, a| as_own(v, a, 2, tablespace)),
    Function::stable("has_language_privilege", OF_OBJECT, Returns::Bool, |v, a| as_own(v, a, 2, language)),
    Function::stable("has_foreign_data_wrapper_privilege", OF_OBJECT, Returns::Bool, |v, a| as_own(v, a, 2, wrapper)),
    Function::stable("has_server_privilege", OF_OBJECT, Returns::Bool, |v, a| as_own(v, a, 2, server)),
    Function::stable("has_parameter_privilege", OF_OBJECT, Returns::Bool, |v, a| as_own(v, a, 2, parameter)),
    Function::stable("pg_has_role", OF_ROLE, Returns::Bool, |v, a| as_own(v, a, 2, has_role)),
];

/// Privileges of tables and columns, and whether a session that sees the object can have them at all.
const ON_TABLE: [&str; 7] = ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"];
const ON_COLUMN: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "REFERENCES"];

fn table(view: &View, arguments: &[Cell]) -> Result<Cell> {
    of_relation(view, arguments, &ON_TABLE)
}

fn any_column(view: &View, arguments: &[Cell]) -> Result<Cell> {
    of_relation(view, arguments, &ON_COLUMN)
}

fn of_relation(view: &View, arguments: &[Cell], known: &[&str]) -> Result<Cell> {
    let (object, privilege) = pair(arguments)?;
    let relation = relation(view, object)?;
    any(privilege, known, |word| relation.is_some_and(|relation| may(view, relation, word)), relation.is_some())
}

fn column(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let [object, column, privilege] = arguments else { return Ok(Cell::Null) };
    let relation = relation(view, object)?;
    let columns = relation.map(|relation| attributes(view, relation)).unwrap_or_default();
    let found = match column {
        Cell::Int(number) => columns.iter().any(|a| i64::from(a.number) == *number),
        Cell::Text(name) => match columns.iter().any(|a| a.name == name) {
            true => true,
            // A hidden column answers as an absent one.
            false if relation.is_some() => {
                let of = relation.and_then(|oid| view.relation_name(oid)).map_or("", |name| name.table.as_str());
                let text = format!("column \"{name}\" of relation \"{of}\" does not exist");
                return Err(Error::new(Kind::UndefinedColumn, text));
            }
            false => false,
        },
        _ => false,
    };
    any(text(privilege)?, &ON_COLUMN, |word| relation.is_some_and(|relation| may(view, relation, word)), found)
}

fn schema(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let (object, privilege) = pair(arguments)?;
    let found = match object {
        Cell::Text(name) => Some(view.schema_oid(name).ok_or_else(|| no_schema(name))?),
        other => oid(other),
    };
    let name = view.schemas.iter().find(|(_, oid)| Some(*oid) == found).map(|(name, _)| name);
    let has = |word: &str| word == "USAGE" || name.is_some_and(|name| view.creatable.contains(name));
    any(privilege, &["USAGE", "CREATE"], has, name.is_some())
}

fn database(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let (object, privilege) = pair(arguments)?;
    if let Cell::Text(name) = object
        && *name != view.database
    {
        return Err(Error::new(Kind::UndefinedDatabase, format!("database \"{name}\" does not exist")));
    }
    let is_there = !matches!(object, Cell::Int(_)) || oid(object) == Some(view.database_oid());
    let has = |word: &str| matches!(word, "CONNECT" | "TEMPORARY" | "TEMP");
    any(privilege, &["CONNECT", "CREATE", "TEMPORARY", "TEMP"], has, is_there)
}

/// Types and functions are everybody's.
fn of_type(_: &View, arguments: &[Cell]) -> Result<Cell> {
    let (object, privilege) = pair(arguments)?;
    let is_there = named(object, pgtype::oid::REGTYPE)?.is_none_or(|oid| pgtype::functions(oid).is_some());
    any(privilege, &["USAGE"], |_| true, is_there)
}

fn function(_: &View, arguments: &[Cell]) -> Result<Cell> {
    let (object, privilege) = pair(arguments)?;
    let known = |oid| crate::catalog::pg_catalog::image::function_by_oid(oid).is_some();
    let is_there = named(object, pgtype::oid::REGPROCEDURE)?.is_none_or(known);
    any(privilege, &["EXECUTE"], |_| true, is_there)
}

/// The oid that was given; `None` for one that was named.
fn named(object: &Cell, type_oid: u32) -> Result<Option<u32>> {
    match object {
        Cell::Text(name) => {
            crate::sql::functions::object_oid(type_oid, name).transpose()?;
            Ok(None)
        }
        other => Ok(Some(oid(other).unwrap_or(0))),
    }
}

/// To ask for its numbers is to be asked with `insert` into its table, and they are not shown.
fn sequence(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let (object, privilege) = pair(arguments)?;
    let relation = relation(view, object)?;
    let counted = relation.and_then(|oid| view.counted_by_oid(oid));
    if counted.is_none()
        && let Some(name) = relation.and_then(|oid| view.relation_name(oid))
    {
        return Err(Error::new(Kind::WrongObjectType, format!("\"{}\" is not a sequence", name.table)));
    }
    any(privilege, &["USAGE", "SELECT", "UPDATE"], |_| false, relation.is_some())
}

fn tablespace(_: &View, arguments: &[Cell]) -> Result<Cell> {
    let (object, privilege) = pair(arguments)?;
    if let Cell::Text(name) = object {
        tablespace_named(name)?;
    }
    any(privilege, &["CREATE"], |_| false, matches!(object, Cell::Text(_)) || matches!(oid(object), Some(1663 | 1664)))
}

/// Those of each server; nothing can be written in them here.
fn language(_: &View, arguments: &[Cell]) -> Result<Cell> {
    let (object, privilege) = pair(arguments)?;
    let known = |name: &str| matches!(name, "internal" | "c" | "sql" | "plpgsql");
    if let Cell::Text(name) = object
        && !known(name)
    {
        return Err(Error::new(Kind::UndefinedObject, format!("language \"{name}\" does not exist")));
    }
    let is_there = matches!(object, Cell::Text(_)) || matches!(oid(object), Some(12..=14));
    any(privilege, &["USAGE"], |_| false, is_there)
}

fn wrapper(_: &View, arguments: &[Cell]) -> Result<Cell> {
    none_of("foreign-data wrapper", arguments)
}

fn server(_: &View, arguments: &[Cell]) -> Result<Cell> {
    none_of("server", arguments)
}

/// There is none of the kind.
fn none_of(what: &str, arguments: &[Cell]) -> Result<Cell> {
    let (object, privilege) = pair(arguments)?;
    if let Cell::Text(name) = object {
        return Err(Error::new(Kind::UndefinedObject, format!("{what} \"{name}\" does not exist")));
    }
    any(privilege, &["USAGE"], |_| false, false)
}

/// Nobody is granted settings that are not everybody's.
fn parameter(_: &View, arguments: &[Cell]) -> Result<Cell> {
    let (_, privilege) = pair(arguments)?;
    any(privilege, &["SET", "ALTER SYSTEM"], |_| false, true)
}

fn has_role(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let (role, privilege) = pair(arguments)?;
    let wanted = match role {
        Cell::Text(name) => Some(role_oid(view, name).ok_or_else(|| no_role(name))?),
        other => oid(other),
    };
    let me = view.roles.iter().find(|r| r.name == view.user);
    let has = me.is_some_and(|me| {
        Some(me.oid) == wanted || me.member_of.iter().any(|name| Some(view.role_oid(name)) == wanted)
    });
    any(privilege, &["USAGE", "MEMBER"], |_| has, true)
}

/// What the last `count` arguments ask, once a leading role is known; 42501 where that is not the session's own.
fn as_own(view: &View, arguments: &[Cell], count: usize, ask: fn(&View, &[Cell]) -> Result<Cell>) -> Result<Cell> {
    let (role, rest) = arguments.split_at(arguments.len().saturating_sub(count));
    let role = match role.first() {
        None => return ask(view, rest),
        Some(Cell::Text(name)) => role_oid(view, name).ok_or_else(|| no_role(name))?,
        Some(other) => oid(other).ok_or_else(|| Error::new(Kind::NumericRange, "OID out of range"))?,
    };
    let answer = ask(view, rest)?;
    match role == view.role_oid(&view.user) {
        true => Ok(answer),
        false => Err(Error::new(Kind::PermissionDenied, "permission denied to see the privileges of another role")),
    }
}

fn no_role(name: &str) -> Error {
    Error::new(Kind::UndefinedObject, format!("role \"{name}\" does not exist"))
}

fn pair(arguments: &[Cell]) -> Result<(&Cell, &str)> {
    match arguments {
        [object, privilege] => Ok((object, text(privilege)?)),
        _ => Err(Error::internal("a privilege is asked of an object")),
    }
}

fn text(cell: &Cell) -> Result<&str> {
    match cell {
        Cell::Text(text) => Ok(text),
        other => Err(Error::internal(format!("a privilege is a word, not {other:?}"))),
    }
}

/// 42P01 for a name the session does not see, NULL for such an oid: as for one that is not there.
fn relation(view: &View, object: &Cell) -> Result<Option<u32>> {
    match object {
        Cell::Text(name) => class_named(view, name).map(Some),
        other => Ok(oid(other).filter(|oid| view.relation_name(*oid).is_some())),
    }
}

fn may(view: &View, relation: u32, privilege: &str) -> bool {
    let table = view.table_by_oid(relation);
    match privilege {
        "SELECT" => true,
        "INSERT" => table.is_some_and(|t| t.may_insert),
        "UPDATE" => table.is_some_and(|t| t.may_update),
        "DELETE" => table.is_some_and(|t| t.may_delete),
        _ => false,
    }
}

/// A comma-separated list asks for any of its privileges; nobody can grant any further. NULL where the object is not there,
/// once the words are known.
fn any(list: &str, known: &[&str], has: impl Fn(&str) -> bool, is_there: bool) -> Result<Cell> {
    let mut found = false;
    for written in list.split(',') {
        let word = written.trim().to_uppercase();
        let bare = word.strip_suffix(" WITH GRANT OPTION").or(word.strip_suffix(" WITH ADMIN OPTION"));
        let privilege = bare.unwrap_or(&word).trim();
        if !known.contains(&privilege) {
            let text = format!("unrecognized privilege type: \"{}\"", written.trim());
            return Err(Error::new(Kind::InvalidParameter, text));
        }
        found |= bare.is_none() && has(privilege);
    }
    Ok(is_there.then_some(found).into())
}
