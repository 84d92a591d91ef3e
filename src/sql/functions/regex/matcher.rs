//! A program over one text: where parts of it match, and how a match is taken apart (regexec.c). Every part is asked for
//! the longest or the shortest stretch that it prefers, and asked again for the next one where the rest does not fit.

use super::Span;
use super::program::{Node, Program, State};
use super::tree::{Place, SHORTER, SubKind};
use crate::error::{Error, Kind, Result};
use crate::sql::functions::text::ctype::{is_alnum, to_lower};

/// States times characters that one text may take. Back-references can ask for any number of them.
const STEPS_MAX: u64 = 500_000_000;

pub(super) struct Matcher<'p, 't> {
    program: &'p Program,
    text: &'t str,
    chars: Vec<char>,
    /// Where each character begins, and the end; empty for ASCII.
    bytes: Vec<usize>,
    groups: Vec<Option<Span>>,
    steps: u64,
    spare: Vec<Set>,
}

/// States that are on at one place.
#[derive(Debug, Default)]
struct Set {
    /// Those that wait for a character.
    waiting: Vec<usize>,
    /// The turn in which each was last seen.
    seen: Vec<u32>,
    turn: u32,
    stack: Vec<usize>,
}

impl Set {
    fn clear(&mut self, states: usize) {
        self.waiting.clear();
        self.turn = self.turn.wrapping_add(1);
        if self.turn == 0 || self.seen.len() != states {
            self.seen = vec![0; states];
            self.turn = 1;
        }
    }
}

/// Where the turns of a loop end.
struct Turns {
    /// The first is where they begin.
    ends: Vec<usize>,
    /// So many have been taken apart.
    verified: usize,
    min: usize,
    max: usize,
    end: usize,
}

impl Turns {
    fn ended(&mut self, k: usize, at: usize) {
        self.ends.truncate(k);
        self.ends.push(at);
        self.verified = self.verified.min(k - 1);
    }

    /// Whether turn `k` may be empty at this place: only if fewer characters are left than turns wanted.
    fn may_be_empty(&self, k: usize, at: usize) -> bool {
        k < self.min && self.min - k >= self.end - at
    }
}

/// A stretch of the program.
#[derive(Clone, Copy)]
struct Part {
    start: usize,
    end: usize,
}

impl Node {
    fn part(&self) -> Part {
        Part { start: self.start, end: self.end }
    }
}

impl<'p, 't> Matcher<'p, 't> {
    pub(super) fn new(program: &'p Program, text: &'t str) -> Self {
        let bytes = match text.is_ascii() {
            true => vec![],
            false => text.char_indices().map(|(byte, _)| byte).chain([text.len()]).collect(),
        };
        let groups = vec![None; program.groups + 1];
        Self { program, text, chars: text.chars().collect(), bytes, groups, steps: 0, spare: vec![] }
    }

    fn byte(&self, at: usize) -> usize {
        if self.bytes.is_empty() { at } else { self.bytes.get(at).copied().unwrap_or(self.text.len()) }
    }

    /// The first match that begins at or behind this byte.
    pub(super) fn find(&mut self, from: usize) -> Result<Option<Vec<Option<Span>>>> {
        let from = if self.bytes.is_empty() { from } else { self.bytes.partition_point(|byte| *byte < from) };
        let root = &self.program.root;
        let shorter = root.flags & SHORTER != 0;
        let end = self.chars.len();
        for begin in from..=end {
            let (mut least, mut most) = (begin, end);
            loop {
                let found = match shorter {
                    true => self.shortest(root.part(), begin, least, most)?,
                    false => self.longest(root.part(), begin, most)?,
                };
                let Some(stop) = found else { break };
                self.groups.fill(None);
                if self.dissect(root, begin, stop)? {
                    self.groups[0] = Some((begin, stop));
                    let span = |span: &Option<Span>| span.map(|(from, to)| (self.byte(from), self.byte(to)));
                    return Ok(Some(self.groups.iter().map(span).collect()));
                }
                // back-references did not hold: the next longer or shorter one
                match shorter {
                    true if stop < end => least = stop + 1,
                    false if stop > begin => most = stop - 1,
                    _ => break,
                }
            }
        }
        Ok(None)
    }

