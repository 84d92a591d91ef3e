//! PostgreSQL's window functions as DataFusion calls them (windowfuncs.c): DataFusion's own where they number rows, with the
//! types that PostgreSQL gives; the others by the argument's value in each row, its NULLs and its errors.

use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, PrimitiveArray, new_null_array};
use arrow::compute::{SortOptions, cast, interleave};
use arrow::datatypes::{DataType, FieldRef, Int32Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::functions_window::{cume_dist::cume_dist_udwf, rank, row_number::row_number_udwf};
use datafusion::logical_expr::function::{ExpressionArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    LimitEffect, PartitionEvaluator, Signature, Volatility, WindowFunctionDefinition, WindowUDF, WindowUDFImpl,
};
use datafusion::physical_expr::PhysicalExpr;

use super::aggregate;
use super::aggregate::state::scalar;
use crate::error::{Error, Kind, Result};
use crate::pgtype::{self, Ty};
use crate::sql::image::{self, Proc};

pub(crate) mod framed;
#[cfg(test)]
mod tests;

/// The window function of a row of pg_proc, or the aggregate, for arguments of these types. 0A000 for one that is not
/// computed.
pub(crate) fn window(
    proc: &'static Proc,
    arguments: &[(Ty, DataType)],
    result: (Ty, DataType),
) -> Result<WindowFunctionDefinition> {
    if proc.kind == image::Kind::Aggregate {
        return Ok(WindowFunctionDefinition::AggregateUDF(aggregate::aggregate(proc, arguments, result)?));
    }
    let how = match proc.source.as_str() {
        "window_row_number" => How::Numbers(row_number_udwf()),
        "window_rank" => How::Numbers(rank::rank_udwf()),
        "window_dense_rank" => How::Numbers(rank::dense_rank_udwf()),
        "window_percent_rank" => How::Numbers(rank::percent_rank_udwf()),
        "window_cume_dist" => How::Numbers(cume_dist_udwf()),
        "window_ntile" => How::Ntile,
        "window_lag" | "window_lag_with_offset" | "window_lag_with_offset_and_default" => How::Shift { back: true },
        "window_lead" | "window_lead_with_offset" | "window_lead_with_offset_and_default" => How::Shift { back: false },
        "window_first_value" => How::OfFrame(Nth::First),
        "window_last_value" => How::OfFrame(Nth::Last),
        "window_nth_value" => How::OfFrame(Nth::Argument),
        _ => {
            let text = format!("window function {} is not supported yet", proc.name);
            return Err(Error::new(Kind::Unsupported, text));
        }
    };
    let signature = match arguments.is_empty() {
        true => Signature::nullary(Volatility::Immutable),
        false => Signature::user_defined(Volatility::Immutable),
    };
    let window = Window { proc, arguments: arguments.to_vec(), result, how, signature };
    Ok(WindowFunctionDefinition::WindowUDF(Arc::new(WindowUDF::new_from_impl(window))))
}

/// How the result lies, where that depends on how its arguments do: it is the value of the first in some row, or the default.
pub(crate) fn lies_as(proc: &Proc, arguments: &[(Ty, DataType)]) -> Option<DataType> {
    let of_value = image::proc(proc.oid).is_some_and(|proc| pgtype::is_polymorphic(proc.result));
    let (_, data_type) = arguments.first().filter(|_| of_value)?;
    // a default that lies otherwise: both as any value of their type
    arguments.get(2).is_none_or(|(_, default)| default == data_type).then(|| data_type.clone())
}

#[derive(Clone, Debug)]
enum How {
    /// DataFusion's, in another type.
    Numbers(Arc<WindowUDF>),
    Ntile,
    /// lag, else lead.
    Shift {
        back: bool,
    },
    OfFrame(Nth),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Nth {
    First,
    Last,
    Argument,
}

#[derive(Debug)]
struct Window {
    proc: &'static Proc,
    arguments: Vec<(Ty, DataType)>,
    result: (Ty, DataType),
    how: How,
    signature: Signature,
}

impl PartialEq for Window {
    fn eq(&self, other: &Self) -> bool {
        self.proc.oid == other.proc.oid && self.arguments == other.arguments && self.result == other.result
    }
}

impl Eq for Window {}

impl Hash for Window {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.proc.oid.hash(state);
        self.arguments.hash(state);
    }
}

impl WindowUDFImpl for Window {
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

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs) -> DataFusionResult<Box<dyn PartitionEvaluator>> {
        let data_type = self.result.1.clone();
        Ok(match &self.how {
            How::Numbers(inner) => Box::new(Numbers { inner: inner.partition_evaluator_factory(args)?, data_type }),
            How::Ntile => Box::new(Ntile),
            How::Shift { back } => Box::new(Shift { back: *back, data_type }),
            How::OfFrame(nth) => Box::new(OfFrame { nth: *nth, row: 0, data_type }),
        })
    }

    fn sort_options(&self) -> Option<SortOptions> {
        match &self.how {
            How::Numbers(inner) => inner.sort_options(),
            How::Ntile | How::Shift { .. } | How::OfFrame(_) => None,
        }
    }

    fn limit_effect(&self, args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        match &self.how {
            How::Numbers(inner) => inner.inner().limit_effect(args),
            How::Ntile | How::Shift { .. } | How::OfFrame(_) => LimitEffect::Unknown,
        }
    }
}

