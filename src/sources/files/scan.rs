//! Files as a statement saw them, as a table, and its scan as a plan: lines here, Parquet by DataFusion's reader. Files
//! whose folders' names a filter rules out are not opened. Which files there are was decided when the statement began.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt64Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result as PlanResult};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::execution_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use object_store::ObjectStore;

use super::Spec;
use super::columns::Columns;
use super::fault::fault;
use super::list::Found;
use super::parquet;
use super::text::{TextFile, bytes};
use crate::error::{Error, Kind, Result};
use crate::formats::cut::Records;
use crate::formats::file::FileFormat as Format;
use crate::formats::record::{Decoder, Misfit, Record};
use crate::scan::{Scanned, leaf_properties, scan_by, shares};
use crate::sources::kafka::OnError;
use crate::types::{Reads, Share};

/// A batch ends at so many bytes of records even where those are few.
const BATCH_BYTES: usize = 4 << 20;

/// A table as one statement sees it: each scan reads the same files.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) spec: Arc<Spec>,
    pub(super) columns: Arc<Columns>,
    pub(super) files: Vec<Found>,
    /// Of each file what its folders' names say.
    pub(super) parts: RecordBatch,
    /// The files as they were found.
    pub(super) objects: Arc<dyn ObjectStore>,
}

#[derive(Debug)]
pub(super) struct Provider(pub(super) Arc<Seen>);

impl Seen {
    /// Knows the leaves of this table's scans.
    pub(super) fn reads(self: &Arc<Self>) -> Reads {
        let seen = Arc::clone(self);
        let locations: HashSet<_> = self.files.iter().map(|file| file.meta.location.clone()).collect();
        Arc::new(move |leaf| {
            if let Some(scan) = leaf.downcast_ref::<FilesExec>() {
                return Arc::ptr_eq(&scan.scan.seen.columns, &seen.columns).then_some(Share::WHOLE);
            }
            let source = leaf.downcast_ref::<DataSourceExec>()?;
            let files = (source.data_source().as_ref() as &dyn std::any::Any).downcast_ref::<FileScanConfig>()?;
            // Each table's store has a name of its own.
            let mut all = files.file_groups.iter().flat_map(|group| group.iter());
            let is_its = files.object_store_url == *seen.spec.store.url()
                && all.all(|file| locations.contains(&file.object_meta.location));
            is_its.then_some(Share::WHOLE)
        })
    }

    /// The filter speaks of nothing but folders' names, and means the same whenever it is asked.
    fn is_of_parts(&self, filter: &Expr) -> bool {
        let named = filter.column_refs();
        let is_part = |name: &str| self.columns.schema.index_of(name).is_ok_and(|at| self.columns.is_part(at));
        !named.is_empty() && !filter.is_volatile() && named.iter().all(|column| is_part(&column.name))
    }

    /// The files that rows of a statement may be in. A filter that cannot be computed leaves all of them, so that what is
    /// raised is raised where it would be without.
    fn chosen(&self, session: &dyn Session, filters: &[Expr]) -> Vec<usize> {
        let mut chosen: Vec<usize> = (0..self.files.len()).collect();
        let Ok(named) = DFSchema::try_from(self.parts.schema().as_ref().clone()) else { return chosen };
        for filter in filters.iter().filter(|filter| self.is_of_parts(filter)) {
            let passed = || -> PlanResult<BooleanArray> {
                let filter = session.create_physical_expr(filter.clone(), &named)?;
                let passed = filter.evaluate(&self.parts)?.into_array(self.files.len())?;
                Ok(arrow::array::AsArray::as_boolean(passed.as_ref()).clone())
            };
            if let Ok(passed) = passed() {
                chosen.retain(|at| arrow::array::Array::is_valid(&passed, *at) && passed.value(*at));
            }
        }
        chosen
    }
}

impl TableProvider for Provider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0.columns.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// A filter may rule files out, and of Parquet parts of them. It never decides a row.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> PlanResult<Vec<TableProviderFilterPushDown>> {
        let is_parquet = self.0.spec.config.format == Format::Parquet;
        let answer = |filter: &&Expr| match is_parquet || self.0.is_of_parts(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(answer).collect())
    }

    scan_by!(scanned);
}

