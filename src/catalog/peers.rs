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

    /// Takes an advisory lock, waiting for it where `waits`. `false`: another has it.
    fn lock(&self, wanted: Advisory, waits: bool) -> Result<bool>;

    /// Until these seconds have passed; an error where the statement ends before.
    fn sleep(&self, seconds: f64) -> Result<()>;

    /// `false`: the session does not hold it so.
    fn unlock(&self, key: LockKey, mode: LockMode) -> bool;

    /// All that the session holds, but for its transaction's.
    fn unlock_all(&self);

    /// Of this session, of all for an admin.
    fn locks(&self, is_admin: bool) -> Vec<LockRow>;

    /// Whom the session of that process id waits for: this one, any for an admin.
    fn blocking(&self, pid: i64, is_admin: bool) -> Vec<i32>;

    /// What sessions do: this one, all for an admin.
    fn activity(&self, is_admin: bool) -> Vec<Activity>;
}

/// An advisory lock that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advisory {
    pub key: LockKey,
    pub mode: LockMode,
    pub scope: LockScope,
}

/// What is locked, as pg_locks shows it: the halves of one number, or two numbers, and which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockKey {
    pub class: u32,
    pub object: u32,
    pub sub: i16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockMode {
    Shared,
    Exclusive,
}

/// How long it is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockScope {
    Session,
    Transaction,
}

/// One that a session holds or waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockRow {
    pub pid: i32,
    pub key: LockKey,
    pub mode: LockMode,
    pub granted: bool,
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
