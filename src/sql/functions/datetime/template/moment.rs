//! What the numbers read by a template mean together (do_to_timestamp).

use super::field::Mode;
use super::read::invalid;
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::calendar::{
    FIRST_DAY, SECOND, civil, days_in_month, days_of, is_valid_julian, iso_week_start,
};

const OFFSET_HOURS_MAX: i32 = 15;

/// A moment's fields within their ranges.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    year: i64,
    month: i64,
    day: i64,
    of_day: i64,
    east: Option<i64>,
    digits: Option<u8>,
}

impl Moment {
    /// Days since 1970; `None` outside of PostgreSQL's calendar.
    pub(super) fn date(&self) -> Option<i64> {
        let (month, day) = (u32::try_from(self.month).ok()?, u32::try_from(self.day).ok()?);
        is_valid_julian(self.year, self.month).then(|| days_of(self.year, month, day))
    }

    pub(super) fn of_day(&self) -> i64 {
        self.of_day
    }

    /// Seconds east of Greenwich, where the text has a zone.
    pub(super) fn east(&self) -> Option<i64> {
        self.east
    }

    /// Digits of seconds that the template asks for (`FF3`).
    pub(super) fn digits(&self) -> Option<i32> {
        self.digits.map(i32::from)
    }
}

/// Numbers as they were read; 0 is also "not there".
#[derive(Default)]
pub(super) struct Found {
    pub(super) mode: Option<Mode>,
    pub(super) half_day_clock: bool,
    pub(super) pm: i32,
    pub(super) hour: i32,
    pub(super) minute: i32,
    pub(super) second: i32,
    pub(super) second_of_day: i32,
    /// 1 is Sunday.
    pub(super) weekday: i32,
    pub(super) day: i32,
    pub(super) day_of_year: i32,
    pub(super) month: i32,
    pub(super) millis: i32,
    pub(super) micros: i32,
    pub(super) year: i32,
    pub(super) year_digits: u8,
    pub(super) bc: i32,
    pub(super) week: i32,
    pub(super) week_of_month: i32,
    pub(super) century: i32,
    pub(super) julian: i32,
    /// -1, 0 or 1.
    pub(super) zone_sign: i32,
    pub(super) zone_hour: i32,
    pub(super) zone_minute: i32,
    pub(super) digits: Option<u8>,
}

impl Found {
    pub(super) fn settle(mut self, text: &str) -> Result<Moment> {
        let overflow = || Error::new(Kind::DateRange, format!("date/time field value out of range: \"{text}\""));
        let seconds = i64::from(self.second_of_day);
        let or = |own: i32, of_day: i64| if own != 0 { i64::from(own) } else { of_day };
        let second = or(self.second, seconds % 3600 % 60);
        let minute = or(self.minute, seconds % 3600 / 60);
        let mut hour = or(self.hour, seconds / 3600);
        if self.half_day_clock {
            if !(1..=12).contains(&hour) {
                let hint = "Use the 24-hour clock, or give an hour between 1 and 12.";
                return Err(invalid(format!("hour \"{hour}\" is invalid for the 12-hour clock")).with_hint(hint));
            }
            hour = hour % 12 + if self.pm != 0 { 12 } else { 0 };
        }
        let mut date = Date { year: 0, month: 1, day: 1, has: [false; 3] };
        self.set_year(&mut date);
        if self.julian != 0 {
            date.set(i64::from(self.julian) + i64::from(FIRST_DAY));
        }
        if self.week != 0 {
            if self.mode == Some(Mode::IsoWeek) {
                let monday = iso_week_start(date.year, i64::from(self.week));
                date.set(
                    monday
                        + match self.weekday {
                            0 => 0,
                            // Sunday is the week's last day
                            ..=1 => 6,
                            weekday => i64::from(weekday) - 2,
                        },
                );
            } else {
                self.day_of_year = self.week.saturating_sub(1).saturating_mul(7).saturating_add(1);
            }
        }
        if self.week_of_month != 0 {
            self.day = self.week_of_month.saturating_sub(1).saturating_mul(7).saturating_add(1);
        }
        if self.day != 0 {
            (date.day, date.has[2]) = (i64::from(self.day), true);
        }
        if self.month != 0 {
            (date.month, date.has[1]) = (i64::from(self.month), true);
        }
        if self.day_of_year != 0 && (date.month <= 1 || date.day <= 1) {
            self.set_day_of_year(&mut date)?;
        }
        let micros = i64::from(self.millis) * 1000 + i64::from(self.micros);
        if !date.is_valid() {
            return Err(overflow());
        }
        let valid = (0..24).contains(&hour)
            && (0..60).contains(&minute)
            && (0..60).contains(&second)
            && (0..SECOND).contains(&micros);
        if !valid {
            return Err(overflow());
        }
        let of_day = ((hour * 60 + minute) * 60 + second) * SECOND + micros;
        let east = self.east(text)?;
        Ok(Moment { year: date.year, month: date.month, day: date.day, of_day, east, digits: self.digits })
    }

