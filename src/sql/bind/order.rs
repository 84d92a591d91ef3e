//! ORDER BY and the like: names of outputs, positions, expressions (parse_clause.c, `findTargetlistEntrySQL92` and `99`).

use datafusion::sql::sqlparser::ast::{self, Expr as Ast, Value};

use super::name::folded;
use super::scope::{Place, Scope};
use super::{Binder, syntax_error};
use crate::error::{Error, Kind, Result};
use crate::sql::expr::{ColumnId, Expr, Sort};
use crate::sql::parse::encoding;
use crate::sql::query::{Column, Target};
use crate::sql::resolve::{cast, operator};

/// The keys of an ORDER BY.
pub(super) struct Keys<'a>(Vec<&'a ast::OrderByExpr>);

impl<'a> Keys<'a> {
    pub(super) fn none() -> Self {
        Self(vec![])
    }

    pub(super) fn of(order: Option<&'a ast::OrderBy>) -> Result<Self> {
        match order {
            None => Ok(Self::none()),
            Some(ast::OrderBy { kind: ast::OrderByKind::Expressions(keys), interpolate: None }) => {
                Ok(Self(keys.iter().collect()))
            }
            Some(_) => Err(syntax_error("ALL", 0)),
        }
    }
}

impl Binder<'_> {
    /// Keys of a SELECT: each becomes a reference to a target, which is added where there is none.
    pub(super) fn order_by_targets(
        &self,
        keys: Keys<'_>,
        targets: &mut Vec<Target>,
        scope: &Scope<'_>,
    ) -> Result<Vec<Sort>> {
        let mut order: Vec<Sort> = vec![];
        for key in keys.0 {
            let (ast, using) = self.key_of(key);
            let id = scope.at_place(Place::OrderBy, || self.key_target(ast, targets, "ORDER BY", scope))?;
            let target = targets.iter().find(|t| t.column.id == id).ok_or_else(|| Error::internal("a key's target"))?;
            self.check_using(&target.expr, using)?;
            self.orderable(&target.expr)?;
            let at = self.at_of(ast);
            let sort = sort(target.column.expr(at), &key.options);
            if !order.iter().any(|s| s.by == sort.by) {
                order.push(sort);
            }
        }
        Ok(order)
    }

    /// The target that a key names or is.
    pub(super) fn key_target(
        &self,
        ast: &Ast,
        targets: &mut Vec<Target>,
        what: &str,
        scope: &Scope<'_>,
    ) -> Result<ColumnId> {
        if let Ast::Identifier(ident) = ast {
            let name = folded(ident);
            // GROUP BY looks at the input first
            let input = what == "GROUP BY" && {
                let own = Scope { parent: None, items: scope.items.clone(), ..Scope::root() };
                self.bare_column(&name, self.at(ident.span), &own)?.is_some()
            };
            let mut named = targets.iter().filter(|t| t.column.name == name);
            if let (false, Some(first)) = (input, named.next()) {
                if named.any(|other| other.expr != first.expr) {
                    let text = format!("{what} \"{name}\" is ambiguous");
                    return Err(Error::new(Kind::AmbiguousColumn, text).at(self.at(ident.span)));
                }
                return Ok(first.column.id);
            }
        }
        if let Ast::Value(value) = ast {
            let at = self.at(value.span);
            return match &value.value {
                Value::Number(digits, _) => {
                    let position = digits.to_string().parse::<usize>().ok();
                    let Some(position) = position else {
                        return Err(Error::new(Kind::Syntax, format!("non-integer constant in {what}")).at(at));
                    };
                    let target = position.checked_sub(1).and_then(|i| targets.get(i));
                    let missing = || {
                        let text = format!("{what} position {position} is not in select list");
                        Error::new(Kind::InvalidColumnReference, text).at(at)
                    };
                    target.map(|t| t.column.id).ok_or_else(missing)
                }
                Value::Placeholder(_) => self.expression_target(ast, targets, scope),
                _ => Err(Error::new(Kind::Syntax, format!("non-integer constant in {what}")).at(at)),
            };
        }
        self.expression_target(ast, targets, scope)
    }

    fn expression_target(&self, ast: &Ast, targets: &mut Vec<Target>, scope: &Scope<'_>) -> Result<ColumnId> {
        let expr = cast::unknown_to_text(self.cx, self.expr(ast, scope)?)?;
        if let Some(same) = targets.iter().find(|t| t.expr == expr) {
            return Ok(same.column.id);
        }
        let column = self.column_of("?column?", &expr);
        let id = column.id;
        targets.push(Target { expr, column });
        Ok(id)
    }

    /// A key, and the operator of its USING with its place, where that is neither `<` nor `>`.
    fn key_of<'k>(&self, key: &'k ast::OrderByExpr) -> (&'k Ast, Option<(&'k str, usize)>) {
        match encoding::as_order_using(&key.expr) {
            Some((operator, span, ast)) => (ast, Some((operator, self.at(span)))),
            None => (&key.expr, None),
        }
    }

    /// Of the operators that order, `<` and `>` alone are known here (`get_ordering_op_properties`).
    fn check_using(&self, key: &Expr, using: Option<(&str, usize)>) -> Result<()> {
        let Some((name, at)) = using else { return Ok(()) };
        operator::binary(self.cx, name, key.clone(), key.clone(), at)?;
        if name.starts_with(['~', '*']) && name.contains(['<', '>']) && !name.contains('=') {
            return Err(Error::unsupported(format!("ORDER BY USING {name}")).at(at));
        }
        let text = format!("operator {name} is not a valid ordering operator");
        let hint = "Ordering operators must be \"<\" or \">\" members of btree operator families.";
        Err(Error::new(Kind::WrongObjectType, text).with_hint(hint).at(at))
    }

    /// 42883 for a type without `<`.
    pub(super) fn orderable(&self, expr: &Expr) -> Result<()> {
        if expr.ty.is_unknown() || operator::less(expr.ty.oid).is_some() {
            return Ok(());
        }
        let text = format!("could not identify an ordering operator for type {}", expr.ty.name());
        let hint = "Use an explicit ordering operator or modify the query.";
        Err(Error::new(Kind::UndefinedFunction, text).with_hint(hint).at(expr.at))
    }

    /// Keys over a set operation or VALUES: names and positions of its outputs alone.
    pub(super) fn order_by_output(&self, keys: Keys<'_>, columns: &[Column], scope: &Scope<'_>) -> Result<Vec<Sort>> {
        let mut order = vec![];
        for key in keys.0 {
            let (ast, using) = self.key_of(key);
            let at = self.at_of(ast);
            let column = match ast {
                Ast::Identifier(ident) => {
                    let name = folded(ident);
                    let found = columns.iter().find(|c| c.name == name);
                    let missing = || {
                        let text = format!("column \"{name}\" does not exist");
                        Error::new(Kind::UndefinedColumn, text).at(at)
                    };
                    found.ok_or_else(missing)?
                }
                Ast::Value(ast::ValueWithSpan { value: Value::Number(digits, _), .. }) => {
                    let position = digits.to_string().parse::<usize>().ok();
                    let missing = || {
                        let text = format!("ORDER BY position {digits} is not in select list");
                        Error::new(Kind::InvalidColumnReference, text).at(at)
                    };
                    let column = position.and_then(|p| p.checked_sub(1)).and_then(|i| columns.get(i));
                    column.ok_or_else(missing)?
                }
                other => {
                    // its own faults first
                    let _ = self.expr(other, &Scope::inside(scope));
                    let text = "invalid UNION/INTERSECT/EXCEPT ORDER BY clause";
                    let detail = "Only result column names can be used, not expressions or functions.";
                    let hint = "Add the expression/function to every SELECT, or move the UNION into a FROM clause.";
                    return Err(Error::new(Kind::Unsupported, text).with_detail(detail).with_hint(hint).at(at));
                }
            };
            self.check_using(&column.expr(at), using)?;
            self.orderable(&column.expr(at))?;
            order.push(sort(column.expr(at), &key.options));
        }
        Ok(order)
    }

    /// A key that is an expression and nothing else: inside aggregates and windows.
    pub(super) fn sort_over(&self, key: &ast::OrderByExpr, scope: &Scope<'_>) -> Result<Sort> {
        let (ast, using) = self.key_of(key);
        let by = cast::unknown_to_text(self.cx, self.expr(ast, scope)?)?;
        self.check_using(&by, using)?;
        self.orderable(&by)?;
        Ok(sort(by, &key.options))
    }
}

/// NULLs are greater than everything.
fn sort(by: Expr, options: &ast::OrderByOptions) -> Sort {
    let descending = options.asc == Some(false);
    Sort { by, descending, nulls_first: options.nulls_first.unwrap_or(descending) }
}
