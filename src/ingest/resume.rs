//! Where a pipeline goes on, judged from the table's position and what the origin has: pure. And the one way to go on in
//! spite of a gap, which a person must ask for. Nothing is ever resumed silently anywhere else than at the position.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::lease::Held;
use super::log::{Extent, Mark, Marks, Offsets};
use super::origin::{Origin, Place, Wanted};
use super::position::{Found, POSITION, Position, RANGE_TO, gone, newest};
use super::replay::running;
use super::table;
use super::target::Target;
use crate::error::{Error, Kind, Result};
use crate::lake::{self, Action, Also, BatchId, Expected, Outcome, Staged, Written};
use crate::pipelines::From;
use crate::types::TableName;

/// What messages name.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) pipeline: String,
    pub(super) table: TableName,
}

impl Named {
    fn gone(&self, text: String) -> Error {
        gone(&self.pipeline, text)
    }
}

/// Where a topic's table is, as it stands in the table's position.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicPlace {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    pub topic: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    pub partitions: Offsets,
    /// The last change of each partition.
    #[serde(default)]
    pub marks: Marks,
}

impl TopicPlace {
    pub(super) fn place(&self) -> Place {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(map)) => Place(map),
            _ => Place::default(), // texts and numbers have a JSON form
        }
    }

    /// 58000 for the place of another kind of origin.
    pub(super) fn of(place: &Place, named: &Named) -> Result<Self> {
        let read = serde_json::from_value(serde_json::Value::Object(place.0.clone()));
        read.map_err(|e| {
            let text = format!("the position in table {} is not that of a topic", named.table);
            named.gone(text).with_source(e)
        })
    }
}

/// The offsets to begin at. 58000 where going on would lose or double something, saying what was found.
pub(super) fn start(named: &Named, position: Option<&TopicPlace>, extent: &Extent) -> Result<Offsets> {
    let begin = |(partition, (first, _)): (&i32, &(i64, i64))| (*partition, *first);
    let Some(position) = position else { return Ok(extent.spans.iter().map(begin).collect()) };
    let topic = &extent.topic;
    if position.topic != *topic {
        let text = format!("table {} was filled from topic \"{}\", not from \"{topic}\"", named.table, position.topic);
        return Err(named.gone(text));
    }
    if differ(&position.cluster_id, &extent.identity.cluster_id) {
        let text =
            format!("topic \"{topic}\" is in another cluster than the one table {} was filled from", named.table);
        return Err(named.gone(text));
    }
    if differ(&position.topic_id, &extent.identity.topic_id) {
        let text =
            format!("topic \"{topic}\" was made anew: it is not the one that table {} was filled from", named.table);
        return Err(named.gone(text));
    }
    for (partition, next) in &position.partitions {
        let Some((first, end)) = extent.spans.get(partition) else {
            let text = format!("topic \"{topic}\" was made anew: partition {partition} is not there any more");
            return Err(named.gone(text));
        };
        if next > end {
            let text = format!("topic \"{topic}\" was made anew or cut: partition {partition} ends at offset {end}");
            return Err(named.gone(text).with_detail(format!("table {} is at offset {next}", named.table)));
        }
        if next < first {
            let text =
                format!("topic \"{topic}\", partition {partition}: records from offset {next} to {first} are gone");
            return Err(named.gone(text));
        }
    }
    let known = |(partition, span): (&i32, &(i64, i64))| match position.partitions.get(partition) {
        Some(next) => (*partition, *next),
        None => begin((partition, span)),
    };
    Ok(extent.spans.iter().map(known).collect())
}

/// Both are known and not the same.
fn differ(was: &Option<String>, is: &Option<String>) -> bool {
    was.is_some() && is.is_some() && was != is
}

/// The last records of the table that the topic may still have.
pub(super) fn marks_there(position: &TopicPlace, extent: &Extent) -> Marks {
    let there = |(partition, mark): &(&i32, &Mark)| extent.spans.get(*partition).is_some_and(|s| s.0 <= mark.offset);
    position.marks.iter().filter(there).map(|(partition, mark)| (*partition, *mark)).collect()
}

/// 58000 where another record stands where the table took one in, and where none does in a topic that is known by its name
/// alone. In one that is known by its id, compaction took it.
pub(super) fn compare(
    named: &Named,
    position: &TopicPlace,
    extent: &Extent,
    found: &BTreeMap<i32, Option<Mark>>,
) -> Result<()> {
    let topic = &extent.topic;
    let known = position.topic_id.is_some() && position.topic_id == extent.identity.topic_id;
    for (partition, mark) in &marks_there(position, extent) {
        let offset = mark.offset;
        match found.get(partition) {
            Some(Some(now)) if now == mark => {}
            Some(Some(now)) if now.offset == offset => {
                let text = format!(
                    "topic \"{topic}\" was made anew: partition {partition} has another record at offset {offset}"
                );
                return Err(named.gone(text));
            }
            Some(_) if known => {}
            Some(_) => {
                let text = format!(
                    "topic \"{topic}\" may have been made anew: partition {partition} has no record at offset {offset}"
                );
                let detail =
                    format!("the last one in table {} stood there, and the brokers give topics no ids", named.table);
                return Err(named.gone(text).with_detail(detail));
            }
            None => return Err(Error::internal("a probe that left a partition out")),
        }
    }
    Ok(())
}

