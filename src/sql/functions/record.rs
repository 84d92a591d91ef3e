//! Records: their text (record_out), and their order, column by column (record_cmp). `compare` has the orders of the
//! columns' types.

mod compare;
#[cfg(test)]
mod tests;
mod text;

use std::cmp::Ordering;

use crate::error::Error;
use crate::sql::kernel::Kernel;

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("record_in", |_| Err(Error::unsupported("input of a record"))),
    ("record_out", text::output),
    ("record_eq", |c| compare::equal(c, true)),
    ("record_ne", |c| compare::equal(c, false)),
    ("record_lt", |c| compare::ordered(c, Ordering::is_lt)),
    ("record_le", |c| compare::ordered(c, Ordering::is_le)),
    ("record_gt", |c| compare::ordered(c, Ordering::is_gt)),
    ("record_ge", |c| compare::ordered(c, Ordering::is_ge)),
    ("btrecordcmp", compare::compared),
];
