//! (principal, object, action) → Grant | Deny. Pure, memoised per principal and generation.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, lit};

use super::baseline;
use super::compile::{ANY, Beside, BoundObject, Key, Policies, RuleRef, Subject};
use super::file::lines::Permit;
use super::file::object::{Segment, Target};
use super::language::{Mask, Typed, Values};
use super::{Action, Decision, Grant, Line, Principal};
use crate::types::ObjectId;

/// One principal under one generation of policy: role closure and attributes bound once.
#[derive(Clone, Debug)]
pub struct SessionPolicy {
    policies: Arc<Policies>,
    subject: usize,
    principal: Principal,
    /// In whose place it asks: what both may is what it may.
    other: Option<usize>,
    /// Of the server itself: the tables that it reads. It has no subject, so that no line is about it.
    own: Option<Arc<BTreeSet<ObjectId>>>,
}

impl SessionPolicy {
    pub(in crate::policy) fn new(policies: Arc<Policies>, subject: usize) -> Self {
        let user = policies.subjects.get(subject).map(|s| Arc::clone(&s.name)).unwrap_or_default();
        Self { policies, subject, principal: Principal { user, acts_for: None }, other: None, own: None }
    }

    /// The same in the place of that subject.
    pub(in crate::policy) fn acting_for(self, other: usize) -> Option<Self> {
        let name = self.policies.subjects.get(other).map(|s| Arc::clone(&s.name))?;
        let principal = Principal { user: Arc::clone(&self.principal.user), acts_for: Some(name) };
        Some(Self { principal, other: Some(other), ..self })
    }

    /// Users that it is told it may act for, and its own roles: as one of them it may less, never more.
    pub(in crate::policy) fn may_act_for(&self, other: &str) -> bool {
        self.identities().any(|name| name == other)
    }

    /// Every name that it may ask under besides its own.
    pub fn identities(&self) -> impl Iterator<Item = &str> {
        let all = &self.policies.draft.users.users;
        let users = all.get(self.principal.user()).into_iter().flat_map(|user| &user.may_act_for);
        let users = users.map(String::as_str).filter(|name| all.contains_key(*name));
        let roles = self.subject().map(|s| s.names.as_slice()).unwrap_or_default();
        let roles = roles.iter().map(AsRef::as_ref).filter(|name| *name != self.principal.user());
        users.chain(roles)
    }

    /// That subject by itself.
    fn other(&self) -> Option<Self> {
        self.other.map(|subject| Self::new(Arc::clone(&self.policies), subject))
    }

    /// What is `owner`'s is the session's own. Who acts for another owns nothing: not what its login does, nor what the
    /// other.
    pub fn is_owner(&self, owner: &str) -> bool {
        self.other.is_none() && self.principal.user() == owner
    }

    /// How far answers may be behind where the session says nothing: what users.toml says of the user, else the least that
    /// it says of its roles. In another's place it is the least of both, where it says something of both.
    pub fn max_staleness_ms(&self) -> Option<i64> {
        let own = self.own_staleness_ms();
        match self.other() {
            None => own,
            Some(other) => own.zip(other.own_staleness_ms()).map(|(own, other)| own.min(other)),
        }
    }

    fn own_staleness_ms(&self) -> Option<i64> {
        let (subject, draft) = (self.subject()?, &self.policies.draft.users);
        let of_roles = || {
            let roles = subject.names.iter().filter_map(|name| draft.roles.get(name.as_ref()));
            roles.filter_map(|role| role.max_staleness_ms).min()
        };
        draft.users.get(subject.name.as_ref()).and_then(|user| user.max_staleness_ms).or_else(of_roles)
    }

    /// Whom `current_user` names.
    pub fn current_user(&self) -> &str {
        self.principal.acts_for().unwrap_or(self.principal.user())
    }

    /// See [`super::own`].
    pub(in crate::policy) fn of_server(policies: Arc<Policies>, user: &str, tables: BTreeSet<ObjectId>) -> Self {
        let principal = Principal { user: user.into(), acts_for: None };
        Self { policies, subject: usize::MAX, principal, other: None, own: Some(Arc::new(tables)) }
    }

