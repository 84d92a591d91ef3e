//! What a statement writes to: the lake's table or schema of a name, where this principal may do that to it. Reading has been
//! judged by the guard, or will be.

use std::sync::Arc;

use super::name::Name;
use crate::catalog::visible::{VisibleTable, system_schema};
use crate::catalog::{Body, Entry};
use crate::engine::asked::Right;
use crate::engine::facts::Facts;
use crate::engine::{temporary, world};
use crate::error::{Error, Kind, Result};
use crate::lake::Inspected;
use crate::policy::guard::undefined_table;
use crate::policy::{Action, Decision, ObjectKind};
use crate::sources::declared::Materialized;
use crate::sources::{ChangesRows, Table, Writer};
use crate::types::TableName;

/// Where a table or schema is asked about, only what the session may know of counts: a hidden one answers as one that is
/// not there, whatever the statement.
fn is_known(facts: &Facts, schema: &str) -> bool {
    facts.view.schema_oid(schema).is_some()
}

/// 42501 without the right, 0A000 where the schema is not a lake's, 3F000 where there is none.
pub(super) fn writer_for_create(facts: &Facts, name: &TableName) -> Result<Arc<dyn Writer>> {
    not_reserved(name)?;
    writer_of_schema(facts, &name.schema, facts.policy.may_create(&name.schema), Right::Create(name.schema.clone()))
}

/// 42939 for the name of what a table's metadata are shown under.
fn not_reserved(name: &TableName) -> Result<()> {
    let of_metadata = |(_, what): (&str, &str)| Inspected::ALL.iter().any(|known| known.name() == what);
    match name.table.rsplit_once('$').is_some_and(of_metadata) {
        true => {
            let text = format!("unacceptable relation name \"{}\"", name.table);
            Err(Error::new(Kind::ReservedName, text).with_detail("Metadata of a table are shown under such names."))
        }
        false => Ok(()),
    }
}

/// As [`writer_for_create`], for a schema itself.
pub(super) fn writer_for_drop(facts: &Facts, schema: &str) -> Result<Arc<dyn Writer>> {
    writer_of_schema(facts, schema, facts.policy.may_drop_schema(schema), Right::DropSchema(schema.to_string()))
}

fn writer_of_schema(facts: &Facts, schema: &str, may: bool, right: Right) -> Result<Arc<dyn Writer>> {
    if !is_known(facts, schema) {
        return Err(undefined_schema(schema));
    }
    if !may {
        return Err(Error::new(Kind::PermissionDenied, format!("permission denied for schema {schema}")));
    }
    facts.gave(right);
    match world::writer(&facts.world.catalog, schema)? {
        Some(writer) => Ok(writer),
        None => Err(not_a_lake(facts, schema)),
    }
}

/// Where a new table without a schema is made: the first schema of the search path that the session knows.
pub(super) fn new_table(facts: &Facts, name: &Name) -> Result<TableName> {
    let known = |schema: &&String| is_known(facts, schema) && system_schema(schema).is_none();
    match (&name.schema, facts.search_path.iter().find(known)) {
        (Some(schema), _) | (None, Some(schema)) => Ok(TableName::new(schema, &name.table)),
        (None, None) => Err(Error::new(Kind::UndefinedSchema, "no schema has been selected to create in")),
    }
}

/// As [`table_or_materialized`], for what a materialized view is not changed by.
pub(super) fn table<'a>(facts: &'a Facts, name: &Name, action: Action) -> Result<(&'a Entry, Arc<dyn Writer>)> {
    let (entry, writer) = table_or_materialized(facts, name, action)?;
    of_table(entry, name, action)?;
    Ok((entry, writer))
}

/// As [`table`], for what changes rows; a table whose source does that itself has no writer.
pub(super) fn of_rows<'a>(
    facts: &'a Facts,
    name: &Name,
    action: Action,
) -> Result<(&'a Entry, Option<Arc<dyn Writer>>)> {
    let entry = judged(facts, name, action)?;
    if matches!(&entry.body, Body::Table(table) if table.is_foreign()) {
        return Ok((entry, None));
    }
    let writer = writer_of(facts, entry).map_err(|error| hinted(facts, entry, error))?;
    of_table(entry, name, action)?;
    Ok((entry, Some(writer)))
}

fn of_table(entry: &Entry, name: &Name, action: Action) -> Result<()> {
    match (materialized(entry), action) {
        // its files are kept in order as a table's are
        (None, _) | (Some(_), Action::Maintain) => Ok(()),
        (Some(_), Action::Insert | Action::Update | Action::Delete | Action::Select) => {
            let text = format!("cannot change materialized view \"{}\"", name.table);
            Err(Error::new(Kind::WrongObjectType, text))
        }
        (Some(_), Action::Create | Action::Drop | Action::Refresh | Action::Query) => {
            let hint = "Use DROP MATERIALIZED VIEW to remove a materialized view.";
            Err(Error::new(Kind::WrongObjectType, format!("\"{}\" is not a table", name.table)).with_hint(hint))
        }
    }
}

