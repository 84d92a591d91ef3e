//! `lakegate.as_of_time` and `lakegate.as_of_version`: the version at which a session reads every table that has versions,
//! where a statement names no other. Empty is now. What is there is found out when a table is asked for.

use chrono::{DateTime, Utc};

use super::Settings;
use crate::catalog::pg_catalog::settings::Setting;
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::{Style, input};
use crate::types::AsOf;

pub(super) const TIME: &str = "lakegate.as_of_time";
pub(super) const VERSION: &str = "lakegate.as_of_version";

/// A time as an instant in UTC, so that it means the same in every time zone; 22023 for none, and where the other of the
/// two is set.
pub(super) fn check(settings: &Settings, setting: &Setting, value: &str) -> Result<String> {
    let value = value.trim();
    let (is_time, other) = if setting.name == TIME { (true, VERSION) } else { (false, TIME) };
    if !value.is_empty() && !settings.value(other).is_empty() {
        let text = format!("{} and {other} cannot be set together", setting.name);
        return Err(Error::new(Kind::InvalidParameter, text).with_hint(format!("RESET {other} first.")));
    }
    if value.is_empty() || !is_time {
        return Ok(value.to_string());
    }
    let refused = || Error::new(Kind::InvalidParameter, format!("invalid value for parameter \"{TIME}\": \"{value}\""));
    let style = Style { date_style: settings.date_style(), ..Style::of(settings.time_zone()) };
    let micros = input::timestamptz(value, &style).map_err(|e| refused().with_detail(e.message().to_string()))?;
    let instant = DateTime::<Utc>::from_timestamp_micros(micros).ok_or_else(refused)?;
    Ok(instant.format("%Y-%m-%d %H:%M:%S%.6f+00").to_string())
}

/// What is set; the empty value of both is none.
pub(super) fn of(settings: &Settings) -> Option<AsOf> {
    let (time, version) = (settings.value(TIME), settings.value(VERSION));
    if !time.is_empty() {
        let micros = input::timestamptz(time, &Style::of(chrono_tz::Tz::UTC)).ok()?;
        return Some(AsOf::Time(micros));
    }
    match version {
        "" => None,
        version => Some(version.parse().map_or_else(|_| AsOf::Named(version.to_string()), AsOf::Snapshot)),
    }
}
