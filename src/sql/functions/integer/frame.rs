//! `in_range`: whether a row is within a window's RANGE frame, of integers (int.c, int8.c).

use crate::error::{Error, Kind, Result};
use crate::sql::kernel::{Call, Kernel, Read};

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("in_range_int2_int2", |c| within::<i16, i16>(c)),
    ("in_range_int2_int4", |c| within::<i16, i32>(c)),
    ("in_range_int2_int8", |c| within::<i16, i64>(c)),
    ("in_range_int4_int2", |c| within::<i32, i16>(c)),
    ("in_range_int4_int4", |c| within::<i32, i32>(c)),
    ("in_range_int4_int8", |c| within::<i32, i64>(c)),
    ("in_range_int8_int8", |c| within::<i64, i64>(c)),
];

pub(in crate::sql::functions) fn invalid_offset() -> Error {
    Error::new(Kind::FrameOffset, "invalid preceding or following size in window function")
}

/// `value`, `base`, `offset`, whether it is subtracted, whether `value` is to be less. Wide enough that nothing overflows.
fn within<'a, V, O>(call: &Call<'a>) -> Result<arrow::array::ArrayRef>
where
    V: Read<'a> + Into<i128>,
    O: Read<'a> + Into<i128>,
{
    let (value, base, offset) = (call.read::<V>(0)?, call.read::<V>(1)?, call.read::<O>(2)?);
    let (subtract, less) = (call.read::<bool>(3)?, call.read::<bool>(4)?);
    call.rows_of(|row| {
        let (Some(value), Some(base), Some(offset), Some(subtract), Some(less)) =
            (value.get(row), base.get(row), offset.get(row), subtract.get(row), less.get(row))
        else {
            return Ok(None);
        };
        let (value, base, offset) = (value.into(), base.into(), offset.into());
        if offset < 0 {
            return Err(invalid_offset());
        }
        let bound = if subtract { base - offset } else { base + offset };
        Ok(Some(if less { value <= bound } else { value >= bound }))
    })
}
