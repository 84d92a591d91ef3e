//! make_date, make_time, make_timestamp, make_timestamptz, make_interval, and to_timestamp of seconds.

use super::arithmetic::session;
use super::at_zone::unknown;
use super::{Stamped, cast, out_of_range};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::calendar::{
    self, DAY, END_DAY, END_STAMP_DAY, FIRST_DAY, HOUR, MINUTE, SECOND, days_in_month, days_of, is_valid_julian, zone,
};
use crate::formats::postgres::input::datetime::{NotOffset, numeric_offset};
use crate::sql::kernel::{Call, Date, Interval, Kernel, Stamp, Time};

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("make_date", |c| c.three(|y: i32, m: i32, d: i32| date(y, m, d).map(Date))),
    ("make_time", |c| c.three(|h: i32, m: i32, s: f64| time(h, m, s).map(Time))),
    ("make_timestamp", |c| {
        let read = Parts::of(c)?;
        c.rows_of(|row| read.stamp(row).transpose().map(|stamp| stamp.map(Stamp)))
    }),
    ("make_timestamptz", |c| {
        let (read, zone) = (Parts::of(c)?, session(c));
        c.rows_of(|row| {
            let Some(local) = read.stamp(row).transpose()? else { return Ok(None) };
            cast::to_utc(local, &zone).map(|stamp| Some(Stamp(stamp)))
        })
    }),
    ("make_timestamptz_at_timezone", |c| {
        let (read, zones) = (Parts::of(c)?, c.read::<&str>(6)?);
        c.rows_of(|row| {
            let Some(zone) = zones.get(row) else { return Ok(None) };
            let Some(local) = read.stamp(row).transpose()? else { return Ok(None) };
            let east = offset(zone, local)?;
            Stamped { east, ..Stamped::local(local, None) }.at_offset().map(|stamp| Some(Stamp(stamp)))
        })
    }),
    ("make_interval", |c| {
        let ints = [c.read::<i32>(0)?, c.read(1)?, c.read(2)?, c.read(3)?, c.read(4)?, c.read(5)?];
        let seconds = c.read::<f64>(6)?;
        c.rows_of(|row| {
            let [years, months, weeks, days, hours, minutes] = ints.each_ref().map(|int| int.get(row));
            let whole = (years.zip(months), weeks.zip(days), hours.zip(minutes));
            let (Some(months), Some(days), Some(clock)) = whole else { return Ok(None) };
            seconds.get(row).map(|seconds| interval(months, days, clock, seconds)).transpose()
        })
    }),
    ("float8_timestamptz", |c| c.one(|seconds: f64| of_seconds(seconds).map(Stamp))),
];

fn range(text: String) -> Error {
    Error::new(Kind::DateRange, text)
}

/// `%g` of PostgreSQL's printf.
pub(super) fn general(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() {
            "NaN".into()
        } else if value > 0.0 {
            "Infinity".into()
        } else {
            "-Infinity".into()
        };
    }
    let trimmed = |digits: &str| match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => digits.to_owned(),
    };
    let scientific = format!("{value:.5e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    match usize::try_from(5 - exponent) {
        Ok(decimals) if exponent >= -4 => trimmed(&format!("{value:.decimals$}")),
        _ => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{}e{sign}{:02}", trimmed(mantissa), exponent.unsigned_abs())
        }
    }
}

/// `%02g`.
fn padded(value: f64) -> String {
    format!("{:0>2}", general(value))
}

/// Days since 1970. Negative years are before Christ; errors show them as they are counted inside.
fn date(year: i32, month: i32, day: i32) -> Result<i32> {
    let shown = if year < 0 && year != i32::MIN { year + 1 } else { year };
    let days = civil_days(year, month, day, shown)?;
    let in_range = i32::try_from(days).ok().filter(|days| (FIRST_DAY..END_DAY).contains(days));
    in_range.ok_or_else(|| range(format!("date out of range: {shown}-{month:02}-{day:02}")))
}

/// The day of a year as people count them, within the calendar. `shown` is the year in errors.
fn civil_days(year: i32, month: i32, day: i32, shown: i32) -> Result<i64> {
    // 1 BC is astronomers' year 0
    let astronomical = if year < 0 { i64::from(year) + 1 } else { i64::from(year) };
    let bad = || range(format!("date field value out of range: {shown}-{month:02}-{day:02}"));
    let (Ok(m), Ok(d)) = (u32::try_from(month), u32::try_from(day)) else { return Err(bad()) };
    let exists = year != 0 && year != i32::MIN && (1..=12).contains(&m) && d > 0 && d <= days_in_month(astronomical, m);
    if !exists {
        return Err(bad());
    }
    if !is_valid_julian(astronomical, i64::from(month)) {
        return Err(range(format!("date out of range: {shown}-{month:02}-{day:02}")));
    }
    Ok(days_of(astronomical, m, d))
}

