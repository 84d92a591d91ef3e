//! CREATE, REFRESH and ALTER MATERIALIZED VIEW: a table of the lake that says which query fills it. Who reads it is judged as
//! for any table. What its owner saw when it was refreshed lies in it; what readers may see of the tables below is not asked
//! again.
//!
//! Its owner alone refreshes it: the query runs with the rights that the owner has then, and with nobody else's.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{ObjectName, Query};

use super::super::alter::same_source;
use super::super::create_table::{already_there, made};
use super::super::create_table_as::storable;
use super::super::name::Name;
use super::super::{Admitted, Described, Execution, Outcome, Statement, Work, ident, target};
use super::{entry, name_of};
use crate::catalog::Entry;
use crate::engine::asked::Right;
use crate::engine::bodies::{self, Definition};
use crate::engine::facts::Facts;
use crate::engine::notice::Notice;
use crate::engine::pipeline::{Caching, Told};
use crate::engine::session::Session;
use crate::engine::temporary::Temporary;
use crate::engine::{run, world};
use crate::error::{Error, Kind, Result};
use crate::lake::Making;
use crate::pgtype::{self, oid};
use crate::policy::{Action, Decision};
use crate::sources::declared::Materialized;
use crate::sources::{Table, Writer};
use crate::sql::parse::alter;
use crate::sql::parse::view::{Change, CreateMaterialized, Refresh as Written};
use crate::types::TableName;

#[derive(Debug)]
struct Create {
    name: Name,
    columns: Vec<String>,
    create: CreateMaterialized,
}

#[derive(Debug)]
struct Refresh {
    name: Name,
    concurrently: bool,
    with_data: bool,
}

#[derive(Debug)]
struct Alter {
    name: Name,
    if_exists: bool,
    change: Change,
}

pub(super) fn admit_create(create: CreateMaterialized) -> Result<Admitted> {
    if let Some(what) = create.other {
        return Err(Error::unsupported(what));
    }
    let name = name_of(&create.name)?;
    if name.schema.as_deref().is_some_and(Temporary::is_schema) {
        let text = "cannot create relations in temporary schemas of other sessions";
        return Err(Error::new(Kind::InvalidTableDefinition, text));
    }
    let columns = create.columns.iter().map(ident).collect();
    Ok(Admitted::new(Create { name, columns, create }))
}

pub(super) fn admit_refresh(refresh: &Written) -> Result<Admitted> {
    if refresh.concurrently && !refresh.with_data {
        let text = "REFRESH options CONCURRENTLY and WITH NO DATA cannot be used together";
        return Err(Error::new(Kind::Syntax, text));
    }
    let Written { concurrently, with_data, .. } = *refresh;
    Ok(Admitted::new(Refresh { name: name_of(&refresh.name)?, concurrently, with_data }))
}

pub(super) fn admit_alter(name: &ObjectName, if_exists: bool, change: Change) -> Result<Admitted> {
    match change {
        Change::Rename(_) | Change::SetSchema(_) => {
            Ok(Admitted::new(Alter { name: name_of(name)?, if_exists, change }))
        }
        Change::RenameColumn { .. } => Err(Error::unsupported("renaming a column of a materialized view")),
        Change::Owner(_) => Err(Error::unsupported("giving away a materialized view")),
        Change::Other(_) => Err(Error::unsupported("this change of a materialized view")),
    }
}

impl Statement for Create {
    fn kind(&self) -> &'static str {
        "create materialized view"
    }

    fn writes(&self) -> bool {
        true
    }

    fn describe<'a>(&'a self, session: &'a mut Session, _: Told) -> Work<'a, Described> {
        Box::pin(async move {
            let query = self.query(session)?;
            let told = || Told { text: self.create.query.as_str().into(), ..Told::default() };
            let planned = session.plan(&query, told()).await.map_err(|error| self.placed(error))?;
            match storable(&planned.columns) {
                None => Described::stored(planned),
                Some(into) => Described::stored(session.plan(&query, Told { into, ..told() }).await?),
            }
        })
    }

    fn run<'a>(&'a self, session: &'a mut Session, mut execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let facts = session.facts()?;
            let name = target::new_table(&facts, &self.name)?;
            execution.record.target(name.to_string());
            target::as_oneself(&facts)?;
            let writer = target::writer_for_create(&facts, &name)?;
            let definition = self.defined(session, &facts).await?;
            if !definition.own.is_empty() {
                let text = "materialized views must not use temporary tables or views";
                return Err(Error::new(Kind::Unsupported, text));
            }
            let ready = session.ready(&mut execution, Caching::Never).await?;
            let schema = self.schema(&ready.columns)?;
            let owner = facts.policy.principal().user().to_owned();
            let view = Materialized { sql: definition.sql, owner, is_populated: self.create.with_data };
            let properties = [(Materialized::KEY.to_string(), view.json())].into();
            let making = Making { properties, ..Making::default() };
            let lanes = &session.engine.shared.lanes;
            let rows = match self.create.with_data {
                true => Some(run::run(lanes, ready, execution.bounds)?.into_stream(None, Arc::clone(&schema))),
                false => None,
            };
            let write = async move { writer.create_table(&name, schema, making, rows).await };
            let made = made(lanes.run(write).await, self.create.if_not_exists)?;
            execution.record.rows = made.unwrap_or(0);
            match made {
                Some(rows) if self.create.with_data => Outcome::changed(format!("SELECT {rows}"), &facts.world),
                Some(_) => Outcome::changed("CREATE MATERIALIZED VIEW", &facts.world),
                None => {
                    session.say(already_there(&self.name.table));
                    Outcome::done("CREATE MATERIALIZED VIEW")
                }
            }
        })
    }
}

