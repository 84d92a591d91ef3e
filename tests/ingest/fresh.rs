//! Fresh tables: what their pipelines have taken in, read before it is committed. At any moment they are the source at the place
//! where the pipeline says it stands, whole transactions alone, each row once, while commits and ingesters come and go.

mod real;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lakegate::error::Kind;
use lakegate::ingest::Commit;
use lakegate::lake::{Freshness, Lake, Looked, Reach, Stand, Tail, Tailed, Tails};
use lakegate::sources::iceberg::{Config, Iceberg};
use lakegate::sources::{Source, Table};
use lakegate::types::{TableName, Version};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::chaos::Chaos;
use super::histories::{Database, TABLES, caught_up, expire, flow};
use super::scripted::good;
use super::world::{LOOK_EVERY, SMALL, World, lines, run};
use crate::gateway::PATIENCE;

/// What readers met, so that a run which met nothing is known.
#[derive(Debug, Default)]
struct Met {
    looks: AtomicUsize,
    hot: AtomicUsize,
    gone: AtomicUsize,
    truncated: AtomicUsize,
    layered: AtomicUsize,
    empty: AtomicUsize,
}

impl Met {
    fn tail(&self, tail: &Tail) {
        let count = |of: &AtomicUsize, is: bool| _ = of.fetch_add(usize::from(is), Ordering::Relaxed);
        count(&self.hot, !tail.hot.is_empty());
        count(&self.gone, !tail.gone.is_empty());
        count(&self.truncated, tail.truncated);
        count(&self.layered, tail.hot.iter().any(|hot| !hot.dropped.is_empty()));
        count(&self.empty, tail.hot.is_empty() && tail.gone.is_empty());
    }

    fn all(&self) -> [usize; 6] {
        let of = [&self.looks, &self.hot, &self.gone, &self.truncated, &self.layered, &self.empty];
        of.map(|count| count.load(Ordering::Relaxed))
    }
}

async fn table(lake: &Arc<Lake>, schema: &str, name: &str) -> Arc<dyn Table> {
    let config: Config = toml::from_str("warehouse = 'memory:///warehouse'").unwrap();
    let source = Iceberg::new("lake", &config, Arc::clone(lake));
    let name = TableName::new(schema, name);
    source.tables().await.unwrap().into_iter().find(|t| *t.name() == name).expect("the table is there")
}

async fn look(tails: &Tails, wanted: &Freshness, tables: &[Arc<dyn Table>]) -> Looked {
    let tailed: Vec<Tailed> = tables.iter().map(|table| table.tailed().unwrap()).collect();
    tails.look(wanted, &tailed, PATIENCE).await.unwrap()
}

async fn read(table: &Arc<dyn Table>, looked: &Looked, columns: &str) -> Vec<String> {
    let tail = &looked.tails[&table.tailed().unwrap().table];
    lines(table.pin_with(tail).await.unwrap().provider, columns).await
}

/// Until `done`: both tables of one look are those of one moment.
async fn reader(world: &World, database: &Database, tails: &Tails, met: &Met, done: &AtomicBool, about: &str) {
    let lake = world.lake(&Chaos::none()).await;
    let tables = futures::future::join_all(TABLES.map(|name| table(&lake, "crm", name))).await;
    let (mut newest, mut after) = (0, false);
    // Once more when all is written.
    while !after {
        after = done.load(Ordering::SeqCst);
        let before = database.len();
        let looked = look(tails, &Freshness::Latest, &tables).await;
        if looked.tails.len() < tables.len() {
            // Between two lives of the ingester; a table that nothing was ever put into may not be known as its.
            tokio::task::yield_now().await;
            continue;
        }
        let [Stand::At(Reach::Lsn(at))] = looked.stands.as_slice() else { continue };
        let at = *at as usize;
        for (number, table) in tables.iter().enumerate() {
            let found = read(table, &looked, "id, text, large").await;
            let expected = database.lines_after(at, number);
            assert_eq!(found, expected, "table {number} after {at} of {before}, {about}");
            met.tail(&looked.tails[&table.tailed().unwrap().table]);
        }
        newest = newest.max(at);
        met.looks.fetch_add(1, Ordering::Relaxed);
    }
    assert!(newest > 0, "nothing was ever read, {about}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_table_is_the_source_at_the_place_where_it_stands() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seeds: Vec<u64> = match number("LAKEGATE_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("LAKEGATE_SEEDS").unwrap_or(4)).map(|_| rand::random()).collect(),
    };
    let met = Met::default();
    for seed in seeds {
        println!("LAKEGATE_SEED={seed}");
        history(seed, &met).await;
    }
    let [looks, hot, gone, truncated, layered, empty] = met.all();
    println!(
        "fresh: {looks} looks; of their tables {hot} had rows, {gone} pending deletes, {truncated} were truncated, \
         {layered} had replaced rows, {empty} nothing"
    );
    assert!(hot > 0 && gone > 0 && layered > 0, "the load is not what it should be: {met:?}");
}

