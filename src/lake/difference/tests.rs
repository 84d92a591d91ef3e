//! Tables that others change between two looks.

use iceberg::spec::{DataContentType, DataFileBuilder, DataFileFormat, ManifestStatus};

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

fn file(content: DataContentType, path: &str, rows: u64) -> Arc<Entry> {
    let mut builder = DataFileBuilder::default();
    builder.content(content).file_path(path.into()).file_format(DataFileFormat::Parquet).record_count(rows);
    let file = builder.file_size_in_bytes(1).build().unwrap();
    let (status, snapshot_id) = (ManifestStatus::Added, Some(1));
    Arc::new(Entry { status, snapshot_id, sequence: 1, file_sequence: 1, first_row: None, spec_id: 0, file })
}

fn planned(path: &str, rows: u64, positions: &[(&str, u64)], by_key: &[&str]) -> PlannedFile {
    let positions = positions.iter().map(|(path, rows)| file(DataContentType::PositionDeletes, path, *rows));
    let deletes = Applied {
        positions: crate::lake::deletes::Positions::Files(positions.collect()),
        keys_anywhere: by_key.iter().map(|path| file(DataContentType::EqualityDeletes, path, 1)).collect(),
        keys_here: vec![],
    };
    PlannedFile { entry: file(DataContentType::Data, path, rows), deletes }
}

#[test]
fn rows_are_told_apart_by_files_and_positions() {
    let then = vec![planned("same", 10, &[("d", 1)], &[]), planned("less", 10, &[], &[]), planned("gone", 7, &[], &[])];
    let now = vec![
        planned("same", 10, &[("d", 1)], &[]),
        planned("less", 10, &[("e", 3)], &[]),
        planned("new", 5, &[("f", 1)], &[]),
    ];
    let Changed { went, came, rows, of } = told_apart(then, now).unwrap();
    assert_eq!((rows, of), (7 + 3 + 5, 25));
    let places = |part: &Part| {
        let mut places: Vec<(String, bool)> =
            part.files.iter().map(|(path, of)| (path.clone(), of.is_some())).collect();
        places.sort();
        places
    };
    assert_eq!(places(&went), [("gone".into(), false), ("less".into(), true)]);
    assert_eq!(places(&came), [("less".into(), true), ("new".into(), false)], "what the earlier one had deleted there");
}

/// Which rows those are is not known before the file is read.
#[test]
fn rows_that_were_deleted_by_key_are_not_told() {
    let one = |by_key: &[&str]| vec![planned("a", 10, &[], by_key)];
    assert!(told_apart(one(&[]), one(&["k"])).is_none());
    assert!(told_apart(one(&["k"]), one(&[])).is_none());
    let changed = told_apart(one(&["k"]), one(&["k"])).unwrap();
    assert!(changed.went.is_empty() && changed.came.is_empty());
    let large = |positions: &[(&str, u64)]| vec![planned("a", FILE_ROWS_MAX + 1, positions, &[])];
    assert!(told_apart(large(&[]), large(&[("d", 1)])).is_none());
}
