//! Ranges and multiranges over columns. They lie as their canonical text, with dates in ISO order, and are read at each call;
//! [`value`] is what one of them is.

#[cfg(test)]
mod tests;
mod value;

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, StringArray, TimestampMicrosecondArray};

use super::array::output;
use super::array::value::{Arrays, nest};
use super::hash;
use super::numeric;
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::calendar::{DAY, EPOCH_DAYS};
use crate::formats::postgres::input;
use crate::pgtype::oid;
use crate::sql::kernel::{Call, Date, DateOutput, DateStyle, Env, Kernel, Stamp, Values};
use crate::sql::numeric::Numeric;
use value::{Bound, Of, Point, Set, Span};

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("range_send", send),
    ("multirange_send", send),
    ("range_in", read),
    ("range_out", write),
    ("multirange_in", read),
    ("multirange_out", write),
    ("anyrange_out", write),
    ("anymultirange_out", write),
    ("key/range", key),
    ("range_constructor2", construct),
    ("range_constructor3", construct),
    ("multirange_constructor0", |c| c.rows_of(|_| Ok("{}"))),
    ("multirange_constructor1", multirange),
    ("multirange_constructor2", multirange_of_array),
    ("range_lower", |c| bound(c, |set| set.first().map(|span| &span.lower))),
    ("range_upper", |c| bound(c, |set| set.last().map(|span| &span.upper))),
    ("multirange_lower", |c| bound(c, |set| set.first().map(|span| &span.lower))),
    ("multirange_upper", |c| bound(c, |set| set.last().map(|span| &span.upper))),
    ("range_empty", |c| one(c, |set| set.is_empty())),
    ("multirange_empty", |c| one(c, |set| set.is_empty())),
    ("range_lower_inc", |c| one(c, |set| set.first().is_some_and(|span| span.lower.inclusive))),
    ("range_upper_inc", |c| one(c, |set| set.last().is_some_and(|span| span.upper.inclusive))),
    ("multirange_lower_inc", |c| one(c, |set| set.first().is_some_and(|span| span.lower.inclusive))),
    ("multirange_upper_inc", |c| one(c, |set| set.last().is_some_and(|span| span.upper.inclusive))),
    ("range_lower_inf", |c| one(c, |set| set.first().is_some_and(|span| span.lower.at.is_none()))),
    ("range_upper_inf", |c| one(c, |set| set.last().is_some_and(|span| span.upper.at.is_none()))),
    ("multirange_lower_inf", |c| one(c, |set| set.first().is_some_and(|span| span.lower.at.is_none()))),
    ("multirange_upper_inf", |c| one(c, |set| set.last().is_some_and(|span| span.upper.at.is_none()))),
    ("range_eq", |c| ordered(c, Ordering::is_eq)),
    ("range_ne", |c| ordered(c, Ordering::is_ne)),
    ("range_lt", |c| ordered(c, Ordering::is_lt)),
    ("range_le", |c| ordered(c, Ordering::is_le)),
    ("range_gt", |c| ordered(c, Ordering::is_gt)),
    ("range_ge", |c| ordered(c, Ordering::is_ge)),
    ("range_cmp", cmp),
    ("multirange_eq", |c| ordered(c, Ordering::is_eq)),
    ("multirange_ne", |c| ordered(c, Ordering::is_ne)),
    ("multirange_lt", |c| ordered(c, Ordering::is_lt)),
    ("multirange_le", |c| ordered(c, Ordering::is_le)),
    ("multirange_gt", |c| ordered(c, Ordering::is_gt)),
    ("multirange_ge", |c| ordered(c, Ordering::is_ge)),
    ("multirange_cmp", cmp),
    ("range_contains_elem", |c| holds(c, 0, 1)),
    ("elem_contained_by_range", |c| holds(c, 1, 0)),
    ("multirange_contains_elem", |c| holds(c, 0, 1)),
    ("elem_contained_by_multirange", |c| holds(c, 1, 0)),
    ("range_contains", |c| two(c, |_, a, b| value::contains(a, b))),
    ("range_contains_multirange", |c| two(c, |_, a, b| value::contains(a, b))),
    ("multirange_contains_range", |c| two(c, |_, a, b| value::contains(a, b))),
    ("multirange_contains_multirange", |c| two(c, |_, a, b| value::contains(a, b))),
    ("range_contained_by", |c| two(c, |_, a, b| value::contains(b, a))),
    ("range_contained_by_multirange", |c| two(c, |_, a, b| value::contains(b, a))),
    ("multirange_contained_by_range", |c| two(c, |_, a, b| value::contains(b, a))),
    ("multirange_contained_by_multirange", |c| two(c, |_, a, b| value::contains(b, a))),
    ("range_overlaps", |c| two(c, |_, a, b| value::overlaps(a, b))),
    ("range_overlaps_multirange", |c| two(c, |_, a, b| value::overlaps(a, b))),
    ("multirange_overlaps_range", |c| two(c, |_, a, b| value::overlaps(a, b))),
    ("multirange_overlaps_multirange", |c| two(c, |_, a, b| value::overlaps(a, b))),
    ("range_before", |c| two(c, |_, a, b| value::before(a, b))),
    ("range_before_multirange", |c| two(c, |_, a, b| value::before(a, b))),
    ("multirange_before_range", |c| two(c, |_, a, b| value::before(a, b))),
    ("multirange_before_multirange", |c| two(c, |_, a, b| value::before(a, b))),
    ("range_after", |c| two(c, |_, a, b| value::before(b, a))),
    ("range_after_multirange", |c| two(c, |_, a, b| value::before(b, a))),
    ("multirange_after_range", |c| two(c, |_, a, b| value::before(b, a))),
    ("multirange_after_multirange", |c| two(c, |_, a, b| value::before(b, a))),
    ("range_overleft", |c| two(c, |_, a, b| value::over_left(a, b))),
    ("range_overleft_multirange", |c| two(c, |_, a, b| value::over_left(a, b))),
    ("multirange_overleft_range", |c| two(c, |_, a, b| value::over_left(a, b))),
    ("multirange_overleft_multirange", |c| two(c, |_, a, b| value::over_left(a, b))),
    ("range_overright", |c| two(c, |_, a, b| value::over_right(a, b))),
    ("range_overright_multirange", |c| two(c, |_, a, b| value::over_right(a, b))),
    ("multirange_overright_range", |c| two(c, |_, a, b| value::over_right(a, b))),
    ("multirange_overright_multirange", |c| two(c, |_, a, b| value::over_right(a, b))),
    ("range_adjacent", |c| two(c, value::adjacent)),
    ("range_adjacent_multirange", |c| two(c, value::adjacent)),
    ("multirange_adjacent_range", |c| two(c, value::adjacent)),
    ("multirange_adjacent_multirange", |c| two(c, value::adjacent)),
    ("range_union", |c| combined(c, union)),
    ("range_minus", |c| combined(c, minus)),
    ("range_intersect", |c| combined(c, |_, a, b| Ok(value::intersection(a, b)))),
    ("range_merge", |c| combined(c, |_, a, b| Ok(value::hull(a, b)))),
    ("range_merge_from_multirange", |c| made(c, |_, set| value::hull(set, set))),
    ("multirange_union", |c| combined(c, |of, a, b| Ok(value::set(of, [a.as_slice(), b.as_slice()].concat())))),
    ("multirange_minus", |c| combined(c, value::difference)),
    ("multirange_intersect", |c| combined(c, |_, a, b| Ok(value::intersection(a, b)))),
    ("multirange_unnest", unnest),
    ("int4range_subdiff", |c| c.two(|a: i32, b: i32| Ok(f64::from(a) - f64::from(b)))),
    ("int8range_subdiff", |c| c.two(|a: i64, b: i64| Ok(a as f64 - b as f64))),
    ("numrange_subdiff", |c| {
        c.two(|a: Numeric, b: Numeric| input::float8(&numeric::exact::subtract(&a, &b)?.to_string()))
    }),
    ("daterange_subdiff", |c| c.two(|a: Date, b: Date| Ok(f64::from(since_2000(a)) - f64::from(since_2000(b))))),
    ("tsrange_subdiff", |c| c.two(seconds_between)),
    ("tstzrange_subdiff", |c| c.two(seconds_between)),
];

