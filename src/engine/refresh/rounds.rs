//! Looks at all reflections every second, beside the doors of `serve`: shows what is stored after a restart, refreshes what is
//! due, tells how each does, and forgets what no definition asks for any more.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{Done, Task, home, table_name, told};
use crate::engine::{Engine, World, micros_now};
use crate::error::{Error, Result};
use crate::metastore::Metastore;
use crate::reflection::schedule::{Due, Known, due, turns};
use crate::reflection::{Reflection, Stored};
use crate::refreshes::{Seen, State};
use crate::sql::parse::reflection::Refresh;
use crate::telemetry::metrics::REFLECTION_ROWS;
use crate::types::{TableName, Version};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Refreshes at once: each has the memory of a statement.
const RUNNING_MAX: usize = 2;

/// The refreshing of one process.
pub(crate) struct Refreshing {
    engine: Arc<Engine>,
    metastore: Arc<Metastore>,
    /// Asked for once.
    home: Option<String>,
    watched: BTreeMap<String, Watched>,
    running: JoinSet<Ended>,
    /// The names of all definitions when what no other asks for was looked for.
    swept: Option<BTreeSet<String>>,
    /// When files of dropped tables were looked for.
    files_swept_at: Option<Instant>,
}

/// The name and the print of a reflection whose refresh is over, and what came of it.
type Ended = (String, u64, Result<Option<Done>>);

/// What is known of one of them.
#[derive(Debug, Default)]
struct Watched {
    print: u64,
    /// Where it was looked whether something is stored.
    is_loaded: bool,
    is_running: bool,
    bytes: Option<u64>,
    /// It is due since then, and waits for a place.
    waits_since: Option<i64>,
    /// Of refreshes that were begun, since one that did not fail.
    failures: u32,
    failed_at: i64,
    /// Why the last of them failed.
    error: Option<Why>,
    /// Why the last look failed. What could not be looked at is looked at again by the next round.
    unseen: Option<Why>,
    next_at: Option<i64>,
}

/// An error for whoever sees all of the tables, and for others.
#[derive(Debug)]
struct Why {
    whole: String,
    told: String,
}

impl Why {
    fn of(error: &Error) -> Self {
        Self { whole: error.message().to_string(), told: told(error) }
    }
}

impl Refreshing {
    pub(crate) fn new(engine: Arc<Engine>, metastore: Arc<Metastore>) -> Self {
        let (watched, running) = (BTreeMap::new(), JoinSet::new());
        Self { engine, metastore, home: None, watched, running, swept: None, files_swept_at: None }
    }

