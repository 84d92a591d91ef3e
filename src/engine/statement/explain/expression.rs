//! A physical expression as a reader of EXPLAIN knows it: by the names that columns have in their tables, not by the numbers
//! that the language gave them on the way. Where it meets something it has no words for it says nothing.

use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::common::ScalarValue;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::projection::ProjectionExec;

use crate::policy::verify;
use crate::sql::lower;

type Node = Arc<dyn ExecutionPlan>;
type Expr = Arc<dyn PhysicalExpr>;

/// `expr` over the rows of `input`.
pub(super) fn text(expr: &Expr, input: &Node) -> Option<String> {
    of(expr, &|index| origin(input, index))
}

/// `expr` over the columns of two inputs, one after the other.
pub(super) fn text_over(expr: &Expr, columns: &[(Node, usize)]) -> Option<String> {
    of(expr, &|index| columns.get(index).and_then(|(node, index)| origin(node, *index)))
}

/// `a, b DESC`: what is PostgreSQL's default is not said.
pub(super) fn sort_key(key: &PhysicalSortExpr, input: &Node) -> Option<String> {
    let order = match (key.options.descending, key.options.nulls_first) {
        (false, false) => "",
        (false, true) => " NULLS FIRST",
        (true, true) => " DESC",
        (true, false) => " DESC NULLS LAST",
    };
    Some(format!("{}{order}", text(&key.expr, input)?))
}

/// What column `index` of `node` holds, as far down as it can be followed.
pub(super) fn origin(node: &Node, index: usize) -> Option<String> {
    let schema = node.schema();
    let name = || schema.fields().get(index).map(|field| field.name().clone());
    if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
        return text(&projection.expr().get(index)?.expr, projection.input());
    }
    if let Some(filter) = node.downcast_ref::<FilterExec>() {
        return origin(filter.input(), projected(filter.projection().as_deref(), index)?);
    }
    if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
        return grouped(aggregate, index);
    }
    if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        let index = projected(join.projection.as_deref(), index)?;
        return joined(join.left(), join.right(), join.join_type(), index);
    }
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
        let index = projected(join.projection().as_deref(), index)?;
        return joined(join.left(), join.right(), join.join_type(), index);
    }
    if let Some(join) = node.downcast_ref::<CrossJoinExec>() {
        return joined(join.left(), join.right(), &JoinType::Inner, index);
    }
    match node.children().as_slice() {
        // a node that hands its input's columns on as they are
        [input] if input.schema().fields().get(index) == schema.fields().get(index) && !is_closed(node) => {
            origin(input, index)
        }
        _ => name(),
    }
}

/// What stands below a barrier has no names here.
fn is_closed(node: &Node) -> bool {
    verify::barrier(node).is_some()
}

fn projected(projection: Option<&[usize]>, index: usize) -> Option<usize> {
    match projection {
        Some(columns) => columns.get(index).copied(),
        None => Some(index),
    }
}

fn joined(left: &Node, right: &Node, kind: &JoinType, index: usize) -> Option<String> {
    let width = left.schema().fields().len();
    match kind {
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => origin(right, index),
        _ if index < width => origin(left, index),
        _ => origin(right, index - width),
    }
}

fn grouped(aggregate: &AggregateExec, index: usize) -> Option<String> {
    let first = first_stage(aggregate);
    let groups = first.group_expr().expr();
    if let Some((key, _)) = groups.get(index) {
        return text(key, first.input());
    }
    let function = first.aggr_expr().get(index - groups.len())?;
    let name = function.fun().name();
    let arguments = function.expressions();
    if name == "count" && arguments.iter().all(|argument| argument.downcast_ref::<Literal>().is_some()) {
        return Some("count(*)".into());
    }
    let arguments = arguments.iter().map(|argument| text(argument, first.input())).collect::<Option<Vec<_>>>()?;
    Some(format!("{name}({})", arguments.join(", ")))
}

/// Of an aggregation in two stages the one that sees the rows.
pub(super) fn first_stage(aggregate: &AggregateExec) -> &AggregateExec {
    if !matches!(aggregate.mode(), AggregateMode::Final | AggregateMode::FinalPartitioned) {
        return aggregate;
    }
    let mut below = aggregate.input();
    loop {
        if let Some(first) = below.downcast_ref::<AggregateExec>() {
            return first;
        }
        match below.children().as_slice() {
            [only] => below = *only,
            _ => return aggregate,
        }
    }
}

fn of(expr: &Expr, column: &dyn Fn(usize) -> Option<String>) -> Option<String> {
    let again = |e: &Expr| of(e, column);
    if let Some(reference) = expr.downcast_ref::<Column>() {
        return column(reference.index());
    }
    if let Some(literal) = expr.downcast_ref::<Literal>() {
        return Some(constant(literal.value()));
    }
    if let Some(e) = expr.downcast_ref::<BinaryExpr>() {
        return Some(format!("({} {} {})", again(e.left())?, e.op(), again(e.right())?));
    }
    if let Some(e) = expr.downcast_ref::<NotExpr>() {
        return Some(format!("(NOT {})", again(e.arg())?));
    }
    if let Some(e) = expr.downcast_ref::<IsNullExpr>() {
        return Some(format!("({} IS NULL)", again(e.arg())?));
    }
    if let Some(e) = expr.downcast_ref::<IsNotNullExpr>() {
        return Some(format!("({} IS NOT NULL)", again(e.arg())?));
    }
    if let Some(e) = expr.downcast_ref::<LikeExpr>() {
        let tildes = if e.case_insensitive() { "~~*" } else { "~~" };
        let not = if e.negated() { "!" } else { "" };
        return Some(format!("({} {not}{tildes} {})", again(e.expr())?, again(e.pattern())?));
    }
    if let Some(e) = expr.downcast_ref::<InListExpr>() {
        let list = e.list().iter().map(again).collect::<Option<Vec<_>>>()?.join(", ");
        let words = if e.negated() { "<> ALL" } else { "= ANY" };
        return Some(format!("({} {words} (ARRAY[{list}]))", again(e.expr())?));
    }
    if let Some(e) = expr.downcast_ref::<CastExpr>() {
        // between how values lie in memory, mostly: the reader wrote none
        return again(e.expr());
    }
    if let Some(e) = expr.downcast_ref::<ScalarFunctionExpr>() {
        let arguments = e.args().iter().map(again).collect::<Option<Vec<_>>>()?;
        return Some(match (lower::operator_of(e.fun()), arguments.as_slice()) {
            (Some(operator), [left, right]) => format!("({left} {operator} {right})"),
            (Some(operator), [of]) => format!("({operator} {of})"),
            // how a value is compared: the reader wrote none
            (None, [of]) if lower::is_key(e.fun()) => of.clone(),
            _ => format!("{}({})", e.name(), arguments.join(", ")),
        });
    }
    None
}

fn constant(value: &ScalarValue) -> String {
    match value {
        null if null.is_null() => "NULL".into(),
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
            format!("'{}'::text", text.replace('\'', "''"))
        }
        ScalarValue::Boolean(_) => value.to_string(),
        number if number.data_type().is_numeric() => number.to_string(),
        other => format!("'{other}'"),
    }
}
