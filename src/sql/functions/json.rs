//! json and jsonb. Both are text: json as it was written, jsonb in its normal form, which `formats` makes. A value inside
//! a document is the slice of the text where it stands; no tree of values is built anywhere.

mod access;
mod change;
mod compare;
mod expand;
mod object;
mod path;
mod populate;
mod scalar;
#[cfg(test)]
mod tests;
mod texts;
mod types;
mod write;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::ArrayRef;

use crate::error::{Error, Kind, Result};
use crate::formats::postgres::input::json::{unescape, write_string};
use crate::formats::postgres::input::{normal_json, valid_json};
use crate::sql::kernel::{Call, Kernel};
use access::Given;
pub(super) use expand::{ELEMENT, lists};
pub(in crate::sql) use types::output;

/// Functions that recurse over a document refuse it beyond this depth.
const RECURSION_MAX: usize = 1_000;

/// Which of the two a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Jsonb,
}

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("json_in", |c| c.one(json_in)),
    ("json_out", same),
    ("jsonb_in", |c| c.one(|text: &str| normal_json(text))),
    ("jsonb_out", same),
    ("jsonb_bool", |c| c.one(scalar::boolean)),
    ("jsonb_numeric", |c| c.one(scalar::numeric)),
    ("jsonb_int2", |c| c.one(|json: &str| scalar::integer::<i16>(json, "smallint"))),
    ("jsonb_int4", |c| c.one(|json: &str| scalar::integer::<i32>(json, "integer"))),
    ("jsonb_int8", |c| c.one(|json: &str| scalar::integer::<i64>(json, "bigint"))),
    ("jsonb_float4", |c| c.one(scalar::real)),
    ("jsonb_float8", |c| c.one(scalar::double)),
    // --- a value inside
    ("json_object_field", |c| access::object_field(c, Form::Json, Given::Json)),
    ("json_object_field_text", |c| access::object_field(c, Form::Json, Given::Text)),
    ("jsonb_object_field", |c| access::object_field(c, Form::Jsonb, Given::Json)),
    ("jsonb_object_field_text", |c| access::object_field(c, Form::Jsonb, Given::Text)),
    ("json_array_element", |c| access::array_element(c, Form::Json, Given::Json)),
    ("json_array_element_text", |c| access::array_element(c, Form::Json, Given::Text)),
    ("jsonb_array_element", |c| access::array_element(c, Form::Jsonb, Given::Json)),
    ("jsonb_array_element_text", |c| access::array_element(c, Form::Jsonb, Given::Text)),
    ("json_extract_path", |c| access::extract_path(c, Form::Json, Given::Json)),
    ("json_extract_path_text", |c| access::extract_path(c, Form::Json, Given::Text)),
    ("jsonb_extract_path", |c| access::extract_path(c, Form::Jsonb, Given::Json)),
    ("jsonb_extract_path_text", |c| access::extract_path(c, Form::Jsonb, Given::Text)),
    ("grammar/jsonb_subscript", access::subscript),
    ("json_array_length", access::array_length),
    ("jsonb_array_length", access::array_length),
    ("json_typeof", access::type_of),
    ("jsonb_typeof", access::type_of),
    // --- comparison
    ("key/jsonb", |c| c.one(compare::key)),
    ("jsonb_cmp", |c| c.two(|a: &str, b: &str| Ok(compare::compare(a, b)? as i32))),
    ("jsonb_eq", |c| compared(c, Ordering::is_eq)),
    ("jsonb_ne", |c| compared(c, Ordering::is_ne)),
    ("jsonb_lt", |c| compared(c, Ordering::is_lt)),
    ("jsonb_le", |c| compared(c, Ordering::is_le)),
    ("jsonb_gt", |c| compared(c, Ordering::is_gt)),
    ("jsonb_ge", |c| compared(c, Ordering::is_ge)),
    ("jsonb_contains", |c| c.two(compare::contains)),
    ("jsonb_contained", |c| c.two(|part: &str, whole: &str| compare::contains(whole, part))),
    ("jsonb_exists", |c| c.two(|json: &str, key: &str| compare::exists(json, &Key::of(key)))),
    ("jsonb_exists_any", |c| compare::exists_of(c, false)),
    ("jsonb_exists_all", |c| compare::exists_of(c, true)),
    // --- change
    ("jsonb_concat", |c| c.two(change::concat)),
    ("jsonb_delete", |c| c.two(|json: &str, key: &str| change::delete_keys(json, &[Key::of(key)]))),
    ("jsonb_delete_array", change::delete_array),
    ("jsonb_delete_idx", |c| c.two(change::delete_index)),
    ("jsonb_delete_path", change::delete_path),
    ("jsonb_set", |c| change::put(c, change::set)),
    ("jsonb_insert", |c| change::put(c, change::insert)),
    ("jsonb_set_lax", change::set_lax),
    ("json_strip_nulls", |c| c.one(|json: &str| change::strip_nulls(Form::Json, json))),
    ("jsonb_strip_nulls", |c| c.one(|json: &str| change::strip_nulls(Form::Jsonb, json))),
    ("jsonb_pretty", change::pretty),
    // --- any value as json
    ("to_json", |c| write::whole(c, Form::Json)),
    ("to_jsonb", |c| write::whole(c, Form::Jsonb)),
    ("array_to_json", |c| write::whole(c, Form::Json)),
    ("array_to_json_pretty", |c| write::whole(c, Form::Json)),
    ("json/key", write::keys),
    ("row_to_json", |c| write::whole(c, Form::Json)),
    ("row_to_json_pretty", |c| write::whole(c, Form::Json)),
    ("json_build_array", |c| write::build_array(c, Form::Json)),
    ("jsonb_build_array", |c| write::build_array(c, Form::Jsonb)),
    ("json_build_array_noargs", |c| write::build_array(c, Form::Json)),
    ("jsonb_build_array_noargs", |c| write::build_array(c, Form::Jsonb)),
    ("json_build_object", |c| write::build_object(c, Form::Json)),
    ("jsonb_build_object", |c| write::build_object(c, Form::Jsonb)),
    ("json_build_object_noargs", |c| write::build_object(c, Form::Json)),
    ("jsonb_build_object_noargs", |c| write::build_object(c, Form::Jsonb)),
    ("json_build_array/variadic", |c| write::build_variadic(c, Form::Json, false)),
    ("jsonb_build_array/variadic", |c| write::build_variadic(c, Form::Jsonb, false)),
    ("json_build_object/variadic", |c| write::build_variadic(c, Form::Json, true)),
    ("jsonb_build_object/variadic", |c| write::build_variadic(c, Form::Jsonb, true)),
    ("json_object", |c| object::of_pairs(c, Form::Json)),
    ("jsonb_object", |c| object::of_pairs(c, Form::Jsonb)),
    ("json_object_two_arg", |c| object::of_two(c, Form::Json)),
    ("jsonb_object_two_arg", |c| object::of_two(c, Form::Jsonb)),
    // --- rows
    ("json_array_elements", |c| expand::elements(c, Form::Json, Given::Json, "json_array_elements")),
    ("json_array_elements_text", |c| expand::elements(c, Form::Json, Given::Text, "json_array_elements_text")),
    ("jsonb_array_elements", |c| expand::elements(c, Form::Jsonb, Given::Json, "jsonb_array_elements")),
    ("jsonb_array_elements_text", |c| expand::elements(c, Form::Jsonb, Given::Text, "jsonb_array_elements_text")),
    ("json_each", |c| expand::each(c, Form::Json, Given::Json, "json_each")),
    ("json_each_text", |c| expand::each(c, Form::Json, Given::Text, "json_each_text")),
    ("jsonb_each", |c| expand::each(c, Form::Jsonb, Given::Json, "jsonb_each")),
    ("jsonb_each_text", |c| expand::each(c, Form::Jsonb, Given::Text, "jsonb_each_text")),
    ("json_object_keys", |c| expand::keys(c, Form::Json, "json_object_keys")),
    ("jsonb_object_keys", |c| expand::keys(c, Form::Jsonb, "jsonb_object_keys")),
    ("json_populate_record", |c| populate::record(c, Form::Json, true)),
    ("jsonb_populate_record", |c| populate::record(c, Form::Jsonb, true)),
    ("json_to_record", |c| populate::record(c, Form::Json, false)),
    ("jsonb_to_record", |c| populate::record(c, Form::Jsonb, false)),
    ("json_populate_recordset", |c| populate::recordset(c, Form::Json, true, "json_populate_recordset")),
    ("jsonb_populate_recordset", |c| populate::recordset(c, Form::Jsonb, true, "jsonb_populate_recordset")),
    ("json_to_recordset", |c| populate::recordset(c, Form::Json, false, "json_to_recordset")),
    ("jsonb_to_recordset", |c| populate::recordset(c, Form::Jsonb, false, "jsonb_to_recordset")),
    // --- jsonpath
    ("jsonpath_in", |c| c.one(path::input)),
    ("jsonpath_out", same),
    ("jsonb_path_exists", |c| path::exists(c, false, false)),
    ("jsonb_path_exists_tz", |c| path::exists(c, false, true)),
    ("jsonb_path_exists_opr", |c| path::exists(c, true, false)),
    ("jsonb_path_match", |c| path::matches(c, false, false)),
    ("jsonb_path_match_tz", |c| path::matches(c, false, true)),
    ("jsonb_path_match_opr", |c| path::matches(c, true, false)),
    ("jsonb_path_query", |c| path::query(c, false)),
    ("jsonb_path_query_tz", |c| path::query(c, true)),
    ("jsonb_path_query_array", |c| path::query_array(c, false)),
    ("jsonb_path_query_array_tz", |c| path::query_array(c, true)),
    ("jsonb_path_query_first", |c| path::query_first(c, false)),
    ("jsonb_path_query_first_tz", |c| path::query_first(c, true)),
];

