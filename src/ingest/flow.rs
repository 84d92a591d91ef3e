//! One origin into its tables: the loop from changes to commits, and what state it is in. What an error means `retry`
//! says, whether a commit holds `lake` does.

use std::time::{Duration, Instant};

use datafusion::execution::SessionState;
use metrics::{counter, gauge, histogram};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Config;
use super::apply::{Applied, Sink, With, apply};
use super::batch::{Batch, Commit, DeadLetterCap, Window};
use super::fault::{Step, reach};
use super::fresh::{By, Fresh};
use super::index::Index;
use super::lease::Held;
use super::origin::{Kept, Lag, Origin, Place, Room, Shape, Taken};
use super::owner::Owner;
use super::pause::{is_paused, pull_wished};
use super::position::Found;
use super::retry::{Verdict, judge};
use super::status::{self, State, Status};
use super::table::{dead_letters, ensure_for};
use super::target::Target;
use crate::error::{Error, Kind, Result};
use crate::lake::{Stand, Tails};
use crate::telemetry::metrics as names;

/// Changes decoded at once, and their bytes.
const CHUNK: usize = 8_192;
const CHUNK_BYTES: usize = 4 << 20;
/// How long one read waits: how soon a stop is noticed.
const WAIT_MAX: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(100);
/// A position that moved without a change in it (markers of transactions alone) is committed after this.
const MARKERS_AFTER: Duration = Duration::from_secs(60);

/// A pipeline's way into its tables, ready to run.
pub struct Flow {
    pub target: Target,
    pub origin: Box<dyn Origin>,
    /// In which the lake's own files are read.
    pub state: SessionState,
    pub commit: Commit,
    pub dead_letter: DeadLetterCap,
    pub config: Config,
    /// Who runs it: one name a process.
    pub holder: String,
    /// Where readers find what it has taken in.
    pub tails: Tails,
}

/// Why the loop under a lease ended before it was told to.
enum Halt {
    Failed(Error),
    /// Somebody else has taken over.
    Fenced,
    /// Too many records do not fit; in words.
    DeadLetters(String),
}

impl Halt {
    /// An error that a new beginning meets again.
    fn stays(&self) -> bool {
        match self {
            Halt::Failed(error) => judge(error.kind()) == Verdict::Stop,
            Halt::Fenced | Halt::DeadLetters(_) => false,
        }
    }
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Halt::Failed(error)
    }
}

/// How far the tables are, and what is taken in beyond it.
struct Progress {
    sinks: Vec<Sink>,
    /// Up to which every table is filled; `None` before the first commit.
    place: Option<Place>,
    batch: Batch,
    /// The batch as readers see it.
    fresh: Fresh,
    window: Window,
    committed_at: Instant,
    looked_at: Instant,
    lag: Lag,
    newest_ms: Option<i64>,
    /// The origin's tables are others than those of the sinks.
    reshaped: bool,
    /// A person wants it to rest.
    paused: bool,
}

