//! DDL and INSERT on lake tables: the query half is an ordinary guarded query, the writing half is the source's. The
//! rights asked here are the target's action; reading has been judged by the guard.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{ColumnDef, ColumnOption};

use super::session::Facts;
use super::world;
use crate::catalog::{Body, Entry};
use crate::error::{Error, Kind, Result};
use crate::policy::guard::undefined_table;
use crate::policy::{Action, Decision};
use crate::sources::{Table, Writer};
use crate::types::TableName;

/// 42501 without the right, 0A000 where the schema is not a lake's, 3F000 where there is none.
pub(crate) fn writer_for_create(facts: &Facts, name: &TableName) -> Result<Arc<dyn Writer>> {
    if !facts.policy.may_create(&name.schema) {
        let known = facts.view.schemas.iter().any(|(s, _)| *s == name.schema);
        return Err(if known {
            Error::new(Kind::PermissionDenied, format!("permission denied for schema {}", name.schema))
        } else {
            undefined_schema(&name.schema)
        });
    }
    match world::writer(&facts.world.catalog, &name.schema)? {
        Some(writer) => Ok(writer),
        None if facts.world.catalog.schemas.contains_key(&name.schema) => Err(not_a_lake(&name.schema)),
        None => Err(undefined_schema(&name.schema)),
    }
}

/// The lake a new schema is made in: the only one there is.
pub(crate) fn writer_for_schema(facts: &Facts, schema: &str) -> Result<Arc<dyn Writer>> {
    if !facts.policy.may_create(schema) {
        let text = format!("permission denied for database {}", facts.world.catalog.database);
        return Err(Error::new(Kind::PermissionDenied, text));
    }
    let mut lakes = facts.world.lakes();
    match (lakes.pop(), lakes.is_empty()) {
        (Some(lake), true) => Ok(lake),
        (None, _) => Err(Error::unsupported("CREATE SCHEMA without a lake")),
        (Some(_), false) => Err(Error::unsupported("CREATE SCHEMA with more than one lake")),
    }
}

/// The target, where this principal may do `action` to it.
pub(crate) fn target<'a>(facts: &'a Facts, name: &TableName, action: Action) -> Result<(&'a Entry, Arc<dyn Writer>)> {
    let Some(entry) = facts.world.catalog.find(name)? else { return Err(undefined_table(name)) };
    let visible = matches!(facts.policy.decide(entry.object.id, Action::Select), Decision::Allow(_));
    match facts.policy.decide(entry.object.id, action) {
        Decision::Allow(_) => {}
        Decision::Deny if visible => {
            return Err(Error::new(Kind::PermissionDenied, format!("permission denied for table {}", name.table)));
        }
        Decision::Deny => return Err(undefined_table(name)),
    }
    match world::writer(&facts.world.catalog, &name.schema)? {
        Some(writer) => Ok((entry, writer)),
        None => Err(not_a_lake(&name.schema)),
    }
}

/// The table itself, as the statement is planned over it.
pub(crate) fn table(entry: &Entry) -> Result<Arc<dyn Table>> {
    match &entry.body {
        Body::Table(table) => Ok(Arc::clone(table)),
        Body::Dataset(_) => Err(Error::internal("a dataset in a lake's schema")),
    }
}

pub(crate) fn undefined_schema(schema: &str) -> Error {
    Error::new(Kind::UndefinedSchema, format!("schema \"{schema}\" does not exist"))
}

fn not_a_lake(schema: &str) -> Error {
    Error::new(Kind::Unsupported, format!("schema \"{schema}\" is not a lake's: its tables can only be read"))
}

/// CREATE TABLE's columns: the types of our language, NOT NULL; nothing else means anything to Iceberg yet.
pub(crate) fn schema_of(columns: &[ColumnDef]) -> Result<SchemaRef> {
    let fields = columns.iter().map(|c| {
        let mut nullable = true;
        for option in &c.options {
            match &option.option {
                ColumnOption::Null => {}
                ColumnOption::NotNull => nullable = false,
                other => return Err(Error::unsupported(format!("{other} of a column"))),
            }
        }
        let name = super::statement::ident(&c.name);
        let data_type = column_type(c)?;
        Ok(Field::new(name, data_type.data_type().clone(), nullable).with_metadata(data_type.metadata().clone()))
    });
    Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)))
}

/// By PostgreSQL's names of types.
fn column_type(column: &ColumnDef) -> Result<Field> {
    let text = column.data_type.to_string();
    let (oid, typmod) = crate::formats::postgres::by_name(&text)
        .ok_or_else(|| Error::new(Kind::UndefinedObject, format!("type \"{}\" does not exist", text.to_lowercase())))?;
    crate::formats::postgres::field("x", oid, typmod, true)
        .ok_or_else(|| Error::unsupported(format!("a column of type {}", text.to_lowercase())))
}

/// CTAS: the query's columns under their shown names, each of them named and once.
pub(crate) fn schema_of_query(columns: &Schema) -> Result<SchemaRef> {
    let mut seen = std::collections::BTreeSet::new();
    for field in columns.fields() {
        if !seen.insert(field.name()) {
            return Err(Error::new(
                Kind::DuplicateColumn,
                format!("column \"{}\" specified more than once", field.name()),
            ));
        }
    }
    Ok(Arc::new(columns.clone()))
}

/// INSERT's query columns in the table's order; columns that are not named get NULL.
pub(crate) fn arrange(named: &[String], given: usize, table: &Schema) -> Result<Vec<Option<usize>>> {
    if named.is_empty() {
        if given > table.fields().len() {
            return Err(Error::new(Kind::Syntax, "INSERT has more expressions than target columns"));
        }
        return Ok((0..table.fields().len()).map(|i| (i < given).then_some(i)).collect());
    }
    if named.len() != given {
        let (more, fewer) =
            if given > named.len() { ("expressions", "target columns") } else { ("target columns", "expressions") };
        return Err(Error::new(Kind::Syntax, format!("INSERT has more {more} than {fewer}")));
    }
    for (i, name) in named.iter().enumerate() {
        if table.index_of(name).is_err() {
            return Err(Error::new(Kind::UndefinedColumn, format!("column \"{name}\" of relation does not exist")));
        }
        if named[..i].contains(name) {
            return Err(Error::new(Kind::DuplicateColumn, format!("column \"{name}\" specified more than once")));
        }
    }
    Ok(table.fields().iter().map(|f| named.iter().position(|n| n == f.name())).collect())
}
