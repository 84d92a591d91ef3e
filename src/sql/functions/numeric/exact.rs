//! Sums, products, quotients and divisors of numerics of any size: the results have as many digits after the point as
//! PostgreSQL gives them. NaN and the infinities follow IEEE 754, but that a division by zero is an error.

use num_bigint::{BigInt, BigUint, Sign};

use super::super::integer::division_by_zero;
use crate::error::Result;
use crate::sql::numeric::{Numeric, decimal_length, divide_rounded, power_of_ten};

/// At least so many significant digits in a quotient, a root, a logarithm (`NUMERIC_MIN_SIG_DIGITS`).
pub(super) const SIGNIFICANT_MIN: i64 = 16;
/// `NUMERIC_MAX_DISPLAY_SCALE`: no function chooses a scale beyond it.
pub(super) const DISPLAY_SCALE_MAX: i64 = 1000;
/// PostgreSQL counts in groups of so many digits, and its estimates of sizes with it (`DEC_DIGITS`).
pub(super) const GROUP: i64 = 4;

/// The sign of a numeric; none for NaN.
pub(super) fn sign(value: &Numeric) -> Option<Sign> {
    match value {
        Numeric::NaN => None,
        Numeric::NegativeInfinity => Some(Sign::Minus),
        Numeric::Infinity => Some(Sign::Plus),
        Numeric::Finite { digits, .. } => Some(digits.sign()),
    }
}

pub(super) fn infinity(sign: Sign) -> Numeric {
    match sign {
        Sign::Minus => Numeric::NegativeInfinity,
        Sign::Plus => Numeric::Infinity,
        Sign::NoSign => Numeric::NaN,
    }
}

pub(in crate::sql) fn negate(value: Numeric) -> Numeric {
    match value {
        Numeric::NegativeInfinity => Numeric::Infinity,
        Numeric::Infinity => Numeric::NegativeInfinity,
        Numeric::NaN => Numeric::NaN,
        Numeric::Finite { digits, scale } => Numeric::new(-digits, scale),
    }
}

/// Both at the larger of two scales.
fn aligned(a: &BigInt, x: u32, b: &BigInt, y: u32) -> (BigInt, BigInt, u32) {
    match x.cmp(&y) {
        std::cmp::Ordering::Equal => (a.clone(), b.clone(), x),
        std::cmp::Ordering::Less => (a * power_of_ten(y - x), b.clone(), y),
        std::cmp::Ordering::Greater => (a.clone(), b * power_of_ten(x - y), x),
    }
}

pub(in crate::sql) fn add(a: &Numeric, b: &Numeric) -> Result<Numeric> {
    match (a, b) {
        (Numeric::Finite { digits: a, scale: x }, Numeric::Finite { digits: b, scale: y }) => {
            let (a, b, scale) = aligned(a, *x, b, *y);
            Numeric::new(a + b, scale).checked()
        }
        (Numeric::NaN, _) | (_, Numeric::NaN) => Ok(Numeric::NaN),
        (Numeric::Infinity, Numeric::NegativeInfinity) | (Numeric::NegativeInfinity, Numeric::Infinity) => {
            Ok(Numeric::NaN)
        }
        (Numeric::Finite { .. }, infinite) => Ok(infinite.clone()),
        (infinite, _) => Ok(infinite.clone()),
    }
}

pub(in crate::sql) fn subtract(a: &Numeric, b: &Numeric) -> Result<Numeric> {
    add(a, &negate(b.clone()))
}

pub(in crate::sql) fn multiply(a: &Numeric, b: &Numeric) -> Result<Numeric> {
    match (a, b) {
        (Numeric::Finite { digits: a, scale: x }, Numeric::Finite { digits: b, scale: y }) => {
            Numeric::new(a * b, x + y).checked()
        }
        _ => Ok(match (sign(a), sign(b)) {
            (Some(a), Some(b)) => infinity(a * b),
            _ => Numeric::NaN,
        }),
    }
}

/// What a quotient is where one side is not finite; `None` where both are.
fn special_quotient(a: &Numeric, b: &Numeric) -> Option<Result<Numeric>> {
    Some(match (a, b) {
        (Numeric::Finite { .. }, Numeric::Finite { .. }) => return None,
        (Numeric::NaN, _) | (_, Numeric::NaN) => Ok(Numeric::NaN),
        (Numeric::Finite { .. }, _) => Ok(Numeric::zero()),
        (infinite, Numeric::Finite { digits, .. }) => match digits.sign() {
            Sign::NoSign => Err(division_by_zero()),
            Sign::Plus => Ok(infinite.clone()),
            Sign::Minus => Ok(negate(infinite.clone())),
        },
        _ => Ok(Numeric::NaN),
    })
}

/// `digits · 10^-x` over `by · 10^-y` at a scale.
pub(super) fn quotient(digits: &BigInt, x: u32, by: &BigInt, y: u32, scale: u32) -> BigInt {
    let shift = i64::from(scale) + i64::from(y) - i64::from(x);
    let power = power_of_ten(shift.unsigned_abs() as u32);
    match shift >= 0 {
        true => divide_rounded(&(digits * power), by),
        false => divide_rounded(digits, &(by * power)),
    }
}

