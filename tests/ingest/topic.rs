//! A topic in memory as a log of records, and what a table must hold once it is taken in.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use lakegate::error::{Error, Kind, Result};
use lakegate::ingest::log::{Changes, Extent, Header, Identity, Log, Mark, Marks, Offsets, Seen};
use lakegate::ingest::origin::Room;
use rand::Rng;
use tokio::sync::Notify;

use super::chaos::Chaos;

/// What a record is: its row, or why it has none.
#[derive(Clone, Debug)]
pub enum Record {
    Good {
        id: i64,
        text: String,
    },
    /// A number where a text is no number.
    Misfit(i64),
    Malformed(i64),
    Tombstone,
    /// No record: the marker of a transaction, or one that compaction took.
    Hole,
}

impl Record {
    pub fn any(random: &mut impl Rng, id: i64) -> Self {
        match random.random_range(0..20) {
            0 => Record::Misfit(id),
            1 => Record::Malformed(id),
            2 => Record::Tombstone,
            _ => Record::Good { id, text: "x".repeat(random.random_range(0..40)) },
        }
    }

    pub fn value(&self) -> Option<Vec<u8>> {
        match self {
            Record::Good { id, text } => Some(format!("{{\"id\": {id}, \"text\": \"{text}\"}}").into_bytes()),
            Record::Misfit(id) => Some(format!("{{\"id\": \"number {id}\"}}").into_bytes()),
            Record::Malformed(id) => Some(format!("{{{id}").into_bytes()),
            Record::Tombstone | Record::Hole => None,
        }
    }

    fn is_hole(&self) -> bool {
        matches!(self, Record::Hole)
    }

    /// As `World::rows` and `World::dead` spell it; by replay, not by our own decoder.
    fn row(&self, topic: &str, partition: i32, offset: i64) -> Option<Result<String, String>> {
        let place = |op: &str| format!("{topic}/{partition}|{op}|{offset:019}");
        Some(match self {
            Record::Good { id, text } => Ok(format!("{id}|{text}|{}", place("insert"))),
            Record::Tombstone => Ok(format!("NULL|NULL|{}", place("delete"))),
            Record::Misfit(_) => Err(format!("{topic}/{partition}/{offset:019}|misfit")),
            Record::Malformed(_) => Err(format!("{topic}/{partition}/{offset:019}|malformed")),
            Record::Hole => return None,
        })
    }
}

/// Shared by everyone who reads and writes it.
#[derive(Default)]
pub struct Topic {
    state: Mutex<State>,
    came: Notify,
}

#[derive(Default)]
struct State {
    partitions: BTreeMap<i32, Vec<Record>>,
    /// First offset that is still there.
    starts: BTreeMap<i32, i64>,
    cluster: String,
    /// `None`: brokers that give topics no ids.
    id: Option<u64>,
}

pub const TOPIC: &str = "events";

impl State {
    fn identity(&self) -> Identity {
        Identity { cluster_id: Some(self.cluster.clone()), topic_id: self.id.map(|id| id.to_string()) }
    }
}

impl Topic {
    pub fn new(partitions: i32) -> Arc<Self> {
        let topic = Self::default();
        {
            let mut state = topic.state.lock().unwrap();
            state.partitions = (0..partitions).map(|p| (p, vec![])).collect();
            state.cluster = "one".into();
            state.id = Some(1);
        }
        Arc::new(topic)
    }

    pub fn send(&self, partition: i32, record: Record) {
        self.state.lock().unwrap().partitions.entry(partition).or_default().push(record);
        self.came.notify_waiters();
    }

    /// What was before this offset is gone.
    pub fn truncate(&self, partition: i32, start: i64) {
        self.state.lock().unwrap().starts.insert(partition, start);
    }

    /// Deleted and made anew, with as many partitions as before.
    pub fn recreate(&self) {
        let mut state = self.state.lock().unwrap();
        state.partitions.values_mut().for_each(Vec::clear);
        state.starts.clear();
        state.id = state.id.map(|id| id + 1);
    }

    /// Made anew and filled so far before anybody looks.
    pub fn recreate_with(&self, records: Vec<Record>) {
        let mut state = self.state.lock().unwrap();
        state.partitions = [(0, records)].into();
        state.starts.clear();
        state.id = state.id.map(|id| id + 1);
        self.came.notify_waiters();
    }

    /// As on brokers before 2.8.
    pub fn without_ids(&self) {
        self.state.lock().unwrap().id = None;
    }

    /// What stood there is gone, as compaction takes it.
    pub fn compact(&self, partition: i32, offset: i64) {
        let mut state = self.state.lock().unwrap();
        state.partitions.get_mut(&partition).unwrap()[offset as usize] = Record::Hole;
    }

