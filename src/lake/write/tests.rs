//! What the manifest will say of a written file.

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

use super::*;
use crate::lake::{Columns, fixture};

async fn written(batch: RecordBatch) -> (tempfile::TempDir, Lake, Table, Written) {
    let directory = tempfile::tempdir().unwrap();
    let lake = fixture::lake(&directory).await;
    let schema = batch.schema();
    let columns = Columns { schema: &schema, is_uuid: &|f| f.name() == "u", all_nullable: false };
    let (table, _) = lake.create_table(&lake.key("s", "t"), &columns, Default::default(), None).await.unwrap();
    let rows = RecordBatchStreamAdapter::new(schema, futures::stream::iter([Ok(batch)]));
    let written = lake.write(&table, BatchId::new(), Box::pin(rows)).await.unwrap();
    (directory, lake, table, written)
}

#[tokio::test]
async fn metrics_say_what_is_in_the_file() {
    let numbers = Float64Array::from(vec![Some(1.5), None, Some(f64::NAN), Some(-2.0)]);
    let texts =
        StringArray::from(vec![Some("a long text beyond sixteen"), Some("b"), None, Some("zz a long text beyond")]);
    let decimals = Decimal128Array::from(vec![Some(-150), Some(20_000), None, None]).with_precision_and_scale(12, 2);
    let list = ListArray::from_iter_primitive::<Float64Type, _, _>([
        Some(vec![Some(f64::NAN), None]),
        None,
        Some(vec![]),
        Some(vec![Some(1.0)]),
    ]);
    let uuids = FixedSizeBinaryArray::try_from_sparse_iter_with_size(
        [Some([1u8; 16]), None, Some([9; 16]), None].into_iter(),
        16,
    );
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![7, 3, 5, 4]))),
        ("x", Arc::new(numbers)),
        ("s", Arc::new(texts)),
        ("n", Arc::new(decimals.unwrap())),
        ("u", Arc::new(uuids.unwrap())),
        ("l", Arc::new(list)),
        ("none", Arc::new(Int32Array::from(vec![None, None, None, None]))),
    ];
    let fields = columns.iter().map(|(n, a)| Field::new(*n, a.data_type().clone(), *n != "id")).collect::<Vec<_>>();
    let batch =
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|c| c.1).collect()).unwrap();
    let (_directory, lake, table, written) = written(batch).await;
    let file = &written.files[0];
    let schema = table.metadata.current_schema();
    let said = |name: &str| {
        let id = schema.field_id_by_name(name).unwrap();
        let bound = |m: &HashMap<i32, iceberg::spec::Datum>| m.get(&id).map_or("-".into(), |d| d.to_human_string());
        let count = |m: &HashMap<i32, u64>| m.get(&id).map_or("-".into(), u64::to_string);
        let counts = [count(file.value_counts()), count(file.null_value_counts()), count(file.nan_value_counts())];
        format!("{} {}..{}", counts.join("/"), bound(file.lower_bounds()), bound(file.upper_bounds()))
    };
    assert_eq!(said("id"), "4/0/- 3..7");
    assert_eq!(said("x"), "4/1/1 -2..1.5");
    assert_eq!(said("s"), "4/1/- a long text beyo..zz a long text c");
    assert_eq!(said("n"), "4/2/- -1.50..200.00");
    assert_eq!(said("u"), "4/2/- 01010101-0101-0101-0101-010101010101..09090909-0909-0909-0909-090909090909");
    assert_eq!(said("l.element"), "5/3/1 -..-");
    assert_eq!(said("none"), "4/4/- -..-");
    assert_eq!((file.record_count(), written.rows, file.split_offsets().map(<[i64]>::len)), (4, 4, Some(1)));
    let path = lake.store.path(file.file_path()).unwrap();
    assert_eq!(
        object_store::ObjectStoreExt::head(lake.store.objects(), &path).await.unwrap().size,
        file.file_size_in_bytes()
    );
}

#[tokio::test]
async fn files_carry_ids_and_uuids_but_none_of_our_metadata() {
    let field = Field::new("u", DataType::FixedSizeBinary(16), true)
        .with_metadata(HashMap::from([("lakegate.oid".to_string(), "2950".to_string())]));
    let uuids = FixedSizeBinaryArray::try_from_sparse_iter_with_size([Some([1u8; 16])].into_iter(), 16).unwrap();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::new(uuids)]).unwrap();
    let (_directory, lake, _, written) = written(batch).await;
    let bytes = lake.store.read(written.files[0].file_path()).await.unwrap();
    let footer = parquet::file::metadata::ParquetMetaDataReader::new().parse_and_finish(&bytes).unwrap();
    let leaf = footer.file_metadata().schema_descr().column(0);
    assert_eq!(leaf.self_type().get_basic_info().id(), 1);
    assert_eq!(leaf.logical_type_ref(), Some(&LogicalType::Uuid));
    assert!(footer.file_metadata().key_value_metadata().is_none_or(|kv| kv.iter().all(|k| k.key != "ARROW:schema")));
}

