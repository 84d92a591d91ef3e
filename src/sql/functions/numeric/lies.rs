//! How a numeric result lies: as decimals of one scale where PostgreSQL's scale follows from the types alone and the worst
//! case fits, else as bytes.

use arrow::datatypes::DataType;

use crate::formats::postgres;
use crate::pgtype::Ty;
use crate::sql::image::Proc;

/// Digits of Arrow's decimals.
const SMALL_MAX: i32 = 38;
const LARGE_MAX: i32 = 76;

/// `None` where the scale of a result depends on the values, or its digits exceed Arrow's widest decimal. Decimals hold
/// neither NaN nor infinities, so nothing made of bytes becomes decimals again.
pub(in crate::sql::functions) fn lies_as(proc: &Proc, arguments: &[(Ty, DataType)], result: Ty) -> Option<DataType> {
    match proc.source.as_str() {
        "int2_numeric" => return decimal(5, 0),
        "int4_numeric" => return decimal(10, 0),
        "int8_numeric" => return decimal(19, 0),
        _ => {}
    }
    let side = |i: usize| arguments.get(i).and_then(|(_, data_type)| Side::of(data_type));
    let a = side(0)?;
    match proc.source.as_str() {
        "numeric_uminus" | "numeric_uplus" | "numeric_abs" => decimal(a.whole + a.scale, a.scale),
        "numeric_inc" => decimal(a.whole.max(1) + 1 + a.scale, a.scale),
        "numeric_ceil" | "numeric_floor" | "round/1708" => decimal(a.whole + 1, 0),
        "trunc/1710" => decimal(a.whole.max(1), 0),
        "numeric_sign" => decimal(1, 0),
        "numeric" => match postgres::field("", crate::pgtype::oid::NUMERIC, result.typmod, true) {
            Some(field) if result.typmod >= 4 => Some(field.data_type().clone()),
            _ if result.typmod < 4 => decimal(a.whole + a.scale, a.scale),
            _ => None,
        },
        "numeric_add" | "numeric_sub" => {
            let b = side(1)?;
            let scale = a.scale.max(b.scale);
            decimal(a.whole.max(b.whole) + 1 + scale, scale)
        }
        "numeric_mul" => {
            let b = side(1)?;
            decimal(a.whole + a.scale + b.whole + b.scale, a.scale + b.scale)
        }
        // less than either
        "numeric_mod" => {
            let b = side(1)?;
            let scale = a.scale.max(b.scale);
            decimal(a.whole.min(b.whole) + scale, scale)
        }
        "numeric_div_trunc" => {
            let b = side(1)?;
            decimal((a.whole + b.scale).max(1), 0)
        }
        _ => None,
    }
}

/// Digits before and after the point.
#[derive(Clone, Copy)]
struct Side {
    whole: i32,
    scale: i32,
}

impl Side {
    fn of(data_type: &DataType) -> Option<Self> {
        match *data_type {
            DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) if scale >= 0 => {
                Some(Self { whole: i32::from(precision) - i32::from(scale), scale: scale.into() })
            }
            _ => None,
        }
    }
}

fn decimal(precision: i32, scale: i32) -> Option<DataType> {
    let precision = precision.max(scale).max(1);
    let (p, s) = (u8::try_from(precision).ok()?, i8::try_from(scale).ok()?);
    match precision {
        ..=SMALL_MAX => Some(DataType::Decimal128(p, s)),
        ..=LARGE_MAX => Some(DataType::Decimal256(p, s)),
        _ => None,
    }
}
