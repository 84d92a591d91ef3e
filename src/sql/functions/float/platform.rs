//! Cube roots and inverse hyperbolic functions as glibc 2.36 computes them: those of Rust's library differ in last digits.

use std::f64::consts::LN_2;

/// 2^28 and 2^-28: beyond, one term of the formula is lost in the other.
const LARGE: f64 = 268_435_456.0;
const SMALL: f64 = 1.0 / LARGE;

/// By a polynomial for the mantissa and one step of Halley's.
pub(super) fn cbrt(x: f64) -> f64 {
    if x == 0.0 || !x.is_finite() {
        return x + x;
    }
    let (m, exponent) = mantissa(x.abs());
    #[rustfmt::skip]
    let u = 0.354_895_765_043_919_84
        + (1.508_191_937_815_849
            - (2.114_994_941_673_713
                - (2.446_931_225_635_344_4
                    - (1.834_692_774_836_130_8
                        - (0.784_932_344_976_639_2 - 0.145_263_899_385_486_37 * m) * m) * m) * m) * m) * m;
    let cube = u * u * u;
    const CBRT_2: f64 = 1.259_921_049_894_873_2;
    const CBRT_4: f64 = 1.587_401_051_968_199_6;
    let factor = match exponent % 3 {
        -2 => 1.0 / CBRT_4,
        -1 => 1.0 / CBRT_2,
        1 => CBRT_2,
        2 => CBRT_4,
        _ => 1.0,
    };
    let root = u * (cube + 2.0 * m) / (2.0 * cube + m) * factor;
    (root * 2f64.powi(exponent / 3)).copysign(x)
}

/// C's frexp, of a positive number: from 0.5 up to 1, and the power of two by which it is to be multiplied.
fn mantissa(x: f64) -> (f64, i32) {
    const EXPONENT: u64 = 0x7ff << 52;
    if x < f64::MIN_POSITIVE {
        let (m, exponent) = mantissa(x * 2f64.powi(64));
        return (m, exponent - 64);
    }
    let exponent = ((x.to_bits() & EXPONENT) >> 52) as i32;
    (f64::from_bits((x.to_bits() & !EXPONENT) | (1022 << 52)), exponent - 1022)
}

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
