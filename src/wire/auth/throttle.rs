//! Slows down guessing: failed logins of one user from one host fill a bucket that leaks. A try takes its place in the
//! bucket before it is judged, so that tries in parallel count like tries in a row: as many as may fail go at once, the
//! others wait for their verdicts; in a full bucket one goes at a time, each after a pause. It refuses nobody, and a
//! user's other hosts notice nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use xxhash_rust::xxh3::xxh3_64;

/// Pairs remembered; beyond, those that leaked empty are forgotten, then any at which nobody tries.
const PAIRS_MAX: usize = 10_000;
const PAUSE_MAX: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Throttle {
    failures_per_minute_max: u32,
    buckets: Mutex<HashMap<Pair, Bucket>>,
}

/// The user by hash: names come from strangers and may be long.
type Pair = (u64, IpAddr);

#[derive(Debug)]
struct Bucket {
    failures: f64,
    at: Instant,
    /// Tries without a verdict yet.
    under_way: u32,
    /// Told whenever one of them has ended.
    ended: watch::Sender<()>,
}

/// One try, from before its judgement to its verdict. Dropped without one, it was no guess: its place is free again.
#[derive(Debug)]
pub(crate) struct Try<'a> {
    throttle: &'a Throttle,
    pair: Pair,
    verdict: Option<bool>,
}

/// What a try that wants to begin has to do first.
#[derive(Debug)]
enum Place {
    /// It is taken; the judgement waits this long.
    Taken(Duration),
    /// Until another try has ended.
    Wait(watch::Receiver<()>),
}

impl Throttle {
    pub(crate) fn new(failures_per_minute_max: u32) -> Self {
        Self { failures_per_minute_max: failures_per_minute_max.max(1), buckets: Mutex::default() }
    }

    /// Waits until this try may be judged. The caller holds the timer.
    pub(crate) async fn begin(&self, user: &str, host: IpAddr) -> Try<'_> {
        let pair = (xxh3_64(user.as_bytes()), host);
        loop {
            match self.place(pair, Instant::now()) {
                Place::Taken(pause) => {
                    let begun = Try { throttle: self, pair, verdict: None };
                    tokio::time::sleep(pause).await;
                    return begun;
                }
                Place::Wait(mut ended) => {
                    // An error is the end of the bucket: nothing is counted any more, the next look takes a place.
                    let _ = ended.changed().await;
                }
            }
        }
    }

    fn place(&self, pair: Pair, now: Instant) -> Place {
        let mut buckets = self.buckets();
        if !buckets.contains_key(&pair) {
            self.make_room(&mut buckets, now);
        }
        let bucket = buckets.entry(pair).or_insert_with(|| Bucket {
            failures: 0.0,
            at: now,
            under_way: 0,
            ended: watch::Sender::new(()),
        });
        // Whole failures: a bucket that has leaked a little since the last try still counts it.
        let failures = self.leaked(bucket, now).ceil();
        let max = f64::from(self.failures_per_minute_max);
        if failures + f64::from(bucket.under_way) < max {
            bucket.under_way += 1;
            return Place::Taken(Duration::ZERO);
        }
        if bucket.under_way > 0 {
            return Place::Wait(bucket.ended.subscribe());
        }
        bucket.under_way = 1;
        // A second more for each failure above the limit.
        Place::Taken(Duration::from_secs_f64(failures - max + 1.0).min(PAUSE_MAX))
    }

    fn make_room(&self, buckets: &mut HashMap<Pair, Bucket>, now: Instant) {
        if buckets.len() >= PAIRS_MAX {
            buckets.retain(|_, bucket| bucket.under_way > 0 || self.leaked(bucket, now) > 0.0);
        }
        if buckets.len() >= PAIRS_MAX
            && let Some(any) = buckets.iter().find(|(_, bucket)| bucket.under_way == 0).map(|(pair, _)| *pair)
        {
            buckets.remove(&any);
        }
    }

    fn end(&self, pair: Pair, verdict: Option<bool>, now: Instant) {
        let mut buckets = self.buckets();
        let Some(bucket) = buckets.get_mut(&pair) else { return };
        let leaked = self.leaked(bucket, now);
        let failures = match verdict {
            Some(true) => 0.0,
            // Not above what one more minute of waiting would empty: a storm is not remembered for hours.
            Some(false) => (leaked + 1.0).min(2.0 * f64::from(self.failures_per_minute_max)),
            None => leaked,
        };
        (bucket.failures, bucket.at) = (failures, now);
        bucket.under_way -= 1;
        if bucket.under_way == 0 && failures == 0.0 {
            // Whoever waits is woken by the bucket's end.
            buckets.remove(&pair);
        } else {
            bucket.ended.send_replace(());
        }
    }

    fn leaked(&self, bucket: &Bucket, now: Instant) -> f64 {
        let minutes = now.saturating_duration_since(bucket.at).as_secs_f64() / 60.0;
        (bucket.failures - minutes * f64::from(self.failures_per_minute_max)).max(0.0)
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<Pair, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Try<'_> {
    pub(crate) fn succeeded(mut self) {
        self.verdict = Some(true);
    }

    pub(crate) fn failed(mut self) {
        self.verdict = Some(false);
    }
}

