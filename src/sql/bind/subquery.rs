//! Subqueries in expressions, and ANY and ALL over arrays (parse_expr.c, `transformSubLink`).

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, BinaryOperator, Expr as Ast};

use super::Binder;
use super::scope::Scope;
use crate::error::{Error, Kind, Result};
use crate::pgtype::{self, Ty};
use crate::sql::expr::{Expr, Kind as Node, SubqueryKind};
use crate::sql::image;
use crate::sql::query::Query;
use crate::sql::resolve::operator;

impl Binder<'_> {
    /// One that is written twice at a level is one and the same, so that GROUP BY, DISTINCT ON and ORDER BY find it in the
    /// select list.
    fn sub(&self, query: &ast::Query, scope: &Scope<'_>) -> Result<Query> {
        let bound = self.query(query, &Scope::inside(scope), true)?;
        let mut known = scope.subqueries.borrow_mut();
        if let Some((_, same)) = known.iter().find(|(ast, _)| ast == query) {
            return Ok(same.clone());
        }
        known.push((query.clone(), bound.clone()));
        Ok(bound)
    }

    pub(super) fn scalar_subquery(&self, query: &ast::Query, at: usize, scope: &Scope<'_>) -> Result<Expr> {
        let query = self.sub(query, scope)?;
        let [column] = query.columns.as_slice() else {
            return Err(Error::new(Kind::Syntax, "subquery must return only one column").at(at));
        };
        let (ty, data_type) = (column.ty, column.data_type.clone());
        let node = Node::Subquery { kind: SubqueryKind::Scalar, query: Box::new(query) };
        Ok(Expr::lying(node, ty, data_type, at))
    }

    pub(super) fn array_subquery(&self, query: &ast::Query, at: usize, scope: &Scope<'_>) -> Result<Expr> {
        let query = self.sub(query, scope)?;
        let [column] = query.columns.as_slice() else {
            return Err(Error::new(Kind::Syntax, "subquery must return only one column").at(at));
        };
        let array = self.array_type(column.ty, at)?;
        let missing = || format!("could not find array type for data type {}", column.ty.name());
        let array = array.ok_or_else(|| Error::new(Kind::UndefinedObject, missing()).at(at))?;
        let item = pgtype::field("item", column.ty, column.data_type.clone());
        let node = Node::Subquery { kind: SubqueryKind::Array, query: Box::new(query) };
        Ok(Expr::lying(node, Ty::of(array), DataType::List(item.into()), at))
    }

    pub(super) fn exists(&self, query: &ast::Query, negated: bool, scope: &Scope<'_>) -> Result<Expr> {
        let query = Box::new(self.sub(query, scope)?);
        let exists = Expr::boolean(Node::Subquery { kind: SubqueryKind::Exists, query }, 0);
        Ok(if negated { Expr::boolean(Node::Not(Box::new(exists)), 0) } else { exists })
    }

    pub(super) fn in_subquery(&self, left: &Ast, query: &ast::Query, negated: bool, scope: &Scope<'_>) -> Result<Expr> {
        let at = self.after(left);
        let any = self.any_subquery(left, "=", query, false, at, scope)?;
        Ok(if negated { Expr::boolean(Node::Not(Box::new(any)), at) } else { any })
    }

    fn any_subquery(
        &self,
        left: &Ast,
        name: &str,
        query: &ast::Query,
        all: bool,
        at: usize,
        scope: &Scope<'_>,
    ) -> Result<Expr> {
        let lefts = match left {
            Ast::Tuple(items) => self.exprs(items, scope)?,
            Ast::Nested(inner) if matches!(inner.as_ref(), Ast::Tuple(_)) => match inner.as_ref() {
                Ast::Tuple(items) => self.exprs(items, scope)?,
                other => vec![self.expr(other, scope)?],
            },
            other => {
                let expr = self.expr(other, scope)?;
                match expr.kind {
                    Node::Row(fields) => fields,
                    kind => vec![Expr { kind, ..expr }],
                }
            }
        };
        let query = self.sub(query, scope)?;
        if query.columns.len() < lefts.len() {
            return Err(Error::new(Kind::Syntax, "subquery has too few columns").at(at));
        }
        if query.columns.len() > lefts.len() {
            return Err(Error::new(Kind::Syntax, "subquery has too many columns").at(at));
        }
        if lefts.len() > 1 && !matches!(name, "=" | "<>") {
            return self.any_ordered(lefts, name, query, all, at);
        }
        let mut query = query;
        let (mut coerced, mut operators) = (vec![], vec![]);
        let mut outputs = vec![];
        for (left, column) in lefts.into_iter().zip(query.columns.clone()) {
            let test = operator::binary(self.cx, name, left, column.expr(at), at)?;
            let Node::Call(call) = test.kind else { return Err(Error::internal("an operator is no call")) };
            if call.proc.result != Ty::BOOL.oid {
                let text = "operator ANY/ALL must yield boolean".to_string();
                return Err(Error::new(Kind::WrongObjectType, text).at(at));
            }
            let operator = image::operator_of(call.proc.oid).ok_or_else(|| Error::internal("no operator"))?;
            let mut sides = call.arguments.into_iter();
            let (Some(left), Some(right)) = (sides.next(), sides.next()) else {
                return Err(Error::internal("an operator of two"));
            };
            coerced.push(left);
            outputs.push(right);
            operators.push(operator);
        }
        // where the comparison wants a column in another type, the subquery gives it so
        if outputs.iter().any(|o| !matches!(o.kind, Node::Column(_))) {
            query = self.projected(query, outputs);
        }
        let kind = SubqueryKind::Any { left: coerced, operators, all };
        Ok(Expr::boolean(Node::Subquery { kind, query: Box::new(query) }, at))
    }

    /// Rows that are ordered by their first difference: whether any, or all, of `SELECT row op columns FROM (query)` is true.
    fn any_ordered(&self, lefts: Vec<Expr>, name: &str, query: Query, all: bool, at: usize) -> Result<Expr> {
        let rights = query.columns.iter().map(|column| column.expr(at)).collect();
        let test = self.compare_rows(name, lefts, rights, at)?;
        let query = Box::new(self.projected(query, vec![test]));
        let equals = operator::find(self.cx, "=", Ty::BOOL.oid, Ty::BOOL.oid, at)?;
        let left = vec![Expr::constant(ScalarValue::Boolean(Some(true)), Ty::BOOL, at)];
        let kind = SubqueryKind::Any { left, operators: vec![equals], all };
        Ok(Expr::boolean(Node::Subquery { kind, query }, at))
    }

    /// `SELECT outputs FROM (query)`.
    pub(super) fn projected(&self, query: Query, outputs: Vec<Expr>) -> Query {
        let named = query.columns.iter().map(|column| column.name.clone()).zip(outputs).collect();
        self.projected_as(query, named)
    }

    /// The same under other names.
    pub(super) fn projected_as(&self, query: Query, outputs: Vec<(String, Expr)>) -> Query {
        use crate::sql::query::{Body, Distinct, Relation, Select, Target};
        let target = |(name, expr)| Target { column: self.column_of(name, &expr), expr };
        let targets: Vec<Target> = outputs.into_iter().map(target).collect();
        let columns = targets.iter().map(|t| t.column.clone()).collect();
        let inner = query.columns.clone();
        let from = Relation::Subquery { query: Box::new(query), columns: inner, lateral: false };
        let select =
            Select { from: Some(from), filter: None, groups: None, having: None, targets, distinct: Distinct::None };
        Query {
            ctes: vec![],
            body: Body::Select(Box::new(select)),
            order: vec![],
            offset: None,
            limit: None,
            with_ties: false,
            columns,
        }
    }

    pub(super) fn any(
        &self,
        left: &Ast,
        op: &BinaryOperator,
        right: &Ast,
        all: bool,
        scope: &Scope<'_>,
    ) -> Result<Expr> {
        let at = self.after(left);
        let name = super::expr::operator_name(op, at)?;
        self.any_named(left, &name, right, all, scope)
    }

    pub(super) fn any_named(&self, left: &Ast, name: &str, right: &Ast, all: bool, scope: &Scope<'_>) -> Result<Expr> {
        let at = self.after(left);
        match right {
            Ast::Subquery(query) => self.any_subquery(left, name, query, all, at, scope),
            Ast::Nested(inner) => self.any_named(left, name, inner, all, scope),
            array => {
                let (left, array) = (self.expr(left, scope)?, self.expr(array, scope)?);
                operator::any_of(self.cx, name, left, array, all, at)
            }
        }
    }

    /// `(a, b) op (SELECT …)`: a scalar subquery of several columns.
    pub(super) fn row_subquery(
        &self,
        lefts: Vec<Expr>,
        name: &str,
        query: &ast::Query,
        at: usize,
        scope: &Scope<'_>,
    ) -> Result<Expr> {
        let query = self.sub(query, scope)?;
        if query.columns.len() != lefts.len() {
            let text = match query.columns.len() < lefts.len() {
                true => "subquery has too few columns",
                false => "subquery has too many columns",
            };
            return Err(Error::new(Kind::Syntax, text).at(at));
        }
        // one row as one record, whose fields are compared
        let columns = query.columns.clone();
        let row = super::scope::row_of(&columns, at);
        let fields: Vec<_> = columns.clone();
        let (ty, data_type) = (row.ty, row.data_type.clone());
        let query = Query { columns: query.columns.clone(), ..query };
        let packed = self.packed(query, row);
        let record =
            Expr::lying(Node::Subquery { kind: SubqueryKind::Scalar, query: Box::new(packed) }, ty, data_type, at);
        let rights = fields.iter().enumerate().map(|(index, c)| {
            Expr::lying(Node::Field { of: Box::new(record.clone()), index }, c.ty, c.data_type.clone(), at)
        });
        let left = self.row_of_exprs(lefts, at);
        let right = self.row_of_exprs(rights.collect(), at);
        self.compare(name, left, right, at)
    }

    /// The query's row as one column.
    fn packed(&self, query: Query, row: Expr) -> Query {
        let first = query.columns.first().cloned();
        let mut packed = self.projected(query, vec![row.clone()]);
        if let (Some(_), crate::sql::query::Body::Select(select)) = (first, &mut packed.body) {
            select.targets = vec![crate::sql::query::Target { column: self.column_of("row", &row), expr: row }];
            packed.columns = select.targets.iter().map(|t| t.column.clone()).collect();
        }
        packed
    }
}
