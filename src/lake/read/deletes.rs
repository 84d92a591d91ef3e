//! The deletes of a scan's files, read: positions as bitmaps, keys as a hash of their bytes. All of it is charged to the
//! session's memory before it is kept. Which of them apply to which file is `lake::deletes`' decision.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use arrow::row::{RowConverter, SortField};
use datafusion::catalog::Session;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use futures::{StreamExt, TryStreamExt};
use iceberg::spec::Struct;
use roaring::RoaringTreemap;

use super::super::cache::Weighed;
use super::super::deletes::vector::{self, Deleted};
use super::super::deletes::{Positions, partition_of};
use super::super::manifest::Entry;
use super::super::plan::PlannedFile;
use super::super::schema::{DELETED_PATH, DELETED_POSITION, with_id};
use super::Reading;
use crate::error::{Error, Kind, Result};

/// Delete files read at once.
const READ_AHEAD: usize = 16;
/// What one position and one key cost in memory besides their own bytes, by estimate.
const POSITION_BYTES: usize = 16;
const KEY_BYTES: usize = 64;
/// Deletes in runs longer than this on average are left unread by the Parquet reader; a filter over row numbers is cheaper
/// for scattered ones. Measured at 5 % deleted, as the cost over a scan without deletes: scattered 1.3 to 1.9 against 1.1
/// to 1.4, in runs of a thousand 1.0 against 1.1 to 1.25.
const LONG_RUN: u64 = 64;

/// What is deleted of one file.
#[derive(Debug, Default)]
pub(in crate::lake) struct FileDeletes {
    /// Left unread by the scan itself.
    pub skipped: Option<Arc<Deleted>>,
    /// Dropped above the scan, by row number.
    pub by_number: Option<Arc<Deleted>>,
    /// By number of their group in the scan.
    pub keys: Vec<(usize, Arc<Keys>)>,
    /// The file's own sequence number.
    pub sequence: i64,
}

/// The deletes of a plan's files, in their order.
pub(in crate::lake) struct Deletes {
    pub files: Vec<FileDeletes>,
    /// The columns of each group of keys.
    pub key_ids: Vec<Vec<i32>>,
    pub memory: Arc<Memory>,
}

/// What the deletes are charged to; given back when the last plan that holds them goes.
#[derive(Debug)]
pub(in crate::lake) struct Memory(MemoryReservation);

/// The positions of one position delete file, by the path of the data file.
type PositionFile = HashMap<String, RoaringTreemap>;

/// The keys of one equality delete file.
type KeyFile = Vec<Box<[u8]>>;

/// Equality deletes of one scope and one set of columns: each key with its newest sequence number.
#[derive(Debug)]
pub(in crate::lake) struct Keys {
    converter: RowConverter,
    newest: HashMap<Box<[u8]>, i64>,
}

/// Where a group of keys applies and its columns.
type Group = (Option<(i32, Struct)>, Vec<i32>);

/// A group of keys to be read: its columns, its files by path.
struct Wanted {
    ids: Vec<i32>,
    entries: BTreeMap<String, Arc<Entry>>,
}

impl Keys {
    /// The rows with a key that was deleted after `sequence`. NULL is a value like others here.
    pub(super) fn deleted(&self, columns: &[ArrayRef], sequence: i64) -> Result<Vec<usize>> {
        let rows = self.converter.convert_columns(columns)?;
        let is_deleted = |row: &[u8]| self.newest.get(row).is_some_and(|deleted| sequence < *deleted);
        Ok(rows.iter().enumerate().filter(|(_, row)| is_deleted(row.as_ref())).map(|(i, _)| i).collect())
    }
}

/// What is to be dropped of a file so that the rows stay that are not `deleted` here and are `elsewhere`.
fn all_but(
    file: &PlannedFile,
    deleted: Option<&Deleted>,
    elsewhere: Option<&Deleted>,
    memory: &Memory,
) -> Result<Deleted> {
    let mut dropped = RoaringTreemap::new();
    dropped.insert_range(0..file.data().record_count());
    if let Some(elsewhere) = elsewhere {
        dropped -= elsewhere.positions();
    }
    if let Some(deleted) = deleted {
        dropped |= deleted.positions();
    }
    memory.grow(2 * dropped.serialized_size())?;
    Ok(Deleted::new(dropped))
}

