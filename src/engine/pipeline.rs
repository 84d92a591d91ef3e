//! One query's life, nine verbs: parse → admit → plan → bind → pin → guard → substitute → optimize → run. Parsing and
//! admitting are `prepare`'s half; the rest is done anew at each execution, under the policy of now.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigNonZeroUsize;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::Optimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::sqlparser::ast::Query;
use futures::future::try_join_all;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::advice::Parts;
use super::deep::Deep;
use super::facts::{Facts, set_planning};
use super::fingerprint::Question;
use super::language::{self, Understood};
use super::notice::Notice;
use super::pace::pace;
use super::provenance::Seen;
use super::resolver::{Reached, Resolver};
use super::run::{self, Bounds};
use super::source_query::{Described, Text};
use super::statement::{self, Changes, Changing};
use super::stop::Stop;
use super::stored::{self, Used};
use super::{Limits, Shared, advice, checkpoints, functions, held, limits, once, parameters};
use crate::catalog::{Body, Entry};
use crate::error::{Error, Kind, Result};
use crate::lake::{Freshness, Reach, Tail, Tailed};
use crate::policy::guard::{OpenedObject, Opening, Pins};
use crate::policy::{Action, Decision, Guarded, Sealed, guard};
use crate::reflection::results::{Answer, Flight, Found, Key};
use crate::sources::{Base, Pinned, Table};
use crate::sql::parse::change::Change;
use crate::types::{ObjectId, SnapshotVector, Version};

/// A query planned over sealed scans, for one world and one set of settings.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) facts: Arc<Facts>,
    pub(crate) plan: Arc<Deep<LogicalPlan>>,
    pub(crate) reached: Arc<Deep<Reached>>,
    /// Types of `$1 …`.
    pub(crate) parameters: Vec<FieldRef>,
    /// Result columns by PostgreSQL's names.
    pub(crate) columns: SchemaRef,
    /// Of a statement that changes rows: what its rows are for.
    pub(crate) change: Option<Changing>,
}

/// A guarded query, and where its rows come from.
pub(crate) struct Ready {
    pub(crate) rows: Origin,
    pub(crate) columns: SchemaRef,
    pub(crate) guarded: Deep<Guarded>,
    /// What the audit line says of the result cache.
    pub(crate) cache: &'static str,
    pub(crate) used: Used,
    /// The versions that it sees of its tables, of which its session may not know each.
    pub(crate) saw: Vec<Seen>,
    /// What it computes that a reflection could hold.
    pub(crate) parts: Parts,
    pub(crate) changes: Option<Box<Changes>>,
    /// What its client is to be told besides.
    pub(crate) notices: Vec<Notice>,
}

/// Where rows come from.
pub(crate) enum Origin {
    /// The answer of an equal query over the same snapshots, under the same rights; or one that needs no snapshot.
    Stored(Arc<Answer>),
    /// An optimised, verified plan; with a flight, what comes of it is kept.
    Plan { physical: Deep<Arc<dyn ExecutionPlan>>, state: Box<SessionState>, flight: Option<Flight> },
}

/// What a statement may have of the result cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caching {
    /// An answer from there, and its own kept there.
    On,
    /// The session wants none of it.
    Off,
    /// Not a statement of a kind that is kept.
    Never,
}

/// plan: names resolve to sealed tables, parameters get types. Where it meets a text that a source is to run, the source
/// describes it, and it begins again.
pub(crate) async fn plan(shared: &Shared, facts: &Arc<Facts>, asked: Asked) -> Result<Planned> {
    let (asked, mut described) = (Arc::new(asked), Described::default());
    loop {
        let (of, asked, known) = (Arc::clone(facts), Arc::clone(&asked), described.clone());
        let limits = shared.config.statement.clone();
        let step = shared.planner.run(move |_, runtime| plan_now(of, &asked, &known, &limits, runtime)).await?;
        match step {
            Step::Planned(planned) => return Ok(*planned),
            Step::Wants(text) => described = Box::pin(described.with(text, facts)).await?,
        }
    }
}

/// How far planning came.
enum Step {
    Planned(Box<Planned>),
    Wants(Text),
}