/// Sets the tables' positions to where a person says; the answer is that in words. Only while no ingester runs it.
pub async fn resume(
    target: &Target,
    origin: &mut dyn Origin,
    from: From,
    lease_ms: u64,
) -> Result<Vec<(String, String)>> {
    let held = Held::take(target.lake.metastore(), &target.lease_name(), "resume", lease_ms).await?;
    let held = held.ok_or_else(|| running(&target.pipeline))?;
    let done = set(target, origin, from, &held).await;
    held.release().await;
    done
}

async fn set(target: &Target, origin: &mut dyn Origin, from: From, held: &Held) -> Result<Vec<(String, String)>> {
    if from == From::Anew {
        origin.anew().await?;
    }
    let (mut staged, mut said) = (vec![], vec![]);
    for shape in origin.tables().await? {
        let table = table::ensure_for(target, &shape).await?;
        let (place, removed) = match from {
            From::Anew => (Place::default(), target.lake.files(&table).await?),
            From::Earliest | From::Latest | From::Snapshot | From::Property => {
                (place(target, &table, origin, from).await?, vec![])
            }
        };
        let range = if from == From::Anew { "the beginning".into() } else { origin.range(&place) };
        said.push((target.shown(&shape.target).to_string(), range.clone()));
        let mut moved = moved(target, table, place, range, held);
        if !removed.is_empty() {
            moved.actions.push(Action::Overwrite { removed, added: Written::default() });
        }
        staged.push(moved);
    }
    let also = Also { lease: Some(held.lease.clone()), puts: vec![(target.checkpoint_name(), vec![])] };
    match target.lake.commit(staged, &also).await? {
        Outcome::Committed(_) => Ok(said),
        Outcome::LeaseLost | Outcome::Conflict(_) | Outcome::Unknown(_) => {
            Err(Error::new(Kind::Conflict, format!("{} was changed meanwhile; try again", target.whole())))
        }
    }
}

/// A snapshot of its own: the history shows who moved the position, and that it was no batch.
fn moved(target: &Target, table: lake::Table, place: Place, range: String, held: &Held) -> Staged {
    let was = table.properties().get(POSITION).cloned();
    let id = BatchId::new();
    let (batch, sequence, epoch) = (id.to_string(), table.next_sequence(), held.lease.epoch);
    let summary = HashMap::from([
        ("lakegate.pipeline".to_string(), target.pipeline.clone()),
        ("lakegate.resumed".to_string(), range.clone()),
        (RANGE_TO.to_string(), range),
    ]);
    Staged {
        properties: HashMap::from([(POSITION.to_string(), Position { place, batch, sequence, epoch }.json())]),
        summary,
        expected: vec![Expected::Property { name: POSITION.into(), value: was }],
        ..Staged::append(table, Written::default(), id)
    }
}

async fn place(target: &Target, table: &lake::Table, origin: &mut dyn Origin, from: From) -> Result<Place> {
    let shown = target.shown(&table.key.name);
    match from {
        From::Anew => Ok(Place::default()),
        From::Latest => origin.place(Wanted::Latest).await,
        From::Earliest => origin.place(Wanted::Earliest).await,
        From::Property => match Found::read(table, &shown, &target.pipeline)?.place() {
            Some(place) => origin.place(Wanted::At(place)).await,
            None => Err(unsaid(&shown, "its properties")),
        },
        From::Snapshot => match newest(table).and_then(|summary| summary.get(RANGE_TO)) {
            Some(range) => {
                let place = origin.place(Wanted::Range(range)).await;
                place.map_err(|e| match e.kind() {
                    Kind::InvalidText => unsaid(&shown, "its history").with_source(e),
                    _ => e,
                })
            }
            // Nothing of the pipeline's is in it: everything is taken in.
            None if table.is_whole() => origin.place(Wanted::Earliest).await,
            None => Err(unsaid(&shown, "what is left of its history")),
        },
    }
}

fn unsaid(table: &TableName, place: &str) -> Error {
    let text = format!("table {table} does not say in {place} how far it is");
    Error::new(Kind::UndefinedObject, text).with_hint("Say `--from earliest` or `--from latest`.")
}

#[cfg(test)]
mod tests;
