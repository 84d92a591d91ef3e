//! Numbers of sequences as statements ask for them, one by one, while they run: they are taken from the table in blocks, and
//! handed out to all sessions of this process. What is left of a block when the process ends is nobody's, as after a crash of
//! PostgreSQL. How a table keeps what it has given is its source's.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use crate::catalog::visible::{Counted, Counts};
use crate::catalog::{Body, Catalog};
use crate::error::{Error, Kind, Result};
use crate::sources::Table;
use crate::threads::Threads;
use crate::types::TableName;

/// Numbers taken at once: of a sequence that is asked for the first time, and of one that is asked all the time.
const FIRST: u32 = 32;
const MOST: u32 = 4_096;
/// The metastore answers within this; whoever waits for it holds up a thread.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Sequences of which something is known. What is forgotten leaves a gap.
const KNOWN_MAX: usize = 4_096;

/// One a process.
#[derive(Debug)]
pub(super) struct Sequences {
    /// By the table's identity and the column.
    known: Mutex<HashMap<(String, String), Arc<Known>>>,
    /// On which the metastore is asked: whoever waits may be a thread of any other.
    threads: Threads,
}

#[derive(Debug, Default)]
struct Known {
    now: Mutex<Now>,
    /// Somebody has asked, and whoever waits may look again.
    told: Condvar,
}

#[derive(Debug, Default)]
struct Now {
    next: i64,
    left: u32,
    /// Of the block before.
    size: u32,
    /// One asks for all that wait.
    is_asked: bool,
    /// How often that failed, and with what it did last.
    failures: u64,
    failed: Option<(Kind, String)>,
}

impl Known {
    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Once whoever asks may have been told.
    fn told<'a>(&'a self, now: MutexGuard<'a, Now>, until: Instant) -> Result<MutexGuard<'a, Now>> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late());
        }
        Ok(self.told.wait_timeout(now, left).map_or_else(|e| e.into_inner().0, |(now, _)| now))
    }
}

impl Sequences {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { known: Mutex::default(), threads: Threads::background("sequence", 1, 0)? })
    }

    fn of(&self, table: &dyn Table, column: &str) -> Arc<Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.retain(|_, known| Arc::strong_count(known) > 1);
        }
        Arc::clone(known.entry((table.identity(), column.to_owned())).or_default())
    }

    fn next(&self, table: &Arc<dyn Table>, column: &str, increment: i64) -> Result<i64> {
        let known = self.of(table.as_ref(), column);
        let until = Instant::now() + ANSWER_MAX;
        let mut now = known.now();
        let failures = now.failures;
        loop {
            if now.left > 0 {
                let number = now.next;
                now.left -= 1;
                now.next = number.saturating_add(increment);
                return Ok(number);
            }
            if let Some((kind, text)) = now.failed.as_ref().filter(|_| now.failures != failures) {
                return Err(Error::new(*kind, text));
            }
            if now.is_asked {
                now = known.told(now, until)?;
                continue;
            }
            now.is_asked = true;
            let size = (now.size * 2).clamp(FIRST, MOST);
            drop(now);
            let (of, name) = (Arc::clone(table), column.to_owned());
            let taken = self.ask(async move { of.take(&name, size).await });
            now = known.now();
            now.is_asked = false;
            match taken {
                Ok((next, left)) => (now.next, now.left, now.size) = (next, left, size),
                Err(error) => {
                    now.failures += 1;
                    now.failed = Some((error.kind(), error.message().to_owned()));
                }
            }
            known.told.notify_all();
        }
    }

    fn restart(&self, table: &Arc<dyn Table>, column: &str, next: i128) -> Result<()> {
        let known = self.of(table.as_ref(), column);
        let until = Instant::now() + ANSWER_MAX;
        let mut now = known.now();
        // a block that is on its way is one of those before
        while now.is_asked {
            now = known.told(now, until)?;
        }
        now.is_asked = true;
        drop(now);
        let (of, name) = (Arc::clone(table), column.to_owned());
        let done = self.ask(async move { of.restart(&name, next).await });
        let mut now = known.now();
        (now.left, now.size, now.is_asked) = (0, 0, false);
        known.told.notify_all();
        done
    }

    /// Kernels are no futures: the thread waits.
    fn ask<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.threads.handle().spawn(async move {
            // nobody waits any more where this fails
            let _ = answer.send(work.await);
        });
        answered.recv_timeout(ANSWER_MAX).unwrap_or_else(|_| Err(late()))
    }
}

fn late() -> Error {
    Error::new(Kind::SourceUnreachable, "the metastore did not answer in time with the next number of a sequence")
}

/// What one session has been given.
#[derive(Clone, Debug, Default)]
pub(super) struct Given(Arc<Mutex<GivenNow>>);

#[derive(Debug, Default)]
struct GivenNow {
    by_sequence: HashMap<u32, i64>,
    last: Option<i64>,
}

/// A session's way to the numbers of the tables of one catalog.
#[derive(Debug)]
pub(super) struct Counting {
    pub(super) sequences: Arc<Sequences>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) given: Given,
}

impl Counting {
    fn table(&self, name: &TableName) -> Result<&Arc<dyn Table>> {
        match self.catalog.entries.get(name).map(|entry| &entry.body) {
            Some(Body::Table(table)) => Ok(table),
            Some(Body::Dataset(_)) | None => {
                Err(Error::new(Kind::UndefinedTable, format!("relation \"{}\" does not exist", name.table)))
            }
        }
    }
}

impl Counts for Counting {
    fn next(&self, counted: &Counted) -> Result<i64> {
        let table = self.table(&counted.table)?;
        let number = self.sequences.next(table, &counted.column, counted.counter.increment)?;
        let Given(given) = &self.given;
        let mut given = given.lock().unwrap_or_else(PoisonError::into_inner);
        given.by_sequence.insert(counted.oid, number);
        given.last = Some(number);
        Ok(number)
    }

    fn last(&self, sequence: Option<u32>) -> Option<i64> {
        let given = self.given.0.lock().unwrap_or_else(PoisonError::into_inner);
        match sequence {
            Some(oid) => given.by_sequence.get(&oid).copied(),
            None => given.last,
        }
    }

    fn restart(&self, counted: &Counted, next: i128) -> Result<()> {
        self.sequences.restart(self.table(&counted.table)?, &counted.column, next)
    }
}
