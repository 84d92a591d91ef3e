//! jsonpath's tokens (jsonpath_scan.l).

use crate::error::{Error, Kind, Result};
use crate::formats::postgres::input::json::unescape;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// `&&`, `==`, a single character.
    Sign(&'static str),
    String(String),
    Variable(String),
    /// A word, keyword or not, as it is written.
    Word(String),
    Integer(String),
    Numeric(String),
    End,
}

/// A token, and what PostgreSQL's errors show when it stands in a wrong place.
#[derive(Clone, Debug)]
pub(super) struct Lexed {
    pub(super) token: Token,
    pub(super) near: String,
}

const SIGNS: [&str; 32] = [
    "&&", "||", "**", "<=", "==", "<>", "!=", ">=", "<", ">", "!", "?", "%", "$", ".", "[", "]", "{", "}", "(", ")",
    "|", "&", "=", "@", "#", ",", "*", ":", "-", "+", "/",
];

pub(super) fn wrong(message: &str, near: &str) -> Error {
    let text = match near {
        "" => format!("{message} at end of jsonpath input"),
        _ => format!("{message} at or near \"{near}\" of jsonpath input"),
    };
    Error::new(Kind::Syntax, text)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}')
}

/// Characters of words.
fn is_other(c: char) -> bool {
    !is_blank(c) && !"?%$.[]{}()|&!=<>@#,*:-+/\\\"".contains(c)
}

pub(super) fn lex(text: &str) -> Result<Vec<Lexed>> {
    let mut tokens = vec![];
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(is_blank);
        if let Some(comment) = rest.strip_prefix("/*") {
            let end = comment.find("*/").ok_or_else(|| wrong("unexpected end of comment", ""))?;
            rest = comment.get(end + 2..).unwrap_or_default();
            continue;
        }
        let Some(first) = rest.chars().next() else {
            tokens.push(Lexed { token: Token::End, near: String::new() });
            return Ok(tokens);
        };
        let after_dollar = rest.strip_prefix('$').unwrap_or_default();
        let (token, near, length) = if first == '"' {
            let (string, length) = quoted(rest.get(1..).unwrap_or_default())?;
            (Token::String(string), "\"".to_owned(), length + 1)
        } else if after_dollar.starts_with('"') {
            let (string, length) = quoted(after_dollar.get(1..).unwrap_or_default())?;
            (Token::Variable(string), "\"".to_owned(), length + 2)
        } else if after_dollar.starts_with(is_other) {
            let name = word_of_others(after_dollar);
            (Token::Variable(name.to_owned()), format!("${name}"), name.len() + 1)
        } else if first.is_ascii_digit() || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit())) {
            let (token, length) = number(rest)?;
            (token, rest.get(..length).unwrap_or_default().to_owned(), length)
        } else if first == '\\' || is_other(first) {
            let (word, length) = word(rest)?;
            let behind = rest.get(length..).unwrap_or_default();
            let blanks = behind.len() - behind.trim_start_matches(is_blank).len();
            (Token::Word(word), behind.get(..blanks).unwrap_or_default().to_owned(), length)
        } else {
            let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign)).unwrap_or("#");
            (Token::Sign(sign), sign.to_owned(), sign.len())
        };
        tokens.push(Lexed { token, near });
        rest = rest.get(length..).unwrap_or_default();
    }
}

fn word_of_others(text: &str) -> &str {
    text.get(..text.find(|c| !is_other(c)).unwrap_or(text.len())).unwrap_or_default()
}

/// Number and length. Anything of a word behind it is refused.
fn number(text: &str) -> Result<(Token, usize)> {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes.get(from..).unwrap_or_default().iter().take_while(|b| b.is_ascii_digit()).count();
    let mut at = match bytes.first() {
        Some(b'.') => 0,
        Some(b'0') => 1,
        _ => digits(0),
    };
    let mut integer = true;
    if bytes.get(at) == Some(&b'.') {
        integer = false;
        at += 1 + digits(at + 1);
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let count = digits(at + 1 + sign);
        if count > 0 {
            integer = false;
            at += 1 + sign + count;
        } else if sign > 0 {
            return Err(wrong("invalid numeric literal", text.get(..at + 2).unwrap_or_default()));
        }
    }
    let rest = text.get(at..).unwrap_or_default();
    if let Some(junk) = rest.chars().next().filter(|c| is_other(*c)) {
        return Err(wrong("trailing junk after numeric literal", text.get(..at + junk.len_utf8()).unwrap_or_default()));
    }
    let number = text.get(..at).unwrap_or_default().to_owned();
    Ok((if integer { Token::Integer(number) } else { Token::Numeric(number) }, at))
}

