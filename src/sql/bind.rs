//! AST → typed query: names to columns, literals to values, operators and functions to rows of pg_proc, as PostgreSQL's
//! parse analysis does it (parser/analyze.c and parse_*.c). It computes nothing and reads no table.

mod call;
mod cte;
mod dialect;
mod expr;
mod from;
mod group;
mod literal;
mod name;
mod order;
mod scope;
mod select;
mod setop;
mod special;
mod subquery;
mod type_name;
mod window;

use std::cell::Cell;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::logical_expr::TableSource;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::{Location, Span};

use super::expr::{ColumnId, Expr};
use super::query::{Column, CteId, Query};
use super::resolve::Context;
use crate::error::{Error, Result};
use crate::pgtype::Ty;

use scope::Scope;

/// From where a query's tables come.
pub(crate) trait Relations {
    /// A table by one, two or three segments, the last of them its own name. `None`: there is none that may be seen.
    fn find(&self, path: &[&str]) -> Result<Option<Found>>;
}

/// A table of the catalog.
pub(crate) struct Found {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) table: Arc<dyn TableSource>,
}

/// A column of a table that a query's rows are stored in.
#[derive(Clone, Debug)]
pub(crate) struct StoredAs {
    pub(crate) name: String,
    pub(crate) ty: Ty,
    pub(crate) data_type: DataType,
}

/// A statement's text and where its tables come from.
pub(crate) struct Binder<'a> {
    relations: &'a dyn Relations,
    cx: Context<'a>,
    text: &'a str,
    columns: Cell<usize>,
    ctes: Cell<usize>,
}

impl<'a> Binder<'a> {
    /// `text` is what `query` was parsed from; positions in errors count its characters.
    pub(crate) fn new(relations: &'a dyn Relations, cx: Context<'a>, text: &'a str) -> Self {
        Self { relations, cx, text, columns: Cell::new(0), ctes: Cell::new(0) }
    }

    /// A whole query. Untyped literals among its columns become text.
    pub(crate) fn bind(&self, query: &ast::Query) -> Result<Query> {
        super::fold::folded(self.query(query, &Scope::root(), true)?, self.cx.env)
    }

    /// A query whose columns are assigned to a table's, the first ones of `into`: 42804 where a type cannot be. Columns that
    /// it has beyond those stay as they are, for the caller to refuse.
    pub(crate) fn bind_stored(&self, query: &ast::Query, into: &[StoredAs]) -> Result<Query> {
        super::fold::folded(self.stored(query, into, &Scope::root())?, self.cx.env)
    }

    fn column_id(&self) -> ColumnId {
        let id = self.columns.get();
        self.columns.set(id + 1);
        ColumnId(id)
    }

    fn cte_id(&self) -> CteId {
        let id = self.ctes.get();
        self.ctes.set(id + 1);
        CteId(id)
    }

    /// A new column that holds what `expr` gives.
    fn column_of(&self, name: impl Into<String>, expr: &Expr) -> Column {
        Column { id: self.column_id(), name: name.into(), ty: expr.ty, data_type: expr.data_type.clone() }
    }

    /// One-based character position of the start of a span; 0 where it is not known.
    fn at(&self, span: Span) -> usize {
        self.position(span.start).unwrap_or(0)
    }

    fn at_of(&self, node: &impl ast::Spanned) -> usize {
        self.at(node.span())
    }

    fn position(&self, at: Location) -> Option<usize> {
        if at.line == 0 || self.text.is_empty() {
            return None;
        }
        let before: usize =
            self.text.split_inclusive('\n').take((at.line - 1) as usize).map(|line| line.chars().count()).sum();
        Some(before + at.column as usize)
    }

    /// Where the operator after an operand stands: the first character behind it that is no blank.
    fn after(&self, operand: &impl ast::Spanned) -> usize {
        let Some(end) = self.position(operand.span().end) else { return 0 };
        // the end of a span is one past its last character
        let rest = self.text.chars().skip(end.saturating_sub(1));
        let blanks = rest.take_while(|c| c.is_whitespace() || *c == ')').count();
        end + blanks
    }
}

impl Column {
    /// A reference to this column.
    pub(crate) fn expr(&self, at: usize) -> Expr {
        Expr::lying(super::expr::Kind::Column(self.id), self.ty, self.data_type.clone(), at)
    }
}

/// What PostgreSQL's grammar does not have.
fn syntax_error(near: &str, at: usize) -> Error {
    Error::new(crate::error::Kind::Syntax, format!("syntax error at or near \"{near}\"")).at(at)
}
