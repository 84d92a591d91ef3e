//! Time zones as they are written beside a time: offsets, IANA names, abbreviations. Abbreviations are those of
//! PostgreSQL's default set that are still in use; what they mean does not depend on a session.

use chrono_tz::{TZ_VARIANTS, Tz};

use super::super::calendar;

/// What a zone in a text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ZoneName {
    /// Seconds east of Greenwich.
    Fixed(i64),
    Named(Tz),
}

impl ZoneName {
    /// Seconds east of Greenwich for a clock time, in seconds as if it were UTC.
    pub(super) fn offset_of_local(self, local: i64) -> i64 {
        match self {
            ZoneName::Fixed(east) => east,
            ZoneName::Named(tz) => calendar::offset_of_local(tz, local),
        }
    }
}

/// Hours east of Greenwich, by abbreviation.
const ABBREVIATIONS: &[(&str, f64)] = &[
    ("acst", 9.5),
    ("adt", -3.0),
    ("aedt", 11.0),
    ("aest", 10.0),
    ("akdt", -8.0),
    ("akst", -9.0),
    ("art", -3.0),
    ("ast", -4.0),
    ("awst", 8.0),
    ("brt", -3.0),
    ("bst", 1.0),
    ("cdt", -5.0),
    ("cest", 2.0),
    ("cet", 1.0),
    ("cst", -6.0),
    ("eat", 3.0),
    ("edt", -4.0),
    ("eest", 3.0),
    ("eet", 2.0),
    ("est", -5.0),
    ("gmt", 0.0),
    ("hkt", 8.0),
    ("hst", -10.0),
    ("idt", 3.0),
    ("ist", 2.0),
    ("jst", 9.0),
    ("kst", 9.0),
    ("mdt", -6.0),
    ("mest", 2.0),
    ("met", 1.0),
    ("msd", 4.0),
    ("msk", 3.0),
    ("mst", -7.0),
    ("ndt", -2.5),
    ("nst", -3.5),
    ("nzdt", 13.0),
    ("nzst", 12.0),
    ("pdt", -7.0),
    ("pkt", 5.0),
    ("pst", -8.0),
    ("sast", 2.0),
    ("sgt", 8.0),
    ("ut", 0.0),
    ("utc", 0.0),
    ("wat", 1.0),
    ("wet", 0.0),
    ("z", 0.0),
    ("zulu", 0.0),
];

/// In any case.
pub(super) fn by_name(name: &str) -> Option<ZoneName> {
    if let Some((_, hours)) = ABBREVIATIONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        return Some(ZoneName::Fixed((hours * 3600.0) as i64));
    }
    let named =
        name.parse().ok().or_else(|| TZ_VARIANTS.iter().copied().find(|tz| tz.name().eq_ignore_ascii_case(name)));
    named.map(ZoneName::Named)
}
