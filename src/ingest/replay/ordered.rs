//! Letters of a table of current rows: what came for their keys since is read again with them, in the origin's order, so that a
//! letter comes to what it would have come to in its time. It is done while the pipeline rests, up to where the table stands.

use std::collections::{HashMap, HashSet};

use arrow::array::{Array, AsArray, BooleanArray, StringArray, UInt32Array};
use arrow::compute::{filter, filter_record_batch, take_record_batch};
use datafusion::execution::SessionState;

use super::super::apply::rows_of;
use super::super::index::Index;
use super::super::key::{Key, Keyer};
use super::super::lease::Held;
use super::super::origin::{Again, Origin, Part, Shape};
use super::super::position::{Found, POSITION};
use super::super::table::ensure_for;
use super::super::target::{Target, Write};
use super::super::upsert;
use super::{BYTES_MAX, DeadLetter};
use crate::error::{Error, Kind, Result};
use crate::formats::change::{Changed, Op, Unchanged};
use crate::lake::{self, Action, BatchId, Expected, Staged};

/// While the pipeline rests.
pub(super) struct Onto<'h> {
    pub(super) held: &'h Held,
    pub(super) index_rows_max: usize,
}

/// All changes of the letters' keys from the letters on.
pub(super) struct Among {
    shape: Shape,
    table: lake::Table,
    found: Found,
    parts: Vec<Part>,
    index_rows_max: usize,
    /// So many letters are rows by that.
    pub(super) rows: u64,
}

impl Onto<'_> {
    /// What came for the letters' keys. Letters that the origin has no more stay: nobody can say what came behind them.
    pub(super) async fn among(
        &self,
        target: &Target,
        state: &SessionState,
        origin: &mut dyn Origin,
        letters: &[DeadLetter],
        again: &mut Again,
    ) -> Result<Among> {
        let shape = origin.tables().await?.into_iter().next();
        let shape = shape.ok_or_else(|| Error::internal("a pipeline of one table that has none"))?;
        let table = ensure_for(target, &shape).await?;
        let found = Found::of(&table, target)?;
        let place = found.place().cloned().ok_or_else(|| {
            Error::new(Kind::Conflict, format!("table {} is taken in anew", target.shown(&shape.target)))
        })?;
        let keyer = onto(target, state, &table, &shape, self.index_rows_max)?.keyer()?;
        let key = shape.key.clone();
        let keys_of = |part: &Part| keys(&keyer, &key, part);
        let placed = |part: &Part, row: usize| format!("{} {}", part.sources.value(row), part.positions.value(row));
        // Of each letter that is a change: its key.
        let mut of_letters: HashMap<String, Key> = HashMap::new();
        let mut unordered: HashSet<Key> = HashSet::new();
        if let Some(part) = &again.part {
            let (is, was) = keys_of(part)?;
            for (row, (key, was)) in is.into_iter().zip(was).enumerate() {
                of_letters.insert(placed(part, row), key);
                // The values that it left out were those of a row whose key another row may have by now.
                if was.is_some() && part.changed.unchanged.iter().any(|left| left.rows.value(row)) {
                    unordered.extend([Some(key), was].into_iter().flatten());
                }
            }
        }
        let mut wanted: HashSet<Key> = of_letters.values().copied().filter(|key| !unordered.contains(key)).collect();
        // Of each key: its last change, and whether that left a row.
        let mut last: HashMap<Key, (String, bool)> = HashMap::new();
        let (mut parts, mut bytes) = (vec![], 0);
        let resolved: Vec<DeadLetter> = again.resolved.iter().filter_map(|at| letters.get(*at).cloned()).collect();
        let gone = origin
            .again_up_to(&resolved, &place, &mut |part| {
                let (is, was) = keys_of(&part)?;
                if part.changed.ops.contains(&Op::Truncate) {
                    let text =
                        "all rows were deleted since records were set aside, so that they do not become rows any more";
                    let hint = "`lakegate ingest resync` takes everything in anew.";
                    return Err(Error::unsupported(text).with_hint(hint));
                }
                let mut chosen = Vec::with_capacity(is.len());
                for (row, (key, was)) in is.iter().zip(was).enumerate() {
                    let is_wanted = wanted.contains(key) || was.is_some_and(|was| wanted.contains(&was));
                    if is_wanted {
                        // What takes a row's values goes on as that row.
                        wanted.insert(*key);
                        let leaves_a_row = part.changed.ops.get(row) != Some(&Op::Delete);
                        last.insert(*key, (placed(&part, row), leaves_a_row));
                    }
                    chosen.push(is_wanted);
                }
                if chosen.contains(&true) {
                    let part = part_of(&part, &BooleanArray::from(chosen))?;
                    bytes += part.changed.rows.get_array_memory_size();
                    parts.push(part);
                }
                match bytes > BYTES_MAX {
                    true => Err(Error::new(
                        Kind::TooLarge,
                        format!("more than {BYTES_MAX} bytes came for the keys of what was set aside"),
                    )
                    .with_hint("`lakegate ingest resync` takes everything in anew.")),
                    false => Ok(()),
                }
            })
            .await?;
        let gone: HashSet<usize> = gone.into_iter().filter_map(|at| again.resolved.get(at).copied()).collect();
        if !gone.is_empty() {
            tracing::warn!(
                pipeline = target.pipeline,
                letters = gone.len(),
                "what came behind dead letters is gone from the topic, so that they cannot become current rows"
            );
        }
        // One goes if it was read again, or what came for its key was: a place that the table has not come to, a topic of
        // before, and a record that compaction took are read by nobody.
        let is_read = |at: &usize| {
            let letter = letters.get(*at);
            let key = letter.and_then(|letter| of_letters.get(&place_of(letter)));
            key.is_none_or(|key| last.contains_key(key))
        };
        again.resolved.retain(|at| !gone.contains(at) && is_read(at));
        let of_a_letter = |at: &String| of_letters.contains_key(at);
        let rows = last.values().filter(|(at, leaves_a_row)| *leaves_a_row && of_a_letter(at)).count() as u64;
        let index_rows_max = self.index_rows_max;
        Ok(Among { shape, table, found, parts, index_rows_max, rows })
    }
}

