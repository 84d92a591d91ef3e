//! Tables that others change between two looks.

use super::*;
use crate::jobs::Job;
use crate::lake::fixture::{lake, rows};
use crate::lake::{Action, Also, BatchId, Columns, Making, Outcome, Selection, Staged};
use std::sync::Arc;

async fn made(lake: &Lake) -> Table {
    let stream = rows(&[1, 2]);
    let schema = stream.schema();
    let columns = Columns { schema: &schema, is_uuid: &|_| false, all_nullable: true };
    lake.create_table(&lake.key("s", "t"), &columns, Making::default(), Some(stream)).await.unwrap().0
}

async fn sent(lake: &Lake, base: &Table, actions: Vec<Action>, batch: BatchId) -> Table {
    match lake.commit(vec![Staged::new(base.clone(), actions, batch)], &Also::default()).await.unwrap() {
        Outcome::Committed(mut tables) => tables.remove(0),
        other => panic!("{other:?}"),
    }
}

async fn append(lake: &Lake, base: &Table, values: &[i64]) -> Table {
    let batch = BatchId::new();
    let written = lake.write(base, batch, rows(values)).await.unwrap();
    sent(lake, base, vec![Action::Append(written)], batch).await
}

async fn compacted(lake: &Arc<Lake>, table: &Table) -> Table {
    let state = datafusion::prelude::SessionContext::new().state();
    lake.compact(&state, &table.key, Selection::All, None, &Job::unseen()).await.unwrap();
    lake.table(&table.key).await.unwrap().unwrap()
}

#[tokio::test]
async fn appended_files_are_told_and_nothing_else_is() {
    let directory = tempfile::tempdir().unwrap();
    let lake = Arc::new(lake(&directory).await);
    let first = made(&lake).await;
    let then = first.snapshot_id();
    assert_eq!(lake.added(&first, then).await.unwrap(), Some(Added::default()));
    let second = append(&lake, &first, &[3]).await;
    let third = append(&lake, &second, &[4, 5]).await;
    let added = lake.added(&third, then).await.unwrap().unwrap();
    assert_eq!((added.files.len(), added.rows), (2, 3));
    assert_eq!(lake.added_within(&third, then, 1).await.unwrap(), None, "more snapshots than are looked at");
    assert_eq!(lake.added_within(&third, then, 2).await.unwrap(), Some(added));
    let all = lake.added(&third, None).await.unwrap().unwrap();
    assert_eq!((all.files.len(), all.rows), (3, 5));
    assert_eq!(lake.added(&third, Some(17)).await.unwrap(), None, "a snapshot that it never had");
    let removed = lake.files(&third).await.unwrap().into_iter().take(1).collect();
    let overwritten =
        sent(&lake, &third, vec![Action::Overwrite { removed, added: Default::default() }], BatchId::new()).await;
    assert_eq!(lake.added(&overwritten, then).await.unwrap(), None, "rows went");
    let later = append(&lake, &overwritten, &[6]).await;
    assert_eq!(lake.added(&later, then).await.unwrap(), None, "rows went before that");
    assert_eq!(lake.added(&later, overwritten.snapshot_id()).await.unwrap().unwrap().rows, 1);
}

#[tokio::test]
async fn compaction_brings_no_rows_and_keeps_new_ones_apart_where_it_can() {
    let directory = tempfile::tempdir().unwrap();
    let lake = Arc::new(lake(&directory).await);
    let base = append(&lake, &made(&lake).await, &[3]).await;
    let old = base.snapshot_id();
    let tidy = compacted(&lake, &base).await;
    assert_ne!(tidy.snapshot_id(), old);
    assert_eq!(lake.added(&tidy, old).await.unwrap(), Some(Added::default()));
    let more = append(&lake, &append(&lake, &tidy, &[4]).await, &[5]).await;
    assert_eq!(lake.added(&more, old).await.unwrap().unwrap().rows, 2);
    let mixed = compacted(&lake, &more).await;
    assert_eq!(lake.added(&mixed, old).await.unwrap(), None, "old rows and new ones are in one file");
    assert_eq!(lake.added(&mixed, more.snapshot_id()).await.unwrap(), Some(Added::default()));
}

#[tokio::test]
async fn a_table_is_as_a_batch_left_it_until_rows_change() {
    let directory = tempfile::tempdir().unwrap();
    let lake = Arc::new(lake(&directory).await);
    let base = made(&lake).await;
    let batch = BatchId::new();
    let written = lake.write(&base, batch, rows(&[7])).await.unwrap();
    let ours = sent(&lake, &base, vec![Action::Append(written)], batch).await;
    let named = batch.to_string();
    assert!(ours.is_as_left_by(&named) && !base.is_as_left_by(&named));
    let tidy = compacted(&lake, &ours).await;
    assert!(tidy.snapshot_id() != ours.snapshot_id() && tidy.is_as_left_by(&named));
    assert!(!append(&lake, &tidy, &[8]).await.is_as_left_by(&named), "somebody else's rows");
}
