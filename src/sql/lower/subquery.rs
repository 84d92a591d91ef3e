//! Subqueries in expressions: joined to the rows that ask them, each as one value. EXISTS is a count, ANY and ALL are asked
//! of the array of what the query gives; a query that reads nothing of the one around it is computed once.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ExprSchema, JoinType, Result as DataFusionResult, ScalarValue, Spans};
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::logical_plan::{Aggregate, Subquery};
use datafusion::logical_expr::{Expr as Lowered, ExprSchemable, LogicalPlan, LogicalPlanBuilder, SortExpr, lit};

use super::aggregate::{aggregated, call, count_rows, first_value};
use super::compare::Comparison;
use super::expr::leaf;
use super::order::numbering;
use super::special::{self, Op, Special};
use super::unnest::{outer_columns, references, resolved};
use super::{Flow, Lower};
use crate::error::{Error, Result};
use crate::pgtype;
use crate::sql::expr::{Expr, SubqueryKind};
use crate::sql::image::Operator;
use crate::sql::query::Query;

impl<'a> Lower<'a> {
    /// The plan of a query inside the query whose rows are `flow`'s.
    pub(super) fn inner(&mut self, flow: &Flow, query: &'a Query) -> Result<Flow> {
        self.outer.push(flow.clone());
        let reached = std::mem::take(&mut self.reached);
        let inner = self.query(query);
        self.reached = reached;
        self.outer.pop();
        inner
    }

    pub(super) fn subquery(
        &mut self,
        flow: &mut Flow,
        e: &Expr,
        kind: &'a SubqueryKind,
        query: &'a Query,
    ) -> Result<Lowered> {
        match kind {
            SubqueryKind::Scalar => {
                let inner = self.inner(flow, query)?;
                let value = self.first_column(&inner, query)?;
                self.scalar(flow, inner.plan, value, e)
            }
            SubqueryKind::Exists => {
                let inner = self.inner(flow, query)?;
                self.exists(flow, inner.plan)
            }
            SubqueryKind::Array => {
                let inner = self.inner(flow, query)?;
                let value = Lowered::Column(self.first_column(&inner, query)?);
                let array = self.array_of(flow, inner, value, query)?;
                let from = DataType::List(Arc::new(Field::new_list_field(query_type(query)?, true)));
                Ok(special::lie(array, e.ty, &from, &e.data_type))
            }
            SubqueryKind::Any { left, operators, all } => self.any_of_query(flow, left, operators, *all, query),
        }
    }

    fn first_column(&self, inner: &Flow, query: &Query) -> Result<Column> {
        let column = query.columns.first().ok_or_else(|| Error::internal("a subquery of no columns"))?;
        Ok(inner.column(column.id)?.clone())
    }

    fn scalar(&mut self, flow: &mut Flow, inner: LogicalPlan, value: Column, e: &Expr) -> Result<Lowered> {
        let name = self.fresh("value");
        if references(&inner)?.is_empty() {
            if single_row(&inner) {
                // of no row it is NULL, which its column may not be
                let certain = always_row(&inner) || inner.schema().field_from_column(&value)?.is_nullable();
                let only = Lowered::Column(value);
                let plan = match certain {
                    true => LogicalPlanBuilder::from(inner).project(vec![only.alias(name)])?.build()?,
                    false => aggregated(inner, vec![], vec![first_value(only).alias(name)])?,
                };
                return standing(flow, plan);
            }
            return self.first_of_rows(flow, inner, value, e);
        }
        if let Some((aggregate, shown)) = bare_aggregate(&inner)
            && let Some((_, shown)) = shown.into_iter().find(|(column, _)| *column == value)
        {
            let only = self.aggregate_of_rows(flow, aggregate, vec![shown])?.pop();
            return only.ok_or_else(|| Error::internal("an aggregate that shows nothing"));
        }
        let one = single_row(&inner);
        let (plan, domain, own) = self.depending(flow, inner)?;
        let found = Lowered::Column(Column::new_unqualified(&name));
        if one {
            let exprs = domain.iter().cloned().map(Lowered::Column).chain([Lowered::Column(value).alias(&name)]);
            let plan = LogicalPlanBuilder::from(plan).project(exprs.collect::<Vec<_>>())?.build()?;
            self.join_back(flow, plan, &own, &domain)?;
            return Ok(found);
        }
        let rows = self.fresh("rows");
        let calls = vec![first_value(Lowered::Column(value)).alias(&name), count_rows().alias(&rows)];
        let plan = aggregated(plan, domain.iter().cloned().map(Lowered::Column).collect(), calls)?;
        self.join_back(flow, plan, &own, &domain)?;
        let rows = Lowered::Column(Column::new_unqualified(rows));
        Ok(Special::call(Op::Single, pgtype::field("single", e.ty, e.data_type.clone()), vec![found, rows]))
    }

