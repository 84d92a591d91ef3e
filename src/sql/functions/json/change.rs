//! `||`, `-`, `#-`, jsonb_set, jsonb_insert: a container is taken apart one level deep, and the slices that do not change
//! are copied as they are.

use super::texts::{List, Lists, integer};
use super::{Form, Key, cannot, write_array, write_object};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::input::json::{Elements, Members, Shape, shape, unescape, write_string};
use crate::sql::kernel::Call;
use arrow::array::ArrayRef;

type Pairs<'a> = Vec<(&'a str, &'a str)>;

pub(super) fn members(json: &str) -> Result<Pairs<'_>> {
    Members::of(json).collect()
}

fn elements(json: &str) -> Result<Vec<&str>> {
    Elements::of(json).collect()
}

/// `||`. What is no object counts as an array.
pub(super) fn concat(left: &str, right: &str) -> Result<String> {
    if shape(left) == Shape::Object && shape(right) == Shape::Object {
        return merge(left, right);
    }
    let as_array = |json| match shape(json) {
        Shape::Array => elements(json),
        _ => Ok(vec![json]),
    };
    let mut all = as_array(left)?;
    all.extend(as_array(right)?);
    Ok(write_array(all))
}

/// Both in jsonb's order; of equal keys the right one's member stays.
fn merge(left: &str, right: &str) -> Result<String> {
    let mut out: Pairs<'_> = vec![];
    let mut rest = members(right)?.into_iter().peekable();
    for (key, value) in members(left)? {
        let mut replaced = false;
        while let Some((other, _)) = rest.peek() {
            match compare_keys(other, key)? {
                std::cmp::Ordering::Greater => break,
                order => {
                    replaced |= order.is_eq();
                    out.extend(rest.next());
                }
            }
        }
        if !replaced {
            out.push((key, value));
        }
    }
    out.extend(rest);
    Ok(write_object(out))
}

/// By length, then bytes, of keys with their quotes.
fn compare_keys(a: &str, b: &str) -> Result<std::cmp::Ordering> {
    let (a, b) = (unescape(a)?, unescape(b)?);
    Ok(a.len().cmp(&b.len()).then_with(|| a.as_bytes().cmp(b.as_bytes())))
}

/// `- text`, `- text[]`: members of these keys, elements that are these strings.
pub(super) fn delete_keys(json: &str, keys: &[Key<'_>]) -> Result<String> {
    let named = |written: &str| keys.iter().any(|key| key.is(written));
    match shape(json) {
        Shape::Object => Ok(write_object(members(json)?.into_iter().filter(|(key, _)| !named(key)))),
        Shape::Array => {
            let stays = |element: &&str| shape(element) != Shape::String || !named(element);
            Ok(write_array(elements(json)?.into_iter().filter(stays)))
        }
        _ => Err(cannot("cannot delete from scalar")),
    }
}

pub(super) fn delete_array(c: &Call<'_>) -> Result<ArrayRef> {
    let (documents, keys) = (c.read::<&str>(0)?, Lists::of(c, 1)?);
    c.rows_of(|row| {
        let (Some(json), Some(keys)) = (documents.get(row), keys.get(row)) else { return Ok(None) };
        one_dimension(&keys)?;
        let keys: Vec<Key<'_>> = keys.elements.into_iter().flatten().map(Key::of).collect();
        delete_keys(json, &keys).map(Some)
    })
}

fn one_dimension(path: &List<'_>) -> Result<()> {
    if path.dimensions > 1 {
        return Err(Error::new(Kind::ArraySubscript, "wrong number of array subscripts"));
    }
    Ok(())
}

/// `- integer`.
pub(super) fn delete_index(json: &str, index: i32) -> Result<String> {
    match shape(json) {
        Shape::Object => return Err(cannot("cannot delete from object using integer index")),
        Shape::Array => {}
        _ => return Err(cannot("cannot delete from scalar")),
    }
    let mut all = elements(json)?;
    let at = match usize::try_from(index) {
        Ok(at) => Some(at),
        Err(_) => all.len().checked_sub(usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX)),
    };
    if let Some(at) = at.filter(|at| *at < all.len()) {
        all.remove(at);
    }
    Ok(write_array(all))
}

/// What is done where the path ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op<'a> {
    Delete,
    /// jsonb_set: with a value, made where there is nothing if `create`.
    Set {
        value: &'a str,
        create: bool,
    },
    /// jsonb_insert: before or after an element, never over a member.
    Insert {
        value: &'a str,
        after: bool,
    },
}

impl<'a> Op<'a> {
    /// What is added where nothing stands.
    fn creates(self) -> Option<&'a str> {
        match self {
            Op::Set { value, create: true } | Op::Insert { value, .. } => Some(value),
            Op::Set { create: false, .. } | Op::Delete => None,
        }
    }
}

