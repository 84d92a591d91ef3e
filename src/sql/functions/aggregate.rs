//! PostgreSQL's aggregates as DataFusion calls them: which one a row of pg_aggregate is, and how a call with DISTINCT, with
//! ORDER BY or over a frame is computed. Nothing here resolves or coerces; arguments come in the types of the row.
//!
//! Aggregates over JSON are given each value as `to_json` (json_agg, json_object_agg) or `to_jsonb` spells it, and each key
//! as text: [`spelt_by`] says so. Those over an ordered set are given their direct arguments, then the aggregated ones, and
//! WITHIN GROUP as ORDER BY. `count(*)` is given a constant.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, Int64Array};
use arrow::datatypes::{DataType, FieldRef, Int16Type, Int32Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::functions_aggregate::{count::count_udaf, min_max};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, GroupsAccumulator, ReversedUDAF, SetMonotonicity, Signature,
    StatisticsArgs, Volatility,
};

use crate::error::{Error, Kind, Result};
use crate::pgtype::{self, Ty, oid};
use crate::sql::image::{self, Proc};
use crate::sql::kernel::{Call, Env, Write};

mod collect;
mod exact;
mod extreme;
mod gather;
mod key;
mod logical;
mod ordered;
pub(crate) mod parts;
mod range;
mod single;
pub(super) mod state;
mod sum;
#[cfg(test)]
pub(super) mod tests;
mod variance;

pub(crate) use collect::is_structured;

use extreme::{End, Extreme};
use gather::{Finish, Gather, Order, Ordered};
use logical::{And, Or, Xor};
use single::{Replay, Single};
use state::stated;

/// The aggregate of a row of pg_proc, for arguments of these types. 0A000 for one that is not computed.
pub(crate) fn aggregate(
    proc: &'static Proc,
    arguments: &[(Ty, DataType)],
    result: (Ty, DataType),
) -> Result<Arc<AggregateUDF>> {
    let key = (proc.oid, arguments.to_vec(), result);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(aggregate) = known.get(&key) {
        return Ok(Arc::clone(aggregate));
    }
    let (_, arguments, result) = key.clone();
    let aggregate = Arc::new(AggregateUDF::new_from_impl(Aggregate::new(proc, arguments, result)?));
    // as many as statements are free to name
    if known.len() >= KNOWN_MAX {
        known.clear();
    }
    known.insert(key, Arc::clone(&aggregate));
    Ok(aggregate)
}

/// The row of pg_proc, the arguments' types and the result's, if it is one of PostgreSQL's.
pub(crate) fn of_udf(udf: &AggregateUDF) -> Option<(&'static Proc, Vec<Ty>, Ty)> {
    let aggregate = (udf.inner().as_ref() as &dyn std::any::Any).downcast_ref::<Aggregate>()?;
    let of = &aggregate.of;
    Some((of.proc, of.arguments.iter().map(|(ty, _)| *ty).collect(), of.result.0))
}

type Key = (u32, Vec<(Ty, DataType)>, (Ty, DataType));

/// One object for equal calls, so that DataFusion finds them equal at once.
static KNOWN: LazyLock<Mutex<HashMap<Key, Arc<AggregateUDF>>>> = LazyLock::new(Mutex::default);
const KNOWN_MAX: usize = 4096;

/// How the result lies, where that depends on how the arguments do; `None`: as [`pgtype::arrow`] says.
pub(crate) fn lies_as(proc: &Proc, arguments: &[(Ty, DataType)]) -> Option<DataType> {
    let row = image::aggregate(proc.oid)?;
    let lies = |i: usize| arguments.get(i).map(|(_, data_type)| data_type);
    let list = |item: &DataType, ty: Ty| {
        DataType::List(Arc::new(pgtype::field("item", Ty::of(pgtype::element(ty.oid).unwrap_or(ty.oid)), item.clone())))
    };
    match (row.transition, row.last) {
        ("numeric_avg_accum", "numeric_sum") => sum_lies(lies(0)?),
        // 2^63 values of 2^63
        ("int8_avg_accum", "numeric_poly_sum") => Some(DataType::Decimal128(38, 0)),
        ("array_agg_transfn" | "array_agg_array_transfn", _) => {
            let (ty, data_type) = arguments.first()?;
            Some(list(data_type, *ty))
        }
        (_, "mode_final") => lies(0).cloned(),
        (_, "percentile_disc_final") => lies(1).cloned(),
        (
            _,
            "percentile_disc_multi_final"
            | "percentile_cont_float8_multi_final"
            | "percentile_cont_interval_multi_final",
        ) => {
            let (ty, data_type) = arguments.get(1)?;
            let mut nested = list(data_type, *ty);
            let mut shape = lies(0)?;
            while let DataType::List(inner) = shape
                && matches!(inner.data_type(), DataType::List(_))
            {
                shape = inner.data_type();
                nested = list(&nested, *ty);
            }
            Some(nested)
        }
        _ if end(row.transition).is_some() => lies(0).cloned(),
        _ => None,
    }
}

