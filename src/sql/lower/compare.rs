//! Comparisons by operators of btree classes: which of them are DataFusion's own comparison once both sides are made
//! comparable, and the same over arrays for what compares inside a function. Which operator it is was resolved before.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Scalar};
use arrow::compute::{cast, kernels::cmp};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Cast, Expr, Operator as Op, binary_expr, lit};

use super::function::KernelFunction;
use super::special;
use crate::error::{Error, Result};
use crate::pgtype::{self, Ty, oid};
use crate::sql::functions;
use crate::sql::image::{self, Operator};
use crate::sql::kernel::{Arg, Call, Env};

/// A comparison that is the engine's own once each side went through its [`Side`].
#[derive(Clone, Debug)]
pub(super) struct Native {
    pub(super) op: Op,
    left: Side,
    right: Side,
}

#[derive(Clone, Debug, PartialEq)]
enum Side {
    AsItIs,
    Cast(DataType),
    Key { source: &'static str, data_type: DataType, ty: Ty },
}

fn op(name: &str) -> Option<Op> {
    Some(match name {
        "=" => Op::Eq,
        "<>" => Op::NotEq,
        "<" => Op::Lt,
        "<=" => Op::LtEq,
        ">" => Op::Gt,
        ">=" => Op::GtEq,
        _ => return None,
    })
}

/// `None`: only the operator's function knows (arrays, records, a date beside a timestamp …).
pub(super) fn native(operator: &Operator, left: (Ty, &DataType), right: (Ty, &DataType)) -> Option<Native> {
    if operator.result != oid::BOOL {
        return None;
    }
    let op = op(operator.name)?;
    let (left, right) = sides(operator, left, right)?;
    Some(Native { op, left, right })
}

fn sides(operator: &Operator, left: (Ty, &DataType), right: (Ty, &DataType)) -> Option<(Side, Side)> {
    let ((left_ty, left_type), (right_ty, right_type)) = (left, right);
    let same = |side: Side| Some((side.clone(), side));
    let (l, r) = (operator.left, operator.right);
    match (l, r) {
        (oid::INT2 | oid::INT4 | oid::INT8, oid::INT2 | oid::INT4 | oid::INT8)
        | (oid::FLOAT4 | oid::FLOAT8, oid::FLOAT4 | oid::FLOAT8) => {
            let to = wider(left_type, right_type)?;
            let side = |of: &DataType| if of == to { Side::AsItIs } else { Side::Cast(to.clone()) };
            Some((side(left_type), side(right_type)))
        }
        (oid::TEXT | oid::NAME, oid::TEXT | oid::NAME) => alike(left_type, right_type),
        (oid::NUMERIC, oid::NUMERIC) => match decimals(left_type, right_type) {
            Some(to) => {
                let side = |of: &DataType| if *of == to { Side::AsItIs } else { Side::Cast(to.clone()) };
                Some((side(left_type), side(right_type)))
            }
            None => same(key(Ty::NUMERIC, &DataType::Binary)?),
        },
        _ if l != r => None,
        (
            oid::BOOL
            | oid::CHAR
            | oid::OID
            | oid::BYTEA
            | oid::DATE
            | oid::TIME
            | oid::TIMESTAMP
            | oid::TIMESTAMPTZ
            | oid::UUID,
            _,
        ) => alike(left_type, right_type),
        (oid::BPCHAR | oid::INTERVAL | oid::TIMETZ | oid::JSONB | oid::INET | oid::TSVECTOR | oid::TSQUERY, _) => {
            let left = key(Ty::of(left_ty.oid), left_type)?;
            let right = key(Ty::of(right_ty.oid), right_type)?;
            Some((left, right))
        }
        _ => None,
    }
}

fn alike(left: &DataType, right: &DataType) -> Option<(Side, Side)> {
    (left == right).then_some((Side::AsItIs, Side::AsItIs))
}

fn wider<'a>(a: &'a DataType, b: &'a DataType) -> Option<&'a DataType> {
    let rank = |t: &DataType| {
        Some(match t {
            DataType::Int16 => 0,
            DataType::Int32 => 1,
            DataType::Int64 => 2,
            DataType::Float32 => 3,
            DataType::Float64 => 4,
            _ => return None,
        })
    };
    Some(if rank(a)? >= rank(b)? { a } else { b })
}

/// The decimal that holds every value of both; `None` where none does or one is no decimal.
pub(super) fn decimals(a: &DataType, b: &DataType) -> Option<DataType> {
    let shape = |t: &DataType| match t {
        DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => Some((i32::from(*p), i32::from(*s))),
        _ => None,
    };
    let ((p, s), (q, t)) = (shape(a)?, shape(b)?);
    let scale = s.max(t);
    let precision = (p - s).max(q - t) + scale;
    let wide = matches!(a, DataType::Decimal256(..)) || matches!(b, DataType::Decimal256(..));
    let (precision, scale) = (u8::try_from(precision.max(1)).ok()?, i8::try_from(scale).ok()?);
    match precision {
        0..=38 if !wide => Some(DataType::Decimal128(precision, scale)),
        0..=76 => Some(DataType::Decimal256(precision, scale)),
        _ => None,
    }
}

fn key(ty: Ty, data_type: &DataType) -> Option<Side> {
    let (source, data_type) = functions::key(ty.oid, data_type)?;
    Some(Side::Key { source, data_type, ty })
}

impl Side {
    /// A cast goes to a type that holds every value.
    fn is_total(&self) -> bool {
        match self {
            Side::AsItIs | Side::Cast(_) => true,
            Side::Key { source, .. } => functions::is_total(source),
        }
    }

