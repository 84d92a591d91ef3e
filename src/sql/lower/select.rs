//! SELECT in the order in which it is computed: from, filter, groups, having, windows, sets in the list, targets, distinct.
//! And VALUES.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::common::{Column, DFSchema};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr as Lowered, LogicalPlan, LogicalPlanBuilder, SortExpr, Union};

use super::function::can_raise;
use super::order::{key_of, numbering};
use super::relation::{conditions, one_row};
use super::series::unnested;
use super::{Flow, Lower, guard};
use crate::error::Result;
use crate::pgtype;
use crate::sql::expr::{ColumnId, Expr, Kind};
use crate::sql::query::{self, Body, Distinct, Query, Select};

impl<'a> Lower<'a> {
    /// The query's rows; its plan may hold more columns than `query.columns`.
    pub(super) fn query(&mut self, query: &'a Query) -> Result<Flow> {
        for cte in &query.ctes {
            self.ctes.insert(cte.id, cte);
        }
        match &query.body {
            Body::Select(select) => self.select(select, query),
            Body::Values { rows, columns } => {
                let rows: Vec<Vec<&Expr>> = rows.iter().map(|row| row.iter().collect()).collect();
                let flow = self.values(&rows, columns)?;
                self.ordered(flow, query)
            }
            Body::SetOperation { operator, all, left, right, columns } => {
                let flow = self.set_operation(*operator, *all, left, right, columns)?;
                self.ordered(flow, query)
            }
        }
    }

    /// Rows for which the condition is true. Subqueries are asked last, of the rows that are left.
    pub(super) fn filtered(&mut self, flow: Flow, condition: Option<&'a Expr>) -> Result<Flow> {
        let Some(condition) = condition else { return Ok(flow) };
        let asks = |e: &&Expr| e.any(&|e| matches!(e.kind, Kind::Subquery { .. }));
        let (asking, plain): (Vec<&'a Expr>, Vec<&'a Expr>) = conditions(condition).into_iter().partition(asks);
        let mut flow = flow;
        let plain = self.exprs_of(&mut flow, &plain)?;
        let mut flow = self.kept(flow, plain)?;
        let mut rest = vec![];
        for one in asking {
            if !self.semi_join(&mut flow, one)? {
                rest.push(self.expr(&mut flow, one)?);
            }
        }
        self.kept(flow, rest)
    }

    /// Rows for which all are true. What can raise is not asked of rows that a filter below leaves out.
    fn kept(&mut self, flow: Flow, conditions: Vec<Lowered>) -> Result<Flow> {
        if conditions.is_empty() {
            return Ok(flow);
        }
        let (flow, conditions) = match guard::filters(&flow.plan) && conditions.iter().any(can_raise) {
            true => self.fenced(flow, conditions)?,
            false => (flow, conditions),
        };
        match conjunction(guard::conjuncts(conditions)) {
            Some(all) => flow.map(|plan| Ok(LogicalPlanBuilder::from(plan).filter(all)?.build()?)),
            None => Ok(flow),
        }
    }

    /// The conditions that can raise read a column that DataFusion moves no condition beyond.
    pub(super) fn fenced(&mut self, flow: Flow, conditions: Vec<Lowered>) -> Result<(Flow, Vec<Lowered>)> {
        let name = self.fresh("fence");
        let flow = unnested(self.extend(flow, vec![(guard::fence(), name.clone())])?, vec![name.clone()])?;
        let fence = Lowered::Column(Column::new_unqualified(name));
        let behind = |e: Lowered| match can_raise(&e) {
            true => guard::behind(fence.clone(), e),
            false => e,
        };
        Ok((flow, conditions.into_iter().map(behind).collect()))
    }

