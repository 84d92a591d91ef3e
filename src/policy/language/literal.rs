//! A constant takes the type of what it is compared with, exactly, or is refused. Nothing is rounded, cut or guessed: what
//! PostgreSQL reads by the day, by a style or by a session's zone is refused too, for a policy has none of them.

use arrow::datatypes::{DataType, i256};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use datafusion::common::ScalarValue;

use super::kept::Kept;
use crate::pgtype::oid;
use crate::policy::file::users::Value;
use crate::sql::numeric::Numeric;

/// A constant as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Constant {
    Text(String),
    /// With its sign.
    Number(String),
    Bool(bool),
}

impl From<&Value> for Constant {
    fn from(value: &Value) -> Self {
        match value {
            Value::Text(text) | Value::Date(text) => Self::Text(text.clone()),
            Value::Int8(n) => Self::Number(n.to_string()),
            Value::Bool(b) => Self::Bool(*b),
        }
    }
}

/// The constant as a value of exactly the type, as expressions have it. A table must be able to keep it, too.
pub(super) fn typed(constant: &Constant, wanted: &Kept) -> Result<ScalarValue, String> {
    let value = read(constant, wanted).filter(|value| exact(value, &wanted.raw).is_some());
    value.ok_or_else(|| format!("{} is no {}", shown(constant), wanted.word()))
}

/// The same, as the table keeps it.
pub(super) fn stored(constant: &Constant, wanted: &Kept) -> Result<ScalarValue, String> {
    let value = read(constant, wanted).and_then(|value| exact(&value, &wanted.raw));
    value.ok_or_else(|| format!("{} is no {}", shown(constant), wanted.word()))
}

/// The same value in another type, if that holds it.
pub(super) fn exact(value: &ScalarValue, to: &DataType) -> Option<ScalarValue> {
    if value.data_type() == *to {
        return Some(value.clone());
    }
    let there = value.cast_to(to).ok()?;
    let back = there.cast_to(&value.data_type()).ok()?;
    (back == *value && there.is_null() == value.is_null()).then_some(there)
}

fn read(constant: &Constant, wanted: &Kept) -> Option<ScalarValue> {
    match (constant, &wanted.data_type) {
        (Constant::Bool(b), DataType::Boolean) => Some(ScalarValue::Boolean(Some(*b))),
        (Constant::Text(text), DataType::Utf8) if wanted.is_text() => Some(ScalarValue::Utf8(Some(text.clone()))),
        (Constant::Number(text) | Constant::Text(text), _) if wanted.is_number() => number(text, &wanted.data_type),
        (Constant::Text(text), _) => timely(text, wanted).or_else(|| bytes(text, wanted)),
        (Constant::Bool(_) | Constant::Number(_), _) => None,
    }
}

fn shown(constant: &Constant) -> String {
    match constant {
        Constant::Text(text) => format!("'{text}'"),
        Constant::Number(text) => text.clone(),
        Constant::Bool(b) => b.to_string(),
    }
}

fn number(text: &str, wanted: &DataType) -> Option<ScalarValue> {
    let text = text.trim();
    let value = match wanted {
        DataType::Int16 => ScalarValue::Int16(Some(text.parse().ok()?)),
        DataType::Int32 => ScalarValue::Int32(Some(text.parse().ok()?)),
        DataType::Int64 => ScalarValue::Int64(Some(text.parse().ok()?)),
        DataType::UInt32 => ScalarValue::UInt32(Some(text.parse().ok()?)),
        DataType::Float32 => ScalarValue::Float32(Some(text.parse().ok().filter(|f: &f32| f.is_finite())?)),
        DataType::Float64 => ScalarValue::Float64(Some(text.parse().ok().filter(|f: &f64| f.is_finite())?)),
        DataType::Decimal128(precision, scale) => {
            let digits = decimal_digits(text, *precision, *scale)?;
            ScalarValue::Decimal128(Some(digits.parse().ok()?), *precision, *scale)
        }
        DataType::Decimal256(precision, scale) => {
            let digits = decimal_digits(text, *precision, *scale)?;
            ScalarValue::Decimal256(i256::from_string(&digits), *precision, *scale)
        }
        // a numeric of any scale
        DataType::Binary => match Numeric::parse(text).ok()? {
            finite @ Numeric::Finite { .. } => ScalarValue::Binary(Some(finite.encode())),
            _ => return None,
        },
        _ => return None,
    };
    Some(value)
}
/// `-12.5` at scale 2 → `-1250`; `None` where it does not fit without rounding.
fn decimal_digits(text: &str, precision: u8, scale: i8) -> Option<String> {
    let scale = usize::try_from(scale).ok()?;
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let fraction = fraction.trim_end_matches('0');
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty())
        || !all_digits(whole)
        || !all_digits(fraction)
        || fraction.len() > scale
    {
        return None;
    }
    let digits = format!("{whole}{fraction:0<scale$}");
    let digits = digits.trim_start_matches('0');
    if digits.len() > usize::from(precision) {
        return None;
    }
    Some(format!("{sign}{}", if digits.is_empty() { "0" } else { digits }))
}

/// Dates and times, ISO only; a timestamptz names its zone, for there is no session whose zone it could take.
fn timely(text: &str, wanted: &Kept) -> Option<ScalarValue> {
    match wanted.ty.oid {
        oid::DATE => {
            let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
            let days = date.signed_duration_since(NaiveDate::default()).num_days();
            Some(ScalarValue::Date32(Some(i32::try_from(days).ok()?)))
        }
        oid::TIME => {
            let time = ["%H:%M:%S%.f", "%H:%M"].iter().find_map(|f| NaiveTime::parse_from_str(text, f).ok())?;
            let micros = i64::from(time.num_seconds_from_midnight()) * 1_000_000 + i64::from(time.nanosecond() / 1_000);
            Some(ScalarValue::Time64Microsecond(Some(micros)))
        }
        oid::TIMESTAMP => {
            let text = text.replacen('T', " ", 1);
            let moment = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"];
            let moment = moment.iter().find_map(|f| NaiveDateTime::parse_from_str(&text, f).ok());
            let midnight = || NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
            Some(ScalarValue::TimestampMicrosecond(Some(micros(moment.or_else(midnight)?)?), None))
        }
        oid::TIMESTAMPTZ => {
            let text = text.replacen('T', " ", 1).replace('Z', "+00");
            let moment = DateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S%.f%#z").ok()?;
            Some(ScalarValue::TimestampMicrosecond(Some(micros(moment.naive_utc())?), Some("UTC".into())))
        }
        _ => None,
    }
}

/// Since 1970; `None` where that would be rounded.
fn micros(moment: NaiveDateTime) -> Option<i64> {
    let utc = moment.and_utc();
    utc.timestamp_subsec_nanos().is_multiple_of(1_000).then(|| utc.timestamp_micros())
}

fn bytes(text: &str, wanted: &Kept) -> Option<ScalarValue> {
    match wanted.ty.oid {
        oid::UUID => {
            let id = uuid::Uuid::parse_str(text).ok()?;
            Some(ScalarValue::FixedSizeBinary(16, Some(id.as_bytes().to_vec())))
        }
        oid::BYTEA => Some(ScalarValue::Binary(Some(hex(text)?))),
        _ => None,
    }
}
/// `\x00ff`, as Postgres writes a bytea.
fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?;
    if !digits.is_ascii() || digits.len() % 2 != 0 {
        return None;
    }
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(digits.get(i..i + 2)?, 16).ok()).collect()
}
