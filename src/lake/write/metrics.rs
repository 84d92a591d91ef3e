//! What a manifest says of a file's columns, from the Parquet footer: sizes, counts and bounds by field id. Bounds may be
//! wider than the values, never narrower; where that cannot be promised there is none.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type};
use iceberg::spec::{Datum, PrimitiveType, Schema, Type};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::statistics::Statistics;

use super::super::plan::after_prefix;
use super::super::schema::field_id;
use super::mode::{Mode, Modes};

#[derive(Debug, Default)]
pub(super) struct Metrics {
    pub sizes: HashMap<i32, u64>,
    pub values: HashMap<i32, u64>,
    pub nulls: HashMap<i32, u64>,
    pub nans: HashMap<i32, u64>,
    pub lower: HashMap<i32, Datum>,
    pub upper: HashMap<i32, Datum>,
    pub split_offsets: Vec<i64>,
}

/// `nans` were counted while the file was written.
pub(super) fn of(footer: &ParquetMetaData, schema: &Schema, modes: &Modes, nans: HashMap<i32, u64>) -> Metrics {
    let mut metrics = Metrics::default();
    let groups = footer.row_groups();
    metrics.split_offsets = groups.iter().filter_map(|g| g.columns().first().map(start)).collect();
    let Some(first) = groups.first() else { return metrics };
    for (at, column) in first.columns().iter().enumerate() {
        let info = column.column_descr().self_type().get_basic_info();
        let field = info.has_id().then(|| schema.field_by_id(info.id())).flatten();
        let Some(field) = field else { continue };
        let chunks = || groups.iter().filter_map(|g| g.columns().get(at));
        let count = |n: i64| u64::try_from(n).unwrap_or(0);
        metrics.sizes.insert(field.id, chunks().map(|c| count(c.compressed_size())).sum());
        let mode = modes.at(at, field.id);
        if mode == Mode::None {
            continue;
        }
        metrics.nans.extend(nans.get(&field.id).map(|nans| (field.id, *nans)));
        metrics.values.insert(field.id, chunks().map(|c| count(c.num_values())).sum());
        let nulls: Option<u64> = chunks().map(|c| c.statistics()?.null_count_opt()).sum();
        if let Some(nulls) = nulls {
            metrics.nulls.insert(field.id, nulls);
        }
        // Values inside lists and maps have no bounds: a file's range would say nothing about a row.
        let length = match mode {
            Mode::None | Mode::Counts => continue,
            Mode::Truncate(length) => length,
            Mode::Full => usize::MAX,
        };
        if let (Type::Primitive(of), 0) = (field.field_type.as_ref(), column.column_descr().max_rep_level()) {
            let (lower, upper) = bounds(chunks(), of, length);
            metrics.lower.extend(lower.map(|d| (field.id, d)));
            metrics.upper.extend(upper.map(|d| (field.id, d)));
        }
    }
    metrics
}

fn start(column: &ColumnChunkMetaData) -> i64 {
    column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset())
}

/// The range over all row groups; nothing if one of them has values and no range.
fn bounds<'a>(
    chunks: impl Iterator<Item = &'a ColumnChunkMetaData>,
    of: &PrimitiveType,
    length: usize,
) -> (Option<Datum>, Option<Datum>) {
    let float = matches!(of, PrimitiveType::Float | PrimitiveType::Double);
    let (mut lower, mut upper): (Option<Datum>, Option<Datum>) = (None, None);
    for chunk in chunks {
        let Some(statistics) = chunk.statistics() else { return (None, None) };
        let empty = statistics.null_count_opt().and_then(|n| i64::try_from(n).ok()) == Some(chunk.num_values());
        match (datum(statistics, of, true), datum(statistics, of, false)) {
            (Some(low), Some(high)) => {
                lower = Some(lower.filter(|l| less(l, &low)).unwrap_or(low));
                upper = Some(upper.filter(|u| less(&high, u)).unwrap_or(high));
            }
            // Only NULLs, or only NULLs and NaNs.
            _ if empty || float => (),
            _ => return (None, None),
        }
    }
    (lower.and_then(|d| shorter(d, length, false)), upper.and_then(|d| shorter(d, length, true)))
}

fn less(a: &Datum, b: &Datum) -> bool {
    a.partial_cmp(b).is_some_and(|o| o.is_lt())
}

