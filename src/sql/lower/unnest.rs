//! Subqueries and LATERAL without exception (Neumann and Kemper, "Unnesting Arbitrary Queries", BTW 2015).
//!
//! What a subquery reads of the query around it stands in its plan as outer references. The distinct values of these, the
//! domain, are joined into the subquery as deep as something depends on them ([`Dependent::push`]); its result then has a
//! row set for each value of the domain and is joined back to the query, NULLs being equal. DataFusion's own
//! decorrelation loses rows in several of these places and is never asked: no plan leaves here with an outer reference,
//! but to a query still further out, whose turn comes later.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinType, NullEquality};
use datafusion::logical_expr::logical_plan::Aggregate;
use datafusion::logical_expr::{Expr as Lowered, LogicalPlan, LogicalPlanBuilder, Operator, binary_expr, lit};

use super::function::can_raise;
use super::narrow::narrowed;
use super::push::Dependent;
use super::subquery::bare_aggregate;
use super::{Flow, Lower, compare, guard, relation};
use crate::error::{Error, Result};
use crate::sql::expr::Kind;
use crate::sql::query::{Join, JoinKind};

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
        true => {
            let text = "a volatile function in a common table expression that is read twice, or beside a subquery that depends on it,";
            Err(Error::unsupported(text))
        }
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