/// A query as it came.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) what: What,
    pub(crate) told: Told,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one a statement, and not for long")]
pub(crate) enum What {
    Query(Deep<Query>),
    Change(Deep<Change>),
}

/// What is known of a query beside its tree.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// What it was parsed from; empty where that is gone.
    pub(crate) text: Arc<str>,
    /// Types of `$1 …` as far as the client gave them.
    pub(crate) declared: Vec<Option<FieldRef>>,
    /// Columns that the rows are stored in; empty for rows that are shown.
    pub(crate) into: Vec<FieldRef>,
}

fn plan_now(
    facts: Arc<Facts>,
    asked: &Asked,
    described: &Described,
    limits: &Limits,
    runtime: &Handle,
) -> Result<Step> {
    let state = facts.statement_state(None);
    let resolver = Resolver::of_session(&facts, &state, runtime).with_described(described);
    let (understood, change, then) = match understood(&facts, asked, &resolver, &state, limits) {
        Ok(understood) => understood,
        Err(error) => return resolver.wanted().map(Step::Wants).ok_or(error),
    };
    let Understood { plan, parameters, columns } = understood;
    let reached = resolver.reached();
    limits::check_plan(&plan, &reached.bodies, limits)?;
    if columns.fields().len() > limits.columns_max {
        let text = format!("target lists can have at most {} entries", limits.columns_max);
        return Err(Error::new(Kind::TooManyColumns, text));
    }
    let then = then.map(|then| returning(then, &reached, &facts, limits)).transpose()?;
    let change = change.map(|change| Changing { then, ..change });
    let (plan, reached) = (Arc::new(Deep::new(plan)), Arc::new(Deep::new(reached)));
    Ok(Step::Planned(Box::new(Planned { plan, reached, parameters, columns, change, facts })))
}