pub(super) fn at_path(json: &str, path: &List<'_>, op: Op<'_>) -> Result<String> {
    one_dimension(path)?;
    if !shape(json).is_container() {
        let verb = if op == Op::Delete { "delete" } else { "set" };
        return Err(cannot(format!("cannot {verb} path in scalar")));
    }
    let empty = matches!(json, "{}" | "[]");
    if path.elements.is_empty() || (empty && op.creates().is_none()) {
        return Ok(json.to_owned());
    }
    walk(json, &path.elements, 1, op)
}

/// `position` counts the path's steps from 1, for errors.
fn walk(json: &str, path: &[Option<&str>], position: usize, op: Op<'_>) -> Result<String> {
    let Some((step, rest)) = path.split_first() else { return Ok(json.to_owned()) };
    let null = || Error::new(Kind::NullNotAllowed, format!("path element at position {position} is null"));
    match shape(json) {
        Shape::Object => in_object(json, step.ok_or_else(null)?, rest, position, op),
        Shape::Array => in_array(json, step.ok_or_else(null)?, rest, position, op),
        _ if step.is_none() => Err(null()),
        _ => Ok(json.to_owned()),
    }
}

fn in_object(json: &str, step: &str, rest: &[Option<&str>], position: usize, op: Op<'_>) -> Result<String> {
    let key = Key::of(step);
    let pairs = members(json)?;
    let Some(at) = pairs.iter().position(|(written, _)| key.is(written)) else {
        let Some(value) = op.creates().filter(|_| rest.is_empty()) else { return Ok(json.to_owned()) };
        let mut written = String::with_capacity(step.len() + 2);
        write_string(step, &mut written);
        let mut place = pairs.len();
        for (at, (other, _)) in pairs.iter().enumerate() {
            if compare_keys(&written, other)?.is_lt() {
                place = at;
                break;
            }
        }
        let (before, after) = pairs.split_at(place);
        return Ok(write_object(
            before.iter().copied().chain([(written.as_str(), value)]).chain(after.iter().copied()),
        ));
    };
    let (before, from) = pairs.split_at(at);
    let Some(((written, old), after)) = from.split_first() else { return Ok(json.to_owned()) };
    let inner;
    let new = match op {
        _ if !rest.is_empty() => {
            inner = walk(old, rest, position + 1, op)?;
            Some(inner.as_str())
        }
        Op::Delete => None,
        Op::Set { value, .. } => Some(value),
        Op::Insert { .. } => {
            let hint = "Try using the function jsonb_set to replace key value.";
            return Err(cannot("cannot replace existing key").with_hint(hint));
        }
    };
    let member = new.map(|new| (*written, new));
    Ok(write_object(before.iter().copied().chain(member).chain(after.iter().copied())))
}

fn in_array(json: &str, step: &str, rest: &[Option<&str>], position: usize, op: Op<'_>) -> Result<String> {
    let index = integer(step).ok_or_else(|| {
        let text = format!("path element at position {position} is not an integer: \"{step}\"");
        Error::new(Kind::InvalidText, text)
    })?;
    let all = elements(json)?;
    let at = match usize::try_from(index) {
        Ok(at) => Some(at.min(all.len())),
        // before the first element
        Err(_) => all.len().checked_sub(usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX)),
    };
    let Some((at, old)) = at.and_then(|at| Some((at, *all.get(at)?))) else {
        let Some(value) = op.creates().filter(|_| rest.is_empty()) else { return Ok(json.to_owned()) };
        let (before, after) = all.split_at(at.unwrap_or(0));
        return Ok(write_array(before.iter().copied().chain([value]).chain(after.iter().copied())));
    };
    let before = all.iter().copied().take(at);
    let after = all.iter().copied().skip(at + 1);
    if !rest.is_empty() {
        let inner = walk(old, rest, position + 1, op)?;
        return Ok(write_array(before.chain([inner.as_str()]).chain(after)));
    }
    Ok(match op {
        Op::Delete => write_array(before.chain(after)),
        Op::Set { value, .. } => write_array(before.chain([value]).chain(after)),
        Op::Insert { value, after: true } => write_array(before.chain([old, value]).chain(after)),
        Op::Insert { value, after: false } => write_array(before.chain([value, old]).chain(after)),
    })
}

pub(super) fn delete_path(c: &Call<'_>) -> Result<ArrayRef> {
    let (documents, paths) = (c.read::<&str>(0)?, Lists::of(c, 1)?);
    c.rows_of(|row| {
        let (Some(json), Some(path)) = (documents.get(row), paths.get(row)) else { return Ok(None) };
        at_path(json, &path, Op::Delete).map(Some)
    })
}

/// jsonb_set and jsonb_insert: document, path, value, flag.
pub(super) fn put(c: &Call<'_>, op: for<'v> fn(&'v str, bool) -> Op<'v>) -> Result<ArrayRef> {
    let (documents, paths) = (c.read::<&str>(0)?, Lists::of(c, 1)?);
    let (values, flags) = (c.read::<&str>(2)?, c.read::<bool>(3)?);
    c.rows_of(|row| match (documents.get(row), paths.get(row), values.get(row), flags.get(row)) {
        (Some(json), Some(path), Some(value), Some(flag)) => at_path(json, &path, op(value, flag)).map(Some),
        _ => Ok(None),
    })
}

pub(super) fn set(value: &str, create: bool) -> Op<'_> {
    Op::Set { value, create }
}

