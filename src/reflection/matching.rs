//! Whether what a reflection stores answers a block of a query, and how: which stored columns, filtered by what is left of the
//! conditions, grouped again, merged how. Pure: it looks at two blocks and at no data, no right and no clock.
//!
//! The rules are Goldstein's and Larson's (SIGMOD 2001, section 3) for one table: the stored rows hold all that are asked for;
//! what is left of the conditions can be asked of dimensions; groups are unions of stored groups; aggregates can be made of
//! their parts to the last digit. Sums and averages of floats cannot, since their last bit follows the order of the rows.

pub(super) mod range;

use std::collections::BTreeSet;
use std::fmt;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::expr::{AggregateFunction, BinaryExpr, GroupingSet};
use datafusion::logical_expr::logical_plan::Aggregate;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Operator, Union, binary_expr};

use self::range::implies;
use super::block::{Block, Definition, Stores};
use crate::error::{Error, Result};
use crate::sql::lower::can_raise;
use crate::sql::lower::rollup::{self, Merge, SameSettings, Truncated, truncated};

/// Why a reflection does not answer. No value of a statement is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyNot {
    Disabled,
    /// Nothing was stored yet.
    NotRefreshed,
    /// Its tables have changed since.
    Behind,
    /// Its tables are read as they are, and no staleness is allowed.
    Live,
    /// Older than the session allows.
    TooOld,
    /// Its own query is of a kind that nothing is matched with.
    Definition,
    /// It joins tables.
    Joins,
    /// It was made to answer groups, or rows, and the other is asked for.
    Kind,
    /// It leaves rows out that the query asks for.
    Rows,
    /// It has no groups, and so a row where its table has none; the query groups.
    OneRow,
    /// A condition that can fail would be asked of other rows.
    Raises,
    /// An expression that is another one each time.
    Volatile,
    /// The query needs this column, or an expression of it, which is not stored.
    Column(String),
    /// The query needs this aggregate, which is not stored and cannot be made of what is.
    Aggregate(String),
    /// A column is stored in a form that is not read.
    Form,
    /// Another one has fewer rows.
    Larger,
    /// A scan needs a column or a row that it does not have.
    Lacks,
    /// A right on the table cannot be kept over what is stored.
    Right(&'static str),
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => f.write_str("it is disabled"),
            Self::NotRefreshed => f.write_str("it was not refreshed yet"),
            Self::Behind => f.write_str("its tables have changed since it was refreshed"),
            Self::Live => f.write_str("its tables have no versions, and lakegate.max_staleness is 0"),
            Self::TooOld => f.write_str("it is older than lakegate.max_staleness"),
            Self::Definition => f.write_str("its definition is of a kind from which nothing is answered yet"),
            Self::Joins => f.write_str("it joins tables, and nothing is answered from such a one yet"),
            Self::Kind => f.write_str("it stores groups, or rows, and the query needs the other"),
            Self::Rows => f.write_str("it leaves out rows that the query asks for"),
            Self::OneRow => f.write_str("it has a row where its table has none, and the query has groups"),
            Self::Raises => f.write_str("a condition that can fail would be asked of other rows"),
            Self::Volatile => f.write_str("the query has an expression that differs each time"),
            Self::Column(name) => write!(f, "column \"{name}\" is not stored as the query needs it"),
            Self::Aggregate(name) => write!(f, "{name} cannot be made of what is stored"),
            Self::Form => f.write_str("a column is stored in a form that is not read"),
            Self::Larger => f.write_str("another reflection has fewer rows"),
            Self::Lacks => f.write_str("it lacks columns or rows that the query reads"),
            Self::Right(why) => f.write_str(why),
        }
    }
}

/// How stored groups answer.
#[derive(Debug)]
pub struct Answer {
    /// The stored columns that it reads.
    pub columns: BTreeSet<usize>,
    /// The table's columns that the query reads.
    pub reads: BTreeSet<String>,
    /// The query's conditions, over the table's columns.
    asked: Vec<Expr>,
    /// What the stored columns that are read were computed by, over the table's columns: groups, then aggregates.
    made_by: Vec<(usize, Expr)>,
    conditions: Vec<Expr>,
    by: Vec<Expr>,
    sets: Option<Vec<Vec<usize>>>,
    calls: Vec<Expr>,
}

