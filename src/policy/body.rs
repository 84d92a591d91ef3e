//! A dataset's guarded body as the table below the dataset's barrier, and which predicates may be moved into it. It
//! judges no right: `guard` hands it a body in which everything is opened already.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::logical_plan::{Distinct, Join, JoinType, Projection};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableProviderFilterPushDown as Push, TableType};
use datafusion::physical_expr::expressions::{Column as PhysicalColumn, cast};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

use super::barrier::{BarrierExec, Below, Proof};
use super::infallible::infallible;
use crate::scan::{Scanned, scan_by};

/// What [`super::open::Opened`] finds below a dataset: there it is what a raw table is below a table's policy.
#[derive(Debug)]
pub(in crate::policy) struct BodyTable {
    dataset: String,
    plan: LogicalPlan,
    schema: SchemaRef,
}

impl BodyTable {
    /// The columns of `plan` have names of their own, one each.
    pub(in crate::policy) fn new(dataset: String, plan: LogicalPlan) -> Self {
        let schema = Arc::new(plan.schema().as_arrow().clone());
        Self { dataset, plan, schema }
    }

    pub(in crate::policy) fn plan(&self) -> &LogicalPlan {
        &self.plan
    }

    /// Those of `filters` that change nothing but how many rows of the body are looked at. They are judged over the
    /// optimized body, where subqueries are joins and literals have the types of what they are compared with.
    fn movable(&self, state: &dyn Session, filters: &[Expr]) -> Result<Vec<Expr>> {
        if filters.is_empty() {
            return Ok(vec![]);
        }
        let body = state.optimize(&self.plan)?;
        let passes = |c: &&Column| self.schema.index_of(&c.name).is_ok_and(|at| passes(&body, at, false));
        Ok(filters.iter().filter(|f| f.column_refs().iter().all(&passes)).cloned().collect())
    }
}

impl TableProvider for BodyTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<Push>> {
        Ok(vec![Push::Inexact; filters.len()])
    }

    scan_by!(scanned);
}

impl BodyTable {
    fn scanned<'a>(
        &'a self,
        state: &'a dyn Session,
        projection: Option<&'a Vec<usize>>,
        filters: &'a [Expr],
        _limit: Option<usize>,
    ) -> Scanned<'a> {
        Box::pin(async move {
            let mut builder = LogicalPlanBuilder::from(self.plan.clone());
            if let Some(moved) = conjunction(self.movable(state, filters)?) {
                builder = builder.filter(moved)?;
            }
            if let Some(columns) = projection {
                builder = builder.select(columns.iter().copied())?;
            }
            let declared = match projection {
                Some(columns) => Arc::new(self.schema.project(columns)?),
                None => Arc::clone(&self.schema),
            };
            let plan = of_types(state.create_physical_plan(&builder.build()?).await?, &declared)?;
            if filters.is_empty() {
                return Ok(plan);
            }
            // the caller filters above; the physical push-down, which knows no list, must not take that below
            let schema = plan.schema();
            let proof = Proof { table: self.dataset.clone(), filter: vec![], below: Below::Fence };
            Ok(Arc::new(BarrierExec::new(plan, schema, proof)))
        })
    }
}

/// The physical planner may make another precision of a numeric than the body was declared with; who reads the body was
/// planned with that one.
fn of_types(plan: Arc<dyn ExecutionPlan>, declared: &SchemaRef) -> Result<Arc<dyn ExecutionPlan>> {
    let found = plan.schema();
    let same = found.fields().iter().zip(declared.fields()).all(|(a, b)| a.data_type() == b.data_type());
    if same {
        return Ok(plan);
    }
    let columns = declared.fields().iter().enumerate().map(|(at, field)| {
        let column = Arc::new(PhysicalColumn::new(found.field(at).name(), at));
        Ok(ProjectionExpr::new(cast(column, &found, field.data_type().clone())?, field.name()))
    });
    Ok(Arc::new(ProjectionExec::try_new(columns.collect::<Result<Vec<_>>>()?, plan)?))
}