    pub(in crate::policy) fn policies(&self) -> &Arc<Policies> {
        &self.policies
    }

    /// Of its subject.
    pub(in crate::policy) fn index(&self) -> usize {
        self.subject
    }

    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    pub fn generation(&self) -> u64 {
        self.policies.generation()
    }

    /// The user, or whoever it acts for, and every role reached from there, sorted.
    pub fn closure(&self) -> &[Arc<str>] {
        let subject = self.policies.subjects.get(self.other.unwrap_or(self.subject));
        subject.map(|s| s.names.as_slice()).unwrap_or_default()
    }

    pub fn decide(&self, object: ObjectId, action: Action) -> Decision {
        if let Some(tables) = &self.own {
            return match action == Action::Select && tables.contains(&object) {
                true => Decision::Allow(Arc::new(Grant::full())),
                false => Decision::Deny,
            };
        }
        let beside = self.other.map_or(Beside::Nobody, Beside::Other);
        self.remember((object, action, beside), || self.decide_afresh(object, action))
    }

    /// A base table inside a dataset: the owner's grant, and whatever lines name the caller on top. Filters of both by
    /// AND, the strictest mask of both, denied columns of the caller added to `hidden` and `denied`. `Deny` where the
    /// owner has no right or a line denies the caller. `via`: others whose lines count as the caller's do.
    pub fn through(&self, owner: &SessionPolicy, via: &[SessionPolicy], object: ObjectId) -> Decision {
        // the index of an owner of another generation means nothing here
        if !via.is_empty() || self.other.is_some() || !Arc::ptr_eq(&self.policies, &owner.policies) {
            return self.through_afresh(owner, via, object);
        }
        let key = (object, Action::Select, Beside::Owner(owner.subject));
        self.remember(key, || self.through_afresh(owner, via, object))
    }

    /// `p, X, schema.*, create, allow`.
    pub fn may_create(&self, schema: &str) -> bool {
        self.both(|one| allowed(one.own_permits(|s| &s.creates).filter(|permit| is_about(permit, schema))))
    }

    /// `p, X, schema.*, drop, allow`: the schema itself; each table in it is asked about by itself.
    pub fn may_drop_schema(&self, schema: &str) -> bool {
        self.both(|one| allowed(one.own_permits(|s| &s.drops).filter(|permit| is_about(permit, schema))))
    }

    /// Some allow line of the closure speaks of tables of `schema`: only then may the session learn that the source behind
    /// it does not answer.
    pub fn may_know(&self, schema: &str) -> bool {
        self.both(|one| {
            let closure = one.subject().map(|s| s.names.as_slice()).unwrap_or_default();
            self.policies.draft.lines.permits.iter().any(|p| {
                let ours = closure.iter().any(|name| name.as_ref() == p.subject.text);
                ours && p.allow && matches!(&p.target, Target::Tables(pattern) if pattern.schema.matches(schema))
            })
        })
    }

    /// Holds `p, X, lakegate.admin, select, allow`.
    pub fn is_admin(&self) -> bool {
        self.both(|one| allowed(one.own_permits(|s| &s.admins)))
    }

    /// `p, X, source:name, query, allow`: it may have the source run a text as it stands.
    pub fn may_query(&self, source: &str) -> bool {
        let is_about = |permit: &&Permit| matches!(&permit.target, Target::Source(name) if name == source);
        self.both(|one| allowed(one.own_permits(|s| &s.queries).filter(is_about)))
    }

    /// True of who asks, and of whom it asks for.
    fn both(&self, is_so: impl Fn(&Self) -> bool) -> bool {
        is_so(self) && self.other().is_none_or(|other| is_so(&other))
    }

    /// As [`SessionPolicy::decide`], remembering nothing: for those who ask about everybody.
    pub(in crate::policy) fn decide_afresh(&self, object: ObjectId, action: Action) -> Decision {
        let decision = match self.other() {
            None => self.by_lines(object, action),
            Some(other) => self.by_lines_of_both(&other, object, action),
        };
        match decision {
            Decision::Allow(_) if !self.may_know_of(object, |table| self.decide_afresh(table, Action::Select)) => {
                Decision::Deny
            }
            decision => decision,
        }
    }

