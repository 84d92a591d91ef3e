//! Oids of what a session sees, and where it stands: made once for a sight, when it is first asked for.

use std::collections::HashMap;

use super::{VisibleTable, row_type};
use crate::types::TableName;

/// Where in a view's tables what has an oid stands; a key or an index by its place in its table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    pub(super) tables: HashMap<u32, usize>,
    pub(super) types: HashMap<u32, (usize, bool)>,
    pub(super) indexes: HashMap<u32, (usize, usize)>,
    pub(super) index_names: HashMap<TableName, u32>,
    pub(super) constraints: HashMap<u32, (usize, usize)>,
}

impl Places {
    pub(super) fn of(tables: &[VisibleTable]) -> Self {
        let mut places = Self::default();
        for (at, table) in tables.iter().enumerate() {
            places.tables.insert(table.oid, at);
            let (row, array) = row_type(table.oid);
            places.types.extend([(row, (at, false)), (array, (at, true))]);
            let indexes = table.declared.indexes.iter().enumerate();
            places.indexes.extend(indexes.map(|(i, index)| (index.oid, (at, i))));
            places.index_names.extend(table.declared.indexes.iter().map(|index| (index.name.clone(), index.oid)));
            let keys = table.declared.constraints.iter().enumerate();
            places.constraints.extend(keys.map(|(i, key)| (key.oid, (at, i))));
        }
        places
    }
}
