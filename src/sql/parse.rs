//! Text to sqlparser's tree. Queries are read by a grammar of our own, which is PostgreSQL's (`lex`, `keyword`, `grammar`):
//! what it accepts and what it refuses, with its texts and places. So are statements that change rows (`change`), commands to
//! the session (`command`), COPY and the statements of `upkeep`, `alter`, `view` and `reflection`. Of other statements only
//! the query inside is; the rest is sqlparser's to read, and `engine`'s to admit. Nothing here resolves a name.

pub(crate) mod alter;
pub(crate) mod change;
pub(crate) mod command;
pub(crate) mod copy;
pub(crate) mod encoding;
mod grammar;
pub(crate) mod keyword;
mod lex;
mod precedence;
pub(crate) mod reflection;
pub(crate) mod upkeep;
pub(crate) mod view;

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ClusteredBy, Expr, Function, OrderByExpr, Query, Statement, Value, VisitMut, VisitorMut,
};

use self::alter::Alter;
use self::change::Change;
use self::command::Command;
use crate::error::{Error, Kind, Result};
use copy::Copy;
pub(crate) use grammar::bare;
use grammar::{Parser, UPKEEP, Whole};
use lex::{Lexeme, Token};
use reflection::Reflection;
use upkeep::Upkeep;
use view::View;

/// A text as tokens.
pub(crate) struct Text<'a> {
    text: &'a str,
    tokens: Vec<Token>,
}

/// One statement of a text.
pub(crate) struct Piece<'a> {
    /// As it is written.
    pub(crate) text: &'a str,
    pub(crate) content: Content,
}

pub(crate) enum Content {
    Query(Box<Query>),
    Change(Box<Change>),
    Copy(Box<Copy>),
    Upkeep(Upkeep),
    Alter(Alter),
    View(Box<View>),
    Reflection(Reflection),
    /// Of a procedure.
    Call(Box<Function>),
    /// With the query of a cursor.
    Command(Box<Command>, Option<Box<Query>>),
    /// For sqlparser to read, at the lines and columns of the whole text.
    Other(Other),
}

pub(crate) struct Other {
    /// With a shorter query in the place of the one below.
    pub(crate) text: String,
    query: Option<Box<Query>>,
    layout: Layout,
    /// PREPARE and EXPLAIN may be of a statement that changes rows: what stands for it then is a query.
    pub(crate) change: Option<Box<Change>>,
}

/// CREATE TABLE … PARTITIONED BY (…) SORTED BY (…), which is not in sqlparser's dialect.
#[derive(Debug, Default)]
struct Layout {
    partitioned: Option<Vec<Expr>>,
    sorted: Option<Vec<OrderByExpr>>,
}

impl Other {
    /// What was read, with the query that stands in the text and operators as tight as PostgreSQL's.
    pub(crate) fn completed(self, statement: &mut Statement) {
        let _: ControlFlow<()> = VisitMut::visit(statement, &mut Precedence);
        if let Statement::CreateTable(create) = statement {
            if let Some(fields) = self.layout.partitioned {
                create.partition_by = Some(Box::new(Expr::Tuple(fields)));
            }
            if let Some(order) = self.layout.sorted {
                create.clustered_by =
                    Some(ClusteredBy { columns: vec![], sorted_by: Some(order), num_buckets: Value::Null });
            }
        }
        if let Some(query) = self.query {
            let _: ControlFlow<()> = VisitMut::visit(statement, &mut Graft(Some(query)));
        }
    }
}

