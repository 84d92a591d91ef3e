//! A pipeline that a person has rest: it says so, once, and goes on where it was.

use lakegate::ingest::pause;

use super::chaos::Chaos;
use super::scripted::{good, state};
use super::world::{LOOK_EVERY, PIPELINE, SMALL, World};

const NOTED: &str = "ingest.status.p/events";

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_rests_says_so_once_and_goes_on() {
    let world = World::new(1);
    (0..5).for_each(|id| world.topic.send(0, good(id)));
    let _ingester = world.start(&Chaos::none(), SMALL).await;
    world.caught_up().await;
    let metastore = world.metastore().await;
    pause(&metastore, PIPELINE, true).await.unwrap();
    let (_, error) = state(&world, |state| state == "paused").await;
    assert_eq!(error, "", "nothing is wrong with it");
    // Somebody else's note stays: it writes nothing while nothing changes, however often it looks.
    let mark = br#"{"state":"paused","since_ms":0}"#;
    metastore.put(NOTED, mark).await.unwrap();
    world.topic.send(0, good(5));
    let mut look = tokio::time::interval(LOOK_EVERY);
    for _ in 0..100 {
        look.tick().await;
        assert_eq!(metastore.get(NOTED).await.unwrap().unwrap(), mark);
    }
    assert_eq!(world.rows("events", "id").await.len(), 5);
    pause(&metastore, PIPELINE, false).await.unwrap();
    state(&world, |state| state == "streaming").await;
    world.caught_up().await;
    assert_eq!(world.rows("events", "id").await.len(), 6);
}
