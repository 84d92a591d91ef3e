//! Bringing operands to one type: constants and attributes take it, columns go only where no value is lost and nothing
//! can fail. Which operator or cast that is, `sql` resolves; here it is asked whether every kernel on the way is total.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::kept::Kept;
use super::literal::{self, Constant};
use super::{LIST, PLACEHOLDER};
use crate::pgtype::{Ty, oid};
use crate::policy::file::object::Mistake;
use crate::policy::file::users::{AttributeType, Scalar};
use crate::sql::expr::{Expr, Kind};
use crate::sql::functions;
use crate::sql::image::Operator;
use crate::sql::resolve::{Context, cast, operator};

pub(super) type Typing<T> = Result<T, Mistake>;

/// A part of an expression: what has a type, and what takes one.
#[derive(Clone)]
pub(super) enum Operand {
    Typed(Expr, Kept),
    Constant(Constant),
    Attribute(String, AttributeType),
    Null,
}

/// The attributes of one expression, each place of one as the parameter of that number.
pub(super) struct Settler<'a> {
    pub(super) cx: Context<'a>,
    pub(super) attributes: Vec<Meant>,
}

/// What stands for a parameter until a session's values are known.
pub(super) struct Meant {
    pub(super) id: String,
    pub(super) kept: Kept,
}

impl Settler<'_> {
    /// The operand as an expression of exactly `wanted`.
    pub(super) fn settle(&mut self, operand: Operand, wanted: &Kept, at: usize) -> Typing<Expr> {
        match operand {
            Operand::Typed(expr, kept) if kept.is_same(wanted) => Ok(expr),
            Operand::Typed(expr, kept) => {
                let widened = match kept.is_text() && wanted.is_text() {
                    true => self.text(expr.clone()),
                    false => widens(&kept, wanted).then(|| self.converted(expr.clone(), wanted.ty)).flatten(),
                };
                widened
                    .ok_or_else(|| Mistake::new(at, format!("this is {}, {} belongs here", kept.word(), wanted.word())))
            }
            Operand::Constant(constant) => match literal::typed(&constant, wanted) {
                Ok(value) => Ok(Expr::lying(Kind::Constant(value), wanted.ty, wanted.data_type.clone(), at)),
                Err(what) => Err(Mistake::new(at, what)),
            },
            Operand::Attribute(name, kind) if kind.list => {
                Err(Mistake::new(at, format!("`user.{name}` is a list; write `IN (user.{name})`")))
            }
            Operand::Attribute(name, kind) => self.attribute(&name, kind, wanted, at),
            Operand::Null => null(wanted, at),
        }
    }

    /// `left name right`, both sides brought to what the operator compares.
    pub(super) fn compare(
        &mut self,
        name: &str,
        (left, left_at): (Operand, usize),
        (right, right_at): (Operand, usize),
    ) -> Typing<Expr> {
        let (operator, left, right) = self.pair(name, (left, left_at), (right, right_at))?;
        Ok(call_of(operator, left, right))
    }

    /// The operator of a comparison and its operands.
    pub(super) fn pair(
        &mut self,
        name: &str,
        (left, left_at): (Operand, usize),
        (right, right_at): (Operand, usize),
    ) -> Typing<(&'static Operator, Expr, Expr)> {
        let never = |at| Mistake::new(at, "a comparison with NULL is never true; use IS NULL");
        let (left, right) = match (left, right) {
            (Operand::Null, _) => return Err(never(left_at)),
            (_, Operand::Null) => return Err(never(right_at)),
            (Operand::Constant(_), Operand::Constant(_)) => {
                return Err(Mistake::new(left_at, "this compares two constants"));
            }
            (Operand::Typed(a, ka), Operand::Typed(b, kb)) => {
                comparable(&ka, left_at)?;
                let unlike = || Mistake::new(left_at, format!("this compares {} with {}", ka.word(), kb.word()));
                return self.total_pair(name, a, b).ok_or_else(unlike);
            }
            (Operand::Typed(expr, kept), other) => {
                comparable(&kept, left_at)?;
                (expr, self.settle(other, &kept, right_at)?)
            }
            (other, Operand::Typed(expr, kept)) => {
                comparable(&kept, right_at)?;
                (self.settle(other, &kept, left_at)?, expr)
            }
            (Operand::Attribute(name, kind), other) => {
                let native = native(kind.scalar);
                let left = self.settle(Operand::Attribute(name, kind), &native, left_at)?;
                (left, self.settle(other, &native, right_at)?)
            }
            (other, Operand::Attribute(name, kind)) => {
                let native = native(kind.scalar);
                let left = self.settle(other, &native, left_at)?;
                (left, self.settle(Operand::Attribute(name, kind), &native, right_at)?)
            }
        };
        let word = |e: &Expr| Kept::of(e.ty, e.data_type.clone()).word();
        let words = (word(&left), word(&right));
        let unlike = || Mistake::new(left_at, format!("this compares {} with {}", words.0, words.1));
        self.total_pair(name, left, right).ok_or_else(unlike)
    }

    /// `None` where there is no such operator, or where a kernel of it can fail.
    fn total_pair(&self, name: &str, left: Expr, right: Expr) -> Option<(&'static Operator, Expr, Expr)> {
        let given = (left.clone(), right.clone());
        let (operator, left, right, _) = operator::pair(self.cx, name, left, right, 0).ok()?;
        let total = is_total(operator) && converts_totally(&left, &given.0) && converts_totally(&right, &given.1);
        total.then_some((operator, left, right))
    }

    /// As `text`, without the blanks of a `character(n)`.
    pub(super) fn text(&self, expr: Expr) -> Option<Expr> {
        match expr.ty.oid {
            oid::BPCHAR | oid::CHAR => self.converted(expr, Ty::TEXT),
            _ => Some(Expr { ty: Ty::TEXT, ..expr }),
        }
    }

    fn converted(&self, expr: Expr, ty: Ty) -> Option<Expr> {
        let given = expr.clone();
        let converted = cast::implicit(self.cx, expr, Ty::of(ty.oid)).ok()?;
        converts_totally(&converted, &given).then_some(converted)
    }

    /// An attribute where a value of type `wanted` belongs.
    pub(super) fn attribute(&mut self, name: &str, kind: AttributeType, wanted: &Kept, at: usize) -> Typing<Expr> {
        let fits = match kind.scalar {
            Scalar::Text => wanted.is_text(),
            Scalar::Int8 => wanted.is_integer() || wanted.is_decimal(),
            Scalar::Bool => wanted.ty.oid == oid::BOOL,
            Scalar::Date => wanted.ty.oid == oid::DATE,
        };
        if !fits {
            let what = format!("`user.{name}` is {}, {} belongs here", kind.name(), wanted.word());
            return Err(Mistake::new(at, what));
        }
        let id = format!("{PLACEHOLDER}{name}{}", if kind.list { LIST } else { "" });
        self.attributes.push(Meant { id, kept: wanted.clone() });
        let parameter = Kind::Parameter(self.attributes.len());
        Ok(Expr::lying(parameter, wanted.ty, wanted.data_type.clone(), at))
    }
}

