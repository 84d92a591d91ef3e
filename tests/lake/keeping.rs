//! Tables that are kept in order while others write them: no row is lost or doubled, whoever comes first, and what readers
//! still need stays. `LAKEGATE_SEED` repeats a run.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use datafusion::prelude::SessionContext;
use lakegate::jobs::{Job, Jobs};
use lakegate::lake::{Action, BatchId, Expiry, Keeper, Lake, Outcome, Rows, Selection, Staged, Wanted};
use lakegate::types::TableName;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::history::{World, one_partition, seed};
use super::world::open;

fn rows(from: i64, count: i64) -> Vec<(i64, String)> {
    (from..from + count).map(|id| (id, format!("v{id}"))).collect()
}

async fn append(world: &World, from: i64, count: i64) {
    let base = world.table().await;
    let written = world.write(&base, &rows(from, count)).await;
    world.commit(&base, vec![Action::Append(written)]).await.unwrap();
}

async fn set(world: &World, properties: &[(&str, &str)]) {
    let properties = properties.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let staged = Staged { properties, ..Staged::new(world.table().await, vec![], BatchId::new()) };
    let done = world.lake.commit(vec![staged], &Default::default()).await.unwrap();
    assert!(matches!(done, Outcome::Committed(_)));
}

/// Ids of the table's rows.
async fn ids(world: &World) -> BTreeSet<i64> {
    let rows = world.rows(&world.table().await, 2).await;
    let ids: BTreeSet<i64> = rows.iter().map(|row| row.id).collect();
    assert_eq!(ids.len(), rows.len());
    ids
}

fn files(world: &World) -> Vec<String> {
    let mut found = vec![];
    let mut directories = vec![world.directory.path().join("warehouse")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            if entry.path().is_dir() {
                directories.push(entry.path());
            } else {
                found.push(entry.path().display().to_string());
            }
        }
    }
    found
}

fn everything() -> Expiry {
    Expiry { older_than: Some(i64::MAX), retain_last: Some(1), keep_at_most: None }
}

/// Deletes some rows by a lake of its own, again where another came first; the ids that went.
async fn delete_some(lake: &Arc<Lake>, random: &mut StdRng) -> Vec<i64> {
    let session = SessionContext::new();
    for _ in 0..200 {
        let base = lake.table(&lake.key("s", "t")).await.unwrap().unwrap();
        let rows = super::history::rows_of(lake, &base, 1).await;
        let gone: Vec<_> = rows.iter().filter(|_| random.random_bool(0.05)).collect();
        let mut places = Rows::new();
        for row in &gone {
            places.entry(row.file.clone()).or_default().insert(row.position as u64);
        }
        let deleted = lake.delete(&session.state(), &base, BatchId::new(), &places).await.unwrap();
        let staged = Staged::new(base, vec![Action::Delete(deleted)], BatchId::new());
        if let Outcome::Committed(_) = lake.commit(vec![staged], &Default::default()).await.unwrap() {
            return gone.iter().map(|row| row.id).collect();
        }
    }
    panic!("a writer never came to its turn");
}

