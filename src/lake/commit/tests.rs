//! What becomes of a commit whose answer is lost. Conflicts and expectations are tested from outside (tests/lake).

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

use super::*;
use crate::lake::{Columns, Config};
use crate::metastore::{self, Loss, Metastore};

async fn lake(directory: &tempfile::TempDir) -> Lake {
    let path = directory.path().join("catalog.db");
    let metastore = Metastore::open(&metastore::Config { path, busy_timeout_ms: 5_000 }).await.unwrap();
    let config = Config {
        catalog: "lakegate".into(),
        warehouse: format!("file://{}/warehouse", directory.path().display()),
        s3: None,
        manifest_cache_bytes: 1 << 20,
    };
    let lake = Lake::connect(&config, Arc::new(metastore)).unwrap();
    lake.create_namespace("s").await.unwrap();
    lake
}

fn rows(values: &[i64]) -> SendableRecordBatchStream {
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(values.to_vec()))]).unwrap();
    Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter([Ok(batch)])))
}

async fn table(lake: &Lake) -> Table {
    let stream = rows(&[1]);
    let schema = stream.schema();
    let columns = Columns { schema: &schema, is_uuid: &|_| false, all_nullable: true };
    lake.create_table(&lake.key("s", "t"), &columns, Some(stream)).await.unwrap().0
}

async fn append(lake: &Lake, base: &Table) -> Outcome {
    let batch = BatchId::new();
    let written = lake.write(base, batch, rows(&[2])).await.unwrap();
    lake.commit(vec![Staged::append(base.clone(), written, batch)], &Also::default()).await.unwrap()
}

fn lose(lake: &Lake, losses: &[Loss]) {
    *lake.metastore.losses.lock().unwrap() = losses.iter().rev().copied().collect();
}

#[tokio::test]
async fn a_lost_answer_is_looked_up_and_never_doubles_a_row() {
    for losses in [&[Loss::Done][..], &[Loss::Sent], &[Loss::Sent, Loss::Done], &[Loss::Sent, Loss::Sent]] {
        let directory = tempfile::tempdir().unwrap();
        let lake = lake(&directory).await;
        let base = table(&lake).await;
        lose(&lake, losses);
        let Outcome::Committed(tables) = append(&lake, &base).await else { panic!("{losses:?}") };
        let newest = lake.table(&base.key).await.unwrap().unwrap();
        assert_eq!(newest.location, tables[0].location, "{losses:?}");
        assert_eq!(newest.ancestry().count(), 2, "{losses:?}");
        let summary = newest.summary(newest.snapshot_id().unwrap()).unwrap();
        assert_eq!(summary["total-records"], "2", "{losses:?}");
    }
}

#[tokio::test]
async fn a_table_whose_creation_was_not_answered_stands_once() {
    for loss in [Loss::Done, Loss::Sent] {
        let directory = tempfile::tempdir().unwrap();
        let lake = lake(&directory).await;
        lose(&lake, &[loss]);
        let made = table(&lake).await;
        assert_eq!(lake.tables().await.unwrap()[0].location, made.location, "{loss:?}");
    }
}