    fn longest(&mut self, part: Part, begin: usize, most: usize) -> Result<Option<usize>> {
        self.run(part, begin, most, None)
    }

    fn shortest(&mut self, part: Part, begin: usize, least: usize, most: usize) -> Result<Option<usize>> {
        self.run(part, begin, most, Some(least))
    }

    /// The last end up to `most`, or the first from `least`.
    fn run(&mut self, part: Part, begin: usize, most: usize, least: Option<usize>) -> Result<Option<usize>> {
        let mut now = self.spare.pop().unwrap_or_default();
        let mut then = self.spare.pop().unwrap_or_default();
        now.clear(self.program.states.len());
        let mut last = None;
        let mut ended = self.reach(&mut now, part.start, part.end, begin)?;
        let mut at = begin;
        loop {
            if ended && least.is_none_or(|least| at >= least) {
                last = Some(at);
                if least.is_some() {
                    break;
                }
            }
            if at >= most || now.waiting.is_empty() {
                break;
            }
            let code = u32::from(self.chars[at]);
            self.count(now.waiting.len())?;
            then.clear(self.program.states.len());
            ended = false;
            for &state in &now.waiting {
                if let State::Set { set, next } = self.program.states[state]
                    && self.program.sets[set].contains(code)
                {
                    ended |= self.reach(&mut then, next, part.end, at + 1)?;
                }
            }
            std::mem::swap(&mut now, &mut then);
            at += 1;
        }
        self.spare.extend([now, then]);
        Ok(last)
    }

    fn count(&mut self, steps: usize) -> Result<()> {
        self.steps += 1 + steps as u64;
        if self.steps > STEPS_MAX {
            return Err(Error::new(Kind::TooComplex, "a regular expression takes too many steps on one value"));
        }
        Ok(())
    }

    /// Adds what is on without a further character; whether `end` is among it.
    fn reach(&mut self, set: &mut Set, state: usize, end: usize, at: usize) -> Result<bool> {
        let mut ended = false;
        let mut stack = std::mem::take(&mut set.stack);
        stack.push(state);
        while let Some(state) = stack.pop() {
            if std::mem::replace(&mut set.seen[state], set.turn) == set.turn {
                continue;
            }
            if state == end {
                ended = true;
                continue;
            }
            match self.program.states[state] {
                State::Set { .. } => set.waiting.push(state),
                State::Both(a, b) => stack.extend([a, b]),
                State::Jump(next) => stack.push(next),
                State::Place { place, next } => stack.extend(self.is_at(place, at).then_some(next)),
                State::Look { look, next } => stack.extend(self.looks(look, at)?.then_some(next)),
                State::Nowhere => {}
            }
        }
        set.stack = stack;
        Ok(ended)
    }

    fn is_word(&self, at: Option<usize>) -> bool {
        at.and_then(|at| self.chars.get(at)).is_some_and(|c| *c == '_' || is_alnum(*c))
    }

    fn is_at(&self, place: Place, at: usize) -> bool {
        let before = || self.is_word(at.checked_sub(1));
        let behind = || self.is_word(Some(at));
        match place {
            Place::Start => at == 0,
            Place::End => at == self.chars.len(),
            Place::LineStart => at == 0 || self.chars[at - 1] == '\n',
            Place::LineEnd => self.chars.get(at).is_none_or(|c| *c == '\n'),
            Place::WordStart => !before() && behind(),
            Place::WordEnd => before() && !behind(),
            Place::WordEdge => before() != behind(),
            Place::NoWordEdge => before() == behind(),
        }
    }

