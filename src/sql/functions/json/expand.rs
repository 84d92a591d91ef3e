//! Functions that give one row for each member or element: lists, which the caller unnests.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayBuilder, ArrayRef, ListArray, StringBuilder, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, FieldRef};

use super::access::{Given, as_text, read_escapes};
use super::{Form, cannot};
use crate::error::{Error, Result};
use crate::formats::postgres::input::json::{Elements, Escapes, Members, Shape, check, shape, unescape};
use crate::sql::kernel::{Call, Growing};

/// Bytes of an element of a list beside its own: where it ends.
pub(in crate::sql::functions) const ELEMENT: usize = size_of::<i32>();

/// `call.rows` lists whose elements were gathered row by row. `growing` was asked for each element, [`ELEMENT`] bytes at
/// least, so that their number fits too.
pub(in crate::sql::functions) fn lists(
    call: &Call<'_>,
    growing: Growing<'_>,
    lengths: Vec<usize>,
    valid: Vec<bool>,
    items: impl FnOnce(&FieldRef) -> Result<ArrayRef>,
) -> Result<ArrayRef> {
    let DataType::List(item) = call.result.data_type() else {
        return Err(Error::internal(format!("rows were made for {}", call.result.data_type())));
    };
    let offsets = OffsetBuffer::from_lengths(lengths);
    let items = items(item)?;
    let lists = ListArray::try_new(Arc::clone(item), offsets, items, Some(NullBuffer::from(valid)))?;
    growing.finish(Arc::new(lists))
}

/// json_array_elements and its kin.
pub(super) fn elements(c: &Call<'_>, form: Form, given: Given, name: &str) -> Result<ArrayRef> {
    let documents = c.read::<&str>(0)?;
    let mut out = StringBuilder::new();
    let (mut lengths, mut valid) = (Vec::with_capacity(c.rows), Vec::with_capacity(c.rows));
    let mut growing = Growing::new(&c.env.budget);
    for row in 0..c.rows {
        let json = documents.get(row);
        valid.push(json.is_some());
        let before = out.len();
        if let Some(json) = json {
            match (shape(json), form) {
                (Shape::Array, _) => {}
                (Shape::Object, Form::Json) => return Err(cannot(format!("cannot call {name} on a non-array"))),
                (_, Form::Json) => return Err(cannot(format!("cannot call {name} on a scalar"))),
                (Shape::Object, Form::Jsonb) => return Err(cannot("cannot extract elements from an object")),
                (_, Form::Jsonb) => return Err(cannot("cannot extract elements from a scalar")),
            }
            if matches!(given, Given::Text) {
                read_escapes(form, json)?;
            }
            for element in Elements::of(json) {
                let element = element?;
                growing.add(ELEMENT + element.len())?;
                append(given, element, &mut out)?;
            }
        }
        lengths.push(out.len() - before);
    }
    lists(c, growing, lengths, valid, |_| Ok(Arc::new(out.finish())))
}

fn append(given: Given, value: &str, out: &mut StringBuilder) -> Result<()> {
    match given {
        Given::Json => out.append_value(value),
        Given::Text => out.append_option(as_text(value)?),
    }
    Ok(())
}

/// json_each and its kin: records of a key and a value.
pub(super) fn each(c: &Call<'_>, form: Form, given: Given, name: &str) -> Result<ArrayRef> {
    let documents = c.read::<&str>(0)?;
    let (mut keys, mut values) = (StringBuilder::new(), StringBuilder::new());
    let (mut lengths, mut valid) = (Vec::with_capacity(c.rows), Vec::with_capacity(c.rows));
    let mut growing = Growing::new(&c.env.budget);
    for row in 0..c.rows {
        let json = documents.get(row);
        valid.push(json.is_some());
        let before = keys.len();
        if let Some(json) = json {
            match (shape(json), form) {
                (Shape::Object, _) => {}
                (Shape::Array, Form::Json) => return Err(cannot("cannot deconstruct an array as an object")),
                (_, Form::Json) => return Err(cannot("cannot deconstruct a scalar")),
                (_, Form::Jsonb) => return Err(cannot(format!("cannot call {name} on a non-object"))),
            }
            read_escapes(form, json)?;
            for member in Members::of(json) {
                let (key, value) = member?;
                growing.add(2 * ELEMENT + key.len() + value.len())?;
                keys.append_value(unescape(key)?);
                append(given, value, &mut values)?;
            }
        }
        lengths.push(keys.len() - before);
    }
    lists(c, growing, lengths, valid, |item| {
        let DataType::Struct(fields) = item.data_type() else {
            return Err(Error::internal(format!("key and value were made for {}", item.data_type())));
        };
        Ok(Arc::new(StructArray::try_new(
            fields.clone(),
            vec![Arc::new(keys.finish()), Arc::new(values.finish())],
            None,
        )?))
    })
}

pub(super) fn keys(c: &Call<'_>, form: Form, name: &str) -> Result<ArrayRef> {
    let documents = c.read::<&str>(0)?;
    let mut out = StringBuilder::new();
    let (mut lengths, mut valid) = (Vec::with_capacity(c.rows), Vec::with_capacity(c.rows));
    let mut growing = Growing::new(&c.env.budget);
    for row in 0..c.rows {
        let json = documents.get(row);
        valid.push(json.is_some());
        let before = out.len();
        if let Some(json) = json {
            match shape(json) {
                Shape::Object => {}
                Shape::Array => return Err(cannot(format!("cannot call {name} on an array"))),
                _ => return Err(cannot(format!("cannot call {name} on a scalar"))),
            }
            if form == Form::Json {
                check(json, Escapes::Read)?;
            }
            for member in Members::of(json) {
                let key: Cow<'_, str> = unescape(member?.0)?;
                growing.add(ELEMENT + key.len())?;
                out.append_value(key);
            }
        }
        lengths.push(out.len() - before);
    }
    lists(c, growing, lengths, valid, |_| Ok(Arc::new(out.finish())))
}
