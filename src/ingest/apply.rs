//! One batch → files → one commit that also moves the position of every table in it. It reads nothing from an origin and
//! judges no outcome beyond what `lake` says of it; whoever calls begins again from the tables after an error.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, stream};

use super::batch::Batch;
use super::dead::{DeadLetter, dead_letter_columns, dead_rows};
use super::fault::{Step, reach};
use super::index::Index;
use super::key::Key;
use super::origin::{Origin, Part, Place, Shape};
use super::position::{Found, POSITION, Position, RANGE_TO};
use super::table::{self, fitted, known_by, rows_of_changes};
use super::target::{Target, Write};
use super::upsert;
use crate::error::{Error, Kind, Result};
use crate::lake::{self, Action, Also, BatchId, Expected, Lease, Outcome, Staged};
use crate::metastore::{SwapError, Swapped};

/// One table of the lake that a flow fills, as its last commit left it.
pub(super) struct Sink {
    pub(super) shape: Shape,
    pub(super) table: lake::Table,
    /// The position as the table's property says it, to the letter; a commit holds only while it says so.
    pub(super) found: Found,
    pub(super) index: Index,
}

impl Sink {
    /// What others did to its rows meanwhile is part of what a batch is put on; what they did to its position is not, and is
    /// told by `false`.
    pub(super) async fn look_again(&mut self, target: &Target) -> Result<bool> {
        let Some(table) = target.lake.table(&self.table.key).await? else { return Ok(false) };
        if table.location == self.table.location {
            return Ok(true);
        }
        let is_ours = Found::of(&table, target)?.text == self.found.text;
        if is_ours {
            // Keys of other columns, or of other types, are other numbers.
            if table.schema() != self.table.schema() {
                self.index = Index::default();
            }
            self.table = table;
        }
        Ok(is_ours)
    }
}

/// What a batch is committed with.
pub(super) struct With<'a> {
    pub(super) target: &'a Target,
    pub(super) state: &'a SessionState,
    pub(super) lease: &'a Lease,
    pub(super) index_rows_max: usize,
}

/// How a commit ended that did not fail.
pub(super) enum Applied {
    /// With so many records.
    Done(usize),
    /// Nothing happened: the pipeline is another's.
    LeaseLost,
}

/// What is to be committed to one sink, and which keys it takes rows of.
struct Prepared {
    sink: usize,
    position: Position,
    keys: Vec<Key>,
    truncated: bool,
    /// Where all of the table was replaced, by so many.
    whole: Option<usize>,
}

/// All of the batch or nothing of it. What `said` makes of the number of its records is put into the metastore by the same
/// transaction.
pub(super) async fn apply(
    with: &With<'_>,
    sinks: &mut [Sink],
    origin: &dyn Origin,
    batch: Batch,
    said: impl Fn(usize) -> (String, Vec<u8>),
) -> Result<Applied> {
    let target = with.target;
    let Some(place) = batch.place.clone() else { return Err(Error::internal("a batch that comes from nowhere")) };
    let (id, mut records) = (batch.id, batch.records());
    let mut by_sink: Vec<Vec<&(i64, Part)>> = sinks.iter().map(|_| vec![]).collect();
    for part in &batch.parts {
        by_sink.get_mut(part.1.table).ok_or_else(|| Error::internal("a part of no table"))?.push(part);
    }
    let (mut staged, mut prepared) = (vec![], vec![]);
    for (number, (sink, parts)) in sinks.iter_mut().zip(&by_sink).enumerate() {
        // Of several tables, those that nothing came for are as far as the checkpoint.
        let is_whole = batch.whole == Some(number);
        if parts.is_empty() && target.table.is_none() && !is_whole {
            continue;
        }
        let own = parts.last().and_then(|(_, part)| part.place.clone()).unwrap_or_else(|| place.clone());
        let what = if is_whole { What::Whole } else { What::Changes(parts) };
        let (one, made) = one(with, sink, number, what, own, origin, id).await?;
        records = made.whole.unwrap_or(records);
        staged.push(one);
        prepared.push(made);
    }
    if !batch.dead.is_empty() {
        staged.push(dead(target, &batch.dead, id).await?);
    }
    let also = Also { lease: Some(with.lease.clone()), puts: vec![said(records), checkpoint(target, &place)] };
    if staged.is_empty() {
        return match target.lake.metastore().swap(&[], &also).await {
            Ok(Swapped::Done) => Ok(Applied::Done(records)),
            Ok(Swapped::LeaseLost) => Ok(Applied::LeaseLost),
            Ok(Swapped::Moved) => Err(Error::internal("a swap of nothing that moved")),
            Err(SwapError::Before(error) | SwapError::Unknown(error)) => Err(error),
        };
    }
    match target.lake.commit(staged, &also).await? {
        Outcome::Committed(tables) => {
            for (made, table) in prepared.into_iter().zip(tables) {
                let Some(sink) = sinks.get_mut(made.sink) else { continue };
                sink.index.forget(&made.keys);
                if made.truncated {
                    sink.index = Index::default();
                }
                sink.table = table;
                sink.found = Found { text: Some(made.position.json()), position: Some(made.position) };
            }
            Ok(Applied::Done(records))
        }
        Outcome::LeaseLost => Ok(Applied::LeaseLost),
        Outcome::Conflict(_) => {
            let text = format!("{} was changed while a batch for it was made", target.whole());
            Err(Error::new(Kind::Conflict, text))
        }
        Outcome::Unknown(_) => {
            let text = format!("it is not known whether a commit to {} happened", target.whole());
            Err(Error::new(Kind::SourceUnreachable, text))
        }
    }
}

/// What a batch has for one table.
enum What<'b> {
    Changes(&'b [&'b (i64, Part)]),
    /// Every row there is now, in the place of all of before.
    Whole,
}

