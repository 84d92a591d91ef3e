//! The temporary tables and views of one session: in memory, within the pool and an allowance of the session, undone with the
//! transaction that changed them and gone with the session. Who reads one is its own session; `policy::seal` knows them as a
//! kind of their own. Nothing here is seen by anybody else, written to a disk, or kept in the result cache.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use futures::TryStreamExt;

use super::statement::Name;
use crate::catalog::visible::{OwnTable, named_oid};
use crate::error::{Error, Kind, Result};
use crate::policy::OwnRows;

/// The schema's name for its own session, and as the catalogs list it.
pub(crate) const ALIAS: &str = "pg_temp";
pub(crate) const SCHEMA: &str = "pg_temp_3";

const TABLES_MAX: usize = 1_000;
/// Of the whole pool, one session's tables may have one part in so many.
const SHARE: usize = 4;

/// Clones are one and the same.
#[derive(Clone, Debug)]
pub(crate) struct Temporary(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    pool: Arc<dyn MemoryPool>,
    bytes_max: usize,
    used: Arc<AtomicUsize>,
    tables: Arc<Tables>,
    /// As they stood before the transaction that has changed them.
    before: Option<Arc<Tables>>,
    /// As they stood at its savepoints, outermost first.
    marks: Vec<Arc<Tables>>,
    /// Moves whenever names or columns change.
    version: u64,
    made: u64,
}

type Tables = BTreeMap<String, Table>;

#[derive(Clone, Debug)]
struct Table {
    oid: u32,
    schema: SchemaRef,
    on_commit: OnCommit,
    parts: Vec<Arc<Part>>,
    /// It is a view, and has no rows.
    view: Option<Arc<OwnView>>,
}

/// A view of the session's: what it reads, it reads with the rights of the session itself, wherever its name stands.
#[derive(Debug)]
pub(crate) struct OwnView {
    /// With nothing in it left to be looked up.
    pub(crate) sql: String,
    /// Names of the temporary tables and views that it reads.
    pub(crate) reads: BTreeSet<String>,
}

/// What COMMIT does to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnCommit {
    Preserve,
    DeleteRows,
    Drop,
}

/// Rows, and what they take of the pool and of the allowance until nobody has them any more.
#[derive(Debug)]
pub(crate) struct Part {
    batch: RecordBatch,
    used: Arc<AtomicUsize>,
    held: MemoryReservation,
}

impl Drop for Part {
    fn drop(&mut self) {
        self.used.fetch_sub(self.held.size(), Ordering::Relaxed);
    }
}

/// The rows of one of them, as they are when a statement is guarded.
#[derive(Debug)]
struct Rows {
    of: Temporary,
    oid: u32,
}

impl OwnRows for Rows {
    fn batches(&self) -> Result<Vec<RecordBatch>> {
        let state = self.of.state();
        let gone = || Error::new(Kind::CachedPlanChanged, "cached plan must not change result type");
        let table = state.tables.values().find(|table| table.oid == self.oid).ok_or_else(gone)?;
        Ok(table.parts.iter().map(|part| part.batch.clone()).collect())
    }
}

impl Temporary {
    pub(crate) fn new(pool: &Arc<dyn MemoryPool>, pool_bytes: u64) -> Self {
        let bytes_max = usize::try_from(pool_bytes).unwrap_or(usize::MAX) / SHARE;
        Self(Arc::new(Mutex::new(State {
            pool: Arc::clone(pool),
            bytes_max,
            used: Arc::default(),
            tables: Arc::default(),
            before: None,
            marks: vec![],
            version: 0,
            made: 0,
        })))
    }

