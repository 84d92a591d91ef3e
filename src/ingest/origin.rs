//! What a pipeline asks of where changes come from, whatever that is: its tables, changes as columns, and a place that it
//! alone understands. It commits nothing and knows no lake.

use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{Field, SchemaRef};
use async_trait::async_trait;
use datafusion::execution::SendableRecordBatchStream;
use serde::{Deserialize, Serialize};

use super::dead::DeadLetter;
use crate::error::{Error, Result};
use crate::formats::change::Changed;
use crate::lake::Stand;

/// How far along an origin something is, as its origin writes it: offsets by partition, a commit's LSN, a cursor's value.
/// Only that origin compares two of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Place(pub serde_json::Map<String, serde_json::Value>);

/// In a field's metadata: what the origin knows the column by, whatever it is called (PostgreSQL: its attnum). Columns without
/// are known by their names.
pub const SOURCE_ID: &str = "lakegate.source_id";

/// A table of an origin. Its number is its place in what [`Origin::tables`] gave last: numbers stay while the origin lives,
/// and new tables come at the end.
#[derive(Clone, Debug)]
pub struct Shape {
    /// As the origin names it: `public.orders`, or a topic.
    pub name: String,
    /// Of the table in the lake that follows it.
    pub target: String,
    /// The columns, nullable but for the key's; oids and modifiers ride in their metadata (`pgtype`).
    pub columns: SchemaRef,
    /// Which of them tell rows apart; empty where nothing does.
    pub key: Vec<usize>,
    /// Columns that a table of changes has besides, behind all others.
    pub beside: Vec<Field>,
}

/// What the lake says of how far things are.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Each table's own place; `None` for one that nothing was put into yet.
    pub tables: Vec<Option<Place>>,
    /// Every change up to here is in every table that does not say otherwise.
    pub checkpoint: Option<Place>,
}

/// How much [`Origin::read`] may bring, and how long it may wait for it.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    pub changes: usize,
    pub bytes: usize,
    pub wait: Duration,
}

/// Changes of one table, with where each came from.
#[derive(Clone, Debug)]
pub struct Part {
    /// Number of the table.
    pub table: usize,
    pub changed: Changed,
    /// When each happened, in microseconds of the Unix epoch, as the origin says.
    pub at_micros: Int64Array,
    /// A total order of the changes of one source: `_position`.
    pub positions: StringArray,
    /// Topic and partition, or slot: `_source`.
    pub sources: StringArray,
    /// Columns that only a table of changes has, as [`Shape::beside`] says them.
    pub beside: Vec<ArrayRef>,
    /// The table's own place once this is taken in, where it is not that of the whole: an initial copy.
    pub place: Option<Place>,
}

/// What one read brought.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// In their order.
    pub parts: Vec<Part>,
    /// Records that make no row.
    pub dead: Vec<DeadLetter>,
    /// How many records were looked at.
    pub records: usize,
    /// When the oldest and the newest of it happened, in milliseconds of the Unix epoch.
    pub span_ms: Option<(i64, i64)>,
    /// How far the origin is once all this is taken in. `None` where that is in the midst of a transaction: nothing may be
    /// committed here.
    pub place: Option<Place>,
    /// The number of a table whose rows are all to be replaced, by those that [`Origin::whole`] gives; a batch holds nothing
    /// besides.
    pub whole: Option<usize>,
    /// A table has other columns from here on, or there are more tables: [`Origin::tables`] is asked again before anything
    /// of it is committed. Parts from before keep their columns; they are told by [`SOURCE_ID`] or name.
    pub reshaped: bool,
}

/// What dead letters are by now.
#[derive(Clone, Debug, Default)]
pub struct Again {
    /// The rows of those that make some.
    pub part: Option<Part>,
    /// Which of the letters are dead no more.
    pub resolved: Vec<usize>,
    /// How many of the letters are this origin's.
    pub own: usize,
}

/// Where to go on.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// With everything the origin still has.
    Earliest,
    /// With what comes from now on.
    Latest,
    At(&'a Place),
    /// As [`Origin::range`] wrote it; 22P02 for what it did not write.
    Range(&'a str),
}

/// How far behind the origin's end a place is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lag {
    pub records: Option<u64>,
    pub bytes: Option<u64>,
}

/// Takes what a read brought.
pub type Each<'a> = &'a mut (dyn FnMut(Part) -> Result<()> + Send);

/// Where changes come from. One at a time calls it; a call that is dropped may have read ahead, and is followed by
/// [`Origin::begin`].
///
/// Errors of kind `DataGone` say that what a place stands before is not there any more, or is another origin's.
#[async_trait]
pub trait Origin: Send + Sync {
    /// Its tables as they are now.
    async fn tables(&mut self) -> Result<Vec<Shape>>;

    /// The next [`Origin::read`] goes on where the lake is: neither before it nor after. Judges first whether this is the
    /// origin that the places are of.
    async fn begin(&mut self, kept: &Kept) -> Result<()>;

    /// Changes after the last ones, each once, none left out; empty where none came in time.
    async fn read(&mut self, room: Room) -> Result<Taken>;

    /// Is it still what it was when it began? Asked after changes were read and before they are committed.
    async fn still(&mut self) -> Result<()>;

    /// From `place` to the end there is now. Also keeps the connection to an idle origin alive.
    async fn lag(&mut self, place: Option<&Place>) -> Result<Lag>;

    /// Where a person wants to go on.
    async fn place(&mut self, wanted: Wanted<'_>) -> Result<Place>;

    /// A place in short, for people and for the summaries of snapshots; [`Wanted::Range`] brings it back.
    fn range(&self, place: &Place) -> String;

    /// A place as readers wait for it (`lakegate.freshness`), where they could name one. Nowhere as long as a table is not
    /// what it was at any place.
    fn stand(&self, _: &Place) -> Stand {
        Stand::Unmarked
    }

    /// All is to be taken in anew: what the origin keeps for this pipeline, it need not keep.
    async fn anew(&mut self) -> Result<()> {
        Ok(())
    }

    /// All rows of the table that the last read said is to be replaced. 0A000 where an origin says no such thing.
    async fn whole(&self) -> Result<SendableRecordBatchStream> {
        Err(Error::unsupported("all rows of a table of this origin at once"))
    }

    /// Somebody wants it to be looked at now; equal wishes are one. For origins that look by themselves at times.
    fn asked(&mut self, _wish: &str) {}

    /// Nothing is read until the next [`Origin::begin`]: an origin that takes in what is sent to it takes nothing more.
    fn rest(&mut self) {}

    /// Records of this origin that were set aside, decoded by the columns of now; those of others are left alone. 0A000 where
    /// the origin sets none aside.
    async fn again(&mut self, _: &[DeadLetter]) -> Result<Again> {
        Err(Error::unsupported("taking in again what was set aside of this origin"))
    }

    /// What the origin still has from the first of these letters on up to a place, in its order, the letters among it; each read
    /// is given to `each`. Answers which of the letters the origin has no more, or what came behind them. Another
    /// [`Origin::read`] follows a [`Origin::begin`].
    async fn again_up_to(&mut self, _: &[DeadLetter], _: &Place, _each: Each<'_>) -> Result<Vec<usize>> {
        Err(Error::unsupported("reading again what came from this origin"))
    }

    /// Whether [`Origin::again_up_to`] can be asked.
    fn keeps_what_came(&self) -> bool {
        false
    }

    /// Everything below is durable: the origin may forget it, tools may show it. It is never asked for again.
    async fn acknowledge(&mut self, durable: &Place) -> Result<()>;
}
