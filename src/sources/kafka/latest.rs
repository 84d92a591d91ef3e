//! The rows that a topic's changes leave, by key: what `mode = "latest"` shows. Batches are held as they came, and of each
//! key where its row lies among them; a value that the origin left out stays where it was last given. It reads no record.

use std::collections::{HashMap, VecDeque};

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::interleave;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use datafusion::execution::memory_pool::MemoryReservation;

use crate::error::{Error, Kind, Result};
use crate::formats::change::{Changed, Op};

/// Batch and row.
type Place = (usize, usize);

/// A key's row.
#[derive(Clone, Debug)]
struct Entry {
    at: Place,
    /// Columns whose values lie elsewhere.
    elsewhere: Vec<(usize, Place)>,
}

/// Deleted rows that are remembered: between a key's delete and its create stand other changes of one transaction.
const GONE_MAX: usize = 4_096;
/// Rows that are held at least before stale ones are thrown out.
const COMPACT_ROWS_MIN: usize = 65_536;

pub(super) struct Latest {
    schema: SchemaRef,
    key: RowConverter,
    batches: Vec<RecordBatch>,
    held: usize,
    /// In the order in which the keys came first; `None` for one that is gone.
    entries: Vec<Option<Entry>>,
    by_key: HashMap<Box<[u8]>, usize>,
    /// Rows that were deleted of late, by their keys: Debezium deletes a row whose key changes before it creates it anew,
    /// and the new one may leave out what the old one has.
    gone: VecDeque<(Box<[u8]>, Entry)>,
    memory: MemoryReservation,
}

/// A value was left out, and the topic does not hold the row that has it.
pub(super) struct NoBase {
    /// Of the batch.
    pub(super) row: usize,
}

impl Latest {
    pub(super) fn new(schema: SchemaRef, key: &[ArrayRef], memory: MemoryReservation) -> Result<Self> {
        let fields = key.iter().map(|column| SortField::new(column.data_type().clone())).collect();
        Ok(Self {
            schema,
            key: RowConverter::new(fields)?,
            batches: vec![],
            held: 0,
            entries: vec![],
            by_key: HashMap::new(),
            gone: VecDeque::new(),
            memory,
        })
    }

    /// Changes in their order. `rows` are what is shown of them; `column_of`: which of its columns show one of the
    /// changes'. Rows whose left out values are not to be had are told and not taken.
    pub(super) fn push(
        &mut self,
        changed: &Changed,
        rows: RecordBatch,
        key: &[usize],
        column_of: impl Fn(usize) -> Vec<usize>,
    ) -> Result<Vec<NoBase>> {
        let keys = |of: &RecordBatch, columns: Vec<usize>| -> Result<_> {
            let columns: Vec<ArrayRef> = columns.iter().filter_map(|at| of.columns().get(*at).cloned()).collect();
            Ok(self.key.convert_columns(&columns)?)
        };
        let own = keys(&changed.rows, key.to_vec())?;
        // Old keys stand in the key's order alone, and in that of the columns.
        let mut sorted = key.to_vec();
        sorted.sort_unstable();
        let places = key.iter().filter_map(|column| sorted.iter().position(|of| of == column)).collect();
        let was = changed.was.as_ref().map(|was| keys(was, places)).transpose()?;
        let has_was = |row: usize| {
            let columns = changed.was.iter().flat_map(RecordBatch::columns);
            changed.was.is_some() && columns.into_iter().any(|column| column.is_valid(row))
        };
        let batch = self.batches.len();
        self.grow(rows.get_array_memory_size())?;
        self.held += rows.num_rows();
        self.batches.push(rows);
        let mut lost = vec![];
        for (row, op) in changed.ops.iter().enumerate() {
            let own: &[u8] = own.row(row).data();
            let old = was.as_ref().filter(|_| has_was(row)).map(|was| was.row(row).data().to_vec());
            match op {
                Op::Truncate => {
                    self.by_key.clear();
                    self.entries.clear();
                }
                Op::Delete => {
                    let entry = self.by_key.remove(own).and_then(|slot| self.entries.get_mut(slot));
                    if let Some(entry) = entry.and_then(Option::take) {
                        if self.gone.len() == GONE_MAX {
                            self.gone.pop_front();
                        }
                        self.gone.push_back((own.into(), entry));
                    }
                }
                Op::Insert | Op::Update => {
                    let base = old.as_deref().unwrap_or(own);
                    let left_out = changed.unchanged.iter().any(|unchanged| unchanged.rows.value(row));
                    let base = if left_out { self.base(base) } else { None };
                    // Whether a row is there must not depend on which of its columns are asked for.
                    if left_out && base.is_none() {
                        lost.push(NoBase { row });
                        continue;
                    }
                    let mut elsewhere = vec![];
                    for (unchanged, base) in
                        changed.unchanged.iter().filter(|u| u.rows.value(row)).zip(base.iter().cycle())
                    {
                        elsewhere
                            .extend(column_of(unchanged.column).into_iter().map(|column| (column, base.place(column))));
                    }
                    if let (Op::Update, Some(old)) = (op, &old)
                        && let Some(entry) =
                            self.by_key.remove(old.as_slice()).and_then(|slot| self.entries.get_mut(slot))
                    {
                        *entry = None;
                    }
                    // Given back when the rows are put together.
                    self.grow(elsewhere.len() * std::mem::size_of::<(usize, Place)>())?;
                    let entry = Some(Entry { at: (batch, row), elsewhere });
                    match self.by_key.get(own).and_then(|slot| self.entries.get_mut(*slot)) {
                        Some(there) => *there = entry,
                        None => {
                            self.grow(own.len() + std::mem::size_of::<Entry>() + 64)?;
                            self.by_key.insert(own.into(), self.entries.len());
                            self.entries.push(entry);
                        }
                    }
                }
            }
        }
        if self.held > COMPACT_ROWS_MIN && self.held > 4 * self.by_key.len() {
            self.compact()?;
        }
        Ok(lost)
    }

