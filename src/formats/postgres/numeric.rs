//! A numeric as PostgreSQL's: any number of digits, the scale it is shown with, NaN and the infinities (numeric.c). This is
//! the value, its text and how it lies in bytes; arithmetic is `sql::functions::numeric`'s.

mod bytes;
mod wire;

use std::cmp::Ordering;
use std::fmt;

use arrow::datatypes::i256;
use datafusion::common::ScalarValue;
use num_bigint::{BigInt, BigUint, Sign};

pub(crate) use bytes::{Small, key};
pub(crate) use wire::{send, text_of};

use crate::error::{Error, Kind, Result};

/// Digits after the point at most (`NUMERIC_DSCALE_MAX`).
pub(crate) const SCALE_MAX: u32 = 16383;
/// Digits before the point at most (`NUMERIC_WEIGHT_MAX` + 1, in decimal).
pub(crate) const DIGITS_MAX: usize = 131_072;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Numeric {
    NegativeInfinity,
    /// `digits · 10^-scale`, shown with `scale` digits after the point.
    Finite {
        digits: BigInt,
        scale: u32,
    },
    Infinity,
    NaN,
}

impl Numeric {
    pub(crate) fn new(digits: BigInt, scale: u32) -> Self {
        Self::Finite { digits, scale }
    }

    pub(crate) fn zero() -> Self {
        Self::new(BigInt::ZERO, 0)
    }

    pub(crate) fn of_i128(value: i128, scale: i8) -> Self {
        Self::scaled(BigInt::from(value), scale)
    }

    pub(crate) fn of_i256(value: i256, scale: i8) -> Self {
        Self::scaled(BigInt::from_signed_bytes_le(&value.to_le_bytes()), scale)
    }

    fn scaled(digits: BigInt, scale: i8) -> Self {
        match u32::try_from(scale) {
            Ok(scale) => Self::new(digits, scale),
            Err(_) => Self::new(digits * power_of_ten(u32::from(scale.unsigned_abs())), 0),
        }
    }

    /// The same value at another scale; `None` where digits would be lost, and for what is not finite.
    fn at_scale(&self, scale: i8) -> Option<BigInt> {
        let Self::Finite { digits, scale: own } = self else { return None };
        let by = i64::from(scale) - i64::from(*own);
        let power = power_of_ten(u32::try_from(by.unsigned_abs()).ok()?);
        match by >= 0 {
            true => Some(digits * power),
            false => (digits % &power == BigInt::ZERO).then(|| digits / power),
        }
    }

    pub(crate) fn to_i128(&self, scale: i8) -> Option<i128> {
        self.at_scale(scale)?.try_into().ok()
    }

    pub(crate) fn to_i256(&self, scale: i8) -> Option<i256> {
        let digits = self.at_scale(scale)?;
        let bytes = digits.to_signed_bytes_le();
        let fill = if digits.sign() == Sign::Minus { 0xff } else { 0 };
        let mut wide = [fill; 32];
        wide.get_mut(..bytes.len())?.copy_from_slice(&bytes);
        Some(i256::from_le_bytes(wide))
    }

    /// A typed literal: the narrowest decimal that shows all digits, else bytes.
    pub(crate) fn scalar(&self) -> ScalarValue {
        let bytes = || ScalarValue::Binary(Some(self.encode()));
        let Self::Finite { digits, scale } = self else { return bytes() };
        let Ok(scale) = i8::try_from(*scale) else { return bytes() };
        let length = decimal_length(digits.magnitude()).max(u64::from(scale.unsigned_abs())).max(1);
        match (u8::try_from(length), self.to_i128(scale), self.to_i256(scale)) {
            (Ok(length @ ..=38), Some(value), _) => ScalarValue::Decimal128(Some(value), length, scale),
            (Ok(length @ ..=76), _, Some(value)) => ScalarValue::Decimal256(Some(value), length, scale),
            _ => bytes(),
        }
    }

