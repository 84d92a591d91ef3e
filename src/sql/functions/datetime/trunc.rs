//! date_trunc and date_bin.

use arrow::array::ArrayRef;
use arrow::datatypes::TimestampMicrosecondType;

use super::arithmetic::session;
use super::{Stamped, vector};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::calendar::{self, DAY, HOUR, MINUTE, SECOND, Zone, civil, days_of, zone};
use crate::formats::postgres::input::words::Unit;
use crate::sql::kernel::{Call, Interval, Kernel, Stamp};

type Stamps = TimestampMicrosecondType;

const TIMESTAMP: &str = "timestamp without time zone";
const TIMESTAMPTZ: &str = "timestamp with time zone";

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("timestamp_trunc", |c| stamps(c, None, TIMESTAMP)),
    ("timestamptz_trunc", |c| stamps(c, Some(&session(c)), TIMESTAMPTZ)),
    ("timestamptz_trunc_zone", in_zone),
    ("interval_trunc", |c| {
        c.two(|unit: &str, value: Interval| {
            let unit = super::extract::unit(unit, "interval")?;
            interval(unit.0, &unit.1, value)
        })
    }),
    ("timestamp_bin", |c| c.three(|stride: Interval, stamp: Stamp, origin: Stamp| bin(stride, stamp, origin))),
    ("timestamptz_bin", |c| c.three(|stride: Interval, stamp: Stamp, origin: Stamp| bin(stride, stamp, origin))),
];

fn stamps(call: &Call<'_>, zone: Option<&Zone>, name: &str) -> Result<ArrayRef> {
    let unit = call.arg(0)?;
    let texts = unit.read::<&str>()?;
    if unit.constant
        && let Some(text) = texts.get(0)
    {
        let unit = super::extract::unit(text, name);
        return vector::one::<Stamps, Stamps>(call, 1, |stamp| match (stamp, &unit) {
            // the infinities do not ask what the unit is
            (i64::MIN | i64::MAX, _) => Ok(stamp),
            (_, Ok((unit, text))) => trunc(*unit, text, name, stamp, zone),
            (_, Err(_)) => super::extract::unit(text, name).map(|_| stamp),
        });
    }
    call.two(|text: &str, stamp: Stamp| one(text, stamp.0, zone, name).map(Stamp))
}

fn one(text: &str, stamp: i64, zone: Option<&Zone>, name: &str) -> Result<i64> {
    if stamp == i64::MIN || stamp == i64::MAX {
        return Ok(stamp);
    }
    let (unit, text) = super::extract::unit(text, name)?;
    trunc(unit, &text, name, stamp, zone)
}

fn in_zone(call: &Call<'_>) -> Result<ArrayRef> {
    let argument = call.arg(2)?;
    let names = argument.read::<&str>()?;
    let known = if argument.constant { names.get(0).map(named).transpose() } else { Ok(None) };
    if let Ok(Some(zone)) = &known {
        return stamps(call, Some(zone), TIMESTAMPTZ);
    }
    call.three(|text: &str, stamp: Stamp, name: &str| match stamp.0 {
        i64::MIN | i64::MAX => Ok(stamp),
        _ => one(text, stamp.0, Some(&named(name)?), TIMESTAMPTZ).map(Stamp),
    })
}

fn named(name: &str) -> Result<Zone> {
    let zone = zone::by_name(name).map(zone::Named::into_zone);
    zone.ok_or_else(|| super::at_zone::unknown(name))
}

