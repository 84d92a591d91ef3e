//! The fields of a date or time in text, in any order PostgreSQL takes them in. What they mean to a type is decided by
//! `input/datetime.rs`.

use super::super::super::calendar::{self, HOUR, MINUTE, SECOND};
use super::super::zone::{self, ZoneName};
use super::{Read, Special, bad_format, range, zone_range};
use crate::error::{Error, Kind, Result};

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
/// Days from PostgreSQL's Julian day 0 to 1970-01-01.
const JULIAN_DAYS: i64 = 2_440_588;
/// Zones are less than sixteen hours off.
const OFFSET_HOURS_MAX: i64 = 15;
/// No year of any of the types has more digits.
const YEAR_MAX: i64 = 9_999_999;

pub(super) fn read(text: &str, name: &'static str) -> Result<Read> {
    let mut fields = Fields { text, name, rest: text, ..Fields::default() };
    loop {
        fields.rest = fields.rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ',' || c == '\u{b}');
        match fields.rest.bytes().next() {
            None => return fields.settle(),
            Some(b'0'..=b'9') => fields.number()?,
            Some(b'a'..=b'z' | b'A'..=b'Z') => fields.word()?,
            Some(b'+' | b'-') => fields.sign()?,
            Some(_) => return Err(fields.bad()),
        }
    }
}

/// A year is kept with the count of its digits: two mean this century or the last.
type Number = (i64, usize);

#[derive(Default)]
struct Fields<'a> {
    text: &'a str,
    name: &'static str,
    rest: &'a str,
    date: Option<(Number, i64, i64)>,
    julian: Option<i64>,
    month: Option<i64>,
    /// Numbers that are not yet year, month or day.
    numbers: Vec<Number>,
    bc: Option<bool>,
    pm: Option<bool>,
    read: Read,
}

