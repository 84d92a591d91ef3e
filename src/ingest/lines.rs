//! Lines of text that are rows of one table, as a pipeline's own file declares them. It reads nothing and knows no place.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::SchemaRef;

use super::dead::DeadLetter;
use super::origin::{Again, Part, Shape};
use crate::error::Result;
use crate::formats::record::{Csv, Decoded, Decoder, Envelope, Fault, Format, Misfit, Record};
use crate::sources::kafka::{ColumnConfig, Key, Mode, OnError, Topic};

/// What lines are, and which table they go to.
#[derive(Debug)]
pub struct Lines {
    name: String,
    target: String,
    topic: Topic,
    decoder: Decoder,
}

/// Lines as a file declares them: as a topic's records that stand for themselves.
pub(super) fn declared(columns: &[ColumnConfig], key: &[String], format: Format, csv: Csv) -> Topic {
    Topic {
        topic: None,
        format,
        envelope: Envelope::None,
        mode: Mode::Changelog,
        columns: columns.to_vec(),
        key_columns: key.to_vec(),
        on_error: OnError::Error,
        key: Key::Bytea,
        decimals: Default::default(),
        placeholder: None,
        csv,
        proto: None,
        message: None,
    }
}

impl Lines {
    /// `name`: what messages call where they come from. Says what is wrong in words for the file's author.
    pub(super) fn new(name: impl Into<String>, target: impl Into<String>, topic: Topic) -> Result<Self, String> {
        let decoder = topic.lines()?;
        Ok(Self { name: name.into(), target: target.into(), topic, decoder })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        self.decoder.schema()
    }

    /// Which of the columns tell rows apart.
    pub(super) fn key(&self) -> &[usize] {
        self.decoder.key()
    }

    pub(super) fn shape(&self) -> Shape {
        Shape {
            name: self.name.clone(),
            target: self.target.clone(),
            columns: SchemaRef::clone(self.decoder.schema()),
            key: self.decoder.key().to_vec(),
            beside: vec![],
        }
    }

    /// A row for each line that is one, and why the others are none.
    pub(super) fn decode<'l>(&self, lines: impl Iterator<Item = &'l [u8]>) -> Result<Decoded> {
        let records: Vec<Record<'_>> = lines.map(|line| Record { value: Some(line), ..Record::default() }).collect();
        self.decoder.decode(&records, Misfit::Leave)
    }

    /// The same columns, whose fields stand in another order in each line: by the names that a first line gives. Says what
    /// is wrong with those, without repeating them.
    pub(super) fn in_order(&self, names: &[String]) -> Result<Self, String> {
        let mut columns = vec![];
        for (at, name) in names.iter().enumerate() {
            let found = self.topic.columns.iter().find(|c| c.path.as_ref().unwrap_or(&c.name) == name);
            let column = found.ok_or_else(|| format!("names a column in field {} that is not declared", at + 1))?;
            if columns.iter().any(|known: &ColumnConfig| known.name == column.name) {
                return Err(format!("names column \"{}\" twice", column.name));
            }
            columns.push(column.clone());
        }
        let missing = self.topic.columns.iter().find(|c| !c.optional && !columns.iter().any(|k| k.name == c.name));
        if let Some(column) = missing {
            return Err(format!("does not name column \"{}\"", column.name));
        }
        let topic = Topic { columns, ..self.topic.clone() };
        Self::new(&self.name, &self.target, topic)
    }
}

/// Letters whose lines stand for themselves, decoded by the columns of now; `own` are those of the origin that asks.
pub(super) fn again(lines: &Lines, letters: &[DeadLetter], is_own: impl Fn(&DeadLetter) -> bool) -> Result<Again> {
    let own: Vec<(usize, &DeadLetter)> = letters.iter().enumerate().filter(|(_, letter)| is_own(letter)).collect();
    let decoded = lines.decode(own.iter().map(|(_, letter)| letter.raw.as_slice()))?;
    let Decoded { changed, kept, .. } = decoded;
    let kept: Vec<(usize, &DeadLetter)> = kept.iter().filter_map(|at| own.get(*at).copied()).collect();
    let resolved: Vec<usize> = kept.iter().map(|(at, _)| *at).collect();
    let part = (!kept.is_empty()).then(|| Part {
        table: 0,
        changed,
        at_micros: Int64Array::from_iter(
            kept.iter().map(|(_, letter)| letter.at_ms.and_then(|ms| ms.checked_mul(1_000))),
        ),
        positions: StringArray::from_iter_values(kept.iter().map(|(_, letter)| format!("{:019}", letter.offset))),
        sources: StringArray::from_iter_values(kept.iter().map(|(_, letter)| letter.source.as_str())),
        beside: vec![],
        place: None,
    });
    Ok(Again { part, resolved, own: own.len() })
}

/// Rows of some columns as rows of all, in their order.
pub(super) fn widened(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if rows.schema_ref() == schema {
        return Ok(rows.clone());
    }
    let column = |field: &arrow::datatypes::FieldRef| -> ArrayRef {
        let found = rows.column_by_name(field.name());
        found.map_or_else(|| new_null_array(field.data_type(), rows.num_rows()), Arc::clone)
    };
    let columns = schema.fields().iter().map(column).collect();
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// Class and words of a dead letter, which hold nothing of the line.
pub(super) fn dead_words(fault: &Fault) -> (&'static str, String) {
    match &fault.column {
        None => ("malformed", format!("the record {}", fault.problem)),
        Some(column) => ("misfit", format!("column \"{column}\" {}", fault.problem)),
    }
}
