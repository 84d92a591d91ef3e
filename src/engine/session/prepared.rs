//! A statement that was read and planned once, to be described and run as often as its client likes. It holds no right: it
//! is guarded at each execution.

use std::sync::{Arc, Mutex, OnceLock};

use arrow::datatypes::{Field, FieldRef, SchemaRef};

use super::super::audit;
use super::super::kept::Held;
use super::super::peers::QUERY_BYTES;
use super::super::pipeline::Planned;
use super::super::statement::{Admitted, Described};
use crate::error::Result;
use crate::formats::postgres;
use crate::pgtype;

/// A parsed statement, its parameter types and its result columns: what Describe answers.
#[derive(Debug)]
pub struct Prepared {
    /// Oids of `$1 …`.
    pub parameters: Vec<u32>,
    /// `None`: the statement returns no rows.
    pub columns: Option<SchemaRef>,
    /// `None`: an empty statement.
    pub(in crate::engine) statement: Option<Admitted>,
    pub(in crate::engine) text: Text,
    /// The plan that was made last; another one where the world or the settings changed.
    planned: Mutex<Option<Arc<Planned>>>,
    /// What its text takes of the session's allowance, once somebody keeps it.
    pub(in crate::engine) held: OnceLock<Held>,
}

/// What is known of a statement's text when the text is gone.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Text {
    /// Fingerprint of the text without its literals.
    pub(in crate::engine) shape: u64,
    pub(in crate::engine) bytes: usize,
    /// As much of it as pg_stat_activity shows.
    pub(in crate::engine) shown: Arc<str>,
}

impl Text {
    pub(in crate::engine) fn of(sql: &str) -> Self {
        let shown = sql[..sql.floor_char_boundary(QUERY_BYTES)].into();
        Self { shape: audit::shape(sql), bytes: sql.len(), shown }
    }
}

impl Prepared {
    pub(in crate::engine) fn new(statement: Admitted, described: Described, text: Text) -> Self {
        let Described { parameters, columns, planned } = described;
        let planned = Mutex::new(planned);
        Self { parameters, columns, statement: Some(statement), text, planned, held: OnceLock::new() }
    }

    /// Of a text without a statement.
    pub(in crate::engine) fn empty(text: Text) -> Self {
        let (planned, held) = (Mutex::new(None), OnceLock::new());
        Self { parameters: vec![], columns: None, statement: None, text, planned, held }
    }

    /// An empty statement that is said to have this text.
    #[cfg(test)]
    pub(in crate::engine) fn of_text(text: &str) -> Self {
        Self::empty(Text::of(text))
    }

    /// Nothing between two semicolons.
    pub fn is_empty(&self) -> bool {
        self.statement.is_none()
    }

    /// The cursor that it speaks of.
    pub fn names_cursor(&self) -> Option<&str> {
        self.statement.as_ref().and_then(|statement| statement.names_cursor())
    }

    pub(in crate::engine) fn planned(&self) -> Option<Arc<Planned>> {
        self.planned.lock().expect("no panic under the lock").clone()
    }

    pub(in crate::engine) fn keep_plan(&self, planned: &Arc<Planned>) {
        *self.planned.lock().expect("no panic under the lock") = Some(Arc::clone(planned));
    }

    /// Its parameters as declared: a client decoded them by the types that it was told.
    pub(in crate::engine) fn declared(&self) -> Result<Vec<Option<FieldRef>>> {
        declared(&self.parameters)
    }
}

/// Types of `$1 …` as a client declares them; 0 and unknown leave them to the statement.
pub(in crate::engine) fn declared(oids: &[u32]) -> Result<Vec<Option<FieldRef>>> {
    let field = |(i, oid): (usize, &u32)| {
        if matches!(*oid, 0 | pgtype::oid::UNKNOWN) {
            return Ok(None);
        }
        let data_type = postgres::parameter_type(*oid)?;
        let metadata = [(postgres::OID.to_string(), oid.to_string())].into();
        Ok(Some(Arc::new(Field::new(format!("${}", i + 1), data_type, true).with_metadata(metadata))))
    };
    oids.iter().enumerate().map(field).collect()
}
