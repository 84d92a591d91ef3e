//! Which reflections may answer a part of a statement, and their counts: those of its tables, at the versions that it is
//! pinned to, or within the staleness that its session allows. What matches is `reflection`'s to say, who may see it
//! `policy`'s.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::logical_plan::TableScan;
use metrics::counter;
use tokio::sync::OnceCell;

use super::Shared;
use super::facts::Facts;
use super::pipeline::Within;
use crate::catalog::reflections;
use crate::error::Result;
use crate::lake::{Added, Part, Reading};
use crate::policy::stored::{Copies, Offers, Replaced, Stand};
use crate::policy::{Guarded, SessionPolicy};
use crate::reflection::block::{self, Definition};
use crate::reflection::copies::{Copied, Place};
use crate::reflection::matching::{Asked, WhyNot, matched};
use crate::reflection::{Reflection, Stored};
use crate::sources::Pinned;
use crate::sql::lower::rollup::SameSettings;
use crate::telemetry::metrics::{REFLECTION_CONSIDERED, REFLECTION_HITS, REFLECTIONS_USED};
use crate::types::{ObjectId, Reads, SnapshotVector, Version};

/// What became of a statement's parts.
#[derive(Debug, Default)]
pub(crate) struct Used {
    /// Reflections of the statement's tables: when each that answers a part was made, or why it does not.
    considered: BTreeMap<String, (Arc<Reflection>, Result<i64, WhyNot>)>,
    /// Copies that were offered; that one answers is known when its table is scanned.
    offered: Vec<(Candidate, Arc<AtomicBool>)>,
    staleness: Option<i64>,
}

impl Used {
    /// Tables are scanned now.
    pub(super) fn settle(&mut self) {
        for (candidate, taken) in std::mem::take(&mut self.offered) {
            match taken.load(Ordering::Relaxed) {
                true => self.taken(&candidate),
                false => self.missed(&candidate.reflection, WhyNot::Lacks),
            }
        }
        for (reflection, outcome) in self.considered.values() {
            match outcome {
                Ok(_) => {
                    reflection.uses.hit();
                    counter!(REFLECTION_HITS, "reflection" => reflection.name.clone()).increment(1);
                }
                Err(why) => reflection.uses.missed(why.to_string()),
            }
            counter!(REFLECTION_CONSIDERED, "reflection" => reflection.name.clone()).increment(1);
        }
        if self.answering().next().is_some() {
            counter!(REFLECTIONS_USED).increment(1);
        }
    }

    /// The oldest part is behind its tables by so much, in microseconds; `None`: each is exact.
    pub(crate) fn staleness(&self) -> Option<i64> {
        self.staleness
    }

    /// Names of those that answer.
    pub(crate) fn answering(&self) -> impl Iterator<Item = String> {
        self.considered.iter().filter(|(_, (_, outcome))| outcome.is_ok()).map(|(name, _)| name.clone())
    }

    /// Those that answer, and when each was made.
    pub(crate) fn answered(&self) -> impl Iterator<Item = (&Reflection, i64)> {
        self.considered.values().filter_map(|(reflection, outcome)| Some((&**reflection, *outcome.as_ref().ok()?)))
    }

    /// Why others do not, for whoever sees all of the tables that they read.
    pub(crate) fn why_not(&self, policy: &SessionPolicy) -> Vec<String> {
        let told = self.considered.values().filter(|(reflection, _)| sees_all(policy, reflection));
        let why = told.filter_map(|(reflection, outcome)| match outcome {
            Ok(_) => None,
            Err(why) => Some(format!("{}: {why}", reflection.name)),
        });
        why.collect()
    }

    fn taken(&mut self, candidate: &Candidate) {
        let reflection = &candidate.reflection;
        self.considered.insert(reflection.name.clone(), (Arc::clone(reflection), Ok(candidate.stored.as_of)));
        self.staleness = self.staleness.max(candidate.staleness);
    }

    /// One that answers another part of the statement has been of use.
    fn missed(&mut self, reflection: &Arc<Reflection>, why: WhyNot) {
        if !matches!(self.considered.get(&reflection.name), Some((_, Ok(_)))) {
            self.considered.insert(reflection.name.clone(), (Arc::clone(reflection), Err(why)));
        }
    }
}

/// Settings that functions follow, as a refresh has them; and names of its time zone.
const OF_REFRESH: &str = "UTC|ISO, MDY|postgres|hex|1|";
const ZONES: [&str; 5] = ["UTC", "Etc/UTC", "GMT", "Etc/GMT", "UCT"];

pub(super) fn same_settings(fingerprint: &str) -> SameSettings {
    let zone = fingerprint.split('|').next().unwrap_or_default();
    match () {
        () if fingerprint.starts_with(OF_REFRESH) => SameSettings::All,
        () if ZONES.contains(&zone) => SameSettings::TimeZone,
        () => SameSettings::None,
    }
}

