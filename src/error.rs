//! The one error of the crate: a [`Kind`] named for what the reader can do, a message safe to show to a stranger, and a
//! hidden source. It does not format for any protocol; `wire` does.

mod datafusion;
mod sqlstate;

use std::error::Error as StdError;
use std::fmt;

pub use sqlstate::Kind;

/// The result of everything fallible in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, for whom it went wrong, and what can be done.
///
/// `message`, `detail`, `hint` and `context` go to clients: never host names, paths, other people's values or SQL. Those go to
/// `source`, which is logged and never sent.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    position: Option<usize>,
    context: Option<String>,
    about: Option<About>,
    /// Another's, instead of the kind's.
    sqlstate: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The column whose constraint is violated, the `s`, `t` and `c` fields of an ErrorResponse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    pub schema: String,
    pub table: String,
    pub column: String,
}

impl Error {
    /// `message` follows PostgreSQL's wording where it has one: clients match on it.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let (detail, hint, position, context, about) = (None, None, None, None, None);
        let (sqlstate, source, message) = (None, None, message.into());
        Self(Box::new(Inner { kind, message, detail, hint, position, context, about, sqlstate, source }))
    }

    /// A broken invariant of ours: XX000. The text is for the log; clients read a fixed sentence.
    pub fn internal(what: impl Into<String>) -> Self {
        Self::new(Kind::Internal, "internal error").with_source(what.into())
    }

    pub fn unsupported(what: impl fmt::Display) -> Self {
        Self::new(Kind::Unsupported, format!("{what} is not supported"))
    }

    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// One-based character position in the statement, the `P` field of an ErrorResponse.
    pub fn at(mut self, position: usize) -> Self {
        self.0.position = Some(position);
        self
    }

    /// For what was not written where it stands.
    pub(crate) fn without_position(mut self) -> Self {
        self.0.position = None;
        self
    }

    /// Where it came up, the `W` field of an ErrorResponse: `COPY t, line 3, column a: "x"`.
    pub fn in_context(mut self, context: impl Into<String>) -> Self {
        self.0.context = Some(context.into());
        self
    }

    /// The SQLSTATE of whoever raised it, for what is passed on in their words. Nothing but five capitals and digits is taken.
    pub(crate) fn with_sqlstate(mut self, code: &str) -> Self {
        let is_code = code.len() == 5 && code.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
        self.0.sqlstate = is_code.then(|| code.to_owned());
        self
    }

    pub fn about(mut self, schema: &str, table: &str, column: &str) -> Self {
        let (schema, table, column) = (schema.to_owned(), table.to_owned(), column.to_owned());
        self.0.about = Some(About { schema, table, column });
        self
    }

    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error in other words.
    pub(crate) fn map_message(mut self, words: impl FnOnce(&str) -> String) -> Self {
        self.0.message = words(&self.0.message);
        self
    }

    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What a client matches on.
    pub fn sqlstate(&self) -> &str {
        self.0.sqlstate.as_deref().unwrap_or_else(|| self.0.kind.sqlstate())
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    pub fn position(&self) -> Option<usize> {
        self.0.position
    }

    pub fn column(&self) -> Option<&About> {
        self.0.about.as_ref()
    }

    pub fn context(&self) -> Option<&str> {
        self.0.context.as_deref()
    }
}

/// One line for people: the message and, for the log, the chain of sources.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(detail) = &self.0.detail {
            write!(f, ": {detail}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}: {self}", self.0.kind, self.sqlstate())?;
        if let Some(hint) = &self.0.hint {
            write!(f, " (hint: {hint})")?;
        }
        let mut source = self.source();
        while let Some(s) = source {
            write!(f, " <- {s}")?;
            source = s.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|s| s as &(dyn StdError + 'static))
    }
}
