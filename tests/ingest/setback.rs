//! A table that another program sets back, while its pipeline runs and while it is stopped: it is noticed, nothing is taken
//! in on top, and a person gets back what was lost or leaves it out.

use lakegate::ingest::{From, resume};

use super::chaos::Chaos;
use super::scripted::{good, state};
use super::world::{LEASE, SMALL, World, run};

const SET_BACK: &str = "table sales.events was set back";

/// A hundred rows, and the snapshot; then fifty more.
async fn filled(world: &World) -> i64 {
    (0..100).for_each(|id| world.topic.send(0, good(id)));
    let ingester = world.start(&Chaos::none(), SMALL).await;
    world.caught_up().await;
    let snapshot = world.snapshot().await;
    (100..150).for_each(|id| world.topic.send(0, good(id)));
    world.caught_up().await;
    drop(ingester);
    world.expire_lease().await;
    snapshot
}

/// Until the pipeline says what is wrong.
async fn refused(world: &World) {
    let (_, error) = state(world, |state| state == "needs_resync").await;
    assert!(error.starts_with(SET_BACK), "{error}");
}

async fn resumed(world: &World, from: From) -> String {
    world.expire_lease().await;
    let mut flow = world.flow(&Chaos::none(), SMALL).await;
    let positions = resume(&flow.target, flow.origin.as_mut(), from, 600).await.unwrap();
    let _ingester = run(flow);
    world.caught_up().await;
    positions[0].1.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_set_back_under_a_running_pipeline_stops_it_before_the_next_record_comes() {
    let world = World::new(1);
    let snapshot = filled(&world).await;
    let ingester = world.start(&Chaos::none(), SMALL).await;
    state(&world, |state| state == "streaming").await;
    world.set_back(snapshot).await;
    refused(&world).await;
    // Nor does the next record go on top of what is missing.
    (150..160).for_each(|id| world.topic.send(0, good(id)));
    refused(&world).await;
    assert_eq!(world.rows("events", "id").await.len(), 100);
    drop(ingester);
    assert_eq!(resumed(&world, From::Snapshot).await, r#"{"0":100}"#);
    world.assert_replayed("after a resume from the snapshot").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_runs_is_paused_before_a_person_moves_it() {
    let world = World::new(1);
    filled(&world).await;
    let _ingester = world.start(&Chaos::none(), SMALL).await;
    state(&world, |state| state == "streaming").await;
    let target = world.target(&Chaos::none()).await;
    let error = lakegate::ingest::resume(&target, &mut world.origin(&Chaos::none()), From::Latest, 5_000).await;
    let error = error.expect_err("it runs");
    assert_eq!(error.kind(), lakegate::error::Kind::Conflict);
    let hint = error.hint().unwrap_or_default();
    assert!(hint.contains(&format!("lakegate ingest pause {}", target.pipeline)), "{hint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_does_not_go_on_top_of_a_table_set_back_since_it_was_looked_at() {
    let world = World::new(1);
    let snapshot = filled(&world).await;
    let mut flow = world.flow(&Chaos::none(), SMALL).await;
    // It never looks by itself: the commit alone can tell.
    flow.config.look_ms = u64::MAX;
    let _ingester = run(flow);
    state(&world, |state| state == "streaming").await;
    world.set_back(snapshot).await;
    (150..160).for_each(|id| world.topic.send(0, good(id)));
    refused(&world).await;
    assert_eq!(world.rows("events", "id").await.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_set_back_before_the_first_batch_stops_the_pipeline_and_comes_back_whole() {
    let world = World::new(1);
    // A row that is not the pipeline's, as an INSERT brings it: the history goes back to the table's first snapshot.
    (0..50).for_each(|id| world.topic.send(0, good(id)));
    let target = world.target(&Chaos::none()).await;
    lakegate::ingest::prepare(&target, &mut world.origin(&Chaos::none())).await.unwrap();
    let table = target.lake.table(&target.key("events")).await.unwrap().unwrap();
    let summary = [("added-by".to_string(), "another".to_string())].into();
    let staged = lakegate::lake::Staged {
        summary,
        ..lakegate::lake::Staged::append(table, Default::default(), lakegate::lake::BatchId::new())
    };
    target.lake.commit(vec![staged], &Default::default()).await.unwrap();
    let first = world.snapshot().await;
    let ingester = world.start(&Chaos::none(), SMALL).await;
    world.caught_up().await;
    drop(ingester);
    world.expire_lease().await;
    world.set_back(first).await;
    (50..60).for_each(|id| world.topic.send(0, good(id)));
    let ingester = world.start(&Chaos::none(), SMALL).await;
    refused(&world).await;
    assert!(world.rows("events", "id").await.is_empty());
    drop(ingester);
    assert_eq!(resumed(&world, From::Snapshot).await, r#"{"0":0}"#);
    world.assert_replayed("after a resume from the snapshot").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_set_back_stays_away_where_a_person_says_so() {
    let world = World::new(1);
    let snapshot = filled(&world).await;
    world.set_back(snapshot).await;
    (150..160).for_each(|id| world.topic.send(0, good(id)));
    assert_eq!(resumed(&world, From::Property).await, r#"{"0":150}"#);
    let mut expected: Vec<String> = (0..100).chain(150..160).map(|id: i64| id.to_string()).collect();
    expected.sort();
    assert_eq!(world.rows("events", "id").await, expected);
}

/// Snapshots that expire take the pipeline's own with them; the position is believed then.
#[tokio::test(flavor = "multi_thread")]
async fn an_expired_history_is_no_table_set_back() {
    let world = World::new(1);
    filled(&world).await;
    let target = world.target(&Chaos::none()).await;
    for _ in 0..2 {
        let table = target.lake.table(&target.key("events")).await.unwrap().unwrap();
        let summary = [("added-by".to_string(), "another".to_string())].into();
        let staged = lakegate::lake::Staged {
            summary,
            ..lakegate::lake::Staged::append(table, Default::default(), lakegate::lake::BatchId::new())
        };
        target.lake.commit(vec![staged], &Default::default()).await.unwrap();
    }
    let newest = world.snapshot().await;
    let retain = |metadata: &mut serde_json::Value| {
        let keep = |of: &mut serde_json::Value| of.as_array_mut().unwrap().retain(|s| s["snapshot-id"] == newest);
        keep(&mut metadata["snapshots"]);
        keep(&mut metadata["snapshot-log"]);
    };
    world.edit("events", retain).await;
    (150..160).for_each(|id| world.topic.send(0, good(id)));
    let _ingester = world.start(&Chaos::none(), SMALL).await;
    world.caught_up().await;
    world.assert_replayed("after an expiry").await;
}

/// Set back to an old snapshot and everything else expired: the oldest that is left is older than the pipeline's last.
#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_does_not_hide_that_a_table_was_set_back() {
    let world = World::new(1);
    let snapshot = filled(&world).await;
    world.set_back(snapshot).await;
    let retain = |metadata: &mut serde_json::Value| {
        let keep = |of: &mut serde_json::Value| of.as_array_mut().unwrap().retain(|s| s["snapshot-id"] == snapshot);
        keep(&mut metadata["snapshots"]);
        keep(&mut metadata["snapshot-log"]);
        metadata["snapshot-log"].as_array_mut().unwrap().dedup();
    };
    world.edit("events", retain).await;
    let _ingester = world.start(&Chaos::none(), SMALL).await;
    refused(&world).await;
    assert_eq!(world.rows("events", "id").await.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_another_program_removed_is_not_taken_for_a_new_table() {
    let world = World::new(1);
    filled(&world).await;
    let remove = |metadata: &mut serde_json::Value| {
        metadata["properties"].as_object_mut().unwrap().remove(super::world::POSITION);
    };
    world.edit("events", remove).await;
    let _ingester = world.start(&Chaos::none(), SMALL).await;
    refused(&world).await;
    assert_eq!(world.rows("events", "id").await.len(), 150);
    assert!(world.metastore().await.lease(LEASE).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_metadata_file_costs_no_record() {
    let world = World::new(1);
    filled(&world).await;
    world.tear_metadata().await;
    let _ingester = world.start(&Chaos::none(), SMALL).await;
    world.caught_up().await;
    world.assert_replayed("after the newest metadata file was torn").await;
}
