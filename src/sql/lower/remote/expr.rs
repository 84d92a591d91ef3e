//! Expressions as SQL. Each is printed so that the source's parser finds the function of the same oid: constants are cast to
//! its arguments' types, texts are compared by bytes.

use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{InList, Like, ScalarFunction};
use datafusion::logical_expr::{BinaryExpr, Case, Cast, Expr, Operator};

use super::super::function::{self, KernelFunction};
use super::super::special::{self, Op};
use super::literal::{list, literal, type_name};
use super::{Compares, Functions, Push, allowed};
use crate::formats::postgres::numeric::Numeric;
use crate::pgtype::{self, Ty, oid};
use crate::sql::image;

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;

/// The key of a column that only holds conditions up.
pub(super) const FENCE: &str = "fence";
/// More constants than this are sent as one array.
const LIST_MAX: usize = 8;

/// An expression as the source has it.
#[derive(Clone, Debug)]
pub(super) struct Out {
    pub(super) sql: String,
    pub(super) ty: Ty,
    /// Here it is not this value but the key of comparison of that name made of it.
    pub(super) key: Option<String>,
    pub(super) compares: Compares,
    /// A column, and nothing made of one.
    pub(super) is_plain: bool,
    /// The call of an aggregate, and nothing made of one.
    pub(super) is_aggregate: bool,
    /// It is surely not NULL.
    pub(super) is_there: bool,
}

impl Out {
    pub(super) fn made(sql: String, ty: Ty) -> Self {
        Self { sql, ty, key: None, compares: Compares::Equality, is_plain: false, is_aggregate: false, is_there: false }
    }

    pub(super) fn is_made(&self) -> bool {
        !self.is_plain
    }

    /// Comparisons of it mean there what they mean here.
    fn is_compared(&self) -> bool {
        self.compares != Compares::Otherwise
            && allowed::is_compared(self.ty)
            && self.key.as_deref().is_none_or(allowed::key)
    }

    /// In GROUP BY and DISTINCT, where equal values are one.
    pub(super) fn grouped(&self) -> Option<String> {
        self.is_compared().then(|| self.sql.clone())
    }

    /// Where the order of values counts.
    pub(super) fn ordered(&self) -> Option<String> {
        self.is_compared().then(|| self.by_bytes())
    }

    fn by_bytes(&self) -> String {
        match allowed::is_text(self.ty) && self.compares != Compares::Bytes {
            true => format!("({}) COLLATE \"C\"", self.sql),
            false => self.sql.clone(),
        }
    }
}

pub(super) struct Scope<'a> {
    pub(super) push: &'a Push<'a>,
    pub(super) source: usize,
    pub(super) functions: &'a Functions,
    pub(super) schema: &'a DFSchema,
    pub(super) columns: &'a [Out],
}