/// A predicate on column `at` of `plan` may stand wherever the optimizer takes it. On the way its column becomes the
/// expression behind it, which must not raise an error on a row that the body would have dropped; nor may the body's own
/// expressions, since the predicate chooses the rows that they are evaluated on. `dropped`: something above drops rows.
fn passes(plan: &LogicalPlan, at: usize, dropped: bool) -> bool {
    match plan {
        LogicalPlan::Projection(node) => projection_passes(node, at, dropped),
        LogicalPlan::SubqueryAlias(node) => passes(&node.input, at, dropped),
        LogicalPlan::Sort(node) => node.fetch.is_none() && passes(&node.input, at, dropped),
        LogicalPlan::Filter(node) => infallible(&node.predicate, node.input.schema()) && passes(&node.input, at, true),
        LogicalPlan::Distinct(Distinct::All(input)) => passes(input, at, true),
        LogicalPlan::Aggregate(node) => {
            // a HAVING above drops groups, and an aggregate can overflow in one of those
            let safe = !dropped || node.aggr_expr.is_empty();
            // grouping sets are one expression, and no column's
            safe && node.group_expr.get(at).is_some_and(|key| columns_pass(key, &node.input, true))
        }
        LogicalPlan::Union(node) => node.inputs.iter().all(|input| {
            let as_shown = input.schema().field(at).data_type() == node.schema.field(at).data_type();
            as_shown && passes(input, at, dropped)
        }),
        LogicalPlan::Join(node) => join_passes(node, at),
        LogicalPlan::TableScan(node) => node.filters.iter().all(|f| infallible(f, &node.projected_schema)),
        // Above these it can stay where it is: `Opened` filters there.
        LogicalPlan::Window(_)
        | LogicalPlan::Distinct(Distinct::On(_))
        | LogicalPlan::Limit(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::Values(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::RecursiveQuery(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Extension(_)
        | LogicalPlan::Statement(_)
        | LogicalPlan::Explain(_)
        | LogicalPlan::Analyze(_)
        | LogicalPlan::Dml(_)
        | LogicalPlan::Ddl(_)
        | LogicalPlan::Copy(_)
        | LogicalPlan::DescribeTable(_) => false,
    }
}

fn projection_passes(node: &Projection, at: usize, dropped: bool) -> bool {
    let total = !dropped || node.expr.iter().all(|e| infallible(e, node.input.schema()));
    total && node.expr.get(at).is_some_and(|shown| columns_pass(shown, &node.input, dropped))
}

fn columns_pass(shown: &Expr, input: &LogicalPlan, dropped: bool) -> bool {
    let passes = |c: &Column| input.schema().maybe_index_of_column(c).is_some_and(|at| passes(input, at, dropped));
    infallible(shown, input.schema()) && shown.column_refs().iter().all(|c| passes(c))
}

/// Into the side that has the column, and, since what holds for one key of a join is inferred of the other, into both
/// sides where it is a key.
fn join_passes(node: &Join, at: usize) -> bool {
    let Ok(rows) = node.left.schema().join(node.right.schema()) else { return false };
    let mut conditions = node.on.iter().flat_map(|(l, r)| [l, r]).chain(&node.filter);
    let total = conditions.all(|e| infallible(e, &rows));
    let lefts = node.left.schema().fields().len();
    let from_left = match node.join_type {
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => at < lefts,
        JoinType::LeftSemi | JoinType::LeftAnti => true,
        JoinType::RightSemi | JoinType::RightAnti => false,
        // the mark is a column of neither side
        JoinType::LeftMark | JoinType::RightMark => return false,
    };
    let both = matches!(node.join_type, JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full);
    let at = if both && !from_left { at - lefts } else { at };
    let (own, other) = if from_left { (&node.left, &node.right) } else { (&node.right, &node.left) };
    let inferred = node.on.iter().all(|(l, r)| {
        let (ours, theirs) = if from_left { (l, r) } else { (r, l) };
        match (ours, theirs) {
            (Expr::Column(ours), Expr::Column(theirs)) if own.schema().maybe_index_of_column(ours) == Some(at) => {
                other.schema().maybe_index_of_column(theirs).is_some_and(|at| passes(other, at, true))
            }
            _ => true,
        }
    });
    total && inferred && passes(own, at, true)
}

#[cfg(test)]
mod tests;
