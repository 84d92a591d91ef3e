//! GROUP BY, grouping sets and aggregates. Values that do not group as they lie are grouped by their keys, and the first
//! value of each group stands for it.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams, GroupingSet};
use datafusion::logical_expr::logical_plan::Aggregate as AggregateNode;
use datafusion::logical_expr::{AggregateUDF, Expr as Lowered, LogicalPlan, LogicalPlanBuilder, SortExpr, Union, lit};

use super::function::{KernelFunction, can_raise};
use super::order::{has_key, key_of};
use super::select::found;
use super::special::{Op, Special};
use super::{Flow, Lower};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::pgtype::{self, Ty};
use crate::sql::expr::{Aggregate, Expr, Kind};
use crate::sql::functions;
use crate::sql::image::{Kind as ProcKind, Proc};
use crate::sql::query::Groups;

pub(super) fn call(
    function: Arc<AggregateUDF>,
    args: Vec<Lowered>,
    filter: Option<Lowered>,
    order_by: Vec<datafusion::logical_expr::SortExpr>,
    distinct: bool,
) -> Lowered {
    let params =
        AggregateFunctionParams { args, distinct, filter: filter.map(Box::new), order_by, null_treatment: None };
    Lowered::AggregateFunction(AggregateFunction { func: function, params })
}

/// The number of rows.
pub(super) fn count_rows() -> Lowered {
    call(count_udaf(), vec![lit(1_i64)], None, vec![], false)
}

pub(super) fn first_value(of: Lowered) -> Lowered {
    call(first_value_udaf(), vec![of], None, vec![], false)
}

/// How one expression of GROUP BY is grouped.
struct Group {
    column: String,
    /// The aggregate that keeps a value, where the column is a key.
    value: Option<String>,
}

