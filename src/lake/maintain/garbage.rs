//! Files that were let go of and are not deleted yet. They are written down by the commit that lets go of them, so that no
//! crash forgets them, and go once nobody can be reading them: when every process has told which snapshots its statements
//! read ([`Metastore::TOLD_WITHIN`]), and none of the snapshots that held them is among those. A table that is dropped with
//! its files leaves its name in a list, for whoever sweeps what no table asks for any more.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{StreamExt, stream};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::commit::unknown;
use super::super::connect::lost;
use super::super::fault::reach_named;
use super::super::{Lake, Table, TableKey};
use super::properties::Properties;
use super::reach::{Entries, Lost};
use super::{ATTEMPTS, PAUSE, busy};
use crate::error::{Error, Kind, Result};
#[cfg(doc)]
use crate::metastore::Metastore;
use crate::metastore::{Also, Swap, SwapError, Swapped};

/// Before the catalog's name and the identity of a table that was dropped with its files.
const DROPPED: &str = "lake.dropped.";
const PREFIX: &str = "lake.garbage.";
/// Files deleted at once.
const AT_ONCE: usize = 16;

/// What one commit let go of.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Garbage {
    /// Milliseconds since 1970.
    at: i64,
    /// That had the files.
    snapshots: BTreeSet<i64>,
    files: Vec<String>,
}

impl Garbage {
    pub(super) fn new(snapshots: BTreeSet<i64>, files: Vec<String>) -> Self {
        Self { at: chrono::Utc::now().timestamp_millis(), snapshots, files }
    }

    /// To be put by the commit: name and value. Names of one table stand in the order of their commits.
    pub(super) fn row(&self, table: Uuid) -> Result<(String, Vec<u8>)> {
        let name = format!("{PREFIX}{table}.{:020}.{}", self.at, Uuid::now_v7().simple());
        let value = serde_json::to_vec(self).map_err(|e| Error::internal("garbage as JSON").with_source(e))?;
        Ok((name, value))
    }
}

impl Lake {
    /// Paths of the table's files that wait for their deletion.
    pub(super) async fn waiting(&self, table: Uuid) -> Result<Vec<String>> {
        Ok(self.garbage(table).await?.into_iter().flat_map(|(_, garbage)| garbage.files).collect())
    }

    /// Deletes what the table let go of `after` that long ago and nobody reads; how many files. Less than
    /// [`Metastore::TOLD_WITHIN`] is safe only where no other process serves the table.
    pub async fn sweep(&self, table: Uuid, after: Duration) -> Result<u64> {
        let rows = self.garbage(table).await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let pinned = self.metastore.pinned(table).await?;
        let after = i64::try_from(after.max(self.catalog.unheard()).as_millis()).unwrap_or(i64::MAX);
        let now = chrono::Utc::now().timestamp_millis();
        let mut deleted = 0;
        for (name, garbage) in rows {
            // A snapshot that is still read shares files with those that expired after it: they wait for it too.
            if now.saturating_sub(garbage.at) < after || !garbage.snapshots.is_disjoint(&pinned) {
                break;
            }
            deleted += self.delete_files(&garbage.files).await?;
            reach_named("after_sweep");
            self.metastore.remove(&name).await?;
        }
        Ok(deleted)
    }

