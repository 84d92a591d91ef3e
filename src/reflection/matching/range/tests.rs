//! Conditions and what they imply.

use datafusion::logical_expr::{col, lit};

use super::*;

#[test]
fn a_condition_is_implied_by_what_leaves_fewer_values() {
    let x = || col("x");
    let between = |low: i64, high: i64| x().between(lit(low), lit(high));
    for (given, wanted, implied) in [
        (vec![x().gt(lit(5i64))], x().gt(lit(5i64)), true),
        (vec![x().gt(lit(6i64))], x().gt(lit(5i64)), true),
        (vec![x().gt(lit(4i64))], x().gt(lit(5i64)), false),
        (vec![x().gt_eq(lit(5i64))], x().gt(lit(5i64)), false),
        (vec![x().gt(lit(5i64))], x().gt_eq(lit(5i64)), true),
        (vec![x().lt(lit(5i64))], x().lt_eq(lit(5i64)), true),
        (vec![x().lt_eq(lit(5i64))], x().lt(lit(5i64)), false),
        (vec![x().lt(lit(5i64))], x().gt(lit(5i64)), false),
        (vec![x().eq(lit(5i64))], between(5, 7), true),
        (vec![x().eq(lit(8i64))], between(5, 7), false),
        (vec![x().gt(lit(5i64)), x().lt(lit(6i64))], between(5, 7), true),
        (vec![x().gt(lit(5i64))], between(5, 7), false),
        (vec![between(5, 6)], between(5, 7), true),
        (vec![x().in_list(vec![lit(5i64), lit(6i64)], false)], between(5, 7), true),
        (vec![x().in_list(vec![lit(5i64), lit(8i64)], false)], between(5, 7), false),
        (vec![x().in_list(vec![lit(5i64), lit(8i64)], true)], between(5, 7), false),
        (vec![x().in_list(vec![lit(5i64)], false)], x().in_list(vec![lit(4i64), lit(5i64)], false), true),
        (vec![x().gt(lit(5i64))], x().is_not_null(), true),
        (vec![x().is_not_null()], x().gt(lit(5i64)), false),
        (vec![x().is_null()], x().is_not_null(), false),
        (vec![col("y").gt(lit(6i64))], x().gt(lit(5i64)), false),
        // values of two types are not compared, NULL and floats with nothing
        (vec![x().gt(lit(6i32))], x().gt(lit(5i64)), false),
        (vec![x().eq(lit(ScalarValue::Int64(None)))], x().is_not_null(), false),
        (vec![x().gt(lit(6.0))], x().gt(lit(5.0)), false),
        (vec![], x().gt(lit(5i64)), false),
    ] {
        assert_eq!(implies(&given, &wanted), implied, "{given:?} → {wanted}");
    }
}