    /// numeric_in: digits, point, exponent, `NaN`, `[+-]Infinity`, `inf`; blanks around. 22P02 and 22003.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let invalid = || Error::new(Kind::InvalidText, format!("invalid input syntax for type numeric: \"{text}\""));
        let overflow = || Error::new(Kind::NumericRange, "value overflows numeric format");
        let trimmed = text.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
        let (negative, rest) = match trimmed.as_bytes().first() {
            Some(b'-') => (true, &trimmed[1..]),
            Some(b'+') => (false, &trimmed[1..]),
            _ => (false, trimmed),
        };
        let is = |word: &str| rest.eq_ignore_ascii_case(word);
        if trimmed.eq_ignore_ascii_case("nan") {
            return Ok(Self::NaN);
        }
        if is("infinity") || is("inf") {
            return Ok(if negative { Self::NegativeInfinity } else { Self::Infinity });
        }
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(e) => (&rest[..e], &rest[e + 1..]),
            None => (rest, "0"),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
            return Err(invalid());
        }
        let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if unsigned.is_empty() || !all_digits(unsigned) {
            return Err(invalid());
        }
        let exponent: i64 = exponent.parse().map_err(|_| overflow())?;
        if exponent.abs() >= i64::from(i32::MAX) / 2 {
            return Err(overflow());
        }
        let digits = integer_of(whole, fraction).ok_or_else(invalid)?;
        let mut digits = BigInt::from_biguint(if negative { Sign::Minus } else { Sign::Plus }, digits);
        let mut scale = i64::try_from(fraction.len()).map_err(|_| overflow())? - exponent;
        if scale < 0 {
            if digits.sign() != Sign::NoSign {
                // one digit and so many zeros are too many already
                let zeros = u32::try_from(-scale).ok().filter(|zeros| (*zeros as usize) < DIGITS_MAX);
                digits *= power_of_ten(zeros.ok_or_else(overflow)?);
            }
            scale = 0;
        }
        let scale = u32::try_from(scale).ok().filter(|scale| *scale <= SCALE_MAX).ok_or_else(overflow)?;
        Self::new(digits, scale).checked()
    }

    /// Rounded to the largest scale there is; 22003 with more digits than a numeric may have.
    pub(crate) fn checked(self) -> Result<Self> {
        let Self::Finite { digits, scale } = self else { return Ok(self) };
        let (digits, scale) = match scale > SCALE_MAX {
            true => (divide_rounded(&digits, &power_of_ten(scale - SCALE_MAX)), SCALE_MAX),
            false => (digits, scale),
        };
        // 10^131072 has 435412 bits, and a digit more has 3.32; only near the end the value itself is looked at
        let bits = 435_410 + u64::from(scale) * 3321 / 1000;
        if digits.bits() > bits && *digits.magnitude() >= *power_of_ten(DIGITS_MAX as u32 + scale).magnitude() {
            return Err(Error::new(Kind::NumericRange, "value overflows numeric format"));
        }
        Ok(Self::Finite { digits, scale })
    }

    /// With that many digits after the point, half away from zero; a negative scale rounds before the point.
    pub(crate) fn rounded(&self, scale: i32) -> Self {
        let Self::Finite { digits, scale: own } = self else { return self.clone() };
        let own = i64::from(*own);
        let by = own - i64::from(scale);
        let digits = match by > 0 {
            true => divide_rounded(digits, &power_of_ten(by.min(200_000) as u32)),
            false => digits * power_of_ten((-by) as u32),
        };
        match u32::try_from(scale) {
            Ok(scale) => Self::new(digits, scale),
            Err(_) => Self::new(digits * power_of_ten(scale.unsigned_abs()), 0),
        }
    }

    /// numeric_cmp: NaN equals itself and is the greatest.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        let rank = |n: &Self| match n {
            Self::NegativeInfinity => 0,
            Self::Finite { .. } => 1,
            Self::Infinity => 2,
            Self::NaN => 3,
        };
        match (self, other) {
            (Self::Finite { digits: a, scale: x }, Self::Finite { digits: b, scale: y }) => match x.cmp(y) {
                Ordering::Equal => a.cmp(b),
                Ordering::Less => (a * power_of_ten(y - x)).cmp(b),
                Ordering::Greater => a.cmp(&(b * power_of_ten(x - y))),
            },
            _ => rank(self).cmp(&rank(other)),
        }
    }
}

pub(crate) fn power_of_ten(exponent: u32) -> BigInt {
    match exponent {
        0..=38 => BigInt::from(10i128.pow(exponent)),
        _ => BigInt::from(10u8).pow(exponent),
    }
}

