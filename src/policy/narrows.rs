//! Does a policy only take away? What does may come into force although something else is at fault, for no state of the
//! world makes a right that was withdrawn worth keeping. It compares; it changes nothing.
//!
//! For every user, role and object the lines of both policies are gathered and compared part by part: each allowance of
//! the new one was there before, and each restriction of the old one (a deny, a conjunct of a filter, a mask) is still
//! there. Restrictions of a principal are asked of every object it can reach, directly or through a dataset. The rights in
//! a statement are made of such parts alone, allowances of one and restrictions of all (`decide`), so that they cannot
//! have grown for anybody; a mask that is added wins only where it is stricter. An answer of no may be wrong, one of yes
//! is not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, lit};

use super::compile::{BoundObject, Policies, Subject};
use super::decide::{Gathered, SessionPolicy, allowed};
use super::file::lines::{ACTIONS, Permit};
use super::file::object::{Segment, Target};
use super::language::Mask;
use super::{Action, baseline};
use crate::types::ObjectId;

/// Dataset → every object that its body reads, at any depth.
pub type Reads = BTreeMap<ObjectId, BTreeSet<ObjectId>>;

/// A right on a whole schema.
type Right = &'static dyn Fn(&SessionPolicy, &str) -> bool;

/// `new` gives nobody anything that `old` does not. Both are bound to the same objects.
pub fn narrows(new: &Arc<Policies>, old: &Arc<Policies>, reads: &Reads) -> bool {
    let same_objects = new.objects.len() == old.objects.len()
        && new.objects.iter().zip(&old.objects).all(|(n, o)| n.id == o.id && n.schema == o.schema);
    let schemas = schemas(new, old);
    let mut judged = BTreeSet::new();
    same_objects
        && new.subjects.iter().enumerate().all(|(at, subject)| {
            if subject.user && !old.subjects.iter().any(|s| s.user && s.name == subject.name) {
                return false; // a login is more than there was
            }
            let pair = Pair { new: SessionPolicy::new(Arc::clone(new), at), old: old.owner(&subject.name), reads };
            // users of one class have the same lines and attributes
            !judged.insert(pair.class()) || pair.narrows(&schemas)
        })
}

/// Every schema that lines can mean, and one that none names.
fn schemas(new: &Policies, old: &Policies) -> BTreeSet<String> {
    let permits = new.draft.lines.permits.iter().chain(&old.draft.lines.permits);
    let named = permits.filter_map(|p| match &p.target {
        Target::Tables(pattern) => match &pattern.schema {
            Segment::Exact(schema) => Some(schema.clone()),
            Segment::Any => None,
        },
        Target::Tag(_) | Target::Source(_) | Target::Admin => None,
    });
    named.chain(["\u{0}any other".to_string()]).collect()
}

/// One principal under both policies; without the old one it had nothing.
struct Pair<'a> {
    new: SessionPolicy,
    old: Option<SessionPolicy>,
    reads: &'a Reads,
}

/// What is said to one principal about one object.
struct Said {
    allowed: BTreeSet<Action>,
    denied: bool,
    withheld: bool,
    /// `None`: no row at all.
    filter: Option<BTreeSet<String>>,
    denied_columns: BTreeSet<usize>,
    raw_columns: BTreeSet<usize>,
    /// Columns that came later and that no line names: one that does shows them.
    unnamed: BTreeSet<String>,
    /// Column → rank, the mask bound to the principal's attributes, and whether it looks at its own column alone.
    masks: BTreeSet<(usize, u8, String, bool)>,
}

impl Pair<'_> {
    fn class(&self) -> String {
        let of = |session: &SessionPolicy| {
            let subjects = &session.policies().subjects;
            let Some(subject) = subjects.get(session.index()) else { return String::new() };
            let bears = |s: &&Subject| {
                let wide = [&s.creates, &s.drops, &s.admins, &s.queries];
                !(s.rules.is_empty() && wide.into_iter().all(Vec::is_empty))
            };
            let reached = subject.closure.iter().filter_map(|i| subjects.get(*i)).filter(bears);
            let names: Vec<&str> = reached.map(|s| s.name.as_ref()).collect();
            format!("{names:?} {:?}", subject.values)
        };
        format!("{} {}", of(&self.new), self.old.as_ref().map(of).unwrap_or_default())
    }

    fn narrows(&self, schemas: &BTreeSet<String>) -> bool {
        let before = |right: &dyn Fn(&SessionPolicy) -> bool| self.old.as_ref().is_some_and(right);
        let wide: [Right; 3] = [
            &|session, schema| session.may_create(schema),
            &|session, schema| session.may_drop_schema(schema),
            &|session, schema| session.may_know(schema),
        ];
        let keeps =
            |schema: &String| wide.iter().all(|right| !right(&self.new, schema) || before(&|old| right(old, schema)));
        if !schemas.iter().all(keeps) || (self.new.is_admin() && !before(&SessionPolicy::is_admin)) {
            return false;
        }
        let gained = |source: &str| self.new.may_query(source) && !before(&|old| old.may_query(source));
        if self.new.policies().sources().into_iter().any(gained) {
            return false;
        }
        let objects = &self.new.policies().objects;
        let now: Vec<Option<Said>> = objects.iter().map(|o| said(&self.new, o.id)).collect();
        let reachable: BTreeSet<ObjectId> = objects
            .iter()
            .zip(&now)
            .filter(|(_, said)| said.as_ref().is_some_and(|s| s.allowed.contains(&Action::Select)))
            .flat_map(|(o, _)| self.reads.get(&o.id).into_iter().flatten().copied().chain([o.id]))
            .collect();
        objects.iter().zip(&now).all(|(object, new)| {
            // an object under two names is nobody's
            let Some(new) = new else { return true };
            let old = self.old.as_ref().and_then(|old| said(old, object.id));
            let Some(old) = old else { return new.allowed.is_empty() && !reachable.contains(&object.id) };
            new.allowed.is_subset(&old.allowed) && (!reachable.contains(&object.id) || new.is_stricter(&old))
        })
    }
}

