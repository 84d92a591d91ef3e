//! Loops over slices for functions of one or two fixed-width arguments, so that the common ones cost what a plain loop
//! does. A function is not asked about rows in which an argument is NULL.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::DataType;

use crate::error::{Error, Result};
use crate::sql::kernel::{Arg, Call};

/// An argument as a slice, or the one value that counts for every row.
enum Side<'a, T: ArrowPrimitiveType> {
    Slice(&'a [T::Native]),
    One(T::Native),
}

impl<T: ArrowPrimitiveType> Side<'_, T> {
    fn at(&self, row: usize) -> T::Native {
        match self {
            Side::Slice(values) => values[row],
            Side::One(value) => *value,
        }
    }
}

/// `None`: a constant NULL.
fn side<T: ArrowPrimitiveType>(arg: &Arg) -> Result<Option<(Side<'_, T>, Option<&NullBuffer>)>> {
    let array = arg.array.as_primitive_opt::<T>();
    let array = array.ok_or_else(|| Error::internal(format!("a kernel was given {}", arg.array.data_type())))?;
    if !arg.constant {
        return Ok(Some((Side::Slice(array.values()), arg.array.nulls())));
    }
    let value = array.values().first().filter(|_| !arg.is_null(0));
    Ok(value.map(|value| (Side::One(*value), None)))
}

fn nulls_only(call: &Call<'_>) -> ArrayRef {
    arrow::array::new_null_array(call.result.data_type(), call.rows)
}

fn filled<T: Copy + Default>(
    rows: usize,
    nulls: Option<&NullBuffer>,
    mut value: impl FnMut(usize) -> Result<T>,
) -> Result<Vec<T>> {
    let mut values = vec![T::default(); rows];
    match nulls {
        None => {
            for (row, slot) in values.iter_mut().enumerate() {
                *slot = value(row)?;
            }
        }
        Some(nulls) => {
            for (row, slot) in values.iter_mut().enumerate() {
                if nulls.is_valid(row) {
                    *slot = value(row)?;
                }
            }
        }
    }
    Ok(values)
}

fn array<R: ArrowPrimitiveType>(
    call: &Call<'_>,
    values: Vec<R::Native>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let array = PrimitiveArray::<R>::try_new(values.into(), nulls)?;
    let wanted: &DataType = call.result.data_type();
    Ok(if R::DATA_TYPE == *wanted { Arc::new(array) } else { Arc::new(array.with_data_type(wanted.clone())) })
}

pub(super) fn one<A: ArrowPrimitiveType, R: ArrowPrimitiveType>(
    call: &Call<'_>,
    argument: usize,
    f: impl Fn(A::Native) -> Result<R::Native>,
) -> Result<ArrayRef> {
    let Some((side, nulls)) = side::<A>(call.arg(argument)?)? else { return Ok(nulls_only(call)) };
    let values = match side {
        Side::One(value) => vec![f(value)?; call.rows],
        Side::Slice(slice) => filled(call.rows, nulls, |row| f(slice[row]))?,
    };
    array::<R>(call, values, nulls.cloned())
}

pub(super) fn two<A: ArrowPrimitiveType, B: ArrowPrimitiveType, R: ArrowPrimitiveType>(
    call: &Call<'_>,
    f: impl Fn(A::Native, B::Native) -> Result<R::Native>,
) -> Result<ArrayRef> {
    let (Some((a, a_nulls)), Some((b, b_nulls))) = (side::<A>(call.arg(0)?)?, side::<B>(call.arg(1)?)?) else {
        return Ok(nulls_only(call));
    };
    let nulls = NullBuffer::union(a_nulls, b_nulls);
    let values = match (a, b) {
        (Side::Slice(a), Side::One(b)) => filled(call.rows, nulls.as_ref(), |row| f(a[row], b))?,
        (Side::Slice(a), Side::Slice(b)) => filled(call.rows, nulls.as_ref(), |row| f(a[row], b[row]))?,
        (a, b) => filled(call.rows, nulls.as_ref(), |row| f(a.at(row), b.at(row)))?,
    };
    array::<R>(call, values, nulls)
}

/// A question about two values that nothing can go wrong with.
pub(super) fn ask<A: ArrowPrimitiveType, B: ArrowPrimitiveType>(
    call: &Call<'_>,
    f: impl Fn(A::Native, B::Native) -> bool,
) -> Result<ArrayRef> {
    let (Some((a, a_nulls)), Some((b, b_nulls))) = (side::<A>(call.arg(0)?)?, side::<B>(call.arg(1)?)?) else {
        return Ok(arrow::array::new_null_array(&DataType::Boolean, call.rows));
    };
    let nulls = NullBuffer::union(a_nulls, b_nulls);
    let bits = match (a, b) {
        (Side::Slice(a), Side::One(b)) => BooleanBuffer::collect_bool(call.rows, |row| f(a[row], b)),
        (Side::Slice(a), Side::Slice(b)) => BooleanBuffer::collect_bool(call.rows, |row| f(a[row], b[row])),
        (a, b) => BooleanBuffer::collect_bool(call.rows, |row| f(a.at(row), b.at(row))),
    };
    Ok(Arc::new(BooleanArray::new(bits, nulls)))
}
