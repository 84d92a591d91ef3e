//! Keeps the lakes of a process in order, beside the doors of `serve` and the pipelines of `lakegate ingest`. What is due
//! `lake` decides; here is only which lakes there are, and that it goes on until the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::SessionState;
use tokio_util::sync::CancellationToken;

use crate::jobs::Jobs;
use crate::lake::Keeper;
use crate::metastore::Metastore;
use crate::sources::iceberg::Maintained;

/// Tables are looked at this often, those that moved.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The lakes there are now, by their sources' names.
pub(super) type Lakes = Box<dyn Fn() -> BTreeMap<String, Maintained> + Send + Sync>;

/// The keeper of one process.
pub(super) struct Keeping {
    pub(super) metastore: Arc<Metastore>,
    pub(super) lakes: Lakes,
    pub(super) state: SessionState,
    pub(super) jobs: Jobs,
}

impl Keeping {
    pub(super) async fn run(self, end: CancellationToken) {
        let holder = format!("{}-{}", std::process::id(), uuid::Uuid::new_v4().simple());
        let mut keepers: BTreeMap<String, Keeper> = BTreeMap::new();
        // beside the rounds, of which one may take long: what is not told in time is not spared by others
        let told = async {
            loop {
                if let Err(error) = self.metastore.tell_pins().await {
                    tracing::warn!(%error, "what statements read could not be told");
                }
                tokio::time::sleep(Metastore::TELL_EVERY).await;
            }
        };
        let rounds = async {
            loop {
                self.round(&mut keepers, &holder).await;
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let both = async { tokio::join!(told, rounds) };
        end.run_until_cancelled(Box::pin(both)).await;
    }

    /// Over all lakes. One that does not answer is asked again.
    async fn round(&self, keepers: &mut BTreeMap<String, Keeper>, holder: &str) {
        let lakes = (self.lakes)();
        keepers.retain(|name, keeper| lakes.get(name).is_some_and(|kept| Arc::ptr_eq(&kept.lake, keeper.lake())));
        for (source, kept) in lakes {
            let lake = Arc::clone(&kept.lake);
            let new = || Keeper::new(lake, self.jobs.clone(), holder);
            let keeper = keepers.entry(source.clone()).or_insert_with(new);
            if let Err(error) = keeper.round(&self.state, &|row| kept.name(row), Metastore::TOLD_WITHIN).await {
                tracing::debug!(source, %error, "a lake could not be looked at");
            }
        }
    }
}
