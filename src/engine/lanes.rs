//! Threads on which queries run. Each statement has a small runtime of its own, a *lane*, so that the kernel shares the
//! cores out among statements and one that never pauses holds up nobody else. A lane begins at the priority of the doors;
//! a statement that is still running after its turn falls behind (nice), and short ones go ahead of it. It plans nothing,
//! and no connection may live on a lane: what waits for the network belongs to the runtime that opened it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::deep::Deep;
use crate::error::{Error, Result};
use crate::telemetry::metrics::{PANICS, STATEMENTS_BEHIND};
use crate::threads::{self, Threads};

/// Virtual, committed page by page: plans are as deep as `limits` allows, and are walked and dropped here.
const STACK_BYTES: usize = 64 << 20;
/// A lane that nobody used for this long ends when the next one is given back.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Batches computed ahead of the reader.
const AHEAD: usize = 1;

/// How statements share the machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Config {
    pub(super) cores: usize,
    /// Threads of one lane at most.
    pub(super) threads_max: usize,
    /// Statements beyond it share lanes.
    pub(super) lanes_max: usize,
    /// After it a statement falls behind.
    pub(super) turn: Duration,
    /// How far: 0 for not at all, 19 for behind everything on the machine.
    pub(super) nice: i32,
}

/// Clones are one and the same.
#[derive(Clone, Debug)]
pub(super) struct Lanes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The one used last is at the end, and is used next.
    idle: Vec<(Arc<Lane>, Instant)>,
    busy: Vec<(Arc<Lane>, usize)>,
}

/// One runtime and the priority of its threads.
struct Lane {
    runtime: Threads,
    alive: Arc<Alive>,
}

/// A statement's place on a lane. The statement's tasks end with the lane's last turn, not before.
#[derive(Debug)]
struct Turn {
    lane: Arc<Lane>,
    lanes: Lanes,
    /// Its work came to its own end: nothing of it runs on.
    finished: bool,
    /// Ends with the turn.
    _behind: AbortOnDropHandle<()>,
}

impl Lanes {
    pub(super) fn new(config: Config) -> Self {
        Self(Arc::new(Inner { config, state: Mutex::default() }))
    }

    /// Runs a plan on a lane; the stream may be polled anywhere. Dropping it ends the statement.
    pub(super) fn stream(
        &self,
        plan: Deep<Arc<dyn ExecutionPlan>>,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let schema = plan.schema();
        let (batches, received) = mpsc::channel::<datafusion::error::Result<RecordBatch>>(AHEAD);
        let rows = async move {
            let mut stream = match execute_stream(Arc::clone(&plan), context) {
                Ok(stream) => stream,
                Err(error) => return drop(batches.send(Err(error)).await),
            };
            while let Some(batch) = stream.next().await {
                let failed = batch.is_err();
                if batches.send(batch).await.is_err() || failed {
                    return;
                }
            }
        };
        let (task, turn) = self.spawn(rows)?;
        let source = Source { received, task: Some(task), turn };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::unfold(source, Source::next))))
    }

    /// Runs work that computes on a lane and waits for it. Dropping the future ends the work.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (task, mut turn) = self.spawn(work)?;
        let done = task.await;
        turn.finished = true;
        done.unwrap_or_else(|e| Err(died(e)))
    }

    fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<(AbortOnDropHandle<T>, Turn)> {
        let lane = self.0.take()?;
        let (alive, turn, nice) = (Arc::clone(&lane.alive), self.0.config.turn, self.0.config.nice);
        let behind = tokio::spawn(async move {
            tokio::time::sleep(turn).await;
            metrics::counter!(STATEMENTS_BEHIND).increment(1);
            alive.fall_behind(nice);
        });
        let task = AbortOnDropHandle::new(lane.runtime.spawn(work));
        Ok((task, Turn { lane, lanes: self.clone(), finished: false, _behind: AbortOnDropHandle::new(behind) }))
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }

    /// An idle lane, else a new one, else a share of the one that fewest statements use.
    fn take(&self) -> Result<Arc<Lane>> {
        let mut state = self.state();
        if let Some((lane, _)) = state.idle.pop() {
            state.busy.push((Arc::clone(&lane), 1));
            return Ok(lane);
        }
        let failed = if state.busy.len() < self.config.lanes_max {
            // the more run already, the fewer threads the next one is worth
            let threads = self.config.cores * 4 / (state.busy.len() + 1);
            match Lane::new(threads.clamp(1, self.config.threads_max.max(1))) {
                Ok(lane) => {
                    let lane = Arc::new(lane);
                    state.busy.push((Arc::clone(&lane), 1));
                    return Ok(lane);
                }
                Err(error) => Some(error),
            }
        } else {
            None
        };
        match state.busy.iter_mut().min_by_key(|(_, turns)| *turns) {
            Some((lane, turns)) => {
                *turns += 1;
                Ok(Arc::clone(lane))
            }
            None => Err(failed.unwrap_or_else(|| Error::internal("there are no lanes"))),
        }
    }

    /// A lane that fell behind cannot come forward again (that takes a privilege), so it ends with its last statement.
    fn give_back(&self, lane: &Arc<Lane>) {
        let mut state = self.state();
        let Some(at) = state.busy.iter().position(|(busy, _)| Arc::ptr_eq(busy, lane)) else { return };
        state.busy[at].1 -= 1;
        if state.busy[at].1 > 0 {
            return;
        }
        let (lane, _) = state.busy.swap_remove(at);
        state.idle.retain(|(_, since)| since.elapsed() < IDLE_MAX);
        if !lane.alive.are_behind() {
            state.idle.push((lane, Instant::now()));
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.finished {
            // an operator may work on until it pauses: not in front of others
            self.lane.alive.fall_behind(self.lanes.0.config.nice);
        }
        self.lanes.0.give_back(&self.lane);
    }
}

