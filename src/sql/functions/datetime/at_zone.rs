//! AT TIME ZONE: `timezone(zone, moment)`, where the zone is a name, an abbreviation, a POSIX specification or an interval.

use arrow::array::ArrayRef;
use bytes::BytesMut;

use super::{Stamped, cast, timetz, timetz_bytes};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::calendar::zone::{self, Named};
use crate::formats::postgres::calendar::{self, DAY, SECOND};
use crate::sql::kernel::{Call, Interval, Kernel, Read, Stamp, Write, Written};

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("timestamp_zone", |c| {
        by_name(c, infinite, |zone, v: Stamp| local_to_utc(v.0, |local| zone.offset_of_local(local)).map(Stamp))
    }),
    ("timestamptz_zone", |c| {
        by_name(c, infinite, |zone, v: Stamp| utc_to_local(v.0, |instant| zone.offset(instant)).map(Stamp))
    }),
    ("timetz_zone", |c| {
        let now = c.env.now.div_euclid(SECOND);
        by_name(c, |_| false, |zone, v: [u8; 12]| moved(v, zone.offset(now)))
    }),
    ("timestamp_izone", |c| by_interval(c, infinite, |east, v: Stamp| local_to_utc(v.0, |_| east).map(Stamp))),
    ("timestamptz_izone", |c| by_interval(c, infinite, |east, v: Stamp| utc_to_local(v.0, |_| east).map(Stamp))),
    ("timetz_izone", |c| by_interval(c, |_| false, |east, v: [u8; 12]| moved(v, east))),
];

/// The infinities stay, whatever the zone is.
fn infinite(value: &Stamp) -> bool {
    value.0 == i64::MIN || value.0 == i64::MAX
}

pub(super) fn unknown(name: &str) -> Error {
    Error::new(Kind::InvalidParameter, format!("time zone \"{name}\" not recognized"))
}

fn by_name<'a, T: Read<'a> + Written<Value = T> + Write>(
    call: &Call<'a>,
    stays: impl Fn(&T) -> bool,
    shift: impl Fn(&Named, T) -> Result<T>,
) -> Result<ArrayRef> {
    let (names, values) = (call.read::<&str>(0)?, call.read::<T>(1)?);
    let mut known: Option<(&str, Named)> = None;
    call.rows_of(|row| {
        let (Some(name), Some(value)) = (names.get(row), values.get(row)) else { return Ok(None) };
        if stays(&value) {
            return Ok(Some(value));
        }
        if known.as_ref().is_none_or(|(last, _)| *last != name) {
            known = Some((name, zone::by_name(name).ok_or_else(|| unknown(name))?));
        }
        let Some((_, zone)) = &known else { return Ok(None) };
        shift(zone, value).map(Some)
    })
}

fn by_interval<'a, T: Read<'a> + Written<Value = T> + Write>(
    call: &Call<'a>,
    stays: impl Fn(&T) -> bool,
    shift: impl Fn(i64, T) -> Result<T>,
) -> Result<ArrayRef> {
    call.two(|zone: Interval, value: T| {
        if stays(&value) {
            return Ok(value);
        }
        if zone.months != 0 || zone.days != 0 {
            let mut shown = BytesMut::new();
            calendar::interval(zone.months, zone.days, zone.micros, call.env.interval_style, &mut shown);
            let shown = String::from_utf8_lossy(&shown);
            let text = format!("interval time zone \"{shown}\" must not include months or days");
            return Err(Error::new(Kind::InvalidParameter, text));
        }
        shift(zone.micros / SECOND, value)
    })
}

fn local_to_utc(local: i64, offset: impl Fn(i64) -> i64) -> Result<i64> {
    match local {
        i64::MIN | i64::MAX => Ok(local),
        _ => Stamped { east: offset(local.div_euclid(SECOND)), ..Stamped::local(local, None) }.at_offset(),
    }
}

fn utc_to_local(stamp: i64, offset: impl Fn(i64) -> i64) -> Result<i64> {
    match stamp {
        i64::MIN | i64::MAX => Ok(stamp),
        _ => Stamped { east: -offset(stamp.div_euclid(SECOND)), ..Stamped::local(stamp, None) }.at_offset(),
    }
}

/// The same moment by another offset.
fn moved(value: [u8; 12], east: i64) -> Result<[u8; 12]> {
    let (micros, west) = timetz(value);
    let utc = micros + i64::from(west) * SECOND;
    Ok(timetz_bytes((utc + east * SECOND).rem_euclid(DAY), cast::west(east)?))
}
