//! What became of a table's rows between two of its snapshots, told by their files: more came and none went, or which ones
//! came and which went. Files are compared, not what writers say of them, but for `replace`, by which rows stay what they
//! were. It reads no row.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use iceberg::spec::{ManifestContentType, ManifestFile, ManifestList, Operation, SnapshotRef};

use super::deletes::Applied;
use super::manifest::{Entries, Entry, FileKey};
use super::plan::PlannedFile;
use super::{BATCH, Lake, Table};
use crate::error::Result;

/// Snapshots that are looked at one by one; beyond it everything is as good as another table.
const STEPS_MAX: usize = 200;
/// Those of them whose files are all looked at, since some of them have deletes.
const WHOLE_MAX: usize = 32;
const READ_AHEAD: usize = 16;
/// Rows of a larger file are not told apart: what is not read of it is a bitmap.
const FILE_ROWS_MAX: u64 = 1 << 28;

/// Rows that a table has got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Data files that hold these rows and no others, for [`Part::of_files`].
    pub files: Vec<String>,
    /// Those of them that were deleted meanwhile count too.
    pub rows: u64,
}

/// How the rows of one snapshot come to be those of a later one.
#[derive(Debug)]
pub struct Changed {
    /// Of the earlier snapshot.
    pub went: Part,
    /// Of the later one.
    pub came: Part,
    /// Both together, or more where deletes name rows of several files.
    pub rows: u64,
    /// All that the later one's data files hold.
    pub of: u64,
}

/// Some of a snapshot's rows, for [`super::Reading::part`].
#[derive(Clone, Debug, Default)]
pub struct Part {
    files: HashMap<String, Option<PlannedFile>>,
}

impl Part {
    /// All live rows of these data files.
    pub fn of_files(paths: impl IntoIterator<Item = String>) -> Self {
        Self { files: paths.into_iter().map(|path| (path, None)).collect() }
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// The file as it is in another snapshot, where only rows are meant that are deleted there by position.
    pub(super) fn elsewhere(&self, path: &str) -> Option<&PlannedFile> {
        self.files.get(path)?.as_ref()
    }
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

    /// Which rows of `table` as it was at its snapshot `since` are gone, and which are new; a row that was written to another
    /// file is both. `None` where that cannot be told: the snapshot is not there any more, the columns were others, or keys
    /// were deleted.
    pub async fn changed(&self, table: &Table, since: i64) -> Result<Option<Changed>> {
        let (Some(then), Some(now)) = (table.metadata.snapshot_by_id(since), table.metadata.current_snapshot()) else {
            return Ok(None);
        };
        if now.schema_id().is_none() || then.schema_id() != now.schema_id() {
            return Ok(None);
        }
        let then = self.plan(table, &*self.list(table, then).await?, None).await?.files;
        let now = self.plan(table, &*self.list(table, now).await?, None).await?.files;
        Ok(told_apart(then, now))
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

fn told_apart(then: Vec<PlannedFile>, now: Vec<PlannedFile>) -> Option<Changed> {
    let of = now.iter().map(|file| file.data().record_count()).sum();
    let mut changed = Changed { went: Part::default(), came: Part::default(), rows: 0, of };
    let mut then: HashMap<FileKey, PlannedFile> = then.into_iter().map(|file| (file.entry.key(), file)).collect();
    let path = |file: &PlannedFile| file.data().file_path().to_string();
    for file in now {
        let rows = file.data().record_count();
        let Some(before) = then.remove(&file.entry.key()) else {
            changed.came.files.insert(path(&file), None);
            changed.rows += rows;
            continue;
        };
        let (was, is) = (keys(before.deletes.entries()), keys(file.deletes.entries()));
        if was == is {
            continue;
        }
        if keys(before.deletes.by_key()) != keys(file.deletes.by_key()) || rows > FILE_ROWS_MAX {
            return None;
        }
        changed.rows += positions(&file.deletes).abs_diff(positions(&before.deletes)).min(rows);
        changed.went.files.insert(path(&before), Some(file.clone()));
        changed.came.files.insert(path(&file), Some(before));
    }
    for gone in then.into_values() {
        changed.rows += gone.data().record_count();
        changed.went.files.insert(path(&gone), None);
    }
    Some(changed)
}

fn keys<'a>(entries: impl Iterator<Item = &'a Arc<Entry>>) -> HashSet<FileKey> {
    entries.map(|entry| entry.key()).collect()
}

fn positions(deletes: &Applied) -> u64 {
    deletes.by_position().map(|entry| entry.file.record_count()).sum()
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
