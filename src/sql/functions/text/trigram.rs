//! Trigrams of texts and how alike two texts are by them (trgm_op.c of the extension pg_trgm 1.6). A text's trigrams are
//! those of its words, in lower case, each with two blanks before it and one behind. Indexes by trigrams are not here.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};

use super::ctype::is_alnum;
use super::letters::lower;
use crate::error::Result;
use crate::sql::functions::steps::Steps;
use crate::sql::kernel::{Budget, Call, Kernel, Values, Written};

/// `pg_trgm.similarity_threshold`, and those of `word_similarity` and `strict_word_similarity`. A session cannot set them.
const SIMILAR: f32 = 0.3;
const WORD_SIMILAR: f32 = 0.6;
const STRICT_WORD_SIMILAR: f32 = 0.5;

pub(in crate::sql::functions) const KERNELS: &[(&str, Kernel)] = &[
    ("show_trgm", show),
    ("show_limit", |c| c.rows_of(|_| Ok(SIMILAR))),
    ("similarity", |c| sets(c, |likeness| likeness)),
    ("similarity_dist", |c| sets(c, distance)),
    ("similarity_op", |c| sets(c, |likeness| likeness >= SIMILAR)),
    ("word_similarity", |c| extents(c, WORD_IN_TEXT, |likeness| likeness)),
    ("word_similarity_op", |c| extents(c, WORD_IN_TEXT, |likeness| likeness >= WORD_SIMILAR)),
    ("word_similarity_commutator_op", |c| extents(c, TEXT_HAS_WORD, |likeness| likeness >= WORD_SIMILAR)),
    ("word_similarity_dist_op", |c| extents(c, WORD_IN_TEXT, distance)),
    ("word_similarity_dist_commutator_op", |c| extents(c, TEXT_HAS_WORD, distance)),
    ("strict_word_similarity", |c| extents(c, STRICT_IN_TEXT, |likeness| likeness)),
    ("strict_word_similarity_op", |c| extents(c, STRICT_IN_TEXT, |likeness| likeness >= STRICT_WORD_SIMILAR)),
    ("strict_word_similarity_commutator_op", |c| {
        extents(c, TEXT_HAS_STRICT, |likeness| likeness >= STRICT_WORD_SIMILAR)
    }),
    ("strict_word_similarity_dist_op", |c| extents(c, STRICT_IN_TEXT, distance)),
    ("strict_word_similarity_dist_commutator_op", |c| extents(c, TEXT_HAS_STRICT, distance)),
];

/// How an extent is looked for: whether it is of whole words, and which argument is the word.
#[derive(Clone, Copy, Debug)]
struct Search {
    strict: bool,
    text_first: bool,
}

const WORD_IN_TEXT: Search = Search { strict: false, text_first: false };
const TEXT_HAS_WORD: Search = Search { strict: false, text_first: true };
const STRICT_IN_TEXT: Search = Search { strict: true, text_first: false };
const TEXT_HAS_STRICT: Search = Search { strict: true, text_first: true };

/// Three bytes, compared as the signed `char`s that they are on the reference's machine.
type Trigram = [i8; 3];

/// A trigram of a text, in the text's order.
#[derive(Clone, Copy, Debug)]
struct Placed {
    trigram: Trigram,
    /// The first of its word, or the last.
    begins: bool,
    ends: bool,
}

/// CRC-32's table, each byte's remainder by the reflected polynomial.
const REMAINDERS: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0u32;
    while byte < 256 {
        let (mut remainder, mut bit) = (byte, 0);
        while bit < 8 {
            remainder = if remainder & 1 == 1 { (remainder >> 1) ^ 0xedb8_8320 } else { remainder >> 1 };
            bit += 1;
        }
        table[byte as usize] = remainder;
        byte += 1;
    }
    table
};

/// `COMP_LEGACY_CRC32`: the table of the reflected polynomial walked in the other direction, which is no CRC that others
/// know.
pub(in crate::sql::functions) fn legacy_crc(bytes: &[u8]) -> u32 {
    let next = |crc: u32, byte: &u8| REMAINDERS[usize::from(crc.to_be_bytes()[0] ^ byte)] ^ (crc << 8);
    !bytes.iter().fold(u32::MAX, next)
}

