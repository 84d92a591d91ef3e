//! PostgreSQL's input functions: text to values, with PostgreSQL's errors. Total over any text. What needs a catalog
//! (`'orders'::regclass`) or a source's own types is not read here.

mod array;
pub(crate) mod datetime;
pub(crate) mod interval;
pub(crate) mod json;
pub(crate) mod words;

use std::sync::Arc;

use arrow::datatypes::IntervalMonthDayNano;
use datafusion::common::ScalarValue;

use super::Style;
use super::mapping;
use super::numeric::Numeric;
use super::types::{self, Shape, TypeRow};
use crate::error::{Error, Kind, Result};

pub(crate) use array::{DIMENSIONS_MAX, Element, Elements, delimiter, literal, words};
pub use datetime::{date, time, timestamp, timestamptz, timetz};
pub use interval::interval;
pub use json::{normal_json, normal_json_within, valid_json};

/// `name` keeps so many bytes.
const NAME_BYTES_MAX: usize = 63;

/// The value that `'text'::type` is. Numerics have the precision and scale of their own digits, and beyond 76 of them,
/// NaN and infinite, they are [`super::numeric`]'s bytes.
pub fn value(oid: u32, text: &str, style: &Style) -> Result<ScalarValue> {
    let data_type = mapping::parameter_type(oid)?;
    let Some(row) = types::by_oid(oid) else { return Ok(ScalarValue::Utf8(Some(text.to_owned()))) };
    Ok(match row.shape {
        Shape::Bool => ScalarValue::Boolean(Some(boolean(text)?)),
        Shape::Int2 => ScalarValue::Int16(Some(integer(text, "smallint")?)),
        Shape::Int4 => ScalarValue::Int32(Some(integer(text, "integer")?)),
        Shape::Int8 => ScalarValue::Int64(Some(integer(text, "bigint")?)),
        Shape::Float4 => ScalarValue::Float32(Some(float4(text)?)),
        Shape::Float8 => ScalarValue::Float64(Some(float8(text)?)),
        Shape::Numeric => Numeric::parse(text)?.scalar(),
        Shape::Text | Shape::Versioned | Shape::Spelt => ScalarValue::Utf8(Some(string(row, text)?)),
        Shape::Bytes => ScalarValue::Binary(Some(bytea(text)?)),
        Shape::Date => ScalarValue::Date32(Some(date(text, style)?)),
        Shape::Time => ScalarValue::Time64Microsecond(Some(time(text, style)?)),
        Shape::TimeTz => ScalarValue::FixedSizeBinary(12, Some(timetz_bytes(timetz(text, style)?))),
        Shape::Timestamp => ScalarValue::TimestampMicrosecond(Some(timestamp(text, style)?), None),
        Shape::TimestampTz => {
            ScalarValue::TimestampMicrosecond(Some(timestamptz(text, style)?), Some(Arc::from("UTC")))
        }
        Shape::Interval => ScalarValue::IntervalMonthDayNano(Some(interval(text, style.interval_style)?)),
        Shape::Uuid => ScalarValue::FixedSizeBinary(16, Some(uuid(text)?.to_vec())),
        Shape::Oid => ScalarValue::UInt32(Some(object(row, text, style)?)),
        Shape::Tid => ScalarValue::FixedSizeBinary(6, Some(tid(text)?.to_vec())),
        Shape::Xid8 => ScalarValue::UInt64(Some(text.trim().parse().map_err(|_| invalid("xid8", text))?)),
        Shape::Lsn => ScalarValue::UInt64(Some(lsn(text)?)),
        Shape::Vector => array::vector(row, text, &data_type, style)?,
        Shape::Array => array::array(row, text, &data_type, style)?,
        Shape::Record | Shape::Opaque => return Err(Error::unsupported(format!("input of type {}", row.name))),
    })
}

/// Any beginning of `true`, `false`, `yes`, `no` that is not ambiguous, `on`, `off`, `1`, `0`.
pub fn boolean(text: &str) -> Result<bool> {
    let word = trim(text).to_ascii_lowercase();
    let begins = |whole: &str, least: usize| word.len() >= least && whole.starts_with(&word);
    if word == "1" || word == "on" || begins("true", 1) || begins("yes", 1) {
        return Ok(true);
    }
    if word == "0" || begins("off", 2) || begins("false", 1) || begins("no", 1) {
        return Ok(false);
    }
    Err(invalid("boolean", text))
}

