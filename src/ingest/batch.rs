//! Changes → batches: what is gathered, and when it is cut. Pure; the clock is handed in. What the changes of a key come to
//! is `fold`'s.

use std::time::{Duration, Instant};

use arrow::array::Array;
use serde::Deserialize;

use super::dead::DeadLetter;
use super::origin::{Part, Place, Taken};
use crate::lake::BatchId;

/// `[commit]` of a pipeline: a batch is cut by whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Commit {
    /// Since its first change was read.
    pub age_ms: u64,
    /// Of memory, as rows and dead letters hold it.
    pub bytes_max: usize,
    pub rows_max: usize,
}

impl Default for Commit {
    fn default() -> Self {
        Self { age_ms: 10_000, bytes_max: 128 << 20, rows_max: 500_000 }
    }
}

/// `[dead_letter]` of a pipeline: how much may be set aside before a person must look.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeadLetterCap {
    pub rows_max: u64,
    /// Judged once there are enough records for a percentage to mean something.
    pub percent_max: f64,
}

impl Default for DeadLetterCap {
    fn default() -> Self {
        Self { rows_max: 1_000, percent_max: 1.0 }
    }
}

/// Of the columns that say where a row came from, in each row: they are made when it is written.
const OWN_BYTES: usize = 48;

/// Records after which a new window begins.
const WINDOW: u64 = 10_000;
/// Records below which a percentage says nothing.
const PERCENT_FROM: u64 = 1_000;

/// How many of the last records were set aside.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    records: u64,
    dead: u64,
}

impl Window {
    /// Counts records; says so in words where more were set aside than may be.
    pub(super) fn count(&mut self, records: usize, dead: usize, cap: &DeadLetterCap) -> Result<(), String> {
        if self.records >= WINDOW {
            *self = Self::default();
        }
        self.records += records as u64;
        self.dead += dead as u64;
        let percent = self.dead as f64 * 100.0 / self.records.max(1) as f64;
        let too_many = self.dead > cap.rows_max;
        match too_many || (self.records >= PERCENT_FROM && percent > cap.percent_max) {
            true => Err(format!("{} of the last {} records do not fit the columns", self.dead, self.records)),
            false => Ok(()),
        }
    }
}

/// What is taken in and not committed yet.
#[derive(Debug)]
pub(super) struct Batch {
    /// Under which it is committed, and read before that.
    pub(super) id: BatchId,
    /// With the moment each was taken in, in microseconds.
    pub(super) parts: Vec<(i64, Part)>,
    pub(super) dead: Vec<DeadLetter>,
    /// How far the origin is once this is committed; `None` before anything was read.
    pub(super) place: Option<Place>,
    /// All rows of this table are to be replaced.
    pub(super) whole: Option<usize>,
    /// Nothing may be committed here: its last transaction is not whole.
    pub(super) is_open: bool,
    /// So many of the parts are of transactions that are.
    pub(super) closed: usize,
    /// What is held beside it, for those who read it before it is committed.
    pub(super) beside: usize,
    /// The oldest and the youngest change in it, as the origin dates them.
    pub(super) span_ms: Option<(i64, i64)>,
    records: usize,
    /// What rows and dead letters hold in memory, and will once they are written.
    bytes: usize,
    begun: Option<Instant>,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            id: BatchId::new(),
            parts: vec![],
            dead: vec![],
            place: None,
            whole: None,
            is_open: false,
            closed: 0,
            beside: 0,
            span_ms: None,
            records: 0,
            bytes: 0,
            begun: None,
        }
    }
}

impl Batch {
    pub(super) fn add(&mut self, taken: Taken, now: Instant, now_micros: i64) {
        self.is_open = taken.place.is_none();
        self.place = taken.place.or(self.place.take());
        if taken.records == 0 && taken.parts.is_empty() {
            self.close();
            return;
        }
        self.whole = taken.whole.or(self.whole);
        self.begun.get_or_insert(now);
        self.records += taken.records;
        self.bytes += taken.parts.iter().map(bytes_of).sum::<usize>();
        self.bytes += taken.dead.iter().map(DeadLetter::memory_bytes).sum::<usize>();
        self.span_ms = match (self.span_ms, taken.span_ms) {
            (Some((oldest, newest)), Some((from, to))) => Some((oldest.min(from), newest.max(to))),
            (known, came) => known.or(came),
        };
        self.parts.extend(taken.parts.into_iter().map(|part| (now_micros, part)));
        self.dead.extend(taken.dead);
        self.close();
    }