/// `compact_trigram`: three characters of one byte are themselves, others three bytes of their checksum.
fn compact(characters: &[char; 3]) -> Trigram {
    let mut bytes = [0; 12];
    let mut length = 0;
    for character in characters {
        length += character.encode_utf8(&mut bytes[length..]).len();
    }
    let [a, b, c] = match length {
        3 => [bytes[0], bytes[1], bytes[2]],
        _ => {
            let [a, b, c, _] = legacy_crc(&bytes[..length]).to_le_bytes();
            [a, b, c]
        }
    };
    [a.cast_signed(), b.cast_signed(), c.cast_signed()]
}

/// `generate_trgm_only`: the trigrams of each word, where a word is letters and digits.
fn placed(text: &str, budget: &Budget) -> Result<Vec<Placed>> {
    // a word of n characters has n + 1 trigrams
    budget.value(text.len().saturating_mul(2 * size_of::<Placed>()))?;
    let mut all = vec![];
    for word in text.split(|c| !is_alnum(c)).filter(|word| !word.is_empty()) {
        let start = all.len();
        let mut three = [' '; 3];
        for character in lower(word).chars().chain([' ']) {
            three = [three[1], three[2], character];
            all.push(Placed { trigram: compact(&three), begins: all.len() == start, ends: false });
        }
        if let Some(last) = all.last_mut() {
            last.ends = true;
        }
    }
    Ok(all)
}

/// `generate_trgm`: the different trigrams of a text, in order.
fn set(text: &str, budget: &Budget) -> Result<Vec<Trigram>> {
    let mut trigrams: Vec<Trigram> = placed(text, budget)?.into_iter().map(|placed| placed.trigram).collect();
    trigrams.sort_unstable();
    trigrams.dedup();
    Ok(trigrams)
}

fn show(call: &Call<'_>) -> Result<ArrayRef> {
    call.one(|text: &str| {
        let trigrams = set(text, &call.env.budget)?;
        let shown: StringArray = trigrams.iter().map(|trigram| Some(shown(*trigram))).collect();
        Ok(Arc::new(shown) as ArrayRef)
    })
}

/// Letters, digits and blanks as they are, a checksum in hexadecimal digits.
fn shown(trigram: Trigram) -> String {
    let bytes = trigram.map(i8::cast_unsigned);
    match bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b' ') {
        true => bytes.iter().copied().map(char::from).collect(),
        false => format!("0x{:02x}{:02x}{:02x}", bytes[0], bytes[1], bytes[2]),
    }
}

/// `CALCSML`: what two sets share, in what either has.
fn likeness(shared: usize, first: usize, second: usize) -> f32 {
    shared as f32 / (first + second - shared) as f32
}

fn distance(likeness: f32) -> f32 {
    (1.0 - f64::from(likeness)) as f32
}

/// An argument's texts, each as what `make` makes of it; of a constant it is made once.
struct Made<'a, T> {
    texts: Values<'a, &'a str>,
    constant: Option<Option<Vec<T>>>,
    make: fn(&str, &Budget) -> Result<Vec<T>>,
    budget: &'a Budget,
}

impl<'a, T: Clone> Made<'a, T> {
    fn of(call: &Call<'a>, argument: usize, make: fn(&str, &Budget) -> Result<Vec<T>>) -> Result<Self> {
        let (texts, budget) = (call.read::<&str>(argument)?, &call.env.budget);
        let constant = match call.arg(argument)?.constant && call.rows > 0 {
            true => Some(texts.get(0).map(|text| make(text, budget)).transpose()?),
            false => None,
        };
        Ok(Self { texts, constant, make, budget })
    }

    /// `None` for NULL.
    fn get(&self, row: usize) -> Result<Option<Cow<'_, [T]>>> {
        match &self.constant {
            Some(constant) => Ok(constant.as_deref().map(Cow::Borrowed)),
            None => self.texts.get(row).map(|text| (self.make)(text, self.budget).map(Cow::Owned)).transpose(),
        }
    }
}

/// Functions of the likeness of two texts as sets of trigrams (`cnt_sml`).
fn sets<R: Written>(call: &Call<'_>, answer: fn(f32) -> R) -> Result<ArrayRef> {
    let (first, second) = (Made::of(call, 0, set)?, Made::of(call, 1, set)?);
    call.rows_of(|row| {
        let (Some(first), Some(second)) = (first.get(row)?, second.get(row)?) else { return Ok(None) };
        Ok(answer(likeness_of_sets(&first, &second)).written())
    })
}