pub(in crate::sql) fn divide(a: &Numeric, b: &Numeric) -> Result<Numeric> {
    let (Numeric::Finite { digits, scale: x }, Numeric::Finite { digits: by, scale: y }) = (a, b) else {
        return special_quotient(a, b).unwrap_or(Ok(Numeric::NaN));
    };
    if by.sign() == Sign::NoSign {
        return Err(division_by_zero());
    }
    let scale = quotient_scale(Leading::of(digits.magnitude(), *x), Leading::of(by.magnitude(), *y), *x, *y);
    Numeric::new(quotient(digits, *x, by, *y, scale), scale).checked()
}

/// The whole part of the quotient.
pub(in crate::sql) fn divide_truncated(a: &Numeric, b: &Numeric) -> Result<Numeric> {
    let (Numeric::Finite { digits, scale: x }, Numeric::Finite { digits: by, scale: y }) = (a, b) else {
        return special_quotient(a, b).unwrap_or(Ok(Numeric::NaN));
    };
    if by.sign() == Sign::NoSign {
        return Err(division_by_zero());
    }
    let (a, b, _) = aligned(digits, *x, by, *y);
    Numeric::new(a / b, 0).checked()
}

/// What is left of `a`, with its sign.
pub(in crate::sql) fn remainder(a: &Numeric, b: &Numeric) -> Result<Numeric> {
    match (a, b) {
        (Numeric::NaN, _) | (_, Numeric::NaN) => Ok(Numeric::NaN),
        (_, Numeric::Finite { digits, .. }) if digits.sign() == Sign::NoSign => Err(division_by_zero()),
        (Numeric::Finite { digits, scale: x }, Numeric::Finite { digits: by, scale: y }) => {
            let (a, b, scale) = aligned(digits, *x, by, *y);
            Ok(Numeric::new(a % b, scale))
        }
        (Numeric::Finite { .. }, _) => Ok(a.clone()),
        _ => Ok(Numeric::NaN),
    }
}

pub(super) fn greatest_divisor(a: &Numeric, b: &Numeric) -> Numeric {
    let (Numeric::Finite { digits, scale: x }, Numeric::Finite { digits: by, scale: y }) = (a, b) else {
        return Numeric::NaN;
    };
    let (a, b, scale) = aligned(digits, *x, by, *y);
    let (mut a, mut b) = (a.into_parts().1, b.into_parts().1);
    while b != BigUint::ZERO {
        (a, b) = (b.clone(), a % b);
    }
    Numeric::new(a.into(), scale)
}

pub(super) fn least_multiple(a: &Numeric, b: &Numeric) -> Result<Numeric> {
    let (Numeric::Finite { digits, scale: x }, Numeric::Finite { digits: by, scale: y }) = (a, b) else {
        return Ok(Numeric::NaN);
    };
    let (Numeric::Finite { digits: divisor, .. }, (a, b, scale)) =
        (greatest_divisor(a, b), aligned(digits, *x, by, *y))
    else {
        return Ok(Numeric::NaN);
    };
    let multiple = if divisor.sign() == Sign::NoSign { BigInt::ZERO } else { a / divisor * b };
    Numeric::new(multiple.into_parts().1.into(), scale).checked()
}

/// Where a numeric begins, as PostgreSQL stores it: in groups of four digits aligned at the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leading {
    /// The power of 10000 that the first group is multiplied by; 0 for zero.
    pub(super) weight: i64,
    /// The first group: from 1 to 9999, 0 for zero.
    pub(super) group: u32,
}

impl Leading {
    pub(super) fn of(magnitude: &BigUint, scale: u32) -> Self {
        if let Ok(small) = u128::try_from(magnitude) {
            return Self::of_small(small, scale);
        }
        let length = decimal_length(magnitude);
        let (weight, digits) = Self::place(length, scale);
        let cut = u32::try_from(length).unwrap_or(u32::MAX).saturating_sub(digits);
        let group = magnitude / power_of_ten(cut).magnitude();
        Self { weight, group: u32::try_from(group).unwrap_or(0) }
    }

    pub(super) fn of_small(magnitude: u128, scale: u32) -> Self {
        let Some(log) = magnitude.checked_ilog10() else { return Self { weight: 0, group: 0 } };
        let (weight, digits) = Self::place(u64::from(log) + 1, scale);
        let group = match (log + 1).checked_sub(digits) {
            Some(cut) => magnitude / 10u128.pow(cut),
            None => magnitude * 10u128.pow(digits - log - 1),
        };
        Self { weight, group: u32::try_from(group).unwrap_or(0) }
    }

    /// Weight of the first group, and how many digits of it are not zeros before the first.
    fn place(length: u64, scale: u32) -> (i64, u32) {
        let exponent = length as i64 - i64::from(scale) - 1;
        (exponent.div_euclid(GROUP), exponent.rem_euclid(GROUP) as u32 + 1)
    }
}

/// select_div_scale.
pub(super) fn quotient_scale(a: Leading, b: Leading, x: u32, y: u32) -> u32 {
    let weight = a.weight - b.weight - i64::from(a.group <= b.group);
    bounded_scale(SIGNIFICANT_MIN - weight * GROUP, x.max(y))
}

/// A scale that was chosen, but at least that of the arguments and at most the largest shown.
pub(super) fn bounded_scale(chosen: i64, arguments: u32) -> u32 {
    chosen.max(i64::from(arguments)).clamp(0, DISPLAY_SCALE_MAX) as u32
}
