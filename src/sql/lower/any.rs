//! `x op ANY (array)` and `ALL`, also for rows: the operator over the elements, three-valued. A long constant list that is
//! asked for equality is hashed once a batch.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, UInt32Array};
use arrow::compute::{not, take};
use arrow::row::{RowConverter, SortField};

use super::compare::Comparison;
use super::special::{Input, spread, spread_flags};
use crate::error::{Error, Kind, Result};
use crate::sql::kernel::{Arg, Env};

/// Lists of constants shorter than this are compared one by one.
const HASHED_FROM: usize = 8;

/// What the elements met so far say.
#[derive(Clone, Copy)]
struct Met {
    decided: bool,
    null: bool,
}

impl Met {
    const NOTHING: Met = Met { decided: false, null: false };

    /// ANY is decided by a true element, ALL by a false one.
    fn meet(&mut self, value: Option<bool>, all: bool) {
        match value {
            Some(value) if value != all => self.decided = true,
            Some(_) => {}
            None => self.null = true,
        }
    }

    fn result(self, all: bool) -> Option<bool> {
        match self {
            Met { decided: true, .. } => Some(!all),
            Met { null: true, .. } => None,
            Met { .. } => Some(all),
        }
    }
}

/// Where the elements of each row lie in the values below all dimensions.
fn flat(list: &ArrayRef) -> Result<(Vec<usize>, ArrayRef)> {
    let wrong = || Error::internal(format!("ANY over {}", list.data_type()));
    let list: &ListArray = list.as_list_opt().ok_or_else(wrong)?;
    let mut offsets: Vec<usize> = list.offsets().iter().map(|o| usize::try_from(*o).unwrap_or(0)).collect();
    let mut values = Arc::clone(list.values());
    while let Some(inner) = Arc::clone(&values).as_list_opt::<i32>() {
        let below = inner.offsets();
        for offset in &mut offsets {
            *offset = below.get(*offset).and_then(|o| usize::try_from(*o).ok()).unwrap_or(0);
        }
        values = Arc::clone(inner.values());
    }
    Ok((offsets, values))
}

fn at(array: &BooleanArray, row: usize) -> Option<bool> {
    array.is_valid(row).then(|| array.value(row))
}

pub(super) fn of_elements(input: &Input<'_>, comparison: &Comparison, all: bool) -> Result<ArrayRef> {
    let (left, list) = (input.arg(0)?, input.arg(1)?);
    let (offsets, values) = flat(&list.array)?;
    let range = |row: usize| {
        let row = list.at(row);
        offsets.get(row).copied().unwrap_or(0)..offsets.get(row + 1).copied().unwrap_or(0)
    };
    if list.constant {
        if list.array.is_null(0) {
            return Ok(Arc::new(BooleanArray::new_null(input.rows)));
        }
        let elements = values.slice(range(0).start, range(0).len());
        return constant_list(input, left, &elements, comparison, all);
    }
    // every element beside the row it belongs to, then one comparison over all of them
    let rows: Vec<usize> = (0..input.rows).filter(|row| !list.is_null(*row)).collect();
    let beside: UInt32Array =
        rows.iter().flat_map(|row| range(*row).map(|_| u32::try_from(left.at(*row)).ok())).collect();
    let elements: UInt32Array = rows.iter().flat_map(|row| range(*row).map(|i| u32::try_from(i).ok())).collect();
    let count = elements.len();
    let lefts = Arg::array(take(&left.array, &beside, None)?);
    let elements = Arg::array(take(&values, &elements, None)?);
    let compared = match count {
        0 => BooleanArray::new_null(0),
        _ => comparison.arrays(&lefts, &elements, count, input.env)?,
    };
    let mut next = 0;
    let result: BooleanArray = (0..input.rows)
        .map(|row| {
            if list.is_null(row) {
                return None;
            }
            let mut met = Met::NOTHING;
            for _ in range(row) {
                met.meet(at(&compared, next), all);
                next += 1;
            }
            met.result(all)
        })
        .collect();
    Ok(Arc::new(result))
}

