//! What became of a table's rows between two of its snapshots, told by their files: more came and none went, or anything
//! else. Files are compared, not what writers say of them, but for `replace`, by which rows stay what they were. It reads
//! no row.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use iceberg::spec::{ManifestContentType, ManifestFile, ManifestList, Operation, SnapshotRef};

use super::manifest::{Entries, FileKey};
use super::{BATCH, Lake, Table};
use crate::error::Result;

/// Snapshots that are looked at one by one; beyond it everything is as good as another table.
const STEPS_MAX: usize = 200;
/// Those of them whose files are all looked at, since some of them have deletes.
const WHOLE_MAX: usize = 32;
const READ_AHEAD: usize = 16;

/// Rows that a table has got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Data files that hold these rows and no others, for [`super::Reading::of_files`].
    pub files: Vec<String>,
    /// Those of them that were deleted meanwhile count too.
    pub rows: u64,
}

/// A data file.
struct Held {
    path: String,
    rows: u64,
}

/// A snapshot's data files, each with the deletes that apply to it.
type Files = HashMap<FileKey, (Held, HashSet<FileKey>)>;

/// What became of the data files from one snapshot to the next.
struct Step {
    gone: HashSet<FileKey>,
    came: HashMap<FileKey, Held>,
    /// Those that stayed have the deletes that they had, and those that came have none.
    deletes_nothing: bool,
}

impl Lake {
    /// The rows that `table` has got since its snapshot `since`, where it lost none and changed none; `None` where it did, or
    /// where that cannot be told: the snapshot is not in main's history any more, or the columns were others.
    pub async fn added(&self, table: &Table, since: Option<i64>) -> Result<Option<Added>> {
        self.added_within(table, since, STEPS_MAX).await
    }

    /// As [`Lake::added`]; `None` also where there are more than `steps_max` snapshots in between.
    pub async fn added_within(&self, table: &Table, since: Option<i64>, steps_max: usize) -> Result<Option<Added>> {
        if table.snapshot_id() == since {
            return Ok(Some(Added::default()));
        }
        let after = table.main().take_while(|s| Some(s.snapshot_id()) != since);
        let mut steps: Vec<&SnapshotRef> = after.take(steps_max + 1).collect();
        let first_parent = steps.last().and_then(|oldest| oldest.parent_snapshot_id());
        if steps.len() > steps_max || first_parent != since {
            return Ok(None);
        }
        steps.reverse();
        let mut before: Option<Arc<ManifestList>> = None;
        if let Some(since) = since {
            let Some(then) = table.metadata.snapshot_by_id(since) else { return Ok(None) };
            let newest = table.metadata.current_snapshot().and_then(|newest| newest.schema_id());
            if newest.is_none() || then.schema_id() != newest {
                return Ok(None);
            }
            before = Some(self.list(table, then).await?);
        }
        let mut new: HashMap<FileKey, Held> = HashMap::new();
        // of the snapshot before, where they were looked at
        let mut files: Option<Files> = None;
        let mut whole = 0;
        for step in steps {
            let now = self.list(table, step).await?;
            let did = if before.as_deref().is_some_and(has_deletes) || has_deletes(&now) {
                whole += 1;
                if whole > WHOLE_MAX {
                    return Ok(None);
                }
                let was = match (files.take(), &before) {
                    (Some(files), _) => files,
                    (None, Some(before)) => self.files_at(table, before).await?,
                    (None, None) => Files::new(),
                };
                let is = self.files_at(table, &now).await?;
                let did = told_by_files(was, &is);
                files = Some(is);
                did
            } else {
                files = None;
                self.told_by_manifests(before.as_deref(), &now).await?
            };
            match became(&step.summary().operation, did, new) {
                Some(then) => new = then,
                None => return Ok(None),
            }
            before = Some(now);
        }
        let rows = new.values().map(|held| held.rows).sum();
        let mut files: Vec<String> = new.into_values().map(|held| held.path).collect();
        files.sort_unstable();
        Ok(Some(Added { files, rows }))
    }

