//! record_eq, record_cmp: columns in order until two differ. Types must be the same column by column, and records of other
//! lengths are refused when all columns that both have are equal.

use std::cmp::Ordering;

use arrow::array::{ArrayRef, AsArray, StructArray};

use crate::error::{Error, Kind, Result};
use crate::formats::postgres::type_name;
use crate::pgtype;
use crate::sql::functions::compare::{Compare, Need, comparer};
use crate::sql::kernel::{Call, Written};

struct Columns {
    /// Up to the first whose types differ.
    orders: Vec<Compare>,
    /// Met when all before are equal.
    refusal: Option<Error>,
}

impl Columns {
    fn of(left: &StructArray, right: &StructArray, need: Need, c: &Call<'_>) -> Result<Self> {
        let mut orders = vec![];
        for (at, (a, b)) in left.fields().iter().zip(right.fields()).enumerate() {
            let (ty, other) = (pgtype::of_field(a)?, pgtype::of_field(b)?);
            if ty.oid != other.oid {
                let (ty, other) = (type_name(ty.oid, -1), type_name(other.oid, -1));
                let text =
                    format!("cannot compare dissimilar column types {ty} and {other} at record column {}", at + 1);
                return Ok(Self { orders, refusal: Some(Error::new(Kind::TypeMismatch, text)) });
            }
            orders.push(comparer(ty.oid, left.column(at), right.column(at), need, c.env)?);
        }
        let text = "cannot compare record types with different numbers of columns";
        let same = left.num_columns() == right.num_columns();
        Ok(Self { orders, refusal: (!same).then(|| Error::new(Kind::TypeMismatch, text)) })
    }

    fn compare(&self, left: usize, right: usize) -> Result<Ordering> {
        if let Some(order) = self.orders.iter().map(|order| order(left, right)).find(|order| order.is_ne()) {
            return Ok(order);
        }
        match &self.refusal {
            Some(error) => Err(Error::new(error.kind(), error.message())),
            None => Ok(Ordering::Equal),
        }
    }
}

fn each<R: Written>(c: &Call<'_>, need: Need, f: impl Fn(Ordering) -> R) -> Result<ArrayRef>
where
    Option<R::Value>: Written<Value = R::Value>,
{
    let (left, right) = (c.arg(0)?, c.arg(1)?);
    let (Some(a), Some(b)) = (left.array.as_struct_opt(), right.array.as_struct_opt()) else {
        return c.rows_of(|_| Ok(None::<R::Value>));
    };
    let columns = Columns::of(a, b, need, c)?;
    c.rows_of(|row| {
        if left.is_null(row) || right.is_null(row) {
            return Ok(None);
        }
        columns.compare(left.at(row), right.at(row)).map(|order| f(order).written())
    })
}

pub(super) fn equal(c: &Call<'_>, equal: bool) -> Result<ArrayRef> {
    each(c, Need::Equality, |order| order.is_eq() == equal)
}

pub(super) fn ordered(c: &Call<'_>, is: fn(Ordering) -> bool) -> Result<ArrayRef> {
    each(c, Need::Order, is)
}

pub(super) fn compared(c: &Call<'_>) -> Result<ArrayRef> {
    each(c, Need::Order, |order| order as i32)
}
