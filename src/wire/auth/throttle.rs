//! Slows down guessing: failed logins of one user from one address fill a bucket that leaks; above the limit each
//! further try waits. It refuses nobody, and a user's other addresses notice nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::xxh3_64;

/// Pairs remembered; beyond, those that leaked empty are forgotten, then any.
const PAIRS_MAX: usize = 10_000;
const DELAY_MAX: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Throttle {
    failures_per_minute_max: f64,
    buckets: Mutex<HashMap<Pair, Bucket>>,
}

/// The user by hash: names come from strangers and may be long.
type Pair = (u64, IpAddr);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    failures: f64,
    at: Instant,
}

impl Throttle {
    pub(crate) fn new(failures_per_minute_max: u32) -> Self {
        Self { failures_per_minute_max: f64::from(failures_per_minute_max.max(1)), buckets: Mutex::default() }
    }

    /// How long this try has to wait before it is judged: a second more for each failure above the limit.
    pub(crate) fn delay(&self, user: &str, ip: IpAddr, now: Instant) -> Duration {
        let failures = self.buckets().get(&pair(user, ip)).map_or(0.0, |bucket| self.leaked(*bucket, now));
        // Whole failures: a bucket that has leaked a little since the last try still counts it.
        let above = failures.ceil() - self.failures_per_minute_max;
        if above < 0.0 { Duration::ZERO } else { Duration::from_secs_f64(above + 1.0).min(DELAY_MAX) }
    }

    pub(crate) fn failed(&self, user: &str, ip: IpAddr, now: Instant) {
        let mut buckets = self.buckets();
        if buckets.len() >= PAIRS_MAX {
            buckets.retain(|_, bucket| self.leaked(*bucket, now) > 0.0);
        }
        let key = pair(user, ip);
        if buckets.len() >= PAIRS_MAX
            && !buckets.contains_key(&key)
            && let Some(any) = buckets.keys().next().copied()
        {
            buckets.remove(&any);
        }
        let bucket = buckets.entry(key).or_insert(Bucket { failures: 0.0, at: now });
        // Not above what one more minute of waiting would empty: a storm is not remembered for hours.
        let failures = (self.leaked(*bucket, now) + 1.0).min(2.0 * self.failures_per_minute_max);
        *bucket = Bucket { failures, at: now };
    }

    pub(crate) fn succeeded(&self, user: &str, ip: IpAddr) {
        self.buckets().remove(&pair(user, ip));
    }

    fn leaked(&self, bucket: Bucket, now: Instant) -> f64 {
        let minutes = now.saturating_duration_since(bucket.at).as_secs_f64() / 60.0;
        (bucket.failures - minutes * self.failures_per_minute_max).max(0.0)
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<Pair, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pair(user: &str, ip: IpAddr) -> Pair {
    (xxh3_64(user.as_bytes()), ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_sixth_try_waits_and_other_addresses_do_not() {
        let (throttle, now) = (Throttle::new(5), Instant::now());
        let delay = |user, from| throttle.delay(user, ip(from), now);
        for n in 0..5 {
            assert_eq!(delay("ann", 1), Duration::ZERO, "try {n}");
            throttle.failed("ann", ip(1), now);
        }
        assert_eq!(delay("ann", 1), Duration::from_secs(1));
        assert_eq!((delay("ann", 2), delay("bob", 1)), (Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn two_minutes_of_quiet_or_a_success_forgive() {
        let (throttle, now) = (Throttle::new(5), Instant::now());
        for user in ["ann", "bob"] {
            (0..50).for_each(|_| throttle.failed(user, ip(1), now));
            assert_eq!(throttle.delay(user, ip(1), now), DELAY_MAX);
        }
        throttle.succeeded("bob", ip(1));
        assert_eq!(throttle.delay("bob", ip(1), now), Duration::ZERO);
        assert!(throttle.delay("ann", ip(1), now + MINUTE) > Duration::ZERO);
        assert_eq!(throttle.delay("ann", ip(1), now + 2 * MINUTE), Duration::ZERO);
    }

    #[test]
    fn remembers_a_bounded_number_of_pairs() {
        let (throttle, now) = (Throttle::new(5), Instant::now());
        for n in 0..(PAIRS_MAX + 100) {
            throttle.failed(&format!("user{n}"), ip(1), now);
        }
        assert_eq!(throttle.buckets().len(), PAIRS_MAX);
    }
}