/// The scale of what is summed, and room for more rows than there can be; bytes where no decimal has it.
fn sum_lies(data_type: &DataType) -> Option<DataType> {
    const MORE: u8 = 19;
    match data_type {
        DataType::Decimal128(precision, scale) if precision + MORE <= 38 => Some(DataType::Decimal128(38, *scale)),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) if precision + MORE <= 76 => {
            Some(DataType::Decimal256(76, *scale))
        }
        _ => None,
    }
}

/// The kernel that an argument of an aggregate over JSON goes through first, of whatever type it is, and what it gives;
/// `None` for what is taken as it is.
pub(crate) fn spelt_by(proc: &Proc, argument: usize) -> Option<(&'static str, Ty)> {
    Some(match (image::aggregate(proc.oid)?.transition, argument) {
        ("json_agg_transfn", 0) | ("json_object_agg_transfn", 1) => ("to_json", Ty::of(oid::JSON)),
        ("jsonb_agg_transfn", 0) | ("jsonb_object_agg_transfn", 1) => ("to_jsonb", Ty::of(oid::JSONB)),
        ("json_object_agg_transfn" | "jsonb_object_agg_transfn", 0) => ("json/key", Ty::TEXT),
        _ => return None,
    })
}

/// A call's types; what every accumulator of it is made for.
#[derive(Debug)]
struct Of {
    proc: &'static Proc,
    arguments: Vec<(Ty, DataType)>,
    result: (Ty, DataType),
    field: FieldRef,
    env: Env,
}

impl Of {
    fn collect<V: Write>(&self, rows: usize, values: impl Iterator<Item = Result<Option<V>>>) -> Result<ArrayRef> {
        let (result, result_type) = (self.field.as_ref(), self.result.0);
        V::collect(values, &Call { args: &[], types: &[], rows, result, result_type, env: &self.env })
    }

    /// The type of the one argument.
    fn argument(&self) -> Result<Ty> {
        let first = self.arguments.first().map(|(ty, _)| *ty);
        first.ok_or_else(|| Error::internal(format!("{} without an argument", self.proc.name)))
    }
}

/// An aggregate that needs its rows neither together nor in order.
trait Plain: fmt::Debug + Send + Sync {
    fn one(&self, of: &Arc<Of>) -> Box<dyn Accumulator>;
    fn groups(&self, of: &Arc<Of>) -> Box<dyn GroupsAccumulator>;
    /// Whether `one` takes rows back.
    fn removes(&self, of: &Of) -> bool;
    fn state(&self, name: &str, of: &Of) -> Vec<FieldRef>;
}

#[derive(Clone)]
enum How {
    /// DataFusion's own means the same, but for DISTINCT of values whose equality is not Arrow's.
    Native(Arc<dyn AggregateUDFImpl>),
    Plain(Arc<dyn Plain>),
    /// All rows of a group are needed at once.
    Together(Finish),
}

/// What an aggregate makes of the order of its rows and of equal ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cares {
    order: bool,
    duplicates: bool,
}

struct Aggregate {
    of: Arc<Of>,
    how: How,
    cares: Cares,
    signature: Signature,
}

impl Aggregate {
    fn new(proc: &'static Proc, arguments: Vec<(Ty, DataType)>, result: (Ty, DataType)) -> Result<Self> {
        let Some((how, cares)) = how(proc, &arguments, &result) else {
            let names: Vec<String> = arguments.iter().map(|(ty, _)| ty.name()).collect();
            let text = format!("aggregate function {}({}) is not supported yet", proc.name, names.join(", "));
            return Err(Error::new(Kind::Unsupported, text));
        };
        let field = Arc::new(pgtype::field(proc.name, result.0, result.1.clone()));
        let of = Arc::new(Of { proc, arguments, result, field, env: Env::plain() });
        Ok(Self { of, how, cares, signature: Signature::user_defined(Volatility::Immutable) })
    }

