//! `generate_series`: every value of a series at once as a list, or in batches for a series that stands in FROM
//! ([`Series`]). How many values there will be is known before any is made, but for steps of days and months.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_empty_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field};
use chrono_tz::Tz;
use num_bigint::BigInt;

use super::array::value::nest;
use super::datetime::arithmetic::add;
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::calendar::{DAY, Zone};
use crate::pgtype::{Ty, oid};
use crate::sql::kernel::{Call, Env, Interval, Kernel, Stamp, Write};
use crate::sql::numeric::{Numeric, power_of_ten};

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("generate_series_int4", |c| all(c, Of::Int4)),
    ("generate_series_step_int4", |c| all(c, Of::Int4)),
    ("generate_series_int8", |c| all(c, Of::Int8)),
    ("generate_series_step_int8", |c| all(c, Of::Int8)),
    ("generate_series_numeric", |c| all(c, Of::Numeric)),
    ("generate_series_step_numeric", |c| all(c, Of::Numeric)),
    ("generate_series_timestamp", |c| all(c, Of::Timestamp)),
    ("generate_series_timestamptz", |c| all(c, Of::Timestamptz)),
];

/// Values that one row's series may have when it is made as a list.
const VALUES_MAX: u64 = 10_000_000;
/// Values made between two looks at the sum.
const BATCH_ROWS: usize = 8192;

#[derive(Clone, Copy, Debug)]
enum Of {
    Int4,
    Int8,
    Numeric,
    Timestamp,
    Timestamptz,
}

/// A series that is under way.
#[derive(Clone, Debug)]
pub(crate) struct Series(Steps);

#[derive(Clone, Debug)]
enum Steps {
    Int4 {
        next: i64,
        step: i64,
        left: u64,
    },
    Int8 {
        next: i64,
        step: i64,
        left: u64,
    },
    /// `next` and `step` are of one scale; the first value is shown with its own.
    Numeric {
        first: Option<Numeric>,
        next: BigInt,
        step: BigInt,
        scale: u32,
        left: u64,
    },
    Moments {
        next: Option<i64>,
        stop: i64,
        step: Interval,
        forward: bool,
        zone: Option<Tz>,
    },
}

impl Series {
    /// Whether the function of this `prosrc` is a series.
    pub(crate) fn is(source: &str) -> bool {
        KERNELS.iter().any(|(name, _)| *name == source)
    }

    /// The series of one row's arguments; `None` where one of them is NULL.
    pub(crate) fn of(source: &str, call: &Call<'_>, row: usize) -> Result<Option<Self>> {
        let of = match source.rsplit('_').next() {
            Some("int4") => Of::Int4,
            Some("int8") => Of::Int8,
            Some("numeric") => Of::Numeric,
            Some("timestamp") => Of::Timestamp,
            Some("timestamptz") => Of::Timestamptz,
            _ => return Err(Error::internal(format!("{source} is no series"))),
        };
        start(call, of, row)
    }

    /// Up to so many further values, lying as `data_type`; `None` at the end.
    pub(crate) fn batch(&mut self, rows: usize, data_type: &DataType, env: &Env) -> Result<Option<ArrayRef>> {
        let result = Field::new("", data_type.clone(), true);
        let call = Call { args: &[], types: &[], rows, result: &result, result_type: Ty::of(oid::UNKNOWN), env };
        let count = self.len().map_or(rows, |left| usize::try_from(left).map_or(rows, |left| left.min(rows)));
        let array = match &mut self.0 {
            Steps::Int4 { next, step, left } => {
                let narrow = |value| i32::try_from(value).map_err(|_| Error::internal("a series that left int4"));
                i32::collect((0..count).map(|_| integer(next, *step, left).map(narrow).transpose()), &call)?
            }
            Steps::Int8 { next, step, left } => {
                i64::collect((0..count).map(|_| Ok(integer(next, *step, left))), &call)?
            }
            Steps::Numeric { first, next, step, scale, left } => {
                let value = |_| {
                    *left -= 1;
                    let value = first.take().unwrap_or_else(|| Numeric::new(next.clone(), *scale));
                    *next += &*step;
                    Ok(Some(value))
                };
                Numeric::collect((0..count).map(value), &call)?
            }
            Steps::Moments { next, stop, step, forward, zone } => {
                let mut values = Vec::with_capacity(rows.min(BATCH_ROWS));
                let zone = zone.map(Zone::new);
                while let Some(at) = next.filter(|at| values.len() < rows && within(*at, *stop, *forward)) {
                    values.push(at);
                    *next = Some(add(at, *step, zone.as_ref())?);
                }
                Stamp::collect(values.into_iter().map(|at| Ok(Some(Stamp(at)))), &call)?
            }
        };
        Ok((!array.is_empty()).then_some(array))
    }