impl FileDeletes {
    pub(in crate::lake) fn positions(&self) -> Option<&RoaringTreemap> {
        self.skipped.as_ref().or(self.by_number.as_ref()).map(|deleted| deleted.positions())
    }
}

impl Memory {
    fn of(session: &dyn Session) -> Self {
        Self(MemoryConsumer::new("lake deletes").register(&session.runtime_env().memory_pool))
    }

    fn grow(&self, bytes: usize) -> Result<()> {
        Ok(self.0.try_grow(bytes)?)
    }
}

impl Reading {
    pub(in crate::lake) async fn deletes(&self, session: &dyn Session, files: &[PlannedFile]) -> Result<Deletes> {
        let memory = Arc::new(Memory::of(session));
        let mut deletes = Deletes { files: vec![], key_ids: vec![], memory: Arc::clone(&memory) };
        let pending = |file: &PlannedFile| self.tail.as_ref()?.gone.get(file.data().file_path());
        let elsewhere = |file: &PlannedFile| self.only.as_ref()?.elsewhere(file.data().file_path());
        if files.iter().all(|f| f.deletes.is_nothing() && pending(f).is_none() && elsewhere(f).is_none()) {
            deletes.files.resize_with(files.len(), FileDeletes::default);
            return Ok(deletes);
        }
        let of_position = self.positions(session, files, &memory).await?;
        let others: Vec<PlannedFile> = files.iter().filter_map(elsewhere).cloned().collect();
        let mut others = self.positions(session, &others, &memory).await?.into_iter();
        let mut groups: Vec<Arc<Keys>> = vec![];
        let (of_file, wanted) = grouped(files)?;
        for wanted in wanted {
            groups.push(Arc::new(self.keys(session, &wanted, &memory).await?));
            deletes.key_ids.push(wanted.ids);
        }
        for ((file, deleted), numbers) in files.iter().zip(of_position).zip(of_file) {
            let deleted = match elsewhere(file).and_then(|_| others.next()) {
                None => deleted,
                Some(other) => Some(Arc::new(all_but(file, deleted.as_deref(), other.as_deref(), &memory)?)),
            };
            let deleted = match pending(file) {
                None => deleted,
                Some(pending) => {
                    let before = deleted.as_ref().map(|deleted| deleted.positions());
                    let all = before.map_or_else(|| pending.clone(), |before| before | pending);
                    memory.grow(2 * all.serialized_size())?;
                    Some(Arc::new(Deleted::new(all)))
                }
            };
            let deleted = deleted.filter(|d| d.count() > 0);
            if let Some(last) = deleted.as_ref().and_then(|d| d.positions().max())
                && last >= file.data().record_count()
            {
                return Err(self.damaged(format!("a deleted position {last} beyond {}", file.data().file_path())));
            }
            let in_runs = deleted.as_ref().is_some_and(|d| d.count() / d.runs().max(1) >= LONG_RUN);
            let (skipped, by_number) = if in_runs { (deleted, None) } else { (None, deleted) };
            let keys = numbers.into_iter().filter_map(|n| Some((n, Arc::clone(groups.get(n)?)))).collect();
            deletes.files.push(FileDeletes { skipped, by_number, keys, sequence: file.entry.sequence });
        }
        Ok(deletes)
    }

    /// The positions that are deleted of each file, in the order of the files.
    async fn positions(
        &self,
        session: &dyn Session,
        files: &[PlannedFile],
        memory: &Memory,
    ) -> Result<Vec<Option<Arc<Deleted>>>> {
        let vectors = self.vectors(files, memory).await?;
        let position_files = self.position_files(session, files, memory).await?;
        let of_one = |(file, vector): (&PlannedFile, Option<Arc<Deleted>>)| match &file.deletes.positions {
            Positions::None => Ok(None),
            Positions::Vector(_) => Ok(vector),
            Positions::Files(entries) => {
                let of_file = entries.iter().filter_map(|e| position_files.get(e.file.file_path()));
                let parts = of_file.filter_map(|f| f.get(file.data().file_path()));
                let all = parts.fold(RoaringTreemap::new(), |all, part| all | part);
                memory.grow(2 * all.serialized_size())?;
                Ok(Some(Arc::new(Deleted::new(all))))
            }
        };
        files.iter().zip(vectors).map(of_one).collect()
    }

