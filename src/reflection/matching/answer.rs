//! The plan by which stored rows answer: what was found to match, put together. It judges nothing.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::{Column, DFSchema, JoinType, TableReference};
use datafusion::logical_expr::expr::GroupingSet;
use datafusion::logical_expr::logical_plan::{Aggregate, TableScan};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Union};

use super::name_of;
use crate::error::{Error, Result};
use crate::sql::lower::rollup;
use crate::types::ObjectId;

/// How stored rows answer.
#[derive(Debug)]
pub struct Answer {
    /// The stored columns that it reads.
    pub columns: BTreeSet<usize>,
    /// The tables that the stored rows stand for, and of each the columns that the query reads.
    pub reads: BTreeMap<ObjectId, BTreeSet<String>>,
    /// Of these, those of which a row may be missing beside rows of others.
    pub padded: BTreeSet<ObjectId>,
    /// Stored columns that hold a value of each row, and what it is of the tables' columns.
    pub dimensions: Vec<(usize, Expr)>,
    /// The query's conditions on these tables.
    pub(super) asked: Vec<Expr>,
    /// What the stored columns that are read were computed by, over the tables' columns: groups, then aggregates.
    pub(super) made_by: Vec<(usize, Expr)>,
    pub(super) conditions: Vec<Expr>,
    /// Tables that are read as they are. Those of outer joins are added last, in their order.
    pub(super) beside: Vec<Beside>,
    pub(super) shape: Shape,
}

/// A table that the query reads beside what is stored.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) named: TableReference,
    pub(super) scan: TableScan,
    /// The conditions of an outer join.
    pub(super) on: Option<Vec<Expr>>,
}

#[derive(Debug)]
pub(super) enum Shape {
    Rows(Vec<Expr>),
    Groups { by: Vec<Expr>, sets: Option<Vec<Vec<usize>>>, calls: Vec<Expr> },
}

impl Beside {
    fn plan(&self) -> Result<LogicalPlan> {
        let scan = LogicalPlan::TableScan(self.scan.clone());
        Ok(LogicalPlanBuilder::from(scan).alias(self.named.clone())?.build()?)
    }
}

fn grouped(plan: LogicalPlanBuilder, by: &[Expr], sets: Option<&[Vec<usize>]>, calls: &[Expr]) -> Result<LogicalPlan> {
    let names: Vec<String> = (0..by.len()).map(|i| format!("by{i}")).collect();
    let calls = calls.iter().enumerate().map(|(i, call)| call.clone().alias(format!("call{i}"))).collect();
    let named = by.iter().zip(&names).map(|(e, name)| e.clone().alias(name));
    let aggregate = match sets {
        None => Aggregate::try_new(plan.build()?.into(), named.collect(), calls)?,
        Some(sets) => {
            let kept = plan.schema().columns().into_iter().map(Expr::Column);
            let plan = plan.project(kept.chain(named).collect::<Vec<_>>())?;
            let sets = sets.iter().map(|set| set.iter().map(|at| rollup::column(&names[*at])).collect()).collect();
            let sets = Expr::GroupingSet(GroupingSet::GroupingSets(sets));
            Aggregate::try_new(plan.build()?.into(), vec![sets], calls)?
        }
    };
    Ok(LogicalPlan::Aggregate(aggregate))
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
            let both = vec![plan.build()?.into(), self.as_stored(rows)?.into()];
            plan = LogicalPlanBuilder::from(LogicalPlan::Union(Union::try_new_with_loose_types(both)?));
        }
        for table in self.beside.iter().filter(|table| table.on.is_none()) {
            plan = plan.cross_join(table.plan()?)?;
        }
        for table in &self.beside {
            if let Some(on) = &table.on {
                plan = plan.join_on(table.plan()?, JoinType::Left, on.clone())?;
            }
        }
        if let Some(all) = self.conditions.iter().cloned().reduce(Expr::and) {
            plan = plan.filter(all)?;
        }
        let (plan, made) = match &self.shape {
            Shape::Rows(shown) => (plan.build()?, shown.clone()),
            Shape::Groups { by, sets, calls } => {
                let plan = grouped(plan, by, sets.as_deref(), calls)?;
                let made = plan.schema().columns().into_iter().map(Expr::Column).collect();
                (plan, made)
            }
        };
        let wanted = instead_of.schema();
        if made.len() != wanted.fields().len() {
            return Err(Error::internal("a reflection's answer has other columns"));
        }
        let named =
            made.into_iter().zip(wanted.iter()).map(|(e, (qualifier, field))| match field.metadata().is_empty() {
                true => e.alias_qualified(qualifier.cloned(), field.name()),
                false => {
                    let metadata = field.metadata().clone().into();
                    e.alias_qualified_with_metadata(qualifier.cloned(), field.name(), Some(metadata))
                }
            });
        Ok(LogicalPlanBuilder::from(plan).project(named.collect::<Vec<_>>())?.build()?)
    }

    /// Rows of the table as the store would have them: those that are asked for, so that nothing is computed of others, and
    /// no finer than what is read of them.
    fn as_stored(&self, rows: LogicalPlan) -> Result<LogicalPlan> {
        let of = |e: &Expr| e.column_refs().into_iter().cloned().collect::<Vec<_>>();
        let needed: BTreeSet<Column> =
            self.asked.iter().chain(self.made_by.iter().map(|(_, e)| e)).flat_map(of).collect();
        let own = needed.into_iter().map(|column| {
            let (qualifier, field) = rows.schema().qualified_field_with_unqualified_name(&column.name)?;
            let value = Expr::Column(Column::new(qualifier.cloned(), field.name()));
            Ok(value.alias_qualified(column.relation, column.name))
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
