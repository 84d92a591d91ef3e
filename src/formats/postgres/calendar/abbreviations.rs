//! The abbreviations of time zones that PostgreSQL's default set knows (`timezonesets/Default`), by name.

use chrono_tz::Tz;

pub(crate) enum Meaning {
    Fixed {
        east: i64,
        summer: bool,
    },
    /// What it means depends on the time; the zone's history tells.
    Zone(Tz),
}

/// `name` in lower case. Only the first ten letters count.
pub(crate) fn meaning(name: &str) -> Option<Meaning> {
    let fixed = FIXED.binary_search_by(|row| row.0.cmp(name)).ok().map(|i| &FIXED[i]);
    if let Some((_, east, summer)) = fixed {
        return Some(Meaning::Fixed { east: *east, summer: *summer });
    }
    let dynamic = DYNAMIC.binary_search_by(|row| row.0.cmp(name)).ok().map(|i| &DYNAMIC[i]);
    dynamic.map(|(_, tz)| Meaning::Zone(*tz))
}

/// Every abbreviation, in lower case.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FIXED.iter().map(|row| row.0).chain(DYNAMIC.iter().map(|row| row.0))
}

/// Seconds east of Greenwich, and whether it is summer time.
#[rustfmt::skip]
const FIXED: &[(&str, i64, bool)] = &[
    ("acdt", 37800, true), ("acsst", 37800, true), ("acst", 34200, false), ("act", -18000, false),
    ("acwst", 31500, false), ("adt", -10800, true), ("aedt", 39600, true), ("aesst", 39600, true),
    ("aest", 36000, false), ("aft", 16200, false), ("akdt", -28800, true), ("akst", -32400, false),
    ("almst", 25200, true), ("almt", 21600, false), ("amt", -14400, false), ("ast", -14400, false),
    ("awsst", 32400, true), ("awst", 28800, false), ("azost", 0, true), ("azot", -3600, false),
    ("bdst", 7200, true), ("bdt", 21600, false), ("bnt", 28800, false), ("bort", 28800, false),
    ("bot", -14400, false), ("bra", -10800, false), ("brst", -7200, true), ("brt", -10800, false),
    ("bst", 3600, true), ("btt", 21600, false), ("cadt", 37800, true), ("cast", 34200, false),
    ("cct", 28800, false), ("cdt", -18000, true), ("cest", 7200, true), ("cet", 3600, false),
    ("cetdst", 7200, true), ("chadt", 49500, true), ("chast", 45900, false), ("chut", 36000, false),
    ("clst", -10800, true), ("cot", -18000, false), ("cst", -21600, false), ("cxt", 25200, false),
    ("ddut", 36000, false), ("eat", 10800, false), ("edt", -14400, true), ("eest", 10800, true),
    ("eet", 7200, false), ("eetdst", 10800, true), ("egst", 0, true), ("egt", -3600, false), ("est", -18000, false),
    ("fet", 10800, false), ("fjst", 46800, true), ("fjt", 43200, false), ("fnst", -3600, true),
    ("fnt", -7200, false), ("galt", -21600, false), ("gamt", -32400, false), ("gft", -10800, false),
    ("gilt", 43200, false), ("gmt", 0, false), ("hkt", 28800, false), ("hst", -36000, false), ("ict", 25200, false),
    ("idt", 10800, true), ("irt", 12600, false), ("ist", 7200, false), ("jayt", 32400, false),
    ("jst", 32400, false), ("kdt", 36000, true), ("kgst", 21600, true), ("kst", 32400, false),
    ("lhst", 37800, false), ("ligt", 36000, false), ("mart", -34200, false), ("mdt", -21600, true),
    ("mest", 7200, true), ("mesz", 7200, true), ("met", 3600, false), ("metdst", 7200, true), ("mez", 3600, false),
    ("mht", 43200, false), ("mmt", 23400, false), ("mpt", 36000, false), ("msd", 14400, true),
    ("mst", -25200, false), ("must", 18000, true), ("mut", 14400, false), ("mvt", 18000, false),
    ("myt", 28800, false), ("ndt", -9000, true), ("nft", -12600, false), ("npt", 20700, false),
    ("nst", -12600, false), ("nzdt", 46800, true), ("nzst", 43200, false), ("nzt", 43200, false),
    ("pdt", -25200, true), ("pet", -18000, false), ("pgt", 36000, false), ("pht", 28800, false),
    ("pkst", 21600, true), ("pkt", 18000, false), ("pmdt", -7200, true), ("pmst", -10800, false),
    ("pont", 39600, false), ("pst", -28800, false), ("pwt", 32400, false), ("pyst", -10800, true),
    ("ret", 14400, false), ("sadt", 37800, true), ("sast", 7200, false), ("sct", 14400, false),
    ("taht", -36000, false), ("tft", 18000, false), ("tjt", 18000, false), ("tot", 46800, false),
    ("trut", 36000, false), ("tvt", 43200, false), ("uct", 0, false), ("ulast", 32400, true), ("ut", 0, false),
    ("utc", 0, false), ("uyst", -7200, true), ("uyt", -10800, false), ("uzst", 21600, true), ("uzt", 18000, false),
    ("vut", 39600, false), ("wadt", 28800, true), ("wakt", 43200, false), ("wast", 25200, false),
    ("wat", 3600, false), ("wdt", 32400, true), ("wet", 0, false), ("wetdst", 3600, true), ("wft", 43200, false),
    ("wgst", -7200, true), ("wgt", -10800, false), ("xjt", 21600, false), ("yapt", 36000, false),
    ("yekst", 21600, true), ("z", 0, false), ("zulu", 0, false),
];