fn constant_list(
    input: &Input<'_>,
    left: &Arg,
    elements: &ArrayRef,
    comparison: &Comparison,
    all: bool,
) -> Result<ArrayRef> {
    let (any_equal, all_unequal) = (!all && comparison.is_equality(), all && comparison.is_inequality());
    if (any_equal || all_unequal)
        && elements.len() >= HASHED_FROM
        && let Some(found) = hashed(left, elements, comparison, input.env)?
    {
        let found = if all_unequal { not(&found)? } else { found };
        return Ok(Arc::new(spread_flags(found, input.rows)?));
    }
    let mut met = vec![Met::NOTHING; input.rows];
    for i in 0..elements.len() {
        let element = Arg::constant(elements.slice(i, 1));
        let left = Arg::array(spread(left, input.rows)?);
        let compared = spread_flags(comparison.arrays(&left, &element, input.rows, input.env)?, input.rows)?;
        for (row, met) in met.iter_mut().enumerate() {
            met.meet(at(&compared, row), all);
        }
    }
    Ok(Arc::new(met.into_iter().map(|met| met.result(all)).collect::<BooleanArray>()))
}

fn hashed(left: &Arg, elements: &ArrayRef, comparison: &Comparison, env: &Env) -> Result<Option<BooleanArray>> {
    let Some((left, elements)) = comparison.keys(left, &Arg::array(Arc::clone(elements)), env)? else {
        return Ok(None);
    };
    let converter = RowConverter::new(vec![SortField::new(left.data_type().clone())])?;
    let (keys, set) =
        (converter.convert_columns(&[Arc::clone(&left)])?, converter.convert_columns(&[Arc::clone(&elements)])?);
    let null = elements.null_count() > 0;
    let set: HashSet<&[u8]> =
        set.iter().enumerate().filter(|(i, _)| elements.is_valid(*i)).map(|(_, row)| row.data()).collect();
    let found = (0..left.len()).map(|row| match left.is_null(row) {
        true => None,
        false if set.contains(keys.row(row).data()) => Some(true),
        false => (!null).then_some(false),
    });
    Ok(Some(found.collect()))
}

/// `(a, b) = ANY (records)`: by `=` and `<>` field for field; other operators decide by the first field that differs.
pub(super) fn of_rows(input: &Input<'_>, comparisons: &[Comparison], all: bool) -> Result<ArrayRef> {
    let list = input.arg(comparisons.len())?;
    let (offsets, values) = flat(&list.array)?;
    let Some(records) = values.as_struct_opt() else {
        return Err(Error::internal(format!("a row compared with {}", values.data_type())));
    };
    let range = |row: usize| {
        let row = list.at(row);
        offsets.get(row).copied().unwrap_or(0)..offsets.get(row + 1).copied().unwrap_or(0)
    };
    let mut result = Vec::with_capacity(input.rows);
    // row by row: the elements of one row beside its own fields
    for row in 0..input.rows {
        if list.is_null(row) {
            result.push(None);
            continue;
        }
        let (start, count) = (range(row).start, range(row).len());
        let mut columns = Vec::with_capacity(comparisons.len());
        for (i, comparison) in comparisons.iter().enumerate() {
            let own = input.arg(i)?;
            let own = Arg::constant(own.array.slice(own.at(row), 1));
            let Some(field) = records.columns().get(i) else {
                return Err(Error::new(Kind::Syntax, "subquery has too few columns"));
            };
            let elements = Arg::array(field.slice(start, count));
            let compared = match count {
                0 => BooleanArray::new_null(0),
                _ => spread_flags(comparison.arrays(&own, &elements, count, input.env)?, count)?,
            };
            columns.push(compared);
        }
        let mut met = Met::NOTHING;
        for i in 0..count {
            met.meet(row_of(comparisons, columns.iter().map(|c| at(c, i))), all);
        }
        result.push(met.result(all));
    }
    Ok(Arc::new(BooleanArray::from(result)))
}

/// All equal, or any unequal, three-valued.
fn row_of(comparisons: &[Comparison], fields: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut met = Met::NOTHING;
    let conjunction = comparisons.first().is_none_or(Comparison::is_equality);
    for value in fields {
        met.meet(value, conjunction);
    }
    met.result(conjunction)
}
