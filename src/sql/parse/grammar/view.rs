//! ViewStmt, CreateMatViewStmt and RefreshMatViewStmt of gram.y, and those forms of AlterTableStmt, RenameStmt,
//! AlterObjectSchemaStmt and DropStmt that say VIEW.

use datafusion::sql::sqlparser::ast::Ident;

use super::super::lex::Lexeme;
use super::super::view::{Change, Create, CreateMaterialized, Drop, Owner, Refresh, View};
use super::{Naming, Parser};
use crate::error::{Error, Kind, Result};

impl Parser<'_> {
    /// Whether CREATE, ALTER, DROP or REFRESH here is about a view.
    pub(in crate::sql::parse) fn begins_view(&self) -> bool {
        let materialized = |n: usize| self.word(n) == Some("materialized") && self.word(n + 1) == Some("view");
        match self.word(0) {
            Some("refresh") => materialized(1),
            Some("alter" | "drop") => self.word(1) == Some("view") || materialized(1),
            Some("create") if materialized(1) => true,
            Some("create") if self.word(1) == Some("unlogged") && materialized(2) => true,
            Some("create") => {
                let mut n = if self.word(1) == Some("or") && self.word(2) == Some("replace") { 3 } else { 1 };
                while matches!(self.word(n), Some("local" | "global" | "temp" | "temporary" | "unlogged" | "recursive"))
                {
                    n += 1;
                }
                // where a materialized one is not looked for, its word is in the wrong place, which is told as of a view
                matches!(self.word(n), Some("view" | "materialized"))
            }
            _ => false,
        }
    }

    pub(in crate::sql::parse) fn view(&mut self) -> Result<View> {
        let word = self.word(0);
        self.advance();
        match word {
            Some("create") => match (self.word(0), self.word(1)) {
                (Some("materialized"), _) | (Some("unlogged"), Some("materialized")) => {
                    self.create_materialized().map(View::CreateMaterialized)
                }
                _ => self.create_view().map(View::Create),
            },
            Some("refresh") => self.refresh_materialized().map(View::Refresh),
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
        let unlogged = !temporary && self.eat("unlogged");
        let recursive = self.eat("recursive");
        self.expect("view")?;
        let name = self.qualified_name()?;
        let columns = if recursive || self.is_symbol('(') { self.name_list()? } else { vec![] };
        let options = if self.eat("with") { self.view_options()? } else { vec![] };
        self.expect("as")?;
        let (mut query, before) = self.query_text()?;
        let checks = self.eat("with");
        if checks {
            if !self.eat("cascaded") {
                self.eat("local");
            }
            self.expect_words(&["check", "option"])?;
        }
        if unlogged {
            return Err(Error::new(Kind::Syntax, "views cannot be unlogged because they do not have storage"));
        }
        if recursive {
            query = self_naming(name.0.last().and_then(|part| part.as_ident()), &columns, &query);
        }
        Ok(Create { name, columns, or_replace, temporary, options, checks, query, before })
    }

    /// A query as it is written, and the characters of the statement before it.
    fn query_text(&mut self) -> Result<(String, usize)> {
        let first = self.at;
        self.query()?;
        let last = self.at.saturating_sub(1);
        let start = self.tokens.get(first).map_or(0, |token| token.start);
        let end = self.tokens.get(last).map_or(start, |token| token.end);
        let query = self.text.get(start..end).unwrap_or_default().to_owned();
        Ok((query, self.place(first).saturating_sub(1)))
    }

    fn create_materialized(&mut self) -> Result<CreateMaterialized> {
        let mut other = self.eat("unlogged").then_some("an unlogged materialized view");
        self.expect_words(&["materialized", "view"])?;
        let if_not_exists = self.eat("if");
        if if_not_exists {
            self.expect_words(&["not", "exists"])?;
        }
        let name = self.qualified_name()?;
        let columns = if self.is_symbol('(') { self.name_list()? } else { vec![] };
        if self.eat("using") {
            self.column_name()?;
            other = other.or(Some("an access method of a materialized view"));
        }
        if self.eat("with") {
            self.view_options()?;
            other = other.or(Some("options of a materialized view"));
        }
        if self.eat("tablespace") {
            self.column_name()?;
            other = other.or(Some("a tablespace of a materialized view"));
        }
        self.expect("as")?;
        let (query, before) = self.query_text()?;
        let with_data = self.with_data()?;
        Ok(CreateMaterialized { name, columns, if_not_exists, with_data, query, before, other })
    }

    fn refresh_materialized(&mut self) -> Result<Refresh> {
        self.expect_words(&["materialized", "view"])?;
        let concurrently = self.eat("concurrently");
        let name = self.qualified_name()?;
        let with_data = self.with_data()?;
        Ok(Refresh { name, concurrently, with_data })
    }

    /// opt_with_data.
    fn with_data(&mut self) -> Result<bool> {
        if !self.eat("with") {
            return Ok(true);
        }
        let with_data = !self.eat("no");
        self.expect("data")?;
        Ok(with_data)
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
        let materialized = self.eat("materialized");
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
            Some(verb @ ("add" | "drop")) => {
                let constraint =
                    matches!(self.word(1), Some("constraint" | "check" | "primary" | "unique" | "foreign" | "exclude"));
                self.rest_of_statement();
                Change::OfTables(match (verb, constraint) {
                    ("add", false) => "ADD COLUMN",
                    ("add", true) => "ADD CONSTRAINT",
                    (_, false) => "DROP COLUMN",
                    (_, true) => "DROP CONSTRAINT",
                })
            }
            _ => return Err(self.unexpected()),
        };
        Ok(View::Alter { name, if_exists, change, materialized })
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
