//! The rows of such a part, by its partitions: a task fills each from the part's stream, and places read from the first row
//! on at their own pace. No place waits for another one, or two sides of a join could wait for each other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::spill_file::SpillFile;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, SpillMetrics};
use datafusion::physical_plan::spill::get_record_batch_memory_size;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, SpillManager};
use futures::StreamExt;
use futures::stream::{BoxStream, try_unfold};
use tokio::sync::watch;

use crate::error::Error;

pub(super) struct Rows {
    schema: SchemaRef,
    parts: Vec<Arc<Part>>,
}

impl Rows {
    pub(super) fn new(input: &Arc<dyn ExecutionPlan>) -> Self {
        let parts = (0..input.output_partitioning().partition_count()).map(|_| Arc::default());
        Self { schema: input.schema(), parts: parts.collect() }
    }

    /// They have its columns, in as many partitions.
    pub(super) fn are_of(&self, input: &Arc<dyn ExecutionPlan>) -> bool {
        let schema = input.schema();
        let types = self.schema.fields().iter().map(|field| field.data_type());
        self.parts.len() == input.output_partitioning().partition_count()
            && types.eq(schema.fields().iter().map(|field| field.data_type()))
    }

    #[cfg(test)]
    pub(super) fn lie_on_disk(&self) -> bool {
        let is_file = |piece: &Piece| matches!(piece.place, Place::File(_));
        self.parts.iter().any(|part| part.kept().pieces.iter().any(is_file))
    }

    /// `input`: the part's stream, if nobody has asked for it yet.
    pub(super) fn read(
        &self,
        partition: usize,
        input: impl FnOnce() -> Result<SendableRecordBatchStream>,
        context: &Arc<TaskContext>,
        metrics: BaselineMetrics,
    ) -> Result<SendableRecordBatchStream> {
        let absent = || Error::internal(format!("partition {partition} of {}", self.parts.len()));
        let part = self.parts.get(partition).ok_or_else(absent)?;
        let spills = SpillMetrics::new(&ExecutionPlanMetricsSet::new(), partition);
        let spill = SpillManager::new(context.runtime_env(), spills, Arc::clone(&self.schema));
        {
            let mut task = part.task.lock().unwrap_or_else(PoisonError::into_inner);
            if task.is_none() {
                let memory = MemoryConsumer::new("common table expression").with_can_spill(true);
                part.kept().memory = Some(memory.register(context.memory_pool()));
                *task = Some(SpawnedTask::spawn(fill(Arc::clone(part), input()?, spill.clone())));
            }
        }
        let reader =
            Reader { part: Arc::clone(part), seen: part.grown.subscribe(), spill, metrics, at: (0, 0), file: None };
        let rows =
            try_unfold(reader, |mut reader| async move { Ok(reader.next().await?.map(|batch| (batch, reader))) });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows)))
    }
}

/// One partition.
#[derive(Default)]
struct Part {
    kept: Mutex<Kept>,
    /// Told when there are more rows, or no more to come.
    grown: watch::Sender<()>,
    /// It ends with the plan.
    task: Mutex<Option<SpawnedTask<()>>>,
}

#[derive(Default)]
struct Kept {
    pieces: Vec<Piece>,
    /// Of the pieces that lie in memory.
    memory: Option<MemoryReservation>,
    end: Option<std::result::Result<(), Arc<DataFusionError>>>,
}

/// Batches one after the other. Only the last piece grows, and only in memory.
struct Piece {
    batches: usize,
    place: Place,
}

#[derive(Clone)]
enum Place {
    Memory(Vec<RecordBatch>),
    File(Arc<dyn SpillFile>),
}

