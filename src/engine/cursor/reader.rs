//! Where a cursor stands, and what a direction means from there (DoPortalRunFetch of PostgreSQL). A cursor that goes forward
//! alone keeps nothing but the rest of its last batch; one that scrolls keeps the rows it has passed.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;

use super::Scroll;
use super::store::{Allowance, Store};
use crate::engine::run::Rows;
use crate::error::{Error, Kind, Result};
use crate::sql::parse::command::Direction;

pub(crate) struct Reader {
    schema: SchemaRef,
    /// `None`: all were read.
    rows: Option<Rows>,
    /// Read and not passed yet, of a reader that keeps nothing.
    rest: Option<RecordBatch>,
    store: Option<Store>,
    scroll: Scroll,
    /// On row n, counted from 1; 0 before the first.
    at: usize,
    /// Behind the last row, which is row `at - 1` then.
    at_end: bool,
    /// Its rows ended in an error.
    failed: bool,
}

/// Rows to be shown, in their order.
#[derive(Debug)]
pub(crate) enum Plan {
    /// So many of those that come, at most; they may be read as they are sent.
    Forward(usize),
    Ready(Vec<RecordBatch>),
}

impl Reader {
    pub(crate) fn new(rows: Rows, scroll: Scroll, allowance: Allowance) -> Self {
        let store = (scroll != Scroll::No).then(|| Store::new(allowance));
        Self { schema: rows.schema(), rows: Some(rows), rest: None, store, scroll, at: 0, at_end: false, failed: false }
    }

    /// A portal that the protocol has read up to here.
    pub(crate) fn resumed(rows: Rows, rest: Option<RecordBatch>, at: usize) -> Self {
        Self {
            schema: rows.schema(),
            rows: Some(rows),
            rest,
            store: None,
            scroll: Scroll::No,
            at,
            at_end: false,
            failed: false,
        }
    }

    /// One that was read to its end.
    pub(crate) fn ended(schema: SchemaRef) -> Self {
        Self { schema, rows: None, rest: None, store: None, scroll: Scroll::No, at: 1, at_end: true, failed: false }
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Its transaction ends: what is still to come is read, so that it can be read afterwards.
    pub(crate) async fn hold(&mut self, allowance: Allowance) -> Result<()> {
        if self.store.is_none() {
            // rows are counted from here: what was passed is gone
            let mut store = Store::new(allowance);
            if let Some(rest) = self.rest.take() {
                store.push(rest)?;
            }
            self.store = Some(store);
            (self.at, self.at_end) = (0, self.at_end && self.rows.is_none());
        }
        self.scroll = if self.scroll == Scroll::No { Scroll::No } else { Scroll::Yes };
        self.fill(usize::MAX).await
    }

    /// Moves as `direction` says, and gives what a FETCH shows. 55000 where that would be backward and it cannot.
    pub(crate) async fn go(&mut self, direction: Direction, shows: bool) -> Result<Plan> {
        match direction {
            Direction::Forward(0) | Direction::Backward(0) | Direction::Relative(0) => self.again(shows),
            Direction::Forward(count) if count > 0 => Ok(Plan::Forward(limit(count))),
            Direction::Backward(count) if count < 0 => Ok(Plan::Forward(limit(count))),
            Direction::Forward(count) | Direction::Backward(count) => self.backward(limit(count)).await,
            Direction::Absolute(count) => self.absolute(count).await,
            Direction::Relative(count) if count > 0 => {
                self.skip(limit(count) - 1).await?;
                Ok(Plan::Forward(1))
            }
            Direction::Relative(count) => {
                self.backward(limit(count) - 1).await?;
                self.backward(1).await
            }
        }
    }

    /// The next rows, at most so many; `None` at the end.
    pub(crate) async fn forward(&mut self, most: usize) -> Result<Option<RecordBatch>> {
        if most == 0 || self.at_end {
            return Ok(None);
        }
        if self.store.is_some() {
            self.fill(self.at.saturating_add(1)).await?;
        }
        // it may have stopped to keep them
        let Some(store) = &self.store else { return self.stream(most).await };
        let kept = store.rows();
        if kept <= self.at {
            self.end();
            return Ok(None);
        }
        let slice = store.slices(self.at, self.at.saturating_add(most).min(kept)).into_iter().next();
        let slice = slice.ok_or_else(|| Error::internal("rows that are kept were not found"))?;
        self.at += slice.num_rows();
        Ok(Some(slice))
    }

    async fn stream(&mut self, most: usize) -> Result<Option<RecordBatch>> {
        loop {
            let batch = match (self.rest.take(), &mut self.rows) {
                (Some(rest), _) => rest,
                (None, Some(rows)) => match rows.next().await.transpose().inspect_err(|_| self.failed = true)? {
                    Some(batch) => batch,
                    None => {
                        self.rows = None;
                        self.end();
                        return Ok(None);
                    }
                },
                (None, None) => {
                    self.end();
                    return Ok(None);
                }
            };
            let count = batch.num_rows().min(most);
            if count == 0 {
                continue;
            }
            if count < batch.num_rows() {
                self.rest = Some(batch.slice(count, batch.num_rows() - count));
            }
            self.at += count;
            return Ok(Some(batch.slice(0, count)));
        }
    }

    fn end(&mut self) {
        if !self.at_end {
            self.at_end = true;
            self.at += 1;
        }
    }

    async fn skip(&mut self, mut count: usize) -> Result<usize> {
        let mut passed = 0;
        while count > 0 {
            let Some(batch) = self.forward(count).await? else { break };
            passed += batch.num_rows();
            count -= batch.num_rows();
        }
        Ok(passed)
    }

    /// Whether it stands on a row.
    fn on_row(&self) -> bool {
        self.at > 0 && !self.at_end
    }

    /// The row that it stands on, once more. To move there is always possible.
    fn again(&self, shows: bool) -> Result<Plan> {
        if !self.on_row() {
            return Ok(Plan::Ready(vec![]));
        }
        match (&self.store, shows) {
            (Some(store), _) => Ok(Plan::Ready(store.slices(self.at - 1, self.at))),
            // counted and not shown
            (None, false) => Ok(Plan::Ready(vec![self.one_row()?])),
            (None, true) => Err(forward_only()),
        }
    }

    /// Something of one row, for MOVE.
    fn one_row(&self) -> Result<RecordBatch> {
        let nulls = self.schema.fields().iter().map(|f| arrow::array::new_null_array(f.data_type(), 1)).collect();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(1));
        let fields = self.schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<_>>();
        let schema = std::sync::Arc::new(arrow::datatypes::Schema::new(fields));
        Ok(RecordBatch::try_new_with_options(schema, nulls, &options)?)
    }

