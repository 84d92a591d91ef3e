//! DISCARD ALL: the session is as it was after its login. There is nothing else of a session that could be discarded.

use async_trait::async_trait;
use datafusion::sql::sqlparser::ast::DiscardObject;

use super::{Admitted, Execution, Outcome, Statement};
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

#[async_trait]
impl Statement for DiscardAll {
    fn kind(&self) -> &'static str {
        "discard"
    }

    async fn run(&self, session: &mut Session, _: Execution<'_>) -> Result<Outcome> {
        if session.status() != TransactionStatus::Idle {
            return Err(in_block("DISCARD ALL"));
        }
        session.kept.forget_all();
        session.settings.reset_all();
        Outcome::done("DISCARD ALL")
    }
}
