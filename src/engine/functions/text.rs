//! Quoting, and arrays as text: what clients build their own SQL with.

use super::Argument::{Text, Texts};
use super::{Argument, Function, Returns};
use crate::catalog::pg_catalog::rows::Cell;
use crate::catalog::visible::View;
use crate::error::{Error, Kind, Result};
use crate::types::Identifier;

const TEXT: &[&[Argument]] = &[&[Text]];
/// NULL separators and NULL replacements mean something.
const ARRAY: &[&[Argument]] = &[&[Texts, Text], &[Texts, Text, Text]];
const SPLIT: &[&[Argument]] = &[&[Text, Text], &[Text, Text, Text]];

pub(super) const FUNCTIONS: &[Function] = &[
    Function::pure("quote_ident", TEXT, Returns::Text, |_, a| Ok(Identifier(text(&a[0])?).to_string().into())),
    Function::pure("quote_literal", TEXT, Returns::Text, |_, a| Ok(literal(text(&a[0])?).into())),
    Function::pure("quote_nullable", TEXT, Returns::Text, quote_nullable).called_on_null(),
    Function::pure("array_to_string", ARRAY, Returns::Text, array_to_string).called_on_null(),
    Function::pure("string_to_array", SPLIT, Returns::Texts, string_to_array).called_on_null(),
    Function::pure("parse_ident", TEXT, Returns::Texts, parse_ident),
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
