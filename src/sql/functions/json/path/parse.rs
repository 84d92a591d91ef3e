//! jsonpath's grammar (jsonpath_gram.y), by recursive descent. A bracket may hold a predicate or an expression: both are
//! read by one function, and the caller says which it can take.

use super::lex::{Lexed, Token, lex, wrong};
use super::{Arithmetic, Comparison, Flags, Kind, LAST, Method, Node, Path};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::formats::postgres::input::json::too_deep;
use crate::sql::functions::regex::{Options, Pattern, Syntax};
use crate::sql::numeric::Numeric;

/// Brackets within each other.
const DEPTH_MAX: usize = 200;
/// Operators of one kind, or accessors, in a row: each makes the tree deeper by one.
const CHAIN_MAX: usize = 1_000;

fn chained(count: &mut usize) -> Result<()> {
    *count += 1;
    if *count > CHAIN_MAX { Err(too_deep()) } else { Ok(()) }
}

const TEXT_BYTES_MAX: usize = 8 << 10;

pub(super) fn parse(text: &str) -> Result<Path> {
    // a chain of operators is as deep as it is long
    if text.len() > TEXT_BYTES_MAX {
        let text = format!("a jsonpath longer than {TEXT_BYTES_MAX} bytes is not supported");
        return Err(Error::new(ErrorKind::TooComplex, text));
    }
    let mut parser = Parser { tokens: lex(text)?, at: 0, depth: 0, filters: 0, subscripts: 0 };
    if parser.tokens.len() == 1 {
        let text = format!("invalid input syntax for type jsonpath: \"{text}\"");
        return Err(Error::new(ErrorKind::InvalidText, text));
    }
    let lax = if parser.keyword("strict") {
        false
    } else {
        parser.keyword("lax");
        true
    };
    let (root, _) = parser.either()?;
    match parser.peek() {
        Token::End => Ok(Path { lax, root }),
        _ => Err(parser.wrong()),
    }
}

