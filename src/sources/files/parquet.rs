//! Parquet files as a table's: which columns a file has by its footer, which type of PostgreSQL stands for each, and the
//! scan over several, by name. Values are only ever cast to a type that holds all of them. It decides no conflict between
//! files.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use chrono::Timelike;
use datafusion::catalog::Session;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{ScalarValue, Statistics};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::datasource::physical_plan::parquet::{CachedParquetFileReaderFactory, ParquetFileReaderFactory};
use datafusion::datasource::physical_plan::{FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result as PlanResult;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal};
use datafusion::physical_expr_adapter::{PhysicalExprAdapter, PhysicalExprAdapterFactory};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, ObjectMeta, ObjectStore};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::parquet_to_arrow_schema;
use parquet::basic::LogicalType;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use super::Spec;
use super::fault::{fault, of_table};
use super::list::Found;
use super::scan::Seen;
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::{NUMERIC, by_oid, field, pg_type};
use crate::lake::{GuardExec, grouped, holds_floats};

const VARCHAR: u32 = 1043;
const UUID: u32 = 2950;

/// The modifier of numeric(20,0), which holds what bigint does not.
const UINT8_DIGITS: i32 = (20 << 16) + 4;

/// Footers that are asked for at one time.
const FOOTERS_AT_ONCE: usize = 16;

const NO_PARQUET: &str = "is not Parquet, or is broken";
const LACKS: &str = "lacks a column of the table that is not optional";
const OTHER_TYPE: &str = "has a column of another type than the table";
const OTHER_TYPE_HINT: &str =
    "The server's log names it: move the file away, or declare `columns` of the table in its source's file.";

/// What a file's footer says.
#[derive(Debug)]
pub(super) struct Footer {
    /// As they lie in the file.
    columns: Fields,
    /// As they would be in a table; those that no type stands for are left out.
    pub(super) shown: Vec<Field>,
    rows: usize,
}

/// Of the files that were there when somebody looked last.
#[derive(Debug, Default)]
pub(super) struct Footers(Mutex<HashMap<u128, Arc<Footer>>>);

impl Footers {
    /// In the files' order. `cache`: that of the scans to come, so that those do not ask again.
    pub(super) async fn of(
        &self,
        spec: &Spec,
        objects: &Arc<dyn ObjectStore>,
        files: &[&Found],
        cache: Option<&Arc<FileMetadataCache>>,
    ) -> Result<Vec<Arc<Footer>>> {
        let known: Vec<Option<Arc<Footer>>> = {
            let all = self.lock();
            files.iter().map(|file| all.get(&file.id).map(Arc::clone)).collect()
        };
        let mut reads: Vec<BoxFuture<'_, Result<Arc<Footer>>>> = vec![];
        for (file, known) in files.iter().zip(known) {
            reads.push(match known {
                Some(footer) => std::future::ready(Ok(footer)).boxed(),
                None => async move { Ok(Arc::new(read(spec, objects, file, cache).await?)) }.boxed(),
            });
        }
        let footers: Vec<_> = futures::stream::iter(reads).buffered(FOOTERS_AT_ONCE).try_collect().await?;
        self.lock().extend(files.iter().zip(&footers).map(|(file, footer)| (file.id, Arc::clone(footer))));
        Ok(footers)
    }

