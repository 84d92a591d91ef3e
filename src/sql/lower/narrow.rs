//! The least part of a plan in which some of its columns have all their values: what is joined beside them without leaving
//! out a row is not computed for them again. Without it a query of many subqueries, each joined to the rows that ask it,
//! would double with each.

use std::sync::Arc;

use datafusion::common::{Column, JoinType};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};

use crate::error::Result;

/// A plan that gives at least `needed`, with the same distinct values.
pub(super) fn narrowed(plan: &LogicalPlan, needed: &[Column]) -> Result<LogicalPlan> {
    let has_all = |part: &LogicalPlan| needed.iter().all(|column| part.schema().has_column(column));
    match plan {
        LogicalPlan::Join(join) if join.join_type == JoinType::Left && has_all(&join.left) => {
            narrowed(&join.left, needed)
        }
        LogicalPlan::Join(join) if join.join_type == JoinType::Right && has_all(&join.right) => {
            narrowed(&join.right, needed)
        }
        LogicalPlan::Window(window) if has_all(&window.input) => narrowed(&window.input, needed),
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => narrowed(&sort.input, needed),
        LogicalPlan::Projection(projection) => {
            let all = projection.schema.columns().into_iter().zip(&projection.expr);
            let shown: Vec<Expr> = all.filter(|(column, _)| needed.contains(column)).map(|(_, e)| e.clone()).collect();
            let mut read: Vec<Column> = vec![];
            for column in shown.iter().flat_map(Expr::column_refs) {
                if !read.contains(column) {
                    read.push(column.clone());
                }
            }
            if shown.len() != needed.len() || read.is_empty() || shown.iter().any(Expr::is_volatile) {
                return Ok(plan.clone());
            }
            let input = narrowed(&projection.input, &read)?;
            let same = shown.len() == read.len()
                && shown.iter().all(|e| matches!(e, Expr::Column(c) if input.schema().has_column(c)));
            match same {
                true => Ok(input),
                false => Ok(LogicalPlanBuilder::from(Arc::new(input)).project(shown)?.build()?),
            }
        }
        _ => Ok(plan.clone()),
    }
}
