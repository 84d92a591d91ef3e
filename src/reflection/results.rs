//! The result cache: answers by a key that says all that an answer depends on, bounded by bytes, and one execution for
//! equal questions asked at once. It knows no plan, no user and no policy: who makes the key vouches for it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use moka::policy::EvictionPolicy;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use crate::error::Error;
use crate::telemetry::metrics as names;

/// `[engine.cache]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub enabled: bool,
    /// All answers together.
    pub bytes_max: u64,
    /// A larger answer is not kept; a statement holds no more of its answer than this while it may still be kept. 0: a
    /// sixteenth of `bytes_max`.
    pub entry_bytes_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { enabled: true, bytes_max: 256 << 20, entry_bytes_max: 0 }
    }
}

impl Config {
    /// What is true where 0 stands for a part of something else.
    pub fn settled(mut self) -> Self {
        if self.entry_bytes_max == 0 {
            self.entry_bytes_max = self.bytes_max / 16;
        }
        self
    }
}

/// All that an answer depends on, as one number that nobody can make twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(pub [u8; 32]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(8).try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// A whole result.
#[derive(Debug)]
pub struct Answer {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl Answer {
    pub fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        Self { schema, batches }
    }

    pub fn stream(&self) -> SendableRecordBatchStream {
        let batches = futures::stream::iter(self.batches.clone().into_iter().map(Ok));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

/// What is known of a question.
#[derive(Debug)]
pub enum Found {
    Stored(Arc<Answer>),
    /// Nobody has asked it: who gets this runs it, and others wait for what comes of it.
    Lead(Flight),
    /// To be run without being kept: its answer is too large, or whoever ran it for all failed.
    Alone,
}

/// For tests and for `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub hits: u64,
    /// Questions that were run.
    pub misses: u64,
    pub bytes: u64,
}

/// One a process.
#[derive(Clone)]
pub struct Results(Arc<Inner>);

struct Inner {
    kept: moka::future::Cache<Key, Kept>,
    flights: Mutex<HashMap<Key, watch::Receiver<Option<Ended>>>>,
    entry_bytes_max: usize,
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Clone)]
enum Kept {
    Answer(Arc<Answer>, u32),
    /// So that nobody waits for an answer that will not be kept.
    TooLarge,
}

/// How a flight ended; one that was abandoned says nothing.
#[derive(Clone)]
enum Ended {
    Stored(Arc<Answer>),
    NotKept,
}

/// Beside the answer's own bytes.
const ENTRY_BYTES: u32 = 256;

impl Results {
    pub fn new(config: &Config) -> Self {
        let kept = moka::future::Cache::builder()
            .max_capacity(config.bytes_max)
            // by age and not by use: after a commit the popular answers of yesterday are asked for no more
            .eviction_policy(EvictionPolicy::lru())
            .weigher(|_: &Key, kept: &Kept| match kept {
                Kept::Answer(_, bytes) => bytes.saturating_add(ENTRY_BYTES),
                Kept::TooLarge => ENTRY_BYTES,
            })
            .build();
        // moka weighs in 32 bits
        let entry_bytes_max = config.entry_bytes_max.min(u64::from(u32::MAX - ENTRY_BYTES)) as usize;
        let (hits, misses) = Default::default();
        Self(Arc::new(Inner { kept, flights: Mutex::default(), entry_bytes_max, hits, misses }))
    }

    /// The stored answer; else the duty to find it. While another is finding it this waits, for as long as the caller
    /// does; when that other goes away, one of those who wait takes its place.
    pub async fn find(&self, key: Key) -> Found {
        let found = self.look(key).await;
        match found {
            Found::Stored(_) => {
                self.0.hits.fetch_add(1, Ordering::Relaxed);
                metrics::counter!(names::RESULT_CACHE_HITS).increment(1);
            }
            Found::Lead(_) | Found::Alone => {
                self.0.misses.fetch_add(1, Ordering::Relaxed);
                metrics::counter!(names::RESULT_CACHE_MISSES).increment(1);
            }
        }
        found
    }

    /// Exact in everything but `bytes`, which may not know the last few answers yet.
    pub fn counts(&self) -> Counts {
        Counts {
            hits: self.0.hits.load(Ordering::Relaxed),
            misses: self.0.misses.load(Ordering::Relaxed),
            bytes: self.0.kept.weighted_size(),
        }
    }

    async fn look(&self, key: Key) -> Found {
        loop {
            if let Some(kept) = self.0.kept.get(&key).await {
                return kept.into();
            }
            let mut waiting = match self.board(key) {
                // a flight may have landed between the look and this one's start
                Boarded::Lead(flight) => match self.0.kept.get(&key).await {
                    Some(kept) => return kept.into(),
                    None => return Found::Lead(flight),
                },
                Boarded::Behind(waiting) => waiting,
            };
            let ended = waiting.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
            match ended {
                Some(Ended::Stored(answer)) => return Found::Stored(answer),
                Some(Ended::NotKept) => return Found::Alone,
                None => {}
            }
        }
    }

