//! Where a table's rows are, by key. A cache and never a truth: it follows the table's files, and what was forgotten is read
//! again from their key columns. It changes no table.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Int64Type, Schema};
use datafusion::catalog::TableProvider;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::physical_plan::execute_stream;
use futures::TryStreamExt;

use super::key::{ByKey, Key, Keyer};
use crate::error::{Error, Result};
use crate::lake::{self, Lake, Part, Rows};

/// Where a row is: the number of its file, and its position there.
type Spot = (u32, u32);

/// The rows of one table, as of the files it had when it was looked at last.
#[derive(Debug, Default)]
pub(super) struct Index {
    files: Vec<File>,
    numbers: HashMap<Arc<str>, u32>,
    spots: ByKey<Spot>,
    /// Of keys that are there more than once: somebody else's doing.
    more: ByKey<Vec<Spot>>,
    /// Too many rows to be kept: each search reads the key columns.
    is_too_large: bool,
}

#[derive(Debug)]
struct File {
    path: Arc<str>,
    is_there: bool,
}

/// The rows of some keys.
#[derive(Debug, Default)]
pub(super) struct Spotted(ByKey<Vec<(Arc<str>, u64)>>);

impl Spotted {
    /// All of them, for whoever would delete them.
    pub(super) fn rows(&self) -> Rows {
        let mut rows = Rows::new();
        for (path, position) in self.0.values().flatten() {
            match rows.get_mut(path.as_ref()) {
                Some(positions) => _ = positions.insert(*position),
                None => _ = rows.entry(path.to_string()).or_default().insert(*position),
            }
        }
        rows
    }

    pub(super) fn of(&self, key: Key) -> Option<(&str, u64)> {
        let (path, position) = self.0.get(&key)?.last()?;
        Some((path, *position))
    }

    fn push(&mut self, key: Key, path: &Arc<str>, position: u32) {
        self.0.entry(key).or_default().push((Arc::clone(path), u64::from(position)));
    }
}

/// What is looked through.
pub(super) struct Of<'a> {
    pub(super) lake: &'a Arc<Lake>,
    pub(super) state: &'a SessionState,
    pub(super) table: &'a lake::Table,
    pub(super) keyer: &'a Keyer,
}

impl Index {
    /// Where the rows of these keys are in the table. `rows_max`: a table of more is not kept in memory.
    pub(super) async fn find(&mut self, of: &Of<'_>, keys: &[Key], rows_max: usize) -> Result<Spotted> {
        let live = of.lake.files(of.table).await?;
        let live: HashSet<&str> = live.iter().map(|file| file.path()).collect();
        if !self.is_too_large {
            self.follow(of, &live, rows_max).await?;
        }
        let mut found = Spotted::default();
        if self.is_too_large {
            let wanted: HashSet<Key> = keys.iter().copied().collect();
            let paths: Vec<Arc<str>> = live.iter().map(|path| Arc::from(*path)).collect();
            let numbers: HashMap<&str, &Arc<str>> = paths.iter().map(|p| (p.as_ref(), p)).collect();
            scan(of, live.iter().map(|p| (*p).to_string()), |key, path, position| {
                if wanted.contains(&key)
                    && let Some(path) = numbers.get(path)
                {
                    found.push(key, path, position);
                }
                Ok(true)
            })
            .await?;
            return Ok(found);
        }
        for key in keys {
            for (file, position) in self.at(*key) {
                if let Some(file) = self.files.get(file as usize).filter(|file| file.is_there) {
                    found.push(*key, &file.path, position);
                }
            }
        }
        Ok(found)
    }

    fn at(&self, key: Key) -> impl Iterator<Item = Spot> + '_ {
        self.more.get(&key).into_iter().flatten().chain(self.spots.get(&key)).copied()
    }

    /// The rows of these keys went with a commit.
    pub(super) fn forget(&mut self, keys: &[Key]) {
        for key in keys {
            self.spots.remove(key);
            self.more.remove(key);
        }
    }

    /// Files that came are read, those that went are forgotten. Where they cannot be read, or nobody waits any more, nothing is
    /// known: half of a file's keys would be taken for all of them.
    async fn follow(&mut self, of: &Of<'_>, live: &HashSet<&str>, rows_max: usize) -> Result<()> {
        let mut known = std::mem::take(self);
        let mut gone = false;
        for file in &mut known.files {
            gone |= file.is_there && !live.contains(file.path.as_ref());
            file.is_there &= live.contains(file.path.as_ref());
        }
        if gone {
            known.sweep();
        }
        let came: Vec<&str> = live.iter().copied().filter(|path| !known.numbers.contains_key(*path)).collect();
        for path in &came {
            let number = u32::try_from(known.files.len()).map_err(|_| Error::internal("a table of 2³² files"))?;
            let path: Arc<str> = Arc::from(*path);
            known.files.push(File { path: Arc::clone(&path), is_there: true });
            known.numbers.insert(path, number);
        }
        if !came.is_empty() {
            let Self { numbers, spots, more, is_too_large, .. } = &mut known;
            scan(of, came.iter().map(|p| (*p).to_string()), |key, path, position| {
                let Some(number) = numbers.get(path) else { return Ok(true) };
                if let Some(before) = spots.insert(key, (*number, position)) {
                    more.entry(key).or_default().push(before);
                }
                *is_too_large = spots.len() > rows_max;
                Ok(!*is_too_large)
            })
            .await?;
        }
        if known.is_too_large {
            tracing::warn!(table = %of.table.key.name, rows_max, "too many rows to keep where they are; each batch looks them up");
            known = Self { is_too_large: true, ..Self::default() };
        }
        *self = known;
        Ok(())
    }

    /// What stands in files that went.
    fn sweep(&mut self) {
        let files = &self.files;
        let there = |spot: &Spot| files.get(spot.0 as usize).is_some_and(|file| file.is_there);
        self.more.retain(|_, spots| {
            spots.retain(there);
            !spots.is_empty()
        });
        let more = &mut self.more;
        self.spots.retain(|key, spot| {
            if there(spot) {
                return true;
            }
            match more.get_mut(key).and_then(Vec::pop) {
                Some(other) => {
                    *spot = other;
                    true
                }
                None => false,
            }
        });
        self.more.retain(|_, spots| !spots.is_empty());
        let gone: Vec<Arc<str>> = files.iter().filter(|f| !f.is_there).map(|f| Arc::clone(&f.path)).collect();
        gone.iter().for_each(|path| _ = self.numbers.remove(path));
    }
}

