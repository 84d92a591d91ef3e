//! Actions → one atomic commit of one table or several. The base that the caller validated is the base of the swap: nothing
//! is ever rebased unseen. Conflict and unknown outcome are judged here and nowhere else; no file that a commit may refer to
//! is deleted here, only old metadata files of a table that wants it so.

mod action;
mod create;
mod manifests;
mod merge;
mod metadata_file;
mod snapshot;
mod summary;
mod swap;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use iceberg::spec::{MAIN_BRANCH, ManifestFile, SnapshotReference, SnapshotRetention, TableMetadata};
use iceberg::{TableRequirement, TableUpdate};
use object_store::ObjectStoreExt;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::fault::{Step, reach};
use super::{BatchId, Described, Lake, Table, Weighed, Written, connect, shown};
use crate::error::{Error, Kind, Result};
use crate::metastore::{Also, Pin, TableKey};
use action::Change;
use metadata_file::metadata_file;

pub(super) use swap::Answer;

pub use action::{Action, RefKind};
pub use create::{FORMAT_VERSION, Making, SortedBy};
pub(in crate::lake) use create::{directory, taken, unknown};
pub(crate) use create::{overtaken, unknown_outcome};

/// Attempts of one commit against writers in other processes; those of this process wait in line.
pub(super) const ATTEMPTS: u32 = 20;
pub(super) const BACKOFF: Duration = Duration::from_millis(20);
/// A table property: every commit takes away the metadata file that falls out of the log. Each lists all snapshots, so that
/// together they grow with the square of the commits.
const DELETE_METADATA: &str = "write.metadata.delete-after-commit.enabled";
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// What must hold of the table that a commit is put on, whoever has committed to it meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A table property that reads so, `None` for absent: an ingest position, for one.
    Property { name: String, value: Option<String> },
    /// A batch that is still in main's history, as [`Table::stands_on`] judges.
    StandsOn { batch: String, sequence: i64 },
    /// Nobody has changed its rows.
    Main { snapshot: Option<i64> },
}

/// What is to be committed to one table.
#[derive(Clone, Debug)]
pub struct Staged {
    /// The table as the caller validated it.
    pub base: Table,
    pub actions: Vec<Action>,
    pub batch: BatchId,
    /// Set in the same commit.
    pub properties: HashMap<String, String>,
    /// Added to the snapshot's summary.
    pub summary: HashMap<String, String>,
    pub expected: Vec<Expected>,
}

/// How a commit ended.
#[derive(Debug)]
pub enum Outcome {
    /// The tables as the commit left them, in the order staged.
    Committed(Vec<Table>),
    /// Nothing happened: a table moved so that the commit does not hold on it any more. The tables as they are now,
    /// `None` for one that is gone.
    Conflict(Vec<Option<Table>>),
    /// Nothing happened: the lease named in [`Also`] is another's.
    LeaseLost,
    /// The catalog could not be asked whether it happened. The batch is named in the table's newest snapshots if so.
    Unknown(BatchId),
}

/// One writer a table at a time within the process.
#[derive(Debug, Default)]
pub(super) struct Queues(std::sync::Mutex<HashMap<TableKey, Arc<Mutex<()>>>>);

/// What stays the same over the attempts of one table's commit.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    staged: Staged,
    /// The base that the caller validated; `staged.base` becomes the one of the attempt.
    made_on: Table,
    change: Change,
    snapshot_id: i64,
    /// Of the files that come.
    manifests: Vec<ManifestFile>,
    /// What it was made on stays readable while it may be committed again: in a transaction, until that ends.
    _pin: Option<Arc<Pin>>,
}

/// One attempt: the table as it would be, already in the store.
pub(super) struct Attempt {
    pub(super) table: Table,
    pub(super) snapshot_id: i64,
    /// Metadata files that the table's log does not name any more and that may go once the attempt has succeeded.
    pub(super) expired: Vec<String>,
}

