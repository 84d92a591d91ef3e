//! Sums, products, quotients, bits and divisors of integers. A result that its type does not hold is 22003.

use arrow::datatypes::{Int16Type, Int32Type, Int64Type};

use super::super::native;
use super::{bigint_out_of_range, count, division_by_zero, integer_out_of_range, joined, smallint_out_of_range};
use crate::error::Error;
use crate::sql::kernel::Kernel;

/// The four operations on an `$a` and a `$b` in the wider type of the two.
macro_rules! four {
    ($name:literal, $a:ty, $b:ty => $r:ty, $n:ty, $range:expr) => {
        &[
            (concat!($name, "pl"), |c| {
                native::two_checked::<$a, $b, $r>(c, |a, b| <$n>::from(a).overflowing_add(b.into()), |_, _| $range())
            }),
            (concat!($name, "mi"), |c| {
                native::two_checked::<$a, $b, $r>(c, |a, b| <$n>::from(a).overflowing_sub(b.into()), |_, _| $range())
            }),
            (concat!($name, "mul"), |c| {
                native::two_checked::<$a, $b, $r>(c, |a, b| <$n>::from(a).overflowing_mul(b.into()), |_, _| $range())
            }),
            (concat!($name, "div"), |c| {
                native::two_checked::<$a, $b, $r>(
                    c,
                    |a, b| match <$n>::from(b) {
                        0 => (0, true),
                        b => <$n>::from(a).overflowing_div(b),
                    },
                    |_, b| if b == 0 { division_by_zero() } else { $range() },
                )
            }),
        ]
    };
}

/// What one width has for itself.
macro_rules! width {
    ($name:literal, $a:ty, $n:ty, $shift:ty, $range:expr) => {
        &[
            (concat!($name, "um"), |c| native::one_checked::<$a, $a>(c, <$n>::overflowing_neg, |_| $range())),
            (concat!($name, "up"), |c| native::one::<$a, $a>(c, |a| a)),
            (concat!($name, "abs"), |c| native::one_checked::<$a, $a>(c, <$n>::overflowing_abs, |_| $range())),
            (concat!($name, "mod"), |c| {
                native::two_checked::<$a, $a, $a>(
                    c,
                    |a, b| match b {
                        0 => (0, true),
                        b => (a.wrapping_rem(b), false),
                    },
                    |_, _| division_by_zero(),
                )
            }),
            (concat!($name, "and"), |c| native::two::<$a, $a, $a>(c, |a, b| a & b)),
            (concat!($name, "or"), |c| native::two::<$a, $a, $a>(c, |a, b| a | b)),
            (concat!($name, "xor"), |c| native::two::<$a, $a, $a>(c, |a, b| a ^ b)),
            (concat!($name, "not"), |c| native::one::<$a, $a>(c, |a| !a)),
            // C leaves distances beyond the width open; what PostgreSQL's platforms do is to mask them, and a smallint
            // is shifted as an integer and cut
            (concat!($name, "shl"), |c| {
                native::two::<$a, Int32Type, $a>(c, |a, b| {
                    let wide: $shift = a.into();
                    wide.wrapping_shl(b.cast_unsigned()) as $n
                })
            }),
            (concat!($name, "shr"), |c| {
                native::two::<$a, Int32Type, $a>(c, |a, b| {
                    let wide: $shift = a.into();
                    wide.wrapping_shr(b.cast_unsigned()) as $n
                })
            }),
            (concat!($name, "larger"), |c| native::two::<$a, $a, $a>(c, <$n>::max)),
            (concat!($name, "smaller"), |c| native::two::<$a, $a, $a>(c, <$n>::min)),
        ]
    };
}

pub(super) const KERNELS: &[(&str, Kernel)] = &joined::<{ count(PARTS) }>(PARTS);

const PARTS: &[&[(&str, Kernel)]] = &[
    four!("int2", Int16Type, Int16Type => Int16Type, i16, smallint_out_of_range),
    four!("int4", Int32Type, Int32Type => Int32Type, i32, integer_out_of_range),
    four!("int8", Int64Type, Int64Type => Int64Type, i64, bigint_out_of_range),
    width!("int2", Int16Type, i16, i32, smallint_out_of_range),
    width!("int4", Int32Type, i32, i32, integer_out_of_range),
    width!("int8", Int64Type, i64, i64, bigint_out_of_range),
    &[
        ("int4inc", |c| {
            native::one_checked::<Int32Type, Int32Type>(c, |a| a.overflowing_add(1), |_| integer_out_of_range())
        }),
        ("int8inc", |c| {
            native::one_checked::<Int64Type, Int64Type>(c, |a| a.overflowing_add(1), |_| bigint_out_of_range())
        }),
        ("int8dec", |c| {
            native::one_checked::<Int64Type, Int64Type>(c, |a| a.overflowing_sub(1), |_| bigint_out_of_range())
        }),
        ("int4gcd", |c| c.two(|a: i32, b: i32| small(gcd(a.unsigned_abs().into(), b.unsigned_abs().into()).into()))),
        ("int8gcd", |c| c.two(|a: i64, b: i64| large(gcd(a.unsigned_abs(), b.unsigned_abs()).into()))),
        ("int4lcm", |c| c.two(|a: i32, b: i32| small(lcm(a.unsigned_abs().into(), b.unsigned_abs().into())))),
        ("int8lcm", |c| c.two(|a: i64, b: i64| large(lcm(a.unsigned_abs(), b.unsigned_abs())))),
    ],
];

/// Of two widths.
pub(super) const ACROSS: &[(&str, Kernel)] = &joined::<{ count(ACROSS_PARTS) }>(ACROSS_PARTS);

const ACROSS_PARTS: &[&[(&str, Kernel)]] = &[
    four!("int24", Int16Type, Int32Type => Int32Type, i32, integer_out_of_range),
    four!("int42", Int32Type, Int16Type => Int32Type, i32, integer_out_of_range),
    four!("int28", Int16Type, Int64Type => Int64Type, i64, bigint_out_of_range),
    four!("int82", Int64Type, Int16Type => Int64Type, i64, bigint_out_of_range),
    four!("int48", Int32Type, Int64Type => Int64Type, i64, bigint_out_of_range),
    four!("int84", Int64Type, Int32Type => Int64Type, i64, bigint_out_of_range),
];

/// Euclid's. That of zeros is zero.
fn gcd(a: u64, b: u64) -> u64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn lcm(a: u64, b: u64) -> u128 {
    match gcd(a, b) {
        0 => 0,
        divisor => u128::from(a / divisor) * u128::from(b),
    }
}

fn small(value: u128) -> Result<i32, Error> {
    i32::try_from(value).map_err(|_| integer_out_of_range())
}

fn large(value: u128) -> Result<i64, Error> {
    i64::try_from(value).map_err(|_| bigint_out_of_range())
}
