//! `->`, `->>`, `#>`, `#>>`, subscripts, lengths and kinds: a value of a document is the slice of its text where it
//! stands. Nothing is built, and of jsonb nothing behind the member asked for is read.

use std::borrow::Cow;

use arrow::array::ArrayRef;

use super::texts::{Lists, integer};
use super::{Form, Key, cannot};
use crate::error::Result;
use crate::formats::postgres::input::json::{Elements, Escapes, Members, Shape, check, is_key, shape, unescape, value};
use crate::sql::kernel::Call;

/// json's escapes are read by nearly every function of it, and may be wrong anywhere in the document.
pub(super) fn read_escapes(form: Form, json: &str) -> Result<()> {
    match form {
        Form::Json if json.contains("\\u") => check(json, Escapes::Read),
        Form::Json | Form::Jsonb => Ok(()),
    }
}

/// A member of an object; of json the last of that key.
pub(super) fn member<'a>(form: Form, object: &'a str, key: &Key<'_>) -> Result<Option<&'a str>> {
    let mut found = None;
    for member in Members::of(object) {
        let (written, value) = member?;
        match form {
            Form::Json if is_key(written, key.plain)? => found = Some(value),
            Form::Json => {}
            Form::Jsonb if key.is(written) => return Ok(Some(value)),
            // keys are in the order of their lengths
            Form::Jsonb if key.is_before(written) => return Ok(None),
            Form::Jsonb => {}
        }
    }
    Ok(found)
}

/// An element of an array, counted from its end where the index is negative.
pub(super) fn element(array: &str, index: i32) -> Result<Option<&str>> {
    let mut elements = Elements::of(array);
    match usize::try_from(index) {
        Ok(index) => elements.nth(index).transpose(),
        Err(_) => {
            let back = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
            let all = elements.collect::<Result<Vec<_>>>()?;
            Ok(all.len().checked_sub(back).and_then(|at| all.get(at)).copied())
        }
    }
}

/// What stands at a path. Of json the last of all that do.
fn at_path<'a>(form: Form, json: &'a str, path: &[&str]) -> Result<Option<&'a str>> {
    let Some((step, rest)) = path.split_first() else { return Ok(Some(value(json))) };
    match shape(json) {
        Shape::Object if form == Form::Jsonb => match member(form, json, &Key::of(step))? {
            Some(found) => at_path(form, found, rest),
            None => Ok(None),
        },
        Shape::Object => {
            let mut last = None;
            for member in Members::of(json) {
                let (written, value) = member?;
                if is_key(written, step)? {
                    last = at_path(form, value, rest)?.or(last);
                }
            }
            Ok(last)
        }
        Shape::Array => match integer(step).map(|index| element(json, index)).transpose()?.flatten() {
            Some(found) => at_path(form, found, rest),
            None => Ok(None),
        },
        Shape::String | Shape::Number | Shape::Bool | Shape::Null => Ok(None),
    }
}

/// As text: strings without quotes and escapes, null as NULL.
pub(super) fn as_text(json: &str) -> Result<Option<Cow<'_, str>>> {
    Ok(match shape(json) {
        Shape::Null => None,
        Shape::String => Some(unescape(json)?),
        Shape::Object | Shape::Array | Shape::Number | Shape::Bool => Some(Cow::Borrowed(json)),
    })
}

/// How a value found is given.
#[derive(Clone, Copy, Debug)]
pub(super) enum Given {
    Json,
    Text,
}

fn give<'a>(given: Given, found: Option<&'a str>) -> Result<Option<Cow<'a, str>>> {
    match (given, found) {
        (_, None) => Ok(None),
        (Given::Json, Some(json)) => Ok(Some(Cow::Borrowed(json))),
        (Given::Text, Some(json)) => as_text(json),
    }
}

/// `-> text`, `->> text`.
pub(super) fn object_field(c: &Call<'_>, form: Form, given: Given) -> Result<ArrayRef> {
    let (documents, keys) = (c.read::<&str>(0)?, c.read::<&str>(1)?);
    let constant = if c.arg(1)?.constant { keys.get(0).map(Key::of) } else { None };
    c.rows_of(|row| {
        let (Some(json), Some(key)) = (documents.get(row), keys.get(row)) else { return Ok(None) };
        read_escapes(form, json)?;
        let own;
        let key = match &constant {
            Some(key) => key,
            None => {
                own = Key::of(key);
                &own
            }
        };
        give(given, member(form, json, key)?)
    })
}

/// `-> integer`, `->> integer`. A scalar of jsonb is an array of one.
pub(super) fn array_element(c: &Call<'_>, form: Form, given: Given) -> Result<ArrayRef> {
    let (documents, indexes) = (c.read::<&str>(0)?, c.read::<i32>(1)?);
    c.rows_of(|row| {
        let (Some(json), Some(index)) = (documents.get(row), indexes.get(row)) else { return Ok(None) };
        read_escapes(form, json)?;
        let found = match shape(json) {
            Shape::Array => element(json, index)?,
            Shape::Object => None,
            _ => (form == Form::Jsonb && matches!(index, 0 | -1)).then_some(json),
        };
        give(given, found)
    })
}

/// `#>`, `#>>`, `json_extract_path`. NULL where the path holds one.
pub(super) fn extract_path(c: &Call<'_>, form: Form, given: Given) -> Result<ArrayRef> {
    let (documents, paths) = (c.read::<&str>(0)?, Lists::of(c, 1)?);
    let constant = if c.arg(1)?.constant { paths.get(0) } else { None };
    c.rows_of(|row| {
        let Some(json) = documents.get(row) else { return Ok(None) };
        let own;
        let path = match &constant {
            Some(path) => Some(path),
            None => {
                own = paths.get(row);
                own.as_ref()
            }
        };
        let Some(path) = path.and_then(|path| path.all()) else { return Ok(None) };
        read_escapes(form, json)?;
        give(given, at_path(form, json, path)?)
    })
}

/// `jsonb[…]`: like `#>`, but a NULL index gives NULL before anything else.
pub(super) fn subscript(c: &Call<'_>) -> Result<ArrayRef> {
    extract_path(c, Form::Jsonb, Given::Json)
}

pub(super) fn array_length(c: &Call<'_>) -> Result<ArrayRef> {
    c.one(|json: &str| match shape(json) {
        Shape::Array => Elements::of(json).try_fold(0i32, |count, element| element.map(|_| count.saturating_add(1))),
        Shape::Object => Err(cannot("cannot get array length of a non-array")),
        _ => Err(cannot("cannot get array length of a scalar")),
    })
}

pub(super) fn type_of(c: &Call<'_>) -> Result<ArrayRef> {
    c.one(|json: &str| Ok(type_name(json)))
}

pub(super) fn type_name(json: &str) -> &'static str {
    match shape(json) {
        Shape::Object => "object",
        Shape::Array => "array",
        Shape::String => "string",
        Shape::Number => "number",
        Shape::Bool => "boolean",
        Shape::Null => "null",
    }
}
