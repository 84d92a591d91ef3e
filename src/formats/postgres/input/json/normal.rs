//! jsonb's normal form: keys by length and bytes, the last of equal keys, one blank behind `:` and `,`, numbers written
//! out as numeric prints them.

use std::borrow::Cow;
use std::fmt::Write;

use super::scan::unescape;
use super::{invalid, is_number};
use crate::error::{Error, Kind, Result};

/// Digits after the point and before it that a numeric may have.
const SCALE_MAX: i64 = 16_383;
const WHOLE_MAX: i64 = 131_072;

/// An open container. Members are written as they come, and put in order when the object closes.
struct Open<'a> {
    object: bool,
    /// Where its bracket stands in what is written.
    start: usize,
    /// Key, and where the member begins in what is written.
    members: Vec<(Cow<'a, str>, usize)>,
    filled: bool,
}

/// `text` was checked with `Escapes::Read`. 54000 where what is written is longer than `bytes_max`: `1e131071` is 131 072 digits.
pub(super) fn write(text: &str, bytes_max: usize) -> Result<String> {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut open: Vec<Open<'_>> = vec![];
    let mut at = 0;
    // a string is a key where an object waits for one
    let mut key_next = false;
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        at += 1;
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b':') {
            continue;
        }
        match byte {
            b',' => {
                out.push_str(", ");
                key_next = open.last().is_some_and(|it| it.object);
            }
            b'}' | b']' => {
                key_next = false;
                if let Some(closed) = open.pop() {
                    order(closed, &mut out);
                }
                out.push(char::from(byte));
            }
            b'{' | b'[' => {
                fill(&mut open);
                open.push(Open { object: byte == b'{', start: out.len(), members: vec![], filled: false });
                out.push(char::from(byte));
                key_next = byte == b'{';
            }
            b'"' => {
                at = string_end(bytes, at);
                let string = unescape(text.get(start..at).unwrap_or_default())?;
                match (key_next, open.last_mut()) {
                    (true, Some(object)) => {
                        object.filled = true;
                        let begin = out.len();
                        write_string(&string, &mut out);
                        out.push_str(": ");
                        object.members.push((string, begin));
                    }
                    _ => {
                        fill(&mut open);
                        write_string(&string, &mut out);
                    }
                }
                key_next = false;
            }
            _ => {
                let plain = |b: &u8| !matches!(b, b' ' | b'\t' | b'\n' | b'\r' | b',' | b']' | b'}' | b':');
                at += bytes.get(at..).unwrap_or_default().iter().take_while(|b| plain(b)).count();
                let word = text.get(start..at).unwrap_or_default();
                fill(&mut open);
                match byte {
                    b't' | b'f' | b'n' => out.push_str(word),
                    _ => normal_number(word, &mut out)?,
                }
                if out.len() > bytes_max {
                    let text = format!("total size of jsonb exceeds the maximum of {bytes_max} bytes");
                    return Err(Error::new(Kind::TooLarge, text));
                }
            }
        }
    }
    Ok(out)
}

fn fill(open: &mut [Open<'_>]) {
    if let Some(container) = open.last_mut() {
        container.filled = true;
    }
}

fn string_end(bytes: &[u8], mut at: usize) -> usize {
    loop {
        match bytes.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return bytes.len(),
        }
    }
}

