//! The walk over the physical plan before anything runs: the second path to the same property. Every leaf is under a
//! barrier whose policy filter is really there, or reads only what is granted in full, or is a constant; and what is read
//! through a dataset by somebody without a right to all of it is under that dataset's barrier.

use std::any::Any;
use std::collections::BTreeSet;
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

use super::barrier::{BarrierExec, Below};
use super::guard::Free;
use crate::error::Error;
use crate::types::Share;

/// Fails with XX000 (and an ERROR log by the caller) where a leaf is neither guarded nor free. Scalar subqueries are
/// children of their node, so nothing hides in expressions.
pub(crate) fn verify(plan: &Arc<dyn ExecutionPlan>, free: &[Free]) -> Result<()> {
    walk(plan, free, &[])
}

/// `datasets`: those whose barriers stand above `node`.
fn walk(node: &Arc<dyn ExecutionPlan>, free: &[Free], datasets: &[&str]) -> Result<()> {
    let below = |datasets: &[&str]| node.children().into_iter().try_for_each(|child| walk(child, free, datasets));
    if let Some(barrier) = barrier(node) {
        check_barrier(barrier)?;
        let name = barrier.proof().table.as_str();
        return match &barrier.proof().below {
            Below::Table { behind } if are_among(behind, datasets) => Ok(()),
            Below::Table { .. } => Err(unprotected(name)),
            Below::Body => below(&[datasets, &[name]].concat()),
            Below::Fence => below(datasets),
        };
    }
    if node.children().is_empty() && !is_constant(node.as_ref()) {
        let known: Vec<(&Free, Share)> = free.iter().filter_map(|f| Some((f, f.reads(node.as_ref())?))).collect();
        if !is_whole(known.iter().map(|(_, share)| *share)) {
            return Err(Error::internal(format!("raw leaf {} outside a barrier", node.name())).into());
        }
        if !is_whole(known.iter().filter(|(f, _)| are_among(&f.behind, datasets)).map(|(_, share)| *share)) {
            return Err(unprotected(node.name()));
        }
    }
    below(datasets)
}

/// Every table that the leaf reads is among them.
fn is_whole(shares: impl Iterator<Item = Share>) -> bool {
    let (mut found, mut of) = (BTreeSet::new(), 1);
    for share in shares {
        found.insert(share.nth);
        of = of.max(share.of);
    }
    found.len() == of
}

fn are_among(behind: &[String], datasets: &[&str]) -> bool {
    behind.iter().all(|dataset| datasets.contains(&dataset.as_str()))
}

fn unprotected(what: &str) -> datafusion::error::DataFusionError {
    Error::internal(format!("{what} is not below the barrier of the dataset it is read through")).into()
}

/// `is::<T>()` of ExecutionPlan follows `downcast_delegate`; the concrete type is asked instead.
pub(crate) fn barrier(node: &Arc<dyn ExecutionPlan>) -> Option<&BarrierExec> {
    (node.as_ref() as &dyn Any).downcast_ref::<BarrierExec>()
}

/// The policy's conjuncts stand below it, and above whatever barrier comes next.
fn check_barrier(above: &BarrierExec) -> Result<()> {
    let mut found = vec![];
    above.inner().apply(|node| {
        if barrier(node).is_some() {
            return Ok(TreeNodeRecursion::Jump);
        }
        if let Some(filter) = node.downcast_ref::<FilterExec>() {
            found.extend(split_conjunction(filter.predicate()).into_iter().map(by_name));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    match above.proof().filter.iter().find(|want| !found.contains(want)) {
        Some(_) => {
            Err(Error::internal(format!("policy filter missing below the barrier of {}", above.proof().table)).into())
        }
        None => Ok(()),
    }
}

/// VALUES, system relations, generate_series and the work table of a recursive CTE. A memory *table* never stands bare:
/// `guard` opens those under a barrier even for a full grant.
fn is_constant(leaf: &dyn ExecutionPlan) -> bool {
    match leaf.name() {
        "PlaceholderRowExec" | "EmptyExec" | "WorkTableExec" => true,
        "SeriesExec" => (leaf as &dyn Any).is::<crate::sql::lower::SeriesExec>(),
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
