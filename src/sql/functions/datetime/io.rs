//! Input and output functions, and the bytes of the wire (`…send`).

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use bytes::BytesMut;

use super::arithmetic::session;
use super::scale::{interval as scaled_interval, rounded, time_rounded};
use super::{timetz, timetz_bytes};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::calendar::{self, Zone};
use crate::formats::postgres::input;
use crate::formats::postgres::input::interval::range;
use crate::sql::kernel::{Call, Date, Interval, Kernel, Read, Stamp, Time};

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("date_in", |c| {
        let style = c.env.style();
        c.one(|text: &str| input::date(text, &style).map(Date))
    }),
    ("time_in", |c| {
        let style = c.env.style();
        c.three(|text: &str, _: u32, typmod: i32| input::time(text, &style).map(|t| Time(time_rounded(t, typmod))))
    }),
    ("timetz_in", |c| {
        let style = c.env.style();
        c.three(|text: &str, _: u32, typmod: i32| {
            let (time, west) = input::timetz(text, &style)?;
            Ok(timetz_bytes(time_rounded(time, typmod), west))
        })
    }),
    ("timestamp_in", |c| {
        let style = c.env.style();
        c.three(|text: &str, _: u32, typmod: i32| rounded(input::timestamp(text, &style)?, typmod).map(Stamp))
    }),
    ("timestamptz_in", |c| {
        let style = c.env.style();
        c.three(|text: &str, _: u32, typmod: i32| rounded(input::timestamptz(text, &style)?, typmod).map(Stamp))
    }),
    ("interval_in", |c| {
        let style = c.env.interval_style;
        c.three(|text: &str, _: u32, typmod: i32| {
            let (months, days, micros) = input::interval::fields(text, style, range::of(typmod))?;
            scaled_interval(Interval { months, days, micros }, typmod)
        })
    }),
    ("date_out", |c| spelt(c, |v: Date, out| calendar::date(v.0, c.env.date_style, out))),
    ("time_out", |c| spelt(c, |v: Time, out| calendar::time(v.0, out))),
    ("timetz_out", |c| {
        spelt(c, |v: [u8; 12], out| {
            let (micros, west) = timetz(v);
            calendar::timetz(micros, west, out)
        })
    }),
    ("timestamp_out", |c| stamps_out(c, None)),
    ("timestamptz_out", |c| stamps_out(c, Some(&session(c)))),
    ("interval_out", |c| {
        spelt(c, |v: Interval, out| {
            calendar::interval(v.months, v.days, v.micros, c.env.interval_style, out);
            Ok(())
        })
    }),
    ("date_send", |c| c.one(|v: Date| Ok(calendar::days_since_2000(v.0)?.to_be_bytes().to_vec()))),
    ("time_send", |c| c.one(|v: Time| Ok(v.0.to_be_bytes().to_vec()))),
    ("timetz_send", |c| c.one(|v: [u8; 12]| Ok(v.to_vec()))),
    ("timestamp_send", |c| c.one(|v: Stamp| stamp_bytes(v))),
    ("timestamptz_send", |c| c.one(|v: Stamp| stamp_bytes(v))),
    ("interval_send", |c| {
        c.one(|v: Interval| {
            let (days, months) = (v.days.to_be_bytes(), v.months.to_be_bytes());
            Ok([v.micros.to_be_bytes().as_slice(), &days, &months].concat())
        })
    }),
];

fn stamp_bytes(value: Stamp) -> Result<Vec<u8>> {
    Ok(calendar::micros_since_2000(value.0)?.to_be_bytes().to_vec())
}

fn stamps_out(call: &Call<'_>, zone: Option<&Zone>) -> Result<ArrayRef> {
    spelt(call, |v: Stamp, out| calendar::timestamp(v.0, zone, call.env.date_style, out))
}

/// Texts written one behind the other.
pub(super) fn spelt<'a, T: Read<'a>>(
    call: &Call<'a>,
    write: impl Fn(T, &mut BytesMut) -> Result<()>,
) -> Result<ArrayRef> {
    let values = call.read::<T>(0)?;
    texts(call.rows, |row, out| match values.get(row) {
        Some(value) => write(value, out).map(|()| true),
        None => Ok(false),
    })
}

/// `write` says whether it wrote a value, or the row is NULL.
pub(super) fn texts(rows: usize, write: impl Fn(usize, &mut BytesMut) -> Result<bool>) -> Result<ArrayRef> {
    let mut bytes = BytesMut::with_capacity(rows * 24);
    let (mut ends, mut valid) = (Vec::with_capacity(rows + 1), Vec::with_capacity(rows));
    ends.push(0_i32);
    for row in 0..rows {
        let start = bytes.len();
        let written = write(row, &mut bytes)?;
        if !written {
            bytes.truncate(start);
        }
        valid.push(written);
        let too_long = |_| Error::new(Kind::OutOfMemory, "the values of one batch exceed 2 GiB");
        ends.push(i32::try_from(bytes.len()).map_err(too_long)?);
    }
    let nulls = valid.iter().any(|valid| !valid).then(|| NullBuffer::from(valid));
    Ok(Arc::new(StringArray::try_new(OffsetBuffer::new(ends.into()), bytes.freeze().into(), nulls)?))
}
