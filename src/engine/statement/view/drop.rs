//! DROP VIEW and DROP MATERIALIZED VIEW. CASCADE drops the views that read it first.

use std::sync::Arc;

use super::super::name::Name;
use super::super::{Admitted, Execution, Outcome, Statement, Work, dependents, target};
use super::{entry, name_of};
use crate::catalog::{Body, Entry};
use crate::engine::facts::Facts;
use crate::engine::notice::Notice;
use crate::engine::session::Session;
use crate::engine::temporary::Temporary;
use crate::error::{Error, Kind, Result};
use crate::sources::Writer;
use crate::sql::parse::view::Drop;

#[derive(Debug)]
struct DropView {
    names: Vec<Name>,
    if_exists: bool,
    cascade: bool,
    materialized: bool,
}

pub(super) fn admit(drop: Drop) -> Result<Admitted> {
    let names = drop.names.iter().map(name_of).collect::<Result<_>>()?;
    let Drop { if_exists, cascade, materialized, .. } = drop;
    Ok(Admitted::new(DropView { names, if_exists, cascade, materialized }))
}

impl Statement for DropView {
    fn kind(&self) -> &'static str {
        "drop view"
    }

    fn writes(&self) -> bool {
        true
    }

    fn is_several(&self) -> bool {
        self.cascade || self.names.len() > 1
    }

    fn is_temporary(&self, temporary: &Temporary) -> bool {
        self.names.iter().all(|name| temporary.has(name))
    }

    fn run<'a>(&'a self, session: &'a mut Session, execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let facts = session.facts()?;
            let tag = if self.materialized { "DROP MATERIALIZED VIEW" } else { "DROP VIEW" };
            // all of them are looked up before the first one goes
            let mut own: Vec<&str> = vec![];
            let mut found: Vec<(&Entry, Arc<dyn Writer>)> = vec![];
            for name in &self.names {
                if facts.temporary.has(name) {
                    if !own.contains(&name.table.as_str()) {
                        own.push(&name.table);
                    }
                    continue;
                }
                match self.found(&facts, name) {
                    Ok((one, _)) if found.iter().any(|(known, _)| known.object.id == one.object.id) => {}
                    Ok(one) => found.push(one),
                    Err(e) if self.if_exists && e.kind() == Kind::UndefinedTable => {
                        session.say(Notice::skipping(self.what(), &name.table));
                    }
                    Err(e) if self.if_exists && e.kind() == Kind::UndefinedSchema => {
                        session.say(Notice::skipping("schema", name.schema.as_deref().unwrap_or_default()));
                    }
                    Err(e) => return Err(e),
                }
            }
            for name in own {
                self.own(session, &facts, name)?;
            }
            if found.is_empty() {
                return Outcome::done(tag);
            }
            let named: Vec<&Entry> = found.iter().map(|(entry, _)| *entry).collect();
            let mut dropped = dependents::drop_readers(session, &facts, &named, self.cascade).await?;
            for (view, writer) in &found {
                dropped.push(view.object.name.to_string());
                execution.record.target(dropped.join(" "));
                dependents::drop_one(&facts, view, writer.as_ref()).await?;
            }
            Outcome::changed(tag, &facts.world)
        })
    }
}

impl DropView {
    /// One of the session's: it goes at once, as everything of theirs does.
    fn own(&self, session: &mut Session, facts: &Facts, name: &str) -> Result<()> {
        let is_view = facts.temporary.view(name).is_some();
        if self.materialized || !is_view {
            let kind = if is_view { "VIEW" } else { "TABLE" };
            let hint = format!("Use DROP {kind} to remove a {}.", kind.to_lowercase());
            let error = Error::new(Kind::WrongObjectType, format!("\"{name}\" is not a {}", self.what()));
            return Err(error.with_hint(hint));
        }
        if let Some(notice) = dependents::drop_own(facts, name, self.cascade)? {
            session.say(notice);
        }
        Ok(())
    }

    fn what(&self) -> &'static str {
        if self.materialized { "materialized view" } else { "view" }
    }

    fn found<'a>(&self, facts: &'a Facts, name: &Name) -> Result<(&'a Entry, Arc<dyn Writer>)> {
        if let Some(schema) = name.schema.as_ref().filter(|schema| facts.view.schema_oid(schema).is_none()) {
            return Err(Error::new(Kind::UndefinedSchema, format!("schema \"{schema}\" does not exist")));
        }
        let text = || format!("{} \"{}\" does not exist", self.what(), name.shown());
        let missing = || Error::new(Kind::UndefinedTable, text());
        let entry = entry(facts, name, &missing)?;
        let kind = match (&entry.body, target::materialized(entry)) {
            (Body::Table(_), None) => "table",
            (Body::Table(_), Some(_)) => "materialized view",
            (Body::Dataset(_), _) => "view",
        };
        if kind == self.what() {
            return Ok((entry, dependents::may_drop(facts, entry)?));
        }
        let error = Error::new(Kind::WrongObjectType, format!("\"{}\" is not a {}", name.table, self.what()));
        Err(error.with_hint(format!("Use DROP {} to remove a {kind}.", kind.to_uppercase())))
    }
}
