//! CALL lakegate.refresh_source: the catalog of one source is read again now, and what came of it is in force when the
//! statement ends. How a source is looked at, and how often without being told, is `world`'s.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};

use super::super::{Execution, Outcome};
use super::procedure::Procedure;
use crate::catalog::{Body, Entry, Mounted, unreachable_source};
use crate::engine::facts::Facts;
use crate::engine::notice::Notice;
use crate::engine::run::Rows;
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result};
use crate::policy::{Action, Decision, ObjectKind};

pub(super) async fn run(session: &mut Session, execution: Execution<'_>, source: &str) -> Result<Outcome> {
    may_refresh(&*session.facts()?, source)?;
    execution.record.target(source.to_owned());
    let current = Arc::clone(&session.engine.current);
    execution.bounds.hold(current.refresh(source)).await?;
    let facts = session.facts()?;
    // others' tables are none of its caller's
    let count = of(&facts, source, Action::Select).filter(|entry| matches!(entry.body, Body::Table(_))).count();
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let column: ArrayRef = Arc::new(Int64Array::from(vec![count]));
    let rows = RecordBatch::try_new(Procedure::RefreshSource.columns(), vec![column])?;
    session.say(Notice::notice("00000", format!("the catalog of source \"{source}\" was read again")));
    Ok(Outcome::Rows(Rows::computed("CALL", rows, execution.bounds)))
}

/// For administrators, and for whoever may `refresh` one of its tables. 42704 for a source of which the session sees
/// nothing, as for one that is not there; 42501 for one of which it sees something. While a source is away nobody knows what
/// tables it has: 08006 for whom a line tells of its schemas.
fn may_refresh(facts: &Facts, source: &str) -> Result<()> {
    let (policy, schemas) = (&facts.policy, &facts.world.catalog.schemas);
    let exists = facts.world.sources.iter().any(|known| known.name() == source);
    if exists && (policy.is_admin() || of(facts, source, Action::Refresh).next().is_some()) {
        return Ok(());
    }
    if exists && of(facts, source, Action::Select).next().is_some() {
        return Err(Error::new(Kind::PermissionDenied, format!("permission denied for source {source}"))
            .with_hint("It needs the right to refresh one of the source's tables."));
    }
    let is_away = |(schema, mounted): (&String, &Option<Mounted>)| {
        mounted.as_ref().is_some_and(|m| m.down && m.source.name() == source) && policy.may_know(schema)
    };
    if schemas.iter().any(is_away) {
        return Err(unreachable_source(source));
    }
    Err(Error::new(Kind::UndefinedObject, format!("source \"{source}\" does not exist")))
}

/// Tables and views of the source that the session may do that to.
fn of<'a>(facts: &'a Facts, source: &str, action: Action) -> impl Iterator<Item = &'a Entry> {
    let catalog = &facts.world.catalog;
    let is_its = move |schema: &str| match catalog.schemas.get(schema) {
        Some(Some(mounted)) => mounted.source.name() == source,
        Some(None) | None => false,
    };
    let its = catalog.entries.values().filter(move |entry| is_its(&entry.object.name.schema));
    // what is about a table comes and goes with it
    let its = its.filter(|entry| !matches!(entry.object.kind, ObjectKind::MetadataOf { .. }));
    its.filter(move |entry| matches!(facts.policy.decide(entry.object.id, action), Decision::Allow(_)))
}
