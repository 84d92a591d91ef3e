//! INSERT, UPDATE, DELETE and MERGE as they are written. All that they compute and read stands in one query, `parts`, so
//! that whoever measures, copies or searches a statement need know no second kind of tree; what is which there is said
//! beside it. It is never run as it stands.

use std::ops::Range;

use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName, Query, Select, SelectItem, SetExpr, TableWithJoins};

use crate::error::{Error, Result};

/// A statement that changes a table's rows.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) shape: Shape,
    /// `WITH … SELECT expressions, RETURNING FROM target, others WHERE condition`. The source of an INSERT is the other
    /// table, by the name `excluded`; the condition is that of WHERE, of DO UPDATE, or MERGE's ON.
    pub(crate) parts: Box<Query>,
}

/// What its parts are.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) verb: Verb,
    pub(crate) target: ObjectName,
    /// One-based character position of its name.
    pub(crate) at: usize,
    pub(crate) alias: Option<Ident>,
    /// Which of the select list are RETURNING's.
    pub(crate) returning: Option<Range<usize>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Verb {
    Insert(Insert),
    Update(Vec<Assignment>),
    Delete,
    Merge(Vec<When>),
}

impl Verb {
    /// As command tags and errors have it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Insert(_) => "INSERT",
            Self::Update(_) => "UPDATE",
            Self::Delete => "DELETE",
            Self::Merge(_) => "MERGE",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Insert {
    /// None are all, from the left. Where the statement has no source, each has its default.
    pub(crate) columns: Vec<Filled>,
    pub(crate) conflict: Option<Conflict>,
    pub(crate) overriding: Option<Overriding>,
}

/// OVERRIDING: whose value an identity column gets where the statement has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overriding {
    /// Its own, whatever is given.
    User,
    /// The one that is given.
    System,
}

/// ON CONFLICT.
#[derive(Clone, Debug)]
pub(crate) struct Conflict {
    pub(crate) on: Arbiter,
    /// Of what stands behind ON CONFLICT.
    pub(crate) at: usize,
    /// `None`: DO NOTHING.
    pub(crate) update: Option<Vec<Assignment>>,
}

/// Which key it is about.
#[derive(Clone, Debug)]
pub(crate) enum Arbiter {
    Any,
    Columns(Vec<Ident>),
    Constraint(Ident),
}

/// A column that gets a value.
#[derive(Clone, Debug)]
pub(crate) struct Filled {
    pub(crate) name: Ident,
    /// Only a field or an element of it.
    pub(crate) part: bool,
}

/// `column = …`, or `(columns) = …`.
#[derive(Clone, Debug)]
pub(crate) struct Assignment {
    pub(crate) columns: Vec<Filled>,
    /// Of the value.
    pub(crate) at: usize,
    /// Written with parentheses.
    pub(crate) several: bool,
    /// Which of the select list it is.
    pub(crate) value: usize,
}

/// One WHEN of a MERGE.
#[derive(Clone, Debug)]
pub(crate) struct When {
    pub(crate) matched: bool,
    /// Which of the select list it is.
    pub(crate) condition: Option<usize>,
    pub(crate) then: Then,
}

#[derive(Clone, Debug)]
pub(crate) enum Then {
    Nothing,
    Delete,
    Update(Vec<Assignment>),
    /// `values` are of the select list; `None`: DEFAULT VALUES.
    Insert {
        columns: Vec<Filled>,
        values: Option<Range<usize>>,
        overriding: Option<Overriding>,
    },
}

impl Change {
    fn select(&self) -> Result<&Select> {
        match self.parts.body.as_ref() {
            SetExpr::Select(select) => Ok(select),
            _ => Err(Error::internal("a statement's parts are no SELECT")),
        }
    }

    /// The expression of that number.
    pub(crate) fn expr(&self, number: usize) -> Result<&Expr> {
        match self.select()?.projection.get(number) {
            Some(SelectItem::UnnamedExpr(expr)) => Ok(expr),
            _ => Err(Error::internal("a statement has no expression of that number")),
        }
    }

    pub(crate) fn returning(&self) -> Result<Option<&[SelectItem]>> {
        let Some(range) = self.shape.returning.clone() else { return Ok(None) };
        let found = self.select()?.projection.get(range);
        found.map(Some).ok_or_else(|| Error::internal("a statement without its RETURNING"))
    }

    /// FROM, USING, or an INSERT's source.
    pub(crate) fn others(&self) -> Result<&[TableWithJoins]> {
        Ok(self.select()?.from.get(1..).unwrap_or_default())
    }

    pub(crate) fn condition(&self) -> Result<Option<&Expr>> {
        Ok(self.select()?.selection.as_ref())
    }
}

/// DEFAULT in the place of a value.
pub(crate) fn is_default(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("default"))
}
