//! Files below a table's directory that nothing refers to: of statements that failed, of attempts that lost a race, of
//! processes that died. What is young may belong to a commit under way, or to one of which it is not known yet whether it
//! happened; it stays. Nothing is removed where the listing and the metadata do not agree.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::super::{Lake, Table, TableKey, shown};
use super::properties::Properties;
use super::reach::{Entries, Lost};
use crate::error::{Error, Kind, Result};
use crate::jobs::Job;

/// Orphans that are named; the rest is counted.
const NAMED_MAX: usize = 10_000;
/// Files deleted between two looks at whether somebody waits.
const PIECE: usize = 1_000;

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Only files from before that moment.
    pub older_than: DateTime<Utc>,
    /// Found and named, not removed.
    pub dry_run: bool,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orphans {
    /// With their sizes; as many as are named.
    pub files: Vec<(String, u64)>,
    pub count: u64,
    pub bytes: u64,
    /// Files below the directory altogether.
    pub listed: u64,
}

impl Lake {
    pub async fn orphans(&self, key: &TableKey, wanted: Wanted, job: &Job) -> Result<Orphans> {
        // What is written while we list is younger than the listing, whatever was asked for.
        let older_than = wanted.older_than.min(Utc::now());
        let table = self.present(key).await?;
        if !wanted.dry_run && !Properties(table.properties()).may_delete_files() {
            let message = format!("property \"gc.enabled\" of table {} forbids it", shown(key));
            return Err(Error::new(Kind::InvalidDefinition, message));
        }
        if self.catalog.keeps_more().await? {
            let message = format!("files of table {} cannot be told from those that nothing refers to", shown(key));
            return Err(Error::new(Kind::Unsupported, message)
                .with_hint("Its catalog keeps what refers to them: use its own tools."));
        }
        let directory = table.metadata.location().trim_end_matches('/').to_string();
        let prefix = self.store.path(&directory)?;
        self.alone(&table, &prefix).await?;
        job.says("listing files");
        let mut listed = vec![];
        let mut listing = self.store.objects().list(Some(&prefix));
        while let Some(file) = listing.try_next().await.map_err(super::super::connect::lost)? {
            listed.push(file);
        }
        // Asked after the listing: what came meanwhile is named by the newer metadata, what went is not deleted twice.
        job.says("finding what the table refers to");
        let table = self.present(key).await?;
        let (needed, must_be_there) = self.needed(&table).await?;
        let there: HashSet<&Path> = listed.iter().map(|file| &file.location).collect();
        let within = |path: &&Path| path.prefix_matches(&prefix);
        if let Some(lost) = must_be_there.iter().filter(within).find(|path| !there.contains(path))
            && self.store.objects().head(lost).await.is_ok()
        {
            let message = format!("files of table {} are not listed as its metadata name them", shown(key));
            let hint = "Nothing was removed. The store's listing lacks a file that is there: try again, and see that the \
                        store lets its files be listed.";
            return Err(Error::new(Kind::SourceFailed, message).with_hint(hint).with_source(lost.to_string()));
        }
        let mut found = Orphans { listed: u64::try_from(listed.len()).unwrap_or(u64::MAX), ..Orphans::default() };
        let orphans: Vec<_> =
            listed.iter().filter(|file| file.last_modified < older_than && !needed.contains(&file.location)).collect();
        found.count = u64::try_from(orphans.len()).unwrap_or(u64::MAX);
        found.bytes = orphans.iter().map(|file| file.size).sum();
        found.files = orphans.iter().take(NAMED_MAX).map(|f| (f.location.to_string(), f.size)).collect();
        if wanted.dry_run {
            return Ok(found);
        }
        job.says("removing files");
        job.of(found.count);
        for piece in orphans.chunks(PIECE) {
            let paths: Vec<Path> = piece.iter().map(|file| file.location.clone()).collect();
            self.delete_paths(paths).await?;
            job.has_done(u64::try_from(piece.len()).unwrap_or(0));
        }
        Ok(found)
    }

    /// Everything that the table refers to or may refer to yet, and what of it must be in a listing.
    async fn needed(&self, table: &Table) -> Result<(HashSet<Path>, Vec<Path>)> {
        let metadata = &table.metadata;
        let named = self.named(table, metadata.snapshots().cloned().collect(), Lost::Fails).await?;
        let mut files = self.files_of(named.manifests.values(), Entries::Live, Lost::Fails).await?;
        files.extend(named.lists);
        files.extend(named.manifests.into_keys());
        files.extend([table.location.clone(), table.pointer.clone()]);
        let certain: Vec<Path> = files.iter().filter_map(|file| self.store.path(file).ok()).collect();
        files.extend(metadata.metadata_log().iter().map(|log| log.metadata_file.clone()));
        files.extend(metadata.statistics_iter().map(|s| s.statistics_path.clone()));
        files.extend(metadata.partition_statistics_iter().map(|s| s.statistics_path.clone()));
        // A running statement may read them yet.
        files.extend(self.waiting(table.uuid()).await?);
        Ok((files.iter().filter_map(|file| self.store.path(file).ok()).collect(), certain))
    }

    /// Refused where another table lies in the same directory: its files would be orphans of this one.
    async fn alone(&self, table: &Table, prefix: &Path) -> Result<()> {
        if prefix.parts().count() == 0 {
            let message = format!("table {} lies at the root of its store", table.shown());
            return Err(Error::new(Kind::InvalidDefinition, message));
        }
        for row in self.tables().await? {
            let other = self.key(&row.namespace, &row.name);
            let inside = self.store.path(&row.location).is_ok_and(|path| path.prefix_matches(prefix));
            if other != table.key && inside {
                let message = format!("table {} shares its directory with another table", table.shown());
                return Err(Error::new(Kind::InvalidDefinition, message).with_hint("Nothing was removed."));
            }
        }
        Ok(())
    }
}
