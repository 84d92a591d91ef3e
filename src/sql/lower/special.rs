//! What the grammar has beside functions (ARRAY[…], ROW, subscripts, ANY, NULLIF, GREATEST …) as functions of DataFusion's,
//! over whole arrays. They have no row in pg_proc and are named for what was written.

use std::any::Any;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int8Array, Int32Array, ListArray, StructArray, UInt32Array,
    new_empty_array, new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::kernels::zip::zip;
use arrow::compute::{cast, is_not_null, nullif, take};
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type};
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::compare::Comparison;
use super::{any, array, each, function};
use crate::error::{Error, Kind, Result};
use crate::pgtype::{self, Ty};
use crate::sql::kernel::{Arg, CONSTANT_BYTES_MAX, Call, Env};
use crate::sql::numeric::Numeric;

/// One of them, with the type of what it gives.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Special {
    name: &'static str,
    pub(super) op: Op,
    result: FieldRef,
    signature: Signature,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Op {
    /// A boolean as a number, so that the optimizer does not take a CASE over it for AND and OR …
    Flag,
    /// … and back.
    Truth,
    /// The first argument that is not NULL; all are computed.
    Coalesce,
    AnyOf {
        comparison: Comparison,
        all: bool,
    },
    /// `(a, b) op ANY (array of records)`: arguments are the row's fields, then the array.
    AnyRow {
        comparisons: Vec<Comparison>,
        all: bool,
    },
    NullIf(Comparison),
    Distinct {
        comparison: Comparison,
        negated: bool,
    },
    /// The comparison says whether another value is better than the best one.
    Extreme(Comparison),
    Array,
    Row,
    Field(usize),
    /// Elements are counted from here.
    Subscript(i32),
    /// For each dimension whether a lower and an upper bound is given.
    /// Which bounds are given, and from where elements are counted.
    Slice(Vec<(bool, bool)>, i32),
    /// The same value, lying otherwise.
    Lie(Ty),
    EachElement(each::Each),
    /// The first argument, where the second, a count of rows, is not above one.
    Single,
    /// A value of LIMIT (`true`) or OFFSET, checked.
    Bound(bool),
    /// Bits of a grouping id, by place.
    Grouping(Vec<u32>),
    /// For lists side by side: the numbers from 1 to the length of the longest.
    Ordinals,
    /// A list of nothing becomes a list of one NULL.
    Padded,
    /// A constant that is too large for a literal.
    Held(Arc<ScalarValue>),
}

impl Special {
    pub(super) fn call(op: Op, result: Field, arguments: Vec<Expr>) -> Expr {
        let signature = Signature::user_defined(Volatility::Immutable);
        let special = Self { name: op.name(), op, result: Arc::new(result), signature };
        ScalarUDF::new_from_impl(special).call(arguments)
    }

    pub(super) fn result(&self) -> &Field {
        &self.result
    }
}

/// The same expression, but a large literal is held aside.
pub(super) fn held(expr: Expr, field: Field) -> Expr {
    match expr {
        Expr::Literal(value, _) if value.size() > CONSTANT_BYTES_MAX => {
            Special::call(Op::Held(Arc::new(value)), field, vec![])
        }
        other => other,
    }
}

/// The value of an expression that is one for all rows, whoever computes it.
pub(super) fn constant(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value),
        Expr::ScalarFunction(call) => match of_udf(&call.func).map(|special| &special.op) {
            Some(Op::Held(value)) => Some(value),
            _ => None,
        },
        _ => None,
    }
}

/// The same value as `to` has it; `ty` is its type, or the type of its elements.
pub(super) fn lie(expr: Expr, ty: Ty, from: &DataType, to: &DataType) -> Expr {
    if from == to {
        return expr;
    }
    if let Expr::Literal(value, metadata) = &expr
        && let Ok(array) = value.to_array()
        && let Ok(array) = lies_as(&array, ty, to, &Env::plain())
        && let Ok(value) = crate::sql::kernel::scalar(&array, 0)
    {
        return Expr::Literal(value, metadata.clone());
    }
    Special::call(Op::Lie(ty), pgtype::field("relabel", ty, to.clone()), vec![expr])
}

/// The same each time, as [`function::KernelFunction`]'s.
impl std::fmt::Debug for Special {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut names: Vec<_> = self.result.metadata().iter().collect();
        names.sort();
        write!(f, "{:?} {} {names:?}", self.op, function::shape(self.result.data_type()))
    }
}

pub(super) fn of_udf(udf: &ScalarUDF) -> Option<&Special> {
    (udf.inner().as_ref() as &dyn Any).downcast_ref::<Special>()
}

