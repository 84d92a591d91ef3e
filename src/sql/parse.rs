//! What of PostgreSQL's grammar sqlparser reads otherwise: put right on its tokens before, and on its tree after. Statements
//! are parsed and limited by `engine`; nothing here resolves a name.

mod precedence;

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Ident, Query, VisitMut, VisitorMut};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// A text without limits, for tests.
#[cfg(test)]
pub(crate) fn parse(text: &str) -> crate::error::Result<Vec<datafusion::sql::sqlparser::ast::Statement>> {
    use crate::error::{Error, Kind};
    let dialect = datafusion::sql::sqlparser::dialect::PostgreSqlDialect {};
    let parsed = Parser::new(&dialect).try_with_sql(text).and_then(|mut parser| parser.parse_statements());
    parsed.map_err(|error| Error::new(Kind::Syntax, error.to_string()))
}

/// `ORDER BY x USING <` is ASC, `USING >` DESC: those operators alone are in every btree class.
pub(crate) fn order_using(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut using: Option<usize> = None;
    for token in tokens {
        let direction = match (&token.token, using) {
            (Token::Lt, Some(_)) => Some("ASC"),
            (Token::Gt, Some(_)) => Some("DESC"),
            _ => None,
        };
        match (direction, using) {
            (Some(word), Some(at)) => {
                out.truncate(at);
                out.push(TokenWithSpan { token: Token::make_keyword(word), span: token.span });
                using = None;
            }
            _ => {
                match &token.token {
                    Token::Word(w) if w.keyword == Keyword::USING && w.quote_style.is_none() => using = Some(out.len()),
                    Token::Whitespace(_) => {}
                    _ => using = None,
                }
                out.push(token);
            }
        }
    }
    out
}

/// `VARIADIC array` among a call's arguments. For the dialect's prefix hook: `None` where none stands here.
pub(crate) fn variadic(parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
    let is_variadic = |token: &Token| matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case("variadic"));
    if !is_variadic(&parser.peek_token_ref().token) {
        return None;
    }
    let span = parser.next_token().span;
    let mut prefix = Ident::new("VARIADIC");
    prefix.span = span;
    Some(parser.parse_expr().map(|value| Expr::Prefixed { prefix, value: Box::new(value) }))
}

/// The tree with operators as tight as PostgreSQL's.
pub(crate) fn corrected(query: &mut Query) {
    let _: ControlFlow<()> = VisitMut::visit(query, &mut Precedence);
}

struct Precedence;

impl VisitorMut for Precedence {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        precedence::correct(expr);
        ControlFlow::Continue(())
    }
}
