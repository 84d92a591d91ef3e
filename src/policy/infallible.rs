//! Expressions that cannot raise an error, whatever the row. What is not on the list can. It knows no policy.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Case, Cast, Expr, ExprSchemable, Like, Operator};

use crate::sql::lower;

/// Over rows of `schema`: columns, literals, comparisons, AND, OR, NOT, the IS tests, IN, BETWEEN, LIKE, CASE, casts to a
/// type that holds every value, and functions that were read and found to refuse none. No arithmetic: it overflows.
pub(super) fn infallible(expr: &Expr, schema: &DFSchema) -> bool {
    let again = |e: &Expr| infallible(e, schema);
    match expr {
        Expr::Column(_) | Expr::Literal(..) => true,
        Expr::Alias(alias) => again(&alias.expr),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => compares(*op) && again(left) && again(right),
        Expr::Not(e)
        | Expr::IsNull(e)
        | Expr::IsNotNull(e)
        | Expr::IsTrue(e)
        | Expr::IsFalse(e)
        | Expr::IsUnknown(e)
        | Expr::IsNotTrue(e)
        | Expr::IsNotFalse(e)
        | Expr::IsNotUnknown(e) => again(e),
        Expr::Between(Between { expr, negated: _, low, high }) => again(expr) && again(low) && again(high),
        Expr::InList(InList { expr, list, negated: _ }) => again(expr) && list.iter().all(again),
        Expr::Like(Like { negated: _, expr, pattern, escape_char: None, case_insensitive: _ }) => {
            again(expr) && matches!(pattern.as_ref(), Expr::Literal(..))
        }
        Expr::Case(Case { expr, when_then_expr, else_expr }) => {
            let arms = when_then_expr.iter().flat_map(|(when, then)| [when, then]);
            arms.chain(expr).chain(else_expr).all(|e| again(e))
        }
        Expr::Cast(Cast { expr, field }) => {
            let from = expr.get_type(schema);
            from.is_ok_and(|from| holds_all(field.data_type(), &from)) && again(expr)
        }
        Expr::ScalarFunction(call) => lower::is_total(&call.func) && call.args.iter().all(again),
        _ => false,
    }
}

fn compares(op: Operator) -> bool {
    use Operator::*;
    matches!(op, And | Or | Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// Every value of `from` is one of `to`, if perhaps a rounded one.
fn holds_all(to: &DataType, from: &DataType) -> bool {
    use DataType::*;
    let text = |t: &DataType| matches!(t, Utf8 | LargeUtf8 | Utf8View);
    match (from, to) {
        (from, to) if from == to || text(from) && text(to) => true,
        (Int8, Int16 | Int32 | Int64 | Float32 | Float64)
        | (Int16, Int32 | Int64 | Float32 | Float64)
        | (Int32, Int64 | Float32 | Float64)
        | (Int64, Float32 | Float64)
        | (Float32, Float64) => true,
        (Int8 | Int16 | Int32 | Int64, Decimal128(precision, scale)) => {
            whole_digits(*precision, *scale) >= digits(from)
        }
        (Decimal128(from, from_scale), Decimal128(to, to_scale) | Decimal256(to, to_scale))
        | (Decimal256(from, from_scale), Decimal256(to, to_scale)) => {
            to_scale >= from_scale && whole_digits(*to, *to_scale) >= whole_digits(*from, *from_scale)
        }
        _ => false,
    }
}

fn whole_digits(precision: u8, scale: i8) -> i16 {
    i16::from(precision) - i16::from(scale)
}

/// Of the longest number.
fn digits(integer: &DataType) -> i16 {
    match integer {
        DataType::Int8 => 3,
        DataType::Int16 => 5,
        DataType::Int32 => 10,
        _ => 19,
    }
}

#[cfg(test)]
mod tests;
