//! json_populate_record, json_to_record and their sets: objects into records of the type that the call has
//! (populate_composite, populate_array, populate_scalar). Column by column, each through its type's input function.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringBuilder, StructArray, new_null_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Field, Fields};

use super::access::{as_text, member, read_escapes};
use super::types::input;
use super::{Form, Key, cannot, expand};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::input::json::{Elements, Shape, shape, value};
use crate::formats::postgres::input::normal_json;
use crate::pgtype::{self, oid};
use crate::sql::kernel::{Arg, Call, Env, Growing};

/// What a column gets in a row.
#[derive(Clone, Copy, Debug)]
enum Slot<'a> {
    /// The base's value, where there is a base.
    Missing,
    Null,
    Json(&'a str),
}

/// The record from which missing fields are taken, and which of its rows each row has.
#[derive(Clone, Copy, Debug)]
struct Base<'b> {
    array: &'b ArrayRef,
    rows: &'b [usize],
}

#[derive(Clone, Copy, Debug)]
struct Context<'c> {
    form: Form,
    env: &'c Env,
    /// The key whose value is read, for a hint.
    key: &'c str,
}

/// One record a row. `based`: the first argument is a record of the type, the second the document.
pub(super) fn record(c: &Call<'_>, form: Form, based: bool) -> Result<ArrayRef> {
    let documents = c.read::<&str>(usize::from(based))?;
    let mut slots = Vec::with_capacity(c.rows);
    for row in 0..c.rows {
        slots.push(match documents.get(row) {
            None if based => Slot::Missing,
            None => Slot::Null,
            Some(json) => {
                read_escapes(form, json)?;
                // a null document is no record
                if shape(json).is_container() {
                    Slot::Json(json)
                } else {
                    return Err(cannot("cannot call populate_composite on a scalar"));
                }
            }
        });
    }
    let base = base(c, based)?;
    let rows: Vec<usize> = (0..c.rows).map(|row| base.as_ref().map_or(0, |base| base.at(row))).collect();
    let base = base.as_ref().map(|base| Base { array: &base.array, rows: &rows });
    column(c.result, &slots, base, Context { form, env: c.env, key: "" })
}

fn base(c: &Call<'_>, based: bool) -> Result<Option<Arg>> {
    if !based {
        return Ok(None);
    }
    let arg = c.arg(0)?;
    Ok(matches!(arg.array.data_type(), DataType::Struct(_)).then(|| arg.clone()))
}

