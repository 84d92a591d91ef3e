//! Batches to DataRow messages, and single values to text. Which type a column shows is decided in `mapping`, how a value
//! is written in `column`; nothing here sends a byte.

use arrow::array::{Array, ArrayRef, BinaryArray, BinaryBuilder, RecordBatch, StringArray, StringBuilder};
use arrow::datatypes::{Field, SchemaRef};
use bytes::BytesMut;

use super::append::Append;
use super::column::{self, Column, Spelling};
use super::mapping::{self, Shown};
use super::{Format, Style};
use crate::error::{Error, Kind, Result};

/// The longest DataRow: beyond it the message's length would not fit what clients accept.
const ROW_BYTES_MAX: usize = column::VALUE_BYTES_MAX;

/// Turns batches into DataRow messages, appended whole to a buffer.
#[derive(Debug)]
pub struct RowEncoder {
    columns: Vec<(Shown, Spelling)>,
}

impl RowEncoder {
    /// `formats`: one per column. 0A000 naming the column whose type has no PostgreSQL counterpart, or none in binary.
    pub fn new(schema: SchemaRef, formats: &[Format], style: &Style) -> Result<Self> {
        if formats.len() != schema.fields().len() {
            let (columns, formats) = (schema.fields().len(), formats.len());
            return Err(Error::internal(format!("{formats} formats for {columns} columns")));
        }
        let mut columns = Vec::with_capacity(formats.len());
        for (field, &format) in schema.fields().iter().zip(formats) {
            let shown = mapping::shown(field)?;
            let spelling = Spelling::new(format, style);
            // An empty array of the type asks each level of it whether it can be written.
            let empty = arrow::array::new_empty_array(field.data_type());
            Column::new(empty.as_ref(), &shown, spelling.clone())?;
            columns.push((shown, spelling));
        }
        Ok(Self { columns })
    }

    /// Appends DataRow messages for rows `from..` until `out` holds `bytes_max` or the batch ends; returns the next row.
    /// Takes at least one row, so that a caller always gets on. On an error `out` ends with the last whole message.
    pub fn encode(&mut self, batch: &RecordBatch, from: usize, bytes_max: usize, out: &mut BytesMut) -> Result<usize> {
        if batch.num_columns() != self.columns.len() {
            return Err(Error::internal("a batch with more or fewer columns than its schema"));
        }
        let columns = self.columns.iter().zip(batch.columns());
        let columns: Vec<_> = columns
            .map(|((shown, spelling), array)| Column::new(array.as_ref(), shown, spelling.clone()))
            .collect::<Result<_>>()?;
        let mut row = from;
        while row < batch.num_rows() {
            let start = out.len();
            if let Err(error) = data_row(&columns, row, out) {
                out.truncate(start);
                return Err(error);
            }
            row += 1;
            if out.len() >= bytes_max {
                break;
            }
        }
        Ok(row)
    }
}

fn data_row(columns: &[Column<'_>], row: usize, out: &mut BytesMut) -> Result<()> {
    let start = out.len();
    out.put_u8(b'D');
    out.put_i32(0);
    let too_many = |_| Error::new(Kind::TooManyColumns, "a row of more columns than the protocol can count");
    out.put_i16(i16::try_from(columns.len()).map_err(too_many)?);
    for column in columns {
        column.framed(row, out)?;
        if out.len() - start > ROW_BYTES_MAX {
            return Err(Error::new(Kind::TooLarge, format!("a row is longer than {ROW_BYTES_MAX} bytes")));
        }
    }
    // The length counts itself and not the letter.
    let length = (out.len() - start - 1) as i32;
    out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// The text of one value of an array without metadata, appended; `false` and nothing for NULL.
pub fn text(array: &dyn Array, row: usize, style: &Style, out: &mut BytesMut) -> Result<bool> {
    let field = Field::new("value", array.data_type().clone(), true);
    let column = text_column(&field, array, style)?;
    if row >= array.len() || column.is_null(row) {
        return Ok(false);
    }
    (column.put)(row, out).map(|()| true)
}

/// A whole array in binary: what a type's send function gives. 0A000 for types whose binary form we do not speak.
pub(crate) fn bytes(field: &Field, array: &ArrayRef, style: &Style) -> Result<BinaryArray> {
    let shown = mapping::shown(field)?;
    column::check_binary(&shown, style.spelt)?;
    let column = Column::new(array.as_ref(), &shown, Spelling::new(Format::Binary, style))?;
    let mut values = BinaryBuilder::with_capacity(array.len(), array.len() * 8);
    let mut value = BytesMut::new();
    for row in 0..array.len() {
        if column.is_null(row) {
            values.append_null();
            continue;
        }
        value.clear();
        (column.put)(row, &mut value)?;
        values.append_value(&value);
    }
    Ok(values.finish())
}

/// A whole array as text: what a cast to text gives. `field` carries the oid where the data type does not tell.
pub fn texts(field: &Field, array: &ArrayRef, style: &Style) -> Result<StringArray> {
    let column = text_column(field, array.as_ref(), style)?;
    let mut texts = StringBuilder::with_capacity(array.len(), array.len() * 8);
    let mut value = BytesMut::new();
    for row in 0..array.len() {
        if column.is_null(row) {
            texts.append_null();
            continue;
        }
        value.clear();
        (column.put)(row, &mut value)?;
        let not_utf8 = |error| Error::internal("text that is not UTF-8").with_source(error);
        texts.append_value(std::str::from_utf8(&value).map_err(not_utf8)?);
    }
    Ok(texts.finish())
}

fn text_column<'a>(field: &Field, array: &'a dyn Array, style: &Style) -> Result<Column<'a>> {
    Column::new(array, &mapping::shown(field)?, Spelling::new(Format::Text, style))
}
