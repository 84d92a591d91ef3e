//! string_to_array and string_to_table.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};

use crate::error::Result;
use crate::sql::kernel::{Call, Kernel};

pub(in crate::sql::functions) const KERNELS: &[(&str, Kernel)] =
    &[("text_to_array", split), ("text_to_array_null", split), ("text_to_table", split), ("text_to_table_null", split)];

/// A NULL separator cuts into characters, an empty one does not cut; fields equal to the third argument are NULL.
fn split(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, separator) = (call.read::<&str>(0)?, call.read::<&str>(1)?);
    let null = match call.args.len() {
        3.. => Some(call.read::<&str>(2)?),
        _ => None,
    };
    call.rows_of(|row| {
        let Some(text) = text.get(row) else { return Ok(None) };
        let null = null.as_ref().and_then(|null| null.get(row));
        let field = |field| Some(field).filter(|field| Some(*field) != null);
        let fields: StringArray = match separator.get(row) {
            _ if text.is_empty() => StringArray::new_null(0),
            None => text.char_indices().map(|(at, c)| field(&text[at..at + c.len_utf8()])).collect(),
            Some("") => std::iter::once(field(text)).collect(),
            Some(separator) => text.split(separator).map(field).collect(),
        };
        Ok(Some(Arc::new(fields) as ArrayRef))
    })
}
