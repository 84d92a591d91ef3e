//! Makes a physical plan's operators stop and yield: DataFusion's joins and aggregates work through whatever lies in
//! memory without a pause, and ask nobody whether the client still wants it. It changes no row and reads no table.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, RecordBatchStream};
use futures::{Stream, StreamExt};

use super::stop::Stop;

/// A stream that was busy for this long lets the other work of its threads run.
const SLICE: Duration = Duration::from_millis(10);

/// The same plan, which ends with 57014 soon after `stop` says so. Every inner node asks it at each batch; conditions of
/// joins ask it each time they are computed, since a join whose condition is never true makes no batch at all.
pub(super) fn pace(plan: Arc<dyn ExecutionPlan>, stop: &Stop) -> Result<Arc<dyn ExecutionPlan>> {
    let paced = plan.transform_up(|node| {
        if node.children().is_empty() {
            return Ok(Transformed::no(node));
        }
        let input = conditioned(node, stop)?;
        let properties = Arc::clone(input.properties());
        Ok(Transformed::yes(Arc::new(PaceExec { input, properties, stop: stop.clone() }) as Arc<dyn ExecutionPlan>))
    })?;
    Ok(paced.data)
}

fn conditioned(node: Arc<dyn ExecutionPlan>, stop: &Stop) -> Result<Arc<dyn ExecutionPlan>> {
    let asking = |filter: &JoinFilter| {
        let inner = Arc::clone(filter.expression());
        let asking = Arc::new(Asking { inner, stop: stop.clone() });
        JoinFilter::new(asking, filter.column_indices().to_vec(), Arc::clone(filter.schema()))
    };
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>()
        && let Some(filter) = join.filter()
    {
        return Ok(Arc::new(NestedLoopJoinExecBuilder::from(join).with_filter(Some(asking(filter))).build()?));
    }
    if let Some(join) = node.downcast_ref::<HashJoinExec>()
        && let Some(filter) = join.filter()
    {
        return join.builder().with_filter(Some(asking(filter))).build_exec();
    }
    Ok(node)
}

/// Its input, batch by batch.
#[derive(Debug)]
struct PaceExec {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    stop: Stop,
}

impl DisplayAs for PaceExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("PaceExec")
    }
}

impl ExecutionPlan for PaceExec {
    fn name(&self) -> &str {
        "PaceExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.swap_remove(0);
        let properties = Arc::clone(input.properties());
        Ok(Arc::new(Self { input, properties, stop: self.stop.clone() }))
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.swap_remove(0);
        let properties = Arc::clone(input.properties());
        Ok(Arc::new(Self { input, properties, stop: self.stop.clone() }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        Ok(Box::pin(Paced { input, stop: self.stop.clone(), busy_since: None, ended: false }))
    }
}

struct Paced {
    input: SendableRecordBatchStream,
    stop: Stop,
    /// Since when nobody below had to wait for anything.
    busy_since: Option<Instant>,
    ended: bool,
}

impl Stream for Paced {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Err(error) = self.stop.check() {
            self.ended = true;
            return Poll::Ready(Some(Err(error.into())));
        }
        let since = *self.busy_since.get_or_insert_with(Instant::now);
        if since.elapsed() > SLICE {
            self.busy_since = None;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = self.input.poll_next_unpin(cx);
        if polled.is_pending() {
            self.busy_since = None;
        }
        Poll::Ready(ready!(polled))
    }
}

impl RecordBatchStream for Paced {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}

/// A join's condition that first asks whether the statement is still wanted. Two are equal when their conditions are: who
/// asks does not change what they say.
#[derive(Debug)]
struct Asking {
    inner: Arc<dyn PhysicalExpr>,
    stop: Stop,
}

impl PartialEq for Asking {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Asking {}

impl Hash for Asking {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for Asking {
    fn data_type(&self, input: &Schema) -> Result<DataType> {
        self.inner.data_type(input)
    }

    fn nullable(&self, input: &Schema) -> Result<bool> {
        self.inner.nullable(input)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.stop.check()?;
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self { inner: children.swap_remove(0), stop: self.stop.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::physical_plan::collect;
    use datafusion::prelude::SessionContext;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::error::{Error, Kind};

    /// Starts `sql` on this thread, lets it work, pulls its stop, and waits for its end.
    async fn stopped(sql: &str) -> Kind {
        let session = SessionContext::new();
        let plan = session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let stop = Stop::new(&CancellationToken::new(), None);
        let work = tokio::spawn(collect(pace(plan, &stop).unwrap(), session.task_ctx()));
        // the only thread: who does not yield never lets us pull
        tokio::task::yield_now().await;
        stop.pull();
        Error::from(work.await.unwrap().unwrap_err()).kind()
    }

    #[tokio::test]
    async fn an_aggregate_that_never_waits_yields_and_stops() {
        assert_eq!(
            stopped("SELECT count(*), sum(value) FROM generate_series(1, 1000000000000)").await,
            Kind::Cancelled
        );
    }

    /// Pulled from another thread: the join makes no batch after which it could yield.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_join_whose_condition_is_never_true_stops() {
        for condition in ["(a.value * b.value) % 7 = 8", "a.value % 2 = b.value % 2 AND a.value + b.value = -1"] {
            let sql = format!(
                "SELECT count(*) FROM generate_series(1, 300000) a JOIN generate_series(1, 300000) b ON {condition}"
            );
            assert_eq!(stopped(&sql).await, Kind::Cancelled, "{condition}");
        }
    }

    #[tokio::test]
    async fn a_plan_that_is_let_be_gives_its_rows() {
        let session = SessionContext::new();
        let sql =
            "SELECT a.value FROM generate_series(1, 3) a JOIN generate_series(1, 3) b ON a.value > b.value ORDER BY 1";
        let plan = session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let stop = Stop::new(&CancellationToken::new(), Some(Instant::now() + Duration::from_secs(60)));
        let rows = collect(pace(plan, &stop).unwrap(), session.task_ctx()).await.unwrap();
        assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
    }
}
