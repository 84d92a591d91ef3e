//! What lakegate writes, lakegate reads: every type, NULLs, NaNs, nesting, several files and row groups.

use std::sync::Arc;

use arrow::array::*;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Float64Type, Int32Type, Schema, TimeUnit};
use lakegate::error::Kind;

use super::oracle::{all_rows, ask_everything, lines};
use super::world::{World, stream, table_name};

/// Rows `from..to` of every type a lake table keeps.
pub(crate) fn every_type(from: i64, to: i64) -> RecordBatch {
    let rows = || from..to;
    let some = |i: i64| i % 5 != 3;
    let uuid = Field::new("u", DataType::FixedSizeBinary(16), true)
        .with_metadata([("lakegate.oid".to_string(), "2950".to_string())].into());
    let uuids = rows().map(|i| some(i).then(|| (i as u128).to_be_bytes()));
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(
        rows().map(|i| some(i).then(|| (0..i % 4).map(|k| (k != 2).then_some((i + k) as i32)).collect::<Vec<_>>())),
    );
    let inner = StructArray::from(vec![
        (
            Arc::new(Field::new("x", DataType::Int64, true)),
            Arc::new(Int64Array::from_iter(rows().map(|i| some(i + 1).then_some(i)))) as ArrayRef,
        ),
        (
            Arc::new(Field::new("y", DataType::Utf8, true)),
            Arc::new(StringArray::from_iter_values(rows().map(|i| format!("y{i}")))) as ArrayRef,
        ),
    ]);
    let mut map = MapBuilder::new(None, StringBuilder::new(), Float64Builder::new());
    for i in rows() {
        for k in 0..i % 3 {
            map.keys().append_value(format!("k{k}"));
            map.values().append_value(i as f64 + k as f64);
        }
        map.append(some(i)).unwrap();
    }
    let map = map.finish();
    let columns: Vec<(Field, ArrayRef)> = vec![
        (Field::new("id", DataType::Int64, false), Arc::new(Int64Array::from_iter_values(rows()))),
        (
            Field::new("b", DataType::Boolean, true),
            Arc::new(BooleanArray::from_iter(rows().map(|i| some(i).then_some(i % 2 == 0)))),
        ),
        (
            Field::new("i", DataType::Int32, true),
            Arc::new(Int32Array::from_iter(rows().map(|i| some(i).then_some(i as i32 - 50)))),
        ),
        (
            Field::new("f", DataType::Float32, true),
            Arc::new(Float32Array::from_iter(rows().map(|i| some(i).then_some(i as f32 / 4.0)))),
        ),
        (Field::new("d", DataType::Float64, true), Arc::new(Float64Array::from_iter(rows().map(double)))),
        (
            Field::new("n", DataType::Decimal128(12, 2), true),
            Arc::new(
                Decimal128Array::from_iter(rows().map(|i| some(i).then_some(i as i128 * 37 - 900)))
                    .with_precision_and_scale(12, 2)
                    .unwrap(),
            ),
        ),
        (
            Field::new("big", DataType::Decimal128(38, 10), true),
            Arc::new(
                Decimal128Array::from_iter(rows().map(|i| some(i).then_some(i as i128 * 10i128.pow(30))))
                    .with_precision_and_scale(38, 10)
                    .unwrap(),
            ),
        ),
        (
            Field::new("day", DataType::Date32, true),
            Arc::new(Date32Array::from_iter(rows().map(|i| some(i).then_some(i as i32 * 30 - 1000)))),
        ),
        (
            Field::new("t", DataType::Time64(TimeUnit::Microsecond), true),
            Arc::new(Time64MicrosecondArray::from_iter(rows().map(|i| some(i).then_some(i * 1_000_001)))),
        ),
        (
            Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), true),
            Arc::new(TimestampMicrosecondArray::from_iter(rows().map(|i| some(i).then_some(i * 3_600_000_000 - 7)))),
        ),
        (
            Field::new("tz", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
            Arc::new(
                TimestampMicrosecondArray::from_iter(rows().map(|i| some(i).then_some(i * 86_400_000_000)))
                    .with_timezone("UTC"),
            ),
        ),
        (Field::new("s", DataType::Utf8, true), Arc::new(StringArray::from_iter(rows().map(text)))),
        (uuid, Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(uuids, 16).unwrap())),
        (
            Field::new("bin", DataType::Binary, true),
            Arc::new(BinaryArray::from_iter(rows().map(|i| some(i).then(|| vec![0xff; (i % 20) as usize])))),
        ),
        (Field::new("list", list.data_type().clone(), true), Arc::new(list)),
        (Field::new("st", inner.data_type().clone(), true), Arc::new(inner)),
        (Field::new("m", map.data_type().clone(), true), Arc::new(map)),
    ];
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn double(i: i64) -> Option<f64> {
    match i % 11 {
        3 => None,
        4 => Some(f64::NAN),
        5 => Some(f64::INFINITY),
        6 => Some(f64::NEG_INFINITY),
        7 => Some(-0.0),
        _ => Some(i as f64 * 1.5 - 20.0),
    }
}

