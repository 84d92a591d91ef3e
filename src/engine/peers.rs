//! The sessions of one engine that know of each other: what each runs, so that another may end it, and what they tell each
//! other on channels (LISTEN, NOTIFY). A session's own part is an [`Own`]; it is forgotten when that is dropped.

mod channels;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use self::channels::Notification;
use self::channels::{Pending, Waiting};
use super::micros_now;
use crate::catalog::peers::{self, Activity};
use crate::error::Result;

/// Of a statement's text, as PostgreSQL's `track_activity_query_size`.
pub(super) const QUERY_BYTES: usize = 1_024;

/// All of them, by process id.
#[derive(Debug, Default)]
pub(crate) struct Peers(Mutex<BTreeMap<i32, Arc<Peer>>>);

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
    /// Ends the session.
    end: Option<CancellationToken>,
    query: String,
    application_name: String,
    query_started_at: Option<i64>,
    /// The end of what it ran last.
    idle_since: Option<i64>,
    in_block: bool,
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
        locked(&self.0).insert(pid, Arc::clone(&peer));
        Own { peers: Arc::clone(self), peer }
    }

    fn all(&self) -> Vec<Arc<Peer>> {
        locked(&self.0).values().map(Arc::clone).collect()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        locked(&self.peers.0).remove(&self.peer.pid);
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
        let found = Arc::clone(locked(&self.peers.0).get(&i32::try_from(pid).ok()?)?);
        (is_admin || found.user == self.peer.user).then_some(found)
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
