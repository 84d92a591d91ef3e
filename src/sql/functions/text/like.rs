//! LIKE and ILIKE (like_match.c): `%` is any string, `_` one character (of a bytea: one byte), a backslash takes the next
//! as it is. A pattern whose text ends with the backslash is an error only where matching gets there.
//!
//! A constant pattern with `%` at its ends alone is a search for a string.

use std::borrow::Cow;

use arrow::array::ArrayRef;

use super::build2;
use super::letters::lower;
use crate::error::{Error, Kind, Result};
use crate::sql::kernel::{Call, Kernel};

pub(in crate::sql::functions) const KERNELS: &[(&str, Kernel)] = &[
    ("textlike", |c| matches(c, true, false)),
    ("textnlike", |c| matches(c, false, false)),
    ("namelike", |c| matches(c, true, false)),
    ("namenlike", |c| matches(c, false, false)),
    ("texticlike", |c| matches(c, true, true)),
    ("texticnlike", |c| matches(c, false, true)),
    ("nameiclike", |c| matches(c, true, true)),
    ("nameicnlike", |c| matches(c, false, true)),
    ("bytealike", |c| c.two(|value: &[u8], pattern: &[u8]| like(value, pattern, false))),
    ("byteanlike", |c| c.two(|value: &[u8], pattern: &[u8]| like(value, pattern, false).map(|is| !is))),
    ("like_escape", |c| {
        build2(c, |pattern: &str, escape: &str, out| {
            let mut all = escape.chars();
            let (escape, None) = (all.next(), all.next()) else { return Err(bad_escape()) };
            escaped(pattern, escape, out);
            Ok(())
        })
    }),
    ("like_escape_bytea", |c| {
        c.two(|pattern: &[u8], escape: &[u8]| {
            let escape = match escape {
                [] => None,
                [byte] => Some(*byte),
                _ => return Err(bad_escape()),
            };
            Ok(escaped_bytes(pattern, escape))
        })
    }),
];

pub(in crate::sql::functions) fn bad_escape() -> Error {
    let text = "invalid escape string";
    Error::new(Kind::InvalidEscapeSequence, text).with_hint("Escape string must be empty or one character.")
}

fn matches(call: &Call<'_>, wanted: bool, any_case: bool) -> Result<ArrayRef> {
    let pattern = call.arg(1)?;
    if pattern.constant && !any_case && !pattern.is_null(0) {
        let pattern = call.read::<&str>(1)?.get(0).unwrap_or("");
        if let Some(plain) = Plain::of(pattern) {
            return match plain {
                Plain::Is(s) => call.one(|value: &str| Ok((value == s) == wanted)),
                Plain::Starts(s) => call.one(|value: &str| Ok(value.starts_with(s) == wanted)),
                Plain::Ends(s) => call.one(|value: &str| Ok(value.ends_with(s) == wanted)),
                Plain::Contains(s) => call.one(|value: &str| Ok(value.contains(s) == wanted)),
            };
        }
        return call.one(|value: &str| Ok(like(value.as_bytes(), pattern.as_bytes(), true)? == wanted));
    }
    if any_case {
        let constant = match pattern.constant {
            true => call.read::<&str>(1)?.get(0).map(lower),
            false => None,
        };
        return call.two(|value: &str, pattern: &str| {
            let pattern = constant.as_deref().map_or_else(|| Cow::Owned(lower(pattern)), Cow::Borrowed);
            Ok(like(lower(value).as_bytes(), pattern.as_bytes(), true)? == wanted)
        });
    }
    call.two(|value: &str, pattern: &str| Ok(like(value.as_bytes(), pattern.as_bytes(), true)? == wanted))
}

