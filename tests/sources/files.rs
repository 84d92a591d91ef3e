//! Files of a bucket as tables, on the service that the tests run: what a folder of this machine shows in unit tests, over
//! the network.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use lakegate::sources::files::Files;
use object_store::ObjectStoreExt;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use parquet::arrow::ArrowWriter;

use super::{context, query, rows, table, told};
use crate::ingest::home::service;

fn parquet(values: &[i64]) -> Vec<u8> {
    let column = Arc::new(Int64Array::from(values.to_vec())) as ArrayRef;
    let batch = RecordBatch::try_from_iter([("id", column)]).unwrap();
    let mut writer = ArrowWriter::try_new(vec![], batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_of_a_bucket_is_a_folder_of_tables() {
    let given = |name: &str| service(&format!("LAKEGATE_TEST_S3_{name}"));
    let (endpoint, bucket) = (given("ENDPOINT"), given("BUCKET"));
    let (key, secret) = (given("ACCESS_KEY"), given("SECRET_KEY"));
    let prefix = format!("files-{}", uuid::Uuid::new_v4().simple());
    let s3 = AmazonS3Builder::new().with_endpoint(&endpoint).with_allow_http(true).with_bucket_name(&bucket);
    let s3 = s3.with_access_key_id(&key).with_secret_access_key(&secret).with_region("us-east-1").build().unwrap();
    let put = async |name: &str, bytes: Vec<u8>| {
        s3.put(&Path::from(format!("{prefix}/{name}")), bytes.into()).await.unwrap();
    };
    put("csv/year=2024/a.csv", b"id,x\n1,a\n2,b\n".to_vec()).await;
    put("csv/year=2025/a.csv", b"id,x\n3,c\n".to_vec()).await;
    put("p/a.parquet", parquet(&[1, 2])).await;
    let text = format!(
        "schema = \"raw\"\npath = \"s3://{bucket}/{prefix}\"\n[s3]\nendpoint = \"{endpoint}\"\nallow_http = true\n\
         access_key_id = \"{key}\"\nsecret_access_key = \"{secret}\"\n[tables.csv]\nfiles = \"csv/**\"\nformat = \"csv\"\n\
         [tables.p]\nfiles = \"p/*\"\nformat = \"parquet\"\n"
    );
    let source = Files::new("drop", &toml::from_str(&text).unwrap()).unwrap();
    let csv = table(&source, "raw.csv").await;
    let now = context(&csv).await;
    assert_eq!(rows(&now, "SELECT id, x, year FROM t ORDER BY id").await, ["1|a|2024", "2|b|2024", "3|c|2025"]);
    assert_eq!(rows(&now, "SELECT id FROM t WHERE year = 2025").await, ["3"]);
    let p = table(&source, "raw.p").await;
    assert_eq!(rows(&context(&p).await, "SELECT id FROM t WHERE id > 1").await, ["2"]);
    put("p/b.parquet", parquet(&[7])).await;
    let now = context(&p).await;
    assert_eq!(rows(&now, "SELECT count(*), max(id) FROM t").await, ["3|7"]);
    // Another object under the name of one that the statement saw: it is not mixed with the other.
    put("p/b.parquet", parquet(&[8, 9, 10])).await;
    let changed = told(query(&now, "SELECT max(id) FROM t").await);
    assert_eq!(changed, ("58000", "a file of table raw.p was changed or removed while it was read".to_owned()));
}
