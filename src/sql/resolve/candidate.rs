//! The choice among functions or operators of one name: func_match_argtypes and func_select_candidate of parse_func.c,
//! which chapter 10 of PostgreSQL's documentation tells in words.

use super::{cast, types};
use crate::pgtype::{self, oid};
use crate::sql::image::CastContext;

/// Something that takes arguments of these types.
pub(super) trait Candidate {
    /// As many as the call has, at least.
    fn arguments(&self) -> &[u32];
}

/// What came of a choice.
#[derive(Debug)]
pub(super) enum Choice<T> {
    One(T),
    Several,
    None,
}

/// The best of those that can take the arguments.
pub(super) fn choose<C: Candidate>(given: &[u32], candidates: Vec<C>) -> Choice<C> {
    let fits = |c: &C| cast::can_coerce(given, c.arguments(), CastContext::Implicit);
    let mut fitting: Vec<C> = candidates.into_iter().filter(fits).collect();
    if fitting.is_empty() {
        return Choice::None;
    }
    match select(given, &fitting) {
        Some(best) => Choice::One(fitting.swap_remove(best)),
        None => Choice::Several,
    }
}

/// The place of the best of them; `None` where no rule decides (`func_select_candidate`).
fn select<C: Candidate>(given: &[u32], candidates: &[C]) -> Option<usize> {
    // domains count as what they are made of
    let given: Vec<u32> = given.iter().map(|oid| pgtype::base(*oid)).collect();
    let wants = |c: usize, argument: usize| candidates[c].arguments()[argument];
    let is_known = |argument: usize| given[argument] != oid::UNKNOWN;
    let known: Vec<usize> = (0..given.len()).filter(|i| is_known(*i)).collect();
    let unknown: Vec<usize> = (0..given.len()).filter(|i| !is_known(*i)).collect();
    let all: Vec<usize> = (0..candidates.len()).collect();

    // most arguments that need no conversion
    let exact = |c: usize| known.iter().filter(|i| wants(c, **i) == given[**i]).count();
    let left = most(all, exact);
    if let [one] = left[..] {
        return Some(one);
    }
    // most that need none, or go to the preferred type of their category
    let preferred = |c: usize| {
        let good = |i: usize| wants(c, i) == given[i] || types::is_preferred(types::category(given[i]), wants(c, i));
        known.iter().filter(|i| good(**i)).count()
    };
    let left = most(left, preferred);
    if let [one] = left[..] {
        return Some(one);
    }
    if unknown.is_empty() {
        return None;
    }
    // unknown literals take the category on which the candidates agree, or string; its preferred type if one takes it
    let mut left = left;
    let slots: Option<Vec<Slot>> = unknown.iter().map(|i| slot(left.iter().map(|c| wants(*c, *i)))).collect();
    if let Some(slots) = slots {
        let suits = |c: usize| {
            unknown.iter().zip(&slots).all(|(i, slot)| {
                let wanted = wants(c, *i);
                types::category(wanted) == slot.category
                    && (!slot.has_preferred || types::is_preferred(slot.category, wanted))
            })
        };
        let suiting: Vec<usize> = left.iter().copied().filter(|c| suits(*c)).collect();
        match suiting[..] {
            [] => {}
            [one] => return Some(one),
            _ => left = suiting,
        }
    }
    // if the known arguments are of one type, the unknown ones may be of it too
    let (first, rest) = known.split_first()?;
    if rest.iter().any(|i| given[*i] != given[*first]) {
        return None;
    }
    let alike = vec![given[*first]; given.len()];
    let takes = |c: &usize| cast::can_coerce(&alike, candidates[*c].arguments(), CastContext::Implicit);
    let mut taking = left.into_iter().filter(takes);
    match (taking.next(), taking.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    }
}

/// Those that score highest.
fn most(candidates: Vec<usize>, score: impl Fn(usize) -> usize) -> Vec<usize> {
    let best = candidates.iter().map(|c| score(*c)).max().unwrap_or(0);
    candidates.into_iter().filter(|c| score(*c) == best).collect()
}

struct Slot {
    category: char,
    has_preferred: bool,
}

/// What an unknown argument is taken for; `None` where the candidates want several categories and none a string.
fn slot(wanted: impl Iterator<Item = u32>) -> Option<Slot> {
    let mut slot: Option<Slot> = None;
    let mut conflict = false;
    for type_oid in wanted {
        let category = types::category(type_oid);
        let preferred = types::is_preferred(category, type_oid);
        match &mut slot {
            Some(slot) if slot.category == category => slot.has_preferred |= preferred,
            Some(_) if category != types::STRING => conflict = true,
            _ => slot = Some(Slot { category, has_preferred: preferred }),
        }
    }
    slot.filter(|slot| !conflict || slot.category == types::STRING)
}
