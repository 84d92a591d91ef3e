//! How each reflection does, for whoever asks: `lakegate.reflections`. Whoever refreshes them puts it here; nothing is
//! refreshed here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::types::{ObjectId, TableName};

/// How often statements asked whether a reflection answers them, and what came of it.
#[derive(Debug, Default)]
pub struct Uses {
    considered: AtomicU64,
    hits: AtomicU64,
    why_not: Mutex<Option<String>>,
}

impl Uses {
    /// It answers a part of a statement.
    pub fn hit(&self) {
        self.considered.fetch_add(1, Ordering::Relaxed);
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    /// It does not. `why` is shown to whoever may see all that it reads, and holds no value of a statement.
    pub fn missed(&self, why: impl Into<String>) {
        self.considered.fetch_add(1, Ordering::Relaxed);
        *self.why_not.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.into());
    }

    pub fn considered(&self) -> u64 {
        self.considered.load(Ordering::Relaxed)
    }

    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// Of the last miss.
    pub fn why_not(&self) -> Option<String> {
        self.why_not.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A reflection as it is now.
#[derive(Clone, Debug)]
pub struct Seen {
    pub name: String,
    pub owner: String,
    /// What it reads. Whoever may see all of these may know of it.
    pub bases: Vec<ObjectId>,
    /// Their names, of those that are there now.
    pub tables: Vec<TableName>,
    pub definition: String,
    pub refresh: String,
    pub state: State,
    /// `schema.table=snapshot`, one after the other.
    pub made_of: Option<String>,
    pub rows: Option<u64>,
    pub bytes: Option<u64>,
    /// In microseconds since 1970.
    pub refreshed_at: Option<i64>,
    pub next_at: Option<i64>,
    /// Why the last refresh failed, or the last look: it may tell a value.
    pub error: Option<String>,
    /// The same for whoever does not see all of its tables.
    pub error_told: Option<String>,
    pub uses: Arc<Uses>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It answers what is of its snapshots.
    Ready,
    /// Nothing is stored yet.
    Empty,
    Refreshing,
    /// The last refresh failed; what was stored before it still answers.
    Failing,
    Disabled,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Empty => "empty",
            Self::Refreshing => "refreshing",
            Self::Failing => "failing",
            Self::Disabled => "disabled",
        }
    }
}

/// Clones are one and the same.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<RwLock<Arc<Vec<Seen>>>>);

impl Board {
    pub fn all(&self) -> Arc<Vec<Seen>> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn put(&self, seen: Vec<Seen>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(seen);
    }
}
