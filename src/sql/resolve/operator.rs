//! Which operator a name stands for between two types: parse_oper.c. What it computes is its function's.

use super::candidate::{self, Candidate, Choice};
use super::{Context, call, cast, polymorphic, types};
use crate::error::{Error, Kind as Failure, Result};
use crate::pgtype::{self, Ty, oid};
use crate::sql::expr::{Expr, Kind};
use crate::sql::image::{self, CastContext, Operator, Schema};

pub(crate) use super::order::{equality, less};

/// `left name right`; `at` is the operator's place.
pub(crate) fn binary(cx: Context<'_>, name: &str, left: Expr, right: Expr, at: usize) -> Result<Expr> {
    let (operator, left, right, ty) = pair(cx, name, left, right, at)?;
    Ok(call(operator.proc, vec![left, right], ty, false, at))
}

/// The operator of `left name right`, its operands converted, and its result's type: for constructs that are more than a
/// call (IS DISTINCT FROM, NULLIF).
pub(crate) fn pair(
    cx: Context<'_>,
    name: &str,
    left: Expr,
    right: Expr,
    at: usize,
) -> Result<(&'static Operator, Expr, Expr, Ty)> {
    let given = [left.ty.oid, right.ty.oid];
    let operator = find(cx, name, given[0], given[1], at)?;
    let mut declared = [operator.left, operator.right];
    let ty = result(&given, &mut declared, operator)?;
    let left = cast::convert(cx, left, Ty::of(declared[0]), CastContext::Implicit)?;
    let right = cast::convert(cx, right, Ty::of(declared[1]), CastContext::Implicit)?;
    Ok((operator, left, right, ty))
}

/// `name operand`.
pub(crate) fn prefix(cx: Context<'_>, name: &str, operand: Expr, at: usize) -> Result<Expr> {
    let given = operand.ty.oid;
    let all = || named(cx, name).filter(|o| o.left == 0);
    let operator = match all().find(|o| o.right == given) {
        Some(exact) => exact,
        None => match candidate::choose(&[given], all().map(Unary).collect()) {
            Choice::One(Unary(operator)) => operator,
            Choice::Several => return Err(ambiguous(name, None, given, at)),
            Choice::None => return Err(undefined(name, None, given, at)),
        },
    };
    let mut declared = [operator.right];
    let ty = result(&[given], &mut declared, operator)?;
    let operand = cast::convert(cx, operand, Ty::of(declared[0]), CastContext::Implicit)?;
    Ok(call(operator.proc, vec![operand], ty, false, at))
}

/// Every operator that can be written so: by itself, or `public.` and it.
fn named(cx: Context<'_>, name: &str) -> impl Iterator<Item = &'static Operator> {
    let (catalog, public, name) = match name.strip_prefix("public.") {
        Some(name) => (false, true, name),
        None => (true, cx.env.public_on_path, name),
    };
    image::operators(name).iter().filter(move |operator| match operator.proc.schema {
        Schema::Catalog => catalog,
        Schema::Public => public,
        Schema::Information => false,
    })
}

/// The binary operator between these types (`oper`).
pub(crate) fn find(cx: Context<'_>, name: &str, left: u32, right: u32, at: usize) -> Result<&'static Operator> {
    let all = || named(cx, name).filter(|o| o.left != 0);
    let exact = |left: u32, right: u32| all().find(|o| o.left == left && o.right == right);
    // an untyped literal is first taken for the other side's type
    let found = match (left, right) {
        (oid::UNKNOWN, known) | (known, oid::UNKNOWN) => {
            let base = pgtype::base(known);
            exact(known, known).or_else(|| if base != known { exact(base, base) } else { None })
        }
        _ => exact(left, right),
    };
    if let Some(found) = found {
        return Ok(found);
    }
    match candidate::choose(&[left, right], all().map(Binary::of).collect()) {
        Choice::One(best) => Ok(best.operator),
        Choice::Several => Err(ambiguous(name, Some(left), right, at)),
        Choice::None => Err(undefined(name, Some(left), right, at)),
    }
}

/// `left name ANY (array)`, or ALL (`make_scalar_array_op`).
pub(crate) fn any_of(cx: Context<'_>, name: &str, left: Expr, array: Expr, all: bool, at: usize) -> Result<Expr> {
    let wrong = |text: &str| Error::new(Failure::WrongObjectType, text).at(at);
    let given_array = array.ty.oid;
    let element = match given_array {
        oid::UNKNOWN => oid::UNKNOWN,
        other => types::element(other).ok_or_else(|| wrong("op ANY/ALL (array) requires array on right side"))?,
    };
    let given = [left.ty.oid, element];
    let operator = find(cx, name, given[0], given[1], at)?;
    let mut declared = [operator.left, operator.right];
    let ty = result(&given, &mut declared, operator)?;
    if ty != Ty::BOOL {
        return Err(wrong("op ANY/ALL (array) requires operator to yield boolean"));
    }
    if operator.proc.set {
        return Err(wrong("op ANY/ALL (array) requires operator not to return a set"));
    }
    // a polymorphic operator takes the array as it is
    let wanted = match pgtype::is_polymorphic(declared[1]) {
        true => given_array,
        false => polymorphic::array_of(declared[1]).map_err(|e| e.at(at))?,
    };
    let left = cast::convert(cx, left, Ty::of(declared[0]), CastContext::Implicit)?;
    let array = cast::convert(cx, array, Ty::of(wanted), CastContext::Implicit)?;
    let kind = Kind::AnyOf { operator, left: Box::new(left), array: Box::new(array), all };
    Ok(Expr::boolean(kind, at))
}

fn result(given: &[u32], declared: &mut [u32], operator: &Operator) -> Result<Ty> {
    if !declared.iter().any(|oid| pgtype::is_polymorphic(*oid)) {
        return Ok(Ty::of(operator.result));
    }
    polymorphic::solve(given, declared)?.of(operator.result).map(Ty::of)
}

struct Binary {
    operator: &'static Operator,
    arguments: [u32; 2],
}

impl Binary {
    fn of(operator: &'static Operator) -> Self {
        Self { operator, arguments: [operator.left, operator.right] }
    }
}

impl Candidate for Binary {
    fn arguments(&self) -> &[u32] {
        &self.arguments
    }
}

struct Unary(&'static Operator);

impl Candidate for Unary {
    fn arguments(&self) -> &[u32] {
        std::slice::from_ref(&self.0.right)
    }
}

fn signature(name: &str, left: Option<u32>, right: u32) -> String {
    let left = left.map_or(String::new(), |left| format!("{} ", pgtype::name(left)));
    format!("{left}{name} {}", pgtype::name(right))
}

fn ambiguous(name: &str, left: Option<u32>, right: u32, at: usize) -> Error {
    let text = format!("operator is not unique: {}", signature(name, left, right));
    let hint = "Could not choose a best candidate operator. You might need to add explicit type casts.";
    Error::new(Failure::AmbiguousFunction, text).with_hint(hint).at(at)
}

fn undefined(name: &str, left: Option<u32>, right: u32, at: usize) -> Error {
    let text = format!("operator does not exist: {}", signature(name, left, right));
    let hint = match left {
        Some(_) => "No operator matches the given name and argument types. You might need to add explicit type casts.",
        None => "No operator matches the given name and argument type. You might need to add an explicit type cast.",
    };
    Error::new(Failure::UndefinedFunction, text).with_hint(hint).at(at)
}
