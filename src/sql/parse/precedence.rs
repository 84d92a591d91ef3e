//! `a IS DISTINCT FROM b AND c`: the parser takes all that follows for the right side, while IS binds tighter than NOT,
//! AND and OR (PostgreSQL's gram.y). It corrects what follows from that and no other precedence.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value};

/// Children are in order already. What stands in parentheses is a node of its own and never loose.
pub(super) fn correct(expr: &mut Expr) {
    match expr {
        Expr::IsDistinctFrom(left, right) if loose(right) => {
            let left = take(left);
            *expr = lift(take(right), |right| Expr::IsDistinctFrom(left.into(), right.into()));
        }
        Expr::IsNotDistinctFrom(left, right) if loose(right) => {
            let left = take(left);
            *expr = lift(take(right), |right| Expr::IsNotDistinctFrom(left.into(), right.into()));
        }
        Expr::UnaryOp { op: UnaryOperator::Not, expr: inner } if loose(inner) => {
            *expr = lift(take(inner), |inner| Expr::UnaryOp { op: UnaryOperator::Not, expr: inner.into() });
        }
        // a sign binds tighter than ^
        Expr::UnaryOp { op: op @ (UnaryOperator::Minus | UnaryOperator::Plus), expr: inner } if is_power(inner) => {
            let op = *op;
            *expr = sign(take(inner), op);
        }
        Expr::BinaryOp { left, op: op @ BinaryOperator::And, right } if loose(right) => {
            let (left, op) = (take(left), op.clone());
            *expr = lift(take(right), |right| Expr::BinaryOp { left: left.into(), op, right: right.into() });
        }
        _ => {}
    }
}

fn is_power(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryOp { op: BinaryOperator::PGExp | BinaryOperator::BitwiseXor, .. })
}

/// The sign around the base of a chain of powers.
fn sign(expr: Expr, op: UnaryOperator) -> Expr {
    match expr {
        Expr::BinaryOp { left, op: power, right }
            if matches!(power, BinaryOperator::PGExp | BinaryOperator::BitwiseXor) =>
        {
            Expr::BinaryOp { left: sign(*left, op).into(), op: power, right }
        }
        base => Expr::UnaryOp { op, expr: base.into() },
    }
}

fn loose(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, .. })
}

/// `wrap` around the leftmost operand of ANDs and ORs instead of around them all.
fn lift(expr: Expr, wrap: impl FnOnce(Expr) -> Expr) -> Expr {
    match expr {
        Expr::BinaryOp { left, op, right } if matches!(op, BinaryOperator::And | BinaryOperator::Or) => {
            Expr::BinaryOp { left: lift(*left, wrap).into(), op, right }
        }
        leftmost => wrap(leftmost),
    }
}

fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::Value(Value::Null.into()))
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use datafusion::sql::sqlparser::ast::visit_expressions_mut;
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    /// `expect` says the same with parentheses.
    fn check(sql: &str, expect: &str) {
        let parse = |sql: &str| Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_expr().unwrap();
        let mut found = parse(sql);
        let _ = visit_expressions_mut(&mut found, |e| {
            super::correct(e);
            ControlFlow::<()>::Continue(())
        });
        let shape = |text: String| text.replace(['(', ')'], "");
        assert_eq!(shape(found.to_string()), shape(expect.to_string()));
        // Nested nodes aside, the trees are equal
        assert_eq!(bare(&found), bare(&parse(expect)), "{sql}");
    }

    fn bare(expr: &super::Expr) -> String {
        use super::Expr::{BinaryOp, IsDistinctFrom, IsNotDistinctFrom, Nested, UnaryOp};
        match expr {
            Nested(inner) => bare(inner),
            BinaryOp { left, op, right } => format!("({} {op} {})", bare(left), bare(right)),
            UnaryOp { op, expr } => format!("({op} {})", bare(expr)),
            IsDistinctFrom(a, b) => format!("({} IDF {})", bare(a), bare(b)),
            IsNotDistinctFrom(a, b) => format!("({} INDF {})", bare(a), bare(b)),
            other => other.to_string(),
        }
    }

    #[test]
    fn is_distinct_from_binds_tighter_than_not_and_or() {
        for (sql, expect) in [
            ("a IS DISTINCT FROM b AND c", "(a IS DISTINCT FROM b) AND c"),
            ("a IS NOT DISTINCT FROM b OR c AND d", "(a IS NOT DISTINCT FROM b) OR (c AND d)"),
            ("x AND a IS DISTINCT FROM b OR c", "(x AND (a IS DISTINCT FROM b)) OR c"),
            ("x OR a IS DISTINCT FROM b AND c", "x OR ((a IS DISTINCT FROM b) AND c)"),
            ("NOT a IS DISTINCT FROM b AND c", "(NOT (a IS DISTINCT FROM b)) AND c"),
            (
                "a IS DISTINCT FROM b AND c IS DISTINCT FROM d AND e",
                "((a IS DISTINCT FROM b) AND (c IS DISTINCT FROM d)) AND e",
            ),
            ("a IS DISTINCT FROM b = c AND d", "(a IS DISTINCT FROM (b = c)) AND d"),
            ("a IS DISTINCT FROM (b AND c)", "a IS DISTINCT FROM (b AND c)"),
            ("x AND (a OR b)", "x AND (a OR b)"),
            ("NOT (a OR b)", "NOT (a OR b)"),
            ("-a ^ b", "(-a) ^ b"),
            ("-2 ^ b ^ c + 1", "((-2) ^ b) ^ c + 1"),
            ("-(a ^ b)", "-(a ^ b)"),
        ] {
            check(sql, expect);
        }
    }
}
