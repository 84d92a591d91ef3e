//! The reading of a window, on a thread of its own: from each start until the position has passed each end. It ends
//! with all of the window or with an error, never with a part.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::*;
use arrow::compute::{SortColumn, lexsort_to_indices};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::sync::mpsc::Sender;

use super::client::{Client, Reader, passes};
use super::columns::{KEY, Layout, Origin};
use super::latest::Latest;
use super::registry::Registry;
use super::window::Span;
use super::{Mode, OnError};
use crate::error::{Error, Kind, Result};
use crate::formats::change::Op;
use crate::formats::record::{Decoded, Decoder, Envelope, Misfit, OLD_KEY, Record};

/// How soon a reader that nobody listens to any more stops.
const POLL: Duration = Duration::from_millis(100);
/// A batch ends at so many bytes of values even where its records are few.
const BATCH_BYTES: usize = 4 << 20;

/// What to read.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    pub(super) client: Arc<Client>,
    pub(super) topic: String,
    pub(super) layout: Arc<Layout>,
    pub(super) registry: Option<Arc<Registry>>,
    /// `None` where nothing in the values is asked for.
    pub(super) decoder: Option<Decoder>,
    /// The declared columns that are read, ascending.
    pub(super) read: Vec<usize>,
    /// None of them empty.
    pub(super) spans: Vec<Span>,
    /// Records before it need not come; in microseconds.
    pub(super) since: Option<i64>,
    /// Into the layout's columns.
    pub(super) projection: Vec<usize>,
    pub(super) schema: SchemaRef,
    pub(super) limit: Option<usize>,
    /// By offset, the last first.
    pub(super) order: Option<LexOrdering>,
}

/// How far one partition is.
struct Progress {
    span: Span,
    next: i64,
    done: bool,
    /// The start came from the broker's index of timestamps, and no record has confirmed it yet.
    hinted: bool,
}

struct Reading<'a> {
    scan: &'a Scan,
    reader: &'a Reader,
    partitions: BTreeMap<i32, Progress>,
    out: &'a Sender<Result<RecordBatch, DataFusionError>>,
    rows: usize,
    misfits: usize,
    /// What lies here: messages and the batch that is made of them, or batches that are held back.
    memory: MemoryReservation,
    /// In `mode = "latest"`, from the first record on.
    latest: Option<Latest>,
    /// What is held back until it is in order.
    held: Option<Vec<RecordBatch>>,
}

/// Offsets of each partition that are read at once where the last ones come first; the ends alone to begin with.
const DESCENT: std::ops::RangeInclusive<i64> = 256..=32_768;

/// Blocks until the window is read, an error came, or nobody listens.
pub(super) fn run(
    scan: &Scan,
    rows_max: usize,
    memory: MemoryReservation,
    out: &Sender<Result<RecordBatch, DataFusionError>>,
) -> Result<()> {
    let misfits = match &scan.order {
        Some(order) => descend(scan, order, rows_max, &memory, out)?,
        None => {
            let reader = scan.client.reader()?;
            let mut reading = Reading::new(scan, &reader, memory, out);
            reading.window(&scan.spans, rows_max)?;
            reading.show(rows_max)?;
            reading.misfits
        }
    };
    if misfits > 0 {
        tracing::warn!(
            source = scan.client.source(),
            topic = scan.topic,
            records = misfits,
            "records do not fit the columns"
        );
    }
    Ok(())
}