    fn set_year(&self, date: &mut Date) {
        let (year, century) = (i64::from(self.year), i64::from(self.century));
        let century = if self.bc != 0 { -century } else { century };
        date.year = match (year, century) {
            (0, 0) => return,
            // the first year of the century
            (0, 0..) => (century - 1) * 100 + 1,
            (0, _) => century * 100 + 1,
            _ if century != 0 && self.year_digits <= 2 => match (year % 100, century) {
                (0, 0..) => century * 100,
                (0, _) => century * 100 + 1,
                (year, 0..) => (century - 1) * 100 + year,
                (year, _) => (century + 1) * 100 - year + 1,
            },
            _ => {
                let year = if self.bc != 0 { -year } else { year };
                if year < 0 { year + 1 } else { year }
            }
        };
        date.has[0] = true;
    }

    fn set_day_of_year(&self, date: &mut Date) -> Result<()> {
        if date.year == 0 && self.bc == 0 {
            return Err(invalid("cannot calculate day of year without year information".into()));
        }
        let day = i64::from(self.day_of_year);
        if self.mode == Some(Mode::IsoWeek) {
            date.set(iso_week_start(date.year, 1) - 1 + day);
            return Ok(());
        }
        let (mut month, mut before) = (1, 0);
        while month <= 12 && day > before + i64::from(days_in_month(date.year, month)) {
            before += i64::from(days_in_month(date.year, month));
            month += 1;
        }
        if date.month <= 1 {
            date.month = i64::from(month);
        }
        if date.day <= 1 {
            date.day = day - before;
        }
        (date.has[1], date.has[2]) = (true, true);
        Ok(())
    }

    fn east(&self, text: &str) -> Result<Option<i64>> {
        if self.zone_sign == 0 {
            return Ok(None);
        }
        if !(0..=OFFSET_HOURS_MAX).contains(&self.zone_hour) || !(0..60).contains(&self.zone_minute) {
            let text = format!("time zone displacement out of range: \"{text}\"");
            return Err(Error::new(Kind::ZoneRange, text));
        }
        let seconds = i64::from(self.zone_hour * 60 + self.zone_minute) * 60;
        Ok(Some(i64::from(self.zone_sign) * seconds))
    }
}

struct Date {
    year: i64,
    month: i64,
    day: i64,
    /// Year, month and day that the text gave.
    has: [bool; 3],
}

impl Date {
    fn set(&mut self, days: i64) {
        let (year, month, day) = civil(days);
        *self = Self { year, month: i64::from(month), day: i64::from(day), has: [true; 3] };
    }

    /// Each given part in its range; a day that the month does not have is wrong where all are given.
    fn is_valid(&self) -> bool {
        let [_, month, day] = self.has;
        let longest = |month: i64| match u32::try_from(month) {
            Ok(month) => i64::from(days_in_month(self.year, month)),
            Err(_) => 0,
        };
        (!month || (1..=12).contains(&self.month))
            && (!day || (1..=31).contains(&self.day))
            && (self.has != [true; 3] || self.day <= longest(self.month))
    }
}
