//! DROP TABLE and DROP SCHEMA: each name is a commit of its own.

use datafusion::sql::sqlparser::ast::{ObjectName, ObjectType};

use super::name::{Name, single, table_name};
use super::{Admitted, Execution, Outcome, Statement, Work, dependents, target};
use crate::engine::facts::Facts;
use crate::engine::notice::Notice;
use crate::engine::session::Session;
use crate::engine::temporary::Temporary;
use crate::error::{Error, Kind, Result};
use crate::policy::Action;

#[derive(Debug)]
struct DropTable {
    names: Vec<Name>,
    if_exists: bool,
}

#[derive(Debug)]
struct DropSchema {
    names: Vec<String>,
    if_exists: bool,
}

pub(super) fn admit(what: ObjectType, names: &[ObjectName], if_exists: bool, is_plain: bool) -> Result<Admitted> {
    if !is_plain {
        return Err(Error::unsupported("DROP … CASCADE"));
    }
    match what {
        ObjectType::Table => {
            let names = names.iter().map(table_name).collect::<Result<_>>()?;
            Ok(Admitted::new(DropTable { names, if_exists }))
        }
        ObjectType::Schema => {
            let names = names.iter().map(|n| single(n, "a schema")).collect::<Result<_>>()?;
            Ok(Admitted::new(DropSchema { names, if_exists }))
        }
        ObjectType::Collation
        | ObjectType::View
        | ObjectType::MaterializedView
        | ObjectType::Index
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

    fn is_temporary(&self, temporary: &Temporary) -> bool {
        // names that are nothing write nothing: what is of the lake is asked for where it is found
        self.if_exists || self.names.iter().all(|name| temporary.has(name))
    }

    fn run<'a>(&'a self, session: &'a mut Session, execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let facts = session.facts()?;
            let mut dropped = vec![];
            for name in &self.names {
                if facts.temporary.has(name) {
                    if facts.temporary.view(&name.table).is_some() {
                        return Err(target::not_for_views(&name.table, Action::Drop));
                    }
                    dependents::drop_own(&facts, &name.table, false)?;
                    continue;
                }
                match target::table(&facts, name, Action::Drop) {
                    Ok((entry, writer)) => {
                        session.may_write("DROP TABLE")?;
                        dependents::drop_readers(session, &facts, &[entry], false).await?;
                        dropped.push(entry.object.name.to_string());
                        execution.record.target(dropped.join(" "));
                        writer.drop_table(&entry.object.name).await?;
                    }
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

    fn run<'a>(&'a self, session: &'a mut Session, execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let facts = session.facts()?;
            let mut dropped = vec![];
            for name in &self.names {
                match target::writer_for_drop(&facts, name) {
                    Ok(writer) => {
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
            outcome("DROP SCHEMA", &dropped, &facts)
        })
    }
}

fn outcome(tag: &str, dropped: &[String], facts: &Facts) -> Result<Outcome> {
    if dropped.is_empty() { Outcome::done(tag) } else { Outcome::changed(tag, &facts.world) }
}
