//! What can raise an error is told from what cannot: nodes of DataFusion, and expressions as our own language lowers them.

use arrow::datatypes::{Field, Schema};
use datafusion::functions::expr_fn::{date_trunc, lower, substr};
use datafusion::logical_expr::{cast, col, lit, try_cast, when};

use super::*;
use crate::policy::fixture::condition;

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
        (name().eq(lit("a")).alias("x"), true),
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
        // patterns that are not known, functions of the engine's own
        (name().like(name()), false),
        (lower(name()).eq(lit("a")), false),
        (date_trunc(lit("month"), col("day")).is_null(), false),
        (substr(name(), id()).is_null(), false),
        (lower(cast(lit(1i32) / id(), DataType::Utf8)).is_null(), false),
    ];
    for (expr, expected) in rows {
        assert_eq!(infallible(&expr, &schema), expected, "{expr}");
    }
}

/// As a statement writes them, over `t`.
#[test]
fn so_is_what_the_language_makes_of_a_statement() {
    let columns = "id int4, big int8, price numeric(10,2), any_price numeric, name text, code char(4), day date, \
                   at timestamptz, span interval, address inet, doc jsonb, ratio float8, ok bool, list int4[], tag uuid";
    let rows = [
        ("id = 1 AND big > 2 OR NOT ok", true),
        ("id = big AND price <= 1.5 AND any_price > price", true),
        ("any_price IN (1, 2.5) AND any_price IS DISTINCT FROM price", true),
        ("code = 'ab' OR code IN ('a', 'b')", true),
        ("name LIKE 'a%' AND name NOT LIKE '_b' AND name < 'z'", true),
        ("day > '2024-01-01' AND at < '2024-01-01' AND span > '1 day'", true),
        ("id BETWEEN 1 AND 9 AND ratio <> 0 AND tag IS NOT NULL", true),
        ("lower(name) = 'a' AND length(name) > 2 AND starts_with(name, 'x')", true),
        ("coalesce(name, 'x') = nullif(name, 'y')", true),
        ("id = ANY ('{1,2}') AND big NOT IN (1, 2, 3)", true),
        ("CASE WHEN ok THEN id ELSE 2 END = 2", true),
        ("id = 1.5", true),
        ("greatest(id, 3) = 3", true),
        // arithmetic, casts that refuse, functions that were not read
        ("id + 1 = 2", false),
        ("1 / id = 1", false),
        ("id <> 0 AND 1 / id = 1", false),
        ("CASE WHEN id <> 0 THEN 1 / id END = 1", false),
        ("name::int4 = 1", false),
        ("big::int4 = 1", false),
        ("price::numeric(4,1) = 1", false),
        ("ratio::numeric = 1", false),
        ("name ~ 'a+'", false),
        ("name LIKE name", false),
        ("substr(name, id) = 'a'", false),
        ("repeat(name, 1000) = 'a'", false),
        ("to_char(at, name) = 'a'", false),
        // PostgreSQL calls them leakproof; here the values lie as texts that a source may have spelt as it liked
        ("address = '10.0.0.1'", false),
        ("doc = '{}'", false),
        ("coalesce(1 / id, 0) = 1", false),
        ("list[1] = 2", false),
        ("(list)::int8[] = '{1}'", false),
    ];
    for (sql, expected) in rows {
        let (expr, schema) = condition(columns, sql);
        assert_eq!(infallible(&expr, &schema), expected, "{sql}: {expr}");
    }
}
