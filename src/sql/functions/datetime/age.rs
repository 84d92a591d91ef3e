//! age: the difference of two moments in years, months, days and time, as one counts on a calendar.

use super::Stamped;
use super::arithmetic::session;
use crate::error::Result;
use crate::formats::postgres::calendar::{DAY, EPOCH_DAYS, SECOND, Zone, civil, days_in_month};
use crate::sql::kernel::{Call, Interval, Kernel, Stamp};

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("timestamp_age", |c| c.two(|a: Stamp, b: Stamp| age(a.0, b.0, None))),
    ("timestamptz_age", |c| {
        let zone = session(c);
        c.two(|a: Stamp, b: Stamp| age(a.0, b.0, Some(&zone)))
    }),
    ("age/2059", |c| {
        let today = today(c);
        c.one(|b: Stamp| age(today.days * DAY, b.0, None))
    }),
    ("age/1386", |c| {
        let (zone, today) = (session(c), today(c));
        let today = Stamped { of_day: 0, ..today }.instant(Some(&zone))?;
        c.one(|b: Stamp| age(today, b.0, Some(&zone)))
    }),
];

fn today(call: &Call<'_>) -> Stamped {
    Stamped::local(call.env.now, Some(&session(call)))
}

fn local(stamp: i64, zone: Option<&Zone>) -> Result<Stamped> {
    match stamp {
        i64::MIN => Err(super::out_of_range()),
        // PostgreSQL takes it for the last microsecond that it can count, since 2000.
        i64::MAX => {
            let days = stamp.div_euclid(DAY) + i64::from(EPOCH_DAYS);
            let east = zone.map_or(0, |zone| zone.offset(days * 86_400));
            let of_day = stamp.rem_euclid(DAY) + east * SECOND;
            Ok(Stamped { days: days + of_day.div_euclid(DAY), of_day: of_day.rem_euclid(DAY), east })
        }
        _ => Ok(Stamped::local(stamp, zone)),
    }
}

fn age(a: i64, b: i64, zone: Option<&Zone>) -> Result<Interval> {
    let earlier = a < b;
    let (first, second) = (local(a, zone)?, local(b, zone)?);
    let (later, sooner) = if earlier { (second, first) } else { (first, second) };
    let ((y1, m1, d1), (y2, m2, d2)) = (civil(later.days), civil(sooner.days));
    let mut micros = later.of_day - sooner.of_day;
    let mut days = i64::from(d1) - i64::from(d2);
    let mut months = (y1 - y2) * 12 + i64::from(m1) - i64::from(m2);
    while micros < 0 {
        micros += DAY;
        days -= 1;
    }
    while days < 0 {
        // the month in which the earlier moment lies
        days += i64::from(days_in_month(y2, m2));
        months -= 1;
    }
    let sign = if earlier { -1 } else { 1 };
    let int = |value: i64| i32::try_from(sign * value).map_err(|_| super::interval::out_of_range());
    Ok(Interval { months: int(months)?, days: int(days)?, micros: sign * micros })
}
