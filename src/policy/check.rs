//! Lints for `lakegate policy check`: lines that are well written and probably not meant. Nothing here refuses a file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::compile::{Policies, Subject};
use super::decide::{Gathered, SessionPolicy};
use super::file::lines::Permit;
use super::file::{Fault, Faults};
use super::language::Condition;
use super::{Action, Decision};

/// Every oddity, in the order of the file. What [`Policies::compile`] warns of is not repeated.
pub fn lints(policies: &Arc<Policies>) -> Vec<Fault> {
    let mut found = Faults::default();
    let world = World::new(policies);
    world.inherited_denies(&mut found);
    world.without_effect(&mut found);
    world.unfiltered_beside_filtered(&mut found);
    world.raw_beside_field_rules(&mut found);
    found.sorted()
}

/// What every subject gathers about every object, once.
struct World<'a> {
    policies: &'a Arc<Policies>,
    gathered: HashMap<(usize, usize), Gathered>,
}

impl<'a> World<'a> {
    fn new(policies: &'a Arc<Policies>) -> Self {
        let mut gathered = HashMap::new();
        for subject in 0..policies.subjects.len() {
            let session = SessionPolicy::new(Arc::clone(policies), subject);
            for (at, object) in policies.objects.iter().enumerate() {
                gathered.extend(session.gather(object.id).map(|(_, g)| ((subject, at), g)));
            }
        }
        Self { policies, gathered }
    }

    fn push(&self, found: &mut Faults, permit: &Permit, what: String) {
        found.push(&self.policies.draft.policy_file, permit.subject.line, permit.subject.column, what);
    }

