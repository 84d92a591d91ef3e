//! The operators of numeric. Decimals of a scale known beforehand are computed as whole arrays of i128.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array};
use arrow::compute::kernels::arity::{try_binary, try_unary};
use arrow::datatypes::{DataType, Decimal128Type};
use arrow::error::ArrowError;
use num_bigint::BigInt;

use super::super::integer::division_by_zero;
use super::exact::{self, Leading};
use super::operand::{Operand, ten};
use crate::error::Result;
use crate::formats::postgres::numeric::Small;
use crate::sql::kernel::{Arg, Call, Kernel};
use crate::sql::numeric::{Numeric, SCALE_MAX};

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("numeric_add", |c| match decimals(c, At::Sum, i128::checked_add)? {
        Some(done) => Ok(done),
        None => c.two(add),
    }),
    ("numeric_sub", |c| match decimals(c, At::Sum, i128::checked_sub)? {
        Some(done) => Ok(done),
        None => c.two(|a: Operand, b: Operand| add(a, negate(b))),
    }),
    ("numeric_mul", |c| match decimals(c, At::Product, i128::checked_mul)? {
        Some(done) => Ok(done),
        None => c.two(multiply),
    }),
    ("numeric_div", |c| c.two(divide)),
    ("numeric_div_trunc", |c| c.two(|a: Operand, b: Operand| whole(a, b, Whole::Quotient))),
    ("numeric_mod", |c| c.two(|a: Operand, b: Operand| whole(a, b, Whole::Remainder))),
    ("numeric_uminus", |c| c.one(|a: Operand| Ok(negate(a)))),
    ("numeric_uplus", |c| c.one(|a: Operand| Ok(a))),
    ("numeric_abs", |c| c.one(|a: Operand| Ok(absolute(a)))),
    ("numeric_inc", |c| c.one(|a: Operand| add(a, Operand::small(1, 0)))),
    ("numeric_gcd", |c| c.two(greatest_divisor)),
    ("numeric_lcm", |c| c.two(least_multiple)),
];

/// Which scale the sides are to have.
#[derive(Clone, Copy)]
enum At {
    /// That of the result.
    Sum,
    /// Their own; the result's is their sum.
    Product,
}

/// Both sides are Decimal128 and so is the result: a plain loop. `None` where they are not, or where a value does not fit
/// (which `lies_as` keeps from happening), so that the general way decides.
fn decimals(call: &Call<'_>, at: At, f: fn(i128, i128) -> Option<i128>) -> Result<Option<ArrayRef>> {
    let DataType::Decimal128(precision, scale) = *call.result.data_type() else { return Ok(None) };
    let (Some(a), Some(b)) = (scaled(call.arg(0)?), scaled(call.arg(1)?)) else { return Ok(None) };
    let factor = |own: i8| u32::try_from(i32::from(scale) - i32::from(own)).ok().and_then(ten);
    let (x, y) = match at {
        At::Sum => match (factor(a.scale), factor(b.scale)) {
            (Some(x), Some(y)) => (x, y),
            _ => return Ok(None),
        },
        At::Product if i32::from(a.scale) + i32::from(b.scale) == i32::from(scale) => (1, 1),
        At::Product => return Ok(None),
    };
    let overflow = || ArrowError::ComputeError(String::new());
    let each = |a: i128, b: i128| {
        let (a, b) = (if x == 1 { Some(a) } else { a.checked_mul(x) }, if y == 1 { Some(b) } else { b.checked_mul(y) });
        a.zip(b).and_then(|(a, b)| f(a, b)).ok_or_else(overflow)
    };
    let done: Result<Decimal128Array, ArrowError> = match (a.constant, b.constant) {
        (None, None) => try_binary(a.array, b.array, each),
        (Some(a), None) => try_unary::<_, _, Decimal128Type>(b.array, |b| each(a, b)),
        (None, Some(b)) => try_unary::<_, _, Decimal128Type>(a.array, |a| each(a, b)),
        (Some(_), Some(_)) => return Ok(None),
    };
    match done {
        Ok(array) => Ok(Some(Arc::new(array.with_precision_and_scale(precision, scale)?))),
        Err(_) => Ok(None),
    }
}

struct Scaled<'a> {
    array: &'a Decimal128Array,
    scale: i8,
    constant: Option<i128>,
}

/// `None` also for a NULL constant.
fn scaled(arg: &Arg) -> Option<Scaled<'_>> {
    let DataType::Decimal128(_, scale) = *arg.array.data_type() else { return None };
    let array: &Decimal128Array = arg.array.as_primitive_opt()?;
    let constant = match arg.constant {
        true => Some((!array.is_null(0)).then(|| array.value(0))?),
        false => None,
    };
    Some(Scaled { array, scale, constant })
}

