//! CREATE, ALTER, DROP and REFRESH REFLECTION. A reflection is made by whoever sees everything of what it reads, since its
//! rows, its size and what it answers tell of all of it; to anybody else it is not there. An owner who does not see all of it
//! any more may only drop it.

use std::sync::Arc;

use super::{Admitted, Execution, Outcome, Statement, Work, hidden, ident, target};
use crate::catalog::Entry;
use crate::catalog::reflection::Definition;
use crate::catalog::reflections::sees_all;
use crate::engine::bodies;
use crate::engine::facts::Facts;
use crate::engine::limits::Limits;
use crate::engine::notice::Notice;
use crate::engine::pipeline::Told;
use crate::engine::reflect::{Kept, reflect};
use crate::engine::refresh::{self, Task};
use crate::engine::run::Bounds;
use crate::engine::session::{Session, in_block};
use crate::error::{Error, Kind, Result};
use crate::metastore::Metastore;
use crate::policy::{Action, Decision};
use crate::reflection;
use crate::sql::parse::reflection::{Change, Create, Reflection};
use crate::types::ObjectId;

#[derive(Debug)]
struct AboutReflection(Reflection);

pub(super) fn admit(statement: Reflection) -> Admitted {
    Admitted::new(AboutReflection(statement))
}

impl AboutReflection {
    fn tag(&self) -> &'static str {
        match &self.0 {
            Reflection::Create(_) => "CREATE REFLECTION",
            Reflection::Alter { .. } => "ALTER REFLECTION",
            Reflection::Drop { .. } => "DROP REFLECTION",
            Reflection::Refresh(_) => "REFRESH REFLECTION",
        }
    }
}

impl Statement for AboutReflection {
    fn kind(&self) -> &'static str {
        match &self.0 {
            Reflection::Create(_) => "create reflection",
            Reflection::Alter { .. } => "alter reflection",
            Reflection::Drop { .. } => "drop reflection",
            Reflection::Refresh(_) => "refresh reflection",
        }
    }

    fn writes(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, session: &'a mut Session, execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            if session.transaction.is_block() {
                return Err(in_block(self.tag()));
            }
            let facts = session.facts()?;
            let changed = match &self.0 {
                Reflection::Create(create) => {
                    execution.record.target(ident(&create.name));
                    made(session, &facts, create).await?
                }
                Reflection::Alter { name, if_exists, change } => {
                    let name = ident(name);
                    execution.record.target(name.as_str());
                    altered(session, &facts, &name, *if_exists, change).await?
                }
                Reflection::Drop { name, if_exists } => {
                    let name = ident(name);
                    execution.record.target(name.as_str());
                    dropped(session, &facts, &name, *if_exists).await?
                }
                Reflection::Refresh(name) => {
                    let name = ident(name);
                    execution.record.target(name.as_str());
                    refreshed(session, &facts, &name, &execution.bounds).await?;
                    false
                }
            };
            match changed {
                true => Outcome::changed(self.tag(), &facts.world),
                false => Outcome::done(self.tag()),
            }
        })
    }
}

/// `false`: it is there already, and may.
async fn made(session: &mut Session, facts: &Arc<Facts>, create: &Create) -> Result<bool> {
    target::as_oneself(facts)?;
    let metastore = metastore(facts)?;
    let user = session.principal().user().to_owned();
    let definition = Definition::read(&user, &create.text, None)?;
    visible(session, create).await?;
    let reflection = reflect(&definition, &facts.world.catalog, &facts.world.reflections).map_err(|error| {
        match (error.kind(), error.position()) {
            (Kind::UndefinedTable, _) => error.with_hint("In a reflection names of tables stand with their schemas."),
            (_, Some(at)) => error.at(create.query.place(at)),
            (_, None) => error,
        }
    })?;
    may_keep(facts, &reflection.bases)?;
    let taken = facts.world.reflections.names().contains(definition.name.as_str());
    let kept = Kept { owner: user, text: definition.text.clone(), enabled: true, refresh: None };
    if !taken && kept.add(metastore, &definition.name).await? {
        if !reflection.answers() {
            let text = format!(
                "reflection \"{}\" is kept up to date, and no statement is answered from it yet",
                definition.name
            );
            let detail = "It leaves out groups, or is of another kind than rows or groups of tables and their inner and left joins.";
            session.say(Notice::notice("00000", text).with_detail(detail));
        }
        return Ok(true);
    }
    let text = format!("reflection \"{}\" already exists", definition.name);
    if !create.if_not_exists {
        return Err(Error::new(Kind::DuplicateTable, text));
    }
    session.say(Notice::notice(Kind::DuplicateTable.sqlstate(), format!("{text}, skipping")));
    Ok(false)
}

