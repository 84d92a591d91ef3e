//! What a transaction has in hand of the sources that it changes, or reads repeatably: as they are staged, and the world as
//! it sees it. Savepoints and the end are the transaction's; what a commit means is the source's.

use std::sync::Arc;

use super::Session;
use crate::engine::asked::{Given, Right};
use crate::engine::world::World;
use crate::error::{Error, Result};
use crate::policy::guard::OpenedObject;
use crate::policy::{Decision, Policies, Principal};
use crate::sources::{self, Isolation};
use crate::types::ObjectId;

#[derive(Debug)]
pub(super) struct Staging {
    sources: Vec<Arc<dyn sources::Staging>>,
    /// What `world` was made of.
    over: Arc<World>,
    world: Arc<World>,
    /// `world` is not what the sources have any more.
    stale: bool,
    /// Tables or columns are others than before.
    reshaped: bool,
}

impl Staging {
    async fn begin(over: Arc<World>, isolation: Isolation, depth: usize) -> Result<Self> {
        let mut sources: Vec<Arc<dyn sources::Staging>> = vec![];
        for source in &over.sources {
            if !sources.iter().any(|s| s.source().name() == source.name())
                && let Some(staging) = source.begin(isolation).await?
            {
                (0..depth).for_each(|_| staging.save());
                sources.push(staging);
            }
        }
        let world = Arc::new(over.over(&sources).await?);
        Ok(Self { sources, over, world, stale: false, reshaped: false })
    }

    fn changed(&self) -> impl Iterator<Item = &Arc<dyn sources::Staging>> {
        self.sources.iter().filter(|source| source.has_changes())
    }

    /// 0A000 where two sources are changed: nothing would make of it one commit.
    fn has_one_catalog(&self) -> Result<()> {
        let mut changed = self.changed();
        let (Some(first), Some(second)) = (changed.next(), changed.next()) else { return Ok(()) };
        let text = format!(
            "changes of \"{}\" and of \"{}\" in one transaction",
            first.source().name(),
            second.source().name()
        );
        Err(Error::unsupported(text).with_hint("Each commits by itself: commit one first."))
    }
}

/// Who decides: the policy in force, and for what a transaction made, the same policy bound to it.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Judges {
    public: Arc<World>,
    own: Option<Arc<World>>,
}

impl Judges {
    pub(in crate::engine) fn still_hold(&self, opened: &[OpenedObject], principal: &Principal) -> bool {
        let holds = |policies: &Arc<Policies>, object: &OpenedObject| {
            policies.session(principal).is_some_and(|session| object.holds(policies, &session))
        };
        opened.iter().all(|object| holds(self.of(object.id), object))
    }

    /// Rights that were given once.
    fn still_give(&self, rights: &Given) -> bool {
        let session = |principal| self.public.policies.session(principal);
        rights.iter().all(|(principal, right)| match right {
            Right::Create(schema) => session(principal).is_some_and(|session| session.may_create(schema)),
            Right::DropSchema(schema) => session(principal).is_some_and(|session| session.may_drop_schema(schema)),
            Right::To(action, object) => {
                let session = self.of(*object).session(principal);
                session.is_some_and(|session| matches!(session.decide(*object, *action), Decision::Allow(_)))
            }
        })
    }

    /// The same once another policy may be in force.
    pub(in crate::engine) fn under(&self, public: Arc<World>) -> Self {
        Self { public, own: self.own.clone() }
    }

    /// Whose word counts on an object.
    pub(in crate::engine) fn of(&self, object: ObjectId) -> &Arc<Policies> {
        match &self.own {
            Some(own) if !self.public.policies.knows(object) => &own.policies,
            Some(_) | None => &self.public.policies,
        }
    }
}

impl Session {
    /// What this session's statements see.
    pub(in crate::engine) fn world(&self) -> Arc<World> {
        match &self.staging {
            Some(staging) => Arc::clone(&staging.world),
            None => self.engine.world(),
        }
    }

    pub(in crate::engine) fn judges(&self) -> Judges {
        let own = self.staging.as_ref().map(|staging| Arc::clone(&staging.world));
        Judges { public: self.engine.world(), own }
    }

    /// From here on the transaction works on lakes of its own.
    pub(in crate::engine) async fn stage(&mut self) -> Result<()> {
        if self.staging.is_none() {
            let isolation = match self.settings.lock().kept_word("transaction_isolation").as_str() {
                "repeatable read" => Isolation::Snapshot,
                "serializable" => Isolation::Serializable,
                _ => Isolation::Committed,
            };
            let depth = self.transaction.depth();
            self.staging = Some(Staging::begin(self.engine.world(), isolation, depth).await?);
        }
        Ok(())
    }

    /// Another policy came into force, or what the transaction did has made its world another one.
    pub(super) async fn refresh(&mut self) -> Result<()> {
        let public = self.engine.world();
        if let Some(staging) = &mut self.staging
            && (staging.stale || !Arc::ptr_eq(&staging.over, &public))
        {
            staging.world = Arc::new(public.over(&staging.sources).await?);
            (staging.over, staging.stale) = (public, false);
        }
        Ok(())
    }

    /// A statement has changed data of a lake; `reshaped`: what tables there are, or their columns.
    pub(super) async fn written(&mut self, reshaped: bool) -> Result<()> {
        let Some(staging) = &mut self.staging else { return Ok(()) };
        staging.has_one_catalog()?;
        if reshaped {
            (staging.stale, staging.reshaped) = (true, true);
        }
        self.refresh().await
    }

    pub(super) fn stage_savepoint(&self) {
        self.staged().for_each(|source| source.save());
    }

    pub(super) fn stage_release(&self, level: usize) {
        self.staged().for_each(|source| source.release(level));
    }

    pub(super) fn stage_roll_back_to(&mut self, level: usize) {
        self.staged().for_each(|source| source.roll_back_to(level));
        if let Some(staging) = &mut self.staging {
            staging.stale = true;
        }
    }

    /// The statement that ran is given up.
    pub(super) fn stage_interrupt(&self) {
        self.staged().for_each(|source| source.interrupt());
    }

    /// A statement of the transaction may be done again on what others have committed since.
    pub(in crate::engine) fn may_begin_again(&self) -> bool {
        !self.transaction.repeats_reads()
    }

    fn staged(&self) -> impl Iterator<Item = &Arc<dyn sources::Staging>> {
        self.staging.iter().flat_map(|staging| &staging.sources)
    }

    /// The transaction has changed a lake: what it reads there is nobody else's yet.
    pub(in crate::engine) fn has_changes(&self) -> bool {
        self.staging.as_ref().is_some_and(|staging| staging.changed().next().is_some())
    }

    /// All or nothing becomes everybody's; returns once this session sees it too. Whoever stops waiting leaves it going on,
    /// and the transaction over ([`Session::fail`]).
    pub(super) async fn commit_staged(&mut self) -> Result<()> {
        self.refresh().await?;
        let (judges, asked) = (self.judges(), self.identity.asked.take());
        let Some(staging) = self.staging.take() else { return Ok(()) };
        staging.has_one_catalog()?;
        let Some(changed) = staging.changed().next().cloned() else { return Ok(()) };
        if !judges.still_give(&asked) {
            return Err(super::policy_changed());
        }
        let before = self.engine.world();
        self.committing = true;
        let committed = tokio::spawn(async move { changed.commit().await }).await;
        self.committing = false;
        committed.unwrap_or_else(|error| Err(Error::internal(format!("a commit did not end: {error}"))))?;
        if staging.reshaped {
            self.engine.current.replaced(&before, super::SEE_OWN_CHANGE).await;
        }
        Ok(())
    }
}
