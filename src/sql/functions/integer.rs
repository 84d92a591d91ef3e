//! smallint, integer, bigint, and the oid-like numbers (int.c, int8.c, oid.c, xid.c). Not their aggregates, nor series.

use super::native::{count, joined};
use crate::error::{Error, Kind};
use crate::sql::kernel::Kernel;

mod arithmetic;
mod compare;
mod convert;
mod frame;
#[cfg(test)]
mod tests;

pub(super) use frame::invalid_offset;

pub(super) const KERNELS: &[(&str, Kernel)] = &joined::<{ count(PARTS) }>(PARTS);

const PARTS: &[&[(&str, Kernel)]] =
    &[arithmetic::KERNELS, arithmetic::ACROSS, compare::KERNELS, compare::ACROSS, convert::KERNELS, frame::KERNELS];

pub(super) fn smallint_out_of_range() -> Error {
    Error::new(Kind::NumericRange, "smallint out of range")
}

pub(super) fn integer_out_of_range() -> Error {
    Error::new(Kind::NumericRange, "integer out of range")
}

pub(super) fn bigint_out_of_range() -> Error {
    Error::new(Kind::NumericRange, "bigint out of range")
}

pub(super) fn division_by_zero() -> Error {
    Error::new(Kind::DivisionByZero, "division by zero")
}
