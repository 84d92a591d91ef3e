//! Pipelines that take rows in at a door of this process, and what door and pipeline say to each other. Who may send rows is
//! judged by the door; what becomes of them is the pipeline's.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use crate::error::{Error, Result};
use crate::types::TableName;

/// A pipeline that takes rows in.
#[async_trait]
pub trait Inlet: Send + Sync {
    fn table(&self) -> &TableName;

    /// The columns that rows may have.
    fn columns(&self) -> SchemaRef;

    /// A row takes the place of the one that has its key.
    fn replaces(&self) -> bool;

    /// Of one body.
    fn body_bytes_max(&self) -> usize;

    /// Asked before a body is read, and held until its rows are committed. `None`: too much is on its way already.
    fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit>;

    /// All rows of a body or none, in one commit. Dropped before its end, the rows may be taken in or not; the same key
    /// tells.
    async fn take(&self, post: Post) -> Result<Answer, Refusal>;
}

/// Rows that somebody sends.
pub struct Post {
    pub user: String,
    /// By which the same rows are known if they are sent again.
    pub key: Option<String>,
    pub body: Bytes,
    pub room: OwnedSemaphorePermit,
    /// To be told of the commit until then; `None`: not at all.
    pub until: Option<Instant>,
    /// Whether these rows may come from this user, in the columns of [`Inlet::columns`]; `None`: any may. What is checked
    /// is a row, so that nothing of a body that is checked is set aside to become one later.
    pub check: Option<Check>,
}

pub type Check = Box<dyn Fn(&RecordBatch) -> Result<()> + Send + Sync>;

/// What came of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub rows: u64,
    pub dead_letters: u64,
    /// They are in the table for good.
    pub committed: bool,
    /// They were sent before, and were not taken in twice.
    pub again: bool,
}

/// Why nothing came of it, or nothing that is known.
#[derive(Debug)]
pub enum Refusal {
    /// Rows of this pipeline are added, so that those sent twice would be there twice.
    KeyMissing,
    /// The key came before with another body.
    KeyReused,
    Empty,
    /// Lines that are no rows: the first few, and how many there are.
    Lines {
        first: Vec<BadLine>,
        all: usize,
    },
    /// Too much is on its way already.
    Full,
    /// Its rows hold more than may be on its way at once.
    TooLarge,
    /// Not here, or not now.
    NotRunning,
    /// Not known to be committed yet.
    NotYet,
    Failed(Error),
}

/// A line that is no row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// From 1.
    pub line: usize,
    /// `None` where the line as a whole is not what it should be.
    pub field: Option<String>,
    /// Holds nothing of the line.
    pub problem: &'static str,
}

/// Those of this process, by their pipelines' names. Clones are one and the same.
#[derive(Clone, Default)]
pub struct Inlets(Arc<RwLock<BTreeMap<String, Arc<dyn Inlet>>>>);

impl Inlets {
    pub fn find(&self, pipeline: &str) -> Option<Arc<dyn Inlet>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(pipeline).cloned()
    }

    pub fn open(&self, pipeline: &str, inlet: Arc<dyn Inlet>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(pipeline.to_string(), inlet);
    }

    pub fn close(&self, pipeline: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(pipeline);
    }
}
