//! The rows of a statement's plan, told apart: rows that go are remembered by their place, rows that come are passed on to
//! the writer, what RETURNING shows is kept until the commit. A row is changed once, whatever it was joined to.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, FieldRef, Int32Type, Int64Type, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

use super::target::{Checks, Goal};
use crate::engine::assign;
use crate::engine::run::Rows;
use crate::error::{Error, Kind, Result};
use crate::sources::Gone;
use crate::sql::bind::{Act, Acts, Layout};

/// What a place and a key cost in memory besides their own bytes, by estimate.
const PLACE_BYTES: usize = 8;
const KEY_BYTES: usize = 64;

/// What a statement did.
pub(super) struct Done {
    pub(super) rows: u64,
    pub(super) shown: Vec<RecordBatch>,
    held: MemoryReservation,
}

impl Done {
    pub(super) fn new(state: &SessionState) -> Self {
        let held = MemoryConsumer::new("changed rows").register(&state.runtime_env().memory_pool);
        Self { rows: 0, shown: vec![], held }
    }
}

/// A statement's rows under way.
pub(super) struct Split {
    rows: Rows,
    layout: Layout,
    /// Of the rows that are written.
    schema: SchemaRef,
    row_id: Option<FieldRef>,
    checks: Checks,
    /// Says what to do with a row that is met again.
    again: Again,
    keys: Option<(RowConverter, HashSet<Box<[u8]>>)>,
    done: Arc<Mutex<Done>>,
    gone: Arc<Mutex<Gone>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    Passed,
    Merged,
    Proposed,
}

impl Split {
    pub(super) fn new(
        rows: Rows,
        layout: Layout,
        goal: &Goal,
        keeps_ids: bool,
        checks: Checks,
        done: Arc<Mutex<Done>>,
        gone: Arc<Mutex<Gone>>,
    ) -> Result<Self> {
        let again = match (&layout.act, layout.key.is_empty()) {
            (Acts::All(_), _) => Again::Passed,
            (Acts::By { .. }, true) => Again::Merged,
            (Acts::By { .. }, false) => Again::Proposed,
        };
        let key = rows.schema().fields().get(layout.key.clone()).unwrap_or_default().to_vec();
        let keys = match key.is_empty() {
            true => None,
            false => {
                let fields = key.iter().map(|field| SortField::new(field.data_type().clone())).collect();
                Some((RowConverter::new(fields)?, HashSet::new()))
            }
        };
        let schema = Arc::clone(goal.schema());
        let row_id = goal.row_id().filter(|_| keeps_ids);
        Ok(Self { rows, layout, schema, row_id, checks, again, keys, done, gone })
    }

