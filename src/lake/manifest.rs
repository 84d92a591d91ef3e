//! A manifest's bytes → its entries, with the snapshot, the sequence numbers and the row ids that they inherit from the
//! list that names the manifest. Which of them count is `plan`'s decision.

use std::borrow::Cow;
use std::sync::Arc;

use iceberg::spec::{DataFile, Manifest, ManifestContentType, ManifestFile, ManifestStatus, PartitionSpec, SchemaRef};

use super::avro::Container;
use super::{Lake, cache::Weighed, connect, metadata};
use crate::error::{Error, Kind, Result};

/// One manifest.
#[derive(Debug)]
pub(super) struct Entries {
    /// In its order.
    pub entries: Vec<Arc<Entry>>,
    /// What its partition values are read by: the columns of the time when it was written.
    pub schema: SchemaRef,
    pub spec: PartitionSpec,
}

/// A data or delete file as its manifest has it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub status: ManifestStatus,
    pub snapshot_id: Option<i64>,
    /// When its rows came into the table: what deletes are compared with.
    pub sequence: i64,
    /// When the file did; differs from `sequence` after a rewrite.
    pub file_sequence: i64,
    /// The row id of the file's first row, from format version 3 on.
    pub first_row: Option<i64>,
    pub spec_id: i32,
    pub file: DataFile,
}

/// What tells a file from all others of a table: deletion vectors share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileKey {
    path: String,
    offset: Option<i64>,
}

impl Entry {
    pub(super) fn key(&self) -> FileKey {
        FileKey { path: self.file.file_path().to_string(), offset: self.file.content_offset() }
    }

    pub(super) fn is_live(&self) -> bool {
        self.status != ManifestStatus::Deleted
    }
}

impl Lake {
    /// The entries of a manifest. Kept in memory with what they inherit, and so by what the list says of it: a manifest
    /// that was there before the table came to format version 3 inherits row ids from newer lists only, and a list that
    /// says something else of another table's manifest is believed for its own table alone.
    pub(super) async fn manifest(&self, listed: &ManifestFile) -> Result<Arc<Entries>> {
        let ManifestFile { manifest_path, content, sequence_number, added_snapshot_id, partition_spec_id, .. } = listed;
        let inherited = (*content as u8, sequence_number, added_snapshot_id, partition_spec_id, listed.first_row_id);
        let key = format!("{manifest_path}#{inherited:?}");
        let read = async {
            if listed.key_metadata.is_some() {
                return Err(Error::new(Kind::Unsupported, "a table with encrypted metadata cannot be read"));
            }
            let bytes = self.store.read(&listed.manifest_path).await?;
            let translated = in_known_words(&bytes);
            let manifest = Manifest::parse_avro(translated.as_deref().unwrap_or(&bytes)).map_err(connect::broken)?;
            let entries = inherit(listed, manifest)?;
            let bytes = entries.entries.iter().map(|e| weight(&e.file)).sum();
            Ok(Weighed { parsed: Arc::new(entries), bytes })
        };
        self.cache.get(&key, read).await
    }
}

/// As the specification has it under "Sequence Number Inheritance" and "First Row ID Inheritance".
fn inherit(listed: &ManifestFile, manifest: Manifest) -> Result<Entries> {
    let broken = |what: &str| {
        Error::new(Kind::SourceFailed, "a table's manifest cannot be read")
            .with_source(format!("{what} in {}", listed.manifest_path))
    };
    let mut next_row = match (listed.content, listed.first_row_id) {
        (ManifestContentType::Data, Some(first)) => {
            Some(i64::try_from(first).map_err(|_| broken("a first row id out of range"))?)
        }
        _ => None,
    };
    let mut entries = vec![];
    let (listing, metadata) = manifest.into_parts();
    for entry in listing {
        // Only what the listing snapshot added may leave its numbers to be inherited; version 1 has none.
        let inherits = entry.status == ManifestStatus::Added || listed.sequence_number == 0;
        let or_inherited = |number: Option<i64>, what: &str| match number {
            Some(number) => Ok(number),
            None if inherits => Ok(listed.sequence_number),
            None => Err(broken(what)),
        };
        let sequence = or_inherited(entry.sequence_number, "an entry without its sequence number")?;
        let file_sequence = or_inherited(entry.file_sequence_number, "an entry without its file sequence number")?;
        let file = entry.data_file.clone();
        let mut first_row = file.first_row_id();
        if let (None, Some(next), true) = (first_row, next_row, entry.status != ManifestStatus::Deleted) {
            first_row = Some(next);
            let rows = i64::try_from(file.record_count()).ok();
            let after = rows.and_then(|rows| next.checked_add(rows));
            next_row = Some(after.ok_or_else(|| broken("row ids out of range"))?);
        }
        entries.push(Arc::new(Entry {
            status: entry.status,
            snapshot_id: entry.snapshot_id.or(Some(listed.added_snapshot_id)),
            sequence,
            file_sequence,
            first_row,
            spec_id: listed.partition_spec_id,
            file,
        }));
    }
    Ok(Entries { entries, schema: metadata.schema, spec: metadata.partition_spec })
}

/// What an entry weighs in memory, by estimate: six small maps each.
fn weight(file: &DataFile) -> u64 {
    let maps = file.column_sizes().len()
        + file.value_counts().len()
        + file.null_value_counts().len()
        + file.nan_value_counts().len()
        + 6 * (file.lower_bounds().len() + file.upper_bounds().len());
    600 + file.file_path().len() as u64 + 32 * maps as u64
}

/// The manifest with its schema in types that the crate knows; `None` where it is so already, and for bytes that are no
/// Avro file (the crate says what is wrong with them).
fn in_known_words(avro: &[u8]) -> Option<Vec<u8>> {
    let mut container = Container::open(avro)?;
    let mut replaced = false;
    for (name, value) in &mut container.header {
        if *name == b"schema"
            && let Some(known) = metadata::known_schema(value)
        {
            *value = Cow::Owned(known);
            replaced = true;
        }
    }
    replaced.then(|| container.closed())
}

#[cfg(test)]
mod tests {
    use super::super::avro::tests::file;
    use super::*;

    #[test]
    fn only_the_schema_of_a_header_is_translated() {
        let avro = |schema: &str| {
            file(&[("schema", schema), ("partition-spec", r#"[{"name":"unknown"}]"#)], b"\"variant\" rows")
        };
        let of = |name: &str| format!(r#"{{"fields":[{{"id":1,"name":"variant","type":"{name}"}}]}}"#);
        assert_eq!(in_known_words(&avro(&of("variant"))), Some(avro(&of("binary"))));
        assert_eq!(in_known_words(&avro(&of("long"))), None);
        let whole = avro(&of("variant"));
        for cut in 0..whole.len() - 52 {
            assert_eq!(in_known_words(&whole[..cut]), None, "{cut}");
        }
    }
}
