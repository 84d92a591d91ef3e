//! information_schema as ordinary tables over the session's view. Its columns come from the image of a real PostgreSQL;
//! a view without an arm here is empty.

mod columns;
mod constraints;
mod routines;
mod types;

use super::pg_catalog::Fill;
use super::pg_catalog::attribute::attributes;
use super::pg_catalog::class::{Class, classes};
use super::pg_catalog::rows::{Cell, Rows};
use super::visible::{BOOTSTRAP, View, VisibleTable, is_temporary};
use crate::error::Result;

/// Who fills a view of information_schema.
pub(super) fn fill(table: &str) -> Option<Fill> {
    Some(match table {
        "applicable_roles" => applicable_roles,
        "column_privileges" | "role_column_grants" => column_privileges,
        "character_sets" => types::character_sets,
        "check_constraints" => constraints::check_constraints,
        "collation_character_set_applicability" => types::collation_character_set_applicability,
        "collations" => types::collations,
        "columns" => columns::columns,
        "constraint_column_usage" => constraints::constraint_column_usage,
        "constraint_table_usage" => constraints::constraint_table_usage,
        "domain_constraints" => types::domain_constraints,
        "domains" => types::domains_of,
        "element_types" => types::element_types,
        "enabled_roles" => enabled_roles,
        "information_schema_catalog_name" => catalog_name,
        "key_column_usage" => constraints::key_column_usage,
        "parameters" => routines::parameters,
        "referential_constraints" => constraints::referential_constraints,
        "routine_privileges" | "role_routine_grants" => routines::routine_privileges,
        "routines" => routines::routines,
        "schemata" => schemata,
        "sequences" => types::sequences,
        "table_constraints" => constraints::table_constraints,
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

/// The standard knows tables and views, and nothing of how they are stored.
fn in_standard(view: &View) -> impl Iterator<Item = Class<'_>> {
    classes(view).filter(|class| matches!(class.kind, 'r' | 'v'))
}

/// Whether rows about a table are of use.
fn is_wanted(rows: &Rows<'_>, class: &Class<'_>) -> bool {
    let fits = |column: &str, name: &str| {
        let of_column = rows.asked.equal.iter().filter(|(asked, _)| asked == column);
        of_column.into_iter().all(|(_, values)| values.iter().any(|v| matches!(v, Cell::Text(text) if text == name)))
    };
    fits("table_schema", &class.name.schema) && fits("table_name", &class.name.table)
}

fn catalog_name(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    rows.push([("catalog_name", (&view.database).into())])
}

fn schemata(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for (schema, _) in &view.schemas {
        rows.push([
            ("catalog_name", (&view.database).into()),
            ("schema_name", schema.into()),
            ("schema_owner", BOOTSTRAP.0.into()),
        ])?;
    }
    Ok(())
}

fn tables(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    let wanted: Vec<Class<'_>> = in_standard(view).filter(|class| is_wanted(rows, class)).collect();
    for class in wanted {
        rows.push([
            ("table_catalog", (&view.database).into()),
            ("table_schema", (&class.name.schema).into()),
            ("table_name", (&class.name.table).into()),
            ("table_type", table_type(class.kind, &class.name.schema).into()),
            ("is_insertable_into", yes_or_no(class.may_insert()).into()),
            ("is_typed", "NO".into()),
        ])?;
    }
    Ok(())
}

fn views(view: &View, rows: &mut Rows<'_>) -> Result<()> {
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
    let grantee = if class.table.is_none() { "PUBLIC" } else { view.user.as_str() };
    let may = |of: fn(&VisibleTable) -> bool| class.table.is_some_and(of);
    let insert = ("INSERT", may(|t| t.may_insert));
    let (update, delete) = (("UPDATE", may(|t| t.may_update)), ("DELETE", may(|t| t.may_delete)));
    [insert, ("SELECT", true), update, delete].into_iter().filter(|(_, has)| *has).map(move |(p, _)| (grantee, p))
}

fn table_privileges(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for class in in_standard(view) {
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

fn column_privileges(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for class in in_standard(view) {
        // no column is deleted
        for (grantee, privilege) in privileges(&class, view).filter(|(_, privilege)| *privilege != "DELETE") {
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

fn enabled_roles(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for role in std::iter::once(&view.user).chain(own_roles(view)) {
        rows.push([("role_name", role.into())])?;
    }
    Ok(())
}

fn applicable_roles(view: &View, rows: &mut Rows<'_>) -> Result<()> {
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