/// As PostgreSQL counts days, since the difference to an infinity shows it.
fn since_2000(date: Date) -> i32 {
    match date.0 {
        i32::MIN | i32::MAX => date.0,
        days => days.saturating_sub(EPOCH_DAYS),
    }
}

/// Rounded as PostgreSQL does it: each moment as a float of microseconds since 2000 first.
fn seconds_between(a: Stamp, b: Stamp) -> Result<f64> {
    let micros = |at: Stamp| match at.0 {
        i64::MIN | i64::MAX => at.0 as f64,
        micros => micros.saturating_sub(i64::from(EPOCH_DAYS) * DAY) as f64,
    };
    Ok((micros(a) - micros(b)) / 1e6)
}

/// Whether values of a type are compared by `key/range`.
pub(super) fn is(ty: u32) -> bool {
    Of::find(ty).is_some()
}

fn of(ty: u32) -> Result<Of> {
    Of::find(ty).ok_or_else(|| Error::unsupported(format!("a range of type {ty}")))
}

/// The ranges of a column.
struct Sets<'a> {
    texts: Values<'a, &'a str>,
    of: Of,
    ty: u32,
    env: &'a Env,
    /// Of a column that is one constant.
    constant: Option<Option<Set>>,
}

impl<'a> Sets<'a> {
    fn read(call: &Call<'a>, at: usize) -> Result<Self> {
        let ty = call.types.get(at).map_or(0, |ty| ty.oid);
        let (texts, of) = (call.read::<&str>(at)?, of(ty)?);
        let mut sets = Self { texts, of, ty, env: call.env, constant: None };
        if call.arg(at)?.constant && call.rows > 0 {
            sets.constant = Some(sets.parsed(0)?);
        }
        Ok(sets)
    }