    /// The row of a key, or the one it had last.
    fn base(&self, key: &[u8]) -> Option<Entry> {
        let there = self.by_key.get(key).and_then(|slot| self.entries.get(*slot)).cloned().flatten();
        let gone = || self.gone.iter().rev().find(|(of, _)| of.as_ref() == key).map(|(_, entry)| entry.clone());
        there.or_else(gone)
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// So many rows from the `from`th on, the last ones fewer.
    pub(super) fn rows(&self, from: usize, count: usize) -> Result<RecordBatch> {
        let entries: Vec<&Entry> = self.entries.iter().flatten().skip(from).take(count).collect();
        self.gathered(&entries)
    }

    /// The rows that there are, and those that are remembered, as one batch.
    fn compact(&mut self) -> Result<()> {
        let mut entries: Vec<&Entry> = self.entries.iter().flatten().collect();
        let count = entries.len();
        entries.extend(self.gone.iter().map(|(_, entry)| entry));
        // What is put together lies beside what it is made of, for a moment.
        let before = self.memory.size();
        let all: usize = self.batches.iter().map(RecordBatch::get_array_memory_size).sum();
        self.grow(all.saturating_mul(entries.len()) / self.held.max(1))?;
        let whole = self.gathered(&entries)?;
        self.memory.shrink(self.memory.size().saturating_sub(before));
        let mut places = vec![None; self.entries.len()];
        let live = self.entries.iter().enumerate().filter(|(_, entry)| entry.is_some()).map(|(slot, _)| slot);
        for (row, slot) in live.enumerate() {
            if let Some(place) = places.get_mut(slot) {
                *place = Some(row);
            }
        }
        self.by_key.values_mut().for_each(|slot| {
            if let Some(row) = places.get(*slot).copied().flatten() {
                *slot = row;
            }
        });
        self.entries = (0..count).map(|row| Some(Entry { at: (0, row), elsewhere: vec![] })).collect();
        self.memory.free();
        let keys: usize = self.by_key.keys().map(|key| key.len() + std::mem::size_of::<Entry>() + 64).sum();
        self.grow(whole.get_array_memory_size() + keys)?;
        for (place, (_, entry)) in self.gone.iter_mut().enumerate() {
            *entry = Entry { at: (0, count + place), elsewhere: vec![] };
        }
        self.held = whole.num_rows();
        self.batches = vec![whole];
        Ok(())
    }

    fn gathered(&self, entries: &[&Entry]) -> Result<RecordBatch> {
        let gather = |column: usize| -> Result<ArrayRef> {
            let arrays: Vec<&dyn arrow::array::Array> =
                self.batches.iter().map(|batch| batch.column(column).as_ref()).collect();
            let places: Vec<Place> = entries.iter().map(|entry| entry.place(column)).collect();
            match arrays.is_empty() {
                true => Ok(arrow::array::new_empty_array(self.schema.field(column).data_type())),
                false => Ok(interleave(&arrays, &places)?),
            }
        };
        let columns = (0..self.schema.fields().len()).map(gather).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(entries.len()));
        Ok(RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &options)?)
    }

    fn grow(&self, bytes: usize) -> Result<()> {
        self.memory.try_grow(bytes).map_err(|error| {
            Error::new(
                Kind::TooLarge,
                "the current rows of a topic do not fit into the memory that a statement may use",
            )
            .with_hint("Take the topic into a table of the lake with a pipeline, and ask that.")
            .with_source(error)
        })
    }
}

