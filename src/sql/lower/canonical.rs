//! One form for what a plan's expression can say in two.

use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::{BinaryExpr, InList};

/// `expr` itself, not what stands in it: a comparison has its constant on the right, a list of constants is in order and
/// names each once.
pub(crate) fn canonical(expr: Expr) -> Transformed<Expr> {
    let is_literal = |e: &Expr| matches!(e, Expr::Literal(..));
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_literal(&left) && !is_literal(&right) => {
            match op.swap() {
                Some(op) => Transformed::yes(Expr::BinaryExpr(BinaryExpr { left: right, op, right: left })),
                None => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
            }
        }
        Expr::InList(InList { expr, mut list, negated }) if list.iter().all(is_literal) => {
            list.sort_by_cached_key(Expr::to_string);
            list.dedup();
            Transformed::yes(Expr::InList(InList { expr, list, negated }))
        }
        other => Transformed::no(other),
    }
}
