//! One column's values, binary form to Arrow builder. Lengths are checked here and nowhere else.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit, i256};

use super::super::numeric::Numeric;
use super::{int32, numeric, split_field};
use crate::error::{Error, Kind, Result};

/// Days and microseconds from 1970 to Postgres's epoch, 2000-01-01.
pub(super) const EPOCH_DAYS: i32 = 10_957;
pub(super) const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// Why a value cannot be read; the caller adds the column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    pub(super) text: &'static str,
}

impl Fault {
    pub(super) const MALFORMED: Fault = Fault::new(Kind::InvalidBinary, "incorrect binary data format");
    pub(super) const TOO_LARGE: Fault =
        Fault::new(Kind::NumericRange, "a value has too many digits for the column's type");
    pub(super) const TOO_FINE: Fault =
        Fault::new(Kind::NumericRange, "a value has more digits after the point than the column's type");

    pub(super) const fn new(kind: Kind, text: &'static str) -> Self {
        Self { kind, text }
    }
}

/// Text as the types of character strings send it, or with a byte in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    Plain,
    /// jsonb: a version byte, then the text.
    Jsonb,
    /// char(n): kept without its padding, which compares as nothing and comes back when it is shown.
    Padded,
}

/// A builder and how its values are spelt on the wire.
#[derive(Debug)]
pub(super) enum Column {
    Bool(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    UInt32(UInt32Builder),
    UInt64(UInt64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal128(Decimal128Builder, u8, i8),
    Decimal256(Decimal256Builder, u8, i8),
    /// Of any scale, as `postgres::numeric`'s ordered bytes.
    Numeric(BinaryBuilder),
    Text(StringBuilder, Text),
    TextView(StringViewBuilder, Text),
    LargeText(LargeStringBuilder, Text),
    Bytes(BinaryBuilder),
    BytesView(BinaryViewBuilder),
    LargeBytes(LargeBinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
    /// uuid, and types that lie in Arrow as on the wire.
    Fixed(FixedSizeBinaryBuilder),
    List(Box<List>),
}

/// A one-dimensional array.
#[derive(Debug)]
pub(super) struct List {
    element: u32,
    values: Column,
    length: i32,
    offsets: Vec<i32>,
    valid: Vec<bool>,
}

impl Column {
    /// `None`: the binary form of `oid` is not read as this type.
    pub(super) fn new(data_type: &DataType, oid: u32) -> Option<Self> {
        Some(match (data_type, oid) {
            (DataType::Boolean, 16) => Self::Bool(BooleanBuilder::new()),
            (DataType::Int16, 21) => Self::Int16(Int16Builder::new()),
            (DataType::Int32, 23) => Self::Int32(Int32Builder::new()),
            (DataType::Int64, 20) => Self::Int64(Int64Builder::new()),
            // oid, xid, cid, reg*: four bytes each.
            (DataType::UInt32, 24 | 26 | 28 | 29 | 2202..=2206 | 4089 | 4096 | 4191) => {
                Self::UInt32(UInt32Builder::new())
            }
            (DataType::Float32, 700) => Self::Float32(Float32Builder::new()),
            (DataType::Float64, 701) => Self::Float64(Float64Builder::new()),
            (DataType::Decimal128(p, s), 1700) => {
                Self::Decimal128(Decimal128Builder::new().with_data_type(data_type.clone()), *p, *s)
            }
            (DataType::Decimal256(p, s), 1700) => {
                Self::Decimal256(Decimal256Builder::new().with_data_type(data_type.clone()), *p, *s)
            }
            (DataType::Binary, 1700) => Self::Numeric(BinaryBuilder::new()),
            (DataType::Utf8, _) => Self::Text(StringBuilder::new(), text(oid)?),
            (DataType::Utf8View, _) => {
                Self::TextView(StringViewBuilder::new().with_fixed_block_size(1 << 18), text(oid)?)
            }
            (DataType::LargeUtf8, _) => Self::LargeText(LargeStringBuilder::new(), text(oid)?),
            (DataType::Binary, 17) => Self::Bytes(BinaryBuilder::new()),
            (DataType::BinaryView, 17) => Self::BytesView(BinaryViewBuilder::new()),
            (DataType::LargeBinary, 17) => Self::LargeBytes(LargeBinaryBuilder::new()),
            (DataType::Date32, 1082) => Self::Date(Date32Builder::new()),
            (DataType::Time64(TimeUnit::Microsecond), 1083) => Self::Time(Time64MicrosecondBuilder::new()),
            (DataType::Timestamp(TimeUnit::Microsecond, _), 1114 | 1184) => {
                Self::Timestamp(TimestampMicrosecondBuilder::new().with_data_type(data_type.clone()))
            }
            (DataType::Interval(IntervalUnit::MonthDayNano), 1186) => {
                Self::Interval(IntervalMonthDayNanoBuilder::new())
            }
            // uuid, timetz, tid.
            (DataType::FixedSizeBinary(16), 2950) => Self::Fixed(FixedSizeBinaryBuilder::new(16)),
            (DataType::FixedSizeBinary(12), 1266) => Self::Fixed(FixedSizeBinaryBuilder::new(12)),
            (DataType::FixedSizeBinary(6), 27) => Self::Fixed(FixedSizeBinaryBuilder::new(6)),
            // xid8, pg_lsn.
            (DataType::UInt64, 5069 | 3220) => Self::UInt64(UInt64Builder::new()),
            (DataType::List(field), _) => {
                let element = element(oid)?;
                let values = Self::new(field.data_type(), element)?;
                Self::List(Box::new(List { element, values, length: 0, offsets: vec![0], valid: vec![] }))
            }
            _ => return None,
        })
    }

    pub(super) fn push(&mut self, value: Option<&[u8]>) -> Result<(), Fault> {
        let Some(bytes) = value else {
            self.push_null();
            return Ok(());
        };
        match self {
            Self::Bool(b) => b.append_value(fixed::<1>(bytes)?[0] != 0),
            Self::Int16(b) => b.append_value(i16::from_be_bytes(fixed(bytes)?)),
            Self::Int32(b) => b.append_value(i32::from_be_bytes(fixed(bytes)?)),
            Self::Int64(b) => b.append_value(i64::from_be_bytes(fixed(bytes)?)),
            Self::UInt32(b) => b.append_value(u32::from_be_bytes(fixed(bytes)?)),
            Self::UInt64(b) => b.append_value(u64::from_be_bytes(fixed(bytes)?)),
            Self::Float32(b) => b.append_value(one_nan_32(f32::from_be_bytes(fixed(bytes)?))),
            Self::Float64(b) => b.append_value(one_nan_64(f64::from_be_bytes(fixed(bytes)?))),
            Self::Decimal128(b, p, s) => b.append_value(numeric::decode::<i128>(bytes, *p, *s)?),
            Self::Decimal256(b, p, s) => b.append_value(numeric::decode::<i256>(bytes, *p, *s)?),
            Self::Numeric(b) => b.append_value(any_numeric(bytes)?.encode()),
            Self::Text(b, t) => b.append_value(utf8(bytes, *t)?),
            Self::TextView(b, t) => b.append_value(utf8(bytes, *t)?),
            Self::LargeText(b, t) => b.append_value(utf8(bytes, *t)?),
            Self::Bytes(b) => b.append_value(bytes),
            Self::BytesView(b) => b.append_value(bytes),
            Self::LargeBytes(b) => b.append_value(bytes),
            Self::Date(b) => b.append_value(date(i32::from_be_bytes(fixed(bytes)?))?),
            Self::Time(b) => b.append_value(time(i64::from_be_bytes(fixed(bytes)?))?),
            Self::Timestamp(b) => b.append_value(timestamp(i64::from_be_bytes(fixed(bytes)?))?),
            Self::Interval(b) => b.append_value(interval(bytes)?),
            Self::Fixed(b) => b.append_value(bytes).map_err(|_| Fault::MALFORMED)?,
            Self::List(list) => list.push(bytes)?,
        }
        Ok(())
    }

    fn push_null(&mut self) {
        match self {
            Self::Bool(b) => b.append_null(),
            Self::Int16(b) => b.append_null(),
            Self::Int32(b) => b.append_null(),
            Self::Int64(b) => b.append_null(),
            Self::UInt32(b) => b.append_null(),
            Self::UInt64(b) => b.append_null(),
            Self::Float32(b) => b.append_null(),
            Self::Float64(b) => b.append_null(),
            Self::Decimal128(b, ..) => b.append_null(),
            Self::Decimal256(b, ..) => b.append_null(),
            Self::Numeric(b) => b.append_null(),
            Self::Text(b, _) => b.append_null(),
            Self::TextView(b, _) => b.append_null(),
            Self::LargeText(b, _) => b.append_null(),
            Self::Bytes(b) => b.append_null(),
            Self::BytesView(b) => b.append_null(),
            Self::LargeBytes(b) => b.append_null(),
            Self::Date(b) => b.append_null(),
            Self::Time(b) => b.append_null(),
            Self::Timestamp(b) => b.append_null(),
            Self::Interval(b) => b.append_null(),
            Self::Fixed(b) => b.append_null(),
            Self::List(list) => list.end(false),
        }
    }

    /// The values so far; the builder begins anew.
    pub(super) fn finish(&mut self, data_type: &DataType) -> Result<ArrayRef> {
        Ok(match self {
            Self::Bool(b) => Arc::new(b.finish()),
            Self::Int16(b) => Arc::new(b.finish()),
            Self::Int32(b) => Arc::new(b.finish()),
            Self::Int64(b) => Arc::new(b.finish()),
            Self::UInt32(b) => Arc::new(b.finish()),
            Self::UInt64(b) => Arc::new(b.finish()),
            Self::Float32(b) => Arc::new(b.finish()),
            Self::Float64(b) => Arc::new(b.finish()),
            Self::Decimal128(b, ..) => Arc::new(b.finish()),
            Self::Decimal256(b, ..) => Arc::new(b.finish()),
            Self::Numeric(b) => Arc::new(b.finish()),
            Self::Text(b, _) => Arc::new(b.finish()),
            Self::TextView(b, _) => Arc::new(b.finish()),
            Self::LargeText(b, _) => Arc::new(b.finish()),
            Self::Bytes(b) => Arc::new(b.finish()),
            Self::BytesView(b) => Arc::new(b.finish()),
            Self::LargeBytes(b) => Arc::new(b.finish()),
            Self::Date(b) => Arc::new(b.finish()),
            Self::Time(b) => Arc::new(b.finish()),
            Self::Timestamp(b) => Arc::new(b.finish()),
            Self::Interval(b) => Arc::new(b.finish()),
            Self::Fixed(b) => Arc::new(b.finish()),
            Self::List(list) => list.finish(data_type)?,
        })
    }
}

impl List {
    /// Dimensions, flags, element type, then length and lower bound of each dimension, then the elements.
    fn push(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let (Some(dimensions), Some(element)) = (int32(bytes, 0), int32(bytes, 8)) else {
            return Err(Fault::MALFORMED);
        };
        if element as u32 != self.element {
            return Err(Fault::MALFORMED);
        }
        match dimensions {
            0 => {
                self.end(true);
                return Ok(());
            }
            1 => {}
            2..=6 => return Err(Fault::new(Kind::Unsupported, "an array of more than one dimension is not supported")),
            _ => return Err(Fault::MALFORMED),
        }
        let (Some(length), Some(lower)) = (int32(bytes, 12), int32(bytes, 16)) else { return Err(Fault::MALFORMED) };
        if lower != 1 {
            return Err(Fault::new(Kind::Unsupported, "an array whose lower bound is not 1 is not supported"));
        }
        let mut rest = bytes.get(20..).ok_or(Fault::MALFORMED)?;
        // Each element takes four bytes at least: a length that cannot be true ends the loop early.
        for _ in 0..length {
            let (value, after) = split_field(rest).ok_or(Fault::MALFORMED)?;
            self.values.push(value)?;
            self.length = self.length.checked_add(1).ok_or(Fault::TOO_LARGE)?;
            rest = after;
        }
        if length < 0 || !rest.is_empty() {
            return Err(Fault::MALFORMED);
        }
        self.end(true);
        Ok(())
    }

    fn end(&mut self, valid: bool) {
        self.offsets.push(self.length);
        self.valid.push(valid);
    }

    fn finish(&mut self, data_type: &DataType) -> Result<ArrayRef> {
        let DataType::List(field) = data_type else { return Err(Error::internal("a list column without a list type")) };
        let values = self.values.finish(field.data_type())?;
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        let valid = std::mem::take(&mut self.valid);
        self.length = 0;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, values, Some(NullBuffer::from(valid)))?))
    }
}

