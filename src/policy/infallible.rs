//! Expressions that cannot raise an error, whatever the row. What is not on the list can. It knows no policy.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Case, Cast, Expr, ExprSchemable, Like, Operator};

use super::language::is_total;

/// Over rows of `schema`: columns, literals, comparisons, AND, OR, NOT, the IS tests, IN, BETWEEN, LIKE, CASE, casts to a
/// type that holds every value, and the functions that policies may use. No arithmetic: it overflows.
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
        Expr::ScalarFunction(call) => is_total(&call.func) && call.args.iter().all(again),
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
        (Decimal128(from, from_scale), Decimal128(to, to_scale)) => {
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
mod tests {
    use arrow::datatypes::{Field, Schema};
    use datafusion::functions::expr_fn::{date_trunc, lower, substr};
    use datafusion::logical_expr::{cast, col, lit, try_cast, when};

    use super::*;

    #[test]
    fn what_can_raise_an_error_is_told_from_what_cannot() {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int32, true),
            Field::new("price", DataType::Decimal128(10, 2), true),
            Field::new("name", DataType::Utf8, true),
            Field::new("day", DataType::Date32, true),
        ]);
        let schema = DFSchema::try_from(schema).unwrap();
        let (id, name) = (|| col("id"), || col("name"));
        let case = |then: Expr| when(id().gt(lit(1i32)), then).otherwise(lit(0i64)).unwrap();
        let rows = [
            (id().eq(col("id")), true),
            (id().gt(lit(1i32)).and(name().is_null()).or(Expr::Not(Box::new(name().like(lit("a%"))))), true),
            (id().between(lit(1i32), lit(9i32)), true),
            (id().in_list(vec![lit(1i32), id()], false), true),
            (lower(name()).eq(lit("a")).alias("x"), true),
            (cast(id(), DataType::Int64).eq(lit(1i64)), true),
            (cast(id(), DataType::Decimal128(12, 2)).lt(cast(col("price"), DataType::Decimal128(12, 2))), true),
            (cast(name(), DataType::Utf8View).eq(lit("a")), true),
            (case(cast(id(), DataType::Int64)), true),
            // arithmetic
            ((id() + lit(1i32)).gt(lit(0i32)), false),
            ((lit(1i32) / id()).gt(lit(0i32)), false),
            (Expr::Negative(Box::new(id())), false),
            (case(cast(id(), DataType::Int64) * lit(2i64)), false),
            // casts that do not hold every value, or not of this schema
            (cast(id(), DataType::Int16).eq(lit(1i16)), false),
            (cast(name(), DataType::Int32).eq(lit(1i32)), false),
            (cast(col("price"), DataType::Decimal128(10, 4)).is_null(), false),
            (cast(id(), DataType::Decimal128(11, 2)).is_null(), false),
            (cast(col("day"), DataType::Timestamp(arrow::datatypes::TimeUnit::Nanosecond, None)).is_null(), false),
            (cast(col("absent"), DataType::Int64).is_null(), false),
            (cast(lit(1i32) / id(), DataType::Int64).is_null(), false),
            (try_cast(name(), DataType::Int32).is_null(), false),
            // patterns that are not known, functions of another list
            (name().like(name()), false),
            (date_trunc(lit("month"), col("day")).is_null(), false),
            (substr(name(), id()).is_null(), false),
            (lower(cast(lit(1i32) / id(), DataType::Utf8)).is_null(), false),
        ];
        for (expr, expected) in rows {
            assert_eq!(infallible(&expr, &schema), expected, "{expr}");
        }
    }
}
