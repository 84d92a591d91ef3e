//! Where a pipeline's changes go, and under which names that is noted. It opens nothing.

use std::sync::Arc;

use super::dead::DEAD_LETTERS;
use crate::lake::{Lake, TableKey};
use crate::types::TableName;

/// What a change becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Write {
    /// A row each, with columns that say where it came from.
    #[default]
    Append,
    /// The rows of an origin that is read whole, all at once.
    Replace,
    /// The current rows, one a key.
    Upsert {
        /// A deleted row stays, marked so, instead of going.
        keeps_deleted: bool,
    },
}

/// Where changes go, and how.
#[derive(Clone, Debug)]
pub struct Target {
    pub pipeline: String,
    /// That describes it.
    pub file: String,
    pub lake: Arc<Lake>,
    pub namespace: String,
    /// Where the pipeline fills one table and no other.
    pub table: Option<String>,
    pub write: Write,
}

impl Target {
    pub fn key(&self, table: &str) -> TableKey {
        self.lake.key(&self.namespace, table)
    }

    pub fn dead_key(&self) -> TableKey {
        self.key(DEAD_LETTERS)
    }

    /// One holder a table, whatever its pipeline is called; of several tables, one a pipeline.
    pub fn lease_name(&self) -> String {
        let TableKey { catalog, namespace, name } = self.key(&self.filled());
        format!("{catalog}/{namespace}/{name}")
    }

    /// Under which the metastore keeps the place up to which every table is filled.
    pub(super) fn checkpoint_name(&self) -> String {
        format!("ingest.checkpoint.{}", self.lease_name())
    }

    /// The table, or the pipeline where there are several; no table is called so.
    pub(super) fn filled(&self) -> String {
        self.table.clone().unwrap_or_else(|| format!("*{}", self.pipeline))
    }

    pub(super) fn shown(&self, table: &str) -> TableName {
        TableName::new(&self.namespace, table)
    }

    /// What it fills, in errors and in lists.
    pub(super) fn whole(&self) -> String {
        match &self.table {
            Some(table) => format!("table {}", self.shown(table)),
            None => format!("schema {}", self.namespace),
        }
    }

    /// How a user names it beside its pipeline.
    pub(super) fn label(&self) -> String {
        self.table.as_ref().map_or_else(|| format!("{}.*", self.namespace), |table| self.shown(table).to_string())
    }
}
