//! pg_timezone_names and pg_timezone_abbrevs: each zone as it is now.

use chrono_tz::TZ_VARIANTS;

use super::rows::Rows;
use crate::catalog::visible::View;
use crate::error::Result;
use crate::formats::postgres::calendar::{Zone, abbreviations, zone};

const MICROS: i64 = 1_000_000;

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

pub(super) fn pg_timezone_names(_: &View, rows: &mut Rows<'_>) -> Result<()> {
    let now = now();
    for tz in TZ_VARIANTS {
        let zone = Zone::new(tz);
        rows.push([
            ("name", tz.name().into()),
            ("abbrev", zone.abbreviation(now).into()),
            ("utc_offset", (zone.offset(now) * MICROS).into()),
            ("is_dst", zone::is_summer(tz, now).into()),
        ])?;
    }
    Ok(())
}

pub(super) fn pg_timezone_abbrevs(_: &View, rows: &mut Rows<'_>) -> Result<()> {
    let now = now();
    for name in abbreviations::names() {
        let (east, summer) = match abbreviations::meaning(name) {
            Some(abbreviations::Meaning::Fixed { east, summer }) => (east, summer),
            Some(abbreviations::Meaning::Zone(tz)) => (zone::offset_at(tz, now), zone::is_summer(tz, now)),
            None => continue,
        };
        rows.push([
            ("abbrev", name.to_uppercase().into()),
            ("utc_offset", (east * MICROS).into()),
            ("is_dst", summer.into()),
        ])?;
    }
    Ok(())
}
