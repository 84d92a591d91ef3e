//! A process that dies at any arrow of a commit: afterwards the rows are all there or none is, and the next commit works.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};

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
