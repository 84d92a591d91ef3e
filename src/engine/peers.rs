//! The sessions of one engine that know of each other: what each runs, so that another may end it, and what they tell each
//! other on channels (LISTEN, NOTIFY). A session's own part is an [`Own`]; it is forgotten when that is dropped.

mod advisory;
mod channels;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::advisory::{Locks, Patience};
pub use self::channels::Notification;
use self::channels::{Pending, Waiting};
use super::micros_now;
use super::stop::Stop;
use crate::catalog::peers::{self, Activity, Advisory, LockKey, LockMode, LockRow};
use crate::error::Result;

/// Of a statement's text, as PostgreSQL's `track_activity_query_size`.
pub(super) const QUERY_BYTES: usize = 1_024;

/// Of one statement.
const WARNINGS_MAX: usize = 100;

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    /// By process id.
    sessions: Mutex<BTreeMap<i32, Arc<Peer>>>,
    locks: Locks,
}

#[derive(Debug)]
struct Peer {
    pid: i32,
    user: String,
    session_started_at: i64,
    state: Mutex<State>,
    /// Rung when something waits to be told.
    bell: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Of the statement that runs, or ran last.
    running: Option<CancellationToken>,
    /// When it is to end by itself, and how long it waits for a lock.
    deadline: Option<Instant>,
    lock_timeout: Option<Duration>,
    /// Ends the session.
    end: Option<CancellationToken>,
    query: String,
    application_name: String,
    query_started_at: Option<i64>,
    /// The end of what it ran last.
    idle_since: Option<i64>,
    in_block: bool,
    /// What its functions have to say that is no error.
    warnings: Vec<&'static str>,
    channels: BTreeSet<String>,
    /// For when its transaction commits.
    pending: Pending,
    waiting: Waiting,
}

/// A session among its peers.
#[derive(Debug)]
pub(crate) struct Own {
    peers: Arc<Peers>,
    peer: Arc<Peer>,
}

/// Nothing panics while one of these is held, so a poisoned one is whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Peers {
    pub(crate) fn join(self: &Arc<Self>, pid: i32, user: &str) -> Own {
        let (state, bell) = (Mutex::default(), Notify::new());
        let peer = Arc::new(Peer { pid, user: user.to_owned(), session_started_at: micros_now(), state, bell });
        locked(&self.sessions).insert(pid, Arc::clone(&peer));
        Own { peers: Arc::clone(self), peer }
    }

    fn all(&self) -> Vec<Arc<Peer>> {
        locked(&self.sessions).values().map(Arc::clone).collect()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        locked(&self.peers.sessions).remove(&self.peer.pid);
        self.peers.locks.session_over(self.peer.pid);
    }
}

impl Own {
    /// What ends the whole session.
    pub(crate) fn ended_by(&self, end: CancellationToken) {
        locked(&self.peer.state).end = Some(end);
    }

    /// A statement was sent. Its text is shown to its own session and to admins.
    pub(crate) fn asked(&self, sql: &str) {
        let mut state = locked(&self.peer.state);
        sql[..sql.floor_char_boundary(QUERY_BYTES)].clone_into(&mut state.query);
        (state.query_started_at, state.idle_since) = (Some(micros_now()), None);
    }

    /// A statement runs until `token` is pulled.
    pub(crate) fn runs(&self, token: CancellationToken) {
        locked(&self.peer.state).running = Some(token);
    }

    /// As long as its statement may take.
    pub(crate) fn bounded(&self, deadline: Option<Instant>, lock_timeout: Option<Duration>) {
        let mut state = locked(&self.peer.state);
        (state.deadline, state.lock_timeout) = (deadline, lock_timeout);
    }

    /// What functions warned of since last asked.
    pub(super) fn warned(&self) -> Vec<&'static str> {
        std::mem::take(&mut locked(&self.peer.state).warnings)
    }

    /// It waits for its client.
    pub(crate) fn rests(&self, in_block: bool, application_name: &str) {
        let mut state = locked(&self.peer.state);
        (state.running, state.idle_since, state.in_block) = (None, Some(micros_now()), in_block);
        if state.application_name != application_name {
            application_name.clone_into(&mut state.application_name);
        }
    }

    /// Another one that this session may end: another session of its user, or any for an admin.
    fn reach(&self, pid: i64, is_admin: bool) -> Option<Arc<Peer>> {
        let found = Arc::clone(locked(&self.peers.sessions).get(&i32::try_from(pid).ok()?)?);
        (is_admin || found.user == self.peer.user).then_some(found)
    }
}

