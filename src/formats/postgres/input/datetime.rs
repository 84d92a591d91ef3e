//! Dates, timestamps and times of day from text, in every spelling that PostgreSQL takes (date.c, timestamp.c). It knows
//! the session's zone, DateStyle and the transaction's start; fields are decoded below.

mod decode;
pub(super) mod fields;
mod iso;
mod number;

use super::super::Style;
use super::super::calendar::{self, DAY, SECOND, Zone};
use crate::error::{Error, Kind, Result};
use decode::{Decoded, Meant};
use fields::Fault;

/// A zone's offset written as `+05:30`, in seconds east of Greenwich.
pub(crate) use number::{NotOffset, offset as numeric_offset};
pub(super) use number::{clock, fraction};

/// Characters of a text that are looked at: MAXDATELEN, and more where many fields may follow.
const DATE_LENGTH_MAX: usize = 129;
const STAMP_LENGTH_MAX: usize = 153;

/// Days since 1970; the infinities are the extremes.
pub fn date(text: &str, style: &Style) -> Result<i32> {
    if let Some(days) = iso::date(text) {
        return Ok(days);
    }
    let read = decode::date_time(text, DATE_LENGTH_MAX, style).map_err(|fault| fault.error(text, "date"))?;
    let out_of_range = || range(format!("date out of range: \"{text}\""));
    match read.meant {
        Meant::Infinity => Ok(i32::MAX),
        Meant::MinusInfinity => Ok(i32::MIN),
        Meant::Epoch => Ok(0),
        Meant::Fields => {
            let days = read.days().ok_or_else(out_of_range)?;
            calendar::checked_date(days).map_err(|_| out_of_range())
        }
    }
}

/// Microseconds since 1970 by the clock on the wall; a zone in the text is ignored, as in PostgreSQL.
pub fn timestamp(text: &str, style: &Style) -> Result<i64> {
    if let Some((micros, _)) = iso::timestamp(text) {
        return Ok(micros);
    }
    let read = stamp(text, "timestamp", style)?;
    match read.meant {
        Meant::Infinity => Ok(i64::MAX),
        Meant::MinusInfinity => Ok(i64::MIN),
        Meant::Epoch => Ok(0),
        Meant::Fields => read.micros().filter(|m| calendar::is_finite_timestamp(*m)).ok_or_else(|| stamp_range(text)),
    }
}

/// Microseconds since 1970 in UTC; without a zone of its own the text is read in the session's.
pub fn timestamptz(text: &str, style: &Style) -> Result<i64> {
    if let Some((local, east)) = iso::timestamp(text) {
        let east = east.unwrap_or_else(|| Zone::new(style.time_zone).offset_of_local(local.div_euclid(SECOND)));
        return shifted(local, east).ok_or_else(|| stamp_range(text));
    }
    let read = stamp(text, "timestamp with time zone", style)?;
    match read.meant {
        Meant::Infinity => Ok(i64::MAX),
        Meant::MinusInfinity => Ok(i64::MIN),
        Meant::Epoch => Ok(0),
        Meant::Fields => read.micros().and_then(|m| shifted(m, read.east)).ok_or_else(|| stamp_range(text)),
    }
}

/// From a clock time to the instant, both in microseconds since 1970.
fn shifted(local: i64, east: i64) -> Option<i64> {
    local.checked_sub(east * SECOND).filter(|micros| calendar::is_finite_timestamp(*micros))
}

fn stamp(text: &str, name: &str, style: &Style) -> Result<Decoded> {
    decode::date_time(text, STAMP_LENGTH_MAX, style).map_err(|fault| fault.error(text, name))
}

/// Microseconds of the day; date and zone in the text are ignored.
pub fn time(text: &str, style: &Style) -> Result<i64> {
    let read = decode::time_only(text, DATE_LENGTH_MAX, style).map_err(|fault| fault.error(text, "time"))?;
    Ok(read.of_day())
}

/// Microseconds of the day, seconds west of Greenwich.
pub fn timetz(text: &str, style: &Style) -> Result<(i64, i32)> {
    let name = "time with time zone";
    let read = decode::time_only(text, DATE_LENGTH_MAX, style).map_err(|fault| fault.error(text, name))?;
    let west = i32::try_from(-read.east).map_err(|_| Fault::Displacement.error(text, name))?;
    Ok((read.of_day(), west))
}

/// The day of a clock time in the session's zone, and its microseconds.
fn local_now(style: &Style) -> (i64, i64, i64) {
    let east = calendar::zone::offset_at(style.time_zone, style.now.div_euclid(SECOND));
    let local = style.now.saturating_add(east * SECOND);
    (local.div_euclid(DAY), local.rem_euclid(DAY), east)
}

fn stamp_range(text: &str) -> Error {
    range(format!("timestamp out of range: \"{text}\""))
}

fn range(message: String) -> Error {
    Error::new(Kind::DateRange, message)
}
