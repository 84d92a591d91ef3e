//! Rows that come in at a door for a table without a statement: whether their user may put them there, by the policy of now, and
//! the one audit line for what became of them. It takes no row in.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

use super::Engine;
use super::assign::fit;
use super::audit::Record;
use super::facts::own_state;
use crate::catalog::Body;
use crate::error::{Error, Kind, Result};
use crate::policy::{Action, Decision, NewRows, Principal};
use crate::types::TableName;

/// A table that rows are sent to.
#[derive(Clone, Copy, Debug)]
pub struct Posted<'a> {
    pub table: &'a TableName,
    /// The columns that rows have.
    pub columns: &'a Schema,
    /// Rows take the places of others.
    pub replaces: bool,
}

/// One body's rows, from before they are read to their end. Dropped before that end, its line says so.
#[derive(Debug)]
pub struct Posting {
    record: Record,
}

/// What each row that its user sends there is held to.
#[derive(Debug)]
pub struct Judged {
    check: NewRows,
    /// Of the table, each column of which may be NULL.
    schema: SchemaRef,
}

impl Engine {
    pub fn posting(&self, principal: &Principal) -> Posting {
        let mut record = Record::begin(principal, self.world().policies.generation());
        record.kind("post");
        Posting { record }
    }

    /// 42501 in one sentence, whether there is no such table, whether it is hidden, or whether the right is not there. For
    /// added rows the right to insert; where rows replace others the right to update too, and to see all that is replaced: a
    /// row that takes another's place leaves nothing of it, columns that the pipeline does not name among them.
    /// Columns that the user does not see are nobody's to fill, as in an INSERT. `None`: each row is theirs to send.
    pub fn may_post(&self, principal: &Principal, posted: &Posted<'_>) -> Result<Option<Judged>> {
        let world = self.world();
        let denied = || Error::new(Kind::PermissionDenied, "permission denied");
        let entry = world.catalog.entries.get(posted.table).ok_or_else(denied)?;
        match &entry.body {
            Body::Table(_) => {}
            Body::Dataset(_) => return Err(denied()),
        }
        let session = world.policies.session(principal).ok_or_else(denied)?;
        let decide = |action| match session.decide(entry.object.id, action) {
            Decision::Allow(grant) => Some(grant),
            Decision::Deny => None,
        };
        let insert = decide(Action::Insert).ok_or_else(denied)?;
        let select = decide(Action::Select);
        let is_hidden = |name: &str| select.as_ref().is_some_and(|grant| grant.hidden.contains(name));
        if posted.columns.fields().iter().any(|field| is_hidden(field.name())) {
            return Err(denied());
        }
        if posted.replaces {
            let (update, select) = (decide(Action::Update).ok_or_else(denied)?, select.ok_or_else(denied)?);
            if insert.filter.is_some() || update.filter.is_some() || !select.is_full() {
                return Err(denied());
            }
        }
        let state = own_state(Arc::clone(&self.shared.runtime));
        let nullable = entry.object.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
        let check = NewRows::of(&insert, &entry.object, &state)?;
        Ok(check.map(|check| Judged { check, schema }))
    }
}

impl Judged {
    /// 42501 where one of these rows is not this user's to write. A column of the table that they do not have is NULL in
    /// them.
    pub fn check(&self, rows: &RecordBatch) -> Result<()> {
        let order: Vec<_> =
            self.schema.fields().iter().map(|field| rows.schema().index_of(field.name()).ok()).collect();
        self.check.check(&fit(rows, &order, &self.schema)?)
    }
}

impl Posting {
    pub fn target(&mut self, table: &TableName) {
        self.record.target(table.to_string());
    }

    pub fn done(mut self, rows: u64) {
        self.record.rows = rows;
        self.record.done();
    }

    pub fn failed(self, error: &Error) {
        self.record.failed(error);
    }
}
