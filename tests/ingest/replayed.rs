//! Dead letters of a table of current rows: once the columns are wide enough for them, the table holds what it would hold had
//! they fitted at once, and no older record stands in a newer one's place.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow::datatypes::{DataType, Field};
use async_trait::async_trait;
use lakegate::error::Result;
use lakegate::formats::record::{Column, Declaration, Decoder, Envelope, Format};
use lakegate::ingest::log::{Changes, Extent, Identity, Log, Mark, Marks, Offsets, Seen};
use lakegate::ingest::origin::Room;
use lakegate::ingest::{Config, From, Layout, Records, Replayed, Write, replay, resume};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::chaos::Chaos;
use super::world::{LEASE, PIPELINE, SMALL, World, run};

/// Histories in one run; more with `LAKEGATE_SEEDS`, one of them with `LAKEGATE_SEED`.
const SEEDS: u64 = 12;
const PARTITIONS: i32 = 2;

/// A row by its key, in the key's partition; `None` deletes it.
type Record = (i64, Option<i64>);

#[derive(Default)]
struct Topic {
    records: Mutex<BTreeMap<i32, Vec<Record>>>,
    starts: Mutex<BTreeMap<i32, i64>>,
    /// Its records have no keys: those of a row may lie in any partition.
    is_keyless: bool,
}

impl Topic {
    fn send(&self, (key, value): Record) {
        let partition = i32::try_from(key).unwrap() % PARTITIONS;
        self.records.lock().unwrap().entry(partition).or_default().push((key, value));
    }

    /// What is above the greatest value of some width is no row.
    fn model(&self, greatest: i64) -> Vec<String> {
        let mut model = BTreeMap::new();
        for (key, value) in self.records.lock().unwrap().values().flatten() {
            match value {
                Some(value) if *value <= greatest => _ = model.insert(*key, *value),
                Some(_) => {}
                None => _ = model.remove(key),
            }
        }
        let mut lines: Vec<String> = model.iter().map(|(key, value)| format!("{key}|{value}.00")).collect();
        lines.sort();
        lines
    }

    fn end(&self) -> Offsets {
        let records = self.records.lock().unwrap();
        (0..PARTITIONS).map(|p| (p, records.get(&p).map_or(0, |r| r.len() as i64))).collect()
    }
}

/// Its records, read from somewhere on.
struct Reader(Arc<Topic>, Offsets);

#[async_trait]
impl Log for Reader {
    async fn extent(&mut self) -> Result<Extent> {
        let starts = self.0.starts.lock().unwrap().clone();
        let spans = self.0.end().into_iter().map(|(p, end)| (p, (starts.get(&p).copied().unwrap_or(0), end)));
        Ok(Extent { identity: self.identity().await?, topic: "t".into(), spans: spans.collect() })
    }

    async fn identity(&mut self) -> Result<Identity> {
        Ok(Identity { cluster_id: Some("one".into()), topic_id: Some("1".into()) })
    }

    async fn probe(&mut self, at: &Marks) -> Result<BTreeMap<i32, Option<Mark>>> {
        let mut found = BTreeMap::new();
        for (partition, mark) in at {
            let mut other = Self(Arc::clone(&self.0), Offsets::from([(*partition, mark.offset)]));
            let room = Room { changes: 1, bytes: 1_000, wait: Default::default() };
            let changes = other.read(room).await?;
            found.insert(*partition, changes.iter().next().map(|c| c.mark()));
        }
        Ok(found)
    }

    async fn seek(&mut self, from: &Offsets) -> Result<()> {
        self.1 = from.clone();
        Ok(())
    }

    async fn read(&mut self, room: Room) -> Result<Changes> {
        let mut changes = Changes::default();
        {
            let records = self.0.records.lock().unwrap();
            for (partition, next) in &mut self.1 {
                for (key, value) in records.get(partition).into_iter().flatten().skip(*next as usize) {
                    if changes.len() >= room.changes {
                        break;
                    }
                    let (of_key, value) =
                        (format!("{{\"id\":{key}}}"), value.map(|v| format!("{{\"id\":{key},\"n\":{v}}}")));
                    changes.push(Seen {
                        partition: *partition,
                        offset: *next,
                        at_ms: Some(5),
                        key: (!self.0.is_keyless).then_some(of_key.as_bytes()),
                        value: value.as_ref().map(String::as_bytes),
                        headers: vec![],
                    });
                    *next += 1;
                }
            }
        }
        if changes.is_empty() {
            tokio::task::yield_now().await;
        }
        Ok(changes)
    }

    async fn acknowledge(&mut self, _: &Offsets) -> Result<()> {
        Ok(())
    }
}

fn origin(topic: &Arc<Topic>, precision: u8) -> Records {
    let columns = [("id", DataType::Int64), ("n", DataType::Decimal128(precision, 2))];
    let columns = columns.map(|(name, of)| Column {
        field: Field::new(name, of, true),
        path: vec![name.into()],
        unit: None,
        encoding: Default::default(),
        optional: true,
    });
    let mut declaration = Declaration::new(Format::Json, Envelope::None, columns.to_vec());
    declaration.key = vec![0];
    let layout = Arc::new(Layout::new("t", "events", Decoder::new(declaration).unwrap(), None));
    Records::new(Box::new(Reader(Arc::clone(topic), Offsets::new())), layout, PIPELINE, "sales")
}

