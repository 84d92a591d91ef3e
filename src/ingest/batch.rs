//! Changes → batches: what is gathered, and when it is cut. Pure; the clock is handed in. In append mode nothing is folded.

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use serde::Deserialize;

use super::change::{Changes, Marks, Offsets};
use super::table::DeadLetter;

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

/// Of the column that names the batch, in each row.
const BATCH_ID_BYTES: usize = 16;

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
    /// Without the column that names the batch: it gets its name when it is written.
    pub(super) rows: Vec<RecordBatch>,
    pub(super) dead: Vec<DeadLetter>,
    /// How far the table is once this is committed.
    pub(super) next: Offsets,
    pub(super) row_count: usize,
    marks: Marks,
    /// The youngest change in it, as the origin dates it.
    pub(super) newest_ms: Option<i64>,
    records: usize,
    /// What rows and dead letters hold in memory, and will once they have the batch's name.
    bytes: usize,
    begun: Option<Instant>,
    /// The oldest change in it, as the origin dates it.
    pub(super) oldest_ms: Option<i64>,
}

impl Batch {
    pub(super) fn new(from: Offsets) -> Self {
        Self {
            rows: vec![],
            dead: vec![],
            next: from,
            row_count: 0,
            marks: Marks::new(),
            newest_ms: None,
            records: 0,
            bytes: 0,
            begun: None,
            oldest_ms: None,
        }
    }

    /// Takes in changes with what they became.
    pub(super) fn add(&mut self, changes: &Changes, rows: RecordBatch, dead: Vec<DeadLetter>, now: Instant) {
        for (partition, next) in changes.next() {
            let known = self.next.entry(*partition).or_insert(*next);
            *known = (*known).max(*next);
        }
        if changes.is_empty() {
            return;
        }
        self.begun.get_or_insert(now);
        self.records += changes.len();
        self.bytes += rows.get_array_memory_size() + rows.num_rows() * BATCH_ID_BYTES;
        self.bytes += dead.iter().map(DeadLetter::memory_bytes).sum::<usize>();
        self.row_count += rows.num_rows();
        let oldest = changes.iter().filter_map(|c| c.at_ms).min();
        self.oldest_ms = self.oldest_ms.into_iter().chain(oldest).min();
        self.newest_ms = self.newest_ms.max(changes.iter().filter_map(|c| c.at_ms).max());
        self.marks.extend(changes.last().into_iter().map(|c| (c.partition, c.mark())));
        if rows.num_rows() > 0 {
            self.rows.push(rows);
        }
        self.dead.extend(dead);
    }

    /// The last change of each partition once this is committed, where it was `before`.
    pub(super) fn marks(&self, before: Option<&Marks>) -> Marks {
        before.into_iter().flatten().chain(&self.marks).map(|(partition, mark)| (*partition, *mark)).collect()
    }

    pub(super) fn records(&self) -> usize {
        self.records
    }

    /// Nothing in it is worth a commit.
    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    pub(super) fn is_due(&self, commit: &Commit, now: Instant) -> bool {
        !self.is_empty() && (self.left(commit, now).is_zero() || self.room(commit, 1) == (0, 0))
    }

    /// Until its age cuts it.
    pub(super) fn left(&self, commit: &Commit, now: Instant) -> Duration {
        let age = Duration::from_millis(commit.age_ms);
        self.begun.map_or(age, |begun| age.saturating_sub(now.saturating_duration_since(begun)))
    }