    /// What is about a table is for those who may read that; what tells values of it, for those who may read all of it.
    fn may_know_of(&self, object: ObjectId, decide: impl Fn(ObjectId) -> Decision) -> bool {
        let about = self.policies.object(object).and_then(|(_, object)| object.about);
        about.is_none_or(|(table, values)| match decide(table) {
            Decision::Allow(grant) => !values || grant.is_full(),
            Decision::Deny => false,
        })
    }

    /// What the lines about this very object say: all that Casbin can say of it.
    pub(in crate::policy) fn by_lines(&self, object: ObjectId, action: Action) -> Decision {
        match self.gather(object) {
            Some((object, gathered)) => decide(&self.policies, object, &gathered, action, self.values()),
            None => Decision::Deny,
        }
    }

    /// What both may: the conditions of both, the strictest mask of both, and no column that one of them does not see.
    fn by_lines_of_both(&self, other: &Self, object: ObjectId, action: Action) -> Decision {
        let (Decision::Allow(ours), Decision::Allow(theirs)) =
            (self.by_lines(object, action), other.by_lines(object, action))
        else {
            return Decision::Deny;
        };
        let (Some((bound, own)), Some((_, beside))) = (self.gather(object), other.gather(object)) else {
            return Decision::Deny;
        };
        let parts =
            [Part { gathered: &own, values: self.values() }, Part { gathered: &beside, values: other.values() }];
        let mut both = match action {
            Action::Select => match grant(&self.policies, bound, &parts) {
                Decision::Allow(both) => Arc::unwrap_or_clone(both),
                Decision::Deny => return Decision::Deny,
            },
            Action::Insert | Action::Update => {
                let mut fired = BTreeSet::new();
                match filter(&self.policies, &parts, &mut fired) {
                    Some(filter) => Grant { filter, fired, ..Grant::full() },
                    None => return Decision::Deny,
                }
            }
            // of a table nobody has a right to query its source
            Action::Query => return Decision::Deny,
            Action::Delete | Action::Create | Action::Drop | Action::Refresh | Action::Maintain => Grant::full(),
        };
        for one in [&ours, &theirs] {
            both.hidden.extend(one.hidden.iter().cloned());
            both.denied.extend(one.denied.iter().cloned());
            both.fired.extend(one.fired.iter().cloned());
        }
        both.masks.retain(|column, _| !both.hidden.contains(column));
        match action == Action::Select && bound.schema.fields().iter().all(|f| both.hidden.contains(f.name())) {
            true => Decision::Deny,
            false => Decision::Allow(Arc::new(both)),
        }
    }

    pub(in crate::policy) fn gather(&self, object: ObjectId) -> Option<(&BoundObject, Gathered)> {
        let (at, object) = self.policies.object(object)?;
        Some((object, Gathered::of(&self.policies, self.subject()?, at, object)))
    }

    pub(in crate::policy) fn values(&self) -> &Values {
        static NONE: Values = Values::new();
        self.subject().map_or(&NONE, |s| &s.values)
    }

    fn through_afresh(&self, owner: &SessionPolicy, via: &[SessionPolicy], object: ObjectId) -> Decision {
        let Some((bound, owners)) = owner.gather(object) else { return Decision::Deny };
        let policies = &self.policies;
        if !allowed(owners.permits(policies, Action::Select)) {
            return Decision::Deny;
        }
        let acted_for = self.other();
        let others: Vec<&SessionPolicy> = std::iter::once(self).chain(&acted_for).chain(via).collect();
        let Some(gathered) = others.iter().map(|other| Some(other.gather(object)?.1)).collect::<Option<Vec<_>>>()
        else {
            return Decision::Deny;
        };
        if gathered.iter().flat_map(|lines| lines.permits(policies, Action::Select)).any(|p| !p.allow) {
            return Decision::Deny;
        }
        if !self.may_know_of(object, |table| self.through_afresh(owner, via, table)) {
            return Decision::Deny;
        }
        let mut parts = vec![Part { gathered: &owners, values: owner.values() }];
        parts.extend(gathered.iter().zip(&others).map(|(gathered, other)| Part { gathered, values: other.values() }));
        grant(policies, bound, &parts)
    }

