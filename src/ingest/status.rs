//! What is told of each pipeline: the state its holder noted, and how far table and topic are. It changes nothing, and
//! nothing depends on what is noted here.

use serde::{Deserialize, Serialize};

use super::change::{Extent, Offsets, Origin, Position};
use super::flow::Target;
use super::resume::Kept;
use crate::error::{Error, Result};

/// Where a pipeline stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Starting,
    Streaming,
    /// Something is down; it is tried again by itself.
    Retrying,
    /// Somebody must change something; then it goes on where it was.
    Paused,
    /// Going on would lose or double changes unless somebody says from where.
    NeedsResync,
    /// It was told to stop.
    Stopped,
}

/// As the holder of the lease notes it in the metastore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub state: State,
    pub since_ms: i64,
    #[serde(default)]
    pub error: Option<String>,
    #[serde(default)]
    pub hint: Option<String>,
    #[serde(default)]
    pub committed_ms: Option<i64>,
    /// In the last batch.
    #[serde(default)]
    pub records: u64,
    #[serde(default)]
    pub epoch: i64,
}

impl Status {
    pub(super) fn new(state: State) -> Self {
        let since_ms = chrono::Utc::now().timestamp_millis();
        Self { state, since_ms, error: None, hint: None, committed_ms: None, records: 0, epoch: 0 }
    }

    /// The name under which the metastore keeps it.
    pub(super) fn name(target: &Target) -> String {
        format!("ingest.status.{}/{}", target.pipeline, target.key.name)
    }

    pub(super) fn enter(&mut self, state: State, error: Option<&Error>) {
        if self.state != state {
            self.since_ms = chrono::Utc::now().timestamp_millis();
        }
        self.state = state;
        self.error = error.map(Error::to_string);
        self.hint = error.and_then(|e| e.hint().map(str::to_string));
    }

    pub(super) fn committed(&mut self, records: usize) {
        self.committed_ms = Some(chrono::Utc::now().timestamp_millis());
        self.records = records as u64;
    }

    pub(super) fn json(&self, position: Option<&Position>) -> Vec<u8> {
        let said = Self { epoch: position.map_or(self.epoch, |p| p.epoch), ..self.clone() };
        serde_json::to_vec(&said).expect("texts and numbers have a JSON form")
    }
}

/// What is to be told of one table of a pipeline.
#[derive(Clone, Debug)]
pub struct Report {
    pub pipeline: String,
    pub table: String,
    /// `None` where it never ran.
    pub status: Option<Status>,
    /// Somebody holds the lease now.
    pub running: bool,
    pub position: Result<Option<Offsets>, String>,
    pub end: Result<Extent, String>,
}

impl Report {
    /// Changes in the topic that are not in the table.
    pub fn lag(&self) -> Option<i64> {
        let (Ok(position), Ok(extent)) = (&self.position, &self.end) else { return None };
        let behind = extent.spans.iter().map(|(partition, (first, end))| {
            let next = position.as_ref().and_then(|p| p.get(partition)).unwrap_or(first);
            end.saturating_sub(*next).max(0)
        });
        Some(behind.sum())
    }

    /// One word.
    pub fn state(&self) -> &'static str {
        match self.status.as_ref().map(|s| s.state) {
            None => "never ran",
            Some(State::NeedsResync) => "needs resync",
            Some(State::Paused) => "paused",
            Some(_) if !self.running => "not running",
            Some(State::Starting) => "starting",
            Some(State::Streaming) => "streaming",
            Some(State::Retrying) => "retrying",
            Some(State::Stopped) => "not running",
        }
    }
}

/// Asks table, metastore and origin; what does not answer is told as such.
pub async fn report(target: &Target, origin: &mut dyn Origin) -> Result<Report> {
    let metastore = target.lake.metastore();
    let noted = metastore.get(&Status::name(target)).await?;
    let lease = metastore.lease(&target.lease_name()).await?;
    let position = match target.lake.table(&target.key).await {
        Ok(None) => Ok(None),
        Ok(Some(table)) => Kept::of(&table, target).map(|k| k.position.map(|p| p.partitions)),
        Err(error) => Err(error),
    };
    Ok(Report {
        pipeline: target.pipeline.clone(),
        table: target.shown().to_string(),
        status: noted.and_then(|bytes| serde_json::from_slice(&bytes).ok()),
        running: lease.is_some_and(|(_, live)| live),
        position: position.map_err(|e| e.to_string()),
        end: origin.extent().await.map_err(|e| e.to_string()),
    })
}
