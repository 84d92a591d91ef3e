//! to_char: a moment or a span by a template (DCH_to_char).

use std::fmt::Write;

use bytes::BytesMut;

use super::Node;
use super::field::{Field, Id, Letters};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::calendar::spell::{MONTHS, WEEKDAYS};
use crate::formats::postgres::calendar::{FIRST_DAY, HOUR, MINUTE, SECOND, civil, days_of, weekday};
use crate::sql::kernel::Interval;

const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];
/// Blanks fill a whole month's or weekday's name, and a Roman numeral.
const NAME_WIDTH: usize = 9;
const ROMAN_WIDTH: usize = 4;

/// The fields of what is shown. A year is astronomical, an interval's is a number of years; an interval's parts may be
/// negative.
pub(super) struct Shown {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    day_of_year: i64,
    weekday: i64,
    /// Seconds east of Greenwich.
    east: i64,
    zone: Option<String>,
    interval: bool,
}

impl Shown {
    pub(super) fn of_local(days: i64, of_day: i64, east: i64, zone: Option<String>) -> Self {
        let (year, month, day) = civil(days);
        Self {
            year,
            month: i64::from(month),
            day: i64::from(day),
            hour: of_day / HOUR,
            minute: of_day / MINUTE % 60,
            second: of_day / SECOND % 60,
            micros: of_day % SECOND,
            day_of_year: days - days_of(year, 1, 1) + 1,
            weekday: weekday(days),
            east,
            zone,
            interval: false,
        }
    }

    pub(super) fn of_interval(value: Interval) -> Self {
        Self {
            year: i64::from(value.months / 12),
            month: i64::from(value.months % 12),
            day: i64::from(value.days),
            hour: value.micros / HOUR,
            minute: value.micros / MINUTE % 60,
            second: value.micros / SECOND % 60,
            micros: value.micros % SECOND,
            day_of_year: i64::from(value.months) * 30 + i64::from(value.days),
            weekday: 0,
            east: 0,
            zone: None,
            interval: true,
        }
    }

    /// As people count years; an interval's as it is.
    fn counted(&self, year: i64) -> i64 {
        if self.interval || year > 0 { year } else { 1 - year }
    }

    fn iso_year(&self) -> i64 {
        let (mut year, day) = (self.year, julian(self.year, self.month, self.day));
        if day < first_monday(year) {
            year -= 1;
        } else if day >= first_monday(year + 1) {
            year += 1;
        }
        year
    }

    fn iso_day_of_year(&self) -> i64 {
        julian(self.year, self.month, self.day) - first_monday(self.iso_year()) + 1
    }

    fn century(&self) -> i64 {
        match self.year {
            year if self.interval => year / 100,
            year @ 1.. => (year - 1) / 100 + 1,
            year => year / 100 - 1,
        }
    }
}

/// date2j: also of a month 0, as an interval has it.
fn julian(year: i64, month: i64, day: i64) -> i64 {
    let (month, year) = if month > 2 { (month + 1, year + 4800) } else { (month + 13, year + 4799) };
    let century = year / 100;
    year * 365 - 32_167 + year / 4 - century + century / 4 + 7834 * month / 256 + day
}

/// The Monday of an ISO year's first week.
fn first_monday(year: i64) -> i64 {
    let fourth = julian(year, 1, 4);
    fourth - weekday(fourth - 1 + i64::from(FIRST_DAY))
}

