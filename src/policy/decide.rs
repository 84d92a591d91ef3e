//! (principal, object, action) → Grant | Deny. Pure, memoised per session.

use std::sync::Arc;

use super::{Action, Decision, Principal};
use crate::types::ObjectId;

/// One principal under one generation of policy: role closure and attributes bound once.
#[derive(Clone, Debug)]
pub struct SessionPolicy {}

impl SessionPolicy {
    pub fn principal(&self) -> &Principal {
        todo!()
    }

    pub fn generation(&self) -> u64 {
        todo!()
    }

    /// The user and every role reached from it, sorted.
    pub fn closure(&self) -> &[Arc<str>] {
        todo!()
    }

    pub fn decide(&self, object: ObjectId, action: Action) -> Decision {
        let _ = (object, action);
        todo!()
    }

    /// A base table inside a dataset (policy.md §8): the owner's grant, and whatever lines name the caller on top:
    /// filters of both by AND, strictest mask of both, denied columns of the caller added to `hidden` and `denied`. `Deny` where the owner has no
    /// right or a line denies the caller.
    pub fn through(&self, owner: &SessionPolicy, object: ObjectId) -> Decision {
        let _ = (owner, object);
        todo!()
    }

    /// `p, X, schema.*, create, allow`.
    pub fn may_create(&self, schema: &str) -> bool {
        let _ = schema;
        todo!()
    }

    /// Holds `p, X, lakegate.admin, select, allow`.
    pub fn is_admin(&self) -> bool {
        todo!()
    }
}
