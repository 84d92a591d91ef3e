//! Builds worlds: raw schemas → datasets → policies. Files and sources are looked at all the time; what holds together
//! comes into force, anything else leaves the old world and is told of until it is mended.
//!
//! Catalog and policy files that change together come into force together. One thing waits for nothing: a policy that only
//! takes away is in force at once, whatever else is at fault and however long a source takes to answer.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::faults::Faults;
use super::look::{self, ANSWER_MAX, Known, Look, Pauses, tables_differ};
use super::refresh::Asked;
use super::staged::MadeOf;
use super::{Current, Origin, World};
use crate::catalog::build::{Connected, ask, assemble};
use crate::catalog::dataset::Dataset;
use crate::catalog::file::{Draft as CatalogDraft, Folder};
use crate::catalog::{Catalog, Fault, unreachable_source};
use crate::engine::bodies;
use crate::engine::known_columns::KnownColumns;
use crate::engine::reflect::{KeptReflections, reflections};
use crate::error::{Error, Kind};
use crate::policy::compile::{Objects, Policies};
use crate::policy::file::Draft as PolicyDraft;
use crate::policy::judge;
use crate::policy::narrows::narrows;
use crate::policy::watch::{INTERVAL, News, watch};
use crate::reflection::Reflections;
use crate::shutdown::Shutdown;

/// Files and sources are looked at this often: an edit has its effect within a second.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Watches both folders and the sources, and builds worlds.
pub struct Builder {
    origin: Arc<Origin>,
    folder: Arc<Mutex<Folder>>,
    /// In force.
    catalog: Arc<CatalogDraft>,
    connected: Vec<Connected>,
    policy: PolicyDraft,
    policy_warnings: Vec<Fault>,
    /// Of binding them to the tables, as they were told last.
    told: Vec<Fault>,
    known: KnownColumns,
    kept_reflections: KeptReflections,
    generation: u64,
    /// A policy that read well and is not in force: tried again when something changes.
    candidate: Option<Candidate>,
    /// Catalog files that read well and are not in force, as they were last tried.
    tried: Option<Tried>,
    pauses: Pauses,
    /// At most one look at a time.
    looking: JoinSet<Look>,
    /// Left alone by the look under way.
    resting: BTreeSet<String>,
    /// Who waits for the look under way.
    waiting: Vec<Asked>,
    faults: Faults,
    /// Policy files as they change; absent for a dry run.
    news: Option<tokio::sync::watch::Receiver<Option<Arc<News>>>>,
}

struct Candidate {
    draft: PolicyDraft,
    warnings: Vec<Fault>,
    /// One of the files cannot be read, and what it said before stands in its place.
    partial: bool,
    /// For the catalog's files.
    waiting: bool,
}

impl Candidate {
    fn new(draft: &PolicyDraft, warnings: &[Fault], partial: bool) -> Self {
        Self { draft: draft.clone(), warnings: warnings.to_vec(), partial, waiting: false }
    }
}

/// Building again makes sense once one of these is another.
struct Tried {
    files: u64,
    connected: Vec<Connected>,
    policy: u64,
    candidate: Option<u64>,
    policy_files_faulty: bool,
}

/// The name under which the metastore keeps the lines in force.
const IN_FORCE: &str = "policy.in_force";

