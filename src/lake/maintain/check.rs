//! A table looked over: whether its metadata agree with each other, with its files, and with what was promised of its rows.
//! It is stricter than readers are, and changes nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{Int64Type, Schema};
use arrow::row::{RowConverter, SortField};
use datafusion::catalog::{Session, TableProvider};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::execute_stream;
use futures::{StreamExt, TryStreamExt, stream};
use iceberg::spec::{FormatVersion, ManifestContentType, ManifestFile, ManifestStatus, SnapshotRef};
use object_store::ObjectStoreExt;
use roaring::RoaringTreemap;

use super::super::deletes::Positions;
use super::super::manifest::Entry;
use super::super::{Lake, LiveFile, Table, TableKey};
use super::retain;
use crate::error::{Error, Result};
use crate::jobs::Job;

/// Requests at once.
const AT_ONCE: usize = 16;
/// Faults that are told; a table that is broken is broken in many places.
const TOLD_MAX: usize = 200;

/// What was looked at and what is wrong.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    pub snapshots: u64,
    pub manifests: u64,
    pub data_files: u64,
    pub delete_files: u64,
    /// Live ones of the current snapshot.
    pub rows: u64,
    /// A line each.
    pub faults: Vec<String>,
}

impl Findings {
    fn say(&mut self, fault: impl Into<String>) {
        if self.faults.len() < TOLD_MAX {
            self.faults.push(fault.into());
        }
    }

    fn demand(&mut self, holds: bool, fault: impl FnOnce() -> String) {
        if !holds {
            self.say(fault());
        }
    }
}

impl Lake {
    pub async fn check(self: &Arc<Self>, session: &dyn Session, key: &TableKey, job: &Job) -> Result<Findings> {
        let table = self.present(key).await?;
        let mut found = Findings::default();
        job.says("snapshots");
        snapshots(&table, &mut found)?;
        job.says("manifests");
        let all: Vec<SnapshotRef> = table.metadata.snapshots().cloned().collect();
        let mut sizes: HashMap<String, u64> = HashMap::new();
        let mut seen = HashSet::new();
        for snapshot in all {
            self.manifests_of(&table, &snapshot, &mut seen, &mut sizes, &mut found).await?;
        }
        job.says("files");
        self.exist(sizes, &mut found).await?;
        if table.snapshot_id().is_some() {
            self.rows_of_now(session, &table, &mut found, job).await?;
        }
        Ok(found)
    }

    /// Of one snapshot: its list, and each manifest that was not seen before.
    async fn manifests_of(
        &self,
        table: &Table,
        snapshot: &SnapshotRef,
        seen: &mut HashSet<String>,
        sizes: &mut HashMap<String, u64>,
        found: &mut Findings,
    ) -> Result<()> {
        found.snapshots += 1;
        let id = snapshot.snapshot_id();
        let list = match self.list(table, snapshot).await {
            Ok(list) => list,
            Err(error) => {
                found.say(format!("snapshot {id}: its list of manifests cannot be read: {error}"));
                return Ok(());
            }
        };
        let mut paths = HashSet::new();
        for listed in list.entries() {
            found.demand(paths.insert(listed.manifest_path.as_str()), || {
                format!("snapshot {id}: manifest {} is listed twice", listed.manifest_path)
            });
            found.demand(listed.sequence_number <= snapshot.sequence_number(), || {
                format!("snapshot {id}: manifest {} is of a later commit", listed.manifest_path)
            });
            if !seen.insert(listed.manifest_path.clone()) {
                continue;
            }
            found.manifests += 1;
            if let Ok(bytes) = u64::try_from(listed.manifest_length) {
                sizes.insert(listed.manifest_path.clone(), bytes);
            }
            match self.manifest(listed).await {
                Ok(entries) => {
                    counts(listed, &entries.entries, found);
                    for entry in entries.entries.iter().filter(|e| e.is_live()) {
                        sizes.insert(entry.file.file_path().to_string(), entry.file.file_size_in_bytes());
                    }
                }
                Err(error) => found.say(format!("manifest {} cannot be read: {error}", listed.manifest_path)),
            }
        }
        Ok(())
    }

    /// Every file is there and as large as it is said to be.
    async fn exist(&self, sizes: HashMap<String, u64>, found: &mut Findings) -> Result<()> {
        let mut files: Vec<(String, u64)> = sizes.into_iter().collect();
        files.sort();
        let looks = files.into_iter().map(|(file, bytes)| async move {
            let path = match self.store.path(&file) {
                Ok(path) => path,
                Err(_) => return Ok(Some(format!("file {file} lies outside of the lake's store"))),
            };
            match self.store.objects().head(&path).await {
                Ok(there) if there.size == bytes => Ok(None),
                Ok(there) => Ok(Some(format!("file {file} has {} bytes and not {bytes}", there.size))),
                Err(object_store::Error::NotFound { .. }) => Ok(Some(format!("file {file} is missing"))),
                Err(error) => Err(super::super::connect::lost(error)),
            }
        });
        let looks: Vec<_> = looks.collect();
        let mut looks = stream::iter(looks).buffered(AT_ONCE);
        while let Some(fault) = looks.try_next().await? {
            if let Some(fault) = fault {
                found.say(fault);
            }
        }
        Ok(())
    }

