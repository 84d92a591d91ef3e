//! Subqueries and LATERAL without exception (Neumann and Kemper, "Unnesting Arbitrary Queries", BTW 2015).
//!
//! What a subquery reads of the query around it stands in its plan as outer references. The distinct values of these, the
//! domain, are joined into the subquery as deep as something depends on them ([`Dependent::push`]); its result then has a
//! row set for each value of the domain and is joined back to the query, NULLs being equal. DataFusion's own
//! decorrelation loses rows in several of these places and is never asked: no plan leaves here with an outer reference,
//! but to a query still further out, whose turn comes later.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinType, NullEquality, ScalarValue, Spans};
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::logical_plan::Subquery;
use datafusion::logical_expr::{Expr as Lowered, LogicalPlan, LogicalPlanBuilder, SortExpr, lit};

use super::aggregate::{aggregated, call, count_rows, first_value};
use super::compare::{self, Comparison};
use super::expr::leaf;
use super::order::numbering;
use super::push::Dependent;
use super::special::{self, Op, Special};
use super::{Flow, Lower, relation};
use crate::error::{Error, Result};
use crate::pgtype;
use crate::sql::expr::{Expr, Kind, SubqueryKind};
use crate::sql::image::Operator;
use crate::sql::query::{JoinKind, Query, Relation};

