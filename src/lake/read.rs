//! A pinned table → a DataFusion scan over its Parquet files. Inside the scan columns are called `#<field id>`, so that
//! no rule by name can take one column for another; a projection above gives the names back. Which files are read is
//! `plan`'s decision; deletes are not applied here (such tables are refused there).

mod adapt;
mod guard;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{DFSchema, ScalarValue, Statistics};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{
    FileGroup, FileGroupPartitioner, FileScanConfig, FileScanConfigBuilder, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use iceberg::spec::{Literal, ManifestList, NestedFieldRef, PrimitiveType, Transform, Type};
use object_store::ObjectMeta;
use object_store::path::Path;

use super::plan::{Condition, PlannedFile};
use super::schema::{self, field_id};
use super::{Lake, Table};
use crate::error::{Error, Kind, Result};
use crate::types::Reads;
use adapt::{ById, Ids};
use guard::GuardExec;

/// One table at one snapshot, as a provider. It answers every filter `Inexact`: it may use one, never own it.
#[derive(Debug)]
pub struct Reading {
    lake: Arc<Lake>,
    table: Table,
    manifests: Option<Arc<ManifestList>>,
    schema: SchemaRef,
    ids: Arc<Ids>,
    /// Paths of every data file that a scan of this reading was planned over.
    planned: Arc<Mutex<HashSet<Path>>>,
}

impl Lake {
    /// `schema` is the table's own ([`Table::schema`]), with whatever field metadata the caller adds. 0A000 where the
    /// snapshot has live deletes.
    pub async fn read(self: &Arc<Self>, table: &Table, schema: SchemaRef) -> Result<Reading> {
        let manifests = self.manifests(table).await?;
        let ids = Arc::new(Ids::of(&table.metadata)?);
        Ok(Reading { lake: Arc::clone(self), table: table.clone(), manifests, schema, ids, planned: Arc::default() })
    }
}

impl Reading {
    /// Knows the leaves of its own scans: data source nodes over nothing but files planned here.
    pub fn reads(&self) -> Reads {
        let (planned, store) = (Arc::clone(&self.planned), self.lake.store.url().clone());
        Arc::new(move |leaf| {
            let Some(source) = leaf.downcast_ref::<DataSourceExec>() else { return false };
            let Some(files) = (source.data_source().as_ref() as &dyn Any).downcast_ref::<FileScanConfig>() else {
                return false;
            };
            let planned = planned.lock().expect("no panic under the lock");
            files.object_store_url == store
                && files.file_groups.iter().flat_map(|g| g.iter()).all(|f| planned.contains(&f.object_meta.location))
        })
    }
}

#[async_trait]
impl TableProvider for Reading {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> PlanResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let wanted: Vec<usize> = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let files = match &self.manifests {
            Some(manifests) => {
                let condition = self.condition(session, filters)?;
                let planned = self.lake.plan(&self.table, manifests, condition.as_ref()).await?;
                tracing::debug!(
                    table = %self.table.shown(),
                    manifests_read = planned.manifests_read,
                    manifests_pruned = planned.manifests_pruned,
                    files_read = planned.files.len(),
                    files_pruned = planned.files_pruned,
                    "planned a lake scan"
                );
                planned.files
            }
            None => vec![],
        };
        let mut alike: BTreeMap<BTreeSet<i32>, Vec<PlannedFile>> = BTreeMap::new();
        for file in files {
            alike.entry(self.constants(&file)).or_default().push(file);
        }
        self.lake.store.register(session.runtime_env());
        // Rows are dropped above, so a limit counts only where nothing is filtered.
        let limit = limit.filter(|_| filters.is_empty());
        let mut scans = vec![];
        for (constants, files) in &alike {
            scans.push(self.scan_alike(session, &wanted, constants, files, limit)?);
        }
        match (scans.pop(), scans.is_empty()) {
            (None, _) => Ok(Arc::new(EmptyExec::new(Arc::new(self.schema.project(&wanted)?)))),
            (Some(only), true) => Ok(only),
            (Some(last), false) => {
                scans.push(last);
                UnionExec::try_new(scans)
            }
        }
    }
}

/// A column inside the scan.
struct Inner {
    field: FieldRef,
    source: NestedFieldRef,
}

impl Reading {
    fn condition(&self, session: &dyn Session, filters: &[Expr]) -> PlanResult<Option<Condition>> {
        let Some(filter) = conjunction(filters.to_vec()) else { return Ok(None) };
        let named = DFSchema::try_from(self.schema.as_ref().clone())?;
        let predicate = session.create_physical_expr(filter, &named)?;
        Ok(Some(Condition { predicate, schema: Arc::clone(&self.schema) }))
    }

