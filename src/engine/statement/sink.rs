//! What INSERT and COPY FROM write their rows to: a table of the lake, in one commit, or a temporary one of the session; and
//! for COPY FROM, a table whose source adds them itself.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use super::change::Goal;
use super::counter;
use super::name::Name;
use super::target;
use crate::catalog::Entry;
use crate::engine::facts::Facts;
use crate::engine::lanes::Lanes;
use crate::engine::session::{Session, policy_changed};
use crate::engine::temporary::{self, Temporary};
use crate::error::{Error, Kind, Result};
use crate::lake::DEFAULT;
use crate::policy::guard::undefined_table;
use crate::policy::{Action, Decision, NewRows};
use crate::sources::{ForeignHow, ForeignRows, Table, Writer};
use crate::types::{ObjectId, TableName};

pub(super) struct Sink {
    pub(super) name: TableName,
    /// All its columns, and those that the session sees.
    pub(super) schema: SchemaRef,
    pub(super) shown: SchemaRef,
    to: To,
    /// Of the table of the lake.
    object: Option<ObjectId>,
    check: Option<NewRows>,
}

/// 42501 where the policy of now is another one for the writer.
pub(crate) type Still = Box<dyn Fn() -> Result<()> + Send + Sync>;

enum To {
    Lake {
        table: Arc<dyn Table>,
        writer: Arc<dyn Writer>,
        lanes: Lanes,
    },
    Temporary(Temporary),
    /// `given`: the columns that rows have values for; `sees_all`: whoever writes sees all of it.
    Source {
        table: Arc<dyn Table>,
        given: Vec<usize>,
        sees_all: bool,
        lanes: Lanes,
    },
}

impl Sink {
    /// Where this session may write there.
    pub(super) fn of(session: &mut Session, name: &Name) -> Result<Self> {
        let facts = session.facts()?;
        let temporary = facts.temporary.clone();
        if temporary.has(name) && temporary.view(&name.table).is_some() {
            return Err(target::not_for_views(&name.table, Action::Insert));
        }
        if temporary.has(name)
            && let Some(schema) = temporary.schema(&name.table)
        {
            let name = TableName::new(temporary::SCHEMA, &name.table);
            let to = To::Temporary(temporary);
            return Ok(Self { name, shown: Arc::clone(&schema), schema, to, object: None, check: None });
        }
        let (entry, writer) = target::of_rows(&facts, name, Action::Insert)?;
        let (table, shown) = (target::of_lake(entry)?, insertable(&facts, entry, writer.is_none())?);
        let (name, mut schema) = (entry.object.name.clone(), Arc::clone(&entry.object.schema));
        let to = match writer {
            Some(writer) => To::Lake { table, writer, lanes: session.engine.shared.lanes.clone() },
            None => {
                // what a column is that has no value is the source's to say
                let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
                schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
                let lanes = session.engine.shared.lanes.clone();
                To::Source { table, given: vec![], sees_all: target::is_whole(&facts, entry), lanes }
            }
        };
        let state = facts.statement_state(None);
        let check = match facts.policy.decide(entry.object.id, Action::Insert) {
            Decision::Allow(grant) => NewRows::of(&grant, &entry.object, &state)?,
            Decision::Deny => return Err(undefined_table(&name)),
        };
        let object = Some(entry.object.id);
        Ok(Self { name, schema, shown, to, object, check })
    }

    /// Rows have values for these columns alone.
    pub(super) fn gives(&mut self, names: &[&str]) {
        if let To::Source { given, .. } = &mut self.to {
            let fields = self.schema.fields().iter().enumerate();
            *given = fields.filter(|(_, f)| names.contains(&f.name().as_str())).map(|(at, _)| at).collect();
        }
    }

    /// What a column of it is where a row has no value for it; `None` is NULL.
    pub(super) fn default(&self, column: &Field) -> Option<String> {
        match &self.to {
            To::Lake { table, .. } => {
                let declared = table.declared();
                let counted = declared.counters.get(column.name()).map(|c| counter::default(&self.name.schema, c));
                counted.or_else(|| declared.defaults.get(column.name()).cloned())
            }
            To::Temporary(_) => column.metadata().get(DEFAULT).cloned(),
            To::Source { .. } => None,
        }
    }

    /// The table that an INSERT was planned for; `check`: what is asked of its rows.
    pub(super) fn to(session: &Session, goal: Goal, check: Option<NewRows>) -> Result<Self> {
        let (name, schema) = (goal.name().clone(), Arc::clone(goal.schema()));
        let object = goal.object().map(|(object, _)| object);
        let to = match goal {
            Goal::Lake { table, writer, .. } => To::Lake { table, writer, lanes: session.engine.shared.lanes.clone() },
            Goal::Temporary { temporary, .. } => To::Temporary(temporary),
            Goal::Source { .. } => return Err(Error::internal("a source's table was to be written as a lake's")),
        };
        Ok(Self { name, shown: Arc::clone(&schema), schema, to, object, check })
    }

