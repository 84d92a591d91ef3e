//! Which files were taken in: a list that lies in the table's position and moves with their rows. It looks at no folder.

use std::collections::{HashMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest, Sha256};

/// Of a file with what it held: its path, its size, and the store's tag or the time at which it was changed.
pub(super) type Id = [u8; 16];

const BYTES: usize = 20;

/// With the day on which each was last in its folder, counted from 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen(HashMap<Id, u32>);

/// A file that is not in its folder for so long is forgotten, if not before for want of room. A folder that is not mounted for a while is an empty one.
const KEPT_DAYS: u32 = 30;

pub(super) fn id(path: &str, size: u64, version: &str) -> Id {
    let mut hash = Sha256::new();
    for part in [path.as_bytes(), &size.to_be_bytes(), version.as_bytes()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().first_chunk().copied().unwrap_or_default()
}

impl Seen {
    pub(super) fn has(&self, id: &Id) -> bool {
        self.0.contains_key(id)
    }

    pub(super) fn add(&mut self, id: Id, day: u32) {
        self.0.insert(id, day);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Those are there today.
    pub(super) fn there<'i>(&mut self, ids: impl Iterator<Item = &'i Id>, day: u32) {
        for id in ids {
            if let Some(last) = self.0.get_mut(id) {
                *last = day;
            }
        }
        self.0.retain(|_, last| last.saturating_add(KEPT_DAYS) >= day);
    }

    /// No more than so many: those go that are away for longest, and never one of `there`.
    pub(super) fn forget_above(&mut self, max: usize, there: &HashSet<Id>) {
        let above = self.0.len().saturating_sub(max);
        if above == 0 {
            return;
        }
        let away = self.0.iter().filter(|(id, _)| !there.contains(*id));
        let mut away: Vec<(u32, Id)> = away.map(|(id, day)| (*day, *id)).collect();
        away.sort_unstable();
        away.iter().take(above).for_each(|(_, id)| _ = self.0.remove(id));
    }

    /// The same for equal lists.
    pub(super) fn text(&self) -> String {
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_unstable();
        let bytes: Vec<u8> =
            all.into_iter().flat_map(|(id, day)| id.iter().copied().chain(day.to_be_bytes())).collect();
        STANDARD_NO_PAD.encode(bytes)
    }

    /// `None` for what [`Seen::text`] did not write.
    pub(super) fn read(text: &str) -> Option<Self> {
        let bytes = STANDARD_NO_PAD.decode(text).ok()?;
        let (whole, rest) = bytes.as_chunks::<BYTES>();
        let one = |one: &[u8; BYTES]| {
            let (id, day) = one.split_first_chunk::<16>()?;
            Some((*id, u32::from_be_bytes(*day.first_chunk()?)))
        };
        let all = whole.iter().map(one).collect::<Option<_>>()?;
        rest.is_empty().then_some(Self(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut seen = Seen::default();
        (0..50).for_each(|i: u32| seen.add(id(&i.to_string(), 7, "v"), i));
        assert_eq!(Seen::read(&seen.text()), Some(seen.clone()));
        assert_eq!(seen.text(), seen.clone().text());
        assert_eq!(Seen::read(""), Some(Seen::default()));
        assert!(Seen::read("AAAA").is_none() && Seen::read("?").is_none());
    }

    #[test]
    fn another_content_is_another_file() {
        let one = id("a", 1, "v");
        assert_ne!(one, id("a", 1, "w"));
        assert_ne!(one, id("a", 2, "v"));
        assert_ne!(one, id("b", 1, "v"));
    }

    #[test]
    fn a_file_that_is_away_for_a_while_is_not_forgotten() {
        let (mut seen, a, b) = (Seen::default(), id("a", 1, "v"), id("b", 1, "v"));
        seen.add(a, 100);
        seen.add(b, 100);
        seen.there([].iter(), 100 + KEPT_DAYS);
        assert!(seen.has(&a) && seen.has(&b), "an empty folder");
        seen.there([a].iter(), 101 + KEPT_DAYS);
        assert!(seen.has(&a) && !seen.has(&b), "b is away for too long");
    }

    #[test]
    fn above_the_cap_those_go_that_are_away_for_longest_and_none_that_is_there() {
        let mut seen = Seen::default();
        let file = |day: u32| id(&day.to_string(), 1, "v");
        (0..10).for_each(|day| seen.add(file(day), day));
        // One that was there all the time, noted on the first day alone.
        let there = [file(0), file(9)].into();
        seen.forget_above(10, &there);
        assert_eq!(seen.len(), 10, "at the cap");
        seen.forget_above(4, &there);
        let left: Vec<u32> = (0..10).filter(|day| seen.has(&file(*day))).collect();
        assert_eq!(left, [0, 7, 8, 9]);
        seen.forget_above(1, &there);
        assert!(seen.has(&file(0)) && seen.has(&file(9)), "they would be read again");
    }
}
