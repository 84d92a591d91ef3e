//! Dates, times and intervals of records: ISO 8601 as RFC 3339 and Java spell it, and counts. PostgreSQL's ranges hold;
//! what is finer than microseconds is rounded, as PostgreSQL does.

use arrow::datatypes::IntervalMonthDayNano;

use super::decimal;
use super::given::{Given, How, Problem, Unit};
use super::sink::{TOO_LARGE, WRONG_TYPE, integer};
use crate::formats::postgres::{IntervalStyle, calendar, input};

const NO_DATE: Problem = "is not a date as 2024-12-31";
const NO_TIME: Problem = "is not a time of day as 23:59:59";
const NO_CLOCK: Problem = "is not a time as 2024-12-31T23:59:59";
const NO_MOMENT: Problem = "is not a moment as 2024-12-31T23:59:59Z";
const DAY: i64 = 86_400_000_000;

/// What Debezium makes of infinite dates: of rows of its snapshot first, of streamed rows then. None of them is a day that
/// PostgreSQL has.
const INFINITE_DAYS: [(i64, i32); 4] =
    [(-622_191_234, i32::MAX), (2_146_033_979, i32::MAX), (-625_821_272, i32::MIN), (-2_147_472_691, i32::MIN)];

/// Reads from the front.
struct Text<'a>(&'a [u8]);

