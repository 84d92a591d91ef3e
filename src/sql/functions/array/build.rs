//! Arrays made of others: appended, joined, filled, trimmed. They count from 1; what would count from another place is
//! refused.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::Int32Type;

use super::value::{Arrays, ELEMENTS_MAX, Lists, too_many};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::input::DIMENSIONS_MAX;
use crate::sql::kernel::Call;

pub(super) fn append(call: &Call<'_>) -> Result<ArrayRef> {
    with_one_more(call, 0, 1)
}

pub(super) fn prepend(call: &Call<'_>) -> Result<ArrayRef> {
    with_one_more(call, 1, 0)
}

/// A NULL array is an empty one here.
fn with_one_more(call: &Call<'_>, array: usize, element: usize) -> Result<ArrayRef> {
    let (arrays, one) = (Arrays::read(call, array)?, call.arg(element)?);
    let mut lists = Lists::new(call);
    for row in 0..call.rows {
        let shape = arrays.get(row)?;
        if shape.is_some_and(|shape| shape.sizes().len() > 1) {
            return Err(Error::new(Kind::DataException, "argument must be empty or one-dimensional array"));
        }
        if element < array {
            lists.pick_same(1, one.at(row), 1);
        }
        if let Some(shape) = shape.filter(|shape| shape.len() > 0) {
            counts_from_one(&arrays)?;
            lists.pick(0, shape.from, shape.to);
        }
        if element > array {
            lists.pick_same(1, one.at(row), 1);
        }
        lists.push_flat()?;
    }
    lists.finish(call, &[arrays.elements(), &one.array])
}

fn counts_from_one(arrays: &Arrays<'_>) -> Result<()> {
    match arrays.base {
        1 => Ok(()),
        _ => Err(Error::unsupported("an array whose subscripts do not count from 1")),
    }
}

pub(super) fn cat(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (Arrays::read(call, 0)?, Arrays::read(call, 1)?);
    let mut lists = Lists::new(call);
    for row in 0..call.rows {
        let (a, b) = match (left.get(row)?, right.get(row)?) {
            (None, None) => {
                lists.null();
                continue;
            }
            (a, b) => (a, b),
        };
        let a = a.filter(|a| a.len() > 0);
        let b = b.filter(|b| b.len() > 0);
        if let Some(a) = &a {
            counts_from_one(&left)?;
            lists.pick(0, a.from, a.to);
        }
        if let Some(b) = &b {
            counts_from_one(&right)?;
            lists.pick(1, b.from, b.to);
        }
        let sizes = match (&a, &b) {
            (Some(a), Some(b)) => joined(a.sizes(), b.sizes())?,
            (Some(one), None) | (None, Some(one)) => one.sizes().to_vec(),
            (None, None) => vec![],
        };
        lists.push(&sizes)?;
    }
    lists.finish(call, &[left.elements(), right.elements()])
}

/// The dimensions of two arrays, one behind the other: of equal depth, or one an element of the other.
fn joined(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let refused = |detail: String| {
        Err(Error::new(Kind::ArraySubscript, "cannot concatenate incompatible arrays").with_detail(detail))
    };
    let (outer, inner, whole) = match (a.split_first(), b.split_first()) {
        (Some((x, a)), Some((y, b))) if a.len() == b.len() => {
            if a != b {
                let detail = "Arrays with differing element dimensions are not compatible for concatenation.";
                return refused(detail.to_owned());
            }
            (x + y, a, a)
        }
        (Some((x, inner)), _) if a.len() == b.len() + 1 => (x + 1, inner, b),
        (_, Some((y, inner))) if b.len() == a.len() + 1 => (y + 1, inner, a),
        _ => {
            let (a, b) = (a.len(), b.len());
            return refused(format!("Arrays of {a} and {b} dimensions are not compatible for concatenation."));
        }
    };
    if inner != whole {
        return refused("Arrays with differing dimensions are not compatible for concatenation.".to_owned());
    }
    Ok([&[outer], inner].concat())
}

