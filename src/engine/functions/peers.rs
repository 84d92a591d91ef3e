//! Functions that reach other sessions: ending what they run, telling them something on a channel, locks between them.

use super::Argument::{Float, Int, Text};
use super::{Argument, Function, Returns};
use crate::catalog::peers::{Advisory, LockKey, LockMode, LockScope, Peers};
use crate::catalog::pg_catalog::rows::Cell;
use crate::catalog::visible::View;
use crate::error::{Error, Kind, Result};
use crate::pgtype::oid;

const VOID: Returns = Returns::TextOf(oid::VOID);
/// One number, or two smaller ones.
const LOCK: &[&[Argument]] = &[&[Int], &[Int, Int]];
const PID: &[&[Argument]] = &[&[Int]];
const PID_AND_TIMEOUT: &[&[Argument]] = &[&[Int], &[Int, Int]];

#[rustfmt::skip]
pub(super) const FUNCTIONS: &[Function] = &[
    Function::volatile("pg_cancel_backend", PID, Returns::Bool, cancel),
    Function::volatile("pg_terminate_backend", PID_AND_TIMEOUT, Returns::Bool, terminate),
    Function::volatile("pg_advisory_lock", LOCK, VOID, |v, a| lock(v, a, LockMode::Exclusive, LockScope::Session)),
    Function::volatile("pg_advisory_lock_shared", LOCK, VOID, |v, a| lock(v, a, LockMode::Shared, LockScope::Session)),
    Function::volatile("pg_advisory_xact_lock", LOCK, VOID, |v, a| lock(v, a, LockMode::Exclusive, LockScope::Transaction)),
    Function::volatile("pg_advisory_xact_lock_shared", LOCK, VOID, |v, a| lock(v, a, LockMode::Shared, LockScope::Transaction)),
    Function::volatile("pg_try_advisory_lock", LOCK, Returns::Bool, |v, a| try_lock(v, a, LockMode::Exclusive, LockScope::Session)),
    Function::volatile("pg_try_advisory_lock_shared", LOCK, Returns::Bool, |v, a| try_lock(v, a, LockMode::Shared, LockScope::Session)),
    Function::volatile("pg_try_advisory_xact_lock", LOCK, Returns::Bool, |v, a| try_lock(v, a, LockMode::Exclusive, LockScope::Transaction)),
    Function::volatile("pg_try_advisory_xact_lock_shared", LOCK, Returns::Bool, |v, a| try_lock(v, a, LockMode::Shared, LockScope::Transaction)),
    Function::volatile("pg_advisory_unlock", LOCK, Returns::Bool, |v, a| unlock(v, a, LockMode::Exclusive)),
    Function::volatile("pg_advisory_unlock_shared", LOCK, Returns::Bool, |v, a| unlock(v, a, LockMode::Shared)),
    Function::volatile("pg_advisory_unlock_all", &[&[]], VOID, unlock_all),
    Function::volatile("pg_sleep", &[&[Float]], VOID, sleep),
    Function::volatile("pg_blocking_pids", PID, Returns::Int4s, blocking),
    Function::volatile("pg_safe_snapshot_blocking_pids", PID, Returns::Int4s, |_, _| Ok(Cell::List(vec![]))),
    Function::volatile("pg_notify", &[&[Text, Text]], VOID, notify).called_on_null(),
];

/// Whoever acts for another ends nothing but itself: its login's other sessions may be other people's.
fn peers(view: &View, pid: i64) -> Option<&dyn Peers> {
    let may = view.is_admin || !view.acts_for_another || pid == i64::from(view.pid);
    view.others.get().filter(|_| may)
}

fn cancel(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let [Cell::Int(pid)] = arguments else { return Ok(false.into()) };
    let Some(peers) = peers(view, *pid) else { return Ok(false.into()) };
    Ok(peers.cancel(*pid, view.is_admin).into())
}

/// It does not wait for the end.
fn terminate(view: &View, arguments: &[Cell]) -> Result<Cell> {
    if let [_, Cell::Int(timeout)] = arguments
        && *timeout < 0
    {
        return Err(Error::new(Kind::NumericRange, "\"timeout\" must not be negative"));
    }
    let [Cell::Int(pid), ..] = arguments else { return Ok(false.into()) };
    let Some(peers) = peers(view, *pid) else { return Ok(false.into()) };
    Ok(peers.terminate(*pid, view.is_admin).into())
}

/// The two forms are two spaces of keys.
fn key(arguments: &[Cell]) -> Result<LockKey> {
    let half = |number: i64| u32::try_from(number & i64::from(u32::MAX)).unwrap_or_default();
    match arguments {
        [Cell::Int(number)] => Ok(LockKey { class: half(number >> 32), object: half(*number), sub: 1 }),
        [Cell::Int(class), Cell::Int(object)] => Ok(LockKey { class: half(*class), object: half(*object), sub: 2 }),
        _ => Err(Error::internal("an advisory lock has one number or two")),
    }
}

fn sessions(view: &View) -> Result<&dyn Peers> {
    view.others.get().ok_or_else(|| Error::internal("a lock without a session"))
}

fn lock(view: &View, arguments: &[Cell], mode: LockMode, scope: LockScope) -> Result<Cell> {
    sessions(view)?.lock(Advisory { key: key(arguments)?, mode, scope }, true)?;
    Ok("".into())
}

fn try_lock(view: &View, arguments: &[Cell], mode: LockMode, scope: LockScope) -> Result<Cell> {
    Ok(sessions(view)?.lock(Advisory { key: key(arguments)?, mode, scope }, false)?.into())
}

fn unlock(view: &View, arguments: &[Cell], mode: LockMode) -> Result<Cell> {
    Ok(sessions(view)?.unlock(key(arguments)?, mode).into())
}

fn sleep(view: &View, arguments: &[Cell]) -> Result<Cell> {
    if let [Cell::Float(seconds)] = arguments {
        sessions(view)?.sleep(*seconds)?;
    }
    Ok("".into())
}

/// What pools send when a connection comes back.
fn unlock_all(view: &View, _: &[Cell]) -> Result<Cell> {
    sessions(view)?.unlock_all();
    Ok("".into())
}

fn blocking(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let [Cell::Int(pid)] = arguments else { return Ok(Cell::Null) };
    let pids = peers(view, *pid).map(|peers| peers.blocking(*pid, view.is_admin)).unwrap_or_default();
    Ok(Cell::List(pids.into_iter().map(Cell::from).collect()))
}

fn notify(view: &View, arguments: &[Cell]) -> Result<Cell> {
    let text = |at: usize| match arguments.get(at) {
        Some(Cell::Text(text)) => text.as_str(),
        _ => "",
    };
    if let Some(peers) = view.others.get() {
        peers.notify(text(0), text(1))?;
    }
    Ok("".into())
}