    /// For rows that take their time.
    pub(super) fn still(&self, session: &Session) -> Still {
        self.object.map_or_else(|| Box::new(|| Ok(())) as Still, |object| still(session, object))
    }

    /// All rows or none; how many they were.
    pub(super) async fn append(self, rows: SendableRecordBatchStream) -> Result<u64> {
        match self.to {
            To::Source { table, given, sees_all, lanes } => {
                let check = self.check;
                lanes.run(async move { at_source(table, rows, &given, check, sees_all).await }).await
            }
            To::Lake { table, writer, lanes } => {
                let rows = checked(rows, self.check);
                lanes.run(async move { writer.append(table.as_ref(), rows).await }).await
            }
            To::Temporary(temporary) => {
                let rows = checked(rows, self.check);
                let parts = temporary.collect(rows).await?;
                temporary.append(&self.name.table, parts)
            }
        }
    }
}

/// As INSERT's ([`super::change`]), without RETURNING. It is not done again: the rows are gone.
async fn at_source(
    table: Arc<dyn Table>,
    mut rows: SendableRecordBatchStream,
    given: &[usize],
    check: Option<NewRows>,
    sees_all: bool,
) -> Result<u64> {
    let missing = || Error::internal("a source that does not change its rows");
    let foreign = table.base().await?.foreign().ok_or_else(missing)?;
    let open: Vec<String> = {
        let schema = rows.schema();
        let fields = schema.fields().iter().enumerate().filter(|(at, _)| !given.contains(at));
        fields.map(|(_, field)| field.name().clone()).collect()
    };
    let open: Vec<&str> = open.iter().map(String::as_str).collect();
    let before = check.as_ref().filter(|check| !check.reads_any(&open));
    let how = ForeignHow { shows: check.is_some(), sees_all };
    let mut added = 0;
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(Error::from)?;
        before.map_or(Ok(()), |check| check.check(&batch))?;
        let given = batch.project(given)?;
        let done = foreign.change(ForeignRows::Insert { given, overriding: None, conflict: None }, how).await?;
        if let (Some(check), Some(shown)) = (&check, &done.shown) {
            check.check(&shown.rows)?;
        }
        added += done.rows;
    }
    foreign.finish().await?;
    Ok(added)
}

/// The same rows, as long as they may come.
fn checked(rows: SendableRecordBatchStream, check: Option<NewRows>) -> SendableRecordBatchStream {
    let Some(check) = check else { return rows };
    let schema = rows.schema();
    let rows = rows.map(move |batch| {
        let batch = batch?;
        check.check(&batch)?;
        Ok(batch)
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

/// The columns that a COPY FROM may name, as an INSERT: those that the session sees, or all where it may insert and not read. One that it
/// does not see is as absent here as anywhere, and stays NULL; where it must not be NULL there is no row to insert, unless its
/// source has a value of its own for it.
fn insertable(facts: &Facts, entry: &Entry, has_own_values: bool) -> Result<SchemaRef> {
    let raw = &entry.object.schema;
    let Decision::Allow(grant) = facts.policy.decide(entry.object.id, Action::Select) else {
        return Ok(Arc::clone(raw));
    };
    let hidden = |field: &&FieldRef| grant.hidden.contains(field.name());
    if !has_own_values && raw.fields().iter().filter(hidden).any(|field| !field.is_nullable()) {
        let text = format!("permission denied for table {}", entry.object.name.table);
        return Err(Error::new(Kind::PermissionDenied, text));
    }
    Ok(Arc::new(Schema::new(raw.fields().iter().filter(|f| !hidden(f)).cloned().collect::<Vec<_>>())))
}

fn still(session: &Session, object: ObjectId) -> Still {
    let (judges, principal) = (session.judges(), session.principal());
    let engine = Arc::clone(&session.engine);
    // which columns it may fill is what it sees of them
    let rights = move || {
        let judges = judges.under(engine.world());
        let policies = judges.of(object);
        let session = policies.session(&principal)?;
        let Decision::Allow(_) = session.decide(object, Action::Insert) else { return None };
        Some(match session.decide(object, Action::Select) {
            Decision::Allow(grant) => Some(grant.fingerprint()),
            Decision::Deny => None,
        })
    };
    let before = rights();
    Box::new(move || if before.is_some() && rights() == before { Ok(()) } else { Err(policy_changed()) })
}
