//! What ends a statement besides its own end, in a form that work on other threads can ask: a cancel request, a client
//! that left, a deadline. It interrupts nothing; whoever works must ask.

use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::error::{Error, Kind, Result};

/// Clones are one and the same.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    token: CancellationToken,
    deadline: Option<Instant>,
}

impl Stop {
    /// Pulled when `cancel` is, or by itself.
    pub(crate) fn new(cancel: &CancellationToken, deadline: Option<Instant>) -> Self {
        Self { token: cancel.child_token(), deadline }
    }

    pub(crate) fn at(deadline: Instant) -> Self {
        Self { token: CancellationToken::new(), deadline: Some(deadline) }
    }

    pub(crate) fn pull(&self) {
        self.token.cancel();
    }

    /// 57014 when it is time to end.
    pub(crate) fn check(&self) -> Result<()> {
        if self.token.is_cancelled() {
            return Err(Error::new(Kind::Cancelled, "canceling statement due to user request"));
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => {
                Err(Error::new(Kind::Cancelled, "canceling statement due to statement timeout"))
            }
            Some(_) | None => Ok(()),
        }
    }
}
