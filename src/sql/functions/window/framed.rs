//! Window functions and aggregates over frames that DataFusion does not have: RANGE with an offset (by the type's own
//! `in_range`), EXCLUDE, offsets that are no literals. A whole partition at once (nodeWindowAgg.c).
//!
//! A call is given its arguments, then FILTER's condition, the keys by which rows are peers, for RANGE the value that is
//! ordered by, and the offsets.

use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt64Array};
use arrow::compute::{filter, take};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema};
use arrow::row::{RowConverter, SortField};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::function::{ExpressionArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, LimitEffect, PartitionEvaluator, Signature, Volatility, WindowFunctionDefinition,
    WindowUDF, WindowUDFImpl,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::Column;

use super::super::aggregate;
use super::super::aggregate::state::scalar;
use super::{Nth, integers};
use crate::error::{Error, Kind, Result};
use crate::pgtype::{self, Ty};
use crate::sql::expr::{Exclude, FrameUnits};
use crate::sql::functions;
use crate::sql::image::{self, Proc};
use crate::sql::kernel::{Arg, Call, Env};

/// The rows that are computed over, for each row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Frame {
    pub(crate) units: FrameUnits,
    pub(crate) start: Edge,
    pub(crate) end: Edge,
    pub(crate) exclude: Exclude,
    pub(crate) filtered: bool,
    /// How many keys tell peers.
    pub(crate) keys: usize,
    /// For RANGE with an offset.
    pub(crate) range: Option<RangeKey>,
}

/// The offset of each, where it has one, is an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Edge {
    UnboundedPreceding,
    Preceding,
    CurrentRow,
    Following,
    UnboundedFollowing,
}

impl Edge {
    fn has_offset(self) -> bool {
        matches!(self, Self::Preceding | Self::Following)
    }
}

/// What RANGE orders by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RangeKey {
    pub(crate) key: Ty,
    pub(crate) offset: Ty,
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
}

impl RangeKey {
    fn proc(&self) -> Option<&'static Proc> {
        let wanted = [self.key.oid, self.key.oid, self.offset.oid];
        image::procs("in_range").iter().find(|proc| proc.arguments.starts_with(&wanted)).copied()
    }
}

/// `what`: starting, ending.
pub(crate) fn null(what: &str) -> Error {
    Error::new(Kind::NullNotAllowed, format!("frame {what} offset must not be null"))
}

pub(crate) fn negative(what: &str) -> Error {
    Error::new(Kind::FrameOffset, format!("frame {what} offset must not be negative"))
}

/// `None` where the function pays no heed to frames: it numbers rows.
pub(crate) fn framed(
    proc: &'static Proc,
    arguments: &[(Ty, DataType)],
    result: (Ty, DataType),
    frame: Frame,
) -> Result<Option<WindowFunctionDefinition>> {
    let of = match (proc.kind, proc.source.as_str()) {
        (image::Kind::Aggregate, _) => {
            let function = aggregate::aggregate(proc, arguments, result.clone())?;
            Of::Aggregate(aggregate_expr(function, arguments)?)
        }
        (_, "window_first_value") => Of::Nth(Nth::First),
        (_, "window_last_value") => Of::Nth(Nth::Last),
        (_, "window_nth_value") => Of::Nth(Nth::Argument),
        _ => return Ok(None),
    };
    let signature = Signature::user_defined(Volatility::Immutable);
    let framed = Framed { proc, arguments: arguments.to_vec(), result, of, frame, signature };
    Ok(Some(WindowFunctionDefinition::WindowUDF(Arc::new(WindowUDF::new_from_impl(framed)))))
}

