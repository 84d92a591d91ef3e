//! Bringing operands to one type: constants and attributes take it, columns go only where no value is lost and nothing
//! can fail. It walks no expression; `typing` does.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::{Cast, Placeholder};

use super::literal::{self, Constant, is_integer, is_text, type_name};
use super::typing::Typing;
use super::{LIST, PLACEHOLDER};
use crate::policy::file::object::Mistake;
use crate::policy::file::users::{AttributeType, Scalar};

/// A part of an expression: what has a type, and what takes one.
pub(super) enum Operand {
    Typed(Expr, DataType),
    Constant(Constant),
    Attribute(String, AttributeType),
    Null,
}

/// The operand as an expression of exactly `wanted`.
pub(super) fn settle(operand: Operand, wanted: &DataType, at: usize) -> Typing<Expr> {
    match operand {
        Operand::Typed(expr, kind) if kind == *wanted => Ok(expr),
        Operand::Typed(expr, kind) if is_text(&kind) && is_text(wanted) => Ok(cast(expr, wanted)),
        Operand::Typed(expr, kind) if widens(&kind, wanted) => Ok(cast(expr, wanted)),
        Operand::Typed(_, kind) => {
            Err(Mistake::new(at, format!("this is {}, {} belongs here", type_name(&kind), type_name(wanted))))
        }
        Operand::Constant(constant) => match literal::typed(&constant, wanted) {
            Ok(value) => Ok(Expr::Literal(value, None)),
            Err(what) => Err(Mistake::new(at, what)),
        },
        Operand::Attribute(name, kind) if kind.list => {
            Err(Mistake::new(at, format!("`user.{name}` is a list; write `IN (user.{name})`")))
        }
        Operand::Attribute(name, kind) => placeholder(&name, kind, wanted, at),
        Operand::Null => null(wanted, at),
    }
}

/// Both sides of a comparison, of one type.
pub(super) fn equalize(left: Operand, left_at: usize, right: Operand, right_at: usize) -> Typing<(Expr, Expr)> {
    match (left, right) {
        (Operand::Null, _) => Err(Mistake::new(left_at, "a comparison with NULL is never true; use IS NULL")),
        (_, Operand::Null) => Err(Mistake::new(right_at, "a comparison with NULL is never true; use IS NULL")),
        (Operand::Constant(_), Operand::Constant(_)) => Err(Mistake::new(left_at, "this compares two constants")),
        (Operand::Typed(a, ta), Operand::Typed(b, tb)) => {
            comparable(&ta, left_at)?;
            let common = common_type(&ta, &tb).ok_or_else(|| {
                Mistake::new(left_at, format!("this compares {} with {}", type_name(&ta), type_name(&tb)))
            })?;
            let bring = |e, t: DataType| if t == common { e } else { cast(e, &common) };
            Ok((bring(a, ta), bring(b, tb)))
        }
        (Operand::Typed(expr, kind), other) => {
            comparable(&kind, left_at)?;
            Ok((expr, settle(other, &kind, right_at)?))
        }
        (other, Operand::Typed(expr, kind)) => {
            comparable(&kind, right_at)?;
            Ok((settle(other, &kind, left_at)?, expr))
        }
        (Operand::Attribute(name, kind), other) => {
            let native = native(kind.scalar);
            Ok((settle(Operand::Attribute(name, kind), &native, left_at)?, settle(other, &native, right_at)?))
        }
        (other, Operand::Attribute(name, kind)) => {
            let native = native(kind.scalar);
            Ok((settle(other, &native, left_at)?, settle(Operand::Attribute(name, kind), &native, right_at)?))
        }
    }
}

