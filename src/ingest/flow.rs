//! One topic into one table: the loop from an origin to the lake, and what state it is in. What an error means `retry`
//! says, whether a commit holds `lake` does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{counter, gauge, histogram};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Config;
use super::apply::{Applied, Base, apply};
use super::batch::{Batch, Commit, DeadLetterCap, Window};
use super::change::{Changes, Extent, Identity, Offsets, Origin, Position, Room};
use super::fault::{Step, reach};
use super::lease::Held;
use super::owner::Owner;
use super::resume::{Kept, compare, marks_there, start};
use super::retry::{Verdict, judge};
use super::status::{State, Status};
use super::table::{DEAD_LETTERS, Layout, dead_letter_columns, ensure};
use crate::error::{Error, Kind, Result};
use crate::lake::{self, Lake, TableKey};
use crate::telemetry::metrics as names;
use crate::types::TableName;

/// Changes decoded at once, and their bytes.
const CHUNK: usize = 8_192;
const CHUNK_BYTES: usize = 4 << 20;
/// How long one read waits: how soon a stop is noticed.
const WAIT_MAX: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(100);
/// A position that moved without a change in it (markers of transactions alone) is committed after this.
const MARKERS_AFTER: Duration = Duration::from_secs(60);
/// A topic that ends before the position may have a leader that does not know its end yet: asked so often.
const END_LOOKS: u32 = 3;

/// Where changes go, and under which name.
#[derive(Clone, Debug)]
pub struct Target {
    pub pipeline: String,
    /// That describes it.
    pub file: String,
    pub lake: Arc<Lake>,
    pub key: TableKey,
    pub layout: Arc<Layout>,
}

impl Target {
    pub fn dead_key(&self) -> TableKey {
        TableKey { name: DEAD_LETTERS.into(), ..self.key.clone() }
    }

    /// One holder a table, whatever its pipeline is called.
    pub fn lease_name(&self) -> String {
        let TableKey { catalog, namespace, name } = &self.key;
        format!("{catalog}/{namespace}/{name}")
    }

    /// The table, and the one of its dead letters, made where they are absent: policies may name both before the first
    /// change came.
    pub(super) async fn tables(&self) -> Result<lake::Table> {
        ensure(&self.lake, &self.dead_key(), &dead_letter_columns()).await?;
        ensure(&self.lake, &self.key, &self.layout.columns).await
    }

    pub(super) fn shown(&self) -> TableName {
        TableName::new(&self.key.namespace, &self.key.name)
    }
}

/// A pipeline's way into one table, ready to run.
pub struct Flow {
    pub target: Target,
    pub origin: Box<dyn Origin>,
    pub commit: Commit,
    pub dead_letter: DeadLetterCap,
    pub config: Config,
    /// Who runs it: one name a process.
    pub holder: String,
}

/// Why the loop under a lease ended before it was told to.
enum Halt {
    Failed(Error),
    /// Somebody else has taken over.
    Fenced,
    /// Too many records do not fit; in words.
    DeadLetters(String),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Halt::Failed(error)
    }
}

/// How far the table is, and what is taken in beyond it.
struct Progress {
    table: lake::Table,
    text: Option<String>,
    position: Option<Position>,
    extent: Extent,
    batch: Batch,
    window: Window,
    committed_at: Instant,
    looked_at: Instant,
    newest_ms: Option<i64>,
}

