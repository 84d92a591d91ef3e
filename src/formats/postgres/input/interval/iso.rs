//! ISO 8601 durations: with designators (`P1Y2M3DT4H5M6S`, section 4.4.3.2) and in the alternative form (`P0001-02-03T04:05:06`,
//! `P00010203T040506`, 4.4.3.3). Numbers may have fractions and signs anywhere.

use super::super::super::calendar::{DAY, HOUR, MINUTE, SECOND};
use super::super::words::Unit;
use super::{Amount, Fault, Sum};

/// Numbers are read as floats; up to here their whole parts are exact.
const NUMBER_MAX: f64 = 1e15;

pub(super) fn read(text: &str) -> Result<Sum, Fault> {
    let mut rest = text.strip_prefix('P').filter(|rest| !rest.is_empty()).ok_or(Fault::Format)?;
    let mut sum = Sum::default();
    let (mut in_time, mut any) = (false, false);
    while !rest.is_empty() {
        if let Some(behind) = rest.strip_prefix('T') {
            (rest, in_time, any) = (behind, true, false);
            continue;
        }
        let field = rest;
        let amount = number(&mut rest)?;
        let mark = rest.chars().next();
        rest = rest.get(1..).unwrap_or("");
        let digits = field.trim_start_matches('-').bytes().take_while(u8::is_ascii_digit).count();
        match (in_time, mark) {
            (false, Some('Y')) => sum.add(amount, Unit::Year)?,
            (false, Some('M')) => sum.add(amount, Unit::Month)?,
            (false, Some('W')) => sum.add(amount, Unit::Week)?,
            (false, Some('D')) => sum.add(amount, Unit::Day)?,
            (false, None | Some('T')) if digits == 8 && !any => {
                let Amount { whole, fraction } = amount;
                sum.add(Amount { whole: whole / 10_000, fraction: 0.0 }, Unit::Year)?;
                sum.add(Amount { whole: whole / 100 % 100, fraction: 0.0 }, Unit::Month)?;
                sum.add(Amount { whole: whole % 100, fraction: 0.0 }, Unit::Day)?;
                sum.add_micros(Amount { whole: 0, fraction }, DAY)?;
                in_time = true;
                continue;
            }
            (false, None | Some('T' | '-')) if !any => {
                sum.add(amount, Unit::Year)?;
                match mark {
                    Some('-') => extended_date(&mut rest, &mut sum)?,
                    _ => {
                        in_time = true;
                        continue;
                    }
                }
                continue;
            }
            (true, Some('H')) => sum.add(amount, Unit::Hour)?,
            (true, Some('M')) => sum.add(amount, Unit::Minute)?,
            (true, Some('S')) => sum.add(amount, Unit::Second)?,
            (true, None) if digits == 6 && !any => {
                let Amount { whole, fraction } = amount;
                sum.add_micros(Amount { whole: whole / 10_000, fraction: 0.0 }, HOUR)?;
                sum.add_micros(Amount { whole: whole / 100 % 100, fraction: 0.0 }, MINUTE)?;
                sum.add_micros(Amount { whole: whole % 100, fraction: 0.0 }, SECOND)?;
                sum.add_micros(Amount { whole: 0, fraction }, 1)?;
            }
            (true, None | Some(':')) if !any => {
                sum.add(amount, Unit::Hour)?;
                if mark.is_some() {
                    return extended_time(rest, sum);
                }
            }
            _ => return Err(Fault::Format),
        }
        any = true;
    }
    Ok(sum)
}

/// `MM` or `MM-DD` behind the year; then the end or the time.
fn extended_date(rest: &mut &str, sum: &mut Sum) -> Result<(), Fault> {
    sum.add(number(rest)?, Unit::Month)?;
    if let Some(behind) = rest.strip_prefix('-') {
        *rest = behind;
        sum.add(number(rest)?, Unit::Day)?;
    }
    if rest.is_empty() || rest.starts_with('T') { Ok(()) } else { Err(Fault::Format) }
}

/// `MM` or `MM:SS` behind the hours.
fn extended_time(text: &str, sum: Sum) -> Result<Sum, Fault> {
    let (mut rest, mut sum) = (text, sum);
    sum.add(number(&mut rest)?, Unit::Minute)?;
    if let Some(behind) = rest.strip_prefix(':') {
        rest = behind;
        sum.add(number(&mut rest)?, Unit::Second)?;
    }
    if rest.is_empty() { Ok(sum) } else { Err(Fault::Format) }
}

/// What C's strtod takes of a number that starts with a digit, a point or a minus.
fn number(rest: &mut &str) -> Result<Amount, Fault> {
    if !rest.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.') {
        return Err(Fault::Format);
    }
    let digits = |from: usize| rest.bytes().skip(from).take_while(u8::is_ascii_digit).count();
    let mut end = usize::from(rest.starts_with('-'));
    let whole = digits(end);
    end += whole;
    let mut decimals = 0;
    if rest[end..].starts_with('.') {
        decimals = digits(end + 1);
        end += 1 + decimals;
    }
    if whole + decimals == 0 {
        return Err(Fault::Format);
    }
    if rest[end..].starts_with(['e', 'E']) {
        let sign = usize::from(rest[end + 1..].starts_with(['-', '+']));
        let exponent = digits(end + 1 + sign);
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    let (number, behind) = rest.split_at(end);
    *rest = behind;
    let value: f64 = number.parse().map_err(|_| Fault::Format)?;
    if value.is_infinite() {
        return Err(Fault::Format);
    }
    if value.abs() > NUMBER_MAX {
        return Err(Fault::Overflow);
    }
    Ok(Amount { whole: value.trunc() as i64, fraction: value - value.trunc() })
}
