//! CREATE VIEW. The query is bound as its maker sees it, and kept with nothing in it left to be looked up.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};

use super::super::name::Name;
use super::super::{Admitted, Execution, Outcome, Statement, Work, target};
use super::{Found, Words, Written, name_of, not_a_view};
use crate::catalog::Body;
use crate::engine::bodies::Definition;
use crate::engine::facts::Facts;
use crate::engine::notice::Notice;
use crate::engine::session::Session;
use crate::engine::temporary::{OwnView, Temporary};
use crate::error::{Error, Kind, Result};
use crate::pgtype::{self, oid};
use crate::sources::{ViewColumn, ViewText};
use crate::sql::parse::view::Create;
use crate::types::TableName;

#[derive(Debug)]
struct CreateView {
    name: Name,
    written: Written,
    or_replace: bool,
    temporary: bool,
}

pub(super) fn admit(create: Create) -> Result<Admitted> {
    let name = name_of(&create.name)?;
    options(&create)?;
    let named_so = name.schema.as_deref().is_some_and(Temporary::is_schema);
    let temporary = create.temporary || named_so;
    if temporary && name.schema.is_some() && !named_so {
        return Err(no_schema_for_temporary());
    }
    let Create { query, before, columns, or_replace, .. } = create;
    let written = Written::of(query, before, &columns);
    Ok(Admitted::new(CreateView { name, written, or_replace, temporary }))
}

fn no_schema_for_temporary() -> Error {
    Error::new(Kind::InvalidTableDefinition, "cannot create temporary relation in non-temporary schema")
}

/// Every view is a barrier and is read with its owner's rights: that much may be said, and nothing else.
fn options(create: &Create) -> Result<()> {
    for (name, value) in &create.options {
        let is_on = || match value.as_deref() {
            None | Some("true" | "on" | "yes" | "1") => Ok(true),
            Some("false" | "off" | "no" | "0") => Ok(false),
            Some(other) => {
                let text = format!("invalid value for boolean option \"{name}\": {other}");
                Err(Error::new(Kind::InvalidParameter, text))
            }
        };
        match name.as_str() {
            "security_barrier" => is_on().map(|_| ())?,
            "security_invoker" if !is_on()? => {}
            "security_invoker" => return Err(Error::unsupported("a view that is read with the rights of its reader")),
            "check_option" => return Err(Error::unsupported("a view that rows are written through")),
            _ => return Err(Error::new(Kind::InvalidParameter, format!("unrecognized parameter \"{name}\""))),
        }
    }
    match create.checks {
        true => Err(Error::unsupported("a view that rows are written through")),
        false => Ok(()),
    }
}

impl Statement for CreateView {
    fn kind(&self) -> &'static str {
        "create view"
    }

    fn writes(&self) -> bool {
        true
    }

    fn is_temporary(&self, _: &Temporary) -> bool {
        // one that reads a temporary table is one too, which its text alone does not say
        self.temporary
    }

    fn run<'a>(&'a self, session: &'a mut Session, execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let facts = session.facts()?;
            let definition = self.written.defined(session, &facts).await?;
            let columns = self.columns(&definition)?;
            if self.temporary || !definition.own.is_empty() {
                if !self.temporary {
                    let text = format!("view \"{}\" will be a temporary view", self.name.table);
                    session.say(Notice::notice("00000", text));
                }
                return self.own(&facts, definition, columns);
            }
            target::as_oneself(&facts)?;
            let name = target::new_table(&facts, &self.name)?;
            execution.record.target(name.to_string());
            let writer = target::writer_for_create(&facts, &name)?;
            let mut view = ViewText {
                sql: definition.sql.clone(),
                owner: facts.policy.principal().user().to_owned(),
                columns,
                comment: None,
            };
            match self.replaced(&facts, &name)? {
                None => writer.create_view(&name, &view).await?,
                Some(old) => {
                    if reads_itself(&facts, &old, &definition) {
                        let text = format!("infinite recursion detected in rules for relation \"{}\"", name.table);
                        return Err(Error::new(Kind::InvalidDefinition, text));
                    }
                    view.columns = replacing(&old.view.columns, view.columns)?;
                    view.comment = old.view.comment.clone();
                    writer.replace_view(old.table.as_ref(), &view).await?;
                }
            }
            Outcome::changed("CREATE VIEW", &facts.world)
        })
    }
}

