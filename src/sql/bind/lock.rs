//! FOR UPDATE and its kin, which lock nothing here: where PostgreSQL refuses them (`CheckSelectLocking`).

use datafusion::sql::sqlparser::ast;

use crate::error::{Error, Kind, Result};
use crate::sql::expr::{Expr, Kind as Node};
use crate::sql::query::{Body, Distinct, Select};

/// 0A000 over rows that are no table's.
pub(super) fn check(locks: &[ast::LockClause], body: &Body) -> Result<()> {
    let (Some(lock), Some(what)) = (locks.first(), refused(body)) else { return Ok(()) };
    let strength = match lock.lock_type {
        ast::LockType::Share => "SHARE",
        ast::LockType::Update => "UPDATE",
    };
    Err(Error::new(Kind::Unsupported, format!("FOR {strength} {what}")))
}

fn refused(body: &Body) -> Option<&'static str> {
    match body {
        Body::SetOperation { .. } => Some("is not allowed with UNION/INTERSECT/EXCEPT"),
        Body::Values { .. } => Some("cannot be applied to VALUES"),
        Body::Select(select) => refused_of(select),
    }
}

fn refused_of(select: &Select) -> Option<&'static str> {
    let any = |is: fn(&Expr) -> bool| select.targets.iter().any(|target| holds(&target.expr, is));
    if select.distinct != Distinct::None {
        return Some("is not allowed with DISTINCT clause");
    }
    if select.groups.as_ref().is_some_and(|groups| !groups.by.is_empty() || groups.sets.len() > 1) {
        return Some("is not allowed with GROUP BY clause");
    }
    if select.having.is_some() {
        return Some("is not allowed with HAVING clause");
    }
    if any(|e| matches!(e.kind, Node::Aggregate(_))) {
        return Some("is not allowed with aggregate functions");
    }
    // GROUP BY () has neither
    if select.groups.is_some() {
        return Some("is not allowed with GROUP BY clause");
    }
    if any(|e| matches!(e.kind, Node::Window(_))) {
        return Some("is not allowed with window functions");
    }
    any(|e| matches!(&e.kind, Node::Call(call) if call.proc.set))
        .then_some("is not allowed with set-returning functions in the target list")
}

fn holds(e: &Expr, is: fn(&Expr) -> bool) -> bool {
    is(e) || e.children().into_iter().any(|child| holds(child, is))
}
