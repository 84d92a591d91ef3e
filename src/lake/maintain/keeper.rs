//! Keeps the tables of a lake in order that ask for it by their properties: expires snapshots, puts small files together,
//! deletes what nobody reads any more. Of several processes one keeps a table, by a lease. Each round looks at what moved
//! since the last one; a round that fails is tried again later, and no writer ever waits for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::catalog::Session;

use super::super::{Lake, Lease, Table, TableKey, TableRow};
use super::compact::Selection;
use super::properties::Properties;
use super::retain::expiring;
use super::{Compacted, Expired, Expiry};
use crate::error::Result;
use crate::jobs::{Job, Jobs};
use crate::metastore::Metastore;
use crate::types::TableName;

const LEASE_MS: i64 = 30_000;
const RENEW_EVERY: Duration = Duration::from_secs(8);
/// A table that could not be kept is left alone for so long.
const AFTER_FAILURE: Duration = Duration::from_secs(30);
/// Snapshots grow old without a commit.
const LOOK_AT_AGES: Duration = Duration::from_secs(600);
/// Looking at a table takes at most this part of the time.
const LOOK_SHARE: u32 = 20;

/// The tables of one lake.
#[derive(Debug)]
pub struct Keeper {
    lake: Arc<Lake>,
    jobs: Jobs,
    holder: String,
    watched: HashMap<TableKey, Watched>,
}

/// What is known of a table since it was looked at.
#[derive(Debug)]
struct Watched {
    location: String,
    is_kept: bool,
    not_before: Instant,
    ages_at: Instant,
    /// Files wait for their deletion, or may.
    has_garbage: bool,
}

/// What a round came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    pub snapshots_expired: u64,
    pub files_compacted: u64,
    pub files_deleted: u64,
}

/// What a table needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Due {
    expiry: bool,
    compaction: bool,
    sweep: bool,
}

impl Keeper {
    /// `holder` names the process to the others.
    pub fn new(lake: Arc<Lake>, jobs: Jobs, holder: impl Into<String>) -> Self {
        Self { lake, jobs, holder: holder.into(), watched: HashMap::new() }
    }

    pub fn lake(&self) -> &Arc<Lake> {
        &self.lake
    }

    /// Once over all tables. `name`: how users call a table; `told_within`: [`Metastore::TOLD_WITHIN`], less only in a
    /// test.
    pub async fn round(
        &mut self,
        session: &dyn Session,
        name: &(dyn Fn(&TableRow) -> TableName + Sync),
        told_within: Duration,
    ) -> Result<Kept> {
        let rows = self.lake.tables().await?;
        let mut kept = Kept::default();
        let keys: HashMap<TableKey, TableRow> =
            rows.into_iter().map(|row| (self.lake.key(&row.namespace, &row.name), row)).collect();
        self.watched.retain(|key, _| keys.contains_key(key));
        for (key, row) in keys {
            let now = Instant::now();
            let rests = self.watched.get(&key).is_some_and(|watched| {
                let moved = watched.location != row.location;
                let wakes = watched.is_kept && (watched.has_garbage || now >= watched.ages_at);
                now < watched.not_before || !(moved || wakes)
            });
            if rests {
                continue;
            }
            if let Err(error) = self.keep(session, &key, &row, name(&row), told_within, &mut kept).await {
                tracing::warn!(table = %name(&row), error = ?error, "a table was not kept, it is tried again");
                let watched = self.watched.entry(key).or_insert_with(|| Watched::new(&row));
                watched.not_before = Instant::now() + AFTER_FAILURE;
                // As if it had moved.
                watched.location.clear();
            }
        }
        Ok(kept)
    }

