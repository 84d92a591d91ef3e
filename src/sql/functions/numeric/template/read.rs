//! to_number: a text by its picture, as the digits of a number (`NUM_processor`, `NUM_numpart_from_char`).

use super::picture::{Anchor, Key, Node, Picture};
use crate::error::{Error, Result};

struct Reader<'a> {
    picture: &'a Picture,
    text: &'a [u8],
    at: usize,
    /// Of the number; a blank until one is read.
    sign: u8,
    digits: Vec<u8>,
    before: usize,
    after: usize,
    point: bool,
}

/// The number's text, and how many digits it has after the point.
pub(super) fn read(text: &str, picture: &Picture) -> Result<(String, usize)> {
    if picture.exponent {
        return Err(Error::unsupported("\"EEEE\"").map_message(|_| "\"EEEE\" not supported for input".to_owned()));
    }
    if picture.roman {
        return Err(Error::unsupported("\"RN\"").map_message(|_| "\"RN\" not supported for input".to_owned()));
    }
    let mut reader = Reader {
        picture,
        text: text.as_bytes(),
        at: 0,
        sign: b' ',
        digits: Vec::new(),
        before: 0,
        after: 0,
        point: false,
    };
    for node in &picture.nodes {
        if reader.ended() {
            break;
        }
        match node {
            Node::Literal(_) => reader.skip(),
            Node::Key(key) => reader.key(*key),
        }
    }
    let mut digits = reader.digits;
    if digits.last() == Some(&b'.') {
        digits.pop();
    }
    digits.insert(0, reader.sign);
    Ok((String::from_utf8_lossy(&digits).into_owned(), reader.after))
}

impl Reader<'_> {
    fn ended(&self) -> bool {
        self.at >= self.text.len()
    }

    fn byte(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    /// One character, of however many bytes.
    fn skip(&mut self) {
        self.at += 1;
        while self.text.get(self.at).is_some_and(|byte| byte & 0xc0 == 0x80) {
            self.at += 1;
        }
    }

    /// At most so many characters that are not part of numbers.
    fn skip_others(&mut self, most: usize) {
        for _ in 0..most {
            if self.ended() || b"0123456789.,+-".contains(&self.byte()) {
                return;
            }
            self.skip();
        }
    }

    fn key(&mut self, key: Key) {
        match key {
            Key::Nine | Key::Zero | Key::Point | Key::LocalePoint => {
                self.digit(key);
                self.at += 1;
            }
            // nothing that was read says that digits have begun, so that FM never looks for a separator
            Key::Comma | Key::Group if self.picture.fill || self.byte() != b',' => {}
            Key::Comma | Key::Group => self.at += 1,
            Key::Currency => self.skip_others(1),
            Key::Ordinal { .. } => {
                if !self.picture.decimal {
                    self.skip_others(2);
                }
            }
            Key::Minus | Key::Plus | Key::AnySign => match (key, self.byte()) {
                (Key::Minus | Key::AnySign, b'-') | (Key::Plus | Key::AnySign, b'+') => {
                    self.sign = self.byte();
                    self.at += 1;
                }
                _ => self.skip_others(1),
            },
            Key::Blank
            | Key::Exponent
            | Key::Fill
            | Key::Brackets
            | Key::Roman { .. }
            | Key::Spell
            | Key::Sign
            | Key::Multiply
            | Key::Iso => {}
        }
    }

    /// The caller goes on by one byte.
    fn digit(&mut self, key: Key) {
        if self.ended() {
            return;
        }
        if self.byte() == b' ' {
            self.at += 1;
        }
        if self.ended() {
            return;
        }
        let picture = self.picture;
        if self.sign == b' ' && matches!(key, Key::Zero | Key::Nine) && self.before + self.after == 0 {
            let by_locale = picture.sign && picture.anchor == Anchor::Before;
            match self.byte() {
                b'<' if !by_locale && picture.brackets => (self.sign, self.at) = (b'-', self.at + 1),
                sign @ (b'-' | b'+') => (self.sign, self.at) = (sign, self.at + 1),
                _ => {}
            }
        }
        if self.ended() {
            return;
        }
        let mut read = false;
        if self.byte().is_ascii_digit() {
            if self.point && self.after == picture.post {
                return;
            }
            self.digits.push(self.byte());
            *(if self.point { &mut self.after } else { &mut self.before }) += 1;
            read = true;
        } else if picture.decimal && !self.point && self.byte() == b'.' {
            self.digits.push(b'.');
            (self.point, read) = (true, true);
        }
        if self.sign != b' ' || self.before + self.after == 0 {
            return;
        }
        let next = self.text.get(self.at + 1);
        if picture.sign && read && next.is_some_and(|byte| !byte.is_ascii_digit()) {
            // the sign stands behind the last digit
            if let Some(sign @ (b'-' | b'+')) = next {
                (self.sign, self.at) = (*sign, self.at + 1);
            }
        } else if !read && !picture.sign && (picture.plus || picture.minus) && matches!(self.byte(), b'-' | b'+') {
            self.sign = self.byte();
        }
    }
}
