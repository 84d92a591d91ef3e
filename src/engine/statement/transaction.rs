//! BEGIN, COMMIT and ROLLBACK. What a transaction does to a session is `session/transaction.rs`.

use datafusion::sql::sqlparser::ast::{TransactionAccessMode, TransactionMode};

use super::{Admitted, Execution, Outcome, Statement, Work};
use crate::engine::session::Session;
use crate::error::{Error, Result};

#[derive(Debug)]
struct Begin {
    read_only: Option<bool>,
}

#[derive(Debug)]
struct Commit;

#[derive(Debug)]
struct Rollback;

pub(super) fn begin(modes: &[TransactionMode], is_plain: bool) -> Result<Admitted> {
    match is_plain {
        true => Ok(Admitted::new(Begin { read_only: access(modes) })),
        false => Err(Error::unsupported("a block of statements")),
    }
}

pub(super) fn commit(and_chain: bool) -> Result<Admitted> {
    match and_chain {
        false => Ok(Admitted::new(Commit)),
        true => Err(Error::unsupported("COMMIT AND CHAIN")),
    }
}

pub(super) fn rollback(in_part: bool) -> Result<Admitted> {
    match in_part {
        false => Ok(Admitted::new(Rollback)),
        true => Err(Error::unsupported("ROLLBACK to a savepoint")),
    }
}

/// The last one counts.
pub(super) fn access(modes: &[TransactionMode]) -> Option<bool> {
    modes.iter().rev().find_map(|m| match m {
        TransactionMode::AccessMode(TransactionAccessMode::ReadOnly) => Some(true),
        TransactionMode::AccessMode(TransactionAccessMode::ReadWrite) => Some(false),
        TransactionMode::IsolationLevel(_) => None,
    })
}

impl Statement for Begin {
    fn kind(&self) -> &'static str {
        "begin"
    }

    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            session.transaction.begin(&mut session.settings, self.read_only)?;
            Outcome::done("BEGIN")
        })
    }
}

impl Statement for Commit {
    fn kind(&self) -> &'static str {
        "commit"
    }

    fn ends_transaction(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move { Outcome::done(session.transaction.end(&mut session.settings, true)) })
    }
}

impl Statement for Rollback {
    fn kind(&self) -> &'static str {
        "rollback"
    }

    fn ends_transaction(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move { Outcome::done(session.transaction.end(&mut session.settings, false)) })
    }
}