/// The aggregate over columns that lie as its arguments.
fn aggregate_expr(
    function: Arc<AggregateUDF>,
    arguments: &[(Ty, DataType)],
) -> DataFusionResult<Arc<AggregateFunctionExpr>> {
    let name = |i: usize| format!("a{i}");
    let fields = arguments.iter().enumerate().map(|(i, (ty, lies))| pgtype::field(&name(i), *ty, lies.clone()));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let columns = (0..arguments.len()).map(|i| Arc::new(Column::new(&name(i), i)) as Arc<dyn PhysicalExpr>);
    let builder = AggregateExprBuilder::new(function, columns.collect()).schema(schema).alias("framed");
    Ok(Arc::new(builder.build()?))
}

#[derive(Clone, Debug)]
enum Of {
    Aggregate(Arc<AggregateFunctionExpr>),
    Nth(Nth),
}

#[derive(Debug)]
struct Framed {
    proc: &'static Proc,
    arguments: Vec<(Ty, DataType)>,
    result: (Ty, DataType),
    of: Of,
    frame: Frame,
    signature: Signature,
}

impl PartialEq for Framed {
    fn eq(&self, other: &Self) -> bool {
        self.proc.oid == other.proc.oid
            && self.arguments == other.arguments
            && self.result == other.result
            && self.frame == other.frame
    }
}

impl Eq for Framed {}

impl Hash for Framed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.proc.oid.hash(state);
        self.arguments.hash(state);
        self.frame.hash(state);
    }
}

impl WindowUDFImpl for Framed {
    fn name(&self) -> &str {
        self.proc.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn expressions(&self, args: ExpressionArgs) -> Vec<Arc<dyn PhysicalExpr>> {
        args.input_exprs().to_vec()
    }

    fn field(&self, args: WindowUDFFieldArgs) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(pgtype::field(args.name(), self.result.0, self.result.1.clone())))
    }

    fn partition_evaluator(&self, _: PartitionEvaluatorArgs) -> DataFusionResult<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Partition {
            of: self.of.clone(),
            arguments: self.arguments.len(),
            data_type: self.result.1.clone(),
            frame: self.frame.clone(),
        }))
    }

    fn limit_effect(&self, _: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        LimitEffect::Unknown
    }
}

#[derive(Debug)]
struct Partition {
    of: Of,
    arguments: usize,
    data_type: DataType,
    frame: Frame,
}

impl PartitionEvaluator for Partition {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> DataFusionResult<ArrayRef> {
        Ok(self.compute(values, rows)?)
    }
}

impl Partition {
    fn compute(&self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let mut rest = values.iter();
        let arguments: Vec<ArrayRef> = rest.by_ref().take(self.arguments).cloned().collect();
        let filter = if self.frame.filtered { Some(next(&mut rest)?.as_boolean().clone()) } else { None };
        let keys: Vec<ArrayRef> = rest.by_ref().take(self.frame.keys).cloned().collect();
        let frames = Frames::of(&self.frame, &keys, rows, rest)?;
        let mut found: Vec<ScalarValue> = Vec::with_capacity(rows);
        match &self.of {
            Of::Nth(nth) => {
                for row in 0..rows {
                    found.push(match nth_place(*nth, &arguments, row, &frames.of_row(row))? {
                        Some(place) => scalar(super::value(&arguments)?, place)?,
                        None => ScalarValue::try_from(&self.data_type)?,
                    });
                }
            }
            Of::Aggregate(expr) => {
                let mut running = Running { expr, arguments: &arguments, filter: filter.as_ref(), state: None };
                for row in 0..rows {
                    found.push(running.over(frames.of_row(row))?);
                }
            }
        }
        match found.is_empty() {
            true => Ok(arrow::array::new_empty_array(&self.data_type)),
            false => Ok(ScalarValue::iter_to_array(found)?),
        }
    }
}

fn next<'v>(rest: &mut impl Iterator<Item = &'v ArrayRef>) -> Result<&'v ArrayRef> {
    rest.next().ok_or_else(|| Error::internal("a window frame without its argument"))
}

