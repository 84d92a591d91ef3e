//! ViewStmt of gram.y, and those forms of AlterTableStmt, RenameStmt, AlterObjectSchemaStmt and DropStmt that say VIEW.

use datafusion::sql::sqlparser::ast::Ident;

use super::super::lex::Lexeme;
use super::super::view::{Change, Create, Drop, Owner, View};
use super::{Naming, Parser};
use crate::error::Result;

impl Parser<'_> {
    /// Whether CREATE, ALTER or DROP here is about a view. A materialized one can only be dropped: there are none.
    pub(in crate::sql::parse) fn begins_view(&self) -> bool {
        match self.word(0) {
            Some("alter") => self.word(1) == Some("view"),
            Some("drop") => {
                self.word(1) == Some("view") || self.word(1) == Some("materialized") && self.word(2) == Some("view")
            }
            Some("create") => {
                let mut n = if self.word(1) == Some("or") && self.word(2) == Some("replace") { 3 } else { 1 };
                while matches!(self.word(n), Some("local" | "global" | "temp" | "temporary" | "recursive")) {
                    n += 1;
                }
                self.word(n) == Some("view")
            }
            _ => false,
        }
    }

    pub(in crate::sql::parse) fn view(&mut self) -> Result<View> {
        let word = self.word(0);
        self.advance();
        match word {
            Some("create") => self.create_view().map(View::Create),
            Some("alter") => self.alter_view(),
            _ => self.drop_view().map(View::Drop),
        }
    }

    fn create_view(&mut self) -> Result<Create> {
        let or_replace = self.eat("or");
        if or_replace {
            self.expect("replace")?;
        }
        let scoped = self.eat("local") || self.eat("global");
        let temporary = self.eat("temp") || self.eat("temporary");
        if scoped && !temporary {
            return Err(self.unexpected());
        }
        let recursive = self.eat("recursive");
        self.expect("view")?;
        let name = self.qualified_name()?;
        let columns = if recursive || self.is_symbol('(') { self.name_list()? } else { vec![] };
        let options = if self.eat("with") { self.view_options()? } else { vec![] };
        self.expect("as")?;
        let first = self.at;
        self.query()?;
        let last = self.at.saturating_sub(1);
        let start = self.tokens.get(first).map_or(0, |token| token.start);
        let end = self.tokens.get(last).map_or(start, |token| token.end);
        let mut query = self.text.get(start..end).unwrap_or_default().to_owned();
        let checks = self.eat("with");
        if checks {
            if !self.eat("cascaded") {
                self.eat("local");
            }
            self.expect_words(&["check", "option"])?;
        }
        if recursive {
            query = self_naming(name.0.last().and_then(|part| part.as_ident()), &columns, &query);
        }
        let before = self.place(first).saturating_sub(1);
        Ok(Create { name, columns, or_replace, temporary, options, checks, query, before })
    }

    /// reloptions.
    fn view_options(&mut self) -> Result<Vec<(String, Option<String>)>> {
        self.expect_symbol('(')?;
        let options = self.list(|parser| {
            let name = parser.name(Naming::Label)?;
            let name = if name.quote_style.is_some() { name.value } else { name.value.to_lowercase() };
            if !parser.is_operator("=") {
                return Ok((name, None));
            }
            parser.advance();
            let number = parser.token().filter(|token| matches!(token.lexeme, Lexeme::Integer));
            let value = match number.map(|token| parser.slice(token).to_owned()) {
                Some(number) => {
                    parser.advance();
                    number
                }
                None => parser.option_word()?.to_ascii_lowercase(),
            };
            Ok((name, Some(value)))
        })?;
        self.expect_symbol(')')?;
        Ok(options)
    }

    fn alter_view(&mut self) -> Result<View> {
        self.expect("view")?;
        let if_exists = self.eat("if");
        if if_exists {
            self.expect("exists")?;
        }
        let name = self.qualified_name()?;
        let change = match self.word(0) {
            Some("rename") => {
                self.advance();
                if self.eat("to") {
                    Change::Rename(self.column_name()?)
                } else {
                    self.eat("column");
                    let from = self.column_name()?;
                    self.expect("to")?;
                    Change::RenameColumn { from, to: self.column_name()? }
                }
            }
            Some("owner") => {
                self.advance();
                self.expect("to")?;
                Change::Owner(self.role()?)
            }
            Some("set") if self.word(1) == Some("schema") => {
                self.advance();
                self.advance();
                Change::SetSchema(self.column_name()?)
            }
            Some("set" | "reset") => {
                self.rest_of_statement();
                Change::Other("ALTER VIEW … SET (…)")
            }
            Some("alter") => {
                self.rest_of_statement();
                Change::Other("a default of a view's column")
            }
            _ => return Err(self.unexpected()),
        };
        Ok(View::Alter { name, if_exists, change })
    }

    /// RoleSpec.
    fn role(&mut self) -> Result<Owner> {
        match self.word(0) {
            Some("current_user" | "session_user" | "current_role") => {
                self.advance();
                Ok(Owner::Current)
            }
            _ => self.name(Naming::Column).map(Owner::Named),
        }
    }

    fn rest_of_statement(&mut self) {
        while !self.ends() {
            let at = self.at;
            self.advance();
            if self.at == at {
                return;
            }
        }
    }

    fn drop_view(&mut self) -> Result<Drop> {
        let materialized = self.eat("materialized");
        self.expect("view")?;
        let if_exists = self.eat("if");
        if if_exists {
            self.expect("exists")?;
        }
        let names = self.list(Self::any_name)?;
        let cascade = self.eat("cascade");
        if !cascade {
            self.eat("restrict");
        }
        Ok(Drop { names, if_exists, cascade, materialized })
    }
}

/// What makeRecursiveViewSelect makes of a recursive view's query.
fn self_naming(name: Option<&Ident>, columns: &[Ident], query: &str) -> String {
    let written = |name: &Ident| match name.quote_style {
        Some(_) => format!("\"{}\"", name.value.replace('"', "\"\"")),
        None => name.value.clone(),
    };
    let name = name.map(written).unwrap_or_default();
    let columns = columns.iter().map(written).collect::<Vec<_>>().join(", ");
    format!("WITH RECURSIVE {name} ({columns}) AS ({query}) SELECT {columns} FROM {name}")
}