    fn parsed(&self, row: usize) -> Result<Option<Set>> {
        self.texts.get(row).map(|text| parse(self.of, self.ty, text, self.env)).transpose()
    }

    fn get(&self, row: usize) -> Result<Option<std::borrow::Cow<'_, Set>>> {
        use std::borrow::Cow;
        match &self.constant {
            Some(set) => Ok(set.as_ref().map(Cow::Borrowed)),
            None => Ok(self.parsed(row)?.map(Cow::Owned)),
        }
    }
}

fn parse(of: Of, ty: u32, text: &str, env: &Env) -> Result<Set> {
    match Of::is_multirange(ty) {
        true => value::read_set(of, text, env),
        false => Ok(value::read_range(of, text, env)?.into_iter().collect()),
    }
}

/// The session in which a value lies: its dates are ISO.
fn lying(env: &Env) -> Env {
    Env { date_style: DateStyle { output: DateOutput::Iso, ..env.date_style }, ..env.clone() }
}

/// `hash_range_extended`, `hash_multirange_extended`.
pub(super) fn hash(ty: u32, text: &str, seed: u64, env: &Env) -> Result<u64> {
    let of = of(ty)?;
    let set = parse(of, ty, text, env)?;
    match Of::is_multirange(ty) {
        true => set.iter().try_fold(1, |all, span| Ok(hash::joined(all, value::hash(of, Some(span), seed)?))),
        false => value::hash(of, set.first(), seed),
    }
}

/// `range_send`, `multirange_send`.
fn send(call: &Call<'_>) -> Result<ArrayRef> {
    let sets = Sets::read(call, 0)?;
    call.rows_of(|row| {
        let Some(set) = sets.get(row)? else { return Ok(None) };
        if !Of::is_multirange(sets.ty) {
            return value::sent(sets.of, set.first()).map(Some);
        }
        let mut out = super::text::int(set.len()).to_be_bytes().to_vec();
        for span in set.iter() {
            value::framed(&value::sent(sets.of, Some(span))?, &mut out);
        }
        Ok(Some(out))
    })
}

