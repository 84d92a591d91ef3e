//! A person's wish that a pipeline rests, or that it looks at its table now, kept where every process that runs it sees it. The flow itself decides when.

use crate::error::Result;
use crate::metastore::Metastore;

/// Takes effect within a look (`look_ms`): what was read is committed first, and the origin keeps what comes.
pub async fn pause(metastore: &Metastore, pipeline: &str, wanted: bool) -> Result<()> {
    metastore.put(&name(pipeline), if wanted { b"paused" } else { b"" }).await
}

pub(super) async fn is_paused(metastore: &Metastore, pipeline: &str) -> Result<bool> {
    Ok(metastore.get(&name(pipeline)).await?.is_some_and(|wish| !wish.is_empty()))
}

/// A pipeline that reads a table at times does so now, within a look; one that rests, once it goes on. Wishes that come before it
/// was heard are one.
pub async fn pull(metastore: &Metastore, pipeline: &str) -> Result<()> {
    let wish = uuid::Uuid::new_v4().simple().to_string();
    metastore.put(&pull_name(pipeline), wish.as_bytes()).await
}

/// The last such wish, heard or not.
pub(super) async fn pull_wished(metastore: &Metastore, pipeline: &str) -> Result<Option<String>> {
    let wish = metastore.get(&pull_name(pipeline)).await?;
    Ok(wish.and_then(|wish| String::from_utf8(wish).ok()))
}

fn pull_name(pipeline: &str) -> String {
    format!("ingest.pull.{pipeline}")
}

fn name(pipeline: &str) -> String {
    format!("ingest.wish.{pipeline}")
}
