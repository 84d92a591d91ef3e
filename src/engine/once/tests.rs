//! The rows of a part that several places read: one run, by pieces in memory and on disk.

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::error::Result;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt, stream};
use std::sync::Arc;

use super::rows::Rows;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

/// A thousand rows from `first` on.
fn batch(first: i64) -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(first..first + 1_000));
    RecordBatch::try_new(schema(), vec![numbers]).unwrap()
}

fn stream_of(batches: Vec<Result<RecordBatch>>) -> SendableRecordBatchStream {
    Box::pin(RecordBatchStreamAdapter::new(schema(), stream::iter(batches)))
}

fn within(bytes: usize) -> Arc<TaskContext> {
    let pool = Arc::new(GreedyMemoryPool::new(bytes));
    let runtime: RuntimeEnv = RuntimeEnvBuilder::new().with_memory_pool(pool).build().unwrap();
    Arc::new(TaskContext::default().with_runtime(Arc::new(runtime)))
}

fn place(rows: &Rows, context: &Arc<TaskContext>, batches: Vec<Result<RecordBatch>>) -> SendableRecordBatchStream {
    let metrics = BaselineMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
    rows.read(0, move || Ok(stream_of(batches)), context, metrics).unwrap()
}

fn nobody_runs(rows: &Rows, context: &Arc<TaskContext>) -> SendableRecordBatchStream {
    let metrics = BaselineMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
    rows.read(0, || panic!("it is run a second time"), context, metrics).unwrap()
}

fn broken_batch() -> Result<RecordBatch> {
    panic!("as it is meant to")
}

fn numbers(batches: &[RecordBatch]) -> Vec<i64> {
    batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

/// With room for everything, for a few batches, and for none.
#[tokio::test]
async fn each_place_reads_all_rows_of_one_run() {
    for (bytes, on_disk) in [(1 << 20, false), (20_000, true), (0, true)] {
        let context = within(bytes);
        let rows = Rows::new(&(Arc::new(EmptyExec::new(schema())) as _));
        let all: Vec<RecordBatch> = (0..7).map(|n| batch(n * 1_000)).collect();
        let expected: Vec<i64> = (0..7_000).collect();

        let mut slow = place(&rows, &context, all.iter().cloned().map(Ok).collect());
        let begun = slow.next().await.unwrap().unwrap();
        let quick: Vec<RecordBatch> = nobody_runs(&rows, &context).try_collect().await.unwrap();
        assert_eq!(numbers(&quick), expected, "{bytes}");
        assert_eq!(rows.lie_on_disk(), on_disk, "{bytes}");
        // its first batch was in memory then
        let rest: Vec<RecordBatch> = slow.try_collect().await.unwrap();
        assert_eq!(numbers(&[vec![begun], rest].concat()), expected, "{bytes}");
        let late: Vec<RecordBatch> = nobody_runs(&rows, &context).try_collect().await.unwrap();
        assert_eq!(numbers(&late), expected, "{bytes}");
    }
}

#[tokio::test]
async fn a_fault_reaches_each_place_after_the_rows_before_it() {
    let context = within(1 << 20);
    let rows = Rows::new(&(Arc::new(EmptyExec::new(schema())) as _));
    let fault = || datafusion::error::DataFusionError::Execution("gone".into());
    let mut first = place(&rows, &context, vec![Ok(batch(0)), Err(fault())]);
    for place in [&mut first, &mut nobody_runs(&rows, &context)] {
        assert_eq!(place.next().await.unwrap().unwrap().num_rows(), 1_000);
        assert!(place.next().await.unwrap().unwrap_err().to_string().contains("gone"));
    }
}

#[tokio::test]
async fn a_place_that_goes_leaves_the_rows_to_the_others() {
    let context = within(1 << 20);
    let rows = Rows::new(&(Arc::new(EmptyExec::new(schema())) as _));
    let mut gone = place(&rows, &context, (0..5).map(|n| Ok(batch(n * 1_000))).collect());
    gone.next().await.unwrap().unwrap();
    drop(gone);
    let others: Vec<RecordBatch> = nobody_runs(&rows, &context).try_collect().await.unwrap();
    assert_eq!(numbers(&others).len(), 5_000);
}

#[tokio::test]
async fn a_part_that_panics_is_an_error_at_each_place() {
    let context = within(1 << 20);
    let rows = Rows::new(&(Arc::new(EmptyExec::new(schema())) as _));
    let metrics = BaselineMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
    let broken = || {
        let rows = stream::once(async { broken_batch() });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema(), rows)) as SendableRecordBatchStream)
    };
    let mut first = rows.read(0, broken, &context, metrics).unwrap();
    first.next().await.unwrap().unwrap_err();
    nobody_runs(&rows, &context).next().await.unwrap().unwrap_err();
}
