//! Arithmetic of intervals alone: sums, products that flow down from months to days to time, and justify_*.

use crate::error::{Error, Kind, Result};
use crate::formats::postgres::calendar::DAY;
use crate::sql::kernel::{Interval, Kernel};

const DAYS_PER_MONTH: i32 = 30;

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("interval_pl", |c| c.two(sum)),
    ("interval_mi", |c| c.two(difference)),
    ("interval_um", |c| c.one(|a: Interval| difference(Interval { months: 0, days: 0, micros: 0 }, a))),
    ("interval_mul", |c| c.two(product)),
    ("mul_d_interval", |c| c.two(|factor: f64, a: Interval| product(a, factor))),
    ("interval_div", |c| c.two(quotient)),
    ("interval_justify_days", |c| c.one(justify_days)),
    ("interval_justify_hours", |c| c.one(justify_hours)),
    ("interval_justify_interval", |c| c.one(justify)),
];

pub(super) fn out_of_range() -> Error {
    Error::new(Kind::DateRange, "interval out of range")
}

pub(crate) fn sum(a: Interval, b: Interval) -> Result<Interval> {
    let sum = || {
        let (months, days) = (a.months.checked_add(b.months)?, a.days.checked_add(b.days)?);
        Some(Interval { months, days, micros: a.micros.checked_add(b.micros)? })
    };
    sum().ok_or_else(out_of_range)
}

pub(crate) fn difference(a: Interval, b: Interval) -> Result<Interval> {
    let difference = || {
        let (months, days) = (a.months.checked_sub(b.months)?, a.days.checked_sub(b.days)?);
        Some(Interval { months, days, micros: a.micros.checked_sub(b.micros)? })
    };
    difference().ok_or_else(out_of_range)
}

/// Towards zero; what no i32 holds is out of range.
fn int(value: f64) -> Result<i32> {
    if value.is_nan() || value > f64::from(i32::MAX) || value < f64::from(i32::MIN) {
        return Err(out_of_range());
    }
    Ok(value as i32)
}

fn micros(value: f64) -> Result<i64> {
    let value = value.round_ties_even();
    if value.is_nan() || !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value) {
        return Err(out_of_range());
    }
    Ok(value as i64)
}

/// To microseconds: fractions of days and seconds that come from a product are not trusted further.
fn trimmed(value: f64) -> f64 {
    (value * 1e6).round_ties_even() / 1e6
}

pub(crate) fn product(a: Interval, factor: f64) -> Result<Interval> {
    let (months, days) = (f64::from(a.months) * factor, f64::from(a.days) * factor);
    cascaded(months, days, a.micros as f64 * factor)
}

pub(in crate::sql) fn quotient(a: Interval, by: f64) -> Result<Interval> {
    if by == 0.0 {
        return Err(Error::new(Kind::DivisionByZero, "division by zero"));
    }
    cascaded(f64::from(a.months) / by, f64::from(a.days) / by, a.micros as f64 / by)
}

/// The fraction of a month goes to days, the fraction of a day to time.
fn cascaded(months: f64, days: f64, time: f64) -> Result<Interval> {
    let (whole_months, whole_days) = (int(months)?, int(days)?);
    let month_days = trimmed((months - f64::from(whole_months)) * f64::from(DAYS_PER_MONTH));
    let fraction_of_day = days - f64::from(whole_days) + month_days - month_days.trunc();
    let mut seconds = trimmed(fraction_of_day * 86_400.0);
    let mut sum = i64::from(whole_days);
    // A remainder of a day and more comes from two fractions together.
    if seconds.abs() >= 86_400.0 {
        let whole = (seconds / 86_400.0).trunc();
        sum += whole as i64;
        seconds -= whole * 86_400.0;
    }
    sum += month_days.trunc() as i64;
    let days = i32::try_from(sum).map_err(|_| out_of_range())?;
    Ok(Interval { months: whole_months, days, micros: micros(time + seconds * 1e6)? })
}

/// Whole units of `part` into `whole`; then both of one sign, as far as the first is not zero.
fn carry(whole: i32, part: i64, unit: i64) -> Result<(i32, i64)> {
    let carried = i32::try_from(part / unit).ok().and_then(|carried| whole.checked_add(carried));
    let (whole, part) = (carried.ok_or_else(out_of_range)?, part % unit);
    Ok(if whole > 0 && part < 0 {
        (whole - 1, part + unit)
    } else if whole < 0 && part > 0 {
        (whole + 1, part - unit)
    } else {
        (whole, part)
    })
}

fn justify_days(a: Interval) -> Result<Interval> {
    let (months, days) = carry(a.months, i64::from(a.days), i64::from(DAYS_PER_MONTH))?;
    Ok(Interval { months, days: i32::try_from(days).map_err(|_| out_of_range())?, ..a })
}

fn justify_hours(a: Interval) -> Result<Interval> {
    let (days, micros) = carry(a.days, a.micros, DAY)?;
    Ok(Interval { days, micros, ..a })
}

fn justify(a: Interval) -> Result<Interval> {
    let days = i64::from(a.days) + a.micros / DAY;
    let (mut micros, month) = (a.micros % DAY, i64::from(DAYS_PER_MONTH));
    let months = i32::try_from(days / month).ok().and_then(|months| a.months.checked_add(months));
    let (mut months, mut days) = (months.ok_or_else(out_of_range)?, days % month);
    if months > 0 && (days < 0 || days == 0 && micros < 0) {
        (months, days) = (months - 1, days + month);
    } else if months < 0 && (days > 0 || days == 0 && micros > 0) {
        (months, days) = (months + 1, days - month);
    }
    if days > 0 && micros < 0 {
        (days, micros) = (days - 1, micros + DAY);
    } else if days < 0 && micros > 0 {
        (days, micros) = (days + 1, micros - DAY);
    }
    Ok(Interval { months, days: i32::try_from(days).map_err(|_| out_of_range())?, micros })
}
