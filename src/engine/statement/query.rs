//! SELECT, VALUES, TABLE and WITH: a query whose rows go to the client. What it means is `sql`'s business, and what it may
//! read the guard's.

use datafusion::sql::sqlparser::ast;

use super::{Admitted, Described, Execution, Outcome, Statement, Work, create_table_as, hidden};
use crate::engine::pipeline::{Caching, Told};
use crate::engine::run;
use crate::engine::session::Session;
use crate::error::Result;

#[derive(Debug)]
struct Query(Box<ast::Query>);

pub(super) fn admit(mut query: Box<ast::Query>) -> Result<Admitted> {
    if let Some(into) = into(&mut query.body) {
        return create_table_as::select_into(query, into);
    }
    hidden::refuse(&query)?;
    Ok(Admitted::new(Query(query)))
}

/// The table of SELECT INTO, which the first SELECT names.
fn into(body: &mut ast::SetExpr) -> Option<ast::SelectInto> {
    match body {
        ast::SetExpr::Select(select) => select.into.take(),
        ast::SetExpr::SetOperation { left, .. } => into(left),
        _ => None,
    }
}

impl Statement for Query {
    fn kind(&self) -> &'static str {
        "select"
    }

    fn is_remembered(&self) -> bool {
        true
    }

    fn describe<'a>(&'a self, session: &'a mut Session, told: Told) -> Work<'a, Described> {
        Box::pin(async move { Described::shown(session.plan(&self.0, told).await?) })
    }

    fn run<'a>(&'a self, session: &'a mut Session, mut execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let has_cache = session.engine.shared.results.is_some();
            let wanted = session.settings.lock().is_on("lakegate.cache") && has_cache;
            let caching = match wanted && !session.has_changes() {
                true => Caching::On,
                false => Caching::Off,
            };
            let ready = session.ready(&mut execution, caching).await?;
            run::run(&session.engine.shared.lanes, ready, execution.bounds).map(Outcome::Rows)
        })
    }
}
