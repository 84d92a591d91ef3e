//! What arrays are asked: dimensions, an element's place, whether they contain one another, how they compare.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;

use super::value::{Arrays, Lists, Shape, int4, lying_as};
use crate::error::{Error, Kind, Result};
use crate::sql::functions::compare::{Compare, Need, comparer};
use crate::sql::kernel::Call;

pub(super) fn ndims(call: &Call<'_>) -> Result<ArrayRef> {
    let arrays = Arrays::read(call, 0)?;
    call.rows_of(|row| match arrays.get(row)? {
        Some(shape) if !shape.sizes().is_empty() => int4(shape.sizes().len()).map(Some),
        _ => Ok(None),
    })
}

pub(super) fn dims(call: &Call<'_>) -> Result<ArrayRef> {
    let arrays = Arrays::read(call, 0)?;
    call.rows_of(|row| match arrays.get(row)? {
        Some(shape) if !shape.sizes().is_empty() => {
            let base = arrays.base;
            let dims = shape.sizes().iter().map(|size| int4(*size).map(|n| format!("[{base}:{}]", n + base - 1)));
            dims.collect::<Result<String>>().map(Some)
        }
        _ => Ok(None),
    })
}

pub(super) fn cardinality(call: &Call<'_>) -> Result<ArrayRef> {
    let arrays = Arrays::read(call, 0)?;
    call.rows_of(|row| arrays.get(row)?.map(|shape| int4(shape.len())).transpose())
}

/// array_length, array_lower and array_upper: what `f` makes of the size of the dimension asked for.
fn of_dimension(call: &Call<'_>, f: impl Fn(i32, i32) -> i32) -> Result<ArrayRef> {
    let (arrays, dimension) = (Arrays::read(call, 0)?, call.read::<i32>(1)?);
    call.rows_of(|row| {
        let (Some(shape), Some(dimension)) = (arrays.get(row)?, dimension.get(row)) else { return Ok(None) };
        shape.size(dimension).map(|size| int4(size).map(|size| f(size, arrays.base))).transpose()
    })
}

pub(super) fn length(call: &Call<'_>) -> Result<ArrayRef> {
    of_dimension(call, |size, _| size)
}

pub(super) fn lower(call: &Call<'_>) -> Result<ArrayRef> {
    of_dimension(call, |_, base| base)
}

pub(super) fn upper(call: &Call<'_>) -> Result<ArrayRef> {
    of_dimension(call, |size, base| size + base - 1)
}

/// generate_subscripts(array, dimension [, reverse]).
pub(super) fn subscripts(call: &Call<'_>) -> Result<ArrayRef> {
    let (arrays, dimension) = (Arrays::read(call, 0)?, call.read::<i32>(1)?);
    let reverse = if call.args.len() > 2 { Some(call.read::<bool>(2)?) } else { None };
    let rows: Result<Vec<Option<(i32, i32, bool)>>> = (0..call.rows)
        .map(|row| {
            if call.any_null(row) {
                return Ok(None);
            }
            let (Some(shape), Some(dimension)) = (arrays.get(row)?, dimension.get(row)) else { return Ok(None) };
            let reverse = reverse.as_ref().and_then(|reverse| reverse.get(row)).unwrap_or(false);
            // no rows without such a dimension
            let size = shape.size(dimension).map(int4).transpose()?.unwrap_or(0);
            Ok(Some((arrays.base, size + arrays.base - 1, reverse)))
        })
        .collect();
    super::super::series::lists(
        call,
        rows?.into_iter().map(|row| {
            let (from, to, reverse) = row?;
            let up = from..=to;
            Some(if reverse { up.rev().collect::<Vec<i32>>() } else { up.collect() })
        }),
    )
}

/// Two columns of arrays and the order of their elements.
struct Pair<'a> {
    left: Arrays<'a>,
    right: Arrays<'a>,
    elements: Compare,
}

impl<'a> Pair<'a> {
    fn read(call: &Call<'a>, need: Need) -> Result<Self> {
        let (left, right) = (Arrays::read(call, 0)?, Arrays::read(call, 1)?);
        let elements = comparer(left.element, left.elements(), right.elements(), need, call.env)?;
        Ok(Self { left, right, elements })
    }

