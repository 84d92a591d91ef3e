//! The keys of what was taken in last, so that what is sent again is known: a bounded list that lies in the table's position
//! and moves with the rows. It knows no clock and waits for nothing.

use std::collections::{HashMap, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest, Sha256};

/// Of a user's key. Two users' equal keys are two.
pub(super) type Id = [u8; 16];

/// What is remembered of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) id: Id,
    /// Of its bytes; another body under the same key is a mistake of its sender's.
    pub(super) body: [u8; 4],
    pub(super) rows: u32,
    pub(super) dead: u32,
    /// When it came, in seconds of the Unix epoch; 0: without a key, and of no use but to find out whether a commit happened.
    pub(super) at: u32,
}

const BYTES: usize = 32;

/// In the order in which they were taken in.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    order: VecDeque<Id>,
    by_id: HashMap<Id, Kept>,
}

/// Not one that can be chosen so as to meet another user's.
pub(super) fn id(user: &str, key: &str) -> Id {
    let mut hash = Sha256::new();
    hash.update((user.len() as u64).to_be_bytes());
    hash.update(user.as_bytes());
    hash.update(key.as_bytes());
    first(&hash.finalize())
}

pub(super) fn of_body(body: &[u8]) -> [u8; 4] {
    first(&Sha256::digest(body))
}

fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk::<N>().copied().unwrap_or([0; N])
}

impl Keys {
    pub(super) fn get(&self, id: &Id) -> Option<&Kept> {
        self.by_id.get(id)
    }

    pub(super) fn push(&mut self, kept: Kept) {
        if self.by_id.insert(kept.id, kept).is_none() {
            self.order.push_back(kept.id);
        }
    }

    /// As many as may be, and none that is older than it may be.
    pub(super) fn prune(&mut self, keys_max: usize, oldest: u32) {
        while let Some(id) = self.order.front() {
            let is_old = self.by_id.get(id).is_none_or(|kept| kept.at < oldest);
            if self.order.len() <= keys_max && !is_old {
                return;
            }
            self.by_id.remove(id);
            self.order.pop_front();
        }
    }

    /// Those that came without a key.
    pub(super) fn forget_nameless(&mut self) {
        self.by_id.retain(|_, kept| kept.at != 0);
        let by_id = &self.by_id;
        self.order.retain(|id| by_id.contains_key(id));
    }

    pub(super) fn text(&self) -> String {
        let mut bytes = Vec::with_capacity(self.order.len() * BYTES);
        for kept in self.order.iter().filter_map(|id| self.by_id.get(id)) {
            bytes.extend_from_slice(&kept.id);
            bytes.extend_from_slice(&kept.body);
            for number in [kept.rows, kept.dead, kept.at] {
                bytes.extend_from_slice(&number.to_be_bytes());
            }
        }
        STANDARD_NO_PAD.encode(bytes)
    }

    /// `None` for what [`Keys::text`] did not write.
    pub(super) fn read(text: &str) -> Option<Self> {
        let bytes = STANDARD_NO_PAD.decode(text).ok()?;
        let mut keys = Self::default();
        let (whole, rest) = bytes.as_chunks::<BYTES>();
        if !rest.is_empty() {
            return None;
        }
        for one in whole {
            let number = |from: usize| one.get(from..from + 4).map(|b| u32::from_be_bytes(first(b)));
            let (rows, dead, at) = (number(20)?, number(24)?, number(28)?);
            keys.push(Kept { id: first(one), body: first(one.get(16..20)?), rows, dead, at });
        }
        Some(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(name: &str, at: u32) -> Kept {
        Kept { id: id("ann", name), body: of_body(b"{}"), rows: 7, dead: 1, at }
    }

    #[test]
    fn what_is_written_is_read_again_in_its_order() {
        let mut keys = Keys::default();
        (0..5).for_each(|i| keys.push(kept(&i.to_string(), 10 + i)));
        let read = Keys::read(&keys.text()).unwrap();
        assert_eq!((read.order, read.by_id), (keys.order, keys.by_id));
        assert!(Keys::read("").unwrap().order.is_empty());
        for wrong in ["AAAA", "?", &kept_text()[1..]] {
            assert!(Keys::read(wrong).is_none(), "{wrong}");
        }
    }

    fn kept_text() -> String {
        let mut keys = Keys::default();
        keys.push(kept("a", 1));
        keys.text()
    }

    #[test]
    fn the_oldest_go_first_by_number_and_by_age() {
        let mut keys = Keys::default();
        (0..10).for_each(|i| keys.push(kept(&i.to_string(), 100 + i)));
        keys.prune(6, 0);
        assert!(keys.get(&id("ann", "3")).is_none() && keys.get(&id("ann", "4")).is_some());
        keys.prune(6, 107);
        assert!(keys.get(&id("ann", "6")).is_none() && keys.get(&id("ann", "7")).is_some());
    }

    #[test]
    fn the_keys_of_two_users_are_two() {
        assert_ne!(id("ann", "k"), id("bob", "k"));
        assert_ne!(id("ann", "bk"), id("annb", "k"));
    }

    #[test]
    fn what_came_without_a_key_is_forgotten_when_its_commit_is_known() {
        let mut keys = Keys::default();
        keys.push(kept("a", 5));
        keys.push(kept("nameless", 0));
        keys.forget_nameless();
        assert!(keys.get(&id("ann", "a")).is_some() && keys.get(&id("ann", "nameless")).is_none());
        assert_eq!(keys.order.len(), 1);
    }
}