impl Text<'_> {
    fn take(&mut self, byte: u8) -> bool {
        let there = self.0.first() == Some(&byte);
        if there {
            self.0 = self.0.get(1..).unwrap_or_default();
        }
        there
    }

    /// So many digits.
    fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        let mut value = 0;
        for byte in digits {
            value = value * 10 + i64::from(byte.checked_sub(b'0').filter(|digit| *digit <= 9)?);
        }
        self.0 = rest;
        Some(value)
    }

    /// Days from 1970. The year 0 is 1 BC; more than four digits stand behind a sign.
    fn date(&mut self) -> Option<i64> {
        let (negative, signed) = match self.0.first() {
            Some(b'-') => (true, true),
            Some(b'+') => (false, true),
            _ => (false, false),
        };
        self.0 = self.0.get(usize::from(signed)..)?;
        let length = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
        if !(4..=9).contains(&length) || (length > 4 && !signed) {
            return None;
        }
        let year = self.digits(length)?;
        let year = if negative { -year } else { year };
        let month = self.take(b'-').then(|| self.digits(2)).flatten()?;
        let day = self.take(b'-').then(|| self.digits(2)).flatten()?;
        days_of(year, month, day)
    }

    /// Microseconds of the day.
    fn clock(&mut self) -> Option<i64> {
        let hour = self.digits(2)?;
        let minute = self.take(b':').then(|| self.digits(2)).flatten()?;
        let second = self.take(b':').then(|| self.digits(2)).flatten()?;
        let mut micros = 0;
        if self.take(b'.') {
            let length = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
            if length == 0 {
                return None;
            }
            let (digits, rest) = self.0.split_at_checked(length)?;
            self.0 = rest;
            for place in 0..6 {
                micros = micros * 10 + digits.get(place).map_or(0, |digit| i64::from(digit - b'0'));
            }
            micros += i64::from(digits.get(6).is_some_and(|digit| *digit >= b'5'));
        }
        if hour > 24 || minute > 59 || second > 60 {
            return None;
        }
        let all = ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros;
        (all <= DAY).then_some(all)
    }

    /// Seconds east of Greenwich.
    fn offset(&mut self) -> Option<i64> {
        if self.take(b'Z') || self.take(b'z') {
            return Some(0);
        }
        let east = if self.take(b'+') {
            1
        } else if self.take(b'-') {
            -1
        } else {
            return None;
        };
        let hours = self.digits(2)?;
        let minutes = if self.take(b':') { self.digits(2)? } else { 0 };
        let seconds = if self.take(b':') { self.digits(2)? } else { 0 };
        (hours < 16 && minutes < 60 && seconds < 60).then_some(east * ((hours * 60 + minutes) * 60 + seconds))
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// Of the proleptic Gregorian calendar, after Howard Hinnant's `days_from_civil`.
fn days_of(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

fn infinite(text: &str, connect: bool) -> Option<bool> {
    match text {
        "infinity" if connect => Some(true),
        "-infinity" if connect => Some(false),
        _ => None,
    }
}

pub(super) fn date(text: &str, connect: bool) -> Result<i32, Problem> {
    if let Some(above) = infinite(text, connect) {
        return Ok(if above { i32::MAX } else { i32::MIN });
    }
    let mut rest = Text(text.as_bytes());
    let days = rest.date().ok_or(NO_DATE)?;
    if connect {
        rest.take(b'Z');
    }
    rest.end().ok_or(NO_DATE)?;
    day(days)
}

fn day(days: i64) -> Result<i32, Problem> {
    let day = i32::try_from(days).map_err(|_| TOO_LARGE)?;
    if (calendar::FIRST_DAY..calendar::END_DAY).contains(&day) { Ok(day) } else { Err(TOO_LARGE) }
}

pub(super) fn days(count: i64, how: &How) -> Result<i32, Problem> {
    match how.unit {
        Some(Unit::Days) => match INFINITE_DAYS.iter().find(|(written, _)| how.connect && *written == count) {
            Some((_, infinite)) => Ok(*infinite),
            None => day(count),
        },
        Some(unit) => day(unit.micros(count).ok_or(TOO_LARGE)?.div_euclid(DAY)),
        None => Err(WRONG_TYPE),
    }
}

pub(super) fn time(text: &str, connect: bool) -> Result<i64, Problem> {
    let mut rest = Text(text.as_bytes());
    let micros = rest.clock().ok_or(NO_TIME)?;
    if connect {
        rest.take(b'Z');
    }
    rest.end().map(|()| micros).ok_or(NO_TIME)
}

pub(super) fn time_counted(count: i64, how: &How) -> Result<i64, Problem> {
    let micros = how.unit.ok_or(WRONG_TYPE)?.micros(count).ok_or(TOO_LARGE)?;
    if (0..=DAY).contains(&micros) { Ok(micros) } else { Err(TOO_LARGE) }
}

/// Twelve bytes, as the type lies in Arrow.
pub(super) fn timetz(text: &str) -> Result<[u8; 12], Problem> {
    const NO_TIMETZ: Problem = "is not a time of day with its zone as 23:59:59+01:00";
    let mut rest = Text(text.as_bytes());
    let micros = rest.clock().ok_or(NO_TIMETZ)?;
    let east = rest.offset().and_then(|east| i32::try_from(east).ok()).ok_or(NO_TIMETZ)?;
    rest.end().ok_or(NO_TIMETZ)?;
    let mut bytes = [0; 12];
    let all = micros.to_be_bytes().into_iter().chain((-east).to_be_bytes());
    bytes.iter_mut().zip(all).for_each(|(byte, value)| *byte = value);
    Ok(bytes)
}

/// Date and time without a zone; Debezium's `isostring` puts a `Z` behind it that means nothing.
pub(super) fn timestamp(text: &str, connect: bool) -> Result<i64, Problem> {
    if let Some(above) = infinite(text, connect) {
        return Ok(if above { i64::MAX } else { i64::MIN });
    }
    let mut rest = Text(text.as_bytes());
    let local = local(&mut rest).ok_or(NO_CLOCK)?;
    if connect {
        rest.take(b'Z');
    }
    rest.end().ok_or(NO_CLOCK)?;
    micros(local)
}

/// With its zone.
pub(super) fn timestamptz(text: &str, connect: bool) -> Result<i64, Problem> {
    if let Some(above) = infinite(text, connect) {
        return Ok(if above { i64::MAX } else { i64::MIN });
    }
    let mut rest = Text(text.as_bytes());
    let local = local(&mut rest).ok_or(NO_MOMENT)?;
    let east = rest.offset().ok_or(NO_MOMENT)?;
    rest.end().ok_or(NO_MOMENT)?;
    micros(local - i128::from(east) * 1_000_000)
}

fn local(rest: &mut Text<'_>) -> Option<i128> {
    let days = rest.date()?;
    if !(rest.take(b'T') || rest.take(b' ') || rest.take(b't')) {
        return None;
    }
    Some(i128::from(days) * i128::from(DAY) + i128::from(rest.clock()?))
}

fn micros(value: i128) -> Result<i64, Problem> {
    let micros = i64::try_from(value).map_err(|_| TOO_LARGE)?;
    if (calendar::FIRST_MICROS..i64::MAX).contains(&micros) { Ok(micros) } else { Err(TOO_LARGE) }
}

/// A moment by its distance from 1970. Connect's least and greatest numbers are the infinities.
pub(super) fn counted(given: Given<'_>, how: &How) -> Result<i64, Problem> {
    let unit = how.unit.ok_or(WRONG_TYPE)?;
    let count = match (given, unit) {
        (Given::Text(_), _) => return Err(WRONG_TYPE),
        (Given::Digits(text), Unit::Seconds | Unit::Millis | Unit::Micros) if !plain(text) => {
            let scale = match unit {
                Unit::Seconds => 6,
                Unit::Millis => 3,
                _ => 0,
            };
            return micros(decimal::digits(text, scale)?);
        }
        (given, _) => integer(given)?,
    };
    if how.connect && unit == Unit::Micros && (count == i64::MIN || count == i64::MAX) {
        return Ok(count);
    }
    micros(unit.micros(count).ok_or(TOO_LARGE)?.into())
}

fn plain(digits: &str) -> bool {
    digits.bytes().all(|b| b.is_ascii_digit() || b == b'-')
}

/// In any form that PostgreSQL reads, ISO 8601's among them.
pub(super) fn interval(text: &str) -> Result<IntervalMonthDayNano, Problem> {
    input::interval(text, IntervalStyle::Postgres).map_err(|_| "is not an interval")
}

pub(super) fn interval_counted(count: i64, how: &How) -> Result<IntervalMonthDayNano, Problem> {
    let micros = how.unit.ok_or(WRONG_TYPE)?.micros(count).ok_or(TOO_LARGE)?;
    input::month_day_micro(0, 0, micros).map_err(|_| TOO_LARGE)
}
