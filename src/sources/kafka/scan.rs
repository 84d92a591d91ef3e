//! A window of a topic as a table, and its scan as a plan. `read` does the reading.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result as PlanResult};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::stream::{RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SortOrderPushdownResult};
use futures::TryStreamExt;

use super::client::Client;
use super::columns::{Layout, Origin};
use super::read::{self, Scan};
use super::registry::Registry;
use super::window::{Bounds, Span};
use super::{Mode, OnError};
use crate::error::Error;
use crate::formats::record::{Decoder, Envelope};
use crate::scan::{Scanned, ordered_leaf_properties, scan_by, shares};

/// Batches that are decoded and not yet asked for.
const AHEAD: usize = 2;

/// A topic as one statement sees it: each scan reads the same offsets.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) client: Arc<Client>,
    pub(super) topic: String,
    pub(super) layout: Arc<Layout>,
    pub(super) registry: Option<Arc<Registry>>,
    pub(super) window: Vec<Span>,
}

impl TableProvider for Provider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.layout.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// What speaks of partitions and offsets alone is the window itself; other filters narrow it and stay above.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> PlanResult<Vec<TableProviderFilterPushDown>> {
        // Which record of a key is the last is asked of all records, not of those that a filter leaves.
        let all = self.layout.mode == Mode::Latest;
        let answer = |filter: &&Expr| match (Bounds::exact(filter), Bounds::understood(filter)) {
            _ if all => TableProviderFilterPushDown::Unsupported,
            (true, _) => TableProviderFilterPushDown::Exact,
            (false, true) => TableProviderFilterPushDown::Inexact,
            (false, false) => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(answer).collect())
    }

    scan_by!(scanned);
}

impl Provider {
    /// What reads the asked columns, and which declared ones it reads. Where a record that does not fit is an error, what
    /// is not asked for is not read; else whether it fits must not depend on what is asked.
    fn decoder(&self, projection: &[usize]) -> (Option<Decoder>, Vec<usize>) {
        let Layout { decoder, on_error, mode, origins, .. } = self.layout.as_ref();
        let all = || (0..decoder.schema().fields().len()).collect::<Vec<_>>();
        if *on_error != OnError::Error || *mode == Mode::Latest {
            return (Some(decoder.clone()), all());
        }
        let declared = |column: &usize| match origins.get(*column) {
            Some(Origin::After(column) | Origin::Before(column)) => Some(*column),
            _ => None,
        };
        let mut read: Vec<usize> = projection.iter().filter_map(declared).collect();
        // Which values were left out is asked of all of them.
        if projection.iter().any(|column| origins.get(*column) == Some(&Origin::Unchanged)) {
            read = all();
        }
        read.sort_unstable();
        read.dedup();
        match read.len() {
            // Each record is a row.
            0 if decoder.envelope() == Envelope::None => (None, read),
            count if count == decoder.schema().fields().len() => (Some(decoder.clone()), read),
            _ => (Some(decoder.only(&read)), read),
        }
    }

    fn scanned<'a>(
        &'a self,
        state: &'a dyn Session,
        projection: Option<&'a Vec<usize>>,
        filters: &'a [Expr],
        limit: Option<usize>,
    ) -> Scanned<'a> {
        Box::pin(async move {
            let all = || (0..self.layout.schema.fields().len()).collect();
            let projection = projection.cloned().unwrap_or_else(all);
            let schema = Arc::new(self.layout.schema.project(&projection)?);
            let latest = self.layout.mode == Mode::Latest;
            let bounds = Bounds::of(if latest { &[] } else { filters });
            let exact = !latest && filters.iter().all(Bounds::exact);
            // Below a filter that stays above, a limit would cut rows that it wants.
            let limit = limit.filter(|_| exact || filters.is_empty());
            let spans = bounds.narrow(&self.window);
            let lanes = state.config().target_partitions().min(self.client.scans_max / 4);
            let groups = if latest || limit.is_some() { vec![spans] } else { grouped(spans, lanes) };
            let (decoder, read) = self.decoder(&projection);
            let scan = |spans| {
                Arc::new(Scan {
                    client: Arc::clone(&self.client),
                    topic: self.topic.clone(),
                    layout: Arc::clone(&self.layout),
                    registry: self.registry.clone(),
                    decoder: decoder.clone(),
                    read: read.clone(),
                    spans,
                    since: bounds.since,
                    projection: projection.clone(),
                    schema: Arc::clone(&schema),
                    limit,
                    order: None,
                })
            };
            let scan = KafkaExec::new(groups.into_iter().map(scan).collect(), &schema, None);
            Ok(Arc::new(scan) as Arc<dyn ExecutionPlan>)
        })
    }
}