impl Flow {
    /// Until `stop`, whatever happens: then what was taken in is committed and the lease let go of.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut pause = PAUSE;
        let mut status = Status::new(State::Starting);
        while !stop.is_cancelled() {
            match self.is_paused().await {
                Ok(false) => {}
                Ok(true) => {
                    // Once: what is noted stays so until it goes on.
                    if status.state != State::Paused || status.error.is_some() {
                        self.say(&mut status, State::Paused, None).await;
                    }
                    wait(Duration::from_millis(self.config.look_ms), &stop).await;
                    continue;
                }
                Err(error) => {
                    self.after(Err(Halt::Failed(error)), &mut status, &mut pause, &stop).await;
                    continue;
                }
            }
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
                    self.origin.rest();
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
                    tracing::error!(pipeline, table = self.target.label(), error = ?error, "pipeline refused");
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
        let table = self.target.label();
        match ended {
            Ok(()) => {}
            Err(Halt::Fenced) => {
                tracing::warn!(pipeline, table, "another ingester has taken over");
                wait(Duration::from_millis(self.config.lease_ms / 3), stop).await;
            }
            Err(Halt::DeadLetters(text)) => {
                let text = format!("{text}; nothing of the last batch was taken in");
                tracing::error!(pipeline, table, reason = text, "pipeline paused");
                let hint = "Correct the source's columns or raise [dead_letter] in the pipeline's file.";
                let error = Error::new(Kind::InvalidText, text).with_hint(hint);
                self.say(status, State::Paused, Some(&error)).await;
                stop.cancelled().await;
            }
            Err(Halt::Failed(error)) => match judge(error.kind()) {
                Verdict::Retry => {
                    tracing::warn!(pipeline, table, error = ?error, "trying again");
                    counter!(names::INGEST_RETRIES, "pipeline" => pipeline.clone()).increment(1);
                    self.say(status, State::Retrying, Some(&error)).await;
                    wait(pause.mul_f64(rand::random_range(0.5..1.0)), stop).await;
                    *pause = (*pause * 2).min(Duration::from_millis(self.config.retry_ms_max));
                }
                verdict @ (Verdict::Stop | Verdict::Ask) => {
                    let state = if verdict == Verdict::Ask { State::NeedsResync } else { State::Paused };
                    if status.state != state {
                        tracing::error!(pipeline, table, error = ?error, "pipeline stopped");
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
            if self.is_due(&at, now) {
                self.commit(&mut at, held, status).await?;
                *pause = PAUSE;
                continue;
            }
            if stop.is_cancelled() || (at.paused && !at.batch.is_open) {
                if !at.batch.is_empty() && !at.batch.is_open {
                    self.commit(&mut at, held, status).await?;
                }
                return Ok(());
            }
            if at.looked_at.elapsed() >= Duration::from_millis(self.config.look_ms) {
                self.look(&mut at).await?;
            }
            match Box::pin(self.read(&mut at, held, stop, now)).await {
                Ok(None) => {}
                Ok(Some(taken)) => self.take_in(&mut at, taken)?,
                Err(halt) => {
                    // What comes next stays unreadable; what came before it need not wait for that.
                    if halt.stays() && !at.batch.is_empty() && !at.batch.is_open {
                        self.commit(&mut at, held, status).await?;
                    }
                    return Err(halt);
                }
            }
        }
    }

    /// What came in time; whoever asks meanwhile is answered. `None`: it was told to stop.
    async fn read(
        &mut self,
        at: &mut Progress,
        held: &Held,
        stop: &CancellationToken,
        now: Instant,
    ) -> Result<Option<Taken>, Halt> {
        let (changes, bytes) = at.batch.room(&self.commit);
        let wait = at.batch.left(&self.commit, now).min(WAIT_MAX);
        let room = Room { changes: changes.min(CHUNK), bytes: bytes.min(CHUNK_BYTES), wait };
        let stand = stand(self.origin.as_ref(), at);
        let by = By { target: &self.target, state: &self.state, index_rows_max: self.config.index_rows_max };
        // Reads that never wait leave nobody unanswered.
        at.fresh.answer(&by, &mut at.sinks, &mut at.batch, &stand).await;
        let mut read = self.origin.read(room);
        loop {
            tokio::select! {
                biased;
                () = held.lost() => return Err(Halt::Fenced),
                // What the read had in hand is not taken in: this was the last one.
                () = stop.cancelled() => return Ok(None),
                taken = &mut read => return Ok(Some(taken?)),
                () = at.fresh.asked() => at.fresh.answer(&by, &mut at.sinks, &mut at.batch, &stand).await,
            }
        }
    }

    /// From the tables to an origin that stands where they end.
    async fn begin(&mut self) -> Result<Progress> {
        dead_letters(&self.target).await?;
        let shapes = self.origin.tables().await?;
        let sinks = self.sinks(shapes, vec![]).await?;
        let checkpoint = match &self.target.table {
            Some(_) => None, // its one table says it
            None => self.checkpoint().await?,
        };
        let tables = sinks.iter().map(|sink| sink.found.place().cloned()).collect();
        let kept = Kept { tables, checkpoint };
        self.origin.begin(&kept).await?;
        let place = match &self.target.table {
            Some(_) => kept.tables.into_iter().next().flatten(),
            None => kept.checkpoint,
        };
        let now = Instant::now();
        let lag = self.origin.lag(place.as_ref()).await?;
        let fresh = Fresh::new(&self.tails, &sinks);
        Ok(Progress {
            fresh,
            sinks,
            place,
            batch: Batch::default(),
            window: Window::default(),
            committed_at: now,
            looked_at: now,
            lag,
            newest_ms: None,
            reshaped: false,
            paused: false,
        })
    }

    /// The tables of the lake for these shapes, made where they are absent. Those of `before` stay as they are but for
    /// their columns.
    async fn sinks(&self, shapes: Vec<Shape>, before: Vec<Sink>) -> Result<Vec<Sink>> {
        let mut before = before.into_iter();
        let mut sinks = vec![];
        for shape in shapes {
            let table = ensure_for(&self.target, &shape).await?;
            sinks.push(match before.next() {
                Some(sink) => {
                    // Keys of other columns, or of other types, are other numbers.
                    let same = sink.table.schema() == table.schema() && sink.shape.key == shape.key;
                    let index = if same { sink.index } else { Index::default() };
                    Sink { shape, table, found: sink.found, index }
                }
                None => {
                    let found = Found::of(&table, &self.target)?;
                    Sink { shape, table, found, index: Index::default() }
                }
            });
        }
        Ok(sinks)
    }

    async fn is_paused(&self) -> Result<bool> {
        is_paused(self.target.lake.metastore(), &self.target.pipeline).await
    }

    /// Where every table is that does not say otherwise.
    async fn checkpoint(&self) -> Result<Option<Place>> {
        let kept = self.target.lake.metastore().get(&self.target.checkpoint_name()).await?;
        let kept = kept.filter(|json| !json.is_empty());
        let read = kept.map(|json| serde_json::from_slice(&json)).transpose();
        read.map_err(|e| Error::new(Kind::DataGone, "the checkpoint of the pipeline cannot be read").with_source(e))
    }

    fn is_due(&self, at: &Progress, now: Instant) -> bool {
        let moved = at.place.is_some() && at.batch.place.is_some() && at.batch.place != at.place;
        // Columns that came are in the tables before anybody reads a row with them.
        let reshaped = at.reshaped && !at.batch.is_empty() && !at.batch.is_open;
        at.batch.is_due(&self.commit, now)
            || reshaped
            || (moved
                && at.batch.is_empty()
                && !at.batch.is_open
                && now.saturating_duration_since(at.committed_at) >= MARKERS_AFTER)
    }

    fn take_in(&self, at: &mut Progress, taken: Taken) -> Result<(), Halt> {
        if taken.records > 0 {
            reach(Step::AfterRead);
        }
        at.window.count(taken.records, taken.dead.len(), &self.dead_letter).map_err(Halt::DeadLetters)?;
        at.reshaped |= taken.reshaped;
        at.batch.add(taken, Instant::now(), chrono::Utc::now().timestamp_micros());
        Ok(())
    }

    async fn commit(&mut self, at: &mut Progress, held: &Held, status: &mut Status) -> Result<(), Halt> {
        let begin = Instant::now();
        self.origin.still().await?;
        let stand = stand(self.origin.as_ref(), at);
        let by = By { target: &self.target, state: &self.state, index_rows_max: self.config.index_rows_max };
        match at.reshaped {
            false => at.fresh.prepare(&by, &mut at.sinks, &mut at.batch, &stand).await,
            true => at.fresh.forget(),
        }
        if std::mem::take(&mut at.reshaped) {
            let shapes = self.origin.tables().await?;
            at.sinks = self.sinks(shapes, std::mem::take(&mut at.sinks)).await?;
        }
        for (number, sink) in at.sinks.iter_mut().enumerate() {
            if self.target.table.is_some() || at.batch.parts.iter().any(|(_, part)| part.table == number) {
                // A position that is not ours the commit refuses.
                sink.look_again(&self.target).await?;
            }
        }
        let batch = std::mem::take(&mut at.batch);
        let (dead, span_ms, place) = (batch.dead.len(), batch.span_ms, batch.place.clone());
        let with = With {
            target: &self.target,
            state: &self.state,
            lease: &held.lease,
            index_rows_max: self.config.index_rows_max,
        };
        let (name, before) = (status::name(&self.target), status.clone());
        let said = |records| {
            let mut said = before.clone();
            said.committed(records);
            (name.clone(), said.json(Some(held.lease.epoch)))
        };
        // Both are driven: what one waits for may be in the other's hands.
        let applied = tokio::select! {
            biased;
            applied = Box::pin(apply(&with, &mut at.sinks, self.origin.as_ref(), batch, said)) => applied?,
            never = Box::pin(at.fresh.answer_amid(&self.target)) => match never {},
        };
        let records = match applied {
            Applied::Done(records) => records,
            Applied::LeaseLost => return Err(Halt::Fenced),
        };
        status.committed(records);
        at.fresh.committed(&at.sinks);
        reach(Step::AfterCommit);
        (at.place, at.committed_at) = (place, Instant::now());
        at.newest_ms = span_ms.map(|(_, newest)| newest).or(at.newest_ms);
        let pipeline = self.target.pipeline.clone();
        counter!(names::INGEST_COMMITS, "pipeline" => pipeline.clone()).increment(1);
        counter!(names::INGEST_ROWS, "pipeline" => pipeline.clone()).increment(records as u64);
        counter!(names::INGEST_DEAD_LETTERS, "pipeline" => pipeline.clone()).increment(dead as u64);
        histogram!(names::INGEST_BATCH_ROWS, "pipeline" => pipeline.clone()).record(records as f64);
        histogram!(names::INGEST_COMMIT_SECONDS, "pipeline" => pipeline).record(begin.elapsed().as_secs_f64());
        reach(Step::BeforeConfirm);
        if let Some(place) = &at.place
            && let Err(error) = self.origin.acknowledge(place).await
        {
            tracing::debug!(pipeline = self.target.pipeline, error = %error, "the origin was not told");
        }
        reach(Step::AfterConfirm);
        Ok(())
    }

    /// How far the origin is by now, and whether the tables are still as they were left.
    async fn look(&mut self, at: &mut Progress) -> Result<()> {
        at.looked_at = Instant::now();
        at.paused = self.is_paused().await?;
        if let Some(wish) = pull_wished(self.target.lake.metastore(), &self.target.pipeline).await? {
            self.origin.asked(&wish);
        }
        self.look_at_tables(at).await?;
        // Markers alone are no changes that anybody waits for.
        let taken = at.batch.place.as_ref().filter(|_| at.batch.is_empty());
        at.lag = self.origin.lag(taken.or(at.place.as_ref())).await?;
        self.lag(at);
        Ok(())
    }

    /// A table that was set back is told of now, not with the next change.
    async fn look_at_tables(&self, at: &Progress) -> Result<()> {
        for sink in &at.sinks {
            let moved = || {
                let shown = self.target.shown(&sink.shape.target);
                Error::new(Kind::Conflict, format!("table {shown} was changed by others"))
            };
            let table = self.target.lake.table(&sink.table.key).await?.ok_or_else(moved)?;
            if table.location != sink.table.location && Found::of(&table, &self.target)?.text != sink.found.text {
                return Err(moved());
            }
        }
        Ok(())
    }

    fn lag(&self, at: &Progress) {
        let nothing = at.lag.records.unwrap_or(0) == 0 && at.lag.bytes.unwrap_or(0) == 0;
        let since = match (nothing, at.batch.span_ms) {
            (true, None) => None,
            (_, Some((oldest, _))) => Some(oldest),
            (false, None) => at.newest_ms,
        };
        let now = chrono::Utc::now().timestamp_millis();
        let seconds = since.map_or(0, |ms| now.saturating_sub(ms).max(0)) as f64 / 1_000.0;
        let (pipeline, table) = (&self.target.pipeline, self.target.label());
        let labels = [("pipeline", pipeline.clone()), ("table", table)];
        if let Some(records) = at.lag.records {
            gauge!(names::INGEST_LAG_RECORDS, &labels).set(records as f64);
        }
        if let Some(bytes) = at.lag.bytes {
            gauge!(names::INGEST_LAG_BYTES, &labels).set(bytes as f64);
        }
        gauge!(names::INGEST_LAG_SECONDS, &labels).set(seconds);
    }

    fn streaming(&self, is: bool) {
        let on = if is { 1.0 } else { 0.0 };
        let (pipeline, table) = (self.target.pipeline.clone(), self.target.label());
        gauge!(names::INGEST_STREAMING, "pipeline" => pipeline, "table" => table).set(on);
    }

    /// For `lakegate ingest status`. It informs; nothing depends on it.
    async fn say(&self, status: &mut Status, state: State, error: Option<&Error>) {
        status.enter(state, error);
        let (metastore, name) = (self.target.lake.metastore(), status::name(&self.target));
        if let Err(error) = metastore.put(&name, &status.json(None)).await {
            tracing::debug!(pipeline = self.target.pipeline, error = %error, "the state was not noted");
        }
    }
}

/// How far the flow is with what it has taken in.
fn stand(origin: &dyn Origin, at: &Progress) -> Stand {
    match at.batch.place.as_ref().or(at.place.as_ref()) {
        None => Stand::Nowhere,
        Some(place) => origin.stand(place),
    }
}

pub(super) async fn wait(so_long: Duration, stop: &CancellationToken) {
    let _ = stop.run_until_cancelled(sleep(so_long)).await;
}
