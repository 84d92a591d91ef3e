//! Ordered-set aggregates (orderedsetaggs.c): percentile_cont, percentile_disc, mode, and the hypothetical rows of rank,
//! dense_rank, percent_rank, cume_dist.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Float64Type, IntervalMonthDayNanoType};

use super::Of;
use super::gather::{Ordered, list_offsets};
use super::key;
use crate::error::{Error, Kind, Result};
use crate::pgtype::Ty;
use crate::sql::functions;
use crate::sql::kernel::{Arg, Call};

fn column<'a>(rows: &'a Ordered<'_>, i: usize) -> Result<&'a ArrayRef> {
    rows.columns.get(i).ok_or_else(|| Error::internal(format!("an ordered-set aggregate wants argument {i}")))
}

/// The rows of a group whose value is not NULL: NULLs stand together, before or after all others.
fn present(values: &ArrayRef, ends: &[usize]) -> Range<usize> {
    let (mut from, mut to) = (ends[0], ends[1]);
    while from < to && values.is_null(from) {
        from += 1;
    }
    while to > from && values.is_null(to - 1) {
        to -= 1;
    }
    from..to
}

fn fraction(value: f64) -> Result<f64> {
    if (0.0..=1.0).contains(&value) {
        return Ok(value);
    }
    let text = format!("percentile value {} is not between 0 and 1", general(value));
    Err(Error::new(Kind::NumericRange, text))
}

/// C's `%g` as PostgreSQL has it: six digits.
fn general(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.into();
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.into();
    }
    let scientific = format!("{value:.5e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |digits: &str| match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => digits.to_owned(),
    };
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(digits), exponent.unsigned_abs());
    }
    let decimals = usize::try_from(5 - exponent).unwrap_or(0);
    trimmed(&format!("{value:.decimals$}"))
}

/// The fractions of each group; `None` for a NULL, and where there are no rows. Arrays keep their shape.
enum Fractions {
    One(Vec<Option<f64>>),
    Many(Vec<Option<ArrayRef>>),
}

fn fractions(rows: &Ordered<'_>) -> Result<Fractions> {
    let fractions = column(rows, 0)?;
    // one value for all rows of a group: a direct argument depends on nothing but what is grouped by
    let first = |ends: &[usize]| (ends[0] < ends[1] && !fractions.is_null(ends[0])).then_some(ends[0]);
    let firsts = rows.offsets.windows(2).map(first);
    if let Some(lists) = fractions.as_list_opt::<i32>() {
        return Ok(Fractions::Many(firsts.map(|row| row.map(|row| lists.value(row))).collect()));
    }
    let wrong = || Error::internal("a fraction is no float8");
    let fractions = fractions.as_primitive_opt::<Float64Type>().ok_or_else(wrong)?;
    Ok(Fractions::One(firsts.map(|row| row.map(|row| fractions.value(row))).collect()))
}

/// Computes every value that is asked for at once: `each` is given the fractions with the rows of their groups.
fn percentiles(
    rows: &Ordered<'_>,
    of: &Of,
    each: impl Fn(&ArrayRef, &[Option<(f64, Range<usize>)>], bool) -> Result<ArrayRef>,
) -> Result<ArrayRef> {
    let values = column(rows, 1)?;
    let ends: Vec<&[usize]> = rows.offsets.windows(2).collect();
    // one fraction is judged even where no row has a value, several are not
    let asked = |value: f64, ends: &[usize]| {
        let (value, range) = (fraction(value)?, present(values, ends));
        Ok((!range.is_empty()).then_some((value, range)))
    };
    match fractions(rows)? {
        Fractions::One(fractions) => {
            let each_asked =
                fractions.iter().zip(&ends).map(|(value, ends)| value.map_or(Ok(None), |v| asked(v, ends)));
            each(values, &each_asked.collect::<Result<Vec<_>>>()?, false)
        }
        Fractions::Many(mut arrays) => {
            let (mut all, mut offsets) = (vec![], vec![0usize]);
            for (array, ends) in arrays.iter_mut().zip(&ends) {
                if present(values, ends).is_empty() {
                    *array = None;
                }
                let leaf = array.as_ref().map(leaf);
                for value in leaf.iter().flat_map(|leaf| leaf.as_primitive::<Float64Type>().iter()) {
                    all.push(value.map_or(Ok(None), |value| asked(value, ends))?);
                }
                offsets.push(all.len());
            }
            let found = each(values, &all, true)?;
            shaped(&arrays, &found, &offsets, of)
        }
    }
}