    /// Whether Arrow knows equal arguments as the types do.
    fn is_native(&self) -> bool {
        self.of.arguments.iter().all(|(ty, data_type)| key::is_native(*ty, data_type))
    }

    /// `Some` where the rows must be kept: what is made of them in the end.
    fn together(&self, distinct: bool, ordered: bool) -> Option<Finish> {
        let distinct = distinct && self.cares.duplicates;
        match &self.how {
            How::Together(finish) => Some(Arc::clone(finish)),
            How::Plain(plain) if distinct || ordered => {
                let plain = Arc::clone(plain);
                Some(Arc::new(move |rows, of| through(plain.as_ref(), rows, of)))
            }
            How::Native(_) if distinct && !self.is_native() => Some(Arc::new(|rows, _| Ok(counts(rows)))),
            How::Plain(_) | How::Native(_) => None,
        }
    }

    fn gather(&self, args: &AccumulatorArgs<'_>) -> DataFusionResult<Option<Gather>> {
        let order_bys = if self.cares.order { args.order_bys } else { &[] };
        let Some(finish) = self.together(args.is_distinct, !order_bys.is_empty()) else {
            return Ok(None);
        };
        let mut types: Vec<DataType> = args.expr_fields.iter().map(|field| field.data_type().clone()).collect();
        let mut by = vec![];
        for order in order_bys {
            types.push(order.expr.data_type(args.schema)?);
            let argument = args.exprs.iter().position(|expr| expr == &order.expr);
            by.push((order.options, argument.and_then(|i| self.of.arguments.get(i)).map(|(ty, _)| *ty)));
        }
        if by.is_empty()
            && image::aggregate(self.of.proc.oid).is_some_and(|row| row.kind != image::AggregateKind::Normal)
        {
            return Err(Error::internal(format!("{} over a set without an order", self.of.proc.name)).into());
        }
        let distinct = args.is_distinct.then(|| self.of.arguments.iter().map(|(ty, _)| *ty).collect());
        Ok(Some(Gather::new(&self.of, types, Order { by, distinct }, finish)))
    }
}

/// Another aggregate's values over rows that were put in order.
fn through(plain: &dyn Plain, rows: &Ordered<'_>, of: &Arc<Of>) -> Result<ArrayRef> {
    let mut groups = plain.groups(of);
    let arguments = rows.columns.get(..of.arguments.len()).unwrap_or(&rows.columns);
    let total = rows.offsets.len() - 1;
    let ends = rows.offsets.windows(2).enumerate();
    let indices: Vec<usize> = ends.flat_map(|(group, ends)| std::iter::repeat_n(group, ends[1] - ends[0])).collect();
    groups.update_batch(arguments, &indices, None, total)?;
    Ok(groups.evaluate(datafusion::logical_expr::EmitTo::All)?)
}

/// How many rows of each group are not NULL.
fn counts(rows: &Ordered<'_>) -> ArrayRef {
    let count = |ends: &[usize]| {
        let values = rows.columns[0].slice(ends[0], ends[1] - ends[0]);
        // no array has so many
        i64::try_from(values.len() - values.null_count()).unwrap_or(i64::MAX)
    };
    Arc::new(rows.offsets.windows(2).map(count).map(Some).collect::<Int64Array>())
}

/// Which end a `larger` or `smaller` function keeps.
fn end(transition: &str) -> Option<End> {
    let name = transition.trim_end_matches('r').trim_end_matches('e');
    match (name.ends_with("larg"), name.ends_with("small")) {
        (true, _) => Some(End::Greatest),
        (_, true) => Some(End::Least),
        _ => None,
    }
}

const ANY: Cares = Cares { order: false, duplicates: true };
const ORDER: Cares = Cares { order: true, duplicates: true };
const SET: Cares = Cares { order: false, duplicates: false };

