//! The rows of a statement's plan for a source that changes its rows itself: gathered as far as one statement there goes,
//! handed on, and what comes back judged and kept for RETURNING. How the source is told is the source's.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::compute::{concat_batches, filter_record_batch, take};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::execution::SessionState;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};

use super::target::Checks;
use crate::engine::assign;
use crate::engine::run::Rows;
use crate::error::{Error, Result};
use crate::sources::{Foreign, ForeignHow, ForeignRows, ForeignShown, Overriding, SkipConflict};
use crate::sql::bind::{Act, Acts, Layout};

/// Rows are handed on in one statement up to about so much memory.
const STATEMENT_BYTES_MAX: usize = 32 << 20;
/// What a place costs in memory besides its own bytes, by estimate.
const PLACE_BYTES: usize = 64;

/// A statement for a source, as far as its text says.
pub(super) struct Wish {
    pub(super) act: Act,
    pub(super) layout: Layout,
    pub(super) overriding: Option<Overriding>,
    pub(super) conflict: Option<SkipConflict>,
    /// What RETURNING's query is to read, if there is one.
    pub(super) later: Option<SchemaRef>,
    /// Whoever asks sees all of the table.
    pub(super) sees_all: bool,
}

/// What a statement did there.
pub(super) struct Done {
    pub(super) rows: u64,
    pub(super) later: Vec<RecordBatch>,
    /// Of DELETE, whose RETURNING shows rows as they were read.
    pub(super) shown: Vec<RecordBatch>,
    pub(super) held: MemoryReservation,
}

struct Under<'a> {
    wish: &'a Wish,
    schema: &'a SchemaRef,
    checks: &'a Checks,
    foreign: &'a dyn Foreign,
    met: HashSet<Box<str>>,
    gathered: Vec<RecordBatch>,
    bytes: usize,
    done: Done,
}

/// `schema`: all columns of the table.
pub(super) async fn change(
    mut rows: Rows,
    wish: &Wish,
    schema: &SchemaRef,
    checks: &Checks,
    foreign: &dyn Foreign,
    state: &SessionState,
) -> Result<Done> {
    if !matches!(wish.layout.act, Acts::All(_)) {
        return Err(Error::internal("a source was to tell rows apart"));
    }
    let held = MemoryConsumer::new("rows for a source").register(&state.runtime_env().memory_pool);
    let done = Done { rows: 0, later: vec![], shown: vec![], held };
    let met = HashSet::new();
    let mut under = Under { wish, schema, checks, foreign, met, gathered: vec![], bytes: 0, done };
    while let Some(batch) = rows.next().await {
        let batch = under.once(batch?)?;
        if batch.num_rows() == 0 {
            continue;
        }
        under.judged_before(&batch)?;
        let bytes = batch.get_array_memory_size();
        under.done.held.try_grow(bytes)?;
        under.bytes += bytes;
        under.gathered.push(batch);
        if under.bytes > STATEMENT_BYTES_MAX {
            under.hand_on().await?;
        }
    }
    under.hand_on().await?;
    Ok(under.done)
}

