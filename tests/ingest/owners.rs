//! One table, one pipeline: its position is the table's own, whatever the pipeline's file is called, and a second pipeline
//! is refused. What a flow does that panics, and what it does not even begin.

use lakegate::ingest::{Flow, keep};
use tokio_util::sync::CancellationToken;

use super::chaos::{Chaos, Fault};
use super::scripted::{good, state};
use super::world::{Ingester, SMALL, World, run};

async fn named(world: &World, pipeline: &str) -> Flow {
    let mut flow = world.flow(&Chaos::none(), SMALL).await;
    flow.target.pipeline = pipeline.into();
    flow.target.file = format!("catalog/pipelines/{pipeline}.toml");
    flow
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_pipeline_goes_on_where_it_was() {
    let world = World::new(2);
    (0..110).for_each(|id| world.topic.send((id % 2) as i32, good(id)));
    let ingester = run(named(&world, "old").await);
    world.caught_up().await;
    drop(ingester);
    world.expire_lease().await;
    (110..120).for_each(|id| world.topic.send((id % 2) as i32, good(id)));
    let _ingester = run(named(&world, "new").await);
    world.caught_up().await;
    world.assert_replayed("after the file was renamed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_pipeline_of_a_table_is_refused_with_both_files_and_takes_over_when_the_first_ends() {
    let world = World::new(1);
    (0..20).for_each(|id| world.topic.send(0, good(id)));
    let first = run(named(&world, "p1").await);
    world.caught_up().await;
    let _second = run(named(&world, "p").await);
    let (_, error) = state(&world, |state| state == "paused").await;
    assert_eq!(error, "table sales.events is filled by pipeline \"p1\" of catalog/pipelines/p1.toml already");
    let noted = world.metastore().await.get("ingest.status.p/events").await.unwrap().unwrap();
    let noted: serde_json::Value = serde_json::from_slice(&noted).unwrap();
    let hint = "Two pipelines cannot fill one table: remove catalog/pipelines/p1.toml or catalog/pipelines/p.toml.";
    assert_eq!(noted["hint"], hint);
    (20..40).for_each(|id| world.topic.send(0, good(id)));
    world.caught_up().await;
    world.assert_replayed("with two pipelines").await;
    drop(first);
    (40..60).for_each(|id| world.topic.send(0, good(id)));
    world.caught_up().await;
    world.assert_replayed("after the first ended").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_panics_is_started_again_and_shows_it() {
    let world = World::new(1);
    (0..20).for_each(|id| world.topic.send(0, good(id)));
    // The first life panics at its first read, and so does the second; the third is sound.
    let lives = [Chaos::at_named("read", Fault::Panic), Chaos::at_named("read", Fault::Panic), Chaos::none()];
    let mut flows = vec![];
    for chaos in lives.iter().rev() {
        flows.push(world.flow(chaos, SMALL).await);
    }
    let stop = CancellationToken::new();
    let task = tokio::spawn(keep(move || flows.pop().expect("three lives"), stop.clone()));
    let _ingester = Ingester { stop, task };
    let (_, error) = state(&world, |state| state == "retrying").await;
    assert_eq!(error, "the pipeline panicked and is started again");
    world.caught_up().await;
    world.assert_replayed("after two panics").await;
    assert_eq!((lives[0].met(), lives[1].met()), (1, 1));
    state(&world, |state| state == "streaming").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_be_written_is_refused_before_a_file_is() {
    let world = World::new(1);
    (0..20).for_each(|id| world.topic.send(0, good(id)));
    let target = world.target(&Chaos::none()).await;
    let columns = lakegate::ingest::dead_letter_columns();
    lakegate::ingest::ensure(&target.lake, &target.dead_key(), &columns, Default::default()).await.unwrap();
    // The table of dead letters, which is written after the other.
    world
        .edit("__dlq", |metadata| {
            let field = serde_json::json!({"name": "p", "transform": "unknown", "source-id": 2, "field-id": 1000});
            metadata["partition-specs"][0]["fields"] = serde_json::json!([field]);
            metadata["last-partition-id"] = 1000.into();
        })
        .await;
    let _ingester = world.start(&Chaos::none(), SMALL).await;
    let (_, error) = state(&world, |state| state == "paused").await;
    assert!(error.contains("is not supported"), "{error}");
    assert_eq!(world.files().await, 0, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tombstone_says_what_was_deleted() {
    let world = World::new(1);
    world.topic.send(0, good(1));
    world.topic.send(0, super::topic::Record::Tombstone);
    let _ingester = world.start(&Chaos::none(), SMALL).await;
    world.caught_up().await;
    let columns =
        "_op, encode(_key, 'hex'), _headers[1]['name'], encode(_headers[1]['value'], 'hex'), _headers[2]['value']";
    let key = |text: &str| text.bytes().map(|b| format!("{b:02x}")).collect::<String>();
    let expected = [format!("delete|{}|n|76|NULL", key("key 1")), format!("insert|{}|n|76|NULL", key("key 0"))];
    assert_eq!(world.rows("events", columns).await, expected);
}
