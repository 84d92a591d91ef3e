//! What keeps a table healthy: small files are put together, old snapshots expire, files that nothing names are removed,
//! manifests are merged, and a table is looked over. Each ends in one commit or in files that nothing refers to. It decides
//! no right to any of it, and begins nothing by itself: `keeper` judges what is due, and whoever runs it calls.

mod check;
mod compact;
mod expire;
mod garbage;
mod keeper;
mod manifests;
mod orphans;
mod properties;
mod reach;
pub(super) mod retain;

pub use check::Findings;
pub use compact::{Compacted, Selection};
pub use expire::Expired;
pub use keeper::{Keeper, Kept};
pub use manifests::Merged;
pub use orphans::{Orphans, Wanted};
pub use properties::KEEPER_ENABLED;
pub use retain::Expiry;

use std::time::Duration;

use super::{Lake, Outcome, Table, TableKey, shown};
use crate::error::{Error, Kind, Result};

/// A job of ours that lost so many races leaves the table to the writers.
const ATTEMPTS: u32 = 8;
const PAUSE: Duration = Duration::from_millis(50);

impl Lake {
    /// The table as it is; 42P01 where it is gone.
    async fn present(&self, key: &TableKey) -> Result<Table> {
        let missing = || Error::new(Kind::UndefinedTable, format!("relation \"{}\" does not exist", key.name));
        self.table(key).await?.ok_or_else(missing)
    }
}

/// What a commit came to that is neither done nor to be tried again.
fn ended(key: &TableKey, outcome: &Outcome) -> Error {
    match outcome {
        Outcome::LeaseLost => {
            Error::new(Kind::Conflict, format!("table {} is kept by another process now", shown(key)))
        }
        Outcome::Unknown(batch) => {
            let message = format!("it is not known whether the change of table {} took place", shown(key));
            Error::new(Kind::SourceUnreachable, message).with_source(format!("batch {batch}"))
        }
        Outcome::Committed(_) | Outcome::Conflict(_) => busy(key),
    }
}

fn busy(key: &TableKey) -> Error {
    Error::new(Kind::Conflict, format!("table {} is being written by others all the time", shown(key)))
        .with_hint("Nothing was changed; try again later.")
}