    fn select(&mut self, select: &'a Select, query: &'a Query) -> Result<Flow> {
        let flow = match &select.from {
            Some(from) => self.relation(from)?,
            None => Flow::new(one_row()),
        };
        let mut flow = self.filtered(flow, select.filter.as_ref())?;
        let above = || select.targets.iter().map(|t| &t.expr).chain(query.order.iter().map(|s| &s.by));
        if let Some(groups) = &select.groups {
            flow = self.sets(flow, &groups.by.iter().collect::<Vec<_>>(), None)?;
            flow = self.grouped(flow, groups, &above().chain(&select.having).collect::<Vec<_>>())?;
            flow = self.filtered(flow, select.having.as_ref())?;
        }
        flow = self.windows(flow, &above().collect::<Vec<_>>())?;
        // sets that neither ORDER BY nor DISTINCT ON asks for are made of the rows that these leave, in their order
        let last = sets_come_last(select, query);
        let mut numbered = vec![];
        if last {
            flow = self.before_sets(flow, select, query, &mut numbered)?;
        }
        flow =
            self.sets(flow, &above().collect::<Vec<_>>(), (last && !numbered.is_empty()).then_some(&mut numbered))?;
        let mut exprs = vec![];
        let mut columns = std::collections::HashMap::new();
        let mut computed = vec![];
        for target in &select.targets {
            let value = self.expr(&mut flow, &target.expr)?;
            let name = self.fresh_column(target.column.id);
            columns.insert(target.column.id, Column::new_unqualified(&name));
            computed.push((target.expr.clone(), Column::new_unqualified(&name)));
            exprs.push(value.alias(name));
        }
        // keys of ORDER BY that are no target
        let known: Vec<ColumnId> = select.targets.iter().map(|t| t.column.id).collect();
        exprs.extend(numbered.iter().map(|key: &SortExpr| key.expr.clone()));
        for key in query.order.iter().filter(|_| !last) {
            let over_targets = !key.by.any(&|e| matches!(e.kind, Kind::Column(id) if !known.contains(&id)));
            if over_targets
                && !key.by.any(&|e| matches!(e.kind, Kind::Aggregate(_) | Kind::Window(_) | Kind::Grouping { .. }))
                || computed.iter().any(|(known, _)| *known == key.by)
            {
                continue;
            }
            let value = self.expr(&mut flow, &key.by)?;
            let name = self.fresh("key");
            computed.push((key.by.clone(), Column::new_unqualified(&name)));
            exprs.push(value.alias(name));
        }
        let one_by_one =
            select.groups.is_none() && select.distinct == Distinct::None && windowless(&above().collect::<Vec<_>>());
        let mut order = vec![];
        if one_by_one && query.order.is_empty() {
            // rows stay in the order in which they come
            for key in std::mem::take(&mut flow.order) {
                let name = self.fresh("key");
                order.push(SortExpr { expr: Lowered::Column(Column::new_unqualified(&name)), ..key });
                exprs.push(key.expr.alias(name));
            }
        }
        let plan = LogicalPlanBuilder::from(flow.plan).project(exprs)?.build()?;
        let flow = Flow { plan, columns, computed, order };
        match &select.distinct {
            Distinct::None | Distinct::On(_) if last => self.ordered_by(flow, numbered, query),
            Distinct::None => self.ordered(flow, query),
            Distinct::All => {
                let targets: Vec<&query::Column> = select.targets.iter().map(|t| &t.column).collect();
                let flow = self.distinct_rows(flow, &targets)?;
                self.ordered(flow, query)
            }
            Distinct::On(on) => {
                let targets = select.targets.iter().map(|t| &t.column);
                let by: Vec<&query::Column> = targets.filter(|column| on.contains(&column.id)).collect();
                let flow = self.first_of_each(flow, &by, &query.order)?;
                self.ordered(flow, query)
            }
        }
    }

    /// DISTINCT ON, and the number of each row in the query's order.
    fn before_sets(
        &mut self,
        flow: Flow,
        select: &'a Select,
        query: &'a Query,
        numbered: &mut Vec<SortExpr>,
    ) -> Result<Flow> {
        let mut flow = flow;
        let mut keys = vec![];
        for sort in &query.order {
            let by = meant(&sort.by, select);
            let value = self.expr(&mut flow, by)?;
            keys.push(SortExpr::new(key_of(value, by.ty, &by.data_type)?, !sort.descending, sort.nulls_first));
        }
        if let Distinct::On(on) = &select.distinct {
            let mut partition = vec![];
            for target in select.targets.iter().filter(|target| on.contains(&target.column.id)) {
                let value = self.expr(&mut flow, &target.expr)?;
                partition.push(key_of(value, target.expr.ty, &target.expr.data_type)?);
            }
            flow = self.first_of_partition(flow, partition, keys.clone())?;
        }
        if keys.is_empty() {
            return Ok(flow);
        }
        let name = self.fresh("number");
        let number = numbering(row_number_udwf(), vec![], keys).alias(&name);
        numbered.push(SortExpr::new(Lowered::Column(Column::new_unqualified(name)), true, false));
        flow.map(|plan| Ok(LogicalPlanBuilder::from(plan).window(vec![number])?.build()?))
    }

