//! Roots, exponentials, logarithms, powers and factorials of numerics. Scales are chosen as PostgreSQL chooses them; digits
//! are computed with enough to spare that rounding to that scale is right.

mod series;

use num_bigint::{BigInt, Sign};

use super::super::integer::division_by_zero;
use super::convert::estimate;
use super::exact::{self, DISPLAY_SCALE_MAX, GROUP, Leading, SIGNIFICANT_MIN, bounded_scale};
use super::operand::Operand;
use super::overflow;
use crate::error::{Error, Kind, Result};
use crate::sql::kernel::Kernel;
use crate::sql::numeric::{DIGITS_MAX, Numeric, decimal_length, divide_rounded, power_of_ten};

/// `NUMERIC_MAX_RESULT_SCALE`.
const RESULT_SCALE_MAX: f64 = 2000.0;
/// log10(e), to the digits that PostgreSQL has.
#[allow(clippy::approx_constant, reason = "results follow from these digits")]
const LOG10_E: f64 = 0.434_294_481_903_252;
/// ln(10), to the digits that PostgreSQL has.
#[allow(clippy::approx_constant, reason = "results follow from these digits")]
const LN_10: f64 = 2.302_585_092_994_046;
/// The factorial of the next has more digits than a numeric.
const FACTORIAL_MAX: i64 = 32_177;

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("numeric_sqrt", |c| c.one(|value: Numeric| square_root(&value).map(Operand::from))),
    ("numeric_exp", |c| c.one(|value: Numeric| exponential(&value).map(Operand::from))),
    ("numeric_ln", |c| c.one(|value: Numeric| natural_logarithm(&value).map(Operand::from))),
    ("numeric_log", |c| c.two(|base: Numeric, value: Numeric| logarithm(&base, &value).map(Operand::from))),
    ("log/1741", |c| c.one(|value: Numeric| logarithm(&ten(), &value).map(Operand::from))),
    ("log10/1481", |c| c.one(|value: Numeric| logarithm(&ten(), &value).map(Operand::from))),
    ("numeric_power", |c| c.two(|base: Numeric, exponent: Numeric| power(&base, &exponent).map(Operand::from))),
    ("numeric_fac", |c| c.one(|value: i64| factorial(value).map(Operand::from))),
];

fn ten() -> Numeric {
    Numeric::new(BigInt::from(10), 0)
}

pub(in crate::sql) fn square_root(value: &Numeric) -> Result<Numeric> {
    let negative = || Error::new(Kind::PowerArgument, "cannot take square root of a negative number");
    let (digits, scale) = match value {
        Numeric::NaN | Numeric::Infinity => return Ok(value.clone()),
        Numeric::NegativeInfinity => return Err(negative()),
        Numeric::Finite { digits, scale } => (digits, *scale),
    };
    if digits.sign() == Sign::Minus {
        return Err(negative());
    }
    // half as many digits before the point
    let weight = (Leading::of(digits.magnitude(), scale).weight + 1) * GROUP / 2 - 1;
    let shown = bounded_scale(SIGNIFICANT_MIN - weight, scale);
    Ok(root_at(digits, scale, shown))
}

/// The root of what is not negative, with so many digits (sqrt_var).
pub(in crate::sql) fn root_at(digits: &BigInt, scale: u32, shown: u32) -> Numeric {
    // one digit more, which decides the rounding: no root ends with a 5 and goes on with zeros unless it is exact
    let shift = i64::from(shown + 1) * 2 - i64::from(scale);
    let power = power_of_ten(shift.unsigned_abs() as u32);
    let radicand = if shift >= 0 { digits * power } else { digits / power };
    Numeric::new(divide_rounded(&radicand.sqrt(), &BigInt::from(10)), shown)
}

pub(in crate::sql) fn exponential(value: &Numeric) -> Result<Numeric> {
    let (digits, scale) = match value {
        Numeric::NaN | Numeric::Infinity => return Ok(value.clone()),
        Numeric::NegativeInfinity => return Ok(Numeric::zero()),
        Numeric::Finite { digits, scale } => (digits, *scale),
    };
    let weight = (estimate(digits, scale) * LOG10_E).clamp(-RESULT_SCALE_MAX, RESULT_SCALE_MAX) as i64;
    exponential_at(digits, scale, bounded_scale(SIGNIFICANT_MIN - weight, scale))
}