impl<'a> Text<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        Self { text, tokens: lex::lex(text) }
    }

    /// Tokens in all.
    pub(crate) fn words(&self) -> usize {
        self.tokens.len()
    }

    /// The statements; what lies between two semicolons and says nothing is left out. Parentheses and the like may stand in
    /// each other `depth_max` times.
    pub(crate) fn statements(&self, depth_max: usize) -> Result<Vec<Piece<'a>>> {
        let mut pieces = vec![];
        let mut at = 0;
        while let Some(token) = self.tokens.get(at) {
            match &token.lexeme {
                Lexeme::End => break,
                Lexeme::Symbol(';') => at += 1,
                _ => {
                    let (content, end) = self.statement(at, depth_max)?;
                    let last = self.tokens.get(end.saturating_sub(1)).map_or(token.end, |last| last.end);
                    let text = self.text.get(token.start..last).unwrap_or_default();
                    pieces.push(Piece { text, content });
                    at = end;
                }
            }
        }
        Ok(pieces)
    }

    /// The statement that begins at a token, and the token behind it.
    fn statement(&self, at: usize, depth_max: usize) -> Result<(Content, usize)> {
        let mut parser = self.parser(at, depth_max);
        if begins_query(&self.tokens, at) {
            let content = match parser.query_or_change()? {
                Whole::Query(query) => Content::Query(query),
                Whole::Change(change) => Content::Change(change),
            };
            return match self.ends_statement(parser.at()) {
                true => Ok((content, parser.at())),
                false => Err(parser.unexpected()),
            };
        }
        if let Some(content) = self.own(&mut parser, at)? {
            return match self.ends_statement(parser.at()) {
                true => Ok((content, parser.at())),
                false => Err(parser.unexpected()),
            };
        }
        if !word(&self.tokens, at).is_some_and(|word| STATEMENTS.contains(&word)) {
            return Err(parser.unexpected());
        }
        let rest = self.tokens.get(at..).unwrap_or_default();
        let end = at + rest.iter().position(|token| ends(&token.lexeme)).unwrap_or(rest.len());
        if let Some(Token { lexeme: Lexeme::Fault(_), .. }) = self.tokens.get(end) {
            return Err(self.parser(end, depth_max).unexpected());
        }
        let start = self.tokens.get(at).map_or(0, |token| token.start);
        let stop = self.tokens.get(end.saturating_sub(1)).map_or(start, |token| token.end);
        let (layout, source) = self.layout(at, end, depth_max)?;
        let source = source.as_deref().unwrap_or(self.text);
        // blanks before it, so that its tokens stand where they stand in the whole text
        let mut text = self.tokens.get(at).map_or_else(String::new, |token| blanks(token.from));
        let Some(begin) = embedded(&self.tokens, at, end) else {
            text.push_str(source.get(start..stop).unwrap_or_default());
            return Ok((Content::Other(Other { text, query: None, change: None, layout }), end));
        };
        let mut parser = self.parser(begin, depth_max);
        let (query, change) = match parser.begins_change() {
            true => (None, Some(Box::new(parser.change(None)?))),
            false => match parser.query_or_change()? {
                Whole::Query(query) => (Some(query), None),
                Whole::Change(change) => (None, Some(change)),
            },
        };
        if change.is_some() && !matches!(word(&self.tokens, at), Some("explain" | "prepare")) {
            return Err(self.parser(begin, depth_max).unexpected());
        }
        let behind = parser.at();
        if behind < end && matches!(word(&self.tokens, at), Some("explain" | "prepare")) {
            return Err(parser.unexpected());
        }
        let from = self.tokens.get(begin).map_or(stop, |token| token.start);
        let to = self.tokens.get(behind.saturating_sub(1)).map_or(stop, |token| token.end);
        text.push_str(source.get(start..from).unwrap_or_default());
        text.push_str(STUB);
        // the rest stays in its line and column, but for a query that is shorter than its stub
        let query_text = source.get(from..to).unwrap_or_default();
        text.extend(query_text.chars().skip(STUB.len()).map(|c| if c == '\n' { '\n' } else { ' ' }));
        text.push_str(source.get(to..stop).unwrap_or_default());
        Ok((Content::Other(Other { text, query, change, layout }), end))
    }

    /// The clauses of a CREATE TABLE that are read here, and the text with blanks in their place.
    fn layout(&self, at: usize, end: usize, depth_max: usize) -> Result<(Layout, Option<String>)> {
        let mut layout = Layout::default();
        let mut source: Option<Vec<u8>> = None;
        if word(&self.tokens, at) != Some("create") {
            return Ok((layout, None));
        }
        let (mut n, mut depth) = (at, 0usize);
        while n < end {
            if symbol(&self.tokens, n, '(') {
                depth += 1;
            } else if symbol(&self.tokens, n, ')') {
                depth = depth.saturating_sub(1);
            } else if word(&self.tokens, n) == Some("as") && depth == 0 {
                break; // a query may have a column of that name
            } else if let Some(clause) = self.layout_clause(n).filter(|_| depth == 0) {
                let mut parser = self.parser(n + 2, depth_max);
                match clause {
                    "partitioned" => layout.partitioned = Some(parser.parenthesised_exprs()?),
                    _ => layout.sorted = Some(parser.parenthesised_order()?),
                }
                let behind = parser.at();
                let from = self.tokens.get(n).map_or(0, |token| token.start);
                let to = self.tokens.get(behind.saturating_sub(1)).map_or(from, |token| token.end);
                let bytes = source.get_or_insert_with(|| self.text.as_bytes().to_vec());
                bytes.iter_mut().take(to).skip(from).filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
                n = behind;
                continue;
            } else if word(&self.tokens, n) == Some("identity") && symbol(&self.tokens, n + 1, '(') {
                let (from, to, options) = self.identity_options(n + 2);
                let bytes = source.get_or_insert_with(|| self.text.as_bytes().to_vec());
                bytes.splice(from..to, options);
            }
            n += 1;
        }
        Ok((layout, source.and_then(|bytes| String::from_utf8(bytes).ok())))
    }

    /// The options of an identity from a token to the parenthesis behind them: from where to where they stand, and the same
    /// bytes in the one order in which sqlparser takes them. PostgreSQL takes any (SeqOptList).
    fn identity_options(&self, first: usize) -> (usize, usize, Vec<u8>) {
        const ORDER: [&str; 6] = ["increment", "minvalue", "maxvalue", "start", "cache", "cycle"];
        let rank = |at: usize| ORDER.iter().position(|option| word(&self.tokens, at) == Some(option));
        let mut options: Vec<(usize, usize)> = vec![];
        let mut at = first;
        while self.tokens.get(at).is_some_and(|token| !matches!(token.lexeme, Lexeme::End | Lexeme::Symbol(')'))) {
            let negated = word(&self.tokens, at) == Some("no");
            if let Some(rank) = rank(at + usize::from(negated)) {
                options.push((rank, at));
                at += usize::from(negated);
            }
            at += 1;
        }
        let start = |at: usize| self.tokens.get(at).map_or(self.text.len(), |token| token.start);
        let (from, to) = (options.first().map_or(start(at), |(_, first)| start(*first)), start(at));
        let ends = options.iter().skip(1).map(|(_, next)| start(*next)).chain([to]);
        let mut pieces: Vec<_> = options.iter().zip(ends).map(|((rank, at), end)| (*rank, start(*at), end)).collect();
        pieces.sort_by_key(|(rank, ..)| *rank);
        let mut bytes = vec![];
        for (_, from, to) in pieces {
            bytes.extend_from_slice(self.text.get(from..to).unwrap_or_default().trim_end().as_bytes());
            bytes.push(b' ');
        }
        // what stands behind it stays where it is
        bytes.resize(to - from, b' ');
        (from, to, bytes)
    }

    /// PARTITIONED BY ( or SORTED BY (, neither of which is a keyword of PostgreSQL's.
    fn layout_clause(&self, at: usize) -> Option<&'static str> {
        let token = self.tokens.get(at).filter(|token| matches!(token.lexeme, Lexeme::Word(None)))?;
        let text = self.text.get(token.start..token.end)?;
        let known = ["partitioned", "sorted"].into_iter().find(|known| text.eq_ignore_ascii_case(known))?;
        (word(&self.tokens, at + 1) == Some("by") && symbol(&self.tokens, at + 2, '(')).then_some(known)
    }

    /// A statement of the grammar's own, besides queries; `None` for others.
    fn own(&self, parser: &mut Parser<'_>, at: usize) -> Result<Option<Content>> {
        let first = word(&self.tokens, at);
        Ok(match first {
            Some("insert" | "update" | "delete" | "merge") => Some(Content::Change(Box::new(parser.change(None)?))),
            Some("copy") => Some(Content::Copy(Box::new(parser.copy()?))),
            Some("call") => Some(Content::Call(Box::new(parser.call_statement()?))),
            Some(word) if UPKEEP.contains(&word) => Some(Content::Upkeep(parser.upkeep()?)),
            _ if parser.begins_reflection() => Some(Content::Reflection(parser.reflection()?)),
            _ if grammar::begins_alter(first, word(&self.tokens, at + 1)) => Some(Content::Alter(parser.alter()?)),
            Some("create" | "alter" | "drop" | "refresh") if parser.begins_view() => {
                Some(Content::View(Box::new(parser.view()?)))
            }
            _ if grammar::begins_command(first, word(&self.tokens, at + 1)) => {
                let (command, query) = parser.command()?;
                Some(Content::Command(Box::new(command), query))
            }
            _ => None,
        })
    }

    fn parser(&self, at: usize, depth_max: usize) -> Parser<'_> {
        Parser::new(self.text, &self.tokens, at, depth_max)
    }

    fn ends_statement(&self, at: usize) -> bool {
        self.tokens.get(at).is_none_or(|token| matches!(token.lexeme, Lexeme::End | Lexeme::Symbol(';')))
    }
}

