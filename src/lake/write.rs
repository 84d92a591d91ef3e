//! A stream of batches → Parquet data files in the store, and what a manifest must say of them. Nothing refers to the
//! files until `commit`; files of a batch that never commits are found by their prefix.

mod conform;
mod deletes;
mod loose;
mod metrics;
mod mode;
mod partition;
mod sorted;
mod upload;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt};
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, FormatVersion, PrimitiveType, Struct, Type,
};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ArrowSchemaConverter, AsyncArrowWriter};
use parquet::basic::{Compression, GzipLevel, LogicalType, ZstdLevel};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::{ColumnPath, SchemaDescriptor, Type as ParquetType, TypePtr};

use super::fault::{Step, reach};
use super::{Lake, Table, field_id};
use crate::error::{Error, Kind, Result};
use conform::Conform;
use mode::Modes;
use partition::Partitioner;
use upload::Upload;

pub use deletes::{Deleted, LiveFile, Rows};
pub(super) use loose::Loose;

/// Rows after which a row group ends: large enough to compress, small enough that one file keeps many cores busy.
const ROW_GROUP_ROWS: usize = 256 * 1024;
/// A page of values by number is read with all of its group's dictionary. Iceberg's own default, 2 MiB, holds a group's 256 Ki
/// bigints even where each is another one: look-ups of a row took twice the time, and files were two thirds larger.
const DICTIONARY_BYTES: usize = 256 << 10;
const ROW_GROUP_BYTES: usize = 128 << 20;
const FILE_BYTES: usize = 512 << 20;
/// Partitions written at once, and what their unfinished row groups may hold together.
const OPEN_FILES: usize = 64;
const OPEN_BYTES: usize = 256 << 20;

/// One batch of rows that is committed whole or not at all. Files of a batch carry its name; time-ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId(uuid::Uuid);

impl BatchId {
    #[allow(clippy::new_without_default)] // two of them are never equal
    pub fn new() -> Self {
        Self(uuid::Uuid::now_v7())
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Data files that are in the store and that no table knows yet.
#[derive(Clone, Debug, Default)]
pub struct Written {
    pub(super) files: Vec<DataFile>,
    pub rows: u64,
    pub bytes: u64,
    /// Deletes them where nobody commits them; none for no files.
    pub(super) loose: Option<Loose>,
}

/// What table properties say about its files.
struct Options {
    properties: WriterProperties,
    file_bytes: usize,
}

impl Lake {
    /// Writes every row of the stream as data files of `batch`. The stream's columns are the table's, in order; a value
    /// that does not fit the column's type is 22003, a NULL where none may be 23502. From format version 3 on those of
    /// [`Table::lineage_columns`] may follow: rows that are rewritten stay the rows they were.
    pub async fn write(&self, table: &Table, batch: BatchId, rows: SendableRecordBatchStream) -> Result<Written> {
        table.writable()?;
        let mut partitions = Partitioner::of(table)?;
        let target = columns(table, &rows.schema());
        let conform = Conform::new(&rows.schema(), Arc::clone(&target))?;
        let order = sorted::order(table, &target);
        let order_id = order.as_ref().and(sorted::order_id(&table.metadata));
        let loose = Loose::new(self);
        let written = Written { loose: Some(loose.clone()), ..Written::default() };
        let (options, mut rows) = (options(table)?, conformed(rows, conform, Arc::clone(&target)));
        if let Some(order) = order {
            rows = sorted::sorted(rows, order)?;
        }
        let mut files = Files { lake: self, table, target, batch, options, order_id, loose, made: 0, written };
        let mut open: BTreeMap<usize, OpenFile> = BTreeMap::new();
        while let Some(batch_rows) = rows.try_next().await? {
            if batch_rows.num_rows() == 0 {
                continue;
            }
            let parts = match &mut partitions {
                Some(partitions) => partitions.split(&batch_rows)?,
                None => vec![(0, batch_rows)],
            };
            for (partition, rows) in parts {
                let mut file = match open.remove(&partition) {
                    Some(file) => file,
                    None => {
                        files.make_room(&mut open).await?;
                        let value = partitions.as_ref().map_or_else(Struct::empty, |p| p.value(partition));
                        files.open(value)?
                    }
                };
                file.write(&rows).await?;
                if file.bytes() >= files.options.file_bytes {
                    file.finish(table, &mut files.written).await?;
                } else {
                    open.insert(partition, file);
                }
            }
            bound(&mut open).await?;
        }
        for file in open.into_values() {
            file.finish(table, &mut files.written).await?;
        }
        let written = files.written;
        reach(Step::AfterUpload);
        Ok(written)
    }
}

/// The files of one batch.
struct Files<'a> {
    lake: &'a Lake,
    table: &'a Table,
    target: SchemaRef,
    batch: BatchId,
    options: Options,
    /// Of the order that the rows come in.
    order_id: Option<i32>,
    loose: Loose,
    /// So many have been opened.
    made: usize,
    written: Written,
}

impl Files<'_> {
    fn open(&mut self, partition: Struct) -> Result<OpenFile> {
        let uri = format!("{}/{}-{}.parquet", data_directory(self.table), self.batch, self.made);
        self.made += 1;
        self.loose.add(self.lake.store.path(&uri)?);
        OpenFile::create(self.lake, self.table, &self.target, uri, partition, self)
    }

