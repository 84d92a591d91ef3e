//! Rows → the same rows in the table's default sort order, in bounded memory: what does not fit is sorted in pieces on disk.
//! Orders by anything but whole columns are left to whoever knows them: such rows stay as they came.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use iceberg::spec::{NullOrder, SortDirection, TableMetadata, Transform};

use super::super::{Table, field_id};
use crate::error::Result;

/// What one statement's rows may hold before they go to disk.
const MEMORY_BYTES: usize = 256 << 20;

/// The table's order over these columns; `None` where rows stay as they come.
pub(super) fn order(table: &Table, columns: &SchemaRef) -> Option<LexOrdering> {
    let fields = &sort_order(&table.metadata)?.fields;
    let expressions = fields.iter().map(|field| {
        let at = columns.fields().iter().position(|c| field_id(c) == Some(field.source_id))?;
        let is_whole = field.transform == Transform::Identity && !columns.field(at).data_type().is_nested();
        let options = SortOptions {
            descending: field.direction == SortDirection::Descending,
            nulls_first: field.null_order == NullOrder::First,
        };
        let column = Arc::new(Column::new(columns.field(at).name(), at));
        is_whole.then(|| PhysicalSortExpr::new(column, options))
    });
    LexOrdering::new(expressions.collect::<Option<Vec<_>>>()?)
}

/// What files that are written in it say of their order.
pub(super) fn order_id(metadata: &TableMetadata) -> Option<i32> {
    sort_order(metadata).and_then(|order| i32::try_from(order.order_id).ok())
}

fn sort_order(metadata: &TableMetadata) -> Option<&iceberg::spec::SortOrderRef> {
    Some(metadata.default_sort_order()).filter(|order| !order.is_unsorted())
}

pub(super) fn sorted(rows: SendableRecordBatchStream, order: LexOrdering) -> Result<SendableRecordBatchStream> {
    let schema = rows.schema();
    let once = Arc::new(Once { schema: Arc::clone(&schema), rows: Mutex::new(Some(rows)) });
    let source = StreamingTableExec::try_new(schema, vec![once], None, vec![], false, None)?;
    let sort: Arc<dyn ExecutionPlan> = Arc::new(SortExec::new(order, Arc::new(source)));
    let runtime = RuntimeEnvBuilder::new().with_memory_limit(MEMORY_BYTES, 1.0).build_arc()?;
    Ok(execute_stream(sort, Arc::new(TaskContext::default().with_runtime(runtime)))?)
}

/// A stream as a leaf of a plan that is run once.
struct Once {
    schema: SchemaRef,
    rows: Mutex<Option<SendableRecordBatchStream>>,
}

impl PartitionStream for Once {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner).take();
        let nothing = || RecordBatchStreamAdapter::new(Arc::clone(&self.schema), futures::stream::empty());
        rows.unwrap_or_else(|| Box::pin(nothing()))
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rows")
    }
}
