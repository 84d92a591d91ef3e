//! What is constant in a query is computed before the query is planned, as PostgreSQL's planner does it
//! (`eval_const_expressions` of clauses.c): immutable functions of constants, strict functions of a NULL, and the branches
//! of AND, OR, CASE and COALESCE that constants leave or rule out. So a constant that cannot be computed fails the
//! statement although no row asks for it, and a branch that is ruled out fails nothing. It computes nothing that depends on
//! a session's catalog or clock.

use std::cell::RefCell;
use std::collections::HashMap;
use std::mem::take;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Volatility;

use super::expr::{Bound, Call, ColumnId, Expr, Kind, SubqueryKind};
use super::image::{self, Operator, Proc};
use super::kernel::{self, Arg, Env};
use super::query::{Body, Distinct, Join, JoinKind, Query, Relation, Select};
use super::{functions, lower};
use crate::error::Result;
use crate::pgtype::{self, Ty, oid};

/// Whether every column that comes out is looked at. PostgreSQL forgets a column of a subquery that nobody reads before it
/// computes the constants in it, so one that fails is left for whoever does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outputs {
    Read,
    PerhapsRead,
}

/// The same query with its constants computed.
pub(crate) fn folded(query: Query, env: &Env) -> Result<Query> {
    let mut query = query;
    let fold = Fold { env, clock: false, known: RefCell::default() };
    fold.query(&mut query, Outputs::Read)?;
    // a branch that is left alone says more of its type than all of them together
    if let Body::Select(select) = &mut query.body {
        let alone = query.order.is_empty() && select.distinct == Distinct::None;
        for target in select.targets.iter_mut().filter(|target| target.column.ty.oid == target.expr.ty.oid) {
            let more = target.expr.ty.typmod;
            if alone && let Some(lying) = narrower(&target.expr) {
                let expr = target.expr.clone();
                target.expr = Expr::lying(Kind::Relabel(Box::new(expr)), target.expr.ty, lying.clone(), target.expr.at);
                target.column.data_type = lying.clone();
                if let Some(shown) = query.columns.iter_mut().find(|column| column.id == target.column.id) {
                    shown.data_type = lying;
                }
            }
            target.column.ty.typmod = more;
            if let Some(shown) = query.columns.iter_mut().find(|column| column.id == target.column.id) {
                shown.ty.typmod = more;
            }
        }
    }
    Ok(query)
}

/// One expression, in which the clock of `env` counts as a constant: it is computed now and never again.
pub(crate) fn with_clock(expr: Expr, env: &Env) -> Result<Expr> {
    let mut expr = expr;
    Fold { env, clock: true, known: RefCell::default() }.expr(&mut expr)?;
    Ok(expr)
}

/// One expression, as far as it is the same in every row and at any time.
pub(crate) fn one(expr: Expr, env: &Env) -> Result<Expr> {
    let mut expr = expr;
    Fold { env, clock: false, known: RefCell::default() }.expr(&mut expr)?;
    Ok(expr)
}

struct Fold<'a> {
    env: &'a Env,
    /// What is stable within a statement is computed too.
    clock: bool,
    /// Columns of subqueries that are the same constant in every row.
    known: RefCell<HashMap<ColumnId, Expr>>,
}