/// From behind the quote; the length includes the closing one.
fn quoted(text: &str) -> Result<(String, usize)> {
    let mut out = String::new();
    let mut at = 0;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        match rest.chars().next() {
            None => return Err(wrong("unexpected end of quoted string", "")),
            Some('"') => return Ok((out, at + 1)),
            Some('\\') => at += escape(rest, &mut out)?,
            Some(plain) => {
                out.push(plain);
                at += plain.len_utf8();
            }
        }
    }
}

fn word(text: &str) -> Result<(String, usize)> {
    let mut out = String::new();
    let mut at = 0;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        match rest.chars().next() {
            Some('\\') => at += escape(rest, &mut out)?,
            Some(plain) if is_other(plain) => {
                out.push(plain);
                at += plain.len_utf8();
            }
            _ => return Ok((out, at)),
        }
    }
}

/// One escape, or all of a run of `\u`, which may be surrogates.
fn escape(text: &str, out: &mut String) -> Result<usize> {
    let mut characters = text.chars().skip(1);
    let plain = match characters.next() {
        None => return Err(wrong("unexpected end after backslash", "\\")),
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('v') => '\u{b}',
        Some('x') => {
            let digits = text.get(2..).unwrap_or_default();
            let count = digits.bytes().take(2).take_while(u8::is_ascii_hexdigit).count();
            if count < 2 {
                return Err(wrong("invalid hex character sequence", text.get(..2 + count).unwrap_or_default()));
            }
            let code = u32::from_str_radix(&digits[..2], 16).unwrap_or(0);
            out.push(character(code)?);
            return Ok(4);
        }
        Some('u') => return unicode(text, out),
        Some(other) => {
            out.push(other);
            return Ok(1 + other.len_utf8());
        }
    };
    out.push(plain);
    Ok(2)
}

fn character(code: u32) -> Result<char> {
    if code == 0 {
        // the same error as json's
        return unescape("\"\\u0000\"").map(|_| '\u{0}');
    }
    char::from_u32(code).ok_or_else(|| jsonpath_invalid("Unicode low surrogate must follow a high surrogate."))
}

pub(super) fn jsonpath_invalid(detail: impl Into<String>) -> Error {
    Error::new(Kind::InvalidText, "invalid input syntax for type jsonpath").with_detail(detail)
}

fn unicode(text: &str, out: &mut String) -> Result<usize> {
    let mut at = 0;
    let mut high: Option<u32> = None;
    while let Some(rest) = text.get(at..).filter(|rest| rest.starts_with("\\u")) {
        let digits = rest.get(2..).unwrap_or_default();
        let (code, length) = match digits.strip_prefix('{') {
            Some(inner) => {
                let count = inner.bytes().take(6).take_while(u8::is_ascii_hexdigit).count();
                if count == 0 || inner.as_bytes().get(count) != Some(&b'}') {
                    return Err(wrong("invalid unicode sequence", rest.get(..3 + count).unwrap_or_default()));
                }
                (inner.get(..count), count + 4)
            }
            None => {
                let count = digits.bytes().take(4).take_while(u8::is_ascii_hexdigit).count();
                if count < 4 {
                    return Err(wrong("invalid unicode sequence", rest.get(..2 + count).unwrap_or_default()));
                }
                (digits.get(..4), 6)
            }
        };
        let code = u32::from_str_radix(code.unwrap_or_default(), 16).unwrap_or(0);
        at += length;
        let low = "Unicode low surrogate must follow a high surrogate.";
        match (high.take(), code) {
            (None, 0xd800..=0xdbff) => high = Some(code),
            (Some(_), 0xd800..=0xdbff) => {
                return Err(jsonpath_invalid("Unicode high surrogate must not follow a high surrogate."));
            }
            (Some(first), 0xdc00..=0xdfff) => {
                out.push(character(0x10000 + ((first - 0xd800) << 10) + (code - 0xdc00))?);
            }
            (Some(_), _) | (None, 0xdc00..=0xdfff) => return Err(jsonpath_invalid(low)),
            (None, _) => out.push(character(code)?),
        }
    }
    match high {
        Some(_) => Err(jsonpath_invalid("Unicode low surrogate must follow a high surrogate.")),
        None => Ok(at),
    }
}
