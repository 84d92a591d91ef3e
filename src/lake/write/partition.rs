//! Rows → the partitions that they belong to: the transforms of the table's spec over whole arrays ("Partition Transforms"
//! in the specification). Pruning reads them backwards, in `plan`.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Int32Array, PrimitiveArray, RecordBatch, StringArray, UInt32Array,
    new_null_array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::*;
use arrow::row::{RowConverter, SortField};
use chrono::Datelike;
use iceberg::spec::{Literal, PrimitiveLiteral, PrimitiveType, Struct, Transform, Type};

use super::super::plan::{bucket_of, decimal_bytes};
use super::super::{Table, schema};
use crate::error::{Error, Kind, Result};

/// Splits batches of a table's columns by partition.
pub(super) struct Partitioner {
    fields: Vec<PartitionField>,
    converter: RowConverter,
    /// By the bytes of a partition's values.
    known: HashMap<Box<[u8]>, usize>,
    values: Vec<Struct>,
}

struct PartitionField {
    /// Where the source column stands in a batch.
    column: usize,
    source: PrimitiveType,
    by: Transform,
}

impl Partitioner {
    /// `None` for a table without partitions. 0A000 for a spec that cannot be written by.
    pub(super) fn of(table: &Table) -> Result<Option<Self>> {
        let (spec, schema) = (table.metadata.default_partition_spec(), table.metadata.current_schema());
        if spec.is_unpartitioned() {
            return Ok(None);
        }
        let refuse = |name: &str| {
            Error::unsupported(format!("inserting into table {}, whose partition field \"{name}\"", table.shown()))
        };
        let (mut fields, mut sorts) = (vec![], vec![]);
        for field in spec.fields() {
            let column = schema.as_struct().fields().iter().position(|f| f.id == field.source_id);
            let source = schema.as_struct().field_by_id(field.source_id).map(|f| f.field_type.as_ref());
            let (Some(column), Some(Type::Primitive(source))) = (column, source) else {
                return Err(refuse(&field.name));
            };
            let made = PartitionField { column, source: source.clone(), by: field.transform };
            // Found out before a file is written: the transform of no rows has the type of all others.
            let none = new_null_array(&schema::arrow_primitive(source), 0);
            let none = made.apply(&none).map_err(|_| refuse(&field.name))?;
            sorts.push(SortField::new(none.data_type().clone()));
            fields.push(made);
        }
        let converter = RowConverter::new(sorts)?;
        Ok(Some(Self { fields, converter, known: HashMap::new(), values: vec![] }))
    }

    /// The rows of each partition, with its number.
    pub(super) fn split(&mut self, batch: &RecordBatch) -> Result<Vec<(usize, RecordBatch)>> {
        let column = |f: &PartitionField| f.apply(batch.columns().get(f.column).ok_or_else(missing)?);
        let values = self.fields.iter().map(column).collect::<Result<Vec<_>>>()?;
        let mut rows_of: HashMap<usize, Vec<u32>> = HashMap::new();
        for (row, key) in self.converter.convert_columns(&values)?.iter().enumerate() {
            let number = match self.known.get(key.as_ref()) {
                Some(number) => *number,
                None => {
                    let value = self.fields.iter().zip(&values).map(|(field, array)| field.literal(array, row));
                    self.values.push(Struct::from_iter(value.collect::<Result<Vec<_>>>()?));
                    self.known.insert(key.as_ref().into(), self.values.len() - 1);
                    self.values.len() - 1
                }
            };
            let row = u32::try_from(row).map_err(|_| Error::internal("a batch of so many rows"))?;
            rows_of.entry(number).or_default().push(row);
        }
        if let (Some(number), 1) = (rows_of.keys().next(), rows_of.len()) {
            return Ok(vec![(*number, batch.clone())]);
        }
        let of = |(number, rows)| Ok((number, take_record_batch(batch, &UInt32Array::from(rows))?));
        rows_of.into_iter().map(of).collect()
    }

