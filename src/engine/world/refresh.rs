//! Sources that somebody wants looked at now, and who is to be told of it. It asks no source and judges no right.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use super::look::ANSWER_MAX;
use crate::catalog::unreachable_source;
use crate::error::{Error, Result};

/// A look that was under way, the one that was asked for, and what is made of it.
const WAIT_MAX: Duration = ANSWER_MAX.saturating_mul(3);

/// What was asked for and is not looked at yet: at most one a session that still waits.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    asked: Mutex<Vec<Asked>>,
    come: Notify,
}

/// Somebody who waits for a source's tables.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) source: String,
    tell: oneshot::Sender<Result<()>>,
}

impl Asked {
    /// Whoever asked may have gone.
    pub(super) fn tell(self, outcome: Result<()>) {
        let _ = self.tell.send(outcome);
    }
}

impl Wanted {
    pub(super) async fn refresh(&self, source: &str) -> Result<()> {
        let (tell, told) = oneshot::channel();
        self.ask(Asked { source: source.to_owned(), tell });
        self.come.notify_one();
        match timeout(WAIT_MAX, told).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Error::internal("a look at the catalog failed")),
            Err(_) => Err(unreachable_source(source)),
        }
    }

    /// In the place of those that wait no longer, so that a look that takes long does not keep who came and went.
    fn ask(&self, one: Asked) {
        let mut asked = self.lock();
        asked.retain(|other| !other.tell.is_closed());
        asked.push(one);
    }

    /// Returns when there may be something to [`Wanted::take`].
    pub(super) async fn come(&self) {
        self.come.notified().await;
    }

    pub(super) fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.lock())
    }

    /// A list is put in whole: a panic elsewhere leaves none half made.
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
