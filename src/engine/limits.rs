//! Statement limits that stand before planning: 40 KB of SQL must not kill the process. Bytes, then tokens (a flat list,
//! so counting needs no stack), then how deep the grammar goes and, of what sqlparser reads, its steps; then the parsed
//! tree's nodes and depth on the big stack, after long flat chains have been balanced; then, by arithmetic, what the names
//! in it stand for. Execution limits are `run`'s.

mod balance;
mod expansion;
mod foreign;
mod measure;
mod metered;
mod nesting;
mod plan;

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Query, Statement, Visit, VisitMut};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

pub(crate) use expansion::check as check_expansion;
pub(crate) use plan::{check as check_plan, check_physical, rows_per_batch};

use crate::error::{Error, Kind, Result};
use crate::sql::parse::alter::Alter;
use crate::sql::parse::change::Change;
use crate::sql::parse::command::Command;
use crate::sql::parse::copy::Copy;
use crate::sql::parse::reflection::Reflection;
use crate::sql::parse::upkeep::Upkeep;
use crate::sql::parse::view::View;
use crate::sql::parse::{Content, Text, too_complex};

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
    /// Nodes of the plan with each CTE and each dataset in its place.
    pub plan_nodes_max: usize,
    /// Steps of the plan above each other, as it is run.
    pub plan_depth_max: usize,
    /// Columns of all its nodes together: each join carries those of all tables before it.
    pub plan_columns_max: usize,
    /// Operators of an expression whose columns are replaced by what computes them; and of all predicates together.
    pub expression_nodes_max: usize,
    /// CUBE of n columns is 2ⁿ of them.
    pub grouping_sets_max: usize,
    pub planning_timeout_ms: u64,
    /// Statements parsed and planned at a time.
    pub planning_max: usize,
    /// Of those whose time ran out, how many may work on before their places stay taken.
    pub planning_overdue_max: usize,
    /// Of one value that a function makes.
    pub value_bytes_max: usize,
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
            chain_max: 500,
            plan_nodes_max: 10_000,
            plan_depth_max: 500,
            plan_columns_max: 100_000,
            expression_nodes_max: 50_000,
            grouping_sets_max: 4_096,
            planning_timeout_ms: 5_000,
            planning_max: 32,
            planning_overdue_max: 16,
            value_bytes_max: 64 << 20,
            parameters_max: 65_535,
            columns_max: 1_664,
            statements_max: 1_000,
        }
    }
}

/// A statement as it was read.
#[derive(Debug)]
pub(crate) enum Parsed {
    Tree(Statement),
    Change(Box<Change>),
    /// PREPARE or EXPLAIN of one, in which a query stands for it.
    Around(Statement, Box<Change>),
    Copy(Box<Copy>),
    Upkeep(Upkeep),
    Alter(Alter),
    View(Box<View>),
    Reflection(Reflection),
    /// With a cursor's query, and the text it is listed by.
    Command {
        command: Command,
        query: Option<Box<Query>>,
        text: String,
    },
}

/// Parses under the limits. Must run on the planner's big stack.
pub(crate) fn parse(sql: &str, limits: &Limits) -> Result<Vec<Parsed>> {
    Ok(parse_pieces(sql, limits)?.into_iter().map(|(_, statement)| statement).collect())
}

