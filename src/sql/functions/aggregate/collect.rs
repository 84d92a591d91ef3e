//! Aggregates whose value holds all their rows: array_agg, string_agg, and JSON arrays and objects.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, ListArray, StringArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;

use super::Of;
use super::gather::{Ordered, list_offsets};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres;
use crate::pgtype::{self, oid};

fn argument<'a>(rows: &'a Ordered<'_>, i: usize) -> Result<&'a ArrayRef> {
    rows.columns.get(i).ok_or_else(|| Error::internal(format!("an aggregate wants argument {i}")))
}

/// NULL for a group without rows.
fn filled(offsets: &[usize]) -> NullBuffer {
    offsets.windows(2).map(|ends| ends[1] > ends[0]).collect::<Vec<bool>>().into()
}

/// NULLs are elements too.
pub(super) fn array(rows: &Ordered<'_>, of: &Arc<Of>) -> Result<ArrayRef> {
    let elements = argument(rows, 0)?;
    let DataType::List(item) = &of.result.1 else {
        return Err(Error::internal("array_agg of no list"));
    };
    for ends in rows.offsets.windows(2) {
        let slice = elements.slice(ends[0], ends[1] - ends[0]);
        of.env.budget.value(slice.to_data().get_slice_memory_size()?)?;
    }
    let elements = Arc::clone(elements);
    Ok(Arc::new(ListArray::try_new(
        Arc::clone(item),
        list_offsets(&rows.offsets)?,
        elements,
        Some(filled(&rows.offsets)),
    )?))
}

/// Arrays of one shape make an array of one dimension more.
pub(super) fn array_of_arrays(rows: &Ordered<'_>, of: &Arc<Of>) -> Result<ArrayRef> {
    let arrays = argument(rows, 0)?;
    let subscript = |text: &str| Error::new(Kind::ArraySubscript, text);
    for ends in rows.offsets.windows(2) {
        let mut first = None;
        for row in ends[0]..ends[1] {
            if arrays.is_null(row) {
                return Err(Error::new(Kind::NullNotAllowed, "cannot accumulate null arrays"));
            }
            let shape = shape(&arrays.as_list_opt::<i32>().ok_or_else(|| Error::internal("no array"))?.value(row));
            if shape.contains(&0) {
                return Err(subscript("cannot accumulate empty arrays"));
            }
            if *first.get_or_insert_with(|| shape.clone()) != shape {
                return Err(subscript("cannot accumulate arrays of different dimensionality"));
            }
        }
    }
    array(rows, of)
}

/// The lengths of an array's dimensions.
fn shape(array: &ArrayRef) -> Vec<usize> {
    let mut shape = vec![array.len()];
    if let Some(inner) = array.as_list_opt::<i32>().filter(|inner| !inner.is_empty()) {
        shape.extend(self::shape(&inner.value(0)));
    }
    shape
}

/// Texts or bytes behind each other; each but the first after its own delimiter.
pub(super) fn string(rows: &Ordered<'_>, of: &Arc<Of>) -> Result<ArrayRef> {
    let (values, delimiters) = (argument(rows, 0)?, argument(rows, 1)?);
    let wrong = || Error::internal("string_agg of no strings");
    match of.result.1 {
        DataType::Binary => {
            let values = values.as_binary_opt::<i32>().ok_or_else(wrong)?;
            let delimiters = delimiters.as_binary_opt::<i32>().ok_or_else(wrong)?;
            let at = |row: usize| (!values.is_null(row)).then(|| values.value(row));
            let delimiter = |row: usize| if delimiters.is_null(row) { &[][..] } else { delimiters.value(row) };
            let joined = joined(rows, of, at, delimiter)?;
            Ok(Arc::new(joined.iter().map(Option::as_deref).collect::<BinaryArray>()))
        }
        _ => {
            let values = values.as_string_opt::<i32>().ok_or_else(wrong)?;
            let delimiters = delimiters.as_string_opt::<i32>().ok_or_else(wrong)?;
            let at = |row: usize| (!values.is_null(row)).then(|| values.value(row).as_bytes());
            let delimiter =
                |row: usize| if delimiters.is_null(row) { &[][..] } else { delimiters.value(row).as_bytes() };
            let joined = joined(rows, of, at, delimiter)?.into_iter();
            let texts = joined.map(|text| text.map(String::from_utf8).transpose());
            let texts = texts.collect::<std::result::Result<StringArray, _>>();
            Ok(Arc::new(texts.map_err(|_| Error::internal("texts joined are no text"))?))
        }
    }
}

fn joined<'a>(
    rows: &Ordered<'_>,
    of: &Of,
    at: impl Fn(usize) -> Option<&'a [u8]>,
    delimiter: impl Fn(usize) -> &'a [u8],
) -> Result<Vec<Option<Vec<u8>>>> {
    let mut values = Vec::with_capacity(rows.offsets.len());
    for ends in rows.offsets.windows(2) {
        let mut value: Option<Vec<u8>> = None;
        for row in ends[0]..ends[1] {
            let Some(next) = at(row) else { continue };
            match &mut value {
                None => value = Some(next.to_vec()),
                Some(value) => {
                    let delimiter = delimiter(row);
                    of.env.budget.value(value.len() + delimiter.len() + next.len())?;
                    value.extend_from_slice(delimiter);
                    value.extend_from_slice(next);
                }
            }
        }
        values.push(value);
    }
    Ok(values)
}

