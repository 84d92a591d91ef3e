//! Writers of a column's values: what to do with an array is decided once, then each value costs one indirect call. It
//! knows one column at a time and no message framing.

use arrow::array::*;
use arrow::buffer::NullBuffer;
use arrow::datatypes::*;
use bytes::{BufMut, BytesMut};
use chrono_tz::Tz;

use super::calendar::{self, EPOCH_MICROS, Zone};
use super::mapping::Shown;
use super::number::{self, Decimal};
use super::types::{self, Shape};
use super::{Format, nested};
use crate::error::{Error, Kind, Result};

/// The longest value: PostgreSQL's own limit for one field.
pub(crate) const VALUE_BYTES_MAX: usize = 0x3fff_ffff;

/// Appends the value of a row that is not NULL.
pub(crate) type Put<'a> = Box<dyn Fn(usize, &mut BytesMut) -> Result<()> + 'a>;

/// One array with the way its values are written.
pub(crate) struct Column<'a> {
    nulls: Option<NullBuffer>,
    pub(crate) put: Put<'a>,
    /// The text needs no quotes inside an array or a record, whatever the value.
    pub(crate) plain: bool,
}

/// What does not come from the data: format and session time zone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spelling {
    pub(crate) format: Format,
    pub(crate) tz: Tz,
}

impl<'a> Column<'a> {
    pub(crate) fn new(array: &'a dyn Array, shown: &Shown, spelling: Spelling) -> Result<Self> {
        let put = writer(array, shown, spelling)?;
        let plain = matches!(
            shown.shape,
            Shape::Bool | Shape::Int2 | Shape::Int4 | Shape::Int8 | Shape::Float4 | Shape::Float8 | Shape::Numeric
        );
        let plain = plain || matches!(shown.shape, Shape::Uuid | Shape::Time | Shape::TimeTz | Shape::Oid | Shape::Xid8);
        Ok(Self { nulls: array.logical_nulls(), put, plain })
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// The value behind its length, or -1 for NULL: a field of a DataRow, an element of a binary array.
    pub(crate) fn framed(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        if self.is_null(row) {
            out.put_i32(-1);
            return Ok(());
        }
        let at = out.len();
        out.put_i32(0);
        (self.put)(row, out)?;
        let length = out.len() - at - 4;
        check_length(length)?;
        out[at..at + 4].copy_from_slice(&(length as i32).to_be_bytes());
        Ok(())
    }
}

/// 54000 beyond what a field can hold.
pub(crate) fn check_length(length: usize) -> Result<()> {
    if length <= VALUE_BYTES_MAX {
        return Ok(());
    }
    Err(Error::new(Kind::TooLarge, format!("a value of {length} bytes is longer than {VALUE_BYTES_MAX}")))
}

/// 0A000 for types whose binary form we do not speak; said before the first row rather than at it.
pub(crate) fn check_binary(shown: &Shown) -> Result<()> {
    if shown.shape != Shape::Spelt {
        return Ok(());
    }
    let name = types::type_name(shown.oid, -1);
    Err(Error::unsupported(format!("binary format of type {name}")).with_hint("Ask for the text format."))
}

fn writer<'a>(array: &'a dyn Array, shown: &Shown, spelling: Spelling) -> Result<Put<'a>> {
    if let Some(dictionary) = array.as_any_dictionary_opt() {
        return dictionary_writer(dictionary, shown, spelling);
    }
    if spelling.format == Format::Binary {
        check_binary(shown)?;
    }
    let put = match shown.shape {
        _ if array.data_type() == &DataType::Null => Some(boxed(|_, _| Ok(()))),
        Shape::Bool => boolean(array, spelling),
        Shape::Int2 | Shape::Int4 | Shape::Int8 | Shape::Oid | Shape::Xid8 | Shape::Lsn => integer(array, shown, spelling),
        Shape::Float4 | Shape::Float8 => float(array, spelling),
        Shape::Numeric => numeric(array, shown, spelling),
        Shape::Text | Shape::Versioned | Shape::Spelt => string(array, shown, spelling),
        Shape::Bytes | Shape::Uuid | Shape::Tid | Shape::TimeTz => bytes(array, shown, spelling),
        Shape::Date => date(array, spelling),
        Shape::Time => time(array, spelling),
        Shape::Timestamp | Shape::TimestampTz => timestamp(array, shown, spelling),
        Shape::Interval => interval(array, spelling),
        Shape::Vector | Shape::Array => return nested::list(array, shown, spelling),
        Shape::Record => return nested::record(array, spelling),
        Shape::Opaque => None,
    };
    put.ok_or_else(|| Error::internal(format!("{} read as oid {}", array.data_type(), shown.oid)))
}