impl Fold<'_> {
    fn query(&self, query: &mut Query, outputs: Outputs) -> Result<()> {
        for cte in query.ctes.iter_mut().filter(|cte| cte.references > 0) {
            self.query(&mut cte.query, Outputs::PerhapsRead)?;
            if let Some(recursive) = &mut cte.recursive {
                self.query(&mut recursive.step, Outputs::PerhapsRead)?;
            }
        }
        // under several sets of groups an expression that equals a grouped one is not always its value
        let by_sets = match &mut query.body {
            Body::Select(select) => {
                self.select(select, outputs)?;
                has_sets(select)
            }
            Body::Values { rows, .. } => {
                rows.iter_mut().flatten().try_for_each(|e| self.expr(e))?;
                false
            }
            Body::SetOperation { left, right, .. } => {
                self.query(left, outputs)?;
                self.query(right, outputs)?;
                false
            }
        };
        if !by_sets {
            query.order.iter_mut().try_for_each(|sort| self.output(&mut sort.by, outputs))?;
        }
        query.limit.iter_mut().chain(&mut query.offset).try_for_each(|e| self.expr(e))
    }

    fn select(&self, select: &mut Select, outputs: Outputs) -> Result<()> {
        if let Some(from) = &mut select.from {
            self.relation(from, false)?;
        }
        select.filter.iter_mut().try_for_each(|e| self.expr(e))?;
        if has_sets(select) {
            return Ok(());
        }
        if let Some(groups) = &mut select.groups {
            groups.by.iter_mut().try_for_each(|e| self.key(e))?;
        }
        select.having.iter_mut().try_for_each(|e| self.expr(e))?;
        select.targets.iter_mut().try_for_each(|target| self.output(&mut target.expr, outputs))
    }

    fn output(&self, e: &mut Expr, outputs: Outputs) -> Result<()> {
        match outputs {
            Outputs::Read => self.expr(e),
            Outputs::PerhapsRead => {
                let mut folded = e.clone();
                if self.expr(&mut folded).is_ok() {
                    *e = folded;
                }
                Ok(())
            }
        }
    }

    /// What rows are grouped or ordered by stays a column where it is one.
    fn key(&self, e: &mut Expr) -> Result<()> {
        let mut folded = e.clone();
        self.expr(&mut folded)?;
        if !is_constant(&folded) {
            *e = folded;
        }
        Ok(())
    }

    /// `nullable`: rows of an outer join may have NULLs in its place.
    fn relation(&self, relation: &mut Relation, nullable: bool) -> Result<()> {
        match relation {
            Relation::Table { .. } | Relation::Cte { .. } => Ok(()),
            Relation::Subquery { query, columns, .. } => {
                self.query(query, Outputs::PerhapsRead)?;
                if !nullable {
                    let known = columns.iter().zip(constants(query));
                    let known = known.filter_map(|(column, value)| Some((column.id, value?.clone())));
                    self.known.borrow_mut().extend(known);
                }
                Ok(())
            }
            Relation::Functions { calls, .. } => calls.iter_mut().try_for_each(|call| match &mut call.expr.kind {
                // the call itself stands for its rows
                Kind::Call(call) => call.arguments.iter_mut().try_for_each(|e| self.expr(e)),
                _ => Ok(()),
            }),
            Relation::Join(join) => {
                let Join { kind, left, right, on, .. } = join.as_mut();
                self.relation(left, nullable || matches!(kind, JoinKind::Right | JoinKind::Full))?;
                self.relation(right, nullable || matches!(kind, JoinKind::Left | JoinKind::Full))?;
                on.iter_mut().try_for_each(|e| self.expr(e))
            }
        }
    }

    fn expr(&self, e: &mut Expr) -> Result<()> {
        match &mut e.kind {
            Kind::Column(id) => {
                if let Some(value) = self.known.borrow().get(id).filter(|value| value.data_type == e.data_type) {
                    e.kind = value.kind.clone();
                }
                Ok(())
            }
            Kind::Window(window) => {
                window.arguments.iter_mut().chain(&mut window.filter).try_for_each(|e| self.expr(e))?;
                let keys = window.partition.iter_mut().chain(window.order.iter_mut().map(|sort| &mut sort.by));
                keys.into_iter().try_for_each(|e| self.key(e))?;
                for bound in [&mut window.frame.start, &mut window.frame.end] {
                    match bound {
                        Bound::Preceding(e) | Bound::Following(e) => self.expr(e)?,
                        Bound::UnboundedPreceding | Bound::CurrentRow | Bound::UnboundedFollowing => {}
                    }
                }
                Ok(())
            }
            Kind::Aggregate(aggregate) if !functions::is_ordered_set(aggregate.proc) => {
                aggregate.arguments.iter_mut().chain(&mut aggregate.filter).try_for_each(|e| self.expr(e))?;
                aggregate.order.iter_mut().try_for_each(|sort| self.key(&mut sort.by))
            }
            Kind::And(all) => match self.operands(all, false)? {
                Some(decided) => set(e, decided),
                None => Ok(()),
            },
            Kind::Or(all) => match self.operands(all, true)? {
                Some(decided) => set(e, decided),
                None => Ok(()),
            },
            Kind::Case { whens, otherwise } => {
                let mut left = vec![];
                for (mut when, mut then) in take(whens) {
                    self.expr(&mut when)?;
                    match truth(&when) {
                        Some(Some(true)) => {
                            *otherwise = Some(Box::new(then));
                            break;
                        }
                        Some(_) => {}
                        None => {
                            self.expr(&mut then)?;
                            left.push((when, then));
                        }
                    }
                }
                if let Some(last) = otherwise {
                    self.expr(last)?;
                }
                if left.is_empty() {
                    return match otherwise.take() {
                        Some(only) => replace(e, *only),
                        None => nothing(e),
                    };
                }
                let branches = left.iter().map(|(_, then)| then).chain(otherwise.as_deref());
                let typmod = if otherwise.is_some() { common_typmod(branches) } else { -1 };
                *whens = left;
                e.ty.typmod = typmod;
                Ok(())
            }
            Kind::Coalesce(all) => {
                let mut left = vec![];
                for mut one in take(all) {
                    self.expr(&mut one)?;
                    if one.is_null_constant() {
                        continue;
                    }
                    let decided = is_constant(&one);
                    left.push(one);
                    if decided {
                        break;
                    }
                }
                let typmod = common_typmod(left.iter());
                match (left.pop(), left.is_empty()) {
                    (None, _) => nothing(e),
                    (Some(only), true) => replace(e, only),
                    (Some(last), false) => {
                        left.push(last);
                        *all = left;
                        e.ty.typmod = typmod;
                        Ok(())
                    }
                }
            }
            Kind::Subquery { kind, query } => {
                let outputs = match kind {
                    SubqueryKind::Exists => Outputs::PerhapsRead,
                    SubqueryKind::Any { left, .. } => {
                        left.iter_mut().try_for_each(|one| self.expr(one))?;
                        Outputs::Read
                    }
                    SubqueryKind::Scalar | SubqueryKind::Array => Outputs::Read,
                };
                self.query(query, outputs)
            }
            // matched with GROUP BY as it was written
            Kind::Grouping { .. } => Ok(()),
            _ => {
                e.children_mut().into_iter().try_for_each(|child| self.expr(child))?;
                self.node(e)
            }
        }
    }

    /// Operands of AND (which `false` decides) and OR (`true`), without those that decide nothing. Some: what it is.
    fn operands(&self, all: &mut Vec<Expr>, decisive: bool) -> Result<Option<Option<bool>>> {
        let (mut left, mut null) = (vec![], None);
        for mut one in take(all) {
            self.expr(&mut one)?;
            match truth(&one) {
                Some(Some(value)) if value == decisive => return Ok(Some(Some(decisive))),
                Some(Some(_)) => {}
                Some(None) => null = Some(one),
                None => left.push(one),
            }
        }
        if left.is_empty() {
            return Ok(Some(null.is_none().then_some(!decisive)));
        }
        left.extend(null);
        *all = left;
        Ok(None)
    }

    /// An expression whose operands are as simple as they can be.
    fn node(&self, e: &mut Expr) -> Result<()> {
        if e.is_set() {
            return Ok(());
        }
        let constant = e.children().into_iter().all(is_constant);
        if let Kind::NullIf { left, .. } = &e.kind {
            e.ty.typmod = left.ty.typmod;
        }
        let value = match &mut e.kind {
            Kind::Call(call) if call.proc.strict && call.arguments.iter().any(Expr::is_null_constant) => {
                return nothing(e);
            }
            Kind::Call(call) if constant && (immutable(call.proc) || is_inlined(call) || self.is_now(call.proc)) => {
                let call = take_call(call);
                let (proc, computed) = (call.proc, self.computed(&call, e));
                e.kind = Kind::Call(call);
                match computed? {
                    Some(value) => value,
                    // a comparison that the engine makes itself
                    None if image::operator_of(proc.oid).is_some_and(|o| o.result == oid::BOOL) => {
                        lower::value(e, self.env)?
                    }
                    None => return Ok(()),
                }
            }
            Kind::NullIf { left, right, .. } if left.is_null_constant() || right.is_null_constant() => {
                let left = left.as_ref().clone();
                return replace(e, left);
            }
            Kind::Relabel(of) | Kind::ByText { of, .. } if of.is_null_constant() => return nothing(e),
            Kind::Relabel(of) if of.data_type == e.data_type => match &of.kind {
                Kind::Constant(value) => value.clone(),
                _ => return Ok(()),
            },
            Kind::Field { of, index } => match &of.kind {
                Kind::Row(fields) => match fields.get(*index).cloned() {
                    Some(field) => return replace(e, field),
                    None => return Ok(()),
                },
                _ => return Ok(()),
            },
            Kind::IsNull { of, negated } => match &of.kind {
                Kind::Constant(value) if !matches!(value, ScalarValue::Struct(_)) => {
                    ScalarValue::Boolean(Some(value.is_null() != *negated))
                }
                _ => return Ok(()),
            },
            Kind::Distinct { equals, .. } | Kind::NullIf { equals, .. } if constant && is_immutable(equals) => {
                lower::value(e, self.env)?
            }
            Kind::AnyOf { operator, .. } if constant && is_immutable(operator) => lower::value(e, self.env)?,
            Kind::ByText { of, .. } if constant && by_immutable_text(of.ty, e.ty) => lower::value(e, self.env)?,
            Kind::Not(_)
            | Kind::Is { .. }
            | Kind::Extreme { .. }
            | Kind::Subscript { .. }
            | Kind::Slice { .. }
            | Kind::Relabel(_)
                if constant =>
            {
                lower::value(e, self.env)?
            }
            _ => return Ok(()),
        };
        // a large one is computed again while the plan is made, and held beside it
        if value.data_type() == e.data_type && value.size() <= kernel::CONSTANT_BYTES_MAX {
            e.kind = Kind::Constant(value);
        }
        Ok(())
    }

    fn is_now(&self, proc: &Proc) -> bool {
        self.clock && proc.volatility == Volatility::Stable
    }

    /// `None` where only a plan can compute it.
    fn computed(&self, call: &Call, e: &Expr) -> Result<Option<ScalarValue>> {
        let kernel = match call.variadic && call.proc.variadic == oid::ANY {
            true => functions::kernel(&format!("{}/variadic", call.proc.source)),
            false => functions::kernel(&call.proc.source),
        };
        let Some(kernel) = kernel else { return Ok(None) };
        let args = call.arguments.iter().map(|a| Ok(Arg::constant(self.array(a)?))).collect::<Result<Vec<_>>>()?;
        let types: Vec<Ty> = call.arguments.iter().map(|a| a.ty).collect();
        let result = pgtype::field(call.proc.name, e.ty, e.data_type.clone());
        let call =
            kernel::Call { args: &args, types: &types, rows: 1, result: &result, result_type: e.ty, env: self.env };
        Ok(Some(kernel::scalar(&kernel(&call)?, 0)?))
    }

    /// The value of a constant, lying as it says.
    fn array(&self, e: &Expr) -> Result<ArrayRef> {
        Ok(match &e.kind {
            Kind::Unknown(text) => Arc::new(StringArray::from(vec![text.as_str()])),
            Kind::Constant(value) if value.data_type() == e.data_type => value.to_array()?,
            _ => lower::value(e, self.env)?.to_array()?,
        })
    }
}

