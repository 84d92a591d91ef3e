//! A table that lakegate can read, as an origin, looked at on a schedule: all of its rows in the place of those of before, or
//! those that came since by a column that only grows. Which rows those are `ties` tells where a value has several. It plans no
//! query and asks no right: whoever reads tables does (`table_reads`).

mod config;
mod every;
mod stood;
mod ties;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::{AsArray, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use tokio::time::{sleep, timeout};

pub use self::config::{Config, How, NullCursors, Pull};
pub use self::every::Every;
use self::stood::{Since, Stood};
use self::ties::{Ties, Width};
use super::origin::{Kept, Lag, Origin, Part, Place, Room, SOURCE_ID, Shape, Taken, Wanted};
use super::position::gone;
use crate::error::{Error, Kind, Result};
use crate::formats::change::{Changed, Op};
use crate::table_reads::{TableRead, TableReads};

/// A table as an origin.
pub struct Pulled {
    pipeline: String,
    pull: Pull,
    reads: TableReads,
    /// Of what was read so far; `None` before anything was.
    here: Option<Stood>,
    /// When the table was looked at last.
    looked_ms: Option<i64>,
    /// A wish to be read now.
    asked: Option<String>,
    /// As the table was when it was looked at last.
    known: Option<Known>,
    /// From a look until its rows are taken in, and no longer: its source keeps a moment for it.
    read: Option<Arc<dyn TableRead>>,
    /// Rows are being read. The lock is never waited for: streams are not shared between threads, and origins are.
    running: Option<Mutex<Running>>,
    /// Rows without a value that were told of.
    told_nulls: u64,
}

/// What is asked of a table between two looks.
#[derive(Clone, PartialEq)]
struct Known {
    columns: SchemaRef,
    ids: Vec<Option<String>>,
    /// Of rows that replace each other.
    key: Vec<String>,
}

struct Running {
    rows: SendableRecordBatchStream,
    /// Read and not taken in.
    left: Option<RecordBatch>,
    /// What the table is once a row of these is taken in, but for how far.
    begun: Stood,
    since: Since,
    /// Rows of the value that the last one had, as this run saw them.
    seen: Ties,
    /// Of the ties.
    width: Width,
    /// How many came of a value of which there are too many to be known again, and none above it.
    open: usize,
}

/// Added rows of one value lie in memory until a higher one comes; more of them are an error, and not gathered.
const OPEN_MAX: usize = 1_000_000;

/// Until the next rows, for a person who waits for the end of them.
const END_WAIT: Duration = Duration::from_secs(1);

impl Pulled {
    pub fn new(pipeline: &str, pull: Pull, reads: TableReads) -> Self {
        let pipeline = pipeline.to_string();
        let (here, looked_ms, asked, known, read, running) = (None, None, None, None, None, None);
        Self { pipeline, pull, reads, here, looked_ms, asked, known, read, running, told_nulls: 0 }
    }

    async fn look(&self) -> Result<Arc<dyn TableRead>> {
        self.reads.reader().await?.look(&self.pull.table).await
    }

    /// 58000 for the place of another kind of origin, or of another way to read this one.
    fn stood(&self, place: &Place) -> Result<Stood> {
        let stood: Option<Stood> = serde_json::from_value(serde_json::Value::Object(place.0.clone())).ok();
        let fits = |stood: &Stood| match (&self.pull.how, &stood.since) {
            (How::Whole, None) => true,
            (How::Since { cursor, .. }, Some(since)) => since.cursor == *cursor,
            (How::Whole, Some(_)) | (How::Since { .. }, None) => false,
        };
        let name = self.pull.table.to_string();
        stood.filter(|stood| fits(stood) && stood.table == name).ok_or_else(|| {
            gone(&self.pipeline, format!("the position in table {} is not one of reading {name} so", self.pull.target))
        })
    }

    fn shape(&self, known: &Known) -> Result<Shape> {
        let Known { columns, ids, key } = known;
        let place = |name: &String| {
            let missing = || {
                let text = format!("column \"{name}\" of \"{}\" does not exist", self.pull.table);
                Error::new(Kind::UndefinedColumn, text)
                    .with_hint("`key_columns` in [table] of the pipeline's file names it.")
            };
            columns.index_of(name).map_err(|_| missing())
        };
        let key = key.iter().map(place).collect::<Result<Vec<_>>>()?;
        let (name, target) = (self.pull.table.to_string(), self.pull.target.clone());
        Ok(Shape { name, target, columns: known_by(columns, ids), key, beside: vec![] })
    }