    /// Columns whose value is that of the file's partition: the file itself need not hold them.
    fn constants(&self, file: &PlannedFile) -> BTreeSet<i32> {
        let metadata = &self.table.metadata;
        let top_level = |id: &i32| metadata.current_schema().as_struct().field_by_id(*id).is_some();
        let spec = metadata.partition_spec_by_id(file.spec_id);
        let fields = spec.map(|s| s.fields()).unwrap_or_default();
        fields.iter().filter(|f| f.transform == Transform::Identity).map(|f| f.source_id).filter(top_level).collect()
    }

    /// One scan over files that take the same columns from their partitions.
    fn scan_alike(
        &self,
        session: &dyn Session,
        wanted: &[usize],
        constants: &BTreeSet<i32>,
        files: &[PlannedFile],
        limit: Option<usize>,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let columns = self.columns()?;
        let is_constant = |c: &&Inner| constants.contains(&c.source.id);
        let constant: Vec<&Inner> = columns.iter().filter(is_constant).collect();
        let stored: Vec<FieldRef> = columns.iter().filter(|c| !is_constant(c)).map(|c| Arc::clone(&c.field)).collect();
        let partition: Vec<FieldRef> = constant.iter().map(|c| Arc::clone(&c.field)).collect();
        let inside = TableSchema::builder(Arc::new(Schema::new(stored))).with_table_partition_cols(partition).build();
        let all = Arc::clone(inside.table_schema());

        let mut rows = 0usize;
        let mut parts = vec![];
        for file in files {
            let count = usize::try_from(file.data().record_count()).unwrap_or(usize::MAX);
            rows = rows.saturating_add(count);
            let part = self.part(file, &constant, &all)?;
            self.planned.lock().expect("no panic under the lock").insert(part.object_meta.location.clone());
            parts.push(part);
        }
        let mut statistics = Statistics::new_unknown(&all);
        statistics.num_rows = Precision::Exact(rows);
        // Every wanted column once, in the scan's order of names.
        let indices = wanted.iter().map(|i| Ok(all.index_of(columns[*i].field.name())?));
        let indices = indices.collect::<PlanResult<Vec<_>>>()?;
        let config = FileScanConfigBuilder::new(self.lake.store.url().clone(), self.source(session, inside))
            .with_file_groups(grouped(session, parts))
            .with_projection_indices(Some(indices))?
            .with_expr_adapter(Some(Arc::new(ById(Arc::clone(&self.ids)))))
            .with_statistics(statistics)
            .with_limit(limit)
            .build();
        let scan = DataSourceExec::from_data_source(config);
        let trusted = trusted(&scan.schema(), files);
        let scan: Arc<dyn ExecutionPlan> = Arc::new(GuardExec::new(scan, trusted));
        let named = wanted.iter().enumerate().map(|(at, i)| {
            let inner: Arc<dyn PhysicalExpr> = Arc::new(Column::new(columns[*i].field.name(), at));
            (inner, self.schema.field(*i).name().clone())
        });
        Ok(Arc::new(ProjectionExec::try_new(named.collect::<Vec<_>>(), scan)?))
    }

    /// The provider's columns under their inner names, in its order.
    fn columns(&self) -> Result<Vec<Inner>> {
        let current = self.table.metadata.current_schema();
        let inner = |field: &FieldRef| {
            let source = field_id(field).and_then(|id| current.as_struct().field_by_id(id));
            let source = source.ok_or_else(|| Error::internal("a column without its field id"))?;
            let inner = field.as_ref().clone().with_name(format!("#{}", source.id));
            Ok(Inner { field: Arc::new(inner), source: Arc::clone(source) })
        };
        self.schema.fields().iter().map(inner).collect()
    }

    fn part(&self, file: &PlannedFile, constant: &[&Inner], all: &Schema) -> Result<PartitionedFile> {
        let data = file.data();
        let location = self.lake.store.path(data.file_path())?;
        let meta = ObjectMeta {
            location,
            last_modified: chrono::DateTime::UNIX_EPOCH,
            size: data.file_size_in_bytes(),
            e_tag: None,
            version: None,
        };
        let mut part = PartitionedFile::new_from_meta(meta);
        for column in constant {
            part.partition_values.push(self.constant(file, column)?);
        }
        // Nothing is claimed of the columns: DataFusion would add that a partition value is never NULL.
        part.statistics = Some(Arc::new(Statistics::new_unknown(all)));
        Ok(part)
    }