/// `None` for an aggregate that is not computed.
fn how(proc: &Proc, arguments: &[(Ty, DataType)], result: &(Ty, DataType)) -> Option<(How, Cares)> {
    let row = image::aggregate(proc.oid)?;
    let plain = |plain: Box<dyn Plain>| Some(How::Plain(Arc::from(plain)));
    if matches!(row.transition, "int8inc" | "int8inc_any") {
        return Some((How::Native(Arc::clone(count_udaf().inner())), ANY));
    }
    if let Some(end) = end(row.transition) {
        return Some((extreme(end, arguments.first()?)?, SET));
    }
    if let Some(finish) = together(row.transition, row.last) {
        return Some((How::Together(finish), ORDER));
    }
    let exact = match (row.transition, row.last) {
        ("int2_sum", _) => plain(stated(sum::Whole::<Int16Type>::sum_bigint)),
        ("int4_sum", _) => plain(stated(sum::Whole::<Int32Type>::sum_bigint)),
        ("int8_avg_accum", "numeric_poly_sum") => plain(stated(sum::Whole::<Int64Type>::sum)),
        ("int8_avg_accum", _) => plain(stated(sum::Whole::<Int64Type>::avg)),
        ("int4_avg_accum", _) => plain(stated(sum::Whole::<Int32Type>::avg)),
        ("int2_avg_accum", _) => plain(stated(sum::Whole::<Int16Type>::avg)),
        ("numeric_avg_accum", "numeric_sum") => plain(stated(sum::Numerics::sum)),
        ("numeric_avg_accum", _) => plain(stated(sum::Numerics::avg)),
        ("interval_pl", _) => plain(stated(sum::Intervals::sum)),
        ("interval_accum", _) => plain(stated(sum::Intervals::avg)),
        ("cash_pl", _) if result.1 == DataType::Int64 => plain(stated(sum::Whole::<Int64Type>::sum_money)),
        ("int2_accum", last) => whole_variance::<Int16Type>(last).and_then(plain),
        ("int4_accum", last) => whole_variance::<Int32Type>(last).and_then(plain),
        ("int8_accum", last) => whole_variance::<Int64Type>(last).and_then(plain),
        ("numeric_accum", last) => numeric_variance(last).and_then(plain),
        ("int8inc_float8_float8", _) => plain(stated(variance::Pairs::rows)),
        ("int2xor", _) => plain(stated(logical::Integers::<Xor, Int16Type>::value::<i16>)),
        ("int4xor", _) => plain(stated(logical::Integers::<Xor, Int32Type>::value::<i32>)),
        ("int8xor", _) => plain(stated(logical::Integers::<Xor, Int64Type>::value::<i64>)),
        ("bitxor", _) => plain(stated(logical::Strings::<Xor>::value)),
        _ => None,
    };
    if let Some(how) = exact {
        return Some((how, ANY));
    }
    let idempotent = match row.transition {
        "booland_statefunc" => plain(stated(logical::Truths::and)),
        "boolor_statefunc" => plain(stated(logical::Truths::or)),
        "int2and" => plain(stated(logical::Integers::<And, Int16Type>::value::<i16>)),
        "int4and" => plain(stated(logical::Integers::<And, Int32Type>::value::<i32>)),
        "int8and" => plain(stated(logical::Integers::<And, Int64Type>::value::<i64>)),
        "bitand" => plain(stated(logical::Strings::<And>::value)),
        "int2or" => plain(stated(logical::Integers::<Or, Int16Type>::value::<i16>)),
        "int4or" => plain(stated(logical::Integers::<Or, Int32Type>::value::<i32>)),
        "int8or" => plain(stated(logical::Integers::<Or, Int64Type>::value::<i64>)),
        "bitor" => plain(stated(logical::Strings::<Or>::value)),
        _ => None,
    };
    if let Some(how) = idempotent {
        return Some((how, SET));
    }
    let float = match (row.transition, row.last) {
        ("float4pl", _) => plain(stated(|s: &sum::Float<f32>| Ok(s.sum))),
        ("float8pl", _) => plain(stated(|s: &sum::Float<f64>| Ok(s.sum))),
        ("float4_accum" | "float8_accum", last) => float_variance(last).and_then(plain),
        ("float8_regr_accum", last) => plain(stated(variance::Pairs::finish(last)?)),
        _ => None,
    };
    float.map(|how| (how, ORDER))
}

fn extreme(end: End, (ty, data_type): &(Ty, DataType)) -> Option<How> {
    if key::is_native(*ty, data_type) && *data_type != DataType::Boolean {
        let native = match end {
            End::Least => min_max::min_udaf(),
            End::Greatest => min_max::max_udaf(),
        };
        return Some(How::Native(Arc::clone(native.inner())));
    }
    let orders = match pgtype::element(ty.oid) {
        Some(_) => matches!(data_type, DataType::List(_)),
        // what lies as text but has neither the text's order nor a key cannot be ordered here
        None => matches!(data_type, DataType::Float32 | DataType::Float64) || super::key(ty.oid, data_type).is_some(),
    };
    let first = ty.oid == oid::BPCHAR;
    orders.then(|| How::Plain(Arc::new(Extreme { end, first })))
}