    fn known(&self, read: &dyn TableRead) -> Known {
        let key = match (self.pull.replaces, self.pull.key_columns.as_slice()) {
            (false, _) => &[],
            (true, []) => read.key(),
            (true, said) => said,
        };
        Known { columns: read.columns(), ids: read.column_ids().to_vec(), key: key.to_vec() }
    }

    /// In milliseconds from now; 0 where it is due, `None` where somebody must ask.
    fn due_in(&self, now_ms: i64) -> Option<u64> {
        if self.asked.as_deref().is_some_and(|asked| asked != self.heard()) {
            return Some(0);
        }
        let looked_ms = self.looked_ms.or(self.here.as_ref().map(|stood| stood.looked_ms));
        self.pull.every.next_in(looked_ms, now_ms)
    }

    /// What it comes to that a run begins now.
    fn begun(&self, read: &dyn TableRead, now_ms: i64) -> Stood {
        let asked = self.asked.clone().or_else(|| self.here.as_ref().map(|stood| stood.asked.clone()));
        let since = match &self.pull.how {
            How::Whole => None,
            How::Since { cursor, .. } => {
                let known = self.here.as_ref().and_then(|stood| stood.since.clone());
                Some(known.unwrap_or_else(|| Since { cursor: cursor.clone(), ..Since::default() }))
            }
        };
        Stood {
            table: self.pull.table.to_string(),
            identity: read.identity().to_string(),
            looked_ms: now_ms,
            asked: asked.unwrap_or_default(),
            // columns may come without another version: a topic's are declared
            version: read
                .version()
                .filter(|_| since.is_none())
                .map(|version| format!("{version} {}", Width::all(&read.columns()).text())),
            since,
        }
    }

    /// Looks at the table, and begins to read it where there is something to read.
    async fn look_again(&mut self, now_ms: i64) -> Result<Taken> {
        let read = self.look().await?;
        let known = self.known(read.as_ref());
        let reshaped = self.known.as_ref() != Some(&known);
        let begun = self.begun(read.as_ref(), now_ms);
        let mut whole = None;
        match self.pull.how.clone() {
            How::Whole => {
                let same = |before: &Stood| before.identity == begun.identity && before.version == begun.version;
                let unmoved = begun.version.is_some() && self.here.as_ref().is_some_and(same) && !reshaped;
                whole = (!unmoved).then_some(0);
                if whole.is_some() || self.heard() != begun.asked {
                    self.here = Some(begun);
                }
            }
            How::Since { cursor, null_cursors } => self.begin_rows(&read, begun, &cursor, null_cursors).await?,
        }
        (self.known, self.looked_ms) = (Some(known), Some(now_ms));
        self.read = whole.map(|_| read);
        let span_ms = whole.map(|_| (now_ms, now_ms));
        let records = usize::from(whole.is_some());
        Ok(Taken { records, whole, span_ms, place: self.now(), reshaped, ..Taken::default() })
    }

    async fn begin_rows(
        &mut self,
        read: &Arc<dyn TableRead>,
        begun: Stood,
        cursor: &str,
        null_cursors: NullCursors,
    ) -> Result<()> {
        read.may_order_by(cursor)?;
        self.judge_nulls(read.as_ref(), cursor, null_cursors).await?;
        if let Some(before) = self.here.as_ref().filter(|before| before.identity != begun.identity) {
            let at = before.since.as_ref().and_then(|since| since.value.as_deref()).unwrap_or("the beginning");
            let text = format!("table \"{}\" was made anew since it was read up to {at}", self.pull.table);
            return Err(gone(&self.pipeline, text));
        }
        let mut since = begun.since.clone().unwrap_or_default();
        let all = Width::all(&read.columns());
        let width = match since.ties.width(&read.columns()) {
            Some(width) if width == all || !self.pull.replaces => width,
            // They come again and replace themselves.
            Some(_) | None if self.pull.replaces => {
                since.ties = Ties::default();
                all
            }
            Some(_) | None => {
                let text = format!(
                    "columns of \"{}\" went or have other names or types, so that its rows of the highest \"{cursor}\" are not known \
                     again",
                    self.pull.table
                );
                return Err(gone(&self.pipeline, text));
            }
        };
        let rows = read.rows_from(cursor, since.value.as_deref()).await?;
        let running = Running { rows, left: None, begun, since, seen: Ties::default(), width, open: 0 };
        self.running = Some(Mutex::new(running));
        Ok(())
    }