/// A list of records a row, from an array of objects.
pub(super) fn recordset(c: &Call<'_>, form: Form, based: bool, name: &str) -> Result<ArrayRef> {
    let documents = c.read::<&str>(usize::from(based))?;
    let base = base(c, based)?;
    let (mut slots, mut rows) = (vec![], vec![]);
    let (mut lengths, mut valid) = (Vec::with_capacity(c.rows), Vec::with_capacity(c.rows));
    let mut growing = Growing::new(&c.env.budget);
    for row in 0..c.rows {
        let json = documents.get(row);
        valid.push(json.is_some());
        let before = slots.len();
        if let Some(json) = json {
            read_escapes(form, json)?;
            match (shape(json), form) {
                (Shape::Array, _) => {}
                (_, Form::Jsonb) => return Err(cannot(format!("cannot call {name} on a non-array"))),
                (Shape::Object, Form::Json) => return Err(cannot(format!("cannot call {name} on an object"))),
                (_, Form::Json) => return Err(cannot(format!("cannot call {name} on a scalar"))),
            }
            for element in Elements::of(json) {
                let element = element?;
                if shape(element) != Shape::Object {
                    return Err(cannot(format!("argument of {name} must be an array of objects")));
                }
                growing.add(size_of::<Slot<'_>>() + element.len())?;
                slots.push(Slot::Json(element));
                rows.push(base.as_ref().map_or(0, |base| base.at(row)));
            }
        }
        lengths.push(slots.len() - before);
    }
    expand::lists(c, growing, lengths, valid, |item| {
        let base = base.as_ref().map(|base| Base { array: &base.array, rows: &rows });
        column(item, &slots, base, Context { form, env: c.env, key: "" })
    })
}

fn column(field: &Field, slots: &[Slot<'_>], base: Option<Base<'_>>, context: Context<'_>) -> Result<ArrayRef> {
    let made = match field.data_type() {
        DataType::Struct(fields) => return composite(fields, slots, base, context),
        DataType::List(item) => list(field, item, slots, context)?,
        _ => scalar(field, slots, context)?,
    };
    let Some(base) = base.filter(|_| slots.iter().any(|slot| matches!(slot, Slot::Missing))) else { return Ok(made) };
    if base.array.data_type() != made.data_type() {
        return Err(Error::internal(format!(
            "a record of {} taken for one of {}",
            base.array.data_type(),
            made.data_type()
        )));
    }
    let from = |(row, slot): (usize, &Slot<'_>)| match slot {
        Slot::Missing => (1, base.rows.get(row).copied().unwrap_or(0)),
        Slot::Null | Slot::Json(_) => (0, row),
    };
    let places: Vec<(usize, usize)> = slots.iter().enumerate().map(from).collect();
    Ok(interleave(&[made.as_ref(), base.array.as_ref()], &places)?)
}

fn composite<'a>(
    fields: &Fields,
    slots: &[Slot<'a>],
    base: Option<Base<'_>>,
    context: Context<'_>,
) -> Result<ArrayRef> {
    let has_base =
        |row: usize| base.is_some_and(|base| base.rows.get(row).is_some_and(|row| !base.array.is_null(*row)));
    let mut valid = Vec::with_capacity(slots.len());
    for (row, slot) in slots.iter().enumerate() {
        valid.push(match slot {
            Slot::Missing => has_base(row),
            Slot::Null => false,
            Slot::Json(json) => match shape(json) {
                Shape::Object => true,
                Shape::Array => return Err(cannot("cannot call populate_composite on an array")),
                Shape::String if !context.key.is_empty() => return Err(Error::unsupported("input of a record")),
                _ => return Err(cannot("cannot call populate_composite on a scalar")),
            },
        });
    }
    let mut columns = Vec::with_capacity(fields.len());
    let own = base.map(|base| base.array.as_struct().columns());
    for (place, field) in fields.iter().enumerate() {
        let key = Key::of(field.name());
        let inside = |slot: &Slot<'a>| -> Result<Slot<'a>> {
            Ok(match slot {
                Slot::Json(json) => match member(context.form, json, &key)? {
                    Some(found) if shape(found) == Shape::Null => Slot::Null,
                    Some(found) => Slot::Json(found),
                    None => Slot::Missing,
                },
                Slot::Missing => Slot::Missing,
                Slot::Null => Slot::Null,
            })
        };
        let inner = slots.iter().map(inside).collect::<Result<Vec<_>>>()?;
        let base = base.zip(own.and_then(|own| own.get(place))).map(|(base, array)| Base { array, ..base });
        columns.push(column(field, &inner, base, Context { key: field.name(), ..context })?);
    }
    let nulls = Some(NullBuffer::from(valid));
    Ok(match fields.is_empty() {
        true => Arc::new(StructArray::new_empty_fields(slots.len(), nulls)),
        false => Arc::new(StructArray::try_new(fields.clone(), columns, nulls)?),
    })
}

fn list(field: &Field, item: &Field, slots: &[Slot<'_>], context: Context<'_>) -> Result<ArrayRef> {
    if slots.iter().any(|slot| matches!(slot, Slot::Json(json) if shape(json) == Shape::String)) {
        // the text of an array
        return scalar(field, slots, context);
    }
    let (mut inner, mut lengths, mut valid) = (vec![], vec![], vec![]);
    for slot in slots {
        let Slot::Json(json) = slot else {
            lengths.push(0);
            valid.push(false);
            continue;
        };
        if shape(json) != Shape::Array {
            let hint = format!("See the value of key \"{}\".", context.key);
            return Err(Error::new(Kind::InvalidText, "expected JSON array").with_hint(hint));
        }
        let before = inner.len();
        for element in Elements::of(json) {
            let element = element?;
            let nested = shape(element) == Shape::Array && !is_json(item)?;
            if nested && !matches!(item.data_type(), DataType::List(_)) {
                return Err(nested_array(json, context.key));
            }
            inner.push(if shape(element) == Shape::Null { Slot::Null } else { Slot::Json(element) });
        }
        lengths.push(inner.len() - before);
        valid.push(true);
    }
    let elements = column(item, &inner, None, context)?;
    let DataType::List(item) = field.data_type() else {
        return Err(Error::internal("a list of something else"));
    };
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, elements, Some(NullBuffer::from(valid)))?))
}

/// Of an array of arrays: what PostgreSQL refuses, and what has no place in a list.
fn nested_array(json: &str, key: &str) -> Error {
    let elements: Result<Vec<&str>> = Elements::of(json).collect();
    let Ok(elements) = elements else { return Error::unsupported("a multidimensional array from json") };
    let mut lengths = elements.iter().map(|element| match shape(element) {
        Shape::Array => Some(Elements::of(element).count()),
        _ => None,
    });
    let first = lengths.next().flatten();
    // a scalar first makes it an array of one dimension, whose other elements are texts
    let odd = lengths.enumerate().find(|(_, length)| first.is_some() && *length != first);
    match odd {
        None => Error::unsupported("a multidimensional array from json"),
        Some((_, Some(_))) => {
            let detail = "Multidimensional arrays must have sub-arrays with matching dimensions.";
            Error::new(Kind::InvalidText, "malformed JSON array").with_detail(detail)
        }
        Some((at, None)) => {
            let hint = format!("See the array element [{}] of key \"{key}\".", at + 1);
            Error::new(Kind::InvalidText, "expected JSON array").with_hint(hint)
        }
    }
}

fn is_json(field: &Field) -> Result<bool> {
    Ok(matches!(pgtype::of_field(field)?.oid, oid::JSON | oid::JSONB))
}

fn scalar(field: &Field, slots: &[Slot<'_>], context: Context<'_>) -> Result<ArrayRef> {
    let ty = pgtype::of_field(field)?;
    let mut texts = StringBuilder::with_capacity(slots.len(), slots.len() * 8);
    for slot in slots {
        match slot {
            Slot::Missing | Slot::Null => texts.append_null(),
            Slot::Json(json) => match (ty.oid, context.form) {
                (oid::JSON, _) | (oid::JSONB, Form::Jsonb) => texts.append_value(value(json)),
                (oid::JSONB, Form::Json) => texts.append_value(normal_json(json)?),
                _ => texts.append_option(as_text(json)?),
            },
        }
    }
    let texts: ArrayRef = Arc::new(texts.finish());
    if matches!(ty.oid, oid::JSON | oid::JSONB | oid::TEXT) && *field.data_type() == DataType::Utf8 {
        return Ok(texts);
    }
    if texts.null_count() == texts.len() {
        return Ok(new_null_array(field.data_type(), texts.len()));
    }
    input(field, ty, texts, context.env)
}
