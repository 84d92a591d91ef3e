//! INSERT, UPDATE, DELETE and MERGE: InsertStmt, UpdateStmt, DeleteStmt and MergeStmt of gram.y. MERGE has a RETURNING, as
//! later versions have it.

use std::ops::Range;

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, Query, Select, SelectItem, SetExpr, TableAlias, TableFactor, TableWithJoins, With,
};

use super::super::change::{
    Arbiter, Assignment, Change, Conflict, Filled, Insert, Overriding, Shape, Then, Verb, When,
};
use super::from::table;
use super::select::{bare, empty};
use super::{Naming, Parser};
use crate::error::{Error, Kind, Result};

/// The alias of an INSERT's rows.
const EXCLUDED: &str = "excluded";

/// The table that is changed.
struct Changed {
    target: ObjectName,
    at: usize,
    alias: Option<Ident>,
}

/// What is gathered into one query.
struct Parts {
    with: Option<With>,
    select: Select,
    target: ObjectName,
    at: usize,
    alias: Option<Ident>,
}

impl Parts {
    fn new(with: Option<With>, token: AttachedToken, table_: Changed) -> Self {
        let Changed { target, at, alias } = table_;
        let mut relation = table(target.clone(), None, false);
        if let TableFactor::Table { alias: shown, .. } = &mut relation {
            *shown = alias.clone().map(named);
        }
        let from = vec![TableWithJoins { relation, joins: vec![] }];
        Self { with, select: Select { from, ..empty(token) }, target, at, alias }
    }

    /// The number of an expression.
    fn put(&mut self, expr: Expr) -> usize {
        self.select.projection.push(SelectItem::UnnamedExpr(expr));
        self.select.projection.len() - 1
    }

    fn put_all(&mut self, exprs: Vec<Expr>) -> Range<usize> {
        let first = self.select.projection.len();
        self.select.projection.extend(exprs.into_iter().map(SelectItem::UnnamedExpr));
        first..self.select.projection.len()
    }

    fn finish(mut self, verb: Verb, returning: Option<Vec<SelectItem>>) -> Change {
        let returning = returning.map(|items| {
            let first = self.select.projection.len();
            self.select.projection.extend(items);
            first..self.select.projection.len()
        });
        let shape = Shape { verb, target: self.target, at: self.at, alias: self.alias, returning };
        let parts = Query { with: self.with, ..bare(SetExpr::Select(Box::new(self.select))) };
        Change { shape, parts: Box::new(parts) }
    }
}

