//! Rows that a cursor keeps so that it can come back to them. They lie in memory, under the engine's pool and a limit of the
//! session's own; what does not fit is refused, nothing is spilled.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};

use crate::error::{Error, Kind, Result};

/// Of the rows that one session's cursors keep.
const BYTES_MAX: usize = 64 << 20;

/// What a session's cursors may keep together. Clones are one and the same.
#[derive(Clone, Debug)]
pub(crate) struct Allowance {
    pool: Arc<dyn MemoryPool>,
    used: Arc<AtomicUsize>,
}

impl Allowance {
    pub(crate) fn new(pool: &Arc<dyn MemoryPool>) -> Self {
        Self { pool: Arc::clone(pool), used: Arc::default() }
    }
}

/// Rows from the first one on.
#[derive(Debug)]
pub(super) struct Store {
    batches: Vec<RecordBatch>,
    /// Of each batch, how many rows are up to its end.
    ends: Vec<usize>,
    taken: usize,
    allowance: Allowance,
    reservation: MemoryReservation,
}

impl Store {
    pub(super) fn new(allowance: Allowance) -> Self {
        let reservation = MemoryConsumer::new("cursor").register(&allowance.pool);
        Self { batches: vec![], ends: vec![], taken: 0, allowance, reservation }
    }

    pub(super) fn rows(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// 53200 where the engine's memory is used up, 54000 where the session's share of it is.
    pub(super) fn push(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let bytes = batch.get_array_memory_size();
        let used = self.allowance.used.fetch_add(bytes, Ordering::Relaxed);
        self.taken += bytes;
        if used.saturating_add(bytes) > BYTES_MAX {
            let text = format!("cursors that scroll or are held keep more than {BYTES_MAX} bytes");
            return Err(Error::new(Kind::TooLarge, text).with_hint("Read it forward with NO SCROLL, or with a LIMIT."));
        }
        self.reservation.try_grow(bytes).map_err(Error::behind_guard)?;
        self.ends.push(self.rows() + batch.num_rows());
        self.batches.push(batch);
        Ok(())
    }

    /// The rows `from..to`, counted from 0, cut at the ends of batches.
    pub(super) fn slices(&self, from: usize, to: usize) -> Vec<RecordBatch> {
        let mut slices = vec![];
        let first = self.ends.partition_point(|end| *end <= from);
        for (batch, end) in self.batches.iter().zip(&self.ends).skip(first) {
            let start = end - batch.num_rows();
            if start >= to {
                break;
            }
            let (low, high) = (from.max(start) - start, to.min(*end) - start);
            slices.push(batch.slice(low, high - low));
        }
        slices
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.allowance.used.fetch_sub(self.taken, Ordering::Relaxed);
    }
}
