//! The rows of a tail that came beside its snapshot, as a leaf of a plan. It is a node of its own and no table in memory: the
//! walk over a physical plan must tell such rows from constants, which stand without a barrier. It filters nothing.

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};

use super::super::tail::{Hot, Tail};
use crate::error::Error;
use crate::scan::leaf_properties;

/// These columns of the rows that came.
#[derive(Debug)]
pub(super) struct HotExec {
    tail: Arc<Tail>,
    wanted: Vec<usize>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl HotExec {
    pub(super) fn new(tail: Arc<Tail>, wanted: Vec<usize>, schema: SchemaRef) -> Self {
        let properties = leaf_properties(&schema, 1);
        Self { tail, wanted, schema, properties }
    }

    pub(super) fn is_of(&self, tail: &Tail) -> bool {
        self.tail.number == tail.number && self.tail.table.uuid() == tail.table.uuid()
    }
}

/// As the scans of the snapshot have their columns, so many rows at once at most.
fn pieces(hot: &Hot, wanted: &[usize], schema: &SchemaRef, most: usize) -> Result<Vec<RecordBatch>> {
    let live = hot.live(wanted)?;
    let options = RecordBatchOptions::new().with_row_count(Some(live.num_rows()));
    let made = RecordBatch::try_new_with_options(Arc::clone(schema), live.columns().to_vec(), &options);
    let rows = made.map_err(|e| Error::internal("rows of a tail that do not fit its table").with_source(e))?;
    let starts = (0..rows.num_rows()).step_by(most.max(1));
    Ok(starts.map(|from| rows.slice(from, most.min(rows.num_rows() - from))).collect())
}

impl DisplayAs for HotExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("LakeHotExec")
    }
}

impl ExecutionPlan for HotExec {
    fn name(&self) -> &str {
        "LakeHotExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let most = context.session_config().batch_size();
        let (tail, wanted, schema) = (Arc::clone(&self.tail), self.wanted.clone(), Arc::clone(&self.schema));
        // One after the other: what is dropped of each is left out when it is its turn.
        let pieces = (0..tail.hot.len()).flat_map(move |number| {
            let made = tail.hot.get(number).map_or_else(|| Ok(vec![]), |hot| pieces(hot, &wanted, &schema, most));
            made.map_or_else(|error| vec![Err(error)], |pieces| pieces.into_iter().map(Ok).collect())
        });
        let pieces = futures::stream::iter(pieces);
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), pieces)))
    }
}