    /// Forgets all others.
    pub(super) fn keep(&self, files: &[Found]) {
        let mut known = self.lock();
        if known.len() > files.len() {
            let there: std::collections::HashSet<u128> = files.iter().map(|file| file.id).collect();
            known.retain(|id, _| there.contains(id));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u128, Arc<Footer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(
    spec: &Spec,
    objects: &Arc<dyn ObjectStore>,
    file: &Found,
    cache: Option<&Arc<FileMetadataCache>>,
) -> Result<Footer> {
    let broken = |error| of_table(&spec.name, Kind::InvalidText, NO_PARQUET, &file.name, Some(error));
    let stamped = stamped(file);
    let metadata = DFParquetMetadata::new(objects.as_ref(), &stamped).with_file_metadata_cache(cache.map(Arc::clone));
    let metadata = metadata.fetch_metadata().await.map_err(|error| match store_error(&error) {
        Some(store) => spec.folder.lost(&spec.name, &file.name, store),
        None => broken(Box::<dyn std::error::Error + Send + Sync>::from(error)),
    })?;
    let said = metadata.file_metadata();
    let schema = parquet_to_arrow_schema(said.schema_descr(), said.key_value_metadata());
    let schema = schema.map_err(|error| broken(error.into()))?;
    let is_uuid = |name: &str| {
        let fields = said.schema_descr().root_schema().get_fields();
        let found = fields.iter().find(|field| field.name() == name);
        found.is_some_and(|field| matches!(field.get_basic_info().logical_type_ref(), Some(LogicalType::Uuid)))
    };
    let shown = |of: &FieldRef| match of.data_type() {
        DataType::FixedSizeBinary(16) if is_uuid(of.name()) => field(of.name(), UUID, -1, true),
        _ => shown(of),
    };
    let shown = schema.fields().iter().filter_map(shown).collect();
    let rows = usize::try_from(said.num_rows()).map_err(|error| broken(error.into()))?;
    Ok(Footer { columns: schema.fields().clone(), shown, rows })
}

/// The store's own, inside of a reader's words.
fn store_error(error: &(dyn std::error::Error + 'static)) -> Option<object_store::Error> {
    let mut at = Some(error);
    while let Some(error) = at {
        match error.downcast_ref::<object_store::Error>() {
            Some(object_store::Error::NotFound { path, .. } | object_store::Error::Precondition { path, .. }) => {
                let source = "changed since it was found".into();
                return Some(object_store::Error::Precondition { path: path.clone(), source });
            }
            Some(other) => {
                return Some(object_store::Error::Generic { store: "files", source: other.to_string().into() });
            }
            None => at = error.source(),
        }
    }
    None
}

/// A column of a file as a table has it: PostgreSQL's type for it, in the one Arrow type that it lies in. `None` where
/// nothing stands for it.
fn shown(of: &Field) -> Option<Field> {
    // What a file says in metadata about our own types is nobody's word.
    let plain = |data_type: DataType| Field::new(of.name(), data_type, true);
    let within = |item: &FieldRef| shown(item).map(Arc::new);
    Some(match of.data_type() {
        DataType::Dictionary(_, values) => return shown(&plain(values.as_ref().clone())),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            let item = within(item)?;
            let named = Field::new("item", item.data_type().clone(), true).with_metadata(item.metadata().clone());
            plain(DataType::List(Arc::new(named)))
        }
        DataType::Struct(fields) => {
            plain(DataType::Struct(fields.iter().map(within).collect::<Option<Vec<_>>>()?.into()))
        }
        DataType::Map(entries, is_sorted) => {
            let DataType::Struct(pair) = entries.data_type() else { return None };
            let pair: Vec<FieldRef> = pair
                .iter()
                .zip([false, true])
                .map(|(part, nullable)| Some(Arc::new(shown(part)?.with_nullable(nullable))))
                .collect::<Option<_>>()?;
            let entries = Field::new(entries.name(), DataType::Struct(pair.into()), false);
            plain(DataType::Map(Arc::new(entries), *is_sorted))
        }
        // Beyond bigint, and known of all of them.
        DataType::UInt64 => return field(of.name(), NUMERIC, UINT8_DIGITS, true),
        DataType::FixedSizeBinary(_) => return field(of.name(), 17, -1, true),
        other => {
            let found = pg_type(&plain(other.clone())).ok()?;
            let field = field(of.name(), found.oid, found.typmod, true)?;
            return widens(other, field.data_type()).then_some(field);
        }
    })
}

/// Each value of the one is one of the other, and a cast makes it that.
pub(super) fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    let digits = |of: &DataType| match of {
        T::Int8 | T::UInt8 => Some((3, 0)),
        T::Int16 | T::UInt16 => Some((5, 0)),
        T::Int32 | T::UInt32 => Some((10, 0)),
        T::Int64 => Some((19, 0)),
        T::UInt64 => Some((20, 0)),
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) | T::Decimal256(p, s) if *s >= 0 => {
            Some((i32::from(*p), i32::from(*s)))
        }
        _ => None,
    };
    let bits = |of: &DataType| match of {
        T::Int8 => Some((8, true)),
        T::Int16 => Some((16, true)),
        T::Int32 => Some((32, true)),
        T::Int64 => Some((64, true)),
        T::UInt8 => Some((8, false)),
        T::UInt16 => Some((16, false)),
        T::UInt32 => Some((32, false)),
        T::UInt64 => Some((64, false)),
        _ => None,
    };
    if from == to {
        return true;
    }
    match (from, to) {
        (T::Null, _) => true,
        (T::Dictionary(_, values), _) => widens(values, to),
        (T::Float16, T::Float32 | T::Float64) | (T::Float32, T::Float64) => true,
        (T::Utf8 | T::LargeUtf8 | T::Utf8View, T::Utf8) => true,
        (T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_), T::Binary) => true,
        (T::Date64, T::Date32) => true,
        (T::Time32(_) | T::Time64(_), T::Time64(TimeUnit::Microsecond)) => true,
        (T::Timestamp(_, zone), T::Timestamp(TimeUnit::Microsecond, to)) => zone.is_some() == to.is_some(),
        (T::Interval(_) | T::Duration(_), T::Interval(_)) => true,
        (T::List(item) | T::LargeList(item) | T::FixedSizeList(item, _), T::List(to)) => {
            widens(item.data_type(), to.data_type())
        }
        (T::Struct(fields), T::Struct(to)) => all_widen(fields, to),
        (T::Map(entries, _), T::Map(to, _)) => match (entries.data_type(), to.data_type()) {
            (T::Struct(pair), T::Struct(to)) => {
                pair.len() == to.len() && pair.iter().zip(to).all(|(a, b)| widens(a.data_type(), b.data_type()))
            }
            _ => false,
        },
        _ => match (bits(from), bits(to), digits(from), digits(to)) {
            (Some((from, true)), Some((to, true)), ..) => from <= to,
            (Some((from, false)), Some((to, true)), ..) => from < to,
            (Some((from, false)), Some((to, false)), ..) => from <= to,
            (_, None, Some((precision, scale)), Some((to_precision, to_scale))) => {
                to_scale >= scale && to_precision - to_scale >= precision - scale
            }
            _ => false,
        },
    }
}

