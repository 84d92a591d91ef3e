//! One scan: `COPY (SELECT …) TO STDOUT (FORMAT binary)` as a plan and a stream. It decides nothing about filters;
//! `pushdown` does.

use std::collections::HashSet;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Statistics;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result as PlanResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::DynamicFilterPhysicalExpr;
use datafusion::physical_plan::execution_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation, PushedDown,
};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;
use futures::stream::{BoxStream, ReadyChunks};
use tokio::time::timeout;
use tokio_postgres::{Client, Statement as Prepared};

use super::connect::{Lease, Misfit, Pool, Use};
use super::late::{self, Comparable};
use super::pushdown::{self, Statement};
use super::relations::{Column, NUMERIC, PLACE, Relation};
use super::rows;
use super::text::Text;
use super::transaction::{Transaction, Unread};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::copy::CopyDecoder;
use crate::scan::{Scanned, leaf_properties, scan_by};
use crate::types::Share;

/// A batch ends at so many bytes of the stream even where its rows are few.
const BATCH_BYTES: usize = 4 << 20;
/// Messages taken at once when they have arrived already: one timer for all of them.
const CHUNK: usize = 256;

/// A relation as one statement sees it.
#[derive(Debug)]
pub(super) struct Provider {
    relation: Arc<Relation>,
    transaction: Option<Arc<Transaction>>,
    /// Of a table that a statement changes, the relation's columns and behind them its place's.
    placed: Option<(SchemaRef, Vec<Column>)>,
}

impl Provider {
    pub(super) fn new(relation: Arc<Relation>, transaction: Option<Arc<Transaction>>, placed: bool) -> Self {
        let placed = placed.then(|| {
            let fields = relation.schema.fields().iter().cloned().chain(relation.place());
            let place = PLACE.map(|name| Column::of_system(name, &relation));
            let columns = relation.columns.iter().cloned().chain(place).collect();
            (Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns)
        });
        Self { relation, transaction, placed }
    }

    pub(super) fn relation(&self) -> &Arc<Relation> {
        &self.relation
    }

    pub(super) fn transaction(&self) -> Option<&Arc<Transaction>> {
        self.transaction.as_ref()
    }

    /// It has the places of rows.
    pub(super) fn is_placed(&self) -> bool {
        self.placed.is_some()
    }

    fn fields(&self) -> &SchemaRef {
        self.placed.as_ref().map_or(&self.relation.schema, |(schema, _)| schema)
    }

    fn columns(&self) -> &[Column] {
        self.placed.as_ref().map_or(&self.relation.columns, |(_, columns)| columns)
    }
}

impl TableProvider for Provider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.fields())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Never `Exact`: a policy's filter may be among them, and its FilterExec stays above.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> PlanResult<Vec<TableProviderFilterPushDown>> {
        let answer = |filter: &&Expr| match pushdown::predicate(self.fields(), self.columns(), filter) {
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
                    all = (0..self.columns().len()).collect();
                    &all
                }
            };
            let of = (&self.relation.remote, self.fields().as_ref(), self.columns());
            let statement = pushdown::select(of, projection, filters, limit)?;
            let schema = Arc::new(self.fields().project(projection)?);
            let columns = projection.iter().filter_map(|i| self.columns().get(*i).cloned()).collect();
            let (pool, tables) = (Arc::clone(&self.relation.pool), vec![self.relation.oid]);
            let (asked, transaction) = (Asked::Columns(columns), self.transaction.clone());
            let scan = Scan { pool, transaction, tables, statement, schema, asked, rows: None };
            Ok(Arc::new(PostgresExec::new(scan)) as Arc<dyn ExecutionPlan>)
        })
    }
}

/// What is asked, and what must come back.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) pool: Arc<Pool>,
    /// Where that has begun, it is read in it.
    pub(super) transaction: Option<Arc<Transaction>>,
    /// Oids of the relations that it reads.
    pub(super) tables: Vec<u32>,
    pub(super) statement: Statement,
    pub(super) schema: SchemaRef,
    pub(super) asked: Asked,
    /// A guess of how many there are.
    pub(super) rows: Option<f64>,
}

/// How it is known what comes.
#[derive(Debug)]
pub(super) enum Asked {
    /// Columns of one relation: the source describes its answer first, and that they are still these is checked.
    Columns(Vec<Column>),
    /// The text casts each to the type with this oid, and reads tables whose columns are as the probes say.
    Types { columns: Vec<Comparable>, probes: Arc<[Probe]> },
    /// Columns of a text that is its reader's own, by their places: the source describes it once more.
    Text { text: Arc<Text>, columns: Vec<usize> },
}

