//! The rows that a topic's changes leave, by key: what `mode = "latest"` shows. Batches are held as they came, and of each
//! key where its row lies among them; a value that the origin left out stays where it was last given. It reads no record.

use std::collections::HashMap;

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
                    if let Some(entry) = self.by_key.remove(own).and_then(|slot| self.entries.get_mut(slot)) {
                        *entry = None;
                    }
                }
                Op::Insert | Op::Update => {
                    let base = old.as_deref().unwrap_or(own);
                    let base = self.by_key.get(base).and_then(|slot| self.entries.get(*slot)).cloned().flatten();
                    let mut elsewhere = vec![];
                    let mut whole = true;
                    for unchanged in changed.unchanged.iter().filter(|unchanged| unchanged.rows.value(row)) {
                        for column in column_of(unchanged.column) {
                            match base.as_ref().map(|base| base.place(column)) {
                                Some(place) => elsewhere.push((column, place)),
                                None => whole = false,
                            }
                        }
                    }
                    if !whole {
                        lost.push(NoBase { row });
                        continue;
                    }
                    if let (Op::Update, Some(old)) = (op, &old)
                        && let Some(entry) =
                            self.by_key.remove(old.as_slice()).and_then(|slot| self.entries.get_mut(slot))
                    {
                        *entry = None;
                    }
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

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// So many rows from the `from`th on, the last ones fewer.
    pub(super) fn rows(&self, from: usize, count: usize) -> Result<RecordBatch> {
        let entries: Vec<&Entry> = self.entries.iter().flatten().skip(from).take(count).collect();
        self.gathered(&entries)
    }

    /// The rows that there are as one batch, and nothing else.
    fn compact(&mut self) -> Result<()> {
        let entries: Vec<&Entry> = self.entries.iter().flatten().collect();
        let whole = self.gathered(&entries)?;
        let count = entries.len();
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
        self.held = count;
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

    fn grow(&mut self, bytes: usize) -> Result<()> {
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
