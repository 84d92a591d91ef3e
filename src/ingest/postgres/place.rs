//! How far along a source's log something is, as it is kept in the lake: which cluster, which slot, where, and whether a table
//! is in the midst of its copy. It compares two places of one cluster and asks no server.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ingest::origin::Place;

/// Microseconds from 1970 to PostgreSQL's epoch, 2000-01-01.
pub(super) const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// A byte's place in the log, spelt `16/B374D848`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(super) struct Lsn(pub(super) u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl FromStr for Lsn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = |digits: &str| u32::from_str_radix(digits, 16).map(u64::from);
        match text.split_once('/').map(|(high, low)| (parse(high), parse(low))) {
            Some((Ok(high), Ok(low))) => Ok(Self(high << 32 | low)),
            _ => Err(format!("\"{text}\" is no place in a log")),
        }
    }
}

impl From<Lsn> for String {
    fn from(lsn: Lsn) -> Self {
        lsn.to_string()
    }
}

impl TryFrom<String> for Lsn {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// What a [`Place`] of this origin holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Standing {
    pub(super) system_identifier: String,
    pub(super) timeline: u32,
    pub(super) slot: String,
    /// The end of a commit: every change whose commit ends here or before is in.
    pub(super) lsn: Lsn,
    /// The table is in the midst of its copy: what is there of it is of no use without the rest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) copying: bool,
    /// By name, as what tables were known: what changed while nobody looked is told by it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) tables: BTreeMap<String, Known>,
    /// Names of tables that were followed and were not there any more. The lake has rows of them, which are not those of a
    /// table that takes the name.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) left: BTreeSet<String>,
}

/// A table in few digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u32, i16, u32)", into = "(u32, i16, u32)")]
pub(super) struct Known {
    /// Another one under the same name is another table.
    pub(super) oid: u32,
    /// Columns above this number came later.
    pub(super) last_column: i16,
    /// Of the numbers and types of the columns.
    pub(super) hash: u32,
}

impl From<(u32, i16, u32)> for Known {
    fn from((oid, last_column, hash): (u32, i16, u32)) -> Self {
        Self { oid, last_column, hash }
    }
}

impl From<Known> for (u32, i16, u32) {
    fn from(known: Known) -> Self {
        (known.oid, known.last_column, known.hash)
    }
}

impl Standing {
    pub(super) fn of(place: &Place) -> Result<Self> {
        let read = serde_json::from_value(serde_json::Value::Object(place.0.clone()));
        read.map_err(|e| Error::internal("a place of another kind of origin").with_source(e))
    }

    pub(super) fn place(&self) -> Result<Place> {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(map)) => Ok(Place(map)),
            _ => Err(Error::internal("a place has a JSON form")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written() {
        let standing = Standing {
            system_identifier: "7300000000000000000".into(),
            timeline: 1,
            slot: "lakegate_crm".into(),
            lsn: "16/B374D848".parse().unwrap(),
            copying: true,
            tables: BTreeMap::from([("public.a".into(), Known { oid: 16_400, last_column: 3, hash: 7 })]),
            left: BTreeSet::from(["public.b".into()]),
        };
        let place = standing.place().unwrap();
        let text = serde_json::to_string(&place).unwrap();
        assert_eq!(
            text,
            r#"{"copying":true,"left":["public.b"],"lsn":"16/B374D848","slot":"lakegate_crm","system_identifier":"7300000000000000000","tables":{"public.a":[16400,3,7]},"timeline":1}"#
        );
        assert_eq!(Standing::of(&place).unwrap(), standing);
        assert_eq!(standing.lsn.0, 0x16_B374_D848);
        for bad in ["", "1", "1/", "/1", "G/0", "1/100000000", "1/1/1"] {
            assert!(bad.parse::<Lsn>().is_err(), "{bad}");
        }
    }
}
