//! DeclareCursorStmt, FetchStmt, ClosePortalStmt.

use datafusion::sql::sqlparser::ast::Query;

use super::super::super::lex::Lexeme;
use super::super::{Naming, Parser};
use crate::error::{Error, Kind, Result};
use crate::sql::parse::command::{Cursor, Declare, Direction, Fetch};

impl Parser<'_> {
    /// `DECLARE name … CURSOR … FOR query`.
    pub(super) fn declare(&mut self) -> Result<(Cursor, Box<Query>)> {
        self.advance();
        let name = self.folded_name()?;
        let (mut binary, mut scroll, mut no_scroll, mut insensitive, mut asensitive) =
            (false, false, false, false, false);
        loop {
            match self.word(0) {
                Some("binary") => binary = true,
                Some("scroll") => scroll = true,
                Some("insensitive") => insensitive = true,
                Some("asensitive") => asensitive = true,
                Some("no") => {
                    self.advance();
                    if !self.is("scroll") {
                        return Err(self.unexpected());
                    }
                    no_scroll = true;
                }
                _ => break,
            }
            self.advance();
        }
        self.expect("cursor")?;
        let mut hold = false;
        if let Some(with @ ("with" | "without")) = self.word(0) {
            self.advance();
            self.expect("hold")?;
            hold = with == "with";
        }
        self.expect("for")?;
        let query = Box::new(self.query()?);
        let both = |first: &str, second: &str| {
            Error::new(Kind::InvalidCursorDefinition, format!("cannot specify both {first} and {second}"))
        };
        if scroll && no_scroll {
            return Err(both("SCROLL", "NO SCROLL"));
        }
        if insensitive && asensitive {
            return Err(both("ASENSITIVE", "INSENSITIVE"));
        }
        let scroll = if scroll { Some(true) } else { no_scroll.then_some(false) };
        Ok((Cursor::Declare(Declare { name, binary, scroll, hold }), query))
    }

    pub(super) fn cursor(&mut self) -> Result<Cursor> {
        let word = self.word(0).unwrap_or_default();
        self.advance();
        if word == "close" {
            return match self.eat("all") {
                true => Ok(Cursor::Close(None)),
                false => self.folded_name().map(|name| Cursor::Close(Some(name))),
            };
        }
        let direction = self.direction()?;
        if !self.eat("from") {
            self.eat("in");
        }
        let name = self.folded_name()?;
        Ok(Cursor::Fetch(Fetch { name, direction, moves: word == "move" }))
    }

    fn direction(&mut self) -> Result<Direction> {
        let all = Direction::ALL;
        let Some(word) = self.word(0) else { return self.count_or_one() };
        // a cursor may be called as a direction is
        let names_cursor = matches!(self.lexeme(1), Some(Lexeme::End | Lexeme::Fault(_) | Lexeme::Symbol(';')));
        if names_cursor && word != "all" {
            return Ok(Direction::Forward(1));
        }
        let plain = match word {
            "next" => Direction::Forward(1),
            "prior" => Direction::Backward(1),
            "first" => Direction::Absolute(1),
            "last" => Direction::Absolute(-1),
            "all" => Direction::Forward(all),
            "absolute" | "relative" => {
                self.advance();
                let count = self.signed_integer()?;
                return Ok(if word == "absolute" { Direction::Absolute(count) } else { Direction::Relative(count) });
            }
            "forward" | "backward" => {
                self.advance();
                let count = if self.eat("all") {
                    all
                } else if self.starts_count() {
                    self.signed_integer()?
                } else {
                    1
                };
                return Ok(if word == "forward" { Direction::Forward(count) } else { Direction::Backward(count) });
            }
            _ => return Ok(Direction::Forward(1)),
        };
        self.advance();
        // FETCH NEXT FROM c, FETCH NEXT c
        if !self.is("from") && !self.is("in") && !self.names(Naming::Column, 0) {
            return Err(self.unexpected());
        }
        Ok(plain)
    }

    fn count_or_one(&mut self) -> Result<Direction> {
        match self.starts_count() {
            true => self.signed_integer().map(Direction::Forward),
            false => Ok(Direction::Forward(1)),
        }
    }

    fn starts_count(&self) -> bool {
        matches!(self.lexeme(0), Some(Lexeme::Integer)) || self.is_operator("-") || self.is_operator("+")
    }
}
