//! Whether two typed expressions mean the same, wherever they stand: what GROUP BY and ORDER BY are matched by.

use crate::sql::expr::{Aggregate, Bound, Expr, Frame, Kind, Sort, Window};

pub(crate) fn same(a: &Expr, b: &Expr) -> bool {
    if a.ty != b.ty || a.data_type != b.data_type {
        return false;
    }
    match (&a.kind, &b.kind) {
        (Kind::Unknown(a), Kind::Unknown(b)) => a == b,
        (Kind::Constant(a), Kind::Constant(b)) => a == b,
        (Kind::Parameter(a), Kind::Parameter(b)) => a == b,
        (Kind::Column(a), Kind::Column(b)) => a == b,
        (Kind::Call(a), Kind::Call(b)) => {
            a.proc.oid == b.proc.oid && a.variadic == b.variadic && all(&a.arguments, &b.arguments)
        }
        (Kind::And(a), Kind::And(b))
        | (Kind::Or(a), Kind::Or(b))
        | (Kind::Coalesce(a), Kind::Coalesce(b))
        | (Kind::Array(a), Kind::Array(b))
        | (Kind::Row(a), Kind::Row(b))
        | (Kind::Grouping(a), Kind::Grouping(b)) => all(a, b),
        (Kind::Not(a), Kind::Not(b)) | (Kind::Relabel(a), Kind::Relabel(b)) => same(a, b),
        (Kind::IsNull { of: a, negated: n }, Kind::IsNull { of: b, negated: m }) => n == m && same(a, b),
        (Kind::Is { of: a, value: v, negated: n }, Kind::Is { of: b, value: w, negated: m }) => {
            v == w && n == m && same(a, b)
        }
        (
            Kind::Distinct { equals: o, left: a, right: x, negated: n },
            Kind::Distinct { equals: p, left: b, right: y, negated: m },
        ) => o.oid == p.oid && n == m && same(a, b) && same(x, y),
        (
            Kind::AnyOf { operator: o, left: a, array: x, all: n },
            Kind::AnyOf { operator: p, left: b, array: y, all: m },
        ) => o.oid == p.oid && n == m && same(a, b) && same(x, y),
        (Kind::Case { whens: v, otherwise: x }, Kind::Case { whens: w, otherwise: y }) => {
            v.len() == w.len()
                && v.iter().zip(w).all(|((a, x), (b, y))| same(a, b) && same(x, y))
                && option(x.as_deref(), y.as_deref())
        }
        (Kind::NullIf { equals: o, left: a, right: x }, Kind::NullIf { equals: p, left: b, right: y }) => {
            o.oid == p.oid && same(a, b) && same(x, y)
        }
        (Kind::Extreme { of: a, greatest: g }, Kind::Extreme { of: b, greatest: h }) => g == h && all(a, b),
        (Kind::Field { of: a, index: i }, Kind::Field { of: b, index: j }) => i == j && same(a, b),
        (Kind::Subscript { of: a, indexes: i }, Kind::Subscript { of: b, indexes: j }) => same(a, b) && all(i, j),
        (Kind::Slice { of: a, bounds: v }, Kind::Slice { of: b, bounds: w }) => {
            let bound = |((a, x), (b, y)): (&(Option<Expr>, Option<Expr>), &(Option<Expr>, Option<Expr>))| {
                option(a.as_ref(), b.as_ref()) && option(x.as_ref(), y.as_ref())
            };
            same(a, b) && v.len() == w.len() && v.iter().zip(w).all(bound)
        }
        (Kind::ByText { of: a, explicit: e }, Kind::ByText { of: b, explicit: f }) => e == f && same(a, b),
        // what is done to each element follows from both types; the element's number is each place's own
        (Kind::EachElement { of: a, .. }, Kind::EachElement { of: b, .. }) => same(a, b),
        (Kind::Aggregate(a), Kind::Aggregate(b)) => aggregate(a, b),
        (Kind::Window(a), Kind::Window(b)) => window(a, b),
        // a subquery is the same as itself alone, wherever it was copied to: nothing else has its columns
        (Kind::Subquery { query: a, .. }, Kind::Subquery { query: b, .. }) => {
            let (a, b) = (a.columns.first(), b.columns.first());
            a.zip(b).is_some_and(|(a, b)| a.id == b.id)
        }
        _ => false,
    }
}

fn all(a: &[Expr], b: &[Expr]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
}

fn option(a: Option<&Expr>, b: Option<&Expr>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => same(a, b),
        (None, None) => true,
        _ => false,
    }
}

fn sorts(a: &[Sort], b: &[Sort]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(a, b)| a.descending == b.descending && a.nulls_first == b.nulls_first && same(&a.by, &b.by))
}

fn aggregate(a: &Aggregate, b: &Aggregate) -> bool {
    a.proc.oid == b.proc.oid
        && a.distinct == b.distinct
        && all(&a.arguments, &b.arguments)
        && sorts(&a.order, &b.order)
        && option(a.filter.as_ref(), b.filter.as_ref())
}

fn window(a: &Window, b: &Window) -> bool {
    a.proc.oid == b.proc.oid
        && all(&a.arguments, &b.arguments)
        && option(a.filter.as_ref(), b.filter.as_ref())
        && sorted_alike(a, b)
        && frame(&a.frame, &b.frame)
}

/// The same partitions and order.
pub(super) fn sorted_alike(a: &Window, b: &Window) -> bool {
    all(&a.partition, &b.partition) && sorts(&a.order, &b.order)
}

fn frame(a: &Frame, b: &Frame) -> bool {
    let bound = |a: &Bound, b: &Bound| match (a, b) {
        (Bound::UnboundedPreceding, Bound::UnboundedPreceding)
        | (Bound::CurrentRow, Bound::CurrentRow)
        | (Bound::UnboundedFollowing, Bound::UnboundedFollowing) => true,
        (Bound::Preceding(a), Bound::Preceding(b)) | (Bound::Following(a), Bound::Following(b)) => same(a, b),
        _ => false,
    };
    a.units == b.units && a.exclude == b.exclude && bound(&a.start, &b.start) && bound(&a.end, &b.end)
}