    /// array_cmp.
    fn compare(&self, a: &Shape, b: &Shape) -> Ordering {
        let pairs = (a.from..a.to).zip(b.from..b.to);
        let first = pairs.map(|(l, r)| (self.elements)(l, r)).find(|order| order.is_ne());
        first.unwrap_or_else(|| {
            let by_count = a.len().cmp(&b.len());
            by_count.then(a.sizes().len().cmp(&b.sizes().len())).then_with(|| a.sizes().cmp(b.sizes()))
        })
    }

    /// array_eq, which looks at the dimensions before the elements.
    fn equal(&self, a: &Shape, b: &Shape) -> bool {
        a.sizes() == b.sizes() && (a.from..a.to).zip(b.from..b.to).all(|(l, r)| (self.elements)(l, r).is_eq())
    }
}

fn ordered(call: &Call<'_>, is: impl Fn(Ordering) -> bool) -> Result<ArrayRef> {
    let pair = Pair::read(call, Need::Order)?;
    call.rows_of(|row| match (pair.left.get(row)?, pair.right.get(row)?) {
        (Some(a), Some(b)) => Ok(Some(is(pair.compare(&a, &b)))),
        _ => Ok(None),
    })
}

fn equality(call: &Call<'_>, wanted: bool) -> Result<ArrayRef> {
    let pair = Pair::read(call, Need::Equality)?;
    call.rows_of(|row| match (pair.left.get(row)?, pair.right.get(row)?) {
        (Some(a), Some(b)) => Ok(Some(pair.equal(&a, &b) == wanted)),
        _ => Ok(None),
    })
}

pub(super) fn eq(call: &Call<'_>) -> Result<ArrayRef> {
    equality(call, true)
}

pub(super) fn ne(call: &Call<'_>) -> Result<ArrayRef> {
    equality(call, false)
}

pub(super) fn lt(call: &Call<'_>) -> Result<ArrayRef> {
    ordered(call, Ordering::is_lt)
}

pub(super) fn le(call: &Call<'_>) -> Result<ArrayRef> {
    ordered(call, Ordering::is_le)
}

pub(super) fn gt(call: &Call<'_>) -> Result<ArrayRef> {
    ordered(call, Ordering::is_gt)
}

pub(super) fn ge(call: &Call<'_>) -> Result<ArrayRef> {
    ordered(call, Ordering::is_ge)
}

/// btarraycmp.
pub(super) fn cmp(call: &Call<'_>) -> Result<ArrayRef> {
    let pair = Pair::read(call, Need::Order)?;
    call.rows_of(|row| match (pair.left.get(row)?, pair.right.get(row)?) {
        (Some(a), Some(b)) => Ok(Some(pair.compare(&a, &b) as i32)),
        _ => Ok(None),
    })
}

/// btoidvectorcmp: by the number of elements first.
fn vectors(call: &Call<'_>) -> Result<Vec<Option<Ordering>>> {
    let pair = Pair::read(call, Need::Order)?;
    let compare = |row| match (pair.left.get(row)?, pair.right.get(row)?) {
        (Some(a), Some(b)) => Ok(Some(a.len().cmp(&b.len()).then_with(|| pair.compare(&a, &b)))),
        _ => Ok(None),
    };
    (0..call.rows).map(compare).collect()
}

pub(super) fn vector_cmp(call: &Call<'_>) -> Result<ArrayRef> {
    let orders = vectors(call)?;
    call.rows_of(|row| Ok(orders.get(row).copied().flatten().map(|order| order as i32)))
}

macro_rules! vector {
    ($($name:ident $is:ident;)*) => {
        $(pub(super) fn $name(call: &Call<'_>) -> Result<ArrayRef> {
            let orders = vectors(call)?;
            call.rows_of(|row| Ok(orders.get(row).copied().flatten().map(Ordering::$is)))
        })*
    };
}

