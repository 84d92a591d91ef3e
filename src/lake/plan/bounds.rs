//! What metadata prove about one column in one manifest or file: a range, a count of nulls, a bucket. Where the proof
//! has a hole (NaN, truncation, another type) it says nothing.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::datatypes::DataType;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use iceberg::spec::{
    DataFile, Datum, FieldSummary, Literal, ManifestFile, NestedFieldRef, PartitionSpec, PrimitiveLiteral,
    PrimitiveType, TableMetadata, Transform, Type,
};

use super::super::schema::{arrow_primitive, scalar};
use super::{PlannedFile, transform};

/// What is known of one column in one container; `None` is "nothing".
#[derive(Debug, Default)]
pub(super) struct Known {
    pub lower: Option<ScalarValue>,
    pub upper: Option<ScalarValue>,
    pub nulls: Option<u64>,
    pub rows: Option<u64>,
    /// `(buckets, bucket)`: every value hashes to it.
    pub bucket: Option<(u32, i32)>,
}

/// The known facts in the shape DataFusion prunes by.
pub(super) struct Bounds {
    pub containers: usize,
    pub columns: HashMap<String, (DataType, Vec<Known>)>,
}

impl Bounds {
    fn array(&self, column: &Column, pick: impl Fn(&Known) -> &Option<ScalarValue>) -> Option<ArrayRef> {
        let (of, known) = self.columns.get(&column.name)?;
        let none = ScalarValue::try_from(of).ok()?;
        ScalarValue::iter_to_array(known.iter().map(|k| pick(k).clone().unwrap_or_else(|| none.clone()))).ok()
    }
}

impl PruningStatistics for Bounds {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.array(column, |k| &k.lower)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.array(column, |k| &k.upper)
    }

    fn num_containers(&self) -> usize {
        self.containers
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let (_, known) = self.columns.get(&column.name)?;
        Some(Arc::new(UInt64Array::from_iter(known.iter().map(|k| k.nulls))))
    }

    /// A container's rows do not depend on the column: any column that knows them will do.
    fn row_counts(&self) -> Option<ArrayRef> {
        let (_, known) = self.columns.values().next()?;
        Some(Arc::new(UInt64Array::from_iter(known.iter().map(|k| k.rows))))
    }

    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        let (_, known) = self.columns.get(&column.name)?;
        let absent = |k: &Known| {
            let (buckets, here) = k.bucket?;
            let wanted: Option<BTreeSet<i32>> = values.iter().map(|v| transform::bucket(v, buckets)).collect();
            (!wanted?.contains(&here)).then_some(false)
        };
        Some(known.iter().map(absent).collect())
    }
}

/// Column bounds, narrowed by what the partition value says.
pub(super) fn of_file(metadata: &TableMetadata, file: &PlannedFile, field: &NestedFieldRef) -> Known {
    let data = file.data();
    let mut known = Known { rows: Some(data.record_count()), ..Default::default() };
    (known.lower, known.upper) = file_range(data, field);
    // A column with an initial default is not null where its file lacks it.
    if field.initial_default.is_none() {
        known.nulls = data.null_value_counts().get(&field.id).copied();
    }
    let Some(spec) = metadata.partition_spec_by_id(file.entry.spec_id) else { return known };
    for (part, value) in spec.fields().iter().zip(data.partition().fields()) {
        let (true, Some(Literal::Primitive(value))) = (part.source_id == field.id, value) else { continue };
        let (lower, upper) = partition_range(&part.transform, value, field);
        known.narrow(lower, upper);
        if let (Transform::Bucket(buckets), PrimitiveLiteral::Int(bucket)) = (&part.transform, value) {
            known.bucket = Some((*buckets, *bucket));
        }
    }
    known
}

/// A data file's own bounds for a column, in the column's present type.
fn file_range(file: &DataFile, field: &NestedFieldRef) -> (Option<ScalarValue>, Option<ScalarValue>) {
    let Type::Primitive(of) = field.field_type.as_ref() else { return (None, None) };
    // Bounds leave NaN out, and here NaN is greater than everything.
    if is_float(of) && file.nan_value_counts().get(&field.id) != Some(&0) {
        return (None, None);
    }
    let target = arrow_primitive(of);
    let value = |bound: Option<&Datum>| scalar(bound?.literal(), bound?.data_type())?.cast_to(&target).ok();
    (value(file.lower_bounds().get(&field.id)), value(file.upper_bounds().get(&field.id)))
}

