//! pg_timezone_names and pg_timezone_abbrevs: each zone as it is now.

use chrono_tz::TZ_VARIANTS;

use super::rows::{Cell, Rows};
use crate::catalog::visible::View;
use crate::error::Result;
use crate::formats::postgres::calendar::{abbreviations, zone};

const MICROS: i64 = 1_000_000;

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Name, abbreviation, offset in microseconds, whether it is summer there.
pub(crate) fn names() -> impl Iterator<Item = [Cell; 4]> {
    let now = now();
    TZ_VARIANTS.into_iter().map(move |tz| {
        let (east, summer, abbreviation) = zone::held_at(tz, now);
        [tz.name().into(), abbreviation.into(), (east * MICROS).into(), summer.into()]
    })
}

/// Abbreviation, offset in microseconds, whether it is of summer time.
pub(crate) fn abbreviated() -> impl Iterator<Item = [Cell; 3]> {
    let now = now();
    abbreviations::names().filter_map(move |name| {
        let (east, summer) = match abbreviations::meaning(name)? {
            abbreviations::Meaning::Fixed { east, summer } => (east, summer),
            abbreviations::Meaning::Zone(tz) => {
                let (east, summer, _) = zone::held_at(tz, now);
                (east, summer)
            }
        };
        Some([name.to_uppercase().into(), (east * MICROS).into(), summer.into()])
    })
}

pub(super) fn pg_timezone_names(_: &View, rows: &mut Rows<'_>) -> Result<()> {
    names().try_for_each(|row| rows.push_all(row.to_vec()))
}

pub(super) fn pg_timezone_abbrevs(_: &View, rows: &mut Rows<'_>) -> Result<()> {
    abbreviated().try_for_each(|row| rows.push_all(row.to_vec()))
}
