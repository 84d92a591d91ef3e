//! SET TIME ZONE: names whatever their case, hours from Greenwich, POSIX's fixed zones (check_timezone).

use std::collections::HashMap;
use std::sync::LazyLock;

use chrono_tz::{TZ_VARIANTS, Tz};

use crate::error::{Error, Kind, Result};
use crate::formats::postgres::IntervalStyle;
use crate::formats::postgres::input::interval;

const HOUR: i64 = 3_600;

static BY_NAME: LazyLock<HashMap<String, Tz>> =
    LazyLock::new(|| TZ_VARIANTS.iter().map(|tz| (tz.name().to_ascii_lowercase(), *tz)).collect());

/// Of a value that [`check`] gave.
pub(super) fn of_setting(value: &str) -> Tz {
    zone(value).unwrap_or(Tz::UTC)
}

fn zone(value: &str) -> Option<Tz> {
    if let Some(tz) = BY_NAME.get(&value.to_ascii_lowercase()) {
        return Some(*tz);
    }
    // POSIX counts west
    let east = -posix(value)?;
    if east == 0 {
        return Some(Tz::UTC);
    }
    let name = if east > 0 { format!("etc/gmt-{}", east / HOUR) } else { format!("etc/gmt+{}", -east / HOUR) };
    (east % HOUR == 0).then(|| BY_NAME.get(&name).copied()).flatten()
}

/// Seconds west of `ABC3`, `<-08>+08`: zones without a rule for summer.
fn posix(text: &str) -> Option<i64> {
    let offset = match text.strip_prefix('<') {
        Some(quoted) => quoted.split_once('>')?.1,
        None => {
            let end = text.find(|c: char| !c.is_ascii_alphabetic())?;
            // PostgreSQL takes an offset without a name, too
            if (1..3).contains(&end) {
                return None;
            }
            text.get(end..)?
        }
    };
    let (sign, digits) = match offset.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, offset.strip_prefix('+').unwrap_or(offset)),
    };
    let mut seconds = 0;
    let mut unit = HOUR;
    for part in digits.split(':') {
        if part.is_empty() || part.len() > 2 || !part.bytes().all(|b| b.is_ascii_digit()) || unit == 0 {
            return None;
        }
        seconds += part.parse::<i64>().ok()? * unit;
        unit /= 60;
    }
    Some(sign * seconds)
}

/// As SHOW says it. 22023 for what is no zone, or one that cannot be kept here.
pub(super) fn check(value: &str) -> Result<String> {
    let invalid =
        || Error::new(Kind::InvalidParameter, format!("invalid value for parameter \"TimeZone\": \"{value}\""));
    let unkept =
        || invalid().with_detail("An offset from Greenwich is in whole hours here, and without a rule for summer.");
    let kept = |text: String| zone(&text).map(|_| text).ok_or_else(unkept);
    if let Some(tz) = BY_NAME.get(&value.to_ascii_lowercase()) {
        return Ok(tz.name().to_string());
    }
    if value.get(..8).is_some_and(|word| word.eq_ignore_ascii_case("interval")) {
        let text = value.get(8..).unwrap_or_default().trim();
        let text = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).ok_or_else(invalid)?;
        let span = interval(text, IntervalStyle::Postgres).map_err(|_| invalid())?;
        if span.months != 0 {
            return Err(invalid().with_detail("Cannot specify months in time zone interval."));
        }
        if span.days != 0 {
            return Err(invalid().with_detail("Cannot specify days in time zone interval."));
        }
        return kept(named_by_offset(span.nanoseconds / 1_000_000_000));
    }
    if let Ok(hours) = value.parse::<f64>() {
        if !hours.is_finite() || hours.abs() > 168.0 {
            return Err(invalid());
        }
        return kept(named_by_offset((hours * 3_600.0) as i64));
    }
    match posix(value) {
        Some(_) => kept(value.to_string()),
        None if value.starts_with(|c: char| c.is_ascii_alphabetic()) && value.contains(',') => Err(unkept()),
        None => Err(invalid()),
    }
}

/// `<-08>+08` for eight hours west (pg_tzset_offset).
fn named_by_offset(east: i64) -> String {
    let minutes = east.abs() % HOUR / 60;
    let mut text = format!("{:02}", east.abs() / HOUR);
    if minutes != 0 || east % 60 != 0 {
        text.push_str(&format!(":{minutes:02}"));
    }
    if east % 60 != 0 {
        text.push_str(&format!(":{:02}", east.abs() % 60));
    }
    match east >= 0 {
        true => format!("<+{text}>-{text}"),
        false => format!("<-{text}>+{text}"),
    }
}