/// A table of a text: a query of its columns, and what they must be.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) sql: String,
    pub(super) columns: Vec<Column>,
}

/// Rows of one SELECT, one partition. It connects when its stream is first polled.
#[derive(Debug)]
pub(super) struct PostgresExec {
    scan: Arc<Scan>,
    properties: Arc<PlanProperties>,
    /// Conditions that become known while the query runs, as it was offered them …
    offered: Vec<Arc<dyn PhysicalExpr>>,
    /// … and those of them that are waited for.
    late: Vec<Arc<dyn PhysicalExpr>>,
}

impl PostgresExec {
    pub(super) fn new(scan: Scan) -> Self {
        let properties = leaf_properties(&scan.schema, 1);
        Self { scan: Arc::new(scan), properties, offered: vec![], late: vec![] }
    }

    /// Which of `leaf`'s relations this one of this source is.
    pub(in crate::sources) fn share(leaf: &dyn ExecutionPlan, pool: &Arc<Pool>, oid: u32) -> Option<Share> {
        let scan = &leaf.downcast_ref::<Self>()?.scan;
        let nth = scan.tables.iter().position(|table| *table == oid && Arc::ptr_eq(&scan.pool, pool))?;
        Some(Share { nth, of: scan.tables.len() })
    }

    /// It runs this very text.
    pub(super) fn runs(leaf: &dyn ExecutionPlan, text: &Arc<Text>) -> bool {
        let asked = leaf.downcast_ref::<Self>().map(|exec| &exec.scan.asked);
        matches!(asked, Some(Asked::Text { text: ours, .. }) if Arc::ptr_eq(ours, text))
    }

    pub(super) fn sql(&self) -> &str {
        &self.scan.statement.sql
    }

    /// Waits for what these producers offered; `None` where they offered nothing.
    pub(super) fn listening(&self, to: &HashSet<u64>) -> Option<Self> {
        let heard = |e: &&Arc<dyn PhysicalExpr>| e.expression_id().is_some_and(|id| to.contains(&id));
        let late: Vec<_> = self.offered.iter().filter(heard).cloned().collect();
        let (scan, properties) = (Arc::clone(&self.scan), Arc::clone(&self.properties));
        (!late.is_empty()).then(|| Self { scan, properties, offered: self.offered.clone(), late })
    }
}

impl DisplayAs for PostgresExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "PostgresExec: source={}, sql={}", self.scan.pool.source(), self.scan.statement.shape)
    }
}

impl ExecutionPlan for PostgresExec {
    /// The joins that would have told are made anew with it, and tell nobody.
    fn reset_state(self: Arc<Self>) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let (scan, properties) = (Arc::clone(&self.scan), Arc::clone(&self.properties));
        Ok(Arc::new(Self { scan, properties, offered: vec![], late: vec![] }))
    }

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
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> PlanResult<TreeNodeRecursion>,
    ) -> PlanResult<TreeNodeRecursion> {
        for condition in &self.offered {
            if f(condition)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    /// Keys of a join are kept to be sent, where a text was printed whose columns can be compared; the join looks itself all
    /// the same.
    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        result: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> PlanResult<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let filters = vec![PushedDown::No; result.parent_filters.len()];
        let is_late = |e: &Arc<dyn PhysicalExpr>| e.is::<DynamicFilterPhysicalExpr>();
        let theirs = result.parent_filters.iter().map(|of| Arc::clone(&of.filter)).filter(is_late);
        let offered: Vec<_> = self.offered.iter().cloned().chain(theirs).collect();
        let keeps = phase == FilterPushdownPhase::Post && matches!(self.scan.asked, Asked::Types { .. });
        let updated_node = (keeps && offered.len() > self.offered.len()).then(|| {
            let (scan, properties) = (Arc::clone(&self.scan), Arc::clone(&self.properties));
            Arc::new(Self { scan, properties, offered, late: vec![] }) as Arc<dyn ExecutionPlan>
        });
        Ok(FilterPushdownPropagation { filters, updated_node })
    }

    /// A guess, for the order of joins.
    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], _: &StatisticsArgs) -> PlanResult<Arc<Statistics>> {
        let mut known = Statistics::new_unknown(&self.scan.schema);
        if let Some(rows) = self.scan.rows {
            // saturates
            known.num_rows = Precision::Inexact(rows as usize);
        }
        Ok(Arc::new(known))
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
        let start = State::Start(Arc::clone(&self.scan), self.late.clone());
        let stream = futures::stream::try_unfold(start, move |state| async move {
            state.next(rows_max).await.map_err(DataFusionError::from)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.scan.schema), stream)))
    }
}