    fn close(&mut self) {
        if !self.is_open {
            self.closed = self.parts.len();
        }
    }

    /// Of whole transactions, those that came after the first so many parts.
    pub(super) fn closed_since(&self, seen: usize) -> &[(i64, Part)] {
        self.parts.get(seen..self.closed).unwrap_or_default()
    }

    pub(super) fn records(&self) -> usize {
        self.records
    }

    /// Nothing in it is worth a commit.
    pub(super) fn is_empty(&self) -> bool {
        self.records == 0 && self.parts.is_empty()
    }

    /// It is to be committed, as soon as its last transaction is whole.
    pub(super) fn is_due(&self, commit: &Commit, now: Instant) -> bool {
        let is_cut = self.whole.is_some() || self.left(commit, now).is_zero() || self.room(commit) == (0, 0);
        !self.is_empty() && !self.is_open && is_cut
    }

    /// Until its age cuts it.
    pub(super) fn left(&self, commit: &Commit, now: Instant) -> Duration {
        let age = Duration::from_millis(commit.age_ms);
        self.begun.map_or(age, |begun| age.saturating_sub(now.saturating_duration_since(begun)))
    }

    /// Records and bytes of them that may be read at once without going far beyond the limits; both nothing once either
    /// limit is reached, but in the midst of a transaction. Half of what is left: a record takes its own bytes and those of
    /// its columns.
    pub(super) fn room(&self, commit: &Commit) -> (usize, usize) {
        let held = self.bytes.saturating_add(self.beside);
        let (rows, bytes) = (commit.rows_max.saturating_sub(self.records), commit.bytes_max.saturating_sub(held));
        match rows == 0 || bytes == 0 {
            true if self.is_open => (commit.rows_max.max(1), (commit.bytes_max / 2).max(1)),
            true => (0, 0),
            false => (rows, (bytes / 2).max(1)),
        }
    }
}

