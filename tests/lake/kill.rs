//! A process that dies at any arrow of a commit: afterwards the rows are all there or none is, and the next commit works.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use lakegate::jobs::Job;
use lakegate::lake::{Expiry, Lake, Selection, Wanted};

use super::history::one_partition;
use super::oracle::{all_rows, lines};
use super::world::World;

/// Names the directory of a child that is to append a row and die on the way.
const DIRECTORY: &str = "LAKEGATE_TEST_KILL_DIRECTORY";

fn row(value: i64) -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
    RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![value]))]).unwrap()
}

#[tokio::test]
async fn a_commit_killed_at_any_arrow_is_whole_or_nothing() {
    let world = World::new().await;
    world.create("t", row(0)).await;
    let mut expected = vec!["0".to_string()];
    let steps = ["after_upload", "after_manifest", "after_list", "after_metadata", "after_swap"];
    for (i, step) in steps.into_iter().enumerate() {
        let value = i as i64 + 1;
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "lake::kill::child_that_appends_a_row", "--nocapture"])
            .env(DIRECTORY, world.directory.path())
            .env("LAKEGATE_TEST_KILL_VALUE", value.to_string())
            .env("LAKEGATE_FAILPOINT", step)
            .output()
            .unwrap();
        assert!(!child.status.success(), "{step}: the child lived");
        if step == "after_swap" {
            expected.push(value.to_string());
        }
        assert_eq!(lines(&all_rows(&world.table("s", "t").await).await), expected, "{step}");
        world.append("t", row(value * 10)).await;
        expected.push((value * 10).to_string());
        expected.sort();
        assert_eq!(lines(&all_rows(&world.table("s", "t").await).await), expected, "{step}, afterwards");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_killed_at_any_arrow_loses_no_row_and_leaves_nothing_for_ever() {
    let world = World::new().await;
    world.create("t", row(0)).await;
    let mut expected = vec!["0".to_string()];
    let steps =
        ["after_upload", "after_manifest", "after_list", "after_metadata", "after_swap", "after_expire", "after_sweep"];
    let (key, job, session) = (world.lake.key("s", "t"), Job::unseen(), one_partition());
    for (i, step) in steps.into_iter().enumerate() {
        for value in [2 * i as i64 + 1, 2 * i as i64 + 2] {
            world.append("t", row(value)).await;
            expected.push(value.to_string());
        }
        expected.sort();
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "lake::kill::child_that_keeps_a_table", "--nocapture"])
            .env(DIRECTORY, world.directory.path())
            .env("LAKEGATE_FAILPOINT", step)
            .output()
            .unwrap();
        assert!(!child.status.success(), "{step}: the child lived");
        assert_eq!(lines(&all_rows(&world.table("s", "t").await).await), expected, "{step}");
        let found = world.lake.check(&session, &key, &job).await.unwrap();
        assert_eq!(found.faults, Vec::<String>::new(), "{step}");
        // Whoever comes next goes on where it was.
        keep(&world.lake).await;
        assert_eq!(lines(&all_rows(&world.table("s", "t").await).await), expected, "{step}, afterwards");
        let wanted = Wanted { older_than: chrono::Utc::now(), dry_run: false };
        world.lake.orphans(&key, wanted, &job).await.unwrap();
        let found = world.lake.check(&session, &key, &job).await.unwrap();
        assert_eq!(found.faults, Vec::<String>::new(), "{step}, afterwards");
        let uuid = world.lake.table(&key).await.unwrap().unwrap().uuid();
        assert_eq!(world.lake.sweep(uuid, Duration::ZERO).await.unwrap(), 0, "{step}: files wait for ever");
    }
}

/// Everything that can be done to the table at once.
async fn keep(lake: &Arc<Lake>) {
    let (key, job) = (lake.key("s", "t"), Job::unseen());
    lake.compact(&one_partition(), &key, Selection::All, None, &job).await.unwrap();
    let expiry = Expiry { older_than: Some(i64::MAX), retain_last: Some(1), keep_at_most: None };
    lake.expire(&key, &expiry, None, &job).await.unwrap();
    let uuid = lake.table(&key).await.unwrap().unwrap().uuid();
    lake.sweep(uuid, Duration::ZERO).await.unwrap();
}

/// Does something only in the process that the test above starts.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_keeps_a_table() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let (lake, _) = super::world::open(std::path::Path::new(&directory)).await;
    keep(&lake).await;
}

/// Does something only in the process that the test above starts.
#[tokio::test]
async fn child_that_appends_a_row() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let value = std::env::var("LAKEGATE_TEST_KILL_VALUE").unwrap().parse().unwrap();
    let (_, source) = super::world::open(std::path::Path::new(&directory)).await;
    let writer = lakegate::sources::Source::writer(&source).unwrap();
    let rows = super::world::stream(row(value).schema(), vec![row(value)]);
    let tables = lakegate::sources::Source::tables(&source).await.unwrap();
    let planned = tables.iter().find(|t| *t.name() == super::world::table_name("t")).unwrap();
    writer.append(planned.as_ref(), rows).await.unwrap();
}
