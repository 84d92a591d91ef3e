//! Statements about views, as they are written. A view's query is kept as a text, so it is one here; that it is a query of
//! the language has been seen.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName};

#[derive(Clone, Debug)]
pub(crate) enum View {
    Create(Create),
    Alter { name: ObjectName, if_exists: bool, change: Change, materialized: bool },
    Drop(Drop),
    CreateMaterialized(CreateMaterialized),
    Refresh(Refresh),
}

#[derive(Clone, Debug)]
pub(crate) struct CreateMaterialized {
    pub(crate) name: ObjectName,
    /// Names for the columns of the query, from the left.
    pub(crate) columns: Vec<Ident>,
    pub(crate) if_not_exists: bool,
    pub(crate) with_data: bool,
    pub(crate) query: String,
    /// Characters of the statement before the query.
    pub(crate) before: usize,
    /// A clause that tables of a lake do not have.
    pub(crate) other: Option<&'static str>,
}

#[derive(Clone, Debug)]
pub(crate) struct Refresh {
    pub(crate) name: ObjectName,
    pub(crate) concurrently: bool,
    pub(crate) with_data: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Create {
    pub(crate) name: ObjectName,
    /// Names for the columns of the query, from the left.
    pub(crate) columns: Vec<Ident>,
    pub(crate) or_replace: bool,
    pub(crate) temporary: bool,
    /// Of WITH (…), folded.
    pub(crate) options: Vec<(String, Option<String>)>,
    /// WITH CHECK OPTION.
    pub(crate) checks: bool,
    pub(crate) query: String,
    /// Characters of the statement before the query.
    pub(crate) before: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum Change {
    Rename(Ident),
    RenameColumn {
        from: Ident,
        to: Ident,
    },
    SetSchema(Ident),
    Owner(Owner),
    /// What the grammar lets ALTER do to any relation, and only a table may have done to it.
    OfTables(&'static str),
    /// Something that views of a lake do not have.
    Other(&'static str),
}

#[derive(Clone, Debug)]
pub(crate) enum Owner {
    /// CURRENT_USER and its kin.
    Current,
    Named(Ident),
}

#[derive(Clone, Debug)]
pub(crate) struct Drop {
    pub(crate) names: Vec<ObjectName>,
    pub(crate) if_exists: bool,
    pub(crate) cascade: bool,
    pub(crate) materialized: bool,
}
