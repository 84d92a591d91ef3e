//! Strings (varchar.c, varlena.c, oracle_compat.c, formatting.c): text, varchar, bpchar, name and `"char"`. Here is how
//! their kernels write; patterns are in `regex`.
//!
//! `character(n)` lies with its blanks, as PostgreSQL keeps it.

use std::sync::Arc;

use arrow::array::builder::NullBufferBuilder;
use arrow::array::{ArrayRef, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};

use crate::error::{Error, Kind, Result};
use crate::sql::kernel::{Call, Growing, Read};

pub(super) mod compare;
pub(super) mod convert;
pub(super) mod ctype;
pub(super) mod edit;
pub(super) mod format;
pub(super) mod join;
pub(super) mod letters;
pub(super) mod like;
pub(super) mod measure;
pub(super) mod quote;
pub(super) mod split;
#[cfg(test)]
mod tests;
pub(super) mod trigram;
pub(super) mod types;
pub(super) mod unicode;

/// The longest allocation of PostgreSQL (MaxAllocSize): what would be longer has an error text of its own.
const ALLOCATION_MAX: u64 = 0x3fff_ffff;

/// `call.rows` strings, written one behind the other into one buffer. `row` appends its value and says whether there is
/// one; what it appends to a NULL is taken back.
pub(super) fn build(call: &Call<'_>, mut row: impl FnMut(usize, &mut String) -> Result<bool>) -> Result<ArrayRef> {
    let mut values = String::with_capacity(call.rows.saturating_mul(16));
    let mut offsets = Vec::with_capacity(call.rows + 1);
    let mut nulls = NullBufferBuilder::new(call.rows);
    let mut growing = Growing::new(&call.env.budget);
    offsets.push(0i32);
    for i in 0..call.rows {
        let start = values.len();
        if row(i, &mut values)? {
            growing.add(values.len() - start)?;
            nulls.append_non_null();
        } else {
            values.truncate(start);
            nulls.append_null();
        }
        offsets.push(offset(values.len())?);
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    let array = StringArray::try_new(offsets, Buffer::from_vec(values.into_bytes()), nulls.finish())?;
    growing.finish(Arc::new(array))
}

/// Arrow counts the bytes of one array in an i32.
fn offset(bytes: usize) -> Result<i32> {
    i32::try_from(bytes).map_err(|_| Error::new(Kind::OutOfMemory, "the values of one batch exceed 2 GiB"))
}

/// A strict function of one argument that appends its value.
pub(super) fn build1<'a, A: Read<'a>>(call: &Call<'a>, f: impl Fn(A, &mut String) -> Result<()>) -> Result<ArrayRef> {
    let a = call.read::<A>(0)?;
    build(call, |i, out| match a.get(i) {
        Some(a) => f(a, out).map(|()| true),
        None => Ok(false),
    })
}

/// Of two.
pub(super) fn build2<'a, A: Read<'a>, B: Read<'a>>(
    call: &Call<'a>,
    f: impl Fn(A, B, &mut String) -> Result<()>,
) -> Result<ArrayRef> {
    let (a, b) = (call.read::<A>(0)?, call.read::<B>(1)?);
    build(call, |i, out| match (a.get(i), b.get(i)) {
        (Some(a), Some(b)) => f(a, b, out).map(|()| true),
        _ => Ok(false),
    })
}

/// Of three.
pub(super) fn build3<'a, A: Read<'a>, B: Read<'a>, C: Read<'a>>(
    call: &Call<'a>,
    f: impl Fn(A, B, C, &mut String) -> Result<()>,
) -> Result<ArrayRef> {
    let (a, b, c) = (call.read::<A>(0)?, call.read::<B>(1)?, call.read::<C>(2)?);
    build(call, |i, out| match (a.get(i), b.get(i), c.get(i)) {
        (Some(a), Some(b), Some(c)) => f(a, b, c, out).map(|()| true),
        _ => Ok(false),
    })
}

/// Where character number `chars` (from 0) begins, or the end of a shorter text.
pub(super) fn byte_of(text: &str, chars: usize) -> usize {
    if chars >= text.len() || text.is_ascii() {
        return chars.min(text.len());
    }
    text.char_indices().nth(chars).map_or(text.len(), |(byte, _)| byte)
}

/// Characters, as PostgreSQL counts them in an int4.
pub(super) fn chars(text: &str) -> i32 {
    int(text.chars().count())
}

/// A count of something that lies in memory. Values are shorter than a GB.
pub(super) fn int(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// A count that is not below zero.
pub(super) fn count(number: i32) -> usize {
    usize::try_from(number).unwrap_or(0)
}

pub(super) fn negative_length() -> Error {
    Error::new(Kind::Substring, "negative substring length not allowed")
}

pub(super) fn too_long() -> Error {
    Error::new(Kind::TooLarge, "requested length too large")
}

pub(super) fn integer_out_of_range() -> Error {
    Error::new(Kind::NumericRange, "integer out of range")
}

/// Which units of a string `substring(s from start for length)` takes: from, and to (`None`: the end), counted from 0.
/// `None` for nothing at all.
pub(super) fn substring(start: i32, length: Option<i32>) -> Result<Option<(usize, Option<usize>)>> {
    let from = start.max(1);
    let end = match length {
        None => None,
        Some(..0) => return Err(negative_length()),
        // an end beyond every int4 is the end of the string
        Some(length) => start.checked_add(length),
    };
    Ok(match end {
        Some(..1) => None,
        Some(end) => Some((count(from - 1), Some(count((end - 1).max(from - 1))))),
        None => Some((count(from - 1), None)),
    })
}

/// Where `overlay` cuts: units kept before, and the number of the first unit kept behind (as `substring` counts).
pub(super) fn overlay(start: i32, length: i32) -> Result<(usize, usize)> {
    if start <= 0 {
        return Err(negative_length());
    }
    let behind = start.checked_add(length).ok_or_else(integer_out_of_range)?;
    Ok((count(start - 1), count(behind.saturating_sub(1))))
}
