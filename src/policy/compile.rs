//! Draft → Policies: roles closed, row filters parsed and typed once against raw schemas, masks typed. Immutable; it
//! answers no question about rights itself, `decide` does.

mod bind;
mod conflicts;
mod roles;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, RwLock};

use super::baseline::{self, Baselines};
use super::decide::SessionPolicy;
use super::file::object::{Segment, Target};
use super::file::{Draft, Fault, Faults};
use super::language::{Typed, Values};
use super::{Action, Decision, Line, Object, Principal};
use crate::secret::Secret;
use crate::types::ObjectId;

pub(in crate::policy) use bind::BoundObject;

/// One generation of policy, swapped whole.
pub struct Policies {
    generation: u64,
    pub(in crate::policy) draft: Draft,
    pub(in crate::policy) subjects: Vec<Subject>,
    by_name: HashMap<Arc<str>, usize>,
    pub(in crate::policy) objects: Vec<BoundObject>,
    pub(in crate::policy) by_id: HashMap<ObjectId, usize>,
    pub(in crate::policy) bound: Bound,
    /// The file's name as lines are reported by, shared.
    file: Arc<str>,
}

/// Everybody's rights are no text for a log.
impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policies").field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// What the rules are bound to.
#[derive(Debug, Default)]
pub struct Objects {
    pub objects: Vec<Object>,
    /// Schemas whose source has not answered yet: lines about them are unbound, which is no fault.
    pub unanswered: BTreeSet<String>,
    /// Tables that pipelines will make, schema and name, where `*` stands for any letters: lines about them may come first.
    pub awaited: Vec<(String, String)>,
    /// Every schema that exists, answered or not.
    pub schemas: BTreeSet<String>,
    /// Every source that runs texts as they stand.
    pub sources: BTreeSet<String>,
    /// The lines in force ([`Draft::prints`]): for them unknown names are warnings, not faults, for then it is the world
    /// that changed. Only a line that is new can be a typing mistake.
    pub in_force: HashSet<u64>,
    /// What restricted tables had when they became restricted.
    pub baselines: Baselines,
}

impl Objects {
    fn awaits(&self, schema: &str, table: &str) -> bool {
        self.awaited.iter().any(|(of, name)| of == schema && fits(name, table))
    }
}

/// Whether a text is a pattern's, in which `*` stands for any letters.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text
            .strip_prefix(start)
            .is_some_and(|left| (0..=left.len()).filter_map(|at| left.get(at..)).any(|left| fits(rest, left))),
    }
}

/// A user or a role, with its own lines; those of its roles are reached through the closure.
#[derive(Debug)]
pub(in crate::policy) struct Subject {
    pub name: Arc<str>,
    /// Stands in users.toml.
    pub user: bool,
    /// Itself and every role it has, by index.
    pub closure: Vec<usize>,
    /// The same, as sorted names.
    pub names: Vec<Arc<str>>,
    pub values: Values,
    pub rules: HashMap<Key, Vec<RuleRef>>,
    /// `p` lines about `create`, about `drop` of whole schemas, about `lakegate.admin`, and about sources.
    pub creates: Vec<u32>,
    pub drops: Vec<u32>,
    pub admins: Vec<u32>,
    pub queries: Vec<u32>,
    pub memo: Memo,
}

/// Decisions already taken; the owner's index where the question was asked through a dataset.
pub(in crate::policy) type Memo = RwLock<HashMap<(ObjectId, Action, Beside), Decision>>;

/// Whose lines count beside the subject's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::policy) enum Beside {
    Nobody,
    /// Of the dataset through which it reads.
    Owner(usize),
    /// In whose place it asks.
    Other(usize),
}

/// By what a line finds its objects. Names are numbers; `*` is [`ANY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::policy) enum Key {
    Table(u32, u32),
    Tag(u32),
}

pub(in crate::policy) const ANY: u32 = u32::MAX;

/// A line of policy.csv by its place in the draft's list of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::policy) enum RuleRef {
    Permit(u32),
    Filter(u32),
    Mask(u32),
}

/// Lines typed over the objects they are about.
#[derive(Debug, Default)]
pub(in crate::policy) struct Bound {
    /// (line, object) → its condition; `None`: it does not fit the table, which is therefore withheld.
    pub filters: HashMap<(u32, usize), Option<Typed>>,
    /// (line, object) → (column, its mask); `None`: the mask does not fit, and the column is withheld.
    pub masks: HashMap<(u32, usize), MaskedColumns>,
    /// Lines that hide a column which this object no longer has: it may live on under another name.
    pub withheld: HashSet<(RuleRef, usize)>,
    /// Objects that a line restricts for somebody by a filter, a mask or a column it denies; where the first of them
    /// stands.
    pub restricted: BTreeMap<usize, (u32, u32)>,
}

/// Columns by their place in the schema.
pub(in crate::policy) type MaskedColumns = Vec<(usize, Option<Typed>)>;

