//! One column, value by value, each in its binary or its text form: what a change of logical replication is made of. Text is
//! brought into the binary form first, so that both are judged in one place.

use std::fmt::Display;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use bytes::BytesMut;
use chrono_tz::Tz;
use datafusion::common::ScalarValue;

use super::column::{Column, EPOCH_DAYS, EPOCH_MICROS, Fault, element};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::numeric::Numeric;
use crate::formats::postgres::{DateOrder, DateOutput, DateStyle, Style, input};

const JSONB: u32 = 3802;
const NUMERIC: u32 = 1700;

/// Values of one type on their way into an Arrow array.
#[derive(Debug)]
pub(crate) struct Values {
    column: Column,
    data_type: DataType,
    oid: u32,
    style: Style,
    wire: BytesMut,
}

impl Values {
    /// `None`: values of `oid` are not read as this type.
    pub(crate) fn new(data_type: &DataType, oid: u32) -> Option<Self> {
        let column = Column::new(data_type, oid)?;
        let mut style = Style::of(Tz::UTC);
        style.date_style = DateStyle { output: DateOutput::Iso, order: DateOrder::Ymd };
        Some(Self { column, data_type: data_type.clone(), oid, style, wire: BytesMut::new() })
    }

    /// After an error nothing was appended.
    pub(crate) fn binary(&mut self, value: Option<&[u8]>) -> Result<()> {
        self.column.push(value).map_err(refused)
    }

    /// As [`Values::binary`], for what the type's output function wrote under DateStyle ISO, in UTC.
    pub(crate) fn text(&mut self, value: &[u8]) -> Result<()> {
        self.wire.clear();
        wire(self.oid, value, &self.style, &mut self.wire)?;
        self.column.push(Some(&self.wire)).map_err(refused)
    }

    /// The values so far; the next ones begin anew.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef> {
        self.column.finish(&self.data_type)
    }
}

fn refused(fault: Fault) -> Error {
    Error::new(fault.kind, fault.text)
}

/// A value's text → its binary form.
fn wire(oid: u32, value: &[u8], style: &Style, out: &mut BytesMut) -> Result<()> {
    let text = || std::str::from_utf8(value).map_err(|_| malformed("a value is not valid UTF-8"));
    match oid {
        16 => out.extend_from_slice(&[u8::from(value == b"t")]),
        21 => out.extend_from_slice(&number::<i16>(text()?)?.to_be_bytes()),
        23 => out.extend_from_slice(&number::<i32>(text()?)?.to_be_bytes()),
        20 => out.extend_from_slice(&number::<i64>(text()?)?.to_be_bytes()),
        26 | 28 | 29 => out.extend_from_slice(&number::<u32>(text()?)?.to_be_bytes()),
        700 => out.extend_from_slice(&input::float4(text()?)?.to_be_bytes()),
        701 => out.extend_from_slice(&input::float8(text()?)?.to_be_bytes()),
        NUMERIC => Numeric::parse(text()?)?.send(out),
        18 | 19 | 25 | 114 | 705 | 1042 | 1043 => out.extend_from_slice(value),
        JSONB => {
            out.extend_from_slice(&[1]);
            out.extend_from_slice(value);
        }
        _ => scalar(oid, &input::value(oid, text()?, style)?, out)?,
    }
    Ok(())
}

fn number<T: std::str::FromStr<Err: Display>>(text: &str) -> Result<T> {
    text.parse().map_err(|e: T::Err| malformed("a number").with_source(e.to_string()))
}

/// What an input function gave.
fn scalar(oid: u32, value: &ScalarValue, out: &mut BytesMut) -> Result<()> {
    match value {
        ScalarValue::Boolean(Some(v)) => out.extend_from_slice(&[u8::from(*v)]),
        ScalarValue::Int16(Some(v)) => out.extend_from_slice(&v.to_be_bytes()),
        ScalarValue::Int32(Some(v)) => out.extend_from_slice(&v.to_be_bytes()),
        ScalarValue::Int64(Some(v)) | ScalarValue::Time64Microsecond(Some(v)) => {
            out.extend_from_slice(&v.to_be_bytes());
        }
        ScalarValue::UInt32(Some(v)) => out.extend_from_slice(&v.to_be_bytes()),
        ScalarValue::UInt64(Some(v)) => out.extend_from_slice(&v.to_be_bytes()),
        ScalarValue::Float32(Some(v)) => out.extend_from_slice(&v.to_be_bytes()),
        ScalarValue::Float64(Some(v)) => out.extend_from_slice(&v.to_be_bytes()),
        ScalarValue::Date32(Some(v)) => {
            let days = if [i32::MIN, i32::MAX].contains(v) { Some(*v) } else { v.checked_sub(EPOCH_DAYS) };
            out.extend_from_slice(&days.ok_or_else(|| malformed("a date"))?.to_be_bytes());
        }
        ScalarValue::TimestampMicrosecond(Some(v), _) => {
            let micros = if [i64::MIN, i64::MAX].contains(v) { Some(*v) } else { v.checked_sub(EPOCH_MICROS) };
            out.extend_from_slice(&micros.ok_or_else(|| malformed("a moment"))?.to_be_bytes());
        }
        ScalarValue::Decimal128(Some(v), _, scale) => Numeric::of_i128(*v, *scale).send(out),
        ScalarValue::Decimal256(Some(v), _, scale) => Numeric::of_i256(*v, *scale).send(out),
        ScalarValue::Binary(Some(v)) if oid == NUMERIC => Numeric::decode(v).send(out),
        ScalarValue::Binary(Some(v)) | ScalarValue::FixedSizeBinary(_, Some(v)) => out.extend_from_slice(v),
        ScalarValue::Utf8(Some(v)) if oid == JSONB => {
            out.extend_from_slice(&[1]);
            out.extend_from_slice(v.as_bytes());
        }
        ScalarValue::Utf8(Some(v)) => out.extend_from_slice(v.as_bytes()),
        ScalarValue::IntervalMonthDayNano(Some(v)) => {
            out.extend_from_slice(&(v.nanoseconds / 1_000).to_be_bytes());
            out.extend_from_slice(&v.days.to_be_bytes());
            out.extend_from_slice(&v.months.to_be_bytes());
        }
        ScalarValue::List(list) => array(oid, list.value(0).as_ref(), out)?,
        _ => return Err(malformed("a value of its type")),
    }
    Ok(())
}

