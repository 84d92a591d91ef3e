//! One scan: `COPY (SELECT …) TO STDOUT (FORMAT binary)` as a plan and a stream. It decides nothing about filters;
//! `pushdown` does.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result as PlanResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::StreamExt;
use futures::stream::ReadyChunks;
use tokio::time::timeout;
use tokio_postgres::{CopyOutStream, Statement as Prepared};

use super::connect::{Lease, Pool};
use super::pushdown::{self, Statement};
use super::relations::{Column, Relation};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::copy::CopyDecoder;
use crate::scan::{Scanned, scan_by};

/// A batch ends at so many bytes of the stream even where its rows are few.
const BATCH_BYTES: usize = 4 << 20;
/// Messages taken at once when they have arrived already: one timer for all of them.
const CHUNK: usize = 256;
const NUMERIC: u32 = 1700;

/// A relation as one statement sees it.
#[derive(Debug)]
pub(super) struct Provider(Arc<Relation>);

impl Provider {
    pub(super) fn new(relation: Arc<Relation>) -> Self {
        Self(relation)
    }
}

impl TableProvider for Provider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Never `Exact`: a policy's filter may be among them, and its FilterExec stays above.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> PlanResult<Vec<TableProviderFilterPushDown>> {
        let answer = |filter: &&Expr| match pushdown::predicate(&self.0.schema, &self.0.columns, filter) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(answer).collect())
    }

    scan_by!(scanned);
}

impl Provider {
    fn scanned<'a>(
        &'a self,
        _: &'a dyn Session,
        projection: Option<&'a Vec<usize>>,
        filters: &'a [Expr],
        limit: Option<usize>,
    ) -> Scanned<'a> {
        Box::pin(async move {
            let all: Vec<usize>;
            let projection = match projection {
                Some(some) => some,
                None => {
                    all = (0..self.0.columns.len()).collect();
                    &all
                }
            };
            let statement = pushdown::select(&self.0, projection, filters, limit)?;
            let schema = Arc::new(self.0.schema.project(projection)?);
            let columns = projection.iter().filter_map(|i| self.0.columns.get(*i).cloned()).collect();
            let properties = PlanProperties::new(
                EquivalenceProperties::new(Arc::clone(&schema)),
                Partitioning::UnknownPartitioning(1),
                EmissionType::Incremental,
                Boundedness::Bounded,
            );
            let scan = Scan { pool: Arc::clone(&self.0.pool), oid: self.0.oid, statement, schema, columns };
            let scan = PostgresExec { scan: Arc::new(scan), properties: Arc::new(properties) };
            Ok(Arc::new(scan) as Arc<dyn ExecutionPlan>)
        })
    }
}

/// What is asked, and what must come back.
#[derive(Debug)]
struct Scan {
    pool: Arc<Pool>,
    /// Of the relation.
    oid: u32,
    statement: Statement,
    schema: SchemaRef,
    columns: Vec<Column>,
}

/// Rows of one relation, one partition. It connects when its stream is first polled.
#[derive(Debug)]
pub(super) struct PostgresExec {
    scan: Arc<Scan>,
    properties: Arc<PlanProperties>,
}

impl PostgresExec {
    /// `leaf` reads this relation of this source.
    pub(in crate::sources) fn is_over(leaf: &dyn ExecutionPlan, pool: &Arc<Pool>, oid: u32) -> bool {
        leaf.downcast_ref::<Self>().is_some_and(|p| Arc::ptr_eq(&p.scan.pool, pool) && p.scan.oid == oid)
    }
}

impl DisplayAs for PostgresExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "PostgresExec: source={}, sql={}", self.scan.pool.source(), self.scan.statement.shape)
    }
}

impl ExecutionPlan for PostgresExec {
    fn name(&self) -> &str {
        "PostgresExec"
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
        if partition != 0 {
            return Err(Error::internal("PostgresExec has one partition").into());
        }
        let rows_max = context.session_config().batch_size();
        let start = State::Start(Arc::clone(&self.scan));
        let stream = futures::stream::try_unfold(start, move |state| async move {
            state.next(rows_max).await.map_err(DataFusionError::from)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.scan.schema), stream)))
    }
}

