//! Strings and names in quotes: doubled quotes, strings that go on in the next line, and the escapes of `E'…'` and `U&'…'`
//! (scan.l; parser.c, `str_udeescape`).

use super::{Lexeme, Scanned, Scanner, Text, position};
use crate::error::{Error, Kind};

/// The character that begins an escape of `U&'…'` where UESCAPE names no other.
const UNICODE_ESCAPE: char = '\\';

impl Scanner<'_> {
    /// Behind the quote that goes on with the string: one in another line, with nothing but blanks and comments between.
    fn continued(&self, mut at: usize) -> Option<usize> {
        let mut new_line = false;
        loop {
            match self.byte(at)? {
                b'\n' | b'\r' => (at, new_line) = (at + 1, true),
                b' ' | b'\t' | 0x0c => at += 1,
                b'-' if self.starts(at, "--") => at = self.line_end(at),
                b'\'' if new_line => return Some(at + 1),
                _ => return None,
            }
        }
    }

    /// What stands between single quotes; `open` is the first of them, `start` the beginning of the token. `doubled`: two
    /// quotes stand for one.
    fn between(&mut self, start: usize, open: usize, unterminated: &str, doubled: bool) -> Scanned<String> {
        let (mut value, mut from) = (String::new(), open + 1);
        loop {
            let Some(length) = self.text.get(from..).and_then(|rest| rest.find('\'')) else {
                self.at = self.text.len();
                return Err(self.near(unterminated, start, self.at));
            };
            let close = from + length;
            value.push_str(self.text.get(from..close).unwrap_or_default());
            if doubled && self.byte(close + 1) == Some(b'\'') {
                value.push('\'');
                from = close + 2;
                continue;
            }
            match self.continued(close + 1) {
                Some(next) => from = next,
                None => {
                    self.at = close + 1;
                    return Ok(value);
                }
            }
        }
    }

    pub(super) fn plain(&mut self, start: usize, open: usize) -> Scanned<Lexeme> {
        self.between(start, open, "unterminated quoted string", true).map(|value| Lexeme::Text(Text::Plain(value)))
    }

    pub(super) fn digits(&mut self, start: usize, unterminated: &str) -> Scanned<String> {
        self.between(start, start + 1, unterminated, false)
    }

    /// A name in double quotes; `open` is the first of them.
    pub(super) fn quoted(&mut self, start: usize, open: usize) -> Scanned<String> {
        let (mut value, mut from) = (String::new(), open + 1);
        loop {
            let Some(length) = self.text.get(from..).and_then(|rest| rest.find('"')) else {
                self.at = self.text.len();
                return Err(self.near("unterminated quoted identifier", start, self.at));
            };
            let close = from + length;
            value.push_str(self.text.get(from..close).unwrap_or_default());
            if self.byte(close + 1) != Some(b'"') {
                self.at = close + 1;
                break;
            }
            value.push('"');
            from = close + 2;
        }
        if value.is_empty() {
            return Err(self.near("zero-length delimited identifier", start, self.at));
        }
        Ok(value)
    }

    /// `E'…'`.
    pub(super) fn escaped(&mut self, start: usize) -> Scanned<Lexeme> {
        let mut bytes: Vec<u8> = vec![];
        let mut high: Option<u32> = None;
        let mut at = start + 2;
        loop {
            let Some(byte) = self.byte(at) else {
                self.at = self.text.len();
                return Err(self.near("unterminated quoted string", start, self.at));
            };
            let escape = (byte == b'\\').then(|| self.byte(at + 1)).flatten();
            // the second half of a surrogate pair follows the first at once
            if high.is_some() && !matches!(escape, Some(b'u' | b'U')) {
                let end = at + self.text.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
                return Err(self.near("invalid Unicode surrogate pair", at, end));
            }
            match (byte, escape) {
                (b'\'', _) if self.byte(at + 1) == Some(b'\'') => {
                    bytes.push(b'\'');
                    at += 2;
                }
                (b'\'', _) => match self.continued(at + 1) {
                    Some(next) => at = next,
                    None => break,
                },
                (_, Some(letter @ (b'u' | b'U'))) => {
                    let (end, code) = self.unicode_escape(at, letter)?;
                    match surrogate(high.take(), code) {
                        Surrogate::First(first) => high = Some(first),
                        Surrogate::Whole(c) => bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
                        Surrogate::Wrong => return Err(self.near("invalid Unicode surrogate pair", at, end)),
                        Surrogate::OutOfRange => return Err(self.near("invalid Unicode escape value", at, end)),
                    }
                    at = end;
                }
                (_, Some(letter)) => at = self.short_escape(at, letter, &mut bytes),
                _ => {
                    bytes.push(byte);
                    at += 1;
                }
            }
        }
        self.at = at + 1;
        let wrong = |bytes: &[u8]| {
            let shown: Vec<String> = bytes.iter().map(|b| format!("0x{b:02x}")).collect();
            let text = format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" "));
            Error::new(Kind::InvalidEncoding, text)
        };
        if let Some(zero) = bytes.iter().position(|b| *b == 0)
            && std::str::from_utf8(bytes.get(..zero).unwrap_or_default()).is_ok()
        {
            return Err(wrong(&[0]));
        }
        match String::from_utf8(bytes) {
            Ok(value) => Ok(Lexeme::Text(Text::Escaped(value))),
            Err(error) => {
                let rest = error.as_bytes().get(error.utf8_error().valid_up_to()..).unwrap_or_default();
                let length = match rest.first() {
                    Some(0xf0..=0xf7) => 4,
                    Some(0xe0..=0xef) => 3,
                    Some(0xc0..=0xdf) => 2,
                    _ => 1,
                };
                Err(wrong(rest.get(..length).unwrap_or(rest)))
            }
        }
    }

    /// `\uXXXX` or `\UXXXXXXXX`: where it ends, and its code.
    fn unicode_escape(&mut self, at: usize, letter: u8) -> Scanned<(usize, u32)> {
        let digits = if letter == b'u' { 4 } else { 8 };
        let code = self.text.get(at + 2..at + 2 + digits).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        match code.and_then(|hex| u32::from_str_radix(hex, 16).ok()) {
            Some(code) => Ok((at + 2 + digits, code)),
            None => Err(Error::new(Kind::InvalidEscapeSequence, "invalid Unicode escape")
                .with_hint("Unicode escapes must be \\uXXXX or \\UXXXXXXXX.")
                .at(position(self.text, at))),
        }
    }

    /// `\n`, `\101`, `\x41`, or the character itself. Gives where it ends.
    fn short_escape(&self, at: usize, letter: u8, bytes: &mut Vec<u8>) -> usize {
        let run = |from: usize, most: usize, radix: u32| {
            let rest = self.text.as_bytes().get(from..).unwrap_or_default();
            rest.iter().take(most).take_while(|b| char::from(**b).is_digit(radix)).count()
        };
        let number = |from: usize, count: usize, radix: u32| {
            let digits = self.text.get(from..from + count).unwrap_or_default();
            // three octal digits are cut to a byte
            u32::from_str_radix(digits, radix).map_or(0, |code| code.to_le_bytes()[0])
        };
        match letter {
            b'b' => bytes.push(0x08),
            b'f' => bytes.push(0x0c),
            b'n' => bytes.push(b'\n'),
            b'r' => bytes.push(b'\r'),
            b't' => bytes.push(b'\t'),
            b'0'..=b'7' => {
                let count = run(at + 1, 3, 8);
                bytes.push(number(at + 1, count, 8));
                return at + 1 + count;
            }
            b'x' if run(at + 2, 2, 16) > 0 => {
                let count = run(at + 2, 2, 16);
                bytes.push(number(at + 2, count, 16));
                return at + 2 + count;
            }
            other => bytes.push(other),
        }
        at + 2
    }

    /// `U&'…'` with the UESCAPE behind it.
    pub(super) fn unicode_text(&mut self, start: usize) -> Scanned<Lexeme> {
        let raw = self.between(start, start + 2, "unterminated quoted string", true)?;
        let escape = self.uescape()?;
        self.unescaped(&raw, escape, start).map(|value| Lexeme::Text(Text::Unicode(value)))
    }

    /// `U&"…"` with the UESCAPE behind it.
    pub(super) fn unicode_name(&mut self, start: usize) -> Scanned<Lexeme> {
        let raw = self.quoted(start, start + 2)?;
        let escape = self.uescape()?;
        self.unescaped(&raw, escape, start).map(Lexeme::Quoted)
    }

    fn uescape(&mut self) -> Scanned<char> {
        let end = self.at;
        self.blanks()?;
        let word = self.at;
        let found = self.text.get(word..self.word_end(word)).unwrap_or_default();
        if !found.eq_ignore_ascii_case("uescape") {
            self.at = end;
            return Ok(UNICODE_ESCAPE);
        }
        self.at = self.word_end(word);
        self.blanks()?;
        let start = self.at;
        let Lexeme::Text(Text::Plain(value) | Text::Escaped(value)) = self.token()? else {
            return Err(self.near("UESCAPE must be followed by a simple string literal", start, self.at));
        };
        let mut characters = value.chars();
        match (characters.next(), characters.next()) {
            (Some(c), None) if !c.is_ascii_hexdigit() && !matches!(c, '+' | '\'' | '"') && !blank(c) => Ok(c),
            _ => Err(self.near("invalid Unicode escape character", start, self.at)),
        }
    }

    /// `\XXXX`, `\+XXXXXX`, and the escape character twice for itself.
    fn unescaped(&self, raw: &str, escape: char, start: usize) -> Scanned<String> {
        // as the scanner counts, from the first character between the quotes
        let place = |byte: usize| position(self.text, start) + raw.get(..byte).map_or(0, |b| b.chars().count()) + 3;
        let fault = |message: &str, byte: usize| Error::new(Kind::Syntax, message).at(place(byte));
        let mut value = String::with_capacity(raw.len());
        let mut high: Option<u32> = None;
        let mut at = 0;
        while let Some(c) = raw.get(at..).and_then(|rest| rest.chars().next()) {
            let next = at + c.len_utf8();
            let rest = raw.get(next..).unwrap_or_default();
            if c != escape || rest.starts_with(escape) {
                if high.is_some() {
                    return Err(fault("invalid Unicode surrogate pair", at));
                }
                value.push(c);
                at = if c == escape { next + escape.len_utf8() } else { next };
                continue;
            }
            let (skip, digits) = if rest.starts_with('+') { (1, 6) } else { (0, 4) };
            let hex = rest.get(skip..skip + digits).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
            let Some(code) = hex.and_then(|hex| u32::from_str_radix(hex, 16).ok()) else {
                let hint = "Unicode escapes must be \\XXXX or \\+XXXXXX.";
                return Err(fault("invalid Unicode escape", at).with_hint(hint));
            };
            match surrogate(high.take(), code) {
                Surrogate::First(first) => high = Some(first),
                Surrogate::Whole(c) => value.push(c),
                Surrogate::Wrong => return Err(fault("invalid Unicode surrogate pair", at)),
                Surrogate::OutOfRange => return Err(fault("invalid Unicode escape value", at)),
            }
            at = next + skip + digits;
        }
        match high {
            Some(_) => Err(fault("invalid Unicode surrogate pair", at)),
            None => Ok(value),
        }
    }
}

fn blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}')
}

enum Surrogate {
    First(u32),
    Whole(char),
    Wrong,
    OutOfRange,
}

/// A code after the first half of a pair, or after none.
fn surrogate(first: Option<u32>, code: u32) -> Surrogate {
    match (first, code) {
        (Some(first), 0xdc00..=0xdfff) => {
            let whole = 0x10000 + ((first & 0x3ff) << 10) + (code & 0x3ff);
            char::from_u32(whole).map_or(Surrogate::OutOfRange, Surrogate::Whole)
        }
        (Some(_), _) | (None, 0xdc00..=0xdfff) => Surrogate::Wrong,
        (None, 0xd800..=0xdbff) => Surrogate::First(code),
        (None, 0) => Surrogate::OutOfRange,
        (None, code) => char::from_u32(code).map_or(Surrogate::OutOfRange, Surrogate::Whole),
    }
}