    /// The current snapshot: its files and deletes, and what is promised of its rows.
    async fn rows_of_now(
        self: &Arc<Self>,
        session: &dyn Session,
        table: &Table,
        found: &mut Findings,
        job: &Job,
    ) -> Result<()> {
        let files = match self.files(table).await {
            Ok(files) => files,
            Err(error) => {
                found.say(format!("the current snapshot cannot be planned: {}{}", error, detail(&error)));
                return Ok(());
            }
        };
        found.data_files = files.len() as u64;
        let mut paths = HashSet::new();
        for file in &files {
            found.demand(paths.insert(file.path()), || format!("data file {} is in the table twice", file.path()));
        }
        self.deletes_of_now(table, &paths, found).await?;
        total(table, &files, found);
        job.says("deletes");
        let reading = self.read(table, table.schema()).await?;
        for file in &files {
            let rows = file.0.data().record_count();
            // Reading a vector proves its checksum and its count.
            match reading.deletes(session, std::slice::from_ref(&file.0)).await {
                Ok(deletes) => {
                    let last = deletes.files.first().and_then(|deletes| deletes.positions()?.max());
                    found.demand(last.is_none_or(|last| last < rows), || {
                        format!("data file {}: a row beyond its end is deleted", file.path())
                    });
                }
                Err(error) => found.say(format!("data file {}: its deletes cannot be read: {error}", file.path())),
            }
        }
        if found.faults.is_empty() {
            job.says("rows");
            self.promises(session, table, found).await?;
        }
        Ok(())
    }

    async fn deletes_of_now(&self, table: &Table, data: &HashSet<&str>, found: &mut Findings) -> Result<()> {
        let Some(list) = self.manifests(table).await? else { return Ok(()) };
        let mut vectors: HashSet<String> = HashSet::new();
        for listed in list.entries().iter().filter(|m| m.content == ManifestContentType::Deletes) {
            for entry in self.manifest(listed).await?.entries.iter().filter(|e| e.is_live()) {
                found.delete_files += 1;
                let Some(of) = entry.file.referenced_data_file() else { continue };
                found.demand(data.contains(of.as_str()), || {
                    format!("delete file {} is of data file {of}, which is not in the table", entry.file.file_path())
                });
                if entry.file.file_format() == iceberg::spec::DataFileFormat::Puffin {
                    found.demand(vectors.insert(of.clone()), || format!("data file {of} has two deletion vectors"));
                }
            }
        }
        Ok(())
    }

    /// Row ids are unique and below the next one; keys are unique where the table declares one.
    async fn promises(self: &Arc<Self>, session: &dyn Session, table: &Table, found: &mut Findings) -> Result<()> {
        let identifier: Vec<i32> = table.metadata.current_schema().identifier_field_ids().collect();
        let own = table.schema();
        let keys: Vec<usize> = identifier
            .iter()
            .filter_map(|id| own.fields().iter().position(|f| super::super::field_id(f) == Some(*id)))
            .collect();
        let has_ids = table.metadata.format_version() == FormatVersion::V3;
        let mut fields: Vec<_> = keys.iter().filter_map(|at| own.fields().get(*at).cloned()).collect();
        let key_columns = fields.len();
        if has_ids {
            fields.extend(Table::lineage_columns());
        }
        if fields.is_empty() {
            // Any column counts the rows.
            fields.extend(own.fields().first().cloned());
        }
        let mut rows = self.all_rows(session, table, Arc::new(Schema::new(fields))).await?;
        let sort =
            rows.schema().fields().iter().take(key_columns).map(|f| SortField::new(f.data_type().clone())).collect();
        let converter = RowConverter::new(sort)?;
        let (mut ids, mut seen) = (RoaringTreemap::new(), HashSet::new());
        let next = table.metadata.next_row_id();
        while let Some(batch) = rows.try_next().await? {
            found.rows += batch.num_rows() as u64;
            if has_ids && let Some(column) = batch.columns().get(key_columns) {
                row_ids(column, next, &mut ids, found);
            }
            if key_columns > 0 {
                let columns = batch.columns().get(..key_columns).unwrap_or_default();
                for row in &converter.convert_columns(columns)? {
                    let hash = xxhash_rust::xxh3::xxh3_128(row.as_ref());
                    found.demand(seen.insert(hash), || "two rows have the same key".to_string());
                }
            }
        }
        Ok(())
    }