    fn remember(&self, key: (ObjectId, Action, Beside), ask: impl FnOnce() -> Decision) -> Decision {
        let Some(subject) = self.subject() else { return Decision::Deny };
        // a decision is put in whole: a panic elsewhere leaves none half made
        let known = subject.memo.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(decision) = known {
            return decision;
        }
        let decision = ask();
        subject.memo.write().unwrap_or_else(PoisonError::into_inner).insert(key, decision.clone());
        decision
    }

    fn subject(&self) -> Option<&Subject> {
        self.policies.subjects.get(self.subject)
    }

    fn own_permits<'a>(&'a self, list: impl Fn(&'a Subject) -> &'a Vec<u32> + 'a) -> impl Iterator<Item = &'a Permit> {
        let closure = self.subject().map(|s| s.closure.as_slice()).unwrap_or_default();
        let reached = closure.iter().filter_map(|i| self.policies.subjects.get(*i));
        reached.flat_map(list).filter_map(|i| self.policies.draft.lines.permits.get(*i as usize))
    }
}

fn is_about(permit: &Permit, schema: &str) -> bool {
    matches!(&permit.target, Target::Tables(pattern) if pattern.schema.matches(schema))
}

/// Deny wins; silence is denial.
pub(in crate::policy) fn allowed<'a>(permits: impl Iterator<Item = &'a Permit>) -> bool {
    let mut any = false;
    for permit in permits {
        if !permit.allow {
            return false;
        }
        any = true;
    }
    any
}

/// Every line about one object that names one subject or a role of its closure.
#[derive(Debug, Default)]
pub(in crate::policy) struct Gathered {
    pub object: usize,
    /// `p` lines about the table as a whole.
    pub tables: BTreeSet<u32>,
    /// `p` lines about a column: (column, line).
    pub columns: BTreeSet<(usize, u32)>,
    pub filters: BTreeSet<u32>,
    pub masks: BTreeSet<u32>,
    /// A line hides something that this table no longer has.
    pub withheld: BTreeSet<RuleRef>,
}

impl Gathered {
    pub(in crate::policy) fn of(policies: &Policies, subject: &Subject, at: usize, object: &BoundObject) -> Self {
        let mut found = Self { object: at, ..Self::default() };
        for reached in subject.closure.iter().filter_map(|i| policies.subjects.get(*i)) {
            if reached.rules.is_empty() {
                continue;
            }
            let (schema, table) = object.key;
            let starred = [Key::Table(schema, ANY), Key::Table(ANY, table), Key::Table(ANY, ANY)];
            let starred = starred.into_iter().filter(|_| !object.named_only);
            let tags = object.tags.iter().map(|tag| Key::Tag(*tag));
            for key in std::iter::once(Key::Table(schema, table)).chain(starred).chain(tags) {
                for rule in reached.rules.get(&key).into_iter().flatten() {
                    found.add(policies, object, *rule);
                }
            }
            for (column, tag) in &object.column_tags {
                for rule in reached.rules.get(&Key::Tag(*tag)).into_iter().flatten() {
                    match rule {
                        RuleRef::Permit(line) => found.columns.insert((*column, *line)),
                        // which columns it masks is known since it was bound
                        RuleRef::Mask(line) => found.masks.insert(*line),
                        RuleRef::Filter(_) => false,
                    };
                }
            }
            if !policies.bound.withheld.is_empty() {
                let rules = reached.rules.values().flatten();
                found.withheld.extend(rules.filter(|rule| policies.bound.withheld.contains(&(**rule, at))));
            }
        }
        found
    }

    fn add(&mut self, policies: &Policies, object: &BoundObject, rule: RuleRef) {
        match rule {
            RuleRef::Filter(line) => {
                self.filters.insert(line);
            }
            RuleRef::Mask(line) => {
                self.masks.insert(line);
            }
            RuleRef::Permit(line) => match policies.draft.lines.permits.get(line as usize).map(|p| &p.target) {
                Some(Target::Tables(pattern)) => match &pattern.column {
                    None => {
                        self.tables.insert(line);
                    }
                    Some(segment) => self.add_columns(object, segment, line),
                },
                Some(Target::Tag(_)) => {
                    self.tables.insert(line);
                }
                Some(Target::Source(_) | Target::Admin) | None => {}
            },
        }
    }

