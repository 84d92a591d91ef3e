//! The text of dates, times, timestamps and intervals in every DateStyle and IntervalStyle.

use bytes::BytesMut;

use super::super::{DateOrder, DateOutput, DateStyle, IntervalStyle};
use super::{DAY, END_DAY, FIRST_DAY, SECOND, Zone, check_timestamp, checked_time, civil, weekday};
use crate::error::{Error, Kind, Result};

pub(crate) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(crate) const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
/// No abbreviation of a zone is shown longer.
const ABBREVIATION_MAX: usize = 10;

pub(crate) fn date(days: i32, style: DateStyle, out: &mut BytesMut) -> Result<()> {
    if let Some(word) = infinite(days == i32::MAX, days == i32::MIN) {
        out.extend_from_slice(word);
        return Ok(());
    }
    if !(FIRST_DAY..END_DAY).contains(&days) {
        return Err(Error::new(Kind::DateRange, "date out of range"));
    }
    let mut line = Line::default();
    let bc = line.date(i64::from(days), style);
    line.era(bc);
    line.flush(out);
    Ok(())
}

/// `zone`: none for a timestamp without.
pub(crate) fn timestamp(micros: i64, zone: Option<&Zone>, style: DateStyle, out: &mut BytesMut) -> Result<()> {
    if let Some(word) = infinite(micros == i64::MAX, micros == i64::MIN) {
        out.extend_from_slice(word);
        return Ok(());
    }
    check_timestamp(micros)?;
    let seconds = micros.div_euclid(SECOND);
    let offset = zone.map(|zone| zone.offset(seconds));
    // Split before the offset is added: near the end of the range the sum would not fit.
    let (mut days, mut of_day) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
    of_day += offset.unwrap_or(0) * SECOND;
    days += of_day.div_euclid(DAY);
    of_day = of_day.rem_euclid(DAY);
    let mut line = Line::default();
    let bc = if style.output == DateOutput::Postgres {
        line.weekday_first(days, of_day, style.order)
    } else {
        let bc = line.date(days, style);
        line.byte(b' ');
        line.time(of_day);
        bc
    };
    if let (Some(zone), Some(offset)) = (zone, offset) {
        let name = zone.abbreviation(seconds);
        if style.output == DateOutput::Iso || name.is_empty() {
            line.offset(offset);
        } else {
            line.byte(b' ');
            line.text(&name.as_bytes()[..name.len().min(ABBREVIATION_MAX)]);
        }
    }
    line.era(bc);
    line.flush(out);
    Ok(())
}

/// Microseconds of the day; `24:00:00` exists.
pub(crate) fn time(micros: i64, out: &mut BytesMut) -> Result<()> {
    let mut line = Line::default();
    line.time(checked_time(micros)?);
    line.flush(out);
    Ok(())
}

/// `west`: seconds west of Greenwich, as on the wire.
pub(crate) fn timetz(micros: i64, west: i32, out: &mut BytesMut) -> Result<()> {
    let mut line = Line::default();
    line.time(checked_time(micros)?);
    line.offset(-i64::from(west));
    line.flush(out);
    Ok(())
}

pub(crate) fn interval(months: i32, days: i32, micros: i64, style: IntervalStyle, out: &mut BytesMut) {
    let mut line = Line::default();
    let span = Span::of(months, days, micros);
    match style {
        IntervalStyle::Postgres => line.postgres(span),
        IntervalStyle::PostgresVerbose => line.verbose(span),
        IntervalStyle::SqlStandard => line.standard(span),
        IntervalStyle::Iso8601 => line.iso(span),
    }
    line.flush(out);
}

/// An interval's fields; those of its time have one sign.
#[derive(Clone, Copy)]
struct Span {
    years: i64,
    months: i64,
    days: i64,
    micros: i64,
}

impl Span {
    fn of(months: i32, days: i32, micros: i64) -> Self {
        Self { years: i64::from(months / 12), months: i64::from(months % 12), days: i64::from(days), micros }
    }

    fn hours(self) -> i64 {
        self.micros / super::HOUR
    }

    fn minutes(self) -> i64 {
        self.micros / super::MINUTE % 60
    }

    /// Seconds of the minute, in microseconds.
    fn rest(self) -> i64 {
        self.micros % super::MINUTE
    }
}

fn infinite(later: bool, earlier: bool) -> Option<&'static [u8]> {
    if later {
        Some(b"infinity")
    } else if earlier {
        Some(b"-infinity")
    } else {
        None
    }
}

/// One value's text on the stack, appended in one piece. The longest is an interval: `@ 178956970 years 11 mons 2147483648
/// days 2562047788 hours 54 mins 54.775807 secs ago`, 82 bytes.
struct Line {
    bytes: [u8; 120],
    len: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self { bytes: [0; 120], len: 0 }
    }
}