/// `columns`: the schema of the reflection's query. `same`: of its refresh and of the statement.
pub(crate) fn matched(
    query: &Block<'_>,
    definition: &Definition<'_>,
    columns: &DFSchema,
    same: SameSettings,
) -> Result<Answer, WhyNot> {
    let Definition::Groups { block, columns: stores } = definition else { return Err(WhyNot::Kind) };
    if block.by.is_empty() && !query.by.is_empty() {
        return Err(WhyNot::OneRow);
    }
    let rows = &query.rows;
    let of_calls = || query.calls.iter().flat_map(|call| call.params.args.iter().chain(call.params.filter.as_deref()));
    if rows.conjuncts.iter().chain(&query.by).chain(of_calls()).any(rollup::is_volatile) {
        return Err(WhyNot::Volatile);
    }
    if !block.rows.conjuncts.is_empty() && rows.conjuncts.iter().any(can_raise) {
        return Err(WhyNot::Raises);
    }
    let known = |e: &Expr| rollup::is_fixed(e, same);
    let holds = |condition: &Expr| known(condition) && implies(&rows.conjuncts, condition);
    if !block.rows.conjuncts.iter().all(holds) {
        return Err(WhyNot::Rows);
    }
    let mut matching = Matching { columns, dimensions: vec![], measures: vec![], used: BTreeSet::new() };
    for (at, stores) in stores.iter().enumerate() {
        match stores {
            Stores::Dimension(of) => {
                let e = &block.by[*of];
                if known(e) && rollup::groups_as_it_lies(columns.field(at)) {
                    matching.dimensions.push((at, e));
                }
            }
            Stores::Measure(of) => {
                let call = &block.calls[*of];
                let params = &call.params;
                let plain = !params.distinct && params.order_by.is_empty() && params.null_treatment.is_none();
                if plain && params.args.iter().chain(params.filter.as_deref()).all(known) {
                    matching.measures.push((at, call));
                }
            }
            Stores::Other => {}
        }
    }
    let left = rows.conjuncts.iter().filter(|condition| !block.rows.conjuncts.contains(condition));
    let conditions = left.map(|condition| matching.condition(condition)).collect::<Result<Vec<_>, _>>()?;
    let by = query.by.iter().map(|e| matching.over(e)).collect::<Result<Vec<_>, _>>()?;
    let calls = query.calls.iter().map(|call| matching.call(call)).collect::<Result<Vec<_>, _>>()?;
    let mut reads = BTreeSet::new();
    for e in rows.conjuncts.iter().chain(&query.by).chain(of_calls()) {
        reads.extend(e.column_refs().into_iter().map(|column| column.name.clone()));
    }
    let groups = matching.dimensions.iter().map(|(at, e)| (*at, (*e).clone()));
    let calls_of = matching.measures.iter().map(|(at, call)| (*at, Expr::AggregateFunction((*call).clone())));
    let made_by = groups.chain(calls_of).filter(|(at, _)| matching.used.contains(at)).collect();
    let asked = rows.conjuncts.clone();
    Ok(Answer { columns: matching.used, reads, asked, made_by, conditions, by, sets: query.sets.clone(), calls })
}

