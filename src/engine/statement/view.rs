//! CREATE, ALTER and DROP VIEW: views of a lake, materialized or not, and a session's own. What a view's text means when it
//! is read is judged by `policy`, as for datasets: with its owner's rights of that moment, under whatever lines name the
//! reader.
//!
//! Whoever writes a view's text is its owner, after OR REPLACE too: a text never runs with more rights than its writer has.

mod alter;
mod create;
mod drop;
mod materialized;

pub(super) use alter::as_table as alter_as_table;
pub(super) use materialized::{may_drop as may_drop_materialized, not_as_table as materialized_not_as_table};

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::sql::sqlparser::ast::{Ident, ObjectName};

use super::create_table_as::each_once;
use super::name::Name;
use super::{Admitted, target};
use crate::catalog::dataset::Dataset;
use crate::catalog::{Body, Entry};
use crate::engine::asked::Right;
use crate::engine::bodies::{self, Definition};
use crate::engine::facts::Facts;
use crate::engine::session::Session;
use crate::engine::world;
use crate::error::{Error, Kind, Result};
use crate::pgtype::{self, oid};
use crate::policy::{Action, Decision};
use crate::sources::{Table, ViewText, Writer};
use crate::sql::parse::view::View;
use crate::types::TableName;

pub(super) fn admit(view: View) -> Result<Admitted> {
    match view {
        View::Create(create) => create::admit(create),
        View::Alter { name, if_exists, change, materialized: false } => alter::admit(&name, if_exists, change),
        View::Alter { name, if_exists, change, materialized: true } => {
            materialized::admit_alter(&name, if_exists, change)
        }
        View::Drop(drop) => drop::admit(drop),
        View::CreateMaterialized(create) => materialized::admit_create(create),
        View::Refresh(refresh) => materialized::admit_refresh(&refresh),
    }
}

/// The query of a statement that makes a view, as it stands there.
#[derive(Debug)]
struct Written {
    query: String,
    /// Characters of the statement before it.
    before: usize,
    /// Names for its columns, from the left.
    columns: Vec<String>,
}

/// What a statement that makes a view says where its columns cannot be.
struct Words {
    too_many_names: &'static str,
    no_columns: &'static str,
}

impl Written {
    fn of(query: String, before: usize, columns: &[Ident]) -> Self {
        Self { query, before, columns: columns.iter().map(super::ident).collect() }
    }

    /// With nothing in it left to be looked up, as the session sees what it names.
    async fn defined(&self, session: &Session, facts: &Arc<Facts>) -> Result<Definition> {
        let (query, facts) = (self.query.clone(), Arc::clone(facts));
        let shared = &session.engine.shared;
        let limits = shared.config.statement.clone();
        let defined = shared.planner.run(move |_, runtime| bodies::define(&query, &facts, &limits, runtime)).await;
        defined.map_err(|error| self.placed(error))
    }

    /// At its place in the statement.
    fn placed(&self, error: Error) -> Error {
        match error.position() {
            Some(at) => error.at(at + self.before),
            None => error,
        }
    }

    /// The query's columns under the names that they get. 42701 for a name twice, 42P16 for a type that nothing keeps.
    fn named(&self, columns: &Schema, words: &Words) -> Result<Vec<Field>> {
        let fields = columns.fields();
        if self.columns.len() > fields.len() {
            return Err(Error::new(Kind::Syntax, words.too_many_names));
        }
        if fields.is_empty() {
            return Err(Error::unsupported(words.no_columns));
        }
        let names = self.columns.iter().chain(fields.iter().skip(self.columns.len()).map(|field| field.name()));
        each_once(names.clone())?;
        let named = fields.iter().zip(names).map(|(field, name)| {
            if pgtype::of_field(field)?.oid == oid::RECORD {
                let text = format!("column \"{name}\" has pseudo-type record");
                return Err(Error::new(Kind::InvalidTableDefinition, text));
            }
            Ok(field.as_ref().clone().with_name(name))
        });
        named.collect()
    }
}

/// A view of a lake that a statement is about.
pub(super) struct Found<'a> {
    entry: &'a Entry,
    view: &'a ViewText,
    pub(super) table: Arc<dyn Table>,
    pub(super) writer: Arc<dyn Writer>,
}