/// The row of the frame that the function gives.
fn nth_place(nth: Nth, arguments: &[ArrayRef], row: usize, ranges: &[Range<usize>]) -> Result<Option<usize>> {
    let nth = match nth {
        Nth::First => 0,
        Nth::Last => return Ok(ranges.last().map(|range| range.end - 1)),
        Nth::Argument => {
            let nth = integers(arguments, 1)?;
            if nth.is_null(row) {
                return Ok(None);
            }
            let nth = usize::try_from(nth.value(row)).ok().and_then(|nth| nth.checked_sub(1));
            let text = "argument of nth_value must be greater than zero";
            nth.ok_or_else(|| Error::new(Kind::NthValueArgument, text))?
        }
    };
    let mut before = nth;
    for range in ranges {
        if before < range.len() {
            return Ok(Some(range.start + before));
        }
        before -= range.len();
    }
    Ok(None)
}

/// An aggregate over one frame after another: what enters is added and, where the aggregate can take back, what leaves is
/// taken; else it is computed anew.
struct Running<'p> {
    expr: &'p AggregateFunctionExpr,
    arguments: &'p [ArrayRef],
    filter: Option<&'p BooleanArray>,
    state: Option<(Box<dyn Accumulator>, Vec<Range<usize>>, ScalarValue)>,
}

impl Running<'_> {
    fn over(&mut self, ranges: Vec<Range<usize>>) -> Result<ScalarValue> {
        if let Some((mut accumulator, before, value)) = self.state.take() {
            if before == ranges {
                self.state = Some((accumulator, before, value.clone()));
                return Ok(value);
            }
            if let ([old], [new]) = (before.as_slice(), ranges.as_slice())
                && old.start <= new.start
                && new.start <= old.end
                && old.end <= new.end
                && (old.start == new.start || accumulator.supports_retract_batch())
            {
                if old.start < new.start {
                    accumulator.retract_batch(&self.rows(old.start..new.start)?)?;
                }
                accumulator.update_batch(&self.rows(old.end..new.end)?)?;
                return self.kept(accumulator, ranges);
            }
        }
        let mut accumulator = match ranges.len() {
            1 => self.expr.create_sliding_accumulator(),
            _ => self.expr.create_accumulator(),
        }?;
        for range in &ranges {
            accumulator.update_batch(&self.rows(range.clone())?)?;
        }
        self.kept(accumulator, ranges)
    }

    fn kept(&mut self, mut accumulator: Box<dyn Accumulator>, ranges: Vec<Range<usize>>) -> Result<ScalarValue> {
        let value = accumulator.evaluate()?;
        self.state = Some((accumulator, ranges, value.clone()));
        Ok(value)
    }

    /// The arguments in those rows that FILTER leaves.
    fn rows(&self, range: Range<usize>) -> Result<Vec<ArrayRef>> {
        let slice = |array: &ArrayRef| array.slice(range.start, range.len());
        let Some(counted) = self.filter else { return Ok(self.arguments.iter().map(slice).collect()) };
        let counted = counted.slice(range.start, range.len());
        self.arguments.iter().map(|array| Ok(filter(&slice(array), &counted)?)).collect()
    }
}

/// The frame of each row of a partition.
struct Frames<'p> {
    frame: &'p Frame,
    rows: usize,
    /// The group of peers that each row belongs to, and where each group starts; the number of rows at the end.
    group: Vec<usize>,
    starts: Vec<usize>,
    /// For RANGE with an offset: the first row of each row's frame, and the one after its last.
    first: Option<Vec<usize>>,
    last: Option<Vec<usize>>,
    offsets: [usize; 2],
}

