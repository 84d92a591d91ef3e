//! What a source says of a table beside its columns' types: keys, indexes, comments. It is shown in catalogs; nothing is
//! enforced or planned by it.

use std::collections::BTreeMap;

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
        static NOTHING: Declared =
            Declared { kind: Kind::Table, keys: vec![], indexes: vec![], comment: None, comments: BTreeMap::new() };
        &NOTHING
    }
}
