//! How well a vector matches a query (tsrank.c): [`plain`] by how often and how near words stand, [`cover`] by the extents
//! of the text that match.

use std::collections::HashMap;

use super::execute::{Found, Match, Places, holds};
use super::query::{Node, Operand, Operator, Query};
use super::vector::{POSITION_MAX, Position, Vector, Weight};
use crate::error::Result;
use crate::sql::functions::steps::Steps;
use crate::sql::kernel::{Budget, Call};

/// Of D, C, B and A.
pub(super) const WEIGHTS: [f32; 4] = [0.1, 0.2, 0.4, 1.0];

// What a rank is divided by.
const LOG_OF_LENGTH: i32 = 0x01;
const LENGTH: i32 = 0x02;
const DISTANCE_OF_EXTENTS: i32 = 0x04;
const WORDS: i32 = 0x08;
const LOG_OF_WORDS: i32 = 0x10;
const ITSELF_AND_ONE: i32 = 0x20;

/// The sum of 1/n².
const SERIES: f64 = 1.644_934_066_85;
/// Of words without positions.
const NOWHERE: Position = Position { place: POSITION_MAX, weight: Weight::D };

/// What the ranks of a call may take.
pub(super) struct Limits<'a> {
    budget: &'a Budget,
    steps: Steps,
}

impl<'a> Limits<'a> {
    pub(super) fn of(call: &Call<'a>) -> Self {
        Self { budget: &call.env.budget, steps: Steps::new("the ranks of these vectors take too many steps") }
    }
}

/// ts_rank.
pub(super) fn plain(weights: &[f32; 4], vector: &str, query: &str, how: i32, limits: &Limits<'_>) -> Result<f32> {
    let (vector, query) = (Vector::parse(vector)?, Query::parse(query)?);
    let Some(root) = query.0.as_ref().filter(|_| !vector.words.is_empty()) else { return Ok(0.0) };
    let operands = distinct(&query);
    let of_all = matches!(root, Node::Both(Operator::And | Operator::Phrase(_), ..)) && operands.len() > 1;
    let by = if of_all { nearness } else { frequency };
    let mut rank = by(weights, &vector, &operands, &limits.steps)?;
    if rank < 0.0 {
        rank = 1e-20;
    }
    let (length, words) = (length(&vector), vector.words.len() as f64);
    if how & LOG_OF_LENGTH != 0 {
        rank = (f64::from(rank) / ((length + 1.0).ln() / 2f64.ln())) as f32;
    }
    if how & LENGTH != 0 {
        rank /= length as f32;
    }
    if how & WORDS != 0 {
        rank /= words as f32;
    }
    if how & LOG_OF_WORDS != 0 {
        rank = (f64::from(rank) / ((words + 1.0).ln() / 2f64.ln())) as f32;
    }
    if how & ITSELF_AND_ONE != 0 {
        rank /= rank + 1.0;
    }
    Ok(rank)
}

/// Words with each of their positions.
fn length(vector: &Vector) -> f64 {
    vector.words.iter().map(|word| word.positions.len().max(1)).sum::<usize>() as f64
}

/// Operands in the order of their words, each word once.
fn distinct(query: &Query) -> Vec<&Operand> {
    let mut operands = query.operands();
    operands.sort_by(|a, b| a.word.cmp(&b.word));
    operands.dedup_by(|next, first| next.word == first.word);
    operands
}

/// `calc_rank_or`.
fn frequency(weights: &[f32; 4], vector: &Vector, operands: &[&Operand], steps: &Steps) -> Result<f32> {
    let unknown = [Position { place: 0, weight: Weight::D }];
    let mut rank = 0f32;
    for word in operands.iter().flat_map(|operand| vector.found(&operand.word, operand.prefix)) {
        let positions = if word.positions.is_empty() { unknown.as_slice() } else { &word.positions };
        steps.take(positions.len())?;
        let (mut sum, mut best, mut best_at) = (0f32, -1f32, 0f32);
        for (at, position) in positions.iter().enumerate() {
            let (weight, number) = (weights[position.weight.index()], (at + 1) as f32);
            sum += weight / (number * number);
            if weight > best {
                (best, best_at) = (weight, number);
            }
        }
        let of_word = best + sum - best / (best_at * best_at);
        rank = (f64::from(rank) + f64::from(of_word) / SERIES) as f32;
    }
    Ok(rank / operands.len() as f32)
}

