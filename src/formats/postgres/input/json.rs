//! JSON text: is it valid, and jsonb's normal form (keys by length and bytes, the last of equal keys, one blank behind
//! `:` and `,`, numbers written out). It builds no tree of values that anyone else could use.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::error::{Error, Kind, Result};

/// Nesting beyond this is refused: reading recurses.
const DEPTH_MAX: usize = 512;
/// Places that a number may have when written out.
const PLACES_MAX: i64 = 1_000;

/// 22P02 where it is not JSON. Escapes are not looked into: PostgreSQL keeps json as it is written.
pub fn valid_json(text: &str) -> Result<()> {
    let valid = serde_json::from_str::<serde::de::IgnoredAny>(text);
    valid.map(drop).map_err(|_| Error::new(Kind::InvalidText, "invalid input syntax for type json"))
}

/// As jsonb prints it.
pub fn normal_json(text: &str) -> Result<String> {
    let mut reader = Reader { rest: text };
    let mut out = String::with_capacity(text.len());
    reader.value(0, &mut out)?;
    reader.skip_spaces();
    if reader.rest.is_empty() { Ok(out) } else { Err(reader.invalid()) }
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize, out: &mut String) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(Error::new(Kind::TooComplex, "JSON is nested too deeply"));
        }
        self.skip_spaces();
        match self.rest.bytes().next() {
            Some(b'{') => self.object(depth, out),
            Some(b'[') => self.array(depth, out),
            Some(b'"') => {
                let string = self.string()?;
                write_string(&string, out);
                Ok(())
            }
            Some(b'-' | b'0'..=b'9') => self.number(out),
            _ => {
                let word = ["true", "false", "null"].into_iter().find(|word| self.rest.starts_with(word));
                let word = word.ok_or_else(|| self.invalid())?;
                self.rest = &self.rest[word.len()..];
                out.push_str(word);
                Ok(())
            }
        }
    }

    fn object(&mut self, depth: usize, out: &mut String) -> Result<()> {
        let mut members = BTreeMap::new();
        self.rest = &self.rest[1..];
        self.skip_spaces();
        if !self.skip('}') {
            loop {
                self.skip_spaces();
                let key = self.string()?;
                self.skip_spaces();
                self.expect(':')?;
                let mut value = String::new();
                self.value(depth + 1, &mut value)?;
                members.insert((key.len(), key), value);
                self.skip_spaces();
                if self.skip('}') {
                    break;
                }
                self.expect(',')?;
            }
        }
        out.push('{');
        for (position, ((_, key), value)) in members.iter().enumerate() {
            if position > 0 {
                out.push_str(", ");
            }
            write_string(key, out);
            out.push_str(": ");
            out.push_str(value);
        }
        out.push('}');
        Ok(())
    }

    fn array(&mut self, depth: usize, out: &mut String) -> Result<()> {
        self.rest = &self.rest[1..];
        out.push('[');
        self.skip_spaces();
        if !self.skip(']') {
            loop {
                self.value(depth + 1, out)?;
                self.skip_spaces();
                if self.skip(']') {
                    break;
                }
                self.expect(',')?;
                out.push_str(", ");
            }
        }
        out.push(']');
        Ok(())
    }

    fn string(&mut self) -> Result<String> {
        self.expect('"')?;
        let mut string = String::new();
        loop {
            let end = self.rest.find(|c: char| c == '"' || c == '\\' || c < ' ').ok_or_else(|| self.invalid())?;
            string.push_str(&self.rest[..end]);
            self.rest = &self.rest[end..];
            if self.skip('"') {
                return Ok(string);
            }
            self.expect('\\')?;
            let mut characters = self.rest.chars();
            let escape = characters.next();
            self.rest = characters.as_str();
            string.push(match escape {
                Some(plain @ ('"' | '\\' | '/')) => plain,
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('u') => self.unicode()?,
                _ => return Err(self.invalid()),
            });
        }
    }

    /// Four hexadecimal digits, twice for a surrogate pair. PostgreSQL's text has no U+0000.
    fn unicode(&mut self) -> Result<char> {
        let first = self.hex4()?;
        let code = match first {
            0 => {
                let detail = "\\u0000 cannot be converted to text.";
                return Err(
                    Error::new(Kind::UntranslatableText, "unsupported Unicode escape sequence").with_detail(detail)
                );
            }
            0xd800..=0xdbff => {
                self.rest = self.rest.strip_prefix("\\u").ok_or_else(|| self.invalid())?;
                match self.hex4()? {
                    second @ 0xdc00..=0xdfff => 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00),
                    _ => return Err(self.invalid()),
                }
            }
            plain => plain,
        };
        char::from_u32(code).ok_or_else(|| self.invalid())
    }

    fn hex4(&mut self) -> Result<u32> {
        let digits = self.rest.get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let digits = digits.ok_or_else(|| self.invalid())?;
        self.rest = &self.rest[4..];
        u32::from_str_radix(digits, 16).map_err(|_| self.invalid())
    }

    /// JSON's grammar, which is stricter than a numeric's: no plus, no leading zero, digits on both sides of the point.
    fn number(&mut self, out: &mut String) -> Result<()> {
        let negative = self.skip('-');
        let whole = self.digits()?;
        if whole.len() > 1 && whole.starts_with('0') {
            return Err(self.invalid());
        }
        let fraction = if self.skip('.') { self.digits()? } else { "" };
        let mut exponent = 0i64;
        if self.skip('e') || self.skip('E') {
            let minus = self.skip('-');
            if !minus {
                self.skip('+');
            }
            let digits = self.digits()?.parse().unwrap_or(i64::MAX / 2);
            exponent = if minus { -digits } else { digits };
        }
        if exponent.abs() > PLACES_MAX {
            return Err(Error::new(Kind::NumericRange, "value overflows numeric format"));
        }
        // The point moves by the exponent; what is missing on either side is zeros.
        let digits = [whole, fraction].concat();
        let point = whole.len() as i64 + exponent;
        let scale = (fraction.len() as i64 - exponent).max(0) as usize;
        let padded = match usize::try_from(point) {
            Ok(point) => format!("{digits:0<point$}"),
            Err(_) => format!("{:0>width$}", digits, width = digits.len() + point.unsigned_abs() as usize),
        };
        let (before, after) = padded.split_at(padded.len().saturating_sub(scale));
        let before = before.trim_start_matches('0');
        let zero = digits.bytes().all(|byte| byte == b'0');
        if negative && !zero {
            out.push('-');
        }
        out.push_str(if before.is_empty() { "0" } else { before });
        if scale > 0 {
            out.push('.');
            out.push_str(after);
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<&'a str> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        if digits.is_empty() { Err(self.invalid()) } else { Ok(digits) }
    }

    fn skip(&mut self, mark: char) -> bool {
        let behind = self.rest.strip_prefix(mark);
        self.rest = behind.unwrap_or(self.rest);
        behind.is_some()
    }

    fn expect(&mut self, mark: char) -> Result<()> {
        if self.skip(mark) { Ok(()) } else { Err(self.invalid()) }
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn invalid(&self) -> Error {
        let token: String = self.rest.chars().take_while(|c| !c.is_whitespace()).take(32).collect();
        let detail = if token.is_empty() {
            "The input string ended unexpectedly.".to_owned()
        } else {
            format!("Token \"{token}\" is invalid.")
        };
        Error::new(Kind::InvalidText, "invalid input syntax for type json").with_detail(detail)
    }
}

fn write_string(string: &str, out: &mut String) {
    out.push('"');
    for character in string.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Writing into a String cannot fail.
            control if control < ' ' => drop(write!(out, "\\u{:04x}", u32::from(control))),
            plain => out.push(plain),
        }
    }
    out.push('"');
}
