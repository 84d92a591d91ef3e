//! Several changes of a lake's tables that others see at once or not at all. Each is a commit over a catalog of the
//! transaction's own, with everything in the store; the end sends all rows in one swap. Where others came between, what was
//! done to a table is done again on the table as it is now, if it still means the same there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::catalog::overlay::{Changes, Frozen, Overlay, Place, Row};
use super::commit::{ATTEMPTS, Answer, Attempt, BACKOFF, BACKOFF_MAX, Prepared, Queues, overtaken, unknown_outcome};
use super::{Lake, Table};
use crate::error::{Error, Kind, Result};
use crate::metastore::{Also, RowKind, Swap, TableKey};

/// What one session does to one lake. It ends by [`Transaction::commit`]; dropped, nothing of it happened, and its files are
/// the sweeper's.
#[derive(Debug)]
pub struct Transaction {
    base: Arc<Lake>,
    /// The lake as the transaction sees it.
    lake: Arc<Lake>,
    overlay: Arc<Overlay>,
    savepoints: Mutex<Vec<Savepoint>>,
}

/// What a transaction sees of what others do meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// All that is committed, statement by statement, but for tables that it has changed itself.
    Committed,
    /// Nothing: the lake as it was when it began.
    Snapshot,
    /// Nothing, and it comes to nothing where others have changed what it has read.
    Serializable,
}

/// What was done in it.
#[derive(Debug, Default)]
pub(super) struct Log(Mutex<Done>);

#[derive(Clone, Debug, Default)]
struct Done {
    /// In their order. They are done again where a table has moved.
    commits: Vec<Arc<Prepared>>,
    /// Metadata files that may go once the whole is there.
    expired: Vec<String>,
}

#[derive(Debug)]
struct Savepoint {
    changes: Changes,
    done: Done,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Done> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn committed(&self, prepared: Vec<Prepared>) {
        self.lock().commits.extend(prepared.into_iter().map(Arc::new));
    }

    pub(super) fn expired(&self, files: Vec<String>) {
        self.lock().expired.extend(files);
    }
}

impl Lake {
    pub async fn begin(self: &Arc<Self>, isolation: Isolation) -> Result<Transaction> {
        let frozen = match isolation {
            Isolation::Committed => None,
            Isolation::Snapshot | Isolation::Serializable => Some(Frozen::of(self.catalog.as_ref(), &self.name).await?),
        };
        let serializable = isolation == Isolation::Serializable;
        let overlay = Arc::new(Overlay::over(Arc::clone(&self.catalog), frozen, serializable));
        let lake = Lake {
            catalog: Arc::clone(&overlay) as Arc<dyn super::catalog::Catalog>,
            name: self.name.clone(),
            metastore: Arc::clone(&self.metastore),
            warehouse: self.warehouse.clone(),
            store: self.store.clone(),
            cache: self.cache.clone(),
            newest: Mutex::default(),
            queues: Queues::default(),
            log: Some(Log::default()),
            home: self.home.clone(),
        };
        Ok(Transaction { base: Arc::clone(self), lake: Arc::new(lake), overlay, savepoints: Mutex::default() })
    }
}

impl Transaction {
    pub fn lake(&self) -> &Arc<Lake> {
        &self.lake
    }

    pub fn has_changes(&self) -> bool {
        !self.overlay.changes().is_nothing()
    }

    // --- savepoints, counted from 0

    pub fn save(&self) {
        let savepoint = Savepoint { changes: self.overlay.changes(), done: self.done() };
        self.savepoints().push(savepoint);
    }

    /// What was done since belongs to what is around it.
    pub fn release(&self, level: usize) {
        self.savepoints().truncate(level);
    }

    /// As it was at the savepoint, which stays.
    pub fn roll_back_to(&self, level: usize) {
        let mut savepoints = self.savepoints();
        savepoints.truncate(level + 1);
        if let Some(savepoint) = savepoints.last() {
            self.overlay.restore(savepoint.changes.clone());
            if let Some(log) = &self.lake.log {
                *log.lock() = savepoint.done.clone();
            }
        }
    }

    fn savepoints(&self) -> MutexGuard<'_, Vec<Savepoint>> {
        self.savepoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn done(&self) -> Done {
        self.lake.log.as_ref().map(|log| log.lock().clone()).unwrap_or_default()
    }

    // --- the end

    /// All of it, or an error and nothing: 40001 where others changed what it stands on, 42P07 where they took a name; an
    /// outcome that cannot be known is told as one.
    pub async fn commit(&self) -> Result<()> {
        let mut changes = self.overlay.changes();
        let done = self.done();
        let _in_line = self.base.queues.enter(changes.rows.keys().cloned().collect()).await;
        let mut pause = BACKOFF;
        for attempt in 0..ATTEMPTS {
            let mut swaps = changes.swaps(&self.base.name);
            if swaps.is_empty() {
                return Ok(());
            }
            swaps.extend(self.overlay.held(&changes));
            match self.send(&changes, swaps).await? {
                Answer::Done => {
                    for file in done.expired {
                        self.base.forget(&file).await;
                    }
                    return Ok(());
                }
                // whatever moved was read
                Answer::Moved { .. } if self.overlay.is_serializable() => {
                    let text = "could not serialize access due to read/write dependencies among transactions";
                    return Err(Error::new(Kind::Conflict, text).with_hint("The transaction might succeed if retried."));
                }
                Answer::Moved { .. } => changes = self.again(&changes, &done.commits, attempt).await?,
                Answer::LeaseLost { .. } => return Err(Error::internal("a lease that was not asked for")),
                Answer::Unknown => return Err(unknown_outcome("the transaction")),
            }
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(BACKOFF_MAX).max(Duration::from_millis(1));
        }
        Err(overtaken())
    }

