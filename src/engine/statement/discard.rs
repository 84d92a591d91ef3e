//! DISCARD: parts of a session, or all of it, are as they were after the login.

use super::{Admitted, Execution, Outcome, Statement, Work};
use crate::catalog::peers::Peers;
use crate::engine::session::{Session, in_block};
use crate::sql::parse::command::Discard as What;

#[derive(Debug)]
struct Discard(What);

pub(super) fn admit(what: What) -> Admitted {
    Admitted::new(Discard(what))
}

impl Statement for Discard {
    fn kind(&self) -> &'static str {
        "discard"
    }

    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            match self.0 {
                What::All => {
                    if session.transaction.is_block() {
                        return Err(in_block("DISCARD ALL"));
                    }
                    session.close_all_cursors();
                    session.kept.forget_all();
                    session.kept.forget_plans();
                    session.settings.lock().reset_all();
                    session.own.unlisten(None)?;
                    session.own.unlock_all();
                    session.temporary().drop_all();
                    Outcome::done("DISCARD ALL")
                }
                What::Plans => {
                    session.kept.forget_plans();
                    Outcome::done("DISCARD PLANS")
                }
                // there is none
                What::Sequences => Outcome::done("DISCARD SEQUENCES"),
                What::Temp => {
                    session.temporary().drop_all();
                    Outcome::done("DISCARD TEMP")
                }
            }
        })
    }
}
