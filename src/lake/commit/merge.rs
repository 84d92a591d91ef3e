//! Many small manifests → few larger ones, as part of a commit that is made anyway: else a table of ten thousand commits is
//! planned from as many files. It follows Iceberg's own properties and changes no file of the table.

use std::collections::BTreeMap;
use std::sync::Arc;

use iceberg::spec::{FormatVersion, ManifestContentType, ManifestFile, TableMetadata};

use super::super::Lake;
use super::super::manifest::Entries;
use super::manifests::put_existing;
use crate::error::{Error, Result};

const ENABLED: &str = "commit.manifest-merge.enabled";
/// So many manifests of a kind are left alone.
const MIN_COUNT: (&str, u64) = ("commit.manifest.min-count-to-merge", 100);
const TARGET_BYTES: (&str, u64) = ("commit.manifest.target-size-bytes", 8 << 20);

/// Manifests that may become one: of the same kind of file, and of the same columns and partitions, so that their values
/// are of the same types.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Alike {
    is_data: bool,
    spec_id: i32,
    schema_id: i32,
}

impl Lake {
    /// `manifests` with small ones put together where there are too many of them, or where `all` are wanted together.
    pub(super) async fn merged(
        &self,
        metadata: &TableMetadata,
        snapshot_id: i64,
        manifests: Vec<ManifestFile>,
        all: bool,
    ) -> Result<Vec<ManifestFile>> {
        let properties = metadata.properties();
        let number =
            |(name, default): (&str, u64)| properties.get(name).and_then(|n| n.parse().ok()).unwrap_or(default);
        let (min_count, target_bytes) = (if all { 2 } else { number(MIN_COUNT).max(2) }, number(TARGET_BYTES));
        if !all && properties.get(ENABLED).is_some_and(|enabled| enabled == "false") {
            return Ok(manifests);
        }
        let bytes = |manifest: &ManifestFile| u64::try_from(manifest.manifest_length).unwrap_or(0);
        let is_small = |manifest: &ManifestFile| bytes(manifest) < target_bytes;
        if (manifests.iter().filter(|m| is_small(m)).count() as u64) < min_count {
            return Ok(manifests);
        }
        let mut alike: BTreeMap<Alike, Vec<(ManifestFile, Arc<Entries>)>> = BTreeMap::new();
        let mut kept = vec![];
        for manifest in manifests {
            if !is_small(&manifest) {
                kept.push(manifest);
                continue;
            }
            let entries = self.manifest(&manifest).await?;
            let alike_to = Alike {
                is_data: manifest.content == ManifestContentType::Data,
                spec_id: manifest.partition_spec_id,
                schema_id: entries.schema.schema_id(),
            };
            alike.entry(alike_to).or_default().push((manifest, entries));
        }
        for group in alike.into_values() {
            if (group.len() as u64) < min_count {
                kept.extend(group.into_iter().map(|(manifest, _)| manifest));
                continue;
            }
            let (mut bin, mut size) = (vec![], 0u64);
            for (manifest, entries) in group {
                if size.saturating_add(bytes(&manifest)) > target_bytes {
                    kept.push(self.merge(metadata, snapshot_id, std::mem::take(&mut bin)).await?);
                    size = 0;
                }
                size = size.saturating_add(bytes(&manifest));
                bin.push((manifest, entries));
            }
            kept.push(self.merge(metadata, snapshot_id, bin).await?);
        }
        Ok(kept)
    }

    /// One manifest of the live entries. What older snapshots removed is told by their own manifests.
    async fn merge(
        &self,
        metadata: &TableMetadata,
        snapshot_id: i64,
        mut of: Vec<(ManifestFile, Arc<Entries>)>,
    ) -> Result<ManifestFile> {
        let Some((first, entries)) = of.first() else { return Err(Error::internal("nothing to merge")) };
        if of.len() == 1 {
            return Ok(of.remove(0).0);
        }
        let (schema, spec) = (Arc::clone(&entries.schema), entries.spec.clone());
        let mut writer = self.manifest_writer(metadata, snapshot_id, first.content, schema, spec)?;
        let mut say_their_own = true;
        for entry in of.iter().flat_map(|(_, entries)| &entries.entries).filter(|e| e.is_live()) {
            say_their_own &= entry.first_row.is_some();
            put_existing(&mut writer, entry)?;
        }
        let mut made = self.put_manifest(metadata, writer).await?;
        let of_rows = metadata.format_version() == FormatVersion::V3 && made.content == ManifestContentType::Data;
        if of_rows && say_their_own {
            // The manifest needs no row ids, and takes none from the table's. Files from before format version 3 have none
            // yet: then the list gives it some, as it does to a new one.
            made.first_row_id = Some(metadata.next_row_id());
        }
        Ok(made)
    }
}
