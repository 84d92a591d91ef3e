//! A tsquery: lexemes under NOT, AND, OR and phrase operators (tsquery.c, tsquery_op.c).

use std::collections::BTreeSet;

use crate::error::{Error, Kind, Result};
use crate::sql::functions::text::trigram::legacy_crc;
use crate::sql::parse::too_complex;

use super::token::{Form, Scanner};
use super::vector::{WORD_BYTES_MAX, Weight, quote};

/// `MAXENTRYPOS`.
pub(super) const DISTANCE_MAX: u16 = 1 << 14;
/// Operators in one another, and parentheses: what is recursive here stays on its stack.
const DEPTH_MAX: usize = 500;
const PARENTHESES_MAX: usize = 128;
/// Operators that wait for their right side (`STACKDEPTH`), in what tsqueryin reads.
const WAITING_MAX: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Operand {
    pub(super) word: String,
    /// A set of weights; 0 for any.
    pub(super) weights: u8,
    pub(super) prefix: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    And,
    Or,
    /// At that distance.
    Phrase(u16),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Operand(Operand),
    Not(Box<Node>),
    Both(Operator, Box<Node>, Box<Node>),
}

/// `None` has no lexeme, and matches nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query(pub(super) Option<Node>);

impl Operator {
    fn tightness(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And => 2,
            Self::Phrase(_) => 3,
        }
    }

    /// Of its kind, as PostgreSQL numbers them.
    fn number(self) -> u8 {
        match self {
            Self::And => 2,
            Self::Or => 3,
            Self::Phrase(_) => 4,
        }
    }
}

const NOT_TIGHTNESS: u8 = 4;
const NOT_NUMBER: u8 = 1;

impl Query {
    /// A value that lies here: functions make some that tsqueryin would not read.
    pub(super) fn parse(text: &str) -> Result<Self> {
        Self::within(text, Limits { parentheses: DEPTH_MAX, waiting: usize::MAX, word_bytes: usize::MAX })
    }

    /// tsqueryin.
    pub(super) fn read(text: &str) -> Result<Self> {
        Self::within(
            text,
            Limits { parentheses: PARENTHESES_MAX, waiting: WAITING_MAX, word_bytes: WORD_BYTES_MAX - 1 },
        )
    }

    fn within(text: &str, limits: Limits) -> Result<Self> {
        let mut scanner = Scanner::new(text, Form::Query);
        scanner.skip_blanks();
        if scanner.peek().is_none() {
            return Ok(Self(None));
        }
        Ok(Self(Some(expression(&mut scanner, 0, limits)?.node)))
    }

    pub(super) fn spelt(&self) -> String {
        let mut out = String::new();
        if let Some(node) = &self.0 {
            node.show(0, false, &mut out);
        }
        out
    }

    /// 54001 where operators stand too deep.
    pub(super) fn checked(self) -> Result<Self> {
        match self.0.as_ref().is_some_and(|node| node.is_deeper_than(DEPTH_MAX)) {
            true => Err(too_deep()),
            false => Ok(self),
        }
    }

    /// A query without lexemes counts for nothing.
    pub(super) fn joined(self, operator: Operator, other: Self) -> Result<Self> {
        match (self.0, other.0) {
            (Some(left), Some(right)) => Self(Some(Node::Both(operator, Box::new(left), Box::new(right)))).checked(),
            (one, other) => Ok(Self(one.or(other))),
        }
    }

    pub(super) fn negated(self) -> Result<Self> {
        Self(self.0.map(|node| Node::Not(Box::new(node)))).checked()
    }

    pub(super) fn nodes(&self) -> usize {
        self.0.as_ref().map_or(0, Node::nodes)
    }

    /// What an index can look for: without negations. `T` where nothing is left.
    pub(super) fn indexable(&self) -> String {
        match &self.0 {
            None => String::new(),
            Some(node) => node.clone().positive().map_or_else(|| "T".to_owned(), |node| Self(Some(node)).spelt()),
        }
    }

    /// Whether every lexeme of `other` is one of this query.
    pub(super) fn has_words_of(&self, other: &Self) -> bool {
        other.words().is_subset(&self.words())
    }

    fn words(&self) -> BTreeSet<&str> {
        self.operands().into_iter().map(|operand| operand.word.as_str()).collect()
    }

    /// As PostgreSQL stores them: the right side of an operator before its left.
    pub(super) fn operands(&self) -> Vec<&Operand> {
        let (mut operands, mut left) = (vec![], Vec::from_iter(&self.0));
        while let Some(node) = left.pop() {
            match node {
                Node::Operand(operand) => operands.push(operand),
                Node::Not(of) => left.push(of),
                Node::Both(_, first, second) => left.extend([first.as_ref(), second]),
            }
        }
        operands
    }

    /// Bytes in the order of `CompareTSQ`: by size first, then node by node. Weights and prefixes do not count.
    pub(super) fn key(&self) -> Vec<u8> {
        let bytes = 12 * self.nodes() + self.operands().iter().map(|operand| operand.word.len() + 1).sum::<usize>();
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes();
        let mut key = Vec::with_capacity(bytes + 8);
        key.extend(count(self.nodes()));
        key.extend(count(bytes));
        if let Some(node) = &self.0 {
            node.key(&mut key);
        }
        key
    }
}

