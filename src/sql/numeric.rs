//! A numeric as PostgreSQL's: any number of digits, the scale it is shown with, NaN and the infinities (numeric.c). This is
//! the value and how it lies in bytes; arithmetic is `functions::numeric`'s.

use std::cmp::Ordering;
use std::fmt;

use arrow::datatypes::i256;
use num_bigint::{BigInt, BigUint, Sign};

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
        if exponent.abs() > i64::from(i32::MAX) / 2 {
            return Err(overflow());
        }
        let digits = BigUint::parse_bytes(format!("{whole}{fraction}").as_bytes(), 10).ok_or_else(invalid)?;
        let mut digits = BigInt::from_biguint(if negative { Sign::Minus } else { Sign::Plus }, digits);
        let mut scale = fraction.len() as i64 - exponent;
        if scale < 0 {
            if digits.sign() != Sign::NoSign {
                if scale.unsigned_abs() as usize + whole.len() > DIGITS_MAX {
                    return Err(overflow());
                }
                digits *= power_of_ten(scale.unsigned_abs() as u32);
            }
            scale = 0;
        }
        let value = Self::new(digits, u32::try_from(scale).map_err(|_| overflow())?);
        value.checked()
    }

    /// Rounded to the largest scale there is; 22003 with more digits than a numeric may have.
    pub(crate) fn checked(self) -> Result<Self> {
        let Self::Finite { digits, scale } = self else { return Ok(self) };
        let (digits, scale) = match scale > SCALE_MAX {
            true => (divide_rounded(&digits, &power_of_ten(scale - SCALE_MAX)), SCALE_MAX),
            false => (digits, scale),
        };
        // 10^131072 has this many bits
        if digits.bits() > 435_412 + u64::from(scale) * 3322 / 1000 {
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

    /// Bytes that compare as the values do, the scale at the end: equal values of other scales differ in the last two
    /// bytes alone ([`key`]).
    ///
    /// A class (-∞, negative, zero, positive, ∞, NaN); for a finite value that is not zero the place of its first digit
    /// (four bytes), its digits by pairs, each plus one, a zero; all of these complemented when it is negative.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (digits, scale) = match self {
            Self::NegativeInfinity => return vec![0, 0, 0],
            Self::Infinity => return vec![4, 0, 0],
            Self::NaN => return vec![5, 0, 0],
            Self::Finite { digits, scale } => (digits, *scale),
        };
        let shown = (scale as u16).to_be_bytes();
        let class = match digits.sign() {
            Sign::Minus => 1,
            Sign::NoSign => return vec![2, shown[0], shown[1]],
            Sign::Plus => 3,
        };
        let text = digits.magnitude().to_str_radix(10);
        let exponent = text.len() as i64 - i64::from(scale);
        let text = text.trim_end_matches('0').as_bytes();
        let mut bytes = Vec::with_capacity(8 + text.len() / 2);
        bytes.push(class);
        bytes.extend_from_slice(&((exponent + (1 << 31)) as u32).to_be_bytes());
        for pair in text.chunks(2) {
            let low = pair.get(1).map_or(0, |d| d - b'0');
            bytes.push((pair[0] - b'0') * 10 + low + 1);
        }
        bytes.push(0);
        if class == 1 {
            bytes[1..].iter_mut().for_each(|b| *b = !*b);
        }
        bytes.extend_from_slice(&shown);
        bytes
    }

    /// What [`encode`](Self::encode) wrote; NaN for other bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Self {
        Self::try_decode(bytes).unwrap_or(Self::NaN)
    }

    fn try_decode(bytes: &[u8]) -> Option<Self> {
        let (body, shown) = bytes.split_at_checked(bytes.len().checked_sub(2)?)?;
        let scale = u32::from(u16::from_be_bytes(shown.try_into().ok()?));
        let (class, body) = body.split_first()?;
        let negative = match class {
            0 => return Some(Self::NegativeInfinity),
            2 => return Some(Self::new(BigInt::ZERO, scale)),
            4 => return Some(Self::Infinity),
            1 => true,
            3 => false,
            _ => return Some(Self::NaN),
        };
        let plain = |b: u8| if negative { !b } else { b };
        let exponent: [u8; 4] = body.get(..4)?.try_into().ok()?;
        let exponent = i64::from(u32::from_be_bytes(exponent.map(plain))) - (1 << 31);
        let pairs = body.get(4..body.len() - 1)?;
        let mut text = Vec::with_capacity(pairs.len() * 2);
        for pair in pairs {
            let pair = plain(*pair).checked_sub(1)?;
            text.extend([b'0' + pair / 10, b'0' + pair % 10]);
        }
        let digits = BigUint::parse_bytes(&text, 10)?;
        // the digits written stand for 0.d1d2… · 10^exponent
        let have = text.len() as i64 - exponent;
        let by = i64::from(scale) - have;
        let power = power_of_ten(u32::try_from(by.unsigned_abs()).ok()?).into_parts().1;
        let digits = if by >= 0 { digits * power } else { digits / power };
        Some(Self::new(BigInt::from_biguint(if negative { Sign::Minus } else { Sign::Plus }, digits), scale))
    }
}

/// The part of an encoded numeric by which equal values are equal.
pub(crate) fn key(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().saturating_sub(2)]
}

pub(crate) fn power_of_ten(exponent: u32) -> BigInt {
    match exponent {
        0..=38 => BigInt::from(10i128.pow(exponent)),
        _ => BigInt::from(10u8).pow(exponent),
    }
}

/// Half away from zero.
pub(crate) fn divide_rounded(value: &BigInt, by: &BigInt) -> BigInt {
    let (quotient, rest) = (value / by, value % by);
    let twice = rest.magnitude() * 2u8;
    match (twice >= *by.magnitude(), value.sign() == Sign::Minus) {
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
