//! COPY … FROM STDIN: rows that the client sends, appended to a table of the lake in one commit, where INSERT would put
//! them. How they are read is `copy_in`'s.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema};
use datafusion::sql::sqlparser::ast::Ident;

use super::options::Options;
use super::refuse_server;
use crate::engine::copy_in::{CopyIn, Target};
use crate::engine::facts::Facts;
use crate::engine::session::Session;
use crate::engine::statement::name::{Name, ident};
use crate::engine::statement::sink::Sink;
use crate::engine::statement::{Admitted, Execution, Outcome, Statement, Work, default, table_name, target};
use crate::engine::temporary::Temporary;
use crate::error::{Error, Kind, Result};
use crate::policy::Action;
use crate::sql::kernel::Env;
use crate::sql::parse::copy::{Copy, CopyOption, Direction, End, Source};

#[derive(Debug)]
struct CopyFrom {
    table: Name,
    columns: Vec<Ident>,
    options: Vec<CopyOption>,
    end: End,
}

pub(super) fn admit(copy: Copy) -> Result<Admitted> {
    let Source::Table { name, columns, .. } = copy.source else {
        return Err(Error::internal("COPY of a query FROM"));
    };
    if copy.filter.is_some() {
        return Err(Error::unsupported("WHERE of COPY FROM"));
    }
    Ok(Admitted::new(CopyFrom { table: table_name(&name)?, columns, options: copy.options, end: copy.end }))
}

impl Statement for CopyFrom {
    fn kind(&self) -> &'static str {
        "copy from"
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

    fn run<'a>(&'a self, session: &'a mut Session, execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            refuse_server(self.end, Direction::From)?;
            let facts = session.facts()?;
            not_materialized(&facts, &self.table)?;
            let mut sink = Sink::of(session, &self.table)?;
            execution.record.target(sink.name.to_string());
            let (schema, shown) = (Arc::clone(&sink.schema), Arc::clone(&sink.shown));
            let columns = self.chosen(&shown)?;
            let names: Vec<&str> = columns.iter().map(|field| field.name().as_str()).collect();
            let all: Vec<&str> = shown.fields().iter().map(|field| field.name().as_str()).collect();
            sink.gives(&names);
            let options = Options::read(&self.options, Direction::From)?;
            let layout = options.layout(&names, Some((&self.table.table, &all)))?;
            let state = facts.statement_state(session.transaction.within().began_at());
            let env = state.config_options().extensions.get::<Env>().cloned().unwrap_or_else(Env::plain);
            let (mut order, mut left_out) = (vec![], vec![]);
            for field in schema.fields() {
                order.push(match names.iter().position(|name| name == field.name()) {
                    Some(given) => Some(given),
                    None => sink.default(field).map(|text| {
                        left_out.push((Arc::clone(field), text));
                        names.len() + left_out.len() - 1
                    }),
                });
            }
            let defaults = default::computed(session, &facts, left_out).await?;
            let into = Target {
                schema_name: sink.name.schema.clone(),
                table: self.table.table.clone(),
                columns,
                shown,
                schema,
                order,
                defaults,
            };
            let row_bytes_max = env.budget.value_bytes_max;
            let still = sink.still(session);
            let append = move |rows| sink.append(rows);
            let copy = CopyIn::begin(into, layout, env, row_bytes_max, execution.bounds, still, append);
            Ok(Outcome::CopyIn(Box::new(copy)))
        })
    }
}

/// 42809 for a materialized view that the session might have written to; what it may not is told by the sink.
fn not_materialized(facts: &Facts, name: &Name) -> Result<()> {
    match target::table_or_materialized(facts, name, Action::Insert) {
        Ok((entry, _)) if !facts.temporary.has(name) && target::materialized(entry).is_some() => {
            let text = format!("cannot copy to materialized view \"{}\"", name.table);
            Err(Error::new(Kind::WrongObjectType, text))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

impl CopyFrom {
    /// The columns that fields are given for, in their order.
    fn chosen(&self, shown: &Schema) -> Result<Vec<FieldRef>> {
        if self.columns.is_empty() {
            return Ok(shown.fields().to_vec());
        }
        let mut chosen: Vec<FieldRef> = vec![];
        for column in &self.columns {
            let name = ident(column);
            let Some((_, field)) = shown.fields().find(&name) else {
                let text = format!("column \"{name}\" of relation \"{}\" does not exist", self.table.table);
                return Err(Error::new(Kind::UndefinedColumn, text));
            };
            if chosen.iter().any(|other| other.name() == field.name()) {
                return Err(Error::new(Kind::DuplicateColumn, format!("column \"{name}\" specified more than once")));
            }
            chosen.push(Arc::clone(field));
        }
        Ok(chosen)
    }
}