/// The query as any other statement of the session's: what it may not see is not there.
async fn visible(session: &mut Session, create: &Create) -> Result<()> {
    let sql = &create.query.sql;
    let query = bodies::read(sql, &Limits::default())?;
    hidden::refuse(&query)?;
    let told = Told { text: sql.as_str().into(), ..Told::default() };
    let planned = session.plan(&query, told).await.map_err(|error| match error.position() {
        Some(at) => error.at(create.query.place(at)),
        None => error,
    });
    planned.map(|_| ())
}

/// 42501 unless it sees everything of the tables, and may refresh what is made of them.
fn may_keep(facts: &Facts, bases: &[ObjectId]) -> Result<()> {
    for entry in facts.world.catalog.entries.values().filter(|entry| bases.contains(&entry.object.id)) {
        if !target::is_whole(facts, entry) || !may_refresh(facts, &[entry.object.id]) {
            let text = format!("permission denied for table {}", entry.object.name.table);
            let error = Error::new(Kind::PermissionDenied, text);
            return Err(error.with_hint("A reflection needs all of a table, and the right to refresh."));
        }
    }
    Ok(())
}

/// Whether the session could make one of this table alone.
pub(super) fn may_make(facts: &Facts, entry: &Entry) -> bool {
    target::as_oneself(facts).is_ok() && target::is_whole(facts, entry) && may_refresh(facts, &[entry.object.id])
}

fn may_refresh(facts: &Facts, bases: &[ObjectId]) -> bool {
    let may = |base: &ObjectId| matches!(facts.policy.decide(*base, Action::Refresh), Decision::Allow(_));
    facts.view.is_admin || bases.iter().all(may)
}

/// A reflection that a statement names.
struct Found {
    /// `None`: it cannot be planned now.
    reflection: Option<Arc<reflection::Reflection>>,
    /// `None`: a file says what it is.
    kept: Option<Kept>,
}

impl Found {
    /// `None` for one that the session may not know of.
    async fn of(facts: &Facts, name: &str) -> Result<Option<Self>> {
        let known = facts.world.reflections.named(name).cloned();
        let kept = Kept::find(metastore(facts)?, name).await?;
        // of a name that a file has too, the file's stands
        let kept = kept.filter(|_| known.as_ref().is_none_or(|known| known.upkeep.file.is_none()));
        let owner = known.as_ref().map(|known| &known.upkeep.owner).or(kept.as_ref().map(|kept| &kept.owner));
        let Some(owner) = owner.cloned() else { return Ok(None) };
        let sees = known.as_ref().is_some_and(|known| sees_all(&facts.policy, known.bases.iter().copied()));
        match facts.view.is_admin || sees || owns(facts, &owner) {
            true => Ok(Some(Self { reflection: known, kept })),
            false => Ok(None),
        }
    }

    fn owner(&self) -> &str {
        let of_reflection = self.reflection.as_ref().map(|reflection| reflection.upkeep.owner.as_str());
        of_reflection.or(self.kept.as_ref().map(|kept| kept.owner.as_str())).unwrap_or_default()
    }

    /// Whether it reads nothing but what the session sees all of. What cannot be planned now reads nobody knows what.
    fn is_seen(&self, facts: &Facts) -> bool {
        self.reflection.as_ref().is_some_and(|known| sees_all(&facts.policy, known.bases.iter().copied()))
    }

    /// What SQL may change: 42501 for others than its owner and admins, 55000 for what a file says.
    fn owned(self, facts: &Facts, name: &str) -> Result<Kept> {
        if !facts.view.is_admin && !owns(facts, self.owner()) {
            let text = format!("must be owner of reflection {name}");
            return Err(Error::new(Kind::PermissionDenied, text));
        }
        self.kept.ok_or_else(|| {
            let text = format!("reflection \"{name}\" is defined by a file of the catalog");
            Error::new(Kind::NotInState, text).with_hint("Change or remove the file in `catalog/reflections/`.")
        })
    }
}

