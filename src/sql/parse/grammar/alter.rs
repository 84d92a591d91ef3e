//! AlterTableStmt, RenameStmt, AlterObjectSchemaStmt and AlterOwnerStmt of gram.y, for tables and schemas; CommentStmt.

use datafusion::sql::sqlparser::ast::{Expr, OrderByExpr};

use super::super::alter::{Alter, Change, Commented, NewColumn, SchemaChange};
use super::{Naming, Parser};
use crate::error::Result;

/// Whether this is what stands here.
pub(in crate::sql::parse) fn begins(first: Option<&str>, second: Option<&str>) -> bool {
    first == Some("alter") && matches!(second, Some("table" | "schema")) || first == Some("comment")
}

impl Parser<'_> {
    pub(in crate::sql::parse) fn alter(&mut self) -> Result<Alter> {
        if self.eat("comment") {
            return self.comment();
        }
        self.expect("alter")?;
        if self.eat("schema") {
            let schema = self.column_name()?;
            let change = match self.word(0) {
                Some("rename") => {
                    self.expect_words(&["rename", "to"])?;
                    SchemaChange::Rename(self.column_name()?)
                }
                _ => {
                    self.owner()?;
                    SchemaChange::Owner
                }
            };
            return Ok(Alter::Schema { schema, change });
        }
        self.expect("table")?;
        let if_exists = self.if_exists()?;
        let only = self.eat("only");
        let parenthesis = only && self.eat_symbol('(');
        let table = self.qualified_name()?;
        if parenthesis {
            self.expect_symbol(')')?;
        } else if self.is_operator("*") {
            self.advance();
        }
        let changes = match self.word(0) {
            Some("rename") => vec![self.rename()?],
            Some("set") if self.word(1) == Some("schema") => {
                self.expect_words(&["set", "schema"])?;
                vec![Change::SetSchema(self.column_name()?)]
            }
            _ => self.list(Self::table_change)?,
        };
        Ok(Alter::Table { table, if_exists, changes })
    }

    fn comment(&mut self) -> Result<Alter> {
        self.expect("on")?;
        let on = match self.word(0) {
            Some("table") => {
                self.advance();
                Commented::Table(self.any_name()?)
            }
            Some("view") => {
                self.advance();
                Commented::View(self.any_name()?)
            }
            Some("materialized") if self.word(1) == Some("view") => {
                self.advance();
                self.advance();
                Commented::MaterializedView(self.any_name()?)
            }
            Some("column") => {
                self.advance();
                Commented::Column(self.any_name()?)
            }
            Some(word) => {
                // a function's name has its arguments behind it, a rule's its table
                while !self.is("is") && !self.ends() {
                    self.advance();
                }
                Commented::Other(word)
            }
            None => return Err(self.unexpected()),
        };
        self.expect("is")?;
        let text = if self.eat("null") { None } else { Some(self.expect_string()?) };
        Ok(Alter::Comment { on, text })
    }

    pub(super) fn if_exists(&mut self) -> Result<bool> {
        let here = self.eat("if");
        if here {
            self.expect("exists")?;
        }
        Ok(here)
    }

    fn rename(&mut self) -> Result<Change> {
        self.expect("rename")?;
        if self.eat("to") {
            return self.column_name().map(Change::Rename);
        }
        if self.eat("constraint") {
            self.column_name()?;
            self.expect("to")?;
            self.column_name()?;
            return Ok(Change::Other("RENAME CONSTRAINT".into()));
        }
        self.eat("column");
        let column = self.column_name()?;
        self.expect("to")?;
        Ok(Change::RenameColumn { column, to: self.column_name()? })
    }

    /// alter_table_cmd.
    fn table_change(&mut self) -> Result<Change> {
        match self.word(0) {
            Some("add") => self.add(),
            Some("drop") => self.drop_column(),
            Some("alter") => self.alter_column(),
            Some("owner") => self.owner().map(|()| Change::Owner),
            Some("set") if self.symbol_ahead(1) == Some('(') => {
                self.advance();
                let options = self.properties()?;
                Ok(Change::Set(options.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect()))
            }
            Some("reset") if self.symbol_ahead(1) == Some('(') => {
                self.advance();
                Ok(Change::Reset(self.properties()?.into_iter().map(|(name, _)| name).collect()))
            }
            Some("set" | "enable" | "disable" | "force" | "no" | "inherit" | "cluster" | "replica" | "validate") => {
                self.other_clause()
            }
            _ => Err(self.unexpected()),
        }
    }

    fn add(&mut self) -> Result<Change> {
        self.expect("add")?;
        if matches!(self.word(0), Some("constraint" | "primary" | "unique" | "check" | "foreign" | "exclude")) {
            return self.other_clause();
        }
        self.eat("column");
        let mut if_not_exists = false;
        if self.are(&["if", "not", "exists"]) {
            self.expect_words(&["if", "not", "exists"])?;
            if_not_exists = true;
        }
        Ok(Change::Add { column: self.new_column()?, if_not_exists })
    }

    /// `(a, day(b), …)`.
    pub(in crate::sql::parse) fn parenthesised_exprs(&mut self) -> Result<Vec<Expr>> {
        self.expect_symbol('(')?;
        let all = self.expr_list()?;
        self.expect_symbol(')')?;
        Ok(all)
    }

    /// `(a, b DESC NULLS LAST, …)`.
    pub(in crate::sql::parse) fn parenthesised_order(&mut self) -> Result<Vec<OrderByExpr>> {
        self.expect_symbol('(')?;
        let all = self.list(Self::sort_key)?;
        self.expect_symbol(')')?;
        Ok(all)
    }

    /// columnDef, with the constraints that a column of ours can have.
    pub(in crate::sql::parse) fn new_column(&mut self) -> Result<NewColumn> {
        let name = self.column_name()?;
        let data_type = self.type_name()?;
        let (mut not_null, mut default, mut other) = (false, None, None);
        loop {
            match self.word(0) {
                Some("not") => {
                    self.expect_words(&["not", "null"])?;
                    not_null = true;
                }
                Some("null") => self.advance(),
                Some("default") => {
                    self.advance();
                    default = Some(self.bare_expr()?);
                }
                Some("collate") => {
                    self.advance();
                    self.any_name()?;
                }
                Some(word @ ("constraint" | "primary" | "unique" | "check" | "references" | "generated")) => {
                    self.other_clause()?;
                    other = Some(word);
                    break;
                }
                _ => break,
            }
        }
        Ok(NewColumn { name, data_type, not_null, default, other })
    }

    fn drop_column(&mut self) -> Result<Change> {
        self.expect("drop")?;
        if self.is("constraint") {
            return self.other_clause();
        }
        self.eat("column");
        let if_exists = self.if_exists()?;
        let column = self.column_name()?;
        // nothing stands on a column but what goes with it
        if !self.eat("cascade") {
            self.eat("restrict");
        }
        Ok(Change::Drop { column, if_exists })
    }

    fn alter_column(&mut self) -> Result<Change> {
        self.expect("alter")?;
        self.eat("column");
        let column = self.column_name()?;
        if self.eat("drop") {
            return Ok(match self.word(0) {
                Some("default") => {
                    self.advance();
                    Change::Default { column, to: None }
                }
                Some("not") => {
                    self.expect_words(&["not", "null"])?;
                    Change::NotNull { column, set: false }
                }
                _ => return self.other_clause(),
            });
        }
        if self.are(&["set", "not"]) {
            self.expect_words(&["set", "not", "null"])?;
            return Ok(Change::NotNull { column, set: true });
        }
        if self.are(&["set", "default"]) {
            self.expect_words(&["set", "default"])?;
            let to = Some(Box::new(self.expr()?));
            return Ok(Change::Default { column, to });
        }
        if self.is("type") || self.are(&["set", "data"]) {
            if self.eat("set") {
                self.expect("data")?;
            }
            self.expect("type")?;
            let to = self.type_name()?;
            if self.eat("collate") {
                self.any_name()?;
            }
            let computed = self.eat("using");
            if computed {
                self.expr()?;
            }
            return Ok(Change::Retype { column, to, computed });
        }
        match self.word(0) {
            Some("set" | "reset" | "add" | "restart") => self.other_clause(),
            _ => Err(self.unexpected()),
        }
    }

    fn owner(&mut self) -> Result<()> {
        self.expect_words(&["owner", "to"])?;
        match self.word(0) {
            Some("current_user" | "current_role" | "session_user") => {
                self.advance();
                Ok(())
            }
            _ => self.column_name().map(|_| ()),
        }
    }

    /// reloptions: `(a = 1, "b.c" = 'x', d)`.
    fn properties(&mut self) -> Result<Vec<(String, Option<String>)>> {
        self.expect_symbol('(')?;
        let all = self.list(|parser| {
            let mut name = parser.label()?;
            while parser.eat_symbol('.') {
                name = format!("{name}.{}", parser.label()?);
            }
            let value = if parser.is_operator("=") {
                parser.advance();
                Some(match parser.option_number() {
                    Some(number) => number,
                    None => parser.option_word()?,
                })
            } else {
                None
            };
            Ok((name, value))
        })?;
        self.expect_symbol(')')?;
        Ok(all)
    }

    /// A ColLabel, folded.
    fn label(&mut self) -> Result<String> {
        let name = self.name(Naming::Label)?;
        Ok(if name.quote_style.is_some() { name.value } else { name.value.to_lowercase() })
    }

    /// Something that there is not here: its first words, and what belongs to it is read over.
    fn other_clause(&mut self) -> Result<Change> {
        let mut words = vec![];
        let mut depth = 0usize;
        while !self.ends() && (depth > 0 || !(self.is_symbol(',') || self.is_symbol(')'))) {
            if self.is_symbol('(') {
                depth += 1;
            } else if self.is_symbol(')') {
                depth = depth.saturating_sub(1);
            }
            if words.len() < 3
                && let Some(word) = self.word(0)
            {
                words.push(word.to_uppercase());
            }
            self.advance();
        }
        match words.is_empty() {
            true => Err(self.unexpected()),
            false => Ok(Change::Other(words.join(" "))),
        }
    }
}
