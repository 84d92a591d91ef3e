//! Writers of dates, times, timestamps and intervals in any of Arrow's units. It knows no calendar; that is
//! `postgres/calendar.rs`'s.

use arrow::array::{Array, AsArray};
use arrow::datatypes::*;
use bytes::BytesMut;

use super::super::append::Append;
use super::super::calendar::{self, Zone};
use super::super::mapping::Shown;
use super::super::types::Shape;
use super::{Format, Put, Spelling, boxed};
use crate::error::{Error, Kind, Result};

pub(super) fn date<'a>(array: &'a dyn Array, spelling: Spelling) -> Option<Put<'a>> {
    let write = move |days: i32, out: &mut BytesMut| match spelling.format {
        Format::Text => calendar::date(days, spelling.date_style, out),
        Format::Binary => calendar::days_since_2000(days).map(|days| out.put_i32(days)),
    };
    Some(match array.data_type() {
        DataType::Date64 => {
            let values: &[i64] = array.as_primitive_opt::<Date64Type>()?.values();
            let out_of_range = |_| Error::new(Kind::DateRange, "date out of range");
            boxed(move |row, out| write(i32::try_from(values[row].div_euclid(86_400_000)).map_err(out_of_range)?, out))
        }
        _ => {
            let values: &[i32] = array.as_primitive_opt::<Date32Type>()?.values();
            boxed(move |row, out| write(values[row], out))
        }
    })
}

pub(super) fn time<'a>(array: &'a dyn Array, spelling: Spelling) -> Option<Put<'a>> {
    let write = move |micros: i64, out: &mut BytesMut| match spelling.format {
        Format::Text => calendar::time(micros, out),
        Format::Binary => calendar::checked_time(micros).map(|micros| out.put_i64(micros)),
    };
    Some(match array.data_type() {
        DataType::Time32(TimeUnit::Second) => {
            let values: &[i32] = array.as_primitive_opt::<Time32SecondType>()?.values();
            boxed(move |row, out| write(i64::from(values[row]) * 1_000_000, out))
        }
        DataType::Time32(_) => {
            let values: &[i32] = array.as_primitive_opt::<Time32MillisecondType>()?.values();
            boxed(move |row, out| write(i64::from(values[row]) * 1_000, out))
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            let values: &[i64] = array.as_primitive_opt::<Time64MicrosecondType>()?.values();
            boxed(move |row, out| write(values[row], out))
        }
        _ => {
            let values: &[i64] = array.as_primitive_opt::<Time64NanosecondType>()?.values();
            boxed(move |row, out| write(values[row].div_euclid(1_000), out))
        }
    })
}

pub(super) fn timestamp<'a>(array: &'a dyn Array, shown: &Shown, spelling: Spelling) -> Option<Put<'a>> {
    let DataType::Timestamp(unit, _) = array.data_type() else { return None };
    let (values, unit) = (ticks(array, *unit)?, *unit);
    let zone = (shown.shape == Shape::TimestampTz).then(|| Zone::new(spelling.tz));
    Some(match spelling.format {
        Format::Text => boxed(move |row, out| {
            calendar::timestamp(instant(values[row], unit)?, zone.as_ref(), spelling.date_style, out)
        }),
        Format::Binary => boxed(move |row, out| {
            out.put_i64(calendar::micros_since_2000(instant(values[row], unit)?)?);
            Ok(())
        }),
    })
}

fn ticks(array: &dyn Array, unit: TimeUnit) -> Option<&[i64]> {
    Some(match unit {
        TimeUnit::Second => array.as_primitive_opt::<TimestampSecondType>()?.values(),
        TimeUnit::Millisecond => array.as_primitive_opt::<TimestampMillisecondType>()?.values(),
        TimeUnit::Microsecond => array.as_primitive_opt::<TimestampMicrosecondType>()?.values(),
        TimeUnit::Nanosecond => array.as_primitive_opt::<TimestampNanosecondType>()?.values(),
    })
}

/// Microseconds; nanoseconds lose their last digits downwards. Only microseconds know infinities.
fn instant(ticks: i64, unit: TimeUnit) -> Result<i64> {
    let micros = match unit {
        TimeUnit::Second => ticks.checked_mul(1_000_000),
        TimeUnit::Millisecond => ticks.checked_mul(1_000),
        TimeUnit::Microsecond => Some(ticks),
        TimeUnit::Nanosecond => Some(ticks.div_euclid(1_000)),
    };
    micros.ok_or_else(|| Error::new(Kind::DateRange, "timestamp out of range"))
}

pub(super) fn interval<'a>(array: &'a dyn Array, spelling: Spelling) -> Option<Put<'a>> {
    let write = move |months: i32, days: i32, micros: i64, out: &mut BytesMut| {
        match spelling.format {
            Format::Text => calendar::interval(months, days, micros, spelling.interval_style, out),
            Format::Binary => {
                out.put_i64(micros);
                out.put_i32(days);
                out.put_i32(months);
            }
        }
        Ok(())
    };
    Some(match array.data_type() {
        DataType::Interval(IntervalUnit::YearMonth) => {
            let values: &[i32] = array.as_primitive_opt::<IntervalYearMonthType>()?.values();
            boxed(move |row, out| write(values[row], 0, 0, out))
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            let values = array.as_primitive_opt::<IntervalDayTimeType>()?;
            boxed(move |row, out| {
                let value = values.value(row);
                write(0, value.days, i64::from(value.milliseconds) * 1_000, out)
            })
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let values = array.as_primitive_opt::<IntervalMonthDayNanoType>()?;
            boxed(move |row, out| {
                let value = values.value(row);
                write(value.months, value.days, value.nanoseconds / 1_000, out)
            })
        }
        DataType::Duration(unit) => {
            let (values, unit) = (spans(array, *unit)?, *unit);
            // A duration comes from a difference of timestamps, which PostgreSQL splits into days and time.
            boxed(move |row, out| {
                let micros = instant(values[row], unit)?;
                let out_of_range = |_| Error::new(Kind::DateRange, "interval out of range");
                write(0, i32::try_from(micros / calendar::DAY).map_err(out_of_range)?, micros % calendar::DAY, out)
            })
        }
        _ => return None,
    })
}

fn spans(array: &dyn Array, unit: TimeUnit) -> Option<&[i64]> {
    Some(match unit {
        TimeUnit::Second => array.as_primitive_opt::<DurationSecondType>()?.values(),
        TimeUnit::Millisecond => array.as_primitive_opt::<DurationMillisecondType>()?.values(),
        TimeUnit::Microsecond => array.as_primitive_opt::<DurationMicrosecondType>()?.values(),
        TimeUnit::Nanosecond => array.as_primitive_opt::<DurationNanosecondType>()?.values(),
    })
}
