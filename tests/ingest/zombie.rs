//! Two ingesters of one pipeline: one writes, the other waits; and one that was held up at any call while another took
//! over writes nothing any more.

use super::chaos::{Chaos, Fault};
use super::topic::Record;
use super::world::{SMALL, World};

fn good(id: i64) -> Record {
    Record::Good { id, text: "a".into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_ingesters_write_every_record_once_and_the_second_takes_over() {
    let world = World::new(2);
    let quiet = [Chaos::none(), Chaos::none()];
    let first = world.start(&quiet[0], SMALL).await;
    (0..20).for_each(|id| world.topic.send((id % 2) as i32, good(id)));
    world.caught_up().await;
    let second = world.start(&quiet[1], SMALL).await;
    (20..60).for_each(|id| world.topic.send((id % 2) as i32, good(id)));
    world.caught_up().await;
    let reads = |chaos: &Chaos| chaos.log().iter().filter(|call| call.contains("read")).count();
    assert_eq!(reads(&quiet[1]), 0, "the second reads while the first holds the lease");
    // It dies without a word; its lease runs out.
    drop(first);
    (60..80).for_each(|id| world.topic.send((id % 2) as i32, good(id)));
    world.caught_up().await;
    assert!(reads(&quiet[1]) > 0);
    world.assert_replayed("after a taking-over").await;
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingester_held_at_any_call_and_overtaken_changes_nothing() {
    let mut call = 0;
    loop {
        let world = World::new(1);
        (0..14).for_each(|id| world.topic.send(0, if id == 3 { Record::Malformed(id) } else { good(id) }));
        let chaos = Chaos::at(call, Fault::Hold);
        let old = world.start(&chaos, SMALL).await;
        let caught_up = tokio::select! {
            () = chaos.held.cancelled() => false,
            () = world.caught_up() => true,
        };
        if caught_up {
            break;
        }
        world.expire_lease().await;
        let new = world.start(&Chaos::none(), SMALL).await;
        world.caught_up().await;
        chaos.release();
        // The old one, awake again, and the new one are both at it.
        (20..30).for_each(|id| world.topic.send(0, good(id)));
        world.caught_up().await;
        new.stop.cancel();
        drop(new);
        world.expire_lease().await;
        world.topic.send(0, good(99));
        world.caught_up().await;
        world.assert_replayed(&format!("held at call {call}: {:#?}", chaos.log())).await;
        drop(old);
        call += 1;
    }
    println!("ingest: held and overtaken at each of {call} calls");
    assert!(call > 10, "only {call} calls");
}