/// A pattern that is a search.
enum Plain<'a> {
    Is(&'a str),
    Starts(&'a str),
    Ends(&'a str),
    Contains(&'a str),
}

impl<'a> Plain<'a> {
    fn of(pattern: &'a str) -> Option<Self> {
        let open_start = pattern.starts_with('%');
        let inner = pattern.trim_start_matches('%');
        let open_end = inner.ends_with('%') || (inner.is_empty() && open_start);
        let inner = inner.trim_end_matches('%');
        if inner.contains(['%', '_', '\\']) {
            return None;
        }
        Some(match (open_start, open_end) {
            (false, false) => Self::Is(inner),
            (false, true) => Self::Starts(inner),
            (true, false) => Self::Ends(inner),
            (true, true) => Self::Contains(inner),
        })
    }
}

/// The outcome of matching a rest.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Yes,
    No,
    /// No, and no later beginning helps: the text has run out.
    Abort,
}

fn like(value: &[u8], pattern: &[u8], utf8: bool) -> Result<bool> {
    Ok(rest_matches(value, pattern, utf8)? == Outcome::Yes)
}

/// Bytes of the character that begins here.
fn width(bytes: &[u8], utf8: bool) -> usize {
    match bytes.first() {
        Some(0xc0..=0xdf) if utf8 => 2,
        Some(0xe0..=0xef) if utf8 => 3,
        Some(0xf0..) if utf8 => 4,
        _ => 1,
    }
}

fn escaped_first(pattern: &[u8]) -> Result<u8> {
    let text = "LIKE pattern must not end with escape character";
    pattern.get(1).copied().ok_or_else(|| Error::new(Kind::InvalidEscapeSequence, text))
}

/// Only the last `%` that was met is ever gone back to, so that no pattern takes more than text × pattern steps; the
/// order in which places are looked at, and so which error is seen, is that of a search from the left.
fn rest_matches(value: &[u8], pattern: &[u8], utf8: bool) -> Result<Outcome> {
    let (mut t, mut p) = (value, pattern);
    // where the pattern goes on behind the last %, and the text that it last began at
    let mut back: Option<(&[u8], &[u8])> = None;
    loop {
        let failed = match (p.first(), t.is_empty()) {
            (None, true) => return Ok(Outcome::Yes),
            (None, false) => true,
            (Some(_), true) => {
                // the text has run out before the pattern
                return Ok(if p.iter().all(|byte| *byte == b'%') { Outcome::Yes } else { Outcome::Abort });
            }
            (Some(b'%'), false) => {
                // Behind it, `_` takes characters at once, and a literal character is where a match may begin.
                p = &p[1..];
                loop {
                    match p.first() {
                        Some(b'%') => p = &p[1..],
                        Some(b'_') => {
                            if t.is_empty() {
                                return Ok(Outcome::Abort);
                            }
                            t = t.get(width(t, utf8)..).unwrap_or_default();
                            p = &p[1..];
                        }
                        _ => break,
                    }
                }
                match p.first() {
                    None => return Ok(Outcome::Yes),
                    Some(b'\\') => {
                        escaped_first(p)?;
                    }
                    Some(_) => {}
                }
                back = Some((p, t));
                false
            }
            (Some(b'\\'), false) => {
                let literal = escaped_first(p)?;
                if t[0] == literal {
                    (t, p) = (&t[1..], &p[2..]);
                    false
                } else {
                    true
                }
            }
            (Some(b'_'), false) => {
                t = t.get(width(t, utf8)..).unwrap_or_default();
                p = &p[1..];
                false
            }
            (Some(literal), false) => {
                if t[0] == *literal {
                    (t, p) = (&t[1..], &p[1..]);
                    false
                } else {
                    true
                }
            }
        };
        if failed {
            let Some((pattern, text)) = back else { return Ok(Outcome::No) };
            if text.is_empty() {
                return Ok(Outcome::Abort);
            }
            let text = text.get(width(text, utf8)..).unwrap_or_default();
            back = Some((pattern, text));
            (p, t) = (pattern, text);
            if t.is_empty() {
                return Ok(Outcome::Abort);
            }
        }
    }
}

/// The pattern with the backslash for its escape character.
fn escaped(pattern: &str, escape: Option<char>, out: &mut String) {
    if escape == Some('\\') {
        out.push_str(pattern);
        return;
    }
    let mut after_escape = false;
    for character in pattern.chars() {
        if Some(character) == escape && !after_escape {
            out.push('\\');
            after_escape = true;
        } else if character == '\\' {
            out.push('\\');
            if !after_escape {
                out.push('\\');
            }
            after_escape = false;
        } else {
            out.push(character);
            after_escape = false;
        }
    }
}

fn escaped_bytes(pattern: &[u8], escape: Option<u8>) -> Vec<u8> {
    if escape == Some(b'\\') {
        return pattern.to_vec();
    }
    let mut out = Vec::with_capacity(pattern.len() * 2);
    let mut after_escape = false;
    for &byte in pattern {
        if Some(byte) == escape && !after_escape {
            out.push(b'\\');
            after_escape = true;
        } else {
            if byte == b'\\' && !after_escape {
                out.push(b'\\');
            }
            out.push(byte);
            after_escape = false;
        }
    }
    out
}