    async fn all_rows(
        self: &Arc<Self>,
        session: &dyn Session,
        table: &Table,
        schema: arrow::datatypes::SchemaRef,
    ) -> Result<SendableRecordBatchStream> {
        let reading = self.read(table, schema).await?;
        let plan = reading.scan(session, None, &[], None).await?;
        Ok(execute_stream(plan, session.task_ctx())?)
    }
}

fn snapshots(table: &Table, found: &mut Findings) -> Result<()> {
    let metadata = &table.metadata;
    for snapshot in metadata.snapshots() {
        let (id, sequence) = (snapshot.snapshot_id(), snapshot.sequence_number());
        found.demand(sequence <= metadata.last_sequence_number(), || {
            format!("snapshot {id} has sequence number {sequence}, beyond the table's last one")
        });
        let parent = snapshot.parent_snapshot_id().and_then(|parent| metadata.snapshot_by_id(parent));
        let follows = parent.is_none_or(|parent| parent.sequence_number() < sequence);
        found.demand(follows || metadata.format_version() == FormatVersion::V1, || {
            format!("snapshot {id} has sequence number {sequence}, which its parent does not come before")
        });
        found.demand(parent.is_none_or(|parent| parent.timestamp_ms() <= snapshot.timestamp_ms()), || {
            format!("snapshot {id} is older than its parent")
        });
    }
    for (name, reference) in retain::refs(metadata)? {
        found.demand(metadata.snapshot_by_id(reference.snapshot_id).is_some(), || {
            format!("\"{name}\" stands for snapshot {}, which is not there", reference.snapshot_id)
        });
    }
    Ok(())
}

/// What a list says of a manifest, and what is in it.
fn counts(listed: &ManifestFile, entries: &[Arc<Entry>], found: &mut Findings) {
    let mut has: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for entry in entries {
        let of = match entry.status {
            ManifestStatus::Added => "added",
            ManifestStatus::Existing => "existing",
            ManifestStatus::Deleted => "deleted",
        };
        let (files, rows) = has.entry(of).or_default();
        *files += 1;
        *rows += entry.file.record_count();
        found.demand(entry.sequence <= listed.sequence_number || !entry.is_live(), || {
            format!("manifest {}: {} is of a later commit", listed.manifest_path, entry.file.file_path())
        });
    }
    let said = [
        ("added", listed.added_files_count, listed.added_rows_count),
        ("existing", listed.existing_files_count, listed.existing_rows_count),
        ("deleted", listed.deleted_files_count, listed.deleted_rows_count),
    ];
    for (of, files, rows) in said {
        let (has_files, has_rows) = has.get(of).copied().unwrap_or_default();
        found.demand(files.is_none_or(|files| u64::from(files) == has_files), || {
            format!("manifest {}: {files:?} {of} files are promised and there are {has_files}", listed.manifest_path)
        });
        found.demand(rows.is_none_or(|rows| rows == has_rows), || {
            format!("manifest {}: {rows:?} {of} rows are promised and there are {has_rows}", listed.manifest_path)
        });
    }
}

/// The totals of the current snapshot's summary, where it has them.
fn total(table: &Table, files: &[LiveFile], found: &mut Findings) {
    let Some(summary) = table.snapshot_id().and_then(|id| table.summary(id)) else { return };
    let rows: u64 = files.iter().map(|file| file.0.data().record_count()).sum();
    for (name, has) in [("total-data-files", files.len() as u64), ("total-records", rows)] {
        let said = summary.get(name).and_then(|said| said.parse::<u64>().ok());
        found.demand(said.is_none_or(|said| said == has), || {
            format!("the current snapshot says {name} {}, and there are {has}", said.unwrap_or(0))
        });
    }
    for file in files.iter().filter(|file| matches!(file.0.deletes.positions, Positions::Vector(_))) {
        let Positions::Vector(entry) = &file.0.deletes.positions else { continue };
        found.demand(entry.file.record_count() <= file.0.data().record_count(), || {
            format!("data file {}: more rows are deleted than it has", file.path())
        });
    }
}

fn row_ids(column: &ArrayRef, next: u64, ids: &mut RoaringTreemap, found: &mut Findings) {
    let Some(column) = column.as_primitive_opt::<Int64Type>() else { return };
    for id in column {
        // Rows from before format version 3 have none until they are written again.
        let Some(id) = id else { continue };
        match u64::try_from(id) {
            Ok(id) if id < next => found.demand(ids.insert(id), || format!("two rows have the id {id}")),
            _ => found.say(format!("a row has the id {id}, which was not given yet")),
        }
    }
}

fn detail(error: &Error) -> String {
    error.detail().map(|detail| format!(" ({detail})")).unwrap_or_default()
}