    fn of_expr(&self, expr: Expr, data_type: &DataType) -> Result<Expr> {
        match self {
            Side::AsItIs => Ok(expr),
            Side::Cast(to) => cast_expr(expr, to),
            Side::Key { source, data_type: to, ty } => {
                let lying = pgtype::arrow(ty.oid).unwrap_or(DataType::Utf8);
                let expr = if *data_type == lying { expr } else { special::lie(expr, *ty, data_type, &lying) };
                Ok(KernelFunction::of_source(source, vec![*ty], Ty::of(oid::BYTEA), to.clone())?.call(vec![expr]))
            }
        }
    }

    fn of_arg(&self, arg: &Arg, env: &Env) -> Result<Arg> {
        let array = match self {
            Side::AsItIs => Arc::clone(&arg.array),
            Side::Cast(to) => cast(&arg.array, to)?,
            Side::Key { source, data_type, ty } => {
                let kernel = functions::kernel(source);
                let kernel = kernel.ok_or_else(|| Error::unsupported(format!("comparing {}", ty.name())))?;
                let lying = pgtype::arrow(ty.oid).unwrap_or(DataType::Utf8);
                let arg = Arg { array: special::lies_as(&arg.array, *ty, &lying, env)?, constant: false };
                let rows = arg.array.len();
                let result = arrow::datatypes::Field::new(*source, data_type.clone(), true);
                let call =
                    Call { args: &[arg], types: &[*ty], rows, result: &result, result_type: Ty::of(oid::BYTEA), env };
                kernel(&call)?
            }
        };
        Ok(Arg { array, constant: arg.constant })
    }
}

/// A cast of numbers that loses nothing; a literal is cast at once.
pub(super) fn cast_expr(expr: Expr, to: &DataType) -> Result<Expr> {
    Ok(match expr {
        Expr::Literal(value, metadata) => Expr::Literal(value.cast_to(to)?, metadata),
        expr => Expr::Cast(Cast::new(Box::new(expr), to.clone())),
    })
}

impl Native {
    /// Both sides made comparable; `=` and the like over them is the operator.
    pub(super) fn operands(&self, left: (Expr, &DataType), right: (Expr, &DataType)) -> Result<(Expr, Expr)> {
        let ((left, left_type), (right, right_type)) = (left, right);
        // a constant comes down to a column's type where it fits, so that the column stays bare
        if let (Expr::Literal(value, _), false) = (&right, matches!(left, Expr::Literal(..)))
            && matches!(self.left, Side::Cast(_))
            && let Some(value) = fitting(value, left_type)
        {
            return Ok((left, Expr::Literal(value, None)));
        }
        if let (Expr::Literal(value, _), false) = (&left, matches!(right, Expr::Literal(..)))
            && matches!(self.right, Side::Cast(_))
            && let Some(value) = fitting(value, right_type)
        {
            return Ok((Expr::Literal(value, None), right));
        }
        Ok((self.left.of_expr(left, left_type)?, self.right.of_expr(right, right_type)?))
    }

