//! DISCARD ALL: the session is as it was after its login. There is nothing else of a session that could be discarded.

use datafusion::sql::sqlparser::ast::DiscardObject;

use super::{Admitted, Execution, Outcome, Statement, Work};
use crate::engine::session::{Session, TransactionStatus, in_block};
use crate::error::{Error, Result};

#[derive(Debug)]
struct DiscardAll;

pub(super) fn admit(what: &DiscardObject) -> Result<Admitted> {
    match what {
        DiscardObject::ALL => Ok(Admitted::new(DiscardAll)),
        DiscardObject::PLANS | DiscardObject::SEQUENCES | DiscardObject::TEMP => {
            Err(Error::unsupported("DISCARD of anything but ALL"))
        }
    }
}

impl Statement for DiscardAll {
    fn kind(&self) -> &'static str {
        "discard"
    }

    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            if session.status() != TransactionStatus::Idle {
                return Err(in_block("DISCARD ALL"));
            }
            session.kept.forget_all();
            session.settings.reset_all();
            Outcome::done("DISCARD ALL")
        })
    }
}