    fn add_columns(&mut self, object: &BoundObject, segment: &Segment, line: u32) {
        let fields = object.schema.fields().iter().enumerate();
        let matching = fields.filter(|(_, f)| object.matches_column(segment, f.name()));
        self.columns.extend(matching.map(|(column, _)| (column, line)));
    }

    pub(in crate::policy) fn permits<'a>(
        &self,
        policies: &'a Policies,
        action: Action,
    ) -> impl Iterator<Item = &'a Permit> {
        let lines = self.tables.iter().filter_map(|line| policies.draft.lines.permits.get(*line as usize));
        lines.filter(move |p| p.action == action)
    }
}

/// One subject's lines and attributes; in a dataset there are two.
struct Part<'a> {
    gathered: &'a Gathered,
    values: &'a Values,
}

fn decide(policies: &Policies, object: &BoundObject, gathered: &Gathered, action: Action, values: &Values) -> Decision {
    if !allowed(gathered.permits(policies, action)) {
        return Decision::Deny;
    }
    if action == Action::Select {
        return grant(policies, object, &[Part { gathered, values }]);
    }
    let mut fired = gathered.permits(policies, action).map(|p| policies.line(p.subject.line)).collect();
    if !matches!(action, Action::Insert | Action::Update) {
        return Decision::Allow(Arc::new(Grant { fired, ..Grant::full() }));
    }
    // rows that come must pass the filter by which rows are read
    match filter(policies, &[Part { gathered, values }], &mut fired) {
        Some(filter) => Decision::Allow(Arc::new(Grant { filter, fired, ..Grant::full() })),
        None => Decision::Deny,
    }
}

