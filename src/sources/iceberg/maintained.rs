//! A lake for those who keep its tables in order, and what its tables are called here.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::lake::{Lake, TableKey, TableRow};
use crate::types::TableName;

/// A source's lake. Whoever has it has asked for the right to what he does with it.
#[derive(Clone, Debug)]
pub struct Maintained {
    pub lake: Arc<Lake>,
    /// Namespace → schema, where they differ.
    pub(super) schemas: BTreeMap<String, String>,
}

impl Maintained {
    pub fn name(&self, row: &TableRow) -> TableName {
        let schema = self.schemas.get(&row.namespace).unwrap_or(&row.namespace);
        TableName::new(schema, &row.name)
    }

    pub fn key(&self, name: &TableName) -> TableKey {
        let renamed = self.schemas.iter().find(|(_, mounted)| **mounted == name.schema).map(|(namespace, _)| namespace);
        self.lake.key(renamed.unwrap_or(&name.schema), &name.table)
    }
}
