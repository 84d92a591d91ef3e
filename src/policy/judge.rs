//! The second judge: before a policy comes into force Casbin decides the same questions from the same files, and any
//! difference keeps the old policy. It decides nothing for a statement, and takes no longer than it is given: what there is
//! no time for is a seeded sample, with everything that changed lines are about in front.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::baseline;
use super::compile::{BoundObject, Policies};
use super::decide::SessionPolicy;
use super::enforce::{Class, Oracle, matches, request, schema_request, source_request, word};
use super::file::Fault;
use super::file::lines::{ACTIONS, Permit};
use super::file::object::{Segment, Target};
use super::{Action, Config, Decision};
use crate::error::Result;

/// What was asked, and of how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    pub asked: usize,
    /// Every class of subjects × object, column and action.
    pub of: usize,
    pub seed: u64,
    pub took: Duration,
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, of, seed, took } = self;
        write!(f, "{asked} of {of} questions in {} ms, seed {seed}", took.as_millis())
    }
}

/// More differences than these are no news.
const FAULTS_MAX: usize = 20;

/// `old`: whose lines are known. An error names the line, the subject and the object of each difference.
pub fn judge(policies: &Arc<Policies>, old: Option<&Policies>, config: &Config) -> Result<Judgement, Vec<Fault>> {
    let begin = Instant::now();
    let seed = policies.hash();
    let mut judgement = Judgement { asked: 0, of: 0, seed, took: Duration::ZERO };
    if config.judge_ms == 0 {
        return Ok(judgement);
    }
    let unable = |error: crate::error::Error| {
        let text = format!("casbin cannot judge this policy: {error}");
        vec![Fault { file: policies.draft.policy_file.clone(), line: 1, column: 1, text }]
    };
    let court = Court::new(policies).map_err(unable)?;
    // the time is for questions: reading the lines takes what it takes
    let deadline = Instant::now().checked_add(Duration::from_millis(config.judge_ms));
    let all = court.questions();
    judgement.of = all;
    let mut faults = vec![];
    let first = old.map(|old| court.about_changes(old)).unwrap_or_default();
    for question in first.iter().copied().chain(walk(all, seed)) {
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) || faults.len() >= FAULTS_MAX {
            break;
        }
        judgement.asked += 1;
        faults.extend(court.ask(question).map_err(unable)?);
    }
    judgement.asked = judgement.asked.min(all);
    judgement.took = begin.elapsed();
    faults.sort();
    faults.dedup();
    if faults.is_empty() { Ok(judgement) } else { Err(faults) }
}

/// Every number below `count` once, in an order that `seed` decides.
fn walk(count: usize, seed: u64) -> impl Iterator<Item = usize> {
    let size = count.max(1) as u64;
    let gcd = |mut a: u64, mut b: u64| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    // steps of a length that shares no factor with the count come by every number
    let step = (1..).map(|n| (seed >> 16).wrapping_add(n) % size + 1).find(|step| gcd(*step, size) == 1).unwrap_or(1);
    (0..count as u64).map(move |k| ((u128::from(seed) + u128::from(k) * u128::from(step)) % u128::from(size)) as usize)
}

/// One thing that can be asked about a class of subjects.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Matter {
    Admin,
    Schema(usize, Action),
    Source(usize),
    Table(usize, Action),
    Column(usize, usize),
}

struct Court<'a> {
    policies: &'a Arc<Policies>,
    oracle: Oracle<'a>,
    /// Subjects with the same rules, by the index of one of them.
    classes: Vec<(Class, usize)>,
    schemas: Vec<String>,
    /// Those that lines name.
    sources: Vec<String>,
    matters: Vec<Matter>,
}