/// What may be seen of an allowed table. The first part is the one whose permission counts; others only take away.
fn grant(policies: &Policies, object: &BoundObject, parts: &[Part<'_>]) -> Decision {
    if parts.iter().any(|part| !part.gathered.withheld.is_empty()) {
        return Decision::Deny;
    }
    let mut grant = Grant::full();
    for part in parts.iter().take(1) {
        grant.fired.extend(part.gathered.permits(policies, Action::Select).map(|p| policies.line(p.subject.line)));
    }
    let Some(filter) = filter(policies, parts, &mut grant.fired) else {
        return Decision::Deny;
    };
    grant.filter = filter;
    hide_columns(policies, object, parts, &mut grant);
    for part in parts {
        grant.hidden.extend(baseline::unnamed(policies, object, part.gathered));
    }
    mask_columns(policies, object, parts, &mut grant);
    hide_raw_beside_field_rules(object, &mut grant);
    match object.schema.fields().iter().all(|f| grant.hidden.contains(f.name())) {
        true => Decision::Deny,
        false => Decision::Allow(Arc::new(grant)),
    }
}

/// All conditions by AND; equal rights give equal expressions whatever the order of lines. `None`: one of them cannot
/// be evaluated over the table as it is now.
fn filter(policies: &Policies, parts: &[Part<'_>], fired: &mut BTreeSet<Line>) -> Option<Option<Expr>> {
    let mut conditions: BTreeMap<String, Expr> = BTreeMap::new();
    for part in parts {
        for line in &part.gathered.filters {
            let typed = policies.bound.filters.get(&(*line, part.gathered.object))?.as_ref()?;
            let condition = typed.with(part.values).unwrap_or_else(|| lit(false));
            conditions.insert(condition.to_string(), condition);
            let at = policies.draft.lines.filters.get(*line as usize)?;
            fired.insert(policies.line(at.subject.line));
        }
    }
    if conditions.values().any(|c| *c == lit(false)) {
        return Some(Some(lit(false)));
    }
    Some(conditions.into_values().filter(|c| *c != lit(true)).reduce(Expr::and))
}

fn hide_columns(policies: &Policies, object: &BoundObject, parts: &[Part<'_>], grant: &mut Grant) {
    let permit = |line: u32| policies.draft.lines.permits.get(line as usize).filter(|p| p.action == Action::Select);
    for (index, field) in object.schema.fields().iter().enumerate() {
        let lines = |part: &Part<'_>| {
            let about = part.gathered.columns.range((index, 0)..=(index, u32::MAX));
            about.filter_map(|(_, line)| permit(*line)).collect::<Vec<_>>()
        };
        for deny in parts.iter().flat_map(lines).filter(|p| !p.allow) {
            grant.hidden.insert(field.name().clone());
            grant.denied.insert(field.name().clone());
            grant.fired.insert(policies.line(deny.subject.line));
        }
        if object.raw_columns.contains(field.name()) {
            let allows: Vec<&Permit> = parts.iter().take(1).flat_map(lines).filter(|p| p.allow).collect();
            if allows.is_empty() {
                grant.hidden.insert(field.name().clone());
            }
            grant.fired.extend(allows.iter().map(|p| policies.line(p.subject.line)));
        }
    }
}

/// A mask that applies to a column, with the values of whoever it applies for.
struct Candidate<'a> {
    mask: &'a Mask,
    line: u32,
    typed: Option<&'a Typed>,
    values: &'a Values,
}

fn mask_columns(policies: &Policies, object: &BoundObject, parts: &[Part<'_>], grant: &mut Grant) {
    let mut candidates: BTreeMap<usize, Vec<Candidate<'_>>> = BTreeMap::new();
    for part in parts {
        for line in &part.gathered.masks {
            let Some(mask) = policies.draft.lines.masks.get(*line as usize) else { continue };
            let columns = policies.bound.masks.get(&(*line, part.gathered.object));
            for (column, typed) in columns.into_iter().flatten() {
                let (mask, line) = (&mask.mask, mask.subject.line);
                let candidate = Candidate { mask, line, typed: typed.as_ref(), values: part.values };
                candidates.entry(*column).or_default().push(candidate);
            }
        }
    }
    for (column, candidates) in candidates {
        let Some(field) = object.schema.fields().get(column) else { continue };
        if grant.hidden.contains(field.name()) {
            continue;
        }
        let strictest = candidates.iter().map(|c| c.mask.rank()).max();
        let strictest: Vec<&Candidate<'_>> = candidates.iter().filter(|c| Some(c.mask.rank()) == strictest).collect();
        grant.fired.extend(strictest.iter().map(|c| policies.line(c.line)));
        match masked(&strictest, field.data_type()) {
            Masked::Raw => {}
            Masked::As(expr) => {
                grant.masks.insert(field.name().clone(), expr);
            }
            Masked::Hidden => {
                grant.hidden.insert(field.name().clone());
                grant.denied.insert(field.name().clone());
            }
        }
    }
}

enum Masked {
    Raw,
    As(Expr),
    Hidden,
}

/// The strictest candidates as one. Where they differ, or an attribute is missing, nothing is shown.
fn masked(strictest: &[&Candidate<'_>], kind: &arrow::datatypes::DataType) -> Masked {
    if strictest.iter().any(|c| c.typed.is_none()) {
        return Masked::Hidden;
    }
    let nothing = || match ScalarValue::try_from(kind) {
        Ok(null) => Masked::As(Expr::Literal(null, None)),
        Err(_) => Masked::Hidden,
    };
    let mut bound = strictest.iter().map(|c| c.typed.and_then(|t| t.with(c.values)));
    let Some(Some(first)) = bound.next() else { return nothing() };
    if bound.any(|other| other.as_ref() != Some(&first)) {
        return nothing();
    }
    match strictest.iter().all(|c| *c.mask == Mask::Unmasked) {
        true => Masked::Raw,
        false => Masked::As(first),
    }
}

/// A raw record holds every field of it: where one field is masked or denied, the record cannot be shown.
fn hide_raw_beside_field_rules(object: &BoundObject, grant: &mut Grant) {
    let field_rule = grant.masks.keys().chain(&grant.denied).any(|column| !object.raw_columns.contains(column));
    if field_rule {
        for raw in &object.raw_columns {
            grant.hidden.insert(raw.clone());
            grant.masks.remove(raw);
        }
    }
}
