//! DROP TABLE and DROP SCHEMA: all names or none. CASCADE takes along what stands in a schema where all of it is the
//! session's to drop.

use datafusion::sql::sqlparser::ast::{ObjectName, ObjectType};

use super::name::{Name, single, table_name};
use super::{Admitted, Execution, Outcome, Statement, Work, target};
use crate::engine::facts::Facts;
use crate::engine::notice::Notice;
use crate::engine::session::Session;
use crate::engine::temporary::Temporary;
use crate::error::{Error, Kind, Result};
use crate::policy::Action;
use crate::types::TableName;

#[derive(Debug)]
struct DropTable {
    names: Vec<Name>,
    if_exists: bool,
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
            Ok(Admitted::new(DropTable { names, if_exists }))
        }
        ObjectType::Schema => {
            let names = names.iter().map(|n| single(n, "a schema")).collect::<Result<_>>()?;
            Ok(Admitted::new(DropSchema { names, if_exists, cascade }))
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

    fn is_several(&self) -> bool {
        self.names.len() > 1
    }

    fn is_temporary(&self, temporary: &Temporary) -> bool {
        self.names.iter().all(|name| temporary.has(name))
    }

    fn run<'a>(&'a self, session: &'a mut Session, execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let facts = session.facts()?;
            let mut dropped = vec![];
            for name in &self.names {
                if facts.temporary.has(name) {
                    facts.temporary.drop_table(&name.table);
                    continue;
                }
                match target::table(&facts, name, Action::Drop) {
                    Ok((entry, writer)) => {
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
                        for table in &within {
                            writer.drop_table(table).await?;
                        }
                        along.extend(within.iter().map(|table| format!("table {table}")));
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
            if let Some(notice) = cascaded(&along) {
                session.say(notice);
            }
            outcome("DROP SCHEMA", &dropped, &facts)
        })
    }
}

impl DropSchema {
    /// The tables that go with the schema. 2BP01 without CASCADE, naming those that the session sees.
    fn within(&self, facts: &Facts, schema: &str) -> Result<Vec<TableName>> {
        if self.cascade {
            return target::owned_in(facts, schema);
        }
        let seen: Vec<_> = facts.view.tables.iter().filter(|table| table.name.schema == schema).collect();
        let lines: Vec<_> =
            seen.iter().map(|table| format!("table {} depends on schema {schema}", table.name)).collect();
        if lines.is_empty() {
            return Ok(vec![]); // what the session does not see is the catalog's to say
        }
        let text = format!("cannot drop schema {schema} because other objects depend on it");
        Err(Error::new(Kind::DependentObjects, text)
            .with_detail(lines.join("\n"))
            .with_hint("Use DROP ... CASCADE to drop the dependent objects too."))
    }
}

/// What goes along (reportDependentObjects).
fn cascaded(along: &[String]) -> Option<Notice> {
    match along {
        [] => None,
        [only] => Some(Notice::notice("00000", format!("drop cascades to {only}"))),
        several => {
            let lines: Vec<_> = several.iter().map(|one| format!("drop cascades to {one}")).collect();
            let text = format!("drop cascades to {} other objects", several.len());
            Some(Notice::notice("00000", text).with_detail(lines.join("\n")))
        }
    }
}

fn outcome(tag: &str, dropped: &[String], facts: &Facts) -> Result<Outcome> {
    if dropped.is_empty() { Outcome::done(tag) } else { Outcome::changed(tag, &facts.world) }
}
