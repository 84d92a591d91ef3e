//! Rows that are sent to a pipeline, JSON lines in bodies: decoded, queued within a bound, and answered for once their commit is
//! known. Who may send them was judged before; what a commit is the flow decides.
//!
//! A body is taken in once by its key: the keys of the last bodies stand in the table's position, which moves in the same
//! commit as their rows. So the answer to a body that is sent again is the same after a restart, after a death between
//! commit and answer, and from another process.

mod keys;
mod origin;
mod queue;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use self::keys::{Id, id, of_body};
use self::origin::Posted;
use self::queue::{End, Entered, Load, Memory, Misfit, Queue};
use super::batch::{DeadLetterCap, Window};
use super::lines::{Lines, dead_words};
use super::origin::Origin;
use crate::error::Error;
use crate::formats::record::Decoded;
use crate::inlets::{Answer, BadLine, Check, Inlet, Post, Refusal};
use crate::sources::kafka::ColumnConfig;
use crate::types::TableName;

/// `[http]` of a pipeline's file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The table's name in the target.
    pub table: String,
    /// In the order in which they stand in the table.
    pub columns: Vec<ColumnConfig>,
    /// Which of them tell rows apart.
    #[serde(default)]
    pub key_columns: Vec<String>,
    #[serde(default)]
    pub bad_lines: BadLines,
    /// Of one body.
    #[serde(default = "default_body_bytes_max")]
    pub body_bytes_max: usize,
    /// Of all bodies that are on their way into the table, each as it was sent or as its rows hold it, whichever is more.
    #[serde(default = "default_pending_bytes_max")]
    pub pending_bytes_max: usize,
    /// Bodies whose keys are remembered, and for how long.
    #[serde(default = "default_keys_max")]
    pub keys_max: usize,
    #[serde(default = "default_keys_age_s")]
    pub keys_age_s: u64,
}

/// What becomes of a line that is no row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadLines {
    /// Nothing of its body is taken in.
    #[default]
    Refuse,
    /// It is set aside, and the rest is taken in. A body that has so many that the pipeline would pause is refused.
    DeadLetter,
}

fn default_body_bytes_max() -> usize {
    8 << 20
}

fn default_pending_bytes_max() -> usize {
    64 << 20
}

fn default_keys_max() -> usize {
    1_000
}

fn default_keys_age_s() -> u64 {
    86_400
}

/// The list lies in the table's metadata, 43 bytes a key, which every commit writes.
const KEYS_MAX: usize = 10_000;

impl Config {
    /// Numbers that no pipeline could run with: the key, and what is wrong with it.
    pub(super) fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = vec![];
        if self.body_bytes_max < 1_024 {
            faults.push(("body_bytes_max", "`body_bytes_max` in [http] is at least 1024".to_string()));
        }
        if self.pending_bytes_max < self.body_bytes_max || self.pending_bytes_max > 1 << 30 {
            let text = "`pending_bytes_max` in [http] is from `body_bytes_max` to 1073741824";
            faults.push(("pending_bytes_max", text.to_string()));
        }
        if !(1..=KEYS_MAX).contains(&self.keys_max) {
            faults.push(("keys_max", format!("`keys_max` in [http] is from 1 to {KEYS_MAX}")));
        }
        if self.keys_age_s == 0 {
            faults.push(("keys_age_s", "`keys_age_s` in [http] must be above 0".to_string()));
        }
        faults
    }
}

/// A body, and what it is known by.
struct Named {
    id: Id,
    body: [u8; 4],
    is_named: bool,
    user: Arc<str>,
}

enum Came {
    Known(Answer),
    New(Box<Load>),
}

/// What reading a line takes beside its bytes, at the most: a place for it, for what was read of it, for what is wrong with it.
const LINE_BYTES: usize = 160;
/// Bad lines that an answer names.
const NAMED_MAX: usize = 20;
/// What a place in `pending_bytes_max` is counted in.
const UNIT: usize = 1_024;

fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT).max(1)
}