/// A function of DataFusion's own raises nothing that we put into a plan.
pub(super) fn can_raise(udf: &ScalarUDF) -> bool {
    match of_udf(udf).map(|special| &special.op) {
        Some(Op::AnyOf { comparison, .. } | Op::NullIf(comparison) | Op::Distinct { comparison, .. }) => {
            !comparison.is_native()
        }
        Some(Op::Extreme(comparison)) => !comparison.is_native(),
        Some(Op::AnyRow { comparisons, .. }) => comparisons.iter().any(|c| !c.is_native()),
        Some(Op::Single | Op::EachElement(_) | Op::Array | Op::Bound(_)) => true,
        Some(
            Op::Flag
            | Op::Truth
            | Op::Coalesce
            | Op::Row
            | Op::Field(_)
            | Op::Subscript(_)
            | Op::Slice(..)
            | Op::Lie(_)
            | Op::Grouping(_)
            | Op::Ordinals
            | Op::Padded
            | Op::Held(_),
        ) => false,
        // the session's own functions
        None => true,
    }
}

/// As [`function::is_total`].
pub(super) fn is_total(udf: &ScalarUDF) -> bool {
    let Some(special) = of_udf(udf) else { return false };
    match &special.op {
        Op::Flag | Op::Truth | Op::Coalesce | Op::Held(_) => true,
        Op::NullIf(comparison)
        | Op::Extreme(comparison)
        | Op::Distinct { comparison, .. }
        | Op::AnyOf { comparison, .. } => comparison.is_total(),
        // every decimal is a numeric
        Op::Lie(ty) => ty.oid == pgtype::oid::NUMERIC && *special.result.data_type() == DataType::Binary,
        Op::AnyRow { .. }
        | Op::Array
        | Op::Row
        | Op::Field(_)
        | Op::Subscript(_)
        | Op::Slice(..)
        | Op::EachElement(_)
        | Op::Single
        | Op::Bound(_)
        | Op::Grouping(_)
        | Op::Ordinals
        | Op::Padded => false,
    }
}

/// The expression that a function computes by itself, out of sight of whoever walks a plan.
pub(crate) fn computed_inside(udf: &ScalarUDF) -> Option<&Expr> {
    match &of_udf(udf)?.op {
        Op::EachElement(each) => Some(&each.expr),
        _ => None,
    }
}

/// A function that computes `expr` for each element of a list.
#[cfg(test)]
pub(crate) fn computing_inside(expr: Expr, list: Expr) -> Expr {
    let item = Arc::new(Field::new("item", DataType::Int64, true));
    let each = each::Each { column: "c".into(), expr };
    Special::call(Op::EachElement(each), Field::new("each", DataType::List(item), true), vec![list])
}

impl Op {
    fn name(&self) -> &'static str {
        match self {
            Op::Flag => "flag",
            Op::Truth => "truth",
            Op::Coalesce => "coalesce",
            Op::AnyOf { all: false, .. } | Op::AnyRow { all: false, .. } => "any",
            Op::AnyOf { all: true, .. } | Op::AnyRow { all: true, .. } => "all",
            Op::NullIf(_) => "nullif",
            Op::Distinct { negated: false, .. } => "is_distinct",
            Op::Distinct { negated: true, .. } => "is_not_distinct",
            Op::Extreme(_) => "extreme",
            Op::Array => "array",
            Op::Row => "row",
            Op::Field(_) => "field",
            Op::Subscript(_) => "subscript",
            Op::Slice(..) => "slice",
            Op::Lie(_) => "relabel",
            Op::EachElement(_) => "each",
            Op::Single => "single",
            Op::Bound(true) => "limit",
            Op::Bound(false) => "offset",
            Op::Grouping(_) => "grouping",
            Op::Ordinals => "ordinality",
            Op::Padded => "padded",
            Op::Held(_) => "constant",
        }
    }
}

impl ScalarUDFImpl for Special {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        Ok(function::name_of(self.name(), args))
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.result.data_type().clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        Ok(Arc::clone(&self.result))
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn is_strict(&self) -> bool {
        matches!(self.op, Op::Flag | Op::Truth | Op::Field(_) | Op::Subscript(_) | Op::Lie(_) | Op::Bound(_))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let data_type = self.result.data_type();
        if args.number_rows == 0 {
            return Ok(ColumnarValue::Array(new_empty_array(data_type)));
        }
        let once = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if once { 1 } else { args.number_rows };
        let env = function::environment(&args.config_options);
        if let Op::Held(value) = &self.op {
            env.budget.literal(value.size())?; // before it is copied
        }
        let arguments = function::arguments(args.args)?;
        let input = Input { args: &arguments, rows, result: &self.result, env, options: &args.config_options };
        let array = input.compute(&self.op)?;
        // a list made of a source's own list may call its element otherwise
        let array = if array.data_type() == data_type { array } else { cast(&array, data_type)? };
        if once {
            env.budget.literal(array.get_array_memory_size())?;
        }
        function::checked(self.name, array, data_type, rows, once)
    }
}

