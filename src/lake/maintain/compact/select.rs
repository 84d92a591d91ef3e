//! Which files of a table are worth writing again, and which of them together: pure. Files of a partition stay in it.

use std::collections::HashMap;

use iceberg::spec::Struct;

use super::super::super::LiveFile;
use super::super::super::deletes::{Positions, partition_of};
use super::super::properties::Properties;
use super::Bin;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Whatever would be better together.
    All,
    /// What is due by the table's properties: many files of a size, or many deleted rows. A row is written again about once
    /// for each size that a file grows through, so that keeping a table in order costs a bounded multiple of filling it.
    Due,
}

/// Each size is so many times the one before it.
const GROWTH: u64 = 16;
const SMALLEST_BYTES: u64 = 16 << 10;
/// Each is planned before the first is read.
const BIN_FILES: usize = 2_000;

pub(in crate::lake::maintain) fn bins(
    files: Vec<LiveFile>,
    properties: Properties<'_>,
    selection: Selection,
) -> Vec<Bin> {
    let target = properties.target_bytes();
    let percent = match selection {
        Selection::All => 1,
        Selection::Due => properties.deleted_percent(),
    };
    let mut partitions: HashMap<(i32, Struct), Vec<LiveFile>> = HashMap::new();
    for file in files {
        partitions.entry((file.0.entry.spec_id, partition_of(file.0.data()))).or_default().push(file);
    }
    let mut bins: Vec<Bin> = vec![];
    for mut files in partitions.into_values() {
        files.sort_by(|a, b| place(a).cmp(&place(b)));
        let mut by_size: HashMap<u32, Vec<LiveFile>> = HashMap::new();
        for file in files {
            if is_worn(&file, percent) {
                // Whatever its size: it is written again in any case.
                by_size.entry(u32::MAX).or_default().push(file);
            } else if file.bytes() < target / 4 * 3 {
                let size = if selection == Selection::All { u32::MAX } else { size(file.bytes()) };
                by_size.entry(size).or_default().push(file);
            }
        }
        for (size, files) in by_size {
            let is_due = size == u32::MAX || files.len() >= properties.files_max();
            if is_due {
                bins.extend(packed(files, target).into_iter().filter(|bin| is_better(bin, percent)));
            }
        }
    }
    // In an order that does not depend on hashing; small ones first.
    bins.sort_by_key(|bin| (bin.iter().map(LiveFile::bytes).sum::<u64>(), bin.first().map(|f| f.path().to_string())));
    bins
}

/// In the order in which rows came.
fn place(file: &LiveFile) -> (i64, Option<i64>, &str) {
    (file.0.entry.sequence, file.0.entry.first_row, file.path())
}

/// So much of it is deleted that reading it costs more than it gives, or by keys, which cost each scan.
fn is_worn(file: &LiveFile, percent: u64) -> bool {
    let deletes = &file.0.deletes;
    if !deletes.keys_anywhere.is_empty() || !deletes.keys_here.is_empty() {
        return true;
    }
    let deleted: u64 = match &deletes.positions {
        Positions::None => 0,
        Positions::Vector(entry) => entry.file.record_count(),
        // Those of a whole partition say nothing of one file.
        Positions::Files(entries) => entries.iter().map(|entry| entry.file.record_count()).sum(),
    };
    let rows = file.0.data().record_count();
    deleted > 0 && deleted.saturating_mul(100) >= rows.saturating_mul(percent)
}

fn size(bytes: u64) -> u32 {
    let (mut size, mut limit) = (0, SMALLEST_BYTES);
    while bytes >= limit && size < 16 {
        size += 1;
        limit = limit.saturating_mul(GROWTH);
    }
    size
}

/// Files in their order, as many together as fill one.
fn packed(files: Vec<LiveFile>, target: u64) -> Vec<Bin> {
    let mut bins: Vec<Bin> = vec![];
    let mut filled = u64::MAX;
    for file in files {
        let bytes = file.bytes();
        match bins.last_mut() {
            Some(bin) if filled.saturating_add(bytes) <= target && bin.len() < BIN_FILES => {
                bin.push(file);
                filled = filled.saturating_add(bytes);
            }
            _ => {
                bins.push(vec![file]);
                filled = bytes;
            }
        }
    }
    bins
}

fn is_better(bin: &Bin, percent: u64) -> bool {
    bin.len() > 1 || bin.iter().any(|file| is_worn(file, percent))
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_grow_by_sixteen() {
        let sizes = [0, 16 << 10, 255 << 10, 256 << 10, 4 << 20, 64 << 20, 1 << 30, u64::MAX];
        assert_eq!(sizes.map(size), [0, 1, 1, 2, 3, 4, 5, 16]);
    }
}
