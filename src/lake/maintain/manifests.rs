//! The table's small manifests → few large ones, at once and not by the way of the next commit. No file of the table changes.

use iceberg::spec::ManifestFile;

use super::super::{Action, Also, BatchId, Lake, Lease, Outcome, Staged, TableKey};
use super::{ATTEMPTS, PAUSE, busy, ended};
use crate::error::Result;

/// How many manifests there were and are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    pub before: u64,
    pub after: u64,
}

impl Lake {
    pub async fn merge_manifests(&self, key: &TableKey, lease: Option<&Lease>) -> Result<Merged> {
        for attempt in 0..ATTEMPTS {
            let table = self.present(key).await?;
            let before = self.count(&table).await?;
            // Two of a kind at least: those that are alike are found by reading them.
            if before < 2 {
                return Ok(Merged { before, after: before });
            }
            let staged = Staged::new(table, vec![Action::MergeManifests], BatchId::new());
            let also = Also { lease: lease.cloned(), puts: vec![] };
            match self.commit(vec![staged], &also).await? {
                Outcome::Committed(tables) => {
                    let after = match tables.first() {
                        Some(table) => self.count(table).await?,
                        None => before,
                    };
                    return Ok(Merged { before, after });
                }
                Outcome::Conflict(_) => tokio::time::sleep(PAUSE * (attempt + 1)).await,
                other @ (Outcome::LeaseLost | Outcome::Unknown(_)) => return Err(ended(key, &other)),
            }
        }
        Err(busy(key))
    }

    async fn count(&self, table: &super::super::Table) -> Result<u64> {
        let list = self.manifests(table).await?;
        let live = |m: &&ManifestFile| m.has_added_files() || m.has_existing_files();
        let count = list.map_or(0, |list| list.entries().iter().filter(live).count());
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }
}
