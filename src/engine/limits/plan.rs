//! The same arithmetic on plans. On the logical one, where names are resolved but nothing is put in place of a dataset or
//! substituted yet: nodes and columns with the datasets' bodies in, and how large an expression gets once columns are
//! replaced by what computes them, as the optimizer does with predicates that it moves down. On the physical one: how deep
//! it is, because it is executed and dropped on a worker's stack.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, Subquery};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;

use super::{Limits, too_complex};
use crate::error::{Error, Result};
use crate::policy::Sealed;
use crate::policy::guard::DatasetBody;
use crate::types::ObjectId;

/// Arrays of rows of arrays …: Arrow's kernels call themselves once a level.
const TYPE_DEPTH_MAX: usize = 32;

/// The optimizer joins predicates into a chain again, whatever shape they had. A worker's 2 MiB of stack hold this many,
/// in a debug build too.
const EXPRESSION_DEPTH_MAX: usize = 3_000;

/// What the constants of a plan may take in one batch of rows.
const BATCH_CONSTANT_BYTES: usize = 64 << 20;
/// Shorter ones are not looked at.
const LONG_CONSTANT_BYTES: usize = 1 << 10;

/// An unanalysed plan over sealed scans, with the bodies of the datasets it reaches. Refused before the guard puts them in.
pub(crate) fn check(plan: &LogicalPlan, bodies: &HashMap<ObjectId, DatasetBody>, limits: &Limits) -> Result<()> {
    let mut count = Count { bodies, limits, known: HashMap::new(), datasets: HashMap::new() };
    count.plan(plan, &[]).map(|_| ())
}

/// Of a plan with everything in it.
#[derive(Debug)]
struct Size {
    nodes: usize,
    cells: usize,
    /// Of all predicates, substituted.
    predicates: usize,
    /// For each column of its result: nodes of the expression that computes it from columns of tables.
    columns: Vec<usize>,
}

struct Count<'a> {
    bodies: &'a HashMap<ObjectId, DatasetBody>,
    limits: &'a Limits,
    /// A CTE's plan is one value, however often it is named.
    known: HashMap<*const LogicalPlan, Rc<Size>>,
    datasets: HashMap<ObjectId, Rc<Size>>,
}

/// Where a column is looked up: plans and their sizes.
type Inputs<'p> = Vec<(&'p LogicalPlan, Rc<Size>)>;