/// How a constant numeric lies by its modifier, where it lies wider: branches that were ruled out made it so.
fn narrower(e: &Expr) -> Option<DataType> {
    // bytes, which may be a NaN, say their modifier beside them
    let decimal = matches!(e.data_type, DataType::Decimal128(..) | DataType::Decimal256(..));
    if !matches!(e.kind, Kind::Constant(_)) || e.ty.oid != oid::NUMERIC || e.ty.typmod < 0 || !decimal {
        return None;
    }
    let wanted = crate::formats::postgres::field("", e.ty.oid, e.ty.typmod, true)?.data_type().clone();
    (wanted != e.data_type).then_some(wanted)
}

/// For each column that comes out of a query whose rows PostgreSQL makes part of the query around it (`is_simple_subquery`
/// and `is_simple_values` of prepjointree.c), the constant that it is.
fn constants(query: &Query) -> Vec<Option<&Expr>> {
    let whole = query.order.is_empty() && query.limit.is_none() && query.offset.is_none() && query.ctes.is_empty();
    let computed: Vec<(ColumnId, &Expr)> = match &query.body {
        Body::Values { rows, columns } if whole => match rows.as_slice() {
            [only] => columns.iter().map(|column| column.id).zip(only).collect(),
            _ => vec![],
        },
        Body::Select(select) if whole && select.groups.is_none() && select.distinct == Distinct::None => {
            select.targets.iter().map(|target| (target.column.id, &target.expr)).collect()
        }
        Body::Values { .. } | Body::Select(_) | Body::SetOperation { .. } => vec![],
    };
    let value = |id: ColumnId| computed.iter().find(|(known, _)| *known == id).map(|(_, value)| *value);
    let constant = |e: &&Expr| matches!(e.kind, Kind::Constant(_));
    query.columns.iter().map(|column| value(column.id).filter(constant)).collect()
}