/// Microseconds of the day, up to 24:00.
fn time(hour: i32, minute: i32, second: f64) -> Result<i64> {
    let micros = (second * 1e6).round_ties_even();
    let parts = (0..=24).contains(&hour) && (0..60).contains(&minute) && (0.0..=6e7).contains(&micros);
    let sum = || i64::from(hour) * HOUR + i64::from(minute) * MINUTE + micros as i64;
    match parts.then(sum) {
        Some(sum) if sum <= DAY => Ok(sum),
        _ => Err(range(format!("time field value out of range: {hour}:{minute:02}:{}", padded(second)))),
    }
}

/// The six arguments of a timestamp.
struct Parts<'a> {
    ints: [crate::sql::kernel::Values<'a, i32>; 5],
    seconds: crate::sql::kernel::Values<'a, f64>,
}

impl<'a> Parts<'a> {
    fn of(call: &Call<'a>) -> Result<Self> {
        let ints = [call.read(0)?, call.read(1)?, call.read(2)?, call.read(3)?, call.read(4)?];
        Ok(Self { ints, seconds: call.read(5)? })
    }

    fn stamp(&self, row: usize) -> Option<Result<i64>> {
        let [Some(year), Some(month), Some(day), Some(hour), Some(minute)] =
            self.ints.each_ref().map(|int| int.get(row))
        else {
            return None;
        };
        let second = self.seconds.get(row)?;
        let stamp = || {
            let (days, of_day) = (civil_days(year, month, day, year)?, time(hour, minute, second)?);
            let stamp = Stamped { days, of_day, east: 0 }.at_offset();
            stamp.map_err(|_| {
                let date = format!("{year}-{month:02}-{day:02} {hour}:{minute:02}:{}", padded(second));
                range(format!("timestamp out of range: {date}"))
            })
        };
        Some(stamp())
    }
}

/// Seconds east of Greenwich of a zone's name, or of a signed number, at a clock time.
fn offset(zone: &str, local: i64) -> Result<i64> {
    if zone.starts_with(|c: char| c.is_ascii_digit()) {
        let text = format!("invalid input syntax for type numeric time zone: \"{zone}\"");
        let hint = "Numeric time zones must have \"-\" or \"+\" as first character.";
        return Err(Error::new(Kind::InvalidParameter, text).with_hint(hint));
    }
    match numeric_offset(zone) {
        Ok(east) => Ok(east),
        Err(NotOffset::Range) => {
            Err(Error::new(Kind::InvalidParameter, format!("numeric time zone \"{zone}\" out of range")))
        }
        Err(NotOffset::Format) => {
            let named = zone::by_name(zone).ok_or_else(|| unknown(zone))?;
            Ok(named.offset_of_local(local.div_euclid(SECOND)))
        }
    }
}

/// Whole numbers wrap around, as PostgreSQL 15's do.
fn interval(months: (i32, i32), days: (i32, i32), clock: (i32, i32), seconds: f64) -> Result<Interval> {
    if !seconds.is_finite() {
        return Err(super::interval::out_of_range());
    }
    // A number that no i64 holds becomes the least one.
    let micros = (seconds * 1e6).round_ties_even();
    let held = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&micros);
    let micros = if held { micros as i64 } else { i64::MIN };
    let clock = i64::from(clock.0) * HOUR + i64::from(clock.1) * MINUTE;
    Ok(Interval {
        months: months.0.wrapping_mul(12).wrapping_add(months.1),
        days: days.0.wrapping_mul(7).wrapping_add(days.1),
        micros: clock.wrapping_add(micros),
    })
}

/// to_timestamp(seconds since 1970).
fn of_seconds(seconds: f64) -> Result<i64> {
    if seconds.is_nan() {
        return Err(range("timestamp cannot be NaN".into()));
    }
    if seconds.is_infinite() {
        return Ok(if seconds > 0.0 { i64::MAX } else { i64::MIN });
    }
    let out = || range(format!("timestamp out of range: \"{}\"", general(seconds)));
    let day = 86_400.0;
    if seconds < f64::from(FIRST_DAY) * day || seconds >= f64::from(END_STAMP_DAY) * day {
        return Err(out());
    }
    // By PostgreSQL's epoch, so that the same digits are lost.
    let since_2000 = ((seconds - f64::from(calendar::EPOCH_DAYS) * day) * 1e6).round_ties_even();
    let stamp = (since_2000 as i64).checked_add(calendar::EPOCH_MICROS);
    stamp.filter(|stamp| calendar::is_finite_timestamp(*stamp)).ok_or_else(|| match stamp {
        None => out_of_range(),
        Some(_) => out(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_shown_as_c_s_general_format_does() {
        let rows = [
            (0.0, "0"),
            (0.1, "0.1"),
            (61.5, "61.5"),
            (1e10, "1e+10"),
            (-1e300, "-1e+300"),
            (123_456.7, "123457"),
            (1_234_567.0, "1.23457e+06"),
            (0.000_012_3, "1.23e-05"),
            (999_999.9, "1e+06"),
        ];
        for (value, expected) in rows {
            assert_eq!(general(value), expected);
        }
    }
}
