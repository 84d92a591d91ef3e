//! extract (numeric) and date_part (double precision): one field of a moment or a span.

mod parts;

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder};
use arrow::datatypes::DataType;

use super::arithmetic::session;
use super::{Stamped, timetz};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::calendar::Zone;
use crate::formats::postgres::input::words::{self, Unit};
use crate::sql::kernel::{Call, Date, Interval, Kernel, Read, Stamp, Time};
use crate::sql::numeric::Numeric;
use parts::Part;

/// Bytes of an identifier that count.
const NAME_BYTES_MAX: usize = 63;

const DATE: &str = "date";
const TIME: &str = "time without time zone";
const TIMETZ: &str = "time with time zone";
const TIMESTAMP: &str = "timestamp without time zone";
const TIMESTAMPTZ: &str = "timestamp with time zone";
const INTERVAL: &str = "interval";

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("extract_date", |c| numeric(c, DATE, |unit, v: Date| parts::of_date(unit, v.0))),
    ("extract_time", |c| numeric(c, TIME, |unit, v: Time| parts::of_time(unit, v.0, None))),
    ("extract_timetz", |c| numeric(c, TIMETZ, of_timetz)),
    ("extract_timestamp", |c| numeric(c, TIMESTAMP, |unit, v: Stamp| of_stamp(unit, v, None))),
    ("extract_timestamptz", |c| {
        let zone = session(c);
        numeric(c, TIMESTAMPTZ, |unit, v: Stamp| of_stamp(unit, v, Some(&zone)))
    }),
    ("extract_interval", |c| numeric(c, INTERVAL, |unit, v: Interval| parts::of_interval(unit, v))),
    ("date_part/1384", |c| {
        float(c, TIMESTAMP, |unit, v: Date| super::date_stamp(v.0).map(|stamp| of_stamp(unit, Stamp(stamp), None)))
    }),
    ("time_part", |c| float(c, TIME, |unit, v: Time| Ok(parts::of_time(unit, v.0, None)))),
    ("timetz_part", |c| float(c, TIMETZ, |unit, v| Ok(of_timetz(unit, v)))),
    ("timestamp_part", |c| float(c, TIMESTAMP, |unit, v: Stamp| Ok(of_stamp(unit, v, None)))),
    ("timestamptz_part", |c| {
        let zone = session(c);
        float(c, TIMESTAMPTZ, |unit, v: Stamp| Ok(of_stamp(unit, v, Some(&zone))))
    }),
    ("interval_part", |c| float(c, INTERVAL, |unit, v: Interval| Ok(parts::of_interval(unit, v)))),
];

fn of_timetz(unit: Unit, value: [u8; 12]) -> Option<Part> {
    let (time, west) = timetz(value);
    parts::of_time(unit, time, Some(west))
}

fn of_stamp(unit: Unit, value: Stamp, zone: Option<&Zone>) -> Option<Part> {
    match value.0 {
        i64::MIN | i64::MAX => parts::of_infinite(unit, value.0 == i64::MAX, true),
        stamp => parts::of_stamp(unit, stamp, Stamped::local(stamp, zone), zone.is_some()),
    }
}

/// The unit of date_trunc, and its name as errors show it.
pub(super) fn unit(text: &str, name: &str) -> Result<(Unit, String)> {
    found(text, name, words::unit)
}

fn found(text: &str, name: &str, find: fn(&str) -> Option<Unit>) -> Result<(Unit, String)> {
    let mut lower = text.to_ascii_lowercase();
    lower.truncate(lower.floor_char_boundary(NAME_BYTES_MAX));
    // Times and intervals know no word but `epoch`.
    let known = find(&lower).filter(|unit| *unit != Unit::Reserved || ![TIME, TIMETZ, INTERVAL].contains(&name));
    match known {
        Some(unit) => Ok((unit, lower)),
        None => {
            let text = format!("unit \"{lower}\" not recognized for type {name}");
            Err(Error::new(Kind::InvalidParameter, text))
        }
    }
}

pub(super) fn unsupported(unit: &str, name: &str) -> Error {
    Error::new(Kind::Unsupported, format!("unit \"{unit}\" not supported for type {name}"))
}

/// Asks for the part of each row; a unit that counts for every row is looked up once.
fn each<'a, T: Read<'a>>(
    call: &Call<'a>,
    name: &str,
    part: impl Fn(Unit, T) -> Result<Option<Part>>,
    mut put: impl FnMut(Option<Part>) -> Result<()>,
) -> Result<()> {
    let (units, values) = (call.read::<&str>(0)?, call.read::<T>(1)?);
    let mut known: Option<(Unit, String)> = None;
    let constant = call.arg(0)?.constant;
    for row in 0..call.rows {
        let (Some(text), Some(value)) = (units.get(row), values.get(row)) else {
            put(None)?;
            continue;
        };
        if known.is_none() || !constant {
            known = Some(found(text, name, words::field)?);
        }
        let Some((unit, lower)) = &known else { continue };
        match part(*unit, value)? {
            Some(Part::Null) => put(None)?,
            Some(part) => put(Some(part))?,
            None => return Err(unsupported(lower, name)),
        }
    }
    Ok(())
}

fn numeric<'a, T: Read<'a>>(call: &Call<'a>, name: &str, part: impl Fn(Unit, T) -> Option<Part>) -> Result<ArrayRef> {
    if *call.result.data_type() != DataType::Binary {
        let mut values = Vec::with_capacity(call.rows);
        each(
            call,
            name,
            |unit, value| Ok(part(unit, value)),
            |part| {
                values.push(part.map(Part::numeric));
                Ok(())
            },
        )?;
        let mut values = values.into_iter();
        return call.rows_of(|_| Ok::<Option<Numeric>, Error>(values.next().flatten()));
    }
    let mut builder = BinaryBuilder::with_capacity(call.rows, call.rows * 12);
    each(
        call,
        name,
        |unit, value| Ok(part(unit, value)),
        |part| {
            match part {
                Some(part) => part.append(&mut builder),
                None => builder.append_null(),
            }
            Ok(())
        },
    )?;
    Ok(Arc::new(builder.finish()))
}

fn float<'a, T: Read<'a>>(
    call: &Call<'a>,
    name: &str,
    part: impl Fn(Unit, T) -> Result<Option<Part>>,
) -> Result<ArrayRef> {
    let mut values = Vec::with_capacity(call.rows);
    each(call, name, part, |part| {
        values.push(part.map(Part::float));
        Ok(())
    })?;
    let mut values = values.into_iter();
    call.rows_of(|_| Ok::<Option<f64>, Error>(values.next().flatten()))
}