struct Matching<'a> {
    columns: &'a DFSchema,
    dimensions: Vec<(usize, &'a Expr)>,
    measures: Vec<(usize, &'a AggregateFunction)>,
    /// What has been read so far.
    used: BTreeSet<usize>,
}

impl Matching<'_> {
    fn read(&mut self, at: usize) -> Expr {
        self.used.insert(at);
        rollup::column(&name_of(at))
    }

    /// A condition of dimensions alone. One on a time that begins a unit is one on the time truncated to it.
    fn condition(&mut self, condition: &Expr) -> Result<Expr, WhyNot> {
        if let Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::GtEq | Operator::Lt), right }) = condition
            && let Expr::Literal(value, _) = right.as_ref()
        {
            let begins = |(_, known): &&(usize, &Expr)| {
                truncated(known).is_some_and(|unit| unit.of == left.as_ref() && unit.begins(value))
            };
            if let Some((at, _)) = self.dimensions.iter().find(begins) {
                return Ok(binary_expr(self.read(*at), *op, right.as_ref().clone()));
            }
        }
        self.over(condition)
    }

    /// `expr` of dimensions alone.
    fn over(&mut self, expr: &Expr) -> Result<Expr, WhyNot> {
        let mut missing = None;
        let replaced = expr.clone().transform_down(|e| {
            if let Some(found) = self.dimension(&e) {
                return Ok(Transformed::new(found, true, datafusion::common::tree_node::TreeNodeRecursion::Jump));
            }
            if let Expr::Column(column) = &e {
                missing = Some(column.name.clone());
            }
            Ok(Transformed::no(e))
        });
        match (replaced, missing) {
            (_, Some(name)) => Err(WhyNot::Column(name)),
            (Ok(replaced), None) => Ok(replaced.data),
            (Err(_), None) => Err(WhyNot::Definition),
        }
    }

    /// The dimension that it is, or one that it can be truncated from.
    fn dimension(&mut self, expr: &Expr) -> Option<Expr> {
        if let Some((at, _)) = self.dimensions.iter().find(|(_, known)| *known == expr) {
            return Some(self.read(*at));
        }
        let coarse = truncated(expr)?;
        let fine = |(at, known): &(usize, &Expr)| {
            let finer: Truncated<'_> = truncated(known)?;
            (finer.of == coarse.of && coarse.is_made_of(&finer)).then_some(*at)
        };
        let at = self.dimensions.iter().find_map(fine)?;
        let value = self.read(at);
        Some(coarse.over(value))
    }

    fn call(&mut self, call: &AggregateFunction) -> Result<Expr, WhyNot> {
        let why = || WhyNot::Aggregate(call.func.name().to_owned());
        let params = &call.params;
        if params.null_treatment.is_some() || !params.order_by.is_empty() {
            return Err(why());
        }
        let merge = rollup::merge(call).ok_or_else(why)?;
        // of a set of values it is no matter how many rows have each
        if params.distinct {
            return self.of_dimensions(call).map_err(|_| why());
        }
        let measure = self.measure(call, merge);
        match measure {
            Some(found) => self.filtered(call, found),
            None if merge == Merge::Itself => self.of_dimensions(call),
            None if merge == Merge::Count => self.count_of_dimension(call),
            None => Err(why()),
        }
        .map_err(|_| why())
    }

    /// What is stored of the same values. A filter that is stored with it is done.
    fn measure(&self, call: &AggregateFunction, merge: Merge) -> Option<Found> {
        let filters: &[Option<&Expr>] = match call.params.filter.as_deref() {
            None => &[None],
            Some(filter) => &[Some(filter), None],
        };
        for filter in filters {
            let is_stored = |of: Merge, same_call: bool| {
                let fits = |(_, stored): &&(usize, &AggregateFunction)| {
                    rollup::merge(stored) == Some(of)
                        && stored.params.filter.as_deref() == *filter
                        && same_values(of, call, stored)
                        && (same_call && stored.func == call.func
                            || !same_call && (of == Merge::Count || rollup::takes_the_same(stored, call)))
                };
                self.measures.iter().find(fits).map(|(at, _)| *at)
            };
            let filter_is_done = filter.is_some();
            let found = match merge {
                Merge::Average => {
                    is_stored(Merge::Sum, false).zip(is_stored(Merge::Count, false)).map(|(sum, count)| {
                        let sums = self.columns.field(sum).data_type().clone();
                        (vec![sum, count], Some(sums))
                    })
                }
                Merge::Count => is_stored(Merge::Count, false).map(|at| (vec![at], None)),
                Merge::Sum | Merge::Itself => is_stored(merge, true).map(|at| (vec![at], None)),
            };
            if let Some((columns, sums)) = found {
                return Some(Found { columns, sums, filter_is_done });
            }
        }
        None
    }

    fn filtered(&mut self, call: &AggregateFunction, found: Found) -> Result<Expr, WhyNot> {
        let filter = match call.params.filter.as_deref() {
            Some(filter) if !found.filter_is_done => Some(self.over(filter)?),
            Some(_) | None => None,
        };
        let values = found.columns.iter().map(|at| self.read(*at)).collect();
        made_of_parts(call, values, found.sums.as_ref(), filter)
    }

    /// The call itself, over dimensions.
    fn of_dimensions(&mut self, call: &AggregateFunction) -> Result<Expr, WhyNot> {
        let mut call = call.clone();
        call.params.args = call.params.args.iter().map(|e| self.over(e)).collect::<Result<_, _>>()?;
        call.params.filter = match &call.params.filter {
            Some(filter) => Some(Box::new(self.over(filter)?)),
            None => None,
        };
        Ok(Expr::AggregateFunction(call))
    }

    /// Rows of the groups in which the value is not NULL.
    fn count_of_dimension(&mut self, call: &AggregateFunction) -> Result<Expr, WhyNot> {
        let rows = |(_, stored): &&(usize, &AggregateFunction)| {
            rollup::merge(stored) == Some(Merge::Count) && counts_rows(stored) && stored.params.filter.is_none()
        };
        let at = self.measures.iter().find(rows).map(|(at, _)| *at).ok_or(WhyNot::Definition)?;
        let mut conditions = vec![];
        for value in &call.params.args {
            conditions.push(self.over(value)?.is_not_null());
        }
        if let Some(filter) = &call.params.filter {
            conditions.push(self.over(filter)?);
        }
        let filter = conditions.into_iter().reduce(Expr::and);
        let value = self.read(at);
        made_of_parts(call, vec![value], None, filter)
    }
}