impl<'p> Frames<'p> {
    fn of<'v>(
        frame: &'p Frame,
        keys: &[ArrayRef],
        rows: usize,
        rest: impl Iterator<Item = &'v ArrayRef>,
    ) -> Result<Self> {
        let (group, starts) = peers(keys, rows)?;
        let mut frames = Self { frame, rows, group, starts, first: None, last: None, offsets: [0; 2] };
        let mut rest = rest;
        let ordered = match frame.range {
            Some(_) => Some(Arc::clone(next(&mut rest)?)),
            None => None,
        };
        if rows == 0 {
            return Ok(frames);
        }
        for (i, edge, what) in [(0, frame.start, "starting"), (1, frame.end, "ending")] {
            if !edge.has_offset() {
                continue;
            }
            // it reads no column: the same in every row
            let offset = next(&mut rest)?.slice(0, 1);
            if offset.is_null(0) {
                return Err(null(what));
            }
            if let (Some(range), Some(ordered)) = (&frame.range, &ordered) {
                let search = Search { range, ordered, offset, edge };
                let found = search.all(i == 0)?;
                *(if i == 0 { &mut frames.first } else { &mut frames.last }) = Some(found);
                continue;
            }
            let wrong = || Error::internal(format!("a frame offset of {}", offset.data_type()));
            let number = offset.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?.value(0);
            if number < 0 {
                return Err(negative(what));
            }
            // none is as far as a usize counts
            frames.offsets[i] = usize::try_from(number).unwrap_or(usize::MAX);
        }
        Ok(frames)
    }

    /// In order, none empty.
    fn of_row(&self, row: usize) -> Vec<Range<usize>> {
        let (start, end) = (self.start(row).min(self.rows), self.end(row).min(self.rows));
        let group = self.group[row];
        let peers = self.starts[group]..self.starts[group + 1];
        let without = |out: Range<usize>| [start..end.min(out.start), start.max(out.end)..end];
        let parts = match self.frame.exclude {
            Exclude::NoOthers => std::iter::once(start..end).collect(),
            Exclude::CurrentRow => without(row..row + 1).to_vec(),
            Exclude::Group => without(peers).to_vec(),
            Exclude::Ties => {
                let [before, after] = without(peers);
                let own = if start <= row && row < end { row..row + 1 } else { row..row };
                vec![before, own, after]
            }
        };
        parts.into_iter().filter(|range| range.start < range.end).collect()
    }

    fn start(&self, row: usize) -> usize {
        if let Some(first) = &self.first {
            return first[row];
        }
        let by = self.offsets[0];
        match (self.frame.units, self.frame.start) {
            (_, Edge::UnboundedPreceding | Edge::UnboundedFollowing) => 0,
            (FrameUnits::Rows, Edge::Preceding) => row.saturating_sub(by),
            (FrameUnits::Rows, Edge::CurrentRow) => row,
            (FrameUnits::Rows, Edge::Following) => row.saturating_add(by),
            (_, Edge::Preceding) => self.starts[self.group[row].saturating_sub(by)],
            (_, Edge::CurrentRow) => self.starts[self.group[row]],
            (_, Edge::Following) => self.group_start(self.group[row].saturating_add(by)),
        }
    }

    fn end(&self, row: usize) -> usize {
        if let Some(last) = &self.last {
            return last[row];
        }
        let by = self.offsets[1];
        match (self.frame.units, self.frame.end) {
            (_, Edge::UnboundedPreceding | Edge::UnboundedFollowing) => self.rows,
            (FrameUnits::Rows, Edge::Preceding) => (row + 1).saturating_sub(by),
            (FrameUnits::Rows, Edge::CurrentRow) => row + 1,
            (FrameUnits::Rows, Edge::Following) => row.saturating_add(by).saturating_add(1),
            (_, Edge::Preceding) => self.group_start((self.group[row] + 1).saturating_sub(by)),
            (_, Edge::CurrentRow) => self.starts[self.group[row] + 1],
            (_, Edge::Following) => self.group_start(self.group[row].saturating_add(by).saturating_add(1)),
        }
    }

    fn group_start(&self, group: usize) -> usize {
        self.starts.get(group).copied().unwrap_or(self.rows)
    }
}

