//! A pattern for the `regex` crate. It prefers the first alternative where PostgreSQL prefers the longest match, so its
//! answer to "is there a match" and "where does the first begin" always counts, and the whole of it only where each text
//! can be read in one way: after each character, the next one decides where in the pattern it stands (Brüggemann-Klein and
//! Wood, *One-Unambiguous Regular Languages*, 1998).

use std::collections::HashSet;
use std::fmt::Write;

use super::parse::Parsed;
use super::tree::{LAST, MIXED, Place, REFERS_BACK, Re, SHORTER};
use crate::sql::functions::text::ctype::Ranges;

/// `None` where the crate has no words for it.
pub(super) fn regex(parsed: &Parsed, ascii: bool) -> Option<regex::Regex> {
    if parsed.tree.flags & REFERS_BACK != 0 {
        return None;
    }
    let mut out = String::new();
    print(&parsed.tree.re, ascii, &mut out)?;
    regex::RegexBuilder::new(&out).nest_limit(2500).build().ok()
}

fn print(re: &Re, ascii: bool, out: &mut String) -> Option<()> {
    match re {
        Re::Empty => {}
        Re::Set(ranges) => print_set(ranges, ascii, out)?,
        Re::At(place) => out.push_str(match place {
            Place::Start => "\\A",
            Place::End => "\\z",
            Place::LineStart => "(?m:^)",
            Place::LineEnd => "(?m:$)",
            // words of other letters are PostgreSQL's own
            Place::WordStart | Place::WordEnd | Place::WordEdge | Place::NoWordEdge if !ascii => return None,
            Place::WordStart => "(?-u:\\b{start})",
            Place::WordEnd => "(?-u:\\b{end})",
            Place::WordEdge => "(?-u:\\b)",
            Place::NoWordEdge => "\\B",
        }),
        Re::Look { .. } => return None,
        Re::Concat(all) => {
            for re in all {
                print(re, ascii, out)?;
            }
        }
        Re::Alt(all) => {
            out.push_str("(?:");
            for (i, re) in all.iter().enumerate() {
                if i > 0 {
                    out.push('|');
                }
                print(re, ascii, out)?;
            }
            out.push(')');
        }
        Re::Repeat { re, min, max } => {
            out.push_str("(?:");
            print(re, ascii, out)?;
            match (min, max) {
                (0, None) => out.push_str(")*"),
                (1, None) => out.push_str(")+"),
                (0, Some(1)) => out.push_str(")?"),
                (min, None) => write!(out, "){{{min},}}").ok()?,
                (min, Some(max)) => write!(out, "){{{min},{max}}}").ok()?,
            }
        }
        Re::Group(re) => {
            out.push('(');
            print(re, ascii, out)?;
            out.push(')');
        }
    }
    Some(())
}

fn print_set(ranges: &Ranges, ascii: bool, out: &mut String) -> Option<()> {
    let last = if ascii { 127 } else { LAST };
    out.push('[');
    let start = out.len();
    for &(from, to) in ranges {
        // surrogates are no characters
        for (from, to) in [(from, to.min(0xd7ff)), (from.max(0xe000), to)] {
            let to = to.min(last);
            if from <= to {
                write!(out, "\\x{{{from:x}}}-\\x{{{to:x}}}").ok()?;
            }
        }
    }
    if out.len() == start {
        out.push_str("^\\x{0}-\\x{10ffff}");
    }
    out.push(']');
    Some(())
}

/// Whether both engines find the same match and the same groups in every text.
pub(super) fn agrees(parsed: &Parsed) -> bool {
    if parsed.tree.flags & (SHORTER | MIXED | REFERS_BACK) != 0 {
        return false;
    }
    let mut walk = Walk { sets: vec![], follow: HashSet::new() };
    let Some(whole) = walk.part(&parsed.tree.re, false) else { return false };
    let mut after: Vec<Vec<usize>> = vec![vec![]; walk.sets.len()];
    for &(from, to) in &walk.follow {
        if let Some(after) = after.get_mut(from) {
            after.push(to);
        }
    }
    after.push(whole.first);
    after.iter().all(|next| walk.apart(next))
}

/// Places of single characters in the pattern.
struct Walk<'a> {
    sets: Vec<&'a Ranges>,
    /// Which may stand behind which.
    follow: HashSet<(usize, usize)>,
}

struct Part {
    nullable: bool,
    first: Vec<usize>,
    last: Vec<usize>,
}

const PLACES_MAX: usize = 64;

impl<'a> Walk<'a> {
    /// `None`: not surely read in one way. A turn of a loop must set each group in it.
    fn part(&mut self, re: &'a Re, in_loop: bool) -> Option<Part> {
        Some(match re {
            Re::Empty | Re::At(_) => Part { nullable: true, first: vec![], last: vec![] },
            Re::Look { .. } => return None,
            Re::Set(ranges) => {
                let place = self.sets.len();
                if place >= PLACES_MAX {
                    return None;
                }
                self.sets.push(ranges);
                Part { nullable: false, first: vec![place], last: vec![place] }
            }
            Re::Concat(all) => {
                let mut whole = Part { nullable: true, first: vec![], last: vec![] };
                for re in all {
                    let part = self.part(re, in_loop)?;
                    self.join(&whole.last, &part.first)?;
                    if whole.nullable {
                        whole.first.extend(&part.first);
                    }
                    match part.nullable {
                        true => whole.last.extend(&part.last),
                        false => whole.last = part.last,
                    }
                    whole.nullable &= part.nullable;
                }
                whole
            }
            Re::Alt(all) => {
                if in_loop && has_group(re) {
                    return None;
                }
                let mut whole = Part { nullable: false, first: vec![], last: vec![] };
                for re in all {
                    let part = self.part(re, in_loop)?;
                    // an empty alternative in front would be taken first
                    if part.nullable {
                        return None;
                    }
                    whole.first.extend(part.first);
                    whole.last.extend(part.last);
                }
                whole
            }
            Re::Repeat { re: inner, min, max } => {
                if in_loop && has_group(inner) {
                    return None;
                }
                let turns = *max != Some(1);
                let part = self.part(inner, in_loop || turns)?;
                if part.nullable {
                    return None;
                }
                if turns {
                    self.join(&part.last, &part.first)?;
                }
                Part { nullable: *min == 0, ..part }
            }
            Re::Group(re) => self.part(re, in_loop)?,
        })
    }

    /// `None` where one follows the other in two ways.
    fn join(&mut self, before: &[usize], behind: &[usize]) -> Option<()> {
        let pairs = before.iter().flat_map(|a| behind.iter().map(|b| (*a, *b)));
        for pair in pairs {
            if !self.follow.insert(pair) {
                return None;
            }
        }
        Some(())
    }

    /// No character fits two of these.
    fn apart(&self, places: &[usize]) -> bool {
        let mut ranges: Ranges = vec![];
        for place in places {
            ranges.extend(self.sets.get(*place).copied().into_iter().flatten());
        }
        ranges.sort_unstable();
        ranges.windows(2).all(|pair| pair[0].1 < pair[1].0)
    }
}

fn has_group(re: &Re) -> bool {
    match re {
        Re::Empty | Re::Set(_) | Re::At(_) | Re::Look { .. } => false,
        Re::Concat(all) | Re::Alt(all) => all.iter().any(|re| has_group(re)),
        Re::Repeat { re, .. } => has_group(re),
        Re::Group(..) => true,
    }
}
