//! CREATE, REFRESH and ALTER MATERIALIZED VIEW: a table of the lake that says which query fills it. Who reads it is judged
//! as for any table. What its owner saw when it was refreshed lies in it; what readers may see of the tables below is not
//! asked again.
//!
//! Its owner alone refreshes it: the query runs with the rights that the owner has then, and with nobody else's.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{ObjectName, Query};

use super::super::alter::{NewName, rename};
use super::super::create_table::{already_there, made};
use super::super::create_table_as::storable;
use super::super::name::Name;
use super::super::{Admitted, Described, Execution, Outcome, Statement, Work, target};
use super::{Words, Written, entry, name_of};
use crate::catalog::Entry;
use crate::engine::asked::Right;
use crate::engine::bodies;
use crate::engine::facts::Facts;
use crate::engine::notice::Notice;
use crate::engine::pipeline::{Caching, Told};
use crate::engine::session::Session;
use crate::engine::temporary::Temporary;
use crate::engine::{run, world};
use crate::error::{Error, Kind, Result};
use crate::lake::Making;
use crate::policy::{Action, Decision};
use crate::sources::declared::Materialized;
use crate::sources::{Table, Writer};
use crate::sql::parse::alter;
use crate::sql::parse::view::{self, Change, CreateMaterialized};

const RENAMING_A_COLUMN: &str = "renaming a column of a materialized view";
const GIVING_AWAY: &str = "giving away a materialized view";
const OPTIONS: &str = "options of a materialized view";

#[derive(Debug)]
struct Create {
    name: Name,
    written: Written,
    if_not_exists: bool,
    with_data: bool,
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
    let CreateMaterialized { query, before, columns, if_not_exists, with_data, .. } = create;
    let written = Written::of(query, before, &columns);
    Ok(Admitted::new(Create { name, written, if_not_exists, with_data }))
}

pub(super) fn admit_refresh(refresh: &view::Refresh) -> Result<Admitted> {
    if refresh.concurrently && !refresh.with_data {
        let text = "REFRESH options CONCURRENTLY and WITH NO DATA cannot be used together";
        return Err(Error::new(Kind::Syntax, text));
    }
    let view::Refresh { concurrently, with_data, .. } = *refresh;
    Ok(Admitted::new(Refresh { name: name_of(&refresh.name)?, concurrently, with_data }))
}

pub(super) fn admit_alter(name: &ObjectName, if_exists: bool, change: Change) -> Result<Admitted> {
    match change {
        Change::Rename(_) | Change::SetSchema(_) | Change::OfTables(_) => {
            Ok(Admitted::new(Alter { name: name_of(name)?, if_exists, change }))
        }
        Change::RenameColumn { .. } => Err(Error::unsupported(RENAMING_A_COLUMN)),
        Change::Owner(_) => Err(Error::unsupported(GIVING_AWAY)),
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
            let told = || Told { text: self.written.query.as_str().into(), ..Told::default() };
            let planned = session.plan(&query, told()).await.map_err(|error| self.written.placed(error))?;
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
            // as PostgreSQL has it: what the query names, whether there is one of the name, what its columns are called, and
            // then what it computes
            let columns = session.columns(&mut execution).await?;
            if target::known_entry(&facts, &name, Action::Drop).is_ok() {
                if !self.if_not_exists {
                    let text = format!("relation \"{}\" already exists", name.table);
                    return Err(Error::new(Kind::DuplicateTable, text));
                }
                return self.skipped(session);
            }
            let definition = self.written.defined(session, &facts).await?;
            if !definition.own.is_empty() {
                let text = "materialized views must not use temporary tables or views";
                return Err(Error::new(Kind::Unsupported, text));
            }
            let owner = facts.policy.principal().user().to_owned();
            let view = Materialized { sql: definition.sql, owner, is_populated: self.with_data };
            let properties = [(Materialized::KEY.to_string(), view.json())].into();
            let making = Making { properties, ..Making::default() };
            let lanes = session.engine.shared.lanes.clone();
            let (schema, rows) = match self.with_data {
                true => {
                    let ready = session.ready(&mut execution, Caching::Never).await?;
                    let schema = self.schema(&ready.columns)?;
                    let rows = run::run(&lanes, ready, execution.bounds)?.into_stream(None, Arc::clone(&schema));
                    (schema, Some(rows))
                }
                // what would fail in its rows may do so at a refresh
                false => (self.schema(&columns)?, None),
            };
            let write = async move { writer.create_table(&name, schema, making, rows).await };
            let made = made(lanes.run(write).await, self.if_not_exists)?;
            execution.record.rows = made.unwrap_or(0);
            match made {
                Some(rows) if self.with_data => Outcome::changed(format!("SELECT {rows}"), &facts.world),
                Some(_) => Outcome::changed(CREATED, &facts.world),
                None => self.skipped(session),
            }
        })
    }
}

const CREATED: &str = "CREATE MATERIALIZED VIEW";

