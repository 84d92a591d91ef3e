//! What snapshots refer to: lists, manifests, files, by the paths that metadata have for them. It decides nothing about
//! what is not reached.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures::{StreamExt, TryStreamExt};
use iceberg::spec::{ManifestFile, SnapshotRef};

use super::super::{Lake, Table};
use crate::error::{Kind, Result};

/// Metadata files read at once.
const READ_AHEAD: usize = 16;

/// What lists of manifests there are and what they name.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub lists: BTreeSet<String>,
    /// By path.
    pub manifests: BTreeMap<String, ManifestFile>,
}

/// What to do about a list or a manifest that is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// What it named is not known to be needed: nothing may be decided without it.
    Fails,
    /// It named nothing that could be found by it.
    Nothing,
}

impl Lake {
    pub(super) async fn named(&self, table: &Table, snapshots: Vec<SnapshotRef>, lost: Lost) -> Result<Named> {
        let mut named = Named::default();
        let lists = snapshots.into_iter().map(|snapshot| async move {
            let list = self.list(table, &snapshot).await;
            Ok::<_, crate::error::Error>((snapshot, list))
        });
        let mut lists = std::pin::pin!(futures::stream::iter(lists).buffered(READ_AHEAD));
        while let Some((snapshot, list)) = lists.try_next().await? {
            named.lists.insert(snapshot.manifest_list().to_string());
            match list {
                Ok(list) => {
                    let manifests = list.entries().iter().map(|m| (m.manifest_path.clone(), m.clone()));
                    named.manifests.extend(manifests);
                }
                Err(error) if error.kind() == Kind::DataGone && lost == Lost::Nothing => (),
                Err(error) => return Err(error),
            }
        }
        Ok(named)
    }

    /// Data and delete files that these manifests hold, the live ones or those too that they say are gone.
    pub(super) async fn files_of(
        &self,
        manifests: impl Iterator<Item = &ManifestFile>,
        of: Entries,
        lost: Lost,
    ) -> Result<HashSet<String>> {
        let mut files = HashSet::new();
        let manifests =
            manifests.map(|listed| async move { Ok::<_, crate::error::Error>(self.manifest(listed).await) });
        let manifests: Vec<_> = manifests.collect();
        let mut read = std::pin::pin!(futures::stream::iter(manifests).buffered(READ_AHEAD));
        while let Some(entries) = read.try_next().await? {
            let entries = match entries {
                Ok(entries) => entries,
                Err(error) if error.kind() == Kind::DataGone && lost == Lost::Nothing => continue,
                Err(error) => return Err(error),
            };
            let wanted = entries.entries.iter().filter(|entry| of == Entries::All || entry.is_live());
            files.extend(wanted.map(|entry| entry.file.file_path().to_string()));
        }
        Ok(files)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entries {
    Live,
    All,
}
