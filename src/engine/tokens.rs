//! What is done on tokens, before the parser: `TABLE t` as the query it stands for, and a text cut into its statements.
//! Statements and names are never printed and read again: what a parser made of them would be another thing.

use std::ops::Range;

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

/// `TABLE t` where a query may stand is `SELECT * FROM t`. The parser knows it in some of these places, forgets there
/// whether the name was quoted, and eats what follows it.
pub(super) fn table_as_select(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out = Vec::with_capacity(tokens.len());
    let mut place = Place::default();
    for token in tokens {
        if matches!(token.token, Token::Whitespace(_)) {
            out.push(token);
            continue;
        }
        let is_table = matches!(&token.token, Token::Word(w) if w.keyword == Keyword::TABLE && w.quote_style.is_none());
        if is_table && place.begins_query() {
            let words = [Token::make_keyword("SELECT"), Token::Mul, Token::make_keyword("FROM")];
            out.extend(words.map(|t| TokenWithSpan { token: t, span: token.span }));
            place.after(&Token::make_keyword("FROM"));
            continue;
        }
        place.after(&token.token);
        out.push(token);
    }
    out
}

/// Where the next token stands in its statement.
#[derive(Default)]
struct Place {
    /// First keyword of the statement.
    statement: Option<Keyword>,
    before: Before,
    depth: usize,
    /// CREATE TABLE … AS and PREPARE … AS: the one AS behind which a query stands.
    body: bool,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Before {
    #[default]
    Nothing,
    Open,
    Close,
    /// UNION, EXCEPT, INTERSECT, and ALL or DISTINCT behind one of them.
    SetOperator,
    /// The AS of a body.
    Body,
    /// INTO and OVERWRITE take a table, not a query.
    Target,
    /// A name, quoted or not.
    Name,
    Other,
}

impl Place {
    fn begins_query(&self) -> bool {
        match self.before {
            Before::Nothing | Before::Open | Before::Close | Before::SetOperator | Before::Body => true,
            // INSERT INTO t TABLE u
            Before::Name => self.statement == Some(Keyword::INSERT) && self.depth == 0,
            Before::Target | Before::Other => false,
        }
    }

    fn after(&mut self, token: &Token) {
        let word = match token {
            Token::Word(word) if word.quote_style.is_none() => Some(word.keyword),
            _ => None,
        };
        if self.statement.is_none() {
            self.statement = word;
        }
        let ours = matches!(self.statement, Some(Keyword::CREATE | Keyword::PREPARE | Keyword::EXPLAIN));
        self.before = match (token, word) {
            (Token::SemiColon, _) => {
                *self = Self::default();
                return;
            }
            (Token::LParen, _) => {
                self.depth += 1;
                Before::Open
            }
            (Token::RParen, _) => {
                self.depth = self.depth.saturating_sub(1);
                Before::Close
            }
            (_, Some(Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::MINUS)) => Before::SetOperator,
            (_, Some(Keyword::ALL | Keyword::DISTINCT)) if self.before == Before::SetOperator => Before::SetOperator,
            (_, Some(Keyword::AS)) if ours && self.depth == 0 && !self.body => {
                self.body = true;
                Before::Body
            }
            (_, Some(Keyword::INTO | Keyword::OVERWRITE)) => Before::Target,
            (Token::Word(_), None | Some(Keyword::NoKeyword)) => Before::Name,
            (Token::Word(_), Some(_)) if self.before == Before::Target => Before::Name,
            _ => Before::Other,
        };
    }
}

/// The statements of a text, as they stand in it; what lies between two semicolons and says nothing is left out.
pub(super) fn pieces(sql: &str, tokens: &[TokenWithSpan]) -> Vec<String> {
    let places = Places::of(sql);
    let mut pieces = vec![];
    let mut piece: Option<Range<usize>> = None;
    for token in tokens {
        match &token.token {
            Token::Whitespace(_) | Token::EOF => {}
            Token::SemiColon => pieces.extend(piece.take()),
            _ => {
                let (begin, end) = (places.byte(token.span.start), places.byte(token.span.end));
                let begin = piece.as_ref().map_or(begin, |p| p.start);
                piece = Some(begin..end.max(begin));
            }
        }
    }
    pieces.extend(piece);
    pieces.into_iter().filter_map(|range| sql.get(range).map(str::to_string)).collect()
}

/// From the tokenizer's lines and columns, both in characters from 1, to bytes.
struct Places<'a> {
    text: &'a str,
    lines: Vec<usize>,
}

