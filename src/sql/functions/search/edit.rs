//! Functions that take tsvectors apart and put them together (tsvector_op.c).

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int16Builder, ListBuilder, StringArray, StringBuilder, StructArray, new_empty_array,
};
use arrow::datatypes::DataType;

use super::vector::{POSITION_MAX, POSITIONS_MAX, Position, Vector, WORD_BYTES_MAX, Weight, Word};
use crate::error::{Error, Kind, Result};
use crate::sql::functions::json::{ELEMENT, lists};
use crate::sql::kernel::{Call, Growing};

impl Vector {
    pub(super) fn stripped(mut self) -> Self {
        self.words.iter_mut().for_each(|word| word.positions.clear());
        self
    }

    pub(super) fn only(mut self, keep: impl Fn(&str) -> bool) -> Self {
        self.words.retain(|word| keep(&word.lexeme));
        self
    }

    /// Another weight for the words of which `which` is true.
    pub(super) fn weighted(mut self, weight: Weight, which: impl Fn(&str) -> bool) -> Self {
        for word in self.words.iter_mut().filter(|word| which(&word.lexeme)) {
            word.positions.iter_mut().for_each(|position| position.weight = weight);
        }
        self
    }

    /// `tsvector_concat`: the places of the second count on from the last of the first.
    pub(super) fn followed_by(self, other: Self) -> Result<Self> {
        let places = self.words.iter().flat_map(|word| word.positions.last()).map(|position| position.place);
        let last = places.max().unwrap_or(0);
        let mut left = self.words.into_iter().peekable();
        let mut words = vec![];
        for mut word in other.words {
            while let Some(before) = left.next_if(|known| known.lexeme < word.lexeme) {
                words.push(before);
            }
            let mut positions = match left.next_if(|known| known.lexeme == word.lexeme) {
                Some(same) => same.positions,
                None => vec![],
            };
            for position in &word.positions {
                let is_full = positions.len() >= POSITIONS_MAX
                    || positions.last().is_some_and(|position: &Position| position.place == POSITION_MAX);
                if is_full {
                    break;
                }
                positions.push(Position { place: (position.place + last).min(POSITION_MAX), ..*position });
            }
            word.positions = positions;
            words.push(word);
        }
        words.extend(left);
        Self { words }.checked()
    }
}

/// Of setweight.
pub(super) fn weight(letter: &str) -> Result<Weight> {
    let c = letter.chars().next();
    c.and_then(Weight::read).ok_or_else(|| {
        let code = letter.bytes().next().unwrap_or(0);
        Error::new(Kind::Internal, format!("unrecognized weight: {code}"))
    })
}

/// A text array's elements; a nested array's too.
fn texts(array: &ArrayRef) -> Result<&StringArray> {
    match array.as_list_opt::<i32>() {
        Some(list) => texts(list.values()),
        None => array
            .as_string_opt::<i32>()
            .ok_or_else(|| Error::internal(format!("an array of text lies as {}", array.data_type()))),
    }
}

fn set(array: &StringArray) -> HashSet<&str> {
    array.iter().flatten().collect()
}

pub(super) fn set_weight_of(c: &Call<'_>) -> Result<ArrayRef> {
    c.three(|text: &str, letter: &str, words: ArrayRef| {
        let weight = weight(letter).map_err(|_| {
            Error::new(Kind::Internal, format!("unrecognized weight: {}", letter.chars().next().unwrap_or_default()))
        })?;
        let words = set(texts(&words)?);
        Ok(Vector::parse(text)?.weighted(weight, |lexeme| words.contains(lexeme)).spelt())
    })
}

pub(super) fn delete_all(c: &Call<'_>) -> Result<ArrayRef> {
    c.two(|text: &str, words: ArrayRef| {
        let words = set(texts(&words)?);
        Ok(Vector::parse(text)?.only(|lexeme| !words.contains(lexeme)).spelt())
    })
}

