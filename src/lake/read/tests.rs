//! Tables that the reference implementation wrote (`tests/data/iceberg`): every one reads as it says it must, rows and
//! their lineage, however the session splits its scans and wherever it filters.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::*;
use datafusion::prelude::{SessionConfig, SessionContext};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use serde_json::{Value, json};

use super::super::{Config, Store, TableKey};
use super::*;
use crate::error::{Error, Kind};
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
    lake_over(directory, Arc::new(LocalFileSystem::new_with_prefix(recorded().join("warehouse")).unwrap())).await
}

async fn lake_over(directory: &tempfile::TempDir, files: Arc<dyn ObjectStore>) -> Arc<Lake> {
    let path = directory.path().join("catalog.db");
    let metastore = Metastore::open(&metastore::Config { path, busy_timeout_ms: 5_000 }).await.unwrap();
    let inserts: Vec<Swap> = locations().into_iter().map(|(name, to)| Swap::Insert { table: key(&name), to }).collect();
    assert_eq!(metastore.swap(&inserts, &Also::default()).await.unwrap(), Swapped::Done);
    let config = Config {
        catalog: "lakegate".into(),
        warehouse: "s3://iceberg-corpus/spark".into(),
        s3: None,
        at: Default::default(),
        manifest_cache_bytes: 1 << 24,
    };
    let store = Store::over(files, vec!["s3://iceberg-corpus/spark/".into()]);
    Arc::new(Lake::over(&config, store, Arc::new(metastore)).unwrap())
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

/// A recorded table's files in memory, those of some name changed or left out.
async fn copied(name: &str, ending: &str, change: impl Fn(Vec<u8>) -> Option<Vec<u8>>) -> Arc<dyn ObjectStore> {
    use object_store::memory::InMemory;
    use object_store::{ObjectStoreExt, PutPayload};
    let files = InMemory::new();
    let mut folders = vec![recorded().join("warehouse/corpus").join(name)];
    while let Some(folder) = folders.pop() {
        for file in std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
            if file.is_dir() {
                folders.push(file);
                continue;
            }
            let (path, bytes) =
                (file.strip_prefix(recorded().join("warehouse")).unwrap(), std::fs::read(&file).unwrap());
            let path = path.to_str().unwrap();
            if let Some(bytes) = if path.ends_with(ending) { change(bytes) } else { Some(bytes) } {
                let to = object_store::path::Path::parse(path).unwrap();
                files.put(&to, PutPayload::from(bytes)).await.unwrap();
            }
        }
    }
    Arc::new(files)
}

/// What reading a table comes to, its files changed first.
async fn read_changed(name: &str, ending: &str, change: impl Fn(Vec<u8>) -> Option<Vec<u8>>) -> Result<usize, Error> {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake_over(&directory, copied(name, ending, change).await).await;
    rows_within(&lake, name, SessionContext::new()).await
}

