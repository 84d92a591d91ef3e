//! pg_stat_activity and pg_stat_database: the session's own entry; an admin sees those of all sessions, with what they
//! run.

use super::rows::Rows;
use crate::catalog::visible::View;
use crate::error::Result;

pub(super) fn pg_stat_activity(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    let Some(peers) = view.others.get() else { return own_entry(view, rows) };
    for peer in peers.activity(view.is_admin) {
        rows.push([
            ("datid", view.database_oid().into()),
            ("datname", (&view.database).into()),
            ("pid", peer.pid.into()),
            ("usesysid", view.role_oid(&peer.user).into()),
            ("usename", (&peer.user).into()),
            ("application_name", peer.application_name.into()),
            ("backend_start", peer.session_started_at.into()),
            ("query_start", peer.query_started_at.into()),
            ("state_change", peer.state_changed_at.into()),
            ("state", peer.state.into()),
            ("query", peer.query.into()),
            ("backend_type", "client backend".into()),
        ])?;
    }
    Ok(())
}

/// Of a session that knows of no others.
fn own_entry(view: &View, rows: &mut Rows<'_>) -> Result<()> {
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