/// RETURNING by itself. Where it reads no table besides what its statement has changed, there is nothing to look at for it.
fn returning(then: Understood, reached: &Reached, facts: &Arc<Facts>, limits: &Limits) -> Result<Arc<Planned>> {
    let Understood { plan, parameters, columns } = then;
    limits::check_plan(&plan, &reached.bodies, limits)?;
    let mut reads = false;
    plan.apply_with_subqueries(|node| {
        let LogicalPlan::TableScan(scan) = node else { return Ok(TreeNodeRecursion::Continue) };
        reads = scan.source.downcast_ref::<Sealed>().is_none_or(|sealed| sealed.object_id().is_some());
        Ok(if reads { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    let reached = if reads { reached.clone() } else { Reached::default() };
    let (plan, reached) = (Arc::new(Deep::new(plan)), Arc::new(Deep::new(reached)));
    Ok(Arc::new(Planned { plan, reached, parameters, columns, change: None, facts: Arc::clone(facts) }))
}

fn understood(
    facts: &Arc<Facts>,
    Asked { what, told }: &Asked,
    resolver: &Resolver<'_>,
    state: &SessionState,
    limits: &Limits,
) -> Result<(Understood, Option<Changing>, Option<Understood>)> {
    let query = match what {
        What::Query(query) => query,
        What::Change(change) => change.parts.as_ref(),
    };
    limits::check_expansion(query, limits, &|name| resolver.columns_of(name))?;
    match what {
        What::Query(query) => Ok((language::understand(resolver, query, told, state)?, None, None)),
        What::Change(change) => {
            let (target, goal) = statement::goal(facts, change).map_err(|e| match told.text.is_empty() {
                false if e.kind() == Kind::UndefinedTable => e.at(change.shape.at),
                _ => e,
            })?;
            let (understood, layout, then) = language::understand_change(resolver, change, &target, told, state)?;
            Ok((understood, Some(Changing { layout, goal, then: None }), then))
        }
    }
}

/// bind → pin → guard → substitute → optimize: everything between a planned query and its rows.
pub(crate) async fn ready(
    shared: &Shared,
    planned: &Planned,
    values: Vec<ScalarValue>,
    caching: Caching,
    within: &Within,
    bounds: &Bounds,
) -> Result<Ready> {
    let base = match planned.change.as_ref().filter(|change| change.needs_base()).and_then(|c| c.goal.object()) {
        Some((object, table)) => Some((object, table.base().await?)),
        None => None,
    };
    let (pins, reflected, notices) = pin(shared, planned, base.as_ref(), within).await?;
    let base = base.map(|(_, base)| base);
    let changes = planned.change.clone();
    let changes = changes.map(|change| Changes { planned: change, facts: Arc::clone(&planned.facts), base });
    let changes = changes.map(Box::new);
    let saw = saw(planned, pins.vector());
    let (pins, columns) = (Arc::new(pins), Arc::clone(&planned.columns));
    let Judged { guarded, key, asks_groups } = guarded(shared, planned, values, &pins, caching).await?;
    let (cache, flight) = match substitute(shared, key).await {
        Some(Found::Stored(answer)) => {
            let used = Used::default();
            let rows = Origin::Stored(answer);
            let parts = Parts::default();
            return Ok(Ready { rows, columns, guarded, cache: "hit", used, saw, parts, changes, notices });
        }
        Some(Found::Lead(flight)) => ("miss", Some(flight)),
        Some(Found::Alone) => ("miss", None),
        None => (if caching == Caching::Off { "off" } else { "no" }, None),
    };
    // rows are changed where they are
    let grown = match changes.is_none() {
        true => Some(Box::pin(stored::grown(shared, &planned.facts, &reflected, asks_groups)).await),
        false => None,
    };
    let (facts, stop) = (Arc::clone(&planned.facts), bounds.stop());
    let max_staleness_ms = planned.reached.said.bound_ms(facts.max_staleness_ms);
    let within = Within { max_staleness_ms, ..within.clone() };
    let limits = shared.config.statement.clone();
    let work = move |planning: &Stop, runtime: &Handle| {
        let (guarded, mut used) = match grown {
            Some(grown) => stored::with_stored(guarded.into_inner(), &facts, (pins.vector(), &grown), &within)?,
            None => (guarded.into_inner(), Used::default()),
        };
        let guarded = Deep::new(guarded);
        let mut parts = match asks_groups && facts.uses_reflections {
            true => advice::parts(guarded.plan(), stored::same_settings(&facts.settings_fingerprint))?,
            false => vec![],
        };
        let answering = used.answering().count();
        let mut state = facts.statement_state(within.began_at);
        let steps = Steps { planning, runtime, stop: &stop, limits: &limits };
        let physical = steps.physical(&guarded, &mut state, || used.settle())?;
        if used.answering().count() > answering {
            // what is left may be answered by a copy of its rows
            parts.clear();
        }
        let leaves = if parts.is_empty() { vec![] } else { advice::leaves(&physical) };
        let parts = Parts { parts, leaves };
        // what is stored behind its tables is no answer of these versions
        let flight = flight.filter(|_| used.staleness().is_none());
        let rows = match flight {
            // a lock may be awaited for longer than planning may take
            None if run::is_one_row(physical.as_ref()) && !functions::waits(guarded.plan())? => {
                Origin::Stored(runtime.block_on(run::at_once(physical, &state))?)
            }
            flight => Origin::Plan { physical: Deep::new(physical), state: Box::new(state), flight },
        };
        Ok(Ready { rows, columns, guarded, cache, used, saw, parts, changes, notices })
    };
    shared.planner.run(work).await
}

/// guard → optimize of a query of the server's own, over tables as they were pinned for it: nothing of it is cached, and
/// nothing that is stored answers it.
pub(crate) async fn over(shared: &Shared, planned: &Planned, pins: Pins, bounds: &Bounds) -> Result<Ready> {
    let (facts, columns, stop) = (Arc::clone(&planned.facts), Arc::clone(&planned.columns), bounds.stop());
    let (plan, reached) = (Arc::clone(&planned.plan), Arc::clone(&planned.reached));
    let limits = shared.config.statement.clone();
    let work = move |planning: &Stop, runtime: &Handle| {
        let opening = Opening { policy: &facts.policy, pins: &pins, bodies: &reached.bodies };
        let guarded = Deep::new(guard(LogicalPlan::clone(&plan), &opening)?);
        let mut state = facts.statement_state(None);
        let steps = Steps { planning, runtime, stop: &stop, limits: &limits };
        let physical = steps.physical(&guarded, &mut state, || {})?;
        let rows = Origin::Plan { physical: Deep::new(physical), state: Box::new(state), flight: None };
        let used = Used::default();
        let parts = Parts::default();
        Ok(Ready { rows, columns, guarded, cache: "no", used, saw: vec![], parts, changes: None, notices: vec![] })
    };
    shared.planner.run(work).await
}

/// What the last steps of every plan need.
struct Steps<'a> {
    planning: &'a Stop,
    runtime: &'a Handle,
    stop: &'a Stop,
    limits: &'a Limits,
}

impl Steps<'_> {
    /// `scanned`: told when the plan's tables are.
    fn physical(
        &self,
        guarded: &Guarded,
        state: &mut SessionState,
        scanned: impl FnOnce(),
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let physical = self.runtime.block_on(optimize(state, guarded, self.planning))?;
        scanned();
        guarded.verify(&physical).inspect_err(|e| tracing::error!(error = ?e, "a plan was refused by the walk"))?;
        let physical = once::together(pace(held::hold(physical)?, self.stop)?)?;
        limits::check_physical(&physical, self.limits)?;
        Ok(physical)
    }
}

fn saw(planned: &Planned, versions: &SnapshotVector) -> Vec<Seen> {
    let seen = |(pin, entry): (_, &Entry)| {
        let (object, name) = (entry.object.id, entry.object.name.clone());
        Some(Seen { object, name, version: versions.get(pin)?.clone() })
    };
    planned.reached.entries.iter().filter_map(seen).collect()
}

/// A plan that the guard has opened.
struct Judged {
    guarded: Deep<Guarded>,
    /// Under which the result cache may know the answer.
    key: Option<Key>,
    /// Stored groups may answer a part of it.
    asks_groups: bool,
}

/// bind → guard.
async fn guarded(
    shared: &Shared,
    planned: &Planned,
    values: Vec<ScalarValue>,
    pins: &Arc<Pins>,
    caching: Caching,
) -> Result<Judged> {
    let (facts, pins) = (Arc::clone(&planned.facts), Arc::clone(pins));
    let (plan, reached, parameters) =
        (Arc::clone(&planned.plan), Arc::clone(&planned.reached), planned.parameters.clone());
    let columns = Arc::clone(&planned.columns);
    let work = move |_: &Stop, _: &Handle| {
        let plan = parameters::bind(LogicalPlan::clone(&plan), &parameters, values)?;
        let opening = Opening { policy: &facts.policy, pins: &pins, bodies: &reached.bodies };
        let guarded = guard(plan, &opening)?;
        let question = Question {
            guarded: &guarded,
            versions: pins.vector(),
            columns: &columns,
            settings: &facts.settings_fingerprint,
            source_files: facts.world.source_files,
        };
        let key = if caching == Caching::On { question.key() } else { None };
        let asks_groups = stored::asks_groups(guarded.plan())?;
        Ok(Judged { guarded: Deep::new(guarded), key, asks_groups })
    };
    shared.planner.run(work).await
}

/// The result cache. The guard has judged by now: who gets here may have the answer, wherever it comes from.
async fn substitute(shared: &Shared, key: Option<Key>) -> Option<Found> {
    match (&shared.results, key) {
        (Some(results), Some(key)) => Some(results.find(key).await),
        (None, _) | (_, None) => None,
    }
}

async fn optimize(state: &mut SessionState, guarded: &Guarded, stop: &Stop) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = guarded.plan().clone();
    set_planning(state, true);
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {});
    let rules = checkpoints::between(&state.optimizer().rules, stop);
    let plan = plan.and_then(|plan| Optimizer::with_rules(rules).optimize(plan, state, |_, _| {}));
    set_planning(state, false);
    let plan = plan.map_err(Error::behind_guard)?;
    stop.check()?;
    let plan = super::federate::federate(plan).map_err(|error| Error::behind_guard(error.into()))?;
    let rows = &mut state.config_mut().options_mut().execution.batch_size;
    *rows = ConfigNonZeroUsize::try_new(limits::rows_per_batch(&plan, rows.get())?)?;
    let physical = state.query_planner().create_physical_plan(&plan, state).await;
    physical.and_then(crate::sources::postgres::listen).map_err(Error::behind_guard)
}

