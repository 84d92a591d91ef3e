//! FOR UPDATE and FOR SHARE (analyze.c, `transformLockingClause`). Rows of a lake are not locked; where PostgreSQL has none
//! to lock, the statement is refused as there.

use datafusion::sql::sqlparser::ast::{self, LockType, SetExpr, TableFactor};

use super::Binder;
use super::name::{folded, segments};
use crate::error::{Error, Kind, Result};
use crate::sql::expr::{Expr, Kind as Node};
use crate::sql::query::{Body, Distinct, Query, Relation, Select};

impl Binder<'_> {
    pub(super) fn check_locks(&self, ast: &ast::Query, query: &Query) -> Result<()> {
        for lock in &ast.locks {
            let strength = strength(lock);
            if matches!(query.body, Body::Values { .. }) {
                return Err(Error::new(Kind::Unsupported, format!("{strength} cannot be applied to VALUES")));
            }
            self.check_lock(ast, query, strength, lock.of.as_ref())?;
        }
        Ok(())
    }

    fn check_lock(&self, ast: &ast::Query, query: &Query, strength: &str, of: Option<&ast::ObjectName>) -> Result<()> {
        let select = match &query.body {
            Body::Select(select) => select,
            Body::SetOperation { .. } => return refused(strength, SET_OPERATION),
            Body::Values { .. } => return Ok(()),
        };
        if let Some(what) = without_rows(select) {
            return refused(strength, what);
        }
        let mut relations = vec![];
        select.from.iter().for_each(|from| leaves(from, &mut relations));
        let mut factors = vec![];
        if let SetExpr::Select(select) = ast.body.as_ref() {
            select.from.iter().for_each(|part| parts(part, &mut factors));
        }
        let Some(of) = of else {
            return factors.iter().zip(relations).try_for_each(|(factor, relation)| match (factor, relation) {
                (TableFactor::Derived { subquery, .. }, Relation::Subquery { query, .. }) => {
                    self.check_lock(subquery, query, strength, None)
                }
                (factor, relation) => has_rows_to_lock(factor, relation),
            });
        };
        let at = self.at_of(of);
        let name = match segments(of).as_slice() {
            [name] => name.clone(),
            _ => {
                let text = format!("{strength} must specify unqualified relation names");
                return Err(Error::new(Kind::Syntax, text).at(at));
            }
        };
        let applied =
            |what: &str| Err(Error::new(Kind::Unsupported, format!("{strength} cannot be applied to {what}")).at(at));
        if let SetExpr::Select(select) = ast.body.as_ref()
            && select.from.iter().any(|part| is_join_named(part, &name))
        {
            return applied("a join");
        }
        let found = factors.iter().zip(relations).find(|(factor, _)| called(factor).as_ref() == Some(&name));
        match found {
            None => {
                let text = format!("relation \"{name}\" in {strength} clause not found in FROM clause");
                Err(Error::new(Kind::UndefinedTable, text).at(at))
            }
            Some((_, Relation::Cte { .. })) => applied("a WITH query"),
            Some((_, Relation::Functions { .. })) => applied("a function"),
            Some((TableFactor::Derived { subquery, .. }, Relation::Subquery { query, .. })) => {
                self.check_lock(subquery, query, strength, None)
            }
            Some((factor, relation)) => has_rows_to_lock(factor, relation),
        }
    }
}

/// 42809 for a materialized view (`CheckValidRowMarkRel`).
fn has_rows_to_lock(factor: &TableFactor, relation: &Relation) -> Result<()> {
    match (factor, relation) {
        (TableFactor::Table { name, .. }, Relation::Table { source, .. }) if source.is_materialized => {
            let name = segments(name).pop().unwrap_or_default();
            Err(Error::new(Kind::WrongObjectType, format!("cannot lock rows in materialized view \"{name}\"")))
        }
        _ => Ok(()),
    }
}

const SET_OPERATION: &str = "UNION/INTERSECT/EXCEPT";

