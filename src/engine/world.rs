//! Raw schemas → datasets → policies, in that order, swapped as one `Arc<World>` or not at all. Nobody else builds or
//! swaps; on any fault the old world stays and the fault is logged.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;

use super::bodies;
use super::known_columns::KnownColumns;
use crate::catalog::build::{Connected, ask, assemble};
use crate::catalog::dataset::Dataset;
use crate::catalog::file::{Draft as CatalogDraft, Folder, SourceFile};
use crate::catalog::{self, Catalog};
use crate::error::{Error, Kind, Result};
use crate::metastore::Metastore;
use crate::policy::compile::{Objects, Policies};
use crate::policy::file::{Draft as PolicyDraft, Fault};
use crate::policy::watch::{INTERVAL, News, watch};
use crate::secret::Secret;
use crate::shutdown::Shutdown;
use crate::sources::Source;

/// One catalog and one policy that were bound to each other.
#[derive(Debug)]
pub struct World {
    pub catalog: Arc<Catalog>,
    pub policies: Arc<Policies>,
    /// Every source of the catalog, those without a schema yet included.
    pub sources: Vec<Arc<dyn Source>>,
    /// What the source files say: an offset means something in one cluster only.
    pub(crate) source_files: u64,
}

impl World {
    /// Sources whose tables can be made.
    pub(crate) fn lakes(&self) -> Vec<Arc<dyn crate::sources::Writer>> {
        let mut seen = std::collections::BTreeSet::new();
        let mounted = self.sources.iter().filter(|s| seen.insert(s.name().to_string()));
        mounted.filter_map(|s| s.writer()).collect()
    }
}

/// The world in force; a statement takes it once.
#[derive(Debug)]
pub struct Current(RwLock<Arc<World>>);

impl Current {
    pub fn new(world: Arc<World>) -> Self {
        Self(RwLock::new(world))
    }

    pub fn get(&self) -> Arc<World> {
        Arc::clone(&self.0.read().expect("no panic under the lock"))
    }

    fn swap(&self, world: Arc<World>) {
        *self.0.write().expect("no panic under the lock") = world;
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
}

/// A source that has no revision is asked this often; one that is down, with growing pauses up to this.
const ASK_AGAIN: Duration = Duration::from_secs(5);
const DOWN_FIRST: Duration = Duration::from_millis(500);
/// Above every source's own timeout.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Watches both folders and the sources, and builds worlds.
pub struct Builder {
    origin: Origin,
    catalog_folder: Folder,
    catalog: Arc<CatalogDraft>,
    policy: PolicyDraft,
    policy_warnings: Vec<Fault>,
    /// Of binding them to the tables.
    bound_warnings: Vec<Fault>,
    known: KnownColumns,
    connected: Vec<Connected>,
    asked: HashMap<String, (Instant, Duration)>,
    generation: u64,
    /// The last faults that were logged, so that a broken file is told once.
    told: Option<String>,
    /// Policy files as they change; absent for a dry run.
    news: Option<tokio::sync::watch::Receiver<Option<Arc<News>>>>,
    /// The same, to wait at: what it has rung for may still be news to `news`.
    bell: Option<tokio::sync::watch::Receiver<Option<Arc<News>>>>,
    /// A policy that read well and could not be bound: tried again when tables change.
    refused: Option<(PolicyDraft, Vec<Fault>)>,
}

/// The name under which the metastore keeps the hash of the policy in force.
const IN_FORCE: &str = "policy.in_force";

impl Builder {
    /// Reads everything and builds the first world; every fault of every file.
    pub async fn start(origin: Origin, shutdown: Option<&Shutdown>) -> Result<(Self, World), Vec<Fault>> {
        let catalog = CatalogDraft::read(&origin.catalog_dir);
        let policy = PolicyDraft::read(&origin.policies_dir);
        let (catalog, (policy, policy_warnings)) = match (catalog, policy) {
            (Ok(catalog), Ok(policy)) => (catalog, policy),
            (catalog, policy) => {
                return Err(catalog.err().into_iter().chain(policy.err()).flatten().collect());
            }
        };
        let connected = ask(&catalog, &[], &*origin.connect, &|_| true, ANSWER_MAX).await?;
        let in_force = in_force(&origin).await;
        let known = KnownColumns::read(origin.metastore.clone(), origin.remember).await;
        let known = known.map_err(|error| {
            let file = origin.policies_dir.display().to_string();
            let text = format!("what columns restricted tables had cannot be read from the metastore: {error}");
            vec![Fault { file, line: 1, column: 1, text }]
        })?;
        let news = shutdown.map(|s| watch(origin.policies_dir.clone(), INTERVAL, policy.hash(), s));
        let mut builder = Self {
            catalog_folder: Folder::new(&origin.catalog_dir),
            origin,
            catalog: Arc::new(catalog),
            policy,
            policy_warnings,
            bound_warnings: vec![],
            known,
            connected,
            asked: HashMap::new(),
            generation: 0,
            told: None,
            bell: news.clone(),
            news,
            refused: None,
        };
        builder.note_asked();
        let world = builder.build(&Catalog::default(), in_force)?;
        builder.known.restricted(&world.policies).await;
        builder.in_force_now().await;
        Ok((builder, world))
    }

