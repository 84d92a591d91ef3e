//! A common table expression that several places read, which is computed once for all of them (PostgreSQL's queries.sgml,
//! "Common Table Expression Materialization"). Each place holds the whole plan under one mark, so that whoever walks a
//! plan, the guard above all, finds there what is read. It runs nothing: which place's plan is run, the engine decides.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchemaRef, TableReference};
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::source_as_provider;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::logical_plan::{Extension, SubqueryAlias, TableScan};
use datafusion::logical_expr::{
    Expr as Lowered, LogicalPlan, LogicalPlanBuilder, SortExpr, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};

use super::unnest::{duplicable, references};
use super::{Flow, Lower};
use crate::error::{Error, Result};
use crate::sql::query::{self, Cte};

/// The places that are one. A mark is equal to its clones and to no other.
#[derive(Clone)]
pub(crate) struct Mark(Arc<str>);

impl Mark {
    /// What the query calls it.
    pub(crate) fn name(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Mark {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Mark {}

impl Hash for Mark {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).cast::<u8>().hash(state);
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mark").field(&self.0).finish()
    }
}

/// One of the places. Nothing is pushed into it, or they would no longer be one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Once {
    mark: Mark,
    input: LogicalPlan,
}

impl Once {
    pub(crate) fn of(node: &dyn UserDefinedLogicalNode) -> Option<&Self> {
        node.as_any().downcast_ref()
    }

    #[cfg(test)]
    pub(crate) fn marked(name: &str, input: LogicalPlan) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(Self { mark: Mark(Arc::from(name)), input }) })
    }

    pub(crate) fn mark(&self) -> &Mark {
        &self.mark
    }

    pub(crate) fn input(&self) -> &LogicalPlan {
        &self.input
    }
}