/// How an aggregate makes one set of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Folding {
    Union,
    Intersection,
}

/// The union or the intersection of texts of the type `given` as a text of the type `result`; `None` of none.
pub(super) fn folded<'a>(
    how: Folding,
    given: u32,
    result: u32,
    texts: impl Iterator<Item = &'a str>,
    env: &Env,
) -> Result<Option<String>> {
    let (of, env) = (of(given)?, lying(env));
    let mut whole: Option<Set> = None;
    for text in texts {
        let set = parse(of, given, text, &env)?;
        whole = Some(match (whole, how) {
            (None, _) => set,
            (Some(whole), Folding::Intersection) => value::intersection(&whole, &set),
            // put in order once, at the end
            (Some(mut whole), Folding::Union) => {
                whole.extend(set);
                whole
            }
        });
    }
    let Some(whole) = whole else { return Ok(None) };
    let whole = if how == Folding::Union { value::set(of, whole) } else { whole };
    let text = value::spell(of, result, &whole, &env)?;
    env.budget.value(text.len())?;
    Ok(Some(text))
}

fn read(call: &Call<'_>) -> Result<ArrayRef> {
    let ty = call.result_type.oid;
    let (of, env) = (of(ty)?, lying(call.env));
    call.one(|text: &str| value::spell(of, ty, &parse(of, ty, text, call.env)?, &env))
}

fn write(call: &Call<'_>) -> Result<ArrayRef> {
    let sets = Sets::read(call, 0)?;
    call.rows_of(|row| sets.get(row)?.map(|set| value::spell(sets.of, sets.ty, &set, call.env)).transpose())
}

/// Dates and timestamps in another style than ISO are their own types' to spell.
fn styled(of: Of, at: i64, env: &Env) -> Result<String> {
    let value: ArrayRef = match of.point {
        oid::DATE => Arc::new(Date32Array::from(vec![i32::try_from(at).unwrap_or(i32::MAX)])),
        oid::TIMESTAMP => Arc::new(TimestampMicrosecondArray::from(vec![at])),
        _ => Arc::new(TimestampMicrosecondArray::from(vec![at]).with_timezone("UTC")),
    };
    let texts = output(of.point, &value, env)?;
    let texts = texts.as_string_opt::<i32>().ok_or_else(|| Error::internal("a date that is no text"))?;
    Ok(texts.value(0).to_owned())
}

fn key(call: &Call<'_>) -> Result<ArrayRef> {
    let sets = Sets::read(call, 0)?;
    call.rows_of(|row| Ok(sets.get(row)?.map(|set| value::key(&set))))
}

fn one(call: &Call<'_>, f: impl Fn(&Set) -> bool) -> Result<ArrayRef> {
    let sets = Sets::read(call, 0)?;
    call.rows_of(|row| Ok(sets.get(row)?.map(|set| f(&set))))
}

fn two(call: &Call<'_>, f: impl Fn(Of, &Set, &Set) -> bool) -> Result<ArrayRef> {
    let (a, b) = (Sets::read(call, 0)?, Sets::read(call, 1)?);
    call.rows_of(|row| match (a.get(row)?, b.get(row)?) {
        (Some(x), Some(y)) => Ok(Some(f(a.of, &x, &y))),
        _ => Ok(None),
    })
}

fn ordered(call: &Call<'_>, is: impl Fn(Ordering) -> bool) -> Result<ArrayRef> {
    two(call, |_, a, b| is(value::compare(a, b)))
}

fn cmp(call: &Call<'_>) -> Result<ArrayRef> {
    let (a, b) = (Sets::read(call, 0)?, Sets::read(call, 1)?);
    call.rows_of(|row| match (a.get(row)?, b.get(row)?) {
        (Some(x), Some(y)) => Ok(Some(value::compare(&x, &y) as i32)),
        _ => Ok(None),
    })
}

