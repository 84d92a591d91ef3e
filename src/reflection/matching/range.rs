//! When conditions imply another one: as they stand, or because the values that they leave are among those that it leaves. It
//! knows single columns and expressions compared with constants, and no logic beyond that.

use std::cmp::Ordering;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{Between, BinaryExpr, InList};
use datafusion::logical_expr::{Expr, Operator};

/// Whether `wanted` is true of every row of which all of `given` are.
pub(in crate::reflection) fn implies(given: &[Expr], wanted: &Expr) -> bool {
    if given.contains(wanted) {
        return true;
    }
    let known: Vec<(&Expr, Bound)> = given.iter().flat_map(bounds).collect();
    let wanted = bounds(wanted);
    !wanted.is_empty() && wanted.iter().all(|(of, bound)| known.iter().any(|(e, b)| e == of && b.is_within(bound)))
}

/// What a true condition says of an expression's value.
#[derive(Debug)]
enum Bound<'a> {
    Above(&'a ScalarValue, Ends),
    Below(&'a ScalarValue, Ends),
    OneOf(Vec<&'a ScalarValue>),
    NotNull,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Included,
    Excluded,
}

/// Empty for a condition of another kind; else it is all of them together.
fn bounds(condition: &Expr) -> Vec<(&Expr, Bound<'_>)> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let Some(value) = constant(right) else { return vec![] };
            let bound = match op {
                Operator::Eq => Bound::OneOf(vec![value]),
                Operator::Gt => Bound::Above(value, Ends::Excluded),
                Operator::GtEq => Bound::Above(value, Ends::Included),
                Operator::Lt => Bound::Below(value, Ends::Excluded),
                Operator::LtEq => Bound::Below(value, Ends::Included),
                _ => return vec![],
            };
            vec![(left, bound)]
        }
        Expr::InList(InList { expr, list, negated: false }) => {
            match list.iter().map(constant).collect::<Option<Vec<_>>>() {
                Some(values) => vec![(expr, Bound::OneOf(values))],
                None => vec![],
            }
        }
        Expr::Between(Between { expr, negated: false, low, high }) => match (constant(low), constant(high)) {
            (Some(low), Some(high)) => {
                vec![(expr, Bound::Above(low, Ends::Included)), (expr, Bound::Below(high, Ends::Included))]
            }
            (None, _) | (_, None) => vec![],
        },
        Expr::IsNotNull(e) => vec![(e, Bound::NotNull)],
        _ => vec![],
    }
}

/// A constant of a type whose order Arrow knows as PostgreSQL does.
fn constant(e: &Expr) -> Option<&ScalarValue> {
    match e {
        Expr::Literal(value, _) if !value.is_null() && !value.data_type().is_floating() => Some(value),
        _ => None,
    }
}

impl Bound<'_> {
    /// Every value that this one leaves `wider` leaves too.
    fn is_within(&self, wider: &Bound<'_>) -> bool {
        match (self, wider) {
            // a comparison that is true was of a value
            (_, Bound::NotNull) => true,
            (Bound::NotNull, _) => false,
            (Bound::OneOf(values), _) => values.iter().all(|value| wider.leaves(value)),
            (Bound::Above(a, ends), Bound::Above(b, wider)) => {
                further(compared(a, b), Ordering::Greater, *ends, *wider)
            }
            (Bound::Below(a, ends), Bound::Below(b, wider)) => further(compared(a, b), Ordering::Less, *ends, *wider),
            (Bound::Above(..), Bound::Below(..) | Bound::OneOf(_))
            | (Bound::Below(..), Bound::Above(..) | Bound::OneOf(_)) => false,
        }
    }

    fn leaves(&self, value: &ScalarValue) -> bool {
        match self {
            Bound::NotNull => true,
            Bound::OneOf(values) => values.iter().any(|known| compared(value, known) == Some(Ordering::Equal)),
            Bound::Above(end, ends) => further(compared(value, end), Ordering::Greater, Ends::Included, *ends),
            Bound::Below(end, ends) => further(compared(value, end), Ordering::Less, Ends::Included, *ends),
        }
    }
}

fn further(order: Option<Ordering>, way: Ordering, ends: Ends, wider: Ends) -> bool {
    match order {
        Some(Ordering::Equal) => wider == Ends::Included || ends == Ends::Excluded,
        Some(order) => order == way,
        None => false,
    }
}

fn compared(a: &ScalarValue, b: &ScalarValue) -> Option<Ordering> {
    (a.data_type() == b.data_type()).then(|| a.partial_cmp(b)).flatten()
}

#[cfg(test)]
mod tests;