    async fn keep(
        &mut self,
        session: &dyn Session,
        key: &TableKey,
        row: &TableRow,
        name: TableName,
        told_within: Duration,
        kept: &mut Kept,
    ) -> Result<()> {
        let began = Instant::now();
        let table = self.lake.load(key, &row.location).await?;
        let watched = self.watched.entry(key.clone()).or_insert_with(|| Watched::new(row));
        watched.location.clone_from(&row.location);
        watched.is_kept = Properties(table.properties()).is_kept();
        if !watched.is_kept {
            return Ok(());
        }
        let ages = began >= watched.ages_at;
        if ages {
            watched.ages_at = began + LOOK_AT_AGES;
        }
        let due = self.lake.due(&table, ages).await?;
        watched.has_garbage = due.sweep;
        watched.not_before = Instant::now() + began.elapsed() * LOOK_SHARE;
        if due == Due::default() {
            return Ok(());
        }
        let lease = format!("keeper.{}", table.uuid());
        let Some(lease) = self.lake.metastore().take_lease(&lease, &self.holder, LEASE_MS).await? else {
            // another process keeps it; should that end half-way, it is ours to do
            watched.location.clear();
            watched.not_before = Instant::now() + AFTER_FAILURE;
            return Ok(());
        };
        let work = Work { keeper: self, session, key, name, lease: &lease, told_within };
        let done = tokio::select! {
            done = work.run(due) => done,
            () = held(self.lake.metastore(), &lease) => Ok(Kept::default()),
        };
        if let Err(error) = self.lake.metastore().release_lease(&lease).await {
            tracing::debug!(%error, "a keeper's lease was not let go of");
        }
        let done = done?;
        kept.snapshots_expired += done.snapshots_expired;
        kept.files_compacted += done.files_compacted;
        kept.files_deleted += done.files_deleted;
        if let Some(watched) = self.watched.get_mut(key) {
            watched.has_garbage |= done.snapshots_expired > 0;
            if due.sweep && done.files_deleted == 0 {
                // somebody reads it, or may not have been heard yet
                watched.not_before = watched.not_before.max(Instant::now() + told_within);
            }
        }
        Ok(())
    }
}

impl Watched {
    fn new(row: &TableRow) -> Self {
        let now = Instant::now();
        Self { location: row.location.clone(), is_kept: false, not_before: now, ages_at: now, has_garbage: true }
    }
}

impl Lake {
    async fn due(&self, table: &Table, ages: bool) -> Result<Due> {
        let properties = Properties(table.properties());
        let most = properties.snapshots_max();
        // A quarter more, so that not every commit is followed by an expiry.
        let expiry = properties.may_delete_files()
            && table.changeable().is_ok()
            && (ages || table.metadata.snapshots().len() > most.saturating_add(most / 4).saturating_add(1));
        let expiry = expiry && {
            let wanted = Expiry { keep_at_most: Some(most), ..Expiry::default() };
            !expiring(&table.metadata, &wanted, chrono::Utc::now().timestamp_millis())?.is_nothing()
        };
        let files = self.files(table).await?;
        let bins = super::compact::bins(files, properties, Selection::Due);
        let sweep = properties.may_delete_files() && !self.waiting(table.uuid()).await?.is_empty();
        Ok(Due { expiry, compaction: !bins.is_empty() && table.writable().is_ok(), sweep })
    }
}

/// One table's turn.
struct Work<'a> {
    keeper: &'a Keeper,
    session: &'a dyn Session,
    key: &'a TableKey,
    name: TableName,
    lease: &'a Lease,
    told_within: Duration,
}

impl Work<'_> {
    async fn run(&self, due: Due) -> Result<Kept> {
        let lake = &self.keeper.lake;
        let mut kept = Kept::default();
        if due.compaction {
            let job = self.begin("compact");
            let done = lake.compact(self.session, self.key, Selection::Due, Some(self.lease), &job).await;
            kept.files_compacted = ended(job, done, Compacted::to_string)?.files_before;
        }
        if due.expiry {
            let job = self.begin("expire_snapshots");
            let keep_at_most = match lake.table(self.key).await? {
                Some(table) => Some(Properties(table.properties()).snapshots_max()),
                None => return Ok(kept),
            };
            let expiry = Expiry { keep_at_most, ..Expiry::default() };
            let done = lake.expire(self.key, &expiry, Some(self.lease), &job).await;
            kept.snapshots_expired = ended(job, done, Expired::to_string)?.snapshots;
        }
        if due.sweep
            && let Some(table) = lake.table(self.key).await?
        {
            kept.files_deleted = lake.sweep(table.uuid(), self.told_within).await?;
        }
        Ok(kept)
    }

    fn begin(&self, kind: &'static str) -> Job {
        self.keeper.jobs.begin(kind, self.name.clone(), None)
    }
}

fn ended<T>(job: Job, done: Result<T>, said: impl Fn(&T) -> String) -> Result<T> {
    match &done {
        Ok(done) => job.done(said(done)),
        Err(error) => job.failed(error.message()),
    }
    done
}

/// Ends when the lease is another's.
async fn held(metastore: &Metastore, lease: &Lease) {
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        match metastore.renew_lease(lease, LEASE_MS).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::warn!(%error, "a keeper's lease was not renewed"),
        }
    }
}