    /// A partition's value, as manifests have it.
    pub(super) fn value(&self, number: usize) -> Struct {
        self.values.get(number).cloned().unwrap_or_else(Struct::empty)
    }
}

fn missing() -> Error {
    Error::internal("a batch without its partition's source")
}

impl PartitionField {
    fn apply(&self, array: &ArrayRef) -> Result<ArrayRef> {
        match &self.by {
            Transform::Identity => Ok(Arc::clone(array)),
            Transform::Void => Ok(new_null_array(&DataType::Int32, array.len())),
            Transform::Bucket(buckets) => bucket(array, *buckets),
            Transform::Truncate(width) => truncate(array, *width),
            Transform::Year => date_part(array, |days| {
                let date = date(days)?;
                Some(date.year() - 1970)
            }),
            Transform::Month => date_part(array, |days| {
                let date = date(days)?;
                Some((date.year() - 1970) * 12 + date.month0() as i32)
            }),
            Transform::Day => date_part(array, |days| i32::try_from(days).ok()),
            Transform::Hour => hours(array),
            Transform::Unknown => Err(undefined(array)),
        }
    }

    /// One transformed value.
    fn literal(&self, array: &ArrayRef, row: usize) -> Result<Option<Literal>> {
        use PrimitiveLiteral as L;
        if array.is_null(row) {
            return Ok(None);
        }
        let value = match array.data_type() {
            DataType::Boolean => L::Boolean(array.as_boolean().value(row)),
            DataType::Int32 => L::Int(array.as_primitive::<Int32Type>().value(row)),
            DataType::Date32 => L::Int(array.as_primitive::<Date32Type>().value(row)),
            DataType::Int64 => L::Long(array.as_primitive::<Int64Type>().value(row)),
            DataType::Time64(TimeUnit::Microsecond) => {
                L::Long(array.as_primitive::<Time64MicrosecondType>().value(row))
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                L::Long(array.as_primitive::<TimestampMicrosecondType>().value(row))
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                L::Long(array.as_primitive::<TimestampNanosecondType>().value(row))
            }
            DataType::Float32 => L::Float(array.as_primitive::<Float32Type>().value(row).into()),
            DataType::Float64 => L::Double(array.as_primitive::<Float64Type>().value(row).into()),
            DataType::Decimal128(..) => L::Int128(array.as_primitive::<Decimal128Type>().value(row)),
            DataType::Utf8 => L::String(array.as_string::<i32>().value(row).to_string()),
            DataType::Binary => L::Binary(array.as_binary::<i32>().value(row).to_vec()),
            DataType::FixedSizeBinary(_) => {
                let bytes = array.as_fixed_size_binary().value(row);
                match (&self.source, <[u8; 16]>::try_from(bytes)) {
                    (PrimitiveType::Uuid, Ok(uuid)) => L::UInt128(u128::from_be_bytes(uuid)),
                    _ => L::Binary(bytes.to_vec()),
                }
            }
            _ => return Err(undefined(array)),
        };
        Ok(Some(Literal::Primitive(value)))
    }
}

fn undefined(array: &ArrayRef) -> Error {
    Error::unsupported("this partition transform").with_source(format!("of {}", array.data_type()))
}

