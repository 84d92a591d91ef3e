//! A transaction at the source, on one connection that nobody else has meanwhile: begun when something is changed, read
//! through cursors from then on, so that what reads and what writes take turns. It knows no table.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::OwnedMutexGuard;
use tokio_postgres::{Client, Statement as Prepared};

use super::connect::{Lease, Pool, Use, is_gone, unreachable};
use super::refusal::refused;
use super::rows;
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::copy;
use crate::sources::Isolation;

/// Rows that a cursor is asked for at a time.
const FETCH_ROWS: usize = 2_000;
/// Names without a schema are those of the source's role while its triggers run, as they were written for.
pub(super) const PATH_OF_ROLE: &str = "SET LOCAL search_path TO DEFAULT";
/// For what this crate writes ([`super::connect`]).
pub(super) const PATH_OF_OURS: &str = "SET LOCAL search_path = pg_catalog";

pub(super) struct Transaction {
    pool: Arc<Pool>,
    isolation: Isolation,
    /// Of one statement: what it reads of what it changes is read in it from the start.
    is_single: bool,
    state: Arc<tokio::sync::Mutex<State>>,
    marks: Mutex<Marks>,
    is_open: AtomicBool,
    /// Something was sent there that was not answered yet.
    busy: Arc<AtomicBool>,
    /// And nobody wants the answer.
    given_up: Arc<AtomicBool>,
    cursors: AtomicU64,
}

enum State {
    None,
    Open(Box<Lease>),
    /// Over, or its connection is gone.
    Ended,
}

/// Savepoints, and what is due at the source before anything else is asked of it.
#[derive(Default)]
struct Marks {
    levels: usize,
    due: Vec<String>,
    /// Under how many savepoints the first change was made that is not undone.
    changed: Option<usize>,
}

/// The transaction's connection, for one thing to be done.
pub(super) struct Turn {
    state: OwnedMutexGuard<State>,
    busy: Arc<AtomicBool>,
    pool: Arc<Pool>,
}

impl Transaction {
    /// Of a session: begun at its first change.
    pub(super) fn new(pool: Arc<Pool>, isolation: Isolation) -> Arc<Self> {
        Arc::new(Self::of(pool, isolation, false))
    }

    /// Of one statement.
    pub(super) fn single(pool: Arc<Pool>) -> Arc<Self> {
        Arc::new(Self::of(pool, Isolation::Committed, true))
    }

    fn of(pool: Arc<Pool>, isolation: Isolation, is_single: bool) -> Self {
        Self {
            pool,
            isolation,
            is_single,
            state: Arc::new(tokio::sync::Mutex::new(State::None)),
            marks: Mutex::default(),
            is_open: AtomicBool::new(false),
            busy: Arc::default(),
            given_up: Arc::default(),
            cursors: AtomicU64::new(0),
        }
    }

    pub(super) fn is_single(&self) -> bool {
        self.is_single
    }

    pub(super) fn is_of(&self, pool: &Arc<Pool>) -> bool {
        Arc::ptr_eq(&self.pool, pool)
    }

    /// The source is read on its connection.
    pub(super) fn reads(&self) -> bool {
        self.is_single || self.is_open.load(Ordering::Acquire)
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().expect("no panic under the lock")
    }

    // --- savepoints

    pub(super) fn save(&self) {
        let mut marks = self.marks();
        let level = marks.levels;
        marks.levels += 1;
        self.due(&mut marks, format!("SAVEPOINT {}", name(level)));
    }

    pub(super) fn release(&self, level: usize) {
        let mut marks = self.marks();
        marks.levels = level;
        marks.changed = marks.changed.map(|under| under.min(level));
        self.due(&mut marks, format!("RELEASE SAVEPOINT {}", name(level)));
    }

    pub(super) fn roll_back_to(&self, level: usize) {
        let mut marks = self.marks();
        marks.levels = level + 1;
        marks.changed = marks.changed.filter(|under| *under <= level);
        self.due(&mut marks, format!("ROLLBACK TO SAVEPOINT {}", name(level)));
    }

    fn due(&self, marks: &mut Marks, what: String) {
        if self.is_open.load(Ordering::Acquire) {
            marks.due.push(what);
        }
    }

    /// Something is about to be changed.
    pub(super) fn changes(&self) {
        let mut marks = self.marks();
        let under = marks.levels;
        marks.changed.get_or_insert(under);
    }

