//! BEGIN, COMMIT, ROLLBACK, savepoints. What a transaction does to a session is `session/transaction.rs` and
//! `session/block.rs`.

use super::{Admitted, Execution, Outcome, Statement, Work};
use crate::engine::session::{Session, outside};
use crate::error::{Error, Kind, Result};
use crate::sql::parse::command::{self, Mode};

#[derive(Debug)]
struct Begin {
    start: bool,
    modes: Vec<Mode>,
}

#[derive(Debug)]
struct End {
    commit: bool,
    chain: bool,
}

#[derive(Debug)]
enum Savepoint {
    Save(String),
    Release(String),
    RollBackTo(String),
}

/// What needs prepared transactions, which there are none of.
#[derive(Debug)]
enum Prepared {
    Prepare,
    End(String),
}

pub(super) fn admit(command: command::Transaction) -> Admitted {
    match command {
        command::Transaction::Begin { start, modes } => Admitted::new(Begin { start, modes }),
        command::Transaction::Commit { chain } => Admitted::new(End { commit: true, chain }),
        command::Transaction::Rollback { chain } => Admitted::new(End { commit: false, chain }),
        command::Transaction::Savepoint(name) => Admitted::new(Savepoint::Save(name)),
        command::Transaction::Release(name) => Admitted::new(Savepoint::Release(name)),
        command::Transaction::RollbackTo(name) => Admitted::new(Savepoint::RollBackTo(name)),
        command::Transaction::Prepare => Admitted::new(Prepared::Prepare),
        command::Transaction::EndPrepared(name) => Admitted::new(Prepared::End(name)),
    }
}

/// Sets what a mode is called as a setting, of the transaction or, with `default_` before it, of those to come.
pub(super) fn set_modes(session: &mut Session, modes: &[Mode], prefix: &str) -> Result<()> {
    let word = |on: bool| if on { "on" } else { "off" };
    for mode in modes {
        let (name, value) = match mode {
            Mode::Isolation(isolation) => ("transaction_isolation", isolation.word()),
            Mode::ReadOnly(only) => ("transaction_read_only", word(*only)),
            Mode::Deferrable(deferrable) => ("transaction_deferrable", word(*deferrable)),
        };
        session.settings.lock().set(&format!("{prefix}{name}"), Some(value), prefix.is_empty())?;
    }
    Ok(())
}

impl Statement for Begin {
    fn kind(&self) -> &'static str {
        "begin"
    }

    fn sees_data(&self) -> bool {
        false
    }

    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            session.begin();
            set_modes(session, &self.modes, "")?;
            Outcome::done(if self.start { "START TRANSACTION" } else { "BEGIN" })
        })
    }
}

impl Statement for End {
    fn kind(&self) -> &'static str {
        if self.commit { "commit" } else { "rollback" }
    }

    fn sees_data(&self) -> bool {
        false
    }

    fn ends_transaction(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, session: &'a mut Session, execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            if self.chain && !session.transaction.is_explicit() {
                return Err(outside(if self.commit { "COMMIT AND CHAIN" } else { "ROLLBACK AND CHAIN" }));
            }
            if self.commit
                && !session.transaction.has_failed()
                && let Err(error) = session.hold_cursors(&execution.bounds, execution.record).await
            {
                // a commit that fails is the end of its transaction all the same
                session.end(false).await?;
                return Err(error);
            }
            let modes = self.chain.then(|| session.modes());
            let tag = session.end_block(self.commit).await?;
            if let Some(modes) = modes {
                session.begin_like(modes)?;
            }
            Outcome::done(tag)
        })
    }
}

impl Statement for Savepoint {
    fn kind(&self) -> &'static str {
        match self {
            Self::Save(_) => "savepoint",
            Self::Release(_) => "release",
            Self::RollBackTo(_) => "rollback to",
        }
    }

    fn sees_data(&self) -> bool {
        false
    }

    fn ends_transaction(&self) -> bool {
        matches!(self, Self::RollBackTo(_))
    }

    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            match self {
                Self::Save(name) => session.savepoint(name).and_then(|()| Outcome::done("SAVEPOINT")),
                Self::Release(name) => session.release(name).and_then(|()| Outcome::done("RELEASE")),
                Self::RollBackTo(name) => session.roll_back_to(name).and_then(|()| Outcome::done("ROLLBACK")),
            }
        })
    }
}

impl Statement for Prepared {
    fn kind(&self) -> &'static str {
        "prepare transaction"
    }

    fn sees_data(&self) -> bool {
        false
    }

    fn ends_transaction(&self) -> bool {
        matches!(self, Self::Prepare)
    }

    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            match self {
                Self::Prepare if session.transaction.has_failed() || !session.transaction.is_explicit() => {
                    Outcome::done(session.end_block(false).await?)
                }
                Self::Prepare => {
                    // the block is over, as after any failure of its end
                    session.end_block(false).await?;
                    Err(Error::new(Kind::NotInState, "prepared transactions are disabled")
                        .with_hint("Set max_prepared_transactions to a nonzero value."))
                }
                Self::End(name) => {
                    let text = format!("prepared transaction with identifier \"{name}\" does not exist");
                    Err(Error::new(Kind::UndefinedObject, text))
                }
            }
        })
    }
}
