//! One range, and a set of them in order (a multirange): how they are read, spelt, compared and combined (rangetypes.c,
//! multirangetypes.c). A range is a set of at most one, so that one code serves both. Columns are its parent's.

use std::cmp::Ordering;

use bytes::BytesMut;

use crate::error::{Error, Kind, Result};
use crate::formats::postgres::{calendar, input};
use crate::pgtype::oid;
use crate::sql::functions::hash;
use crate::sql::kernel::{DateOutput, Env};
use crate::sql::numeric::{self, Numeric};

/// A type of ranges: its own oid, its multirange's, its element's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Of {
    pub(super) range: u32,
    pub(super) multirange: u32,
    pub(super) point: u32,
}

const TYPES: [Of; 6] = [
    Of { range: 3904, multirange: 4451, point: oid::INT4 },
    Of { range: 3906, multirange: 4532, point: oid::NUMERIC },
    Of { range: 3908, multirange: 4533, point: oid::TIMESTAMP },
    Of { range: 3910, multirange: 4534, point: oid::TIMESTAMPTZ },
    Of { range: 3912, multirange: 4535, point: oid::DATE },
    Of { range: 3926, multirange: 4536, point: oid::INT8 },
];

impl Of {
    /// By the oid of the range or the multirange.
    pub(super) fn find(ty: u32) -> Option<Self> {
        TYPES.into_iter().find(|of| of.range == ty || of.multirange == ty)
    }

    pub(super) fn is_multirange(ty: u32) -> bool {
        TYPES.iter().any(|of| of.multirange == ty)
    }
}

/// Where a range begins or ends. Integers, days and microseconds are numbers alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Point {
    Whole(i64),
    Numeric(Numeric),
}

impl Point {
    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a.cmp(b),
            (Self::Numeric(a), Self::Numeric(b)) => a.compare(b),
            // never of one type
            (Self::Whole(_), Self::Numeric(_)) => Ordering::Less,
            (Self::Numeric(_), Self::Whole(_)) => Ordering::Greater,
        }
    }
}

/// `None`: without end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) at: Option<Point>,
    pub(super) inclusive: bool,
}

/// A range that is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) lower: Bound,
    pub(super) upper: Bound,
}

/// Ranges that neither touch nor overlap, in ascending order.
pub(super) type Set = Vec<Span>;

fn lower_order(a: &Bound, b: &Bound) -> Ordering {
    match (&a.at, &b.at) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some(x), Some(y)) => x.compare(y).then(b.inclusive.cmp(&a.inclusive)),
    }
}

fn upper_order(a: &Bound, b: &Bound) -> Ordering {
    match (&a.at, &b.at) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(x), Some(y)) => x.compare(y).then(a.inclusive.cmp(&b.inclusive)),
    }
}

/// Whether an upper bound ends before a lower one begins.
fn ends_before(upper: &Bound, lower: &Bound) -> bool {
    match (&upper.at, &lower.at) {
        (Some(u), Some(l)) => match u.compare(l) {
            Ordering::Less => true,
            Ordering::Equal => !(upper.inclusive && lower.inclusive),
            Ordering::Greater => false,
        },
        _ => false,
    }
}

/// Whether nothing lies between an upper and a lower bound, and nothing in both.
fn touch(of: Of, upper: &Bound, lower: &Bound) -> bool {
    let (Some(u), Some(l)) = (&upper.at, &lower.at) else { return false };
    match u.compare(l) {
        Ordering::Equal => upper.inclusive != lower.inclusive,
        Ordering::Greater => false,
        Ordering::Less if discrete(of) => {
            let from = Bound { at: Some(u.clone()), inclusive: !upper.inclusive };
            let to = Bound { at: Some(l.clone()), inclusive: !lower.inclusive };
            matches!(range(of, from, to), Ok(None))
        }
        Ordering::Less => false,
    }
}

fn discrete(of: Of) -> bool {
    matches!(of.point, oid::INT4 | oid::INT8 | oid::DATE)
}