/// Types whose binary form is their text. xml is not one of them: it may carry an encoding of its own.
fn text(oid: u32) -> Option<Text> {
    match oid {
        18 | 19 | 25 | 114 | 705 | 1043 => Some(Text::Plain),
        1042 => Some(Text::Padded),
        3802 => Some(Text::Jsonb),
        _ => None,
    }
}

/// Element type of an array type.
pub(super) fn element(array: u32) -> Option<u32> {
    Some(match array {
        199 => 114,
        1000 => 16,
        1001 => 17,
        1002 => 18,
        1003 => 19,
        1005 => 21,
        1007 => 23,
        1009 => 25,
        1014 => 1042,
        1015 => 1043,
        1016 => 20,
        1021 => 700,
        1022 => 701,
        1028 => 26,
        1115 => 1114,
        1182 => 1082,
        1183 => 1083,
        1185 => 1184,
        1187 => 1186,
        1231 => 1700,
        2951 => 2950,
        3807 => 3802,
        _ => return None,
    })
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Fault> {
    bytes.try_into().map_err(|_| Fault::MALFORMED)
}

fn any_numeric(bytes: &[u8]) -> Result<Numeric, Fault> {
    match Numeric::receive(bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(Fault::MALFORMED),
        Err(error) if error.kind() == Kind::NumericRange => Err(Fault::TOO_LARGE),
        Err(_) => Err(Fault::MALFORMED),
    }
}

fn utf8(bytes: &[u8], text: Text) -> Result<&str, Fault> {
    let bytes = match (text, bytes.split_first()) {
        (Text::Plain | Text::Padded, _) => bytes,
        (Text::Jsonb, Some((1, rest))) => rest,
        (Text::Jsonb, _) => return Err(Fault::MALFORMED),
    };
    let value = std::str::from_utf8(bytes).map_err(|_| Fault::new(Kind::InvalidText, "a value is not valid UTF-8"))?;
    Ok(if text == Text::Padded { value.trim_end_matches(' ') } else { value })
}

/// Postgres knows one NaN, above all numbers; Arrow orders by bits, where a negative NaN is below them.
fn one_nan_32(value: f32) -> f32 {
    if value.is_nan() { f32::NAN } else { value }
}

fn one_nan_64(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value }
}