fn boxed<'a>(put: impl Fn(usize, &mut BytesMut) -> Result<()> + 'a) -> Put<'a> {
    Box::new(put)
}

/// Keys lead to values written by the values' own writer.
fn dictionary_writer<'a>(array: &'a dyn AnyDictionaryArray, shown: &Shown, spelling: Spelling) -> Result<Put<'a>> {
    let values = writer(array.values().as_ref(), shown, spelling)?;
    macro_rules! by_key {
        ($($key:ty),*) => {
            match array.keys().data_type() {
                $(t if *t == <$key>::DATA_TYPE => {
                    let keys = array.keys().as_primitive::<$key>().values().as_ref();
                    Ok(boxed(move |row, out| values(usize::try_from(keys[row]).unwrap_or(usize::MAX), out)))
                })*
                other => Err(Error::internal(format!("dictionary keys of type {other}"))),
            }
        };
    }
    by_key!(Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type)
}

fn boolean<'a>(array: &'a dyn Array, spelling: Spelling) -> Option<Put<'a>> {
    let values = array.as_boolean_opt()?;
    Some(match spelling.format {
        Format::Text => boxed(|row, out| Ok(out.put_u8(if values.value(row) { b't' } else { b'f' }))),
        Format::Binary => boxed(|row, out| Ok(out.put_u8(u8::from(values.value(row))))),
    })
}

/// The width on the wire is the PostgreSQL type's, whatever Arrow's.
fn integer<'a>(array: &'a dyn Array, shown: &Shown, spelling: Spelling) -> Option<Put<'a>> {
    match array.data_type() {
        DataType::Int8 => signed::<Int8Type>(array, shown, spelling),
        DataType::Int16 => signed::<Int16Type>(array, shown, spelling),
        DataType::Int32 => signed::<Int32Type>(array, shown, spelling),
        DataType::Int64 => signed::<Int64Type>(array, shown, spelling),
        DataType::UInt8 => signed::<UInt8Type>(array, shown, spelling),
        DataType::UInt16 => signed::<UInt16Type>(array, shown, spelling),
        DataType::UInt32 => signed::<UInt32Type>(array, shown, spelling),
        DataType::UInt64 => unsigned(array, shown, spelling),
        _ => None,
    }
}

fn signed<'a, T>(array: &'a dyn Array, shown: &Shown, spelling: Spelling) -> Option<Put<'a>>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i64> + itoa::Integer,
{
    let values: &[T::Native] = array.as_primitive_opt::<T>()?.values();
    if shown.oid == types::REGTYPE && spelling.format == Format::Text {
        return Some(boxed(|row, out| Ok(regtype(values[row].into(), out))));
    }
    Some(match (spelling.format, shown.shape) {
        (Format::Text, _) => boxed(|row, out| Ok(number::integer(values[row], out))),
        (Format::Binary, Shape::Int2) => boxed(|row, out| Ok(out.put_i16(values[row].into() as i16))),
        (Format::Binary, Shape::Int8) => boxed(|row, out| Ok(out.put_i64(values[row].into()))),
        (Format::Binary, _) => boxed(|row, out| Ok(out.put_u32(values[row].into() as u32))),
    })
}

fn unsigned<'a>(array: &'a dyn Array, shown: &Shown, spelling: Spelling) -> Option<Put<'a>> {
    let values: &[u64] = array.as_primitive_opt::<UInt64Type>()?.values();
    Some(match (shown.shape, spelling.format) {
        (Shape::Lsn, Format::Text) => boxed(|row, out| {
            let value = values[row];
            Ok(out.extend_from_slice(format!("{:X}/{:X}", value >> 32, value & 0xffff_ffff).as_bytes()))
        }),
        (Shape::Int8, format) => boxed(move |row, out| {
            let out_of_range = |_| Error::new(Kind::NumericRange, "bigint out of range");
            let value = i64::try_from(values[row]).map_err(out_of_range)?;
            match format {
                Format::Text => number::integer(value, out),
                Format::Binary => out.put_i64(value),
            }
            Ok(())
        }),
        (_, Format::Text) => boxed(|row, out| Ok(number::integer(values[row], out))),
        (_, Format::Binary) => boxed(|row, out| Ok(out.put_u64(values[row]))),
    })
}

/// Names of PostgreSQL's own types; an oid that is not one is shown as a number, as PostgreSQL does. The other `reg…`
/// types have names only a catalog knows.
fn regtype(oid: i64, out: &mut BytesMut) {
    match u32::try_from(oid).ok().filter(|&oid| oid == 0 || types::by_oid(oid).is_some()) {
        Some(oid) => out.extend_from_slice(types::type_name(oid, -1).as_bytes()),
        None => number::integer(oid, out),
    }
}

