//! Aggregates that need their rows together: those whose value holds them all (array_agg, string_agg), those computed over a
//! sorted group (percentile_cont, rank), and every aggregate called with DISTINCT or ORDER BY. Rows are kept as they came,
//! with the number of their group; they are put in order once, at the end, whatever order and partitions they came in.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, UInt64Array, new_empty_array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{SortOptions, concat, filter, take};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use super::single::Groups;
use super::state::passes;
use super::{Of, key};
use crate::error::{Error, Kind, Result};
use crate::pgtype::Ty;

/// How the rows of a call are put in order.
#[derive(Clone, Debug)]
pub(super) struct Order {
    /// Each key of the ORDER BY, which stands after the arguments; with the type by which it is compared, where it is an
    /// argument itself. Else it compares natively.
    pub(super) by: Vec<(SortOptions, Option<Ty>)>,
    /// Types of the arguments where equal ones count once; they are sorted by as well, as PostgreSQL does.
    pub(super) distinct: Option<Vec<Ty>>,
}

/// The rows of all groups, in order.
#[derive(Debug)]
pub(super) struct Ordered<'a> {
    /// The arguments, then the keys of the ORDER BY.
    pub(super) columns: Vec<ArrayRef>,
    /// Where each group begins; one more than there are groups.
    pub(super) offsets: Vec<usize>,
    pub(super) order: &'a Order,
}

/// Makes the values of all groups.
pub(super) type Finish = Arc<dyn Fn(&Ordered<'_>, &Arc<Of>) -> Result<ArrayRef> + Send + Sync>;

pub(super) struct Gather {
    of: Arc<Of>,
    order: Order,
    finish: Finish,
    /// Of the columns.
    types: Vec<DataType>,
    batches: Vec<Vec<ArrayRef>>,
    groups: Vec<u32>,
    total: usize,
    bytes: usize,
    /// Rows at the last time that equal ones were dropped.
    compacted: usize,
}

/// Below this many rows more, equal ones are not looked for.
const COMPACT_ROWS_MIN: usize = 65_536;

impl fmt::Debug for Gather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gather of {} rows", self.groups.len())
    }
}

impl Gather {
    pub(super) fn new(of: &Arc<Of>, types: Vec<DataType>, order: Order, finish: Finish) -> Self {
        Self {
            of: Arc::clone(of),
            order,
            finish,
            types,
            batches: vec![],
            groups: vec![],
            total: 0,
            bytes: 0,
            compacted: 0,
        }
    }

    fn keep(&mut self, columns: Vec<ArrayRef>, groups: impl Iterator<Item = usize>) -> Result<()> {
        if columns.len() != self.types.len() {
            let text = format!("{} columns came for {}, not {}", columns.len(), self.of.proc.name, self.types.len());
            return Err(Error::internal(text));
        }
        for group in groups {
            let group = u32::try_from(group);
            self.groups.push(group.map_err(|_| Error::new(Kind::OutOfMemory, "more than 2^32 groups"))?);
        }
        self.bytes += columns.iter().map(|c| c.to_data().get_slice_memory_size().unwrap_or(0)).sum::<usize>();
        self.batches.push(columns);
        if self.order.distinct.is_some() && self.groups.len() > 2 * self.compacted + COMPACT_ROWS_MIN {
            self.compact()?;
        }
        Ok(())
    }

    /// Drops equal rows, so that memory is taken by what is distinct alone.
    fn compact(&mut self) -> Result<()> {
        let (columns, offsets) = self.arranged()?;
        self.groups.clear();
        for (group, ends) in offsets.windows(2).enumerate() {
            let group = u32::try_from(group).unwrap_or(u32::MAX);
            self.groups.extend(std::iter::repeat_n(group, ends[1] - ends[0]));
        }
        self.compacted = self.groups.len();
        self.bytes = columns.iter().map(|c| c.get_array_memory_size()).sum();
        self.batches = vec![columns];
        Ok(())
    }

    fn joined(&self) -> Result<Vec<ArrayRef>> {
        if let [batch] = self.batches.as_slice() {
            return Ok(batch.clone());
        }
        let column = |i: usize| {
            let parts: Vec<&dyn Array> = self.batches.iter().map(|batch| batch[i].as_ref()).collect();
            Ok(concat(&parts)?)
        };
        match self.batches.is_empty() {
            true => Ok(self.types.iter().map(new_empty_array).collect()),
            false => (0..self.types.len()).map(column).collect(),
        }
    }

