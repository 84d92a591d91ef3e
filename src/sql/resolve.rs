//! Which function an operator, a name or a cast is: chapter 10 of PostgreSQL's documentation, parse_oper.c, parse_func.c
//! (`func_select_candidate`) and parse_coerce.c, over the rows of `image`. It knows no scope.
//!
//! `operator` and `function` choose, among `candidate`s · `cast` converts, `literal` reads untyped literals · `common` finds
//! one type for several expressions · `polymorphic` solves anyelement and its kin · `order` which `=`, `<`, `>` a type has ·
//! `types` what pg_type says of a type's family.

mod candidate;
pub(crate) mod cast;
pub(crate) mod common;
pub(crate) mod function;
mod literal;
pub(crate) mod operator;
mod order;
mod polymorphic;
#[cfg(test)]
mod tests;
mod types;

use std::cell::RefCell;

use arrow::array::Array;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::expr::{self, Call, Expr};
use super::functions;
use super::image::Proc;
use super::kernel::Env;
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::input::DIMENSIONS_MAX;
use crate::pgtype::{self, Ty};

/// What coercion may look at and decide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) env: &'a Env,
    pub(crate) parameters: &'a Parameters,
}

/// Types of `$1 …`: declared by the client, else given by the first place that needs one.
#[derive(Debug, Default)]
pub(crate) struct Parameters(RefCell<Vec<Option<Ty>>>);

impl Parameters {
    pub(crate) fn declared(types: Vec<Option<Ty>>) -> Self {
        Self(RefCell::new(types))
    }

    /// `None`: nothing has typed it yet. Numbers count from 1.
    pub(crate) fn get(&self, number: usize) -> Option<Ty> {
        self.0.borrow().get(number.wrapping_sub(1)).copied().flatten()
    }

    /// The parameter stands in the statement.
    pub(crate) fn meet(&self, number: usize) {
        let mut types = self.0.borrow_mut();
        if types.len() < number {
            types.resize(number, None);
        }
    }

    /// 42P08 where another place gave another type.
    pub(crate) fn settle(&self, number: usize, ty: Ty, at: usize) -> Result<()> {
        self.meet(number);
        let mut types = self.0.borrow_mut();
        let slot = number.checked_sub(1).and_then(|i| types.get_mut(i));
        let slot = slot.ok_or_else(|| Error::internal("parameter zero"))?;
        match slot {
            Some(known) if known.oid != ty.oid => {
                let text = format!("inconsistent types deduced for parameter ${number}");
                let detail = format!("{} versus {}", known.name(), ty.name());
                Err(Error::new(Kind::AmbiguousParameter, text).with_detail(detail).at(at))
            }
            Some(_) => Ok(()),
            None => {
                *slot = Some(Ty::of(ty.oid));
                Ok(())
            }
        }
    }

    pub(crate) fn all(&self) -> Vec<Option<Ty>> {
        self.0.borrow().clone()
    }
}

/// The call of a function whose arguments already fit; its type is what the caller solved.
pub(crate) fn call(proc: &'static Proc, arguments: Vec<Expr>, ty: Ty, variadic: bool, at: usize) -> Expr {
    let data_type = lies(proc, &arguments, ty);
    Expr::lying(expr::Kind::Call(Call { proc, arguments, variadic }), ty, data_type, at)
}

/// How the result of a call lies.
fn lies(proc: &Proc, arguments: &[Expr], ty: Ty) -> DataType {
    let given: Vec<(Ty, DataType)> = arguments.iter().map(|a| (a.ty, a.data_type.clone())).collect();
    let lying = functions::lies_as(proc, &given, ty).unwrap_or_else(|| natural(ty.oid));
    if !matches!(proc.source.as_str(), "array_fill" | "array_fill_with_lower_bounds") {
        return lying;
    }
    // as many dimensions as sizes are written
    let dimensions = arguments.get(1).and_then(elements).map_or(1, |sizes| sizes.min(DIMENSIONS_MAX));
    (1..dimensions).fold(lying, |inner, _| DataType::List(pgtype::field("item", ty, inner).into()))
}

/// How many elements an array has that is written out.
fn elements(array: &Expr) -> Option<usize> {
    match &array.kind {
        expr::Kind::Array(elements) => Some(elements.len()),
        expr::Kind::Constant(ScalarValue::List(list)) => Some(list.values().len()),
        _ => None,
    }
}

/// How values of a type lie where nothing more is known of them.
fn natural(type_oid: u32) -> DataType {
    pgtype::arrow(type_oid).unwrap_or(DataType::Utf8)
}

/// The leftmost place of an expression (`exprLocation`): an operator's own place is behind its left operand.
pub(crate) fn place(expr: &Expr) -> usize {
    use expr::Kind as K;
    let first = |operands: Vec<&Expr>| {
        let places = operands.into_iter().map(place).chain([expr.at]);
        places.filter(|at| *at != 0).min().unwrap_or(0)
    };
    match &expr.kind {
        K::Call(_)
        | K::And(_)
        | K::Or(_)
        | K::Not(_)
        | K::IsNull { .. }
        | K::Is { .. }
        | K::Distinct { .. }
        | K::AnyOf { .. }
        | K::NullIf { .. }
        | K::Relabel(_)
        | K::ByText { .. } => first(expr.children()),
        K::EachElement { of, .. } | K::Subscript { of, .. } | K::Slice { of, .. } | K::Field { of, .. } => {
            first(vec![of])
        }
        K::Subquery { .. } => first(expr.children()),
        K::Unknown(_)
        | K::Constant(_)
        | K::Parameter(_)
        | K::Column(_)
        | K::Case { .. }
        | K::Coalesce(_)
        | K::Extreme { .. }
        | K::Array(_)
        | K::Row(_)
        | K::Aggregate(_)
        | K::Window(_)
        | K::Grouping { .. } => expr.at,
    }
}