    /// So many rows before this one, the nearest first.
    async fn backward(&mut self, count: usize) -> Result<Plan> {
        if self.scroll == Scroll::No || self.store.is_none() {
            return Err(forward_only());
        }
        let Some(store) = &self.store else { return Err(forward_only()) };
        let before = self.at.saturating_sub(1);
        let from = before.saturating_sub(count);
        let mut rows = vec![];
        for slice in store.slices(from, before).into_iter().rev() {
            let last = u32::try_from(slice.num_rows()).map_err(|_| Error::internal("a batch of too many rows"))?;
            rows.push(take_record_batch(&slice, &UInt32Array::from_iter_values((0..last).rev()))?);
        }
        if count > 0 && self.at > 0 {
            // all of them passed: it stands before the first
            self.at = if count > before { 0 } else { from + 1 };
            self.at_end = false;
        }
        Ok(Plan::Ready(rows))
    }

    async fn absolute(&mut self, count: i64) -> Result<Plan> {
        if count < 0 {
            if self.scroll == Scroll::No || self.store.is_none() {
                return Err(forward_only());
            }
            self.fill(usize::MAX).await?;
            let Some(store) = &self.store else { return Err(forward_only()) };
            let (rows, back) = (store.rows(), limit(count));
            self.at = if back > rows { 0 } else { rows + 1 - back };
            self.at_end = false;
            return self.again(true);
        }
        let target = limit(count);
        if target > self.at || target == 0 && self.at == 0 {
            self.skip(target.saturating_sub(self.at + 1)).await?;
            return Ok(Plan::Forward(usize::from(target > 0)));
        }
        if self.scroll == Scroll::No || self.store.is_none() {
            return Err(forward_only());
        }
        (self.at, self.at_end) = (target.saturating_sub(1), false);
        Ok(Plan::Forward(usize::from(target > 0)))
    }

    /// Keeps rows until there are so many, or no more. One that only perhaps scrolls stops keeping them where there is no
    /// room, and goes forward alone from then on.
    async fn fill(&mut self, upto: usize) -> Result<()> {
        loop {
            let (Some(store), Some(rows)) = (&mut self.store, &mut self.rows) else { return Ok(()) };
            if store.rows() >= upto {
                return Ok(());
            }
            let Some(batch) = rows.next().await.transpose().inspect_err(|_| self.failed = true)? else {
                self.rows = None;
                return Ok(());
            };
            let passed = store.rows() <= self.at;
            match store.push(batch.clone()) {
                Ok(()) => {}
                Err(_) if self.scroll == Scroll::Perhaps && passed && upto != usize::MAX => {
                    self.scroll = Scroll::No;
                    self.store = None;
                    self.rest = Some(batch);
                }
                Err(refused) => return Err(refused),
            }
        }
    }
}

/// A count without its sign; all are more than there can be.
fn limit(count: i64) -> usize {
    usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX)
}

fn forward_only() -> Error {
    Error::new(Kind::NotInState, "cursor can only scan forward")
        .with_hint("Declare it with SCROLL option to enable backward scan.")
}

#[cfg(test)]
mod tests;
