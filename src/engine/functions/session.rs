//! Functions about the session itself: who, where, since when, with which settings.

use super::Argument::{Bool, Text};
use super::lookup::class_named;
use super::{Function, NAME, OID_TYPE, Returns};
use crate::catalog::pg_catalog::SERVER_VERSION;
use crate::catalog::pg_catalog::rows::Cell;
use crate::catalog::visible::View;
use crate::error::{Error, Kind, Result};
use crate::pgtype::oid;

const NONE: &[&[super::Argument]] = &[&[]];

#[rustfmt::skip]
pub(super) const FUNCTIONS: &[Function] = &[
    Function::stable("version", NONE, Returns::Text, version),
    Function::stable("current_user", NONE, NAME, |view, _| Ok((&view.user).into())),
    Function::stable("session_user", NONE, NAME, session_user),
    Function::stable("user", NONE, NAME, |view, _| Ok((&view.user).into())),
    Function::stable("current_role", NONE, NAME, |view, _| Ok((&view.user).into())),
    Function::stable("current_database", NONE, NAME, |view, _| Ok((&view.database).into())),
    Function::stable("current_catalog", NONE, NAME, |view, _| Ok((&view.database).into())),
    Function::stable("current_schema", NONE, NAME, |view, _| Ok(view.search_path().first().into())),
    Function::stable("current_schemas", &[&[Bool]], Returns::Names, current_schemas),
    // what set_config did before it in the same row
    Function::volatile("current_setting", &[&[Text], &[Text, Bool]], Returns::Text, current_setting),
    Function::volatile("set_config", &[&[Text, Text, Bool]], Returns::Text, set_config).called_on_null(),
    Function::stable("pg_backend_pid", NONE, Returns::Int4, |view, _| Ok(view.pid.into())),
    Function::stable("pg_postmaster_start_time", NONE, Returns::Time, |view, _| Ok(view.server_started_at.into())),
    Function::stable("pg_conf_load_time", NONE, Returns::Time, |view, _| Ok(view.server_started_at.into())),
    Function::stable("pg_is_in_recovery", NONE, Returns::Bool, |_, _| Ok(false.into())),
    Function::stable("getpgusername", NONE, NAME, |view, _| Ok((&view.user).into())),
    Function::stable("pg_trigger_depth", NONE, Returns::Int4, |_, _| Ok(0.into())),
    // nothing is replayed
    Function::volatile("pg_is_wal_replay_paused", NONE, Returns::Bool, no_recovery),
    Function::volatile("pg_get_wal_replay_pause_state", NONE, Returns::Text, no_recovery),
    Function::volatile("pg_wal_replay_pause", NONE, Returns::TextOf(oid::VOID), no_recovery),
    Function::volatile("pg_wal_replay_resume", NONE, Returns::TextOf(oid::VOID), no_recovery),
    Function::volatile("pg_last_xact_replay_timestamp", NONE, Returns::Time, |_, _| Ok(Cell::Null)),
    Function::stable("row_security_active", &[&[super::Argument::Name]], Returns::Bool, row_security),
    Function::stable("pg_my_temp_schema", NONE, OID_TYPE, |view, _| Ok(view.schema_oid(crate::engine::temporary::SCHEMA).unwrap_or(0).into())),
    Function::stable("pg_is_other_temp_schema", &[&[super::Argument::Int]], Returns::Bool, |_, _| Ok(false.into())),
    // As over a Unix socket: addresses of the server are nobody's business, and the client knows its own.
    Function::stable("inet_server_addr", NONE, Returns::TextOf(869), |_, _| Ok(Cell::Null)),
    Function::stable("inet_server_port", NONE, Returns::Int4, |_, _| Ok(Cell::Null)),
    Function::stable("inet_client_addr", NONE, Returns::TextOf(869), |_, _| Ok(Cell::Null)),
    Function::stable("inet_client_port", NONE, Returns::Int4, |_, _| Ok(Cell::Null)),
];

fn no_recovery(_: &View, _: &[Cell]) -> Result<Cell> {
    let hint = "Recovery control functions can only be executed during recovery.";
    Err(Error::new(Kind::NotInState, "recovery is not in progress").with_hint(hint))
}

/// What a session sees of a table are the policy's lines, which are no policies of a table.
fn row_security(view: &View, arguments: &[Cell]) -> Result<Cell> {
    if let [Cell::Text(name)] = arguments {
        class_named(view, name)?;
    }
    Ok(false.into())
}

/// Superset and others parse what follows the word PostgreSQL.
fn version(_: &View, _: &[Cell]) -> Result<Cell> {
    let platform = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    Ok(format!("PostgreSQL {SERVER_VERSION} on {platform}, lakegate {}", env!("CARGO_PKG_VERSION")).into())
}

fn current_schemas(view: &View, arguments: &[Cell]) -> Result<Cell> {
    Ok(match arguments == [Cell::Bool(true)] {
        true => Cell::texts(view.lookup_path()),
        false => Cell::texts(view.search_path()),
    })
}

/// Who logged in, or whom SET SESSION AUTHORIZATION named.
fn session_user(view: &View, _: &[Cell]) -> Result<Cell> {
    Ok(view.settings.shown("session_authorization").unwrap_or_else(|_| view.user.clone()).into())
}

fn current_setting(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let [Cell::Text(name), rest @ ..] = arguments else { return Ok(Cell::Null) };
    match view.settings.shown(name) {
        Ok(value) => Ok(value.into()),
        Err(error) if error.kind() == Kind::UndefinedObject && rest == [Cell::Bool(true)] => Ok(Cell::Null),
        Err(error) => Err(error),
    }
}

/// NULL is DEFAULT.
fn set_config(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let [name, value, local] = arguments else { return Ok(Cell::Null) };
    let Cell::Text(name) = name else {
        return Err(Error::new(Kind::NullNotAllowed, "SET requires parameter name"));
    };
    let value = match value {
        Cell::Text(value) => Some(value.as_str()),
        _ => None,
    };
    view.settings.set(name, value, *local == Cell::Bool(true)).map(Cell::from)
}