impl Among {
    /// Their rows in the table, which moves nowhere along its origin.
    pub(super) async fn staged(self, target: &Target, state: &SessionState, id: BatchId) -> Result<Staged> {
        let Self { shape, table, found, parts, index_rows_max, rows: _ } = self;
        let parts: Vec<&Part> = parts.iter().collect();
        let made = {
            let onto = onto(target, state, &table, &shape, index_rows_max)?;
            onto.upsert(&mut Index::default(), &parts).await?
        };
        let mut actions = vec![];
        if !made.gone.is_empty() {
            actions.push(Action::Delete(target.lake.delete(state, &table, id, &made.gone).await?));
        }
        if !made.rows.is_empty() {
            actions.push(Action::Append(target.lake.write(&table, id, rows_of(&made.schema, made.rows)).await?));
        }
        let expected = vec![Expected::Property { name: POSITION.into(), value: found.text }];
        Ok(Staged { expected, ..Staged::new(table, actions, id) })
    }
}

/// Where a letter's record was, as a change says it.
fn place_of(letter: &DeadLetter) -> String {
    format!("{} {:019}", letter.source, letter.offset)
}

fn onto<'a>(
    target: &'a Target,
    state: &'a SessionState,
    table: &'a lake::Table,
    shape: &'a Shape,
    index_rows_max: usize,
) -> Result<upsert::Onto<'a>> {
    match target.write {
        Write::Upsert { keeps_deleted } => {
            Ok(upsert::Onto { lake: &target.lake, state, table, shape, keeps_deleted, index_rows_max })
        }
        Write::Append | Write::Replace => Err(Error::internal("current rows of a table that has none")),
    }
}

/// The keys of changes, and those of before where a change changed them.
fn keys(keyer: &Keyer, key: &[usize], part: &Part) -> Result<(Vec<Key>, Vec<Option<Key>>)> {
    let columns = key.iter().map(|at| part.changed.rows.columns().get(*at).cloned()).collect::<Option<Vec<_>>>();
    let is = keyer.keys(&columns.ok_or_else(|| Error::internal("changes without their key"))?)?;
    let Some(was) = &part.changed.was else { return Ok((is.clone(), vec![None; is.len()])) };
    let before = keyer.keys(was.columns())?;
    let there = |row: usize| was.columns().iter().any(|column| column.is_valid(row));
    Ok((is, before.into_iter().enumerate().map(|(row, key)| there(row).then_some(key)).collect()))
}

/// Some of its changes, in their order.
fn part_of(part: &Part, chosen: &BooleanArray) -> Result<Part> {
    let rows: Vec<usize> = (0..chosen.len()).filter(|row| chosen.value(*row)).collect();
    let picked = UInt32Array::from_iter_values(rows.iter().filter_map(|row| u32::try_from(*row).ok()));
    let of = &part.changed;
    let unchanged = of
        .unchanged
        .iter()
        .map(|left| Unchanged { column: left.column, rows: rows.iter().map(|row| left.rows.value(*row)).collect() });
    let texts = |of: &StringArray| -> Result<StringArray> { Ok(filter(of, chosen)?.as_string::<i32>().clone()) };
    let beside = part.beside.iter().map(|column| filter(column, chosen)).collect::<Result<Vec<_>, _>>()?;
    Ok(Part {
        table: part.table,
        changed: Changed {
            ops: rows.iter().filter_map(|row| of.ops.get(*row).copied()).collect(),
            rows: filter_record_batch(&of.rows, chosen)?,
            unchanged: unchanged.collect(),
            was: of.was.as_ref().map(|was| take_record_batch(was, &picked)).transpose()?,
        },
        at_micros: rows.iter().map(|row| part.at_micros.is_valid(*row).then(|| part.at_micros.value(*row))).collect(),
        positions: texts(&part.positions)?,
        sources: texts(&part.sources)?,
        beside,
        place: None,
    })
}
