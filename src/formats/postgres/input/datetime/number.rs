//! Numbers in dates and times: which of year, month, day or time of day they are by what was read before (DecodeDate,
//! DecodeNumber, DecodeNumberField, DecodeTime, ValidateDate).

use super::super::super::DateOrder;
use super::super::super::calendar::{self, DAY, SECOND};
use super::super::words::{self, Word};
use super::fields::Fault;

/// Seconds of a zone's offset stay below sixteen hours.
const OFFSET_HOURS_MAX: i32 = 15;

/// Which fields were read: one bit each.
pub(super) mod mask {
    pub(in super::super) const YEAR: u32 = 1;
    pub(in super::super) const MONTH: u32 = 1 << 1;
    pub(in super::super) const DAY: u32 = 1 << 2;
    pub(in super::super) const HOUR: u32 = 1 << 3;
    pub(in super::super) const MINUTE: u32 = 1 << 4;
    pub(in super::super) const SECOND: u32 = 1 << 5;
    pub(in super::super) const FRACTION: u32 = 1 << 6;
    pub(in super::super) const DAY_OF_YEAR: u32 = 1 << 7;
    pub(in super::super) const ZONE: u32 = 1 << 8;
    pub(in super::super) const SUMMER_ZONE: u32 = 1 << 9;
    pub(in super::super) const SUMMER_WORD: u32 = 1 << 10;
    pub(in super::super) const HALF: u32 = 1 << 11;
    pub(in super::super) const ERA: u32 = 1 << 12;
    pub(in super::super) const WEEKDAY: u32 = 1 << 13;
    pub(in super::super) const DYNAMIC_ZONE: u32 = 1 << 14;
    pub(in super::super) const RESERVED: u32 = 1 << 15;
    pub(in super::super) const DATE: u32 = YEAR | MONTH | DAY;
    pub(in super::super) const SECONDS: u32 = SECOND | FRACTION;
    pub(in super::super) const TIME: u32 = HOUR | MINUTE | SECONDS;
}

/// What was read so far, not yet held against any range.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbers {
    pub(super) year: i32,
    pub(super) month: i32,
    pub(super) day: i32,
    pub(super) day_of_year: i32,
    pub(super) hour: i32,
    pub(super) minute: i32,
    pub(super) second: i32,
    pub(super) micros: i64,
    /// The year had one or two digits.
    pub(super) short_year: bool,
}

/// C's strtol for an int: its value, `None` where it does not fit, and what stands behind it.
pub(super) fn leading(text: &str) -> (Option<i32>, &str) {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return (Some(0), text);
    }
    let (number, rest) = text.split_at(text.len() - unsigned.len() + digits);
    (number.parse().ok(), rest)
}

/// `.25`; a point alone is nothing.
pub(in super::super) fn fraction(text: &str) -> Result<f64, Fault> {
    let digits = text.strip_prefix('.').ok_or(Fault::Format)?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Fault::Format);
    }
    if digits.is_empty() { Ok(0.0) } else { format!("0{text}").parse().map_err(|_| Fault::Format) }
}

fn fraction_micros(text: &str) -> Result<i64, Fault> {
    Ok((fraction(text)? * 1e6).round_ties_even() as i64)
}

/// Seconds east of Greenwich: `+5`, `+05:30`, `+0530`, `+05:30:15`.
pub(crate) fn offset(text: &str) -> Result<i64, NotOffset> {
    let unsigned = text.strip_prefix(['+', '-']).ok_or(NotOffset::Format)?;
    let (hours, mut rest) = leading(unsigned);
    let mut hours = hours.ok_or(NotOffset::Range)?;
    let (mut minutes, mut seconds) = (0, 0);
    if let Some(behind) = rest.strip_prefix(':') {
        let (value, behind) = leading(behind);
        (minutes, rest) = (value.ok_or(NotOffset::Range)?, behind);
        if let Some(behind) = rest.strip_prefix(':') {
            let (value, behind) = leading(behind);
            (seconds, rest) = (value.ok_or(NotOffset::Range)?, behind);
        }
    } else if rest.is_empty() && text.len() > 3 {
        (hours, minutes) = (hours / 100, hours % 100);
    }
    let fits = (0..=OFFSET_HOURS_MAX).contains(&hours) && (0..60).contains(&minutes) && (0..60).contains(&seconds);
    if !fits {
        return Err(NotOffset::Range);
    }
    if !rest.is_empty() {
        return Err(NotOffset::Format);
    }
    let east = i64::from((hours * 60 + minutes) * 60 + seconds);
    Ok(if text.starts_with('-') { -east } else { east })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotOffset {
    Format,
    Range,
}

impl From<NotOffset> for Fault {
    fn from(not: NotOffset) -> Self {
        match not {
            NotOffset::Format => Fault::Format,
            NotOffset::Range => Fault::Displacement,
        }
    }
}

/// `H:MM`, `H:MM:SS`, each with a fraction behind; with two parts a fraction (or `minutes_first`) means minutes and
/// seconds. Hours may be any number, the rest is within a minute's and an hour's.
pub(in super::super) fn clock(text: &str, minutes_first: bool) -> Result<(i64, i64, i64, i64), Fault> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (hours, rest) = text.split_at(digits);
    let mut hours: i64 = hours.parse().map_err(|_| Fault::Overflow)?;
    let (minutes, mut rest) = leading(rest.strip_prefix(':').ok_or(Fault::Format)?);
    let mut minutes = i64::from(minutes.ok_or(Fault::Overflow)?);
    let (mut seconds, mut micros) = (0, 0);
    let as_minutes = |hours: i64| i32::try_from(hours).map(i64::from).map_err(|_| Fault::Overflow);
    if rest.is_empty() {
        if minutes_first {
            (hours, minutes, seconds) = (0, as_minutes(hours)?, minutes);
        }
    } else if rest.starts_with('.') {
        micros = fraction_micros(rest)?;
        (hours, minutes, seconds) = (0, as_minutes(hours)?, minutes);
    } else {
        let (value, behind) = leading(rest.strip_prefix(':').ok_or(Fault::Format)?);
        (seconds, rest) = (i64::from(value.ok_or(Fault::Overflow)?), behind);
        if rest.starts_with('.') {
            micros = fraction_micros(rest)?;
        } else if !rest.is_empty() {
            return Err(Fault::Format);
        }
    }
    if !(0..60).contains(&minutes) || !(0..=60).contains(&seconds) || !(0..=SECOND).contains(&micros) {
        return Err(Fault::Overflow);
    }
    Ok((hours, minutes, seconds, micros))
}

