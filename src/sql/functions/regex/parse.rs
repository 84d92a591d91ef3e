//! Pattern to tree, as regcomp.c builds it: the tree decides how matches are taken apart, so its shape is Spencer's.

use std::sync::Arc;

use super::options::{Options, Syntax};
use super::tree::*;
use super::{invalid, too_complex};
use crate::error::{Error, Result};
use crate::sql::functions::text::ctype::{Ranges, normal};
use lex::{Lexer, Token};

mod lex;
mod names;

/// The largest count in a bound.
const COUNT_MAX: u32 = 255;
/// Parentheses within parentheses, and parts of a branch that are taken apart: the tree is walked by recursion.
const DEPTH_MAX: usize = 200;
const PARTS_MAX: usize = 1000;

#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) tree: Sub,
    pub(super) groups: usize,
    pub(super) any_case: bool,
}

pub(super) fn parse(pattern: &str, options: Options) -> Result<Parsed> {
    let mut parser =
        Parser { lexer: Lexer::new(pattern, options)?, token: Token::End, groups: vec![], depth: 0, parts: 0 };
    if matches!(parser.lexer.options.syntax, Syntax::Basic | Syntax::Extended) {
        let hint = "Use an advanced regular expression.";
        return Err(Error::unsupported("a basic or extended regular expression").with_hint(hint));
    }
    parser.next()?;
    let tree = parser.alternatives(&Token::End, false)?;
    Ok(Parsed { tree, groups: parser.groups.len(), any_case: parser.lexer.options.any_case })
}

struct Parser {
    lexer: Lexer,
    token: Token,
    /// What each group matches, once it is closed.
    groups: Vec<Option<Arc<Re>>>,
    depth: usize,
    parts: usize,
}

/// An atom and how often.
struct Atom {
    sub: Sub,
    /// Parentheses that capture and back-references are always taken apart.
    always: bool,
}

impl Parser {
    fn next(&mut self) -> Result<()> {
        self.token = self.lexer.next(self.groups.len())?;
        Ok(())
    }