    fn looks(&mut self, look: usize, at: usize) -> Result<bool> {
        let look = self.program.looks[look];
        let part = Part { start: look.start, end: look.end };
        let found = match look.ahead {
            true => self.shortest(part, at, at, self.chars.len())?.is_some(),
            false => self.ends_at(part, at)?,
        };
        Ok(found == look.positive)
    }

    /// Whether a match from anywhere before ends here.
    fn ends_at(&mut self, part: Part, end: usize) -> Result<bool> {
        let (mut now, mut then) = (Set::default(), Set::default());
        now.clear(self.program.states.len());
        let mut ended = self.reach(&mut now, part.start, part.end, 0)?;
        for at in 0..end {
            let code = u32::from(self.chars[at]);
            self.count(now.waiting.len())?;
            then.clear(self.program.states.len());
            ended = false;
            for &state in &now.waiting {
                if let State::Set { set, next } = self.program.states[state]
                    && self.program.sets[set].contains(code)
                {
                    ended |= self.reach(&mut then, next, part.end, at + 1)?;
                }
            }
            ended |= self.reach(&mut then, part.start, part.end, at + 1)?;
            std::mem::swap(&mut now, &mut then);
        }
        Ok(ended)
    }

    fn is_whole(&mut self, node: &Node, begin: usize, end: usize) -> Result<bool> {
        Ok(self.longest(node.part(), begin, end)? == Some(end))
    }

    fn forget(&mut self, node: &Node) {
        if node.group > 0 {
            self.groups[node.group] = None;
        }
        for child in &node.children {
            self.forget(child);
        }
    }

    /// Finds the groups in a stretch that the part's automaton matches. `false` where back-references do not hold.
    fn dissect(&mut self, node: &'p Node, begin: usize, end: usize) -> Result<bool> {
        self.count(1)?;
        let holds = match (node.kind, node.children.as_slice()) {
            (SubKind::Leaf, _) => true,
            (SubKind::Wrap, [inner]) => self.dissect(inner, begin, end)?,
            (SubKind::Concat, [first, second]) => self.dissect_pair(first, second, begin, end)?,
            (SubKind::Alt, all) => {
                let mut holds = false;
                for one in all {
                    if self.is_whole(one, begin, end)? && self.dissect(one, begin, end)? {
                        holds = true;
                        break;
                    }
                }
                holds
            }
            (SubKind::Iterate { min, max }, [turn]) => {
                let most = max.map_or(usize::MAX, |max| max as usize);
                self.dissect_turns(turn, min as usize, most, begin, end)?
            }
            (SubKind::Reference { group, min, max }, _) => self.refers(group, min, max, begin, end),
            _ => return Err(Error::internal("a part of a pattern without its parts")),
        };
        if holds && node.group > 0 {
            self.groups[node.group] = Some((begin, end));
        }
        Ok(holds)
    }

    /// The first part takes what it prefers of what leaves a match to the second.
    fn dissect_pair(&mut self, first: &'p Node, second: &'p Node, begin: usize, end: usize) -> Result<bool> {
        let shorter = first.flags & SHORTER != 0;
        let mut middle = match shorter {
            true => self.shortest(first.part(), begin, begin, end)?,
            false => self.longest(first.part(), begin, end)?,
        };
        while let Some(at) = middle {
            if self.is_whole(second, at, end)? && self.dissect(first, begin, at)? && self.dissect(second, at, end)? {
                return Ok(true);
            }
            self.forget(first);
            self.forget(second);
            middle = match shorter {
                true if at < end => self.shortest(first.part(), begin, at + 1, end)?,
                false if at > begin => self.longest(first.part(), begin, at - 1)?,
                _ => None,
            };
        }
        Ok(false)
    }

