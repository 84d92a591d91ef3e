//! An array coercion: each element through an expression of its own, which was lowered over one column.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::DFSchema;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::create_physical_expr;

use super::special::Input;
use crate::error::{Error, Result};

/// `expr` reads the column of that name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Each {
    pub(super) column: String,
    pub(super) expr: Expr,
}

impl Each {
    pub(super) fn compute(&self, input: &Input<'_>) -> Result<ArrayRef> {
        self.lists(&input.full(0)?, input.result.data_type(), input)
    }

    fn lists(&self, array: &ArrayRef, to: &DataType, input: &Input<'_>) -> Result<ArrayRef> {
        let DataType::List(item) = to else { return Err(Error::internal(format!("elements as {to}"))) };
        let wrong = || Error::internal(format!("elements of {}", array.data_type()));
        let list: &ListArray = array.as_list_opt().ok_or_else(wrong)?;
        // below a NULL list anything may lie
        let used: Vec<ArrayRef> =
            (0..list.len()).filter(|row| list.is_valid(*row)).map(|row| list.value(row)).collect();
        let lengths = (0..list.len()).map(|row| match list.is_valid(row) {
            true => usize::try_from(list.value_length(row)).unwrap_or(0),
            false => 0,
        });
        let offsets = arrow::buffer::OffsetBuffer::from_lengths(lengths);
        let parts: Vec<&dyn Array> = used.iter().map(AsRef::as_ref).collect();
        let values = match parts.is_empty() {
            true => arrow::array::new_empty_array(list.values().data_type()),
            false => arrow::compute::concat(&parts)?,
        };
        let values = match values.data_type() {
            DataType::List(_) => self.lists(&values, item.data_type(), input)?,
            _ => self.values(values, input)?,
        };
        let values = if values.data_type() == item.data_type() {
            values
        } else {
            arrow::compute::cast(&values, item.data_type())?
        };
        Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, list.nulls().cloned())?))
    }

    fn values(&self, values: ArrayRef, input: &Input<'_>) -> Result<ArrayRef> {
        let schema = Arc::new(Schema::new(vec![Field::new(&self.column, values.data_type().clone(), true)]));
        let rows = values.len();
        let named = DFSchema::try_from(Arc::clone(&schema))?;
        let mut props = ExecutionProps::new();
        props.config_options = Some(Arc::clone(input.options));
        let expr = create_physical_expr(&self.expr, &named, &props, &Default::default())?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(schema, vec![values], &options)?;
        Ok(expr.evaluate(&batch)?.into_array(rows)?)
    }
}
