//! Names as a statement writes them. What stands under one is asked elsewhere.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName, ObjectNamePart};

use crate::error::{Error, Kind, Result};

/// A table as written: with or without its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) schema: Option<String>,
    pub(crate) table: String,
}

impl Name {
    /// As messages show it where they tell it as it was written.
    pub(super) fn shown(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.table),
            None => self.table.clone(),
        }
    }
}

/// Folded as PostgreSQL folds it: lower case unless quoted.
pub(crate) fn ident(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

fn parts(name: &ObjectName) -> Result<Vec<String>> {
    name.0
        .iter()
        .map(|p| match p {
            ObjectNamePart::Identifier(i) => Ok(ident(i)),
            ObjectNamePart::Function(_) => Err(Error::unsupported("a computed name")),
        })
        .collect()
}

pub(super) fn dotted(name: &ObjectName) -> String {
    parts(name).map(|p| p.join(".")).unwrap_or_default()
}

pub(super) fn single(name: &ObjectName, what: &str) -> Result<String> {
    match parts(name)?.as_slice() {
        [one] => Ok(one.clone()),
        _ => Err(Error::new(Kind::Syntax, format!("{what} has one name, not {name}"))),
    }
}

/// `table`, `schema.table`; `database.schema.table` where the database is checked by the resolver's rules.
pub(crate) fn table_name(name: &ObjectName) -> Result<Name> {
    let mut parts = parts(name)?;
    match (parts.pop(), parts.pop(), parts.len()) {
        (Some(table), schema, 0 | 1) => Ok(Name { schema, table }),
        _ => Err(Error::new(Kind::Syntax, format!("improper qualified name (too many dotted names): {name}"))),
    }
}
