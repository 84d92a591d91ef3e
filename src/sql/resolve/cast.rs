//! Converting an expression to a type: parse_coerce.c's can_coerce_type, find_coercion_pathway, coerce_type and
//! coerce_type_typmod. What several expressions have in common is `common`'s.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;

use super::{Context, call, literal, natural, place, polymorphic, types};
use crate::error::{Error, Kind as Failure, Result};
use crate::pgtype::{self, Ty, oid};
use crate::sql::expr::{ColumnId, Expr, Kind};
use crate::sql::image::{self, CastContext, CastMethod, Proc};

/// The one column of [`Kind::EachElement`]'s `each`. Casts of elements do not nest, so that one number serves all.
pub(crate) const ELEMENT: ColumnId = ColumnId(usize::MAX);

/// `None`: there is no such cast in that context. The modifier of `target` is applied too (`coerce_to_target_type`).
pub(crate) fn coerce(cx: Context<'_>, expr: Expr, target: Ty, context: CastContext) -> Result<Option<Expr>> {
    if !can_coerce(&[expr.ty.oid], &[target.oid], context) {
        return Ok(None);
    }
    let converted = convert(cx, expr, target, context)?;
    modify(cx, converted, target, context).map(Some)
}

pub(crate) fn implicit(cx: Context<'_>, expr: Expr, target: Ty) -> Result<Expr> {
    coerce_or_mismatch(cx, expr, target, CastContext::Implicit)
}

fn coerce_or_mismatch(cx: Context<'_>, expr: Expr, target: Ty, context: CastContext) -> Result<Expr> {
    let (from, at) = (expr.ty, place(&expr));
    coerce(cx, expr, target, context)?.ok_or_else(|| {
        let text = format!("expression is of type {} where {} is needed", from.name(), target.name());
        Error::new(Failure::TypeMismatch, text).at(at)
    })
}

/// `CAST(x AS t)`, `x::t`; `at` is the place of the cast.
pub(crate) fn explicit(cx: Context<'_>, expr: Expr, target: Ty, at: usize) -> Result<Expr> {
    let (from, own) = (expr.ty, place(&expr));
    let result = coerce(cx, expr, target, CastContext::Explicit)?;
    result.ok_or_else(|| {
        let text = format!("cannot cast type {} to {}", from.name(), target.name());
        Error::new(Failure::CannotCoerce, text).at(if at == 0 { own } else { at })
    })
}

/// A condition: `what` names its place (`WHERE`) (`coerce_to_boolean`).
pub(crate) fn boolean(cx: Context<'_>, expr: Expr, what: &str) -> Result<Expr> {
    specific(cx, expr, Ty::BOOL, what)
}

/// What a construct wants: `argument of LIMIT must be type bigint, not type text` (`coerce_to_specific_type`).
pub(crate) fn specific(cx: Context<'_>, expr: Expr, target: Ty, what: &str) -> Result<Expr> {
    let (from, at) = (expr.ty, place(&expr));
    let mismatch = |text: String| Error::new(Failure::TypeMismatch, text).at(at);
    let result = coerce(cx, expr, Ty::of(target.oid), CastContext::Assignment)?.ok_or_else(|| {
        mismatch(format!("argument of {what} must be type {}, not type {}", target.name(), from.name()))
    })?;
    if result.any(&Expr::is_set) {
        return Err(mismatch(format!("argument of {what} must not return a set")));
    }
    Ok(result)
}

/// An untyped literal or parameter that leaves the query is text (`resolveTargetListUnknowns`).
pub(crate) fn unknown_to_text(cx: Context<'_>, expr: Expr) -> Result<Expr> {
    match expr.ty.is_unknown() {
        true => convert(cx, expr, Ty::TEXT, CastContext::Implicit),
        false => Ok(expr),
    }
}

/// Whether values of these types can stand where those are wanted (`can_coerce_type`).
pub(crate) fn can_coerce(sources: &[u32], targets: &[u32], context: CastContext) -> bool {
    let mut generic = false;
    for (&source, &target) in sources.iter().zip(targets) {
        let fits = if source == target || target == oid::ANY {
            true
        } else if pgtype::is_polymorphic(target) {
            generic = true;
            true
        } else {
            source == oid::UNKNOWN || !matches!(pathway(source, target, context), Pathway::None)
        };
        if !fits {
            return false;
        }
    }
    !generic || polymorphic::is_consistent(sources, targets)
}

/// How a value of one type becomes one of another.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pathway {
    None,
    Function(&'static Proc),
    Relabel,
    /// Each element by itself.
    Elements,
    /// Output function, then input function.
    Text,
}

