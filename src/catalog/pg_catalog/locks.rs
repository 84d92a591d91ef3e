//! pg_locks: the session's advisory locks; an admin sees those of all sessions. Tables are not locked.

use super::rows::Rows;
use crate::catalog::peers::LockMode;
use crate::catalog::visible::View;
use crate::error::Result;

pub(super) fn pg_locks(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    let Some(peers) = view.others.get() else { return Ok(()) };
    for lock in peers.locks(view.is_admin) {
        let mode = match lock.mode {
            LockMode::Shared => "ShareLock",
            LockMode::Exclusive => "ExclusiveLock",
        };
        rows.push([
            ("locktype", "advisory".into()),
            ("database", view.database_oid().into()),
            ("classid", lock.key.class.into()),
            ("objid", lock.key.object.into()),
            ("objsubid", i32::from(lock.key.sub).into()),
            ("virtualtransaction", format!("{}/0", lock.pid).into()),
            ("pid", lock.pid.into()),
            ("mode", mode.into()),
            ("granted", lock.granted.into()),
            ("fastpath", false.into()),
        ])?;
    }
    Ok(())
}