/// `calc_rank_and`.
fn nearness(weights: &[f32; 4], vector: &Vector, operands: &[&Operand], steps: &Steps) -> Result<f32> {
    let nowhere = [NOWHERE];
    let mut rank = -1f32;
    // of each operand before, the positions of the last of its words
    let mut before: Vec<Option<&[Position]>> = vec![];
    for operand in operands {
        let mut last = None;
        for word in vector.found(&operand.word, operand.prefix) {
            let positions = if word.positions.is_empty() { nowhere.as_slice() } else { &word.positions };
            last = Some(positions);
            steps.take(before.len())?;
            for others in before.iter().flatten() {
                let is_unknown = word.positions.is_empty() || std::ptr::eq(*others, nowhere.as_slice());
                steps.take(positions.len() * others.len())?;
                let pairs = positions.iter().flat_map(|one| others.iter().map(move |other| (one, other)));
                for (one, other) in pairs {
                    let distance = match one.place.abs_diff(other.place) {
                        0 if is_unknown => POSITION_MAX + 1,
                        0 => continue,
                        distance => distance,
                    };
                    let weight = weights[one.weight.index()] * weights[other.weight.index()] * near(distance);
                    let weight = f64::from(weight).sqrt() as f32;
                    rank = match rank < 0.0 {
                        true => weight,
                        false => (1.0 - (1.0 - f64::from(rank)) * (1.0 - f64::from(weight))) as f32,
                    };
                }
            }
        }
        before.push(last);
    }
    Ok(rank)
}

/// `word_distance`.
fn near(distance: u16) -> f32 {
    match distance {
        0..=100 => (1.0 / (1.005 + 0.05 * (f64::from(f32::from(distance)) / 1.5 - 2.0).exp())) as f32,
        _ => 1e-30,
    }
}

/// ts_rank_cd.
pub(super) fn cover(weights: &[f32; 4], vector: &str, query: &str, how: i32, limits: &Limits<'_>) -> Result<f32> {
    let (vector, query) = (Vector::parse(vector)?, Query::parse(query)?);
    let Some(root) = &query.0 else { return Ok(0.0) };
    let operands = query.operands();
    let document = document(&vector, &operands, limits)?;
    let document = Entry::all(&document);
    if document.is_empty() {
        return Ok(0.0);
    }
    let inverse = weights.map(|weight| 1.0 / f64::from(weight));
    let (mut rank, mut distances, mut extents, mut middle_before, mut from) = (0.0, 0.0, 0u32, 0.0, 0);
    let mut seen = Seen::new(root, &operands, &limits.steps);
    while let Some(extent) = next_extent(&mut seen, &document, &mut from)? {
        let entries = document.get(extent.begin..=extent.end).unwrap_or_default();
        let weight: f64 = entries.iter().map(|entry| inverse[entry.position().weight.index()]).sum();
        let between = (extent.end - extent.begin) as f64;
        let noise = match f64::from(extent.last) - f64::from(extent.first) - between {
            noise if noise < 0.0 => (between / 2.0).floor(),
            noise => noise,
        };
        rank += (between + 1.0) / weight / (1.0 + noise);
        let middle = (f64::from(extent.first) + f64::from(extent.last)) / 2.0;
        if extents > 0 && middle > middle_before {
            distances += 1.0 / (middle - middle_before);
        }
        middle_before = middle;
        extents += 1;
    }
    let (length, words) = (length(&vector), vector.words.len() as f64);
    if how & LOG_OF_LENGTH != 0 {
        rank /= (length + 1.0).ln();
    }
    if how & LENGTH != 0 {
        rank /= length;
    }
    if how & DISTANCE_OF_EXTENTS != 0 && extents > 0 && distances > 0.0 {
        rank /= f64::from(extents) / distances;
    }
    if how & WORDS != 0 {
        rank /= words;
    }
    if how & LOG_OF_WORDS != 0 {
        rank /= (words + 1.0).ln() / 2f64.ln();
    }
    if how & ITSELF_AND_ONE != 0 {
        rank /= rank + 1.0;
    }
    Ok(rank as f32)
}

/// A word of the text that an operand of the query asks for.
struct Asked<'a> {
    position: Position,
    lexeme: &'a str,
    operand: usize,
}

