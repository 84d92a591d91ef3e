//! Transactions beside each other and beside writers without one. What a session makes of them is tested over the wire.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::lake::{BatchId, Columns, Outcome, Staged, fixture};
use crate::metastore::Loss;

struct World {
    lake: Arc<Lake>,
    _directory: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let lake = Arc::new(fixture::lake(&directory).await);
        Self { lake, _directory: directory }
    }

    fn key(&self, name: &str) -> TableKey {
        self.lake.key("s", name)
    }

    async fn rows(&self, name: &str) -> Option<Vec<i64>> {
        read(&self.lake, &self.key(name)).await
    }

    async fn begin(&self) -> Transaction {
        self.lake.begin(Isolation::Committed).await.unwrap()
    }
}

async fn create(lake: &Lake, key: &TableKey, values: &[i64]) -> Result<()> {
    let rows = fixture::rows(values);
    let schema = rows.schema();
    let columns = Columns { schema: &schema, is_uuid: &|_| false, all_nullable: true };
    lake.create_table(key, &columns, Default::default(), Some(rows)).await.map(|_| ())
}

async fn append(lake: &Lake, key: &TableKey, values: &[i64]) {
    let base = lake.table(key).await.unwrap().unwrap();
    let batch = BatchId::new();
    let written = lake.write(&base, batch, fixture::rows(values)).await.unwrap();
    let outcome = lake.commit(vec![Staged::append(base, written, batch)], &Also::default()).await.unwrap();
    assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
}

/// Every row of the table goes, by position.
async fn delete_all(lake: &Lake, key: &TableKey) {
    let base = lake.table(key).await.unwrap().unwrap();
    let files = lake.files(&base).await.unwrap();
    let action = crate::lake::Action::Overwrite { removed: files, added: Default::default() };
    let outcome = lake.commit(vec![Staged::new(base, vec![action], BatchId::new())], &Also::default()).await.unwrap();
    assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
}

async fn read(lake: &Arc<Lake>, key: &TableKey) -> Option<Vec<i64>> {
    let table = lake.table(key).await.unwrap()?;
    let reading = lake.read(&table, table.schema()).await.unwrap();
    let batches = SessionContext::new().read_table(Arc::new(reading)).unwrap().collect().await.unwrap();
    let mut rows: Vec<i64> =
        batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
    rows.sort_unstable();
    Some(rows)
}

#[tokio::test]
async fn others_see_all_of_it_at_once_or_nothing() {
    let world = World::new().await;
    create(&world.lake, &world.key("old"), &[1]).await.unwrap();
    for commits in [false, true] {
        let ours = world.begin().await;
        create(ours.lake(), &world.key("new"), &[2]).await.unwrap();
        append(ours.lake(), &world.key("new"), &[3]).await;
        append(ours.lake(), &world.key("old"), &[4]).await;
        assert!(ours.lake().create_namespace("n").await.unwrap());
        create(ours.lake(), &world.lake.key("n", "t"), &[5]).await.unwrap();
        assert_eq!(read(ours.lake(), &world.key("new")).await, Some(vec![2, 3]));
        assert_eq!(read(ours.lake(), &world.key("old")).await, Some(vec![1, 4]));
        assert_eq!((world.rows("new").await, world.rows("old").await), (None, Some(vec![1])), "{commits}");
        assert_eq!(world.lake.namespaces().await.unwrap(), ["s"]);
        if commits {
            ours.commit().await.unwrap();
        }
    }
    assert_eq!((world.rows("new").await, world.rows("old").await), (Some(vec![2, 3]), Some(vec![1, 4])));
    assert_eq!(read(&world.lake, &world.lake.key("n", "t")).await, Some(vec![5]));
}