    /// How many values are still to come, where arithmetic tells.
    pub(crate) fn len(&self) -> Option<u64> {
        match &self.0 {
            Steps::Int4 { left, .. } | Steps::Int8 { left, .. } | Steps::Numeric { left, .. } => Some(*left),
            Steps::Moments { next, stop, step, forward, zone } => {
                let Some(next) = next.filter(|next| within(*next, *stop, *forward)) else { return Some(0) };
                let even = step.months == 0 && (zone.is_none() || step.days == 0);
                let by = i128::from(step.days) * i128::from(DAY) + i128::from(step.micros);
                if !even || by == 0 || matches!(next, i64::MIN | i64::MAX) {
                    return None;
                }
                u64::try_from((i128::from(*stop) - i128::from(next)) / by + 1).ok()
            }
        }
    }
}

fn integer(next: &mut i64, step: i64, left: &mut u64) -> Option<i64> {
    *left = left.checked_sub(1)?;
    let value = *next;
    *next = value.wrapping_add(step);
    Some(value)
}

fn within(at: i64, stop: i64, forward: bool) -> bool {
    if forward { at <= stop } else { at >= stop }
}

fn start(call: &Call<'_>, of: Of, row: usize) -> Result<Option<Series>> {
    let step_given = call.args.len() > 2;
    if call.any_null(row) {
        return Ok(None);
    }
    Ok(Some(Series(match of {
        Of::Int4 => {
            let get = |at| Ok::<_, Error>(call.read::<i32>(at)?.get(row).map_or(0, i64::from));
            let step = if step_given { get(2)? } else { 1 };
            let (next, left) = (get(0)?, integers(get(0)?, get(1)?, step)?);
            Steps::Int4 { next, step, left }
        }
        Of::Int8 => {
            let get = |at| Ok::<_, Error>(call.read::<i64>(at)?.get(row).unwrap_or(0));
            let step = if step_given { get(2)? } else { 1 };
            let (next, left) = (get(0)?, integers(get(0)?, get(1)?, step)?);
            Steps::Int8 { next, step, left }
        }
        Of::Numeric => {
            let get = |at| Ok::<_, Error>(call.read::<Numeric>(at)?.get(row).unwrap_or_else(Numeric::zero));
            let step = if step_given { get(2)? } else { Numeric::new(BigInt::from(1), 0) };
            numerics(get(0)?, get(1)?, step)?
        }
        Of::Timestamp | Of::Timestamptz => {
            let get = |at| Ok::<_, Error>(call.read::<Stamp>(at)?.get(row).map_or(0, |stamp| stamp.0));
            let zero = Interval { months: 0, days: 0, micros: 0 };
            let step = call.read::<Interval>(2)?.get(row).unwrap_or(zero);
            // interval_cmp: a month is thirty days
            let days = i128::from(step.months) * 30 + i128::from(step.days);
            let span = days * i128::from(DAY) + i128::from(step.micros);
            if span == 0 {
                return Err(step_is_zero());
            }
            let zone = matches!(of, Of::Timestamptz).then_some(call.env.time_zone);
            Steps::Moments { next: Some(get(0)?), stop: get(1)?, step, forward: span > 0, zone }
        }
    })))
}

fn step_is_zero() -> Error {
    Error::new(Kind::InvalidParameter, "step size cannot equal zero")
}