struct Found {
    columns: Vec<usize>,
    sums: Option<arrow::datatypes::DataType>,
    filter_is_done: bool,
}

fn made_of_parts(
    call: &AggregateFunction,
    values: Vec<Expr>,
    sums: Option<&arrow::datatypes::DataType>,
    filter: Option<Expr>,
) -> Result<Expr, WhyNot> {
    let made = rollup::of_parts(call, values, sums).map_err(|_| WhyNot::Form)?;
    let Expr::AggregateFunction(mut made) = made else { return Err(WhyNot::Form) };
    made.params.filter = filter.map(Box::new);
    Ok(Expr::AggregateFunction(made))
}

fn counts_rows(call: &AggregateFunction) -> bool {
    call.params.args.iter().all(rollup::is_not_null)
}

/// Counts of anything that is never NULL count rows.
fn same_values(of: Merge, a: &AggregateFunction, b: &AggregateFunction) -> bool {
    a.params.args == b.params.args || of == Merge::Count && counts_rows(a) && counts_rows(b)
}

/// What a stored column is called in an answer's plan.
fn name_of(at: usize) -> String {
    format!("stored{at}")
}

impl Answer {
    /// The plan over `input`, whose columns are those of the store, for the aggregation `instead_of`: its columns, their names
    /// and their types. `since`: rows of the table that are not in the store yet.
    pub fn plan(
        &self,
        input: LogicalPlan,
        since: Option<LogicalPlan>,
        stored: &[String],
        columns: &DFSchema,
        instead_of: &LogicalPlan,
    ) -> Result<LogicalPlan> {
        let shown = self.columns.iter().map(|at| {
            let name =
                stored.get(*at).ok_or_else(|| Error::internal("a reflection with fewer columns than its query"))?;
            let (qualifier, field) = input.schema().qualified_field_with_unqualified_name(name)?;
            let value = Expr::Column(Column::new(qualifier.cloned(), name));
            let value = rollup::as_planned(value, field.data_type(), columns.field(*at));
            Ok(value.ok_or_else(|| Error::internal("a stored column of another type"))?.alias(name_of(*at)))
        });
        let mut shown = shown.collect::<Result<Vec<_>>>()?;
        if shown.is_empty() {
            // rows to be counted by nothing still are rows
            shown.push(datafusion::logical_expr::lit(true).alias("row"));
        }
        let mut plan = LogicalPlanBuilder::from(input).project(shown)?;
        if let Some(rows) = since {
            let both = vec![plan.build()?.into(), self.grouped(rows)?.into()];
            plan = LogicalPlanBuilder::from(LogicalPlan::Union(Union::try_new_with_loose_types(both)?));
        }
        if let Some(all) = self.conditions.iter().cloned().reduce(Expr::and) {
            plan = plan.filter(all)?;
        }
        let by: Vec<String> = (0..self.by.len()).map(|i| format!("by{i}")).collect();
        let calls = self.calls.iter().enumerate().map(|(i, call)| call.clone().alias(format!("call{i}")));
        let calls: Vec<Expr> = calls.collect();
        let named = self.by.iter().zip(&by).map(|(e, name)| e.clone().alias(name));
        let aggregate = match &self.sets {
            None => Aggregate::try_new(plan.build()?.into(), named.collect(), calls)?,
            Some(sets) => {
                let kept = self.columns.iter().map(|at| rollup::column(&name_of(*at)));
                let plan = plan.project(kept.chain(named).collect::<Vec<_>>())?;
                let sets = sets.iter().map(|set| set.iter().map(|at| rollup::column(&by[*at])).collect()).collect();
                let sets = Expr::GroupingSet(GroupingSet::GroupingSets(sets));
                Aggregate::try_new(plan.build()?.into(), vec![sets], calls)?
            }
        };
        let aggregate = LogicalPlan::Aggregate(aggregate);
        let (made, wanted) = (aggregate.schema().columns(), instead_of.schema());
        if made.len() != wanted.fields().len() {
            return Err(Error::internal("a reflection's answer has other columns"));
        }
        let named = made.into_iter().zip(wanted.iter()).map(|(column, (qualifier, field))| {
            let e = Expr::Column(column);
            match field.metadata().is_empty() {
                true => e.alias_qualified(qualifier.cloned(), field.name()),
                false => {
                    let metadata = field.metadata().clone().into();
                    e.alias_qualified_with_metadata(qualifier.cloned(), field.name(), Some(metadata))
                }
            }
        });
        Ok(LogicalPlanBuilder::from(aggregate).project(named.collect::<Vec<_>>())?.build()?)
    }

