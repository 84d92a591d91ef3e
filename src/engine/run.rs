//! Drives a guarded plan: rows under deadline, cancel token and memory budget, counted as they leave. It plans nothing.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::physical_plan::{ExecutionPlan, collect};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::assign;
use super::audit::Record;
use super::lanes::Lanes;
use super::pipeline::{Origin, Ready};
use super::stop::Stop;
use crate::error::{Error, Kind, Result};
use crate::policy::guard::OpenedObject;
use crate::reflection::results::Answer;

/// A result: columns by PostgreSQL's names, and batches. Dropping it ends the statement.
pub struct Rows {
    schema: SchemaRef,
    tag: Cow<'static, str>,
    stream: SendableRecordBatchStream,
    bounds: Bounds,
    /// Of the statement whose answer they are; none for the rows that a statement writes. Boxed: an answer without rows is
    /// small.
    record: Option<Box<Record>>,
    /// What it reads, for [`super::Session::recheck`].
    pub(crate) opened: Vec<OpenedObject>,
    /// Of a cursor that was declared BINARY.
    binary: bool,
    /// Of what outlives its statement: dropped with the rows, it ends them.
    guard: Option<DropGuard>,
}

/// What ends a statement besides its own end.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    pub(crate) cancel: CancellationToken,
    pub(crate) deadline: Option<Instant>,
}

impl Bounds {
    /// The same for work that is not polled.
    pub(crate) fn stop(&self) -> Stop {
        Stop::new(&self.cancel, self.deadline)
    }

    /// `work`, unless the statement is cancelled or its time is up.
    pub(crate) async fn hold<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Error::new(Kind::Cancelled, "canceling statement due to user request")),
            done = in_time(self.deadline, work) => done,
        }
    }
}

/// `work`, unless the statement's time is up before.
pub(crate) async fn in_time<T>(deadline: Option<Instant>, work: impl Future<Output = Result<T>>) -> Result<T> {
    let late = async {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = late => Err(Error::new(Kind::Cancelled, "canceling statement due to statement timeout")),
        done = work => done,
    }
}

/// run: accepts only what was guarded, and verified unless its answer is there already.
pub(crate) fn run(lanes: &Lanes, ready: Ready, bounds: Bounds) -> Result<Rows> {
    let Ready { rows, columns, guarded, cache: _, used: _, saw: _, parts: _, changes: _, notices: _ } = ready;
    let opened = guarded.opened().to_vec();
    let stream = match rows {
        Origin::Stored(answer) => answer.stream(),
        Origin::Plan { physical, state, flight } => {
            let rows = lanes.stream(physical, state.task_ctx())?;
            match flight {
                Some(flight) => flight.follow(rows),
                None => rows,
            }
        }
    };
    let found = stream.schema();
    let same = found.fields().len() == columns.fields().len()
        && found.fields().iter().zip(columns.fields()).all(|(a, b)| a.data_type() == b.data_type());
    // a Describe that was answered otherwise cannot be taken back
    if !same {
        return Err(Error::internal(format!("rows of {found:?} where {columns:?} was described")));
    }
    Ok(Rows { schema: columns, tag: "SELECT".into(), stream, bounds, record: None, opened, binary: false, guard: None })
}

/// A row over no table (`SELECT 1`): threads of its own would cost it more than it does.
pub(crate) fn is_one_row(plan: &dyn ExecutionPlan) -> bool {
    match plan.name() {
        "PlaceholderRowExec" | "EmptyExec" => true,
        "ProjectionExec" | "FilterExec" | "CooperativeExec" | "PaceExec" => {
            plan.children().iter().all(|child| is_one_row(child.as_ref()))
        }
        _ => false,
    }
}

/// Computes such a row where it was planned.
pub(crate) async fn at_once(plan: Arc<dyn ExecutionPlan>, state: &SessionState) -> Result<Arc<Answer>> {
    let schema = plan.schema();
    let batches = collect(plan, state.task_ctx()).await.map_err(Error::behind_guard)?;
    Ok(Arc::new(Answer::new(schema, batches)))
}

impl Rows {
    /// Rows that were computed here (SHOW).
    pub(crate) fn computed(tag: &'static str, batch: RecordBatch, bounds: Bounds) -> Self {
        let schema = batch.schema();
        let rows = futures::stream::once(async move { Ok(batch) });
        let stream = datafusion::physical_plan::stream::RecordBatchStreamAdapter::new(Arc::clone(&schema), rows);
        let stream = Box::pin(stream);
        Self { schema, tag: tag.into(), stream, bounds, record: None, opened: vec![], binary: false, guard: None }
    }