impl Scope<'_> {
    /// As a value: no key of comparison.
    pub(super) fn value(&self, e: &Expr) -> Option<Out> {
        self.expr(e).filter(|out| out.key.is_none() && out.compares != Compares::Otherwise)
    }

    /// A value of this type, where a constant is one of it.
    pub(super) fn typed(&self, e: &Expr, ty: Ty) -> Option<Out> {
        match e {
            Expr::Literal(value, _) => Some(Out { compares: Compares::Bytes, ..Out::made(literal(value, ty)?, ty) }),
            other => self.expr(other).filter(|out| out.compares != Compares::Otherwise),
        }
    }

    pub(super) fn expr(&self, e: &Expr) -> Option<Out> {
        let truth = |sql: String| Some(Out::made(sql, Ty::BOOL));
        let test = |of: &Expr, test: &str| truth(format!("(({}) {test})", self.value(of)?.sql));
        match e {
            Expr::Column(column) => {
                let index = self.schema.index_of_column(column).ok()?;
                self.columns.get(index).cloned()
            }
            Expr::Alias(alias) => self.expr(&alias.expr),
            Expr::Literal(ScalarValue::List(one), _) if one.len() == 1 && is_fence(one) => {
                Some(Out { key: Some(FENCE.into()), ..Out::made("true".into(), Ty::BOOL) })
            }
            Expr::Literal(value, _) => {
                let field = arrow::datatypes::Field::new("", value.data_type(), true);
                // of which type bytes are is said by what they stand beside
                let known = !matches!(value.data_type(), DataType::Binary | DataType::List(_) | DataType::Struct(_));
                let ty = pgtype::of_field(&field).ok().filter(|_| known)?;
                self.typed(e, Ty::of(ty.oid))
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
                Operator::And => truth(format!("({} AND {})", self.value(left)?.sql, self.value(right)?.sql)),
                Operator::Or => truth(format!("({} OR {})", self.value(left)?.sql, self.value(right)?.sql)),
                Operator::Eq => truth(self.compared(left, " = ", right)?),
                Operator::NotEq => truth(self.compared(left, " <> ", right)?),
                Operator::Lt => truth(self.compared(left, " < ", right)?),
                Operator::LtEq => truth(self.compared(left, " <= ", right)?),
                Operator::Gt => truth(self.compared(left, " > ", right)?),
                Operator::GtEq => truth(self.compared(left, " >= ", right)?),
                Operator::IsDistinctFrom => truth(self.compared(left, " IS DISTINCT FROM ", right)?),
                Operator::IsNotDistinctFrom => truth(self.compared(left, " IS NOT DISTINCT FROM ", right)?),
                _ => None,
            },
            Expr::Not(of) => truth(format!("(NOT {})", self.value(of)?.sql)),
            Expr::IsNull(of) => truth(format!("(({}) IS NULL)", self.expr(of)?.sql)),
            Expr::IsNotNull(of) => truth(format!("(({}) IS NOT NULL)", self.expr(of)?.sql)),
            Expr::IsTrue(of) => test(of, "IS TRUE"),
            Expr::IsFalse(of) => test(of, "IS FALSE"),
            Expr::IsUnknown(of) => test(of, "IS UNKNOWN"),
            Expr::IsNotTrue(of) => test(of, "IS NOT TRUE"),
            Expr::IsNotFalse(of) => test(of, "IS NOT FALSE"),
            Expr::IsNotUnknown(of) => test(of, "IS NOT UNKNOWN"),
            Expr::Between(between) => {
                let (from, word, to) = match between.negated {
                    false => (" >= ", "AND", " <= "),
                    true => (" < ", "OR", " > "),
                };
                let low = self.compared(&between.expr, from, &between.low)?;
                let high = self.compared(&between.expr, to, &between.high)?;
                truth(format!("({low} {word} {high})"))
            }
            Expr::InList(InList { expr, list, negated }) => truth(self.in_list(expr, list, *negated)?),
            Expr::Like(Like { negated, expr, pattern, escape_char: None, case_insensitive: false }) => {
                let (of, pattern) = (self.value(expr)?, self.typed(pattern, Ty::TEXT)?);
                let word = if *negated { "NOT LIKE" } else { "LIKE" };
                truth(format!("({} {word} {})", of.by_bytes(), pattern.sql))
            }
            Expr::Case(case) => self.case(case),
            Expr::Cast(cast) => self.cast(cast),
            Expr::ScalarFunction(call) => self.call(call),
            Expr::ScalarSubquery(query) if query.outer_ref_columns.is_empty() => {
                let select = self.push.visit(query.subquery.as_ref().clone()).ok()?.select?;
                let [only] = select.columns.as_slice() else { return None };
                if select.source != self.source || only.key.is_some() {
                    return None;
                }
                self.push.asked.borrow_mut().extend(select.tables.iter().copied());
                let sql = format!("({})", select.text(std::slice::from_ref(&only.sql)));
                Some(Out { sql, is_plain: false, is_aggregate: false, is_there: false, ..only.clone() })
            }
            _ => None,
        }
    }

    /// Two values beside an operator of comparison.
    pub(super) fn compared(&self, left: &Expr, operator: &str, right: &Expr) -> Option<String> {
        let (l, r) = match (left, right) {
            (Expr::Literal(..), Expr::Literal(..)) => return None,
            (Expr::Literal(value, _), other) => {
                let other = self.expr(other)?;
                (constant(value, &other)?, other)
            }
            (other, Expr::Literal(value, _)) => {
                let other = self.expr(other)?;
                let value = constant(value, &other)?;
                (other, value)
            }
            (left, right) => (self.expr(left)?, self.expr(right)?),
        };
        if l.key != r.key || !l.is_compared() || !r.is_compared() {
            return None;
        }
        // an operator of two texts has one collation
        let text = allowed::is_text(l.ty) || allowed::is_text(r.ty);
        let ordered = matches!(operator, " < " | " <= " | " > " | " >= ");
        let of_columns = !matches!(left, Expr::Literal(..)) && !matches!(right, Expr::Literal(..));
        Some(match text && (ordered || of_columns) {
            true => format!("({}{operator}{})", l.by_bytes(), r.by_bytes()),
            false => format!("({}{operator}{})", l.sql, r.sql),
        })
    }

    fn in_list(&self, of: &Expr, items: &[Expr], negated: bool) -> Option<String> {
        let of = self.expr(of).filter(Out::is_compared)?;
        let mut values = vec![];
        for item in items {
            let Expr::Literal(value, _) = item else { return None };
            values.push(of_key(value, of.key.as_deref())?);
        }
        if values.is_empty() {
            return None;
        }
        let (few, word, many) = if negated { ("NOT IN", "<>", "ALL") } else { ("IN", "=", "ANY") };
        if values.len() > LIST_MAX {
            return Some(format!("({} {word} {many} ({}))", of.sql, list(&values, of.ty)?));
        }
        let values = values.iter().map(|value| literal(value, of.ty)).collect::<Option<Vec<_>>>()?;
        Some(format!("({} {few} ({}))", of.sql, values.join(", ")))
    }

    fn case(&self, case: &Case) -> Option<Out> {
        let branches = || case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
        let of_branch = branches().find(|e| !matches!(e.as_ref(), Expr::Literal(..)));
        let ty = match of_branch {
            Some(branch) => self.value(branch)?.ty,
            None => {
                let some = branches().find(|e| !matches!(e.as_ref(), Expr::Literal(v, _) if v.is_null()))?;
                self.value(some)?.ty
            }
        };
        let mut sql = String::from("CASE");
        // its comparisons would be resolved by the source
        if case.expr.is_some() {
            return None;
        }
        for (when, then) in &case.when_then_expr {
            let (when, then) = (self.value(when)?, self.typed(then, ty)?);
            if then.key.is_some() || then.ty.oid != ty.oid {
                return None;
            }
            sql.push_str(&format!(" WHEN {} THEN {}", when.sql, then.by_bytes()));
        }
        if let Some(otherwise) = &case.else_expr {
            let otherwise = self.typed(otherwise, ty)?;
            if otherwise.key.is_some() || otherwise.ty.oid != ty.oid {
                return None;
            }
            sql.push_str(&format!(" ELSE {}", otherwise.by_bytes()));
        }
        sql.push_str(" END");
        Some(Out { compares: bytes_of(ty), ..Out::made(format!("({sql})"), Ty::of(ty.oid)) })
    }

    /// Casts of the engine's own: to a type that holds every value.
    fn cast(&self, cast: &Cast) -> Option<Out> {
        let of = self.value(&cast.expr)?;
        let (ty, is_relabelled) = match (of.ty.oid, cast.field.data_type()) {
            (oid::INT2 | oid::INT4, DataType::Int32) => (Ty::INT4, false),
            (oid::INT2 | oid::INT4 | oid::INT8, DataType::Int64) => (Ty::INT8, false),
            (oid::FLOAT4, DataType::Float32) => (Ty::of(oid::FLOAT4), true),
            (oid::INT2 | oid::INT4 | oid::INT8 | oid::FLOAT4 | oid::FLOAT8, DataType::Float64) => {
                (Ty::of(oid::FLOAT8), false)
            }
            (oid::INT2 | oid::INT4 | oid::INT8, DataType::Decimal128(..) | DataType::Decimal256(..)) => {
                (Ty::NUMERIC, false)
            }
            (oid::NUMERIC, DataType::Decimal128(..) | DataType::Decimal256(..)) => (Ty::NUMERIC, true),
            (_, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) if allowed::is_text(of.ty) => (of.ty, true),
            _ => return None,
        };
        if is_relabelled {
            return Some(Out { ty, ..of });
        }
        Some(Out::made(format!("({})::{}", of.sql, type_name(ty.oid)?), ty))
    }

    fn call(&self, call: &ScalarFunction) -> Option<Out> {
        if let Some(function) = function::of_udf(&call.func) {
            return match function.name().strip_prefix("key/") {
                Some(_) => self.key(function, &call.args),
                None => self.kernel(function, &call.args),
            };
        }
        let special = special::of_udf(&call.func)?;
        let one = || call.args.first().and_then(|e| self.value(e));
        match &special.op {
            Op::Flag => Some(Out::made(format!("({})::int4", one()?.sql), Ty::INT4)),
            Op::Truth => Some(Out::made(format!("({})::bool", one()?.sql), Ty::BOOL)),
            Op::Lie(ty) if ty.oid == oid::NUMERIC => {
                let of = one()?;
                (of.ty.oid == oid::NUMERIC).then_some(of)
            }
            Op::Coalesce => {
                let ty = pgtype::of_field(special.result()).ok()?;
                let all = call.args.iter().map(|e| self.typed(e, ty)).collect::<Option<Vec<_>>>()?;
                let same = all.iter().all(|out| out.key.is_none() && out.ty.oid == ty.oid);
                let all: Vec<String> = all.iter().map(Out::by_bytes).collect();
                let made = Out::made(format!("COALESCE({})", all.join(", ")), Ty::of(ty.oid));
                same.then_some(Out { compares: bytes_of(ty), ..made })
            }
            Op::Distinct { comparison, negated } if comparison.is_native() => {
                let [left, right] = call.args.as_slice() else { return None };
                let word = if *negated { " IS NOT DISTINCT FROM " } else { " IS DISTINCT FROM " };
                Some(Out::made(self.compared(left, word, right)?, Ty::BOOL))
            }
            Op::NullIf(comparison) if comparison.is_native() => {
                let [left, right] = call.args.as_slice() else { return None };
                let of = self.value(left)?;
                let equal = self.compared(left, " = ", right)?;
                let made = Out::made(format!("(CASE WHEN {equal} THEN NULL ELSE {} END)", of.by_bytes()), of.ty);
                Some(Out { compares: bytes_of(of.ty), ..made })
            }
            _ => None,
        }
    }

    /// The value of which the key is made.
    fn key(&self, function: &KernelFunction, arguments: &[Expr]) -> Option<Out> {
        let [of] = arguments else { return None };
        let of = self.value(of)?;
        allowed::key(function.name()).then(|| Out { key: Some(function.name().to_owned()), ..of })
    }

    fn kernel(&self, function: &KernelFunction, arguments: &[Expr]) -> Option<Out> {
        let proc = image::proc(function.oid())?;
        let (types, result) = (function.types(), function.result_type());
        if proc.name != function.name() || !allowed::function(proc, types, result, self.functions) {
            return None;
        }
        if types.len() != arguments.len() || proc.arguments.len() != arguments.len() {
            return None;
        }
        let mut sql = vec![];
        for ((argument, given), declared) in arguments.iter().zip(types).zip(&proc.arguments) {
            let ty = if pgtype::is_polymorphic(*declared) { Ty::of(given.oid) } else { Ty::of(*declared) };
            let out = self.typed(argument, ty).filter(|out| out.key.is_none())?;
            let out = match out.ty.oid == ty.oid {
                true => out,
                false if allowed::is_text(ty) && allowed::is_text(out.ty) => {
                    Out { sql: format!("({})::{}", out.sql, type_name(ty.oid)?), ty, ..out }
                }
                false => return None,
            };
            sql.push(out.by_bytes());
        }
        let made = match (image::operator_of(function.oid()), sql.as_slice()) {
            (Some(operator), [left, right]) if operator.left != 0 => format!("({left} {} {right})", operator.name),
            _ => format!("pg_catalog.\"{}\"({})", proc.name, sql.join(", ")),
        };
        Some(Out { compares: bytes_of(result), ..Out::made(made, Ty::of(result.oid)) })
    }
}

