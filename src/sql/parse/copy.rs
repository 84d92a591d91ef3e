//! COPY as it is written. sqlparser's tree knows neither its options nor its WHERE, so it has a tree of its own; what the
//! options mean is `engine`'s.

use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName, Query};

#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) source: Source,
    pub(crate) direction: Direction,
    pub(crate) end: End,
    /// In the order in which they are written, whichever of the two syntaxes it was.
    pub(crate) options: Vec<CopyOption>,
    /// WHERE, of a COPY FROM.
    pub(crate) filter: Option<Expr>,
}

/// What is copied.
#[derive(Debug)]
pub(crate) enum Source {
    Table {
        name: ObjectName,
        /// None are all.
        columns: Vec<Ident>,
        /// The same rows as a query: `SELECT * FROM name`.
        query: Box<Query>,
    },
    Query(Box<Query>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    To,
    From,
}

/// The other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// STDIN and STDOUT: whoever sent the statement.
    Client,
    /// Of the server.
    File,
    Program,
}

#[derive(Debug)]
pub(crate) struct CopyOption {
    /// As a name is folded.
    pub(crate) name: String,
    pub(crate) value: OptionValue,
    /// One-based character position in the statement.
    pub(crate) at: usize,
}

#[derive(Debug, PartialEq)]
pub(crate) enum OptionValue {
    Missing,
    Text(String),
    /// As it is written.
    Number(String),
    Star,
    List(Vec<String>),
}

impl Copy {
    /// The query inside.
    pub(crate) fn query_mut(&mut self) -> &mut Box<Query> {
        match &mut self.source {
            Source::Table { query, .. } | Source::Query(query) => query,
        }
    }
}
