//! Regular expressions as PostgreSQL has them (Spencer's ARE, documentation 9.7.3): the leftmost match, then the longest or
//! the shortest by the rules of 9.7.3.5, and groups by how Spencer's engine takes a match apart (regcomp.c, regexec.c).
//!
//! `parse` pattern → tree · `program` tree → automaton · `matcher` the automaton over one text · `plain` the same language
//! for the `regex` crate, which answers whether there is a match and where it begins, and the whole match where both
//! engines must agree · `functions` the kernels · `similar` SQL's own patterns.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::error::{Error, Kind, Result};
use matcher::Matcher;
use parse::Parsed;
use program::Program;

pub(super) mod functions;
mod matcher;
mod options;
mod parse;
mod plain;
mod program;
pub(super) mod similar;
#[cfg(test)]
mod tests;
mod tree;

pub(super) use options::{Options, Syntax};

/// From and to, in bytes.
pub(super) type Span = (usize, usize);

/// A pattern that is ready to be looked for.
#[derive(Debug)]
pub(super) struct Pattern {
    parsed: Parsed,
    program: Program,
    /// Both engines find the same match and the same groups.
    agree: bool,
    /// For texts of ASCII, and for all others. `None` where the crate has no such pattern.
    ascii: OnceCell<Option<regex::Regex>>,
    full: OnceCell<Option<regex::Regex>>,
}

/// What a pattern is found with in one text.
pub(super) struct Searcher<'p, 't> {
    pattern: &'p Pattern,
    text: &'t str,
    plain: Option<&'p regex::Regex>,
    /// Made where the other engine does not do.
    matcher: Option<Matcher<'p, 't>>,
}

impl Pattern {
    /// 2201B for what is no pattern.
    pub(super) fn new(pattern: &str, options: Options) -> Result<Self> {
        let parsed = parse::parse(pattern, options)?;
        let program = Program::new(&parsed)?;
        let agree = plain::agrees(&parsed);
        Ok(Self { parsed, program, agree, ascii: OnceCell::new(), full: OnceCell::new() })
    }

    /// Parentheses that capture.
    pub(super) fn groups(&self) -> usize {
        self.parsed.groups
    }

    fn plain(&self, text: &str) -> Option<&regex::Regex> {
        let is_ascii = text.is_ascii();
        let cell = if is_ascii { &self.ascii } else { &self.full };
        cell.get_or_init(|| plain::regex(&self.parsed, is_ascii)).as_ref()
    }

    pub(super) fn searcher<'p, 't>(&'p self, text: &'t str) -> Searcher<'p, 't> {
        Searcher { pattern: self, text, plain: self.plain(text), matcher: None }
    }

    pub(super) fn is_match(&self, text: &str) -> Result<bool> {
        match self.plain(text) {
            Some(plain) => Ok(plain.is_match(text)),
            None => Ok(self.searcher(text).find(0)?.is_some()),
        }
    }
}

impl Searcher<'_, '_> {
    /// The first match that begins at or behind `from`: the whole, then each group.
    pub(super) fn find(&mut self, from: usize) -> Result<Option<Vec<Option<Span>>>> {
        let mut begin = from;
        if let Some(plain) = self.plain {
            if self.pattern.agree {
                if self.pattern.groups() == 0 {
                    return Ok(plain.find_at(self.text, from).map(|found| vec![Some((found.start(), found.end()))]));
                }
                let captures = plain.captures_at(self.text, from);
                let spans = |captures: regex::Captures<'_>| {
                    captures.iter().map(|group| group.map(|group| (group.start(), group.end()))).collect()
                };
                return Ok(captures.map(spans));
            }
            match plain.find_at(self.text, from) {
                Some(found) => begin = found.start(),
                None => return Ok(None),
            }
        }
        let matcher = self.matcher.get_or_insert_with(|| Matcher::new(&self.pattern.program, self.text));
        matcher.find(begin)
    }
}

/// Patterns of one call, compiled once each while they come back.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    known: HashMap<(String, Options), Rc<Pattern>>,
    last: Option<(String, Options, Rc<Pattern>)>,
}

impl Patterns {
    pub(super) fn get(&mut self, pattern: &str, options: Options) -> Result<Rc<Pattern>> {
        const KNOWN_MAX: usize = 32;
        if let Some((text, of, compiled)) = &self.last
            && text == pattern
            && *of == options
        {
            return Ok(Rc::clone(compiled));
        }
        let key = (pattern.to_owned(), options);
        let compiled = match self.known.get(&key) {
            Some(compiled) => Rc::clone(compiled),
            None => {
                let compiled = Rc::new(Pattern::new(pattern, options)?);
                if self.known.len() >= KNOWN_MAX {
                    self.known.clear();
                }
                self.known.insert(key, Rc::clone(&compiled));
                compiled
            }
        };
        self.last = Some((pattern.to_owned(), options, Rc::clone(&compiled)));
        Ok(compiled)
    }
}

/// Why a pattern is none, in PostgreSQL's words.
fn invalid(why: &str) -> Error {
    Error::new(Kind::InvalidRegex, format!("invalid regular expression: {why}"))
}

fn too_complex() -> Error {
    invalid("regular expression is too complex")
}