impl Create {
    fn query(&self, session: &Session) -> Result<Box<Query>> {
        bodies::read(&self.create.query, &session.engine.shared.config.statement).map_err(|error| self.placed(error))
    }

    /// At its place in the statement.
    fn placed(&self, error: Error) -> Error {
        match error.position() {
            Some(at) => error.at(at + self.create.before),
            None => error,
        }
    }

    async fn defined(&self, session: &Session, facts: &Arc<Facts>) -> Result<Definition> {
        let (query, facts) = (self.create.query.clone(), Arc::clone(facts));
        let shared = &session.engine.shared;
        let limits = shared.config.statement.clone();
        let defined = shared.planner.run(move |_, runtime| bodies::define(&query, &facts, &limits, runtime)).await;
        defined.map_err(|error| self.placed(error))
    }

    /// The columns under the names that the statement gives them. Any may come to be NULL at a later refresh.
    fn schema(&self, columns: &Schema) -> Result<SchemaRef> {
        let fields = columns.fields();
        if self.columns.len() > fields.len() {
            return Err(Error::new(Kind::Syntax, "too many column names were specified"));
        }
        if fields.is_empty() {
            return Err(Error::unsupported("a materialized view without columns"));
        }
        let names = self.columns.iter().chain(fields.iter().skip(self.columns.len()).map(|field| field.name()));
        let mut seen = BTreeSet::new();
        let named = fields.iter().zip(names).map(|(field, name)| {
            if !seen.insert(name) {
                let text = format!("column \"{name}\" specified more than once");
                return Err(Error::new(Kind::DuplicateColumn, text));
            }
            if pgtype::of_field(field)?.oid == oid::RECORD {
                let text = format!("column \"{name}\" has pseudo-type record");
                return Err(Error::new(Kind::InvalidTableDefinition, text));
            }
            Ok(field.as_ref().clone().with_name(name).with_nullable(true))
        });
        Ok(Arc::new(Schema::new(named.collect::<Result<Vec<_>>>()?)))
    }
}

/// A materialized view that the session may refresh.
struct Owned<'a> {
    entry: &'a Entry,
    view: &'a Materialized,
    table: Arc<dyn Table>,
    writer: Arc<dyn Writer>,
}

impl Refresh {
    fn owned<'a>(&self, facts: &'a Facts) -> Result<Owned<'a>> {
        let (entry, view) = found(facts, &self.name, Kind::Unsupported)?;
        if self.concurrently && !view.is_populated {
            let text = "CONCURRENTLY cannot be used when the materialized view is not populated";
            return Err(Error::new(Kind::Unsupported, text));
        }
        let writer = may_drop(facts, entry)?;
        if !facts.policy.is_owner(&view.owner) {
            let hint = "Its query runs with the rights of its owner, who alone refreshes it.";
            return Err(must_own(&entry.object.name.table).with_hint(hint));
        }
        Ok(Owned { entry, view, table: target::of_lake(entry)?, writer })
    }
}

impl Statement for Refresh {
    fn kind(&self) -> &'static str {
        "refresh materialized view"
    }

    fn writes(&self) -> bool {
        true
    }

    fn describe<'a>(&'a self, session: &'a mut Session, _: Told) -> Work<'a, Described> {
        Box::pin(async move {
            if !self.with_data {
                return Ok(Described::default());
            }
            let facts = session.facts()?;
            let owned = self.owned(&facts)?;
            let query = bodies::read(&owned.view.sql, &session.engine.shared.config.statement)?;
            let into = owned.table.schema().fields().iter().cloned().collect();
            let told = Told { text: owned.view.sql.as_str().into(), into, ..Told::default() };
            Described::stored(session.plan(&query, told).await?)
        })
    }

    fn run<'a>(&'a self, session: &'a mut Session, mut execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let facts = session.facts()?;
            let Owned { entry, view, table, writer } = self.owned(&facts)?;
            execution.record.target(entry.object.name.to_string());
            let view = Materialized { is_populated: self.with_data, ..view.clone() };
            let rows = match self.with_data {
                false => None,
                true => {
                    let ready = session.ready(&mut execution, Caching::Never).await?;
                    let lanes = &session.engine.shared.lanes;
                    Some(run::run(lanes, ready, execution.bounds)?.into_stream(None, table.schema()))
                }
            };
            let write = async move { writer.refill(table.as_ref(), rows, &view).await };
            execution.record.rows = session.engine.shared.lanes.run(write).await?;
            Outcome::changed("REFRESH MATERIALIZED VIEW", &facts.world)
        })
    }
}

