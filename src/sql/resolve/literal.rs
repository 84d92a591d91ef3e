//! An untyped literal becomes a constant of the type that its place wants: the type's input function is run at once, as
//! PostgreSQL's parser does. What no input function of ours can read is left to be read by text.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, StringArray, UInt32Array};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::{Context, natural, types};
use crate::error::{Error, Kind as Failure, Result};
use crate::formats::postgres::{Shape, input};
use crate::pgtype::{self, Ty, oid};
use crate::sql::expr::{Expr, Kind};
use crate::sql::functions;
use crate::sql::image::{self, CastContext};
use crate::sql::kernel::{Arg, Call};
use crate::sql::numeric::Numeric;

/// The typed constant; the expression itself, as the inner `Err`, where it is no literal.
pub(super) fn read(cx: Context<'_>, expr: Expr, target: Ty, context: CastContext) -> Result<Result<Expr, Expr>> {
    let at = expr.at;
    let text = match expr.kind {
        Kind::Unknown(text) => text,
        Kind::Constant(ScalarValue::Utf8(Some(text))) => text,
        Kind::Constant(value) if value.is_null() => {
            refuse_pseudo(target.oid, None).map_err(|e| e.at(at))?;
            return Ok(Ok(null(Ty::of(target.oid), at)));
        }
        _ => return Ok(Err(expr)),
    };
    let base = pgtype::base(target.oid);
    if types::names_an_object(base) {
        let of = Box::new(Expr::constant(ScalarValue::Utf8(Some(text)), Ty::TEXT, at));
        let explicit = context == CastContext::Explicit;
        return Ok(Ok(Expr::new(Kind::ByText { of, explicit }, Ty::of(target.oid), at)));
    }
    let (value, typmod) = value(cx, base, &text, target.typmod).map_err(|e| e.at(at))?;
    Ok(Ok(Expr::constant(value, Ty { oid: target.oid, typmod }, at)))
}

/// A NULL of that type.
pub(super) fn null(ty: Ty, at: usize) -> Expr {
    null_lying(ty, natural(ty.oid), at)
}

pub(super) fn null_lying(ty: Ty, data_type: DataType, at: usize) -> Expr {
    // Arrow makes a NULL of every type that an expression lies in
    let value = ScalarValue::try_from(&data_type).unwrap_or(ScalarValue::Null);
    Expr::lying(Kind::Constant(value), ty, data_type, at)
}

/// A literal stays of type unknown where a function takes anything; it is text to what computes it.
pub(super) fn settled_as_unknown(expr: Expr) -> Expr {
    match expr.kind {
        Kind::Unknown(text) => Expr::constant(ScalarValue::Utf8(Some(text)), expr.ty, expr.at),
        _ => expr,
    }
}

/// The value, and the modifier that it has already. Only an interval's input function heeds one (`coerce_type`): the
/// fields in `interval '1' year` decide what 1 means.
fn value(cx: Context<'_>, type_oid: u32, text: &str, typmod: i32) -> Result<(ScalarValue, i32)> {
    if type_oid == oid::NUMERIC {
        return Ok((numeric(Numeric::parse(text)?), -1));
    }
    let row = pgtype::functions(type_oid);
    refuse_pseudo(type_oid, Some(text))?;
    let Some(kernel) = row.and_then(|row| functions::kernel(row.input)) else {
        refuse_unread(type_oid, text)?;
        return Ok((input::value(type_oid, text, &cx.env.style())?, -1));
    };
    let typmod = if type_oid == oid::INTERVAL { typmod } else { -1 };
    let one = |array: ArrayRef| Arg::constant(array);
    let parameter = pgtype::element(type_oid).unwrap_or(type_oid);
    let args = [
        one(Arc::new(StringArray::from(vec![text]))),
        one(Arc::new(UInt32Array::from(vec![parameter]))),
        one(Arc::new(Int32Array::from(vec![typmod]))),
    ];
    let types = [Ty::of(oid::CSTRING), Ty::of(oid::OID), Ty::INT4];
    let ty = Ty::of(type_oid);
    let mut data_type = natural(type_oid);
    if pgtype::element(type_oid).is_some() {
        for _ in 1..functions::array::dimensions(text, type_oid) {
            data_type = DataType::List(Arc::new(pgtype::field("item", ty, data_type)));
        }
    }
    let result = pgtype::field("", ty, data_type);
    let call = Call { args: &args, types: &types, rows: 1, result: &result, result_type: ty, env: cx.env };
    let array = kernel(&call)?;
    Ok((crate::sql::kernel::scalar(&array, 0)?, typmod))
}

/// Lying as its digits say, if Arrow has a decimal for them: a column can then be compared with it as it lies.
pub(crate) fn numeric(value: Numeric) -> ScalarValue {
    const SMALL_MAX: usize = 38;
    let small = || {
        let Numeric::Finite { digits, scale } = &value else { return None };
        let scale = u8::try_from(*scale).ok()?;
        let whole = digits.magnitude().to_string().len();
        let precision = whole.max(usize::from(scale)).max(1);
        let signed = i8::try_from(scale).ok()?;
        let number = value.to_i128(signed)?;
        (precision <= SMALL_MAX)
            .then(|| Some(ScalarValue::Decimal128(Some(number), u8::try_from(precision).ok()?, signed)))?
    };
    small().unwrap_or_else(|| ScalarValue::Binary(Some(value.encode())))
}

/// What lies as text in its type's own spelling, or may be no xml, would be kept as it was written: another value than PostgreSQL reads.
fn refuse_unread(type_oid: u32, text: &str) -> Result<()> {
    // without markup it is content, whatever it says
    let is_plain = |c: char| !matches!(c, '<' | '&' | ']') && (c >= ' ' || matches!(c, '\t' | '\n' | '\r'));
    let is_plain = |text: &str| text.chars().all(is_plain) && !text.contains(['\u{fffe}', '\u{ffff}']);
    match Ty::of(type_oid).row() {
        Some(row) if row.kind != 'p' && (row.shape == Shape::Spelt || (type_oid == oid::XML && !is_plain(text))) => {
            Err(Error::new(Failure::Unsupported, format!("input of type {} is not supported", pgtype::name(type_oid))))
        }
        _ => Ok(()),
    }
}

/// Types that no literal can have; some of their input functions do not even take a NULL.
fn refuse_pseudo(type_oid: u32, text: Option<&str>) -> Result<()> {
    // what only the server makes is refused as pseudo-types are
    let is_pseudo = Ty::of(type_oid).row().is_some_and(|row| row.kind == 'p' || row.name == "pg_node_tree");
    let input = pgtype::functions(type_oid).and_then(|row| image::procs(row.input).first());
    let is_called = text.is_some() || input.is_some_and(|proc| !proc.strict);
    match type_oid {
        oid::CSTRING | oid::VOID | oid::UNKNOWN => Ok(()),
        _ if !is_pseudo || !is_called => Ok(()),
        oid::RECORD => Err(Error::new(Failure::Unsupported, "input of anonymous composite types is not implemented")),
        _ => {
            let text = format!("cannot accept a value of type {}", pgtype::name(type_oid));
            Err(Error::new(Failure::Unsupported, text))
        }
    }
}
