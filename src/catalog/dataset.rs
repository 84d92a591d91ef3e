//! A named query as a table: text and owner. It plans nothing; the engine does.

use crate::types::TableName;

/// `catalog/datasets/<schema>.<name>.sql`, first line `-- owner: NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    pub name: TableName,
    pub owner: String,
    pub sql: String,
    /// Path for messages to administrators.
    pub file: String,
}
