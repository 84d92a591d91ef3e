//! What is told of each pipeline: the state its holder noted, and how far table and origin are. It changes nothing, and
//! nothing depends on what is noted here.

use super::origin::{Lag, Origin};
use super::position::Found;
use super::target::Target;
use crate::error::Result;
pub use crate::pipelines::{State, Status};

/// The name under which the metastore keeps a pipeline's state.
pub(super) fn name(target: &Target) -> String {
    crate::pipelines::name(&target.pipeline, &target.filled())
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
    let noted = metastore.get(&name(target)).await?;
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
