//! What a flow's batch comes to so far, as readers of its tables see it: the tails of `lake`, made when somebody asks and out of
//! whole transactions alone. It commits nothing, and no commit is made of it: that folds its batch by itself.
//!
//! A tail grows: each time the changes that came since are folded over what was there. Rows that came lie in layers; one that a
//! later change replaces is marked there, one that the table has is put down by its place, which the index knows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use datafusion::execution::SessionState;
use roaring::RoaringBitmap;
use uuid::Uuid;

use super::apply::Sink;
use super::batch::Batch;
use super::key::{ByKey, Key};
use super::origin::Part;
use super::table::{known_by, rows_of_changes};
use super::target::{Target, Write};
use super::upsert::{Earlier, Onto, Place, cast_to};
use crate::error::{Error, Kind, Result};
use crate::lake::{self, BatchId, Cut, Hot, Rows, Showing, Stand, Tail, Tails};

/// Layers are put together up to so many rows.
const LAYER_ROWS: usize = 65_536;
/// What a key takes beside its row, by estimate.
const KEY_BYTES: usize = 64;

/// The tails of a flow's tables.
pub(super) struct Fresh {
    showing: Showing,
    /// By number of the sink, those that were asked for since the last commit.
    growing: BTreeMap<usize, Growing>,
}

/// What tails are made with.
pub(super) struct By<'a> {
    pub(super) target: &'a Target,
    pub(super) state: &'a SessionState,
    pub(super) index_rows_max: usize,
}

impl Fresh {
    pub(super) fn new(tails: &Tails, sinks: &[Sink]) -> Self {
        Self { showing: tails.show(tables(sinks)), growing: BTreeMap::new() }
    }

    /// Ends when somebody has asked.
    pub(super) async fn asked(&self) {
        self.showing.asked().await;
    }

    /// Answers whoever waits, with all of the batch that may be committed.
    pub(super) async fn answer(&mut self, by: &By<'_>, sinks: &mut [Sink], batch: &mut Batch, stand: &Stand) {
        let (wanted, number) = self.showing.wanted(stand);
        if !wanted.is_empty() {
            self.show(by, sinks, batch, stand, &wanted, number).await;
        }
    }

    /// Before a commit, during which nothing else can be answered with: for those who are likely to ask.
    pub(super) async fn prepare(&mut self, by: &By<'_>, sinks: &mut [Sink], batch: &mut Batch, stand: &Stand) {
        let (wanted, number) = self.showing.wanted(stand);
        match !wanted.is_empty() || (!self.growing.is_empty() && self.showing.is_asked_lately()) {
            true => self.show(by, sinks, batch, stand, &wanted, number).await,
            // What was shown before lacks what came since: whoever asks now waits.
            false => self.showing.forget(),
        }
    }

    /// What was shown holds no more.
    pub(super) fn forget(&mut self) {
        self.growing.clear();
        self.showing.forget();
    }

    async fn show(
        &mut self,
        by: &By<'_>,
        sinks: &mut [Sink],
        batch: &mut Batch,
        stand: &Stand,
        wanted: &BTreeSet<Uuid>,
        number: u64,
    ) {
        match self.cut(by, sinks, batch, wanted).await {
            Ok(tails) => self.showing.answer(number, stand, tails),
            Err(error) => {
                tracing::warn!(pipeline = by.target.pipeline, error = ?error, "a fresh table was not shown");
                self.forget();
                self.showing.refuse(number, stand);
            }
        }
        batch.beside = self.growing.values().map(Growing::bytes).sum();
    }

    /// Tables that are wanted, and those that were wanted before, all at this moment.
    async fn cut(
        &mut self,
        by: &By<'_>,
        sinks: &mut [Sink],
        batch: &Batch,
        wanted: &BTreeSet<Uuid>,
    ) -> Result<HashMap<Uuid, Arc<Tail>>> {
        let mut tails = HashMap::new();
        for (number, sink) in sinks.iter_mut().enumerate() {
            let uuid = sink.table.uuid();
            if !wanted.contains(&uuid) && !self.growing.contains_key(&number) {
                continue;
            }
            if !sink.look_again(by.target).await? {
                let text = format!("table {} was changed by others", by.target.shown(&sink.shape.target));
                return Err(Error::new(Kind::Conflict, text));
            }
            let growing = self.growing.entry(number).or_insert_with(|| Growing::on(&sink.table));
            if growing.table.location != sink.table.location {
                // Its rows are elsewhere by now.
                *growing = Growing::on(&sink.table);
            }
            growing.catch_up(by, sink, number, batch).await?;
            tails.insert(uuid, growing.tail(by, &self.showing));
        }
        Ok(tails)
    }

