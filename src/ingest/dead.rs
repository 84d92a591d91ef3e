//! Records that make no row: kept whole in a table of their namespace, each once, until somebody has looked at them.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::log::{Header, Seen};
use super::table::{header, headers_array, micros, moment, named, uuid_field};
use crate::error::Result;
use crate::lake::BatchId;

/// The table of dead letters of a namespace. Policies reach tables of this name only by a line that names it.
pub const DEAD_LETTERS: &str = "__dlq";

/// A record that does not fit the columns, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Topic and partition, or slot.
    pub source: String,
    pub partition: i32,
    /// Within its partition, or an LSN.
    pub offset: i64,
    pub at_ms: Option<i64>,
    /// `malformed`, `misfit`: what kind of fault it is.
    pub class: &'static str,
    /// Holds nothing of the record.
    pub message: String,
    pub key: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    pub raw: Vec<u8>,
}

impl DeadLetter {
    pub(super) fn of(record: &Seen<'_>, topic: &str, class: &'static str, message: String) -> Self {
        Self {
            source: format!("{topic}/{}", record.partition),
            partition: record.partition,
            offset: record.offset,
            at_ms: record.at_ms,
            class,
            message,
            key: record.key.map(<[u8]>::to_vec),
            headers: record.headers.iter().map(|h| (h.name.to_string(), h.value.map(<[u8]>::to_vec))).collect(),
            raw: record.value.unwrap_or_default().to_vec(),
        }
    }

    /// The record as it came.
    pub(super) fn seen(&self) -> Seen<'_> {
        Seen {
            partition: self.partition,
            offset: self.offset,
            at_ms: self.at_ms,
            key: self.key.as_deref(),
            // One without a value has a key, or it would have been no record at all.
            value: Some(self.raw.as_slice()).filter(|raw| !raw.is_empty() || self.key.is_none()),
            headers: self.headers(),
        }
    }

    fn headers(&self) -> Vec<Header<'_>> {
        self.headers.iter().map(|(name, value)| Header { name, value: value.as_deref() }).collect()
    }

    /// Twice what it holds: once here, once as a row when it is written.
    pub(super) fn memory_bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len));
        let held = self.message.len() + self.key.as_ref().map_or(0, Vec::len) + headers.sum::<usize>() + self.raw.len();
        2 * (std::mem::size_of::<Self>() + held)
    }
}

/// `id` follows from the record's place alone, so that whoever reads one twice can tell.
pub fn dead_letter_columns() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("pipeline", DataType::Utf8, false),
        Field::new("source", DataType::Utf8, false),
        Field::new("source_partition", DataType::Int32, false),
        Field::new("source_offset", DataType::Int64, false),
        moment("source_ts", true),
        Field::new("error_class", DataType::Utf8, false),
        Field::new("message", DataType::Utf8, false),
        Field::new("raw_key", DataType::Binary, true),
        Field::new("raw_headers", DataType::List(header()), true),
        Field::new("raw", DataType::Binary, false),
        moment("set_aside_at", false),
        uuid_field("batch_id"),
    ]))
}

/// Dead letters as rows of [`dead_letter_columns`].
pub(super) fn dead_rows(pipeline: &str, dead: &[DeadLetter], batch: BatchId, now_micros: i64) -> Result<RecordBatch> {
    let text = |of: &dyn Fn(&DeadLetter) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(dead.iter().map(of)))
    };
    let at = TimestampMicrosecondArray::from_iter(dead.iter().map(|d| micros(d.at_ms)));
    let now = TimestampMicrosecondArray::from_value(now_micros, dead.len());
    let arrays: Vec<ArrayRef> = vec![
        text(&|d| format!("{}/{:019}", d.source, d.offset)),
        text(&|_| pipeline.to_string()),
        text(&|d| d.source.clone()),
        Arc::new(Int32Array::from_iter_values(dead.iter().map(|d| d.partition))),
        Arc::new(Int64Array::from_iter_values(dead.iter().map(|d| d.offset))),
        Arc::new(at.with_timezone("UTC")),
        text(&|d| d.class.to_string()),
        text(&|d| d.message.clone()),
        Arc::new(BinaryArray::from_iter(dead.iter().map(|d| d.key.as_deref()))),
        headers_array(dead.iter().map(DeadLetter::headers))?,
        Arc::new(BinaryArray::from_iter_values(dead.iter().map(|d| &d.raw))),
        Arc::new(now.with_timezone("UTC")),
        named(batch, dead.len())?,
    ];
    Ok(RecordBatch::try_new(dead_letter_columns(), arrays)?)
}
