//! The tables a pipeline fills: their columns, made where they are absent, and changes as their rows. It commits nothing.
//! Key and headers of a record are kept as they came, so that one without a value says what was deleted.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BinaryBuilder, FixedSizeBinaryArray, Int32Array, Int64Array, ListArray, RecordBatch,
    StringArray, StringBuilder, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use super::change::{Changes, Header, Seen};
use crate::error::{Error, Kind, Result};
use crate::formats::json::{Decoded, Decoder, Fault, Misfit};
use crate::formats::postgres::OID;
use crate::lake::{self, BatchId, Columns, Lake, TableKey};

/// The table of dead letters of a namespace. Policies reach tables of this name only by a line that names it.
pub const DEAD_LETTERS: &str = "__dlq";

const BATCH_ID: &str = "_batch_id";
const UUID_OID: &str = "2950";

/// A record that does not fit the columns, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    partition: i32,
    offset: i64,
    at_ms: Option<i64>,
    class: &'static str,
    /// Holds nothing of the record.
    message: String,
    key: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
    raw: Vec<u8>,
}

/// What a topic's records become: the declared columns, then those that say where each row came from.
#[derive(Debug)]
pub struct Layout {
    topic: String,
    declared: SchemaRef,
    decoder: Decoder,
    /// Without [`BATCH_ID`].
    taken: SchemaRef,
    pub columns: SchemaRef,
    /// What a row holds at least, whatever the record holds.
    row_bytes: usize,
}

/// In the order in which they follow the declared ones. The last two no `*` of a policy reaches.
fn bronze() -> [Field; 8] {
    [
        moment("_ingested_at", false),
        Field::new("_source", DataType::Utf8, false),
        uuid_field(BATCH_ID),
        Field::new("_op", DataType::Utf8, false),
        moment("_source_ts", true),
        Field::new("_position", DataType::Utf8, false),
        Field::new("_key", DataType::Binary, true),
        Field::new("_headers", DataType::List(header()), true),
    ]
}

fn header() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Struct(header_fields()), false))
}

fn header_fields() -> Fields {
    vec![Field::new("name", DataType::Utf8, false), Field::new("value", DataType::Binary, true)].into()
}

/// A list a record; NULL for one without headers.
fn headers_array<'h>(records: impl Iterator<Item = Vec<Header<'h>>>) -> Result<ArrayRef> {
    let (mut names, mut values) = (StringBuilder::new(), BinaryBuilder::new());
    let (mut lengths, mut some) = (vec![], vec![]);
    for headers in records {
        lengths.push(headers.len());
        some.push(!headers.is_empty());
        for header in headers {
            names.append_value(header.name);
            values.append_option(header.value);
        }
    }
    let columns: Vec<ArrayRef> = vec![Arc::new(names.finish()), Arc::new(values.finish())];
    let elements = StructArray::try_new(header_fields(), columns, None)?;
    let (offsets, nulls) = (OffsetBuffer::from_lengths(lengths), NullBuffer::from(some));
    Ok(Arc::new(ListArray::try_new(header(), offsets, Arc::new(elements), Some(nulls))?))
}

fn moment(name: &str, nullable: bool) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), nullable)
}

fn uuid_field(name: &str) -> Field {
    Field::new(name, DataType::FixedSizeBinary(16), false)
        .with_metadata([(OID.to_string(), UUID_OID.to_string())].into())
}

impl Layout {
    /// Says what is wrong in words for the file's author.
    pub fn new(topic: impl Into<String>, declared: SchemaRef, decoder: Decoder) -> Result<Self, String> {
        let bronze = bronze();
        for field in declared.fields() {
            if bronze.iter().any(|b| b.name() == field.name()) {
                return Err(format!("column \"{}\" is every ingested table's own", field.name()));
            }
        }
        let all = declared.fields().iter().map(|f| f.as_ref().clone()).chain(bronze);
        let columns = Schema::new(all.collect::<Vec<_>>());
        let topic = topic.into();
        // The texts that every row has: where it came from, its place there and what happened.
        let texts = topic.len() + 30;
        let row_bytes = columns.fields().iter().map(|f| least_bytes(f.data_type())).sum::<usize>() + texts;
        let taken: Fields = columns.fields().iter().filter(|f| f.name() != BATCH_ID).cloned().collect();
        Ok(Self {
            topic,
            declared,
            decoder,
            taken: Arc::new(Schema::new(taken)),
            columns: Arc::new(columns),
            row_bytes,
        })
    }