/// Takes in all there is, by columns of so many digits.
async fn take_in(world: &World, topic: &Arc<Topic>, precision: u8) {
    let mut flow = world.flow(&Chaos::none(), SMALL).await;
    flow.target.write = Write::Upsert { keeps_deleted: false };
    flow.origin = Box::new(origin(topic, precision));
    let mut ingester = run(flow);
    let begin = std::time::Instant::now();
    while world.position().await.as_ref() != Some(&topic.end()) {
        assert!(begin.elapsed() < crate::gateway::PATIENCE, "{:?} of {:?}", world.position().await, topic.end());
        tokio::task::yield_now().await;
    }
    ingester.stop.cancel();
    (&mut ingester.task).await.unwrap();
}

async fn replayed(world: &World, topic: &Arc<Topic>, precision: u8) -> Result<Replayed> {
    let mut target = world.target(&Chaos::none()).await;
    target.write = Write::Upsert { keeps_deleted: false };
    let (state, config) = (lakegate::engine::own_state(Arc::default()), Config { lease_ms: 600, ..Config::default() });
    Box::pin(replay(&target, &state, &mut origin(topic, precision), &config)).await
}

async fn history(seed: u64) -> u64 {
    let mut random = StdRng::seed_from_u64(seed);
    let (world, topic) = (World::new(1), Arc::new(Topic::default()));
    let send = |random: &mut StdRng| {
        for _ in 0..random.random_range(1..30) {
            let value = match random.random_range(0..10) {
                0..=1 => None,
                2..=5 => Some(random.random_range(1_000..9_000)),
                _ => Some(random.random_range(0..100)),
            };
            topic.send((random.random_range(0..8), value));
        }
    };
    send(&mut random);
    take_in(&world, &topic, 4).await;
    assert_eq!(world.rows("events", "id, n").await, topic.model(99), "before, LAKEGATE_SEED={seed}");
    if random.random_bool(0.5) {
        // What came since may be newer than what was set aside.
        send(&mut random);
        take_in(&world, &topic, 10).await;
    }
    let done = replayed(&world, &topic, 10).await.unwrap();
    assert_eq!(world.rows("events", "id, n").await, topic.model(i64::MAX), "{done:?}, LAKEGATE_SEED={seed}");
    assert_eq!((done.left, world.rows("__dlq", "id").await.len()), (0, 0), "LAKEGATE_SEED={seed}");
    assert_eq!(replayed(&world, &topic, 10).await.unwrap(), Replayed::default());
    done.resolved
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_of_current_rows_come_to_what_they_would_have_come_to_in_their_time() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seeds: Vec<u64> = match number("LAKEGATE_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("LAKEGATE_SEEDS").unwrap_or(SEEDS)).map(|_| rand::random()).collect(),
    };
    let (mut resolved, histories) = (0, seeds.len());
    for seed in seeds {
        println!("LAKEGATE_SEED={seed}");
        resolved += Box::pin(history(seed)).await;
    }
    println!("replayed: {histories} histories, {resolved} letters");
    assert!(resolved > 0, "a run without letters shows nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_whose_successors_are_gone_stay_and_a_pipeline_that_runs_is_left_alone() {
    let (world, topic) = (World::new(1), Arc::new(Topic::default()));
    for record in [(0, Some(5_000)), (0, Some(1)), (2, Some(6_000)), (1, Some(7_000))] {
        topic.send(record);
    }
    take_in(&world, &topic, 4).await;
    // Nobody can say any more that key 0 has a newer row.
    topic.starts.lock().unwrap().insert(0, 2);
    let done = replayed(&world, &topic, 10).await.unwrap();
    assert_eq!(done, Replayed { rows: 2, resolved: 2, left: 1 });
    assert_eq!(world.rows("events", "id, n").await, ["0|1.00", "1|7000.00", "2|6000.00"]);
    let metastore = world.metastore().await;
    assert!(metastore.take_lease(LEASE, "somebody", 60_000).await.unwrap().is_some());
    let refused = replayed(&world, &topic, 10).await.unwrap_err();
    assert_eq!(refused.kind().sqlstate(), "40001", "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_of_records_that_have_no_order_stay() {
    let (world, topic) = (World::new(1), Arc::new(Topic { is_keyless: true, ..Topic::default() }));
    for record in [(0, Some(5_000)), (1, Some(1))] {
        topic.send(record);
    }
    take_in(&world, &topic, 4).await;
    let done = replayed(&world, &topic, 10).await.unwrap();
    assert_eq!(done, Replayed { rows: 0, resolved: 0, left: 1 });
    assert_eq!(world.rows("events", "id, n").await, ["1|1.00"]);
    assert_eq!(world.rows("__dlq", "id").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_behind_where_the_table_stands_stay() {
    let (world, topic) = (World::new(1), Arc::new(Topic::default()));
    topic.send((0, Some(1)));
    take_in(&world, &topic, 4).await;
    let before = world.snapshot().await;
    topic.send((0, Some(5_000)));
    topic.send((2, Some(2)));
    take_in(&world, &topic, 4).await;
    world.set_back(before).await;
    let refused = replayed(&world, &topic, 10).await.unwrap_err();
    assert_eq!(refused.kind().sqlstate(), "58000", "{refused}");
    let mut target = world.target(&Chaos::none()).await;
    target.write = Write::Upsert { keeps_deleted: false };
    resume(&target, &mut origin(&topic, 4), From::Snapshot, 600).await.unwrap();
    let done = replayed(&world, &topic, 10).await.unwrap();
    assert_eq!(done, Replayed { rows: 0, resolved: 0, left: 1 });
    assert_eq!(
        world.rows("__dlq", "id").await.len(),
        1,
        "its record comes again, or is replayed when the table has come there"
    );
}
