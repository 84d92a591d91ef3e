//! A tsvector: lexemes in order, each with the places where it stands. What changes one is [`super::edit`]'s.

use crate::error::{Error, Kind, Result};

use super::token::{Form, Scanner};
use crate::sql::functions::text::compare::difference;

/// `MAXENTRYPOS - 1`: places beyond it are it.
pub(super) const POSITION_MAX: u16 = (1 << 14) - 1;
/// `MAXNUMPOS`.
pub(super) const POSITIONS_MAX: usize = 256;
/// `MAXSTRLEN`: what is read is shorter than it, what an array gives may be as long.
pub(super) const WORD_BYTES_MAX: usize = (1 << 11) - 1;
/// Bytes that a key begins with.
const SIZES: usize = 8;
/// `MAXSTRPOS`.
const TEXT_BYTES_MAX: usize = (1 << 20) - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    D,
    C,
    B,
    A,
}

impl Weight {
    pub(super) fn read(c: char) -> Option<Self> {
        Some(match c.to_ascii_uppercase() {
            'A' => Self::A,
            'B' => Self::B,
            'C' => Self::C,
            'D' => Self::D,
            _ => return None,
        })
    }

    pub(super) fn letter(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
        }
    }

    /// In a set of weights.
    pub(super) fn bit(self) -> u8 {
        1 << self.index()
    }

    pub(super) fn index(self) -> usize {
        match self {
            Self::D => 0,
            Self::C => 1,
            Self::B => 2,
            Self::A => 3,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) place: u16,
    pub(super) weight: Weight,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) lexeme: String,
    /// In order; none where it is not known.
    pub(super) positions: Vec<Position>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Vector {
    /// In order, each once.
    pub(super) words: Vec<Word>,
}

