//! CREATE TABLE … AS: a table of the lake made of a query's rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::ast::helpers::stmt_create_table::CreateTableBuilder;

use super::create_table::{admit_name, already_there, made, making, temporary};
use super::name::Name;
use super::{Admitted, Described, Execution, Outcome, Statement, Work, hidden, target};
use crate::engine::pipeline::{Caching, Told};
use crate::engine::run;
use crate::engine::session::Session;
use crate::engine::temporary::{OnCommit, Temporary};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres;
use crate::lake::Making;
use crate::pgtype;

#[derive(Debug)]
struct CreateTableAs {
    name: Name,
    query: Box<ast::Query>,
    if_not_exists: bool,
    temporary: Option<OnCommit>,
    making: Making,
}

pub(super) fn admit(create: ast::CreateTable) -> Result<Admitted> {
    let (name, temporary, making) = (admit_name(&create)?, temporary(&create)?, making(&create)?);
    match create.query {
        Some(query) if create.columns.is_empty() => {
            hidden::refuse(&query)?;
            let if_not_exists = create.if_not_exists;
            Ok(Admitted::new(CreateTableAs { name, query, if_not_exists, temporary, making }))
        }
        Some(_) => Err(Error::unsupported("CREATE TABLE AS with a column list")),
        None => Err(Error::internal("CREATE TABLE AS without a query")),
    }
}

/// SELECT … INTO is CREATE TABLE AS in other words.
pub(super) fn select_into(query: Box<ast::Query>, into: ast::SelectInto) -> Result<Admitted> {
    admit(CreateTableBuilder::new(into.name).temporary(into.temporary).query(Some(query)).build())
}

impl Statement for CreateTableAs {
    fn kind(&self) -> &'static str {
        "create table as"
    }

    fn writes(&self) -> bool {
        true
    }

    fn is_temporary(&self, _: &Temporary) -> bool {
        self.temporary.is_some()
    }

    fn describe<'a>(&'a self, session: &'a mut Session, told: Told) -> Work<'a, Described> {
        Box::pin(async move {
            // its query is not even planned then
            if self.is_there(session)? {
                return Ok(Described::default());
            }
            let again = Told { text: Arc::clone(&told.text), declared: told.declared.clone(), into: vec![] };
            let planned = session.plan(&self.query, told).await?;
            match storable(&planned.columns).filter(|_| self.temporary.is_none()) {
                None => Described::stored(planned),
                Some(into) => Described::stored(session.plan(&self.query, Told { into, ..again }).await?),
            }
        })
    }

    fn run<'a>(&'a self, session: &'a mut Session, mut execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            if let Some(on_commit) = self.temporary {
                return self.temporary(session, execution, on_commit).await;
            }
            let facts = session.facts()?;
            let name = target::new_table(&facts, &self.name)?;
            execution.record.target(name.to_string());
            if self.is_there(session)? {
                session.say(already_there(&self.name.table));
                return Outcome::done("CREATE TABLE AS");
            }
            let writer = target::writer_for_create(&facts, &name)?;
            let ready = session.ready(&mut execution, Caching::Never).await?;
            let schema = schema_of(&ready.columns)?;
            let lanes = &session.engine.shared.lanes;
            let rows = run::run(lanes, ready, execution.bounds)?.into_stream(None, Arc::clone(&schema));
            let making = self.making.clone();
            let write = async move { writer.create_table(&name, schema, making, Some(rows)).await };
            let made = made(lanes.run(write).await, self.if_not_exists)?;
            execution.record.rows = made.unwrap_or(0);
            let tag = format!("SELECT {}", made.unwrap_or(0));
            match made {
                Some(_) => Outcome::changed(tag, &facts.world),
                None => {
                    session.say(already_there(&self.name.table));
                    Outcome::done("CREATE TABLE AS")
                }
            }
        })
    }
}

impl CreateTableAs {
    /// IF NOT EXISTS, and there is one: of those that the session sees, since others are told of by nothing.
    fn is_there(&self, session: &mut Session) -> Result<bool> {
        if !self.if_not_exists {
            return Ok(false);
        }
        let facts = session.facts()?;
        if self.temporary.is_some() {
            return Ok(facts.temporary.schema(&self.name.table).is_some());
        }
        let name = target::new_table(&facts, &self.name)?;
        Ok(facts.view.table(&name).is_some())
    }

    async fn temporary(
        &self,
        session: &mut Session,
        mut execution: Execution<'_>,
        on_commit: OnCommit,
    ) -> Result<Outcome> {
        let temporary = session.facts()?.temporary.clone();
        if self.if_not_exists && temporary.schema(&self.name.table).is_some() {
            session.say(already_there(&self.name.table));
            return Outcome::done("CREATE TABLE AS");
        }
        let ready = session.ready(&mut execution, Caching::Never).await?;
        let schema = schema_of(&ready.columns)?;
        let rows = run::run(&session.engine.shared.lanes, ready, execution.bounds)?;
        let parts = temporary.collect(rows.into_stream(None, Arc::clone(&schema))).await?;
        temporary.create(&self.name.table, schema, on_commit, vec![])?;
        let rows = temporary.append(&self.name.table, parts)?;
        execution.record.rows = rows;
        Outcome::done(format!("SELECT {rows}"))
    }
}

/// The columns as a table of the lake has them, where it cannot keep one as it is: numerics that are computed have each its own
/// scale, and become what CREATE TABLE makes of their type.
pub(in crate::engine) fn storable(columns: &Schema) -> Option<Vec<FieldRef>> {
    let loose = |field: &FieldRef| {
        let ty = postgres::pg_type(field).ok()?;
        let is_numeric = matches!(ty.oid, pgtype::oid::NUMERIC | pgtype::oid::NUMERICS);
        (is_numeric && !matches!(element(field.data_type()), DataType::Decimal128(..))).then_some(ty)
    };
    if !columns.fields().iter().any(|field| loose(field).is_some()) {
        return None;
    }
    let kept = |field: &FieldRef| {
        let made = loose(field).and_then(|ty| postgres::field(field.name(), ty.oid, ty.typmod, true));
        made.map_or_else(
            || Arc::clone(field),
            |made| {
                let of = with_element(field.data_type(), element(made.data_type()));
                Arc::new(made.with_data_type(of))
            },
        )
    };
    Some(columns.fields().iter().map(kept).collect())
}

/// Of lists in lists the innermost; any other type itself.
fn element(of: &DataType) -> &DataType {
    match of {
        DataType::List(item) => element(item.data_type()),
        other => other,
    }
}

fn with_element(of: &DataType, inner: &DataType) -> DataType {
    match of {
        DataType::List(item) => DataType::new_list(with_element(item.data_type(), inner), true),
        _ => inner.clone(),
    }
}

/// The query's columns under their shown names, each of them named and once.
fn schema_of(columns: &Schema) -> Result<SchemaRef> {
    each_once(columns.fields().iter().map(|field| field.name()))?;
    Ok(Arc::new(columns.clone()))
}

/// 42701 for a name that two columns would have.
pub(super) fn each_once<'a>(mut names: impl Iterator<Item = &'a String>) -> Result<()> {
    let mut seen = BTreeSet::new();
    match names.find(|name| !seen.insert(*name)) {
        None => Ok(()),
        Some(name) => {
            let text = format!("column \"{name}\" specified more than once");
            Err(Error::new(Kind::DuplicateColumn, text))
        }
    }
}
