//! COPY … TO STDOUT: a query's rows in another layout. It is planned, guarded, bounded and recorded as the query would be.

use datafusion::sql::sqlparser::ast::{self, Ident, Query, SelectItem, SetExpr};

use super::options::Options;
use super::refuse_server;
use crate::engine::deep::{Deep, on_big_stack};
use crate::engine::pipeline::{Caching, Planned, Told};
use crate::engine::run;
use crate::engine::session::Session;
use crate::engine::statement::name::ident;
use crate::engine::statement::{Admitted, Described, Execution, Outcome, Statement, Work, hidden, table_name};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::copy::Layout;
use crate::formats::postgres::pg_type;
use crate::sql::parse::copy::{Copy, CopyOption, Direction, End, Source};

#[derive(Debug)]
struct CopyTo {
    source: From,
    options: Vec<CopyOption>,
    end: End,
}

#[derive(Debug)]
enum From {
    Query(Box<Query>),
    /// Its name, the columns that are asked for (none are all), and all its rows.
    Table(String, Vec<Ident>, Box<Query>),
}

pub(super) fn admit(copy: Copy) -> Result<Admitted> {
    let Copy { source, options, end, .. } = copy;
    let source = match source {
        Source::Query(query) => {
            let selects_into = matches!(query.body.as_ref(), SetExpr::Select(select) if select.into.is_some());
            if selects_into {
                return Err(Error::unsupported("COPY (SELECT INTO)"));
            }
            hidden::refuse(&query)?;
            From::Query(query)
        }
        Source::Table { name, columns, query } => From::Table(table_name(&name)?.table, columns, query),
    };
    Ok(Admitted::new(CopyTo { source, options, end }))
}

impl Statement for CopyTo {
    fn kind(&self) -> &'static str {
        "copy to"
    }

    fn describe<'a>(&'a self, session: &'a mut Session, told: Told) -> Work<'a, Described> {
        Box::pin(async move {
            refuse_server(self.end, Direction::To)?;
            let (planned, _) = self.planned(session, told).await?;
            if !planned.parameters.is_empty() {
                return Err(Error::new(Kind::UndefinedParameter, "there is no parameter $1"));
            }
            planned.columns.fields().iter().try_for_each(|field| pg_type(field).map(|_| ()))?;
            Described::stored(planned)
        })
    }

    fn run<'a>(&'a self, session: &'a mut Session, mut execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let ready = session.ready(&mut execution, Caching::Never).await?;
            let names: Vec<&str> = ready.columns.fields().iter().map(|field| field.name().as_str()).collect();
            // which of the table's columns there are besides was asked when it was described
            let layout = Options::read(&self.options, Direction::To)?.layout(&names, None)?;
            let rows = run::run(&session.engine.shared.lanes, ready, execution.bounds)?.copied();
            Ok(Outcome::CopyOut { rows, layout })
        })
    }
}

impl CopyTo {
    /// Its query, and how its rows are written.
    async fn planned(&self, session: &mut Session, told: Told) -> Result<(Planned, Layout)> {
        let names = |planned: &Planned| -> Vec<String> {
            planned.columns.fields().iter().map(|field| field.name().clone()).collect()
        };
        let (table, columns, query) = match &self.source {
            From::Query(query) => {
                let options = Options::read(&self.options, Direction::To)?;
                let planned = session.plan(query, told).await?;
                let names = names(&planned);
                let layout = options.layout(&borrowed(&names), None)?;
                return Ok((planned, layout));
            }
            From::Table(table, columns, query) => (table, columns, query),
        };
        // nothing of the statement's text is in this query, so errors have no place in it
        let told = Told { text: "".into(), ..told };
        let all =
            session.plan(query, Told { text: "".into(), declared: vec![], into: vec![] }).await.map_err(placeless)?;
        let existing = names(&all);
        let mut chosen: Vec<String> = vec![];
        for column in columns {
            let name = ident(column);
            if !existing.contains(&name) {
                let text = format!("column \"{name}\" of relation \"{table}\" does not exist");
                return Err(Error::new(Kind::UndefinedColumn, text));
            }
            if chosen.contains(&name) {
                return Err(Error::new(Kind::DuplicateColumn, format!("column \"{name}\" specified more than once")));
            }
            chosen.push(name);
        }
        let options = Options::read(&self.options, Direction::To)?;
        let relation = Some((table.as_str(), borrowed(&existing)));
        let relation = relation.as_ref().map(|(table, all)| (*table, all.as_slice()));
        if columns.is_empty() {
            let layout = options.layout(&borrowed(&existing), relation)?;
            return Ok((all, layout));
        }
        let layout = options.layout(&borrowed(&chosen), relation)?;
        let query = on_big_stack(|| Deep::new(with_columns(query, columns)));
        let planned = session.plan(&query, told).await.map_err(placeless)?;
        Ok((planned, layout))
    }
}

fn borrowed(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// The same query with these columns instead of all.
fn with_columns(query: &Query, columns: &[Ident]) -> Query {
    let mut query = query.clone();
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = columns.iter().map(|c| SelectItem::UnnamedExpr(ast::Expr::Identifier(c.clone()))).collect();
    }
    query
}

/// A table that is copied is named without a place.
fn placeless(error: Error) -> Error {
    error.without_position()
}
