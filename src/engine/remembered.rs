//! The queries that a session planned last, by their text: a dashboard asks the same ones again and again, and planning
//! one costs more than all the rest of an answer from the result cache. It judges no right: what it gives back is guarded
//! at each execution, as a prepared statement is. Its owner empties it when world or settings change.

use std::collections::VecDeque;
use std::sync::Arc;

use super::session::Prepared;

/// Plans held by an idle session.
const KEPT: usize = 8;
/// Longer texts are machine-made and hardly ever come twice.
const TEXT_BYTES_MAX: usize = 8 << 10;

/// The one asked last first.
#[derive(Debug, Default)]
pub(super) struct Remembered(VecDeque<(String, Arc<Prepared>)>);

impl Remembered {
    pub(super) fn find(&mut self, text: &str) -> Option<Arc<Prepared>> {
        let at = self.0.iter().position(|(known, _)| known == text)?;
        let found = self.0.remove(at)?;
        let prepared = Arc::clone(&found.1);
        self.0.push_front(found);
        Some(prepared)
    }

    pub(super) fn takes(text: &str) -> bool {
        text.len() <= TEXT_BYTES_MAX
    }

    /// Instead of the one that was not asked for the longest time.
    pub(super) fn keep(&mut self, text: &str, prepared: &Arc<Prepared>) {
        if Self::takes(text) {
            self.0.truncate(KEPT - 1);
            self.0.push_front((text.to_string(), Arc::clone(prepared)));
        }
    }

    /// `false` where there was none.
    pub(super) fn forget_oldest(&mut self) -> bool {
        self.0.pop_back().is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ones_asked_last_are_kept() {
        let mut remembered = Remembered::default();
        let prepared = Arc::new(Prepared::of_text(""));
        let names: Vec<String> = (0..=KEPT).map(|n| format!("SELECT {n}")).collect();
        for name in &names[..KEPT] {
            remembered.keep(name, &prepared);
        }
        assert!(remembered.find(&names[0]).is_some());
        remembered.keep(&names[KEPT], &prepared);
        let found: Vec<bool> = names.iter().map(|name| remembered.find(name).is_some()).collect();
        assert!(!found[1] && found.iter().filter(|f| **f).count() == KEPT, "{found:?}");
        remembered.keep(&"x".repeat(TEXT_BYTES_MAX + 1), &prepared);
        assert!(remembered.find(&names[0]).is_some() && remembered.find(&names[KEPT]).is_some());
        remembered.clear();
        assert!(remembered.is_empty() && remembered.find(&names[0]).is_none());
    }
}