/// Of what was made of values that are compared by bytes.
fn bytes_of(ty: Ty) -> Compares {
    if allowed::is_text(ty) { Compares::Equality } else { Compares::Bytes }
}

/// A constant beside a value, perhaps as that one's key.
fn constant(value: &ScalarValue, beside: &Out) -> Option<Out> {
    let value = of_key(value, beside.key.as_deref())?;
    let ty = match beside.ty.oid {
        oid::VARCHAR => Ty::TEXT,
        other => Ty::of(other),
    };
    let sql = literal(&value, ty)?;
    Some(Out { key: beside.key.clone(), compares: Compares::Bytes, ..Out::made(sql, ty) })
}

/// The value whose key this is.
pub(super) fn of_key(value: &ScalarValue, key: Option<&str>) -> Option<ScalarValue> {
    Some(match (key, value) {
        (None, value) => value.clone(),
        (Some(_), value) if value.is_null() => value.clone(),
        (Some("key/numeric"), ScalarValue::Binary(Some(bytes))) => {
            // the scale, which a key has not
            let bytes = [bytes.as_slice(), &[0x3f, 0xff]].concat();
            let shown = match Numeric::decode(&bytes) {
                Numeric::Finite { digits, scale } => shortest(digits, scale),
                other => other,
            };
            ScalarValue::Binary(Some(shown.encode()))
        }
        (Some("key/bpchar"), value @ ScalarValue::Utf8(_)) => value.clone(),
        _ => return None,
    })
}

/// Without zeros at its end.
fn shortest(digits: num_bigint::BigInt, scale: u32) -> Numeric {
    let (mut digits, mut scale) = (digits, scale);
    let ten = num_bigint::BigInt::from(10);
    while scale > 0 && &digits % &ten == num_bigint::BigInt::ZERO {
        digits /= &ten;
        scale -= 1;
    }
    Numeric::new(digits, scale)
}

fn is_fence(list: &arrow::array::ListArray) -> bool {
    let values = list.value(0);
    values.as_boolean_opt().is_some_and(|flags| flags.len() == 1 && flags.is_valid(0) && flags.value(0))
}
