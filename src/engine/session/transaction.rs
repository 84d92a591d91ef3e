//! The state of a session's transaction, and what happens to settings in one. Reading needs no transaction (each statement
//! sees its own snapshot), and a write is a commit of its own: a block groups settings and failures, nothing else.

use super::super::settings::Settings;
use crate::error::{Error, Kind, Result};

const READ_ONLY: &str = "transaction_read_only";

/// `I`, `T`, `E` of ReadyForQuery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    Idle,
    Active,
    Failed,
}

#[derive(Debug)]
pub(in crate::engine) struct Transaction {
    status: TransactionStatus,
    /// Settings as they stood at BEGIN, for ROLLBACK.
    before: Option<Settings>,
    /// What SET LOCAL hid, for COMMIT.
    hidden: Vec<(String, String)>,
}

impl Transaction {
    pub(super) fn none() -> Self {
        Self { status: TransactionStatus::Idle, before: None, hidden: vec![] }
    }

    pub(in crate::engine) fn status(&self) -> TransactionStatus {
        self.status
    }

    pub(in crate::engine) fn is_active(&self) -> bool {
        self.status == TransactionStatus::Active
    }

    pub(in crate::engine) fn has_failed(&self) -> bool {
        self.status == TransactionStatus::Failed
    }

    pub(super) fn fail(&mut self) {
        if self.is_active() {
            self.status = TransactionStatus::Failed;
        }
    }

    /// In a block already it does nothing: PostgreSQL warns.
    pub(in crate::engine) fn begin(&mut self, settings: &mut Settings, read_only: Option<bool>) -> Result<()> {
        if self.status != TransactionStatus::Idle {
            return Ok(());
        }
        self.before = Some(settings.clone());
        self.status = TransactionStatus::Active;
        let by_default = settings.is_on("default_transaction_read_only");
        set_read_only(settings, read_only.unwrap_or(by_default))
    }

    /// SET TRANSACTION; outside of a block it does nothing: PostgreSQL warns.
    pub(in crate::engine) fn restrict(&self, settings: &mut Settings, read_only: bool) -> Result<()> {
        if self.is_active() { set_read_only(settings, read_only) } else { Ok(()) }
    }

    /// SET LOCAL is about to hide this value. `false`: there is no transaction that it could end with.
    pub(in crate::engine) fn hide(&mut self, name: &str, value: &str) -> bool {
        if self.status == TransactionStatus::Idle {
            return false;
        }
        self.hidden.push((name.to_string(), value.to_string()));
        true
    }

    /// The command tag: a COMMIT of a failed transaction is a ROLLBACK.
    pub(in crate::engine) fn end(&mut self, settings: &mut Settings, commit: bool) -> &'static str {
        let failed = self.has_failed();
        let Self { before, hidden, .. } = std::mem::replace(self, Self::none());
        if commit && !failed {
            for (name, value) in hidden.into_iter().rev() {
                // it was a valid value when it was hidden
                let _ = settings.set(&name, &value);
            }
            let _ = settings.reset(READ_ONLY);
            return "COMMIT";
        }
        if let Some(mut before) = before {
            before.follow(settings);
            *settings = before;
        }
        "ROLLBACK"
    }
}

fn set_read_only(settings: &mut Settings, read_only: bool) -> Result<()> {
    settings.set(READ_ONLY, if read_only { "on" } else { "off" })
}

/// 25001.
pub(in crate::engine) fn in_block(what: &str) -> Error {
    Error::new(Kind::ActiveTransaction, format!("{what} cannot run inside a transaction block"))
        .with_hint("Each write to the lake is a commit of its own: send it alone, with autocommit on.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun() -> (Transaction, Settings) {
        let mut settings = Settings::new("ann", "public");
        let mut transaction = Transaction::none();
        transaction.begin(&mut settings, None).unwrap();
        (transaction, settings)
    }

    fn set_local(transaction: &mut Transaction, settings: &mut Settings, value: &str) {
        let hidden = settings.get("application_name").unwrap().to_string();
        assert!(transaction.hide("application_name", &hidden));
        settings.set("application_name", value).unwrap();
    }

    #[test]
    fn commit_keeps_what_was_set_and_ends_what_was_set_locally() {
        let (mut transaction, mut settings) = begun();
        settings.set("application_name", "set").unwrap();
        set_local(&mut transaction, &mut settings, "local");
        set_local(&mut transaction, &mut settings, "again");
        assert_eq!(transaction.end(&mut settings, true), "COMMIT");
        assert_eq!(settings.get("application_name").unwrap(), "set");
        assert_eq!(transaction.status(), TransactionStatus::Idle);
    }

    #[test]
    fn rollback_and_a_failed_commit_take_settings_back() {
        for fails in [false, true] {
            let (mut transaction, mut settings) = begun();
            let version = settings.version();
            settings.set("application_name", "set").unwrap();
            let derived = settings.version();
            if fails {
                transaction.fail();
            }
            assert_eq!(transaction.end(&mut settings, fails), "ROLLBACK");
            assert_eq!(settings.get("application_name").unwrap(), "");
            assert!(settings.version() > derived && derived > version, "what was derived from them is stale");
        }
    }

    #[test]
    fn outside_of_a_block_nothing_is_local_and_nothing_fails() {
        let mut settings = Settings::new("ann", "public");
        let mut transaction = Transaction::none();
        assert!(!transaction.hide("application_name", ""));
        transaction.restrict(&mut settings, true).unwrap();
        transaction.fail();
        assert_eq!((transaction.status(), settings.is_on(READ_ONLY)), (TransactionStatus::Idle, false));
    }
}