/// The bucket of each value by the bytes that the specification's appendix B prescribes.
fn bucket(array: &ArrayRef, buckets: u32) -> Result<ArrayRef> {
    fn longs<T: ArrowPrimitiveType>(array: &ArrayRef, buckets: u32) -> Int32Array
    where
        T::Native: Into<i64>,
    {
        let of = |v: T::Native| bucket_of(&v.into().to_le_bytes(), buckets);
        array.as_primitive::<T>().iter().map(|v| v.and_then(of)).collect()
    }
    if buckets == 0 || i32::try_from(buckets).is_err() {
        return Err(undefined(array));
    }
    let bytes = |b: Option<&[u8]>| b.and_then(|b| bucket_of(b, buckets));
    let made: Int32Array = match array.data_type() {
        DataType::Int32 => longs::<Int32Type>(array, buckets),
        DataType::Date32 => longs::<Date32Type>(array, buckets),
        DataType::Int64 => longs::<Int64Type>(array, buckets),
        DataType::Time64(TimeUnit::Microsecond) => longs::<Time64MicrosecondType>(array, buckets),
        DataType::Timestamp(TimeUnit::Microsecond, _) => longs::<TimestampMicrosecondType>(array, buckets),
        DataType::Utf8 => array.as_string::<i32>().iter().map(|s| bytes(s.map(str::as_bytes))).collect(),
        DataType::Binary => array.as_binary::<i32>().iter().map(bytes).collect(),
        DataType::FixedSizeBinary(_) => array.as_fixed_size_binary().iter().map(bytes).collect(),
        DataType::Decimal128(..) => {
            let of = |v: i128| bucket_of(&decimal_bytes(v), buckets);
            array.as_primitive::<Decimal128Type>().iter().map(|v| v.and_then(of)).collect()
        }
        _ => return Err(undefined(array)),
    };
    Ok(Arc::new(made))
}

/// Numbers down to a multiple of the width, text and bytes to its length.
fn truncate(array: &ArrayRef, width: u32) -> Result<ArrayRef> {
    if width == 0 {
        return Err(undefined(array));
    }
    let prefix = |s: &str| s.char_indices().nth(width as usize).map_or(s.len(), |(end, _)| end);
    Ok(match array.data_type() {
        // As other writers have it, the lowest values wrap.
        DataType::Int32 => {
            let down = |v: i32| v.wrapping_sub(i64::from(v).rem_euclid(i64::from(width)) as i32);
            Arc::new(array.as_primitive::<Int32Type>().unary::<_, Int32Type>(down))
        }
        DataType::Int64 => {
            let down = |v: i64| v.wrapping_sub(v.rem_euclid(i64::from(width)));
            Arc::new(array.as_primitive::<Int64Type>().unary::<_, Int64Type>(down))
        }
        DataType::Decimal128(precision, scale) => {
            let down = |v: i128| v.wrapping_sub(v.rem_euclid(i128::from(width)));
            let made = array.as_primitive::<Decimal128Type>().unary::<_, Decimal128Type>(down);
            Arc::new(made.with_precision_and_scale(*precision, *scale)?)
        }
        DataType::Utf8 => {
            let cut = array.as_string::<i32>().iter().map(|s| s.map(|s| s.get(..prefix(s)).unwrap_or(s)));
            Arc::new(cut.collect::<StringArray>())
        }
        DataType::Binary => {
            let cut = array.as_binary::<i32>().iter().map(|b| b.map(|b| b.get(..width as usize).unwrap_or(b)));
            Arc::new(cut.collect::<BinaryArray>())
        }
        _ => return Err(undefined(array)),
    })
}

const DAY_US: i64 = 86_400_000_000;

/// What `of` makes of each value's days since 1970.
fn date_part(array: &ArrayRef, of: impl Fn(i64) -> Option<i32>) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Date32 => parts::<Date32Type>(array, |days| of(days.into())),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            parts::<TimestampMicrosecondType>(array, |us| of(us.div_euclid(DAY_US)))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            parts::<TimestampNanosecondType>(array, |ns| of(ns.div_euclid(DAY_US * 1_000)))
        }
        _ => Err(undefined(array)),
    }
}

fn hours(array: &ArrayRef) -> Result<ArrayRef> {
    const HOUR_US: i64 = 3_600_000_000;
    let hour = |n: i64| i32::try_from(n).ok();
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            parts::<TimestampMicrosecondType>(array, |us| hour(us.div_euclid(HOUR_US)))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            parts::<TimestampNanosecondType>(array, |ns| hour(ns.div_euclid(HOUR_US * 1_000)))
        }
        _ => Err(undefined(array)),
    }
}

