//! money (cash.c) as lc_monetary C spells it: dollars, two digits behind the point. It lies as its text.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use super::float::{overflow, underflow};
use super::integer::{bigint_out_of_range, division_by_zero};
use crate::error::{Error, Kind, Result};
use crate::sql::kernel::{Call, Kernel};
use crate::sql::numeric::Numeric;
use arrow::array::ArrayRef;

/// Digits behind the point.
const DIGITS: u32 = 2;
const WHOLE: i64 = 100;

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("cash_in", |c| c.one(|text: &str| Ok(spell(read(text)?)))),
    ("cash_out", |c| c.one(|text: &str| Ok(text))),
    ("cash_send", |c| c.one(|text: &str| Ok(read(text)?.to_be_bytes().to_vec()))),
    ("key/money", |c| c.one(read)),
    ("cash_eq", |c| compared(c, Ordering::is_eq)),
    ("cash_ne", |c| compared(c, Ordering::is_ne)),
    ("cash_lt", |c| compared(c, Ordering::is_lt)),
    ("cash_le", |c| compared(c, Ordering::is_le)),
    ("cash_gt", |c| compared(c, Ordering::is_gt)),
    ("cash_ge", |c| compared(c, Ordering::is_ge)),
    ("cash_cmp", |c| c.two(|a: &str, b: &str| Ok(read(a)?.cmp(&read(b)?) as i32))),
    ("cashlarger", |c| c.two(|a: &str, b: &str| Ok(spell(read(a)?.max(read(b)?))))),
    ("cashsmaller", |c| c.two(|a: &str, b: &str| Ok(spell(read(a)?.min(read(b)?))))),
    ("cash_pl", |c| c.two(|a: &str, b: &str| made(read(a)?.checked_add(read(b)?)))),
    ("cash_mi", |c| c.two(|a: &str, b: &str| made(read(a)?.checked_sub(read(b)?)))),
    ("cash_div_cash", |c| {
        c.two(|a: &str, b: &str| match read(b)? {
            0 => Err(division_by_zero()),
            by => Ok(read(a)? as f64 / by as f64),
        })
    }),
    ("cash_mul_int2", |c| c.two(|a: &str, by: i16| made(read(a)?.checked_mul(by.into())))),
    ("cash_mul_int4", |c| c.two(|a: &str, by: i32| made(read(a)?.checked_mul(by.into())))),
    ("cash_mul_int8", |c| c.two(|a: &str, by: i64| made(read(a)?.checked_mul(by)))),
    ("int2_mul_cash", |c| c.two(|by: i16, a: &str| made(read(a)?.checked_mul(by.into())))),
    ("int4_mul_cash", |c| c.two(|by: i32, a: &str| made(read(a)?.checked_mul(by.into())))),
    ("int8_mul_cash", |c| c.two(|by: i64, a: &str| made(read(a)?.checked_mul(by)))),
    ("cash_div_int2", |c| c.two(|a: &str, by: i16| divided(a, by.into()))),
    ("cash_div_int4", |c| c.two(|a: &str, by: i32| divided(a, by.into()))),
    ("cash_div_int8", |c| c.two(divided)),
    ("cash_mul_flt4", |c| c.two(|a: &str, by: f32| multiplied(a, by.into()))),
    ("cash_mul_flt8", |c| c.two(|a: &str, by: f64| multiplied(a, by))),
    ("flt4_mul_cash", |c| c.two(|by: f32, a: &str| multiplied(a, by.into()))),
    ("flt8_mul_cash", |c| c.two(|by: f64, a: &str| multiplied(a, by))),
    ("cash_div_flt4", |c| c.two(|a: &str, by: f32| divided_by_float(a, by.into()))),
    ("cash_div_flt8", |c| c.two(divided_by_float)),
    ("int4_cash", |c| c.one(|whole: i32| of_whole(whole.into()))),
    ("int8_cash", |c| c.one(of_whole)),
    ("numeric_cash", |c| c.one(of_numeric)),
    ("cash_words", |c| c.one(|text: &str| read(text).map(words))),
    ("cash_numeric", |c| c.one(|text: &str| Ok(Numeric::new(read(text)?.into(), DIGITS)))),
];

fn out_of_range() -> Error {
    Error::new(Kind::NumericRange, "money out of range")
}

fn made(cents: Option<i64>) -> Result<String> {
    cents.map(spell).ok_or_else(out_of_range)
}

fn compared(c: &Call<'_>, is: fn(Ordering) -> bool) -> Result<ArrayRef> {
    c.two(|a: &str, b: &str| Ok(is(read(a)?.cmp(&read(b)?))))
}

fn divided(text: &str, by: i64) -> Result<String> {
    match by {
        0 => Err(division_by_zero()),
        by => made(read(text)?.checked_div(by)),
    }
}

fn divided_by_float(text: &str, by: f64) -> Result<String> {
    if by == 0.0 {
        return Err(division_by_zero());
    }
    let cents = read(text)? as f64;
    // an infinite divisor gives zero
    rounded(checked(cents / by, by.is_infinite(), cents != 0.0 && by.is_finite())?)
}

fn multiplied(text: &str, by: f64) -> Result<String> {
    let cents = read(text)? as f64;
    rounded(checked(cents * by, by.is_infinite(), cents != 0.0 && by != 0.0)?)
}

/// As the arithmetic of floats has it: infinite only of what was, zero not of what was not.
fn checked(result: f64, may_be_infinite: bool, is_not_zero: bool) -> Result<f64> {
    match result {
        result if result.is_infinite() && !may_be_infinite => Err(overflow()),
        result if result == 0.0 && is_not_zero => Err(underflow()),
        result => Ok(result),
    }
}