    pub(super) fn has_changes(&self) -> bool {
        self.marks().changed.is_some()
    }

    // --- its connection

    /// Waits for whatever has it. Begins the transaction where there is none yet.
    pub(super) async fn turn(&self) -> Result<Turn> {
        let mut state = Arc::clone(&self.state).lock_owned().await;
        let due = match &*state {
            State::None => {
                let (lease, begun) = self.begin().await?;
                *state = State::Open(Box::new(lease));
                begun
            }
            State::Open(lease) if lease.client().is_closed() => {
                *state = State::Ended;
                return Err(unreachable(self.pool.source()).with_source("the transaction's connection is gone"));
            }
            State::Open(_) => std::mem::take(&mut self.marks().due),
            State::Ended => {
                return Err(unreachable(self.pool.source()).with_source("the transaction is over there"));
            }
        };
        settle(&self.pool, &state, &self.busy, &self.given_up).await;
        let turn = Turn { state, busy: Arc::clone(&self.busy), pool: Arc::clone(&self.pool) };
        if !due.is_empty() {
            let told = turn.run(|client| async move { client.batch_execute(&due.join("; ")).await }).await?;
            told.map_err(|error| self.pool.failed(error))?;
        }
        Ok(turn)
    }

    /// The connection, and the savepoints that are still to be set there.
    async fn begin(&self) -> Result<(Lease, Vec<String>)> {
        let level = match self.isolation {
            Isolation::Committed => "READ COMMITTED",
            Isolation::Snapshot => "REPEATABLE READ",
            Isolation::Serializable => "SERIALIZABLE",
        };
        let begin = format!("BEGIN ISOLATION LEVEL {level} READ WRITE");
        loop {
            let lease = self.pool.lease(Use::Changes).await?;
            match self.pool.within(lease.client().batch_execute(&begin)).await {
                Ok(()) => {
                    let mut marks = self.marks();
                    self.is_open.store(true, Ordering::Release);
                    marks.due.clear();
                    return Ok((lease, (0..marks.levels).map(|at| format!("SAVEPOINT {}", name(at))).collect()));
                }
                // The server was restarted while the connection lay idle.
                Err(_) if lease.used && lease.client().is_closed() => lease.discard(),
                Err(error) => return Err(error),
            }
        }
    }

    /// All of it. An error but 08007 says that nothing happened.
    pub(super) async fn commit(&self) -> Result<()> {
        if matches!(&*self.state.lock().await, State::None) {
            return Ok(());
        }
        let mut turn = self.turn().await?;
        // in a transaction that failed without our knowing COMMIT would be answered without an error: SET is not
        let commit = format!("{PATH_OF_ROLE}; COMMIT");
        let told = turn.run(|client| async move { client.batch_execute(&commit).await }).await;
        let State::Open(lease) = std::mem::replace(&mut *turn.state, State::Ended) else {
            return Err(Error::internal("a turn without a connection"));
        };
        match told {
            Ok(Ok(())) => {
                lease.finish();
                Ok(())
            }
            Ok(Err(error)) if error.code().is_some_and(|code| !is_gone(code)) => {
                lease.finish();
                // it may concern any table that the transaction changed
                Err(refused(&self.pool, error, None))
            }
            Ok(Err(error)) => Err(self.unknown().with_source(error)),
            Err(silent) => Err(self.unknown().with_source(silent)),
        }
    }

    fn unknown(&self) -> Error {
        let text = format!("it is not known whether source \"{}\" has committed the transaction", self.pool.source());
        let error = Error::new(Kind::SourceUnreachable, text).with_sqlstate("08007");
        error.with_hint("Look at what it was to change before running it again.")
    }

    /// What runs there for a statement that was given up ends; whoever asks next waits for that.
    pub(super) fn interrupt(&self) {
        if !self.busy.load(Ordering::Acquire) {
            return;
        }
        self.given_up.store(true, Ordering::Release);
        let (state, pool) = (Arc::clone(&self.state), Arc::clone(&self.pool));
        let (busy, given_up) = (Arc::clone(&self.busy), Arc::clone(&self.given_up));
        self.pool.errand(async move {
            let state = state.lock_owned().await;
            settle(&pool, &state, &busy, &given_up).await;
        });
    }

    // --- reading

