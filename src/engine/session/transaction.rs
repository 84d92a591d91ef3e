//! The state of a session's transaction (xact.c's, as far as a client sees it): blocks that BEGIN opened, those that a
//! message of several statements is by itself, savepoints, and what becomes of settings in each. What it has in
//! hand of the lakes is `staging`'s.

use super::super::kept::Held;
use super::super::micros_now;
use super::super::pipeline::Within;
use super::super::settings::{Mark, Moment, Settings};
use crate::error::{Error, Kind, Result};

/// `I`, `T`, `E` of ReadyForQuery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    Idle,
    Active,
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    /// No transaction.
    None,
    /// One statement, or what stands before a Sync.
    Single,
    /// A message of several statements.
    Implicit,
    /// BEGIN opened it.
    Explicit,
    /// As explicit; a statement failed.
    Failed,
}

#[derive(Debug)]
pub(in crate::engine) struct Transaction {
    block: Block,
    /// Settings as they stood when it began.
    before: Option<Mark>,
    savepoints: Vec<Savepoint>,
    /// A statement of it has seen data.
    queried: bool,
    /// What its statements know of it.
    within: Within,
}

#[derive(Debug)]
struct Savepoint {
    name: String,
    before: Mark,
    /// What it takes of the session's allowance.
    _held: Held,
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Ended {
    Committed,
    RolledBack,
}

impl Transaction {
    pub(super) fn none() -> Self {
        Self { block: Block::None, before: None, savepoints: vec![], queried: false, within: Within::default() }
    }

    pub(in crate::engine) fn status(&self) -> TransactionStatus {
        match self.block {
            Block::None | Block::Single | Block::Implicit => TransactionStatus::Idle,
            Block::Explicit => TransactionStatus::Active,
            Block::Failed => TransactionStatus::Failed,
        }
    }

    /// In a block that BEGIN opened, whole or failed.
    pub(in crate::engine) fn is_explicit(&self) -> bool {
        matches!(self.block, Block::Explicit | Block::Failed)
    }

    /// More than one statement may be in it (RequireTransactionBlock, PreventInTransactionBlock).
    pub(in crate::engine) fn is_block(&self) -> bool {
        self.is_explicit() || self.block == Block::Implicit
    }

    pub(in crate::engine) fn is_open(&self) -> bool {
        self.block != Block::None
    }

    pub(in crate::engine) fn has_failed(&self) -> bool {
        self.block == Block::Failed
    }

    /// Savepoints around what happens now.
    pub(in crate::engine) fn depth(&self) -> usize {
        self.savepoints.len()
    }

    /// REPEATABLE READ or SERIALIZABLE, and something has been read.
    pub(in crate::engine) fn repeats_reads(&self) -> bool {
        self.within.repeats_reads()
    }

    /// What a statement knows of it.
    pub(in crate::engine) fn within(&self) -> Within {
        self.within.clone()
    }

    /// A statement is about to run. `several`: its message holds more of them.
    pub(super) fn start(&mut self, settings: &mut Settings, several: bool) {
        match (self.block, several) {
            (Block::None, several) => {
                settings.moment = Moment::default();
                self.before = Some(settings.mark());
                self.within = Within::begun(micros_now());
                self.block = if several { Block::Implicit } else { Block::Single };
            }
            (Block::Single, true) => self.block = Block::Implicit,
            (Block::Single, false) | (Block::Implicit | Block::Explicit | Block::Failed, _) => {}
        }
    }

    /// The statement that runs now sees data. REPEATABLE READ and SERIALIZABLE see the same data from here on.
    pub(super) fn query(&mut self, settings: &mut Settings) {
        if !self.queried {
            self.queried = true;
            settings.moment.queried = true;
            if matches!(settings.kept_word("transaction_isolation").as_str(), "repeatable read" | "serializable") {
                self.within.repeat_reads();
            }
        }
    }

    /// BEGIN makes a block of what runs already. `false`: there is one.
    pub(in crate::engine) fn begin(&mut self, settings: &mut Settings) -> bool {
        if self.is_explicit() {
            return false;
        }
        self.block = Block::Explicit;
        settings.begin_block();
        true
    }

    /// The end of whatever runs, a failed block's too.
    pub(in crate::engine) fn end(&mut self, settings: &mut Settings, commit: bool) -> Ended {
        let failed = self.has_failed();
        let Self { before, .. } = std::mem::replace(self, Self::none());
        settings.moment = Moment::default();
        if commit && !failed {
            settings.end_local();
            return Ended::Committed;
        }
        if let Some(before) = before {
            settings.restore(before);
        }
        Ended::RolledBack
    }

    /// A statement failed: a block waits for its end, anything else is over. Gives how many savepoints its cursors may lie
    /// under and live on; `None`: no transaction is left.
    pub(super) fn fail(&mut self, settings: &mut Settings) -> Option<usize> {
        match self.block {
            Block::Explicit | Block::Failed => {
                self.block = Block::Failed;
                let before = self.savepoints.last().map(|savepoint| &savepoint.before).or(self.before.as_ref());
                if let Some(before) = before {
                    settings.restore(before.clone());
                }
                Some(self.depth())
            }
            Block::None | Block::Single | Block::Implicit => {
                self.end(settings, false);
                None
            }
        }
    }