async fn rows_within(lake: &Arc<Lake>, name: &str, session: SessionContext) -> Result<usize, Error> {
    let table = lake.table(&key(name)).await?.unwrap();
    let reading = lake.read(&table, table.schema()).await?;
    let rows = session.read_table(Arc::new(reading))?.collect().await?;
    Ok(rows.iter().map(RecordBatch::num_rows).sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_that_are_damaged_or_gone_fail_the_statement() {
    for (name, ending, kind) in [
        ("v3_dv", "puffin", Kind::DataGone),
        // Of a Parquet file DataFusion says no more.
        ("v2_posdel_file", "deletes.parquet", Kind::SourceFailed),
        ("v2_eqdel", "eq-00002.parquet", Kind::SourceFailed),
    ] {
        let expect = read_changed(name, ending, Some).await.unwrap();
        assert!(expect > 0, "{name}");
        let gone = read_changed(name, ending, |_| None).await.unwrap_err();
        assert_eq!(gone.kind(), kind, "{name}: {gone:?}");
        let cut = read_changed(name, ending, |bytes| Some(bytes[..20].to_vec())).await.unwrap_err();
        assert!([Kind::SourceFailed, Kind::SourceUnreachable].contains(&cut.kind()), "{name}: {cut:?}");
    }
    // One bit of the first vector: of its length, its magic, its bitmap, its checksum.
    for at in [5, 9, 30, 40] {
        let flipped = |mut bytes: Vec<u8>| {
            bytes[at] ^= 4;
            Some(bytes)
        };
        let error = read_changed("v3_upgraded", "puffin", flipped).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::SourceFailed, "a deletion vector is damaged"), "byte {at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_beyond_the_sessions_memory_are_refused() {
    use datafusion::execution::memory_pool::GreedyMemoryPool;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    let directory = tempfile::tempdir().unwrap();
    for (bytes, is_enough) in [(64, false), (1 << 20, true)] {
        for name in ["v3_dv", "v2_posdel_partition", "v2_eqdel"] {
            let lake = lake(&tempfile::tempdir_in(directory.path()).unwrap()).await;
            let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(GreedyMemoryPool::new(bytes)));
            let session = SessionContext::new_with_config_rt(SessionConfig::new(), runtime.build_arc().unwrap());
            let rows = rows_within(&lake, name, session).await;
            assert_eq!(rows.is_ok(), is_enough, "{name} in {bytes} bytes: {rows:?}");
        }
    }
}

/// What is claimed of a scan is true: `count(*)` is answered from it.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_count_is_exact_only_where_nothing_is_dropped_above_the_scan() {
    use datafusion::common::stats::Precision;
    use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(&directory).await;
    for (name, is_exact) in [("v3_types", true), ("v3_dv", false), ("v2_eqdel", false), ("v2_posdel_file", false)] {
        let reading = provider(&lake, name, false).await;
        let session = session(2, false);
        let state = session.state();
        let plan = reading.scan(&state, None, &[], None).await.unwrap();
        let statistics = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new()).unwrap();
        let rows = statistics.num_rows;
        assert_eq!(matches!(rows, Precision::Exact(_)), is_exact, "{name}: {rows:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_version_1_stays_one_when_it_is_written() {
    use super::super::{Action, BatchId, Outcome, Rows, Staged};
    let directory = tempfile::tempdir().unwrap();
    let lake = lake_over(&directory, copied("v1_plain", "none", Some).await).await;
    let base = lake.table(&key("v1_plain")).await.unwrap().unwrap();
    let session = SessionContext::new();
    let before = rows_within(&lake, "v1_plain", SessionContext::new()).await.unwrap();
    let one = || async {
        let reading = Arc::new(lake.read(&base, base.schema()).await.unwrap());
        let rows = session.read_table(reading).unwrap().limit(0, Some(1)).unwrap();
        lake.write(&base, BatchId::new(), rows.execute_stream().await.unwrap()).await.unwrap()
    };
    let also = Also::default();
    let commit =
        |base: &Table, action| lake.commit(vec![Staged::new(base.clone(), vec![action], BatchId::new())], &also);
    let outcome = commit(&base, Action::Append(one().await)).await.unwrap();
    let Outcome::Committed(tables) = outcome else { panic!("{outcome:?}") };
    assert_eq!(rows_within(&lake, "v1_plain", SessionContext::new()).await.unwrap(), before + 1);
    let removed = lake.files(&tables[0]).await.unwrap();
    let mut rows = Rows::new();
    rows.entry(removed[0].path().to_string()).or_default().insert(0);
    let refused = lake.delete(&session.state(), &tables[0], BatchId::new(), &rows).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Unsupported);
    let outcome = commit(&tables[0], Action::Overwrite { removed, added: one().await }).await.unwrap();
    let Outcome::Committed(tables) = outcome else { panic!("{outcome:?}") };
    assert_eq!(rows_within(&lake, "v1_plain", SessionContext::new()).await.unwrap(), 1);
    assert_eq!(tables[0].metadata.format_version(), iceberg::spec::FormatVersion::V1);
    // Nothing of the old snapshots has gone.
    assert_eq!(tables[0].ancestry().count(), base.ancestry().count() + 2);
}

/// Lists and manifests of the time before stay as they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_version_1_is_read_after_its_upgrade() {
    use super::super::{Action, BatchId, Outcome, Staged};
    let directory = tempfile::tempdir().unwrap();
    let lake = lake_over(&directory, copied("v1_plain", "none", Some).await).await;
    let base = lake.table(&key("v1_plain")).await.unwrap().unwrap();
    let before = rows_within(&lake, "v1_plain", SessionContext::new()).await.unwrap();
    let staged = vec![Staged::new(base, vec![Action::Upgrade], BatchId::new())];
    let outcome = lake.commit(staged, &Also::default()).await.unwrap();
    assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
    assert_eq!(rows_within(&lake, "v1_plain", SessionContext::new()).await.unwrap(), before);
}