/// The transaction that a statement runs in. By default it is one by itself.
///
/// Under REPEATABLE READ and SERIALIZABLE what one of its statements read a later one reads again. A table is pinned when
/// the first of them reads it. A database's table is pinned by name alone, and shows what its database shows: it has no
/// snapshot that could be held.
#[derive(Clone, Debug, Default)]
pub(crate) struct Within {
    /// What `now()` says, in microseconds since 1970.
    began_at: Option<i64>,
    snapshots: Option<Arc<Mutex<HashMap<ObjectId, Pinned>>>>,
    /// How far the answer of the statement may be behind, where it is one by itself; `None`: not at all.
    max_staleness_ms: Option<i64>,
    /// What those were read under: rows of then and a policy of now together were never in force.
    opened: Arc<std::sync::Mutex<Vec<OpenedObject>>>,
}

impl Within {
    pub(super) fn max_staleness_ms(&self) -> Option<i64> {
        self.max_staleness_ms.filter(|_| !self.repeats_reads())
    }

    pub(crate) fn begun(at: i64) -> Self {
        Self { began_at: Some(at), ..Self::default() }
    }

    pub(crate) fn began_at(&self) -> Option<i64> {
        self.began_at
    }

    pub(crate) fn repeat_reads(&mut self) {
        self.snapshots = Some(Arc::default());
    }

