//! A statement's text as tokens, by the rules of PostgreSQL's scanner (scan.l): operators are cut where it cuts them, and
//! what cannot be a token is a fault with its text and place. It knows no grammar.

mod string;

use datafusion::sql::sqlparser::tokenizer::Location;

use super::keyword::{Keyword, keyword};
use crate::error::{Error, Kind};

/// Longest operator in bytes (NAMEDATALEN - 1).
const OPERATOR_BYTES_MAX: usize = 63;

#[derive(Debug)]
pub(super) struct Token {
    pub(super) lexeme: Lexeme,
    /// In bytes of the text.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) from: Location,
    pub(super) to: Location,
}

#[derive(Debug)]
pub(super) enum Lexeme {
    /// Without quotes, and what the grammar knows it as.
    Word(Option<&'static Keyword>),
    /// A name in quotes, without them.
    Quoted(String),
    /// Digits that fit an int4.
    Integer,
    /// Any other number.
    Number,
    /// `$1`
    Parameter,
    Text(Text),
    /// `B'01'`
    Bits(String),
    /// `X'1F'`
    Hex(String),
    Operator,
    TypeCast,
    DotDot,
    ColonEquals,
    EqualsGreater,
    /// A parenthesis, a comma, or what no rule knows.
    Symbol(char),
    /// Where the text cannot be read on. It is raised when the grammar gets here: what is wrong before it comes first.
    Fault(Box<Error>),
    End,
}

#[derive(Debug)]
pub(super) enum Text {
    Plain(String),
    /// `E'…'`
    Escaped(String),
    /// `U&'…'`
    Unicode(String),
    /// `$tag$…$tag$`
    Dollar {
        tag: Option<String>,
        value: String,
    },
}

/// All tokens; the last one is an end or a fault.
pub(super) fn lex(text: &str) -> Vec<Token> {
    let mut scanner = Scanner { text, at: 0, place: Place { byte: 0, location: Location::new(1, 1) } };
    let mut tokens = vec![];
    loop {
        let fault = scanner.blanks().err();
        let start = scanner.at;
        let lexeme = match fault {
            Some(error) => Err(error),
            None => scanner.token(),
        };
        let lexeme = lexeme.unwrap_or_else(|error| Lexeme::Fault(Box::new(error)));
        let last = matches!(lexeme, Lexeme::End | Lexeme::Fault(_));
        let end = scanner.at;
        let from = scanner.place.advance(text, start);
        let to = scanner.place.advance(text, end);
        tokens.push(Token { lexeme, start, end, from, to });
        if last {
            return tokens;
        }
    }
}

/// One-based character position of a byte.
pub(super) fn position(text: &str, byte: usize) -> usize {
    text.get(..byte).map_or(0, |before| before.chars().count()) + 1
}

/// `message at or near "text"`, as the scanner says it.
fn near(message: &str, text: &str, start: usize, end: usize) -> Error {
    let shown = text.get(start..end).unwrap_or_default();
    let message = match shown.is_empty() {
        true => format!("{message} at end of input"),
        false => format!("{message} at or near \"{shown}\""),
    };
    Error::new(Kind::Syntax, message).at(position(text, start))
}

/// A byte with its line and column, which are counted once over the whole text.
struct Place {
    byte: usize,
    location: Location,
}

impl Place {
    fn advance(&mut self, text: &str, to: usize) -> Location {
        for c in text.get(self.byte..to).unwrap_or_default().chars() {
            if c == '\n' {
                self.location = Location::new(self.location.line + 1, 1);
            } else {
                self.location.column += 1;
            }
        }
        self.byte = self.byte.max(to);
        self.location
    }
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    place: Place,
}

pub(super) type Scanned<T> = Result<T, Error>;

fn starts_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn continues_word(byte: u8) -> bool {
    starts_word(byte) || byte.is_ascii_digit() || byte == b'$'
}

fn is_operator(byte: u8) -> bool {
    b"~!@#^&|`?+-*/%<>=".contains(&byte)
}

impl Scanner<'_> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn starts(&self, at: usize, with: &str) -> bool {
        self.text.as_bytes().get(at..).is_some_and(|rest| rest.starts_with(with.as_bytes()))
    }

    fn near(&self, message: &str, start: usize, end: usize) -> Error {
        near(message, self.text, start, end)
    }

    /// White space and comments.
    fn blanks(&mut self) -> Scanned<()> {
        while let Some(byte) = self.byte(self.at) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0c => self.at += 1,
                b'-' if self.starts(self.at, "--") => self.at = self.line_end(self.at),
                b'/' if self.starts(self.at, "/*") => self.at = self.comment(self.at)?,
                _ => break,
            }
        }
        Ok(())
    }

    fn line_end(&self, at: usize) -> usize {
        let rest = self.text.as_bytes().get(at..).unwrap_or_default();
        rest.iter().position(|b| matches!(b, b'\n' | b'\r')).map_or(self.text.len(), |n| at + n)
    }

    /// Behind a comment, which may hold others.
    fn comment(&self, start: usize) -> Scanned<usize> {
        let (mut at, mut depth) = (start + 2, 1usize);
        while depth > 0 {
            if self.starts(at, "/*") {
                (at, depth) = (at + 2, depth + 1);
            } else if self.starts(at, "*/") {
                (at, depth) = (at + 2, depth - 1);
            } else if self.byte(at).is_some() {
                at += 1;
            } else {
                return Err(self.near("unterminated /* comment", start, at));
            }
        }
        Ok(at)
    }

    fn token(&mut self) -> Scanned<Lexeme> {
        let start = self.at;
        let Some(byte) = self.byte(start) else { return Ok(Lexeme::End) };
        let next = self.byte(start + 1);
        match (byte, next) {
            (b'\'', _) => self.plain(start, start),
            (b'e' | b'E', Some(b'\'')) => self.escaped(start),
            (b'b' | b'B', Some(b'\'')) => self.digits(start, "unterminated bit string literal").map(Lexeme::Bits),
            (b'x' | b'X', Some(b'\'')) => {
                self.digits(start, "unterminated hexadecimal string literal").map(Lexeme::Hex)
            }
            // N'…' is the word nchar before a string
            (b'n' | b'N', Some(b'\'')) => {
                self.at += 1;
                Ok(Lexeme::Word(keyword("nchar")))
            }
            (b'u' | b'U', Some(b'&')) if self.byte(start + 2) == Some(b'\'') => self.unicode_text(start),
            (b'u' | b'U', Some(b'&')) if self.byte(start + 2) == Some(b'"') => self.unicode_name(start),
            (b'"', _) => self.quoted(start, start).map(Lexeme::Quoted),
            (b'$', _) => self.dollar(start),
            (b'0'..=b'9', _) | (b'.', Some(b'0'..=b'9')) => self.number(start),
            (b':', Some(b':')) => Ok(self.symbol(2, Lexeme::TypeCast)),
            (b':', Some(b'=')) => Ok(self.symbol(2, Lexeme::ColonEquals)),
            (b'.', Some(b'.')) => Ok(self.symbol(2, Lexeme::DotDot)),
            _ if starts_word(byte) => {
                self.at = self.word_end(start);
                let word = self.text.get(start..self.at).unwrap_or_default();
                Ok(Lexeme::Word(keyword(&word.to_ascii_lowercase())))
            }
            _ if is_operator(byte) => self.operator(start),
            _ => Ok(self.symbol(1, Lexeme::Symbol(char::from(byte)))),
        }
    }

    fn symbol(&mut self, bytes: usize, lexeme: Lexeme) -> Lexeme {
        self.at += bytes;
        lexeme
    }

    fn word_end(&self, start: usize) -> usize {
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        rest.iter().position(|b| !continues_word(*b)).map_or(self.text.len(), |n| start + n)
    }

    fn digits_end(&self, start: usize) -> usize {
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        rest.iter().position(|b| !b.is_ascii_digit()).map_or(self.text.len(), |n| start + n)
    }

    fn number(&mut self, start: usize) -> Scanned<Lexeme> {
        let mut end = self.digits_end(start);
        let mut whole = true;
        // 1..2 is a slice's bound, not a number with two dots
        if self.byte(end) == Some(b'.') && (self.byte(end + 1) != Some(b'.') || end == start) {
            end = self.digits_end(end + 1);
            whole = false;
        }
        if let Some(b'e' | b'E') = self.byte(end) {
            let sign = usize::from(matches!(self.byte(end + 1), Some(b'+' | b'-')));
            let digits = self.digits_end(end + 1 + sign);
            if digits > end + 1 + sign {
                end = digits;
                whole = false;
            } else if sign == 1 {
                self.at = end + 2;
                return Err(self.near("trailing junk after numeric literal", start, end + 2));
            }
        }
        if self.byte(end).is_some_and(starts_word) {
            self.at = self.word_end(end);
            return Err(self.near("trailing junk after numeric literal", start, self.at));
        }
        self.at = end;
        let fits = whole && self.text.get(start..end).is_some_and(|digits| digits.parse::<i32>().is_ok());
        Ok(if fits { Lexeme::Integer } else { Lexeme::Number })
    }

    /// `$1`, `$$…$$`, `$tag$…$tag$`.
    fn dollar(&mut self, start: usize) -> Scanned<Lexeme> {
        let digits = self.digits_end(start + 1);
        if digits > start + 1 {
            self.at = digits;
            if self.byte(digits).is_some_and(starts_word) {
                self.at = self.word_end(digits);
                return Err(self.near("trailing junk after parameter", start, self.at));
            }
            return Ok(Lexeme::Parameter);
        }
        let rest = self.text.as_bytes().get(start + 1..).unwrap_or_default();
        let tag = rest.iter().position(|b| !(starts_word(*b) || b.is_ascii_digit())).unwrap_or(rest.len());
        if self.byte(start + 1 + tag) != Some(b'$') {
            return Ok(self.symbol(1, Lexeme::Symbol('$')));
        }
        let (open, body) = (start..start + tag + 2, start + tag + 2);
        let delimiter = self.text.get(open.clone()).unwrap_or_default();
        let Some(length) = self.text.get(body..).and_then(|rest| rest.find(delimiter)) else {
            self.at = self.text.len();
            return Err(self.near("unterminated dollar-quoted string", start, self.at));
        };
        self.at = body + length + delimiter.len();
        let value = self.text.get(body..body + length).unwrap_or_default().to_owned();
        let tag = self.text.get(open.start + 1..open.end - 1).filter(|tag| !tag.is_empty());
        Ok(Lexeme::Text(Text::Dollar { tag: tag.map(str::to_owned), value }))
    }

    /// The longest run of operator characters, cut before a comment, and without a sign at its end unless a character stands
    /// in it that no SQL operator has: `a*-1` is two operators, `@-` is one.
    fn operator(&mut self, start: usize) -> Scanned<Lexeme> {
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        let run = rest.iter().position(|b| !is_operator(*b)).unwrap_or(rest.len());
        let run = rest.get(..run).unwrap_or_default();
        let cut = run.windows(2).position(|two| two == b"/*" || two == b"--").unwrap_or(run.len());
        let mut run = run.get(..cut).unwrap_or_default();
        while let [before @ .., b'+' | b'-'] = run
            && !before.is_empty()
            && !before.iter().any(|b| b"~!@#^&|`?%".contains(b))
        {
            run = before;
        }
        self.at = start + run.len();
        if run.len() > OPERATOR_BYTES_MAX {
            return Err(Error::new(Kind::Syntax, "operator too long").at(position(self.text, start)));
        }
        Ok(if run == b"=>" { Lexeme::EqualsGreater } else { Lexeme::Operator })
    }
}