    fn permit(&self, line: u32) -> Option<&'a Permit> {
        self.policies.draft.lines.permits.get(line as usize)
    }

    /// A role that gets another role gets its denies too, which is often forgotten.
    fn inherited_denies(&self, found: &mut Faults) {
        let lines = &self.policies.draft.lines;
        let roles: BTreeSet<&str> = lines.members.iter().map(|m| m.role.text.as_str()).collect();
        let mut denies: BTreeMap<&str, Vec<&Permit>> = BTreeMap::new();
        for permit in lines.permits.iter().filter(|p| !p.allow) {
            denies.entry(&permit.subject.text).or_default().push(permit);
        }
        for line in lines.members.iter().filter(|m| roles.contains(m.member.text.as_str())) {
            for deny in denies.get(line.role.text.as_str()).into_iter().flatten() {
                let what = format!(
                    "role `{}` inherits a deny from `{}`: line {}, `{}`",
                    line.member.text, line.role.text, deny.subject.line, deny.object.text
                );
                found.push(&self.policies.draft.policy_file, line.member.line, line.member.column, what);
            }
        }
    }

    /// An allow of which a deny for the same subject takes all.
    fn without_effect(&self, found: &mut Faults) {
        let mut reached: BTreeMap<u32, Vec<Option<&Permit>>> = BTreeMap::new();
        for ((subject, _), gathered) in &self.gathered {
            let Some(name) = self.policies.subjects.get(*subject).map(|s: &Subject| s.name.as_ref()) else { continue };
            let permits: Vec<(u32, &Permit)> =
                gathered.tables.iter().filter_map(|l| Some((*l, self.permit(*l)?))).collect();
            for (line, allow) in permits.iter().filter(|(_, p)| p.allow && p.subject.text == name) {
                let deny = permits.iter().find(|(_, p)| !p.allow && p.action == allow.action).map(|(_, p)| *p);
                reached.entry(*line).or_default().push(deny);
            }
        }
        for (line, denies) in reached {
            if let (Some(allow), Some(deny)) = (self.permit(line), denies.iter().copied().collect::<Option<Vec<_>>>()) {
                let first = deny.iter().map(|p| p.subject.line).min().unwrap_or_default();
                self.push(found, allow, format!("this line has no effect: line {first} denies all of it"));
            }
        }
    }

    /// Who sees all rows of a table of which others see some; `unfiltered` says that it is meant.
    fn unfiltered_beside_filtered(&self, found: &mut Faults) {
        let mut told = BTreeSet::new();
        for (at, object) in self.policies.objects.iter().enumerate() {
            let about = |subject: usize| self.gathered.get(&(subject, at));
            let subjects = || self.policies.subjects.iter().enumerate().filter_map(|(i, s)| Some((s, about(i)?)));
            let lines = subjects().flat_map(|(_, g)| &g.filters).collect::<BTreeSet<_>>();
            let mut filters = lines.into_iter().filter_map(|l| self.policies.draft.lines.filters.get(*l as usize));
            let Some(filter) = filters.find(|f| matches!(f.condition, Condition::When(_))) else { continue };
            for (subject, gathered) in subjects().filter(|(_, g)| g.filters.is_empty()) {
                let own = |p: &&Permit| p.allow && p.action == Action::Select && p.subject.text == *subject.name;
                let allow = gathered.tables.iter().filter_map(|l| self.permit(*l)).find(own);
                if let Some(allow) = allow.filter(|p| told.insert(p.subject.line)) {
                    let what = format!(
                        "`{}` sees all rows of `{}`, where line {} filters for `{}`; write `unfiltered` if that is meant",
                        subject.name, object.name, filter.subject.line, filter.subject.text
                    );
                    self.push(found, allow, what);
                }
            }
        }
    }

    /// A line that shows a raw record, and another that hides a field of it: the record stays hidden.
    fn raw_beside_field_rules(&self, found: &mut Faults) {
        let mut told = BTreeSet::new();
        for ((subject, at), gathered) in &self.gathered {
            let session = SessionPolicy::new(Arc::clone(self.policies), *subject);
            let Some(object) = self.policies.objects.get(*at).filter(|o| !o.raw_columns.is_empty()) else { continue };
            let Decision::Allow(grant) = session.decide_afresh(object.id, Action::Select) else { continue };
            for (column, line) in &gathered.columns {
                let name = object.schema.fields().get(*column).map(|f| f.name().as_str()).unwrap_or_default();
                let Some(allow) = self.permit(*line).filter(|p| p.allow && object.raw_columns.contains(name)) else {
                    continue;
                };
                if grant.hidden.contains(name)
                    && !grant.denied.contains(name)
                    && told.insert((allow.subject.line, name))
                {
                    let what = format!(
                        "`{name}` stays hidden: a field of `{}` is masked or denied for the same user",
                        object.name
                    );
                    self.push(found, allow, what);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fixture::{EXAMPLE, policies};

    fn check(csv: &str) -> Vec<String> {
        lints(&policies(csv)).into_iter().map(|f| format!("{}:{}: {}", f.line, f.column, f.text)).collect()
    }

    #[test]
    fn what_is_probably_not_meant() {
        let table: &[(&str, &[&str])] = &[
            ("p, alice, sales.*, select, allow\n", &[]),
            (
                "p, analyst, sales.*, select, deny\ng, hr, analyst\ng, bob, hr\np, hr, hr.*, select, allow\n",
                &["2:4: role `hr` inherits a deny from `analyst`: line 1, `sales.*`"],
            ),
            (
                "p, alice, sales.orders, select, allow\np, staff, sales.*, select, deny\ng, alice, staff\n",
                &["1:4: this line has no effect: line 2 denies all of it"],
            ),
            ("p, alice, sales.*, select, allow\np, alice, sales.orders, select, deny\n", &[]),
            (
                "p, alice, sales.*, select, allow\np2, alice, sales.orders, paid\np, bob, sales.orders, select, allow\n",
                &[
                    "3:4: `bob` sees all rows of `sales.orders`, where line 2 filters for `alice`; write `unfiltered` if that is meant",
                ],
            ),
            (
                "p, alice, sales.*, select, allow\np2, alice, sales.orders, paid\np, bob, sales.orders, select, allow\np2, bob, sales.*, unfiltered\n",
                &[],
            ),
            (
                "p, alice, *, select, allow\np, alice, stream.order_events/_key, select, allow\np3, alice, stream.*, amount, nullify\n",
                &["2:4: `_key` stays hidden: a field of `stream.order_events` is masked or denied for the same user"],
            ),
        ];
        for (csv, expected) in table {
            assert_eq!(check(csv), *expected, "{csv}");
        }
        assert_eq!(
            check(EXAMPLE),
            [
                "6:4: `dba` sees all rows of `sales.orders`, where line 16 filters for `analyst`; write `unfiltered` if that is meant",
                "26:5: role `hr` inherits a deny from `analyst`: line 10, `crm.customers/ssn`",
                "26:5: role `hr` inherits a deny from `analyst`: line 11, `sales.*/internal_note`",
                "26:5: role `hr` inherits a deny from `analyst`: line 4, `tag:pii`",
            ]
        );
    }
}
