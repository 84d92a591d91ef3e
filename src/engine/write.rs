//! DDL and INSERT on lake tables: the query half is an ordinary guarded query, the writing half is the source's. The
//! rights asked here are the target's action; reading has been judged by the guard.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{ColumnDef, ColumnOption};

use super::session::Facts;
use super::statement::Name;
use super::world;
use crate::catalog::visible::system_schema;
use crate::catalog::{Body, Entry};
use crate::error::{Error, Kind, Result};
use crate::policy::guard::undefined_table;
use crate::policy::{Action, Decision};
use crate::sources::{Table, Writer};
use crate::types::TableName;

/// Where a table or schema is asked about, only what the session may know of counts: a hidden one answers as one that is
/// not there, whatever the statement.
fn is_known(facts: &Facts, schema: &str) -> bool {
    facts.view.schema_oid(schema).is_some()
}

/// 42501 without the right, 0A000 where the schema is not a lake's, 3F000 where there is none.
pub(crate) fn writer_for_create(facts: &Facts, name: &TableName) -> Result<Arc<dyn Writer>> {
    writer_of_schema(facts, &name.schema, facts.policy.may_create(&name.schema))
}

/// As [`writer_for_create`], for a schema itself.
pub(crate) fn writer_for_drop(facts: &Facts, schema: &str) -> Result<Arc<dyn Writer>> {
    writer_of_schema(facts, schema, facts.policy.may_drop_schema(schema))
}

fn writer_of_schema(facts: &Facts, schema: &str, may: bool) -> Result<Arc<dyn Writer>> {
    if !is_known(facts, schema) {
        return Err(undefined_schema(schema));
    }
    if !may {
        return Err(Error::new(Kind::PermissionDenied, format!("permission denied for schema {schema}")));
    }
    match world::writer(&facts.world.catalog, schema)? {
        Some(writer) => Ok(writer),
        None => Err(not_a_lake(schema)),
    }
}

/// Makes the schema in the only lake there is; `false` where it exists and may. The name must be free in every source: a
/// second schema of one name would be left out of the catalog. Whoever may make it is shown that it exists
/// ([`crate::catalog::visible::View`]); to anybody else the answer is the same whether it does or not.
pub(crate) async fn create_schema(facts: &Facts, schema: &str, if_not_exists: bool) -> Result<bool> {
    if !facts.policy.may_create(schema) {
        let text = format!("permission denied for database {}", facts.world.catalog.database);
        return Err(Error::new(Kind::PermissionDenied, text));
    }
    if facts.world.catalog.schemas.contains_key(schema) {
        return match if_not_exists {
            true => Ok(false),
            false => Err(Error::new(Kind::DuplicateSchema, format!("schema \"{schema}\" already exists"))),
        };
    }
    if crate::catalog::file::reserved(schema).is_some() {
        let text = format!("unacceptable schema name \"{schema}\"");
        return Err(Error::new(Kind::ReservedName, text).with_detail("The name is reserved for the system."));
    }
    let mut lakes = facts.world.lakes();
    let lake = match (lakes.pop(), lakes.is_empty()) {
        (Some(lake), true) => lake,
        (None, _) => return Err(Error::unsupported("CREATE SCHEMA without a lake")),
        (Some(_), false) => return Err(Error::unsupported("CREATE SCHEMA with more than one lake")),
    };
    match lake.create_schema(schema).await {
        Err(error) if if_not_exists && error.kind() == Kind::DuplicateSchema => Ok(false),
        other => other.map(|()| true),
    }
}

/// Where a new table without a schema is made: the first schema of the search path that the session knows.
pub(crate) fn new_table(facts: &Facts, name: &Name) -> Result<TableName> {
    let known = |schema: &&String| is_known(facts, schema) && system_schema(schema).is_none();
    match (&name.schema, facts.search_path.iter().find(known)) {
        (Some(schema), _) | (None, Some(schema)) => Ok(TableName::new(schema, &name.table)),
        (None, None) => Err(Error::new(Kind::UndefinedSchema, "no schema has been selected to create in")),
    }
}

