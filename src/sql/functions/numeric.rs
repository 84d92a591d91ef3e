//! numeric (numeric.c): arithmetic with PostgreSQL's result scales digit for digit, and to_char and to_number. A value of
//! at most 38 digits is computed in an i128; only others take memory ([`operand`]).

use super::native::{count, joined};
use crate::error::{Error, Kind};
use crate::sql::kernel::Kernel;

mod arithmetic;
mod bucket;
mod compare;
mod convert;
pub(in crate::sql) mod exact;
mod lies;
mod operand;
pub(in crate::sql) mod powers;
mod round;
mod template;
#[cfg(test)]
mod tests;

pub(super) use lies::lies_as;

pub(super) const KERNELS: &[(&str, Kernel)] = &joined::<{ count(PARTS) }>(PARTS);

const PARTS: &[&[(&str, Kernel)]] = &[
    arithmetic::KERNELS,
    bucket::KERNELS,
    compare::KERNELS,
    convert::KERNELS,
    powers::KERNELS,
    round::KERNELS,
    template::KERNELS,
];

pub(in crate::sql) fn overflow() -> Error {
    Error::new(Kind::NumericRange, "value overflows numeric format")
}