impl Node {
    fn is_deeper_than(&self, depth: usize) -> bool {
        // level by level: a tree that is too deep is met here first
        let mut level = vec![self];
        for _ in 0..depth {
            let below = level.iter().flat_map(|node| match node {
                Node::Operand(_) => vec![],
                Node::Not(of) => vec![of.as_ref()],
                Node::Both(_, left, right) => vec![left.as_ref(), right],
            });
            level = below.collect();
        }
        !level.is_empty()
    }

    /// How many operators merge the places of one operand, where a phrase is looked for.
    pub(super) fn merges(&self, within: bool) -> usize {
        match self {
            Node::Operand(_) => usize::from(within),
            Node::Not(of) => of.merges(within),
            Node::Both(operator, left, right) => {
                let within = within || matches!(operator, Operator::Phrase(_));
                usize::from(within) + left.merges(within).max(right.merges(within))
            }
        }
    }

    pub(super) fn nodes(&self) -> usize {
        match self {
            Node::Operand(_) => 1,
            Node::Not(of) => 1 + of.nodes(),
            Node::Both(_, left, right) => 1 + left.nodes() + right.nodes(),
        }
    }

    /// `around`: how tight the operator is that this stands under.
    fn show(&self, around: u8, right_of_phrase: bool, out: &mut String) {
        match self {
            Node::Operand(operand) => operand.show(out),
            Node::Not(of) => {
                out.push('!');
                of.show(NOT_TIGHTNESS, false, out);
            }
            Node::Both(operator, left, right) => {
                let is_phrase = matches!(operator, Operator::Phrase(_));
                let tightness = operator.tightness();
                let parenthesis = tightness < around || (is_phrase && right_of_phrase);
                if parenthesis {
                    out.push_str("( ");
                }
                left.show(tightness, false, out);
                match operator {
                    Operator::And => out.push_str(" & "),
                    Operator::Or => out.push_str(" | "),
                    Operator::Phrase(1) => out.push_str(" <-> "),
                    Operator::Phrase(distance) => {
                        out.push_str(" <");
                        out.push_str(itoa::Buffer::new().format(*distance));
                        out.push_str("> ");
                    }
                }
                right.show(tightness, is_phrase, out);
                if parenthesis {
                    out.push_str(" )");
                }
            }
        }
    }

    /// `clean_NOT`: without negations; an alternative to what may be anything may be anything.
    fn positive(self) -> Option<Self> {
        match self {
            Node::Operand(_) => Some(self),
            Node::Not(_) => None,
            Node::Both(Operator::Or, left, right) => {
                Some(Node::Both(Operator::Or, Box::new(left.positive()?), Box::new(right.positive()?)))
            }
            Node::Both(operator, left, right) => match (left.positive(), right.positive()) {
                (Some(left), Some(right)) => Some(Node::Both(operator, Box::new(left), Box::new(right))),
                (left, right) => left.or(right),
            },
        }
    }

    /// `QTNodeCompare`, in which most things are the other way around.
    fn key(&self, key: &mut Vec<u8>) {
        match self {
            Node::Operand(operand) => {
                key.push(!1);
                operand.key(key);
            }
            Node::Not(of) => {
                key.extend([!2, !NOT_NUMBER, !1]);
                of.key(key);
            }
            Node::Both(operator, left, right) => {
                key.extend([!2, !operator.number(), !2]);
                right.key(key);
                left.key(key);
                if let Operator::Phrase(distance) = operator {
                    key.extend((!distance).to_be_bytes());
                }
            }
        }
    }
}

impl Operand {
    fn show(&self, out: &mut String) {
        quote(&self.word, out);
        if self.weights == 0 && !self.prefix {
            return;
        }
        out.push(':');
        if self.prefix {
            out.push('*');
        }
        for weight in [Weight::A, Weight::B, Weight::C, Weight::D] {
            if self.weights & weight.bit() != 0 {
                out.push_str(weight.letter());
            }
        }
    }

    fn key(&self, key: &mut Vec<u8>) {
        // a signed number, the greater one first
        key.extend((!(legacy_crc(self.word.as_bytes()) ^ 1 << 31)).to_be_bytes());
        key.extend(self.word.as_bytes());
        key.push(0);
    }
}

/// What was read of a query, and how deep its operators stand.
struct Part {
    node: Node,
    depth: usize,
}

fn too_deep() -> Error {
    too_complex("tsquery operators in each other", DEPTH_MAX)
}

/// Of a text that is read.
#[derive(Clone, Copy)]
struct Limits {
    parentheses: usize,
    waiting: usize,
    word_bytes: usize,
}

