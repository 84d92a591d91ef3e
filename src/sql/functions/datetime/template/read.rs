//! to_date and to_timestamp: a text by a template (DCH_from_char). What the numbers mean together is `moment`'s.

use super::super::super::datetime::{Stamped, scale, timetz_bytes};
use super::field::{Field, Id, Mode};
use super::moment::{Found, Moment};
use super::{Node, is_separator, is_space};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::calendar::checked_date;
use crate::formats::postgres::calendar::spell::{MONTHS, WEEKDAYS};

/// What a text says by a template that shows its type (`datetime()` of jsonpath).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Parsed {
    Date(i32),
    Time(i64),
    TimeTz([u8; 12]),
    Timestamp(i64),
    /// With the seconds east of Greenwich that the text says.
    TimestampTz(i64, i64),
}

/// parse_datetime: the template's fields choose the type. `strict`: separators and letters must match, nothing may be
/// left over.
pub(crate) fn parse_moment(text: &str, template: &str, strict: bool) -> Result<Parsed> {
    let nodes = super::parse(template, strict)?;
    let moment = read(text, &nodes, strict)?;
    let bad = |text: &str| Error::new(Kind::InvalidDate, text);
    let out = |what: &str| Error::new(Kind::DateRange, format!("{what} out of range"));
    let has = |wanted: fn(Id) -> bool| nodes.iter().any(|node| matches!(node, Node::Field(f) if wanted(f.id())));
    let digits = moment.digits().unwrap_or(-1);
    let zone =
        |name: &str| moment.east().ok_or_else(|| bad(&format!("missing time zone in input string for type {name}")));
    match (has(is_dated), has(is_timed), has(is_zoned)) {
        (true, true, zoned) => {
            let (name, east) = if zoned { ("timestamptz", zone("timestamptz")?) } else { ("timestamp", 0) };
            let days = moment.date().ok_or_else(|| out(name))?;
            let stamp = Stamped { days, of_day: moment.of_day(), east }.at_offset().map_err(|_| out(name))?;
            let stamp = scale::rounded(stamp, digits)?;
            Ok(if zoned { Parsed::TimestampTz(stamp, east) } else { Parsed::Timestamp(stamp) })
        }
        (true, false, true) => Err(bad("datetime format is zoned but not timed")),
        (true, false, false) => {
            let days = moment.date().and_then(|days| checked_date(days).ok());
            let out = || Error::new(Kind::DateRange, format!("date out of range: \"{text}\""));
            days.map(Parsed::Date).ok_or_else(out)
        }
        (false, true, zoned) => {
            let time = scale::time_rounded(moment.of_day(), digits);
            if !zoned {
                return Ok(Parsed::Time(time));
            }
            let west = i32::try_from(-zone("timetz")?).map_err(|_| out("timetz"))?;
            Ok(Parsed::TimeTz(timetz_bytes(time, west)))
        }
        (false, false, _) => Err(bad("datetime format is not dated and not timed")),
    }
}

fn is_zoned(id: Id) -> bool {
    matches!(id, Id::Zone(_) | Id::Offset | Id::ZoneHour | Id::ZoneMinute)
}

fn is_timed(id: Id) -> bool {
    matches!(
        id,
        Id::Half(..)
            | Id::Hour12
            | Id::Hour24
            | Id::Minute
            | Id::Second
            | Id::Millisecond
            | Id::Microsecond
            | Id::Fraction(_)
            | Id::SecondOfDay
    )
}

fn is_dated(id: Id) -> bool {
    !is_zoned(id) && !is_timed(id) && !matches!(id, Id::Exact | Id::IsoWeek)
}

pub(super) fn read(text: &str, template: &[Node], strict: bool) -> Result<Moment> {
    let mut reader = Reader { text, at: 0, template, strict, exact: strict, skipped: 0, found: Found::default() };
    reader.all()?;
    reader.found.settle(text)
}

struct Reader<'a> {
    text: &'a str,
    /// Bytes of the text that are read.
    at: usize,
    template: &'a [Node],
    strict: bool,
    exact: bool,
    /// Characters skipped beyond what the template asked for.
    skipped: i32,
    found: Found,
}