/// What stands for a query while sqlparser reads what is around it.
const STUB: &str = "SELECT 1";

/// The words that statements begin with, besides those of queries and of what has a grammar of its own.
const STATEMENTS: [&str; 19] = [
    "alter",
    "create",
    "deallocate",
    "do",
    "drop",
    "execute",
    "explain",
    "grant",
    "import",
    "listen",
    "load",
    "notify",
    "prepare",
    "reassign",
    "refresh",
    "revoke",
    "security",
    "truncate",
    "unlisten",
];

fn word(tokens: &[Token], at: usize) -> Option<&'static str> {
    match tokens.get(at).map(|token| &token.lexeme) {
        Some(Lexeme::Word(Some(keyword))) => Some(keyword.word),
        _ => None,
    }
}

fn symbol(tokens: &[Token], at: usize, symbol: char) -> bool {
    matches!(tokens.get(at).map(|token| &token.lexeme), Some(Lexeme::Symbol(found)) if *found == symbol)
}

fn ends(lexeme: &Lexeme) -> bool {
    matches!(lexeme, Lexeme::End | Lexeme::Fault(_) | Lexeme::Symbol(';'))
}

fn begins_query(tokens: &[Token], at: usize) -> bool {
    matches!(word(tokens, at), Some("select" | "with" | "values" | "table")) || symbol(tokens, at, '(')
}