/// Of the values themselves: what a builder kept free behind them does not count.
fn held_bytes(rows: &RecordBatch, dead: &[Misfit]) -> usize {
    let of =
        |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size());
    let of_dead = |misfit: &Misfit| misfit.raw.len() + misfit.message.len();
    rows.columns().iter().map(of).sum::<usize>() + dead.iter().map(of_dead).sum::<usize>()
}

/// One pipeline's way in, and the origin of its flow. Clones are one and the same.
#[derive(Clone)]
pub struct Posts(Arc<Inner>);

struct Inner {
    pipeline: String,
    table: TableName,
    lines: Arc<Lines>,
    config: Config,
    replaces: bool,
    dead_letter: DeadLetterCap,
    room: Arc<Semaphore>,
    queue: Mutex<Queue>,
    /// Something waits to be taken.
    came: Notify,
}

impl Posts {
    pub(super) fn new(
        pipeline: &str,
        table: TableName,
        lines: Arc<Lines>,
        config: Config,
        replaces: bool,
        dead_letter: DeadLetterCap,
    ) -> Self {
        let room = Arc::new(Semaphore::new(units(config.pending_bytes_max)));
        let memory = Memory { keys_max: config.keys_max, age_s: config.keys_age_s };
        let (queue, came) = (Mutex::new(Queue::new(memory)), Notify::new());
        let pipeline = pipeline.into();
        Self(Arc::new(Inner { pipeline, table, lines, config, replaces, dead_letter, room, queue, came }))
    }

    /// A new one whenever a flow begins; what is on its way stays.
    pub(super) fn origin(&self) -> Box<dyn Origin> {
        Box::new(Posted::new(Arc::clone(&self.0)))
    }

    /// Whoever waits is told that nothing more comes of it here.
    pub(super) fn close(&self) {
        self.0.queue().close();
    }
}

#[async_trait]
impl Inlet for Posts {
    fn table(&self) -> &TableName {
        &self.0.table
    }

    fn columns(&self) -> SchemaRef {
        Arc::clone(self.0.lines.schema())
    }

    fn replaces(&self) -> bool {
        self.0.replaces
    }

    fn body_bytes_max(&self) -> usize {
        self.0.config.body_bytes_max
    }

    fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        self.0.units_of_room(units(bytes))
    }

    async fn take(&self, post: Post) -> Result<Answer, Refusal> {
        let Post { user, key, body, mut room, until, check } = post;
        // One that did not say its length was given room for the longest.
        let surplus = room.num_permits().saturating_sub(units(body.len()));
        drop(room.split(surplus));
        if key.is_none() && !self.0.replaces {
            return Err(Refusal::KeyMissing);
        }
        let inner = Arc::clone(&self.0);
        let decoding = tokio::task::spawn_blocking(move || {
            let named = Named {
                id: key.as_deref().map_or_else(|| *uuid::Uuid::new_v4().as_bytes(), |key| id(&user, key)),
                body: of_body(&body),
                is_named: key.is_some(),
                user: user.into(),
            };
            // What is known already, or taken in by nobody here, is not read.
            match inner.queue().look(&named.id, named.body).settled() {
                Some(settled) => settled.map(Came::Known),
                None => inner.decode(named, &body, room, check.as_ref()).map(Came::New),
            }
        });
        let came = decoding.await.map_err(|e| Refusal::Failed(Error::internal("decoding panicked").with_source(e)))?;
        match came? {
            Came::Known(answer) => Ok(answer),
            Came::New(load) => self.0.enter(Arc::from(load), until).await,
        }
    }
}

impl Inner {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Each step of it is whole, so that a panic elsewhere left nothing half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn units_of_room(&self, units: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_many_owned(u32::try_from(units).ok()?).ok()
    }

    /// Room for as many bytes, whatever it had.
    fn fitted(&self, mut room: OwnedSemaphorePermit, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let more = units(bytes).saturating_sub(room.num_permits());
        if more == 0 {
            let surplus = room.num_permits().saturating_sub(units(bytes));
            drop(room.split(surplus));
            return Ok(room);
        }
        if units(bytes) > units(self.config.pending_bytes_max) {
            return Err(Refusal::TooLarge);
        }
        room.merge(self.units_of_room(more).ok_or(Refusal::Full)?);
        Ok(room)
    }

