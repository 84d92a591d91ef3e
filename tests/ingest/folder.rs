//! A folder of a whole gateway: files that are put there are rows of a table, each once, over restarts and deaths.

use std::path::Path;

use object_store::ObjectStoreExt;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path as Key;

use super::home::service;
use crate::gateway::{Files, Gateway, simple, until};

const PIPELINE: &str = "origin = \"folder\"\nwrite = \"upsert\"\ntarget = \"sales\"\n[commit]\nage_ms = 20\nrows_max = 1000\n\
                        [folder]\npath = \"@DIR@/in\"\npattern = \"*.csv\"\nformat = \"csv\"\nlook_ms = 20\nsettle_ms = 0\n\
                        table = \"prices\"\nkey_columns = [\"id\"]\n\
                        columns = [{ name = \"id\", type = \"int8\" }, { name = \"price\", type = \"numeric(12,2)\" }]\n";

const POLICY: &str = "p, root, *, select, allow\np2, root, *, unfiltered\np, root, lakegate.admin, select, allow\n";

/// As a producer does that knows its trade: whole under another name first.
fn put(dir: &Path, name: &str, text: &str) {
    let half = dir.join("in/.half");
    std::fs::write(&half, text).unwrap();
    std::fs::rename(half, dir.join("in").join(name)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_current_rows_and_a_restart_reads_none_again() {
    let users = vec![("root".to_string(), String::new())];
    let files = Files { policy: POLICY.into(), users, ..Files::default() }.with_lake();
    let gateway = Gateway::start_after(&files, async |dir: &Path| {
        std::fs::create_dir_all(dir.join("catalog/pipelines")).unwrap();
        std::fs::create_dir_all(dir.join("in")).unwrap();
        let text = PIPELINE.replace("@DIR@", &dir.display().to_string());
        std::fs::write(dir.join("catalog/pipelines/prices.toml"), text).unwrap();
    })
    .await;
    // More than a batch.
    let many: String = (0..10_000).map(|id| format!("{id},{id}.50\n")).collect();
    put(gateway.dir.path(), "a.csv", &format!("id,price\n{many}"));
    let root = gateway.connect("root").await;
    let sums = "SELECT count(*), sum(price) FROM sales.prices";
    until(&root, sums, |answer| answer == "10000|50000000.00\n(1)").await;
    put(gateway.dir.path(), "b.csv", "price,id\n0,9999\n1,10000\n");
    until(&root, sums, |answer| answer == "10001|49990001.50\n(1)").await;
    let dir = gateway.stop().await;
    put(dir.path(), "c.csv", "id,price\n10000,2\n");
    let gateway = Box::pin(Gateway::again(dir)).await;
    let root = gateway.connect("root").await;
    until(&root, sums, |answer| answer == "10001|49990002.50\n(1)").await;
    // A bad file stops the pipeline, and says which it is and where.
    put(gateway.dir.path(), "d.csv", "id,price\n1,x\n");
    let states = "SELECT state, error FROM lakegate.pipelines";
    let told = "paused|file \"d.csv\", line 2: column \"price\"";
    until(&root, states, |answer| answer.starts_with(told)).await;
    assert_eq!(simple(&root, sums).await, "10001|49990002.50\n(1)");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_before_a_bad_file_does_not_wait_for_it() {
    let users = vec![("root".to_string(), String::new())];
    let files = Files { policy: POLICY.into(), users, ..Files::default() }.with_lake();
    let gateway = Gateway::start_after(&files, async |dir: &Path| {
        std::fs::create_dir_all(dir.join("catalog/pipelines")).unwrap();
        std::fs::create_dir_all(dir.join("in")).unwrap();
        // No batch is old enough while this runs.
        let text = PIPELINE.replace("@DIR@", &dir.display().to_string()).replace("age_ms = 20\n", "age_ms = 3600000\n");
        put(dir, "a.csv", "id,price\n1,1.50\n");
        put(dir, "b.csv", "id,price\n1,x\n");
        std::fs::write(dir.join("catalog/pipelines/prices.toml"), text).unwrap();
    })
    .await;
    let root = gateway.connect("root").await;
    let states = "SELECT state, error FROM lakegate.pipelines";
    until(&root, states, |answer| answer.starts_with("paused|file \"b.csv\", line 2")).await;
    until(&root, "SELECT id, price FROM sales.prices", |answer| answer == "1|1.50\n(1)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_of_a_bucket_is_a_folder_too() {
    let given = |name: &str| service(&format!("LAKEGATE_TEST_S3_{name}"));
    let (endpoint, bucket) = (given("ENDPOINT"), given("BUCKET"));
    let (key, secret) = (given("ACCESS_KEY"), given("SECRET_KEY"));
    let prefix = format!("in-{}", uuid::Uuid::new_v4().simple());
    let s3 = AmazonS3Builder::new().with_endpoint(&endpoint).with_allow_http(true).with_bucket_name(&bucket);
    let s3 = s3.with_access_key_id(&key).with_secret_access_key(&secret).with_region("us-east-1").build().unwrap();
    let put = async |name: &str, text: &str| {
        s3.put(&Key::from(format!("{prefix}/{name}")), text.as_bytes().to_vec().into()).await.unwrap();
    };
    put("below/a.json", "{\"id\": 1, \"price\": 1.5}\n{\"id\": 2, \"price\": 2}").await;
    put("b.txt", "nonsense").await;
    let users = vec![("root".to_string(), String::new())];
    let files = Files { policy: POLICY.into(), users, ..Files::default() }.with_lake();
    let gateway = Gateway::start_after(&files, async |dir: &Path| {
        std::fs::create_dir_all(dir.join("catalog/pipelines")).unwrap();
        let text = PIPELINE.replace("@DIR@/in", &format!("s3://{bucket}/{prefix}")).replace("csv", "json");
        let text = format!(
            "{text}[folder.s3]\nendpoint = \"{endpoint}\"\nallow_http = true\naccess_key_id = \"{key}\"\n\
             secret_access_key = \"{secret}\"\n"
        );
        std::fs::write(dir.join("catalog/pipelines/prices.toml"), text).unwrap();
    })
    .await;
    let root = gateway.connect("root").await;
    let sums = "SELECT count(*), sum(price) FROM sales.prices";
    until(&root, sums, |answer| answer == "2|3.50\n(1)").await;
    // The same name with another content is another file.
    put("below/a.json", "{\"id\": 2, \"price\": 7}\n{\"id\": 3, \"price\": 1}").await;
    until(&root, sums, |answer| answer == "3|9.50\n(1)").await;
}
