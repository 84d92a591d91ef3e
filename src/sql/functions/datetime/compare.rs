//! Comparisons of dates, times, timestamps and intervals, within and across types. A date beside a timestamp is its
//! midnight, beside a timestamptz the midnight of the session's zone; an interval's month has 30 days, its day 24 hours.

use std::cmp::Ordering;

use arrow::array::{ArrayRef, ArrowPrimitiveType};
use arrow::datatypes::{
    Date32Type, Decimal128Type, DecimalType, Int32Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    Time64MicrosecondType, TimestampMicrosecondType,
};

use super::arithmetic::session;
use super::{timetz, vector};
use crate::error::Result;
use crate::formats::postgres::calendar::{DAY, Zone};
use crate::sql::kernel::{Call, Date, Interval, Kernel, Stamp, Time};

type Stamps = TimestampMicrosecondType;
type Dates = Date32Type;

/// The six comparisons and the btree's, of values that have a key each.
macro_rules! comparisons {
    ($(($eq:literal, $ne:literal, $lt:literal, $le:literal, $gt:literal, $ge:literal, $cmp:literal): $compare:path;)*) => {
        pub(super) const KERNELS: &[(&str, Kernel)] = &[$(
            ($eq, |c| $compare(c, |o| o == Ordering::Equal)),
            ($ne, |c| $compare(c, |o| o != Ordering::Equal)),
            ($lt, |c| $compare(c, |o| o == Ordering::Less)),
            ($le, |c| $compare(c, |o| o != Ordering::Greater)),
            ($gt, |c| $compare(c, |o| o == Ordering::Greater)),
            ($ge, |c| $compare(c, |o| o != Ordering::Less)),
            ($cmp, |c| order(c, |c, is| $compare(c, is))),
        )*];
    };
}

comparisons! {
    ("date_eq", "date_ne", "date_lt", "date_le", "date_gt", "date_ge", "date_cmp"): dates;
    ("time_eq", "time_ne", "time_lt", "time_le", "time_gt", "time_ge", "time_cmp"): times;
    ("timestamp_eq", "timestamp_ne", "timestamp_lt", "timestamp_le", "timestamp_gt", "timestamp_ge", "timestamp_cmp"): stamps;
    ("timetz_eq", "timetz_ne", "timetz_lt", "timetz_le", "timetz_gt", "timetz_ge", "timetz_cmp"): timetzs;
    ("interval_eq", "interval_ne", "interval_lt", "interval_le", "interval_gt", "interval_ge", "interval_cmp"): intervals;
    ("date_eq_timestamp", "date_ne_timestamp", "date_lt_timestamp", "date_le_timestamp", "date_gt_timestamp", "date_ge_timestamp", "date_cmp_timestamp"): date_stamp;
    ("timestamp_eq_date", "timestamp_ne_date", "timestamp_lt_date", "timestamp_le_date", "timestamp_gt_date", "timestamp_ge_date", "timestamp_cmp_date"): stamp_date;
    ("date_eq_timestamptz", "date_ne_timestamptz", "date_lt_timestamptz", "date_le_timestamptz", "date_gt_timestamptz", "date_ge_timestamptz", "date_cmp_timestamptz"): date_stamptz;
    ("timestamptz_eq_date", "timestamptz_ne_date", "timestamptz_lt_date", "timestamptz_le_date", "timestamptz_gt_date", "timestamptz_ge_date", "timestamptz_cmp_date"): stamptz_date;
    ("timestamp_eq_timestamptz", "timestamp_ne_timestamptz", "timestamp_lt_timestamptz", "timestamp_le_timestamptz", "timestamp_gt_timestamptz", "timestamp_ge_timestamptz", "timestamp_cmp_timestamptz"): stamp_stamptz;
    ("timestamptz_eq_timestamp", "timestamptz_ne_timestamp", "timestamptz_lt_timestamp", "timestamptz_le_timestamp", "timestamptz_gt_timestamp", "timestamptz_ge_timestamp", "timestamptz_cmp_timestamp"): stamptz_stamp;
}