/// As [`parse`], each statement with the text it was read from.
pub(crate) fn parse_pieces(sql: &str, limits: &Limits) -> Result<Vec<(String, Parsed)>> {
    if sql.len() > limits.statement_bytes_max {
        return Err(Error::new(
            Kind::TooLarge,
            format!("statement is larger than {} bytes", limits.statement_bytes_max),
        ));
    }
    let text = Text::of(sql);
    // a node is at least one token; most are two with their separator
    if text.words() > limits.nodes_max.saturating_mul(3) {
        return Err(too_complex("nodes", limits.nodes_max));
    }
    let pieces = text.statements(limits.depth_max)?;
    if pieces.len() > limits.statements_max {
        return Err(Error::new(
            Kind::TooLarge,
            format!("more than {} statements in one message", limits.statements_max),
        ));
    }
    let only = pieces.len() == 1;
    let mut parsed = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let statement = match piece.content {
            Content::Query(query) => Parsed::Tree(measured(Statement::Query(query), limits)?),
            Content::Change(mut change) => {
                measured_inside(change.parts.as_mut(), limits)?;
                Parsed::Change(change)
            }
            Content::Copy(mut copy) => {
                measured_inside(copy.query_mut().as_mut(), limits)?;
                copy.filter.as_mut().map_or(Ok(()), |filter| measured_inside(filter, limits))?;
                Parsed::Copy(copy)
            }
            Content::Upkeep(upkeep) => Parsed::Upkeep(upkeep),
            Content::Alter(alter) => Parsed::Alter(alter),
            Content::View(view) => Parsed::View(view),
            Content::Reflection(reflection) => Parsed::Reflection(reflection),
            Content::Call(call) => Parsed::Tree(measured(Statement::Call(*call), limits)?),
            Content::Command(command, mut query) => {
                query.as_mut().map_or(Ok(()), |query| measured_inside(query.as_mut(), limits))?;
                let text = if only { sql } else { piece.text };
                let text = if query.is_some() { text.to_owned() } else { String::new() };
                Parsed::Command { command: *command, query, text }
            }
            Content::Other(mut other) => {
                let mut statement = read(sql, &other.text, limits)?;
                let change = other.change.take();
                other.completed(&mut statement);
                let statement = measured(statement, limits)?;
                match change {
                    Some(mut change) => {
                        measured_inside(change.parts.as_mut(), limits)?;
                        Parsed::Around(statement, change)
                    }
                    None => Parsed::Tree(statement),
                }
            }
        };
        parsed.push((piece.text.to_owned(), statement));
    }
    Ok(parsed)
}

/// The same with its long chains balanced, where it is not too large.
fn measured(mut statement: Statement, limits: &Limits) -> Result<Statement> {
    measured_inside(&mut statement, limits)?;
    Ok(statement)
}

fn measured_inside(tree: &mut (impl Visit + VisitMut), limits: &Limits) -> Result<()> {
    let mut balance = balance::Balance { depth_left: limits.chain_max };
    if VisitMut::visit(tree, &mut balance) == ControlFlow::Break(()) {
        return Err(too_complex("operators in one chain", limits.chain_max));
    }
    measure::measure(tree, limits)
}