impl Line {
    fn byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn text(&mut self, text: &[u8]) {
        self.bytes[self.len..self.len + text.len()].copy_from_slice(text);
        self.len += text.len();
    }

    fn number(&mut self, number: i64) {
        self.text(itoa::Buffer::new().format(number).as_bytes());
    }

    fn unsigned(&mut self, number: u64) {
        self.text(itoa::Buffer::new().format(number).as_bytes());
    }

    fn two(&mut self, number: u64) {
        self.byte(b'0' + (number / 10 % 10) as u8);
        self.byte(b'0' + (number % 10) as u8);
    }

    /// Year, month, day in the style's order; whether the year is before Christ, which is told at the very end.
    fn date(&mut self, days: i64, style: DateStyle) -> bool {
        let (year, month, day) = civil(days);
        let (month, day) = (u64::from(month), u64::from(day));
        let (first, second) = if style.order == DateOrder::Dmy { (day, month) } else { (month, day) };
        let (mark, first, second) = match style.output {
            DateOutput::Iso => {
                self.year(year);
                self.byte(b'-');
                self.two(month);
                self.byte(b'-');
                self.two(day);
                return year <= 0;
            }
            DateOutput::Sql => (b'/', first, second),
            DateOutput::German => (b'.', day, month),
            DateOutput::Postgres => (b'-', first, second),
        };
        self.two(first);
        self.byte(mark);
        self.two(second);
        self.byte(mark);
        self.year(year);
        year <= 0
    }

    fn year(&mut self, year: i64) {
        let shown = if year <= 0 { 1 - year } else { year };
        if shown < 10_000 {
            self.two(shown.unsigned_abs() / 100);
            self.two(shown.unsigned_abs() % 100);
        } else {
            self.number(shown);
        }
    }

    /// `Thu Jan 02 03:04:05 2020`.
    fn weekday_first(&mut self, days: i64, of_day: i64, order: DateOrder) -> bool {
        let (year, month, day) = civil(days);
        let name = |names: &[&'static str], place: i64| {
            usize::try_from(place)
                .ok()
                .and_then(|place| names.get(place))
                .map_or(&b""[..], |name| &name.as_bytes()[..3])
        };
        let month = name(&MONTHS, i64::from(month) - 1);
        self.text(name(&WEEKDAYS, weekday(days)));
        self.byte(b' ');
        if order == DateOrder::Dmy {
            self.two(u64::from(day));
            self.byte(b' ');
            self.text(month);
        } else {
            self.text(month);
            self.byte(b' ');
            self.two(u64::from(day));
        }
        self.byte(b' ');
        self.time(of_day);
        self.byte(b' ');
        self.year(year);
        year <= 0
    }

    fn era(&mut self, bc: bool) {
        if bc {
            self.text(b" BC");
        }
    }

    fn time(&mut self, of_day: i64) {
        self.clock(of_day.unsigned_abs());
    }

    /// Hours (two digits or more), minutes, seconds.
    fn clock(&mut self, micros: u64) {
        let hours = micros / super::HOUR.unsigned_abs();
        if hours < 100 {
            self.two(hours);
        } else {
            self.unsigned(hours);
        }
        self.minutes_and_seconds(micros);
    }

    fn minutes_and_seconds(&mut self, micros: u64) {
        let (seconds, fraction) = (micros / SECOND.unsigned_abs(), micros % SECOND.unsigned_abs());
        self.byte(b':');
        self.two(seconds / 60 % 60);
        self.byte(b':');
        self.two(seconds % 60);
        self.fraction(fraction);
    }

    /// Without zeros at its end.
    fn fraction(&mut self, micros: u64) {
        if micros == 0 {
            return;
        }
        self.byte(b'.');
        let (mut fraction, mut unit) = (micros, 100_000);
        while fraction > 0 {
            self.byte(b'0' + (fraction / unit) as u8);
            fraction %= unit;
            unit /= 10;
        }
    }

    /// Hours always, minutes and seconds where there are any.
    fn offset(&mut self, east: i64) {
        self.byte(if east < 0 { b'-' } else { b'+' });
        let seconds = east.unsigned_abs();
        if seconds < 360_000 {
            self.two(seconds / 3600);
        } else {
            self.unsigned(seconds / 3600);
        }
        if !seconds.is_multiple_of(3600) {
            self.byte(b':');
            self.two(seconds / 60 % 60);
        }
        if !seconds.is_multiple_of(60) {
            self.byte(b':');
            self.two(seconds % 60);
        }
    }