/// A stream before, amid and after its rows. Dropped amid them, the lease cancels.
enum State {
    Start(Arc<Scan>),
    Rows(Box<Rows>),
    End,
}

struct Rows {
    pool: Arc<Pool>,
    copy: Pin<Box<ReadyChunks<CopyOutStream>>>,
    decoder: CopyDecoder,
    lease: Lease,
}

impl State {
    async fn next(self, rows_max: usize) -> Result<Option<(RecordBatch, State)>> {
        let rows = match self {
            State::Start(scan) => Box::new(scan.open().await?),
            State::Rows(rows) => rows,
            State::End => return Ok(None),
        };
        rows.next(rows_max).await
    }
}

impl Rows {
    async fn next(mut self: Box<Self>, rows_max: usize) -> Result<Option<(RecordBatch, State)>> {
        while self.decoder.rows() < rows_max && self.decoder.bytes() < BATCH_BYTES {
            let Ok(arrived) = timeout(self.pool.read_timeout, self.copy.next()).await else {
                return Err(self.pool.silent());
            };
            let Some(messages) = arrived else { return self.end() };
            for message in messages {
                let bytes = message.map_err(|e| self.pool.failed(e))?;
                self.decoder.feed(&bytes).map_err(|e| garbled(&self.pool, e))?;
            }
        }
        let batch = self.decoder.take()?;
        Ok(Some((batch, State::Rows(self))))
    }

    /// The server said that this is all; the stream itself has to say so too.
    fn end(mut self) -> Result<Option<(RecordBatch, State)>> {
        self.decoder.finish().map_err(|e| garbled(&self.pool, e))?;
        let batch = self.decoder.take()?;
        self.lease.finish();
        Ok((batch.num_rows() > 0).then_some((batch, State::End)))
    }
}

impl Scan {
    /// Begins the COPY. A connection that lay idle may be dead without our knowing: then, before any row, the next one
    /// is tried.
    async fn open(&self) -> Result<Rows> {
        loop {
            let lease = self.pool.lease().await?;
            match self.start(&lease).await {
                Ok((copy, oids)) => {
                    let decoder = CopyDecoder::new(Arc::clone(&self.schema), &oids)?;
                    let copy = Box::pin(copy.ready_chunks(CHUNK));
                    return Ok(Rows { pool: Arc::clone(&self.pool), copy, decoder, lease });
                }
                Err(_) if lease.used && lease.client().is_closed() => lease.discard(),
                Err(error) => {
                    // The server answered, if only with a refusal: nothing runs that would have to be cancelled.
                    if error.kind() != Kind::SourceUnreachable {
                        lease.finish();
                    }
                    return Err(error);
                }
            }
        }
    }

    async fn start(&self, lease: &Lease) -> Result<(CopyOutStream, Vec<u32>)> {
        let sql = &self.statement.sql;
        let prepared = self.pool.within(lease.client().prepare(sql)).await?;
        let oids = self.check(&prepared)?;
        let copy = format!("COPY ({sql}) TO STDOUT (FORMAT binary)");
        Ok((self.pool.within(lease.client().copy_out(&copy)).await?, oids))
    }

    /// The columns are those that the statement was planned with.
    fn check(&self, prepared: &Prepared) -> Result<Vec<u32>> {
        let found = prepared.columns();
        let same = |(found, column): (&tokio_postgres::Column, &Column)| {
            let digits = column.oid != NUMERIC || found.type_modifier() == column.typmod;
            // a column that was dropped and made anew has the name and the type of the old one, and none of its rights
            let same_column = found.column_id().is_none_or(|id| id == column.attnum);
            found.type_().oid() == column.oid && digits && same_column
        };
        if found.len() != self.columns.len() || !found.iter().zip(&self.columns).all(same) {
            return Err(Error::new(Kind::CachedPlanChanged, "cached plan must not change result type"));
        }
        Ok(found.iter().map(|c| c.type_().oid()).collect())
    }
}

/// A value that does not fit is the reader's to know, a broken stream the source's fault.
fn garbled(pool: &Pool, error: Error) -> Error {
    match error.kind() {
        Kind::InvalidBinary => {
            Error::new(Kind::SourceFailed, format!("source \"{}\" failed", pool.source())).with_source(error)
        }
        _ => error,
    }
}
