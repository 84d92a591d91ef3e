//! Casts between dates, times, timestamps and intervals.

use arrow::datatypes::{Date32Type, TimestampMicrosecondType};

use super::arithmetic::session;
use super::{Stamped, date_stamp, timetz, timetz_bytes, vector};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::calendar::{DAY, SECOND, Zone};
use crate::sql::kernel::{Interval, Kernel, Stamp, Time};

type Stamps = TimestampMicrosecondType;

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("date_timestamp", |c| vector::one::<Date32Type, Stamps>(c, 0, date_stamp)),
    ("date_timestamptz", |c| {
        let zone = session(c);
        vector::one::<Date32Type, Stamps>(c, 0, |date| {
            to_utc(date_stamp(date)?, &zone).map_err(|_| Error::new(Kind::DateRange, "date out of range for timestamp"))
        })
    }),
    ("timestamp_date", |c| vector::one::<Stamps, Date32Type>(c, 0, |stamp| day(stamp, None))),
    ("timestamptz_date", |c| {
        let zone = session(c);
        vector::one::<Stamps, Date32Type>(c, 0, |stamp| day(stamp, Some(&zone)))
    }),
    ("timestamp_timestamptz", |c| {
        let zone = session(c);
        vector::one::<Stamps, Stamps>(c, 0, |stamp| to_utc(stamp, &zone))
    }),
    ("timestamptz_timestamp", |c| {
        let zone = session(c);
        vector::one::<Stamps, Stamps>(c, 0, |stamp| to_local(stamp, &zone))
    }),
    ("timestamp_time", |c| c.one(|a: Stamp| Ok(finite(a.0).map(|stamp| Time(stamp.rem_euclid(DAY)))))),
    ("timestamptz_time", |c| {
        let zone = session(c);
        c.one(|a: Stamp| Ok(finite(a.0).map(|stamp| Time(Stamped::local(stamp, Some(&zone)).of_day))))
    }),
    ("timestamptz_timetz", |c| {
        let zone = session(c);
        c.one(|a: Stamp| finite(a.0).map(|stamp| with_offset(stamp, &zone)).transpose())
    }),
    ("timetz_time", |c| c.one(|a: [u8; 12]| Ok(Time(timetz(a).0)))),
    ("time_timetz", |c| {
        let zone = session(c);
        let today = Stamped::local(c.env.now, Some(&zone)).days;
        c.one(|a: Time| {
            let east = zone.offset_of_local(today * 86_400 + a.0 / SECOND);
            Ok(timetz_bytes(a.0, west(east)?))
        })
    }),
    ("time_interval", |c| c.one(|a: Time| Ok(Interval { months: 0, days: 0, micros: a.0 }))),
    ("interval_time", |c| c.one(|a: Interval| Ok(Time(a.micros.rem_euclid(DAY))))),
];

fn finite(stamp: i64) -> Option<i64> {
    (stamp != i64::MIN && stamp != i64::MAX).then_some(stamp)
}

fn day(stamp: i64, zone: Option<&Zone>) -> Result<i32> {
    match stamp {
        i64::MIN => Ok(i32::MIN),
        i64::MAX => Ok(i32::MAX),
        _ => {
            let days = Stamped::local(stamp, zone).days;
            i32::try_from(days).map_err(|_| super::out_of_range())
        }
    }
}

/// A clock time of a zone as an instant.
pub(super) fn to_utc(local: i64, zone: &Zone) -> Result<i64> {
    match local {
        i64::MIN | i64::MAX => Ok(local),
        _ => Stamped::local(local, None).instant(Some(zone)),
    }
}

/// An instant as a clock time of a zone.
pub(super) fn to_local(stamp: i64, zone: &Zone) -> Result<i64> {
    match stamp {
        i64::MIN | i64::MAX => Ok(stamp),
        _ => Stamped { east: 0, ..Stamped::local(stamp, Some(zone)) }.at_offset(),
    }
}

pub(super) fn west(east: i64) -> Result<i32> {
    i32::try_from(-east).map_err(|_| Error::new(Kind::ZoneRange, "time zone displacement out of range"))
}

pub(super) fn with_offset(stamp: i64, zone: &Zone) -> Result<[u8; 12]> {
    let local = Stamped::local(stamp, Some(zone));
    Ok(timetz_bytes(local.of_day, west(local.east)?))
}
