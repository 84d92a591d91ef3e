//! Long work of this process and how far it is, for whoever asks: `lakegate.jobs`. It starts nothing and stops nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::types::TableName;

/// Jobs that are over and still told of.
const OVER_MAX: usize = 200;

/// Clones are one and the same.
#[derive(Clone, Debug, Default)]
pub struct Jobs(Arc<Mutex<All>>);

#[derive(Debug, Default)]
struct All {
    last_id: i64,
    running: Vec<Seen>,
    over: VecDeque<Seen>,
}

/// A job as it is now.
#[derive(Clone, Debug)]
pub struct Seen {
    pub id: i64,
    /// `compact`, `expire_snapshots` and so on.
    pub kind: &'static str,
    pub table: TableName,
    /// Who asked for it; `None` for the keeper.
    pub user: Option<String>,
    /// Microseconds since 1970.
    pub started_at: i64,
    pub ended_at: Option<i64>,
    pub state: State,
    /// Of `total`, as far as that is known.
    pub done: u64,
    pub total: Option<u64>,
    /// What it does now, or what came of it.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Running,
    Done,
    Failed,
    /// Dropped before its end.
    Cancelled,
}

/// One job under way. Dropped without an end it is cancelled.
#[derive(Debug)]
pub struct Job {
    id: i64,
    jobs: Jobs,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Jobs {
    pub fn begin(&self, kind: &'static str, table: TableName, user: Option<String>) -> Job {
        let mut all = self.lock();
        all.last_id += 1;
        let id = all.last_id;
        let (state, started_at) = (State::Running, now());
        let (ended_at, done, total, detail) = (None, 0, None, String::new());
        all.running.push(Seen { id, kind, table, user, started_at, ended_at, state, done, total, detail });
        drop(all);
        Job { id, jobs: self.clone() }
    }

    /// In the order in which they began.
    pub fn all(&self) -> Vec<Seen> {
        let all = self.lock();
        let mut seen: Vec<Seen> = all.over.iter().chain(&all.running).cloned().collect();
        seen.sort_by_key(|job| job.id);
        seen
    }

    fn end(&self, id: i64, state: State, detail: Option<String>) {
        let mut all = self.lock();
        let Some(at) = all.running.iter().position(|job| job.id == id) else { return };
        let mut job = all.running.swap_remove(at);
        job.state = state;
        job.ended_at = Some(now());
        job.detail = detail.unwrap_or(job.detail);
        all.over.push_back(job);
        while all.over.len() > OVER_MAX {
            all.over.pop_front();
        }
    }

    /// What is in it is put in whole.
    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    /// A job that nobody is told of.
    pub fn unseen() -> Self {
        Jobs::default().begin("", TableName::new("", ""), None)
    }

    pub fn says(&self, detail: impl Into<String>) {
        self.change(|job| job.detail = detail.into());
    }

    pub fn of(&self, total: u64) {
        self.change(|job| job.total = Some(total));
    }

    pub fn has_done(&self, more: u64) {
        self.change(|job| job.done = job.done.saturating_add(more));
    }

    pub fn done(self, detail: impl Into<String>) {
        self.jobs.end(self.id, State::Done, Some(detail.into()));
    }

    /// `why`: in words for strangers.
    pub fn failed(self, why: impl Into<String>) {
        self.jobs.end(self.id, State::Failed, Some(why.into()));
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        let mut all = self.jobs.lock();
        if let Some(job) = all.running.iter_mut().find(|job| job.id == self.id) {
            change(job);
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.jobs.end(self.id, State::Cancelled, None);
    }
}

fn now() -> i64 {
    chrono::Utc::now().timestamp_micros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_ends_once_and_what_is_over_is_bounded() {
        let jobs = Jobs::default();
        let name = || TableName::new("s", "t");
        let first = jobs.begin("compact", name(), None);
        first.of(10);
        first.has_done(4);
        let seen = jobs.all();
        assert_eq!((seen[0].state, seen[0].done, seen[0].total), (State::Running, 4, Some(10)));
        drop(jobs.begin("expire_snapshots", name(), Some("alice".into())));
        first.done("10 files");
        let states: Vec<_> = jobs.all().iter().map(|job| (job.kind, job.state.word())).collect();
        assert_eq!(states, [("compact", "done"), ("expire_snapshots", "cancelled")]);
        for _ in 0..2 * OVER_MAX {
            jobs.begin("compact", name(), None).failed("no");
        }
        assert_eq!(jobs.all().len(), OVER_MAX);
    }
}
