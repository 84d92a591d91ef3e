//! The common spellings, `2020-01-02` and `2020-01-02 03:04:05.678+01:30`, read without fields. What is not plainly one
//! of them, and what is out of range, is left to the general way.

use super::super::super::calendar::{self, DAY, SECOND};

pub(super) fn date(text: &str) -> Option<i32> {
    let (days, rest) = day(text.as_bytes())?;
    (rest.is_empty()).then_some(i32::try_from(days).ok()?)
}

/// Microseconds by the clock on the wall, and seconds east of Greenwich.
pub(super) fn timestamp(text: &str) -> Option<(i64, Option<i64>)> {
    let (days, rest) = day(text.as_bytes())?;
    let [b' ' | b'T', rest @ ..] = rest else {
        return rest.is_empty().then_some((days * DAY, None));
    };
    let [h1, h2, b':', m1, m2, b':', s1, s2, rest @ ..] = rest else { return None };
    let (hours, minutes, seconds) = (two(*h1, *h2)?, two(*m1, *m2)?, two(*s1, *s2)?);
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let mut micros = (hours * 3600 + minutes * 60 + seconds) * SECOND;
    let mut rest = rest;
    if let [b'.', behind @ ..] = rest {
        let digits = behind.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 || digits > 6 {
            return None;
        }
        let (fraction, behind) = behind.split_at(digits);
        let value = fraction.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
        micros += value * 10_i64.pow(6 - u32::try_from(digits).ok()?);
        rest = behind;
    }
    Some((days * DAY + micros, offset(rest)?))
}

/// Four digits of a year from 1 on.
fn day(text: &[u8]) -> Option<(i64, &[u8])> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, rest @ ..] = text else { return None };
    let year = two(*y1, *y2)? * 100 + two(*y3, *y4)?;
    let (month, day) = (u32::try_from(two(*m1, *m2)?).ok()?, u32::try_from(two(*d1, *d2)?).ok()?);
    let exists = year > 0 && (1..=12).contains(&month) && day > 0 && day <= calendar::days_in_month(year, month);
    exists.then(|| (calendar::days_of(year, month, day), rest))
}

fn offset(text: &[u8]) -> Option<Option<i64>> {
    let (sign, digits) = match text {
        [] => return Some(None),
        [b'Z'] => return Some(Some(0)),
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits {
        [h1, h2] => (two(*h1, *h2)?, 0),
        [h1, h2, b':', m1, m2] => (two(*h1, *h2)?, two(*m1, *m2)?),
        _ => return None,
    };
    (hours <= 15 && minutes <= 59).then_some(Some(sign * (hours * 3600 + minutes * 60)))
}

fn two(high: u8, low: u8) -> Option<i64> {
    (high.is_ascii_digit() && low.is_ascii_digit()).then(|| i64::from(high - b'0') * 10 + i64::from(low - b'0'))
}