    /// The one row of a subquery that could have more: beside its number of rows, so that they are too many only where a
    /// row asks.
    fn first_of_rows(&mut self, flow: &mut Flow, inner: LogicalPlan, value: Column, e: &Expr) -> Result<Lowered> {
        let (name, rows) = (self.fresh("value"), self.fresh("rows"));
        let item = Lowered::Column(value.clone()).get_type(inner.schema())?;
        let calls = vec![first_value(Lowered::Column(value)).alias(&name), count_rows().alias(&rows)];
        let both = LogicalPlanBuilder::from(inner).limit(0, Some(2))?.build()?;
        let both = aggregated(both, vec![], calls)?;
        let count = Field::new("rows", DataType::Int64, true);
        let fields = vec![pgtype::field("value", e.ty, item.clone()), count.clone()];
        let columns = [name, rows].map(|name| Lowered::Column(Column::new_unqualified(name))).to_vec();
        let pair = Special::call(Op::Row, Field::new("pair", DataType::Struct(fields.into()), true), columns);
        let pair = LogicalPlanBuilder::from(both).project(vec![pair.alias(self.fresh("pair"))])?.build()?;
        let pair = standing(flow, pair)?;
        let value = Special::call(Op::Field(0), pgtype::field("value", e.ty, item), vec![pair.clone()]);
        let rows = Special::call(Op::Field(1), count, vec![pair]);
        Ok(Special::call(Op::Single, pgtype::field("single", e.ty, e.data_type.clone()), vec![value, rows]))
    }

    /// What is shown of an aggregate over the rows that belong to each row of `flow`; where there are none it has the value
    /// of no rows.
    pub(super) fn aggregate_of_rows(
        &mut self,
        flow: &mut Flow,
        aggregate: Aggregate,
        shown: Vec<Lowered>,
    ) -> Result<Vec<Lowered>> {
        let (input, domain, own) = self.depending(flow, Arc::unwrap_or_clone(aggregate.input))?;
        let calls = aggregate.aggr_expr;
        let counts: Vec<String> =
            calls.iter().filter(|c| of_nothing(c) == Some(Nothing::Zero)).map(|c| c.qualified_name().1).collect();
        let plan = aggregated(input, domain.iter().cloned().map(Lowered::Column).collect(), calls)?;
        self.join_back(flow, plan, &own, &domain)?;
        let schema = Arc::clone(flow.plan.schema());
        shown.into_iter().map(|e| of_counts(e, &counts, &schema)).collect()
    }

    fn exists(&mut self, flow: &mut Flow, inner: LogicalPlan) -> Result<Lowered> {
        let name = self.fresh("exists");
        let rows = self.fresh("rows");
        if references(&inner)?.is_empty() {
            let one = LogicalPlanBuilder::from(inner).limit(0, Some(1))?.build()?;
            let counted = aggregated(one, vec![], vec![count_rows().alias(&rows)])?;
            let any = Lowered::Column(Column::new_unqualified(rows)).gt(lit(0_i64)).alias(name);
            return standing(flow, LogicalPlanBuilder::from(counted).project(vec![any])?.build()?);
        }
        let (plan, domain, own) = self.depending(flow, inner)?;
        let plan =
            aggregated(plan, domain.iter().cloned().map(Lowered::Column).collect(), vec![count_rows().alias(&rows)])?;
        self.join_back(flow, plan, &own, &domain)?;
        let rows = Lowered::Column(Column::new_unqualified(rows));
        // no row for a value of the domain, or a count of none
        Ok(rows.gt(lit(0_i64)).is_true())
    }