impl<'a> Court<'a> {
    fn new(policies: &'a Arc<Policies>) -> Result<Self> {
        let oracle = Oracle::new(policies)?;
        let ruled: HashSet<&str> = policies.draft.lines.permits.iter().map(|p| p.subject.text.as_str()).collect();
        let mut classes: BTreeMap<BTreeSet<String>, usize> = BTreeMap::new();
        for (at, subject) in policies.subjects.iter().enumerate() {
            let names = subject.names.iter().filter(|name| ruled.contains(name.as_ref()));
            classes.entry(names.map(ToString::to_string).collect()).or_insert(at);
        }
        let schemas = schemas(policies);
        let sources = policies.sources().into_iter().map(str::to_owned).collect::<Vec<_>>();
        let of_tables = |action: &Action| !matches!(action, Action::Create | Action::Query);
        let actions = || ACTIONS.iter().map(|(_, action)| *action).filter(of_tables);
        let wide = (0..schemas.len()).flat_map(|at| [Action::Create, Action::Drop].map(|a| Matter::Schema(at, a)));
        let objects = policies.objects.iter().enumerate();
        let narrow = objects.flat_map(|(at, object)| {
            let columns = (0..object.schema.fields().len()).map(move |column| Matter::Column(at, column));
            actions().map(move |action| Matter::Table(at, action)).chain(columns)
        });
        let queried = (0..sources.len()).map(Matter::Source);
        let matters = std::iter::once(Matter::Admin).chain(wide).chain(queried).chain(narrow).collect();
        let classes = classes.into_iter().map(|(names, at)| (Rc::new(names), at)).collect();
        Ok(Self { policies, oracle, classes, schemas, sources, matters })
    }

    /// The roles of each subject, then each matter of each class.
    fn questions(&self) -> usize {
        self.policies.subjects.len() + self.classes.len() * self.matters.len()
    }

    fn ask(&self, question: usize) -> Result<Option<Fault>> {
        let subjects = self.policies.subjects.len();
        if let Some(subject) = self.policies.subjects.get(question) {
            return Ok(self.ask_roles(&subject.name, &subject.names));
        }
        let (class, matter) = ((question - subjects) / self.matters.len(), (question - subjects) % self.matters.len());
        let (Some((class, at)), Some(matter)) = (self.classes.get(class), self.matters.get(matter)) else {
            return Ok(None);
        };
        let session = SessionPolicy::new(Arc::clone(self.policies), *at);
        let (ours, theirs) = self.answers(&session, class, *matter)?;
        let differs = match (ours, theirs) {
            (true, false) => true,
            // lakegate hides what Casbin cannot know of: that a line no longer fits its table, a record beside its fields, a
            // column that came after its table was restricted
            (false, true) => !self.is_excused(&session, class, *matter)?,
            (true, true) | (false, false) => false,
        };
        Ok(differs.then(|| self.fault(&session, class, *matter, theirs)))
    }

    /// Which of the names with rules a subject has: all else follows from it.
    fn ask_roles(&self, subject: &str, ours: &[Arc<str>]) -> Option<Fault> {
        let theirs = self.oracle.class(subject);
        let lines = &self.policies.draft.lines;
        let ruled = |name: &str| lines.permits.iter().any(|p| p.subject.text == name);
        let ours: BTreeSet<String> = ours.iter().filter(|n| ruled(n)).map(ToString::to_string).collect();
        let odd = theirs.symmetric_difference(&ours).next()?;
        let line = lines.members.iter().find(|m| m.role.text == *odd).or(lines.members.first());
        let (line, column) = line.map_or((1, 1), |m| (m.role.line, m.role.column));
        let (casbin, lakegate) = if theirs.contains(odd) { ("is", "is not") } else { ("is not", "is") };
        let text =
            format!("casbin and lakegate differ: to casbin `{subject}` {casbin} `{odd}`, to lakegate it {lakegate}");
        Some(Fault { file: self.policies.draft.policy_file.clone(), line, column, text })
    }