    /// Rows in no order of their partitions end in more files, not in more memory.
    async fn make_room(&mut self, open: &mut BTreeMap<usize, OpenFile>) -> Result<()> {
        if open.len() >= OPEN_FILES
            && let Some(fullest) = fullest(open, OpenFile::bytes)
            && let Some(file) = open.remove(&fullest)
        {
            file.finish(self.table, &mut self.written).await?;
        }
        Ok(())
    }
}

/// Ends row groups until what the open files hold in memory is within its bound.
async fn bound(open: &mut BTreeMap<usize, OpenFile>) -> Result<()> {
    let held = |file: &OpenFile| file.writer.in_progress_size();
    while open.len() > 1 && open.values().map(held).sum::<usize>() > OPEN_BYTES {
        let Some(file) = fullest(open, held).and_then(|fullest| open.get_mut(&fullest)) else { break };
        file.writer.flush().await.map_err(unwritten)?;
    }
    Ok(())
}

fn fullest(open: &BTreeMap<usize, OpenFile>, bytes: impl Fn(&OpenFile) -> usize) -> Option<usize> {
    open.iter().max_by_key(|(_, file)| bytes(file)).map(|(partition, _)| *partition)
}

/// The table's columns, and those of its rows' lineage that the rows bring.
fn columns(table: &Table, rows: &SchemaRef) -> SchemaRef {
    let brought = |column: &FieldRef| rows.fields().iter().any(|f| field_id(f) == field_id(column));
    let lineage = Table::lineage_columns().into_iter().filter(brought);
    match table.metadata.format_version() {
        FormatVersion::V1 | FormatVersion::V2 => table.schema(),
        FormatVersion::V3 => {
            let own = table.schema();
            Arc::new(Schema::new(own.fields().iter().cloned().chain(lineage).collect::<Vec<_>>()))
        }
    }
}

impl Table {
    /// Whether rows can be added to it at all: found out before a file is written. 0A000 saying why not.
    pub fn writable(&self) -> Result<()> {
        Partitioner::of(self)?;
        self.changeable()
    }

    /// Whether a commit can be made to it at all.
    pub(super) fn changeable(&self) -> Result<()> {
        // The crate would write its own types in their place.
        if let Some((column, of)) = self.new_type() {
            let what = format!("writing to table {}, whose column \"{column}\" has the type {of},", self.shown());
            return Err(Error::unsupported(what));
        }
        Ok(())
    }
}