/// make_range: `None` is the empty range. Those of integers and days become `[…)`.
pub(super) fn range(of: Of, lower: Bound, upper: Bound) -> Result<Option<Span>> {
    let (mut lower, mut upper) = (lower, upper);
    if lower.at.is_none() {
        lower.inclusive = false;
    }
    if upper.at.is_none() {
        upper.inclusive = false;
    }
    if is_empty(&lower, &upper)? {
        return Ok(None);
    }
    if discrete(of) {
        if !lower.inclusive
            && let Some(Point::Whole(at)) = &mut lower.at
            && !infinite_day(of, *at)
        {
            *at = next(of, *at)?;
            lower.inclusive = true;
        }
        if upper.inclusive
            && let Some(Point::Whole(at)) = &mut upper.at
            && !infinite_day(of, *at)
        {
            *at = next(of, *at)?;
            upper.inclusive = false;
        }
        if is_empty(&lower, &upper)? {
            return Ok(None);
        }
    }
    Ok(Some(Span { lower, upper }))
}

fn is_empty(lower: &Bound, upper: &Bound) -> Result<bool> {
    let (Some(l), Some(u)) = (&lower.at, &upper.at) else { return Ok(false) };
    match l.compare(u) {
        Ordering::Less => Ok(false),
        Ordering::Equal => Ok(!(lower.inclusive && upper.inclusive)),
        Ordering::Greater => {
            let text = "range lower bound must be less than or equal to range upper bound";
            Err(Error::new(Kind::DataException, text))
        }
    }
}

fn infinite_day(of: Of, at: i64) -> bool {
    of.point == oid::DATE && (at == i64::from(i32::MIN) || at == i64::from(i32::MAX))
}

fn next(of: Of, at: i64) -> Result<i64> {
    let (last, kind, text) = match of.point {
        oid::INT4 => (i64::from(i32::MAX), Kind::NumericRange, "integer out of range"),
        oid::DATE => (i64::from(calendar::END_DAY) - 1, Kind::DateRange, "date out of range"),
        _ => (i64::MAX, Kind::NumericRange, "bigint out of range"),
    };
    if at < last { Ok(at + 1) } else { Err(Error::new(kind, text)) }
}

impl Span {
    fn compare(&self, other: &Self) -> Ordering {
        lower_order(&self.lower, &other.lower).then_with(|| upper_order(&self.upper, &other.upper))
    }

    fn overlaps(&self, other: &Self) -> bool {
        !ends_before(&self.upper, &other.lower) && !ends_before(&other.upper, &self.lower)
    }

    fn contains(&self, other: &Self) -> bool {
        lower_order(&self.lower, &other.lower).is_le() && upper_order(&self.upper, &other.upper).is_ge()
    }

    fn holds(&self, point: &Point) -> bool {
        let after = |bound: &Bound| match &bound.at {
            None => true,
            Some(at) => at.compare(point).is_lt() || (bound.inclusive && at.compare(point).is_eq()),
        };
        let before = |bound: &Bound| match &bound.at {
            None => true,
            Some(at) => at.compare(point).is_gt() || (bound.inclusive && at.compare(point).is_eq()),
        };
        after(&self.lower) && before(&self.upper)
    }
}

/// multirange_canonicalize: in order, what overlaps or touches made one.
pub(super) fn set(of: Of, mut spans: Vec<Span>) -> Set {
    spans.sort_by(Span::compare);
    let mut set: Set = Vec::with_capacity(spans.len());
    for span in spans {
        match set.last_mut() {
            Some(last) if last.overlaps(&span) || touch(of, &last.upper, &span.lower) => {
                if upper_order(&last.upper, &span.upper).is_lt() {
                    last.upper = span.upper;
                }
            }
            _ => set.push(span),
        }
    }
    set
}

