//! Sums and differences of moments: `timestamp + interval` with the months' ends, `timestamptz` by the session's clock,
//! dates and days, times of day (timestamp.c, date.c).

use arrow::array::ArrayRef;
use arrow::datatypes::{
    Date32Type, Int32Type, IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimestampMicrosecondType,
};

use super::{DATE, Stamped, date_stamp, out_of_range, vector};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::calendar::{
    self, DAY, END_STAMP_DAY, FIRST_DAY, SECOND, Zone, checked_date, civil, days_in_month, days_of,
};
use crate::sql::kernel::{Call, Date, Interval, Kernel, Stamp, Time};

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("timestamp_pl_interval", |c| stamp_and_interval(c, None, 1)),
    ("timestamp_mi_interval", |c| stamp_and_interval(c, None, -1)),
    ("timestamptz_pl_interval", |c| stamp_and_interval(c, Some(&session(c)), 1)),
    ("timestamptz_mi_interval", |c| stamp_and_interval(c, Some(&session(c)), -1)),
    ("interval_pl_timestamp/2548", |c| swapped(c, "timestamp_pl_interval")),
    ("interval_pl_timestamptz/2549", |c| swapped(c, "timestamptz_pl_interval")),
    ("interval_pl_date/2546", |c| swapped(c, "date_pl_interval")),
    ("interval_pl_time/1848", |c| swapped(c, "time_pl_interval")),
    ("interval_pl_timetz/2547", |c| swapped(c, "timetz_pl_interval")),
    ("integer_pl_date/2550", |c| swapped(c, "date_pli")),
    ("timedate_pl/1296", |c| swapped(c, "datetime_timestamp")),
    ("timetzdate_pl/1298", |c| swapped(c, "datetimetz_timestamptz")),
    ("date_pl_interval", |c| date_and_interval(c, 1)),
    ("date_mi_interval", |c| date_and_interval(c, -1)),
    ("date_pli", |c| date_and_days(c, 1)),
    ("date_mii", |c| date_and_days(c, -1)),
    ("date_mi", |c| vector::two::<Date32Type, Date32Type, Int32Type>(c, date_difference)),
    ("timestamp_mi", |c| c.two(|a: Stamp, b: Stamp| stamp_difference(a.0, b.0))),
    ("time_mi_time", |c| c.two(|a: Time, b: Time| Ok(Interval { months: 0, days: 0, micros: a.0 - b.0 }))),
    ("time_pl_interval", |c| time_and_interval(c, 1)),
    ("time_mi_interval", |c| time_and_interval(c, -1)),
    ("timetz_pl_interval", |c| c.two(|a: [u8; 12], b: Interval| Ok(timetz_add(a, b.micros)))),
    ("timetz_mi_interval", |c| c.two(|a: [u8; 12], b: Interval| Ok(timetz_add(a, -(b.micros % DAY))))),
    ("datetime_timestamp", |c| c.two(|date: Date, time: Time| date_time(date, time).map(Stamp))),
    ("datetimetz_timestamptz", |c| c.two(|date: Date, time: [u8; 12]| date_timetz(date, time).map(Stamp))),
    ("timestamptz/1176", |c| {
        let zone = session(c);
        c.two(|date: Date, time: Time| super::cast::to_utc(date_time(date, time)?, &zone).map(Stamp))
    }),
];

pub(super) fn session(call: &Call<'_>) -> Zone {
    Zone::new(call.env.time_zone)
}

/// `b + a` by the kernel of `a + b`.
fn swapped(call: &Call<'_>, source: &str) -> Result<ArrayRef> {
    let (args, types) = ([call.arg(1)?.clone(), call.arg(0)?.clone()], call.types.iter().rev().copied());
    let types: Vec<_> = types.collect();
    let kernel = super::super::kernel(source).ok_or_else(|| Error::internal(format!("no kernel {source}")))?;
    kernel(&Call { args: &args, types: &types, ..*call })
}

/// `sign` is 1 or -1.
fn stamp_and_interval(call: &Call<'_>, zone: Option<&Zone>, sign: i32) -> Result<ArrayRef> {
    type Stamps = TimestampMicrosecondType;
    vector::two::<Stamps, IntervalMonthDayNanoType, Stamps>(call, |stamp, span| add_signed(stamp, span, sign, zone))
}

fn add_signed(stamp: i64, span: IntervalMonthDayNano, sign: i32, zone: Option<&Zone>) -> Result<i64> {
    let span = Interval::of(span);
    if sign > 0 { add(stamp, span, zone) } else { add(stamp, negated(span)?, zone) }
}

fn negated(span: Interval) -> Result<Interval> {
    let negated = || {
        let (months, days) = (span.months.checked_neg()?, span.days.checked_neg()?);
        Some(Interval { months, days, micros: span.micros.checked_neg()? })
    };
    negated().ok_or_else(out_of_range)
}

