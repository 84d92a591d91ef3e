//! Loops over slices of numbers: what integer and float functions are made of. A function that may fail is computed for
//! every slot without a branch and says by a flag whether it failed; rows are looked at one by one only where some flag
//! was set, since what lies under a NULL may be anything.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray, new_null_array};
use arrow::buffer::{BooleanBuffer, NullBuffer};

use crate::error::{Error, Result};
use crate::sql::kernel::{Call, Kernel};

/// Lists of kernels as one, since each file of a family has its own.
pub(super) const fn joined<const N: usize>(parts: &[&[(&'static str, Kernel)]]) -> [(&'static str, Kernel); N] {
    const fn none(_: &Call<'_>) -> Result<ArrayRef> {
        panic!("a list of kernels is shorter than it was counted")
    }
    let mut all = [("", none as Kernel); N];
    let (mut part, mut next) = (0, 0);
    while part < parts.len() {
        let mut i = 0;
        while i < parts[part].len() {
            all[next] = parts[part][i];
            (i, next) = (i + 1, next + 1);
        }
        part += 1;
    }
    all
}

pub(super) const fn count(parts: &[&[(&str, Kernel)]]) -> usize {
    let (mut part, mut count) = (0, 0);
    while part < parts.len() {
        count += parts[part].len();
        part += 1;
    }
    count
}

/// An argument's slots, those under NULLs too.
struct Slots<'a, T: ArrowPrimitiveType> {
    values: &'a [T::Native],
    constant: bool,
    nulls: Option<NullBuffer>,
}

impl<'a, T: ArrowPrimitiveType> Slots<'a, T> {
    fn of(call: &Call<'a>, i: usize) -> Result<Self> {
        let arg = call.arg(i)?;
        let wrong = || Error::internal(format!("a kernel was given {}", arg.array.data_type()));
        let array: &PrimitiveArray<T> = arg.array.as_primitive_opt().ok_or_else(wrong)?;
        let long_enough = array.len() >= if arg.constant { 1 } else { call.rows };
        if !long_enough {
            return Err(Error::internal("a kernel was given fewer rows than it is to make"));
        }
        let nulls = if arg.constant { None } else { array.nulls().cloned() };
        Ok(Self { values: array.values(), constant: arg.constant, nulls })
    }
}

/// Whether a constant argument is NULL, and with it every row.
fn nothing(call: &Call<'_>) -> Option<ArrayRef> {
    let null = call.args.iter().any(|arg| arg.constant && arg.array.is_null(0));
    null.then(|| new_null_array(call.result.data_type(), call.rows))
}

fn array<R: ArrowPrimitiveType>(call: &Call<'_>, values: Vec<R::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
    let array = PrimitiveArray::<R>::new(values.into(), nulls);
    match array.data_type() == call.result.data_type() {
        true => Arc::new(array),
        false => Arc::new(array.with_data_type(call.result.data_type().clone())),
    }
}

/// A function of two numbers, and how it can fail. `f` gives a value and whether there is none; `error` says of two
/// values that have none why.
pub(super) fn two_checked<A, B, R>(
    call: &Call<'_>,
    f: impl Fn(A::Native, B::Native) -> (R::Native, bool),
    error: impl Fn(A::Native, B::Native) -> Error,
) -> Result<ArrayRef>
where
    A: ArrowPrimitiveType,
    B: ArrowPrimitiveType,
    R: ArrowPrimitiveType,
{
    if let Some(nulls) = nothing(call) {
        return Ok(nulls);
    }
    let (a, b) = (Slots::<A>::of(call, 0)?, Slots::<B>::of(call, 1)?);
    let nulls = NullBuffer::union(a.nulls.as_ref(), b.nulls.as_ref());
    let mut failed = false;
    let mut each = |a: A::Native, b: B::Native| {
        let (value, fails) = f(a, b);
        failed |= fails;
        value
    };
    let rows = call.rows;
    let values: Vec<R::Native> = match (a.constant, b.constant) {
        (false, false) => a.values[..rows].iter().zip(&b.values[..rows]).map(|(a, b)| each(*a, *b)).collect(),
        (true, false) => b.values[..rows].iter().map(|b| each(a.values[0], *b)).collect(),
        (false, true) => a.values[..rows].iter().map(|a| each(*a, b.values[0])).collect(),
        (true, true) if rows == 0 => vec![],
        (true, true) => vec![each(a.values[0], b.values[0]); rows],
    };
    if failed {
        let (at, bt) = (|row| if a.constant { 0 } else { row }, |row| if b.constant { 0 } else { row });
        let valid = |row: &usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row));
        let pairs = (0..rows).filter(valid).map(|row| (a.values[at(row)], b.values[bt(row)]));
        if let Some((a, b)) = pairs.into_iter().find(|(a, b)| f(*a, *b).1) {
            return Err(error(a, b));
        }
    }
    Ok(array::<R>(call, values, nulls))
}