/// range_cmp and multirange_cmp: nothing comes first.
pub(super) fn compare(a: &Set, b: &Set) -> Ordering {
    let pairs = a.iter().zip(b).map(|(a, b)| a.compare(b));
    pairs.into_iter().find(|order| order.is_ne()).unwrap_or_else(|| a.len().cmp(&b.len()))
}

pub(super) fn contains(a: &Set, b: &Set) -> bool {
    let mut rest = a.iter().peekable();
    b.iter().all(|span| {
        while rest.next_if(|candidate| ends_before(&candidate.upper, &span.lower)).is_some() {}
        rest.peek().is_some_and(|candidate| candidate.contains(span))
    })
}

pub(super) fn holds(a: &Set, point: &Point) -> bool {
    a.iter().any(|span| span.holds(point))
}

pub(super) fn overlaps(a: &Set, b: &Set) -> bool {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
        if x.overlaps(y) {
            return true;
        }
        if ends_before(&x.upper, &y.lower) {
            a.next();
        } else {
            b.next();
        }
    }
    false
}

pub(super) fn before(a: &Set, b: &Set) -> bool {
    matches!((a.last(), b.first()), (Some(a), Some(b)) if ends_before(&a.upper, &b.lower))
}

/// Does not reach to the right of the other.
pub(super) fn over_left(a: &Set, b: &Set) -> bool {
    matches!((a.last(), b.last()), (Some(a), Some(b)) if upper_order(&a.upper, &b.upper).is_le())
}

pub(super) fn over_right(a: &Set, b: &Set) -> bool {
    matches!((a.first(), b.first()), (Some(a), Some(b)) if lower_order(&a.lower, &b.lower).is_ge())
}

pub(super) fn adjacent(of: Of, a: &Set, b: &Set) -> bool {
    let meets = |a: &Set, b: &Set| matches!((a.last(), b.first()), (Some(a), Some(b)) if touch(of, &a.upper, &b.lower));
    meets(a, b) || meets(b, a)
}

pub(super) fn intersection(a: &Set, b: &Set) -> Set {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    let mut set = vec![];
    while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
        if x.overlaps(y) {
            let lower = if lower_order(&x.lower, &y.lower).is_ge() { &x.lower } else { &y.lower };
            let upper = if upper_order(&x.upper, &y.upper).is_le() { &x.upper } else { &y.upper };
            set.push(Span { lower: lower.clone(), upper: upper.clone() });
        }
        if upper_order(&x.upper, &y.upper).is_le() {
            a.next();
        } else {
            b.next();
        }
    }
    set
}

pub(super) fn difference(of: Of, a: &Set, b: &Set) -> Result<Set> {
    let mut set = vec![];
    let mut others = b.iter().peekable();
    for span in a {
        let (mut left, mut some) = (span.clone(), true);
        while let Some(other) = others.peek() {
            if ends_before(&other.upper, &left.lower) {
                others.next();
                continue;
            }
            if ends_before(&left.upper, &other.lower) {
                break;
            }
            if lower_order(&left.lower, &other.lower).is_lt() {
                let upper = Bound { inclusive: !other.lower.inclusive, ..other.lower.clone() };
                set.extend(range(of, left.lower.clone(), upper)?);
            }
            if upper_order(&left.upper, &other.upper).is_le() {
                // nothing is left; the other may take more of the next
                some = false;
                break;
            }
            let lower = Bound { inclusive: !other.upper.inclusive, ..other.upper.clone() };
            others.next();
            match range(of, lower, left.upper.clone())? {
                Some(behind) => left = behind,
                None => {
                    some = false;
                    break;
                }
            }
        }
        if some {
            set.push(left);
        }
    }
    Ok(set)
}