/// The elements of an array of any dimensions.
fn leaf(array: &ArrayRef) -> ArrayRef {
    match array.as_list_opt::<i32>() {
        Some(list) => {
            let (from, to) = (list.value_offsets()[0] as usize, list.value_offsets()[list.len()] as usize);
            leaf(&list.values().slice(from, to - from))
        }
        None => Arc::clone(array),
    }
}

/// The values found, in arrays of the shape of those that asked.
fn shaped(arrays: &[Option<ArrayRef>], found: &ArrayRef, offsets: &[usize], of: &Of) -> Result<ArrayRef> {
    let DataType::List(item) = &of.result.1 else {
        return Err(Error::internal("several percentiles that make no array"));
    };
    let (mut parts, mut lengths, mut valid) = (vec![], vec![0usize], vec![]);
    for (array, ends) in arrays.iter().zip(offsets.windows(2)) {
        valid.push(array.is_some());
        let mut length = 0;
        if let Some(array) = array {
            let part = like(array, &found.slice(ends[0], ends[1] - ends[0]), item)?;
            length = part.len();
            parts.push(part);
        }
        lengths.push(lengths.last().copied().unwrap_or(0) + length);
    }
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    let elements = match parts.is_empty() {
        true => arrow::array::new_empty_array(item.data_type()),
        false => arrow::compute::concat(&parts)?,
    };
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), list_offsets(&lengths)?, elements, Some(valid.into()))?))
}

fn like(shape: &ArrayRef, elements: &ArrayRef, item: &Arc<Field>) -> Result<ArrayRef> {
    match (shape.as_list_opt::<i32>(), item.data_type()) {
        (Some(list), DataType::List(inner)) => {
            let first = list.value_offsets()[0];
            let offsets: Vec<i32> = list.value_offsets().iter().map(|offset| offset - first).collect();
            let inner_shape = list.values().slice(first as usize, offsets[list.len()] as usize);
            let values = like(&inner_shape, elements, inner)?;
            let offsets = arrow::buffer::OffsetBuffer::new(offsets.into());
            Ok(Arc::new(ListArray::try_new(Arc::clone(inner), offsets, values, None)?))
        }
        _ => Ok(Arc::clone(elements)),
    }
}

pub(super) fn percentile_disc(rows: &Ordered<'_>, of: &Arc<Of>) -> Result<ArrayRef> {
    percentiles(rows, of, |values, asked, _| {
        let place = |asked: &Option<(f64, Range<usize>)>| {
            let (fraction, range) = asked.as_ref()?;
            // the first row at or after that part of them
            let place = (fraction * range.len() as f64).ceil() as usize;
            Some((range.start + place.max(1) - 1) as u64)
        };
        Ok(take(values, &asked.iter().map(place).collect::<UInt64Array>(), None)?)
    })
}

pub(super) fn percentile_cont(rows: &Ordered<'_>, of: &Arc<Of>) -> Result<ArrayRef> {
    percentiles(rows, of, |values, asked, many| {
        let (mut low, mut high, mut parts) = (vec![], vec![], vec![]);
        for asked in asked {
            let Some((fraction, range)) = asked else {
                low.push(None);
                high.push(None);
                parts.push(None);
                continue;
            };
            let place = fraction * (range.len() - 1) as f64;
            // PostgreSQL counts from one where several are asked for at once
            let (first, second) = match many {
                true => ((1.0 + place).floor() as usize - 1, (1.0 + place).ceil() as usize - 1),
                false => (place.floor() as usize, place.ceil() as usize),
            };
            let last = range.len() - 1;
            low.push(Some((range.start + first.min(last)) as u64));
            high.push(Some((range.start + second.min(last)) as u64));
            parts.push(Some(if first == second { 0.0 } else { place - place.floor() }));
        }
        let at = |places: Vec<Option<u64>>| take(values, &UInt64Array::from(places), None);
        between(&at(low)?, &at(high)?, &Float64Array::from(parts), of)
    })
}

