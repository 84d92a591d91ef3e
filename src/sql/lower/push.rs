//! A dependent join pushed down: the domain of outer values joined into a plan where something depends on it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, JoinType, NullEquality, ScalarValue};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::GroupingSet;
use datafusion::logical_expr::logical_plan::{Aggregate, Distinct, Filter, Join, Limit};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{
    BinaryExpr, Expr, LogicalPlan, LogicalPlanBuilder, Operator, SortExpr, Union, binary_expr, lit,
};

use super::Lower;
use super::order::{Int8, numbering};
use super::rounds::Carrying;
use super::unnest::{duplicable, references, resolved};
use crate::error::{Error, Result};

pub(super) struct Dependent<'l, 'a> {
    pub(super) lower: &'l mut Lower<'a>,
    /// The columns of the query around, in the order of the domain's.
    pub(super) outer: Vec<Column>,
    /// Their distinct values.
    pub(super) domain: LogicalPlan,
    /// The subquery may be computed for values that the domain does not have: nothing in it can raise.
    pub(super) free: bool,
    /// Recursive queries whose step is being pushed into.
    pub(super) rounds: Vec<Carrying>,
}

impl Dependent<'_, '_> {
    fn depends(&self, plan: &LogicalPlan) -> Result<bool> {
        Ok(references(plan)?.iter().any(|c| self.outer.contains(c)) || self.carries(plan)?)
    }

    fn expr_depends(&self, e: &Expr) -> bool {
        e.exists(|e| Ok(matches!(e, Expr::OuterReferenceColumn(_, c) if self.outer.contains(c)))).unwrap_or(true)
    }

    /// The domain once more, under names of its own.
    fn domain(&mut self) -> Result<(LogicalPlan, Vec<Column>)> {
        duplicable(&self.domain)?;
        let mut names = vec![];
        let exprs: Vec<Expr> = self
            .outer
            .iter()
            .map(|column| {
                let name = self.lower.fresh("d");
                names.push(Column::new_unqualified(&name));
                Expr::Column(column.clone()).alias(name)
            })
            .collect();
        Ok((LogicalPlanBuilder::from(self.domain.clone()).project(exprs)?.build()?, names))
    }

    fn resolve(&self, e: Expr, domain: &[Column]) -> Result<Expr> {
        let names: HashMap<Column, Column> = self.outer.iter().cloned().zip(domain.iter().cloned()).collect();
        resolved(e, &names)
    }

    fn resolve_all(&self, all: Vec<Expr>, domain: &[Column]) -> Result<Vec<Expr>> {
        all.into_iter().map(|e| self.resolve(e, domain)).collect()
    }

