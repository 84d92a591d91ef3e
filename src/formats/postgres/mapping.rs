//! Arrow's types ⇄ PostgreSQL's: which oid a field shows, and which field holds a type. It touches no values.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};

use super::types::{self, FIRST_NORMAL_OID, HEADER, Shape, TypeRow};
use super::{OID, PgType, SCALE, TYPMOD};
use crate::error::{Error, Kind, Result};

/// Precision and scale of a numeric without either, unless the source knows better: 28 digits before the point. A value
/// that does not fit is an error, never rounded.
const BARE_NUMERIC: (u8, i8) = (38, 10);

/// A field as PostgreSQL sees it, and how its values are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) oid: u32,
    pub(crate) size: i16,
    pub(crate) typmod: i32,
    pub(crate) shape: Shape,
    /// A numeric that is shown without zeros at its end.
    pub(crate) trims: bool,
}

impl Shown {
    fn of(row: &TypeRow, typmod: i32) -> Self {
        Self { oid: row.oid, size: row.size, typmod, shape: row.shape, trims: false }
    }

    /// An enum or another type of a source: its values are text, in both formats.
    fn label(oid: u32) -> Self {
        Self { oid, size: 4, typmod: -1, shape: Shape::Text, trims: false }
    }
}

/// 0A000 naming the column where no PostgreSQL type stands for it.
pub fn pg_type(field: &Field) -> Result<PgType> {
    let shown = shown(field)?;
    Ok(PgType { oid: shown.oid, size: shown.size, typmod: shown.typmod })
}

/// The Arrow field (type and metadata) for a PostgreSQL type; `None` for a type we do not read, and for a type of the
/// source's own ([`enum_field`] is for its enums). Metadata is written only where Arrow's type alone does not tell.
///
/// A numeric without precision gets [`BARE_NUMERIC`]; a caller that knows its scale exchanges the data type and keeps
/// the metadata, whose modifier of -1 says that values are spelt without trailing zeros.
pub fn field(name: &str, oid: u32, typmod: i32, nullable: bool) -> Option<Field> {
    let data_type = data_type(oid, typmod)?;
    let plain = Field::new(name, data_type, nullable);
    if pg_type(&plain).is_ok_and(|found| found.oid == oid && found.typmod == typmod) {
        return Some(plain);
    }
    Some(plain.with_metadata([(OID.to_owned(), oid.to_string()), (TYPMOD.to_owned(), typmod.to_string())].into()))
}

/// The field for an enum of a source, whose oid no table of ours knows.
pub fn enum_field(name: &str, oid: u32, nullable: bool) -> Field {
    let labels = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    Field::new(name, labels, nullable).with_metadata([(OID.to_owned(), oid.to_string())].into())
}

/// Arrow type of a parameter oid; 42704 for one we do not know, text for 0 and 705. A numeric parameter's value has the
/// precision and scale of its own digits instead.
pub fn parameter_type(oid: u32) -> Result<DataType> {
    if oid == 0 || oid >= FIRST_NORMAL_OID {
        return Ok(DataType::Utf8);
    }
    let unknown = || Error::new(Kind::UndefinedObject, format!("type with OID {oid} does not exist"));
    let row = types::by_oid(oid).ok_or_else(unknown)?;
    data_type(oid, -1)
        .ok_or_else(|| Error::unsupported(format!("a parameter of type {}", types::type_name(row.oid, -1))))
}

/// Whether values of this type, sent in binary, are simply their text (so that a source may be asked for either).
pub fn text_is_binary(oid: u32) -> bool {
    types::by_oid(oid).is_some_and(|row| row.shape == Shape::Text)
}

pub(crate) fn shown(field: &Field) -> Result<Shown> {
    declared(field).or_else(|| natural(field)).ok_or_else(|| {
        Error::unsupported(format!("column \"{}\": its type", field.name())).with_source(field.data_type().to_string())
    })
}

/// A list's elements. The list's own oid names them; a field of their own counts where it says more.
pub(crate) fn shown_element(list: &Shown, item: &Field) -> Result<Shown> {
    if let Some(shown) = declared(item) {
        return Ok(shown);
    }
    let named = types::by_oid(list.oid).and_then(|row| types::by_oid(row.element));
    if let Some(row) = named.filter(|row| carries(row.shape, item.data_type())) {
        return Ok(settle(row, list.typmod, item));
    }
    shown(item)
}

