//! The present: the transaction's start, the statement's, the clock's. `grammar/…` are the words of SQL that are written
//! without parentheses; they take the digits of seconds.

use arrow::array::ArrayRef;
use chrono::Utc;

use super::arithmetic::session;
use super::scale::{rounded, time_rounded};
use super::{Stamped, cast, timetz, timetz_bytes};
use crate::error::Result;
use crate::formats::postgres::calendar::spell::{MONTHS, WEEKDAYS};
use crate::formats::postgres::calendar::{DAY, SECOND, civil, weekday};
use crate::sql::kernel::{Call, Date, Kernel, Stamp, Time};

/// More digits are cut to these, with a warning from the grammar.
const DIGITS_MAX: i32 = 6;

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("now", |c| c.rows_of(|_| Ok(Stamp(c.env.now)))),
    ("statement_timestamp", |c| c.rows_of(|_| Ok(Stamp(c.env.statement_now)))),
    ("clock_timestamp", |c| c.rows_of(|_| Ok(Stamp(Utc::now().timestamp_micros())))),
    ("timeofday", |c| c.rows_of(|_| Ok(time_of_day(c, Utc::now().timestamp_micros())))),
    ("grammar/current_date", |c| {
        let today = Stamped::local(c.env.now, Some(&session(c))).days;
        let today = i32::try_from(today).map_err(|_| super::out_of_range())?;
        c.rows_of(|_| Ok(Date(today)))
    }),
    ("grammar/current_time", |c| {
        let (time, west) = timetz(cast::with_offset(c.env.now, &session(c))?);
        with_digits(c, |digits| Ok(timetz_bytes(time_rounded(time, digits), west)))
    }),
    ("grammar/current_timestamp", |c| with_digits(c, |digits| rounded(c.env.now, digits).map(Stamp))),
    ("grammar/localtime", |c| {
        let local = Stamped::local(c.env.now, Some(&session(c)));
        with_digits(c, |digits| Ok(Time(time_rounded(local.of_day, digits))))
    }),
    ("grammar/localtimestamp", |c| {
        let local = cast::to_local(c.env.now, &session(c))?;
        with_digits(c, |digits| rounded(local, digits).map(Stamp))
    }),
];

fn with_digits<R: crate::sql::kernel::Written>(call: &Call<'_>, value: impl Fn(i32) -> Result<R>) -> Result<ArrayRef> {
    let digits = call.args.first().map(|_| call.read::<i32>(0)).transpose()?;
    call.rows_of(|row| {
        let digits = digits.as_ref().and_then(|digits| digits.get(row)).unwrap_or(-1);
        value(digits.min(DIGITS_MAX))
    })
}

/// `Thu Jan 02 03:04:05.678901 2020 CET`.
fn time_of_day(call: &Call<'_>, now: i64) -> String {
    let zone = session(call);
    let local = Stamped::local(now, Some(&zone));
    let (year, month, day) = civil(local.days);
    let short = |names: &[&'static str], place: i64| {
        usize::try_from(place).ok().and_then(|place| names.get(place)).map_or("", |name| &name[..3])
    };
    let (seconds, micros) = (local.of_day % DAY / SECOND, local.of_day % SECOND);
    format!(
        "{} {} {day:02} {:02}:{:02}:{:02}.{micros:06} {year:04} {}",
        short(&WEEKDAYS, weekday(local.days)),
        short(&MONTHS, i64::from(month) - 1),
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        zone.abbreviation(now.div_euclid(SECOND)),
    )
}