    pub(super) fn expr(&self, left: (Expr, &DataType), right: (Expr, &DataType)) -> Result<Expr> {
        let (left, right) = self.operands(left, right)?;
        if matches!(self.op, Op::Eq | Op::NotEq) {
            for (one, other) in [(&left, &right), (&right, &left)] {
                if let Some(zeros) = both_zeros(one) {
                    return Ok(Expr::InList(InList::new(Box::new(other.clone()), zeros, self.op == Op::NotEq)));
                }
            }
        }
        let (right, op) = (signed_zero(&right, self.op, true).unwrap_or(right), self.op);
        let left = signed_zero(&left, op, false).unwrap_or(left);
        Ok(binary_expr(left, op, right))
    }

    fn arrays(&self, left: &Arg, right: &Arg, env: &Env) -> Result<BooleanArray> {
        let (left, right) = (self.left.of_arg(left, env)?, self.right.of_arg(right, env)?);
        let compare = |l: &dyn arrow::array::Datum, r: &dyn arrow::array::Datum| match self.op {
            Op::Eq => cmp::eq(l, r),
            Op::NotEq => cmp::neq(l, r),
            Op::Lt => cmp::lt(l, r),
            Op::LtEq => cmp::lt_eq(l, r),
            Op::Gt => cmp::gt(l, r),
            _ => cmp::gt_eq(l, r),
        };
        let (l, r) = (positive_zero(left.array)?, positive_zero(right.array)?);
        Ok(match (left.constant, right.constant) {
            (true, false) => compare(&Scalar::new(l), &r)?,
            (false, true) => compare(&l, &Scalar::new(r))?,
            _ => compare(&l, &r)?,
        })
    }
}

/// The same value in another type, if it holds it exactly.
fn fitting(value: &ScalarValue, to: &DataType) -> Option<ScalarValue> {
    let there = value.cast_to(to).ok().filter(|v| !v.is_null())?;
    (there.cast_to(&value.data_type()).ok()? == *value).then_some(there)
}

/// Arrow orders -0 before 0. A zero that a column is compared with becomes the one beyond which no zero is.
/// `None`: leave it.
fn signed_zero(expr: &Expr, op: Op, on_right: bool) -> Option<Expr> {
    // as if the constant stood on the right
    let below = match (op, on_right) {
        (Op::Lt | Op::GtEq, true) | (Op::Gt | Op::LtEq, false) => true,
        (Op::LtEq | Op::Gt, true) | (Op::GtEq | Op::Lt, false) => false,
        _ => return None,
    };
    let sign = if below { -1.0 } else { 1.0 };
    match expr {
        Expr::Literal(ScalarValue::Float64(Some(0.0)), m) => {
            Some(Expr::Literal(ScalarValue::Float64(Some(0.0_f64.copysign(sign))), m.clone()))
        }
        Expr::Literal(ScalarValue::Float32(Some(0.0)), m) => {
            let zero = if below { -0.0_f32 } else { 0.0 };
            Some(Expr::Literal(ScalarValue::Float32(Some(zero)), m.clone()))
        }
        _ => None,
    }
}

/// `= 0` is equality with either zero.
pub(super) fn both_zeros(expr: &Expr) -> Option<Vec<Expr>> {
    match expr {
        Expr::Literal(ScalarValue::Float64(Some(0.0)), _) => Some(vec![lit(0.0_f64), lit(-0.0_f64)]),
        Expr::Literal(ScalarValue::Float32(Some(0.0)), _) => Some(vec![lit(0.0_f32), lit(-0.0_f32)]),
        _ => None,
    }
}

/// Inside a function every zero is the same, and so is every NaN.
fn positive_zero(array: ArrayRef) -> Result<ArrayRef> {
    use arrow::datatypes::{Float32Type, Float64Type};
    Ok(match array.data_type() {
        DataType::Float64 => Arc::new(
            array
                .as_primitive::<Float64Type>()
                .unary::<_, Float64Type>(|v| if v.is_nan() { f64::NAN } else { v + 0.0 }),
        ),
        DataType::Float32 => Arc::new(
            array
                .as_primitive::<Float32Type>()
                .unary::<_, Float32Type>(|v| if v.is_nan() { f32::NAN } else { v + 0.0 }),
        ),
        _ => array,
    })
}

/// An operator over two arrays, inside a function of our own.
#[derive(Clone, Debug)]
pub(super) struct Comparison {
    operator: &'static Operator,
    types: [Ty; 2],
    native: Option<Native>,
}

impl PartialEq for Comparison {
    fn eq(&self, other: &Self) -> bool {
        self.operator.oid == other.operator.oid && self.types == other.types
    }
}

impl Eq for Comparison {}

impl Hash for Comparison {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.operator.oid.hash(state);
        self.types.hash(state);
    }
}

