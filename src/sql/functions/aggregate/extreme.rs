//! min and max of every type whose order is not Arrow's own (of those that are, DataFusion's are taken): the value is kept
//! with its key.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, UInt64Array};
use arrow::compute::{nullif, take};
use arrow::datatypes::{Field, FieldRef};
use arrow::row::{RowConverter, SortField};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use super::single::{Groups, Single};
use super::state::passes;
use super::{Of, Plain, key};
use crate::error::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Least,
    Greatest,
}

#[derive(Debug)]
pub(super) struct Extreme {
    pub(super) end: End,
    /// Of equal values the first is kept; else the last, as most types' `larger` functions do.
    pub(super) first: bool,
}

impl Plain for Extreme {
    fn one(&self, of: &Arc<Of>) -> Box<dyn Accumulator> {
        Box::new(Single::new(self.extremes(of)))
    }

    fn groups(&self, of: &Arc<Of>) -> Box<dyn GroupsAccumulator> {
        Box::new(self.extremes(of))
    }

    fn removes(&self, _: &Of) -> bool {
        false
    }

    fn state(&self, name: &str, of: &Of) -> Vec<FieldRef> {
        vec![Arc::new(Field::new(format!("{name}[value]"), of.result.1.clone(), true))]
    }
}

impl Extreme {
    fn extremes(&self, of: &Arc<Of>) -> Extremes {
        Extremes { of: Arc::clone(of), end: self.end, first: self.first, best: vec![], heap: 0 }
    }
}

struct Extremes {
    of: Arc<Of>,
    end: End,
    first: bool,
    best: Vec<Option<Best>>,
    heap: usize,
}

/// The best value of a group, both parts as rows of bytes.
struct Best {
    key: Box<[u8]>,
    value: Box<[u8]>,
}

impl Best {
    fn size(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

impl Extremes {
    fn put(&mut self, array: &ArrayRef, groups: &[usize], filter: Option<&BooleanArray>, total: usize) -> Result<()> {
        self.reserve(total);
        let comparable = key::comparable(array, self.of.argument()?, &self.of.env)?;
        let keys = key::rows(&[comparable], &[key::ASCENDING])?;
        let values = self.values()?.convert_columns(&[Arc::clone(array)])?;
        let filter = filter.map(passes);
        for (row, group) in groups.iter().enumerate() {
            if array.is_null(row) || filter.as_ref().is_some_and(|filter| !filter.value(row)) {
                continue;
            }
            let key = keys.row(row);
            let best = &mut self.best[*group];
            let stays = best.as_ref().is_some_and(|best| {
                let order = match self.end {
                    End::Least => key.as_ref().cmp(best.key.as_ref()),
                    End::Greatest => best.key.as_ref().cmp(key.as_ref()),
                };
                order.is_gt() || self.first && order.is_eq()
            });
            if !stays {
                let new = Best { key: key.as_ref().into(), value: values.row(row).as_ref().into() };
                self.heap = self.heap + new.size() - best.as_ref().map_or(0, Best::size);
                *best = Some(new);
            }
        }
        Ok(())
    }

    fn values(&self) -> Result<RowConverter> {
        Ok(RowConverter::new(vec![SortField::new(self.of.result.1.clone())])?)
    }

    fn taken(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let best = emit.take_needed(&mut self.best);
        self.heap -= best.iter().flatten().map(Best::size).sum::<usize>();
        self.array(&best)
    }

    fn array(&self, best: &[Option<Best>]) -> Result<ArrayRef> {
        let converter = self.values()?;
        let parser = converter.parser();
        let rows = best.iter().flatten().map(|best| parser.parse(&best.value));
        let Some(values) = converter.convert_rows(rows)?.pop() else {
            return Err(Error::internal("rows of one column gave none"));
        };
        let mut next = 0u64;
        let places = best.iter().map(|best| {
            best.as_ref().map(|_| {
                next += 1;
                next - 1
            })
        });
        Ok(take(&values, &places.collect::<UInt64Array>(), None)?)
    }
}

impl Groups for Extremes {
    fn reserve(&mut self, total: usize) {
        self.best.resize_with(total.max(self.best.len()), || None);
    }

    fn look(&mut self) -> Result<ArrayRef> {
        self.array(&self.best)
    }
}

impl GroupsAccumulator for Extremes {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> DataFusionResult<()> {
        let array = values.first().ok_or_else(|| Error::internal("an extreme of nothing"))?;
        Ok(self.put(array, groups, filter, total)?)
    }

    fn evaluate(&mut self, emit: EmitTo) -> DataFusionResult<ArrayRef> {
        Ok(self.taken(emit)?)
    }

    fn state(&mut self, emit: EmitTo) -> DataFusionResult<Vec<ArrayRef>> {
        Ok(vec![self.taken(emit)?])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> DataFusionResult<()> {
        self.update_batch(values, groups, None, total)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> DataFusionResult<Vec<ArrayRef>> {
        let array = values.first().ok_or_else(|| Error::internal("an extreme of nothing"))?;
        Ok(vec![match filter {
            None => Arc::clone(array),
            Some(filter) => nullif(array, &BooleanArray::new(!&passes(filter), None))?,
        }])
    }

    fn size(&self) -> usize {
        self.best.capacity() * size_of::<Option<Best>>() + self.heap
    }
}
