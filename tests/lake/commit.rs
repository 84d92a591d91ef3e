//! Many writers, and the promises of a commit: nothing lost, nothing doubled, expectations kept.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use lakegate::lake::{Also, BatchId, Expected, Lake, Outcome, Staged, Table};

use super::oracle::{all_rows, lines};
use super::world::{World, open, stream};

fn numbers(from: i64, to: i64) -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
    RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from_iter_values(from..to))]).unwrap()
}

async fn newest(lake: &Lake) -> Table {
    lake.table(&lake.key("s", "t")).await.unwrap().unwrap()
}

async fn staged(lake: &Lake, base: Table, rows: RecordBatch) -> Staged {
    let batch = BatchId::new();
    let written = lake.write(&base, batch, stream(rows.schema(), vec![rows])).await.unwrap();
    Staged::append(base, written, batch)
}

async fn commit(lake: &Lake, staged: Staged) -> Outcome {
    lake.commit(vec![staged], &Also::default()).await.unwrap()
}

/// Two processes' worth of writers: two metastores over one file.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_appends_lose_nothing() {
    let world = World::new().await;
    world.create("t", numbers(0, 1)).await;
    let (other, _) = open(world.directory.path()).await;
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..4i64 {
        let lake = Arc::clone(if writer % 2 == 0 { &world.lake } else { &other });
        tasks.spawn(async move {
            for i in 0..10 {
                let at = 1 + writer * 10 + i;
                // The base may be old by the time of the commit: that is the point.
                let base = newest(&lake).await;
                let staged = staged(&lake, base, numbers(at, at + 1)).await;
                assert!(matches!(commit(&lake, staged).await, Outcome::Committed(_)));
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let rows = all_rows(&world.table("s", "t").await).await;
    let mut expected: Vec<String> = (0..41).map(|i| i.to_string()).collect();
    expected.sort();
    assert_eq!(lines(&rows), expected);
    let table = newest(&world.lake).await;
    assert_eq!(table.ancestry().count(), 41);
    let summary = table.summary(table.snapshot_id().unwrap()).unwrap();
    assert_eq!((summary["total-records"].as_str(), summary["total-data-files"].as_str()), ("41", "41"));
}

#[tokio::test]
async fn an_expected_position_that_moved_stops_the_commit() {
    let world = World::new().await;
    world.create("t", numbers(0, 1)).await;
    let lake = &world.lake;
    let base = newest(lake).await;
    let position = |v: &str| HashMap::from([("lakegate.position".to_string(), v.to_string())]);
    let expect =
        |v: Option<&str>| vec![Expected::Property { name: "lakegate.position".into(), value: v.map(String::from) }];
    let step = async |base: &Table, from: Option<&str>, to: &str| {
        let mut staged = staged(lake, base.clone(), numbers(1, 2)).await;
        (staged.properties, staged.expected) = (position(to), expect(from));
        staged.summary = HashMap::from([("lakegate.range.to".to_string(), to.to_string())]);
        commit(lake, staged).await
    };
    let Outcome::Committed(tables) = step(&base, None, "1").await else { panic!() };
    assert_eq!(tables[0].properties()["lakegate.position"], "1");
    assert_eq!(tables[0].summary(tables[0].snapshot_id().unwrap()).unwrap()["lakegate.range.to"], "1");
    // A zombie that still believes in the old position, on its old base.
    let Outcome::Conflict(now) = step(&base, None, "1").await else { panic!() };
    assert_eq!(now[0].as_ref().unwrap().properties()["lakegate.position"], "1");
    // Foreign rows in between do not matter: the position still holds.
    world.append("t", numbers(5, 6)).await;
    assert!(matches!(step(&tables[0], Some("1"), "2").await, Outcome::Committed(_)));
    assert_eq!(lines(&all_rows(&world.table("s", "t").await).await), ["0", "1", "1", "5"]);
}

#[tokio::test]
async fn a_commit_without_its_lease_does_nothing() {
    let world = World::new().await;
    world.create("t", numbers(0, 1)).await;
    let metastore = world.lake.metastore();
    let old = metastore.take_lease("p", "one", 0).await.unwrap().unwrap();
    let new = metastore.take_lease("p", "two", 60_000).await.unwrap().unwrap();
    let attempt = async |lease| {
        let base = newest(&world.lake).await;
        let staged = staged(&world.lake, base, numbers(1, 2)).await;
        let also = Also { lease: Some(lease), puts: vec![("ingest.checkpoint.p".into(), b"1".to_vec())] };
        world.lake.commit(vec![staged], &also).await.unwrap()
    };
    assert!(matches!(attempt(old).await, Outcome::LeaseLost));
    assert_eq!(metastore.get("ingest.checkpoint.p").await.unwrap(), None);
    assert!(matches!(attempt(new).await, Outcome::Committed(_)));
    assert_eq!(metastore.get("ingest.checkpoint.p").await.unwrap().as_deref(), Some(&b"1"[..]));
}

#[tokio::test]
async fn two_tables_commit_together_or_not_at_all() {
    let world = World::new().await;
    world.create("t", numbers(0, 1)).await;
    world.create("u", numbers(0, 1)).await;
    let lake = &world.lake;
    let both = async |refuse: bool| {
        let u = lake.table(&lake.key("s", "u")).await.unwrap().unwrap();
        let mut second = staged(lake, u, numbers(1, 2)).await;
        if refuse {
            second.expected = vec![Expected::Property { name: "nothing".into(), value: Some("at all".into()) }];
        }
        let first = staged(lake, newest(lake).await, numbers(1, 2)).await;
        lake.commit(vec![first, second], &Also::default()).await.unwrap()
    };
    assert!(matches!(both(true).await, Outcome::Conflict(_)));
    assert_eq!(lines(&all_rows(&world.table("s", "t").await).await), ["0"]);
    assert!(matches!(both(false).await, Outcome::Committed(tables) if tables.len() == 2));
    for name in ["t", "u"] {
        assert_eq!(lines(&all_rows(&world.table("s", name).await).await), ["0", "1"]);
    }
}
