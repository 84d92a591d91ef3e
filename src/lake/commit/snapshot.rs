//! One snapshot: the list of its manifests and what it says of itself. It decides nothing about conflicts.

use iceberg::spec::{FormatVersion, ManifestListWriter, Snapshot, Summary, TableMetadata};

use super::super::{BATCH, Lake, connect};
use super::action::Change;
use super::manifests::{memory, written};
use super::summary::counts;
use super::{Prepared, Staged};
use crate::error::Result;

/// A positive id that the table does not have yet.
pub(super) fn new_id(metadata: &TableMetadata) -> i64 {
    loop {
        let id = rand::random_range(1..=i64::MAX);
        if metadata.snapshot_by_id(id).is_none() {
            return id;
        }
    }
}

impl Lake {
    /// The base's manifests, without what leaves, and the new ones, listed; the snapshot that names the list.
    pub(super) async fn snapshot(&self, prepared: &Prepared, attempt: u32) -> Result<Snapshot> {
        let Prepared { staged, change, snapshot_id: id, manifests: new, .. } = prepared;
        let id = *id;
        let metadata = staged.base.metadata.as_ref();
        let parent = metadata.current_snapshot();
        let kept = self.manifests_without(&staged.base, id, &change.removed).await?;
        let mut manifests = self.merged(metadata, id, kept, change.merges).await?;
        manifests.extend(new.iter().cloned());
        let sequence = metadata.next_sequence_number();
        let parent_id = parent.map(|p| p.snapshot_id());
        let path = metadata_path(metadata, &format!("snap-{id}-{attempt}-{}.avro", uuid::Uuid::now_v7()));
        let memory = memory();
        let output = memory.new_output(&path).map_err(connect::broken)?.writer().await.map_err(connect::broken)?;
        let first_row = metadata.next_row_id();
        let mut list = match metadata.format_version() {
            FormatVersion::V3 => ManifestListWriter::v3(output, id, parent_id, sequence, Some(first_row)),
            FormatVersion::V2 => ManifestListWriter::v2(output, id, parent_id, sequence),
            FormatVersion::V1 => ManifestListWriter::v1(output, id, parent_id),
        };
        list.add_manifests(manifests.into_iter()).map_err(connect::broken)?;
        // Asked before `close`, which forgets it.
        let next_row = list.next_row_id();
        list.close().await.map_err(connect::broken)?;
        self.store.write(&path, written(&memory, &path, metadata).await?).await?;
        let builder = Snapshot::builder()
            .with_snapshot_id(id)
            .with_parent_snapshot_id(parent_id)
            .with_sequence_number(sequence)
            .with_timestamp_ms(timestamp(metadata))
            .with_manifest_list(path)
            .with_summary(summary(staged, change))
            .with_schema_id(metadata.current_schema_id());
        Ok(match next_row {
            Some(next) => builder.with_row_range(first_row, next.saturating_sub(first_row)).build(),
            None => builder.build(),
        })
    }
}

pub(super) fn metadata_path(metadata: &TableMetadata, name: &str) -> String {
    let location = metadata.location().trim_end_matches('/');
    let given = metadata.properties().get("write.metadata.path").map(|p| p.trim_end_matches('/').to_string());
    format!("{}/{name}", given.unwrap_or_else(|| format!("{location}/metadata")))
}

/// Always after the last one, though the clock may have been set back: readers order snapshots by it.
fn timestamp(metadata: &TableMetadata) -> i64 {
    let last = metadata.history().last().map_or(0, |l| l.timestamp_ms()).max(metadata.last_updated_ms());
    chrono::Utc::now().timestamp_millis().max(last + 1)
}

fn summary(staged: &Staged, change: &Change) -> Summary {
    let before = staged.base.metadata.current_snapshot().map(|s| &s.summary().additional_properties);
    let mut said = counts(before, change);
    said.insert("engine-name".into(), "lakegate".into());
    said.insert("engine-version".into(), env!("CARGO_PKG_VERSION").into());
    said.insert(BATCH.into(), staged.batch.to_string());
    said.extend(staged.summary.clone());
    Summary { operation: change.operation(), additional_properties: said }
}