async fn history(seed: u64, met: &Met) {
    let mut random = StdRng::seed_from_u64(seed);
    let (world, database, tails) = (World::new(1), Arc::new(Database::default()), Tails::default());
    let about = format!("LAKEGATE_SEED={seed}");
    let rows_max = *[5, 1_000_000].get(random.random_range(0..2)).unwrap();
    // The tables are made.
    database.run(&mut random);
    let first = run(flow(&world, &database, &Chaos::none(), SMALL, rows_max).await);
    caught_up(&world, &database).await;
    drop(first);
    let done = AtomicBool::new(false);
    let writes = async {
        for life in 0..3 {
            expire(&world).await;
            let chaos = if life == 1 { Chaos::drawn(random.random(), 200) } else { Chaos::none() };
            let commit =
                Commit { age_ms: random.random_range(5..120), rows_max: random.random_range(20..300), ..SMALL };
            let mut flow = flow(&world, &database, &chaos, commit, rows_max).await;
            flow.tails = tails.clone();
            let ingester = run(flow);
            let mut pace = tokio::time::interval(Duration::from_millis(2));
            for _ in 0..150 {
                pace.tick().await;
                database.run(&mut random);
            }
            if life != 1 {
                caught_up(&world, &database).await;
            }
            if life == 2 {
                done.store(true, Ordering::SeqCst);
                return Some(ingester);
            }
        }
        None
    };
    let readers = async {
        let read = || reader(&world, &database, &tails, met, &done, &about);
        tokio::join!(read(), read());
    };
    // The last ingester lives until everybody has read for the last time.
    let (writes, readers) = (Box::pin(writes), Box::pin(readers));
    let (_ingester, ()) = tokio::join!(writes, readers);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_changes_are_read_as_they_will_be_committed() {
    let (world, tails) = (World::new(1), Tails::default());
    let slow = Commit { age_ms: 3_600_000, rows_max: 1_000, bytes_max: 1 << 20 };
    let mut flow = world.flow(&Chaos::none(), slow).await;
    flow.tails = tails.clone();
    let mut ingester = run(flow);
    (0..5).for_each(|id| world.topic.send(0, good(id)));
    let lake = world.lake(&Chaos::none()).await;
    let mut made = tokio::time::interval(LOOK_EVERY);
    while lake.table(&lake.key("sales", "events")).await.unwrap().is_none() {
        made.tick().await;
    }
    let events = [table(&lake, "sales", "events").await];
    let fifth = Freshness::Reached(Reach::Offsets([(0, 5)].into()));
    let looked = look(&tails, &fifth, &events).await;
    let fresh = read(&events[0], &looked, "*").await;
    assert_eq!(fresh.len(), 5);
    assert!(matches!(
        events[0].pin_with(looked.tails.values().next().unwrap()).await.unwrap().version,
        Version::Fresh(None, _)
    ));
    assert_eq!(world.rows("events", "id").await.len(), 0, "nothing is committed");

    // An age that is young enough asks nobody.
    let again = look(&tails, &Freshness::Within(Duration::from_secs(3_600)), &events).await;
    let number = |looked: &Looked| looked.tails.values().next().unwrap().number;
    assert_eq!(number(&again), number(&looked));
    // And what has not changed is one tail.
    assert_eq!(number(&look(&tails, &Freshness::Latest, &events).await), number(&looked));

    // A place beyond what there is.
    let tailed = [events[0].tailed().unwrap()];
    let beyond = Freshness::Reached(Reach::Offsets([(0, 6)].into()));
    let error = tails.look(&beyond, &tailed, Duration::from_millis(50)).await.unwrap_err();
    assert_eq!((error.kind(), error.detail()), (Kind::NotInState, Some("It has reached offset:0:4.")));
    let other = Freshness::Reached(Reach::Lsn(1));
    assert_eq!(tails.look(&other, &tailed, PATIENCE).await.unwrap_err().kind(), Kind::InvalidParameter);
    let (later, ()) = tokio::join!(look(&tails, &beyond, &events), async { world.topic.send(0, good(5)) });
    assert_eq!(read(&events[0], &later, "id").await.len(), 6);
    // Whoever holds the one from before reads that.
    assert_eq!(read(&events[0], &looked, "*").await, fresh);

    let before = read(&events[0], &later, "*").await;
    ingester.stop.cancel();
    (&mut ingester.task).await.unwrap();
    assert_eq!(world.rows("events", "*").await, before, "committed as it was read");
    assert_eq!(read(&events[0], &later, "*").await, before, "and not twice");
    let gone = tails.look(&Freshness::Latest, &[Tailed { is_filled: true, ..tailed[0] }], PATIENCE).await.unwrap();
    assert_eq!((gone.tails.len(), gone.without.len()), (0, 1), "its pipeline is gone");
    let none = tails.look(&Freshness::Latest, &[Tailed { is_filled: false, ..tailed[0] }], PATIENCE).await.unwrap();
    assert_eq!((none.tails.len(), none.without.len()), (0, 0), "a table without a pipeline needs none");
}
