//! ALTER TABLE and ALTER SCHEMA. Whoever changes a definition must see the table whole: what is hidden from him would tell of
//! itself by the answers, and a policy's lines find a table by its name.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::Ident;

use super::create_table::column_of;
use super::name::{Name, ident, table_name};
use super::{Admitted, Execution, Outcome, Statement, Work, comment, counter, default, dependents, target, view};
use crate::catalog::{Body, file};
use crate::engine::asked::Right;
use crate::engine::facts::Facts;
use crate::engine::notice::Notice;
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result};
use crate::lake::Alter as Column;
use crate::sources::{self, Writer};
use crate::sql::parse::alter::{Alter, Change, SchemaChange};
use crate::types::TableName;

#[derive(Debug)]
struct AlterTable {
    name: Name,
    if_exists: bool,
    changes: Vec<Change>,
}

#[derive(Debug)]
struct RenameSchema {
    schema: String,
    to: String,
}

/// A change of owner: there are none, rights are the policy's.
#[derive(Debug)]
struct SchemaOwner(String);

pub(super) fn admit(alter: Alter) -> Result<Admitted> {
    Ok(match alter {
        Alter::Table { table, if_exists, changes } => {
            Admitted::new(AlterTable { name: table_name(&table)?, if_exists, changes })
        }
        Alter::Schema { schema, change: SchemaChange::Rename(to) } => {
            Admitted::new(RenameSchema { schema: ident(&schema), to: ident(&to) })
        }
        Alter::Schema { schema, change: SchemaChange::Owner } => Admitted::new(SchemaOwner(ident(&schema))),
        Alter::Comment { on, text } => return comment::admit(on, text),
    })
}

impl Statement for AlterTable {
    fn kind(&self) -> &'static str {
        "alter table"
    }

    fn writes(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, session: &'a mut Session, execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            const TAG: &str = "ALTER TABLE";
            let facts = session.facts()?;
            if facts.temporary.has(&self.name) {
                return Err(Error::unsupported("ALTER TABLE of a temporary table"));
            }
            if let Some(found) = view::find(&facts, &self.name)? {
                // as PostgreSQL has it, for what a view has too
                execution.record.target(found.name().to_string());
                let [change] = self.changes.as_slice() else { return Err(view::not_a_table(&self.name.table)) };
                return view::alter_as_table(&facts, &found, change, TAG).await;
            }
            let (entry, writer) = match target::owned(&facts, &self.name) {
                Err(e) if self.if_exists && e.kind() == Kind::UndefinedTable => {
                    let text = format!("relation \"{}\" does not exist, skipping", self.name.table);
                    session.say(Notice::notice("00000", text));
                    return Outcome::done("ALTER TABLE");
                }
                found => found?,
            };
            let name = entry.object.name.clone();
            execution.record.target(name.to_string());
            if let Some(new) = self.changes.first().and_then(new_name) {
                return rename(&facts, &name, writer.as_ref(), new, TAG).await;
            }
            if let (Some(_), Some(change)) = (target::materialized(entry), self.changes.first()) {
                return Err(view::materialized_not_as_table(&name.table, change));
            }
            let table = target::of_lake(entry)?;
            if let Some(what) = self.changes.iter().find_map(disturbs)
                && let Some(reader) = dependents::of(&facts, &[entry]).first()
            {
                return Err(Error::unsupported(format!("{what} of a table that views read"))
                    .with_detail(reader.words(&facts))
                    .with_hint("Drop them first, and make them again after it."));
            }
            // lines find columns by their names: whoever may not change the lines leaves those columns
            let renames = |change: &Change| matches!(change, Change::Drop { .. } | Change::RenameColumn { .. });
            if self.changes.iter().any(renames)
                && facts.world.policies.is_restricted(entry.object.id)
                && !facts.policy.is_admin()
            {
                let text = format!("permission denied for table {}", name.table);
                return Err(Error::new(Kind::PermissionDenied, text).with_hint(
                    "The policy restricts columns or rows of it: an administrator renames and drops its columns.",
                ));
            }
            let mut changes = vec![];
            for change in &self.changes {
                if let Some(made) = self.change(change, table.schema().as_ref(), session)? {
                    changes.push(defaulted(session, &facts, change, table.schema().as_ref(), made).await?);
                }
            }
            if changes.is_empty() {
                return Outcome::done("ALTER TABLE");
            }
            writer.alter_table(&facts.statement_state(None), table.as_ref(), &changes).await?;
            Outcome::changed("ALTER TABLE", &facts.world)
        })
    }
}

/// What a view's text, or the types of its columns, may not live through.
fn disturbs(change: &Change) -> Option<&'static str> {
    match change {
        Change::Drop { .. } => Some("dropping a column"),
        Change::RenameColumn { .. } => Some("renaming a column"),
        Change::Retype { .. } => Some("changing the type of a column"),
        Change::Add { .. }
        | Change::NotNull { .. }
        | Change::Default { .. }
        | Change::Rename(_)
        | Change::SetSchema(_)
        | Change::Set(_)
        | Change::Reset(_)
        | Change::Owner
        | Change::Other(_) => None,
    }
}

