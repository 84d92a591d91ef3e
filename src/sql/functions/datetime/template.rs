//! Templates of to_char, to_date and to_timestamp: `YYYY-MM-DD HH24:MI`. This parses them; `spell` writes by them, `read`
//! reads by them. Words are English: lc_time is C.

mod field;
mod moment;
mod read;
mod spell;

use arrow::array::ArrayRef;

use super::arithmetic::session;
use super::io::texts;
use super::{Stamped, scale};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::calendar::{self, SECOND, Zone};
use crate::sql::kernel::{Call, Date, Interval, Kernel, Read, Stamp, Values};
use field::{Field, Key};
use spell::Shown;

pub(crate) use read::{Parsed, parse_moment};

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("timestamp_to_char", |c| to_char(c, |v: Stamp| of_stamp(v, None))),
    ("timestamptz_to_char", |c| {
        let zone = session(c);
        to_char(c, |v: Stamp| of_stamp(v, Some(&zone)))
    }),
    ("interval_to_char", |c| to_char(c, |v: Interval| Some(Shown::of_interval(v)))),
    ("to_date", |c| {
        let mut templates = Templates::of(c, 1)?;
        let texts = c.read::<&str>(0)?;
        c.rows_of(|row| {
            let (Some(text), Some(template)) = (texts.get(row), templates.get(row)?) else { return Ok(None) };
            let read = read::read(text, template, false)?;
            let days = read.date().and_then(|days| calendar::checked_date(days).ok());
            let out = || Error::new(Kind::DateRange, format!("date out of range: \"{text}\""));
            Ok(Some(Date(days.ok_or_else(out)?)))
        })
    }),
    ("to_timestamp", |c| {
        let mut templates = Templates::of(c, 1)?;
        let (texts, zone) = (c.read::<&str>(0)?, session(c));
        c.rows_of(|row| {
            let (Some(text), Some(template)) = (texts.get(row), templates.get(row)?) else { return Ok(None) };
            let read = read::read(text, template, false)?;
            let days = read.date().ok_or_else(super::out_of_range)?;
            let local = Stamped { days, of_day: read.of_day(), east: 0 };
            let stamp = match read.east() {
                Some(east) => Stamped { east, ..local }.at_offset()?,
                None => local.instant(Some(&zone))?,
            };
            Ok(Some(Stamp(scale::rounded(stamp, read.digits().unwrap_or(-1))?)))
        })
    }),
];

/// One piece of a template.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Field(Field),
    /// Punctuation.
    Separator(char),
    Space(char),
    Other(char),
}

impl Node {
    fn character(&self) -> Option<char> {
        match self {
            Node::Field(_) => None,
            Node::Separator(c) | Node::Space(c) | Node::Other(c) => Some(*c),
        }
    }
}

/// Printable ASCII that is neither letter nor digit.
fn is_separator(c: char) -> bool {
    c.is_ascii_punctuation()
}

fn is_space(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\u{b}'
}

/// `strict`: the SQL standard's templates, which know few separators (`datetime()` of jsonpath).
fn parse(template: &str, strict: bool) -> Result<Vec<Node>> {
    let mut nodes = Vec::with_capacity(template.len());
    let mut rest = template;
    while !rest.is_empty() {
        let prefix = field::prefix(rest);
        rest = &rest[prefix.map_or(0, |prefix| prefix.text().len())..];
        if let Some(key) = Key::starting(rest) {
            rest = &rest[key.name().len()..];
            let suffix = field::suffix(rest);
            rest = &rest[suffix.map_or(0, |suffix| suffix.text().len())..];
            nodes.push(Node::Field(Field::new(key, prefix, suffix)));
            continue;
        }
        let Some(first) = rest.chars().next() else { break };
        if first == '"' {
            rest = quoted(&rest[1..], &mut nodes);
            continue;
        }
        if strict {
            if !"-./,':; ".contains(first) {
                let text = format!("invalid datetime format separator: \"{first}\"");
                return Err(Error::new(Kind::InvalidDate, text));
            }
            nodes.push(if first == ' ' { Node::Space(first) } else { Node::Separator(first) });
            rest = &rest[1..];
            continue;
        }
        // Outside quotes a backslash only keeps a quote from being one.
        let shown = if rest.starts_with("\\\"") { '"' } else { first };
        rest = &rest[if shown == first { first.len_utf8() } else { 2 }..];
        nodes.push(match shown {
            c if is_separator(c) => Node::Separator(c),
            c if is_space(c) => Node::Space(c),
            c => Node::Other(c),
        });
    }
    Ok(nodes)
}

/// Up to the closing quote; gives what stands behind it.
fn quoted<'a>(text: &'a str, nodes: &mut Vec<Node>) -> &'a str {
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => nodes.push(Node::Other(characters.next().unwrap_or('\\'))),
            _ => nodes.push(Node::Other(character)),
        }
    }
    characters.as_str()
}

/// An argument's templates; the last one is kept parsed.
struct Templates<'a> {
    texts: Values<'a, &'a str>,
    last: Option<(&'a str, Vec<Node>)>,
}

impl<'a> Templates<'a> {
    fn of(call: &Call<'a>, argument: usize) -> Result<Self> {
        Ok(Self { texts: call.read(argument)?, last: None })
    }

    fn get(&mut self, row: usize) -> Result<Option<&[Node]>> {
        let Some(text) = self.texts.get(row) else { return Ok(None) };
        if self.last.as_ref().is_none_or(|(last, _)| *last != text) {
            self.last = Some((text, parse(text, false)?));
        }
        Ok(self.last.as_ref().map(|(_, nodes)| nodes.as_slice()))
    }

    fn is_empty(&self, row: usize) -> bool {
        self.texts.get(row).is_some_and(str::is_empty)
    }
}

/// NULL for an empty template, and for what `shown` does not show.
fn to_char<'a, T: Read<'a>>(call: &Call<'a>, shown: impl Fn(T) -> Option<Shown>) -> Result<ArrayRef> {
    let templates = std::cell::RefCell::new(Templates::of(call, 1)?);
    let values = call.read::<T>(0)?;
    texts(call.rows, |row, out| {
        let mut templates = templates.borrow_mut();
        let empty = templates.is_empty(row);
        let (Some(template), Some(value)) = (templates.get(row)?, values.get(row)) else { return Ok(false) };
        let Some(shown) = shown(value).filter(|_| !empty) else { return Ok(false) };
        // No field is longer than this.
        call.env.budget.value(template.len() * 12)?;
        spell::spell(&shown, template, out).map(|()| true)
    })
}

fn of_stamp(value: Stamp, zone: Option<&Zone>) -> Option<Shown> {
    match value.0 {
        i64::MIN | i64::MAX => None,
        stamp => {
            let local = Stamped::local(stamp, zone);
            let name = zone.map(|zone| zone.abbreviation(stamp.div_euclid(SECOND)).to_owned());
            Some(Shown::of_local(local.days, local.of_day, local.east, name))
        }
    }
}
