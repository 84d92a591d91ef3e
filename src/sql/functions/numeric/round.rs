//! Rounding, scales, and what a type's modifier does to a value.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array};
use arrow::datatypes::{DataType, Decimal128Type};
use num_bigint::{BigInt, Sign};

use super::operand::{Operand, ten};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::{self, numeric::Small};
use crate::sql::kernel::{Call, Kernel};
use crate::sql::numeric::{DIGITS_MAX, Numeric, SCALE_MAX, power_of_ten};

/// Scales asked for are cut to these: beyond, all digits are cut, or too many zeros shown.
const SCALES: std::ops::RangeInclusive<i32> = -(DIGITS_MAX as i32) - 1..=SCALE_MAX as i32;

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("numeric_round", |c| {
        c.two(|value: Operand, scale: i32| match cut(value, scale, Cut::HalfAway) {
            // away from zero there may be no more room
            Operand::Large(value) => value.checked().map(Operand::Large),
            small => Ok(small),
        })
    }),
    ("numeric_trunc", |c| c.two(|value: Operand, scale: i32| Ok(cut(value, scale, Cut::TowardsZero)))),
    ("round/1708", |c| c.one(|value: Operand| Ok(cut(value, 0, Cut::HalfAway)))),
    ("trunc/1710", |c| c.one(|value: Operand| Ok(cut(value, 0, Cut::TowardsZero)))),
    ("numeric_ceil", |c| c.one(|value: Operand| Ok(cut(value, 0, Cut::Up)))),
    ("numeric_floor", |c| c.one(|value: Operand| Ok(cut(value, 0, Cut::Down)))),
    ("numeric_sign", |c| c.one(|value: Operand| Ok(sign(&value)))),
    ("numeric_scale", |c| {
        c.one(|value: Operand| {
            Ok(match value {
                Operand::Small(small) => i32::try_from(small.scale).ok(),
                Operand::Large(Numeric::Finite { scale, .. }) => i32::try_from(scale).ok(),
                Operand::Large(_) => None,
            })
        })
    }),
    ("numeric_min_scale", |c| {
        c.one(|value: Operand| {
            Ok(match trimmed(value) {
                Operand::Small(small) => i32::try_from(small.scale).ok(),
                Operand::Large(Numeric::Finite { scale, .. }) => i32::try_from(scale).ok(),
                Operand::Large(_) => None,
            })
        })
    }),
    ("numeric_trim_scale", |c| c.one(|value: Operand| Ok(trimmed(value)))),
    ("numeric", coerced),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    HalfAway,
    TowardsZero,
    Up,
    Down,
}

/// With that many digits after the point; a negative scale cuts before it.
pub(super) fn cut(value: Operand, scale: i32, how: Cut) -> Operand {
    let scale = scale.clamp(*SCALES.start(), *SCALES.end());
    if let Operand::Small(Small { digits, scale: own }) = value {
        let by = i64::from(own) - i64::from(scale);
        let power = u32::try_from(by.unsigned_abs()).ok().and_then(ten);
        let shown = u32::try_from(scale).unwrap_or(0);
        match (by > 0, power) {
            (false, Some(power)) => {
                if let Some(digits) = digits.checked_mul(power) {
                    return Operand::small(digits, shown);
                }
            }
            (true, Some(power)) => {
                let (quotient, rest) = (digits / power, digits % power);
                let away = match how {
                    Cut::HalfAway => rest.unsigned_abs() >= power.unsigned_abs() / 2,
                    Cut::TowardsZero => false,
                    Cut::Up => rest > 0,
                    Cut::Down => rest < 0,
                };
                let quotient = quotient + if !away { 0 } else { digits.signum() };
                let zeros = if scale < 0 { ten(scale.unsigned_abs()) } else { Some(1) };
                if let Some(digits) = zeros.and_then(|zeros| quotient.checked_mul(zeros)) {
                    return Operand::small(digits, shown);
                }
            }
            // all digits are behind the place
            (true, None) if matches!(how, Cut::HalfAway | Cut::TowardsZero) => return Operand::small(0, shown),
            _ => {}
        }
    }
    let value = value.numeric();
    match (&value, how) {
        (_, Cut::HalfAway) => value.rounded(scale).into(),
        (Numeric::Finite { digits, scale: own }, _) if i64::from(*own) > i64::from(scale) => {
            let power = power_of_ten(u32::try_from(i64::from(*own) - i64::from(scale)).unwrap_or(0));
            let (mut quotient, rest) = (digits / &power, (digits % &power).sign());
            match (how, rest) {
                (Cut::Up, Sign::Plus) => quotient += 1,
                (Cut::Down, Sign::Minus) => quotient -= 1,
                _ => {}
            }
            match u32::try_from(scale) {
                Ok(scale) => Numeric::new(quotient, scale).into(),
                Err(_) => Numeric::new(quotient * power_of_ten(scale.unsigned_abs()), 0).into(),
            }
        }
        // nothing to cut: zeros are added
        _ => value.rounded(scale).into(),
    }
}

