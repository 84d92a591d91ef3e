//! What has been read of the lake's immutable files, kept by path under a budget of bytes. Nothing in it ever goes stale;
//! it is told when something is not worth keeping any more.

use std::any::Any;
use std::sync::Arc;

use crate::error::{Error, Result};

/// Parsed files by path; a clone is the same.
#[derive(Clone)]
pub(super) struct Cache(moka::future::Cache<String, Kept>);

#[derive(Clone)]
struct Kept {
    parsed: Arc<dyn Any + Send + Sync>,
    bytes: u32,
}

/// Something parsed, and what it weighs in memory by estimate.
pub(super) struct Weighed<T> {
    pub parsed: Arc<T>,
    pub bytes: u64,
}

impl Cache {
    pub(super) fn new(budget_bytes: u64) -> Self {
        let weigh = |path: &String, kept: &Kept| kept.bytes.saturating_add(clamp(path.len() as u64));
        Self(moka::future::Cache::builder().max_capacity(budget_bytes).weigher(weigh).build())
    }

    /// One read a path, however many ask at once. An error is not kept. A path is always asked for as the same type.
    pub(super) async fn get<T: Send + Sync + 'static>(
        &self,
        path: &str,
        read: impl Future<Output = Result<Weighed<T>>>,
    ) -> Result<Arc<T>> {
        let read = async { read.await.map(Kept::from) };
        let kept = self.0.try_get_with_by_ref(path, read).await.map_err(|shared| again(&shared))?;
        kept.parsed.downcast::<T>().map_err(|_| Error::internal("a file was read as two things"))
    }

    /// What was just written need not be read again.
    pub(super) async fn put<T: Send + Sync + 'static>(&self, path: &str, weighed: Weighed<T>) {
        self.0.insert(path.to_string(), weighed.into()).await;
    }

    pub(super) async fn forget(&self, path: &str) {
        self.0.invalidate(path).await;
    }

    /// How many parsed files of a type are kept.
    #[cfg(test)]
    pub(super) async fn count<T: Send + Sync + 'static>(&self) -> usize {
        self.0.run_pending_tasks().await;
        self.0.iter().filter(|(_, kept)| kept.parsed.is::<T>()).count()
    }
}

impl<T: Send + Sync + 'static> From<Weighed<T>> for Kept {
    fn from(weighed: Weighed<T>) -> Self {
        Self { parsed: weighed.parsed, bytes: clamp(weighed.bytes) }
    }
}

fn clamp(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// An error shared by everyone who waited for the same read: what clients may see is copied, the source is printed.
fn again(shared: &Arc<Error>) -> Error {
    let mut copy = Error::new(shared.kind(), shared.message()).with_source(format!("{shared:?}"));
    if let Some(detail) = shared.detail() {
        copy = copy.with_detail(detail);
    }
    if let Some(hint) = shared.hint() {
        copy = copy.with_hint(hint);
    }
    copy
}
