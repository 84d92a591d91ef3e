//! One TOML file read into serde structs with *every* fault in it, not only the first: deserialise, note the fault, drop
//! the key it points at, try again. It knows nothing about what the keys mean.

use std::fmt;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

/// One mistake in a file, where it stands and what was expected: `policies/policy.csv:17:34: effect `Deny` is not …`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    pub file: String,
    pub line: u32,
    pub column: u32,
    pub text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.text)
    }
}

/// A parsed file and what was found wrong with it so far.
pub(crate) struct Document<'t> {
    file: String,
    text: &'t str,
    table: Spanned<DeTable<'t>>,
    faults: Vec<Fault>,
}

impl<'t> Document<'t> {
    /// Never fails: syntax errors become faults and the rest of the file is read all the same.
    pub(crate) fn parse(file: &str, text: &'t str) -> Self {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut document = Self { file: file.to_string(), text, table, faults: Vec::new() };
        for error in errors {
            document.fault(error.span().unwrap_or(0..0), error.message().replace('\n', ", "));
        }
        document
    }

    /// `None` where something stays unreadable after every faulty key was set aside.
    pub(crate) fn read<T: DeserializeOwned>(&mut self) -> Option<T> {
        let mut table = self.table.clone();
        // Root keys set aside with their faulty values: that they are missing now is no other fault.
        let mut aside: Vec<String> = vec![];
        loop {
            let error = match T::deserialize(Deserializer::from(table.clone())) {
                Ok(value) => return Some(value),
                Err(error) => error,
            };
            let span = error.span().unwrap_or(0..0);
            let dropped = drop_at(table.get_mut(), &span, &mut Vec::new());
            let path = dropped.as_deref().unwrap_or_default();
            let missing = error.message().strip_prefix("missing field `").and_then(|m| m.strip_suffix('`'));
            if !missing.is_some_and(|key| aside.iter().any(|a| a == key)) {
                self.fault(span, explain(error.message(), path));
            }
            let dropped = dropped?;
            aside.extend(dropped.into_iter().next());
        }
    }

    /// A fault at the key `path`, or at the section it would stand in, or at the file's beginning.
    pub(crate) fn fault_at(&mut self, path: &[&str], text: impl Into<String>) {
        let span = self.locate(path);
        self.fault(span, text.into());
    }

    /// In the order of the file.
    pub(crate) fn into_faults(mut self) -> Vec<Fault> {
        self.faults.sort_by_key(|f| (f.line, f.column));
        self.faults.dedup();
        self.faults
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }

    /// Whether the file has the key `path`.
    pub(crate) fn has(&self, path: &[&str]) -> bool {
        let mut table = Some(self.table.get_ref());
        path.iter().all(|name| {
            let found = table.and_then(|t| t.iter().find(|(key, _)| key.get_ref() == name));
            table = found.and_then(|(_, value)| value.get_ref().as_table());
            found.is_some()
        })
    }

    /// Line and column of the key `path`, as faults give them.
    pub(crate) fn place_of(&self, path: &[&str]) -> (u32, u32) {
        self.line_and_column(self.locate(path).start)
    }

    fn locate(&self, path: &[&str]) -> Range<usize> {
        let mut span = 0..0;
        let mut table = Some(self.table.get_ref());
        for name in path {
            let Some((key, value)) = table.and_then(|t| t.iter().find(|(k, _)| k.get_ref() == name)) else {
                return span;
            };
            span = key.span();
            table = value.get_ref().as_table();
        }
        span
    }

    fn fault(&mut self, span: Range<usize>, text: String) {
        let (line, column) = self.line_and_column(span.start);
        self.faults.push(Fault { file: self.file.clone(), line, column, text });
    }

    fn line_and_column(&self, at: usize) -> (u32, u32) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = u32::try_from(before.matches('\n').count()).map_or(u32::MAX, |n| n + 1);
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
        (line, u32::try_from(column).map_or(u32::MAX, |n| n + 1))
    }
}

/// Removes the entry whose key or value stands at `span` and returns its path; `None` when there is none.
fn drop_at(table: &mut DeTable<'_>, span: &Range<usize>, path: &mut Vec<String>) -> Option<Vec<String>> {
    let found = table.iter().find(|(key, value)| key.span() == *span || value.span() == *span);
    if let Some(name) = found.map(|(key, _)| key.get_ref().to_string()) {
        table.remove(name.as_str());
        path.push(name);
        return Some(path.clone());
    }
    // An element of an array is not an entry: the whole array goes.
    let inside = |value: &Spanned<DeValue<'_>>| {
        value.get_ref().is_array() && value.span().start <= span.start && span.end <= value.span().end
    };
    if let Some(name) = table.iter().find(|(_, value)| inside(value)).map(|(key, _)| key.get_ref().to_string()) {
        table.remove(name.as_str());
        path.push(name);
        return Some(path.clone());
    }
    for (key, value) in table.iter_mut() {
        if let DeValue::Table(inner) = value.get_mut() {
            path.push(key.get_ref().to_string());
            if let Some(found) = drop_at(inner, span, path) {
                return Some(found);
            }
            path.pop();
        }
    }
    None
}

/// serde's sentence in ours: which key of which section, and the nearest word where one was misspelt.
fn explain(message: &str, path: &[String]) -> String {
    let (section, key) = match path.split_last() {
        Some((key, [])) => (String::new(), key.as_str()),
        Some((key, section)) => (format!(" in [{}]", section.join(".")), key.as_str()),
        None => (String::new(), ""),
    };
    let words: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match words.split_first() {
        Some((_, valid)) if message.starts_with("unknown field") => {
            format!("unknown key `{key}`{section}; {}", suggest(key, valid))
        }
        Some((found, valid)) if message.starts_with("unknown variant") => {
            format!("`{key}`{section}: unknown value `{found}`; {}", suggest(found, valid))
        }
        Some((missing, _)) if message.starts_with("missing field") && path.is_empty() => {
            format!("the key `{missing}` is missing")
        }
        Some((missing, _)) if message.starts_with("missing field") => {
            format!("[{}] needs the key `{missing}`", path.join("."))
        }
        _ if key.is_empty() => message.to_string(),
        _ => format!("`{key}`{section}: {message}"),
    }
}

/// The nearest valid word (`age` for `age_ms` is near: a forgotten unit), or all of them when none is near.
pub(crate) fn suggest(found: &str, valid: &[&str]) -> String {
    let unit = |word: &str| !found.is_empty() && word.strip_prefix(found).is_some_and(|rest| rest.starts_with('_'));
    let distance = |word: &str| if unit(word) { 1 } else { strsim::damerau_levenshtein(found, word) };
    let near = valid.iter().map(|word| (distance(word), word)).min();
    match near {
        Some((distance, word)) if distance <= 2.max(found.chars().count() / 3) => format!("did you mean `{word}`?"),
        Some(_) => format!("there are {}", valid.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ")),
        None => "there are no keys here".to_string(),
    }
}
