//! Where a pipeline goes on, judged from the table's position and what the origin has: pure. And the one way to go on in
//! spite of a gap, which a person must ask for. Nothing is ever resumed silently anywhere else than at the position.

use std::collections::{BTreeMap, HashMap};

use super::change::{Extent, Mark, Marks, Offsets, Origin, Position, offsets_json};
use super::flow::Target;
use super::lease::Held;
use super::table;
use crate::error::{Error, Kind, Result};
use crate::lake::{self, Also, BATCH, BatchId, Expected, Outcome, Staged, Written};

/// The table's property that holds the position. It is the table's own, whatever the pipeline that fills it is called.
pub(super) const POSITION: &str = "lakegate.position";
/// In the summaries of a pipeline's snapshots: how far the table is with them.
pub(super) const RANGE_TO: &str = "lakegate.range.to";

/// Where a person wants to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// With everything the origin still has. What is in the table already comes again.
    Earliest,
    /// With what comes from now on.
    Latest,
    /// Where the rows in the table end, as its history says: what was set back is taken in again.
    Snapshot,
    /// Where the pipeline was, as the table's property says: what was set back stays away.
    Property,
}

/// What the table itself says of the pipeline.
pub(super) struct Kept {
    pub(super) text: Option<String>,
    pub(super) position: Option<Position>,
}

impl Kept {
    /// The position of the newest commit. 58000 where the property and the history contradict each other.
    pub(super) fn of(table: &lake::Table, target: &Target) -> Result<Self> {
        let (text, position) = read(table, target)?;
        let newest = newest(table).and_then(|summary| summary.get(BATCH));
        let contradicts = match &position {
            Some(position) => {
                !table.stands_on(&position.batch, position.sequence) || newest.is_some_and(|b| *b != position.batch)
            }
            None => newest.is_some(),
        };
        if contradicts {
            let text = format!("table {} was set back, or its position was changed by another program", target.shown());
            let detail = "the newest batch in its history and the position do not belong together";
            let hint = format!(
                "Nothing was taken in since. `lakegate ingest resume {} --from snapshot` takes in again what the table \
                 lost, `--from property` leaves it out.",
                target.pipeline
            );
            return Err(Error::new(Kind::DataGone, text).with_detail(detail).with_hint(hint));
        }
        Ok(Self { text, position })
    }
}

fn read(table: &lake::Table, target: &Target) -> Result<(Option<String>, Option<Position>)> {
    let text = table.properties().get(POSITION).cloned();
    let position = text.as_deref().map(serde_json::from_str::<Position>).transpose();
    let position = position
        .map_err(|e| gone(target, format!("the position in table {} cannot be read", target.shown())).with_source(e))?;
    Ok((text, position))
}

/// The summary of the newest snapshot that a pipeline made, as far as the history is retained.
fn newest(table: &lake::Table) -> Option<&HashMap<String, String>> {
    table.ancestry().filter_map(|id| table.summary(id)).find(|summary| summary.contains_key(RANGE_TO))
}

/// The offsets to begin at. 58000 where going on would lose or double something, saying what was found.
pub(super) fn start(target: &Target, position: Option<&Position>, extent: &Extent) -> Result<Offsets> {
    let begin = |(partition, (first, _)): (&i32, &(i64, i64))| (*partition, *first);
    let Some(position) = position else { return Ok(extent.spans.iter().map(begin).collect()) };
    let topic = &extent.topic;
    if position.topic != *topic {
        let text =
            format!("table {} was filled from topic \"{}\", not from \"{topic}\"", target.shown(), position.topic);
        return Err(gone(target, text));
    }
    if differ(&position.cluster_id, &extent.identity.cluster_id) {
        let text =
            format!("topic \"{topic}\" is in another cluster than the one table {} was filled from", target.shown());
        return Err(gone(target, text));
    }
    if differ(&position.topic_id, &extent.identity.topic_id) {
        let text =
            format!("topic \"{topic}\" was made anew: it is not the one that table {} was filled from", target.shown());
        return Err(gone(target, text));
    }
    for (partition, next) in &position.partitions {
        let Some((first, end)) = extent.spans.get(partition) else {
            let text = format!("topic \"{topic}\" was made anew: partition {partition} is not there any more");
            return Err(gone(target, text));
        };
        if next > end {
            let text = format!("topic \"{topic}\" was made anew or cut: partition {partition} ends at offset {end}");
            return Err(gone(target, text).with_detail(format!("table {} is at offset {next}", target.shown())));
        }
        if next < first {
            let text =
                format!("topic \"{topic}\", partition {partition}: records from offset {next} to {first} are gone");
            return Err(gone(target, text));
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
pub(super) fn marks_there(position: &Position, extent: &Extent) -> Marks {
    let there = |(partition, mark): &(&i32, &Mark)| extent.spans.get(*partition).is_some_and(|s| s.0 <= mark.offset);
    position.marks.iter().filter(there).map(|(partition, mark)| (*partition, *mark)).collect()
}

/// 58000 where another record stands where the table took one in, and where none does in a topic that is known by its name
/// alone. In one that is known by its id, compaction took it.
pub(super) fn compare(
    target: &Target,
    position: &Position,
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
                return Err(gone(target, text));
            }
            Some(_) if known => {}
            Some(_) => {
                let text = format!(
                    "topic \"{topic}\" may have been made anew: partition {partition} has no record at offset {offset}"
                );
                let detail =
                    format!("the last one in table {} stood there, and the brokers give topics no ids", target.shown());
                return Err(gone(target, text).with_detail(detail));
            }
            None => return Err(Error::internal("a probe that left a partition out")),
        }
    }
    Ok(())
}

