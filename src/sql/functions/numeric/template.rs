//! to_char of numbers and to_number (formatting.c, the NUM part). Decimal point, group separator and signs are those of
//! the C locale; its currency symbol is a blank.

mod picture;
mod read;
mod write;

use std::cell::RefCell;

use num_bigint::BigInt;

use super::super::integer::{bigint_out_of_range, integer_out_of_range};
use super::convert::whole;
use super::exact;
use super::operand::Operand;
use super::powers;
use super::round::{Cut, cut, fitted};
use crate::error::Result;
use crate::sql::kernel::{Call, Kernel, Read};
use crate::sql::numeric::{Numeric, divide_rounded, power_of_ten};
use picture::Picture;
use write::Number;

/// Digits that every float of the type keeps (`DBL_DIG`, `FLT_DIG`).
const DIGITS8: usize = 15;
const DIGITS4: usize = 6;

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("int4_to_char", |c| shown(c, of_int4)),
    ("int8_to_char", |c| shown(c, of_int8)),
    ("numeric_to_char", |c| shown(c, of_numeric)),
    ("float4_to_char", |c| shown(c, |value: f32, picture| of_float(value.into(), DIGITS4, picture))),
    ("float8_to_char", |c| shown(c, |value: f64, picture| of_float(value, DIGITS8, picture))),
    ("numeric_to_number", to_number),
];

/// The template that was read last, since it is nearly always a constant.
#[derive(Default)]
struct Pictures(RefCell<Option<(String, Picture)>>);

impl Pictures {
    fn with<R>(&self, template: &str, f: impl FnOnce(&Picture) -> Result<R>) -> Result<R> {
        let mut last = self.0.borrow_mut();
        let (_, picture) = match last.take() {
            Some((text, picture)) if text == template => last.insert((text, picture)),
            _ => last.insert((template.to_owned(), Picture::read(template)?)),
        };
        f(picture)
    }
}

fn shown<'a, T: Read<'a>>(
    call: &Call<'a>,
    number: impl Fn(T, &mut Picture) -> Result<Number>,
) -> Result<arrow::array::ArrayRef> {
    let pictures = Pictures::default();
    call.two(|value: T, template: &'a str| {
        if template.is_empty() {
            return Ok(String::new());
        }
        call.env.budget.value(template.len().saturating_mul(8))?;
        pictures.with(template, |picture| {
            let mut picture = picture.clone();
            let number = number(value, &mut picture)?;
            write::write(number, picture)
        })
    })
}

fn of_int4(value: i32, picture: &mut Picture) -> Result<Number> {
    if picture.roman {
        return Ok(Number::roman(Some(value)));
    }
    if picture.exponent {
        return Ok(Number::Whole(scientific(f64::from(value), picture.post)));
    }
    let value = match picture.multi {
        0 => value,
        // as C computes it: the power is the least integer where it does not fit, and products wrap
        multi => {
            let power = u32::try_from(multi).ok().and_then(|multi| 10i32.checked_pow(multi));
            value.wrapping_mul(power.unwrap_or(i32::MIN))
        }
    };
    Ok(integer(value.into(), picture))
}

fn of_int8(value: i64, picture: &mut Picture) -> Result<Number> {
    if picture.roman {
        return Ok(Number::roman(Some(i32::try_from(value).map_err(|_| integer_out_of_range())?)));
    }
    if picture.exponent {
        return Ok(Number::Whole(signed(&exact_scientific(&Numeric::new(value.into(), 0), picture.post))));
    }
    let value = match picture.multi {
        0 => value,
        multi => {
            let power = u32::try_from(multi).ok().and_then(|multi| 10i64.checked_pow(multi));
            let power = power.ok_or_else(bigint_out_of_range)?;
            value.checked_mul(power).ok_or_else(bigint_out_of_range)?
        }
    };
    Ok(integer(value.into(), picture))
}

fn integer(value: i128, picture: &mut Picture) -> Number {
    picture.pre += picture.multi;
    let mut digits = value.unsigned_abs().to_string();
    if picture.post > 0 {
        digits.push('.');
        digits.extend(std::iter::repeat_n('0', picture.post));
    }
    Number::plain(value < 0, digits, picture)
}