fn said(session: &SessionPolicy, object: ObjectId) -> Option<Said> {
    let (bound, gathered) = session.gather(object)?;
    let policies = session.policies();
    let permits = |action| gathered.permits(policies, action).collect::<Vec<&Permit>>();
    let allowed = ACTIONS.iter().map(|(_, action)| *action).filter(|a| allowed(permits(*a).into_iter())).collect();
    let select = |line: &u32| policies.draft.lines.permits.get(*line as usize).filter(|p| p.action == Action::Select);
    let about = |allow: bool| {
        let lines = gathered.columns.iter().filter(|(_, line)| select(line).is_some_and(|p| p.allow == allow));
        lines.map(|(column, _)| *column).collect::<BTreeSet<usize>>()
    };
    Some(Said {
        allowed,
        denied: permits(Action::Select).iter().any(|p| !p.allow),
        withheld: !gathered.withheld.is_empty(),
        filter: filter(session, &gathered),
        denied_columns: about(false),
        raw_columns: about(true).into_iter().filter(|c| is_raw(bound, *c)).collect(),
        unnamed: baseline::unnamed(policies, bound, &gathered),
        masks: masks(session, bound, &gathered),
    })
}

fn is_raw(object: &BoundObject, column: usize) -> bool {
    object.schema.fields().get(column).is_some_and(|f| object.raw_columns.contains(f.name()))
}

fn filter(session: &SessionPolicy, gathered: &Gathered) -> Option<BTreeSet<String>> {
    let mut conjuncts = BTreeSet::new();
    for line in &gathered.filters {
        let typed = session.policies().bound.filters.get(&(*line, gathered.object))?.as_ref()?;
        let condition = typed.with(session.values())?;
        for conjunct in split_conjunction(&condition) {
            if *conjunct == lit(false) {
                return None;
            }
            if *conjunct != lit(true) {
                conjuncts.insert(conjunct.to_string());
            }
        }
    }
    Some(conjuncts)
}

fn masks(session: &SessionPolicy, object: &BoundObject, gathered: &Gathered) -> BTreeSet<(usize, u8, String, bool)> {
    let policies = session.policies();
    let mut found = BTreeSet::new();
    for line in &gathered.masks {
        let Some(mask) = policies.draft.lines.masks.get(*line as usize).map(|l| &l.mask) else { continue };
        if *mask == Mask::Unmasked {
            continue; // it yields to every other
        }
        for (column, typed) in policies.bound.masks.get(&(*line, gathered.object)).into_iter().flatten() {
            let name = object.schema.fields().get(*column).map(|f| f.name().as_str()).unwrap_or_default();
            let shown = typed.as_ref().map(|t| t.with(session.values()));
            let own = |e: &Expr| e.column_refs().iter().all(|c| c.name == name);
            let (text, own) = match &shown {
                Some(Some(shown)) => (shown.to_string(), own(shown)),
                Some(None) => ("nothing".to_string(), true),
                None => ("withheld".to_string(), true),
            };
            found.insert((*column, mask.rank(), text, own));
        }
    }
    found
}

impl Said {
    fn is_stricter(&self, old: &Self) -> bool {
        let filter = match (&self.filter, &old.filter) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(new), Some(old)) => new.is_superset(old),
        };
        filter
            && (self.denied || !old.denied)
            && (self.withheld || !old.withheld)
            && self.denied_columns.is_superset(&old.denied_columns)
            && self.raw_columns.is_subset(&old.raw_columns)
            && self.unnamed.is_superset(&old.unnamed)
            && self.masks.is_superset(&old.masks)
            // a new mask that looks at other columns could show what they hide
            && self.masks.difference(&old.masks).all(|(_, _, _, own)| *own)
    }
}

#[cfg(test)]
mod tests;
