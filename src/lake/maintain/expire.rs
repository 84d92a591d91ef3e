//! Snapshots that nobody needs leave the table, and then the files that they alone held: one commit that also writes down
//! which files those are, and `garbage` deletes them later. Which snapshots expire is `retain`'s decision.

use std::collections::BTreeSet;
use std::fmt;

use iceberg::spec::SnapshotRef;

use super::super::fault::reach_named;
use super::super::{Action, Also, BatchId, Lake, Lease, Outcome, Staged, Table, TableKey, shown};
use super::garbage::Garbage;
use super::properties::Properties;
use super::reach::{Entries, Lost};
use super::retain::{Expiring, expiring};
use super::{ATTEMPTS, Expiry, PAUSE, busy, ended};
use crate::error::{Error, Kind, Result};
use crate::jobs::Job;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    pub snapshots: u64,
    pub refs: u64,
    /// That the table does not need any more. They go when no statement reads them.
    pub files: u64,
}

impl fmt::Display for Expired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} snapshots expired, {} files are not needed any more", self.snapshots, self.files)
    }
}

impl Lake {
    pub async fn expire(&self, key: &TableKey, expiry: &Expiry, lease: Option<&Lease>, job: &Job) -> Result<Expired> {
        for attempt in 0..ATTEMPTS {
            let table = self.present(key).await?;
            if !Properties(table.properties()).may_delete_files() {
                let message = format!("property \"gc.enabled\" of table {} forbids it", shown(key));
                return Err(Error::new(Kind::InvalidDefinition, message));
            }
            let expiring = expiring(&table.metadata, expiry, chrono::Utc::now().timestamp_millis())?;
            if expiring.is_nothing() {
                return Ok(Expired::default());
            }
            job.says(format!("finding the files of {} snapshots", expiring.snapshots.len()));
            let files = self.only_of(&table, &expiring).await?;
            let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
            let (snapshots, refs) = (count(expiring.snapshots.len()), count(expiring.refs.len()));
            let done = Expired { snapshots, refs, files: count(files.len()) };
            let garbage = Garbage::new(expiring.snapshots.iter().copied().collect(), files);
            let puts = if done.files > 0 { vec![garbage.row(table.uuid())?] } else { vec![] };
            let also = Also { lease: lease.cloned(), puts };
            let Expiring { snapshots, refs } = expiring;
            let action = Action::Expire { snapshots, refs };
            match self.commit(vec![Staged::new(table, vec![action], BatchId::new())], &also).await? {
                Outcome::Committed(_) => {
                    reach_named("after_expire");
                    return Ok(done);
                }
                // A name for one of them, or something that came from one.
                Outcome::Conflict(_) => tokio::time::sleep(PAUSE * (attempt + 1)).await,
                other @ (Outcome::LeaseLost | Outcome::Unknown(_)) => return Err(ended(key, &other)),
            }
        }
        Err(busy(key))
    }

    /// Files that the expiring snapshots refer to and no other one. A lost list of an expiring snapshot names nothing.
    async fn only_of(&self, table: &Table, expiring: &Expiring) -> Result<Vec<String>> {
        let gone: BTreeSet<i64> = expiring.snapshots.iter().copied().collect();
        let all: Vec<SnapshotRef> = table.metadata.snapshots().cloned().collect();
        let (going, staying): (Vec<_>, Vec<_>) = all.into_iter().partition(|s| gone.contains(&s.snapshot_id()));
        let going = self.named(table, going, Lost::Nothing).await?;
        let staying = self.named(table, staying, Lost::Fails).await?;
        let dead = || going.manifests.iter().filter(|(path, _)| !staying.manifests.contains_key(*path));
        let mut files = self.files_of(dead().map(|(_, m)| m), Entries::All, Lost::Nothing).await?;
        if !files.is_empty() {
            for needed in self.files_of(staying.manifests.values(), Entries::Live, Lost::Fails).await? {
                files.remove(&needed);
            }
        }
        let mut files: Vec<String> = files.into_iter().collect();
        files.extend(dead().map(|(path, _)| path.clone()));
        files.extend(going.lists.difference(&staying.lists).cloned());
        let statistics = table.metadata.statistics_iter().map(|s| (s.snapshot_id, &s.statistics_path));
        let partitions = table.metadata.partition_statistics_iter().map(|s| (s.snapshot_id, &s.statistics_path));
        files.extend(statistics.chain(partitions).filter(|(id, _)| gone.contains(id)).map(|(_, path)| path.clone()));
        // What lies outside of the store is not ours to delete.
        files.retain(|file| self.store.path(file).is_ok());
        Ok(files)
    }
}
