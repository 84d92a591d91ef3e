//! Statements about reflections, as they are written. What a reflection holds is kept as the text of one query, put together
//! of the parts that its definition names; that each part is of the language has been seen. What its names mean is not.

use datafusion::sql::sqlparser::ast::{Expr, Ident, OrderByExpr};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug)]
pub(crate) enum Reflection {
    Create(Box<Create>),
    Alter { name: Ident, if_exists: bool, change: Change },
    Drop { name: Ident, if_exists: bool },
    Refresh(Ident),
}

#[derive(Clone, Debug)]
pub(crate) struct Create {
    /// The statement as it is written.
    pub(crate) text: String,
    pub(crate) name: Ident,
    pub(crate) if_not_exists: bool,
    pub(crate) query: Text,
    pub(crate) partitioned_by: Vec<Expr>,
    pub(crate) sorted_by: Vec<OrderByExpr>,
    pub(crate) refresh: Refresh,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    Sum,
    Count,
    Min,
    Max,
}

/// When what is stored is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refresh {
    /// Where a table has moved by then; in microseconds.
    Every(i64),
    /// Soon after a table has moved.
    OnCommit,
    /// When it is asked for.
    Manual,
}

impl Default for Refresh {
    fn default() -> Self {
        Self::Every(5 * 60 * 1_000_000)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Refresh(Refresh),
    Enabled(bool),
}

/// A query that was put together of parts of a statement.
#[derive(Clone, Debug, Default)]
pub(crate) struct Text {
    pub(crate) sql: String,
    /// Where each part begins, in characters: here, and in the statement.
    pub(crate) parts: Vec<(usize, usize)>,
}

impl Text {
    /// The place in the statement of a place in the query, both from 1.
    pub(crate) fn place(&self, at: usize) -> usize {
        let at = at.saturating_sub(1);
        let before = self.parts.iter().rev().find(|(here, _)| *here <= at);
        before.map_or(1, |(here, there)| there + (at - here) + 1)
    }
}

impl std::fmt::Display for Refresh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Manual => f.write_str("MANUAL"),
            Self::OnCommit => f.write_str("ON COMMIT"),
            Self::Every(micros) => {
                let units = [("DAY", 86_400_000_000), ("HOUR", 3_600_000_000), ("MINUTE", 60_000_000)];
                let whole = units.into_iter().find(|(_, length)| micros % length == 0);
                let (unit, length) = whole.unwrap_or(("SECOND", 1_000_000));
                write!(f, "EVERY {} {unit}", micros / length)
            }
        }
    }
}

#[cfg(test)]
mod tests;