/// Going on needs a person's decision.
fn gone(target: &Target, text: String) -> Error {
    let hint = format!(
        "Nothing was taken in since. Go on with `lakegate ingest resume {} --from earliest` (or latest, or property: where it \
         was), or drop the table to take the topic in anew.",
        target.pipeline
    );
    Error::new(Kind::DataGone, text).with_hint(hint)
}

/// Sets the table's position to where a person says; the answer is that in words. Only while no ingester runs it.
pub async fn resume(target: &Target, origin: &mut dyn Origin, from: From, lease_ms: u64) -> Result<String> {
    let held = Held::take(target.lake.metastore(), &target.lease_name(), "resume", lease_ms).await?;
    let held = held.ok_or_else(|| {
        let text = format!("pipeline \"{}\" is running; it goes on by itself or says why not", target.pipeline);
        Error::new(Kind::Conflict, text)
    })?;
    let done = set(target, origin, from, &held).await;
    held.release().await;
    done
}

async fn set(target: &Target, origin: &mut dyn Origin, from: From, held: &Held) -> Result<String> {
    let table = table::ensure(&target.lake, &target.key, &target.layout.columns).await?;
    let was = table.properties().get(POSITION).cloned();
    let extent = origin.extent().await?;
    let id = BatchId::new();
    let position = Position {
        cluster_id: extent.identity.cluster_id.clone(),
        topic: extent.topic.clone(),
        topic_id: extent.identity.topic_id.clone(),
        partitions: offsets(target, &table, from, &extent)?,
        marks: Marks::new(),
        batch: id.to_string(),
        sequence: table.next_sequence(),
        epoch: held.lease.epoch,
    };
    // A snapshot of its own: the history shows who moved the position, and that it was no batch.
    let said = offsets_json(&position.partitions);
    let summary = HashMap::from([
        ("lakegate.pipeline".to_string(), target.pipeline.clone()),
        ("lakegate.resumed".to_string(), said.clone()),
        (RANGE_TO.to_string(), said),
    ]);
    let staged = Staged {
        properties: HashMap::from([(POSITION.to_string(), position.json())]),
        summary,
        expected: vec![Expected::Property { name: POSITION.into(), value: was }],
        ..Staged::append(table, Written::default(), id)
    };
    let also = Also { lease: Some(held.lease.clone()), puts: vec![] };
    match target.lake.commit(vec![staged], &also).await? {
        Outcome::Committed(_) => Ok(offsets_json(&position.partitions)),
        Outcome::LeaseLost | Outcome::Conflict(_) | Outcome::Unknown(_) => {
            Err(Error::new(Kind::Conflict, format!("table {} was changed meanwhile; try again", target.shown())))
        }
    }
}

/// For every partition that the topic has now.
fn offsets(target: &Target, table: &lake::Table, from: From, extent: &Extent) -> Result<Offsets> {
    let earliest = |partition: &i32, kept: &Offsets| {
        let first = extent.spans.get(partition).map_or(0, |span| span.0);
        kept.get(partition).copied().unwrap_or(first)
    };
    let kept = match from {
        From::Latest => return Ok(extent.spans.iter().map(|(partition, (_, end))| (*partition, *end)).collect()),
        From::Earliest => Offsets::new(),
        From::Property => match read(table, target)?.1 {
            Some(position) => position.partitions,
            None => return Err(unsaid(target, "its properties")),
        },
        From::Snapshot => match newest(table).and_then(|summary| summary.get(RANGE_TO)) {
            Some(text) => serde_json::from_str(text).map_err(|e| unsaid(target, "its history").with_source(e))?,
            // Nothing of the pipeline's is in it: everything is taken in.
            None if table.is_whole() => Offsets::new(),
            None => return Err(unsaid(target, "what is left of its history")),
        },
    };
    Ok(extent.spans.keys().map(|partition| (*partition, earliest(partition, &kept))).collect())
}

fn unsaid(target: &Target, place: &str) -> Error {
    let text = format!("table {} does not say in {place} how far it is", target.shown());
    Error::new(Kind::UndefinedObject, text).with_hint("Say `--from earliest` or `--from latest`.")
}

#[cfg(test)]
mod tests;
