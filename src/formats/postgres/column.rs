//! Writers of a column's values: what to do with an array is decided once, then each value costs one indirect call. It
//! knows one column at a time and no message framing.

mod moment;
mod number;
mod text;

use arrow::array::{AnyDictionaryArray, Array, AsArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::*;
use bytes::BytesMut;
use chrono_tz::Tz;

use super::append::Append;
use super::mapping::Shown;
use super::types::{self, Shape};
use super::{DateStyle, Format, IntervalStyle, ObjectNames, SpeltBinary, Style, nested};
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

/// `oid` itself, whose aliases may be shown by names.
const OID_TYPE: u32 = 26;

/// What does not come from the data: format, session time zone and styles.
#[derive(Clone, Debug)]
pub(crate) struct Spelling {
    pub(crate) format: Format,
    pub(crate) tz: Tz,
    pub(crate) date_style: DateStyle,
    pub(crate) interval_style: IntervalStyle,
    pub(crate) extra_float_digits: i32,
    pub(crate) object_names: ObjectNames,
    pub(crate) spelt: SpeltBinary,
}

impl Spelling {
    pub(crate) fn new(format: Format, style: &Style) -> Self {
        let Style { time_zone, date_style, interval_style, extra_float_digits, spelt, .. } = *style;
        let object_names = style.object_names.clone();
        Self { format, tz: time_zone, date_style, interval_style, extra_float_digits, object_names, spelt }
    }
}

impl<'a> Column<'a> {
    pub(crate) fn new(array: &'a dyn Array, shown: &Shown, spelling: Spelling) -> Result<Self> {
        let put = writer(array, shown, spelling)?;
        let plain = matches!(
            shown.shape,
            Shape::Bool | Shape::Int2 | Shape::Int4 | Shape::Int8 | Shape::Float4 | Shape::Float8 | Shape::Numeric
        );
        let plain = plain
            || matches!(shown.shape, Shape::Uuid | Shape::Time | Shape::TimeTz | Shape::Xid8)
            || shown.oid == OID_TYPE;
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
pub(crate) fn check_binary(shown: &Shown, spelt: SpeltBinary) -> Result<()> {
    if shown.shape != Shape::Spelt || spelt.of_type(shown.oid).is_some() {
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
        check_binary(shown, spelling.spelt)?;
    }
    let put = match shown.shape {
        _ if array.data_type() == &DataType::Null => Some(boxed(|_, _| Ok(()))),
        Shape::Bool => number::boolean(array, spelling),
        Shape::Int2 | Shape::Int4 | Shape::Int8 | Shape::Oid | Shape::Xid8 | Shape::Lsn => {
            number::integer(array, shown, spelling)
        }
        Shape::Float4 | Shape::Float8 => number::float(array, spelling),
        Shape::Numeric => number::numeric(array, shown, spelling),
        Shape::Text | Shape::Versioned | Shape::Spelt => text::string(array, shown, spelling),
        Shape::Bytes | Shape::Uuid | Shape::Tid | Shape::TimeTz => text::bytes(array, shown, spelling),
        Shape::Date => moment::date(array, spelling),
        Shape::Time => moment::time(array, spelling),
        Shape::Timestamp | Shape::TimestampTz => moment::timestamp(array, shown, spelling),
        Shape::Interval => moment::interval(array, spelling),
        Shape::Vector | Shape::Array => return nested::list(array, shown, spelling),
        Shape::Record => return nested::record(array, spelling),
        Shape::Opaque => None,
    };
    put.ok_or_else(|| Error::internal(format!("{} read as oid {}", array.data_type(), shown.oid)))
}

fn boxed<'a>(put: impl Fn(usize, &mut BytesMut) -> Result<()> + 'a) -> Put<'a> {
    Box::new(put)
}

/// For a writer that cannot fail.
fn always<'a>(put: impl Fn(usize, &mut BytesMut) + 'a) -> Put<'a> {
    Box::new(move |row, out| {
        put(row, out);
        Ok(())
    })
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
