//! Dead letters, decoded once more by the columns of now: those that are rows go into their table and leave the dead letters
//! in one commit. It moves no position, so that a pipeline that adds rows may run meanwhile; and it decides nothing about what a
//! record is, which its origin does.

mod ordered;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type, Schema, TimestampMicrosecondType};
use datafusion::catalog::TableProvider;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::physical_plan::execute_stream;
use futures::TryStreamExt;

use super::Config;
use super::apply::rows_of;
use super::dead::{DeadLetter, dead_letter_columns};
use super::lease::Held;
use super::origin::{Origin, Part};
use super::table::{dead_letters, ensure_for, known_by, rows_of_changes};
use super::target::{Target, Write};
use crate::error::{Error, Kind, Result};
use crate::lake::{self, Action, Also, BatchId, Outcome, Rows, Staged};
use crate::pipelines::Replayed;

/// What a commit takes at most.
const LETTERS_MAX: usize = 10_000;
const BYTES_MAX: usize = 64 << 20;

/// Letters with where each lies.
#[derive(Default)]
struct Chunk {
    letters: Vec<DeadLetter>,
    places: Vec<(String, u64)>,
    bytes: usize,
}

/// Takes in again what was set aside of one table. Where rows take each other's places, a record that was set aside must not
/// come behind those that came after it: see [`ordered`].
pub async fn replay(
    target: &Target,
    state: &SessionState,
    origin: &mut dyn Origin,
    config: &Config,
) -> Result<Replayed> {
    match target.write {
        // What is read whole sets nothing aside.
        Write::Append | Write::Replace => chunks(target, state, origin, None).await,
        Write::Upsert { .. } if !origin.keeps_what_came() => {
            let pipeline = &target.pipeline;
            let text =
                format!("pipeline \"{pipeline}\" keeps current rows, and its origin does not say what came since");
            let hint = "What was set aside comes again with its origin: `lakegate ingest resync`, or send it again.";
            Err(Error::new(Kind::Unsupported, text).with_hint(hint))
        }
        Write::Upsert { .. } => {
            let held = Held::take(target.lake.metastore(), &target.lease_name(), "replay", config.lease_ms).await?;
            let held = held.ok_or_else(|| running(&target.pipeline))?;
            let onto = ordered::Onto { held: &held, index_rows_max: config.index_rows_max };
            let done = chunks(target, state, origin, Some(&onto)).await;
            held.release().await;
            done
        }
    }
}

/// Whoever wants to move what a pipeline moves.
pub(super) fn running(pipeline: &str) -> Error {
    let text = format!("pipeline \"{pipeline}\" is running; it goes on by itself or says why not");
    let hint = format!("Say `lakegate ingest pause {pipeline}` first, and this again once it rests.");
    Error::new(Kind::Conflict, text).with_hint(hint)
}

async fn chunks(
    target: &Target,
    state: &SessionState,
    origin: &mut dyn Origin,
    onto: Option<&ordered::Onto<'_>>,
) -> Result<Replayed> {
    let mut done = Replayed::default();
    let mut stream = letters(target, state).await?;
    let mut chunk = Chunk::default();
    while let Some(batch) = stream.try_next().await? {
        read(target, &batch, &mut chunk)?;
        if chunk.letters.len() >= LETTERS_MAX || chunk.bytes >= BYTES_MAX {
            one(target, state, origin, std::mem::take(&mut chunk), onto, &mut done).await?;
        }
    }
    one(target, state, origin, chunk, onto, &mut done).await?;
    Ok(done)
}

/// All dead letters of the namespace as they are now, and where each lies.
async fn letters(target: &Target, state: &SessionState) -> Result<SendableRecordBatchStream> {
    let table = dead_letters(target).await?;
    let own = table.schema();
    let columns = own.fields().iter().cloned().chain(lake::Table::place_columns()).collect::<Vec<_>>();
    let reading = target.lake.read(&table, Arc::new(Schema::new(columns))).await?;
    let plan = reading.scan(state, None, &[], None).await?;
    Ok(execute_stream(plan, state.task_ctx())?)
}