    /// Rows of a cursor, perhaps some of those to come.
    pub(crate) fn fetched(
        tag: &'static str,
        schema: SchemaRef,
        rows: BoxStream<'static, DataFusionResult<RecordBatch>>,
        bounds: Bounds,
        opened: Vec<OpenedObject>,
        binary: bool,
    ) -> Self {
        let stream = datafusion::physical_plan::stream::RecordBatchStreamAdapter::new(Arc::clone(&schema), rows);
        Self { schema, tag: tag.into(), stream: Box::pin(stream), bounds, record: None, opened, binary, guard: None }
    }

    /// What RETURNING shows of a statement that is done; the tag says what it did.
    pub(crate) fn returned(
        tag: String,
        schema: SchemaRef,
        shown: Vec<RecordBatch>,
        bounds: Bounds,
        opened: Vec<OpenedObject>,
    ) -> Self {
        let named = Arc::clone(&schema);
        let shown = shown.into_iter().map(move |batch| {
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            Ok(RecordBatch::try_new_with_options(Arc::clone(&named), batch.columns().to_vec(), &options)?)
        });
        let rows = futures::stream::iter(shown).boxed();
        Self { tag: tag.into(), ..Self::fetched("SELECT", schema, rows, bounds, opened, false) }
    }

    /// Which end when they are dropped.
    pub(crate) fn ending(mut self, guard: DropGuard) -> Self {
        self.guard = Some(guard);
        self
    }

    /// Whether values are binary where nobody said in which format they should be.
    pub fn is_binary(&self) -> bool {
        self.binary
    }

    /// Of COPY.
    pub(crate) fn copied(mut self) -> Self {
        self.tag = "COPY".into();
        self
    }

    /// Whose end is the statement's.
    pub(crate) fn recorded(mut self, record: Record) -> Self {
        self.record = Some(Box::new(record));
        self
    }

    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The command tag once that many rows were sent; SHOW and EXPLAIN do not count theirs.
    pub fn tag(&self, sent: usize) -> String {
        match self.tag.as_ref() {
            counted @ ("SELECT" | "FETCH" | "COPY") => format!("{counted} {sent}"),
            other => other.to_string(),
        }
    }

    /// The next batch; `None` at the end. After an error there is nothing more.
    pub async fn next(&mut self) -> Option<Result<RecordBatch>> {
        let stream = &mut self.stream;
        let next = self.bounds.hold(async { stream.next().await.transpose().map_err(Error::behind_guard) }).await;
        match next {
            Ok(Some(batch)) => {
                if let Some(record) = &mut self.record {
                    record.rows += batch.num_rows() as u64;
                }
                Some(Ok(batch))
            }
            Ok(None) => {
                if let Some(record) = self.record.take() {
                    record.done();
                }
                None
            }
            Err(error) => {
                self.fail(&error);
                Some(Err(error))
            }
        }
    }

    /// The statement ends with this error, whoever found it; there is nothing more to fetch.
    pub fn fail(&mut self, error: &Error) {
        if let Some(record) = self.record.take() {
            record.failed(error);
        }
    }

    /// For INSERT and CREATE TABLE AS: the same rows, under the same bounds, as a DataFusion stream of `schema`. `order`:
    /// for each of its columns, which of ours; `None` is NULL.
    pub(crate) fn into_stream(self, order: Option<Vec<Option<usize>>>, schema: SchemaRef) -> SendableRecordBatchStream {
        let order = order.unwrap_or_else(|| (0..schema.fields().len()).map(Some).collect());
        let shape = Arc::new((order, Arc::clone(&schema)));
        let rows = futures::stream::unfold(self, move |mut rows| {
            let shape = Arc::clone(&shape);
            async move {
                let batch = rows.next().await?;
                Some((batch.and_then(|b| assign::fit(&b, &shape.0, &shape.1)).map_err(Into::into), rows))
            }
        });
        Box::pin(datafusion::physical_plan::stream::RecordBatchStreamAdapter::new(schema, rows))
    }
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("schema", &self.schema).finish_non_exhaustive()
    }
}
