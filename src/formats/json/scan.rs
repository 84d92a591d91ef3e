//! The members of one JSON object, as slices of its text: serde_json's own values would put numbers through f64. Strings
//! with escapes and nested values are serde_json's; this file only finds where values end.

use std::borrow::Cow;

use serde::de::IgnoredAny;

/// A member's value. Numbers keep their spelling, nested values their text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member<'a> {
    pub(super) value: Value<'a>,
    /// As it stands in the record.
    pub(super) raw: &'a str,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    Text(Cow<'a, str>),
    /// An object or an array.
    Nested,
}

const MALFORMED: &str = "is not valid JSON";

/// Calls `each` for every member, in order. An error may come after some calls.
pub(super) fn members<'a>(text: &'a str, mut each: impl FnMut(Cow<'a, str>, Member<'a>)) -> Result<(), &'static str> {
    let mut reader = Reader { text, at: 0 };
    match reader.peek() {
        Some(b'{') => reader.at += 1,
        _ if serde_json::from_str::<IgnoredAny>(text).is_ok() => return Err("is not a JSON object"),
        _ => return Err(MALFORMED),
    }
    if reader.peek() == Some(b'}') {
        reader.at += 1;
        return reader.end();
    }
    loop {
        let name = match reader.peek() {
            Some(b'"') => reader.string()?,
            _ => return Err(MALFORMED),
        };
        reader.expect(b':')?;
        let member = reader.value()?;
        each(name, member);
        match reader.peek() {
            Some(b',') => reader.at += 1,
            Some(b'}') => {
                reader.at += 1;
                return reader.end();
            }
            _ => return Err(MALFORMED),
        }
    }
}

/// Between tokens `at` is always a character boundary: it moves over ASCII bytes and over whole strings.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(self.at) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), &'static str> {
        if self.peek() != Some(byte) {
            return Err(MALFORMED);
        }
        self.at += 1;
        Ok(())
    }

    fn end(&mut self) -> Result<(), &'static str> {
        if self.peek().is_some() { Err(MALFORMED) } else { Ok(()) }
    }

    fn value(&mut self) -> Result<Member<'a>, &'static str> {
        let first = self.peek();
        let start = self.at;
        let value = match first {
            Some(b'"') => Value::Text(self.string()?),
            Some(b'{' | b'[') => self.nested()?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true", Value::Bool(true))?,
            Some(b'f') => self.word("false", Value::Bool(false))?,
            Some(b'n') => self.word("null", Value::Null)?,
            _ => return Err(MALFORMED),
        };
        Ok(Member { value, raw: self.text.get(start..self.at).ok_or(MALFORMED)? })
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, &'static str> {
        if !self.rest().starts_with(word) {
            return Err(MALFORMED);
        }
        self.at += word.len();
        Ok(value)
    }

    fn string(&mut self) -> Result<Cow<'a, str>, &'static str> {
        let start = self.at;
        let mut escaped = false;
        let mut bytes = self.text.as_bytes().iter().enumerate().skip(start + 1);
        loop {
            match bytes.next() {
                Some((end, b'"')) => {
                    self.at = end + 1;
                    let whole = self.text.get(start..=end).ok_or(MALFORMED)?;
                    return match escaped {
                        false => Ok(Cow::Borrowed(whole.get(1..whole.len() - 1).ok_or(MALFORMED)?)),
                        true => serde_json::from_str(whole).map(Cow::Owned).map_err(|_| MALFORMED),
                    };
                }
                Some((_, b'\\')) => {
                    escaped = true;
                    bytes.next();
                }
                Some((_, 0..0x20)) | None => return Err(MALFORMED),
                Some(_) => {}
            }
        }
    }

    fn nested(&mut self) -> Result<Value<'a>, &'static str> {
        let mut stream = serde_json::Deserializer::from_str(self.rest()).into_iter::<IgnoredAny>();
        match stream.next() {
            Some(Ok(_)) => {
                self.at += stream.byte_offset();
                Ok(Value::Nested)
            }
            _ => Err(MALFORMED),
        }
    }

    /// `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`
    fn number(&mut self) -> Result<Value<'a>, &'static str> {
        let start = self.at;
        self.one_of(b"-");
        if self.one_of(b"0").is_none() && self.digits() == 0 {
            return Err(MALFORMED);
        }
        if self.one_of(b".").is_some() && self.digits() == 0 {
            return Err(MALFORMED);
        }
        if self.one_of(b"eE").is_some() {
            self.one_of(b"+-");
            if self.digits() == 0 {
                return Err(MALFORMED);
            }
        }
        Ok(Value::Number(self.text.get(start..self.at).ok_or(MALFORMED)?))
    }

    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let byte = self.text.as_bytes().get(self.at).copied().filter(|b| bytes.contains(b))?;
        self.at += 1;
        Some(byte)
    }

    fn digits(&mut self) -> usize {
        let count = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        self.at += count;
        count
    }
}
