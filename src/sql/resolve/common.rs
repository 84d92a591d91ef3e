//! One type for several expressions: select_common_type and coerce_to_common_type of parse_coerce.c, and one way to lie in
//! an array for all of them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};

use super::{Context, cast, literal, natural, place, types};
use crate::error::{Error, Kind as Failure, Result};
use crate::pgtype::{self, Ty, name, oid};
use crate::sql::expr::{Expr, Kind};
use crate::sql::image::CastContext;

/// The type for all of them, with a modifier if they share one. `what` names the construct: `CASE`, `UNION`.
pub(crate) fn select(_: Context<'_>, exprs: &[Expr], what: &str) -> Result<Ty> {
    let given: Vec<u32> = exprs.iter().map(|e| e.ty.oid).collect();
    let common = of(&given).map_err(|conflict| {
        let (one, other) = (name(conflict.one), name(conflict.other));
        let text = format!("{what} types {one} and {other} cannot be matched");
        let at = exprs.get(conflict.at).map_or(0, place);
        Error::new(Failure::TypeMismatch, text).at(at)
    })?;
    Ok(Ty { oid: common, typmod: typmod(exprs, common) })
}

/// All of that common type, and lying alike, so that their values can share an array. Of a CASE the branch behind ELSE
/// comes first (a NULL where there is none): the others give way to it.
pub(crate) fn to_common(cx: Context<'_>, exprs: Vec<Expr>, what: &str) -> Result<(Vec<Expr>, Ty, DataType)> {
    let ty = select(cx, &exprs, what)?;
    let part = |i: usize| match (what, i) {
        ("CASE", 0) => "CASE/ELSE",
        ("CASE", _) => "CASE/WHEN",
        _ => what,
    };
    let exprs = exprs.into_iter().enumerate().map(|(i, e)| convert(cx, e, ty, part(i)));
    let exprs: Vec<Expr> = exprs.collect::<Result<_>>()?;
    let ty = Ty { oid: ty.oid, typmod: typmod(&exprs, ty.oid) };
    let (exprs, data_type) = alike(exprs, ty);
    Ok((exprs, ty, data_type))
}

/// `coerce_to_common_type`: a type that was selected need not fit all (oid and regtype both ways).
pub(crate) fn convert(cx: Context<'_>, expr: Expr, ty: Ty, what: &str) -> Result<Expr> {
    if !cast::can_coerce(&[expr.ty.oid], &[ty.oid], CastContext::Implicit) {
        let text = format!("{what} could not convert type {} to {}", expr.ty.name(), ty.name());
        return Err(Error::new(Failure::CannotCoerce, text).at(place(&expr)));
    }
    cast::convert(cx, expr, Ty::of(ty.oid), CastContext::Implicit)
}

/// Expressions of one type, made to lie in one way. A NULL lies as the others do.
pub(crate) fn alike(exprs: Vec<Expr>, ty: Ty) -> (Vec<Expr>, DataType) {
    let lying = exprs.iter().filter(|e| !e.is_null_constant()).map(|e| &e.data_type);
    let data_type = unified(lying, ty);
    let same = |expr: Expr| match expr.data_type == data_type {
        true => expr,
        false if expr.is_null_constant() => literal::null_lying(expr.ty, data_type.clone(), expr.at),
        false => {
            let (ty, at) = (expr.ty, expr.at);
            Expr::lying(Kind::Relabel(Box::new(expr)), ty, data_type.clone(), at)
        }
    };
    let exprs = exprs.into_iter().map(same).collect();
    (exprs, data_type)
}

/// How values that lie in these ways can share an array; of columns of set operations too.
pub(crate) fn unified<'a>(data_types: impl IntoIterator<Item = &'a DataType>, ty: Ty) -> DataType {
    let natural = natural(ty.oid);
    let mut data_types = data_types.into_iter();
    let Some(first) = data_types.next() else { return natural };
    data_types.fold(first.clone(), |known, next| unify(&known, next, &natural))
}