/// A function of two numbers that has a value for any.
pub(super) fn two<A, B, R>(call: &Call<'_>, f: impl Fn(A::Native, B::Native) -> R::Native) -> Result<ArrayRef>
where
    A: ArrowPrimitiveType,
    B: ArrowPrimitiveType,
    R: ArrowPrimitiveType,
{
    two_checked::<A, B, R>(call, |a, b| (f(a, b), false), |_, _| Error::internal("what cannot fail has failed"))
}

/// A condition on two numbers.
pub(super) fn compare<A, B>(call: &Call<'_>, f: impl Fn(A::Native, B::Native) -> bool) -> Result<ArrayRef>
where
    A: ArrowPrimitiveType,
    B: ArrowPrimitiveType,
{
    if let Some(nulls) = nothing(call) {
        return Ok(nulls);
    }
    let (a, b) = (Slots::<A>::of(call, 0)?, Slots::<B>::of(call, 1)?);
    let nulls = NullBuffer::union(a.nulls.as_ref(), b.nulls.as_ref());
    let rows = call.rows;
    let bits = match (a.constant, b.constant) {
        (false, false) => {
            let (a, b) = (&a.values[..rows], &b.values[..rows]);
            BooleanBuffer::collect_bool(rows, |i| f(a[i], b[i]))
        }
        (true, false) => {
            let (a, b) = (a.values[0], &b.values[..rows]);
            BooleanBuffer::collect_bool(rows, |i| f(a, b[i]))
        }
        (false, true) => {
            let (a, b) = (&a.values[..rows], b.values[0]);
            BooleanBuffer::collect_bool(rows, |i| f(a[i], b))
        }
        (true, true) => {
            let same = rows > 0 && f(a.values[0], b.values[0]);
            BooleanBuffer::collect_bool(rows, |_| same)
        }
    };
    Ok(Arc::new(BooleanArray::new(bits, nulls)))
}

/// A function of one number, and how it can fail, as [`two_checked`].
pub(super) fn one_checked<A, R>(
    call: &Call<'_>,
    f: impl Fn(A::Native) -> (R::Native, bool),
    error: impl Fn(A::Native) -> Error,
) -> Result<ArrayRef>
where
    A: ArrowPrimitiveType,
    R: ArrowPrimitiveType,
{
    if let Some(nulls) = nothing(call) {
        return Ok(nulls);
    }
    let a = Slots::<A>::of(call, 0)?;
    let mut failed = false;
    let mut each = |a: A::Native| {
        let (value, fails) = f(a);
        failed |= fails;
        value
    };
    let rows = call.rows;
    let values: Vec<R::Native> = match a.constant {
        false => a.values[..rows].iter().map(|a| each(*a)).collect(),
        true if rows == 0 => vec![],
        true => vec![each(a.values[0]); rows],
    };
    if failed {
        let valid = |row: &usize| a.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row));
        let at = |row: usize| a.values[if a.constant { 0 } else { row }];
        if let Some(value) = (0..rows).filter(valid).map(at).find(|value| f(*value).1) {
            return Err(error(value));
        }
    }
    Ok(array::<R>(call, values, a.nulls))
}

pub(super) fn one<A, R>(call: &Call<'_>, f: impl Fn(A::Native) -> R::Native) -> Result<ArrayRef>
where
    A: ArrowPrimitiveType,
    R: ArrowPrimitiveType,
{
    one_checked::<A, R>(call, |a| (f(a), false), |_| Error::internal("what cannot fail has failed"))
}
