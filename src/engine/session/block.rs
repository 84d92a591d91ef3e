//! What begins and ends with a session's transaction: settings, savepoints, cursors, and what a front end keeps of its own.

use super::{Ended, Session};
use crate::engine::notice::Notice;
use crate::error::Result;

/// What a savepoint takes besides its name and its settings, about.
const SAVEPOINT_BYTES: usize = 64;

/// What a front end does with portals, each of which it bound under so many savepoints ([`Session::depth`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undone {
    /// The transaction is over: none is left.
    All,
    /// Those under more savepoints than this are gone.
    Above(usize),
    /// Those under more savepoints than this are under so many now.
    Into(usize),
}

impl Session {
    /// Savepoints around what happens now.
    pub fn depth(&self) -> usize {
        self.transaction.depth()
    }

    /// What became of portals since last asked.
    pub fn undone(&mut self) -> Vec<Undone> {
        std::mem::take(&mut self.undone)
    }

    /// The message is answered, or a Sync came: what no BEGIN opened is committed.
    pub async fn finish(&mut self) -> Result<()> {
        self.several = false;
        if self.transaction.is_open() && !self.transaction.is_explicit() {
            self.end(true).await?;
        }
        Ok(())
    }

    /// An error between statements or inside a result: an open block is failed, anything else rolled back.
    pub fn fail(&mut self) {
        self.stage_interrupt();
        let left = match std::mem::take(&mut self.committing) {
            // nobody waited for the end of its COMMIT, which may come to either
            true => {
                self.transaction.end(&mut self.settings.lock(), false);
                None
            }
            false => self.transaction.fail(&mut self.settings.lock()),
        };
        match left {
            // PostgreSQL's portals of what is around the failed part live on
            Some(depth) if depth > 0 => {
                self.cursors.undone(depth - 1);
                self.own.failed_in(depth - 1);
                self.undone.push(Undone::Above(depth - 1));
            }
            Some(_) | None => {
                self.cursors.rolled_back();
                self.own.forget();
                if left.is_none() {
                    self.staging = None;
                    self.identity.temporary.rolled_back();
                }
                self.undone.push(Undone::All);
            }
        }
    }

    /// How long the client lets itself be idle, in a block or outside, in milliseconds; 0: as long as the front end does.
    pub fn idle_timeout_ms(&self, in_block: bool) -> u64 {
        let name = if in_block { "idle_in_transaction_session_timeout" } else { "idle_session_timeout" };
        self.settings.lock().value(name).parse().unwrap_or(0)
    }

    // --- for statements

    /// BEGIN, with a warning where there is a block already.
    pub(in crate::engine) fn begin(&mut self) {
        let begun = self.transaction.begin(&mut self.settings.lock());
        if !begun {
            self.say(Notice::warning("25001", "there is already a transaction in progress"));
        }
    }

    /// COMMIT or ROLLBACK; gives the tag. Outside of a block it ends what runs, with a warning.
    pub(in crate::engine) async fn end_block(&mut self, commit: bool) -> Result<&'static str> {
        if !self.transaction.is_explicit() {
            self.say(Notice::warning("25P01", "there is no transaction in progress"));
            self.end(commit).await?;
            return Ok(if commit { "COMMIT" } else { "ROLLBACK" });
        }
        Ok(match self.end(commit).await? {
            Ended::Committed => "COMMIT",
            Ended::RolledBack => "ROLLBACK",
        })
    }

    /// Of the transaction, for one that follows it.
    pub(in crate::engine) fn modes(&self) -> [(&'static str, String); 3] {
        let settings = self.settings.lock();
        ["transaction_isolation", "transaction_read_only", "transaction_deferrable"]
            .map(|name| (name, settings.kept_word(name)))
    }

    /// A block with these modes, right behind the one that ended.
    pub(in crate::engine) fn begin_like(&mut self, modes: [(&'static str, String); 3]) -> Result<()> {
        let mut settings = self.settings.lock();
        self.transaction.start(&mut settings, false);
        self.transaction.begin(&mut settings);
        modes.iter().try_for_each(|(name, value)| settings.set(name, Some(value), true))
    }

    pub(in crate::engine) fn savepoint(&mut self, name: &str) -> Result<()> {
        let bytes = name.len() + self.settings.lock().mark().bytes() + SAVEPOINT_BYTES;
        let held = self.kept.hold(bytes)?;
        self.transaction.save(&mut self.settings.lock(), name.to_string(), held)?;
        self.identity.temporary.save();
        self.stage_savepoint();
        self.own.save();
        Ok(())
    }

    pub(in crate::engine) fn release(&mut self, name: &str) -> Result<()> {
        let level = self.transaction.release(&mut self.settings.lock(), name)?;
        self.cursors.released(level);
        self.identity.temporary.release(level);
        self.stage_release(level);
        self.own.release(level);
        self.undone.push(Undone::Into(level));
        Ok(())
    }

    pub(in crate::engine) fn roll_back_to(&mut self, name: &str) -> Result<()> {
        let level = self.transaction.roll_back_to(&mut self.settings.lock(), name)?;
        self.cursors.undone(level);
        self.identity.temporary.roll_back_to(level);
        self.stage_roll_back_to(level);
        self.own.roll_back_to(level);
        self.undone.push(Undone::Above(level));
        Ok(())
    }

    /// Warns where what a statement does ends with it (WarnNoTransactionBlock).
    pub(in crate::engine) fn warn_outside(&mut self, what: &str) {
        if !self.transaction.is_block() {
            self.say(Notice::warning("25P01", format!("{what} can only be used in transaction blocks")));
        }
    }

    /// Whatever runs, without a word. Where what it did to the lake cannot be committed, it is rolled back.
    pub(in crate::engine) async fn end(&mut self, commit: bool) -> Result<Ended> {
        if !commit || self.transaction.has_failed() {
            self.staging = None;
        }
        let staged = self.commit_staged().await;
        self.identity.asked.take();
        let ended = self.transaction.end(&mut self.settings.lock(), commit && staged.is_ok());
        match ended {
            Ended::Committed => {
                self.cursors.committed();
                self.own.commit();
                self.identity.temporary.committed();
            }
            Ended::RolledBack => {
                self.cursors.rolled_back();
                self.own.forget();
                self.identity.temporary.rolled_back();
            }
        }
        self.undone.push(Undone::All);
        staged.map(|()| ended)
    }
}