/// What one of them is given for a batch.
pub(super) struct Input<'a> {
    pub(super) args: &'a [Arg],
    pub(super) rows: usize,
    pub(super) result: &'a FieldRef,
    pub(super) env: &'a Env,
    pub(super) options: &'a Arc<datafusion::common::config::ConfigOptions>,
}

impl Input<'_> {
    pub(super) fn arg(&self, i: usize) -> Result<&Arg> {
        self.args.get(i).ok_or_else(|| Error::internal(format!("argument {i} is missing")))
    }

    /// One value for each row.
    pub(super) fn full(&self, i: usize) -> Result<ArrayRef> {
        spread(self.arg(i)?, self.rows)
    }

    fn compute(&self, op: &Op) -> Result<ArrayRef> {
        match op {
            Op::Flag => {
                let flags = self.full(0)?;
                let flags: Int8Array = flags.as_boolean().iter().map(|flag| flag.map(i8::from)).collect();
                Ok(Arc::new(flags))
            }
            Op::Truth => {
                let flags = self.full(0)?;
                let flags = flags.as_primitive::<arrow::datatypes::Int8Type>();
                Ok(Arc::new(flags.iter().map(|flag| flag.map(|f| f != 0)).collect::<BooleanArray>()))
            }
            Op::Coalesce => {
                let mut found = self.full(0)?;
                for i in 1..self.args.len() {
                    if found.null_count() == 0 {
                        break;
                    }
                    found = zip(&is_not_null(&found)?, &found, &self.full(i)?)?;
                }
                Ok(found)
            }
            Op::AnyOf { comparison, all } => any::of_elements(self, comparison, *all),
            Op::AnyRow { comparisons, all } => any::of_rows(self, comparisons, *all),
            Op::NullIf(comparison) => {
                let equal = comparison.arrays(self.arg(0)?, self.arg(1)?, self.rows, self.env)?;
                Ok(nullif(&self.full(0)?, &spread_flags(equal, self.rows)?)?)
            }
            Op::Distinct { comparison, negated } => self.distinct(comparison, *negated),
            Op::Extreme(better) => {
                let mut best = self.full(0)?;
                for i in 1..self.args.len() {
                    let next = self.full(i)?;
                    let wins = better.arrays(
                        &Arg::array(Arc::clone(&next)),
                        &Arg::array(Arc::clone(&best)),
                        self.rows,
                        self.env,
                    )?;
                    let wins: BooleanArray = (0..self.rows)
                        .map(|row| {
                            Some(next.is_valid(row) && (best.is_null(row) || wins.is_valid(row) && wins.value(row)))
                        })
                        .collect();
                    best = zip(&wins, &next, &best)?;
                }
                Ok(best)
            }
            Op::Array => array::construct(self),
            Op::Row => self.row(),
            Op::Field(index) => {
                let record = self.full(0)?;
                let Some(record) = record.as_struct_opt() else {
                    return Err(Error::internal(format!("a field of {}", record.data_type())));
                };
                let Some(column) = record.columns().get(*index) else {
                    return Err(Error::internal(format!("a record has no field {index}")));
                };
                let nulls = NullBuffer::union(record.nulls(), column.nulls());
                let data = column.to_data().into_builder().nulls(nulls).build()?;
                Ok(arrow::array::make_array(data))
            }
            Op::Subscript(first) => array::subscript(self, *first),
            Op::Slice(given, first) => array::slice(self, given, *first),
            Op::Lie(ty) => lies_as(&self.full(0)?, *ty, self.result.data_type(), self.env),
            Op::EachElement(each) => each.compute(self),
            Op::Single => {
                let counts = self.full(1)?;
                let counts = counts.as_primitive::<arrow::datatypes::Int64Type>();
                if counts.iter().flatten().any(|count| count > 1) {
                    let text = "more than one row returned by a subquery used as an expression";
                    return Err(Error::new(Kind::Cardinality, text));
                }
                self.full(0)
            }
            Op::Bound(limit) => {
                let value = self.full(0)?;
                if value.as_primitive::<arrow::datatypes::Int64Type>().iter().flatten().any(|n| n < 0) {
                    return Err(match limit {
                        true => Error::new(Kind::LimitValue, "LIMIT must not be negative"),
                        false => Error::new(Kind::OffsetValue, "OFFSET must not be negative"),
                    });
                }
                Ok(value)
            }
            Op::Grouping(places) => {
                let ids = cast(&self.full(0)?, &DataType::UInt64)?;
                let ids = ids.as_primitive::<arrow::datatypes::UInt64Type>();
                let bits = |id: u64| places.iter().fold(0_i32, |bits, p| bits << 1 | i32::from(id >> p & 1 == 1));
                Ok(Arc::new(ids.iter().map(|id| id.map(bits)).collect::<Int32Array>()))
            }
            Op::Ordinals => array::ordinals(self),
            Op::Padded => array::padded(self),
            Op::Held(value) => Ok(value.to_array()?),
        }
    }

    fn distinct(&self, comparison: &Comparison, negated: bool) -> Result<ArrayRef> {
        let (left, right) = (self.arg(0)?, self.arg(1)?);
        let equal = spread_flags(comparison.arrays(left, right, self.rows, self.env)?, self.rows)?;
        let distinct = |row: usize| match (left.is_null(row), right.is_null(row)) {
            (true, true) => false,
            (false, false) => !(equal.is_valid(row) && equal.value(row)),
            _ => true,
        };
        Ok(Arc::new((0..self.rows).map(|row| Some(distinct(row) != negated)).collect::<BooleanArray>()))
    }

    fn row(&self) -> Result<ArrayRef> {
        let DataType::Struct(fields) = self.result.data_type() else {
            return Err(Error::internal(format!("a row as {}", self.result.data_type())));
        };
        let columns = (0..self.args.len()).map(|i| {
            let column = self.full(i)?;
            let wanted = fields.get(i).map(|f| f.data_type().clone());
            match wanted {
                Some(wanted) if wanted != *column.data_type() => Ok(cast(&column, &wanted)?),
                _ => Ok(column),
            }
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, None, self.rows)?))
    }
}