    async fn judge_nulls(&mut self, read: &dyn TableRead, cursor: &str, null_cursors: NullCursors) -> Result<()> {
        let nulls = read.nulls(cursor).await?;
        let text = format!("{nulls} rows of \"{}\" have no value in \"{cursor}\"", self.pull.table);
        match null_cursors {
            _ if nulls == 0 => {}
            NullCursors::Stop => {
                let hint = "Give them one, or say `null_cursors = \"leave_out\"` in [table] of the pipeline's file.";
                return Err(Error::new(Kind::NotNull, format!("{text}, and would never be taken in")).with_hint(hint));
            }
            NullCursors::LeaveOut if nulls == self.told_nulls => {}
            NullCursors::LeaveOut => {
                tracing::warn!(pipeline = self.pipeline, rows = nulls, "rows without a cursor's value are left out");
            }
        }
        self.told_nulls = nulls;
        Ok(())
    }

    /// The last wish that the position says was heard.
    fn heard(&self) -> &str {
        self.here.as_ref().map_or("", |stood| stood.asked.as_str())
    }

    /// Where it stands, as a commit may say it. `None` amid rows of a value of which there are too many to be known again.
    fn now(&self) -> Option<Place> {
        let Some(stood) = &self.here else { return Some(Place::default()) };
        let is_open = stood.since.as_ref().is_some_and(|since| since.ties.is_too_many());
        (!is_open || self.pull.replaces).then(|| stood.place())
    }

    /// The next rows, if they come in time.
    async fn go_on(&mut self, room: Room) -> Result<Taken> {
        let Some(running) = &mut self.running else { return Err(Error::internal("rows of a table that is not read")) };
        let running = running.get_mut().unwrap_or_else(PoisonError::into_inner);
        let next = match running.left.take() {
            Some(left) => Some(left),
            None => match timeout(room.wait, running.rows.next()).await {
                Err(_) => return Ok(Taken { place: self.now(), ..Taken::default() }),
                Ok(next) => next.transpose().map_err(Error::from)?,
            },
        };
        let Some(batch) = next else { return self.ended() };
        let most = room.changes.max(1).min(batch.num_rows());
        if batch.num_rows() > most {
            running.left = Some(batch.slice(most, batch.num_rows() - most));
        }
        self.take(&batch.slice(0, most))
    }

    /// After the last row.
    fn ended(&mut self) -> Result<Taken> {
        let running = self.running.take().map(|running| running.into_inner().unwrap_or_else(PoisonError::into_inner));
        // What was looked at for nothing moves no position, but that a wish was heard.
        if let Some(Running { begun, since, .. }) = running
            && self.heard() != begun.asked
        {
            self.here = Some(Stood { since: Some(since), ..begun });
        }
        let place = self.now().ok_or_else(|| self.too_many_ties())?;
        Ok(Taken { place: Some(place), ..Taken::default() })
    }

    fn too_many_ties(&self) -> Error {
        let text = format!(
            "more than {} rows of \"{}\" have the highest value of the cursor, so that those that come are not told from them",
            Ties::MAX,
            self.pull.table
        );
        let hint = "Read it by a column with fewer equal values, or by key with `write = \"upsert\"`.";
        Error::new(Kind::TooLarge, text).with_hint(hint)
    }