/// `name` is the type's in SQL, for the error.
pub fn integer<T: TryFrom<i64>>(text: &str, name: &str) -> Result<T> {
    let trimmed = trim(text);
    let digits = trimmed.strip_prefix(['-', '+']).unwrap_or(trimmed);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid(name, text));
    }
    let in_range = trimmed.parse().ok().and_then(|number: i64| T::try_from(number).ok());
    in_range.ok_or_else(|| out_of_range(text, name))
}

pub fn float8(text: &str) -> Result<f64> {
    float(text, "double precision", f64::is_infinite, |value| value == 0.0)
}

pub fn float4(text: &str) -> Result<f32> {
    float(text, "real", f32::is_infinite, |value| value == 0.0)
}

fn float<T: std::str::FromStr + Copy>(
    text: &str,
    name: &str,
    infinite: impl Fn(T) -> bool,
    zero: impl Fn(T) -> bool,
) -> Result<T> {
    let trimmed = trim(text);
    let value: T = trimmed.parse().map_err(|_| invalid(name, text))?;
    let mantissa = trimmed.split(['e', 'E']).next().unwrap_or_default();
    let has = |digits: std::ops::RangeInclusive<u8>| mantissa.bytes().any(|byte| digits.contains(&byte));
    // Overflow is told by digits where infinity was not asked for, underflow by digits that are not zero.
    if (infinite(value) && has(b'0'..=b'9')) || (zero(value) && has(b'1'..=b'9')) {
        return Err(Error::new(Kind::NumericRange, format!("\"{trimmed}\" is out of range for type {name}")));
    }
    Ok(value)
}

/// `\x…` or the escape form.
pub fn bytea(text: &str) -> Result<Vec<u8>> {
    match text.strip_prefix("\\x") {
        Some(digits) => hex_bytes(digits),
        None => escaped_bytes(text),
    }
}

/// Bytes in hexadecimal digits.
pub(crate) fn hex_bytes(hex: &str) -> Result<Vec<u8>> {
    let bad = |message: String| Error::new(Kind::InvalidParameter, message);
    let mut bytes = Vec::with_capacity(hex.len() / 2);
    let mut high = None;
    for character in hex.chars() {
        // White space may stand between bytes, not inside one.
        if high.is_none() && matches!(character, ' ' | '\n' | '\t' | '\r') {
            continue;
        }
        let digit = character.to_digit(16).ok_or_else(|| bad(format!("invalid hexadecimal digit: \"{character}\"")))?;
        match high.take() {
            None => high = Some(digit),
            Some(high) => bytes.push((high << 4 | digit) as u8),
        }
    }
    if high.is_some() {
        return Err(bad("invalid hexadecimal data: odd number of digits".to_owned()));
    }
    Ok(bytes)
}

/// Bytes as themselves, but for `\\\\` and `\\ooo`.
pub(crate) fn escaped_bytes(text: &str) -> Result<Vec<u8>> {
    let invalid = || Error::new(Kind::InvalidText, "invalid input syntax for type bytea");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match *rest {
            [b'\\', ref after @ ..] => {
                bytes.push(b'\\');
                rest = after;
            }
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ref after @ ..] => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => return Err(invalid()),
        }
    }
    Ok(bytes)
}

/// 32 hexadecimal digits, in braces or not, a hyphen allowed after every fourth.
pub fn uuid(text: &str) -> Result<[u8; 16]> {
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}').ok_or_else(|| invalid("uuid", text))?,
        None => text,
    };
    let mut bytes = [0; 16];
    let mut digits = 0;
    let mut hyphen_allowed = false;
    for character in inner.chars() {
        if character == '-' && hyphen_allowed {
            hyphen_allowed = false;
            continue;
        }
        let digit = character.to_digit(16).ok_or_else(|| invalid("uuid", text))?;
        let byte: &mut u8 = bytes.get_mut(digits / 2).ok_or_else(|| invalid("uuid", text))?;
        *byte = *byte << 4 | digit as u8;
        digits += 1;
        hyphen_allowed = digits % 4 == 0 && digits < 32;
    }
    if digits == 32 && !inner.ends_with('-') { Ok(bytes) } else { Err(invalid("uuid", text)) }
}