impl Builder {
    /// Reads everything and builds the first world; every fault of every file.
    pub async fn start(origin: Origin, shutdown: Option<&Shutdown>) -> Result<(Self, World), Vec<Fault>> {
        let origin = Arc::new(origin);
        let catalog = CatalogDraft::read(&origin.catalog_dir);
        let policy = PolicyDraft::read(&origin.policies_dir);
        let (catalog, (policy, policy_warnings)) = match (catalog, policy) {
            (Ok(catalog), Ok(policy)) => (Arc::new(catalog), policy),
            (catalog, policy) => {
                return Err(catalog.err().into_iter().chain(policy.err()).flatten().collect());
            }
        };
        let connected = ask(&catalog, &[], &*origin.connect, &|_| true, ANSWER_MAX).await?;
        let known = KnownColumns::read(origin.metastore.clone(), origin.remember).await;
        let known = known.map_err(|error| {
            let file = origin.policies_dir.display().to_string();
            let text = format!("what columns restricted tables had cannot be read from the metastore: {error}");
            vec![Fault { file, line: 1, column: 1, text }]
        })?;
        let kept_reflections = KeptReflections::read(origin.metastore.clone()).await;
        let news = shutdown.map(|s| watch(origin.policies_dir.clone(), INTERVAL, policy.hash(), s));
        let mut builder = Self {
            folder: Arc::new(Mutex::new(Folder::new(&origin.catalog_dir))),
            origin,
            catalog,
            connected,
            policy,
            policy_warnings,
            told: vec![],
            known,
            kept_reflections,
            generation: 0,
            candidate: None,
            tried: None,
            pauses: Pauses::default(),
            looking: JoinSet::new(),
            resting: BTreeSet::new(),
            waiting: vec![],
            faults: Faults::default(),
            news,
        };
        builder.pauses.note(&builder.connected, &[], &builder.resting);
        let parts =
            builder.assembled(&builder.catalog, &builder.connected, &Catalog::default(), &Default::default())?;
        let (catalog, mut objects, reflections) = parts;
        objects.in_force = in_force(&builder.origin).await;
        let bound = builder.bound(&builder.policy, objects).await?;
        builder.judged(&bound.policies, None).await?;
        builder.policy_warnings.extend(bound.warnings.clone());
        builder.told = bound.warnings;
        let policy = builder.policy.clone();
        let world = builder.world((Arc::new(catalog), Arc::new(reflections)), bound.policies, policy).await;
        builder.generation += 1;
        builder.remember().await;
        Ok((builder, world))
    }

    /// Warnings of the policy files in force, for `lakegate check`.
    pub fn warnings(&self) -> &[Fault] {
        &self.policy_warnings
    }

    /// Sources that did not answer.
    pub fn sources_down(&self) -> Vec<&str> {
        self.connected.iter().filter(|c| c.tables.is_err()).map(|c| c.name.as_str()).collect()
    }

