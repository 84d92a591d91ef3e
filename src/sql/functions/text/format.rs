//! format(): `%[position][flags][width]type`.

use arrow::array::{Array, AsArray};

use super::join::{spelt, spelt_elements};
use super::quote::{identifier, literal};
use super::{build, chars, count};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::input;
use crate::sql::kernel::{Arg, Call, Kernel};

pub(in crate::sql::functions) const KERNELS: &[(&str, Kernel)] = &[
    ("text_format", |c| {
        let args = spelt(c, 1)?;
        let values = args.iter().map(Arg::read::<&str>).collect::<Result<Vec<_>>>()?;
        let text = c.read::<&str>(0)?;
        build(c, |row, out| match text.get(row) {
            Some(text) => write(text, values.len(), &|i| values.get(i).and_then(|v| v.get(row)), c, out).map(|()| true),
            None => Ok(false),
        })
    }),
    ("text_format_nv", |c| {
        let text = c.read::<&str>(0)?;
        build(c, |row, out| match text.get(row) {
            Some(text) => write(text, 0, &|_| None, c, out).map(|()| true),
            None => Ok(false),
        })
    }),
    ("text_format/variadic", |c| {
        let (texts, rows) = spelt_elements(c, 1)?;
        let texts = texts.as_string::<i32>();
        let text = c.read::<&str>(0)?;
        build(c, |row, out| {
            let Some(text) = text.get(row) else { return Ok(false) };
            // a NULL array is an empty one
            let range = rows.get(row).cloned().flatten().unwrap_or_default();
            let value = |i: usize| {
                let at = range.start + i;
                (!texts.is_null(at)).then(|| texts.value(at))
            };
            write(text, range.len(), &value, c, out).map(|()| true)
        })
    }),
];

fn unterminated() -> Error {
    Error::new(Kind::InvalidParameter, "unterminated format() type specifier")
        .with_hint("For a single \"%\" use \"%%\".")
}

fn too_few() -> Error {
    Error::new(Kind::InvalidParameter, "too few arguments for format()")
}

fn zero() -> Error {
    Error::new(Kind::InvalidParameter, "format specifies argument 0, but arguments are numbered from 1")
}

/// A specifier behind its `%`, read from the left.
struct Specifier<'a> {
    rest: &'a str,
}

impl Specifier<'_> {
    fn eat(&mut self, byte: char) -> bool {
        match self.rest.strip_prefix(byte) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// `None` where there is no digit. A specifier may not end with a number.
    fn digits(&mut self) -> Result<Option<i32>> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        if digits.is_empty() {
            return Ok(None);
        }
        let number = digits.parse().map_err(|_| Error::new(Kind::NumericRange, "number is out of range"))?;
        self.rest = rest;
        if rest.is_empty() { Err(unterminated()) } else { Ok(Some(number)) }
    }

    fn more(&self) -> Result<()> {
        if self.rest.is_empty() { Err(unterminated()) } else { Ok(()) }
    }
}

/// `value(i)` is argument i, from 0, of `len`.
fn write<'v>(
    text: &str,
    len: usize,
    value: &dyn Fn(usize) -> Option<&'v str>,
    call: &Call<'_>,
    out: &mut String,
) -> Result<()> {
    let start = out.len();
    let mut rest = text;
    // the argument that a specifier without a position takes
    let mut next = 0usize;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let mut it = Specifier { rest: &rest[at + 1..] };
        it.more()?;
        if it.eat('%') {
            out.push('%');
            rest = it.rest;
            continue;
        }
        let (mut position, mut width, mut width_from) = (None, 0i64, None);
        let mut left = false;
        let number = it.digits()?;
        let is_position = number.is_some() && it.eat('$');
        if is_position {
            position = Some(number.filter(|n| *n != 0).ok_or_else(zero)?);
            it.more()?;
        }
        if let (Some(number), false) = (number, is_position) {
            width = i64::from(number);
        } else {
            while it.eat('-') {
                left = true;
                it.more()?;
            }
            if it.eat('*') {
                it.more()?;
                width_from = Some(it.digits()?);
                if let Some(Some(number)) = width_from {
                    if number == 0 {
                        return Err(zero());
                    }
                    if !it.eat('$') {
                        let text = "width argument position must be ended by \"$\"";
                        return Err(Error::new(Kind::InvalidParameter, text));
                    }
                    it.more()?;
                }
            } else if let Some(number) = it.digits()? {
                width = i64::from(number);
            }
        }
        let mut kinds = it.rest.chars();
        let kind = kinds.next().ok_or_else(unterminated)?;
        rest = kinds.as_str();
        if !matches!(kind, 's' | 'I' | 'L') {
            let text = format!("unrecognized format() type specifier \"{kind}\"");
            let hint = "For a single \"%\" use \"%%\".";
            return Err(Error::new(Kind::InvalidParameter, text).with_hint(hint));
        }
        let mut argument = |position: Option<i32>| {
            let at = position.map_or(next, |position| count(position).saturating_sub(1));
            next = at + 1;
            if at < len { Ok(value(at)) } else { Err(too_few()) }
        };
        if let Some(from) = width_from {
            // NULL is no width
            if let Some(text) = argument(from)? {
                width = i64::from(input::integer::<i32>(text, "integer")?);
            }
        }
        let argument = argument(position)?;
        if width < 0 {
            left = true;
            width = -width;
        }
        let shown = match (kind, argument) {
            ('s', argument) => argument.unwrap_or_default().into(),
            ('I', Some(text)) => identifier(text),
            ('I', None) => {
                let text = "null values cannot be formatted as an SQL identifier";
                return Err(Error::new(Kind::NullNotAllowed, text));
            }
            (_, Some(text)) => literal(text).into(),
            (_, None) => "NULL".into(),
        };
        let blanks = usize::try_from(width - i64::from(chars(&shown))).unwrap_or(0);
        call.env.budget.value((out.len() - start).saturating_add(blanks).saturating_add(shown.len()))?;
        if left {
            out.push_str(&shown);
        }
        out.extend(std::iter::repeat_n(' ', blanks));
        if !left {
            out.push_str(&shown);
        }
    }
    out.push_str(rest);
    Ok(())
}