impl Policies {
    /// Binds `draft`. All faults are reported, not only the first. `key` is the deployment's key for `hash` masks.
    pub fn compile(
        draft: &Draft,
        objects: &Objects,
        key: &Secret<Vec<u8>>,
        generation: u64,
    ) -> Result<(Self, Vec<Fault>), Vec<Fault>> {
        let mut report = Report { faults: Faults::default(), warnings: Faults::default() };
        let mut subjects = roles::close(draft, &mut report);
        let known = &objects.in_force;
        let mut binder = bind::Binder::new(draft, objects, key, &mut report);
        binder.bind();
        let bind::Binding { objects, bound, keys } = binder.finish();
        let by_name: HashMap<Arc<str>, usize> =
            subjects.iter().enumerate().map(|(i, s)| (Arc::clone(&s.name), i)).collect();
        file_rules(draft, &keys, &by_name, &mut subjects);
        roles::judge(draft, &subjects, &by_name, &mut report);
        conflicts::masks(draft, known, &subjects, &objects, &bound, &mut report);

        if !report.faults.is_empty() {
            return Err(report.faults.sorted());
        }
        let by_id = conflicts::by_id(&objects, &draft.policy_file, &mut report);
        let draft = draft.clone();
        let file = Arc::from(super::file::POLICY_FILE);
        let policies = Self { generation, draft, subjects, by_name, objects, by_id, bound, file };
        baseline::warn(&policies, &mut report);
        Ok((policies, report.warnings.sorted()))
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether it was bound to this object.
    pub fn knows(&self, object: ObjectId) -> bool {
        self.by_id.contains_key(&object)
    }

    /// Of the three files' content.
    pub fn hash(&self) -> u64 {
        self.draft.hash()
    }

    /// The SCRAM verifier text of `users.toml`, as Postgres stores it.
    pub fn verifier(&self, user: &str) -> Option<&str> {
        self.draft.users.users.get(user).map(|u| u.verifier.reveal().as_str())
    }

    /// For somebody who has proven to be `user`. The engine's `login` is the one caller.
    pub fn principal(&self, user: &str) -> Option<Principal> {
        let subject = self.subjects.get(*self.by_name.get(user)?)?;
        subject.user.then(|| Principal { user: Arc::clone(&subject.name), acts_for: None })
    }

    /// `None` when the user was removed since, or may no longer act for whom it acts.
    pub fn session(self: &Arc<Self>, principal: &Principal) -> Option<SessionPolicy> {
        let subject = *self.by_name.get(principal.user())?;
        let known = self.subjects.get(subject).is_some_and(|s| s.user);
        let session = known.then(|| SessionPolicy::new(Arc::clone(self), subject))?;
        match principal.acts_for() {
            None => Some(session),
            Some(other) if session.may_act_for(other) => session.acting_for(*self.by_name.get(other)?),
            Some(_) => None,
        }
    }

    /// The rights a dataset is planned with. `None`: no such user or role.
    pub fn owner(self: &Arc<Self>, owner: &str) -> Option<SessionPolicy> {
        let subject = *self.by_name.get(owner)?;
        Some(SessionPolicy::new(Arc::clone(self), subject))
    }

    /// Every user of `users.toml`, for the matrix and `pg_roles`.
    pub fn users(&self) -> Vec<&str> {
        self.draft.users.users.keys().map(String::as_str).collect()
    }

    /// The sources that `p` lines are about.
    pub(in crate::policy) fn sources(&self) -> BTreeSet<&str> {
        self.draft.lines.permits.iter().filter_map(|p| p.target.source()).map(String::as_str).collect()
    }

    pub(in crate::policy) fn object(&self, id: ObjectId) -> Option<(usize, &BoundObject)> {
        let at = *self.by_id.get(&id)?;
        Some((at, self.objects.get(at)?))
    }

    pub(in crate::policy) fn line(&self, line: u32) -> Line {
        Line { file: Arc::clone(&self.file), line }
    }
}

/// What can be said of a draft without the tables it is about: rings and chains of roles, subjects that nobody is.
/// Warnings, or the faults.
pub fn judge_unbound(draft: &Draft) -> Result<Vec<Fault>, Vec<Fault>> {
    let mut report = Report { faults: Faults::default(), warnings: Faults::default() };
    let subjects = roles::close(draft, &mut report);
    let by_name = subjects.iter().enumerate().map(|(i, s)| (Arc::clone(&s.name), i)).collect();
    roles::judge(draft, &subjects, &by_name, &mut report);
    match report.faults.is_empty() {
        true => Ok(report.warnings.sorted()),
        false => Err(report.faults.sorted()),
    }
}

/// `schema.*`, `*`.
fn is_whole_schema(target: &Target) -> bool {
    matches!(target, Target::Tables(pattern) if pattern.table == Segment::Any && pattern.column.is_none())
}

/// What is wrong, and what is odd.
pub(in crate::policy) struct Report {
    pub faults: Faults,
    pub warnings: Faults,
}

/// Puts every line where `decide` looks for it. `keys` has one entry for each line that can match anything.
fn file_rules(draft: &Draft, keys: &[(RuleRef, Key)], by_name: &HashMap<Arc<str>, usize>, subjects: &mut [Subject]) {
    let lines = &draft.lines;
    let mut add = |name: &str, put: &mut dyn FnMut(&mut Subject)| {
        if let Some(subject) = by_name.get(name).and_then(|i| subjects.get_mut(*i)) {
            put(subject);
        }
    };
    for (rule, key) in keys {
        let name = match rule {
            RuleRef::Permit(i) => lines.permits.get(*i as usize).map(|l| &l.subject.text),
            RuleRef::Filter(i) => lines.filters.get(*i as usize).map(|l| &l.subject.text),
            RuleRef::Mask(i) => lines.masks.get(*i as usize).map(|l| &l.subject.text),
        };
        if let Some(name) = name {
            add(name, &mut |s| s.rules.entry(*key).or_default().push(*rule));
        }
    }
    for (i, permit) in (0u32..).zip(&lines.permits) {
        if permit.target == Target::Admin {
            add(&permit.subject.text, &mut |s| s.admins.push(i));
        } else if permit.action == Action::Query {
            add(&permit.subject.text, &mut |s| s.queries.push(i));
        } else if permit.action == Action::Create {
            add(&permit.subject.text, &mut |s| s.creates.push(i));
        } else if permit.action == Action::Drop && is_whole_schema(&permit.target) {
            add(&permit.subject.text, &mut |s| s.drops.push(i));
        }
    }
}
