//! Who may see what. Tables are sealed when a name resolves to them ([`Sealed`]); only [`guard`] opens one, by the
//! [`Grant`] that [`SessionPolicy::decide`] gives; what it returns, [`Guarded`], is all that the engine runs.
//!
//! Policy knows neither catalog nor sources: raw schemas come in as [`Object`]s.

pub mod barrier;
pub mod baseline;
mod body;
pub mod check;
pub mod compile;
pub mod decide;
mod enforce;
pub mod explain;
pub mod file;
pub mod guard;
mod infallible;
pub mod judge;
pub mod language;
pub mod leaf;
pub mod matrix;
pub mod narrows;
mod new_rows;
pub mod open;
pub(crate) mod own;
pub mod past;
pub mod scram;
pub mod seal;
pub mod stored;
mod system;
pub mod user;
pub mod verify;
pub mod watch;

#[cfg(test)]
mod fixture;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::logical_expr::Expr;
use serde::{Deserialize, Serialize};

use crate::types::{ObjectId, TableName};

pub use compile::Policies;
pub use decide::SessionPolicy;
pub use guard::{Guarded, guard};
pub use new_rows::NewRows;
pub use past::Past;
pub use seal::{OwnRows, Query, Sealed};
pub use system::{Equal, SystemRows};

/// `[policy]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long Casbin is asked about a policy before it comes into force, once it has read it. What there is no time for is a sample; changed lines
    /// come first. 0: Casbin is not asked.
    pub judge_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { judge_ms: 100 }
    }
}

/// Somebody who proved who they are. Made by [`Policies::principal`] alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal {
    pub(in crate::policy) user: Arc<str>,
    /// In whose place it asks: it has the rights that both have.
    pub(in crate::policy) acts_for: Option<Arc<str>>,
}

impl Principal {
    pub fn user(&self) -> &str {
        &self.user
    }

    pub fn acts_for(&self) -> Option<&str> {
        self.acts_for.as_deref()
    }

    /// The same, in the place of another user or as one of its roles. Whether it may is asked whenever it asks for something
    /// ([`Policies::session`]).
    pub fn acting_for(&self, name: Option<&str>) -> Self {
        Self { user: Arc::clone(&self.user), acts_for: name.map(Arc::from) }
    }
}

/// What one may do to an object (policy.csv, third field of a `p` line).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    Select,
    Insert,
    Update,
    Delete,
    Create,
    Drop,
    Refresh,
    /// To rewrite its files and let its history expire: what is read by it nobody is shown.
    Maintain,
    /// To have a source run a text of one's own: everything there that its role may read, past every rule about tables.
    Query,
}

/// Something a policy line can be about, as the catalog found it.
#[derive(Clone, Debug)]
pub struct Object {
    pub id: ObjectId,
    pub name: TableName,
    /// Raw columns, true nullability.
    pub schema: SchemaRef,
    /// What tells each column, and each field within it, from a later one of its name.
    pub column_ids: Vec<Vec<String>>,
    /// Columns no `*` covers.
    pub raw_columns: BTreeSet<String>,
    pub kind: ObjectKind,
}

/// Kinds differ in what a `*` grant covers and in how a scan is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    Table,
    /// A named query; its inside is planned with its owner's rights.
    Dataset,
    /// Dead letters and their like: a line of their own or nothing.
    Metadata,
    /// `t$snapshots` and its kin, which need a line of their own too, and a right to the table: to all of it where their
    /// rows tell values of it.
    MetadataOf {
        table: ObjectId,
        values: bool,
    },
}

/// Where a rule stands, for explanations and the audit line: `policy.csv:12`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line {
    pub file: Arc<str>,
    pub line: u32,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What one principal may see of one object. `filter` and `masks` speak of raw columns, attributes already bound.
#[derive(Clone, Debug, Default)]
pub struct Grant {
    /// TRUE keeps the row; NULL and FALSE hide it.
    pub filter: Option<Expr>,
    /// Column → an expression of the column's own type over raw columns of the same row.
    pub masks: BTreeMap<String, Expr>,
    /// Columns absent from the session's schema.
    pub hidden: BTreeSet<String>,
    /// Of `hidden`, those a deny line names: naming one in a statement answers 42501 instead of 42703.
    pub denied: BTreeSet<String>,
    /// Every line that had a part in this grant.
    pub fired: BTreeSet<Line>,
}

impl Grant {
    pub fn full() -> Self {
        Self::default()
    }

    pub fn is_full(&self) -> bool {
        self.filter.is_none() && self.masks.is_empty() && self.hidden.is_empty()
    }

    /// `full`, `filtered`, `masked` for the audit line; the most telling word wins.
    pub fn class(&self) -> &'static str {
        match (self.filter.is_some(), self.masks.is_empty() && self.hidden.is_empty()) {
            (true, _) => "filtered",
            (false, false) => "masked",
            (false, true) => "full",
        }
    }

    /// Equal for equal rights: two users of one class share it. Lines do not count, their effect does.
    pub fn fingerprint(&self) -> u64 {
        let text = format!("{:?}|{:?}|{:?}", self.filter, self.masks, self.hidden);
        xxhash_rust::xxh3::xxh3_64(text.as_bytes())
    }

    /// What a statement that changes the table reads: the visible schema, behind it under [`raw_name`] what of a row its
    /// session does not see as it is, and `place`.
    pub fn target(&self, raw: &Schema, place: &[FieldRef]) -> SchemaRef {
        let carried = raw.fields().iter().filter(|f| self.carries(f.name()));
        let carried = carried.map(|f| Arc::new(f.as_ref().clone().with_name(raw_name(f.name())).with_nullable(true)));
        let shown = self.visible(raw);
        let all = shown.fields().iter().cloned().chain(carried).chain(place.iter().cloned());
        Arc::new(Schema::new(all.collect::<Vec<_>>()))
    }

    /// The session sees something else of this column, or nothing.
    pub fn carries(&self, column: &str) -> bool {
        self.hidden.contains(column) || self.masks.contains_key(column)
    }

    /// The schema a session plans with: hidden columns absent, every column nullable (DataFusion 55 types an empty
    /// scalar subquery by its column's nullability), field metadata kept, no schema metadata.
    pub fn visible(&self, raw: &Schema) -> SchemaRef {
        let shown = raw.fields().iter().filter(|f| !self.hidden.contains(f.name()));
        Arc::new(Schema::new(shown.map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<_>>()))
    }
}

/// How the raw value of a column is called where a statement carries it. No client can write such a name.
pub fn raw_name(column: &str) -> String {
    format!("\0{column}")
}

/// The column of which that is the raw value.
pub fn raw_of(name: &str) -> Option<&str> {
    name.strip_prefix('\0').filter(|rest| !rest.starts_with('\0'))
}

/// The answer of [`SessionPolicy::decide`].
#[derive(Clone, Debug)]
pub enum Decision {
    Allow(Arc<Grant>),
    /// No rule allows it, or one denies it; the client must not be able to tell which.
    Deny,
}
