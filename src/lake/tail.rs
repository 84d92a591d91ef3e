//! What the pipelines of this process have taken in and not committed, table by table: which rows of the last snapshot are gone
//! since, and which came. A reader asks for it, the pipeline that fills the table makes it and answers, so that it costs
//! nothing where nobody asks. It folds no change and reads no file.
//!
//! A tail is one value: the snapshot, what is gone of it and what came beside it. A commit makes another one; whoever holds
//! the one from before reads the same rows, each once.

mod desk;
mod reach;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::{BooleanArray, BooleanBufferBuilder, RecordBatch};
use arrow::compute::filter_record_batch;
use futures::future::try_join_all;
use roaring::RoaringBitmap;
use tokio::sync::watch;
use tokio::time::timeout;
use uuid::Uuid;

use self::desk::{Answer, Desk};
pub use self::desk::{Showing, Stand};
pub use self::reach::{Freshness, Reach};
use super::{Lake, Rows, Table};
use crate::error::{Error, Kind, Result};
use crate::metastore::Pin;

/// A table as its pipeline has it at one moment.
#[derive(Debug)]
pub struct Tail {
    /// At the snapshot that the rest is about.
    pub table: Table,
    /// Equal numbers are one tail: what is read by it does not change.
    pub number: u64,
    /// Nothing of the snapshot is there any more.
    pub truncated: bool,
    /// Rows of the snapshot that are gone.
    pub gone: Arc<Rows>,
    pub hot: Vec<Hot>,
    /// Files of the snapshot stay while this lives.
    _pin: Option<Pin>,
}

/// Rows that came, in the table's columns and types.
#[derive(Clone, Debug)]
pub struct Hot {
    pub rows: RecordBatch,
    /// Those of them that are not there any more.
    pub dropped: Arc<RoaringBitmap>,
}

impl Tail {
    /// `number`: as [`Showing::number`] gives it.
    pub fn new(lake: &Lake, table: Table, number: u64, truncated: bool, gone: Arc<Rows>, hot: Vec<Hot>) -> Self {
        let pin = table.snapshot_id().map(|snapshot| lake.metastore().pin(table.uuid(), snapshot));
        Self { table, number, truncated, gone, hot, _pin: pin }
    }
}

impl Hot {
    /// How many are there.
    pub fn len(&self) -> usize {
        self.rows.num_rows().saturating_sub(usize::try_from(self.dropped.len()).unwrap_or(usize::MAX))
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those that are there, these columns of them.
    pub fn live(&self, columns: &[usize]) -> Result<RecordBatch> {
        let rows = self.rows.project(columns)?;
        if self.dropped.is_empty() {
            return Ok(rows);
        }
        let mut keep = BooleanBufferBuilder::new(rows.num_rows());
        keep.append_n(rows.num_rows(), true);
        for row in self.dropped.iter() {
            let row = usize::try_from(row).unwrap_or(usize::MAX);
            if row < rows.num_rows() {
                keep.set_bit(row, false);
            }
        }
        Ok(filter_record_batch(&rows, &BooleanArray::new(keep.finish(), None))?)
    }
}

/// Tables of one pipeline at one moment of it.
#[derive(Debug)]
pub struct Cut {
    /// Everything that the pipeline had taken in by then is in it.
    pub at: Instant,
    pub stand: Stand,
    pub tails: HashMap<Uuid, Arc<Tail>>,
}

/// Who shows the tails of which tables. Clones are one and the same.
#[derive(Clone, Debug, Default)]
pub struct Tails(Arc<Shown>);

#[derive(Debug)]
struct Shown {
    desks: Mutex<HashMap<Uuid, Arc<Desk>>>,
    /// Moves when a pipeline comes or goes.
    moved: watch::Sender<u64>,
    /// Of tails, so far.
    numbers: AtomicU64,
}

impl Default for Shown {
    fn default() -> Self {
        Self { desks: Mutex::default(), moved: watch::Sender::new(0), numbers: AtomicU64::new(0) }
    }
}

impl Shown {
    fn desks(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Desk>>> {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn moved(&self) {
        self.moved.send_modify(|number| *number = number.wrapping_add(1));
    }
}

/// Who shows which of the tables that are asked for.
type ByDesk = Vec<(Arc<Desk>, Vec<Uuid>)>;

/// A table that may have a tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tailed {
    pub table: Uuid,
    /// Some pipeline has filled it, here or elsewhere.
    pub is_filled: bool,
}

/// What came of looking.
#[derive(Debug, Default)]
pub struct Looked {
    pub tails: HashMap<Uuid, Arc<Tail>>,
    /// Tables that a pipeline fills which has not answered or runs elsewhere.
    pub without: BTreeSet<Uuid>,
    /// How far the pipelines were, one each.
    pub stands: Vec<Stand>,
}

impl Tails {
    /// The tables of a pipeline, to be asked for until what this gives is dropped.
    pub fn show(&self, tables: impl IntoIterator<Item = Uuid>) -> Showing {
        let showing = Showing::new(self.clone());
        showing.add(tables);
        showing
    }

    /// The tails of these tables, as fresh as is wanted, those of one pipeline at one moment. A place that is not reached in
    /// time is 55000 with the place that is; so is an age. Tables that no pipeline fills have none and need none.
    pub async fn look(&self, wanted: &Freshness, tables: &[Tailed], patience: Duration) -> Result<Looked> {
        let tables = tables.iter().filter(|of| self.may_be_of(**of)).map(|of| of.table).collect();
        self.look_at(wanted, &tables, Instant::now() + patience).await
    }