macro_rules! variances {
    ($last:expr, $prefixes:pat, $state:ty) => {
        match $last.rsplit_once("_var_").or_else(|| $last.rsplit_once("_stddev_")) {
            Some(($prefixes, "pop")) if $last.contains("_var_") => Some(stated(<$state>::var_pop)),
            Some(($prefixes, "samp")) if $last.contains("_var_") => Some(stated(<$state>::var_samp)),
            Some(($prefixes, "pop")) => Some(stated(<$state>::stddev_pop)),
            Some(($prefixes, "samp")) => Some(stated(<$state>::stddev_samp)),
            _ => None,
        }
    };
}

fn whole_variance<T>(last: &str) -> Option<Box<dyn Plain>>
where
    T: ArrowPrimitiveType + fmt::Debug,
    i128: From<T::Native>,
{
    variances!(last, "numeric" | "numeric_poly", variance::Whole<T>)
}

fn numeric_variance(last: &str) -> Option<Box<dyn Plain>> {
    variances!(last, "numeric", variance::Numerics)
}

fn float_variance(last: &str) -> Option<Box<dyn Plain>> {
    match last {
        "float8_avg" => Some(stated(variance::Float::avg)),
        _ => variances!(last, "float8", variance::Float),
    }
}

fn together(transition: &str, last: &str) -> Option<Finish> {
    let finish: fn(&Ordered<'_>, &Arc<Of>) -> Result<ArrayRef> = match (transition, last) {
        ("array_agg_transfn", _) => collect::array,
        ("array_agg_array_transfn", _) => collect::array_of_arrays,
        ("string_agg_transfn" | "bytea_string_agg_transfn", _) => collect::string,
        ("range_agg_transfn" | "multirange_agg_transfn", _) => range::union,
        ("range_intersect_agg_transfn" | "multirange_intersect_agg_transfn", _) => range::intersection,
        ("json_agg_transfn", _) => collect::json_array,
        ("jsonb_agg_transfn", _) => collect::jsonb_array,
        ("json_object_agg_transfn", _) => collect::json_object,
        ("jsonb_object_agg_transfn", _) => collect::jsonb_object,
        (_, "percentile_disc_final" | "percentile_disc_multi_final") => ordered::percentile_disc,
        (_, "percentile_cont_float8_final" | "percentile_cont_float8_multi_final") => ordered::percentile_cont,
        (_, "percentile_cont_interval_final" | "percentile_cont_interval_multi_final") => ordered::percentile_cont,
        (_, "mode_final") => ordered::mode,
        (_, "rank_final") => ordered::rank,
        (_, "dense_rank_final") => ordered::dense_rank,
        (_, "percent_rank_final") => ordered::percent_rank,
        (_, "cume_dist_final") => ordered::cume_dist,
        _ => return None,
    };
    Some(Arc::new(finish))
}

impl fmt::Debug for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.of.proc.name, self.of.proc.oid)
    }
}

impl PartialEq for Aggregate {
    fn eq(&self, other: &Self) -> bool {
        self.of.proc.oid == other.of.proc.oid
            && self.of.arguments == other.of.arguments
            && self.of.result == other.of.result
    }
}

impl Eq for Aggregate {}

impl Hash for Aggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.of.proc.oid.hash(state);
        self.of.arguments.hash(state);
    }
}