fn text(i: i64) -> Option<String> {
    (i % 7 != 2).then(|| match i % 3 {
        0 => format!("a long common prefix, then {i}"),
        1 => format!("ünï¢ode \u{10FFFF} {i}"),
        _ => String::new(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_question_is_answered_as_from_memory() {
    let world = World::new().await;
    world.create("t", every_type(0, 40)).await;
    for from in [40, 60, 61, 90] {
        world.append("t", every_type(from, from + 25)).await;
    }
    let table = world.table("s", "t").await;
    let parts = [every_type(0, 40), every_type(40, 65), every_type(60, 85), every_type(61, 86), every_type(90, 115)];
    let rows = all_rows(&table).await;
    let expected = concat_batches(&parts[0].schema(), &parts).unwrap();
    assert_eq!(lines(&rows), lines(&[expected]));
    let asked = ask_everything(&table, &rows).await;
    assert!(asked > 1000, "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_hold_an_answer_are_not_read() {
    let world = World::new().await;
    let batch = |from: i64| every_type(from, from + 10);
    world.create("t", batch(0)).await;
    for from in 1..10 {
        world.append("t", batch(from * 10)).await;
    }
    let provider = world.table("s", "t").await.pin().await.unwrap().provider;
    let session = super::oracle::session(1, false);
    session.register_table("t", provider).unwrap();
    let files = async |sql: &str| {
        let plan = session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let text = datafusion::physical_plan::displayable(plan.as_ref()).indent(true).to_string();
        text.matches(".parquet").count()
    };
    for (predicate, expect) in [
        ("id = 55", 1),
        ("id < 20", 2),
        ("id = 1000", 0),
        ("n > 10.00 and n < 11.00", 1),
        ("tz = '1970-01-26T00:00:00Z'", 1),
        ("s = 'zzz'", 10),
        ("list is null", 10),
        ("d > 1000", 10),
        ("f > 1000", 0),
    ] {
        assert_eq!(files(&format!("select id from t where {predicate}")).await, expect, "{predicate}");
    }
}

#[tokio::test]
async fn a_table_is_split_into_files_and_row_groups_and_read_whole() {
    let world = World::new().await;
    let rows = 300_000i64;
    let schema =
        Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("x", DataType::Float64, true)]));
    let batches = (0..30).map(|k| {
        let ids = Int64Array::from_iter_values((0..rows / 30).map(|i| i + k * rows / 30));
        let xs: Float64Array = PrimitiveArray::<Float64Type>::from_iter(ids.values().iter().map(|i| Some(*i as f64)));
        RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(ids), Arc::new(xs)]).unwrap()
    });
    let all = stream(Arc::clone(&schema), batches.collect());
    let written = world
        .writer
        .create_table(&table_name("big"), Arc::clone(&schema), Default::default(), Some(all))
        .await
        .unwrap();
    assert_eq!(written, rows as u64);
    let provider = world.table("s", "big").await.pin().await.unwrap().provider;
    for partitions in [1, 4] {
        let session = super::oracle::session(partitions, false);
        session.register_table("big", Arc::clone(&provider)).unwrap();
        let got = session.sql("select count(x), sum(id), max(x) from big where id >= 10").await.unwrap();
        assert_eq!(lines(&got.collect().await.unwrap()), ["299990|44999849955|299999.0"]);
    }
}

