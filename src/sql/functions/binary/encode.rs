//! encode and decode: hex, base64 in lines of 76 characters, escape; to_hex.

use super::super::text::build2;
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::input;
use crate::sql::kernel::Kernel;

pub(in crate::sql::functions) const KERNELS: &[(&str, Kernel)] = &[
    ("binary_encode", |c| {
        build2(c, |value: &[u8], name: &str, out| {
            c.env.budget.value(value.len().saturating_mul(2))?;
            match encoding(name)? {
                Encoding::Hex => hex(value, out),
                Encoding::Base64 => base64(value, out),
                Encoding::Escape => escape_output(value, |byte| byte == 0 || byte >= 0x80, out),
            }
            Ok(())
        })
    }),
    ("binary_decode", |c| {
        c.two(|text: &str, name: &str| match encoding(name)? {
            Encoding::Hex => input::hex_bytes(text),
            Encoding::Base64 => base64_bytes(text),
            Encoding::Escape => input::escaped_bytes(text),
        })
    }),
    ("to_hex32", |c| c.one(|number: i32| Ok(format!("{number:x}")))),
    ("to_hex64", |c| c.one(|number: i64| Ok(format!("{number:x}")))),
];

enum Encoding {
    Hex,
    Base64,
    Escape,
}

fn encoding(name: &str) -> Result<Encoding> {
    match name.to_ascii_lowercase().as_str() {
        "hex" => Ok(Encoding::Hex),
        "base64" => Ok(Encoding::Base64),
        "escape" => Ok(Encoding::Escape),
        _ => Err(invalid(format!("unrecognized encoding: \"{name}\""))),
    }
}

fn invalid(text: String) -> Error {
    Error::new(Kind::InvalidParameter, text)
}

pub(super) fn hex(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(bytes.len() * 2);
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// Backslashes doubled, and in octal what `special` tells.
pub(super) fn escape_output(bytes: &[u8], special: impl Fn(u8) -> bool, out: &mut String) {
    for &byte in bytes {
        match byte {
            b'\\' => out.push_str("\\\\"),
            byte if special(byte) => {
                let digit = |shift: u8| char::from(b'0' + (byte >> shift & 7));
                out.extend(['\\', digit(6), digit(3), digit(0)]);
            }
            byte => out.push(char::from(byte)),
        }
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A line feed stands behind each full line, the last too.
fn base64(bytes: &[u8], out: &mut String) {
    const LINE_CHARS: usize = 76;
    let mut line = 0;
    for group in bytes.chunks(3) {
        let byte = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let index = (bits >> (18 - 6 * i)) as usize & 63;
            out.push(if i <= group.len() { char::from(ALPHABET[index]) } else { '=' });
        }
        line += 4;
        if line == LINE_CHARS {
            out.push('\n');
            line = 0;
        }
    }
}

/// White space may stand anywhere.
fn base64_bytes(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut digits, mut kept) = (0u32, 0, 3);
    for character in text.chars() {
        let value = match character {
            ' ' | '\t' | '\n' | '\r' => continue,
            '=' => {
                // padding: so many bytes of this group count, and of all that follow
                if kept == 3 {
                    kept = match digits {
                        2 => 1,
                        3 => 2,
                        _ => return Err(invalid("unexpected \"=\" while decoding base64 sequence".into())),
                    };
                }
                0
            }
            'A'..='Z' => u32::from(character) - u32::from('A'),
            'a'..='z' => u32::from(character) - u32::from('a') + 26,
            '0'..='9' => u32::from(character) - u32::from('0') + 52,
            '+' => 62,
            '/' => 63,
            _ => {
                let text = format!("invalid symbol \"{character}\" found while decoding base64 sequence");
                return Err(invalid(text));
            }
        };
        bits = bits << 6 | value;
        digits += 1;
        if digits == 4 {
            let [_, a, b, c] = bits.to_be_bytes();
            out.extend_from_slice(&[a, b, c][..kept]);
            (bits, digits) = (0, 0);
        }
    }
    if digits != 0 {
        let hint = "Input data is missing padding, is truncated, or is otherwise corrupted.";
        return Err(invalid("invalid base64 end sequence".into()).with_hint(hint));
    }
    Ok(out)
}