/// `get_docrep`: in the order of the text.
fn document<'a>(vector: &'a Vector, operands: &[&Operand], limits: &Limits<'_>) -> Result<Vec<Asked<'a>>> {
    let mut all: Vec<Asked<'a>> = vec![];
    for (at, operand) in operands.iter().enumerate() {
        let asked = |p: &&Position| operand.weights == 0 || operand.weights & p.weight.bit() != 0;
        for word in vector.found(&operand.word, operand.prefix) {
            limits.steps.take(1 + word.positions.len())?;
            limits.budget.value((all.len() + word.positions.len()).saturating_mul(size_of::<Asked<'_>>()))?;
            let positions = word.positions.iter().filter(asked);
            all.extend(positions.map(|position| Asked { position: *position, lexeme: &word.lexeme, operand: at }));
        }
    }
    all.sort_by_key(|asked| (asked.position.place, asked.position.weight, asked.lexeme));
    Ok(all)
}

/// A word of the text, once for each operand that asks for it.
#[derive(Clone, Copy)]
struct Entry<'a>(&'a [Asked<'a>]);

impl<'a> Entry<'a> {
    fn all(document: &'a [Asked<'a>]) -> Vec<Self> {
        let same = |a: &Asked<'_>, b: &Asked<'_>| (a.position.place, a.lexeme) == (b.position.place, b.lexeme);
        document.chunk_by(same).map(Self).collect()
    }

    fn position(self) -> Position {
        self.0.first().map_or(NOWHERE, |asked| asked.position)
    }
}

/// A part of the document, and where it begins and ends in the text.
struct Extent {
    begin: usize,
    end: usize,
    first: u16,
    last: u16,
}

/// `Cover`: the next part that matches, as short as it can be.
fn next_extent(seen: &mut Seen<'_>, document: &[Entry<'_>], from: &mut usize) -> Result<Option<Extent>> {
    loop {
        let Some(end) = seen.first(document, *from..document.len())? else { return Ok(None) };
        let last = document[end].position().place;
        if last == 0 {
            return Ok(None);
        }
        let begin = seen.first(document, (*from..=end).rev())?;
        match begin {
            Some(begin) if document[begin].position().place <= last => {
                *from = begin + 1;
                return Ok(Some(Extent { begin, end, first: document[begin].position().place, last }));
            }
            _ => *from += 1,
        }
    }
}

/// The operands met so far, and where.
struct Seen<'a> {
    root: &'a Node,
    numbers: HashMap<*const Operand, usize>,
    places: Vec<Vec<u32>>,
    steps: &'a Steps,
    /// What it takes to see whether the query holds: a step for each node, and for each place as often as operators
    /// of a phrase can merge it.
    nodes: usize,
    merges: usize,
}

impl<'a> Seen<'a> {
    fn new(root: &'a Node, operands: &[&Operand], steps: &'a Steps) -> Self {
        let numbers = operands.iter().enumerate().map(|(at, operand)| (std::ptr::from_ref(*operand), at)).collect();
        let (nodes, merges) = (root.nodes(), root.merges(false));
        Self { root, numbers, places: vec![vec![]; operands.len()], steps, nodes, merges }
    }

    /// The first of these entries with which the query holds.
    fn first(&mut self, document: &[Entry<'_>], among: impl Iterator<Item = usize>) -> Result<Option<usize>> {
        self.steps.take(self.places.len())?;
        self.places.iter_mut().for_each(Vec::clear);
        let mut count = 0;
        for at in among {
            let asked = document[at].0;
            count += asked.len();
            self.steps.take(asked.len() + self.nodes + count * self.merges)?;
            for asked in asked {
                if let Some(places) = self.places.get_mut(asked.operand) {
                    places.push(asked.position.place.into());
                }
            }
            if holds(self.root, self) {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    fn of(&self, operand: &Operand) -> &[u32] {
        let at = self.numbers.get(&std::ptr::from_ref(operand));
        at.and_then(|at| self.places.get(*at)).map_or(&[], Vec::as_slice)
    }
}

impl Places for Seen<'_> {
    fn has(&self, operand: &Operand) -> bool {
        !self.of(operand).is_empty()
    }

    fn find(&self, operand: &Operand) -> Option<(Match, Found)> {
        Found::at(self.of(operand).to_vec())
    }
}
