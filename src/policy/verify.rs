//! The walk over the physical plan before anything runs: the second path to the same property. Every leaf is under a
//! barrier whose policy filter is really there, or reads only what is granted in full, or is a constant.

use std::any::Any;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::split_conjunction;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;

use super::barrier::BarrierExec;
use super::guard::Free;
use crate::error::Error;

/// Fails with XX000 (and an ERROR log by the caller) where a leaf is neither guarded nor free. Scalar subqueries are
/// children of their node, so nothing hides in expressions.
pub(crate) fn verify(plan: &Arc<dyn ExecutionPlan>, free: &[Free]) -> Result<()> {
    plan.apply(|node| {
        // `is::<T>()` of ExecutionPlan follows `downcast_delegate`; ask the concrete type instead
        if let Some(barrier) = (node.as_ref() as &dyn Any).downcast_ref::<BarrierExec>() {
            check_barrier(barrier)?;
            return Ok(if barrier.proof().body { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Jump });
        }
        if node.children().is_empty() && !is_constant(node.as_ref()) && !free.iter().any(|f| f.reads(node.as_ref())) {
            return Err(Error::internal(format!("raw leaf {} outside a barrier", node.name())).into());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn check_barrier(barrier: &BarrierExec) -> Result<()> {
    let mut found = vec![];
    barrier.inner().apply(|node| {
        if let Some(filter) = node.downcast_ref::<FilterExec>() {
            found.extend(split_conjunction(filter.predicate()).into_iter().map(by_name));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    match barrier.proof().filter.iter().find(|want| !found.contains(want)) {
        Some(_) => {
            Err(Error::internal(format!("policy filter missing below the barrier of {}", barrier.proof().table)).into())
        }
        None => Ok(()),
    }
}

/// VALUES, system relations, generate_series and the work table of a recursive CTE. A memory *table* never stands bare:
/// `guard` opens those under a barrier even for a full grant.
fn is_constant(leaf: &dyn ExecutionPlan) -> bool {
    match leaf.name() {
        "PlaceholderRowExec" | "EmptyExec" | "WorkTableExec" | "LazyMemoryExec" => true,
        "DataSourceExec" => leaf
            .downcast_ref::<DataSourceExec>()
            .is_some_and(|d| (d.data_source().as_ref() as &dyn Any).is::<MemorySourceConfig>()),
        _ => false,
    }
}

/// An expression with its columns by name: push-down renumbers them.
pub(crate) fn by_name(expr: &Arc<dyn PhysicalExpr>) -> String {
    let renamed = Arc::clone(expr).transform_up(|e| match e.downcast_ref::<Column>() {
        Some(c) => Ok(Transformed::yes(Arc::new(Column::new(c.name(), 0)) as Arc<dyn PhysicalExpr>)),
        None => Ok(Transformed::no(e)),
    });
    renamed.map(|t| t.data.to_string()).unwrap_or_default()
}
