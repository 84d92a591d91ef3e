//! The session's own entry in the views of what is going on. Other sessions, and what they run, are not told of.

use super::rows::Rows;
use crate::catalog::visible::View;
use crate::error::Result;

pub(super) fn pg_stat_activity(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    rows.push([
        ("datid", view.database_oid().into()),
        ("datname", (&view.database).into()),
        ("pid", view.pid.into()),
        ("usesysid", view.role_oid(&view.user).into()),
        ("usename", (&view.user).into()),
        ("application_name", view.setting("application_name").unwrap_or_default().into()),
        ("backend_start", view.session_started_at.into()),
        ("state", "active".into()),
        ("query", "".into()),
        ("backend_type", "client backend".into()),
    ])
}

pub(super) fn pg_stat_database(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    rows.push([("datid", view.database_oid().into()), ("datname", (&view.database).into())])
}

pub(super) fn pg_stat_database_conflicts(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    rows.push([
        ("datid", view.database_oid().into()),
        ("datname", (&view.database).into()),
        ("confl_tablespace", 0.into()),
        ("confl_lock", 0.into()),
        ("confl_snapshot", 0.into()),
        ("confl_bufferpin", 0.into()),
        ("confl_deadlock", 0.into()),
    ])
}

/// Whether its connection is encrypted, a session is not told here.
pub(super) fn pg_stat_ssl(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    rows.push([("pid", view.pid.into())])
}

pub(super) fn pg_stat_gssapi(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    rows.push([("pid", view.pid.into()), ("gss_authenticated", false.into()), ("encrypted", false.into())])
}