impl<'a> Places<'a> {
    fn of(text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
        Self { text, lines: std::iter::once(0).chain(ends).collect() }
    }

    fn byte(&self, at: Location) -> usize {
        let line = usize::try_from(at.line).unwrap_or(usize::MAX).saturating_sub(1);
        let column = usize::try_from(at.column).unwrap_or(usize::MAX).saturating_sub(1);
        let Some(begin) = self.lines.get(line).copied() else { return self.text.len() };
        let rest = self.text.get(begin..).unwrap_or_default();
        rest.char_indices().nth(column).map_or(self.text.len(), |(offset, _)| begin + offset)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    use super::*;

    fn tokens(sql: &str) -> Vec<TokenWithSpan> {
        Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location().unwrap()
    }

    #[test]
    fn a_table_stands_for_its_query_wherever_a_query_may_stand() {
        for (sql, expect) in [
            ("TABLE a.b", "SELECT * FROM a.b"),
            ("TABLE \"(SELECT 1) x\"", "SELECT * FROM \"(SELECT 1) x\""),
            ("SELECT 1 UNION ALL TABLE \"a b\" ORDER BY 1", "SELECT 1 UNION ALL SELECT * FROM \"a b\" ORDER BY 1"),
            ("TABLE a EXCEPT TABLE b", "SELECT * FROM a EXCEPT SELECT * FROM b"),
            (
                "SELECT * FROM (TABLE a) x WHERE i IN (TABLE b)",
                "SELECT * FROM (SELECT * FROM a) x WHERE i IN (SELECT * FROM b)",
            ),
            ("WITH w AS (TABLE a) TABLE w", "WITH w AS (SELECT * FROM a) SELECT * FROM w"),
            ("CREATE TABLE x.y AS TABLE a", "CREATE TABLE x.y AS SELECT * FROM a"),
            ("INSERT INTO a TABLE b", "INSERT INTO a SELECT * FROM b"),
            ("INSERT INTO \"a\" (x) TABLE b", "INSERT INTO \"a\" (x) SELECT * FROM b"),
            ("INSERT INTO date TABLE b", "INSERT INTO date SELECT * FROM b"),
            ("PREPARE p AS TABLE a", "PREPARE p AS SELECT * FROM a"),
            ("PREPARE p (int) AS SELECT 1 AS table", "PREPARE p (int) AS SELECT 1 AS table"),
            ("SELECT 1 AS table", "SELECT 1 AS table"),
            ("SELECT 1 AS \"table\"; TABLE a", "SELECT 1 AS \"table\"; SELECT * FROM a"),
            ("DROP TABLE a", "DROP TABLE a"),
            ("CREATE TABLE a (b int)", "CREATE TABLE a (b int)"),
            ("LOCK TABLE a", "LOCK TABLE a"),
            ("INSERT INTO TABLE a VALUES (1)", "INSERT INTO TABLE a VALUES (1)"),
            ("SELECT * FROM \"TABLE\"", "SELECT * FROM \"TABLE\""),
        ] {
            let found: String = table_as_select(tokens(sql)).iter().map(|t| t.token.to_string()).collect();
            let bare = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(bare(&found), bare(expect), "{sql}");
        }
    }

    #[test]
    fn pieces_are_the_text_as_it_was_written() {
        let sql =
            ";; SELECT 'ä;' /* ; */ AS \"x;\"\"y\" ;\n-- no;thing\n ;TABLE \"(SELECT 1) t\"\n;  É\u{1F600} = $$;$$ ";
        assert_eq!(
            pieces(sql, &tokens(sql)),
            ["SELECT 'ä;' /* ; */ AS \"x;\"\"y\"", "TABLE \"(SELECT 1) t\"", "É\u{1F600} = $$;$$"]
        );
        assert!(pieces(" ; -- x", &tokens(" ; -- x")).is_empty());
    }
}