/// The target, where this principal may do `action` to it. Without a schema it is the first of this name on the search
/// path that the session sees or may do this to.
pub(crate) fn target<'a>(facts: &'a Facts, name: &Name, action: Action) -> Result<(&'a Entry, Arc<dyn Writer>)> {
    let (entry, visible) = match &name.schema {
        Some(schema) => known_entry(facts, &TableName::new(schema, &name.table), action)?,
        None => {
            let tables = facts.search_path.iter().map(|schema| TableName::new(schema, &name.table));
            let found = tables.map(|table| known_entry(facts, &table, action)).find(|found| match found {
                Ok(_) => true,
                Err(error) => error.kind() != Kind::UndefinedTable,
            });
            found.unwrap_or_else(|| Err(undefined_relation(&name.table)))?
        }
    };
    match facts.policy.decide(entry.object.id, action) {
        Decision::Allow(_) => {}
        Decision::Deny if visible => {
            return Err(Error::new(Kind::PermissionDenied, format!("permission denied for table {}", name.table)));
        }
        Decision::Deny => return Err(undefined_table(&entry.object.name)),
    }
    match world::writer(&facts.world.catalog, &entry.object.name.schema)? {
        Some(writer) => Ok((entry, writer)),
        None => Err(not_a_lake(&entry.object.name.schema)),
    }
}

/// The table itself, as the statement is planned over it.
pub(crate) fn table(entry: &Entry) -> Result<Arc<dyn Table>> {
    match &entry.body {
        Body::Table(table) => Ok(Arc::clone(table)),
        Body::Dataset(_) => Err(Error::internal("a dataset in a lake's schema")),
    }
}

/// What stands under a name for this session, and whether it sees it; 08006 only to those who may know of the source.
fn known_entry<'a>(facts: &'a Facts, name: &TableName, action: Action) -> Result<(&'a Entry, bool)> {
    let entry = match facts.world.catalog.find(name) {
        Ok(entry) => entry,
        Err(down) if facts.policy.may_know(&name.schema) => return Err(down),
        Err(_) => None,
    };
    let entry = entry.ok_or_else(|| undefined_table(name))?;
    let may = |action| matches!(facts.policy.decide(entry.object.id, action), Decision::Allow(_));
    let visible = may(Action::Select);
    if visible || may(action) { Ok((entry, visible)) } else { Err(undefined_table(name)) }
}

/// The columns that an INSERT may name: those that the session sees, or all where it may insert and not read. One that it
/// does not see is as absent here as anywhere, and stays NULL; where it must not be NULL there is no row to insert.
pub(crate) fn insertable(facts: &Facts, entry: &Entry) -> Result<SchemaRef> {
    let raw = &entry.object.schema;
    let Decision::Allow(grant) = facts.policy.decide(entry.object.id, Action::Select) else {
        return Ok(Arc::clone(raw));
    };
    let hidden = |field: &&arrow::datatypes::FieldRef| grant.hidden.contains(field.name());
    if raw.fields().iter().filter(hidden).any(|field| !field.is_nullable()) {
        let text = format!("permission denied for table {}", entry.object.name.table);
        return Err(Error::new(Kind::PermissionDenied, text));
    }
    Ok(Arc::new(Schema::new(raw.fields().iter().filter(|f| !hidden(f)).cloned().collect::<Vec<_>>())))
}

fn undefined_relation(table: &str) -> Error {
    Error::new(Kind::UndefinedTable, format!("relation \"{table}\" does not exist"))
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

/// INSERT's query columns in the table's order; columns that are not named get NULL, and so do those of `raw` that are not
/// in `table`, which are hidden.
pub(crate) fn arrange(named: &[String], given: usize, table: &Schema, raw: &Schema) -> Result<Vec<Option<usize>>> {
    let shown = arrange_shown(named, given, table)?;
    let place = |field: &arrow::datatypes::FieldRef| table.index_of(field.name()).ok();
    Ok(raw.fields().iter().map(|f| place(f).and_then(|at| shown.get(at).copied().flatten())).collect())
}

fn arrange_shown(named: &[String], given: usize, table: &Schema) -> Result<Vec<Option<usize>>> {
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
