//! What becomes of a commit whose answer is lost. Conflicts and expectations are tested from outside (tests/lake).

use super::*;
use crate::lake::Columns;
use crate::lake::fixture::{lake, rows};
use crate::metastore::Loss;

async fn table(lake: &Lake) -> Table {
    let stream = rows(&[1]);
    let schema = stream.schema();
    let columns = Columns { schema: &schema, is_uuid: &|_| false, all_nullable: true };
    lake.create_table(&lake.key("s", "t"), &columns, Making::default(), Some(stream)).await.unwrap().0
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

/// The names of metadata files below a directory.
fn metadata_files(directory: &std::path::Path) -> Vec<String> {
    let mut found = vec![];
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(metadata_files(&path)),
            path => {
                found.extend(path.display().to_string().ends_with(".metadata.json").then(|| path.display().to_string()))
            }
        }
    }
    found
}

#[tokio::test]
async fn old_metadata_leave_the_cache_and_the_store_where_the_table_wants_it() {
    for (wanted, files) in [("true", 3), ("false", 7)] {
        let directory = tempfile::tempdir().unwrap();
        let lake = lake(&directory).await;
        let mut base = table(&lake).await;
        let properties = [(DELETE_METADATA, wanted), ("write.metadata.previous-versions-max", "2")];
        for _ in 0..6 {
            let batch = BatchId::new();
            let written = lake.write(&base, batch, rows(&[2])).await.unwrap();
            let properties = properties.map(|(name, value)| (name.to_string(), value.to_string())).into();
            let staged = Staged { properties, ..Staged::append(base, written, batch) };
            let Outcome::Committed(tables) = lake.commit(vec![staged], &Also::default()).await.unwrap() else {
                panic!()
            };
            base = tables[0].clone();
        }
        let left = metadata_files(directory.path());
        assert_eq!(left.len(), files, "{wanted}: {left:?}");
        assert!(left.iter().any(|file| base.location.ends_with(file)), "{wanted}: the newest is gone");
        let cached = lake.cache.count::<Described>().await;
        assert_eq!(cached, 1, "{wanted}");
        assert_eq!(lake.table(&base.key).await.unwrap().unwrap().ancestry().count(), 7, "{wanted}");
    }
}

#[tokio::test]
async fn small_manifests_are_put_together_and_nothing_of_them_is_lost() {
    for (few, manifests) in [("100", 13), ("5", 5)] {
        let directory = tempfile::tempdir().unwrap();
        let lake = lake(&directory).await;
        let mut base = table(&lake).await;
        let properties = [("commit.manifest.min-count-to-merge".to_string(), few.to_string())];
        for _ in 0..12 {
            let batch = BatchId::new();
            let written = lake.write(&base, batch, rows(&[2, 3])).await.unwrap();
            let staged = Staged { properties: properties.clone().into(), ..Staged::append(base, written, batch) };
            let Outcome::Committed(tables) = lake.commit(vec![staged], &Also::default()).await.unwrap() else {
                panic!()
            };
            base = tables[0].clone();
        }
        let listed = lake.manifests(&base).await.unwrap().unwrap();
        assert_eq!(listed.entries().len(), manifests, "{few}");
        let planned = lake.plan(&base, &listed, None).await.unwrap();
        let mut sequences: Vec<i64> = planned.files.iter().map(|f| f.entry.sequence).collect();
        sequences.sort_unstable();
        assert_eq!(sequences, (1..=13).collect::<Vec<i64>>(), "{few}");
        let snapshots: std::collections::HashSet<_> = planned.files.iter().map(|f| f.entry.snapshot_id).collect();
        assert_eq!(snapshots, base.ancestry().map(Some).collect(), "{few}");
    }
}

#[tokio::test]
async fn metadata_lie_where_the_table_wants_them_and_as_small() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(&directory).await;
    let base = table(&lake).await;
    let elsewhere = format!("file://{}/elsewhere", directory.path().display());
    let properties = [("write.metadata.path", elsewhere.as_str()), ("write.metadata.compression-codec", "gzip")];
    let properties = properties.map(|(name, value)| (name.to_string(), value.to_string())).into();
    let staged = Staged { properties, ..Staged::new(base, vec![], BatchId::new()) };
    let Outcome::Committed(tables) = lake.commit(vec![staged], &Also::default()).await.unwrap() else { panic!() };
    let Outcome::Committed(tables) = append(&lake, &tables[0]).await else { panic!() };
    let location = &tables[0].location;
    assert!(location.starts_with(&elsewhere) && location.ends_with(".gz.metadata.json"), "{location}");
    assert!(location.contains("/00002-"), "{location}");
    let list = tables[0].metadata.current_snapshot().unwrap().manifest_list();
    assert!(list.starts_with(&elsewhere), "{list}");
    lake.cache.forget(location).await;
    let again = lake.table(&tables[0].key).await.unwrap().unwrap();
    assert_eq!(again.snapshot_id(), tables[0].snapshot_id());
    // Compressed as other writers do, and as long as the list says.
    let listed = lake.manifests(&again).await.unwrap().unwrap();
    for manifest in listed.entries().iter().filter(|m| m.manifest_path.starts_with(&elsewhere)) {
        let bytes = lake.store.read(&manifest.manifest_path).await.unwrap();
        assert_eq!(i64::try_from(bytes.len()).unwrap(), manifest.manifest_length);
        assert!(bytes.windows(7).any(|w| w == b"deflate"));
    }
}
