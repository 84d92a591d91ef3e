//! Intervals from text: PostgreSQL's units, `HH:MM:SS`, the SQL standard's `Y-M D`, and ISO 8601 durations in both forms
//! (interval_in, DecodeInterval, DecodeISO8601Interval).

mod iso;

use arrow::datatypes::IntervalMonthDayNano;

use super::super::IntervalStyle;
use super::super::calendar::{DAY, HOUR, MINUTE, SECOND};
use super::datetime::fields::{Fault, Look, split};
use super::words::{self, Unit};
use super::{datetime, month_day_micro};
use crate::error::{Error, Kind, Result};

const MONTHS_PER_YEAR: i64 = 12;
const DAYS_PER_MONTH: i64 = 30;
const LENGTH_MAX: usize = 255;

/// Fields of `interval year to month` and the like, as bits of a typmod's upper half.
pub(crate) mod range {
    pub(crate) const MONTH: i32 = 1 << 1;
    pub(crate) const YEAR: i32 = 1 << 2;
    pub(crate) const DAY: i32 = 1 << 3;
    pub(crate) const HOUR: i32 = 1 << 10;
    pub(crate) const MINUTE: i32 = 1 << 11;
    pub(crate) const SECOND: i32 = 1 << 12;
    pub(crate) const FULL: i32 = 0x7fff;

    /// Of a typmod; -1 has all fields.
    pub(crate) fn of(typmod: i32) -> i32 {
        if typmod < 0 { FULL } else { (typmod >> 16) & FULL }
    }
}

/// 22007 for what is no interval, 22015 beyond the range of its fields, 22008 beyond that of Arrow's nanoseconds.
pub fn interval(text: &str, style: IntervalStyle) -> Result<IntervalMonthDayNano> {
    let (months, days, micros) = fields(text, style, range::FULL)?;
    month_day_micro(months, days, micros)
}

/// Months, days and microseconds. `range` says what a number without a unit is.
pub(crate) fn fields(text: &str, style: IntervalStyle, range: i32) -> Result<(i32, i32, i64)> {
    let sum = split(text, LENGTH_MAX).and_then(|fields| {
        let fields: Vec<_> = fields.iter().map(|field| (field.look, field.text.as_str())).collect();
        verbose(&fields, style, range)
    });
    let sum = match sum {
        Err(Fault::Format) => iso::read(text),
        other => other,
    };
    let sum = sum.map_err(|fault| fault.error(text, "interval"))?;
    let months = i64::from(sum.years) * MONTHS_PER_YEAR + i64::from(sum.months);
    let out_of_range = |_| Error::new(Kind::DateRange, "interval out of range");
    Ok((i32::try_from(months).map_err(out_of_range)?, sum.days, sum.micros))
}

#[derive(Clone, Copy, Default)]
struct Sum {
    years: i32,
    months: i32,
    days: i32,
    micros: i64,
}

/// A number: its whole part and its fraction, both with the sign.
#[derive(Clone, Copy)]
struct Amount {
    whole: i64,
    fraction: f64,
}

/// Bits of what was read, so that nothing is said twice.
fn bit(unit: Unit) -> u32 {
    1 << unit as u32
}

const TIME: u32 = 1 << Unit::Hour as u32
    | 1 << Unit::Minute as u32
    | 1 << Unit::Second as u32
    | 1 << Unit::Millisecond as u32
    | 1 << Unit::Microsecond as u32;
const SECONDS: u32 = 1 << Unit::Second as u32 | 1 << Unit::Millisecond as u32 | 1 << Unit::Microsecond as u32;