    pub(crate) async fn run(mut self, end: CancellationToken) {
        let rounds = async {
            loop {
                self.round().await;
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        end.run_until_cancelled(Box::pin(rounds)).await;
    }

    /// Once over all reflections; what is due is begun and not waited for.
    pub(crate) async fn round(&mut self) {
        while let Some(ended) = self.running.try_join_next() {
            self.ended(ended);
        }
        let world = self.engine.world();
        self.over(world).await;
    }

    pub(super) async fn over(&mut self, world: Arc<World>) {
        let home = match self.home().await {
            Ok(home) => home,
            Err(error) => return tracing::debug!(%error, "reflections could not be looked at"),
        };
        let all = world.reflections.all();
        self.watched.retain(|name, _| world.reflections.named(name).is_some());
        let mut waiting = vec![];
        for reflection in all {
            let task = Task::new(&self.engine, &world, reflection, &home);
            let looked = self.look(&task).await;
            let Some(watched) = self.watched.get_mut(&reflection.name) else { continue };
            let (waits_since, unseen) = match looked {
                Ok(waits_since) => (waits_since, None),
                Err(error) => (None, Some(Why::of(&error))),
            };
            if let Some(why) = &unseen
                && watched.unseen.as_ref().is_none_or(|before| before.whole != why.whole)
            {
                tracing::warn!(reflection = reflection.name, error = why.whole, "a reflection could not be looked at");
            }
            (watched.waits_since, watched.unseen) = (waits_since, unseen);
            waiting.extend(waits_since.map(|since| (since, task)));
        }
        for task in turns(waiting, RUNNING_MAX.saturating_sub(self.running.len())) {
            let (name, print) = (task.reflection.name.clone(), task.reflection.upkeep.print);
            self.begin(name, print, refreshed(task));
        }
        if let Err(error) = self.sweep(&world, &home).await {
            tracing::debug!(%error, "what was stored of reflections that are gone could not be dropped");
        }
        self.tell(&world);
    }

    /// Until nothing that was begun is under way.
    #[cfg(test)]
    pub(crate) async fn settle(&mut self) {
        while let Some(ended) = self.running.join_next().await {
            self.ended(ended);
        }
        let world = self.engine.world();
        self.tell(&world);
    }

    async fn home(&mut self) -> Result<String> {
        if let Some(home) = &self.home {
            return Ok(home.clone());
        }
        let home = home(&self.metastore).await?;
        self.home = Some(home.clone());
        Ok(home)
    }

    /// Since when it is due, where it is.
    async fn look(&mut self, task: &Task) -> Result<Option<i64>> {
        let reflection = &task.reflection;
        let print = reflection.upkeep.print;
        let watched = self.watched.entry(reflection.name.clone()).or_default();
        if watched.print != print {
            let is_running = watched.is_running;
            *watched = Watched { print, is_running, ..Watched::default() };
        }
        if !watched.is_loaded {
            watched.bytes = task.load().await?;
            watched.is_loaded = true;
        }
        watched.next_at = None;
        if !reflection.enabled || watched.is_running {
            return Ok(None);
        }
        let stored = reflection.stored.get();
        let moved = match (&stored, reflection.upkeep.refresh) {
            (Some(stored), Refresh::OnCommit) => task.has_moved(stored).await?,
            (_, Refresh::Every(_) | Refresh::OnCommit | Refresh::Manual) => false,
        };
        let (failures, failed_at) = (watched.failures, watched.failed_at);
        let known = Known { as_of: stored.as_ref().map(|stored| stored.as_of), moved, failures, failed_at };
        let now = micros_now();
        let mut due = due(reflection.upkeep.refresh, &known, now);
        // as old as its tables are: now
        if let (Due::Now, false, Some(stored)) = (due, moved, &stored)
            && !task.has_moved(stored).await?
        {
            reflection.stored.put(Some(Arc::new(Stored { as_of: now, ..stored.as_ref().clone() })));
            due = Due::Not;
        }
        match due {
            Due::Not => Ok(None),
            Due::At(at) => {
                watched.next_at = Some(at);
                Ok(None)
            }
            Due::Now => {
                watched.next_at = Some(now);
                Ok(Some(watched.waits_since.unwrap_or(now)))
            }
        }
    }

    /// A refresh beside the rounds, as the others that run. One that panics has failed.
    pub(super) fn begin(
        &mut self,
        name: String,
        print: u64,
        refresh: impl Future<Output = Result<Option<Done>>> + Send + 'static,
    ) {
        if let Some(watched) = self.watched.get_mut(&name) {
            (watched.is_running, watched.waits_since, watched.next_at) = (true, None, None);
        }
        self.running.spawn(async move {
            let done = AssertUnwindSafe(refresh).catch_unwind().await;
            let done = done.unwrap_or_else(|_| Err(Error::internal("a refresh ended before its end")));
            (name, print, done)
        });
    }

    fn ended(&mut self, ended: Result<Ended, JoinError>) {
        let (name, print, done) = match ended {
            Ok(ended) => ended,
            // a panic is caught before, and nobody cancels one
            Err(error) => return tracing::error!(%error, "a refresh ended before its end"),
        };
        let Some(watched) = self.watched.get_mut(&name) else { return };
        watched.is_running = false;
        match done {
            Ok(Some(done)) => {
                tracing::debug!(reflection = name, how = done.word(), "refreshed");
                (watched.failures, watched.error) = (0, None);
                // its size is another
                watched.is_loaded &= done == Done::Unmoved;
            }
            // another process is at it: what it leaves is looked at
            Ok(None) => watched.is_loaded = false,
            Err(error) => self.failed(&name, print, &error),
        }
    }

    fn failed(&mut self, name: &str, print: u64, error: &Error) {
        let Some(watched) = self.watched.get_mut(name).filter(|watched| watched.print == print) else { return };
        if watched.error.as_ref().is_none_or(|before| before.whole != error.message()) {
            // a log is read by those who may not read the tables
            tracing::warn!(reflection = name, error = told(error), "a reflection was not refreshed, it is tried again");
        }
        watched.failures = watched.failures.saturating_add(1);
        watched.failed_at = micros_now();
        watched.error = Some(Why::of(error));
    }

    /// Tables of ours that no definition asks for. Those of definitions that cannot be planned now stay.
    async fn sweep(&mut self, world: &World, home: &str) -> Result<()> {
        self.sweep_files(world).await?;
        let names: BTreeSet<String> = world.reflections.names().into_iter().map(str::to_owned).collect();
        if self.swept.as_ref() == Some(&names) {
            return Ok(());
        }
        let wanted: BTreeSet<String> = names.iter().map(|name| table_name(name, home)).collect();
        let ours = table_name("", home);
        for lake in world.lakes().into_iter().filter_map(|writer| writer.maintained()) {
            for table in lake.all_unnamed().await? {
                if table.ends_with(&ours) && !wanted.contains(&table) {
                    lake.drop_unnamed(&table).await?;
                }
            }
        }
        self.swept = Some(names);
        Ok(())
    }

    /// What dropped tables left. Others tell what they read no oftener than that.
    async fn sweep_files(&mut self, world: &World) -> Result<()> {
        if self.files_swept_at.is_some_and(|at| at.elapsed() < Metastore::TOLD_WITHIN) {
            return Ok(());
        }
        self.files_swept_at = Some(Instant::now());
        for lake in world.lakes().into_iter().filter_map(|writer| writer.maintained()) {
            lake.sweep_dropped(Metastore::TOLD_WITHIN).await?;
        }
        Ok(())
    }

    pub(super) fn tell(&self, world: &World) {
        let seen: Vec<Seen> = world.reflections.all().iter().map(|reflection| self.seen(world, reflection)).collect();
        for (reflection, seen) in world.reflections.all().iter().zip(&seen) {
            metrics::gauge!(REFLECTION_ROWS, "reflection" => reflection.name.clone())
                .set(seen.rows.unwrap_or(0) as f64);
        }
        self.engine.shared.reflections.put(seen);
    }

    fn seen(&self, world: &World, reflection: &Reflection) -> Seen {
        let none = Watched::default();
        let watched = self.watched.get(&reflection.name).unwrap_or(&none);
        let stored = reflection.stored.get();
        let ids = &reflection.bases;
        let entries = world.catalog.entries.values().filter(|entry| ids.contains(&entry.object.id));
        let there: Vec<_> = entries.map(|entry| (entry.object.id, entry.object.name.clone())).collect();
        let made_of = |name: &TableName, version: &Version| match version {
            Version::Snapshot(Some(snapshot)) => format!("{name}={snapshot}"),
            Version::Snapshot(None) => format!("{name}=empty"),
            Version::Offsets { .. } => format!("{name}=offsets"),
            Version::Files(_) => format!("{name}=files"),
            Version::Fixed(_) | Version::Fresh(..) | Version::Live => format!("{name}=live"),
        };
        let state = match (reflection.enabled, watched.is_running, watched.failures, &stored) {
            (false, _, _, _) => State::Disabled,
            (true, true, _, _) => State::Refreshing,
            (true, false, 1.., _) => State::Failing,
            (true, false, 0, None) => State::Empty,
            (true, false, 0, Some(_)) => State::Ready,
        };
        let why = watched.unseen.as_ref().or(watched.error.as_ref());
        Seen {
            name: reflection.name.clone(),
            owner: reflection.upkeep.owner.clone(),
            definition: reflection.upkeep.definition.clone(),
            refresh: reflection.upkeep.refresh.to_string(),
            state,
            made_of: stored.as_ref().map(|stored| {
                let told = there.iter().filter_map(|(id, name)| Some(made_of(name, stored.bases.get(id)?)));
                told.collect::<Vec<_>>().join(", ")
            }),
            rows: stored.as_ref().map(|stored| stored.rows),
            bytes: watched.bytes.filter(|_| stored.is_some()),
            refreshed_at: stored.as_ref().map(|stored| stored.as_of),
            next_at: watched.next_at,
            error: why.map(|why| why.whole.clone()),
            error_told: why.map(|why| why.told.clone()),
            uses: Arc::clone(&reflection.uses),
            bases: reflection.bases.clone(),
            tables: there.into_iter().map(|(_, name)| name).collect(),
        }
    }
}

async fn refreshed(task: Task) -> Result<Option<Done>> {
    let table = task.bases().first().map_or_else(|| TableName::new("", ""), |entry| entry.object.name.clone());
    let job = task.engine.jobs().begin("refresh_reflection", table, None);
    let done = match task.lake() {
        Ok(lake) => Box::pin(task.try_run(&lake, &job)).await,
        Err(error) => Err(error),
    };
    let name = task.reflection.name.clone();
    match &done {
        Ok(Some(done)) => job.done(format!("reflection {name}: {}", done.word())),
        Ok(None) => job.done(format!("reflection {name}: another process refreshes it")),
        Err(error) => job.failed(format!("reflection {name}: {}", told(error))),
    }
    done
}
