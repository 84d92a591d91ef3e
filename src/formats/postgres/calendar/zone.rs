//! Time zones as tables of spans in which the offset stays the same: IANA's rules from chrono-tz, fixed offsets, POSIX
//! specifications; and what a zone's name or abbreviation means. Texts around a zone are read elsewhere.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, RwLock};

use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::{OffsetName, TZ_VARIANTS, Tz};

use super::{abbreviations, civil, days_of, posix};

const DAY_SECONDS: i64 = 86_400;
/// chrono-tz writes its rules out to 2100; a later year is taken for one of these with the same days and weekdays.
const RULES_END: i64 = 4_102_444_800;
const RULES_YEARS: std::ops::Range<i64> = 2060..2100;
/// Zones began after this (1820), and rules are asked from here on.
const RULES_BEGIN: i64 = -4_733_510_400;
/// No two changes of a zone lie closer together; chrono-tz shows its changes only by the offset at an instant.
const STEP: i64 = 4 * DAY_SECONDS;

/// From `begin` (seconds since 1970, of UTC) to the next span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) begin: i64,
    /// Seconds east of Greenwich.
    pub(crate) offset: i64,
    pub(crate) abbreviation: Box<str>,
}

/// What a zone does over time. The first span begins at `i64::MIN`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    spans: Vec<Span>,
}

impl Rules {
    pub(crate) fn fixed(offset: i64, abbreviation: &str) -> Self {
        Self { spans: vec![Span { begin: i64::MIN, offset, abbreviation: abbreviation.into() }] }
    }

    /// `later` in ascending order, the first span from the beginning of time.
    pub(super) fn of(spans: Vec<Span>) -> Self {
        Self { spans }
    }

    fn read(tz: Tz) -> Self {
        let first = span_at(tz, RULES_BEGIN);
        let mut spans = vec![Span { begin: i64::MIN, ..first }];
        let mut from = RULES_BEGIN;
        while from < RULES_END {
            let to = from + STEP;
            let next = span_at(tz, to);
            let last = spans.last().expect("there is a first span");
            if (next.offset, &next.abbreviation) != (last.offset, &last.abbreviation) {
                let (mut low, mut high) = (from, to);
                while high - low > 1 {
                    let middle = low + (high - low) / 2;
                    let span = span_at(tz, middle);
                    if (span.offset, &span.abbreviation) == (last.offset, &last.abbreviation) {
                        low = middle;
                    } else {
                        high = middle;
                    }
                }
                spans.push(span_at(tz, high));
                from = high;
                continue;
            }
            from = to;
        }
        Self { spans }
    }

    /// The place of the span of an instant that is before the rules' end.
    fn place(&self, seconds: i64) -> usize {
        self.spans.partition_point(|span| span.begin <= seconds).saturating_sub(1)
    }

    fn at(&self, seconds: i64) -> &Span {
        &self.spans[self.place(self.as_of_this_century(seconds))]
    }

    /// An instant before the rules' end at which the zone does what it does then.
    fn as_of_this_century(&self, seconds: i64) -> i64 {
        let last = self.spans.last().map_or(i64::MIN, |span| span.begin);
        // No change in the last two years: there will be none.
        if seconds >= RULES_END && last < RULES_END - 2 * 366 * DAY_SECONDS {
            return RULES_END - 1;
        }
        as_of_this_century(seconds)
    }

    /// `None` where the offset ever changes.
    fn constant(&self) -> Option<i64> {
        let first = self.spans.first()?.offset;
        self.spans.iter().all(|span| span.offset == first).then_some(first)
    }