impl<'a> Lower<'a> {
    /// One row a group. `above`: all that is computed over the groups.
    pub(super) fn grouped(&mut self, flow: Flow, groups: &'a Groups, above: &[&'a Expr]) -> Result<Flow> {
        let aggregates = found(above, &|e| matches!(e.kind, Kind::Aggregate(_)));
        let groupings = found(above, &|e| matches!(e.kind, Kind::Grouping(_)));
        let mut flow = flow;
        let (mut by, mut keys, mut calls) = (vec![], vec![], vec![]);
        for e in &groups.by {
            let value = self.expr(&mut flow, e)?;
            let column = self.fresh("group");
            let keyed = has_key(e.ty, &e.data_type);
            let kept = keyed.then(|| self.fresh("value"));
            if let Some(kept) = &kept {
                calls.push(first_value(value.clone()).alias(kept));
            }
            keys.push((key_of(value, e.ty, &e.data_type)?, column.clone()));
            by.push(Group { column, value: kept });
        }
        let mut computed = vec![];
        for e in aggregates {
            let Kind::Aggregate(aggregate) = &e.kind else { continue };
            let name = self.fresh(aggregate.proc.name);
            calls.push(self.aggregate(&mut flow, aggregate, e)?.alias(&name));
            computed.push((e.clone(), Column::new_unqualified(name)));
        }
        let whole: Vec<usize> = (0..by.len()).collect();
        let plan = match groups.sets.as_slice() {
            [only] if *only == whole => {
                let keys = keys.into_iter().map(|(e, name)| e.alias(name)).collect();
                aggregated(flow.plan, keys, calls)?
            }
            sets => {
                let flow = self.extend(flow, keys)?;
                self.grouping_sets(flow.plan, &by, sets, calls)?
            }
        };
        let sets = groups.sets.len() != 1;
        let mut result = Flow { plan, columns: Default::default(), computed };
        self.representatives(&mut result, groups, &by)?;
        for e in groupings {
            let Kind::Grouping(of) = &e.kind else { continue };
            let name = self.fresh("grouping");
            let value = match sets {
                false => lit(0_i32),
                true => grouping(groups, of)?,
            };
            result = self.extend(result, vec![(value, name.clone())])?;
            result.computed.push((e.clone(), Column::new_unqualified(name)));
        }
        Ok(result)
    }

    /// Where each expression of GROUP BY lies above the groups.
    fn representatives(&mut self, flow: &mut Flow, groups: &Groups, by: &[Group]) -> Result<()> {
        let mut values = vec![];
        for (group, e) in by.iter().zip(&groups.by) {
            let column = match &group.value {
                None => Column::new_unqualified(&group.column),
                Some(value) => {
                    let name = self.fresh("group");
                    // a set that does not group by it has no key
                    let key = Lowered::Column(Column::new_unqualified(&group.column));
                    let value = Lowered::Column(Column::new_unqualified(value));
                    let whens = vec![(key.is_not_null(), value)];
                    values.push((super::guard::choose(whens, None, false), name.clone()));
                    Column::new_unqualified(name)
                }
            };
            if let Kind::Column(id) = e.kind {
                flow.columns.insert(id, column.clone());
            }
            flow.computed.push((e.clone(), column));
        }
        let grown = self.extend(flow.clone(), values)?;
        *flow = grown;
        Ok(())
    }

    /// DataFusion's grouping sets; a set of nothing, which has a row even where there are none, is a branch of its own.
    fn grouping_sets(
        &mut self,
        input: LogicalPlan,
        by: &[Group],
        sets: &[Vec<usize>],
        calls: Vec<Lowered>,
    ) -> Result<LogicalPlan> {
        let column = |i: &usize| Lowered::Column(Column::new_unqualified(&by[*i].column));
        let (some, empty): (Vec<&Vec<usize>>, Vec<&Vec<usize>>) = sets.iter().partition(|set| !set.is_empty());
        if some.is_empty() && empty.len() == 1 {
            return aggregated(input, vec![], calls);
        }
        let id = AggregateNode::INTERNAL_GROUPING_ID;
        let order = || by.iter().map(|group| Lowered::Column(Column::new_unqualified(&group.column)));
        let names: Vec<String> = calls.iter().map(|call| call.qualified_name().1).collect();
        let values = || names.iter().map(|name| Lowered::Column(Column::new_unqualified(name)));
        let mut parts = vec![];
        if !some.is_empty() {
            // every expression in the first set that is written, so that their bits stand in the order of `by`
            let sets = some.iter().map(|set| set.iter().map(column).collect()).collect();
            let group = Lowered::GroupingSet(GroupingSet::GroupingSets(sets));
            let mut seen: Vec<usize> = vec![];
            for i in some.iter().flat_map(|set| set.iter()) {
                if !seen.contains(i) {
                    seen.push(*i);
                }
            }
            let plan = aggregated(input.clone(), vec![group], calls.clone())?;
            let bits = seen.iter().enumerate().map(|(place, i)| (*i, seen.len() - 1 - place)).collect();
            let id_here = mask(Lowered::Column(Column::new_unqualified(id)), bits, by.len())?;
            let all = order().chain(values()).chain([id_here.alias(id)]);
            parts.push(Arc::new(LogicalPlanBuilder::from(plan).project(all.collect::<Vec<_>>())?.build()?));
        }
        if !empty.is_empty() && some.len() + empty.len() > 1 {
            super::unnest::duplicable(&input)?;
        }
        for _ in empty {
            let types = by.iter().map(|g| {
                let field = input.schema().field_with_unqualified_name(&g.column)?;
                Ok(Lowered::Literal(datafusion::common::ScalarValue::try_from(field.data_type())?, None)
                    .alias(&g.column))
            });
            let nulls = types.collect::<Result<Vec<_>>>()?;
            let plan = aggregated(input.clone(), vec![], calls.clone())?;
            let ones = if by.len() >= 31 { i32::MAX } else { (1_i32 << by.len()) - 1 };
            let all = nulls.into_iter().chain(values()).chain([lit(ones).alias(id)]);
            parts.push(Arc::new(LogicalPlanBuilder::from(plan).project(all.collect::<Vec<_>>())?.build()?));
        }
        Ok(match parts.as_slice() {
            [only] => only.as_ref().clone(),
            _ => LogicalPlan::Union(Union::try_new_with_loose_types(parts)?),
        })
    }

    /// One call, over the rows of `flow`.
    fn aggregate(&mut self, flow: &mut Flow, aggregate: &'a Aggregate, e: &Expr) -> Result<Lowered> {
        let filter = aggregate.filter.as_ref().map(|f| self.expr(flow, f)).transpose()?;
        let (mut args, mut types) = self.aggregate_arguments(flow, aggregate.proc, &aggregate.arguments)?;
        if functions::is_ordered_set(aggregate.proc) {
            // no direct argument, where `count(*)` would be given one
            let direct = aggregate.arguments.len();
            args.truncate(direct);
            types.truncate(direct);
            for sort in &aggregate.order {
                args.push(self.expr(flow, &sort.by)?);
                types.push((sort.by.ty, sort.by.data_type.clone()));
            }
        }
        let args = filtered_arguments(args, &types, filter.as_ref());
        let mut order = vec![];
        for sort in &aggregate.order {
            let value = self.expr(flow, &sort.by)?;
            // an argument is ordered by its type, anything else by its key
            let value = match args.contains(&value) {
                true => value,
                false => key_of(value, sort.by.ty, &sort.by.data_type)?,
            };
            order.push(SortExpr::new(value, !sort.descending, sort.nulls_first));
        }
        let function = functions::aggregate::aggregate(aggregate.proc, &types, (e.ty, e.data_type.clone()));
        Ok(call(function.map_err(|error| error.at(e.at))?, args, filter, order, aggregate.distinct))
    }

    /// As the functions of `functions::aggregate` take them: `count(*)` a constant, values for JSON already spelt.
    pub(super) fn aggregate_arguments(
        &mut self,
        flow: &mut Flow,
        proc: &'static Proc,
        arguments: &'a [Expr],
    ) -> Result<(Vec<Lowered>, Vec<(Ty, DataType)>)> {
        if arguments.is_empty() && proc.kind == ProcKind::Aggregate {
            return Ok((vec![lit(1_i64)], vec![(Ty::INT8, DataType::Int64)]));
        }
        let (mut args, mut types) = (vec![], vec![]);
        for (i, argument) in arguments.iter().enumerate() {
            let value = self.expr(flow, argument)?;
            let Some(spelt) = functions::aggregate::spelt_by(proc, i) else {
                args.push(value);
                types.push((argument.ty, argument.data_type.clone()));
                continue;
            };
            let ty = Ty::of(spelt.result);
            let function = KernelFunction::of_proc(spelt, vec![argument.ty], ty, DataType::Utf8)?;
            args.push(function.call(vec![value]));
            // json_agg writes arrays and records on lines of their own
            let was = if functions::aggregate::is_structured(argument.ty.oid) { argument.ty } else { ty };
            types.push((was, DataType::Utf8));
        }
        Ok((args, types))
    }
}

