//! The rights by which a transaction has written, to be asked again before others see what it did: a block may stay open for
//! long. Who has them is the policy's to say.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::policy::Action;
use crate::types::ObjectId;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Right {
    To(Action, ObjectId),
    /// To make something in a schema, or the schema itself.
    Create(String),
    DropSchema(String),
}

/// A session's. Clones are one and the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked(Arc<Mutex<BTreeSet<Right>>>);

impl Asked {
    pub(crate) fn given(&self, right: Right) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(right);
    }

    /// All of them, of which none is left.
    pub(crate) fn take(&self) -> BTreeSet<Right> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