impl Drop for Try<'_> {
    fn drop(&mut self) {
        self.throttle.end(self.pair, self.verdict, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering::Relaxed;

    use futures::StreamExt;

    use super::*;

    fn pair(user: u64, last: u8) -> Pair {
        (user, IpAddr::from([10, 0, 0, last]))
    }

    const ANN: u64 = 1;
    const MINUTE: Duration = Duration::from_secs(60);

    /// How long a try at `now` waits; `None`: for another one's verdict.
    fn pause(throttle: &Throttle, pair: Pair, now: Instant) -> Option<Duration> {
        match throttle.place(pair, now) {
            Place::Taken(pause) => Some(pause),
            Place::Wait(_) => None,
        }
    }

    fn fail(throttle: &Throttle, pair: Pair, now: Instant) -> Option<Duration> {
        let pause = pause(throttle, pair, now);
        throttle.end(pair, Some(false), now);
        pause
    }

    #[test]
    fn the_sixth_try_waits_and_other_hosts_do_not() {
        let (throttle, now) = (Throttle::new(5), Instant::now());
        let pauses: Vec<u64> = (0..12).map(|_| fail(&throttle, pair(ANN, 1), now).unwrap().as_secs()).collect();
        assert_eq!(pauses, [0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 5, 5]);
        assert_eq!(pause(&throttle, pair(ANN, 2), now), Some(Duration::ZERO));
        assert_eq!(pause(&throttle, pair(2, 1), now), Some(Duration::ZERO));
    }

    #[test]
    fn tries_in_parallel_count_before_they_are_judged() {
        let (throttle, now) = (Throttle::new(5), Instant::now());
        let begun = (0..100).filter(|_| pause(&throttle, pair(ANN, 1), now).is_some()).count();
        assert_eq!(begun, 5, "the others wait for a verdict");
        throttle.end(pair(ANN, 1), Some(false), now);
        assert_eq!(pause(&throttle, pair(ANN, 1), now), None, "a failure gives no place back");
        throttle.end(pair(ANN, 1), None, now);
        assert_eq!(pause(&throttle, pair(ANN, 1), now), Some(Duration::ZERO), "who went without a guess does");
        (0..4).for_each(|_| throttle.end(pair(ANN, 1), Some(false), now));
        assert_eq!(pause(&throttle, pair(ANN, 1), now), Some(Duration::from_secs(1)));
        assert_eq!(pause(&throttle, pair(ANN, 1), now), None, "one at a time");
    }

    #[test]
    fn two_minutes_of_quiet_or_a_success_forgive() {
        let (throttle, now) = (Throttle::new(5), Instant::now());
        let (ann, bob) = (pair(ANN, 1), pair(2, 1));
        for user in [ann, bob] {
            (0..50).for_each(|_| _ = fail(&throttle, user, now));
        }
        assert_eq!(pause(&throttle, bob, now), Some(PAUSE_MAX));
        throttle.end(bob, Some(true), now);
        assert_eq!(pause(&throttle, bob, now), Some(Duration::ZERO));
        assert!(fail(&throttle, ann, now + MINUTE) > Some(Duration::ZERO));
        assert_eq!(pause(&throttle, ann, now + 3 * MINUTE), Some(Duration::ZERO));
    }

    #[test]
    fn remembers_a_bounded_number_of_pairs_and_none_that_did_nothing() {
        let (throttle, now) = (Throttle::new(5), Instant::now());
        for n in 0..(PAIRS_MAX as u64 + 100) {
            fail(&throttle, pair(n, 1), now);
        }
        assert_eq!(throttle.buckets().len(), PAIRS_MAX);
        fail(&throttle, pair(0, 2), now + 2 * MINUTE);
        assert_eq!(throttle.buckets().len(), 1);
        assert!(pause(&throttle, pair(7, 7), now).is_some());
        throttle.end(pair(7, 7), None, now);
        assert_eq!(throttle.buckets().len(), 1);
    }

    #[tokio::test]
    async fn a_pool_that_logs_in_at_once_is_let_in_five_at_a_time() {
        let throttle = Throttle::new(5);
        let (under_way, most, done) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
        let log_in = || async {
            let begun = throttle.begin("ann", IpAddr::from([10, 0, 0, 1])).await;
            most.fetch_max(under_way.fetch_add(1, Relaxed) + 1, Relaxed);
            // The client computes its proof.
            (0..10).map(|_| tokio::task::yield_now()).collect::<futures::stream::FuturesOrdered<_>>().count().await;
            under_way.fetch_sub(1, Relaxed);
            done.fetch_add(1, Relaxed);
            begun.succeeded();
        };
        futures::future::join_all((0..64).map(|_| log_in())).await;
        assert_eq!((most.into_inner(), done.into_inner()), (5, 64));
        assert!(throttle.buckets().is_empty());
    }
}