    /// Rows in the order of the cursor, its value behind them as a text.
    fn take(&mut self, batch: &RecordBatch) -> Result<Taken> {
        let fault = || Error::internal("rows without their cursor's value");
        let key = self.known.as_ref().map(|known| known.key.clone()).filter(|_| self.pull.replaces);
        let too_many = self.too_many_ties();
        let Some(running) = &mut self.running else { return Err(fault()) };
        let running = running.get_mut().unwrap_or_else(PoisonError::into_inner);
        let width = batch.num_columns().checked_sub(1).ok_or_else(fault)?;
        let rows = batch.project(&(0..width).collect::<Vec<_>>())?;
        let values = batch.column(width).as_string_opt::<i32>().ok_or_else(fault)?;
        let since = &mut running.since;
        if values.iter().flatten().any(is_endless) {
            let text = format!("column \"{}\" of \"{}\" has infinite values", since.cursor, self.pull.table);
            let hint = "Nothing comes after infinity: a cursor's values must be numbers or moments.";
            return Err(Error::new(Kind::DataException, text).with_hint(hint));
        }
        let last = values.iter().next_back().flatten();
        let (before, all) = (running.width.clone(), Width::all(&rows.schema()));
        let (of_before, of_all) = (before.prints(&rows)?, all.prints(&rows)?);
        let of_key = key.map(|key| Width::of(&rows.schema(), &key));
        let keys = of_key.as_ref().map(|of_key| of_key.prints(&rows)).transpose()?;
        let mut is_new = Vec::with_capacity(rows.num_rows());
        let mut prints = &of_before;
        for (row, value) in values.iter().enumerate() {
            let value = value.ok_or_else(fault)?;
            if since.value.as_deref() != Some(value) {
                since.value = Some(value.to_string());
                (since.ties, running.seen) = (Ties::default(), Ties::default());
                prints = &of_all;
                running.width = all.clone();
                running.open = 0;
            }
            // Nobody asks again for rows of a value that begins and ends within the batch.
            let mut is_known = false;
            if last == Some(value) || !since.ties.is_empty() {
                let key = keys.as_ref().map(|keys| keys.of(row)).transpose()?;
                is_known = since.ties.knows(&mut running.seen, key, prints.of(row)?, &running.width);
            }
            if since.ties.is_too_many() && !self.pull.replaces {
                running.open += 1;
                if running.open > OPEN_MAX {
                    return Err(too_many);
                }
            }
            is_new.push(!is_known);
        }
        let rows = filter_record_batch(&rows, &BooleanArray::from(is_new))?;
        let (first, count) = (since.taken, rows.num_rows());
        since.taken += count as u64;
        if count > 0 {
            self.here = Some(Stood { since: Some(since.clone()), ..running.begun.clone() });
        }
        let now_ms = self.looked_ms.unwrap_or(0);
        let parts = if count > 0 { vec![self.part(rows, first, now_ms)?] } else { vec![] };
        let span_ms = (count > 0).then_some((now_ms, now_ms));
        Ok(Taken { parts, records: count, span_ms, place: self.now(), ..Taken::default() })
    }

    fn part(&self, rows: RecordBatch, first: u64, now_ms: i64) -> Result<Part> {
        let count = rows.num_rows();
        let number = |row: usize| format!("{:019}", first + row as u64);
        let source = self.pull.table.to_string();
        Ok(Part {
            table: 0,
            changed: Changed { ops: vec![Op::Insert; count], rows: self.named(&rows)?, unchanged: vec![], was: None },
            at_micros: Int64Array::from_value(now_ms.saturating_mul(1_000), count),
            positions: StringArray::from_iter_values((0..count).map(number)),
            sources: StringArray::from_iter_values(std::iter::repeat_n(source, count)),
            beside: vec![],
            place: None,
        })
    }

    /// Rows under what the source knows their columns by.
    fn named(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let known = self.known.as_ref().ok_or_else(|| Error::internal("rows of a table that nobody looked at"))?;
        Ok(RecordBatch::try_new(known_by(&known.columns, &known.ids), rows.columns().to_vec())?)
    }