pub(super) const MORE: &[(&str, Kernel)] = &[
    ("date_larger", |c| vector::two::<Dates, Dates, Dates>(c, |a, b| Ok(a.max(b)))),
    ("date_smaller", |c| vector::two::<Dates, Dates, Dates>(c, |a, b| Ok(a.min(b)))),
    ("time_larger", |c| c.two(|a: Time, b: Time| Ok(a.max(b)))),
    ("time_smaller", |c| c.two(|a: Time, b: Time| Ok(a.min(b)))),
    ("timestamp_larger", |c| vector::two::<Stamps, Stamps, Stamps>(c, |a, b| Ok(a.max(b)))),
    ("timestamp_smaller", |c| vector::two::<Stamps, Stamps, Stamps>(c, |a, b| Ok(a.min(b)))),
    // of equals the second is taken
    ("timetz_larger", |c| c.two(|a: [u8; 12], b: [u8; 12]| Ok(if timetz_key(a) > timetz_key(b) { a } else { b }))),
    ("timetz_smaller", |c| c.two(|a: [u8; 12], b: [u8; 12]| Ok(if timetz_key(a) < timetz_key(b) { a } else { b }))),
    ("interval_larger", |c| c.two(|a: Interval, b: Interval| Ok(if span(a) > span(b) { a } else { b }))),
    ("interval_smaller", |c| c.two(|a: Interval, b: Interval| Ok(if span(a) < span(b) { a } else { b }))),
    ("date_finite", |c| c.one(|a: Date| Ok(a.0 != i32::MIN && a.0 != i32::MAX))),
    ("timestamp_finite", |c| c.one(|a: Stamp| Ok(a.0 != i64::MIN && a.0 != i64::MAX))),
    ("interval_finite", |c| c.one(|_: Interval| Ok(true))),
    ("key/interval", |c| vector::one::<IntervalMonthDayNanoType, Decimal128Type>(c, 0, |a| Ok(span(Interval::of(a))))),
    ("key/timetz", |c| c.one(|a: [u8; 12]| Ok(timetz_sortable(a)))),
];

const _: () = assert!(Decimal128Type::MAX_PRECISION == 38);

/// An interval's length in microseconds: what it compares by.
pub(in crate::sql::functions) fn span(interval: Interval) -> i128 {
    let days = i128::from(interval.months) * 30 + i128::from(interval.days);
    days * i128::from(DAY) + i128::from(interval.micros)
}

/// UTC first, then the zone itself.
pub(super) fn timetz_key(value: [u8; 12]) -> (i64, i32) {
    let (micros, west) = timetz(value);
    (micros + i64::from(west) * 1_000_000, west)
}

/// The same order as bytes.
fn timetz_sortable(value: [u8; 12]) -> Vec<u8> {
    let (utc, west) = timetz_key(value);
    let utc = utc.cast_unsigned() ^ (1 << 63);
    let west = west.cast_unsigned() ^ (1 << 31);
    [utc.to_be_bytes().as_slice(), &west.to_be_bytes()].concat()
}

/// -1, 0 or 1 from two questions.
fn order(call: &Call<'_>, ask: fn(&Call<'_>, fn(Ordering) -> bool) -> Result<ArrayRef>) -> Result<ArrayRef> {
    use arrow::array::AsArray;
    let (less, greater) = (ask(call, |o| o == Ordering::Less)?, ask(call, |o| o == Ordering::Greater)?);
    let (less, greater) = (less.as_boolean(), greater.as_boolean());
    let values = less.iter().zip(greater.iter()).map(|pair| match pair {
        (Some(less), Some(greater)) => Some(i32::from(greater) - i32::from(less)),
        _ => None,
    });
    Ok(std::sync::Arc::new(values.collect::<arrow::array::PrimitiveArray<Int32Type>>()))
}

fn ask<A: ArrowPrimitiveType, B: ArrowPrimitiveType, K: Ord>(
    call: &Call<'_>,
    is: impl Fn(Ordering) -> bool,
    a: impl Fn(A::Native) -> K,
    b: impl Fn(B::Native) -> K,
) -> Result<ArrayRef> {
    vector::ask::<A, B>(call, |left, right| is(a(left).cmp(&b(right))))
}