    pub fn move_to(&self, cluster: &str) {
        self.state.lock().unwrap().cluster = cluster.into();
    }

    /// Rows and dead letters after a plain replay, in order of their text.
    pub fn replay(&self) -> (Vec<String>, Vec<String>) {
        let state = self.state.lock().unwrap();
        let all =
            state.partitions.iter().flat_map(|(p, records)| records.iter().enumerate().map(|(at, r)| (*p, at, r)));
        let (mut rows, mut dead) = (vec![], vec![]);
        for (partition, at, record) in all {
            match record.row(TOPIC, partition, at as i64) {
                Some(Ok(row)) => rows.push(row),
                Some(Err(letter)) => dead.push(letter),
                None => {}
            }
        }
        rows.sort();
        dead.sort();
        (rows, dead)
    }

    pub fn end(&self) -> Offsets {
        let state = self.state.lock().unwrap();
        state.partitions.iter().map(|(p, records)| (*p, records.len() as i64)).collect()
    }
}

/// One consumer of the topic.
pub struct Scripted {
    pub topic: Arc<Topic>,
    pub chaos: Arc<Chaos>,
    pub next: Offsets,
    pub acknowledged: Arc<Mutex<Offsets>>,
}

impl Scripted {
    pub fn new(topic: &Arc<Topic>, chaos: &Arc<Chaos>) -> Self {
        Self { topic: Arc::clone(topic), chaos: Arc::clone(chaos), next: Offsets::new(), acknowledged: Arc::default() }
    }

    fn take(&mut self, room: Room) -> Result<Changes> {
        let state = self.topic.state.lock().unwrap();
        let mut changes = Changes::default();
        for (partition, next) in &mut self.next {
            let Some(records) = state.partitions.get(partition) else { continue };
            let start = state.starts.get(partition).copied().unwrap_or(0);
            if *next < start || *next > records.len() as i64 {
                return Err(Error::new(Kind::DataGone, "records after the position are gone"));
            }
            while changes.len() < room.changes && changes.bytes() < room.bytes && *next < records.len() as i64 {
                let record = &records[*next as usize];
                if record.is_hole() {
                    *next += 1;
                    changes.passed(*partition, *next);
                    continue;
                }
                let (value, key) = (record.value(), format!("key {next}"));
                let seen = Seen {
                    partition: *partition,
                    offset: *next,
                    at_ms: Some(1_700_000_000_000 + *next),
                    key: Some(key.as_bytes()),
                    value: value.as_deref(),
                    headers: vec![Header { name: "n", value: Some(b"v") }, Header { name: "n", value: None }],
                };
                changes.push(seen);
                *next += 1;
            }
        }
        Ok(changes)
    }
}

#[async_trait]
impl Log for Scripted {
    async fn extent(&mut self) -> Result<Extent> {
        self.chaos.origin("extent").await?;
        let state = self.topic.state.lock().unwrap();
        let span = |(p, records): (&i32, &Vec<Record>)| {
            (*p, (state.starts.get(p).copied().unwrap_or(0), records.len() as i64))
        };
        Ok(Extent {
            identity: state.identity(),
            topic: TOPIC.into(),
            spans: state.partitions.iter().map(span).collect(),
        })
    }

    async fn identity(&mut self) -> Result<Identity> {
        self.chaos.origin("identity").await?;
        Ok(self.topic.state.lock().unwrap().identity())
    }

    async fn probe(&mut self, at: &Marks) -> Result<BTreeMap<i32, Option<Mark>>> {
        self.chaos.origin("probe").await?;
        let kept = std::mem::take(&mut self.next);
        let mut found = BTreeMap::new();
        for (partition, mark) in at {
            self.next = Offsets::from([(*partition, mark.offset)]);
            let changes = self.take(Room { changes: 1, bytes: 1_000, wait: Default::default() });
            found.insert(*partition, changes.ok().and_then(|changes| changes.iter().next().map(|c| c.mark())));
        }
        self.next = kept;
        Ok(found)
    }

    async fn seek(&mut self, from: &Offsets) -> Result<()> {
        self.chaos.origin("seek").await?;
        self.next = from.clone();
        Ok(())
    }

    async fn read(&mut self, room: Room) -> Result<Changes> {
        self.chaos.origin("read").await?;
        let topic = Arc::clone(&self.topic);
        let came = topic.came.notified();
        let changes = self.take(room)?;
        if changes.is_empty() {
            let _ = tokio::time::timeout(room.wait, came).await;
            return self.take(room);
        }
        Ok(changes)
    }

    async fn acknowledge(&mut self, durable: &Offsets) -> Result<()> {
        self.chaos.origin("acknowledge").await?;
        *self.acknowledged.lock().unwrap() = durable.clone();
        Ok(())
    }
}