/// Keywords that must be written in small letters.
const EXACT: [&str; 3] = ["true", "false", "null"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Is {
    Predicate,
    Expression,
}

struct Parser {
    tokens: Vec<Lexed>,
    at: usize,
    depth: usize,
    /// Inside how many filters and array subscripts, where `@` and `last` may stand.
    filters: usize,
    subscripts: usize,
}

fn plain(kind: Kind) -> Node {
    Node { kind, next: None }
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |lexed| &lexed.token)
    }

    fn wrong(&self) -> Error {
        wrong("syntax error", self.tokens.get(self.at).map_or("", |lexed| &lexed.near))
    }

    fn sign(&mut self, sign: &str) -> bool {
        let is = matches!(self.peek(), Token::Sign(found) if *found == sign);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, sign: &str) -> Result<()> {
        if self.sign(sign) { Ok(()) } else { Err(self.wrong()) }
    }

    fn is_keyword(&self, word: &str) -> bool {
        match self.peek() {
            Token::Word(found) if EXACT.contains(&word) => found == word,
            Token::Word(found) => found.eq_ignore_ascii_case(word),
            _ => false,
        }
    }

    fn keyword(&mut self, word: &str) -> bool {
        let is = self.is_keyword(word);
        self.at += usize::from(is);
        is
    }

    fn expect_keyword(&mut self, word: &str) -> Result<()> {
        if self.keyword(word) { Ok(()) } else { Err(self.wrong()) }
    }

    /// The text of a string, where one is next.
    fn string(&mut self) -> Result<String> {
        match self.peek() {
            Token::String(text) => {
                let text = text.clone();
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.wrong()),
        }
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(too_deep());
        }
        let read = read(self);
        self.depth -= 1;
        read
    }

    fn predicate(&mut self) -> Result<Node> {
        match self.either()? {
            (node, Is::Predicate) => Ok(node),
            (_, Is::Expression) => Err(self.wrong()),
        }
    }

    fn expression(&mut self) -> Result<Node> {
        match self.sum()? {
            (node, Is::Expression) => Ok(node),
            (_, Is::Predicate) => Err(self.wrong()),
        }
    }

    fn either(&mut self) -> Result<(Node, Is)> {
        self.deeper(|it| {
            let (mut left, mut count) = (it.conjunction()?, 0);
            while left.1 == Is::Predicate && it.sign("||") {
                chained(&mut count)?;
                let right = match it.conjunction()? {
                    (right, Is::Predicate) => right,
                    _ => return Err(it.wrong()),
                };
                left = (plain(Kind::Or(Box::new(left.0), Box::new(right))), Is::Predicate);
            }
            Ok(left)
        })
    }

    fn conjunction(&mut self) -> Result<(Node, Is)> {
        let (mut left, mut count) = (self.term()?, 0);
        while left.1 == Is::Predicate && self.sign("&&") {
            chained(&mut count)?;
            let right = match self.term()? {
                (right, Is::Predicate) => right,
                _ => return Err(self.wrong()),
            };
            left = (plain(Kind::And(Box::new(left.0), Box::new(right))), Is::Predicate);
        }
        Ok(left)
    }

    /// A comparison, `exists`, `!`, something in brackets, or an expression that is none of them.
    fn term(&mut self) -> Result<(Node, Is)> {
        if self.sign("!") {
            let of = if self.is_keyword("exists") {
                self.exists()?
            } else {
                self.expect("(")?;
                let of = self.predicate()?;
                self.expect(")")?;
                of
            };
            return Ok((plain(Kind::Not(Box::new(of))), Is::Predicate));
        }
        if self.is_keyword("exists") {
            return Ok((self.exists()?, Is::Predicate));
        }
        let (left, is) = self.sum()?;
        if is == Is::Predicate {
            return Ok(match self.keyword("is") {
                true => {
                    self.expect_keyword("unknown")?;
                    (plain(Kind::IsUnknown(Box::new(left))), Is::Predicate)
                }
                false => (left, Is::Predicate),
            });
        }
        let comparisons = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<>", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        for (sign, comparison) in comparisons {
            if self.sign(sign) {
                let right = self.expression()?;
                return Ok((plain(Kind::Compare(comparison, Box::new(left), Box::new(right))), Is::Predicate));
            }
        }
        if self.keyword("starts") {
            self.expect_keyword("with")?;
            let right = match self.peek() {
                Token::String(text) => Kind::String(text.clone()),
                Token::Variable(name) => Kind::Variable(name.clone()),
                _ => return Err(self.wrong()),
            };
            self.at += 1;
            return Ok((plain(Kind::StartsWith(Box::new(left), Box::new(plain(right)))), Is::Predicate));
        }
        if self.keyword("like_regex") {
            let pattern = self.string()?;
            let flags = if self.keyword("flag") { flags(&self.string()?)? } else { Flags::default() };
            let compiled = compile(&pattern, flags)?;
            let of = Box::new(left);
            return Ok((plain(Kind::LikeRegex { of, pattern, flags, compiled }), Is::Predicate));
        }
        Ok((left, Is::Expression))
    }

    fn exists(&mut self) -> Result<Node> {
        self.expect_keyword("exists")?;
        self.expect("(")?;
        let of = self.expression()?;
        self.expect(")")?;
        Ok(plain(Kind::Exists(Box::new(of))))
    }

    fn sum(&mut self) -> Result<(Node, Is)> {
        self.operators(&[("+", Arithmetic::Add), ("-", Arithmetic::Subtract)], Self::product)
    }

    fn product(&mut self) -> Result<(Node, Is)> {
        let signs = [("*", Arithmetic::Multiply), ("/", Arithmetic::Divide), ("%", Arithmetic::Modulo)];
        self.operators(&signs, Self::signed)
    }

    fn operators(
        &mut self,
        signs: &[(&str, Arithmetic)],
        operand: fn(&mut Self) -> Result<(Node, Is)>,
    ) -> Result<(Node, Is)> {
        let mut left = operand(self)?;
        let mut count = 0;
        while left.1 == Is::Expression {
            let Some((_, operator)) = signs.iter().find(|(sign, _)| self.sign(sign)) else { break };
            chained(&mut count)?;
            let (right, Is::Expression) = operand(self)? else { return Err(self.wrong()) };
            left = (plain(Kind::Arithmetic(*operator, Box::new(left.0), Box::new(right))), Is::Expression);
        }
        Ok(left)
    }

    fn signed(&mut self) -> Result<(Node, Is)> {
        let minus = if self.sign("-") {
            true
        } else if self.sign("+") {
            false
        } else {
            return self.accessed();
        };
        let (of, Is::Expression) = self.deeper(Self::signed)? else { return Err(self.wrong()) };
        // a number takes its sign with it
        if let Node { kind: Kind::Number(text), next: None } = &of {
            let number = match (minus, text.strip_prefix('-')) {
                (false, _) => text.clone(),
                (true, Some(positive)) => positive.to_owned(),
                (true, None) if text.bytes().all(|b| matches!(b, b'0' | b'.')) => text.clone(),
                (true, None) => format!("-{text}"),
            };
            return Ok((plain(Kind::Number(number)), Is::Expression));
        }
        Ok((plain(Kind::Sign { minus, of: Box::new(of) }), Is::Expression))
    }

    /// A primary and the accessors behind it.
    fn accessed(&mut self) -> Result<(Node, Is)> {
        let (mut node, mut is) = if self.sign("(") {
            let inner = self.either()?;
            self.expect(")")?;
            inner
        } else {
            (plain(self.primary()?), Is::Expression)
        };
        let (mut accessors, mut count) = (vec![], 0);
        while let Some(accessor) = self.accessor()? {
            chained(&mut count)?;
            accessors.push(accessor);
        }
        if accessors.is_empty() {
            return Ok((node, is));
        }
        is = Is::Expression;
        let mut chain: Option<Box<Node>> = None;
        for kind in accessors.into_iter().rev() {
            chain = Some(Box::new(Node { kind, next: chain }));
        }
        let mut end = &mut node.next;
        while let Some(next) = end {
            end = &mut next.next;
        }
        *end = chain;
        Ok((node, is))
    }

    fn primary(&mut self) -> Result<Kind> {
        let wrong = self.wrong();
        let kind = match self.peek() {
            Token::String(text) => Kind::String(text.clone()),
            Token::Variable(name) => Kind::Variable(name.clone()),
            Token::Integer(text) | Token::Numeric(text) => Kind::Number(Numeric::parse(text)?.to_string()),
            Token::Sign("$") => Kind::Root,
            Token::Sign("@") if self.filters > 0 => Kind::Current,
            Token::Sign("@") => {
                return Err(Error::new(ErrorKind::Syntax, "@ is not allowed in root expressions"));
            }
            Token::Word(word) => match word.as_str() {
                "null" => Kind::Null,
                "true" => Kind::Bool(true),
                "false" => Kind::Bool(false),
                last if last.eq_ignore_ascii_case("last") => {
                    if self.subscripts == 0 {
                        let text = "LAST is allowed only in array subscripts";
                        return Err(Error::new(ErrorKind::Syntax, text));
                    }
                    Kind::Last
                }
                _ => return Err(wrong),
            },
            Token::Sign(_) | Token::End => return Err(wrong),
        };
        self.at += 1;
        Ok(kind)
    }

    fn accessor(&mut self) -> Result<Option<Kind>> {
        if self.sign(".") {
            return self.member().map(Some);
        }
        if self.sign("[") {
            if self.sign("*") {
                self.expect("]")?;
                return Ok(Some(Kind::AnyArray));
            }
            let mut all = vec![];
            self.subscripts += 1;
            loop {
                let from = self.expression()?;
                let to = if self.keyword("to") { Some(self.expression()?) } else { None };
                all.push((from, to));
                if !self.sign(",") {
                    break;
                }
            }
            self.subscripts -= 1;
            self.expect("]")?;
            return Ok(Some(Kind::Subscripts(all)));
        }
        if self.sign("?") {
            self.expect("(")?;
            self.filters += 1;
            let of = self.predicate()?;
            self.filters -= 1;
            self.expect(")")?;
            return Ok(Some(Kind::Filter(Box::new(of))));
        }
        Ok(None)
    }

    /// What follows a point.
    fn member(&mut self) -> Result<Kind> {
        if self.sign("*") {
            return Ok(Kind::AnyKey);
        }
        if self.sign("**") {
            if !self.sign("{") {
                return Ok(Kind::Any { first: 0, last: LAST });
            }
            let first = self.level()?;
            let last = if self.keyword("to") { self.level()? } else { first };
            self.expect("}")?;
            return Ok(Kind::Any { first, last });
        }
        let word = match self.peek() {
            Token::String(text) => {
                let key = Kind::Key(text.clone());
                self.at += 1;
                return Ok(key);
            }
            Token::Word(word) => word.clone(),
            _ => return Err(self.wrong()),
        };
        self.at += 1;
        let lower = word.to_ascii_lowercase();
        let method = Method::ALL.iter().find(|(name, _)| *name == lower);
        if (method.is_none() && lower != "datetime") || !self.sign("(") {
            return Ok(Kind::Key(word));
        }
        let kind = match method {
            Some((_, method)) => Kind::Method(*method),
            None => match self.peek() {
                Token::String(_) => Kind::Datetime(Some(self.string()?)),
                _ => Kind::Datetime(None),
            },
        };
        self.expect(")")?;
        Ok(kind)
    }

    fn level(&mut self) -> Result<u32> {
        if self.keyword("last") {
            return Ok(LAST);
        }
        let Token::Integer(text) = self.peek() else { return Err(self.wrong()) };
        let out = || Error::new(ErrorKind::NumericRange, format!("value \"{text}\" is out of range for type integer"));
        let level = text.parse::<i32>().ok().and_then(|level| u32::try_from(level).ok()).ok_or_else(out)?;
        self.at += 1;
        Ok(level)
    }
}

fn flags(text: &str) -> Result<Flags> {
    let mut flags = Flags::default();
    for letter in text.chars() {
        match letter {
            'i' => flags.ignore_case = true,
            's' => flags.dot_all = true,
            'm' => flags.multi_line = true,
            'x' => flags.expanded = true,
            'q' => flags.quote = true,
            other => {
                let detail = format!("Unrecognized flag character \"{other}\" in LIKE_REGEX predicate.");
                return Err(Error::new(ErrorKind::Syntax, "invalid input syntax for type jsonpath").with_detail(detail));
            }
        }
    }
    if flags.expanded && !flags.quote {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "XQuery \"x\" flag (expanded regular expressions) is not implemented",
        ));
    }
    Ok(flags)
}

/// XQuery's `.` stops at a newline unless it is told not to.
fn compile(pattern: &str, flags: Flags) -> Result<Pattern> {
    let plain = Options { any_case: flags.ignore_case, ..Options::PLAIN };
    let options = match flags.quote {
        true => Options { syntax: Syntax::Quoted, ..plain },
        false => Options { stop_at_newline: !flags.dot_all, anchor_at_newline: flags.multi_line, ..plain },
    };
    Pattern::new(pattern, options)
}