fn dates(call: &Call<'_>, is: impl Fn(Ordering) -> bool) -> Result<ArrayRef> {
    ask::<Dates, Dates, _>(call, is, |a| a, |b| b)
}

fn times(call: &Call<'_>, is: impl Fn(Ordering) -> bool) -> Result<ArrayRef> {
    ask::<Time64MicrosecondType, Time64MicrosecondType, _>(call, is, |a| a, |b| b)
}

fn stamps(call: &Call<'_>, is: impl Fn(Ordering) -> bool) -> Result<ArrayRef> {
    ask::<Stamps, Stamps, _>(call, is, |a| a, |b| b)
}

fn timetzs(call: &Call<'_>, is: impl Fn(Ordering) -> bool) -> Result<ArrayRef> {
    call.two(|a: [u8; 12], b: [u8; 12]| Ok(is(timetz_key(a).cmp(&timetz_key(b)))))
}

fn intervals(call: &Call<'_>, is: impl Fn(Ordering) -> bool) -> Result<ArrayRef> {
    let key = |value: IntervalMonthDayNano| span(Interval::of(value));
    ask::<IntervalMonthDayNanoType, IntervalMonthDayNanoType, _>(call, is, key, key)
}

/// A date as a timestamp of some zone. Beyond the timestamps a date is later than every finite one, and not infinite.
fn midnight(days: i32, zone: Option<&Zone>) -> i128 {
    match days {
        i32::MIN => i128::from(i64::MIN),
        i32::MAX => i128::from(i64::MAX),
        _ => utc(i128::from(days) * i128::from(DAY), zone),
    }
    .min(if days == i32::MAX { i128::from(i64::MAX) } else { i128::from(i64::MAX) - 1 })
}

/// A clock time's instant; it need not be a timestamp of the range.
fn utc(local: i128, zone: Option<&Zone>) -> i128 {
    let offset = |zone: &Zone| match i64::try_from(local.div_euclid(1_000_000)) {
        Ok(seconds) => zone.offset_of_local(seconds),
        Err(_) => 0,
    };
    local - i128::from(zone.map_or(0, offset)) * 1_000_000
}

fn stamp_utc(stamp: i64, zone: &Zone) -> i128 {
    let infinite = stamp == i64::MIN || stamp == i64::MAX;
    if infinite { i128::from(stamp) } else { utc(i128::from(stamp), Some(zone)) }
}

fn date_stamp(call: &Call<'_>, is: impl Fn(Ordering) -> bool) -> Result<ArrayRef> {
    ask::<Dates, Stamps, _>(call, is, |a| midnight(a, None), i128::from)
}

fn stamp_date(call: &Call<'_>, is: impl Fn(Ordering) -> bool) -> Result<ArrayRef> {
    ask::<Stamps, Dates, _>(call, is, i128::from, |b| midnight(b, None))
}

fn date_stamptz(call: &Call<'_>, is: impl Fn(Ordering) -> bool) -> Result<ArrayRef> {
    let zone = session(call);
    ask::<Dates, Stamps, _>(call, is, |a| midnight(a, Some(&zone)), i128::from)
}

fn stamptz_date(call: &Call<'_>, is: impl Fn(Ordering) -> bool) -> Result<ArrayRef> {
    let zone = session(call);
    ask::<Stamps, Dates, _>(call, is, i128::from, |b| midnight(b, Some(&zone)))
}

fn stamp_stamptz(call: &Call<'_>, is: impl Fn(Ordering) -> bool) -> Result<ArrayRef> {
    let zone = session(call);
    ask::<Stamps, Stamps, _>(call, is, |a| stamp_utc(a, &zone), i128::from)
}

fn stamptz_stamp(call: &Call<'_>, is: impl Fn(Ordering) -> bool) -> Result<ArrayRef> {
    let zone = session(call);
    ask::<Stamps, Stamps, _>(call, is, i128::from, |b| stamp_utc(b, &zone))
}