/// Of one side of a set operation.
pub(super) fn beside_others(lock: &ast::LockClause) -> Error {
    not_allowed(strength(lock), SET_OPERATION)
}

fn strength(lock: &ast::LockClause) -> &'static str {
    match lock.lock_type {
        LockType::Share => "FOR SHARE",
        LockType::Update => "FOR UPDATE",
    }
}

fn not_allowed(strength: &str, what: &str) -> Error {
    Error::new(Kind::Unsupported, format!("{strength} is not allowed with {what}"))
}

fn refused(strength: &str, what: &str) -> Result<()> {
    Err(not_allowed(strength, what))
}

/// Why no row of it is a row of a table (`CheckSelectLocking`).
fn without_rows(select: &Select) -> Option<&'static str> {
    let holds = |is: &dyn Fn(&Expr) -> bool| select.targets.iter().any(|target| target.expr.any(&is));
    if select.distinct != Distinct::None {
        return Some("DISTINCT clause");
    }
    if let Some(groups) = &select.groups {
        return Some(match (groups.by.is_empty() && groups.sets.len() < 2, &select.having) {
            (false, _) => "GROUP BY clause",
            (true, Some(_)) => "HAVING clause",
            (true, None) => "aggregate functions",
        });
    }
    if holds(&|e| matches!(e.kind, Node::Window(_))) {
        return Some("window functions");
    }
    holds(&Expr::is_set).then_some("set-returning functions in the target list")
}

fn leaves<'r>(relation: &'r Relation, found: &mut Vec<&'r Relation>) {
    match relation {
        Relation::Join(join) => {
            leaves(&join.left, found);
            leaves(&join.right, found);
        }
        other => found.push(other),
    }
}

/// As [`leaves`], of what was written.
fn parts<'a>(part: &'a ast::TableWithJoins, found: &mut Vec<&'a TableFactor>) {
    for factor in std::iter::once(&part.relation).chain(part.joins.iter().map(|join| &join.relation)) {
        match factor {
            TableFactor::NestedJoin { table_with_joins, .. } => parts(table_with_joins, found),
            other => found.push(other),
        }
    }
}

fn called(factor: &TableFactor) -> Option<String> {
    match factor {
        TableFactor::Table { name, alias, .. } => match alias {
            Some(alias) => Some(folded(&alias.name)),
            None => segments(name).pop(),
        },
        TableFactor::Derived { alias, .. } | TableFactor::Function { alias, .. } => {
            alias.as_ref().map(|alias| folded(&alias.name))
        }
        _ => None,
    }
}

/// A join in parentheses, or the columns that USING merged.
fn is_join_named(part: &ast::TableWithJoins, name: &str) -> bool {
    let using = part.joins.iter().any(|join| match &join.join_operator {
        ast::JoinOperator::Join(ast::JoinConstraint::Using(names))
        | ast::JoinOperator::Inner(ast::JoinConstraint::Using(names))
        | ast::JoinOperator::Left(ast::JoinConstraint::Using(names))
        | ast::JoinOperator::LeftOuter(ast::JoinConstraint::Using(names))
        | ast::JoinOperator::Right(ast::JoinConstraint::Using(names))
        | ast::JoinOperator::RightOuter(ast::JoinConstraint::Using(names))
        | ast::JoinOperator::FullOuter(ast::JoinConstraint::Using(names)) => {
            crate::sql::parse::encoding::without_join_alias(names).1.is_some_and(|alias| folded(alias) == name)
        }
        _ => false,
    });
    using
        || std::iter::once(&part.relation).chain(part.joins.iter().map(|join| &join.relation)).any(|factor| {
            match factor {
                TableFactor::NestedJoin { table_with_joins, alias } => match alias {
                    // an alias hides the names inside
                    Some(alias) => folded(&alias.name) == name,
                    None => is_join_named(table_with_joins, name),
                },
                _ => false,
            }
        })
}