/// From the first lower bound to the last upper one. Of equal bounds the second's is taken, whose spelling may differ.
pub(super) fn hull(a: &Set, b: &Set) -> Set {
    let lowers = [a.first(), b.first()].into_iter().flatten().map(|span| &span.lower);
    let uppers = [a.last(), b.last()].into_iter().flatten().map(|span| &span.upper);
    let lower = lowers.rev().min_by(|a, b| lower_order(a, b));
    let upper = uppers.max_by(|a, b| upper_order(a, b));
    match (lower, upper) {
        (Some(lower), Some(upper)) => vec![Span { lower: lower.clone(), upper: upper.clone() }],
        _ => vec![],
    }
}

/// Bytes that order as [`compare`] does.
pub(super) fn key(set: &Set) -> Vec<u8> {
    let mut key = vec![];
    let point = |key: &mut Vec<u8>, point: &Point| match point {
        Point::Whole(at) => key.extend((at.cast_unsigned() ^ (1 << 63)).to_be_bytes()),
        Point::Numeric(number) => key.extend(numeric::key(&number.encode())),
    };
    for span in set {
        key.push(1);
        match &span.lower.at {
            None => key.push(0),
            Some(at) => {
                key.push(1);
                point(&mut key, at);
                key.push(u8::from(!span.lower.inclusive));
            }
        }
        match &span.upper.at {
            None => key.push(1),
            Some(at) => {
                key.push(0);
                point(&mut key, at);
                key.push(u8::from(span.upper.inclusive));
            }
        }
    }
    key.push(0);
    key
}

/// A value of the element's type, from its text.
fn point(of: Of, text: &str, env: &Env) -> Result<Point> {
    Ok(match of.point {
        oid::INT4 => Point::Whole(i64::from(input::integer::<i32>(text, "integer")?)),
        oid::INT8 => Point::Whole(input::integer(text, "bigint")?),
        oid::DATE => Point::Whole(i64::from(input::date(text, &env.style())?)),
        oid::TIMESTAMP => Point::Whole(input::timestamp(text, &env.style())?),
        oid::TIMESTAMPTZ => Point::Whole(input::timestamptz(text, &env.style())?),
        _ => Point::Numeric(Numeric::parse(text)?),
    })
}

fn malformed(what: &str, text: &str, detail: &str) -> Error {
    Error::new(Kind::InvalidText, format!("malformed {what} literal: \"{text}\"")).with_detail(detail)
}

fn blank(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\u{b}'
}

/// `RANGE_EMPTY` and its kin.
const EMPTY: u32 = 1;
const LOWER_INCLUSIVE: u32 = 2;
const UPPER_INCLUSIVE: u32 = 4;
const LOWER_INFINITE: u32 = 8;
const UPPER_INFINITE: u32 = 16;

/// What a range is beside its bounds.
fn flags(span: Option<&Span>) -> u32 {
    let Some(span) = span else { return EMPTY };
    let bound = |bound: &Bound, inclusive: u32, infinite: u32| match (&bound.at, bound.inclusive) {
        (None, _) => infinite,
        (Some(_), true) => inclusive,
        (Some(_), false) => 0,
    };
    bound(&span.lower, LOWER_INCLUSIVE, LOWER_INFINITE) | bound(&span.upper, UPPER_INCLUSIVE, UPPER_INFINITE)
}

/// A whole number as PostgreSQL keeps it in a type of four bytes or of eight.
enum Kept {
    Four(i32),
    Eight(i64),
}

fn kept(of: Of, number: i64) -> Result<Kept> {
    let four = || i32::try_from(number).map_err(|_| Error::internal("a bound of more than four bytes"));
    Ok(match of.point {
        oid::INT4 => Kept::Four(four()?),
        oid::DATE => Kept::Four(calendar::days_since_2000(four()?)?),
        oid::TIMESTAMP | oid::TIMESTAMPTZ => Kept::Eight(calendar::micros_since_2000(number)?),
        _ => Kept::Eight(number),
    })
}