/// From the last field to the first, so that a unit is known before its number.
fn verbose(fields: &[(Look, &str)], style: IntervalStyle, range: i32) -> Result<Sum, Fault> {
    let mut sum = Sum::default();
    let mut seen = 0;
    let mut ago = false;
    let mut unit: Expected = Expected::Nothing;
    // In the SQL standard a sign before all fields is that of all, where no other has one.
    let signed = |(_, text): &(Look, &str)| text.starts_with(['-', '+']);
    let all_negative = style == IntervalStyle::SqlStandard
        && fields.first().is_some_and(|(_, text)| text.starts_with('-'))
        && !fields.iter().skip(1).any(signed);
    for &(look, text) in fields.iter().rev() {
        let bits = match look {
            Look::Time => {
                sum.micros = time(text, range)?;
                if all_negative {
                    sum.micros = -sum.micros;
                }
                unit = Expected::Unit(Unit::Day);
                TIME
            }
            Look::Signed if text.contains(':') && time(&text[1..], range).is_ok() => {
                let micros = time(&text[1..], range)?;
                sum.micros = if text.starts_with('-') || all_negative { -micros } else { micros };
                unit = Expected::Unit(Unit::Day);
                TIME
            }
            Look::Signed | Look::Date | Look::Number => {
                let (mut amount, months) = amount(text)?;
                let this = match unit {
                    _ if months => Unit::Month,
                    Expected::Nothing => last_field(range),
                    Expected::Unit(unit) => unit,
                    Expected::Ago => return Err(Fault::Format),
                };
                if all_negative {
                    amount = Amount { whole: -amount.whole.saturating_abs(), fraction: -amount.fraction.abs() };
                }
                sum.add(amount, this)?;
                // A number before hours is days.
                unit = Expected::Unit(if this == Unit::Hour { Unit::Day } else { this });
                match this {
                    Unit::Second if amount.fraction != 0.0 => SECONDS,
                    _ => bit(this),
                }
            }
            Look::Word | Look::SignedWord => {
                match words::unit(text) {
                    Some(named) => unit = Expected::Unit(named),
                    None if text == "ago" => {
                        ago = true;
                        unit = Expected::Ago;
                    }
                    None => return Err(Fault::Format),
                }
                0
            }
        };
        if seen & bits != 0 {
            return Err(Fault::Format);
        }
        seen |= bits;
    }
    if seen == 0 {
        return Err(Fault::Format);
    }
    if ago { sum.negated() } else { Ok(sum) }
}

#[derive(Clone, Copy, PartialEq)]
enum Expected {
    Nothing,
    Unit(Unit),
    /// Behind a number must come its unit.
    Ago,
}

fn time(text: &str, range: i32) -> Result<i64, Fault> {
    let (hours, minutes, seconds, micros) = datetime::clock(text, range == range::MINUTE | range::SECOND)?;
    let rest = minutes * MINUTE + seconds * SECOND + micros;
    hours.checked_mul(HOUR).and_then(|hours| hours.checked_add(rest)).ok_or(Fault::Overflow)
}

/// What a number without a unit means, by the declared fields.
fn last_field(range: i32) -> Unit {
    match range {
        range::YEAR => Unit::Year,
        r if r == range::MONTH || r == range::YEAR | range::MONTH => Unit::Month,
        range::DAY => Unit::Day,
        r if r == range::HOUR || r == range::DAY | range::HOUR => Unit::Hour,
        r if r == range::MINUTE
            || r == range::HOUR | range::MINUTE
            || r == range::DAY | range::HOUR | range::MINUTE =>
        {
            Unit::Minute
        }
        _ => Unit::Second,
    }
}

