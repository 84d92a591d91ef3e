//! AST → typed query: names to columns, literals to values, operators and functions to rows of pg_proc, as PostgreSQL's
//! parse analysis does it (parser/analyze.c and parse_*.c). It computes nothing and reads no table.

mod call;
mod change;
mod collation;
mod cte;
mod definition;
mod dialect;
mod expr;
mod fixed;
mod from;
mod group;
mod literal;
mod lock;
mod name;
mod order;
mod recursion;
mod sample;
mod scope;
mod search;
mod select;
mod setop;
mod source_query;
mod special;
mod subquery;
mod type_name;
mod version;
mod window;

use std::cell::Cell;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::logical_expr::TableSource;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::{Location, Span};

use super::expr::{ColumnId, Expr};
use super::query::{Column, CteId, LevelId, Query};
use super::resolve::Context;
use crate::error::{Error, Result};
use crate::pgtype::Ty;
use crate::types::AsOf;

pub(crate) use change::{Act, Acts, Changed, Identity, Later, Layout, Target, TargetColumn, TargetKey};
pub(crate) use fixed::quote_identifier;
pub(crate) use from::canonical;
use scope::Scope;
pub(crate) use source_query::QUERY_FUNCTION;

/// From where a query's tables come.
pub(crate) trait Relations {
    /// A table by one, two or three segments, the last of them its own name. `None`: there is none that may be seen.
    /// As it was `at` a version; 0A000 where it has none.
    fn find(&self, path: &[&str], at: Option<&AsOf>) -> Result<Option<Found>>;

    /// A query that a name stands for, in whose place it is read as if it were written there. Looked for first.
    fn query(&self, _: &[&str]) -> Result<Option<Named>> {
        Ok(None)
    }

    /// What a source answers to a text that it runs as it stands. 42501 where that may not be.
    fn source_query(&self, _source: &str, _text: &str) -> Result<Answer> {
        Err(Error::unsupported(format!("{QUERY_FUNCTION} in a query that is kept")))
    }

    /// A query of the server's own for a call in FROM, whose name is no function of the language.
    fn called(&self, _: &[&str], _: &[ast::FunctionArg]) -> Result<Option<Named>> {
        Ok(None)
    }
}

/// The rows of a text.
pub(crate) struct Answer {
    pub(crate) table: Arc<dyn TableSource>,
    /// Of its columns, as the source has them: two may have one.
    pub(crate) names: Vec<String>,
}

/// A table of the catalog.
pub(crate) struct Found {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) table: Arc<dyn TableSource>,
    /// `tableoid` of its rows.
    pub(crate) oid: u32,
    pub(crate) is_materialized: bool,
}

/// A query under a name, with names for its columns. All names in it have their schemas.
pub(crate) struct Named {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) columns: Vec<String>,
    pub(crate) query: Box<ast::Query>,
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
    lines: Vec<Line>,
    ascii: bool,
    columns: Cell<usize>,
    ctes: Cell<usize>,
    levels: Cell<usize>,
    /// Of a query whose text is kept.
    notes: Option<fixed::Notes>,
}

impl<'a> Binder<'a> {
    /// `text` is what `query` was parsed from; positions in errors count its characters.
    pub(crate) fn new(relations: &'a dyn Relations, cx: Context<'a>, text: &'a str) -> Self {
        Self {
            relations,
            cx,
            text,
            lines: lines(text),
            ascii: text.is_ascii(),
            columns: Cell::new(0),
            ctes: Cell::new(0),
            levels: Cell::new(0),
            notes: None,
        }
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

    fn level_id(&self) -> LevelId {
        let id = self.levels.get();
        self.levels.set(id + 1);
        LevelId(id)
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
        let line = usize::try_from(at.line).ok()?.checked_sub(1)?;
        let before = self.lines.get(line).filter(|_| !self.text.is_empty())?;
        Some(before.characters + usize::try_from(at.column).ok()?)
    }

    /// Where that text stands next, in either case.
    fn before(&self, text: &str, at: usize) -> usize {
        let rest = self.text.char_indices().nth(at.saturating_sub(1)).and_then(|(start, _)| self.text.get(start..));
        let rest = rest.unwrap_or_default().to_ascii_lowercase();
        at + rest.find(text).and_then(|found| rest.get(..found)).map_or(0, |between| between.chars().count())
    }

    /// Where the operator after an operand stands: the first character behind it that is no blank.
    fn after(&self, operand: &impl ast::Spanned) -> usize {
        let place = operand.span().end;
        let Some(end) = self.position(place) else { return 0 };
        let line = usize::try_from(place.line).ok().and_then(|line| self.lines.get(line.checked_sub(1)?));
        let Some(rest) = line.and_then(|line| self.text.get(line.bytes..)) else { return end };
        // the end of a span is one past its last character
        let column = usize::try_from(place.column).unwrap_or(usize::MAX).saturating_sub(1);
        let rest = match self.ascii {
            true => rest.get(column..).unwrap_or_default(),
            false => rest.char_indices().nth(column).map_or("", |(at, _)| &rest[at..]),
        };
        end + rest.chars().take_while(|c| c.is_whitespace() || *c == ')').count()
    }
}

/// Where a line of the text starts.
struct Line {
    bytes: usize,
    characters: usize,
}

fn lines(text: &str) -> Vec<Line> {
    let mut all = vec![Line { bytes: 0, characters: 0 }];
    let (mut bytes, mut characters) = (0, 0);
    for line in text.split_inclusive('\n') {
        bytes += line.len();
        characters += line.chars().count();
        if line.ends_with('\n') {
            all.push(Line { bytes, characters });
        }
    }
    all
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
