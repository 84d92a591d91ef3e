//! Newtypes that every floor speaks. No behaviour beyond printing themselves.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;

/// Oids of what extensions bring, the first that a server's own objects do not have.
pub(crate) const EXTENSION_OIDS: std::ops::Range<u32> = 16384..17408;

/// `schema.table` as users write it, canonical: lower case unless it was made in quotes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    pub schema: String,
    pub table: String,
}

impl TableName {
    pub fn new(schema: impl Into<String>, table: impl Into<String>) -> Self {
        Self { schema: schema.into(), table: table.into() }
    }
}

/// Segments that need quotes in SQL are printed in quotes.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", Identifier(&self.schema), Identifier(&self.table))
    }
}

/// A name as it stands in SQL, whatever it is: it may be a keyword.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Prints an SQL identifier, in double quotes where PostgreSQL's `quote_ident` would need them for its spelling.
pub struct Identifier<'a>(pub &'a str);

impl fmt::Display for Identifier<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.0.bytes();
        let plain = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
            && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if plain { f.write_str(self.0) } else { write!(f, "\"{}\"", self.0.replace('"', "\"\"")) }
    }
}

/// Stable identity of a table, view or system relation: equal after a rename and a restart, new after drop and create.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId(pub u64);

impl ObjectId {
    /// From a source's own identity, such as `iceberg:<table uuid>` or `postgres:<source>:<relation oid>`.
    pub fn of(identity: &str) -> Self {
        Self(xxhash_rust::xxh3::xxh3_64(identity.as_bytes()))
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectId({self})")
    }
}

/// Which of a table's versions a statement asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AsOf {
    /// The one that was there then, in microseconds since 1970.
    Time(i64),
    Snapshot(i64),
    /// A tag or a branch.
    Named(String),
}

impl AsOf {
    /// What it means may be another version later.
    pub fn moves(&self) -> bool {
        !matches!(self, Self::Snapshot(_))
    }
}

/// What one statement sees of one table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// Content never changes while the process lives (fixtures).
    Fixed(u64),
    /// An Iceberg snapshot; `None` is a table without one.
    Snapshot(Option<i64>),
    /// The same with what its pipeline had taken in besides; a number stands for one such state and no other of the process.
    Fresh(Option<i64>, u64),
    /// Of one topic of Kafka, by the id that no other topic ever has: partition → (first offset, end offset), half-open. A topic
    /// that is deleted and made anew may have the same name and the same offsets.
    Offsets { topic_id: String, spans: Vec<(i32, i64, i64)> },
    /// Files of a table, by a digest of their names and of what they held.
    Files(String),
    /// Whatever the source answers when asked; never cached.
    Live,
}

/// Tells whether a physical leaf reads one given table: by topic, relation or files, never by a tag that an optimizer could
/// lose. Made by whoever makes the leaf.
pub type Reads = Arc<dyn Fn(&dyn ExecutionPlan) -> Option<Share> + Send + Sync>;

/// Which of the tables that a leaf reads one is: nearly always the only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub nth: usize,
    pub of: usize,
}

impl Share {
    pub const WHOLE: Self = Self { nth: 0, of: 1 };
}

/// The versions a statement is pinned to, by object.
pub type SnapshotVector = BTreeMap<ObjectId, Version>;