    /// While a batch is committed: with what was answered last, where the tables stand as they did then. What is not answered
    /// so is answered once the commit is over.
    pub(super) async fn answer_amid(&self, target: &Target) -> Infallible {
        loop {
            self.showing.asked().await;
            let Some(last) = self.showing.last() else { continue };
            let (_, number) = self.showing.wanted(&last.stand);
            if stand_as_before(target, &last).await {
                self.showing.answer_again(number);
            }
        }
    }

    /// The batch is in the tables, which may be more than before.
    pub(super) fn committed(&mut self, sinks: &[Sink]) {
        self.forget();
        self.showing.add(tables(sinks));
    }
}

async fn stand_as_before(target: &Target, cut: &Cut) -> bool {
    for tail in cut.tails.values() {
        match target.lake.table(&tail.table.key).await {
            Ok(Some(table)) if table.location == tail.table.location => {}
            Ok(_) | Err(_) => return false,
        }
    }
    true
}

fn tables(sinks: &[Sink]) -> impl Iterator<Item = Uuid> + '_ {
    sinks.iter().map(|sink| sink.table.uuid())
}

/// One table's tail under way.
struct Growing {
    /// On whose snapshot it stands.
    table: lake::Table,
    /// So many parts of the batch are in it, or are others'.
    seen: usize,
    truncated: bool,
    gone: Arc<Rows>,
    layers: Vec<Layer>,
    /// Where the newest row of a key is, there or not.
    places: ByKey<Place>,
    /// As it was shown last, if nothing has come since.
    shown: Option<Arc<Tail>>,
}

/// Rows that came together.
struct Layer {
    rows: RecordBatch,
    /// One a row; none where rows are not told apart.
    keys: Vec<Key>,
    dropped: Arc<RoaringBitmap>,
}

impl Layer {
    fn drops(&self, row: usize) -> bool {
        u32::try_from(row).is_ok_and(|row| self.dropped.contains(row))
    }
}

impl Growing {
    fn on(table: &lake::Table) -> Self {
        Self {
            table: table.clone(),
            seen: 0,
            truncated: false,
            gone: Arc::default(),
            layers: vec![],
            places: ByKey::default(),
            shown: None,
        }
    }

    async fn catch_up(&mut self, by: &By<'_>, sink: &mut Sink, number: usize, batch: &Batch) -> Result<()> {
        let came: Vec<&(i64, Part)> =
            batch.closed_since(self.seen).iter().filter(|(_, part)| part.table == number).collect();
        self.seen = batch.closed;
        if came.is_empty() {
            return Ok(());
        }
        self.shown = None;
        match by.target.write {
            Write::Append => self.append(sink, &came, batch.id)?,
            // It has no changes, and so none that came.
            Write::Replace => {}
            Write::Upsert { keeps_deleted } => {
                let parts: Vec<&Part> = came.iter().map(|(_, part)| part).collect();
                self.upsert(by, sink, &parts, keeps_deleted).await?;
            }
        }
        self.settle()
    }

    fn append(&mut self, sink: &Sink, came: &[&(i64, Part)], id: BatchId) -> Result<()> {
        let columns = known_by(&self.table);
        for (taken, part) in came {
            let rows = rows_of_changes(part, &sink.shape.beside, &columns, id, *taken)?;
            let rows = cast_to(&rows, &columns)?;
            self.layers.push(Layer { rows, keys: vec![], dropped: Arc::default() });
        }
        Ok(())
    }

