//! One order for values of any type: that of the type's btree operator class, over two arrays. Arrays, records, ranges and
//! `width_bucket` compare their members by it. Whether an operator may be called is `resolve`'s.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, StructArray, make_comparator};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type};

use super::array::value::Arrays;
use super::{kernel, key};
use crate::error::{Error, Kind, Result};
use crate::pgtype::{self, Ty, oid};
use crate::sql::image;
use crate::sql::kernel::{Arg, Call, Env};
use crate::sql::numeric::{self, Numeric};

/// Row of the left array, row of the right one. NULL equals NULL and is greater than anything else.
pub(crate) type Compare = Box<dyn Fn(usize, usize) -> Ordering + Send + Sync>;

/// What will be asked of a comparison; a type may have only the first (xid).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Equality,
    Order,
}

/// The order of a type between the rows of two arrays. 42883 for a type without one.
pub(crate) fn comparer(ty: u32, left: &ArrayRef, right: &ArrayRef, need: Need, env: &Env) -> Result<Compare> {
    let values = values(ty, left, right, need, env)?;
    if left.null_count() == 0 && right.null_count() == 0 {
        return Ok(values);
    }
    let (left, right) = (Arc::clone(left), Arc::clone(right));
    Ok(Box::new(move |l, r| match (left.is_null(l), right.is_null(r)) {
        (false, false) => values(l, r),
        (l, r) => l.cmp(&r),
    }))
}

/// Of rows that are not NULL.
fn values(ty: u32, left: &ArrayRef, right: &ArrayRef, need: Need, env: &Env) -> Result<Compare> {
    if let (DataType::Struct(_), DataType::Struct(_)) = (left.data_type(), right.data_type()) {
        return records(left.as_struct(), right.as_struct(), need, env);
    }
    if pgtype::element(ty).is_some() {
        return arrays(ty, left, right, need, env);
    }
    exists(ty, need)?;
    match ty {
        oid::FLOAT4 | oid::FLOAT8 => native(&plain_floats(left), &plain_floats(right)),
        oid::NUMERIC if left.data_type() != right.data_type() => {
            native(&numeric_keys(left, env)?, &numeric_keys(right, env)?)
        }
        _ => native(&keyed(ty, left, env)?, &keyed(ty, right, env)?),
    }
}

fn native(left: &ArrayRef, right: &ArrayRef) -> Result<Compare> {
    let failed = |error| Error::internal("values without an order").with_source(error);
    make_comparator(left.as_ref(), right.as_ref(), SortOptions::default()).map_err(failed)
}

/// An array whose native order is the type's.
pub(crate) fn keyed(ty: u32, array: &ArrayRef, env: &Env) -> Result<ArrayRef> {
    let Some((name, data_type)) = key(ty, array.data_type()) else { return Ok(Arc::clone(array)) };
    let kernel =
        kernel(name).ok_or_else(|| Error::unsupported(format!("comparing values of type {}", pgtype::name(ty))))?;
    let result = Field::new("", data_type, true);
    kernel(&Call {
        args: &[Arg::array(Arc::clone(array))],
        types: &[Ty::of(ty)],
        rows: array.len(),
        result: &result,
        result_type: Ty::of(oid::BYTEA),
        env,
    })
}

/// Keys of numerics, however they lie.
fn numeric_keys(array: &ArrayRef, env: &Env) -> Result<ArrayRef> {
    let arg = Arg::array(Arc::clone(array));
    let numbers = arg.read::<Numeric>()?;
    let result = Field::new("", DataType::Binary, true);
    let (rows, result_type) = (array.len(), Ty::of(oid::BYTEA));
    let call = Call { args: &[], types: &[], rows, result: &result, result_type, env };
    call.rows_of(|row| Ok(numbers.get(row).map(|number| numeric::key(&number.encode()).to_vec())))
}

