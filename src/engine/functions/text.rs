//! Quoting, and arrays as text: what clients build their own SQL with.

use super::Argument::{Int, Shown, Text, Texts};
use super::{Argument, Function, Returns};
use crate::catalog::pg_catalog::rows::Cell;
use crate::catalog::visible::View;
use crate::error::{Error, Kind, Result};
use crate::types::Identifier;

const TEXT: &[&[Argument]] = &[&[Text]];
/// NULL separators and NULL replacements mean something.
const ARRAY: &[&[Argument]] = &[&[Texts, Text], &[Texts, Text, Text]];
const SPLIT: &[&[Argument]] = &[&[Text, Text], &[Text, Text, Text]];
const BOUND: &[&[Argument]] = &[&[Texts, Int]];
const FORMAT: &[&[Argument]] = &[
    &[Text],
    &[Text, Shown],
    &[Text, Shown, Shown],
    &[Text, Shown, Shown, Shown],
    &[Text, Shown, Shown, Shown, Shown],
    &[Text, Shown, Shown, Shown, Shown, Shown],
];

pub(super) const FUNCTIONS: &[Function] = &[
    Function::pure("quote_ident", TEXT, Returns::Text, |_, a| Ok(Identifier(text(&a[0])?).to_string().into())),
    Function::pure("quote_literal", TEXT, Returns::Text, |_, a| Ok(literal(text(&a[0])?).into())),
    Function::pure("quote_nullable", TEXT, Returns::Text, quote_nullable).called_on_null(),
    Function::pure("array_to_string", ARRAY, Returns::Text, array_to_string).called_on_null(),
    Function::pure("string_to_array", SPLIT, Returns::Texts, string_to_array).called_on_null(),
    Function::pure("parse_ident", TEXT, Returns::Texts, parse_ident),
    Function::pure("array_lower", BOUND, Returns::Int4, |_, a| Ok(length(a).map(|_| 1).into())),
    Function::pure("array_upper", BOUND, Returns::Int4, |_, a| Ok(length(a).into())),
    Function::pure("format", FORMAT, Returns::Text, format).called_on_null(),
];

fn text(cell: &Cell) -> Result<&str> {
    match cell {
        Cell::Text(text) => Ok(text),
        other => Err(Error::internal(format!("{other:?} stands where a text is"))),
    }
}

/// With a backslash in it, a literal is written in the escape form, which reads the same everywhere.
fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    match quoted.contains('\\') {
        true => format!("E'{}'", quoted.replace('\\', "\\\\")),
        false => format!("'{quoted}'"),
    }
}

fn quote_nullable(_: &View, arguments: &[Cell]) -> Result<Cell> {
    match arguments.first() {
        Some(Cell::Text(text)) => Ok(literal(text).into()),
        _ => Ok("NULL".into()),
    }
}

/// NULL elements are left out, or written as the third argument says.
fn array_to_string(_: &View, arguments: &[Cell]) -> Result<Cell> {
    let [Cell::List(items), Cell::Text(separator), rest @ ..] = arguments else { return Ok(Cell::Null) };
    let null = match rest.first() {
        Some(Cell::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    let shown = items.iter().filter_map(|item| match item {
        Cell::Text(text) => Some(text.as_str()),
        _ => null,
    });
    Ok(shown.collect::<Vec<_>>().join(separator).into())
}

/// A NULL separator splits into characters, an empty one not at all; what equals the third argument becomes NULL.
fn string_to_array(_: &View, arguments: &[Cell]) -> Result<Cell> {
    let [Cell::Text(text), separator, rest @ ..] = arguments else { return Ok(Cell::Null) };
    let parts: Vec<String> = match separator {
        _ if text.is_empty() => vec![],
        Cell::Text(separator) if separator.is_empty() => vec![text.clone()],
        Cell::Text(separator) => text.split(separator.as_str()).map(Into::into).collect(),
        _ => text.chars().map(Into::into).collect(),
    };
    let null = rest.first();
    let cells = parts.into_iter().map(Cell::Text).map(|part| if Some(&part) == null { Cell::Null } else { part });
    Ok(Cell::List(cells.collect()))
}

fn parse_ident(_: &View, arguments: &[Cell]) -> Result<Cell> {
    let text = text(&arguments[0])?;
    match super::lookup::segments(text) {
        Some(segments) => Ok(Cell::texts(segments)),
        None => Err(Error::new(Kind::InvalidParameter, format!("string is not a valid identifier: \"{text}\""))),
    }
}

/// Of an array's only dimension; an empty array has none.
fn length(arguments: &[Cell]) -> Option<i64> {
    match arguments {
        [Cell::List(items), Cell::Int(1)] if !items.is_empty() => i64::try_from(items.len()).ok(),
        _ => None,
    }
}

/// `%s`, `%I`, `%L`, each with a position (`%1$I`) where one likes; widths are not understood.
fn format(_: &View, arguments: &[Cell]) -> Result<Cell> {
    let [Cell::Text(pattern), values @ ..] = arguments else { return Ok(Cell::Null) };
    let invalid = |text: &str| Error::new(Kind::InvalidParameter, text);
    let (mut shown, mut next) = (String::new(), 0);
    let mut rest = pattern.as_str();
    while let Some((before, after)) = rest.split_once('%') {
        shown.push_str(before);
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (position, kind) = match after.get(digits..).and_then(|a| a.strip_prefix('$')) {
            Some(kind) => (after.get(..digits).and_then(|d| d.parse::<usize>().ok()), kind),
            None => (None, after),
        };
        let mut characters = kind.chars();
        let kind = characters.next().ok_or_else(|| invalid("unterminated format() type specifier"))?;
        rest = characters.as_str();
        if kind == '%' {
            shown.push('%');
            continue;
        }
        let at = position.unwrap_or(next + 1);
        next = at;
        let value =
            at.checked_sub(1).and_then(|at| values.get(at)).ok_or_else(|| invalid("too few arguments for format()"))?;
        match (kind, value) {
            ('s', Cell::Text(text)) => shown.push_str(text),
            ('s', _) => (),
            ('I', Cell::Text(text)) => shown.push_str(&Identifier(text).to_string()),
            ('I', _) => return Err(invalid("null values cannot be formatted as an SQL identifier")),
            ('L', Cell::Text(text)) => shown.push_str(&literal(text)),
            ('L', _) => shown.push_str("NULL"),
            _ => return Err(invalid("unrecognized format() type specifier")),
        }
    }
    shown.push_str(rest);
    Ok(shown.into())
}
