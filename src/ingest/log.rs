//! What a log is, for an origin that is one: records in partitions, known by their offsets. It decodes nothing; records
//! keep their bytes as they came.

use std::collections::BTreeMap;
use std::ops::Range;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::origin::Room;
use crate::error::Result;
use crate::formats::change::Op;

/// Partition → the offset of the next change to take in: half-open, everything below is in the lake.
pub type Offsets = BTreeMap<i32, i64>;

/// One change; its bytes stand in [`Changes`].
#[derive(Clone, Debug)]
struct Change {
    partition: i32,
    offset: i64,
    /// When it happened, as the origin says.
    at_ms: Option<i64>,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Vec<(Range<usize>, Option<Range<usize>>)>,
}

/// Changes in the order in which they came: those of one partition in the order of their offsets.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    bytes: Vec<u8>,
    changes: Vec<Change>,
    next: Offsets,
}

/// A change as it is looked at.
#[derive(Clone, Debug, Default)]
pub struct Seen<'a> {
    pub partition: i32,
    pub offset: i64,
    pub at_ms: Option<i64>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// In their order; a name may come again.
    pub headers: Vec<Header<'a>>,
}

/// What a producer says beside key and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    pub name: &'a str,
    pub value: Option<&'a [u8]>,
}

impl Seen<'_> {
    /// Of a record that is what it holds: without a value its key's row is gone.
    pub fn op(&self) -> Op {
        if self.value.is_some() { Op::Insert } else { Op::Delete }
    }

    pub fn mark(&self) -> Mark {
        let mut hash = Xxh3::new();
        for part in [self.at_ms.map(i64::to_be_bytes).as_ref().map(|b| &b[..]), self.key, self.value] {
            // Absent and empty are two things.
            hash.update(&part.map_or(u64::MAX, |p| p.len() as u64).to_be_bytes());
            hash.update(part.unwrap_or_default());
        }
        Mark { offset: self.offset, hash: hash.digest() }
    }
}

impl Changes {
    pub fn push(&mut self, change: Seen<'_>) {
        let Seen { partition, offset, at_ms, key, value, headers } = change;
        let (key, value) = (key.map(|b| self.keep(b)), value.map(|b| self.keep(b)));
        let headers = headers.into_iter().map(|h| (self.keep(h.name.as_bytes()), h.value.map(|b| self.keep(b))));
        let headers = headers.collect();
        self.passed(partition, offset.saturating_add(1));
        self.changes.push(Change { partition, offset, at_ms, key, value, headers });
    }

    /// Nothing to take in stands below `next`: markers of transactions, records that compaction took.
    pub fn passed(&mut self, partition: i32, next: i64) {
        let known = self.next.entry(partition).or_insert(next);
        *known = next.max(*known);
    }

    /// How far each partition is once these are taken in.
    pub fn next(&self) -> &Offsets {
        &self.next
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = Seen<'_>> {
        let bytes = |range: &Option<Range<usize>>| range.clone().and_then(|r| self.bytes.get(r));
        let header = move |(name, value): &(Range<usize>, Option<Range<usize>>)| Header {
            // It came as a text.
            name: self.bytes.get(name.clone()).and_then(|b| std::str::from_utf8(b).ok()).unwrap_or_default(),
            value: bytes(value),
        };
        self.changes.iter().map(move |c| Seen {
            partition: c.partition,
            offset: c.offset,
            at_ms: c.at_ms,
            key: bytes(&c.key),
            value: bytes(&c.value),
            headers: c.headers.iter().map(header).collect(),
        })
    }

    /// The last change of each partition.
    pub fn last(&self) -> Vec<Seen<'_>> {
        self.iter().map(|c| (c.partition, c)).collect::<BTreeMap<_, _>>().into_values().collect()
    }

    pub fn len(&self) -> usize {
        self.changes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Of keys, values and headers.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn keep(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }
}

/// What a record is known by, so that a topic that was deleted and made anew is told from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub offset: i64,
    /// Of its time, key and value.
    pub hash: u64,
}