    /// (lakegate's, Casbin's)
    fn answers(&self, session: &SessionPolicy, class: &Class, matter: Matter) -> Result<(bool, bool)> {
        let casbin = |object: &str, action| self.oracle.class_allows(class, object, action);
        Ok(match matter {
            Matter::Admin => (session.is_admin(), casbin("lakegate.admin", Action::Select)?),
            Matter::Schema(at, action) => {
                let schema = self.schemas.get(at).map(String::as_str).unwrap_or_default();
                let ours = match action {
                    Action::Create => session.may_create(schema),
                    _ => session.may_drop_schema(schema),
                };
                (ours, casbin(&schema_request(schema), action)?)
            }
            Matter::Source(at) => {
                let source = self.source(at);
                (session.may_query(source), casbin(&source_request(source), Action::Query)?)
            }
            Matter::Table(at, action) => match self.policies.objects.get(at) {
                Some(object) => (allows(session, object, action), casbin(&request(object, None), action)?),
                None => (false, false),
            },
            Matter::Column(at, column) => {
                let Some((object, name)) = self.column(at, column) else { return Ok((false, false)) };
                let Decision::Allow(grant) = session.by_lines(object.id, Action::Select) else {
                    return Ok((false, false)); // the table was asked about
                };
                (!grant.hidden.contains(name), self.oracle.shows(class, object, name)?)
            }
        })
    }

    fn column(&self, at: usize, column: usize) -> Option<(&BoundObject, &str)> {
        let object = self.policies.objects.get(at)?;
        Some((object, object.schema.fields().get(column)?.name()))
    }

    fn source(&self, at: usize) -> &str {
        self.sources.get(at).map_or("", String::as_str)
    }

