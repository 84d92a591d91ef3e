//! OVERLAPS of two periods, each given by two moments or by one and an interval. NULL where an end that matters is NULL.

use super::arithmetic::{add, session};
use super::compare::timetz_key;
use crate::error::Result;
use crate::formats::postgres::calendar::{DAY, Zone};
use crate::sql::kernel::{Call, Interval, Kernel, Stamp, Time, Values};
use arrow::array::ArrayRef;

pub(super) const KERNELS: &[(&str, Kernel)] = &[
    ("overlaps_timestamp", |c| moments(c, [false, false], None)),
    ("overlaps/2042", |c| moments(c, [true, true], None)),
    ("overlaps/2043", |c| moments(c, [false, true], None)),
    ("overlaps/2044", |c| moments(c, [true, false], None)),
    ("overlaps/1305", |c| moments(c, [true, true], Some(&session(c)))),
    ("overlaps/1306", |c| moments(c, [false, true], Some(&session(c)))),
    ("overlaps/1307", |c| moments(c, [true, false], Some(&session(c)))),
    ("overlaps_time", |c| times(c, [false, false])),
    ("overlaps/1309", |c| times(c, [true, true])),
    ("overlaps/1310", |c| times(c, [false, true])),
    ("overlaps/1311", |c| times(c, [true, false])),
    ("overlaps_timetz", |c| {
        let ends = [c.read::<[u8; 12]>(0)?, c.read(1)?, c.read(2)?, c.read(3)?];
        c.rows_of(|row| {
            let [a, b, c, d] = ends.each_ref().map(|end| end.get(row).map(timetz_key));
            Ok(overlap((a, b), (c, d)))
        })
    }),
];

/// The second of a pair of arguments: the period's end, or its length.
enum End<'a, T: crate::sql::kernel::Read<'a>> {
    At(Values<'a, T>),
    After(Values<'a, Interval>),
}

/// `lengths`: which of the two periods is given by its length.
fn moments(call: &Call<'_>, lengths: [bool; 2], zone: Option<&Zone>) -> Result<ArrayRef> {
    periods::<Stamp>(call, lengths, |start, length| add(start.0, length, zone).map(Stamp))
}

fn times(call: &Call<'_>, lengths: [bool; 2]) -> Result<ArrayRef> {
    periods::<Time>(call, lengths, |start, length| Ok(Time((start.0 + length.micros % DAY).rem_euclid(DAY))))
}

fn periods<'a, T: crate::sql::kernel::Read<'a> + Ord + Copy>(
    call: &Call<'a>,
    lengths: [bool; 2],
    after: impl Fn(T, Interval) -> Result<T>,
) -> Result<ArrayRef> {
    let end = |i: usize, length: bool| {
        Ok::<End<'a, T>, crate::error::Error>(if length { End::After(call.read(i)?) } else { End::At(call.read(i)?) })
    };
    let starts = [call.read::<T>(0)?, call.read::<T>(2)?];
    let ends = [end(1, lengths[0])?, end(3, lengths[1])?];
    let at = |start: Option<T>, end: &End<'a, T>, row: usize| match end {
        End::At(values) => Ok(values.get(row)),
        End::After(values) => start.zip(values.get(row)).map(|(start, length)| after(start, length)).transpose(),
    };
    call.rows_of(|row| {
        let [a, c] = starts.each_ref().map(|start| start.get(row));
        let (b, d) = (at(a, &ends[0], row)?, at(c, &ends[1], row)?);
        Ok(overlap((a, b), (c, d)))
    })
}

/// A period's earlier end, and the later one where it is known; `None` where neither is.
fn ordered<T: Ord + Copy>(period: (Option<T>, Option<T>)) -> Option<(T, Option<T>)> {
    match period {
        (Some(a), Some(b)) => Some((a.min(b), Some(a.max(b)))),
        (Some(a), None) | (None, Some(a)) => Some((a, None)),
        (None, None) => None,
    }
}

/// Periods are half open, except that one without length is its moment.
fn overlap<T: Ord + Copy>(first: (Option<T>, Option<T>), second: (Option<T>, Option<T>)) -> Option<bool> {
    let ((start1, end1), (start2, end2)) = (ordered(first)?, ordered(second)?);
    let (later, other, own) = match start1.cmp(&start2) {
        std::cmp::Ordering::Equal => return end1.and(end2).map(|_| true),
        std::cmp::Ordering::Greater => (start1, end2?, end1),
        std::cmp::Ordering::Less => (start2, end1?, end2),
    };
    if later < other { Some(true) } else { own.map(|_| false) }
}