/// `guarded` with what is stored in the place of what is computed. `versions`: what the statement is pinned to.
pub(super) fn with_stored(
    guarded: Guarded,
    facts: &Facts,
    (versions, grown): (&SnapshotVector, &Grown),
    within: &Within,
) -> Result<(Guarded, Used)> {
    let mut used = Used::default();
    if !facts.uses_reflections {
        return Ok((guarded, used));
    }
    let tables: BTreeSet<ObjectId> = guarded.opened().iter().map(|object| object.id).collect();
    let mut candidates: Vec<Candidate> = vec![];
    for reflection in tables.iter().flat_map(|table| facts.world.reflections.of(*table)) {
        if candidates.iter().any(|known| Arc::ptr_eq(&known.reflection, reflection)) {
            continue;
        }
        let since = grown.get(&reflection.name);
        match current(reflection, facts, (versions, since), within) {
            Ok((stored, staleness, since)) => {
                candidates.push(Candidate { reflection: Arc::clone(reflection), stored, staleness, since });
            }
            Err(why) => used.missed(reflection, why),
        }
    }
    if candidates.is_empty() {
        return Ok((guarded, used));
    }
    candidates.sort_by_key(Candidate::rows);
    let search =
        Search { candidates: &candidates, same: same_settings(&facts.settings_fingerprint), used: RefCell::new(used) };
    let offers = Offers {
        parts: &|node| search.parts(node),
        rows: &|scan| search.rows(scan),
        taken: &|name| search.named(name).into_iter().for_each(|c| search.used.borrow_mut().taken(c)),
        refused: &|name, why| search.missed(name, WhyNot::Right(why.words())),
    };
    let guarded = guarded.with_stored(&offers)?;
    Ok((guarded, search.used.into_inner()))
}

#[derive(Clone, Debug)]
struct Candidate {
    reflection: Arc<Reflection>,
    stored: Arc<Stored>,
    /// In microseconds, where it is not of the statement's versions.
    staleness: Option<i64>,
    /// Rows that its table has got since.
    since: Option<Since>,
}

impl Candidate {
    fn definition(&self) -> Option<&Definition> {
        self.reflection.definition.as_ref()
    }

    fn rows(&self) -> u64 {
        self.stored.rows + self.since.as_ref().map_or(0, |since| since.rows)
    }
}

/// Rows of a lake's table that came after a reflection was refreshed, where nothing else happened to it.
#[derive(Clone)]
pub(super) struct Since {
    provider: Arc<dyn TableProvider>,
    reads: Reads,
    rows: u64,
}

impl std::fmt::Debug for Since {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Since").field("rows", &self.rows).finish_non_exhaustive()
    }
}

/// What is stored, and what came since; `None`: the same rows in other files. A refresh may put something else into the slot
/// meanwhile, and these rows are not what came since that.
type Late = (Arc<Stored>, Option<Since>);

/// Of the reflections of which that is so, by their names.
pub(super) type Grown = HashMap<String, Late>;

/// A table, and two of its snapshots.
type Between = (ObjectId, Option<i64>, Option<i64>);

/// Differences between two snapshots of a table, which stay what they are.
type Differences = HashMap<Between, Arc<OnceCell<Option<Arc<Added>>>>>;

/// Those that were asked for lately.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<Differences>);

const KNOWN_MAX: usize = 256;
/// Snapshots between a refresh and a statement that are looked at for the statement.
const STEPS_MAX: usize = 64;
/// A statement waits no longer for a difference.
const LOOK_MAX: Duration = Duration::from_secs(3);