/// `find_coercion_pathway`.
pub(super) fn pathway(source: u32, target: u32, context: CastContext) -> Pathway {
    let (source, target) = (pgtype::base(source), pgtype::base(target));
    if source == target {
        return Pathway::Relabel;
    }
    if let Some(cast) = image::cast(source, target) {
        return match cast.method {
            _ if context < cast.context => Pathway::None,
            CastMethod::Function(proc) => Pathway::Function(proc),
            CastMethod::Binary => Pathway::Relabel,
            CastMethod::Text => Pathway::Text,
        };
    }
    // the vectors have no casts by their elements: they must keep their one dimension and their lower bound of 0
    if target != oid::OIDVECTOR
        && target != oid::INT2VECTOR
        && let (Some(from), Some(to)) = (pgtype::element(source), pgtype::element(target))
        && !matches!(pathway(from, to, context), Pathway::None)
    {
        return Pathway::Elements;
    }
    // anything can be assigned to a string, and a string cast to anything
    let to_string = context >= CastContext::Assignment && types::category(target) == types::STRING;
    let of_string = context >= CastContext::Explicit && types::category(source) == types::STRING;
    if to_string || of_string { Pathway::Text } else { Pathway::None }
}

/// `IsBinaryCoercible`.
pub(super) fn is_binary_coercible(source: u32, target: u32) -> bool {
    let base = pgtype::base(source);
    if source == target || base == target {
        return true;
    }
    match target {
        oid::ANY | oid::ANYELEMENT | oid::ANYCOMPATIBLE => true,
        oid::ANYARRAY | oid::ANYCOMPATIBLEARRAY => types::is_array(base),
        oid::ANYNONARRAY | oid::ANYCOMPATIBLENONARRAY => !types::is_array(base),
        oid::ANYENUM => types::is_enum(base),
        oid::ANYRANGE | oid::ANYCOMPATIBLERANGE => types::range_subtype(base).is_some(),
        oid::ANYMULTIRANGE | oid::ANYCOMPATIBLEMULTIRANGE => types::range_of(base).is_some(),
        _ => image::cast(base, target)
            .is_some_and(|cast| matches!(cast.method, CastMethod::Binary) && cast.context == CastContext::Implicit),
    }
}

/// `coerce_type`: to be called where [`can_coerce`] said yes. The modifier is only passed on to functions that take one.
pub(super) fn convert(cx: Context<'_>, expr: Expr, target: Ty, context: CastContext) -> Result<Expr> {
    let source = expr.ty.oid;
    if source == target.oid {
        return Ok(expr);
    }
    match target.oid {
        oid::ANY | oid::ANYELEMENT | oid::ANYNONARRAY | oid::ANYCOMPATIBLE | oid::ANYCOMPATIBLENONARRAY => {
            return Ok(literal::settled_as_unknown(expr));
        }
        oid::ANYARRAY
        | oid::ANYENUM
        | oid::ANYRANGE
        | oid::ANYMULTIRANGE
        | oid::ANYCOMPATIBLEARRAY
        | oid::ANYCOMPATIBLERANGE
        | oid::ANYCOMPATIBLEMULTIRANGE
            if source != oid::UNKNOWN =>
        {
            // the function is to see an array (…), not a domain over one
            return Ok(match pgtype::base(source) {
                base if base != source => relabel(expr, Ty::of(base)),
                _ => expr,
            });
        }
        _ => {}
    }
    if expr.ty.is_unknown() {
        let expr = match literal::read(cx, expr, target, context)? {
            Ok(typed) => return Ok(typed),
            Err(not_a_literal) => not_a_literal,
        };
        if let Kind::Parameter(number) = expr.kind {
            cx.parameters.settle(number, target, expr.at)?;
            return Ok(Expr::new(expr.kind, Ty::of(target.oid), expr.at));
        }
        return Ok(by_text(expr, target, context));
    }
    Ok(match pathway(source, target.oid, context) {
        Pathway::Relabel => relabel(expr, Ty::of(target.oid)),
        Pathway::Function(proc) => apply(proc, expr, target, context),
        Pathway::Elements => elements(cx, expr, target, context)?,
        Pathway::Text => by_text(expr, target, context),
        Pathway::None => {
            let text = format!("no conversion from {} to {}", expr.ty.name(), target.name());
            return Err(Error::internal(text));
        }
    })
}