/// The columns of queries around it that an expression reads.
pub(super) fn outer_columns(e: &Lowered) -> Vec<Column> {
    let mut found = vec![];
    // a visitor that never fails
    let _ = e.apply(|e| {
        if let Lowered::OuterReferenceColumn(_, column) = e {
            found.push(column.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// Whether anything in the plan may refuse a value.
fn raises(plan: &LogicalPlan) -> Result<bool> {
    let mut raises = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|e| {
            raises |= can_raise(e);
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(raises)
}

/// The values on both sides are the same, NULL too.
pub(super) fn null_safe(own: Vec<Column>, domain: Vec<Column>) -> impl Iterator<Item = Lowered> {
    let same = |(a, b)| binary_expr(Lowered::Column(a), Operator::IsNotDistinctFrom, Lowered::Column(b));
    own.into_iter().zip(domain).map(same)
}

impl<'a> Lower<'a> {
    /// A side of a join that reads columns of the other.
    pub(super) fn lateral(&mut self, left: Flow, join: &'a Join) -> Result<Flow> {
        let (kind, on) = (join.kind, join.on.as_ref());
        self.outer.push(left.clone());
        let inner = self.relation(&join.right);
        self.outer.pop();
        let mut right = self.marked(inner?, join.present.1.as_ref())?;
        let mut outer = references(&right.plan)?;
        outer.retain(|c| left.plan.schema().has_column(c));
        if outer.is_empty() {
            return self.joined(left, right, kind, on);
        }
        let mut left = left;
        if matches!(kind, JoinKind::Inner | JoinKind::Left)
            && on.is_none_or(relation::is_true)
            && let Some((aggregate, shown)) = bare_aggregate(&right.plan)
        {
            return self.aggregate_beside(left, &right, aggregate, shown);
        }
        let (plan, domain, own) = self.depending(&mut left, right.plan)?;
        right.plan = plan;
        let mut filters: Vec<Lowered> = null_safe(own, domain).collect();
        let mut columns = left.columns.clone();
        columns.extend(right.columns.clone());
        if let Some(on) = on {
            if on.any(&|e| matches!(e.kind, Kind::Subquery { .. })) {
                return self.joined_by_subqueries(left, right, kind, on, filters);
            }
            let beside = LogicalPlanBuilder::from(left.plan.clone()).cross_join(right.plan.clone())?.build()?;
            let mut both = Flow { plan: beside, columns: columns.clone(), computed: vec![], order: vec![] };
            let conditions = self.exprs_of(&mut both, &relation::conditions(on))?;
            filters.extend(guard::conjuncts(conditions));
        }
        let plan =
            LogicalPlanBuilder::from(left.plan).join_on(right.plan, relation::join_type(kind), filters)?.build()?;
        Ok(Flow { plan, columns, computed: vec![], order: vec![] })
    }

    /// An aggregate over all rows of the right side: one row beside each of the left.
    fn aggregate_beside(
        &mut self,
        left: Flow,
        right: &Flow,
        aggregate: Aggregate,
        shown: Vec<(Column, Lowered)>,
    ) -> Result<Flow> {
        let mut flow = left;
        let (names, values): (Vec<Column>, Vec<Lowered>) = shown.into_iter().unzip();
        let values = self.aggregate_of_rows(&mut flow, aggregate, values)?;
        let (mut computed, mut renamed) = (vec![], HashMap::new());
        for (column, value) in names.into_iter().zip(values) {
            let name = self.fresh("beside");
            renamed.insert(column, Column::new_unqualified(&name));
            computed.push((value, name));
        }
        let mut flow = self.extend(flow, computed)?;
        for (id, column) in &right.columns {
            let found = renamed.get(column).ok_or_else(|| Error::internal(format!("{column} is not shown")))?;
            flow.columns.insert(*id, found.clone());
        }
        flow.computed.clear();
        Ok(flow)
    }

    /// `inner` for every value of what it reads of `flow`: its plan, the columns in it that hold these values, and those of
    /// `flow` that they are.
    pub(super) fn depending(
        &mut self,
        flow: &mut Flow,
        inner: LogicalPlan,
    ) -> Result<(LogicalPlan, Vec<Column>, Vec<Column>)> {
        let inner = self.widened(flow, inner)?;
        let mut outer = references(&inner)?;
        outer.retain(|c| flow.plan.schema().has_column(c));
        if outer.is_empty() {
            return Ok((inner, vec![], vec![]));
        }
        let columns = outer.iter().cloned().map(Lowered::Column).collect::<Vec<_>>();
        let free = !raises(&inner)?;
        // what could raise is computed for the rows that ask for it
        let domain = match self.reached.iter().cloned().reduce(Lowered::and) {
            Some(reached) if !free => LogicalPlanBuilder::from(flow.plan.clone()).filter(reached)?,
            _ => LogicalPlanBuilder::from(narrowed(&flow.plan, &outer)?),
        };
        let domain = domain.project(columns)?.distinct()?.build()?;
        let (plan, found) =
            Dependent { lower: self, outer: outer.clone(), domain, free, rounds: vec![] }.push(inner)?;
        Ok((plan, found, outer))
    }

    /// An outer value that is read through one cast alone is cast outside, so that it is equal to a column as it is.
    fn widened(&mut self, flow: &mut Flow, inner: LogicalPlan) -> Result<LogicalPlan> {
        let mut casts: HashMap<Column, (Option<Lowered>, usize, usize)> = HashMap::new();
        inner.apply_with_subqueries(|node| {
            node.apply_expressions(|e| {
                e.apply(|e| {
                    match e {
                        Lowered::OuterReferenceColumn(_, column) => casts.entry(column.clone()).or_default().1 += 1,
                        Lowered::Cast(cast) => {
                            if let Lowered::OuterReferenceColumn(_, column) = cast.expr.as_ref() {
                                let known = casts.entry(column.clone()).or_default();
                                if known.0.get_or_insert_with(|| e.clone()) == e {
                                    known.2 += 1;
                                }
                            }
                        }
                        _ => {}
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })?;
        casts.retain(|column, (cast, all, through)| {
            cast.is_some() && all == through && flow.plan.schema().has_column(column)
        });
        let mut wider: HashMap<Lowered, Lowered> = HashMap::new();
        let mut computed = vec![];
        for (column, (cast, ..)) in casts {
            let Some(Lowered::Cast(cast)) = cast else { continue };
            let name = self.fresh("wide");
            let field = Arc::new(Field::new(&name, cast.field.data_type().clone(), true));
            computed.push((compare::cast_expr(Lowered::Column(column), cast.field.data_type())?, name.clone()));
            let reference = Lowered::OuterReferenceColumn(field, Column::new_unqualified(name));
            wider.insert(Lowered::Cast(cast), reference);
        }
        if wider.is_empty() {
            return Ok(inner);
        }
        let grown = self.extend(flow.clone(), computed)?;
        *flow = grown;
        let rewritten = inner.transform_up_with_subqueries(|node| {
            node.map_expressions(|e| {
                e.transform_down(|e| {
                    Ok(match wider.get(&e) {
                        Some(reference) => Transformed::new(reference.clone(), true, TreeNodeRecursion::Jump),
                        None => Transformed::no(e),
                    })
                })
            })
        });
        Ok(rewritten?.data)
    }

    /// The result of a subquery beside the rows that it belongs to; rows without one stay.
    pub(super) fn join_back(
        &mut self,
        flow: &mut Flow,
        result: LogicalPlan,
        own: &[Column],
        domain: &[Column],
    ) -> Result<()> {
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