    /// Each file's deletion vector, in the order of the files.
    async fn vectors(&self, files: &[PlannedFile], memory: &Memory) -> Result<Vec<Option<Arc<Deleted>>>> {
        let of = |file: &PlannedFile| match &file.deletes.positions {
            Positions::Vector(entry) => Some(Arc::clone(entry)),
            Positions::None | Positions::Files(_) => None,
        };
        let wanted: Vec<Option<Arc<Entry>>> = files.iter().map(of).collect();
        let read = wanted.into_iter().map(|entry| async move {
            match entry {
                Some(entry) => self.vector(&entry, memory).await.map(Some),
                None => Ok(None),
            }
        });
        futures::stream::iter(read).buffered(READ_AHEAD).try_collect().await
    }

    async fn vector(&self, entry: &Entry, memory: &Memory) -> Result<Arc<Deleted>> {
        let file = &entry.file;
        let fault = |what: &str| self.damaged(format!("{what} in {}", file.file_path()));
        let number =
            |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).ok_or_else(|| fault("a vector of no place"));
        let (from, length) = (number(file.content_offset())?, number(file.content_size_in_bytes())?);
        let to = from.checked_add(length).filter(|_| length <= vector::MAX_BYTES);
        let to = to.ok_or_else(|| fault("a vector of more bytes than can be read"))?;
        let read = async {
            memory.grow(usize::try_from(length).unwrap_or(usize::MAX))?;
            let blob = self.lake.store.read_range(file.file_path(), from..to).await?;
            let deleted = Deleted::new(vector::decode(&blob, file.record_count())?);
            let bytes = deleted.bytes();
            Ok(Weighed { parsed: Arc::new(deleted), bytes })
        };
        let deleted = self.lake.cache.get(&format!("{}#{from}", file.file_path()), read).await?;
        memory.grow(usize::try_from(deleted.bytes()).unwrap_or(usize::MAX))?;
        Ok(deleted)
    }

    /// Every position delete file of the plan, read once, by path.
    async fn position_files(
        &self,
        session: &dyn Session,
        files: &[PlannedFile],
        memory: &Memory,
    ) -> Result<HashMap<String, Arc<PositionFile>>> {
        let mut wanted: BTreeMap<String, Arc<Entry>> = BTreeMap::new();
        for file in files {
            if let Positions::Files(entries) = &file.deletes.positions {
                wanted.extend(entries.iter().map(|e| (e.file.file_path().to_string(), Arc::clone(e))));
            }
        }
        let read = wanted.into_iter().map(|(path, entry)| async move {
            let read = async {
                let file = self.read_positions(session, &entry, memory).await?;
                let bytes = file.iter().map(|(path, p)| 100 + path.len() + 2 * p.serialized_size()).sum::<usize>();
                Ok(Weighed { parsed: Arc::new(file), bytes: bytes as u64 })
            };
            let file = self.lake.cache.get(&path, read).await?;
            Ok::<_, Error>((path, file))
        });
        futures::stream::iter(read).buffered(READ_AHEAD).try_collect().await
    }

    async fn read_positions(&self, session: &dyn Session, entry: &Entry, memory: &Memory) -> Result<PositionFile> {
        let columns = [
            with_id(Field::new("", DataType::Utf8, true), DELETED_PATH),
            with_id(Field::new("", DataType::Int64, true), DELETED_POSITION),
        ];
        let fault = |what: &str| self.damaged(format!("{what} in {}", entry.file.file_path()));
        let mut rows = self.rows_of(session, &entry.file, columns)?;
        let mut all = PositionFile::new();
        while let Some(batch) = rows.try_next().await? {
            memory.grow(batch.num_rows() * POSITION_BYTES)?;
            let (paths, positions) = (batch.column(0).as_string::<i32>(), batch.column(1).as_primitive::<Int64Type>());
            if paths.null_count() > 0 || positions.null_count() > 0 {
                return Err(fault("a delete of no row"));
            }
            for (path, position) in paths.iter().flatten().zip(positions.values()) {
                let position = u64::try_from(*position).map_err(|_| fault("a negative position"))?;
                let of_path = match all.get_mut(path) {
                    Some(of_path) => of_path,
                    None => {
                        memory.grow(100 + path.len())?;
                        all.entry(path.to_string()).or_default()
                    }
                };
                of_path.insert(position);
            }
        }
        Ok(all)
    }

    /// The keys of a group's delete files.
    async fn keys(&self, session: &dyn Session, wanted: &Wanted, memory: &Memory) -> Result<Keys> {
        let columns = wanted.ids.iter().map(|id| self.key_column(*id)).collect::<Result<Vec<_>>>()?;
        let mut keys = Keys { converter: converter(&columns)?, newest: HashMap::new() };
        let columns = &columns;
        let entries: Vec<Arc<Entry>> = wanted.entries.values().cloned().collect();
        let read = entries.into_iter().map(|entry| async move {
            let file = self.key_file(session, &entry, columns, memory).await?;
            Ok::<_, Error>((entry.sequence, file))
        });
        let mut read = futures::stream::iter(read).buffered(READ_AHEAD);
        while let Some((sequence, file)) = read.try_next().await? {
            for key in file.iter() {
                match keys.newest.get_mut(key) {
                    Some(newest) => *newest = sequence.max(*newest),
                    None => {
                        memory.grow(key.len() + KEY_BYTES)?;
                        keys.newest.insert(key.clone(), sequence);
                    }
                }
            }
        }
        Ok(keys)
    }

    /// The keys of one file, as bytes. They depend on the types that the columns have today.
    async fn key_file(
        &self,
        session: &dyn Session,
        entry: &Entry,
        columns: &[FieldRef],
        memory: &Memory,
    ) -> Result<Arc<KeyFile>> {
        let types: Vec<String> = columns.iter().map(|c| format!("{} {}", c.name(), c.data_type())).collect();
        let read = async {
            let converter = converter(columns)?;
            let mut rows = self.rows_of(session, &entry.file, columns.iter().map(|c| c.as_ref().clone()))?;
            let (mut file, mut bytes) = (KeyFile::new(), 0u64);
            while let Some(batch) = rows.try_next().await? {
                for key in converter.convert_columns(batch.columns())?.iter() {
                    let size = key.as_ref().len() + KEY_BYTES;
                    memory.grow(size)?;
                    bytes = bytes.saturating_add(size as u64);
                    file.push(key.as_ref().into());
                }
            }
            Ok(Weighed { parsed: Arc::new(file), bytes })
        };
        self.lake.cache.get(&format!("{}#{}", entry.file.file_path(), types.join(",")), read).await
    }

    pub(super) fn damaged(&self, what: String) -> Error {
        let message = format!("a delete file of table {} is damaged", self.table.shown());
        Error::new(Kind::SourceFailed, message).with_source(what)
    }
}