/// Arrow orders floats by their bits: here all NaN are one, the greatest, and there is one zero.
fn plain_floats(array: &ArrayRef) -> ArrayRef {
    if let Some(floats) = array.as_primitive_opt::<Float64Type>() {
        let plain: Float64Array = floats.unary(|f| if f.is_nan() { f64::NAN.abs() } else { f + 0.0 });
        return Arc::new(plain);
    }
    if let Some(floats) = array.as_primitive_opt::<Float32Type>() {
        let plain: Float32Array = floats.unary(|f| if f.is_nan() { f32::NAN.abs() } else { f + 0.0 });
        return Arc::new(plain);
    }
    Arc::clone(array)
}

/// array_cmp: elements first, then their number, then the dimensions.
fn arrays(ty: u32, left: &ArrayRef, right: &ArrayRef, need: Need, env: &Env) -> Result<Compare> {
    let element = pgtype::element(ty).ok_or_else(|| Error::internal("an array without elements"))?;
    let (a, b) = (Arrays::of(left, ty)?, Arrays::of(right, ty)?);
    let elements = comparer(element, a.elements(), b.elements(), need, env)?;
    let (a, b) = (a.all_shapes()?, b.all_shapes()?);
    Ok(Box::new(move |l, r| {
        let (Some(a), Some(b)) = (a.get(l).copied().flatten(), b.get(r).copied().flatten()) else {
            return Ordering::Equal;
        };
        let pairs = (a.from..a.to).zip(b.from..b.to);
        let first = pairs.map(|(l, r)| elements(l, r)).find(|order| order.is_ne());
        first.unwrap_or_else(|| {
            let by_count = (a.to - a.from).cmp(&(b.to - b.from));
            by_count.then(a.sizes().len().cmp(&b.sizes().len())).then_with(|| a.sizes().cmp(b.sizes()))
        })
    }))
}

/// record_cmp: column by column; a record with fewer columns that are equal is refused, as PostgreSQL does.
fn records(left: &StructArray, right: &StructArray, need: Need, env: &Env) -> Result<Compare> {
    let mut columns = Vec::with_capacity(left.num_columns());
    if left.num_columns() != right.num_columns() {
        return Err(Error::new(Kind::TypeMismatch, "cannot compare record types with different numbers of columns"));
    }
    for (at, (a, b)) in left.fields().iter().zip(right.fields()).enumerate() {
        let (ty, other) = (pgtype::of_field(a)?, pgtype::of_field(b)?);
        if ty.oid != other.oid {
            let (ty, other) = (postgres_name(ty), postgres_name(other));
            let text = format!("cannot compare dissimilar column types {ty} and {other} at record column {}", at + 1);
            return Err(Error::new(Kind::TypeMismatch, text));
        }
        columns.push(comparer(ty.oid, left.column(at), right.column(at), need, env)?);
    }
    Ok(Box::new(move |l, r| {
        columns.iter().map(|column| column(l, r)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }))
}

fn postgres_name(ty: Ty) -> String {
    crate::formats::postgres::type_name(ty.oid, -1)
}

/// 42883 for a type whose values are not compared.
fn exists(ty: u32, need: Need) -> Result<()> {
    let name = if need == Need::Equality { "=" } else { "<" };
    let has = |ty: u32| image::operators(name).iter().any(|operator| operator.left == ty && operator.right == ty);
    let own = match ty {
        oid::VARCHAR => oid::TEXT,
        oid::CIDR => oid::INET,
        other => other,
    };
    let kind = pgtype::Ty::of(own).row().map_or('e', |row| row.kind);
    let aliases = oid::REGPROC == own || matches!(own, oid::REGPROCEDURE..=oid::REGTYPE);
    let aliases = aliases || matches!(own, oid::REGCONFIG | oid::REGNAMESPACE | oid::REGROLE | 3769 | 4191);
    if aliases || matches!(kind, 'e' | 'r' | 'm') || own == oid::UNKNOWN || has(own) {
        return Ok(());
    }
    let what = match need {
        Need::Equality => "an equality operator",
        Need::Order => "a comparison function",
    };
    let text = format!("could not identify {what} for type {}", postgres_name(Ty::of(ty)));
    Err(Error::new(Kind::UndefinedFunction, text))
}
