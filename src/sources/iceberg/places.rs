//! Rows in the order of the columns they were planned for → in the order in which the table has these columns now. It casts
//! nothing and fills no column that must not be NULL.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

/// `None` where a planned column is not there any more as it was: by its id, name, type and nullability, nested ones too.
/// Columns that came since are NULL.
pub(super) fn arranged(
    rows: SendableRecordBatchStream,
    planned: &Schema,
    now: &Schema,
) -> Option<SendableRecordBatchStream> {
    let places = places(planned, now)?;
    let given = rows.schema();
    let fields: Option<Vec<FieldRef>> = now
        .fields()
        .iter()
        .zip(&places)
        .map(|(field, place)| place.map_or_else(|| Some(Arc::clone(field)), |p| given.fields().get(p).cloned()))
        .collect();
    let schema = Arc::new(Schema::new(fields?));
    if places.iter().enumerate().all(|(i, place)| *place == Some(i)) {
        return Some(rows);
    }
    let to = Arc::clone(&schema);
    let moved = rows.map(move |batch| Ok(moved(&batch?, &places, &to)?));
    Some(Box::pin(RecordBatchStreamAdapter::new(schema, moved)))
}

/// For each column of now the planned one that goes into it.
fn places(planned: &Schema, now: &Schema) -> Option<Vec<Option<usize>>> {
    let found: Vec<Option<usize>> =
        now.fields().iter().map(|field| planned.fields().iter().position(|was| was == field)).collect();
    let kept = found.iter().flatten().count() == planned.fields().len();
    let rest_may_be_null = found.iter().zip(now.fields()).all(|(place, field)| place.is_some() || field.is_nullable());
    (kept && rest_may_be_null).then_some(found)
}

fn moved(
    batch: &RecordBatch,
    places: &[Option<usize>],
    schema: &SchemaRef,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let columns = places.iter().zip(schema.fields()).map(|(place, field)| match place {
        Some(place) => Arc::clone(batch.column(*place)),
        None => new_null_array(field.data_type(), batch.num_rows()),
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect(), &options)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use super::*;
    use crate::lake::FIELD_ID;

    fn column(name: &str, id: i32, of: DataType) -> Field {
        Field::new(name, of, true).with_metadata([(FIELD_ID.to_string(), id.to_string())].into())
    }

    #[test]
    fn a_value_goes_where_it_was_planned_or_nowhere() {
        let text = || DataType::Utf8;
        let (a, b) = (|| column("a", 1, text()), || column("b", 2, text()));
        let planned = Schema::new(vec![a(), b()]);
        let check = |now: Vec<Field>, expect: Option<&[Option<usize>]>| {
            assert_eq!(places(&planned, &Schema::new(now.clone())).as_deref(), expect, "{now:?}");
        };
        check(vec![a(), b()], Some(&[Some(0), Some(1)]));
        check(vec![b(), a()], Some(&[Some(1), Some(0)]));
        check(vec![column("c", 3, text()), b(), a()], Some(&[None, Some(1), Some(0)]));
        // Gone, made again, renamed to each other, of another type.
        check(vec![a()], None);
        check(vec![a(), column("b", 3, text())], None);
        check(vec![column("b", 1, text()), column("a", 2, text())], None);
        check(vec![a(), column("b", 2, DataType::Int64)], None);
        check(vec![a(), b(), column("c", 3, text()).with_nullable(false)], None);
        let nested = |id| column("s", 4, DataType::Struct([Arc::new(column("x", id, text()))].into()));
        assert!(places(&Schema::new(vec![nested(5)]), &Schema::new(vec![nested(6)])).is_none());
    }
}
