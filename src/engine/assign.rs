//! Assignment casts: values of a query as the columns of the table that they are written to, by PostgreSQL's rules. A value
//! that does not fit its column is an error, never cut or turned to NULL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, SchemaRef};
use arrow::error::ArrowError;

use crate::error::{Error, Kind, Result};
use crate::formats::postgres::input;

/// `order`: for each column of `schema` the query's column that goes into it; `None` is NULL.
pub(super) fn fit(batch: &RecordBatch, order: &[Option<usize>], schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = order.iter().zip(schema.fields()).map(|(from, field)| {
        let column = match from {
            Some(n) => Arc::clone(batch.column(*n)),
            None => new_null_array(field.data_type(), batch.num_rows()),
        };
        if !field.is_nullable() && column.null_count() > 0 {
            let text = format!("null value in column \"{}\" violates not-null constraint", field.name());
            return Err(Error::new(Kind::NotNull, text));
        }
        assigned(column, field)
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

fn assigned(column: ArrayRef, field: &Field) -> Result<ArrayRef> {
    let to = field.data_type();
    if column.data_type() == to {
        return Ok(column);
    }
    if *to == DataType::Binary && column.data_type().is_string() {
        return bytes(&column);
    }
    let options = CastOptions { safe: false, ..Default::default() };
    let whole = if to.is_integer() { rounded(&column) } else { Ok(column) };
    whole.and_then(|column| cast_with_options(&column, to, &options)).map_err(|e| {
        let text = format!("a value does not fit column \"{}\"", field.name());
        Error::new(Kind::NumericRange, text).with_source(e)
    })
}

/// Without digits after the point: Arrow would cut them off. A numeric is rounded away from zero at a half, a float to
/// the even number.
fn rounded(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        DataType::Decimal128(precision, scale) if *scale > 0 => cast(column, &DataType::Decimal128(*precision, 0)),
        DataType::Decimal256(precision, scale) if *scale > 0 => cast(column, &DataType::Decimal256(*precision, 0)),
        DataType::Float32 => {
            Ok(Arc::new(column.as_primitive::<Float32Type>().unary::<_, Float32Type>(f32::round_ties_even)))
        }
        DataType::Float64 => {
            Ok(Arc::new(column.as_primitive::<Float64Type>().unary::<_, Float64Type>(f64::round_ties_even)))
        }
        _ => Ok(Arc::clone(column)),
    }
}

/// A text is bytea's input, not its bytes.
fn bytes(column: &ArrayRef) -> Result<ArrayRef> {
    let texts = cast(column, &DataType::Utf8)?;
    let mut bytes = BinaryBuilder::new();
    for text in texts.as_string::<i32>() {
        bytes.append_option(text.map(input::bytea).transpose()?);
    }
    Ok(Arc::new(bytes.finish()))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Decimal128Array, Decimal256Array, Float64Array, Int64Array, StringViewArray};
    use arrow::datatypes::i256;

    use super::*;

    fn assign(column: ArrayRef, to: DataType) -> Result<ArrayRef> {
        assigned(column, &Field::new("x", to, true))
    }

    #[test]
    fn fractions_are_rounded_as_postgres_rounds_them() {
        let numeric = Decimal128Array::from(vec![Some(15), Some(25), Some(-15), Some(14), None, Some(99)]);
        let numeric: ArrayRef = Arc::new(numeric.with_precision_and_scale(2, 1).unwrap());
        let expect = Int64Array::from(vec![Some(2), Some(3), Some(-2), Some(1), None, Some(10)]);
        assert_eq!(assign(numeric, DataType::Int64).unwrap().as_ref(), &expect);
        let wide = Decimal256Array::from(vec![i256::from_i128(250)]).with_precision_and_scale(40, 2).unwrap();
        assert_eq!(
            assign(Arc::new(wide), DataType::Int32).unwrap().as_primitive::<arrow::datatypes::Int32Type>().value(0),
            3
        );
        let float: ArrayRef = Arc::new(Float64Array::from(vec![1.5, 2.5, -0.5, 0.4]));
        assert_eq!(assign(float, DataType::Int64).unwrap().as_ref(), &Int64Array::from(vec![2, 2, 0, 0]));
        for out in [2_147_483_647.5, f64::NAN, f64::INFINITY] {
            let error = assign(Arc::new(Float64Array::from(vec![out])), DataType::Int32).unwrap_err();
            assert_eq!((error.kind(), error.message()), (Kind::NumericRange, "a value does not fit column \"x\""));
        }
    }

    #[test]
    fn a_text_is_read_as_bytea_reads_it() {
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec![Some("\\x00ff"), None, Some("a\\000"), Some("")]));
        let made = assign(texts, DataType::Binary).unwrap();
        let made: Vec<Option<&[u8]>> = made.as_binary::<i32>().iter().collect();
        assert_eq!(made, [Some(&[0u8, 255][..]), None, Some(b"a\0"), Some(b"")]);
        let bad: ArrayRef = Arc::new(StringViewArray::from(vec!["\\xzz"]));
        assert_eq!(assign(bad, DataType::Binary).unwrap_err().message(), "invalid hexadecimal digit: \"z\"");
    }
}