impl CreateView {
    /// A view of the session's.
    fn own(&self, facts: &Facts, definition: Definition, columns: Vec<ViewColumn>) -> Result<Outcome> {
        if !self.temporary && self.name.schema.is_some() {
            return Err(no_schema_for_temporary());
        }
        let name = self.name.table.as_str();
        let known = facts.temporary.schema(name).filter(|_| self.or_replace);
        if let Some(schema) = known {
            if facts.temporary.view(name).is_none() {
                return Err(not_a_view(name));
            }
            let reads_itself = |own: &String| own == name || facts.temporary.readers(name).contains(own);
            if definition.own.iter().any(reads_itself) {
                let text = format!("infinite recursion detected in rules for relation \"{name}\"");
                return Err(Error::new(Kind::InvalidDefinition, text));
            }
            replacing(&columns_of(schema.fields().iter().map(AsRef::as_ref))?, columns.clone())?;
        }
        let fields = definition.columns.fields().iter().zip(&columns);
        let fields = fields.map(|(field, column)| field.as_ref().clone().with_name(&column.name));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let view = OwnView { sql: definition.sql, reads: definition.own };
        facts.temporary.create_view(name, schema, view, self.or_replace)?;
        Outcome::done("CREATE VIEW")
    }

    fn columns(&self, definition: &Definition) -> Result<Vec<ViewColumn>> {
        let words = Words {
            too_many_names: "CREATE VIEW specifies more column names than columns",
            no_columns: "a view without columns",
        };
        columns_of(self.written.named(&definition.columns, &words)?.iter())
    }

    /// The view that is there already, and may be replaced; 42P07 for anything else of the name.
    fn replaced<'a>(&self, facts: &'a Facts, name: &TableName) -> Result<Option<Found<'a>>> {
        let Some(entry) = facts.world.catalog.entries.get(name) else { return Ok(None) };
        let is_known = target::known_entry(facts, name, crate::policy::Action::Drop).is_ok();
        if !self.or_replace || !is_known {
            return Err(Error::new(Kind::DuplicateTable, format!("relation \"{}\" already exists", name.table)));
        }
        match &entry.body {
            Body::Dataset(_) => Found::owned(facts, entry).map(Some),
            Body::Table(_) => Err(not_a_view(&name.table)),
        }
    }
}

/// Numbered from the left.
fn columns_of<'a>(fields: impl Iterator<Item = &'a Field>) -> Result<Vec<ViewColumn>> {
    let columns = (1..).zip(fields).map(|(id, field)| {
        let ty = pgtype::of_field(field)?;
        let lies = match field.data_type() {
            // a numeric whose scale nobody knows
            DataType::Binary if ty.oid != oid::BYTEA => DataType::Utf8,
            other => other.clone(),
        };
        Ok(ViewColumn { id, name: field.name().clone(), oid: ty.oid, typmod: ty.typmod, comment: None, lies })
    });
    columns.collect()
}

fn reads_itself(facts: &Facts, old: &Found<'_>, definition: &Definition) -> bool {
    let id = old.entry.object.id;
    let below = definition.reads.iter().filter_map(|read| facts.world.catalog.reads.get(read)).flatten();
    definition.reads.iter().chain(below).any(|read| *read == id)
}

/// As checkViewColumns has it: columns stay as they are, and others may come behind them.
fn replacing(old: &[ViewColumn], new: Vec<ViewColumn>) -> Result<Vec<ViewColumn>> {
    let refused = |text: String| Error::new(Kind::InvalidTableDefinition, text);
    if new.len() < old.len() {
        return Err(refused("cannot drop columns from view".into()));
    }
    for (was, is) in old.iter().zip(&new) {
        if was.name != is.name {
            let text = format!("cannot change name of view column \"{}\" to \"{}\"", was.name, is.name);
            let hint = "Use ALTER VIEW ... RENAME COLUMN ... to change name of view column instead.";
            return Err(refused(text).with_hint(hint));
        }
        let of = |column: &ViewColumn| pgtype::Ty { oid: column.oid, typmod: column.typmod };
        if of(was) != of(is) {
            let (from, to) = (of(was).name_with_modifier(), of(is).name_with_modifier());
            let text = format!("cannot change data type of view column \"{}\" from {from} to {to}", was.name);
            return Err(refused(text));
        }
    }
    let next = old.iter().map(|column| column.id).max().unwrap_or(0).saturating_add(1);
    let kept = |at: usize| old.get(at).map(|was| (was.id, was.comment.clone()));
    let columns = new.into_iter().enumerate().map(|(at, column)| {
        let later = i32::try_from(at.saturating_sub(old.len())).unwrap_or(i32::MAX);
        let (id, comment) = kept(at).unwrap_or((next.saturating_add(later), None));
        ViewColumn { id, comment, ..column }
    });
    Ok(columns.collect())
}