fn all_widen(fields: &Fields, to: &Fields) -> bool {
    let alike = |(a, b): (&FieldRef, &FieldRef)| a.name() == b.name() && widens(a.data_type(), b.data_type());
    fields.len() == to.len() && fields.iter().zip(to).all(alike)
}

/// A type that is what its Arrow type says and nothing beyond: a file keeps no lengths of texts and no documents.
pub(super) fn may_be(field: &Field) -> bool {
    let Ok(found) = pg_type(field) else { return false };
    let (of, lies) = match field.data_type() {
        DataType::List(item) => (by_oid(found.oid).map_or(0, |row| row.element), item.data_type()),
        other => (found.oid, other),
    };
    match of {
        NUMERIC => matches!(lies, DataType::Decimal128(..) | DataType::Decimal256(..)) && found.typmod >= 0,
        UUID => true,
        VARCHAR => found.typmod == -1,
        _ => {
            let natural = pg_type(&Field::new(field.name(), lies.clone(), true));
            natural.is_ok_and(|natural| natural.oid == of) && found.typmod == -1
        }
    }
}

impl Footer {
    /// The first of the table's columns whose values this file does not have in a type that it could be cast from.
    fn misfit(&self, table: &Schema, stored: usize) -> Option<String> {
        let unfit = |of: &&FieldRef| {
            let to = table.fields().iter().take(stored).find(|to| to.name() == of.name());
            to.is_some_and(|to| !widens(of.data_type(), to.data_type()))
        };
        self.columns.iter().find(unfit).map(|field| field.name().clone())
    }

    fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|field| field.name() == column)
    }
}

