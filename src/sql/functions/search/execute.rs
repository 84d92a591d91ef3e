//! Whether a vector matches a query (TS_execute and TS_phrase_execute of tsvector_op.c). Where the operands are found is
//! [`Places`]': a vector here, a part of a document in [`super::rank`].

use super::query::{Node, Operand, Operator, Query};
use super::vector::{Vector, Word};

/// As far as it can be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Match {
    No,
    Yes,
    /// There, but nobody knows where.
    Maybe,
}

/// Where a phrase matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Where its last word stands; in order.
    places: Vec<u32>,
    /// Anywhere but there.
    negated: bool,
    /// From its first word to its last.
    width: u32,
}

impl Found {
    /// `None` for no place at all.
    pub(super) fn at(mut places: Vec<u32>) -> Option<(Match, Self)> {
        places.sort_unstable();
        places.dedup();
        (!places.is_empty()).then(|| (Match::Yes, Self { places, ..Self::default() }))
    }
}

/// What operands are looked up in.
pub(super) trait Places {
    /// Only whether it is there.
    fn has(&self, operand: &Operand) -> bool;
    /// Where it is.
    fn find(&self, operand: &Operand) -> Option<(Match, Found)>;
}

pub(super) fn matches(vector: &Vector, query: &Query) -> bool {
    query.0.as_ref().is_some_and(|node| holds(node, vector))
}

/// No question of places, but below a phrase.
pub(super) fn holds(node: &Node, places: &impl Places) -> bool {
    match node {
        Node::Operand(operand) => places.has(operand),
        Node::Not(of) => !holds(of, places),
        Node::Both(Operator::And, left, right) => holds(left, places) && holds(right, places),
        Node::Both(Operator::Or, left, right) => holds(left, places) || holds(right, places),
        Node::Both(Operator::Phrase(_), ..) => phrase(node, places).0 == Match::Yes,
    }
}

impl Places for Vector {
    fn has(&self, operand: &Operand) -> bool {
        let fits = |word: &Word| {
            // without positions a word has every weight
            operand.weights == 0
                || word.positions.is_empty()
                || word.positions.iter().any(|position| position.weight.bit() & operand.weights != 0)
        };
        self.found(&operand.word, operand.prefix).iter().any(fits)
    }

    fn find(&self, operand: &Operand) -> Option<(Match, Found)> {
        let words = self.found(&operand.word, operand.prefix);
        if words.is_empty() {
            return None;
        }
        if words.iter().any(|word| word.positions.is_empty()) {
            return Some((Match::Maybe, Found::default()));
        }
        let positions = words.iter().flat_map(|word| &word.positions);
        let fits = positions.filter(|p| operand.weights == 0 || p.weight.bit() & operand.weights != 0);
        Found::at(fits.map(|position| position.place.into()).collect())
    }
}

fn phrase(node: &Node, places: &impl Places) -> (Match, Found) {
    match node {
        Node::Operand(operand) => places.find(operand).unwrap_or((Match::No, Found::default())),
        Node::Not(of) => {
            let (matched, found) = phrase(of, places);
            match matched {
                // nowhere: everywhere
                Match::No => (Match::Yes, Found { negated: true, ..found }),
                Match::Yes if found.places.is_empty() && found.negated => {
                    (Match::No, Found { negated: false, ..found })
                }
                Match::Yes => (Match::Yes, Found { negated: !found.negated, ..found }),
                Match::Maybe => (Match::Maybe, found),
            }
        }
        Node::Both(operator, left, right) => {
            let (l, left) = phrase(left, places);
            if l == Match::No && *operator != Operator::Or {
                return (Match::No, Found::default());
            }
            let (r, right) = phrase(right, places);
            match operator {
                Operator::Or => either((l, left), (r, right)),
                Operator::And => both((l, left), (r, right), None),
                Operator::Phrase(distance) => both((l, left), (r, right), Some((*distance).into())),
            }
        }
    }
}

fn both(left: (Match, Found), right: (Match, Found), distance: Option<u32>) -> (Match, Found) {
    let ((l, left), (r, right)) = (left, right);
    if l == Match::No || r == Match::No {
        return (Match::No, Found::default());
    }
    if l == Match::Maybe || r == Match::Maybe {
        return (Match::Maybe, Found::default());
    }
    let (width, shift) = match distance {
        Some(distance) => (distance + left.width + right.width, (distance + right.width, 0)),
        None => aligned(&left, &right),
    };
    match (left.negated, right.negated) {
        // not the one and not the other: not either
        (true, true) => (Match::Yes, Found { places: merged(&left, &right, shift, [true; 3]), negated: true, width }),
        (true, false) => positive(merged(&left, &right, shift, [false, false, true]), width),
        (false, true) => positive(merged(&left, &right, shift, [true, false, false]), width),
        (false, false) => positive(merged(&left, &right, shift, [false, true, false]), width),
    }
}

fn either(left: (Match, Found), right: (Match, Found)) -> (Match, Found) {
    let ((l, mut left), (r, mut right)) = (left, right);
    match (&l, &r) {
        (Match::No, Match::No) => return (Match::No, Found::default()),
        (Match::Maybe, _) | (_, Match::Maybe) => return (Match::Maybe, Found::default()),
        (Match::No, _) => left = Found::default(),
        (_, Match::No) => right = Found::default(),
        (Match::Yes, Match::Yes) => {}
    }
    let (width, shift) = aligned(&left, &right);
    let negative = |kept| (Match::Yes, Found { places: merged(&left, &right, shift, kept), negated: true, width });
    match (left.negated, right.negated) {
        (true, true) => negative([false, true, false]),
        (true, false) => negative([true, false, false]),
        (false, true) => negative([false, false, true]),
        (false, false) => positive(merged(&left, &right, shift, [true; 3]), width),
    }
}

fn positive(places: Vec<u32>, width: u32) -> (Match, Found) {
    let matched = if places.is_empty() { Match::No } else { Match::Yes };
    (matched, Found { places, negated: false, width })
}

/// The wider of both, and what to move each by so that their ends meet.
fn aligned(left: &Found, right: &Found) -> (u32, (u32, u32)) {
    let width = left.width.max(right.width);
    (width, (width - left.width, width - right.width))
}

/// `TS_phrase_output`: places of the left only, of both, of the right only, as they are asked for.
fn merged(left: &Found, right: &Found, shift: (u32, u32), kept: [bool; 3]) -> Vec<u32> {
    let mut left = left.places.iter().map(|place| place + shift.0).peekable();
    let mut right = right.places.iter().map(|place| place + shift.1).peekable();
    let mut places = vec![];
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return places,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(l), Some(r)) => l.cmp(r),
        };
        let l = if order.is_le() { left.next() } else { None };
        let r = if order.is_ge() { right.next() } else { None };
        let [left_only, of_both, right_only] = kept;
        let is_kept = match order {
            std::cmp::Ordering::Less => left_only,
            std::cmp::Ordering::Equal => of_both,
            std::cmp::Ordering::Greater => right_only,
        };
        places.extend(l.or(r).filter(|place| is_kept && *place > 0));
    }
}
