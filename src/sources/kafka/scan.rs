//! A window of a topic as a table, and its scan as a plan. `read` does the reading.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result as PlanResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::stream::{RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::TryStreamExt;

use super::client::Client;
use super::columns::Layout;
use super::read::{self, Scan};
use super::window::{Bounds, Span};
use crate::error::Error;
use crate::scan::{Scanned, scan_by};

/// Batches that are decoded and not yet asked for.
const AHEAD: usize = 2;

/// A topic as one statement sees it: each scan reads the same offsets.
#[derive(Debug)]
pub(super) struct Provider {
    client: Arc<Client>,
    topic: String,
    layout: Arc<Layout>,
    window: Vec<Span>,
}

impl Provider {
    pub(super) fn new(client: Arc<Client>, topic: String, layout: Arc<Layout>, window: Vec<Span>) -> Self {
        Self { client, topic, layout, window }
    }
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
        let answer = |filter: &&Expr| match Bounds::understood(filter) {
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
        _: &'a dyn Session,
        projection: Option<&'a Vec<usize>>,
        filters: &'a [Expr],
        limit: Option<usize>,
    ) -> Scanned<'a> {
        Box::pin(async move {
            let all = || (0..self.layout.schema.fields().len()).collect();
            let projection = projection.cloned().unwrap_or_else(all);
            let schema = Arc::new(self.layout.schema.project(&projection)?);
            let bounds = Bounds::of(filters);
            let properties = PlanProperties::new(
                EquivalenceProperties::new(Arc::clone(&schema)),
                Partitioning::UnknownPartitioning(1),
                EmissionType::Incremental,
                Boundedness::Bounded,
            );
            let scan = Scan {
                client: Arc::clone(&self.client),
                topic: self.topic.clone(),
                layout: Arc::clone(&self.layout),
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
        let start = async move {
            let schema = Arc::clone(&scan.schema);
            let mut builder = RecordBatchReceiverStreamBuilder::new(schema, AHEAD);
            // A window without records needs no consumer.
            if !scan.spans.is_empty() && scan.limit != Some(0) {
                let permit = scan.client.scan_permit().await?;
                let out = builder.tx();
                builder.spawn_blocking(move || {
                    let _permit = permit;
                    read::run(&scan, rows_max, &out).map_err(DataFusionError::from)
                });
            }
            Ok::<_, DataFusionError>(builder.build())
        };
        let stream = futures::stream::once(start).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.scan.schema), stream)))
    }
}