    /// Looks, judges and swaps until `token` ends.
    pub async fn run(mut self, current: Arc<Current>, token: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = token.cancelled() => return,
                _ = ticks.tick() => self.begin_look(&current),
                () = current.wanted.come() => self.begin_look(&current),
                Some(look) = self.looking.join_next() => match look {
                    Ok(look) => {
                        self.looked(look, &current).await;
                        self.answer();
                    }
                    Err(error) => {
                        tracing::error!(error = %error, "a look at the catalog failed");
                        self.waiting.clear();
                    }
                },
                news = changed(&mut self.news) => self.read(news, &current).await,
            }
            self.faults.tell(&current);
        }
    }

    fn begin_look(&mut self, current: &Current) {
        // whoever asks while a look is under way waits for the next one: this one may have passed the source already
        if !self.looking.is_empty() {
            return;
        }
        self.waiting = current.wanted.take();
        for asked in &self.waiting {
            self.pauses.end(&asked.source);
        }
        self.resting = self.pauses.resting();
        let known = Known {
            origin: Arc::clone(&self.origin),
            folder: Arc::clone(&self.folder),
            draft: Arc::clone(&self.catalog),
            connected: self.connected.clone(),
            newer: self.tried.as_ref().map(|t| t.connected.clone()).unwrap_or_default(),
            resting: self.resting.clone(),
        };
        self.looking.spawn(known.look());
    }

    /// Tells those who wait what the look came to.
    fn answer(&mut self) {
        for asked in std::mem::take(&mut self.waiting) {
            let found = self.connected.iter().find(|connected| connected.name == asked.source);
            let is_down = found.is_none_or(|connected| connected.tables.is_err());
            let outcome = match (is_down, self.faults.tables.is_empty()) {
                (true, _) => Err(unreachable_source(&asked.source)),
                (false, true) => Ok(()),
                // what does not fit may be another source's, and is not for everybody
                (false, false) => {
                    let text = format!("what source \"{}\" has now cannot come into force", asked.source);
                    let hint = "The server's log and /readyz say why.";
                    Err(Error::new(Kind::NotInState, text).with_hint(hint))
                }
            };
            asked.tell(outcome);
        }
    }

    // --- policy

    async fn read(&mut self, news: Arc<News>, current: &Current) {
        match news.as_ref() {
            News::Draft(draft, warnings) => {
                self.faults.policy_files.clear();
                self.candidate = Some(Candidate::new(draft, warnings, false));
            }
            News::Faults(faults, rest) => {
                self.faults.policy_files = faults.clone();
                self.candidate = rest.as_ref().map(|draft| Candidate::new(draft, &[], true));
            }
        }
        self.faults.policy.clear();
        if self.candidate.as_ref().is_some_and(|c| c.draft.hash() == self.policy.hash()) {
            self.candidate = None; // back to what is in force
        }
        self.try_candidate(current).await;
    }

    /// Over the catalog in force. With the catalog's files at rest any policy that fits it comes into force; while they
    /// change, or are at fault, only one that takes away: what it gives might be meant for what they will say.
    async fn try_candidate(&mut self, current: &Current) {
        let Some(mut candidate) = self.candidate.take() else { return };
        let world = current.get();
        let files = look::read(&self.origin, &self.folder).await;
        let changing = files.as_ref().is_ok_and(|files| files.hash != self.catalog.hash);
        let at_rest = !candidate.partial && files.is_ok() && !changing;
        candidate.waiting = !at_rest && !candidate.partial;
        match self.over_catalog(&candidate, &world, at_rest).await {
            Ok(Some(bound)) => {
                self.faults.policy.clear();
                let policies = Arc::clone(&bound.policies);
                let same = (Arc::clone(&world.catalog), Arc::clone(&world.reflections));
                let next = self.world(same, Arc::clone(&policies), candidate.draft.clone()).await;
                self.in_force(next, Some((candidate, bound)), current).await;
                if !at_rest && let Err(faults) = self.judged(&policies, Some(&world)).await {
                    self.faults.policy = faults; // it took away, and what it took stays taken
                }
                return;
            }
            Ok(None) if candidate.partial => {}
            Ok(None) => {
                let text = "this edit gives more than the policy in force and waits for the catalog's files, which are \
                            changing or at fault; one that only takes away would not";
                let file = candidate.draft.file().to_string();
                self.faults.policy = vec![Fault { file, line: 1, column: 1, text: text.into() }];
            }
            // what is wrong with a part is told once the whole can be read; and what names new tables, once they are there
            Err(_) if candidate.partial || changing => {}
            Err(faults) => self.faults.policy = faults,
        }
        self.candidate = Some(candidate);
    }

    async fn over_catalog(
        &self,
        candidate: &Candidate,
        world: &Arc<World>,
        at_rest: bool,
    ) -> Result<Option<Bound>, Vec<Fault>> {
        let mut objects = world.catalog.objects();
        objects.in_force = self.policy.prints();
        let bound = self.bound(&candidate.draft, objects).await?;
        if at_rest {
            self.judged(&bound.policies, Some(world)).await?;
            return Ok(Some(bound));
        }
        let (new, old) = (Arc::clone(&bound.policies), Arc::clone(world));
        let less = spawn_blocking(move || narrows(&new, &old.policies, &old.catalog.reads)).await;
        Ok(less.unwrap_or(false).then_some(bound))
    }

    // --- catalog

    async fn looked(&mut self, look: Look, current: &Current) {
        self.faults.catalog_files.clear();
        let (in_force, at_rest) = match look {
            Look::Same(connected) => {
                self.faults.catalog.clear();
                self.tried = None;
                (connected, true)
            }
            Look::Faulty { faults, in_force } => {
                self.faults.catalog_files = faults;
                (in_force, false)
            }
            Look::Newer { draft, connected, in_force } => {
                self.pauses.note(&connected, &self.connected, &self.resting);
                if self.try_files(draft, connected, current).await {
                    return self.try_candidate(current).await;
                }
                (in_force, false)
            }
        };
        self.pauses.note(&in_force, &self.connected, &self.resting);
        let changed = tables_differ(&self.connected, &in_force)
            | self.known.changed().await
            | self.kept_reflections.changed().await;
        self.connected = in_force;
        if changed || !self.faults.tables.is_empty() {
            self.rebuild(current).await;
        }
        if changed || (at_rest && self.candidate.as_ref().is_some_and(|c| c.waiting)) {
            self.try_candidate(current).await;
        }
    }

    /// The files in force over what their sources have now.
    async fn rebuild(&mut self, current: &Current) {
        let world = current.get();
        match self.rebuilt(&world).await {
            Ok((catalog, bound)) => {
                self.faults.tables.clear();
                self.warn(&bound.warnings);
                let next = self.world(catalog, bound.policies, self.policy.clone()).await;
                self.in_force(next, None, current).await;
            }
            Err(faults) => self.faults.tables = faults,
        }
    }

    async fn rebuilt(&self, world: &World) -> Result<(Named, Bound), Vec<Fault>> {
        let parts = self.assembled(&self.catalog, &self.connected, &world.catalog, &world.reflections)?;
        let (catalog, mut objects, reflections) = parts;
        objects.in_force = self.policy.prints();
        Ok(((Arc::new(catalog), Arc::new(reflections)), self.bound(&self.policy, objects).await?))
    }

    /// Files that changed; with a policy that changed, both or neither. `true`: they are in force.
    async fn try_files(&mut self, draft: Arc<CatalogDraft>, connected: Vec<Connected>, current: &Current) -> bool {
        let candidate = self.candidate.take_if(|c| !c.partial);
        let trying = Tried {
            files: draft.hash,
            connected,
            policy: self.policy.hash(),
            candidate: candidate.as_ref().map(|c| c.draft.hash()),
            policy_files_faulty: !self.faults.policy_files.is_empty(),
        };
        if self.tried.as_ref().is_some_and(|tried| tried.is(&trying)) {
            self.candidate = self.candidate.take().or(candidate);
            return false;
        }
        let world = current.get();
        match self.files_over(&draft, &trying, candidate.as_ref(), &world).await {
            Ok((catalog, bound)) => {
                self.faults.catalog.clear();
                self.faults.tables.clear();
                self.faults.policy.clear();
                self.tried = None;
                self.catalog = draft;
                self.connected = trying.connected;
                let policy = candidate.as_ref().map_or(&self.policy, |c| &c.draft).clone();
                let next = self.world(catalog, Arc::clone(&bound.policies), policy).await;
                self.in_force(next, candidate.map(|c| (c, bound)), current).await;
                true
            }
            Err(faults) => {
                self.faults.catalog = faults;
                self.tried = Some(trying);
                self.candidate = self.candidate.take().or(candidate);
                false
            }
        }
    }

    async fn files_over(
        &self,
        draft: &CatalogDraft,
        trying: &Tried,
        candidate: Option<&Candidate>,
        world: &Arc<World>,
    ) -> Result<(Named, Bound), Vec<Fault>> {
        let parts = self.assembled(draft, &trying.connected, &world.catalog, &world.reflections)?;
        let (catalog, mut objects, reflections) = parts;
        if trying.policy_files_faulty {
            let text = "the catalog's files changed and wait for the policy's, which cannot be read";
            let file = self.origin.catalog_dir.display().to_string();
            return Err(vec![Fault { file, line: 1, column: 1, text: text.into() }]);
        }
        objects.in_force = self.policy.prints();
        let policy = candidate.map_or(&self.policy, |c| &c.draft);
        let bound = self.bound(policy, objects).await?;
        if candidate.is_some() {
            self.judged(&bound.policies, Some(world)).await?;
        }
        Ok(((Arc::new(catalog), Arc::new(reflections)), bound))
    }

    // --- the steps of building

    fn assembled(
        &self,
        draft: &CatalogDraft,
        connected: &[Connected],
        previous: &Catalog,
        known: &Reflections,
    ) -> Result<(Catalog, Objects, Reflections), Vec<Fault>> {
        let plan = |dataset: &Dataset, catalog: &Catalog| bodies::raw(dataset, catalog);
        let (mut catalog, objects) = assemble(draft, connected, previous, &self.origin.database, &plan)?;
        let kept = self.kept_reflections.definitions();
        let reflections = reflections(&draft.reflections, kept, &mut catalog, known)?;
        Ok((catalog, objects, reflections))
    }

    async fn bound(&self, draft: &PolicyDraft, mut objects: Objects) -> Result<Bound, Vec<Fault>> {
        objects.baselines = self.known.baselines().clone();
        let (origin, draft, generation) = (Arc::clone(&self.origin), draft.clone(), self.generation + 1);
        let bound = spawn_blocking(move || {
            let (policies, warnings) = Policies::compile(&draft, &objects, &origin.mask_key, generation)?;
            Ok(Bound { policies: Arc::new(policies), warnings })
        });
        bound.await.unwrap_or_else(|error| Err(vec![self.broken(&format!("could not be bound: {error}"))]))
    }

    /// Casbin's word on it, as far as its time goes.
    async fn judged(&self, policies: &Arc<Policies>, old: Option<&Arc<World>>) -> Result<(), Vec<Fault>> {
        let (policies, config) = (Arc::clone(policies), self.origin.judge.clone());
        let old = old.map(|world| Arc::clone(&world.policies));
        let judged = spawn_blocking(move || judge::judge(&policies, old.as_deref(), &config));
        match judged.await {
            Ok(Ok(judgement)) => {
                let judge::Judgement { asked, of, seed, took } = judgement;
                tracing::info!(asked, of, seed, took_ms = took.as_millis() as u64, "casbin agrees");
                Ok(())
            }
            Ok(Err(faults)) => Err(faults),
            Err(error) => Err(vec![self.broken(&format!("could not be judged: {error}"))]),
        }
    }

    fn broken(&self, text: &str) -> Fault {
        Fault { file: self.policy.file().to_string(), line: 1, column: 1, text: text.to_string() }
    }

    /// Of the files in force and what their sources have, but for the policy.
    async fn world(&mut self, (catalog, reflections): Named, policies: Arc<Policies>, policy: PolicyDraft) -> World {
        // before anybody sees it: a column that comes from now on is new
        self.known.restricted(&policies).await;
        World {
            catalog,
            policies,
            sources: self.connected.iter().map(|c| Arc::clone(&c.source)).collect(),
            source_files: source_files(&self.connected),
            reflections,
            is_staged: false,
            made_of: Arc::new(MadeOf {
                origin: Arc::clone(&self.origin),
                catalog: Arc::clone(&self.catalog),
                connected: self.connected.clone(),
                policy,
                baselines: self.known.baselines().clone(),
            }),
            sights: Mutex::default(),
        }
    }

    async fn in_force(&mut self, world: World, policy: Option<(Candidate, Bound)>, current: &Current) {
        self.generation += 1;
        tracing::info!(
            generation = self.generation,
            tables = world.catalog.entries.len(),
            "catalog and policy in force"
        );
        metrics::gauge!(crate::telemetry::metrics::POLICY_GENERATION).set(self.generation as f64);
        current.swap(Arc::new(world));
        let Some((candidate, bound)) = policy else { return };
        self.told.clear();
        self.warn(&bound.warnings);
        self.policy = candidate.draft;
        self.policy_warnings = [candidate.warnings, bound.warnings].concat();
        self.remember().await;
    }

    /// Those that were not told last time: a table that came may bring some.
    fn warn(&mut self, warnings: &[Fault]) {
        for warning in warnings.iter().filter(|w| !self.told.contains(w)) {
            tracing::warn!(%warning, "policy");
        }
        self.told = warnings.to_vec();
    }

    async fn remember(&self) {
        let Some(metastore) = self.origin.metastore.as_ref().filter(|_| self.origin.remember) else { return };
        let mut prints: Vec<u64> = self.policy.prints().into_iter().collect();
        prints.sort_unstable();
        let bytes: Vec<u8> = prints.into_iter().flat_map(u64::to_le_bytes).collect();
        if let Err(error) = metastore.put(IN_FORCE, &bytes).await {
            tracing::warn!(error = %error, "the policy in force could not be remembered");
        }
    }
}

