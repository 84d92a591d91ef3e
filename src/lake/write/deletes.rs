//! Positions of rows → delete files: deletion vectors in one Puffin file from format version 3 on, before it one Parquet
//! file for each data file. What older delete files said of these data files is taken over, and they leave the table.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::Session;
use iceberg::spec::{DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, FormatVersion};
use parquet::arrow::ArrowWriter;
use roaring::RoaringTreemap;

use super::super::deletes::{Positions, names_one_file, puffin};
use super::super::manifest::Entry;
use super::super::plan::PlannedFile;
use super::super::schema::{DELETED_PATH, DELETED_POSITION, with_id};
use super::super::{BatchId, Lake, Table};
use super::loose::Loose;
use super::{data_directory, options, unwritten};
use crate::error::{Error, Kind, Result};

/// Rows of a table by data file and position in it, as the columns of [`Table::place_columns`] say them.
pub type Rows = BTreeMap<String, RoaringTreemap>;

/// A data file of a snapshot and the deletes that applied to it there.
#[derive(Clone, Debug)]
pub struct LiveFile(pub(in crate::lake) PlannedFile);

/// Delete files that are in the store and that no table knows yet.
#[derive(Clone, Debug, Default)]
pub struct Deleted {
    /// With their partition spec.
    pub(in crate::lake) files: Vec<(i32, DataFile)>,
    /// The delete files that they take over from.
    pub(in crate::lake) replaced: Vec<Arc<Entry>>,
    /// The data files that rows were deleted of.
    pub(in crate::lake) of: Vec<LiveFile>,
    /// Rows that no position was deleted of before; a key may have deleted them.
    pub rows: u64,
    /// Deletes them where nobody commits them; none for no files.
    pub(in crate::lake) loose: Option<Loose>,
}

impl LiveFile {
    pub fn path(&self) -> &str {
        self.0.data().file_path()
    }

    pub fn bytes(&self) -> u64 {
        self.0.data().file_size_in_bytes()
    }

    /// Those that are deleted count too.
    pub fn rows(&self) -> u64 {
        self.0.data().record_count()
    }

    /// The delete files that are of this data file alone.
    pub(in crate::lake) fn own_deletes(&self) -> Vec<Arc<Entry>> {
        match &self.0.deletes.positions {
            Positions::None => vec![],
            Positions::Vector(entry) => vec![Arc::clone(entry)],
            Positions::Files(entries) => entries.iter().filter(|e| names_one_file(&e.file)).cloned().collect(),
        }
    }
}

impl Lake {
    /// The data files of the table's current snapshot.
    pub async fn files(&self, table: &Table) -> Result<Vec<LiveFile>> {
        let Some(list) = self.manifests(table).await? else { return Ok(vec![]) };
        Ok(self.plan(table, &list, None).await?.files.into_iter().map(LiveFile).collect())
    }

    /// Writes what deletes these rows of the table's current snapshot. Rows that are deleted already count for nothing.
    pub async fn delete(
        self: &Arc<Self>,
        session: &dyn Session,
        table: &Table,
        batch: BatchId,
        rows: &Rows,
    ) -> Result<Deleted> {
        table.changeable()?;
        if table.metadata.format_version() == FormatVersion::V1 {
            let what = format!("deleting rows of table {}, which is of format version 1,", table.shown());
            return Err(Error::unsupported(what));
        }
        let mut of: Vec<LiveFile> = self.files(table).await?;
        of.retain(|file| rows.get(file.path()).is_some_and(|rows| !rows.is_empty()));
        if of.len() != rows.values().filter(|rows| !rows.is_empty()).count() {
            return Err(Error::internal("rows to delete of a file that the table does not have"));
        }
        let reading = self.read(table, table.schema()).await?;
        let planned: Vec<PlannedFile> = of.iter().map(|f| f.0.clone()).collect();
        let before = reading.deletes(session, &planned).await?;
        let mut deleted = Deleted::default();
        let mut positions = vec![];
        for (file, before) in of.iter().zip(&before.files) {
            let wanted = rows.get(file.path()).cloned().unwrap_or_default();
            if wanted.max().is_some_and(|last| last >= file.0.data().record_count()) {
                return Err(Error::internal("rows to delete beyond the end of their file"));
            }
            let old = before.positions().cloned().unwrap_or_default();
            let all = old.clone() | wanted;
            deleted.rows += all.len() - old.len();
            positions.push(all);
        }
        deleted.replaced = of.iter().flat_map(LiveFile::own_deletes).collect();
        let loose = Loose::new(self);
        deleted.loose = Some(loose.clone());
        deleted.files = self.put_deletes(table, batch, &of, &positions, &loose).await?;
        deleted.of = of;
        Ok(deleted)
    }

