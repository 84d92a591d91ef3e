//! What a source says of a table beside its columns' types: keys, indexes, comments, defaults, and the query of a
//! materialized view. It is shown in catalogs, and statements take defaults and queries from it; no key of it is enforced.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::types::TableName;

/// Columns stand by name. The empty value says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    pub kind: Kind,
    pub keys: Vec<Key>,
    /// Those of primary keys and unique constraints too, under the same names.
    pub indexes: Vec<Index>,
    pub comment: Option<String>,
    /// Column → its comment.
    pub comments: BTreeMap<String, String>,
    /// Column → what it is in a new row that gives it no value, as a text of SQL.
    pub defaults: BTreeMap<String, String>,
    /// Column → how it counts by itself.
    pub counters: BTreeMap<String, Counter>,
    /// Of a table whose rows are those that a query had when it was refreshed last.
    pub materialized: Option<Materialized>,
}

/// A materialized view of a lake: a table that its query fills.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Materialized {
    /// As [`super::ViewText`] has it.
    pub sql: String,
    /// By whose rights it is refreshed.
    pub owner: String,
    pub is_populated: bool,
}

impl Materialized {
    /// The property of the table that says it, as JSON.
    pub const KEY: &'static str = "lakegate.materialized";

    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("words have a JSON form")
    }

    /// What cannot be read is nothing: the table is a table then.
    pub fn read(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }
}

/// A column that gets the next number where a row gives it no value: serial, or an identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// Of its sequence, which stands in the schema of its table.
    pub name: String,
    pub identity: Option<Identity>,
    pub start: i64,
    /// Not 0.
    pub increment: i64,
    /// What its type holds.
    pub max: i64,
}

/// Whether others than the sequence may give it a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Identity {
    Always,
    ByDefault,
}

impl Counter {
    /// In the field of a new column: this, as JSON.
    pub const KEY: &'static str = "lakegate.counter";

    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("words and numbers have a JSON form")
    }

    /// The least and the greatest number that it gives, as PostgreSQL's sequences have them by default.
    pub fn range(&self) -> (i64, i64) {
        if self.increment > 0 { (1, self.max) } else { (-self.max, -1) }
    }

    /// What is no counter counts nothing: others may have written it.
    pub fn read(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok().filter(|counter: &Self| counter.increment != 0)
    }
}

/// What the source calls it. All are read alike.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Table,
    View,
    MaterializedView,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub name: String,
    pub kind: KeyKind,
    pub columns: Vec<String>,
    pub deferrable: bool,
    pub deferred: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyKind {
    Primary,
    Unique,
    /// To a table under its mounted name; actions and match are PostgreSQL's letters.
    Foreign {
        table: TableName,
        columns: Vec<String>,
        on_update: char,
        on_delete: char,
        matching: char,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    pub name: String,
    pub columns: Vec<String>,
    /// `indoption` of each column: 1 for DESC, 2 for NULLS FIRST.
    pub options: Vec<i16>,
    pub unique: bool,
    pub primary: bool,
}

impl Declared {
    /// Of a table about which its source says nothing.
    pub fn nothing() -> &'static Self {
        static NOTHING: Declared = Declared {
            kind: Kind::Table,
            keys: vec![],
            indexes: vec![],
            comment: None,
            comments: BTreeMap::new(),
            defaults: BTreeMap::new(),
            counters: BTreeMap::new(),
            materialized: None,
        };
        &NOTHING
    }
}
