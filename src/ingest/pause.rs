//! A person's wish that a pipeline rests, kept where every process that runs it sees it. The flow itself decides when.

use crate::error::Result;
use crate::metastore::Metastore;

/// Takes effect within a look (`look_ms`): what was read is committed first, and the origin keeps what comes.
pub async fn pause(metastore: &Metastore, pipeline: &str, wanted: bool) -> Result<()> {
    metastore.put(&name(pipeline), if wanted { b"paused" } else { b"" }).await
}

pub(super) async fn is_paused(metastore: &Metastore, pipeline: &str) -> Result<bool> {
    Ok(metastore.get(&name(pipeline)).await?.is_some_and(|wish| !wish.is_empty()))
}

fn name(pipeline: &str) -> String {
    format!("ingest.wish.{pipeline}")
}
