//! has_…_privilege: true answers, from what the policy lets the session see. The rights of others are not told.

use super::Argument::{Int, Name, Text};
use super::lookup::{class_oid, oid, role_oid, schema_oid};
use super::{Argument, Function, Returns};
use crate::catalog::pg_catalog::attribute::attributes;
use crate::catalog::pg_catalog::rows::Cell;
use crate::catalog::visible::View;
use crate::error::{Error, Kind, Result};

const OF_OBJECT: &[&[Argument]] = &[&[Name, Text], &[Name, Name, Text]];
const OF_COLUMN: &[&[Argument]] =
    &[&[Name, Text, Text], &[Name, Int, Text], &[Name, Name, Text, Text], &[Name, Name, Int, Text]];
const OF_ROLE: &[&[Argument]] = &[&[Name, Text], &[Name, Name, Text]];

pub(super) const FUNCTIONS: &[Function] = &[
    Function::stable("has_table_privilege", OF_OBJECT, Returns::Bool, table),
    Function::stable("has_any_column_privilege", OF_OBJECT, Returns::Bool, any_column),
    Function::stable("has_column_privilege", OF_COLUMN, Returns::Bool, column),
    Function::stable("has_schema_privilege", OF_OBJECT, Returns::Bool, schema),
    Function::stable("has_database_privilege", OF_OBJECT, Returns::Bool, database),
    Function::stable("has_type_privilege", OF_OBJECT, Returns::Bool, |view, a| own(view, a, 2).map(|_| true.into())),
    Function::stable("has_function_privilege", OF_OBJECT, Returns::Bool, |view, a| {
        own(view, a, 2).map(|_| true.into())
    }),
    Function::stable("has_sequence_privilege", OF_OBJECT, Returns::Bool, |view, a| {
        own(view, a, 2).map(|_| false.into())
    }),
    Function::stable("has_tablespace_privilege", OF_OBJECT, Returns::Bool, |view, a| {
        own(view, a, 2).map(|_| false.into())
    }),
    Function::stable("pg_has_role", OF_ROLE, Returns::Bool, has_role),
];

/// Privileges of tables and columns, and whether a session that sees the object can have them at all.
const ON_TABLE: [&str; 7] = ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"];

fn table(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let (object, privilege) = pair(own(view, arguments, 2)?)?;
    let Some(relation) = relation(view, object)? else { return Ok(Cell::Null) };
    any(privilege, &ON_TABLE, |word| may(view, relation, word))
}

fn any_column(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let (object, privilege) = pair(own(view, arguments, 2)?)?;
    let Some(relation) = relation(view, object)? else { return Ok(Cell::Null) };
    any(privilege, &["SELECT", "INSERT", "UPDATE", "REFERENCES"], |word| may(view, relation, word))
}

fn column(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let [object, column, privilege] = own(view, arguments, 3)? else { return Ok(Cell::Null) };
    let Some(relation) = relation(view, object)? else { return Ok(Cell::Null) };
    let columns = attributes(view, relation);
    let found = match column {
        Cell::Int(number) => columns.iter().any(|a| i64::from(a.number) == *number),
        Cell::Text(name) => match columns.iter().any(|a| a.name == name) {
            true => true,
            // A hidden column answers as an absent one.
            false => {
                return Err(Error::new(Kind::UndefinedColumn, format!("column \"{name}\" does not exist")));
            }
        },
        _ => false,
    };
    if !found {
        return Ok(Cell::Null);
    }
    any(text(privilege)?, &["SELECT", "INSERT", "UPDATE", "REFERENCES"], |word| may(view, relation, word))
}

fn schema(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let (object, privilege) = pair(own(view, arguments, 2)?)?;
    let found = match object {
        Cell::Text(name) => match schema_oid(view, name) {
            Some(oid) => Some(oid),
            None => return Err(Error::new(Kind::UndefinedSchema, format!("schema \"{name}\" does not exist"))),
        },
        other => oid(other),
    };
    let Some((name, _)) = view.schemas.iter().find(|(_, oid)| Some(*oid) == found) else { return Ok(Cell::Null) };
    any(privilege, &["USAGE", "CREATE"], |word| word == "USAGE" || view.creatable.contains(name))
}

fn database(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let (object, privilege) = pair(own(view, arguments, 2)?)?;
    match object {
        Cell::Text(name) if *name != view.database => {
            return Err(Error::new(Kind::UndefinedDatabase, format!("database \"{name}\" does not exist")));
        }
        Cell::Int(_) if oid(object) != Some(view.database_oid()) => return Ok(Cell::Null),
        _ => (),
    }
    any(privilege, &["CONNECT", "CREATE", "TEMPORARY", "TEMP"], |word| matches!(word, "CONNECT" | "TEMPORARY" | "TEMP"))
}

fn has_role(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let (role, privilege) = pair(own(view, arguments, 2)?)?;
    let wanted = match role {
        Cell::Text(name) => Some(role_oid(view, name).ok_or_else(|| no_role(name))?),
        other => oid(other),
    };
    let me = view.roles.iter().find(|r| r.name == view.user);
    let has = me.is_some_and(|me| {
        Some(me.oid) == wanted || me.member_of.iter().any(|name| Some(view.role_oid(name)) == wanted)
    });
    any(privilege, &["USAGE", "MEMBER"], |_| has)
}

/// The last `count` arguments, once a leading role is seen to be the session's own.
fn own<'a>(view: &View, arguments: &'a [Cell], count: usize) -> Result<&'a [Cell]> {
    let Some(at) = arguments.len().checked_sub(count) else { return Ok(arguments) };
    let (role, rest) = arguments.split_at(at);
    let oid = match role.first() {
        None => return Ok(rest),
        Some(Cell::Text(name)) => role_oid(view, name).ok_or_else(|| no_role(name))?,
        Some(other) => oid(other).ok_or_else(|| Error::new(Kind::NumericRange, "OID out of range"))?,
    };
    match oid == view.role_oid(&view.user) {
        true => Ok(rest),
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
        Cell::Text(name) => match class_oid(view, name) {
            Some(oid) => Ok(Some(oid)),
            None => Err(Error::new(Kind::UndefinedTable, format!("relation \"{name}\" does not exist"))),
        },
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

/// A comma-separated list asks for any of its privileges; nobody can grant any further.
fn any(list: &str, known: &[&str], has: impl Fn(&str) -> bool) -> Result<Cell> {
    let mut found = false;
    for word in list.split(',') {
        let word = word.trim().to_uppercase();
        let bare = word.strip_suffix(" WITH GRANT OPTION").or(word.strip_suffix(" WITH ADMIN OPTION"));
        let privilege = bare.unwrap_or(&word).trim();
        if !known.contains(&privilege) {
            return Err(Error::new(Kind::InvalidParameter, format!("unrecognized privilege type: \"{privilege}\"")));
        }
        found |= bare.is_none() && has(privilege);
    }
    Ok(found.into())
}