/// DataFusion counts without a sign.
#[derive(Debug)]
struct Numbers {
    inner: Box<dyn PartitionEvaluator>,
    data_type: DataType,
}

impl PartitionEvaluator for Numbers {
    fn get_range(&self, idx: usize, rows: usize) -> DataFusionResult<Range<usize>> {
        self.inner.get_range(idx, rows)
    }

    fn is_causal(&self) -> bool {
        self.inner.is_causal()
    }

    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> DataFusionResult<ArrayRef> {
        Ok(cast(&self.inner.evaluate_all(values, rows)?, &self.data_type)?)
    }

    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> DataFusionResult<ScalarValue> {
        self.inner.evaluate(values, range)?.cast_to(&self.data_type)
    }

    fn evaluate_all_with_rank(&self, rows: usize, ranks: &[Range<usize>]) -> DataFusionResult<ArrayRef> {
        Ok(cast(&self.inner.evaluate_all_with_rank(rows, ranks)?, &self.data_type)?)
    }

    fn supports_bounded_execution(&self) -> bool {
        self.inner.supports_bounded_execution()
    }

    fn uses_window_frame(&self) -> bool {
        self.inner.uses_window_frame()
    }

    fn include_rank(&self) -> bool {
        self.inner.include_rank()
    }
}

fn integers(values: &[ArrayRef], i: usize) -> Result<&PrimitiveArray<Int32Type>> {
    let array = values.get(i).and_then(|array| array.as_primitive_opt::<Int32Type>());
    array.ok_or_else(|| Error::internal(format!("a window function wants an integer as argument {i}")))
}

fn value(values: &[ArrayRef]) -> Result<&ArrayRef> {
    values.first().ok_or_else(|| Error::internal("a window function without its argument"))
}

/// The number of buckets is read in the partition's first row; the first buckets hold one row more where they are not
/// filled evenly.
#[derive(Debug)]
struct Ntile;

impl PartitionEvaluator for Ntile {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> DataFusionResult<ArrayRef> {
        let buckets = integers(values, 0)?;
        if rows == 0 || buckets.is_null(0) {
            return Ok(new_null_array(&DataType::Int32, rows));
        }
        let buckets = usize::try_from(buckets.value(0)).ok().filter(|buckets| *buckets > 0);
        let Some(buckets) = buckets else {
            return Err(Error::new(Kind::NtileArgument, "argument of ntile must be greater than zero").into());
        };
        let (size, larger) = (rows / buckets, rows % buckets);
        let bucket = |row: usize| match row < larger * (size + 1) {
            true => row / (size + 1),
            false => larger + (row - larger * (size + 1)) / size,
        };
        // at most as many as buckets, which were an int4
        Ok(Arc::new((0..rows).map(|row| bucket(row) as i32 + 1).collect::<Int32Array>()))
    }
}

/// The value so many rows before or after each row; beyond the partition the default, which is that row's own.
#[derive(Debug)]
struct Shift {
    back: bool,
    data_type: DataType,
}

impl PartitionEvaluator for Shift {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> DataFusionResult<ArrayRef> {
        let array = value(values)?;
        let offsets = if values.len() > 1 { Some(integers(values, 1)?) } else { None };
        let nothing = new_null_array(&self.data_type, 1);
        let default = values.get(2).unwrap_or(&nothing);
        let own_default = values.len() > 2;
        let place = |row: usize| {
            let offset = match offsets {
                Some(offsets) if offsets.is_null(row) => return (2, 0),
                Some(offsets) => i64::from(offsets.value(row)),
                None => 1,
            };
            // rows of one partition are far fewer than an i64 counts
            let target = row as i64 + if self.back { -offset } else { offset };
            match usize::try_from(target) {
                Ok(target) if target < rows => (0, target),
                _ if own_default => (1, row),
                _ => (2, 0),
            }
        };
        let places: Vec<(usize, usize)> = (0..rows).map(place).collect();
        Ok(interleave(&[array.as_ref(), default.as_ref(), nothing.as_ref()], &places)?)
    }
}

/// A value of the frame by its place in it.
#[derive(Debug)]
struct OfFrame {
    nth: Nth,
    /// Rows are asked for in their order.
    row: usize,
    data_type: DataType,
}

impl PartitionEvaluator for OfFrame {
    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> DataFusionResult<ScalarValue> {
        let row = self.row;
        self.row += 1;
        let null = || ScalarValue::try_from(&self.data_type);
        let place = match self.nth {
            Nth::First => range.start,
            Nth::Last => match range.end.checked_sub(1) {
                Some(last) => last,
                None => return null(),
            },
            Nth::Argument => {
                let nth = integers(values, 1)?;
                if nth.is_null(row) {
                    return null();
                }
                let nth = usize::try_from(nth.value(row)).ok().filter(|nth| *nth > 0);
                let Some(nth) = nth else {
                    let text = "argument of nth_value must be greater than zero";
                    return Err(Error::new(Kind::NthValueArgument, text).into());
                };
                range.start + nth - 1
            }
        };
        match range.contains(&place) {
            true => scalar(value(values)?, place),
            false => null(),
        }
    }

    fn uses_window_frame(&self) -> bool {
        true
    }
}
