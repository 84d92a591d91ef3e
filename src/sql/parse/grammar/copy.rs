//! COPY: CopyStmt of gram.y, with the options of today and those of before 9.0.

use datafusion::sql::sqlparser::ast::SetExpr;

use super::super::copy::{Copy, CopyOption, Direction, End, OptionValue, Source};
use super::super::keyword::Category;
use super::super::lex::Lexeme;
use super::from::table;
use super::select::{all_of, bare};
use super::{Naming, Parser};
use crate::error::{Error, Kind, Result};

impl Parser<'_> {
    pub(in crate::sql::parse) fn copy(&mut self) -> Result<Copy> {
        self.expect("copy")?;
        if self.is_symbol('(') {
            return self.copy_query();
        }
        let mut options = vec![];
        let at = self.place(self.at);
        if self.eat("binary") {
            options.push(option("format", text("binary"), at));
        }
        let source = self.copied_table()?;
        let direction = match self.word(0) {
            Some("from") => Direction::From,
            Some("to") => Direction::To,
            _ => return Err(self.unexpected()),
        };
        self.advance();
        let end = self.copy_end()?;
        let at = self.place(self.at);
        if self.is("delimiters") || self.are(&["using", "delimiters"]) {
            self.eat("using");
            self.advance();
            options.push(option("delimiter", OptionValue::Text(self.expect_string()?), at));
        }
        self.copy_options(&mut options)?;
        let start = self.at;
        let filter = match self.eat("where") {
            true => Some(self.expr()?),
            false => None,
        };
        if filter.is_some() && direction == Direction::To {
            return Err(self.refused(Kind::Syntax, "WHERE clause not allowed with COPY TO", start));
        }
        Ok(Copy { source, direction, end, options, filter })
    }

    /// `COPY (query) TO …`.
    fn copy_query(&mut self) -> Result<Copy> {
        self.expect_symbol('(')?;
        if let Some(what @ ("insert" | "update" | "delete" | "merge")) = self.word(0) {
            return Err(Error::unsupported(format!("COPY of the rows of {}", what.to_uppercase())));
        }
        let query = self.deeper(Self::query)?;
        self.expect_symbol(')')?;
        self.expect("to")?;
        let end = self.copy_end()?;
        let mut options = vec![];
        self.copy_options(&mut options)?;
        let source = Source::Query(Box::new(query));
        Ok(Copy { source, direction: Direction::To, end, options, filter: None })
    }

    fn copied_table(&mut self) -> Result<Source> {
        let token = self.attached();
        let name = self.qualified_name()?;
        let columns = if self.is_symbol('(') { self.name_list()? } else { vec![] };
        let rows = all_of(table(name.clone(), None, false), token);
        let query = Box::new(bare(SetExpr::Select(Box::new(rows))));
        Ok(Source::Table { name, columns, query })
    }

    fn copy_end(&mut self) -> Result<End> {
        let program = self.eat("program");
        let client = self.eat("stdin") || self.eat("stdout");
        if client && program {
            return Err(Error::new(Kind::Syntax, "STDIN/STDOUT not allowed with PROGRAM"));
        }
        if client {
            return Ok(End::Client);
        }
        self.expect_string()?;
        Ok(if program { End::Program } else { End::File })
    }

    fn copy_options(&mut self, options: &mut Vec<CopyOption>) -> Result<()> {
        self.eat("with");
        if self.eat_symbol('(') {
            options.extend(self.list(Self::copy_option)?);
            return self.expect_symbol(')');
        }
        while let Some(found) = self.old_copy_option()? {
            options.push(found);
        }
        Ok(())
    }

    /// copy_generic_opt_elem.
    pub(super) fn copy_option(&mut self) -> Result<CopyOption> {
        let at = self.place(self.at);
        let name = self.name(Naming::Label)?;
        let name = if name.quote_style.is_some() { name.value } else { name.value.to_lowercase() };
        let value = if self.is_symbol(',') || self.is_symbol(')') {
            OptionValue::Missing
        } else if self.is_operator("*") || self.is_symbol('*') {
            self.advance();
            OptionValue::Star
        } else if self.eat_symbol('(') {
            let items = self.list(Self::option_word)?;
            self.expect_symbol(')')?;
            OptionValue::List(items)
        } else {
            match self.option_number() {
                Some(number) => OptionValue::Number(number),
                None => OptionValue::Text(self.option_word()?),
            }
        };
        Ok(CopyOption { name, value, at })
    }

    /// opt_boolean_or_string.
    pub(super) fn option_word(&mut self) -> Result<String> {
        let Some(token) = self.token() else { return Err(self.unexpected()) };
        let word = match &token.lexeme {
            Lexeme::Text(_) => return self.expect_string(),
            Lexeme::Quoted(name) => name.clone(),
            Lexeme::Word(None) => self.slice(token).to_lowercase(),
            Lexeme::Word(Some(keyword))
                if keyword.category != Category::Reserved || matches!(keyword.word, "true" | "false" | "on") =>
            {
                keyword.word.to_owned()
            }
            _ => return Err(self.unexpected()),
        };
        self.advance();
        Ok(word)
    }

    /// NumericOnly.
    pub(super) fn option_number(&mut self) -> Option<String> {
        let sign = ["+", "-"].into_iter().find(|sign| self.is_operator(sign));
        let token = self.ahead(usize::from(sign.is_some()))?;
        if !matches!(token.lexeme, Lexeme::Integer | Lexeme::Number) {
            return None;
        }
        let digits = self.slice(token);
        if sign.is_some() {
            self.advance();
        }
        self.advance();
        Some(format!("{}{digits}", if sign == Some("-") { "-" } else { "" }))
    }

    /// copy_opt_item.
    fn old_copy_option(&mut self) -> Result<Option<CopyOption>> {
        let at = self.place(self.at);
        let (name, value) = match self.word(0) {
            Some(word @ ("binary" | "csv")) => {
                self.advance();
                ("format", text(word))
            }
            Some(word @ ("freeze" | "header")) => {
                self.advance();
                (if word == "freeze" { "freeze" } else { "header" }, text("true"))
            }
            Some(word @ ("delimiter" | "null" | "quote" | "escape")) => {
                self.advance();
                self.eat("as");
                (word, OptionValue::Text(self.expect_string()?))
            }
            Some("encoding") => {
                self.advance();
                ("encoding", OptionValue::Text(self.expect_string()?))
            }
            Some("force") => {
                self.advance();
                self.forced()?
            }
            _ => return Ok(None),
        };
        Ok(Some(option(name, value, at)))
    }

    /// What stands behind FORCE.
    fn forced(&mut self) -> Result<(&'static str, OptionValue)> {
        let name = match self.word(0) {
            Some("quote") => "force_quote",
            Some("not") => {
                self.advance();
                "force_not_null"
            }
            _ => "force_null",
        };
        self.expect(if name == "force_quote" { "quote" } else { "null" })?;
        if name == "force_quote" && (self.is_operator("*") || self.is_symbol('*')) {
            self.advance();
            return Ok((name, OptionValue::Star));
        }
        let columns = self.list(Self::column_name)?;
        let folded = columns.into_iter().map(|c| match c.quote_style {
            Some(_) => c.value,
            None => c.value.to_lowercase(),
        });
        Ok((name, OptionValue::List(folded.collect())))
    }
}

fn option(name: &str, value: OptionValue, at: usize) -> CopyOption {
    CopyOption { name: name.to_owned(), value, at }
}

fn text(word: &str) -> OptionValue {
    OptionValue::Text(word.to_owned())
}