/// exp_var: to that many digits after the point.
fn exponential_at(digits: &BigInt, scale: u32, shown: u32) -> Result<Numeric> {
    let about = estimate(digits, scale);
    if about.abs() >= RESULT_SCALE_MAX * 3.0 {
        return if about > 0.0 { Err(overflow()) } else { Ok(Numeric::new(BigInt::ZERO, shown)) };
    }
    Numeric::new(series::exponential(digits, scale, shown), shown).checked()
}

fn positive(value: &Numeric) -> Result<()> {
    let wrong = |text: &str| Err(Error::new(Kind::LogArgument, text));
    match exact::sign(value) {
        Some(Sign::NoSign) => wrong("cannot take logarithm of zero"),
        Some(Sign::Minus) => wrong("cannot take logarithm of a negative number"),
        Some(Sign::Plus) | None => Ok(()),
    }
}

pub(in crate::sql) fn natural_logarithm(value: &Numeric) -> Result<Numeric> {
    positive(value)?;
    let Numeric::Finite { digits, scale } = value else { return Ok(value.clone()) };
    let shown = bounded_scale(SIGNIFICANT_MIN - logarithm_weight(digits, *scale), *scale);
    Ok(Numeric::new(series::logarithm(digits, *scale, shown), shown))
}

/// estimate_ln_dweight: the decimal place of the first digit of the natural logarithm.
fn logarithm_weight(digits: &BigInt, scale: u32) -> i64 {
    if digits.sign() != Sign::Plus {
        return 0;
    }
    let one = power_of_ten(scale);
    let tenths: BigInt = digits * 10;
    if tenths >= &one * 9 && tenths <= &one * 11 {
        // ln(1 + x) is about x
        let x = digits - one;
        return match x.sign() {
            Sign::NoSign => 0,
            _ => decimal_length(x.magnitude()) as i64 - i64::from(scale) - 1,
        };
    }
    let groups = Groups::of(digits, scale, 2);
    let about = groups.number.ln() + groups.exponent as f64 * LN_10;
    about.abs().log10() as i64
}

/// The first groups of four digits of a number as PostgreSQL stores it: `number · 10^exponent`.
struct Groups {
    number: f64,
    exponent: i64,
}

impl Groups {
    /// At most so many, and fewer where nothing but zeros follows.
    fn of(digits: &BigInt, scale: u32, most: u32) -> Self {
        let magnitude = digits.magnitude();
        let Leading { weight, group } = Leading::of(magnitude, scale);
        let (mut number, mut exponent) = (f64::from(group), weight * GROUP);
        for _ in 1..most {
            // what the digits so far leave; the next group begins four places on
            let below = exponent + i64::from(scale);
            let Ok(below) = u32::try_from(below) else { break };
            let rest = magnitude % power_of_ten(below).magnitude();
            if rest == num_bigint::BigUint::ZERO {
                break;
            }
            exponent -= GROUP;
            let below = exponent + i64::from(scale);
            let power = power_of_ten(u32::try_from(below.unsigned_abs()).unwrap_or(0));
            let next = if below >= 0 { rest / power.magnitude() } else { rest * power.magnitude() };
            number = number * 10_000.0 + f64::from(u32::try_from(next).unwrap_or(0));
        }
        Self { number, exponent }
    }
}

pub(in crate::sql) fn logarithm(base: &Numeric, value: &Numeric) -> Result<Numeric> {
    if matches!((base, value), (Numeric::NaN, _) | (_, Numeric::NaN)) {
        return Ok(Numeric::NaN);
    }
    positive(base)?;
    positive(value)?;
    let (Numeric::Finite { digits: base, scale: x }, Numeric::Finite { digits, scale: y }) = (base, value) else {
        return Ok(match (base, value) {
            (Numeric::Infinity, Numeric::Infinity) => Numeric::NaN,
            (Numeric::Infinity, _) => Numeric::zero(),
            _ => Numeric::Infinity,
        });
    };
    let (base_weight, value_weight) = (logarithm_weight(base, *x), logarithm_weight(digits, *y));
    let weight = value_weight - base_weight;
    let shown = bounded_scale(SIGNIFICANT_MIN - weight, *x.max(y));
    // more digits in the logarithms than in their quotient
    let own = |weight_of: i64| (i64::from(shown) + weight - weight_of + 8).max(0) as u32;
    let (base_scale, value_scale) = (own(base_weight), own(value_weight));
    let below = series::logarithm(base, *x, base_scale);
    let above = series::logarithm(digits, *y, value_scale);
    if below.sign() == Sign::NoSign {
        return Err(division_by_zero());
    }
    Numeric::new(exact::quotient(&above, value_scale, &below, base_scale, shown), shown).checked()
}

