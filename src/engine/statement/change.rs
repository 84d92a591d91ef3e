//! INSERT, UPDATE, DELETE and MERGE, with RETURNING: a plan whose rows say what is to be done (`sql::bind`), run once, and
//! one commit of what they say. Where others changed the same rows meanwhile, the whole statement is done again on what is
//! there then, as READ COMMITTED does it.

mod foreign;
mod later;
mod split;
mod target;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::execution::SessionState;

use self::split::{Done, Split};
pub(crate) use self::target::{Goal, goal};
use super::name::{Name, ident, table_name};
use super::sink::Sink;
use super::{Admitted, Described, Execution, Outcome, Statement, Work, hidden};
use crate::engine::deep::Deep;
use crate::engine::facts::Facts;
use crate::engine::pipeline::{self, Caching, Ready, Told};
use crate::engine::run::{self, Rows};
use crate::engine::session::Session;
use crate::engine::temporary::Temporary;
use crate::error::{Error, Kind, Result};
use crate::formats::postgres;
use crate::policy::guard::OpenedObject;
use crate::sources::{self, Base, Foreign, How, SkipConflict};
use crate::sql::bind::{Act, Acts, Layout};
use crate::sql::parse::change::{self, Arbiter, Verb};
use crate::types::TableName;

/// A statement that others overtook is done again so many times, and waits longer each time.
const RETRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(5);

#[derive(Debug)]
struct Change {
    table: Name,
    change: Deep<change::Change>,
}

/// What is known of a planned statement beside its plan.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) layout: Layout,
    pub(crate) goal: Goal,
    /// RETURNING, where it is computed of what a source has made of the rows.
    pub(crate) then: Option<Arc<pipeline::Planned>>,
}

/// One that is ready to run.
pub(crate) struct Changes {
    pub(crate) planned: Planned,
    pub(crate) facts: Arc<Facts>,
    /// Of a table of the lake of which rows that are there may change.
    pub(crate) base: Option<Arc<dyn Base>>,
}

pub(super) fn admit(change: change::Change) -> Result<Admitted> {
    hidden::refuse(&change.parts)?;
    Ok(Admitted::new(Change { table: table_name(&change.shape.target)?, change: Deep::new(change) }))
}

impl Planned {
    /// What a client is told of: RETURNING's columns.
    pub(crate) fn shown(&self, columns: &Schema) -> Option<SchemaRef> {
        if let Some(then) = &self.then {
            return Some(Arc::clone(&then.columns));
        }
        let returning = self.layout.returning.clone()?;
        let shown: Vec<FieldRef> = columns.fields().get(returning).unwrap_or_default().to_vec();
        Some(Arc::new(Schema::new(shown)))
    }

    /// What EXPLAIN says that it does, and the table.
    pub(super) fn told(&self, verb: &Verb) -> (&'static str, TableName) {
        let word = match verb {
            Verb::Insert(_) => "Insert",
            Verb::Update(_) => "Update",
            Verb::Delete => "Delete",
            Verb::Merge(_) => "Merge",
        };
        (word, self.goal.name().clone())
    }

    /// Rows that are there may change, or their source changes them.
    pub(crate) fn needs_base(&self) -> bool {
        !self.layout.place.is_empty() || self.goal.is_source()
    }
}

/// What RETURNING shows: columns, rows, and what they were read under.
type Shown = (SchemaRef, Vec<RecordBatch>, Vec<OpenedObject>);

/// A statement for a source.
struct Asked {
    layout: Layout,
    checks: Arc<target::Checks>,
    state: SessionState,
    goal: Goal,
    later: Arc<later::Later>,
    then: Option<Arc<pipeline::Planned>>,
    sees_all: bool,
}

/// All that its rows may be for.
fn acts(layout: &Layout) -> Vec<Act> {
    match &layout.act {
        Acts::All(act) => vec![*act],
        Acts::By { acts, .. } => acts.iter().flatten().copied().collect(),
    }
}

impl Statement for Change {
    fn kind(&self) -> &'static str {
        match self.change.shape.verb {
            Verb::Insert(_) => "insert",
            Verb::Update(_) => "update",
            Verb::Delete => "delete",
            Verb::Merge(_) => "merge",
        }
    }

    fn writes(&self) -> bool {
        true
    }

    fn fills(&self) -> bool {
        true
    }

    fn is_temporary(&self, temporary: &Temporary) -> bool {
        temporary.has(&self.table)
    }

    fn describe<'a>(&'a self, session: &'a mut Session, told: Told) -> Work<'a, Described> {
        Box::pin(async move {
            let planned = session.plan_change(&self.change, told).await?;
            let columns = planned.change.as_ref().and_then(|change| change.shown(&planned.columns));
            let fields = columns.iter().flat_map(|columns| columns.fields().iter());
            fields.into_iter().try_for_each(|f| postgres::pg_type(f).map(|_| ()))?;
            Ok(Described { columns, ..Described::stored(planned)? })
        })
    }

    fn run<'a>(&'a self, session: &'a mut Session, mut execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let mut retries = 0;
            loop {
                let once = Box::pin(self.once(session, &mut execution)).await;
                match once {
                    Err(Ended { error, again })
                        if error.kind() == Kind::Conflict
                            && retries < RETRIES
                            && again.unwrap_or(!session.in_block()) =>
                    {
                        let pause = PAUSE * (retries + 1);
                        tokio::time::sleep(pause.mul_f64(rand::random_range(0.0..1.0))).await;
                        retries += 1;
                        tracing::debug!(retries, "a statement was overtaken and is done again");
                    }
                    Err(Ended { error, .. }) => return Err(error),
                    Ok(outcome) => return Ok(outcome),
                }
            }
        })
    }
}

