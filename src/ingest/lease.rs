//! The right to write a table from a pipeline, renewed while it is held. Whether a commit is allowed the commit itself
//! finds out; this only says soon when somebody else has taken over.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::metastore::{Lease, Metastore};

/// Dropped without [`Held::release`] it runs out by itself.
pub(super) struct Held {
    pub(super) lease: Lease,
    lost: CancellationToken,
    renewal: JoinHandle<()>,
    metastore: Arc<Metastore>,
}

impl Held {
    /// `None` while another holds it.
    pub(super) async fn take(
        metastore: &Arc<Metastore>,
        name: &str,
        holder: &str,
        ttl_ms: u64,
    ) -> Result<Option<Self>> {
        let ttl = i64::try_from(ttl_ms).unwrap_or(i64::MAX);
        let Some(lease) = metastore.take_lease(name, holder, ttl).await? else { return Ok(None) };
        let lost = CancellationToken::new();
        let renewal = tokio::spawn(renew(Arc::clone(metastore), lease.clone(), ttl_ms, lost.clone()));
        Ok(Some(Self { lease, lost, renewal, metastore: Arc::clone(metastore) }))
    }

    /// Ends when the lease is another's.
    pub(super) async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Lets another take it at once. One that cannot be let go of runs out.
    pub(super) async fn release(self) {
        self.renewal.abort();
        if let Err(error) = self.metastore.release_lease(&self.lease).await {
            tracing::warn!(pipeline = self.lease.pipeline, error = %error, "the lease was not let go of");
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

/// Until it is lost. A metastore that does not answer is asked again: nobody else can take the lease there either.
async fn renew(metastore: Arc<Metastore>, lease: Lease, ttl_ms: u64, lost: CancellationToken) {
    let ttl = i64::try_from(ttl_ms).unwrap_or(i64::MAX);
    let mut clock = tokio::time::interval(Duration::from_millis(ttl_ms / 3));
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    clock.tick().await;
    loop {
        clock.tick().await;
        match metastore.renew_lease(&lease, ttl).await {
            Ok(true) => {}
            Ok(false) => return lost.cancel(),
            Err(error) => tracing::warn!(pipeline = lease.pipeline, error = %error, "the lease was not renewed"),
        }
    }
}
