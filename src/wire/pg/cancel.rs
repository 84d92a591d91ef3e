//! Cancel keys: which running statement a CancelRequest is about. A key belongs to a session, the token it pulls to the
//! statement that runs at that moment, so a late cancel never hits the next one. Nobody is told whether a key fitted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::counter;
use rand::Rng;
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

use crate::telemetry::metrics::CANCELS;

/// Addresses whose misses are counted.
const ADDRESSES_MAX: usize = 10_000;
const MISS_WINDOW: Duration = Duration::from_secs(1);

/// The door's sessions by process id.
#[derive(Debug)]
pub(crate) struct Cancels {
    misses_per_second_max: u32,
    sessions: Mutex<HashMap<i32, Session>>,
    misses: Mutex<HashMap<IpAddr, (Instant, u32)>>,
}

#[derive(Debug)]
struct Session {
    key: Vec<u8>,
    running: Arc<Running>,
}

/// A session's process id and key, forgotten when dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    cancels: Arc<Cancels>,
    pub(crate) pid: i32,
    pub(crate) key: Vec<u8>,
    pub(crate) running: Arc<Running>,
}

/// The token of the statement that runs now.
#[derive(Debug, Default)]
pub(crate) struct Running {
    token: Mutex<Option<CancellationToken>>,
}

/// While it lives, a CancelRequest for its session cancels `token`.
#[derive(Debug)]
pub(crate) struct Cancellable {
    running: Arc<Running>,
    pub(crate) token: CancellationToken,
}

impl Cancels {
    pub(crate) fn new(misses_per_second_max: u32) -> Arc<Self> {
        Arc::new(Self { misses_per_second_max, sessions: Mutex::default(), misses: Mutex::default() })
    }

    /// A random process id no other session has, and a key of `key_bytes`.
    pub(crate) fn register(self: &Arc<Self>, key_bytes: usize) -> Registration {
        let mut random = rand::rng();
        let mut key = vec![0; key_bytes];
        random.fill(key.as_mut_slice());
        let running = Arc::new(Running::default());
        let mut sessions = locked(&self.sessions);
        let pid = loop {
            let pid = random.random_range(1..=i32::MAX);
            if !sessions.contains_key(&pid) {
                break pid;
            }
        };
        sessions.insert(pid, Session { key: key.clone(), running: Arc::clone(&running) });
        Registration { cancels: Arc::clone(self), pid, key, running }
    }

    /// Cancels what the session runs, if the key is its own. The outcome goes to the metric alone.
    pub(crate) fn request(&self, pid: i32, key: &[u8], from: IpAddr) {
        counter!(CANCELS, "outcome" => self.judge(pid, key, from, Instant::now())).increment(1);
    }

    fn judge(&self, pid: i32, key: &[u8], from: IpAddr, now: Instant) -> &'static str {
        if self.is_silenced(from, now) {
            return "silenced";
        }
        let running = match locked(&self.sessions).get(&pid) {
            Some(session) if bool::from(session.key.ct_eq(key)) => Arc::clone(&session.running),
            _ => {
                self.missed(from, now);
                return "miss";
            }
        };
        match &*locked(&running.token) {
            Some(token) => token.cancel(),
            None => return "idle",
        }
        "hit"
    }

    fn is_silenced(&self, from: IpAddr, now: Instant) -> bool {
        match locked(&self.misses).get(&from) {
            Some((since, count)) => {
                now.saturating_duration_since(*since) < MISS_WINDOW && *count >= self.misses_per_second_max
            }
            None => false,
        }
    }

    fn missed(&self, from: IpAddr, now: Instant) {
        let mut misses = locked(&self.misses);
        if misses.len() >= ADDRESSES_MAX {
            misses.retain(|_, (since, _)| now.saturating_duration_since(*since) < MISS_WINDOW);
        }
        // Still full: a flood from that many addresses within a second. Those not counted are looked up, no more.
        if misses.len() >= ADDRESSES_MAX && !misses.contains_key(&from) {
            return;
        }
        let (since, count) = misses.entry(from).or_insert((now, 0));
        if now.saturating_duration_since(*since) >= MISS_WINDOW {
            (*since, *count) = (now, 0);
        }
        *count += 1;
    }
}

impl Running {
    /// Makes `token` what a cancel request pulls, until the returned guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>, token: CancellationToken) -> Cancellable {
        *locked(&self.token) = Some(token.clone());
        Cancellable { running: Arc::clone(self), token }
    }
}

impl Drop for Cancellable {
    fn drop(&mut self) {
        *locked(&self.running.token) = None;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        locked(&self.cancels.sessions).remove(&self.pid);
    }
}

/// Nothing panics while one of these is held, so a poisoned one is whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn the_token_belongs_to_one_statement() {
        let cancels = Cancels::new(10);
        let session = cancels.register(32);
        let judge = || cancels.judge(session.pid, &session.key, ip(1), Instant::now());
        assert_eq!(judge(), "idle");
        let first = session.running.begin(CancellationToken::new());
        let first_token = first.token.clone();
        drop(first);
        let second = session.running.begin(CancellationToken::new());
        assert_eq!(judge(), "hit");
        assert_eq!((first_token.is_cancelled(), second.token.is_cancelled()), (false, true));
        drop(second);
        assert_eq!(judge(), "idle");
    }

    #[test]
    fn wrong_keys_miss_and_soon_nobody_listens() {
        let (cancels, now) = (Cancels::new(10), Instant::now());
        let session = cancels.register(4);
        let statement = session.running.begin(CancellationToken::new());
        let judge = |pid, key: &[u8], from, at| cancels.judge(pid, key, ip(from), at);
        let wrong: Vec<u8> = session.key.iter().map(|b| !b).collect();
        for key in [&wrong[..], &session.key[..3], &[], &[&session.key[..], &[0]].concat()] {
            assert_eq!(judge(session.pid, key, 1, now), "miss", "{key:?}");
        }
        (0..6).for_each(|_| assert_eq!(judge(session.pid.wrapping_add(1), &wrong, 1, now), "miss"));
        assert_eq!(judge(session.pid, &session.key, 1, now), "silenced", "even the right key");
        assert!(!statement.token.is_cancelled());
        assert_eq!(judge(session.pid, &session.key, 2, now), "hit", "another address is heard");
        assert_eq!(judge(session.pid, &session.key, 1, now + MISS_WINDOW), "hit");
    }

    #[test]
    fn a_session_that_ended_is_forgotten() {
        let cancels = Cancels::new(10);
        let sessions: Vec<_> = (0..1_000).map(|_| cancels.register(32)).collect();
        assert_eq!(locked(&cancels.sessions).len(), 1_000);
        assert!(sessions.iter().all(|s| s.pid > 0 && s.key.len() == 32));
        drop(sessions);
        assert!(locked(&cancels.sessions).is_empty());
    }
}