impl Provider {
    fn scanned<'a>(
        &'a self,
        session: &'a dyn Session,
        projection: Option<&'a Vec<usize>>,
        filters: &'a [Expr],
        limit: Option<usize>,
    ) -> Scanned<'a> {
        Box::pin(async move {
            let seen = &self.0;
            let all = || (0..seen.columns.schema.fields().len()).collect();
            let projection: Vec<usize> = projection.cloned().unwrap_or_else(all);
            let schema = Arc::new(seen.columns.schema.project(&projection)?);
            let files = seen.chosen(session, filters);
            tracing::debug!(
                table = %seen.spec.name,
                files_read = files.len(),
                files_pruned = seen.files.len() - files.len(),
                "planned a scan of files"
            );
            if files.is_empty() {
                return Ok(Arc::new(EmptyExec::new(schema)) as Arc<dyn ExecutionPlan>);
            }
            // Rows are dropped above, so a limit counts only where nothing is filtered.
            let limit = limit.filter(|_| filters.is_empty());
            if seen.spec.config.format == Format::Parquet {
                return parquet::plan(session, seen, &files, &projection, limit).await;
            }
            let mut read: Vec<usize> = projection.iter().copied().filter(|at| !seen.columns.is_part(*at)).collect();
            read.sort_unstable();
            read.dedup();
            let lanes = if limit.is_some() { 1 } else { session.config().target_partitions() };
            let groups = grouped(&seen.files, files, lanes);
            let scan = Scan { seen: Arc::clone(seen), projection, read, schema, limit };
            Ok(Arc::new(FilesExec::new(Arc::new(scan), groups)) as Arc<dyn ExecutionPlan>)
        })
    }
}

/// Files in groups of about the same size, in their order within each.
fn grouped(files: &[Found], mut chosen: Vec<usize>, lanes: usize) -> Vec<Vec<usize>> {
    let size = |at: &usize| files.get(*at).map_or(0, |file| file.meta.size);
    chosen.sort_by_key(|at| std::cmp::Reverse(size(at)));
    let mut groups = shares(chosen, lanes, size);
    groups.iter_mut().for_each(|group| group.sort_unstable());
    groups
}

/// What is read of each file.
#[derive(Debug)]
struct Scan {
    seen: Arc<Seen>,
    /// Into the table's columns.
    projection: Vec<usize>,
    /// Those of the files, ascending.
    read: Vec<usize>,
    schema: SchemaRef,
    limit: Option<usize>,
}

/// Lines of files: each partition reads some of the files, one after the other.
#[derive(Debug)]
struct FilesExec {
    scan: Arc<Scan>,
    groups: Vec<Vec<usize>>,
    properties: Arc<PlanProperties>,
}

impl FilesExec {
    fn new(scan: Arc<Scan>, groups: Vec<Vec<usize>>) -> Self {
        let properties = leaf_properties(&scan.schema, groups.len());
        Self { scan, groups, properties }
    }
}

impl DisplayAs for FilesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let files: usize = self.groups.iter().map(Vec::len).sum();
        write!(f, "FilesExec: table={}, files={files}", self.scan.seen.spec.name)?;
        self.scan.limit.map_or(Ok(()), |limit| write!(f, ", limit={limit}"))
    }
}

impl ExecutionPlan for FilesExec {
    fn name(&self) -> &str {
        "FilesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> PlanResult<TreeNodeRecursion>,
    ) -> PlanResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> PlanResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> PlanResult<SendableRecordBatchStream> {
        let files = self.groups.get(partition).ok_or_else(|| Error::internal("FilesExec has fewer partitions"))?;
        let reading = Reading {
            scan: Arc::clone(&self.scan),
            files: files.iter().copied().collect(),
            open: None,
            made: None,
            rows_max: context.session_config().batch_size().max(1),
            rows_left: self.scan.limit.unwrap_or(usize::MAX),
            misfits: 0,
            memory: MemoryConsumer::new("FilesExec").register(context.memory_pool()),
        };
        let next = |mut reading: Reading| async move {
            let batch = reading.next().await.map_err(DataFusionError::from)?;
            Ok(batch.map(|batch| (batch, reading)))
        };
        let stream = futures::stream::try_unfold(reading, next);
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.scan.schema), stream)))
    }
}

/// A partition's files under way.
struct Reading {
    scan: Arc<Scan>,
    files: VecDeque<usize>,
    open: Option<Open>,
    /// What reads files whose first line is this one; many have the same.
    made: Option<(Option<Vec<String>>, Option<Decoder>)>,
    rows_max: usize,
    rows_left: usize,
    misfits: usize,
    memory: MemoryReservation,
}