/// A file under way. Dropped before [`OpenFile::finish`] it leaves nothing a reader could find.
struct OpenFile {
    uri: String,
    partition: Struct,
    writer: AsyncArrowWriter<Upload>,
    order_id: Option<i32>,
    nans: HashMap<i32, u64>,
    rows: u64,
}

impl OpenFile {
    fn create(
        lake: &Lake,
        table: &Table,
        schema: &SchemaRef,
        uri: String,
        partition: Struct,
        of: &Files<'_>,
    ) -> Result<Self> {
        let path = lake.store.path(&uri)?;
        let upload = Upload::new(Arc::clone(lake.store.objects()), path);
        let arrow = ArrowWriterOptions::new()
            .with_properties(of.options.properties.clone())
            // Ids and types stand in the Parquet schema; an embedded Arrow schema would carry our own field metadata.
            .with_skip_arrow_metadata(true)
            .with_parquet_schema(parquet_schema(table, schema)?);
        let writer = AsyncArrowWriter::try_new_with_options(upload, Arc::clone(schema), arrow).map_err(unwritten)?;
        Ok(Self { uri, partition, writer, order_id: of.order_id, nans: HashMap::new(), rows: 0 })
    }

    async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        metrics::count_nans(batch, &mut self.nans);
        self.rows += batch.num_rows() as u64;
        self.writer.write(batch).await.map_err(unwritten)
    }

    fn bytes(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    async fn finish(mut self, table: &Table, into: &mut Written) -> Result<()> {
        let footer = self.writer.finish().await.map_err(unwritten)?;
        let bytes = self.writer.bytes_written() as u64;
        let rows = self.rows;
        into.files.push(self.data_file(table, &footer, bytes)?);
        into.rows += rows;
        into.bytes += bytes;
        Ok(())
    }

    fn data_file(self, table: &Table, footer: &ParquetMetaData, bytes: u64) -> Result<DataFile> {
        let metrics = metrics::of(footer, table.metadata.current_schema(), &Modes::of(&table.metadata), self.nans);
        let mut file = DataFileBuilder::default();
        file.content(DataContentType::Data)
            .file_path(self.uri)
            .file_format(DataFileFormat::Parquet)
            .partition(self.partition)
            .partition_spec_id(table.metadata.default_partition_spec_id())
            .record_count(self.rows)
            .file_size_in_bytes(bytes)
            .column_sizes(metrics.sizes)
            .value_counts(metrics.values)
            .null_value_counts(metrics.nulls)
            .nan_value_counts(metrics.nans)
            .lower_bounds(metrics.lower)
            .upper_bounds(metrics.upper)
            .split_offsets(Some(metrics.split_offsets));
        if let Some(order) = self.order_id {
            file.sort_order_id(order);
        }
        file.build().map_err(|e| Error::internal(format!("a data file without a field: {e}")))
    }
}

/// The rows as the table keeps them.
fn conformed(rows: SendableRecordBatchStream, conform: Conform, target: SchemaRef) -> SendableRecordBatchStream {
    let rows = rows.map(move |batch| Ok(conform.batch(&batch?)?));
    Box::pin(RecordBatchStreamAdapter::new(target, rows))
}

fn data_directory(table: &Table) -> String {
    let property = table.metadata.properties().get("write.data.path");
    let given = property.map(|p| p.trim_end_matches('/').to_string());
    given.unwrap_or_else(|| format!("{}/data", table.metadata.location().trim_end_matches('/')))
}

/// Arrow's own conversion, with uuids marked as such.
fn parquet_schema(table: &Table, schema: &SchemaRef) -> Result<SchemaDescriptor> {
    let converted = ArrowSchemaConverter::new().schema_root("table").convert(schema).map_err(unwritten)?;
    let fields = table.metadata.current_schema().field_id_to_fields();
    let is_uuid = |id: i32| fields.get(&id).is_some_and(|f| *f.field_type == Type::Primitive(PrimitiveType::Uuid));
    let root = marked(converted.root_schema(), &is_uuid).map_err(unwritten)?;
    Ok(SchemaDescriptor::new(root))
}

