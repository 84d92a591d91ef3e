//! Which snapshots running statements read. Pins are counted in memory, for a statement must not wait for a disk to begin;
//! those of statements that last are told to other processes by a value that runs out. Whoever deletes files of an expired
//! snapshot asks here first, and leaves [`Metastore::TOLD_WITHIN`] between the expiry and the question.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Metastore, on};
use crate::error::Result;

/// A table's identity and one of its snapshots.
type Snapshot = (Uuid, i64);

const PREFIX: &str = "lake.pins.";
/// Statements that are over sooner are not told of.
const LASTS: Duration = Duration::from_secs(2);
/// A process that has told nothing for so long is gone.
const RUNS_OUT_MS: i64 = 120_000;
/// So long after it ran out a value is taken away.
const FORGOTTEN_MS: i64 = 3_600_000;

#[derive(Debug)]
pub(super) struct Pins {
    /// The name of this process to the others.
    process: String,
    counted: Arc<Mutex<Counted>>,
}

#[derive(Debug, Default)]
struct Counted {
    snapshots: BTreeMap<Snapshot, Reading>,
    /// There is a value of ours.
    told: bool,
}

/// How many read a snapshot, and since when somebody does.
#[derive(Debug)]
struct Reading {
    count: u64,
    since: Instant,
}

/// A statement reads a snapshot for as long as this lives.
#[derive(Debug)]
pub struct Pin {
    snapshot: Snapshot,
    counted: Arc<Mutex<Counted>>,
}

#[derive(Serialize, Deserialize)]
struct Told {
    /// By the clock of the database that it is told in: those of several machines differ.
    until: i64,
    /// A table's identity as text.
    pins: Vec<(String, i64)>,
}

impl Default for Pins {
    fn default() -> Self {
        Self { process: Uuid::new_v4().simple().to_string(), counted: Arc::default() }
    }
}

/// Counts are put in whole: a panic elsewhere leaves none half made.
fn lock(counted: &Mutex<Counted>) -> MutexGuard<'_, Counted> {
    counted.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut counted = lock(&self.counted);
        if let Some(reading) = counted.snapshots.get_mut(&self.snapshot) {
            reading.count = reading.count.saturating_sub(1);
            if reading.count == 0 {
                counted.snapshots.remove(&self.snapshot);
            }
        }
    }
}

impl Metastore {
    /// [`Metastore::tell_pins`] is to be called this often.
    pub const TELL_EVERY: Duration = Duration::from_secs(5);
    /// A pin that is older is known to every process.
    pub const TOLD_WITHIN: Duration = Duration::from_secs(15);

    pub fn pin(&self, table: Uuid, snapshot: i64) -> Pin {
        let counted = Arc::clone(&self.pins.counted);
        let snapshot = (table, snapshot);
        let mut all = lock(&counted);
        let reading = all.snapshots.entry(snapshot).or_insert_with(|| Reading { count: 0, since: Instant::now() });
        reading.count = reading.count.saturating_add(1);
        drop(all);
        Pin { snapshot, counted }
    }

    /// Tells other processes what statements of this one have been reading for a while, each where its lake's catalog is.
    pub async fn tell_pins(&self) -> Result<()> {
        let mut told = self.tell_own().await;
        for other in self.others() {
            told = other.tell_own().await.and(told);
        }
        told
    }

    async fn tell_own(&self) -> Result<()> {
        let name = format!("{PREFIX}{}", self.pins.process);
        let (lasting, told) = {
            let counted = lock(&self.pins.counted);
            let lasts = |(snapshot, reading): (&Snapshot, &Reading)| {
                (reading.since.elapsed() >= LASTS).then(|| (snapshot.0.to_string(), snapshot.1))
            };
            (counted.snapshots.iter().filter_map(lasts).collect::<Vec<_>>(), counted.told)
        };
        let tells = !lasting.is_empty();
        if tells {
            let told = Told { until: on!(self, now_ms())?.saturating_add(RUNS_OUT_MS), pins: lasting };
            self.put(&name, &serde_json::to_vec(&told).unwrap_or_default()).await?;
        } else if told {
            self.remove(&name).await?;
        }
        lock(&self.pins.counted).told = tells;
        Ok(())
    }

    /// Snapshots of a table that statements read, of this process and, as far as they have told, of others.
    pub async fn pinned(&self, table: Uuid) -> Result<BTreeSet<i64>> {
        let of_table = |snapshot: &Snapshot| (snapshot.0 == table).then_some(snapshot.1);
        let mut pinned: BTreeSet<i64> = lock(&self.pins.counted).snapshots.keys().filter_map(of_table).collect();
        let (table, now) = (table.to_string(), on!(self, now_ms())?);
        for (name, value) in self.values(PREFIX).await? {
            match serde_json::from_slice::<Told>(&value) {
                Ok(told) if told.until >= now => {
                    pinned.extend(told.pins.iter().filter(|pin| pin.0 == table).map(|pin| pin.1));
                }
                // Its process may be about to tell again, and what it tells must not be taken away.
                Ok(told) if told.until.saturating_add(FORGOTTEN_MS) < now => self.remove(&name).await?,
                Ok(_) => {}
                Err(error) => tracing::warn!(name, %error, "what another process reads cannot be understood"),
            }
        }
        Ok(pinned)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[tokio::test]
    async fn a_pin_is_known_to_others_once_it_was_told() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config { path: directory.path().join("m.db"), busy_timeout_ms: 5_000 };
        let (ours, theirs) = (Metastore::open(&config).await.unwrap(), Metastore::open(&config).await.unwrap());
        let table = Uuid::new_v4();
        let (first, second) = (ours.pin(table, 7), ours.pin(table, 7));
        let other = ours.pin(Uuid::new_v4(), 8);
        drop(first);
        assert_eq!(ours.pinned(table).await.unwrap(), BTreeSet::from([7]));
        ours.tell_pins().await.unwrap();
        // A short statement is nobody else's affair.
        assert_eq!(theirs.pinned(table).await.unwrap(), BTreeSet::new());
        lock(&ours.pins.counted).snapshots.values_mut().for_each(|r| r.since -= LASTS);
        ours.tell_pins().await.unwrap();
        assert_eq!(theirs.pinned(table).await.unwrap(), BTreeSet::from([7]));
        drop((second, other));
        assert_eq!(ours.pinned(table).await.unwrap(), BTreeSet::from([7]));
        ours.tell_pins().await.unwrap();
        assert_eq!(theirs.pinned(table).await.unwrap(), BTreeSet::new());
        assert!(ours.values(PREFIX).await.unwrap().is_empty());
    }
}
