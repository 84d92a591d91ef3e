//! The world in force: one catalog and one policy that were bound to each other, swapped as one `Arc<World>`. Nobody but
//! `builder` builds or swaps one.

mod builder;
mod faults;
mod look;
mod refresh;
mod staged;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;

use crate::catalog::file::SourceFile;
use crate::catalog::visible::Sight;
use crate::catalog::{self, Catalog, Entry, Fault};
use crate::error::{Error, Kind, Result};
use crate::metastore::Metastore;
use crate::policy::{self, Policies, Principal, SessionPolicy};
use crate::reflection::Reflections;
use crate::secret::Secret;
use crate::sources::Source;

pub use builder::Builder;

/// One catalog and one policy that were bound to each other.
#[derive(Debug)]
pub struct World {
    pub catalog: Arc<Catalog>,
    pub policies: Arc<Policies>,
    /// Every source of the catalog, those without a schema yet included.
    pub sources: Vec<Arc<dyn Source>>,
    /// What the source files say: an offset means something in one cluster only.
    pub(crate) source_files: u64,
    /// Stored equals of queries over its tables.
    pub(crate) reflections: Arc<Reflections>,
    /// One transaction's own, with what it has changed.
    pub(crate) is_staged: bool,
    made_of: Arc<staged::MadeOf>,
    /// What those see who are looking now, by user and roles.
    sights: Mutex<HashMap<Rights, Weak<Sight>>>,
}

/// Who asks, for whom, and the roles whose rights the session has.
type Rights = (Principal, Vec<Arc<str>>);

impl World {
    /// The same, to be changed in a part.
    fn again(&self) -> Self {
        Self {
            catalog: Arc::clone(&self.catalog),
            policies: Arc::clone(&self.policies),
            sources: self.sources.clone(),
            source_files: self.source_files,
            reflections: Arc::clone(&self.reflections),
            is_staged: self.is_staged,
            made_of: Arc::clone(&self.made_of),
            sights: Mutex::default(),
        }
    }

    /// For what the server reads for itself: the same tables and `beside`, and nothing that is stored answers for them.
    pub(crate) fn for_server(&self, beside: impl IntoIterator<Item = Entry>) -> Self {
        let mut catalog = Arc::clone(&self.catalog);
        for entry in beside {
            Arc::make_mut(&mut catalog).entries.insert(entry.object.name.clone(), entry);
        }
        Self { catalog, reflections: Arc::default(), ..self.again() }
    }

    /// What outlives the process; `None` for a world that is only looked at.
    pub(crate) fn metastore(&self) -> Option<&Arc<Metastore>> {
        self.made_of.origin.metastore.as_ref()
    }

    /// What a session sees of the catalog, made once for all that have the same rights.
    pub(crate) fn sight(&self, policy: &SessionPolicy) -> Arc<Sight> {
        let rights = (policy.principal().clone(), policy.closure().to_vec());
        let lock = || self.sights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = lock().get(&rights).and_then(Weak::upgrade) {
            return made;
        }
        // made outside of the lock: two may make the same
        let made = Arc::new(Sight::of(&self.catalog, &self.policies, policy));
        let mut sights = lock();
        sights.retain(|_, sight| sight.strong_count() > 0);
        sights.insert(rights, Arc::downgrade(&made));
        made
    }

    /// Sources whose tables can be made.
    pub(crate) fn lakes(&self) -> Vec<Arc<dyn crate::sources::Writer>> {
        let mut seen = std::collections::BTreeSet::new();
        let mounted = self.sources.iter().filter(|s| seen.insert(s.name().to_string()));
        mounted.filter_map(|s| s.writer()).collect()
    }
}

/// The world in force; a statement takes it once.
#[derive(Debug)]
pub struct Current {
    world: watch::Sender<Arc<World>>,
    faults: watch::Sender<Arc<Vec<Fault>>>,
    /// Sources that sessions want looked at.
    wanted: refresh::Wanted,
}

impl Current {
    pub fn new(world: Arc<World>) -> Self {
        let faults = Arc::new(world.catalog.left_out.clone());
        Self {
            world: watch::Sender::new(world),
            faults: watch::Sender::new(faults),
            wanted: refresh::Wanted::default(),
        }
    }

    pub fn get(&self) -> Arc<World> {
        Arc::clone(&self.world.borrow())
    }

    /// Why the files as they are, or parts of the sources as they are, are not in force now. Empty when all is.
    pub fn faults(&self) -> Arc<Vec<Fault>> {
        Arc::clone(&self.faults.borrow())
    }

    /// Returns once another world than `old` is in force, at once where one is already, and after `at_most` in any case:
    /// whoever waits for a change takes the world as it is then.
    pub(crate) async fn replaced(&self, old: &Arc<World>, at_most: Duration) {
        let mut worlds = self.world.subscribe();
        let other = worlds.wait_for(|world| !Arc::ptr_eq(world, old));
        // neither the time that ran out nor a sender that went is told: the world is looked at again either way
        let _ = tokio::time::timeout(at_most, other).await;
    }

    /// Returns when the source has been asked for its tables again and what it has is in force. 08006 where it does not
    /// answer.
    pub(crate) async fn refresh(&self, source: &str) -> Result<()> {
        self.wanted.refresh(source).await
    }

    fn swap(&self, world: Arc<World>) {
        self.world.send_replace(world);
    }

    /// An equal world that is another one.
    #[cfg(test)]
    pub(super) fn publish_again(&self) {
        self.swap(Arc::new(self.get().again()));
    }

    /// The same world with these.
    #[cfg(test)]
    pub(super) fn reflect(&self, reflections: Reflections) {
        let reflections = Arc::new(reflections);
        self.swap(Arc::new(World { reflections, ..self.get().again() }));
    }

    fn tell(&self, faults: Vec<Fault>) {
        self.faults.send_replace(Arc::new(faults));
    }
}

/// How a source file becomes a source; the server gives it the metastore and whatever else a kind needs.
pub type Connect = Box<dyn Fn(&SourceFile) -> Result<Arc<dyn Source>> + Send + Sync>;

/// Where the files are, and what binding needs.
pub struct Origin {
    pub catalog_dir: PathBuf,
    pub policies_dir: PathBuf,
    pub database: String,
    /// Of `hash` masks.
    pub mask_key: Secret<Vec<u8>>,
    pub connect: Connect,
    /// Remembers which policy files are in force, so that a restart does not take a dropped table for a typing mistake.
    pub metastore: Option<Arc<Metastore>>,
    /// What comes into force is written there; a dry run only reads.
    pub remember: bool,
    /// How long a policy is looked over a second time before it comes into force.
    pub judge: policy::Config,
}

/// Every fault in one error, for `serve` and `check`.
pub fn refuse(faults: &[Fault]) -> Error {
    let text = faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n");
    Error::new(Kind::Config, text)
}

/// A lake's tables can be made here; the schema names its source.
pub(crate) fn writer(catalog: &Catalog, schema: &str) -> Result<Option<Arc<dyn crate::sources::Writer>>> {
    match catalog.schemas.get(schema) {
        Some(Some(mounted)) if mounted.down => Err(catalog::unreachable_source(mounted.source.name())),
        Some(Some(mounted)) => Ok(mounted.source.writer()),
        Some(None) | None => Ok(None),
    }
}
