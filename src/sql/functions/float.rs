//! real and double precision (float.c). The elementary functions are the platform's, as PostgreSQL's are.

use super::native::{count, joined};
use crate::error::{Error, Kind};
use crate::sql::kernel::Kernel;

mod arithmetic;
mod compare;
mod convert;
mod degrees;
mod elementary;
mod platform;
#[cfg(test)]
mod tests;

pub(super) const KERNELS: &[(&str, Kernel)] = &joined::<{ count(PARTS) }>(PARTS);

const PARTS: &[&[(&str, Kernel)]] =
    &[arithmetic::KERNELS, compare::KERNELS, compare::FRAMES, convert::KERNELS, degrees::KERNELS, elementary::KERNELS];

pub(super) fn overflow() -> Error {
    Error::new(Kind::NumericRange, "value out of range: overflow")
}

pub(super) fn underflow() -> Error {
    Error::new(Kind::NumericRange, "value out of range: underflow")
}

fn input_out_of_range() -> Error {
    Error::new(Kind::NumericRange, "input is out of range")
}
