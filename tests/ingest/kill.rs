//! The real binary on the real broker, dead at each arrow of a change's way and at random moments: afterwards every record
//! of the topic is in the table once. `LAKEGATE_KILL_CYCLES` says how often it dies.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::home::{Home, PATIENCE, producer, send};

/// In the order of the way from topic to table and back.
pub const POINTS: [&str; 10] = [
    "after_read",
    "mid_write",
    "after_upload",
    "after_manifest",
    "after_list",
    "after_metadata",
    "after_swap",
    "after_commit",
    "before_confirm",
    "after_confirm",
];
/// After each round of the points, one death at a random moment.
const ROUND: usize = POINTS.len() + 1;
pub const ABORTED: i32 = 6;
pub const KILLED: i32 = 9;

#[tokio::test(flavor = "multi_thread")]
async fn an_ingester_that_dies_at_any_arrow_loses_and_doubles_nothing() {
    let cycles = std::env::var("LAKEGATE_KILL_CYCLES").map_or(ROUND, |n| n.parse().expect("a number"));
    let seed = std::env::var("LAKEGATE_SEED").map_or_else(|_| rand::random(), |n| n.parse().expect("a number"));
    println!("LAKEGATE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let home = Home::new(1, "warehouse = 'file://@DIR@/warehouse'").await;
    let (topic, producer, begin) = (home.topics[0].clone(), producer(None), Instant::now());
    let (mut id, mut died) = (0, BTreeMap::<&str, usize>::new());
    // Records come steadily and not as fast as they can: a backlog would only make the last start longer.
    let mut pace = tokio::time::interval(Duration::from_millis(25));
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for cycle in 0..cycles {
        let point = POINTS.get(cycle % ROUND).copied();
        let step = point.map(|point| format!("{point}@{}", random.random_range(1..4)));
        let mut process = home.ingest(step.as_deref());
        let (started, alive) = (Instant::now(), Duration::from_millis(random.random_range(300..2_500)));
        let status = loop {
            pace.tick().await;
            let more = random.random_range(1..40);
            send(&producer, &topic, id..id + more).await;
            id += more;
            if let Some(status) = process.0.try_wait().unwrap() {
                break status;
            }
            if point.is_none() && started.elapsed() > alive {
                process.0.kill().unwrap();
            }
            assert!(started.elapsed() < PATIENCE, "{step:?} is not reached\n{}", home.log());
        };
        let expected = if point.is_some() { ABORTED } else { KILLED };
        assert_eq!(status.signal(), Some(expected), "{step:?}: {status}\n{}", home.log());
        *died.entry(point.unwrap_or("random")).or_default() += 1;
    }
    let end = send(&producer, &topic, id..id + 3).await;
    let restart = Instant::now();
    let last = home.ingest(None);
    home.reached(&topic, &end).await;
    let caught_up = restart.elapsed();
    assert!(last.terminate().success());
    let (lost, doubled, records) = home.compare(&topic).await;
    let commits = home.assert_chain(&topic).await;
    println!(
        "kill: {cycles} deaths {died:?}, {records} records, {commits} commits, lost {lost}, doubled {doubled}, \
         catch-up {:.1} s, in {:.0} s",
        caught_up.as_secs_f32(),
        begin.elapsed().as_secs_f32()
    );
    assert_eq!((lost, doubled), (0, 0), "LAKEGATE_SEED={seed}");
    assert_eq!(records as i64, id + 3);
}