fn owns(facts: &Facts, owner: &str) -> bool {
    facts.policy.principal().acts_for().is_none() && facts.policy.closure().iter().any(|name| name.as_ref() == owner)
}

fn missing(name: &str) -> Error {
    Error::new(Kind::UndefinedObject, format!("reflection \"{name}\" does not exist"))
}

fn denied(name: &str) -> Error {
    Error::new(Kind::PermissionDenied, format!("permission denied for reflection {name}"))
        .with_hint("It needs all of the tables that the reflection reads.")
}

fn skipped(session: &mut Session, name: &str) -> bool {
    let text = format!("reflection \"{name}\" does not exist, skipping");
    session.say(Notice::notice("00000", text));
    false
}

async fn altered(session: &mut Session, facts: &Facts, name: &str, if_exists: bool, change: &Change) -> Result<bool> {
    let metastore = metastore(facts)?;
    let Some(found) = Found::of(facts, name).await? else {
        return if if_exists { Ok(skipped(session, name)) } else { Err(missing(name)) };
    };
    let is_seen = found.is_seen(facts);
    let mut kept = found.owned(facts, name)?;
    if !facts.view.is_admin && !is_seen {
        return Err(denied(name));
    }
    let before = kept.clone();
    match change {
        Change::Enabled(enabled) => kept.enabled = *enabled,
        Change::Refresh(refresh) => {
            kept.refresh = Some(*refresh);
            // not every table tells of its commits
            reflect(&kept.definition()?, &facts.world.catalog, &facts.world.reflections)?;
        }
    }
    kept.put(metastore, name).await?;
    Ok(kept != before)
}

async fn dropped(session: &mut Session, facts: &Facts, name: &str, if_exists: bool) -> Result<bool> {
    let metastore = metastore(facts)?;
    let Some(found) = Found::of(facts, name).await? else {
        return if if_exists { Ok(skipped(session, name)) } else { Err(missing(name)) };
    };
    found.owned(facts, name)?;
    Kept::remove(metastore, name).await?;
    Ok(true)
}

/// At once, and as a refresh of the server's own would be: by difference where that can be.
async fn refreshed(session: &mut Session, facts: &Facts, name: &str, bounds: &Bounds) -> Result<()> {
    let found = Found::of(facts, name).await?.ok_or_else(|| missing(name))?;
    let (is_admin, is_seen) = (facts.view.is_admin, found.is_seen(facts));
    let owned = is_admin || owns(facts, found.owner());
    let Some(reflection) = found.reflection else {
        let text = format!("reflection \"{name}\" cannot be made now");
        return Err(Error::new(Kind::NotInState, text).with_hint("An administrator finds the reason in the log."));
    };
    if !is_admin && !is_seen {
        return Err(denied(name));
    }
    if !owned && !may_refresh(facts, &reflection.bases) {
        return Err(Error::new(Kind::PermissionDenied, format!("permission denied for reflection {name}")));
    }
    let home = refresh::home(metastore(facts)?).await?;
    let task = Task::new(&session.engine, &facts.world, &reflection, &home);
    let table = task.bases().first().map(|entry| entry.object.name.clone());
    let table = table.unwrap_or_else(|| crate::types::TableName::new("", ""));
    let job = session.engine.jobs().begin("refresh_reflection", table, Some(session.principal().user().into()));
    match bounds.hold(Box::pin(task.run(&job))).await {
        Ok(done) => {
            job.done(format!("reflection {name}: {}", done.word()));
            session.say(Notice::notice("00000", format!("reflection {name}: {}", done.word())));
            Ok(())
        }
        Err(error) => {
            let told = refresh::told(&error);
            job.failed(format!("reflection {name}: {told}"));
            Err(if is_seen { error } else { Error::new(error.kind(), told).with_source(error) })
        }
    }
}

fn metastore(facts: &Facts) -> Result<&Metastore> {
    let metastore = facts.world.metastore().map(AsRef::as_ref);
    metastore.ok_or_else(|| Error::unsupported("reflections in a world without a metastore"))
}