    /// The rows of `plan` for each value of the domain, beside that value: the plan, and the columns that hold it.
    pub(super) fn push(&mut self, plan: LogicalPlan) -> Result<(LogicalPlan, Vec<Column>)> {
        if !self.depends(&plan)? {
            let (domain, names) = self.domain()?;
            // of one row without columns nothing is left beside the domain
            let plan = match &plan {
                LogicalPlan::EmptyRelation(e) if e.produce_one_row && e.schema.fields().is_empty() => domain,
                _ => LogicalPlanBuilder::from(domain).cross_join(plan)?.build()?,
            };
            return Ok((plan, names));
        }
        match plan {
            LogicalPlan::Projection(p) => {
                let (input, domain) = self.push(Arc::unwrap_or_clone(p.input))?;
                let mut exprs = self.resolve_all(p.expr, &domain)?;
                exprs.extend(domain.iter().cloned().map(Expr::Column));
                Ok((LogicalPlanBuilder::from(input).project(exprs)?.build()?, domain))
            }
            LogicalPlan::Filter(f) => {
                if self.free
                    && !self.depends(&f.input)?
                    && let Some(bound) = self.bound(&f)?
                {
                    return Ok(bound);
                }
                let (input, domain) = self.push(Arc::unwrap_or_clone(f.input))?;
                let predicate = self.resolve(f.predicate, &domain)?;
                Ok((LogicalPlanBuilder::from(input).filter(predicate)?.build()?, domain))
            }
            LogicalPlan::Sort(s) => {
                let (input, domain) = self.push(Arc::unwrap_or_clone(s.input))?;
                let keys = self.sort_keys(s.expr, &domain)?;
                Ok((LogicalPlanBuilder::from(input).sort(keys)?.build()?, domain))
            }
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Window(window) => {
                let (input, domain) = self.push(Arc::unwrap_or_clone(window.input))?;
                let calls = self.resolve_all(window.window_expr, &domain)?;
                let calls = calls.into_iter().map(|call| partitioned(call, &domain)).collect::<Result<Vec<_>>>()?;
                Ok((LogicalPlanBuilder::from(input).window(calls)?.build()?, domain))
            }
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let (input, domain) = self.push(Arc::unwrap_or_clone(input))?;
                Ok((LogicalPlanBuilder::from(input).distinct()?.build()?, domain))
            }
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Unnest(unnest) => {
                let (input, domain) = self.push(Arc::unwrap_or_clone(unnest.input))?;
                let builder = LogicalPlanBuilder::from(input);
                Ok((builder.unnest_columns_with_options(unnest.exec_columns, unnest.options)?.build()?, domain))
            }
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::SubqueryAlias(alias) => self.aliased(alias),
            LogicalPlan::RecursiveQuery(query) => self.recursion(query),
            LogicalPlan::TableScan(scan) => self.last_round(&scan),
            other => Err(Error::unsupported("a subquery of this form that reads columns of the query around it")
                .with_source(other.display().to_string())),
        }
    }

    /// Where conditions make each outer value equal to one of the plan's own, that one stands for it, and the domain is
    /// not needed. `None` where one is not.
    fn bound(&mut self, filter: &Filter) -> Result<Option<(LogicalPlan, Vec<Column>)>> {
        let conditions = split_conjunction_owned(filter.predicate.clone());
        let mut own: HashMap<Column, Expr> = HashMap::new();
        let mut rest = vec![];
        for condition in conditions {
            match self.equality(&condition) {
                Some((outer, value)) if !own.contains_key(&outer) => {
                    rest.push(value.clone().is_not_null());
                    own.insert(outer, value);
                }
                _ => rest.push(condition),
            }
        }
        let (mut names, mut values) = (vec![], vec![]);
        for column in &self.outer {
            let Some(value) = own.get(column) else { return Ok(None) };
            let name = self.lower.fresh("d");
            names.push(Column::new_unqualified(&name));
            values.push(value.clone().alias(name));
        }
        let rest = rest.into_iter().map(|e| {
            let each = e.transform(|e| {
                Ok(match &e {
                    Expr::OuterReferenceColumn(_, column) => match own.get(column) {
                        Some(value) => Transformed::yes(value.clone()),
                        None => Transformed::no(e),
                    },
                    _ => Transformed::no(e),
                })
            });
            Ok(each?.data)
        });
        let rest = rest.collect::<Result<Vec<_>>>()?.into_iter().reduce(Expr::and).unwrap_or_else(|| lit(true));
        let input = filter.input.as_ref().clone();
        let exprs: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).chain(values).collect();
        Ok(Some((LogicalPlanBuilder::from(input).filter(rest)?.project(exprs)?.build()?, names)))
    }

    /// `outer = value`, over values that are the same where they are equal.
    fn equality(&self, condition: &Expr) -> Option<(Column, Expr)> {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return None };
        let pairs = [(left, right), (right, left)];
        pairs.into_iter().find_map(|(outer, value)| match outer.as_ref() {
            Expr::OuterReferenceColumn(field, column)
                if self.outer.contains(column)
                    && !matches!(field.data_type(), DataType::Float32 | DataType::Float64)
                    && !self.expr_depends(value)
                    && !value.is_volatile() =>
            {
                Some((column.clone(), value.as_ref().clone()))
            }
            _ => None,
        })
    }

    fn sort_keys(&self, keys: Vec<SortExpr>, domain: &[Column]) -> Result<Vec<SortExpr>> {
        let each = keys.into_iter().map(|key| Ok(SortExpr { expr: self.resolve(key.expr, domain)?, ..key }));
        each.collect()
    }

    /// So many rows for each value.
    fn limit(&mut self, limit: Limit) -> Result<(LogicalPlan, Vec<Column>)> {
        let input = Arc::unwrap_or_clone(limit.input);
        let keys = match &input {
            LogicalPlan::Sort(sort) => sort.expr.clone(),
            _ => vec![],
        };
        let (input, domain) = self.push(input)?;
        let keys = self.sort_keys(keys, &domain)?;
        let name = self.lower.fresh("number");
        let by = domain.iter().cloned().map(Expr::Column).collect();
        let number = numbering(row_number_udwf(), by, keys).alias(&name);
        let place = Expr::Column(Column::new_unqualified(name)).cast_to_int8();
        let skip = limit.skip.map_or_else(|| lit(0_i64), |skip| *skip);
        let mut condition = place.clone().gt(skip.clone());
        if let Some(fetch) = limit.fetch {
            let last = match (&skip, fetch.as_ref()) {
                (Expr::Literal(ScalarValue::Int64(Some(a)), _), Expr::Literal(ScalarValue::Int64(Some(b)), _)) => {
                    lit(a.saturating_add(*b))
                }
                _ => skip + *fetch,
            };
            condition = condition.and(place.lt_eq(last));
        }
        Ok((LogicalPlanBuilder::from(input).window(vec![number])?.filter(condition)?.build()?, domain))
    }

    /// Groups within each value. Without GROUP BY there is a row for each value, also where it has no rows: a padded one
    /// then stands for them, which no call counts.
    fn aggregate(&mut self, aggregate: Aggregate) -> Result<(LogicalPlan, Vec<Column>)> {
        let (input, domain) = self.push(Arc::unwrap_or_clone(aggregate.input))?;
        let calls = self.resolve_all(aggregate.aggr_expr, &domain)?;
        let own = || domain.iter().cloned().map(Expr::Column);
        let groups = self.resolve_all(aggregate.group_expr, &domain)?;
        if !groups.is_empty() {
            let groups = match groups.as_slice() {
                // the domain first, so that the bits of the others stay where they are
                [Expr::GroupingSet(GroupingSet::GroupingSets(sets))] => {
                    let sets = sets.iter().map(|set| own().chain(set.iter().cloned()).collect()).collect();
                    vec![Expr::GroupingSet(GroupingSet::GroupingSets(sets))]
                }
                _ => own().chain(groups).collect(),
            };
            return Ok((LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), groups, calls)?), domain));
        }
        let marker = self.lower.fresh("present");
        let kept = input.schema().columns().into_iter().map(Expr::Column).chain([lit(true).alias(&marker)]);
        let marked = LogicalPlanBuilder::from(input.clone()).project(kept.collect::<Vec<_>>())?.build()?;
        let (all, names) = self.domain()?;
        let on = (names.clone(), domain);
        let padded = LogicalPlanBuilder::from(all).join_detailed(
            marked,
            JoinType::Left,
            on,
            None,
            NullEquality::NullEqualsNull,
        )?;
        let present = Expr::Column(Column::new_unqualified(marker)).is_not_null();
        let calls = calls.into_iter().map(|call| filtered(call, &present)).collect::<Result<Vec<_>>>()?;
        let groups = names.iter().cloned().map(Expr::Column).collect();
        Ok((LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(padded.build()?), groups, calls)?), names))
    }

    fn union(&mut self, union: Union) -> Result<(LogicalPlan, Vec<Column>)> {
        let names: Vec<Column> = union.schema.columns();
        let mut domain: Vec<Column> = vec![];
        let mut parts = vec![];
        for input in union.inputs {
            let own = input.schema().columns();
            let (part, found) = self.push(Arc::unwrap_or_clone(input))?;
            if domain.is_empty() {
                domain = (0..found.len()).map(|_| Column::new_unqualified(self.lower.fresh("d"))).collect();
            }
            let columns = own.into_iter().chain(found).zip(names.iter().chain(&domain));
            let exprs = columns.map(|(from, to)| Expr::Column(from).alias_qualified(to.relation.clone(), &to.name));
            parts.push(Arc::new(LogicalPlanBuilder::from(part).project(exprs.collect::<Vec<_>>())?.build()?));
        }
        Ok((LogicalPlan::Union(Union::try_new_with_loose_types(parts)?), domain))
    }

    fn join(&mut self, join: Join) -> Result<(LogicalPlan, Vec<Column>)> {
        let mut filters: Vec<Expr> = vec![];
        let equal = match join.null_equality {
            NullEquality::NullEqualsNothing => Operator::Eq,
            NullEquality::NullEqualsNull => Operator::IsNotDistinctFrom,
        };
        for (left, right) in join.on {
            filters.push(binary_expr(left, equal, right));
        }
        filters.extend(join.filter);
        let (left, right) = (Arc::unwrap_or_clone(join.left), Arc::unwrap_or_clone(join.right));
        let (in_left, in_right) = (self.depends(&left)?, self.depends(&right)?);
        use JoinType::*;
        // the side whose rows come out whether they meet others or not must have the values
        let (push_left, push_right) = match join.join_type {
            Inner => (in_left || !in_right, in_right),
            Left | LeftSemi | LeftAnti | LeftMark => (true, in_right),
            Right | RightSemi | RightAnti | RightMark => (in_left, true),
            Full => (true, true),
        };
        let (left, of_left) = self.side(left, push_left)?;
        let (right, of_right) = self.side(right, push_right)?;
        let keeps_right = matches!(join.join_type, Right | RightSemi | RightAnti | RightMark);
        let domain = match (&of_left, &of_right) {
            (Some(_), Some(right)) if keeps_right => right.clone(),
            (Some(left), _) => left.clone(),
            (None, Some(right)) => right.clone(),
            (None, None) => return Err(Error::internal("a dependent join that depends on nothing")),
        };
        let mut filters = self.resolve_all(filters, &domain)?;
        if let (Some(left), Some(right)) = (&of_left, &of_right) {
            let pairs = left.iter().zip(right);
            filters.extend(pairs.map(|(l, r)| {
                binary_expr(Expr::Column(l.clone()), Operator::IsNotDistinctFrom, Expr::Column(r.clone()))
            }));
        }
        if filters.is_empty() && join.join_type != Inner {
            filters.push(lit(true));
        }
        let joined = match filters.is_empty() {
            true => LogicalPlanBuilder::from(left).cross_join(right)?.build()?,
            false => LogicalPlanBuilder::from(left).join_on(right, join.join_type, filters)?.build()?,
        };
        let (Full, Some(left), Some(right)) = (join.join_type, &of_left, &of_right) else {
            return Ok((joined, domain));
        };
        // either side may be the one that is there
        let mut names = vec![];
        let mut exprs: Vec<Expr> = joined.schema().columns().into_iter().map(Expr::Column).collect();
        for (l, r) in left.iter().zip(right) {
            let name = self.lower.fresh("d");
            let l = Expr::Column(l.clone());
            let whens = vec![(l.clone().is_not_null(), l)];
            exprs.push(super::guard::choose(whens, Some(Expr::Column(r.clone())), false).alias(&name));
            names.push(Column::new_unqualified(name));
        }
        Ok((LogicalPlanBuilder::from(joined).project(exprs)?.build()?, names))
    }

    fn side(&mut self, plan: LogicalPlan, pushed: bool) -> Result<(LogicalPlan, Option<Vec<Column>>)> {
        if !pushed {
            return Ok((plan, None));
        }
        let (plan, domain) = self.push(plan)?;
        Ok((plan, Some(domain)))
    }
}

/// The window within each value of the domain.
fn partitioned(call: Expr, domain: &[Column]) -> Result<Expr> {
    match call {
        Expr::Alias(mut alias) => {
            *alias.expr = partitioned(*alias.expr, domain)?;
            Ok(Expr::Alias(alias))
        }
        Expr::WindowFunction(mut window) => {
            window.params.partition_by.extend(domain.iter().cloned().map(Expr::Column));
            Ok(Expr::WindowFunction(window))
        }
        other => Err(Error::internal(format!("{other} is no window function"))),
    }
}

/// The aggregate over rows of which this is true.
fn filtered(call: Expr, present: &Expr) -> Result<Expr> {
    match call {
        Expr::Alias(mut alias) => {
            *alias.expr = filtered(*alias.expr, present)?;
            Ok(Expr::Alias(alias))
        }
        Expr::AggregateFunction(mut call) => {
            let filter = call.params.filter.take().map_or_else(|| present.clone(), |own| present.clone().and(*own));
            call.params.filter = Some(Box::new(filter));
            Ok(Expr::AggregateFunction(call))
        }
        other => Err(Error::internal(format!("{other} is no aggregate"))),
    }
}