/// `makepol`: a query, or what stands between parentheses, of which the first is read.
fn expression(scanner: &mut Scanner<'_>, depth: usize, limits: Limits) -> Result<Part> {
    if depth > limits.parentheses {
        return Err(too_complex("parentheses in each other", limits.parentheses));
    }
    // operators, `None` for NOT, that wait for their last operand
    let (mut waiting, mut operands): (Vec<Option<Operator>>, Vec<Part>) = (vec![], vec![]);
    loop {
        operands.push(match operand(scanner, depth, limits, &mut waiting)? {
            Some(part) => part,
            None => continue,
        });
        scanner.skip_blanks();
        let operator = match scanner.peek() {
            Some('&') => Some(Operator::And),
            Some('|') => Some(Operator::Or),
            Some('<') => None,
            Some(')') if depth > 0 => {
                scanner.skip();
                break;
            }
            None if depth == 0 => break,
            _ => return Err(scanner.wrong()),
        };
        let operator = match operator {
            Some(operator) => {
                scanner.skip();
                operator
            }
            None => Operator::Phrase(distance(scanner)?),
        };
        apply(&mut waiting, &mut operands, operator.tightness())?;
        wait(&mut waiting, limits, Some(operator))?;
    }
    apply(&mut waiting, &mut operands, 0)?;
    operands.pop().ok_or_else(|| scanner.wrong())
}

/// An operand; `None` where a NOT was read, for whose operand it waits.
fn operand(
    scanner: &mut Scanner<'_>,
    depth: usize,
    limits: Limits,
    waiting: &mut Vec<Option<Operator>>,
) -> Result<Option<Part>> {
    scanner.skip_blanks();
    match scanner.peek() {
        Some('!') => {
            scanner.skip();
            wait(waiting, limits, None)?;
            return Ok(None);
        }
        Some('(') => {
            scanner.skip();
            return expression(scanner, depth + 1, limits).map(Some);
        }
        Some(':') => return Err(scanner.wrong()),
        _ => {}
    }
    let Some(token) = scanner.token()? else {
        let text = format!("no operand in tsquery: \"{}\"", scanner.text);
        return Err(Error::new(Kind::Syntax, text));
    };
    let (mut weights, mut prefix) = (0, false);
    if scanner.peek() == Some(':') {
        scanner.skip();
        while let Some(c) = scanner.peek() {
            match (c, Weight::read(c)) {
                ('*', _) => prefix = true,
                (_, Some(weight)) => weights |= weight.bit(),
                (_, None) => break,
            }
            scanner.skip();
        }
    }
    if token.word.len() > limits.word_bytes {
        let text = format!("word is too long in tsquery: \"{}\"", scanner.text);
        return Err(Error::new(Kind::TooLarge, text));
    }
    let node = Node::Operand(Operand { word: token.word, weights, prefix });
    Ok(Some(Part { node, depth: 0 }))
}

fn wait(waiting: &mut Vec<Option<Operator>>, limits: Limits, operator: Option<Operator>) -> Result<()> {
    if waiting.len() == limits.waiting {
        return Err(Error::new(Kind::Internal, "tsquery stack too small"));
    }
    waiting.push(operator);
    Ok(())
}

/// `cleanOpStack`: operators that are as tight as the next one have their operands.
fn apply(waiting: &mut Vec<Option<Operator>>, operands: &mut Vec<Part>, next: u8) -> Result<()> {
    while let Some(operator) = waiting.pop_if(|o| o.map_or(NOT_TIGHTNESS, Operator::tightness) >= next) {
        let Some(last) = operands.pop() else { return Ok(()) };
        let mut depth = last.depth + 1;
        let node = match operator {
            None => Node::Not(Box::new(last.node)),
            Some(operator) => {
                let Some(left) = operands.pop() else { return Ok(()) };
                depth = depth.max(left.depth + 1);
                Node::Both(operator, Box::new(left.node), Box::new(last.node))
            }
        };
        operands.push(Part { node, depth });
        if depth > DEPTH_MAX {
            return Err(too_deep());
        }
    }
    Ok(())
}

/// `<->` or `<n>`, with something behind it.
fn distance(scanner: &mut Scanner<'_>) -> Result<u16> {
    let wrong = scanner.wrong();
    let inner = scanner.rest.strip_prefix('<').unwrap_or_default();
    let (distance, rest) = match inner.strip_prefix('-') {
        Some(rest) => (1, rest),
        None => {
            let rest = inner.trim_start_matches(|c: char| c.is_ascii_digit());
            let digits = inner.get(..inner.len() - rest.len()).unwrap_or_default();
            if digits.is_empty() {
                return Err(wrong);
            }
            let distance = digits.parse().ok().filter(|distance| *distance <= DISTANCE_MAX);
            (distance.ok_or_else(distance_out_of_range)?, rest)
        }
    };
    match rest.strip_prefix('>') {
        Some(rest) if !rest.is_empty() => {
            scanner.rest = rest;
            Ok(distance)
        }
        _ => Err(wrong),
    }
}

pub(super) fn distance_out_of_range() -> Error {
    let text =
        format!("distance in phrase operator must be an integer value between zero and {DISTANCE_MAX} inclusive");
    Error::new(Kind::InvalidParameter, text)
}