    /// Seconds east of Greenwich for a clock time, given as if it were UTC. A time that a change skips is read by the
    /// offset before it, one that occurs twice by the offset after: DetermineTimeZoneOffset.
    fn of_local(&self, local: i64) -> i64 {
        let local = self.as_of_this_century(local);
        // No offset exceeds a day, so the change that matters is the next one from there.
        let place = self.place(local - DAY_SECONDS);
        let before = self.spans[place].offset;
        let Some(after) = self.spans.get(place + 1) else { return before };
        let (boundary, after) = (after.begin, after.offset);
        let (by_before, by_after) = (local - before, local - after);
        if by_before < boundary && by_after < boundary {
            before
        } else if by_before > boundary && by_after >= boundary {
            after
        } else if by_before > by_after {
            before
        } else {
            after
        }
    }

    /// What an abbreviation of this zone means at an instant: its last use before, or else its first use after.
    /// pg_interpret_timezone_abbrev.
    fn abbreviated(&self, abbreviation: &str, seconds: i64) -> Option<i64> {
        let is = |span: &&Span| span.abbreviation.eq_ignore_ascii_case(abbreviation);
        let (before, after) = self.spans.split_at(self.place(seconds) + 1);
        before.iter().rev().find(is).or_else(|| after.iter().find(is)).map(|span| span.offset)
    }
}

fn span_at(tz: Tz, seconds: i64) -> Span {
    let utc = DateTime::from_timestamp(seconds, 0).unwrap_or_default().naive_utc();
    let offset = tz.offset_from_utc_datetime(&utc);
    let east = i64::from(offset.fix().local_minus_utc());
    let abbreviation = offset.abbreviation().map_or_else(|| numeric(east), Into::into);
    Span { begin: seconds, offset: east, abbreviation }
}

/// `+0545`: the abbreviation of a zone that has no letters.
fn numeric(east: i64) -> Box<str> {
    let (sign, seconds) = (if east < 0 { '-' } else { '+' }, east.abs());
    let mut text = format!("{sign}{:02}", seconds / 3600);
    for part in [seconds / 60 % 60, seconds % 60] {
        if part != 0 || seconds % 60 != 0 {
            text.push_str(&format!("{part:02}"));
        }
    }
    text.into()
}

fn as_of_this_century(seconds: i64) -> i64 {
    if seconds < RULES_END {
        return seconds;
    }
    let year = civil(seconds.div_euclid(DAY_SECONDS)).0;
    let (begin, next) = (days_of(year, 1, 1), days_of(year + 1, 1, 1));
    let alike = |other: &i64| {
        let first = days_of(*other, 1, 1);
        first.rem_euclid(7) == begin.rem_euclid(7) && days_of(*other + 1, 1, 1) - first == next - begin
    };
    let twin = RULES_YEARS.clone().find(alike).expect("forty years hold all fourteen calendars");
    seconds - (begin - days_of(twin, 1, 1)) * DAY_SECONDS
}

/// A zone's rules are read once a process: it takes some thousand questions.
static RULES: LazyLock<RwLock<HashMap<Tz, Arc<Rules>>>> = LazyLock::new(RwLock::default);

fn rules(tz: Tz) -> Arc<Rules> {
    if let Ok(known) = RULES.read()
        && let Some(rules) = known.get(&tz)
    {
        return Arc::clone(rules);
    }
    let rules = Arc::new(if tz == Tz::UTC { Rules::fixed(0, "UTC") } else { Rules::read(tz) });
    if let Ok(mut known) = RULES.write() {
        known.insert(tz, Arc::clone(&rules));
    }
    rules
}

/// A zone with the last span kept: values of a column lie close together more often than not.
#[derive(Debug)]
pub(crate) struct Zone {
    rules: Arc<Rules>,
    /// First and end of the span last asked for, and its offset. Empty at first.
    last: Cell<(i64, i64, i64)>,
}

impl Zone {
    pub(crate) fn new(tz: Tz) -> Self {
        Self::of(rules(tz))
    }

    pub(crate) fn fixed(east: i64) -> Self {
        Self::of(Arc::new(Rules::fixed(east, "")))
    }

    fn of(rules: Arc<Rules>) -> Self {
        Self { rules, last: Cell::new((1, 0, 0)) }
    }

