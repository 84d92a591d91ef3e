//! An aggregate that keeps one small state a group: what such a state must say, and the accumulators of DataFusion around
//! it, for one group and for many. It knows no aggregate.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use super::{Of, Plain};
use crate::error::{Error, Result};
use crate::pgtype::Ty;
use crate::sql::kernel::Write;

/// What is kept of the rows of one group. It is written as bytes where it travels: between the partitions of a plan, to
/// disk, to another machine.
pub(super) trait State: Clone + Debug + Default + Send + Sync + 'static {
    /// The arguments' arrays as the aggregate reads them.
    type Input<'a>;

    /// Rows with a NULL among the arguments are passed over.
    const STRICT: bool = true;

    /// `None` for arrays of another type.
    fn input(arguments: &[ArrayRef]) -> Option<Self::Input<'_>>;

    fn add(&mut self, input: &Self::Input<'_>, row: usize) -> Result<()>;

    /// The rows of `other` come after this one's.
    fn merge(&mut self, other: Self) -> Result<()>;

    fn save(&self, to: &mut Vec<u8>);

    /// `None` for bytes that `save` did not write.
    fn load(from: &mut Saved<'_>) -> Option<Self>;

    /// Whether [`remove`](Self::remove) gives exactly the state without the row; else a frame that moves is computed from
    /// its rows each time, as PostgreSQL does without an inverse transition.
    fn removes(_arguments: &[(Ty, DataType)]) -> bool {
        false
    }

    fn remove(&mut self, _input: &Self::Input<'_>, _row: usize) -> Result<()> {
        Err(Error::internal("an aggregate that cannot was asked to take a row back"))
    }

    /// Bytes beside the state itself.
    fn heap(&self) -> usize {
        0
    }
}

/// The aggregate of a state and what is made of it in the end.
pub(super) struct Stated<S, V> {
    finish: fn(&S) -> Result<Option<V>>,
}

impl<S, V> Debug for Stated<S, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::any::type_name::<S>())
    }
}

pub(super) fn stated<S: State, V: Write + 'static>(finish: fn(&S) -> Result<Option<V>>) -> Box<dyn Plain> {
    Box::new(Stated { finish })
}

impl<S: State, V: Write + 'static> Plain for Stated<S, V> {
    fn one(&self, of: &Arc<Of>) -> Box<dyn Accumulator> {
        Box::new(One { of: Arc::clone(of), state: S::default(), finish: self.finish })
    }

    fn groups(&self, of: &Arc<Of>) -> Box<dyn GroupsAccumulator> {
        Box::new(Groups { of: Arc::clone(of), states: vec![], finish: self.finish, heap: 0 })
    }

    fn removes(&self, of: &Of) -> bool {
        S::removes(&of.arguments)
    }

    fn state(&self, name: &str, _: &Of) -> Vec<FieldRef> {
        vec![Arc::new(Field::new(format!("{name}[state]"), DataType::Binary, true))]
    }
}

struct One<S, V> {
    of: Arc<Of>,
    state: S,
    finish: fn(&S) -> Result<Option<V>>,
}

impl<S: Debug, V> Debug for One<S, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.state.fmt(f)
    }
}

impl<S: State, V: Write + 'static> Accumulator for One<S, V> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        let input = input::<S>(values)?;
        let state = &mut self.state;
        Ok(each(rows(values), counted::<S>(values, None), |row| state.add(&input, row))?)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        let input = input::<S>(values)?;
        let state = &mut self.state;
        Ok(each(rows(values), counted::<S>(values, None), |row| state.remove(&input, row))?)
    }

    fn supports_retract_batch(&self) -> bool {
        S::removes(&self.of.arguments)
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        let array = self.of.collect(1, std::iter::once((self.finish)(&self.state)))?;
        scalar(&array, 0)
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let mut bytes = vec![];
        self.state.save(&mut bytes);
        Ok(vec![ScalarValue::Binary(Some(bytes))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        let states = saved(states)?;
        for bytes in states.as_binary::<i32>().iter().flatten() {
            self.state.merge(load(bytes)?)?;
        }
        Ok(())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.state.heap()
    }
}

struct Groups<S, V> {
    of: Arc<Of>,
    states: Vec<S>,
    finish: fn(&S) -> Result<Option<V>>,
    /// Sum of the states' heaps, kept up rather than counted each time it is asked.
    heap: usize,
}

impl<S: State, V: Write + 'static> Groups<S, V> {
    fn taken(&mut self, emit: EmitTo) -> Vec<S> {
        let states = emit.take_needed(&mut self.states);
        self.heap -= states.iter().map(State::heap).sum::<usize>().min(self.heap);
        states
    }
}

