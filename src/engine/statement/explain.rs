//! EXPLAIN: the plan of a query, or of a statement that changes rows, as PostgreSQL shows one. It is planned, guarded and bounded as if it were asked
//! itself, so who may not ask it may not have it explained. What a restricted user is shown ends at each barrier
//! (`explain/read.rs`).

mod expression;
mod options;
mod plan;
mod read;
mod show;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{self, AnalyzeFormatKind, UtilityOption};

use self::options::{Format, Options};
use super::execute::Execute;
use super::{Admitted, Described, Execution, Outcome, Statement, Work, hidden};
use crate::engine::deep::{Deep, on_big_stack};
use crate::engine::pipeline::{Caching, Origin, Told};
use crate::engine::run::{self, Rows};
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result};
use crate::pgtype::{self, Ty};
use crate::sql::parse::change::Change;

/// The tag, and the column's name.
const TAG: &str = "EXPLAIN";
const COLUMN: &str = "QUERY PLAN";

/// Times that a restricted user is shown are multiples of this: shorter ones would tell how much was read.
const RESTRICTED_TICK: Duration = Duration::from_millis(10);

#[derive(Debug)]
struct Explain {
    of: Of,
    options: Options,
}

#[derive(Debug)]
enum Of {
    Query(Box<ast::Query>),
    Change(Box<Deep<Change>>),
    /// A kept query, with values.
    Execute(Execute),
}

/// As written without parentheses, and with them.
pub(super) struct Words {
    pub(super) analyze: bool,
    pub(super) verbose: bool,
    /// `FORMAT JSON` and the like without parentheses, which are other databases'.
    pub(super) foreign: bool,
    pub(super) format: Option<AnalyzeFormatKind>,
    pub(super) options: Option<Vec<UtilityOption>>,
}

pub(super) fn admit(words: Words, statement: ast::Statement) -> Result<Admitted> {
    let options = read_options(words)?;
    let of = match statement {
        ast::Statement::Query(query) => {
            hidden::refuse(&query)?;
            Of::Query(query)
        }
        ast::Statement::Execute { name, parameters, immediate, into, using, .. } => {
            Of::Execute(Execute::of(name, parameters, !immediate && into.is_empty() && using.is_empty())?)
        }
        // what is none of ours is refused as itself
        other => {
            let kind = super::admit_tree(other)?.kind().to_uppercase();
            return Err(Error::unsupported(format!("EXPLAIN of {kind}")));
        }
    };
    Ok(Admitted::new(Explain { of, options }))
}

pub(super) fn admit_change(words: Words, change: Change) -> Result<Admitted> {
    let options = read_options(words)?;
    if options.analyze {
        return Err(Error::unsupported(format!("EXPLAIN ANALYZE of {}", change.shape.verb.word())));
    }
    hidden::refuse(&change.parts)?;
    Ok(Admitted::new(Explain { of: Of::Change(Box::new(Deep::new(change))), options }))
}

fn read_options(words: Words) -> Result<Options> {
    if words.foreign {
        return Err(Error::unsupported("this form of EXPLAIN"));
    }
    if let Some(format) = words.format {
        let word = format.to_string().split([' ', '=']).next().unwrap_or_default().to_string();
        return Err(Error::new(Kind::Syntax, format!("syntax error at or near \"{word}\"")));
    }
    Options::read(words.analyze, words.verbose, words.options.as_deref().unwrap_or_default())
}

impl Statement for Explain {
    fn kind(&self) -> &'static str {
        "explain"
    }

    fn describe<'a>(&'a self, session: &'a mut Session, told: Told) -> Work<'a, Described> {
        Box::pin(async move {
            let explained = match &self.of {
                Of::Query(query) => Described::shown(session.plan(query, told).await?)?,
                Of::Change(change) => Described::stored(session.plan_change(change, told).await?)?,
                Of::Execute(_) => Described::default(),
            };
            Ok(Described { columns: Some(self.columns()), ..explained })
        })
    }

    fn run<'a>(&'a self, session: &'a mut Session, mut execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let began = Instant::now();
            let ready = match &self.of {
                Of::Execute(execute) => execute.ready(session, &mut execution).await?,
                Of::Query(_) | Of::Change(_) => session.ready(&mut execution, Caching::Never).await?,
            };
            let planning = began.elapsed();
            // none for a row over no table, which is computed where it is planned
            let mut plan = on_big_stack(|| match &ready.rows {
                Origin::Plan { physical, .. } => read::plan(physical, &ready.guarded),
                Origin::Stored(_) => read::one_row(&ready.columns),
            });
            plan.planning = planning;
            if self.options.verbose && !plan.is_restricted {
                let why = ready.used.why_not(&session.facts()?.policy);
                plan.root.list("Reflections Passed Over", Some(why));
            }
            if let (Of::Change(change), Some(changes)) = (&self.of, &ready.changes) {
                let (word, table) = changes.planned.told(&change.shape.verb);
                plan.root = read::changing(word, table, plan.root);
            }
            if self.options.analyze {
                let began = Instant::now();
                let mut rows = run::run(&session.engine.shared.lanes, ready, execution.bounds.clone())?;
                let mut count = 0;
                while let Some(batch) = rows.next().await {
                    count += batch?.num_rows();
                }
                on_big_stack(|| plan.ran(count, began.elapsed()));
            }
            if plan.is_restricted {
                plan.round(RESTRICTED_TICK);
            }
            let shown = on_big_stack(|| match self.options.format {
                Format::Text => show::text(&plan, &self.options),
                Format::Json => vec![show::json(&plan, &self.options)],
            });
            let lines: ArrayRef = Arc::new(StringArray::from(shown));
            let batch = RecordBatch::try_new(self.columns(), vec![lines])?;
            Ok(Outcome::Rows(Rows::computed(TAG, batch, execution.bounds)))
        })
    }
}

impl Explain {
    fn columns(&self) -> SchemaRef {
        let ty = match self.options.format {
            Format::Text => Ty::TEXT,
            Format::Json => Ty::of(pgtype::oid::JSON),
        };
        Arc::new(Schema::new(vec![pgtype::field(COLUMN, ty, DataType::Utf8)]))
    }
}

#[cfg(test)]
mod tests;
