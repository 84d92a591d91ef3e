//! Which pipeline fills a table, noted where its lease is: two files that describe one table must not both fill it. It
//! decides nothing; the lease does.

use serde::{Deserialize, Serialize};

use super::target::Target;
use crate::error::{Error, Kind, Result};

/// As the holder of a table's lease notes it in the metastore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    pipeline: String,
    file: String,
}

impl Owner {
    /// Notes whose the table is, by the one who has just got the lease.
    pub(super) async fn note(target: &Target) -> Result<()> {
        let ours = Self { pipeline: target.pipeline.clone(), file: target.file.clone() };
        let json = serde_json::to_vec(&ours).expect("texts have a JSON form");
        target.lake.metastore().put(&name(target), &json).await
    }

    /// Another pipeline that holds the table, in words for the authors of both; `None` where it is ours, which another
    /// process runs.
    pub(super) async fn other(target: &Target) -> Result<Option<Error>> {
        let noted = target.lake.metastore().get(&name(target)).await?;
        let owner = noted.and_then(|json| serde_json::from_slice::<Self>(&json).ok());
        Ok(owner.filter(|owner| owner.pipeline != target.pipeline).map(|owner| {
            let text =
                format!("{} is filled by pipeline \"{}\" of {} already", target.whole(), owner.pipeline, owner.file);
            let hint = format!("Two pipelines cannot fill one table: remove {} or {}.", owner.file, target.file);
            Error::new(Kind::Config, text).with_hint(hint)
        }))
    }
}

fn name(target: &Target) -> String {
    format!("ingest.owner.{}", target.lease_name())
}
