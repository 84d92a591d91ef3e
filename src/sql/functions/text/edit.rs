//! Parts of strings, and strings from parts: substr, overlay, left, right, pads, trims, repeat, replace, translate,
//! reverse, split_part.

use arrow::array::ArrayRef;

use super::{ALLOCATION_MAX, build, build2, build3, byte_of, count, overlay, substring, too_long};
use crate::error::{Error, Kind, Result};
use crate::sql::kernel::{Call, Kernel};

pub(in crate::sql::functions) const KERNELS: &[(&str, Kernel)] = &[
    ("text_substr", |c| c.three(|text: &str, from: i32, length: i32| Ok(part(text, substring(from, Some(length))?)))),
    ("text_substr_no_len", |c| c.two(|text: &str, from: i32| Ok(part(text, substring(from, None)?)))),
    ("text_left", |c| c.two(|text: &str, n: i32| Ok(left(text, n)))),
    ("text_right", |c| c.two(|text: &str, n: i32| Ok(right(text, n)))),
    ("textoverlay", |c| {
        let (text, new) = (c.read::<&str>(0)?, c.read::<&str>(1)?);
        let (from, length) = (c.read::<i32>(2)?, c.read::<i32>(3)?);
        build(c, |i, out| match (text.get(i), new.get(i), from.get(i), length.get(i)) {
            (Some(text), Some(new), Some(from), Some(length)) => overlaid(text, new, from, length, out).map(|()| true),
            _ => Ok(false),
        })
    }),
    ("textoverlay_no_len", |c| {
        build3(c, |text: &str, new: &str, from: i32, out| overlaid(text, new, from, super::chars(new), out))
    }),
    ("lpad", |c| c_pad(c, Side::Left)),
    ("rpad", |c| c_pad(c, Side::Right)),
    ("lpad/879", |c| c_pad(c, Side::Left)),
    ("rpad/880", |c| c_pad(c, Side::Right)),
    ("btrim1", |c| c.one(|text: &str| Ok(text.trim_matches(' ')))),
    ("ltrim1", |c| c.one(|text: &str| Ok(text.trim_start_matches(' ')))),
    ("rtrim1", |c| c.one(|text: &str| Ok(text.trim_end_matches(' ')))),
    ("btrim", |c| c.two(|text: &str, set: &str| Ok(text.trim_matches(|c| set.contains(c))))),
    ("ltrim", |c| c.two(|text: &str, set: &str| Ok(text.trim_start_matches(|c| set.contains(c))))),
    ("rtrim", |c| c.two(|text: &str, set: &str| Ok(text.trim_end_matches(|c| set.contains(c))))),
    ("repeat", |c| {
        build2(c, |text: &str, n: i32, out| {
            let bytes = (text.len() as u64).saturating_mul(count(n) as u64);
            if bytes >= ALLOCATION_MAX {
                return Err(too_long());
            }
            let bytes = text.len() * count(n);
            c.env.budget.value(bytes)?;
            out.reserve(bytes);
            let start = out.len();
            if bytes > 0 {
                out.push_str(text);
            }
            // by what is there already, twice as much each time
            while out.len() - start < bytes {
                let made = out.len() - start;
                out.extend_from_within(start..start + made.min(bytes - made));
            }
            Ok(())
        })
    }),
    ("replace_text", |c| {
        build3(c, |text: &str, from: &str, to: &str, out| {
            if from.is_empty() {
                out.push_str(text);
                return Ok(());
            }
            let start = out.len();
            let mut rest = 0;
            for (at, found) in text.match_indices(from) {
                out.push_str(&text[rest..at]);
                out.push_str(to);
                rest = at + found.len();
                c.env.budget.value(out.len() - start)?;
            }
            out.push_str(&text[rest..]);
            Ok(())
        })
    }),
    ("translate", translate),
    ("text_reverse", |c| {
        super::build1(c, |text: &str, out| {
            out.extend(text.chars().rev());
            Ok(())
        })
    }),
    ("split_part", |c| c.three(split_part)),
];