/// A scan of fewer records has one consumer: a second one costs more than it brings.
const SHARED_RECORDS_MIN: u64 = 50_000;

/// Spans in groups of about the same size, at most so many.
fn grouped(spans: Vec<Span>, lanes: usize) -> Vec<Vec<Span>> {
    let size = |span: &Span| u64::try_from(span.end - span.start).unwrap_or(0);
    let all: u64 = spans.iter().map(size).sum();
    if all < SHARED_RECORDS_MIN {
        return vec![spans];
    }
    shares(spans, lanes, size)
}

/// Records of one topic: each partition of ours reads some of Kafka's, by a consumer of its own.
#[derive(Clone, Debug)]
pub(super) struct KafkaExec {
    scans: Vec<Arc<Scan>>,
    properties: Arc<PlanProperties>,
}

impl KafkaExec {
    fn new(scans: Vec<Arc<Scan>>, schema: &SchemaRef, order: Option<LexOrdering>) -> Self {
        let orders = EquivalenceProperties::new_with_orderings(Arc::clone(schema), order);
        let properties = ordered_leaf_properties(orders, scans.len());
        Self { scans, properties }
    }

    fn first(&self) -> Option<&Scan> {
        self.scans.first().map(Arc::as_ref)
    }

    /// `leaf` reads the table of this layout.
    pub(super) fn is_over(leaf: &dyn ExecutionPlan, layout: &Arc<Layout>) -> bool {
        let reads = |scan: &Scan| Arc::ptr_eq(&scan.layout, layout);
        leaf.downcast_ref::<Self>().and_then(Self::first).is_some_and(reads)
    }
}

impl DisplayAs for KafkaExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let Some(Scan { client, topic, limit, order, .. }) = self.first() else { return Ok(()) };
        let spans: usize = self.scans.iter().map(|scan| scan.spans.len()).sum();
        write!(f, "KafkaExec: source={}, topic={topic}, partitions={spans}", client.source())?;
        limit.map_or(Ok(()), |limit| write!(f, ", limit={limit}"))?;
        order.as_ref().map_or(Ok(()), |order| write!(f, ", order=[{order}]"))
    }
}

impl ExecutionPlan for KafkaExec {
    fn name(&self) -> &str {
        "KafkaExec"
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

    /// Of offsets from the last on: whoever wants the last rows stops there, and the others are not read.
    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
    ) -> PlanResult<SortOrderPushdownResult<Arc<dyn ExecutionPlan>>> {
        let last_first = |key: &PhysicalSortExpr| {
            let column = key.expr.downcast_ref::<Column>();
            let offset =
                |column: &Column| self.first().and_then(|scan| scan.origin(column.index())) == Some(Origin::Offset);
            key.options.descending && column.is_some_and(offset)
        };
        let plain = |scan: &Scan| scan.layout.mode == Mode::Changelog && scan.limit.is_none() && scan.since.is_none();
        let plain = self.first().is_some_and(|scan| plain(scan) && scan.order.is_none());
        match (order.first().is_some_and(last_first) && plain, LexOrdering::new(order.to_vec())) {
            (true, Some(order)) => {
                // One order over all, so one consumer.
                let spans = self.scans.iter().flat_map(|scan| scan.spans.clone()).collect();
                let Some(first) = self.first() else { return Ok(SortOrderPushdownResult::Unsupported) };
                let scan = Scan { spans, order: Some(order.clone()), ..first.clone() };
                let inner = KafkaExec::new(vec![Arc::new(scan)], &first.schema, Some(order));
                Ok(SortOrderPushdownResult::Exact { inner: Arc::new(inner) })
            }
            _ => Ok(SortOrderPushdownResult::Unsupported),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> PlanResult<SendableRecordBatchStream> {
        let scan = self.scans.get(partition).ok_or_else(|| Error::internal("KafkaExec has fewer partitions"))?;
        let (scan, rows_max) = (Arc::clone(scan), context.session_config().batch_size());
        let schema = Arc::clone(&scan.schema);
        let memory = MemoryConsumer::new("KafkaExec").register(context.memory_pool());
        let start = async move {
            let schema = Arc::clone(&scan.schema);
            let mut builder = RecordBatchReceiverStreamBuilder::new(schema, AHEAD);
            // A window without records needs no consumer.
            if !scan.spans.is_empty() && scan.limit != Some(0) {
                let permit = scan.client.scan_permit().await?;
                let out = builder.tx();
                builder.spawn_blocking(move || {
                    let _permit = permit;
                    read::run(&scan, rows_max, memory, &out).map_err(DataFusionError::from)
                });
            }
            Ok::<_, DataFusionError>(builder.build())
        };
        let stream = futures::stream::once(start).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
    }
}