/// How many integers there are.
fn integers(start: i64, stop: i64, step: i64) -> Result<u64> {
    if step == 0 {
        return Err(step_is_zero());
    }
    if (step > 0 && start > stop) || (step < 0 && start < stop) {
        return Ok(0);
    }
    let steps = (i128::from(stop) - i128::from(start)) / i128::from(step);
    Ok(u64::try_from(steps + 1).unwrap_or(u64::MAX))
}

fn numerics(start: Numeric, stop: Numeric, step: Numeric) -> Result<Steps> {
    let parts = |name: &str, number: &Numeric| match number {
        Numeric::Finite { digits, scale } => Ok((digits.clone(), *scale)),
        Numeric::NaN => Err(Error::new(Kind::InvalidParameter, format!("{name} cannot be NaN"))),
        _ => Err(Error::new(Kind::InvalidParameter, format!("{name} cannot be infinity"))),
    };
    let (from, from_scale) = parts("start value", &start)?;
    let (to, to_scale) = parts("stop value", &stop)?;
    let (by, by_scale) = parts("step size", &step)?;
    if by == BigInt::ZERO {
        return Err(step_is_zero());
    }
    let scale = from_scale.max(by_scale);
    let common = scale.max(to_scale);
    let at = |digits: &BigInt, own: u32, scale: u32| digits * power_of_ten(scale - own);
    let steps = (at(&to, to_scale, common) - at(&from, from_scale, common)).checked_div(&at(&by, by_scale, common));
    // towards zero, so a stop before the start by less than a step would count as one
    let ahead = if by > BigInt::ZERO { start.compare(&stop).is_le() } else { start.compare(&stop).is_ge() };
    let left = match steps.filter(|_| ahead) {
        Some(steps) => u64::try_from(steps + 1).unwrap_or(u64::MAX),
        None => 0,
    };
    let (next, step) = (at(&from, from_scale, scale), at(&by, by_scale, scale));
    Ok(Steps::Numeric { first: Some(start), next, step, scale, left })
}

/// The series of every row as lists.
fn all(call: &Call<'_>, of: Of) -> Result<ArrayRef> {
    let DataType::List(item) = call.result.data_type() else {
        return Err(Error::internal(format!("a series as {}", call.result.data_type())));
    };
    let too_many = || {
        let text = format!("a series of more than {VALUES_MAX} values in one row");
        Error::new(Kind::TooLarge, text).with_hint("Call generate_series in FROM, with constants.")
    };
    let (mut parts, mut lengths, mut valid) = (vec![], Vec::with_capacity(call.rows), Vec::with_capacity(call.rows));
    for row in 0..call.rows {
        let Some(mut series) = start(call, of, row)? else {
            lengths.push(0);
            valid.push(false);
            continue;
        };
        if series.len().is_some_and(|len| len > VALUES_MAX) {
            return Err(too_many());
        }
        let mut length = 0;
        while let Some(batch) = series.batch(BATCH_ROWS, item.data_type(), call.env)? {
            length += batch.len();
            if length as u64 > VALUES_MAX {
                return Err(too_many());
            }
            parts.push(batch);
        }
        lengths.push(length);
        valid.push(true);
    }
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    let elements = match parts.is_empty() {
        true => new_empty_array(item.data_type()),
        false => concat(&parts)?,
    };
    nest(call.result.data_type(), elements, vec![lengths], valid)
}

/// Lists of integers that other functions made.
pub(super) fn lists(call: &Call<'_>, rows: impl Iterator<Item = Option<Vec<i32>>>) -> Result<ArrayRef> {
    let (mut values, mut lengths, mut valid) = (vec![], Vec::with_capacity(call.rows), Vec::with_capacity(call.rows));
    for row in rows {
        valid.push(row.is_some());
        let row = row.unwrap_or_default();
        lengths.push(row.len());
        values.extend(row);
    }
    let elements: ArrayRef = Arc::new(arrow::array::Int32Array::from(values));
    nest(call.result.data_type(), elements, vec![lengths], valid)
}