    /// Rows of the table as the store would have them: those that are asked for, so that nothing is computed of others, and
    /// no finer than what is read of them.
    fn grouped(&self, rows: LogicalPlan) -> Result<LogicalPlan> {
        let of = |e: &Expr| e.column_refs().into_iter().map(|c| c.name.clone()).collect::<Vec<_>>();
        let needed: BTreeSet<String> =
            self.asked.iter().chain(self.made_by.iter().map(|(_, e)| e)).flat_map(of).collect();
        let own = needed.iter().map(|name| {
            let (qualifier, field) = rows.schema().qualified_field_with_unqualified_name(name)?;
            Ok(Expr::Column(Column::new(qualifier.cloned(), field.name())).alias(name))
        });
        let mut own = own.collect::<Result<Vec<_>>>()?;
        if own.is_empty() {
            own.push(datafusion::logical_expr::lit(true).alias("row"));
        }
        let mut plan = LogicalPlanBuilder::from(rows).project(own)?;
        if let Some(all) = self.asked.iter().cloned().reduce(Expr::and) {
            plan = plan.filter(all)?;
        }
        let (calls, by): (Vec<_>, Vec<_>) =
            self.made_by.iter().partition(|(_, e)| matches!(e, Expr::AggregateFunction(_)));
        let named = |all: Vec<&(usize, Expr)>| all.into_iter().map(|(at, e)| e.clone().alias(name_of(*at))).collect();
        let (calls, mut by): (Vec<Expr>, Vec<Expr>) = (named(calls), named(by));
        if by.is_empty() {
            // without a group no rows would come to one row, which a store does not have
            by.push(datafusion::logical_expr::lit(true).alias("row"));
        }
        let plan = LogicalPlan::Aggregate(Aggregate::try_new(plan.build()?.into(), by, calls)?);
        let mut shown = self.columns.iter().map(|at| rollup::column(&name_of(*at))).collect::<Vec<_>>();
        if shown.is_empty() {
            shown.push(rollup::column("row"));
        }
        Ok(LogicalPlanBuilder::from(plan).project(shown)?.build()?)
    }
}