/// `hash_range_extended`.
pub(super) fn hash(of: Of, span: Option<&Span>, seed: u64) -> Result<u64> {
    let point = |bound: Option<&Bound>| {
        Ok(match bound.and_then(|bound| bound.at.as_ref()) {
            None => 0,
            Some(Point::Numeric(number)) => hash::numeric(number, seed),
            Some(Point::Whole(number)) => match kept(of, *number)? {
                Kept::Four(number) => hash::of_u32(number.cast_unsigned(), seed),
                Kept::Eight(number) => hash::of_i64(number, seed),
            },
        })
    };
    let (lower, upper): (Result<u64>, Result<u64>) =
        (point(span.map(|span| &span.lower)), point(span.map(|span| &span.upper)));
    Ok(hash::rotated(hash::of_u32(flags(span), seed) ^ lower?) ^ upper?)
}

/// `range_send`: the flags, and each bound that there is behind its length.
pub(super) fn sent(of: Of, span: Option<&Span>) -> Result<Vec<u8>> {
    let mut out = vec![u8::try_from(flags(span)).unwrap_or(0)];
    let bounds = span.into_iter().flat_map(|span| [&span.lower, &span.upper]);
    for point in bounds.filter_map(|bound| bound.at.as_ref()) {
        match point {
            Point::Numeric(number) => {
                let mut bytes = BytesMut::new();
                number.send(&mut bytes);
                framed(&bytes, &mut out);
            }
            Point::Whole(number) => match kept(of, *number)? {
                Kept::Four(number) => framed(&number.to_be_bytes(), &mut out),
                Kept::Eight(number) => framed(&number.to_be_bytes(), &mut out),
            },
        }
    }
    Ok(out)
}

/// A value behind its length. Values are shorter than a GB.
pub(super) fn framed(value: &[u8], out: &mut Vec<u8>) {
    out.extend(i32::try_from(value.len()).unwrap_or(i32::MAX).to_be_bytes());
    out.extend_from_slice(value);
}

/// range_in.
pub(super) fn read_range(of: Of, text: &str, env: &Env) -> Result<Option<Span>> {
    let wrong = |detail: &str| malformed("range", text, detail);
    let rest = text.trim_start_matches(blank);
    if rest.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("empty")) {
        let junk = !rest[5..].chars().all(blank);
        return if junk { Err(wrong("Junk after \"empty\" key word.")) } else { Ok(None) };
    }
    let lower_inclusive = rest.starts_with('[');
    let Some(rest) = rest.strip_prefix(['[', '(']) else {
        return Err(wrong("Missing left parenthesis or bracket."));
    };
    let (lower, rest) = read_bound(text, rest)?;
    let Some(rest) = rest.strip_prefix(',') else { return Err(wrong("Missing comma after lower bound.")) };
    let (upper, rest) = read_bound(text, rest)?;
    let upper_inclusive = rest.starts_with(']');
    let Some(rest) = rest.strip_prefix([']', ')']) else { return Err(wrong("Too many commas.")) };
    if !rest.chars().all(blank) {
        return Err(wrong("Junk after right parenthesis or bracket."));
    }
    let point = |text: Option<String>| text.map(|text| point(of, &text, env)).transpose();
    let lower = Bound { at: point(lower)?, inclusive: lower_inclusive };
    range(of, lower, Bound { at: point(upper)?, inclusive: upper_inclusive })
}

/// The text of a bound, `None` where there is none, and what stands behind it.
fn read_bound<'a>(whole: &str, text: &'a str) -> Result<(Option<String>, &'a str)> {
    let ends = |rest: &str| rest.starts_with([',', ')', ']']);
    if ends(text) {
        return Ok((None, text));
    }
    let end = || malformed("range", whole, "Unexpected end of input.");
    let (mut out, mut quoted, mut rest) = (String::new(), false, text);
    while quoted || !ends(rest) {
        let mut chars = rest.chars();
        match chars.next().ok_or_else(end)? {
            '\\' => out.push(chars.next().ok_or_else(end)?),
            '"' if quoted && chars.as_str().starts_with('"') => {
                chars.next();
                out.push('"');
            }
            '"' => quoted = !quoted,
            other => out.push(other),
        }
        rest = chars.as_str();
    }
    Ok((Some(out), rest))
}

