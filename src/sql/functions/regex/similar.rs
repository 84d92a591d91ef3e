//! SQL's own patterns: SIMILAR TO and `substring(… similar … escape …)`, written as advanced ones (regexp.c).

use arrow::array::ArrayRef;

use super::functions::first_part;
use super::{Options, Patterns};
use crate::error::{Error, Kind, Result};
use crate::sql::functions::text::build;
use crate::sql::functions::text::like::bad_escape;
use crate::sql::kernel::{Call, Kernel};

pub(in crate::sql::functions) const KERNELS: &[(&str, Kernel)] = &[
    ("similar_to_escape_1", strict),
    ("similar_to_escape_2", strict),
    // older views have it: a NULL escape is the backslash
    ("similar_escape", |c| {
        let (pattern, escape) = (c.read::<&str>(0)?, c.read::<&str>(1)?);
        build(c, |row, out| match pattern.get(row) {
            Some(pattern) => written(pattern, escape.get(row), out).map(|()| true),
            None => Ok(false),
        })
    }),
];

fn strict(call: &Call<'_>) -> Result<ArrayRef> {
    let pattern = call.read::<&str>(0)?;
    let escape = match call.args.len() {
        2.. => Some(call.read::<&str>(1)?),
        _ => None,
    };
    build(call, |row, out| {
        let Some(pattern) = pattern.get(row).filter(|_| !call.any_null(row)) else { return Ok(false) };
        written(pattern, escape.as_ref().and_then(|escape| escape.get(row)), out)?;
        Ok(true)
    })
}

/// `substring(text, pattern, escape)`.
pub(super) fn substring(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, pattern, escape) = (call.read::<&str>(0)?, call.read::<&str>(1)?, call.read::<&str>(2)?);
    let mut patterns = Patterns::default();
    call.rows_of(|row| {
        let (Some(text), Some(pattern), Some(escape)) = (text.get(row), pattern.get(row), escape.get(row)) else {
            return Ok(None);
        };
        let mut advanced = String::new();
        written(pattern, Some(escape), &mut advanced)?;
        first_part(patterns.get(&advanced, Options::PLAIN)?.as_ref(), text)
    })
}

/// Two `escape "` cut the pattern in three: the first matches as little as it can, the second is the one group.
fn written(pattern: &str, escape: Option<&str>, out: &mut String) -> Result<()> {
    let escape = match escape {
        None => Some('\\'),
        Some(escape) => {
            let mut all = escape.chars();
            let first = all.next();
            if all.next().is_some() {
                return Err(bad_escape());
            }
            first
        }
    };
    out.push_str("^(?:");
    let (mut after_escape, mut quotes) = (false, 0);
    // brackets within brackets, and how far in a bracket we are: 1 behind `[`, 2 behind `[^`, 3 behind an element
    let (mut depth, mut place) = (0, 0);
    for c in pattern.chars() {
        if after_escape {
            after_escape = false;
            if c == '"' && depth == 0 {
                out.push_str(match quotes {
                    0 => "){1,1}?(",
                    1 => "){1,1}(?:",
                    _ => {
                        let text =
                            "SQL regular expression may not contain more than two escape-double-quote separators";
                        return Err(Error::new(Kind::EscapeCharacterUse, text));
                    }
                });
                quotes += 1;
            } else {
                out.push('\\');
                out.push(c);
                place = 3;
            }
        } else if Some(c) == escape {
            after_escape = true;
        } else if depth > 0 {
            if c == '\\' {
                out.push('\\');
            }
            out.push(c);
            match c {
                ']' if place > 2 => depth -= 1,
                '[' => (depth, place) = (depth + 1, 3),
                '^' => place += 1,
                _ => place = 3,
            }
        } else {
            match c {
                '[' => {
                    out.push('[');
                    (depth, place) = (1, 1);
                }
                '%' => out.push_str(".*"),
                '_' => out.push('.'),
                '(' => out.push_str("(?:"),
                '\\' | '.' | '^' | '$' => {
                    out.push('\\');
                    out.push(c);
                }
                c => out.push(c),
            }
        }
    }
    out.push_str(")$");
    Ok(())
}