/// Rows that are equal in all keys, which stand together.
fn peers(keys: &[ArrayRef], rows: usize) -> Result<(Vec<usize>, Vec<usize>)> {
    if keys.is_empty() {
        return Ok((vec![0; rows], vec![0, rows]));
    }
    let fields = keys.iter().map(|key| SortField::new(key.data_type().clone())).collect();
    let keys = RowConverter::new(fields)?.convert_columns(keys)?;
    let (mut group, mut starts) = (Vec::with_capacity(rows), vec![0]);
    for row in 0..rows {
        if row > 0 && keys.row(row) != keys.row(row - 1) {
            starts.push(row);
        }
        group.push(starts.len() - 1);
    }
    starts.push(rows);
    Ok((group, starts))
}

/// Where in the order the values stand that `in_range` lets into a row's frame.
struct Search<'p> {
    range: &'p RangeKey,
    ordered: &'p ArrayRef,
    offset: ArrayRef,
    edge: Edge,
}

impl Search<'_> {
    /// For each row the first row that is in its frame, or the one after the last: by halves, all rows at once.
    fn all(&self, first: bool) -> Result<Vec<usize>> {
        let rows = self.ordered.len();
        let (mut low, mut high) = (vec![0; rows], vec![rows; rows]);
        loop {
            let open: Vec<usize> = (0..rows).filter(|row| low[*row] < high[*row]).collect();
            if open.is_empty() {
                return Ok(low);
            }
            let middle: Vec<usize> = open.iter().map(|row| usize::midpoint(low[*row], high[*row])).collect();
            let reached = self.reached(&middle, &open, first)?;
            for ((row, middle), reached) in open.into_iter().zip(middle).zip(reached) {
                match reached {
                    true => high[row] = middle,
                    false => low[row] = middle + 1,
                }
            }
        }
    }

    /// Whether the bound lies at or before `at`: false up to it, true from it on (`update_frameheadpos` and
    /// `update_frametailpos`).
    fn reached(&self, at: &[usize], current: &[usize], first: bool) -> Result<Vec<bool>> {
        let places = |all: &[usize]| all.iter().map(|i| *i as u64).collect::<UInt64Array>();
        let value = take(self.ordered, &places(at), None)?;
        let base = take(self.ordered, &places(current), None)?;
        // of a descending order, offsets and comparisons are the other way round
        let subtracted = (self.edge == Edge::Preceding) != self.range.descending;
        let less = first == self.range.descending;
        let flag = |flag: bool| Arg::constant(Arc::new(BooleanArray::from(vec![flag])));
        let wrong = || Error::unsupported(format!("RANGE with an offset over {}", self.range.key.name()));
        let proc = self.range.proc().ok_or_else(wrong)?;
        let kernel = functions::kernel(&proc.source).ok_or_else(wrong)?;
        let both: BooleanArray = (0..at.len()).map(|i| Some(value.is_valid(i) && base.is_valid(i))).collect();
        let present = |array: &ArrayRef| -> Result<Arg> { Ok(Arg::array(filter(array, &both)?)) };
        let rows = both.true_count();
        let mut within = vec![].into_iter();
        if rows > 0 {
            let offset = Arg::constant(Arc::clone(&self.offset));
            let args = [present(&value)?, present(&base)?, offset, flag(subtracted), flag(less)];
            let types = [self.range.key, self.range.key, self.range.offset, Ty::BOOL, Ty::BOOL];
            let result = Field::new("in_range", DataType::Boolean, true);
            let env = Env::plain();
            let call = Call { args: &args, types: &types, rows, result: &result, result_type: Ty::BOOL, env: &env };
            let found = kernel(&call)?;
            within = found.as_boolean().iter().map(|within| within == Some(true)).collect::<Vec<_>>().into_iter();
        }
        let reached = (0..at.len()).map(|i| match (value.is_valid(i), base.is_valid(i)) {
            (true, true) => within.next().unwrap_or(false) == first,
            // NULLs are peers of each other and beyond the reach of all others
            (true, false) if self.range.nulls_first => true,
            (false, true) if !self.range.nulls_first => true,
            (false, false) => first,
            _ => false,
        });
        Ok(reached.collect())
    }
}
