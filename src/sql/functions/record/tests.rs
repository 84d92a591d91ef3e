//! Records beside each other, as PostgreSQL 15.18 answers.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, StringArray, StructArray};
use arrow::datatypes::Field;

use crate::error::Result;
use crate::pgtype::{self, Ty, oid};
use crate::sql::functions::kernel;
use crate::sql::kernel::{Arg, Call, Env};

fn record(columns: Vec<ArrayRef>) -> Arg {
    let oid_of = |column: &ArrayRef| match column.data_type() {
        arrow::datatypes::DataType::Int32 => oid::INT4,
        arrow::datatypes::DataType::Int64 => oid::INT8,
        _ => oid::TEXT,
    };
    let field = |(at, column): (usize, &ArrayRef)| -> Field {
        pgtype::field(&format!("f{}", at + 1), Ty::of(oid_of(column)), column.data_type().clone())
    };
    let fields: Vec<Field> = columns.iter().enumerate().map(field).collect();
    Arg::constant(Arc::new(StructArray::try_new(fields.into(), columns, None).unwrap()))
}

fn int4(value: Option<i32>) -> ArrayRef {
    Arc::new(Int32Array::from(vec![value]))
}

fn text(value: Option<&str>) -> ArrayRef {
    Arc::new(StringArray::from(vec![value]))
}

fn apply(source: &str, args: &[Arg], result: u32) -> Result<ArrayRef> {
    let field = pgtype::field("", Ty::of(result), pgtype::arrow(result).unwrap());
    let types = vec![Ty::of(oid::RECORD); args.len()];
    let env = Env::plain();
    let call = Call { args, types: &types, rows: 1, result: &field, result_type: Ty::of(result), env: &env };
    kernel(source).unwrap()(&call)
}

#[test]
fn a_record_s_text_quotes_what_needs_it() {
    let texts = ["a", "b c", "", "q\"u\\z", "(x)"].map(|value| text(Some(value)));
    let mut columns = vec![int4(Some(1)), text(None)];
    columns.extend(texts);
    let out = apply("record_out", &[record(columns)], oid::TEXT).unwrap();
    assert_eq!(out.as_string::<i32>().value(0), r#"(1,,a,"b c","","q""u\\z","(x)")"#);
}

#[test]
fn records_compare_column_by_column_and_null_is_the_greatest() {
    let is = |source: &str, a: Vec<ArrayRef>, b: Vec<ArrayRef>| {
        apply(source, &[record(a), record(b)], oid::BOOL).map(|out| out.as_boolean().value(0))
    };
    assert!(is("record_eq", vec![int4(Some(1)), int4(None)], vec![int4(Some(1)), int4(None)]).unwrap());
    assert!(!is("record_lt", vec![int4(Some(1)), int4(None)], vec![int4(Some(1)), int4(Some(2))]).unwrap());
    assert!(is("record_ge", vec![int4(Some(2)), int4(Some(0))], vec![int4(Some(1)), int4(Some(2))]).unwrap());
    let wrong = |a, b| is("record_eq", a, b).unwrap_err().message().to_owned();
    assert_eq!(
        wrong(vec![int4(Some(1))], vec![int4(Some(1)), int4(Some(2))]),
        "cannot compare record types with different numbers of columns"
    );
    // a column that differs before decides
    assert!(!is("record_eq", vec![int4(Some(1))], vec![int4(Some(2)), int4(Some(2))]).unwrap());
    let int8: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    assert_eq!(
        wrong(vec![int4(Some(1))], vec![int8]),
        "cannot compare dissimilar column types integer and bigint at record column 1"
    );
}
