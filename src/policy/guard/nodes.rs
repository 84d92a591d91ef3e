//! The nodes of a plan: which a query of ours may hold, and walks that miss none. It opens nothing.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::DefaultTableSource;
use datafusion::logical_expr::logical_plan::TableScan;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::{BodyTable, Opened, Sealed};
use crate::error::{Error, Result};
use crate::sql::lower;

/// The plan nodes a query of ours may hold; a node of a kind we do not know may hide a plan in a field.
pub(super) fn allowed(node: LogicalPlan) -> Result<LogicalPlan> {
    match node {
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Values(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::RecursiveQuery(_)
        | LogicalPlan::TableScan(_) => {
            node.apply_expressions(|e| {
                if hides_a_plan(e) {
                    return Err(Error::internal("a query inside a function").into());
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
            match &node {
                LogicalPlan::TableScan(scan)
                    if series(scan).is_some_and(|series| series.arguments().iter().any(reads)) =>
                {
                    Err(Error::internal("a query inside a function"))
                }
                _ => Ok(node),
            }
        }
        // all that it holds is the plan below it
        LogicalPlan::Extension(ref other) if lower::Once::of(other.node.as_ref()).is_some() => Ok(node),
        LogicalPlan::Repartition(_)
        | LogicalPlan::Statement(_)
        | LogicalPlan::Explain(_)
        | LogicalPlan::Analyze(_)
        | LogicalPlan::Extension(_)
        | LogicalPlan::Dml(_)
        | LogicalPlan::Ddl(_)
        | LogicalPlan::Copy(_)
        | LogicalPlan::DescribeTable(_) => {
            Err(Error::internal(format!("plan node {} is not on the list", node.display())))
        }
    }
}

/// A function that computes an expression by itself keeps it where no walk over a plan comes: that one reads no table.
fn hides_a_plan(expr: &Expr) -> bool {
    let hides = |e: &Expr| {
        let Expr::ScalarFunction(call) = e else { return Ok(false) };
        Ok(lower::computed_inside(&call.func).is_some_and(reads))
    };
    expr.exists(hides).unwrap_or(true)
}

/// A query stands in it, or hides there.
fn reads(expr: &Expr) -> bool {
    let is_query = |e: &Expr| {
        Ok(matches!(e, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_)))
    };
    expr.exists(is_query).unwrap_or(true) || hides_a_plan(expr)
}

/// The work table of a recursive CTE and generate_series: what the planner itself makes.
pub(super) fn is_planner_made(scan: &TableScan) -> bool {
    let work_table = scan
        .source
        .downcast_ref::<DefaultTableSource>()
        .is_some_and(|source| source.table_provider.is::<datafusion::datasource::cte_worktable::CteWorkTable>());
    work_table || series(scan).is_some()
}

/// Its arguments stand in the table, where no walk over a plan comes.
fn series(scan: &TableScan) -> Option<&lower::SeriesTable> {
    scan.source.downcast_ref::<DefaultTableSource>()?.table_provider.downcast_ref()
}

pub(super) fn count_sealed(plan: &LogicalPlan) -> Result<usize> {
    let mut sealed = 0;
    each_node(plan, &mut |node| {
        if let LogicalPlan::TableScan(scan) = node
            && scan.source.is::<Sealed>()
        {
            sealed += 1;
        }
    })?;
    Ok(sealed)
}

/// Subqueries and the bodies behind a dataset's barrier included.
pub(super) fn each_node(plan: &LogicalPlan, visit: &mut dyn FnMut(&LogicalPlan)) -> Result<()> {
    let mut bodies = vec![plan.clone()];
    while let Some(plan) = bodies.pop() {
        plan.apply_with_subqueries(|node| {
            visit(node);
            bodies.extend(body_of(node).cloned());
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(())
}

/// What stands below a dataset's barrier.
fn body_of(node: &LogicalPlan) -> Option<&LogicalPlan> {
    let LogicalPlan::TableScan(scan) = node else { return None };
    let provider = &scan.source.downcast_ref::<DefaultTableSource>()?.table_provider;
    Some(provider.downcast_ref::<Opened>()?.raw.downcast_ref::<BodyTable>()?.plan())
}

/// VALUES, a row of constants, or what a set-returning function makes.
pub(super) fn has_rows_of_its_own(body: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    each_node(body, &mut |node| {
        found |= match node {
            LogicalPlan::Values(_) => true,
            LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
            LogicalPlan::Unnest(_) => true,
            LogicalPlan::TableScan(scan) => series(scan).is_some(),
            _ => false,
        };
    })?;
    Ok(found)
}
