//! EXECUTE: a kept statement with the values of its arguments. They are expressions of a query of their own, assigned to the
//! parameters as an INSERT's are to columns; they are never printed and read again.

use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{Expr, ObjectName, Parens, Query, SetExpr, Values};

use super::name::dotted;
use super::{Admitted, Described, Execution, Outcome, Statement, Work, hidden};
use crate::engine::deep::{Deep, on_big_stack};
use crate::engine::pipeline::{self, Caching, Ready, Told};
use crate::engine::run;
use crate::engine::session::{Prepared, Session};
use crate::error::{Error, Kind, Result};
use crate::sql::parse;

#[derive(Debug)]
pub(super) struct Execute {
    name: String,
    arguments: Vec<Expr>,
}

pub(super) fn admit(name: Option<ObjectName>, arguments: Vec<Expr>, is_plain: bool) -> Result<Admitted> {
    Execute::of(name, arguments, is_plain).map(Admitted::new)
}

impl Statement for Execute {
    fn kind(&self) -> &'static str {
        "execute"
    }

    fn runs_another(&self) -> bool {
        true
    }

    fn acts_as(&self, session: &Session) -> Option<Admitted> {
        session.kept(&self.name).ok().and_then(|kept| kept.statement.clone())
    }

    /// The rows of what it runs.
    fn describe<'a>(&'a self, session: &'a mut Session, _: Told) -> Work<'a, Described> {
        Box::pin(async move {
            let columns = session.kept(&self.name).ok().and_then(|kept| kept.columns.clone());
            Ok(Described { columns, ..Described::default() })
        })
    }

    fn run<'a>(&'a self, session: &'a mut Session, mut execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let kept = session.kept(&self.name)?;
            execution.parameters = self.values(session, &kept, &mut execution).await?;
            let Some(statement) = &kept.statement else {
                return Err(Error::internal("a text without a statement was kept for EXECUTE"));
            };
            if statement.runs_another() {
                // Parse keeps any statement, an EXECUTE of its own name too
                return Err(Error::unsupported("EXECUTE of an EXECUTE"));
            }
            session.may_run(statement)?;
            statement.run(session, Execution { prepared: &kept, ..execution }).await
        })
    }
}

impl Execute {
    pub(super) fn of(name: Option<ObjectName>, arguments: Vec<Expr>, is_plain: bool) -> Result<Self> {
        let Some(name) = name else { return Err(Error::unsupported("EXECUTE without a name")) };
        match is_plain {
            true => Ok(Self { name: dotted(&name), arguments }),
            false => Err(Error::unsupported("this form of EXECUTE")),
        }
    }

    /// What it would run, for EXPLAIN.
    pub(super) async fn ready(&self, session: &mut Session, execution: &mut Execution<'_>) -> Result<Ready> {
        let kept = session.kept(&self.name)?;
        let kind = kept.statement.as_ref().map_or("", |statement| statement.kind());
        if kind != "select" {
            return Err(Error::unsupported(format!("EXPLAIN of EXECUTE of {}", kind.to_uppercase())));
        }
        let parameters = self.values(session, &kept, execution).await?;
        let bounds = execution.bounds.clone();
        let mut own = Execution { prepared: &kept, parameters, bounds, record: &mut *execution.record };
        session.ready(&mut own, Caching::Never).await
    }

    async fn values(
        &self,
        session: &mut Session,
        kept: &Prepared,
        execution: &mut Execution<'_>,
    ) -> Result<Vec<ScalarValue>> {
        let (expected, given) = (kept.parameters.len(), self.arguments.len());
        if expected != given {
            let text = format!("wrong number of parameters for prepared statement \"{}\"", self.name);
            let detail = format!("Expected {expected} parameters but got {given}.");
            return Err(Error::new(Kind::Syntax, text).with_detail(detail));
        }
        if given == 0 {
            return Ok(vec![]);
        }
        let query = on_big_stack(|| Deep::new(row(self.arguments.clone())));
        hidden::refuse(&query)?;
        let into = kept.planned().map(|planned| planned.parameters.clone()).unwrap_or_default();
        let planned = session.plan(&query, Told { text: "".into(), declared: vec![], into }).await?;
        let (shared, bounds, within) = (&session.engine.shared, &execution.bounds, session.transaction.within());
        let ready = pipeline::ready(shared, &planned, vec![], Caching::Never, &within, bounds);
        let ready = bounds.hold(ready).await?;
        execution.record.judged(&ready, planned.facts.world.policies.generation());
        let mut rows = run::run(&shared.lanes, ready, bounds.clone())?;
        let row = rows.next().await.ok_or_else(|| Error::internal("arguments gave no row"))??;
        row.columns().iter().map(|column| Ok(ScalarValue::try_from_array(column, 0)?)).collect()
    }
}

/// `VALUES (…)`.
fn row(values: Vec<Expr>) -> Query {
    let rows = vec![Parens::with_empty_span(values)];
    parse::bare(SetExpr::Values(Values { explicit_row: false, value_keyword: false, rows }))
}
