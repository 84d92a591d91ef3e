//! Trigonometric functions of degrees, exact at the multiples of 30 and 45 (float.c): each is divided by what the
//! platform's function gives at such an angle.

use std::sync::LazyLock;

use super::{input_out_of_range, overflow};
use crate::error::Result;
use crate::sql::kernel::Kernel;

pub(super) const RADIANS_PER_DEGREE: f64 = 0.017_453_292_519_943_295;

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("dacosd", |c| c.one(acosd)),
    ("dasind", |c| c.one(asind)),
    ("datand", |c| c.one(|x: f64| finite(x.atan() / KNOWN.atan_1 * 45.0))),
    ("datan2d", |c| c.two(|y: f64, x: f64| finite(y.atan2(x) / KNOWN.atan_1 * 45.0))),
    ("dcosd", |c| c.one(cosd)),
    ("dcotd", |c| c.one(cotd)),
    ("dsind", |c| c.one(sind)),
    ("dtand", |c| c.one(tand)),
];

struct Known {
    sin_30: f64,
    one_minus_cos_60: f64,
    asin_half: f64,
    acos_half: f64,
    atan_1: f64,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| Known {
    sin_30: (30.0 * RADIANS_PER_DEGREE).sin(),
    one_minus_cos_60: 1.0 - (60.0 * RADIANS_PER_DEGREE).cos(),
    asin_half: 0.5f64.asin(),
    acos_half: 0.5f64.acos(),
    atan_1: 1.0f64.atan(),
});

fn finite(value: f64) -> Result<f64> {
    if value.is_infinite() { Err(overflow()) } else { Ok(value) }
}

fn asind_first(x: f64) -> f64 {
    if x <= 0.5 { x.asin() / KNOWN.asin_half * 30.0 } else { 90.0 - x.acos() / KNOWN.acos_half * 60.0 }
}

fn acosd_first(x: f64) -> f64 {
    if x <= 0.5 { 90.0 - x.asin() / KNOWN.asin_half * 30.0 } else { x.acos() / KNOWN.acos_half * 60.0 }
}

fn acosd(x: f64) -> Result<f64> {
    match x {
        x if x.is_nan() => Ok(f64::NAN),
        x if !(-1.0..=1.0).contains(&x) => Err(input_out_of_range()),
        x if x >= 0.0 => Ok(acosd_first(x)),
        x => Ok(90.0 + asind_first(-x)),
    }
}

fn asind(x: f64) -> Result<f64> {
    match x {
        x if x.is_nan() => Ok(f64::NAN),
        x if !(-1.0..=1.0).contains(&x) => Err(input_out_of_range()),
        x if x >= 0.0 => Ok(asind_first(x)),
        x => Ok(-asind_first(-x)),
    }
}

fn sind_to_30(x: f64) -> f64 {
    (x * RADIANS_PER_DEGREE).sin() / KNOWN.sin_30 / 2.0
}

fn cosd_to_60(x: f64) -> f64 {
    1.0 - (1.0 - (x * RADIANS_PER_DEGREE).cos()) / KNOWN.one_minus_cos_60 / 2.0
}

fn sind_first(x: f64) -> f64 {
    if x <= 30.0 { sind_to_30(x) } else { cosd_to_60(90.0 - x) }
}

fn cosd_first(x: f64) -> f64 {
    if x <= 60.0 { cosd_to_60(x) } else { sind_to_30(90.0 - x) }
}

/// The angle of the first quadrant, and which of the three mirrorings led there: at 0, at 180, at 90.
fn first_quadrant(degrees: f64) -> Result<(f64, bool, bool, bool)> {
    if degrees.is_infinite() {
        return Err(input_out_of_range());
    }
    let mut x = degrees % 360.0;
    let (negative, beyond_180) = (x < 0.0, x.abs() > 180.0);
    // a negative zero stays one
    if negative {
        x = -x;
    }
    if beyond_180 {
        x = 360.0 - x;
    }
    let beyond_90 = x > 90.0;
    Ok((if beyond_90 { 180.0 - x } else { x }, negative, beyond_180, beyond_90))
}

fn signed(negative: bool, value: f64) -> f64 {
    // no negative zero
    (if negative { -value } else { value }) + 0.0
}

fn cosd(x: f64) -> Result<f64> {
    if x.is_nan() {
        return Ok(x);
    }
    let (x, _, _, beyond_90) = first_quadrant(x)?;
    Ok((if beyond_90 { -1.0 } else { 1.0 }) * cosd_first(x))
}

fn sind(x: f64) -> Result<f64> {
    if x.is_nan() {
        return Ok(x);
    }
    let (x, negative, beyond_180, _) = first_quadrant(x)?;
    Ok((if negative != beyond_180 { -1.0 } else { 1.0 }) * sind_first(x))
}

fn tand(x: f64) -> Result<f64> {
    if x.is_nan() {
        return Ok(x);
    }
    let (x, negative, beyond_180, beyond_90) = first_quadrant(x)?;
    let tan_45 = sind_first(45.0) / cosd_first(45.0);
    Ok(signed(negative ^ beyond_180 ^ beyond_90, sind_first(x) / cosd_first(x) / tan_45))
}

fn cotd(x: f64) -> Result<f64> {
    if x.is_nan() {
        return Ok(x);
    }
    let (x, negative, beyond_180, beyond_90) = first_quadrant(x)?;
    let cot_45 = cosd_first(45.0) / sind_first(45.0);
    Ok(signed(negative ^ beyond_180 ^ beyond_90, cosd_first(x) / sind_first(x) / cot_45))
}
