//! Who may run a pipeline: one row a pipeline, whose epoch grows with every taking-over. It renews nothing by itself.

use super::{Metastore, on};
use crate::error::Result;

/// A held lease. A swap that names it fails once another holder took it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub pipeline: String,
    pub epoch: i64,
    pub holder: String,
}

impl Metastore {
    /// Takes a lease that is free, expired or already ours; `None` while another holds it. The epoch is always new, so
    /// an older self is shut out too.
    pub async fn take_lease(&self, pipeline: &str, holder: &str, ttl_ms: i64) -> Result<Option<Lease>> {
        on!(self, take_lease(pipeline, holder, ttl_ms))
    }

    /// Who holds a lease, and whether they still renew it; `None` where nobody ever held it.
    pub async fn lease(&self, pipeline: &str) -> Result<Option<(Lease, bool)>> {
        on!(self, lease(pipeline))
    }

    /// False once it was taken over: its holder must stop.
    pub async fn renew_lease(&self, lease: &Lease, ttl_ms: i64) -> Result<bool> {
        on!(self, extend(lease, Some(ttl_ms)))
    }

    /// Lets another take it at once; the epoch stays, so that it only ever grows.
    pub async fn release_lease(&self, lease: &Lease) -> Result<()> {
        on!(self, extend(lease, None)).map(|_| ())
    }
}
