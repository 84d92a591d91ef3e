//! Statement limits that stand before planning: 40 KB of SQL must not kill the process. Bytes, then tokens (a flat list,
//! so counting needs no stack), then the parsed tree's nodes and depth on the big stack, after long flat chains have been
//! balanced. Execution limits are `run`'s.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Query, SetExpr, Statement, Visit, VisitMut, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use serde::{Deserialize, Serialize};

use super::tokens;
use crate::error::{Error, Kind, Result};

/// `[engine.statement]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub statement_bytes_max: usize,
    /// Nodes of the parsed statement.
    pub nodes_max: usize,
    /// Parentheses, subqueries and calls inside each other.
    pub depth_max: usize,
    /// Length of an operator chain that cannot be balanced.
    pub chain_max: usize,
    /// Nodes of the plan after views and policy.
    pub plan_nodes_max: usize,
    pub planning_timeout_ms: u64,
    pub parameters_max: usize,
    pub columns_max: usize,
    /// Statements in one simple Query.
    pub statements_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            statement_bytes_max: 1 << 20,
            nodes_max: 50_000,
            depth_max: 128,
            chain_max: 1_000,
            plan_nodes_max: 10_000,
            planning_timeout_ms: 5_000,
            parameters_max: 65_535,
            columns_max: 1_664,
            statements_max: 1_000,
        }
    }
}

/// Chains longer than this are balanced: shorter ones keep the order in which they were written.
const BALANCE_ABOVE: usize = 64;

/// Parses under the limits. Must run on the planner's big stack.
pub(crate) fn parse(sql: &str, limits: &Limits) -> Result<Vec<Statement>> {
    if sql.len() > limits.statement_bytes_max {
        return Err(Error::new(
            Kind::TooLarge,
            format!("statement is larger than {} bytes", limits.statement_bytes_max),
        ));
    }
    let tokens = tokenize(sql)?;
    let words = tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).count();
    // a node is at least one token; most are two with their separator
    if words > limits.nodes_max.saturating_mul(3) {
        return Err(too_complex("nodes", limits.nodes_max));
    }
    // the parser's own limit turns into a syntax error where it tries one reading after another
    if nesting(&tokens) > limits.depth_max {
        return Err(too_complex("levels", limits.depth_max));
    }
    let mut statements = parse_tokens(sql, tokens, limits)?;
    if statements.len() > limits.statements_max {
        return Err(Error::new(
            Kind::TooLarge,
            format!("more than {} statements in one message", limits.statements_max),
        ));
    }
    for statement in &mut statements {
        let _: ControlFlow<()> = VisitMut::visit(statement, &mut Balance);
        measure(statement, limits)?;
    }
    Ok(statements)
}

/// As [`parse`], each statement with the text it was read from.
pub(crate) fn parse_pieces(sql: &str, limits: &Limits) -> Result<Vec<(String, Statement)>> {
    let statements = parse(sql, limits)?;
    let pieces = tokens::pieces(sql, &tokenize(sql)?);
    // a block of statements has semicolons of its own
    if pieces.len() != statements.len() {
        return Err(Error::unsupported("a block of statements"));
    }
    Ok(pieces.into_iter().zip(statements).collect())
}

fn tokenize(sql: &str) -> Result<Vec<TokenWithSpan>> {
    Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location().map_err(|e| {
        let at = position(sql, e.location.line, e.location.column);
        Error::new(Kind::Syntax, format!("syntax error: {}", e.message)).at(at)
    })
}

fn parse_tokens(sql: &str, tokens: Vec<TokenWithSpan>, limits: &Limits) -> Result<Vec<Statement>> {
    let dialect = PostgreSqlDialect {};
    let tokens = tokens::table_as_select(tokens);
    let mut parser = Parser::new(&dialect).with_recursion_limit(limits.depth_max).with_tokens_with_locations(tokens);
    parser.parse_statements().map_err(|e| match e {
        ParserError::RecursionLimitExceeded => too_complex("levels", limits.depth_max),
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => syntax(sql, &text),
    })
}

/// Of parentheses, brackets, CASE, and prefix operators in a row.
fn nesting(tokens: &[TokenWithSpan]) -> usize {
    let (mut depth, mut prefixes, mut deepest) = (0usize, 0, 0);
    for token in tokens {
        let keyword = match &token.token {
            Token::Whitespace(_) => continue,
            Token::Word(word) => word.keyword,
            _ => Keyword::NoKeyword,
        };
        let is_prefix = keyword == Keyword::NOT || matches!(token.token, Token::Minus | Token::Plus | Token::Tilde);
        prefixes = if is_prefix { prefixes + 1 } else { 0 };
        match (&token.token, keyword) {
            (Token::LParen | Token::LBracket, _) | (_, Keyword::CASE) => depth += 1,
            (Token::RParen | Token::RBracket, _) | (_, Keyword::END) => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth + prefixes);
    }
    deepest
}