    /// Behind all rows that there are now.
    async fn end(&mut self) -> Result<Place> {
        (self.here, self.running) = (None, None);
        self.look_again(chrono::Utc::now().timestamp_millis()).await?;
        while self.running.is_some() {
            let room = Room { changes: usize::MAX, bytes: usize::MAX, wait: END_WAIT };
            self.go_on(room).await?;
        }
        self.now().ok_or_else(|| self.too_many_ties())
    }
}

/// Of a value as its type's output function spells it.
fn is_endless(value: &str) -> bool {
    matches!(value, "infinity" | "-infinity" | "Infinity" | "-Infinity" | "NaN")
}

fn known_by(columns: &SchemaRef, ids: &[Option<String>]) -> SchemaRef {
    let fields = columns.fields().iter().enumerate().map(|(at, field)| {
        let mut metadata = field.metadata().clone();
        metadata.extend(ids.get(at).cloned().flatten().map(|id| (SOURCE_ID.to_string(), id)));
        field.as_ref().clone().with_metadata(metadata)
    });
    Arc::new(Schema::new(fields.collect::<Vec<Field>>()))
}

#[async_trait]
impl Origin for Pulled {
    async fn tables(&mut self) -> Result<Vec<Shape>> {
        let known = match &self.known {
            Some(known) => known.clone(),
            None => self.known(self.look().await?.as_ref()),
        };
        let shape = self.shape(&known)?;
        // What is looked at next is compared with this.
        self.known = Some(known);
        Ok(vec![shape])
    }

    async fn begin(&mut self, kept: &Kept) -> Result<()> {
        let place = kept.tables.first().and_then(Option::as_ref).filter(|place| !place.0.is_empty());
        self.here = place.map(|place| self.stood(place)).transpose()?;
        (self.looked_ms, self.running) = (None, None);
        Ok(())
    }

    async fn read(&mut self, room: Room) -> Result<Taken> {
        if self.running.is_some() {
            return self.go_on(room).await;
        }
        self.read = None;
        let now_ms = chrono::Utc::now().timestamp_millis();
        match self.due_in(now_ms) {
            Some(0) => self.look_again(now_ms).await,
            due_in => {
                sleep(due_in.map_or(room.wait, |ms| room.wait.min(Duration::from_millis(ms)))).await;
                Ok(Taken { place: self.now(), ..Taken::default() })
            }
        }
    }

    async fn whole(&self) -> Result<SendableRecordBatchStream> {
        let read = self.read.as_ref().ok_or_else(|| Error::internal("rows of a table that nobody looked at"))?;
        read.rows().await
    }

    fn asked(&mut self, wish: &str) {
        self.asked = Some(wish.to_string());
    }

    fn rest(&mut self) {
        self.running = None;
    }

    async fn still(&mut self) -> Result<()> {
        Ok(())
    }

    /// How many rows came since nobody knows who has not read them.
    async fn lag(&mut self, _: Option<&Place>) -> Result<Lag> {
        Ok(Lag::default())
    }

    async fn place(&mut self, wanted: Wanted<'_>) -> Result<Place> {
        match (wanted, &self.pull.how) {
            (Wanted::Earliest, _) => Ok(Place::default()),
            (Wanted::At(place), _) => self.stood(place).map(|stood| stood.place()),
            (Wanted::Latest, How::Since { .. }) => self.end().await,
            (Wanted::Range(value), How::Since { cursor, .. }) if self.pull.replaces && !value.is_empty() => {
                let read = self.look().await?;
                let since = Since {
                    cursor: cursor.clone(),
                    value: Some(value.to_string()),
                    // Those of this value come again.
                    ties: Ties::too_many(),
                    taken: 0,
                };
                Ok(Stood { since: Some(since), ..self.begun(read.as_ref(), 0) }.place())
            }
            (Wanted::Latest | Wanted::Range(_), _) => {
                let text = format!("pipeline \"{}\" reads a table, and cannot go on there", self.pipeline);
                let hint = format!(
                    "Say `--from property` or `--from earliest`, or `lakegate ingest resync {}`.",
                    self.pipeline
                );
                Err(Error::new(Kind::Unsupported, text).with_hint(hint))
            }
        }
    }

    fn range(&self, place: &Place) -> String {
        let Ok(stood) = self.stood(place) else { return String::new() };
        match stood.since {
            Some(since) => since.value.unwrap_or_default(),
            None => {
                chrono::DateTime::from_timestamp_millis(stood.looked_ms).map(|at| at.to_rfc3339()).unwrap_or_default()
            }
        }
    }

    async fn acknowledge(&mut self, _: &Place) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
