//! A column being built: values as records give them are brought to the column's type here, exactly or not at all. An
//! error leaves the column as it was, but for a list. It knows no record and no row.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, i256};
use num_bigint::BigInt;

use super::given::{Given, How, Problem, Unit};
use super::types::{self, Ty, oid};
use super::{decimal, moment, text};
use crate::error::{Error, Result};
use crate::formats::postgres::{self, Style, input};

pub(super) const WRONG_TYPE: Problem = "has another type than the column";
pub(super) const TOO_LARGE: Problem = "is out of the type's range";
pub(super) const TOO_FINE: Problem = "has more digits after the point than the column";
const NOT_READ: Problem = "is not spelt as a value of the column's type";

#[derive(Debug)]
pub(super) struct Sink {
    ty: Ty,
    kind: Kind,
    rows: usize,
}

#[derive(Debug)]
enum Kind {
    Bool(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Oid(UInt32Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal128(Decimal128Builder, u8, i8),
    Decimal256(Decimal256Builder, u8, i8),
    /// Of any scale, as `postgres::numeric`'s bytes.
    Numeric(BinaryBuilder),
    Text(StringBuilder),
    /// json and jsonb.
    Document(StringBuilder),
    /// bit and varbit: zeros and ones.
    Bits(StringBuilder),
    /// point and other shapes.
    Shape(StringBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    TimeTz(FixedSizeBinaryBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    TimestampTz(TimestampMicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
    Uuid(FixedSizeBinaryBuilder),
    List(Box<List>),
}

#[derive(Debug)]
struct List {
    elements: Sink,
    field: Arc<Field>,
    offsets: Vec<i32>,
    valid: Vec<bool>,
}

impl Sink {
    /// `None`: records are not read as this type.
    pub(super) fn new(field: &Field) -> Option<Self> {
        let ty = types::of_field(field).ok()?;
        let data_type = field.data_type().clone();
        let kind = match (&data_type, ty.oid) {
            (DataType::Boolean, _) => Kind::Bool(BooleanBuilder::new()),
            (DataType::Int16, _) => Kind::Int16(Int16Builder::new()),
            (DataType::Int32, _) => Kind::Int32(Int32Builder::new()),
            (DataType::Int64, _) => Kind::Int64(Int64Builder::new()),
            (DataType::UInt32, oid::OID) => Kind::Oid(UInt32Builder::new()),
            (DataType::Float32, _) => Kind::Float32(Float32Builder::new()),
            (DataType::Float64, _) => Kind::Float64(Float64Builder::new()),
            (DataType::Decimal128(p, s @ 0..), _) => {
                Kind::Decimal128(Decimal128Builder::new().with_data_type(data_type.clone()), *p, *s)
            }
            (DataType::Decimal256(p, s @ 0..), _) => {
                Kind::Decimal256(Decimal256Builder::new().with_data_type(data_type.clone()), *p, *s)
            }
            (DataType::Binary, oid::NUMERIC) => Kind::Numeric(BinaryBuilder::new()),
            (DataType::Utf8, oid::JSON | oid::JSONB) => Kind::Document(StringBuilder::new()),
            (DataType::Utf8, oid::BIT | oid::VARBIT) => Kind::Bits(StringBuilder::new()),
            (DataType::Utf8, oid::POINT) => Kind::Shape(StringBuilder::new()),
            (DataType::Utf8, _) => Kind::Text(StringBuilder::new()),
            (DataType::Binary, oid::BYTEA) => Kind::Bytes(BinaryBuilder::new()),
            (DataType::Date32, _) => Kind::Date(Date32Builder::new()),
            (DataType::Time64(_), _) => Kind::Time(Time64MicrosecondBuilder::new()),
            (DataType::FixedSizeBinary(12), oid::TIMETZ) => Kind::TimeTz(FixedSizeBinaryBuilder::new(12)),
            (DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, zone), _) => {
                let builder = TimestampMicrosecondBuilder::new().with_data_type(data_type.clone());
                if zone.is_some() { Kind::TimestampTz(builder) } else { Kind::Timestamp(builder) }
            }
            (DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano), _) => {
                Kind::Interval(IntervalMonthDayNanoBuilder::new())
            }
            (DataType::FixedSizeBinary(16), oid::UUID) => Kind::Uuid(FixedSizeBinaryBuilder::new(16)),
            (DataType::List(item), _) => {
                let element = types::element(ty.oid)?;
                let item_field =
                    types::field(item.name(), Ty { oid: element, typmod: ty.typmod }, item.data_type().clone());
                let list = List {
                    elements: Sink::new(&item_field)?,
                    field: Arc::clone(item),
                    offsets: vec![0],
                    valid: vec![],
                };
                Kind::List(Box::new(list))
            }
            _ => return None,
        };
        Some(Self { ty, kind, rows: 0 })
    }

    pub(super) fn ty(&self) -> Ty {
        self.ty
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// A json column keeps a value as it is spelt.
    pub(super) fn is_document(&self) -> bool {
        matches!(self.kind, Kind::Document(_))
    }

    pub(super) fn is_bytes(&self) -> bool {
        matches!(self.kind, Kind::Bytes(_))
    }

    pub(super) fn is_numeric(&self) -> bool {
        matches!(self.kind, Kind::Decimal128(..) | Kind::Decimal256(..) | Kind::Numeric(_))
    }

    /// What elements of its lists go to.
    pub(super) fn elements(&mut self) -> Option<&mut Sink> {
        match &mut self.kind {
            Kind::List(list) => Some(&mut list.elements),
            _ => None,
        }
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.kind, Kind::List(_))
    }

    /// The elements since the last list are one; not `valid`, they are passed over and the list is NULL.
    pub(super) fn close(&mut self, valid: bool) -> Result<(), Problem> {
        if let Kind::List(list) = &mut self.kind {
            // Offsets are 32 bits wide, and what they count is bounded by a batch's bytes.
            let end = i32::try_from(list.elements.rows).map_err(|_| TOO_LARGE)?;
            list.offsets.push(end);
            list.valid.push(valid);
            self.rows += 1;
        }
        Ok(())
    }

    pub(super) fn push(&mut self, given: Given<'_>, how: &How) -> Result<(), Problem> {
        match given {
            Given::Null => {
                self.push_null();
                return Ok(());
            }
            Given::Spelt(text) => self.spelt(text)?,
            given => self.value(given, how)?,
        }
        self.rows += 1;
        Ok(())
    }

    fn value(&mut self, given: Given<'_>, how: &How) -> Result<(), Problem> {
        let Ty { oid, typmod } = self.ty;
        match &mut self.kind {
            Kind::Bool(b) => match given {
                Given::Bool(value) => b.append_value(value),
                _ => return Err(WRONG_TYPE),
            },
            Kind::Int16(b) => b.append_value(integer(given)?.try_into().map_err(|_| TOO_LARGE)?),
            Kind::Int32(b) => b.append_value(integer(given)?.try_into().map_err(|_| TOO_LARGE)?),
            Kind::Int64(b) => b.append_value(integer(given)?),
            Kind::Oid(b) => b.append_value(integer(given)?.try_into().map_err(|_| TOO_LARGE)?),
            Kind::Float32(b) => b.append_value(float32(given)?),
            Kind::Float64(b) => b.append_value(float64(given)?),
            Kind::Decimal128(b, precision, scale) => {
                let value = decimal::small(given, how, *scale)?;
                match 10u128.checked_pow((*precision).into()) {
                    Some(limit) if value.unsigned_abs() >= limit => return Err(TOO_LARGE),
                    _ => b.append_value(value),
                }
            }
            Kind::Decimal256(b, precision, scale) => {
                let number = decimal::any(given, how, Some((*scale).into()))?;
                let value = decimal::wide(&number, *scale)?;
                let limit = i256::from_i128(10).checked_pow((*precision).into());
                if limit.is_some_and(|limit| value.checked_abs().is_none_or(|value| value >= limit)) {
                    return Err(TOO_LARGE);
                }
                b.append_value(value);
            }
            Kind::Numeric(b) => {
                let scale = match typmod {
                    0.. => Some(postgres::numeric_modifier(typmod).1),
                    _ => None,
                };
                b.append_value(decimal::any(given, how, scale)?.encode());
            }
            Kind::Text(b) => text::push(b, given, how, oid, typmod)?,
            Kind::Document(b) => text::document(b, given, how, oid == oid::JSONB)?,
            Kind::Bits(b) => text::bits(b, given, how, typmod)?,
            Kind::Shape(b) => text::point(b, given)?,
            Kind::Bytes(b) => match given {
                Given::Bytes(bytes) => b.append_value(bytes),
                Given::Text(text) => b.append_value(text::bytes(text, how.encoding)?),
                _ => return Err(WRONG_TYPE),
            },
            Kind::Date(b) => b.append_value(match given {
                Given::Text(text) => moment::date(text, how.connect)?,
                given => moment::days(counted(given, how)?, how)?,
            }),
            Kind::Time(b) => b.append_value(match given {
                Given::Text(text) => moment::time(text, how.connect)?,
                given => moment::time_counted(counted(given, how)?, how)?,
            }),
            Kind::TimeTz(b) => match given {
                Given::Text(text) => append_fixed(b, &moment::timetz(text)?)?,
                _ => return Err(WRONG_TYPE),
            },
            Kind::Timestamp(b) => b.append_value(match given {
                Given::Text(text) => moment::timestamp(text, how.connect)?,
                given => moment::counted(given, how)?,
            }),
            Kind::TimestampTz(b) => b.append_value(match given {
                Given::Text(text) => moment::timestamptz(text, how.connect)?,
                given => moment::counted(given, how)?,
            }),
            Kind::Interval(b) => b.append_value(match given {
                Given::Text(text) => moment::interval(text)?,
                given => moment::interval_counted(counted(given, how)?, how)?,
            }),
            Kind::Uuid(b) => match given {
                Given::Text(text) => {
                    let uuid = uuid::Uuid::try_parse(text).map_err(|_| "is not a uuid")?;
                    append_fixed(b, uuid.as_bytes())?;
                }
                Given::Bytes(bytes) => append_fixed(b, bytes)?,
                _ => return Err(WRONG_TYPE),
            },
            Kind::List(_) => return Err(WRONG_TYPE),
        }
        Ok(())
    }

    /// As the type's input function reads it.
    fn spelt(&mut self, text: &str) -> Result<(), Problem> {
        let refused = |_| NOT_READ;
        match &mut self.kind {
            Kind::Bool(b) => b.append_value(input::boolean(text).map_err(refused)?),
            Kind::Int16(b) => b.append_value(input::integer(text, "").map_err(refused)?),
            Kind::Int32(b) => b.append_value(input::integer(text, "").map_err(refused)?),
            Kind::Int64(b) => b.append_value(input::integer(text, "").map_err(refused)?),
            Kind::Oid(b) => b.append_value(input::integer(text, "").map_err(refused)?),
            Kind::Float32(b) => b.append_value(input::float4(text).map_err(refused)?),
            Kind::Float64(b) => b.append_value(input::float8(text).map_err(refused)?),
            Kind::Decimal128(..) | Kind::Decimal256(..) | Kind::Numeric(_) => {
                return self.value(Given::Text(text.trim()), &PLAIN);
            }
            Kind::Text(_) => return self.value(Given::Text(text), &PLAIN),
            Kind::Document(_) => return self.value(Given::Document(text), &PLAIN),
            Kind::Bits(_) => return self.value(Given::Text(text), &PLAIN),
            Kind::Shape(b) => b.append_value(text),
            Kind::Bytes(b) => b.append_value(input::bytea(text).map_err(refused)?),
            Kind::Date(b) => b.append_value(input::date(text, utc()).map_err(refused)?),
            Kind::Time(b) => b.append_value(input::time(text, utc()).map_err(refused)?),
            Kind::TimeTz(b) => {
                append_fixed(b, &input::timetz_bytes(input::timetz(text, utc()).map_err(refused)?))?;
            }
            Kind::Timestamp(b) => b.append_value(input::timestamp(text, utc()).map_err(refused)?),
            Kind::TimestampTz(b) => b.append_value(input::timestamptz(text, utc()).map_err(refused)?),
            Kind::Interval(b) => b.append_value(moment::interval(text)?),
            Kind::Uuid(b) => append_fixed(b, &input::uuid(text).map_err(refused)?)?,
            Kind::List(list) => {
                let delimiter = input::delimiter(list.elements.ty.oid);
                let mut items = vec![];
                let sizes = input::literal(text, delimiter, &mut |item| {
                    items.push(item);
                    Ok(())
                });
                if sizes.map_err(refused)?.len() > 1 {
                    return Err("is an array of more than one dimension");
                }
                for item in &items {
                    list.elements.push(item.as_deref().map_or(Given::Null, Given::Spelt), &PLAIN)?;
                }
                let end = i32::try_from(list.elements.rows).map_err(|_| TOO_LARGE)?;
                list.offsets.push(end);
                list.valid.push(true);
            }
        }
        Ok(())
    }

    pub(super) fn push_null(&mut self) {
        self.rows += 1;
        match &mut self.kind {
            Kind::Bool(b) => b.append_null(),
            Kind::Int16(b) => b.append_null(),
            Kind::Int32(b) => b.append_null(),
            Kind::Int64(b) => b.append_null(),
            Kind::Oid(b) => b.append_null(),
            Kind::Float32(b) => b.append_null(),
            Kind::Float64(b) => b.append_null(),
            Kind::Decimal128(b, ..) => b.append_null(),
            Kind::Decimal256(b, ..) => b.append_null(),
            Kind::Numeric(b) | Kind::Bytes(b) => b.append_null(),
            Kind::Text(b) | Kind::Document(b) | Kind::Bits(b) | Kind::Shape(b) => b.append_null(),
            Kind::Date(b) => b.append_null(),
            Kind::Time(b) => b.append_null(),
            Kind::Timestamp(b) | Kind::TimestampTz(b) => b.append_null(),
            Kind::Interval(b) => b.append_null(),
            Kind::Uuid(b) | Kind::TimeTz(b) => b.append_null(),
            Kind::List(list) => {
                // Elements of a list that broke off are passed over.
                list.offsets.push(i32::try_from(list.elements.rows).unwrap_or(i32::MAX));
                list.valid.push(false);
            }
        }
    }

    /// The values so far; the column begins anew.
    pub(super) fn finish(&mut self) -> Result<ArrayRef> {
        self.rows = 0;
        Ok(match &mut self.kind {
            Kind::Bool(b) => Arc::new(b.finish()),
            Kind::Int16(b) => Arc::new(b.finish()),
            Kind::Int32(b) => Arc::new(b.finish()),
            Kind::Int64(b) => Arc::new(b.finish()),
            Kind::Oid(b) => Arc::new(b.finish()),
            Kind::Float32(b) => Arc::new(b.finish()),
            Kind::Float64(b) => Arc::new(b.finish()),
            Kind::Decimal128(b, ..) => Arc::new(b.finish()),
            Kind::Decimal256(b, ..) => Arc::new(b.finish()),
            Kind::Numeric(b) | Kind::Bytes(b) => Arc::new(b.finish()),
            Kind::Text(b) | Kind::Document(b) | Kind::Bits(b) | Kind::Shape(b) => Arc::new(b.finish()),
            Kind::Date(b) => Arc::new(b.finish()),
            Kind::Time(b) => Arc::new(b.finish()),
            Kind::Timestamp(b) | Kind::TimestampTz(b) => Arc::new(b.finish()),
            Kind::Interval(b) => Arc::new(b.finish()),
            Kind::Uuid(b) | Kind::TimeTz(b) => Arc::new(b.finish()),
            Kind::List(list) => {
                let elements = list.elements.finish()?;
                let offsets = std::mem::replace(&mut list.offsets, vec![0]);
                let valid = NullBuffer::from(std::mem::take(&mut list.valid));
                if offsets.contains(&i32::MAX) {
                    return Err(Error::internal("a list column with more elements than a batch has bytes"));
                }
                let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
                Arc::new(ListArray::try_new(Arc::clone(&list.field), offsets, elements, Some(valid))?)
            }
        })
    }
}

/// Of values that no schema and no envelope says anything about.
pub(super) const PLAIN: How = How {
    unit: None,
    scale: None,
    decimals: super::given::Decimals::String,
    encoding: super::given::Encoding::Base64,
    connect: false,
};

/// For input functions: times without a zone are UTC's.
pub(super) fn utc() -> &'static Style {
    static STYLE: std::sync::LazyLock<Style> = std::sync::LazyLock::new(|| Style::of(chrono_tz::UTC));
    &STYLE
}

fn append_fixed(builder: &mut FixedSizeBinaryBuilder, bytes: &[u8]) -> Result<(), Problem> {
    builder.append_value(bytes).map_err(|_| WRONG_TYPE)
}

pub(super) fn integer(given: Given<'_>) -> Result<i64, Problem> {
    match given {
        Given::Int(value) => Ok(value),
        // Exact numbers may stand in quotes: beyond 2^53 many writers must.
        Given::Digits(digits) | Given::Text(digits) => {
            if let Some(value) = plain_integer(digits.as_bytes()) {
                return Ok(value);
            }
            i64::try_from(decimal::digits(digits, 0)?).map_err(|_| TOO_LARGE)
        }
        Given::Float(value) => whole(value),
        Given::Float32(value) => whole(value.into()),
        _ => Err(WRONG_TYPE),
    }
}

/// Up to 18 digits and a sign.
fn plain_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.split_first() {
        Some((b'-', digits)) => (true, digits),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut value = 0i64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some(if negative { -value } else { value })
}

fn whole(value: f64) -> Result<i64, Problem> {
    if !value.is_finite() {
        return Err(TOO_LARGE);
    }
    let digits = BigInt::try_from(Whole(value)).map_err(|()| TOO_FINE)?;
    i64::try_from(digits).map_err(|_| TOO_LARGE)
}

/// A finite float without a fraction, exactly.
struct Whole(f64);

impl TryFrom<Whole> for BigInt {
    type Error = ();

    fn try_from(Whole(value): Whole) -> Result<BigInt, ()> {
        if value.fract() != 0.0 {
            return Err(());
        }
        // All digits, without an exponent.
        BigInt::parse_bytes(format!("{value:.0}").as_bytes(), 10).ok_or(())
    }
}

fn counted(given: Given<'_>, how: &How) -> Result<i64, Problem> {
    if how.unit.is_none() { Err(WRONG_TYPE) } else { integer(given) }
}

/// A JSON number cannot spell these three.
fn word(text: &str) -> Result<f64, Problem> {
    match text {
        "NaN" => Ok(f64::NAN),
        "Infinity" => Ok(f64::INFINITY),
        "-Infinity" => Ok(f64::NEG_INFINITY),
        _ => Err(WRONG_TYPE),
    }
}

/// There is one NaN: another one's bits would sort elsewhere.
fn float64(given: Given<'_>) -> Result<f64, Problem> {
    let value = match given {
        Given::Digits(digits) => match digits.parse::<f64>() {
            Ok(value) if value.is_finite() => value,
            Ok(_) => return Err(TOO_LARGE),
            Err(_) => return Err(WRONG_TYPE),
        },
        Given::Text(text) => word(text)?,
        Given::Float(value) => value,
        Given::Float32(value) => value.into(),
        Given::Int(value) => value as f64,
        _ => return Err(WRONG_TYPE),
    };
    Ok(if value.is_nan() { f64::NAN } else { value })
}

fn float32(given: Given<'_>) -> Result<f32, Problem> {
    let value = match given {
        Given::Digits(digits) => match digits.parse::<f32>() {
            Ok(value) if value.is_finite() => value,
            Ok(_) => return Err(TOO_LARGE),
            Err(_) => return Err(WRONG_TYPE),
        },
        Given::Text(text) => word(text)? as f32,
        Given::Float32(value) => value,
        Given::Float(value) if value.is_finite() && !(value as f32).is_finite() => return Err(TOO_LARGE),
        Given::Float(value) => value as f32,
        Given::Int(value) => value as f32,
        _ => return Err(WRONG_TYPE),
    };
    Ok(if value.is_nan() { f32::NAN } else { value })
}

impl Unit {
    /// Microseconds of so many; nanoseconds are cut, as PostgreSQL has none.
    pub(super) fn micros(self, count: i64) -> Option<i64> {
        match self {
            Unit::Days => count.checked_mul(86_400_000_000),
            Unit::Seconds => count.checked_mul(1_000_000),
            Unit::Millis => count.checked_mul(1_000),
            Unit::Micros => Some(count),
            Unit::Nanos => Some(count.div_euclid(1_000)),
        }
    }
}