pub(super) fn filter(c: &Call<'_>) -> Result<ArrayRef> {
    c.two(|text: &str, letters: ArrayRef| {
        let mut kept = 0;
        for letter in texts(&letters)?.iter() {
            let letter =
                letter.ok_or_else(|| Error::new(Kind::NullNotAllowed, "weight array may not contain nulls"))?;
            let weight = letter
                .chars()
                .next()
                .and_then(Weight::read)
                .ok_or_else(|| Error::new(Kind::InvalidParameter, format!("unrecognized weight: \"{letter}\"")))?;
            kept |= weight.bit();
        }
        let mut vector = Vector::parse(text)?;
        vector.words.iter_mut().for_each(|word| word.positions.retain(|p| p.weight.bit() & kept != 0));
        vector.words.retain(|word| !word.positions.is_empty());
        Ok(vector.spelt())
    })
}

pub(super) fn words(c: &Call<'_>) -> Result<ArrayRef> {
    c.one(|text: &str| {
        let words = Vector::parse(text)?.words;
        let array: ArrayRef = Arc::new(StringArray::from_iter_values(words.iter().map(|word| &word.lexeme)));
        Ok(array)
    })
}

pub(super) fn of_words(c: &Call<'_>) -> Result<ArrayRef> {
    c.one(|array: ArrayRef| {
        let lexemes = texts(&array)?;
        let word = |lexeme: Option<&str>| match lexeme {
            None => Err(Error::new(Kind::NullNotAllowed, "lexeme array may not contain nulls")),
            Some("") => Err(Error::new(Kind::ZeroLengthString, "lexeme array may not contain empty strings")),
            // PostgreSQL takes them and gives other words: their lengths and offsets overflow
            Some(lexeme) if lexeme.len() > WORD_BYTES_MAX => {
                Err(Error::unsupported(format!("a lexeme of more than {WORD_BYTES_MAX} bytes")))
            }
            Some(lexeme) => Ok(Word { lexeme: lexeme.to_owned(), positions: vec![] }),
        };
        Ok(Vector::of(lexemes.iter().map(word).collect::<Result<_>>()?).checked()?.spelt())
    })
}

/// A row for each word: its lexeme, places and weights.
pub(super) fn unnest(c: &Call<'_>) -> Result<ArrayRef> {
    let vectors = c.read::<&str>(0)?;
    let mut lexemes = StringBuilder::new();
    let mut places = ListBuilder::new(Int16Builder::new());
    let mut weights = ListBuilder::new(StringBuilder::new());
    let (mut lengths, mut valid) = (Vec::with_capacity(c.rows), Vec::with_capacity(c.rows));
    let mut growing = Growing::new(&c.env.budget);
    for row in 0..c.rows {
        let words = vectors.get(row).map(Vector::parse).transpose()?.map(|vector| vector.words);
        valid.push(words.is_some());
        let words = words.unwrap_or_default();
        lengths.push(words.len());
        for word in words {
            // a place is an i16, a weight a letter
            growing.add(3 * ELEMENT + word.lexeme.len() + word.positions.len() * (size_of::<i16>() + ELEMENT + 1))?;
            lexemes.append_value(word.lexeme);
            for position in &word.positions {
                places.values().append_value(i16::try_from(position.place).unwrap_or(i16::MAX));
                weights.values().append_value(position.weight.letter());
            }
            let known = !word.positions.is_empty();
            places.append(known);
            weights.append(known);
        }
    }
    lists(c, growing, lengths, valid, |item| {
        let DataType::Struct(fields) = item.data_type() else {
            return Err(Error::internal(format!("words of a tsvector were made for {}", item.data_type())));
        };
        let columns: [ArrayRef; 3] =
            [Arc::new(lexemes.finish()), Arc::new(places.finish()), Arc::new(weights.finish())];
        // the same lists under the fields that are wanted
        let columns =
            columns.iter().zip(fields).map(|(column, field)| Ok(arrow::compute::cast(column, field.data_type())?));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        match columns.first().is_none_or(|lexemes| lexemes.is_empty()) {
            true => Ok(new_empty_array(item.data_type())),
            false => Ok(Arc::new(StructArray::try_new(fields.clone(), columns, None)?)),
        }
    })
}
