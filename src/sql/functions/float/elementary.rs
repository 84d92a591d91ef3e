//! Powers, roots, logarithms, trigonometric and hyperbolic functions, rounding and buckets of double precision.

use arrow::datatypes::Float64Type;

use super::super::integer::{division_by_zero, integer_out_of_range};
use super::super::native;
use super::degrees::RADIANS_PER_DEGREE;
use super::{input_out_of_range, overflow, platform, underflow};
use crate::error::{Error, Kind, Result};
use crate::sql::kernel::Kernel;

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("dround", |c| native::one::<Float64Type, Float64Type>(c, f64::round_ties_even)),
    ("dceil", |c| native::one::<Float64Type, Float64Type>(c, f64::ceil)),
    ("dfloor", |c| native::one::<Float64Type, Float64Type>(c, f64::floor)),
    ("dtrunc", |c| native::one::<Float64Type, Float64Type>(c, f64::trunc)),
    ("dsign", |c| native::one::<Float64Type, Float64Type>(c, |x| f64::from(i8::from(x > 0.0) - i8::from(x < 0.0)))),
    ("dsqrt", |c| {
        native::one_checked::<Float64Type, Float64Type>(
            c,
            |x| (x.sqrt(), x < 0.0),
            |_| Error::new(Kind::PowerArgument, "cannot take square root of a negative number"),
        )
    }),
    ("dcbrt", |c| native::one::<Float64Type, Float64Type>(c, platform::cbrt)),
    ("dpow", |c| c.two(power)),
    ("dexp", |c| c.one(exp)),
    ("dlog1", |c| c.one(|x: f64| logarithm(x, f64::ln))),
    ("dlog10", |c| c.one(|x: f64| logarithm(x, f64::log10))),
    ("dacos", |c| c.one(|x: f64| within_one(x, f64::acos))),
    ("dasin", |c| c.one(|x: f64| within_one(x, f64::asin))),
    ("datan", |c| native::one::<Float64Type, Float64Type>(c, f64::atan)),
    ("datan2", |c| native::two::<Float64Type, Float64Type, Float64Type>(c, f64::atan2)),
    ("dcos", |c| c.one(|x: f64| of_angle(x, f64::cos))),
    ("dcot", |c| c.one(|x: f64| of_angle(x, |x| 1.0 / x.tan()))),
    ("dsin", |c| c.one(|x: f64| of_angle(x, f64::sin))),
    ("dtan", |c| c.one(|x: f64| of_angle(x, f64::tan))),
    ("dsinh", |c| native::one::<Float64Type, Float64Type>(c, f64::sinh)),
    ("dcosh", |c| native::one::<Float64Type, Float64Type>(c, f64::cosh)),
    ("dtanh", |c| native::one::<Float64Type, Float64Type>(c, f64::tanh)),
    ("dasinh", |c| native::one::<Float64Type, Float64Type>(c, platform::asinh)),
    ("dacosh", |c| c.one(|x: f64| if x < 1.0 { Err(input_out_of_range()) } else { Ok(platform::acosh(x)) })),
    ("datanh", |c| c.one(atanh)),
    ("degrees", |c| c.one(|x: f64| divided(x, RADIANS_PER_DEGREE))),
    ("radians", |c| c.one(|x: f64| multiplied(x, RADIANS_PER_DEGREE))),
    ("dpi", |c| c.rows_of(|_| Ok(std::f64::consts::PI))),
    ("width_bucket_float8", |c| c.four(width_bucket)),
];

fn divided(a: f64, b: f64) -> Result<f64> {
    let value = a / b;
    match value {
        _ if b == 0.0 && !a.is_nan() => Err(division_by_zero()),
        _ if value.is_infinite() && !a.is_infinite() => Err(overflow()),
        _ if value == 0.0 && a != 0.0 && !b.is_infinite() => Err(underflow()),
        _ => Ok(value),
    }
}

fn multiplied(a: f64, b: f64) -> Result<f64> {
    let value = a * b;
    match value {
        _ if value.is_infinite() && !a.is_infinite() && !b.is_infinite() => Err(overflow()),
        _ if value == 0.0 && a != 0.0 && b != 0.0 => Err(underflow()),
        _ => Ok(value),
    }
}