    /// Seconds east of Greenwich at an instant, in seconds since 1970.
    pub(crate) fn offset(&self, seconds: i64) -> i64 {
        let (begin, end, offset) = self.last.get();
        if begin <= seconds && seconds < end {
            return offset;
        }
        if seconds >= RULES_END {
            return self.rules.at(seconds).offset;
        }
        let place = self.rules.place(seconds);
        let span = &self.rules.spans[place];
        let end = self.rules.spans.get(place + 1).map_or(RULES_END, |next| next.begin);
        self.last.set((span.begin, end, span.offset));
        span.offset
    }

    /// For a clock time given as if it were UTC.
    pub(crate) fn offset_of_local(&self, local: i64) -> i64 {
        let (begin, end, offset) = self.last.get();
        // Two days from any change there is nothing to decide.
        if begin.saturating_add(2 * DAY_SECONDS) <= local && local < end.saturating_sub(2 * DAY_SECONDS) {
            return offset;
        }
        // the next ones likely lie near
        self.offset(local);
        self.rules.of_local(local)
    }

    pub(crate) fn abbreviation(&self, seconds: i64) -> &str {
        &self.rules.at(seconds).abbreviation
    }

    pub(crate) fn constant(&self) -> Option<i64> {
        self.rules.constant()
    }
}

/// Seconds east of Greenwich at an instant, in seconds since 1970.
pub(crate) fn offset_at(tz: Tz, seconds: i64) -> i64 {
    rules(tz).at(seconds).offset
}

/// What holds in a zone at one instant: seconds east of Greenwich, whether it is summer time, the abbreviation. Of a zone
/// that is asked for no more than this no table is made.
pub(crate) fn held_at(tz: Tz, seconds: i64) -> (i64, bool, String) {
    let at = chrono::DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    let offset = tz.offset_from_utc_datetime(&at.naive_utc());
    let summer = chrono_tz::OffsetComponents::dst_offset(&offset);
    let east = (chrono_tz::OffsetComponents::base_utc_offset(&offset) + summer).num_seconds();
    let abbreviation = offset.abbreviation().map_or_else(|| numeric(east), Into::into);
    (east, !summer.is_zero(), abbreviation.into())
}

/// What a zone in a text means.
#[derive(Debug)]
pub(crate) enum Named {
    /// An abbreviation that always means so many seconds east of Greenwich; summer time or not.
    Fixed {
        east: i64,
        summer: bool,
    },
    /// An abbreviation that meant several offsets in its zone's history.
    Dynamic {
        abbreviation: String,
        zone: Zone,
    },
    Zone(Zone),
}

impl Named {
    /// Seconds east of Greenwich for a clock time, in seconds as if it were UTC.
    pub(crate) fn offset_of_local(&self, local: i64) -> i64 {
        match self {
            Named::Fixed { east, .. } => *east,
            Named::Zone(zone) => zone.offset_of_local(local),
            Named::Dynamic { abbreviation, zone } => {
                let usual = zone.offset_of_local(local);
                zone.rules.abbreviated(abbreviation, zone.rules.as_of_this_century(local - usual)).unwrap_or(usual)
            }
        }
    }

    /// At an instant.
    pub(crate) fn offset(&self, seconds: i64) -> i64 {
        match self {
            Named::Fixed { east, .. } => *east,
            Named::Zone(zone) => zone.offset(seconds),
            Named::Dynamic { abbreviation, zone } => {
                let usual = || zone.offset_of_local(seconds + zone.offset(seconds));
                zone.rules.abbreviated(abbreviation, zone.rules.as_of_this_century(seconds)).unwrap_or_else(usual)
            }
        }
    }

    /// As a zone: an abbreviation is the zone in which it is used (`date_trunc`'s third argument).
    pub(crate) fn into_zone(self) -> Zone {
        match self {
            Named::Fixed { east, .. } => Zone::fixed(east),
            Named::Dynamic { zone, .. } | Named::Zone(zone) => zone,
        }
    }
}