/// Why a statement came to nothing.
struct Ended {
    error: Error,
    /// Whether its source has taken all of it back, so that it may begin again; of a lake it may outside of a block.
    again: Option<bool>,
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self { error, again: None }
    }
}

impl Change {
    async fn once(&self, session: &mut Session, execution: &mut Execution<'_>) -> Result<Outcome, Ended> {
        let mut ready = session.ready(execution, Caching::Never).await?;
        let changes = ready.changes.take().ok_or_else(|| Error::internal("a statement without its target"))?;
        let Changes { planned: Planned { layout, goal, then }, facts, base } = *changes;
        execution.record.target(goal.name().to_string());
        let acts = acts(&layout);
        goal.ask(&facts, &acts)?;
        let state = facts.statement_state(session.transaction.within().began_at());
        let mut checks = goal.checks(&facts, &acts, &state)?;
        if let (Goal::Source { later, .. }, Some(base)) = (&goal, &base) {
            let foreign = Arc::clone(base).foreign();
            let foreign = foreign.ok_or_else(|| Error::internal("a source that does not change its rows"))?;
            let sees_all = goal.sees_all(&facts);
            let (later, goal) = (Arc::clone(later), goal.clone());
            let asked = Asked { layout, checks: Arc::new(checks), state, goal, later, then, sees_all };
            return self.at_source(session, execution, ready, asked, foreign).await;
        }
        // rows that are only added go where those of COPY go, and are asked about there
        let check = if base.is_none() { checks.insert.take() } else { None };
        let (done, gone) = (Arc::new(Mutex::new(Done::new(&state))), Arc::default());
        let lanes = session.engine.shared.lanes.clone();
        let (rows, opened) = self.rows(session, ready, execution)?;
        let keeps_ids = acts.contains(&Act::Update);
        let split = Split::new(rows, layout.clone(), &goal, keeps_ids, checks, Arc::clone(&done), Arc::clone(&gone))?;
        let rows = split.stream();
        let how = match self.change.shape.verb {
            Verb::Delete => How::Delete,
            Verb::Update(_) => How::Update,
            Verb::Insert(_) | Verb::Merge(_) => How::Merge,
        };
        let table = goal.name().table.clone();
        let changed = match (goal, base) {
            (Goal::Temporary { temporary, name, .. }, _) if !layout.place.is_empty() => {
                temporary.change(&name.table, rows, &gone).await
            }
            (Goal::Lake { .. }, Some(base)) => {
                // ON CONFLICT has asked for keys that were not there
                let alone = !layout.key.is_empty();
                let change = sources::Change { how, rows, gone, alone };
                lanes.run(async move { base.change(&state, change).await }).await
            }
            (goal, _) => Sink::to(session, goal, check)?.append(rows).await.map(|_| ()),
        };
        changed.map_err(|error| of_relation(error, &table))?;
        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
        let tag = match self.change.shape.verb {
            Verb::Insert(_) => format!("INSERT 0 {}", done.rows),
            _ => format!("{} {}", self.change.shape.verb.word(), done.rows),
        };
        let Some(columns) = execution.prepared.columns.clone().filter(|_| layout.returning.is_some()) else {
            execution.record.rows = done.rows;
            return Ok(Outcome::done(tag)?);
        };
        let shown = std::mem::take(&mut done.shown);
        Ok(Outcome::Rows(Rows::returned(tag, columns, shown, execution.bounds.clone(), opened)))
    }

    /// The same for a table whose source changes its rows. In a transaction the statement may begin again, where all of it
    /// can be taken back there.
    async fn at_source(
        &self,
        session: &mut Session,
        execution: &mut Execution<'_>,
        ready: Ready,
        asked: Asked,
        foreign: Arc<dyn Foreign>,
    ) -> Result<Outcome, Ended> {
        let bounds = execution.bounds.clone();
        let changed = bounds.hold(Box::pin(self.changed(session, execution, ready, &asked, &foreign))).await;
        asked.later.put(vec![]);
        let again = match &changed {
            Err(error) if error.kind() == Kind::Conflict => session.may_begin_again() && foreign.undo().await.is_ok(),
            Ok(_) | Err(_) => false,
        };
        let (tag, shown) = changed.map_err(|error| Ended { error, again: Some(again) })?;
        // whoever stops waiting does not stop a commit that is under way
        let finished = tokio::spawn(async move { foreign.finish().await }).await;
        finished.unwrap_or_else(|error| Err(Error::internal(format!("a commit did not end: {error}"))))?;
        Ok(match shown {
            Some((columns, shown, opened)) => Outcome::Rows(Rows::returned(tag, columns, shown, bounds, opened)),
            None => Outcome::done(tag)?,
        })
    }