fn float<'a>(array: &'a dyn Array, spelling: Spelling) -> Option<Put<'a>> {
    Some(match (array.data_type(), spelling.format) {
        (DataType::Float16, Format::Text) => {
            let values = array.as_primitive_opt::<Float16Type>()?;
            boxed(|row, out| Ok(number::float4(values.value(row).to_f32(), out)))
        }
        (DataType::Float16, Format::Binary) => {
            let values = array.as_primitive_opt::<Float16Type>()?;
            boxed(|row, out| Ok(out.put_f32(values.value(row).to_f32())))
        }
        (DataType::Float32, format) => {
            let values: &[f32] = array.as_primitive_opt::<Float32Type>()?.values();
            match format {
                Format::Text => boxed(|row, out| Ok(number::float4(values[row], out))),
                Format::Binary => boxed(|row, out| Ok(out.put_f32(values[row]))),
            }
        }
        (_, format) => {
            let values: &[f64] = array.as_primitive_opt::<Float64Type>()?.values();
            match format {
                Format::Text => boxed(|row, out| Ok(number::float8(values[row], out))),
                Format::Binary => boxed(|row, out| Ok(out.put_f64(values[row]))),
            }
        }
    })
}

fn numeric<'a>(array: &'a dyn Array, shown: &Shown, spelling: Spelling) -> Option<Put<'a>> {
    let bare = shown.typmod < 0;
    let write = move |decimal: Decimal, out: &mut BytesMut| {
        let decimal = if bare { decimal.trimmed() } else { decimal };
        match spelling.format {
            Format::Text => decimal.text(out),
            Format::Binary => decimal.binary(out),
        }
        Ok(())
    };
    Some(match *array.data_type() {
        DataType::Decimal32(_, scale) => {
            let (values, scale) = (array.as_primitive_opt::<Decimal32Type>()?, usize::try_from(scale).ok()?);
            boxed(move |row, out| write(Decimal::small(values.value(row).into(), scale), out))
        }
        DataType::Decimal64(_, scale) => {
            let (values, scale) = (array.as_primitive_opt::<Decimal64Type>()?, usize::try_from(scale).ok()?);
            boxed(move |row, out| write(Decimal::small(values.value(row).into(), scale), out))
        }
        DataType::Decimal128(_, scale) => {
            let (values, scale) = (array.as_primitive_opt::<Decimal128Type>()?, usize::try_from(scale).ok()?);
            boxed(move |row, out| write(Decimal::small(values.value(row), scale), out))
        }
        DataType::Decimal256(_, scale) => {
            let (values, scale) = (array.as_primitive_opt::<Decimal256Type>()?, usize::try_from(scale).ok()?);
            boxed(move |row, out| write(Decimal::large(values.value(row), scale), out))
        }
        _ => return None,
    })
}

fn string<'a>(array: &'a dyn Array, shown: &Shown, spelling: Spelling) -> Option<Put<'a>> {
    if spelling.format == Format::Binary && shown.shape == Shape::Spelt {
        return None;
    }
    // character(n) is shown with its blanks; jsonb in binary stands behind its version.
    let width = match (shown.oid, shown.typmod) {
        (types::BPCHAR, types::HEADER..) => usize::try_from(shown.typmod - types::HEADER).ok()?,
        _ => 0,
    };
    let version = spelling.format == Format::Binary && shown.shape == Shape::Versioned;
    let one_byte = spelling.format == Format::Binary && shown.oid == types::CHAR;
    let write = move |value: &str, out: &mut BytesMut| {
        check_length(value.len())?;
        if one_byte && value.is_empty() {
            out.put_u8(0);
        }
        if version {
            out.put_u8(1);
        }
        out.extend_from_slice(value.as_bytes());
        if width > 0 {
            out.put_bytes(b' ', width.saturating_sub(value.chars().count()));
        }
        Ok(())
    };
    Some(match array.data_type() {
        DataType::Utf8 => {
            let values = array.as_string_opt::<i32>()?;
            boxed(move |row, out| write(values.value(row), out))
        }
        DataType::LargeUtf8 => {
            let values = array.as_string_opt::<i64>()?;
            boxed(move |row, out| write(values.value(row), out))
        }
        _ => {
            let values = array.as_string_view_opt()?;
            boxed(move |row, out| write(values.value(row), out))
        }
    })
}

