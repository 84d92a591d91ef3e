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
use super::special::{Op, Special};
use super::{Flow, Lower};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::pgtype::{self, Ty};
use crate::sql::expr::{Aggregate, Expr, Kind};
use crate::sql::functions;
use crate::sql::image::{Kind as ProcKind, Proc};
use crate::sql::query::{Groups, LevelId};

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
        let aggregates = aggregates_of(groups.level, above);
        let groupings = of_level(above, &|e| matches!(&e.kind, Kind::Grouping { level, .. } if *level == groups.level));
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
            let read = |argument: &Expr| argument.any(&|e| matches!(e.kind, Kind::Column(_)));
            if groups.sets.len() > 1
                && functions::is_ordered_set(aggregate.proc)
                && aggregate.arguments.iter().any(read)
            {
                let text = "a direct argument that reads a column of several grouping sets";
                return Err(Error::unsupported(text).at(e.at));
            }
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
        let mut result = Flow { plan, columns: Default::default(), computed, order: vec![] };
        self.representatives(&mut result, groups, &by)?;
        for e in groupings {
            let Kind::Grouping { of, .. } = &e.kind else { continue };
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

    /// DataFusion's grouping sets.
    fn grouping_sets(
        &mut self,
        input: LogicalPlan,
        by: &[Group],
        sets: &[Vec<usize>],
        calls: Vec<Lowered>,
    ) -> Result<LogicalPlan> {
        let id = AggregateNode::INTERNAL_GROUPING_ID;
        let all = if by.len() >= 31 { i32::MAX } else { (1_i32 << by.len()) - 1 };
        let empty = sets.iter().filter(|set| set.is_empty()).count();
        if empty == sets.len() {
            let plan = aggregated(input, vec![], calls)?;
            if empty == 1 {
                return Ok(plan);
            }
            let ids = (0..empty).map(|_| vec![lit(all)]).collect();
            let ids = LogicalPlanBuilder::values(ids)?.project(vec![Lowered::Column("column1".into()).alias(id)])?;
            return Ok(LogicalPlanBuilder::from(plan).cross_join(ids.build()?)?.build()?);
        }
        let rows = self.fresh("rows");
        let (input, calls) = match empty {
            0 => (input, calls),
            _ => self.with_row_of_nothing(input, by, calls, &rows)?,
        };
        let column = |name: &str| Lowered::Column(Column::new_unqualified(name));
        let names: Vec<String> = calls.iter().map(|call| call.qualified_name().1).collect();
        // their bits stand in the order in which the sets first name them
        let group = sets.iter().map(|set| set.iter().map(|i| column(&by[*i].column)).collect()).collect();
        let mut seen: Vec<usize> = vec![];
        for i in sets.iter().flatten() {
            if !seen.contains(i) {
                seen.push(*i);
            }
        }
        let plan = aggregated(input, vec![Lowered::GroupingSet(GroupingSet::GroupingSets(group))], calls)?;
        let bits = seen.iter().enumerate().map(|(place, i)| (*i, seen.len() - 1 - place)).collect();
        let order = by.iter().map(|group| group.column.as_str()).chain(names.iter().map(String::as_str));
        let shown = order.map(column).chain([mask(column(id), bits, by.len())?.alias(id)]);
        let plan = LogicalPlanBuilder::from(plan).project(shown.collect::<Vec<_>>())?;
        Ok(match empty {
            0 => plan.build()?,
            _ => plan.filter(column(id).eq(lit(all)).or(column(&rows).gt(lit(0_i64))))?.build()?,
        })
    }

    /// A set of nothing has a row even where there are none. So there is always one: a row that no call counts, and whose
    /// groups are left out where `rows`, the number of the others, is zero. What calls read is computed before.
    fn with_row_of_nothing(
        &mut self,
        input: LogicalPlan,
        by: &[Group],
        calls: Vec<Lowered>,
        rows: &str,
    ) -> Result<(LogicalPlan, Vec<Lowered>)> {
        let mut columns: Vec<Lowered> =
            by.iter().map(|group| Lowered::Column(Column::new_unqualified(&group.column))).collect();
        let present = self.fresh("present");
        let here = Lowered::Column(Column::new_unqualified(&present)).is_not_null();
        let mut counted = vec![];
        for call in calls {
            let (call, name) = match call {
                Lowered::Alias(alias) => (*alias.expr, alias.name),
                other => return Err(Error::internal(format!("{other} has no name"))),
            };
            let Lowered::AggregateFunction(mut call) = call else {
                return Err(Error::internal(format!("{call} is no aggregate")));
            };
            let mut before = |e: Lowered| {
                if matches!(e, Lowered::Literal(..)) {
                    return e;
                }
                let name = self.fresh("of");
                columns.push(e.alias(&name));
                Lowered::Column(Column::new_unqualified(name))
            };
            // an order by an argument must be seen to be one
            let mut known: Vec<(Lowered, Lowered)> = vec![];
            let mut once = |e: Lowered| match known.iter().find(|(one, _)| *one == e) {
                Some((_, column)) => column.clone(),
                None => {
                    let column = before(e.clone());
                    known.push((e, column.clone()));
                    column
                }
            };
            let params = &mut call.params;
            params.args = std::mem::take(&mut params.args).into_iter().map(&mut once).collect();
            let order = std::mem::take(&mut params.order_by).into_iter();
            params.order_by = order.map(|sort| SortExpr { expr: once(sort.expr), ..sort }).collect();
            let filter = params.filter.take().map(|filter| here.clone().and(once(*filter)));
            params.filter = Some(Box::new(filter.unwrap_or_else(|| here.clone())));
            counted.push(Lowered::AggregateFunction(call).alias(name));
        }
        let all = call(count_udaf(), vec![lit(1_i64)], Some(here.clone()), vec![], false);
        counted.push(all.alias(rows));
        columns.push(lit(true).alias(&present));
        let real = LogicalPlanBuilder::from(input).project(columns)?.build()?;
        let nothing = real.schema().fields().iter().map(|field| {
            let null = datafusion::common::ScalarValue::try_from(field.data_type())?;
            Ok(Lowered::Literal(null, None).alias(field.name()))
        });
        let nothing = nothing.collect::<Result<Vec<_>>>()?;
        let nothing = LogicalPlanBuilder::from(super::relation::one_row()).project(nothing)?.build()?;
        let both = vec![Arc::new(real), Arc::new(nothing)];
        Ok((LogicalPlan::Union(Union::try_new_with_loose_types(both)?), counted))
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
        if order.is_empty() && !aggregate.distinct && gathers(aggregate.proc) {
            order.clone_from(&flow.order);
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
            let Some((source, ty)) = functions::aggregate::spelt_by(proc, i) else {
                args.push(value);
                types.push((argument.ty, argument.data_type.clone()));
                continue;
            };
            let function = KernelFunction::of_source(source, vec![argument.ty], ty, DataType::Utf8)?;
            args.push(function.call(vec![value]));
            // json_agg writes arrays and records on lines of their own
            let was = if functions::aggregate::is_structured(argument.ty.oid) { argument.ty } else { ty };
            types.push((was, DataType::Utf8));
        }
        Ok((args, types))
    }
}

/// Whether the order of its rows is seen in what it gives.
fn gathers(proc: &Proc) -> bool {
    matches!(
        proc.name,
        "array_agg" | "string_agg" | "json_agg" | "jsonb_agg" | "json_object_agg" | "jsonb_object_agg" | "xmlagg"
    )
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

/// Calls of aggregates that are computed at that level of the query.
fn aggregates_of<'e>(level: LevelId, among: &[&'e Expr]) -> Vec<&'e Expr> {
    of_level(among, &|e| matches!(&e.kind, Kind::Aggregate(a) if a.level == level))
}

/// Those that satisfy `is`, in subqueries too, none twice.
fn of_level<'e>(among: &[&'e Expr], is: &dyn Fn(&Expr) -> bool) -> Vec<&'e Expr> {
    let mut all: Vec<&'e Expr> = vec![];
    for expr in among {
        expr.visit(&mut |e| {
            if is(e) && !all.contains(&e) {
                all.push(e);
            }
        });
    }
    all
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
