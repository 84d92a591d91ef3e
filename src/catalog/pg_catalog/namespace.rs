//! pg_namespace and pg_database: where names stand. There is one database, and there are no template databases.

use super::rows::Rows;
use crate::catalog::visible::{BOOTSTRAP, View};
use crate::error::Result;

/// `pg_tablespace.oid` of `pg_default`.
const DEFAULT_TABLESPACE: u32 = 1663;
/// `pg_char_to_encoding('UTF8')`.
const UTF8: i32 = 6;

pub(super) fn pg_namespace(view: &View, rows: &mut Rows) -> Result<()> {
    for (name, oid) in &view.schemas {
        rows.push([("oid", (*oid).into()), ("nspname", name.into()), ("nspowner", BOOTSTRAP.1.into())])?;
    }
    Ok(())
}

pub(super) fn pg_database(view: &View, rows: &mut Rows) -> Result<()> {
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