#[rustfmt::skip]
const DYNAMIC: &[(&str, Tz)] = &[
    ("amst", Tz::Asia__Yerevan), ("anast", Tz::Asia__Anadyr), ("anat", Tz::Asia__Anadyr),
    ("arst", Tz::America__Argentina__Buenos_Aires), ("art", Tz::America__Argentina__Buenos_Aires),
    ("azst", Tz::Asia__Baku), ("azt", Tz::Asia__Baku), ("ckt", Tz::Pacific__Rarotonga),
    ("clt", Tz::America__Santiago), ("davt", Tz::Antarctica__Davis), ("easst", Tz::Pacific__Easter),
    ("east", Tz::Pacific__Easter), ("fkst", Tz::Atlantic__Stanley), ("fkt", Tz::Atlantic__Stanley),
    ("gest", Tz::Asia__Tbilisi), ("get", Tz::Asia__Tbilisi), ("gyt", Tz::America__Guyana),
    ("iot", Tz::Indian__Chagos), ("irkst", Tz::Asia__Irkutsk), ("irkt", Tz::Asia__Irkutsk),
    ("kgt", Tz::Asia__Bishkek), ("kost", Tz::Pacific__Kosrae), ("krast", Tz::Asia__Krasnoyarsk),
    ("krat", Tz::Asia__Krasnoyarsk), ("lhdt", Tz::Australia__Lord_Howe), ("lint", Tz::Pacific__Kiritimati),
    ("lkt", Tz::Asia__Colombo), ("magst", Tz::Asia__Magadan), ("magt", Tz::Asia__Magadan),
    ("mawt", Tz::Antarctica__Mawson), ("msk", Tz::Europe__Moscow), ("novst", Tz::Asia__Novosibirsk),
    ("novt", Tz::Asia__Novosibirsk), ("nut", Tz::Pacific__Niue), ("omsst", Tz::Asia__Omsk),
    ("omst", Tz::Asia__Omsk), ("petst", Tz::Asia__Kamchatka), ("pett", Tz::Asia__Kamchatka),
    ("pyt", Tz::America__Asuncion), ("sgt", Tz::Asia__Singapore), ("tkt", Tz::Pacific__Fakaofo),
    ("tmt", Tz::Asia__Ashgabat), ("ulat", Tz::Asia__Ulaanbaatar), ("vet", Tz::America__Caracas),
    ("vlast", Tz::Asia__Vladivostok), ("vlat", Tz::Asia__Vladivostok), ("volt", Tz::Europe__Volgograd),
    ("yakst", Tz::Asia__Yakutsk), ("yakt", Tz::Asia__Yakutsk), ("yekt", Tz::Asia__Yekaterinburg),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_in_order() {
        assert!(FIXED.is_sorted_by(|a, b| a.0 < b.0));
        assert!(DYNAMIC.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(FIXED.len() + DYNAMIC.len(), 195);
    }
}