/// multirange_in.
pub(super) fn read_set(of: Of, text: &str, env: &Env) -> Result<Set> {
    let wrong = |detail: &str| malformed("multirange", text, detail);
    let end = || wrong("Unexpected end of input.");
    let trimmed = text.trim_start_matches(blank);
    let Some(mut rest) = trimmed.strip_prefix('{') else { return Err(wrong("Missing left brace.")) };
    let mut spans = vec![];
    let mut first = true;
    loop {
        rest = rest.trim_start_matches(blank);
        let length = if rest.is_empty() {
            return Err(end());
        } else if rest.starts_with(['[', '(']) {
            whole_range(rest).ok_or_else(end)?
        } else if first && rest.starts_with('}') {
            rest = &rest[1..];
            break;
        } else if rest.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("empty")) {
            5
        } else {
            return Err(wrong("Expected range start."));
        };
        first = false;
        spans.extend(read_range(of, &rest[..length], env)?);
        rest = rest[length..].trim_start_matches(blank);
        let mut chars = rest.chars();
        match chars.next().ok_or_else(end)? {
            ',' => rest = chars.as_str(),
            '}' => {
                rest = chars.as_str();
                break;
            }
            _ => return Err(wrong("Expected comma or end of multirange.")),
        }
    }
    if !rest.chars().all(blank) {
        return Err(wrong("Junk after closing right brace."));
    }
    Ok(set(of, spans))
}

/// Bytes up to and with the bracket that closes a range.
fn whole_range(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ']' | ')' if !quoted => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// As range_out and multirange_out spell a value of this type; `style` is asked for dates that are not ISO.
pub(super) fn spell(of: Of, ty: u32, set: &Set, env: &Env) -> Result<String> {
    let mut out = BytesMut::new();
    let multirange = Of::is_multirange(ty);
    if multirange {
        out.extend_from_slice(b"{");
    } else if set.is_empty() {
        out.extend_from_slice(b"empty");
    }
    for (at, span) in set.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(b",");
        }
        out.extend_from_slice(if span.lower.inclusive { b"[" } else { b"(" });
        spell_bound(of, &span.lower, &mut out, env)?;
        out.extend_from_slice(b",");
        spell_bound(of, &span.upper, &mut out, env)?;
        out.extend_from_slice(if span.upper.inclusive { b"]" } else { b")" });
    }
    if multirange {
        out.extend_from_slice(b"}");
    }
    let text = String::from_utf8(out.to_vec());
    text.map_err(|error| Error::internal("a range's spelling").with_source(error))
}

fn spell_bound(of: Of, bound: &Bound, out: &mut BytesMut, env: &Env) -> Result<()> {
    let Some(at) = &bound.at else { return Ok(()) };
    let start = out.len();
    match at {
        Point::Numeric(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Point::Whole(at) => match of.point {
            oid::DATE | oid::TIMESTAMP | oid::TIMESTAMPTZ if env.date_style.output != DateOutput::Iso => {
                out.extend_from_slice(super::styled(of, *at, env)?.as_bytes())
            }
            oid::DATE => calendar::date(i32::try_from(*at).unwrap_or(i32::MAX), env.date_style, out)?,
            oid::TIMESTAMP => calendar::timestamp(*at, None, env.date_style, out)?,
            oid::TIMESTAMPTZ => {
                calendar::timestamp(*at, Some(&calendar::Zone::new(env.time_zone)), env.date_style, out)?
            }
            _ => out.extend_from_slice(at.to_string().as_bytes()),
        },
    }
    // blanks alone ask for quotes among what these types spell
    if out[start..].contains(&b' ') {
        let text = out.split_off(start);
        out.extend_from_slice(b"\"");
        out.extend_from_slice(&text);
        out.extend_from_slice(b"\"");
    }
    Ok(())
}