/// What a table says of the query that fills it; `None` for others.
pub(super) fn materialized(entry: &Entry) -> Option<&Materialized> {
    match &entry.body {
        Body::Table(table) => table.declared().materialized.as_ref(),
        Body::Dataset(_) => None,
    }
}

/// The target, where this principal may do `action` to it. Without a schema it is the first of this name on the search
/// path that the session sees or may do this to.
pub(super) fn table_or_materialized<'a>(
    facts: &'a Facts,
    name: &Name,
    action: Action,
) -> Result<(&'a Entry, Arc<dyn Writer>)> {
    let entry = judged(facts, name, action)?;
    Ok((entry, writer_of(facts, entry)?))
}

fn writer_of(facts: &Facts, entry: &Entry) -> Result<Arc<dyn Writer>> {
    let schema = &entry.object.name.schema;
    world::writer(&facts.world.catalog, schema)?.ok_or_else(|| not_a_lake(facts, schema))
}

fn judged<'a>(facts: &'a Facts, name: &Name, action: Action) -> Result<&'a Entry> {
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
    if visible
        && let Body::Dataset(dataset) = &entry.body
        && dataset.kept.is_some()
    {
        return Err(not_for_views(&name.table, action));
    }
    match facts.policy.decide(entry.object.id, action) {
        Decision::Allow(_) if action == Action::Select => {}
        Decision::Allow(_) => facts.gave(Right::To(action, entry.object.id)),
        Decision::Deny if visible => {
            return Err(Error::new(Kind::PermissionDenied, format!("permission denied for table {}", name.table)));
        }
        Decision::Deny => return Err(undefined_table(&entry.object.name)),
    }
    Ok(entry)
}

/// The table or materialized view, where this principal may drop it and sees the whole of it: whoever changes what it is
/// called or made of must know all of it.
pub(super) fn owned<'a>(facts: &'a Facts, name: &Name) -> Result<(&'a Entry, Arc<dyn Writer>)> {
    let (entry, writer) = table_or_materialized(facts, name, Action::Drop)?;
    match is_whole(facts, entry) {
        true => Ok((entry, writer)),
        false => {
            let what = if materialized(entry).is_some() { "materialized view" } else { "table" };
            Err(Error::new(Kind::PermissionDenied, format!("must be owner of {what} {}", name.table)))
        }
    }
}

/// The table, where this principal may delete every row of it: those that it does not see would go too.
pub(super) fn emptied<'a>(facts: &'a Facts, name: &Name) -> Result<(&'a Entry, Arc<dyn Writer>)> {
    let (entry, writer) = table_or_materialized(facts, name, Action::Delete)?;
    if materialized(entry).is_some() {
        return Err(Error::new(Kind::WrongObjectType, format!("\"{}\" is not a table", name.table)));
    }
    let sees_all = match facts.policy.decide(entry.object.id, Action::Select) {
        Decision::Allow(grant) => grant.filter.is_none(),
        Decision::Deny => false,
    };
    match sees_all {
        true => Ok((entry, writer)),
        false => Err(Error::new(Kind::PermissionDenied, format!("permission denied for table {}", name.table))),
    }
}

pub(super) fn is_whole(facts: &Facts, entry: &Entry) -> bool {
    matches!(facts.policy.decide(entry.object.id, Action::Select), Decision::Allow(grant) if grant.is_full())
}

/// The tables and views of a schema, where they are all this principal's to drop and to see.
pub(super) fn owned_in<'a>(facts: &'a Facts, schema: &str) -> Result<Vec<&'a Entry>> {
    // what is about a table comes and goes with it
    let is_by_itself = |entry: &&Entry| !matches!(entry.object.kind, ObjectKind::MetadataOf { .. });
    let within = facts.world.catalog.entries.values().filter(|entry| entry.object.name.schema == schema);
    within
        .filter(is_by_itself)
        .map(|entry| {
            let may = matches!(facts.policy.decide(entry.object.id, Action::Drop), Decision::Allow(_));
            match may && is_whole(facts, entry) {
                true => Ok(entry),
                // which it is, is not said
                false => Err(Error::new(Kind::PermissionDenied, format!("must be owner of schema {schema}"))),
            }
        })
        .collect()
}

