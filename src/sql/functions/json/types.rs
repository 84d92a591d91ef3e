//! Values of any type to text and back, by the type's own output and input functions.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field};

use crate::error::{Error, Result};
use crate::formats::postgres;
use crate::pgtype::{self, Ty, oid};
use crate::sql::functions::kernel;
use crate::sql::kernel::{Arg, Call, Env};
use crate::sql::numeric::Numeric;

/// What the output function gives for each value.
pub(in crate::sql) fn output(ty: Ty, values: &ArrayRef, env: &Env) -> Result<StringArray> {
    let plain = matches!(ty.oid, oid::TEXT | oid::VARCHAR | oid::NAME | oid::UNKNOWN | oid::JSON | oid::JSONB);
    if let Some(texts) = values.as_string_opt::<i32>().filter(|_| plain || ty.oid >= 16384) {
        return Ok(texts.clone());
    }
    if ty.oid == oid::NUMERIC {
        let arg = Arg::array(Arc::clone(values));
        let numbers = arg.read::<Numeric>()?;
        return Ok((0..values.len()).map(|row| numbers.get(row).map(|number| number.to_string())).collect());
    }
    let Some(kernel) = pgtype::functions(ty.oid).and_then(|functions| kernel(functions.output)) else {
        return postgres::texts(&pgtype::field("", ty, values.data_type().clone()), values, &env.style());
    };
    let result = Field::new("", DataType::Utf8, true);
    let texts = kernel(&Call {
        args: &[Arg::array(Arc::clone(values))],
        types: &[ty],
        rows: values.len(),
        result: &result,
        result_type: Ty::of(oid::CSTRING),
        env,
    })?;
    let wrong = || Error::internal(format!("the output of {} is no text", ty.name()));
    texts.as_string_opt::<i32>().cloned().ok_or_else(wrong)
}

/// What the input function makes of each text, lying as `field` says.
pub(in crate::sql) fn input(field: &Field, ty: Ty, texts: ArrayRef, env: &Env) -> Result<ArrayRef> {
    let missing = || Error::unsupported(format!("input of type {}", ty.name()));
    let input = pgtype::functions(ty.oid).map(|functions| functions.input).ok_or_else(missing)?;
    let kernel = kernel(input).ok_or_else(missing)?;
    let parameter = pgtype::element(ty.oid).unwrap_or(ty.oid);
    let rows = texts.len();
    let values = kernel(&Call {
        args: &[
            Arg::array(texts),
            Arg::constant(Arc::new(UInt32Array::from(vec![parameter]))),
            Arg::constant(Arc::new(Int32Array::from(vec![ty.typmod]))),
        ],
        types: &[Ty::of(oid::CSTRING), Ty::of(oid::OID), Ty::INT4],
        rows,
        result: field,
        result_type: ty,
        env,
    })?;
    lying_as(values, field, env)
}

/// numeric_in may give bytes where a column of a known scale wants a Decimal.
fn lying_as(values: ArrayRef, field: &Field, env: &Env) -> Result<ArrayRef> {
    if values.data_type() == field.data_type() {
        return Ok(values);
    }
    let wrong = || Error::internal(format!("{} was made for {}", values.data_type(), field.data_type()));
    match field.data_type() {
        DataType::Decimal128(..) | DataType::Decimal256(..) | DataType::Binary => {
            let (args, rows) = ([Arg::array(Arc::clone(&values))], values.len());
            let call = Call { args: &args, types: &[], rows, result: field, result_type: Ty::NUMERIC, env };
            call.one(|number: Numeric| Ok(number))
        }
        _ => Err(wrong()),
    }
}