    fn constant(&self, file: &PlannedFile, column: &Inner) -> Result<ScalarValue> {
        let spec = self.table.metadata.partition_spec_by_id(file.spec_id);
        let at = spec.and_then(|s| {
            s.fields().iter().position(|f| f.source_id == column.source.id && f.transform == Transform::Identity)
        });
        let value = at.and_then(|i| file.data().partition().fields().get(i));
        let of = column.field.data_type();
        match (value, column.source.field_type.as_ref()) {
            (Some(Some(Literal::Primitive(value))), Type::Primitive(source)) => {
                let value = schema::scalar(value, source);
                value.and_then(|v| v.cast_to(of).ok()).ok_or_else(|| self.fault("a partition value that does not fit"))
            }
            (Some(None), _) => Ok(ScalarValue::try_new_null(of)?),
            _ => Err(self.fault("a file without its partition value")),
        }
    }

    fn fault(&self, what: &str) -> Error {
        let message = format!("the metadata of table {} cannot be read", self.table.shown());
        Error::new(Kind::SourceFailed, message).with_source(what.to_string())
    }

    fn source(&self, session: &dyn Session, inside: TableSchema) -> Arc<ParquetSource> {
        let global = session.config_options().execution.parquet.clone();
        let options = TableParquetOptions { global, ..Default::default() };
        let footers = session.runtime_env().cache_manager.get_file_metadata_cache();
        let readers = CachedParquetFileReaderFactory::new(Arc::clone(self.lake.store.objects()), footers);
        let source = ParquetSource::new(inside).with_table_parquet_options(options);
        Arc::new(source.with_parquet_file_reader_factory(Arc::new(readers)))
    }
}

/// Files spread over the session's partitions: by bytes, and through the middle of large files.
fn grouped(session: &dyn Session, parts: Vec<PartitionedFile>) -> Vec<FileGroup> {
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

/// The scan's columns on which Parquet's own statistics may prune: theirs leave NaN out, and here NaN is greater than
/// everything, so a float column is trusted only where every file says that it has none.
fn trusted(scan: &Schema, files: &[PlannedFile]) -> Vec<bool> {
    let without_nan = |field: &Field| {
        let id = field_id(field);
        id.is_some_and(|id| files.iter().all(|f| f.data().nan_value_counts().get(&id) == Some(&0)))
    };
    let ok = |field: &FieldRef| match field.data_type() {
        DataType::Float32 | DataType::Float64 => without_nan(field),
        other => !holds_floats(other),
    };
    scan.fields().iter().map(ok).collect()
}

fn holds_floats(of: &DataType) -> bool {
    match of {
        DataType::Float32 | DataType::Float64 => true,
        DataType::Struct(fields) => fields.iter().any(|f| holds_floats(f.data_type())),
        DataType::List(element) => holds_floats(element.data_type()),
        DataType::Map(entries, _) => holds_floats(entries.data_type()),
        _ => false,
    }
}

impl Ids {
    /// What the adapter must know of the table: defaults of columns that a file may lack, and names of files without ids.
    fn of(metadata: &iceberg::spec::TableMetadata) -> Result<Self> {
        let mut defaults = HashMap::new();
        for field in metadata.current_schema().as_struct().fields() {
            collect_defaults(field, &mut defaults)?;
        }
        let mapping = metadata.properties().get(iceberg::spec::DEFAULT_SCHEMA_NAME_MAPPING);
        let mapping = mapping.map(|json| serde_json::from_str::<iceberg::spec::NameMapping>(json)).transpose();
        let mapping = mapping
            .map_err(|e| Error::new(Kind::SourceFailed, "a table's name mapping cannot be read").with_source(e))?;
        Ok(Ids { defaults, mapping })
    }
}

fn collect_defaults(field: &NestedFieldRef, into: &mut HashMap<i32, ScalarValue>) -> Result<()> {
    match (&field.initial_default, field.field_type.as_ref()) {
        (Some(Literal::Primitive(value)), Type::Primitive(of)) => {
            into.insert(field.id, default(field.id, value, of)?);
        }
        (Some(_), _) => return Err(Error::unsupported(format!("the default value of column \"{}\"", field.name))),
        (None, _) => (),
    }
    match field.field_type.as_ref() {
        Type::Primitive(_) => Ok(()),
        Type::Struct(s) => s.fields().iter().try_for_each(|f| collect_defaults(f, into)),
        Type::List(l) => collect_defaults(&l.element_field, into),
        Type::Map(m) => {
            collect_defaults(&m.key_field, into)?;
            collect_defaults(&m.value_field, into)
        }
    }
}

fn default(id: i32, value: &iceberg::spec::PrimitiveLiteral, of: &PrimitiveType) -> Result<ScalarValue> {
    schema::scalar(value, of).ok_or_else(|| {
        Error::new(Kind::SourceFailed, "a column's default value cannot be read").with_source(format!("field {id}"))
    })
}
