//! What a real PostgreSQL 15 answered.

use crate::sql::functions::tests::table;

#[test]
fn answers_are_those_of_postgresql() {
    table(include_str!("tests.tsv"));
}

#[test]
fn what_lies_under_a_null_does_not_fail() {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int32Array};
    use arrow::datatypes::{DataType, Field, Int32Type};

    use crate::pgtype::Ty;
    use crate::sql::functions::kernel;
    use crate::sql::kernel::{Arg, Call, Env};

    let int = |values: Vec<i32>, valid: Vec<bool>| -> ArrayRef {
        Arc::new(Int32Array::new(values.into(), Some(valid.into())))
    };
    let apply = |source: &str, args: &[Arg], rows: usize| {
        let (result, env) = (Field::new("", DataType::Int32, true), Env::plain());
        let types = [Ty::INT4, Ty::INT4];
        kernel(source).unwrap()(&Call { args, types: &types, rows, result: &result, result_type: Ty::INT4, env: &env })
    };
    let a = Arg::array(int(vec![i32::MAX, 1, 6], vec![false, true, true]));
    let zero = Arg::array(int(vec![0, 0, 2], vec![true, false, true]));
    let one = Arg::constant(int(vec![1], vec![true]));
    let null = Arg::constant(int(vec![0], vec![false]));
    let values = |array: ArrayRef| array.as_primitive::<Int32Type>().iter().collect::<Vec<_>>();
    assert_eq!(values(apply("int4pl", &[a.clone(), one.clone()], 3).unwrap()), [None, Some(2), Some(7)]);
    assert_eq!(values(apply("int4pl", &[one.clone(), a.clone()], 3).unwrap()), [None, Some(2), Some(7)]);
    assert_eq!(values(apply("int4div", &[a.clone(), zero], 3).unwrap()), [None, None, Some(3)]);
    assert_eq!(values(apply("int4div", &[a, null.clone()], 3).unwrap()), [None, None, None]);
    assert_eq!(values(apply("int4pl", &[one.clone(), one.clone()], 2).unwrap()), [Some(2), Some(2)]);
    assert_eq!(values(apply("int4div", &[one, null], 2).unwrap()), [None, None]);
}