    /// Records of at least `row_bytes` each, and bytes of them, that may be read at once without going far beyond the
    /// limits; both nothing once either limit is reached. Half of what is left: a record takes its own bytes and those of
    /// its columns, however small it is.
    pub(super) fn room(&self, commit: &Commit, row_bytes: usize) -> (usize, usize) {
        let (rows, bytes) = (commit.rows_max.saturating_sub(self.records), commit.bytes_max.saturating_sub(self.bytes));
        match rows == 0 || bytes == 0 {
            true => (0, 0),
            false => (rows.min(bytes / 2 / row_bytes.max(1)).max(1), (bytes / 2).max(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, ArrayRef, Decimal128Array};
    use arrow::datatypes::{Field, Schema};

    use super::super::change::Seen;
    use super::super::table::Layout;
    use super::*;
    use crate::formats::json::Decoder;

    fn add(batch: &mut Batch, partition: i32, offsets: std::ops::Range<i64>, now: Instant) {
        let mut changes = Changes::default();
        for offset in offsets {
            let value = Some(&b"0123456789"[..]);
            changes.push(Seen { partition, offset, at_ms: Some(1_000 + offset), value, ..Seen::default() });
        }
        batch.add(&changes, wide(changes.len()), vec![], now);
    }

    /// Rows of 32 bytes, and of 16 more once they carry the batch's name.
    fn wide(rows: usize) -> RecordBatch {
        let column = Decimal128Array::from_iter_values((0..rows).map(|_| 0));
        let columns: Vec<ArrayRef> = vec![Arc::new(column.clone()), Arc::new(column)];
        let fields = ["a", "b"].map(|name| Field::new(name, columns[0].data_type().clone(), true)).to_vec();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    #[test]
    fn a_batch_is_cut_by_age_rows_or_bytes_whichever_comes_first() {
        let begin = Instant::now();
        let later = |ms| begin + Duration::from_millis(ms);
        let check = |commit: Commit, records: i64, at_ms: u64, due: bool| {
            let mut batch = Batch::new(Offsets::new());
            add(&mut batch, 0, 0..records, begin);
            assert_eq!(batch.is_due(&commit, later(at_ms)), due, "{commit:?} {records} {at_ms}");
        };
        let limits = Commit { age_ms: 100, bytes_max: 1 << 20, rows_max: 4 };
        check(limits, 0, 1_000, false);
        check(limits, 1, 99, false);
        check(limits, 1, 100, true);
        check(limits, 3, 0, false);
        check(limits, 4, 0, true);
        // By what the rows hold in memory, whatever the origin sent for them.
        let narrow = Commit { rows_max: 1_000_000, bytes_max: 48 * 1_000, ..limits };
        check(narrow, 900, 0, false);
        check(narrow, 1_000, 0, true);
    }

    #[test]
    fn dead_letters_count_with_all_that_they_hold() {
        let mut changes = Changes::default();
        let (key, value) = ([7; 1_000], [8; 5_000]);
        changes.push(Seen { key: Some(&key), value: Some(&value), ..Seen::default() });
        let declared = Arc::new(Schema::empty());
        let layout = Layout::new("t", Arc::clone(&declared), Decoder::new(declared, &[]).unwrap()).unwrap();
        let (_, dead) = layout.rows(&changes, 0).unwrap();
        assert_eq!(dead.len(), 1);
        let mut batch = Batch::new(Offsets::new());
        batch.add(&changes, wide(0), dead, Instant::now());
        assert!((12_000..14_000).contains(&batch.bytes), "{}", batch.bytes);
    }

    #[test]
    fn what_is_read_at_once_is_bounded_by_what_it_becomes() {
        let mut batch = Batch::new(Offsets::new());
        let commit = Commit { bytes_max: 1 << 20, ..Commit::default() };
        assert_eq!(batch.room(&commit, 3_200), (163, 1 << 19));
        assert_eq!(batch.room(&commit, 1 << 30), (1, 1 << 19), "one goes in, however wide it is");
        add(&mut batch, 0, 0..20_000, Instant::now());
        let left = (1 << 20) - batch.bytes;
        assert_eq!(batch.room(&commit, 64), (left / 128, left / 2));
        add(&mut batch, 0, 20_000..22_000, Instant::now());
        assert_eq!(batch.room(&commit, 64), (0, 0));
    }

    #[test]
    fn a_position_only_grows_and_the_age_is_that_of_the_first_change() {
        let begin = Instant::now();
        let mut batch = Batch::new(Offsets::from([(0, 5), (1, 0)]));
        assert!(batch.is_empty());
        add(&mut batch, 0, 5..7, begin);
        add(&mut batch, 1, 0..3, begin + Duration::from_secs(1));
        add(&mut batch, 0, 2..3, begin);
        assert_eq!(batch.next, Offsets::from([(0, 7), (1, 3)]));
        assert_eq!(batch.oldest_ms, Some(1_000));
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