/// `otherwise` for types that do not meet.
fn unify(one: &DataType, other: &DataType, otherwise: &DataType) -> DataType {
    use DataType::{Decimal128, Decimal256, List, Struct};
    match (one, other) {
        _ if one == other => one.clone(),
        (Decimal128(p, s), Decimal128(q, t)) if s == t => Decimal128(*p.max(q), *s),
        // numerics are shown with the scale that each has
        (Decimal128(p, s) | Decimal256(p, s), Decimal128(q, t) | Decimal256(q, t)) if s == t => {
            Decimal256(*p.max(q), *s)
        }
        (Decimal128(..) | Decimal256(..), _) | (_, Decimal128(..) | Decimal256(..)) => DataType::Binary,
        (List(a), List(b)) => {
            let inner = match otherwise {
                List(item) => item.data_type(),
                other => other,
            };
            // an empty array has no dimensions yet
            let item = match (a.data_type(), b.data_type()) {
                (List(_), shallow) if !matches!(shallow, List(_)) => Arc::clone(a),
                (shallow, List(_)) if !matches!(shallow, List(_)) => Arc::clone(b),
                (x, y) => Arc::new(a.as_ref().clone().with_data_type(unify(x, y, inner))),
            };
            List(item)
        }
        (Struct(a), Struct(b)) if a.len() == b.len() => {
            let field = |(a, b): (&Arc<Field>, &Arc<Field>)| {
                let (x, y) = (a.data_type(), b.data_type());
                a.as_ref().clone().with_data_type(unify(x, y, x)).with_nullable(true)
            };
            Struct(a.iter().zip(b).map(field).collect::<Fields>())
        }
        _ => otherwise.clone(),
    }
}

/// For polymorphic functions: as [`select`], of types alone.
pub(super) fn of_types(given: &[u32]) -> Result<u32> {
    of(given).map_err(|conflict| {
        let (one, other) = (name(conflict.one), name(conflict.other));
        Error::new(Failure::TypeMismatch, format!("argument types {one} and {other} cannot be matched"))
    })
}

/// `verify_common_type_from_oids`.
pub(super) fn all_become(common: u32, given: &[u32]) -> bool {
    given.iter().all(|oid| cast::can_coerce(&[*oid], &[common], CastContext::Implicit))
}

/// The modifier that all have; -1 where one is of another type, or has none.
fn typmod(exprs: &[Expr], common: u32) -> i32 {
    let Some((first, rest)) = exprs.split_first() else { return -1 };
    let wanted = Ty { oid: common, typmod: first.ty.typmod };
    if first.ty == wanted && rest.iter().all(|e| e.ty == wanted) { wanted.typmod } else { -1 }
}

/// Two types of different categories, and which expression had the second.
struct Conflict {
    one: u32,
    other: u32,
    at: usize,
}

fn of(given: &[u32]) -> Result<u32, Conflict> {
    let Some((&first, rest)) = given.split_first() else { return Ok(oid::TEXT) };
    // a domain stays one if all are of it
    if first != oid::UNKNOWN && rest.iter().all(|oid| *oid == first) {
        return Ok(first);
    }
    let mut common = pgtype::base(first);
    for (i, &next) in rest.iter().enumerate() {
        let next = pgtype::base(next);
        if next == oid::UNKNOWN || next == common {
            continue;
        }
        if common == oid::UNKNOWN {
            common = next;
            continue;
        }
        let category = types::category(common);
        if types::category(next) != category {
            return Err(Conflict { one: common, other: next, at: i + 1 });
        }
        let becomes = |from: u32, to: u32| cast::can_coerce(&[from], &[to], CastContext::Implicit);
        if !types::is_preferred(category, common) && becomes(common, next) && !becomes(next, common) {
            common = next;
        }
    }
    Ok(if common == oid::UNKNOWN { oid::TEXT } else { common })
}
