//! in_range: whether a row of a window's RANGE frame lies within an interval of the current one. Arguments: value, base,
//! offset, subtract it, value must be at or before the sum.

use arrow::array::ArrayRef;

use super::arithmetic::{add, session};
use super::compare::span;
use super::{date_stamp, interval, timetz};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::calendar::Zone;
use crate::sql::kernel::{Call, Date, Interval, Kernel, Read, Stamp, Time};

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("in_range_date_interval", |c| moments(c, None, |v: Date| date_stamp(v.0))),
    ("in_range_timestamp_interval", |c| moments(c, None, |v: Stamp| Ok(v.0))),
    ("in_range_timestamptz_interval", |c| moments(c, Some(&session(c)), |v: Stamp| Ok(v.0))),
    ("in_range_interval_interval", |c| {
        frames(c, |v: Interval, base: Interval, offset, back| {
            not_negative(span(offset))?;
            let sum = if back { interval::difference(base, offset) } else { interval::sum(base, offset) }?;
            Ok(Some(span(v).cmp(&span(sum))))
        })
    }),
    ("in_range_time_interval", |c| {
        frames(c, |v: Time, base: Time, offset, back| {
            not_negative(i128::from(offset.micros))?;
            let sum = if back { base.0.checked_sub(offset.micros) } else { base.0.checked_add(offset.micros) };
            Ok(sum.map(|sum| v.0.cmp(&sum)))
        })
    }),
    ("in_range_timetz_interval", |c| {
        frames(c, |v: [u8; 12], base: [u8; 12], offset, back| {
            not_negative(i128::from(offset.micros))?;
            let ((value, value_west), (base, base_west)) = (timetz(v), timetz(base));
            let sum = if back { base.checked_sub(offset.micros) } else { base.checked_add(offset.micros) };
            let utc = |micros: i64, west: i32| (i128::from(micros) + i128::from(west) * 1_000_000, west);
            Ok(sum.map(|sum| utc(value, value_west).cmp(&utc(sum, base_west))))
        })
    }),
];

fn not_negative(size: i128) -> Result<()> {
    if size >= 0 {
        return Ok(());
    }
    Err(Error::new(Kind::FrameOffset, "invalid preceding or following size in window function"))
}

fn moments<'a, T: Read<'a>>(
    call: &Call<'a>,
    zone: Option<&Zone>,
    stamp: impl Fn(T) -> Result<i64>,
) -> Result<ArrayRef> {
    frames(call, |value: T, base: T, offset, back| {
        not_negative(span(offset))?;
        let offset = if back {
            interval::difference(Interval { months: 0, days: 0, micros: 0 }, offset)
                .map_err(|_| super::out_of_range())?
        } else {
            offset
        };
        Ok(Some(stamp(value)?.cmp(&add(stamp(base)?, offset, zone)?)))
    })
}

/// `compare` gives the value's place beside the sum; `None` where the sum is beyond all values.
fn frames<'a, T: Read<'a>>(
    call: &Call<'a>,
    compare: impl Fn(T, T, Interval, bool) -> Result<Option<std::cmp::Ordering>>,
) -> Result<ArrayRef> {
    let (values, bases, offsets) = (call.read::<T>(0)?, call.read::<T>(1)?, call.read::<Interval>(2)?);
    let (backs, befores) = (call.read::<bool>(3)?, call.read::<bool>(4)?);
    call.rows_of(|row| {
        let arguments = (values.get(row), bases.get(row), offsets.get(row), backs.get(row), befores.get(row));
        let (Some(value), Some(base), Some(offset), Some(back), Some(before)) = arguments else { return Ok(None) };
        Ok::<_, Error>(Some(match compare(value, base, offset, back)? {
            None => before != back,
            Some(place) if before => place.is_le(),
            Some(place) => place.is_ge(),
        }))
    })
}
