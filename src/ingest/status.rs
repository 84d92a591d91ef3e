//! What is told of each pipeline: the state its holder noted, and how far table and topic are. It changes nothing, and
//! nothing depends on what is noted here.

use serde::{Deserialize, Serialize};

use super::origin::{Lag, Origin};
use super::position::Found;
use super::target::Target;
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
        format!("ingest.status.{}/{}", target.pipeline, target.filled())
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

    pub(super) fn json(&self, epoch: Option<i64>) -> Vec<u8> {
        let said = Self { epoch: epoch.unwrap_or(self.epoch), ..self.clone() };
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
    /// How far it is, in the origin's words.
    pub position: Result<Option<String>, String>,
    /// How far behind the origin's end.
    pub lag: Result<Lag, String>,
}

impl Report {
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

/// Asks tables, metastore and origin; what does not answer is told as such.
pub async fn report(target: &Target, origin: &mut dyn Origin) -> Result<Report> {
    let metastore = target.lake.metastore();
    let noted = metastore.get(&Status::name(target)).await?;
    let lease = metastore.lease(&target.lease_name()).await?;
    let place = match &target.table {
        None => {
            let kept = metastore.get(&target.checkpoint_name()).await?.filter(|json| !json.is_empty());
            Ok(kept.and_then(|json| serde_json::from_slice(&json).ok()))
        }
        Some(table) => match target.lake.table(&target.key(table)).await {
            Ok(None) => Ok(None),
            Ok(Some(table)) => Found::of(&table, target).map(|found| found.place().cloned()),
            Err(error) => Err(error),
        },
    };
    let lag = origin.lag(place.as_ref().ok().and_then(Option::as_ref)).await;
    Ok(Report {
        pipeline: target.pipeline.clone(),
        table: target.label(),
        status: noted.and_then(|bytes| serde_json::from_slice(&bytes).ok()),
        running: lease.is_some_and(|(_, live)| live),
        position: place.map(|place| place.map(|place| origin.range(&place))).map_err(|e| e.to_string()),
        lag: lag.map_err(|e| e.to_string()),
    })
}