impl Staged {
    /// Rows to be added to a table, nothing else said.
    pub fn append(base: Table, written: Written, batch: BatchId) -> Self {
        let actions = if written.files.is_empty() { vec![] } else { vec![Action::Append(written)] };
        Self::new(base, actions, batch)
    }

    pub fn new(base: Table, actions: Vec<Action>, batch: BatchId) -> Self {
        let none = HashMap::new;
        Self { base, actions, batch, properties: none(), summary: none(), expected: vec![] }
    }

    fn expectations_hold(&self, table: &Table) -> bool {
        self.expected.iter().all(|expected| match expected {
            Expected::Property { name, value } => table.properties().get(name) == value.as_ref(),
            Expected::StandsOn { batch, sequence } => table.stands_on(batch, *sequence),
            Expected::Main { snapshot } => table.snapshot_id() == *snapshot,
        })
    }
}

impl Prepared {
    /// The same on another base.
    pub(super) fn on(&self, base: Table) -> Self {
        let mut again = self.clone();
        again.staged.base = base;
        again
    }

    /// Whether it stands on what rows there were.
    pub(super) fn judges_rows(&self) -> bool {
        self.staged.actions.iter().any(|action| matches!(action, Action::Evolve { judges_rows: true, .. }))
    }

    /// Whether it changes the table of this identity.
    pub(super) fn is_of(&self, table: uuid::Uuid) -> bool {
        self.made_on.uuid() == table
    }

    fn requirements(&self) -> Vec<TableRequirement> {
        let base = &self.made_on;
        let mut required = vec![TableRequirement::UuidMatch { uuid: base.metadata.uuid() }];
        required.extend(self.staged.actions.iter().flat_map(|action| action.requirements(base)));
        required
    }
}

impl Lake {
    /// All tables or none, with everything in `also`. A table that moved is tried again on its newer base while the
    /// commit still holds there; the data files are written once.
    pub async fn commit(&self, staged: Vec<Staged>, also: &Also) -> Result<Outcome> {
        let keys = staged.iter().map(|s| s.base.key.clone()).collect::<Vec<_>>();
        let _in_line = self.queues.enter(keys).await;
        let mut prepared = vec![];
        for staged in staged {
            prepared.push(self.prepare(staged).await?);
        }
        let mut pause = BACKOFF;
        // nothing of it is on its way
        let mut sure = true;
        for attempt in 0..ATTEMPTS {
            let newest = self.newest(&prepared).await?;
            for (each, newer) in prepared.iter().zip(&newest) {
                let holds = match newer {
                    Some(newer) => self.holds_on(each, newer).await?,
                    None => false,
                };
                if !holds {
                    return Ok(self.nothing_came(&prepared, sure, Outcome::Conflict(newest)).await);
                }
            }
            for (prepared, newer) in prepared.iter_mut().zip(newest) {
                prepared.staged.base = newer.unwrap_or_else(|| prepared.staged.base.clone());
            }
            let mut attempts = vec![];
            for prepared in &prepared {
                attempts.push(self.stage(prepared, attempt).await?);
            }
            match self.swap(&prepared, &attempts, also).await? {
                Answer::Done => {
                    if let Some(log) = &self.log {
                        log.committed(prepared);
                    }
                    return Ok(Outcome::Committed(self.remember(attempts).await));
                }
                Answer::LeaseLost { unsure } => {
                    sure &= !unsure;
                    if sure {
                        self.discard(&attempts).await;
                    }
                    return Ok(self.nothing_came(&prepared, sure, Outcome::LeaseLost).await);
                }
                Answer::Unknown => return Ok(Outcome::Unknown(prepared[0].staged.batch)),
                Answer::Moved { unsure } => {
                    sure &= !unsure;
                    if !unsure {
                        self.discard(&attempts).await;
                    }
                    tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
                    pause = (pause * 2).min(BACKOFF_MAX);
                }
            }
        }
        let newest = self.newest(&prepared).await?;
        Ok(self.nothing_came(&prepared, sure, Outcome::Conflict(newest)).await)
    }

