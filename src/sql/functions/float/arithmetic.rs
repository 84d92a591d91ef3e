//! Sums, products and quotients of floats: what overflows or vanishes without an infinity or a zero among its arguments is
//! 22003.

use arrow::datatypes::{Float32Type, Float64Type};

use super::super::integer::division_by_zero;
use super::super::native;
use super::{count, joined, overflow, underflow};
use crate::sql::kernel::Kernel;

/// Arrow's order takes the sign of a NaN for a sign, and the processor gives one to each NaN that it makes.
macro_rules! one_nan {
    ($value:expr) => {{
        let value = $value;
        if value.is_nan() { value.abs() } else { value }
    }};
}

/// The four operations on an `$a` and a `$b`, as `$n`.
macro_rules! four {
    ($name:literal, $a:ty, $b:ty => $r:ty, $n:ty) => {
        &[
            (concat!($name, "pl"), |c| {
                let sum = |a, b| {
                    let (a, b) = (<$n>::from(a), <$n>::from(b));
                    let sum = one_nan!(a + b);
                    (sum, sum.is_infinite() && !a.is_infinite() && !b.is_infinite())
                };
                native::two_checked::<$a, $b, $r>(c, sum, |_, _| overflow())
            }),
            (concat!($name, "mi"), |c| {
                let difference = |a, b| {
                    let (a, b) = (<$n>::from(a), <$n>::from(b));
                    let difference = one_nan!(a - b);
                    (difference, difference.is_infinite() && !a.is_infinite() && !b.is_infinite())
                };
                native::two_checked::<$a, $b, $r>(c, difference, |_, _| overflow())
            }),
            (concat!($name, "mul"), |c| {
                let product = |a, b| {
                    let (a, b) = (<$n>::from(a), <$n>::from(b));
                    let product = one_nan!(a * b);
                    let infinite = product.is_infinite() && !a.is_infinite() && !b.is_infinite();
                    (product, infinite || (product == 0.0 && a != 0.0 && b != 0.0))
                };
                native::two_checked::<$a, $b, $r>(c, product, |a, b| match product(a, b).0 {
                    0.0 => underflow(),
                    _ => overflow(),
                })
            }),
            (concat!($name, "div"), |c| {
                let quotient = |a, b| {
                    let (a, b) = (<$n>::from(a), <$n>::from(b));
                    let quotient = one_nan!(a / b);
                    let fails = (b == 0.0 && !a.is_nan())
                        || (quotient.is_infinite() && !a.is_infinite())
                        || (quotient == 0.0 && a != 0.0 && !b.is_infinite());
                    (quotient, fails)
                };
                native::two_checked::<$a, $b, $r>(c, quotient, |a, b| match quotient(a, b).0 {
                    _ if b == 0.0 => division_by_zero(),
                    0.0 => underflow(),
                    _ => overflow(),
                })
            }),
        ]
    };
}

macro_rules! signs {
    ($name:literal, $t:ty) => {
        &[
            (concat!($name, "um"), |c| native::one::<$t, $t>(c, |a| if a.is_nan() { a.abs() } else { -a })),
            (concat!($name, "up"), |c| native::one::<$t, $t>(c, |a| a)),
            (concat!($name, "abs"), |c| native::one::<$t, $t>(c, |a| a.abs())),
        ]
    };
}

pub(super) const KERNELS: &[(&str, Kernel)] = &joined::<{ count(PARTS) }>(PARTS);

const PARTS: &[&[(&str, Kernel)]] = &[
    four!("float4", Float32Type, Float32Type => Float32Type, f32),
    four!("float8", Float64Type, Float64Type => Float64Type, f64),
    four!("float48", Float32Type, Float64Type => Float64Type, f64),
    four!("float84", Float64Type, Float32Type => Float64Type, f64),
    signs!("float4", Float32Type),
    signs!("float8", Float64Type),
];
