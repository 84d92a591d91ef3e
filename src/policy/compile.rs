//! Draft → Policies: roles closed, row filters parsed and typed once against raw schemas, masks typed. Immutable.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::decide::SessionPolicy;
use super::file::{Draft, Fault};
use super::{Object, Principal};
use crate::secret::Secret;

/// One generation of policy, swapped whole.
#[derive(Debug)]
pub struct Policies {}

/// What the rules are bound to.
#[derive(Debug, Default)]
pub struct Objects {
    pub objects: Vec<Object>,
    /// Schemas whose source has not answered yet: lines about them are unbound, which is no fault.
    pub unanswered: BTreeSet<String>,
    /// Every schema that exists, answered or not.
    pub schemas: BTreeSet<String>,
    /// Hash of the file set in force (from the metastore): for it, unknown names are warnings, not faults.
    pub in_force: Option<u64>,
}

impl Policies {
    /// Binds `draft`. All faults are reported, not only the first. `key` is the deployment's key for `hash` masks.
    pub fn compile(
        draft: &Draft,
        objects: &Objects,
        key: &Secret<Vec<u8>>,
        generation: u64,
    ) -> Result<(Self, Vec<Fault>), Vec<Fault>> {
        let _ = (draft, objects, key, generation);
        todo!()
    }

    pub fn generation(&self) -> u64 {
        todo!()
    }

    /// Of the three files' content.
    pub fn hash(&self) -> u64 {
        todo!()
    }

    /// The SCRAM verifier text of `users.toml`, as Postgres stores it.
    pub fn verifier(&self, user: &str) -> Option<&str> {
        let _ = user;
        todo!()
    }

    /// For somebody who has proven to be `user`. The engine's `login` is the one caller.
    pub fn principal(&self, user: &str) -> Option<Principal> {
        let _ = user;
        todo!()
    }

    /// `None` when the user was removed since.
    pub fn session(self: &Arc<Self>, principal: &Principal) -> Option<SessionPolicy> {
        let _ = principal;
        todo!()
    }

    /// The rights a dataset is planned with. `None`: no such user or role.
    pub fn owner(self: &Arc<Self>, owner: &str) -> Option<SessionPolicy> {
        let _ = owner;
        todo!()
    }

    /// Every user of `users.toml`, for the matrix and `pg_roles`.
    pub fn users(&self) -> Vec<&str> {
        todo!()
    }
}