    /// As [`Lake::drop_table`], and its files go as those of an expired snapshot do: [`Lake::sweep_dropped`]. They stay where
    /// others may need them, or where it is not known whether the table went.
    pub async fn drop_whole(&self, key: &TableKey) -> Result<()> {
        for attempt in 0..ATTEMPTS {
            let table = match self.present(key).await {
                Ok(table) => table,
                // nothing tells which files it had
                Err(error) if error.kind() == Kind::DataGone => return self.drop_table(key).await,
                Err(error) => return Err(error),
            };
            if !Properties(table.properties()).may_delete_files() || self.catalog.keeps_more().await? {
                return self.drop_table(key).await;
            }
            let snapshots = table.metadata.snapshots().map(|snapshot| snapshot.snapshot_id()).collect();
            let garbage = Garbage::new(snapshots, self.all_of(&table).await?);
            let listed = (format!("{DROPPED}{}/{}", self.name, table.uuid()), vec![]);
            let also = Also { lease: None, puts: vec![garbage.row(table.uuid())?, listed] };
            let delete = Swap::Delete { table: key.clone(), from: table.pointer.clone() };
            match self.catalog.swap(&[delete], &also).await {
                Ok(Swapped::Done) => return Ok(()),
                Ok(Swapped::Moved | Swapped::LeaseLost) => tokio::time::sleep(PAUSE * (attempt + 1)).await,
                Err(SwapError::Before(error)) => return Err(error),
                Err(SwapError::Unknown(_)) => match self.catalog.location(key).await {
                    Ok(None) => return Ok(()),
                    _ => return Err(unknown(key)),
                },
            }
        }
        Err(busy(key))
    }

    /// Every file that a table's metadata name, and they themselves.
    async fn all_of(&self, table: &Table) -> Result<Vec<String>> {
        let metadata = &table.metadata;
        let named = self.named(table, metadata.snapshots().cloned().collect(), Lost::Nothing).await?;
        let mut files = self.files_of(named.manifests.values(), Entries::All, Lost::Nothing).await?;
        files.extend(named.lists);
        files.extend(named.manifests.into_keys());
        files.extend([table.location.clone(), table.pointer.clone()]);
        files.extend(metadata.metadata_log().iter().map(|log| log.metadata_file.clone()));
        files.extend(metadata.statistics_iter().map(|s| s.statistics_path.clone()));
        files.extend(metadata.partition_statistics_iter().map(|s| s.statistics_path.clone()));
        // What lies outside of the store is not ours to delete.
        Ok(files.into_iter().filter(|file| self.store.path(file).is_ok()).collect())
    }

    /// As [`Lake::sweep`], of all tables that were dropped with their files.
    pub async fn sweep_dropped(&self, after: Duration) -> Result<u64> {
        let prefix = format!("{DROPPED}{}/", self.name);
        let mut deleted = 0;
        for (name, _) in self.metastore.values(&prefix).await? {
            let table = name.strip_prefix(&prefix).and_then(|uuid| Uuid::parse_str(uuid).ok());
            let table = table.ok_or_else(|| Error::internal(format!("{name} is no dropped table")))?;
            deleted += self.sweep(table, after).await?;
            if self.garbage(table).await?.is_empty() {
                self.metastore.remove(&name).await?;
            }
        }
        Ok(deleted)
    }

    /// Deletes files by the paths that metadata have for them; how many. One that is not there is no error.
    async fn delete_files(&self, files: &[String]) -> Result<u64> {
        self.delete_paths(files.iter().map(|file| self.store.path(file)).collect::<Result<_>>()?).await
    }

    pub(super) async fn delete_paths(&self, paths: Vec<Path>) -> Result<u64> {
        let deletions = paths.into_iter().map(|path| async move {
            match self.store.objects().delete(&path).await {
                Ok(()) => Ok(1),
                Err(object_store::Error::NotFound { .. }) => Ok(0),
                Err(error) => Err(lost(error)),
            }
        });
        let deletions: Vec<_> = deletions.collect();
        let mut deletions = stream::iter(deletions).buffer_unordered(AT_ONCE);
        let (mut deleted, mut failed) = (0, None);
        while let Some(done) = deletions.next().await {
            match done {
                Ok(count) => deleted += count,
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(deleted), Err)
    }

    /// In the order of their commits.
    async fn garbage(&self, table: Uuid) -> Result<Vec<(String, Garbage)>> {
        let rows = self.metastore.values(&format!("{PREFIX}{table}.")).await?;
        rows.into_iter()
            .map(|(name, value)| {
                let garbage = serde_json::from_slice(&value);
                let garbage = garbage.map_err(|e| Error::internal(format!("{name} is no garbage")).with_source(e))?;
                Ok((name, garbage))
            })
            .collect()
    }
}