impl Part {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, batch: RecordBatch) {
        let mut kept = self.kept();
        match kept.pieces.last_mut() {
            Some(Piece { batches, place: Place::Memory(rows) }) => {
                rows.push(batch);
                *batches += 1;
            }
            Some(_) | None => kept.pieces.push(Piece { batches: 1, place: Place::Memory(vec![batch]) }),
        }
        drop(kept);
        self.grown.send_replace(());
    }

    fn reserve(&self, bytes: usize) -> Result<()> {
        self.kept().memory.as_mut().map_or(Ok(()), |memory| memory.try_grow(bytes))
    }

    /// What lies in memory goes to disk, `batch` behind it.
    fn spill(&self, batch: &RecordBatch, spill: &SpillManager) -> Result<()> {
        let last = match self.kept().pieces.last() {
            Some(Piece { place: Place::Memory(rows), .. }) => rows.clone(),
            Some(_) | None => vec![],
        };
        let file = |rows: &[RecordBatch]| {
            let file = spill.spill_record_batch_and_finish(rows, "common table expression")?;
            file.ok_or_else(|| DataFusionError::from(Error::internal("a file of no rows")))
        };
        let last = if last.is_empty() { None } else { Some(Place::File(file(&last)?)) };
        let piece = Piece { batches: 1, place: Place::File(file(std::slice::from_ref(batch))?) };
        let mut kept = self.kept();
        if let (Some(place), Some(piece)) = (last, kept.pieces.last_mut()) {
            piece.place = place;
        }
        kept.pieces.push(piece);
        if let Some(memory) = &mut kept.memory {
            memory.free();
        }
        drop(kept);
        self.grown.send_replace(());
        Ok(())
    }

    fn end(&self, how: Result<()>) {
        self.kept().end.get_or_insert(how.map_err(Arc::new));
        self.grown.send_replace(());
    }
}

async fn fill(part: Arc<Part>, input: SendableRecordBatchStream, spill: SpillManager) {
    // who reads is told of a panic too
    let ended = Ended(part);
    let how = filled(&ended.0, input, &spill).await;
    ended.0.end(how);
}

async fn filled(part: &Part, mut input: SendableRecordBatchStream, spill: &SpillManager) -> Result<()> {
    while let Some(batch) = input.next().await {
        let batch = batch?;
        if batch.num_rows() == 0 {
            continue;
        }
        match part.reserve(get_record_batch_memory_size(&batch)) {
            Ok(()) => part.push(batch),
            Err(_) => part.spill(&batch, spill)?,
        }
    }
    Ok(())
}

struct Ended(Arc<Part>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.end(Err(Error::internal("a common table expression ended amid its rows").into()));
    }
}

struct Reader {
    part: Arc<Part>,
    seen: watch::Receiver<()>,
    spill: SpillManager,
    metrics: BaselineMetrics,
    /// The piece, and the batch in it.
    at: (usize, usize),
    /// Of the piece that is read, from `at` on.
    file: Option<(usize, BoxStream<'static, Result<RecordBatch>>)>,
}

enum Step {
    Rows(RecordBatch),
    File(Arc<dyn SpillFile>),
    Next,
    Wait,
    End(std::result::Result<(), Arc<DataFusionError>>),
}

impl Reader {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            // before the look: what comes after it is seen
            self.seen.borrow_and_update();
            match self.step() {
                Step::Rows(batch) => return Ok(Some(self.read(batch))),
                Step::File(file) => {
                    let batch = self.from(file).await?;
                    return Ok(Some(self.read(batch)));
                }
                Step::Next => self.at = (self.at.0 + 1, 0),
                Step::Wait => {
                    let gone = || DataFusionError::from(Error::internal("rows that nobody brings"));
                    self.seen.changed().await.map_err(|_| gone())?;
                }
                Step::End(Ok(())) => return Ok(None),
                Step::End(Err(error)) => return Err(DataFusionError::Shared(error)),
            }
        }
    }

    fn step(&self) -> Step {
        let (piece, batch) = self.at;
        let kept = self.part.kept();
        match kept.pieces.get(piece) {
            Some(found) if batch < found.batches => match &found.place {
                Place::Memory(rows) => match rows.get(batch) {
                    Some(rows) => Step::Rows(rows.clone()),
                    None => Step::End(Err(Arc::new(Error::internal("a batch that is not there").into()))),
                },
                Place::File(file) => Step::File(Arc::clone(file)),
            },
            Some(_) if piece + 1 < kept.pieces.len() => Step::Next,
            Some(_) | None => match &kept.end {
                Some(how) => Step::End(how.clone()),
                None => Step::Wait,
            },
        }
    }

    fn read(&mut self, batch: RecordBatch) -> RecordBatch {
        self.at.1 += 1;
        self.metrics.record_output(batch.num_rows());
        batch
    }

    async fn from(&mut self, file: Arc<dyn SpillFile>) -> Result<RecordBatch> {
        let (piece, batch) = self.at;
        let mut rows = match self.file.take() {
            Some((of, rows)) if of == piece => rows,
            Some(_) | None => self.spill.read_spill_as_stream_unbuffered(file, None)?.skip(batch).boxed(),
        };
        let read = rows.next().await;
        self.file = Some((piece, rows));
        read.unwrap_or_else(|| Err(Error::internal("a file of fewer rows than were written").into()))
    }
}
