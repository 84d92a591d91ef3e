//! Intervals from text: PostgreSQL's units, `HH:MM:SS`, the SQL standard's `Y-M D`, and ISO 8601 durations with
//! designators. ISO's alternative form (`P0001-02-03T…`) is not read.

use arrow::datatypes::IntervalMonthDayNano;

use super::super::calendar::{DAY, HOUR, MINUTE, SECOND};
use super::month_day_micro;
use crate::error::{Error, Kind, Result};

const DAYS_PER_MONTH: f64 = 30.0;
const MONTHS_PER_YEAR: i64 = 12;

/// 22007 for what is no interval, 22015 beyond the range of its fields, 22008 beyond that of Arrow's nanoseconds.
pub fn interval(text: &str) -> Result<IntervalMonthDayNano> {
    let mut sum = Sum { text, ..Sum::default() };
    let trimmed = text.trim();
    match trimmed.strip_prefix('P') {
        Some(designated) => sum.iso(designated)?,
        None => sum.verbose(trimmed)?,
    }
    let out_of_range = |_| Error::new(Kind::DateRange, "interval out of range");
    let months = i32::try_from(sum.months).map_err(out_of_range)?;
    let days = i32::try_from(sum.days).map_err(|_| sum.overflow())?;
    month_day_micro(months, days, sum.micros)
}

#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    /// So many years.
    Years(i64),
}

#[derive(Default)]
struct Sum<'a> {
    text: &'a str,
    months: i64,
    days: i64,
    micros: i64,
    /// No unit may be given twice.
    given: Vec<Unit>,
}

/// A signed number: its whole part and its fraction, both with the sign.
#[derive(Clone, Copy)]
struct Amount {
    whole: i64,
    fraction: f64,
}

