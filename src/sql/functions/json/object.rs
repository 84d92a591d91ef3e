//! json_object: objects of texts from arrays of keys and values.

use arrow::array::ArrayRef;

use super::Form;
use super::texts::{List, Lists};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::input::json::write_string;
use crate::formats::postgres::input::normal_json;
use crate::sql::kernel::Call;

fn shaped(text: &str) -> Error {
    Error::new(Kind::ArraySubscript, text)
}

/// Keys and values by turns, or in two columns.
pub(super) fn of_pairs(c: &Call<'_>, form: Form) -> Result<ArrayRef> {
    let lists = Lists::of(c, 0)?;
    c.rows_of(|row| {
        let Some(list) = lists.get(row) else { return Ok(None) };
        match (list.dimensions, list.columns) {
            (0, _) => {}
            (1, _) if list.elements.len() % 2 != 0 => return Err(shaped("array must have even number of elements")),
            (1, _) | (2, 2) => {}
            (2, _) => return Err(shaped("array must have two columns")),
            _ => return Err(shaped("wrong number of array subscripts")),
        }
        let pairs = list.elements.chunks(2).map(|pair| match pair {
            [key, value] => (*key, *value),
            _ => (None, None),
        });
        write(form, pairs, c)
    })
}

pub(super) fn of_two(c: &Call<'_>, form: Form) -> Result<ArrayRef> {
    let (keys, values) = (Lists::of(c, 0)?, Lists::of(c, 1)?);
    c.rows_of(|row| {
        let (Some(keys), Some(values)) = (keys.get(row), values.get(row)) else { return Ok(None) };
        let flat = |list: &List<'_>| list.dimensions <= 1;
        if !flat(&keys) || keys.dimensions != values.dimensions {
            return Err(shaped("wrong number of array subscripts"));
        }
        if keys.elements.len() != values.elements.len() {
            return Err(shaped("mismatched array dimensions"));
        }
        write(form, keys.elements.into_iter().zip(values.elements), c)
    })
}

fn write<'a>(
    form: Form,
    pairs: impl Iterator<Item = (Option<&'a str>, Option<&'a str>)>,
    c: &Call<'_>,
) -> Result<Option<String>> {
    let mut out = String::from("{");
    for (key, value) in pairs {
        if out.len() > 1 {
            out.push_str(", ");
        }
        let key = key.ok_or_else(|| Error::new(Kind::NullNotAllowed, "null value not allowed for object key"))?;
        write_string(key, &mut out);
        out.push_str(" : ");
        match value {
            Some(value) => write_string(value, &mut out),
            None => out.push_str("null"),
        }
    }
    out.push('}');
    c.env.budget.value(out.len())?;
    match form {
        Form::Json => Ok(Some(out)),
        Form::Jsonb => normal_json(&out).map(Some),
    }
}
