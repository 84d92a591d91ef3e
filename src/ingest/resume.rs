//! Where a pipeline goes on, judged from the table's position and what the origin has: pure. And the one way to go on in
//! spite of a gap, which a person must ask for. Nothing is ever resumed silently anywhere else than at the position.

use std::collections::HashMap;

use super::change::{Extent, Marks, Offsets, Origin, Position, offsets_json};
use super::flow::Target;
use super::lease::Held;
use super::table;
use crate::error::{Error, Kind, Result};
use crate::lake::{self, Also, BatchId, Expected, Outcome, Staged, Written};

/// Where a person wants to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// With everything the origin still has. What is in the table already comes again.
    Earliest,
    /// With what comes from now on.
    Latest,
}

/// What the table itself says of the pipeline.
pub(super) struct Kept {
    pub(super) text: Option<String>,
    pub(super) position: Option<Position>,
}

impl Kept {
    /// The position of the newest commit. 58000 where the property and the history contradict each other.
    pub(super) fn of(table: &lake::Table, target: &Target) -> Result<Self> {
        let text = table.properties().get(&target.property()).cloned();
        let position = match &text {
            None => None,
            Some(text) => Some(serde_json::from_str::<Position>(text).map_err(|e| {
                gone(target, format!("the position in table {} cannot be read", target.shown())).with_source(e)
            })?),
        };
        let ours = |id: &i64| table.summary(*id).filter(|s| s.get("lakegate.pipeline") == Some(&target.pipeline));
        let newest = table.ancestry().find_map(|id| ours(&id)).and_then(|s| s.get("lakegate.batch-id"));
        // A history that has expired says nothing.
        match newest {
            Some(batch) if position.as_ref().map(|p| &p.batch) != Some(batch) => {
                let text =
                    format!("table {} was set back, or its position was changed by another program", target.shown());
                Err(gone(target, text).with_detail("the newest batch and the position do not belong together"))
            }
            _ => Ok(Self { text, position }),
        }
    }
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
    if let (Some(was), Some(is)) = (&position.cluster_id, &extent.cluster_id)
        && was != is
    {
        let text =
            format!("topic \"{topic}\" is in another cluster than the one table {} was filled from", target.shown());
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

/// 58000 where a record stands where the table took in another one. Records that are gone say nothing.
pub(super) fn compare(target: &Target, marks: &Marks, found: &Marks) -> Result<()> {
    for (partition, mark) in marks {
        if let Some(now) = found.get(partition).filter(|now| now.offset == mark.offset && now.hash != mark.hash) {
            let (topic, offset) = (target.layout.topic(), now.offset);
            let text =
                format!("topic \"{topic}\" was made anew: partition {partition} has another record at offset {offset}");
            return Err(gone(target, text));
        }
    }
    Ok(())
}

/// Going on needs a person's decision.
fn gone(target: &Target, text: String) -> Error {
    let hint = format!(
        "Nothing was taken in since. Go on with `lakegate ingest resume {} --from earliest` (or latest), or drop the table to \
         take the topic in anew.",
        target.pipeline
    );
    Error::new(Kind::DataGone, text).with_hint(hint)
}

/// Sets the table's position to one of the origin's ends; the answer says it in words. Only while no ingester runs it.
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
    let property = target.property();
    let was = table.properties().get(&property).cloned();
    let extent = origin.extent().await?;
    let end = |(partition, (first, end)): (&i32, &(i64, i64))| match from {
        From::Earliest => (*partition, *first),
        From::Latest => (*partition, *end),
    };
    let id = BatchId::new();
    let position = Position {
        cluster_id: extent.cluster_id.clone(),
        topic: extent.topic.clone(),
        partitions: extent.spans.iter().map(end).collect(),
        marks: Marks::new(),
        batch: id.to_string(),
        epoch: held.lease.epoch,
    };
    // A snapshot of its own: the history shows who moved the position, and that it was no batch.
    let summary = HashMap::from([
        ("lakegate.pipeline".to_string(), target.pipeline.clone()),
        ("lakegate.resumed".to_string(), offsets_json(&position.partitions)),
    ]);
    let staged = Staged {
        properties: HashMap::from([(property.clone(), position.json())]),
        summary,
        expected: vec![Expected { property, value: was }],
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

#[cfg(test)]
mod tests;