/// The rows of these files, whose footers are looked at first: those that came since the columns were told may have others.
pub(super) async fn plan(
    session: &dyn Session,
    seen: &Seen,
    files: &[usize],
    projection: &[usize],
    limit: Option<usize>,
) -> PlanResult<Arc<dyn ExecutionPlan>> {
    let (columns, spec) = (&seen.columns, &seen.spec);
    let found: Vec<&Found> = files.iter().filter_map(|at| seen.files.get(*at)).collect();
    let cache = session.runtime_env().cache_manager.get_file_metadata_cache();
    let footers = spec.footers.of(spec, &seen.objects, &found, Some(&cache)).await?;
    for (file, footer) in found.iter().zip(&footers) {
        if let Some(column) = footer.misfit(&columns.schema, columns.stored.len()) {
            // Who may see which column is not known here.
            let why = format!("column \"{column}\"").into();
            let error = of_table(&spec.name, Kind::SourceFailed, OTHER_TYPE, &file.name, Some(why));
            return Err(error.with_hint(OTHER_TYPE_HINT).into());
        }
    }
    let all = &columns.schema;
    let (stored, parts) = all.fields().split_at(columns.stored.len());
    let inside = TableSchema::builder(Arc::new(Schema::new(stored.to_vec()))).with_table_partition_cols(parts.to_vec());
    let inside = inside.build();
    let (mut read, mut rows) = (vec![], 0usize);
    for ((at, file), footer) in files.iter().zip(&found).zip(&footers) {
        let asked = projection.iter().filter_map(|column| columns.stored.get(*column));
        let lacking = asked.filter(|column| !column.optional && !columns.inferred);
        if let Some(column) = lacking.into_iter().find(|column| !footer.has(column.field.name())) {
            let why = format!("column \"{}\"", column.field.name()).into();
            return Err(of_table(&spec.name, Kind::InvalidText, LACKS, &file.name, Some(why)).into());
        }
        rows = rows.saturating_add(footer.rows);
        let mut part = PartitionedFile::new_from_meta(stamped(file));
        for column in seen.parts.columns() {
            part.partition_values.push(ScalarValue::try_from_array(column, *at)?);
        }
        // Nothing is claimed of the columns: DataFusion would add that a partition value is never NULL.
        part.statistics = Some(Arc::new(Statistics::new_unknown(all)));
        read.push(part);
    }
    let mut global = session.config_options().execution.parquet.clone();
    // Old writers' moments, of which nanoseconds do not hold all.
    global.coerce_int96 = Some("us".into());
    let options = TableParquetOptions { global, ..Default::default() };
    let readers = Readers {
        files: CachedParquetFileReaderFactory::new(Arc::clone(&seen.objects), cache),
        spec: Arc::clone(spec),
        objects: Arc::clone(&seen.objects),
        names: found.iter().map(|file| (file.meta.location.clone(), file.name.clone())).collect(),
    };
    let source = ParquetSource::new(inside).with_table_parquet_options(options);
    let source = source.with_parquet_file_reader_factory(Arc::new(readers));
    spec.store.register(session.runtime_env());
    let mut statistics = Statistics::new_unknown(all);
    statistics.num_rows = Precision::Exact(rows);
    let config = FileScanConfigBuilder::new(spec.store.url().clone(), Arc::new(source))
        .with_file_groups(grouped(session, read))
        .with_projection_indices(Some(projection.to_vec()))?
        .with_expr_adapter(Some(Arc::new(ByName)))
        .with_statistics(statistics)
        .with_limit(limit)
        .build();
    let scan = DataSourceExec::from_data_source(config);
    // Parquet's statistics leave NaN out, and here NaN is greater than everything.
    let trusted = scan.schema().fields().iter().map(|field| !holds_floats(field.data_type())).collect();
    Ok(Arc::new(GuardExec::new(scan, trusted, Arc::new(()))))
}

