//! Whether a text is JSON, with the errors of PostgreSQL's jsonapi.c. It keeps nothing of what it reads.

use super::{DEPTH_MAX, invalid, too_deep};
use crate::error::{Error, Kind, Result};

/// What becomes of escapes in strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Escapes {
    /// They stay as they are written: `\u` wants four digits, whatever they say.
    Kept,
    /// They are read: surrogates must come in pairs, and text has no U+0000.
    Read,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    ObjectStart,
    ObjectEnd,
    ArrayStart,
    ArrayEnd,
    Comma,
    Colon,
    String,
    /// A number, `true`, `false`, `null`.
    Plain,
    End,
}

/// 22P02, 22P05 and 54001.
pub(crate) fn check(text: &str, escapes: Escapes) -> Result<()> {
    let mut lexer = Lexer { text, bytes: text.as_bytes(), start: 0, end: 0, escapes };
    // whether the containers that are open are objects
    let mut open: Vec<bool> = vec![];
    let mut token = lexer.next()?;
    loop {
        let ended = match token {
            Token::ObjectStart => {
                open.push(true);
                match lexer.next()? {
                    Token::String => {
                        lexer.colon()?;
                        false
                    }
                    Token::ObjectEnd => {
                        open.pop();
                        true
                    }
                    other => return Err(lexer.expected("string or \"}\"", other)),
                }
            }
            Token::ArrayStart => {
                open.push(false);
                token = lexer.next()?;
                if token != Token::ArrayEnd {
                    too_many(&open)?;
                    continue;
                }
                open.pop();
                true
            }
            Token::String | Token::Plain => true,
            other => return Err(lexer.expected("JSON value", other)),
        };
        too_many(&open)?;
        if !ended {
            token = lexer.next()?;
            continue;
        }
        loop {
            token = lexer.next()?;
            match (open.last(), token) {
                (None, Token::End) => return Ok(()),
                (None, other) => return Err(lexer.expected("end of input", other)),
                (Some(false), Token::ArrayEnd) | (Some(true), Token::ObjectEnd) => drop(open.pop()),
                (Some(false), Token::Comma) => {
                    token = lexer.next()?;
                    break;
                }
                (Some(true), Token::Comma) => {
                    match lexer.next()? {
                        Token::String => lexer.colon()?,
                        other => return Err(lexer.expected("string", other)),
                    }
                    token = lexer.next()?;
                    break;
                }
                (Some(false), other) => return Err(lexer.expected("\",\" or \"]\"", other)),
                (Some(true), other) => return Err(lexer.expected("\",\" or \"}\"", other)),
            }
        }
    }
}

fn too_many(open: &[bool]) -> Result<()> {
    if open.len() > DEPTH_MAX { Err(too_deep()) } else { Ok(()) }
}

/// Whether the whole text is a number of JSON.
pub(crate) fn is_number(text: &str) -> bool {
    let bytes = text.as_bytes();
    let unsigned = bytes.strip_prefix(b"-").unwrap_or(bytes);
    number(unsigned) == Some(unsigned.len())
}

/// Where the number without its sign ends; `None` where it is none.
fn number(bytes: &[u8]) -> Option<usize> {
    let digits = |from: usize| {
        let count = bytes.get(from..)?.iter().take_while(|b| b.is_ascii_digit()).count();
        (count > 0).then_some(from + count)
    };
    let mut at = if bytes.first() == Some(&b'0') { 1 } else { digits(0)? };
    if bytes.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1;
        if matches!(bytes.get(at), Some(b'+' | b'-')) {
            at += 1;
        }
        at = digits(at)?;
    }
    Some(at)
}

struct Lexer<'a> {
    text: &'a str,
    bytes: &'a [u8],
    /// Of the token read last, which errors show.
    start: usize,
    end: usize,
    escapes: Escapes,
}

