//! One token down, one "all done" up: every task of the process is spawned here by a name and ends by the token.
//! It does not decide when to stop; `server` does.

use std::future::Future;

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
        self.tasks.spawn(async move {
            if let Err(error) = tokio::spawn(task).await
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