impl Lane {
    fn new(threads: usize) -> Result<Self> {
        let alive = Arc::new(Alive::default());
        let (started, stopped) = (Arc::clone(&alive), Arc::clone(&alive));
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(threads).thread_name("query").thread_stack_size(STACK_BYTES).enable_all();
        builder.on_thread_start(move || started.enter()).on_thread_stop(move || stopped.leave());
        Ok(Self { runtime: Threads::new(&mut builder, "a statement")?, alive })
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("alive", &self.alive).finish_non_exhaustive()
    }
}

/// The threads of a lane that are alive. Threads that start later inherit the priority of the one that starts them.
#[derive(Debug, Default)]
struct Alive {
    threads: Mutex<Vec<threads::Id>>,
    behind: AtomicBool,
}

impl Alive {
    fn threads(&self) -> MutexGuard<'_, Vec<threads::Id>> {
        self.threads.lock().expect("no panic under the lock")
    }

    fn enter(&self) {
        self.threads().push(threads::id());
    }

    fn leave(&self) {
        let own = threads::id();
        self.threads().retain(|id| *id != own);
    }

    fn are_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed)
    }

    fn fall_behind(&self, nice: i32) {
        // under the lock: the number of a thread that ended may be another one's by now
        let threads = self.threads();
        if !self.behind.swap(true, Ordering::Relaxed) && nice > 0 {
            for id in threads.iter() {
                threads::renice(*id, nice);
            }
        }
    }
}

struct Source {
    received: mpsc::Receiver<datafusion::error::Result<RecordBatch>>,
    /// `None` once its end was seen.
    task: Option<AbortOnDropHandle<()>>,
    turn: Turn,
}

impl Source {
    async fn next(mut self) -> Option<(datafusion::error::Result<RecordBatch>, Self)> {
        if let Some(batch) = self.received.recv().await {
            return Some((batch, self));
        }
        // rows that end because their task died are not the whole answer
        let ended = self.task.take()?.await;
        self.turn.finished = true;
        match ended {
            Ok(()) => None,
            Err(error) => Some((Err(died(error).into()), self)),
        }
    }
}

fn died(error: tokio::task::JoinError) -> Error {
    metrics::counter!(PANICS).increment(u64::from(error.is_panic()));
    Error::internal("a statement's task has died").with_source(error)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn lanes(lanes_max: usize, turn: Duration) -> Lanes {
        Lanes::new(Config { cores: 1, threads_max: 1, lanes_max, turn, nice: 10 })
    }

    /// Lanes in use and lanes kept.
    fn count(lanes: &Lanes) -> (usize, usize) {
        let state = lanes.0.state();
        (state.busy.len(), state.idle.len())
    }

    #[tokio::test]
    async fn a_statement_that_never_pauses_holds_up_no_other() {
        let lanes = lanes(4, Duration::from_secs(60));
        let (free, wait) = channel::<()>();
        let stuck = tokio::spawn({
            let lanes = lanes.clone();
            async move { lanes.run(async move { wait.recv().map_err(|_| Error::internal("nobody frees it")) }).await }
        });
        assert_eq!(lanes.run(async { Ok(7) }).await.unwrap(), 7);
        free.send(()).unwrap();
        stuck.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn beyond_the_most_lanes_statements_share_them() {
        let lanes = lanes(1, Duration::from_secs(60));
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        let first = tokio::spawn({
            let lanes = lanes.clone();
            async move { lanes.run(async move { wait.await.map_err(|_| Error::internal("nobody frees it")) }).await }
        });
        while count(&lanes).0 == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(lanes.run(async { Ok(7) }).await.unwrap(), 7);
        assert_eq!(count(&lanes).0, 1);
        go.send(()).unwrap();
        first.await.unwrap().unwrap();
        assert_eq!(count(&lanes).0, 0);
    }

    #[tokio::test]
    async fn after_its_turn_a_statement_falls_behind_and_its_lane_is_not_used_again() {
        let lanes = lanes(4, Duration::ZERO);
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        let running = tokio::spawn({
            let lanes = lanes.clone();
            async move { lanes.run(async move { wait.await.map_err(|_| Error::internal("nobody frees it")) }).await }
        });
        let behind = || lanes.0.state().busy.first().is_some_and(|(lane, _)| lane.alive.are_behind());
        while !behind() {
            tokio::task::yield_now().await;
        }
        go.send(()).unwrap();
        running.await.unwrap().unwrap();
        assert_eq!(count(&lanes), (0, 0));
    }

    #[tokio::test]
    async fn a_short_statement_leaves_its_lane_to_the_next() {
        let lanes = lanes(4, Duration::from_secs(60));
        lanes.run(async { Ok(()) }).await.unwrap();
        assert_eq!(count(&lanes), (0, 1));
        lanes.run(async { Ok(()) }).await.unwrap();
        assert_eq!(count(&lanes), (0, 1));
    }

    #[tokio::test]
    async fn a_panic_on_a_lane_is_an_error_of_its_statement() {
        let lanes = lanes(4, Duration::from_secs(60));
        let error = lanes.run(async { if true { panic!("in an operator") } else { Ok(()) } }).await.unwrap_err();
        assert_eq!(error.kind(), crate::error::Kind::Internal);
        assert_eq!(lanes.run(async { Ok(7) }).await.unwrap(), 7);
    }
}
