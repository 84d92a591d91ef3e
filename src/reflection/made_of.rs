//! What a stored reflection says of itself, as properties of its table: of which query it is and at which versions of which
//! tables it was made. They are written by the commit that writes the rows. It reads and writes no table.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::lossless::Lossless;
use crate::error::{Error, Result};
use crate::types::{ObjectId, SnapshotVector, Version};

/// Names of properties.
const HOME: &str = "lakegate.reflection.home";
const NAME: &str = "lakegate.reflection.name";
const PRINT: &str = "lakegate.reflection.query";
const BASES: &str = "lakegate.reflection.bases";
const LOSSLESS: &str = "lakegate.reflection.lossless";
const AS_OF: &str = "lakegate.reflection.as-of";
/// The batch whose rows the properties speak of.
const BATCH: &str = "lakegate.reflection.batch";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeOf {
    /// The deployment that keeps it.
    pub home: String,
    /// The reflection's.
    pub name: String,
    /// [`super::Upkeep::print`].
    pub print: u64,
    pub bases: SnapshotVector,
    /// Of these versions.
    pub lossless: Lossless,
    /// When its tables were looked at, in microseconds since 1970.
    pub as_of: i64,
    /// Its newest batch; `None` for one that has no rows.
    pub batch: Option<String>,
}

/// A [`Version`] as it is written.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Written {
    Fixed(u64),
    Snapshot(Option<i64>),
    Offsets { topic_id: String, spans: Vec<(i32, i64, i64)> },
    Files(String),
    Live,
}

impl MadeOf {
    /// `None` where there is anything that this deployment would not have written.
    pub fn read(properties: &HashMap<String, String>) -> Option<Self> {
        let text = |name: &str| properties.get(name);
        let bases: BTreeMap<String, Written> = serde_json::from_str(text(BASES)?).ok()?;
        let version = |(id, version): (String, Written)| {
            let id = ObjectId(u64::from_str_radix(&id, 16).ok()?);
            Some((id, version.into()))
        };
        let pair = |(added, to): (String, String)| {
            let id = |text: &str| u64::from_str_radix(text, 16).ok().map(ObjectId);
            Some((id(&added)?, id(&to)?))
        };
        // absent where an earlier version of lakegate wrote it
        let pairs = text(LOSSLESS).map_or_else(|| Some(vec![]), |pairs| serde_json::from_str(pairs).ok())?;
        Some(Self {
            home: text(HOME)?.clone(),
            name: text(NAME)?.clone(),
            print: u64::from_str_radix(text(PRINT)?, 16).ok()?,
            bases: bases.into_iter().map(version).collect::<Option<_>>()?,
            lossless: pairs.into_iter().map(pair).collect::<Option<_>>()?,
            as_of: text(AS_OF)?.parse().ok()?,
            batch: text(BATCH).filter(|batch| !batch.is_empty()).cloned(),
        })
    }

    pub fn properties(&self) -> Result<HashMap<String, String>> {
        let bases: BTreeMap<String, Written> =
            self.bases.iter().map(|(id, version)| (id.to_string(), version.clone().into())).collect();
        let bases = serde_json::to_string(&bases).map_err(|e| Error::internal("versions as JSON").with_source(e))?;
        let pairs = self.lossless.iter().map(|(added, to)| (added.to_string(), to.to_string()));
        let pairs = serde_json::to_string(&pairs.collect::<Vec<_>>());
        let pairs = pairs.map_err(|e| Error::internal("joins as JSON").with_source(e))?;
        let all = [
            (HOME, self.home.clone()),
            (NAME, self.name.clone()),
            (PRINT, format!("{:016x}", self.print)),
            (BASES, bases),
            (LOSSLESS, pairs),
            (AS_OF, self.as_of.to_string()),
            (BATCH, self.batch.clone().unwrap_or_default()),
        ];
        Ok(all.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
    }
}

impl From<Version> for Written {
    fn from(version: Version) -> Self {
        match version {
            Version::Fixed(n) => Self::Fixed(n),
            Version::Snapshot(snapshot) => Self::Snapshot(snapshot),
            Version::Offsets { topic_id, spans } => Self::Offsets { topic_id, spans },
            Version::Files(digest) => Self::Files(digest),
            // what a pipeline holds in memory is nothing to come back to
            Version::Fresh(..) | Version::Live => Self::Live,
        }
    }
}

impl From<Written> for Version {
    fn from(written: Written) -> Self {
        match written {
            Written::Fixed(n) => Self::Fixed(n),
            Written::Snapshot(snapshot) => Self::Snapshot(snapshot),
            Written::Offsets { topic_id, spans } => Self::Offsets { topic_id, spans },
            Written::Files(digest) => Self::Files(digest),
            Written::Live => Self::Live,
        }
    }
}

#[cfg(test)]
mod tests;