fn marked(of: &ParquetType, is_uuid: &dyn Fn(i32) -> bool) -> parquet::errors::Result<TypePtr> {
    let info = of.get_basic_info();
    let id = info.has_id().then(|| info.id());
    if of.is_primitive() {
        if !id.is_some_and(is_uuid) {
            return Ok(Arc::new(of.clone()));
        }
        let uuid = ParquetType::primitive_type_builder(of.name(), of.get_physical_type())
            .with_repetition(info.repetition())
            .with_length(16)
            .with_logical_type(Some(LogicalType::Uuid))
            .with_id(id);
        return Ok(Arc::new(uuid.build()?));
    }
    let fields = of.get_fields().iter().map(|f| marked(f, is_uuid)).collect::<parquet::errors::Result<Vec<_>>>()?;
    let mut group = ParquetType::group_type_builder(of.name())
        .with_fields(fields)
        .with_id(id)
        .with_converted_type(info.converted_type())
        .with_logical_type(info.logical_type_ref().cloned());
    if info.has_repetition() {
        group = group.with_repetition(info.repetition());
    }
    Ok(Arc::new(group.build()?))
}

fn options(table: &Table) -> Result<Options> {
    let properties = table.metadata.properties();
    let number = |key: &str, default: usize| match properties.get(key) {
        None => Ok(default),
        Some(text) => text.parse::<usize>().ok().filter(|n| *n > 0).ok_or_else(|| unusable(table, key)),
    };
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("lakegate ", env!("CARGO_PKG_VERSION")).to_string())
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_compression(compression(table)?)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(number("write.parquet.row-group-size-bytes", ROW_GROUP_BYTES)?))
        .set_data_page_size_limit(number("write.parquet.page-size-bytes", 1 << 20)?)
        .set_data_page_row_count_limit(number("write.parquet.page-row-limit", 20_000)?)
        .set_dictionary_page_size_limit(number("write.parquet.dict-size-bytes", DICTIONARY_BYTES)?);
    for (key, value) in properties {
        if let Some(column) = key.strip_prefix("write.parquet.bloom-filter-enabled.column.") {
            let path = ColumnPath::from(column.split('.').map(String::from).collect::<Vec<_>>());
            builder = builder.set_column_bloom_filter_enabled(path, value == "true");
        }
    }
    Ok(Options { properties: builder.build(), file_bytes: number("write.target-file-size-bytes", FILE_BYTES)? })
}

fn compression(table: &Table) -> Result<Compression> {
    const CODEC: &str = "write.parquet.compression-codec";
    const LEVEL: &str = "write.parquet.compression-level";
    let properties = table.metadata.properties();
    let level = properties.get(LEVEL).map(|l| l.parse::<i32>().map_err(|_| unusable(table, LEVEL))).transpose()?;
    match properties.get(CODEC).map_or("zstd", String::as_str) {
        "zstd" => {
            let level = level.map(ZstdLevel::try_new).transpose().map_err(|_| unusable(table, LEVEL))?;
            Ok(Compression::ZSTD(level.unwrap_or_default()))
        }
        "gzip" => {
            let level = level.map(|l| GzipLevel::try_new(l.unsigned_abs())).transpose();
            Ok(Compression::GZIP(level.map_err(|_| unusable(table, LEVEL))?.unwrap_or_default()))
        }
        "snappy" => Ok(Compression::SNAPPY),
        "lz4" => Ok(Compression::LZ4_RAW),
        "uncompressed" => Ok(Compression::UNCOMPRESSED),
        _ => Err(unusable(table, CODEC)),
    }
}

fn unusable(table: &Table, property: &str) -> Error {
    let message = format!("property \"{property}\" of table {} has a value that is not supported", table.shown());
    Error::new(Kind::Unsupported, message)
}

fn unwritten(error: parquet::errors::ParquetError) -> Error {
    Error::new(Kind::SourceFailed, "a data file could not be written").with_source(error)
}

#[cfg(test)]
mod tests;