/// Which part of a relation's name is to be another one.
#[derive(Clone, Copy, Debug)]
pub(super) enum NewName<'a> {
    Table(&'a Ident),
    Schema(&'a Ident),
}

fn new_name(change: &Change) -> Option<NewName<'_>> {
    match change {
        Change::Rename(to) => Some(NewName::Table(to)),
        Change::SetSchema(to) => Some(NewName::Schema(to)),
        Change::Add { .. }
        | Change::Drop { .. }
        | Change::Retype { .. }
        | Change::NotNull { .. }
        | Change::Default { .. }
        | Change::RenameColumn { .. }
        | Change::Set(_)
        | Change::Reset(_)
        | Change::Owner
        | Change::Other(_) => None,
    }
}

/// What a relation of a lake is called then; `None` where it stands in that schema already. Needs the right to make one
/// under the new name. 42P07 for the name that it has, 0A000 for a schema of another lake.
pub(super) fn renamed(facts: &Facts, name: &TableName, new: NewName<'_>) -> Result<Option<TableName>> {
    let to = match new {
        NewName::Table(to) => TableName::new(&name.schema, ident(to)),
        NewName::Schema(to) => TableName::new(ident(to), &name.table),
    };
    target::writer_for_create(facts, &to)?;
    same_source(facts, name, &to)?;
    match (new, to == *name) {
        (NewName::Table(_) | NewName::Schema(_), false) => Ok(Some(to)),
        (NewName::Schema(_), true) => Ok(None),
        (NewName::Table(_), true) => {
            let text = format!("relation \"{}\" already exists", to.table);
            Err(Error::new(Kind::DuplicateTable, text))
        }
    }
}

/// Of a table, or of a materialized view.
pub(super) async fn rename(
    facts: &Facts,
    name: &TableName,
    writer: &dyn Writer,
    new: NewName<'_>,
    tag: &str,
) -> Result<Outcome> {
    match renamed(facts, name, new)? {
        None => Outcome::done(tag),
        Some(to) => {
            writer.rename_table(name, &to).await?;
            Outcome::changed(tag, &facts.world)
        }
    }
}

impl AlterTable {
    /// `None`: nothing is to be done, which is said.
    fn change(
        &self,
        change: &Change,
        schema: &arrow::datatypes::Schema,
        session: &mut Session,
    ) -> Result<Option<sources::Alteration>> {
        let has = |column: &Ident| schema.index_of(&ident(column)).is_ok();
        let table = &self.name.table;
        Ok(Some(sources::Alteration::Column(match change {
            Change::Add { column, if_not_exists } => {
                if *if_not_exists && has(&column.name) {
                    let text =
                        format!("column \"{}\" of relation \"{table}\" already exists, skipping", ident(&column.name));
                    session.say(Notice::notice(Kind::DuplicateColumn.sqlstate(), text));
                    return Ok(None);
                }
                if let Some(other) = column.other.or(counter::serial(&column.data_type).map(|_| "serial")) {
                    return Err(Error::unsupported(format!("ADD COLUMN … {}", other.to_uppercase())));
                }
                Column::Add(column_of(&ident(&column.name), &column.data_type, !column.not_null)?)
            }
            Change::Drop { column, if_exists } => {
                if *if_exists && !has(column) {
                    let text = format!("column \"{}\" of relation \"{table}\" does not exist, skipping", ident(column));
                    session.say(Notice::notice("00000", text));
                    return Ok(None);
                }
                Column::Drop(ident(column))
            }
            Change::Retype { computed: true, .. } => {
                return Err(Error::unsupported("ALTER COLUMN … TYPE … USING")
                    .with_hint("Make the table again with CREATE TABLE AS."));
            }
            Change::Retype { column, to, .. } => {
                Column::Retype { column: ident(column), to: column_of(&ident(column), to, true)? }
            }
            Change::NotNull { column, set } => Column::Require { column: ident(column), required: *set },
            Change::RenameColumn { column, to } => Column::Rename { column: ident(column), to: ident(to) },
            Change::Set(properties) => return properties_of(properties).map(|set| Some(sources::Alteration::Set(set))),
            Change::Reset(names) => {
                names.iter().try_for_each(|name| settable(name))?;
                return Ok(Some(sources::Alteration::Unset(names.clone())));
            }
            Change::Default { column, .. } if !has(column) => {
                let text = format!("column \"{}\" of relation \"{table}\" does not exist", ident(column));
                return Err(Error::new(Kind::UndefinedColumn, text));
            }
            Change::Default { column, .. } => {
                return Ok(Some(sources::Alteration::Default { column: ident(column), to: None }));
            }
            Change::Owner => return Ok(None),
            Change::Other(words) => return Err(Error::unsupported(format!("ALTER TABLE … {words}"))),
            // not one of several
            Change::Rename(_) | Change::SetSchema(_) => return Err(Error::internal("a name among changes")),
        })))
    }
}