fn has_sets(select: &Select) -> bool {
    select.groups.as_ref().is_some_and(|groups| groups.sets.len() > 1)
}

/// Arrays of constants stay as they were written: an IN list is one.
fn is_constant(e: &Expr) -> bool {
    match &e.kind {
        Kind::Constant(_) | Kind::Unknown(_) => true,
        Kind::Array(all) => all.iter().all(is_constant),
        _ => false,
    }
}

/// A boolean constant.
fn truth(e: &Expr) -> Option<Option<bool>> {
    match &e.kind {
        Kind::Constant(ScalarValue::Boolean(value)) => Some(*value),
        Kind::Constant(value) if value.is_null() => Some(None),
        _ => None,
    }
}

fn immutable(proc: &Proc) -> bool {
    proc.volatility == Volatility::Immutable
}

/// A stable function written in SQL whose body is immutable for these arguments: PostgreSQL puts the body in its place.
fn is_inlined(call: &Call) -> bool {
    matches!(
        call.proc.source.as_str(),
        "quote_literal/1285" | "quote_nullable/1290" | "textanycat/2003" | "anytextcat/2004"
    ) && call.arguments.iter().all(|of| by_immutable_text(of.ty, Ty::TEXT))
}

fn is_immutable(operator: &Operator) -> bool {
    immutable(operator.proc)
}

