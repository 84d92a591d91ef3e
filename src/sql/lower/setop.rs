//! UNION, INTERSECT, EXCEPT. NULLs are equal here; ALL counts by numbering the equal rows of each side.

use std::sync::Arc;

use datafusion::common::{Column, JoinType, NullEquality};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::{Expr as Lowered, LogicalPlan, LogicalPlanBuilder, Union, Volatility, lit};

use super::order::{has_key, key_of, numbering};
use super::{Flow, Lower};
use crate::error::{Error, Result};
use crate::sql::expr::{Expr, Kind};
use crate::sql::query::{self, Body, Distinct, Query, SetOperator};

impl<'a> Lower<'a> {
    pub(super) fn set_operation(
        &mut self,
        operator: SetOperator,
        all: bool,
        left: &'a Query,
        right: &'a Query,
        columns: &[query::Column],
    ) -> Result<Flow> {
        let names: Vec<String> = columns.iter().map(|c| self.fresh_column(c.id)).collect();
        let named =
            |names: &[String]| columns.iter().zip(names).map(|(c, n)| (c.id, Column::new_unqualified(n))).collect();
        let side = |lower: &mut Self, query: &'a Query, names: &[String]| -> Result<LogicalPlan> {
            let flow = lower.query(query)?;
            lower.exactly(flow, &query.columns, names)
        };
        let targets: Vec<&query::Column> = columns.iter().collect();
        if operator == SetOperator::Union {
            let mut sides = vec![];
            branches(left, all, columns, &mut sides);
            branches(right, all, columns, &mut sides);
            // their order, on which nobody may rely and many do, is that in which they were written
            if all && let Some(rows) = sides.iter().map(|query| row_of(query)).collect::<Option<Vec<_>>>() {
                return self.values(&rows, columns);
            }
            let parts = sides.into_iter().map(|query| Ok(Arc::new(side(self, query, &names)?)));
            let plan = LogicalPlan::Union(Union::try_new_with_loose_types(parts.collect::<Result<Vec<_>>>()?)?);
            let flow = Flow { plan, columns: named(&names), computed: vec![], order: vec![] };
            return if all { Ok(flow) } else { self.distinct_rows(flow, &targets) };
        }
        let left = side(self, left, &names)?;
        let mut flow = Flow { plan: left, columns: named(&names), computed: vec![], order: vec![] };
        let others: Vec<String> = columns.iter().map(|c| self.fresh_column(c.id)).collect();
        let right = side(self, right, &others)?;
        let mut right = Flow { plan: right, columns: named(&others), computed: vec![], order: vec![] };
        if !all {
            flow = match columns.is_empty() {
                true => flow.map(|plan| Ok(LogicalPlanBuilder::from(plan).limit(0, Some(1))?.build()?))?,
                false => self.distinct_rows(flow, &targets)?,
            };
        }
        let (mut l, mut r);
        (flow, l) = self.keys_of_row(flow, &names, columns, all)?;
        (right, r) = self.keys_of_row(right, &others, columns, all)?;
        if l.is_empty() {
            // rows of nothing are equal, but a join asks for a key
            for (side, keys) in [(&mut flow, &mut l), (&mut right, &mut r)] {
                let name = self.fresh("row");
                *side = self.extend(side.clone(), vec![(lit(true), name.clone())])?;
                keys.push(Column::new_unqualified(name));
            }
        }
        let kind = match operator {
            SetOperator::Intersect => JoinType::LeftSemi,
            SetOperator::Except => JoinType::LeftAnti,
            SetOperator::Union => return Err(Error::internal("a union is no join")),
        };
        flow.map(|plan| {
            let both = LogicalPlanBuilder::from(plan);
            let joined = both.join_detailed(right.plan, kind, (l, r), None, NullEquality::NullEqualsNull)?.build()?;
            // keys and numbers end here
            let kept: Vec<Lowered> = names.iter().map(|n| Lowered::Column(Column::new_unqualified(n))).collect();
            Ok(LogicalPlanBuilder::from(joined).project(kept)?.build()?)
        })
    }

    /// The columns by which rows are equal, with the number of each among its equals where they are counted.
    fn keys_of_row(
        &mut self,
        flow: Flow,
        names: &[String],
        columns: &[query::Column],
        counted: bool,
    ) -> Result<(Flow, Vec<Column>)> {
        let (mut keys, mut computed) = (vec![], vec![]);
        for (name, column) in names.iter().zip(columns) {
            let value = Lowered::Column(Column::new_unqualified(name));
            if !has_key(column.ty, &column.data_type) {
                keys.push(Column::new_unqualified(name));
                continue;
            }
            let name = self.fresh("key");
            computed.push((key_of(value, column.ty, &column.data_type)?, name.clone()));
            keys.push(Column::new_unqualified(name));
        }
        let flow = self.extend(flow, computed)?;
        if !counted {
            return Ok((flow, keys));
        }
        let name = self.fresh("number");
        let partition = keys.iter().cloned().map(Lowered::Column).collect();
        let number = numbering(row_number_udwf(), partition, vec![]).alias(&name);
        keys.push(Column::new_unqualified(name));
        Ok((flow.map(|plan| Ok(LogicalPlanBuilder::from(plan).window(vec![number])?.build()?))?, keys))
    }
}

/// What a `SELECT` of one row computes from nothing, in the order of its columns.
fn row_of(query: &Query) -> Option<Vec<&Expr>> {
    let whole = query.ctes.is_empty() && query.order.is_empty() && query.limit.is_none() && query.offset.is_none();
    let Body::Select(select) = &query.body else { return None };
    let bare = select.from.is_none() && select.filter.is_none() && select.groups.is_none() && select.having.is_none();
    if !whole || !bare || select.distinct != Distinct::None || query.columns.is_empty() {
        return None;
    }
    // a row of VALUES is computed before the statement runs
    let waits = |e: &Expr| match &e.kind {
        Kind::Call(call) => call.proc.volatility == Volatility::Volatile || e.is_set(),
        Kind::Subquery { .. } | Kind::Window(_) | Kind::Aggregate(_) | Kind::Grouping { .. } => true,
        _ => false,
    };
    let of = |column: &query::Column| select.targets.iter().find(|target| target.column.id == column.id);
    let row = query.columns.iter().map(|column| of(column).map(|target| &target.expr));
    row.collect::<Option<Vec<_>>>().filter(|row| !row.iter().any(|e| e.any(&waits)))
}

/// The queries whose rows are a side of a union: those of a union inside it, of the same types, are its own where it would
/// throw away no row that the outer one keeps (`plan_union_children`).
fn branches<'q>(query: &'q Query, all: bool, columns: &[query::Column], found: &mut Vec<&'q Query>) {
    let whole = query.ctes.is_empty() && query.order.is_empty() && query.limit.is_none() && query.offset.is_none();
    match &query.body {
        Body::SetOperation { operator: SetOperator::Union, all: inner, left, right, columns: own }
            if whole
                && (*inner || !all)
                && own.len() == columns.len()
                && own.iter().zip(columns).all(|(a, b)| a.ty == b.ty && a.data_type == b.data_type)
                && own.iter().map(|c| c.id).eq(query.columns.iter().map(|c| c.id)) =>
        {
            branches(left, all, columns, found);
            branches(right, all, columns, found);
        }
        _ => found.push(query),
    }
}
