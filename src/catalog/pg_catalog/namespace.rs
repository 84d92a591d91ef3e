//! pg_namespace and pg_database: where names stand. There is one database, and there are no template databases.

use super::rows::{Cell, Rows};
use crate::catalog::visible::{BOOTSTRAP, View, system_schema};
use crate::error::Result;
use crate::types::Identifier;

/// `pg_tablespace.oid` of `pg_default`.
const DEFAULT_TABLESPACE: u32 = 1663;
/// `pg_char_to_encoding('UTF8')`.
const UTF8: i32 = 6;

pub(super) fn pg_namespace(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for (name, oid) in &view.schemas {
        rows.push([
            ("oid", (*oid).into()),
            ("nspname", name.into()),
            ("nspowner", BOOTSTRAP.1.into()),
            ("nspacl", rights(view, name)),
        ])?;
    }
    Ok(())
}

/// Everybody uses the system's; of the others the owner's and the session's own rights are told.
fn rights(view: &View, schema: &str) -> Cell {
    let owner = BOOTSTRAP.0;
    let all = format!("{owner}=UC/{owner}");
    match system_schema(schema) {
        Some(_) if schema == "pg_toast" => Cell::Null,
        Some(_) => Cell::texts([all, format!("=U/{owner}")]),
        None => {
            let letters = if view.creatable.contains(schema) { "UC" } else { "U" };
            Cell::texts([all, format!("{}={letters}/{owner}", Identifier(&view.user))])
        }
    }
}

pub(super) fn pg_database(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    rows.push([
        ("oid", view.database_oid().into()),
        ("datname", (&view.database).into()),
        ("datdba", BOOTSTRAP.1.into()),
        ("encoding", UTF8.into()),
        ("datlocprovider", 'c'.into()),
        ("datallowconn", true.into()),
        ("datconnlimit", (-1).into()),
        ("dattablespace", DEFAULT_TABLESPACE.into()),
        ("datcollate", 'C'.into()),
        ("datctype", 'C'.into()),
    ])
}
