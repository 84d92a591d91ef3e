//! A pattern as a tree: what a part matches ([`Re`]), and how a match is taken apart into its groups ([`Sub`]).

use std::sync::Arc;

use crate::sql::functions::text::ctype::{Class, Ranges, normal, ranges_of, to_lower, to_upper};

pub(super) const LAST: u32 = 0x10_ffff;

/// What a part of a pattern matches.
#[derive(Debug)]
pub(super) enum Re {
    Empty,
    /// One character out of these; ordered, not touching.
    Set(Ranges),
    At(Place),
    Look {
        ahead: bool,
        positive: bool,
        re: Arc<Re>,
    },
    Concat(Vec<Arc<Re>>),
    Alt(Vec<Arc<Re>>),
    Repeat {
        re: Arc<Re>,
        min: u32,
        /// `None`: any number.
        max: Option<u32>,
    },
    /// Parentheses that capture.
    Group(Arc<Re>),
}

/// What must be around a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Start,
    End,
    LineStart,
    LineEnd,
    WordStart,
    WordEnd,
    WordEdge,
    NoWordEdge,
}

impl Re {
    pub(super) fn character(code: u32, any_case: bool) -> Self {
        match char::from_u32(code) {
            Some(c) if any_case => {
                Self::Set(normal(vec![single(u32::from(to_lower(c))), single(u32::from(to_upper(c)))]))
            }
            _ => Self::Set(vec![single(code)]),
        }
    }

    /// The same without what must be around places: what a back-reference may match at most.
    pub(super) fn without_places(re: &Arc<Re>) -> Arc<Re> {
        let each = |all: &[Arc<Re>]| all.iter().map(Self::without_places).collect();
        Arc::new(match re.as_ref() {
            Self::Empty | Self::At(_) | Self::Look { .. } => Self::Empty,
            Self::Set(_) => return Arc::clone(re),
            Self::Concat(all) => Self::Concat(each(all)),
            Self::Alt(all) => Self::Alt(each(all)),
            Self::Repeat { re, min, max } => Self::Repeat { re: Self::without_places(re), min: *min, max: *max },
            Self::Group(re) => return Self::without_places(re),
        })
    }
}

pub(super) fn single(code: u32) -> (u32, u32) {
    (code, code)
}

/// All other characters.
pub(super) fn complement(ranges: &[(u32, u32)]) -> Ranges {
    let mut out = Vec::with_capacity(ranges.len() + 1);
    let mut next = 0;
    for &(from, to) in ranges {
        if from > next {
            out.push((next, from - 1));
        }
        next = to.saturating_add(1);
    }
    if next <= LAST {
        out.push((next, LAST));
    }
    out
}

/// With both cases of each character.
pub(super) fn with_cases(from: u32, to: u32) -> Ranges {
    let characters = (from..=to.min(LAST)).filter_map(char::from_u32);
    let cases = characters.flat_map(|c| [to_lower(c), to_upper(c)]).map(|c| single(u32::from(c)));
    let mut out: Ranges = vec![(from, to)];
    out.extend(cases.filter(|&(c, _)| c < from || c > to));
    normal(out)
}

/// Names of classes in brackets. Without case, small and capital letters are letters.
pub(super) fn class(name: &str, any_case: bool) -> Option<Ranges> {
    let class = match name {
        "alnum" => Class::Alnum,
        "alpha" => Class::Alpha,
        "ascii" => Class::Ascii,
        "blank" => Class::Blank,
        "cntrl" => Class::Cntrl,
        "digit" => Class::Digit,
        "graph" => Class::Graph,
        "lower" | "upper" if any_case => Class::Alpha,
        "lower" => Class::Lower,
        "print" => Class::Print,
        "punct" => Class::Punct,
        "space" => Class::Space,
        "upper" => Class::Upper,
        "xdigit" => Class::Xdigit,
        "word" => Class::Word,
        _ => return None,
    };
    Some(ranges_of(class))
}

// What a part of the tree prefers and has.
pub(super) const LONGER: u8 = 1;
pub(super) const SHORTER: u8 = 2;
/// Parts that prefer the one and parts that prefer the other.
pub(super) const MIXED: u8 = 4;
pub(super) const CAPTURES: u8 = 8;
pub(super) const REFERS_BACK: u8 = 16;

const PREFERENCE: u8 = LONGER | SHORTER;

/// What is handed up to a part around.
pub(super) fn up(flags: u8) -> u8 {
    let mixed = if flags & PREFERENCE == PREFERENCE { MIXED } else { 0 };
    flags & !PREFERENCE | mixed
}

/// Of two parts in a row: the first one that has a preference gives it.
pub(super) fn combine(first: u8, second: u8) -> u8 {
    let preference = if first & PREFERENCE != 0 { first } else { second };
    up(first | second) | preference & PREFERENCE
}

/// It must be taken apart: one automaton over it does not tell all.
pub(super) fn is_messy(flags: u8) -> bool {
    flags & (MIXED | CAPTURES | REFERS_BACK) != 0
}

/// How a match of this part is taken apart.
#[derive(Debug)]
pub(super) struct Sub {
    pub(super) kind: SubKind,
    pub(super) flags: u8,
    /// The group whose span this is; 0 for none.
    pub(super) group: usize,
    pub(super) re: Arc<Re>,
    pub(super) children: Vec<Sub>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SubKind {
    /// Not taken apart.
    Leaf,
    /// Two parts in a row.
    Concat,
    Alt,
    Iterate {
        min: u32,
        max: Option<u32>,
    },
    /// The text of a group, so many times.
    Reference {
        group: usize,
        min: u32,
        max: Option<u32>,
    },
    /// One part, for a group around a group.
    Wrap,
}

impl Sub {
    pub(super) fn leaf(flags: u8, re: Arc<Re>) -> Self {
        Self { kind: SubKind::Leaf, flags, group: 0, re, children: vec![] }
    }
}
