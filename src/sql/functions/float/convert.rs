//! Floats in and out, and to and from integers and each other.

use arrow::array::ArrowPrimitiveType;
use arrow::datatypes::{Float32Type, Float64Type, Int16Type, Int32Type, Int64Type};
use bytes::BytesMut;

use super::super::integer::{bigint_out_of_range, integer_out_of_range, smallint_out_of_range};
use super::super::native;
use super::{overflow, underflow};
use crate::error::{Error, Result};
use crate::formats::postgres::{input, number};
use crate::sql::kernel::{Call, Kernel, Read};

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("float4in", |c| c.one(|text: &str| input::float4(text))),
    ("float8in", |c| c.one(|text: &str| input::float8(text))),
    ("float4out", |c| shown(c, number::float4_with)),
    ("float8out", |c| shown(c, number::float8_with)),
    ("ftod", |c| native::one::<Float32Type, Float64Type>(c, f64::from)),
    ("dtof", |c| {
        native::one_checked::<Float64Type, Float32Type>(
            c,
            |value| {
                let narrow = value as f32;
                (narrow, (narrow.is_infinite() && !value.is_infinite()) || (narrow == 0.0 && value != 0.0))
            },
            |value| if value.abs() > 1.0 { overflow() } else { underflow() },
        )
    }),
    // a long integer takes the nearest float
    ("i2tof", |c| native::one::<Int16Type, Float32Type>(c, f32::from)),
    ("i4tof", |c| native::one::<Int32Type, Float32Type>(c, |value| value as f32)),
    ("i8tof", |c| native::one::<Int64Type, Float32Type>(c, |value| value as f32)),
    ("i2tod", |c| native::one::<Int16Type, Float64Type>(c, f64::from)),
    ("i4tod", |c| native::one::<Int32Type, Float64Type>(c, f64::from)),
    ("i8tod", |c| native::one::<Int64Type, Float64Type>(c, |value| value as f64)),
    ("ftoi2", |c| whole::<Float32Type, Int16Type>(c, smallint_out_of_range)),
    ("ftoi4", |c| whole::<Float32Type, Int32Type>(c, integer_out_of_range)),
    ("ftoi8", |c| whole::<Float32Type, Int64Type>(c, bigint_out_of_range)),
    ("dtoi2", |c| whole::<Float64Type, Int16Type>(c, smallint_out_of_range)),
    ("dtoi4", |c| whole::<Float64Type, Int32Type>(c, integer_out_of_range)),
    ("dtoi8", |c| whole::<Float64Type, Int64Type>(c, bigint_out_of_range)),
];

/// Rounded half to even.
fn whole<A, R>(call: &Call<'_>, range: impl Fn() -> Error) -> Result<arrow::array::ArrayRef>
where
    A: ArrowPrimitiveType<Native: Into<f64>>,
    R: ArrowPrimitiveType<Native: TryFrom<i64> + Default>,
{
    native::one_checked::<A, R>(
        call,
        |value| {
            let value: f64 = value.into().round_ties_even();
            // -2^63 is a bigint, 2^63 is none
            let whole = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0)
                .contains(&value)
                .then_some(value as i64)
                .and_then(|whole| R::Native::try_from(whole).ok());
            (whole.unwrap_or_default(), whole.is_none())
        },
        |_| range(),
    )
}

/// The shortest digits that read back as the value, or as many as the session asks for.
fn shown<'a, T: Read<'a>>(call: &Call<'a>, write: fn(T, i32, &mut BytesMut)) -> Result<arrow::array::ArrayRef> {
    let values = call.read::<T>(0)?;
    let mut texts = arrow::array::StringBuilder::with_capacity(call.rows, call.rows * 8);
    let mut text = BytesMut::new();
    let extra = call.env.extra_float_digits;
    for row in 0..call.rows {
        let Some(value) = values.get(row) else {
            texts.append_null();
            continue;
        };
        text.clear();
        write(value, extra, &mut text);
        let ascii = |error| Error::internal("a float that is not ASCII").with_source(error);
        texts.append_value(std::str::from_utf8(&text).map_err(ascii)?);
    }
    Ok(std::sync::Arc::new(texts.finish()))
}
