//! `"orders$snapshots"` and its kin: what a table's metadata say, as tables of its source. Each needs a policy line of its
//! own; their rows are put together when a statement reads one.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::datasource::MemTable;

use super::super::{Pinned, Table};
use super::columns::JSON_OID;
use super::{Inner, changed, identity};
use crate::error::Result;
use crate::formats::postgres::OID;
use crate::lake::{Inspected, TableKey};
use crate::types::{TableName, Version};

#[derive(Debug)]
pub(super) struct InspectedTable {
    source: Arc<Inner>,
    name: TableName,
    of: TableKey,
    uuid: uuid::Uuid,
    what: Inspected,
    schema: SchemaRef,
}

impl InspectedTable {
    pub(super) fn new(source: &Arc<Inner>, of: (&TableName, &TableKey), uuid: uuid::Uuid, what: Inspected) -> Self {
        let (table, key) = of;
        let name = TableName::new(&table.schema, format!("{}${}", table.table, what.name()));
        let schema = shown(what);
        Self { source: Arc::clone(source), name, of: key.clone(), uuid, what, schema }
    }
}

fn shown(what: Inspected) -> SchemaRef {
    let json = what.json_columns();
    let field = |field: &Arc<Field>| {
        let metadata: HashMap<String, String> = match json.contains(&field.name().as_str()) {
            true => [(OID.to_string(), JSON_OID.to_string())].into(),
            false => HashMap::new(),
        };
        field.as_ref().clone().with_metadata(metadata)
    };
    Arc::new(Schema::new(what.schema().fields().iter().map(field).collect::<Vec<_>>()))
}

#[async_trait]
impl Table for InspectedTable {
    fn name(&self) -> &TableName {
        &self.name
    }

    fn identity(&self) -> String {
        format!("{}${}", identity(self.uuid), self.what.name())
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn tells_values(&self) -> bool {
        self.what.tells_values()
    }

    async fn pin(&self) -> Result<Pinned> {
        let lake = &self.source.lake;
        let newest = lake.table(&self.of).await.map_err(|e| self.source.named(e))?;
        let newest = newest.filter(|t| t.uuid() == self.uuid).ok_or_else(changed)?;
        let batch = lake.inspect(&newest, self.what).await.map_err(|e| self.source.named(e))?;
        let batch = batch.with_schema(Arc::clone(&self.schema))?;
        let provider = Arc::new(MemTable::try_new(Arc::clone(&self.schema), vec![vec![batch]])?);
        // rows of memory stand behind a barrier whoever reads them, so that no leaf of theirs has to be known
        Ok(Pinned { version: Version::Live, provider, reads: Arc::new(|_| None) })
    }
}