fn of_numeric(value: Operand, picture: &mut Picture) -> Result<Number> {
    if picture.roman {
        return Ok(Number::roman(Some(whole::<i32>(value, "integer", integer_out_of_range)?)));
    }
    if picture.exponent {
        let value = value.numeric();
        return Ok(match value {
            Numeric::Finite { .. } => Number::Whole(signed(&exact_scientific(&value, picture.post))),
            _ => Number::Whole(write::no_exponent(picture)),
        });
    }
    let value = match picture.multi {
        0 => value,
        multi => {
            let power = powers::power(&Numeric::new(10.into(), 0), &Numeric::new(BigInt::from(multi), 0))?;
            exact::multiply(&value.numeric(), &power)?.into()
        }
    };
    picture.pre += picture.multi;
    let text = cut(value, i32::try_from(picture.post).unwrap_or(i32::MAX), Cut::HalfAway).numeric().to_string();
    Ok(match text.strip_prefix('-') {
        Some(digits) => Number::plain(true, digits.to_owned(), picture),
        None => Number::plain(false, text, picture),
    })
}

fn of_float(value: f64, digits: usize, picture: &mut Picture) -> Result<Number> {
    if picture.roman {
        // what no integer holds is out of range for Roman numerals as well
        let rounded = value.round_ties_even();
        let number = (rounded.abs() < 10_000.0).then_some(rounded as i32);
        return Ok(Number::roman(number));
    }
    if picture.exponent {
        return Ok(match value.is_finite() {
            true => Number::Whole(scientific(value, picture.post)),
            false => Number::Whole(write::no_exponent(picture)),
        });
    }
    let value = match (picture.multi, digits) {
        (0, _) => value,
        (multi, DIGITS4) => f64::from(value as f32 * 10f64.powf(multi as f64) as f32),
        (multi, _) => value * 10f64.powf(multi as f64),
    };
    picture.pre += picture.multi;
    // only digits that the type keeps are shown
    let before = fixed(value.abs(), 0).len();
    picture.post = picture.post.min(digits.saturating_sub(before));
    let text = fixed(value, picture.post);
    Ok(match text.strip_prefix('-') {
        Some(digits) => Number::plain(true, digits.to_owned(), picture),
        None => Number::plain(false, text, picture),
    })
}

/// C's `%.*f`.
fn fixed(value: f64, digits: usize) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        value => format!("{value:.digits$}"),
    }
}

/// C's `%+.*e`, with a blank for a plus.
fn scientific(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    signed(&format!("{mantissa}e{sign}{exponent:0>2}"))
}

fn signed(text: &str) -> String {
    if text.starts_with('-') { text.to_owned() } else { format!(" {text}") }
}

/// numeric_out_sci: one digit before the point, two where the others round up to ten.
fn exact_scientific(value: &Numeric, places: usize) -> String {
    let Numeric::Finite { digits, scale } = value else { return value.to_string() };
    let places = u32::try_from(places).unwrap_or(u32::MAX);
    let length = crate::sql::numeric::decimal_length(digits.magnitude()) as i64;
    let exponent = if length == 0 { 0 } else { length - i64::from(*scale) - 1 };
    let by = i64::from(places) - i64::from(*scale) - exponent;
    let power = power_of_ten(u32::try_from(by.unsigned_abs()).unwrap_or(u32::MAX));
    let significand = if by >= 0 { digits * power } else { divide_rounded(digits, &power) };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:0>2}", Numeric::new(significand, places), exponent.abs())
}

fn to_number(call: &Call<'_>) -> Result<arrow::array::ArrayRef> {
    let pictures = Pictures::default();
    call.two(|text: &str, template: &str| {
        if template.is_empty() {
            return Ok(None);
        }
        pictures.with(template, |picture| {
            let (digits, after) = read::read(text, picture)?;
            let scale = i32::try_from(after).unwrap_or(0);
            let precision = i32::try_from(picture.pre + picture.multi).unwrap_or(0).saturating_add(scale);
            let typmod = (precision.wrapping_shl(16) | scale).wrapping_add(4);
            let value = fitted(Numeric::parse(&digits)?.into(), typmod)?;
            if picture.multi == 0 && !picture.multiplies {
                return Ok(Some(value));
            }
            let power = powers::power(&Numeric::new(10.into(), 0), &Numeric::new(-BigInt::from(picture.multi), 0))?;
            Ok(Some(Operand::from(exact::multiply(&value.numeric(), &power)?)))
        })
    })
}
