//! Threads by purpose and their priorities. Doors answer, queries compute, planning recurses, pipelines write: each has
//! threads of its own, so that none waits for another's work. It starts no task itself.

use std::fmt;
use std::ops::Deref;

use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, Result};

/// The name of a thread to the system, for [`renice`].
#[cfg(target_os = "linux")]
pub type Id = rustix::thread::Pid;
#[cfg(not(target_os = "linux"))]
pub type Id = std::thread::ThreadId;

/// The calling thread.
#[cfg(target_os = "linux")]
pub fn id() -> Id {
    rustix::thread::gettid()
}
#[cfg(not(target_os = "linux"))]
pub fn id() -> Id {
    std::thread::current().id()
}

/// Puts a thread behind others: 0 is ordinary, 19 behind everything on the machine. It cannot come forward again without a
/// privilege. On Linux a priority is a thread's own (setpriority(2), "C library/kernel differences"); elsewhere it is the
/// process's, and nothing is done.
#[cfg(target_os = "linux")]
pub fn renice(id: Id, nice: i32) {
    if let Err(error) = rustix::process::setpriority_process(Some(id), nice) {
        tracing::debug!(error = %error, "a thread keeps its priority");
    }
}
#[cfg(not(target_os = "linux"))]
pub fn renice(_: Id, _: i32) {}

/// A runtime that may be dropped anywhere, on one of its own threads too: dropping it waits for nothing.
pub struct Threads(Option<Runtime>);

impl Threads {
    pub fn new(builder: &mut Builder, what: &'static str) -> Result<Self> {
        let runtime = builder.build().map_err(|e| Error::internal(format!("threads for {what}")).with_source(e))?;
        Ok(Self(Some(runtime)))
    }

    /// Threads that compute in the background, behind the ones that somebody waits for.
    pub fn background(name: &'static str, threads: usize, nice: i32) -> Result<Self> {
        let behind = move || renice(id(), nice);
        let mut builder = Builder::new_multi_thread();
        Self::new(builder.worker_threads(threads).thread_name(name).on_thread_start(behind).enable_all(), name)
    }
}

impl Deref for Threads {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        self.0.as_ref().expect("there until it is dropped")
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Threads")
    }
}