fn part(text: &str, range: Option<(usize, Option<usize>)>) -> &str {
    let Some((from, to)) = range else { return "" };
    if text.is_ascii() {
        let to = to.unwrap_or(text.len()).min(text.len());
        return &text[from.min(to)..to];
    }
    let rest = &text[byte_of(text, from)..];
    match to {
        Some(to) => &rest[..byte_of(rest, to.saturating_sub(from))],
        None => rest,
    }
}

/// A negative number counts what is left away on the other side.
fn left(text: &str, n: i32) -> &str {
    match n {
        0.. => &text[..byte_of(text, count(n))],
        _ => &text[..byte_of_last(text, n.unsigned_abs())],
    }
}

fn right(text: &str, n: i32) -> &str {
    match n {
        // whose negation is itself
        i32::MIN => text,
        0.. => &text[byte_of_last(text, n.unsigned_abs())..],
        _ => &text[byte_of(text, usize::try_from(n.unsigned_abs()).unwrap_or(usize::MAX))..],
    }
}

/// Where the last `chars` characters begin.
fn byte_of_last(text: &str, chars: u32) -> usize {
    let chars = usize::try_from(chars).unwrap_or(usize::MAX);
    match chars {
        0 => text.len(),
        _ if text.is_ascii() => text.len().saturating_sub(chars),
        _ => text.char_indices().nth_back(chars - 1).map_or(0, |(byte, _)| byte),
    }
}

fn overlaid(text: &str, new: &str, from: i32, length: i32, out: &mut String) -> Result<()> {
    let (before, behind) = overlay(from, length)?;
    out.push_str(&text[..byte_of(text, before)]);
    out.push_str(new);
    out.push_str(&text[byte_of(text, behind)..]);
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// With two arguments it is filled with blanks.
fn c_pad(call: &Call<'_>, side: Side) -> Result<ArrayRef> {
    if call.args.len() < 3 {
        return build2(call, |text: &str, length: i32, out| pad(call, text, length, " ", side, out));
    }
    build3(call, |text: &str, length: i32, fill: &str, out| pad(call, text, length, fill, side, out))
}

fn pad(call: &Call<'_>, text: &str, length: i32, fill: &str, side: Side, out: &mut String) -> Result<()> {
    let length = count(length);
    let kept = &text[..byte_of(text, length)];
    let missing = match fill {
        "" => 0,
        _ => length - kept.chars().count(),
    };
    // PostgreSQL reserves four bytes for each character, and a header
    let reserved = (kept.chars().count() + missing) as u64 * 4 + 4;
    if reserved > ALLOCATION_MAX {
        return Err(too_long());
    }
    call.env.budget.value(missing)?;
    if side == Side::Right {
        out.push_str(kept);
    }
    if fill.len() == 1 {
        out.extend(std::iter::repeat_n(fill, missing));
    } else {
        out.extend(fill.chars().cycle().take(missing));
    }
    if side == Side::Left {
        out.push_str(kept);
    }
    Ok(())
}

fn translate(call: &Call<'_>) -> Result<ArrayRef> {
    build3(call, |text: &str, from: &str, to: &str, out| {
        for character in text.chars() {
            match from.chars().position(|c| c == character) {
                None => out.push(character),
                Some(at) => out.extend(to.chars().nth(at)),
            }
        }
        Ok(())
    })
}

fn split_part<'a>(text: &'a str, separator: &str, field: i32) -> Result<&'a str> {
    let nth = count(field.checked_abs().unwrap_or(i32::MAX));
    if nth == 0 {
        return Err(Error::new(Kind::InvalidParameter, "field position must not be zero"));
    }
    if separator.is_empty() {
        return Ok(if nth == 1 { text } else { "" });
    }
    if field > 0 {
        return Ok(text.split(separator).nth(nth - 1).unwrap_or(""));
    }
    // From the end of the same cuts, which are made from the beginning.
    let fields = text.matches(separator).count() + 1;
    Ok(fields.checked_sub(nth).and_then(|at| text.split(separator).nth(at)).unwrap_or(""))
}