/// What the batch does to one table.
async fn one(
    with: &With<'_>,
    sink: &mut Sink,
    number: usize,
    what: What<'_>,
    place: Place,
    origin: &dyn Origin,
    id: BatchId,
) -> Result<(Staged, Prepared)> {
    let (target, table) = (with.target, sink.table.clone());
    let position = Position { place, batch: id.to_string(), sequence: table.next_sequence(), epoch: with.lease.epoch };
    let (mut actions, mut keys, mut truncated, mut whole) = (vec![], vec![], false, None);
    let parts = match what {
        What::Changes(parts) => parts,
        What::Whole => {
            let written = target.lake.write(&table, id, whole_rows(origin, &sink.shape, &table).await?).await?;
            whole = Some(usize::try_from(written.rows).unwrap_or(usize::MAX));
            let removed = target.lake.files(&table).await?;
            if written.rows > 0 || !removed.is_empty() {
                actions.push(Action::Overwrite { removed, added: written });
            }
            &[]
        }
    };
    match target.write {
        // Its rows come whole.
        Write::Replace => {}
        Write::Append => {
            let columns = known_by(&table);
            let rows =
                parts.iter().map(|(taken, part)| rows_of_changes(part, &sink.shape.beside, &columns, id, *taken));
            let rows = rows.collect::<Result<Vec<_>>>()?;
            if let Some(schema) = rows.first().map(RecordBatch::schema) {
                let written = target.lake.write(&table, id, rows_of(&schema, rows)).await?;
                if written.rows > 0 {
                    actions.push(Action::Append(written));
                }
            }
        }
        Write::Upsert { keeps_deleted } => {
            let onto = upsert::Onto {
                lake: &target.lake,
                state: with.state,
                table: &table,
                shape: &sink.shape,
                keeps_deleted,
                index_rows_max: with.index_rows_max,
            };
            let parts: Vec<&Part> = parts.iter().map(|(_, part)| part).collect();
            let made = onto.upsert(&mut sink.index, &parts).await?;
            let mut written = lake::Written::default();
            if !made.rows.is_empty() {
                written = target.lake.write(&table, id, rows_of(&made.schema, made.rows)).await?;
            }
            if made.truncated {
                let removed = target.lake.files(&table).await?;
                actions.push(Action::Overwrite { removed, added: written });
            } else {
                if !made.gone.is_empty() {
                    actions.push(Action::Delete(target.lake.delete(with.state, &table, id, &made.gone).await?));
                }
                if written.rows > 0 {
                    actions.push(Action::Append(written));
                }
            }
            (keys, truncated) = (made.keys, made.truncated);
        }
    }
    // The property alone would not do: it outlives the rows when somebody sets the table back.
    let mut expected = vec![Expected::Property { name: POSITION.into(), value: sink.found.text.clone() }];
    expected.extend(
        sink.found.position.iter().map(|p| Expected::StandsOn { batch: p.batch.clone(), sequence: p.sequence }),
    );
    let from = sink.found.place().map(|place| origin.range(place)).unwrap_or_default();
    let staged = Staged {
        properties: HashMap::from([(POSITION.to_string(), position.json())]),
        summary: summary(target, from, origin.range(&position.place), position.epoch),
        expected,
        ..Staged::new(table, actions, id)
    };
    Ok((staged, Prepared { sink: number, position, keys, truncated, whole }))
}

/// All rows that a table of the origin has now, in the columns of the lake's.
async fn whole_rows(origin: &dyn Origin, shape: &Shape, table: &lake::Table) -> Result<SendableRecordBatchStream> {
    let (columns, known) = (known_by(table), Arc::clone(&shape.columns));
    let fields = columns.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let rows = origin.whole().await?.map(move |batch| {
        let batch = batch?;
        let batch = RecordBatch::try_new(Arc::clone(&known), batch.columns().to_vec())?;
        Ok(fitted(&batch, &[], &columns).and_then(|rows| upsert::cast_to(&rows, &columns))?)
    });
    let end = stream::once(async { reach(Step::MidWrite) }).filter_map(|()| async { None });
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows.chain(end))))
}

async fn dead(target: &Target, dead: &[DeadLetter], id: BatchId) -> Result<Staged> {
    let table = table::dead_letters(target).await?;
    let now = chrono::Utc::now().timestamp_micros();
    let rows = dead_rows(&target.pipeline, dead, id, now)?;
    let written = target.lake.write(&table, id, rows_of(&dead_letter_columns(), vec![rows])).await?;
    let summary = HashMap::from([("lakegate.pipeline".to_string(), target.pipeline.clone())]);
    Ok(Staged { summary, ..Staged::append(table, written, id) })
}

fn checkpoint(target: &Target, place: &Place) -> (String, Vec<u8>) {
    (target.checkpoint_name(), serde_json::to_vec(place).expect("a map of texts has a JSON form"))
}

/// The chain of batches, for those who look into it afterwards.
fn summary(target: &Target, from: String, to: String, epoch: i64) -> HashMap<String, String> {
    HashMap::from([
        ("lakegate.pipeline".to_string(), target.pipeline.clone()),
        ("lakegate.epoch".to_string(), epoch.to_string()),
        ("lakegate.range.from".to_string(), from),
        (RANGE_TO.to_string(), to),
    ])
}

pub(super) fn rows_of(columns: &SchemaRef, rows: Vec<RecordBatch>) -> SendableRecordBatchStream {
    // Asked for once more after the last batch, while the file is begun and not finished.
    let end = stream::once(async { reach(Step::MidWrite) }).filter_map(|()| async { None });
    let rows = stream::iter(rows.into_iter().map(Ok)).chain(end);
    Box::pin(RecordBatchStreamAdapter::new(Arc::clone(columns), rows))
}
