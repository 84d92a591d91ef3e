//! From a source to the lake, exactly once: changes are read, cut into batches and committed together with the position
//! they stand at. It writes as the system: it knows no user, plans no SQL, and leaves the commit itself to `lake`.
//!
//! Where changes come from is an [`origin`]'s business: topics (`records` over a [`log`]), databases, tables that lakegate can
//! read ([`pulled`]), or whoever sends rows (`posts`). What a batch is worth is
//! `batch`'s, what the changes of a key come to is `fold`'s, and `apply` writes and commits.
//!
//! The one truth is the position in the table's own properties. It moves in the same commit as the rows, is compared by
//! that commit with what it was when the rows were read, and is where every start begins. The origin's notes (a group's
//! offsets) are written for tools that show lag and never read.

mod apply;
mod batch;
mod dead;
mod fault;
mod file;
mod flow;
mod fold;
mod folder;
mod fresh;
mod index;
mod kafka;
mod keep;
mod key;
mod lease;
mod lines;
pub mod log;
pub mod origin;
mod owner;
mod pause;
mod position;
pub mod postgres;
mod posts;
pub mod pulled;
mod records;
mod replay;
mod resume;
mod retry;
mod status;
mod supervise;
mod table;
mod target;
mod upsert;

use serde::{Deserialize, Serialize};

pub use crate::pipelines::{From, Replayed};
pub use batch::{Commit, DeadLetterCap};
pub use dead::{DEAD_LETTERS, DeadLetter, dead_letter_columns};
pub use file::{Feed, Known, Spec, read};
pub use flow::Flow;
pub use keep::keep;
pub use pause::{pause, pull};
pub use position::Position;
pub use posts::Posts;
pub use records::{Layout, Records};
pub use replay::replay;
pub use resume::{TopicPlace, resume};
pub use status::{Report, State, Status, report};
pub use supervise::{Connections, Pipelines, Read};
pub use table::{ensure, prepare};
pub use target::{Target, Write};

/// `[ingest]` of the configuration: how pipelines are run. What they are stands in `catalog/pipelines/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `serve` runs the pipelines; without, `lakegate ingest` does. Both at once are safe: one of them waits.
    pub enabled: bool,
    /// A pipeline whose holder is silent for so long may be taken over.
    pub lease_ms: u64,
    /// The longest pause between attempts while a source, a store or the catalog is down.
    pub retry_ms_max: u64,
    /// A pipeline that was stopped looks again after this whether its reason is gone.
    pub stopped_ms: u64,
    /// How often the origin is asked how far it goes, for lag and for partitions that came.
    pub look_ms: u64,
    /// Rows of a table with a key whose places are kept in memory, about 40 bytes each; of a larger one the key columns are
    /// read for each batch.
    pub index_rows_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            lease_ms: 15_000,
            retry_ms_max: 60_000,
            stopped_ms: 30_000,
            look_ms: 2_000,
            index_rows_max: 10_000_000,
        }
    }
}

impl Config {
    /// What no pipeline could run with; each sentence names its key first.
    pub fn faults(&self) -> Vec<String> {
        let numbers = [
            ("lease_ms", self.lease_ms, 500),
            ("retry_ms_max", self.retry_ms_max, 100),
            ("stopped_ms", self.stopped_ms, 100),
            ("look_ms", self.look_ms, 10),
        ];
        let low = numbers.into_iter().filter(|(_, value, least)| value < least);
        low.map(|(key, value, least)| format!("`{key}` is {value}, at least {least} is needed")).collect()
    }
}
