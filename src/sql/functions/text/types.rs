//! Input and output of the string types, what they cut, and the casts between them. `"char"` lies as its text: one ASCII
//! character, `\ooo` for a byte above, or nothing.

use crate::error::{Error, Kind, Result};
use crate::sql::kernel::{Call, Kernel};
use arrow::array::{ArrayRef, AsArray};
use std::sync::Arc;

use super::{build1, build3};

pub(in crate::sql::functions) const KERNELS: &[(&str, Kernel)] = &[
    ("textin", same),
    ("textout", same),
    ("unknownin", same),
    ("unknownout", same),
    ("cstring_in", same),
    ("cstring_out", same),
    ("void_out", |c| c.rows_of(|_| Ok(""))),
    ("varcharin", |c| length_checked(c, varchar)),
    ("varcharout", same),
    ("bpcharin", |c| length_checked(c, bpchar)),
    ("bpcharout", same),
    ("varchar", |c| build3(c, |text: &str, typmod: i32, explicit: bool, out| varchar(text, typmod, explicit, out))),
    ("bpchar", |c| build3(c, |text: &str, typmod: i32, explicit: bool, out| bpchar(text, typmod, explicit, out))),
    ("namein", |c| c.one(|text: &str| Ok(name(text)))),
    ("nameout", same),
    ("text_name", |c| c.one(|text: &str| Ok(name(text)))),
    ("bpchar_name", |c| c.one(|text: &str| Ok(name(text).trim_end_matches(' ')))),
    ("name_text", same),
    ("name_bpchar", same),
    ("charin", |c| build1(c, |text: &str, out| char_in(text, out))),
    ("charout", same),
    ("char_text", same),
    ("char_bpchar", same),
    ("text_char", |c| build1(c, |text: &str, out| char_in(text, out))),
    ("chartoi4", |c| c.one(|text: &str| Ok(i32::from(char_byte(text).cast_signed())))),
    ("i4tochar", |c| {
        build1(c, |number: i32, out| {
            let byte = i8::try_from(number);
            let byte = byte.map_err(|_| Error::new(Kind::NumericRange, "\"char\" out of range"))?;
            char_text(byte.cast_unsigned(), out);
            Ok(())
        })
    }),
];

/// The value as it lies.
pub(super) fn same(call: &Call<'_>) -> Result<ArrayRef> {
    let arg = call.arg(0)?;
    if !arg.constant && arg.array.as_string_opt::<i32>().is_some() {
        return Ok(Arc::clone(&arg.array));
    }
    call.one(|text: &str| Ok(text))
}

/// Input with a modifier, which only COPY and domains give; a literal is cut by the coercion around it.
fn length_checked(call: &Call<'_>, cut: fn(&str, i32, bool, &mut String) -> Result<()>) -> Result<ArrayRef> {
    match call.args.len() {
        3.. => {
            let typmod = call.read::<i32>(2)?;
            let text = call.read::<&str>(0)?;
            super::build(call, |i, out| match text.get(i) {
                Some(text) => cut(text, typmod.get(i).unwrap_or(-1), false, out).map(|()| true),
                None => Ok(false),
            })
        }
        _ => same(call),
    }
}

/// Where the text is longer than its modifier allows. Blanks are cut without a word, and everything by an explicit cast.
fn cut<'a>(text: &'a str, length: i32, explicit: bool, name: &str) -> Result<&'a str> {
    let (kept, rest) = text.split_at(super::byte_of(text, super::count(length)));
    if explicit || rest.bytes().all(|byte| byte == b' ') {
        return Ok(kept);
    }
    Err(Error::new(Kind::StringTooLong, format!("value too long for type {name}({length})")))
}

fn varchar(text: &str, typmod: i32, explicit: bool, out: &mut String) -> Result<()> {
    out.push_str(match typmod {
        4.. => cut(text, typmod - 4, explicit, "character varying")?,
        _ => text,
    });
    Ok(())
}

fn bpchar(text: &str, typmod: i32, explicit: bool, out: &mut String) -> Result<()> {
    if typmod < 4 {
        out.push_str(text);
        return Ok(());
    }
    let length = typmod - 4;
    let kept = cut(text, length, explicit, "character")?;
    out.push_str(kept);
    let blanks = super::count(length).saturating_sub(kept.chars().count());
    out.extend(std::iter::repeat_n(' ', blanks));
    Ok(())
}

/// The first 63 bytes, and no part of a character.
pub(in crate::sql::functions) fn name(text: &str) -> &str {
    const NAME_BYTES_MAX: usize = 63;
    &text[..text.floor_char_boundary(NAME_BYTES_MAX)]
}

/// The first byte, or the one that `\ooo` is.
fn char_in(text: &str, out: &mut String) -> Result<()> {
    let byte = match *text.as_bytes() {
        [] => return Ok(()),
        [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7'] => (a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'),
        // the highest bits of such a number are lost
        [b'\\', a @ b'4'..=b'7', b @ b'0'..=b'7', c @ b'0'..=b'7'] => (a - b'4') << 6 | (b - b'0') << 3 | (c - b'0'),
        [first, ..] => first,
    };
    char_text(byte, out);
    Ok(())
}

fn char_text(byte: u8, out: &mut String) {
    match byte {
        0 => {}
        1..0x80 => out.push(char::from(byte)),
        _ => out.extend(['\\', octal(byte >> 6), octal(byte >> 3), octal(byte)]),
    }
}

fn octal(byte: u8) -> char {
    char::from(b'0' + (byte & 7))
}

/// The byte that a `"char"` is.
pub(in crate::sql::functions) fn char_byte(text: &str) -> u8 {
    match *text.as_bytes() {
        [] => 0,
        [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7'] => (a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'),
        [first, ..] => first,
    }
}
