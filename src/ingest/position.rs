//! How far a table is, as its own property says: the one truth, which moves in the commit that brings the rows. What a
//! place means only its origin knows.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::origin::Place;
use super::target::Target;
use crate::error::{Error, Kind, Result};
use crate::lake::{self, BATCH};
use crate::types::TableName;

/// It is the table's own, whatever the pipeline that fills it is called.
pub(super) use crate::lake::POSITION;
/// In the summaries of a pipeline's snapshots: how far the table is with them.
pub(super) const RANGE_TO: &str = "lakegate.range.to";

/// A place, and the commit that brought the table there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    #[serde(flatten)]
    pub place: Place,
    /// The batch that brought it here.
    pub batch: String,
    /// No commit of the table before that batch had this sequence number.
    #[serde(default)]
    pub sequence: i64,
    /// Of the lease under which it was committed.
    pub epoch: i64,
}

impl Position {
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("a map of texts has a JSON form")
    }
}

/// What a table itself says of the pipeline.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// To the letter.
    pub(super) text: Option<String>,
    pub(super) position: Option<Position>,
}

impl Found {
    /// The position of the newest commit. 58000 where the property and the history contradict each other.
    pub(super) fn of(table: &lake::Table, target: &Target) -> Result<Self> {
        let shown = target.shown(&table.key.name);
        let found = Self::read(table, &shown, &target.pipeline)?;
        let newest = newest(table).and_then(|summary| summary.get(BATCH));
        let contradicts = match &found.position {
            Some(position) => {
                !table.stands_on(&position.batch, position.sequence) || newest.is_some_and(|b| *b != position.batch)
            }
            None => newest.is_some(),
        };
        if contradicts {
            let text = format!("table {shown} was set back, or its position was changed by another program");
            let detail = "the newest batch in its history and the position do not belong together";
            let hint = format!(
                "Nothing was taken in since. After `lakegate ingest pause {0}`, `lakegate ingest resume {0} --from snapshot` \
                 takes in again what the table lost, `--from property` leaves it out, and `lakegate ingest resync {0}` takes \
                 in everything anew.",
                target.pipeline
            );
            return Err(Error::new(Kind::DataGone, text).with_detail(detail).with_hint(hint));
        }
        Ok(found)
    }

    /// As the property says, whatever the history says.
    pub(super) fn read(table: &lake::Table, shown: &TableName, pipeline: &str) -> Result<Self> {
        let text = table.properties().get(POSITION).cloned();
        let position = text.as_deref().map(serde_json::from_str::<Position>).transpose();
        let position = position
            .map_err(|e| gone(pipeline, format!("the position in table {shown} cannot be read")).with_source(e))?;
        Ok(Self { text, position })
    }

    /// `None` where nothing is taken in, or where all of it is to be taken in anew.
    pub(super) fn place(&self) -> Option<&Place> {
        self.position.as_ref().map(|position| &position.place).filter(|place| !place.0.is_empty())
    }
}

/// The summary of the newest snapshot that a pipeline made, as far as the history is retained.
pub(super) fn newest(table: &lake::Table) -> Option<&HashMap<String, String>> {
    table.ancestry().filter_map(|id| table.summary(id)).find(|summary| summary.contains_key(RANGE_TO))
}

/// Going on needs a person's decision.
pub(super) fn gone(pipeline: &str, text: String) -> Error {
    let hint = format!(
        "Nothing was taken in since. After `lakegate ingest pause {pipeline}` go on with `lakegate ingest resume {pipeline} \
         --from earliest` (or latest, or property: where it was), or with `lakegate ingest resync {pipeline}` to take \
         everything in anew."
    );
    Error::new(Kind::DataGone, text).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_written() {
        let text = r#"{"partitions":{"0":12},"topic":"t","batch":"b","sequence":5,"epoch":3}"#;
        let position: Position = serde_json::from_str(text).unwrap();
        assert_eq!(position.place.0.keys().collect::<Vec<_>>(), ["partitions", "topic"]);
        assert_eq!((position.batch.as_str(), position.sequence, position.epoch), ("b", 5, 3));
        assert_eq!(position.json(), text);
    }
}