impl<'a> Sum<'a> {
    fn verbose(&mut self, text: &'a str) -> Result<()> {
        let mut rest = text.strip_prefix('@').unwrap_or(text).trim_start();
        let mut pending: Option<Amount> = None;
        let mut ago = false;
        while let Some(first) = rest.chars().next() {
            if ago {
                return Err(self.bad());
            }
            if first.is_ascii_alphabetic() {
                let word = take(&mut rest, |c| c.is_ascii_alphabetic());
                match (pending.take(), word.eq_ignore_ascii_case("ago")) {
                    (None, true) => ago = true,
                    (Some(amount), false) => self.add(amount, unit(word).ok_or_else(|| self.bad())?)?,
                    _ => return Err(self.bad()),
                }
            } else {
                // A number before a number without a unit is the SQL standard's count of days.
                if let Some(days) = pending.take() {
                    self.standard_days(days, rest)?;
                }
                let ends = |c: char| c.is_ascii_whitespace() || c.is_ascii_alphabetic() || c == ',';
                let sign = take(&mut rest, |c| matches!(c, '-' | '+'));
                rest = rest.trim_start();
                let field = take(&mut rest, |c| !ends(c));
                pending = self.field(sign, field)?;
            }
            rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ',');
        }
        if let Some(amount) = pending {
            self.add(amount, Unit::Second)?;
        }
        if self.given.is_empty() {
            return Err(self.bad());
        }
        if ago {
            let negated = [self.months, self.days, self.micros].map(i64::checked_neg);
            let [Some(months), Some(days), Some(micros)] = negated else { return Err(self.overflow()) };
            (self.months, self.days, self.micros) = (months, days, micros);
        }
        Ok(())
    }

    fn standard_days(&mut self, days: Amount, rest: &str) -> Result<()> {
        let field = rest.split_ascii_whitespace().next().unwrap_or_default();
        if field.contains(':') { self.add(days, Unit::Day) } else { Err(self.bad()) }
    }

    /// A field without letters: a time, `years-months`, or a number that waits for its unit.
    fn field(&mut self, sign: &str, unsigned: &str) -> Result<Option<Amount>> {
        let (negative, sign) = match sign {
            "" | "+" => (false, 1),
            "-" => (true, -1),
            _ => return Err(self.bad()),
        };
        if unsigned.contains(':') {
            let micros = self.clock(unsigned)?;
            [Unit::Hour, Unit::Minute, Unit::Second].into_iter().try_for_each(|unit| self.give(unit))?;
            self.micros = self.micros.checked_add(sign * micros).ok_or_else(|| self.overflow())?;
            return Ok(None);
        }
        if let Some((years, months)) = unsigned.split_once('-') {
            let (years, months) = (self.digits(years)?, self.digits(months)?);
            if months >= MONTHS_PER_YEAR {
                return Err(self.overflow());
            }
            self.add(Amount { whole: sign * years, fraction: 0.0 }, Unit::Years(1))?;
            self.add(Amount { whole: sign * months, fraction: 0.0 }, Unit::Month)?;
            return Ok(None);
        }
        self.amount(negative, unsigned).map(Some)
    }

    fn amount(&self, negative: bool, unsigned: &str) -> Result<Amount> {
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        if (whole.is_empty() && fraction.is_empty()) || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.bad());
        }
        let whole = if whole.is_empty() { 0 } else { self.digits(whole)? };
        let fraction: f64 = format!("0.{fraction}0").parse().map_err(|_| self.bad())?;
        Ok(if negative { Amount { whole: -whole, fraction: -fraction } } else { Amount { whole, fraction } })
    }

    /// `H:MM`, `H:MM:SS`, with a fraction, or `MM:SS.f`: with two parts a fraction means seconds.
    fn clock(&self, text: &str) -> Result<i64> {
        let (clock, fraction) = text.split_once('.').map_or((text, None), |(clock, rest)| (clock, Some(rest)));
        let parts = clock.split(':').map(|part| self.digits(part)).collect::<Result<Vec<_>>>()?;
        let (hours, minutes, seconds) = match (parts.as_slice(), fraction) {
            (&[hours, minutes], None) => (hours, minutes, 0),
            (&[minutes, seconds], Some(_)) => (0, minutes, seconds),
            (&[hours, minutes, seconds], _) => (hours, minutes, seconds),
            _ => return Err(self.bad()),
        };
        let fraction = self.amount(false, &format!("0.{}", fraction.unwrap_or_default()))?.fraction;
        if minutes > 59 || seconds > 60 {
            return Err(self.overflow());
        }
        let hours = hours.checked_mul(HOUR).ok_or_else(|| self.overflow())?;
        let rest = minutes * MINUTE + seconds * SECOND + (fraction * 1e6).round_ties_even() as i64;
        hours.checked_add(rest).ok_or_else(|| self.overflow())
    }

    fn iso(&mut self, text: &'a str) -> Result<()> {
        let mut rest = text;
        let mut in_time = false;
        while let Some(first) = rest.chars().next() {
            if first == 'T' && !in_time {
                in_time = true;
                rest = &rest[1..];
                continue;
            }
            let number = take(&mut rest, |c| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
            let (negative, unsigned) = match number.strip_prefix('-') {
                Some(unsigned) => (true, unsigned),
                None => (false, number.strip_prefix('+').unwrap_or(number)),
            };
            let amount = self.amount(negative, unsigned)?;
            let unit = match (take(&mut rest, |c| c.is_ascii_alphabetic() && c != 'T'), in_time) {
                ("Y", false) => Unit::Years(1),
                ("M", false) => Unit::Month,
                ("W", false) => Unit::Week,
                ("D", false) => Unit::Day,
                ("H", true) => Unit::Hour,
                ("M", true) => Unit::Minute,
                ("S", true) => Unit::Second,
                _ => return Err(self.bad()),
            };
            self.add(amount, unit)?;
        }
        if in_time || !self.given.is_empty() { Ok(()) } else { Err(self.bad()) }
    }

    /// Fractions flow down: of years into months, of months and weeks into days, of days into time.
    fn add(&mut self, amount: Amount, unit: Unit) -> Result<()> {
        self.give(unit)?;
        match unit {
            Unit::Microsecond => self.add_micros(amount, 1),
            Unit::Millisecond => self.add_micros(amount, 1_000),
            Unit::Second => self.add_micros(amount, SECOND),
            Unit::Minute => self.add_micros(amount, MINUTE),
            Unit::Hour => self.add_micros(amount, HOUR),
            Unit::Day => self.add_days(amount, 1, 1.0),
            Unit::Week => self.add_days(amount, 7, 7.0),
            Unit::Month => {
                self.months = self.months.checked_add(amount.whole).ok_or_else(|| self.overflow())?;
                self.add_days(Amount { whole: 0, ..amount }, 1, DAYS_PER_MONTH)
            }
            Unit::Years(years) => {
                let whole = i32::try_from(amount.whole).map_err(|_| self.overflow())?;
                let whole = i64::from(whole).checked_mul(years * MONTHS_PER_YEAR);
                let fraction = (amount.fraction * (years * MONTHS_PER_YEAR) as f64).round_ties_even() as i64;
                let months = whole.and_then(|months| self.months.checked_add(months)?.checked_add(fraction));
                self.months = months.ok_or_else(|| self.overflow())?;
                Ok(())
            }
        }
    }

    fn give(&mut self, unit: Unit) -> Result<()> {
        if self.given.contains(&unit) {
            return Err(self.bad());
        }
        self.given.push(unit);
        Ok(())
    }

    fn add_days(&mut self, amount: Amount, days: i64, fraction_days: f64) -> Result<()> {
        let fraction = amount.fraction * fraction_days;
        let whole = amount.whole.checked_mul(days).and_then(|days| days.checked_add(fraction.trunc() as i64));
        self.days = whole.and_then(|days| self.days.checked_add(days)).ok_or_else(|| self.overflow())?;
        self.add_micros(Amount { whole: 0, fraction: fraction.fract() }, DAY)
    }

    fn add_micros(&mut self, amount: Amount, unit: i64) -> Result<()> {
        // Rounds half away from zero, but exactly half stays: PostgreSQL's AdjustFractMicroseconds.
        let scaled = amount.fraction * unit as f64;
        let rounded = scaled.trunc() as i64
            + if scaled.fract() > 0.5 {
                1
            } else if scaled.fract() < -0.5 {
                -1
            } else {
                0
            };
        let whole = amount.whole.checked_mul(unit).and_then(|micros| micros.checked_add(rounded));
        self.micros = whole.and_then(|micros| self.micros.checked_add(micros)).ok_or_else(|| self.overflow())?;
        Ok(())
    }

    fn digits(&self, digits: &str) -> Result<i64> {
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.bad());
        }
        digits.parse().map_err(|_| self.overflow())
    }

    fn bad(&self) -> Error {
        Error::new(Kind::InvalidDate, format!("invalid input syntax for type interval: \"{}\"", self.text))
    }

    fn overflow(&self) -> Error {
        Error::new(Kind::IntervalRange, format!("interval field value out of range: \"{}\"", self.text))
    }
}

fn take<'a>(rest: &mut &'a str, wanted: impl Fn(char) -> bool) -> &'a str {
    let end = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
    let (taken, behind) = rest.split_at(end);
    *rest = behind;
    taken
}

fn unit(word: &str) -> Option<Unit> {
    Some(match word.to_ascii_lowercase().as_str() {
        "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecond" | "microseconds" | "microsecon" => {
            Unit::Microsecond
        }
        "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds" | "millisecon" => {
            Unit::Millisecond
        }
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Second,
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Minute,
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Hour,
        "d" | "day" | "days" => Unit::Day,
        "w" | "week" | "weeks" => Unit::Week,
        "mon" | "mons" | "month" | "months" => Unit::Month,
        "y" | "yr" | "yrs" | "year" | "years" => Unit::Years(1),
        "dec" | "decs" | "decade" | "decades" => Unit::Years(10),
        "c" | "cent" | "century" | "centuries" => Unit::Years(100),
        "mil" | "mils" | "millennium" | "millennia" => Unit::Years(1_000),
        _ => return None,
    })
}
