//! JSON objects → Arrow by declared columns. Total: a record that does not fit is reported by its place and column,
//! never by its value, and never changes its neighbours. It does not guess types and knows no topic or file.

mod scan;
mod value;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use crate::error::{Error, Result};
use scan::{Member, members};
use value::{Cell, Column};

/// What a JSON number counts in a date or time column, from 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    #[serde(rename = "s")]
    Seconds,
    #[default]
    #[serde(rename = "ms")]
    Millis,
    #[serde(rename = "us")]
    Micros,
}

/// What becomes of a record that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit {
    /// It makes no row.
    Leave,
    /// Its row holds NULLs only; for columns that all take them.
    Null,
}

/// Why a record does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its place in the slice that was decoded.
    pub index: usize,
    /// `None` where the record as a whole is not what it should be.
    pub column: Option<String>,
    /// Holds nothing of the record.
    pub problem: &'static str,
}

/// Rows in the order of their records, and the records that did not fit, in order.
#[derive(Debug)]
pub struct Decoded {
    pub rows: RecordBatch,
    pub faults: Vec<Fault>,
}

/// Knows the columns; one serves any number of slices.
#[derive(Debug)]
pub struct Decoder {
    schema: SchemaRef,
    units: Vec<Unit>,
    places: HashMap<String, usize>,
}

impl Decoder {
    /// `units`: one per column; it counts where the column is a timestamp. 0A000 naming a column of a type that JSON
    /// is not read as.
    pub fn new(schema: SchemaRef, units: &[Unit]) -> Result<Self> {
        if schema.fields().len() != units.len() {
            return Err(Error::internal("JSON decoder: as many units as columns"));
        }
        for field in schema.fields() {
            if Column::new(field).is_none() {
                return Err(Error::unsupported(format_args!(
                    "reading JSON as the type of column \"{}\"",
                    field.name()
                )));
            }
        }
        let places = schema.fields().iter().enumerate().map(|(i, f)| (f.name().clone(), i)).collect();
        Ok(Self { schema, units: units.to_vec(), places })
    }

    /// One record an element; `None` is a tombstone and gives a row of NULLs. Fields that no column names are ignored,
    /// columns that no field names are NULL, the last of two fields of one name counts.
    pub fn decode(&self, records: &[Option<&[u8]>], misfit: Misfit) -> Result<Decoded> {
        let mut columns: Vec<Column> = self.schema.fields().iter().filter_map(|f| Column::new(f)).collect();
        let mut faults = vec![];
        let mut row: Vec<Cell<'_>> = vec![];
        let mut count = 0;
        for (index, record) in records.iter().enumerate() {
            row.clear();
            row.resize_with(columns.len(), || Cell::Null);
            let outcome = match record {
                Some(bytes) => self.record(bytes, &columns, &mut row),
                None if columns.iter().all(Column::nullable) => Ok(()),
                None => Err((None, "is null")),
            };
            if let Err((column, problem)) = outcome {
                let column = column.and_then(|i| self.schema.fields().get(i)).map(|f| f.name().clone());
                faults.push(Fault { index, column, problem });
                if misfit == Misfit::Leave {
                    continue;
                }
                row.fill_with(|| Cell::Null);
            }
            for (column, cell) in columns.iter_mut().zip(row.drain(..)) {
                column.push(cell)?;
            }
            count += 1;
        }
        let arrays = columns.iter_mut().map(Column::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        Ok(Decoded { rows: RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?, faults })
    }

    fn record<'a>(
        &self,
        bytes: &'a [u8],
        columns: &[Column],
        row: &mut [Cell<'a>],
    ) -> Result<(), (Option<usize>, &'static str)> {
        let text = std::str::from_utf8(bytes).map_err(|_| (None, "is not valid UTF-8"))?;
        let mut found: Vec<Option<Member<'a>>> = vec![];
        found.resize_with(columns.len(), || None);
        members(text, |name, member| {
            if let Some(place) = self.places.get(name.as_ref()).and_then(|i| found.get_mut(*i)) {
                *place = Some(member);
            }
        })
        .map_err(|problem| (None, problem))?;
        for (i, (column, member)) in columns.iter().zip(found).enumerate() {
            let (Some(unit), Some(cell)) = (self.units.get(i), row.get_mut(i)) else { continue };
            match member {
                Some(member) => *cell = column.read(member, *unit).map_err(|problem| (Some(i), problem))?,
                None if !column.nullable() => return Err((Some(i), "is missing")),
                None => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
