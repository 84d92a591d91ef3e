//! The cursors of a session: queries that were declared, or bound by the protocol and then named by a statement, and are
//! read piece by piece. Each was judged when it was opened; whether it still may be read is asked at each fetch. Where a
//! cursor stands and what a direction means is `reader`'s; what its rows take is counted in `store`.

mod reader;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::logical_expr::LogicalPlan;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) use self::reader::{Plan, Reader};
pub(crate) use self::store::Allowance;
use super::kept::Held;
use super::pipeline::Ready;
use super::session::Prepared;
use crate::catalog::visible::{self, Listed};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::Format;
use crate::policy::guard::OpenedObject;

/// May its rows be read again?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scroll {
    No,
    /// As long as there is room for them: the client asked for nothing, and PostgreSQL's plan could go backward.
    Perhaps,
    Yes,
}

pub(crate) struct Cursor {
    /// As it is listed.
    pub(crate) about: visible::Cursor,
    pub(crate) columns: SchemaRef,
    /// In which the protocol's Execute sends its values, as a Bind's result formats.
    pub(crate) formats: Vec<Format>,
    pub(crate) source: Source,
    /// Savepoints around it when it was opened.
    level: usize,
    /// Its transaction was committed.
    kept_on: bool,
    /// What it reads, for a policy that changed.
    pub(crate) opened: Vec<OpenedObject>,
    /// What its name and text take of the session's allowance.
    _held: Held,
}

pub(crate) enum Source {
    /// A portal that was bound and not run yet.
    Bound { prepared: Arc<Prepared>, parameters: Vec<ScalarValue> },
    /// Judged, planned and pinned; nothing was read yet. Dropping the guard ends what it began.
    Ready { ready: Box<Ready>, cancel: CancellationToken, guard: DropGuard, scroll: Scroll },
    /// Shared with the rows of the fetch that reads it.
    Open(Arc<tokio::sync::Mutex<Reader>>),
    /// A fetch failed.
    Failed,
}

impl std::fmt::Debug for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cursor").field("name", &self.about.name).finish_non_exhaustive()
    }
}

impl Cursor {
    pub(crate) fn new(about: visible::Cursor, columns: SchemaRef, source: Source, held: Held) -> Self {
        let formats = if about.binary { vec![Format::Binary] } else { vec![] };
        Self { about, columns, formats, source, level: 0, kept_on: false, opened: vec![], _held: held }
    }

    pub(crate) fn sent_as(self, formats: Vec<Format>) -> Self {
        Self { formats, ..self }
    }

    pub(crate) fn reading(self, opened: Vec<OpenedObject>) -> Self {
        Self { opened, ..self }
    }
}

/// By name.
#[derive(Debug)]
pub(crate) struct Cursors {
    open: BTreeMap<String, Cursor>,
    most: usize,
    listed: Listed,
    allowance: Allowance,
}

impl Cursors {
    pub(crate) fn new(listed: Listed, pool: &Arc<dyn MemoryPool>) -> Self {
        Self { open: BTreeMap::new(), most: 100, listed, allowance: Allowance::new(pool) }
    }

    pub(crate) fn limit(&mut self, most: usize) {
        self.most = most;
    }

    /// What rows that are kept draw on.
    pub(crate) fn allowance(&self) -> Allowance {
        self.allowance.clone()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.open.contains_key(name)
    }

    /// 42P03 for a name in use, 54000 where there are too many.
    pub(crate) fn may_open(&self, name: &str) -> Result<()> {
        if self.has(name) {
            return Err(Error::new(Kind::DuplicateCursor, format!("cursor \"{name}\" already exists")));
        }
        if self.open.len() >= self.most {
            return Err(Error::new(Kind::TooLarge, format!("more than {} cursors are open", self.most)));
        }
        Ok(())
    }

    /// `level`: savepoints around it.
    pub(crate) fn open(&mut self, cursor: Cursor, level: usize) {
        self.open.insert(cursor.about.name.clone(), Cursor { level, ..cursor });
        self.list();
    }

    /// 34000 where there is none.
    pub(crate) fn find(&mut self, name: &str) -> Result<&mut Cursor> {
        self.open.get_mut(name).ok_or_else(|| missing(name))
    }

    pub(crate) fn close(&mut self, name: &str) -> Result<()> {
        self.open.remove(name).ok_or_else(|| missing(name))?;
        self.list();
        Ok(())
    }

    pub(crate) fn close_all(&mut self) {
        self.retain(|_| false);
    }

    /// Those that are to be held over the commit.
    pub(crate) fn to_hold(&self) -> Vec<String> {
        let held = self.open.values().filter(|cursor| cursor.about.holdable && !cursor.kept_on);
        held.map(|cursor| cursor.about.name.clone()).collect()
    }

    /// The transaction is committed.
    pub(crate) fn committed(&mut self) {
        self.retain(|cursor| cursor.about.holdable);
        for cursor in self.open.values_mut() {
            (cursor.kept_on, cursor.level) = (true, 0);
        }
    }

    /// The transaction is rolled back.
    pub(crate) fn rolled_back(&mut self) {
        self.retain(|cursor| cursor.kept_on);
    }

    /// What was opened deeper than `level` savepoints is undone.
    pub(crate) fn undone(&mut self, level: usize) {
        self.retain(|cursor| cursor.kept_on || cursor.level <= level);
    }

    /// A savepoint is released: what was opened under it belongs to what is around.
    pub(crate) fn released(&mut self, level: usize) {
        for cursor in self.open.values_mut() {
            cursor.level = cursor.level.min(level);
        }
    }

    fn retain(&mut self, keep: impl Fn(&Cursor) -> bool) {
        if !self.open.is_empty() {
            self.open.retain(|_, cursor| keep(cursor));
            self.list();
        }
    }

    fn list(&self) {
        self.listed.put(self.open.values().map(|cursor| cursor.about.clone()).collect());
    }
}

fn missing(name: &str) -> Error {
    Error::new(Kind::UndefinedCursor, format!("cursor \"{name}\" does not exist"))
}

/// Whether PostgreSQL's plan of this query could go backward (ExecSupportsBackwardScan): one table, sorted rows, or all of
/// such together.
pub(crate) fn goes_backward(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(_) | LogicalPlan::Sort(_) | LogicalPlan::Values(_) => true,
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Limit(_) => {
            plan.inputs().into_iter().all(goes_backward)
        }
        LogicalPlan::Union(_) => plan.inputs().into_iter().all(goes_backward),
        _ => false,
    }
}