/// A statement that is sqlparser's to read.
fn read(sql: &str, text: &str, limits: &Limits) -> Result<Statement> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location().map_err(|e| {
        let at = position(sql, e.location.line, e.location.column);
        Error::new(Kind::Syntax, format!("syntax error: {}", e.message)).at(at)
    })?;
    // the parser's own limit turns into a syntax error where it tries one reading after another
    if nesting::nesting(&tokens) > limits.depth_max {
        return Err(too_complex("levels", limits.depth_max));
    }
    if nesting::too_many_dimensions(&tokens) {
        return Err(Error::new(Kind::TooLarge, "number of array dimensions exceeds the maximum allowed (6)"));
    }
    let dialect = metered::Metered::for_tokens(tokens.len());
    let mut parser = Parser::new(&dialect).with_recursion_limit(limits.depth_max).with_tokens_with_locations(tokens);
    let mut statements = parser.parse_statements().map_err(|e| match e {
        ParserError::RecursionLimitExceeded if dialect.is_spent() => {
            Error::new(Kind::TooComplex, "statement is too complex: its inner parts can be read in too many ways")
                .with_hint("Nest fewer calls and parentheses.")
        }
        ParserError::RecursionLimitExceeded => too_complex("levels", limits.depth_max),
        ParserError::ParserError(said) | ParserError::TokenizerError(said) => match foreign::statement(text) {
            Some(words) => Error::unsupported(words),
            None => syntax(sql, &said),
        },
    })?;
    match (statements.pop(), statements.is_empty()) {
        (Some(only), true) => Ok(only),
        // a block of statements has semicolons of its own
        _ => Err(Error::unsupported("a block of statements")),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::planner::{Places, Planner};

    fn outcome(sql: String) -> &'static str {
        let timeout = std::time::Duration::from_secs(60);
        let planner = Planner::new(Places { running_max: 1, overdue_max: 0, timeout }).expect("a thread");
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
    fn whatever_nests_is_counted() {
        let around =
            |n: usize, open: &str, middle: &str, close: &str| format!("{}{middle}{}", open.repeat(n), close.repeat(n));
        assert_eq!(outcome(format!("SELECT NULL::int4{}", "[]".repeat(6))), "ok");
        assert_eq!(outcome(format!("SELECT NULL::int4{}", "[]".repeat(7))), "54000");
        assert_eq!(outcome(format!("SELECT NULL::int4{}", "[ 3 ]".repeat(2_000))), "54000");
        assert_eq!(outcome(format!("CREATE TABLE t (a int4{})", "[]".repeat(2_000))), "54000");
        assert_eq!(outcome(format!("CREATE TABLE t (a {}int4)", "ARRAY<".repeat(20_000))), "54001");
        assert_eq!(outcome(format!("CREATE TABLE t (a int CHECK ({}'1'))", "INTERVAL ".repeat(20_000))), "54001");
        assert_eq!(outcome(format!("SELECT {}1", "1 = NOT ".repeat(20_000))), "54001");
        assert_eq!(outcome(format!("SELECT * FROM a {}", "JOIN a ".repeat(20_000))), "54001");
        assert_eq!(outcome(format!("SELECT {}1", "@ ".repeat(20_000))), "54001");
        assert_eq!(outcome(format!("SELECT 5{}", " !".repeat(70_000))), "54001");
        assert_eq!(outcome(format!("SELECT 5{}", "::int".repeat(20_000))), "54001");
        assert_eq!(outcome(format!("SELECT a{}", " IS NULL".repeat(20_000))), "54001");
        assert_eq!(outcome(around(5_000, "EXPLAIN ", "SELECT 1", "")), "54001");
        assert_eq!(outcome(around(5_000, "PREPARE p AS ", "SELECT 1", "")), "54001");
        assert_eq!(outcome(around(5_000, "SELECT 1 UNION (", "SELECT 1", ")")), "54001");
        assert_eq!(outcome(format!("SELECT * FROM {}", around(5_000, "(", "a JOIN b ON true", ")"))), "54001");
        let trees = (0..11).fold("SELECT 1".to_string(), |tree, _| format!("{tree} UNION {tree}"));
        assert_eq!(outcome(trees), "54001");
    }

    #[test]
    fn readings_that_double_are_refused() {
        let around =
            |n: usize, open: &str, middle: &str, close: &str| format!("{}{middle}{}", open.repeat(n), close.repeat(n));
        // of what sqlparser reads
        assert_eq!(
            outcome(format!("CREATE TABLE t (a int CHECK ({}))", around(14, "position(", "1, 1", ")"))),
            "54001"
        );
        assert_eq!(
            outcome(format!("CREATE TABLE t (a int CHECK ({}))", around(14, "1 IN ((SELECT ", "1", "), 2)"))),
            "54001"
        );
        // the grammar reads a query once
        assert_eq!(outcome(format!("SELECT {}", around(40, "1 IN ((SELECT ", "1", "), 2)"))), "ok");
        assert_eq!(outcome(format!("SELECT {}", around(100, "(", "SELECT 1", ")"))), "ok");
        assert_eq!(outcome(format!("SELECT {}", around(40, "CAST(", "1", " AS int)"))), "ok");
        assert_eq!(outcome(format!("SELECT {}", around(60, "(", "1", ")"))), "ok");
    }

    #[test]
    fn a_syntax_error_points_at_its_place() {
        let e = parse("SELECT 1\nFROM )", &Limits::default()).expect_err("no such statement");
        assert_eq!((e.kind().sqlstate(), e.position()), ("42601", Some(15)));
    }
}
