//! What a real PostgreSQL 15 answered, and that all ways to lie give the same.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Decimal128Array, Int32Array};
use arrow::datatypes::DataType;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::pgtype::{self, Ty, oid};
use crate::sql::functions::tests::table;
use crate::sql::functions::{kernel, lies_as};
use crate::sql::image::proc_of_source;
use crate::sql::kernel::{Arg, Call, Env};
use crate::sql::numeric::Numeric;

#[test]
fn answers_are_those_of_postgresql() {
    table(include_str!("tests.tsv"));
}

#[test]
fn templates_are_read_as_postgresql_reads_them() {
    table(include_str!("template.tsv"));
}

fn decimals(values: &[Option<i128>], precision: u8, scale: i8) -> ArrayRef {
    Arc::new(Decimal128Array::from(values.to_vec()).with_precision_and_scale(precision, scale).unwrap())
}

fn bytes(array: &ArrayRef) -> ArrayRef {
    apply("lie/numeric", &[Arg::array(Arc::clone(array))], array.len(), DataType::Binary, -1)
}

fn apply(source: &str, args: &[Arg], rows: usize, result: DataType, typmod: i32) -> ArrayRef {
    let ty = Ty { oid: oid::NUMERIC, typmod };
    let (field, env) = (pgtype::field("", ty, result), Env::plain());
    let types = [Ty::NUMERIC, Ty::NUMERIC];
    kernel(source).unwrap()(&Call { args, types: &types, rows, result: &field, result_type: ty, env: &env }).unwrap()
}

fn shown(array: &ArrayRef) -> Vec<Option<String>> {
    let bytes = bytes(array);
    bytes.as_binary::<i32>().iter().map(|value| value.map(|value| Numeric::decode(value).to_string())).collect()
}

fn lying(source: &str, arguments: &[DataType], typmod: i32) -> Option<DataType> {
    let arguments: Vec<(Ty, DataType)> = arguments.iter().map(|lies| (Ty::NUMERIC, lies.clone())).collect();
    lies_as(proc_of_source(source).unwrap(), &arguments, Ty { oid: oid::NUMERIC, typmod })
}

#[test]
fn decimals_of_one_scale_give_what_bytes_give() {
    let mut random = StdRng::seed_from_u64(15);
    let mut column = |precision: u8, scale: i8| {
        let limit = 10i128.pow(precision.into());
        let values: Vec<Option<i128>> = (0..200)
            .map(|i| (i % 7 != 0).then(|| random.random_range(1 - limit..limit) / 10i128.pow(i % u32::from(precision))))
            .collect();
        decimals(&values, precision, scale)
    };
    let (a, b) = (column(12, 2), column(18, 5));
    // no zero, by which nothing can be divided
    let b = apply(
        "numeric_add",
        &[Arg::array(b), Arg::constant(decimals(&[Some(10_000_001)], 19, 6))],
        200,
        DataType::Decimal128(20, 6),
        -1,
    );
    for source in ["numeric_add", "numeric_sub", "numeric_mul", "numeric_mod", "numeric_div_trunc"] {
        let result = lying(source, &[a.data_type().clone(), b.data_type().clone()], -1).unwrap();
        assert!(matches!(result, DataType::Decimal128(..)), "{source} {result}");
        for (left, right) in [
            (Arg::array(Arc::clone(&a)), Arg::array(Arc::clone(&b))),
            (Arg::constant(a.slice(1, 1)), Arg::array(Arc::clone(&b))),
            (Arg::array(Arc::clone(&a)), Arg::constant(b.slice(1, 1))),
        ] {
            let plain = |arg: &Arg| Arg { array: bytes(&arg.array), constant: arg.constant };
            let fast = apply(source, &[left.clone(), right.clone()], 200, result.clone(), -1);
            let slow = apply(source, &[plain(&left), plain(&right)], 200, DataType::Binary, -1);
            assert_eq!(shown(&fast), shown(&slow), "{source}");
        }
    }
    for source in ["numeric_uminus", "numeric_abs", "numeric_ceil", "numeric_floor", "numeric_sign", "numeric_inc"] {
        let result = lying(source, &[b.data_type().clone()], -1).unwrap();
        let fast = apply(source, &[Arg::array(Arc::clone(&b))], 200, result, -1);
        let slow = apply(source, &[Arg::array(bytes(&b))], 200, DataType::Binary, -1);
        assert_eq!(shown(&fast), shown(&slow), "{source}");
    }
}