    /// Up to `stop`, which is the current token then.
    fn alternatives(&mut self, stop: &Token, in_look: bool) -> Result<Sub> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(too_complex());
        }
        let mut branches = vec![self.branch(stop, in_look)?];
        while self.token == Token::Bar {
            self.next()?;
            branches.push(self.branch(stop, in_look)?);
        }
        if self.token != *stop {
            return Err(invalid("parentheses () not balanced"));
        }
        self.depth -= 1;
        if branches.len() == 1 {
            return Ok(branches.remove(0));
        }
        let flags = branches.iter().fold(LONGER, |flags, branch| flags | up(flags | branch.flags));
        let re = Arc::new(Re::Alt(branches.iter().map(|branch| Arc::clone(&branch.re)).collect()));
        if !is_messy(flags) {
            return Ok(Sub::leaf(flags, re));
        }
        Ok(Sub { kind: SubKind::Alt, flags, group: 0, re, children: branches })
    }

    /// Parts in a row: leaves between parts that are taken apart.
    fn branch(&mut self, stop: &Token, in_look: bool) -> Result<Sub> {
        // each with the leaf in front of it
        let mut messy: Vec<(Vec<Arc<Re>>, u8, u8, Sub)> = vec![];
        let (mut plain, mut plain_flags) = (vec![], 0);
        while self.token != Token::Bar && self.token != *stop && self.token != Token::End {
            if let Some(place) = self.place()? {
                plain.push(Arc::new(place));
                continue;
            }
            let atom = self.atom(in_look)?;
            let (min, max, prefers) = self.quantifier()?;
            if max == Some(0) {
                continue;
            }
            let flags = plain_flags | prefers | atom.sub.flags;
            if !atom.always && !is_messy(up(flags)) {
                plain.push(repeated(&atom.sub.re, min, max));
                plain_flags = flags;
                continue;
            }
            self.parts += 1;
            if self.parts > PARTS_MAX {
                return Err(too_complex());
            }
            let outer = combine(prefers, atom.sub.flags);
            let part = quantified(atom.sub, min, max, prefers);
            messy.push((std::mem::take(&mut plain), std::mem::take(&mut plain_flags), outer, part));
        }
        let mut rest = match messy.is_empty() || !plain.is_empty() {
            true => Some(Sub::leaf(plain_flags, concat(plain))),
            false => None,
        };
        for (before, before_flags, outer, part) in messy.into_iter().rev() {
            let tail = match rest {
                None => part,
                Some(rest) => pair(outer, part, rest),
            };
            rest = Some(match before.is_empty() {
                true => tail,
                false => pair(before_flags, Sub::leaf(before_flags, concat(before)), tail),
            });
        }
        Ok(rest.unwrap_or_else(|| Sub::leaf(0, Arc::new(Re::Empty))))
    }

    /// What takes no character and no quantifier.
    fn place(&mut self) -> Result<Option<Re>> {
        let lines = self.lexer.options.anchor_at_newline;
        let place = match self.token {
            Token::Caret if lines => Place::LineStart,
            Token::Dollar if lines => Place::LineEnd,
            Token::Caret | Token::TextStart => Place::Start,
            Token::Dollar | Token::TextEnd => Place::End,
            Token::WordStart => Place::WordStart,
            Token::WordEnd => Place::WordEnd,
            Token::WordEdge => Place::WordEdge,
            Token::NoWordEdge => Place::NoWordEdge,
            Token::Look { ahead, positive } => {
                self.next()?;
                let inner = self.alternatives(&Token::Close, true)?;
                self.next()?;
                return Ok(Some(Re::Look { ahead, positive, re: inner.re }));
            }
            _ => return Ok(None),
        };
        self.next()?;
        Ok(Some(Re::At(place)))
    }

    fn atom(&mut self, in_look: bool) -> Result<Atom> {
        let any_case = self.lexer.options.any_case;
        let stop_at_newline = self.lexer.options.stop_at_newline;
        let leaf = |re: Re| Atom { sub: Sub::leaf(0, Arc::new(re)), always: false };
        Ok(match std::mem::replace(&mut self.token, Token::End) {
            Token::Star(_) | Token::Plus(_) | Token::Optional(_) | Token::OpenBound => {
                return Err(invalid("quantifier operand invalid"));
            }
            Token::Close => return Err(invalid("parentheses () not balanced")),
            Token::Plain(code) => {
                self.next()?;
                leaf(Re::character(code, any_case))
            }
            Token::Dot => {
                self.next()?;
                leaf(Re::Set(complement(if stop_at_newline { &[(10, 10)] } else { &[] })))
            }
            Token::Class(set) => {
                self.next()?;
                leaf(Re::Set(set))
            }
            Token::OpenBracket { positive } => {
                let mut set = self.bracket()?;
                if !positive {
                    if stop_at_newline {
                        set.push((10, 10));
                    }
                    set = complement(&normal(set));
                }
                self.next()?;
                leaf(Re::Set(set))
            }
            Token::Open { captures } => {
                let captures = captures && !in_look;
                if captures {
                    self.groups.push(None);
                }
                let number = self.groups.len();
                self.next()?;
                let mut sub = self.alternatives(&Token::Close, in_look)?;
                self.next()?;
                if captures {
                    let re = Arc::new(Re::Group(Arc::clone(&sub.re)));
                    if sub.group == 0 {
                        sub.group = number;
                        sub.flags |= CAPTURES;
                        sub.re = re;
                    } else {
                        let flags = sub.flags | CAPTURES;
                        sub = Sub { kind: SubKind::Wrap, flags, group: number, re, children: vec![sub] };
                    }
                    if let Some(group) = self.groups.get_mut(number - 1) {
                        *group = Some(Arc::clone(&sub.re));
                    }
                }
                Atom { sub, always: captures }
            }
            Token::Reference(group) => {
                let wrong = || invalid("invalid backreference number");
                let re = group.checked_sub(1).and_then(|at| self.groups.get(at)).and_then(Option::as_ref);
                let re = re.filter(|_| !in_look).ok_or_else(wrong)?;
                let re = Re::without_places(re);
                self.next()?;
                let kind = SubKind::Reference { group, min: 1, max: Some(1) };
                Atom { sub: Sub { kind, flags: REFERS_BACK, group: 0, re, children: vec![] }, always: true }
            }
            Token::Bar
            | Token::End
            | Token::Caret
            | Token::Dollar
            | Token::TextStart
            | Token::TextEnd
            | Token::WordStart
            | Token::WordEnd
            | Token::WordEdge
            | Token::NoWordEdge
            | Token::Look { .. }
            | Token::Digit(_)
            | Token::Comma
            | Token::CloseBound(_)
            | Token::CloseBracket
            | Token::Range
            | Token::Collating(_)
            | Token::Equivalents(_)
            | Token::Named(_) => return Err(Error::internal("a pattern's token out of its place")),
        })
    }

    /// From, to, and what it prefers.
    fn quantifier(&mut self) -> Result<(u32, Option<u32>, u8)> {
        let prefers = |greedy: bool| if greedy { LONGER } else { SHORTER };
        let quantifier = match self.token {
            Token::Star(greedy) => (0, None, prefers(greedy)),
            Token::Plus(greedy) => (1, None, prefers(greedy)),
            Token::Optional(greedy) => (0, Some(1), prefers(greedy)),
            Token::OpenBound => {
                self.next()?;
                let min = self.count()?;
                let (max, exact) = if self.token == Token::Comma {
                    self.next()?;
                    match self.token {
                        Token::Digit(_) => (Some(self.count()?), false),
                        _ => (None, false),
                    }
                } else {
                    (Some(min), true)
                };
                let Token::CloseBound(greedy) = self.token else {
                    return Err(invalid("invalid repetition count(s)"));
                };
                if max.is_some_and(|max| min > max) {
                    return Err(invalid("invalid repetition count(s)"));
                }
                // {m} leaves the operand its preference
                (min, max, if exact { 0 } else { prefers(greedy) })
            }
            _ => return Ok((1, Some(1), 0)),
        };
        self.next()?;
        Ok(quantifier)
    }

    fn count(&mut self) -> Result<u32> {
        let mut count = 0;
        while let Token::Digit(digit) = self.token {
            count = count * 10 + digit;
            if count > COUNT_MAX {
                return Err(invalid("invalid repetition count(s)"));
            }
            self.next()?;
        }
        Ok(count)
    }

    /// Behind `[` or `[^`, up to the `]`, which is the current token then.
    fn bracket(&mut self) -> Result<Ranges> {
        let any_case = self.lexer.options.any_case;
        let mut set = vec![];
        self.next()?;
        while self.token != Token::CloseBracket {
            let first = match std::mem::replace(&mut self.token, Token::End) {
                Token::Range => return Err(invalid("invalid character range")),
                Token::Class(class) => {
                    set.extend(class);
                    self.next()?;
                    continue;
                }
                Token::Named(name) => {
                    set.extend(class(&name, any_case).ok_or_else(|| invalid("invalid character class"))?);
                    self.next()?;
                    continue;
                }
                Token::Equivalents(name) => {
                    if let Re::Set(one) = Re::character(names::element(&name)?, any_case) {
                        set.extend(one);
                    }
                    self.next()?;
                    continue;
                }
                Token::Plain(code) => code,
                Token::Collating(name) => names::element(&name)?,
                _ => return Err(Error::internal("a bracket's token out of its place")),
            };
            self.next()?;
            if self.token != Token::Range {
                if let Re::Set(one) = Re::character(first, any_case) {
                    set.extend(one);
                }
                continue;
            }
            self.next()?;
            let last = match std::mem::replace(&mut self.token, Token::End) {
                Token::Plain(code) => code,
                Token::Range => u32::from('-'),
                Token::Collating(name) => names::element(&name)?,
                _ => return Err(invalid("invalid character range")),
            };
            self.next()?;
            if first > last {
                return Err(invalid("invalid character range"));
            }
            match any_case {
                true => set.extend(with_cases(first, last)),
                false => set.push((first, last)),
            }
        }
        Ok(normal(set))
    }
}

