//! POSIX zone specifications (`EST5EDT,M3.2.0,M11.1.0`), as PostgreSQL's tzparse reads them: a name may be missing, and
//! summer time without rules follows those of the United States.

use super::zone::{Rules, Span};
use super::{days_of, is_leap, weekday};

const HOUR: i64 = 3600;
/// Where summer time has no rule of its own.
const USUAL: &str = ",M3.2.0,M11.1.0";
/// The years for which changes are written out, as tzparse does.
const YEARS: std::ops::Range<i64> = 1770..2101;
const HOURS_MAX: i64 = 167;

pub(super) fn read(text: &str) -> Option<Rules> {
    let mut rest = text;
    let standard = name(&mut rest)?;
    let east = -offset(&mut rest)?;
    if rest.is_empty() {
        return Some(Rules::fixed(east, &standard));
    }
    let summer = name(&mut rest)?;
    if summer.is_empty() {
        return None;
    }
    let summer_east = match rest.as_bytes().first() {
        None | Some(b',' | b';') => east + HOUR,
        Some(_) => -offset(&mut rest)?,
    };
    let mut rules = if rest.is_empty() { USUAL } else { rest };
    rules = rules.strip_prefix([',', ';'])?;
    let begin = rule(&mut rules)?;
    rules = rules.strip_prefix(',')?;
    let end = rule(&mut rules)?;
    if !rules.is_empty() {
        return None;
    }
    let mut changes: Vec<Span> = YEARS
        .flat_map(|year| {
            let to_summer = begin.seconds(year) - east;
            let to_standard = end.seconds(year) - summer_east;
            [
                Span { begin: to_summer, offset: summer_east, abbreviation: summer.as_str().into() },
                Span { begin: to_standard, offset: east, abbreviation: standard.as_str().into() },
            ]
        })
        .collect();
    changes.sort_by_key(|span| span.begin);
    let first = Span { begin: i64::MIN, offset: east, abbreviation: standard.as_str().into() };
    Some(Rules::of(std::iter::once(first).chain(changes).collect()))
}

/// `<+03>`, or letters up to a digit, a comma or a sign.
fn name(rest: &mut &str) -> Option<String> {
    if let Some(quoted) = rest.strip_prefix('<') {
        let (name, behind) = quoted.split_once('>')?;
        *rest = behind;
        return Some(name.to_owned());
    }
    let end = rest.find(|c: char| c.is_ascii_digit() || matches!(c, ',' | '-' | '+')).unwrap_or(rest.len());
    let (name, behind) = rest.split_at(end);
    *rest = behind;
    Some(name.to_ascii_uppercase())
}

/// `[+-]hh[:mm[:ss]]`, positive west of Greenwich.
fn offset(rest: &mut &str) -> Option<i64> {
    let negative = rest.starts_with('-');
    *rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    let seconds = clock(rest)?;
    Some(if negative { -seconds } else { seconds })
}

fn clock(rest: &mut &str) -> Option<i64> {
    let mut seconds = number(rest, 0, HOURS_MAX)? * HOUR;
    if let Some(behind) = rest.strip_prefix(':') {
        *rest = behind;
        seconds += number(rest, 0, 59)? * 60;
        if let Some(behind) = rest.strip_prefix(':') {
            *rest = behind;
            seconds += number(rest, 0, 60)?;
        }
    }
    Some(seconds)
}

fn number(rest: &mut &str, least: i64, most: i64) -> Option<i64> {
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, behind) = rest.split_at(end);
    let value = digits.parse().ok().filter(|value| (least..=most).contains(value))?;
    *rest = behind;
    Some(value)
}

/// A day of each year and a time of it.
#[derive(Clone, Copy)]
struct Rule {
    day: Day,
    time: i64,
}

#[derive(Clone, Copy)]
enum Day {
    /// `Jn`: 1 to 365, leap days never counted.
    Julian(i64),
    /// From 0.
    OfYear(i64),
    /// `Mm.w.d`; the fifth week is the last one.
    Weekday { month: u32, week: i64, day: i64 },
}

fn rule(rest: &mut &str) -> Option<Rule> {
    let day = if let Some(behind) = rest.strip_prefix('J') {
        *rest = behind;
        Day::Julian(number(rest, 1, 365)?)
    } else if let Some(behind) = rest.strip_prefix('M') {
        *rest = behind;
        let month = u32::try_from(number(rest, 1, 12)?).ok()?;
        *rest = rest.strip_prefix('.')?;
        let week = number(rest, 1, 5)?;
        *rest = rest.strip_prefix('.')?;
        Day::Weekday { month, week, day: number(rest, 0, 6)? }
    } else {
        Day::OfYear(number(rest, 0, 365)?)
    };
    let time = match rest.strip_prefix('/') {
        Some(behind) => {
            *rest = behind;
            offset(rest)?
        }
        None => 2 * HOUR,
    };
    Some(Rule { day, time })
}

impl Rule {
    /// The clock time of the change as if it were UTC.
    fn seconds(self, year: i64) -> i64 {
        let first = days_of(year, 1, 1);
        let days = match self.day {
            Day::Julian(day) => first + day - 1 + i64::from(day >= 60 && is_leap(year)),
            Day::OfYear(day) => first + day,
            Day::Weekday { month, week, day } => {
                let month_first = days_of(year, month, 1);
                let mut days = month_first + (day - weekday(month_first)).rem_euclid(7) + (week - 1) * 7;
                while days >= month_first + i64::from(super::days_in_month(year, month)) {
                    days -= 7;
                }
                days
            }
        };
        days * 86_400 + self.time
    }
}
