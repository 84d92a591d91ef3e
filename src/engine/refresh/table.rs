//! What is stored of a reflection, and what has gone from it, as tables of a world that lasts for one refresh, so that a query
//! can read them together with what came since. No other world has them.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::datasource::MemTable;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;

use crate::catalog::{Body, Entry};
use crate::error::Result;
use crate::policy::{Object, ObjectKind};
use crate::sources::iceberg::Unnamed;
use crate::sources::{Pinned, Table};
use crate::types::{ObjectId, Share, TableName, Version};

pub(super) struct Beside {
    name: TableName,
    schema: SchemaRef,
    pinned: Pinned,
}

impl Beside {
    pub(super) async fn stored(name: TableName, of: &Unnamed) -> Result<Self> {
        Ok(Self { name, schema: of.schema(), pinned: of.pinned().await? })
    }

    pub(super) fn rows(name: TableName, schema: SchemaRef, rows: Vec<RecordBatch>) -> Result<Self> {
        let provider = Arc::new(MemTable::try_new(Arc::clone(&schema), vec![rows])?);
        let is_memory = |leaf: &dyn ExecutionPlan| {
            let source = leaf.downcast_ref::<DataSourceExec>()?;
            (source.data_source().as_ref() as &dyn Any).is::<MemorySourceConfig>().then_some(Share::WHOLE)
        };
        let pinned = Pinned { version: Version::Live, reads: Arc::new(is_memory), provider };
        Ok(Self { name, schema, pinned })
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

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beside").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl Table for Beside {
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