/// The same with the default that the column is given.
async fn defaulted(
    session: &Session,
    facts: &Arc<Facts>,
    change: &Change,
    schema: &arrow::datatypes::Schema,
    made: sources::Alteration,
) -> Result<sources::Alteration> {
    Ok(match (change, made) {
        (Change::Add { column, .. }, sources::Alteration::Column(Column::Add(field))) => {
            let Some(expr) = &column.default else { return Ok(sources::Alteration::Column(Column::Add(field))) };
            let text = default::text(session, facts, &Arc::new(field.clone()), expr).await?;
            sources::Alteration::Column(Column::Add(default::with(&field, text)))
        }
        (Change::Default { to: Some(expr), .. }, sources::Alteration::Default { column, .. }) => {
            let field = Arc::new(schema.field_with_name(&column)?.clone());
            let to = default::text(session, facts, &field, expr).await?;
            sources::Alteration::Default { column, to }
        }
        (_, made) => made,
    })
}

/// Where files lie is the lake's to say: a table's writer writes with the server's rights.
const PLACES: [&str; 4] =
    ["write.data.path", "write.metadata.path", "write.object-storage.path", "write.folder-storage.path"];

/// Parameters of a table: Iceberg's properties. 22023 for one that is lakegate's own to set, and for places of files.
pub(super) fn properties_of(properties: &[(String, String)]) -> Result<Vec<(String, String)>> {
    properties.iter().try_for_each(|(name, _)| settable(name))?;
    Ok(properties.to_vec())
}

pub(super) fn settable(name: &str) -> Result<()> {
    let kept = name.starts_with("lakegate.keeper.");
    let own = name.starts_with("lakegate.") && !kept;
    match own || !name.contains('.') || PLACES.contains(&name) {
        true => Err(Error::new(Kind::InvalidParameter, format!("unrecognized parameter \"{name}\""))
            .with_hint("Properties of Iceberg are written as \"write.parquet.compression-codec\".")),
        false => Ok(()),
    }
}

/// 0A000 where the tables lie in different lakes.
fn same_source(facts: &Facts, name: &TableName, to: &TableName) -> Result<()> {
    let source = |schema: &str| {
        let mounted = facts.world.catalog.schemas.get(schema).and_then(Option::as_ref);
        mounted.map(|mounted| mounted.source.name().to_string())
    };
    match source(&name.schema) == source(&to.schema) {
        true => Ok(()),
        false => Err(Error::unsupported("SET SCHEMA to a schema of another lake")),
    }
}

impl Statement for RenameSchema {
    fn kind(&self) -> &'static str {
        "alter schema"
    }

    fn writes(&self) -> bool {
        true
    }

    fn is_several(&self) -> bool {
        true
    }

    /// A namespace is a part of each of its tables' names.
    fn run<'a>(&'a self, session: &'a mut Session, execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            execution.record.target(format!("{} {}", self.schema, self.to));
            let facts = session.facts()?;
            let writer = target::writer_for_drop(&facts, &self.schema)?;
            if !facts.policy.may_create(&self.to) {
                let text = format!("permission denied for database {}", facts.world.catalog.database);
                return Err(Error::new(Kind::PermissionDenied, text));
            }
            facts.gave(Right::Create(self.to.clone()));
            if facts.world.catalog.schemas.contains_key(&self.to) {
                let text = format!("schema \"{}\" already exists", self.to);
                return Err(Error::new(Kind::DuplicateSchema, text));
            }
            if file::reserved(&self.to).is_some() {
                let text = format!("unacceptable schema name \"{}\"", self.to);
                return Err(Error::new(Kind::ReservedName, text));
            }
            let tables = target::owned_in(&facts, &self.schema)?;
            writer.create_schema(&self.to).await?;
            for entry in tables {
                let (name, to) = (&entry.object.name, TableName::new(&self.to, &entry.object.name.table));
                match &entry.body {
                    Body::Table(_) => writer.rename_table(name, &to).await?,
                    Body::Dataset(_) => {
                        writer.rename_view(view::Found::owned(&facts, entry)?.table.as_ref(), &to).await?;
                    }
                }
            }
            writer.drop_schema(&self.schema).await?;
            Outcome::changed("ALTER SCHEMA", &facts.world)
        })
    }
}

impl Statement for SchemaOwner {
    fn kind(&self) -> &'static str {
        "alter schema"
    }

    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let facts = session.facts()?;
            target::writer_for_drop(&facts, &self.0)?;
            Outcome::done("ALTER SCHEMA")
        })
    }
}