    pub(crate) fn repeats_reads(&self) -> bool {
        self.snapshots.is_some()
    }

    /// The transaction has changed a lake, of which it has a view of its own: what is pinned there is what was before.
    pub(crate) async fn look_again(&self) {
        if let Some(known) = &self.snapshots {
            known.lock().await.retain(|_, p| !matches!(p.version, Version::Snapshot(_) | Version::Fresh(_, _)));
        }
    }

    /// What its earlier statements read that a later one reads again.
    pub(crate) fn opened(&self) -> Vec<OpenedObject> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn read(&self, opened: &[OpenedObject]) {
        if self.snapshots.is_some() {
            let mut known = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
            let is_new = |o: &&OpenedObject| !known.iter().any(|k| (k.id, &k.owners) == (o.id, &o.owners));
            let new: Vec<_> = opened.iter().filter(is_new).cloned().collect();
            known.extend(new);
        }
    }
}

/// Iceberg snapshots, tails and Kafka end offsets, once for all scans of the statement; those tables that reflections are of;
/// and what its client is to be told.
async fn pin(
    shared: &Shared,
    planned: &Planned,
    base: Option<&(ObjectId, Arc<dyn Base>)>,
    within: &Within,
) -> Result<(Pins, HashMap<ObjectId, Pinned>, Vec<Notice>)> {
    let facts = &planned.facts;
    let mut reflected = HashMap::new();
    let mut note = |object: ObjectId, pinned: &Pinned| {
        if facts.uses_reflections && !facts.world.reflections.of(object).is_empty() {
            reflected.insert(object, pinned.clone());
        }
    };
    let mut known = match &within.snapshots {
        Some(known) => Some(known.lock().await),
        None => None,
    };
    let mut pins = Pins::default();
    if let Some((object, base)) = base {
        let rows = base.rows();
        pins.insert_target(*object, rows.provider, rows.reads);
    }
    let mut unknown = vec![];
    for (object, entry) in &planned.reached.entries {
        let Body::Table(table) = &entry.body else { continue };
        let object = *object;
        // what a statement reads of the table that it changes is as old as what it changes
        if let Some((_, base)) = base.filter(|(target, _)| *target == object) {
            let pinned = base.pinned();
            pins.insert(object, pinned.version, pinned.provider, pinned.reads);
            continue;
        }
        if let Some(pinned) = base.and_then(|(_, base)| table.pin_beside(base.as_ref())) {
            pins.insert(object, pinned.version, pinned.provider, pinned.reads);
            continue;
        }
        match known.as_ref().and_then(|known| known.get(&object)).cloned() {
            Some(pinned) => {
                note(object, &pinned);
                pins.insert(object, pinned.version, pinned.provider, pinned.reads);
            }
            None => unknown.push((object, table)),
        }
    }
    let (tails, notices) = tails(shared, facts, &unknown).await?;
    let unknown = unknown.into_iter().map(|(object, table)| {
        let tail = table.tailed().and_then(|tailed| tails.get(&tailed.table));
        async move {
            let pinned = match tail {
                Some(tail) => table.pin_with(tail).await?,
                None => table.pin().await?,
            };
            Ok::<_, Error>((object, pinned))
        }
    });
    for (object, pinned) in try_join_all(unknown).await? {
        if let Some(known) = &mut known {
            known.insert(object, pinned.clone());
        }
        note(object, &pinned);
        pins.insert(object, pinned.version, pinned.provider, pinned.reads);
    }
    Ok((pins, reflected, notices))
}

