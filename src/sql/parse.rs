//! Text → AST, in PostgreSQL's grammar: a dialect of our own over sqlparser's. It knows no limits; `engine` counts tokens
//! before a statement comes here.

use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use crate::error::{Error, Kind, Result};

/// Every statement of a text. 42601 with the place where the grammar stops.
pub(crate) fn parse(text: &str) -> Result<Vec<Statement>> {
    let parsed = Parser::new(&PostgreSqlDialect {}).with_recursion_limit(500).try_with_sql(text);
    let parsed = parsed.and_then(|mut parser| parser.parse_statements());
    parsed.map_err(|error| Error::new(Kind::Syntax, error.to_string()))
}
