//! bit and varbit, as text of 0 and 1: their order is that of the text.

use arrow::array::ArrayRef;

use super::bytea::new_bit;
use crate::error::{Error, Kind, Result};
use crate::sql::functions::text::{
    build, build1, build2, build3, count, int, integer_out_of_range, overlay, substring,
};
use crate::sql::kernel::{Call, Kernel};

pub(in crate::sql::functions) const KERNELS: &[(&str, Kernel)] = &[
    ("bit_in", |c| read(c, bit_fits)),
    ("varbit_in", |c| read(c, varbit_fits)),
    ("bit_out", |c| c.one(|bits: &str| Ok(bits))),
    ("bit_send", |c| c.one(|bits: &str| Ok(sent(bits)))),
    ("varbit_send", |c| c.one(|bits: &str| Ok(sent(bits)))),
    ("varbit_out", |c| c.one(|bits: &str| Ok(bits))),
    ("bit", |c| {
        build3(c, |bits: &str, length: i32, explicit: bool, out| {
            if !explicit {
                bit_fits(bits, length)?;
            }
            c.env.budget.value(count(length))?;
            resized(bits, if length <= 0 { bits.len() } else { count(length) }, out);
            Ok(())
        })
    }),
    ("varbit", |c| {
        build3(c, |bits: &str, length: i32, explicit: bool, out| {
            if !explicit {
                varbit_fits(bits, length)?;
            }
            out.push_str(if length <= 0 { bits } else { &bits[..bits.len().min(count(length))] });
            Ok(())
        })
    }),
    ("bitlength", |c| c.one(|bits: &str| Ok(int(bits.len())))),
    ("bit_length/1812", |c| c.one(|bits: &str| Ok(int(bits.len())))),
    ("bitoctetlength", |c| c.one(|bits: &str| Ok(int(bits.len().div_ceil(8))))),
    ("bit_bit_count", |c| c.one(|bits: &str| Ok(i64::from(int(bits.bytes().filter(|bit| *bit == b'1').count()))))),
    ("bitcat", |c| {
        build2(c, |a: &str, b: &str, out| {
            out.push_str(a);
            out.push_str(b);
            Ok(())
        })
    }),
    ("bit_and", |c| each_pair(c, "AND", |a, b| a && b)),
    ("bit_or", |c| each_pair(c, "OR", |a, b| a || b)),
    ("bitxor", |c| each_pair(c, "XOR", |a, b| a != b)),
    ("bitnot", |c| {
        build1(c, |bits: &str, out| {
            out.extend(bits.bytes().map(|bit| digit(bit == b'0')));
            Ok(())
        })
    }),
    ("bitshiftleft", |c| build2(c, |bits: &str, n: i32, out| shifted(bits, i64::from(n), out))),
    ("bitshiftright", |c| build2(c, |bits: &str, n: i32, out| shifted(bits, -i64::from(n), out))),
    ("bitsubstr", |c| c.three(|bits: &str, from: i32, length: i32| part(bits, from, Some(length)))),
    ("bitsubstr_no_len", |c| c.two(|bits: &str, from: i32| part(bits, from, None))),
    ("bitoverlay", |c| c.four(|bits: &str, new: &str, from: i32, length: i32| overlaid(bits, new, from, length))),
    ("bitoverlay_no_len", |c| c.three(|bits: &str, new: &str, from: i32| overlaid(bits, new, from, int(new.len())))),
    ("bitposition", |c| {
        c.two(|bits: &str, part: &str| {
            Ok(if bits.is_empty() { 0 } else { bits.find(part).map_or(0, |at| int(at) + 1) })
        })
    }),
    ("bitgetbit", |c| c.two(|bits: &str, n: i32| Ok(i32::from(bits.as_bytes()[index(bits, n)?] == b'1')))),
    ("bitsetbit", |c| {
        c.three(|bits: &str, n: i32, new: i32| {
            let at = index(bits, n)?;
            let mut changed = bits.to_owned();
            changed.replace_range(at..=at, if new_bit(new)? { "1" } else { "0" });
            Ok(changed)
        })
    }),
    ("bitfromint4", |c| build2(c, |number: i32, length: i32, out| of_integer(c, i64::from(number), length, out))),
    ("bitfromint8", |c| build2(c, |number: i64, length: i32, out| of_integer(c, number, length, out))),
    ("bittoint4", |c| {
        c.one(|bits: &str| {
            let number = if bits.is_empty() { Some(0) } else { u32::from_str_radix(bits, 2).ok() };
            let number = number.filter(|_| bits.len() <= 32).ok_or_else(integer_out_of_range)?;
            Ok(number.cast_signed())
        })
    }),
    ("bittoint8", |c| {
        c.one(|bits: &str| {
            let number = if bits.is_empty() { Some(0) } else { u64::from_str_radix(bits, 2).ok() };
            let number = number.filter(|_| bits.len() <= 64);
            let number = number.ok_or_else(|| Error::new(Kind::NumericRange, "bigint out of range"))?;
            Ok(number.cast_signed())
        })
    }),
    ("biteq", |c| c.two(|a: &str, b: &str| Ok(a == b))),
    ("bitne", |c| c.two(|a: &str, b: &str| Ok(a != b))),
    ("bitlt", |c| c.two(|a: &str, b: &str| Ok(a < b))),
    ("bitle", |c| c.two(|a: &str, b: &str| Ok(a <= b))),
    ("bitgt", |c| c.two(|a: &str, b: &str| Ok(a > b))),
    ("bitge", |c| c.two(|a: &str, b: &str| Ok(a >= b))),
    ("bitcmp", |c| c.two(|a: &str, b: &str| Ok(compare(a, b)))),
];

