//! DEALLOCATE: one prepared statement is forgotten, or all are.

use datafusion::sql::sqlparser::ast::Ident;

use super::{Admitted, Execution, Outcome, Statement, Work, ident};
use crate::engine::session::Session;
use crate::error::Result;

/// `None`: all of them.
#[derive(Debug)]
struct Deallocate(Option<String>);

pub(super) fn admit(name: &Ident) -> Result<Admitted> {
    let all = name.quote_style.is_none() && name.value.eq_ignore_ascii_case("all");
    Ok(Admitted::new(Deallocate((!all).then(|| ident(name)))))
}

impl Statement for Deallocate {
    fn kind(&self) -> &'static str {
        "deallocate"
    }

    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            match &self.0 {
                None => session.kept.forget_all(),
                Some(name) => {
                    session.kept(name)?;
                    session.kept.forget(name);
                }
            }
            Outcome::done("DEALLOCATE")
        })
    }
}
