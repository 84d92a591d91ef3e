//! A numeric's binary form on the wire (numeric_recv, numeric_send): count of base-10000 digits, weight of the first, sign,
//! digits to show after the point, digits.

use bytes::BytesMut;
use num_bigint::{BigInt, BigUint, Sign};

use super::super::append::Append;
use super::super::number::Decimal;
use super::{Numeric, Small};
use crate::error::{Error, Kind, Result};

const NAN: u16 = 0xc000;
const INFINITY: u16 = 0xd000;
const NEGATIVE_INFINITY: u16 = 0xf000;
const NEGATIVE: u16 = 0x4000;

fn bad(message: &str) -> Error {
    Error::new(Kind::InvalidBinary, message)
}

/// Shown from its encoded bytes, without a detour where it is small.
pub(crate) fn text_of(bytes: &[u8], out: &mut BytesMut) {
    match small(bytes) {
        Some((digits, scale)) => Decimal::small(digits, scale).text(out),
        None => out.extend_from_slice(Numeric::decode(bytes).to_string().as_bytes()),
    }
}

/// Sent from its encoded bytes.
pub(crate) fn send(bytes: &[u8], out: &mut BytesMut) {
    match small(bytes) {
        Some((digits, scale)) => Decimal::small(digits, scale).binary(out),
        None => Numeric::decode(bytes).send(out),
    }
}

fn small(bytes: &[u8]) -> Option<(i128, usize)> {
    let small = Small::decode(bytes)?;
    Some((small.digits, usize::try_from(small.scale).ok()?))
}

impl Numeric {
    pub(crate) fn send(&self, out: &mut BytesMut) {
        // of an infinity PostgreSQL reads a scale out of the bits that say what it is
        let scale = |sign: u16| if sign == NAN { 0 } else { 0x20 };
        let special =
            |sign: u16, out: &mut BytesMut| [0, 0, sign, scale(sign)].into_iter().for_each(|field| out.put_u16(field));
        let (digits, scale) = match self {
            Self::NaN => return special(NAN, out),
            Self::Infinity => return special(INFINITY, out),
            Self::NegativeInfinity => return special(NEGATIVE_INFINITY, out),
            Self::Finite { digits, scale } => (digits, *scale as usize),
        };
        // aligned at the point: whole groups before it and behind it
        let mut text = digits.magnitude().to_str_radix(10);
        let behind = scale.next_multiple_of(4);
        text.extend(std::iter::repeat_n('0', behind - scale));
        let length = text.len().max(behind).next_multiple_of(4);
        text.insert_str(0, &"0".repeat(length - text.len()));
        let group = |group: &[u8]| group.iter().fold(0i16, |value, digit| value * 10 + i16::from(digit - b'0'));
        let groups: Vec<i16> = text.as_bytes().chunks(4).map(group).collect();
        let first = groups.iter().position(|group| *group != 0);
        let last = groups.iter().rposition(|group| *group != 0);
        let shown = first.zip(last).map_or(&[][..], |(first, last)| &groups[first..=last]);
        let weight = first.map_or(0, |first| (length / 4) as i64 - (behind / 4) as i64 - 1 - first as i64);
        out.put_i16(shown.len() as i16);
        out.put_i16(weight as i16);
        out.put_u16(if digits.sign() == Sign::Minus { NEGATIVE } else { 0 });
        out.put_u16(scale as u16);
        shown.iter().for_each(|group| out.put_i16(*group));
    }

    /// The value and what is left of the bytes. 22P03 for what is no numeric.
    pub(crate) fn receive(bytes: &[u8]) -> Result<(Self, &[u8])> {
        let short = || Error::new(Kind::Protocol, "insufficient data left in message");
        let (head, mut rest) = bytes.split_first_chunk::<8>().ok_or_else(short)?;
        let [count, weight, sign, scale] = [0, 2, 4, 6].map(|at| u16::from_be_bytes([head[at], head[at + 1]]));
        let negative = match sign {
            0 => false,
            NEGATIVE => true,
            NAN => return Ok((Self::NaN, rest)),
            INFINITY => return Ok((Self::Infinity, rest)),
            NEGATIVE_INFINITY => return Ok((Self::NegativeInfinity, rest)),
            _ => return Err(bad("invalid sign in external \"numeric\" value")),
        };
        if scale > 0x3fff {
            return Err(bad("invalid scale in external \"numeric\" value"));
        }
        let mut text = Vec::new();
        for _ in 0..count {
            let (group, after) = rest.split_first_chunk::<2>().ok_or_else(short)?;
            let group = u16::from_be_bytes(*group);
            if group > 9999 {
                return Err(bad("invalid digit in external \"numeric\" value"));
            }
            text.extend([group / 1000, group / 100 % 10, group / 10 % 10, group % 10].map(|digit| b'0' + digit as u8));
            rest = after;
        }
        // The digits reach so many places behind the point; shown are `scale`, be it fewer or more.
        let places = 4 * (i64::from(count) - i64::from(weight.cast_signed()) - 1);
        let surplus = places - i64::from(scale);
        match usize::try_from(surplus) {
            Ok(surplus) => text.truncate(text.len().saturating_sub(surplus)),
            Err(_) if text.iter().all(|digit| *digit == b'0') => text.clear(),
            Err(_) => text.resize(text.len() + surplus.unsigned_abs() as usize, b'0'),
        }
        let digits = if text.is_empty() { Some(BigUint::ZERO) } else { BigUint::parse_bytes(&text, 10) };
        let digits = digits.ok_or_else(|| bad("invalid digit in external \"numeric\" value"))?;
        let sign = if negative { Sign::Minus } else { Sign::Plus };
        let value = Self::new(BigInt::from_biguint(sign, digits), scale.into()).checked()?;
        Ok((value, rest))
    }
}
