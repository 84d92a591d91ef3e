//! Files that are in the store and that no table knows: when nobody is left who could commit them, they are deleted. From
//! the moment a commit begins with them they are the commit's, and stay whatever happens, unless it is known that nothing
//! came of it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;

use super::super::Lake;

/// Clones are one and the same; the last one that goes takes the files with it.
#[derive(Clone, Debug)]
pub(in crate::lake) struct Loose(Arc<Files>);

struct Files {
    store: Arc<dyn ObjectStore>,
    /// What outlives the statement that wrote them.
    home: Option<Handle>,
    paths: Mutex<Vec<Path>>,
    is_kept: AtomicBool,
}

impl Loose {
    pub(super) fn new(lake: &Lake) -> Self {
        let (store, home) = (Arc::clone(lake.store.objects()), lake.home.clone());
        Self(Arc::new(Files { store, home, paths: Mutex::default(), is_kept: AtomicBool::new(false) }))
    }

    pub(super) fn add(&self, path: Path) {
        self.0.paths.lock().unwrap_or_else(PoisonError::into_inner).push(path);
    }

    /// A commit names them from now on.
    pub(in crate::lake) fn keep(&self) {
        self.0.is_kept.store(true, Ordering::Release);
    }

    /// It is known that it did not happen.
    pub(in crate::lake) fn let_go(&self) {
        self.0.is_kept.store(false, Ordering::Release);
    }
}

impl Drop for Files {
    /// By a task of its own: whoever fails does not wait. What it cannot delete is left for the sweeper.
    fn drop(&mut self) {
        let paths = std::mem::take(self.paths.get_mut().unwrap_or_else(PoisonError::into_inner));
        if paths.is_empty() || *self.is_kept.get_mut() {
            return;
        }
        let Some(home) = self.home.clone() else { return };
        let store = Arc::clone(&self.store);
        home.spawn(async move {
            for path in paths {
                if let Err(error) = store.delete(&path).await {
                    tracing::debug!(%path, %error, "a file that nobody commits stays");
                }
            }
        });
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loose").field("paths", &self.paths).field("is_kept", &self.is_kept).finish_non_exhaustive()
    }
}
