//! Inverse hyperbolic functions as glibc computes them (fdlibm's formulas): those of Rust's library differ in last digits.

use std::f64::consts::LN_2;

/// 2^28 and 2^-28: beyond, one term of the formula is lost in the other.
const LARGE: f64 = 268_435_456.0;
const SMALL: f64 = 1.0 / LARGE;

pub(super) fn asinh(x: f64) -> f64 {
    let a = x.abs();
    if x.is_nan() || x.is_infinite() || a < SMALL {
        return x;
    }
    let w = if a > LARGE {
        a.ln() + LN_2
    } else if a > 2.0 {
        (2.0 * a + 1.0 / ((a * a + 1.0).sqrt() + a)).ln()
    } else {
        let t = a * a;
        (a + t / (1.0 + (1.0 + t).sqrt())).ln_1p()
    };
    w.copysign(x)
}

/// Of 1 and more.
pub(super) fn acosh(x: f64) -> f64 {
    if x >= LARGE {
        x.ln() + LN_2
    } else if x > 2.0 {
        (2.0 * x - 1.0 / (x + (x * x - 1.0).sqrt())).ln()
    } else {
        let t = x - 1.0;
        (t + (2.0 * t + t * t).sqrt()).ln_1p()
    }
}

/// Between -1 and 1.
pub(super) fn atanh(x: f64) -> f64 {
    let a = x.abs();
    if a < SMALL {
        return x;
    }
    let w = if a < 0.5 {
        let t = a + a;
        0.5 * (t + t * a / (1.0 - a)).ln_1p()
    } else {
        0.5 * ((a + a) / (1.0 - a)).ln_1p()
    };
    w.copysign(x)
}