/// 22023, which nearly every refusal here is.
fn cannot(text: impl Into<String>) -> Error {
    Error::new(Kind::InvalidParameter, text)
}

fn json_in(text: &str) -> Result<Cow<'_, str>> {
    valid_json(text)?;
    Ok(Cow::Borrowed(text))
}

fn same(c: &Call<'_>) -> Result<ArrayRef> {
    let arg = c.arg(0)?;
    if !arg.constant {
        return Ok(Arc::clone(&arg.array));
    }
    fn text(json: &str) -> Result<&str> {
        Ok(json)
    }
    c.one(text)
}

fn compared(c: &Call<'_>, is: fn(Ordering) -> bool) -> Result<ArrayRef> {
    c.two(|a: &str, b: &str| Ok(is(compare::compare(a, b)?)))
}

/// A key looked for among those of jsonb as they are written.
#[derive(Debug)]
struct Key<'a> {
    plain: &'a str,
    /// In quotes, where it has escapes.
    escaped: Option<String>,
}

impl<'a> Key<'a> {
    fn of(plain: &'a str) -> Self {
        let special = plain.bytes().any(|b| b == b'"' || b == b'\\' || b < b' ');
        let escaped = special.then(|| {
            let mut out = String::with_capacity(plain.len() + 8);
            write_string(plain, &mut out);
            out
        });
        Self { plain, escaped }
    }

    fn is(&self, written: &str) -> bool {
        match &self.escaped {
            Some(escaped) => escaped == written,
            None => written.len() == self.plain.len() + 2 && written.get(1..written.len() - 1) == Some(self.plain),
        }
    }

    /// All keys behind this one are longer.
    fn is_before(&self, written: &str) -> bool {
        written.len() > self.plain.len() + 2 && unescape(written).is_ok_and(|written| written.len() > self.plain.len())
    }
}

fn write_array<'a>(elements: impl IntoIterator<Item = &'a str>) -> String {
    let mut out = String::from("[");
    for element in elements {
        if out.len() > 1 {
            out.push_str(", ");
        }
        out.push_str(element);
    }
    out.push(']');
    out
}

fn write_object<'a>(members: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::from("{");
    for (key, value) in members {
        if out.len() > 1 {
            out.push_str(", ");
        }
        out.push_str(key);
        out.push_str(": ");
        out.push_str(value);
    }
    out.push('}');
    out
}
