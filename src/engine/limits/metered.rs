//! PostgreSQL's dialect with a count of the parser's steps. The parser tries one reading after another and takes inner
//! parts anew each time, so that thirty nested pairs of parentheses can cost a thousand million steps. It asks the dialect
//! before it reads any operand: there the steps are counted, whatever construct doubles them.

use std::any::TypeId;
use std::cell::Cell;

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

/// A statement that is read once takes about one step for two tokens.
const STEPS_PER_TOKEN: usize = 16;
const STEPS_MIN: usize = 10_000;

#[derive(Debug)]
pub(super) struct Metered {
    steps_left: Cell<usize>,
}

impl Metered {
    pub(super) fn for_tokens(tokens: usize) -> Self {
        Self { steps_left: Cell::new(tokens.saturating_mul(STEPS_PER_TOKEN).max(STEPS_MIN)) }
    }

    pub(super) fn is_spent(&self) -> bool {
        self.steps_left.get() == 0
    }
}

/// What PostgreSQL's dialect answers otherwise than the default.
macro_rules! as_postgres {
    ($($name:ident($($argument:ident: $type:ty),*) -> $out:ty;)*) => {
        $(fn $name(&self, $($argument: $type),*) -> $out {
            PostgreSqlDialect {}.$name($($argument),*)
        })*
    };
}

impl Dialect for Metered {
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn parse_prefix(&self, _: &mut Parser) -> Option<Result<Expr, ParserError>> {
        match self.steps_left.get().checked_sub(1) {
            Some(left) => {
                self.steps_left.set(left);
                None
            }
            // the one error after which the parser tries no other reading
            None => Some(Err(ParserError::RecursionLimitExceeded)),
        }
    }

    as_postgres! {
        identifier_quote_style(identifier: &str) -> Option<char>;
        is_delimited_identifier_start(ch: char) -> bool;
        is_identifier_start(ch: char) -> bool;
        is_identifier_part(ch: char) -> bool;
        supports_unicode_string_literal() -> bool;
        is_reserved_for_identifier(kw: Keyword) -> bool;
        is_custom_operator_part(ch: char) -> bool;
        get_next_precedence(parser: &Parser) -> Option<Result<u8, ParserError>>;
        supports_filter_during_aggregation() -> bool;
        supports_group_by_expr() -> bool;
        prec_value(prec: Precedence) -> u8;
        allow_extract_custom() -> bool;
        allow_extract_single_quotes() -> bool;
        supports_create_index_with_clause() -> bool;
        supports_explain_with_utility_options() -> bool;
        supports_listen_notify() -> bool;
        supports_factorial_operator() -> bool;
        supports_bitwise_shift_operators() -> bool;
        supports_comment_on() -> bool;
        supports_load_extension() -> bool;
        supports_named_fn_args_with_colon_operator() -> bool;
        supports_named_fn_args_with_expr_name() -> bool;
        supports_empty_projections() -> bool;
        supports_nested_comments() -> bool;
        supports_string_escape_constant() -> bool;
        supports_numeric_literal_underscores() -> bool;
        supports_array_typedef_with_brackets() -> bool;
        supports_geometric_types() -> bool;
        supports_set_names() -> bool;
        supports_alter_column_type_using() -> bool;
        supports_notnull_operator() -> bool;
        supports_interval_options() -> bool;
        supports_insert_table_alias() -> bool;
        supports_create_table_like_parenthesized() -> bool;
        supports_select_wildcard_with_alias() -> bool;
        supports_comma_separated_trim() -> bool;
        supports_xml_expressions() -> bool;
        supports_comment_optimizer_hint() -> bool;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dialect: &dyn Dialect, sql: &str) -> Result<String, String> {
        let parsed = Parser::new(dialect).try_with_sql(sql).and_then(|mut p| p.parse_statements());
        parsed.map(|statements| format!("{statements:?}")).map_err(|e| e.to_string())
    }

    #[test]
    fn it_reads_as_postgresql_s_dialect_does() {
        for sql in [
            "SELECT a::int4[][], \"B\"[1], E'\\n', U&'\\0041', 1_000, x'1f' FROM s.t AS \"T\" WHERE a ~ 'x' AND NOT b",
            "SELECT sum(a) FILTER (WHERE a > 1), 5!, a << 2, extract(epoch FROM b), interval '1' day",
            "SELECT json_object('a': 'b'), a NOTNULL, a -> 'x' ->> 'y', a @> b, |/ 4 FROM t",
            "SELECT FROM t /* a /* nested */ comment */",
            "SELECT /*+ hint */ DISTINCT ON (a) a IS DISTINCT FROM b AND c FROM t FOR UPDATE",
            "CREATE INDEX i ON t (a) WITH (fillfactor = 70)",
            "LISTEN x; SET NAMES 'utf8'; COMMENT ON TABLE t IS 'x'; EXPLAIN (ANALYZE) SELECT 1",
            "INSERT INTO t AS u (a) VALUES (1)",
            "SELECT point '(1,2)', trim(a, b), `a`",
            "SELECT FROM WHERE",
        ] {
            assert_eq!(read(&Metered::for_tokens(1_000), sql), read(&PostgreSqlDialect {}, sql), "{sql}");
        }
    }

    /// A newer parser's dialect may answer more questions than the list above passes on.
    #[test]
    fn the_parser_is_the_one_whose_dialect_was_read() {
        let locked = include_str!("../../../Cargo.lock");
        assert!(
            locked.contains("name = \"sqlparser\"\nversion = \"0.62.0\""),
            "compare the list here with `impl Dialect for PostgreSqlDialect` of the new version, then change this line"
        );
    }
}