    /// The rows that are to be written.
    pub(super) fn stream(self) -> SendableRecordBatchStream {
        let fields = self.schema.fields().iter().cloned().chain(self.row_id.clone());
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let written = Arc::clone(&schema);
        let rows = futures::stream::unfold(self, move |mut split| {
            let written = Arc::clone(&written);
            async move {
                loop {
                    let batch = split.rows.next().await?;
                    let new = match batch.and_then(|batch| split.split(&batch, &written)) {
                        Ok(None) => continue,
                        Ok(Some(new)) => Ok(new),
                        Err(error) => Err(error.into()),
                    };
                    return Some((new, split));
                }
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }

    /// The rows of a batch that come.
    fn split(&mut self, batch: &RecordBatch, written: &SchemaRef) -> Result<Option<RecordBatch>> {
        let acts = self.acts(batch)?;
        let acts = self.once(batch, acts)?;
        let of = |is: &dyn Fn(Act) -> bool| BooleanArray::from_iter(acts.iter().map(|act| Some(act.is_some_and(is))));
        let met = of(&|_| true);
        let count = met.true_count();
        if count == 0 {
            return Ok(None);
        }
        let new = self.new_rows(batch, &of(&|act| act != Act::Delete), written)?;
        for (act, check) in [(Act::Insert, &self.checks.insert), (Act::Update, &self.checks.update)] {
            let Some(check) = check else { continue };
            let come: Vec<Act> = acts.iter().flatten().copied().filter(|act| *act != Act::Delete).collect();
            let of_act = BooleanArray::from_iter(come.iter().map(|other| Some(*other == act)));
            let own: Vec<usize> = (0..self.schema.fields().len()).collect();
            check.check(&filter_record_batch(&new.project(&own)?, &of_act)?)?;
        }
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(returning) = self.layout.returning.clone() {
            let shown = filter_record_batch(&batch.project(&returning.collect::<Vec<_>>())?, &met)?;
            done.held.try_grow(shown.get_array_memory_size())?;
            done.shown.push(shown);
        }
        done.rows += count as u64;
        Ok(Some(new).filter(|new| new.num_rows() > 0))
    }

    fn new_rows(&self, batch: &RecordBatch, come: &BooleanArray, written: &SchemaRef) -> Result<RecordBatch> {
        if self.layout.row.is_empty() {
            return Ok(RecordBatch::new_empty(Arc::clone(written)));
        }
        let come = filter_record_batch(batch, come)?;
        let order: Vec<Option<usize>> = self.layout.row.clone().map(Some).collect();
        let new = assign::fit(&come, &order, &self.schema)?;
        let Some(row_id) = &self.row_id else { return Ok(new) };
        let id = column(&come, self.layout.place.start + 2)?;
        let columns = new.columns().iter().cloned().chain([cast(id, row_id.data_type())?]).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(new.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(written), columns, &options)?)
    }

    /// What each row is for.
    fn acts(&self, batch: &RecordBatch) -> Result<Vec<Option<Act>>> {
        match &self.layout.act {
            Acts::All(act) => Ok(vec![Some(*act); batch.num_rows()]),
            Acts::By { column: at, acts } => {
                let numbers = column(batch, *at)?.as_primitive_opt::<Int32Type>().ok_or_else(unreadable)?;
                let act = |number: Option<i32>| {
                    let at = usize::try_from(number?).ok()?.checked_sub(1)?;
                    acts.get(at).copied().flatten()
                };
                Ok(numbers.iter().map(act).collect())
            }
        }
    }

    /// The same without rows that are met again. 21000 where a statement must not meet one twice.
    fn once(&mut self, batch: &RecordBatch, mut acts: Vec<Option<Act>>) -> Result<Vec<Option<Act>>> {
        if !self.layout.place.is_empty() {
            let files = cast(column(batch, self.layout.place.start)?, &DataType::Utf8)?;
            let files = files.as_string_opt::<i32>().ok_or_else(unreadable)?;
            let positions = column(batch, self.layout.place.start + 1)?;
            let positions = positions.as_primitive_opt::<Int64Type>().ok_or_else(unreadable)?;
            let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
            let mut bytes = 0;
            for (row, act) in acts.iter_mut().enumerate() {
                if !matches!(act, Some(Act::Update | Act::Delete)) {
                    continue;
                }
                if files.is_null(row) || positions.is_null(row) {
                    return Err(unreadable());
                }
                let position = u64::try_from(positions.value(row)).map_err(|_| unreadable())?;
                let of_file = match gone.get_mut(files.value(row)) {
                    Some(of_file) => of_file,
                    None => {
                        bytes += files.value(row).len() + KEY_BYTES;
                        gone.entry(files.value(row).to_owned()).or_default()
                    }
                };
                match (of_file.insert(position), self.again) {
                    (true, _) => bytes += PLACE_BYTES,
                    (false, Again::Passed) => *act = None,
                    (false, again) => return Err(second_time(again)),
                }
            }
            self.hold(bytes)?;
        }
        self.once_by_key(batch, &mut acts)?;
        Ok(acts)
    }

    fn once_by_key(&mut self, batch: &RecordBatch, acts: &mut [Option<Act>]) -> Result<()> {
        let updates = match &self.layout.act {
            Acts::All(_) => false,
            Acts::By { acts, .. } => acts.contains(&Some(Act::Update)),
        };
        let Some((converter, known)) = &mut self.keys else { return Ok(()) };
        let columns = self.layout.key.clone().map(|at| column(batch, at).cloned()).collect::<Result<Vec<_>>>()?;
        let rows = converter.convert_columns(&columns)?;
        let mut bytes = 0;
        for (row, act) in acts.iter_mut().enumerate().filter(|(_, act)| **act == Some(Act::Insert)) {
            // NULLs are never equal
            if columns.iter().any(|column| column.is_null(row)) {
                continue;
            }
            let key: Box<[u8]> = rows.row(row).as_ref().into();
            bytes += key.len() + KEY_BYTES;
            match (known.insert(key), updates) {
                (true, _) => {}
                (false, false) => *act = None,
                (false, true) => return Err(second_time(Again::Proposed)),
            }
        }
        self.hold(bytes)
    }

    fn hold(&self, bytes: usize) -> Result<()> {
        Ok(self.done.lock().unwrap_or_else(PoisonError::into_inner).held.try_grow(bytes)?)
    }
}

fn column(batch: &RecordBatch, at: usize) -> Result<&ArrayRef> {
    batch.columns().get(at).ok_or_else(unreadable)
}

fn unreadable() -> Error {
    Error::internal("rows that do not say what they are for")
}

fn second_time(again: Again) -> Error {
    let (what, hint) = match again {
        Again::Proposed => (
            "ON CONFLICT DO UPDATE",
            "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.",
        ),
        Again::Passed | Again::Merged => {
            ("MERGE", "Ensure that not more than one source row matches any one target row.")
        }
    };
    Error::new(Kind::Cardinality, format!("{what} command cannot affect row a second time")).with_hint(hint)
}
