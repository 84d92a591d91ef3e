//! record_out: `(1,a,"b c",)`. NULL is nothing at all, an empty text is in quotes.

use arrow::array::{Array, ArrayRef};

use crate::error::Result;
use crate::pgtype;
use crate::sql::functions::json::output as texts;
use crate::sql::kernel::{Call, Record};

pub(super) fn output(c: &Call<'_>) -> Result<ArrayRef> {
    let records = c.read::<Record>(0)?;
    let Some(structs) = c.arg(0)?.array.as_any().downcast_ref::<arrow::array::StructArray>() else {
        return c.rows_of(|_| Ok(None::<String>));
    };
    let columns = structs.fields().iter().zip(structs.columns());
    let columns = columns.map(|(field, column)| texts(pgtype::of_field(field)?, column, c.env));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    c.rows_of(|row| {
        let Some(record) = records.get(row) else { return Ok(None) };
        let mut out = String::from("(");
        for (place, column) in columns.iter().enumerate() {
            if place > 0 {
                out.push(',');
            }
            if !column.is_null(record.row) {
                quoted(column.value(record.row), &mut out);
            }
        }
        out.push(')');
        Ok(Some(out))
    })
}

fn quoted(text: &str, out: &mut String) {
    let special = |b: u8| matches!(b, b'"' | b'\\' | b'(' | b')' | b',' | b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c);
    if !text.is_empty() && !text.bytes().any(special) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            out.push(character);
        }
        out.push(character);
    }
    out.push('"');
}
