//! The characters of a pattern as tokens (regc_lex.c).

use super::super::invalid;
use super::super::options::{Options, Syntax};
use super::super::tree::{class, complement};
use crate::error::Result;
use crate::sql::functions::text::ctype::Ranges;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    End,
    Plain(u32),
    Dot,
    /// `\d` and its like.
    Class(Ranges),
    Bar,
    Open {
        captures: bool,
    },
    Close,
    Look {
        ahead: bool,
        positive: bool,
    },
    /// With whether it is greedy.
    Star(bool),
    Plus(bool),
    Optional(bool),
    OpenBound,
    Digit(u32),
    Comma,
    CloseBound(bool),
    OpenBracket {
        positive: bool,
    },
    CloseBracket,
    Range,
    /// `[.….]`, `[=…=]`, `[:…:]`.
    Collating(String),
    Equivalents(String),
    Named(String),
    Caret,
    Dollar,
    TextStart,
    TextEnd,
    WordStart,
    WordEnd,
    WordEdge,
    NoWordEdge,
    Reference(usize),
}

/// Where the lexer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Outside,
    Bound,
    /// The next character is the first of the bracket.
    BracketStart,
    Bracket,
}

pub(super) struct Lexer {
    text: Vec<char>,
    at: usize,
    place: Place,
    pub(super) options: Options,
}

impl Lexer {
    /// Behind a director (`***=`, `***:`) and embedded options.
    pub(super) fn new(pattern: &str, options: Options) -> Result<Self> {
        let mut lexer = Self { text: pattern.chars().collect(), at: 0, place: Place::Outside, options };
        if options.syntax != Syntax::Quoted {
            lexer.prefixes()?;
        }
        Ok(lexer)
    }

    fn prefixes(&mut self) -> Result<()> {
        if self.starts("***") {
            match self.text.get(3) {
                Some('?') => return Err(invalid("invalid regexp (reg version 0.8)")),
                Some('=') => {
                    self.options.syntax = Syntax::Quoted;
                    self.options.expanded = false;
                    (self.options.stop_at_newline, self.options.anchor_at_newline) = (false, false);
                    self.at = 4;
                    return Ok(());
                }
                Some(':') => {
                    self.options.syntax = Syntax::Advanced;
                    self.at = 4;
                }
                _ => return Err(invalid("quantifier operand invalid")),
            }
        }
        if self.options.syntax == Syntax::Advanced
            && self.starts("(?")
            && self.text.get(self.at + 2).is_some_and(char::is_ascii_alphabetic)
        {
            self.at += 2;
            while let Some(letter) = self.peek().filter(char::is_ascii_alphabetic) {
                if !self.options.set(letter) {
                    return Err(invalid("invalid embedded option"));
                }
                self.at += 1;
            }
            if !self.eat(')') {
                return Err(invalid("invalid embedded option"));
            }
            if self.options.syntax == Syntax::Quoted {
                self.options.expanded = false;
                (self.options.stop_at_newline, self.options.anchor_at_newline) = (false, false);
            }
        }
        Ok(())
    }

    fn starts(&self, prefix: &str) -> bool {
        prefix.chars().enumerate().all(|(i, c)| self.text.get(self.at + i) == Some(&c))
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let is = self.peek() == Some(wanted);
        self.at += usize::from(is);
        is
    }

    /// White space and comments of the expanded syntax.
    fn skip(&mut self) {
        loop {
            while self.peek().is_some_and(|c| c.is_ascii_whitespace() || c == '\x0b') {
                self.at += 1;
            }
            if self.peek() != Some('#') {
                return;
            }
            while self.peek().is_some_and(|c| c != '\n') {
                self.at += 1;
            }
        }
    }

    /// `groups`: how many have been opened.
    pub(super) fn next(&mut self, groups: usize) -> Result<Token> {
        if self.options.syntax == Syntax::Quoted {
            let token = self.peek().map_or(Token::End, |c| Token::Plain(u32::from(c)));
            self.at += 1;
            return Ok(token);
        }
        if self.options.expanded && matches!(self.place, Place::Outside | Place::Bound) {
            self.skip();
        }
        let Some(c) = self.peek() else {
            return match self.place {
                Place::Outside => Ok(Token::End),
                Place::Bound => Err(invalid("braces {} not balanced")),
                Place::Bracket | Place::BracketStart => Err(invalid("brackets [] not balanced")),
            };
        };
        self.at += 1;
        match self.place {
            Place::Outside => self.outside(c, groups),
            Place::Bound => self.bound(c),
            Place::Bracket | Place::BracketStart => self.bracket(c),
        }
    }

    fn outside(&mut self, c: char, groups: usize) -> Result<Token> {
        Ok(match c {
            '|' => Token::Bar,
            '*' => Token::Star(!self.eat('?')),
            '+' => Token::Plus(!self.eat('?')),
            '?' => Token::Optional(!self.eat('?')),
            '{' => {
                if self.options.expanded {
                    self.skip();
                }
                if !self.peek().is_some_and(|c| c.is_ascii_digit()) {
                    return Ok(Token::Plain(u32::from(c)));
                }
                self.place = Place::Bound;
                Token::OpenBound
            }
            '(' if self.eat('?') => {
                let kind = self.peek();
                self.at += 1;
                match kind {
                    Some(':') => Token::Open { captures: false },
                    Some('#') => {
                        while self.peek().is_some_and(|c| c != ')') {
                            self.at += 1;
                        }
                        self.at += usize::from(self.peek().is_some());
                        return self.next(groups);
                    }
                    Some('=') => Token::Look { ahead: true, positive: true },
                    Some('!') => Token::Look { ahead: true, positive: false },
                    Some('<') if self.eat('=') => Token::Look { ahead: false, positive: true },
                    Some('<') if self.eat('!') => Token::Look { ahead: false, positive: false },
                    _ => return Err(invalid("quantifier operand invalid")),
                }
            }
            '(' => Token::Open { captures: true },
            ')' => Token::Close,
            '[' => {
                for (name, token) in [("[:<:]]", Token::WordStart), ("[:>:]]", Token::WordEnd)] {
                    if self.starts(name) {
                        self.at += name.len();
                        return Ok(token);
                    }
                }
                self.place = Place::BracketStart;
                Token::OpenBracket { positive: !self.eat('^') }
            }
            '.' => Token::Dot,
            '^' => Token::Caret,
            '$' => Token::Dollar,
            '\\' => self.escape(groups)?,
            c => Token::Plain(u32::from(c)),
        })
    }

