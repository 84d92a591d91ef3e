//! The normal form of a guarded plan: what can be written in several ways and means one thing stands in one. Conjuncts have
//! an order, filters one above the other are one, a comparison has its constant on the right, a list its members sorted, and
//! a projection that only calls columns otherwise is not there. Names are the reader's to forget: they say which, no more.
//!
//! What looks at plans for equality reads this form. It is never run: a condition that can fail keeps its place among the
//! others, so that two plans are one only where each fails when the other does.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, TableReference};
use datafusion::error::Result;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, Projection};

use crate::sql::lower;

/// `plan`, and the plans of its subqueries.
pub(super) fn normal(plan: LogicalPlan) -> Result<LogicalPlan> {
    let tables = tables(&plan)?;
    let plan = plan.transform_up_with_subqueries(|plan| {
        let plan = plan.map_expressions(|e| e.transform_up(|e| Ok(lower::canonical(e))))?.data;
        Ok(Transformed::yes(match plan {
            LogicalPlan::Filter(filter) => under_names(filter, &tables)?,
            LogicalPlan::Projection(projection) => one_projection(projection)?,
            // the same rows wherever they are computed: what is volatile has no key
            LogicalPlan::Extension(other) => match lower::Once::of(other.node.as_ref()) {
                Some(once) => once.input().clone(),
                None => LogicalPlan::Extension(other),
            },
            other => other,
        }))
    })?;
    Ok(plan.data)
}

/// Tables by the place at which they stand, which no order of conditions moves.
fn tables(plan: &LogicalPlan) -> Result<HashMap<TableReference, usize>> {
    let mut tables = HashMap::new();
    plan.apply_with_subqueries(|plan| {
        if let LogicalPlan::SubqueryAlias(named) = plan {
            let place = tables.len();
            tables.entry(named.alias.clone()).or_insert(place);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(tables)
}

/// A filter over filters, their conjuncts in order. The lower one's come first: they judge first.
fn one_filter(filter: Filter, tables: &HashMap<TableReference, usize>) -> Result<Filter> {
    let mut conjuncts = split_conjunction_owned(filter.predicate);
    let mut input = filter.input;
    if let LogicalPlan::Filter(below) = input.as_ref() {
        let mut first = split_conjunction_owned(below.predicate.clone());
        first.append(&mut conjuncts);
        conjuncts = first;
        input = below.input.clone();
    }
    let mut ordered: Vec<Expr> = Vec::with_capacity(conjuncts.len());
    let mut free: Vec<Expr> = vec![];
    for conjunct in conjuncts {
        if lower::can_raise(&conjunct) {
            settle(&mut free, &mut ordered, tables)?;
            ordered.push(conjunct);
        } else {
            free.push(conjunct);
        }
    }
    settle(&mut free, &mut ordered, tables)?;
    let predicate = conjunction(ordered).unwrap_or_else(|| datafusion::logical_expr::lit(true));
    Filter::try_new(predicate, input)
}

/// Those that nothing stands between, sorted, each once.
fn settle(free: &mut Vec<Expr>, ordered: &mut Vec<Expr>, tables: &HashMap<TableReference, usize>) -> Result<()> {
    let mut keyed = free.drain(..).map(|e| Ok((shown(&e, tables)?, e))).collect::<Result<Vec<_>>>()?;
    keyed.sort_by(|(a, _), (b, _)| a.cmp(b));
    keyed.dedup_by(|(_, a), (_, b)| a == b);
    ordered.extend(keyed.into_iter().map(|(_, e)| e));
    Ok(())
}

/// An expression's text under which tables are called by their places.
fn shown(expr: &Expr, tables: &HashMap<TableReference, usize>) -> Result<String> {
    let placed = expr.clone().transform(|e| {
        let Expr::Column(Column { relation: Some(relation), name, spans }) = e else { return Ok(Transformed::no(e)) };
        let relation = match tables.get(&relation) {
            Some(place) => TableReference::bare(place.to_string()),
            None => relation,
        };
        Ok(Transformed::yes(Expr::Column(Column { relation: Some(relation), name, spans })))
    })?;
    Ok(placed.data.to_string())
}

/// A filter stands below what only calls columns otherwise.
fn under_names(filter: Filter, tables: &HashMap<TableReference, usize>) -> Result<LogicalPlan> {
    if let LogicalPlan::Projection(above) = filter.input.as_ref()
        && !holds_query(&filter.predicate)
        && let Some(names) = names(above)
    {
        let predicate = renamed(filter.predicate, &names)?;
        let below = LogicalPlan::Filter(one_filter(Filter::try_new(predicate, Arc::clone(&above.input))?, tables)?);
        return Ok(LogicalPlan::Projection(Projection::try_new(above.expr.clone(), Arc::new(below))?));
    }
    Ok(LogicalPlan::Filter(one_filter(filter, tables)?))
}

/// A projection over one that only calls columns otherwise, and one that changes nothing.
fn one_projection(projection: Projection) -> Result<LogicalPlan> {
    if let LogicalPlan::Projection(below) = projection.input.as_ref()
        && !projection.expr.iter().any(holds_query)
        && let Some(names) = names(below)
    {
        let called = projection.schema.columns().into_iter().zip(projection.expr);
        let expr = called.map(|(Column { relation, name, .. }, e)| {
            let e = renamed(e, &names)?;
            Ok(if matches!(e, Expr::Alias(_)) { e } else { e.alias_qualified(relation, name) })
        });
        let expr = expr.collect::<Result<Vec<_>>>()?;
        return Ok(LogicalPlan::Projection(Projection::try_new(expr, Arc::clone(&below.input))?));
    }
    let below = projection.input.schema();
    let changes_nothing = projection.expr.len() == below.fields().len()
        && projection.expr.iter().zip(below.columns()).all(|(e, column)| matches!(e, Expr::Column(c) if *c == column));
    Ok(if changes_nothing { projection.input.as_ref().clone() } else { LogicalPlan::Projection(projection) })
}

/// What each column of the projection is called below it, where it is a column. A type's metadata that it gives is its own.
fn names(projection: &Projection) -> Option<HashMap<Column, Column>> {
    let below = projection.expr.iter().map(|e| match e {
        Expr::Column(column) => Some(column.clone()),
        Expr::Alias(alias) if alias.metadata.is_none() => alias.expr.try_as_col().cloned(),
        _ => None,
    });
    projection.schema.columns().into_iter().zip(below).map(|(column, below)| Some((column, below?))).collect()
}

/// A query inside may read columns by the names that a projection gives them.
fn holds_query(expr: &Expr) -> bool {
    let is_query = |e: &Expr| {
        Ok(matches!(e, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_)))
    };
    expr.exists(is_query).unwrap_or(true)
}

/// `expr` holds no query.
fn renamed(expr: Expr, names: &HashMap<Column, Column>) -> Result<Expr> {
    let renamed = expr.transform(|e| {
        Ok(match e {
            Expr::Column(column) => match names.get(&column) {
                Some(below) => Transformed::yes(Expr::Column(below.clone())),
                None => Transformed::no(Expr::Column(column)),
            },
            other => Transformed::no(other),
        })
    })?;
    Ok(renamed.data)
}