/// The cache of footers knows a file again by its size and time, of which a bucket tells seconds: what is left of a
/// second is made of what the file held.
fn stamped(file: &Found) -> ObjectMeta {
    let nanos = u32::try_from(file.id % 1_000_000_000).unwrap_or(0);
    let time = file.meta.last_modified.with_nanosecond(nanos);
    ObjectMeta { last_modified: time.unwrap_or(file.meta.last_modified), ..file.meta.clone() }
}

/// DataFusion's readers, whose errors say which file they are about.
#[derive(Debug)]
struct Readers {
    files: CachedParquetFileReaderFactory,
    spec: Arc<Spec>,
    objects: Arc<dyn ObjectStore>,
    names: HashMap<Path, String>,
}

struct Named {
    file: Box<dyn AsyncFileReader + Send>,
    name: String,
    location: Path,
    spec: Arc<Spec>,
    objects: Arc<dyn ObjectStore>,
}

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> PlanResult<Box<dyn AsyncFileReader + Send>> {
        let location = file.object_meta.location.clone();
        Ok(Box::new(Named {
            name: self.names.get(&location).cloned().unwrap_or_default(),
            location,
            spec: Arc::clone(&self.spec),
            objects: Arc::clone(&self.objects),
            file: self.files.create_reader(partition, file, hint, metrics)?,
        }))
    }
}

impl Named {
    /// Some readers keep no more than a store's words, so that it is asked again.
    fn told(&self, error: ParquetError) -> impl Future<Output = ParquetError> + Send + use<> {
        let (objects, spec) = (Arc::clone(&self.objects), Arc::clone(&self.spec));
        let (name, location) = (self.name.clone(), self.location.clone());
        async move {
            let head = GetOptions { head: true, ..GetOptions::default() };
            let told = match (store_error(&error), objects.get_opts(&location, head).await) {
                (Some(store), _) | (None, Err(store)) => spec.folder.lost(&spec.name, &name, store),
                (None, Ok(_)) => fault(&name, None, NO_PARQUET).with_source(error),
            };
            ParquetError::External(Box::new(told))
        }
    }
}

impl AsyncFileReader for Named {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move {
            match self.file.get_bytes(range).await {
                Ok(bytes) => Ok(bytes),
                Err(error) => Err(self.told(error).await),
            }
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move {
            match self.file.get_byte_ranges(ranges).await {
                Ok(bytes) => Ok(bytes),
                Err(error) => Err(self.told(error).await),
            }
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            match self.file.get_metadata(options).await {
                Ok(metadata) => Ok(metadata),
                Err(error) => Err(self.told(error).await),
            }
        }
        .boxed()
    }
}

/// The table's columns → those of one file, by name.
#[derive(Debug)]
struct ByName;

struct Adapter {
    table: SchemaRef,
    file: SchemaRef,
}

impl fmt::Debug for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adapter").finish_non_exhaustive()
    }
}

impl PhysicalExprAdapterFactory for ByName {
    fn create(&self, table: SchemaRef, file: SchemaRef) -> PlanResult<Arc<dyn PhysicalExprAdapter>> {
        Ok(Arc::new(Adapter { table, file }))
    }
}

impl PhysicalExprAdapter for Adapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> PlanResult<Arc<dyn PhysicalExpr>> {
        let adapted = expr.transform_down(|e| match e.downcast_ref::<Column>() {
            Some(column) => Ok(Transformed::new(self.column(column.name())?, true, TreeNodeRecursion::Jump)),
            None => Ok(Transformed::no(e)),
        });
        adapted.data()
    }
}

impl Adapter {
    fn column(&self, name: &str) -> PlanResult<Arc<dyn PhysicalExpr>> {
        let to = self.table.field_with_name(name)?;
        let Some((at, from)) = self.file.fields().find(name) else {
            return Ok(Arc::new(Literal::new(ScalarValue::try_new_null(to.data_type())?)));
        };
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(name, at));
        match (from.data_type() == to.data_type(), widens(from.data_type(), to.data_type())) {
            (true, _) => Ok(column),
            (false, true) => Ok(Arc::new(CastExpr::new(column, to.data_type().clone(), None))),
            // Its footer was looked at before.
            (false, false) => Err(Error::internal("a Parquet file is another one than its footer said").into()),
        }
    }
}