impl PartialOrd for Once {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for Once {
    fn name(&self) -> &str {
        "Once"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Lowered> {
        vec![]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Once: {}", self.mark.name())
    }

    fn with_exprs_and_inputs(&self, _: Vec<Lowered>, inputs: Vec<LogicalPlan>) -> DataFusionResult<Self> {
        let Ok([input]) = <[LogicalPlan; 1]>::try_from(inputs) else {
            return Err(Error::internal("a common table expression is one plan").into());
        };
        // `push_down_filter` asks which columns stay above; a condition on none goes below any node, and makes this place
        // one by itself
        let is_apart = |filter: &LogicalPlan| match filter {
            LogicalPlan::Filter(filter) => {
                filter.predicate.column_refs().is_empty() && is_clone(&filter.input, &self.input)
            }
            _ => false,
        };
        let mark = if is_apart(&input) {
            duplicable(&self.input)?;
            Mark(Arc::from(self.mark.name()))
        } else {
            self.mark.clone()
        };
        Ok(Self { mark, input })
    }
}

/// The plan with marks of its own: opened by other rights, its places are not one with those that it was cloned from.
pub(crate) fn apart(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let mut marks: Vec<(Mark, Mark)> = vec![];
    let plan = plan.transform_down_with_subqueries(|node| {
        let LogicalPlan::Extension(Extension { node: once }) = &node else { return Ok(Transformed::no(node)) };
        let Some(once) = Once::of(once.as_ref()) else { return Ok(Transformed::no(node)) };
        let mark = match marks.iter().find(|(old, _)| old == &once.mark) {
            Some((_, new)) => new.clone(),
            None => {
                let new = Mark(Arc::from(once.mark.name()));
                marks.push((once.mark.clone(), new.clone()));
                new
            }
        };
        let once = Once { mark, input: once.input.clone() };
        Ok(Transformed::yes(LogicalPlan::Extension(Extension { node: Arc::new(once) })))
    })?;
    Ok(plan.data)
}

/// What was lowered for the first place, for the next ones.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    plan: LogicalPlan,
    /// The columns that are read anywhere: their places among the expression's, and their names in `plan`.
    columns: Vec<(usize, String)>,
    /// By columns of `plan`.
    order: Vec<SortExpr>,
}

impl Shared {
    /// One more place.
    pub(super) fn place(&self, lower: &mut Lower<'_>, name: &str, columns: &[query::Column]) -> Result<Flow> {
        let alias = TableReference::bare(lower.fresh(name));
        let column = |name: &str| Column::new(Some(alias.clone()), name);
        let plan = SubqueryAlias::try_new(Arc::new(self.plan.clone()), alias.clone())?;
        let mut flow = Flow::new(LogicalPlan::SubqueryAlias(plan));
        for (place, name) in &self.columns {
            let read = columns.get(*place).ok_or_else(|| Error::internal("a column that its query does not have"))?;
            flow.columns.insert(read.id, column(name));
        }
        let order = self.order.iter().map(|by| match &by.expr {
            Lowered::Column(found) => SortExpr { expr: Lowered::Column(column(&found.name)), ..by.clone() },
            _ => by.clone(),
        });
        flow.order = order.collect();
        Ok(flow)
    }
}

impl Lower<'_> {
    /// `flow` is the expression's rows, with `columns` in the order of the expression's own. `None` where each place had
    /// better compute them by itself.
    pub(super) fn shared(&mut self, cte: &Cte, flow: &Flow, columns: &[query::Column]) -> Result<Option<Shared>> {
        if cte.references < 2 {
            return Ok(None);
        }
        let is_volatile = duplicable(&flow.plan).is_err();
        let wanted = is_volatile || cte.materialized.unwrap_or(is_work(&flow.plan)?);
        let is_whole = references(&flow.plan)?.is_empty() && !reads_a_round(&flow.plan)?;
        if !(wanted && is_whole) {
            duplicable(&flow.plan)?;
            return Ok(None);
        }
        let none = BTreeSet::new();
        let mut read = self.cte_reads.get(&cte.id).unwrap_or(&none).clone();
        // rows are counted by some column
        if read.is_empty() && !columns.is_empty() {
            read.insert(0);
        }
        let (mut exprs, mut kept) = (vec![], vec![]);
        for (place, column) in columns.iter().enumerate().filter(|(place, _)| read.contains(place)) {
            let name = self.fresh_column(column.id);
            exprs.push(Lowered::Column(flow.column(column.id)?.clone()).alias(&name));
            kept.push((place, name));
        }
        let mut order = vec![];
        for by in &flow.order {
            let name = self.fresh("o");
            exprs.push(by.expr.clone().alias(&name));
            order.push(SortExpr { expr: Lowered::Column(Column::new_unqualified(name)), ..by.clone() });
        }
        let input = LogicalPlanBuilder::from(flow.plan.clone()).project(exprs)?.build()?;
        let once = Once { mark: Mark(Arc::from(cte.name.as_str())), input };
        let plan = LogicalPlan::Extension(Extension { node: Arc::new(once) });
        Ok(Some(Shared { plan, columns: kept, order }))
    }
}

/// Clones have their inputs in common; what has none is taken for one.
fn is_clone(one: &LogicalPlan, other: &LogicalPlan) -> bool {
    let (one, other) = (one.inputs(), other.inputs());
    one.len() == other.len() && one.iter().zip(&other).all(|(one, other)| std::ptr::eq(*one, *other))
}

/// More than rows of tables looked through: those each place reads by itself, with its own conditions pushed into it.
fn is_work(plan: &LogicalPlan) -> Result<bool> {
    Ok(plan.exists(|node| {
        Ok(match node {
            LogicalPlan::Aggregate(_)
            | LogicalPlan::Distinct(_)
            | LogicalPlan::Join(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::RecursiveQuery(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Unnest(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Extension(_) => true,
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Repartition(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::TableScan(_)
            | LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Statement(_)
            | LogicalPlan::Values(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::DescribeTable(_) => false,
        })
    })?)
}

/// It reads the last round of a recursive query around it, which is another one each time.
fn reads_a_round(plan: &LogicalPlan) -> Result<bool> {
    let is_round = |scan: &TableScan| source_as_provider(&scan.source).is_ok_and(|table| table.is::<CteWorkTable>());
    let (mut own, mut read) = (BTreeSet::new(), BTreeSet::new());
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::RecursiveQuery(query) => {
                own.insert(query.name.clone());
            }
            LogicalPlan::TableScan(scan) if is_round(scan) => {
                read.insert(scan.table_name.table().to_owned());
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(!read.is_subset(&own))
}
