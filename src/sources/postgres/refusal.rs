//! What a source says against a change, as whoever asked for it may be told: its SQLSTATE always, its words and the names in
//! them where they are about a table that is seen whole, values of rows never to anybody else. It judges nobody's rights.

use tokio_postgres::error::{DbError, SqlState};

use super::connect::{Pool, is_gone, unreachable};
use crate::error::{Error, Kind};
use crate::types::TableName;

/// The table that a statement changes.
pub(super) struct Of<'a> {
    /// As the source calls it.
    pub(super) remote: &'a TableName,
    /// Whoever asks may read all of it.
    pub(super) sees_all: bool,
    /// Whether a column may be named to them: the statement fills it.
    pub(super) names: &'a (dyn Fn(&str) -> bool + Sync),
}

/// `of`: `None` where it may be about any table.
pub(super) fn refused(pool: &Pool, error: tokio_postgres::Error, of: Option<&Of<'_>>) -> Error {
    let Some(theirs) = error.as_db_error() else { return unreachable(pool.source()).with_source(error) };
    if is_gone(theirs.code()) {
        return unreachable(pool.source()).with_source(error);
    }
    told(pool.source(), theirs, of).with_source(error)
}

fn told(source: &str, theirs: &DbError, of: Option<&Of<'_>>) -> Error {
    let code = theirs.code();
    let is_conflict = [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED].contains(code);
    let kind = if is_conflict { Kind::Conflict } else { Kind::SourceFailed };
    let in_words = |words: String| Error::new(kind, words).with_sqlstate(code.code());
    if is_conflict {
        // of the server's own making, and without a value
        return in_words(theirs.message().to_owned());
    }
    let is_about = |of: &Of<'_>| {
        theirs.schema() == Some(of.remote.schema.as_str()) && theirs.table() == Some(of.remote.table.as_str())
    };
    let own = of.filter(|of| is_about(of));
    let table = own.map(|of| of.remote.table.as_str());
    let whole = own.is_some_and(|of| of.sees_all);
    match *code {
        SqlState::NOT_NULL_VIOLATION => match (table, theirs.column()) {
            (Some(table), Some(column)) if whole || own.is_some_and(|of| (of.names)(column)) => {
                let words =
                    format!("null value in column \"{column}\" of relation \"{table}\" violates not-null constraint");
                in_words(words)
            }
            (Some(_) | None, _) => in_words(violates("a not-null constraint", table)),
        },
        SqlState::UNIQUE_VIOLATION | SqlState::CHECK_VIOLATION | SqlState::EXCLUSION_VIOLATION if whole => {
            let error = in_words(theirs.message().to_owned());
            // that of a check is the whole row
            match theirs.detail().filter(|_| *code != SqlState::CHECK_VIOLATION) {
                Some(detail) => error.with_detail(detail),
                None => error,
            }
        }
        // its detail names the other table, of which nothing is known here
        SqlState::FOREIGN_KEY_VIOLATION if whole => in_words(theirs.message().to_owned()),
        SqlState::UNIQUE_VIOLATION => in_words(violates("a unique constraint", table)),
        SqlState::CHECK_VIOLATION => in_words(violates("a check constraint", table)),
        SqlState::EXCLUSION_VIOLATION => in_words(violates("an exclusion constraint", table)),
        SqlState::FOREIGN_KEY_VIOLATION => in_words(violates("a foreign key constraint", table)),
        SqlState::INSUFFICIENT_PRIVILEGE => {
            in_words(format!("source \"{source}\" does not let its own role change this"))
        }
        SqlState::QUERY_CANCELED => in_words(format!("source \"{source}\" canceled the statement")),
        SqlState::READ_ONLY_SQL_TRANSACTION => in_words(format!("source \"{source}\" can only be read")),
        // about the statement's own row, or what a trigger means whoever writes to be told: what else fails in one may be
        // about any table
        _ => match of.filter(|of| of.sees_all) {
            Some(_) if theirs.where_().is_none() || *code == SqlState::RAISE_EXCEPTION => {
                in_words(theirs.message().to_owned())
            }
            Some(_) | None => in_words(format!("source \"{source}\" refused the change")),
        },
    }
}

fn violates(what: &str, table: Option<&str>) -> String {
    match table {
        Some(table) => format!("a row violates {what} of relation \"{table}\""),
        None => format!("a row violates {what}"),
    }
}

/// 40001 for rows that are not there any more as they were read.
pub(super) fn overtaken() -> Error {
    Error::new(Kind::Conflict, "could not serialize access due to concurrent update")
}
