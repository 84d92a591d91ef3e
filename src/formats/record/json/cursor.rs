//! A place in a JSON text: strings, numbers and words as slices of it, and values passed over. What it takes for JSON
//! serde_json takes too. It builds nothing.

use crate::formats::record::Problem;

pub(super) const MALFORMED: Problem = "is not valid JSON";
/// Objects and arrays within each other, as serde_json allows.
const DEPTH_MAX: usize = 127;

/// Between tokens `at` is always a character boundary: it moves over ASCII bytes and over whole strings.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

/// A string between its quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spelling<'a> {
    pub(super) raw: &'a str,
    pub(super) escaped: bool,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// What was passed since `start`.
    pub(super) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Over `text`, where it stands next.
    pub(super) fn take(&mut self, text: &str) -> bool {
        let there = self.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(text.as_bytes()));
        if there {
            self.at += text.len();
        }
        there
    }

    /// The next byte that is not white space.
    pub(super) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(self.at) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Problem> {
        if self.peek() != Some(byte) {
            return Err(MALFORMED);
        }
        self.at += 1;
        Ok(())
    }

    pub(super) fn end(&mut self) -> Result<(), Problem> {
        if self.peek().is_some() { Err(MALFORMED) } else { Ok(()) }
    }

    /// Into an object or an array that opens here; whether it has anything in it.
    pub(super) fn open(&mut self, opening: u8, closing: u8) -> Result<bool, Problem> {
        self.expect(opening)?;
        if self.peek() == Some(closing) {
            self.at += 1;
            return Ok(false);
        }
        Ok(true)
    }

    /// After a member or an element; whether another one follows.
    pub(super) fn more(&mut self, closing: u8) -> Result<bool, Problem> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == closing => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(MALFORMED),
        }
    }

    /// A member's name and its colon.
    pub(super) fn name(&mut self) -> Result<Spelling<'a>, Problem> {
        if self.peek() != Some(b'"') {
            return Err(MALFORMED);
        }
        let name = self.string()?;
        self.expect(b':')?;
        Ok(name)
    }

    /// Stands at a quote.
    pub(super) fn string(&mut self) -> Result<Spelling<'a>, Problem> {
        let start = self.at + 1;
        let bytes = self.text.as_bytes();
        let (mut at, mut escaped) = (start, false);
        loop {
            at = special(bytes, at);
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    at += match bytes.get(at + 1) {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
                        Some(b'u') => match bytes.get(at + 2..at + 6) {
                            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => 6,
                            _ => return Err(MALFORMED),
                        },
                        _ => return Err(MALFORMED),
                    };
                }
                _ => return Err(MALFORMED),
            }
        }
        self.at = at + 1;
        Ok(Spelling { raw: self.text.get(start..at).ok_or(MALFORMED)?, escaped })
    }

    /// `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`
    pub(super) fn number(&mut self) -> Result<&'a str, Problem> {
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
        Ok(self.since(start))
    }

    pub(super) fn word(&mut self, word: &str) -> Result<(), Problem> {
        if self.take(word) { Ok(()) } else { Err(MALFORMED) }
    }

    /// Over `null`, where it stands next.
    pub(super) fn null(&mut self) -> bool {
        self.peek() == Some(b'n') && self.take("null")
    }

    /// Over a value of any kind, which is given as it is spelt.
    pub(super) fn value(&mut self) -> Result<&'a str, Problem> {
        self.peek();
        let start = self.at;
        self.skip(DEPTH_MAX)?;
        Ok(self.since(start))
    }

    fn skip(&mut self, depth: usize) -> Result<(), Problem> {
        match self.peek() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'-' | b'0'..=b'9') => self.number().map(|_| ()),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(b'{') => {
                let depth = depth.checked_sub(1).ok_or(MALFORMED)?;
                let mut more = self.open(b'{', b'}')?;
                while more {
                    self.name()?;
                    self.skip(depth)?;
                    more = self.more(b'}')?;
                }
                Ok(())
            }
            Some(b'[') => {
                let depth = depth.checked_sub(1).ok_or(MALFORMED)?;
                let mut more = self.open(b'[', b']')?;
                while more {
                    self.skip(depth)?;
                    more = self.more(b']')?;
                }
                Ok(())
            }
            _ => Err(MALFORMED),
        }
    }

    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let byte = self.text.as_bytes().get(self.at).copied().filter(|b| bytes.contains(b))?;
        self.at += 1;
        Some(byte)
    }

    fn digits(&mut self) -> usize {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        self.at += count;
        count
    }
}

/// The first quote, backslash or control character from `at` on, eight bytes at a time; the end where there is none.
fn special(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let found = control | zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len())
}

impl Spelling<'_> {
    /// What it spells, in `scratch` where that is not the text itself.
    pub(super) fn text<'s>(&'s self, scratch: &'s mut String) -> Result<&'s str, Problem> {
        if !self.escaped {
            return Ok(self.raw);
        }
        scratch.clear();
        let mut rest = self.raw;
        while let Some((plain, after)) = rest.split_once('\\') {
            scratch.push_str(plain);
            let mut letters = after.chars();
            let letter = letters.next().ok_or(MALFORMED)?;
            rest = letters.as_str();
            scratch.push(match letter {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => {
                    let (character, after) = escaped(rest).ok_or(MALFORMED)?;
                    rest = after;
                    character
                }
                other => other,
            });
        }
        scratch.push_str(rest);
        Ok(scratch)
    }
}

/// The character of `XXXX` or `XXXX\uXXXX`, and what stands behind it. Half a pair is none.
fn escaped(text: &str) -> Option<(char, &str)> {
    let unit = |text: &str| text.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let (first, rest) = (unit(text)?, text.get(4..)?);
    if !(0xd800..0xdc00).contains(&first) {
        return Some((char::from_u32(first)?, rest));
    }
    let second = rest.strip_prefix("\\u")?;
    let low = unit(second).filter(|low| (0xdc00..0xe000).contains(low))?;
    let code = 0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00);
    Some((char::from_u32(code)?, second.get(4..)?))
}
