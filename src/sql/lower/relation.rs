//! FROM: tables, subqueries, common table expressions, joins. Functions in FROM are `series`'; a side that reads columns of
//! the other is `unnest`'s.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::{Column, JoinType, TableReference};
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::logical_plan::{RecursiveQuery, SubqueryAlias, TableScanBuilder};
use datafusion::logical_expr::{EmptyRelation, Expr as Lowered, LogicalPlan, LogicalPlanBuilder, lit};

use super::function::can_raise;
use super::special::{Op, Special};
use super::{Flow, Lower, compare, guard};
use crate::error::{Error, Result};
use crate::pgtype;
use crate::sql::expr::{ColumnId, Expr, Kind};
use crate::sql::query::{self, Cte, CteId, Join, JoinKind, Query, Relation, SourceOf};

/// The table of the last round of a recursive query.
#[derive(Clone, Debug)]
pub(super) struct Rounds {
    name: String,
    schema: Arc<Schema>,
}

/// One row without columns.
pub(super) fn one_row() -> LogicalPlan {
    LogicalPlan::EmptyRelation(EmptyRelation {
        produce_one_row: true,
        schema: Arc::new(datafusion::common::DFSchema::empty()),
    })
}

impl<'a> Lower<'a> {
    pub(super) fn relation(&mut self, relation: &'a Relation) -> Result<Flow> {
        match relation {
            Relation::Table { alias, source, columns } => self.table(alias, source, columns),
            Relation::Subquery { query, columns, .. } => {
                let flow = self.query(query)?;
                renamed(flow, query, columns)
            }
            Relation::Cte { cte, columns } => self.cte(*cte, columns),
            Relation::Functions { calls, ordinality, .. } => {
                if let ([only], None) = (calls.as_slice(), ordinality)
                    && let Some(flow) = self.streamed(only)?
                {
                    return Ok(flow);
                }
                self.functions_over(Flow::new(one_row()), calls, ordinality.as_ref(), false)
            }
            Relation::Join(join) => self.join(join),
        }
    }