impl Numbers {
    pub(super) fn set_civil(&mut self, days: i64) {
        let (year, month, day) = calendar::civil(days);
        // Any day that an i32 counts has a year that one holds.
        self.year = i32::try_from(year).unwrap_or(i32::MAX);
        self.month = month.cast_signed();
        self.day = day.cast_signed();
    }

    pub(super) fn set_of_day(&mut self, micros: i64) {
        let part = |unit: i64, of: i64| i32::try_from(micros / unit % of).unwrap_or(0);
        (self.hour, self.minute, self.second) =
            (part(calendar::HOUR, 25), part(calendar::MINUTE, 60), part(SECOND, 60));
        self.micros = micros % SECOND;
    }

    pub(super) fn of_day(&self) -> i64 {
        ((i64::from(self.hour) * 60 + i64::from(self.minute)) * 60 + i64::from(self.second)) * SECOND + self.micros
    }

    /// More than 24:00:00, or a part out of its range.
    pub(super) fn time_overflows(&self) -> bool {
        let parts = (0..=24).contains(&self.hour)
            && (0..60).contains(&self.minute)
            && (0..=60).contains(&self.second)
            && (0..=SECOND).contains(&self.micros);
        !parts || self.of_day() > DAY
    }

    pub(super) fn time(&mut self, text: &str) -> Result<u32, Fault> {
        let (hours, minutes, seconds, micros) = clock(text, false)?;
        let int = |value: i64| i32::try_from(value).map_err(|_| Fault::Overflow);
        (self.hour, self.minute, self.second, self.micros) = (int(hours)?, int(minutes)?, int(seconds)?, micros);
        Ok(mask::TIME)
    }

    /// A field with marks between its parts. Gives the bits of what was read.
    pub(super) fn date(&mut self, text: &str, seen: u32, order: DateOrder) -> Result<u32, Fault> {
        let parts = parts(text)?;
        let (mut seen, mut read, mut month_by_name) = (seen, 0, false);
        let mut numbers = vec![];
        for part in parts {
            if !part.starts_with(|c: char| c.is_ascii_alphabetic()) {
                numbers.push(part);
                continue;
            }
            match words::word(part) {
                Some(Word::Month(month)) if seen & mask::MONTH == 0 => self.month = month,
                // `at` and `on` are then read as numbers
                _ => return Err(Fault::Format),
            }
            month_by_name = true;
            seen |= mask::MONTH;
            read |= mask::MONTH;
        }
        for part in numbers {
            let bits = self.number(part, month_by_name, seen, order)?;
            if seen & bits != 0 {
                return Err(Fault::Format);
            }
            seen |= bits;
            read |= bits;
        }
        if seen & !(mask::DAY_OF_YEAR | mask::ZONE) != mask::DATE {
            return Err(Fault::Format);
        }
        Ok(read)
    }