    fn board(&self, key: Key) -> Boarded {
        let mut flights = self.0.flights.lock().expect("no panic under the lock");
        match flights.entry(key) {
            Entry::Occupied(under_way) => Boarded::Behind(under_way.get().clone()),
            Entry::Vacant(free) => {
                let (news, waiting) = watch::channel(None);
                free.insert(waiting);
                Boarded::Lead(Flight { results: self.clone(), key, news })
            }
        }
    }
}

enum Boarded {
    Lead(Flight),
    Behind(watch::Receiver<Option<Ended>>),
}

impl From<Kept> for Found {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::Answer(answer, _) => Self::Stored(answer),
            Kept::TooLarge => Self::Alone,
        }
    }
}

/// The duty to find one answer, others waiting for it. Dropped at any point, those try themselves.
pub struct Flight {
    results: Results,
    key: Key,
    news: watch::Sender<Option<Ended>>,
}

/// What the task that runs a statement tells the statement's own.
enum Part {
    Rows(RecordBatch),
    /// Too large to be kept: the rest is the client's, at the client's pace.
    Rest(SendableRecordBatchStream),
    Failed(datafusion::error::DataFusionError),
    End,
}

impl Flight {
    /// The rows as they come; when they ended they are kept. A task of its own draws them, up to the most that is kept of
    /// one answer: those who wait are not at the mercy of how fast this client reads. Dropping the stream ends it.
    pub fn follow(self, rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let schema = rows.schema();
        let (parts, received) = mpsc::unbounded_channel();
        let task = AbortOnDropHandle::new(tokio::spawn(self.draw(rows, parts).in_current_span()));
        let shown = futures::stream::unfold(Source::Drawn { parts: received, _task: task }, Source::next);
        Box::pin(RecordBatchStreamAdapter::new(schema, shown))
    }

    async fn draw(self, mut rows: SendableRecordBatchStream, parts: mpsc::UnboundedSender<Part>) {
        // a receiver that is gone has aborted this task already
        let tell = |part| drop(parts.send(part));
        let (mut batches, mut bytes) = (vec![], 0usize);
        while let Some(drawn) = rows.next().await {
            let batch = match drawn {
                Ok(batch) => batch,
                Err(error) => {
                    self.news.send_replace(Some(Ended::NotKept));
                    return tell(Part::Failed(error));
                }
            };
            bytes = bytes.saturating_add(batch.get_array_memory_size());
            if bytes > self.results.0.entry_bytes_max {
                self.results.0.kept.insert(self.key, Kept::TooLarge).await;
                self.news.send_replace(Some(Ended::NotKept));
                tell(Part::Rows(batch));
                return tell(Part::Rest(rows));
            }
            batches.push(batch.clone());
            tell(Part::Rows(batch));
        }
        let answer = Arc::new(Answer::new(rows.schema(), batches));
        let weight = u32::try_from(bytes).unwrap_or(u32::MAX);
        // before anybody is told, so that who asks next finds it
        self.results.0.kept.insert(self.key, Kept::Answer(Arc::clone(&answer), weight)).await;
        self.news.send_replace(Some(Ended::Stored(answer)));
        tell(Part::End);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.results.0.flights.lock().expect("no panic under the lock").remove(&self.key);
    }
}

/// Where the next rows of a followed stream come from.
enum Source {
    Drawn {
        parts: mpsc::UnboundedReceiver<Part>,
        /// Ends with this value.
        _task: AbortOnDropHandle<()>,
    },
    Rest(SendableRecordBatchStream),
    Ended,
}

type Rows = datafusion::error::Result<RecordBatch>;

impl Source {
    async fn next(mut self) -> Option<(Rows, Self)> {
        if let Self::Drawn { parts, .. } = &mut self {
            match parts.recv().await {
                Some(Part::Rows(batch)) => return Some((Ok(batch), self)),
                Some(Part::Rest(rest)) => self = Self::Rest(rest),
                Some(Part::Failed(error)) => return Some((Err(error), Self::Ended)),
                Some(Part::End) => self = Self::Ended,
                // without a last word the task has died: what came so far is not the whole answer
                None => return Some((Err(Error::internal("a statement's task has died").into()), Self::Ended)),
            }
        }
        match &mut self {
            Self::Rest(rest) => rest.next().await.map(|rows| (rows, self)),
            Self::Drawn { .. } | Self::Ended => None,
        }
    }
}

impl fmt::Debug for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Results").field(&self.counts()).finish()
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Flight").field(&self.key).finish()
    }
}

#[cfg(test)]
mod tests;