/// A Parquet statistic in the table format's own serialisation of single values.
fn datum(statistics: &Statistics, of: &PrimitiveType, lowest: bool) -> Option<Datum> {
    let bytes: Vec<u8> = match statistics {
        Statistics::Boolean(s) => vec![u8::from(*if lowest { s.min_opt() } else { s.max_opt() }?)],
        Statistics::Int32(s) => integer(i128::from(*if lowest { s.min_opt() } else { s.max_opt() }?), 4, of),
        Statistics::Int64(s) => integer(i128::from(*if lowest { s.min_opt() } else { s.max_opt() }?), 8, of),
        Statistics::Float(s) => if lowest { s.min_opt() } else { s.max_opt() }?.to_le_bytes().to_vec(),
        Statistics::Double(s) => if lowest { s.min_opt() } else { s.max_opt() }?.to_le_bytes().to_vec(),
        Statistics::ByteArray(s) => if lowest { s.min_opt() } else { s.max_opt() }?.data().to_vec(),
        Statistics::FixedLenByteArray(s) => if lowest { s.min_opt() } else { s.max_opt() }?.data().to_vec(),
        Statistics::Int96(_) => return None,
    };
    Datum::try_from_bytes(&bytes, of.clone()).ok()
}

/// Decimals are big-endian, everything else is little-endian of its width.
fn integer(value: i128, width: usize, of: &PrimitiveType) -> Vec<u8> {
    match of {
        PrimitiveType::Decimal { .. } => value.to_be_bytes().to_vec(),
        _ => value.to_le_bytes()[..width].to_vec(),
    }
}

/// Cut to so many characters or bytes; an upper bound is rounded up, and dropped where it cannot be.
fn shorter(bound: Datum, length: usize, upper: bool) -> Option<Datum> {
    use iceberg::spec::PrimitiveLiteral as L;
    match (bound.data_type(), bound.literal()) {
        (PrimitiveType::String, L::String(text)) if text.chars().count() > length => {
            let prefix: String = text.chars().take(length).collect();
            (if upper { after_prefix(&prefix) } else { Some(prefix) }).map(Datum::string)
        }
        (PrimitiveType::Binary, L::Binary(bytes)) if bytes.len() > length => {
            let prefix = &bytes[..length];
            (if upper { after_bytes(prefix) } else { Some(prefix.to_vec()) }).map(Datum::binary)
        }
        _ => Some(bound),
    }
}

fn after_bytes(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|b| *b != 0xff)?;
    let mut bytes = prefix[..=last].to_vec();
    bytes[last] += 1;
    Some(bytes)
}

/// Adds a batch's NaNs to the count of every float column, nested ones too.
pub(super) fn count_nans(batch: &RecordBatch, into: &mut HashMap<i32, u64>) {
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        count(field, column, into);
    }
}

fn count(field: &Field, array: &ArrayRef, into: &mut HashMap<i32, u64>) {
    let mut add = |nans: usize| {
        if let Some(id) = field_id(field) {
            *into.entry(id).or_default() += nans as u64;
        }
    };
    match array.data_type() {
        DataType::Float32 => add(array.as_primitive::<Float32Type>().iter().flatten().filter(|v| v.is_nan()).count()),
        DataType::Float64 => add(array.as_primitive::<Float64Type>().iter().flatten().filter(|v| v.is_nan()).count()),
        DataType::Struct(fields) => {
            for (field, column) in fields.iter().zip(array.as_struct().columns()) {
                count(field, column, into);
            }
        }
        DataType::List(element) => {
            let list = array.as_list::<i32>();
            let (from, to) = ends(list.value_offsets());
            count(element, &list.values().slice(from, to - from), into);
        }
        DataType::Map(entries, _) => {
            let map = array.as_map();
            let (from, to) = ends(map.value_offsets());
            let pairs: ArrayRef = std::sync::Arc::new(map.entries().slice(from, to - from));
            count(entries, &pairs, into);
        }
        _ => (),
    }
}

/// First and last offset of a possibly sliced list.
fn ends(offsets: &[i32]) -> (usize, usize) {
    let at = |offset: Option<&i32>| offset.and_then(|o| usize::try_from(*o).ok()).unwrap_or(0);
    (at(offsets.first()), at(offsets.last()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_bounds_are_cut_outwards() {
        let long = "abcdefghijklmnopqrst";
        let cut = |d: Datum, upper| shorter(d, 16, upper).map(|d| d.to_human_string());
        assert_eq!(cut(Datum::string(long), false), cut(Datum::string("abcdefghijklmnop"), false));
        assert_eq!(cut(Datum::string(long), true), cut(Datum::string("abcdefghijklmnoq"), true));
        assert_eq!(cut(Datum::string("\u{10FFFF}".repeat(20)), true), None);
        assert_eq!(after_bytes(&[1, 0xff, 0xff]), Some(vec![2]));
        assert_eq!(after_bytes(&[0xff, 0xff]), None);
    }
}
