//! What is stored of a reflection as a table of a world that lasts for one refresh, so that a query can read it together with
//! what came since. No other world has it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use crate::catalog::{Body, Entry};
use crate::error::Result;
use crate::policy::{Object, ObjectKind};
use crate::sources::iceberg::Unnamed;
use crate::sources::{Pinned, Table};
use crate::types::{ObjectId, TableName};

pub(super) struct StoredTable {
    name: TableName,
    schema: SchemaRef,
    pinned: Pinned,
}

impl StoredTable {
    pub(super) async fn new(name: TableName, of: &Unnamed) -> Result<Self> {
        Ok(Self { name, schema: of.schema(), pinned: of.pinned().await? })
    }

    pub(super) fn name(&self) -> &TableName {
        &self.name
    }

    pub(super) fn pinned(&self) -> &Pinned {
        &self.pinned
    }

    pub(super) fn entry(self) -> Entry {
        let object = Object {
            id: ObjectId::of(&self.identity()),
            name: self.name.clone(),
            schema: Arc::clone(&self.schema),
            column_ids: self.column_ids(),
            raw_columns: BTreeSet::new(),
            kind: ObjectKind::Table,
        };
        Entry { object: Arc::new(object), body: Body::Table(Arc::new(self)), oid: 0 }
    }
}

impl fmt::Debug for StoredTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredTable").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl Table for StoredTable {
    fn name(&self) -> &TableName {
        &self.name
    }

    fn identity(&self) -> String {
        format!("reflection:{}", self.name)
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn pin(&self) -> Result<Pinned> {
        Ok(self.pinned.clone())
    }
}