impl Statement for Alter {
    fn kind(&self) -> &'static str {
        "alter materialized view"
    }

    fn writes(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, session: &'a mut Session, execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            const TAG: &str = "ALTER MATERIALIZED VIEW";
            let facts = session.facts()?;
            let (entry, _) = match found(&facts, &self.name, Kind::WrongObjectType) {
                Err(error) if self.if_exists && error.kind() == Kind::UndefinedTable => {
                    session.say(Notice::skipping("relation", &self.name.table));
                    return Outcome::done(TAG);
                }
                found => found?,
            };
            execution.record.target(entry.object.name.to_string());
            let writer = may_drop(&facts, entry)?;
            if !target::is_whole(&facts, entry) {
                return Err(must_own(&entry.object.name.table));
            }
            match &self.change {
                Change::Rename(to) => rename(&facts, entry, writer.as_ref(), renamed(entry, &ident(to))).await?,
                Change::SetSchema(to) => rename(&facts, entry, writer.as_ref(), moved(entry, &ident(to))).await?,
                Change::RenameColumn { .. } | Change::Owner(_) | Change::Other(_) => {
                    return Err(Error::internal("a change of a materialized view that was not admitted"));
                }
            }
            Outcome::changed(TAG, &facts.world)
        })
    }
}

/// What ALTER TABLE may do to a materialized view that is the session's; 42809 for the rest.
pub(in crate::engine::statement) async fn alter_as_table(
    facts: &Facts,
    entry: &Entry,
    writer: &dyn Writer,
    changes: &[alter::Change],
) -> Result<()> {
    match changes {
        [alter::Change::Rename(to)] => rename(facts, entry, writer, renamed(entry, &ident(to))).await,
        [alter::Change::SetSchema(to)] => rename(facts, entry, writer, moved(entry, &ident(to))).await,
        _ => {
            let text = format!("\"{}\" is not a table", entry.object.name.table);
            let detail = "This operation is not supported for materialized views.";
            Err(Error::new(Kind::WrongObjectType, text).with_detail(detail))
        }
    }
}

fn renamed(entry: &Entry, to: &str) -> TableName {
    TableName::new(&entry.object.name.schema, to)
}

fn moved(entry: &Entry, to: &str) -> TableName {
    TableName::new(to, &entry.object.name.table)
}

async fn rename(facts: &Facts, entry: &Entry, writer: &dyn Writer, to: TableName) -> Result<()> {
    let name = &entry.object.name;
    target::writer_for_create(facts, &to)?;
    same_source(facts, name, &to)?;
    match to == *name {
        true => Err(Error::new(Kind::DuplicateTable, format!("relation \"{}\" already exists", to.table))),
        false => writer.rename_table(name, &to).await,
    }
}

/// 42P01 where the session sees nothing of the name, `other` where it is something else: PostgreSQL has another code for each
/// statement.
fn found<'a>(facts: &'a Facts, name: &Name, other: Kind) -> Result<(&'a Entry, &'a Materialized)> {
    let shown = match &name.schema {
        Some(schema) => format!("{schema}.{}", name.table),
        None => name.table.clone(),
    };
    let missing = || Error::new(Kind::UndefinedTable, format!("relation \"{shown}\" does not exist"));
    let entry = entry(facts, name, &missing)?;
    match target::materialized(entry) {
        Some(view) => Ok((entry, view)),
        None => Err(Error::new(other, format!("\"{}\" is not a materialized view", name.table))),
    }
}

/// 42501 for whoever may not drop it.
pub(in crate::engine::statement) fn may_drop(facts: &Facts, entry: &Entry) -> Result<Arc<dyn Writer>> {
    let name = &entry.object.name;
    if matches!(facts.policy.decide(entry.object.id, Action::Drop), Decision::Deny) {
        return Err(must_own(&name.table));
    }
    facts.gave(Right::To(Action::Drop, entry.object.id));
    world::writer(&facts.world.catalog, &name.schema)?.ok_or_else(|| must_own(&name.table))
}

fn must_own(name: &str) -> Error {
    Error::new(Kind::PermissionDenied, format!("must be owner of materialized view {name}"))
}