    async fn upsert(&mut self, by: &By<'_>, sink: &mut Sink, parts: &[&Part], keeps_deleted: bool) -> Result<()> {
        let onto = Onto {
            lake: &by.target.lake,
            state: by.state,
            table: &self.table,
            shape: &sink.shape,
            keeps_deleted,
            index_rows_max: by.index_rows_max,
        };
        let keyer = onto.keyer()?;
        let rows = self.layers.iter().map(|layer| &layer.rows).collect();
        let earlier = Earlier { truncated: self.truncated, rows, places: Some(&self.places) };
        let made = onto.upsert_after(&mut sink.index, parts, &earlier).await?;
        if made.truncated {
            self.truncated = true;
            (self.layers, self.places, self.gone) = (vec![], ByKey::default(), Arc::default());
        }
        for key in &made.keys {
            let Some((layer, row)) = self.places.get(key) else { continue };
            if let (Some(layer), Ok(row)) = (self.layers.get_mut(*layer), u32::try_from(*row)) {
                Arc::make_mut(&mut layer.dropped).insert(row);
            }
        }
        if !made.gone.is_empty() {
            let gone = Arc::make_mut(&mut self.gone);
            for (path, positions) in made.gone {
                *gone.entry(path).or_default() |= positions;
            }
        }
        for rows in made.rows {
            let (keys, number) = (keyer.of_rows(&rows)?, self.layers.len());
            self.places.extend(keys.iter().enumerate().map(|(row, key)| (*key, (number, row))));
            self.layers.push(Layer { rows, keys, dropped: Arc::default() });
        }
        // nobody sees them; a key that changes may come as a deletion now and an insertion later
        for rows in made.ended {
            let (keys, number) = (keyer.of_rows(&rows)?, self.layers.len());
            self.places.extend(keys.iter().enumerate().map(|(row, key)| (*key, (number, row))));
            let all = u32::try_from(rows.num_rows()).map_err(|_| Error::internal("a layer of 2³² rows"))?;
            let dropped = Arc::new(RoaringBitmap::from_iter(0..all));
            self.layers.push(Layer { rows, keys, dropped });
        }
        Ok(())
    }

    /// Small layers become larger ones, each row a few times at most, so that there are few however often somebody asks.
    fn settle(&mut self) -> Result<()> {
        while let [.., before, last] = self.layers.as_slice() {
            let (before, last) = (before.rows.num_rows(), last.rows.num_rows());
            if before + last > LAYER_ROWS || before > 2 * last {
                break;
            }
            let (Some(last), Some(before)) = (self.layers.pop(), self.layers.pop()) else { break };
            let merged = self.merged(&before, &last)?;
            self.layers.push(merged);
        }
        Ok(())
    }

    /// The last two layers as one. What was dropped goes, but for the newest row of a key: another key may take its values.
    fn merged(&mut self, before: &Layer, last: &Layer) -> Result<Layer> {
        let number = self.layers.len();
        let (mut rows, mut keys, mut dropped, mut kept) = (vec![], vec![], RoaringBitmap::new(), 0);
        for (offset, layer) in [before, last].into_iter().enumerate() {
            let mut stays = Vec::with_capacity(layer.rows.num_rows());
            for row in 0..layer.rows.num_rows() {
                let (is_dropped, key) = (layer.drops(row), layer.keys.get(row));
                let is_newest = key.is_some_and(|key| self.places.get(key) == Some(&(number + offset, row)));
                let is_kept = !is_dropped || is_newest;
                stays.push(is_kept);
                if !is_kept {
                    continue;
                }
                if let Some(key) = key {
                    keys.push(*key);
                    self.places.insert(*key, (number, kept));
                }
                if is_dropped {
                    dropped.insert(u32::try_from(kept).map_err(|_| Error::internal("a layer of 2³² rows"))?);
                }
                kept += 1;
            }
            rows.push(filter_record_batch(&layer.rows, &BooleanArray::from(stays))?);
        }
        let rows = concat_batches(&before.rows.schema(), &rows)?;
        Ok(Layer { rows, keys, dropped: Arc::new(dropped) })
    }

    fn tail(&mut self, by: &By<'_>, showing: &Showing) -> Arc<Tail> {
        let make = || {
            let hot = self.layers.iter().map(|l| Hot { rows: l.rows.clone(), dropped: Arc::clone(&l.dropped) });
            let hot = hot.filter(|hot| !hot.is_empty()).collect();
            let (table, gone) = (self.table.clone(), Arc::clone(&self.gone));
            Arc::new(Tail::new(&by.target.lake, table, showing.number(), self.truncated, gone, hot))
        };
        let tail = self.shown.clone().unwrap_or_else(make);
        self.shown = Some(Arc::clone(&tail));
        tail
    }

    /// In memory, by estimate.
    fn bytes(&self) -> usize {
        let of_layer = |layer: &Layer| layer.rows.get_array_memory_size() + layer.keys.len() * size_of::<Key>();
        let gone = self.gone.iter().map(|(path, rows)| path.len() + 2 * rows.serialized_size()).sum::<usize>();
        self.layers.iter().map(of_layer).sum::<usize>() + self.places.len() * KEY_BYTES + gone
    }
}

#[cfg(test)]
mod tests;
