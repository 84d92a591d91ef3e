//! Where a table in the lake is with a table that is read, as its property says it. It judges no position.

use serde::{Deserialize, Serialize};

use super::super::origin::Place;
use super::ties::Ties;

/// Where the table in the lake is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stood {
    pub(super) table: String,
    /// Of the table that was read.
    pub(super) identity: String,
    /// When it was looked at, in milliseconds of the Unix epoch.
    pub(super) looked_ms: i64,
    /// The last wish to be read now that was heard.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) asked: String,
    /// Of a table that is read whole: what it was then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<Since>,
}

/// How far along its cursor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Since {
    pub(super) cursor: String,
    /// Rows below this are taken in, and of those that have it the ties.
    pub(super) value: Option<String>,
    #[serde(default)]
    pub(super) ties: Ties,
    /// How many were taken in.
    pub(super) taken: u64,
}

impl Stood {
    pub(super) fn place(&self) -> Place {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(map)) => Place(map),
            _ => Place::default(), // texts and numbers have a JSON form
        }
    }
}