fn sign(value: &Operand) -> Operand {
    match value {
        Operand::Small(small) => Operand::small(small.digits.signum(), 0),
        Operand::Large(value) => match super::exact::sign(value) {
            None => Operand::Large(Numeric::NaN),
            Some(Sign::Minus) => Operand::small(-1, 0),
            Some(Sign::NoSign) => Operand::zero(),
            Some(Sign::Plus) => Operand::small(1, 0),
        },
    }
}

/// Without zeros behind the point's last digit.
pub(super) fn trimmed(value: Operand) -> Operand {
    match value {
        Operand::Small(Small { digits: 0, .. }) => Operand::zero(),
        Operand::Small(Small { mut digits, mut scale }) => {
            while scale > 0 && digits % 10 == 0 {
                (digits, scale) = (digits / 10, scale - 1);
            }
            Operand::small(digits, scale)
        }
        Operand::Large(Numeric::Finite { digits, scale }) => {
            let text = digits.magnitude().to_str_radix(10);
            let zeros = text.len() - text.trim_end_matches('0').len();
            let zeros = u32::try_from(zeros).unwrap_or(u32::MAX).min(scale);
            let digits: BigInt = if zeros == 0 { digits } else { digits / power_of_ten(zeros) };
            Numeric::new(digits, scale - zeros).into()
        }
        Operand::Large(special) => Operand::Large(special),
    }
}

/// To a precision and scale (`apply_typmod`).
pub(super) fn fitted(value: Operand, typmod: i32) -> Result<Operand> {
    // what PostgreSQL adds to modifiers is 4; below there is none
    if typmod < 4 {
        return Ok(value);
    }
    let (precision, scale) = postgres::numeric_modifier(typmod);
    let overflow = |detail: String| Error::new(Kind::NumericRange, "numeric field overflow").with_detail(detail);
    match &value {
        Operand::Large(Numeric::NaN) => return Ok(value),
        Operand::Large(Numeric::Infinity | Numeric::NegativeInfinity) => {
            let detail = format!("A field with precision {precision}, scale {scale} cannot hold an infinite value.");
            return Err(overflow(detail));
        }
        _ => {}
    }
    let rounded = cut(value, scale, Cut::HalfAway);
    let whole = precision - scale;
    // A value below 10^whole fits. Zeros that a negative scale leaves are counted with it.
    let fits = match &rounded {
        Operand::Small(small) => {
            let places = i64::from(whole) + i64::from(small.scale);
            let limit = u32::try_from(places).ok().map(|places| 10u128.checked_pow(places));
            match limit {
                Some(limit) => limit.is_none_or(|limit| small.digits.unsigned_abs() < limit),
                None => small.digits == 0,
            }
        }
        Operand::Large(Numeric::Finite { digits, scale }) => {
            let places = u32::try_from(i64::from(whole) + i64::from(*scale)).unwrap_or(0);
            *digits.magnitude() < *power_of_ten(places).magnitude()
        }
        Operand::Large(_) => true,
    };
    if fits {
        return Ok(rounded);
    }
    let limit = if whole == 0 { "1".to_owned() } else { format!("10^{whole}") };
    Err(overflow(format!(
        "A field with precision {precision}, scale {scale} must round to an absolute value less than {limit}."
    )))
}

fn coerced(call: &Call<'_>) -> Result<ArrayRef> {
    let modifier = call.arg(1)?;
    if modifier.constant
        && let Some(done) = decimals(call, call.read::<i32>(1)?.get(0))?
    {
        return Ok(done);
    }
    call.two(fitted)
}

/// A column of Decimal128 to the modifier of the result, as a plain loop; `None` where that is not the case, or where a
/// value does not fit, so that the general way says so.
fn decimals(call: &Call<'_>, typmod: Option<i32>) -> Result<Option<ArrayRef>> {
    let arg = call.arg(0)?;
    let (DataType::Decimal128(_, own), DataType::Decimal128(precision, scale)) =
        (arg.array.data_type(), call.result.data_type())
    else {
        return Ok(None);
    };
    let Some(typmod @ 4..) = typmod else { return Ok(None) };
    if arg.constant || postgres::numeric_modifier(typmod) != (i32::from(*precision), i32::from(*scale)) {
        return Ok(None);
    }
    let array: &Decimal128Array = arg.array.as_primitive();
    let Some(limit) = ten(u32::from(*precision)) else { return Ok(None) };
    let by = i32::from(*own) - i32::from(*scale);
    let Some(power) = ten(by.unsigned_abs()) else { return Ok(None) };
    let fits = |value: i128| (value.unsigned_abs() < limit.unsigned_abs()).then_some(value);
    let each = |value: i128| {
        if by <= 0 {
            return value.checked_mul(power).and_then(fits);
        }
        let (quotient, rest) = (value / power, value % power);
        fits(quotient + if rest.unsigned_abs() >= power.unsigned_abs() / 2 { value.signum() } else { 0 })
    };
    let wrong = || arrow::error::ArrowError::ComputeError(String::new());
    let done = arrow::compute::kernels::arity::try_unary::<_, _, Decimal128Type>(array, |v| each(v).ok_or_else(wrong));
    match done {
        Ok(array) => Ok(Some(Arc::new(array.with_precision_and_scale(*precision, *scale)?))),
        Err(_) => Ok(None),
    }
}