    /// A cursor over `sql`, as a stream of what COPY in binary would have sent.
    pub(super) async fn opened(
        self: &Arc<Self>,
        turn: Turn,
        sql: &str,
    ) -> Result<Result<BoxStream<'static, Result<Bytes, Unread>>, tokio_postgres::Error>> {
        let cursor = format!("lakegate_{}", self.cursors.fetch_add(1, Ordering::Relaxed));
        let declare = format!("DECLARE {cursor} NO SCROLL CURSOR FOR {sql}");
        let fetch = format!("FETCH {FETCH_ROWS} FROM {cursor}");
        let begun = turn.run(|client| async move {
            client.batch_execute(&declare).await?;
            client.prepare(&fetch).await
        });
        let fetch = match begun.await? {
            Ok(fetch) => fetch,
            Err(error) => return Ok(Err(error)),
        };
        drop(turn);
        let first = stream::once(async { Ok(Bytes::from(copy::beginning())) });
        let last = stream::once(async { Ok(Bytes::from_static(&copy::TRAILER)) });
        let next = Some((Arc::clone(self), fetch, cursor));
        let rows = stream::try_unfold(next, |next| async move {
            let Some((transaction, fetch, cursor)) = next else { return Ok(None) };
            let (rows, is_last) = transaction.fetched(&fetch, &cursor).await?;
            let next = (!is_last).then_some((transaction, fetch, cursor));
            Ok::<_, Unread>(Some((stream::iter(rows.into_iter().map(Ok)), next)))
        });
        Ok(Ok(first.chain(rows.try_flatten()).chain(last).boxed()))
    }

    /// Its next rows, and whether there are no more. One that is not read to its end lies there until the transaction ends.
    async fn fetched(&self, fetch: &Prepared, cursor: &str) -> Result<(Vec<Bytes>, bool), Unread> {
        let turn = self.turn().await.map_err(Unread::Lost)?;
        let read = turn.run(|client| async move {
            let nothing: [&str; 0] = [];
            let rows: Vec<Bytes> = client
                .query_raw(fetch, nothing)
                .await?
                .and_then(|row| async move { rows::tuple(&row) })
                .try_collect()
                .await?;
            let is_last = rows.len() < FETCH_ROWS;
            if is_last {
                client.batch_execute(&format!("CLOSE {cursor}")).await?;
            }
            Ok((rows, is_last))
        });
        read.await.map_err(Unread::Lost)?.map_err(Unread::Refused)
    }
}

/// Ends what was given up, and waits until the source has answered.
async fn settle(pool: &Pool, state: &State, busy: &AtomicBool, given_up: &AtomicBool) {
    let State::Open(lease) = state else { return };
    if given_up.swap(false, Ordering::AcqRel) && busy.load(Ordering::Acquire) {
        pool.cancel(lease.client()).await;
        // behind whatever was under way; what it says is of no matter
        let answered = pool.in_time(lease.client().simple_query("")).await;
        busy.store(answered.is_err(), Ordering::Release);
    }
}

/// Why a cursor gave no more.
pub(super) enum Unread {
    Lost(Error),
    Refused(tokio_postgres::Error),
}

fn name(level: usize) -> String {
    format!("lakegate_level_{level}")
}

impl Turn {
    pub(super) fn client(&self) -> &Client {
        match &*self.state {
            State::Open(lease) => lease.client(),
            State::None | State::Ended => unreachable!("a turn is had of an open transaction alone"),
        }
    }

    /// One thing, to its end; where it is not waited for, [`Transaction::interrupt`] knows of it.
    pub(super) async fn run<'a, T, F>(
        &'a self,
        work: impl FnOnce(&'a Client) -> F,
    ) -> Result<Result<T, tokio_postgres::Error>>
    where
        F: Future<Output = Result<T, tokio_postgres::Error>>,
    {
        self.busy.store(true, Ordering::Release);
        let done = self.pool.in_time(work(self.client())).await?;
        self.busy.store(false, Ordering::Release);
        Ok(done)
    }
}

impl Drop for Transaction {
    /// What was not committed is rolled back: by the pool where the connection is at rest, and with the connection where not.
    fn drop(&mut self) {
        let Ok(mut state) = self.state.try_lock() else { return };
        let State::Open(lease) = std::mem::replace(&mut *state, State::Ended) else { return };
        if !self.busy.load(Ordering::Acquire) && !lease.client().is_closed() {
            lease.finish();
        }
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("pool", &self.pool)
            .field("is_single", &self.is_single)
            .finish_non_exhaustive()
    }
}