/// 22008 for a moment that no partition stands for: NULL is another partition's.
fn parts<T: ArrowPrimitiveType>(array: &ArrayRef, of: impl Fn(T::Native) -> Option<i32>) -> Result<ArrayRef> {
    let beyond = || Error::new(Kind::DateRange, "a value for a partition column is out of range");
    let part = |v: Option<T::Native>| v.map(|v| of(v).ok_or_else(beyond)).transpose();
    let parts: PrimitiveArray<Int32Type> = array.as_primitive::<T>().iter().map(part).collect::<Result<_>>()?;
    Ok(Arc::new(parts))
}

fn date(days: i64) -> Option<chrono::NaiveDate> {
    chrono::NaiveDate::from_ymd_opt(1970, 1, 1)?.checked_add_signed(chrono::Duration::try_days(days)?)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Date32Array, Decimal128Array, Int64Array, TimestampMicrosecondArray};
    use arrow::util::display::array_value_to_string;

    use super::*;

    fn applied(by: Transform, array: impl Array + 'static, source: PrimitiveType) -> Vec<String> {
        let made = PartitionField { column: 0, source, by }.apply(&(Arc::new(array) as ArrayRef)).unwrap();
        (0..made.len()).map(|i| array_value_to_string(&made, i).unwrap()).collect()
    }

    #[test]
    fn transforms_are_the_specifications() {
        use PrimitiveType as P;
        use Transform as T;
        let ints = || Int32Array::from(vec![Some(34), Some(-1), None]);
        // 2017239379 is the specification's hash of 34.
        let bucket = (2_017_239_379 % 100).to_string();
        assert_eq!(applied(T::Bucket(100), ints(), P::Int)[0], bucket);
        assert_eq!(applied(T::Bucket(100), Int64Array::from(vec![34]), P::Long)[0], bucket);
        assert_eq!(applied(T::Truncate(10), ints(), P::Int), ["30", "-10", ""]);
        assert_eq!(applied(T::Void, ints(), P::Int), ["", "", ""]);
        let texts = || StringArray::from(vec![Some("iceberg"), Some("bü1"), Some("")]);
        assert_eq!(applied(T::Truncate(2), texts(), P::String), ["ic", "bü", ""]);
        assert_eq!(applied(T::Bucket(100), texts(), P::String)[0], (1_210_000_089 % 100).to_string());
        let decimals = Decimal128Array::from(vec![1065, -5]).with_precision_and_scale(9, 2).unwrap();
        assert_eq!(applied(T::Truncate(50), decimals, P::Decimal { precision: 9, scale: 2 }), ["10.50", "-0.50"]);
        let dates = || Date32Array::from(vec![17_486, -1, 0]);
        assert_eq!(applied(T::Year, dates(), P::Date), ["47", "-1", "0"]);
        assert_eq!(applied(T::Month, dates(), P::Date), ["574", "-1", "0"]);
        assert_eq!(applied(T::Day, dates(), P::Date), ["17486", "-1", "0"]);
        let moments = || TimestampMicrosecondArray::from(vec![1_510_871_468_000_000, -1]);
        assert_eq!(applied(T::Hour, moments(), P::Timestamp), ["419686", "-1"]);
        assert_eq!(applied(T::Day, moments(), P::Timestamp), ["17486", "-1"]);
        assert_eq!(applied(T::Year, moments(), P::Timestamp), ["47", "-1"]);
    }

    #[test]
    fn what_has_no_partition_is_an_error() {
        let field = |by| PartitionField { column: 0, source: PrimitiveType::Timestamp, by };
        let beyond: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![i64::MAX]));
        assert_eq!(field(Transform::Year).apply(&beyond).unwrap_err().kind(), Kind::DateRange);
        let ints: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        for by in [Transform::Hour, Transform::Unknown, Transform::Bucket(0), Transform::Truncate(0)] {
            assert_eq!(field(by).apply(&ints).unwrap_err().kind(), Kind::Unsupported, "{by}");
        }
    }
}
