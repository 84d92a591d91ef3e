//! Threads with a big stack on which parsing, planning and the dropping of what they made happen: deep statements
//! recurse there and nowhere else. It plans nothing itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, mpsc};

use tokio::sync::oneshot;

use crate::error::{Error, Result};

/// Virtual, committed page by page as it is used.
const STACK_BYTES: usize = 256 << 20;

/// Jobs waiting for a thread; above it a statement waits in its own task, not here.
const QUEUE_MAX: usize = 1_024;

type Job = Box<dyn FnOnce() + Send>;

/// A small pool; dropping it ends its threads after their current job.
#[derive(Debug)]
pub(crate) struct Planner {
    jobs: mpsc::SyncSender<Job>,
}

impl Planner {
    pub(crate) fn new(threads: usize) -> Result<Self> {
        let (jobs, queue) = mpsc::sync_channel::<Job>(QUEUE_MAX);
        let queue = Arc::new(Mutex::new(queue));
        for n in 0..threads.max(1) {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new()
                .name(format!("planner-{n}"))
                .stack_size(STACK_BYTES)
                .spawn(move || {
                    loop {
                        let job = queue.lock().expect("no panic while waiting for a job").recv();
                        match job {
                            Ok(job) => job(),
                            Err(_) => return,
                        }
                    }
                })
                .map_err(|e| Error::internal(format!("planner thread: {e}")))?;
        }
        Ok(Self { jobs })
    }

    /// Runs `work` on a big stack. A panic in it is an error of this statement alone; a caller that goes away leaves the
    /// work to finish unheard.
    pub(crate) async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        let (answer, heard) = oneshot::channel();
        let mut job: Job = Box::new(move || {
            let _ = answer.send(caught(work));
        });
        loop {
            match self.jobs.try_send(job) {
                Ok(()) => break,
                Err(mpsc::TrySendError::Full(back)) => {
                    job = back;
                    tokio::task::yield_now().await;
                }
                Err(mpsc::TrySendError::Disconnected(_)) => return Err(Error::internal("the planner has stopped")),
            }
        }
        heard.await.map_err(|_| Error::internal("the planner lost a job"))?
    }

    /// As [`Planner::run`], for callers without a runtime.
    #[cfg(test)]
    pub(crate) fn blocking<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        let (answer, heard) = mpsc::channel();
        let job: Job = Box::new(move || {
            let _ = answer.send(caught(work));
        });
        self.jobs.send(job).map_err(|_| Error::internal("the planner has stopped"))?;
        heard.recv().map_err(|_| Error::internal("the planner lost a job"))?
    }
}

fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text =
            panic.downcast_ref::<&str>().map(|s| s.to_string()).or_else(|| panic.downcast_ref::<String>().cloned());
        Err(Error::internal(format!("panic while planning: {}", text.unwrap_or_default())))
    })
}