/// Arguments that can raise are computed for the rows that count.
pub(super) fn filtered_arguments(
    args: Vec<Lowered>,
    types: &[(Ty, DataType)],
    filter: Option<&Lowered>,
) -> Vec<Lowered> {
    let Some(filter) = filter else { return args };
    let each = args.into_iter().zip(types).map(|(arg, (ty, _))| match can_raise(&arg) {
        true => super::guard::choose(vec![(filter.clone(), arg)], None, *ty == Ty::BOOL),
        false => arg,
    });
    each.collect()
}

pub(super) fn aggregated(input: LogicalPlan, groups: Vec<Lowered>, calls: Vec<Lowered>) -> Result<LogicalPlan> {
    if groups.is_empty() && calls.is_empty() {
        // HAVING or GROUP BY () alone: one row, whatever is below
        let counted = AggregateNode::try_new(Arc::new(input), vec![], vec![count_rows().alias("rows")])?;
        return Ok(LogicalPlan::Aggregate(counted));
    }
    Ok(LogicalPlan::Aggregate(AggregateNode::try_new(Arc::new(input), groups, calls)?))
}

/// A grouping id of DataFusion's, whose bits stand as `bits` says, as one whose bits stand in the order of GROUP BY.
fn mask(id: Lowered, bits: Vec<(usize, usize)>, count: usize) -> Result<Lowered> {
    let mut places = vec![];
    for i in 0..count {
        // an expression that no set has is never grouped by
        let place = bits.iter().find(|(by, _)| *by == i).map_or(63, |(_, place)| *place);
        places.push(u32::try_from(place).map_err(|_| Error::internal("a grouping id of that many bits"))?);
    }
    let field = pgtype::field("grouping", Ty::INT4, DataType::Int32);
    Ok(Special::call(Op::Grouping(places), field, vec![id]))
}

/// `GROUPING(a, b)`: a bit for each argument.
fn grouping(groups: &Groups, of: &[Expr]) -> Result<Lowered> {
    let mut places = vec![];
    for e in of {
        let place = groups.by.iter().position(|by| by == e);
        let place = place.ok_or_else(|| {
            let text = "arguments to GROUPING must be grouping expressions of the associated query level";
            Error::new(ErrorKind::Grouping, text).at(e.at)
        })?;
        places.push(u32::try_from(groups.by.len() - 1 - place).map_err(|_| Error::internal("too many groups"))?);
    }
    let id = Lowered::Column(Column::new_unqualified(AggregateNode::INTERNAL_GROUPING_ID));
    let field = pgtype::field("grouping", Ty::INT4, DataType::Int32);
    Ok(Special::call(Op::Grouping(places), field, vec![id]))
}
