//! What is said of objects in words: pg_description of what sources comment on, what PostgreSQL calls an object in
//! messages, and the extensions there are.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::attribute::attributes;
use super::image::{comments, function_by_oid, type_by_oid};
use super::rows::{Cell, Rows};
use super::types::type_name;
use crate::catalog::visible::View;
use crate::error::Result;
use crate::types::Identifier;

/// `pg_class`, in whose terms a comment on a table is one.
pub(crate) const CLASS: u32 = 1259;

/// Name, version, whether it was made with the database, comment. There are no others, and these cannot be dropped.
const EXTENSIONS: [(&str, &str, bool, &str); 2] = [
    ("pg_trgm", "1.6", true, "text similarity measurement and index searching based on trigrams"),
    ("plpgsql", "1.0", true, "PL/pgSQL procedural language"),
];

/// Of those that are there, which none can be added to.
pub(crate) fn is_extension(name: &str) -> bool {
    EXTENSIONS.iter().any(|(known, ..)| *known == name)
}

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

/// Object and part → what is said of it in each catalog.
type Comments = HashMap<(u32, i16), Vec<(u32, String)>>;

/// A comment by object, catalog (any where none is given) and the number of its part, 0 for the whole.
pub(crate) fn comment(view: &View, object: u32, catalog: Option<u32>, part: i16) -> Option<&str> {
    if let Some(table) = view.table_by_oid(object).filter(|_| catalog.is_none_or(|catalog| catalog == CLASS)) {
        return match part {
            0 => table.declared.comment.as_deref(),
            part => table.declared.comments.iter().find(|(number, _)| *number == part).map(|(_, text)| text.as_str()),
        };
    }
    static COMMENTS: LazyLock<Comments> = LazyLock::new(|| {
        let mut found = Comments::new();
        for (object, catalog, part, text) in comments() {
            found.entry((object, part)).or_default().push((catalog, text));
        }
        found
    });
    let of_object = COMMENTS.get(&(object, part))?;
    of_object.iter().find(|(of, _)| catalog.is_none_or(|catalog| catalog == *of)).map(|(_, text)| text.as_str())
}

/// `pg_describe_object` for the kinds of objects that there are; `None` for one that is not there.
pub(crate) fn described(view: &View, catalog: u32, object: u32, part: i64) -> Option<String> {
    const PROC: u32 = 1255;
    const TYPE: u32 = 1247;
    const NAMESPACE: u32 = 2615;
    const CONSTRAINT: u32 = 2606;
    let relation = |oid: u32| {
        let name = view.relation_name(oid)?;
        let shown = if view.is_on_path(name) { Identifier(&name.table).to_string() } else { name.to_string() };
        let is_view = super::class::classes(view).any(|class| class.oid == oid && class.kind == 'v');
        Some(format!("{} {shown}", if is_view { "view" } else { "table" }))
    };
    match catalog {
        CLASS => match (view.index_by_oid(object), part) {
            (Some((_, index)), 0) => Some(format!("index {}", Identifier(&index.name.table))),
            (_, 0) => relation(object),
            (_, part) => {
                let columns = attributes(view, object);
                let column = columns.iter().find(|a| i64::from(a.number) == part)?;
                Some(format!("column {} of {}", Identifier(column.name), relation(object)?))
            }
        },
        PROC => {
            let function = function_by_oid(object)?;
            let inputs = function.parameters().into_iter().filter(|p| matches!(p.mode, "i" | "b" | "v"));
            let types: Vec<String> = inputs.map(|p| type_name(view, p.type_oid, None)).collect();
            Some(format!("function {}({})", Identifier(function.name), types.join(",")))
        }
        TYPE => type_by_oid(object).map(|kind| format!("type {}", type_name(view, kind.oid, None))),
        NAMESPACE => {
            let schema = view.schemas.iter().find(|(_, oid)| *oid == object);
            schema.map(|(name, _)| format!("schema {}", Identifier(name)))
        }
        CONSTRAINT => {
            let (of, key) = view.constraint_by_oid(object)?;
            Some(format!("constraint {} on {}", Identifier(&key.name), relation(of)?))
        }
        _ => None,
    }
}
