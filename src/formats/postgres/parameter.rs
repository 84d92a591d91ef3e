//! Bound parameters: a client's bytes to typed values. Text goes to the type's input function; the binary forms are read
//! here. Total over any bytes: a length or a count in them is believed only as far as bytes follow.

use std::sync::Arc;

use datafusion::common::ScalarValue;

use super::input::{self, Element, Elements};
use super::numeric::Numeric;
use super::types::{self, Shape, TypeRow};
use super::{Format, Style, calendar, mapping, spelt, utf8};
use crate::error::{Error, Kind, Result};

/// jsonb's and jsonpath's only version.
const VERSION: u8 = 1;

/// A parameter's bytes as a typed value (`None` = NULL of that type). `style` gives the zone of times without one.
///
/// The value's Arrow type is [`mapping::parameter_type`]'s, except that numerics take precision and scale from their
/// digits and arrays of more dimensions are nested lists.
pub fn decode_parameter(oid: u32, format: Format, bytes: Option<&[u8]>, style: &Style) -> Result<ScalarValue> {
    let Some(bytes) = bytes else {
        let null = ScalarValue::try_new_null(&mapping::parameter_type(oid)?);
        return null.map_err(|error| Error::internal("a type without NULL").with_source(error));
    };
    match format {
        Format::Text => input::value(oid, utf8::text(bytes)?, style),
        Format::Binary => binary(oid, bytes),
    }
}

fn binary(oid: u32, bytes: &[u8]) -> Result<ScalarValue> {
    let data_type = mapping::parameter_type(oid)?;
    // What is not ours to know (0, an enum) is sent as its text in either format.
    let Some(row) = types::by_oid(oid) else { return Ok(ScalarValue::Utf8(Some(utf8::text(bytes)?.to_owned()))) };
    let mut reader = Reader { rest: bytes };
    let value = match row.shape {
        Shape::Bool => ScalarValue::Boolean(Some(reader.chunk::<1>()? != [0])),
        Shape::Int2 => ScalarValue::Int16(Some(i16::from_be_bytes(reader.chunk()?))),
        Shape::Int4 => ScalarValue::Int32(Some(reader.int4()?)),
        Shape::Int8 => ScalarValue::Int64(Some(reader.int8()?)),
        Shape::Float4 => ScalarValue::Float32(Some(f32::from_be_bytes(reader.chunk()?))),
        Shape::Float8 => ScalarValue::Float64(Some(f64::from_be_bytes(reader.chunk()?))),
        Shape::Numeric => numeric(&mut reader)?.scalar(),
        // The one-byte type's empty string is a zero byte.
        Shape::Text if row.name == "char" && reader.rest == [0] => {
            reader.all();
            ScalarValue::Utf8(Some(String::new()))
        }
        Shape::Text => ScalarValue::Utf8(Some(input::string(row, utf8::text(reader.all())?)?)),
        Shape::Versioned => {
            let [version] = reader.chunk()?;
            if version != VERSION {
                return Err(bad(format!("unsupported {} version number {version}", row.name)));
            }
            ScalarValue::Utf8(Some(input::string(row, utf8::text(reader.all())?)?))
        }
        Shape::Bytes => ScalarValue::Binary(Some(reader.all().to_vec())),
        Shape::Date => ScalarValue::Date32(Some(date(reader.int4()?)?)),
        Shape::Time => ScalarValue::Time64Microsecond(Some(calendar::checked_time(reader.int8()?)?)),
        Shape::TimeTz => {
            let (micros, west) = (calendar::checked_time(reader.int8()?)?, reader.int4()?);
            if !(-57_599..=57_599).contains(&west) {
                return Err(Error::new(Kind::ZoneRange, "time zone displacement out of range"));
            }
            ScalarValue::FixedSizeBinary(12, Some(input::timetz_bytes((micros, west))))
        }
        Shape::Timestamp => ScalarValue::TimestampMicrosecond(Some(timestamp(reader.int8()?)?), None),
        Shape::TimestampTz => {
            ScalarValue::TimestampMicrosecond(Some(timestamp(reader.int8()?)?), Some(Arc::from("UTC")))
        }
        Shape::Interval => {
            let (micros, days, months) = (reader.int8()?, reader.int4()?, reader.int4()?);
            ScalarValue::IntervalMonthDayNano(Some(input::month_day_micro(months, days, micros)?))
        }
        Shape::Uuid => ScalarValue::FixedSizeBinary(16, Some(reader.chunk::<16>()?.to_vec())),
        Shape::Oid => ScalarValue::UInt32(Some(u32::from_be_bytes(reader.chunk()?))),
        Shape::Tid => ScalarValue::FixedSizeBinary(6, Some(reader.chunk::<6>()?.to_vec())),
        Shape::Xid8 | Shape::Lsn => ScalarValue::UInt64(Some(u64::from_be_bytes(reader.chunk()?))),
        Shape::Vector | Shape::Array => array(row, Elements::new(row.element, &data_type)?, &mut reader)?,
        Shape::Spelt => match spelt::receive(oid, reader.all()) {
            Some(text) => ScalarValue::Utf8(Some(text?)),
            None => return Err(not_received(oid)),
        },
        Shape::Record | Shape::Opaque => return Err(not_received(oid)),
    };
    if !reader.rest.is_empty() {
        return Err(bad("incorrect binary data format"));
    }
    Ok(value)
}

