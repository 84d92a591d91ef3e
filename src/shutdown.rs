//! One token down, one "all done" up: every task of the process is spawned here by a name and ends by the token.
//! It does not decide when to stop; `server` does.

use std::future::Future;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Handed to everything that spawns. Clones share the token and the set.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when the process should stop.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Owns `task` until [`Shutdown::finish`]; a panic in it is logged under `name` and ends nothing else.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn_on(&Handle::current(), name, task);
    }

    /// The same on the threads of another runtime.
    pub fn spawn_on<F>(&self, threads: &Handle, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = threads.spawn(task);
        self.tasks.spawn(async move {
            if let Err(error) = task.await
                && error.is_panic()
            {
                tracing::error!(task = name, error = %error, "task panicked");
            }
        });
    }

    /// Signals everyone, then waits for all tasks or for `patience`; `true` when all ended.
    pub async fn finish(&self, patience: std::time::Duration) -> bool {
        self.token.cancel();
        self.tasks.close();
        tokio::time::timeout(patience, self.tasks.wait()).await.is_ok()
    }
}
