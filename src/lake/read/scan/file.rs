//! One planned file as the scan is told of it: where it is, what its partition says, which rows are left unread; and how the
//! files are spread. It chooses no columns.

use std::sync::Arc;

use arrow::datatypes::{Field, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::{ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::datasource::physical_plan::{FileGroup, FileGroupPartitioner};
use iceberg::spec::{Literal, Transform, Type};
use parquet::arrow::arrow_reader::RowSelection;

use super::super::super::deletes::vector::Deleted;
use super::super::super::plan::PlannedFile;
use super::super::super::schema::{self, DATA_FILE, field_id};
use super::{Part, Scan};
use crate::error::{Error, Kind, Result};

impl Scan<'_> {
    pub(super) fn part(&self, part: &Part, number: usize, all: &SchemaRef) -> Result<PartitionedFile> {
        let entry = &part.file.entry;
        let mut read = PartitionedFile::new_from_meta(self.reading.meta(part.file.data())?);
        for field in self.reading.schema.fields() {
            match field_id(field).filter(|id| self.is_constant(*id)) {
                Some(DATA_FILE) => read.partition_values.push(ScalarValue::from(part.file.data().file_path())),
                Some(id) => read.partition_values.push(self.constant(&part.file, field, id)?),
                None => (),
            }
        }
        if self.alike.by_number || self.alike.by_key {
            let number = i32::try_from(number).map_err(|_| Error::unsupported("a scan of two billion files"))?;
            read.partition_values.push(ScalarValue::Int32(Some(number)));
        }
        if self.wants_lineage() {
            // Rows without ids have no history either: those of a table before format version 3.
            let sequence = entry.first_row.map(|_| entry.sequence);
            read.partition_values.extend([ScalarValue::Int64(sequence), ScalarValue::Int64(entry.first_row)]);
        }
        // Nothing is claimed of the columns: DataFusion would add that a partition value is never NULL.
        read.statistics = Some(Arc::new(Statistics::new_unknown(all)));
        if let Some(skipped) = &part.deletes.skipped {
            let rows = usize::try_from(part.file.data().record_count());
            let rows = rows.map_err(|_| Error::unsupported("a data file of so many rows"))?;
            read = read.with_extension(ParquetRowSelection::new(without(skipped, rows)));
        }
        Ok(read)
    }

    fn constant(&self, file: &PlannedFile, field: &Field, id: i32) -> Result<ScalarValue> {
        let metadata = &self.reading.table.metadata;
        let spec = metadata.partition_spec_by_id(file.entry.spec_id);
        let at =
            spec.and_then(|s| s.fields().iter().position(|f| f.source_id == id && f.transform == Transform::Identity));
        let value = at.and_then(|i| file.data().partition().fields().get(i));
        let of = field.data_type();
        let source = metadata.current_schema().as_struct().field_by_id(id).map(|f| f.field_type.as_ref());
        match (value, source) {
            (Some(Some(Literal::Primitive(value))), Some(Type::Primitive(source))) => {
                let value = schema::scalar(value, source);
                value.and_then(|v| v.cast_to(of).ok()).ok_or_else(|| self.fault("a partition value that does not fit"))
            }
            (Some(None), _) => Ok(ScalarValue::try_new_null(of)?),
            _ => Err(self.fault("a file without its partition value")),
        }
    }

    fn fault(&self, what: &str) -> Error {
        let message = format!("the metadata of table {} cannot be read", self.reading.table.shown());
        Error::new(Kind::SourceFailed, message).with_source(what.to_string())
    }
}

/// Every row of a file of so many but the deleted ones, all of which are within it: that was checked when they were read.
fn without(deleted: &Deleted, rows: usize) -> RowSelection {
    let (mut kept, mut from) = (vec![], 0);
    for position in deleted.positions() {
        let position = usize::try_from(position).map_or(rows, |p| p.min(rows));
        if position > from {
            kept.push(from..position);
        }
        from = position.saturating_add(1);
    }
    if from < rows {
        kept.push(from..rows);
    }
    RowSelection::from_consecutive_ranges(kept.into_iter(), rows)
}

/// Files spread over the session's partitions: by bytes, and through the middle of large files.
pub fn grouped(session: &dyn Session, parts: Vec<PartitionedFile>) -> Vec<FileGroup> {
    let target = session.config().target_partitions().clamp(1, 1024);
    let mut groups: Vec<Vec<PartitionedFile>> = vec![vec![]; target.min(parts.len().max(1))];
    let count = groups.len();
    for (i, part) in parts.into_iter().enumerate() {
        groups[i % count].push(part);
    }
    let groups: Vec<FileGroup> = groups.into_iter().map(FileGroup::new).collect();
    let split = FileGroupPartitioner::new()
        .with_target_partitions(target)
        .with_repartition_file_min_size(session.config_options().optimizer.repartition_file_min_size)
        .repartition_file_groups(&groups);
    split.unwrap_or(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_covers_the_file_and_leaves_out_the_deleted() {
        for (deleted, rows, expect) in [
            (vec![], 3, vec![(true, 3)]),
            (vec![0, 1], 3, vec![(false, 2), (true, 1)]),
            (vec![1, 3], 4, vec![(true, 1), (false, 1), (true, 1), (false, 1)]),
            (vec![0, 1, 2], 3, vec![(false, 3)]),
            // Read as damage before; no panic here either.
            (vec![1, 7], 3, vec![(true, 1), (false, 1), (true, 1)]),
        ] {
            let selection = without(&Deleted::new(deleted.iter().copied().collect()), rows);
            let got: Vec<(bool, usize)> = selection.iter().map(|s| (!s.skip, s.row_count)).collect();
            assert_eq!(got, expect, "{deleted:?} of {rows}");
        }
    }
}