/// An abbreviation first, then a zone: `EST` is always five hours. In any case.
pub(crate) fn by_name(name: &str) -> Option<Named> {
    by_abbreviation(name).or_else(|| zone(name).map(Named::Zone))
}

pub(crate) fn by_abbreviation(name: &str) -> Option<Named> {
    let lower = name.to_ascii_lowercase();
    Some(match abbreviations::meaning(&lower)? {
        abbreviations::Meaning::Fixed { east, summer } => Named::Fixed { east, summer },
        abbreviations::Meaning::Zone(tz) => Named::Dynamic { abbreviation: lower, zone: Zone::new(tz) },
    })
}

/// A zone of the IANA database, or a POSIX specification (`<+03>-3`, `EST5EDT,M3.2.0,M11.1.0`): pg_tzset.
pub(crate) fn zone(name: &str) -> Option<Zone> {
    let bare = match name.get(..6) {
        Some(prefix) if prefix.eq_ignore_ascii_case("posix/") => &name[6..],
        _ => name,
    };
    if let Some(tz) = iana(bare) {
        return Some(Zone::new(tz));
    }
    posix::read(name).map(|rules| Zone::of(Arc::new(rules)))
}

pub(crate) fn iana(name: &str) -> Option<Tz> {
    if name.eq_ignore_ascii_case("localtime") {
        return Some(Tz::UTC);
    }
    name.parse().ok().or_else(|| TZ_VARIANTS.iter().copied().find(|tz| tz.name().eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(year: i64, month: u32, day: u32, seconds: i64) -> i64 {
        days_of(year, month, day) * DAY_SECONDS + seconds
    }

    #[test]
    fn clock_times_that_are_skipped_take_the_offset_before_and_doubled_ones_the_offset_after() {
        let zone = Zone::new(Tz::America__New_York);
        let rows = [
            (utc(2024, 3, 10, 7199), -18_000),
            (utc(2024, 3, 10, 9000), -18_000),
            (utc(2024, 3, 10, 10_800), -14_400),
            (utc(2024, 11, 3, 3599), -14_400),
            (utc(2024, 11, 3, 5400), -18_000),
            (utc(2024, 11, 3, 7200), -18_000),
            (utc(2500, 7, 1, 0), -14_400),
            (utc(1800, 7, 1, 0), -17_762),
        ];
        for (local, expected) in rows {
            assert_eq!(zone.offset_of_local(local), expected, "{local}");
        }
    }

    #[test]
    fn every_zone_s_spans_give_what_chrono_tz_gives() {
        for tz in [Tz::Africa__Casablanca, Tz::Europe__Dublin, Tz::Asia__Kathmandu, Tz::Australia__Lord_Howe] {
            let zone = Zone::new(tz);
            for step in 0..20_000 {
                let at = RULES_BEGIN + step * 440_003;
                assert_eq!(zone.offset(at), span_at(tz, at).offset, "{tz} {at}");
            }
        }
    }

    #[test]
    fn names_are_abbreviations_zones_or_posix_specifications() {
        let at = utc(2020, 7, 1, 0);
        let rows = [
            ("EST", Some(-18_000)),
            ("est5edt", Some(-14_400)),
            ("us/eastern", Some(-14_400)),
            ("posix/Europe/Berlin", Some(7_200)),
            ("msk", Some(10_800)),
            ("<+03>-3", Some(10_800)),
            ("+05:30", Some(-19_800)),
            ("-7", Some(25_200)),
            ("7", Some(-25_200)),
            ("ABC3DEF", Some(-7_200)),
            ("ABC3DEF,J100,J200", Some(-7_200)),
            ("foo", None),
            ("", None),
            ("UTC+", None),
        ];
        for (name, expected) in rows {
            assert_eq!(by_name(name).map(|zone| zone.offset(at)), expected, "{name}");
        }
        let msk = by_name("MSK").unwrap();
        assert_eq!(msk.offset(utc(2012, 7, 1, 0)), 14_400);
    }
}