/// How many decimal digits; none for zero.
pub(crate) fn decimal_length(value: &BigUint) -> u64 {
    if value.bits() <= 127 {
        return u128::try_from(value).ok().and_then(u128::checked_ilog10).map_or(0, |log| u64::from(log) + 1);
    }
    // log10(2) · bits, from below: the value has that many digits and one, or two
    let guess = ((value.bits() - 1) as f64 * 0.301_029_995_663_981_1) as u32;
    u64::from(guess) + 1 + u64::from(*value >= *power_of_ten(guess + 1).magnitude())
}

/// Two rows of ASCII digits as one number.
fn integer_of(whole: &str, fraction: &str) -> Option<BigUint> {
    if whole.len() + fraction.len() <= 38 {
        let digits = whole.bytes().chain(fraction.bytes());
        return Some(digits.fold(0u128, |value, digit| value * 10 + u128::from(digit - b'0')).into());
    }
    BigUint::parse_bytes(format!("{whole}{fraction}").as_bytes(), 10)
}

/// Half away from zero.
pub(crate) fn divide_rounded(value: &BigInt, by: &BigInt) -> BigInt {
    let (quotient, rest) = (value / by, value % by);
    let twice = rest.magnitude() * 2u8;
    match (twice >= *by.magnitude(), (value.sign() == Sign::Minus) != (by.sign() == Sign::Minus)) {
        (false, _) => quotient,
        (true, true) => quotient - 1,
        (true, false) => quotient + 1,
    }
}

/// numeric_out.
impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (digits, scale) = match self {
            Self::NegativeInfinity => return f.write_str("-Infinity"),
            Self::Infinity => return f.write_str("Infinity"),
            Self::NaN => return f.write_str("NaN"),
            Self::Finite { digits, scale } => (digits, *scale as usize),
        };
        if digits.sign() == Sign::Minus {
            f.write_str("-")?;
        }
        let text = digits.magnitude().to_str_radix(10);
        if scale == 0 {
            return f.write_str(&text);
        }
        let text = format!("{text:0>width$}", width = scale + 1);
        let (whole, fraction) = text.split_at(text.len() - scale);
        write!(f, "{whole}.{fraction}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_round_and_bytes_keep_the_order() {
        let ascending = [
            "-Infinity",
            "-1e20",
            "-123.456",
            "-123.4",
            "-99.5",
            "-1",
            "-0.5",
            "-0.001",
            "0",
            "0.001",
            "0.5",
            "1",
            "9",
            "10",
            "99.5",
            "100",
            "123.4",
            "123.456",
            "12345678901234567890123456789012345678901234567890",
            "Infinity",
            "NaN",
        ];
        let values: Vec<Numeric> = ascending.iter().map(|t| Numeric::parse(t).unwrap()).collect();
        for pair in values.windows(2) {
            assert_eq!(pair[0].compare(&pair[1]), Ordering::Less, "{} {}", pair[0], pair[1]);
            assert!(pair[0].encode() < pair[1].encode(), "{} {}", pair[0], pair[1]);
        }
        for (value, text) in values.iter().zip(ascending) {
            assert_eq!(Numeric::decode(&value.encode()), *value, "{text}");
        }
        for text in ["1.50", "-0.00", "0.000", "100", "1200.00", "-7", "0.05", "123456789.123456789000"] {
            let value = Numeric::parse(text).unwrap();
            assert_eq!(Numeric::decode(&value.encode()), value, "{text}");
        }
        assert_eq!(Numeric::parse("-0.00").unwrap().to_string(), "0.00");
        assert_eq!(Numeric::parse(" 1.5e2 ").unwrap().to_string(), "150");
        assert_eq!(Numeric::parse("1.5e-3").unwrap().to_string(), "0.0015");
        let (a, b) = (Numeric::parse("1.5").unwrap().encode(), Numeric::parse("1.500").unwrap().encode());
        assert_ne!(a, b);
        assert_eq!(key(&a), key(&b));
        assert_eq!(Numeric::parse("2.5").unwrap().rounded(0).to_string(), "3");
        assert_eq!(Numeric::parse("-1250").unwrap().rounded(-2).to_string(), "-1300");
        for bad in ["", "1.2.3", "abc", "1e", "--1", "1 2", "e5"] {
            assert_eq!(Numeric::parse(bad).unwrap_err().kind(), Kind::InvalidText, "{bad}");
        }
    }
}