/// Whether both the output and the input function are immutable.
fn by_immutable_text(from: Ty, to: Ty) -> bool {
    let named = |name: &str| image::procs(name).first().is_some_and(|proc| immutable(proc));
    let (Some(from), Some(to)) = (pgtype::functions(from.oid), pgtype::functions(to.oid)) else { return false };
    named(from.output) && named(to.input)
}

fn common_typmod<'e>(branches: impl Iterator<Item = &'e Expr>) -> i32 {
    let typmods = branches.map(|e| e.ty.typmod);
    typmods.reduce(|all, one| if all == one { all } else { -1 }).unwrap_or(-1)
}

fn take_call(call: &mut Call) -> Call {
    Call { proc: call.proc, arguments: take(&mut call.arguments), variadic: call.variadic }
}

fn set(e: &mut Expr, value: Option<bool>) -> Result<()> {
    e.kind = Kind::Constant(ScalarValue::Boolean(value));
    Ok(())
}

/// NULL of the same type.
fn nothing(e: &mut Expr) -> Result<()> {
    e.kind = Kind::Constant(ScalarValue::try_from(&e.data_type)?);
    Ok(())
}

/// `value`, lying as what it stands for did.
fn replace(e: &mut Expr, value: Expr) -> Result<()> {
    let same = value.data_type == e.data_type && value.ty.oid == e.ty.oid;
    let ty = if value.ty.oid == e.ty.oid { value.ty } else { e.ty };
    *e = match same {
        true => value,
        false => Expr::lying(Kind::Relabel(Box::new(value)), ty, e.data_type.clone(), e.at),
    };
    Ok(())
}