    /// Nothing panics under the lock, so a poisoned one is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn version(&self) -> u64 {
        self.state().version
    }

    /// Whether the name may be that of a temporary table.
    pub(crate) fn is_schema(schema: &str) -> bool {
        schema == ALIAS || schema == SCHEMA
    }

    /// Names without a schema are looked for here first.
    pub(crate) fn has(&self, name: &Name) -> bool {
        name.schema.as_deref().is_none_or(Self::is_schema) && self.schema(&name.table).is_some()
    }

    pub(crate) fn schema(&self, table: &str) -> Option<SchemaRef> {
        self.state().tables.get(table).map(|table| Arc::clone(&table.schema))
    }

    pub(crate) fn view(&self, name: &str) -> Option<(SchemaRef, Arc<OwnView>)> {
        let state = self.state();
        let table = state.tables.get(name)?;
        Some((Arc::clone(&table.schema), Arc::clone(table.view.as_ref()?)))
    }

    /// Views that read this one, and those that read them.
    pub(crate) fn readers(&self, name: &str) -> Vec<String> {
        let state = self.state();
        let mut found = vec![name.to_owned()];
        let mut at = 0;
        while let Some(read) = found.get(at).cloned() {
            let reads = |table: &Table| table.view.as_ref().is_some_and(|view| view.reads.contains(&read));
            let readers = state.tables.iter().filter(|(_, table)| reads(table)).map(|(name, _)| name.clone());
            let new: Vec<String> = readers.filter(|name| !found.contains(name)).collect();
            found.extend(new);
            at += 1;
        }
        found.split_off(1)
    }

    /// Its columns and where its rows are found; `None` for a view.
    pub(crate) fn find(&self, table: &str) -> Option<(SchemaRef, Arc<dyn OwnRows>)> {
        let state = self.state();
        let table = state.tables.get(table).filter(|table| table.view.is_none())?;
        Some((Arc::clone(&table.schema), Arc::new(Rows { of: self.clone(), oid: table.oid })))
    }

    /// Each as the catalogs show it, a view with its text.
    pub(crate) fn all(&self) -> Vec<OwnTable> {
        let state = self.state();
        let one = |(name, table): (&String, &Table)| OwnTable {
            name: name.clone(),
            oid: table.oid,
            columns: Arc::clone(&table.schema),
            view: table.view.as_ref().map(|view| view.sql.clone()),
        };
        state.tables.iter().map(one).collect()
    }

    /// Rows for one of them, kept while they come; 53200 where they do not fit.
    pub(crate) async fn collect(&self, mut rows: SendableRecordBatchStream) -> Result<Vec<Arc<Part>>> {
        let mut parts = vec![];
        while let Some(batch) = rows.try_next().await.map_err(Error::behind_guard)? {
            parts.push(Arc::new(self.part(batch)?));
        }
        Ok(parts)
    }

    fn part(&self, batch: RecordBatch) -> Result<Part> {
        let bytes = batch.get_array_memory_size();
        let (pool, used, max) = {
            let state = self.state();
            (Arc::clone(&state.pool), Arc::clone(&state.used), state.bytes_max)
        };
        if used.load(Ordering::Relaxed).saturating_add(bytes) > max {
            let text = format!("the temporary tables of this session hold more than {max} bytes");
            return Err(Error::new(Kind::OutOfMemory, text));
        }
        let held = MemoryConsumer::new("temporary table").register(&pool);
        held.try_grow(bytes)?;
        used.fetch_add(bytes, Ordering::Relaxed);
        Ok(Part { batch, used, held })
    }

    /// 42P07 for a name in use.
    pub(crate) fn create(
        &self,
        name: &str,
        schema: SchemaRef,
        on_commit: OnCommit,
        parts: Vec<Arc<Part>>,
    ) -> Result<()> {
        self.add(name, schema, (on_commit, parts), None)
    }

    /// 42P07 for a name in use, but for that of a view that is replaced.
    pub(crate) fn create_view(&self, name: &str, schema: SchemaRef, view: OwnView, replaces: bool) -> Result<()> {
        if replaces {
            let mut state = self.state();
            if let Some(table) = state.change().get_mut(name).filter(|table| table.view.is_some()) {
                (table.schema, table.view) = (schema, Some(Arc::new(view)));
                state.version += 1;
                return Ok(());
            }
        }
        self.add(name, schema, (OnCommit::Preserve, vec![]), Some(Arc::new(view)))
    }

    fn add(
        &self,
        name: &str,
        schema: SchemaRef,
        (on_commit, parts): (OnCommit, Vec<Arc<Part>>),
        view: Option<Arc<OwnView>>,
    ) -> Result<()> {
        let mut state = self.state();
        if state.tables.contains_key(name) {
            return Err(Error::new(Kind::DuplicateTable, format!("relation \"{name}\" already exists")));
        }
        if state.tables.len() >= TABLES_MAX {
            return Err(Error::new(Kind::TooLarge, format!("more than {TABLES_MAX} temporary tables")));
        }
        state.made += 1;
        let oid = named_oid("temporary", &format!("{} {name}", state.made));
        state.change().insert(name.to_owned(), Table { oid, schema, on_commit, parts, view });
        state.version += 1;
        Ok(())
    }

    /// The rows that were added. 42P01 where the table went meanwhile.
    pub(crate) fn append(&self, name: &str, parts: Vec<Arc<Part>>) -> Result<u64> {
        let rows = parts.iter().map(|part| part.batch.num_rows() as u64).sum();
        let mut state = self.state();
        let missing = || Error::new(Kind::UndefinedTable, format!("relation \"{name}\" does not exist"));
        state.change().get_mut(name).ok_or_else(missing)?.parts.extend(parts);
        Ok(rows)
    }

    pub(crate) fn truncate(&self, name: &str) {
        if let Some(table) = self.state().change().get_mut(name) {
            table.parts.clear();
        }
    }

    pub(crate) fn drop_table(&self, name: &str) {
        let mut state = self.state();
        if state.change().remove(name).is_some() {
            state.version += 1;
        }
    }

    /// DISCARD TEMP.
    pub(crate) fn drop_all(&self) {
        let mut state = self.state();
        if !state.tables.is_empty() {
            state.change().clear();
            state.version += 1;
        }
    }

    // --- with the transaction

    /// A savepoint was made.
    pub(crate) fn save(&self) {
        let mut state = self.state();
        let tables = Arc::clone(&state.tables);
        state.marks.push(tables);
    }

    /// Savepoints from this one on are gone, and what was done since stays.
    pub(crate) fn release(&self, level: usize) {
        self.state().marks.truncate(level);
    }

    /// As it was at this savepoint, which stays.
    pub(crate) fn roll_back_to(&self, level: usize) {
        let mut state = self.state();
        if let Some(mark) = state.marks.get(level).map(Arc::clone) {
            state.marks.truncate(level + 1);
            state.restore(mark);
        }
    }

    pub(crate) fn rolled_back(&self) {
        let mut state = self.state();
        state.marks.clear();
        if let Some(before) = state.before.take() {
            state.restore(before);
        }
    }

    pub(crate) fn committed(&self) {
        let mut state = self.state();
        state.marks.clear();
        state.before = None;
        if state.tables.values().all(|table| table.on_commit == OnCommit::Preserve) {
            return;
        }
        let dropped = state.tables.values().any(|table| table.on_commit == OnCommit::Drop);
        let tables = Arc::make_mut(&mut state.tables);
        tables.retain(|_, table| table.on_commit != OnCommit::Drop);
        for table in tables.values_mut().filter(|table| table.on_commit == OnCommit::DeleteRows) {
            table.parts.clear();
        }
        state.version += u64::from(dropped);
    }
}

impl State {
    /// The tables, to be changed by the transaction that runs.
    fn change(&mut self) -> &mut Tables {
        if self.before.is_none() {
            self.before = Some(Arc::clone(&self.tables));
        }
        Arc::make_mut(&mut self.tables)
    }

    fn restore(&mut self, tables: Arc<Tables>) {
        let view = |table: &Table| table.view.as_ref().map(|view| Arc::as_ptr(view) as usize);
        let names = |tables: &Tables| {
            tables.iter().map(|(name, table)| (name.clone(), table.oid, view(table))).collect::<Vec<_>>()
        };
        self.version += u64::from(!Arc::ptr_eq(&self.tables, &tables) && names(&self.tables) != names(&tables));
        self.tables = tables;
    }
}

#[cfg(test)]
mod tests;