/// A number with or without a fraction, or `years-months` (true) as months.
fn amount(text: &str) -> Result<(Amount, bool), Fault> {
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, rest) = text.split_at(text.len() - unsigned.len() + digits);
    let whole: i64 = if digits == 0 { 0 } else { whole.parse().map_err(|_| Fault::Overflow)? };
    if let Some(months) = rest.strip_prefix('-') {
        let count = months.bytes().take_while(u8::is_ascii_digit).count();
        let (value, behind) = months.split_at(count);
        let value: i64 = if count == 0 { 0 } else { value.parse().map_err(|_| Fault::Overflow)? };
        if value >= MONTHS_PER_YEAR || behind.starts_with('-') && count == 0 {
            return Err(Fault::Overflow);
        }
        if !behind.is_empty() {
            return Err(Fault::Format);
        }
        let months = whole.checked_mul(MONTHS_PER_YEAR);
        let months = months.and_then(|m| m.checked_add(if negative { -value } else { value }));
        return Ok((Amount { whole: months.ok_or(Fault::Overflow)?, fraction: 0.0 }, true));
    }
    if rest.is_empty() {
        return Ok((Amount { whole, fraction: 0.0 }, false));
    }
    let fraction = datetime::fraction(rest)?;
    Ok((Amount { whole, fraction: if negative { -fraction } else { fraction } }, false))
}

impl Sum {
    /// Fractions flow down: of years into months, of months and weeks into days, of days into time.
    fn add(&mut self, amount: Amount, unit: Unit) -> Result<(), Fault> {
        match unit {
            Unit::Microsecond => self.add_micros(amount, 1),
            Unit::Millisecond => self.add_micros(amount, 1_000),
            Unit::Second => self.add_micros(amount, SECOND),
            Unit::Minute => self.add_micros(amount, MINUTE),
            Unit::Hour => self.add_micros(amount, HOUR),
            Unit::Day => {
                add(&mut self.days, amount.whole, 1)?;
                self.add_micros(Amount { whole: 0, ..amount }, DAY)
            }
            Unit::Week => {
                add(&mut self.days, amount.whole, 7)?;
                self.add_fraction_of_days(amount.fraction, 7)
            }
            Unit::Month => {
                add(&mut self.months, amount.whole, 1)?;
                self.add_fraction_of_days(amount.fraction, DAYS_PER_MONTH)
            }
            Unit::Year => self.add_years(amount, 1),
            Unit::Decade => self.add_years(amount, 10),
            Unit::Century => self.add_years(amount, 100),
            Unit::Millennium => self.add_years(amount, 1_000),
            Unit::Quarter
            | Unit::Dow
            | Unit::Isodow
            | Unit::Doy
            | Unit::Isoyear
            | Unit::Julian
            | Unit::Epoch
            | Unit::Zone
            | Unit::ZoneHour
            | Unit::ZoneMinute
            | Unit::Reserved => Err(Fault::Format),
        }
    }

    fn add_years(&mut self, amount: Amount, years: i32) -> Result<(), Fault> {
        add(&mut self.years, amount.whole, years)?;
        let months = (amount.fraction * f64::from(years) * MONTHS_PER_YEAR as f64).round_ties_even() as i64;
        add(&mut self.months, months, 1)
    }

    fn add_fraction_of_days(&mut self, fraction: f64, days: i64) -> Result<(), Fault> {
        let fraction = fraction * days as f64;
        add(&mut self.days, fraction.trunc() as i64, 1)?;
        self.add_micros(Amount { whole: 0, fraction: fraction.fract() }, DAY)
    }

    fn add_micros(&mut self, amount: Amount, unit: i64) -> Result<(), Fault> {
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
        let whole = amount.whole.checked_mul(unit).and_then(|micros| self.micros.checked_add(micros));
        self.micros = whole.and_then(|micros| micros.checked_add(rounded)).ok_or(Fault::Overflow)?;
        Ok(())
    }

    fn negated(self) -> Result<Self, Fault> {
        let negated = || {
            Some(Self {
                years: self.years.checked_neg()?,
                months: self.months.checked_neg()?,
                days: self.days.checked_neg()?,
                micros: self.micros.checked_neg()?,
            })
        };
        negated().ok_or(Fault::Overflow)
    }
}

fn add(sum: &mut i32, value: i64, scale: i32) -> Result<(), Fault> {
    let value = i32::try_from(value).ok().and_then(|value| value.checked_mul(scale));
    *sum = value.and_then(|value| sum.checked_add(value)).ok_or(Fault::Overflow)?;
    Ok(())
}