    /// All rows by group, in order within each.
    fn arranged(&self) -> Result<(Vec<ArrayRef>, Vec<usize>)> {
        let columns = self.joined()?;
        let mut offsets = vec![0usize; self.total + 1];
        for group in &self.groups {
            offsets[*group as usize + 1] += 1;
        }
        for i in 0..self.total {
            offsets[i + 1] += offsets[i];
        }
        let sorted = self.order.distinct.is_some() || !self.order.by.is_empty();
        if self.total <= 1 && !sorted {
            return Ok((columns, offsets));
        }
        let mut places = vec![0usize; self.groups.len()];
        let mut next = offsets.clone();
        for (row, group) in self.groups.iter().enumerate() {
            let next = &mut next[*group as usize];
            places[*next] = row;
            *next += 1;
        }
        if sorted {
            (places, offsets) = self.sorted(&columns, places, &offsets)?;
        }
        let places: UInt64Array = places.into_iter().map(|row| row as u64).collect();
        let columns =
            columns.iter().map(|column| take(column, &places, None)).collect::<std::result::Result<_, _>>()?;
        Ok((columns, offsets))
    }

    fn sorted(&self, columns: &[ArrayRef], places: Vec<usize>, offsets: &[usize]) -> Result<(Vec<usize>, Vec<usize>)> {
        let arguments = columns.len() - self.order.by.len();
        let (mut keys, mut options) = (vec![], vec![]);
        for (column, (option, ty)) in columns[arguments..].iter().zip(&self.order.by) {
            keys.push(match ty {
                Some(ty) => key::comparable(column, *ty, &self.of.env)?,
                None => Arc::clone(column),
            });
            options.push(*option);
        }
        for (column, ty) in columns.iter().zip(self.order.distinct.iter().flatten()) {
            keys.push(key::comparable(column, *ty, &self.of.env)?);
            options.push(key::ASCENDING);
        }
        let keys = key::rows(&keys, &options)?;
        let mut places = places;
        let mut kept = Vec::with_capacity(if self.order.distinct.is_some() { places.len() } else { 0 });
        let mut ends = vec![0usize; offsets.len()];
        for (group, range) in offsets.windows(2).enumerate() {
            let rows = &mut places[range[0]..range[1]];
            rows.sort_by(|a, b| keys.row(*a).cmp(&keys.row(*b)));
            if self.order.distinct.is_some() {
                let first = kept.len();
                for row in rows.iter() {
                    let known = kept.len() > first && kept.last().is_some_and(|last| keys.row(*last) == keys.row(*row));
                    if !known {
                        kept.push(*row);
                    }
                }
                ends[group + 1] = kept.len();
            }
        }
        Ok(match self.order.distinct.is_some() {
            true => (kept, ends),
            false => (places, offsets.to_vec()),
        })
    }

    fn value(&self) -> Result<ArrayRef> {
        let (columns, offsets) = self.arranged()?;
        (self.finish)(&Ordered { columns, offsets, order: &self.order }, &self.of)
    }

    /// These groups in an accumulator of their own; the others move up.
    fn taken(&mut self, emit: EmitTo) -> Result<Self> {
        let count = match emit {
            EmitTo::All => self.total,
            EmitTo::First(count) => count,
        };
        let mut taken = Self::new(&self.of, self.types.clone(), self.order.clone(), Arc::clone(&self.finish));
        taken.total = count;
        let rest = self.total - count;
        if rest == 0 {
            taken.batches = std::mem::take(&mut self.batches);
            taken.groups = std::mem::take(&mut self.groups);
        } else {
            let columns = self.joined()?;
            let first: BooleanArray = self.groups.iter().map(|group| Some((*group as usize) < count)).collect();
            let others = arrow::compute::not(&first)?;
            let of = |which: &BooleanArray| {
                columns.iter().map(|c| filter(c, which)).collect::<std::result::Result<Vec<_>, _>>()
            };
            taken.batches = vec![of(&first)?];
            self.batches = vec![of(&others)?];
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            taken.groups = self.groups.iter().copied().filter(|group| *group < count).collect();
            self.groups = self.groups.iter().filter_map(|group| group.checked_sub(count)).collect();
        }
        self.total = rest;
        self.compacted = 0;
        self.bytes = self.batches.iter().flatten().map(|c| c.get_array_memory_size()).sum();
        Ok(taken)
    }
}

