//! pg_cursors: the session's own, which nobody else is told of.

use super::rows::Rows;
use crate::catalog::visible::View;
use crate::error::Result;

pub(super) fn pg_cursors(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for cursor in view.cursors.all() {
        rows.push([
            ("name", cursor.name.into()),
            ("statement", cursor.statement.into()),
            ("is_holdable", cursor.holdable.into()),
            ("is_binary", cursor.binary.into()),
            ("is_scrollable", cursor.scrollable.into()),
            ("creation_time", cursor.created_at.into()),
        ])?;
    }
    Ok(())
}