impl<S: State, V: Write + 'static> GroupsAccumulator for Groups<S, V> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> DataFusionResult<()> {
        self.states.resize(total, S::default());
        let input = input::<S>(values)?;
        let (states, heap) = (&mut self.states, &mut self.heap);
        Ok(each(groups.len(), counted::<S>(values, filter), |row| {
            let state = &mut states[groups[row]];
            let before = state.heap();
            state.add(&input, row)?;
            *heap = (*heap + state.heap()).saturating_sub(before);
            Ok(())
        })?)
    }

    fn evaluate(&mut self, emit: EmitTo) -> DataFusionResult<ArrayRef> {
        let states = self.taken(emit);
        Ok(self.of.collect(states.len(), states.iter().map(self.finish))?)
    }

    fn state(&mut self, emit: EmitTo) -> DataFusionResult<Vec<ArrayRef>> {
        let states = self.taken(emit);
        Ok(vec![bytes_of(states.len(), states.iter())])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> DataFusionResult<()> {
        self.states.resize(total, S::default());
        let states = saved(values)?;
        for (bytes, group) in states.as_binary::<i32>().iter().zip(groups) {
            if let Some(bytes) = bytes {
                let state = &mut self.states[*group];
                let before = state.heap();
                state.merge(load(bytes)?)?;
                self.heap = (self.heap + state.heap()).saturating_sub(before);
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> DataFusionResult<Vec<ArrayRef>> {
        let count = rows(values);
        let mut states = vec![S::default(); count];
        let input = input::<S>(values)?;
        each(count, counted::<S>(values, filter), |row| states[row].add(&input, row))?;
        Ok(vec![bytes_of(count, states.iter())])
    }

    fn size(&self) -> usize {
        self.states.capacity() * size_of::<S>() + self.heap
    }
}

pub(in crate::sql::functions) use crate::sql::kernel::scalar;

fn rows(values: &[ArrayRef]) -> usize {
    values.first().map_or(0, |array| array.len())
}

fn input<S: State>(values: &[ArrayRef]) -> Result<S::Input<'_>> {
    let types = || values.iter().map(|v| v.data_type().to_string()).collect::<Vec<_>>().join(", ");
    S::input(values).ok_or_else(|| Error::internal(format!("an aggregate was given {}", types())))
}

fn saved(states: &[ArrayRef]) -> Result<&ArrayRef> {
    let state = states.first().filter(|array| *array.data_type() == DataType::Binary);
    state.ok_or_else(|| Error::internal("an aggregate's state is no binary column"))
}

fn load<S: State>(bytes: &[u8]) -> Result<S> {
    S::load(&mut Saved(bytes)).ok_or_else(|| Error::internal("an aggregate's state cannot be read"))
}

fn bytes_of<'a, S: State>(count: usize, states: impl Iterator<Item = &'a S>) -> ArrayRef {
    let mut builder = BinaryBuilder::with_capacity(count, count * size_of::<S>());
    let mut bytes = vec![];
    for state in states {
        bytes.clear();
        state.save(&mut bytes);
        builder.append_value(&bytes);
    }
    Arc::new(builder.finish())
}

/// Which rows count, if not all do.
fn counted<S: State>(values: &[ArrayRef], filter: Option<&BooleanArray>) -> Option<BooleanBuffer> {
    let nulls = match S::STRICT {
        true => NullBuffer::union_many(values.iter().map(|array| array.nulls())),
        false => None,
    };
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0).map(NullBuffer::into_inner);
    let filter = filter.map(passes);
    match (nulls, filter) {
        (None, any) | (any, None) => any,
        (Some(a), Some(b)) => Some(&a & &b),
    }
}

/// Where a filter is true.
pub(super) fn passes(filter: &BooleanArray) -> BooleanBuffer {
    match filter.nulls() {
        Some(nulls) => filter.values() & nulls.inner(),
        None => filter.values().clone(),
    }
}

fn each(rows: usize, counted: Option<BooleanBuffer>, mut row: impl FnMut(usize) -> Result<()>) -> Result<()> {
    match counted {
        None => (0..rows).try_for_each(row),
        Some(counted) => counted.set_indices().try_for_each(&mut row),
    }
}

/// A saved state, read from its front.
#[derive(Debug)]
pub(super) struct Saved<'a>(&'a [u8]);

impl<'a> Saved<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn f64(&mut self) -> Option<f64> {
        self.array().map(f64::from_le_bytes)
    }

    pub(super) fn i128(&mut self) -> Option<i128> {
        self.array().map(i128::from_le_bytes)
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u64()?).ok()?;
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }
}

/// Written so that [`Saved::bytes`] reads it.
pub(super) fn save_bytes(bytes: &[u8], to: &mut Vec<u8>) {
    to.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    to.extend_from_slice(bytes);
}
