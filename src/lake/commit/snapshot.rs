//! The parts of one snapshot: its manifest, its list, its summary. Totals are kept by our own arithmetic, because the
//! crate's refuses some operations. It decides nothing about conflicts.

use std::collections::HashMap;

use iceberg::spec::{
    DataFile, FormatVersion, ManifestFile, ManifestListWriter, ManifestWriterBuilder, Operation, Snapshot, Summary,
    TableMetadata,
};

use super::super::{BATCH, Lake, connect};
use super::Staged;
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
    /// One manifest of new files. They inherit snapshot and sequence numbers from the list that names it.
    pub(super) async fn write_manifest(
        &self,
        metadata: &TableMetadata,
        snapshot_id: i64,
        files: &[DataFile],
    ) -> Result<ManifestFile> {
        let path = metadata_path(metadata, &format!("{}-m0.avro", uuid::Uuid::now_v7()));
        let output = self.io.new_output(path).map_err(connect::broken)?;
        let schema = metadata.current_schema().clone();
        let spec = metadata.default_partition_spec().as_ref().clone();
        let builder = ManifestWriterBuilder::new(output, Some(snapshot_id), schema, spec);
        let mut writer = match metadata.format_version() {
            FormatVersion::V3 => builder.build_v3_data(),
            FormatVersion::V1 | FormatVersion::V2 => builder.build_v2_data(),
        };
        for file in files {
            // A negative sequence number means "inherit".
            writer.add_file(file.clone(), -1).map_err(connect::broken)?;
        }
        writer.write_manifest_file().await.map_err(connect::broken)
    }

    /// The base's manifests and the new one, listed; the snapshot that names the list.
    pub(super) async fn snapshot(
        &self,
        staged: &Staged,
        id: i64,
        manifest: Option<&ManifestFile>,
        attempt: u32,
    ) -> Result<Snapshot> {
        let metadata = staged.base.metadata.as_ref();
        let parent = metadata.current_snapshot();
        let mut manifests: Vec<ManifestFile> = match parent {
            Some(parent) => self.list(&staged.base, parent).await?.entries().to_vec(),
            None => vec![],
        };
        manifests.extend(manifest.cloned());
        let sequence = metadata.next_sequence_number();
        let parent_id = parent.map(|p| p.snapshot_id());
        let path = metadata_path(metadata, &format!("snap-{id}-{attempt}-{}.avro", uuid::Uuid::now_v7()));
        let output = self.io.new_output(&path).map_err(connect::broken)?.writer().await.map_err(connect::broken)?;
        let first_row = metadata.next_row_id();
        let mut list = match metadata.format_version() {
            FormatVersion::V3 => ManifestListWriter::v3(output, id, parent_id, sequence, Some(first_row)),
            FormatVersion::V1 | FormatVersion::V2 => ManifestListWriter::v2(output, id, parent_id, sequence),
        };
        list.add_manifests(manifests.into_iter()).map_err(connect::broken)?;
        // Asked before `close`, which forgets it.
        let next_row = list.next_row_id();
        list.close().await.map_err(connect::broken)?;
        let builder = Snapshot::builder()
            .with_snapshot_id(id)
            .with_parent_snapshot_id(parent_id)
            .with_sequence_number(sequence)
            .with_timestamp_ms(timestamp(metadata))
            .with_manifest_list(path)
            .with_summary(summary(staged))
            .with_schema_id(metadata.current_schema_id());
        Ok(match next_row {
            Some(next) => builder.with_row_range(first_row, next.saturating_sub(first_row)).build(),
            None => builder.build(),
        })
    }
}

fn metadata_path(metadata: &TableMetadata, name: &str) -> String {
    let location = metadata.location().trim_end_matches('/');
    let given = metadata.properties().get("write.metadata.path").map(|p| p.trim_end_matches('/').to_string());
    format!("{}/{name}", given.unwrap_or_else(|| format!("{location}/metadata")))
}

/// Always after the last one, though the clock may have been set back: readers order snapshots by it.
fn timestamp(metadata: &TableMetadata) -> i64 {
    let last = metadata.history().last().map_or(0, |l| l.timestamp_ms()).max(metadata.last_updated_ms());
    chrono::Utc::now().timestamp_millis().max(last + 1)
}

fn summary(staged: &Staged) -> Summary {
    let before = staged.base.metadata.current_snapshot().map(|s| &s.summary().additional_properties);
    let files = staged.written.files.len() as u64;
    let mut said = counts(before, files, staged.written.rows, staged.written.bytes);
    said.insert("engine-name".into(), "lakegate".into());
    said.insert("engine-version".into(), env!("CARGO_PKG_VERSION").into());
    said.insert(BATCH.into(), staged.batch.to_string());
    said.extend(staged.summary.clone());
    let operation = match staged.kind {
        super::Kind::Append => Operation::Append,
    };
    Summary { operation, additional_properties: said }
}

/// What was added, and the totals. A total that the snapshot before did not know is not made up.
fn counts(before: Option<&HashMap<String, String>>, files: u64, rows: u64, bytes: u64) -> HashMap<String, String> {
    let added = [("added-data-files", files), ("added-records", rows), ("added-files-size", bytes)];
    let totals = [
        ("total-data-files", files),
        ("total-records", rows),
        ("total-files-size", bytes),
        ("total-delete-files", 0),
        ("total-position-deletes", 0),
        ("total-equality-deletes", 0),
    ];
    let mut said: HashMap<String, String> = added.map(|(key, n)| (key.to_string(), n.to_string())).into();
    for (key, n) in totals {
        let total = match before {
            None => Some(n),
            Some(before) => before.get(key).and_then(|t| t.parse::<u64>().ok()).and_then(|t| t.checked_add(n)),
        };
        said.extend(total.map(|t| (key.to_string(), t.to_string())));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_grow_and_unknown_ones_stay_unknown() {
        let first = counts(None, 2, 10, 100);
        assert_eq!(first["total-records"], "10");
        let second = counts(Some(&first), 1, 5, 50);
        assert_eq!((second["added-records"].as_str(), second["total-records"].as_str()), ("5", "15"));
        assert_eq!(second["total-data-files"], "3");
        let foreign = HashMap::from([("total-records".to_string(), "7".to_string())]);
        let third = counts(Some(&foreign), 1, 5, 50);
        assert_eq!((third.get("total-records").map(String::as_str), third.get("total-data-files")), (Some("12"), None));
    }
}