    pub(super) fn values(&mut self, rows: &[Vec<&'a Expr>], columns: &[query::Column]) -> Result<Flow> {
        let names: Vec<String> = columns.iter().map(|c| self.fresh_column(c.id)).collect();
        let fields: Vec<Field> =
            columns.iter().zip(&names).map(|(c, name)| pgtype::field(name, c.ty, c.data_type.clone())).collect();
        let mut flow = Flow::new(one_row());
        let lowered = rows.iter().map(|row| self.exprs_of(&mut flow, row)).collect::<Result<Vec<_>>>()?;
        let constant = flow.plan == one_row() && lowered.iter().flatten().all(is_constant);
        flow.columns = columns.iter().zip(&names).map(|(c, n)| (c.id, Column::new_unqualified(n))).collect();
        if constant {
            let schema = Arc::new(DFSchema::try_from(Schema::new(fields))?);
            let plan = LogicalPlanBuilder::values_with_schema(lowered, &schema)?.build()?;
            // DataFusion calls them by place
            let found = plan.schema().columns();
            let named = found.into_iter().zip(&names).map(|(c, name)| Lowered::Column(c).alias(name));
            flow.plan = LogicalPlanBuilder::from(plan).project(named.collect::<Vec<_>>())?.build()?;
            return Ok(flow);
        }
        // a row that reads something is a SELECT of one row
        let mut parts = vec![];
        for row in rows {
            let mut one = Flow::new(one_row());
            let values = self.exprs_of(&mut one, row)?;
            let named = values.into_iter().zip(&names).map(|(e, name)| e.alias(name));
            parts.push(Arc::new(LogicalPlanBuilder::from(one.plan).project(named.collect::<Vec<_>>())?.build()?));
        }
        flow.plan = match parts.as_slice() {
            [only] => only.as_ref().clone(),
            _ => LogicalPlan::Union(Union::try_new_with_loose_types(parts)?),
        };
        Ok(flow)
    }

    /// The rows in the query's order, within its limits.
    pub(super) fn ordered(&mut self, flow: Flow, query: &'a Query) -> Result<Flow> {
        let mut flow = flow;
        let keys = self.sort_keys(&mut flow, &query.order)?;
        self.ordered_by(flow, keys, query)
    }

    fn ordered_by(&mut self, flow: Flow, keys: Vec<SortExpr>, query: &'a Query) -> Result<Flow> {
        let mut flow = flow;
        let order = if keys.is_empty() { std::mem::take(&mut flow.order) } else { keys.clone() };
        let flow = match query.limit.is_none() && query.offset.is_none() {
            true => self.sorted(flow, keys)?,
            false => self.limited(flow, keys, query)?,
        };
        Ok(Flow { order, ..flow })
    }
}

/// What a key stands for: a target, or itself.
fn meant<'e>(key: &'e Expr, select: &'e Select) -> &'e Expr {
    let target = select.targets.iter().find(|t| matches!(key.kind, Kind::Column(id) if id == t.column.id));
    target.map_or(key, |target| &target.expr)
}

/// Whether the select list holds sets, and no key does (planner.c, `make_sort_input_target`).
fn sets_come_last(select: &Select, query: &Query) -> bool {
    let grouped =
        |e: &Expr| select.groups.as_ref().is_some_and(|groups| groups.by.iter().any(|by| by.any(&|b| b == e)));
    let holds = |e: &Expr| e.any(&|e| e.is_set() && !grouped(e));
    let on = match &select.distinct {
        Distinct::All => return false,
        Distinct::None if query.order.is_empty() => return false,
        Distinct::None => &[][..],
        Distinct::On(on) => on.as_slice(),
    };
    let keys = select.targets.iter().filter(|target| on.contains(&target.column.id)).map(|target| &target.expr);
    let mut keys = keys.chain(query.order.iter().map(|sort| meant(&sort.by, select)));
    select.targets.iter().any(|target| holds(&target.expr)) && !keys.any(holds)
}

fn windowless(above: &[&Expr]) -> bool {
    found(above, &|e| matches!(e.kind, Kind::Window(_))).is_empty()
}

fn is_constant(e: &Lowered) -> bool {
    use datafusion::common::tree_node::TreeNode;
    let reads = |e: &Lowered| {
        Ok(matches!(e, Lowered::Column(_) | Lowered::OuterReferenceColumn(..) | Lowered::ScalarSubquery(_)))
    };
    !e.exists(reads).unwrap_or(true)
}

/// Those of a select list and its ORDER BY that satisfy `is`, none twice, the innermost first.
pub(super) fn found<'e>(among: &[&'e Expr], is: &impl Fn(&Expr) -> bool) -> Vec<&'e Expr> {
    fn walk<'e>(e: &'e Expr, is: &impl Fn(&Expr) -> bool, found: &mut Vec<&'e Expr>) {
        for child in e.children() {
            walk(child, is, found);
        }
        if is(e) && !found.contains(&e) {
            found.push(e);
        }
    }
    let mut all = vec![];
    for e in among {
        walk(e, is, &mut all);
    }
    all
}
