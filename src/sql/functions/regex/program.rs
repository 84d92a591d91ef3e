//! A tree as one automaton (Thompson's). Every part of the tree is a stretch of it, from a state to a state that only the
//! end of that part leads to, so that one program answers for each part alone.

use std::collections::HashMap;

use super::parse::Parsed;
use super::too_complex;
use super::tree::{Place, Re, Sub, SubKind};
use crate::error::Result;
use crate::sql::functions::text::ctype::Ranges;

const STATES_MAX: usize = 100_000;

#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// A character of that set.
    Set {
        set: usize,
        next: usize,
    },
    Both(usize, usize),
    Place {
        place: Place,
        next: usize,
    },
    Look {
        look: usize,
        next: usize,
    },
    Jump(usize),
    Nowhere,
}

/// A part of the tree in the program.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: SubKind,
    pub(super) flags: u8,
    pub(super) group: usize,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) children: Vec<Node>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) ahead: bool,
    pub(super) positive: bool,
    pub(super) start: usize,
    pub(super) end: usize,
}

#[derive(Debug)]
pub(super) struct CharSet {
    /// Bits of the ASCII characters.
    ascii: u128,
    ranges: Ranges,
}

impl CharSet {
    fn new(ranges: &Ranges) -> Self {
        let ascii = (0..128).filter(|c| ranges.iter().any(|(from, to)| (from..=to).contains(&c)));
        Self { ascii: ascii.fold(0, |bits, c| bits | 1 << c), ranges: ranges.clone() }
    }

    pub(super) fn contains(&self, code: u32) -> bool {
        if code < 128 {
            return self.ascii >> code & 1 == 1;
        }
        let at = self.ranges.partition_point(|run| run.1 < code);
        self.ranges.get(at).is_some_and(|run| run.0 <= code)
    }
}

#[derive(Debug)]
pub(super) struct Program {
    pub(super) states: Vec<State>,
    pub(super) sets: Vec<CharSet>,
    pub(super) looks: Vec<Look>,
    pub(super) root: Node,
    pub(super) groups: usize,
    pub(super) any_case: bool,
}

impl Program {
    /// 2201B for more states than a pattern may have.
    pub(super) fn new(parsed: &Parsed) -> Result<Self> {
        let mut builder = Builder { states: vec![State::Nowhere], sets: vec![], known: HashMap::new(), looks: vec![] };
        let root = builder.sub(&parsed.tree, 0)?;
        Ok(Self {
            states: builder.states,
            sets: builder.sets,
            looks: builder.looks,
            root,
            groups: parsed.groups,
            any_case: parsed.any_case,
        })
    }
}

struct Builder {
    states: Vec<State>,
    sets: Vec<CharSet>,
    known: HashMap<Ranges, usize>,
    looks: Vec<Look>,
}

/// Built from behind: each part is given the state that comes after it.
impl Builder {
    fn state(&mut self, state: State) -> Result<usize> {
        if self.states.len() >= STATES_MAX {
            return Err(too_complex());
        }
        self.states.push(state);
        Ok(self.states.len() - 1)
    }

    fn sub(&mut self, sub: &Sub, next: usize) -> Result<Node> {
        let end = self.state(State::Jump(next))?;
        let mut children = vec![];
        let start = match sub.kind {
            SubKind::Leaf | SubKind::Reference { .. } => self.re(&sub.re, end)?,
            SubKind::Concat | SubKind::Wrap => {
                let mut start = end;
                for child in sub.children.iter().rev() {
                    let node = self.sub(child, start)?;
                    start = node.start;
                    children.insert(0, node);
                }
                start
            }
            SubKind::Alt => {
                let mut start = None;
                for child in sub.children.iter().rev() {
                    let node = self.sub(child, end)?;
                    start = Some(match start {
                        None => node.start,
                        Some(rest) => self.state(State::Both(node.start, rest))?,
                    });
                    children.insert(0, node);
                }
                start.unwrap_or(end)
            }
            SubKind::Iterate { .. } => {
                // one turn by itself, and the whole
                for child in &sub.children {
                    children.push(self.sub(child, 0)?);
                }
                self.re(&sub.re, end)?
            }
        };
        Ok(Node { kind: sub.kind, flags: sub.flags, group: sub.group, start, end, children })
    }

    fn re(&mut self, re: &Re, next: usize) -> Result<usize> {
        match re {
            Re::Empty => Ok(next),
            Re::Set(ranges) => {
                let set = match self.known.get(ranges) {
                    Some(set) => *set,
                    None => {
                        self.sets.push(CharSet::new(ranges));
                        self.known.insert(ranges.clone(), self.sets.len() - 1);
                        self.sets.len() - 1
                    }
                };
                self.state(State::Set { set, next })
            }
            Re::At(place) => self.state(State::Place { place: *place, next }),
            Re::Look { ahead, positive, re } => {
                let end = self.state(State::Nowhere)?;
                let start = self.re(re, end)?;
                self.looks.push(Look { ahead: *ahead, positive: *positive, start, end });
                self.state(State::Look { look: self.looks.len() - 1, next })
            }
            Re::Concat(all) => all.iter().rev().try_fold(next, |next, re| self.re(re, next)),
            Re::Alt(all) => {
                let mut start = None;
                for re in all.iter().rev() {
                    let one = self.re(re, next)?;
                    start = Some(match start {
                        None => one,
                        Some(rest) => self.state(State::Both(one, rest))?,
                    });
                }
                Ok(start.unwrap_or(next))
            }
            Re::Repeat { re, min, max } => {
                let mut start = next;
                let mut copies = *min;
                match max {
                    None => {
                        let turn = self.state(State::Nowhere)?;
                        let body = self.re(re, turn)?;
                        if let Some(state) = self.states.get_mut(turn) {
                            *state = State::Both(body, next);
                        }
                        start = if copies == 0 { turn } else { body };
                        copies = copies.saturating_sub(1);
                    }
                    Some(max) => {
                        for _ in copies..*max {
                            let body = self.re(re, start)?;
                            start = self.state(State::Both(body, next))?;
                        }
                    }
                }
                (0..copies).try_fold(start, |start, _| self.re(re, start))
            }
            Re::Group(re) => self.re(re, next),
        }
    }
}