pub(super) fn spell(shown: &Shown, template: &[Node], out: &mut BytesMut) -> Result<()> {
    for node in template {
        match node {
            Node::Field(field) => one(shown, field, out)?,
            Node::Separator(c) | Node::Space(c) | Node::Other(c) => {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
    Ok(())
}

fn one(s: &Shown, field: &Field, out: &mut BytesMut) -> Result<()> {
    if s.interval && !spans(field.id()) {
        let hint = "Intervals are not tied to specific calendar dates.";
        return Err(Error::new(Kind::InvalidDate, "invalid format specification for an interval value").with_hint(hint));
    }
    let pm = s.hour.rem_euclid(24) >= 12 && s.hour >= 0 || s.hour % 24 >= 12;
    let wide = |value: i64, width: usize| if value >= 0 { width } else { width + 1 };
    match field.id() {
        Id::Half(letters, dots) => word(out, letters, if dots { ["a.m.", "p.m."] } else { ["am", "pm"] }, pm),
        Id::Era(letters, dots) => word(out, letters, if dots { ["a.d.", "b.c."] } else { ["ad", "bc"] }, s.year <= 0),
        Id::Hour12 => {
            let hour = if s.hour % 12 == 0 { 12 } else { s.hour % 12 };
            number(out, field, hour, wide(s.hour, 2));
        }
        Id::Hour24 => number(out, field, s.hour, wide(s.hour, 2)),
        Id::Minute => number(out, field, s.minute, wide(s.minute, 2)),
        Id::Second => number(out, field, s.second, wide(s.second, 2)),
        Id::Fraction(digits) => fraction(out, field, s.micros, digits),
        Id::Millisecond => fraction(out, field, s.micros, 3),
        Id::Microsecond => fraction(out, field, s.micros, 6),
        Id::SecondOfDay => number(out, field, s.hour * 3600 + s.minute * 60 + s.second, 0),
        Id::Zone(letters) => {
            let name = s.zone.as_deref().unwrap_or("");
            let lower = name.to_ascii_lowercase();
            out.extend_from_slice(if letters == Letters::Lower { lower.as_bytes() } else { name.as_bytes() });
        }
        Id::ZoneHour => put(out, format_args!("{}{:02}", sign(s.east), s.east.abs() / 3600)),
        Id::ZoneMinute => put(out, format_args!("{:02}", s.east.abs() % 3600 / 60)),
        Id::Offset => {
            let width = if field.fills() { 0 } else { 2 };
            put(out, format_args!("{}{:0width$}", sign(s.east), s.east.abs() / 3600));
            if s.east % 3600 != 0 {
                put(out, format_args!(":{:02}", s.east.abs() % 3600 / 60));
            }
        }
        Id::MonthName(letters, whole) => name(out, field, &MONTHS, s.month - 1, letters, whole),
        Id::WeekdayName(letters, whole) => name(out, field, &WEEKDAYS, s.weekday, letters, whole),
        Id::Month => number(out, field, s.month, wide(s.month, 2)),
        Id::DayOfYear => number(out, field, s.day_of_year, 3),
        Id::IsoDayOfYear => number(out, field, s.iso_day_of_year(), 3),
        Id::Day => number(out, field, s.day, 2),
        Id::Weekday => number(out, field, s.weekday + 1, 0),
        Id::IsoWeekday => number(out, field, if s.weekday == 0 { 7 } else { s.weekday }, 0),
        Id::Week => number(out, field, (s.day_of_year - 1) / 7 + 1, 2),
        Id::IsoWeek => number(out, field, (s.iso_day_of_year() - 1) / 7 + 1, 2),
        Id::Quarter if s.month == 0 => {}
        Id::Quarter => number(out, field, (s.month - 1) / 3 + 1, 0),
        Id::Century => {
            let century = s.century();
            number(out, field, century, if century.abs() <= 99 { wide(century, 2) } else { 0 });
        }
        Id::YearWithComma => {
            let year = s.counted(s.year);
            let start = out.len();
            put(out, format_args!("{},{:03}", year / 1000, year % 1000));
            ordinal(out, field, start);
        }
        Id::Year(digits) => year(out, field, s.counted(s.year), s.counted(s.year), digits),
        Id::IsoYear(digits) => year(out, field, s.counted(s.iso_year()), s.counted(s.year), digits),
        Id::Roman(letters) => roman(out, field, s, letters),
        Id::WeekOfMonth => number(out, field, (s.day - 1) / 7 + 1, 0),
        Id::Julian => number(out, field, julian(s.year, s.month, s.day), 0),
        Id::Exact => {}
    }
    Ok(())
}

/// Whether an interval has such a field.
fn spans(id: Id) -> bool {
    match id {
        Id::Zone(_)
        | Id::ZoneHour
        | Id::ZoneMinute
        | Id::Offset
        | Id::Era(..)
        | Id::MonthName(..)
        | Id::WeekdayName(..)
        | Id::Weekday
        | Id::IsoWeekday => false,
        Id::Half(..)
        | Id::Century
        | Id::DayOfYear
        | Id::Day
        | Id::Fraction(_)
        | Id::Exact
        | Id::Hour24
        | Id::Hour12
        | Id::IsoDayOfYear
        | Id::IsoWeek
        | Id::IsoYear(_)
        | Id::Julian
        | Id::Minute
        | Id::Month
        | Id::Millisecond
        | Id::Quarter
        | Id::Roman(_)
        | Id::SecondOfDay
        | Id::Second
        | Id::Microsecond
        | Id::Week
        | Id::WeekOfMonth
        | Id::YearWithComma
        | Id::Year(_) => true,
    }
}

fn put(out: &mut BytesMut, text: std::fmt::Arguments<'_>) {
    // writing to memory does not fail
    let _ = out.write_fmt(text);
}

fn sign(value: i64) -> char {
    if value >= 0 { '+' } else { '-' }
}

/// `width` counts the sign.
fn number(out: &mut BytesMut, field: &Field, value: i64, width: usize) {
    let start = out.len();
    let width = if field.fills() { 0 } else { width };
    put(out, format_args!("{value:0width$}"));
    ordinal(out, field, start);
}

fn fraction(out: &mut BytesMut, field: &Field, micros: i64, digits: u8) {
    let (start, width) = (out.len(), usize::from(digits));
    put(out, format_args!("{:0width$}", micros / 10_i64.pow(6 - u32::from(digits.min(6)))));
    ordinal(out, field, start);
}

/// The width goes by the sign of the Gregorian year.
fn year(out: &mut BytesMut, field: &Field, year: i64, gregorian: i64, digits: u8) {
    let width = usize::from(digits);
    match digits {
        1 => {
            let start = out.len();
            put(out, format_args!("{}", year % 10));
            ordinal(out, field, start);
        }
        4 => number(out, field, year, if gregorian >= 0 { width } else { width + 1 }),
        _ => {
            let shown = year % 10_i64.pow(u32::from(digits));
            number(out, field, shown, if gregorian >= 0 { width } else { width + 1 });
        }
    }
}

/// `st`, `nd`, `rd` or `th` behind the number that begins at `start`.
fn ordinal(out: &mut BytesMut, field: &Field, start: usize) {
    let Some(letters) = field.ordinal() else { return };
    let digits = out.get(start..).unwrap_or_default();
    let teens = digits.len() > 1 && digits[digits.len() - 2] == b'1';
    let suffix = match digits.last() {
        Some(b'1') if !teens => "st",
        Some(b'2') if !teens => "nd",
        Some(b'3') if !teens => "rd",
        _ => "th",
    };
    put_in(out, letters, suffix);
}

fn put_in(out: &mut BytesMut, letters: Letters, text: &str) {
    match letters {
        Letters::Upper => out.extend(text.bytes().map(|byte| byte.to_ascii_uppercase())),
        Letters::Lower => out.extend(text.bytes().map(|byte| byte.to_ascii_lowercase())),
        Letters::Initial => out.extend_from_slice(text.as_bytes()),
    }
}

fn word(out: &mut BytesMut, letters: Letters, words: [&str; 2], second: bool) {
    let [first, other] = words;
    put_in(out, letters, if second { other } else { first });
}

fn name(out: &mut BytesMut, field: &Field, names: &[&str], place: i64, letters: Letters, whole: bool) {
    let Some(name) = usize::try_from(place).ok().and_then(|place| names.get(place)) else { return };
    if !whole {
        put_in(out, letters, &name[..3]);
        return;
    }
    put_in(out, letters, name);
    if !field.fills() && !field.translated() {
        out.extend(std::iter::repeat_n(b' ', NAME_WIDTH.saturating_sub(name.len())));
    }
}

fn roman(out: &mut BytesMut, field: &Field, s: &Shown, letters: Letters) {
    // From the twelfth on, an interval's months count backwards where they are negative.
    let month = match s.month {
        0 if s.year == 0 => return,
        0 if s.year > 0 => 12,
        0 => 1,
        month @ ..0 => 13 + month,
        month => month,
    };
    let numeral = usize::try_from(month - 1).ok().and_then(|place| ROMAN.get(place)).copied().unwrap_or("");
    put_in(out, letters, numeral);
    if !field.fills() {
        out.extend(std::iter::repeat_n(b' ', ROMAN_WIDTH.saturating_sub(numeral.len())));
    }
}
