//! What a registry has said of the ids before records: as many schemas as fit, and for a while which ids it does not have. Bytes
//! that are no ids look like some, so that what is not there must never push out what is. It asks nobody.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Schemas that are kept, and how long their texts are together. Beyond, those that were learnt first are asked for again.
const SCHEMAS_MAX: usize = 1_000;
const SCHEMA_BYTES_MAX: usize = 64 << 20;
/// Ids that a registry does not have.
const MISSES_MAX: usize = 100_000;
/// An id that a registry does not have now it may have soon: it is asked again after so long, and not before.
const MISS_LASTS: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Learnt<T>(RwLock<Kept<T>>);

#[derive(Debug)]
struct Kept<T> {
    schemas: HashMap<u64, Schema<T>>,
    /// In the order in which they were learnt.
    order: VecDeque<u64>,
    bytes: usize,
    misses: HashMap<u64, Instant>,
}

#[derive(Debug)]
struct Schema<T> {
    read: Arc<T>,
    bytes: usize,
}

impl<T> Default for Learnt<T> {
    fn default() -> Self {
        let kept = Kept { schemas: HashMap::new(), order: VecDeque::new(), bytes: 0, misses: HashMap::new() };
        Self(RwLock::new(kept))
    }
}

impl<T> Learnt<T> {
    pub(super) fn get(&self, id: u64) -> Option<Arc<T>> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        kept.schemas.get(&id).map(|schema| Arc::clone(&schema.read))
    }

    /// Nothing has to be asked of these ids at that moment, whether or not there is a schema.
    pub(super) fn knows(&self, now: Instant) -> impl Fn(u64) -> bool + '_ {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        move |id| kept.schemas.contains_key(&id) || kept.misses.get(&id).is_some_and(|at| lasts(*at, now))
    }

    /// `None`: the registry does not have it, or it cannot be read. `bytes`: how long its text is.
    pub(super) fn learn(&self, id: u64, read: Option<T>, bytes: usize, now: Instant) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match read {
            Some(read) => kept.keep(id, Schema { read: Arc::new(read), bytes }),
            None => kept.miss(id, now),
        }
    }
}

impl<T> Kept<T> {
    fn keep(&mut self, id: u64, schema: Schema<T>) {
        self.misses.remove(&id);
        let bytes = schema.bytes;
        match self.schemas.insert(id, schema) {
            Some(before) => self.bytes -= before.bytes,
            None => self.order.push_back(id),
        }
        self.bytes += bytes;
        while self.schemas.len() > SCHEMAS_MAX || (self.bytes > SCHEMA_BYTES_MAX && self.schemas.len() > 1) {
            let Some(first) = self.order.pop_front() else { return };
            // One that was learnt again stands where it stood first, and is the one that is wanted.
            if first == id {
                self.order.push_back(first);
                continue;
            }
            if let Some(gone) = self.schemas.remove(&first) {
                self.bytes -= gone.bytes;
            }
        }
    }

    fn miss(&mut self, id: u64, now: Instant) {
        if self.misses.len() >= MISSES_MAX {
            self.misses.retain(|_, at| lasts(*at, now));
        }
        if self.misses.len() >= MISSES_MAX {
            self.misses.clear();
        }
        self.misses.insert(id, now);
    }
}

fn lasts(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < MISS_LASTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_asked_again_after_a_while_and_not_before() {
        let (learnt, now) = (Learnt::<&str>::default(), Instant::now());
        assert!(!learnt.knows(now)(7));
        learnt.learn(7, None, 0, now);
        assert!(learnt.knows(now + MISS_LASTS / 2)(7));
        assert!(!learnt.knows(now + MISS_LASTS)(7));
        learnt.learn(7, Some("there by now"), 1, now + MISS_LASTS);
        assert!(learnt.knows(now + MISS_LASTS * 100)(7), "a schema of an id never changes");
        assert_eq!(learnt.get(7).as_deref(), Some(&"there by now"));
    }

    #[test]
    fn ids_that_are_none_push_no_schema_out() {
        let (learnt, now) = (Learnt::default(), Instant::now());
        learnt.learn(1, Some(()), 10, now);
        for id in 2..u64::try_from(MISSES_MAX).unwrap() + 10 {
            learnt.learn(id, None, 0, now);
        }
        assert!(learnt.get(1).is_some());
        let misses = learnt.0.read().unwrap().misses.len();
        assert!((1..=MISSES_MAX).contains(&misses), "{misses}");
    }

    #[test]
    fn schemas_are_bounded_by_count_and_by_length() {
        let now = Instant::now();
        let count = |bytes: usize| {
            let learnt = Learnt::default();
            for id in 0..2_000 {
                learnt.learn(id, Some(()), bytes, now);
                assert!(learnt.get(id).is_some(), "the newest is always there");
            }
            let kept = learnt.0.read().unwrap();
            assert_eq!(kept.bytes, kept.schemas.len() * bytes);
            assert_eq!(kept.order.len(), kept.schemas.len());
            kept.schemas.len()
        };
        assert_eq!(count(1), SCHEMAS_MAX);
        assert_eq!(count(1 << 20), 64);
        assert_eq!(count(SCHEMA_BYTES_MAX + 1), 1);
        // Learnt again and again it counts once.
        let learnt = Learnt::default();
        (0..10).for_each(|_| learnt.learn(5, Some(()), 3, now));
        assert_eq!(learnt.0.read().unwrap().bytes, 3);
    }
}