impl Count<'_> {
    /// `outer`: inputs of the nodes around a subquery.
    fn plan(&mut self, plan: &LogicalPlan, outer: &[&Inputs<'_>]) -> Result<Rc<Size>> {
        let address: *const LogicalPlan = plan;
        if let Some(known) = self.known.get(&address) {
            return Ok(Rc::clone(known));
        }
        let inputs = plan.inputs().into_iter().map(|input| Ok((input, self.plan(input, outer)?)));
        let inputs = inputs.collect::<Result<Inputs<'_>>>()?;
        let size = Rc::new(self.node(plan, &inputs, outer)?);
        self.known.insert(address, Rc::clone(&size));
        Ok(size)
    }

    fn node(&mut self, plan: &LogicalPlan, inputs: &Inputs<'_>, outer: &[&Inputs<'_>]) -> Result<Size> {
        let width = plan.schema().fields().len();
        if plan.schema().fields().iter().any(|field| type_depth(field.data_type()) > TYPE_DEPTH_MAX) {
            return Err(too_complex("levels of arrays and rows in one type", TYPE_DEPTH_MAX));
        }
        let mut size = Size { nodes: 1, cells: width, predicates: 0, columns: vec![] };
        for (_, input) in inputs {
            size.add(input);
        }
        let is_predicate = matches!(plan, LogicalPlan::Filter(_) | LogicalPlan::Join(_));
        let mut computed = vec![];
        plan.apply_expressions(|expr| {
            let nodes = self.expr(expr, &[inputs], outer, &mut size)?;
            if nodes > self.limits.expression_nodes_max {
                return Err(self.too_large().into());
            }
            if is_predicate {
                size.predicates = size.predicates.saturating_add(nodes);
            }
            computed.push(nodes);
            Ok(TreeNodeRecursion::Continue)
        })?;
        size.columns = self.columns(plan, inputs, computed, &mut size)?;
        size.columns.resize(width, 1);
        self.refuse(&size)?;
        Ok(size)
    }

    /// What computes each column of a node's result. An aggregate's and a window's values are computed once: nothing is
    /// substituted through them.
    fn columns(
        &mut self,
        plan: &LogicalPlan,
        inputs: &Inputs<'_>,
        computed: Vec<usize>,
        size: &mut Size,
    ) -> Result<Vec<usize>> {
        let first = || inputs.first().map(|(_, input)| input.columns.clone()).unwrap_or_default();
        Ok(match plan {
            LogicalPlan::Projection(_) => computed,
            LogicalPlan::Aggregate(aggregate) => computed.into_iter().take(aggregate.group_expr.len()).collect(),
            LogicalPlan::Join(_) => inputs.iter().flat_map(|(_, input)| input.columns.iter().copied()).collect(),
            LogicalPlan::Union(_) => {
                let mut widest = first();
                for (_, input) in inputs {
                    for (most, column) in widest.iter_mut().zip(&input.columns) {
                        *most = (*most).max(*column);
                    }
                }
                widest
            }
            LogicalPlan::Distinct(Distinct::On(_)) => vec![],
            LogicalPlan::TableScan(scan) => match scan.source.downcast_ref::<Sealed>().and_then(Sealed::object_id) {
                Some(id) => self.dataset(id, plan.schema().fields().len(), size)?,
                None => vec![],
            },
            LogicalPlan::Values(_) | LogicalPlan::RecursiveQuery(_) => vec![],
            LogicalPlan::Filter(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Repartition(_)
            | LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Unnest(_)
            | LogicalPlan::Distinct(Distinct::All(_))
            | LogicalPlan::Extension(_) => first(),
            // no query of ours holds one; the guard says so
            LogicalPlan::Statement(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::DescribeTable(_) => vec![],
        })
    }

    /// Nothing where it is a table. Its columns may be fewer than the body's: each is taken for the largest.
    fn dataset(&mut self, id: ObjectId, width: usize, size: &mut Size) -> Result<Vec<usize>> {
        let bodies = self.bodies;
        let Some(body) = bodies.get(&id) else { return Ok(vec![]) };
        let of_body = match self.datasets.get(&id) {
            Some(known) => Rc::clone(known),
            None => {
                let of_body = self.plan(&body.plan, &[])?;
                self.datasets.insert(id, Rc::clone(&of_body));
                of_body
            }
        };
        size.add(&of_body);
        let largest = of_body.columns.iter().copied().max().unwrap_or(1);
        Ok(vec![largest; width])
    }

    /// Nodes of an expression after substitution. What its subqueries are is added to `size`.
    fn expr(
        &mut self,
        expr: &Expr,
        inputs: &[&Inputs<'_>],
        outer: &[&Inputs<'_>],
        size: &mut Size,
    ) -> datafusion::common::Result<usize> {
        let nodes = match expr {
            Expr::Column(column) => return Ok(looked_up(column, inputs)),
            Expr::OuterReferenceColumn(_, column) => return Ok(looked_up(column, outer)),
            Expr::ScalarSubquery(subquery) => self.subquery(subquery, inputs, outer, size)?,
            Expr::Exists(exists) => self.subquery(&exists.subquery, inputs, outer, size)?,
            Expr::InSubquery(within) => self.subquery(&within.subquery, inputs, outer, size)?,
            Expr::SetComparison(compared) => self.subquery(&compared.subquery, inputs, outer, size)?,
            _ => 1,
        };
        let mut nodes = nodes;
        expr.apply_children(|child| {
            nodes = nodes.saturating_add(self.expr(child, inputs, outer, size)?);
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(nodes)
    }

    fn subquery(
        &mut self,
        subquery: &Subquery,
        inputs: &[&Inputs<'_>],
        outer: &[&Inputs<'_>],
        size: &mut Size,
    ) -> Result<usize> {
        let around: Vec<&Inputs<'_>> = inputs.iter().chain(outer).copied().collect();
        let of_subquery = self.plan(&subquery.subquery, &around)?;
        // twice: DataFusion's check of a plan looks into each subquery from the node that holds it, and once more by
        // itself, so that sixty of them inside each other are 2⁶⁰ looks (`check_subquery_expr` in its `invariants.rs`)
        size.add(&of_subquery);
        size.add(&of_subquery);
        self.refuse(size)?;
        Ok(of_subquery.columns.first().copied().unwrap_or(1))
    }

    fn refuse(&self, size: &Size) -> Result<()> {
        let limits = self.limits;
        if size.nodes > limits.plan_nodes_max {
            let what = "plan nodes once its CTEs and datasets are put in their places";
            return Err(too_complex(what, limits.plan_nodes_max));
        }
        if size.cells > limits.plan_columns_max {
            return Err(too_complex("columns in all steps of its plan together", limits.plan_columns_max));
        }
        if size.predicates > limits.expression_nodes_max {
            return Err(self.too_large());
        }
        Ok(())
    }

    fn too_large(&self) -> Error {
        let what = "operators in one expression once its columns are replaced by what computes them";
        too_complex(what, self.limits.expression_nodes_max)
            .with_hint("Write the result of an inner subquery or CTE into a table first.")
    }
}

impl Size {
    fn add(&mut self, other: &Self) {
        self.nodes = self.nodes.saturating_add(other.nodes);
        self.cells = self.cells.saturating_add(other.cells);
        self.predicates = self.predicates.saturating_add(other.predicates);
    }
}

fn looked_up(column: &Column, inputs: &[&Inputs<'_>]) -> usize {
    let mut plans = inputs.iter().flat_map(|inputs| inputs.iter());
    let found = plans.find_map(|(plan, size)| {
        let at = plan.schema().maybe_index_of_column(column)?;
        size.columns.get(at).copied()
    });
    found.unwrap_or(1)
}

fn type_depth(data_type: &DataType) -> usize {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => 1 + type_depth(item.data_type()),
        DataType::Struct(fields) => 1 + fields.iter().map(|f| type_depth(f.data_type())).max().unwrap_or(0),
        DataType::Union(fields, _) => 1 + fields.iter().map(|(_, f)| type_depth(f.data_type())).max().unwrap_or(0),
        DataType::Dictionary(_, value) => type_depth(value),
        DataType::RunEndEncoded(_, values) => type_depth(values.data_type()),
        _ => 0,
    }
}

/// A constant is copied for each row of a batch, and some functions make as much of a short one: then fewer rows are taken
/// at a time.
pub(crate) fn rows_per_batch(optimized: &LogicalPlan, default: usize) -> Result<usize> {
    let mut bytes = 0usize;
    optimized.apply_with_subqueries(|node| {
        if !matches!(node, LogicalPlan::Values(_)) {
            node.apply_expressions(|expr| {
                expr.apply(|e| {
                    let size = made(e);
                    if size > LONG_CONSTANT_BYTES {
                        bytes = bytes.saturating_add(size);
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(default.min(BATCH_CONSTANT_BYTES / bytes.max(1)).max(1))
}

/// Bytes of one value, as far as they stand in the plan. A text of which nothing is said is taken for a short one.
fn made(expr: &Expr) -> usize {
    const SHORT: usize = 32;
    match expr {
        Expr::Literal(value, _) => value.size(),
        Expr::ScalarFunction(call) => {
            let times = |at: usize| match call.args.get(at) {
                Some(Expr::Literal(ScalarValue::Int32(Some(n)), _)) => usize::try_from(*n).unwrap_or(0),
                _ => 0,
            };
            match call.func.name() {
                "repeat" => call.args.first().map_or(0, made).max(SHORT).saturating_mul(times(1)),
                "lpad" | "rpad" => times(1),
                _ => 0,
            }
        }
        Expr::Alias(alias) => made(&alias.expr),
        _ => 0,
    }
}

/// An optimised plan is executed, polled and dropped where stacks are small.
pub(crate) fn check_physical(plan: &Arc<dyn ExecutionPlan>, limits: &Limits) -> Result<()> {
    let mut nodes = vec![(Arc::clone(plan), 1)];
    while let Some((node, depth)) = nodes.pop() {
        if depth > limits.plan_depth_max {
            return Err(too_complex("steps of its plan above each other", limits.plan_depth_max));
        }
        let mut too_deep = false;
        node.apply_expressions(&mut |expr| {
            too_deep |= is_deeper(expr, EXPRESSION_DEPTH_MAX);
            Ok(TreeNodeRecursion::Continue)
        })?;
        if too_deep {
            return Err(too_complex("operators in one chain", EXPRESSION_DEPTH_MAX));
        }
        nodes.extend(node.children().into_iter().map(|child| (Arc::clone(child), depth + 1)));
    }
    Ok(())
}

fn is_deeper(expr: &Arc<dyn PhysicalExpr>, max: usize) -> bool {
    let mut exprs = vec![(Arc::clone(expr), 1)];
    while let Some((expr, depth)) = exprs.pop() {
        if depth > max {
            return true;
        }
        exprs.extend(expr.children().into_iter().map(|child| (Arc::clone(child), depth + 1)));
    }
    false
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{LogicalPlanBuilder, Volatility, create_udf, lit};

    use super::*;

    #[test]
    fn what_makes_long_values_takes_fewer_rows_at_a_time() {
        let function = |name: &str| {
            let types = vec![DataType::Utf8View, DataType::Int32];
            let none = Arc::new(|_: &[_]| unreachable!("it is not called"));
            create_udf(name, types, DataType::Utf8View, Volatility::Immutable, none)
        };
        let text = || lit(ScalarValue::Utf8View(Some("x".into())));
        let rows = |expr: Expr| {
            let plan = LogicalPlanBuilder::empty(true).project([expr]).unwrap().build().unwrap();
            rows_per_batch(&plan, 8_192).unwrap()
        };
        let [repeat, lpad, other] = ["repeat", "lpad", "left"].map(function);
        assert_eq!(rows(text()), 8_192);
        assert_eq!(rows(other.call(vec![text(), lit(1_000_000)])), 8_192);
        assert_eq!(rows(repeat.call(vec![text(), lit(10)])), 8_192);
        assert_eq!(rows(lpad.call(vec![text(), lit(1 << 20)])), 64);
        assert!((1..=1_024).contains(&rows(repeat.call(vec![text(), lit(2_000)]))));
        let twice = repeat.call(vec![repeat.call(vec![text(), lit(1_000)]), lit(1_000)]);
        assert!((1..=4).contains(&rows(twice.alias("t"))));
        assert_eq!(rows(repeat.call(vec![text(), lit(-1)])), 8_192);
    }
}
