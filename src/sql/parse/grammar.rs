//! PostgreSQL's grammar of queries (gram.y) by recursive descent, from tokens to sqlparser's tree. It never reads a part
//! twice, and it goes on only with tokens that may follow, so that a fault stands where PostgreSQL's parser finds it.
//!
//! `select` queries and their clauses · `with` CTEs · `from` tables and joins · `expr` operators · `primary` what stands
//! between them · `change` INSERT, UPDATE, DELETE, MERGE · `command` statements to the session · `copy` COPY · `upkeep`
//! VACUUM and its like · `alter` ALTER TABLE · `view` views · `reflection`
//! reflections · `call` functions ·
//! `special` functions with a syntax of their own · `window` OVER · `type_name` types. What the tree has no place for is put
//! into it as `encoding` says. Nothing here knows what a name means.

mod alter;
mod call;
mod change;
mod command;
mod copy;
mod expr;
mod from;
mod primary;
mod reflection;
mod select;
mod special;
mod type_name;
mod upkeep;
mod view;
mod window;
mod with;

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName, ObjectNamePart, Value};
use datafusion::sql::sqlparser::tokenizer::{self, Span, TokenWithSpan};

pub(super) use alter::begins as begins_alter;
pub(super) use command::begins as begins_command;
pub(super) use select::Whole;
pub(crate) use select::bare;
pub(super) use upkeep::UPKEEP;

use super::keyword::{Category, Keyword};
use super::lex::{Lexeme, Text, Token, position};
use crate::error::{Error, Kind, Result};

/// Reads the tokens of one statement.
pub(super) struct Parser<'a> {
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
    depth: usize,
    depth_max: usize,
    /// SIMILAR ends the operand: of `SUBSTRING(x SIMILAR p ESCAPE e)`.
    similar_ends: bool,
    /// A word behind the operand may be its column's name: `SELECT 1 and`.
    label_may_follow: bool,
}

/// A word that may be a name, and as what.
#[derive(Clone, Copy)]
enum Naming {
    /// ColId: columns, tables, aliases.
    Column,
    /// type_function_name.
    Function,
    /// ColLabel: after AS and after a dot.
    Label,
    /// BareColLabel: a column's name without AS.
    BareLabel,
}

impl Naming {
    fn takes(self, keyword: Option<&Keyword>) -> bool {
        let Some(keyword) = keyword else { return true };
        match self {
            Self::Column => matches!(keyword.category, Category::Unreserved | Category::ColumnName),
            Self::Function => matches!(keyword.category, Category::Unreserved | Category::TypeOrFunction),
            Self::Label => true,
            Self::BareLabel => keyword.bare_label,
        }
    }
}

impl<'a> Parser<'a> {
    /// `tokens` end with [`Lexeme::End`] or [`Lexeme::Fault`].
    pub(super) fn new(text: &'a str, tokens: &'a [Token], at: usize, depth_max: usize) -> Self {
        Self { text, tokens, at, depth: 0, depth_max, similar_ends: false, label_may_follow: false }
    }

    /// The index of the token that is read next.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    // --- tokens

