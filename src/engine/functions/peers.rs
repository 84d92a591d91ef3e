//! Functions that reach other sessions: ending what they run, telling them something on a channel.

use super::Argument::{Int, Text};
use super::{Argument, Function, Returns};
use crate::catalog::peers::Peers;
use crate::catalog::pg_catalog::rows::Cell;
use crate::catalog::visible::View;
use crate::error::{Error, Kind, Result};
use crate::pgtype::oid;

const PID: &[&[Argument]] = &[&[Int]];
const PID_AND_TIMEOUT: &[&[Argument]] = &[&[Int], &[Int, Int]];

#[rustfmt::skip]
pub(super) const FUNCTIONS: &[Function] = &[
    Function::volatile("pg_cancel_backend", PID, Returns::Bool, cancel),
    Function::volatile("pg_terminate_backend", PID_AND_TIMEOUT, Returns::Bool, terminate),
    Function::volatile("pg_advisory_unlock_all", &[&[]], Returns::TextOf(oid::VOID), unlock_all),
    Function::volatile("pg_notify", &[&[Text, Text]], Returns::TextOf(oid::VOID), notify).called_on_null(),
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

/// What pools send when a connection comes back. No session has such a lock: there is no function that takes one.
fn unlock_all(_: &View, _: &[Cell]) -> Result<Cell> {
    Ok("".into())
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
