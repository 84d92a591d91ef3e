//! Logarithms and exponentials as integers of a fixed point, rounded to the digits asked for. Every step works with guard
//! digits beyond them, so that what is lost in between does not reach the last digit that is shown.

use std::sync::LazyLock;

use num_bigint::{BigInt, Sign};

use crate::sql::numeric::{decimal_length, divide_rounded, power_of_ten};

/// Digits beyond those asked for.
const GUARD: u32 = 14;
/// Numbers with more digits than this before or behind the point are first brought near one by a power of ten.
const NEAR: i64 = 40;

/// ln(10), which nearly every exponential needs, with more digits than nearly every one needs.
const KNOWN: u32 = 120;
static LN_10: LazyLock<BigInt> = LazyLock::new(|| near_one(BigInt::from(10) * power_of_ten(KNOWN), KNOWN));

/// ln(10) · 10^scale.
fn ln_10(scale: u32) -> BigInt {
    match KNOWN.checked_sub(scale) {
        Some(surplus) => &*LN_10 / power_of_ten(surplus),
        None => near_one(BigInt::from(10) * power_of_ten(scale + GUARD), scale + GUARD) / power_of_ten(GUARD),
    }
}

/// `digits · 10^by`, cut.
fn moved(digits: &BigInt, by: i64) -> BigInt {
    let power = power_of_ten(u32::try_from(by.unsigned_abs()).unwrap_or(u32::MAX));
    if by >= 0 { digits * power } else { digits / power }
}

/// ln(digits · 10^-scale) · 10^shown, rounded. The argument is positive.
pub(super) fn logarithm(digits: &BigInt, scale: u32, shown: u32) -> BigInt {
    let exponent = decimal_length(digits.magnitude()) as i64 - i64::from(scale);
    let working = shown + GUARD;
    if exponent.abs() <= NEAR {
        // a small number keeps its digits only with so many places more
        let extra = u32::try_from(-exponent).unwrap_or(0);
        let value = moved(digits, i64::from(working + extra) - i64::from(scale));
        return divide_rounded(&near_one(value, working + extra), &power_of_ten(GUARD + extra));
    }
    // ln(m · 10^e) = ln(m) + e · ln(10), m from 0.1 to 1
    let working = working + 8;
    let mantissa = moved(digits, i64::from(working) - i64::from(scale) - exponent);
    let sum = near_one(mantissa, working) + ln_10(working) * exponent;
    divide_rounded(&sum, &power_of_ten(GUARD + 8))
}

/// ln of a fixed-point number: roots until it lies near one, then 2 · artanh((x - 1) / (x + 1)).
fn near_one(value: BigInt, scale: u32) -> BigInt {
    // every root doubles the error when it is undone
    let spare = 6;
    let scale = scale + spare;
    let one = power_of_ten(scale);
    let (low, high) = (&one * 9 / 10, &one * 11 / 10);
    let mut x = value * power_of_ten(spare);
    let mut roots = 0u32;
    while x <= low || x >= high {
        x = (x * &one).sqrt();
        roots += 1;
        if x.sign() == Sign::NoSign {
            return BigInt::ZERO;
        }
    }
    let z = (&x - &one) * &one / (&x + &one);
    let square = &z * &z / &one;
    let (mut term, mut sum, mut divisor) = (z.clone(), z, 1u32);
    loop {
        term = term * &square / &one;
        divisor += 2;
        if term.sign() == Sign::NoSign {
            break;
        }
        sum += &term / divisor;
    }
    (sum << (roots + 1)) / power_of_ten(spare)
}

/// e^(digits · 10^-scale) · 10^shown, rounded. The exponent is less than 6000 in either direction.
pub(super) fn exponential(digits: &BigInt, scale: u32, shown: u32) -> BigInt {
    // e^x = 10^k · e^r: k digits of the result stand before its point, or zeros behind it
    let about = super::estimate(digits, scale);
    let tens = (about / std::f64::consts::LN_10).round() as i64;
    let working = i64::from(shown) + tens + i64::from(GUARD);
    let Ok(working) = u32::try_from(working) else { return BigInt::ZERO };
    let fine = working + 6;
    let r = moved(digits, i64::from(fine) - i64::from(scale)) - ln_10(fine + 6) * tens / power_of_ten(6);
    // e^r = (e^(r / 2^h))^(2^h)
    const HALVINGS: u32 = 8;
    let one = power_of_ten(fine);
    let x: BigInt = r >> HALVINGS;
    let (mut term, mut sum, mut n) = (one.clone(), one.clone(), 0u32);
    loop {
        n += 1;
        term = term * &x / &one / n;
        if term.sign() == Sign::NoSign {
            break;
        }
        sum += &term;
    }
    for _ in 0..HALVINGS {
        sum = &sum * &sum / &one;
    }
    // at `fine` digits, to be moved by `tens`
    let cut = i64::from(fine) - i64::from(shown) - tens;
    match u32::try_from(cut) {
        Ok(cut) => divide_rounded(&sum, &power_of_ten(cut)),
        Err(_) => moved(&sum, -cut),
    }
}