/// What a manifest's summary of its partition values says of their source column.
pub(super) fn of_manifest(metadata: &TableMetadata, manifest: &ManifestFile, field: &NestedFieldRef) -> Known {
    let mut known = Known::default();
    let spec = metadata.partition_spec_by_id(manifest.partition_spec_id);
    let (Some(spec), Some(summaries)) = (spec, &manifest.partitions) else { return known };
    if summaries.len() != spec.fields().len() {
        return known;
    }
    for (i, (part, summary)) in spec.fields().iter().zip(summaries).enumerate() {
        if part.source_id != field.id || part.transform == Transform::Void {
            continue;
        }
        if !summary.contains_null && field.initial_default.is_none() {
            known.nulls = Some(0);
        }
        let (lower, upper) = summary_range(metadata, spec, i, summary, field);
        known.narrow(lower, upper);
    }
    known
}

/// The lowest value of the lowest partition to the highest of the highest. Only for transforms that keep the order.
fn summary_range(
    metadata: &TableMetadata,
    spec: &PartitionSpec,
    at: usize,
    summary: &FieldSummary,
    field: &NestedFieldRef,
) -> (Option<ScalarValue>, Option<ScalarValue>) {
    let nothing = (None, None);
    let Type::Primitive(source) = field.field_type.as_ref() else { return nothing };
    if is_float(source) && summary.contains_nan != Some(false) {
        return nothing;
    }
    let Some(part) = spec.fields().get(at).filter(|p| p.transform.preserves_order()) else { return nothing };
    let of = spec.partition_type(metadata.current_schema()).ok();
    let of = of.as_ref().and_then(|t| t.fields().get(at)).map(|f| f.field_type.as_ref());
    let Some(Type::Primitive(of)) = of else { return nothing };
    let range = |bound: &Option<iceberg::spec::ByteBuf>| {
        let datum = decode(bound.as_ref()?, of)?;
        Some(partition_range(&part.transform, datum.literal(), field))
    };
    (range(&summary.lower_bound).and_then(|r| r.0), range(&summary.upper_bound).and_then(|r| r.1))
}

/// Bytes of a bound. A narrower length is the type before a promotion.
fn decode(bytes: &[u8], of: &PrimitiveType) -> Option<Datum> {
    let stored = match (of, bytes.len()) {
        (PrimitiveType::Long, 4) => PrimitiveType::Int,
        (PrimitiveType::Double, 4) => PrimitiveType::Float,
        _ => of.clone(),
    };
    Datum::try_from_bytes(bytes, stored).ok()
}

/// Source values that a partition value stands for.
fn partition_range(
    by: &Transform,
    value: &PrimitiveLiteral,
    field: &NestedFieldRef,
) -> (Option<ScalarValue>, Option<ScalarValue>) {
    let Type::Primitive(source) = field.field_type.as_ref() else { return (None, None) };
    let target = arrow_primitive(source);
    let (lower, upper) = transform::range(by, value, source);
    let fit = |v: Option<ScalarValue>| v.filter(|v| !is_nan(v)).and_then(|v| v.cast_to(&target).ok());
    (fit(lower), fit(upper))
}

impl Known {
    fn narrow(&mut self, lower: Option<ScalarValue>, upper: Option<ScalarValue>) {
        self.lower = match (self.lower.take(), lower) {
            (Some(a), Some(b)) => Some(if a.partial_cmp(&b).is_some_and(|o| o.is_ge()) { a } else { b }),
            (a, b) => a.or(b),
        };
        self.upper = match (self.upper.take(), upper) {
            (Some(a), Some(b)) => Some(if a.partial_cmp(&b).is_some_and(|o| o.is_le()) { a } else { b }),
            (a, b) => a.or(b),
        };
    }
}

fn is_float(of: &PrimitiveType) -> bool {
    matches!(of, PrimitiveType::Float | PrimitiveType::Double)
}

fn is_nan(value: &ScalarValue) -> bool {
    match value {
        ScalarValue::Float32(Some(v)) => v.is_nan(),
        ScalarValue::Float64(Some(v)) => v.is_nan(),
        _ => false,
    }
}