vector! {
    vector_eq is_eq;
    vector_ne is_ne;
    vector_lt is_lt;
    vector_le is_le;
    vector_gt is_gt;
    vector_ge is_ge;
}

/// array_larger and array_smaller.
fn choose(call: &Call<'_>, left_if: impl Fn(Ordering) -> bool) -> Result<ArrayRef> {
    let pair = Pair::read(call, Need::Order)?;
    let mut lists = Lists::new(call);
    for row in 0..call.rows {
        let (Some(a), Some(b)) = (pair.left.get(row)?, pair.right.get(row)?) else {
            lists.null();
            continue;
        };
        let (source, it) = if left_if(pair.compare(&a, &b)) { (0, a) } else { (1, b) };
        lists.pick(source, it.from, it.to);
        lists.push(it.sizes())?;
    }
    lists.finish(call, &[pair.left.elements(), pair.right.elements()])
}

pub(super) fn larger(call: &Call<'_>) -> Result<ArrayRef> {
    choose(call, Ordering::is_gt)
}

pub(super) fn smaller(call: &Call<'_>) -> Result<ArrayRef> {
    choose(call, Ordering::is_lt)
}

/// Whether any (or each) element of one array is among those of the other; a NULL is among none.
fn among(call: &Call<'_>, left_in_right: bool, all: bool) -> Result<ArrayRef> {
    let pair = Pair::read(call, Need::Equality)?;
    let (left_nulls, right_nulls) = (pair.left.elements().logical_nulls(), pair.right.elements().logical_nulls());
    call.rows_of(|row| {
        let (Some(a), Some(b)) = (pair.left.get(row)?, pair.right.get(row)?) else { return Ok(None) };
        let null = |nulls: &Option<arrow::buffer::NullBuffer>, at| nulls.as_ref().is_some_and(|n| n.is_null(at));
        let equal = |l, r| !null(&left_nulls, l) && !null(&right_nulls, r) && (pair.elements)(l, r).is_eq();
        let found = match (left_in_right, all) {
            (true, true) => (a.from..a.to).all(|l| (b.from..b.to).any(|r| equal(l, r))),
            (true, false) => (a.from..a.to).any(|l| (b.from..b.to).any(|r| equal(l, r))),
            (false, _) => (b.from..b.to).all(|r| (a.from..a.to).any(|l| equal(l, r))),
        };
        Ok(Some(found))
    })
}

pub(super) fn contains(call: &Call<'_>) -> Result<ArrayRef> {
    among(call, false, true)
}

pub(super) fn contained(call: &Call<'_>) -> Result<ArrayRef> {
    among(call, true, true)
}

pub(super) fn overlap(call: &Call<'_>) -> Result<ArrayRef> {
    among(call, true, false)
}

fn one_dimension(shape: &Shape, what: &str) -> Result<()> {
    match shape.sizes().len() {
        0 | 1 => Ok(()),
        _ => Err(Error::unsupported(format!("{what} multidimensional arrays"))),
    }
}

/// array_position(array, element [, start]).
pub(super) fn position(call: &Call<'_>) -> Result<ArrayRef> {
    let (arrays, wanted) = (Arrays::read(call, 0)?, call.arg(1)?);
    let equal = comparer(arrays.element, arrays.elements(), &wanted.array, Need::Equality, call.env)?;
    let start = if call.args.len() > 2 { Some(call.read::<i32>(2)?) } else { None };
    call.rows_of(|row| {
        let Some(shape) = arrays.get(row)? else { return Ok(None) };
        one_dimension(&shape, "searching for elements in")?;
        let has_null = || (shape.from..shape.to).any(|at| arrays.elements().is_null(at));
        if wanted.is_null(row) && !has_null() {
            return Ok(None);
        }
        let start = match &start {
            Some(start) if !shape.sizes().is_empty() => {
                start.get(row).ok_or_else(|| Error::new(Kind::NullNotAllowed, "initial position must not be null"))?
            }
            _ => arrays.base,
        };
        let skip = usize::try_from(i64::from(start) - i64::from(arrays.base)).unwrap_or(0);
        let at = (shape.from..shape.to).skip(skip).find(|at| equal(*at, wanted.at(row)).is_eq());
        at.map(|at| int4(at - shape.from).map(|at| at + arrays.base)).transpose()
    })
}

