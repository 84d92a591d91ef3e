//! The proleptic Gregorian calendar over PostgreSQL's whole range, ISO weeks, and the limits of dates and timestamps. Time
//! zones are `calendar/zone.rs`'s, text is `calendar/spell.rs`'s; it reads no text.

pub(crate) mod abbreviations;
pub(crate) mod posix;
pub(crate) mod spell;
pub(crate) mod zone;

use crate::error::{Error, Kind, Result};

pub(crate) use spell::{date, interval, time, timestamp, timetz};
pub(crate) use zone::Zone;

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
/// The day after PostgreSQL's last timestamp (294276-12-31), in days since 1970.
pub(crate) const END_STAMP_DAY: i32 = 106_762_940;
/// The first timestamp, in microseconds since 1970. The end of the range is the end of i64, of which the extremes are
/// the infinities.
pub(crate) const FIRST_MICROS: i64 = FIRST_DAY as i64 * DAY;

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

pub(crate) fn is_leap(year: i64) -> bool {
    year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0)
}

pub(crate) fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// 0 is Sunday.
pub(crate) fn weekday(days: i64) -> i64 {
    (days + 4).rem_euclid(7)
}

/// The Monday with which a week of an ISO year begins.
pub(crate) fn iso_week_start(year: i64, week: i64) -> i64 {
    let fourth = days_of(year, 1, 4);
    fourth - (fourth + 3).rem_euclid(7) + (week - 1) * 7
}

/// ISO year and week of a day.
pub(crate) fn iso_week(days: i64) -> (i64, i64) {
    let thursday = days - (days + 3).rem_euclid(7) + 3;
    let year = civil(thursday).0;
    (year, (thursday - days_of(year, 1, 1)) / 7 + 1)
}

/// Whether PostgreSQL computes with such a day at all (`IS_VALID_JULIAN`).
pub(crate) fn is_valid_julian(year: i64, month: i64) -> bool {
    (year > -4713 || year == -4713 && month >= 11) && (year < 5_874_898 || year == 5_874_898 && month < 6)
}

/// The binary form of a date; the infinities are the same numbers on both sides.
pub(crate) fn days_since_2000(days: i32) -> Result<i32> {
    if days == i32::MAX || days == i32::MIN {
        return Ok(days);
    }
    Ok(checked_date(i64::from(days))? - EPOCH_DAYS)
}

/// The binary form of a timestamp, likewise.
pub(crate) fn micros_since_2000(micros: i64) -> Result<i64> {
    check_timestamp(micros)?;
    Ok(if micros == i64::MAX || micros == i64::MIN { micros } else { micros - EPOCH_MICROS })
}

/// A finite date of the range; 22008 for others.
pub(crate) fn checked_date(days: i64) -> Result<i32> {
    let in_range = i32::try_from(days).ok().filter(|days| (FIRST_DAY..END_DAY).contains(days));
    in_range.ok_or_else(|| Error::new(Kind::DateRange, "date out of range"))
}

/// 22008 for what PostgreSQL's timestamps do not reach; the infinities pass.
pub(crate) fn check_timestamp(micros: i64) -> Result<()> {
    if micros < FIRST_MICROS && micros != i64::MIN {
        return Err(out_of_range());
    }
    Ok(())
}

pub(crate) fn out_of_range() -> Error {
    Error::new(Kind::DateRange, "timestamp out of range")
}

/// A finite timestamp of the range.
pub(crate) fn is_finite_timestamp(micros: i64) -> bool {
    (FIRST_MICROS..i64::MAX).contains(&micros)
}

pub(crate) fn checked_time(micros: i64) -> Result<i64> {
    if (0..=DAY).contains(&micros) {
        return Ok(micros);
    }
    Err(Error::new(Kind::DateRange, "time out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_weeks_belong_to_the_year_of_their_thursday() {
        let rows = [
            ((2005, 1, 1), (2004, 53)),
            ((2005, 1, 3), (2005, 1)),
            ((2007, 12, 31), (2008, 1)),
            ((2008, 12, 29), (2009, 1)),
            ((2010, 1, 3), (2009, 53)),
            ((-4712, 1, 1), (-4712, 1)),
        ];
        for ((y, m, d), expected) in rows {
            let days = days_of(y, m, d);
            let week = iso_week(days);
            assert_eq!(week, expected, "{y}-{m}-{d}");
            let start = iso_week_start(week.0, week.1);
            assert!(start <= days && days < start + 7 && weekday(start) == 1, "{y}-{m}-{d}");
        }
    }
}