/// Where in a statement its query begins.
fn embedded(tokens: &[Token], at: usize, end: usize) -> Option<usize> {
    let behind_parentheses = |open: usize| {
        let mut depth = 0usize;
        let close = (open..end).find(|n| {
            if symbol(tokens, *n, '(') {
                depth += 1;
            } else if symbol(tokens, *n, ')') {
                depth = depth.saturating_sub(1);
            }
            depth == 0
        });
        close.map(|close| close + 1)
    };
    let changes = |n: usize| matches!(word(tokens, n), Some("insert" | "update" | "delete" | "merge"));
    let begins = |n: usize| (n < end && (begins_query(tokens, n) || changes(n))).then_some(n);
    match word(tokens, at)? {
        "prepare" => {
            let n = at + 2;
            let n = if symbol(tokens, n, '(') { behind_parentheses(n)? } else { n };
            (word(tokens, n) == Some("as")).then_some(n + 1).and_then(begins)
        }
        "explain" => {
            let mut n = at + 1;
            if symbol(tokens, n, '(') && !begins_select(tokens, n, end) {
                n = behind_parentheses(n)?;
            }
            while matches!(word(tokens, n), Some("analyze" | "analyse" | "verbose")) {
                n += 1;
            }
            begins(n)
        }
        "create" => {
            let mut n = at + 1;
            while n < end && word(tokens, n) != Some("as") {
                n = if symbol(tokens, n, '(') { behind_parentheses(n)? } else { n + 1 };
            }
            let of = (at..n).find_map(|n| word(tokens, n).filter(|word| matches!(*word, "table" | "view")));
            of.and_then(|_| begins(n + 1))
        }
        _ => None,
    }
}

/// Whether parentheses open here that hold a query.
fn begins_select(tokens: &[Token], at: usize, end: usize) -> bool {
    let first = (at..end).find(|n| !symbol(tokens, *n, '('));
    first.is_some_and(|first| matches!(word(tokens, first), Some("select" | "with" | "values" | "table")))
}

/// As many line ends and blanks as stand before a place.
fn blanks(at: datafusion::sql::sqlparser::tokenizer::Location) -> String {
    let count = |n: u64| usize::try_from(n.saturating_sub(1)).unwrap_or(0);
    ["\n".repeat(count(at.line)), " ".repeat(count(at.column))].concat()
}

/// Where a limit of the text's own depth or length is passed.
pub(crate) fn too_complex(what: &str, max: usize) -> Error {
    Error::new(Kind::TooComplex, format!("statement is too complex: more than {max} {what}"))
        .with_hint("Put long value lists into a table, or split the statement.")
}

/// A text without limits, for tests.
#[cfg(test)]
pub(crate) fn parse(text: &str) -> Result<Vec<Statement>> {
    let pieces = Text::of(text).statements(128)?;
    let query = |piece: Piece<'_>| match piece.content {
        Content::Query(query) => Ok(Statement::Query(query)),
        Content::Change(_)
        | Content::Command(..)
        | Content::Copy(_)
        | Content::Upkeep(_)
        | Content::Alter(_)
        | Content::View(_)
        | Content::Reflection(_)
        | Content::Call(_)
        | Content::Other(_) => Err(Error::unsupported("a statement that is no query")),
    };
    pieces.into_iter().map(query).collect()
}

/// Operators as tight as PostgreSQL's, in what sqlparser read.
struct Precedence;

impl VisitorMut for Precedence {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        precedence::correct(expr);
        ControlFlow::Continue(())
    }
}

/// Puts a query in the place of the first.
struct Graft(Option<Box<Query>>);

impl VisitorMut for Graft {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let Some(own) = self.0.take() {
            *query = *own;
        }
        ControlFlow::Break(())
    }
}

#[cfg(test)]
mod tests;