pub(super) fn invalid(text: String) -> Error {
    Error::new(Kind::InvalidDate, text)
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip(&mut self) {
        self.at += self.rest().chars().next().map_or(0, char::len_utf8);
    }

    fn skip_spaces(&mut self) -> i32 {
        let spaces = self.rest().bytes().take_while(|byte| is_space(char::from(*byte))).count();
        self.at += spaces;
        i32::try_from(spaces).unwrap_or(i32::MAX)
    }

    fn all(&mut self) -> Result<()> {
        let mut place = 0;
        while let Some(node) = self.template.get(place)
            && !self.rest().is_empty()
        {
            let field = match node {
                Node::Field(field) => Some(*field),
                _ => None,
            };
            // Blanks at the beginning and before fields do not count.
            let begins = place == 0 || field.is_some();
            if !self.exact && begins && field.is_none_or(|field| field.id() != Id::Exact) {
                self.skipped = self.skipped.saturating_add(self.skip_spaces());
            }
            match field {
                Some(field) => self.field(&field, place)?,
                None => self.character(node)?,
            }
            place += 1;
        }
        if self.strict {
            if place < self.template.len() {
                return Err(invalid("input string is too short for datetime format".into()));
            }
            self.skip_spaces();
            if !self.rest().is_empty() {
                return Err(invalid("trailing characters remain in input string after datetime format".into()));
            }
        }
        Ok(())
    }

    fn character(&mut self, node: &Node) -> Result<()> {
        let (Some(wanted), Some(found)) = (node.character(), self.rest().chars().next()) else { return Ok(()) };
        if matches!(node, Node::Other(_)) {
            // A letter takes any character, but none where more blanks were skipped than asked for.
            if !self.exact && self.skipped > 0 {
                self.skipped -= 1;
                return Ok(());
            }
            if self.strict && wanted != found {
                return Err(invalid(format!("unmatched format character \"{wanted}\"")));
            }
            self.skip();
            return Ok(());
        }
        if self.strict {
            if wanted != found {
                return Err(invalid(format!("unmatched format separator \"{wanted}\"")));
            }
            self.skip();
        } else if self.exact || is_space(found) || is_separator(found) {
            self.skip();
        } else {
            self.skipped -= 1;
        }
        Ok(())
    }

    fn field(&mut self, field: &Field, place: usize) -> Result<()> {
        let mode = field.mode();
        if mode != Mode::None && *self.found.mode.get_or_insert(mode) != mode {
            let hint = "Do not mix Gregorian and ISO week date conventions in a formatting template.";
            return Err(invalid("invalid combination of date conventions".into()).with_hint(hint));
        }
        self.value(field, place)?;
        if !self.exact {
            self.skipped = self.skip_spaces();
        }
        Ok(())
    }

    fn value(&mut self, field: &Field, place: usize) -> Result<()> {
        let width = field.name().len();
        match field.id() {
            Id::Exact => self.exact = true,
            Id::Half(_, dots) => {
                let words: &[&str] = if dots { &["a.m.", "p.m."] } else { &["am", "pm"] };
                let value = self.word(field, words)?;
                set(&mut self.found.pm, value, field)?;
                self.found.half_day_clock = true;
            }
            Id::Era(_, dots) => {
                let words: &[&str] = if dots { &["a.d.", "b.c."] } else { &["ad", "bc"] };
                let value = self.word(field, words)?;
                set(&mut self.found.bc, value, field)?;
            }
            Id::Hour12 => {
                self.number(field, place, 2, |f| &mut f.hour)?;
                self.found.half_day_clock = true;
            }
            Id::Hour24 => self.number(field, place, 2, |f| &mut f.hour).map(drop)?,
            Id::Minute => self.number(field, place, width, |f| &mut f.minute).map(drop)?,
            Id::Second => self.number(field, place, width, |f| &mut f.second).map(drop)?,
            Id::Millisecond => {
                // 25 is a quarter of a second, 025 is not.
                let read = self.integer(field, place, 3, |f| &mut f.millis)?;
                self.found.millis = scaled(self.found.millis, read, 3);
                self.skip_ordinal(field);
            }
            Id::Microsecond => self.fraction(field, place, 6)?,
            Id::Fraction(digits) => {
                self.found.digits = Some(digits);
                self.fraction(field, place, usize::from(digits))?;
            }
            Id::SecondOfDay => self.number(field, place, width, |f| &mut f.second_of_day).map(drop)?,
            Id::Zone(_) | Id::Offset => {
                let text = format!("formatting field \"{}\" is only supported in to_char", field.name());
                return Err(Error::new(Kind::Unsupported, text));
            }
            Id::ZoneHour => {
                self.found.zone_sign = match self.rest().bytes().next() {
                    Some(b'+' | b' ') => {
                        self.at += 1;
                        1
                    }
                    Some(b'-') => {
                        self.at += 1;
                        -1
                    }
                    // The minus may have been taken for a separator.
                    _ if self.skipped > 0 && self.text[..self.at].ends_with('-') => -1,
                    _ => 1,
                };
                self.integer(field, place, 2, |f| &mut f.zone_hour)?;
            }
            Id::ZoneMinute => {
                if self.found.zone_sign == 0 {
                    self.found.zone_sign = 1;
                }
                self.integer(field, place, 2, |f| &mut f.zone_minute)?;
            }
            Id::MonthName(_, whole) => {
                let value = self.name(field, &MONTHS, whole)?;
                set(&mut self.found.month, value + 1, field)?;
            }
            Id::Month => self.number(field, place, width, |f| &mut f.month).map(drop)?,
            Id::WeekdayName(_, whole) => {
                let value = self.name(field, &WEEKDAYS, whole)?;
                set(&mut self.found.weekday, value, field)?;
                self.found.weekday += 1;
            }
            Id::DayOfYear => self.number(field, place, width, |f| &mut f.day_of_year).map(drop)?,
            Id::IsoDayOfYear => self.number(field, place, 3, |f| &mut f.day_of_year).map(drop)?,
            Id::Day => self.number(field, place, width, |f| &mut f.day).map(drop)?,
            Id::Weekday => self.number(field, place, width, |f| &mut f.weekday).map(drop)?,
            Id::IsoWeekday => {
                self.integer(field, place, 1, |f| &mut f.weekday)?;
                // Monday is 1 there; here Sunday is.
                self.found.weekday = match self.found.weekday.saturating_add(1) {
                    8.. => 1,
                    weekday => weekday,
                };
                self.skip_ordinal(field);
            }
            Id::Week | Id::IsoWeek => self.number(field, place, width, |f| &mut f.week).map(drop)?,
            Id::Quarter => {
                // It says nothing more than a month does, and is not used.
                let mut ignored = 0;
                let (value, _) = self.parse(field, place, width)?;
                set(&mut ignored, value, field)?;
                self.skip_ordinal(field);
            }
            Id::Century => self.number(field, place, width, |f| &mut f.century).map(drop)?,
            Id::YearWithComma => self.year_with_comma(field)?,
            Id::Year(digits) | Id::IsoYear(digits) => {
                let read = self.integer(field, place, width, |f| &mut f.year)?;
                if digits < 4 && read < 4 {
                    self.found.year = near_2020(self.found.year);
                }
                self.found.year_digits = digits;
                self.skip_ordinal(field);
            }
            Id::Roman(_) => {
                // The longest first.
                let words = ["xii", "xi", "x", "ix", "viii", "vii", "vi", "v", "iv", "iii", "ii", "i"];
                let value = self.word(field, &words)?;
                set(&mut self.found.month, 12 - value, field)?;
            }
            Id::WeekOfMonth => self.number(field, place, width, |f| &mut f.week_of_month).map(drop)?,
            Id::Julian => self.number(field, place, width, |f| &mut f.julian).map(drop)?,
        }
        Ok(())
    }

    fn skip_ordinal(&mut self, field: &Field) {
        if field.ordinal().is_some() {
            self.skip();
            self.skip();
        }
    }

    /// A whole field with its `th`.
    fn number(&mut self, field: &Field, place: usize, width: usize, to: Slot) -> Result<usize> {
        let read = self.integer(field, place, width, to)?;
        self.skip_ordinal(field);
        Ok(read)
    }

    /// Gives how many bytes were read, blanks with them.
    fn integer(&mut self, field: &Field, place: usize, width: usize, to: Slot) -> Result<usize> {
        let (value, read) = self.parse(field, place, width)?;
        set(to(&mut self.found), value, field)?;
        Ok(read)
    }

    fn fraction(&mut self, field: &Field, place: usize, width: usize) -> Result<()> {
        let read = self.integer(field, place, width, |f| &mut f.micros)?;
        self.found.micros = scaled(self.found.micros, read, 6);
        self.skip_ordinal(field);
        Ok(())
    }

    fn parse(&mut self, field: &Field, place: usize, width: usize) -> Result<(i32, usize)> {
        let start = self.at;
        self.skip_spaces();
        let rest = self.rest();
        let copy = &rest[..rest.floor_char_boundary(width)];
        let (number, used) = if field.fills() || self.ends_number(field, place) {
            leading(rest)
        } else {
            if copy.len() < width {
                let text = format!("source string too short for \"{}\" formatting field", field.name());
                let detail = format!("Field requires {width} characters, but only {} remain.", copy.len());
                return Err(invalid(text).with_detail(detail).with_hint(FILL_HINT));
            }
            let (number, used) = leading(copy);
            if used > 0 && used < width {
                let text = format!("invalid value \"{copy}\" for \"{}\"", field.name());
                let detail = format!("Field requires {width} characters, but only {used} could be parsed.");
                return Err(invalid(text).with_detail(detail).with_hint(FILL_HINT));
            }
            (number, used)
        };
        let fixed = !(field.fills() || self.ends_number(field, place));
        if used == 0 && !(fixed && self.at > start) {
            let text = format!("invalid value \"{copy}\" for \"{}\"", field.name());
            return Err(invalid(text).with_detail("Value must be an integer."));
        }
        self.at += used;
        let value = number.and_then(|number| i32::try_from(number).ok()).ok_or_else(|| {
            let text = format!("value for \"{}\" in source string is out of range", field.name());
            let detail = format!("Value must be in the range {} to {}.", i32::MIN, i32::MAX);
            Error::new(Kind::DateRange, text).with_detail(detail)
        })?;
        Ok((value, self.at - start))
    }

    /// Whether what follows in the template cannot be a digit of this number.
    fn ends_number(&self, field: &Field, place: usize) -> bool {
        if field.ordinal().is_some() {
            return true;
        }
        match self.template.get(place + 1) {
            None => true,
            Some(Node::Field(next)) => !next.begins_with_digit(),
            Some(other) => !other.character().is_some_and(|c| c.is_ascii_digit()),
        }
    }

    fn word(&mut self, field: &Field, words: &[&str]) -> Result<i32> {
        let rest = self.rest();
        let is = |word: &&str| rest.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word));
        let Some(place) = words.iter().position(is) else {
            let shown = rest.split([' ', '\t', '\n', '\r', '\u{c}']).next().unwrap_or(rest);
            let text = format!("invalid value \"{shown}\" for \"{}\"", field.name());
            let detail = "The given value did not match any of the allowed values for this field.";
            return Err(invalid(text).with_detail(detail));
        };
        self.at += words[place].len();
        i32::try_from(place).map_err(|_| Error::internal("too many words"))
    }

    fn name(&mut self, field: &Field, names: &[&str], whole: bool) -> Result<i32> {
        let names: Vec<&str> = names.iter().map(|name| if whole { name } else { &name[..3] }).collect();
        self.word(field, &names)
    }

    /// `2,020`: thousands, and three digits.
    fn year_with_comma(&mut self, field: &Field) -> Result<()> {
        let bad = || invalid("invalid input string for \"Y,YYY\"".into());
        let rest = self.rest();
        let (thousands, used) = leading(rest);
        let behind = rest[used..].strip_prefix(',').filter(|_| used > 0).ok_or_else(bad)?;
        // sscanf's %03d: blanks, then at most three characters
        let blanks = behind.len() - behind.trim_start_matches(is_space).len();
        let digits = &behind[blanks..];
        let (years, more) = leading(&digits[..digits.floor_char_boundary(3)]);
        if more == 0 {
            return Err(bad());
        }
        let int = |number: Option<i64>| number.and_then(|number| i32::try_from(number).ok()).unwrap_or(-1);
        let years = int(years).wrapping_add(int(thousands).wrapping_mul(1000));
        set(&mut self.found.year, years, field)?;
        self.found.year_digits = 4;
        self.at += used + 1 + blanks + more;
        self.skip_ordinal(field);
        Ok(())
    }
}

