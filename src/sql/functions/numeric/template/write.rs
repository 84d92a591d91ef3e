//! to_char: digits into a picture (`NUM_processor`, `NUM_numpart_to_char`).

use super::picture::{Anchor, Key, Node, Picture};
use crate::error::{Error, Kind, Result};

/// What is put into a picture.
pub(super) enum Number {
    /// Already the result.
    Whole(String),
    Roman(String),
    Digits {
        negative: bool,
        digits: Vec<u8>,
        /// Places of the picture before the number begins.
        blanks: usize,
    },
}

impl Number {
    /// Hashes where it has more digits before the point than the picture.
    pub(super) fn plain(negative: bool, digits: String, picture: &Picture) -> Self {
        let before = digits.find('.').unwrap_or(digits.len());
        if before <= picture.pre {
            return Self::Digits { negative, digits: digits.into_bytes(), blanks: picture.pre - before };
        }
        let mut hashes = vec![b'#'; picture.pre + picture.post + 1];
        hashes[picture.pre] = b'.';
        Self::Digits { negative, digits: hashes, blanks: 0 }
    }

    /// `None`: out of an integer's range.
    pub(super) fn roman(value: Option<i32>) -> Self {
        const LETTERS: [(i32, &str); 13] = [
            (1000, "M"),
            (900, "CM"),
            (500, "D"),
            (400, "CD"),
            (100, "C"),
            (90, "XC"),
            (50, "L"),
            (40, "XL"),
            (10, "X"),
            (9, "IX"),
            (5, "V"),
            (4, "IV"),
            (1, "I"),
        ];
        let Some(mut left @ 1..=3999) = value else { return Self::Roman("#".repeat(15)) };
        let mut roman = String::new();
        for (worth, letters) in LETTERS {
            while left >= worth {
                roman.push_str(letters);
                left -= worth;
            }
        }
        Self::Roman(roman)
    }
}

/// Of a NaN or an infinity with `EEEE`.
pub(super) fn no_exponent(picture: &Picture) -> String {
    let mut hashes = vec!['#'; picture.pre + picture.post + 6];
    hashes[0] = ' ';
    if let Some(point) = hashes.get_mut(picture.pre + 1) {
        *point = '.';
    }
    hashes.into_iter().collect()
}

struct Writer {
    picture: Picture,
    out: Vec<u8>,
    digits: Vec<u8>,
    /// Place in `digits`; they end as if with a zero byte.
    at: usize,
    sign: u8,
    sign_written: bool,
    blanks: usize,
    /// Digit places of the picture, and how many have been met.
    count: isize,
    place: usize,
    /// A digit was written by the last place: separators are shown.
    inside: bool,
    /// With FM: the last digit behind the point that is not dropped, or the point.
    last_relevant: Option<usize>,
    roman: Option<String>,
}

