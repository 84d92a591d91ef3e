//! Long flat chains of operators as trees of logarithmic depth, so that no later walk recurs as deep as they are long. Only
//! where the grouping cannot change the value.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, VisitorMut};

/// Chains longer than this are balanced: shorter ones keep the order in which they were written.
const BALANCE_ABOVE: usize = 64;

/// Turns `a OR b OR c …`, left-deep as parsed, into a tree of logarithmic depth. Only operators whose grouping cannot
/// change the value: AND, OR and text concatenation, and `+` of long chains of literals.
pub(super) struct Balance {
    /// How deep it may go: what is still deeper once it is balanced is refused, before a walk gets to its end.
    pub(super) depth_left: usize,
}

impl VisitorMut for Balance {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Some(left) = self.depth_left.checked_sub(1) else { return ControlFlow::Break(()) };
        self.depth_left = left;
        if let Expr::BinaryOp { op, .. } = expr
            && matches!(
                op,
                BinaryOperator::And | BinaryOperator::Or | BinaryOperator::StringConcat | BinaryOperator::Plus
            )
            && chain_length(expr) > BALANCE_ABOVE
        {
            balance(expr);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _: &mut Expr) -> ControlFlow<()> {
        self.depth_left += 1;
        ControlFlow::Continue(())
    }
}

fn chain_length(expr: &Expr) -> usize {
    let Expr::BinaryOp { op: first, .. } = expr else { return 0 };
    let (mut n, mut at) = (0, expr);
    while let Expr::BinaryOp { left, op, .. } = at {
        if op != first {
            break;
        }
        n += 1;
        at = left;
    }
    n
}

fn balance(expr: &mut Expr) {
    let Expr::BinaryOp { op, .. } = expr else { return };
    let op = op.clone();
    let hole = || Expr::Value(datafusion::sql::sqlparser::ast::Value::Null.into());
    let mut operands = vec![];
    let mut at = std::mem::replace(expr, hole());
    loop {
        match at {
            Expr::BinaryOp { left, op: o, right } if o == op => {
                operands.push(*right);
                at = *left;
            }
            other => {
                operands.push(other);
                break;
            }
        }
    }
    operands.reverse();
    *expr = tree(operands, &op);
}

fn tree(mut operands: Vec<Expr>, op: &BinaryOperator) -> Expr {
    if operands.len() == 1 {
        return operands.remove(0);
    }
    let right = operands.split_off(operands.len() / 2);
    Expr::BinaryOp {
        left: Box::new(Expr::Nested(Box::new(tree(operands, op)))),
        op: op.clone(),
        right: Box::new(Expr::Nested(Box::new(tree(right, op)))),
    }
}