/// `coerce_type_typmod`: cuts, pads or rounds as the modifier says. A cast to no modifier forgets that there was one.
pub(super) fn modify(cx: Context<'_>, expr: Expr, target: Ty, context: CastContext) -> Result<Expr> {
    if expr.ty.typmod == target.typmod {
        return Ok(expr);
    }
    if target.typmod >= 0 {
        let scalar = types::element(target.oid).unwrap_or_else(|| pgtype::base(target.oid));
        if let Some(image::Cast { method: CastMethod::Function(proc), .. }) = image::cast(scalar, scalar) {
            return match types::is_array(target.oid) {
                true => elements(cx, expr, target, context),
                false => Ok(apply(proc, expr, target, context)),
            };
        }
    }
    Ok(relabel(expr, target))
}

/// The function of a cast, with the modifier and whether the cast was written where it takes them.
fn apply(proc: &'static Proc, expr: Expr, target: Ty, context: CastContext) -> Expr {
    let at = expr.at;
    let mut arguments = vec![expr];
    let mut typmod = -1;
    if proc.arguments.len() >= 2 {
        typmod = target.typmod;
        arguments.push(Expr::constant(ScalarValue::Int32(Some(typmod)), Ty::INT4, 0));
    }
    if proc.arguments.len() >= 3 {
        let written = ScalarValue::Boolean(Some(context == CastContext::Explicit));
        arguments.push(Expr::constant(written, Ty::BOOL, 0));
    }
    if natural(proc.result) == natural(target.oid) {
        return call(proc, arguments, Ty { oid: target.oid, typmod }, false, at);
    }
    // a type's own values by another way (smallint to oid by int4)
    relabel(call(proc, arguments, Ty::of(proc.result), false, at), Ty { oid: target.oid, typmod })
}

fn elements(cx: Context<'_>, expr: Expr, target: Ty, context: CastContext) -> Result<Expr> {
    let wrong = || Error::internal("an array without elements");
    let from = types::element(expr.ty.oid).ok_or_else(wrong)?;
    let to = types::element(target.oid).ok_or_else(wrong)?;
    let from = Ty { oid: from, typmod: expr.ty.typmod };
    let column = Expr::lying(Kind::Column(ELEMENT), from, leaf(&expr.data_type).clone(), expr.at);
    let to = Ty { oid: to, typmod: target.typmod };
    let each = coerce(cx, column, to, context)?.ok_or_else(wrong)?;
    let (at, ty) = (expr.at, Ty { oid: target.oid, typmod: each.ty.typmod });
    let data_type = with_leaf(&expr.data_type, &each);
    let kind = Kind::EachElement { of: Box::new(expr), element: ELEMENT, each: Box::new(each) };
    Ok(Expr::lying(kind, ty, data_type, at))
}

/// What lies in lists of lists of it.
fn leaf(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::List(item) => leaf(item.data_type()),
        other => other,
    }
}

fn with_leaf(data_type: &DataType, each: &Expr) -> DataType {
    match data_type {
        DataType::List(item) if matches!(item.data_type(), DataType::List(_)) => {
            let inner = with_leaf(item.data_type(), each);
            DataType::List(Arc::new(Field::new("item", inner, true)))
        }
        _ => list_of(each.ty, each.data_type.clone()),
    }
}

/// An array of one dimension whose elements lie so.
pub(super) fn list_of(element: Ty, data_type: DataType) -> DataType {
    DataType::List(Arc::new(pgtype::field("item", element, data_type)))
}

/// The same values under another type. A constant simply has it.
pub(super) fn relabel(expr: Expr, ty: Ty) -> Expr {
    let (from, to) = (natural(expr.ty.oid), natural(ty.oid));
    let data_type = if from == to { expr.data_type.clone() } else { to };
    relabel_lying(expr, ty, data_type)
}

pub(super) fn relabel_lying(expr: Expr, ty: Ty, data_type: DataType) -> Expr {
    let at = expr.at;
    match expr.kind {
        Kind::Constant(value) if expr.data_type == data_type => Expr::lying(Kind::Constant(value), ty, data_type, at),
        Kind::Constant(value) if value.is_null() => literal::null_lying(ty, data_type, at),
        kind => {
            let of = Expr::lying(kind, expr.ty, expr.data_type, at);
            Expr::lying(Kind::Relabel(Box::new(of)), ty, data_type, at)
        }
    }
}

fn by_text(expr: Expr, target: Ty, context: CastContext) -> Expr {
    let (at, explicit) = (expr.at, context == CastContext::Explicit);
    Expr::new(Kind::ByText { of: Box::new(expr), explicit }, Ty::of(target.oid), at)
}
