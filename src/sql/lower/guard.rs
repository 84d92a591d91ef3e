//! Errors stay with their rows: what can raise is computed only on rows that AND, OR, CASE or COALESCE leave to it.
//!
//! DataFusion computes the right side of AND over every row, and takes a CASE of booleans apart into AND and OR. A CASE of
//! numbers it leaves alone and computes each branch on its rows: `truth(CASE WHEN left THEN flag(right) ELSE 0 END)`.

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::{Expr, GroupingSet, LogicalPlan, LogicalPlanBuilder, lit};

use super::function::can_raise;
use super::special::{Op, Special};
use crate::error::Result;

fn flag(expr: Expr) -> Expr {
    match expr {
        Expr::Literal(ScalarValue::Boolean(value), _) => lit(ScalarValue::Int8(value.map(i8::from))),
        expr => Special::call(Op::Flag, Field::new("flag", DataType::Int8, true), vec![expr]),
    }
}

fn truth(expr: Expr) -> Expr {
    Special::call(Op::Truth, Field::new("truth", DataType::Boolean, true), vec![expr])
}

fn case(whens: Vec<(Expr, Expr)>, otherwise: Option<Expr>) -> Expr {
    let whens = whens.into_iter().map(|(when, then)| (Box::new(when), Box::new(then))).collect();
    Expr::Case(Case::new(None, whens, otherwise.map(Box::new)))
}

/// CASE whose branches and later conditions are computed on their rows alone.
pub(super) fn choose(whens: Vec<(Expr, Expr)>, otherwise: Option<Expr>, boolean: bool) -> Expr {
    let later = whens.iter().skip(1).map(|(when, _)| when).chain(whens.iter().map(|(_, then)| then));
    let raises = boolean && later.chain(otherwise.as_ref()).any(can_raise);
    if !raises {
        return case(whens, otherwise);
    }
    let whens = whens.into_iter().map(|(when, then)| (when, flag(then))).collect();
    truth(case(whens, otherwise.map(flag)))
}

/// The conditions of a WHERE, in order: plain ones stay conjuncts of their own, so that they can be pushed down; up to the
/// last that can raise, each is asked only where all before it are true.
pub(super) fn conjuncts(conditions: Vec<Expr>) -> Vec<Expr> {
    let Some(last) = conditions.iter().rposition(can_raise).filter(|last| *last > 0) else { return conditions };
    let chained = truth(chain(&conditions[..=last]));
    let plain = conditions.into_iter().filter(|e| !can_raise(e) && !e.is_volatile());
    plain.chain([chained]).collect()
}

/// 1 where all are true.
fn chain(conditions: &[Expr]) -> Expr {
    match conditions {
        [] => lit(1_i8),
        [last] => flag(last.clone()),
        [first, rest @ ..] => case(vec![(first.clone(), chain(rest))], Some(lit(0_i8))),
    }
}

/// Whether rows are left out somewhere in the plan by a condition that another one could be moved to.
pub(super) fn filters(plan: &LogicalPlan) -> bool {
    let filter = plan.exists(|node| Ok(matches!(node, LogicalPlan::Filter(_))));
    filter.unwrap_or(true)
}

/// An aggregate without groups has a row whatever its input has, and so has an empty grouping set. DataFusion moves a
/// condition that reads no column of it, or one that becomes a constant on its way down, below it, where it leaves out the
/// rows and not the row; it moves none below a LIMIT.
pub(super) fn one_row_stays(plan: LogicalPlan) -> Result<LogicalPlan> {
    fn below(plan: LogicalPlan, filtered: bool) -> DataFusionResult<LogicalPlan> {
        let filtered = filtered || matches!(plan, LogicalPlan::Filter(_) | LogicalPlan::Join(_));
        let plan = plan.map_subqueries(|inner| below(inner, false).map(Transformed::yes))?.data;
        let plan = plan.map_children(|child| below(child, filtered).map(Transformed::yes))?.data;
        match &plan {
            LogicalPlan::Aggregate(a) if filtered && a.group_expr.is_empty() => {
                LogicalPlanBuilder::from(plan).limit(0, Some(1))?.build()
            }
            LogicalPlan::Aggregate(a) if filtered && a.group_expr.iter().any(has_empty_set) => {
                LogicalPlanBuilder::from(plan).limit(0, Some(ALL_ROWS))?.build()
            }
            _ => Ok(plan),
        }
    }
    Ok(below(plan, false)?)
}

