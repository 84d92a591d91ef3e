//! Lengths and places: length, octet_length, bit_length, position, ascii, chr, starts_with.

use super::{chars, int};
use crate::error::{Error, Kind, Result};
use crate::sql::kernel::Kernel;

pub(in crate::sql::functions) const KERNELS: &[(&str, Kernel)] = &[
    ("textlen", |c| c.one(|text: &str| Ok(chars(text)))),
    ("bpcharlen", |c| c.one(|text: &str| Ok(chars(text.trim_end_matches(' '))))),
    ("textoctetlen", |c| c.one(|text: &str| Ok(int(text.len())))),
    ("bpcharoctetlen", |c| c.one(|text: &str| Ok(int(text.len())))),
    ("bit_length/1811", |c| c.one(|text: &str| bits(text.len()))),
    ("textpos", |c| c.two(|text: &str, part: &str| Ok(position(text, part)))),
    ("text_starts_with", |c| c.two(|text: &str, start: &str| Ok(text.starts_with(start)))),
    ("ascii", |c| c.one(|text: &str| Ok(text.chars().next().map_or(0, |first| u32::from(first).cast_signed())))),
    ("chr", |c| c.one(chr)),
];

/// `octet_length(…) * 8`.
pub(in crate::sql::functions) fn bits(bytes: usize) -> Result<i32> {
    let bits = bytes.checked_mul(8).and_then(|bits| i32::try_from(bits).ok());
    bits.ok_or_else(super::integer_out_of_range)
}

/// From 1; 0 where there is none.
fn position(text: &str, part: &str) -> i32 {
    text.find(part).map_or(0, |at| chars(&text[..at]) + 1)
}

fn chr(number: i32) -> Result<String> {
    let wrong = |kind, what: String| Err(Error::new(kind, what));
    let Ok(code) = u32::try_from(number) else {
        return wrong(Kind::InvalidParameter, "character number must be positive".into());
    };
    match char::from_u32(code) {
        Some('\0') => wrong(Kind::TooLarge, "null character not permitted".into()),
        Some(character) => Ok(character.into()),
        None if code > 0x10ffff => wrong(Kind::TooLarge, format!("requested character too large for encoding: {code}")),
        None => wrong(Kind::TooLarge, format!("requested character not valid for encoding: {code}")),
    }
}
