//! Exact sums of numerics, and the two things that are made of them: quotients and roots with as many digits as
//! PostgreSQL shows (numeric.c).

use std::cmp::Ordering;

use arrow::datatypes::i256;
use num_bigint::{BigInt, Sign};

use super::state::{Saved, save_bytes};
use crate::sql::numeric::{self, Numeric, power_of_ten};

/// A sum whose scale is the largest of its terms. It lies in an i128 while it can.
#[derive(Clone, Debug, Default)]
pub(super) struct Exact {
    scale: u32,
    small: i128,
    large: Option<Box<BigInt>>,
}

impl Exact {
    pub(super) fn add_small(&mut self, value: i128, scale: u32) {
        if self.scale == scale
            && self.large.is_none()
            && let Some(sum) = self.small.checked_add(value)
        {
            self.small = sum;
            return;
        }
        self.add_large(BigInt::from(value), scale);
    }

    pub(super) fn add_i256(&mut self, value: i256, scale: u32) {
        match value.to_i128() {
            Some(value) => self.add_small(value, scale),
            None => self.add_large(BigInt::from_signed_bytes_le(&value.to_le_bytes()), scale),
        }
    }

    pub(super) fn add(&mut self, digits: &BigInt, scale: u32) {
        match i128::try_from(digits) {
            Ok(value) => self.add_small(value, scale),
            Err(_) => self.add_large(digits.clone(), scale),
        }
    }

    fn add_large(&mut self, value: BigInt, scale: u32) {
        let value = match scale < self.scale {
            true => value * power_of_ten(self.scale - scale),
            false => value,
        };
        let mut sum = self.digits();
        if scale > self.scale {
            sum *= power_of_ten(scale - self.scale);
            self.scale = scale;
        }
        sum += value;
        (self.small, self.large) = match i128::try_from(&sum) {
            Ok(small) => (small, None),
            Err(_) => (0, Some(Box::new(sum))),
        };
    }

    pub(super) fn merge(&mut self, other: &Self) {
        match &other.large {
            None => self.add_small(other.small, other.scale),
            Some(large) => self.add_large(large.as_ref().clone(), other.scale),
        }
    }

    fn digits(&self) -> BigInt {
        self.large.as_deref().cloned().unwrap_or_else(|| BigInt::from(self.small))
    }

    pub(super) fn numeric(&self) -> Numeric {
        Numeric::new(self.digits(), self.scale)
    }

    pub(super) fn parts(&self) -> (BigInt, u32) {
        (self.digits(), self.scale)
    }

    pub(super) fn heap(&self) -> usize {
        self.large.as_deref().map_or(0, |large| size_of::<BigInt>() + large.bits() as usize / 8 + 8)
    }

    pub(super) fn save(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&u64::from(self.scale).to_le_bytes());
        match &self.large {
            None => save_bytes(&self.small.to_le_bytes(), to),
            Some(large) => save_bytes(&large.to_signed_bytes_le(), to),
        }
    }

    pub(super) fn load(from: &mut Saved<'_>) -> Option<Self> {
        let scale = u32::try_from(from.u64()?).ok()?;
        let mut sum = Self { scale, ..Self::default() };
        sum.add(&BigInt::from_signed_bytes_le(from.bytes()?), scale);
        Some(sum)
    }
}

/// Digits in base 10,000 are what PostgreSQL's choice of a scale counts in.
const BASE_DIGITS: i64 = 4;
/// `NUMERIC_MIN_SIG_DIGITS`.
const SIGNIFICANT_MIN: i64 = 16;
/// `NUMERIC_MAX_DISPLAY_SCALE`.
const DISPLAY_MAX: i64 = 1000;

/// Place of the first digit in base 10,000 that is not zero, and the digit.
fn first_digit(digits: &BigInt, scale: u32) -> (i64, u32) {
    if digits.sign() == Sign::NoSign {
        return (0, 0);
    }
    let text = digits.magnitude().to_str_radix(10);
    let before_point = text.len() as i64 - i64::from(scale);
    let place = (before_point - 1).div_euclid(BASE_DIGITS);
    let width = (before_point - BASE_DIGITS * place) as usize;
    let first = text.bytes().chain(std::iter::repeat(b'0')).take(width);
    (place, first.fold(0, |all, digit| all * 10 + u32::from(digit - b'0')))
}

/// select_div_scale.
pub(super) fn quotient_scale(a: (&BigInt, u32), b: (&BigInt, u32)) -> u32 {
    let ((place_a, first_a), (place_b, first_b)) = (first_digit(a.0, a.1), first_digit(b.0, b.1));
    let place = place_a - place_b - i64::from(first_a <= first_b);
    let scale = (SIGNIFICANT_MIN - place * BASE_DIGITS).max(i64::from(a.1)).max(i64::from(b.1));
    // within 0 and 1000
    scale.clamp(0, DISPLAY_MAX) as u32
}

/// `a / b` for a `b` that is not zero.
pub(super) fn quotient(a: (&BigInt, u32), b: (&BigInt, u32)) -> Numeric {
    let scale = quotient_scale(a, b);
    quotient_at(a, b, scale)
}

pub(super) fn quotient_at(a: (&BigInt, u32), b: (&BigInt, u32), scale: u32) -> Numeric {
    let by = i64::from(scale) + i64::from(b.1) - i64::from(a.1);
    let power = power_of_ten(u32::try_from(by.unsigned_abs()).unwrap_or(u32::MAX));
    let (a, b) = match by.cmp(&0) {
        Ordering::Less => (a.0.clone(), b.0 * power),
        Ordering::Equal | Ordering::Greater => (a.0 * power, b.0.clone()),
    };
    Numeric::new(numeric::divide_rounded(&a, &b), scale)
}

/// The square root of what is not negative, half away from zero at `scale` digits (sqrt_var).
pub(super) fn root(digits: &BigInt, own: u32, scale: u32) -> Numeric {
    // one digit more than is shown: the digits after it cannot change how it rounds
    let by = 2 * (i64::from(scale) + 1) - i64::from(own);
    let power = power_of_ten(u32::try_from(by.unsigned_abs()).unwrap_or(u32::MAX));
    let scaled = if by >= 0 { digits * power } else { digits / power };
    Numeric::new(numeric::divide_rounded(&scaled.sqrt(), &BigInt::from(10)), scale)
}