    fn is_excused(&self, session: &SessionPolicy, class: &Class, matter: Matter) -> Result<bool> {
        let unfit_mask = |object: &BoundObject, column: usize| {
            let gathered = session.gather(object.id).map(|(_, gathered)| gathered).unwrap_or_default();
            let masks = gathered.masks.iter().filter_map(|l| self.policies.bound.masks.get(&(*l, gathered.object)));
            masks.flatten().any(|(c, typed)| *c == column && typed.is_none())
        };
        let came_later = |object: &BoundObject| match session.gather(object.id) {
            Some((_, gathered)) => baseline::unnamed(self.policies, object, &gathered),
            None => BTreeSet::new(),
        };
        match matter {
            Matter::Admin | Matter::Schema(..) | Matter::Source(_) => Ok(false),
            Matter::Column(at, column) => Ok(self.column(at, column).is_some_and(|(object, name)| {
                object.raw_columns.contains(name) || unfit_mask(object, column) || came_later(object).contains(name)
            })),
            Matter::Table(at, action) => {
                let Some(object) = self.policies.objects.get(at) else { return Ok(true) };
                let Some((_, gathered)) = session.gather(object.id) else { return Ok(true) };
                if action != Action::Select {
                    return Ok(false);
                }
                let unfit = |line: &u32| !matches!(self.policies.bound.filters.get(&(*line, at)), Some(Some(_)));
                if !gathered.withheld.is_empty() || gathered.filters.iter().any(unfit) {
                    return Ok(true);
                }
                // a table without a column left is no table
                let later = came_later(object);
                for (column, field) in object.schema.fields().iter().enumerate() {
                    let raw = object.raw_columns.contains(field.name()) || later.contains(field.name());
                    if !raw && !unfit_mask(object, column) && self.oracle.shows(class, object, field.name())? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    }

    fn fault(&self, session: &SessionPolicy, class: &Class, matter: Matter, theirs: bool) -> Fault {
        let subject = session.principal().user();
        let (object, action) = self.spelt(matter);
        let lines = &self.policies.draft.lines.permits;
        let about = |p: &&Permit| {
            let tagged = matches!(p.target, Target::Tag(_));
            class.contains(&p.subject.text) && p.action == action && (tagged || matches(&object, &p.object.text))
        };
        // the line that says what Casbin says; where silence is its reason, any about the same
        let says = |p: &&Permit| p.allow == theirs && about(p);
        let line = lines.iter().find(says).or(lines.iter().find(about));
        let line = line.or(lines.iter().find(|p| class.contains(&p.subject.text)));
        let (line, column) = line.map_or((1, 1), |p| (p.object.line, p.object.column));
        let say = |yes: bool| if yes { "yes" } else { "no" };
        let text = format!(
            "casbin and lakegate differ: may `{subject}` {} `{object}`? casbin says {}, lakegate {}; this is a fault of \
             lakegate, and the old policy stays",
            word(action),
            say(theirs),
            say(!theirs)
        );
        Fault { file: self.policies.draft.policy_file.clone(), line, column, text }
    }

    fn spelt(&self, matter: Matter) -> (String, Action) {
        match matter {
            Matter::Admin => ("lakegate.admin".into(), Action::Select),
            Matter::Schema(at, action) => (schema_request(self.schemas.get(at).map_or("", String::as_str)), action),
            Matter::Source(at) => (source_request(self.source(at)), Action::Query),
            Matter::Table(at, action) => {
                (self.policies.objects.get(at).map(|o| o.name.to_string()).unwrap_or_default(), action)
            }
            Matter::Column(at, column) => {
                let name = self.column(at, column).map(|(o, c)| format!("{}/{}", o.name, crate::types::Identifier(c)));
                (name.unwrap_or_default(), Action::Select)
            }
        }
    }

    /// What lines that came or went since `old` are about.
    fn about_changes(&self, old: &Policies) -> Vec<usize> {
        let mut first = BTreeSet::new();
        for (one, other) in [(self.policies.as_ref(), old), (old, self.policies.as_ref())] {
            let known = other.draft.prints();
            let changed = |line: u32| one.draft.print(line).is_none_or(|print| !known.contains(&print));
            for member in one.draft.lines.members.iter().filter(|m| changed(m.member.line)) {
                let same = |s: &super::compile::Subject| s.name.as_ref() == member.member.text;
                first.extend(self.policies.subjects.iter().position(same));
            }
            for permit in one.draft.lines.permits.iter().filter(|p| changed(p.subject.line)) {
                self.about(permit, &mut first);
            }
            for tag in one.draft.lines.tags.iter().filter(|t| changed(t.object.line)) {
                let of = |m: &Matter| matches!(m, Matter::Table(..) | Matter::Column(..));
                let about = |m: &Matter| of(m) && self.spelt(*m).0.starts_with(&tag.object.text);
                self.extend(&mut first, |_| true, about);
            }
        }
        first.into_iter().collect()
    }

    fn about(&self, permit: &Permit, first: &mut BTreeSet<usize>) {
        let tag = matches!(permit.target, Target::Tag(_));
        let about = |m: &Matter| {
            let (object, action) = self.spelt(*m);
            action == permit.action && (tag || matches(&object, &permit.object.text))
        };
        self.extend(first, |class| class.contains(&permit.subject.text), about);
    }

    fn extend(&self, first: &mut BTreeSet<usize>, of: impl Fn(&Class) -> bool, about: impl Fn(&Matter) -> bool) {
        let matters: Vec<usize> = self.matters.iter().enumerate().filter(|(_, m)| about(m)).map(|(at, _)| at).collect();
        for (at, _) in self.classes.iter().enumerate().filter(|(_, (class, _))| of(class)) {
            let base = self.policies.subjects.len() + at * self.matters.len();
            first.extend(matters.iter().map(|matter| base + matter));
        }
    }
}

fn allows(session: &SessionPolicy, object: &BoundObject, action: Action) -> bool {
    matches!(session.by_lines(object.id, action), Decision::Allow(_))
}

/// Those of the objects, and those that lines name.
fn schemas(policies: &Policies) -> Vec<String> {
    let named = policies.draft.lines.permits.iter().filter_map(|p| match &p.target {
        Target::Tables(pattern) => match &pattern.schema {
            Segment::Exact(schema) => Some(schema.clone()),
            Segment::Any => None,
        },
        Target::Tag(_) | Target::Source(_) | Target::Admin => None,
    });
    let all: BTreeSet<String> = policies.objects.iter().map(|o| o.name.schema.clone()).chain(named).collect();
    all.into_iter().collect()
}

#[cfg(test)]
mod tests;