pub(super) fn positions(call: &Call<'_>) -> Result<ArrayRef> {
    let (arrays, wanted) = (Arrays::read(call, 0)?, call.arg(1)?);
    let equal = comparer(arrays.element, arrays.elements(), &wanted.array, Need::Equality, call.env)?;
    let mut rows = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let Some(shape) = arrays.get(row)? else {
            rows.push(None);
            continue;
        };
        one_dimension(&shape, "searching for elements in")?;
        let found = (shape.from..shape.to).filter(|at| equal(*at, wanted.at(row)).is_eq());
        rows.push(Some(
            found.map(|at| int4(at - shape.from).map(|at| at + arrays.base)).collect::<Result<Vec<i32>>>()?,
        ));
    }
    super::super::series::lists(call, rows.into_iter())
}

/// array_remove.
pub(super) fn remove(call: &Call<'_>) -> Result<ArrayRef> {
    let (arrays, unwanted) = (Arrays::read(call, 0)?, call.arg(1)?);
    let equal = comparer(arrays.element, arrays.elements(), &unwanted.array, Need::Equality, call.env)?;
    let mut lists = Lists::new(call);
    for row in 0..call.rows {
        let Some(shape) = arrays.get(row)? else {
            lists.null();
            continue;
        };
        one_dimension(&shape, "removing elements from")?;
        for at in (shape.from..shape.to).filter(|at| equal(*at, unwanted.at(row)).is_ne()) {
            lists.pick(0, at, at + 1);
        }
        lists.push_flat()?;
    }
    lists.finish(call, &[arrays.elements()])
}

/// array_replace(array, from, to), in any dimension.
pub(super) fn replace(call: &Call<'_>) -> Result<ArrayRef> {
    let (arrays, from, to) = (Arrays::read(call, 0)?, call.arg(1)?, call.arg(2)?);
    let equal = comparer(arrays.element, arrays.elements(), &from.array, Need::Equality, call.env)?;
    let mut lists = Lists::new(call);
    for row in 0..call.rows {
        let Some(shape) = arrays.get(row)? else {
            lists.null();
            continue;
        };
        for at in shape.from..shape.to {
            match equal(at, from.at(row)).is_eq() {
                true => lists.pick_same(1, to.at(row), 1),
                false => lists.pick(0, at, at + 1),
            }
        }
        lists.push(shape.sizes())?;
    }
    lists.finish(call, &[arrays.elements(), &to.array])
}

/// width_bucket(operand, thresholds): how many thresholds are not above the operand.
pub(super) fn width_bucket(call: &Call<'_>) -> Result<ArrayRef> {
    let (operand, arrays) = (call.arg(0)?, Arrays::read(call, 1)?);
    let order = comparer(arrays.element, &operand.array, arrays.elements(), Need::Order, call.env)?;
    call.rows_of(|row| {
        if operand.is_null(row) {
            return Ok(None);
        }
        let Some(shape) = arrays.get(row)? else { return Ok(None) };
        if shape.sizes().len() > 1 {
            return Err(Error::new(Kind::ArraySubscript, "thresholds must be one-dimensional array"));
        }
        if (shape.from..shape.to).any(|at| arrays.elements().is_null(at)) {
            return Err(Error::new(Kind::NullNotAllowed, "thresholds array must not contain NULLs"));
        }
        let (mut left, mut right) = (shape.from, shape.to);
        while left < right {
            let middle = left.midpoint(right);
            match order(operand.at(row), middle) {
                Ordering::Less => right = middle,
                _ => left = middle + 1,
            }
        }
        int4(left - shape.from).map(Some)
    })
}

/// array_unnest: the elements of all dimensions, as a list of them.
pub(super) fn unnest(call: &Call<'_>) -> Result<ArrayRef> {
    let arrays = Arrays::read(call, 0)?;
    let mut lists = Lists::new(call);
    for row in 0..call.rows {
        match arrays.get(row)? {
            None => lists.null(),
            Some(shape) => {
                lists.pick(0, shape.from, shape.to);
                lists.push_flat()?;
            }
        }
    }
    lists.finish(call, &[arrays.elements()])
}