    fn decode(
        &self,
        named: Named,
        body: &Bytes,
        room: OwnedSemaphorePermit,
        check: Option<&Check>,
    ) -> Result<Box<Load>, Refusal> {
        // Before there is anything for each of them: lines may be short, and many.
        let count = body.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
        let room = self.fitted(room, body.len().max(count.saturating_mul(LINE_BYTES)))?;
        let all = || body.split(|byte| *byte == b'\n').enumerate();
        let lines: Vec<(usize, &[u8])> = all().filter(|(_, line)| !line.trim_ascii().is_empty()).collect();
        if lines.is_empty() {
            return Err(Refusal::Empty);
        }
        let decoded = self.lines.decode(lines.iter().map(|(_, line)| line.trim_ascii()));
        let Decoded { changed, kept, faults, .. } = decoded.map_err(Refusal::Failed)?;
        // One body must not pause the pipeline for everybody.
        let pauses = || Window::default().count(lines.len(), faults.len(), &self.dead_letter).is_err();
        // A line set aside is taken in later without its sender: where rows are checked there is none.
        let refuses = self.config.bad_lines == BadLines::Refuse || check.is_some();
        if !faults.is_empty() && (refuses || pauses()) {
            let named = faults.iter().take(NAMED_MAX).map(|fault| BadLine {
                line: lines.get(fault.index).map_or(0, |(number, _)| number + 1),
                field: fault.column.clone(),
                problem: fault.problem,
            });
            return Err(Refusal::Lines { first: named.collect(), all: faults.len() });
        }
        if let Some(check) = check {
            check(&changed.rows).map_err(Refusal::Failed)?;
        }
        let dead = faults.iter().map(|fault| {
            let (class, message) = dead_words(fault);
            let raw = lines.get(fault.index).map(|(_, line)| line.to_vec()).unwrap_or_default();
            Misfit { line: fault.index, class, message, raw }
        });
        let dead: Vec<Misfit> = dead.collect();
        // Columns that its lines leave out are there too.
        let room = self.fitted(room, held_bytes(&changed.rows, &dead).max(body.len()))?;
        let Named { id, body, is_named, user } = named;
        Ok(Box::new(Load {
            id,
            body,
            is_named,
            user,
            at_micros: chrono::Utc::now().timestamp_micros(),
            changed,
            kept,
            lines: lines.len(),
            dead,
            end: watch::Sender::new(None),
            is_promised: AtomicBool::new(false),
            _room: Some(room),
        }))
    }

    async fn enter(&self, load: Arc<Load>, until: Option<Instant>) -> Result<Answer, Refusal> {
        // Whoever waits is counted before the lock is let go of.
        let (waiter, again) = {
            let mut queue = self.queue();
            let entered = queue.enter(&load);
            if let Some(settled) = entered.settled() {
                return settled;
            }
            let (load, again) = match entered {
                Entered::Joined(other) => (other, true),
                _ => (load, false),
            };
            if until.is_none() {
                load.is_promised.store(true, Ordering::Relaxed);
            }
            (Waiter { end: Some(load.end.subscribe()), load, of: self }, again)
        };
        self.came.notify_one();
        let Some(until) = until else { return Ok(waiter.load.answer(false, again)) };
        match waiter.wait(until).await {
            Some(End::Committed) => Ok(waiter.load.answer(true, again)),
            Some(End::Left) => Err(Refusal::NotRunning),
            None => Err(Refusal::NotYet),
        }
    }
}

/// One who waits for a body's end. Where it leaves before, and nobody else waits, the body need not be taken in.
struct Waiter<'a> {
    load: Arc<Load>,
    end: Option<watch::Receiver<Option<End>>>,
    of: &'a Inner,
}

impl Waiter<'_> {
    async fn wait(&self, until: Instant) -> Option<End> {
        let mut end = self.end.clone()?;
        let patience = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let ended = tokio::time::timeout(patience, end.wait_for(Option::is_some)).await;
        ended.ok()?.ok().and_then(|end| *end)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.end = None;
        self.of.queue().abandon(&self.load);
    }
}

#[cfg(test)]
mod tests;
