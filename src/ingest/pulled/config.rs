//! What a pipeline's file says of a table that is read, and how it is read by that. It reads none.

use serde::Deserialize;

use super::Every;
use crate::types::TableName;

/// `[table]` of a pipeline's file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `schema.table`, as lakegate's users name it.
    pub name: String,
    /// The table's name in the target; the same where nothing is said.
    pub to: Option<String>,
    /// A column that only grows: rows that came since have a higher value.
    pub cursor: Option<String>,
    /// What tells rows apart; the table's own primary key where nothing is said.
    #[serde(default)]
    pub key_columns: Vec<String>,
    #[serde(default)]
    pub null_cursors: NullCursors,
    /// As [`Every::read`] takes it.
    pub every: String,
}

/// What becomes of rows without a value in the cursor's column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NullCursors {
    /// Nothing is taken in while there are any.
    #[default]
    Stop,
    /// They stay away, and the log says how many there are.
    LeaveOut,
}

impl Config {
    /// The name in two parts.
    pub(crate) fn table(&self) -> Option<TableName> {
        let (schema, table) = self.name.split_once('.')?;
        (!schema.is_empty() && !table.is_empty()).then(|| TableName::new(schema, table))
    }
}

/// How the table is read.
#[derive(Clone, Debug)]
pub enum How {
    /// All of it, each time.
    Whole,
    /// What came since, by a column.
    Since { cursor: String, null_cursors: NullCursors },
}

/// What is read, and when.
#[derive(Clone, Debug)]
pub struct Pull {
    pub table: TableName,
    /// Where its name stands in the pipeline's file: line and column.
    pub at: (u32, u32),
    pub target: String,
    pub how: How,
    pub key_columns: Vec<String>,
    /// Rows take the places of those of their key.
    pub replaces: bool,
    pub every: Every,
}
