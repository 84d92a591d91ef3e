//! Conditions of a WHERE that ask whether others exist: semi and anti joins.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, JoinType, NullEquality};
use datafusion::logical_expr::logical_plan::{Join, JoinConstraint};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{Expr as Lowered, LogicalPlan, LogicalPlanBuilder, lit};

use super::unnest::{null_safe, references, resolved};
use super::{Flow, Lower, compare};
use crate::error::Result;
use crate::sql::expr::{Expr, Kind, SubqueryKind};
use crate::sql::image::{self, Operator};
use crate::sql::query::Query;

impl<'a> Lower<'a> {
    /// A conjunct that keeps rows by whether others exist becomes a semi or an anti join. `false`: it is another condition.
    pub(super) fn semi_join(&mut self, flow: &mut Flow, condition: &'a Expr) -> Result<bool> {
        let (of, kind) = match &condition.kind {
            Kind::Not(of) => (of.as_ref(), JoinType::LeftAnti),
            _ => (condition, JoinType::LeftSemi),
        };
        let Kind::Subquery { kind: subquery, query } = &of.kind else { return Ok(false) };
        if let (SubqueryKind::Any { left, operators, all: true }, JoinType::LeftSemi) = (subquery, kind) {
            return self.not_in(flow, left, operators, query);
        }
        let mut filters = vec![];
        let inner = match subquery {
            SubqueryKind::Exists => self.inner(flow, query)?,
            // NOT IN has NULLs to think of
            SubqueryKind::Any { left, operators, all: false }
                if kind == JoinType::LeftSemi && (operators.len() == 1 || operators.iter().all(|o| o.name == "=")) =>
            {
                let own = self.exprs(flow, left)?;
                let inner = self.inner(flow, query)?;
                for (((value, left), column), operator) in own.into_iter().zip(left).zip(&query.columns).zip(operators)
                {
                    let (l, r) = ((left.ty, &left.data_type), (column.ty, &column.data_type));
                    let Some(native) = compare::native(operator, l, r) else { return Ok(false) };
                    let found = Lowered::Column(inner.column(column.id)?.clone());
                    filters.push(native.expr((value, l.1), (found, r.1))?);
                }
                inner
            }
            _ => return Ok(false),
        };
        let mut outer = references(&inner.plan)?;
        outer.retain(|c| flow.plan.schema().has_column(c));
        if outer.is_empty() && filters.is_empty() {
            // the same for every row
            return Ok(false);
        }
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
                    filters.extend(null_safe(on.0, on.1));
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

    /// `x NOT IN (query)`: an anti join for which a NULL on the right leaves nothing, and one on the left only itself.
    fn not_in(
        &mut self,
        flow: &mut Flow,
        left: &'a [Expr],
        operators: &[&'static Operator],
        query: &'a Query,
    ) -> Result<bool> {
        let ([of], [operator], [column]) = (left, operators, query.columns.as_slice()) else { return Ok(false) };
        let Some(equals) = image::operator(operator.negator).filter(|o| o.name == "=") else { return Ok(false) };
        let (l, r) = ((of.ty, &of.data_type), (column.ty, &column.data_type));
        let Some(native) = compare::native(equals, l, r) else { return Ok(false) };
        let inner = self.inner(flow, query)?;
        if !references(&inner.plan)?.is_empty() {
            return Ok(false);
        }
        let own = self.expr(flow, of)?;
        let found = Lowered::Column(inner.column(column.id)?.clone());
        let (own, found) = native.operands((own, l.1), (found, r.1))?;
        let (left_name, right_name) = (self.fresh("own"), self.fresh("theirs"));
        let grown = self.extend(flow.clone(), vec![(own, left_name.clone())])?;
        let theirs = LogicalPlanBuilder::from(inner.plan).project(vec![found.alias(&right_name)])?.build()?;
        let column = |name: String| Lowered::Column(Column::new_unqualified(name));
        flow.plan = LogicalPlan::Join(Join::try_new(
            Arc::new(grown.plan),
            Arc::new(theirs),
            vec![(column(left_name), column(right_name))],
            None,
            JoinType::LeftAnti,
            JoinConstraint::On,
            NullEquality::NullEqualsNothing,
            true,
        )?);
        Ok(true)
    }
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
            let all = split_conjunction_owned(f.predicate.clone());
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
