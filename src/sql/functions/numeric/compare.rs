//! Order of numerics, and the bytes by which columns of them are compared natively.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder};
use arrow::datatypes::{DataType, Decimal128Type};

use super::super::integer::invalid_offset;
use super::super::native;
use super::arithmetic::aligned;
use super::exact;
use super::operand::Operand;
use crate::error::Result;
use crate::sql::kernel::{Call, Kernel};
use crate::sql::numeric::{self, Numeric};

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("numeric_eq", |c| compared(c, Ordering::is_eq)),
    ("numeric_ne", |c| compared(c, Ordering::is_ne)),
    ("numeric_lt", |c| compared(c, Ordering::is_lt)),
    ("numeric_le", |c| compared(c, Ordering::is_le)),
    ("numeric_gt", |c| compared(c, Ordering::is_gt)),
    ("numeric_ge", |c| compared(c, Ordering::is_ge)),
    ("numeric_cmp", |c| c.two(|a: Operand, b: Operand| Ok(order(&a, &b) as i32))),
    ("numeric_larger", |c| c.two(|a: Operand, b: Operand| Ok(if order(&a, &b).is_gt() { a } else { b }))),
    ("numeric_smaller", |c| c.two(|a: Operand, b: Operand| Ok(if order(&a, &b).is_lt() { a } else { b }))),
    ("key/numeric", key),
    ("in_range_numeric_numeric", within),
];

/// NaN equals itself and is the greatest.
pub(super) fn order(a: &Operand, b: &Operand) -> Ordering {
    if let (Operand::Small(a), Operand::Small(b)) = (a, b)
        && let Some((a, b, _)) = aligned(*a, *b)
    {
        return a.cmp(&b);
    }
    a.clone().numeric().compare(&b.clone().numeric())
}

fn compared(call: &Call<'_>, is: fn(Ordering) -> bool) -> Result<ArrayRef> {
    match (call.arg(0)?.array.data_type(), call.arg(1)?.array.data_type()) {
        (DataType::Decimal128(_, x), DataType::Decimal128(_, y)) if x == y => {
            native::compare::<Decimal128Type, Decimal128Type>(call, |a, b| is(a.cmp(&b)))
        }
        _ => call.two(|a: Operand, b: Operand| Ok(is(order(&a, &b)))),
    }
}

/// A numeric's bytes without the scale: equal for equal values.
fn key(call: &Call<'_>) -> Result<ArrayRef> {
    let arg = call.arg(0)?;
    if let Some(column) = arg.array.as_binary_opt::<i32>() {
        let mut keys = BinaryBuilder::with_capacity(call.rows, column.value_data().len());
        for row in 0..call.rows {
            let row = arg.at(row);
            keys.append_option((!column.is_null(row)).then(|| numeric::key(column.value(row))));
        }
        return Ok(Arc::new(keys.finish()));
    }
    let values = call.read::<Operand>(0)?;
    let mut keys = BinaryBuilder::with_capacity(call.rows, call.rows * 12);
    let mut bytes = Vec::new();
    for row in 0..call.rows {
        bytes.clear();
        match values.get(row) {
            Some(Operand::Small(small)) => small.encode(&mut bytes),
            Some(Operand::Large(value)) => value.encode_into(&mut bytes),
            None => {
                keys.append_null();
                continue;
            }
        }
        keys.append_value(numeric::key(&bytes));
    }
    Ok(Arc::new(keys.finish()))
}

/// `value`, `base`, `offset`, whether it is subtracted, whether `value` is to be less: of a window's RANGE frame.
fn within(call: &Call<'_>) -> Result<ArrayRef> {
    let (value, base, offset) = (call.read::<Numeric>(0)?, call.read::<Numeric>(1)?, call.read::<Numeric>(2)?);
    let (subtract, less) = (call.read::<bool>(3)?, call.read::<bool>(4)?);
    call.rows_of(|row| {
        let (Some(value), Some(base), Some(offset), Some(subtract), Some(less)) =
            (value.get(row), base.get(row), offset.get(row), subtract.get(row), less.get(row))
        else {
            return Ok(None);
        };
        if matches!(offset, Numeric::NaN) || offset.compare(&Numeric::zero()).is_lt() {
            return Err(invalid_offset());
        }
        match (&value, &base) {
            (Numeric::NaN, Numeric::NaN) => return Ok(Some(true)),
            (Numeric::NaN, _) => return Ok(Some(!less)),
            (_, Numeric::NaN) => return Ok(Some(less)),
            _ => {}
        }
        let against = if subtract { Numeric::Infinity } else { Numeric::NegativeInfinity };
        if offset == Numeric::Infinity && base == against {
            return Ok(Some(true));
        }
        let bound = if subtract { exact::subtract(&base, &offset)? } else { exact::add(&base, &offset)? };
        let order = value.compare(&bound);
        Ok(Some(if less { order.is_le() } else { order.is_ge() }))
    })
}
