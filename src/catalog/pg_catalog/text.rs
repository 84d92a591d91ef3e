//! pg_description of what sources comment on, and the extensions there are.

use super::rows::{Cell, Rows};
use crate::catalog::visible::View;
use crate::error::Result;

/// `pg_class`, in whose terms a comment on a table is one.
pub(crate) const CLASS: u32 = 1259;

/// Name, version, whether it was made with the database, comment. There are no others, and these cannot be dropped.
const EXTENSIONS: [(&str, &str, bool, &str); 2] = [
    ("pg_trgm", "1.6", true, "text similarity measurement and index searching based on trigrams"),
    ("plpgsql", "1.0", true, "PL/pgSQL procedural language"),
];

pub(super) fn pg_description(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for table in &view.tables {
        let of_columns = table.declared.comments.iter().map(|(number, text)| (*number, text));
        for (number, text) in table.declared.comment.iter().map(|text| (0, text)).chain(of_columns) {
            rows.push([
                ("objoid", table.oid.into()),
                ("classoid", CLASS.into()),
                ("objsubid", number.into()),
                ("description", text.into()),
            ])?;
        }
    }
    Ok(())
}

pub(super) fn pg_available_extensions(_: &View, rows: &mut Rows<'_>) -> Result<()> {
    for (name, version, _, comment) in EXTENSIONS {
        rows.push([
            ("name", name.into()),
            ("default_version", version.into()),
            ("installed_version", version.into()),
            ("comment", comment.into()),
        ])?;
    }
    Ok(())
}

pub(super) fn pg_available_extension_versions(_: &View, rows: &mut Rows<'_>) -> Result<()> {
    for (name, version, trusted, comment) in EXTENSIONS {
        rows.push([
            ("name", name.into()),
            ("version", version.into()),
            ("installed", true.into()),
            ("superuser", true.into()),
            ("trusted", trusted.into()),
            ("relocatable", (name == "pg_trgm").into()),
            ("schema", (name == "plpgsql").then_some("pg_catalog").into()),
            ("requires", Cell::Null),
            ("comment", comment.into()),
        ])?;
    }
    Ok(())
}
