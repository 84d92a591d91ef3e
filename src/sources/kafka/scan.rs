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
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::stream::{RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::TryStreamExt;

use super::client::Client;
use super::columns::{Layout, Origin};
use super::read::{self, Scan};
use super::registry::Registry;
use super::window::{Bounds, Span};
use super::{Mode, OnError};
use crate::error::Error;
use crate::formats::record::{Decoder, Envelope};
use crate::scan::{Scanned, scan_by};

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

    /// Filters only narrow the window; the FilterExec above stays.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> PlanResult<Vec<TableProviderFilterPushDown>> {
        // Which record of a key is the last is asked of all records, not of those that a filter leaves.
        let all = self.layout.mode == Mode::Latest;
        let answer = |filter: &&Expr| match !all && Bounds::understood(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
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
        _: &'a dyn Session,
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
            let properties = PlanProperties::new(
                EquivalenceProperties::new(Arc::clone(&schema)),
                Partitioning::UnknownPartitioning(1),
                EmissionType::Incremental,
                Boundedness::Bounded,
            );
            let (decoder, read) = self.decoder(&projection);
            let scan = Scan {
                decoder,
                read,
                client: Arc::clone(&self.client),
                topic: self.topic.clone(),
                layout: Arc::clone(&self.layout),
                registry: self.registry.clone(),
                spans: bounds.narrow(&self.window),
                since: bounds.since,
                projection,
                schema,
                // Below a filter that stays above, a limit would cut rows that it wants.
                limit: limit.filter(|_| filters.is_empty()),
            };
            let scan = KafkaExec { scan: Arc::new(scan), properties: Arc::new(properties) };
            Ok(Arc::new(scan) as Arc<dyn ExecutionPlan>)
        })
    }
}

/// Records of one topic, one partition of ours for all of Kafka's.
#[derive(Debug)]
pub(super) struct KafkaExec {
    scan: Arc<Scan>,
    properties: Arc<PlanProperties>,
}

impl KafkaExec {
    /// `leaf` reads this topic of this source.
    pub(in crate::sources) fn is_over(leaf: &dyn ExecutionPlan, client: &Arc<Client>, topic: &str) -> bool {
        leaf.downcast_ref::<Self>().is_some_and(|k| Arc::ptr_eq(&k.scan.client, client) && k.scan.topic == topic)
    }
}

impl DisplayAs for KafkaExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let Scan { client, topic, spans, limit, .. } = self.scan.as_ref();
        write!(f, "KafkaExec: source={}, topic={topic}, partitions={}", client.source(), spans.len())?;
        limit.map_or(Ok(()), |limit| write!(f, ", limit={limit}"))
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

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> PlanResult<SendableRecordBatchStream> {
        if partition != 0 {
            return Err(Error::internal("KafkaExec has one partition").into());
        }
        let (scan, rows_max) = (Arc::clone(&self.scan), context.session_config().batch_size());
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
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.scan.schema), stream)))
    }
}
