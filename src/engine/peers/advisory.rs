//! Advisory locks among the sessions of one engine (lockfuncs.c, and what of lock.c a client sees of them): which session
//! holds or awaits which, and how one waits. Other servers over the same lake know nothing of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::locked;
use crate::catalog::peers::{Advisory, LockKey, LockMode, LockRow, LockScope};
use crate::error::{Error, Kind, Result};

/// Of one session, each counted as often as it was taken.
const HELD_MAX: usize = 10_000;
/// Sessions that wait at a time: each of them holds up a thread.
const WAITING_MAX: usize = 64;
/// After it a session that waits asks whether those that it waits for wait for it (`deadlock_timeout`).
const DEADLOCK_AFTER: Duration = Duration::from_secs(1);
/// How often whoever waits asks whether it is still to wait.
const LOOK: Duration = Duration::from_millis(50);

/// Of one engine.
#[derive(Debug, Default)]
pub(super) struct Locks {
    table: Mutex<Table>,
    /// A lock is free, or was given on.
    released: Condvar,
}

#[derive(Debug, Default)]
struct Table {
    locks: BTreeMap<LockKey, Lock>,
    /// How many times each session holds any.
    counts: BTreeMap<i32, usize>,
    waiting: usize,
}

#[derive(Debug, Default)]
struct Lock {
    /// By process id and mode: how often for the session, and at which depth of savepoints each time for the transaction.
    holders: BTreeMap<(i32, LockMode), Held>,
    /// In the order in which they came.
    queue: VecDeque<(i32, LockMode)>,
}

#[derive(Debug, Default)]
struct Held {
    session: usize,
    transaction: Vec<usize>,
}

/// What ends a wait before its lock is free.
pub(super) struct Patience<'a> {
    /// The error with which the statement ends, by now.
    pub(super) check: &'a dyn Fn() -> Result<()>,
    pub(super) lock_timeout: Option<Duration>,
}

impl Held {
    fn is_none(&self) -> bool {
        self.session == 0 && self.transaction.is_empty()
    }
}

fn conflict(a: LockMode, b: LockMode) -> bool {
    a == LockMode::Exclusive || b == LockMode::Exclusive
}

impl Lock {
    /// Those that hold it against `pid`.
    fn holds_against(&self, pid: i32, mode: LockMode) -> impl Iterator<Item = i32> + '_ {
        self.holders.keys().filter(move |(of, held)| *of != pid && conflict(mode, *held)).map(|(of, _)| *of)
    }

    /// Those before `pid` in the queue that want it against `pid`.
    fn wants_against(&self, pid: i32, mode: LockMode) -> impl Iterator<Item = i32> + '_ {
        let before = self.queue.iter().take_while(move |(of, _)| *of != pid);
        before.filter(move |(_, wanted)| conflict(mode, *wanted)).map(|(of, _)| *of)
    }

    /// Whoever holds it already does not stand behind those that wait for it.
    fn is_free_for(&self, pid: i32, mode: LockMode) -> bool {
        if self.holders.contains_key(&(pid, mode)) {
            return true;
        }
        let holds_some = self.holders.keys().any(|(of, _)| *of == pid);
        self.holds_against(pid, mode).next().is_none() && (holds_some || self.wants_against(pid, mode).next().is_none())
    }
}

impl Table {
    fn give(&mut self, pid: i32, wanted: Advisory, depth: usize) -> Result<()> {
        let count = self.counts.entry(pid).or_default();
        if *count >= HELD_MAX {
            let error = Error::new(Kind::OutOfMemory, format!("a session holds more than {HELD_MAX} advisory locks"));
            return Err(error.with_hint("Release some with pg_advisory_unlock or pg_advisory_unlock_all."));
        }
        *count += 1;
        let held = self.locks.entry(wanted.key).or_default().holders.entry((pid, wanted.mode)).or_default();
        match wanted.scope {
            LockScope::Session => held.session += 1,
            LockScope::Transaction => held.transaction.push(depth),
        }
        Ok(())
    }

