//! Rows of a temporary table that a statement changes: where each is, and the table without those that are gone.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;

use super::{Part, Temporary};
use crate::error::{Error, Kind, Result};
use crate::policy::OwnRows;
use crate::sources::Gone;

/// The number of a row's part, and its own in it: names that no column has.
const PLACE: [(&str, DataType); 2] = [("\0\0part", DataType::Utf8), ("\0\0row", DataType::Int64)];

/// The rows of one of them with their places.
#[derive(Debug)]
struct Placed {
    of: Temporary,
    oid: u32,
    schema: SchemaRef,
}

impl OwnRows for Placed {
    fn batches(&self) -> Result<Vec<RecordBatch>> {
        let state = self.of.state();
        let gone = || Error::new(Kind::CachedPlanChanged, "cached plan must not change result type");
        let table = state.tables.values().find(|table| table.oid == self.oid).ok_or_else(gone)?;
        let placed = |(number, part): (usize, &Arc<Part>)| {
            let rows = part.batch.num_rows();
            let parts: ArrayRef = Arc::new(StringArray::from(vec![number.to_string(); rows]));
            let places: ArrayRef = Arc::new(Int64Array::from_iter_values((0..).take(rows)));
            let columns = part.batch.columns().iter().cloned().chain([parts, places]).collect();
            Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
        };
        table.parts.iter().enumerate().map(placed).collect()
    }
}

impl Temporary {
    /// Its columns, its rows with their places, and its oid.
    pub(crate) fn placed(&self, table: &str) -> Option<(SchemaRef, Arc<dyn OwnRows>, u32)> {
        let state = self.state();
        let table = state.tables.get(table)?;
        let schema = Self::placed_schema(&table.schema);
        Some((Arc::clone(&table.schema), Arc::new(Placed { of: self.clone(), oid: table.oid, schema }), table.oid))
    }

    pub(crate) fn placed_schema(schema: &SchemaRef) -> SchemaRef {
        let place = PLACE.map(|(name, data_type)| Arc::new(Field::new(name, data_type, true)));
        Arc::new(Schema::new(schema.fields().iter().cloned().chain(place).collect::<Vec<_>>()))
    }

    /// Adds the rows, and takes away what is gone when they have ended. All of it or nothing.
    pub(crate) async fn change(&self, name: &str, rows: SendableRecordBatchStream, gone: &Mutex<Gone>) -> Result<()> {
        let added = self.collect(rows).await?;
        let gone = std::mem::take(&mut *gone.lock().unwrap_or_else(PoisonError::into_inner));
        let missing = || Error::new(Kind::UndefinedTable, format!("relation \"{name}\" does not exist"));
        let before = self.state().tables.get(name).ok_or_else(missing)?.parts.clone();
        let mut parts = vec![];
        for (number, part) in before.into_iter().enumerate() {
            let Some(positions) = gone.get(&number.to_string()) else {
                parts.push(part);
                continue;
            };
            let stays = (0u64..).take(part.batch.num_rows()).map(|row| Some(!positions.contains(row)));
            let left = filter_record_batch(&part.batch, &BooleanArray::from_iter(stays))?;
            if left.num_rows() > 0 {
                parts.push(Arc::new(self.part(left)?));
            }
        }
        parts.extend(added);
        self.state().change().get_mut(name).ok_or_else(missing)?.parts = parts;
        Ok(())
    }
}