impl Entry {
    fn place(&self, column: usize) -> Place {
        self.elsewhere.iter().find(|(of, _)| *of == column).map_or(self.at, |(_, place)| *place)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use arrow::buffer::BooleanBuffer;
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, UnboundedMemoryPool};

    use super::*;
    use crate::formats::change::Unchanged;

    /// One change: its op, key and text; a text of `?` was left out.
    fn changed(op: Op, id: i64, text: Option<&str>, was: Option<i64>) -> Changed {
        let schema = Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("t", DataType::Utf8, true)]);
        let left_out = text == Some("?");
        let texts = StringArray::from(vec![text.filter(|_| !left_out)]);
        let rows = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from(vec![id])), Arc::new(texts)]);
        let key = Schema::new(vec![Field::new("id", DataType::Int64, true)]);
        let was =
            was.map(|was| RecordBatch::try_new(Arc::new(key), vec![Arc::new(Int64Array::from(vec![was]))]).unwrap());
        let unchanged = left_out.then(|| Unchanged { column: 1, rows: BooleanBuffer::new_set(1) });
        Changed { ops: vec![op], rows: rows.unwrap(), unchanged: unchanged.into_iter().collect(), was }
    }

    fn latest() -> Latest {
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let first = changed(Op::Insert, 0, None, None).rows;
        Latest::new(first.schema(), &[Arc::clone(first.column(0))], MemoryConsumer::new("t").register(&pool)).unwrap()
    }

    fn push(latest: &mut Latest, changed: &Changed) -> usize {
        latest.push(changed, changed.rows.clone(), &[0], |column| vec![column]).unwrap().len()
    }

    fn shown(latest: &Latest) -> Vec<(i64, Option<String>)> {
        use arrow::array::{Array, AsArray};
        let rows = latest.rows(0, 1_000).unwrap();
        let ids = rows.column(0).as_primitive::<arrow::datatypes::Int64Type>();
        let texts = rows.column(1).as_string::<i32>();
        (0..rows.num_rows())
            .map(|row| (ids.value(row), (!texts.is_null(row)).then(|| texts.value(row).to_owned())))
            .collect()
    }

    #[test]
    fn what_was_left_out_is_what_it_was() {
        let mut latest = latest();
        let some = |text: &str| Some(text.to_owned());
        for change in [
            changed(Op::Insert, 1, Some("one"), None),
            changed(Op::Update, 1, Some("?"), None),
            changed(Op::Insert, 3, Some("three"), None),
            // A key that changes, as Debezium tells it.
            changed(Op::Delete, 3, None, None),
            changed(Op::Insert, 20, Some("?"), Some(3)),
            // And as an update tells it.
            changed(Op::Update, 2, Some("?"), Some(1)),
        ] {
            assert_eq!(push(&mut latest, &change), 0, "{change:?}");
            latest.compact().unwrap();
        }
        assert_eq!(shown(&latest), [(20, some("three")), (2, some("one"))]);
        assert_eq!(push(&mut latest, &changed(Op::Update, 7, Some("?"), None)), 1, "there is no row of that key");
        push(&mut latest, &changed(Op::Truncate, 0, None, None));
        push(&mut latest, &changed(Op::Insert, 5, Some("five"), None));
        assert_eq!(shown(&latest), [(5, some("five"))]);
        assert_eq!(latest.len(), 1);
    }
}
