//! LOCK, VACUUM, ANALYZE, REINDEX, CLUSTER, CHECKPOINT: statements of a database that is kept in order by hand. Here every
//! statement sees a snapshot, writers meet at their commits, and there are no indexes: names and transactions are judged as
//! PostgreSQL judges them, and then there is nothing to do.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName};

use super::name::Name;
use super::{Admitted, Execution, Outcome, Statement, Work, ident, table_name, target};
use crate::engine::facts::Facts;
use crate::engine::notice::Notice;
use crate::engine::session::{Session, in_block, outside};
use crate::error::{Error, Kind, Result};
use crate::sql::parse::upkeep::{Columns, Target, Upkeep};

#[derive(Debug)]
struct Keep(Upkeep);

pub(super) fn admit(upkeep: Upkeep) -> Result<Admitted> {
    Ok(Admitted::new(Keep(upkeep)))
}

impl Statement for Keep {
    fn kind(&self) -> &'static str {
        match &self.0 {
            Upkeep::Lock(_) => "lock table",
            Upkeep::Vacuum { .. } => "vacuum",
            Upkeep::Analyze(_) => "analyze",
            Upkeep::Reindex { .. } => "reindex",
            Upkeep::Cluster(_) => "cluster",
            Upkeep::Checkpoint => "checkpoint",
        }
    }

    fn sees_data(&self) -> bool {
        !matches!(self.0, Upkeep::Lock(_) | Upkeep::Checkpoint)
    }

    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let is_block = session.transaction.is_block();
            let facts = session.facts()?;
            judge(&self.0, &facts, is_block)?;
            if let Some(why) = idle(&self.0) {
                session.say(Notice::notice("00000", why));
            }
            Outcome::done(self.kind().to_uppercase())
        })
    }
}

/// Why there is nothing to do.
fn idle(upkeep: &Upkeep) -> Option<&'static str> {
    Some(match upkeep {
        Upkeep::Lock(_) => "nothing is locked: each statement sees a snapshot, and writers meet at their commits",
        Upkeep::Vacuum { .. } => {
            "nothing is vacuumed: files of a lake that are no longer needed are swept by themselves"
        }
        Upkeep::Analyze(_) => "nothing is analyzed: statistics are written with the files of a lake",
        Upkeep::Reindex { .. } => "nothing is reindexed: there are no indexes",
        Upkeep::Cluster(_) | Upkeep::Checkpoint => return None,
    })
}

/// What PostgreSQL would refuse.
fn judge(upkeep: &Upkeep, facts: &Facts, is_block: bool) -> Result<()> {
    let alone = |what: &str| if is_block { Err(in_block(what)) } else { Ok(()) };
    match upkeep {
        Upkeep::Lock(_) if !is_block => Err(outside("LOCK TABLE")),
        Upkeep::Lock(tables) => tables.iter().try_for_each(|table| lockable(facts, table)),
        Upkeep::Vacuum { analyze, tables } => {
            alone("VACUUM")?;
            if !analyze && tables.iter().any(|table| !table.columns.is_empty()) {
                let text = "ANALYZE option must be specified when a column list is provided";
                return Err(Error::new(Kind::Unsupported, text));
            }
            tables.iter().try_for_each(|table| with_columns(facts, table))
        }
        Upkeep::Analyze(tables) => tables.iter().try_for_each(|table| with_columns(facts, table)),
        Upkeep::Reindex { target, concurrently } => {
            if *concurrently {
                alone("REINDEX CONCURRENTLY")?;
            }
            match target {
                Target::Table(table) => seen(facts, table).map(|_| ()),
                // there are none
                Target::Index(index) => Err(target::undefined_relation(&table_name(index)?.table)),
                Target::Schema(schema) => {
                    alone("REINDEX SCHEMA")?;
                    seen_schema(facts, schema)
                }
                Target::Database(name) => alone("REINDEX DATABASE").and_then(|()| current(facts, name)),
                Target::System(name) => alone("REINDEX SYSTEM").and_then(|()| current(facts, name)),
            }
        }
        Upkeep::Cluster(None) => alone("CLUSTER"),
        Upkeep::Cluster(Some((table, index))) => {
            let name = seen(facts, table)?.table;
            let text = match index {
                Some(index) => format!("index \"{}\" for table \"{name}\" does not exist", ident(index)),
                None => format!("there is no previously clustered index for table \"{name}\""),
            };
            Err(Error::new(Kind::UndefinedObject, text))
        }
        Upkeep::Checkpoint if facts.view.is_admin => Ok(()),
        Upkeep::Checkpoint => {
            let text = "must be superuser or have privileges of pg_checkpoint to do CHECKPOINT";
            Err(Error::new(Kind::PermissionDenied, text))
        }
    }
}

/// 42P01 for a table that the session does not see, those of the system among them.
fn seen(facts: &Facts, table: &ObjectName) -> Result<Name> {
    let name = table_name(table)?;
    target::seen(facts, &name)?;
    Ok(name)
}

/// 42809 for a materialized view, as PostgreSQL has it.
fn lockable(facts: &Facts, table: &ObjectName) -> Result<()> {
    let name = table_name(table)?;
    match target::seen(facts, &name)?.map(|shown| shown.kind) {
        Some('m') => {
            let text = format!("cannot lock relation \"{}\"", name.table);
            let detail = "This operation is not supported for materialized views.";
            Err(Error::new(Kind::WrongObjectType, text).with_detail(detail))
        }
        Some(_) | None => Ok(()),
    }
}

fn with_columns(facts: &Facts, Columns { table, columns }: &Columns) -> Result<()> {
    let name = table_name(table)?;
    let Some(shown) = target::seen(facts, &name)? else { return Ok(()) };
    for column in columns.iter().map(ident) {
        if shown.schema.index_of(&column).is_err() {
            let text = format!("column \"{column}\" of relation \"{}\" does not exist", name.table);
            return Err(Error::new(Kind::UndefinedColumn, text));
        }
    }
    Ok(())
}

fn seen_schema(facts: &Facts, schema: &Ident) -> Result<()> {
    let schema = ident(schema);
    match facts.view.schema_oid(&schema) {
        Some(_) => Ok(()),
        None => Err(target::undefined_schema(&schema)),
    }
}

fn current(facts: &Facts, database: &Ident) -> Result<()> {
    match ident(database) == facts.world.catalog.database {
        true => Ok(()),
        false => Err(Error::new(Kind::Unsupported, "can only reindex the currently open database")),
    }
}