    fn bound(&mut self, c: char) -> Result<Token> {
        Ok(match c {
            ',' => Token::Comma,
            '}' => {
                self.place = Place::Outside;
                Token::CloseBound(!self.eat('?'))
            }
            c => match c.to_digit(10) {
                Some(digit) => Token::Digit(digit),
                None => return Err(invalid("invalid repetition count(s)")),
            },
        })
    }

    fn bracket(&mut self, c: char) -> Result<Token> {
        let first = std::mem::replace(&mut self.place, Place::Bracket) == Place::BracketStart;
        Ok(match c {
            ']' if !first => {
                self.place = Place::Outside;
                Token::CloseBracket
            }
            '-' if !first && self.peek() != Some(']') => Token::Range,
            '\\' => match self.escape(0)? {
                token @ (Token::Plain(_) | Token::Class(_)) => token,
                _ => return Err(escape_error()),
            },
            '[' => match self.peek() {
                None => return Err(invalid("brackets [] not balanced")),
                Some('.') => Token::Collating(self.named('.')?),
                Some('=') => Token::Equivalents(self.named('=')?),
                Some(':') => Token::Named(self.named(':')?),
                Some(_) => Token::Plain(u32::from(c)),
            },
            c => Token::Plain(u32::from(c)),
        })
    }

    /// Up to the same mark and `]`.
    fn named(&mut self, mark: char) -> Result<String> {
        self.at += 1;
        let mut name = String::new();
        loop {
            match self.peek() {
                None => return Err(invalid("brackets [] not balanced")),
                Some(c) if c == mark && self.text.get(self.at + 1) == Some(&']') => break,
                Some(c) => name.push(c),
            }
            self.at += 1;
        }
        self.at += 2;
        if !name.is_empty() {
            return Ok(name);
        }
        Err(invalid(if mark == ':' { "invalid character class" } else { "invalid collating element" }))
    }

    /// Behind a backslash.
    fn escape(&mut self, groups: usize) -> Result<Token> {
        let c = self.peek().ok_or_else(escape_error)?;
        self.at += 1;
        let set = |name: &str| class(name, false).unwrap_or_default();
        let plain = |code: u32| Ok(Token::Plain(code));
        match c {
            'a' => plain(7),
            'A' => Ok(Token::TextStart),
            'b' => plain(8),
            'B' => plain(u32::from('\\')),
            'c' => {
                let c = self.peek().ok_or_else(escape_error)?;
                self.at += 1;
                plain(u32::from(c) & 31)
            }
            'd' => Ok(Token::Class(set("digit"))),
            'D' => Ok(Token::Class(complement(&set("digit")))),
            'e' => plain(27),
            'f' => plain(12),
            'm' => Ok(Token::WordStart),
            'M' => Ok(Token::WordEnd),
            'n' => plain(10),
            'r' => plain(13),
            's' => Ok(Token::Class(set("space"))),
            'S' => Ok(Token::Class(complement(&set("space")))),
            't' => plain(9),
            'u' => plain(self.digits(16, 4, 4)?),
            'U' => plain(self.digits(16, 8, 8)?),
            'v' => plain(11),
            'w' => Ok(Token::Class(set("word"))),
            'W' => Ok(Token::Class(complement(&set("word")))),
            'x' => plain(self.digits(16, 1, 255)?),
            'y' => Ok(Token::WordEdge),
            'Y' => Ok(Token::NoWordEdge),
            'Z' => Ok(Token::TextEnd),
            '1'..='9' => {
                // One digit is always a back-reference; more are one if there is such a group, else octal.
                let behind = self.at;
                self.at -= 1;
                let number = usize::try_from(self.digits(10, 1, 255)?).unwrap_or(usize::MAX);
                if self.at == behind || (1..=groups).contains(&number) {
                    return Ok(Token::Reference(number));
                }
                self.at = behind;
                self.octal()
            }
            '0' => self.octal(),
            c if c.is_ascii_alphanumeric() => Err(escape_error()),
            c => plain(u32::from(c)),
        }
    }

    /// Up to three digits, from the one before.
    fn octal(&mut self) -> Result<Token> {
        self.at -= 1;
        let mut code = self.digits(8, 1, 3)?;
        if code > 255 {
            self.at -= 1;
            code >>= 3;
        }
        Ok(Token::Plain(code))
    }

    fn digits(&mut self, base: u32, least: usize, most: usize) -> Result<u32> {
        let (mut number, mut count) = (0u32, 0);
        while count < most {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(base)) else { break };
            number = number.checked_mul(base).and_then(|n| n.checked_add(digit)).ok_or_else(escape_error)?;
            self.at += 1;
            count += 1;
        }
        if count < least || number > 0x7fff_fffe { Err(escape_error()) } else { Ok(number) }
    }
}

fn escape_error() -> crate::error::Error {
    invalid("invalid escape \\ sequence")
}