pub(super) fn spread(arg: &Arg, rows: usize) -> Result<ArrayRef> {
    match arg.constant && arg.array.len() != rows {
        false => Ok(Arc::clone(&arg.array)),
        true => Ok(take(&arg.array, &UInt32Array::from(vec![0_u32; rows]), None)?),
    }
}

pub(super) fn spread_flags(flags: BooleanArray, rows: usize) -> Result<BooleanArray> {
    if flags.len() == rows {
        return Ok(flags);
    }
    Ok(spread(&Arg::constant(Arc::new(flags)), rows)?.as_boolean().clone())
}

/// The same values as `to` has them.
pub(super) fn lies_as(array: &ArrayRef, ty: Ty, to: &DataType, env: &Env) -> Result<ArrayRef> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    let numeric = |t: &DataType| matches!(t, DataType::Decimal128(..) | DataType::Decimal256(..) | DataType::Binary);
    match (array.data_type(), to) {
        (DataType::List(_), DataType::List(item)) => {
            let list = array.as_list::<i32>();
            let element = Ty::of(pgtype::element(ty.oid).unwrap_or(ty.oid));
            let values = lies_as(list.values(), element, item.data_type(), env)?;
            let lists = ListArray::try_new(Arc::clone(item), list.offsets().clone(), values, list.nulls().cloned())?;
            Ok(Arc::new(lists))
        }
        (DataType::Struct(from), DataType::Struct(fields)) if from.len() == fields.len() => {
            let record = array.as_struct();
            let each = record
                .columns()
                .iter()
                .zip(fields)
                .map(|(column, field)| lies_as(column, pgtype::of_field(field)?, field.data_type(), env));
            let columns = each.collect::<Result<Vec<_>>>()?;
            let nulls = record.nulls().cloned();
            Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, array.len())?))
        }
        // an oid is the same 32 bits without a sign
        (DataType::Int32, DataType::UInt32) => {
            let ints = array.as_primitive::<Int32Type>();
            Ok(Arc::new(ints.unary::<_, arrow::datatypes::UInt32Type>(i32::cast_unsigned)))
        }
        (DataType::UInt32, DataType::Int32) => {
            let oids = array.as_primitive::<arrow::datatypes::UInt32Type>();
            Ok(Arc::new(oids.unary::<_, Int32Type>(u32::cast_signed)))
        }
        (from, to) if numeric(from) && numeric(to) => {
            let result = Field::new("", to.clone(), true);
            let args = [Arg::array(Arc::clone(array))];
            let call =
                Call { args: &args, types: &[Ty::NUMERIC], rows: array.len(), result: &result, result_type: ty, env };
            call.one(|n: Numeric| Ok(n))
        }
        _ if array.null_count() == array.len() => Ok(new_null_array(to, array.len())),
        _ => Ok(cast(array, to)?),
    }
}