    /// A number by itself, by what was read before.
    pub(super) fn number(
        &mut self,
        text: &str,
        month_by_name: bool,
        seen: u32,
        order: DateOrder,
    ) -> Result<u32, Fault> {
        let (value, rest) = leading(text);
        let value = value.ok_or(Fault::Overflow)?;
        let digits = text.len() - rest.len();
        if digits == 0 {
            return Err(Fault::Format);
        }
        if rest.starts_with('.') {
            // 2001.360, 20011225, 040506.789
            if digits > 2 {
                return self.run_together(text, seen | mask::DATE);
            }
            self.micros = fraction_micros(rest)?;
        } else if !rest.is_empty() {
            return Err(Fault::Format);
        }
        let length = text.len();
        let dated = seen & mask::DATE;
        if length == 3 && dated == mask::YEAR && (1..=366).contains(&value) {
            self.day_of_year = value;
            return Ok(mask::DAY_OF_YEAR | mask::MONTH | mask::DAY);
        }
        let bit = match dated {
            0 if length >= 3 || order == DateOrder::Ymd => mask::YEAR,
            0 if order == DateOrder::Dmy => mask::DAY,
            0 => mask::MONTH,
            mask::YEAR => mask::MONTH,
            mask::MONTH if month_by_name && (length >= 3 || order == DateOrder::Ymd) => mask::YEAR,
            mask::MONTH => mask::DAY,
            d if d == mask::YEAR | mask::MONTH => {
                if month_by_name && length >= 3 && self.short_year {
                    // The first number was the day: 08-Feb-2001 in the order YMD.
                    (self.day, self.year, self.short_year) = (self.year, value, false);
                    return Ok(mask::DAY);
                }
                mask::DAY
            }
            mask::DAY => mask::MONTH,
            d if d == mask::MONTH | mask::DAY => mask::YEAR,
            mask::DATE => return self.run_together(text, seen),
            _ => return Err(Fault::Format),
        };
        match bit {
            mask::YEAR => (self.year, self.short_year) = (value, length <= 2),
            mask::MONTH => self.month = value,
            _ => self.day = value,
        }
        Ok(bit)
    }

    /// `yyyymmdd`, `yymmdd`, `hhmmss`, `hhmm`, a time with a fraction.
    pub(super) fn run_together(&mut self, text: &str, seen: u32) -> Result<u32, Fault> {
        let (digits, rest) = text.find('.').map_or((text, ""), |at| text.split_at(at));
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Fault::Format);
        }
        let length = digits.len();
        let number =
            |from: usize, to: usize| -> i32 { digits.get(from..to).map_or(0, |part| part.parse().unwrap_or(i32::MAX)) };
        if !rest.is_empty() {
            let decimals: String = rest.chars().skip(1).take_while(char::is_ascii_digit).collect();
            self.micros = fraction_micros(&format!(".{decimals}"))?;
        } else if seen & mask::DATE != mask::DATE && length >= 6 {
            self.day = number(length - 2, length);
            self.month = number(length - 4, length - 2);
            self.year = number(0, length - 4);
            self.short_year |= length == 6;
            return Ok(mask::DATE);
        }
        if seen & mask::TIME != mask::TIME && (length == 6 || length == 4) {
            (self.hour, self.minute) = (number(0, 2), number(2, 4));
            self.second = if length == 6 { number(4, 6) } else { 0 };
            return Ok(mask::TIME);
        }
        Err(Fault::Format)
    }

    /// Settles the year and the day of the year, and holds month and day against the calendar.
    pub(super) fn validate(&mut self, seen: u32, julian: bool, bc: bool) -> Result<(), Fault> {
        if seen & mask::YEAR != 0 && !julian {
            if bc {
                if self.year <= 0 {
                    return Err(Fault::Overflow);
                }
                // 1 BC is astronomers' year 0
                self.year = 1 - self.year;
            } else if self.short_year {
                self.year += match self.year {
                    ..0 => return Err(Fault::Overflow),
                    0..70 => 2000,
                    70..100 => 1900,
                    _ => 0,
                };
            } else if self.year <= 0 {
                return Err(Fault::Overflow);
            }
        }
        if seen & mask::DAY_OF_YEAR != 0 {
            self.set_civil(calendar::days_of(i64::from(self.year), 1, 1) + i64::from(self.day_of_year) - 1);
        }
        if seen & mask::MONTH != 0 && !(1..=12).contains(&self.month) {
            return Err(Fault::MonthDay);
        }
        if seen & mask::DAY != 0 && !(1..=31).contains(&self.day) {
            return Err(Fault::MonthDay);
        }
        let length = calendar::days_in_month(i64::from(self.year), self.month.unsigned_abs()).cast_signed();
        if seen & mask::DATE == mask::DATE && self.day > length {
            return Err(Fault::Overflow);
        }
        Ok(())
    }
}

/// The parts of a date between its marks. The character behind a part is never looked at.
fn parts(text: &str) -> Result<Vec<&str>, Fault> {
    let mut parts = vec![];
    let mut rest = text;
    while !rest.is_empty() {
        rest = rest.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        let Some(first) = rest.chars().next() else { return Err(Fault::Format) };
        let alike = |c: char| if first.is_ascii_digit() { c.is_ascii_digit() } else { c.is_ascii_alphabetic() };
        let end = rest.find(|c| !alike(c)).unwrap_or(rest.len());
        let (part, behind) = rest.split_at(end);
        parts.push(part);
        let mut behind = behind.chars();
        behind.next();
        rest = behind.as_str();
    }
    Ok(parts)
}