fn whole(digits: &BigInt, scale: u32) -> Option<BigInt> {
    let power = power_of_ten(scale);
    (digits % &power == BigInt::ZERO).then(|| digits / power)
}

fn odd(value: &BigInt) -> bool {
    value.bit(0)
}

pub(in crate::sql) fn power(base: &Numeric, exponent: &Numeric) -> Result<Numeric> {
    let one = || Numeric::new(BigInt::from(1), 0);
    let equals = |value: &Numeric, number: i32| value.compare(&Numeric::new(BigInt::from(number), 0)).is_eq();
    // POSIX: anything to 0 is 1, 1 to anything is 1; all else with a NaN is NaN
    match (base, exponent) {
        (Numeric::NaN, _) => return Ok(if equals(exponent, 0) { one() } else { Numeric::NaN }),
        (_, Numeric::NaN) => return Ok(if equals(base, 1) { one() } else { Numeric::NaN }),
        _ => {}
    }
    let (base_sign, exponent_sign) = match (exact::sign(base), exact::sign(exponent)) {
        (Some(base), Some(exponent)) => (base, exponent),
        _ => return Ok(Numeric::NaN),
    };
    if base_sign == Sign::NoSign && exponent_sign == Sign::Minus {
        return Err(Error::new(Kind::PowerArgument, "zero raised to a negative power is undefined"));
    }
    let integral = match exponent {
        Numeric::Finite { digits, scale } => whole(digits, *scale),
        // an infinite exponent counts as even
        _ => Some(BigInt::ZERO),
    };
    if base_sign == Sign::Minus && integral.is_none() {
        let text = "a negative number raised to a non-integer power yields a complex result";
        return Err(Error::new(Kind::PowerArgument, text));
    }
    if let (Numeric::Finite { digits, scale: x }, Numeric::Finite { digits: exponent, scale: y }) = (base, exponent) {
        if let Some(small) = integral.as_ref().and_then(|whole| i32::try_from(whole).ok()) {
            return integral_power(digits, *x, small);
        }
        return real_power(digits, *x, exponent, *y, integral.as_ref());
    }
    if equals(base, 1) || exponent_sign == Sign::NoSign {
        return Ok(one());
    }
    if base_sign == Sign::NoSign {
        return Ok(Numeric::zero());
    }
    if !matches!(exponent, Numeric::Finite { .. }) {
        if equals(base, -1) {
            return Ok(one());
        }
        let grows = match base {
            Numeric::Finite { digits, scale } => *digits.magnitude() > *power_of_ten(*scale).magnitude(),
            _ => true,
        };
        return Ok(if grows == (exponent_sign == Sign::Plus) { Numeric::Infinity } else { Numeric::zero() });
    }
    Ok(match (base, exponent_sign, integral.as_ref().is_some_and(odd)) {
        (_, Sign::Minus, _) => Numeric::zero(),
        (Numeric::NegativeInfinity, _, true) => Numeric::NegativeInfinity,
        _ => Numeric::Infinity,
    })
}

/// power_var: e to the exponent times the base's logarithm.
fn real_power(base: &BigInt, x: u32, exponent: &BigInt, y: u32, integral: Option<&BigInt>) -> Result<Numeric> {
    if base.sign() == Sign::NoSign {
        return Ok(Numeric::new(BigInt::ZERO, SIGNIFICANT_MIN as u32));
    }
    let negative = base.sign() == Sign::Minus && integral.is_some_and(odd);
    let base = BigInt::from(base.magnitude().clone());
    let weight = logarithm_weight(&base, x);
    // exponent · ln(base) at a scale
    let product = |scale: u32| {
        let logarithm = series::logarithm(&base, x, scale);
        divide_rounded(&(logarithm * exponent), &power_of_ten(y))
    };
    // a first, short calculation tells how many digits the result has before its point
    let rough = (8 - weight).max(0) as u32;
    let about = estimate(&product(rough), rough);
    if about.abs() > RESULT_SCALE_MAX * 3.01 {
        return match about > 0.0 {
            true => Err(overflow()),
            false => Ok(Numeric::new(BigInt::ZERO, DISPLAY_SCALE_MAX as u32)),
        };
    }
    let whole = (about * LOG10_E) as i64;
    let shown = bounded_scale(SIGNIFICANT_MIN - whole, x.max(y));
    let significant = (i64::from(shown) + whole).max(0);
    let scale = (significant - weight + 8).max(0) as u32;
    let result = exponential_at(&product(scale), scale, shown)?;
    Ok(if negative { exact::negate(result) } else { result })
}

