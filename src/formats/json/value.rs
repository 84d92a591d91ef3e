//! One JSON value as one declared type, exactly: numbers by their digits, moments by their spelling or unit.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType, Field, TimeUnit};
use chrono::{DateTime, NaiveDate, NaiveDateTime};

use super::Unit;
use super::scan::{Member, Value};
use crate::error::{Error, Result};
use crate::formats::postgres::OID;

const WRONG_TYPE: &str = "has another type than the column";
const TOO_LARGE: &str = "is out of the type's range";
const TOO_FINE: &str = "has more digits after the point than the column";

/// `json` and `jsonb`: their columns are text that keeps a value as it is spelt.
const JSON: [&str; 2] = ["114", "3802"];

/// A value on its way into a builder.
#[derive(Debug, Clone)]
pub(super) enum Cell<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Decimal(i128),
    Text(Cow<'a, str>),
    Bytes([u8; 16]),
}

/// A builder of one column.
#[derive(Debug)]
pub(super) struct Column {
    nullable: bool,
    json: bool,
    data_type: DataType,
    builder: Builder,
}

#[derive(Debug)]
enum Builder {
    Bool(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal(Decimal128Builder),
    Text(StringBuilder),
    TextView(StringViewBuilder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Uuid(FixedSizeBinaryBuilder),
}

impl Column {
    /// `None`: JSON is not read as this type.
    pub(super) fn new(field: &Field) -> Option<Self> {
        let data_type = field.data_type().clone();
        let builder = match &data_type {
            DataType::Boolean => Builder::Bool(BooleanBuilder::new()),
            DataType::Int16 => Builder::Int16(Int16Builder::new()),
            DataType::Int32 => Builder::Int32(Int32Builder::new()),
            DataType::Int64 => Builder::Int64(Int64Builder::new()),
            DataType::Float32 => Builder::Float32(Float32Builder::new()),
            DataType::Float64 => Builder::Float64(Float64Builder::new()),
            DataType::Decimal128(_, 0..) => {
                Builder::Decimal(Decimal128Builder::new().with_data_type(data_type.clone()))
            }
            DataType::Utf8 => Builder::Text(StringBuilder::new()),
            DataType::Utf8View => Builder::TextView(StringViewBuilder::new()),
            DataType::Date32 => Builder::Date(Date32Builder::new()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Builder::Timestamp(TimestampMicrosecondBuilder::new().with_data_type(data_type.clone()))
            }
            DataType::FixedSizeBinary(16) => Builder::Uuid(FixedSizeBinaryBuilder::new(16)),
            _ => return None,
        };
        let json = field.metadata().get(OID).is_some_and(|oid| JSON.contains(&oid.as_str()));
        Some(Self { nullable: field.is_nullable(), json, data_type, builder })
    }

    pub(super) fn nullable(&self) -> bool {
        self.nullable
    }

    pub(super) fn read<'a>(&self, member: Member<'a>, unit: Unit) -> Result<Cell<'a>, &'static str> {
        let spelling = match &member.value {
            Value::Null if !self.nullable => return Err("is null"),
            Value::Null => return Ok(Cell::Null),
            _ if self.json => return Ok(Cell::Text(Cow::Borrowed(member.raw))),
            // Exact numbers may stand in quotes: beyond 2^53 many writers must.
            Value::Number(text) => Some(*text),
            Value::Text(text) => Some(text.as_ref()),
            Value::Bool(_) | Value::Nested => None,
        };
        let quoted = matches!(member.value, Value::Text(_));
        match (&self.data_type, spelling) {
            (DataType::Boolean, _) => match member.value {
                Value::Bool(value) => Ok(Cell::Bool(value)),
                _ => Err(WRONG_TYPE),
            },
            (DataType::Int16, Some(text)) => integer(text, i16::MIN.into(), i16::MAX.into()),
            (DataType::Int32, Some(text)) => integer(text, i32::MIN.into(), i32::MAX.into()),
            (DataType::Int64, Some(text)) => integer(text, i64::MIN, i64::MAX),
            (DataType::Decimal128(precision, scale), Some(text)) => {
                let value = decimal(text, (*scale).into())?;
                match 10u128.checked_pow((*precision).into()) {
                    Some(limit) if value.unsigned_abs() >= limit => Err(TOO_LARGE),
                    _ => Ok(Cell::Decimal(value)),
                }
            }
            (DataType::Float32, Some(text)) => float(text, quoted, text.parse::<f32>().map(f64::from)),
            (DataType::Float64, Some(text)) => float(text, quoted, text.parse::<f64>()),
            (DataType::Utf8 | DataType::Utf8View, _) => match member.value {
                Value::Text(text) if text.contains('\0') => Err("has a NUL character"),
                Value::Text(text) => Ok(Cell::Text(text)),
                _ => Err(WRONG_TYPE),
            },
            (DataType::Date32, Some(text)) if quoted => date(text),
            (DataType::Timestamp(_, zone), Some(text)) => match (quoted, zone) {
                (true, Some(_)) => moment(text),
                (true, None) => clock(text),
                (false, _) => epoch(text, unit),
            },
            (DataType::FixedSizeBinary(_), Some(text)) if quoted => match uuid::Uuid::parse_str(text) {
                Ok(uuid) => Ok(Cell::Bytes(uuid.into_bytes())),
                Err(_) => Err("is not a uuid"),
            },
            _ => Err(WRONG_TYPE),
        }
    }

    pub(super) fn push(&mut self, cell: Cell<'_>) -> Result<()> {
        let narrow = |_| Error::internal("a JSON integer passed its check and does not fit");
        match (&mut self.builder, cell) {
            (Builder::Bool(b), Cell::Bool(v)) => b.append_value(v),
            (Builder::Int16(b), Cell::Integer(v)) => b.append_value(i16::try_from(v).map_err(narrow)?),
            (Builder::Int32(b), Cell::Integer(v)) => b.append_value(i32::try_from(v).map_err(narrow)?),
            (Builder::Int64(b), Cell::Integer(v)) => b.append_value(v),
            (Builder::Float32(b), Cell::Float(v)) => b.append_value(v as f32),
            (Builder::Float64(b), Cell::Float(v)) => b.append_value(v),
            (Builder::Decimal(b), Cell::Decimal(v)) => b.append_value(v),
            (Builder::Text(b), Cell::Text(v)) => b.append_value(v),
            (Builder::TextView(b), Cell::Text(v)) => b.append_value(v),
            (Builder::Date(b), Cell::Integer(v)) => b.append_value(i32::try_from(v).map_err(narrow)?),
            (Builder::Timestamp(b), Cell::Integer(v)) => b.append_value(v),
            (Builder::Uuid(b), Cell::Bytes(v)) => b.append_value(v)?,
            (builder, Cell::Null) => builder.push_null(),
            _ => return Err(Error::internal("a JSON value of another type than its builder")),
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> ArrayRef {
        match &mut self.builder {
            Builder::Bool(b) => Arc::new(b.finish()),
            Builder::Int16(b) => Arc::new(b.finish()),
            Builder::Int32(b) => Arc::new(b.finish()),
            Builder::Int64(b) => Arc::new(b.finish()),
            Builder::Float32(b) => Arc::new(b.finish()),
            Builder::Float64(b) => Arc::new(b.finish()),
            Builder::Decimal(b) => Arc::new(b.finish()),
            Builder::Text(b) => Arc::new(b.finish()),
            Builder::TextView(b) => Arc::new(b.finish()),
            Builder::Date(b) => Arc::new(b.finish()),
            Builder::Timestamp(b) => Arc::new(b.finish()),
            Builder::Uuid(b) => Arc::new(b.finish()),
        }
    }
}

impl Builder {
    fn push_null(&mut self) {
        match self {
            Builder::Bool(b) => b.append_null(),
            Builder::Int16(b) => b.append_null(),
            Builder::Int32(b) => b.append_null(),
            Builder::Int64(b) => b.append_null(),
            Builder::Float32(b) => b.append_null(),
            Builder::Float64(b) => b.append_null(),
            Builder::Decimal(b) => b.append_null(),
            Builder::Text(b) => b.append_null(),
            Builder::TextView(b) => b.append_null(),
            Builder::Date(b) => b.append_null(),
            Builder::Timestamp(b) => b.append_null(),
            Builder::Uuid(b) => b.append_null(),
        }
    }
}

fn integer<'a>(text: &str, least: i64, most: i64) -> Result<Cell<'a>, &'static str> {
    let value = i64::try_from(decimal(text, 0)?).map_err(|_| TOO_LARGE)?;
    if (least..=most).contains(&value) { Ok(Cell::Integer(value)) } else { Err(TOO_LARGE) }
}

/// The number times 10^scale, by its digits alone.
fn decimal(text: &str, scale: i64) -> Result<i128, &'static str> {
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
    let shift = exponent - as_i64(fraction.len()) + as_i64(zeros) + scale;
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

/// A JSON number cannot spell these three.
fn float<'a, E>(text: &str, quoted: bool, parsed: Result<f64, E>) -> Result<Cell<'a>, &'static str> {
    match (quoted, text, parsed) {
        (true, "NaN", _) => Ok(Cell::Float(f64::NAN)),
        (true, "Infinity", _) => Ok(Cell::Float(f64::INFINITY)),
        (true, "-Infinity", _) => Ok(Cell::Float(f64::NEG_INFINITY)),
        (true, ..) | (false, _, Err(_)) => Err(WRONG_TYPE),
        (false, _, Ok(value)) if value.is_infinite() => Err(TOO_LARGE),
        (false, _, Ok(value)) => Ok(Cell::Float(value)),
    }
}

fn date<'a>(text: &str) -> Result<Cell<'a>, &'static str> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| "is not a date as 2024-12-31")?;
    Ok(Cell::Integer(date.signed_duration_since(NaiveDate::default()).num_days()))
}