/// Whether something in a plan could be answered by stored groups.
pub(super) fn asks_groups(plan: &LogicalPlan) -> Result<bool> {
    let mut asks = false;
    plan.apply_with_subqueries(|node| {
        asks |= matches!(node, LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_));
        Ok(if asks { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(asks)
}

/// Whether what it stores is groups, which answer nothing else.
fn stores_groups(reflection: &Reflection) -> bool {
    let mut plan = &reflection.plan;
    loop {
        plan = match plan {
            LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_) => return true,
            LogicalPlan::Projection(projection) => &projection.input,
            LogicalPlan::SubqueryAlias(named) => &named.input,
            LogicalPlan::Sort(sort) => &sort.input,
            _ => return false,
        };
    }
}

/// What tables of lakes have got since the reflections that are behind them were refreshed. `tables`: as the statement sees
/// them; `asks_groups`: see there.
pub(super) async fn grown(
    shared: &Shared,
    facts: &Facts,
    tables: &HashMap<ObjectId, Pinned>,
    asks_groups: bool,
) -> Grown {
    let mut grown = Grown::new();
    for (id, pinned) in tables {
        let (Version::Snapshot(now), Some(reading)) = (&pinned.version, pinned.provider.downcast_ref::<Reading>())
        else {
            continue;
        };
        for reflection in facts.world.reflections.of(*id).iter().filter(|r| r.enabled && r.bases == [*id]) {
            let Some(stored) = reflection.stored.get() else { continue };
            let Some(Version::Snapshot(since)) = stored.bases.get(id).cloned() else { continue };
            if since == *now || !asks_groups && stores_groups(reflection) {
                continue;
            }
            let (lake, table) = (Arc::clone(reading.lake()), reading.table().clone());
            // file lists are long: none is walked on the threads of the doors
            let look = Box::pin(async move { lake.added_within(&table, since, STEPS_MAX).await });
            match shared.differences.found((*id, since, *now), shared.lanes.run(look)).await {
                Ok(None) => {}
                Ok(Some(added)) if added.files.is_empty() => {
                    grown.insert(reflection.name.clone(), (stored, None));
                }
                Ok(Some(added)) => {
                    let part = reading.part(Part::of_files(added.files.iter().cloned()));
                    let (reads, rows) = (part.reads(), added.rows);
                    let since = Since { provider: Arc::new(part), reads, rows };
                    grown.insert(reflection.name.clone(), (stored, Some(since)));
                }
                // the table itself may answer
                Err(error) => tracing::debug!(reflection = reflection.name, %error, "no difference was found"),
            }
        }
    }
    grown
}

impl Known {
    /// One statement looks and others wait for what it finds. What failed is looked for again; what took too long is not,
    /// since the next statement would wait as long.
    async fn found(
        &self,
        between: Between,
        look: impl Future<Output = Result<Option<Added>>>,
    ) -> Result<Option<Arc<Added>>> {
        let cell = self.cell(between);
        let look = async { look.await.map(|found| found.map(Arc::new)) };
        match tokio::time::timeout(LOOK_MAX, cell.get_or_try_init(|| look)).await {
            Ok(found) => found.cloned(),
            Err(_) => {
                // another one may look by now, and finds what it finds
                let _ = cell.set(None);
                Ok(None)
            }
        }
    }

    fn cell(&self, between: Between) -> Arc<OnceCell<Option<Arc<Added>>>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX && !known.contains_key(&between) {
            known.clear();
        }
        Arc::clone(known.entry(between).or_default())
    }
}

/// What is stored, by how many microseconds it is behind, and what came since.
type Current = (Arc<Stored>, Option<i64>, Option<Since>);

/// What is stored, if it may answer a statement that sees these versions.
fn current(
    reflection: &Reflection,
    facts: &Facts,
    (versions, grown): (&SnapshotVector, Option<&Late>),
    within: &Within,
) -> Result<Current, WhyNot> {
    if !reflection.enabled {
        return Err(WhyNot::Disabled);
    }
    let (stored, since) = match grown {
        Some((stored, since)) => (Arc::clone(stored), Some(since)),
        None => (reflection.stored.get().ok_or(WhyNot::NotRefreshed)?, None),
    };
    let mut why = None;
    for base in &reflection.bases {
        // of a table that the statement does not read nothing but the others' rows is asked
        let Some(now) = versions.get(base) else { continue };
        match (now, stored.bases.get(base)) {
            // it was made of a table that had the name before: another one's rows are never late
            (_, None) => return Err(WhyNot::Behind),
            // a version that cannot be told from another one is never the same
            (Version::Live, Some(_)) => why = Some(WhyNot::Live),
            (now, Some(then)) if now == then => {}
            (_, Some(_)) => why = why.or(Some(WhyNot::Behind)),
        }
    }
    let Some(why) = why else { return Ok((stored, None, None)) };
    if let Some(since) = since {
        return Ok((stored, None, since.clone()));
    }
    // one transaction's statements see one moment, and what it has changed
    let Some(bound) = within.max_staleness_ms().filter(|_| !facts.world.is_staged) else {
        return Err(why);
    };
    let staleness = super::micros_now().saturating_sub(stored.as_of).max(0);
    match staleness <= bound.saturating_mul(1_000) {
        true => Ok((stored, Some(staleness), None)),
        false => Err(WhyNot::TooOld),
    }
}

struct Search<'a> {
    /// Those with the fewest rows first.
    candidates: &'a [Candidate],
    same: SameSettings,
    used: RefCell<Used>,
}