#[tokio::test]
async fn what_the_table_cannot_keep_is_refused() {
    let world = World::new().await;
    let refused = async |fields: Vec<Field>| {
        let schema = Arc::new(Schema::new(fields));
        let error = world.writer.create_table(&table_name("no"), schema, Default::default(), None).await.unwrap_err();
        (error.kind(), error.message().to_string())
    };
    let interval = DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano);
    assert_eq!(
        refused(vec![Field::new("a", DataType::Int64, true), Field::new("gap", interval, true)]).await,
        (Kind::Unsupported, "column \"gap\" has a type that a lake table cannot keep".into())
    );
    assert_eq!(
        refused(vec![Field::new("_row_id", DataType::Int64, true)]).await,
        (Kind::InvalidDefinition, "column name \"_row_id\" is reserved by the table format".into())
    );
    let narrow = Arc::new(Schema::new(vec![Field::new("x", DataType::Int32, false)]));
    world.writer.create_table(&table_name("t"), narrow, Default::default(), None).await.unwrap();
    let planned = world.table("s", "t").await;
    let append = async |array: ArrayRef| {
        let schema = Arc::new(Schema::new(vec![Field::new("x", array.data_type().clone(), true)]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![array]).unwrap();
        let error = world.writer.append(planned.as_ref(), stream(schema, vec![batch])).await.unwrap_err();
        (error.kind(), error.message().to_string())
    };
    assert_eq!(
        append(Arc::new(Int64Array::from(vec![1, i64::MAX]))).await,
        (Kind::NumericRange, "a value for column \"x\" is out of range".into())
    );
    assert_eq!(
        append(Arc::new(Int32Array::from(vec![Some(1), None]))).await,
        (Kind::NotNull, "null value in column \"x\" violates not-null constraint".into())
    );
    assert!(all_rows(&world.table("s", "t").await).await.iter().all(|b| b.num_rows() == 0));
}

/// Whatever the Parquet reader promises, the filter stays above it.
#[tokio::test]
async fn no_scan_ever_owns_a_filter() {
    let world = World::new().await;
    world.create("t", every_type(0, 20)).await;
    let provider = world.table("s", "t").await.pin().await.unwrap().provider;
    for (setting, session) in super::oracle::sessions() {
        session.register_table("t", Arc::clone(&provider)).unwrap();
        for predicate in ["id > 5", "st['x'] > 1", "s = 'x' and id = 1"] {
            let sql = format!("select d from t where {predicate}");
            let plan = session.sql(&sql).await.unwrap().create_physical_plan().await.unwrap();
            let text = datafusion::physical_plan::displayable(plan.as_ref()).indent(false).to_string();
            let (filter, guard) = (text.find("FilterExec"), text.find("LakeGuardExec"));
            assert!(filter.is_some() && filter < guard, "{predicate} ({setting})\n{text}");
        }
    }
}

/// Parquet's own statistics leave NaN out: a reader that believed them would miss the greatest value of all.
#[tokio::test]
async fn nan_is_found_above_every_recorded_maximum() {
    let world = World::new().await;
    let schema =
        Arc::new(Schema::new(vec![Field::new("d", DataType::Float64, true), Field::new("f", DataType::Float32, true)]));
    let batch = |values: [f64; 3]| {
        let narrow = Float32Array::from_iter_values(values.map(|v| v as f32));
        let wide = Float64Array::from(values.to_vec());
        RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(wide), Arc::new(narrow)]).unwrap()
    };
    world.create("t", batch([1.0, f64::NAN, 2.0])).await;
    world.append("t", batch([3.0, -0.0, 4.0])).await;
    let provider = world.table("s", "t").await.pin().await.unwrap().provider;
    for (setting, session) in super::oracle::sessions() {
        session.register_table("t", Arc::clone(&provider)).unwrap();
        for (predicate, expect) in [
            ("d > 400", 1),
            ("f >= 400", 1),
            ("d <> 1", 5),
            ("d = 'NaN'::double", 1),
            ("d >= 4 and f >= 4", 2),
            ("d < 0", 0),
            ("d = 0", 1),
            ("not (d <= 4)", 1),
        ] {
            let sql = format!("select count(*) from t where {predicate}");
            let got = session.sql(&sql).await.unwrap().collect().await.unwrap();
            assert_eq!(lines(&got), [expect.to_string()], "{predicate} ({setting})");
        }
        let top = session.sql("select d from t order by d desc limit 1").await.unwrap().collect().await.unwrap();
        assert_eq!(lines(&top), ["NaN"], "{setting}");
    }
}