    /// Warnings of the policy files in force, and of what their lines are bound to.
    pub fn warnings(&self) -> Vec<Fault> {
        [self.policy_warnings.as_slice(), &self.bound_warnings].concat()
    }

    /// What policy lines are bound to in the catalog of now.
    pub fn sources_down(&self) -> Vec<&str> {
        self.connected.iter().filter(|c| c.tables.is_err()).map(|c| c.name.as_str()).collect()
    }

    /// Until the policy files say something new, once for each time they do; for ever where nobody watches them.
    pub async fn policy_news_come(&mut self) {
        let comes = match &mut self.bell {
            Some(bell) => bell.changed().await.is_ok(),
            None => false,
        };
        if !comes {
            std::future::pending().await
        }
    }

    /// One look at files and sources; swaps the world where something changed and holds together. Meant to be called
    /// a few times a second, and when policy news come.
    pub async fn step(&mut self, current: &Current) {
        match self.look(&current.get()).await {
            Ok(None) => {}
            Ok(Some(world)) => {
                tracing::info!(
                    generation = self.generation,
                    tables = world.catalog.entries.len(),
                    "catalog and policy in force"
                );
                metrics::gauge!(crate::telemetry::metrics::POLICY_GENERATION).set(self.generation as f64);
                metrics::gauge!(crate::telemetry::metrics::POLICY_STALE).set(0.0);
                self.told = None;
                for warning in &self.bound_warnings {
                    tracing::warn!(%warning, "policy");
                }
                // before anybody sees it: a column that comes from now on is new
                self.known.restricted(&world.policies).await;
                current.swap(Arc::new(world));
                self.in_force_now().await;
            }
            Err(faults) => self.tell(&faults),
        }
    }

    fn tell(&mut self, faults: &[Fault]) {
        let text = faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n");
        if self.told.as_ref() != Some(&text) {
            metrics::gauge!(crate::telemetry::metrics::POLICY_STALE).set(1.0);
            for fault in faults {
                tracing::error!(fault = %fault, "change refused, the old catalog and policy stay in force");
            }
            self.told = Some(text);
        }
    }

    async fn look(&mut self, old: &World) -> Result<Option<World>, Vec<Fault>> {
        let mut changed = false;
        let catalog = self.catalog_folder.read()?;
        if catalog.hash != self.catalog.hash {
            changed = true;
        }
        let mut policy = self.policy_news()?;
        changed |= policy.is_some();
        changed |= self.known.changed().await;
        let due: Vec<String> =
            catalog.sources.iter().filter(|s| self.is_due(&s.name)).map(|s| s.name.clone()).collect();
        let again = |name: &str| due.iter().any(|d| d == name);
        let connected = ask(&catalog, &self.connected, &*self.origin.connect, &again, ANSWER_MAX).await?;
        changed |= tables_differ(&self.connected, &connected);
        let before = std::mem::replace(&mut self.connected, connected);
        self.note_due(&due, &before);
        if !changed {
            return Ok(None);
        }
        if policy.is_none() {
            policy = self.refused.take();
        }
        let old_catalog = std::mem::replace(&mut self.catalog, catalog);
        let old_policy = policy.map(|(draft, warnings)| {
            (std::mem::replace(&mut self.policy, draft), std::mem::replace(&mut self.policy_warnings, warnings))
        });
        match self.build(&old.catalog, Some(old.policies.hash())) {
            Ok(world) => {
                self.refused = None;
                Ok(Some(world))
            }
            Err(faults) => {
                // the next look finds the catalog's change again and says the same once
                self.catalog = old_catalog;
                self.connected = before;
                if let Some((draft, warnings)) = old_policy {
                    let draft = std::mem::replace(&mut self.policy, draft);
                    self.refused = Some((draft, std::mem::replace(&mut self.policy_warnings, warnings)));
                }
                Err(faults)
            }
        }
    }

    fn policy_news(&mut self) -> Result<Option<(PolicyDraft, Vec<Fault>)>, Vec<Fault>> {
        let Some(news) = &mut self.news else { return Ok(None) };
        if !news.has_changed().unwrap_or(false) {
            return Ok(None);
        }
        match news.borrow_and_update().as_deref() {
            None => Ok(None),
            Some(News::Draft(draft, warnings)) => Ok(Some((draft.as_ref().clone(), warnings.clone()))),
            Some(News::Faults(faults)) => Err(faults.clone()),
        }
    }