    /// Where no file has deletes. What both snapshots list holds the same files in both, and is not read.
    async fn told_by_manifests(&self, before: Option<&ManifestList>, now: &ManifestList) -> Result<Step> {
        let was: HashSet<&ManifestFile> = before.into_iter().flat_map(ManifestList::entries).collect();
        let is: HashSet<&ManifestFile> = now.entries().iter().collect();
        let of_one = |one: &HashSet<&ManifestFile>, other: &HashSet<&ManifestFile>| {
            let alone = one.difference(other).filter(|manifest| is_live(manifest));
            alone.copied().cloned().collect::<Vec<_>>()
        };
        let (old, new) = (of_one(&was, &is), of_one(&is, &was));
        let mut gone: HashSet<FileKey> = self.held_by(old).await?.into_keys().collect();
        let mut came = self.held_by(new).await?;
        // a manifest that was written again names most of its files again
        let stayed: Vec<FileKey> = came.keys().filter(|key| gone.contains(*key)).cloned().collect();
        for key in stayed {
            gone.remove(&key);
            came.remove(&key);
        }
        Ok(Step { gone, came, deletes_nothing: true })
    }

    /// The live files of these manifests, several of them read at once.
    async fn held_by(&self, manifests: Vec<ManifestFile>) -> Result<HashMap<FileKey, Held>> {
        let read = manifests.into_iter().map(move |m| async move { self.manifest(&m).await });
        let read: Vec<Arc<Entries>> = futures::stream::iter(read).buffered(READ_AHEAD).try_collect().await?;
        let live = read.iter().flat_map(|entries| &entries.entries).filter(|entry| entry.is_live());
        let held = live.map(|entry| {
            let (path, rows) = (entry.file.file_path().to_string(), entry.file.record_count());
            (entry.key(), Held { path, rows })
        });
        Ok(held.collect())
    }

    async fn files_at(&self, table: &Table, list: &ManifestList) -> Result<Files> {
        let planned = self.plan(table, list, None).await?;
        let live = planned.files.into_iter().map(|file| {
            let deletes = file.deletes.entries().map(|entry| entry.key()).collect();
            let (path, rows) = (file.data().file_path().to_string(), file.data().record_count());
            (file.entry.key(), (Held { path, rows }, deletes))
        });
        Ok(live.collect())
    }
}

fn is_live(manifest: &ManifestFile) -> bool {
    manifest.has_added_files() || manifest.has_existing_files()
}

fn has_deletes(list: &ManifestList) -> bool {
    list.entries().iter().any(|manifest| manifest.content == ManifestContentType::Deletes && is_live(manifest))
}

fn told_by_files(before: Files, now: &Files) -> Step {
    let as_it_was = |(key, (_, deletes)): (&FileKey, &(Held, HashSet<FileKey>))| match before.get(key) {
        Some((_, then)) => then == deletes,
        None => deletes.is_empty(),
    };
    let deletes_nothing = now.iter().all(as_it_was);
    let new = now.iter().filter(|(key, _)| !before.contains_key(key));
    let came = new.map(|(key, (held, _))| (key.clone(), Held { path: held.path.clone(), rows: held.rows })).collect();
    let gone = before.into_keys().filter(|key| !now.contains_key(key)).collect();
    Step { gone, came, deletes_nothing }
}

/// Which files are new after a step, given those that were new before it; `None` where rows went or changed.
fn became(operation: &Operation, did: Step, mut new: HashMap<FileKey, Held>) -> Option<HashMap<FileKey, Held>> {
    let Step { gone, came, deletes_nothing } = did;
    match operation {
        Operation::Append => {
            if !gone.is_empty() || !deletes_nothing {
                return None;
            }
            new.extend(came);
            Some(new)
        }
        // the same rows in other files: new ones where all that went were new
        Operation::Replace => match gone.iter().filter(|key| new.contains_key(*key)).count() {
            0 if came.is_empty() || !gone.is_empty() => Some(new),
            n if n > 0 && n == gone.len() => {
                new.retain(|key, _| !gone.contains(key));
                new.extend(came);
                Some(new)
            }
            _ => None,
        },
        Operation::Overwrite | Operation::Delete => None,
    }
}

impl Table {
    /// Whether its rows are those that the commit of `batch` left: after it come only snapshots that keep all rows.
    pub fn is_as_left_by(&self, batch: &str) -> bool {
        for snapshot in self.main() {
            let summary = snapshot.summary();
            if summary.additional_properties.get(BATCH).is_some_and(|named| named == batch) {
                return true;
            }
            if summary.operation != Operation::Replace {
                return false;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