/// What blocks its thread, which does nothing else meanwhile.
fn aside<T>(wait: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(wait),
        _ => wait(),
    }
}

impl peers::Peers for Own {
    fn cancel(&self, pid: i64, is_admin: bool) -> bool {
        let Some(found) = self.reach(pid, is_admin) else { return false };
        if let Some(running) = &locked(&found.state).running {
            running.cancel();
        }
        true
    }

    fn terminate(&self, pid: i64, is_admin: bool) -> bool {
        let Some(found) = self.reach(pid, is_admin) else { return false };
        if let Some(end) = &locked(&found.state).end {
            end.cancel();
        }
        true
    }

    fn notify(&self, channel: &str, payload: &str) -> Result<()> {
        self.tell(channel, payload)
    }

    fn channels(&self) -> Vec<String> {
        locked(&self.peer.state).channels.iter().cloned().collect()
    }

    fn lock(&self, wanted: Advisory, waits: bool) -> Result<bool> {
        let (pid, locks) = (self.peer.pid, &self.peers.locks);
        let (depth, token, deadline, lock_timeout) = {
            let state = locked(&self.peer.state);
            (state.pending.depth(), state.running.clone(), state.deadline, state.lock_timeout)
        };
        let got = locks.try_lock(pid, wanted, depth)?;
        if got || !waits {
            return Ok(got);
        }
        let stop = Stop::new(&token.unwrap_or_default(), deadline);
        let check = || stop.check();
        aside(|| locks.lock(pid, wanted, depth, &Patience { check: &check, lock_timeout }))?;
        Ok(true)
    }

    fn sleep(&self, seconds: f64) -> Result<()> {
        let (token, deadline) = {
            let state = locked(&self.peer.state);
            (state.running.clone(), state.deadline)
        };
        let stop = Stop::new(&token.unwrap_or_default(), deadline);
        let length = match seconds > 0.0 {
            true => Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX),
            false => Duration::ZERO,
        };
        aside(|| self.peers.locks.sleep(length, &|| stop.check()))
    }

    fn unlock(&self, key: LockKey, mode: LockMode) -> bool {
        let held = self.peers.locks.unlock(self.peer.pid, key, mode);
        let mut state = locked(&self.peer.state);
        if !held && state.warnings.len() < WARNINGS_MAX {
            state.warnings.push(match mode {
                LockMode::Exclusive => "you don't own a lock of type ExclusiveLock",
                LockMode::Shared => "you don't own a lock of type ShareLock",
            });
        }
        held
    }

    fn unlock_all(&self) {
        self.peers.locks.unlock_all(self.peer.pid);
    }

    fn locks(&self, is_admin: bool) -> Vec<LockRow> {
        self.peers.locks.rows((!is_admin).then_some(self.peer.pid))
    }

    fn blocking(&self, pid: i64, is_admin: bool) -> Vec<i32> {
        match i32::try_from(pid) {
            Ok(pid) if is_admin || pid == self.peer.pid => self.peers.locks.blocking(pid),
            _ => vec![],
        }
    }

    fn activity(&self, is_admin: bool) -> Vec<Activity> {
        let shown = self.peers.all().into_iter().filter(|peer| is_admin || peer.pid == self.peer.pid);
        let one = |peer: Arc<Peer>| {
            let state = locked(&peer.state);
            Activity {
                pid: peer.pid,
                user: peer.user.clone(),
                application_name: state.application_name.clone(),
                query: state.query.clone(),
                state: match (state.idle_since, state.in_block) {
                    (None, _) if state.query_started_at.is_some() => "active",
                    (_, true) => "idle in transaction",
                    (_, false) => "idle",
                },
                session_started_at: peer.session_started_at,
                query_started_at: state.query_started_at,
                state_changed_at: state.idle_since.or(state.query_started_at).unwrap_or(peer.session_started_at),
            }
        };
        shown.map(one).collect()
    }
}

#[cfg(test)]
mod tests;
