//! Dates and times out: the proleptic Gregorian calendar over PostgreSQL's whole range, time zones, and the text of
//! dates, timestamps, times and intervals (DateStyle ISO, IntervalStyle postgres). It reads no text.

use std::cell::Cell;

use bytes::BytesMut;
use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;

use crate::error::{Error, Kind, Result};

pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;
/// 2000-01-01 in days since 1970-01-01: where PostgreSQL counts from.
pub(crate) const EPOCH_DAYS: i32 = 10_957;
pub(crate) const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * DAY;
/// PostgreSQL's first day, 4714-11-24 BC, and the day after its last, in days since 1970.
pub(crate) const FIRST_DAY: i32 = -2_440_588;
pub(crate) const END_DAY: i32 = 2_145_042_906;
/// The first timestamp, in microseconds since 1970. The end of the range is the end of i64, of which the extremes are
/// the infinities.
pub(crate) const FIRST_MICROS: i64 = FIRST_DAY as i64 * DAY;

/// chrono-tz writes its rules out to 2100; a later year is taken for one of these with the same days and weekdays.
const RULES_END: i64 = 4_102_444_800;
const RULES_YEARS: std::ops::Range<i64> = 2060..2100;
/// Zones began after this; it keeps instants inside chrono's range.
const RULES_BEGIN: i64 = -10_000_000_000;

/// Year (astronomical: 0 is 1 BC), month and day of a day counted from 1970-01-01.
pub(crate) fn civil(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month as u32, day as u32)
}

/// The inverse of [`civil`]; the day need not exist in the month.
pub(crate) fn days_of(year: i64, month: u32, day: u32) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month = i64::from(if month > 2 { month - 3 } else { month + 9 });
    let of_year = (153 * month + 2) / 5 + i64::from(day) - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

pub(crate) fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// A zone with the last answer kept: values of a column lie close together more often than not.
pub(crate) struct Zone {
    tz: Tz,
    /// An hour, counted since 1970, through which the offset does not change, and that offset.
    hour: Cell<(i64, i64)>,
}

impl Zone {
    pub(crate) fn new(tz: Tz) -> Self {
        Self { tz, hour: Cell::new((i64::MIN, 0)) }
    }

    /// Seconds east of Greenwich at an instant, in seconds since 1970.
    fn offset(&self, seconds: i64) -> i64 {
        if self.tz == Tz::UTC {
            return 0;
        }
        let hour = seconds.div_euclid(3600);
        let (known, offset) = self.hour.get();
        if known == hour {
            return offset;
        }
        let (first, last) = (offset_at(self.tz, hour * 3600), offset_at(self.tz, hour * 3600 + 3599));
        if first != last {
            return offset_at(self.tz, seconds);
        }
        self.hour.set((hour, first));
        first
    }
}

/// Seconds east of Greenwich at an instant, in seconds since 1970.
pub(crate) fn offset_at(tz: Tz, seconds: i64) -> i64 {
    let seconds = if seconds < RULES_END { seconds.max(RULES_BEGIN) } else { as_of_this_century(seconds) };
    let utc = DateTime::from_timestamp(seconds, 0).unwrap_or_default().naive_utc();
    i64::from(tz.offset_from_utc_datetime(&utc).fix().local_minus_utc())
}

fn as_of_this_century(seconds: i64) -> i64 {
    let year = civil(seconds.div_euclid(86_400)).0;
    let (begin, next) = (days_of(year, 1, 1), days_of(year + 1, 1, 1));
    let alike = |other: &i64| {
        let first = days_of(*other, 1, 1);
        first.rem_euclid(7) == begin.rem_euclid(7) && days_of(*other + 1, 1, 1) - first == next - begin
    };
    let twin = RULES_YEARS.clone().find(alike).expect("forty years hold all fourteen calendars");
    seconds - (begin - days_of(twin, 1, 1)) * 86_400
}

