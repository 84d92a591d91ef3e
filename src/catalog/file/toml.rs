//! One source file: TOML → [`sources::Config`], with every fault at its place. Which kinds there are, and which keys
//! each has, `sources` alone knows.

use ::toml::Spanned;
use ::toml::de::{DeTable, DeValue, Deserializer, Error};
use std::ops::Range;

use super::{Fault, position};
use crate::sources;

/// Unknown keys told of in one file; what follows is told at the next try.
const UNKNOWN_MAX: usize = 100;

pub(super) fn read_source(file: &str, text: &str) -> Result<sources::Config, Vec<Fault>> {
    let fault = |span: Option<Range<usize>>, message: String| {
        let (line, column) = position(text, span.map_or(0, |s| s.start));
        Fault { file: file.to_string(), line, column, text: message }
    };
    let (mut table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let mut faults: Vec<Fault> = errors.iter().map(|e| fault(e.span(), plain(e))).collect();
        faults.sort_by_key(|f| (f.line, f.column));
        return Err(faults);
    }
    let kinds = || sources::Config::KINDS.map(|k| format!("`{k}`")).join(", ");
    let kind = match table.get_mut().remove("kind") {
        None => return Err(vec![fault(None, format!("the key `kind` is missing; it is one of {}", kinds()))]),
        Some(kind) => kind,
    };
    let Some(word) = kind.get_ref().as_str() else {
        return Err(vec![fault(Some(kind.span()), format!("`kind` is a text, one of {}", kinds()))]);
    };
    let mut faults = vec![];
    loop {
        match sources::Config::read(word, Deserializer::from(table.clone())) {
            Some(Ok(config)) if faults.is_empty() => return Ok(config),
            Some(Ok(_)) => return Err(faults),
            Some(Err(error)) => {
                faults.push(fault(error.span(), explain(&error)));
                // Without the key that nobody knows the rest can still be judged.
                let removed = is_unknown_key(&error) && error.span().is_some_and(|s| remove(table.get_mut(), &s));
                if !removed || faults.len() >= UNKNOWN_MAX {
                    return Err(faults);
                }
            }
            None => {
                let nearest = nearest(word, &sources::Config::KINDS);
                return Err(vec![fault(
                    Some(kind.span()),
                    format!("`{word}` is not a kind of source{nearest}; the kinds are {}", kinds()),
                )]);
            }
        }
    }
}

/// What the parser says, without the value it found: that may be a password.
fn plain(error: &Error) -> String {
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    for what in ["invalid type: ", "invalid value: "] {
        if let Some((found, expected)) = message.strip_prefix(what).and_then(|m| m.split_once(", expected ")) {
            let kind: String = found.chars().take_while(|c| c.is_ascii_alphabetic() || *c == ' ').collect();
            return format!("{what}{}, expected {expected}", kind.trim_end());
        }
    }
    message
}

fn is_unknown_key(error: &Error) -> bool {
    error.message().starts_with("unknown field")
}

/// serde says: unknown field `a`, expected one of `b`, `c`, and the same of a variant. An admin wants the nearest of them first.
fn explain(error: &Error) -> String {
    let message = error.message();
    let what = match is_unknown_key(error) {
        true => "unknown key",
        false if message.starts_with("unknown variant") => "unknown word",
        false => return plain(error),
    };
    let mut words = message.split('`').skip(1).step_by(2);
    let Some(unknown) = words.next() else { return plain(error) };
    let known: Vec<&str> = words.collect();
    let list = known.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ");
    format!("{what} `{unknown}`{}; expected one of {list}", nearest(unknown, &known))
}

/// `; did you mean …?` where a known word is near enough to be meant.
fn nearest(word: &str, known: &[&str]) -> String {
    let near = known.iter().map(|k| (strsim::damerau_levenshtein(word, k), k)).min();
    match near {
        Some((distance, known)) if distance <= known.len().max(word.len()).div_ceil(2) => {
            format!("; did you mean `{known}`?")
        }
        _ => String::new(),
    }
}

/// Takes the entry whose key stands at `span` out of the table or of one below it.
fn remove(table: &mut DeTable<'_>, span: &Range<usize>) -> bool {
    let here = table.iter().find(|(key, _)| key.span() == *span).map(|(key, _)| key.get_ref().to_string());
    if let Some(key) = here {
        return table.remove(key.as_str()).is_some();
    }
    table.iter_mut().any(|(_, value)| remove_below(value, span))
}

fn remove_below(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>) -> bool {
    match value.get_mut() {
        DeValue::Table(table) => remove(table, span),
        DeValue::Array(items) => items.iter_mut().any(|item| remove_below(item, span)),
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            false
        }
    }
}
