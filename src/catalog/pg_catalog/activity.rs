//! pg_stat_activity and pg_stat_database: the session's own entry. Other sessions, and what they run, are not told of.

use super::rows::Rows;
use crate::catalog::visible::View;
use crate::error::Result;

pub(super) fn pg_stat_activity(view: &View, rows: &mut Rows) -> Result<()> {
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

pub(super) fn pg_stat_database(view: &View, rows: &mut Rows) -> Result<()> {
    rows.push([("datid", view.database_oid().into()), ("datname", (&view.database).into())])
}
