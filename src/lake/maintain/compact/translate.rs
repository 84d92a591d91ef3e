//! Positions of rows in files that are being replaced → their positions in the files that come in their place. It works
//! where these hold the live rows of those one after the other; where a file went, or keys deleted rows of it, there is no
//! translation.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::catalog::Session;
use iceberg::spec::ManifestStatus;
use roaring::RoaringTreemap;

use super::super::super::LiveFile;
use super::super::super::deletes::Applied;
use super::super::super::manifest::{Entry, FileKey};
use super::super::super::plan::PlannedFile;
use super::super::super::read::Reading;
use super::{Input, Rewritten};
use crate::error::Result;

/// The rows of the outputs that were deleted of the inputs meanwhile; `None` where that cannot be said. The inputs become
/// what they are now.
pub(super) async fn fallen(
    rewritten: &mut Rewritten,
    live: &HashMap<FileKey, LiveFile>,
    reading: &Reading,
    session: &dyn Session,
) -> Result<Option<Vec<(LiveFile, RoaringTreemap)>>> {
    let mut now = vec![];
    for input in &rewritten.inputs {
        let Some(file) = live.get(&input.file.0.entry.key()) else { return Ok(None) };
        if keys(&file.0.deletes) != keys(&input.file.0.deletes) {
            return Ok(None);
        }
        now.push(file.clone());
    }
    let changed = |(input, now): (&Input, &LiveFile)| positions(&input.was.0.deletes) != positions(&now.0.deletes);
    let is_changed = rewritten.inputs.iter().zip(&now).any(changed);
    if is_changed && !rewritten.in_order {
        return Ok(None);
    }
    for (input, file) in rewritten.inputs.iter_mut().zip(&now) {
        input.file = file.clone();
    }
    if !is_changed {
        return Ok(Some(vec![]));
    }
    let planned: Vec<PlannedFile> = now.iter().map(|file| file.0.clone()).collect();
    let deletes = reading.deletes(session, &planned).await?;
    // By number of the row over all outputs.
    let (mut fallen, mut first) = (RoaringTreemap::new(), 0u64);
    for ((input, deletes), file) in rewritten.inputs.iter().zip(&deletes.files).zip(&now) {
        let all = deletes.positions().cloned().unwrap_or_default();
        if !input.deleted.is_subset(&all) || all.max().is_some_and(|last| last >= file.0.data().record_count()) {
            // Rows came back, or the vector is of another file: neither is known to happen.
            return Ok(None);
        }
        for position in all - &input.deleted {
            fallen.insert(first + place(position, &input.deleted));
        }
        first += input.live_rows();
    }
    let spec_id = rewritten.inputs.first().map_or(0, |input| input.file.0.entry.spec_id);
    let (mut of_outputs, mut first, mut left) = (vec![], 0u64, fallen.iter().peekable());
    for file in &rewritten.written.files {
        let end = first + file.record_count();
        // Both in order: each row is looked at once.
        let mut rows = RoaringTreemap::new();
        while let Some(row) = left.next_if(|row| *row < end) {
            rows.insert(row - first);
        }
        first = end;
        if !rows.is_empty() {
            of_outputs.push((output(file.clone(), spec_id), rows));
        }
    }
    Ok(Some(of_outputs))
}

/// The number of a live row among the live rows of its file.
fn place(position: u64, deleted: &RoaringTreemap) -> u64 {
    // It is none of them.
    position - deleted.rank(position)
}

/// A file that no table knows yet, as one of a table.
fn output(file: iceberg::spec::DataFile, spec_id: i32) -> LiveFile {
    let status = ManifestStatus::Added;
    let (snapshot_id, sequence, file_sequence, first_row) = (None, 0, 0, None);
    let entry = Entry { status, snapshot_id, sequence, file_sequence, first_row, spec_id, file };
    LiveFile(PlannedFile { entry: Arc::new(entry), deletes: Applied::default() })
}

fn keys(deletes: &Applied) -> HashSet<FileKey> {
    deletes.keys_anywhere.iter().chain(&deletes.keys_here).map(|entry| entry.key()).collect()
}

fn positions(deletes: &Applied) -> HashSet<FileKey> {
    deletes.entries().map(|entry| entry.key()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_stands_where_the_live_ones_before_it_end() {
        let deleted: RoaringTreemap = [0, 1, 5].into_iter().collect();
        assert_eq!([2, 3, 4, 6, 7].map(|position| place(position, &deleted)), [0, 1, 2, 3, 4]);
    }
}