    /// Turn after turn takes what it prefers; empty turns only where there must be so many.
    fn dissect_turns(&mut self, turn: &'p Node, min: usize, max: usize, begin: usize, end: usize) -> Result<bool> {
        let none_will_do = min == 0 && begin == end;
        let shorter = turn.flags & SHORTER != 0;
        if none_will_do && shorter {
            return Ok(true);
        }
        let min = min.max(1);
        let mut turns = Turns { ends: vec![begin], verified: 0, min, max: max.min(end - begin).max(min), end };
        if shorter {
            return self.shorter_turns(turn, &mut turns);
        }
        // one empty turn comes before none
        Ok(self.longer_turns(turn, &mut turns)? || none_will_do)
    }

    fn longer_turns(&mut self, turn: &'p Node, turns: &mut Turns) -> Result<bool> {
        let end = turns.end;
        let (mut k, mut limit) = (1, end);
        while k > 0 {
            match self.longest(turn.part(), turns.ends[k - 1], limit)? {
                None => k -= 1,
                Some(at) => {
                    turns.ended(k, at);
                    if at == end {
                        if k >= turns.min {
                            match self.first_wrong(turn, turns, k)? {
                                None => return Ok(true),
                                Some(wrong) => k = wrong,
                            }
                        }
                    } else if k >= turns.max {
                        k -= 1;
                    } else if at > turns.ends[k - 1] || turns.may_be_empty(k, at) {
                        k += 1;
                        limit = end;
                        continue;
                    }
                }
            }
            // a shorter last turn, or one before
            while k > 0 {
                let from = turns.ends[k - 1];
                if turns.ends[k] > from {
                    limit = turns.ends[k] - 1;
                    if limit > from || turns.may_be_empty(k, from) {
                        break;
                    }
                }
                k -= 1;
            }
        }
        Ok(false)
    }

    fn shorter_turns(&mut self, turn: &'p Node, turns: &mut Turns) -> Result<bool> {
        let end = turns.end;
        let (mut k, mut limit) = (1, turns.ends[0]);
        while k > 0 {
            let from = turns.ends[k - 1];
            if limit == from && limit != end && !turns.may_be_empty(k, limit) {
                limit += 1;
            }
            // the last turn that may be must reach the end
            if k >= turns.max {
                limit = end;
            }
            match self.shortest(turn.part(), from, limit, end)? {
                None => k -= 1,
                Some(at) => {
                    turns.ended(k, at);
                    if at == end {
                        if k >= turns.min {
                            match self.first_wrong(turn, turns, k)? {
                                None => return Ok(true),
                                Some(wrong) => k = wrong,
                            }
                        }
                    } else if k >= turns.max {
                        k -= 1;
                    } else {
                        k += 1;
                        limit = at;
                        continue;
                    }
                }
            }
            // a longer last turn, or one before
            while k > 0 {
                if turns.ends[k] < end {
                    limit = turns.ends[k] + 1;
                    break;
                }
                k -= 1;
            }
        }
        Ok(false)
    }

    /// The first of `k` turns that cannot be taken apart further; those that were are not looked at again.
    fn first_wrong(&mut self, turn: &'p Node, turns: &mut Turns, k: usize) -> Result<Option<usize>> {
        for i in turns.verified + 1..=k {
            self.forget(turn);
            if !self.dissect(turn, turns.ends[i - 1], turns.ends[i])? {
                return Ok(Some(i));
            }
            turns.verified = i;
        }
        Ok(None)
    }

    fn refers(&self, group: usize, min: u32, max: Option<u32>, begin: usize, end: usize) -> bool {
        let Some(Some((from, to))) = self.groups.get(group).copied() else { return false };
        let of = &self.chars[from..to];
        let text = &self.chars[begin..end];
        if of.is_empty() {
            return text.is_empty();
        }
        if text.is_empty() {
            return min == 0;
        }
        let times = text.len() / of.len();
        if !text.len().is_multiple_of(of.len()) || times < min as usize || max.is_some_and(|max| times > max as usize) {
            return false;
        }
        let same = |a: char, b: char| a == b || self.program.any_case && to_lower(a) == to_lower(b);
        text.chunks(of.len()).all(|chunk| chunk.iter().zip(of).all(|(a, b)| same(*a, *b)))
    }
}