fn bytes_of(part: &Part) -> usize {
    let own = [&part.at_micros as &dyn Array, &part.positions, &part.sources];
    let columns = part.changed.rows.columns().iter().chain(&part.beside).map(|array| array.as_ref());
    let held: usize = columns.chain(own).map(Array::get_array_memory_size).sum();
    held + part.changed.ops.len() * OWN_BYTES
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;
    use crate::formats::change::{Changed, Op};

    fn taken(rows: usize, at_ms: i64) -> Taken {
        let column: ArrayRef = Arc::new(Decimal128Array::from_iter_values((0..rows).map(|_| 0)));
        let schema = Schema::new(vec![Field::new("a", column.data_type().clone(), true)]);
        let rows_of = RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap();
        let texts = StringArray::from_iter_values((0..rows).map(|_| ""));
        let part = Part {
            table: 0,
            changed: Changed { ops: vec![Op::Insert; rows], rows: rows_of, unchanged: vec![], was: None },
            at_micros: Int64Array::from_iter_values((0..rows).map(|_| 0)),
            positions: texts.clone(),
            sources: texts,
            beside: vec![],
            place: None,
        };
        let span_ms = Some((at_ms, at_ms + 1));
        Taken { parts: vec![part], records: rows, span_ms, place: Some(Place::default()), ..Taken::default() }
    }

    fn batch(rows: usize, now: Instant) -> Batch {
        let mut batch = Batch::default();
        if rows > 0 {
            batch.add(taken(rows, 5), now, 0);
        }
        batch
    }

    #[test]
    fn a_batch_is_cut_by_age_rows_or_bytes_whichever_comes_first() {
        let begin = Instant::now();
        let later = |ms| begin + Duration::from_millis(ms);
        let check = |commit: Commit, records: usize, at_ms: u64, due: bool| {
            assert_eq!(batch(records, begin).is_due(&commit, later(at_ms)), due, "{commit:?} {records} {at_ms}");
        };
        let limits = Commit { age_ms: 100, bytes_max: 1 << 20, rows_max: 4 };
        check(limits, 0, 1_000, false);
        check(limits, 1, 99, false);
        check(limits, 1, 100, true);
        check(limits, 3, 0, false);
        check(limits, 4, 0, true);
        // By what the rows hold in memory, whatever the origin sent for them.
        let narrow = Commit { rows_max: 1_000_000, bytes_max: 48 * 1_000, ..limits };
        check(narrow, 100, 0, false);
        check(narrow, 1_000, 0, true);
        // With what is held for its readers.
        let mut read = batch(100, begin);
        read.beside = narrow.bytes_max;
        assert!(read.is_due(&narrow, begin));
    }

    #[test]
    fn a_read_brings_no_more_than_its_batch_has_left() {
        let limits = Commit { age_ms: 100, bytes_max: 1 << 20, rows_max: 4 };
        let (rows, bytes) = batch(3, Instant::now()).room(&limits);
        assert!(rows == 1 && bytes < limits.bytes_max / 2, "{rows} {bytes}");
    }

    #[test]
    fn a_transaction_is_not_cut_and_goes_on_being_read() {
        let begin = Instant::now();
        let limits = Commit { age_ms: 100, bytes_max: 1 << 20, rows_max: 4 };
        let mut batch = Batch::default();
        batch.add(Taken { place: None, ..taken(9, 5) }, begin, 0);
        assert!(!batch.is_due(&limits, begin + Duration::from_secs(9)));
        assert_ne!(batch.room(&limits), (0, 0));
        assert_eq!(batch.closed_since(0).len(), 0, "nobody reads half a transaction");
        batch.add(taken(1, 5), begin, 0);
        assert_eq!((batch.closed_since(0).len(), batch.closed_since(1).len()), (2, 1));
        assert!(batch.is_due(&limits, begin));
        assert_eq!(batch.room(&limits), (0, 0));
    }

    #[test]
    fn dead_letters_count_with_all_that_they_hold() {
        let dead = DeadLetter {
            source: "t/0".into(),
            partition: 0,
            offset: 0,
            at_ms: None,
            class: "malformed",
            message: String::new(),
            key: Some(vec![7; 1_000]),
            headers: vec![],
            raw: vec![8; 5_000],
        };
        let mut batch = Batch::default();
        batch.add(Taken { dead: vec![dead], records: 1, ..Taken::default() }, Instant::now(), 0);
        assert!((12_000..14_000).contains(&batch.bytes), "{}", batch.bytes);
    }

    #[test]
    fn the_age_is_that_of_the_first_change_and_the_span_that_of_all() {
        let begin = Instant::now();
        let mut batch = batch(2, begin);
        batch.add(taken(3, 1), begin + Duration::from_secs(1), 0);
        batch.add(taken(1, 9), begin + Duration::from_secs(1), 0);
        assert_eq!((batch.span_ms, batch.records()), (Some((1, 10)), 6));
        let commit = Commit { age_ms: 1_500, ..Commit::default() };
        assert_eq!(batch.left(&commit, begin + Duration::from_secs(1)), Duration::from_millis(500));
    }

    #[test]
    fn too_many_dead_letters_are_told_and_a_few_are_not() {
        let cap = DeadLetterCap { rows_max: 50, percent_max: 1.0 };
        let mut window = Window::default();
        assert_eq!(window.count(10, 10, &cap), Ok(()), "ten records are no percentage");
        assert_eq!(window.count(990, 0, &cap), Ok(()));
        let told = "11 of the last 1001 records do not fit the columns";
        assert_eq!(window.count(1, 1, &cap), Err(told.to_string()));
        let mut window = Window::default();
        assert!(window.count(60, 51, &cap).is_err(), "over rows_max at once");
        let mut window = Window::default();
        assert_eq!(window.count(20_000, 50, &cap), Ok(()));
        assert_eq!(window.count(100, 50, &cap), Ok(()), "a new window");
    }
}
