//! Typmods: digits of seconds, and the fields of an interval.

use arrow::array::ArrayRef;
use arrow::datatypes::{Int32Type, Time64MicrosecondType, TimestampMicrosecondType};

use super::{timetz, timetz_bytes, vector};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::calendar::{self, EPOCH_MICROS, HOUR, MINUTE};
use crate::formats::postgres::input::interval::range;
use crate::sql::kernel::{Call, Interval, Kernel};

const DIGITS_MAX: i32 = 6;

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("timestamp_scale", stamps),
    ("timestamptz_scale", stamps),
    ("time_scale", |c| {
        vector::two::<Time64MicrosecondType, Int32Type, Time64MicrosecondType>(c, |time, typmod| {
            Ok(time_rounded(time, typmod))
        })
    }),
    ("timetz_scale", |c| {
        c.two(|value: [u8; 12], typmod: i32| {
            let (time, west) = timetz(value);
            Ok(timetz_bytes(time_rounded(time, typmod), west))
        })
    }),
    ("interval_scale", |c| c.two(interval)),
];

fn stamps(call: &Call<'_>) -> Result<ArrayRef> {
    vector::two::<TimestampMicrosecondType, Int32Type, TimestampMicrosecondType>(call, rounded)
}

/// Half away from zero, to a multiple of the unit; saturates, since the last instants may round to the infinity.
fn to_digits(micros: i64, digits: i32) -> i64 {
    let Ok(missing) = u32::try_from(DIGITS_MAX - digits) else { return micros };
    let unit = 10_i64.pow(missing.min(6));
    let half = unit / 2;
    if micros >= 0 { micros.saturating_add(half) / unit * unit } else { micros.saturating_sub(half) / unit * unit }
}

/// `timestamp(typmod)`. Rounds away from 2000, where PostgreSQL counts from.
pub(crate) fn rounded(stamp: i64, typmod: i32) -> Result<i64> {
    if stamp == i64::MIN || stamp == i64::MAX || typmod == -1 || typmod == DIGITS_MAX {
        return Ok(stamp);
    }
    if !(0..=DIGITS_MAX).contains(&typmod) {
        return Err(precision("timestamp", typmod));
    }
    let rounded = to_digits(stamp.saturating_sub(EPOCH_MICROS), typmod).checked_add(EPOCH_MICROS);
    rounded.filter(|stamp| calendar::is_finite_timestamp(*stamp)).ok_or_else(super::out_of_range)
}

fn precision(name: &str, typmod: i32) -> Error {
    let text = format!("{name}({typmod}) precision must be between 0 and {DIGITS_MAX}");
    Error::new(Kind::InvalidParameter, text)
}

pub(super) fn time_rounded(micros: i64, typmod: i32) -> i64 {
    if (0..DIGITS_MAX).contains(&typmod) { to_digits(micros, typmod) } else { micros }
}

/// `interval(typmod)`: fields below the last one are cut, seconds are rounded.
pub(super) fn interval(value: Interval, typmod: i32) -> Result<Interval> {
    use range::{DAY, FULL, HOUR as HOURS, MINUTE as MINUTES, MONTH, SECOND, YEAR};
    const FULL_PRECISION: i32 = 0xffff;
    if typmod < 0 {
        return Ok(value);
    }
    let Interval { months, micros, .. } = value;
    let value = match range::of(typmod) {
        FULL => value,
        YEAR => Interval { months: months / 12 * 12, days: 0, micros: 0 },
        r if r == MONTH || r == YEAR | MONTH => Interval { months, days: 0, micros: 0 },
        DAY => Interval { micros: 0, ..value },
        r if r == HOURS || r == DAY | HOURS => Interval { micros: micros / HOUR * HOUR, ..value },
        r if r == MINUTES || r == HOURS | MINUTES || r == DAY | HOURS | MINUTES => {
            Interval { micros: micros / MINUTE * MINUTE, ..value }
        }
        r if r & SECOND != 0 && r & !(DAY | HOURS | MINUTES | SECOND) == 0 => value,
        _ => return Err(Error::internal(format!("unrecognized interval typmod: {typmod}"))),
    };
    let digits = typmod & 0xffff;
    if digits == FULL_PRECISION {
        return Ok(value);
    }
    if digits > DIGITS_MAX {
        return Err(precision("interval", digits));
    }
    Ok(Interval { micros: to_digits(value.micros, digits), ..value })
}
