//! `jsonb_hash`: scalars and keys as they come, whatever contains them but for its kind.

use super::{numeric, of_bytes, of_u32, rotated};
use crate::error::Result;
use crate::formats::postgres::input::json::{DEPTH_MAX, Elements, Members, Shape, shape, too_deep, unescape};
use crate::sql::numeric::Numeric;

/// `JB_FARRAY` and `JB_FOBJECT`, in both halves.
const ARRAY: u64 = 0x4000_0000_4000_0000;
const OBJECT: u64 = 0x2000_0000_2000_0000;

pub(super) fn hash(json: &str, seed: u64) -> Result<u64> {
    let mut hash = 0;
    match shape(json) {
        Shape::Array if Elements::of(json).next().is_none() => hash = seed,
        Shape::Object if Members::of(json).next().is_none() => hash = seed,
        Shape::Array | Shape::Object => put(json, seed, 0, &mut hash)?,
        // a scalar is an array of one
        _ => {
            hash ^= ARRAY;
            put(json, seed, 0, &mut hash)?;
        }
    }
    Ok(hash)
}

fn put(json: &str, seed: u64, depth: usize, hash: &mut u64) -> Result<()> {
    if depth > DEPTH_MAX {
        return Err(too_deep());
    }
    let scalar = match shape(json) {
        Shape::Array => {
            *hash ^= ARRAY;
            return Elements::of(json).try_for_each(|element| put(element?, seed, depth + 1, hash));
        }
        Shape::Object => {
            *hash ^= OBJECT;
            for member in Members::of(json) {
                let (key, value) = member?;
                *hash = rotated(*hash) ^ of_bytes(unescape(key)?.as_bytes(), seed);
                put(value, seed, depth + 1, hash)?;
            }
            return Ok(());
        }
        Shape::Null => seed.wrapping_add(1),
        Shape::String => of_bytes(unescape(json)?.as_bytes(), seed),
        Shape::Number => numeric(&Numeric::parse(json)?, seed),
        Shape::Bool if seed == 0 => 4 - 2 * u64::from(json == "true"),
        Shape::Bool => of_u32(u32::from(json == "true"), seed),
    };
    *hash = rotated(*hash) ^ scalar;
    Ok(())
}