/// Half to even; 22003 beyond a bigint and for NaN.
fn rounded(cents: f64) -> Result<String> {
    let cents = cents.round_ties_even();
    // -2^63 is a bigint, 2^63 is none
    let fits = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&cents);
    made(fits.then_some(cents as i64))
}

fn of_whole(whole: i64) -> Result<String> {
    whole.checked_mul(WHOLE).map(spell).ok_or_else(bigint_out_of_range)
}

fn of_numeric(value: Numeric) -> Result<String> {
    let no = |what: &str| Error::new(Kind::Unsupported, format!("cannot convert {what} to bigint"));
    match &value {
        Numeric::Finite { .. } => {}
        Numeric::NaN => return Err(no("NaN")),
        _ => return Err(no("infinity")),
    }
    let cents = value.rounded(DIGITS as i32).to_i128(DIGITS as i8);
    cents.and_then(|cents| i64::try_from(cents).ok()).map(spell).ok_or_else(bigint_out_of_range)
}

/// `cash_in`: a number of dollars with commas anywhere, a sign or brackets, `$` on either side.
fn read(text: &str) -> Result<i64> {
    let range = || Error::new(Kind::NumericRange, format!("value \"{text}\" is out of range for type money"));
    let blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}');
    let currency = |rest: &str| -> usize {
        let inner = rest.trim_start_matches(blank);
        let inner = inner.strip_prefix('$').unwrap_or(inner);
        rest.len() - inner.trim_start_matches(blank).len()
    };
    let rest = &text[currency(text)..];
    let (mut negative, rest) = match rest.as_bytes().first() {
        Some(b'-' | b'(') => (true, &rest[1..]),
        Some(b'+') => (false, &rest[1..]),
        _ => (false, rest),
    };
    let mut bytes = rest[currency(rest)..].bytes().peekable();
    // as a negative number: there is one more of them
    let (mut cents, mut decimals) = (0_i64, None::<u32>);
    while let Some(&byte) = bytes.peek() {
        match (byte, decimals) {
            (b'0'..=b'9', None | Some(0..DIGITS)) => {
                let digit = i64::from(byte - b'0');
                cents = cents.checked_mul(10).and_then(|cents| cents.checked_sub(digit)).ok_or_else(range)?;
                decimals = decimals.map(|count| count + 1);
            }
            (b'.', None) => decimals = Some(0),
            (b',', _) => {}
            _ => break,
        }
        bytes.next();
    }
    if bytes.peek().is_some_and(|byte| (b'5'..=b'9').contains(byte)) {
        cents = cents.checked_sub(1).ok_or_else(range)?;
    }
    for _ in decimals.unwrap_or(0)..DIGITS {
        cents = cents.checked_mul(10).ok_or_else(range)?;
    }
    let rest = bytes.skip_while(u8::is_ascii_digit);
    for byte in rest {
        match byte {
            b'-' => negative = true,
            b'+' | b')' | b'$' => {}
            byte if blank(byte.into()) => {}
            _ => return Err(Error::new(Kind::InvalidText, format!("invalid input syntax for type money: \"{text}\""))),
        }
    }
    if negative { Ok(cents) } else { cents.checked_neg().ok_or_else(range) }
}

/// `-$1,234.50`.
fn spell(cents: i64) -> String {
    let all = cents.unsigned_abs();
    let (dollars, rest) = ((all / WHOLE.unsigned_abs()).to_string(), all % WHOLE.unsigned_abs());
    let mut out = String::from(if cents < 0 { "-$" } else { "$" });
    for (place, digit) in dollars.chars().enumerate() {
        if place > 0 && (dollars.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out.push_str(&format!(".{rest:02}"));
    out
}

const SMALL: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
/// Each with the dollars that it stands for.
const GROUPS: [(&str, u64); 6] = [
    (" quadrillion ", 1_000_000_000_000_000),
    (" trillion ", 1_000_000_000_000),
    (" billion ", 1_000_000_000),
    (" million ", 1_000_000),
    (" thousand ", 1_000),
    ("", 1),
];

/// `Minus one hundred dollars and twenty cents`.
fn words(cents: i64) -> String {
    let (dollars, rest) = (cents.unsigned_abs() / WHOLE.unsigned_abs(), cents.unsigned_abs() % WHOLE.unsigned_abs());
    let mut out = String::from(if cents < 0 { "minus " } else { "" });
    for (name, unit) in GROUPS {
        let group = dollars / unit % 1000;
        if group > 0 {
            spell_group(group, &mut out);
            out.push_str(name);
        }
    }
    if dollars == 0 {
        out.push_str(SMALL[0]);
    }
    out.push_str(if dollars == 1 { " dollar and " } else { " dollars and " });
    spell_group(rest, &mut out);
    out.push_str(if rest == 1 { " cent" } else { " cents" });
    if let Some(first) = out.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    out
}

/// `num_word`, of less than a thousand.
fn spell_group(number: u64, out: &mut String) {
    let at = |words: &[&'static str], index: u64| usize::try_from(index).ok().and_then(|at| words.get(at).copied());
    let (hundreds, below) = (number / 100, number % 100);
    let mut parts = vec![];
    if hundreds > 0 {
        parts.extend([at(&SMALL, hundreds), Some("hundred")]);
    }
    match below {
        0 if hundreds > 0 => {}
        0..20 => {
            parts.extend((hundreds > 0).then_some(Some("and")));
            parts.push(at(&SMALL, below));
        }
        _ => {
            parts.push(at(&TENS, below / 10 - 2));
            parts.extend((below % 10 > 0).then(|| at(&SMALL, below % 10)));
        }
    }
    out.push_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(" "));
}