/// power_var_int: by squaring, with as many digits as the result needs.
fn integral_power(base: &BigInt, x: u32, exponent: i32) -> Result<Numeric> {
    let shown = bounded_scale(SIGNIFICANT_MIN, x);
    let at = |digits: BigInt, scale: u32| Numeric::new(digits, scale).rounded(shown as i32).checked();
    match exponent {
        0 => return at(BigInt::from(1), 0),
        1 => return at(base.clone(), x),
        2 => return at(base * base, 2 * x),
        -1 if base.sign() == Sign::NoSign => return Err(division_by_zero()),
        -1 => return Numeric::new(exact::quotient(&BigInt::from(1), 0, base, x, shown), shown).checked(),
        ..0 if base.sign() == Sign::NoSign => return Err(division_by_zero()),
        _ if base.sign() == Sign::NoSign => return Ok(Numeric::new(BigInt::ZERO, shown)),
        _ => {}
    }
    let groups = Groups::of(base, x, 4);
    let about = f64::from(exponent) * (groups.number.log10() + groups.exponent as f64);
    // these are estimates; what they let through is looked at again below
    if about > DIGITS_MAX as f64 + 1.0 {
        return Err(overflow());
    }
    if about + 1.0 < -f64::from(shown) {
        return Ok(Numeric::new(BigInt::ZERO, shown));
    }
    let weight = about as i64;
    // every multiplication may cost a bit of the last digit
    let significant = 1 + i64::from(shown) + weight + f64::from(exponent).abs().ln() as i64 + 8;
    let cut = |digits: BigInt, scale: u32, wanted: i64| {
        let scale_wanted = wanted.min(i64::from(scale)).max(0) as u32;
        match scale - scale_wanted {
            0 => (digits, scale),
            by => (divide_rounded(&digits, &power_of_ten(by)), scale_wanted),
        }
    };
    let weight_of = |digits: &BigInt, scale: u32| Leading::of(digits.magnitude(), scale).weight;
    let mut left = exponent.unsigned_abs();
    let mut square = (base.clone(), x);
    let mut result = if left & 1 == 1 { square.clone() } else { (BigInt::from(1), 0) };
    let weight_max = DIGITS_MAX as i64 / GROUP - 1;
    loop {
        left >>= 1;
        if left == 0 {
            break;
        }
        let wanted = significant - 2 * weight_of(&square.0, square.1) * GROUP;
        square = cut(&square.0 * &square.0, square.1 * 2, wanted);
        if left & 1 == 1 {
            let wanted = significant - (weight_of(&square.0, square.1) + weight_of(&result.0, result.1)) * GROUP;
            result = cut(&square.0 * &result.0, square.1 + result.1, wanted);
        }
        // more digits than any numeric has: the result overflows, or vanishes
        if weight_of(&square.0, square.1) > weight_max || weight_of(&result.0, result.1) > weight_max {
            return match exponent < 0 {
                true => Ok(Numeric::new(BigInt::ZERO, shown)),
                false => Err(overflow()),
            };
        }
    }
    match exponent < 0 {
        true if result.0.sign() == Sign::NoSign => Err(division_by_zero()),
        true => Numeric::new(exact::quotient(&BigInt::from(1), 0, &result.0, result.1, shown), shown).checked(),
        false => at(result.0, result.1),
    }
}

pub(in crate::sql) fn factorial(value: i64) -> Result<Numeric> {
    if value < 0 {
        return Err(Error::new(Kind::NumericRange, "factorial of a negative number is undefined"));
    }
    if value > FACTORIAL_MAX {
        return Err(overflow());
    }
    // factors of equal sizes are multiplied faster than a large one by many small ones
    fn product(from: u64, to: u64) -> BigInt {
        match to - from {
            0 => BigInt::from(from),
            1..=8 => (from..=to).fold(BigInt::from(1), |product, factor| product * factor),
            span => product(from, from + span / 2) * product(from + span / 2 + 1, to),
        }
    }
    Numeric::new(product(1, value.unsigned_abs().max(1)), 0).checked()
}
