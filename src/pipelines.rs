//! How each pipeline does, as its holder notes it in the metastore and as `lakegate.pipelines` shows it; and what a person may have
//! one do, whoever asks. It runs none.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Before a pipeline's name and what it fills: its state in the metastore.
pub const NOTED: &str = "ingest.status.";

/// The name under which the metastore keeps a pipeline's state.
pub(crate) fn name(pipeline: &str, filled: &str) -> String {
    format!("{NOTED}{pipeline}/{filled}")
}

/// Where a person wants a pipeline to go on.
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
    /// At the beginning, with an empty table: a database's tables are copied anew, a topic is read from its first record.
    Anew,
}

impl From {
    /// All but the last empty nothing.
    pub const WORDS: [(&str, Self); 4] = [
        ("earliest", Self::Earliest),
        ("latest", Self::Latest),
        ("snapshot", Self::Snapshot),
        ("property", Self::Property),
    ];
}

/// What came of a table's dead letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Rows that are in the table by now.
    pub rows: u64,
    /// Dead letters that are none any more; a record may have made no row.
    pub resolved: u64,
    /// Those that still do not fit.
    pub left: u64,
}

/// What a person may have a pipeline do, whichever process runs it. 42704 for one that no file describes. Who may is judged
/// before.
#[async_trait]
pub trait Operate: Send + Sync {
    /// Has it rest, or go on.
    async fn pause(&self, pipeline: &str, wanted: bool) -> Result<()>;

    /// Has one that reads a table at times look at it now.
    async fn pull(&self, pipeline: &str) -> Result<()>;

    /// Sets each table of one that rests to where it is to go on, and has it go on: the tables, and where they are now.
    async fn resume(&self, pipeline: &str, from: From) -> Result<Vec<(String, String)>>;

    /// Takes in again what was set aside and fits by now; table by table.
    async fn replay(&self, pipeline: &str) -> Result<Vec<(String, Replayed)>>;
}

/// 42704, in the same words whether it is not there or not for whoever asks.
pub fn no_pipeline(name: &str) -> Error {
    Error::new(crate::error::Kind::UndefinedObject, format!("pipeline \"{name}\" does not exist"))
}

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

impl State {
    /// As `lakegate.pipelines` spells it.
    pub fn word(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Streaming => "streaming",
            State::Retrying => "retrying",
            State::Paused => "paused",
            State::NeedsResync => "needs resync",
            State::Stopped => "stopped",
        }
    }
}

impl Status {
    pub(crate) fn new(state: State) -> Self {
        let since_ms = chrono::Utc::now().timestamp_millis();
        Self { state, since_ms, error: None, hint: None, committed_ms: None, records: 0, epoch: 0 }
    }

    pub(crate) fn enter(&mut self, state: State, error: Option<&Error>) {
        if self.state != state {
            self.since_ms = chrono::Utc::now().timestamp_millis();
        }
        self.state = state;
        self.error = error.map(Error::to_string);
        self.hint = error.and_then(|e| e.hint().map(str::to_string));
    }

    pub(crate) fn committed(&mut self, records: usize) {
        self.committed_ms = Some(chrono::Utc::now().timestamp_millis());
        self.records = records as u64;
    }

    pub(crate) fn json(&self, epoch: Option<i64>) -> Vec<u8> {
        let said = Self { epoch: epoch.unwrap_or(self.epoch), ..self.clone() };
        serde_json::to_vec(&said).expect("texts and numbers have a JSON form")
    }
}

/// The states of all pipelines, as they were noted a moment ago. Clones are one and the same.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<Arc<Vec<Noted>>>>);

/// Who has pipelines do what a person wants, once there is somebody. Clones are one and the same.
#[derive(Clone, Default)]
pub struct Operator(Arc<std::sync::OnceLock<Arc<dyn Operate>>>);

/// Whoever it is stays out: sessions are printed to logs.
impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Operator")
    }
}

impl Operator {
    /// The first one stays.
    pub fn open(&self, operate: Arc<dyn Operate>) {
        if self.0.set(operate).is_err() {
            tracing::debug!("pipelines are operated already");
        }
    }

    pub fn get(&self) -> Option<&Arc<dyn Operate>> {
        self.0.get()
    }
}

/// One line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    pub pipeline: String,
    /// A table of the target's schema; `None` for a pipeline that fills several.
    pub table: Option<String>,
    pub status: Status,
}

impl Board {
    pub fn all(&self) -> Arc<Vec<Noted>> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From the metastore's values below [`NOTED`]; what cannot be read is left out.
    pub fn put(&self, values: Vec<(String, Vec<u8>)>) {
        let noted = values.iter().filter_map(|(name, json)| {
            let (pipeline, filled) = name.strip_prefix(NOTED)?.split_once('/')?;
            let status = serde_json::from_slice(json).ok()?;
            let table = (!filled.starts_with('*')).then(|| filled.to_string());
            Some(Noted { pipeline: pipeline.into(), table, status })
        });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(noted.collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holders_note_is_shown() {
        let board = Board::default();
        let status = Status::new(State::Streaming);
        let noted = |name: String| (name, status.json(None));
        board.put(vec![noted(name("p", "orders")), noted(name("q", "*q")), (name("r", "x"), b"{".to_vec())]);
        let shown: Vec<_> = board.all().iter().map(|n| (n.pipeline.clone(), n.table.clone())).collect();
        assert_eq!(shown, [("p".into(), Some("orders".into())), ("q".into(), None)]);
        assert_eq!(board.all()[0].status, status);
    }
}
