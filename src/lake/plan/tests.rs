//! What a manifest's partition summary and a file's metrics prove, and what they must not.

use arrow::datatypes::{DataType, Schema};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::Expr;
use datafusion::prelude::{col, lit};
use iceberg::TableCreation;
use iceberg::spec::{
    DataFileBuilder, Datum, FieldSummary, Literal, ManifestStatus, NestedField, PrimitiveType, Struct,
    TableMetadataBuilder, Transform, Type, UnboundPartitionSpec,
};

use super::super::schema::arrow_schema;
use super::*;

fn metadata() -> TableMetadata {
    let of = |p| Type::Primitive(p);
    let schema = iceberg::spec::Schema::builder().with_fields([
        Arc::new(NestedField::optional(1, "region", of(PrimitiveType::String))),
        Arc::new(NestedField::optional(2, "at", of(PrimitiveType::Timestamp))),
        Arc::new(NestedField::optional(3, "x", of(PrimitiveType::Double))),
        Arc::new(NestedField::optional(4, "id", of(PrimitiveType::Long))),
    ]);
    let spec = UnboundPartitionSpec::builder()
        .add_partition_field(1, "region", Transform::Identity)
        .and_then(|s| s.add_partition_field(2, "at_day", Transform::Day))
        .and_then(|s| s.add_partition_field(3, "x", Transform::Identity))
        .and_then(|s| s.add_partition_field(4, "id_bucket", Transform::Bucket(4)))
        .unwrap();
    let creation = TableCreation::builder()
        .name("t".into())
        .location("file:///t".into())
        .schema(schema.build().unwrap())
        .partition_spec(spec.build())
        .build();
    TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap().metadata
}

fn condition(metadata: &TableMetadata, filter: Expr) -> Condition {
    let schema = arrow_schema(metadata.current_schema(), &Default::default());
    let named = DFSchema::try_from(schema.as_ref().clone()).unwrap();
    let predicate = SessionContext::new().create_physical_expr(filter, &named).unwrap();
    Condition { predicate, schema }
}

fn summary(null: bool, nan: Option<bool>, bounds: Option<(Datum, Datum)>) -> FieldSummary {
    let (lower, upper) = bounds.unzip();
    let bytes = |d: Datum| d.to_bytes().unwrap();
    FieldSummary {
        contains_null: null,
        contains_nan: nan,
        lower_bound: lower.map(bytes),
        upper_bound: upper.map(bytes),
    }
}

fn manifest(partitions: Vec<FieldSummary>) -> ManifestFile {
    ManifestFile {
        manifest_path: "m".into(),
        manifest_length: 1,
        partition_spec_id: 0,
        content: ManifestContentType::Data,
        sequence_number: 1,
        min_sequence_number: 1,
        added_snapshot_id: 1,
        added_files_count: Some(1),
        existing_files_count: Some(0),
        deleted_files_count: Some(0),
        added_rows_count: Some(1),
        existing_rows_count: Some(0),
        deleted_rows_count: Some(0),
        partitions: Some(partitions),
        key_metadata: None,
        first_row_id: None,
    }
}

fn micros(day: i64) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(Some(day * 86_400_000_000), None))
}

#[test]
fn a_manifest_is_left_out_only_where_its_summary_proves_it() {
    let metadata = metadata();
    let bucket = || summary(false, None, Some((Datum::int(0), Datum::int(3))));
    let strings = |a: &str, b: &str| Some((Datum::string(a), Datum::string(b)));
    let full = manifest(vec![
        summary(false, None, strings("EU", "EU")),
        summary(false, None, Some((Datum::date(10), Datum::date(12)))),
        summary(false, Some(false), Some((Datum::double(1.0), Datum::double(2.0)))),
        bucket(),
    ]);
    let holes = manifest(vec![
        summary(true, None, strings("EU", "EU")),
        summary(true, None, None),
        summary(false, Some(true), Some((Datum::double(1.0), Datum::double(2.0)))),
        bucket(),
    ]);
    for (filter, expect) in [
        (col("region").eq(lit("EU")), [true, true]),
        (col("region").eq(lit("US")), [false, false]),
        (col("region").is_null(), [false, true]),
        (col("at").gt_eq(micros(13)), [false, true]),
        (col("at").gt_eq(micros(12)), [true, true]),
        (col("at").lt(micros(10)), [false, true]),
        (col("x").gt(lit(5.0)), [false, true]),
        (col("id").eq(lit(7i64)), [true, true]),
        (col("region").eq(lit("US")).or(col("id").eq(lit(7i64))), [true, true]),
    ] {
        let kept =
            prune(&condition(&metadata, filter.clone()), &metadata, &[&full, &holes], bounds::of_manifest).unwrap();
        assert_eq!(kept, expect, "{filter}");
    }
}

