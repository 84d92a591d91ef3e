//! Numbers of records as decimals of a column's scale, by their digits: nothing is rounded, and nothing goes through a
//! float that did not come as one.

use arrow::datatypes::i256;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use num_bigint::BigInt;

use super::given::{Decimals, Given, How, Problem};
use super::sink::{TOO_FINE, TOO_LARGE, WRONG_TYPE};
use crate::formats::postgres::numeric::{DIGITS_MAX, Numeric, SCALE_MAX, power_of_ten};

const NOT_FINITE: Problem = "is not a finite number, and the column's type holds no others";
const NOT_PRECISE: Problem = "is not a decimal in base64; digits are read with decimals = \"string\"";
const NO_SCALE: Problem = "is a decimal without a scale, and the column has none";
/// The digits of a decimal in bytes: more of them than any numeric has.
const BYTES_MAX: usize = 60_000;
/// Floats of any kind have smaller ones, and whoever writes decimals writes their digits.
const EXPONENT_MAX: u32 = 5_000;

/// The value times 10^scale in 128 bits.
pub(super) fn small(given: Given<'_>, how: &How, scale: i8) -> Result<i128, Problem> {
    match given {
        Given::Digits(text) => digits(text, scale.into()),
        Given::Int(value) => rescaled(value.into(), 0, scale.into()),
        Given::Text(text) if how.decimals == Decimals::String => match digits(text, scale.into()) {
            Err(problem) if problem == WRONG_TYPE && word(text).is_some() => Err(NOT_FINITE),
            value => value,
        },
        Given::Text(text) => {
            let mut buffer = [0; 48];
            match STANDARD.decode_slice(text, &mut buffer) {
                Ok(length) => unscaled(buffer.get(..length).unwrap_or_default(), how.scale, scale),
                Err(base64::DecodeSliceError::OutputSliceTooSmall) => Err(TOO_LARGE),
                Err(_) if word(text).is_some() => Err(NOT_FINITE),
                Err(_) => Err(NOT_PRECISE),
            }
        }
        Given::Bytes(bytes) => unscaled(bytes, how.scale, scale),
        Given::Scaled { scale: own, value } => unscaled(value, Some(own), scale),
        given => at_scale(&any(given, how, None)?, scale),
    }
}

/// The value with the scale it is given with; `scale` where it is given without.
pub(super) fn any(given: Given<'_>, how: &How, scale: Option<i32>) -> Result<Numeric, Problem> {
    let parse = |text: &str| match expands(text) {
        true => Err(TOO_LARGE),
        false => Numeric::parse(text).map_err(|_| WRONG_TYPE),
    };
    match given {
        Given::Digits(text) => parse(text),
        Given::Int(value) => Ok(Numeric::new(value.into(), 0)),
        Given::Float(value) => parse(ryu::Buffer::new().format(value)),
        Given::Float32(value) => parse(ryu::Buffer::new().format(value)),
        Given::Text(text) => match (word(text), how.decimals) {
            (Some(word), _) => Ok(word),
            (None, Decimals::String) => {
                // Letters and blanks that numeric_in takes are no number of a record.
                let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E'));
                if plain { parse(text) } else { Err(WRONG_TYPE) }
            }
            (None, Decimals::Precise) => {
                let bytes = STANDARD.decode(text).map_err(|_| NOT_PRECISE)?;
                of_bytes(&bytes, how.scale.or(scale).ok_or(NO_SCALE)?)
            }
        },
        Given::Bytes(bytes) => of_bytes(bytes, how.scale.or(scale).ok_or(NO_SCALE)?),
        Given::Scaled { scale, value } => of_bytes(value, scale),
        _ => Err(WRONG_TYPE),
    }
}

/// Its few bytes stand for more digits than anybody writes so; all of them would be held.
fn expands(text: &str) -> bool {
    let exponent = text.split_once(['e', 'E']).map(|(_, exponent)| exponent.trim_start_matches(['+', '-', '0']));
    exponent.is_some_and(|digits| digits.len() > 4 || digits.parse::<u32>().is_ok_and(|n| n > EXPONENT_MAX))
}

/// In 256 bits at a column's scale.
pub(super) fn wide(value: &Numeric, scale: i8) -> Result<i256, Problem> {
    match value {
        Numeric::Finite { .. } => value.to_i256(scale).ok_or(TOO_FINE),
        _ => Err(NOT_FINITE),
    }
}