    fn token(&self) -> Option<&'a Token> {
        self.ahead(0)
    }

    /// The n-th token from here; beyond the last one, that one.
    fn ahead(&self, n: usize) -> Option<&'a Token> {
        self.tokens.get(self.at.saturating_add(n)).or(self.tokens.last())
    }

    fn lexeme(&self, n: usize) -> Option<&'a Lexeme> {
        self.ahead(n).map(|token| &token.lexeme)
    }

    fn keyword(&self, n: usize) -> Option<&'static Keyword> {
        match self.lexeme(n) {
            Some(Lexeme::Word(keyword)) => *keyword,
            _ => None,
        }
    }

    fn word(&self, n: usize) -> Option<&'static str> {
        self.keyword(n).map(|keyword| keyword.word)
    }

    fn is(&self, word: &str) -> bool {
        self.word(0) == Some(word)
    }

    /// Whether these keywords stand here.
    fn are(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(n, word)| self.word(n) == Some(word))
    }

    fn symbol_ahead(&self, n: usize) -> Option<char> {
        match self.lexeme(n) {
            Some(Lexeme::Symbol(symbol)) => Some(*symbol),
            _ => None,
        }
    }

    fn is_symbol(&self, symbol: char) -> bool {
        self.symbol_ahead(0) == Some(symbol)
    }

    /// An operator as it is written, `!=` as `<>`.
    fn operator_ahead(&self, n: usize) -> Option<&'a str> {
        let token = self.ahead(n)?;
        match token.lexeme {
            Lexeme::Operator => Some(match self.slice(token) {
                "!=" => "<>",
                other => other,
            }),
            _ => None,
        }
    }

    fn is_operator(&self, operator: &str) -> bool {
        self.operator_ahead(0) == Some(operator)
    }

    fn slice(&self, token: &Token) -> &'a str {
        self.text.get(token.start..token.end).unwrap_or_default()
    }

    fn advance(&mut self) {
        self.at = self.at.saturating_add(1).min(self.tokens.len().saturating_sub(1));
    }

    fn eat(&mut self, word: &str) -> bool {
        let here = self.is(word);
        if here {
            self.advance();
        }
        here
    }

    fn eat_symbol(&mut self, symbol: char) -> bool {
        let here = self.is_symbol(symbol);
        if here {
            self.advance();
        }
        here
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        if self.eat(word) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn expect_words(&mut self, words: &[&str]) -> Result<()> {
        words.iter().try_for_each(|word| self.expect(word))
    }

    fn expect_symbol(&mut self, symbol: char) -> Result<()> {
        if self.eat_symbol(symbol) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// Whether the statement is over.
    fn ends(&self) -> bool {
        matches!(self.lexeme(0), None | Some(Lexeme::End | Lexeme::Symbol(';')))
    }

    // --- faults and places

    /// That the next token cannot stand here.
    pub(super) fn unexpected(&self) -> Error {
        match self.token() {
            Some(Token { lexeme: Lexeme::Fault(error), .. }) => again(error),
            _ => self.near("syntax error"),
        }
    }

    /// `text` about what was read up to here.
    fn near(&self, text: &str) -> Error {
        let Some(token) = self.token().filter(|token| !matches!(token.lexeme, Lexeme::End)) else {
            let text = format!("{text} at end of input");
            return Error::new(Kind::Syntax, text).at(position(self.text, self.text.len()));
        };
        let text = format!("{text} at or near \"{}\"", self.slice(token));
        Error::new(Kind::Syntax, text).at(position(self.text, token.start))
    }

    /// One-based character position of a token.
    fn place(&self, token: usize) -> usize {
        self.tokens.get(token).map_or(0, |token| position(self.text, token.start))
    }

    fn refused(&self, kind: Kind, text: impl Into<String>, token: usize) -> Error {
        Error::new(kind, text).at(self.place(token))
    }

    /// From a token to the one before the next.
    fn span_from(&self, first: usize) -> Span {
        let from = self.tokens.get(first).map(|token| token.from);
        let to = self.tokens.get(self.at.saturating_sub(1).max(first)).map(|token| token.to);
        match (from, to) {
            (Some(from), Some(to)) => Span::new(from, to),
            _ => Span::empty(),
        }
    }

    /// The token here for the tree, which keeps some for their places.
    fn attached(&self) -> AttachedToken {
        let span = self.token().map_or(Span::empty(), |token| Span::new(token.from, token.to));
        AttachedToken(TokenWithSpan { token: tokenizer::Token::make_keyword("X"), span })
    }

    /// One level deeper: whatever may hold itself goes through here.
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= self.depth_max {
            return Err(super::too_complex("levels", self.depth_max));
        }
        self.depth += 1;
        let made = read(self);
        self.depth -= 1;
        made
    }

    // --- names

    /// Whether the word is another one for what follows it (NOT_LA, NULLS_LA, WITH_LA), and so no name.
    fn is_joined(&self, n: usize) -> bool {
        let next = self.word(n.saturating_add(1)).unwrap_or_default();
        match self.word(n) {
            Some("not") => matches!(next, "between" | "in" | "like" | "ilike" | "similar"),
            Some("nulls") => matches!(next, "first" | "last"),
            Some("with") => matches!(next, "time" | "ordinality"),
            _ => false,
        }
    }

    fn names(&self, naming: Naming, n: usize) -> bool {
        match self.lexeme(n) {
            Some(Lexeme::Word(_)) if self.is_joined(n) => false,
            Some(Lexeme::Word(keyword)) => naming.takes(*keyword),
            Some(Lexeme::Quoted(_)) => true,
            _ => false,
        }
    }

    fn name(&mut self, naming: Naming) -> Result<Ident> {
        let Some(token) = self.token().filter(|_| self.names(naming, 0)) else { return Err(self.unexpected()) };
        let span = Span::new(token.from, token.to);
        let ident = match &token.lexeme {
            Lexeme::Quoted(value) => Ident { value: value.clone(), quote_style: Some('"'), span },
            _ => Ident { value: self.slice(token).to_owned(), quote_style: None, span },
        };
        self.advance();
        Ok(ident)
    }

    /// ColId.
    fn column_name(&mut self) -> Result<Ident> {
        self.name(Naming::Column)
    }

    /// `a.b.c` after its first part.
    fn attributes(&mut self, first: Ident) -> Result<Vec<Ident>> {
        let mut parts = vec![first];
        while self.eat_symbol('.') {
            parts.push(self.name(Naming::Label)?);
        }
        Ok(parts)
    }

    /// any_name.
    fn any_name(&mut self) -> Result<ObjectName> {
        let first = self.column_name()?;
        self.attributes(first).map(object_name)
    }

    /// qualified_name.
    fn qualified_name(&mut self) -> Result<ObjectName> {
        let start = self.at;
        let mut parts = vec![self.column_name()?];
        while self.is_symbol('.') && self.ahead(1).is_some_and(|token| self.slice(token) != "*") {
            self.advance();
            parts.push(self.name(Naming::Label)?);
        }
        // the grammar reads more than a name, and refuses it behind it
        if self.is_symbol('[') || self.is_symbol('.') {
            self.indirection(Expr::Tuple(vec![]))?;
            return Err(self.unexpected());
        }
        if parts.len() > 3 {
            let name = parts.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join(".");
            let text = format!("improper qualified name (too many dotted names): {name}");
            return Err(self.refused(Kind::Syntax, text, start));
        }
        Ok(object_name(parts))
    }

    /// `(a, b, c)`.
    fn name_list(&mut self) -> Result<Vec<Ident>> {
        self.expect_symbol('(')?;
        let names = self.list(Self::column_name)?;
        self.expect_symbol(')')?;
        Ok(names)
    }

    fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut all = vec![one(self)?];
        while self.eat_symbol(',') {
            all.push(one(self)?);
        }
        Ok(all)
    }

    /// Iconst.
    fn integer(&mut self) -> Result<u64> {
        let Some(Token { lexeme: Lexeme::Integer, .. }) = self.token() else { return Err(self.unexpected()) };
        let digits = self.token().map_or("", |token| self.slice(token));
        let value = digits.parse().map_err(|_| self.unexpected())?;
        self.advance();
        Ok(value)
    }

    /// A string of the grammar, of whatever form.
    fn text_constant(&mut self) -> Option<datafusion::sql::sqlparser::ast::ValueWithSpan> {
        let token = self.token()?;
        let Lexeme::Text(text) = &token.lexeme else { return None };
        let value = text_value(text);
        self.advance();
        Some(value.with_span(Span::new(token.from, token.to)))
    }
}

fn text_value(text: &Text) -> Value {
    match text {
        Text::Plain(value) => Value::SingleQuotedString(value.clone()),
        Text::Escaped(value) => Value::EscapedStringLiteral(value.clone()),
        Text::Unicode(value) => Value::UnicodeStringLiteral(value.clone()),
        Text::Dollar { tag, value } => {
            let (tag, value) = (tag.clone(), value.clone());
            Value::DollarQuotedString(datafusion::sql::sqlparser::ast::DollarQuotedString { tag, value })
        }
    }
}

fn object_name(parts: Vec<Ident>) -> ObjectName {
    ObjectName(parts.into_iter().map(ObjectNamePart::Identifier).collect())
}

/// `a`, `a.b`.
fn reference(mut parts: Vec<Ident>) -> Expr {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => Expr::Identifier(only),
        (_, last) => {
            parts.extend(last);
            Expr::CompoundIdentifier(parts)
        }
    }
}

/// A scanner's error once more: it is kept in its token.
fn again(error: &Error) -> Error {
    let mut same = Error::new(error.kind(), error.message());
    if let Some(at) = error.position() {
        same = same.at(at);
    }
    match error.hint() {
        Some(hint) => same.with_hint(hint),
        None => same,
    }
}
