//! WITH CHECK: rows that come into a table must pass the row filter of whoever writes them, or they would write what they
//! could never have read. It judges rows as the table will hold them; which of them come is not its business.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use datafusion::catalog::Session;
use datafusion::common::DFSchema;
use datafusion::physical_expr::PhysicalExpr;

use super::{Grant, Object};
use crate::error::{Error, Kind, Result};

/// The row filter of a writer, over the table's raw columns.
#[derive(Debug)]
pub struct NewRows {
    filter: Arc<dyn PhysicalExpr>,
    /// What it reads.
    columns: Vec<String>,
    table: String,
}

impl NewRows {
    /// `None`: every row may come.
    pub fn of(grant: &Grant, object: &Object, session: &dyn Session) -> Result<Option<Self>> {
        let Some(filter) = &grant.filter else { return Ok(None) };
        let columns = DFSchema::try_from(object.schema.as_ref().clone())?;
        let read = filter.column_refs().into_iter().map(|column| column.name.clone()).collect();
        let filter = session.create_physical_expr(filter.clone(), &columns).map_err(Error::behind_guard)?;
        Ok(Some(Self { filter, columns: read, table: object.name.table.clone() }))
    }

    /// Whether it asks for one of these columns.
    pub fn reads_any(&self, columns: &[&str]) -> bool {
        self.columns.iter().any(|column| columns.contains(&column.as_str()))
    }

    /// 42501 where the filter is not true of one of these rows, whose columns are the table's.
    pub fn check(&self, rows: &RecordBatch) -> Result<()> {
        let passed = self.filter.evaluate(rows).and_then(|passed| passed.into_array(rows.num_rows()));
        let passed = passed.map_err(Error::behind_guard)?;
        let passed = passed.as_boolean_opt().ok_or_else(|| Error::internal("a row filter that is no condition"))?;
        if passed.null_count() == 0 && passed.true_count() == rows.num_rows() {
            return Ok(());
        }
        let text = format!("new row violates row-level security policy for table \"{}\"", self.table);
        Err(Error::new(Kind::PermissionDenied, text))
    }
}