fn bytes<'a>(array: &'a dyn Array, shown: &Shown, spelling: Spelling) -> Option<Put<'a>> {
    let write: fn(&[u8], &mut BytesMut) -> Result<()> = match (spelling.format, shown.shape) {
        (Format::Text, Shape::Uuid) => uuid_text,
        (Format::Text, Shape::Tid) => tid_text,
        (Format::Text, Shape::TimeTz) => timetz_text,
        (Format::Text, _) => bytea_text,
        (Format::Binary, _) => raw,
    };
    Some(match array.data_type() {
        DataType::Binary => {
            let values = array.as_binary_opt::<i32>()?;
            boxed(move |row, out| write(values.value(row), out))
        }
        DataType::LargeBinary => {
            let values = array.as_binary_opt::<i64>()?;
            boxed(move |row, out| write(values.value(row), out))
        }
        DataType::BinaryView => {
            let values = array.as_binary_view_opt()?;
            boxed(move |row, out| write(values.value(row), out))
        }
        _ => {
            let values = array.as_fixed_size_binary_opt()?;
            boxed(move |row, out| write(values.value(row), out))
        }
    })
}

fn raw(value: &[u8], out: &mut BytesMut) -> Result<()> {
    check_length(value.len())?;
    out.extend_from_slice(value);
    Ok(())
}

fn hex(bytes: &[u8], out: &mut BytesMut) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

fn bytea_text(value: &[u8], out: &mut BytesMut) -> Result<()> {
    check_length(value.len().saturating_mul(2).saturating_add(2))?;
    out.reserve(2 * value.len() + 2);
    out.extend_from_slice(b"\\x");
    hex(value, out);
    Ok(())
}

fn uuid_text(value: &[u8], out: &mut BytesMut) -> Result<()> {
    let value: &[u8; 16] = value.try_into().map_err(|_| Error::internal("a uuid that is not 16 bytes long"))?;
    let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
    out.extend_from_slice(uuid::Uuid::from_bytes_ref(value).hyphenated().encode_lower(&mut buffer).as_bytes());
    Ok(())
}

fn tid_text(value: &[u8], out: &mut BytesMut) -> Result<()> {
    let [a, b, c, d, e, f] = *value else { return Err(Error::internal("a tid that is not 6 bytes long")) };
    out.put_u8(b'(');
    number::integer(u32::from_be_bytes([a, b, c, d]), out);
    out.put_u8(b',');
    number::integer(u16::from_be_bytes([e, f]), out);
    out.put_u8(b')');
    Ok(())
}

fn timetz_text(value: &[u8], out: &mut BytesMut) -> Result<()> {
    let (Some(micros), Some(west)) = (value.first_chunk::<8>(), value.last_chunk::<4>()) else {
        return Err(Error::internal("a timetz that is not 12 bytes long"));
    };
    calendar::timetz(i64::from_be_bytes(*micros), i32::from_be_bytes(*west), out)
}

fn date<'a>(array: &'a dyn Array, spelling: Spelling) -> Option<Put<'a>> {
    let write = move |days: i32, out: &mut BytesMut| match spelling.format {
        Format::Text => calendar::date(days, out),
        Format::Binary => Ok(out.put_i32(calendar::days_since_2000(days)?)),
    };
    Some(match array.data_type() {
        DataType::Date64 => {
            let values: &[i64] = array.as_primitive_opt::<Date64Type>()?.values();
            let out_of_range = |_| Error::new(Kind::DateRange, "date out of range");
            boxed(move |row, out| write(i32::try_from(values[row].div_euclid(86_400_000)).map_err(out_of_range)?, out))
        }
        _ => {
            let values: &[i32] = array.as_primitive_opt::<Date32Type>()?.values();
            boxed(move |row, out| write(values[row], out))
        }
    })
}

fn time<'a>(array: &'a dyn Array, spelling: Spelling) -> Option<Put<'a>> {
    let write = move |micros: i64, out: &mut BytesMut| match spelling.format {
        Format::Text => calendar::time(micros, out),
        Format::Binary => Ok(out.put_i64(calendar::checked_time(micros)?)),
    };
    Some(match array.data_type() {
        DataType::Time32(TimeUnit::Second) => {
            let values: &[i32] = array.as_primitive_opt::<Time32SecondType>()?.values();
            boxed(move |row, out| write(i64::from(values[row]) * 1_000_000, out))
        }
        DataType::Time32(_) => {
            let values: &[i32] = array.as_primitive_opt::<Time32MillisecondType>()?.values();
            boxed(move |row, out| write(i64::from(values[row]) * 1_000, out))
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            let values: &[i64] = array.as_primitive_opt::<Time64MicrosecondType>()?.values();
            boxed(move |row, out| write(values[row], out))
        }
        _ => {
            let values: &[i64] = array.as_primitive_opt::<Time64NanosecondType>()?.values();
            boxed(move |row, out| write(values[row].div_euclid(1_000), out))
        }
    })
}