/// The largest and the smallest number are ±infinity on both sides.
fn date(days: i32) -> Result<i32, Fault> {
    match days {
        i32::MAX | i32::MIN => Ok(days),
        _ => days.checked_add(EPOCH_DAYS).ok_or(Fault::new(Kind::DateRange, "date out of range")),
    }
}

fn timestamp(micros: i64) -> Result<i64, Fault> {
    match micros {
        i64::MAX | i64::MIN => Ok(micros),
        // 29 years more than fit here: its last moment, which is not infinity
        _ => Ok(micros.checked_add(EPOCH_MICROS).unwrap_or(i64::MAX - 1)),
    }
}

/// 24:00:00 is a time in Postgres.
fn time(micros: i64) -> Result<i64, Fault> {
    if (0..=86_400_000_000).contains(&micros) { Ok(micros) } else { Err(Fault::MALFORMED) }
}

fn interval(bytes: &[u8]) -> Result<IntervalMonthDayNano, Fault> {
    let bytes: [u8; 16] = fixed(bytes)?;
    let (micros, rest) = bytes.split_first_chunk::<8>().ok_or(Fault::MALFORMED)?;
    let (Some(days), Some(months)) = (int32(rest, 0), int32(rest, 4)) else { return Err(Fault::MALFORMED) };
    let nanos =
        i64::from_be_bytes(*micros).checked_mul(1000).ok_or(Fault::new(Kind::DateRange, "interval out of range"))?;
    Ok(IntervalMonthDayNano::new(months, days, nanos))
}
