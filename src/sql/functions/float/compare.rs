//! Order of floats: NaN equals itself and is the greatest, the zeros are one.

use arrow::array::{ArrayRef, ArrowPrimitiveType};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int32Type};

use std::cmp::Ordering;

use super::super::integer::invalid_offset;
use super::super::native;
use super::{count, joined};
use crate::error::Result;
use crate::sql::kernel::{Call, Kernel, Read};

pub(in crate::sql::functions) fn order(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn larger<T: Copy + Into<f64>>(a: T, b: T) -> T {
    if order(a.into(), b.into()).is_gt() { a } else { b }
}

fn smaller<T: Copy + Into<f64>>(a: T, b: T) -> T {
    if order(a.into(), b.into()).is_lt() { a } else { b }
}

fn ordered<A, B>(call: &Call<'_>) -> Result<ArrayRef>
where
    A: ArrowPrimitiveType<Native: Into<f64>>,
    B: ArrowPrimitiveType<Native: Into<f64>>,
{
    native::two::<A, B, Int32Type>(call, |a, b| order(a.into(), b.into()) as i32)
}

/// Arrow tells the zeros apart, and one NaN from another.
fn key(call: &Call<'_>) -> Result<ArrayRef> {
    match call.result.data_type() {
        DataType::Float32 => {
            native::one::<Float32Type, Float32Type>(call, |v| if v.is_nan() { f32::NAN } else { v + 0.0 })
        }
        _ => native::one::<Float64Type, Float64Type>(call, |v| if v.is_nan() { f64::NAN } else { v + 0.0 }),
    }
}

macro_rules! six {
    ($name:literal, $a:ty, $b:ty) => {
        &[
            (concat!($name, "eq"), |c| native::compare::<$a, $b>(c, |a, b| order(a.into(), b.into()).is_eq())),
            (concat!($name, "ne"), |c| native::compare::<$a, $b>(c, |a, b| order(a.into(), b.into()).is_ne())),
            (concat!($name, "lt"), |c| native::compare::<$a, $b>(c, |a, b| order(a.into(), b.into()).is_lt())),
            (concat!($name, "le"), |c| native::compare::<$a, $b>(c, |a, b| order(a.into(), b.into()).is_le())),
            (concat!($name, "gt"), |c| native::compare::<$a, $b>(c, |a, b| order(a.into(), b.into()).is_gt())),
            (concat!($name, "ge"), |c| native::compare::<$a, $b>(c, |a, b| order(a.into(), b.into()).is_ge())),
        ]
    };
}

pub(super) const KERNELS: &[(&str, Kernel)] = &joined::<{ count(PARTS) }>(PARTS);

const PARTS: &[&[(&str, Kernel)]] = &[
    six!("float4", Float32Type, Float32Type),
    six!("float8", Float64Type, Float64Type),
    six!("float48", Float32Type, Float64Type),
    six!("float84", Float64Type, Float32Type),
    &[
        ("key/float", key),
        ("btfloat4cmp", ordered::<Float32Type, Float32Type>),
        ("btfloat8cmp", ordered::<Float64Type, Float64Type>),
        ("btfloat48cmp", ordered::<Float32Type, Float64Type>),
        ("btfloat84cmp", ordered::<Float64Type, Float32Type>),
        ("float4larger", |c| native::two::<Float32Type, Float32Type, Float32Type>(c, larger)),
        ("float8larger", |c| native::two::<Float64Type, Float64Type, Float64Type>(c, larger)),
        ("float4smaller", |c| native::two::<Float32Type, Float32Type, Float32Type>(c, smaller)),
        ("float8smaller", |c| native::two::<Float64Type, Float64Type, Float64Type>(c, smaller)),
    ],
];

/// Of windows' RANGE frames.
pub(super) const FRAMES: &[(&str, Kernel)] = &[
    ("in_range_float8_float8", |c| within::<f64>(c, f64::from)),
    ("in_range_float4_float8", |c| within::<f32>(c, |value| value as f32)),
];

/// `value`, `base`, `offset`, whether it is subtracted, whether `value` is to be less (in_range_float8_float8). A NaN is
/// in the frame of a NaN and after every other's.
fn within<'a, V: Read<'a> + Copy + Into<f64>>(call: &Call<'a>, narrow: impl Fn(f64) -> V) -> Result<ArrayRef> {
    let (value, base, offset) = (call.read::<V>(0)?, call.read::<V>(1)?, call.read::<f64>(2)?);
    let (subtract, less) = (call.read::<bool>(3)?, call.read::<bool>(4)?);
    call.rows_of(|row| {
        let (Some(value), Some(base), Some(offset), Some(subtract), Some(less)) =
            (value.get(row), base.get(row), offset.get(row), subtract.get(row), less.get(row))
        else {
            return Ok(None);
        };
        let (value, base): (f64, f64) = (value.into(), base.into());
        if offset.is_nan() || offset < 0.0 {
            return Err(invalid_offset());
        }
        if value.is_nan() || base.is_nan() {
            return Ok(Some(match (value.is_nan(), base.is_nan()) {
                (true, true) => true,
                (true, false) => !less,
                _ => less,
            }));
        }
        // an infinite base moved by an infinity towards the other end: every value is in
        if offset.is_infinite() && base.is_infinite() && (if subtract { base > 0.0 } else { base < 0.0 }) {
            return Ok(Some(true));
        }
        let bound: f64 = narrow(if subtract { base - offset } else { base + offset }).into();
        Ok(Some(if less { value <= bound } else { value >= bound }))
    })
}
