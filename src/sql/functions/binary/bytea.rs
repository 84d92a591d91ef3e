//! bytea: input, output, parts, single bytes and bits, comparisons.

use crate::error::{Error, Kind, Result};
use crate::formats::postgres::input;
use crate::sql::functions::text::compare::difference;
use crate::sql::functions::text::measure::bits;
use crate::sql::functions::text::{build1, int, overlay, substring};
use crate::sql::kernel::Kernel;

use super::encode::{escape_output, hex};

pub(in crate::sql::functions) const KERNELS: &[(&str, Kernel)] = &[
    ("byteain", |c| c.one(|text: &str| input::bytea(text))),
    ("byteaout", |c| {
        let escape = c.env.bytea_escape;
        build1(c, |value: &[u8], out| {
            c.env.budget.value(value.len().saturating_mul(2))?;
            if escape {
                escape_output(value, |byte| !(0x20..0x7f).contains(&byte), out);
            } else {
                out.push_str("\\x");
                hex(value, out);
            }
            Ok(())
        })
    }),
    ("byteaoctetlen", |c| c.one(|value: &[u8]| Ok(int(value.len())))),
    ("bit_length/1810", |c| c.one(|value: &[u8]| bits(value.len()))),
    ("byteacat", |c| c.two(|a: &[u8], b: &[u8]| Ok([a, b].concat()))),
    ("bytea_substr", |c| c.three(|value: &[u8], from: i32, length: i32| part(value, from, Some(length)))),
    ("bytea_substr_no_len", |c| c.two(|value: &[u8], from: i32| part(value, from, None))),
    ("byteaoverlay", |c| c.four(|value: &[u8], new: &[u8], from: i32, length: i32| overlaid(value, new, from, length))),
    ("byteaoverlay_no_len", |c| {
        c.three(|value: &[u8], new: &[u8], from: i32| overlaid(value, new, from, int(new.len())))
    }),
    ("byteapos", |c| c.two(|value: &[u8], part: &[u8]| Ok(position(value, part)))),
    ("byteatrim", |c| c.two(|value: &[u8], set: &[u8]| Ok(trimmed(trimmed_end(value, set), set)))),
    ("bytealtrim", |c| c.two(|value: &[u8], set: &[u8]| Ok(trimmed(value, set)))),
    ("byteartrim", |c| c.two(|value: &[u8], set: &[u8]| Ok(trimmed_end(value, set)))),
    ("byteaGetByte", |c| c.two(|value: &[u8], n: i32| Ok(i32::from(value[index(i64::from(n), value.len() as u64)?])))),
    ("byteaGetBit", |c| {
        c.two(|value: &[u8], n: i64| {
            let n = index(n, value.len() as u64 * 8)?;
            Ok(i32::from(value[n / 8] >> (n % 8) & 1))
        })
    }),
    ("byteaSetByte", |c| {
        c.three(|value: &[u8], n: i32, new: i32| {
            let n = index(i64::from(n), value.len() as u64)?;
            let mut value = value.to_vec();
            // only the lowest eight bits count
            value[n] = new.to_le_bytes()[0];
            Ok(value)
        })
    }),
    ("byteaSetBit", |c| {
        c.three(|value: &[u8], n: i64, new: i32| {
            let n = index(n, value.len() as u64 * 8)?;
            let mask = 1 << (n % 8);
            let mut value = value.to_vec();
            if new_bit(new)? {
                value[n / 8] |= mask;
            } else {
                value[n / 8] &= !mask;
            }
            Ok(value)
        })
    }),
    ("bytea_bit_count", |c| {
        c.one(|value: &[u8]| Ok(value.iter().map(|byte| i64::from(byte.count_ones())).sum::<i64>()))
    }),
    ("byteaeq", |c| c.two(|a: &[u8], b: &[u8]| Ok(a == b))),
    ("byteane", |c| c.two(|a: &[u8], b: &[u8]| Ok(a != b))),
    ("bytealt", |c| c.two(|a: &[u8], b: &[u8]| Ok(a < b))),
    ("byteale", |c| c.two(|a: &[u8], b: &[u8]| Ok(a <= b))),
    ("byteagt", |c| c.two(|a: &[u8], b: &[u8]| Ok(a > b))),
    ("byteage", |c| c.two(|a: &[u8], b: &[u8]| Ok(a >= b))),
    ("byteacmp", |c| c.two(|a: &[u8], b: &[u8]| Ok(difference(a, b)))),
];

fn part(value: &[u8], from: i32, length: Option<i32>) -> Result<&[u8]> {
    let Some((from, to)) = substring(from, length)? else { return Ok(&[]) };
    let to = to.unwrap_or(value.len()).min(value.len());
    Ok(&value[from.min(to)..to])
}

fn overlaid(value: &[u8], new: &[u8], from: i32, length: i32) -> Result<Vec<u8>> {
    let (before, behind) = overlay(from, length)?;
    Ok([&value[..before.min(value.len())], new, &value[behind.min(value.len())..]].concat())
}

/// From 1; 0 where there is none.
fn position(value: &[u8], part: &[u8]) -> i32 {
    match part.len() {
        0 => 1,
        length => value.windows(length).position(|window| window == part).map_or(0, |at| int(at) + 1),
    }
}

fn trimmed<'a>(value: &'a [u8], set: &[u8]) -> &'a [u8] {
    let from = value.iter().position(|byte| !set.contains(byte)).unwrap_or(value.len());
    &value[from..]
}

fn trimmed_end<'a>(value: &'a [u8], set: &[u8]) -> &'a [u8] {
    let to = value.iter().rposition(|byte| !set.contains(byte)).map_or(0, |last| last + 1);
    &value[..to]
}

fn index(n: i64, length: u64) -> Result<usize> {
    let at = u64::try_from(n).ok().filter(|n| *n < length).and_then(|n| usize::try_from(n).ok());
    at.ok_or_else(|| {
        let last = i128::from(length) - 1;
        Error::new(Kind::ArraySubscript, format!("index {n} out of valid range, 0..{last}"))
    })
}

pub(super) fn new_bit(new: i32) -> Result<bool> {
    match new {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Error::new(Kind::InvalidParameter, "new bit must be 0 or 1")),
    }
}
