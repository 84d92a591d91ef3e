//! Rows being built from records: a sink a column, and which rows turned out to be none. A row is taken back by being
//! marked, so that the good ones, which are nearly all, are written once. It reads no record.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;

use super::given::Problem;
use super::sink::Sink;
use crate::error::{Error, Result};
use crate::formats::change::Unchanged;

/// Why a record makes no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Miss {
    /// `None` where the record as a whole is not what it should be.
    pub(super) column: Option<usize>,
    pub(super) problem: Problem,
}

impl From<Problem> for Miss {
    fn from(problem: Problem) -> Self {
        Self { column: None, problem }
    }
}

pub(super) fn of(column: usize) -> impl Fn(Problem) -> Miss {
    move |problem| Miss { column: Some(column), problem }
}

/// What becomes of a row that is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoilt {
    Left,
    Null,
}

/// Which columns of a row are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Take {
    All,
    Key,
    /// Those of the key, or all where none is declared; not those that have a value.
    Missing,
}

#[derive(Debug)]
pub(super) struct Rows {
    schema: SchemaRef,
    /// `None`: a column nobody asks for.
    sinks: Vec<Option<Sink>>,
    rows: usize,
    spoilt: Vec<(usize, Spoilt)>,
    /// Column and row.
    unchanged: Vec<(usize, usize)>,
}

/// Finished rows.
pub(super) struct Built {
    pub(super) rows: RecordBatch,
    pub(super) unchanged: Vec<Unchanged>,
}

impl Rows {
    /// `wanted`: of the schema's columns; the others are not read and not in what is built.
    pub(super) fn new(schema: &SchemaRef, wanted: impl Fn(usize) -> bool) -> Result<Self> {
        let sink = |(column, field): (usize, &Arc<arrow::datatypes::Field>)| match wanted(column) {
            true => Sink::new(field).map(Some).ok_or_else(|| Error::internal("a column that records are not read as")),
            false => Ok(None),
        };
        let sinks = schema.fields().iter().enumerate().map(sink).collect::<Result<_>>()?;
        Ok(Self { schema: Arc::clone(schema), sinks, rows: 0, spoilt: vec![], unchanged: vec![] })
    }

    pub(super) fn sink(&mut self, column: usize) -> Option<&mut Sink> {
        self.sinks.get_mut(column).and_then(Option::as_mut)
    }

    pub(super) fn wants(&self, column: usize) -> bool {
        self.sinks.get(column).is_some_and(Option::is_some)
    }

    /// Of a row of which only some columns count.
    pub(super) fn takes(&self, take: Take, column: usize, key: &[usize]) -> bool {
        let taken = match take {
            Take::All => true,
            Take::Key => key.contains(&column),
            Take::Missing => (key.is_empty() || key.contains(&column)) && !self.given(column),
        };
        taken && self.wants(column)
    }

    /// The row that is being built has this column's value.
    pub(super) fn given(&self, column: usize) -> bool {
        self.sinks.get(column).and_then(Option::as_ref).is_some_and(|sink| sink.rows() > self.rows)
    }

    pub(super) fn any_given(&self) -> bool {
        self.sinks.iter().flatten().any(|sink| sink.rows() > self.rows)
    }

    pub(super) fn count(&self) -> usize {
        self.rows
    }

    /// The value that was just given is not the row's: the origin left it out.
    pub(super) fn left_out(&mut self, column: usize) {
        self.unchanged.push((column, self.rows));
    }

    pub(super) fn has_left_out(&self) -> bool {
        self.unchanged.last().is_some_and(|(_, row)| *row == self.rows)
    }

    /// The row is whole; what was not given is NULL.
    pub(super) fn end(&mut self) {
        self.rows += 1;
        for sink in self.sinks.iter_mut().flatten() {
            while sink.rows() < self.rows {
                sink.push_null();
            }
        }
    }

    /// The row is none. `null`: it is one of NULLs.
    pub(super) fn spoil(&mut self, null: bool) {
        self.spoilt.push((self.rows, if null { Spoilt::Null } else { Spoilt::Left }));
        self.end();
    }

    /// NULLs up to so many rows.
    pub(super) fn fill(&mut self, rows: usize) {
        while self.rows < rows {
            self.end();
        }
    }

    pub(super) fn finish(mut self) -> Result<Built> {
        let mut fields = vec![];
        let mut arrays: Vec<ArrayRef> = vec![];
        let mut places = vec![];
        for (column, sink) in self.sinks.iter_mut().enumerate() {
            if let Some(sink) = sink {
                places.push(column);
                fields.push(Arc::clone(&self.schema.fields()[column]));
                arrays.push(sink.finish()?);
            }
        }
        let mut spoilt = self.spoilt.iter().peekable();
        let mut taken = vec![];
        if !self.spoilt.is_empty() {
            for row in 0..self.rows {
                match spoilt.next_if(|(at, _)| *at == row) {
                    None => taken.push(Some(row as u64)),
                    Some((_, Spoilt::Null)) => taken.push(None),
                    Some((_, Spoilt::Left)) => {}
                }
            }
            let taken = UInt64Array::from(taken.clone());
            for array in &mut arrays {
                *array = arrow::compute::take(array, &taken, None)?;
            }
        }
        let count = if self.spoilt.is_empty() { self.rows } else { taken.len() };
        let mut unchanged: Vec<Unchanged> = vec![];
        for (place, column) in places.iter().enumerate() {
            let rows: Vec<usize> = self.unchanged.iter().filter(|(of, _)| of == column).map(|(_, row)| *row).collect();
            if rows.is_empty() {
                continue;
            }
            let set = |at: usize| match taken.get(at) {
                Some(row) => {
                    row.and_then(|row| usize::try_from(row).ok()).is_some_and(|row| rows.binary_search(&row).is_ok())
                }
                None => rows.binary_search(&at).is_ok(),
            };
            let rows = BooleanBuffer::collect_bool(count, set);
            if rows.count_set_bits() > 0 {
                unchanged.push(Unchanged { column: place, rows });
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let schema = Arc::new(arrow::datatypes::Schema::new(fields));
        Ok(Built { rows: RecordBatch::try_new_with_options(schema, arrays, &options)?, unchanged })
    }
}