pub(super) fn insert(value: &str, after: bool) -> Op<'_> {
    Op::Insert { value, after }
}

/// jsonb_set_lax: not strict; the last argument says what a NULL value means.
pub(super) fn set_lax(c: &Call<'_>) -> Result<ArrayRef> {
    let (documents, paths) = (c.read::<&str>(0)?, Lists::of(c, 1)?);
    let (values, flags, treatments) = (c.read::<&str>(2)?, c.read::<bool>(3)?, c.read::<&str>(4)?);
    c.rows_of(|row| {
        let (Some(json), Some(path), Some(create)) = (documents.get(row), paths.get(row), flags.get(row)) else {
            return Ok(None);
        };
        let treatment = treatments.get(row).ok_or_else(wrong_treatment)?;
        if let Some(value) = values.get(row) {
            return at_path(json, &path, Op::Set { value, create }).map(Some);
        }
        match treatment {
            "raise_exception" => {
                let detail = "Exception was raised because null_value_treatment is \"raise_exception\".";
                let hint = "To avoid, either change the null_value_treatment argument or ensure that an SQL NULL is \
                            not passed.";
                let error = Error::new(Kind::NullNotAllowed, "JSON value must not be null");
                Err(error.with_detail(detail).with_hint(hint))
            }
            "use_json_null" => at_path(json, &path, Op::Set { value: "null", create }).map(Some),
            "delete_key" => at_path(json, &path, Op::Delete).map(Some),
            "return_target" => Ok(Some(json.to_owned())),
            _ => Err(wrong_treatment()),
        }
    })
}

fn wrong_treatment() -> Error {
    cannot("null_value_treatment must be \"delete_key\", \"return_target\", \"use_json_null\", or \"raise_exception\"")
}

/// The text of json without blanks between tokens and members that are null; escapes are read and written again.
pub(super) fn strip_nulls(form: Form, json: &str) -> Result<String> {
    super::access::read_escapes(form, json)?;
    let mut out = String::with_capacity(json.len());
    strip(form, json, 0, &mut out)?;
    Ok(out)
}

fn strip(form: Form, json: &str, depth: usize, out: &mut String) -> Result<()> {
    if depth > super::RECURSION_MAX {
        return Err(crate::formats::postgres::input::json::too_deep());
    }
    let (comma, colon) = match form {
        Form::Json => (",", ":"),
        Form::Jsonb => (", ", ": "),
    };
    let string = |written: &str, out: &mut String| -> Result<()> {
        write_string(&unescape(written)?, out);
        Ok(())
    };
    match shape(json) {
        Shape::Object => {
            out.push('{');
            let mut first = true;
            for member in Members::of(json) {
                let (key, value) = member?;
                if shape(value) == Shape::Null {
                    continue;
                }
                if !first {
                    out.push_str(comma);
                }
                first = false;
                string(key, out)?;
                out.push_str(colon);
                strip(form, value, depth + 1, out)?;
            }
            out.push('}');
        }
        Shape::Array => {
            out.push('[');
            for (place, element) in Elements::of(json).enumerate() {
                if place > 0 {
                    out.push_str(comma);
                }
                strip(form, element?, depth + 1, out)?;
            }
            out.push(']');
        }
        Shape::String => string(crate::formats::postgres::input::json::value(json), out)?,
        _ => out.push_str(crate::formats::postgres::input::json::value(json)),
    }
    Ok(())
}

/// jsonb_pretty: four blanks a level.
pub(super) fn pretty(c: &Call<'_>) -> Result<ArrayRef> {
    c.one(|json: &str| {
        let mut out = String::with_capacity(json.len() * 2);
        let mut depth = 0usize;
        let mut rest = json;
        while let Some(byte) = rest.bytes().next() {
            let mut length = 1;
            match byte {
                b'{' | b'[' => {
                    depth += 1;
                    out.push(char::from(byte));
                    // an empty container has its end on the next line, at its own depth
                    if !matches!(rest.as_bytes().get(1), Some(b'}' | b']')) {
                        line(depth, &mut out);
                    }
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    line(depth, &mut out);
                    out.push(char::from(byte));
                }
                b',' => {
                    length = 2;
                    out.push(',');
                    line(depth, &mut out);
                }
                b'"' => {
                    length = string_length(rest);
                    out.push_str(rest.get(..length).unwrap_or_default());
                }
                _ => {
                    length = rest.bytes().take_while(|b| !matches!(b, b'"' | b',' | b'{' | b'}' | b'[' | b']')).count();
                    out.push_str(rest.get(..length).unwrap_or_default());
                }
            }
            c.env.budget.value(out.len())?;
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(out)
    })
}

fn line(depth: usize, out: &mut String) {
    out.push('\n');
    out.extend(std::iter::repeat_n("    ", depth));
}

fn string_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    loop {
        match bytes.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return bytes.len(),
        }
    }
}