/// What PostgreSQL says of a view that no rows are written through, and of one that is no table.
pub(super) fn not_for_views(name: &str, action: Action) -> Error {
    let (to, how, rule) = match action {
        Action::Insert => ("insert into", "inserting into", "INSERT"),
        Action::Update => ("update", "updating", "UPDATE"),
        Action::Delete => ("delete from", "deleting from", "DELETE"),
        Action::Select | Action::Create | Action::Drop | Action::Refresh | Action::Maintain | Action::Query => {
            let error = Error::new(Kind::WrongObjectType, format!("\"{name}\" is not a table"));
            return match action {
                Action::Drop => error.with_hint("Use DROP VIEW to remove a view."),
                _ => error,
            };
        }
    };
    let hint = format!(
        "To enable {how} the view, provide an INSTEAD OF {rule} trigger or an unconditional ON {rule} DO INSTEAD rule."
    );
    Error::new(Kind::NotInState, format!("cannot {to} view \"{name}\"")).with_hint(hint)
}

/// The table itself, as the statement is planned over it.
pub(super) fn of_lake(entry: &Entry) -> Result<Arc<dyn Table>> {
    match &entry.body {
        Body::Table(table) => Ok(Arc::clone(table)),
        Body::Dataset(_) => Err(Error::internal("a dataset in a lake's schema")),
    }
}

/// What stands under a name that the session sees, its temporary tables first; `None` for a table of the system.
pub(super) fn seen<'a>(facts: &'a Facts, name: &Name) -> Result<Option<&'a VisibleTable>> {
    if facts.temporary.has(name) {
        return Ok(facts.view.table(&TableName::new(temporary::SCHEMA, &name.table)));
    }
    let of_system = |schema: &str| {
        system_schema(schema).is_some() && facts.view.relation_oid(&TableName::new(schema, &name.table)).is_some()
    };
    let schemas: Vec<&str> = match &name.schema {
        Some(schema) => vec![schema],
        None => facts.view.lookup_path().collect(),
    };
    for schema in schemas {
        if of_system(schema) {
            return Ok(None);
        }
        match known_entry(facts, &TableName::new(schema, &name.table), Action::Select) {
            Ok((entry, true)) => return Ok(facts.view.table(&entry.object.name)),
            Ok((_, false)) => {}
            Err(error) if error.kind() == Kind::UndefinedTable => {}
            Err(error) => return Err(error),
        }
    }
    Err(match &name.schema {
        Some(schema) => undefined_table(&TableName::new(schema, &name.table)),
        None => undefined_relation(&name.table),
    })
}

/// What stands under a name for this session, and whether it sees it; 08006 only to those who may know of the source.
pub(super) fn known_entry<'a>(facts: &'a Facts, name: &TableName, action: Action) -> Result<(&'a Entry, bool)> {
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

pub(super) fn undefined_relation(table: &str) -> Error {
    Error::new(Kind::UndefinedTable, format!("relation \"{table}\" does not exist"))
}

pub(super) fn undefined_schema(schema: &str) -> Error {
    Error::new(Kind::UndefinedSchema, format!("schema \"{schema}\" does not exist"))
}

fn not_a_lake(facts: &Facts, schema: &str) -> Error {
    let mounted = facts.world.catalog.schemas.get(schema).and_then(Option::as_ref);
    let changes = mounted.map_or(ChangesRows::Never, |mounted| mounted.source.changes_rows());
    let what = match changes {
        ChangesRows::Never | ChangesRows::NotAllowed => "its tables can only be read",
        ChangesRows::Allowed => "INSERT, UPDATE, DELETE and COPY alone change its tables, and nothing its views",
    };
    Error::new(Kind::Unsupported, format!("schema \"{schema}\" is not a lake's: {what}"))
}

/// Administrators are told what would let rows be changed.
fn hinted(facts: &Facts, entry: &Entry, error: Error) -> Error {
    let mounted = facts.world.catalog.schemas.get(&entry.object.name.schema).and_then(Option::as_ref);
    match mounted.map(|mounted| (&mounted.source, mounted.source.changes_rows())) {
        Some((source, ChangesRows::NotAllowed)) if error.kind() == Kind::Unsupported && facts.policy.is_admin() => {
            let file = format!("catalog/sources/{}.toml", source.name());
            error.with_hint(format!(
                "INSERT, UPDATE and DELETE are passed on to a source with writable = true in {file}."
            ))
        }
        Some((_, ChangesRows::Never | ChangesRows::NotAllowed | ChangesRows::Allowed)) | None => error,
    }
}

/// 42501 for a session that acts for another: what is made has one owner, with whose rights it is read later, and the
/// session's are those that two have together.
pub(super) fn as_oneself(facts: &Facts) -> Result<()> {
    match facts.policy.principal().acts_for() {
        None => Ok(()),
        Some(other) => {
            let text = format!("permission denied: nothing is owned by who acts for \"{other}\"");
            Err(Error::new(Kind::PermissionDenied, text).with_hint("RESET ROLE makes it the login's own."))
        }
    }
}