    fn table(&mut self, alias: &str, source: &SourceOf, columns: &[query::Column]) -> Result<Flow> {
        let alias = TableReference::bare(self.fresh(alias));
        let scan = TableScanBuilder::new(reference(&source.name), Arc::clone(&source.table)).build()?;
        let scan = LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(LogicalPlan::TableScan(scan)), alias)?);
        let mut flow = Flow::new(scan);
        let (mut cast, schema) = (vec![], Arc::clone(flow.plan.schema()));
        for (column, (qualifier, field)) in columns.iter().zip(schema.iter()) {
            let found = Column::new(qualifier.cloned(), field.name());
            if *field.data_type() == column.data_type {
                flow.columns.insert(column.id, found);
                continue;
            }
            // a source may keep its texts and times otherwise than expressions do
            let name = self.fresh_column(column.id);
            cast.push((compare::cast_expr(Lowered::Column(found), &column.data_type)?, name.clone()));
            flow.columns.insert(column.id, Column::new_unqualified(name));
        }
        self.extend(flow, cast)
    }

    fn cte(&mut self, id: CteId, columns: &[query::Column]) -> Result<Flow> {
        if let Some(rounds) = self.recursive.get(&id).cloned() {
            return self.last_round(&rounds, columns);
        }
        let cte: &'a Cte = self.ctes.get(&id).copied().ok_or_else(|| Error::internal("a CTE that nobody wrote"))?;
        if let Some(shared) = self.shared.get(&id).cloned() {
            return shared.place(self, &cte.name, columns);
        }
        let flow = match &cte.recursive {
            Some(step) => self.recursion(cte, &step.step, step.distinct, columns)?,
            None => {
                let flow = self.query(&cte.query)?;
                renamed(flow, &cte.query, columns)?
            }
        };
        let Some(shared) = self.shared(cte, &flow, columns)? else { return Ok(flow) };
        self.shared.insert(id, shared.clone());
        shared.place(self, &cte.name, columns)
    }

    fn last_round(&mut self, rounds: &Rounds, columns: &[query::Column]) -> Result<Flow> {
        let table = provider_as_source(Arc::new(CteWorkTable::new(&rounds.name, Arc::clone(&rounds.schema))));
        let scan = TableScanBuilder::new(TableReference::bare(rounds.name.clone()), table).build()?;
        let alias = TableReference::bare(self.fresh(&rounds.name));
        let scan = LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(LogicalPlan::TableScan(scan)), alias)?);
        let mut flow = Flow::new(scan);
        let names = flow.plan.schema().columns();
        flow.columns = columns.iter().map(|c| c.id).zip(names).collect();
        Ok(flow)
    }

    fn recursion(&mut self, cte: &'a Cte, step: &'a Query, distinct: bool, columns: &[query::Column]) -> Result<Flow> {
        let name = self.fresh(&cte.name);
        let names: Vec<String> = cte.columns.iter().map(|c| self.fresh_column(c.id)).collect();
        let first = self.query(&cte.query)?;
        let first = self.exactly(first, &cte.query.columns, &names)?;
        let fields = cte.columns.iter().zip(&names).map(|(c, name)| pgtype::field(name, c.ty, c.data_type.clone()));
        let rounds = Rounds { name: name.clone(), schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())) };
        self.recursive.insert(cte.id, rounds);
        let next = self.query(step);
        self.recursive.remove(&cte.id);
        let next = self.exactly(next?, &step.columns, &names)?;
        let (first, next) = (nullable(first)?, nullable(next)?);
        let recursion = RecursiveQuery::try_new(name.clone(), Arc::new(first), Arc::new(next), distinct)?;
        let alias = TableReference::bare(self.fresh(&name));
        let plan = LogicalPlan::RecursiveQuery(recursion);
        let mut flow = Flow::new(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(plan), alias)?));
        let found = flow.plan.schema().columns();
        flow.columns = columns.iter().map(|c| c.id).zip(found).collect();
        Ok(flow)
    }

    /// Those columns alone, in this order, under these names, with their types' metadata.
    pub(super) fn exactly(&mut self, flow: Flow, columns: &[query::Column], names: &[String]) -> Result<LogicalPlan> {
        let exprs = columns.iter().zip(names).map(|(column, name)| {
            let found = Lowered::Column(flow.column(column.id)?.clone());
            Ok(match super::typed(found, column, &flow)? {
                Lowered::Alias(mut alias) => {
                    alias.name.clone_from(name);
                    Lowered::Alias(alias)
                }
                other => other.alias(name),
            })
        });
        let exprs = exprs.collect::<Result<Vec<_>>>()?;
        Ok(LogicalPlanBuilder::from(flow.plan).project(exprs)?.build()?)
    }

    fn join(&mut self, join: &'a Join) -> Result<Flow> {
        let left = self.relation(&join.left)?;
        let left = self.marked(left, join.present.0.as_ref())?;
        let mut flow = match (join.lateral, &join.right) {
            // rows of the left beside what the functions make of them
            (_, Relation::Functions { calls, ordinality, .. })
                if join.lateral && matches!(join.kind, JoinKind::Inner) =>
            {
                let flow = self.functions_over(left, calls, ordinality.as_ref(), false)?;
                self.filtered(flow, join.on.as_ref())?
            }
            (_, Relation::Functions { calls, ordinality, .. })
                if join.lateral
                    && matches!(join.kind, JoinKind::Left)
                    && join.on.as_ref().is_none_or(is_true)
                    && !self.is_read(join.present.1.as_ref()) =>
            {
                self.functions_over(left, calls, ordinality.as_ref(), true)?
            }
            (true, _) => self.lateral(left, join)?,
            (false, right) => {
                let right = self.relation(right)?;
                let right = self.marked(right, join.present.1.as_ref())?;
                self.joined(left, right, join.kind, join.on.as_ref())?
            }
        };
        let mut merged = vec![];
        for (column, expr) in &join.merged {
            let value = self.expr(&mut flow, expr)?;
            let name = self.fresh_column(column.id);
            merged.push((value, name.clone()));
            flow.columns.insert(column.id, Column::new_unqualified(name));
        }
        self.extend(flow, merged)
    }

    fn is_read(&self, present: Option<&query::Column>) -> bool {
        present.is_some_and(|column| self.read.contains(&column.id))
    }

    /// The rows of a side of an outer join, told from those that it makes up where somebody asks.
    pub(super) fn marked(&mut self, flow: Flow, present: Option<&query::Column>) -> Result<Flow> {
        let Some(present) = present.filter(|_| self.is_read(present)) else { return Ok(flow) };
        let name = self.fresh_column(present.id);
        let mut flow = self.extend(flow, vec![(lit(true), name.clone())])?;
        flow.columns.insert(present.id, Column::new_unqualified(name));
        Ok(flow)
    }

    /// Both sides beside each other.
    pub(super) fn joined(&mut self, left: Flow, right: Flow, kind: JoinKind, on: Option<&'a Expr>) -> Result<Flow> {
        let mut columns = left.columns.clone();
        columns.extend(right.columns.clone());
        let subquery = on.is_some_and(|on| on.any(&|e| matches!(e.kind, Kind::Subquery { .. })));
        let beside = LogicalPlanBuilder::from(left.plan.clone()).cross_join(right.plan.clone())?.build()?;
        let mut both = Flow { plan: beside, columns: columns.clone(), computed: vec![], order: vec![] };
        if subquery && kind == JoinKind::Inner {
            return self.filtered(both, on);
        }
        if subquery {
            let Some(on) = on else { return Ok(both) };
            return self.joined_by_subqueries(left, right, kind, on, vec![]);
        }
        let Some(on) = on else { return Ok(both) };
        let conditions = self.exprs_of(&mut both, &conditions(on))?;
        let (left, right, conditions) = self.fenced_sides(left, right, conditions)?;
        let conditions = guard::conjuncts(conditions);
        let kind = join_type(kind);
        let plan = LogicalPlanBuilder::from(left.plan).join_on(right.plan, kind, conditions)?.build()?;
        Ok(Flow { plan, columns, computed: vec![], order: vec![] })
    }

    /// A condition over one side alone is moved to it: what can raise is kept above that side's own filters.
    fn fenced_sides(
        &mut self,
        left: Flow,
        right: Flow,
        conditions: Vec<Lowered>,
    ) -> Result<(Flow, Flow, Vec<Lowered>)> {
        let (mut sides, mut conditions) = ([left, right], conditions);
        for side in &mut sides {
            let of_side =
                |e: &Lowered| can_raise(e) && e.column_refs().iter().all(|c| side.plan.schema().has_column(c));
            if !guard::filters(&side.plan) || !conditions.iter().any(of_side) {
                continue;
            }
            let (theirs, others): (Vec<_>, Vec<_>) = conditions.into_iter().partition(of_side);
            let (grown, fenced) = self.fenced(side.clone(), theirs)?;
            *side = grown;
            conditions = others.into_iter().chain(fenced).collect();
        }
        let [left, right] = sides;
        Ok((left, right, conditions))
    }

    /// An outer join whose condition asks subqueries: a conjunct is computed on the side that it reads, or for the pairs of
    /// both sides' values. `matched`: conditions that are lowered already.
    pub(super) fn joined_by_subqueries(
        &mut self,
        left: Flow,
        right: Flow,
        kind: JoinKind,
        on: &'a Expr,
        matched: Vec<Lowered>,
    ) -> Result<Flow> {
        let (mut left, mut right, mut matched) = (left, right, matched);
        let beside = LogicalPlanBuilder::from(left.plan.clone()).cross_join(right.plan.clone())?.build()?;
        let mut columns = left.columns.clone();
        columns.extend(right.columns.clone());
        let mut plain = vec![];
        for condition in conditions(on) {
            if !condition.any(&|e| matches!(e.kind, Kind::Subquery { .. })) {
                plain.push(condition);
                continue;
            }
            let (of_left, of_right) = (columns_read(condition, &left), columns_read(condition, &right));
            // the side whose rows stay without a match may have them judged; none is left out by it
            let alone = if of_left.is_empty() { Some(&mut right) } else { None };
            let alone = if of_right.is_empty() { Some(&mut left) } else { alone };
            if let Some(side) = alone {
                let mut grown = side.clone();
                let value = self.expr(&mut grown, condition)?;
                let name = self.fresh("on");
                *side = self.extend(grown, vec![(value, name.clone())])?;
                matched.push(Lowered::Column(Column::new_unqualified(name)));
                continue;
            }
            matched.extend(self.by_pairs(&mut left, &mut right, kind, condition, of_left, of_right)?);
        }
        let mut both = Flow { plan: beside, columns: columns.clone(), computed: vec![], order: vec![] };
        let plain = self.exprs_of(&mut both, &plain)?;
        matched.extend(guard::conjuncts(plain));
        let plan = LogicalPlanBuilder::from(left.plan).join_on(right.plan, join_type(kind), matched)?.build()?;
        Ok(Flow { plan, columns, computed: vec![], order: vec![] })
    }

    /// A condition that reads columns of both sides through a subquery is computed for each pair of their distinct values.
    /// The side that may be left out is joined to the pairs for which it is true, and stands once for each value of the
    /// other side that it meets.
    fn by_pairs(
        &mut self,
        left: &mut Flow,
        right: &mut Flow,
        kind: JoinKind,
        condition: &'a Expr,
        of_left: HashMap<ColumnId, Column>,
        of_right: HashMap<ColumnId, Column>,
    ) -> Result<Vec<Lowered>> {
        let distinct = |flow: &Flow, read: &HashMap<ColumnId, Column>| -> Result<LogicalPlan> {
            super::unnest::duplicable(&flow.plan)?;
            let columns = read.values().cloned().map(Lowered::Column).collect::<Vec<_>>();
            Ok(LogicalPlanBuilder::from(flow.plan.clone()).project(columns)?.distinct()?.build()?)
        };
        let (l, r) = (distinct(left, &of_left)?, distinct(right, &of_right)?);
        let columns = of_left.iter().chain(&of_right).map(|(id, column)| (*id, column.clone())).collect();
        let plan = LogicalPlanBuilder::from(l).cross_join(r)?.build()?;
        let mut pairs = Flow { plan, columns, computed: vec![], order: vec![] };
        let value = self.expr(&mut pairs, condition)?;
        let (mut shown, mut renamed) = (vec![], HashMap::new());
        for column in of_left.values().chain(of_right.values()) {
            let name = self.fresh("pair");
            shown.push(Lowered::Column(column.clone()).alias(&name));
            renamed.insert(column.clone(), Column::new_unqualified(name));
        }
        let pairs = LogicalPlanBuilder::from(pairs.plan).filter(value)?.project(shown)?.build()?;
        let (kept, inner, side) = match kind {
            JoinKind::Inner | JoinKind::Left => (&of_left, &of_right, right),
            JoinKind::Right => (&of_right, &of_left, left),
            JoinKind::Full => {
                let text = "a subquery that reads both sides of a FULL JOIN in its condition";
                return Err(Error::unsupported(text).at(condition.at));
            }
        };
        let same = |read: &HashMap<ColumnId, Column>| -> Vec<Lowered> {
            let (own, pair) = read.values().map(|c| (c.clone(), renamed.get(c).unwrap_or(c).clone())).unzip();
            super::unnest::null_safe(own, pair).collect()
        };
        side.plan =
            LogicalPlanBuilder::from(side.plan.clone()).join_on(pairs, JoinType::Inner, same(inner))?.build()?;
        Ok(same(kept))
    }

    pub(super) fn exprs_of(&mut self, flow: &mut Flow, all: &[&'a Expr]) -> Result<Vec<Lowered>> {
        all.iter().map(|e| self.expr(flow, e)).collect()
    }
}