    /// Whether the commit means on `newer` what it meant on its base.
    pub(super) async fn holds_on(&self, prepared: &Prepared, newer: &Table) -> Result<bool> {
        let Prepared { staged, made_on, .. } = prepared;
        let required = prepared.requirements().iter().all(|r| r.check(Some(&newer.metadata)).is_ok());
        // Files of one version's kind are no files of another's.
        let same_version = made_on.metadata.format_version() == newer.metadata.format_version();
        if !required || !same_version || !staged.expectations_hold(newer) {
            return Ok(false);
        }
        if newer.location == made_on.location {
            return Ok(true);
        }
        for action in &staged.actions {
            if !action.needed_by_nothing(made_on, newer)? {
                return Ok(false);
            }
        }
        self.files_stand(&staged.actions, newer).await
    }

    /// Checks that the table can be changed and writes the manifests of the new files, once for all attempts.
    async fn prepare(&self, staged: Staged) -> Result<Prepared> {
        staged.base.changeable()?;
        let metadata = &staged.base.metadata;
        let change = Change::of(&staged.actions, metadata.default_partition_spec_id());
        // not of a table that is being made: nobody else can have it
        let adds = !change.is_nothing() || !staged.summary.is_empty();
        if adds
            && metadata.current_snapshot_id().is_none()
            && !staged.base.pointer.is_empty()
            && !self.catalog.fences_first().await?
        {
            staged.actions.iter().for_each(Action::let_go);
            let text = format!("the first rows of table {} cannot be written safely", shown(&staged.base.key));
            return Err(Error::new(Kind::Unsupported, text).with_hint(
                "Its catalog would let another writer's first rows take the place of these. Tables that are made here begin \
                 with a snapshot; of this one the engine that made it must write the first.",
            ));
        }
        let snapshot_id = snapshot::new_id(metadata);
        let manifests = self.new_manifests(metadata, snapshot_id, &change).await?;
        reach(Step::AfterManifest);
        let base = &staged.base;
        let pin = base.snapshot_id().map(|snapshot| Arc::new(self.metastore.pin(base.uuid(), snapshot)));
        Ok(Prepared { made_on: base.clone(), staged, change, snapshot_id, manifests, _pin: pin })
    }

    async fn newest(&self, prepared: &[Prepared]) -> Result<Vec<Option<Table>>> {
        let mut newest = vec![];
        for prepared in prepared {
            newest.push(self.table(&prepared.staged.base.key).await?);
        }
        Ok(newest)
    }

    /// Writes the list and the metadata of one attempt.
    pub(super) async fn stage(&self, prepared: &Prepared, attempt: u32) -> Result<Attempt> {
        let Prepared { staged, snapshot_id, .. } = prepared;
        let base = &staged.base.metadata;
        let mut updates = vec![];
        if !prepared.change.is_nothing() || !staged.summary.is_empty() {
            let snapshot = self.snapshot(prepared, attempt).await?;
            let reference = SnapshotReference::new(*snapshot_id, SnapshotRetention::branch(None, None, None));
            updates.push(TableUpdate::AddSnapshot { snapshot });
            updates.push(TableUpdate::SetSnapshotRef { ref_name: MAIN_BRANCH.into(), reference });
        }
        reach(Step::AfterList);
        updates.extend(staged.actions.iter().flat_map(Action::updates));
        if !staged.properties.is_empty() {
            updates.push(TableUpdate::SetProperties { updates: staged.properties.clone() });
        }
        let builder = base.as_ref().clone().into_builder(Some(staged.base.location.clone()));
        let builder = updates.into_iter().try_fold(builder, |builder, update| update.apply(builder));
        let builder = builder.map_err(connect::broken)?;
        let built = builder.build().map_err(connect::broken)?;
        let (metadata, expired) = (built.metadata, built.expired_metadata_logs);
        let wanted = metadata.properties().get(DELETE_METADATA).is_some_and(|wanted| wanted == "true");
        // a catalog that makes its own metadata files also deletes them
        let wanted = wanted && !self.catalog.hands_out();
        let expired = if wanted { expired.into_iter().map(|log| log.metadata_file).collect() } else { vec![] };
        let table = self.put_metadata(&staged.base.key, metadata, Some(&staged.base.location)).await?;
        Ok(Attempt { table, snapshot_id: *snapshot_id, expired })
    }

