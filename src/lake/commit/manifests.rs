//! The manifests of a commit: new ones for what it adds, and in place of those that lose a file others without it. It does
//! not say which files come and go.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use iceberg::io::{FileIO, FileIOBuilder, MemoryStorageFactory};
use iceberg::spec::{
    DataFile, DataFileBuilder, FormatVersion, ManifestContentType, ManifestFile, ManifestWriter, ManifestWriterBuilder,
    PartitionSpec, SchemaRef, TableMetadata,
};

use super::super::avro::Container;
use super::super::manifest::{Entry, FileKey};
use super::super::{Lake, Table, connect};
use super::action::Change;
use super::snapshot::metadata_path;
use crate::error::{Error, Result};

const AVRO_CODEC: &str = "write.avro.compression-codec";
/// Of manifests that become one because they lose files.
const REWRITTEN_BYTES: i64 = 8 << 20;

impl Lake {
    /// A manifest for each kind of file and each partition spec. They inherit snapshot and sequence numbers from the list
    /// that names them, so that they are written once for all attempts.
    pub(super) async fn new_manifests(
        &self,
        metadata: &TableMetadata,
        snapshot_id: i64,
        change: &Change,
    ) -> Result<Vec<ManifestFile>> {
        let mut made = vec![];
        for (content, files) in
            [(ManifestContentType::Data, &change.data), (ManifestContentType::Deletes, &change.deletes)]
        {
            let mut by_spec: BTreeMap<i32, Vec<&DataFile>> = BTreeMap::new();
            for (spec_id, file) in files {
                by_spec.entry(*spec_id).or_default().push(file);
            }
            for (spec_id, files) in by_spec {
                let spec = metadata.partition_spec_by_id(spec_id);
                let spec = spec.ok_or_else(|| Error::internal("files of a spec that the table does not have"))?;
                let schema = metadata.current_schema().clone();
                let mut writer = self.manifest_writer(metadata, snapshot_id, content, schema, spec.as_ref().clone())?;
                for file in files {
                    // A negative sequence number means "inherit".
                    writer.add_file(file.clone(), -1).map_err(connect::broken)?;
                }
                made.push(self.put_manifest(metadata, writer).await?);
            }
        }
        Ok(made)
    }

    /// The manifests of the table without the files that leave it. Every one of those is in the table: that was asked
    /// before.
    pub(super) async fn manifests_without(
        &self,
        base: &Table,
        snapshot_id: i64,
        removed: &HashMap<FileKey, Arc<Entry>>,
    ) -> Result<Vec<ManifestFile>> {
        let Some(list) = self.manifests(base).await? else { return Ok(vec![]) };
        // What an older snapshot took away is told by its own list.
        let live = |m: &&ManifestFile| m.has_added_files() || m.has_existing_files();
        let listed = list.entries().iter().filter(live);
        if removed.is_empty() {
            return Ok(listed.cloned().collect());
        }
        let (mut kept, mut found) = (vec![], 0);
        // Those that lose files become few: a compaction takes a file from each of many small ones.
        let mut open: BTreeMap<(bool, i32, i32), (Draft, i64)> = BTreeMap::new();
        for listed in listed {
            let entries = self.manifest(listed).await?;
            let leaves = |entry: &Entry| entry.is_live() && removed.contains_key(&entry.key());
            let leaving = entries.entries.iter().filter(|e| leaves(e)).count();
            if leaving == 0 {
                kept.push(listed.clone());
                continue;
            }
            found += leaving;
            let is_data = listed.content == ManifestContentType::Data;
            let alike = (is_data, listed.partition_spec_id, entries.schema.schema_id());
            let (mut writer, bytes) = match open.remove(&alike) {
                Some((draft, bytes)) if bytes.saturating_add(listed.manifest_length) <= REWRITTEN_BYTES => {
                    (draft, bytes)
                }
                full => {
                    if let Some((draft, _)) = full {
                        kept.push(self.put_manifest(&base.metadata, draft).await?);
                    }
                    let (schema, spec) = (Arc::clone(&entries.schema), entries.spec.clone());
                    (self.manifest_writer(&base.metadata, snapshot_id, listed.content, schema, spec)?, 0)
                }
            };
            for entry in entries.entries.iter().filter(|e| e.is_live()) {
                match leaves(entry) {
                    true => put_removed(&mut writer, entry)?,
                    false => put_existing(&mut writer, entry)?,
                }
            }
            open.insert(alike, (writer, bytes.saturating_add(listed.manifest_length)));
        }
        for (draft, _) in open.into_values() {
            kept.push(self.put_manifest(&base.metadata, draft).await?);
        }
        match found == removed.len() {
            true => Ok(kept),
            false => Err(Error::internal("a file leaves a table that does not have it")),
        }
    }