#[tokio::test]
async fn a_table_takes_another_ones_place() {
    let world = World::new().await;
    create(&world.lake, &world.key("x"), &[1]).await.unwrap();
    let ours = world.begin().await;
    create(ours.lake(), &world.key("tmp"), &[2]).await.unwrap();
    ours.lake().rename_table(&world.key("x"), &world.key("backup")).await.unwrap();
    ours.lake().rename_table(&world.key("tmp"), &world.key("x")).await.unwrap();
    assert_eq!(read(ours.lake(), &world.key("x")).await, Some(vec![2]));
    assert_eq!(read(ours.lake(), &world.key("backup")).await, Some(vec![1]));
    // somebody adds to what is renamed and dropped: nothing of that is left, and nothing stops it
    append(&world.lake, &world.key("x"), &[9]).await;
    ours.lake().drop_table(&world.key("backup")).await.unwrap();
    ours.commit().await.unwrap();
    let names: Vec<String> = world.lake.tables().await.unwrap().into_iter().map(|row| row.name).collect();
    assert_eq!((names, world.rows("x").await), (vec!["x".to_string()], Some(vec![2])));
}

#[tokio::test]
async fn what_others_did_meanwhile_stays() {
    let world = World::new().await;
    create(&world.lake, &world.key("t"), &[1]).await.unwrap();
    let (ours, theirs) = (world.begin().await, world.begin().await);
    append(ours.lake(), &world.key("t"), &[2]).await;
    append(ours.lake(), &world.key("t"), &[3]).await;
    ours.lake().rename_table(&world.key("t"), &world.key("u")).await.unwrap();
    append(&world.lake, &world.key("t"), &[10]).await;
    append(theirs.lake(), &world.key("t"), &[20]).await;
    ours.commit().await.unwrap();
    assert_eq!((world.rows("t").await, world.rows("u").await), (None, Some(vec![1, 2, 3, 10])));
    // their table is gone from under its name
    assert_eq!(theirs.commit().await.unwrap_err().kind(), Kind::Conflict);
    assert_eq!(world.rows("u").await, Some(vec![1, 2, 3, 10]));
}

#[tokio::test]
async fn rows_that_others_deleted_are_a_conflict() {
    let world = World::new().await;
    create(&world.lake, &world.key("t"), &[1]).await.unwrap();
    let ours = world.begin().await;
    append(ours.lake(), &world.key("t"), &[2]).await;
    delete_all(ours.lake(), &world.key("t")).await;
    append(ours.lake(), &world.key("t"), &[3]).await;
    let second = world.begin().await;
    delete_all(second.lake(), &world.key("t")).await;
    append(&world.lake, &world.key("t"), &[4]).await;
    ours.commit().await.unwrap();
    assert_eq!(world.rows("t").await, Some(vec![3, 4]), "what was made and deleted in it, on a newer base");
    assert_eq!(second.commit().await.unwrap_err().kind(), Kind::Conflict);
    assert_eq!(world.rows("t").await, Some(vec![3, 4]));
}

#[tokio::test]
async fn a_name_that_was_taken_meanwhile_is_refused() {
    let world = World::new().await;
    let ours = world.begin().await;
    create(ours.lake(), &world.key("t"), &[1]).await.unwrap();
    create(&world.lake, &world.key("t"), &[2]).await.unwrap();
    assert_eq!(ours.commit().await.unwrap_err().kind(), Kind::DuplicateTable);
    assert_eq!(world.rows("t").await, Some(vec![2]));
}

#[tokio::test]
async fn savepoints_bring_back_what_was() {
    let world = World::new().await;
    let ours = world.begin().await;
    create(ours.lake(), &world.key("t"), &[1]).await.unwrap();
    ours.save();
    append(ours.lake(), &world.key("t"), &[2]).await;
    ours.save();
    ours.lake().drop_table(&world.key("t")).await.unwrap();
    ours.roll_back_to(1);
    assert_eq!(read(ours.lake(), &world.key("t")).await, Some(vec![1, 2]));
    ours.roll_back_to(0);
    append(ours.lake(), &world.key("t"), &[3]).await;
    ours.release(0);
    ours.commit().await.unwrap();
    assert_eq!(world.rows("t").await, Some(vec![1, 3]));
}