impl AggregateUDFImpl for Aggregate {
    fn name(&self) -> &str {
        self.of.proc.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.of.result.1.clone())
    }

    fn return_field(&self, _: &[FieldRef]) -> DataFusionResult<FieldRef> {
        let field = self.of.field.as_ref().clone();
        Ok(Arc::new(field.with_nullable(self.is_nullable())))
    }

    fn is_nullable(&self) -> bool {
        match &self.how {
            How::Native(native) => native.is_nullable(),
            How::Plain(_) | How::Together(_) => true,
        }
    }

    fn default_value(&self, data_type: &DataType) -> DataFusionResult<ScalarValue> {
        match &self.how {
            How::Native(native) => native.default_value(data_type),
            How::Plain(_) | How::Together(_) => ScalarValue::try_from(data_type),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> DataFusionResult<Box<dyn Accumulator>> {
        if let Some(gather) = self.gather(&args)? {
            return Ok(Box::new(Single::new(gather)));
        }
        match &self.how {
            How::Native(native) => native.accumulator(args),
            How::Plain(plain) => Ok(plain.one(&self.of)),
            How::Together(_) => Err(Error::internal("rows that were to be gathered").into()),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> DataFusionResult<Box<dyn Accumulator>> {
        match &self.how {
            How::Native(native) => native.create_sliding_accumulator(args),
            How::Plain(plain) if plain.removes(&self.of) => Ok(plain.one(&self.of)),
            How::Plain(plain) => {
                let (plain, of) = (Arc::clone(plain), Arc::clone(&self.of));
                Ok(Box::new(Replay::new(Box::new(move || plain.one(&of)))))
            }
            How::Together(finish) => {
                let (finish, of) = (Arc::clone(finish), Arc::clone(&self.of));
                let types: Vec<DataType> = args.expr_fields.iter().map(|field| field.data_type().clone()).collect();
                // DISTINCT and ORDER BY are refused in windows
                let make = move || -> Box<dyn Accumulator> {
                    let order = Order { by: vec![], distinct: None };
                    Box::new(Single::new(Gather::new(&of, types.clone(), order, Arc::clone(&finish))))
                };
                Ok(Box::new(Replay::new(Box::new(make))))
            }
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        match &self.how {
            How::Native(native) if self.together(args.is_distinct, false).is_none() => {
                native.groups_accumulator_supported(args)
            }
            How::Native(_) | How::Plain(_) | How::Together(_) => true,
        }
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> DataFusionResult<Box<dyn GroupsAccumulator>> {
        if let Some(gather) = self.gather(&args)? {
            return Ok(Box::new(gather));
        }
        match &self.how {
            How::Native(native) => native.create_groups_accumulator(args),
            How::Plain(plain) => Ok(plain.groups(&self.of)),
            How::Together(_) => Err(Error::internal("rows that were to be gathered").into()),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> DataFusionResult<Vec<FieldRef>> {
        let ordering = if self.cares.order { args.ordering_fields } else { &[] };
        if self.together(args.is_distinct, !ordering.is_empty()).is_some() {
            let columns = args.input_fields.iter().chain(ordering).map(|field| field.data_type().clone());
            return Ok(gather::state(args.name, &columns.collect::<Vec<_>>()));
        }
        match &self.how {
            How::Native(native) => native.state_fields(args),
            How::Plain(plain) => Ok(plain.state(args.name, &self.of)),
            How::Together(_) => Err(Error::internal("rows that were to be gathered").into()),
        }
    }

    /// Never required of the input: rows are ordered here, whatever partitions they come from.
    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        match self.cares.order {
            true => AggregateOrderSensitivity::Beneficial,
            false => AggregateOrderSensitivity::Insensitive,
        }
    }

    fn with_beneficial_ordering(self: Arc<Self>, _: bool) -> DataFusionResult<Option<Arc<dyn AggregateUDFImpl>>> {
        Ok(Some(self))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        match self.cares.order {
            true => ReversedUDAF::NotSupported,
            false => ReversedUDAF::Identical,
        }
    }

    /// DataFusion rewrites DISTINCT to a GROUP BY, which knows equal values by Arrow's equality and gives them in any order.
    /// An ORDER BY keeps it from that, and is what PostgreSQL does.
    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        if !self.cares.duplicates || self.is_native() && !self.cares.order {
            return None;
        }
        Some(Box::new(|mut call: AggregateFunction, _| {
            if call.params.distinct && call.params.order_by.is_empty() {
                call.params.order_by =
                    call.params.args.iter().map(|argument| argument.clone().sort(true, false)).collect();
            }
            Ok(Expr::AggregateFunction(call))
        }))
    }

    fn is_descending(&self) -> Option<bool> {
        match &self.how {
            How::Native(native) => native.is_descending(),
            How::Plain(_) | How::Together(_) => None,
        }
    }

    fn value_from_stats(&self, statistics: &StatisticsArgs) -> Option<ScalarValue> {
        match &self.how {
            How::Native(native) => native.value_from_stats(statistics),
            How::Plain(_) | How::Together(_) => None,
        }
    }

    /// Over frames it is never said to be in order: DataFusion forgets the NULL of a frame without rows.
    fn set_monotonicity(&self, _: &DataType) -> SetMonotonicity {
        SetMonotonicity::NotMonotonic
    }
}
