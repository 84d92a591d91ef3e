//! lower, upper, initcap. A column of ASCII is changed in one pass over its bytes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::buffer::Buffer;

use super::build1;
use super::ctype::{is_alnum, to_lower, to_upper};
use crate::error::Result;
use crate::sql::kernel::{Call, Growing, Kernel};

/// A column's bytes are asked for in steps that no value's bound hinders.
const STEP_BYTES: usize = 1 << 16;

pub(in crate::sql::functions) const KERNELS: &[(&str, Kernel)] = &[
    ("lower", |c| cased(c, <[u8]>::to_ascii_lowercase, to_lower)),
    ("upper", |c| cased(c, <[u8]>::to_ascii_uppercase, to_upper)),
    ("initcap", |c| {
        build1(c, |text: &str, out| {
            let mut inside = false;
            for character in text.chars() {
                let character = if inside { to_lower(character) } else { to_upper(character) };
                inside = is_alnum(character);
                out.push(character);
            }
            Ok(())
        })
    }),
];

fn cased(call: &Call<'_>, ascii: fn(&[u8]) -> Vec<u8>, map: fn(char) -> char) -> Result<ArrayRef> {
    let arg = call.arg(0)?;
    if !arg.constant
        && let Some(strings) = arg.array.as_string_opt::<i32>()
    {
        // bytes of a slice of a larger array may lie before the first offset and behind the last
        let offsets = strings.offsets();
        let (from, to) = (offsets[0].cast_unsigned() as usize, offsets[strings.len()].cast_unsigned() as usize);
        let bytes = &strings.value_data()[from..to];
        if bytes.is_ascii() {
            let offsets = match from {
                0 => offsets.clone(),
                _ => arrow::buffer::OffsetBuffer::from_lengths(offsets.lengths()),
            };
            let mut growing = Growing::new(&call.env.budget);
            for part in bytes.chunks(STEP_BYTES) {
                growing.add(part.len())?;
            }
            let array = StringArray::try_new(offsets, Buffer::from_vec(ascii(bytes)), strings.nulls().cloned())?;
            return growing.finish(Arc::new(array));
        }
    }
    build1(call, |text: &str, out| {
        out.extend(text.chars().map(map));
        Ok(())
    })
}

/// `lower(text)` of one value.
pub(super) fn lower(text: &str) -> String {
    match text.is_ascii() {
        true => text.to_ascii_lowercase(),
        false => text.chars().map(to_lower).collect(),
    }
}