fn spelt(call: &Call<'_>, of: Of, env: &Env, set: &Set) -> Result<String> {
    value::spell(of, call.result_type.oid, set, env)
}

fn combined(call: &Call<'_>, f: impl Fn(Of, &Set, &Set) -> Result<Set>) -> Result<ArrayRef> {
    let (a, b, env) = (Sets::read(call, 0)?, Sets::read(call, 1)?, lying(call.env));
    call.rows_of(|row| match (a.get(row)?, b.get(row)?) {
        (Some(x), Some(y)) => spelt(call, a.of, &env, &f(a.of, &x, &y)?).map(Some),
        _ => Ok(None),
    })
}

fn made(call: &Call<'_>, f: impl Fn(Of, &Set) -> Set) -> Result<ArrayRef> {
    let (sets, env) = (Sets::read(call, 0)?, lying(call.env));
    call.rows_of(|row| sets.get(row)?.map(|set| spelt(call, sets.of, &env, &f(sets.of, &set))).transpose())
}

fn union(of: Of, a: &Set, b: &Set) -> Result<Set> {
    let apart = !a.is_empty() && !b.is_empty() && !value::overlaps(a, b) && !value::adjacent(of, a, b);
    if apart {
        return Err(Error::new(Kind::DataException, "result of range union would not be contiguous"));
    }
    Ok(value::hull(a, b))
}

fn minus(of: Of, a: &Set, b: &Set) -> Result<Set> {
    let set = value::difference(of, a, b)?;
    if set.len() > 1 {
        return Err(Error::new(Kind::DataException, "result of range difference would not be contiguous"));
    }
    Ok(set)
}

/// Elements of a column.
fn points(call: &Call<'_>, at: usize, of: Of) -> Result<Vec<Option<Point>>> {
    let whole = |value: Option<i64>| value.map(Point::Whole);
    Ok(match of.point {
        oid::INT4 => {
            let values = call.read::<i32>(at)?;
            (0..call.rows).map(|row| whole(values.get(row).map(i64::from))).collect()
        }
        oid::INT8 => {
            let values = call.read::<i64>(at)?;
            (0..call.rows).map(|row| whole(values.get(row))).collect()
        }
        oid::DATE => {
            let values = call.read::<Date>(at)?;
            (0..call.rows).map(|row| whole(values.get(row).map(|day| i64::from(day.0)))).collect()
        }
        oid::TIMESTAMP | oid::TIMESTAMPTZ => {
            let values = call.read::<Stamp>(at)?;
            (0..call.rows).map(|row| whole(values.get(row).map(|stamp| stamp.0))).collect()
        }
        _ => {
            let values = call.read::<Numeric>(at)?;
            (0..call.rows).map(|row| values.get(row).map(Point::Numeric)).collect()
        }
    })
}

fn holds(call: &Call<'_>, sets: usize, elements: usize) -> Result<ArrayRef> {
    let sets = Sets::read(call, sets)?;
    let points = points(call, elements, sets.of)?;
    call.rows_of(|row| match (sets.get(row)?, points.get(row)) {
        (Some(set), Some(Some(point))) => Ok(Some(value::holds(&set, point))),
        _ => Ok(None),
    })
}

/// `lower` and `upper`: NULL without such a bound.
fn bound(call: &Call<'_>, f: impl Fn(&Set) -> Option<&Bound>) -> Result<ArrayRef> {
    let sets = Sets::read(call, 0)?;
    let at = |row| Ok::<_, Error>(sets.get(row)?.and_then(|set| f(&set).and_then(|bound| bound.at.clone())));
    let whole = |row| {
        Ok::<_, Error>(match at(row)? {
            Some(Point::Whole(value)) => Some(value),
            _ => None,
        })
    };
    let narrow = |value: i64| i32::try_from(value).map_err(|_| Error::internal("a bound beyond its type"));
    match sets.of.point {
        oid::INT4 => call.rows_of(|row| whole(row)?.map(narrow).transpose()),
        oid::INT8 => call.rows_of(whole),
        oid::DATE => call.rows_of(|row| whole(row)?.map(|day| narrow(day).map(Date)).transpose()),
        oid::TIMESTAMP | oid::TIMESTAMPTZ => call.rows_of(|row| Ok(whole(row)?.map(Stamp))),
        _ => call.rows_of(|row| {
            Ok(match at(row)? {
                Some(Point::Numeric(number)) => Some(number),
                _ => None,
            })
        }),
    }
}