/// array_fill(value, dimensions [, lower bounds]).
pub(super) fn fill(call: &Call<'_>) -> Result<ArrayRef> {
    let (value, dimensions) = (call.arg(0)?, Arrays::read(call, 1)?);
    let bounds = if call.args.len() > 2 { Some(Arrays::read(call, 2)?) } else { None };
    let null = || Error::new(Kind::NullNotAllowed, "dimension array or low bound array cannot be null");
    let width = value.array.get_array_memory_size() / value.array.len().max(1);
    let mut lists = Lists::new(call);
    for row in 0..call.rows {
        let numbers = numbers(&dimensions, row)?;
        let bounds = bounds.as_ref().map(|bounds| self::numbers(bounds, row)).transpose()?;
        let numbers = numbers.ok_or_else(null)?;
        let bounds = match bounds {
            Some(bounds) => Some(bounds.ok_or_else(null)?),
            None => None,
        };
        let numbers = whole(numbers)?;
        if numbers.len() > DIMENSIONS_MAX {
            let text = format!(
                "number of array dimensions ({}) exceeds the maximum allowed ({DIMENSIONS_MAX})",
                numbers.len()
            );
            return Err(Error::new(Kind::TooLarge, text));
        }
        if let Some(bounds) = bounds {
            let bounds = whole(bounds)?;
            if bounds.len() != numbers.len() {
                return Err(subscripts("Low bound array has different size than dimensions array."));
            }
            if bounds.iter().any(|bound| *bound != 1) {
                return Err(Error::unsupported("an array whose subscripts do not count from 1"));
            }
        }
        let mut sizes = Vec::with_capacity(numbers.len());
        let mut elements = 1usize;
        for number in numbers {
            let size = usize::try_from(number).map_err(|_| too_many())?;
            elements = elements.checked_mul(size).filter(|n| *n <= ELEMENTS_MAX).ok_or_else(too_many)?;
            sizes.push(size);
        }
        if sizes.is_empty() {
            elements = 0;
        }
        call.env.budget.value(elements.saturating_mul(width.max(16)))?;
        lists.pick_same(0, value.at(row), elements);
        lists.push(&sizes)?;
    }
    lists.finish(call, &[&value.array])
}

fn subscripts(detail: &str) -> Error {
    Error::new(Kind::ArraySubscript, "wrong number of array subscripts").with_detail(detail)
}

/// `None` for a NULL array; the elements may be NULL, and the array of several dimensions (`Err` inside).
type Numbers = std::result::Result<Vec<Option<i32>>, ()>;

fn numbers(arrays: &Arrays<'_>, row: usize) -> Result<Option<Numbers>> {
    let Some(shape) = arrays.get(row)? else { return Ok(None) };
    if shape.sizes().len() > 1 {
        return Ok(Some(Err(())));
    }
    let values = arrays.elements().as_primitive_opt::<Int32Type>();
    let values = values.ok_or_else(|| Error::internal("dimensions that are no int4[]"))?;
    Ok(Some(Ok((shape.from..shape.to).map(|at| values.is_valid(at).then(|| values.value(at))).collect())))
}

fn whole(numbers: Numbers) -> Result<Vec<i32>> {
    let numbers = numbers.map_err(|()| subscripts("Dimension array must be one dimensional."))?;
    let null = || Error::new(Kind::NullNotAllowed, "dimension values cannot be null");
    numbers.into_iter().map(|number| number.ok_or_else(null)).collect()
}

/// trim_array(array, n): without the last n of the outermost dimension.
pub(super) fn trim(call: &Call<'_>) -> Result<ArrayRef> {
    let (arrays, counts) = (Arrays::read(call, 0)?, call.read::<i32>(1)?);
    let mut lists = Lists::new(call);
    for row in 0..call.rows {
        let (Some(shape), Some(count)) = (arrays.get(row)?, counts.get(row)) else {
            lists.null();
            continue;
        };
        let outer = shape.sizes().first().copied().unwrap_or(0);
        let kept = usize::try_from(count).ok().and_then(|count| outer.checked_sub(count)).ok_or_else(|| {
            let text = format!("number of elements to trim must be between 0 and {outer}");
            Error::new(Kind::ArraySubscript, text)
        })?;
        let mut sizes = shape.sizes().to_vec();
        if let Some(outer) = sizes.first_mut() {
            *outer = kept;
        }
        let elements = if sizes.is_empty() { 0 } else { sizes.iter().product() };
        lists.pick(0, shape.from, shape.from + elements);
        lists.push(&sizes)?;
    }
    lists.finish(call, &[arrays.elements()])
}
