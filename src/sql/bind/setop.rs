//! UNION, INTERSECT, EXCEPT and VALUES (analyze.c, `transformSetOperationTree` and `transformValuesClause`).

use arrow::datatypes::{DataType, Field};
use datafusion::sql::sqlparser::ast::{self, SetExpr};

use super::cte::{Bodied, set_operator};
use super::scope::{Place, Scope};
use super::{Binder, StoredAs, syntax_error};
use crate::error::{Error, Kind, Result};
use crate::pgtype::{self, Ty, oid};
use crate::sql::expr::{Expr, Kind as Node};
use crate::sql::image::CastContext;
use crate::sql::query::{Body, Column, Query, SetOperator};
use crate::sql::resolve::{cast, common};

impl Binder<'_> {
    pub(super) fn set_operation(
        &self,
        left: &SetExpr,
        op: ast::SetOperator,
        quantifier: ast::SetQuantifier,
        right: &SetExpr,
        scope: &Scope<'_>,
    ) -> Result<Bodied> {
        let all = match quantifier {
            ast::SetQuantifier::All => true,
            ast::SetQuantifier::Distinct | ast::SetQuantifier::None => false,
            other => return Err(syntax_error(&other.to_string(), 0)),
        };
        let operator = set_operator(op).ok_or_else(|| syntax_error("MINUS", 0))?;
        let what = match operator {
            SetOperator::Union => "UNION",
            SetOperator::Intersect => "INTERSECT",
            SetOperator::Except => "EXCEPT",
        };
        let (mut l, mut r) = (self.part(left, scope)?, self.part(right, scope)?);
        if l.columns.len() != r.columns.len() {
            let text = format!("each {what} query must have the same number of columns");
            return Err(Error::new(Kind::Syntax, text).at(self.first_target(right)));
        }
        let (mut lefts, mut rights, mut columns) = (vec![], vec![], vec![]);
        for i in 0..l.columns.len() {
            let (a, b) = (leaf(&l, i), leaf(&r, i));
            let (both, ty, data_type) = common::to_common(self.cx, vec![a, b], what)?;
            let mut both = both.into_iter();
            let (Some(a), Some(b)) = (both.next(), both.next()) else { return Err(Error::internal("two sides")) };
            let a = self.place(&mut l, i, a);
            let b = self.place(&mut r, i, b);
            lefts.push(a);
            rights.push(b);
            let name = l.columns[i].name.clone();
            let probe = Expr::lying(Node::Column(l.columns[i].id), Ty::of(ty.oid), data_type.clone(), 0);
            if !(operator == SetOperator::Union && all) {
                self.comparable(&probe, "=")?;
            }
            columns.push(Column { id: self.column_id(), name, ty, data_type });
        }
        let left = Box::new(self.adapted(l, lefts));
        let right = Box::new(self.adapted(r, rights));
        Ok((Body::SetOperation { operator, all, left, right, columns: columns.clone() }, columns))
    }

    /// Where the select list begins.
    pub(super) fn first_target(&self, body: &SetExpr) -> usize {
        match body {
            SetExpr::Select(select) => select.projection.first().map_or(0, |item| self.at_of(item)),
            SetExpr::Query(query) => self.first_target(&query.body),
            SetExpr::SetOperation { left, .. } => self.first_target(left),
            other => self.at_of(other),
        }
    }

    fn part(&self, body: &SetExpr, scope: &Scope<'_>) -> Result<Query> {
        match body {
            SetExpr::Query(query) => {
                let part = self.query(query, &Scope::inside(scope), false)?;
                match query.locks.first() {
                    None => Ok(part),
                    Some(lock) => Err(super::lock::beside_others(lock)),
                }
            }
            other => {
                let (body, columns) = self.body(other, scope, false)?;
                Ok(Query { ctes: vec![], body, order: vec![], offset: None, limit: None, with_ties: false, columns })
            }
        }
    }

    /// A coerced literal goes back into its select list; anything else is computed over the column.
    fn place(&self, query: &mut Query, i: usize, coerced: Expr) -> Expr {
        let at = coerced.at;
        if let (Some(id), Body::Select(select)) = (query.columns.get(i).map(|c| c.id), &mut query.body)
            && let Some(target) = select.targets.iter_mut().find(|t| t.column.id == id)
            && untyped(&target.expr)
        {
            target.column.ty = coerced.ty;
            target.column.data_type = coerced.data_type.clone();
            target.expr = coerced;
            let column = target.column.clone();
            if let Some(slot) = query.columns.get_mut(i) {
                *slot = column.clone();
            }
            return column.expr(at);
        }
        coerced
    }

    fn adapted(&self, query: Query, outputs: Vec<Expr>) -> Query {
        let plain = outputs.iter().zip(&query.columns).all(|(e, c)| matches!(e.kind, Node::Column(id) if id == c.id));
        if plain { query } else { self.projected(query, outputs) }
    }

    pub(super) fn values(&self, values: &ast::Values, scope: &Scope<'_>) -> Result<Bodied> {
        let width = values.rows.first().map_or(0, |r| r.content.len());
        let inner = Scope::inside(scope);
        inner.place.set(Place::Values);
        let mut by_column: Vec<Vec<Expr>> = vec![vec![]; width];
        for row in &values.rows {
            if row.content.len() != width {
                let at = row.content.first().map_or(0, |e| self.at_of(e));
                return Err(Error::new(Kind::Syntax, "VALUES lists must all be the same length").at(at));
            }
            for (column, ast) in by_column.iter_mut().zip(&row.content) {
                column.push(self.expr(ast, &inner)?);
            }
        }
        let (mut rows, mut columns) = (vec![Vec::with_capacity(width); values.rows.len()], vec![]);
        for (i, exprs) in by_column.into_iter().enumerate() {
            let (exprs, ty, data_type) = common::to_common(self.cx, exprs, "VALUES")?;
            columns.push(Column { id: self.column_id(), name: format!("column{}", i + 1), ty, data_type });
            for (row, expr) in rows.iter_mut().zip(exprs) {
                row.push(expr);
            }
        }
        Ok((Body::Values { rows, columns: columns.clone() }, columns))
    }
}