impl Under<'_> {
    /// The same rows without those that are met again: a row is changed once, whatever it was joined to.
    fn once(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        let places = self.wish.layout.place.clone();
        if places.is_empty() {
            return Ok(batch);
        }
        let places = places.map(|at| column(&batch, at)?.as_string_opt::<i32>().ok_or_else(unreadable));
        let places = places.collect::<Result<Vec<_>>>()?;
        let mut bytes = 0;
        let mut is_new = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            if places.iter().any(|part| part.is_null(row)) {
                return Err(unreadable());
            }
            let place = places.iter().map(|part| part.value(row)).collect::<Vec<_>>().join(" ");
            bytes += place.len() + PLACE_BYTES;
            is_new.push(self.met.insert(place.into()));
        }
        self.done.held.try_grow(bytes)?;
        Ok(filter_record_batch(&batch, &BooleanArray::from(is_new))?)
    }

    /// The rows that come, in the table's own columns: `at` of them.
    fn fitted(&self, batch: &RecordBatch, at: &[usize]) -> Result<RecordBatch> {
        let fields = at.iter().filter_map(|at| self.schema.fields().get(*at).cloned()).collect::<Vec<_>>();
        let order = at.iter().map(|at| Some(self.wish.layout.row.start + at)).collect::<Vec<_>>();
        assign::fit(batch, &order, &Arc::new(Schema::new(fields)))
    }

    /// Rows that the statement gives whole are judged before the source is asked: it would say more of them than it should
    /// (a key that is there already, in a row that is hidden).
    fn judged_before(&self, batch: &RecordBatch) -> Result<()> {
        let Some(check) = self.check() else { return Ok(()) };
        let layout = &self.wish.layout;
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let is_open = |column: &&usize| match self.wish.act {
            Act::Insert => !layout.given.contains(column),
            Act::Update => layout.defaults.contains(column),
            Act::Delete => true,
        };
        let open: Vec<&str> =
            all.iter().filter(is_open).filter_map(|at| Some(self.schema.fields().get(*at)?.name().as_str())).collect();
        match check.reads_any(&open) {
            true => Ok(()),
            false => {
                let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
                let nullable = Arc::new(nullable(self.schema));
                let order = all.iter().map(|at| Some(layout.row.start + at)).collect::<Vec<_>>();
                let new = assign::fit(batch, &order, &nullable)?;
                let new = RecordBatch::try_new_with_options(nullable, new.columns().to_vec(), &options)?;
                check.check(&new)
            }
        }
    }

    fn check(&self) -> Option<&crate::policy::NewRows> {
        match self.wish.act {
            Act::Insert => self.checks.insert.as_ref(),
            Act::Update => self.checks.update.as_ref(),
            Act::Delete => None,
        }
    }

    /// One statement there, of all that was gathered.
    async fn hand_on(&mut self) -> Result<()> {
        let Some(first) = self.gathered.first() else { return Ok(()) };
        let batch = concat_batches(&first.schema(), &self.gathered)?;
        self.gathered.clear();
        let layout = &self.wish.layout;
        let rows = match self.wish.act {
            Act::Insert => ForeignRows::Insert {
                given: self.fitted(&batch, &layout.given)?,
                overriding: self.wish.overriding,
                conflict: self.wish.conflict.clone(),
            },
            Act::Update => {
                let name = |at: &usize| self.schema.fields().get(*at).map(|field| field.name().clone());
                let defaults = layout.defaults.iter().filter_map(name).collect();
                ForeignRows::Update {
                    places: self.places(&batch)?,
                    given: self.fitted(&batch, &layout.given)?,
                    defaults,
                }
            }
            Act::Delete => ForeignRows::Delete { places: self.places(&batch)? },
        };
        let (later, returning) = (self.wish.later.clone(), layout.returning.clone());
        let shows = self.check().is_some() || later.is_some() || (self.wish.act == Act::Delete && returning.is_some());
        let how = ForeignHow { shows, sees_all: self.wish.sees_all };
        let done = self.foreign.change(rows, how).await?;
        self.done.rows += done.rows;
        if let Some(shown) = done.shown {
            // what its defaults and triggers have made of them
            if let Some(check) = self.check() {
                check.check(&shown.rows)?;
            }
            self.show(&batch, &shown, later, returning)?;
        }
        self.done.held.shrink(self.bytes.min(self.done.held.size()));
        self.bytes = 0;
        Ok(())
    }

    fn show(
        &mut self,
        batch: &RecordBatch,
        shown: &ForeignShown,
        later: Option<SchemaRef>,
        returning: Option<std::ops::Range<usize>>,
    ) -> Result<()> {
        let of = UInt64Array::from_iter_values(shown.of.iter().map(|at| *at as u64));
        if let (Act::Delete, Some(returning)) = (self.wish.act, returning) {
            // as they were read: the source has told which of them are gone
            let columns = returning.map(|at| Ok(take(column(batch, at)?, &of, None)?)).collect::<Result<Vec<_>>>()?;
            let fields =
                batch.schema().project(&self.wish.layout.returning.clone().unwrap_or_default().collect::<Vec<_>>())?;
            let options = RecordBatchOptions::new().with_row_count(Some(of.len()));
            let gone = RecordBatch::try_new_with_options(Arc::new(fields), columns, &options)?;
            self.done.held.try_grow(gone.get_array_memory_size())?;
            self.done.shown.push(gone);
            return Ok(());
        }
        let Some(schema) = later else { return Ok(()) };
        let row = self.wish.layout.row.clone();
        let count = shown.rows.num_rows();
        let columns = schema.fields().iter().enumerate().map(|(at, field)| {
            let value: ArrayRef = match at.checked_sub(row.start).filter(|_| row.contains(&at)) {
                Some(own) => Arc::clone(column(&shown.rows, own)?),
                // an INSERT's query has nothing else that is not the same in every row
                None if self.wish.act == Act::Insert => same(column(batch, at)?, count)?,
                None => take(column(batch, at)?, &of, None)?,
            };
            lying(value, field)
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let rows = RecordBatch::try_new_with_options(schema, columns, &options)?;
        self.done.held.try_grow(rows.get_array_memory_size())?;
        self.done.later.push(rows);
        Ok(())
    }

    fn places(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        Ok(batch.project(&self.wish.layout.place.clone().collect::<Vec<_>>())?)
    }
}

/// What stands there for a masked column of a new row: NULL.
fn same(column: &ArrayRef, count: usize) -> Result<ArrayRef> {
    match column.null_count() == column.len() {
        true => Ok(arrow::array::new_null_array(column.data_type(), count)),
        false => Err(Error::internal("a new row with values that its source does not know")),
    }
}

/// As values lie in expressions.
fn lying(value: ArrayRef, field: &arrow::datatypes::Field) -> Result<ArrayRef> {
    match value.data_type() == field.data_type() {
        true => Ok(value),
        false => Ok(arrow::compute::cast(&value, field.data_type())?),
    }
}

fn nullable(schema: &Schema) -> Schema {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Schema::new(fields.collect::<Vec<_>>())
}

fn column(batch: &RecordBatch, at: usize) -> Result<&ArrayRef> {
    batch.columns().get(at).ok_or_else(unreadable)
}

fn unreadable() -> Error {
    Error::internal("rows that do not say what they are for")
}