struct Open {
    at: usize,
    text: TextFile,
    /// `None` where no value is read.
    decoder: Option<Decoder>,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        while self.rows_left > 0 {
            let mut open = match self.open.take() {
                Some(open) => open,
                None => match self.files.pop_front() {
                    Some(at) => match self.open(at).await? {
                        Some(open) => open,
                        None => continue,
                    },
                    None => break,
                },
            };
            let mut records = Records::default();
            let records_max = self.rows_max.min(self.rows_left);
            let is_last = open.text.next(records_max, BATCH_BYTES, &mut records).await?;
            self.hold(records.bytes())?;
            let batch = self.batch(&open, &records)?;
            self.hold(batch.get_array_memory_size())?;
            if !is_last {
                self.open = Some(open);
            }
            if batch.num_rows() > 0 {
                self.rows_left -= batch.num_rows().min(self.rows_left);
                return Ok(Some(batch));
            }
        }
        if std::mem::take(&mut self.misfits) > 0 {
            tracing::warn!(table = %self.scan.seen.spec.name, "lines of files do not fit the columns");
        }
        Ok(None)
    }

    async fn open(&mut self, at: usize) -> Result<Option<Open>> {
        let seen = &self.scan.seen;
        let file = seen.files.get(at).ok_or_else(|| Error::internal("a file beyond those that were found"))?;
        let table = &seen.spec.config;
        let mut text = TextFile::open(&seen.spec, &seen.objects, file).await?;
        let mut names = None;
        if table.format == Format::Csv && table.csv.header {
            names = text.header().await?;
            if names.is_none() {
                return Ok(None);
            }
        }
        let decoder = match &self.made {
            Some((known, decoder)) if *known == names => decoder.clone(),
            _ => {
                let made = seen.columns.decoder(table, names.as_deref(), &self.scan.read);
                let unfit = |error: Error| match error.kind() {
                    Kind::InvalidText => fault(&file.name, Some(1), format_args!("the first line {}", error.message())),
                    _ => error,
                };
                let decoder = made.map_err(unfit)?;
                self.made = Some((names, decoder.clone()));
                decoder
            }
        };
        Ok(Some(Open { at, text, decoder }))
    }

    fn batch(&mut self, open: &Open, records: &Records) -> Result<RecordBatch> {
        let on_error = self.scan.seen.spec.config.on_error;
        let decoded = match &open.decoder {
            None => None,
            Some(decoder) => {
                let record = |at| Record { value: Some(bytes(records, at)), ..Record::default() };
                let lines: Vec<Record<'_>> = (0..records.len()).map(record).collect();
                let misfit = if on_error == OnError::Null { Misfit::Null } else { Misfit::Leave };
                let decoded = decoder.decode(&lines, misfit)?;
                if let (OnError::Error, Some(found)) = (on_error, decoded.faults.first()) {
                    let line = Some(records.line(found.index));
                    let name = open.text.name();
                    let error = match &found.column {
                        None => fault(name, line, format_args!("the record {}", found.problem)),
                        Some(column) => fault(name, line, format_args!("column \"{column}\" {}", found.problem)),
                    };
                    return Err(match self.scan.seen.columns.inferred {
                        true => error.with_hint("The columns were told from some of the records: declare `columns`."),
                        false => error,
                    });
                }
                self.misfits += decoded.faults.len();
                Some(decoded.changed.rows)
            }
        };
        let rows = decoded.as_ref().map_or(records.len(), RecordBatch::num_rows);
        let columns = &self.scan.seen.columns;
        let mut arrays: Vec<ArrayRef> = vec![];
        for (field, at) in self.scan.schema.fields().iter().zip(&self.scan.projection) {
            let array = match columns.is_part(*at) {
                true => {
                    let of_files = self.scan.seen.parts.column(at - columns.stored.len());
                    take(of_files, &UInt64Array::from_value(open.at as u64, rows), None)?
                }
                false => {
                    let found = decoded.as_ref().and_then(|rows| rows.column_by_name(field.name()));
                    found.map_or_else(|| new_null_array(field.data_type(), rows), Arc::clone)
                }
            };
            arrays.push(array);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.scan.schema), arrays, &options)?)
    }

    fn hold(&self, bytes: usize) -> Result<()> {
        self.memory.try_resize(bytes).map_err(|error| {
            let text = "lines of files do not fit into the memory that a statement may use";
            Error::new(Kind::TooLarge, text).with_source(error)
        })
    }
}