    /// The rows change in one transaction of the catalog, so one of them speaks for all: one whose table says by itself
    /// that it is ours.
    async fn send(&self, changes: &Changes, mut swaps: Vec<Swap>) -> Result<Answer> {
        let is_table = |table: &TableKey| {
            let row = changes.rows.get(table);
            // one that was something else before is changed by two swaps in their order
            row.is_some_and(|row| {
                let is = |place: &Place| place.kind == RowKind::Table;
                row.now.as_ref().is_some_and(is) && row.was.as_ref().is_none_or(is)
            })
        };
        let speaks = swaps.iter().position(|swap| match swap {
            Swap::Insert { table, .. } | Swap::Update { table, .. } => is_table(table),
            _ => false,
        });
        let also = Also::default();
        let Some(at) = speaks else { return self.base.swap_until_known(&swaps, &also, None).await };
        // the others stay in their order
        if let Some(first) = swaps.get_mut(..=at) {
            first.rotate_right(1);
        }
        let (Swap::Insert { table, to } | Swap::Update { table, to, .. }) = &swaps[0] else {
            return Err(Error::internal("a swap without a table"));
        };
        let was = changes.rows.get(table).and_then(|row| row.was.clone());
        let table = self.lake.load(table, to).await?;
        // a snapshot that was there before says nothing; nor does one of a table whose metadata before are gone
        let known = match was {
            Some(was) => self.lake.load(&table.key, &was.location).await.ok(),
            None => None,
        };
        let is_new = |id: &i64| match &known {
            Some(known) => known.metadata.snapshot_by_id(*id).is_none(),
            None => changes.rows.get(&table.key).is_some_and(|row| row.was.is_none()),
        };
        let snapshot_id = table.snapshot_id().filter(is_new).unwrap_or_default();
        let first = Attempt { table, snapshot_id, expired: vec![] };
        self.base.swap_until_known(&swaps, &also, Some(&first)).await
    }

    /// The changes as they would be, had the transaction begun now.
    async fn again(&self, changes: &Changes, done: &[Arc<Prepared>], attempt: u32) -> Result<Changes> {
        let mut now: BTreeMap<&TableKey, Option<Place>> = BTreeMap::new();
        for key in changes.rows.keys() {
            now.insert(key, self.base.catalog.row(key).await?.map(Place::from));
        }
        let here = |key: &TableKey| now.get(key).cloned().flatten();
        let moved = |key: &TableKey| changes.rows.get(key).is_some_and(|row| row.was != here(key));
        let mut next = changes.clone();
        for (key, row) in &changes.rows {
            let made = match (&row.now, &row.origin) {
                (Some(made), Some(origin)) if moved(origin) => match made.kind {
                    RowKind::Table => {
                        let newest = self.base.table(origin).await?.ok_or_else(overtaken)?;
                        let location = self.again_on(key, newest, made, done, attempt).await?;
                        Some(Place { location, kind: RowKind::Table })
                    }
                    // a view's text takes the place of the one that it was made for
                    RowKind::View => return Err(overtaken()),
                },
                (made, _) => made.clone(),
            };
            if row.was.is_none() && here(key).is_some() && made.is_some() {
                return Err(super::commit::taken(key));
            }
            // a table is dropped, not what has taken its name
            let kinds = (row.was.as_ref().map(|was| was.kind), here(key).map(|now| now.kind));
            if let (Some(was), Some(now)) = kinds
                && was != now
            {
                return Err(overtaken());
            }
            next.rows.insert(key.clone(), Row { was: here(key), now: made, origin: row.origin.clone() });
        }
        // namespaces: whoever made or dropped the same meanwhile has done it
        let namespaces = self.base.namespaces().await?;
        next.namespaces.retain(|namespace, made| namespaces.contains(namespace) != *made);
        let needs = |(key, row): &(&TableKey, &Row)| {
            row.now.is_some()
                && !namespaces.contains(&key.namespace)
                && next.namespaces.get(&key.namespace) != Some(&true)
        };
        match next.rows.iter().find(needs) {
            Some((key, _)) => Err(crate::metastore::undefined_schema(&key.namespace)),
            None => Ok(next),
        }
    }

    /// What was done to a table, on a newer base of it; where it is then.
    async fn again_on(
        &self,
        key: &TableKey,
        newest: Table,
        ours: &Place,
        done: &[Arc<Prepared>],
        attempt: u32,
    ) -> Result<String> {
        let ours = self.lake.load(key, &ours.location).await?;
        if ours.uuid() != newest.uuid() {
            return Err(overtaken().with_detail("A table was dropped and made again by others."));
        }
        let mut base = Table { key: key.clone(), ..newest };
        let uuid = base.uuid();
        let of_table = || done.iter().filter(|prepared| prepared.is_of(uuid));
        // what was asked of rows was not asked of those that others added; and rows of later commits name row ids of earlier
        // ones, which would be others'
        if of_table().any(|prepared| prepared.judges_rows()) || (base.has_lineage() && of_table().count() > 1) {
            return Err(overtaken());
        }
        for prepared in of_table() {
            if !self.lake.holds_on(prepared, &base).await? {
                return Err(overtaken());
            }
            let again = Prepared::on(prepared, base);
            base = self.lake.stage(&again, attempt).await?.table;
        }
        Ok(base.location)
    }
}

#[cfg(test)]
mod tests;
