//! A constant takes the type of what it is compared with, exactly, or is refused. Nothing is rounded, cut or guessed.

use arrow::datatypes::{DataType, TimeUnit, i256};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use datafusion::common::ScalarValue;

use crate::policy::file::users::Value;

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

/// The word an administrator knows the type by.
pub(super) fn type_name(data_type: &DataType) -> String {
    let word = match data_type {
        DataType::Boolean => "bool",
        DataType::Int8 | DataType::Int16 => "int2",
        DataType::Int32 => "int4",
        DataType::Int64 => "int8",
        DataType::UInt32 => "oid",
        DataType::Float32 => "float4",
        DataType::Float64 => "float8",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytea",
        DataType::Date32 => "date",
        DataType::Time64(_) => "time",
        DataType::Timestamp(_, None) => "timestamp",
        DataType::Timestamp(_, Some(_)) => "timestamptz",
        DataType::FixedSizeBinary(16) => "uuid",
        DataType::Decimal128(p, s) => return format!("numeric({p},{s})"),
        DataType::Decimal256(p, s) => return format!("numeric({p},{s})"),
        DataType::Dictionary(_, value) => return type_name(value),
        other => return other.to_string(),
    };
    word.to_owned()
}

pub(super) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// The constant as a value of exactly `wanted`.
pub(super) fn typed(constant: &Constant, wanted: &DataType) -> Result<ScalarValue, String> {
    let value = match (constant, wanted) {
        (Constant::Bool(b), DataType::Boolean) => Some(ScalarValue::Boolean(Some(*b))),
        (Constant::Text(text), DataType::Utf8) => Some(ScalarValue::Utf8(Some(text.clone()))),
        (Constant::Text(text), DataType::LargeUtf8) => Some(ScalarValue::LargeUtf8(Some(text.clone()))),
        (Constant::Text(text), DataType::Utf8View) => Some(ScalarValue::Utf8View(Some(text.clone()))),
        (_, DataType::Dictionary(key, value)) => {
            Some(ScalarValue::Dictionary(key.clone(), Box::new(typed(constant, value)?)))
        }
        (Constant::Number(text) | Constant::Text(text), number) if is_number(number) => self::number(text, number),
        (Constant::Text(text), other) => timely(text, other).or_else(|| bytes(text, other)),
        (Constant::Bool(_) | Constant::Number(_), _) => None,
    };
    value.ok_or_else(|| format!("{} is no {}", shown(constant), type_name(wanted)))
}

fn shown(constant: &Constant) -> String {
    match constant {
        Constant::Text(text) => format!("'{text}'"),
        Constant::Number(text) => text.clone(),
        Constant::Bool(b) => b.to_string(),
    }
}

pub(super) fn is_number(data_type: &DataType) -> bool {
    is_integer(data_type)
        || matches!(
            data_type,
            DataType::Float32 | DataType::Float64 | DataType::Decimal128(..) | DataType::Decimal256(..)
        )
}

pub(super) fn is_integer(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::UInt32 | DataType::UInt64
    )
}

fn number(text: &str, wanted: &DataType) -> Option<ScalarValue> {
    let text = text.trim();
    let value = match wanted {
        DataType::Int8 => ScalarValue::Int8(Some(text.parse().ok()?)),
        DataType::Int16 => ScalarValue::Int16(Some(text.parse().ok()?)),
        DataType::Int32 => ScalarValue::Int32(Some(text.parse().ok()?)),
        DataType::Int64 => ScalarValue::Int64(Some(text.parse().ok()?)),
        DataType::UInt32 => ScalarValue::UInt32(Some(text.parse().ok()?)),
        DataType::UInt64 => ScalarValue::UInt64(Some(text.parse().ok()?)),
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
fn timely(text: &str, wanted: &DataType) -> Option<ScalarValue> {
    match wanted {
        DataType::Date32 => {
            let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
            let days = date.signed_duration_since(NaiveDate::default()).num_days();
            Some(ScalarValue::Date32(Some(i32::try_from(days).ok()?)))
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            let time = ["%H:%M:%S%.f", "%H:%M"].iter().find_map(|f| NaiveTime::parse_from_str(text, f).ok())?;
            let micros = i64::from(time.num_seconds_from_midnight()) * 1_000_000 + i64::from(time.nanosecond() / 1_000);
            Some(ScalarValue::Time64Microsecond(Some(micros)))
        }
        DataType::Timestamp(unit, None) => {
            let text = text.replacen('T', " ", 1);
            let moment = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"];
            let moment = moment.iter().find_map(|f| NaiveDateTime::parse_from_str(&text, f).ok());
            let midnight = || NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
            timestamp(moment.or_else(midnight)?, *unit, None)
        }
        DataType::Timestamp(unit, Some(zone)) => {
            let text = text.replacen('T', " ", 1).replace('Z', "+00");
            let moment = DateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S%.f%#z").ok()?;
            timestamp(moment.naive_utc(), *unit, Some(zone.clone()))
        }
        _ => None,
    }
}

fn timestamp(moment: NaiveDateTime, unit: TimeUnit, zone: Option<std::sync::Arc<str>>) -> Option<ScalarValue> {
    let utc = moment.and_utc();
    let micros = utc.timestamp_micros();
    // finer than the column can hold would be rounded
    let value = match unit {
        TimeUnit::Second if utc.timestamp_subsec_nanos() == 0 => {
            ScalarValue::TimestampSecond(Some(utc.timestamp()), zone)
        }
        TimeUnit::Millisecond if micros % 1_000 == 0 => ScalarValue::TimestampMillisecond(Some(micros / 1_000), zone),
        TimeUnit::Microsecond if utc.timestamp_subsec_nanos().is_multiple_of(1_000) => {
            ScalarValue::TimestampMicrosecond(Some(micros), zone)
        }
        TimeUnit::Nanosecond => ScalarValue::TimestampNanosecond(Some(utc.timestamp_nanos_opt()?), zone),
        TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Microsecond => return None,
    };
    Some(value)
}

fn bytes(text: &str, wanted: &DataType) -> Option<ScalarValue> {
    match wanted {
        DataType::FixedSizeBinary(16) => {
            let id = uuid::Uuid::parse_str(text).ok()?;
            Some(ScalarValue::FixedSizeBinary(16, Some(id.as_bytes().to_vec())))
        }
        DataType::Binary => Some(ScalarValue::Binary(Some(hex(text)?))),
        DataType::LargeBinary => Some(ScalarValue::LargeBinary(Some(hex(text)?))),
        DataType::BinaryView => Some(ScalarValue::BinaryView(Some(hex(text)?))),
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