fn call_of(operator: &'static Operator, left: Expr, right: Expr) -> Expr {
    let call = crate::sql::expr::Call { proc: operator.proc, arguments: vec![left, right], variadic: false };
    Expr::boolean(Kind::Call(call), 0)
}

/// Booleans are compared by no kernel at all.
fn is_total(operator: &Operator) -> bool {
    functions::is_total(&operator.proc.source) || (operator.left == oid::BOOL && operator.right == oid::BOOL)
}

/// Nothing lies between the two that can fail.
fn converts_totally(converted: &Expr, given: &Expr) -> bool {
    if converted == given {
        return true;
    }
    match &converted.kind {
        Kind::Relabel(of) => converts_totally(of, given),
        Kind::Call(call) => match call.arguments.as_slice() {
            [of] => functions::is_total(&call.proc.source) && converts_totally(of, given),
            _ => false,
        },
        // a NULL or a constant that was converted at once
        Kind::Constant(_) => matches!(given.kind, Kind::Constant(_)),
        Kind::Parameter(n) => matches!(given.kind, Kind::Parameter(m) if m == *n),
        _ => false,
    }
}

/// Scalars only: lists, records and intervals have no order that all sources share.
pub(super) fn comparable(kept: &Kept, at: usize) -> Typing<()> {
    match kept.is_comparable() {
        true => Ok(()),
        false => Err(Mistake::new(at, format!("{} cannot be compared", kept.word()))),
    }
}

/// Every value of `from` is one of `to`.
fn widens(from: &Kept, to: &Kept) -> bool {
    let width = |oid: u32| match oid {
        oid::INT2 => 2,
        oid::INT4 => 4,
        oid::INT8 => 8,
        _ => 0,
    };
    let (from, to) = (from.ty.oid, to.ty.oid);
    (width(from) > 0 && width(from) < width(to)) || (from == oid::FLOAT4 && to == oid::FLOAT8)
}

pub(super) fn native(scalar: Scalar) -> Kept {
    let (ty, data_type) = match scalar {
        Scalar::Text => (Ty::TEXT, DataType::Utf8),
        Scalar::Int8 => (Ty::INT8, DataType::Int64),
        Scalar::Bool => (Ty::BOOL, DataType::Boolean),
        Scalar::Date => (Ty::of(oid::DATE), DataType::Date32),
    };
    Kept { ty, raw: data_type.clone(), data_type }
}

pub(super) fn null(wanted: &Kept, at: usize) -> Typing<Expr> {
    match ScalarValue::try_from(&wanted.data_type) {
        Ok(value) => Ok(Expr::lying(Kind::Constant(value), wanted.ty, wanted.data_type.clone(), at)),
        Err(_) => Err(Mistake::new(at, format!("there is no NULL of type {}", wanted.word()))),
    }
}