/// A text column of one JSON value a row; NULL is JSON's null.
fn json<'a>(rows: &'a Ordered<'_>, i: usize) -> Result<impl Fn(usize) -> &'a str> {
    let texts = argument(rows, i)?.as_string_opt::<i32>();
    let texts = texts.ok_or_else(|| Error::internal("values of a JSON aggregate are no JSON"))?;
    Ok(move |row: usize| if texts.is_null(row) { "null" } else { texts.value(row) })
}

/// Each group's text, made by `write`.
fn texts(rows: &Ordered<'_>, of: &Of, write: impl Fn(usize, usize, &mut Text<'_>) -> Result<()>) -> Result<ArrayRef> {
    let mut values = vec![];
    for ends in rows.offsets.windows(2) {
        if ends[0] == ends[1] {
            values.push(None);
            continue;
        }
        let mut text = Text { text: String::new(), of };
        write(ends[0], ends[1], &mut text)?;
        values.push(Some(text.text));
    }
    Ok(Arc::new(StringArray::from(values)))
}

struct Text<'a> {
    text: String,
    of: &'a Of,
}

impl Text<'_> {
    fn push(&mut self, more: &str) -> Result<()> {
        self.of.env.budget.value(self.text.len() + more.len())?;
        self.text.push_str(more);
        Ok(())
    }
}

/// json_agg: arrays and records stand on lines of their own.
pub(super) fn json_array(rows: &Ordered<'_>, of: &Arc<Of>) -> Result<ArrayRef> {
    let value = json(rows, 0)?;
    let structured = of.arguments.first().is_some_and(|(ty, _)| is_structured(ty.oid));
    let nulls = argument(rows, 0)?;
    texts(rows, of, |from, to, text| {
        for row in from..to {
            text.push(match row > from {
                false => "[",
                true if structured && !nulls.is_null(row) => ", \n ",
                true => ", ",
            })?;
            text.push(value(row))?;
        }
        text.push("]")
    })
}

/// Arrays and records.
pub(crate) fn is_structured(type_oid: u32) -> bool {
    let row = postgres::by_oid(type_oid);
    pgtype::element(type_oid).is_some() || type_oid == oid::RECORD || row.is_some_and(|row| row.kind == 'c')
}

/// jsonb_agg, in jsonb's normal form.
pub(super) fn jsonb_array(rows: &Ordered<'_>, of: &Arc<Of>) -> Result<ArrayRef> {
    let value = json(rows, 0)?;
    texts(rows, of, |from, to, text| {
        for row in from..to {
            text.push(if row > from { ", " } else { "[" })?;
            text.push(value(row))?;
        }
        text.push("]")
    })
}

fn keys<'a>(rows: &'a Ordered<'_>) -> Result<&'a StringArray> {
    let keys = argument(rows, 0)?;
    if keys.null_count() > 0 {
        return Err(Error::new(Kind::InvalidParameter, "field name must not be null"));
    }
    keys.as_string_opt().ok_or_else(|| Error::internal("keys of a JSON aggregate are no text"))
}

fn quoted(text: &str) -> Result<String> {
    serde_json::to_string(text).map_err(|e| Error::internal(format!("a JSON key: {e}")))
}

/// json_object_agg: every key as it came.
pub(super) fn json_object(rows: &Ordered<'_>, of: &Arc<Of>) -> Result<ArrayRef> {
    let (keys, value) = (keys(rows)?, json(rows, 1)?);
    texts(rows, of, |from, to, text| {
        for row in from..to {
            text.push(if row > from { ", " } else { "{ " })?;
            text.push(&quoted(keys.value(row))?)?;
            text.push(" : ")?;
            text.push(value(row))?;
        }
        text.push(" }")
    })
}

/// jsonb_object_agg, in jsonb's normal form: of equal keys the last, shorter keys first.
pub(super) fn jsonb_object(rows: &Ordered<'_>, of: &Arc<Of>) -> Result<ArrayRef> {
    let (keys, value) = (keys(rows)?, json(rows, 1)?);
    texts(rows, of, |from, to, text| {
        let mut order: Vec<usize> = (from..to).collect();
        let by = |row: &usize| (keys.value(*row).len(), keys.value(*row));
        order.sort_by(|a, b| by(a).cmp(&by(b)));
        let last = |(i, row): (usize, &usize)| {
            let next = order.get(i + 1);
            next.is_none_or(|next| keys.value(*next) != keys.value(*row)).then_some(*row)
        };
        for (i, row) in order.iter().enumerate().filter_map(last).enumerate() {
            text.push(if i > 0 { ", " } else { "{" })?;
            text.push(&quoted(keys.value(row))?)?;
            text.push(": ")?;
            text.push(value(row))?;
        }
        text.push("}")
    })
}