/// More partitions than files are held open: every row is in a file of its partition, and no file has the name of another.
#[tokio::test]
async fn rows_of_many_partitions_come_into_files_of_their_own() {
    use crate::lake::{Action, Also, Outcome, Staged};
    let ids: Vec<i64> = (0..1_000).map(|i| i * 37 % 500).collect();
    let batch =
        |ids: Vec<i64>| RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(ids)) as ArrayRef)]).unwrap();
    let (_directory, lake, table, _) = written(batch(vec![1])).await;
    let action = Action::partition_by(&table, &[("id", "truncate[5]")]).unwrap();
    let staged = Staged::new(table, vec![action], BatchId::new());
    let Outcome::Committed(tables) = lake.commit(vec![staged], &Also::default()).await.unwrap() else { panic!() };
    let all = batch(ids.clone());
    let batches: Vec<_> = (0..10).map(|i| Ok(all.slice(i * 100, 100))).collect();
    let rows = RecordBatchStreamAdapter::new(all.schema(), futures::stream::iter(batches));
    let written = lake.write(&tables[0], BatchId::new(), Box::pin(rows)).await.unwrap();
    assert_eq!(written.rows, 1_000);
    let names: std::collections::HashSet<&str> = written.files.iter().map(|f| f.file_path()).collect();
    assert_eq!(names.len(), written.files.len());
    let mut partitions = std::collections::BTreeMap::new();
    for file in &written.files {
        let [Some(iceberg::spec::Literal::Primitive(iceberg::spec::PrimitiveLiteral::Long(value)))] =
            file.partition().fields()
        else {
            panic!("{file:?}")
        };
        *partitions.entry(*value).or_insert(0) += file.record_count();
        let bound = file.lower_bounds().values().next().unwrap().to_string();
        assert_eq!(bound.parse::<i64>().unwrap() / 5 * 5, *value);
    }
    assert_eq!(partitions, (0..100).map(|p| (p * 5, 10)).collect());
}

/// Rows in batches, an error at their end where one is wanted.
fn batches(of: &[&[i64]], fails: bool) -> SendableRecordBatchStream {
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
    let batch = |values: &&[i64]| {
        let values: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
        Ok(RecordBatch::try_new(Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)])), vec![values])?)
    };
    let mut all: Vec<datafusion::error::Result<RecordBatch>> = of.iter().map(batch).collect();
    if fails {
        all.push(Err(datafusion::error::DataFusionError::Execution("a row that fails".into())));
    }
    Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter(all)))
}

fn one_column() -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
    RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![1]))]).unwrap()
}

#[tokio::test]
async fn rows_come_in_the_tables_sort_order() {
    use iceberg::spec::{NullOrder, SortDirection, SortField, SortOrder, Transform};
    let (_directory, lake, mut table, _) = written(one_column()).await;
    let id = table.metadata.current_schema().field_id_by_name("x").unwrap();
    let field = SortField {
        source_id: id,
        transform: Transform::Identity,
        direction: SortDirection::Descending,
        null_order: NullOrder::Last,
    };
    let order = SortOrder::builder().with_sort_field(field).build_unbound().unwrap();
    let builder = table.metadata.as_ref().clone().into_builder(None).add_sort_order(order).unwrap();
    let built = builder.set_default_sort_order(-1).unwrap().build().unwrap();
    table.metadata = Arc::new(built.metadata);
    let written = lake.write(&table, BatchId::new(), batches(&[&[3, 9], &[1, 7], &[5]], false)).await.unwrap();
    let file = &written.files[0];
    assert_eq!(i64::from(file.sort_order_id().unwrap()), table.metadata.default_sort_order_id());
    let bytes = lake.store.read(file.file_path()).await.unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes, 1024).unwrap();
    let values: Vec<i64> = reader
        .flat_map(|batch| batch.unwrap().column(0).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec())
        .collect();
    assert_eq!(values, [9, 7, 5, 3, 1]);
}

#[tokio::test]
async fn metrics_are_as_many_as_the_table_wants() {
    for (mode, counts, bound) in [("none", false, None), ("counts", true, None), ("full", true, Some("1"))] {
        let (_directory, lake, mut table, _) = written(one_column()).await;
        let id = table.metadata.current_schema().field_id_by_name("x").unwrap();
        let builder = table.metadata.as_ref().clone().into_builder(None);
        let properties = [("write.metadata.metrics.column.x".to_string(), mode.to_string())];
        table.metadata = Arc::new(builder.set_properties(properties.into()).unwrap().build().unwrap().metadata);
        let written = lake.write(&table, BatchId::new(), batches(&[&[1]], false)).await.unwrap();
        let file = &written.files[0];
        assert!(file.column_sizes().contains_key(&id), "{mode}");
        assert_eq!(file.value_counts().contains_key(&id), counts, "{mode}");
        assert_eq!(file.lower_bounds().get(&id).map(|d| d.to_human_string()).as_deref(), bound, "{mode}");
    }
}

#[tokio::test]
async fn a_statement_that_fails_leaves_no_file() {
    let (directory, lake, table, written) = written(one_column()).await;
    let files = || {
        let mut found = vec![];
        let mut directories = vec![directory.path().join("warehouse")];
        while let Some(at) = directories.pop() {
            for entry in std::fs::read_dir(at).into_iter().flatten().flatten() {
                match entry.path() {
                    path if path.is_dir() => directories.push(path),
                    path => found.extend((path.extension().is_some_and(|e| e == "parquet")).then_some(path)),
                }
            }
        }
        found.len()
    };
    assert_eq!(files(), 1);
    // What a commit has begun with stays, whoever forgets it.
    written.loose.as_ref().unwrap().keep();
    drop(written);
    let failed = lake.write(&table, BatchId::new(), batches(&[&[1], &[2]], true)).await;
    assert!(failed.is_err());
    drop(lake.write(&table, BatchId::new(), batches(&[&[1]], false)).await.unwrap());
    for _ in 0..500 {
        if files() == 1 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{} files are left", files());
}
