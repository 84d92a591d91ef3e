//! One group where many are expected, and a frame that moves over an aggregate that cannot take rows back.

use std::collections::VecDeque;
use std::fmt;

use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use super::state::scalar;
use crate::error::{Error, Result};

/// Groups whose values can be looked at without being taken: a frame that only grows asks for each row.
pub(super) trait Groups: GroupsAccumulator {
    /// Makes room for groups that no row may come for.
    fn reserve(&mut self, total: usize);

    /// The values of all groups.
    fn look(&mut self) -> Result<ArrayRef>;
}

/// An accumulator of groups over the one group 0.
pub(super) struct Single<G> {
    inner: G,
    groups: Vec<usize>,
}

impl<G> fmt::Debug for Single<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Single")
    }
}

impl<G: Groups> Single<G> {
    pub(super) fn new(mut inner: G) -> Self {
        inner.reserve(1);
        Self { inner, groups: vec![] }
    }

    fn grouped(&mut self, values: &[ArrayRef]) {
        let rows = values.first().map_or(0, |array| array.len());
        self.groups.resize(rows, 0);
    }
}

impl<G: Groups + Sync> Accumulator for Single<G> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.grouped(values);
        self.inner.update_batch(values, &self.groups, None, 1)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        self.grouped(states);
        self.inner.merge_batch(states, &self.groups, 1)
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        scalar(&self.inner.look()?, 0)
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let states = self.inner.state(EmitTo::All)?;
        states.iter().map(|array| scalar(array, 0)).collect()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size() + self.groups.capacity() * size_of::<usize>()
    }
}

/// Batches beyond which the rows of a frame are joined into one.
const BATCHES_MAX: usize = 32;

/// The rows of a frame that moves; each value is computed from all of them again, as PostgreSQL does for an aggregate without
/// an inverse transition.
pub(super) struct Replay {
    make: Box<dyn Fn() -> Box<dyn Accumulator> + Send + Sync>,
    batches: VecDeque<Vec<ArrayRef>>,
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Replay")
    }
}

impl Replay {
    pub(super) fn new(make: Box<dyn Fn() -> Box<dyn Accumulator> + Send + Sync>) -> Self {
        Self { make, batches: VecDeque::new() }
    }

    fn join(&mut self) -> Result<()> {
        let columns = self.batches.front().map_or(0, Vec::len);
        let column = |i: usize| {
            let parts: Vec<&dyn Array> = self.batches.iter().map(|batch| batch[i].as_ref()).collect();
            concat(&parts)
        };
        let joined = (0..columns).map(column).collect::<std::result::Result<Vec<_>, _>>()?;
        self.batches = VecDeque::from([joined]);
        Ok(())
    }

    fn current(&self) -> DataFusionResult<Box<dyn Accumulator>> {
        let mut accumulator = (self.make)();
        self.batches.iter().try_for_each(|batch| accumulator.update_batch(batch))?;
        Ok(accumulator)
    }
}

impl Accumulator for Replay {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        if values.first().is_none_or(|array| array.is_empty()) {
            return Ok(());
        }
        self.batches.push_back(values.to_vec());
        if self.batches.len() > BATCHES_MAX {
            self.join()?;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        let mut rows = values.first().map_or(0, |array| array.len());
        while rows > 0 {
            let Some(front) = self.batches.front_mut() else {
                return Err(Error::internal("more rows were taken back than a frame had").into());
            };
            let have = front.first().map_or(0, |array| array.len());
            if have > rows {
                front.iter_mut().for_each(|array| *array = array.slice(rows, have - rows));
                break;
            }
            rows -= have;
            self.batches.pop_front();
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        self.current()?.evaluate()
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        self.current()?.state()
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> DataFusionResult<()> {
        Err(Error::internal("the rows of a frame are not merged").into())
    }

    fn size(&self) -> usize {
        let arrays = self.batches.iter().flatten();
        arrays.map(|array| array.to_data().get_slice_memory_size().unwrap_or(0)).sum::<usize>() + size_of_val(self)
    }
}
