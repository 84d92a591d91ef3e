//! The rights by which a transaction has written, to be asked again before others see what it did: a block may stay open for
//! long. Who has them is the policy's to say.

use std::sync::{Arc, Mutex, PoisonError};

use crate::policy::{Action, Principal};
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
pub(crate) struct Asked(Arc<Mutex<Given>>);

/// By whom each was asked.
pub(crate) type Given = Vec<(Principal, Right)>;

impl Asked {
    pub(crate) fn given(&self, principal: &Principal, right: Right) {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let one = (principal.clone(), right);
        if !given.contains(&one) {
            given.push(one);
        }
    }

    /// All of them, of which none is left.
    pub(crate) fn take(&self) -> Given {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
