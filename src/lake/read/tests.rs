//! Tables that the reference implementation wrote (`tests/data/iceberg`): every one reads as it says it must, rows and
//! their lineage, however the session splits its scans and wherever it filters.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::*;
use datafusion::prelude::{SessionConfig, SessionContext};
use object_store::local::LocalFileSystem;
use serde_json::{Value, json};

use super::super::{Config, Store, TableKey};
use super::*;
use crate::metastore::{self, Also, Metastore, Swap, Swapped};

fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/iceberg/spark_v3")
}

fn key(name: &str) -> TableKey {
    TableKey { catalog: "lakegate".into(), namespace: "corpus".into(), name: name.into() }
}

fn locations() -> BTreeMap<String, String> {
    serde_json::from_str(&std::fs::read_to_string(recorded().join("tables.json")).unwrap()).unwrap()
}

/// The recorded tables, their recorded URIs answered from the folder.
async fn lake(directory: &tempfile::TempDir) -> Arc<Lake> {
    let path = directory.path().join("catalog.db");
    let metastore = Metastore::open(&metastore::Config { path, busy_timeout_ms: 5_000 }).await.unwrap();
    let inserts: Vec<Swap> = locations().into_iter().map(|(name, to)| Swap::Insert { table: key(&name), to }).collect();
    assert_eq!(metastore.swap(&inserts, &Also::default()).await.unwrap(), Swapped::Done);
    let config = Config {
        catalog: "lakegate".into(),
        warehouse: "s3://iceberg-corpus/spark".into(),
        s3: None,
        manifest_cache_bytes: 1 << 24,
    };
    let files = LocalFileSystem::new_with_prefix(recorded().join("warehouse")).unwrap();
    let store = Store::over(Arc::new(files), vec!["s3://iceberg-corpus/spark/".into()]);
    Arc::new(Lake::over(&config, store, Arc::new(metastore)))
}

fn session(partitions: usize, pushdown: bool) -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(partitions);
    config.options_mut().execution.parquet.pushdown_filters = pushdown;
    config.options_mut().optimizer.repartition_file_min_size = 1;
    SessionContext::new_with_config(config)
}

/// The table's columns, and its rows' lineage where it is wanted; uuids marked for [`value`].
fn columns(table: &Table, lineage: bool) -> SchemaRef {
    let uuids = table.uuid_columns();
    let mut fields: Vec<FieldRef> = table.schema().fields().to_vec();
    for field in &mut fields {
        if crate::lake::field_id(field).is_some_and(|id| uuids.contains(&id)) {
            let mut metadata = field.metadata().clone();
            metadata.insert("uuid".into(), String::new());
            *field = Arc::new(field.as_ref().clone().with_metadata(metadata));
        }
    }
    if lineage {
        fields.extend(Table::lineage_columns());
    }
    Arc::new(Schema::new(fields))
}

async fn provider(lake: &Arc<Lake>, name: &str, lineage: bool) -> Arc<Reading> {
    let table = lake.table(&key(name)).await.unwrap().unwrap();
    Arc::new(lake.read(&table, columns(&table, lineage)).await.unwrap())
}

async fn ask(session: &SessionContext, question: &str) -> Vec<RecordBatch> {
    session.sql(question).await.unwrap().collect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_table_reads_right() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(&directory).await;
    let mut with_lineage = 0;
    let locations = locations();
    assert_eq!(locations.len(), 20);
    for name in locations.keys() {
        let variants = lake.table(&key(name)).await.unwrap().unwrap().json_columns();
        for (what, lineage) in [("", false), (".lineage", true)] {
            let expected = recorded().join(format!("expected/{name}{what}.jsonl"));
            let Ok(expected) = std::fs::read_to_string(expected) else { continue };
            with_lineage += usize::from(lineage);
            let reading = provider(&lake, name, lineage).await;
            for (partitions, pushdown) in [(1, false), (4, false), (4, true)] {
                let session = session(partitions, pushdown);
                session.register_table("t", Arc::clone(&reading) as Arc<dyn TableProvider>).unwrap();
                let rows = json_lines(&ask(&session, "SELECT * FROM t").await, &variants);
                assert_eq!(rows, lines(&expected), "{name}{what} in {partitions} partitions");
                let count = ask(&session, "SELECT count(*) FROM t").await;
                assert_eq!(count[0].column(0).as_primitive::<Int64Type>().value(0) as usize, rows.len(), "{name}");
            }
        }
    }
    assert_eq!(with_lineage, 11);
}