/// Columns that may hold NULL and say of their types what those say of themselves, so that both terms of a recursive query
/// have the very same.
pub(super) fn nullable(plan: LogicalPlan) -> Result<LogicalPlan> {
    let schema = Arc::clone(plan.schema());
    let columns = schema.iter().map(|(qualifier, field)| {
        let column = Lowered::Column(Column::new(qualifier.cloned(), field.name()));
        let ty = pgtype::of_field(field)?;
        let wanted = pgtype::field(field.name(), ty, field.data_type().clone()).with_nullable(true);
        match field.is_nullable() && field.metadata() == wanted.metadata() {
            true => Ok(column),
            false => Ok(Special::call(Op::Lie(ty), wanted, vec![column]).alias(field.name())),
        }
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(LogicalPlanBuilder::from(plan).project(columns)?.build()?)
}

pub(super) fn join_type(kind: JoinKind) -> JoinType {
    match kind {
        JoinKind::Inner => JoinType::Inner,
        JoinKind::Left => JoinType::Left,
        JoinKind::Right => JoinType::Right,
        JoinKind::Full => JoinType::Full,
    }
}

/// `schema.table`, as the catalog writes it, without quotes.
fn reference(name: &str) -> TableReference {
    match name.split_once('.') {
        Some((schema, table)) => TableReference::partial(schema, table),
        None => TableReference::bare(name),
    }
}

/// The operands of AND, at any depth.
pub(super) fn conditions(of: &Expr) -> Vec<&Expr> {
    match &of.kind {
        Kind::And(all) => all.iter().flat_map(conditions).collect(),
        _ => vec![of],
    }
}

/// Columns of those rows that an expression reads, in its subqueries too.
fn columns_read(e: &Expr, flow: &Flow) -> HashMap<ColumnId, Column> {
    let mut read = HashMap::new();
    e.visit(&mut |e| {
        if let Kind::Column(id) = e.kind
            && let Some(column) = flow.columns.get(&id)
        {
            read.insert(id, column.clone());
        }
    });
    read
}

pub(super) fn is_true(e: &Expr) -> bool {
    matches!(&e.kind, Kind::Constant(datafusion::common::ScalarValue::Boolean(Some(true))))
}

/// The query's columns under the numbers that the place around it has for them.
pub(super) fn renamed(flow: Flow, query: &Query, columns: &[query::Column]) -> Result<Flow> {
    let mut renamed = Flow { order: flow.order.clone(), ..Flow::new(flow.plan.clone()) };
    for (column, inner) in columns.iter().zip(&query.columns) {
        renamed.columns.insert(column.id, flow.column(inner.id)?.clone());
    }
    Ok(renamed)
}