impl Parser<'_> {
    /// Whether a statement that changes rows begins here, behind its WITH.
    pub(in crate::sql::parse) fn begins_change(&self) -> bool {
        matches!(self.word(0), Some("insert" | "update" | "delete" | "merge"))
    }

    pub(in crate::sql::parse) fn change(&mut self, with: Option<With>) -> Result<Change> {
        match self.word(0) {
            Some("insert") => self.insert(with),
            Some("update") => self.update(with),
            Some("delete") => self.delete(with),
            Some("merge") => self.merge(with),
            _ => Err(self.unexpected()),
        }
    }

    // --- INSERT

    fn insert(&mut self, with: Option<With>) -> Result<Change> {
        let token = self.attached();
        self.expect_words(&["insert", "into"])?;
        let at = self.place(self.at);
        let target = self.qualified_name()?;
        let alias = if self.eat("as") { Some(self.column_name()?) } else { None };
        let mut parts = Parts::new(with, token, Changed { target, at, alias });
        let (mut columns, mut overriding) = (vec![], None);
        if self.eat("default") {
            self.expect("values")?;
        } else {
            if self.is_symbol('(') && !self.starts_query() {
                self.expect_symbol('(')?;
                columns = self.list(Self::set_target)?;
                self.expect_symbol(')')?;
            }
            overriding = self.overriding()?;
            if self.word(0) == Some("default") || self.ends() {
                return Err(self.unexpected());
            }
            let source = TableFactor::Derived {
                lateral: false,
                subquery: Box::new(self.query()?),
                alias: Some(named(Ident::new(EXCLUDED))),
                sample: None,
            };
            parts.select.from.push(TableWithJoins { relation: source, joins: vec![] });
        }
        let conflict = self.conflict(&mut parts)?;
        let returning = self.returning()?;
        Ok(parts.finish(Verb::Insert(Insert { columns, conflict, overriding }), returning))
    }

    fn overriding(&mut self) -> Result<Option<Overriding>> {
        if !self.eat("overriding") {
            return Ok(None);
        }
        let whose = match (self.eat("user"), self.eat("system")) {
            (true, _) => Overriding::User,
            (false, true) => Overriding::System,
            (false, false) => return Err(self.unexpected()),
        };
        self.expect("value")?;
        Ok(Some(whose))
    }

    /// opt_on_conflict.
    fn conflict(&mut self, parts: &mut Parts) -> Result<Option<Conflict>> {
        let start = self.place(self.at);
        if !self.eat("on") {
            return Ok(None);
        }
        self.expect("conflict")?;
        let at = self.place(self.at);
        let on = if self.eat("on") {
            self.expect("constraint")?;
            Arbiter::Constraint(self.column_name()?)
        } else if self.eat_symbol('(') {
            let columns = self.list(Self::conflict_column)?;
            self.expect_symbol(')')?;
            if self.is("where") {
                return Err(Error::unsupported("ON CONFLICT over a partial index").at(self.place(self.at)));
            }
            Arbiter::Columns(columns)
        } else {
            Arbiter::Any
        };
        self.expect("do")?;
        if self.eat("nothing") {
            return Ok(Some(Conflict { on, at, update: None }));
        }
        self.expect_words(&["update", "set"])?;
        let update = self.assignments(parts)?;
        if self.eat("where") {
            parts.select.selection = Some(self.clause_expr()?);
        }
        if matches!(on, Arbiter::Any) {
            let text = "ON CONFLICT DO UPDATE requires inference specification or constraint name";
            let hint = "For example, ON CONFLICT (column_name).";
            return Err(Error::new(Kind::Syntax, text).with_hint(hint).at(start));
        }
        Ok(Some(Conflict { on, at, update: Some(update) }))
    }

    /// index_elem that is a column.
    fn conflict_column(&mut self) -> Result<Ident> {
        let at = self.place(self.at);
        if !self.names(Naming::Column, 0) {
            return match self.is_symbol('(') {
                true => Err(Error::unsupported("ON CONFLICT over an expression").at(at)),
                false => Err(self.unexpected()),
            };
        }
        let name = self.column_name()?;
        match self.is_symbol(',') || self.is_symbol(')') {
            true => Ok(name),
            false => Err(Error::unsupported("this form of ON CONFLICT").at(at)),
        }
    }

    // --- UPDATE and DELETE

    fn update(&mut self, with: Option<With>) -> Result<Change> {
        let token = self.attached();
        self.expect("update")?;
        let table = self.changed_table(true)?;
        let mut parts = Parts::new(with, token, table);
        self.expect("set")?;
        let set = self.assignments(&mut parts)?;
        if self.eat("from") {
            parts.select.from.extend(self.list(Self::table_reference)?);
        }
        parts.select.selection = self.where_or_current()?;
        let returning = self.returning()?;
        Ok(parts.finish(Verb::Update(set), returning))
    }

    fn delete(&mut self, with: Option<With>) -> Result<Change> {
        let token = self.attached();
        self.expect_words(&["delete", "from"])?;
        let table = self.changed_table(false)?;
        let mut parts = Parts::new(with, token, table);
        if self.eat("using") {
            parts.select.from.extend(self.list(Self::table_reference)?);
        }
        parts.select.selection = self.where_or_current()?;
        let returning = self.returning()?;
        Ok(parts.finish(Verb::Delete, returning))
    }

    /// relation_expr_opt_alias. `set_follows`: the word SET is no alias without AS.
    fn changed_table(&mut self, set_follows: bool) -> Result<Changed> {
        let at = self.place(self.at);
        let TableFactor::Table { name, .. } = self.relation()? else { return Err(self.unexpected()) };
        let explicit = self.eat("as");
        let is_set = set_follows && !explicit && self.is("set");
        let alias = if explicit || !is_set && self.names(Naming::Column, 0) { Some(self.column_name()?) } else { None };
        Ok(Changed { target: name, at, alias })
    }

    fn where_or_current(&mut self) -> Result<Option<Expr>> {
        if !self.eat("where") {
            return Ok(None);
        }
        if self.are(&["current", "of"]) {
            return Err(Error::unsupported("WHERE CURRENT OF").at(self.place(self.at)));
        }
        self.clause_expr().map(Some)
    }

    /// set_clause_list.
    fn assignments(&mut self, parts: &mut Parts) -> Result<Vec<Assignment>> {
        let mut all = vec![];
        loop {
            let several = self.eat_symbol('(');
            let columns = if several { self.list(Self::set_target)? } else { vec![self.set_target()?] };
            if several {
                self.expect_symbol(')')?;
            }
            if !self.is_operator("=") {
                return Err(self.unexpected());
            }
            self.advance();
            let at = self.place(self.at);
            let value = parts.put(self.expr()?);
            all.push(Assignment { columns, at, several, value });
            if !self.eat_symbol(',') {
                return Ok(all);
            }
        }
    }

    /// set_target, and a column of an INSERT.
    fn set_target(&mut self) -> Result<Filled> {
        let name = self.column_name()?;
        let part = self.is_symbol('.') || self.is_symbol('[');
        if part {
            self.indirection(Expr::Identifier(name.clone()))?;
        }
        Ok(Filled { name, part })
    }

    fn returning(&mut self) -> Result<Option<Vec<SelectItem>>> {
        if !self.eat("returning") {
            return Ok(None);
        }
        self.list(Self::target).map(Some)
    }

    // --- MERGE

    fn merge(&mut self, with: Option<With>) -> Result<Change> {
        let token = self.attached();
        self.expect_words(&["merge", "into"])?;
        let table = self.changed_table(false)?;
        let mut parts = Parts::new(with, token, table);
        self.expect("using")?;
        let source = self.table_reference()?;
        parts.select.from.push(source);
        self.expect("on")?;
        parts.select.selection = Some(self.clause_expr()?);
        let mut whens = vec![self.when(&mut parts)?];
        while self.is("when") {
            whens.push(self.when(&mut parts)?);
        }
        let returning = self.returning()?;
        Ok(parts.finish(Verb::Merge(whens), returning))
    }

    /// merge_when_clause.
    fn when(&mut self, parts: &mut Parts) -> Result<When> {
        self.expect("when")?;
        let matched = !self.eat("not");
        self.expect("matched")?;
        let condition = match self.eat("and") {
            true => Some(parts.put(self.expr()?)),
            false => None,
        };
        self.expect("then")?;
        let then = match (self.word(0), matched) {
            (Some("do"), _) => {
                self.advance();
                self.expect("nothing")?;
                Then::Nothing
            }
            (Some("update"), true) => {
                self.advance();
                self.expect("set")?;
                Then::Update(self.assignments(parts)?)
            }
            (Some("delete"), true) => {
                self.advance();
                Then::Delete
            }
            (Some("insert"), false) => {
                self.advance();
                self.merge_insert(parts)?
            }
            _ => return Err(self.unexpected()),
        };
        Ok(When { matched, condition, then })
    }

    fn merge_insert(&mut self, parts: &mut Parts) -> Result<Then> {
        if self.eat("default") {
            self.expect("values")?;
            return Ok(Then::Insert { columns: vec![], values: None, overriding: None });
        }
        let mut columns = vec![];
        if self.eat_symbol('(') {
            columns = self.list(Self::set_target)?;
            self.expect_symbol(')')?;
        }
        let overriding = self.overriding()?;
        self.expect("values")?;
        self.expect_symbol('(')?;
        let values = parts.put_all(self.expr_list()?);
        self.expect_symbol(')')?;
        Ok(Then::Insert { columns, values: Some(values), overriding })
    }
}

fn named(name: Ident) -> TableAlias {
    TableAlias { explicit: true, name, columns: vec![], at: None }
}