/// What the metadata says, if values of the data type can be of that type. A cast in a plan keeps the metadata of what
/// it was given, so a stale oid must not win over the data. A modifier counts only beside an oid.
fn declared(field: &Field) -> Option<Shown> {
    let number = |key| field.metadata().get(key).and_then(|text| text.parse::<i64>().ok());
    let oid = u32::try_from(number(OID)?).ok()?;
    let typmod = number(TYPMOD).and_then(|n| i32::try_from(n).ok()).unwrap_or(-1);
    let Some(row) = types::by_oid(oid) else {
        return (oid >= FIRST_NORMAL_OID && is_string(field.data_type())).then(|| Shown::label(oid));
    };
    let held = match row.shape {
        Shape::Array | Shape::Vector => types::by_oid(row.element)
            .zip(leaf(field.data_type()))
            .is_some_and(|(element, leaf)| carries(element.shape, leaf)),
        shape => carries(shape, field.data_type()),
    };
    held.then(|| settle(row, typmod, field))
}

/// Digits of a numeric are those of its Arrow type; the modifier only tells whether the scale is fixed.
fn settle(row: &TypeRow, typmod: i32, field: &Field) -> Shown {
    match (row.shape, typmod, decimal(field.data_type())) {
        (Shape::Numeric, 0.., Some((precision, scale))) => Shown::of(row, numeric_typmod(precision, scale)),
        (Shape::Numeric, _, Some(_)) => {
            Shown { trims: !field.metadata().contains_key(SCALE), ..Shown::of(row, typmod) }
        }
        _ => Shown::of(row, typmod),
    }
}

/// The type that stands for an Arrow type without metadata.
fn natural(field: &Field) -> Option<Shown> {
    let mut typmod = -1;
    let oid = match field.data_type() {
        DataType::Boolean => types::BOOL,
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => types::INT2,
        DataType::Int32 | DataType::UInt16 => types::INT4,
        // Unsigned results are counts and positions, bigint in pg_proc. An oid always says so in its metadata, so a
        // UInt32 without is a number too, and bigint is the smallest that holds it.
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => types::INT8,
        DataType::Float16 | DataType::Float32 => types::FLOAT4,
        DataType::Float64 => types::FLOAT8,
        // An untyped NULL resolves to text, as in PostgreSQL's output.
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => types::TEXT,
        DataType::FixedSizeBinary(16) if field.extension_type_name() == Some("arrow.uuid") => types::UUID,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => types::BYTEA,
        DataType::Date32 | DataType::Date64 => types::DATE,
        DataType::Time32(_) | DataType::Time64(_) => types::TIME,
        DataType::Timestamp(_, None) => types::TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => types::TIMESTAMPTZ,
        DataType::Interval(_) | DataType::Duration(_) => types::INTERVAL,
        DataType::Struct(_) => types::RECORD,
        DataType::Map(_, _) => types::RECORD_ARRAY,
        DataType::Dictionary(_, values) => return natural(&Field::new(field.name(), values.as_ref().clone(), true)),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            let element = declared(item).or_else(|| natural(item))?;
            // A list of lists is an array of more dimensions, which has the same type.
            if let Some(array) = types::by_oid(element.oid).filter(|row| row.shape == Shape::Array) {
                return Some(Shown::of(array, element.typmod));
            }
            typmod = element.typmod;
            types::by_oid(element.oid).map(|row| row.array).filter(|&oid| oid != 0)?
        }
        other => {
            let (precision, scale) = decimal(other)?;
            typmod = numeric_typmod(precision, scale);
            types::NUMERIC
        }
    };
    types::by_oid(oid).map(|row| Shown::of(row, typmod))
}