    /// All values of the subquery as one array, in its order.
    fn array_of(&mut self, flow: &mut Flow, inner: Flow, value: Lowered, query: &'a Query) -> Result<Lowered> {
        let (mut inner, name) = (inner, self.fresh("array"));
        let place = self.fresh("place");
        let mut order = vec![];
        let mut keys = vec![];
        if !query.order.is_empty() || !inner.order.is_empty() {
            keys = match query.order.is_empty() {
                true => inner.order.clone(),
                false => self.sort_keys(&mut inner, &query.order)?,
            };
            order.push(SortExpr::new(Lowered::Column(Column::new_unqualified(&place)), true, false));
        }
        let correlated = !references(&inner.plan)?.is_empty();
        let (plan, domain, own) = match correlated {
            true => self.depending(flow, inner.plan)?,
            false => (inner.plan, vec![], vec![]),
        };
        let by: Vec<Lowered> = domain.iter().cloned().map(Lowered::Column).collect();
        let plan = match order.is_empty() {
            true => plan,
            false => {
                let number = numbering(row_number_udwf(), by.clone(), keys).alias(&place);
                LogicalPlanBuilder::from(plan).window(vec![number])?.build()?
            }
        };
        let item = value.get_type(plan.schema())?;
        let gathered = call(array_agg_udaf(), vec![value], None, order, false).alias(&name);
        let plan = aggregated(plan, by, vec![gathered])?;
        let list = DataType::List(Arc::new(Field::new_list_field(item.clone(), true)));
        let found = match correlated {
            true => {
                self.join_back(flow, plan, &own, &domain)?;
                Lowered::Column(Column::new_unqualified(&name))
            }
            false => standing(flow, plan)?,
        };
        // none at all is an array of nothing
        let nothing = ScalarValue::List(ScalarValue::new_list(&[], &item, true));
        Ok(Special::call(Op::Coalesce, Field::new(name, list, true), vec![found, Lowered::Literal(nothing, None)]))
    }

