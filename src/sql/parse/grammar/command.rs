//! BEGIN to ROLLBACK, SET, RESET, SHOW, DECLARE to CLOSE, DISCARD: gram.y's TransactionStmt, VariableSetStmt and its kin,
//! DeclareCursorStmt, FetchStmt.

mod cursor;
mod setting;
mod transaction;

use datafusion::sql::sqlparser::ast::{Query, Value as Literal};

use super::{Naming, Parser, text_value};
use crate::error::{Kind, Result};
use crate::sql::parse::command::{Command, Discard};
use crate::sql::parse::lex::{Lexeme, Token};

/// The words that these statements begin with.
const WORDS: [&str; 16] = [
    "abort",
    "begin",
    "close",
    "commit",
    "declare",
    "discard",
    "end",
    "fetch",
    "move",
    "release",
    "reset",
    "rollback",
    "savepoint",
    "set",
    "show",
    "start",
];

/// Whether a command begins with this word and the next.
pub(in crate::sql::parse) fn begins(word: Option<&str>, next: Option<&str>) -> bool {
    match (word, next) {
        (Some("prepare"), Some("transaction")) => true,
        (Some(word), _) => WORDS.contains(&word),
        (None, _) => false,
    }
}

impl Parser<'_> {
    /// The command that begins here, and the query of a cursor.
    pub(in crate::sql::parse) fn command(&mut self) -> Result<(Command, Option<Box<Query>>)> {
        let word = self.word(0).unwrap_or_default();
        let command = match word {
            "declare" => {
                let (declare, query) = self.declare()?;
                return Ok((Command::Cursor(declare), Some(query)));
            }
            "fetch" | "move" | "close" => Command::Cursor(self.cursor()?),
            "set" | "reset" | "show" => Command::Setting(self.setting()?),
            "discard" => Command::Discard(self.discard()?),
            _ => Command::Transaction(self.transaction()?),
        };
        Ok((command, None))
    }

    fn discard(&mut self) -> Result<Discard> {
        self.advance();
        let what = match self.word(0) {
            Some("all") => Discard::All,
            Some("plans") => Discard::Plans,
            Some("sequences") => Discard::Sequences,
            Some("temp" | "temporary") => Discard::Temp,
            _ => return Err(self.unexpected()),
        };
        self.advance();
        Ok(what)
    }

    /// ColId, folded.
    fn folded_name(&mut self) -> Result<String> {
        self.folded(Naming::Column)
    }

    fn folded(&mut self, naming: Naming) -> Result<String> {
        let name = self.name(naming)?;
        Ok(if name.quote_style.is_some() { name.value } else { name.value.to_lowercase() })
    }

    /// NonReservedWord.
    fn word_unless_reserved(&mut self) -> Result<String> {
        match self.names(Naming::Column, 0) {
            true => self.folded(Naming::Column),
            false => self.folded(Naming::Function),
        }
    }

    /// Sconst, as the text it means.
    fn string(&mut self) -> Option<String> {
        let token = self.token()?;
        let Lexeme::Text(text) = &token.lexeme else { return None };
        let value = match text_value(text) {
            Literal::SingleQuotedString(value)
            | Literal::EscapedStringLiteral(value)
            | Literal::UnicodeStringLiteral(value) => value,
            Literal::DollarQuotedString(dollar) => dollar.value,
            _ => return None,
        };
        self.advance();
        Some(value)
    }

    pub(super) fn expect_string(&mut self) -> Result<String> {
        match self.string() {
            Some(text) => Ok(text),
            None => Err(self.unexpected()),
        }
    }

    /// NumericOnly, as it is written.
    fn signed_number(&mut self) -> Option<String> {
        let signed = usize::from(self.is_operator("-") || self.is_operator("+"));
        if !matches!(self.lexeme(signed), Some(Lexeme::Integer | Lexeme::Number)) {
            return None;
        }
        let sign = if self.is_operator("-") { "-" } else { "" };
        let number = self.ahead(signed).map(|token| format!("{sign}{}", self.slice(token)))?;
        (0..=signed).for_each(|_| self.advance());
        Some(number)
    }

    /// SignedIconst.
    fn signed_integer(&mut self) -> Result<i64> {
        let negative = self.is_operator("-");
        if negative || self.is_operator("+") {
            self.advance();
        }
        let Some(Token { lexeme: Lexeme::Integer, .. }) = self.token() else { return Err(self.unexpected()) };
        let at = self.at;
        let value =
            i64::try_from(self.integer()?).map_err(|_| self.refused(Kind::Syntax, "a number is out of range", at))?;
        Ok(if negative { -value } else { value })
    }
}