fn at_scale(value: &Numeric, scale: i8) -> Result<i128, Problem> {
    match value {
        Numeric::Finite { .. } => value.to_i128(scale).ok_or(TOO_FINE),
        _ => Err(NOT_FINITE),
    }
}

/// What Debezium and floats write where there is no finite number.
fn word(text: &str) -> Option<Numeric> {
    match text {
        "NAN" | "NaN" => Some(Numeric::NaN),
        "POSITIVE_INFINITY" | "Infinity" => Some(Numeric::Infinity),
        "NEGATIVE_INFINITY" | "-Infinity" => Some(Numeric::NegativeInfinity),
        _ => None,
    }
}

fn unscaled(bytes: &[u8], own: Option<i32>, scale: i8) -> Result<i128, Problem> {
    let own = own.unwrap_or_else(|| scale.into());
    if bytes.is_empty() {
        return Err(WRONG_TYPE);
    }
    if bytes.len() > 16 {
        return at_scale(&of_bytes(bytes, own)?, scale);
    }
    let fill = if bytes.first().is_some_and(|first| first & 0x80 != 0) { 0xff } else { 0 };
    let mut wide = [fill; 16];
    if let Some(low) = wide.get_mut(16 - bytes.len()..) {
        low.copy_from_slice(bytes);
    }
    rescaled(i128::from_be_bytes(wide), own, scale.into())
}

fn rescaled(value: i128, own: i32, scale: i32) -> Result<i128, Problem> {
    let by = scale.checked_sub(own).ok_or(TOO_LARGE)?;
    if by == 0 || value == 0 {
        return Ok(value);
    }
    let power = 10i128.checked_pow(by.unsigned_abs());
    match (by > 0, power) {
        (true, Some(power)) => value.checked_mul(power).ok_or(TOO_LARGE),
        (true, None) => Err(TOO_LARGE),
        (false, Some(power)) if value % power == 0 => Ok(value / power),
        (false, _) => Err(TOO_FINE),
    }
}

/// Bounded: a record's few bytes may name any scale.
fn of_bytes(bytes: &[u8], scale: i32) -> Result<Numeric, Problem> {
    if bytes.is_empty() {
        return Err(WRONG_TYPE);
    }
    if bytes.len() > BYTES_MAX {
        return Err(TOO_LARGE);
    }
    let digits = BigInt::from_signed_bytes_be(bytes);
    let number = match u32::try_from(scale) {
        Ok(scale) if scale <= SCALE_MAX => Numeric::new(digits, scale),
        Ok(_) => return Err(TOO_FINE),
        Err(_) if (scale.unsigned_abs() as usize) < DIGITS_MAX => {
            Numeric::new(digits * power_of_ten(scale.unsigned_abs()), 0)
        }
        Err(_) => return Err(TOO_LARGE),
    };
    number.checked().map_err(|_| TOO_LARGE)
}

/// The number times 10^scale, by its digits alone.
pub(super) fn digits(text: &str, scale: i64) -> Result<i128, Problem> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if whole.is_empty() || !digits().all(|b| b.is_ascii_digit()) || (mantissa.contains('.') && fraction.is_empty()) {
        return Err(WRONG_TYPE);
    }
    let exponent = match exponent {
        None => 0,
        Some(text) if text.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b'+') && !text.is_empty() => {
            // Beyond i32 only zero has a value, and the shift below says so of everything else.
            text.parse::<i32>()
                .map_or(if text.starts_with('-') { i64::from(i32::MIN) } else { i64::from(i32::MAX) }, i64::from)
        }
        Some(_) => return Err(WRONG_TYPE),
    };
    let zeros = digits().rev().take_while(|b| *b == b'0').count();
    let count = whole.len() + fraction.len() - zeros;
    let as_i64 = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let shift = exponent.saturating_sub(as_i64(fraction.len())).saturating_add(as_i64(zeros)).saturating_add(scale);
    let mut value = 0i128;
    for byte in digits().take(count) {
        value = value.checked_mul(10).and_then(|v| v.checked_add(i128::from(byte - b'0'))).ok_or(TOO_LARGE)?;
    }
    if value == 0 {
        return Ok(0);
    }
    // The last digit is not zero now, so a shift to the right would cut it.
    let shift = u32::try_from(shift).map_err(|_| TOO_FINE)?;
    let value = 10i128.checked_pow(shift).and_then(|factor| value.checked_mul(factor)).ok_or(TOO_LARGE)?;
    Ok(if negative { -value } else { value })
}
