//! Batches as a statement makes them → batches as the table keeps them: by position, types cast without loss, field
//! metadata the table's. It coerces nothing that could change a value.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, StructArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::error::{Error, Kind, Result};

/// Casts one stream's batches.
pub(super) struct Conform {
    target: SchemaRef,
}

impl Conform {
    pub(super) fn new(source: &Schema, target: SchemaRef) -> Result<Self> {
        let (have, want) = (source.fields().len(), target.fields().len());
        match have == want {
            true => Ok(Self { target }),
            false => Err(Error::internal(format!("{have} columns for a table of {want}"))),
        }
    }

    pub(super) fn batch(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.target.fields().iter().zip(batch.columns());
        let columns = columns.map(|(field, column)| {
            if !field.is_nullable() && column.logical_null_count() > 0 {
                let message = format!("null value in column \"{}\" violates not-null constraint", field.name());
                return Err(Error::new(Kind::NotNull, message));
            }
            fit(column, field).map_err(|e| misfit(field, e))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new(Arc::clone(&self.target), columns)?)
    }
}

fn misfit(field: &Field, error: arrow::error::ArrowError) -> Error {
    use arrow::error::ArrowError;
    let (kind, what) = match &error {
        ArrowError::CastError(_) | ArrowError::ComputeError(_) | ArrowError::ArithmeticOverflow(_) => {
            (Kind::NumericRange, "is out of range")
        }
        ArrowError::InvalidArgumentError(text) if text.contains("null") => {
            (Kind::NotNull, "holds a NULL where none may be")
        }
        _ => (Kind::TypeMismatch, "is of another type"),
    };
    Error::new(kind, format!("a value for column \"{}\" {what}", field.name())).with_source(error)
}

fn fit(array: &ArrayRef, to: &Field) -> Result<ArrayRef, arrow::error::ArrowError> {
    match (array.data_type(), to.data_type()) {
        (a, b) if a == b => Ok(Arc::clone(array)),
        (DataType::Struct(have), DataType::Struct(want)) if have.len() == want.len() => {
            let parent = array.as_struct();
            let columns = parent.columns().iter().zip(want).map(|(c, w)| fit(c, w)).collect::<Result<Vec<_>, _>>()?;
            Ok(Arc::new(StructArray::try_new(want.clone(), columns, parent.nulls().cloned())?))
        }
        (DataType::List(_), DataType::List(want)) => {
            let list = array.as_list::<i32>();
            let values = fit(list.values(), want)?;
            let made = ListArray::try_new(Arc::clone(want), list.offsets().clone(), values, list.nulls().cloned())?;
            Ok(Arc::new(made))
        }
        (
            DataType::LargeList(e) | DataType::FixedSizeList(e, _) | DataType::ListView(e) | DataType::LargeListView(e),
            DataType::List(_),
        ) => fit(&checked(array, &DataType::List(Arc::clone(e)))?, to),
        (DataType::Map(_, _), DataType::Map(want, sorted)) => {
            let map = array.as_map();
            let entries = Field::new("entries", want.data_type().clone(), false);
            let pair: ArrayRef = Arc::new(map.entries().clone());
            let entries = fit(&pair, &entries)?.as_struct().clone();
            let made =
                MapArray::try_new(Arc::clone(want), map.offsets().clone(), entries, map.nulls().cloned(), *sorted)?;
            Ok(Arc::new(made))
        }
        (_, b) => checked(array, b),
    }
}

/// A cast that fails where a plain one would answer NULL.
fn checked(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, arrow::error::ArrowError> {
    cast_with_options(array, to, &CastOptions { safe: false, ..Default::default() })
}