    pub(super) fn manifest_writer(
        &self,
        metadata: &TableMetadata,
        snapshot_id: i64,
        content: ManifestContentType,
        schema: SchemaRef,
        spec: PartitionSpec,
    ) -> Result<Draft> {
        let path = metadata_path(metadata, &format!("{}-m0.avro", uuid::Uuid::now_v7()));
        let memory = memory();
        let output = memory.new_output(path).map_err(connect::broken)?;
        let builder = ManifestWriterBuilder::new(output, Some(snapshot_id), schema, spec);
        let writer = match (metadata.format_version(), content) {
            (FormatVersion::V3, ManifestContentType::Data) => builder.build_v3_data(),
            (FormatVersion::V3, ManifestContentType::Deletes) => builder.build_v3_deletes(),
            (FormatVersion::V2, ManifestContentType::Data) => builder.build_v2_data(),
            (FormatVersion::V2, ManifestContentType::Deletes) => builder.build_v2_deletes(),
            (FormatVersion::V1, ManifestContentType::Data) => builder.build_v1(),
            (FormatVersion::V1, ManifestContentType::Deletes) => {
                return Err(Error::internal("delete files in a table of format version 1"));
            }
        };
        Ok(Draft { writer, memory })
    }

    pub(super) async fn put_manifest(&self, metadata: &TableMetadata, draft: Draft) -> Result<ManifestFile> {
        let Draft { writer, memory } = draft;
        let mut made = writer.write_manifest_file().await.map_err(connect::broken)?;
        let bytes = written(&memory, &made.manifest_path, metadata).await?;
        // Readers that ask for so many bytes must get the whole file.
        made.manifest_length = i64::try_from(bytes.len()).map_err(|_| Error::internal("a manifest of that size"))?;
        self.store.write(&made.manifest_path, bytes).await?;
        Ok(made)
    }
}

/// A manifest under way: in memory until it is whole, because the crate compresses nothing.
pub(super) struct Draft {
    writer: ManifestWriter,
    memory: FileIO,
}

impl Deref for Draft {
    type Target = ManifestWriter;

    fn deref(&self) -> &ManifestWriter {
        &self.writer
    }
}

impl DerefMut for Draft {
    fn deref_mut(&mut self) -> &mut ManifestWriter {
        &mut self.writer
    }
}

/// Where the crate may write a file for us.
pub(super) fn memory() -> FileIO {
    FileIOBuilder::new(Arc::new(MemoryStorageFactory)).build()
}

/// An Avro file that the crate wrote to memory, compressed as the table wants it. Other codecs than deflate are asked for by
/// few, and every reader has that one.
pub(super) async fn written(memory: &FileIO, path: &str, metadata: &TableMetadata) -> Result<Vec<u8>> {
    let input = memory.new_input(path).map_err(connect::broken)?;
    let bytes = input.read().await.map_err(connect::broken)?;
    let packed = match metadata.properties().get(AVRO_CODEC).map(String::as_str) {
        Some("uncompressed") => None,
        Some(_) | None => Container::open(&bytes).and_then(Container::deflated),
    };
    Ok(packed.unwrap_or_else(|| bytes.to_vec()))
}

/// An entry that stays, as it was.
pub(super) fn put_existing(writer: &mut ManifestWriter, entry: &Entry) -> Result<()> {
    let from = entry.snapshot_id.ok_or_else(|| Error::internal("an entry without its snapshot"))?;
    let added = writer.add_existing_file(own(entry)?, from, entry.sequence, Some(entry.file_sequence));
    added.map_err(connect::broken)
}

/// The crate's `add_delete_file` makes an entry of status "deleted": informational, read by no scan.
fn put_removed(writer: &mut ManifestWriter, entry: &Entry) -> Result<()> {
    let added = writer.add_delete_file(own(entry)?, entry.sequence, Some(entry.file_sequence));
    added.map_err(connect::broken)
}

/// The file with the row ids that it had inherited: in another manifest it would inherit others.
fn own(entry: &Entry) -> Result<DataFile> {
    let file = &entry.file;
    if file.first_row_id() == entry.first_row {
        return Ok(file.clone());
    }
    let mut builder = DataFileBuilder::default();
    builder
        .content(file.content_type())
        .file_path(file.file_path().to_string())
        .file_format(file.file_format())
        .partition(file.partition().clone())
        .partition_spec_id(entry.spec_id)
        .record_count(file.record_count())
        .file_size_in_bytes(file.file_size_in_bytes())
        .column_sizes(file.column_sizes().clone())
        .value_counts(file.value_counts().clone())
        .null_value_counts(file.null_value_counts().clone())
        .nan_value_counts(file.nan_value_counts().clone())
        .lower_bounds(file.lower_bounds().clone())
        .upper_bounds(file.upper_bounds().clone())
        .key_metadata(file.key_metadata().map(<[u8]>::to_vec))
        .split_offsets(file.split_offsets().map(<[i64]>::to_vec))
        .equality_ids(file.equality_ids())
        .first_row_id(entry.first_row)
        .referenced_data_file(file.referenced_data_file())
        .content_offset(file.content_offset())
        .content_size_in_bytes(file.content_size_in_bytes());
    if let Some(order) = file.sort_order_id() {
        builder.sort_order_id(order);
    }
    builder.build().map_err(|e| Error::internal(format!("a data file without a field: {e}")))
}