/// Seconds east of Greenwich for a clock time, given as if it were UTC. A time that a change skips is read by the offset
/// before it, one that occurs twice by the offset after: PostgreSQL's choice.
pub(crate) fn offset_of_local(tz: Tz, local: i64) -> i64 {
    // No offset and no change of one exceeds a day, so these stand before and after any change near this time.
    let (before, after) = (offset_at(tz, local - 86_400), offset_at(tz, local + 86_400));
    let fits = |offset: i64| offset_at(tz, local - offset) == offset;
    match (fits(before), fits(after)) {
        (_, true) => after,
        (true, false) => before,
        (false, false) => before,
    }
}

pub(crate) fn date(days: i32, out: &mut BytesMut) -> Result<()> {
    if let Some(word) = infinite(days == i32::MAX, days == i32::MIN) {
        out.extend_from_slice(word);
        return Ok(());
    }
    if !(FIRST_DAY..END_DAY).contains(&days) {
        return Err(Error::new(Kind::DateRange, "date out of range"));
    }
    let mut line = Line::default();
    let bc = line.date(i64::from(days));
    line.era(bc);
    line.flush(out);
    Ok(())
}

/// The binary form of a date; the infinities are the same numbers on both sides.
pub(crate) fn days_since_2000(days: i32) -> Result<i32> {
    if days == i32::MAX || days == i32::MIN {
        return Ok(days);
    }
    if !(FIRST_DAY..END_DAY).contains(&days) {
        return Err(Error::new(Kind::DateRange, "date out of range"));
    }
    Ok(days - EPOCH_DAYS)
}

/// `zone`: none for a timestamp without.
pub(crate) fn timestamp(micros: i64, zone: Option<&Zone>, out: &mut BytesMut) -> Result<()> {
    if let Some(word) = infinite(micros == i64::MAX, micros == i64::MIN) {
        out.extend_from_slice(word);
        return Ok(());
    }
    check_timestamp(micros)?;
    let offset = zone.map(|zone| zone.offset(micros.div_euclid(SECOND)));
    // Split before the offset is added: near the end of the range the sum would not fit.
    let (mut days, mut of_day) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
    of_day += offset.unwrap_or(0) * SECOND;
    days += of_day.div_euclid(DAY);
    of_day = of_day.rem_euclid(DAY);
    let mut line = Line::default();
    let bc = line.date(days);
    line.byte(b' ');
    line.time(of_day);
    if let Some(offset) = offset {
        line.offset(offset);
    }
    line.era(bc);
    line.flush(out);
    Ok(())
}

/// 22008 for what PostgreSQL's timestamps do not reach; the infinities pass.
pub(crate) fn check_timestamp(micros: i64) -> Result<()> {
    if micros < FIRST_MICROS && micros != i64::MIN {
        return Err(Error::new(Kind::DateRange, "timestamp out of range"));
    }
    Ok(())
}

/// Microseconds of the day; `24:00:00` exists.
pub(crate) fn time(micros: i64, out: &mut BytesMut) -> Result<()> {
    let mut line = Line::default();
    line.time(checked_time(micros)?);
    line.flush(out);
    Ok(())
}

/// `west`: seconds west of Greenwich, as on the wire.
pub(crate) fn timetz(micros: i64, west: i32, out: &mut BytesMut) -> Result<()> {
    let mut line = Line::default();
    line.time(checked_time(micros)?);
    line.offset(-i64::from(west));
    line.flush(out);
    Ok(())
}

pub(crate) fn checked_time(micros: i64) -> Result<i64> {
    if (0..=DAY).contains(&micros) {
        return Ok(micros);
    }
    Err(Error::new(Kind::DateRange, "time out of range"))
}

