//! Planned files and their deletes → one plan. Inside the scan columns are called `#<field id>`, so that no rule by name can
//! take one column for another; a projection above gives the names back. It decides nothing about which rows are live.

mod file;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::catalog::Session;
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::config::TableParquetOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result as PlanResult;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CaseExpr, Column, IsNullExpr};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use iceberg::spec::{DataFile, NestedField, Transform};
use object_store::ObjectMeta;
use parquet::arrow::RowNumber;

use super::super::plan::PlannedFile;
use super::super::schema::{self, DATA_FILE, LAST_UPDATED, ROW_ID, ROW_POSITION, field_id};
use super::Reading;
use super::adapt::ById;
use super::deletes::{Deletes, FileDeletes, Memory};
use super::guard::GuardExec;
use super::live::{Checks, LiveExec};
use super::reshape::Ids;
use crate::error::{Error, Result};
pub use file::grouped;

/// What the scan knows of a row besides its columns. No column of the table is called so: those begin with `#`.
const FILE: &str = "file";
const SEQUENCE: &str = "sequence";
const FIRST_ROW: &str = "first row";
const POSITION: &str = "position";

/// Files that one scan can read.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Alike {
    /// Columns whose value is that of the file's partition: the file itself need not hold them.
    constants: BTreeSet<i32>,
    by_number: bool,
    by_key: bool,
}

/// A file with what is deleted of it.
struct Part {
    file: PlannedFile,
    deletes: FileDeletes,
}

impl Reading {
    /// As few scans as can read all the files.
    pub(super) fn scans(
        &self,
        session: &dyn Session,
        wanted: &[usize],
        files: Vec<PlannedFile>,
        deletes: Deletes,
        limit: Option<usize>,
    ) -> PlanResult<Vec<Arc<dyn ExecutionPlan>>> {
        let Deletes { files: of_files, key_ids, memory } = deletes;
        let mut alike: BTreeMap<Alike, Vec<Part>> = BTreeMap::new();
        for (file, deletes) in files.into_iter().zip(of_files) {
            let (by_number, by_key) = (deletes.by_number.is_some(), !deletes.keys.is_empty());
            let alike_to = Alike { constants: self.constants(&file), by_number, by_key };
            alike.entry(alike_to).or_default().push(Part { file, deletes });
        }
        let mut scans = vec![];
        for (alike, parts) in alike {
            let scan = Scan { reading: self, session, wanted, alike: &alike, key_ids: &key_ids };
            scans.push(scan.plan(parts, &memory, limit)?);
        }
        Ok(scans)
    }

    fn constants(&self, file: &PlannedFile) -> BTreeSet<i32> {
        let metadata = &self.table.metadata;
        let top_level = |id: &i32| metadata.current_schema().as_struct().field_by_id(*id).is_some();
        let spec = metadata.partition_spec_by_id(file.entry.spec_id);
        let fields = spec.map(|s| s.fields()).unwrap_or_default();
        fields.iter().filter(|f| f.transform == Transform::Identity).map(|f| f.source_id).filter(top_level).collect()
    }

    /// A key of equality deletes, as the scan calls it: a column of the table, or one that it had once.
    pub(super) fn key_column(&self, id: i32) -> Result<FieldRef> {
        if let Some(field) = self.schema.fields().iter().find(|f| field_id(f) == Some(id)) {
            return Ok(inner(field, id));
        }
        let mut schemas: Vec<_> = self.table.metadata.schemas_iter().collect();
        schemas.sort_by_key(|s| std::cmp::Reverse(s.schema_id()));
        match schemas.iter().find_map(|s| s.as_struct().field_by_id(id)) {
            Some(dropped) => {
                // Files that never had it have no value for it.
                let optional = NestedField { required: false, ..dropped.as_ref().clone() };
                Ok(inner(&schema::arrow_field(&optional, &self.table.beyond), id))
            }
            None => Err(Error::unsupported(format!(
                "table {}, of which rows are deleted by a field of a nested column,",
                self.table.shown()
            ))
            .with_source(format!("field {id}"))),
        }
    }

    /// The rows of a delete file, these columns of it.
    pub(super) fn rows_of(
        &self,
        session: &dyn Session,
        file: &DataFile,
        columns: impl IntoIterator<Item = Field>,
    ) -> Result<SendableRecordBatchStream> {
        let named = columns.into_iter().map(|f| Ok(inner(&f, field_id(&f).ok_or_else(|| no_id(&f))?)));
        let columns: Vec<FieldRef> = named.collect::<Result<_>>()?;
        let store = &self.lake.store;
        store.register(session.runtime_env());
        let part = PartitionedFile::new_from_meta(self.meta(file)?);
        let inside = TableSchema::builder(Arc::new(Schema::new(columns))).build();
        let config = FileScanConfigBuilder::new(store.url().clone(), self.source(session, inside))
            .with_file_groups(vec![FileGroup::new(vec![part])])
            .with_expr_adapter(Some(Arc::new(ById { ids: Arc::new(Ids::strict()), _pin: self.pin.clone() })))
            .build();
        Ok(execute_stream(DataSourceExec::from_data_source(config), session.task_ctx())?)
    }