#[tokio::test]
async fn a_repeatable_one_sees_one_moment() {
    let world = World::new().await;
    create(&world.lake, &world.key("t"), &[1]).await.unwrap();
    let ours = world.lake.begin(Isolation::Snapshot).await.unwrap();
    append(&world.lake, &world.key("t"), &[2]).await;
    create(&world.lake, &world.key("late"), &[3]).await.unwrap();
    assert_eq!(read(ours.lake(), &world.key("t")).await, Some(vec![1]));
    assert_eq!(read(ours.lake(), &world.key("late")).await, None);
    append(ours.lake(), &world.key("t"), &[4]).await;
    assert_eq!(read(ours.lake(), &world.key("t")).await, Some(vec![1, 4]));
    ours.commit().await.unwrap();
    assert_eq!(world.rows("t").await, Some(vec![1, 2, 4]));
}

#[tokio::test]
async fn a_lost_answer_is_looked_up() {
    for losses in [&[Loss::Done][..], &[Loss::Sent], &[Loss::Sent, Loss::Done]] {
        let world = World::new().await;
        create(&world.lake, &world.key("t"), &[1]).await.unwrap();
        let ours = world.begin().await;
        append(ours.lake(), &world.key("t"), &[2]).await;
        create(ours.lake(), &world.key("u"), &[3]).await.unwrap();
        *world.lake.metastore.losses.lock().unwrap() = losses.iter().rev().copied().collect();
        ours.commit().await.unwrap();
        assert_eq!((world.rows("t").await, world.rows("u").await), (Some(vec![1, 2]), Some(vec![3])), "{losses:?}");
    }
}

#[tokio::test]
async fn a_serializable_one_is_undone_by_what_others_did_to_what_it_read() {
    for touches in [false, true] {
        let world = World::new().await;
        for name in ["read", "written", "other"] {
            create(&world.lake, &world.key(name), &[1]).await.unwrap();
        }
        let ours = world.lake.begin(Isolation::Serializable).await.unwrap();
        assert_eq!(read(ours.lake(), &world.key("read")).await, Some(vec![1]));
        append(ours.lake(), &world.key("written"), &[2]).await;
        append(&world.lake, &world.key(if touches { "read" } else { "other" }), &[3]).await;
        let ended = ours.commit().await.map_err(|e| e.kind());
        assert_eq!(ended, if touches { Err(Kind::Conflict) } else { Ok(()) });
        assert_eq!(world.rows("written").await, Some(if touches { vec![1] } else { vec![1, 2] }));
    }
}

/// Writers side by side, by chance: what was committed is there once, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_committed_is_there_once_and_nothing_else() {
    let seed: u64 = std::env::var("LAKEGATE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random);
    println!("LAKEGATE_SEED={seed}");
    let world = Arc::new(World::new().await);
    for name in ["t", "u"] {
        create(&world.lake, &world.key(name), &[0]).await.unwrap();
    }
    let writer = |number: u64| {
        let world = Arc::clone(&world);
        async move {
            let mut dice = StdRng::seed_from_u64(seed.wrapping_add(number));
            let (mut kept, mut next) = (HashMap::from([("t", vec![]), ("u", vec![])]), i64::try_from(number).unwrap());
            for _ in 0..8 {
                let isolation =
                    [Isolation::Committed, Isolation::Snapshot, Isolation::Serializable][dice.random_range(0..3)];
                let ours = world.lake.begin(isolation).await.unwrap();
                let mut mine = vec![];
                for _ in 0..dice.random_range(1..4) {
                    let name = ["t", "u"][dice.random_range(0..2)];
                    next += 100;
                    if dice.random_bool(0.3) {
                        ours.save();
                        append(ours.lake(), &world.key(name), &[-next]).await;
                        ours.roll_back_to(0);
                        ours.release(0);
                    }
                    append(ours.lake(), &world.key(name), &[next]).await;
                    mine.push((name, next));
                }
                if dice.random_bool(0.7) && ours.commit().await.is_ok() {
                    mine.into_iter().for_each(|(name, value)| kept.get_mut(name).unwrap().push(value));
                }
            }
            kept
        }
    };
    let all = futures::future::join_all((1..4).map(|number| tokio::spawn(writer(number)))).await;
    for name in ["t", "u"] {
        let kept = all.iter().flat_map(|kept| kept.as_ref().unwrap()[name].clone());
        let mut expected: Vec<i64> = std::iter::once(0).chain(kept).collect();
        expected.sort_unstable();
        assert_eq!(world.rows(name).await, Some(expected), "{name}");
    }
}
