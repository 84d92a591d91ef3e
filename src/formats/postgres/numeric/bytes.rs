//! How a numeric lies in a column of bytes: so that bytes compare as the values do, the scale behind them. Equal values of
//! other scales differ in the last two bytes alone ([`key`]).
//!
//! A class (-∞, negative, zero, positive, ∞, NaN); for a finite value that is not zero the place of its first digit (four
//! bytes), its digits by pairs, each plus one, a zero; all of these complemented when it is negative.

use num_bigint::{BigInt, BigUint, Sign};

use super::{Numeric, power_of_ten};

const NEGATIVE_INFINITY: u8 = 0;
const NEGATIVE: u8 = 1;
const ZERO: u8 = 2;
const POSITIVE: u8 = 3;
const INFINITY: u8 = 4;
const NAN: u8 = 5;

/// Added to the place of the first digit, to make it unsigned.
const BIAS: i64 = 1 << 31;

/// A finite value of at most 38 digits: `digits · 10^-scale`. Nearly all are, and need no memory of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Small {
    pub(crate) digits: i128,
    pub(crate) scale: u32,
}

impl Small {
    /// `None` where the value is not so small, or not finite.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let parts = Parts::of(bytes)?;
        if parts.class == ZERO {
            return Some(Self { digits: 0, scale: parts.scale });
        }
        if parts.pairs.len() > 19 || !matches!(parts.class, NEGATIVE | POSITIVE) {
            return None;
        }
        let mut value = 0u128;
        for pair in parts.pairs {
            value = value * 100 + u128::from(parts.plain(*pair).checked_sub(1).filter(|pair| *pair < 100)?);
        }
        let power = 10u128.checked_pow(u32::try_from(parts.missing().unsigned_abs()).ok()?)?;
        let value = if parts.missing() >= 0 { value.checked_mul(power)? } else { value / power };
        let value = i128::try_from(value).ok()?;
        Some(Self { digits: if parts.class == NEGATIVE { -value } else { value }, scale: parts.scale })
    }

    pub(crate) fn encode(self, bytes: &mut Vec<u8>) {
        let mut buffer = itoa::Buffer::new();
        write(self.digits < 0, buffer.format(self.digits.unsigned_abs()).as_bytes(), self.scale, bytes);
    }

    pub(crate) fn numeric(self) -> Numeric {
        Numeric::new(BigInt::from(self.digits), self.scale)
    }
}

impl Numeric {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![];
        self.encode_into(&mut bytes);
        bytes
    }

    pub(crate) fn encode_into(&self, bytes: &mut Vec<u8>) {
        let (digits, scale) = match self {
            Self::NegativeInfinity => return bytes.extend([NEGATIVE_INFINITY, 0, 0]),
            Self::Infinity => return bytes.extend([INFINITY, 0, 0]),
            Self::NaN => return bytes.extend([NAN, 0, 0]),
            Self::Finite { digits, scale } => (digits, *scale),
        };
        match i128::try_from(digits) {
            Ok(digits) => Small { digits, scale }.encode(bytes),
            Err(_) => {
                let text = digits.magnitude().to_str_radix(10);
                write(digits.sign() == Sign::Minus, text.as_bytes(), scale, bytes);
            }
        }
    }

    /// What [`encode`](Self::encode) wrote; NaN for other bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Self {
        match Small::decode(bytes) {
            Some(small) => small.numeric(),
            None => Self::decode_large(bytes).unwrap_or(Self::NaN),
        }
    }

    fn decode_large(bytes: &[u8]) -> Option<Self> {
        let parts = Parts::of(bytes)?;
        match parts.class {
            NEGATIVE_INFINITY => return Some(Self::NegativeInfinity),
            INFINITY => return Some(Self::Infinity),
            NEGATIVE | POSITIVE => {}
            _ => return None,
        }
        let mut text = Vec::with_capacity(parts.pairs.len() * 2);
        for pair in parts.pairs {
            let pair = parts.plain(*pair).checked_sub(1)?;
            text.extend([b'0' + pair / 10, b'0' + pair % 10]);
        }
        let digits = BigUint::parse_bytes(&text, 10)?;
        let power = power_of_ten(u32::try_from(parts.missing().unsigned_abs()).ok()?).into_parts().1;
        let digits = if parts.missing() >= 0 { digits * power } else { digits / power };
        let sign = if parts.class == NEGATIVE { Sign::Minus } else { Sign::Plus };
        Some(Self::new(BigInt::from_biguint(sign, digits), parts.scale))
    }
}

/// The part of an encoded numeric by which equal values are equal.
pub(crate) fn key(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().saturating_sub(2)]
}

/// `digits` are ASCII and begin with no zero, unless they are it.
fn write(negative: bool, digits: &[u8], scale: u32, bytes: &mut Vec<u8>) {
    let [.., high, low] = scale.to_be_bytes();
    if digits == b"0" {
        return bytes.extend([ZERO, high, low]);
    }
    let place = (digits.len() as i64 - i64::from(scale) + BIAS) as u32;
    let end = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
    bytes.reserve(8 + end.div_ceil(2));
    bytes.push(if negative { NEGATIVE } else { POSITIVE });
    let flip = if negative { 0xff } else { 0 };
    bytes.extend(place.to_be_bytes().map(|byte| byte ^ flip));
    bytes.extend(digits[..end].chunks(2).map(|pair| {
        let low = pair.get(1).map_or(0, |digit| digit - b'0');
        ((pair[0] - b'0') * 10 + low + 1) ^ flip
    }));
    bytes.extend([flip, high, low]);
}

/// Encoded bytes, taken apart.
struct Parts<'a> {
    class: u8,
    /// Of the first digit: the digits stand for 0.d1d2… · 10^place.
    place: i64,
    pairs: &'a [u8],
    scale: u32,
}

impl<'a> Parts<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let (body, shown) = bytes.split_last_chunk::<2>()?;
        let scale = u32::from(u16::from_be_bytes(*shown));
        let (&class, body) = body.split_first()?;
        if !matches!(class, NEGATIVE | POSITIVE) {
            return Some(Self { class, place: 0, pairs: &[], scale });
        }
        let (place, pairs) = body.split_first_chunk::<4>()?;
        let pairs = pairs.split_last()?.1;
        let flip = if class == NEGATIVE { 0xff } else { 0 };
        let place = i64::from(u32::from_be_bytes(place.map(|byte| byte ^ flip))) - BIAS;
        Some(Self { class, place, pairs, scale })
    }

    fn plain(&self, byte: u8) -> u8 {
        if self.class == NEGATIVE { !byte } else { byte }
    }

    /// Zeros between the last pair's digits and the last digit that the scale shows; -1 where that pair has one too many.
    fn missing(&self) -> i64 {
        i64::from(self.scale) - (self.pairs.len() as i64 * 2 - self.place)
    }
}