/// sqlparser: `Expected: an expression, found: from at Line: 1, Column: 8`. PostgreSQL: what it stumbled on, and where.
fn syntax(sql: &str, text: &str) -> Error {
    let (text, place) = match text.rsplit_once(" at Line: ") {
        Some((text, place)) => (text, Some(place)),
        None => (text, None),
    };
    let message = match text.rsplit_once("found: ") {
        Some((_, "EOF")) => "syntax error at end of input".to_string(),
        Some((_, found)) => format!("syntax error at or near \"{found}\""),
        None => format!("syntax error: {text}"),
    };
    let error = Error::new(Kind::Syntax, message);
    let at = place.and_then(|p| p.split_once(", Column: ")).and_then(|(l, c)| Some((l.parse().ok()?, c.parse().ok()?)));
    match at {
        Some((line, column)) => error.at(position(sql, line, column)),
        None => error,
    }
}

/// One-based character index from one-based line and column.
fn position(sql: &str, line: u64, column: u64) -> usize {
    let before: usize = sql.split('\n').take(line.saturating_sub(1) as usize).map(|l| l.chars().count() + 1).sum();
    before + column.max(1) as usize
}

fn too_complex(what: &str, max: usize) -> Error {
    Error::new(Kind::TooComplex, format!("statement is too complex: more than {max} {what}"))
        .with_hint("Put long value lists into a table, or split the statement.")
}

/// Nodes and depth; an iterative parser made left-deep chains, so this recursion is as deep as the longest of them.
fn measure(statement: &Statement, limits: &Limits) -> Result<()> {
    let mut m = Measure { nodes: 0, depth: 0, limits, fault: None };
    let _ = Visit::visit(statement, &mut m);
    m.fault.map_or(Ok(()), Err)
}

struct Measure<'a> {
    nodes: isize,
    depth: usize,
    limits: &'a Limits,
    fault: Option<Error>,
}

impl Measure<'_> {
    fn enter(&mut self) -> ControlFlow<()> {
        self.nodes += 1;
        self.depth += 1;
        if self.nodes > isize::try_from(self.limits.nodes_max).unwrap_or(isize::MAX) {
            self.fault = Some(too_complex("nodes", self.limits.nodes_max));
            return ControlFlow::Break(());
        }
        if self.depth > self.limits.chain_max {
            self.fault = Some(too_complex("operators in one chain", self.limits.chain_max));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

impl Visitor for Measure<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        // parentheses, those of balancing too, are no work for anybody
        if matches!(expr, Expr::Nested(_)) {
            self.nodes -= 1;
        }
        self.enter()
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        // a chain of UNIONs is one query to the visitor
        let mut chain = 0;
        let mut body = query.body.as_ref();
        while let SetExpr::SetOperation { left, .. } = body {
            chain += 1;
            body = left;
        }
        if chain > self.limits.chain_max {
            self.fault = Some(too_complex("set operations in one chain", self.limits.chain_max));
            return ControlFlow::Break(());
        }
        self.enter()
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

/// Turns `a OR b OR c …`, left-deep as parsed, into a tree of logarithmic depth. Only operators whose grouping cannot
/// change the value: AND, OR and text concatenation, and `+` of long chains of literals.
struct Balance;

impl VisitorMut for Balance {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::planner::Planner;

    fn outcome(sql: String) -> &'static str {
        let planner = Planner::new(1).expect("a thread");
        let limits = Limits::default();
        let parsed = planner.blocking(move || parse(&sql, &limits).map(|s| s.len()));
        match parsed {
            Ok(_) => "ok",
            Err(e) => e.kind().sqlstate(),
        }
    }

    #[test]
    fn long_chains_are_balanced_and_longer_ones_refused() {
        let chain = |op: &str, n: usize| format!("SELECT 1 WHERE {}", vec!["a = 1"; n].join(op));
        assert_eq!(outcome(chain(" OR ", 10_000)), "ok");
        assert_eq!(outcome(chain(" AND ", 10_000)), "ok");
        assert_eq!(outcome(format!("SELECT {}", vec!["1"; 20_000].join("+"))), "ok");
        assert_eq!(outcome(format!("SELECT {}", vec!["1"; 20_000].join("-"))), "54001");
        assert_eq!(outcome(format!("SELECT {}", vec!["1"; 400_000].join("+"))), "54001");
        assert_eq!(outcome(format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000))), "54001");
        assert_eq!(outcome(format!("SELECT {}1", "NOT ".repeat(5_000))), "54001");
        assert_eq!(outcome(vec!["SELECT 1"; 2_000].join(" UNION ")), "54001");
        assert_eq!(outcome("x".repeat(2 << 20)), "54000");
    }

    #[test]
    fn a_syntax_error_points_at_its_place() {
        let e = parse("SELECT 1\nFROM )", &Limits::default()).expect_err("no such statement");
        assert_eq!((e.kind().sqlstate(), e.position()), ("42601", Some(15)));
    }
}
