//! WITH (parse_cte.c).

use std::cell::Cell;
use std::collections::HashSet;
use std::rc::Rc;

use datafusion::sql::sqlparser::ast;

use super::Binder;
use super::name::folded;
use super::recursion::{Next, named};
use super::scope::{Named, Scope};
use super::search::Added;
use crate::error::{Error, Kind, Result};
use crate::sql::expr::{Expr, Kind as Node};
use crate::sql::query::{Body, Column, Cte, Query, Recursive, Relation, Select, SetOperator};
use crate::sql::resolve::cast;

/// A CTE whose references are counted until its query is whole.
pub(super) struct Counted {
    cte: Cte,
    references: Rc<Cell<usize>>,
}

impl Counted {
    pub(super) fn finish(self) -> Cte {
        Cte { references: self.references.get(), ..self.cte }
    }
}

impl Binder<'_> {
    /// Adds the CTEs to `scope`, which the query they belong to is bound in.
    pub(super) fn with(&self, with: &ast::With, scope: &mut Scope<'_>) -> Result<Vec<Counted>> {
        let mut bound: Vec<Counted> = vec![];
        let names: Vec<String> = named(with).collect();
        let mut met = HashSet::new();
        for (cte, name) in with.cte_tables.iter().zip(&names) {
            if !met.insert(name) {
                let text = format!("WITH query name \"{name}\" specified more than once");
                return Err(Error::new(Kind::DuplicateAlias, text).at(self.at(cte.alias.name.span)));
            }
        }
        let order = self.binding_order(with, &names)?;
        if !with.recursive {
            scope.later = names.iter().rev().cloned().collect();
        }
        for Next { index, recursive } in order {
            let (Some(cte), Some(name)) = (with.cte_tables.get(index), names.get(index).cloned()) else { continue };
            let at = self.at(cte.alias.name.span);
            let added = Added::of(&cte.query);
            let made = match recursive {
                true => {
                    let (left, right, all) = self.recursion(cte, &name)?;
                    self.recursive(cte, &name, left, right, all, scope)?
                }
                _ if !added.is_empty() => {
                    return Err(Error::new(Kind::Syntax, "WITH query is not recursive").at(at));
                }
                _ => self.plain(cte, &name, scope)?,
            };
            let references = Rc::new(Cell::new(0));
            scope.ctes.push(Named {
                id: made.id,
                name,
                columns: made.columns.clone(),
                references: Rc::clone(&references),
                own: None,
            });
            bound.push(Counted { cte: made, references });
            scope.later.pop();
        }
        Ok(bound)
    }

    fn plain(&self, cte: &ast::Cte, name: &str, scope: &Scope<'_>) -> Result<Cte> {
        let query = self.query(&cte.query, &Scope::inside(scope), true)?;
        let columns = self.cte_columns(&query, cte, name)?;
        Ok(Cte {
            id: self.cte_id(),
            name: name.to_owned(),
            query,
            recursive: None,
            materialized: materialized(cte),
            references: 0,
            columns,
        })
    }

    fn recursive(
        &self,
        cte: &ast::Cte,
        name: &str,
        left: &ast::SetExpr,
        right: &ast::SetExpr,
        all: bool,
        scope: &Scope<'_>,
    ) -> Result<Cte> {
        let mut outer = Scope::inside(scope);
        let around = match &cte.query.with {
            Some(with) => self.with(with, &mut outer)?,
            None => vec![],
        };
        let mut first = self.set_expr_query(left, &outer)?;
        let id = self.cte_id();
        let mut columns = self.cte_columns(&first, cte, name)?;
        let added = Added::of(&cte.query);
        let own = columns.len();
        let widened;
        let right = match added.is_empty() {
            true => right,
            false => {
                self.check_added(&added, &columns)?;
                let extra = self.added_first(&added, &columns, &outer)?;
                let named = columns.iter().map(|c| (c.name.clone(), c.expr(0)));
                let named = named.chain(added.names().into_iter().zip(extra)).collect();
                first = self.projected_as(first, named);
                columns.clone_from(&first.columns);
                widened = self.widened(&added, left, right, name)?;
                &widened
            }
        };
        let mut inner = Scope::inside(&outer);
        let references = Rc::new(Cell::new(0));
        inner.ctes.push(Named { id, name: name.to_owned(), columns: columns.clone(), references, own: Some(own) });
        let step = self.set_expr_query(right, &inner)?;
        if step.columns.len() != first.columns.len() {
            let text = "each UNION query must have the same number of columns";
            return Err(Error::new(Kind::Syntax, text).at(self.first_target(right)));
        }
        // the first term decides the types
        let mut outputs = vec![];
        for (i, (to, from)) in columns.iter().zip(&step.columns).take(own).enumerate() {
            let (common, ..) = crate::sql::resolve::common::to_common(self.cx, vec![to.expr(0), from.expr(0)], "UNION")
                .map(|(e, ty, _)| (ty, e))?;
            if common != to.ty {
                let text = format!(
                    "recursive query \"{name}\" column {} has type {} in non-recursive term but type {} overall",
                    i + 1,
                    to.ty.name_with_modifier(),
                    common.name_with_modifier()
                );
                let hint = "Cast the output of the non-recursive term to the correct type.";
                let error = Error::new(Kind::TypeMismatch, text).with_hint(hint);
                return Err(match &first.body {
                    Body::Select(select) => match select.targets.get(i).map(|target| target.expr.at) {
                        Some(at) if at > 0 => error.at(at),
                        _ => error,
                    },
                    Body::Values { .. } | Body::SetOperation { .. } => error,
                });
            }
            let expr = match from.ty == to.ty {
                true => from.expr(0),
                false => cast::implicit(self.cx, from.expr(0), to.ty)?,
            };
            outputs.push(lying_as(expr, to));
        }
        let before: Vec<Expr> = step.columns.iter().skip(own).map(|c| c.expr(0)).collect();
        let extra = self.added_step(&added, &columns, &outputs, &before, &outer)?;
        outputs.extend(extra.into_iter().zip(columns.iter().skip(own)).map(|(expr, to)| lying_as(expr, to)));
        let same = outputs.iter().all(|e| matches!(e.kind, Node::Column(_)));
        let step = if same { step } else { self.projected(step, outputs) };
        first.ctes.splice(0..0, around.into_iter().map(Counted::finish));
        Ok(Cte {
            id,
            name: name.to_owned(),
            query: first,
            recursive: Some(Box::new(Recursive { step, distinct: !all })),
            materialized: materialized(cte),
            references: 0,
            columns,
        })
    }

    /// 42P19 for an aggregate over the rows of a recursive query's last round.
    pub(super) fn check_last_round(&self, select: &Select, scope: &Scope<'_>) -> Result<()> {
        fn reads(relation: &Relation, scope: &Scope<'_>) -> bool {
            match relation {
                Relation::Cte { cte, .. } => {
                    scope.levels().flat_map(|l| &l.ctes).any(|c| c.own.is_some() && c.id == *cte)
                }
                Relation::Join(join) => reads(&join.left, scope) || reads(&join.right, scope),
                Relation::Table { .. } | Relation::Subquery { .. } | Relation::Functions { .. } => false,
            }
        }
        let (Some(from), Some(groups)) = (&select.from, &select.groups) else { return Ok(()) };
        if !reads(from, scope) {
            return Ok(());
        }
        let own = |e: &Expr| matches!(&e.kind, Node::Aggregate(aggregate) if aggregate.level == groups.level);
        let mut all = select.targets.iter().map(|target| &target.expr).chain(&select.having);
        match all.find_map(|e| e.first(&own)) {
            None => Ok(()),
            Some(aggregate) => {
                let text = "aggregate functions are not allowed in a recursive query's recursive term";
                Err(Error::new(Kind::Recursion, text).at(aggregate.at))
            }
        }
    }

    fn cte_columns(&self, query: &Query, cte: &ast::Cte, name: &str) -> Result<Vec<Column>> {
        let mut columns = query.columns.clone();
        if cte.alias.columns.len() > columns.len() {
            let text = format!(
                "WITH query \"{name}\" has {} columns available but {} columns specified",
                columns.len(),
                cte.alias.columns.len()
            );
            return Err(Error::new(Kind::InvalidColumnReference, text).at(self.at(cte.alias.name.span)));
        }
        for (column, alias) in columns.iter_mut().zip(&cte.alias.columns) {
            column.name = folded(&alias.name);
        }
        Ok(columns)
    }

    /// A bare part of a set operation as a query.
    pub(super) fn set_expr_query(&self, body: &ast::SetExpr, scope: &Scope<'_>) -> Result<Query> {
        if let ast::SetExpr::Query(query) = body {
            return self.query(query, &Scope::inside(scope), true);
        }
        let (body, columns) = self.body(body, scope, true)?;
        Ok(Query { ctes: vec![], body, order: vec![], offset: None, limit: None, with_ties: false, columns })
    }
}

/// The step's values lie as those of the first term.
fn lying_as(expr: Expr, to: &Column) -> Expr {
    if expr.data_type == to.data_type {
        return expr;
    }
    let (ty, data_type) = (expr.ty, to.data_type.clone());
    Expr::lying(Node::Relabel(Box::new(expr)), ty, data_type, 0)
}

fn materialized(cte: &ast::Cte) -> Option<bool> {
    cte.materialized.as_ref().map(|m| matches!(m, ast::CteAsMaterialized::Materialized))
}

/// For the operator of a set operation's AST.
pub(super) fn set_operator(op: ast::SetOperator) -> Option<SetOperator> {
    Some(match op {
        ast::SetOperator::Union => SetOperator::Union,
        ast::SetOperator::Intersect => SetOperator::Intersect,
        ast::SetOperator::Except => SetOperator::Except,
        ast::SetOperator::Minus => return None,
    })
}

/// Columns of a body.
pub(super) type Bodied = (Body, Vec<Column>);