/// Each live row of these files, with its key, until `each` says false.
async fn scan(
    of: &Of<'_>,
    files: impl Iterator<Item = String>,
    mut each: impl FnMut(Key, &str, u32) -> Result<bool>,
) -> Result<()> {
    let mut rows = places(of, files, &of.keyer.columns).await?;
    let keys = of.keyer.columns.len();
    while let Some(batch) = rows.try_next().await? {
        let found = of.keyer.keys(batch.columns().get(..keys).unwrap_or_default())?;
        let (paths, positions) = spots(&batch, keys)?;
        for (row, key) in found.into_iter().enumerate() {
            let position = u32::try_from(positions.value(row));
            let position = position.map_err(|_| Error::unsupported("a data file of more than 2³² rows"))?;
            if !each(key, paths.value(row), position)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn spots(batch: &RecordBatch, at: usize) -> Result<(arrow::array::StringArray, arrow::array::Int64Array)> {
    let fault = || Error::internal("rows without their places");
    let paths = arrow::compute::cast(batch.columns().get(at).ok_or_else(fault)?, &DataType::Utf8)?;
    let paths = paths.as_string_opt::<i32>().ok_or_else(fault)?.clone();
    let positions = batch.columns().get(at + 1).and_then(|c| c.as_primitive_opt::<Int64Type>()).ok_or_else(fault)?;
    Ok((paths, positions.clone()))
}

/// These columns of these files, and where each row is.
async fn places(
    of: &Of<'_>,
    files: impl Iterator<Item = String>,
    columns: &[usize],
) -> Result<SendableRecordBatchStream> {
    let own = of.table.schema();
    let width = own.fields().len();
    let schema = Schema::new(own.fields().iter().cloned().chain(lake::Table::place_columns()).collect::<Vec<_>>());
    let reading = of.lake.read(of.table, Arc::new(schema)).await?.part(Part::of_files(files));
    let wanted = columns.iter().copied().chain([width, width + 1]).collect::<Vec<_>>();
    let plan = reading.scan(of.state, Some(&wanted), &[], None).await?;
    Ok(execute_stream(plan, of.state.task_ctx())?)
}

/// Values of rows that are in the table.
pub(super) struct Fetched {
    /// In the columns asked for.
    pub(super) batches: Vec<RecordBatch>,
    at: HashMap<(String, u64), (usize, usize)>,
}

impl Fetched {
    /// Which batch, and which row of it.
    pub(super) fn at(&self, path: &str, position: u64) -> Option<(usize, usize)> {
        self.at.get(&(path.to_string(), position)).copied()
    }
}

/// These columns of these rows.
pub(super) async fn fetch(of: &Of<'_>, rows: &Rows, columns: &[usize]) -> Result<Fetched> {
    let mut fetched = Fetched { batches: vec![], at: HashMap::new() };
    if rows.is_empty() {
        return Ok(fetched);
    }
    let mut stream = places(of, rows.keys().cloned(), columns).await?;
    let width: Vec<usize> = (0..columns.len()).collect();
    while let Some(batch) = stream.try_next().await? {
        let (paths, positions) = spots(&batch, columns.len())?;
        let mut wanted = vec![];
        for row in 0..batch.num_rows() {
            let position = u64::try_from(positions.value(row)).unwrap_or(u64::MAX);
            if rows.get(paths.value(row)).is_some_and(|wanted| wanted.contains(position)) {
                fetched.at.insert((paths.value(row).to_string(), position), (fetched.batches.len(), wanted.len()));
                wanted.push(u32::try_from(row).map_err(|_| Error::internal("a batch of 2³² rows"))?);
            }
        }
        if !wanted.is_empty() {
            let taken = arrow::compute::take_record_batch(&batch.project(&width)?, &UInt32Array::from(wanted))?;
            fetched.batches.push(taken);
        }
    }
    Ok(fetched)
}

#[cfg(test)]
mod tests;