    /// Whether some pipeline fills the table, as far as is known here.
    pub fn may_be_of(&self, of: Tailed) -> bool {
        of.is_filled || self.0.desks().contains_key(&of.table)
    }

    async fn look_at(&self, wanted: &Freshness, tables: &BTreeSet<Uuid>, until: Instant) -> Result<Looked> {
        match wanted {
            Freshness::Committed => Ok(Looked::default()),
            Freshness::Latest | Freshness::Within(_) => {
                let (by_desk, without) = self.by_desk(tables);
                let mut looked = Looked { without, ..Looked::default() };
                let asked = by_desk.into_iter().map(|(desk, tables)| async move {
                    let answer = match Box::pin(desk.ask(&tables, wanted, until)).await {
                        // as it was committed it can be read
                        Err(_) if *wanted == Freshness::Latest => Answer::Gone,
                        answer => answer?,
                    };
                    Ok::<_, Error>((answer, tables))
                });
                for (answer, tables) in try_join_all(asked).await? {
                    match answer {
                        Answer::Cut(cut) => looked.put(&cut, &tables),
                        Answer::Late if matches!(wanted, Freshness::Within(_)) => {
                            let text = "a table could not be read as fresh as is wanted in time";
                            return Err(Error::new(Kind::NotInState, text).with_hint(HINT));
                        }
                        Answer::Late | Answer::Gone => looked.without.extend(tables),
                    }
                }
                Ok(looked)
            }
            Freshness::Reached(_) => {
                let mut looked = Looked::default();
                let asked = tables.iter().map(|table| self.reached(wanted, *table, until));
                // One after the other: a pipeline that has reached the place for one table has it for the next.
                for answer in asked {
                    let (cut, table) = Box::pin(answer).await?;
                    looked.put(&cut, &[table]);
                }
                // and all of them at the moment of the last one
                self.at_one_moment(&mut looked, until).await?;
                Ok(looked)
            }
        }
    }

    /// Tables by the pipeline that shows them.
    fn by_desk(&self, tables: &BTreeSet<Uuid>) -> (ByDesk, BTreeSet<Uuid>) {
        let desks = self.0.desks();
        let (mut found, mut without) = (ByDesk::new(), BTreeSet::new());
        for table in tables {
            match desks.get(table) {
                None => _ = without.insert(*table),
                Some(desk) => match found.iter_mut().find(|(known, _)| Arc::ptr_eq(known, desk)) {
                    Some((_, tables)) => tables.push(*table),
                    None => found.push((Arc::clone(desk), vec![*table])),
                },
            }
        }
        (found, without)
    }

    /// The table once its pipeline is there, whichever process or attempt of it that will be.
    async fn reached(&self, wanted: &Freshness, table: Uuid, until: Instant) -> Result<(Arc<Cut>, Uuid)> {
        let mut moved = self.0.moved.subscribe();
        let mut stood = Stand::Nowhere;
        loop {
            moved.mark_unchanged();
            let desk = self.0.desks().get(&table).cloned();
            if let Some(desk) = desk {
                match Box::pin(desk.ask(&[table], wanted, until)).await? {
                    Answer::Cut(cut) => return Ok((cut, table)),
                    Answer::Late => return Err(late(&desk.stand())),
                    Answer::Gone => stood = desk.stand(),
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if timeout(left, moved.changed()).await.is_err() {
                return Err(late(&stood));
            }
        }
    }

    /// What was reached at several moments, read at one of each pipeline.
    async fn at_one_moment(&self, looked: &mut Looked, until: Instant) -> Result<()> {
        if looked.tails.len() < 2 {
            return Ok(());
        }
        let tables: BTreeSet<Uuid> = looked.tails.keys().copied().collect();
        let now = Box::pin(self.look_at(&Freshness::Latest, &tables, until)).await?;
        match now.without.is_empty() {
            true => {
                *looked = now;
                Ok(())
            }
            false => Err(late(&Stand::Nowhere)),
        }
    }

    fn withdraw(&self, of: &Arc<Desk>) {
        self.0.desks().retain(|_, desk| !Arc::ptr_eq(desk, of));
        self.0.moved();
    }
}

impl Looked {
    fn put(&mut self, cut: &Cut, tables: &[Uuid]) {
        self.stands.push(cut.stand.clone());
        for table in tables {
            match cut.tails.get(table) {
                Some(tail) => _ = self.tails.insert(*table, Arc::clone(tail)),
                None => _ = self.without.insert(*table),
            }
        }
    }
}

const HINT: &str = "Raise lakegate.freshness_timeout, or look at lakegate.pipelines.";

/// 55000: a place that is wanted is not reached yet.
fn late(stand: &Stand) -> Error {
    let detail = match stand {
        Stand::Nowhere => "Its pipeline does not run in this process, or is still copying.".to_string(),
        Stand::Unmarked => "Its pipeline has no such positions.".to_string(),
        Stand::At(reach) => format!("It has reached {reach}."),
    };
    let text = "a table has not reached the position of lakegate.freshness in time";
    Error::new(Kind::NotInState, text).with_detail(detail).with_hint(HINT)
}

#[cfg(test)]
mod tests;