/// A stream before, amid and after its rows. Dropped amid them, the lease cancels.
enum State {
    Start(Arc<Scan>, Vec<Arc<dyn PhysicalExpr>>),
    Rows(Box<Rows>),
    End,
}

/// What COPY in binary sends, or would have sent.
type Messages = BoxStream<'static, Result<Bytes>>;
type Sent = BoxStream<'static, Result<Bytes, tokio_postgres::Error>>;

struct Rows {
    pool: Arc<Pool>,
    scan: Arc<Scan>,
    copy: Pin<Box<ReadyChunks<Messages>>>,
    decoder: CopyDecoder,
    /// None of a transaction's.
    lease: Option<Lease>,
}

impl State {
    async fn next(self, rows_max: usize) -> Result<Option<(RecordBatch, State)>> {
        let rows = match self {
            State::Start(scan, late) => Box::new(scan.open(&late).await?),
            State::Rows(rows) => rows,
            State::End => return Ok(None),
        };
        rows.next(rows_max).await
    }
}

impl Rows {
    async fn next(mut self: Box<Self>, rows_max: usize) -> Result<Option<(RecordBatch, State)>> {
        while self.decoder.rows() < rows_max && self.decoder.bytes() < BATCH_BYTES {
            let Ok(arrived) = timeout(self.scan.patience(), self.copy.next()).await else {
                return Err(self.pool.silent());
            };
            let Some(messages) = arrived else { return self.end() };
            for message in messages {
                self.decoder.feed(&message?).map_err(|e| garbled(&self.scan, e))?;
            }
        }
        let batch = self.decoder.take()?;
        Ok(Some((batch, State::Rows(self))))
    }

    /// The server said that this is all; the stream itself has to say so too.
    fn end(mut self) -> Result<Option<(RecordBatch, State)>> {
        self.decoder.finish().map_err(|e| garbled(&self.scan, e))?;
        let batch = self.decoder.take()?;
        if let Some(lease) = self.lease {
            lease.finish();
        }
        Ok((batch.num_rows() > 0).then_some((batch, State::End)))
    }
}

