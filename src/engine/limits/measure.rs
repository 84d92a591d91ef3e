//! Nodes and depth of a parsed statement. Whatever can hold another of its kind is counted: expressions, queries, table
//! factors, set operations, statements; types are counted as tokens, before. An iterative parser made left-deep chains, so
//! this recursion is as deep as the longest of them: it runs on the planner's stack. What names stand for is
//! `expansion`'s.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Query, SetExpr, Statement, TableFactor, Visit, Visitor};

use super::{Limits, too_complex};
use crate::error::{Error, Result};

pub(super) fn measure(tree: &impl Visit, limits: &Limits) -> Result<()> {
    let mut measure = Measure { nodes: 0, depth: 0, set_operations: vec![], limits, fault: None };
    let _ = Visit::visit(tree, &mut measure);
    measure.fault.map_or(Ok(()), Err)
}

struct Measure<'a> {
    nodes: usize,
    depth: usize,
    /// Depth of the trees of set operations of the queries around this place.
    set_operations: Vec<usize>,
    limits: &'a Limits,
    fault: Option<Error>,
}

impl Measure<'_> {
    fn enter(&mut self, nodes: usize, levels: usize) -> ControlFlow<()> {
        self.nodes += nodes;
        self.depth += levels;
        if self.nodes > self.limits.nodes_max {
            return self.refuse("nodes", self.limits.nodes_max);
        }
        if self.depth > self.limits.chain_max {
            return self.refuse("operators in one chain", self.limits.chain_max);
        }
        ControlFlow::Continue(())
    }

    fn leave(&mut self, levels: usize) -> ControlFlow<()> {
        self.depth -= levels;
        ControlFlow::Continue(())
    }

    fn refuse(&mut self, what: &str, max: usize) -> ControlFlow<()> {
        self.fault = Some(too_complex(what, max));
        ControlFlow::Break(())
    }
}

/// How many set operations there are in a query's body, and how deep they stand in each other. Those inside parentheses
/// are queries of their own.
fn set_operations(query: &Query) -> (usize, usize) {
    let (mut count, mut deepest) = (0, 0);
    let mut bodies = vec![(query.body.as_ref(), 0)];
    while let Some((body, depth)) = bodies.pop() {
        if let SetExpr::SetOperation { left, right, .. } = body {
            count += 1;
            deepest = deepest.max(depth + 1);
            bodies.extend([(left.as_ref(), depth + 1), (right.as_ref(), depth + 1)]);
        }
    }
    (count, deepest)
}

impl Visitor for Measure<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        // parentheses, those of balancing too, are no work for anybody
        self.enter(usize::from(!matches!(expr, Expr::Nested(_))), 1)
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.leave(1)
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let (count, depth) = set_operations(query);
        self.set_operations.push(depth);
        self.enter(1 + count, 1 + depth)
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        let depth = self.set_operations.pop().unwrap_or_default();
        self.leave(1 + depth)
    }

    fn pre_visit_table_factor(&mut self, _: &TableFactor) -> ControlFlow<()> {
        self.enter(1, 1)
    }

    fn post_visit_table_factor(&mut self, _: &TableFactor) -> ControlFlow<()> {
        self.leave(1)
    }

    fn pre_visit_statement(&mut self, _: &Statement) -> ControlFlow<()> {
        self.enter(1, 1)
    }

    fn post_visit_statement(&mut self, _: &Statement) -> ControlFlow<()> {
        self.leave(1)
    }
}