impl<'a> Search<'a> {
    fn parts(&self, node: &LogicalPlan) -> Vec<Stand> {
        match node {
            LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_) => {
                block::block(node).map(|query| self.stands(&Asked::Groups(&query), node)).unwrap_or_default()
            }
            _ if !self.stores_joined_rows() => vec![],
            _ => match block::rows(node) {
                Some(query) if query.tables.len() > 1 => self.stands(&Asked::Rows(&query), node),
                Some(_) | None => vec![],
            },
        }
    }

    fn stores_joined_rows(&self) -> bool {
        self.candidates.iter().filter_map(Candidate::definition).any(|definition| match definition {
            Definition::Display(rows) => rows.tables.len() > 1,
            Definition::Groups { .. } => false,
        })
    }

    fn stands(&self, asked: &Asked<'_>, node: &LogicalPlan) -> Vec<Stand> {
        let mut found = vec![];
        for candidate in self.candidates {
            let reads = |id: &ObjectId| asked.rows().tables.iter().any(|table| table.id == *id);
            if !candidate.reflection.bases.iter().any(reads) {
                continue;
            }
            match self.stand(candidate, asked, node) {
                Ok(stand) => found.push(stand),
                Err(WhyNot::Kind) => {}
                Err(why) => self.missed(&candidate.reflection.name, why),
            }
        }
        for larger in found.iter().skip(1) {
            self.missed(&larger.name, WhyNot::Larger);
        }
        found
    }

    /// Those of one table alone.
    fn over(&self, table: ObjectId) -> impl Iterator<Item = &'a Candidate> {
        self.candidates.iter().filter(move |candidate| candidate.reflection.bases == [table])
    }

    fn stand(&self, candidate: &Candidate, asked: &Asked<'_>, node: &LogicalPlan) -> Result<Stand, WhyNot> {
        let (reflection, stored) = (&candidate.reflection, &candidate.stored);
        let definition = candidate.definition().ok_or(WhyNot::Definition)?;
        let columns = reflection.plan.schema();
        let answer = matched(asked, definition, columns, &stored.lossless, self.same)?;
        let schema = stored.provider.schema();
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        if names.len() < columns.fields().len() {
            return Err(WhyNot::Form);
        }
        let dimensions = answer.dimensions.iter().filter_map(|(at, of)| Some((names.get(*at)?.clone(), of.clone())));
        let dimensions = dimensions.collect();
        let tables = asked.rows().tables.iter().filter_map(|table| {
            Some(Replaced {
                scan: table.scan.table_name.clone(),
                named: block::qualifier(table.id),
                of: answer.reads.get(&table.id)?.clone(),
                is_padded: answer.padded.contains(&table.id),
            })
        });
        let tables = tables.collect();
        let read = answer.columns.iter().filter_map(|at| names.get(*at).cloned()).collect();
        let (schema, instead_of) = (Arc::clone(columns), node.clone());
        Ok(Stand {
            name: reflection.name.clone(),
            tables,
            provider: Arc::clone(&stored.provider),
            reads: Arc::clone(&stored.reads),
            since: candidate.since.as_ref().map(|since| (Arc::clone(&since.provider), Arc::clone(&since.reads))),
            dimensions,
            columns: read,
            plan: Box::new(move |input, since| answer.plan(input, since, &names, &schema, &instead_of)),
        })
    }

    fn rows(&self, scan: &TableScan) -> Option<Copies> {
        let table = block::table_of(scan)?;
        let mut places = vec![];
        let mut reads = vec![];
        for candidate in self.over(table) {
            if let Some(Definition::Display(rows)) = candidate.definition() {
                let stored = &candidate.stored;
                let since = candidate.since.as_ref().map(|since| Arc::clone(&since.provider));
                let place = Place::new(Arc::clone(&stored.provider), since, candidate.rows(), (table, rows));
                self.used.borrow_mut().offered.push((candidate.clone(), place.taken()));
                places.push(place);
                reads.push((candidate.reflection.name.clone(), Arc::clone(&stored.reads)));
                let since = candidate.since.as_ref().map(|since| Arc::clone(&since.reads));
                reads.extend(since.map(|since| (candidate.reflection.name.clone(), since)));
            }
        }
        let over = move |raw| Arc::new(Copied::new(raw, places.clone())) as _;
        (!reads.is_empty()).then(|| Copies { reads, over: Box::new(over) })
    }

    fn named(&self, name: &str) -> Option<&Candidate> {
        self.candidates.iter().find(|candidate| candidate.reflection.name == name)
    }

    fn missed(&self, name: &str, why: WhyNot) {
        if let Some(candidate) = self.named(name) {
            self.used.borrow_mut().missed(&candidate.reflection, why);
        }
    }
}

fn sees_all(policy: &SessionPolicy, reflection: &Reflection) -> bool {
    reflections::sees_all(policy, reflection.bases.iter().copied())
}

#[cfg(test)]
mod tests;