impl Groups for Gather {
    fn reserve(&mut self, total: usize) {
        self.total = self.total.max(total);
    }

    fn look(&mut self) -> Result<ArrayRef> {
        self.value()
    }
}

impl GroupsAccumulator for Gather {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        opt_filter: Option<&BooleanArray>,
        total: usize,
    ) -> DataFusionResult<()> {
        self.reserve(total);
        match opt_filter {
            None => self.keep(values.to_vec(), groups.iter().copied())?,
            Some(opt_filter) => {
                let passes = passes(opt_filter);
                let which = BooleanArray::new(passes.clone(), None);
                let columns = values.iter().map(|c| filter(c, &which)).collect::<std::result::Result<Vec<_>, _>>()?;
                self.keep(columns, passes.set_indices().map(|row| groups[row]))?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit: EmitTo) -> DataFusionResult<ArrayRef> {
        Ok(self.taken(emit)?.value()?)
    }

    /// Each column as a list for each group.
    fn state(&mut self, emit: EmitTo) -> DataFusionResult<Vec<ArrayRef>> {
        let taken = self.taken(emit)?;
        let (columns, offsets) = taken.arranged()?;
        Ok(columns.into_iter().map(|column| lists(column, &offsets)).collect::<Result<_>>()?)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> DataFusionResult<()> {
        self.reserve(total);
        let wrong = || Error::internal("a gathered state is no list");
        let lists = values.iter().map(|v| v.as_list_opt::<i32>().ok_or_else(wrong)).collect::<Result<Vec<_>>>()?;
        let Some(first) = lists.first() else { return Ok(()) };
        let lengths = groups
            .iter()
            .enumerate()
            .map(|(row, group)| (*group, first.value_offsets()[row + 1] - first.value_offsets()[row]));
        let rows = lengths.flat_map(|(group, length)| std::iter::repeat_n(group, usize::try_from(length).unwrap_or(0)));
        let elements = |list: &&ListArray| {
            let offsets = list.value_offsets();
            let (from, to) = (offsets[0] as usize, offsets[list.len()] as usize);
            list.values().slice(from, to - from)
        };
        let columns = lists.iter().map(elements).collect();
        Ok(self.keep(columns, rows)?)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> DataFusionResult<Vec<ArrayRef>> {
        let rows = values.first().map_or(0, |array| array.len());
        let Some(opt_filter) = opt_filter else {
            let offsets: Vec<usize> = (0..=rows).collect();
            return Ok(values.iter().map(|column| lists(Arc::clone(column), &offsets)).collect::<Result<_>>()?);
        };
        let passes = passes(opt_filter);
        let mut offsets = vec![0usize];
        offsets.extend(passes.iter().scan(0, |end, passes| {
            *end += usize::from(passes);
            Some(*end)
        }));
        let which = BooleanArray::new(passes, None);
        let state = values.iter().map(|column| lists(filter(column, &which)?, &offsets));
        Ok(state.collect::<Result<_>>()?)
    }

    /// Rows are copied once into the order, and once more into the values.
    fn size(&self) -> usize {
        2 * self.bytes + self.groups.capacity() * size_of::<u32>()
    }
}

/// A list for each group.
pub(super) fn lists(elements: ArrayRef, offsets: &[usize]) -> Result<ArrayRef> {
    let item = Arc::new(Field::new("item", elements.data_type().clone(), true));
    Ok(Arc::new(ListArray::try_new(item, list_offsets(offsets)?, elements, None)?))
}

pub(super) fn list_offsets(offsets: &[usize]) -> Result<OffsetBuffer<i32>> {
    let many = |_| Error::new(Kind::OutOfMemory, "the groups of one batch hold more than 2^31 rows");
    let offsets =
        offsets.iter().map(|i| i32::try_from(*i)).collect::<std::result::Result<Vec<_>, _>>().map_err(many)?;
    Ok(OffsetBuffer::new(offsets.into()))
}

pub(super) fn state(name: &str, columns: &[DataType]) -> Vec<FieldRef> {
    let field = |(i, column): (usize, &DataType)| {
        let item = Field::new("item", column.clone(), true);
        Arc::new(Field::new(format!("{name}[{i}]"), DataType::List(item.into()), true))
    };
    columns.iter().enumerate().map(field).collect()
}