/// Whether values of `data_type` are values of a type of this shape. Strict on width: an int2 read from Int64 would be a
/// stale declaration.
fn carries(shape: Shape, data_type: &DataType) -> bool {
    if let DataType::Dictionary(_, values) = data_type {
        return carries(shape, values);
    }
    match shape {
        Shape::Bool => matches!(data_type, DataType::Boolean),
        Shape::Int2 => matches!(data_type, DataType::Int16 | DataType::Int8 | DataType::UInt8),
        Shape::Int4 => matches!(data_type, DataType::Int32 | DataType::UInt16),
        Shape::Int8 => matches!(data_type, DataType::Int64 | DataType::UInt32 | DataType::UInt64),
        Shape::Float4 => matches!(data_type, DataType::Float32 | DataType::Float16),
        Shape::Float8 => matches!(data_type, DataType::Float64),
        // as decimals, or as `numeric`'s ordered bytes
        Shape::Numeric => decimal(data_type).is_some() || *data_type == DataType::Binary,
        Shape::Text | Shape::Versioned | Shape::Spelt => is_string(data_type),
        Shape::Bytes => {
            matches!(
                data_type,
                DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
            )
        }
        Shape::Date => matches!(data_type, DataType::Date32 | DataType::Date64),
        Shape::Time => matches!(data_type, DataType::Time32(_) | DataType::Time64(_)),
        Shape::TimeTz => matches!(data_type, DataType::FixedSizeBinary(12)),
        Shape::Timestamp => matches!(data_type, DataType::Timestamp(_, None)),
        Shape::TimestampTz => matches!(data_type, DataType::Timestamp(_, Some(_))),
        Shape::Interval => matches!(data_type, DataType::Interval(_) | DataType::Duration(_)),
        Shape::Uuid => matches!(data_type, DataType::FixedSizeBinary(16)),
        Shape::Oid => matches!(data_type, DataType::UInt32),
        Shape::Tid => matches!(data_type, DataType::FixedSizeBinary(6)),
        Shape::Xid8 | Shape::Lsn => matches!(data_type, DataType::UInt64),
        Shape::Record => matches!(data_type, DataType::Struct(_)),
        Shape::Vector | Shape::Array => leaf(data_type).is_some(),
        Shape::Opaque => false,
    }
}

fn is_string(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_string(values),
        _ => false,
    }
}

/// The innermost type of nested lists; `None` where it is no list.
fn leaf(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Some(leaf(item.data_type()).unwrap_or(item.data_type()))
        }
        _ => None,
    }
}

/// Precision and scale; `None` for a negative scale, which has no digits to show after the point.
fn decimal(data_type: &DataType) -> Option<(u8, i8)> {
    match *data_type {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale)
            if scale >= 0 =>
        {
            Some((precision, scale))
        }
        _ => None,
    }
}

fn numeric_typmod(precision: u8, scale: i8) -> i32 {
    ((i32::from(precision) << 16) | i32::from(scale)) + HEADER
}

fn data_type(oid: u32, typmod: i32) -> Option<DataType> {
    let row = types::by_oid(oid)?;
    Some(match row.shape {
        Shape::Bool => DataType::Boolean,
        Shape::Int2 => DataType::Int16,
        Shape::Int4 => DataType::Int32,
        Shape::Int8 => DataType::Int64,
        Shape::Float4 => DataType::Float32,
        Shape::Float8 => DataType::Float64,
        Shape::Numeric => numeric_type(typmod)?,
        Shape::Text | Shape::Versioned | Shape::Spelt => DataType::Utf8,
        Shape::Bytes => DataType::Binary,
        Shape::Date => DataType::Date32,
        Shape::Time => DataType::Time64(TimeUnit::Microsecond),
        Shape::TimeTz => DataType::FixedSizeBinary(12),
        Shape::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        Shape::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))),
        Shape::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
        Shape::Uuid => DataType::FixedSizeBinary(16),
        Shape::Oid => DataType::UInt32,
        Shape::Tid => DataType::FixedSizeBinary(6),
        Shape::Xid8 | Shape::Lsn => DataType::UInt64,
        // A list of vectors would look like an array of two dimensions.
        Shape::Array if types::by_oid(row.element).is_some_and(|element| element.shape == Shape::Vector) => {
            return None;
        }
        Shape::Vector | Shape::Array => DataType::new_list(data_type(row.element, typmod)?, true),
        Shape::Record | Shape::Opaque => return None,
    })
}

/// PostgreSQL allows a negative scale (digits before the point that are zero) and one above the precision (zeros behind
/// it); Arrow's digits then cover those zeros. `None` beyond 76 digits.
fn numeric_type(typmod: i32) -> Option<DataType> {
    if typmod < HEADER {
        return Some(DataType::Decimal128(BARE_NUMERIC.0, BARE_NUMERIC.1));
    }
    let (precision, scale) = types::numeric_modifier(typmod);
    let digits = if scale < 0 { precision - scale } else { precision.max(scale) };
    let (digits, scale) = (u8::try_from(digits).ok()?, i8::try_from(scale.max(0)).ok()?);
    match digits {
        1..=38 => Some(DataType::Decimal128(digits, scale)),
        39..=76 => Some(DataType::Decimal256(digits, scale)),
        _ => None,
    }
}
