//! DEALLOCATE: one prepared statement is forgotten, or all are.

use async_trait::async_trait;
use datafusion::sql::sqlparser::ast::Ident;

use super::{Admitted, Execution, Outcome, Statement, ident};
use crate::engine::session::Session;
use crate::error::Result;

/// `None`: all of them.
#[derive(Debug)]
struct Deallocate(Option<String>);

pub(super) fn admit(name: &Ident) -> Result<Admitted> {
    let all = name.quote_style.is_none() && name.value.eq_ignore_ascii_case("all");
    Ok(Admitted::new(Deallocate((!all).then(|| ident(name)))))
}

#[async_trait]
impl Statement for Deallocate {
    fn kind(&self) -> &'static str {
        "deallocate"
    }

    async fn run(&self, session: &mut Session, _: Execution<'_>) -> Result<Outcome> {
        match &self.0 {
            None => session.kept.forget_all(),
            Some(name) => {
                session.kept(name)?;
                session.kept.forget(name);
            }
        }
        Outcome::done("DEALLOCATE")
    }
}
