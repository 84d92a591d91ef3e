//! What a session may know of the other sessions of its engine, and do to them, through functions and system tables. Who
//! may do what is asked where it is done.

use std::fmt::Debug;
use std::sync::Arc;

use crate::error::Result;

/// Those others, to one session.
pub trait Peers: Debug + Send + Sync {
    /// Ends what the session of this process id runs. `false` where there is none that this session may end: one that it may
    /// not is as absent as any.
    fn cancel(&self, pid: i64, is_admin: bool) -> bool;

    /// As [`Peers::cancel`], for the session itself.
    fn terminate(&self, pid: i64, is_admin: bool) -> bool;

    /// Told to whoever listens, when the transaction commits. 22023 for a channel or a payload that is none.
    fn notify(&self, channel: &str, payload: &str) -> Result<()>;

    /// That this session listens on.
    fn channels(&self) -> Vec<String>;

    /// What sessions do: this one, all for an admin.
    fn activity(&self, is_admin: bool) -> Vec<Activity>;
}

/// A session, as pg_stat_activity shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    pub pid: i32,
    pub user: String,
    pub application_name: String,
    /// The statement that it runs, or ran last.
    pub query: String,
    pub state: &'static str,
    /// In microseconds since 1970.
    pub session_started_at: i64,
    pub query_started_at: Option<i64>,
    pub state_changed_at: i64,
}

/// None by default. Clones are one and the same.
#[derive(Clone, Debug, Default)]
pub struct Others(Option<Arc<dyn Peers>>);

impl Others {
    pub fn of(peers: Arc<dyn Peers>) -> Self {
        Self(Some(peers))
    }

    pub fn get(&self) -> Option<&dyn Peers> {
        self.0.as_deref()
    }
}