/// `low + (high - low) * part`.
fn between(low: &ArrayRef, high: &ArrayRef, parts: &Float64Array, of: &Of) -> Result<ArrayRef> {
    if let (Some(low), Some(high)) = (low.as_primitive_opt::<Float64Type>(), high.as_primitive_opt::<Float64Type>()) {
        let each = low.iter().zip(high.iter()).zip(parts.iter());
        let value = |((low, high), part): ((Option<f64>, Option<f64>), Option<f64>)| {
            let (low, high, part) = (low?, high?, part?);
            Some(if part == 0.0 { low } else { low + part * (high - low) })
        };
        return Ok(Arc::new(each.map(value).collect::<Float64Array>()));
    }
    if low.as_primitive_opt::<IntervalMonthDayNanoType>().is_none() {
        return Err(Error::internal("percentile_cont of what is between no two values"));
    }
    let ty = Ty::of(crate::pgtype::oid::INTERVAL);
    let call = |source: &str, left: &ArrayRef, right: ArrayRef| {
        let kernel = functions::kernel(source).ok_or_else(|| Error::unsupported(format!("function {source}")))?;
        let field = Field::new(source, low.data_type().clone(), true);
        let (rows, args) = (left.len(), [Arg::array(Arc::clone(left)), Arg::array(right)]);
        kernel(&Call { args: &args, types: &[ty, ty], rows, result: &field, result_type: ty, env: &of.env })
    };
    let difference = call("interval_mi", high, Arc::clone(low))?;
    let part = call("interval_mul", &difference, Arc::new(parts.clone()))?;
    let value = call("interval_pl", &part, Arc::clone(low))?;
    // where both rows are one nothing is computed, and nothing normalised
    let same = parts.iter().map(|part| part == Some(0.0)).collect::<Vec<bool>>().into();
    Ok(arrow::compute::kernels::zip::zip(&same, low, &value)?)
}

/// The value that is most often there; of several the first.
pub(super) fn mode(rows: &Ordered<'_>, of: &Arc<Of>) -> Result<ArrayRef> {
    let values = column(rows, 0)?;
    let keys = key::rows(&[key::comparable(values, of.argument()?, &of.env)?], &[key::ASCENDING])?;
    let place = |ends: &[usize]| {
        let range = present(values, ends);
        let (mut best, mut most, mut first) = (None, 0, range.start);
        for row in range.clone() {
            if keys.row(row) != keys.row(first) {
                first = row;
            }
            if row + 1 - first > most {
                (best, most) = (Some(first as u64), row + 1 - first);
            }
        }
        best
    };
    Ok(take(values, &rows.offsets.windows(2).map(place).collect::<UInt64Array>(), None)?)
}

/// Where a row of the direct arguments would stand among those of a group.
#[derive(Debug)]
struct Place {
    before: usize,
    /// Different ones among those before.
    different: usize,
    equal: usize,
    rows: usize,
}

fn places(rows: &Ordered<'_>, of: &Of, distinct: bool) -> Result<Vec<Place>> {
    let keys = rows.order.by.len();
    let (arguments, wrong) = (of.arguments.len(), || Error::internal("a hypothetical row of another width"));
    if arguments != 2 * keys {
        return Err(wrong());
    }
    let options: Vec<_> = rows.order.by.iter().map(|(options, _)| *options).collect();
    let side = |from: usize| {
        let comparable = |i: usize| key::comparable(column(rows, i)?, of.arguments[i].0, &of.env);
        key::rows(&(from..from + keys).map(comparable).collect::<Result<Vec<_>>>()?, &options)
    };
    let (hypothetical, real) = (side(0)?, side(keys)?);
    let place = |ends: &[usize]| {
        let mut place = Place { before: 0, different: 0, equal: 0, rows: ends[1] - ends[0] };
        let mut seen = HashSet::new();
        for row in ends[0]..ends[1] {
            match real.row(row).cmp(&hypothetical.row(ends[0])) {
                std::cmp::Ordering::Less => {
                    place.before += 1;
                    place.different += usize::from(distinct && seen.insert(real.row(row)));
                }
                std::cmp::Ordering::Equal => place.equal += 1,
                std::cmp::Ordering::Greater => {}
            }
        }
        place
    };
    Ok(rows.offsets.windows(2).map(place).collect())
}

pub(super) fn rank(rows: &Ordered<'_>, of: &Arc<Of>) -> Result<ArrayRef> {
    let ranks = places(rows, of, false)?.into_iter().map(|place| place.before as i64 + 1);
    Ok(Arc::new(Int64Array::from_iter_values(ranks)))
}

pub(super) fn dense_rank(rows: &Ordered<'_>, of: &Arc<Of>) -> Result<ArrayRef> {
    let ranks = places(rows, of, true)?.into_iter().map(|place| place.different as i64 + 1);
    Ok(Arc::new(Int64Array::from_iter_values(ranks)))
}

pub(super) fn percent_rank(rows: &Ordered<'_>, of: &Arc<Of>) -> Result<ArrayRef> {
    let rank = |place: Place| if place.rows == 0 { 0.0 } else { place.before as f64 / place.rows as f64 };
    Ok(Arc::new(Float64Array::from_iter_values(places(rows, of, false)?.into_iter().map(rank))))
}

pub(super) fn cume_dist(rows: &Ordered<'_>, of: &Arc<Of>) -> Result<ArrayRef> {
    let part = |place: Place| (place.before + place.equal + 1) as f64 / (place.rows + 1) as f64;
    Ok(Arc::new(Float64Array::from_iter_values(places(rows, of, false)?.into_iter().map(part))))
}