/// A limit that cuts nothing.
const ALL_ROWS: usize = usize::MAX >> 1;

fn has_empty_set(group: &Expr) -> bool {
    match group {
        Expr::GroupingSet(GroupingSet::GroupingSets(sets)) => sets.iter().any(Vec::is_empty),
        Expr::GroupingSet(GroupingSet::Rollup(_) | GroupingSet::Cube(_)) => true,
        _ => false,
    }
}

/// A list of one true. DataFusion moves a filter down to another, the logical and the physical one alike, and asks the
/// upper one first; what reads an unnested column stays above the unnesting.
pub(super) fn fence() -> Expr {
    let one = ScalarValue::new_list(&[ScalarValue::Boolean(Some(true))], &DataType::Boolean, true);
    Expr::Literal(ScalarValue::List(one), None)
}

/// `condition`, where the fence is true.
pub(super) fn behind(fence: Expr, condition: Expr) -> Expr {
    truth(case(vec![(fence, flag(condition))], Some(lit(0_i8))))
}

/// AND, three-valued: what can raise is asked where none before it is false.
pub(super) fn and(operands: Vec<Expr>) -> Expr {
    folded(operands, Expr::and, [Expr::is_false, Expr::is_not_false], false)
}

/// OR: … where none before it is true.
pub(super) fn or(operands: Vec<Expr>) -> Expr {
    folded(operands, Expr::or, [Expr::is_true, Expr::is_not_true], true)
}

/// `tests`: whether an operand decides, and whether it leaves it open.
fn folded(operands: Vec<Expr>, join: fn(Expr, Expr) -> Expr, tests: [fn(Expr) -> Expr; 2], decided: bool) -> Expr {
    let [decides, open] = tests;
    let mut operands = operands;
    // what follows and raises nothing may be asked everywhere
    let after = match operands.iter().rposition(can_raise) {
        Some(last) => operands.split_off(last + 1),
        None => std::mem::take(&mut operands),
    };
    let raising = operands.iter().skip(1).filter(|e| can_raise(e)).count();
    let first = match raising > 1 && !operands.iter().any(Expr::is_volatile) {
        true => Some(in_turn(operands, decides, decided)),
        // from the right, so that no operand is written more than twice
        false => operands.into_iter().rev().reduce(|right, left| {
            if !can_raise(&right) || left.is_volatile() {
                return join(left, right);
            }
            let guarded = truth(case(vec![(open(left.clone()), flag(right))], Some(lit(i8::from(decided)))));
            join(left, guarded)
        }),
    };
    let all = first.into_iter().chain(after).rev().reduce(|right, left| join(left, right));
    all.unwrap_or_else(|| lit(!decided))
}

/// Each operand where all before it left it open, side by side: of cases inside each other DataFusion would ask the type
/// of each twice for the one around it. Where none decides, one that is NULL leaves it unknown.
fn in_turn(operands: Vec<Expr>, decides: fn(Expr) -> Expr, decided: bool) -> Expr {
    let unknown = operands.iter().cloned().map(Expr::is_null).reduce(Expr::or);
    let whens = operands.into_iter().map(|e| (decides(e), lit(i8::from(decided))));
    let unknown = unknown.map(|e| (e, lit(ScalarValue::Int8(None))));
    truth(case(whens.chain(unknown).collect(), Some(lit(i8::from(!decided)))))
}