/// What pipelines have taken in of these tables beside their last commits, as far as the session wants it.
async fn tails(
    shared: &Shared,
    facts: &Facts,
    tables: &[(ObjectId, &Arc<dyn Table>)],
) -> Result<(HashMap<Uuid, Arc<Tail>>, Vec<Notice>)> {
    if facts.freshness == Freshness::Committed {
        return Ok((HashMap::new(), vec![]));
    }
    if let Freshness::Reached(reach) = &facts.freshness {
        may_ask_for(reach, shared, facts, tables)?;
    }
    let tailed: Vec<Tailed> = tables.iter().filter_map(|(_, table)| table.tailed()).collect();
    let look = |wanted| shared.tails.look(wanted, &tailed, facts.freshness_timeout);
    let mut looked = Box::pin(look(&facts.freshness)).await?;
    // what is kept of an earlier moment knows nothing of what others, or this session, have committed since
    if matches!(facts.freshness, Freshness::Within(_)) && !hold(tables, &looked.tails).await? {
        looked = Box::pin(look(&Freshness::Latest)).await?;
    }
    // Without their names: some may be behind a dataset.
    let notice = (!looked.without.is_empty()).then(|| {
        let text = "tables are read as they were committed last where lakegate.freshness cannot be had";
        let detail = "The pipeline of one of them does not run in this process, or has not answered in time.";
        Notice::notice("00000", text).with_detail(detail)
    });
    Ok((looked.tails, notice.into_iter().collect()))
}

/// 42501 where a topic's place is wanted of a table of which its reader sees a part: whether it is reached, and how far the
/// topic is instead, says how many rows are hidden from them. A database's place says that of no table.
fn may_ask_for(reach: &Reach, shared: &Shared, facts: &Facts, tables: &[(ObjectId, &Arc<dyn Table>)]) -> Result<()> {
    let sees_all = |object: ObjectId| match facts.policy.decide(object, Action::Select) {
        Decision::Allow(grant) => grant.is_full(),
        Decision::Deny => false,
    };
    let mut filled = tables.iter().filter(|(_, table)| table.tailed().is_some_and(|of| shared.tails.may_be_of(of)));
    match reach {
        Reach::Offsets(_) if filled.any(|(object, _)| !sees_all(*object)) => {
            let text = "an offset in lakegate.freshness is for those who see all rows and columns of each table";
            let hint = "Set lakegate.freshness to latest, or to an age such as '5 s'.";
            Err(Error::new(Kind::PermissionDenied, text).with_hint(hint))
        }
        Reach::Offsets(_) | Reach::Lsn(_) => Ok(()),
    }
}

async fn hold(tables: &[(ObjectId, &Arc<dyn Table>)], tails: &HashMap<Uuid, Arc<Tail>>) -> Result<bool> {
    for (_, table) in tables {
        let tail = table.tailed().and_then(|tailed| tails.get(&tailed.table));
        if let Some(tail) = tail
            && !table.holds(tail).await?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