/// Rows of these columns as bytes: equal where the rows are.
fn converter(columns: &[FieldRef]) -> Result<RowConverter> {
    Ok(RowConverter::new(columns.iter().map(|c| SortField::new(c.data_type().clone())).collect())?)
}

/// The groups of keys that apply to any of the files, and those of each file by number.
fn grouped(files: &[PlannedFile]) -> Result<(Vec<Vec<usize>>, Vec<Wanted>)> {
    let mut numbers: HashMap<Group, usize> = HashMap::new();
    let mut groups: Vec<Wanted> = vec![];
    let mut of_file = vec![];
    for file in files {
        let mut here = vec![];
        let place = (file.entry.spec_id, partition_of(file.data()));
        let anywhere = file.deletes.keys_anywhere.iter().map(|e| (None, e));
        let entries = anywhere.chain(file.deletes.keys_here.iter().map(|e| (Some(place.clone()), e)));
        for (place, entry) in entries {
            let mut ids = entry.file.equality_ids().unwrap_or_default();
            ids.sort_unstable();
            ids.dedup();
            if ids.is_empty() {
                let what = format!("no key in {}", entry.file.file_path());
                return Err(Error::new(Kind::SourceFailed, "an equality delete names no column").with_source(what));
            }
            let number = *numbers.entry((place, ids.clone())).or_insert_with(|| {
                groups.push(Wanted { ids, entries: BTreeMap::new() });
                groups.len() - 1
            });
            if let Some(wanted) = groups.get_mut(number) {
                wanted.entries.insert(entry.file.file_path().to_string(), Arc::clone(entry));
            }
            if !here.contains(&number) {
                here.push(number);
            }
        }
        of_file.push(here);
    }
    Ok((of_file, groups))
}
