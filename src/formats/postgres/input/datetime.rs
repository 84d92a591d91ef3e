//! Dates, timestamps and times of day from text, in the many spellings PostgreSQL takes (DateStyle ISO, MDY). Left out:
//! days of the year, POSIX zone specifications and 'J' with a fraction. It knows the session's zone and the clock.

mod fields;

use chrono::Utc;

use super::super::Style;
use super::super::calendar::{self, DAY, END_DAY, FIRST_DAY, SECOND};
use super::zone::ZoneName;
use crate::error::{Error, Kind, Result};
use fields::read;

/// Days since 1970; the infinities are the extremes.
pub fn date(text: &str, style: &Style) -> Result<i32> {
    let read = read(text, "date")?;
    let days = match read.special {
        Some(Special::Infinity) => return Ok(i32::MAX),
        Some(Special::MinusInfinity) => return Ok(i32::MIN),
        Some(special) => local_moment(special, style).div_euclid(DAY),
        None => read.days.ok_or_else(|| bad_format(text, "date"))?,
    };
    let in_range = i32::try_from(days).ok().filter(|days| (FIRST_DAY..END_DAY).contains(days));
    in_range.ok_or_else(|| range(format!("date out of range: \"{text}\"")))
}

/// Microseconds since 1970 by the clock on the wall; a zone in the text is ignored, as in PostgreSQL.
pub fn timestamp(text: &str, style: &Style) -> Result<i64> {
    let read = read(text, "timestamp")?;
    match read.special {
        Some(Special::Infinity) => Ok(i64::MAX),
        Some(Special::MinusInfinity) => Ok(i64::MIN),
        Some(special) => {
            let moment = local_moment(special, style);
            Ok(read.time.map_or(moment, |time| moment.div_euclid(DAY) * DAY + time))
        }
        None => in_range(read.local(text, "timestamp")?, text),
    }
}

/// Microseconds since 1970 in UTC; without a zone of its own the text is read in the session's.
pub fn timestamptz(text: &str, style: &Style) -> Result<i64> {
    let name = "timestamp with time zone";
    let read = read(text, name)?;
    let local = match read.special {
        Some(Special::Infinity) => return Ok(i64::MAX),
        Some(Special::MinusInfinity) => return Ok(i64::MIN),
        Some(Special::Now) => return Ok(Utc::now().timestamp_micros()),
        Some(Special::Epoch) => return Ok(0),
        Some(special) => local_moment(special, style).div_euclid(DAY) * DAY + read.time.unwrap_or(0),
        None => read.local(text, name)?,
    };
    let zone = read.zone.unwrap_or(ZoneName::Named(style.time_zone));
    let offset = zone.offset_of_local(local.div_euclid(SECOND)) * SECOND;
    in_range(local.saturating_sub(offset), text)
}

/// What saturated is out of range too: the extremes are the infinities.
fn in_range(micros: i64, text: &str) -> Result<i64> {
    let finite = micros != i64::MAX && micros != i64::MIN && calendar::check_timestamp(micros).is_ok();
    if finite { Ok(micros) } else { Err(range(format!("timestamp out of range: \"{text}\""))) }
}

/// Microseconds of the day; date and zone in the text are ignored.
pub fn time(text: &str, style: &Style) -> Result<i64> {
    let read = read(text, "time")?;
    match read.special {
        Some(Special::Now) => Ok(local_moment(Special::Now, style).rem_euclid(DAY)),
        Some(_) => Err(bad_format(text, "time")),
        None => read.time.ok_or_else(|| bad_format(text, "time")),
    }
}

/// Microseconds of the day, seconds west of Greenwich.
pub fn timetz(text: &str, style: &Style) -> Result<(i64, i32)> {
    let name = "time with time zone";
    let read = read(text, name)?;
    let now = local_moment(Special::Now, style);
    let time = match read.special {
        Some(Special::Now) => now.rem_euclid(DAY),
        Some(_) => return Err(bad_format(text, name)),
        None => read.time.ok_or_else(|| bad_format(text, name))?,
    };
    let zone = read.zone.unwrap_or(ZoneName::Named(style.time_zone));
    // A named zone has the offset of the date, or of today.
    let day = read.days.filter(|days| days.abs() <= i64::from(END_DAY)).unwrap_or(now.div_euclid(DAY));
    let east = zone.offset_of_local(day * 86_400 + time / SECOND);
    let west = i32::try_from(-east).map_err(|_| zone_range(text))?;
    Ok((time, west))
}

/// Moments by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Special {
    Infinity,
    MinusInfinity,
    Now,
    Epoch,
    /// Days from today.
    Day(i64),
}

/// The clock time in the session's zone, as if it were UTC.
fn local_moment(special: Special, style: &Style) -> i64 {
    let now = Utc::now();
    let local = now.timestamp_micros() + calendar::offset_at(style.time_zone, now.timestamp()) * SECOND;
    match special {
        Special::Day(days) => (local.div_euclid(DAY) + days) * DAY,
        Special::Epoch => 0,
        Special::Now | Special::Infinity | Special::MinusInfinity => local,
    }
}

/// What a text says.
#[derive(Debug, Default)]
struct Read {
    special: Option<Special>,
    days: Option<i64>,
    time: Option<i64>,
    zone: Option<ZoneName>,
}

impl Read {
    /// The clock time as if it were UTC, not yet held against the range.
    fn local(&self, text: &str, name: &str) -> Result<i64> {
        let days = self.days.ok_or_else(|| bad_format(text, name))?;
        Ok(days.saturating_mul(DAY).saturating_add(self.time.unwrap_or(0)))
    }
}

fn bad_format(text: &str, name: &str) -> Error {
    Error::new(Kind::InvalidDate, format!("invalid input syntax for type {name}: \"{text}\""))
}

fn zone_range(text: &str) -> Error {
    Error::new(Kind::ZoneRange, format!("time zone displacement out of range: \"{text}\""))
}

fn range(message: String) -> Error {
    Error::new(Kind::DateRange, message)
}