impl Flow {
    /// Until `stop`, whatever happens: then what was taken in is committed and the lease let go of.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut pause = PAUSE;
        let mut status = Status::new(State::Starting);
        while !stop.is_cancelled() {
            let (metastore, name) = (self.target.lake.metastore(), self.target.lease_name());
            let ended = match Held::take(metastore, &name, &self.holder, self.config.lease_ms).await {
                Err(error) => Err(Halt::Failed(error)),
                Ok(None) => {
                    self.stand_by(&mut status).await;
                    wait(Duration::from_millis(self.config.lease_ms / 3), &stop).await;
                    continue;
                }
                Ok(Some(held)) => {
                    let ended = match Owner::note(&self.target).await {
                        Ok(()) => self.under(&held, &stop, &mut status, &mut pause).await,
                        Err(error) => Err(Halt::Failed(error)),
                    };
                    self.streaming(false);
                    held.release().await;
                    ended
                }
            };
            self.after(ended, &mut status, &mut pause, &stop).await;
        }
        self.say(&mut status, State::Stopped, None).await;
    }

    /// Another ingester holds the lease. Where it runs this pipeline the status is its to write.
    async fn stand_by(&self, status: &mut Status) {
        let pipeline = &self.target.pipeline;
        match Owner::other(&self.target).await {
            Ok(Some(error)) => {
                if status.state != State::Paused {
                    tracing::error!(pipeline, table = %self.target.shown(), error = ?error, "pipeline refused");
                }
                self.say(status, State::Paused, Some(&error)).await;
            }
            Ok(None) => tracing::debug!(pipeline, "another ingester runs this pipeline"),
            Err(error) => tracing::warn!(pipeline, error = ?error, "the metastore does not say who runs this pipeline"),
        }
    }

    async fn after(
        &self,
        ended: Result<(), Halt>,
        status: &mut Status,
        pause: &mut Duration,
        stop: &CancellationToken,
    ) {
        let pipeline = &self.target.pipeline;
        let table = self.target.shown();
        match ended {
            Ok(()) => {}
            Err(Halt::Fenced) => {
                tracing::warn!(pipeline, %table, "another ingester has taken over");
                wait(Duration::from_millis(self.config.lease_ms / 3), stop).await;
            }
            Err(Halt::DeadLetters(text)) => {
                let text = format!("{text}; nothing of the last batch was taken in");
                tracing::error!(pipeline, %table, reason = text, "pipeline paused");
                let hint = "Correct the source's columns or raise [dead_letter] in the pipeline's file.";
                let error = Error::new(Kind::InvalidText, text).with_hint(hint);
                self.say(status, State::Paused, Some(&error)).await;
                stop.cancelled().await;
            }
            Err(Halt::Failed(error)) => match judge(error.kind()) {
                Verdict::Retry => {
                    tracing::warn!(pipeline, %table, error = ?error, "trying again");
                    counter!(names::INGEST_RETRIES, "pipeline" => pipeline.clone()).increment(1);
                    self.say(status, State::Retrying, Some(&error)).await;
                    wait(pause.mul_f64(rand::random_range(0.5..1.0)), stop).await;
                    *pause = (*pause * 2).min(Duration::from_millis(self.config.retry_ms_max));
                }
                verdict @ (Verdict::Stop | Verdict::Ask) => {
                    let state = if verdict == Verdict::Ask { State::NeedsResync } else { State::Paused };
                    if status.state != state {
                        tracing::error!(pipeline, %table, error = ?error, "pipeline stopped");
                    }
                    self.say(status, state, Some(&error)).await;
                    wait(Duration::from_millis(self.config.stopped_ms), stop).await;
                }
            },
        }
    }

    /// While the lease is held.
    async fn under(
        &mut self,
        held: &Held,
        stop: &CancellationToken,
        status: &mut Status,
        pause: &mut Duration,
    ) -> Result<(), Halt> {
        let mut at = self.begin().await?;
        self.streaming(true);
        self.lag(&at);
        self.say(status, State::Streaming, None).await;
        loop {
            let now = Instant::now();
            if self.is_due(&at, now) || (stop.is_cancelled() && !at.batch.is_empty()) {
                self.commit(&mut at, held, status).await?;
                *pause = PAUSE;
                continue;
            }
            if stop.is_cancelled() {
                return Ok(());
            }
            if at.looked_at.elapsed() >= Duration::from_millis(self.config.look_ms) {
                self.look(&mut at).await?;
            }
            let (changes, bytes) = at.batch.room(&self.commit, self.target.layout.row_bytes());
            let wait = at.batch.left(&self.commit, now).min(WAIT_MAX);
            let room = Room { changes: changes.min(CHUNK), bytes: bytes.min(CHUNK_BYTES), wait };
            let changes = tokio::select! {
                biased;
                () = held.lost() => return Err(Halt::Fenced),
                // What the read had in hand is not taken in: this was the last one.
                () = stop.cancelled() => continue,
                changes = self.origin.read(room) => changes?,
            };
            self.take_in(&mut at, &changes)?;
        }
    }

    /// From the table to a consumer that stands where the table ends.
    async fn begin(&mut self) -> Result<Progress> {
        let table = self.target.tables().await?;
        let Kept { text, position } = Kept::of(&table, &self.target)?;
        let (extent, from) = self.extent(position.as_ref()).await?;
        if let Some(position) = &position {
            let found = self.origin.probe(&marks_there(position, &extent)).await?;
            compare(&self.target, position, &extent, &found)?;
        }
        self.origin.seek(&from).await?;
        let now = Instant::now();
        Ok(Progress {
            table,
            text,
            position,
            extent,
            batch: Batch::new(from),
            window: Window::default(),
            committed_at: now,
            looked_at: now,
            newest_ms: None,
        })
    }

    async fn extent(&mut self, position: Option<&Position>) -> Result<(Extent, Offsets)> {
        for _ in 1..END_LOOKS {
            let extent = self.origin.extent().await?;
            match start(&self.target, position, &extent) {
                Ok(from) => return Ok((extent, from)),
                Err(error) => tracing::debug!(pipeline = self.target.pipeline, error = %error, "looking again"),
            }
            sleep(PAUSE).await;
        }
        let extent = self.origin.extent().await?;
        let from = start(&self.target, position, &extent)?;
        Ok((extent, from))
    }

    fn is_due(&self, at: &Progress, now: Instant) -> bool {
        let moved = at.position.as_ref().is_some_and(|p| p.partitions != at.batch.next);
        at.batch.is_due(&self.commit, now)
            || (moved && at.batch.is_empty() && now.saturating_duration_since(at.committed_at) >= MARKERS_AFTER)
    }

    fn take_in(&self, at: &mut Progress, changes: &Changes) -> Result<(), Halt> {
        if !changes.is_empty() {
            reach(Step::AfterRead);
        }
        let (rows, dead) = self.target.layout.rows(changes, chrono::Utc::now().timestamp_micros())?;
        at.window.count(changes.len(), dead.len(), &self.dead_letter).map_err(Halt::DeadLetters)?;
        at.batch.add(changes, rows, dead, Instant::now());
        Ok(())
    }

    async fn commit(&mut self, at: &mut Progress, held: &Held, status: &mut Status) -> Result<(), Halt> {
        let begin = Instant::now();
        // What was read since the beginning is of this topic, if it is still this one.
        let identity = self.origin.identity().await?;
        self.same(&at.extent.identity, &identity)?;
        let batch = std::mem::replace(&mut at.batch, Batch::new(Offsets::new()));
        let (records, dead, newest_ms) = (batch.records(), batch.dead.len(), batch.newest_ms);
        let base = Base {
            table: &at.table,
            was: at.position.as_ref(),
            was_text: at.text.as_deref(),
            identity: &at.extent.identity,
            lease: &held.lease,
        };
        status.committed(records);
        let said = |position: &Position| (Status::name(&self.target), status.json(Some(position)));
        let done = match apply(&self.target, &base, batch, said).await? {
            Applied::Done(done) => done,
            Applied::LeaseLost => return Err(Halt::Fenced),
        };
        reach(Step::AfterCommit);
        let next = done.position.partitions.clone();
        (at.table, at.text, at.position) = (done.table, Some(done.position.json()), Some(done.position));
        (at.batch, at.committed_at, at.newest_ms) =
            (Batch::new(next.clone()), Instant::now(), newest_ms.or(at.newest_ms));
        let pipeline = self.target.pipeline.clone();
        counter!(names::INGEST_COMMITS, "pipeline" => pipeline.clone()).increment(1);
        counter!(names::INGEST_ROWS, "pipeline" => pipeline.clone()).increment(records as u64);
        counter!(names::INGEST_DEAD_LETTERS, "pipeline" => pipeline.clone()).increment(dead as u64);
        histogram!(names::INGEST_BATCH_ROWS, "pipeline" => pipeline.clone()).record(records as f64);
        histogram!(names::INGEST_COMMIT_SECONDS, "pipeline" => pipeline).record(begin.elapsed().as_secs_f64());
        self.lag(at);
        reach(Step::BeforeConfirm);
        if let Err(error) = self.origin.acknowledge(&next).await {
            tracing::debug!(pipeline = self.target.pipeline, error = %error, "the origin was not told");
        }
        reach(Step::AfterConfirm);
        Ok(())
    }

    /// Another topic under the same name: begun again from the table, which tells what that means.
    fn same(&self, was: &Identity, is: &Identity) -> Result<()> {
        if was == is {
            return Ok(());
        }
        let text = format!("topic \"{}\" is not the one any more that was read", self.target.layout.topic());
        Err(Error::new(Kind::Conflict, text))
    }

    /// How far the origin is by now, and whether the table is still as it was left; partitions that came are read from the
    /// next start on, which is at once.
    async fn look(&mut self, at: &mut Progress) -> Result<()> {
        at.looked_at = Instant::now();
        self.look_at_table(at).await?;
        let extent = self.origin.extent().await?;
        self.same(&at.extent.identity, &extent.identity)?;
        if extent.spans.keys().any(|partition| !at.extent.spans.contains_key(partition)) {
            let text = format!("topic \"{}\" has more partitions than before", extent.topic);
            return Err(Error::new(Kind::Conflict, text));
        }
        let taken = Position { partitions: at.batch.next.clone(), ..at.position.clone().unwrap_or_default() };
        if let (Some(_), Err(_)) = (&at.position, start(&self.target, Some(&taken), &extent)) {
            self.extent(Some(&taken)).await?;
        }
        at.extent = extent;
        self.lag(at);
        Ok(())
    }

    /// A table that was set back is told of now, not with the next change.
    async fn look_at_table(&self, at: &Progress) -> Result<()> {
        let moved = || Error::new(Kind::Conflict, format!("table {} was changed by others", self.target.shown()));
        let table = self.target.lake.table(&self.target.key).await?.ok_or_else(moved)?;
        if table.location != at.table.location && Kept::of(&table, &self.target)?.text != at.text {
            return Err(moved());
        }
        Ok(())
    }

    fn lag(&self, at: &Progress) {
        let behind = at.extent.spans.iter().map(|(partition, (first, end))| {
            let committed = at.position.as_ref().and_then(|p| p.partitions.get(partition));
            // Markers alone are no changes that anybody waits for.
            let taken = if at.batch.is_empty() { at.batch.next.get(partition) } else { None };
            end.saturating_sub(*committed.max(taken).unwrap_or(first)).max(0)
        });
        let records: i64 = behind.sum();
        let since = match (records, at.batch.oldest_ms) {
            (0, None) => None,
            (_, Some(oldest)) => Some(oldest),
            (_, None) => at.newest_ms,
        };
        let now = chrono::Utc::now().timestamp_millis();
        let seconds = since.map_or(0, |ms| now.saturating_sub(ms).max(0)) as f64 / 1_000.0;
        let (pipeline, table) = (&self.target.pipeline, self.target.shown().to_string());
        gauge!(names::INGEST_LAG_RECORDS, "pipeline" => pipeline.clone(), "table" => table.clone()).set(records as f64);
        gauge!(names::INGEST_LAG_SECONDS, "pipeline" => pipeline.clone(), "table" => table).set(seconds);
    }

    fn streaming(&self, is: bool) {
        let on = if is { 1.0 } else { 0.0 };
        let (pipeline, table) = (self.target.pipeline.clone(), self.target.shown().to_string());
        gauge!(names::INGEST_STREAMING, "pipeline" => pipeline, "table" => table).set(on);
    }

    /// For `lakegate ingest status`. It informs; nothing depends on it.
    async fn say(&self, status: &mut Status, state: State, error: Option<&Error>) {
        status.enter(state, error);
        let (metastore, name) = (self.target.lake.metastore(), Status::name(&self.target));
        if let Err(error) = metastore.put(&name, &status.json(None)).await {
            tracing::debug!(pipeline = self.target.pipeline, error = %error, "the state was not noted");
        }
    }
}

pub(super) async fn wait(so_long: Duration, stop: &CancellationToken) {
    let _ = stop.run_until_cancelled(sleep(so_long)).await;
}