/// The outer references in a plan, to whichever query.
pub(super) fn references(plan: &LogicalPlan) -> Result<Vec<Column>> {
    let mut found = vec![];
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|e| {
            e.apply(|e| {
                if let Lowered::OuterReferenceColumn(_, column) = e
                    && !found.contains(column)
                {
                    found.push(column.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

/// A plan that may stand in two places: none of its rows come from a volatile function.
pub(super) fn duplicable(plan: &LogicalPlan) -> Result<()> {
    let mut volatile = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|e| {
            volatile |= e.is_volatile();
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    match volatile {
        true => Err(Error::unsupported("a volatile function below a correlated subquery or a grouping set of nothing")),
        false => Ok(()),
    }
}

/// Outer references become columns of the query itself.
pub(super) fn resolved(e: Lowered, names: &HashMap<Column, Column>) -> Result<Lowered> {
    let each = e.transform(|e| {
        Ok(match &e {
            Lowered::OuterReferenceColumn(_, column) => match names.get(column) {
                Some(found) => Transformed::yes(Lowered::Column(found.clone())),
                None => Transformed::no(e),
            },
            _ => Transformed::no(e),
        })
    });
    Ok(each?.data)
}

fn uncorrelated(plan: LogicalPlan) -> Lowered {
    Lowered::ScalarSubquery(Subquery { subquery: Arc::new(plan), outer_ref_columns: vec![], spans: Spans::new() })
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

impl<'a> Lower<'a> {
    /// The plan of a query inside the query whose rows are `flow`'s.
    fn inner(&mut self, flow: &Flow, query: &'a Query) -> Result<Flow> {
        self.outer.push(flow.clone());
        let inner = self.query(query);
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
            let only = Lowered::Column(value).alias(name);
            return Ok(uncorrelated(LogicalPlanBuilder::from(inner).project(vec![only])?.build()?));
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

    fn exists(&mut self, flow: &mut Flow, inner: LogicalPlan) -> Result<Lowered> {
        let name = self.fresh("exists");
        let rows = self.fresh("rows");
        if references(&inner)?.is_empty() {
            let one = LogicalPlanBuilder::from(inner).limit(0, Some(1))?.build()?;
            let counted = aggregated(one, vec![], vec![count_rows().alias(&rows)])?;
            let any = Lowered::Column(Column::new_unqualified(rows)).gt(lit(0_i64)).alias(name);
            return Ok(uncorrelated(LogicalPlanBuilder::from(counted).project(vec![any])?.build()?));
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
        if !query.order.is_empty() {
            keys = self.sort_keys(&mut inner, &query.order)?;
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
        use datafusion::logical_expr::ExprSchemable;
        let item = value.get_type(plan.schema())?;
        let gathered = call(array_agg_udaf(), vec![value], None, order, false).alias(&name);
        let plan = aggregated(plan, by, vec![gathered])?;
        let list = DataType::List(Arc::new(Field::new_list_field(item.clone(), true)));
        let found = match correlated {
            true => {
                self.join_back(flow, plan, &own, &domain)?;
                Lowered::Column(Column::new_unqualified(&name))
            }
            false => uncorrelated(plan),
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

    /// A conjunct that keeps rows by whether others exist becomes a semi or an anti join. `false`: it is another condition.
    pub(super) fn semi_join(&mut self, flow: &mut Flow, condition: &'a Expr) -> Result<bool> {
        let (of, kind) = match &condition.kind {
            Kind::Not(of) => (of.as_ref(), JoinType::LeftAnti),
            _ => (condition, JoinType::LeftSemi),
        };
        let Kind::Subquery { kind: subquery, query } = &of.kind else { return Ok(false) };
        let mut filters = vec![];
        let inner = match subquery {
            SubqueryKind::Exists => self.inner(flow, query)?,
            // NOT IN has NULLs to think of
            SubqueryKind::Any { left, operators, all: false } if kind == JoinType::LeftSemi => {
                let own = self.exprs(flow, left)?;
                let inner = self.inner(flow, query)?;
                for (((value, left), column), operator) in own.into_iter().zip(left).zip(&query.columns).zip(operators)
                {
                    let (l, r) = ((left.ty, &left.data_type), (column.ty, &column.data_type));
                    let Some(native) = compare::native(operator, l, r) else { return Ok(false) };
                    let found = Lowered::Column(inner.column(column.id)?.clone());
                    filters.push(native.expr((value, l.1), (found, r.1))?);
                }
                if !filters.is_empty()
                    && matches!(operators.first().map(|o| o.name), Some("<" | "<=" | ">" | ">="))
                    && operators.len() > 1
                {
                    return Ok(false);
                }
                inner
            }
            _ => return Ok(false),
        };
        let mut outer = references(&inner.plan)?;
        outer.retain(|c| flow.plan.schema().has_column(c));
        let own: HashMap<Column, Column> = outer.iter().map(|c| (c.clone(), c.clone())).collect();
        let (plan, pulled) = match outer.is_empty() {
            true => (inner.plan, vec![]),
            false => match simple(&inner.plan, &outer)? {
                Some((plan, pulled)) => (plan, pulled),
                None => {
                    let (plan, domain, own) = self.depending(flow, inner.plan)?;
                    let on = (own, domain);
                    if filters.is_empty() {
                        let joined = LogicalPlanBuilder::from(flow.plan.clone()).join_detailed(
                            plan,
                            kind,
                            on,
                            None,
                            NullEquality::NullEqualsNull,
                        )?;
                        flow.plan = joined.build()?;
                        return Ok(true);
                    }
                    let null_safe = on.0.into_iter().zip(on.1).map(|(a, b)| {
                        let same = datafusion::logical_expr::Operator::IsNotDistinctFrom;
                        datafusion::logical_expr::binary_expr(Lowered::Column(a), same, Lowered::Column(b))
                    });
                    filters.extend(null_safe);
                    (plan, vec![])
                }
            },
        };
        for filter in pulled {
            filters.push(resolved(filter, &own)?);
        }
        if filters.is_empty() {
            filters.push(lit(true));
        }
        flow.plan = LogicalPlanBuilder::from(flow.plan.clone()).join_on(plan, kind, filters)?.build()?;
        Ok(true)
    }

    /// A side of a join that reads columns of the other.
    pub(super) fn lateral(
        &mut self,
        left: Flow,
        right: &'a Relation,
        kind: JoinKind,
        on: Option<&'a Expr>,
    ) -> Result<Flow> {
        self.outer.push(left.clone());
        let inner = self.relation(right);
        self.outer.pop();
        let mut right = inner?;
        let mut outer = references(&right.plan)?;
        outer.retain(|c| left.plan.schema().has_column(c));
        if outer.is_empty() {
            return self.joined(left, right, kind, on);
        }
        let mut left = left;
        let (plan, domain, own) = self.depending(&mut left, right.plan)?;
        right.plan = plan;
        let null_safe = own.into_iter().zip(domain).map(|(a, b)| {
            let same = datafusion::logical_expr::Operator::IsNotDistinctFrom;
            datafusion::logical_expr::binary_expr(Lowered::Column(a), same, Lowered::Column(b))
        });
        let mut filters: Vec<Lowered> = null_safe.collect();
        let mut columns = left.columns.clone();
        columns.extend(right.columns.clone());
        if let Some(on) = on {
            let beside = LogicalPlanBuilder::from(left.plan.clone()).cross_join(right.plan.clone())?.build()?;
            let mut both = Flow { plan: beside.clone(), columns: columns.clone(), computed: vec![] };
            let conditions = self.exprs_of(&mut both, &relation::conditions(on))?;
            if both.plan != beside {
                return Err(Error::unsupported("a subquery in the condition of a LATERAL join").at(on.at));
            }
            filters.extend(super::guard::conjuncts(conditions));
        }
        let plan =
            LogicalPlanBuilder::from(left.plan).join_on(right.plan, relation::join_type(kind), filters)?.build()?;
        Ok(Flow { plan, columns, computed: vec![] })
    }

    /// `inner` for every value of what it reads of `flow`: its plan, the columns in it that hold these values, and those of
    /// `flow` that they are.
    fn depending(&mut self, flow: &mut Flow, inner: LogicalPlan) -> Result<(LogicalPlan, Vec<Column>, Vec<Column>)> {
        let mut outer = references(&inner)?;
        outer.retain(|c| flow.plan.schema().has_column(c));
        if outer.is_empty() {
            return Ok((inner, vec![], vec![]));
        }
        duplicable(&flow.plan)?;
        let columns = outer.iter().cloned().map(Lowered::Column).collect::<Vec<_>>();
        let domain = LogicalPlanBuilder::from(flow.plan.clone()).project(columns)?.distinct()?.build()?;
        let (plan, found) = Dependent { lower: self, outer: outer.clone(), domain }.push(inner)?;
        Ok((plan, found, outer))
    }

    /// The result of a subquery beside the rows that it belongs to; rows without one stay.
    fn join_back(&mut self, flow: &mut Flow, result: LogicalPlan, own: &[Column], domain: &[Column]) -> Result<()> {
        let builder = LogicalPlanBuilder::from(flow.plan.clone());
        let on = (own.to_vec(), domain.to_vec());
        flow.plan = match own.is_empty() {
            // it depends on a query further out alone, which will make it one row
            true => builder.join_on(result, JoinType::Left, [lit(true)])?.build()?,
            false => builder.join_detailed(result, JoinType::Left, on, None, NullEquality::NullEqualsNull)?.build()?,
        };
        Ok(())
    }
}

fn query_type(query: &Query) -> Result<DataType> {
    let column = query.columns.first().ok_or_else(|| Error::internal("a subquery of no columns"))?;
    Ok(column.data_type.clone())
}

/// A subquery whose only dependence is in its conditions, which may as well be those of the join.
fn simple(plan: &LogicalPlan, outer: &[Column]) -> Result<Option<(LogicalPlan, Vec<Lowered>)>> {
    let depends = |e: &Lowered| {
        let own = |e: &Lowered| Ok(matches!(e, Lowered::OuterReferenceColumn(_, c) if outer.contains(c)));
        e.exists(own).unwrap_or(true)
    };
    Ok(match plan {
        LogicalPlan::Projection(p) => {
            let Some((input, pulled)) = simple(&p.input, outer)? else { return Ok(None) };
            if p.expr.iter().any(depends) {
                return Ok(None);
            }
            // what the conditions read goes along
            let read = pulled.iter().flat_map(|e| e.column_refs().into_iter().cloned().collect::<Vec<_>>());
            let mut exprs = p.expr.clone();
            for column in read {
                let e = Lowered::Column(column);
                if !exprs.contains(&e) {
                    exprs.push(e);
                }
            }
            Some((LogicalPlanBuilder::from(input).project(exprs)?.build()?, pulled))
        }
        LogicalPlan::Filter(f) => {
            let Some((input, mut pulled)) = simple(&f.input, outer)? else { return Ok(None) };
            let all = datafusion::logical_expr::utils::split_conjunction_owned(f.predicate.clone());
            let (theirs, own): (Vec<_>, Vec<_>) = all.into_iter().partition(|e| depends(e));
            pulled.extend(theirs);
            let input = match own.into_iter().reduce(Lowered::and) {
                Some(own) => LogicalPlanBuilder::from(input).filter(own)?.build()?,
                None => input,
            };
            Some((input, pulled))
        }
        LogicalPlan::Sort(s) if !s.expr.iter().any(|s| depends(&s.expr)) => simple(&s.input, outer)?,
        other => references(other)?.iter().all(|c| !outer.contains(c)).then(|| (other.clone(), vec![])),
    })
}