    /// Takes what `loosen` says of each lock of the session's. Gives whether it holds less by now.
    fn loosen(&mut self, pid: i32, mut loosen: impl FnMut(&mut Held)) -> bool {
        let mut freed = 0;
        self.locks.retain(|_, lock| {
            lock.holders.retain(|(of, _), held| {
                if *of == pid {
                    let before = held.session + held.transaction.len();
                    loosen(held);
                    freed += before - held.session - held.transaction.len();
                }
                !held.is_none()
            });
            !lock.holders.is_empty() || !lock.queue.is_empty()
        });
        self.freed(pid, freed);
        freed > 0
    }

    fn freed(&mut self, pid: i32, freed: usize) {
        if let Some(count) = self.counts.get_mut(&pid) {
            *count = count.saturating_sub(freed);
            if *count == 0 {
                self.counts.remove(&pid);
            }
        }
    }

    fn leave_queue(&mut self, pid: i32, key: LockKey) {
        self.waiting = self.waiting.saturating_sub(1);
        if let Some(lock) = self.locks.get_mut(&key) {
            lock.queue.retain(|(of, _)| *of != pid);
            if lock.holders.is_empty() && lock.queue.is_empty() {
                self.locks.remove(&key);
            }
        }
    }

    /// Whom a session waits for: it waits for one lock at a time.
    fn blocking(&self, pid: i32) -> BTreeSet<i32> {
        let waits = self
            .locks
            .values()
            .find_map(|lock| lock.queue.iter().find(|(of, _)| *of == pid).map(|(_, mode)| (lock, *mode)));
        match waits {
            Some((lock, mode)) => lock.holds_against(pid, mode).chain(lock.wants_against(pid, mode)).collect(),
            None => BTreeSet::new(),
        }
    }

    /// Whether it waits for itself, by way of others.
    fn is_deadlocked(&self, pid: i32) -> bool {
        let (mut seen, mut next) = (BTreeSet::new(), vec![pid]);
        while let Some(one) = next.pop() {
            for other in self.blocking(one) {
                if other == pid {
                    return true;
                }
                if seen.insert(other) {
                    next.push(other);
                }
            }
        }
        false
    }
}

fn too_many() -> Error {
    let text = format!("more than {WAITING_MAX} sessions sleep or wait for an advisory lock");
    Error::new(Kind::TooManyConnections, text)
}

