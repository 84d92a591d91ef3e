//! jsonb's order (compareJsonbContainers), containment and existence. Both sides are jsonb's normal form, in which equal
//! strings and keys are equal texts.

use std::cmp::Ordering;

use arrow::array::ArrayRef;

use super::texts::Lists;
use super::{Form, Key, RECURSION_MAX};
use crate::error::Result;
use crate::formats::postgres::input::json::{Elements, Members, Shape, shape, too_deep, unescape};
use crate::sql::kernel::Call;
use crate::sql::numeric::{self, Numeric};

/// Bytes whose order is that of the btree operator class.
///
/// A scalar at the top is an array of one that is less than a true array of one; an empty array is less than all. Inside,
/// a byte for the kind (null, string, number, boolean, array, object: PostgreSQL's order), then the number of elements or
/// members, then these one by one.
pub(super) fn key(json: &str) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(json.len() + 8);
    match shape(json) {
        Shape::Object => put(json, 0, &mut out)?,
        Shape::Array => {
            out.push(ARRAY);
            out.extend(count(Elements::of(json))?.to_be_bytes());
            out.push(1);
            Elements::of(json).try_for_each(|element| put(element?, 1, &mut out))?;
        }
        _ => {
            out.push(ARRAY);
            out.extend(1u32.to_be_bytes());
            out.push(0);
            put(json, 1, &mut out)?;
        }
    }
    Ok(out)
}

const ARRAY: u8 = 0x10;
const OBJECT: u8 = 0x11;

fn put(json: &str, depth: usize, out: &mut Vec<u8>) -> Result<()> {
    if depth > RECURSION_MAX {
        return Err(too_deep());
    }
    match shape(json) {
        Shape::Null => out.push(0),
        Shape::String => {
            out.push(1);
            string(json, out)?;
        }
        Shape::Number => {
            out.push(2);
            out.extend_from_slice(numeric::key(&Numeric::parse(json)?.encode()));
        }
        Shape::Bool => out.extend([3, u8::from(json == "true")]),
        Shape::Array => {
            out.push(ARRAY);
            out.extend(count(Elements::of(json))?.to_be_bytes());
            Elements::of(json).try_for_each(|element| put(element?, depth + 1, out))?;
        }
        Shape::Object => {
            out.push(OBJECT);
            out.extend(count(Members::of(json))?.to_be_bytes());
            for member in Members::of(json) {
                let (key, value) = member?;
                string(key, out)?;
                put(value, depth + 1, out)?;
            }
        }
    }
    Ok(())
}

/// Text has no zero byte: with one at the end it compares as it should whatever follows.
fn string(written: &str, out: &mut Vec<u8>) -> Result<()> {
    out.extend_from_slice(unescape(written)?.as_bytes());
    out.push(0);
    Ok(())
}

fn count<T>(mut values: impl Iterator<Item = Result<T>>) -> Result<u32> {
    values.try_fold(0u32, |count, value| value.map(|_| count.saturating_add(1)))
}

pub(super) fn compare(a: &str, b: &str) -> Result<Ordering> {
    if a == b { Ok(Ordering::Equal) } else { Ok(key(a)?.cmp(&key(b)?)) }
}

/// `@>`.
pub(super) fn contains(whole: &str, part: &str) -> Result<bool> {
    let (left, right) = (shape(whole), shape(part));
    if (left == Shape::Object) != (right == Shape::Object) {
        return Ok(false);
    }
    match (left.is_container(), right.is_container()) {
        (true, true) => deep_contains(whole, part, 0),
        // an array contains a scalar that is one of its elements
        (true, false) => has_element(whole, part),
        (false, true) => Ok(false),
        (false, false) => equal_scalars(whole, part),
    }
}

fn deep_contains(whole: &str, part: &str, depth: usize) -> Result<bool> {
    if depth > RECURSION_MAX {
        return Err(too_deep());
    }
    if shape(whole) == Shape::Object {
        // both are in one order of keys
        let mut candidates = Members::of(whole);
        for wanted in Members::of(part) {
            let (key, wanted) = wanted?;
            let found = loop {
                match candidates.next().transpose()? {
                    Some((candidate, value)) if candidate == key => break value,
                    Some(_) => {}
                    None => return Ok(false),
                }
            };
            if !contains_value(found, wanted, depth)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    for wanted in Elements::of(part) {
        let wanted = wanted?;
        let has = match shape(wanted).is_container() {
            false => has_element(whole, wanted)?,
            true => {
                let mut has = false;
                for candidate in Elements::of(whole) {
                    if contains_value(candidate?, wanted, depth)? {
                        has = true;
                        break;
                    }
                }
                has
            }
        };
        if !has {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Inside a document kinds must be the same.
fn contains_value(whole: &str, part: &str, depth: usize) -> Result<bool> {
    if shape(whole) != shape(part) {
        return Ok(false);
    }
    if shape(whole).is_container() { deep_contains(whole, part, depth + 1) } else { equal_scalars(whole, part) }
}

fn has_element(array: &str, scalar: &str) -> Result<bool> {
    for element in Elements::of(array) {
        if equal_scalars(element?, scalar)? {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn equal_scalars(a: &str, b: &str) -> Result<bool> {
    if a == b {
        return Ok(true);
    }
    if shape(a) != Shape::Number || shape(b) != Shape::Number {
        return Ok(false);
    }
    Ok(Numeric::parse(a)?.compare(&Numeric::parse(b)?) == Ordering::Equal)
}

/// `?`: a key of an object, a string of an array, the string itself.
pub(super) fn exists(json: &str, key: &Key<'_>) -> Result<bool> {
    match shape(json) {
        Shape::Object => Ok(super::access::member(Form::Jsonb, json, key)?.is_some()),
        Shape::Array => {
            for element in Elements::of(json) {
                let element = element?;
                if shape(element) == Shape::String && key.is(element) {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Shape::String => Ok(key.is(json)),
        Shape::Number | Shape::Bool | Shape::Null => Ok(false),
    }
}

/// `?|` and `?&`; a NULL key is passed over.
pub(super) fn exists_of(c: &Call<'_>, all: bool) -> Result<ArrayRef> {
    let (documents, keys) = (c.read::<&str>(0)?, Lists::of(c, 1)?);
    c.rows_of(|row| {
        let (Some(json), Some(keys)) = (documents.get(row), keys.get(row)) else { return Ok(None) };
        for key in keys.elements.into_iter().flatten() {
            if exists(json, &Key::of(key))? != all {
                return Ok(Some(!all));
            }
        }
        Ok(Some(all))
    })
}