/// `array_send`, for one dimension: the column refuses what has more.
fn array(oid: u32, elements: &dyn Array, out: &mut BytesMut) -> Result<()> {
    let of = element(oid).ok_or_else(|| malformed("an array of its type"))?;
    if matches!(elements.data_type(), DataType::List(_)) {
        return Err(Error::unsupported("an array of more than one dimension"));
    }
    let length = i32::try_from(elements.len()).map_err(|_| malformed("an array's length"))?;
    let dimensions = i32::from(length > 0);
    for field in [dimensions, i32::from(elements.null_count() > 0)] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    out.extend_from_slice(&of.to_be_bytes());
    if length > 0 {
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&1i32.to_be_bytes());
    }
    let mut inner = BytesMut::new();
    for at in 0..elements.len() {
        if elements.is_null(at) {
            out.extend_from_slice(&(-1i32).to_be_bytes());
            continue;
        }
        inner.clear();
        scalar(of, &ScalarValue::try_from_array(elements, at)?, &mut inner)?;
        let length = i32::try_from(inner.len()).map_err(|_| malformed("an element's length"))?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&inner);
    }
    Ok(())
}

fn malformed(what: &str) -> Error {
    Error::new(Kind::InvalidText, format!("{what} cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::postgres::field;

    /// Text as the server writes it gives what its binary form gives.
    #[test]
    fn text_and_binary_come_to_the_same() {
        let micros = |v: i64| v.to_be_bytes().to_vec();
        let list = [0, 1, 0, 1, 23, 3, 1].map(|v: i32| v.to_be_bytes());
        let list = [&list[1][..], &list[0], &list[4], &list[5], &list[6]].concat();
        let elements = [&4i32.to_be_bytes()[..], &7i32.to_be_bytes()].concat();
        let elements = [&elements[..], &elements, &elements].concat();
        let cases: Vec<(u32, &str, Vec<u8>)> = vec![
            (16, "t", vec![1]),
            (21, "-7", vec![0xff, 0xf9]),
            (23, "7", vec![0, 0, 0, 7]),
            (20, "-1", vec![0xff; 8]),
            (701, "-Infinity", f64::NEG_INFINITY.to_be_bytes().to_vec()),
            (1082, "infinity", i32::MAX.to_be_bytes().to_vec()),
            (1082, "0044-03-15 BC", (-746_117i32).to_be_bytes().to_vec()),
            (1114, "2000-01-01 00:00:00.000001", micros(1)),
            (1184, "1999-12-31 23:59:59.999999+00", micros(-1)),
            (1184, "-infinity", micros(i64::MIN)),
            (1083, "24:00:00", micros(86_400_000_000)),
            (17, r"\x00ff", vec![0, 0xff]),
            (2950, "00000000-0000-0000-0000-0000000000ff", [&[0; 15][..], &[0xff]].concat()),
            (3802, r#"{"a": 1}"#, b"\x01{\"a\": 1}".to_vec()),
            (1007, "{7,7,7}", [list, elements].concat()),
        ];
        for (oid, text, binary) in cases {
            let data_type = field("c", oid, -1, true).unwrap().data_type().clone();
            let mut values = Values::new(&data_type, oid).unwrap();
            values.text(text.as_bytes()).unwrap();
            values.binary(Some(&binary)).unwrap();
            values.binary(None).unwrap();
            let array = values.finish().unwrap();
            assert_eq!(array.slice(0, 1).as_ref(), array.slice(1, 1).as_ref(), "{oid} {text}");
            assert!(array.is_valid(0) && array.is_null(2), "{oid} {text}");
        }
    }
}
