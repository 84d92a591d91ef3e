//! Keys as the standard tells of them, and NOT NULL, which is a check in its eyes.

use super::yes_or_no;
use crate::catalog::pg_catalog::attribute::{Attribute, attributes};
use crate::catalog::pg_catalog::class::classes;
use crate::catalog::pg_catalog::keys::{constraint_of_index, constraints};
use crate::catalog::pg_catalog::rows::Rows;
use crate::catalog::visible::{Constraint, View};
use crate::error::Result;
use crate::types::{Identifier, TableName};

/// Keys of all relations, each with its relation's name.
fn keys(view: &View) -> impl Iterator<Item = (&TableName, u32, &Constraint)> {
    constraints(view).filter_map(|(relation, key)| Some((view.relation_name(relation)?, relation, key)))
}

/// NOT NULL columns of tables, with the names that PostgreSQL makes up for them.
fn checks(view: &View) -> Vec<(&TableName, String, Attribute<'_>)> {
    let mut found = vec![];
    for class in classes(view).filter(|class| class.kind == 'r') {
        let schema = view.schema_oid(&class.name.schema).unwrap_or(0);
        let not_null = attributes(view, class.oid).into_iter().filter(|attribute| attribute.not_null);
        found.extend(
            not_null.map(|attribute| {
                (class.name, format!("{schema}_{}_{}_not_null", class.oid, attribute.number), attribute)
            }),
        );
    }
    found
}

fn column(view: &View, relation: u32, number: i16) -> String {
    let found = attributes(view, relation).into_iter().find(|attribute| attribute.number == number);
    found.map_or_else(String::new, |attribute| attribute.name.to_owned())
}

pub(super) fn table_constraints(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for (table, _, key) in keys(view) {
        let (kind, distinct) = match key.kind {
            'p' => ("PRIMARY KEY", None),
            'f' => ("FOREIGN KEY", None),
            _ => ("UNIQUE", Some("YES")),
        };
        rows.push([
            ("constraint_catalog", (&view.database).into()),
            ("constraint_schema", (&table.schema).into()),
            ("constraint_name", (&key.name).into()),
            ("table_catalog", (&view.database).into()),
            ("table_schema", (&table.schema).into()),
            ("table_name", (&table.table).into()),
            ("constraint_type", kind.into()),
            ("is_deferrable", yes_or_no(key.deferrable).into()),
            ("initially_deferred", yes_or_no(key.deferred).into()),
            ("enforced", "YES".into()),
            ("nulls_distinct", distinct.into()),
        ])?;
    }
    for (table, name, _) in checks(view) {
        rows.push([
            ("constraint_catalog", (&view.database).into()),
            ("constraint_schema", (&table.schema).into()),
            ("constraint_name", name.into()),
            ("table_catalog", (&view.database).into()),
            ("table_schema", (&table.schema).into()),
            ("table_name", (&table.table).into()),
            ("constraint_type", "CHECK".into()),
            ("is_deferrable", "NO".into()),
            ("initially_deferred", "NO".into()),
            ("enforced", "YES".into()),
        ])?;
    }
    Ok(())
}

pub(super) fn check_constraints(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for (table, name, attribute) in checks(view) {
        rows.push([
            ("constraint_catalog", (&view.database).into()),
            ("constraint_schema", (&table.schema).into()),
            ("constraint_name", name.into()),
            ("check_clause", format!("{} IS NOT NULL", Identifier(attribute.name)).into()),
        ])?;
    }
    Ok(())
}

pub(super) fn key_column_usage(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for (table, relation, key) in keys(view) {
        // where a foreign key's column stands in the key that it refers to
        let referred = key.references.as_ref().and_then(|to| Some((to, constraint_of_index(view, key.index)?)));
        for (at, (number, place)) in key.columns.iter().zip(1_i32..).enumerate() {
            let position = referred.and_then(|(to, unique)| {
                let target = to.columns.get(at)?;
                i32::try_from(unique.columns.iter().position(|n| n == target)? + 1).ok()
            });
            rows.push([
                ("constraint_catalog", (&view.database).into()),
                ("constraint_schema", (&table.schema).into()),
                ("constraint_name", (&key.name).into()),
                ("table_catalog", (&view.database).into()),
                ("table_schema", (&table.schema).into()),
                ("table_name", (&table.table).into()),
                ("column_name", column(view, relation, *number).into()),
                ("ordinal_position", place.into()),
                ("position_in_unique_constraint", position.into()),
            ])?;
        }
    }
    Ok(())
}

pub(super) fn referential_constraints(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for (table, _, key) in keys(view) {
        let Some(to) = &key.references else { continue };
        let unique = constraint_of_index(view, key.index);
        let schema = unique.and_then(|_| view.relation_name(to.table)).map(|name| &name.schema);
        let matching = match to.matching {
            'f' => "FULL",
            'p' => "PARTIAL",
            _ => "NONE",
        };
        rows.push([
            ("constraint_catalog", (&view.database).into()),
            ("constraint_schema", (&table.schema).into()),
            ("constraint_name", (&key.name).into()),
            ("unique_constraint_catalog", unique.map(|_| &view.database).into()),
            ("unique_constraint_schema", schema.into()),
            ("unique_constraint_name", unique.map(|unique| &unique.name).into()),
            ("match_option", matching.into()),
            ("update_rule", rule(to.on_update).into()),
            ("delete_rule", rule(to.on_delete).into()),
        ])?;
    }
    Ok(())
}

fn rule(letter: char) -> &'static str {
    match letter {
        'c' => "CASCADE",
        'n' => "SET NULL",
        'd' => "SET DEFAULT",
        'r' => "RESTRICT",
        _ => "NO ACTION",
    }
}

/// What a key speaks of: a foreign key of the columns that it refers to, NOT NULL of its own.
pub(super) fn constraint_column_usage(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    let mut used: Vec<(&TableName, String, &TableName, String)> = vec![];
    for (table, relation, key) in keys(view) {
        let (of, numbers) = key.references.as_ref().map_or((relation, &key.columns), |to| (to.table, &to.columns));
        let Some(named) = view.relation_name(of) else { continue };
        used.extend(numbers.iter().map(|number| (named, column(view, of, *number), table, key.name.clone())));
    }
    used.extend(checks(view).into_iter().map(|(table, name, of)| (table, of.name.to_owned(), table, name)));
    for (named, column, table, key) in used {
        rows.push([
            ("table_catalog", (&view.database).into()),
            ("table_schema", (&named.schema).into()),
            ("table_name", (&named.table).into()),
            ("column_name", column.into()),
            ("constraint_catalog", (&view.database).into()),
            ("constraint_schema", (&table.schema).into()),
            ("constraint_name", key.into()),
        ])?;
    }
    Ok(())
}

pub(super) fn constraint_table_usage(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for (table, relation, key) in keys(view) {
        let of = key.references.as_ref().map_or(relation, |to| to.table);
        let Some(named) = view.relation_name(of) else { continue };
        rows.push([
            ("table_catalog", (&view.database).into()),
            ("table_schema", (&named.schema).into()),
            ("table_name", (&named.table).into()),
            ("constraint_catalog", (&view.database).into()),
            ("constraint_schema", (&table.schema).into()),
            ("constraint_name", (&key.name).into()),
        ])?;
    }
    Ok(())
}