/// From the ends on down, some offsets of all partitions at a time: what has a greater offset goes before, and where
/// nobody listens any more nothing is read. A consumer for each window, so that nothing of an older one comes late.
fn descend(
    scan: &Scan,
    order: &LexOrdering,
    rows_max: usize,
    memory: &MemoryReservation,
    out: &Sender<Result<RecordBatch, DataFusionError>>,
) -> Result<usize> {
    let low = scan.spans.iter().map(|span| span.start).min().unwrap_or(0);
    let mut high = scan.spans.iter().map(|span| span.end).max().unwrap_or(0);
    let (mut width, mut misfits) = (*DESCENT.start(), 0);
    while high > low && !out.is_closed() {
        let from = low.max(high.saturating_sub(width));
        let part = |span: &Span| Span { start: span.start.max(from), end: span.end.min(high), ..*span };
        let spans: Vec<Span> = scan.spans.iter().map(part).filter(|span| span.start < span.end).collect();
        if !spans.is_empty() {
            let reader = scan.client.reader()?;
            let mut reading = Reading::new(scan, &reader, memory.new_empty(), out);
            reading.held = Some(vec![]);
            reading.window(&spans, rows_max)?;
            misfits += reading.misfits;
            let held = reading.held.take().unwrap_or_default();
            // Once more in their order.
            reading.grow(held.iter().map(RecordBatch::get_array_memory_size).sum())?;
            let rows = sorted(&scan.schema, &held, order)?;
            drop(held);
            for start in (0..rows.num_rows()).step_by(rows_max.max(1)) {
                let batch = rows.slice(start, rows_max.min(rows.num_rows() - start));
                // An error means that nobody listens; the loop sees it.
                let _ = out.blocking_send(Ok(batch));
            }
        }
        (high, width) = (from, width.saturating_mul(4).min(*DESCENT.end()));
    }
    Ok(misfits)
}

impl<'a> Reading<'a> {
    fn new(
        scan: &'a Scan,
        reader: &'a Reader,
        memory: MemoryReservation,
        out: &'a Sender<Result<RecordBatch, DataFusionError>>,
    ) -> Self {
        let partitions = BTreeMap::new();
        Self { scan, reader, partitions, out, rows: 0, misfits: 0, memory, latest: None, held: None }
    }

    /// Of the statement's memory, on top of what was taken.
    fn grow(&self, bytes: usize) -> Result<()> {
        self.memory.try_grow(bytes).map_err(|error| self.too_large(error))
    }

    fn too_large(&self, error: DataFusionError) -> Error {
        let text =
            format!("records of topic \"{}\" do not fit into the memory that a statement may use", self.scan.topic);
        let hint =
            "Ask for fewer of them: a condition on _offset, _partition or _timestamp in WHERE narrows what is read.";
        Error::new(Kind::TooLarge, text).with_hint(hint).with_source(error)
    }

    fn window(&mut self, spans: &[Span], rows_max: usize) -> Result<()> {
        let progress = |span: &Span| Progress { span: *span, next: span.start, done: false, hinted: false };
        self.partitions = spans.iter().map(|span| (span.partition, progress(span))).collect();
        if let Some(since) = self.scan.since {
            self.hint(since);
        }
        self.assign()?;
        self.poll(rows_max)
    }

    /// Moves starts up to the first record of that moment or later, where the broker knows one inside the window. −1
    /// means that it knows none and is no offset; a failed request is only a hint missed.
    fn hint(&mut self, since: i64) {
        let mut request = TopicPartitionList::new();
        for partition in self.partitions.keys() {
            if request
                .add_partition_offset(&self.scan.topic, *partition, Offset::Offset((since / 1000).max(0)))
                .is_err()
            {
                return;
            }
        }
        let Ok(answer) = self.reader.offsets_for_times(request, self.scan.client.patience()) else { return };
        for element in answer.elements() {
            if let (Some(progress), Offset::Offset(offset), Ok(())) =
                (self.partitions.get_mut(&element.partition()), element.offset(), element.error())
                && progress.next < offset
                && offset < progress.span.end
            {
                (progress.next, progress.hinted) = (offset, true);
            }
        }
    }

    fn assign(&self) -> Result<()> {
        let mut assignment = TopicPartitionList::new();
        for (partition, progress) in &self.partitions {
            let added = assignment.add_partition_offset(&self.scan.topic, *partition, Offset::Offset(progress.next));
            added.map_err(|e| self.scan.client.failed(e))?;
        }
        self.reader.assign(&assignment).map_err(|e| self.scan.client.failed(e))
    }