/// Digits of both at the larger scale, where they fit.
pub(super) fn aligned(a: Small, b: Small) -> Option<(i128, i128, u32)> {
    let scale = a.scale.max(b.scale);
    let at = |v: Small| match scale - v.scale {
        0 => Some(v.digits),
        zeros => v.digits.checked_mul(ten(zeros)?),
    };
    Some((at(a)?, at(b)?, scale))
}

fn add(a: Operand, b: Operand) -> Result<Operand> {
    if let (Operand::Small(a), Operand::Small(b)) = (&a, &b)
        && let Some((a, b, scale)) = aligned(*a, *b)
        && let Some(sum) = a.checked_add(b)
    {
        return Ok(Operand::small(sum, scale));
    }
    exact::add(&a.numeric(), &b.numeric()).map(Operand::from)
}

fn multiply(a: Operand, b: Operand) -> Result<Operand> {
    if let (Operand::Small(a), Operand::Small(b)) = (&a, &b)
        && a.scale + b.scale <= SCALE_MAX
        && let Some(product) = a.digits.checked_mul(b.digits)
    {
        return Ok(Operand::small(product, a.scale + b.scale));
    }
    exact::multiply(&a.numeric(), &b.numeric()).map(Operand::from)
}

fn divide(a: Operand, b: Operand) -> Result<Operand> {
    if let (Operand::Small(a), Operand::Small(b)) = (&a, &b) {
        if b.digits == 0 {
            return Err(division_by_zero());
        }
        let leading = |v: &Small| Leading::of_small(v.digits.unsigned_abs(), v.scale);
        let scale = exact::quotient_scale(leading(a), leading(b), a.scale, b.scale);
        let shift = i64::from(scale) + i64::from(b.scale) - i64::from(a.scale);
        if let Some(power) = u32::try_from(shift).ok().and_then(ten)
            && let Some(dividend) = a.digits.checked_mul(power)
            && let Some(quotient) = dividend.checked_div(b.digits)
        {
            let rest = (dividend % b.digits).unsigned_abs();
            let up = rest >= b.digits.unsigned_abs() - rest;
            let away = if (dividend < 0) == (b.digits < 0) { 1 } else { -1 };
            return Ok(Operand::small(quotient + if up { away } else { 0 }, scale));
        }
        // one digit more than 38 is still far from needing the general way's powers of its own
        return Ok(Numeric::new(
            exact::quotient(&BigInt::from(a.digits), a.scale, &BigInt::from(b.digits), b.scale, scale),
            scale,
        )
        .checked()?
        .into());
    }
    exact::divide(&a.numeric(), &b.numeric()).map(Operand::from)
}

#[derive(Clone, Copy)]
enum Whole {
    Quotient,
    Remainder,
}

fn whole(a: Operand, b: Operand, wanted: Whole) -> Result<Operand> {
    if let (Operand::Small(a), Operand::Small(b)) = (&a, &b)
        && let Some((a, b, scale)) = aligned(*a, *b)
    {
        if b == 0 {
            return Err(division_by_zero());
        }
        // only the least i128 by -1 has no quotient
        let pair = a.checked_div(b).zip(a.checked_rem(b));
        if let Some((quotient, rest)) = pair {
            return Ok(match wanted {
                Whole::Quotient => Operand::small(quotient, 0),
                Whole::Remainder => Operand::small(rest, scale),
            });
        }
    }
    let (a, b) = (a.numeric(), b.numeric());
    match wanted {
        Whole::Quotient => exact::divide_truncated(&a, &b).map(Operand::from),
        Whole::Remainder => exact::remainder(&a, &b).map(Operand::from),
    }
}

fn negate(a: Operand) -> Operand {
    match a {
        Operand::Small(Small { digits, scale }) if digits != i128::MIN => Operand::small(-digits, scale),
        other => exact::negate(other.numeric()).into(),
    }
}

fn absolute(a: Operand) -> Operand {
    match a {
        Operand::Small(small) if small.digits >= 0 => Operand::Small(small),
        Operand::Small(small) => negate(Operand::Small(small)),
        Operand::Large(value) if exact::sign(&value) == Some(num_bigint::Sign::Minus) => exact::negate(value).into(),
        Operand::Large(value) => Operand::Large(value),
    }
}

fn greatest_divisor(a: Operand, b: Operand) -> Result<Operand> {
    if let (Operand::Small(a), Operand::Small(b)) = (&a, &b)
        && let Some((a, b, scale)) = aligned(*a, *b)
    {
        let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
        while b != 0 {
            (a, b) = (b, a % b);
        }
        if let Ok(divisor) = i128::try_from(a) {
            return Ok(Operand::small(divisor, scale));
        }
    }
    Ok(exact::greatest_divisor(&a.numeric(), &b.numeric()).into())
}

fn least_multiple(a: Operand, b: Operand) -> Result<Operand> {
    exact::least_multiple(&a.numeric(), &b.numeric()).map(Operand::from)
}
