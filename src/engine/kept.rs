//! What a session keeps for its client: prepared statements, whether a Parse or SQL's PREPARE brought them, and the plans
//! of the texts that came last. All of it, and the front end's portals, draws on one allowance of bytes. It judges no
//! right and plans nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use metrics::counter;

use super::remembered::Remembered;
use super::session::Prepared;
use crate::error::{Error, Kind, Result};
use crate::telemetry::metrics::KEPT_REFUSED;

/// How much one session may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptLimits {
    /// Prepared statements.
    pub prepared_max: usize,
    /// Texts and names of prepared statements, texts of remembered plans, names and parameters of portals, together.
    pub bytes_max: usize,
    /// Open cursors that SQL knows by name.
    pub cursors_max: usize,
}

impl Default for KeptLimits {
    fn default() -> Self {
        Self { prepared_max: 1_000, bytes_max: 16 << 20, cursors_max: 100 }
    }
}

/// Bytes of a session's allowance, given back when dropped. The default is of none.
#[derive(Debug, Default)]
pub struct Held {
    used: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
pub(super) struct Kept {
    limits: KeptLimits,
    used: Arc<AtomicUsize>,
    /// By name, with what the name takes; "" is the unnamed one.
    statements: HashMap<String, (Arc<Prepared>, Held)>,
    remembered: Remembered,
}

impl Kept {
    pub(super) fn limit(&mut self, limits: KeptLimits) {
        self.limits = limits;
    }

    /// 42P05 for a name in use, 54000 above the limits. The unnamed one is replaced.
    pub(super) fn keep(&mut self, name: &str, prepared: Arc<Prepared>) -> Result<()> {
        if !name.is_empty() && self.statements.contains_key(name) {
            return Err(Error::new(Kind::DuplicateStatement, format!("prepared statement \"{name}\" already exists")));
        }
        self.statements.remove(name);
        if self.statements.len() >= self.limits.prepared_max {
            let text = format!("more than {} prepared statements are kept", self.limits.prepared_max);
            return Err(refused(text).with_hint("Deallocate statements that are no longer needed."));
        }
        let held = self.hold(name.len())?;
        self.charge(&prepared)?;
        self.statements.insert(name.to_string(), (prepared, held));
        Ok(())
    }

    /// 26000 where there is none.
    pub(super) fn find(&self, name: &str) -> Result<Arc<Prepared>> {
        let missing = || Error::new(Kind::UndefinedStatement, format!("prepared statement \"{name}\" does not exist"));
        self.statements.get(name).map(|(prepared, _)| Arc::clone(prepared)).ok_or_else(missing)
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.statements.remove(name);
    }

    pub(super) fn forget_all(&mut self) {
        self.statements.clear();
    }

    /// Takes `bytes` of the allowance: 54000 where that much is not left. Remembered plans make room, they only save time.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<Held> {
        while self.left() < bytes && self.remembered.forget_oldest() {}
        if self.left() < bytes {
            let text = format!("prepared statements and portals hold more than {} bytes", self.limits.bytes_max);
            return Err(refused(text));
        }
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Ok(Held { used: Arc::clone(&self.used), bytes })
    }

    /// A statement's text counts once, for as long as a name, a portal or the memory of plans has it.
    fn charge(&mut self, prepared: &Prepared) -> Result<()> {
        if prepared.held.get().is_none() {
            let held = self.hold(prepared.text.bytes)?;
            // Only this session has it, and sees to one statement at a time: nobody was quicker.
            let _ = prepared.held.set(held);
        }
        Ok(())
    }

    fn left(&self) -> usize {
        self.limits.bytes_max.saturating_sub(self.used.load(Ordering::Relaxed))
    }

    // --- remembered plans

    pub(super) fn remembers_any(&self) -> bool {
        !self.remembered.is_empty()
    }

    pub(super) fn recall(&mut self, text: &str) -> Option<Arc<Prepared>> {
        self.remembered.find(text)
    }

    /// Where there is no room for it, it is planned again when it comes again.
    pub(super) fn remember(&mut self, text: &str, prepared: &Arc<Prepared>) {
        if Remembered::takes(text) && self.charge(prepared).is_ok() {
            self.remembered.keep(text, prepared);
        }
    }

    pub(super) fn forget_plans(&mut self) {
        self.remembered.clear();
    }
}

fn refused(text: String) -> Error {
    counter!(KEPT_REFUSED).increment(1);
    Error::new(Kind::TooLarge, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Kept {
        let mut kept = Kept::default();
        kept.limit(KeptLimits { prepared_max: 2, bytes_max: 100, cursors_max: 1 });
        kept
    }

    fn text(length: usize) -> (String, Arc<Prepared>) {
        let text = "x".repeat(length);
        let prepared = Arc::new(Prepared::of_text(&text));
        (text, prepared)
    }

    fn code<T>(outcome: Result<T>) -> &'static str {
        outcome.map_or_else(|e| e.kind().sqlstate(), |_| "ok")
    }

    #[test]
    fn statements_are_limited_in_number_and_a_name_in_use_stays() {
        let mut kept = kept();
        assert_eq!(code(kept.keep("a", text(10).1)), "ok");
        assert_eq!(code(kept.keep("a", text(10).1)), "42P05");
        assert_eq!(code(kept.keep("", text(10).1)), "ok");
        assert_eq!(code(kept.keep("", text(10).1)), "ok", "the unnamed one is replaced");
        assert_eq!(code(kept.keep("b", text(10).1)), "54000");
        kept.forget("a");
        assert_eq!(code(kept.keep("b", text(10).1)), "ok");
        assert_eq!(code(kept.find("a")), "26000");
        kept.forget_all();
        assert_eq!(kept.left(), 100);
    }

    #[test]
    fn statements_and_portals_draw_on_one_allowance() {
        let mut kept = kept();
        assert_eq!(code(kept.keep("a", text(59).1)), "ok");
        let portal = kept.hold(40).unwrap();
        assert_eq!(code(kept.hold(1)), "54000");
        assert_eq!(code(kept.keep("b", text(0).1)), "54000", "the name counts too");
        drop(portal);
        assert_eq!(code(kept.keep("b", text(39).1)), "ok");
        assert_eq!(kept.left(), 0);
    }

    #[test]
    fn a_text_counts_once_and_until_its_last_holder_is_gone() {
        let mut kept = kept();
        let (text, prepared) = text(50);
        kept.remember(&text, &prepared);
        assert_eq!(code(kept.keep("a", Arc::clone(&prepared))), "ok");
        assert_eq!(kept.left(), 100 - 50 - 1);
        kept.forget("a");
        kept.forget_plans();
        assert_eq!(kept.left(), 50, "a portal may still have it");
        drop(prepared);
        assert_eq!(kept.left(), 100);
    }

    #[test]
    fn remembered_plans_make_room() {
        let mut kept = kept();
        let (first, plan) = text(60);
        kept.remember(&first, &plan);
        drop(plan);
        assert_eq!(code(kept.hold(80)), "ok");
        assert!(kept.recall(&first).is_none());
        let (large, plan) = text(101);
        kept.remember(&large, &plan);
        assert!(!kept.remembers_any());
    }
}