/// Filters, sorts and limits by every column, asked of a table and of its rows in memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_filter_leaves_out_nothing_but_what_it_must() {
    use datafusion::functions_aggregate::expr_fn::count;
    use datafusion::prelude::{col, ident, lit};
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(&directory).await;
    let mut asked = 0;
    for name in locations().keys() {
        let reading = provider(&lake, name, true).await;
        let session = session(2, true);
        let lake_rows = || session.read_table(Arc::clone(&reading) as Arc<dyn TableProvider>).unwrap();
        let all = lake_rows().collect().await.unwrap();
        let memory_rows = || session.read_batches(all.clone()).unwrap();
        let total: usize = all.iter().map(RecordBatch::num_rows).sum();
        for field in reading.schema().fields().iter().filter(|f| !f.data_type().is_nested()) {
            let column = || ident(field.name());
            let mut filters = vec![column().is_null(), column().is_not_null()];
            let mut values = std::collections::BTreeMap::new();
            for batch in &all {
                for row in 0..batch.num_rows() {
                    let array = batch.column_by_name(field.name()).unwrap();
                    let value = datafusion::common::ScalarValue::try_from_array(array, row).unwrap();
                    values.insert(value.to_string(), value);
                }
            }
            for value in values.into_values().filter(|v| !v.is_null()).step_by(3).take(2) {
                let value = || lit(value.clone());
                filters.extend([
                    column().eq(value()),
                    column().not_eq(value()),
                    column().lt(value()),
                    column().gt_eq(value()),
                    column().in_list(vec![value()], false).and(column().is_not_null()),
                ]);
            }
            for filter in filters {
                asked += 1;
                let text = |rows| json_lines(rows, &HashSet::new());
                let got = lake_rows().filter(filter.clone()).unwrap().collect().await.unwrap();
                let expect = memory_rows().filter(filter.clone()).unwrap().collect().await.unwrap();
                assert_eq!(text(&got), text(&expect), "{name}: {filter}");
                let counted = |rows: datafusion::prelude::DataFrame| {
                    rows.filter(filter.clone()).unwrap().aggregate(vec![], vec![count(lit(1))]).unwrap().collect()
                };
                let (got, expect) = (counted(lake_rows()).await.unwrap(), counted(memory_rows()).await.unwrap());
                assert_eq!(got[0].column(0), expect[0].column(0), "count of {name}: {filter}");
            }
            for ascending in [true, false] {
                asked += 1;
                let sort = || vec![col(datafusion::common::Column::from_name(field.name())).sort(ascending, false)];
                let top = |rows: datafusion::prelude::DataFrame| {
                    rows.sort(sort()).unwrap().limit(0, Some(3)).unwrap().select(vec![column()]).unwrap().collect()
                };
                let (got, expect) = (top(lake_rows()).await.unwrap(), top(memory_rows()).await.unwrap());
                let text = |rows: &[RecordBatch]| json_lines(rows, &HashSet::new());
                assert_eq!(text(&got), text(&expect), "{name} by {} {ascending}", field.name());
            }
        }
        for limit in [1, total / 2, total] {
            let rows = lake_rows().limit(0, Some(limit)).unwrap().collect().await.unwrap();
            assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), limit, "{name} limit {limit}");
        }
    }
    assert!(asked > 800, "{asked}");
}