impl Tried {
    fn is(&self, other: &Self) -> bool {
        let of = |t: &Self| (t.files, t.policy, t.candidate, t.policy_files_faulty);
        of(self) == of(other) && !tables_differ(&self.connected, &other.connected)
    }
}

/// What stands in a world but for its policy.
type Named = (Arc<Catalog>, Arc<Reflections>);

/// A policy over the objects it was bound to.
struct Bound {
    policies: Arc<Policies>,
    warnings: Vec<Fault>,
}

/// Never, where nobody watches.
async fn changed(news: &mut Option<tokio::sync::watch::Receiver<Option<Arc<News>>>>) -> Arc<News> {
    if let Some(news) = news {
        while news.changed().await.is_ok() {
            if let Some(now) = news.borrow_and_update().as_ref() {
                return Arc::clone(now);
            }
        }
    }
    std::future::pending().await
}

async fn in_force(origin: &Origin) -> HashSet<u64> {
    let stored = match &origin.metastore {
        Some(metastore) => metastore.get(IN_FORCE).await.ok().flatten().unwrap_or_default(),
        None => vec![],
    };
    stored.as_chunks::<8>().0.iter().map(|print| u64::from_le_bytes(*print)).collect()
}

fn source_files(connected: &[Connected]) -> u64 {
    let mut files: Vec<(&str, u64)> = connected.iter().map(|c| (c.name.as_str(), c.hash)).collect();
    files.sort_unstable();
    xxhash_rust::xxh3::xxh3_64(format!("{files:?}").as_bytes())
}