/// Scalars only: lists, structs and intervals have no order that all sources share.
pub(super) fn comparable(kind: &DataType, at: usize) -> Typing<()> {
    let scalar = |k: &DataType| {
        literal::is_number(k)
            || is_text(k)
            || matches!(
                k,
                DataType::Boolean
                    | DataType::Date32
                    | DataType::Time64(_)
                    | DataType::Timestamp(..)
                    | DataType::FixedSizeBinary(_)
                    | DataType::Binary
                    | DataType::LargeBinary
                    | DataType::BinaryView
            )
    };
    let inner = if let DataType::Dictionary(_, value) = kind { value } else { kind };
    match scalar(inner) {
        true => Ok(()),
        false => Err(Mistake::new(at, format!("{} cannot be compared", type_name(kind)))),
    }
}

/// The type both go to without any value lost and without any that could fail.
fn common_type(a: &DataType, b: &DataType) -> Option<DataType> {
    if a == b {
        return Some(a.clone());
    }
    match (a, b) {
        _ if is_text(a) && is_text(b) => Some(common_text(a, b)),
        _ if widens(a, b) => Some(b.clone()),
        _ if widens(b, a) => Some(a.clone()),
        (DataType::Decimal128(p1, s1), DataType::Decimal128(p2, s2)) => {
            let scale = *s1.max(s2);
            let whole = (i16::from(*p1) - i16::from(*s1)).max(i16::from(*p2) - i16::from(*s2));
            let precision = u8::try_from(whole + i16::from(scale)).ok().filter(|p| *p <= 38)?;
            Some(DataType::Decimal128(precision, scale))
        }
        _ => None,
    }
}

pub(super) fn common_text(a: &DataType, b: &DataType) -> DataType {
    match (a, b) {
        (DataType::LargeUtf8, _) | (_, DataType::LargeUtf8) => DataType::LargeUtf8,
        (DataType::Utf8View, _) | (_, DataType::Utf8View) => DataType::Utf8View,
        _ => DataType::Utf8,
    }
}

/// Every value of `from` is one of `to`.
fn widens(from: &DataType, to: &DataType) -> bool {
    let width = |t: &DataType| match t {
        DataType::Int8 => 1,
        DataType::Int16 => 2,
        DataType::Int32 => 4,
        DataType::UInt32 => 5,
        DataType::Int64 => 8,
        _ => 0,
    };
    let integers =
        is_integer(from) && is_integer(to) && *to != DataType::UInt32 && width(from) > 0 && width(from) < width(to);
    integers || (*from == DataType::Float32 && *to == DataType::Float64)
}

pub(super) fn native(scalar: Scalar) -> DataType {
    match scalar {
        Scalar::Text => DataType::Utf8,
        Scalar::Int8 => DataType::Int64,
        Scalar::Bool => DataType::Boolean,
        Scalar::Date => DataType::Date32,
    }
}

/// An attribute where a value of type `wanted` belongs.
pub(super) fn placeholder(name: &str, kind: AttributeType, wanted: &DataType, at: usize) -> Typing<Expr> {
    let inner = if let DataType::Dictionary(_, value) = wanted { value } else { wanted };
    let fits = match kind.scalar {
        Scalar::Text => is_text(inner),
        Scalar::Int8 => is_integer(inner) || matches!(inner, DataType::Decimal128(..) | DataType::Decimal256(..)),
        Scalar::Bool => *inner == DataType::Boolean,
        Scalar::Date => *inner == DataType::Date32,
    };
    if !fits {
        let what = format!("`user.{name}` is {}, {} belongs here", kind.name(), type_name(wanted));
        return Err(Mistake::new(at, what));
    }
    let id = format!("{PLACEHOLDER}{name}{}", if kind.list { LIST } else { "" });
    let field = Arc::new(Field::new(name, wanted.clone(), true));
    Ok(Expr::Placeholder(Placeholder::new_with_field(id, Some(field))))
}

pub(super) fn null(wanted: &DataType, at: usize) -> Typing<Expr> {
    match ScalarValue::try_from(wanted) {
        Ok(value) => Ok(Expr::Literal(value, None)),
        Err(_) => Err(Mistake::new(at, format!("there is no NULL of type {}", type_name(wanted)))),
    }
}

fn cast(expr: Expr, to: &DataType) -> Expr {
    Expr::Cast(Cast::new(Box::new(expr), to.clone()))
}