    fn meta(&self, file: &DataFile) -> Result<ObjectMeta> {
        Ok(ObjectMeta {
            location: self.lake.store.path(file.file_path())?,
            last_modified: chrono::DateTime::UNIX_EPOCH,
            size: file.file_size_in_bytes(),
            e_tag: None,
            version: None,
        })
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

/// One scan under way.
struct Scan<'a> {
    reading: &'a Reading,
    session: &'a dyn Session,
    wanted: &'a [usize],
    alike: &'a Alike,
    key_ids: &'a [Vec<i32>],
}

impl Scan<'_> {
    fn plan(&self, parts: Vec<Part>, memory: &Arc<Memory>, limit: Option<usize>) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let drops = self.alike.by_number || self.alike.by_key;
        let keys = self.keys(&parts)?;
        let inside = self.inside(&keys)?;
        let all = Arc::clone(inside.table_schema());
        let needed = self.needed(&keys);
        let indices = needed.iter().map(|name| Ok(all.index_of(name)?)).collect::<PlanResult<Vec<_>>>()?;

        let mut rows = 0u64;
        let (mut files, mut read) = (vec![], vec![]);
        for (number, part) in parts.iter().enumerate() {
            let skipped = part.deletes.skipped.as_ref().map_or(0, |d| d.count());
            rows = rows.saturating_add(part.file.data().record_count().saturating_sub(skipped));
            let file = self.part(part, number, &all)?;
            files.push(file.object_meta.location.clone());
            read.push(file);
        }
        self.reading.planned.lock().expect("no panic under the lock").extend(files);
        let mut statistics = Statistics::new_unknown(&all);
        statistics.num_rows = usize::try_from(rows).map_or(Precision::Absent, Precision::Exact);
        let reading = self.reading;
        let config = FileScanConfigBuilder::new(reading.lake.store.url().clone(), reading.source(self.session, inside))
            .with_file_groups(grouped(self.session, read))
            .with_projection_indices(Some(indices))?
            .with_expr_adapter(Some(Arc::new(ById { ids: Arc::clone(&reading.ids), _pin: reading.pin.clone() })))
            .with_statistics(statistics)
            .with_limit(limit.filter(|_| !drops))
            .build();
        let scan = DataSourceExec::from_data_source(config);
        let trusted = trusted(&scan.schema(), &parts);
        let mut plan: Arc<dyn ExecutionPlan> = Arc::new(GuardExec::new(scan, trusted, Arc::<Memory>::clone(memory)));
        if drops {
            let made = plan.schema();
            let key_columns = self.key_ids.iter().map(|ids| {
                // Groups of other scans have no columns here, and no files.
                let columns = ids.iter().filter_map(|id| made.index_of(&inner_name(*id)).ok()).collect::<Vec<_>>();
                if columns.len() == ids.len() { columns } else { vec![] }
            });
            let checks = Checks {
                file_column: made.index_of(FILE)?,
                position_column: made.index_of(POSITION).ok(),
                key_columns: key_columns.collect(),
                files: parts.into_iter().map(|p| p.deletes).collect(),
            };
            plan = Arc::new(LiveExec::new(plan, checks));
        }
        self.named(plan)
    }

    /// The key columns of the deletes that apply to these files.
    fn keys(&self, parts: &[Part]) -> Result<BTreeMap<i32, FieldRef>> {
        let groups: BTreeSet<usize> = parts.iter().flat_map(|p| p.deletes.keys.iter().map(|(n, _)| *n)).collect();
        let ids: BTreeSet<i32> = groups.iter().filter_map(|n| self.key_ids.get(*n)).flatten().copied().collect();
        ids.into_iter().map(|id| Ok((id, self.reading.key_column(id)?))).collect()
    }

    fn wants_lineage(&self) -> bool {
        self.wanted_ids().any(|id| id == ROW_ID || id == LAST_UPDATED)
    }

    fn numbers_rows(&self) -> bool {
        self.alike.by_number || self.wanted_ids().any(|id| [ROW_ID, LAST_UPDATED, ROW_POSITION].contains(&id))
    }

    /// Whether a column has one value for all of a file.
    fn is_constant(&self, id: i32) -> bool {
        id == DATA_FILE || self.alike.constants.contains(&id)
    }

    /// The columns that the files have, that their partitions have and that the scan itself makes.
    fn inside(&self, keys: &BTreeMap<i32, FieldRef>) -> Result<TableSchema> {
        let lineage = self.wants_lineage();
        let mut known = HashSet::new();
        let (mut stored, mut partition) = (vec![], vec![]);
        for field in self.reading.schema.fields() {
            let id = field_id(field).ok_or_else(|| no_id(field))?;
            known.insert(id);
            match self.is_constant(id) {
                _ if id == ROW_POSITION => (),
                true => partition.push(inner(field, id)),
                false => stored.push(inner(field, id)),
            }
        }
        stored.extend(keys.iter().filter(|(id, _)| !known.contains(id)).map(|(_, f)| Arc::clone(f)));
        if self.alike.by_number || self.alike.by_key {
            partition.push(Arc::new(Field::new(FILE, DataType::Int32, true)));
        }
        if lineage {
            partition.extend([SEQUENCE, FIRST_ROW].map(|name| Arc::new(Field::new(name, DataType::Int64, true))));
        }
        let inside = TableSchema::builder(Arc::new(Schema::new(stored))).with_table_partition_cols(partition);
        Ok(match self.numbers_rows() {
            true => {
                let position = Field::new(POSITION, DataType::Int64, false).with_extension_type(RowNumber);
                inside.with_virtual_columns(vec![Arc::new(position)]).build()
            }
            false => inside.build(),
        })
    }

    /// What the nodes above read of the scan: wanted columns in their order, each once, and then the rest.
    fn needed(&self, keys: &BTreeMap<i32, FieldRef>) -> Vec<String> {
        let stored = self.wanted_ids().filter(|id| *id != ROW_POSITION);
        let mut names: Vec<String> = stored.map(inner_name).collect();
        names.extend(keys.keys().copied().map(inner_name));
        let helpers: &[(&str, bool)] = &[
            (FILE, self.alike.by_number || self.alike.by_key),
            (POSITION, self.numbers_rows()),
            (SEQUENCE, self.wants_lineage()),
            (FIRST_ROW, self.wants_lineage()),
        ];
        names.extend(helpers.iter().filter(|(_, is_needed)| *is_needed).map(|(name, _)| name.to_string()));
        let mut seen = HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        names
    }

    fn wanted_ids(&self) -> impl Iterator<Item = i32> + '_ {
        self.wanted.iter().filter_map(|i| field_id(self.reading.schema.field(*i)))
    }

    /// The wanted columns under the names that the table gives them.
    fn named(&self, plan: Arc<dyn ExecutionPlan>) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let made = plan.schema();
        let column =
            |name: &str| -> PlanResult<Arc<dyn PhysicalExpr>> { Ok(Arc::new(Column::new_with_schema(name, &made)?)) };
        let mut named = vec![];
        for i in self.wanted {
            let field = self.reading.schema.field(*i);
            let id = field_id(field).ok_or_else(|| no_id(field))?;
            let own = || column(&inner_name(id));
            // A rewrite of a file writes down what its rows had inherited ("Row Lineage").
            let value = match id {
                ROW_ID => {
                    let row = BinaryExpr::new(column(FIRST_ROW)?, Operator::Plus, column(POSITION)?);
                    or(own()?, Arc::new(row))?
                }
                LAST_UPDATED => or(own()?, column(SEQUENCE)?)?,
                ROW_POSITION => column(POSITION)?,
                _ => own()?,
            };
            named.push((value, field.name().clone()));
        }
        Ok(Arc::new(ProjectionExec::try_new(named, plan)?))
    }
}