/// Those of this pipeline.
fn read(target: &Target, batch: &RecordBatch, chunk: &mut Chunk) -> Result<()> {
    let column = |name: &str, of: &DataType| -> Result<arrow::array::ArrayRef> {
        let found = batch.column_by_name(name).ok_or_else(|| Error::internal("dead letters without a column"))?;
        Ok(cast(found, of)?)
    };
    let named = |name: &str| {
        let known = dead_letter_columns();
        column(name, known.field_with_name(name)?.data_type())
    };
    let (pipelines, sources, raws) = (named("pipeline")?, named("source")?, named("raw")?);
    let (partitions, offsets, at) = (named("source_partition")?, named("source_offset")?, named("source_ts")?);
    let (keys, headers) = (named("raw_key")?, named("raw_headers")?);
    let width = dead_letter_columns().fields().len();
    let place = |at: usize| batch.columns().get(width + at).ok_or_else(|| Error::internal("rows without their places"));
    let (paths, positions) = (cast(place(0)?, &DataType::Utf8)?, cast(place(1)?, &DataType::Int64)?);
    let (pipelines, sources) = (pipelines.as_string::<i32>(), sources.as_string::<i32>());
    let (raws, keys, headers) = (raws.as_binary::<i32>(), keys.as_binary::<i32>(), headers.as_list::<i32>());
    let (partitions, offsets) = (partitions.as_primitive::<Int32Type>(), offsets.as_primitive::<Int64Type>());
    let at = at.as_primitive::<TimestampMicrosecondType>();
    let (paths, positions) = (paths.as_string::<i32>(), positions.as_primitive::<Int64Type>());
    for row in (0..batch.num_rows()).filter(|row| pipelines.value(*row) == target.pipeline) {
        let letter = DeadLetter {
            source: sources.value(row).to_string(),
            partition: partitions.value(row),
            offset: offsets.value(row),
            at_ms: at.is_valid(row).then(|| at.value(row).div_euclid(1_000)),
            class: "",
            message: String::new(),
            key: keys.is_valid(row).then(|| keys.value(row).to_vec()),
            headers: if headers.is_valid(row) { pairs(headers.value(row).as_struct()) } else { vec![] },
            raw: raws.value(row).to_vec(),
        };
        chunk.bytes += letter.memory_bytes();
        let position = u64::try_from(positions.value(row)).map_err(|_| Error::internal("a row before its file"))?;
        chunk.places.push((paths.value(row).to_string(), position));
        chunk.letters.push(letter);
    }
    Ok(())
}

fn pairs(headers: &StructArray) -> Vec<(String, Option<Vec<u8>>)> {
    let (names, values) = (headers.column(0).as_string::<i32>(), headers.column(1).as_binary::<i32>());
    let value = |at: usize| values.is_valid(at).then(|| values.value(at).to_vec());
    (0..headers.len()).map(|at| (names.value(at).to_string(), value(at))).collect()
}

/// One commit, where there is something to be committed.
async fn one(
    target: &Target,
    state: &SessionState,
    origin: &mut dyn Origin,
    chunk: Chunk,
    onto: Option<&ordered::Onto<'_>>,
    done: &mut Replayed,
) -> Result<()> {
    if chunk.letters.is_empty() {
        return Ok(());
    }
    let mut again = origin.again(&chunk.letters).await?;
    let own = again.own as u64;
    if again.resolved.is_empty() {
        done.left += own;
        return Ok(());
    }
    let mut among = None;
    if let Some(onto) = onto {
        let found = onto.among(target, state, origin, &chunk.letters, &mut again).await?;
        among = Some(found);
    }
    done.left += own - again.resolved.len() as u64;
    if again.resolved.is_empty() {
        return Ok(());
    }
    let mut gone = Rows::new();
    for (path, position) in again.resolved.iter().filter_map(|at| chunk.places.get(*at)) {
        gone.entry(path.clone()).or_default().insert(*position);
    }
    let (id, dead) = (BatchId::new(), dead_letters(target).await?);
    let deleted = target.lake.delete(state, &dead, id, &gone).await?;
    let summary = HashMap::from([
        ("lakegate.pipeline".to_string(), target.pipeline.clone()),
        ("lakegate.replayed".to_string(), again.resolved.len().to_string()),
    ]);
    let mut staged = vec![Staged { summary: summary.clone(), ..Staged::new(dead, vec![Action::Delete(deleted)], id) }];
    let (mut rows, mut also) = (0, Also::default());
    match (onto, among, &again.part) {
        (Some(onto), Some(among), _) => {
            rows = among.rows;
            also.lease = Some(onto.held.lease.clone());
            staged.push(Staged { summary, ..among.staged(target, state, id).await? });
        }
        (None, _, Some(part)) => {
            rows = part.changed.ops.len() as u64;
            staged.push(Staged { summary, ..added(target, origin, part, id).await? });
        }
        (Some(_), None, _) | (None, _, None) => {}
    }
    match target.lake.commit(staged, &also).await? {
        Outcome::Committed(_) => {
            done.rows += rows;
            done.resolved += again.resolved.len() as u64;
            Ok(())
        }
        Outcome::Conflict(_) | Outcome::LeaseLost | Outcome::Unknown(_) => {
            let text = format!("{} was changed while dead letters were taken in again; try again", target.whole());
            Err(Error::new(Kind::Conflict, text))
        }
    }
}

async fn added(target: &Target, origin: &mut dyn Origin, part: &Part, id: BatchId) -> Result<Staged> {
    let shapes = origin.tables().await?;
    let shape = shapes.get(part.table).ok_or_else(|| Error::internal("a part of no table"))?;
    let table = ensure_for(target, shape).await?;
    let now = chrono::Utc::now().timestamp_micros();
    let rows = rows_of_changes(part, &shape.beside, &known_by(&table), id, now)?;
    let written = target.lake.write(&table, id, rows_of(&rows.schema(), vec![rows])).await?;
    Ok(Staged::append(table, written, id))
}
