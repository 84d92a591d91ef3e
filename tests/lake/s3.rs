//! The warehouse on a real S3 server: the same lake over another store, small objects and large ones.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema};
use lakegate::error::Kind;

use super::oracle::{all_rows, ask_each, lines};
use super::peers::peer;
use super::world::{World, stream, table_name};
use super::write::every_type;

pub(super) fn service(variable: &str) -> String {
    let name = format!("LAKEGATE_TEST_S3_{variable}");
    std::env::var(&name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set: `./x test` starts an S3 server; by hand: `./x services up s3` and the line it prints"
        )
    })
}

async fn world(secret: &str) -> World {
    let (endpoint, bucket, key) = (service("ENDPOINT"), service("BUCKET"), service("ACCESS_KEY"));
    let written = format!(
        "warehouse = 's3://{bucket}/lake-{}'\n[s3]\nendpoint = '{endpoint}'\nallow_http = true\n\
         access_key_id = '{key}'\nsecret_access_key = '{secret}'",
        uuid::Uuid::new_v4().simple()
    );
    let world = World::configured(tempfile::tempdir().unwrap(), &written).await;
    world.writer.create_schema("s").await.unwrap();
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_on_s3_answers_as_from_memory() {
    let world = world(&service("SECRET_KEY")).await;
    let parts = [every_type(0, 30), every_type(30, 45)];
    world.create("t", parts[0].clone()).await;
    world.append("t", parts[1].clone()).await;
    let table = world.table("s", "t").await;
    let rows = all_rows(&table).await;
    assert_eq!(lines(&rows), lines(&[concat_batches(&parts[0].schema(), &parts).unwrap()]));
    ask_each(&table, &rows, 17).await;
    let properties = [
        format!("s3.endpoint={}", service("ENDPOINT")),
        format!("s3.access-key-id={}", service("ACCESS_KEY")),
        format!("s3.secret-access-key={}", service("SECRET_KEY")),
        "s3.region=us-east-1".to_string(),
    ];
    let database = world.directory.path().join("catalog.db");
    let mut arguments = vec!["count", database.to_str().unwrap(), "t"];
    arguments.extend(properties.iter().map(String::as_str));
    assert_eq!(peer(&arguments)["rows"], 45);
}

/// Beyond the size of one upload the file goes up in parts.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_goes_up_in_parts() {
    let world = world(&service("SECRET_KEY")).await;
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
    // A multiplicative walk: every value new, nothing to compress.
    let scramble = |i: i64| i.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let batches = (0..25i64).map(|k| {
        let values = Int64Array::from_iter_values((k * 100_000..(k + 1) * 100_000).map(scramble));
        RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(values)]).unwrap()
    });
    let rows = stream(Arc::clone(&schema), batches.collect());
    assert_eq!(
        world.writer.create_table(&table_name("big"), schema, Default::default(), Some(rows)).await.unwrap(),
        2_500_000
    );
    let table = world.lake.table(&world.lake.key("s", "big")).await.unwrap().unwrap();
    let summary = table.summary(table.snapshot_id().unwrap()).unwrap();
    assert!(summary["total-files-size"].parse::<u64>().unwrap() > 15 << 20, "{}", summary["total-files-size"]);
    let session = super::oracle::session(4, false);
    session.register_table("big", world.table("s", "big").await.pin().await.unwrap().provider).unwrap();
    let got = session.sql("select count(*), count(distinct x) from big where x is not null").await.unwrap();
    assert_eq!(lines(&got.collect().await.unwrap()), ["2500000|2500000"]);
}

#[tokio::test]
async fn a_store_that_refuses_us_is_a_source_that_cannot_be_reached() {
    let right = world(&service("SECRET_KEY")).await;
    right.create("t", every_type(0, 3)).await;
    let wrong = world("not the key").await;
    let error = wrong
        .writer
        .create_table(&table_name("t"), every_type(0, 1).schema(), Default::default(), None)
        .await
        .unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::SourceUnreachable, "source \"lake\" cannot be reached"));
    assert!(!format!("{error:?}").contains("not the key"));
}