    fn poll(&mut self, rows_max: usize) -> Result<()> {
        let mut held: Vec<BorrowedMessage<'a>> = vec![];
        let mut bytes = 0;
        let mut progress = Instant::now();
        while !self.finished(held.len()) {
            if self.out.is_closed() {
                return Ok(());
            }
            match self.reader.poll(POLL) {
                Some(Ok(message)) => {
                    progress = Instant::now();
                    if self.wants(&message)? {
                        bytes += message.payload_len() + message.key_len();
                        held.push(message);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => self.positions()?,
                Some(Err(error)) => self.judge(error)?,
                None => {
                    // Nothing comes just now: what is here may go, and control records may have been passed.
                    self.positions()?;
                    if !held.is_empty() {
                        self.send(std::mem::take(&mut held))?;
                        (bytes, progress) = (0, Instant::now());
                    }
                }
            }
            if held.len() >= rows_max || bytes >= BATCH_BYTES {
                self.send(std::mem::take(&mut held))?;
                // The time in which nobody asked for rows was not the source's.
                (bytes, progress) = (0, Instant::now());
            }
            if progress.elapsed() > self.scan.client.read_timeout {
                return Err(self.scan.client.unreachable().with_source("no progress within the read timeout"));
            }
        }
        self.send(held)
    }

    fn finished(&self, held: usize) -> bool {
        // What the last record leaves is not known before it.
        let enough = self.scan.layout.mode != Mode::Latest
            && self
                .scan
                .limit
                .is_some_and(|limit| self.rows >= limit || (self.rows + held >= limit && self.all_count()));
        enough || self.partitions.values().all(|p| p.done)
    }

    /// Each record makes a row, whether it fits or not.
    fn all_count(&self) -> bool {
        self.scan.layout.on_error != OnError::Skip && self.scan.layout.decoder.envelope() == Envelope::None
    }

    /// The record belongs to the window and was not here before.
    fn wants(&mut self, message: &BorrowedMessage<'_>) -> Result<bool> {
        let Some(progress) = self.partitions.get_mut(&message.partition()) else { return Ok(false) };
        if progress.done || message.offset() < progress.next {
            return Ok(false);
        }
        if message.offset() >= progress.span.end {
            return self.end(message.partition()).map(|()| false);
        }
        if std::mem::take(&mut progress.hinted) {
            let micros = message.timestamp().to_millis().and_then(|ms| ms.checked_mul(1000));
            // A broker whose index says "from here" of an older record may have skipped younger ones.
            if micros.zip(self.scan.since).is_none_or(|(micros, since)| micros < since) {
                progress.next = progress.span.start;
                let (partition, start) = (message.partition(), Offset::Offset(progress.span.start));
                let sought = self.reader.seek(&self.scan.topic, partition, start, self.scan.client.patience());
                return sought.map(|()| false).map_err(|e| self.scan.client.failed(e));
            }
        }
        progress.next = message.offset() + 1;
        if progress.next >= progress.span.end {
            self.end(message.partition())?;
        }
        Ok(true)
    }

    /// Ends partitions whose position has passed their end without a record: markers of transactions, compaction.
    fn positions(&mut self) -> Result<()> {
        let position = self.reader.position().map_err(|e| self.scan.client.failed(e))?;
        for element in position.elements() {
            let passed = match (self.partitions.get(&element.partition()), element.offset()) {
                (Some(progress), Offset::Offset(offset)) => !progress.done && offset >= progress.span.end,
                _ => false,
            };
            if passed {
                self.end(element.partition())?;
            }
        }
        Ok(())
    }

    /// Nothing more is wanted of this partition.
    fn end(&mut self, partition: i32) -> Result<()> {
        if let Some(progress) = self.partitions.get_mut(&partition) {
            progress.done = true;
        }
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.scan.topic, partition);
        self.reader.pause(&list).map_err(|e| self.scan.client.failed(e))
    }

    fn judge(&self, error: KafkaError) -> Result<()> {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => Err(self.gone(error)),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                Err(self.scan.client.no_topic(&self.scan.topic).with_source(error))
            }
            // The deadline judges these.
            Some(code) if passes(code) => {
                tracing::debug!(source = self.scan.client.source(), error = %error, "kafka read goes on");
                Ok(())
            }
            _ => Err(self.scan.client.failed(error)),
        }
    }

    /// Retention took records that the window promised.
    fn gone(&self, error: KafkaError) -> Error {
        let topic = &self.scan.topic;
        for (partition, progress) in self.partitions.iter().filter(|(_, p)| !p.done) {
            let Ok((low, _)) = self.reader.fetch_watermarks(topic, *partition, self.scan.client.patience()) else {
                continue;
            };
            if low > progress.next {
                let (from, to) = (progress.next, low.min(progress.span.end));
                let text =
                    format!("topic \"{topic}\", partition {partition}: records from offset {from} to {to} are gone");
                return Error::new(Kind::DataGone, text)
                    .with_source(error)
                    .with_hint("Retention removed them; run the statement again.");
            }
        }
        Error::new(Kind::DataGone, format!("topic \"{topic}\": records of the window are gone")).with_source(error)
    }

    /// Decodes and hands over; the limit cuts the last batch.
    fn send(&mut self, messages: Vec<BorrowedMessage<'a>>) -> Result<()> {
        if messages.is_empty() {
            return Ok(());
        }
        match self.scan.layout.mode {
            Mode::Latest => self.fold(&messages),
            Mode::Changelog => {
                let bytes: usize = messages.iter().map(|message| message.payload_len() + message.key_len()).sum();
                if self.held.is_none() {
                    self.memory.free();
                }
                self.grow(bytes)?;
                let batch = match &self.scan.decoder {
                    None => self.batch(None, &messages.iter().collect::<Vec<_>>())?,
                    Some(decoder) => {
                        let decoded = self.decode(decoder, &messages)?;
                        let kept = of(&messages, &decoded.kept)?;
                        self.batch(Some(&decoded), &kept)?
                    }
                };
                self.grow(batch.get_array_memory_size())?;
                drop(messages);
                self.memory.shrink(bytes);
                self.hand_over(batch);
                Ok(())
            }
        }
    }

    fn hand_over(&mut self, mut batch: RecordBatch) {
        if let Some(held) = &mut self.held {
            held.push(batch);
            return;
        }
        if let Some(limit) = self.scan.limit {
            batch = batch.slice(0, batch.num_rows().min(limit.saturating_sub(self.rows)));
        }
        self.rows += batch.num_rows();
        if batch.num_rows() > 0 {
            // An error means that nobody listens; the loop sees it.
            let _ = self.out.blocking_send(Ok(batch));
        }
    }

    /// Into the rows that the topic leaves.
    fn fold(&mut self, messages: &[BorrowedMessage<'a>]) -> Result<()> {
        let Some(decoder) = &self.scan.decoder else { return Err(Error::internal("latest rows without a decoder")) };
        let decoded = self.decode(decoder, messages)?;
        let kept = of(messages, &decoded.kept)?;
        let rows = self.batch(Some(&decoded), &kept)?;
        let key = decoder.key();
        let mut latest = match self.latest.take() {
            Some(latest) => latest,
            None => {
                let columns: Vec<ArrayRef> =
                    key.iter().filter_map(|at| decoded.changed.rows.columns().get(*at).cloned()).collect();
                Latest::new(SchemaRef::clone(&self.scan.schema), &columns, self.memory.new_empty())?
            }
        };
        let shows = |column: usize| {
            let shown = |at: &usize| self.scan.origin(*at) == Some(Origin::After(column));
            (0..self.scan.projection.len()).filter(shown).collect()
        };
        let lost = latest.push(&decoded.changed, rows, key, shows)?;
        self.latest = Some(latest);
        if let (Some(first), OnError::Error) = (lost.first(), self.scan.layout.on_error) {
            let problem = "leaves out a value, and the record that holds it is not in the topic any more";
            return Err(self.misfit(kept.get(first.row).copied(), None, problem));
        }
        self.misfits += lost.len();
        Ok(())
    }

    /// The rows that the topic left.
    fn show(&mut self, rows_max: usize) -> Result<()> {
        let Some(latest) = self.latest.take() else { return Ok(()) };
        let mut from = 0;
        while from < latest.len() && self.scan.limit.is_none_or(|limit| self.rows < limit) && !self.out.is_closed() {
            self.hand_over(latest.rows(from, rows_max)?);
            from += rows_max;
        }
        Ok(())
    }

    fn decode(&self, decoder: &Decoder, messages: &[BorrowedMessage<'a>]) -> Result<Decoded> {
        let on_error = self.scan.layout.on_error;
        // A row of NULLs has no key that it could be the last of.
        let nulls = on_error == OnError::Null && self.scan.layout.mode == Mode::Changelog;
        let misfit = if nulls { Misfit::Null } else { Misfit::Leave };
        // Only a row that is looked up needs the key it had.
        let looked_up = self.scan.layout.mode == Mode::Latest && decoder.envelope() == Envelope::Debezium;
        let records: Vec<Record<'_>> = messages
            .iter()
            .map(|message| Record {
                key: message.key(),
                value: message.payload(),
                at_ms: message.timestamp().to_millis(),
                old_key: if looked_up { old_key(message) } else { None },
            })
            .collect();
        if let Some(registry) = &self.scan.registry {
            // A thread that may block, of the statement's own runtime.
            let taught = async {
                tokio::select! {
                    biased;
                    taught = registry.teach(decoder, &records) => taught,
                    // A registry may be asked for many schemas, each of which may take its time.
                    () = self.out.closed() => Err(Error::new(Kind::Cancelled, "nobody waits for the records any more")),
                }
            };
            tokio::runtime::Handle::current().block_on(taught)?;
        }
        let decoded = decoder.decode(&records, misfit)?;
        if let (OnError::Error, Some(fault)) = (on_error, decoded.faults.first()) {
            return Err(self.misfit(messages.get(fault.index), fault.column.as_deref(), fault.problem));
        }
        Ok(decoded)
    }

    /// The asked columns of these records, each a row; all other columns than the declared ones where nothing was decoded.
    fn batch(&mut self, decoded: Option<&Decoded>, messages: &[&BorrowedMessage<'a>]) -> Result<RecordBatch> {
        self.misfits += decoded.map_or(0, |decoded| decoded.faults.len());
        let beyond = || Error::internal("a projection beyond the columns");
        let mut arrays = vec![];
        for (at, field) in self.scan.schema.fields().iter().enumerate() {
            let origin = self.scan.origin(at).ok_or_else(beyond)?;
            let declared = |batch: Option<&RecordBatch>, column: usize| -> Result<ArrayRef> {
                let place = self.scan.read.binary_search(&column).map_err(|_| beyond())?;
                batch.and_then(|batch| batch.columns().get(place).cloned()).ok_or_else(beyond)
            };
            arrays.push(match origin {
                Origin::After(column) => declared(decoded.map(|d| &d.changed.rows), column)?,
                Origin::Before(column) => declared(decoded.and_then(|d| d.before.as_ref()), column)?,
                Origin::Op => {
                    let ops = decoded.map(|d| d.changed.ops.as_slice()).unwrap_or_default();
                    Arc::new(StringArray::from_iter_values(ops.iter().map(|op: &Op| op.name())))
                }
                Origin::Unchanged => self.left_out(decoded, messages.len())?,
                own => self.own(own, field.data_type(), messages)?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(messages.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.scan.schema), arrays, &options)?)
    }

    /// Of each row the columns whose values were left out; NULL where there is none.
    fn left_out(&self, decoded: Option<&Decoded>, rows: usize) -> Result<ArrayRef> {
        let mut names = ListBuilder::new(StringBuilder::new());
        for row in 0..rows {
            let mut some = false;
            for unchanged in decoded.iter().flat_map(|decoded| &decoded.changed.unchanged) {
                if unchanged.rows.value(row) {
                    let column = self.scan.read.get(unchanged.column).copied();
                    let field = column.and_then(|column| self.scan.layout.decoder.schema().fields().get(column));
                    names.values().append_option(field.map(|field| field.name()));
                    some = true;
                }
            }
            names.append(some);
        }
        Ok(Arc::new(names.finish()))
    }

    /// A column that every record has.
    fn own(&mut self, origin: Origin, data_type: &DataType, messages: &[&BorrowedMessage<'a>]) -> Result<ArrayRef> {
        Ok(match (origin, data_type) {
            (Origin::Partition, _) => Arc::new(Int32Array::from_iter_values(messages.iter().map(|m| m.partition()))),
            (Origin::Offset, _) => Arc::new(Int64Array::from_iter_values(messages.iter().map(|m| m.offset()))),
            (Origin::Timestamp, _) => {
                let micros = messages.iter().map(|m| m.timestamp().to_millis().and_then(|ms| ms.checked_mul(1000)));
                Arc::new(TimestampMicrosecondArray::from_iter(micros).with_data_type(data_type.clone()))
            }
            (Origin::Key, DataType::Binary) => Arc::new(BinaryArray::from_iter(messages.iter().map(|m| m.key()))),
            (Origin::Key, DataType::Utf8) => {
                let mut keys = StringBuilder::new();
                for message in messages {
                    match message.key().map(std::str::from_utf8).transpose() {
                        Ok(key) => keys.append_option(key),
                        Err(_) if self.scan.layout.on_error == OnError::Error => {
                            return Err(self.misfit(Some(message), Some(KEY), "is not valid UTF-8"));
                        }
                        Err(_) => {
                            self.misfits += 1;
                            keys.append_null();
                        }
                    }
                }
                Arc::new(keys.finish())
            }
            _ => return Err(Error::internal("a column of every record has an unexpected type")),
        })
    }

    /// Says where, not what.
    fn misfit(&self, message: Option<&BorrowedMessage<'_>>, column: Option<&str>, problem: &str) -> Error {
        let (partition, offset) = message.map_or((-1, -1), |m| (m.partition(), m.offset()));
        let what = column.map_or("the record".to_string(), |c| format!("column \"{c}\""));
        let text = format!("topic \"{}\", partition {partition}, offset {offset}: {what} {problem}", self.scan.topic);
        Error::new(Kind::InvalidText, text)
    }
}

impl Scan {
    /// Where a column of what is shown comes from.
    pub(super) fn origin(&self, at: usize) -> Option<Origin> {
        self.projection.get(at).and_then(|column| self.layout.origins.get(*column)).copied()
    }
}

/// All of them as one batch, in order.
fn sorted(schema: &SchemaRef, batches: &[RecordBatch], order: &LexOrdering) -> Result<RecordBatch> {
    let batch = arrow::compute::concat_batches(schema, batches)?;
    let column = |key: &PhysicalSortExpr| -> Result<SortColumn> {
        let values = key.expr.evaluate(&batch)?.into_array(batch.num_rows())?;
        Ok(SortColumn { values, options: Some(key.options) })
    };
    let columns = order.iter().map(column).collect::<Result<Vec<_>>>()?;
    let indices = lexsort_to_indices(&columns, None)?;
    // A batch of no columns has its rows all the same.
    let arrays = arrow::compute::take_arrays(batch.columns(), &indices, None)?;
    let options = RecordBatchOptions::new().with_row_count(Some(indices.len()));
    Ok(RecordBatch::try_new_with_options(batch.schema(), arrays, &options)?)
}

/// Those of a decoder's rows.
fn of<'m, 'a>(messages: &'m [BorrowedMessage<'a>], kept: &[usize]) -> Result<Vec<&'m BorrowedMessage<'a>>> {
    let message = |index: &usize| messages.get(*index);
    kept.iter().map(message).collect::<Option<_>>().ok_or_else(|| Error::internal("a row without a record"))
}

/// The crate panics at a name that is not UTF-8, which Kafka does not forbid.
fn old_key<'m>(message: &'m BorrowedMessage<'_>) -> Option<&'m [u8]> {
    let headers = message.headers()?;
    let header = |at: usize| {
        let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| headers.get(at)));
        read.ok().filter(|header| header.key == OLD_KEY).and_then(|header| header.value)
    };
    (0..headers.count()).find_map(header)
}