impl<'a> Fields<'a> {
    fn number(&mut self) -> Result<()> {
        let digits = self.take(|c| c.is_ascii_digit());
        let next = self.rest.bytes().next();
        let beyond = self.rest.as_bytes().get(1).copied();
        match (next, beyond) {
            (Some(b':'), _) if self.read.time.is_none() => return self.clock(digits),
            (Some(sep @ (b'-' | b'/' | b'.')), Some(b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z'))
                if !self.has_date() && self.numbers.is_empty() && self.month.is_none() =>
            {
                return self.separated(digits, char::from(sep));
            }
            _ => {}
        }
        let value = self.parse(digits)?;
        match digits.len() {
            4 | 6 if self.expects_time() => self.run_together(digits),
            8 if !self.has_date() => {
                self.date = Some(((value / 10_000, 4), value / 100 % 100, value % 100));
                Ok(())
            }
            6 if !self.has_date() && self.month.is_none() => {
                self.date = Some(((value / 10_000, 2), value / 100 % 100, value % 100));
                Ok(())
            }
            _ if self.numbers.len() < 3 && !self.has_date() => {
                self.numbers.push((value, digits.len()));
                Ok(())
            }
            _ => Err(self.bad()),
        }
    }

    /// `HH:MM`, `HH:MM:SS`, `HH:MM:SS.ffffff`, `MM:SS.ffffff`; the first number is read.
    fn clock(&mut self, first: &str) -> Result<()> {
        let hours = self.parse(first)?;
        let minutes = self.after(':').ok_or_else(|| self.bad())?;
        let minutes = self.parse(minutes)?;
        if self.rest.starts_with('.') {
            return self.set_time(0, hours, minutes);
        }
        let seconds = if self.rest.starts_with(':') { self.after(':').ok_or_else(|| self.bad())? } else { "0" };
        let seconds = self.parse(seconds)?;
        self.set_time(hours, minutes, seconds)
    }

    /// `HHMM` or `HHMMSS`, behind a date.
    fn run_together(&mut self, digits: &str) -> Result<()> {
        let part = |from: usize| digits.get(from..from + 2).map_or(Ok(0), |part| self.parse(part));
        let (hours, minutes, seconds) = (part(0)?, part(2)?, part(4)?);
        self.set_time(hours, minutes, seconds)
    }

    fn set_time(&mut self, hours: i64, minutes: i64, seconds: i64) -> Result<()> {
        let fraction = self.fraction()?;
        let whole_day = hours == 24 && minutes == 0 && seconds == 0 && fraction == 0;
        if (hours > 23 && !whole_day) || minutes > 59 || seconds > 60 || (seconds == 60 && fraction > 0) {
            return Err(self.overflow());
        }
        self.read.time = Some(hours * HOUR + minutes * MINUTE + seconds * SECOND + fraction);
        Ok(())
    }

    /// `.123456`, rounded to microseconds.
    fn fraction(&mut self) -> Result<i64> {
        if !self.rest.starts_with('.') {
            return Ok(0);
        }
        self.rest = &self.rest[1..];
        let digits = self.take(|c| c.is_ascii_digit());
        let value: f64 = format!("0.{digits}0").parse().map_err(|_| self.bad())?;
        Ok((value * 1e6).round_ties_even() as i64)
    }

    /// A date of three parts with one kind of mark between them; the first is read.
    fn separated(&mut self, first: &str, mark: char) -> Result<()> {
        let before = self.rest;
        self.rest = &self.rest[1..];
        let second = self.take(|c| c.is_ascii_alphanumeric());
        let Some(third) = self.after(mark) else {
            if mark == '.' && self.numbers.is_empty() {
                // Not a date but a number with a fraction, which only a time has.
                self.rest = before;
            }
            return Err(self.bad());
        };
        let number = |digits: &str| self.parse(digits).map(|value| (value, digits.len()));
        if second.bytes().all(|byte| byte.is_ascii_digit()) {
            let parts = [number(first)?, number(second)?, number(third)?];
            self.date = Some(in_order(parts));
            return Ok(());
        }
        let month = month(second).ok_or_else(|| self.bad())?;
        let (first, third) = (number(first)?, number(third)?);
        self.date = Some(if first.1 >= 3 { (first, month, third.0) } else { (third, month, first.0) });
        Ok(())
    }

    fn word(&mut self) -> Result<()> {
        let letters = self.take(|c| c.is_ascii_alphabetic());
        let lower = letters.to_ascii_lowercase();
        let next = self.rest.bytes().next();
        match lower.as_str() {
            "t" if self.expects_time() => return Ok(()),
            "j" if next.is_some_and(|byte| byte.is_ascii_digit()) && !self.has_date() => {
                let digits = self.take(|c| c.is_ascii_digit());
                self.julian = Some(self.parse(digits)? - JULIAN_DAYS);
                return Ok(());
            }
            "ad" | "bc" if self.bc.is_none() => self.bc = Some(lower == "bc"),
            "am" | "pm" if self.pm.is_none() => self.pm = Some(lower == "pm"),
            "at" | "on" => {}
            "allballs" => (self.read.time, self.read.zone) = (Some(0), Some(ZoneName::Fixed(0))),
            "now" => self.special(Special::Now)?,
            "today" => self.special(Special::Day(0))?,
            "tomorrow" => self.special(Special::Day(1))?,
            "yesterday" => self.special(Special::Day(-1))?,
            "epoch" => self.special(Special::Epoch)?,
            "infinity" => self.special(Special::Infinity)?,
            _ => {
                if let Some(month) = month(&lower).filter(|_| self.month.is_none()) {
                    self.month = Some(month);
                    // `Jan-08-1999`
                    self.rest = self.rest.strip_prefix(['-', '/']).unwrap_or(self.rest);
                    self.numbers_after_month()?;
                } else if !is_weekday(&lower) {
                    self.zone(letters)?;
                }
            }
        }
        Ok(())
    }

    /// `08-1999` behind a month and its hyphen.
    fn numbers_after_month(&mut self) -> Result<()> {
        if !self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(());
        }
        let day = self.take(|c| c.is_ascii_digit());
        self.numbers.push((self.parse(day)?, day.len()));
        if let Some(year) = self.after('-').or_else(|| self.after('/')) {
            self.numbers.push((self.parse(year)?, year.len()));
        }
        Ok(())
    }

    fn special(&mut self, special: Special) -> Result<()> {
        if self.read.special.replace(special).is_some() { Err(self.bad()) } else { Ok(()) }
    }

    /// A zone's name, of which the letters are read: `utc`, `America/New_York`, `Etc/GMT+5`, `EST5EDT`.
    fn zone(&mut self, letters: &'a str) -> Result<()> {
        let tail = self.take(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '_'));
        let more = if tail.contains('/') {
            self.take(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '+'))
        } else {
            ""
        };
        let name = [letters, tail, more].concat();
        let twice = self.read.zone.is_some();
        match zone::by_name(&name) {
            Some(zone) if !twice => self.read.zone = Some(zone),
            None if name.contains('/') && self.has_date() => {
                let message = format!("time zone \"{}\" not recognized", name.to_ascii_lowercase());
                return Err(Error::new(Kind::InvalidParameter, message));
            }
            _ => return Err(self.bad()),
        }
        Ok(())
    }

    /// An offset behind a time (or a date), or `-infinity`.
    fn sign(&mut self) -> Result<()> {
        let (sign, rest) = self.rest.split_at(1);
        let word = rest.get(..8).filter(|word| word.eq_ignore_ascii_case("infinity"));
        if word.is_some() {
            self.rest = &rest[8..];
            return self.special(if sign == "-" { Special::MinusInfinity } else { Special::Infinity });
        }
        if self.read.zone.is_some() || !(self.has_date() || self.read.time.is_some()) {
            return Err(self.bad());
        }
        self.rest = rest;
        let digits = self.take(|c| c.is_ascii_digit());
        let number = self.parse(digits)?;
        let (hours, minutes, seconds) = if self.rest.starts_with(':') {
            let minutes = self.after(':').ok_or_else(|| self.bad())?;
            let seconds = if self.rest.starts_with(':') { self.after(':').ok_or_else(|| self.bad())? } else { "0" };
            (number, self.parse(minutes)?, self.parse(seconds)?)
        } else {
            match digits.len() {
                1 | 2 => (number, 0, 0),
                3 | 4 => (number / 100, number % 100, 0),
                5 | 6 => (number / 10_000, number / 100 % 100, number % 100),
                _ => return Err(self.bad()),
            }
        };
        if hours > OFFSET_HOURS_MAX || minutes > 59 || seconds > 59 {
            return Err(zone_range(self.text));
        }
        let east = hours * 3600 + minutes * 60 + seconds;
        self.read.zone = Some(ZoneName::Fixed(if sign == "-" { -east } else { east }));
        Ok(())
    }

    fn settle(mut self) -> Result<Read> {
        if let Some(month) = self.month {
            let (year, day) = match *self.numbers.as_slice() {
                [year, day] if year.1 >= 3 => (year, day.0),
                [day, year] => (year, day.0),
                _ => return Err(self.bad()),
            };
            if self.date.is_some() || self.julian.is_some() {
                return Err(self.bad());
            }
            self.date = Some((year, month, day));
        } else if let [a, b, c] = *self.numbers.as_slice() {
            self.date = Some(in_order([a, b, c]));
        } else if !self.numbers.is_empty() {
            return Err(self.bad());
        }
        if let Some(date) = self.date {
            self.read.days = Some(self.day(date)?);
        } else {
            self.read.days = self.julian;
        }
        if let Some(pm) = self.pm {
            let time = self.read.time.ok_or_else(|| self.bad())?;
            if time >= 13 * HOUR {
                return Err(self.overflow());
            }
            self.read.time = Some(time % (12 * HOUR) + if pm { 12 * HOUR } else { 0 });
        }
        let said = self.read.days.is_some() || self.read.time.is_some();
        match self.read.special {
            Some(Special::Day(_)) if self.read.days.is_none() => Ok(self.read),
            None if said => Ok(self.read),
            Some(_) if !said && self.read.zone.is_none() => Ok(self.read),
            _ => Err(self.bad()),
        }
    }

    fn day(&self, ((year, digits), month, day): (Number, i64, i64)) -> Result<i64> {
        let bc = self.bc == Some(true);
        let year = match year {
            0..70 if digits <= 2 && !bc => year + 2000,
            70..100 if digits <= 2 && !bc => year + 1900,
            // There is no year 0; astronomers' year 0 is 1 BC.
            0 => return Err(self.overflow()),
            1..=YEAR_MAX => {
                if bc {
                    1 - year
                } else {
                    year
                }
            }
            _ => return Err(range(format!("{} out of range: \"{}\"", self.range_name(), self.text))),
        };
        let (Some(month), Some(day)) = (
            u32::try_from(month).ok().filter(|m| (1..=12).contains(m)),
            u32::try_from(day).ok().filter(|d| (1..=31).contains(d)),
        ) else {
            return Err(self.overflow().with_hint("Perhaps you need a different \"datestyle\" setting."));
        };
        if day > calendar::days_in_month(year, month) {
            return Err(self.overflow());
        }
        Ok(calendar::days_of(year, month, day))
    }

    /// Behind a date, or from the start where the type has none.
    fn expects_time(&self) -> bool {
        self.read.time.is_none() && (self.has_date() || self.name.starts_with("time ") || self.name == "time")
    }

    fn range_name(&self) -> &'static str {
        if self.name == "date" { "date" } else { "timestamp" }
    }

    fn has_date(&self) -> bool {
        let by_month = self.month.is_some() && self.numbers.len() == 2;
        self.date.is_some() || self.julian.is_some() || by_month || matches!(self.read.special, Some(Special::Day(_)))
    }

    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// The digits behind a mark; `None`, and nothing taken, where the mark or the digits are missing.
    fn after(&mut self, mark: char) -> Option<&'a str> {
        let behind = self.rest.strip_prefix(mark)?;
        let end = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
        let (digits, rest) = behind.split_at(end);
        if digits.is_empty() {
            return None;
        }
        self.rest = rest;
        Some(digits)
    }

    fn parse(&self, digits: &str) -> Result<i64> {
        // More digits than any field has would not help, and must not overflow later sums.
        match digits.parse::<i64>() {
            Ok(value) if value <= 999_999_999_999 => Ok(value),
            _ if digits.is_empty() => Err(self.bad()),
            _ => Err(self.overflow()),
        }
    }

    fn bad(&self) -> Error {
        bad_format(self.text, self.name)
    }

    fn overflow(&self) -> Error {
        range(format!("date/time field value out of range: \"{}\"", self.text))
    }
}

/// DateStyle MDY, unless the first part is plainly a year.
fn in_order([a, b, c]: [Number; 3]) -> (Number, i64, i64) {
    if a.1 >= 3 { (a, b.0, c.0) } else { (c, a.0, b.0) }
}

/// Whole names, or three letters (and `sept`).
fn month(word: &str) -> Option<i64> {
    let lower = word.to_ascii_lowercase();
    let found = MONTHS
        .iter()
        .position(|month| *month == lower || month[..3] == lower || (lower == "sept" && *month == "september"))?;
    Some(found as i64 + 1)
}

fn is_weekday(word: &str) -> bool {
    WEEKDAYS.iter().any(|day| *day == word || day[..3] == *word) || matches!(word, "tues" | "weds" | "thur" | "thurs")
}
