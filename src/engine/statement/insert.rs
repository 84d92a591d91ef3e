//! INSERT: a query's rows appended to a table of the lake, in one commit. How values are assigned to columns is `assign`.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{self, TableObject};

use super::name::{Name, single, table_name};
use super::sink::Sink;
use super::{Admitted, Described, Execution, Outcome, Statement, Work, hidden, refuse};
use crate::catalog::Entry;
use crate::engine::facts::Facts;
use crate::engine::pipeline::{Caching, Told};
use crate::engine::run;
use crate::engine::session::Session;
use crate::engine::temporary::Temporary;
use crate::error::{Error, Kind, Result};
use crate::policy::{Action, Decision};

#[derive(Debug)]
struct Insert {
    table: Name,
    columns: Vec<String>,
    query: Box<ast::Query>,
}

pub(super) fn admit(insert: ast::Insert) -> Result<Admitted> {
    refuse(&[
        (insert.or.is_some() || insert.ignore || insert.replace_into || insert.overwrite, "this form of INSERT"),
        (insert.on.is_some(), "ON CONFLICT"),
        (insert.returning.is_some() || insert.output.is_some(), "RETURNING"),
        (
            insert.partitioned.is_some() || !insert.after_columns.is_empty() || !insert.assignments.is_empty(),
            "this form of INSERT",
        ),
        (insert.multi_table_insert_type.is_some() || insert.table_alias.is_some(), "this form of INSERT"),
        (insert.settings.is_some() || insert.format_clause.is_some(), "this form of INSERT"),
    ])?;
    let TableObject::TableName(name) = &insert.table else { return Err(Error::unsupported("this target of INSERT")) };
    let Some(query) = insert.source else { return Err(Error::unsupported("INSERT … DEFAULT VALUES")) };
    hidden::refuse(&query)?;
    let columns = insert.columns.iter().map(|c| single(c, "a column")).collect::<Result<_>>()?;
    Ok(Admitted::new(Insert { table: table_name(name)?, columns, query }))
}

impl Statement for Insert {
    fn kind(&self) -> &'static str {
        "insert"
    }

    fn writes(&self) -> bool {
        true
    }

    fn fills(&self) -> bool {
        true
    }

    fn is_temporary(&self, temporary: &Temporary) -> bool {
        temporary.has(&self.table)
    }

    fn describe<'a>(&'a self, session: &'a mut Session, told: Told) -> Work<'a, Described> {
        Box::pin(async move {
            let into = self.stored_in(session)?;
            Described::stored(session.plan(&self.query, Told { into, ..told }).await?)
        })
    }

    fn run<'a>(&'a self, session: &'a mut Session, mut execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let sink = Sink::of(session, &self.table)?;
            execution.record.target(sink.name.to_string());
            let ready = session.ready(&mut execution, Caching::Never).await?;
            let order = arrange(&self.columns, ready.columns.fields().len(), &sink.shown, &sink.schema)?;
            let lanes = &session.engine.shared.lanes;
            let rows = run::run(lanes, ready, execution.bounds)?.into_stream(Some(order), Arc::clone(&sink.schema));
            let table = &self.table.table;
            let inserted = sink.append(rows).await.map_err(|error| of_relation(error, table))?;
            execution.record.rows = inserted;
            Outcome::done(format!("INSERT 0 {inserted}"))
        })
    }
}

/// 23502 names the table too.
fn of_relation(error: Error, table: &str) -> Error {
    match error.kind() {
        Kind::NotNull => {
            error.map_message(|text| text.replacen("\" violates", &format!("\" of relation \"{table}\" violates"), 1))
        }
        _ => error,
    }
}

impl Insert {
    /// The columns of the table that the rows go to, in the order of the query's.
    fn stored_in(&self, session: &mut Session) -> Result<Vec<FieldRef>> {
        let schema = Sink::of(session, &self.table)?.shown;
        if self.columns.is_empty() {
            return Ok(schema.fields().to_vec());
        }
        let named = |name: &String| {
            let missing = || {
                let text = format!("column \"{name}\" of relation \"{}\" does not exist", self.table.table);
                Error::new(Kind::UndefinedColumn, text)
            };
            schema.fields().find(name).map(|(_, field)| Arc::clone(field)).ok_or_else(missing)
        };
        self.columns.iter().map(named).collect()
    }
}

/// The columns that an INSERT may name: those that the session sees, or all where it may insert and not read. One that it
/// does not see is as absent here as anywhere, and stays NULL; where it must not be NULL there is no row to insert.
pub(super) fn insertable(facts: &Facts, entry: &Entry) -> Result<SchemaRef> {
    let raw = &entry.object.schema;
    let Decision::Allow(grant) = facts.policy.decide(entry.object.id, Action::Select) else {
        return Ok(Arc::clone(raw));
    };
    let hidden = |field: &&FieldRef| grant.hidden.contains(field.name());
    if raw.fields().iter().filter(hidden).any(|field| !field.is_nullable()) {
        let text = format!("permission denied for table {}", entry.object.name.table);
        return Err(Error::new(Kind::PermissionDenied, text));
    }
    Ok(Arc::new(Schema::new(raw.fields().iter().filter(|f| !hidden(f)).cloned().collect::<Vec<_>>())))
}

/// INSERT's query columns in the table's order; columns that are not named get NULL, and so do those of `raw` that are not
/// in `table`, which are hidden.
fn arrange(named: &[String], given: usize, table: &Schema, raw: &Schema) -> Result<Vec<Option<usize>>> {
    let shown = arrange_shown(named, given, table)?;
    let place = |field: &FieldRef| table.index_of(field.name()).ok();
    Ok(raw.fields().iter().map(|f| place(f).and_then(|at| shown.get(at).copied().flatten())).collect())
}

fn arrange_shown(named: &[String], given: usize, table: &Schema) -> Result<Vec<Option<usize>>> {
    if named.is_empty() {
        if given > table.fields().len() {
            return Err(Error::new(Kind::Syntax, "INSERT has more expressions than target columns"));
        }
        return Ok((0..table.fields().len()).map(|i| (i < given).then_some(i)).collect());
    }
    if named.len() != given {
        let (more, fewer) =
            if given > named.len() { ("expressions", "target columns") } else { ("target columns", "expressions") };
        return Err(Error::new(Kind::Syntax, format!("INSERT has more {more} than {fewer}")));
    }
    for (i, name) in named.iter().enumerate() {
        if table.index_of(name).is_err() {
            return Err(Error::new(Kind::UndefinedColumn, format!("column \"{name}\" of relation does not exist")));
        }
        if named[..i].contains(name) {
            return Err(Error::new(Kind::DuplicateColumn, format!("column \"{name}\" specified more than once")));
        }
    }
    Ok(table.fields().iter().map(|f| named.iter().position(|n| n == f.name())).collect())
}