impl Create {
    fn query(&self, session: &Session) -> Result<Box<Query>> {
        let query = bodies::read(&self.written.query, &session.engine.shared.config.statement);
        query.map_err(|error| self.written.placed(error))
    }

    fn skipped(&self, session: &mut Session) -> Result<Outcome> {
        session.say(already_there(&self.name.table));
        Outcome::done(CREATED)
    }

    /// Any column may come to be NULL at a later refresh.
    fn schema(&self, columns: &Schema) -> Result<SchemaRef> {
        let words = Words {
            too_many_names: "too many column names were specified",
            no_columns: "a materialized view without columns",
        };
        let fields = self.written.named(columns, &words)?.into_iter().map(|field| field.with_nullable(true));
        Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
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
            // places in the text that is kept are none in the statement
            let placeless = Error::without_position;
            let query = bodies::read(&owned.view.sql, &session.engine.shared.config.statement).map_err(placeless)?;
            let into = owned.table.schema().fields().iter().cloned().collect();
            let told = Told { text: owned.view.sql.as_str().into(), into, ..Told::default() };
            Described::stored(session.plan(&query, told).await.map_err(placeless)?)
        })
    }

    fn run<'a>(&'a self, session: &'a mut Session, mut execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let facts = session.facts()?;
            let Owned { entry, view, table, writer } = self.owned(&facts)?;
            execution.record.target(entry.object.name.to_string());
            // what it replaces is told before its query reads: of two refreshes the one that reads first must not come last
            let standing = writer.standing(table.as_ref()).await?;
            // nothing else of the catalog is another one after it, and nobody waits for a look that finds nothing
            let reshapes = view.is_populated != self.with_data;
            let view = Materialized { is_populated: self.with_data, ..view.clone() };
            let rows = match self.with_data {
                false => None,
                true => {
                    let ready = session.ready(&mut execution, Caching::Never).await?;
                    let lanes = &session.engine.shared.lanes;
                    Some(run::run(lanes, ready, execution.bounds)?.into_stream(None, table.schema()))
                }
            };
            let write = async move { writer.refill(table.as_ref(), standing, rows, &view).await };
            execution.record.rows = session.engine.shared.lanes.run(write).await?;
            match reshapes {
                true => Outcome::changed(REFRESHED, &facts.world),
                false => Outcome::done(REFRESHED),
            }
        })
    }
}

const REFRESHED: &str = "REFRESH MATERIALIZED VIEW";

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
            let new = match &self.change {
                Change::Rename(to) => NewName::Table(to),
                Change::SetSchema(to) => NewName::Schema(to),
                Change::OfTables(action) => return Err(not_performed(action, &self.name.table)),
                Change::RenameColumn { .. } | Change::Owner(_) | Change::Other(_) => {
                    return Err(Error::internal("a change of a materialized view that was not admitted"));
                }
            };
            rename(&facts, &entry.object.name, writer.as_ref(), new, TAG).await
        })
    }
}

/// Of a change by ALTER TABLE that gives no other name: 0A000 for what there is in PostgreSQL, 42809 for the rest.
pub(in crate::engine::statement) fn not_as_table(name: &str, change: &alter::Change) -> Error {
    match change {
        alter::Change::RenameColumn { .. } => Error::unsupported(RENAMING_A_COLUMN),
        alter::Change::Owner => Error::unsupported(GIVING_AWAY),
        alter::Change::Set(_) | alter::Change::Reset(_) => Error::unsupported(OPTIONS),
        alter::Change::Other(words) => Error::unsupported(format!("ALTER TABLE … {words}")),
        alter::Change::Rename(_) | alter::Change::SetSchema(_) => Error::internal("a name among changes"),
        alter::Change::Add { .. } => not_performed("ADD COLUMN", name),
        alter::Change::Drop { .. } => not_performed("DROP COLUMN", name),
        alter::Change::Retype { .. } => not_performed("ALTER COLUMN ... SET DATA TYPE", name),
        alter::Change::NotNull { set: true, .. } => not_performed("ALTER COLUMN ... SET NOT NULL", name),
        alter::Change::NotNull { set: false, .. } => not_performed("ALTER COLUMN ... DROP NOT NULL", name),
        alter::Change::Default { .. } => not_performed("ALTER COLUMN ... SET DEFAULT", name),
    }
}

/// As ATSimplePermissions has it.
fn not_performed(action: &str, name: &str) -> Error {
    let text = format!("ALTER action {action} cannot be performed on relation \"{name}\"");
    let detail = "This operation is not supported for materialized views.";
    Error::new(Kind::WrongObjectType, text).with_detail(detail)
}

/// 42P01 where the session sees nothing of the name, `other` where it is something else: PostgreSQL has another code for
/// each statement.
fn found<'a>(facts: &'a Facts, name: &Name, other: Kind) -> Result<(&'a Entry, &'a Materialized)> {
    let missing = || target::undefined_relation(&name.shown());
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