fn lines(expected: &str) -> Vec<String> {
    let mut lines: Vec<String> =
        expected.lines().map(|line| serde_json::from_str::<Value>(line).unwrap().to_string()).collect();
    lines.sort();
    lines
}

/// One JSON object a row in the spelling of the recorded tables, in order of text.
fn json_lines(batches: &[RecordBatch], variants: &HashSet<i32>) -> Vec<String> {
    let mut lines = vec![];
    for batch in batches {
        for row in 0..batch.num_rows() {
            let fields = batch.schema_ref().fields().iter().zip(batch.columns());
            let object: serde_json::Map<_, _> =
                fields.map(|(f, c)| (f.name().clone(), value(c, row, f, variants))).collect();
            lines.push(Value::Object(object).to_string());
        }
    }
    lines.sort();
    lines
}

fn value(array: &ArrayRef, row: usize, field: &Field, variants: &HashSet<i32>) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    let float = |value: f64| match value {
        v if v.is_nan() => json!("NaN"),
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        v => json!(v),
    };
    let hex = |bytes: &[u8]| json!(bytes.iter().map(|b| format!("{b:02X}")).collect::<String>());
    let stamp = |at: chrono::NaiveDateTime, digits: &str, zone: bool| {
        json!(format!("{}{}", at.format(&format!("%Y-%m-%dT%H:%M:%S%.{digits}f")), if zone { "Z" } else { "" }))
    };
    match array.data_type() {
        DataType::Boolean => json!(array.as_boolean().value(row)),
        DataType::Int32 => json!(array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => json!(array.as_primitive::<Int64Type>().value(row)),
        // The shortest text of the narrow float, not that of the wide one.
        DataType::Float32 => float(array.as_primitive::<Float32Type>().value(row).to_string().parse().unwrap()),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(_, _) => json!(array.as_primitive::<Decimal128Type>().value_as_string(row)),
        DataType::Date32 => json!(array.as_primitive::<Date32Type>().value_as_date(row).unwrap().to_string()),
        DataType::Time64(_) => {
            let time = array.as_primitive::<Time64MicrosecondType>().value_as_time(row).unwrap();
            json!(time.format("%H:%M:%S%.6f").to_string())
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let at = array.as_primitive::<TimestampMicrosecondType>().value_as_datetime(row).unwrap();
            stamp(at, "6", zone.is_some())
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            let at = array.as_primitive::<TimestampNanosecondType>().value_as_datetime(row).unwrap();
            stamp(at, "9", zone.is_some())
        }
        DataType::Utf8 if crate::lake::field_id(field).is_some_and(|id| variants.contains(&id)) => {
            serde_json::from_str(array.as_string::<i32>().value(row)).unwrap()
        }
        DataType::Utf8 => json!(array.as_string::<i32>().value(row)),
        DataType::Binary => hex(array.as_binary::<i32>().value(row)),
        DataType::FixedSizeBinary(_) => {
            let bytes = array.as_fixed_size_binary().value(row);
            match field.metadata().contains_key("uuid") {
                true => json!(uuid::Uuid::from_slice(bytes).unwrap().to_string()),
                false => hex(bytes),
            }
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(array.as_struct().columns());
            let object: serde_json::Map<_, _> =
                columns.map(|(f, c)| (f.name().clone(), value(c, row, f, variants))).collect();
            Value::Object(object)
        }
        DataType::List(element) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len()).map(|i| value(&items, i, element, variants)).collect()
        }
        DataType::Map(entries, _) => {
            let DataType::Struct(pair) = entries.data_type() else { panic!("{entries}") };
            let items = array.as_map().value(row);
            let name = |i| match value(items.column(0), i, &pair[0], variants) {
                Value::String(text) => text,
                other => other.to_string(),
            };
            let entry = |i| (name(i), value(items.column(1), i, &pair[1], variants));
            let object: serde_json::Map<_, _> = (0..items.len()).map(entry).collect();
            Value::Object(object)
        }
        other => panic!("no spelling for {other}"),
    }
}
