//! What `.datetime()` gives: reading, spelling and comparing moments inside a path.

use std::cmp::Ordering;

use bytes::BytesMut;

use super::eval::Stop;
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::calendar::{self, DAY, SECOND, Zone};
use crate::sql::functions::datetime::template::{Parsed, parse_moment};
use crate::sql::functions::json::write::xsd;
use crate::sql::kernel::Env;

/// A date, time or timestamp; of one with time zone the text's own offset is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Moment(Parsed);

/// Tried in this order where there is no template.
const TEMPLATES: [&str; 19] = [
    "yyyy-mm-dd",
    "HH24:MI:SS.USTZH:TZM",
    "HH24:MI:SS.USTZH",
    "HH24:MI:SSTZH:TZM",
    "HH24:MI:SSTZH",
    "HH24:MI:SS.US",
    "HH24:MI:SS",
    "yyyy-mm-dd HH24:MI:SS.USTZH:TZM",
    "yyyy-mm-dd HH24:MI:SS.USTZH",
    "yyyy-mm-dd HH24:MI:SSTZH:TZM",
    "yyyy-mm-dd HH24:MI:SSTZH",
    "yyyy-mm-dd\"T\"HH24:MI:SS.USTZH:TZM",
    "yyyy-mm-dd\"T\"HH24:MI:SS.USTZH",
    "yyyy-mm-dd\"T\"HH24:MI:SSTZH:TZM",
    "yyyy-mm-dd\"T\"HH24:MI:SSTZH",
    "yyyy-mm-dd HH24:MI:SS.US",
    "yyyy-mm-dd HH24:MI:SS",
    "yyyy-mm-dd\"T\"HH24:MI:SS.US",
    "yyyy-mm-dd\"T\"HH24:MI:SS",
];

impl Moment {
    pub(super) fn read(text: &str, template: Option<&str>) -> Result<Self> {
        if let Some(template) = template {
            return parse_moment(text, template, true).map(Self);
        }
        let read = TEMPLATES.iter().find_map(|template| parse_moment(text, template, true).ok());
        read.map(Self).ok_or_else(|| {
            let error = Error::new(Kind::InvalidJsonArgument, format!("datetime format is not recognized: \"{text}\""));
            error.with_hint("Use a datetime template argument to specify the input data format.")
        })
    }

    /// As `.type()` names it.
    pub(super) fn type_name(self) -> &'static str {
        match self.0 {
            Parsed::Date(_) => "date",
            Parsed::Time(_) => "time without time zone",
            Parsed::TimeTz(_) => "time with time zone",
            Parsed::Timestamp(_) => "timestamp without time zone",
            Parsed::TimestampTz(..) => "timestamp with time zone",
        }
    }

    /// ISO 8601, without quotes.
    pub(super) fn text(self) -> Result<String> {
        let style = Env::plain().date_style;
        let mut out = BytesMut::new();
        let zoned = match self.0 {
            Parsed::Date(days) => calendar::date(days, style, &mut out).map(|()| false)?,
            Parsed::Time(micros) => calendar::time(micros, &mut out).map(|()| false)?,
            Parsed::TimeTz(bytes) => {
                let (micros, west) = clock(bytes);
                calendar::timetz(micros, west, &mut out)?;
                true
            }
            Parsed::Timestamp(micros) => calendar::timestamp(micros, None, style, &mut out).map(|()| false)?,
            Parsed::TimestampTz(micros, east) => {
                calendar::timestamp(micros, Some(&Zone::fixed(east)), style, &mut out)?;
                true
            }
        };
        let text = String::from_utf8_lossy(&out);
        Ok(xsd(&text, zoned))
    }

    /// `None` for what does not compare. 0A000 where only a session's time zone could decide and the function has none.
    pub(super) fn compare(self, other: Self, zoned: bool, env: &Env) -> Result<Option<Ordering>, Stop> {
        use Parsed::{Date, Time, TimeTz, Timestamp, TimestampTz};
        let zone = |from: &str, to: &str| {
            if zoned {
                return Ok(Zone::new(env.time_zone));
            }
            let text = format!("cannot convert value from {from} to {to} without time zone usage");
            let error = Error::new(Kind::Unsupported, text);
            Err(Stop::Hard(error.with_hint("Use *_tz() function for time zone support.")))
        };
        let midnight = |days: i32| i64::from(days).saturating_mul(DAY);
        let instant = |local: i64, zone: &Zone| {
            local.saturating_sub(zone.offset_of_local(local.div_euclid(SECOND)).saturating_mul(SECOND))
        };
        let here = |micros: i64, zone: &Zone| {
            let east = zone.offset(env.statement_now.div_euclid(SECOND));
            (micros, i32::try_from(-east).unwrap_or(0))
        };
        Ok(Some(match (self.0, other.0) {
            (Date(a), Date(b)) => a.cmp(&b),
            (Date(a), Timestamp(b)) => midnight(a).cmp(&b),
            (Date(a), TimestampTz(b, _)) => instant(midnight(a), &zone("date", "timestamptz")?).cmp(&b),
            (Time(a), Time(b)) => a.cmp(&b),
            (Time(a), TimeTz(b)) => by_clock(here(a, &zone("time", "timetz")?), clock(b)),
            (TimeTz(a), Time(b)) => by_clock(clock(a), here(b, &zone("time", "timetz")?)),
            (TimeTz(a), TimeTz(b)) => by_clock(clock(a), clock(b)),
            (Timestamp(a), Date(b)) => a.cmp(&midnight(b)),
            (Timestamp(a), Timestamp(b)) => a.cmp(&b),
            (Timestamp(a), TimestampTz(b, _)) => instant(a, &zone("timestamp", "timestamptz")?).cmp(&b),
            (TimestampTz(a, _), Date(b)) => a.cmp(&instant(midnight(b), &zone("date", "timestamptz")?)),
            (TimestampTz(a, _), Timestamp(b)) => a.cmp(&instant(b, &zone("timestamp", "timestamptz")?)),
            (TimestampTz(a, _), TimestampTz(b, _)) => a.cmp(&b),
            (Date(_) | Timestamp(_) | TimestampTz(..), Time(_) | TimeTz(_))
            | (Time(_) | TimeTz(_), Date(_) | Timestamp(_) | TimestampTz(..)) => return Ok(None),
        }))
    }
}

/// Microseconds and seconds west.
fn clock(bytes: [u8; 12]) -> (i64, i32) {
    let (micros, west) = bytes.split_at(8);
    let micros = micros.try_into().map_or(0, i64::from_be_bytes);
    (micros, west.try_into().map_or(0, i32::from_be_bytes))
}

/// timetz_cmp: by the moment, then by the zone.
fn by_clock(a: (i64, i32), b: (i64, i32)) -> Ordering {
    let moment = |(micros, west): (i64, i32)| micros + i64::from(west) * SECOND;
    moment(a).cmp(&moment(b)).then(a.1.cmp(&b.1))
}
