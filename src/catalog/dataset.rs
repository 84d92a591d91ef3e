//! A named query as a table: text and owner. It plans nothing; the engine does.

use std::sync::Arc;

use crate::sources::{Table, ViewText};
use crate::types::TableName;

/// `catalog/datasets/<schema>.<name>.sql`, first line `-- owner: NAME`, perhaps `-- max_staleness: AGE` in a comment below; or
/// a view that a source keeps.
#[derive(Debug, Clone)]
pub struct Dataset {
    pub name: TableName,
    pub owner: String,
    pub sql: String,
    /// How far what is read through it may be behind; `None`: it does not say.
    pub max_staleness_ms: Option<i64>,
    /// Path for messages to administrators.
    pub file: String,
    /// The view of a source that it is, as the source gave it.
    pub kept: Option<Arc<dyn Table>>,
}

impl Dataset {
    /// `None` for what is no view.
    pub fn of_view(table: &Arc<dyn Table>, file: &str) -> Option<Self> {
        let view = table.view()?;
        let kept = Some(Arc::clone(table));
        let (name, owner, sql) = (table.name().clone(), view.owner.clone(), view.sql.clone());
        Some(Self { name, owner, sql, max_staleness_ms: None, file: file.to_string(), kept })
    }

    pub fn view(&self) -> Option<&ViewText> {
        self.kept.as_ref().and_then(|table| table.view())
    }
}