fn date(days: i32) -> Result<i32> {
    if days == i32::MAX || days == i32::MIN {
        return Ok(days);
    }
    let unix = days.checked_add(calendar::EPOCH_DAYS);
    let unix = unix.filter(|unix| (calendar::FIRST_DAY..calendar::END_DAY).contains(unix));
    unix.ok_or_else(|| Error::new(Kind::DateRange, "date out of range"))
}

fn timestamp(micros: i64) -> Result<i64> {
    if micros == i64::MAX || micros == i64::MIN {
        return Ok(micros);
    }
    // Arrow's end, counted from 1970, comes thirty years before PostgreSQL's, counted from 2000.
    let unix =
        micros.checked_add(calendar::EPOCH_MICROS).filter(|unix| (calendar::FIRST_MICROS..i64::MAX).contains(unix));
    unix.ok_or_else(|| Error::new(Kind::DateRange, "timestamp out of range"))
}

fn numeric(reader: &mut Reader<'_>) -> Result<Numeric> {
    let (value, rest) = Numeric::receive(reader.rest)?;
    reader.rest = rest;
    Ok(value)
}

/// Dimensions, flag for NULLs, oid of the elements, then size and lower bound by dimension, then the elements.
fn array(row: &TypeRow, mut elements: Elements, reader: &mut Reader<'_>) -> Result<ScalarValue> {
    let dimensions = reader.int4()?;
    let dimensions = usize::try_from(dimensions).ok().filter(|&count| count <= input::DIMENSIONS_MAX);
    let dimensions = dimensions.ok_or_else(|| bad("invalid number of dimensions"))?;
    if !matches!(reader.int4()?, 0 | 1) {
        return Err(bad("invalid array flags"));
    }
    let element = u32::from_be_bytes(reader.chunk()?);
    if element != row.element {
        let (found, expected) = (types::type_name(element, -1), types::type_name(row.element, -1));
        let message = format!("binary data has array element type {found} instead of expected {expected}");
        return Err(Error::new(Kind::TypeMismatch, message));
    }
    let mut sizes = Vec::with_capacity(dimensions);
    for _ in 0..dimensions {
        sizes.push(usize::try_from(reader.int4()?).map_err(|_| bad("invalid array size"))?);
        let _lower_bound = reader.int4()?;
    }
    let count =
        if sizes.is_empty() { Some(0) } else { sizes.iter().try_fold(1usize, |all, &size| all.checked_mul(size)) };
    // Every element takes four bytes at least, so a count beyond that is a lie and not worth room.
    let count = count.filter(|count| count.checked_mul(4).is_some_and(|bytes| bytes <= reader.rest.len()));
    let count = count.ok_or_else(short)?;
    for _ in 0..count {
        let length = reader.int4()?;
        if length == -1 {
            elements.push(None)?;
            continue;
        }
        let length = usize::try_from(length).map_err(|_| bad("invalid length of an array element"))?;
        let mut inner = Reader { rest: reader.take(length)? };
        elements.push(Some(if element == types::NUMERIC {
            let number = numeric(&mut inner)?;
            inner.end()?;
            Element::Numeric(number)
        } else {
            Element::Other(binary(element, inner.rest)?)
        }))?;
    }
    elements.list(&sizes)
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(Kind::InvalidBinary, message)
}

fn not_received(oid: u32) -> Error {
    let name = types::type_name(oid, -1);
    Error::unsupported(format!("a binary parameter of type {name}")).with_hint("Send it as text.")
}

fn short() -> Error {
    Error::new(Kind::Protocol, "insufficient data left in message")
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let split = self.rest.split_at_checked(length);
        let (taken, rest) = split.ok_or_else(short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N]> {
        let split = self.rest.split_first_chunk();
        let (chunk, rest) = split.ok_or_else(short)?;
        self.rest = rest;
        Ok(*chunk)
    }

    fn int4(&mut self) -> Result<i32> {
        self.chunk().map(i32::from_be_bytes)
    }

    fn int8(&mut self) -> Result<i64> {
        self.chunk().map(i64::from_be_bytes)
    }

    fn all(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    fn end(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(bad("incorrect binary data format")) }
    }
}