fn trunc(unit: Unit, text: &str, name: &str, stamp: i64, zone: Option<&Zone>) -> Result<i64> {
    let local = Stamped::local(stamp, zone);
    // Below the day the offset stays the one it was: the clock does not jump back over a change.
    let within = |unit: i64| Stamped { of_day: local.of_day - local.of_day % unit, ..local }.at_offset();
    let day = |days: i64| Stamped { days, of_day: 0, ..local }.instant(zone);
    let first_of = |year: i64| day(days_of(year, 1, 1));
    let year = || civil(local.days).0;
    match unit {
        Unit::Microsecond => Ok(stamp),
        Unit::Millisecond => within(1_000),
        Unit::Second => within(SECOND),
        Unit::Minute => within(MINUTE),
        Unit::Hour => within(HOUR),
        Unit::Day => day(local.days),
        Unit::Week => day(local.days - (local.days + 3).rem_euclid(7)),
        Unit::Month => {
            let (.., of_month) = civil(local.days);
            day(local.days - i64::from(of_month) + 1)
        }
        Unit::Quarter => {
            let (year, month, _) = civil(local.days);
            day(days_of(year, (month - 1) / 3 * 3 + 1, 1))
        }
        Unit::Year => first_of(year()),
        Unit::Decade => first_of(year().div_euclid(10) * 10),
        // centuries and millennia begin with a year 1
        Unit::Century => first_of((year() - 1).div_euclid(100) * 100 + 1),
        Unit::Millennium => first_of((year() - 1).div_euclid(1000) * 1000 + 1),
        Unit::Dow
        | Unit::Isodow
        | Unit::Doy
        | Unit::Isoyear
        | Unit::Julian
        | Unit::Epoch
        | Unit::Zone
        | Unit::ZoneHour
        | Unit::ZoneMinute
        | Unit::Reserved => Err(super::extract::unsupported(text, name)),
    }
}

fn interval(unit: Unit, text: &str, value: Interval) -> Result<Interval> {
    let Interval { months, days, micros } = value;
    let of_months = |unit: i32| Interval { months: months - months % unit, days: 0, micros: 0 };
    let of_time = |unit: i64| Interval { micros: micros - micros % unit, ..value };
    Ok(match unit {
        Unit::Microsecond => value,
        Unit::Millisecond => of_time(1_000),
        Unit::Second => of_time(SECOND),
        Unit::Minute => of_time(MINUTE),
        Unit::Hour => of_time(HOUR),
        Unit::Day => Interval { days, micros: 0, ..value },
        Unit::Month => of_months(1),
        Unit::Quarter => of_months(3),
        Unit::Year => of_months(12),
        Unit::Decade => of_months(120),
        Unit::Century => of_months(1_200),
        Unit::Millennium => of_months(12_000),
        Unit::Week => {
            let detail = "Months usually have fractional weeks.";
            return Err(super::extract::unsupported(text, "interval").with_detail(detail));
        }
        Unit::Dow
        | Unit::Isodow
        | Unit::Doy
        | Unit::Isoyear
        | Unit::Julian
        | Unit::Epoch
        | Unit::Zone
        | Unit::ZoneHour
        | Unit::ZoneMinute
        | Unit::Reserved => return Err(super::extract::unsupported(text, "interval")),
    })
}

/// The beginning of the stride in which a timestamp lies, counted from an origin.
fn bin(stride: Interval, stamp: Stamp, origin: Stamp) -> Result<Stamp> {
    if stamp.0 == i64::MIN || stamp.0 == i64::MAX {
        return Ok(stamp);
    }
    if origin.0 == i64::MIN || origin.0 == i64::MAX {
        return Err(Error::new(Kind::DateRange, "origin out of range"));
    }
    if stride.months != 0 {
        let text = "timestamps cannot be binned into intervals containing months or years";
        return Err(Error::new(Kind::Unsupported, text));
    }
    let length = i64::from(stride.days).checked_mul(DAY).and_then(|days| days.checked_add(stride.micros));
    let length = length.ok_or_else(super::interval::out_of_range)?;
    if length <= 0 {
        return Err(Error::new(Kind::DateRange, "stride must be greater than zero"));
    }
    let since = stamp.0.checked_sub(origin.0).ok_or_else(super::interval::out_of_range)?;
    let begin = stamp.0.checked_sub(since.rem_euclid(length));
    begin.filter(|stamp| calendar::is_finite_timestamp(*stamp)).map(Stamp).ok_or_else(super::out_of_range)
}