fn file(partition: Vec<Option<Literal>>, build: impl FnOnce(&mut DataFileBuilder)) -> PlannedFile {
    let mut builder = DataFileBuilder::default();
    builder
        .content(DataContentType::Data)
        .file_path("f".into())
        .file_format(DataFileFormat::Parquet)
        .record_count(10)
        .file_size_in_bytes(1)
        .partition(Struct::from_iter(partition));
    build(&mut builder);
    let entry = Entry {
        status: ManifestStatus::Added,
        snapshot_id: Some(1),
        sequence: 1,
        file_sequence: 1,
        first_row: None,
        spec_id: 0,
        file: builder.build().unwrap(),
    };
    PlannedFile { entry: Arc::new(entry), deletes: Applied::default() }
}

#[test]
fn a_file_is_left_out_only_where_its_metrics_prove_it() {
    let metadata = metadata();
    let doubles = |nans: Option<u64>| {
        file(vec![None, None, None, None], move |b| {
            b.lower_bounds([(3, Datum::double(0.0)), (4, Datum::long(5))].into())
                .upper_bounds([(3, Datum::double(2.0)), (4, Datum::int(9))].into())
                .null_value_counts([(4, 0), (1, 10)].into())
                .nan_value_counts(nans.map(|n| (3, n)).into_iter().collect());
        })
    };
    // `id` = 5 hashes to some bucket; the other file holds another one.
    let home = transform::bucket(&ScalarValue::Int64(Some(5)), 4).unwrap();
    let bucket = |b: i32| file(vec![None, None, None, Some(Literal::int(b))], |_| ());
    let files = [doubles(Some(0)), doubles(Some(1)), doubles(None), bucket(home), bucket((home + 1) % 4)];
    let files: Vec<&PlannedFile> = files.iter().collect();
    for (filter, expect) in [
        (col("x").gt(lit(5.0)), [false, true, true, true, true]),
        // A recorded 0.0 may stand for -0.0; the comparison itself takes them for equal.
        (col("x").lt(lit(0.0)), [false, true, true, true, true]),
        (col("x").lt_eq(lit(-0.0)), [true, true, true, true, true]),
        (col("id").gt_eq(lit(10i64)), [false, false, false, true, true]),
        (col("id").eq(lit(5i64)), [true, true, true, true, false]),
        (col("id").is_null(), [false, false, false, true, true]),
        (col("region").is_not_null(), [false, false, false, true, true]),
        (col("region").eq(lit("EU")), [false, false, false, true, true]),
    ] {
        let kept = prune(&condition(&metadata, filter.clone()), &metadata, &files, bounds::of_file).unwrap();
        assert_eq!(kept, expect, "{filter}");
    }
}

#[test]
fn a_condition_that_cannot_be_used_keeps_everything() {
    let metadata = metadata();
    let schema = Arc::new(Schema::new(vec![arrow::datatypes::Field::new("elsewhere", DataType::Int64, true)]));
    let named = DFSchema::try_from(schema.as_ref().clone()).unwrap();
    let predicate = SessionContext::new().create_physical_expr(col("elsewhere").eq(lit(1i64)), &named).unwrap();
    let condition = Condition { predicate, schema };
    let one = file(vec![None, None, None, None], |_| ());
    assert_eq!(prune(&condition, &metadata, &[&one], bounds::of_file).unwrap(), [true]);
}
