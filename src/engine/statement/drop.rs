//! DROP TABLE and DROP SCHEMA: all names or none. CASCADE takes along what stands in a schema where all of it is the
//! session's to drop.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{ObjectName, ObjectType};

use super::name::{Name, single, table_name};
use super::{Admitted, Execution, Outcome, Statement, Work, dependents, target};
use crate::catalog::Entry;
use crate::engine::facts::Facts;
use crate::engine::notice::Notice;
use crate::engine::session::Session;
use crate::engine::temporary::Temporary;
use crate::error::{Error, Kind, Result};
use crate::policy::{Action, ObjectKind};
use crate::sources::Writer;

#[derive(Debug)]
struct DropTable {
    names: Vec<Name>,
    if_exists: bool,
    cascade: bool,
}

#[derive(Debug)]
struct DropSchema {
    names: Vec<String>,
    if_exists: bool,
    cascade: bool,
}

pub(super) fn admit(what: ObjectType, names: &[ObjectName], if_exists: bool, cascade: bool) -> Result<Admitted> {
    match what {
        ObjectType::Table => {
            let names = names.iter().map(table_name).collect::<Result<_>>()?;
            Ok(Admitted::new(DropTable { names, if_exists, cascade }))
        }
        ObjectType::Schema => {
            let names = names.iter().map(|n| single(n, "a schema")).collect::<Result<_>>()?;
            Ok(Admitted::new(DropSchema { names, if_exists, cascade }))
        }
        ObjectType::Index => super::unowned::drop_index(names, if_exists),
        ObjectType::Collation
        | ObjectType::View
        | ObjectType::MaterializedView
        | ObjectType::Database
        | ObjectType::Role
        | ObjectType::Sequence
        | ObjectType::Stage
        | ObjectType::Type
        | ObjectType::User
        | ObjectType::Stream => Err(Error::unsupported(format!("DROP {what}"))),
    }
}

impl Statement for DropTable {
    fn kind(&self) -> &'static str {
        "drop table"
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
            // all of them are looked up before the first one goes, each once
            let mut own: Vec<&str> = vec![];
            let mut found: Vec<(&Entry, Arc<dyn Writer>)> = vec![];
            for name in &self.names {
                if facts.temporary.has(name) {
                    if facts.temporary.view(&name.table).is_some() {
                        return Err(target::not_for_views(&name.table, Action::Drop));
                    }
                    if !own.contains(&name.table.as_str()) {
                        own.push(&name.table);
                    }
                    continue;
                }
                match target::table(&facts, name, Action::Drop) {
                    Ok((entry, _)) if found.iter().any(|(known, _)| known.object.id == entry.object.id) => {}
                    Ok(one) => found.push(one),
                    Err(e) if self.if_exists && e.kind() == Kind::UndefinedTable => {
                        let missing = name.schema.as_ref().filter(|schema| facts.view.schema_oid(schema).is_none());
                        session.say(match missing {
                            Some(schema) => Notice::skipping("schema", schema),
                            None => Notice::skipping("table", &name.table),
                        });
                    }
                    Err(e) => return Err(e),
                }
            }
            for name in own {
                if let Some(notice) = dependents::drop_own(&facts, name, self.cascade)? {
                    session.say(notice);
                }
            }
            let entries: Vec<&Entry> = found.iter().map(|(entry, _)| *entry).collect();
            let mut dropped = dependents::drop_readers(session, &facts, &entries, self.cascade).await?;
            for (entry, writer) in &found {
                dropped.push(entry.object.name.to_string());
                execution.record.target(dropped.join(" "));
                writer.drop_table(&entry.object.name).await?;
            }
            outcome("DROP TABLE", &dropped, &facts)
        })
    }
}

impl Statement for DropSchema {
    fn kind(&self) -> &'static str {
        "drop schema"
    }

    fn writes(&self) -> bool {
        true
    }

    fn is_several(&self) -> bool {
        self.cascade || self.names.len() > 1
    }

    fn run<'a>(&'a self, session: &'a mut Session, execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let facts = session.facts()?;
            let (mut dropped, mut along) = (vec![], vec![]);
            for name in &self.names {
                match target::writer_for_drop(&facts, name) {
                    Ok(writer) => {
                        let within = self.within(&facts, name)?;
                        along.extend(within.iter().map(|entry| dependents::described(&facts, entry)));
                        dependents::drop_readers(session, &facts, &within, true).await?;
                        for entry in within {
                            dependents::drop_one(&facts, entry, writer.as_ref()).await?;
                        }
                        dropped.push(name.clone());
                        execution.record.target(dropped.join(" "));
                        writer.drop_schema(name).await?;
                    }
                    Err(e) if self.if_exists && e.kind() == Kind::UndefinedSchema => {
                        session.say(Notice::skipping("schema", name));
                    }
                    Err(e) => return Err(e),
                }
            }
            if let Some(notice) = dependents::cascaded(&along) {
                session.say(notice);
            }
            outcome("DROP SCHEMA", &dropped, &facts)
        })
    }
}

impl DropSchema {
    /// What goes with the schema. 2BP01 without CASCADE, naming what the session sees of it.
    fn within<'a>(&self, facts: &'a Facts, schema: &str) -> Result<Vec<&'a Entry>> {
        if self.cascade {
            return target::owned_in(facts, schema);
        }
        let within = facts.world.catalog.entries.values().filter(|entry| entry.object.name.schema == schema);
        let seen = within.filter(|entry| {
            let is_by_itself = !matches!(entry.object.kind, ObjectKind::MetadataOf { .. });
            is_by_itself && facts.view.table(&entry.object.name).is_some()
        });
        let line = |entry| format!("{} depends on schema {schema}", dependents::described(facts, entry));
        let lines: Vec<_> = seen.map(line).collect();
        if lines.is_empty() {
            return Ok(vec![]); // what the session does not see is the catalog's to say
        }
        let text = format!("cannot drop schema {schema} because other objects depend on it");
        Err(Error::new(Kind::DependentObjects, text)
            .with_detail(lines.join("\n"))
            .with_hint("Use DROP ... CASCADE to drop the dependent objects too."))
    }
}

fn outcome(tag: &str, dropped: &[String], facts: &Facts) -> Result<Outcome> {
    if dropped.is_empty() { Outcome::done(tag) } else { Outcome::changed(tag, &facts.world) }
}