/// The members that were written, in their order and once each.
fn order(object: Open<'_>, out: &mut String) {
    let Open { start, members, .. } = object;
    let rank = |key: &Cow<'_, str>| key.len();
    let ordered = members.windows(2).all(|pair| match pair {
        [(a, _), (b, _)] => (rank(a), a.as_ref()) < (rank(b), b.as_ref()),
        _ => true,
    });
    if ordered {
        return;
    }
    let written = out.split_off(start + 1);
    let mut pieces: Vec<(&Cow<'_, str>, usize, usize)> = Vec::with_capacity(members.len());
    for (place, (key, begin)) in members.iter().enumerate() {
        let end = match members.get(place + 1) {
            // without the comma and the blank between
            Some((_, next)) => next - 2,
            None => start + 1 + written.len(),
        };
        pieces.push((key, begin - start - 1, end - start - 1));
    }
    // stable: of equal keys the last stays last
    pieces.sort_by(|(a, ..), (b, ..)| (rank(a), a.as_ref()).cmp(&(rank(b), b.as_ref())));
    let mut first = true;
    for (place, (key, begin, end)) in pieces.iter().enumerate() {
        if pieces.get(place + 1).is_some_and(|(next, ..)| next == key) {
            continue;
        }
        if !first {
            out.push_str(", ");
        }
        first = false;
        out.push_str(written.get(*begin..*end).unwrap_or_default());
    }
}

/// A number of JSON as numeric prints it: the point where the exponent moves it, no minus before zero. 22003.
pub(crate) fn normal_number(text: &str, out: &mut String) -> Result<()> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let zero = unsigned.bytes().take_while(|b| !matches!(b, b'e' | b'E')).all(|b| matches!(b, b'0' | b'.'));
    let plain = unsigned.len() <= 100 && unsigned.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if plain {
        out.push_str(if zero { unsigned } else { text });
        return Ok(());
    }
    if !is_number(text) {
        return Err(invalid(format!("Token \"{text}\" is invalid.")));
    }
    let overflow = || Error::new(Kind::NumericRange, "value overflows numeric format");
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let exponent: i64 = exponent.parse().map_err(|_| overflow())?;
    if exponent.abs() >= i64::from(i32::MAX / 2) {
        return Err(overflow());
    }
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    // The point moves by the exponent; what is missing on either side is zeros.
    let point = i64::try_from(whole.len()).map_err(|_| overflow())? + exponent;
    let scale = (i64::try_from(fraction.len()).map_err(|_| overflow())? - exponent).max(0);
    let leading = digits.bytes().take_while(|b| *b == b'0').count();
    if scale > SCALE_MAX || (!zero && point - i64::try_from(leading).unwrap_or(0) > WHOLE_MAX) {
        return Err(overflow());
    }
    let scale = usize::try_from(scale).unwrap_or(0);
    if zero {
        out.push('0');
        if scale > 0 {
            out.push('.');
            out.extend(std::iter::repeat_n('0', scale));
        }
        return Ok(());
    }
    if text.starts_with('-') {
        out.push('-');
    }
    let (before, after) = match usize::try_from(point) {
        Ok(point) if point <= digits.len() => (Cow::Borrowed(&digits[..point]), Cow::Borrowed(&digits[point..])),
        Ok(point) => (Cow::Owned(format!("{digits}{}", "0".repeat(point - digits.len()))), Cow::Borrowed("")),
        Err(_) => {
            let zeros = usize::try_from(point.unsigned_abs()).unwrap_or(0);
            (Cow::Borrowed(""), Cow::Owned(format!("{}{digits}", "0".repeat(zeros))))
        }
    };
    let before = before.trim_start_matches('0');
    out.push_str(if before.is_empty() { "0" } else { before });
    if scale > 0 {
        out.push('.');
        out.push_str(&after);
    }
    Ok(())
}

/// escape_json: in quotes, with the escapes that JSON wants and no others.
pub(crate) fn write_string(string: &str, out: &mut String) {
    out.push('"');
    let mut rest = string;
    while let Some(at) = rest.bytes().position(|b| b == b'"' || b == b'\\' || b < b' ') {
        out.push_str(rest.get(..at).unwrap_or_default());
        match rest.as_bytes().get(at) {
            Some(b'"') => out.push_str("\\\""),
            Some(b'\\') => out.push_str("\\\\"),
            Some(8) => out.push_str("\\b"),
            Some(12) => out.push_str("\\f"),
            Some(b'\n') => out.push_str("\\n"),
            Some(b'\r') => out.push_str("\\r"),
            Some(b'\t') => out.push_str("\\t"),
            // Writing into a String cannot fail.
            Some(control) => drop(write!(out, "\\u{control:04x}")),
            None => {}
        }
        rest = rest.get(at + 1..).unwrap_or_default();
    }
    out.push_str(rest);
    out.push('"');
}
