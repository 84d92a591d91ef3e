//! Parts of a plan that several of its places read, run once (`sql/lower/once.rs` says which). The place that is asked
//! first runs the part; the rows stay for the others until the statement ends, on disk where there is no memory for them.
//! It opens no table and judges nothing: a part was guarded at each of its places.

mod rows;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Statistics;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_expr::OrderingRequirements;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PhysicalExpr, PlanProperties,
};
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

use self::rows::Rows;
use crate::error::Error;
use crate::sql::lower::{Mark, Once};

/// DataFusion's planner, which knows such places.
#[derive(Debug)]
pub(super) struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(Places)]);
        planner.create_physical_plan(plan, session).await
    }
}

struct Places;

#[async_trait]
impl ExtensionPlanner for Places {
    async fn plan_extension(
        &self,
        _: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        _: &dyn Session,
        _: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let (Some(once), [input]) = (Once::of(node), inputs) else { return Ok(None) };
        Ok(Some(Arc::new(OnceExec::new(once.mark().clone(), Arc::clone(input)))))
    }
}

/// The same plan, in which places of one mark have one plan below them and one store of its rows. A place that is alone is
/// that plan itself.
pub(super) fn together(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let mut places: HashMap<Mark, usize> = HashMap::new();
    plan.apply(|node| {
        if let Some(once) = node.downcast_ref::<OnceExec>() {
            *places.entry(once.mark.clone()).or_default() += 1;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    if places.is_empty() {
        return Ok(plan);
    }
    let mut first: HashMap<Mark, (Arc<dyn ExecutionPlan>, Arc<Rows>)> = HashMap::new();
    let plan = plan.transform_up(|node| {
        let Some(once) = node.downcast_ref::<OnceExec>() else { return Ok(Transformed::no(node)) };
        if places.get(&once.mark).is_none_or(|places| *places == 1) {
            return Ok(Transformed::yes(Arc::clone(&once.input)));
        }
        let (input, rows) = match first.get(&once.mark) {
            Some((input, rows)) => (Arc::clone(input), Arc::clone(rows)),
            None => {
                let rows = Arc::new(Rows::new(&once.input));
                first.insert(once.mark.clone(), (Arc::clone(&once.input), Arc::clone(&rows)));
                (Arc::clone(&once.input), rows)
            }
        };
        if !rows.are_of(&once.input) {
            return Err(Error::internal(format!("places of {} are not one", once.mark.name())).into());
        }
        let place = OnceExec { rows: Some(rows), ..OnceExec::new(once.mark.clone(), input) };
        Ok(Transformed::yes(Arc::new(place) as Arc<dyn ExecutionPlan>))
    })?;
    Ok(plan.data)
}

/// One place.
pub(super) struct OnceExec {
    mark: Mark,
    input: Arc<dyn ExecutionPlan>,
    /// Until they are put together, each place is by itself.
    rows: Option<Arc<Rows>>,
    metrics: ExecutionPlanMetricsSet,
}

impl OnceExec {
    fn new(mark: Mark, input: Arc<dyn ExecutionPlan>) -> Self {
        Self { mark, input, rows: None, metrics: ExecutionPlanMetricsSet::new() }
    }

    pub(super) fn mark(&self) -> &Mark {
        &self.mark
    }
}

impl fmt::Debug for OnceExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceExec").field("mark", &self.mark).finish_non_exhaustive()
    }
}

impl DisplayAs for OnceExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "OnceExec: {}", self.mark.name())
    }
}

impl ExecutionPlan for OnceExec {
    fn name(&self) -> &str {
        "OnceExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    /// It does; but whoever is told so sorts below what is to be sorted above, at one place otherwise than at another.
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false]
    }

    /// The order that the part has by itself stays, though nobody above may ask for it.
    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![self.input.output_ordering().cloned().map(OrderingRequirements::from)]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        match inputs {
            [input] => Ok(Arc::clone(input)),
            _ => Ok(Arc::new(Statistics::new_unknown(&self.schema()))),
        }
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| DataFusionError::Internal("a plan node lost its child".into()))?;
        Ok(Arc::new(Self { rows: self.rows.clone(), ..Self::new(self.mark.clone(), input) }))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        match &self.rows {
            None => self.input.execute(partition, context),
            Some(rows) => {
                let input = || self.input.execute(partition, Arc::clone(&context));
                rows.read(partition, input, &context, BaselineMetrics::new(&self.metrics, partition))
            }
        }
    }
}