impl Scan {
    /// Begins the COPY. A connection that lay idle may be dead without our knowing: then, before any row, the next one
    /// is tried.
    async fn open(self: &Arc<Self>, late: &[Arc<dyn PhysicalExpr>]) -> Result<Rows> {
        let sql = &self.statement.sql;
        let narrowed = match &self.asked {
            Asked::Types { columns, .. } if !late.is_empty() => late::narrowed(sql, &self.schema, columns, late).await,
            Asked::Types { .. } | Asked::Columns(_) | Asked::Text { .. } => None,
        };
        let sql = narrowed.as_ref().unwrap_or(sql);
        if let Some(transaction) = self.transaction.as_ref().filter(|transaction| transaction.reads()) {
            return self.open_in(transaction, sql).await;
        }
        loop {
            let lease = self.pool.lease(self.asked.used_for()).await?;
            match self.start(&lease, sql).await {
                Ok((copy, oids)) => return self.rows(copy, &oids, Some(lease)),
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

    fn rows(self: &Arc<Self>, copy: Messages, oids: &[u32], lease: Option<Lease>) -> Result<Rows> {
        let decoder = CopyDecoder::new(Arc::clone(&self.schema), oids)?;
        let copy = Box::pin(copy.ready_chunks(CHUNK));
        Ok(Rows { pool: Arc::clone(&self.pool), scan: Arc::clone(self), copy, decoder, lease })
    }

    /// On the transaction's connection, which others have in between.
    async fn open_in(self: &Arc<Self>, transaction: &Arc<Transaction>, sql: &str) -> Result<Rows> {
        let turn = transaction.turn().await?;
        let oids = self.checked(turn.client(), sql).await?;
        let messages = transaction.opened(turn, sql).await?.map_err(|error| self.failed(error))?;
        let scan = Arc::clone(self);
        let messages = messages.map(move |message| {
            message.map_err(|unread| match unread {
                Unread::Lost(error) => error,
                Unread::Refused(error) => scan.failed(error),
            })
        });
        self.rows(messages.boxed(), &oids, None)
    }

    /// The types in which its columns come, of tables that are what they were when it was planned.
    async fn checked(&self, client: &Client, sql: &str) -> Result<Vec<u32>> {
        match &self.asked {
            Asked::Columns(columns) => check(&self.pool.within(client.prepare(sql)).await?, columns),
            Asked::Types { columns, probes } => {
                // The text names columns; rights are those of the columns that had the names when it was planned.
                for probe in probes.iter() {
                    check(&self.pool.within(client.prepare(&probe.sql)).await?, &probe.columns)?;
                }
                Ok(columns.iter().map(|column| column.oid).collect())
            }
            Asked::Text { text, columns } => Ok(columns.iter().filter_map(|at| text.asked_oid(*at)).collect()),
        }
    }

    async fn start(self: &Arc<Self>, lease: &Lease, sql: &str) -> Result<(Messages, Vec<u32>)> {
        if let Asked::Text { text, .. } = &self.asked {
            text.begin(lease).await?;
        }
        let oids = self.checked(lease.client(), sql).await?;
        match timeout(self.patience(), self.messages(lease, sql)).await {
            Ok(started) => {
                let (started, scan) = (started.map_err(|e| self.failed(e))?, Arc::clone(self));
                Ok((started.map(move |message| message.map_err(|e| scan.failed(e))).boxed(), oids))
            }
            Err(_) => Err(self.pool.silent()),
        }
    }

    async fn messages(&self, lease: &Lease, sql: &str) -> Result<Sent, tokio_postgres::Error> {
        if self.pool.dialect.copies {
            let copy = format!("COPY ({sql}) TO STDOUT (FORMAT binary)");
            return Ok(lease.client().copy_out(&copy).await?.boxed());
        }
        let nothing: [&str; 0] = [];
        Ok(rows::as_copied(lease.client().query_raw(sql, nothing).await?))
    }

    fn patience(&self) -> Duration {
        match &self.asked {
            Asked::Types { .. } | Asked::Text { .. } => self.pool.compute_timeout,
            Asked::Columns(_) => self.pool.read_timeout,
        }
    }

    /// What was printed computes with values that its reader may see, and fails as it would here.
    fn failed(&self, error: tokio_postgres::Error) -> Error {
        match &self.asked {
            Asked::Types { .. } => self.pool.computed(error),
            Asked::Text { .. } => self.pool.told(error),
            Asked::Columns(_) => self.pool.failed(error),
        }
    }
}

impl Asked {
    fn used_for(&self) -> Use {
        match self {
            Asked::Columns(_) | Asked::Types { .. } => Use::Tables,
            Asked::Text { .. } => Use::Texts,
        }
    }
}

/// The columns are those that the statement was planned with.
fn check(prepared: &Prepared, columns: &[Column]) -> Result<Vec<u32>> {
    let found = prepared.columns();
    let same = |(found, column): (&tokio_postgres::Column, &Column)| {
        let digits = column.oid != NUMERIC || found.type_modifier() == column.typmod;
        // a column that was dropped and made anew has the name and the type of the old one, and none of its rights
        let same_column = found.column_id().is_none_or(|id| id == column.attnum);
        found.type_().oid() == column.oid && digits && same_column
    };
    if found.len() != columns.len() || !found.iter().zip(columns).all(same) {
        return Err(Error::new(Kind::CachedPlanChanged, "cached plan must not change result type"));
    }
    Ok(found.iter().map(|c| c.type_().oid()).collect())
}

/// A broken stream is the source's fault. A value that its column's type here cannot hold is remembered, so that the column is
/// read otherwise from now on.
fn garbled(scan: &Scan, error: Error) -> Error {
    let found = match error.kind() {
        Kind::InvalidBinary => {
            let text = format!("source \"{}\" failed", scan.pool.source());
            return Error::new(Kind::SourceFailed, text).with_source(error);
        }
        Kind::NumericRange => Misfit { numerics: true, arrays: false },
        Kind::Unsupported => Misfit { numerics: false, arrays: true },
        _ => return error,
    };
    if matches!(scan.asked, Asked::Text { .. }) {
        return error.with_hint("Cast the column to text in the query.");
    }
    scan.pool.misfits(&scan.tables, found);
    let text = format!("source \"{}\" holds a value that its column's type cannot hold here", scan.pool.source());
    Error::new(Kind::Conflict, text)
        // of our own making: it names the column
        .with_detail(error.message().to_owned())
        .with_hint("From now on such columns are read as they are; run the statement again.")
        .with_source(error)
}