/// Months, days and microseconds as Arrow holds them: nanoseconds reach 292 years.
pub(crate) fn month_day_micro(months: i32, days: i32, micros: i64) -> Result<IntervalMonthDayNano> {
    let nanos = micros.checked_mul(1_000).ok_or_else(|| Error::new(Kind::DateRange, "interval out of range"))?;
    Ok(IntervalMonthDayNano::new(months, days, nanos))
}

pub(crate) fn timetz_bytes((micros, west): (i64, i32)) -> Vec<u8> {
    [micros.to_be_bytes().as_slice(), west.to_be_bytes().as_slice()].concat()
}

/// String types that take less than they are given.
pub(crate) fn string(row: &TypeRow, text: &str) -> Result<String> {
    Ok(match row.name {
        "name" => text[..text.floor_char_boundary(NAME_BYTES_MAX)].to_owned(),
        "char" => text.chars().take(1).collect(),
        "json" => {
            valid_json(text)?;
            text.to_owned()
        }
        "jsonb" => normal_json(text)?,
        _ => text.to_owned(),
    })
}

/// Oids may be given as negative numbers, which count down from 2^32. A `reg…` type takes its number, `-` for none, the
/// names that `style` knows, and regtype those of PostgreSQL's own types.
fn object(row: &TypeRow, text: &str, style: &Style) -> Result<u32> {
    let trimmed = trim(text);
    if row.name.starts_with("reg") {
        if trimmed == "-" {
            return Ok(0);
        }
        let is_number = trimmed.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number && let Some(named) = style.object_names.oid(row.oid, trimmed) {
            return named;
        }
        if row.oid == types::REGTYPE
            && let Some((oid, _)) = types::by_name(trimmed)
        {
            return Ok(oid);
        }
    }
    match oid(text, row.name) {
        Ok(number) => Ok(number),
        Err(error) if error.kind() == Kind::NumericRange => Err(error),
        Err(_) if row.oid == types::REGTYPE => {
            Err(Error::new(Kind::UndefinedObject, format!("type \"{trimmed}\" does not exist")))
        }
        Err(_) if row.name.starts_with("reg") => {
            Err(Error::unsupported(format!("a value of type {} by name", row.name))
                .with_hint("Give its oid, or cast the name: '…'::text::regclass."))
        }
        Err(error) => Err(error),
    }
}

/// A number of 32 bits; a negative one counts down from 2^32.
pub(crate) fn oid(text: &str, name: &str) -> Result<u32> {
    let number = integer::<i64>(text, name)?;
    let wrapped = u32::try_from(number).or_else(|_| i32::try_from(number).map(i32::cast_unsigned));
    wrapped.map_err(|_| out_of_range(text, name))
}

pub(crate) fn tid(text: &str) -> Result<[u8; 6]> {
    let inner = trim(text).strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let (block, line) = inner.and_then(|inner| inner.split_once(',')).ok_or_else(|| invalid("tid", text))?;
    // as an oid's, a negative block counts down from 2^32
    let block = oid(block.trim_start(), "tid").ok().filter(|_| !block.ends_with(char::is_whitespace));
    let (block, line): (u32, u16) = block.zip(line.trim_start().parse().ok()).ok_or_else(|| invalid("tid", text))?;
    let ([a, b, c, d], [e, f]) = (block.to_be_bytes(), line.to_be_bytes());
    Ok([a, b, c, d, e, f])
}

pub(crate) fn lsn(text: &str) -> Result<u64> {
    let half = |part: &str| {
        let hex = (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        hex.then(|| u64::from_str_radix(part, 16).ok()).flatten()
    };
    let halves = text.split_once('/').and_then(|(high, low)| half(high).zip(half(low)));
    halves.map(|(high, low)| high << 32 | low).ok_or_else(|| invalid("pg_lsn", text))
}

/// The white space that C's isspace knows.
fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}')
}

/// 22P02, or 22007 where the type is one of dates. Shows the value: it is the client's own.
fn invalid(name: &str, text: &str) -> Error {
    Error::new(Kind::InvalidText, format!("invalid input syntax for type {name}: \"{text}\""))
}

fn out_of_range(text: &str, name: &str) -> Error {
    Error::new(Kind::NumericRange, format!("value \"{text}\" is out of range for type {name}"))
}
