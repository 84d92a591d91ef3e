//! `ORDER BY _offset DESC LIMIT n` reads the ends of a topic alone. The optimizer offers an order to a scan before it says
//! how many rows are wanted: this node stands between the two moments, and is the plain sort where nobody says.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as PlanResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr};
use datafusion::physical_plan::execution_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};

use super::scan::KafkaExec;
use crate::error::Error;

#[derive(Debug)]
pub(super) struct TailExec {
    order: LexOrdering,
    scan: KafkaExec,
    sort: Arc<SortExec>,
}

impl TailExec {
    /// `order`: by offset, the last first; other keys behind it do not matter to which records are wanted at least.
    pub(super) fn new(order: LexOrdering, scan: KafkaExec) -> Self {
        let sort = Arc::new(SortExec::new(order.clone(), Arc::new(scan.clone())));
        Self { order, scan, sort }
    }
}

impl DisplayAs for TailExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "TailExec: order={}", self.order)
    }
}

impl ExecutionPlan for TailExec {
    fn name(&self) -> &str {
        "TailExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.sort.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.sort.children()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> PlanResult<TreeNodeRecursion>,
    ) -> PlanResult<TreeNodeRecursion> {
        self.sort.apply_expressions(f)
    }

    /// Over anything else it is the sort.
    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let child = children.into_iter().next().ok_or_else(|| Error::internal("a sort of nothing"))?;
        Ok(Arc::new(SortExec::new(self.order.clone(), child)))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> PlanResult<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::default())
    }

    /// So many rows: of each partition its last ones, and of those again the last.
    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        let scan: Arc<dyn ExecutionPlan> = Arc::new(self.scan.last(limit?));
        Some(Arc::new(SortExec::new(self.order.clone(), scan).with_fetch(limit)))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> PlanResult<SendableRecordBatchStream> {
        self.sort.execute(partition, context)
    }
}