/// `int4range(lower, upper [, flags])`: a NULL bound is none.
fn construct(call: &Call<'_>) -> Result<ArrayRef> {
    let (of, env) = (of(call.result_type.oid)?, lying(call.env));
    let (lower, upper) = (points(call, 0, of)?, points(call, 1, of)?);
    let flags = if call.args.len() > 2 { Some(call.read::<&str>(2)?) } else { None };
    call.rows_of(|row| {
        let (lower_inclusive, upper_inclusive) = match &flags {
            None => (true, false),
            Some(flags) => match flags.get(row) {
                Some("[]") => (true, true),
                Some("[)") => (true, false),
                Some("(]") => (false, true),
                Some("()") => (false, false),
                Some(_) => {
                    let hint = "Valid values are \"[]\", \"[)\", \"(]\", and \"()\".";
                    return Err(Error::new(Kind::Syntax, "invalid range bound flags").with_hint(hint));
                }
                None => {
                    let text = "range constructor flags argument must not be null";
                    return Err(Error::new(Kind::DataException, text));
                }
            },
        };
        let at = |points: &[Option<Point>]| points.get(row).cloned().flatten();
        let lower = Bound { at: at(&lower), inclusive: lower_inclusive };
        let upper = Bound { at: at(&upper), inclusive: upper_inclusive };
        let set: Set = value::range(of, lower, upper)?.into_iter().collect();
        spelt(call, of, &env, &set)
    })
}

/// A multirange of one range.
fn multirange(call: &Call<'_>) -> Result<ArrayRef> {
    made(call, |_, set| set.clone())
}

/// `int4multirange(VARIADIC int4range[])`.
fn multirange_of_array(call: &Call<'_>) -> Result<ArrayRef> {
    let (of, env) = (of(call.result_type.oid)?, lying(call.env));
    let arrays = Arrays::read(call, 0)?;
    let texts: &StringArray =
        arrays.elements().as_string_opt().ok_or_else(|| Error::internal("ranges that are no text"))?;
    call.rows_of(|row| {
        let Some(shape) = arrays.get(row)? else { return Ok(None) };
        if shape.sizes().len() > 1 {
            let text = "multiranges cannot be constructed from multidimensional arrays";
            return Err(Error::new(Kind::Cardinality, text));
        }
        let mut spans: Vec<Span> = vec![];
        for at in shape.from..shape.to {
            if texts.is_null(at) {
                let text = "multirange values cannot contain null members";
                return Err(Error::new(Kind::NullNotAllowed, text));
            }
            spans.extend(value::read_range(of, texts.value(at), call.env)?);
        }
        spelt(call, of, &env, &value::set(of, spans)).map(Some)
    })
}

/// The ranges of a multirange, as a list.
fn unnest(call: &Call<'_>) -> Result<ArrayRef> {
    let (sets, env) = (Sets::read(call, 0)?, lying(call.env));
    let (mut texts, mut lengths, mut valid) = (vec![], vec![], vec![]);
    for row in 0..call.rows {
        let set = sets.get(row)?;
        valid.push(set.is_some());
        let set = set.unwrap_or_default();
        lengths.push(set.len());
        for span in set.iter() {
            texts.push(value::spell(sets.of, sets.of.range, &vec![span.clone()], &env)?);
        }
    }
    let elements: ArrayRef = Arc::new(StringArray::from(texts));
    nest(call.result.data_type(), elements, vec![lengths], valid)
}
