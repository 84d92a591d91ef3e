//! One batch → files → one commit that also moves the position. It reads nothing from an origin and judges no outcome
//! beyond what `lake` says of it; whoever calls begins again from the table after an error.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, stream};

use super::batch::Batch;
use super::change::{Identity, Position, offsets_json};
use super::fault::{Step, reach};
use super::flow::Target;
use super::resume::{POSITION, RANGE_TO};
use super::table::{self, dead_letter_columns};
use crate::error::{Error, Kind, Result};
use crate::lake::{self, Also, BatchId, Expected, Lease, Outcome, Staged};

/// What a batch is committed on.
pub(super) struct Base<'a> {
    pub(super) table: &'a lake::Table,
    /// The position as the table's property says it, to the letter; the commit holds only while it says so.
    pub(super) was: Option<&'a Position>,
    pub(super) was_text: Option<&'a str>,
    pub(super) identity: &'a Identity,
    pub(super) lease: &'a Lease,
}

/// How a commit ended that did not fail.
pub(super) enum Applied {
    Done(Box<Done>),
    /// Nothing happened: the pipeline is another's.
    LeaseLost,
}

pub(super) struct Done {
    pub(super) table: lake::Table,
    pub(super) position: Position,
}

/// All of the batch or nothing of it. `said` is put into the metastore by the same transaction.
pub(super) async fn apply(
    target: &Target,
    base: &Base<'_>,
    batch: Batch,
    said: impl FnOnce(&Position) -> (String, Vec<u8>),
) -> Result<Applied> {
    let id = BatchId::new();
    let position = Position {
        cluster_id: base.identity.cluster_id.clone(),
        topic: target.layout.topic().to_string(),
        topic_id: base.identity.topic_id.clone(),
        partitions: batch.next.clone(),
        marks: batch.marks(base.was.map(|p| &p.marks)),
        batch: id.to_string(),
        sequence: base.table.next_sequence(),
        epoch: base.lease.epoch,
    };
    let summary = summary(target, base, &position);
    let rows = batch.rows.iter().map(|rows| target.layout.stamped(rows, id)).collect::<Result<Vec<_>>>()?;
    let mut written = lake::Written::default();
    if !rows.is_empty() {
        written = target.lake.write(base.table, id, rows_of(&target.layout.columns, rows)).await?;
    }
    // The property alone would not do: it outlives the rows when somebody sets the table back.
    let mut expected = vec![Expected::Property { name: POSITION.into(), value: base.was_text.map(str::to_string) }];
    expected.extend(base.was.map(|p| Expected::StandsOn { batch: p.batch.clone(), sequence: p.sequence }));
    let main = Staged {
        properties: HashMap::from([(POSITION.to_string(), position.json())]),
        summary: summary.clone(),
        expected,
        ..Staged::append(base.table.clone(), written, id)
    };
    let mut staged = vec![main];
    if !batch.dead.is_empty() {
        let table = table::ensure(&target.lake, &target.dead_key(), &dead_letter_columns()).await?;
        let now = chrono::Utc::now().timestamp_micros();
        let rows = target.layout.dead_rows(&target.pipeline, &batch.dead, id, now)?;
        let written = target.lake.write(&table, id, rows_of(&dead_letter_columns(), vec![rows])).await?;
        staged.push(Staged { summary, ..Staged::append(table, written, id) });
    }
    let also = Also { lease: Some(base.lease.clone()), puts: vec![said(&position)] };
    match target.lake.commit(staged, &also).await? {
        Outcome::Committed(tables) => {
            let table = tables.into_iter().next().ok_or_else(|| Error::internal("a commit of no table"))?;
            Ok(Applied::Done(Box::new(Done { table, position })))
        }
        Outcome::LeaseLost => Ok(Applied::LeaseLost),
        Outcome::Conflict(_) => {
            let text = format!("table {} was changed while a batch for it was made", target.shown());
            Err(Error::new(Kind::Conflict, text))
        }
        Outcome::Unknown(_) => {
            let text = format!("it is not known whether a commit to table {} happened", target.shown());
            Err(Error::new(Kind::SourceUnreachable, text))
        }
    }
}

/// The chain of batches, for those who look into it afterwards.
fn summary(target: &Target, base: &Base<'_>, to: &Position) -> HashMap<String, String> {
    let from = base.was.map(|p| offsets_json(&p.partitions)).unwrap_or_default();
    HashMap::from([
        ("lakegate.pipeline".to_string(), target.pipeline.clone()),
        ("lakegate.epoch".to_string(), to.epoch.to_string()),
        ("lakegate.range.from".to_string(), from),
        (RANGE_TO.to_string(), offsets_json(&to.partitions)),
    ])
}

fn rows_of(columns: &SchemaRef, rows: Vec<RecordBatch>) -> SendableRecordBatchStream {
    // Asked for once more after the last batch, while the file is begun and not finished.
    let end = stream::once(async { reach(Step::MidWrite) }).filter_map(|()| async { None });
    let rows = stream::iter(rows.into_iter().map(Ok)).chain(end);
    Box::pin(RecordBatchStreamAdapter::new(Arc::clone(columns), rows))
}