/// Partition → its last change.
pub type Marks = BTreeMap<i32, Mark>;

/// Which topic it is, whatever its name. `None` where the origin has no such thing; one that does not answer is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub cluster_id: Option<String>,
    /// Never another topic's, not even of one that gets its name after it.
    pub topic_id: Option<String>,
}

/// What a log has at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    pub identity: Identity,
    pub topic: String,
    /// Partition → (first offset that is still there, offset after the last).
    pub spans: BTreeMap<i32, (i64, i64)>,
}

/// Where records come from. One at a time calls it; a call that is dropped may have read ahead, and is followed by
/// [`Log::seek`].
///
/// Errors of kind `DataGone` say that offsets asked for are not there any more: the caller then asks for the extent.
#[async_trait]
pub trait Log: Send + Sync {
    async fn extent(&mut self) -> Result<Extent>;

    /// As [`Extent::identity`]. Asked after changes were read, it tells whose changes they were.
    async fn identity(&mut self) -> Result<Identity>;

    /// For each partition the first record where its mark stands or after; `None` where there is none up to the end. Every
    /// partition is answered for: what does not come in time is an error, to be asked again.
    async fn probe(&mut self, at: &Marks) -> Result<BTreeMap<i32, Option<Mark>>>;

    /// The next [`Log::read`] begins there. Partitions that are not named are not read.
    async fn seek(&mut self, from: &Offsets) -> Result<()>;

    /// Changes after the last ones, each once, none left out; empty where none came in time.
    async fn read(&mut self, room: Room) -> Result<Changes>;

    /// Everything below is durable: the origin may forget it, tools may show it. It is never asked for again.
    async fn acknowledge(&mut self, durable: &Offsets) -> Result<()>;
}

/// As `lakegate.range.from` and `lakegate.range.to` spell it.
pub fn offsets_json(offsets: &Offsets) -> String {
    serde_json::to_string(offsets).expect("numbers have a JSON form")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_keep_their_bytes_and_know_where_the_next_one_stands() {
        let mut changes = Changes::default();
        let seen =
            |offset, value| Seen { partition: 1, offset, at_ms: Some(5), key: Some(b"k"), value, headers: vec![] };
        let header = |value| Header { name: "h", value };
        let headers = vec![header(Some(&b"1"[..])), header(None)];
        changes.push(Seen { headers: headers.clone(), ..seen(7, Some(b"v7")) });
        changes.push(seen(9, None));
        changes.passed(1, 4);
        changes.passed(2, 3);
        assert_eq!(changes.next(), &Offsets::from([(1, 10), (2, 3)]));
        let all: Vec<_> = changes.iter().map(|c| (c.offset, c.key, c.value, c.op().name())).collect();
        let key = Some(&b"k"[..]);
        assert_eq!(all, [(7, key, Some(&b"v7"[..]), "insert"), (9, key, None, "delete")]);
        assert_eq!((changes.len(), changes.bytes()), (2, 7));
        assert_eq!(changes.iter().map(|c| c.headers).collect::<Vec<_>>(), [headers, vec![]]);
    }

    #[test]
    fn a_mark_tells_records_apart() {
        let plain =
            Seen { partition: 0, offset: 1, at_ms: Some(5), key: Some(b"k"), value: Some(b"v"), headers: vec![] };
        let others = [
            Seen { at_ms: Some(6), ..plain.clone() },
            Seen { at_ms: None, ..plain.clone() },
            Seen { key: None, ..plain.clone() },
            Seen { key: Some(b"kv"), value: Some(b""), ..plain.clone() },
            Seen { value: None, ..plain.clone() },
            Seen { value: Some(b""), ..plain.clone() },
        ];
        let mut hashes: Vec<u64> = others.iter().chain([&plain]).map(|s| s.mark().hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), others.len() + 1);
        assert_eq!(plain.mark(), Seen { partition: 9, ..plain.clone() }.mark());
    }
}
