//! ARRAY[…], subscripts and slices over lists; more dimensions are lists of lists. Lower bounds are one.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, Int64Array, ListArray, UInt32Array, new_empty_array, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{cast, concat, interleave, take};
use arrow::datatypes::{DataType, Int32Type};

use super::special::Input;
use crate::error::{Error, Kind, Result};

pub(super) fn construct(input: &Input<'_>) -> Result<ArrayRef> {
    let DataType::List(item) = input.result.data_type() else {
        return Err(Error::internal(format!("ARRAY as {}", input.result.data_type())));
    };
    let count = input.args.len();
    let columns = (0..count).map(|i| {
        let column = input.full(i)?;
        match column.data_type() == item.data_type() {
            true => Ok(column),
            false => Ok(cast(&column, item.data_type())?),
        }
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let nested = matches!(item.data_type(), DataType::List(_));
    if nested {
        return nested_of(input, &columns);
    }
    let parts: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
    let places: Vec<(usize, usize)> = (0..input.rows).flat_map(|row| (0..count).map(move |i| (i, row))).collect();
    let values = match count {
        0 => new_empty_array(item.data_type()),
        _ => interleave(&parts, &places)?,
    };
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(count, input.rows));
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, None)?))
}

/// Arrays of arrays: all of one shape; empty and NULL ones count for nothing if all are so.
fn nested_of(input: &Input<'_>, columns: &[ArrayRef]) -> Result<ArrayRef> {
    let DataType::List(item) = input.result.data_type() else {
        return Err(Error::internal("ARRAY of no list"));
    };
    let mismatch = || {
        Error::new(Kind::ArraySubscript, "multidimensional arrays must have array expressions with matching dimensions")
    };
    let (mut places, mut lengths) = (vec![], vec![]);
    for row in 0..input.rows {
        let shapes: Vec<Vec<usize>> = columns.iter().map(|column| shape(column, row)).collect();
        let first = shapes.first().cloned().unwrap_or_default();
        if shapes.iter().any(|s| *s != first) {
            return Err(mismatch());
        }
        if first.is_empty() {
            lengths.push(0);
            continue;
        }
        lengths.push(columns.len());
        places.extend((0..columns.len()).map(|i| (i, row)));
    }
    let parts: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
    let values = match places.is_empty() {
        true => new_empty_array(item.data_type()),
        false => interleave(&parts, &places)?,
    };
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), OffsetBuffer::from_lengths(lengths), values, None)?))
}

/// Lengths of the dimensions of one value; none for an empty or a NULL one.
fn shape(array: &ArrayRef, row: usize) -> Vec<usize> {
    let mut lengths = vec![];
    let (mut array, mut row) = (Arc::clone(array), row);
    while let Some(list) = Arc::clone(&array).as_list_opt::<i32>() {
        if list.is_null(row) || list.value_length(row) == 0 {
            return vec![];
        }
        lengths.push(usize::try_from(list.value_length(row)).unwrap_or(0));
        let start = list.value_offsets().get(row).and_then(|o| usize::try_from(*o).ok());
        (array, row) = (Arc::clone(list.values()), start.unwrap_or(0));
    }
    lengths
}

/// The numbers from 1 to the length of the longest list of each row.
pub(super) fn ordinals(input: &Input<'_>) -> Result<ArrayRef> {
    let DataType::List(item) = input.result.data_type() else { return Err(Error::internal("ordinals as no list")) };
    let lists = (0..input.args.len()).map(|i| input.full(i)).collect::<Result<Vec<_>>>()?;
    let length = |row: usize| {
        let each = lists.iter().filter_map(|list| list.as_list_opt::<i32>().filter(|list| list.is_valid(row)));
        each.filter_map(|list| usize::try_from(list.value_length(row)).ok()).max().unwrap_or(0)
    };
    let lengths: Vec<usize> = (0..input.rows).map(length).collect();
    let numbers: Int64Array = lengths.iter().flat_map(|n| (1..=*n).map(|i| i64::try_from(i).ok())).collect();
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, Arc::new(numbers), None)?))
}

/// A list of one NULL where there is a list of nothing, or none.
pub(super) fn padded(input: &Input<'_>) -> Result<ArrayRef> {
    let list = input.full(0)?;
    let DataType::List(item) = list.data_type() else { return Err(Error::internal("padding of no list")) };
    let list: &ListArray = list.as_list();
    let null = new_null_array(item.data_type(), 1);
    let (mut places, mut lengths) = (vec![], vec![]);
    for row in 0..list.len() {
        let length = if list.is_valid(row) { usize::try_from(list.value_length(row)).unwrap_or(0) } else { 0 };
        let start = list.value_offsets().get(row).and_then(|o| usize::try_from(*o).ok()).unwrap_or(0);
        match length {
            0 => places.push((1, 0)),
            _ => places.extend((start..start + length).map(|i| (0, i))),
        }
        lengths.push(length.max(1));
    }
    let values = interleave(&[list.values().as_ref(), null.as_ref()], &places)?;
    let item = Arc::new(item.as_ref().clone().with_nullable(true));
    Ok(Arc::new(ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), values, None)?))
}

