//! numeric in and out, to and from integers and floats.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, StringBuilder};
use arrow::compute::kernels::arity::unary;
use arrow::datatypes::{DataType, Decimal128Type, Int16Type, Int32Type, Int64Type};
use bytes::BytesMut;
use num_bigint::BigInt;

use super::super::integer::{bigint_out_of_range, integer_out_of_range, smallint_out_of_range};
use super::operand::Operand;
use super::round::{Cut, cut, fitted};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::{input, number};
use crate::sql::kernel::{Call, Kernel, Read};
use crate::sql::numeric::Numeric;

/// Digits that every float of the type keeps (`DBL_DIG`, `FLT_DIG`).
const DIGITS8: usize = 15;
const DIGITS4: usize = 6;

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("numeric_in", |c| c.three(|text: &str, _: u32, typmod: i32| fitted(Numeric::parse(text)?.into(), typmod))),
    ("numeric_out", shown),
    // the same value as `call.result` wants it to lie: for columns of two ways to lie that meet
    ("lie/numeric", |c| c.one(|value: Operand| Ok(value))),
    ("int2_numeric", of_integer::<Int16Type>),
    ("int4_numeric", of_integer::<Int32Type>),
    ("int8_numeric", of_integer::<Int64Type>),
    ("float4_numeric", |c| c.one(|value: f32| of_float(value.into(), DIGITS4))),
    ("float8_numeric", |c| c.one(|value: f64| of_float(value, DIGITS8))),
    ("numeric_int2", |c| c.one(|value: Operand| whole::<i16>(value, "smallint", smallint_out_of_range))),
    ("numeric_int4", |c| c.one(|value: Operand| whole::<i32>(value, "integer", integer_out_of_range))),
    ("numeric_int8", |c| c.one(|value: Operand| whole::<i64>(value, "bigint", bigint_out_of_range))),
    ("numeric_float4", |c| c.one(float4)),
    ("numeric_float8", |c| c.one(float8)),
];

fn shown(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.read::<Operand>(0)?;
    let mut texts = StringBuilder::with_capacity(call.rows, call.rows * 8);
    let mut text = BytesMut::new();
    for row in 0..call.rows {
        text.clear();
        match values.get(row) {
            None => {
                texts.append_null();
                continue;
            }
            Some(Operand::Small(small)) => {
                number::Decimal::small(small.digits, small.scale as usize).text(&mut text);
                let ascii = |error| Error::internal("digits that are not ASCII").with_source(error);
                texts.append_value(std::str::from_utf8(&text).map_err(ascii)?);
            }
            Some(Operand::Large(value)) => texts.append_value(value.to_string()),
        }
    }
    Ok(Arc::new(texts.finish()))
}

/// A column of integers lies as decimals without a digit after the point.
fn of_integer<T>(call: &Call<'_>) -> Result<ArrayRef>
where
    T: arrow::array::ArrowPrimitiveType<Native: Into<i128> + for<'a> Read<'a>>,
{
    let arg = call.arg(0)?;
    if let DataType::Decimal128(precision, 0) = call.result.data_type()
        && !arg.constant
        && let Some(array) = arrow::array::AsArray::as_primitive_opt::<T>(&arg.array)
    {
        let decimals: Decimal128Array = unary::<T, _, Decimal128Type>(array, Into::into);
        return Ok(Arc::new(decimals.with_precision_and_scale(*precision, 0)?));
    }
    call.one(|value: T::Native| Ok(Operand::small(value.into(), 0)))
}

/// By its decimal digits, as many as any float of the type keeps.
fn of_float(value: f64, digits: usize) -> Result<Operand> {
    let mut text = BytesMut::new();
    number::general(value, digits, &mut text);
    let ascii = |error| Error::internal("a float that is not ASCII").with_source(error);
    Ok(Numeric::parse(std::str::from_utf8(&text).map_err(ascii)?)?.into())
}

/// Rounded half away from zero.
pub(super) fn whole<T: TryFrom<i128>>(value: Operand, name: &str, range: fn() -> Error) -> Result<T> {
    match cut(value, 0, Cut::HalfAway) {
        Operand::Small(small) => T::try_from(small.digits).map_err(|_| range()),
        Operand::Large(Numeric::Finite { .. }) => Err(range()),
        Operand::Large(Numeric::NaN) => Err(Error::new(Kind::Unsupported, format!("cannot convert NaN to {name}"))),
        Operand::Large(_) => Err(Error::new(Kind::Unsupported, format!("cannot convert infinity to {name}"))),
    }
}

/// The nearest float: by a division that is exact in its arguments where both fit in 53 bits, else by the digits.
fn float8(value: Operand) -> Result<f64> {
    if let Operand::Small(small) = &value
        && small.digits.unsigned_abs() < 1 << 53
        && small.scale <= 22
    {
        return Ok(small.digits as f64 / 10f64.powi(small.scale as i32));
    }
    input::float8(&value.numeric().to_string())
}

fn float4(value: Operand) -> Result<f32> {
    input::float4(&value.numeric().to_string())
}

/// For estimates: overflow is infinite.
pub(super) fn estimate(digits: &BigInt, scale: u32) -> f64 {
    format!("{digits}e-{scale}").parse().unwrap_or(f64::NAN)
}