/// IntervalStyle postgres. After a negative field a positive one shows its sign.
pub(crate) fn interval(months: i32, days: i32, micros: i64, out: &mut BytesMut) {
    let mut line = Line::default();
    let mut negative_before = false;
    for (value, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if value == 0 {
            continue;
        }
        if line.len > 0 {
            line.byte(b' ');
        }
        if negative_before && value > 0 {
            line.byte(b'+');
        }
        line.number(i64::from(value));
        line.byte(b' ');
        line.text(unit.as_bytes());
        if value != 1 {
            line.byte(b's');
        }
        negative_before = value < 0;
    }
    if micros != 0 || line.len == 0 {
        if line.len > 0 {
            line.byte(b' ');
        }
        if micros < 0 {
            line.byte(b'-');
        } else if negative_before {
            line.byte(b'+');
        }
        line.clock(micros.unsigned_abs());
    }
    line.flush(out);
}

fn infinite(later: bool, earlier: bool) -> Option<&'static [u8]> {
    if later {
        Some(b"infinity")
    } else if earlier {
        Some(b"-infinity")
    } else {
        None
    }
}

/// One value's text on the stack, appended in one piece. The longest is an interval: `-178956970 years -11 mons
/// -2147483648 days -2562047788:00:54.775807`, 63 bytes.
struct Line {
    bytes: [u8; 80],
    len: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self { bytes: [0; 80], len: 0 }
    }
}

impl Line {
    fn byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn text(&mut self, text: &[u8]) {
        self.bytes[self.len..self.len + text.len()].copy_from_slice(text);
        self.len += text.len();
    }

    fn number(&mut self, number: i64) {
        self.text(itoa::Buffer::new().format(number).as_bytes());
    }

    fn two(&mut self, number: u64) {
        self.byte(b'0' + (number / 10 % 10) as u8);
        self.byte(b'0' + (number % 10) as u8);
    }

    /// Year, month, day; whether the year is before Christ, which is told at the very end.
    fn date(&mut self, days: i64) -> bool {
        let (year, month, day) = civil(days);
        let bc = year <= 0;
        let shown = if bc { 1 - year } else { year };
        if shown < 10_000 {
            self.two(shown as u64 / 100);
            self.two(shown as u64 % 100);
        } else {
            self.number(shown);
        }
        self.byte(b'-');
        self.two(u64::from(month));
        self.byte(b'-');
        self.two(u64::from(day));
        bc
    }

    fn era(&mut self, bc: bool) {
        if bc {
            self.text(b" BC");
        }
    }

    fn time(&mut self, of_day: i64) {
        self.clock(of_day.unsigned_abs());
    }

    /// Hours (two digits or more), minutes, seconds, and the fraction without zeros at its end.
    fn clock(&mut self, micros: u64) {
        let (seconds, mut fraction) = (micros / SECOND as u64, micros % SECOND as u64);
        let hours = seconds / 3600;
        if hours < 100 {
            self.two(hours);
        } else {
            self.number(hours as i64);
        }
        self.byte(b':');
        self.two(seconds / 60 % 60);
        self.byte(b':');
        self.two(seconds % 60);
        if fraction == 0 {
            return;
        }
        self.byte(b'.');
        let mut unit = 100_000;
        while fraction > 0 {
            self.byte(b'0' + (fraction / unit) as u8);
            fraction %= unit;
            unit /= 10;
        }
    }

    /// Hours always, minutes and seconds where there are any.
    fn offset(&mut self, east: i64) {
        self.byte(if east < 0 { b'-' } else { b'+' });
        let seconds = east.unsigned_abs();
        if seconds < 360_000 {
            self.two(seconds / 3600);
        } else {
            self.number((seconds / 3600) as i64);
        }
        if !seconds.is_multiple_of(3600) {
            self.byte(b':');
            self.two(seconds / 60 % 60);
        }
        if !seconds.is_multiple_of(60) {
            self.byte(b':');
            self.two(seconds % 60);
        }
    }

    fn flush(&self, out: &mut BytesMut) {
        out.extend_from_slice(&self.bytes[..self.len]);
    }
}