#[test]
fn a_modifier_rounds_columns_and_refuses_what_is_too_large() {
    let values = [Some(12_345), Some(-12_355), None, Some(5), Some(-4)];
    let column = decimals(&values, 9, 3);
    let typmod = (5 << 16) + 1 + 4;
    let result = lying("numeric", &[DataType::Decimal128(9, 3)], typmod).unwrap();
    assert_eq!(result, DataType::Decimal128(5, 1));
    let modifier = Arg::constant(Arc::new(Int32Array::from(vec![typmod])));
    let rounded = apply("numeric", &[Arg::array(column), modifier], 5, result, typmod);
    let expected = [Some("12.3"), Some("-12.4"), None, Some("0.0"), Some("0.0")].map(|text| text.map(str::to_owned));
    assert_eq!(shown(&rounded), expected);
}

#[test]
fn results_lie_as_decimals_while_the_worst_case_fits() {
    use DataType::{Binary, Decimal128, Decimal256};
    let rows = [
        ("numeric_add", vec![Decimal128(12, 2), Decimal128(10, 4)], Some(Decimal128(15, 4))),
        ("numeric_sub", vec![Decimal128(38, 10), Decimal128(38, 10)], Some(Decimal256(39, 10))),
        ("numeric_mul", vec![Decimal128(12, 2), Decimal128(10, 4)], Some(Decimal128(22, 6))),
        ("numeric_mul", vec![Decimal128(38, 10), Decimal128(38, 10)], Some(Decimal256(76, 20))),
        ("numeric_mul", vec![Decimal256(50, 10), Decimal128(38, 10)], None),
        ("numeric_add", vec![Decimal128(12, 2), Binary], None),
        ("numeric_div", vec![Decimal128(12, 2), Decimal128(12, 2)], None),
        ("numeric_uminus", vec![Decimal128(12, 2)], Some(Decimal128(12, 2))),
        ("numeric_uminus", vec![Binary], None),
        ("int4_numeric", vec![DataType::Int32], Some(Decimal128(10, 0))),
        ("int8_numeric", vec![DataType::Int64], Some(Decimal128(19, 0))),
        ("round/1708", vec![Decimal128(12, 2)], Some(Decimal128(11, 0))),
        ("numeric_round", vec![Decimal128(12, 2), DataType::Int32], None),
    ];
    for (source, arguments, expected) in rows {
        assert_eq!(lying(source, &arguments, -1), expected, "{source} {arguments:?}");
    }
}

#[test]
fn keys_of_equal_values_are_equal_and_in_order() {
    let texts = ["-Infinity", "-2.50", "-2.5", "0", "0.00", "1.0", "1", "1.05", "Infinity", "NaN"];
    let values: Vec<Vec<u8>> = texts.iter().map(|text| Numeric::parse(text).unwrap().encode()).collect();
    let column: ArrayRef = Arc::new(BinaryArray::from_iter_values(&values));
    let keys = apply("key/numeric", &[Arg::array(column)], texts.len(), DataType::Binary, -1);
    let keys = keys.as_binary::<i32>();
    for i in 1..texts.len() {
        let order = Numeric::decode(&values[i - 1]).compare(&Numeric::decode(&values[i]));
        assert_eq!(keys.value(i - 1).cmp(keys.value(i)), order, "{} {}", texts[i - 1], texts[i]);
    }
    let decimal = apply("key/numeric", &[Arg::array(decimals(&[Some(-250)], 5, 2))], 1, DataType::Binary, -1);
    assert_eq!(decimal.as_binary::<i32>().value(0), keys.value(1));
}