fn likeness_of_sets(first: &[Trigram], second: &[Trigram]) -> f32 {
    if first.is_empty() || second.is_empty() {
        return 0.0;
    }
    let (mut i, mut j, mut shared) = (0, 0, 0);
    while let (Some(a), Some(b)) = (first.get(i), second.get(j)) {
        i += usize::from(a <= b);
        j += usize::from(b <= a);
        shared += usize::from(a == b);
    }
    likeness(shared, first.len(), second.len())
}

/// Functions of the likeness of a word and that extent of a text that is most like it (`calc_word_similarity`).
fn extents<R: Written>(call: &Call<'_>, search: Search, answer: fn(f32) -> R) -> Result<ArrayRef> {
    let (word, text) = if search.text_first { (1, 0) } else { (0, 1) };
    let (word, text) = (Made::of(call, word, set)?, Made::of(call, text, placed)?);
    // the search is quadratic in a text's length
    let steps = Steps::new("texts are too long for the similarity of words within them");
    call.rows_of(|row| {
        let (Some(word), Some(text)) = (word.get(row)?, text.get(row)?) else { return Ok(None) };
        Ok(answer(Extent::most_like(&word, &text, search.strict, &steps)?).written())
    })
}

/// An extent of a text, from trigram `lower` on, while its upper end moves through the text
/// (`iterate_word_similarity`).
struct Extent<'a> {
    text: &'a [Placed],
    /// Each trigram of the text by a number that equal ones share, and which numbers the word has.
    numbers: Vec<usize>,
    in_word: Vec<bool>,
    word: usize,
    /// Where each number was met last within the extent.
    last: Vec<Option<usize>>,
    /// `None` before an extent begins.
    lower: Option<usize>,
    /// Different trigrams of the extent, and those of them that the word has.
    different: usize,
    shared: usize,
    steps: &'a Steps,
}

impl<'a> Extent<'a> {
    /// `word` holds each trigram once, in order.
    fn most_like(word: &[Trigram], text: &'a [Placed], strict: bool, steps: &'a Steps) -> Result<f32> {
        let mut all: Vec<Trigram> = text.iter().map(|placed| placed.trigram).collect();
        all.sort_unstable();
        all.dedup();
        let number = |placed: &Placed| all.partition_point(|trigram| *trigram < placed.trigram);
        let extent = Extent {
            text,
            numbers: text.iter().map(number).collect(),
            in_word: all.iter().map(|trigram| word.binary_search(trigram).is_ok()).collect(),
            word: word.len(),
            last: vec![None; all.len()],
            lower: strict.then_some(0),
            different: 0,
            shared: 0,
            steps,
        };
        extent.walk(strict)
    }

    fn walk(mut self, strict: bool) -> Result<f32> {
        let mut best = 0.0;
        for (upper, (placed, number)) in self.text.iter().zip(self.numbers.clone()).enumerate() {
            let in_word = self.in_word[number];
            if self.lower.is_some() || in_word {
                if self.last[number].is_none() {
                    self.different += 1;
                    self.shared += usize::from(in_word);
                }
                self.last[number] = Some(upper);
            }
            // an extent ends with a word, or with a trigram that the word has
            if if strict { placed.ends } else { in_word } {
                let here = self.shrunk(upper, strict)?;
                best = if best > here { best } else { here };
            }
        }
        Ok(best)
    }

    /// How like the extent up to `upper` is, with its lower end moved to where it is most like.
    fn shrunk(&mut self, upper: usize, strict: bool) -> Result<f32> {
        let start = *self.lower.get_or_insert_with(|| {
            self.different = 1;
            upper
        });
        self.steps.take(upper - start)?;
        let mut best = likeness(self.shared, self.word, self.different);
        let (mut lower, mut different, mut shared) = (start, self.different, self.shared);
        for at in start..=upper {
            if !strict || self.text[at].begins {
                let here = likeness(shared, self.word, different);
                if here > best {
                    (best, lower) = (here, at);
                    (self.different, self.shared) = (different, shared);
                }
            }
            let number = self.numbers[at];
            if self.last[number] == Some(at) {
                different -= 1;
                shared -= usize::from(self.in_word[number]);
            }
        }
        for at in start..lower {
            let last = &mut self.last[self.numbers[at]];
            if *last == Some(at) {
                *last = None;
            }
        }
        self.lower = Some(lower);
        Ok(best)
    }
}