fn concat(mut all: Vec<Arc<Re>>) -> Arc<Re> {
    match all.len() {
        0 => Arc::new(Re::Empty),
        1 => all.remove(0),
        _ => Arc::new(Re::Concat(all)),
    }
}

fn repeated(re: &Arc<Re>, min: u32, max: Option<u32>) -> Arc<Re> {
    match (min, max) {
        (1, Some(1)) => Arc::clone(re),
        _ => Arc::new(Re::Repeat { re: Arc::clone(re), min, max }),
    }
}

/// Two parts in a row; `flags` are those of the first with its quantifier.
fn pair(flags: u8, first: Sub, second: Sub) -> Sub {
    let re = concat(vec![Arc::clone(&first.re), Arc::clone(&second.re)]);
    let flags = flags | combine(flags, second.flags);
    Sub { kind: SubKind::Concat, flags, group: 0, re, children: vec![first, second] }
}

/// A part that is taken apart, with its quantifier.
fn quantified(atom: Sub, min: u32, max: Option<u32>, prefers: u8) -> Sub {
    let flags = combine(prefers, atom.flags);
    let re = repeated(&atom.re, min, max);
    if let SubKind::Reference { group, .. } = atom.kind {
        let flags = atom.flags | flags;
        return Sub { kind: SubKind::Reference { group, min, max }, flags, group: 0, re, children: vec![] };
    }
    let own = atom.flags & (LONGER | SHORTER | MIXED);
    if (min, max) == (1, Some(1)) && (prefers == 0 || own == 0 || prefers == own) {
        return atom;
    }
    if atom.flags & (CAPTURES | REFERS_BACK) == 0 {
        return Sub::leaf(flags, re);
    }
    if min > 0 && atom.flags & REFERS_BACK == 0 {
        // x{m,n} is x{m-1,n-1}x: only the last x is looked at
        let before =
            Arc::new(Re::Repeat { re: Arc::clone(&atom.re), min: min - 1, max: max.map(|max| max.saturating_sub(1)) });
        let before = Sub::leaf(flags & (LONGER | SHORTER), before);
        return Sub { kind: SubKind::Concat, flags, group: 0, re, children: vec![before, atom] };
    }
    let children = vec![atom];
    Sub { kind: SubKind::Iterate { min, max }, flags, group: 0, re, children }
}