impl<'a> Found<'a> {
    pub(super) fn name(&self) -> &'a TableName {
        &self.entry.object.name
    }

    /// As [`Found::of`], for whoever sees the whole of it: lines find a view and its columns by their names, and answers about
    /// hidden ones would tell of them.
    pub(super) fn owned(facts: &Facts, entry: &'a Entry) -> Result<Self> {
        let found = Self::of(facts, entry)?;
        match target::is_whole(facts, entry) {
            true => Ok(found),
            false => Err(must_own(&entry.object.name.table)),
        }
    }

    /// 42501 for whoever may not drop it.
    pub(super) fn of(facts: &Facts, entry: &'a Entry) -> Result<Self> {
        let name = &entry.object.name;
        let Body::Dataset(dataset) = &entry.body else { return Err(not_a_view(&name.table)) };
        let Dataset { kept: Some(table), .. } = dataset.as_ref() else { return Err(must_own(&name.table)) };
        let (table, Some(view)) = (Arc::clone(table), dataset.view()) else { return Err(must_own(&name.table)) };
        if matches!(facts.policy.decide(entry.object.id, Action::Drop), Decision::Deny) {
            return Err(must_own(&name.table));
        }
        facts.gave(Right::To(Action::Drop, entry.object.id));
        match world::writer(&facts.world.catalog, &name.schema)? {
            Some(writer) => Ok(Self { entry, view, table, writer }),
            None => Err(must_own(&name.table)),
        }
    }
}

/// What stands under a name that the session sees or may drop; 42P01 in the words of `missing`.
fn entry<'a>(facts: &'a Facts, name: &Name, missing: &dyn Fn() -> Error) -> Result<&'a Entry> {
    let schemas: Vec<&str> = match &name.schema {
        Some(schema) => vec![schema],
        None => facts.search_path.iter().map(String::as_str).collect(),
    };
    for schema in schemas {
        match target::known_entry(facts, &TableName::new(schema, &name.table), Action::Drop) {
            Ok((entry, _)) => return Ok(entry),
            Err(error) if error.kind() == Kind::UndefinedTable => {}
            Err(error) => return Err(error),
        }
    }
    Err(missing())
}

/// The view of a lake that stands under a name, if it is one that the session sees; 42501 where it may not change it.
pub(super) fn find<'a>(facts: &'a Facts, name: &Name) -> Result<Option<Found<'a>>> {
    let missing = || target::undefined_relation(&name.table);
    match entry(facts, name, &missing) {
        Ok(entry) if kept(entry).is_some() => Found::owned(facts, entry).map(Some),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == Kind::UndefinedTable => Ok(None),
        Err(error) => Err(error),
    }
}

/// As its source gave it, where the entry is a view of a lake.
pub(super) fn kept(entry: &Entry) -> Option<&Arc<dyn Table>> {
    match &entry.body {
        Body::Dataset(dataset) => dataset.kept.as_ref(),
        Body::Table(_) => None,
    }
}

/// Words for a view or one of its columns; `None` takes them away. 42703 for a column that it does not have.
pub(super) async fn comment(found: &Found<'_>, column: Option<&str>, text: Option<String>) -> Result<()> {
    let mut view = found.view.clone();
    match column {
        None => view.comment = text,
        Some(name) => match view.columns.iter_mut().find(|column| column.name == name) {
            Some(column) => column.comment = text,
            None => {
                let text = format!("column \"{name}\" of relation \"{}\" does not exist", found.name().table);
                return Err(Error::new(Kind::UndefinedColumn, text));
            }
        },
    }
    found.writer.replace_view(found.table.as_ref(), &view).await
}

/// 42809.
pub(super) fn not_a_table(name: &str) -> Error {
    Error::new(Kind::WrongObjectType, format!("\"{name}\" is not a table"))
}

/// 42809.
fn not_a_view(name: &str) -> Error {
    Error::new(Kind::WrongObjectType, format!("\"{name}\" is not a view"))
}

/// 42501 in the words that PostgreSQL has for whoever is not a view's owner.
fn must_own(name: &str) -> Error {
    Error::new(Kind::PermissionDenied, format!("must be owner of view {name}"))
}

fn name_of(name: &ObjectName) -> Result<Name> {
    super::table_name(name)
}