/// POSIX's rules, but that of zero to a negative power, which is an error in SQL.
fn power(x: f64, y: f64) -> Result<f64> {
    if x.is_nan() {
        return Ok(if y == 0.0 { 1.0 } else { f64::NAN });
    }
    if y.is_nan() {
        return Ok(if x == 1.0 { 1.0 } else { f64::NAN });
    }
    if x == 0.0 && y < 0.0 {
        return Err(Error::new(Kind::PowerArgument, "zero raised to a negative power is undefined"));
    }
    if x < 0.0 && y.floor() != y {
        let text = "a negative number raised to a non-integer power yields a complex result";
        return Err(Error::new(Kind::PowerArgument, text));
    }
    let value = x.powf(y);
    if x.is_infinite() || y.is_infinite() {
        return Ok(value);
    }
    match value {
        _ if value.is_infinite() => Err(overflow()),
        _ if value == 0.0 && x != 0.0 => Err(underflow()),
        _ => Ok(value),
    }
}

fn exp(x: f64) -> Result<f64> {
    let value = x.exp();
    match value {
        _ if !x.is_finite() => Ok(value),
        _ if value.is_infinite() => Err(overflow()),
        _ if value == 0.0 => Err(underflow()),
        _ => Ok(value),
    }
}

fn logarithm(x: f64, log: fn(f64) -> f64) -> Result<f64> {
    if x == 0.0 {
        return Err(Error::new(Kind::LogArgument, "cannot take logarithm of zero"));
    }
    if x < 0.0 {
        return Err(Error::new(Kind::LogArgument, "cannot take logarithm of a negative number"));
    }
    Ok(log(x))
}

fn within_one(x: f64, f: fn(f64) -> f64) -> Result<f64> {
    if !(-1.0..=1.0).contains(&x) { Err(input_out_of_range()) } else { Ok(f(x)) }
}

fn of_angle(x: f64, f: fn(f64) -> f64) -> Result<f64> {
    if x.is_infinite() { Err(input_out_of_range()) } else { Ok(f(x)) }
}

fn atanh(x: f64) -> Result<f64> {
    match x {
        x if !(-1.0..=1.0).contains(&x) => Err(input_out_of_range()),
        1.0 => Ok(f64::INFINITY),
        -1.0 => Ok(f64::NEG_INFINITY),
        x => Ok(platform::atanh(x)),
    }
}

fn bucket_error(text: &str) -> Error {
    Error::new(Kind::WidthBucketArgument, text)
}

fn width_bucket(operand: f64, low: f64, high: f64, count: i32) -> Result<i32> {
    if count <= 0 {
        return Err(bucket_error("count must be greater than zero"));
    }
    if operand.is_nan() || low.is_nan() || high.is_nan() {
        return Err(bucket_error("operand, lower bound, and upper bound cannot be NaN"));
    }
    if low.is_infinite() || high.is_infinite() {
        return Err(bucket_error("lower and upper bounds must be finite"));
    }
    let after = || count.checked_add(1).ok_or_else(integer_out_of_range);
    // as C converts it: a share that rounds to one lands in the bucket after the last, and what no integer holds in the least
    let inside = |distance: f64, width: f64| match f64::from(count) * distance / width + 1.0 {
        bucket if bucket < 2_147_483_648.0 => bucket as i32,
        _ => i32::MIN,
    };
    let bucket = match low.partial_cmp(&high) {
        Some(std::cmp::Ordering::Less) => match operand {
            _ if operand < low => return Ok(0),
            _ if operand >= high => return after(),
            _ => inside(operand - low, high - low),
        },
        Some(std::cmp::Ordering::Greater) => match operand {
            _ if operand > low => return Ok(0),
            _ if operand <= high => return after(),
            _ => inside(low - operand, low - high),
        },
        _ => return Err(bucket_error("lower bound cannot equal upper bound")),
    };
    Ok(bucket)
}