fn inner_name(id: i32) -> String {
    format!("#{id}")
}

fn inner(field: &Field, id: i32) -> FieldRef {
    Arc::new(field.clone().with_name(inner_name(id)))
}

fn no_id(field: &Field) -> Error {
    Error::internal(format!("column {} without its field id", field.name()))
}

/// `a`, or `b` where it is NULL.
fn or(a: Arc<dyn PhysicalExpr>, b: Arc<dyn PhysicalExpr>) -> PlanResult<Arc<dyn PhysicalExpr>> {
    let is_null: Arc<dyn PhysicalExpr> = Arc::new(IsNullExpr::new(Arc::clone(&a)));
    Ok(Arc::new(CaseExpr::try_new(None, vec![(is_null, b)], Some(a))?))
}

/// The scan's columns on which Parquet's own statistics may prune: theirs leave NaN out, and here NaN is greater than
/// everything, so a float column is trusted only where every file says that it has none.
fn trusted(scan: &Schema, parts: &[Part]) -> Vec<bool> {
    let without_nan = |field: &Field| {
        let id = field_id(field);
        id.is_some_and(|id| parts.iter().all(|p| p.file.data().nan_value_counts().get(&id) == Some(&0)))
    };
    let ok = |field: &FieldRef| match field.data_type() {
        DataType::Float32 | DataType::Float64 => without_nan(field),
        other => !holds_floats(other),
    };
    scan.fields().iter().map(ok).collect()
}

pub fn holds_floats(of: &DataType) -> bool {
    match of {
        DataType::Float32 | DataType::Float64 => true,
        DataType::Struct(fields) => fields.iter().any(|f| holds_floats(f.data_type())),
        DataType::List(element) => holds_floats(element.data_type()),
        DataType::Map(entries, _) => holds_floats(entries.data_type()),
        _ => false,
    }
}