    pub(super) fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// One row a change, the batch's name left out, and the changes that make none.
    pub fn rows(&self, changes: &Changes, now_micros: i64) -> Result<(RecordBatch, Vec<DeadLetter>)> {
        let values: Vec<Option<&[u8]>> = changes.iter().map(|c| c.value).collect();
        let Decoded { rows, faults } = self.decoder.decode(&values, Misfit::Leave)?;
        let mut faults = faults.into_iter().peekable();
        let (mut dead, mut kept) = (vec![], vec![]);
        for (index, change) in changes.iter().enumerate() {
            match faults.next_if(|fault| fault.index == index) {
                Some(fault) => dead.push(DeadLetter::new(&change, fault)),
                None => kept.push(change),
            }
        }
        let mut arrays: Vec<ArrayRef> = rows.columns().to_vec();
        arrays.extend(self.bronze_arrays(&kept, now_micros)?);
        if rows.num_columns() != self.declared.fields().len() || kept.len() != rows.num_rows() {
            return Err(Error::internal("a decoder that made other rows than it said"));
        }
        Ok((RecordBatch::try_new(Arc::clone(&self.taken), arrays)?, dead))
    }

    fn bronze_arrays(&self, changes: &[Seen<'_>], now_micros: i64) -> Result<[ArrayRef; 7]> {
        let (mut sources, mut positions) = (StringBuilder::new(), StringBuilder::new());
        for change in changes {
            // Writing to a text in memory cannot fail.
            let _ = write!(sources, "{}/{}", self.topic, change.partition);
            sources.append_value("");
            let _ = write!(positions, "{:019}", change.offset);
            positions.append_value("");
        }
        let now = TimestampMicrosecondArray::from_value(now_micros, changes.len());
        let ops = StringArray::from_iter_values(changes.iter().map(|c| c.op().name()));
        let at = TimestampMicrosecondArray::from_iter(changes.iter().map(|c| micros(c.at_ms)));
        Ok([
            Arc::new(now.with_timezone("UTC")),
            Arc::new(sources.finish()),
            Arc::new(ops),
            Arc::new(at.with_timezone("UTC")),
            Arc::new(positions.finish()),
            Arc::new(BinaryArray::from_iter(changes.iter().map(|c| c.key))),
            headers_array(changes.iter().map(|c| c.headers.clone()))?,
        ])
    }

    /// Rows with the name of the batch that brings them.
    pub fn stamped(&self, rows: &RecordBatch, batch: BatchId) -> Result<RecordBatch> {
        let at = self.columns.index_of(BATCH_ID)?;
        let mut arrays = rows.columns().to_vec();
        arrays.insert(at.min(arrays.len()), named(batch, rows.num_rows())?);
        Ok(RecordBatch::try_new(Arc::clone(&self.columns), arrays)?)
    }

    /// Dead letters as rows of [`dead_letter_columns`].
    pub fn dead_rows(
        &self,
        pipeline: &str,
        dead: &[DeadLetter],
        batch: BatchId,
        now_micros: i64,
    ) -> Result<RecordBatch> {
        let source = |d: &DeadLetter| format!("{}/{}", self.topic, d.partition);
        let text = |of: &dyn Fn(&DeadLetter) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(dead.iter().map(of)))
        };
        let at = TimestampMicrosecondArray::from_iter(dead.iter().map(|d| micros(d.at_ms)));
        let now = TimestampMicrosecondArray::from_value(now_micros, dead.len());
        let arrays: Vec<ArrayRef> = vec![
            text(&|d| format!("{}/{:019}", source(d), d.offset)),
            text(&|_| pipeline.to_string()),
            text(&source),
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

impl DeadLetter {
    fn new(change: &Seen<'_>, fault: Fault) -> Self {
        let (class, what) = match &fault.column {
            None => ("malformed", "the record".to_string()),
            Some(column) => ("misfit", format!("column \"{column}\"")),
        };
        Self {
            partition: change.partition,
            offset: change.offset,
            at_ms: change.at_ms,
            class,
            message: format!("{what} {}", fault.problem),
            key: change.key.map(<[u8]>::to_vec),
            headers: change.headers.iter().map(|h| (h.name.to_string(), h.value.map(<[u8]>::to_vec))).collect(),
            raw: change.value.unwrap_or_default().to_vec(),
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

/// What one value holds in memory at least.
fn least_bytes(of: &DataType) -> usize {
    match of {
        // An offset, and the bytes of the value itself are the record's own.
        DataType::Utf8 | DataType::Binary | DataType::List(_) => 4,
        DataType::FixedSizeBinary(bytes) => usize::try_from(*bytes).unwrap_or(0),
        other => other.primitive_width().unwrap_or(1),
    }
}

fn named(batch: BatchId, rows: usize) -> Result<ArrayRef> {
    let ids = std::iter::repeat_n(Some(batch.as_bytes()), rows);
    Ok(Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(ids, 16)?))
}

fn micros(millis: Option<i64>) -> Option<i64> {
    millis.and_then(|ms| ms.checked_mul(1_000))
}

/// The table, made if there is none, with its namespace. One whose columns are others is not touched.
pub async fn ensure(lake: &Lake, key: &TableKey, columns: &SchemaRef) -> Result<lake::Table> {
    if let Some(table) = lake.table(key).await? {
        return fits(table, key, columns);
    }
    lake.create_namespace(&key.namespace).await?;
    let is_uuid = |field: &Field| field.metadata().get(OID).is_some_and(|oid| oid == UUID_OID);
    let wanted = Columns { schema: columns, is_uuid: &is_uuid, all_nullable: false };
    match lake.create_table(key, &wanted, Default::default(), None).await {
        Ok((table, _)) => Ok(table),
        // Another process was first.
        Err(error) if error.kind() == Kind::DuplicateTable => match lake.table(key).await? {
            Some(table) => fits(table, key, columns),
            None => Err(error),
        },
        Err(error) => Err(error),
    }
}

fn fits(table: lake::Table, key: &TableKey, columns: &Schema) -> Result<lake::Table> {
    let shown = |schema: &Schema| -> Vec<(String, DataType)> {
        schema.fields().iter().map(|f| (f.name().clone(), kept_as(f.data_type()))).collect()
    };
    let (have, want) = (shown(&table.schema()), shown(columns));
    let Some(at) = (0..have.len().max(want.len())).find(|i| have.get(*i) != want.get(*i)) else {
        // Before a file is written for it.
        table.writable()?;
        return Ok(table);
    };
    let name =
        |of: &[(String, DataType)]| of.get(at).map_or("none".to_string(), |(n, t)| format!("\"{n}\" of type {t}"));
    let name_of = crate::types::TableName::new(&key.namespace, &key.name);
    let text = format!("table {name_of} has other columns than its pipeline");
    Err(Error::new(Kind::TypeMismatch, text)
        .with_detail(format!("column {}: the table has {}, the pipeline {}", at + 1, name(&have), name(&want)))
        .with_hint("Declare the columns as they were, or drop the table to take its topic in anew."))
}

/// The type in which a lake table keeps a column, without what its fields say beside name and type.
fn kept_as(of: &DataType) -> DataType {
    let field = |f: &Field| Field::new(f.name(), kept_as(f.data_type()), f.is_nullable());
    match of {
        DataType::Int8 | DataType::Int16 => DataType::Int32,
        DataType::List(element) => DataType::List(Arc::new(field(element))),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|f| field(f)).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::TimestampMicrosecondType;

    use super::*;
    use crate::formats::json::Unit;

    fn layout() -> Layout {
        let declared = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
        let decoder = Decoder::new(Arc::clone(&declared), &[Unit::Millis]).unwrap();
        Layout::new("events", declared, decoder).unwrap()
    }

    #[test]
    fn a_change_is_a_row_that_says_where_it_came_from() {
        let layout = layout();
        let mut changes = Changes::default();
        let headers = || vec![Header { name: "h", value: Some(b"1") }, Header { name: "h", value: None }];
        let seen =
            |offset, value| Seen { partition: 3, offset, at_ms: Some(2), key: Some(b"k"), value, headers: headers() };
        changes.push(seen(7, Some(br#"{"id": 1}"#)));
        changes.push(seen(8, Some(b"secret")));
        changes.push(seen(9, None));
        changes.push(seen(10, Some(br#"{"id": "secret"}"#)));
        let (rows, dead) = layout.rows(&changes, 5).unwrap();
        let batch = BatchId::new();
        let rows = layout.stamped(&rows, batch).unwrap();
        let text = |name: &str| -> Vec<String> {
            let column = rows.column_by_name(name).unwrap().as_string::<i32>();
            column.iter().map(|v| v.unwrap().to_string()).collect()
        };
        assert_eq!(text("_source"), ["events/3", "events/3"]);
        assert_eq!(text("_position"), ["0000000000000000007", "0000000000000000009"]);
        assert_eq!(text("_op"), ["insert", "delete"]);
        let at = rows.column_by_name("_source_ts").unwrap().as_primitive::<TimestampMicrosecondType>();
        assert_eq!(at.value(0), 2_000);
        assert_eq!(rows.column_by_name(BATCH_ID).unwrap().as_fixed_size_binary().value(1), batch.as_bytes());
        // The deleted one says what it was.
        assert_eq!(rows.column_by_name("_key").unwrap().as_binary::<i32>().value(1), b"k");
        let kept = rows.column_by_name("_headers").unwrap().as_list::<i32>().value(1);
        let (names, values) =
            (kept.as_struct().column(0).as_string::<i32>(), kept.as_struct().column(1).as_binary::<i32>());
        assert_eq!((names.value(0), names.value(1), values.value(0), values.is_null(1)), ("h", "h", &b"1"[..], true));

        let told: Vec<_> = dead.iter().map(|d| (d.offset, d.class, d.message.as_str())).collect();
        let expect = [
            (8, "malformed", "the record is not valid JSON"),
            (10, "misfit", "column \"id\" has another type than the column"),
        ];
        assert_eq!(told, expect);
        let rows = layout.dead_rows("p", &dead, batch, 5).unwrap();
        let ids = rows.column_by_name("id").unwrap().as_string::<i32>();
        assert_eq!(ids.value(0), "events/3/0000000000000000008");
        assert_eq!(rows.column_by_name("raw").unwrap().as_binary::<i32>().value(0), b"secret");
        assert_eq!(rows.column_by_name("raw_key").unwrap().as_binary::<i32>().value(0), b"k");
        assert_eq!(rows.column_by_name("raw_headers").unwrap().as_list::<i32>().value_length(0), 2);
    }

    /// Every record is a row or a dead letter, each beside its own place, however they are mixed and cut.
    #[test]
    fn many_records_keep_their_places() {
        let layout = layout();
        let (mut rows, mut dead, mut expected) = (vec![], vec![], (vec![], vec![]));
        let mut offset = 0;
        while offset < 50_000 {
            let mut changes = Changes::default();
            for _ in 0..rand::random_range(1..3_000) {
                let value = match rand::random_range(0..8) {
                    0 => Some(format!("{{\"id\": \"{offset}\"}}{{")),
                    1 => Some(format!("{{\"id\": [{offset}]}}")),
                    2 => None,
                    _ => Some(format!("{{\"more\": [{{\"id\": 0}}], \"id\": {offset}}}")),
                };
                let row = match &value {
                    Some(text) if text.contains("more") => Some(Some(offset)),
                    Some(_) => None,
                    None => Some(None),
                };
                match row {
                    Some(id) => expected.0.push((id, format!("{offset:019}"))),
                    None => expected.1.push(offset),
                }
                let value = value.as_deref().map(str::as_bytes);
                changes.push(Seen { offset, value, ..Seen::default() });
                offset += 1;
            }
            let (some, letters) = layout.rows(&changes, 5).unwrap();
            rows.push(some);
            dead.extend(letters);
        }
        let found = rows.iter().flat_map(|rows| {
            let ids = rows.column(0).as_primitive::<arrow::datatypes::Int64Type>();
            let places = rows.column_by_name("_position").unwrap().as_string::<i32>();
            ids.iter().zip(places.iter()).map(|(id, at)| (id, at.unwrap().to_string())).collect::<Vec<_>>()
        });
        assert!(found.eq(expected.0));
        assert_eq!(dead.iter().map(|d| d.offset).collect::<Vec<_>>(), expected.1);
    }

    #[test]
    fn a_declared_column_does_not_take_a_bronze_name() {
        let declared = Arc::new(Schema::new(vec![Field::new("_op", DataType::Utf8, true)]));
        let decoder = Decoder::new(Arc::clone(&declared), &[Unit::Millis]).unwrap();
        let told = Layout::new("events", declared, decoder).map(|_| ());
        assert_eq!(told, Err("column \"_op\" is every ingested table's own".to_string()));
    }
}