fn timestamp<'a>(array: &'a dyn Array, shown: &Shown, spelling: Spelling) -> Option<Put<'a>> {
    let DataType::Timestamp(unit, _) = array.data_type() else { return None };
    let (values, unit) = (ticks(array, *unit)?, *unit);
    let zone = (shown.shape == Shape::TimestampTz).then(|| Zone::new(spelling.tz));
    Some(match spelling.format {
        Format::Text => boxed(move |row, out| calendar::timestamp(instant(values[row], unit)?, zone.as_ref(), out)),
        Format::Binary => boxed(move |row, out| {
            let micros = instant(values[row], unit)?;
            calendar::check_timestamp(micros)?;
            // The infinities are the same numbers on both sides.
            let finite = micros != i64::MAX && micros != i64::MIN;
            Ok(out.put_i64(if finite { micros - EPOCH_MICROS } else { micros }))
        }),
    })
}

fn ticks(array: &dyn Array, unit: TimeUnit) -> Option<&[i64]> {
    Some(match unit {
        TimeUnit::Second => array.as_primitive_opt::<TimestampSecondType>()?.values(),
        TimeUnit::Millisecond => array.as_primitive_opt::<TimestampMillisecondType>()?.values(),
        TimeUnit::Microsecond => array.as_primitive_opt::<TimestampMicrosecondType>()?.values(),
        TimeUnit::Nanosecond => array.as_primitive_opt::<TimestampNanosecondType>()?.values(),
    })
}

/// Microseconds; nanoseconds lose their last digits downwards. Only microseconds know infinities.
fn instant(ticks: i64, unit: TimeUnit) -> Result<i64> {
    let micros = match unit {
        TimeUnit::Second => ticks.checked_mul(1_000_000),
        TimeUnit::Millisecond => ticks.checked_mul(1_000),
        TimeUnit::Microsecond => Some(ticks),
        TimeUnit::Nanosecond => Some(ticks.div_euclid(1_000)),
    };
    micros.ok_or_else(|| Error::new(Kind::DateRange, "timestamp out of range"))
}

fn interval<'a>(array: &'a dyn Array, spelling: Spelling) -> Option<Put<'a>> {
    let write = move |months: i32, days: i32, micros: i64, out: &mut BytesMut| {
        match spelling.format {
            Format::Text => calendar::interval(months, days, micros, out),
            Format::Binary => {
                out.put_i64(micros);
                out.put_i32(days);
                out.put_i32(months);
            }
        }
        Ok(())
    };
    Some(match array.data_type() {
        DataType::Interval(IntervalUnit::YearMonth) => {
            let values: &[i32] = array.as_primitive_opt::<IntervalYearMonthType>()?.values();
            boxed(move |row, out| write(values[row], 0, 0, out))
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            let values = array.as_primitive_opt::<IntervalDayTimeType>()?;
            boxed(move |row, out| {
                let value = values.value(row);
                write(0, value.days, i64::from(value.milliseconds) * 1_000, out)
            })
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let values = array.as_primitive_opt::<IntervalMonthDayNanoType>()?;
            boxed(move |row, out| {
                let value = values.value(row);
                write(value.months, value.days, value.nanoseconds / 1_000, out)
            })
        }
        DataType::Duration(unit) => {
            let (values, unit) = (spans(array, *unit)?, *unit);
            // A duration comes from a difference of timestamps, which PostgreSQL splits into days and time.
            boxed(move |row, out| {
                let micros = instant(values[row], unit)?;
                let out_of_range = |_| Error::new(Kind::DateRange, "interval out of range");
                write(0, i32::try_from(micros / calendar::DAY).map_err(out_of_range)?, micros % calendar::DAY, out)
            })
        }
        _ => return None,
    })
}

fn spans(array: &dyn Array, unit: TimeUnit) -> Option<&[i64]> {
    Some(match unit {
        TimeUnit::Second => array.as_primitive_opt::<DurationSecondType>()?.values(),
        TimeUnit::Millisecond => array.as_primitive_opt::<DurationMillisecondType>()?.values(),
        TimeUnit::Microsecond => array.as_primitive_opt::<DurationMicrosecondType>()?.values(),
        TimeUnit::Nanosecond => array.as_primitive_opt::<DurationNanosecondType>()?.values(),
    })
}
