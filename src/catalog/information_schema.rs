//! information_schema as ordinary tables over the session's view. Its columns come from the image of a real PostgreSQL;
//! a view without an arm here is empty (there are no constraints, routines, domains). `columns` has a file of its own.

mod columns;

use super::pg_catalog::Fill;
use super::pg_catalog::attribute::attributes;
use super::pg_catalog::class::{Class, classes};
use super::pg_catalog::rows::Rows;
use super::visible::{BOOTSTRAP, SYSTEM_SCHEMAS, View, is_temporary};
use crate::error::Result;

/// Who fills a view of information_schema.
pub(super) fn fill(table: &str) -> Option<Fill> {
    Some(match table {
        "applicable_roles" => applicable_roles,
        "column_privileges" | "role_column_grants" => column_privileges,
        "columns" => columns::columns,
        "enabled_roles" => enabled_roles,
        "information_schema_catalog_name" => catalog_name,
        "schemata" => schemata,
        "table_privileges" | "role_table_grants" => table_privileges,
        "tables" => tables,
        "views" => views,
        _ => return None,
    })
}

/// information_schema's booleans.
fn yes_or_no(yes: bool) -> &'static str {
    if yes { "YES" } else { "NO" }
}

fn catalog_name(view: &View, rows: &mut Rows) -> Result<()> {
    rows.push([("catalog_name", (&view.database).into())])
}

fn schemata(view: &View, rows: &mut Rows) -> Result<()> {
    for (schema, _) in &view.schemas {
        rows.push([
            ("catalog_name", (&view.database).into()),
            ("schema_name", schema.into()),
            ("schema_owner", BOOTSTRAP.0.into()),
        ])?;
    }
    Ok(())
}

fn tables(view: &View, rows: &mut Rows) -> Result<()> {
    for class in classes(view) {
        rows.push([
            ("table_catalog", (&view.database).into()),
            ("table_schema", (&class.name.schema).into()),
            ("table_name", (&class.name.table).into()),
            ("table_type", table_type(class.kind, &class.name.schema).into()),
            ("is_insertable_into", yes_or_no(class.may_insert).into()),
            ("is_typed", "NO".into()),
        ])?;
    }
    Ok(())
}

fn views(view: &View, rows: &mut Rows) -> Result<()> {
    for class in classes(view).filter(|c| c.kind == 'v') {
        rows.push([
            ("table_catalog", (&view.database).into()),
            ("table_schema", (&class.name.schema).into()),
            ("table_name", (&class.name.table).into()),
            ("view_definition", class.definition.into()),
            ("check_option", "NONE".into()),
            ("is_updatable", "NO".into()),
            ("is_insertable_into", "NO".into()),
            ("is_trigger_updatable", "NO".into()),
            ("is_trigger_deletable", "NO".into()),
            ("is_trigger_insertable_into", "NO".into()),
        ])?;
    }
    Ok(())
}

/// The actions a session has on what it sees; everybody reads the system relations.
fn privileges<'a>(class: &Class<'a>, view: &'a View) -> impl Iterator<Item = (&'a str, &'static str)> + use<'a> {
    let system = SYSTEM_SCHEMAS.iter().any(|(name, _)| *name == class.name.schema);
    let grantee = if system { "PUBLIC" } else { view.user.as_str() };
    [("SELECT", true), ("INSERT", class.may_insert)].into_iter().filter(|(_, has)| *has).map(move |(p, _)| (grantee, p))
}

fn table_privileges(view: &View, rows: &mut Rows) -> Result<()> {
    for class in classes(view) {
        for (grantee, privilege) in privileges(&class, view) {
            rows.push([
                ("grantor", BOOTSTRAP.0.into()),
                ("grantee", grantee.into()),
                ("table_catalog", (&view.database).into()),
                ("table_schema", (&class.name.schema).into()),
                ("table_name", (&class.name.table).into()),
                ("privilege_type", privilege.into()),
                ("is_grantable", "NO".into()),
                ("with_hierarchy", yes_or_no(privilege == "SELECT").into()),
            ])?;
        }
    }
    Ok(())
}

fn column_privileges(view: &View, rows: &mut Rows) -> Result<()> {
    for class in classes(view) {
        for (grantee, privilege) in privileges(&class, view) {
            for attribute in attributes(view, class.oid) {
                rows.push([
                    ("grantor", BOOTSTRAP.0.into()),
                    ("grantee", grantee.into()),
                    ("table_catalog", (&view.database).into()),
                    ("table_schema", (&class.name.schema).into()),
                    ("table_name", (&class.name.table).into()),
                    ("column_name", attribute.name.into()),
                    ("privilege_type", privilege.into()),
                    ("is_grantable", "NO".into()),
                ])?;
            }
        }
    }
    Ok(())
}

fn enabled_roles(view: &View, rows: &mut Rows) -> Result<()> {
    for role in std::iter::once(&view.user).chain(own_roles(view)) {
        rows.push([("role_name", role.into())])?;
    }
    Ok(())
}

fn applicable_roles(view: &View, rows: &mut Rows) -> Result<()> {
    for role in own_roles(view) {
        rows.push([("grantee", (&view.user).into()), ("role_name", role.into()), ("is_grantable", "NO".into())])?;
    }
    Ok(())
}

fn own_roles(view: &View) -> impl Iterator<Item = &String> {
    view.roles.iter().filter(|r| r.name == view.user).flat_map(|r| &r.member_of)
}

fn table_type(kind: char, schema: &str) -> &'static str {
    match kind {
        'v' => "VIEW",
        _ if is_temporary(schema) => "LOCAL TEMPORARY",
        _ => "BASE TABLE",
    }
}
