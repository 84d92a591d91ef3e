//! SELECT, VALUES, TABLE and WITH: a query whose rows go to the client. What it means is `sql`'s business, and what it may
//! read the guard's.

use async_trait::async_trait;
use datafusion::sql::sqlparser::ast;

use super::{Admitted, Described, Execution, Outcome, Statement, hidden};
use crate::engine::pipeline::{Caching, Told};
use crate::engine::run;
use crate::engine::session::Session;
use crate::error::Result;

#[derive(Debug)]
struct Query(Box<ast::Query>);

pub(super) fn admit(query: Box<ast::Query>) -> Result<Admitted> {
    hidden::refuse(&query)?;
    Ok(Admitted::new(Query(query)))
}

#[async_trait]
impl Statement for Query {
    fn kind(&self) -> &'static str {
        "select"
    }

    fn is_remembered(&self) -> bool {
        true
    }

    async fn describe(&self, session: &mut Session, told: Told) -> Result<Described> {
        Described::shown(session.plan(&self.0, told).await?)
    }

    async fn run(&self, session: &mut Session, mut execution: Execution<'_>) -> Result<Outcome> {
        let has_cache = session.engine.shared.results.is_some();
        let caching = match session.settings.is_on("lakegate.cache") && has_cache {
            true => Caching::On,
            false => Caching::Off,
        };
        let ready = session.ready(&mut execution, caching).await?;
        run::run(&session.engine.shared.lanes, ready, execution.bounds).map(Outcome::Rows)
    }
}