    fn build(&mut self, previous: &Catalog, in_force: Option<u64>) -> Result<World, Vec<Fault>> {
        let plan = |dataset: &Dataset, catalog: &Catalog| -> Result<SchemaRef> { bodies::raw_schema(dataset, catalog) };
        let (catalog, mut objects) = assemble(&self.catalog, &self.connected, previous, &self.origin.database, &plan)?;
        objects.in_force = in_force;
        objects.baselines = self.known.baselines().clone();
        let (policies, warnings) =
            Policies::compile(&self.policy, &objects, &self.origin.mask_key, self.generation + 1)?;
        self.bound_warnings = warnings;
        self.generation += 1;
        let sources = self.connected.iter().map(|c| Arc::clone(&c.source)).collect();
        let source_files = source_files(&self.connected);
        Ok(World { catalog: Arc::new(catalog), policies: Arc::new(policies), sources, source_files })
    }

    /// Of the catalog of now, for the matrix.
    pub fn objects(world: &World) -> Objects {
        Objects {
            objects: world.catalog.entries.values().map(|e| e.object.as_ref().clone()).collect(),
            schemas: world.catalog.schemas.keys().cloned().collect(),
            ..Objects::default()
        }
    }

    fn is_due(&self, name: &str) -> bool {
        self.asked.get(name).is_none_or(|(at, pause)| at.elapsed() >= *pause)
    }

    fn note_asked(&mut self) {
        let names: Vec<String> = self.connected.iter().map(|c| c.name.clone()).collect();
        self.note_due(&names, &[]);
    }

    /// Pauses grow while a source is down, and are even otherwise.
    fn note_due(&mut self, due: &[String], before: &[Connected]) {
        for c in &self.connected {
            if !due.contains(&c.name) {
                continue;
            }
            let was_down = before.iter().any(|b| b.name == c.name && b.tables.is_err());
            let pause = match (&c.tables, was_down) {
                (Ok(_), _) => ASK_AGAIN,
                (Err(_), false) => DOWN_FIRST,
                (Err(_), true) => {
                    let last = self.asked.get(&c.name).map_or(DOWN_FIRST, |(_, p)| *p);
                    (last * 2).clamp(DOWN_FIRST, ASK_AGAIN)
                }
            };
            if let Err(error) = &c.tables
                && !was_down
            {
                metrics::counter!(crate::telemetry::metrics::SOURCE_ERRORS, "source" => c.name.clone()).increment(1);
                tracing::warn!(source = c.name, error = ?error, "source does not answer, its tables are unreachable");
            }
            self.asked.insert(c.name.clone(), (Instant::now(), pause));
        }
    }

    async fn in_force_now(&self) {
        if let Some(metastore) = &self.origin.metastore
            && self.origin.remember
            && let Err(error) = metastore.put(IN_FORCE, &self.policy.hash().to_le_bytes()).await
        {
            tracing::warn!(error = %error, "the policy in force could not be remembered");
        }
    }
}

async fn in_force(origin: &Origin) -> Option<u64> {
    let stored = origin.metastore.as_ref()?.get(IN_FORCE).await.ok()??;
    Some(u64::from_le_bytes(stored.try_into().ok()?))
}

/// New snapshots of the same table do not make a new world: a statement pins the newest by itself.
fn tables_differ(old: &[Connected], new: &[Connected]) -> bool {
    let shape = |c: &Connected| {
        let tables = c.tables.as_ref().ok()?;
        let mut all: Vec<_> = tables
            .iter()
            .map(|t| (t.identity(), t.name().clone(), t.schema(), t.column_ids(), t.raw_columns().to_vec()))
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        Some((all, c.schemas.clone()))
    };
    let is_same = |o: &Connected, n: &Connected| match (&o.tables, &n.tables) {
        (Ok(before), Ok(now)) => {
            o.hash == n.hash
                && o.schemas == n.schemas
                && before.len() == now.len()
                && before.iter().zip(now).all(|(b, n)| Arc::ptr_eq(b, n))
        }
        _ => false,
    };
    if old.len() == new.len() && old.iter().zip(new).all(|(o, n)| o.name == n.name && is_same(o, n)) {
        return false; // nobody was asked anew
    }
    old.len() != new.len()
        || old.iter().zip(new).any(|(o, n)| o.name != n.name || o.hash != n.hash || shape(o) != shape(n))
}

fn source_files(connected: &[Connected]) -> u64 {
    let mut files: Vec<(&str, u64)> = connected.iter().map(|c| (c.name.as_str(), c.hash)).collect();
    files.sort_unstable();
    xxhash_rust::xxh3::xxh3_64(format!("{files:?}").as_bytes())
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