pub(super) fn write(number: Number, picture: Picture) -> Result<String> {
    let mut picture = picture;
    picture.zero_start = picture.zero_start.saturating_sub(1);
    let (negative, digits, blanks, roman) = match number {
        Number::Whole(text) => return Ok(text),
        Number::Roman(text) => {
            let fill = picture.fill;
            picture = Picture { nodes: picture.nodes, roman: true, fill, ..Picture::default() };
            (None, text.clone().into_bytes(), 0, Some(text))
        }
        Number::Digits { negative, digits, blanks } => (Some(negative), digits, blanks, None),
    };
    let sign = match negative {
        Some(true) => b'-',
        Some(false) => b'+',
        None => 0,
    };
    let sign_written = if picture.plus || picture.minus {
        picture.minus
    } else {
        if sign != b'-' && picture.fill {
            picture.brackets = false;
        }
        if picture.anchor == Anchor::Before && picture.pre == picture.before_sign {
            picture.anchor = Anchor::Behind;
        }
        sign == b'+' && picture.fill && !picture.sign
    };
    let mut last_relevant = None;
    if picture.fill && picture.decimal {
        let point = digits.iter().position(|byte| *byte == b'.');
        last_relevant =
            point.map(|point| digits.iter().rposition(|byte| *byte != b'0').map_or(point, |l| l.max(point)));
        // digits that a 0 stands for are not dropped
        if let Some(last) = &mut last_relevant
            && picture.zero_end > blanks
        {
            *last = (*last).max((digits.len() - 1).min(picture.zero_end - blanks));
        }
    }
    let mut count = (picture.post + picture.pre) as isize - 1;
    if !sign_written && blanks == 0 {
        count += 1;
    }
    let nodes = std::mem::take(&mut picture.nodes);
    let mut writer = Writer {
        picture,
        out: Vec::new(),
        digits,
        at: 0,
        sign,
        sign_written,
        blanks,
        count,
        place: 0,
        inside: false,
        last_relevant,
        roman,
    };
    for node in nodes {
        match node {
            Node::Literal(character) => {
                writer.out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            Node::Key(key) => writer.key(key)?,
        }
    }
    // a picture with more places than digits would write what ends a string in C
    let end = writer.out.iter().position(|byte| *byte == 0).unwrap_or(writer.out.len());
    writer.out.truncate(end);
    String::from_utf8(writer.out).map_err(|error| Error::internal("a picture that is not UTF-8").with_source(error))
}

impl Writer {
    fn key(&mut self, key: Key) -> Result<()> {
        let fill = self.picture.fill;
        match key {
            Key::Nine | Key::Zero | Key::Point | Key::LocalePoint => self.digit(key),
            Key::Comma | Key::Group => match (self.inside, fill) {
                (true, _) => self.out.push(b','),
                (false, true) => {}
                (false, false) => self.out.push(b' '),
            },
            Key::Currency => self.out.push(b' '),
            Key::Roman { upper } => {
                // a template without RN of the same number never comes here
                let text = self.roman.clone().unwrap_or_default();
                let text = if upper { text } else { text.to_ascii_lowercase() };
                let text = if fill { text } else { format!("{text:>15}") };
                self.out.extend_from_slice(text.as_bytes());
            }
            Key::Ordinal { upper } => {
                if self.picture.roman || self.digits.first() == Some(&b'#') || self.sign == b'-' || self.picture.decimal
                {
                    return Ok(());
                }
                let suffix = ordinal(&self.digits)?;
                let suffix = if upper { suffix.to_ascii_uppercase() } else { suffix.to_owned() };
                self.out.extend_from_slice(suffix.as_bytes());
            }
            Key::Minus => match (self.sign, fill) {
                (b'-', _) => self.out.push(b'-'),
                (_, true) => {}
                (_, false) => self.out.push(b' '),
            },
            Key::Plus => match (self.sign, fill) {
                (b'+', _) => self.out.push(b'+'),
                (_, true) => {}
                (_, false) => self.out.push(b' '),
            },
            Key::AnySign => self.out.push(self.sign),
            Key::Blank
            | Key::Brackets
            | Key::Exponent
            | Key::Fill
            | Key::Spell
            | Key::Sign
            | Key::Multiply
            | Key::Iso => {}
        }
        Ok(())
    }

    /// `9.9` shows `.1` for 0.1: a blank for the zero.
    fn leading_zero(&self) -> bool {
        !self.picture.zero && self.at == 0 && self.digits.first() == Some(&b'0') && self.picture.post != 0
    }

    fn point_is_last(&self) -> bool {
        self.last_relevant.is_some_and(|last| self.digits.get(last) == Some(&b'.'))
    }

    fn digit(&mut self, key: Key) {
        if self.picture.roman {
            return;
        }
        self.inside = false;
        let (fill, zero) = (self.picture.fill, self.picture.zero);
        let begins = self.place >= self.blanks || (zero && self.picture.zero_start == self.place);
        if !self.sign_written && begins && (!self.leading_zero() || self.point_is_last()) {
            self.sign();
        }
        let current = self.digits.get(self.at).copied().unwrap_or(0);
        if self.place < self.blanks && (self.picture.zero_start > self.place || !zero) {
            if !fill {
                self.out.push(b' ');
            }
        } else if zero && self.place < self.blanks {
            self.out.push(b'0');
            self.inside = true;
        } else {
            if current == b'.' {
                // `FM9.9` keeps the point of a whole number
                if !self.point_is_last() || fill {
                    self.out.push(b'.');
                }
            } else if self.last_relevant.is_some_and(|last| self.at > last) && key != Key::Zero {
            } else if self.leading_zero() {
                if !fill {
                    self.out.push(b' ');
                } else if self.point_is_last() {
                    self.out.push(b'0');
                }
            } else {
                self.out.push(current);
                self.inside = true;
            }
            if current != 0 {
                self.at += 1;
            }
        }
        let mut end = self.count + isize::from(self.blanks > 0) + isize::from(self.picture.decimal);
        if self.last_relevant == Some(self.at) {
            end = self.place as isize;
        }
        if self.place as isize + 1 == end {
            if self.sign_written && self.picture.brackets {
                self.out.push(if self.sign == b'+' { b' ' } else { b'>' });
            } else if self.picture.sign && self.picture.anchor == Anchor::Behind {
                self.out.push(if self.sign == b'-' { b'-' } else { b'+' });
            }
        }
        self.place += 1;
    }

    fn sign(&mut self) {
        if self.picture.sign {
            if self.picture.anchor == Anchor::Before {
                self.out.push(if self.sign == b'-' { b'-' } else { b'+' });
                self.sign_written = true;
            }
        } else if self.picture.brackets {
            self.out.push(if self.sign == b'+' { b' ' } else { b'<' });
            self.sign_written = true;
        } else if self.sign == b'+' {
            if !self.picture.fill {
                self.out.push(b' ');
            }
            self.sign_written = true;
        } else if self.sign == b'-' {
            self.out.push(b'-');
            self.sign_written = true;
        }
    }
}

/// `st`, `nd`, `rd`, `th`.
fn ordinal(digits: &[u8]) -> Result<&'static str> {
    let teens = digits.len() > 1 && digits[digits.len() - 2] == b'1';
    match digits.last() {
        Some(last) if last.is_ascii_digit() => Ok(match last {
            _ if teens => "th",
            b'1' => "st",
            b'2' => "nd",
            b'3' => "rd",
            _ => "th",
        }),
        _ => {
            let text = String::from_utf8_lossy(digits);
            Err(Error::new(Kind::InvalidText, format!("\"{text}\" is not a number")))
        }
    }
}