    /// The tag, and what RETURNING shows.
    async fn changed(
        &self,
        session: &Session,
        execution: &mut Execution<'_>,
        ready: Ready,
        asked: &Asked,
        foreign: &Arc<dyn Foreign>,
    ) -> Result<(String, Option<Shown>)> {
        let (rows, mut opened) = self.rows(session, ready, execution)?;
        let (wish, schema) = (self.wish(asked)?, Arc::clone(asked.goal.schema()));
        let (checks, foreign, state) = (Arc::clone(&asked.checks), Arc::clone(foreign), asked.state.clone());
        let lanes = session.engine.shared.lanes.clone();
        let work = async move { foreign::change(rows, &wish, &schema, &checks, foreign.as_ref(), &state).await };
        let done = Box::pin(lanes.run(work)).await;
        let done = done.map_err(|error| of_relation(error, &asked.goal.name().table))?;
        let tag = match self.change.shape.verb {
            Verb::Insert(_) => format!("INSERT 0 {}", done.rows),
            Verb::Update(_) | Verb::Delete | Verb::Merge(_) => {
                format!("{} {}", self.change.shape.verb.word(), done.rows)
            }
        };
        let returns = asked.then.is_some() || asked.layout.returning.is_some();
        let Some(columns) = execution.prepared.columns.clone().filter(|_| returns) else {
            execution.record.rows = done.rows;
            return Ok((tag, None));
        };
        let Some(then) = &asked.then else { return Ok((tag, Some((columns, done.shown, opened)))) };
        asked.later.put(done.later);
        let (shown, also) = self.returned(session, execution, then).await?;
        opened.extend(also);
        Ok((tag, Some((columns, shown, opened))))
    }

    /// RETURNING's query, over what came back.
    async fn returned(
        &self,
        session: &Session,
        execution: &Execution<'_>,
        then: &pipeline::Planned,
    ) -> Result<(Vec<RecordBatch>, Vec<OpenedObject>)> {
        let (shared, within, bounds) = (&session.engine.shared, session.transaction.within(), &execution.bounds);
        let values = execution.parameters.clone();
        let ready = pipeline::ready(shared, then, values, Caching::Never, &within, bounds).await?;
        let mut rows = run::run(&shared.lanes, ready, bounds.clone())?;
        let (opened, mut shown) = (rows.opened.clone(), vec![]);
        while let Some(batch) = rows.next().await {
            shown.push(batch?);
        }
        Ok((shown, opened))
    }

    fn wish(&self, asked: &Asked) -> Result<foreign::Wish> {
        let insert = match &self.change.shape.verb {
            Verb::Insert(insert) => Some(insert),
            Verb::Update(_) | Verb::Delete | Verb::Merge(_) => None,
        };
        let overriding = insert.and_then(|insert| insert.overriding).map(|overriding| match overriding {
            change::Overriding::User => sources::Overriding::User,
            change::Overriding::System => sources::Overriding::System,
        });
        let conflict = insert.and_then(|insert| insert.conflict.as_ref()).map(|conflict| match &conflict.on {
            Arbiter::Any => SkipConflict::Any,
            Arbiter::Columns(names) => SkipConflict::Columns(names.iter().map(ident).collect()),
            Arbiter::Constraint(name) => SkipConflict::Constraint(ident(name)),
        });
        let act = match &asked.layout.act {
            Acts::All(act) => *act,
            Acts::By { .. } => return Err(Error::internal("a source was to tell rows apart")),
        };
        let later = asked.then.as_ref().and_then(|_| asked.later.schema());
        Ok(foreign::Wish { act, layout: asked.layout.clone(), overriding, conflict, later, sees_all: asked.sees_all })
    }

    fn rows(
        &self,
        session: &Session,
        ready: Ready,
        execution: &Execution<'_>,
    ) -> Result<(Rows, Vec<crate::policy::guard::OpenedObject>)> {
        let rows = run::run(&session.engine.shared.lanes, ready, execution.bounds.clone())?;
        let opened = rows.opened.clone();
        Ok((rows, opened))
    }
}

/// 23502 names the table too.
fn of_relation(error: Error, table: &str) -> Error {
    match error.kind() {
        Kind::NotNull => {
            error.map_message(|text| text.replacen("\" violates", &format!("\" of relation \"{table}\" violates"), 1))
        }
        _ => error,
    }
}
