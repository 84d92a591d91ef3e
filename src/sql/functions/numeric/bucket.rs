//! width_bucket of numerics.

use super::super::integer::integer_out_of_range;
use super::exact;
use crate::error::{Error, Kind, Result};
use crate::sql::kernel::Kernel;
use crate::sql::numeric::{Numeric, power_of_ten};

pub(super) const KERNELS: &[(&str, Kernel)] = &[("width_bucket_numeric", |c| c.four(width_bucket))];

fn width_bucket(operand: Numeric, low: Numeric, high: Numeric, count: i32) -> Result<i32> {
    let wrong = |text: &str| Err(Error::new(Kind::WidthBucketArgument, text));
    if count <= 0 {
        return wrong("count must be greater than zero");
    }
    if [&operand, &low, &high].contains(&&Numeric::NaN) {
        return wrong("operand, lower bound, and upper bound cannot be NaN");
    }
    let finite = |bound: &Numeric| matches!(bound, Numeric::Finite { .. });
    if !finite(&low) || !finite(&high) {
        return wrong("lower and upper bounds must be finite");
    }
    let ascending = match low.compare(&high) {
        std::cmp::Ordering::Less => true,
        std::cmp::Ordering::Greater => false,
        std::cmp::Ordering::Equal => return wrong("lower bound cannot equal upper bound"),
    };
    let (before, after) = match ascending {
        true => (operand.compare(&low).is_lt(), operand.compare(&high).is_ge()),
        false => (operand.compare(&low).is_gt(), operand.compare(&high).is_le()),
    };
    if before {
        return Ok(0);
    }
    if after {
        return count.checked_add(1).ok_or_else(integer_out_of_range);
    }
    let (distance, width) = match ascending {
        true => (exact::subtract(&operand, &low)?, exact::subtract(&high, &low)?),
        false => (exact::subtract(&low, &operand)?, exact::subtract(&low, &high)?),
    };
    // The quotient is rounded, and a share that rounds to one lands in the bucket after the last.
    let share = exact::divide(&exact::multiply(&distance, &Numeric::new(count.into(), 0))?, &width)?;
    let Numeric::Finite { digits, scale } = share else { return Err(integer_out_of_range()) };
    let whole = digits / power_of_ten(scale) + 1;
    i32::try_from(whole).map_err(|_| integer_out_of_range())
}
