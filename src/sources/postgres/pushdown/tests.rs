//! Which filters become SQL, and what a plan shows of them.

use super::super::dialect::Dialect;
use super::*;
use arrow::datatypes::Field;
use datafusion::prelude::{col, lit};

fn scope() -> (Schema, Vec<Column>) {
    let column = |name: &str, oid, text_order| Column {
        name: name.into(),
        attnum: 1,
        oid,
        own_oid: oid,
        is_typed: true,
        typmod: -1,
        form: Form::Binary,
        text_order,
        dialect: Dialect::Postgres.facts().unwrap(),
        spelt: "".into(),
    };
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let all = [
        ("i", DataType::Int32, 23, TextOrder::Unknown),
        ("f", DataType::Float64, 701, TextOrder::Unknown),
        ("c", DataType::Utf8, 25, TextOrder::Bytes),
        ("de", DataType::Utf8, 1043, TextOrder::Equality),
        ("ci", DataType::Utf8, 25, TextOrder::Unknown),
        ("n", DataType::Decimal128(10, 2), 1700, TextOrder::Unknown),
        ("b", DataType::Boolean, 16, TextOrder::Unknown),
        ("d", DataType::Date32, 1082, TextOrder::Unknown),
        ("ts", utc, 1184, TextOrder::Unknown),
        ("by", DataType::Binary, 17, TextOrder::Unknown),
        ("p", DataType::Utf8, 1042, TextOrder::Unknown),
        ("we\"ird", DataType::Int32, 23, TextOrder::Unknown),
    ];
    let fields: Vec<Field> = all.iter().map(|(n, t, ..)| Field::new(*n, t.clone(), true)).collect();
    (Schema::new(fields), all.iter().map(|(n, _, oid, order)| column(n, *oid, *order)).collect())
}

fn name(column: &str) -> Expr {
    Expr::Column(datafusion::common::Column::from_name(column))
}

#[test]
fn a_filter_becomes_sql_or_stays_here() {
    let (schema, columns) = scope();
    let check = |filter: Expr, expect: Option<&str>| {
        let got = predicate(&schema, &columns, &filter).map(|s| s.sql);
        assert_eq!(got.as_deref(), expect, "{filter}");
    };
    let ts = |v| lit(ScalarValue::TimestampMicrosecond(Some(v), Some("UTC".into())));
    check(col("i").eq(lit(5i32)), Some("(\"i\" = '5'::int4)"));
    check(lit(-5i32).lt(col("i")), Some("(\"i\" > '-5'::int4)"));
    check(col("i").eq(lit(5i64)), None);
    check(col("i").eq(col("i")), None);
    check((col("i") + lit(1i32)).eq(lit(5i32)), None);
    check(col("i").eq(lit(ScalarValue::Int32(None))), None);
    check(col("i").is_null().or(col("i").gt_eq(lit(2i32))), Some("((\"i\" IS NULL) OR (\"i\" >= '2'::int4))"));
    check(col("i").is_null().or(col("n").gt_eq(lit(2i32))), None);
    check(!col("b"), Some("(NOT \"b\")"));
    check(!col("i"), None);
    check(col("i").in_list(vec![lit(1i32), lit(2i32)], true), Some("(\"i\" NOT IN ('1'::int4, '2'::int4))"));
    check(col("i").in_list(vec![lit(1i32), lit(ScalarValue::Int32(None))], false), None);
    check(col("i").in_list(vec![], false), None);
    let many = (1..=9).map(lit).collect();
    let all = "(\"i\" = ANY ('{\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"}'::pg_catalog.\"_int4\"))";
    check(col("i").in_list(many, false), Some(all));
    check(col("i").between(lit(1i32), lit(2i32)), Some("((\"i\" >= '1'::int4) AND (\"i\" <= '2'::int4))"));
    check(col("i").not_between(lit(1i32), lit(2i32)), Some("((\"i\" < '1'::int4) OR (\"i\" > '2'::int4))"));
    // Floats: no zero, no NaN, no infinity.
    check(col("f").gt(lit(1.5f64)), Some("(\"f\" > '1.5e0'::float8)"));
    check(col("f").gt(lit(0f64)), None);
    check(col("f").gt(lit(-0f64)), None);
    check(col("f").eq(lit(f64::NAN)), None);
    check(col("f").lt(lit(f64::INFINITY)), None);
    // Text: order only by bytes, equality only where equal means equal bytes.
    check(col("c").lt(lit("o'b\\")), Some("(\"c\" < 'o''b\\'::text)"));
    check(col("c").eq(lit("a\0b")), None);
    check(col("de").eq(lit("x")), Some("(\"de\" = 'x'::text)"));
    check(col("de").lt(lit("x")), None);
    check(col("ci").eq(lit("x")), None);
    check(col("ci").is_not_null(), Some("(\"ci\" IS NOT NULL)"));
    check(col("c").like(lit("x%")), None);
    check(col("p").eq(lit("x")), None);
    // The source does not mark numeric's operators leakproof.
    check(col("n").eq(lit(ScalarValue::Decimal128(Some(5), 10, 2))), None);
    check(col("n").is_null(), Some("(\"n\" IS NULL)"));
    check(col("d").eq(lit(ScalarValue::Date32(Some(-719_162)))), Some("(\"d\" = '0001-01-01'::date)"));
    check(col("d").eq(lit(ScalarValue::Date32(Some(-719_163)))), None);
    check(col("d").eq(lit(ScalarValue::Date32(Some(2_932_896)))), Some("(\"d\" = '9999-12-31'::date)"));
    check(col("d").eq(lit(ScalarValue::Date32(Some(2_932_897)))), None);
    check(col("d").lt(lit(ScalarValue::Date32(Some(i32::MAX)))), Some("(\"d\" < 'infinity'::date)"));
    check(col("ts").lt(ts(-1)), Some("(\"ts\" < '1969-12-31 23:59:59.999999+00'::timestamptz)"));
    check(col("ts").gt(ts(i64::MIN)), Some("(\"ts\" > '-infinity'::timestamptz)"));
    check(col("ts").lt(lit(ScalarValue::TimestampMicrosecond(Some(0), None))), None);
    check(col("by").eq(lit(ScalarValue::Binary(Some(vec![0, 0xff])))), Some("(\"by\" = '\\x00ff'::bytea)"));
    check(name("we\"ird").eq(lit(1i32)), Some("(\"we\"\"ird\" = '1'::int4)"));
    check(name("absent").is_null(), None);
}

#[test]
fn what_a_plan_shows_holds_no_value() {
    let (schema, columns) = scope();
    let filter = col("c").eq(lit("secret")).and(col("i").in_list(vec![lit(41i32), lit(42i32)], false));
    assert_eq!(predicate(&schema, &columns, &filter).unwrap().shape, "((\"c\" = ?) AND (\"i\" IN (?)))");
}

#[test]
fn deep_and_long_filters_stay_here() {
    let (schema, columns) = scope();
    let deep = (0..100).fold(col("b"), |e, _| !e);
    assert_eq!(predicate(&schema, &columns, &deep), None);
    let long = col("c").eq(lit("x".repeat(FILTER_BYTES_MAX)));
    assert_eq!(predicate(&schema, &columns, &long), None);
}