async fn race(version: u32) {
    let seed = seed();
    println!("LAKEGATE_SEED={seed}");
    let world = Arc::new(World::new(version).await);
    append(&world, 0, 500).await;
    let over = Arc::new(AtomicBool::new(false));
    let appender = tokio::spawn({
        let world = Arc::clone(&world);
        async move {
            for turn in 0..25 {
                append(&world, 500 + 10 * turn, 10).await;
            }
        }
    });
    // Another process, as far as the catalog can tell.
    let (theirs, _) = open(world.directory.path()).await;
    let deleter = tokio::spawn(async move {
        let mut random = StdRng::seed_from_u64(seed);
        let mut gone = vec![];
        for _ in 0..12 {
            gone.extend(delete_some(&theirs, &mut random).await);
        }
        gone
    });
    let keeper = tokio::spawn({
        let (world, over) = (Arc::clone(&world), Arc::clone(&over));
        async move {
            let (key, job) = (world.lake.key("s", "t"), Job::unseen());
            let (mut compacted, mut given_up) = (0, 0);
            while !over.load(Ordering::Relaxed) {
                match world.lake.compact(&one_partition(), &key, Selection::All, None, &job).await {
                    Ok(done) => (compacted, given_up) = (compacted + done.files_before, given_up + done.given_up),
                    // Files of an old base may be gone: nothing happened.
                    Err(error) => println!("compaction: {error:?}"),
                }
                let expiry = Expiry { keep_at_most: Some(30), older_than: Some(0), retain_last: None };
                let _ = world.lake.expire(&key, &expiry, None, &job).await;
                world.lake.sweep(world.table().await.uuid(), Duration::from_secs(2)).await.unwrap();
            }
            (compacted, given_up)
        }
    });
    appender.await.unwrap();
    let gone = deleter.await.unwrap();
    over.store(true, Ordering::Relaxed);
    let (compacted, given_up) = keeper.await.unwrap();
    println!("{compacted} files were put together, {given_up} given up, {} rows deleted", gone.len());
    let mut expect: BTreeSet<i64> = (0..750).collect();
    for id in gone {
        assert!(expect.remove(&id), "row {id} was deleted twice");
    }
    assert_eq!(ids(&world).await, expect);
    world.is_sound("after the race").await;
    let wanted = Wanted { older_than: chrono::Utc::now(), dry_run: false };
    world.lake.orphans(&world.lake.key("s", "t"), wanted, &Job::unseen()).await.unwrap();
    assert_eq!(ids(&world).await, expect);
    world.is_sound("after the orphans went").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_between_two_writers_and_the_keeper_in_version_2() {
    race(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_between_two_writers_and_the_keeper_in_version_3() {
    race(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_an_expired_snapshot_stay_while_a_statement_reads_it() {
    let world = World::new(3).await;
    append(&world, 0, 10).await;
    append(&world, 10, 10).await;
    let old = world.table().await;
    let session = SessionContext::new();
    let reading = world.lake.read(&old, old.schema()).await.unwrap();
    session.register_table("t", Arc::new(reading)).unwrap();
    let plan = session.sql("SELECT id FROM t").await.unwrap().create_physical_plan().await.unwrap();
    // The plan alone holds them from now on.
    session.deregister_table("t").unwrap();
    let (key, job) = (world.lake.key("s", "t"), Job::unseen());
    world.lake.compact(&one_partition(), &key, Selection::All, None, &job).await.unwrap();
    let done = world.lake.expire(&key, &everything(), None, &job).await.unwrap();
    assert!(done.files >= 2, "{done:?}");
    let uuid = old.uuid();
    assert_eq!(world.lake.sweep(uuid, Duration::ZERO).await.unwrap(), 0);
    // Orphans they are not either.
    let wanted = Wanted { older_than: chrono::Utc::now(), dry_run: false };
    world.lake.orphans(&key, wanted, &job).await.unwrap();
    let read = datafusion::physical_plan::collect(Arc::clone(&plan), session.task_ctx()).await.unwrap();
    assert_eq!(read.iter().map(|batch| batch.num_rows()).sum::<usize>(), 20);
    drop((read, plan));
    assert_eq!(world.lake.sweep(uuid, Duration::ZERO).await.unwrap(), done.files);
    assert_eq!(ids(&world).await.len(), 20);
    world.is_sound("swept").await;
    let wanted = Wanted { older_than: chrono::Utc::now(), dry_run: true };
    assert_eq!(world.lake.orphans(&key, wanted, &job).await.unwrap().count, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_made_meanwhile_keeps_its_snapshot() {
    let world = World::new(2).await;
    append(&world, 0, 10).await;
    let tagged = world.table().await.snapshot_id().unwrap();
    append(&world, 10, 10).await;
    let base = world.table().await;
    let expire = Action::Expire { snapshots: vec![tagged], refs: vec![] };
    let kind = lakegate::lake::RefKind::Tag;
    let tag = Action::SetRef { name: "kept".into(), was: None, snapshot: tagged, kind };
    world.commit(&base, vec![tag]).await.unwrap();
    assert!(world.commit(&base, vec![expire]).await.is_none());
    let done = world.lake.expire(&world.lake.key("s", "t"), &everything(), None, &Job::unseen()).await.unwrap();
    assert_eq!(done.snapshots, 0, "{done:?}");
}

/// What a keeper with nothing else to do makes of a table that is written all the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_kept_table_stays_small() {
    let world = World::new(2).await;
    set(&world, &[("lakegate.keeper.enabled", "true"), ("lakegate.keeper.snapshots-max", "20")]).await;
    let mut keeper = Keeper::new(Arc::clone(&world.lake), Jobs::default(), "test");
    let name = |row: &lakegate::lake::TableRow| TableName::new(&row.namespace, &row.name);
    let session = one_partition();
    for turn in 0..200 {
        append(&world, turn, 1).await;
        if turn % 10 == 0 {
            keeper.round(&session, &name, Duration::ZERO).await.unwrap();
        }
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        keeper.round(&session, &name, Duration::ZERO).await.unwrap();
        let table = world.table().await;
        let (data, all) = (world.lake.files(&table).await.unwrap().len(), files(&world).len());
        let snapshots = table.ancestry().count();
        if data < 40 && snapshots <= 30 && all < 320 {
            break;
        }
        assert!(Instant::now() < deadline, "{data} data files, {snapshots} snapshots, {all} files in all");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(ids(&world).await, (0..200).collect());
    world.is_sound("kept").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_kept_by_one_of_two_processes() {
    let world = World::new(2).await;
    set(&world, &[("lakegate.keeper.enabled", "true")]).await;
    for turn in 0..20 {
        append(&world, turn, 1).await;
    }
    let lease = format!("keeper.{}", world.table().await.uuid());
    let held = world.lake.metastore().take_lease(&lease, "another", 60_000).await.unwrap().unwrap();
    let name = |row: &lakegate::lake::TableRow| TableName::new(&row.namespace, &row.name);
    let mut keeper = Keeper::new(Arc::clone(&world.lake), Jobs::default(), "ours");
    let kept = keeper.round(&one_partition(), &name, Duration::ZERO).await.unwrap();
    assert_eq!(kept, Default::default());
    world.lake.metastore().release_lease(&held).await.unwrap();
    append(&world, 20, 1).await;
    // A keeper looks at a table again when the last look is long enough ago, by what it took.
    let deadline = Instant::now() + Duration::from_secs(60);
    while keeper.round(&one_partition(), &name, Duration::ZERO).await.unwrap().files_compacted < 16 {
        assert!(Instant::now() < deadline, "the table is not kept");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Whoever believes that he holds it cannot commit.
    let base = world.table().await;
    let staged = Staged::new(base, vec![Action::MergeManifests], BatchId::new());
    let also = lakegate::lake::Also { lease: Some(held), puts: vec![] };
    assert!(matches!(world.lake.commit(vec![staged], &also).await.unwrap(), Outcome::LeaseLost));
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_by_a_check() {
    let world = World::new(3).await;
    append(&world, 0, 50).await;
    let base = world.table().await;
    let rows = world.rows(&base, 1).await;
    let gone: Vec<_> = rows.iter().take(5).collect();
    let action = world.delete(&base, &gone).await;
    world.commit(&base, vec![action]).await.unwrap();
    world.is_sound("whole").await;
    let key = world.lake.key("s", "t");
    let faults =
        async |lake: &Arc<Lake>| lake.check(&one_partition(), &key, &Job::unseen()).await.unwrap().faults.join("\n");
    let vector = files(&world).into_iter().find(|file| file.ends_with(".puffin")).unwrap();
    let whole = std::fs::read(&vector).unwrap();
    let mut broken = whole.clone();
    broken[20] ^= 1;
    std::fs::write(&vector, &broken).unwrap();
    let (fresh, _) = open(world.directory.path()).await;
    let said = faults(&fresh).await;
    assert!(said.contains("its deletes cannot be read"), "{said}");
    std::fs::write(&vector, &whole).unwrap();
    let data = files(&world).into_iter().find(|file| file.ends_with(".parquet")).unwrap();
    std::fs::rename(&data, format!("{data}.away")).unwrap();
    let (fresh, _) = open(world.directory.path()).await;
    let said = faults(&fresh).await;
    assert!(said.contains("is missing"), "{said}");
}