/// `varbit_send`: eight to a byte behind their number, the last filled up with zeroes.
fn sent(bits: &str) -> Vec<u8> {
    let mut out = int(bits.len()).to_be_bytes().to_vec();
    let byte = |eight: &[u8]| eight.iter().enumerate().fold(0, |byte, (at, bit)| byte | (bit & 1) << (7 - at));
    out.extend(bits.as_bytes().chunks(8).map(byte));
    out
}

fn digit(one: bool) -> char {
    if one { '1' } else { '0' }
}

/// `101`, `b101`, `x1F`. A modifier is checked, as COPY gives it.
fn read(call: &Call<'_>, fits: fn(&str, i32) -> Result<()>) -> Result<ArrayRef> {
    let text = call.read::<&str>(0)?;
    let typmod = match call.args.len() {
        3.. => Some(call.read::<i32>(2)?),
        _ => None,
    };
    build(call, |row, out| {
        let Some(text) = text.get(row) else { return Ok(false) };
        let start = out.len();
        let wrong = |c: char, of: &str| Error::new(Kind::InvalidText, format!("\"{c}\" is not a valid {of} digit"));
        if let Some(digits) = text.strip_prefix(['x', 'X']) {
            for character in digits.chars() {
                let value = character.to_digit(16).ok_or_else(|| wrong(character, "hexadecimal"))?;
                out.extend((0..4).rev().map(|bit| digit(value >> bit & 1 == 1)));
            }
        } else {
            let digits = text.strip_prefix(['b', 'B']).unwrap_or(text);
            if let Some(character) = digits.chars().find(|c| !matches!(c, '0' | '1')) {
                return Err(wrong(character, "binary"));
            }
            out.push_str(digits);
        }
        fits(&out[start..], typmod.as_ref().and_then(|typmod| typmod.get(row)).unwrap_or(-1))?;
        Ok(true)
    })
}

fn bit_fits(bits: &str, length: i32) -> Result<()> {
    let has = bits.len();
    if length <= 0 || count(length) == has {
        return Ok(());
    }
    let text = format!("bit string length {has} does not match type bit({length})");
    Err(Error::new(Kind::StringLengthMismatch, text))
}

fn varbit_fits(bits: &str, length: i32) -> Result<()> {
    if length <= 0 || bits.len() <= count(length) {
        return Ok(());
    }
    Err(Error::new(Kind::StringTooLong, format!("bit string too long for type bit varying({length})")))
}

/// Cut, or filled with zeros.
fn resized(bits: &str, length: usize, out: &mut String) {
    out.push_str(&bits[..bits.len().min(length)]);
    out.extend(std::iter::repeat_n('0', length.saturating_sub(bits.len())));
}

fn each_pair(call: &Call<'_>, name: &str, f: fn(bool, bool) -> bool) -> Result<ArrayRef> {
    build2(call, |a: &str, b: &str, out| {
        if a.len() != b.len() {
            let text = format!("cannot {name} bit strings of different sizes");
            return Err(Error::new(Kind::StringLengthMismatch, text));
        }
        out.extend(a.bytes().zip(b.bytes()).map(|(a, b)| digit(f(a == b'1', b == b'1'))));
        Ok(())
    })
}

/// To the left, or to the right by a negative number.
fn shifted(bits: &str, left: i64, out: &mut String) -> Result<()> {
    let by = usize::try_from(left.unsigned_abs()).unwrap_or(usize::MAX).min(bits.len());
    let zeros = std::iter::repeat_n('0', by);
    if left >= 0 {
        out.push_str(&bits[by..]);
        out.extend(zeros);
    } else {
        out.extend(zeros);
        out.push_str(&bits[..bits.len() - by]);
    }
    Ok(())
}

fn part(bits: &str, from: i32, length: Option<i32>) -> Result<&str> {
    let Some((from, to)) = substring(from, length)? else { return Ok("") };
    let to = to.unwrap_or(bits.len()).min(bits.len());
    Ok(&bits[from.min(to)..to])
}

fn overlaid(bits: &str, new: &str, from: i32, length: i32) -> Result<String> {
    let (before, behind) = overlay(from, length)?;
    Ok([&bits[..before.min(bits.len())], new, &bits[behind.min(bits.len())..]].concat())
}

fn index(bits: &str, n: i32) -> Result<usize> {
    let at = usize::try_from(n).ok().filter(|n| *n < bits.len());
    at.ok_or_else(|| {
        let last = int(bits.len()) - 1;
        Error::new(Kind::ArraySubscript, format!("bit index {n} out of valid range (0..{last})"))
    })
}

/// The lowest bits; in front of them the sign.
fn of_integer(call: &Call<'_>, number: i64, length: i32, out: &mut String) -> Result<()> {
    let length = count(length.max(1));
    call.env.budget.value(length)?;
    out.extend((0..length).rev().map(|bit| digit(number >> bit.min(63) & 1 == 1)));
    Ok(())
}

/// By the bytes in which PostgreSQL packs them, then by length.
fn compare(a: &str, b: &str) -> i32 {
    let byte = |bits: &[u8]| {
        let bit = |i: usize| bits.get(i) == Some(&b'1');
        (0..8).fold(0, |byte, i| byte << 1 | i32::from(bit(i)))
    };
    let differs = a.as_bytes().chunks(8).zip(b.as_bytes().chunks(8)).map(|(a, b)| byte(a) - byte(b)).find(|d| *d != 0);
    differs.unwrap_or_else(|| a.len().cmp(&b.len()) as i32)
}
