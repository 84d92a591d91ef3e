//! The reading of a window, on a thread of its own: from each start until the position has passed each end. It ends
//! with all of the window or with an error, never with a part.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::*;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::error::DataFusionError;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::sync::mpsc::Sender;

use super::OnError;
use super::client::{Client, Reader, passes};
use super::columns::{KEY, Layout, OFFSET, PARTITION, TIMESTAMP};
use super::window::Span;
use crate::error::{Error, Kind, Result};
use crate::formats::json::{Decoded, Misfit};

/// How soon a reader that nobody listens to any more stops.
const POLL: Duration = Duration::from_millis(100);
/// A batch ends at so many bytes of values even where its records are few.
const BATCH_BYTES: usize = 4 << 20;

/// What to read.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) client: Arc<Client>,
    pub(super) topic: String,
    pub(super) layout: Arc<Layout>,
    /// None of them empty.
    pub(super) spans: Vec<Span>,
    /// Records before it need not come; in microseconds.
    pub(super) since: Option<i64>,
    /// Into the layout's columns.
    pub(super) projection: Vec<usize>,
    pub(super) schema: SchemaRef,
    pub(super) limit: Option<usize>,
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
}

/// Blocks until the window is read, an error came, or nobody listens.
pub(super) fn run(scan: &Scan, rows_max: usize, out: &Sender<Result<RecordBatch, DataFusionError>>) -> Result<()> {
    let reader = scan.client.reader()?;
    let mut partitions = BTreeMap::new();
    for span in &scan.spans {
        partitions.insert(span.partition, Progress { span: *span, next: span.start, done: false, hinted: false });
    }
    let mut reading = Reading { scan, reader: &reader, partitions, out, rows: 0, misfits: 0 };
    if let Some(since) = scan.since {
        reading.hint(since);
    }
    reading.assign()?;
    reading.poll(rows_max)?;
    if reading.misfits > 0 {
        tracing::warn!(
            source = scan.client.source(),
            topic = scan.topic,
            records = reading.misfits,
            "records do not fit the columns"
        );
    }
    Ok(())
}

impl<'a> Reading<'a> {
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
        let enough =
            self.scan.limit.is_some_and(|limit| self.rows >= limit || (self.rows + held >= limit && self.all_count()));
        enough || self.partitions.values().all(|p| p.done)
    }

    /// Each record makes a row, whether it fits or not.
    fn all_count(&self) -> bool {
        self.scan.layout.on_error != OnError::Skip
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
        let mut batch = self.decode(messages)?;
        if let Some(limit) = self.scan.limit {
            batch = batch.slice(0, batch.num_rows().min(limit.saturating_sub(self.rows)));
        }
        self.rows += batch.num_rows();
        if batch.num_rows() > 0 {
            // An error means that nobody listens; the loop sees it.
            let _ = self.out.blocking_send(Ok(batch));
        }
        Ok(())
    }

    /// All declared columns are decoded whatever the projection: whether a record fits must not depend on it.
    fn decode(&mut self, mut messages: Vec<BorrowedMessage<'a>>) -> Result<RecordBatch> {
        let Layout { decoder, on_error, schema, .. } = self.scan.layout.as_ref();
        let misfit = if *on_error == OnError::Skip { Misfit::Leave } else { Misfit::Null };
        let payloads: Vec<Option<&[u8]>> = messages.iter().map(Message::payload).collect();
        let Decoded { rows, faults } = decoder.decode(&payloads, misfit)?;
        drop(payloads);
        if let (OnError::Error, Some(fault)) = (on_error, faults.first()) {
            let message = messages.get(fault.index);
            return Err(self.misfit(message, fault.column.as_deref(), fault.problem));
        }
        self.misfits += faults.len();
        if *on_error == OnError::Skip {
            let mut index = 0;
            let mut left = faults.iter().map(|f| f.index).peekable();
            messages.retain(|_| {
                let keep = left.next_if_eq(&index).is_none();
                index += 1;
                keep
            });
        }
        let mut arrays = vec![];
        for column in &self.scan.projection {
            let field =
                schema.fields().get(*column).ok_or_else(|| Error::internal("a projection beyond the columns"))?;
            arrays.push(match rows.columns().get(*column) {
                Some(declared) => Arc::clone(declared),
                None => self.own(field.name(), field.data_type(), &messages)?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(messages.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.scan.schema), arrays, &options)?)
    }

    /// A column that every record has.
    fn own(&mut self, name: &str, data_type: &DataType, messages: &[BorrowedMessage<'a>]) -> Result<ArrayRef> {
        Ok(match (name, data_type) {
            (PARTITION, _) => Arc::new(Int32Array::from_iter_values(messages.iter().map(|m| m.partition()))),
            (OFFSET, _) => Arc::new(Int64Array::from_iter_values(messages.iter().map(|m| m.offset()))),
            (TIMESTAMP, _) => {
                let micros = messages.iter().map(|m| m.timestamp().to_millis().and_then(|ms| ms.checked_mul(1000)));
                Arc::new(TimestampMicrosecondArray::from_iter(micros).with_data_type(data_type.clone()))
            }
            (KEY, DataType::Binary) => Arc::new(BinaryArray::from_iter(messages.iter().map(Message::key))),
            (KEY, DataType::Utf8) => {
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