const FILL_HINT: &str = "If your source string is not fixed-width, try using the \"FM\" modifier.";

type Slot = fn(&mut Found) -> &mut i32;

fn set(slot: &mut i32, value: i32, field: &Field) -> Result<()> {
    if *slot != 0 && *slot != value {
        let text = format!("conflicting values for \"{}\" field in formatting string", field.name());
        let detail = "This value contradicts a previous setting for the same field type.";
        return Err(invalid(text).with_detail(detail));
    }
    *slot = value;
    Ok(())
}

/// A value of fewer characters than `digits` counts larger units.
fn scaled(value: i32, read: usize, digits: usize) -> i32 {
    let missing = if read == 0 { 0 } else { digits.saturating_sub(read) };
    value.saturating_mul(10_i32.pow(u32::try_from(missing).unwrap_or(0)))
}

/// C's strtol: the number, `None` where no i64 holds it, and the bytes used; 0 where there is none.
fn leading(text: &str) -> (Option<i64>, usize) {
    let blanks = text.len() - text.trim_start_matches(is_space).len();
    let sign = usize::from(text[blanks..].starts_with(['+', '-']));
    let digits = text.bytes().skip(blanks + sign).take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return (Some(0), 0);
    }
    let end = blanks + sign + digits;
    (text[blanks..end].parse().ok(), end)
}

/// The year nearest to 2020 that ends in these digits.
fn near_2020(year: i32) -> i32 {
    match year {
        ..70 => year.saturating_add(2000),
        70..100 => year + 1900,
        100..520 => year + 2000,
        520..1000 => year + 1000,
        _ => year,
    }
}
