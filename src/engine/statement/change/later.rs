//! The rows that a source has changed, as what RETURNING's query reads: there between the change and that query, and nobody
//! else's. What of them its session may see is settled where the statement is bound.

use std::sync::{Arc, Mutex, MutexGuard};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::TableSource;

use crate::error::Result;
use crate::policy::{OwnRows, Sealed};
use crate::sql::bind;
use crate::types::TableName;

#[derive(Debug)]
pub(crate) struct Later {
    name: TableName,
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    /// Of the query that was bound; none without RETURNING.
    schema: Option<SchemaRef>,
    batches: Vec<RecordBatch>,
}

impl Later {
    pub(super) fn of(name: &TableName) -> Self {
        Self { name: name.clone(), rows: Mutex::default() }
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().expect("no panic under the lock")
    }

    pub(super) fn schema(&self) -> Option<SchemaRef> {
        self.rows().schema.clone()
    }

    /// In the place of those that were there.
    pub(super) fn put(&self, batches: Vec<RecordBatch>) {
        self.rows().batches = batches;
    }
}

impl bind::Later for Later {
    fn of(self: Arc<Self>, schema: SchemaRef) -> Arc<dyn TableSource> {
        self.rows().schema = Some(Arc::clone(&schema));
        Sealed::own(self.name.clone(), schema, self)
    }
}

impl OwnRows for Later {
    fn batches(&self) -> Result<Vec<RecordBatch>> {
        Ok(self.rows().batches.clone())
    }
}