    /// Writes what deletes these rows of files that come with the same commit.
    pub(in crate::lake) async fn delete_of_new(
        &self,
        table: &Table,
        batch: BatchId,
        rows: &[(LiveFile, RoaringTreemap)],
    ) -> Result<Deleted> {
        let (of, positions): (Vec<LiveFile>, Vec<RoaringTreemap>) = rows.iter().cloned().unzip();
        let loose = Loose::new(self);
        let files = self.put_deletes(table, batch, &of, &positions, &loose).await?;
        let rows = positions.iter().map(RoaringTreemap::len).sum();
        Ok(Deleted { files, rows, loose: Some(loose), ..Deleted::default() })
    }

    async fn put_deletes(
        &self,
        table: &Table,
        batch: BatchId,
        of: &[LiveFile],
        positions: &[RoaringTreemap],
        loose: &Loose,
    ) -> Result<Vec<(i32, DataFile)>> {
        match table.metadata.format_version() {
            FormatVersion::V3 => self.put_vectors(table, batch, of, positions, loose).await,
            FormatVersion::V1 | FormatVersion::V2 => self.put_positions(table, batch, of, positions, loose).await,
        }
    }

    async fn put_vectors(
        &self,
        table: &Table,
        batch: BatchId,
        of: &[LiveFile],
        positions: &[RoaringTreemap],
        loose: &Loose,
    ) -> Result<Vec<(i32, DataFile)>> {
        if of.is_empty() {
            return Ok(vec![]);
        }
        let vectors: Vec<(&str, &RoaringTreemap)> = of.iter().map(LiveFile::path).zip(positions).collect();
        let (bytes, places) = puffin::file(&vectors)?;
        let (uri, size) = (format!("{}/{batch}-deletes.puffin", data_directory(table)), bytes.len() as u64);
        loose.add(self.store.path(&uri)?);
        self.store.write(&uri, bytes).await?;
        let mut files = vec![];
        for ((file, positions), place) in of.iter().zip(positions).zip(places) {
            let number = |n: u64| i64::try_from(n).map_err(|_| Error::internal("a Puffin file of that size"));
            let built = delete_file(file, &uri, DataFileFormat::Puffin, positions.len(), size)
                .content_offset(Some(number(place.offset)?))
                .content_size_in_bytes(Some(number(place.length)?))
                .build();
            files.push((file.0.entry.spec_id, built.map_err(incomplete)?));
        }
        Ok(files)
    }

    async fn put_positions(
        &self,
        table: &Table,
        batch: BatchId,
        of: &[LiveFile],
        positions: &[RoaringTreemap],
        loose: &Loose,
    ) -> Result<Vec<(i32, DataFile)>> {
        let options = options(table)?;
        let schema = Arc::new(Schema::new(vec![
            with_id(Field::new("file_path", DataType::Utf8, false), DELETED_PATH),
            with_id(Field::new("pos", DataType::Int64, false), DELETED_POSITION),
        ]));
        let mut files = vec![];
        for (number, (file, positions)) in of.iter().zip(positions).enumerate() {
            let places =
                positions.iter().map(|p| i64::try_from(p).map_err(|_| Error::internal("a row of that number")));
            let places = Int64Array::from(places.collect::<Result<Vec<_>>>()?);
            let paths = StringArray::from_iter_values(std::iter::repeat_n(file.path(), places.len()));
            let rows = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(paths), Arc::new(places)])?;
            let properties = Some(options.properties.clone());
            let mut writer = ArrowWriter::try_new(vec![], Arc::clone(&schema), properties).map_err(unwritten)?;
            writer.write(&rows).map_err(unwritten)?;
            let bytes = writer.into_inner().map_err(unwritten)?;
            let uri = format!("{}/{batch}-deletes-{number}.parquet", data_directory(table));
            let size = bytes.len() as u64;
            loose.add(self.store.path(&uri)?);
            self.store.write(&uri, bytes).await?;
            // Whole: by equal bounds readers know that the file is of one data file.
            let bound = [(DELETED_PATH, Datum::string(file.path()))];
            let built = delete_file(file, &uri, DataFileFormat::Parquet, positions.len(), size)
                .lower_bounds(bound.clone().into())
                .upper_bounds(bound.into())
                .build();
            files.push((file.0.entry.spec_id, built.map_err(incomplete)?));
        }
        Ok(files)
    }
}

fn delete_file(of: &LiveFile, uri: &str, format: DataFileFormat, rows: u64, bytes: u64) -> DataFileBuilder {
    let mut file = DataFileBuilder::default();
    file.content(DataContentType::PositionDeletes)
        .file_path(uri.to_string())
        .file_format(format)
        .partition(of.0.data().partition().clone())
        .partition_spec_id(of.0.entry.spec_id)
        .record_count(rows)
        .file_size_in_bytes(bytes)
        .referenced_data_file(Some(of.path().to_string()));
    file
}

fn incomplete(error: iceberg::spec::DataFileBuilderError) -> Error {
    Error::new(Kind::Internal, "internal error").with_source(format!("a delete file without a field: {error}"))
}
