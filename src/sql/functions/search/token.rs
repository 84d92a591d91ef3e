//! The scanner that tsvector and tsquery share (tsvector_parser.c): a lexeme, plain or between quotes, and the positions
//! behind it.

use crate::error::{Error, Kind, Result};

use super::vector::{POSITION_MAX, Position, Weight};

/// What is scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Vector,
    /// Operators end a lexeme; what stands behind a colon is the caller's.
    Query,
}

pub(super) struct Scanner<'a> {
    pub(super) text: &'a str,
    /// What is still to be read.
    pub(super) rest: &'a str,
    form: Form,
}

pub(super) struct Token {
    pub(super) word: String,
    pub(super) positions: Vec<Position>,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str, form: Form) -> Self {
        Self { text, rest: text, form }
    }

    pub(super) fn wrong(&self) -> Error {
        let what = if self.form == Form::Vector { "tsvector" } else { "tsquery" };
        Error::new(Kind::Syntax, format!("syntax error in {what}: \"{}\"", self.text))
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    pub(super) fn skip(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let skipped = chars.next();
        self.rest = chars.as_str();
        skipped
    }

    pub(super) fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches(is_blank);
    }

    /// `None` where nothing but blanks is left.
    pub(super) fn token(&mut self) -> Result<Option<Token>> {
        self.skip_blanks();
        let word = match self.peek() {
            None => return Ok(None),
            Some('\'') => self.quoted()?,
            Some(_) => self.plain()?,
        };
        let positions = match (self.form, self.peek()) {
            (Form::Vector, Some(':')) => self.positions()?,
            _ => vec![],
        };
        Ok(Some(Token { word, positions }))
    }

    fn quoted(&mut self) -> Result<String> {
        self.skip();
        let mut word = String::new();
        loop {
            match self.skip() {
                None => return Err(self.wrong()),
                Some('\\') => word.push(self.escaped()?),
                Some('\'') if self.peek() == Some('\'') => word.extend(self.skip()),
                Some('\'') if word.is_empty() => return Err(self.wrong()),
                Some('\'') => return Ok(word),
                Some(other) => word.push(other),
            }
        }
    }

    fn plain(&mut self) -> Result<String> {
        let mut word = String::new();
        // whatever begins a lexeme is part of it, but for an operator of a query
        if self.form == Form::Query && self.peek().is_some_and(is_operator) {
            return Err(self.wrong());
        }
        if self.peek() != Some('\\') {
            word.extend(self.skip());
        }
        loop {
            match self.peek() {
                None | Some(':') => return Ok(word),
                Some(c) if is_blank(c) || (self.form == Form::Query && is_operator(c)) => return Ok(word),
                Some('\\') => {
                    self.skip();
                    word.push(self.escaped()?);
                }
                Some(_) => word.extend(self.skip()),
            }
        }
    }

    fn escaped(&mut self) -> Result<char> {
        let missing = || Error::new(Kind::Syntax, format!("there is no escaped character: \"{}\"", self.text));
        let escaped = self.peek().ok_or_else(missing)?;
        self.skip();
        Ok(escaped)
    }

    fn positions(&mut self) -> Result<Vec<Position>> {
        let mut positions = vec![];
        // behind a colon, or a comma
        while matches!(self.peek(), Some(':' | ',')) {
            self.skip();
            let rest = self.rest.trim_start_matches(|c: char| c.is_ascii_digit());
            let digits = self.rest.get(..self.rest.len() - rest.len()).unwrap_or_default();
            if digits.is_empty() {
                return Err(self.wrong());
            }
            self.rest = rest;
            let place = digits.parse().map_or(POSITION_MAX, |place: u16| place.min(POSITION_MAX));
            if place == 0 {
                let text = format!("wrong position info in tsvector: \"{}\"", self.text);
                return Err(Error::new(Kind::Syntax, text));
            }
            positions.push(Position { place, weight: self.weight()? });
        }
        match self.peek() {
            None => Ok(positions),
            Some(c) if is_blank(c) => Ok(positions),
            Some(_) => Err(self.wrong()),
        }
    }

    /// Letters behind a position: the D of no weight may be said again, digits mean nothing.
    fn weight(&mut self) -> Result<Weight> {
        let mut weight = Weight::D;
        while let Some(c) = self.peek().filter(|c| !matches!(c, ',') && !is_blank(*c)) {
            let read = if c == '*' { Some(Weight::A) } else { Weight::read(c) };
            match read {
                Some(read) if weight == Weight::D => weight = read,
                None if c.is_ascii_digit() => {}
                _ => return Err(self.wrong()),
            }
            self.skip();
        }
        Ok(weight)
    }
}

/// `t_isspace` in a C locale.
pub(super) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

fn is_operator(c: char) -> bool {
    matches!(c, '!' | '&' | '|' | '(' | ')')
}