    // --- savepoints

    pub(in crate::engine) fn save(&mut self, settings: &mut Settings, name: String, held: Held) -> Result<()> {
        self.in_explicit("SAVEPOINT")?;
        self.savepoints.push(Savepoint { name, before: settings.mark(), _held: held });
        settings.moment.nested = true;
        Ok(())
    }

    /// What was done since the savepoint belongs to what is around it. Gives how deep that is.
    pub(in crate::engine) fn release(&mut self, settings: &mut Settings, name: &str) -> Result<usize> {
        self.in_explicit("RELEASE SAVEPOINT")?;
        let at = self.find(name)?;
        self.savepoints.truncate(at);
        settings.moment.nested = at > 0;
        Ok(at)
    }

    /// As it was at the savepoint, which stays. Gives how deep what is around it is.
    pub(in crate::engine) fn roll_back_to(&mut self, settings: &mut Settings, name: &str) -> Result<usize> {
        self.in_explicit("ROLLBACK TO SAVEPOINT")?;
        let at = self.find(name)?;
        self.savepoints.truncate(at + 1);
        if let Some(savepoint) = self.savepoints.last() {
            settings.restore(savepoint.before.clone());
        }
        self.block = Block::Explicit;
        Ok(at)
    }

    fn in_explicit(&self, what: &str) -> Result<()> {
        if self.is_explicit() { Ok(()) } else { Err(outside(what)) }
    }

    fn find(&self, name: &str) -> Result<usize> {
        let missing = || Error::new(Kind::UndefinedSavepoint, format!("savepoint \"{name}\" does not exist"));
        self.savepoints.iter().rposition(|savepoint| savepoint.name == name).ok_or_else(missing)
    }
}

/// 25P01.
pub(in crate::engine) fn outside(what: &str) -> Error {
    Error::new(Kind::NoActiveTransaction, format!("{what} can only be used in transaction blocks"))
}

/// 25001.
pub(in crate::engine) fn in_block(what: &str) -> Error {
    Error::new(Kind::ActiveTransaction, format!("{what} cannot run inside a transaction block"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun() -> (Transaction, Settings) {
        let mut settings = Settings::new("ann", "public");
        settings.started();
        let mut transaction = Transaction::none();
        transaction.start(&mut settings, false);
        assert!(transaction.begin(&mut settings));
        (transaction, settings)
    }

    fn set(settings: &mut Settings, value: &str, local: bool) {
        settings.set("application_name", Some(value), local).unwrap();
    }

    fn name(settings: &Settings) -> &str {
        settings.value("application_name")
    }

    #[test]
    fn commit_keeps_what_was_set_and_ends_what_was_set_locally() {
        let (mut transaction, mut settings) = begun();
        set(&mut settings, "set", false);
        set(&mut settings, "local", true);
        set(&mut settings, "again", true);
        assert_eq!(name(&settings), "again");
        assert_eq!(transaction.end(&mut settings, true), Ended::Committed);
        assert_eq!((name(&settings), transaction.status()), ("set", TransactionStatus::Idle));
    }

    #[test]
    fn rollback_and_a_failed_commit_take_settings_back() {
        for fails in [false, true] {
            let (mut transaction, mut settings) = begun();
            let version = settings.version();
            settings.set("timezone", Some("Asia/Tokyo"), false).unwrap();
            let derived = settings.version();
            if fails {
                assert_eq!(transaction.fail(&mut settings), Some(0));
            }
            assert_eq!(transaction.end(&mut settings, fails), Ended::RolledBack);
            assert_eq!(settings.value("TimeZone"), "UTC");
            assert!(settings.version() > derived && derived > version, "what was derived from them is stale");
        }
    }

    #[test]
    fn savepoints_bring_settings_back_and_hide_each_other() {
        let (mut transaction, mut settings) = begun();
        set(&mut settings, "x", true);
        transaction.save(&mut settings, "a".into(), Held::default()).unwrap();
        transaction.save(&mut settings, "a".into(), Held::default()).unwrap();
        set(&mut settings, "y", false);
        assert_eq!(transaction.fail(&mut settings), Some(2));
        assert_eq!(transaction.roll_back_to(&mut settings, "a").unwrap(), 1);
        assert_eq!((name(&settings), transaction.depth(), transaction.has_failed()), ("x", 2, false));
        assert_eq!(transaction.release(&mut settings, "a").unwrap(), 1);
        assert_eq!(transaction.release(&mut settings, "a").unwrap(), 0);
        assert_eq!(transaction.release(&mut settings, "a").unwrap_err().kind(), Kind::UndefinedSavepoint);
    }

    #[test]
    fn outside_of_a_block_a_failure_takes_back_its_own_statement() {
        let mut settings = Settings::new("ann", "public");
        settings.started();
        let mut transaction = Transaction::none();
        transaction.start(&mut settings, true);
        set(&mut settings, "k", false);
        assert!(transaction.is_block() && !transaction.is_explicit());
        assert_eq!(
            transaction.save(&mut settings, "a".into(), Held::default()).unwrap_err().kind(),
            Kind::NoActiveTransaction
        );
        assert_eq!(transaction.fail(&mut settings), None);
        assert_eq!((name(&settings), transaction.status()), ("", TransactionStatus::Idle));
    }
}