impl Locks {
    fn table(&self) -> MutexGuard<'_, Table> {
        locked(&self.table)
    }

    /// `false`: somebody else has it, or was there before.
    pub(super) fn try_lock(&self, pid: i32, wanted: Advisory, depth: usize) -> Result<bool> {
        let mut table = self.table();
        let free = table.locks.get(&wanted.key).is_none_or(|lock| lock.is_free_for(pid, wanted.mode));
        if free {
            table.give(pid, wanted, depth)?;
        }
        Ok(free)
    }

    /// Waits for it; 57014 where the statement is to end, 55P03 after its `lock_timeout`, 40P01 in a deadlock. Functions are
    /// no futures: the thread waits.
    pub(super) fn lock(&self, pid: i32, wanted: Advisory, depth: usize, patience: &Patience<'_>) -> Result<()> {
        if self.try_lock(pid, wanted, depth)? {
            return Ok(());
        }
        let mut table = self.table();
        if table.waiting >= WAITING_MAX {
            return Err(too_many());
        }
        table.waiting += 1;
        table.locks.entry(wanted.key).or_default().queue.push_back((pid, wanted.mode));
        let since = Instant::now();
        let result = loop {
            if table.locks.get(&wanted.key).is_none_or(|lock| lock.is_free_for(pid, wanted.mode)) {
                break table.give(pid, wanted, depth);
            }
            if let Err(ended) = (patience.check)() {
                break Err(ended);
            }
            if patience.lock_timeout.is_some_and(|most| since.elapsed() >= most) {
                break Err(Error::new(Kind::LockNotAvailable, "canceling statement due to lock timeout"));
            }
            if since.elapsed() >= DEADLOCK_AFTER && table.is_deadlocked(pid) {
                break Err(Error::new(Kind::Deadlock, "deadlock detected"));
            }
            table = self.released.wait_timeout(table, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        };
        table.leave_queue(pid, wanted.key);
        drop(table);
        // whoever stood behind this one may go on
        self.released.notify_all();
        result
    }

    /// Lets time pass, as a wait for a lock that nobody frees; `check` is the error with which the statement ends, by now.
    pub(super) fn sleep(&self, length: Duration, check: &dyn Fn() -> Result<()>) -> Result<()> {
        let since = Instant::now();
        let mut table = self.table();
        if table.waiting >= WAITING_MAX {
            return Err(too_many());
        }
        table.waiting += 1;
        let result = loop {
            let left = length.saturating_sub(since.elapsed());
            if left.is_zero() {
                break Ok(());
            }
            if let Err(ended) = check() {
                break Err(ended);
            }
            table = self.released.wait_timeout(table, left.min(LOOK)).unwrap_or_else(PoisonError::into_inner).0;
        };
        table.waiting = table.waiting.saturating_sub(1);
        result
    }

    /// Once less for the session. `false`: it does not hold it so.
    pub(super) fn unlock(&self, pid: i32, key: LockKey, mode: LockMode) -> bool {
        let mut table = self.table();
        let Some(lock) = table.locks.get_mut(&key) else { return false };
        let Some(held) = lock.holders.get_mut(&(pid, mode)).filter(|held| held.session > 0) else { return false };
        held.session -= 1;
        if held.is_none() {
            lock.holders.remove(&(pid, mode));
        }
        if lock.holders.is_empty() && lock.queue.is_empty() {
            table.locks.remove(&key);
        }
        table.freed(pid, 1);
        drop(table);
        self.released.notify_all();
        true
    }

    fn loosen(&self, pid: i32, loosen: impl FnMut(&mut Held)) {
        let mut table = self.table();
        // most sessions hold none
        if table.counts.contains_key(&pid) && table.loosen(pid, loosen) {
            drop(table);
            self.released.notify_all();
        }
    }

    /// All that the session holds as a session.
    pub(super) fn unlock_all(&self, pid: i32) {
        self.loosen(pid, |held| held.session = 0);
    }

    /// The transaction is over.
    pub(super) fn transaction_over(&self, pid: i32) {
        self.loosen(pid, |held| held.transaction.clear());
    }

    /// What was taken within a savepoint of that level goes with it.
    pub(super) fn rolled_back_to(&self, pid: i32, level: usize) {
        self.loosen(pid, |held| held.transaction.retain(|depth| *depth <= level));
    }

    /// Savepoints from that level on are part of what is around them.
    pub(super) fn savepoint_released(&self, pid: i32, level: usize) {
        self.loosen(pid, |held| held.transaction.iter_mut().for_each(|depth| *depth = (*depth).min(level)));
    }

    pub(super) fn session_over(&self, pid: i32) {
        self.loosen(pid, |held| *held = Held::default());
    }

    pub(super) fn blocking(&self, pid: i32) -> Vec<i32> {
        self.table().blocking(pid).into_iter().collect()
    }

    /// Those of one session, or of all.
    pub(super) fn rows(&self, only: Option<i32>) -> Vec<LockRow> {
        let table = self.table();
        let shown = |pid: i32| only.is_none_or(|only| only == pid);
        let mut rows = vec![];
        for (key, lock) in &table.locks {
            let row = |(pid, mode): (i32, LockMode), granted| LockRow { pid, key: *key, mode, granted };
            rows.extend(lock.holders.keys().filter(|(pid, _)| shown(*pid)).map(|held| row(*held, true)));
            rows.extend(lock.queue.iter().filter(|(pid, _)| shown(*pid)).map(|wanted| row(*wanted, false)));
        }
        rows
    }
}

#[cfg(test)]
mod tests;