/// A number for each dimension, counted from `first`; too few or too many, or one outside the bounds, is NULL.
pub(super) fn subscript(input: &Input<'_>, first: i32) -> Result<ArrayRef> {
    let list = input.arg(0)?;
    let mut values = Arc::clone(&list.array);
    let mut places: Vec<Option<usize>> = (0..input.rows).map(|row| Some(list.at(row))).collect();
    for i in 1..input.args.len() {
        let index = input.arg(i)?.read::<i32>()?;
        let Some(lists) = Arc::clone(&values).as_list_opt::<i32>().cloned() else {
            return Ok(new_null_array(input.result.data_type(), input.rows));
        };
        for (row, place) in places.iter_mut().enumerate() {
            *place = place.filter(|at| lists.is_valid(*at)).and_then(|at| {
                let index = usize::try_from(index.get(row)?.checked_sub(first)?).ok()?;
                let start = usize::try_from(*lists.value_offsets().get(at)?).ok()?;
                let length = usize::try_from(lists.value_length(at)).ok()?;
                (index < length).then_some(start + index)
            });
        }
        values = Arc::clone(lists.values());
    }
    if values.as_list_opt::<i32>().is_some() && !matches!(input.result.data_type(), DataType::List(_)) {
        return Ok(new_null_array(input.result.data_type(), input.rows));
    }
    let places: UInt32Array = places.into_iter().map(|p| p.and_then(|p| u32::try_from(p).ok())).collect();
    Ok(take(&values, &places, None)?)
}

/// `given` says for each dimension which bounds there are; they are the arguments after the array, in this order.
/// `first`: the number of the first element.
pub(super) fn slice(input: &Input<'_>, given: &[(bool, bool)], first: i32) -> Result<ArrayRef> {
    let list = input.full(0)?;
    let mut bounds: Vec<(Option<Int32Array>, Option<Int32Array>)> = vec![];
    let mut next = 1;
    let mut bound = |there: bool| -> Result<Option<Int32Array>> {
        if !there {
            return Ok(None);
        }
        let bound = input.full(next)?;
        next += 1;
        let wrong = || Error::internal("a slice by no integer");
        Ok(Some(bound.as_primitive_opt::<Int32Type>().cloned().ok_or_else(wrong)?))
    };
    for (lower, upper) in given {
        bounds.push((bound(*lower)?, bound(*upper)?));
    }
    let is_null = |b: &Option<Int32Array>, row: usize| b.as_ref().is_some_and(|b| b.is_null(row));
    let (mut parts, mut valid, mut lengths) = (vec![], vec![], vec![]);
    for row in 0..input.rows {
        if list.is_null(row) || bounds.iter().any(|(l, u)| is_null(l, row) || is_null(u, row)) {
            valid.push(false);
            lengths.push(0);
            continue;
        }
        let from_one = |bound: &Option<Int32Array>| bound.as_ref().map(|b| b.value(row).saturating_add(1 - first));
        let of_row: Vec<(Option<i32>, Option<i32>)> = bounds.iter().map(|(l, u)| (from_one(l), from_one(u))).collect();
        let part = cut(&list.as_list::<i32>().value(row), &of_row)?;
        valid.push(true);
        lengths.push(part.as_ref().map_or(0, |part| part.len()));
        parts.extend(part.filter(|part| !part.is_empty()));
    }
    let DataType::List(item) = list.data_type() else { return Err(Error::internal("a slice of no list")) };
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    let values = if parts.is_empty() { new_empty_array(item.data_type()) } else { concat(&parts)? };
    let nulls = NullBuffer::from(valid);
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), OffsetBuffer::from_lengths(lengths), values, Some(nulls))?))
}

/// The elements of one dimension within its bounds, and so below it; `None` where nothing is left.
fn cut(values: &ArrayRef, bounds: &[(Option<i32>, Option<i32>)]) -> Result<Option<ArrayRef>> {
    let Some(((lower, upper), rest)) = bounds.split_first() else { return Ok(Some(Arc::clone(values))) };
    let length = i64::try_from(values.len()).unwrap_or(i64::MAX);
    let lower = lower.map_or(1, i64::from).max(1);
    let upper = upper.map_or(length, i64::from).min(length);
    if lower > upper {
        return Ok(None);
    }
    let start = usize::try_from(lower - 1).unwrap_or(0);
    let count = usize::try_from(upper - lower + 1).unwrap_or(0);
    let part = values.slice(start, count);
    let Some(lists) = part.as_list_opt::<i32>() else {
        // more bounds than dimensions
        return Ok(rest.is_empty().then_some(part));
    };
    if rest.is_empty() {
        return Ok(Some(part));
    }
    let (mut parts, mut lengths) = (vec![], vec![]);
    for row in 0..lists.len() {
        let Some(inner) = cut(&lists.value(row), rest)? else { return Ok(None) };
        lengths.push(inner.len());
        parts.push(inner);
    }
    let DataType::List(item) = part.data_type() else { return Err(Error::internal("a slice of no list")) };
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    let values = concat(&parts)?;
    Ok(Some(Arc::new(ListArray::try_new(Arc::clone(item), OffsetBuffer::from_lengths(lengths), values, None)?)))
}
