//! TransactionStmt.

use super::super::Parser;
use crate::error::Result;
use crate::sql::parse::command::{Isolation, Mode, Transaction};

impl Parser<'_> {
    pub(super) fn transaction(&mut self) -> Result<Transaction> {
        let word = self.word(0).unwrap_or_default();
        self.advance();
        match word {
            "begin" => {
                self.transaction_word();
                Ok(Transaction::Begin { start: false, modes: self.modes_or_none()? })
            }
            "start" => {
                self.expect("transaction")?;
                Ok(Transaction::Begin { start: true, modes: self.modes_or_none()? })
            }
            "commit" if self.eat("prepared") => self.expect_string().map(Transaction::EndPrepared),
            "rollback" if self.eat("prepared") => self.expect_string().map(Transaction::EndPrepared),
            "commit" | "end" => {
                self.transaction_word();
                Ok(Transaction::Commit { chain: self.chain()? })
            }
            "abort" => {
                self.transaction_word();
                Ok(Transaction::Rollback { chain: self.chain()? })
            }
            "rollback" => {
                self.transaction_word();
                if self.eat("to") {
                    self.eat("savepoint");
                    return self.folded_name().map(Transaction::RollbackTo);
                }
                Ok(Transaction::Rollback { chain: self.chain()? })
            }
            "savepoint" => self.folded_name().map(Transaction::Savepoint),
            "release" => {
                self.eat("savepoint");
                self.folded_name().map(Transaction::Release)
            }
            _ => {
                self.expect("transaction")?;
                self.expect_string().map(|_| Transaction::Prepare)
            }
        }
    }

    /// opt_transaction.
    fn transaction_word(&mut self) {
        if !self.eat("work") {
            self.eat("transaction");
        }
    }

    /// opt_transaction_chain.
    fn chain(&mut self) -> Result<bool> {
        if !self.eat("and") {
            return Ok(false);
        }
        let chain = !self.eat("no");
        self.expect("chain").map(|()| chain)
    }

    fn modes_or_none(&mut self) -> Result<Vec<Mode>> {
        match self.word(0) {
            Some("isolation" | "read" | "deferrable" | "not") => self.modes(),
            _ => Ok(vec![]),
        }
    }

    /// transaction_mode_list: with commas or without.
    pub(super) fn modes(&mut self) -> Result<Vec<Mode>> {
        let mut modes = vec![self.mode()?];
        loop {
            if self.eat_symbol(',') || matches!(self.word(0), Some("isolation" | "read" | "deferrable" | "not")) {
                modes.push(self.mode()?);
            } else {
                return Ok(modes);
            }
        }
    }

    fn mode(&mut self) -> Result<Mode> {
        if self.eat("isolation") {
            self.expect("level")?;
            return self.isolation().map(Mode::Isolation);
        }
        if self.eat("read") {
            let only = match self.word(0) {
                Some("only") => true,
                Some("write") => false,
                _ => return Err(self.unexpected()),
            };
            self.advance();
            return Ok(Mode::ReadOnly(only));
        }
        let deferrable = !self.eat("not");
        self.expect("deferrable").map(|()| Mode::Deferrable(deferrable))
    }

    fn isolation(&mut self) -> Result<Isolation> {
        if self.eat("serializable") {
            return Ok(Isolation::Serializable);
        }
        if self.eat("repeatable") {
            return self.expect("read").map(|()| Isolation::RepeatableRead);
        }
        self.expect("read")?;
        if self.eat("uncommitted") {
            return Ok(Isolation::ReadUncommitted);
        }
        self.expect("committed").map(|()| Isolation::ReadCommitted)
    }
}