/// `a[i]`, `a[i][j]` (`grammar/subscript`): NULL where there is no such element, or another number of subscripts.
pub(super) fn subscript(call: &Call<'_>) -> Result<ArrayRef> {
    let arrays = Arrays::read(call, 0)?;
    let indexes = (1..call.args.len()).map(|at| call.read::<i32>(at)).collect::<Result<Vec<_>>>()?;
    let places = |row: usize| -> Result<Option<u64>> {
        let Some(shape) = arrays.get(row)? else { return Ok(None) };
        if shape.sizes().len() != indexes.len() {
            return Ok(None);
        }
        let mut place = 0usize;
        for (index, size) in indexes.iter().zip(shape.sizes()) {
            let Some(index) = index.get(row) else { return Ok(None) };
            let index = usize::try_from(i64::from(index) - i64::from(arrays.base)).ok();
            let Some(index) = index.filter(|index| index < size) else { return Ok(None) };
            place = place * size + index;
        }
        Ok(u64::try_from(shape.from + place).ok())
    };
    let places = (0..call.rows).map(places).collect::<Result<arrow::array::UInt64Array>>()?;
    let elements = arrow::compute::take(arrays.elements(), &places, None)?;
    lying_as(&elements, call.result.data_type(), call.env)
}

/// `a[l:u]`, `a[l:u][l:u]` (`grammar/slice`): the arguments behind the array are the bounds by pairs; one that was left out
/// is a column of Arrow's Null type, which no NULL of a type is.
pub(super) fn slice(call: &Call<'_>) -> Result<ArrayRef> {
    let arrays = Arrays::read(call, 0)?;
    let mut bounds = vec![];
    for at in 1..call.args.len() {
        let omitted = *call.arg(at)?.array.data_type() == DataType::Null;
        bounds.push(if omitted { None } else { Some(call.read::<i32>(at)?) });
    }
    let mut lists = Lists::new(call);
    'rows: for row in 0..call.rows {
        let Some(shape) = arrays.get(row)? else {
            lists.null();
            continue;
        };
        let sizes = shape.sizes();
        let mut spans: Vec<(usize, usize)> = sizes.iter().map(|size| (0, *size)).collect();
        let mut empty = sizes.len() < bounds.len() / 2;
        for (at, pair) in bounds.chunks(2).enumerate() {
            for (bound, is_upper) in pair.iter().zip([false, true]) {
                let Some(bound) = bound else { continue };
                let Some(bound) = bound.get(row) else {
                    lists.null();
                    continue 'rows;
                };
                let Some(span) = spans.get_mut(at) else { continue };
                let from_zero = i64::from(bound) - i64::from(arrays.base) + i64::from(is_upper);
                let from_zero = usize::try_from(from_zero).unwrap_or(0);
                if is_upper {
                    span.1 = span.1.min(from_zero);
                } else {
                    span.0 = span.0.max(from_zero);
                }
            }
        }
        empty |= spans.iter().any(|(from, to)| from >= to);
        if empty {
            lists.push(&[])?;
            continue;
        }
        box_of(sizes, &spans, shape.from, &mut |from, to| lists.pick(0, from, to));
        let cut: Vec<usize> = spans.iter().map(|(from, to)| to - from).collect();
        lists.push(&cut)?;
    }
    lists.finish(call, &[arrays.elements()])
}

/// The runs of elements within the spans of all dimensions.
fn box_of(sizes: &[usize], spans: &[(usize, usize)], at: usize, take: &mut impl FnMut(usize, usize)) {
    let (Some((_, inner)), Some((span, rest))) = (sizes.split_first(), spans.split_first()) else { return };
    if inner.is_empty() {
        take(at + span.0, at + span.1);
        return;
    }
    let stride: usize = inner.iter().product();
    for outer in span.0..span.1 {
        box_of(inner, rest, at + outer * stride, take);
    }
}