impl Binder<'_> {
    /// INSERT's query: each output as its column stores it.
    pub(super) fn stored(&self, query: &ast::Query, into: &[StoredAs], scope: &Scope<'_>) -> Result<Query> {
        if let (SetExpr::Values(values), None, None, None) =
            (query.body.as_ref(), &query.with, &query.order_by, &query.limit_clause)
        {
            return self.stored_values(values, into, scope);
        }
        let mut bound = self.query(query, scope, false)?;
        let mut outputs = vec![];
        for i in 0..bound.columns.len() {
            let expr = match into.get(i) {
                Some(column) => self.assigned(leaf(&bound, i), column)?,
                None => cast::unknown_to_text(self.cx, leaf(&bound, i))?,
            };
            let placed = self.place(&mut bound, i, expr);
            outputs.push(placed);
        }
        Ok(self.adapted(bound, outputs))
    }

    /// Each row by itself: rows of one VALUES may differ in type where they are stored.
    fn stored_values(&self, values: &ast::Values, into: &[StoredAs], scope: &Scope<'_>) -> Result<Query> {
        let inner = Scope::inside(scope);
        inner.place.set(Place::Values);
        let width = values.rows.first().map_or(0, |r| r.content.len());
        if width > into.len() {
            return Err(Error::new(Kind::Syntax, "INSERT has more expressions than target columns"));
        }
        let (mut rows, mut columns) = (vec![], vec![]);
        for row in &values.rows {
            if row.content.len() != width {
                let at = row.content.first().map_or(0, |e| self.at_of(e));
                return Err(Error::new(Kind::Syntax, "VALUES lists must all be the same length").at(at));
            }
            let exprs = row.content.iter().zip(into);
            let exprs = exprs.map(|(ast, column)| self.assigned(self.expr(ast, &inner)?, column));
            rows.push(exprs.collect::<Result<Vec<_>>>()?);
        }
        for column in into.iter().take(width) {
            let (name, ty, data_type) = (column.name.clone(), column.ty, column.data_type.clone());
            columns.push(Column { id: self.column_id(), name, ty, data_type });
        }
        let body = Body::Values { rows, columns: columns.clone() };
        Ok(Query { ctes: vec![], body, order: vec![], offset: None, limit: None, with_ties: false, columns })
    }

    pub(super) fn assigned(&self, expr: Expr, column: &StoredAs) -> Result<Expr> {
        let (from, at) = (expr.ty, expr.at);
        let wrong = || {
            let text = format!(
                "column \"{}\" is of type {} but expression is of type {}",
                column.name,
                column.ty.name(),
                from.name()
            );
            let hint = "You will need to rewrite or cast the expression.";
            Error::new(Kind::TypeMismatch, text).with_hint(hint).at(at)
        };
        let rounded = rounded(column);
        let expr = cast::coerce(self.cx, expr, rounded, CastContext::Assignment)?.ok_or_else(wrong)?;
        if rounded != column.ty {
            let digits = column.data_type.clone();
            return Ok(Expr::lying(Node::Relabel(Box::new(expr)), column.ty, digits, at));
        }
        if expr.data_type == column.data_type {
            return Ok(expr);
        }
        let (given, kept) = (dimensions(&expr.data_type), dimensions(&column.data_type));
        if given > kept {
            let text = format!("column \"{}\" keeps arrays of {kept} dimension(s), not of {given}", column.name);
            return Err(Error::new(Kind::Unsupported, text).at(at));
        }
        let ty = expr.ty;
        Ok(Expr::lying(Node::Relabel(Box::new(expr)), ty, column.data_type.clone(), at))
    }
}

/// The column's type, and for a numeric without a scale that of the digits that are kept, to which values are rounded.
fn rounded(column: &StoredAs) -> Ty {
    let is_bare = matches!(column.ty.oid, oid::NUMERIC | oid::NUMERICS) && column.ty.typmod < 0;
    let kept = pgtype::of_field(&Field::new("", column.data_type.clone(), true));
    kept.ok().filter(|kept| is_bare && kept.oid == column.ty.oid).unwrap_or(column.ty)
}

fn dimensions(of: &DataType) -> usize {
    match of {
        DataType::List(item) => 1 + dimensions(item.data_type()),
        _ => 0,
    }
}

fn untyped(expr: &Expr) -> bool {
    expr.ty.is_unknown() && matches!(expr.kind, Node::Unknown(_) | Node::Constant(_) | Node::Parameter(_))
}

/// The expression by which a column is coerced: a literal itself, else a reference.
fn leaf(query: &Query, i: usize) -> Expr {
    let column = &query.columns[i];
    if let Body::Select(select) = &query.body
        && let Some(target) = select.targets.iter().find(|t| t.column.id == column.id)
    {
        if untyped(&target.expr) {
            return target.expr.clone();
        }
        return Expr { at: target.expr.at, ..column.expr(0) };
    }
    column.expr(0)
}