    /// `left op ANY (query)`: over the array of what the query gives.
    fn any_of_query(
        &mut self,
        flow: &mut Flow,
        left: &'a [Expr],
        operators: &[&'static Operator],
        all: bool,
        query: &'a Query,
    ) -> Result<Lowered> {
        let own = self.exprs(flow, left)?;
        let inner = self.inner(flow, query)?;
        let field = Field::new("any", DataType::Boolean, true);
        let mut comparisons = vec![];
        for ((left, column), operator) in left.iter().zip(&query.columns).zip(operators) {
            let element = (column.ty, leaf(&column.data_type));
            comparisons.push(Comparison::new(operator, (left.ty, &left.data_type), element)?);
        }
        if let [comparison] = comparisons.as_slice() {
            let value = Lowered::Column(self.first_column(&inner, query)?);
            let array = self.array_of(flow, inner, value, query)?;
            let arguments = own.into_iter().chain([array]).collect();
            return Ok(Special::call(Op::AnyOf { comparison: comparison.clone(), all }, field, arguments));
        }
        let (mut values, mut fields) = (vec![], vec![]);
        for (i, column) in query.columns.iter().enumerate() {
            values.push(Lowered::Column(inner.column(column.id)?.clone()));
            fields.push(pgtype::field(&format!("f{}", i + 1), column.ty, column.data_type.clone()));
        }
        let row = Special::call(Op::Row, Field::new("row", DataType::Struct(fields.into()), true), values);
        let array = self.array_of(flow, inner, row, query)?;
        let arguments = own.into_iter().chain([array]).collect();
        Ok(Special::call(Op::AnyRow { comparisons, all }, field, arguments))
    }
}

/// The one value of a query. DataFusion takes it for NULL only where the query's column may be; without a row it is NULL
/// whatever the column.
fn uncorrelated(plan: LogicalPlan) -> Lowered {
    let column = plan.schema().fields().first().cloned();
    let value =
        Lowered::ScalarSubquery(Subquery { subquery: Arc::new(plan), outer_ref_columns: vec![], spans: Spans::new() });
    match column {
        Some(column) if !column.is_nullable() => {
            Special::call(Op::Coalesce, column.as_ref().clone().with_nullable(true), vec![value])
        }
        _ => value,
    }
}

/// What is shown of an aggregate, beside the rows that ask it: a count of no rows is zero.
fn of_counts(shown: Lowered, counts: &[String], asking: &DFSchema) -> Result<Lowered> {
    let read = outer_columns(&shown).into_iter().filter(|c| asking.has_column(c));
    let shown = resolved(shown, &read.map(|c| (c.clone(), c)).collect())?;
    let each = shown.transform(|e| {
        Ok(match &e {
            Lowered::Column(column) if column.relation.is_none() && counts.contains(&column.name) => {
                let field = Field::new("coalesce", DataType::Int64, true);
                let count = Special::call(Op::Coalesce, field, vec![e, lit(0_i64)]);
                Transformed::new(count, true, TreeNodeRecursion::Jump)
            }
            _ => Transformed::no(e),
        })
    });
    Ok(each?.data)
}

/// The value of a plan of one column and at most one row that reads nothing of `flow`: DataFusion computes it once. It
/// walks a subquery inside a subquery twice, so that those which hold others are joined instead.
fn standing(flow: &mut Flow, plan: LogicalPlan) -> Result<Lowered> {
    let column = match plan.schema().columns().pop() {
        Some(column) if nesting(&plan)? >= 2 => column,
        _ => return Ok(uncorrelated(plan)),
    };
    let rows = LogicalPlanBuilder::from(flow.plan.clone());
    flow.plan = rows.join_on(plan, JoinType::Left, [lit(true)])?.build()?;
    Ok(Lowered::Column(column))
}

/// How many subqueries of expressions stand inside each other.
fn nesting(plan: &LogicalPlan) -> DataFusionResult<usize> {
    let mut deepest = 0;
    plan.apply(|node| {
        node.apply_expressions(|e| {
            e.apply(|e| {
                if let Lowered::ScalarSubquery(inner) = e {
                    deepest = deepest.max(1 + nesting(&inner.subquery)?);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(deepest)
}

/// At most one row, whatever the tables hold.
fn single_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(p) => single_row(&p.input),
        LogicalPlan::Filter(f) => single_row(&f.input),
        LogicalPlan::Sort(s) => single_row(&s.input),
        LogicalPlan::SubqueryAlias(a) => single_row(&a.input),
        LogicalPlan::Limit(l) => {
            matches!(l.fetch.as_deref(), Some(Lowered::Literal(ScalarValue::Int64(Some(0 | 1)), _)))
                || single_row(&l.input)
        }
        LogicalPlan::Aggregate(a) => a.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(_) => true,
        _ => false,
    }
}

/// One row, whatever the tables hold.
fn always_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(p) => always_row(&p.input),
        LogicalPlan::Sort(s) => always_row(&s.input),
        LogicalPlan::SubqueryAlias(a) => always_row(&a.input),
        LogicalPlan::Aggregate(a) => a.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(e) => e.produce_one_row,
        _ => false,
    }
}

/// What an aggregate gives for no rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nothing {
    Null,
    Zero,
}

/// `None` for one that gives something of its own.
fn of_nothing(call: &Lowered) -> Option<Nothing> {
    match call {
        Lowered::Alias(alias) => of_nothing(&alias.expr),
        Lowered::AggregateFunction(call) => match call.func.name().split('/').next()? {
            "count" | "regr_count" => Some(Nothing::Zero),
            "rank" | "dense_rank" | "percent_rank" | "cume_dist" => None,
            _ => Some(Nothing::Null),
        },
        _ => None,
    }
}

/// A subquery that is an aggregate over all its rows, and the expressions over it that it shows.
pub(super) fn bare_aggregate(plan: &LogicalPlan) -> Option<(Aggregate, Vec<(Column, Lowered)>)> {
    let LogicalPlan::Projection(projection) = plan else { return None };
    let LogicalPlan::Aggregate(aggregate) = projection.input.as_ref() else { return None };
    let own = |call: &Lowered| of_nothing(call).is_some() && outer_columns(call).is_empty();
    if !aggregate.group_expr.is_empty() || !aggregate.aggr_expr.iter().all(own) {
        return None;
    }
    let shown = projection.schema.columns().into_iter().zip(projection.expr.iter().map(|e| e.clone().unalias()));
    let volatile = projection.expr.iter().any(Lowered::is_volatile);
    (!volatile).then(|| (aggregate.clone(), shown.collect()))
}

fn query_type(query: &Query) -> Result<DataType> {
    let column = query.columns.first().ok_or_else(|| Error::internal("a subquery of no columns"))?;
    Ok(column.data_type.clone())
}
