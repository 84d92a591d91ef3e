//! Where parsing, planning and guarding happen: threads of their own with a big stack, since statements are as deep as
//! `limits` allows and every walk over one recurses. It plans nothing itself. A job that outlives its deadline is told to
//! stop and gives its place back, so that it costs a thread and not everybody's turn.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::stop::Stop;
use crate::error::{Error, Kind, Result};
use crate::telemetry::metrics::PLANNING_OVERDUE;
use crate::threads::Threads;

/// Virtual, committed page by page as it is used.
const STACK_BYTES: usize = 256 << 20;
/// A thread that waited this long for a job ends and gives its stack back.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Jobs at a time, and how many may run on past their deadline before they keep their places after all. More places than
/// cores: the kernel shares the cores out evenly, so that a statement which plans for seconds does not hold up one that
/// plans for a millisecond.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    pub(crate) running_max: usize,
    pub(crate) overdue_max: usize,
    pub(crate) timeout: Duration,
}

/// Dropping it does not wait for jobs that still run.
#[derive(Debug)]
pub(crate) struct Planner {
    runtime: Threads,
    places: Arc<Semaphore>,
    overdue: Arc<AtomicUsize>,
    of: Places,
}

impl Planner {
    pub(crate) fn new(of: Places) -> Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).max_blocking_threads(of.running_max + of.overdue_max).thread_keep_alive(KEEP_ALIVE);
        let runtime = Threads::new(builder.thread_name("planner").thread_stack_size(STACK_BYTES), "planning")?;
        let places = Arc::new(Semaphore::new(of.running_max));
        Ok(Self { runtime, places, overdue: Arc::default(), of })
    }

    /// Runs `work` on a big stack, within the planning timeout (57014 after it, waiting for a place included). A panic in
    /// it is an error of this statement alone. `work` may call async code with the handle it is given, which is the
    /// caller's runtime. Dropping the future tells `work` to stop, as its deadline does.
    pub(crate) async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Stop, &Handle) -> Result<T> + Send + 'static,
    {
        let deadline = Instant::now() + self.of.timeout;
        let late = || {
            let ms = self.of.timeout.as_millis();
            Error::new(Kind::Cancelled, format!("canceling statement: planning took longer than {ms} ms"))
        };
        let waiting = tokio::time::timeout_at(deadline, Arc::clone(&self.places).acquire_owned());
        let permit = waiting.await.map_err(|_| late())?.map_err(|_| Error::internal("the planner has stopped"))?;
        let caller = Handle::current();
        let place = Arc::new(Place::new(permit, Arc::clone(&self.overdue), self.of.overdue_max));
        let mut held = Held { place: Arc::clone(&place), stop: Stop::at(deadline.into()), finished: false };
        let stop = held.stop.clone();
        let job = self.runtime.spawn_blocking(move || {
            let done = caught(|| work(&stop, &caller));
            drop(place);
            done
        });
        let done = tokio::time::timeout_at(deadline, job).await.map_err(|_| late())?;
        held.finished = true;
        done.unwrap_or_else(|e| Err(Error::internal("the planner lost a job").with_source(e)))
    }

    /// As [`Planner::run`], for callers without a runtime.
    #[cfg(test)]
    pub(crate) fn blocking<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(self.run(move |_, _| work()))
    }
}

/// A job's right to run. It lies with the job, and is taken from it where the job outlives its statement.
#[derive(Debug)]
struct Place {
    permit: std::sync::Mutex<Option<OwnedSemaphorePermit>>,
    overdue: Arc<AtomicUsize>,
    overdue_max: usize,
    is_overdue: AtomicBool,
}

impl Place {
    fn new(permit: OwnedSemaphorePermit, overdue: Arc<AtomicUsize>, overdue_max: usize) -> Self {
        Self { permit: std::sync::Mutex::new(Some(permit)), overdue, overdue_max, is_overdue: AtomicBool::new(false) }
    }

    /// The next statement may have the place, unless too many jobs run on already.
    fn give_back(&self) {
        self.is_overdue.store(true, Ordering::Relaxed);
        if self.overdue.fetch_add(1, Ordering::Relaxed) < self.overdue_max {
            *self.permit.lock().expect("no panic under the lock") = None;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if *self.is_overdue.get_mut() {
            self.overdue.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The statement's side of a job.
struct Held {
    place: Arc<Place>,
    stop: Stop,
    finished: bool,
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.finished {
            metrics::counter!(PLANNING_OVERDUE).increment(1);
            self.stop.pull();
            self.place.give_back();
        }
    }
}

fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text =
            panic.downcast_ref::<&str>().map(|s| s.to_string()).or_else(|| panic.downcast_ref::<String>().cloned());
        Err(Error::internal(format!("panic while planning: {}", text.unwrap_or_default())))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn planner(running_max: usize, overdue_max: usize) -> Planner {
        Planner::new(Places { running_max, overdue_max, timeout: Duration::from_millis(200) }).expect("threads")
    }

    #[tokio::test]
    async fn a_job_that_outlives_its_deadline_does_not_hold_the_only_place() {
        let planner = planner(1, 1);
        let (free, wait) = mpsc::channel::<()>();
        let stuck = planner.run(move |_, _| wait.recv().map_err(|_| Error::internal("nobody frees it")));
        assert_eq!(stuck.await.expect_err("it never ends by itself").kind(), Kind::Cancelled);
        assert_eq!(planner.run(|_, _| Ok(7)).await.expect("the place was given back"), 7);
        free.send(()).expect("the job is still there");
    }

    #[tokio::test]
    async fn a_statement_that_went_away_tells_its_job_to_stop() {
        let planner = planner(2, 2);
        let (told, heard) = mpsc::channel();
        let job = planner.run(move |stop, _| {
            while stop.check().is_ok() {
                std::thread::yield_now();
            }
            told.send(()).map_err(|_| Error::internal("nobody listens"))
        });
        let left = tokio::time::timeout(Duration::from_millis(20), job);
        assert!(left.await.is_err());
        tokio::task::spawn_blocking(move || heard.recv()).await.unwrap().expect("the job saw it");
    }

    #[tokio::test]
    async fn too_many_jobs_past_their_deadline_keep_their_places() {
        let planner = planner(1, 0);
        let (free, wait) = mpsc::channel::<()>();
        let stuck = planner.run(move |_, _| wait.recv().map_err(|_| Error::internal("nobody frees it")));
        assert_eq!(stuck.await.expect_err("it never ends by itself").kind(), Kind::Cancelled);
        assert_eq!(planner.run(|_, _| Ok(())).await.expect_err("no place").kind(), Kind::Cancelled);
        free.send(()).expect("the job is still there");
        planner.run(|_, _| Ok(())).await.expect("the job ended");
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_its_statement() {
        let error = planner(1, 1).run(|_, _| -> Result<()> { panic!("in a rule") }).await.expect_err("it panicked");
        assert_eq!(error.kind(), Kind::Internal);
    }
}