impl Vector {
    /// A value that lies here: its limits are those of what made it.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut scanner = Scanner::new(text, Form::Vector);
        let mut words = vec![];
        while let Some(token) = scanner.token()? {
            words.push(Word { lexeme: token.word, positions: token.positions });
        }
        Ok(Self::of(words))
    }

    /// tsvectorin.
    pub(super) fn read(text: &str) -> Result<Self> {
        let mut scanner = Scanner::new(text, Form::Vector);
        let (mut words, mut bytes) = (vec![], 0);
        while let Some(token) = scanner.token()? {
            let length = token.word.len();
            if length >= WORD_BYTES_MAX {
                let text = format!("word is too long ({length} bytes, max {} bytes)", WORD_BYTES_MAX - 1);
                return Err(Error::new(Kind::TooLarge, text));
            }
            if bytes > TEXT_BYTES_MAX {
                return Err(too_long(bytes));
            }
            bytes += length;
            words.push(Word { lexeme: token.word, positions: token.positions });
        }
        Self::of(words).checked()
    }

    /// 54000 for more bytes than a tsvector can hold.
    pub(super) fn checked(self) -> Result<Self> {
        match self.bytes() {
            bytes if bytes > TEXT_BYTES_MAX => Err(too_long(bytes)),
            _ => Ok(self),
        }
    }

    /// `uniqueentry`: words in whatever order, and as often as they like.
    pub(super) fn of(mut words: Vec<Word>) -> Self {
        words.sort_by(|a, b| a.lexeme.cmp(&b.lexeme));
        words.dedup_by(|next, first| {
            let same = next.lexeme == first.lexeme;
            if same {
                first.positions.append(&mut next.positions);
            }
            same
        });
        words.iter_mut().for_each(|word| unique(&mut word.positions));
        Self { words }
    }

    /// As PostgreSQL stores lexemes and positions, without what precedes them.
    fn bytes(&self) -> usize {
        self.words.iter().fold(0, |bytes, word| {
            let bytes = bytes + word.lexeme.len();
            match word.positions.len() {
                0 => bytes,
                count => bytes.next_multiple_of(2) + 2 + 2 * count,
            }
        })
    }

    pub(super) fn spelt(&self) -> String {
        let mut out = String::with_capacity(self.bytes() + 4 * self.words.len());
        for word in &self.words {
            if !out.is_empty() {
                out.push(' ');
            }
            quote(&word.lexeme, &mut out);
            for (at, position) in word.positions.iter().enumerate() {
                out.push(if at == 0 { ':' } else { ',' });
                out.push_str(itoa::Buffer::new().format(position.place));
                if position.weight != Weight::D {
                    out.push_str(position.weight.letter());
                }
            }
        }
        out
    }

    pub(super) fn length(&self) -> i32 {
        i32::try_from(self.words.len()).unwrap_or(i32::MAX)
    }

    /// Bytes in the order of `silly_cmp_tsvector`: by size first, then by words; what has positions precedes what has none,
    /// and more and later positions precede fewer and earlier ones.
    pub(super) fn key(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.bytes() + 8);
        let count = self.words.len();
        key.extend(u32::try_from(self.bytes() + 4 * count).unwrap_or(u32::MAX).to_be_bytes());
        key.extend(u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
        for word in &self.words {
            key.push(u8::from(word.positions.is_empty()));
            key.extend(word.lexeme.as_bytes());
            key.push(0);
            if !word.positions.is_empty() {
                let positions = u16::try_from(word.positions.len()).unwrap_or(u16::MAX);
                key.extend((!positions).to_be_bytes());
            }
            for position in &word.positions {
                key.extend((!position.place).to_be_bytes());
                key.push(!position.weight.bit());
            }
        }
        key
    }

    /// What `tsvector_cmp` returns: by how much lexemes differ, where they decide.
    pub(super) fn compare(&self, other: &Self) -> i32 {
        let (left, right) = (self.key(), other.key());
        let order = left.cmp(&right) as i32;
        if left.get(..SIZES) != right.get(..SIZES) {
            return order;
        }
        let pairs = self.words.iter().zip(&other.words);
        let decides = |(a, b): &(&Word, &Word)| a.lexeme != b.lexeme || a.positions != b.positions;
        match pairs.into_iter().find(decides) {
            Some((a, b)) if a.lexeme != b.lexeme && a.positions.is_empty() == b.positions.is_empty() => {
                difference(a.lexeme.as_bytes(), b.lexeme.as_bytes())
            }
            _ => order,
        }
    }

    /// Words that are `word`, or begin with it.
    pub(super) fn found(&self, word: &str, prefix: bool) -> &[Word] {
        let from = self.words.partition_point(|known| known.lexeme.as_str() < word);
        let rest = self.words.get(from..).unwrap_or_default();
        let count = match prefix {
            true => rest.iter().take_while(|known| known.lexeme.starts_with(word)).count(),
            false => usize::from(rest.first().is_some_and(|known| known.lexeme == word)),
        };
        rest.get(..count).unwrap_or_default()
    }
}

/// A lexeme as both types show it.
pub(super) fn quote(lexeme: &str, out: &mut String) {
    out.push('\'');
    for c in lexeme.chars() {
        if matches!(c, '\'' | '\\') {
            out.push(c);
        }
        out.push(c);
    }
    out.push('\'');
}

/// `uniquePos`: in order, each place once with its greatest weight; nothing behind the last place that there is.
fn unique(positions: &mut Vec<Position>) {
    if positions.len() <= 1 {
        return;
    }
    positions.sort_by_key(|position| position.place);
    positions.dedup_by(|next, first| {
        let same = next.place == first.place;
        if same {
            first.weight = first.weight.max(next.weight);
        }
        same
    });
    positions.truncate(POSITIONS_MAX);
}

fn too_long(bytes: usize) -> Error {
    let text = format!("string is too long for tsvector ({bytes} bytes, max {TEXT_BYTES_MAX} bytes)");
    Error::new(Kind::TooLarge, text)
}
