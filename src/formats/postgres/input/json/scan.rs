//! Where the values of a JSON text lie. The text was checked, or is jsonb; of any other text it gives slices of no
//! meaning or 22P02, and never panics. It skips containers by counting brackets, so nothing here recurses.

use std::borrow::Cow;

use super::check::{code_zero, lone_low};
use super::invalid;
use crate::error::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Object,
    Array,
    String,
    Number,
    Bool,
    Null,
}

impl Shape {
    pub(crate) fn is_container(self) -> bool {
        matches!(self, Self::Object | Self::Array)
    }
}

/// What the value at the beginning of the text is, blanks before it or not.
pub(crate) fn shape(text: &str) -> Shape {
    match text.bytes().find(|b| !is_blank(*b)) {
        Some(b'{') => Shape::Object,
        Some(b'[') => Shape::Array,
        Some(b'"') => Shape::String,
        Some(b't' | b'f') => Shape::Bool,
        Some(b'n') | None => Shape::Null,
        Some(_) => Shape::Number,
    }
}

/// The one value of a text, without the blanks around it.
pub(crate) fn value(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r'])
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[derive(Clone, Debug)]
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn blanks(&mut self) {
        while self.text.as_bytes().get(self.at).copied().is_some_and(is_blank) {
            self.at += 1;
        }
    }

    /// Behind `mark`, where it is next.
    fn skip(&mut self, mark: u8) -> bool {
        self.blanks();
        let is = self.text.as_bytes().get(self.at) == Some(&mark);
        self.at += usize::from(is);
        is
    }

    fn unended(&self) -> Error {
        invalid("The input string ended unexpectedly.")
    }

    /// The value that stands next, as it is written.
    fn value(&mut self) -> Result<&'a str> {
        self.blanks();
        let start = self.at;
        let bytes = self.text.as_bytes();
        match bytes.get(start) {
            Some(b'"') => self.string()?,
            Some(b'{' | b'[') => {
                let mut depth = 0usize;
                loop {
                    match bytes.get(self.at) {
                        Some(b'"') => {
                            self.string()?;
                            continue;
                        }
                        Some(b'{' | b'[') => depth += 1,
                        Some(b'}' | b']') => depth -= 1,
                        Some(_) => {}
                        None => return Err(self.unended()),
                    }
                    self.at += 1;
                    if depth == 0 {
                        break;
                    }
                }
            }
            _ => {
                let rest = bytes.get(start..).unwrap_or_default();
                let plain = |b: u8| !is_blank(b) && !matches!(b, b',' | b']' | b'}' | b':');
                self.at += rest.iter().take_while(|b| plain(**b)).count();
            }
        }
        if self.at == start {
            return Err(self.unended());
        }
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    fn string(&mut self) -> Result<()> {
        let bytes = self.text.as_bytes();
        let mut at = self.at + 1;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            at += rest.iter().take_while(|b| **b != b'"' && **b != b'\\').count();
            match bytes.get(at) {
                Some(b'"') => break,
                Some(_) => at += 2,
                None => return Err(self.unended()),
            }
        }
        self.at = at + 1;
        Ok(())
    }
}

/// The members of an object as they are written: the key with its quotes, the value.
#[derive(Clone, Debug)]
pub(crate) struct Members<'a> {
    cursor: Cursor<'a>,
    ended: bool,
}

impl<'a> Members<'a> {
    /// None of what is no object.
    pub(crate) fn of(text: &'a str) -> Self {
        let mut cursor = Cursor { text, at: 0 };
        let ended = !cursor.skip(b'{') || cursor.skip(b'}');
        Self { cursor, ended }
    }

    fn advance(&mut self) -> Result<(&'a str, &'a str)> {
        let key = self.cursor.value()?;
        if !key.starts_with('"') || !self.cursor.skip(b':') {
            return Err(self.cursor.unended());
        }
        let value = self.cursor.value()?;
        self.ended = !self.cursor.skip(b',');
        if self.ended && !self.cursor.skip(b'}') {
            return Err(self.cursor.unended());
        }
        Ok((key, value))
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Result<(&'a str, &'a str)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let member = self.advance();
        self.ended |= member.is_err();
        Some(member)
    }
}

/// The elements of an array as they are written.
#[derive(Clone, Debug)]
pub(crate) struct Elements<'a> {
    cursor: Cursor<'a>,
    ended: bool,
}

impl<'a> Elements<'a> {
    /// None of what is no array.
    pub(crate) fn of(text: &'a str) -> Self {
        let mut cursor = Cursor { text, at: 0 };
        let ended = !cursor.skip(b'[') || cursor.skip(b']');
        Self { cursor, ended }
    }

    fn advance(&mut self) -> Result<&'a str> {
        let value = self.cursor.value()?;
        self.ended = !self.cursor.skip(b',');
        if self.ended && !self.cursor.skip(b']') {
            return Err(self.cursor.unended());
        }
        Ok(value)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<&'a str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let element = self.advance();
        self.ended |= element.is_err();
        Some(element)
    }
}

/// Whether a key as it is written, with its quotes, is this one.
pub(crate) fn is_key(written: &str, key: &str) -> Result<bool> {
    let inner = written.get(1..written.len().saturating_sub(1)).unwrap_or_default();
    if !inner.contains('\\') {
        return Ok(inner == key);
    }
    Ok(unescape(written)? == key)
}

/// The characters that a string in quotes stands for.
pub(crate) fn unescape(written: &str) -> Result<Cow<'_, str>> {
    let inner = written.get(1..written.len().saturating_sub(1)).unwrap_or_default();
    let Some(mut next) = inner.find('\\') else { return Ok(Cow::Borrowed(inner)) };
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    loop {
        out.push_str(rest.get(..next).unwrap_or_default());
        rest = rest.get(next + 1..).unwrap_or_default();
        let mut characters = rest.chars();
        let escape = characters.next();
        rest = characters.as_str();
        match escape {
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('u') => out.push(unicode(&mut rest)?),
            Some(plain) => out.push(plain),
            None => return Err(invalid("The input string ended unexpectedly.")),
        }
        match rest.find('\\') {
            Some(found) => next = found,
            None => break,
        }
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

/// Four hexadecimal digits, twice for a surrogate pair.
fn unicode(rest: &mut &str) -> Result<char> {
    let code = match hex4(rest)? {
        0 => return Err(code_zero()),
        high @ 0xd800..=0xdbff => {
            *rest = rest.strip_prefix("\\u").ok_or_else(lone_low)?;
            match hex4(rest)? {
                low @ 0xdc00..=0xdfff => 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00),
                0xd800..=0xdbff => return Err(invalid("Unicode high surrogate must not follow a high surrogate.")),
                _ => return Err(lone_low()),
            }
        }
        plain => plain,
    };
    char::from_u32(code).ok_or_else(lone_low)
}

fn hex4(rest: &mut &str) -> Result<u32> {
    let wrong = || invalid("\"\\u\" must be followed by four hexadecimal digits.");
    let digits = rest.get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let code = u32::from_str_radix(digits.ok_or_else(wrong)?, 16).map_err(|_| wrong())?;
    *rest = rest.get(4..).unwrap_or_default();
    Ok(code)
}