    /// Writes the metadata file that comes after `before`.
    async fn put_metadata(&self, key: &TableKey, metadata: TableMetadata, before: Option<&str>) -> Result<Table> {
        let (location, bytes) = metadata_file(key, &metadata, before)?;
        let bytes_len = bytes.len() as u64 * 2;
        self.store.write(&location, bytes).await?;
        reach(Step::AfterMetadata);
        // Written by us, so that nothing is in it that the crate does not know.
        let described = Arc::new(Described { metadata: Arc::new(metadata), beyond: Arc::default() });
        if self.catalog.hands_out() {
            // a draft, which the catalog is about to read
            let weighed = Weighed { parsed: Arc::clone(&described), bytes: bytes_len };
            self.cache.put(&location, weighed).await;
        }
        Ok(described.table(key, &location, &location))
    }

    /// Files of attempts that are known to have come to nothing, and of which nothing is on its way.
    pub(super) async fn discard(&self, attempts: &[Attempt]) {
        for Attempt { table, snapshot_id, .. } in attempts {
            self.forget(&table.location).await;
            if let Some(snapshot) = table.metadata.snapshot_by_id(*snapshot_id) {
                self.forget(snapshot.manifest_list()).await;
            }
        }
    }

    /// Whoever has the files that were to be committed may commit them otherwise, or drop them; what names them goes.
    async fn nothing_came(&self, prepared: &[Prepared], sure: bool, outcome: Outcome) -> Outcome {
        if !sure {
            return outcome;
        }
        for manifest in prepared.iter().flat_map(|p| &p.manifests) {
            self.forget(&manifest.manifest_path).await;
        }
        prepared.iter().flat_map(|p| &p.staged.actions).for_each(Action::let_go);
        outcome
    }

    /// What cannot be deleted is left for the sweeper: nothing names it.
    pub(super) async fn forget(&self, file: &str) {
        let Ok(path) = self.store.path(file) else { return };
        if let Err(error) = self.store.objects().delete(&path).await {
            tracing::debug!(file, %error, "an old metadata file stays");
        }
    }

    /// What was just written need not be read again.
    async fn remember(&self, attempts: Vec<Attempt>) -> Vec<Table> {
        let mut tables = vec![];
        for Attempt { table, expired, .. } in attempts {
            match &self.log {
                Some(log) => log.expired(expired),
                None => {
                    for file in expired {
                        self.forget(&file).await;
                    }
                }
            }
            let bytes = 4096 + 512 * table.metadata.snapshots().len() as u64;
            let described = Described { metadata: Arc::clone(&table.metadata), beyond: Arc::clone(&table.beyond) };
            self.cache.put(&table.location, Weighed { parsed: Arc::new(described), bytes }).await;
            self.supersede(&table.key, &table.location).await;
            tables.push(table);
        }
        tables
    }
}

impl Queues {
    /// In order of name, so that two commits over the same tables cannot wait for each other.
    pub(super) async fn enter(&self, keys: Vec<TableKey>) -> Vec<OwnedMutexGuard<()>> {
        let queues: BTreeMap<TableKey, Arc<Mutex<()>>> = {
            let mut all = self.0.lock().expect("no panic under the lock");
            // A queue that nobody holds any more is forgotten.
            all.retain(|_, queue| Arc::strong_count(queue) > 1);
            keys.into_iter().map(|key| (key.clone(), Arc::clone(all.entry(key).or_default()))).collect()
        };
        let mut entered = vec![];
        for queue in queues.into_values() {
            entered.push(queue.lock_owned().await);
        }
        entered
    }
}

#[cfg(test)]
mod tests;