impl Lexer<'_> {
    fn next(&mut self) -> Result<Token> {
        let mut at = self.end;
        while matches!(self.bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            at += 1;
        }
        self.start = at;
        self.end = at + 1;
        let Some(&byte) = self.bytes.get(at) else {
            self.end = at;
            return Ok(Token::End);
        };
        Ok(match byte {
            b'{' => Token::ObjectStart,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayStart,
            b']' => Token::ArrayEnd,
            b',' => Token::Comma,
            b':' => Token::Colon,
            b'"' => {
                self.string()?;
                Token::String
            }
            b'-' | b'0'..=b'9' => {
                self.number()?;
                Token::Plain
            }
            _ => {
                self.end = at + self.word(at);
                match &self.bytes[at..self.end] {
                    b"true" | b"false" | b"null" => Token::Plain,
                    [] => {
                        self.end = at + 1;
                        return Err(self.invalid_token());
                    }
                    _ => return Err(self.invalid_token()),
                }
            }
        })
    }

    fn colon(&mut self) -> Result<()> {
        match self.next()? {
            Token::Colon => Ok(()),
            other => Err(self.expected("\":\"", other)),
        }
    }

    /// Letters, digits, underscores and bytes beyond ASCII.
    fn word(&self, from: usize) -> usize {
        let rest = self.bytes.get(from..).unwrap_or_default();
        rest.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_' || **b >= 0x80).count()
    }

    fn number(&mut self) -> Result<()> {
        let from = self.start + usize::from(self.bytes.get(self.start) == Some(&b'-'));
        let rest = self.bytes.get(from..).unwrap_or_default();
        if let Some(length) = number(rest) {
            self.end = from + length;
            let garbage = self.word(self.end);
            if garbage == 0 {
                return Ok(());
            }
            self.end += garbage;
            return Err(self.invalid_token());
        }
        // what was read until it was no number, and the word behind it
        let mut at = from + rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if at > from && self.bytes.get(at) == Some(&b'.') {
            at += 1;
        }
        at += self.word(at);
        if matches!(self.bytes.get(at), Some(b'+' | b'-')) && matches!(self.bytes.get(at - 1), Some(b'e' | b'E')) {
            at += 1;
            at += self.word(at);
        }
        self.end = at;
        Err(self.invalid_token())
    }

    fn string(&mut self) -> Result<()> {
        let mut at = self.start + 1;
        let mut high = None;
        loop {
            let rest = self.bytes.get(at..).unwrap_or_default();
            let plain = rest.iter().take_while(|b| **b != b'"' && **b != b'\\' && **b >= 0x20).count();
            if plain > 0 && high.is_some() {
                return Err(lone_low());
            }
            at += plain;
            match self.bytes.get(at) {
                None => return Err(self.unended(at)),
                Some(b'"') => break,
                Some(b'\\') => at = self.escape(at + 1, &mut high)?,
                Some(control) => {
                    return Err(invalid(format!("Character with value 0x{control:02x} must be escaped.")));
                }
            }
        }
        self.end = at + 1;
        if high.is_some() { Err(lone_low()) } else { Ok(()) }
    }

    /// From behind the backslash; gives the place behind the escape. `high` is a surrogate that waits for its other half.
    fn escape(&mut self, at: usize, high: &mut Option<u32>) -> Result<usize> {
        let Some(&byte) = self.bytes.get(at) else { return Err(self.unended(at)) };
        if byte != b'u' {
            if high.is_some() {
                return Err(lone_low());
            }
            if b"\"\\/bfnrt".contains(&byte) {
                return Ok(at + 1);
            }
            let character = self.text.get(at..).and_then(|rest| rest.chars().next()).unwrap_or_default();
            return Err(invalid(format!("Escape sequence \"\\{character}\" is invalid.")));
        }
        let mut code = 0;
        for place in at + 1..at + 5 {
            let Some(&byte) = self.bytes.get(place) else { return Err(self.unended(place)) };
            let digit = char::from(byte).to_digit(16);
            let digit = digit.ok_or_else(|| invalid("\"\\u\" must be followed by four hexadecimal digits."))?;
            code = code << 4 | digit;
        }
        if self.escapes == Escapes::Read {
            match (code, high.take()) {
                (0xd800..=0xdbff, None) => *high = Some(code),
                (0xd800..=0xdbff, Some(_)) => {
                    return Err(invalid("Unicode high surrogate must not follow a high surrogate."));
                }
                (0xdc00..=0xdfff, Some(_)) => {}
                (0xdc00..=0xdfff, None) | (_, Some(_)) => return Err(lone_low()),
                (0, None) => return Err(code_zero()),
                (_, None) => {}
            }
        }
        Ok(at + 5)
    }

    fn unended(&mut self, at: usize) -> Error {
        self.end = at.min(self.bytes.len());
        self.invalid_token()
    }

    fn token(&self) -> &str {
        let end = (self.end..self.text.len()).find(|at| self.text.is_char_boundary(*at)).unwrap_or(self.text.len());
        self.text.get(self.start..end).unwrap_or_default()
    }

    fn invalid_token(&self) -> Error {
        invalid(format!("Token \"{}\" is invalid.", self.token()))
    }

    fn expected(&self, what: &str, found: Token) -> Error {
        match found {
            Token::End => invalid("The input string ended unexpectedly."),
            _ => invalid(format!("Expected {what}, but found \"{}\".", self.token())),
        }
    }
}

pub(super) fn lone_low() -> Error {
    invalid("Unicode low surrogate must follow a high surrogate.")
}

pub(super) fn code_zero() -> Error {
    let detail = "\\u0000 cannot be converted to text.";
    Error::new(Kind::UntranslatableText, "unsupported Unicode escape sequence").with_detail(detail)
}
