//! Postgres's base-10000 numerics as scaled integers. Exact or refused; nothing is rounded here.

use arrow::datatypes::i256;

use super::column::Fault;
use super::int16;
use crate::error::Kind;

/// What a scaled integer must be able to do; `i128` for Decimal128, `i256` for Decimal256.
pub(super) trait Scaled: Copy + PartialOrd {
    const ZERO: Self;
    fn push(self, factor: i64, digit: i64) -> Option<Self>;
    fn negate(self) -> Self;
    /// Below 10^precision.
    fn fits(self, precision: u8) -> bool;
}

impl Scaled for i128 {
    const ZERO: Self = 0;

    fn push(self, factor: i64, digit: i64) -> Option<Self> {
        self.checked_mul(factor.into())?.checked_add(digit.into())
    }

    fn negate(self) -> Self {
        -self
    }

    fn fits(self, precision: u8) -> bool {
        10i128.checked_pow(precision.into()).is_none_or(|limit| self < limit)
    }
}

impl Scaled for i256 {
    const ZERO: Self = i256::ZERO;

    fn push(self, factor: i64, digit: i64) -> Option<Self> {
        self.checked_mul(i256::from_i128(factor.into()))?.checked_add(i256::from_i128(digit.into()))
    }

    fn negate(self) -> Self {
        self.wrapping_neg()
    }

    fn fits(self, precision: u8) -> bool {
        i256::from_i128(10).checked_pow(precision.into()).is_none_or(|limit| self < limit)
    }
}

/// `numeric_send`: number of digit groups, weight of the first, sign, display scale, then the groups.
pub(super) fn decode<T: Scaled>(bytes: &[u8], precision: u8, scale: i8) -> Result<T, Fault> {
    let (Some(count), Some(weight), Some(sign), Some(_)) =
        (int16(bytes, 0), int16(bytes, 2), int16(bytes, 4), int16(bytes, 6))
    else {
        return Err(Fault::MALFORMED);
    };
    let sign = sign as u16;
    match sign {
        0x0000 | 0x4000 => {}
        0xc000 | 0xd000 | 0xf000 => return Err(Fault::new(Kind::NumericRange, "NaN and infinity cannot be read")),
        _ => return Err(Fault::MALFORMED),
    }
    let digits = bytes.get(8..).unwrap_or_default();
    if usize::try_from(count).ok().and_then(|c| c.checked_mul(2)) != Some(digits.len()) {
        return Err(Fault::MALFORMED);
    }
    let magnitude = magnitude::<T>(digits, i32::from(weight), i32::from(scale))?;
    if !magnitude.fits(precision) {
        return Err(Fault::TOO_LARGE);
    }
    Ok(if sign == 0x4000 { magnitude.negate() } else { magnitude })
}

/// Each group stands for `group × 10000^(weight − i)`; the sum is wanted as a multiple of 10^-scale.
fn magnitude<T: Scaled>(digits: &[u8], weight: i32, scale: i32) -> Result<T, Fault> {
    let mut value = T::ZERO;
    // The power of ten by which the last group pushed still has to be multiplied.
    let mut left = 4 * (weight + 1) + scale;
    for group in digits.chunks_exact(2) {
        let group = i64::from(int16(group, 0).ok_or(Fault::MALFORMED)?);
        if !(0..10_000).contains(&group) {
            return Err(Fault::MALFORMED);
        }
        left -= 4;
        let (keep, cut) = match left {
            0.. => (4, 0),
            -3..0 => (4 + left, -left),
            _ => (0, 4),
        };
        let unit = 10i64.pow(cut.unsigned_abs());
        if group % unit != 0 {
            return Err(Fault::TOO_FINE);
        }
        value = value.push(10i64.pow(keep.unsigned_abs()), group / unit).ok_or(Fault::TOO_LARGE)?;
    }
    if value == T::ZERO {
        return Ok(value);
    }
    while left > 0 {
        let step = left.min(18);
        value = value.push(10i64.pow(step.unsigned_abs()), 0).ok_or(Fault::TOO_LARGE)?;
        left -= step;
    }
    Ok(value)
}
