//! What a client is told of files that are not what they should be. A folder's name holds values of rows, so that what
//! may be raised above a policy's barrier, or keeps its text there, names the table alone: the file is for the log. It
//! judges no file.

use std::error::Error as StdError;
use std::fmt;

use crate::error::{Error, Kind};
use crate::types::TableName;

type Why = Box<dyn StdError + Send + Sync>;

/// Of a file's record, only ever raised while it is read: below the barrier, which keeps it from whoever does not see all.
pub(super) fn fault(name: &str, line: Option<u64>, what: impl fmt::Display) -> Error {
    let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
    Error::new(Kind::InvalidText, format!("file \"{name}\"{line}: {what}"))
}

/// Of a file, wherever it is raised.
pub(super) fn of_table(table: &TableName, kind: Kind, what: impl fmt::Display, file: &str, why: Option<Why>) -> Error {
    Error::new(kind, format!("a file of table {table} {what}")).with_source(InFile { name: file.to_owned(), why })
}

/// The statement would mix two states of the file.
pub(super) fn gone(table: &TableName, file: &str, why: impl Into<Why>) -> Error {
    let what = "was changed or removed while it was read";
    of_table(table, Kind::DataGone, what, file, Some(why.into())).with_hint("Run the statement again.")
}

/// Which file, for the log.
#[derive(Debug)]
pub(super) struct InFile {
    pub(super) name: String,
    pub(super) why: Option<Why>,
}

impl fmt::Display for InFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file \"{}\"", self.name)
    }
}

impl StdError for InFile {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.why.as_deref().map(|why| why as &(dyn StdError + 'static))
    }
}
