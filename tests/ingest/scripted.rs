//! Ring 4: a scripted topic, a store in memory, faults and the end of the ingester at every call. Whatever happened, the
//! tables hold what a plain replay of the topic gives, once.

use std::time::Instant;

use lakegate::ingest::{Commit, DeadLetterCap};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::chaos::{Chaos, Fault};
use super::topic::{Record, TOPIC};
use super::world::{LEASE, POSITION, SMALL, World, run};
use crate::gateway::PATIENCE;

/// Histories in one run; more with `LAKEGATE_SEEDS`, one of them with `LAKEGATE_SEED`.
const SEEDS: u64 = 12;

pub fn good(id: i64) -> Record {
    Record::Good { id, text: "a".into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_with_faults_and_kills_end_as_a_plain_replay() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seeds: Vec<u64> = match number("LAKEGATE_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("LAKEGATE_SEEDS").unwrap_or(SEEDS)).map(|_| rand::random()).collect(),
    };
    let (mut lives, mut faults) = (0, 0);
    for seed in &seeds {
        // Printed before, so that a history that hangs has a name.
        println!("LAKEGATE_SEED={seed}");
        let (l, f) = history(*seed).await;
        (lives, faults) = (lives + l, faults + f);
    }
    println!("ingest: {} histories, {lives} ingesters, {faults} faults", seeds.len());
    assert!(faults >= seeds.len() as u64, "{faults} faults hit: a run without faults shows nothing");
}

/// Records come while ingesters live and die; the last one meets no faults. How many there were, and how many faults.
async fn history(seed: u64) -> (u64, u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let world = World::new(random.random_range(1..4));
    let (mut lives, mut faults, mut id) = (0, 0, 0);
    for _ in 0..random.random_range(4..8) {
        let partitions = world.topic.end().len() as i32;
        for _ in 0..random.random_range(0..60) {
            id += 1;
            world.topic.send(random.random_range(0..partitions), Record::any(&mut random, id));
        }
        let chaos = Chaos::drawn(random.random(), random.random_range(6..30));
        let commit = Commit { rows_max: random.random_range(1..20), ..SMALL };
        world.expire_lease().await;
        let ingester = world.start(&chaos, commit).await;
        if random.random_ratio(1, 5) {
            world.topic.send(partitions, Record::any(&mut random, 0));
        }
        // Dead at the call drawn for it, or when it has caught up with what there is.
        tokio::select! {
            () = chaos.killed.cancelled() => {}
            () = world.caught_up() => {}
        }
        drop(ingester);
        (lives, faults) = (lives + 1, faults + chaos.met());
    }
    world.expire_lease().await;
    let ingester = world.start(&Chaos::none(), SMALL).await;
    world.caught_up().await;
    drop(ingester);
    world.assert_replayed(&format!("LAKEGATE_SEED={seed}")).await;
    (lives + 1, faults)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_fault_at_each_call_of_a_batch_changes_nothing() {
    let faults = [Fault::Reject, Fault::FailAfterWrite, Fault::Slow, Fault::KillBefore, Fault::KillAfter];
    // Each mostly waits for its own pauses.
    futures::future::join_all(faults.map(at_each_call)).await;
}

async fn at_each_call(fault: Fault) {
    let mut call = 0;
    loop {
        let world = World::new(2);
        for id in 0..12 {
            let record = if id % 5 == 3 { Record::Malformed(id) } else { good(id) };
            world.topic.send((id % 2) as i32, record);
        }
        let chaos = Chaos::at(call, fault);
        let first = world.start(&chaos, SMALL).await;
        tokio::select! {
            () = chaos.killed.cancelled() => {}
            () = world.caught_up() => {}
        }
        drop(first);
        world.topic.send(0, good(100));
        world.expire_lease().await;
        let _second = world.start(&Chaos::none(), SMALL).await;
        world.caught_up().await;
        world.assert_replayed(&format!("{fault:?} at call {call}: {:#?}", chaos.log())).await;
        if chaos.met() == 0 {
            break;
        }
        call += 1;
    }
    println!("ingest: {fault:?} at each of {call} calls");
    assert!(call > 10, "{fault:?}: only {call} calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_commits_what_was_read_and_lets_the_lease_go() {
    let world = World::new(1);
    let slow = Commit { age_ms: 3_600_000, rows_max: 1_000, bytes_max: 1 << 20 };
    (0..5).for_each(|id| world.topic.send(0, good(id)));
    let quiet = Chaos::none();
    let mut ingester = world.start(&quiet, slow).await;
    let begin = Instant::now();
    // What the first read brought is taken in before the second.
    while quiet.log().iter().filter(|call| call.contains("read")).count() < 2 {
        assert!(begin.elapsed() < PATIENCE, "nothing is read");
        tokio::task::yield_now().await;
    }
    assert_eq!(world.position().await, None, "there was no reason to commit");
    ingester.stop.cancel();
    (&mut ingester.task).await.unwrap();
    assert!(begin.elapsed() < PATIENCE);
    world.assert_replayed("after a stop").await;
    let (_, live) = world.metastore().await.lease(LEASE).await.unwrap().unwrap();
    assert!(!live, "the lease is still held");
}

/// Stopped, with the error it gives; `SMALL` batches of what the topic holds are in the table before.
pub async fn stopped(world: &World, change: impl FnOnce(&World)) -> (String, String) {
    let ingester = world.start(&Chaos::none(), SMALL).await;
    world.caught_up().await;
    drop(ingester);
    world.expire_lease().await;
    let before = world.rows("events", "id, _position").await;
    change(world);
    let ingester = world.start(&Chaos::none(), SMALL).await;
    let said = state(world, |state| state != "streaming" && state != "starting").await;
    // It goes on looking, and never goes on.
    assert!(!ingester.task.is_finished());
    drop(ingester);
    assert_eq!(world.rows("events", "id, _position").await, before);
    said
}

/// State and error as they are noted, once the state is as wanted.
pub async fn state(world: &World, wanted: impl Fn(&str) -> bool) -> (String, String) {
    let (metastore, begin) = (world.metastore().await, Instant::now());
    loop {
        let noted = metastore.get("ingest.status.p/events").await.unwrap().unwrap_or_else(|| b"{}".to_vec());
        let noted: serde_json::Value = serde_json::from_slice(&noted).unwrap();
        let state = noted["state"].as_str().unwrap_or("starting").to_string();
        if wanted(&state) {
            return (state, noted["error"].as_str().unwrap_or_default().to_string());
        }
        assert!(begin.elapsed() < PATIENCE, "still {noted}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_the_one_before_stops_the_pipeline() {
    let filled = || {
        let world = World::new(2);
        (0..10).for_each(|id| world.topic.send((id % 2) as i32, good(id)));
        world
    };
    let again = |world: &World, count: i64| {
        world.topic.recreate();
        (0..count).for_each(|id| world.topic.send((id % 2) as i32, good(1_000 + id)));
    };
    let anew = "topic \"events\" was made anew";
    let other = format!("{anew}: it is not the one that table sales.events was filled from");
    let elsewhere =
        "topic \"events\" is in another cluster than the one table sales.events was filled from".to_string();
    // Where brokers give no ids the records must tell, and a place without a record is no match.
    let hole = "topic \"events\" may have been made anew: partition 0 has no record at offset 4".to_string();
    let with_hole = |world: &World, count: i64| {
        again(world, count);
        world.topic.compact(0, 4);
    };
    type Change<'a> = Box<dyn Fn(&World) + 'a>;
    let changes: [(&str, bool, String, Change<'_>); 9] = [
        ("shorter", true, other.clone(), Box::new(|w| again(w, 4))),
        ("as long", true, other.clone(), Box::new(|w| again(w, 10))),
        ("with a marker at the mark", true, other, Box::new(|w| with_hole(w, 40))),
        ("elsewhere", true, elsewhere, Box::new(|w| w.topic.move_to("two"))),
        ("shorter", false, format!("{anew} or cut: partition 0 ends at offset 2"), Box::new(|w| again(w, 4))),
        ("as long", false, format!("{anew}: partition 0 has another record at offset 4"), Box::new(|w| again(w, 10))),
        ("longer", false, format!("{anew}: partition 0 has another record at offset 4"), Box::new(|w| again(w, 40))),
        ("with a marker at the mark", false, hole.clone(), Box::new(|w| with_hole(w, 40))),
        ("with a marker at the mark and the end", false, hole, Box::new(|w| with_hole(w, 10))),
    ];
    for (name, ids, told, change) in changes {
        let world = filled();
        if !ids {
            world.topic.without_ids();
        }
        let (state, error) = stopped(&world, change).await;
        assert_eq!(state, "needs_resync", "{name}, ids {ids}: {error}");
        assert!(error.starts_with(&told), "{name}, ids {ids}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_may_take_the_last_record_of_a_topic_that_is_known_by_its_id() {
    let world = World::new(1);
    (0..10).for_each(|id| world.topic.send(0, good(id)));
    let ingester = world.start(&Chaos::none(), SMALL).await;
    world.caught_up().await;
    drop(ingester);
    world.expire_lease().await;
    world.topic.compact(0, 9);
    (10..20).for_each(|id| world.topic.send(0, good(id)));
    let _ingester = world.start(&Chaos::none(), SMALL).await;
    world.caught_up().await;
    assert_eq!(world.rows("events", "id").await.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_while_it_is_read_brings_no_row() {
    let world = World::new(1);
    (0..80).for_each(|id| world.topic.send(0, good(id)));
    let mut flow = world.flow(&Chaos::none(), SMALL).await;
    // It never looks by itself: the commit alone can tell.
    flow.config.look_ms = u64::MAX;
    let _ingester = run(flow);
    world.caught_up().await;
    // Long enough that reading goes on behind the position without an error.
    world.topic.recreate_with((1_000..1_300).map(good).collect());
    let (state, error) = state(&world, |state| state == "needs_resync").await;
    assert!(error.starts_with("topic \"events\" was made anew"), "{state}: {error}");
    let ids = world.rows("events", "id").await;
    assert_eq!((ids.len(), ids.iter().filter(|id| id.len() == 4).count()), (80, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_retention_took_stop_the_pipeline_until_somebody_says_from_where() {
    let world = World::new(1);
    (0..10).for_each(|id| world.topic.send(0, good(id)));
    let cut = |world: &World| {
        (10..30).for_each(|id| world.topic.send(0, good(id)));
        world.topic.truncate(0, 20);
    };
    let (state, error) = stopped(&world, cut).await;
    assert_eq!(state, "needs_resync");
    assert_eq!(error, "topic \"events\", partition 0: records from offset 10 to 20 are gone");

    // A person decides, and it goes on without what is gone.
    world.expire_lease().await;
    let mut flow = world.flow(&Chaos::none(), SMALL).await;
    let from = lakegate::ingest::From::Earliest;
    let position = lakegate::ingest::resume(&flow.target, flow.origin.as_mut(), from, 600).await.unwrap();
    assert_eq!(position, [("sales.events".to_string(), r#"{"0":20}"#.to_string())]);
    let _ingester = run(flow);
    world.caught_up().await;
    let ids = world.rows("events", "id").await;
    let mut expected: Vec<String> = (0..10).chain(20..30).map(|id: i64| id.to_string()).collect();
    expected.sort();
    assert_eq!(ids, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_set_back_stops_the_pipeline() {
    let world = World::new(1);
    (0..10).for_each(|id| world.topic.send(0, good(id)));
    let ingester = world.start(&Chaos::none(), SMALL).await;
    world.caught_up().await;
    drop(ingester);
    world.expire_lease().await;
    // Another program writes an older position over ours.
    let lake = world.lake(&Chaos::none()).await;
    let table = lake.table(&lake.key("sales", "events")).await.unwrap().unwrap();
    let text = table.properties()[POSITION].clone();
    let mut position: lakegate::ingest::Position = serde_json::from_str(&text).unwrap();
    position.place.0["partitions"] = serde_json::json!({"0": 3});
    position.batch = "another".into();
    let batch = lakegate::lake::BatchId::new();
    let staged = lakegate::lake::Staged {
        properties: [(POSITION.to_string(), position.json())].into(),
        ..lakegate::lake::Staged::append(table, Default::default(), batch)
    };
    lake.commit(vec![staged], &Default::default()).await.unwrap();
    let _ingester = world.start(&Chaos::none(), SMALL).await;
    let (state, error) = state(&world, |state| state != "starting" && state != "streaming").await;
    assert_eq!(state, "needs_resync");
    assert!(error.starts_with("table sales.events was set back"), "{error}");
    assert_eq!(world.rows("events", "id").await.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_dead_letters_pause_the_pipeline_and_drop_nothing() {
    let world = World::new(1);
    (0..20).for_each(|id| world.topic.send(0, if id < 10 { good(id) } else { Record::Misfit(id) }));
    let mut flow = world.flow(&Chaos::none(), Commit { rows_max: 4, ..SMALL }).await;
    flow.dead_letter = DeadLetterCap { rows_max: 5, percent_max: 100.0 };
    let ingester = run(flow);
    let (state, error) = state(&world, |state| state == "paused").await;
    assert_eq!(state, "paused");
    assert!(error.starts_with("6 of the last"), "{error}");
    let at = world.position().await.unwrap()[&0];
    assert_eq!(world.rows("events", "id").await.len(), 10);
    assert_eq!(world.rows("__dlq", "id").await.len() as i64, at - 10, "what is behind the position is in a table");
    drop(ingester);
    // With room for them all of them come.
    world.expire_lease().await;
    let _ingester = world.start(&Chaos::none(), SMALL).await;
    world.caught_up().await;
    world.assert_replayed("with a higher cap").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_kept_whole_and_named_by_its_place() {
    let world = World::new(1);
    world.topic.send(0, Record::Malformed(7));
    let _ingester = world.start(&Chaos::none(), SMALL).await;
    world.caught_up().await;
    let columns = "id, pipeline, source, source_partition, source_offset, error_class, message, encode(raw, 'hex')";
    let place = format!("{TOPIC}/0/0000000000000000000|p|{TOPIC}/0|0|0");
    let expected = format!("{place}|malformed|the record is not valid JSON|7b37");
    assert_eq!(world.rows("__dlq", columns).await, [expected]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_other_columns_is_left_alone() {
    let world = World::new(1);
    world.topic.send(0, good(1));
    let lake = world.lake(&Chaos::none()).await;
    lake.create_namespace("sales").await.unwrap();
    let field = arrow::datatypes::Field::new("id", arrow::datatypes::DataType::Utf8, true);
    let schema = std::sync::Arc::new(arrow::datatypes::Schema::new(vec![field]));
    lakegate::ingest::ensure(&lake, &lake.key("sales", "events"), &schema, Default::default()).await.unwrap();
    let _ingester = world.start(&Chaos::none(), SMALL).await;
    let (state, error) = state(&world, |state| state != "starting").await;
    assert_eq!(state, "paused");
    assert!(error.starts_with("table sales.events has other columns than its pipeline"), "{error}");
    assert!(world.rows("events", "id").await.is_empty());
}
