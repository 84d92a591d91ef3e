//! One look at the catalog's files and at the sources. It may take as long as a source takes to answer, so it is a task of
//! its own, and what it found is judged by the builder.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::Origin;
use crate::catalog::Fault;
use crate::catalog::build::{Connected, ask};
use crate::catalog::file::{Draft, Folder};

/// A source that has no revision is asked this often; one that is down, with growing pauses up to this.
const ASK_AGAIN: Duration = Duration::from_secs(5);
const DOWN_FIRST: Duration = Duration::from_millis(500);
/// Above every source's own timeout.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What was found.
pub(super) enum Look {
    /// The files are those in force; their sources as they are now.
    Same(Vec<Connected>),
    /// The files changed; the sources they name, and those of the files in force.
    Newer { draft: Arc<Draft>, connected: Vec<Connected>, in_force: Vec<Connected> },
    /// The files cannot be read, or name sources that cannot be made; the sources of the files in force.
    Faulty { faults: Vec<Fault>, in_force: Vec<Connected> },
}

/// What a look begins with.
pub(super) struct Known {
    pub(super) origin: Arc<Origin>,
    pub(super) folder: Arc<Mutex<Folder>>,
    /// Of the files in force.
    pub(super) draft: Arc<Draft>,
    pub(super) connected: Vec<Connected>,
    /// Of files that were refused: their sources stay connected from look to look.
    pub(super) newer: Vec<Connected>,
    /// Sources that are left alone.
    pub(super) resting: BTreeSet<String>,
}

impl Known {
    pub(super) async fn look(self) -> Look {
        let files = read(&self.origin, &self.folder).await;
        let draft = match files {
            Ok(draft) if draft.hash == self.draft.hash => {
                return match self.ask(&self.draft, &self.connected).await {
                    Ok(connected) => Look::Same(connected),
                    Err(faults) => Look::Faulty { faults, in_force: self.connected },
                };
            }
            Ok(draft) => draft,
            Err(faults) => {
                let in_force = self.ask(&self.draft, &self.connected).await.unwrap_or(self.connected);
                return Look::Faulty { faults, in_force };
            }
        };
        let known: Vec<Connected> = self.newer.iter().chain(&self.connected).cloned().collect();
        let (newer, in_force) = tokio::join!(self.ask(&draft, &known), self.ask(&self.draft, &self.connected));
        let in_force = in_force.unwrap_or_else(|_| self.connected.clone());
        match newer {
            Ok(connected) => Look::Newer { draft, connected, in_force },
            Err(faults) => Look::Faulty { faults, in_force },
        }
    }

    async fn ask(&self, draft: &Draft, known: &[Connected]) -> Result<Vec<Connected>, Vec<Fault>> {
        ask(draft, known, &*self.origin.connect, &|name| !self.resting.contains(name), ANSWER_MAX).await
    }
}

/// The catalog's files, read where waiting for a disk holds nobody up.
pub(super) async fn read(origin: &Origin, folder: &Arc<Mutex<Folder>>) -> Result<Arc<Draft>, Vec<Fault>> {
    let folder = Arc::clone(folder);
    let read = move || folder.lock().expect("no panic under the lock").read();
    let read = tokio::task::spawn_blocking(read).await;
    read.unwrap_or_else(|error| {
        let file = origin.catalog_dir.display().to_string();
        Err(vec![Fault { file, line: 1, column: 1, text: format!("could not be read: {error}") }])
    })
}

/// When each source was last asked, and how long it is left alone.
#[derive(Debug, Default, Clone)]
pub(super) struct Pauses(HashMap<String, (Instant, Duration)>);

impl Pauses {
    /// Sources that are not to be asked yet.
    pub(super) fn resting(&self) -> BTreeSet<String> {
        self.0.iter().filter(|(_, (at, pause))| at.elapsed() < *pause).map(|(name, _)| name.clone()).collect()
    }

    /// Whether it rests or not, it is asked at the next look.
    pub(super) fn end(&mut self, source: &str) {
        self.0.remove(source);
    }

    /// After a look that left the `resting` alone. Pauses grow while a source is down, and are even otherwise. `before`: the
    /// answers of the look before.
    pub(super) fn note(&mut self, connected: &[Connected], before: &[Connected], resting: &BTreeSet<String>) {
        for c in connected.iter().filter(|c| !resting.contains(&c.name)) {
            let was_down = before.iter().any(|b| b.name == c.name && b.tables.is_err());
            let pause = match (&c.tables, was_down) {
                (Ok(_), _) => ASK_AGAIN,
                (Err(_), false) => DOWN_FIRST,
                (Err(_), true) => {
                    let last = self.0.get(&c.name).map_or(DOWN_FIRST, |(_, pause)| *pause);
                    (last * 2).clamp(DOWN_FIRST, ASK_AGAIN)
                }
            };
            if let Err(error) = &c.tables
                && !was_down
            {
                metrics::counter!(crate::telemetry::metrics::SOURCE_ERRORS, "source" => c.name.clone()).increment(1);
                tracing::warn!(source = c.name, error = ?error, "source does not answer, its tables are unreachable");
            }
            self.0.insert(c.name.clone(), (Instant::now(), pause));
        }
    }
}

/// New snapshots of the same table do not make a new world: a statement pins the newest by itself.
pub(super) fn tables_differ(old: &[Connected], new: &[Connected]) -> bool {
    let shape = |c: &Connected| {
        let tables = c.tables.as_ref().ok()?;
        let mut all: Vec<_> = tables
            .iter()
            .map(|t| {
                let columns = (t.schema(), t.column_ids(), t.raw_columns().to_vec());
                (t.identity(), t.name().clone(), columns, t.declared().clone(), t.view().cloned())
            })
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        Some((all, c.schemas.clone()))
    };
    let is_same = |o: &Connected, n: &Connected| match (&o.tables, &n.tables) {
        (Ok(before), Ok(now)) => {
            o.hash == n.hash
                && o.schemas == n.schemas
                && before.len() == now.len()
                && before.iter().zip(now).all(|(b, n)| Arc::ptr_eq(b, n))
        }
        _ => false,
    };
    if old.len() == new.len() && old.iter().zip(new).all(|(o, n)| o.name == n.name && is_same(o, n)) {
        return false; // nobody was asked anew
    }
    old.len() != new.len()
        || old.iter().zip(new).any(|(o, n)| o.name != n.name || o.hash != n.hash || shape(o) != shape(n))
}