impl Comparison {
    pub(super) fn new(operator: &'static Operator, left: (Ty, &DataType), right: (Ty, &DataType)) -> Result<Self> {
        let native = native(operator, left, right);
        if native.is_none() && functions::kernel(&operator.proc.source).is_none() {
            let text = format!(
                "operator {} {} {} is not supported yet",
                pgtype::name(operator.left),
                operator.name,
                pgtype::name(operator.right)
            );
            return Err(Error::new(crate::error::Kind::Unsupported, text));
        }
        Ok(Self { operator, types: [left.0, right.0], native })
    }

    /// `>` or `<` of a type with itself.
    pub(super) fn of_type(name: &str, ty: Ty, data_type: &DataType) -> Result<Self> {
        Self::new(operator_of_type(name, ty)?, (ty, data_type), (ty, data_type))
    }

    pub(super) fn is_equality(&self) -> bool {
        self.operator.name == "="
    }

    pub(super) fn is_inequality(&self) -> bool {
        self.operator.name == "<>"
    }

    pub(super) fn is_native(&self) -> bool {
        self.native.is_some()
    }

    /// As [`super::function::is_total`].
    pub(super) fn is_total(&self) -> bool {
        match &self.native {
            Some(native) => native.left.is_total() && native.right.is_total(),
            None => functions::is_total(&self.operator.proc.source),
        }
    }

    /// Each side made comparable by its bytes, for what hashes.
    pub(super) fn keys(&self, left: &Arg, right: &Arg, env: &Env) -> Result<Option<(ArrayRef, ArrayRef)>> {
        let Some(native) = &self.native else { return Ok(None) };
        let (left, right) = (native.left.of_arg(left, env)?, native.right.of_arg(right, env)?);
        Ok(Some((positive_zero(left.array)?, positive_zero(right.array)?)))
    }

    pub(super) fn arrays(&self, left: &Arg, right: &Arg, rows: usize, env: &Env) -> Result<BooleanArray> {
        if let Some(native) = &self.native {
            return native.arrays(left, right, env);
        }
        let kernel = functions::kernel(&self.operator.proc.source);
        let kernel = kernel.ok_or_else(|| Error::internal("a comparison without kernel"))?;
        let result = arrow::datatypes::Field::new(self.operator.name, DataType::Boolean, true);
        let args = [left.clone(), right.clone()];
        let array =
            kernel(&Call { args: &args, types: &self.types, rows, result: &result, result_type: Ty::BOOL, env })?;
        let wrong = || Error::internal(format!("{} is no comparison", self.operator.name));
        array.as_boolean_opt().cloned().ok_or_else(wrong)
    }
}

/// The operator by which a type is ordered or equal: its own, or that of the family it belongs to.
pub(super) fn operator_of_type(name: &str, ty: Ty) -> Result<&'static Operator> {
    let row = ty.row();
    let family = match ty.oid {
        oid::VARCHAR => oid::TEXT,
        oid::CIDR => oid::INET,
        oid::RECORD => oid::RECORD,
        _ if pgtype::element(ty.oid).is_some() => oid::ANYARRAY,
        _ => match row.map(|row| row.kind) {
            Some('r') => oid::ANYRANGE,
            Some('m') => oid::ANYMULTIRANGE,
            Some('e') => oid::ANYENUM,
            Some('c') => oid::RECORD,
            Some(_) => ty.oid,
            // an enum of a source
            None => oid::TEXT,
        },
    };
    let mut all = image::operators(name).iter();
    let found = all.find(|o| o.left == family && o.right == family);
    let text = || format!("could not identify an ordering operator for type {}", ty.name());
    found.ok_or_else(|| Error::new(crate::error::Kind::UndefinedFunction, text()))
}
