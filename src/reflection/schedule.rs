//! When a reflection is due: pure, given a clock. It refreshes nothing.

use crate::sql::parse::reflection::Refresh;

/// After a refresh that failed: doubled each time up to the last.
const AGAIN_FIRST: i64 = 5 * 1_000_000;
const AGAIN_MAX: i64 = 10 * 60 * 1_000_000;

/// What is known of a reflection. Times are in microseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// When its tables were looked at for what is stored; `None`: nothing is.
    pub as_of: Option<i64>,
    /// One of its tables is another by now, as far as that can be told without reading it.
    pub moved: bool,
    /// Refreshes that failed since the last one that did not, and when the last of them did.
    pub failures: u32,
    pub failed_at: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Now,
    /// Not before.
    At(i64),
    /// When something moves, or somebody asks.
    Not,
}

pub fn due(refresh: Refresh, known: &Known, now: i64) -> Due {
    let wanted = match (refresh, known.as_of) {
        (Refresh::Manual, _) => return Due::Not,
        (Refresh::Every(_) | Refresh::OnCommit, None) => now,
        (Refresh::OnCommit, Some(_)) if known.moved => now,
        (Refresh::OnCommit, Some(_)) => return Due::Not,
        (Refresh::Every(period), Some(as_of)) => as_of.saturating_add(period),
    };
    let not_before = match known.failures {
        0 => i64::MIN,
        n => known.failed_at.saturating_add(pause(n)),
    };
    match wanted.max(not_before) {
        at if at <= now => Due::Now,
        at => Due::At(at),
    }
}

/// Whose turn it is where so many places are free: of those that wait, and since when, the longest waiting first.
pub fn turns<T>(mut waiting: Vec<(i64, T)>, places: usize) -> Vec<T> {
    waiting.sort_by_key(|(since, _)| *since);
    waiting.into_iter().take(places).map(|(_, waits)| waits).collect()
}

fn pause(failures: u32) -> i64 {
    // as often as it takes to come to the bound, and some more
    let doubled = 1i64 << failures.saturating_sub(1).min(16);
    (AGAIN_FIRST * doubled).min(AGAIN_MAX)
}

#[cfg(test)]
mod tests;