    /// After a negative field a positive one shows its sign.
    fn postgres(&mut self, span: Span) {
        let mut negative_before = false;
        for (value, unit) in [(span.years, "year"), (span.months, "mon"), (span.days, "day")] {
            if value == 0 {
                continue;
            }
            if self.len > 0 {
                self.byte(b' ');
            }
            if negative_before && value > 0 {
                self.byte(b'+');
            }
            self.number(value);
            self.byte(b' ');
            self.text(unit.as_bytes());
            if value != 1 {
                self.byte(b's');
            }
            negative_before = value < 0;
        }
        if span.micros != 0 || self.len == 0 {
            if self.len > 0 {
                self.byte(b' ');
            }
            if span.micros < 0 {
                self.byte(b'-');
            } else if negative_before {
                self.byte(b'+');
            }
            self.clock(span.micros.unsigned_abs());
        }
    }

    /// `@ 1 year 2 mons 3.5 secs ago`: the first field's sign is `ago`, and is taken from the others.
    fn verbose(&mut self, span: Span) {
        self.byte(b'@');
        let (mut first, mut ago) = (true, false);
        let fields = [
            (span.years, "year"),
            (span.months, "mon"),
            (span.days, "day"),
            (span.hours(), "hour"),
            (span.minutes(), "min"),
        ];
        for (value, unit) in fields {
            if value == 0 {
                continue;
            }
            if first {
                ago = value < 0;
                first = false;
            }
            let value = if ago { -value } else { value };
            self.byte(b' ');
            self.number(value);
            self.byte(b' ');
            self.text(unit.as_bytes());
            if value != 1 {
                self.byte(b's');
            }
        }
        let rest = span.rest();
        if rest != 0 {
            self.byte(b' ');
            if first {
                ago = rest < 0;
                first = false;
            } else if (rest < 0) != ago {
                self.byte(b'-');
            }
            self.seconds(rest.unsigned_abs());
            self.text(if rest.abs() == SECOND { b" sec" } else { b" secs" });
        }
        if first {
            self.text(b" 0");
        }
        if ago {
            self.text(b" ago");
        }
    }

    fn seconds(&mut self, micros: u64) {
        self.unsigned(micros / SECOND.unsigned_abs());
        self.fraction(micros % SECOND.unsigned_abs());
    }

    /// The SQL standard's literals, where there is one for the value: all fields of one sign, and either years and months
    /// or days and time. Other values show every field with its sign.
    fn standard(&mut self, span: Span) {
        let fields = [span.years, span.months, span.days, span.micros];
        let (negative, positive) = (fields.iter().any(|f| *f < 0), fields.iter().any(|f| *f > 0));
        let year_month = span.years != 0 || span.months != 0;
        let day_time = span.days != 0 || span.micros != 0;
        if !negative && !positive {
            self.byte(b'0');
            return;
        }
        let sign = |negative: bool| if negative { b'-' } else { b'+' };
        let time = span.micros.unsigned_abs();
        if (negative && positive) || (year_month && day_time) {
            self.byte(sign(span.years < 0 || span.months < 0));
            self.unsigned(span.years.unsigned_abs());
            self.byte(b'-');
            self.unsigned(span.months.unsigned_abs());
            self.byte(b' ');
            self.byte(sign(span.days < 0));
            self.unsigned(span.days.unsigned_abs());
            self.byte(b' ');
            self.byte(sign(span.micros < 0));
            self.unsigned(span.hours().unsigned_abs());
            self.minutes_and_seconds(time);
            return;
        }
        if negative {
            self.byte(b'-');
        }
        if year_month {
            self.unsigned(span.years.unsigned_abs());
            self.byte(b'-');
            self.unsigned(span.months.unsigned_abs());
            return;
        }
        if span.days != 0 {
            self.unsigned(span.days.unsigned_abs());
            self.byte(b' ');
        }
        self.unsigned(span.hours().unsigned_abs());
        self.minutes_and_seconds(time);
    }

    fn iso(&mut self, span: Span) {
        self.byte(b'P');
        for (value, unit) in [(span.years, b'Y'), (span.months, b'M'), (span.days, b'D')] {
            self.designated(value, unit);
        }
        if span.micros != 0 {
            self.byte(b'T');
            self.designated(span.hours(), b'H');
            self.designated(span.minutes(), b'M');
            let rest = span.rest();
            if rest != 0 {
                if rest < 0 {
                    self.byte(b'-');
                }
                self.seconds(rest.unsigned_abs());
                self.byte(b'S');
            }
        }
        if self.len == 1 {
            self.text(b"T0S");
        }
    }

    fn designated(&mut self, value: i64, unit: u8) {
        if value != 0 {
            self.number(value);
            self.byte(unit);
        }
    }

    fn flush(&self, out: &mut BytesMut) {
        out.extend_from_slice(&self.bytes[..self.len]);
    }
}