/// RFC 3339, with its zone.
fn moment<'a>(text: &str) -> Result<Cell<'a>, &'static str> {
    let moment = DateTime::parse_from_rfc3339(text).map_err(|_| "is not a moment as 2024-12-31T23:59:59Z")?;
    rounded(moment.timestamp(), moment.timestamp_subsec_nanos())
}

/// Date and time without a zone.
fn clock<'a>(text: &str) -> Result<Cell<'a>, &'static str> {
    let parse = |format| NaiveDateTime::parse_from_str(text, format);
    let clock = parse("%Y-%m-%dT%H:%M:%S%.f").or_else(|_| parse("%Y-%m-%d %H:%M:%S%.f"));
    let clock = clock.map_err(|_| "is not a time as 2024-12-31T23:59:59")?.and_utc();
    rounded(clock.timestamp(), clock.timestamp_subsec_nanos())
}

/// Postgres rounds to microseconds, and so do we.
fn rounded<'a>(seconds: i64, nanos: u32) -> Result<Cell<'a>, &'static str> {
    let micros = i64::from((nanos + 500) / 1000);
    seconds.checked_mul(1_000_000).and_then(|s| s.checked_add(micros)).map(Cell::Integer).ok_or(TOO_LARGE)
}

fn epoch<'a>(text: &str, unit: Unit) -> Result<Cell<'a>, &'static str> {
    let scale = match unit {
        Unit::Seconds => 6,
        Unit::Millis => 3,
        Unit::Micros => 0,
    };
    // The ends of the range are the infinities.
    let micros = i64::try_from(decimal(text, scale)?).map_err(|_| TOO_LARGE)?;
    if matches!(micros, i64::MIN | i64::MAX) { Err(TOO_LARGE) } else { Ok(Cell::Integer(micros)) }
}