/// A timestamp and an interval: months first (to the last day of a shorter month), then days, then time. With a zone the
/// first two move by its clock. The infinities stay.
pub(crate) fn add(stamp: i64, span: Interval, zone: Option<&Zone>) -> Result<i64> {
    if stamp == i64::MAX || stamp == i64::MIN {
        return Ok(stamp);
    }
    let mut stamp = stamp;
    if span.months != 0 {
        stamp = by_clock(stamp, zone, |days| {
            let (year, month, day) = civil(days);
            let months = year * 12 + i64::from(month) - 1 + i64::from(span.months);
            let (year, month) = (months.div_euclid(12), months.rem_euclid(12) as u32 + 1);
            days_of(year, month, day.min(days_in_month(year, month)))
        })?;
    }
    if span.days != 0 {
        stamp = by_clock(stamp, zone, |days| days + i64::from(span.days))?;
    }
    stamp.checked_add(span.micros).filter(|stamp| calendar::is_finite_timestamp(*stamp)).ok_or_else(out_of_range)
}

/// Another day at the same time of day.
fn by_clock(stamp: i64, zone: Option<&Zone>, day: impl Fn(i64) -> i64) -> Result<i64> {
    let local = Stamped::local(stamp, zone);
    let days = day(local.days);
    if !(i64::from(FIRST_DAY) - 1..=i64::from(END_STAMP_DAY)).contains(&days) {
        return Err(out_of_range());
    }
    Stamped { days, ..local }.instant(zone)
}

fn date_and_interval(call: &Call<'_>, sign: i32) -> Result<ArrayRef> {
    vector::two::<Date32Type, IntervalMonthDayNanoType, TimestampMicrosecondType>(call, |date, span| {
        add_signed(date_stamp(date)?, span, sign, None)
    })
}

fn date_and_days(call: &Call<'_>, sign: i64) -> Result<ArrayRef> {
    vector::two::<Date32Type, Int32Type, Date32Type>(call, |date, days| match date {
        i32::MIN | i32::MAX => Ok(date),
        _ => checked_date(i64::from(date) + sign * i64::from(days)),
    })
}

fn date_difference(a: i32, b: i32) -> Result<i32> {
    let infinite = |date: i32| date == i32::MIN || date == i32::MAX;
    if infinite(a) || infinite(b) {
        return Err(Error::new(Kind::DateRange, "cannot subtract infinite dates"));
    }
    a.checked_sub(b).ok_or_else(|| Error::new(Kind::DateRange, DATE))
}

fn stamp_difference(a: i64, b: i64) -> Result<Interval> {
    let infinite = |stamp: i64| stamp == i64::MIN || stamp == i64::MAX;
    if infinite(a) || infinite(b) {
        return Err(Error::new(Kind::DateRange, "cannot subtract infinite timestamps"));
    }
    let micros = a.checked_sub(b).ok_or_else(super::interval::out_of_range)?;
    let days = i32::try_from(micros / DAY).map_err(|_| super::interval::out_of_range())?;
    Ok(Interval { months: 0, days, micros: micros % DAY })
}

fn time_and_interval(call: &Call<'_>, sign: i64) -> Result<ArrayRef> {
    type Times = Time64MicrosecondType;
    vector::two::<Times, IntervalMonthDayNanoType, Times>(call, |time, span| {
        Ok((time + sign * (span.nanoseconds / 1000 % DAY)).rem_euclid(DAY))
    })
}

pub(super) fn timetz_add(value: [u8; 12], micros: i64) -> [u8; 12] {
    let (time, west) = super::timetz(value);
    super::timetz_bytes((time + micros % DAY).rem_euclid(DAY), west)
}

fn date_time(date: Date, time: Time) -> Result<i64> {
    match date_stamp(date.0)? {
        infinite @ (i64::MIN | i64::MAX) => Ok(infinite),
        stamp => {
            let sum = stamp.checked_add(time.0);
            sum.filter(|stamp| calendar::is_finite_timestamp(*stamp)).ok_or_else(out_of_range)
        }
    }
}

fn date_timetz(date: Date, time: [u8; 12]) -> Result<i64> {
    let (time, west) = super::timetz(time);
    match date_stamp(date.0)? {
        infinite @ (i64::MIN | i64::MAX) => Ok(infinite),
        stamp => {
            let sum = stamp.checked_add(time + i64::from(west) * SECOND);
            let in_range = sum.filter(|stamp| calendar::is_finite_timestamp(*stamp));
            in_range.ok_or_else(|| Error::new(Kind::DateRange, "date out of range for timestamp"))
        }
    }
}
