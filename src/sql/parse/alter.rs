//! ALTER TABLE, ALTER SCHEMA and COMMENT ON as they are written. What of it the lake has is `engine`'s to say.

use datafusion::sql::sqlparser::ast::{DataType, Expr, Ident, ObjectName};

#[derive(Clone, Debug)]
pub(crate) enum Alter {
    Table { table: ObjectName, if_exists: bool, changes: Vec<Change> },
    Schema { schema: Ident, change: SchemaChange },
    Comment { on: Commented, text: Option<String> },
}

/// What COMMENT ON is about.
#[derive(Clone, Debug)]
pub(crate) enum Commented {
    Table(ObjectName),
    View(ObjectName),
    MaterializedView(ObjectName),
    /// Behind the name of its table.
    Column(ObjectName),
    /// Another kind of object, by its word.
    Other(&'static str),
}

#[derive(Clone, Debug)]
pub(crate) enum SchemaChange {
    Rename(Ident),
    Owner,
}

#[derive(Clone, Debug)]
pub(crate) enum Change {
    Add {
        column: NewColumn,
        if_not_exists: bool,
    },
    Drop {
        column: Ident,
        if_exists: bool,
    },
    Retype {
        column: Ident,
        to: DataType,
        /// With USING.
        computed: bool,
    },
    NotNull {
        column: Ident,
        set: bool,
    },
    /// The one that it gets; `None` where it has none any more.
    Default {
        column: Ident,
        to: Option<Box<Expr>>,
    },
    RenameColumn {
        column: Ident,
        to: Ident,
    },
    Rename(Ident),
    SetSchema(Ident),
    Set(Vec<(String, String)>),
    Reset(Vec<String>),
    Owner,
    /// A clause about what a table of ours does not have, by its first words.
    Other(String),
}

/// columnDef.
#[derive(Clone, Debug)]
pub(crate) struct NewColumn {
    pub(crate) name: Ident,
    pub(crate) data_type: DataType,
    pub(crate) not_null: bool,
    pub(crate) default: Option<Expr>,
    /// A constraint that is not this one, by its word.
    pub(crate) other: Option<&'static str>,
}
