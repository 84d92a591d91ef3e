//! pg_settings: the settings of the session as the engine keeps them. Nothing of the server's configuration is here.

use super::rows::Rows;
use crate::catalog::visible::View;
use crate::error::Result;

pub(super) fn pg_settings(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for (name, value, description) in &view.settings {
        rows.push([
            ("name", name.into()),
            ("setting", value.into()),
            ("category", "Client Connection Defaults".into()),
            ("short_desc", description.into()),
            ("context", "user".into()),
            ("vartype", kind(value).into()),
            ("source", "session".into()),
            ("reset_val", value.into()),
            ("pending_restart", false.into()),
        ])?;
    }
    Ok(())
}

/// PostgreSQL's word for what a value looks like.
fn kind(value: &str) -> &'static str {
    match value {
        "on" | "off" => "bool",
        _ if value.parse::<i64>().is_ok() => "integer",
        _ => "string",
    }
}
