//! `g` lines → closures. Cycles and long chains are faults: Casbin tolerates the one and cuts the other silently.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, RwLock};

use super::{Report, Subject};
use crate::policy::file::lines::Membership;
use crate::policy::file::{Draft, Field, did_you_mean};

/// Names from a user to its farthest role, both counted: as far as Casbin looks.
const CHAIN_MAX: usize = 10;

/// Every name that stands as a subject anywhere, its roles closed. Where there is a ring, its members keep only
/// themselves; the fault refuses the set anyway.
pub(super) fn close(draft: &Draft, report: &mut Report) -> Vec<Subject> {
    let names = names(draft);
    let number: HashMap<&str, usize> = names.iter().enumerate().map(|(i, n)| (n.as_ref(), i)).collect();
    let edges = edges(draft, &number);
    let order = order(&edges);
    let depths = depths(&edges, &order);
    report_rings(draft, &names, &edges, &order, report);
    report_chains(draft, &names, &edges, &depths, report);

    let mut closures: Vec<BTreeSet<usize>> = (0..names.len()).map(|i| BTreeSet::from([i])).collect();
    // roles stand before their members in the order, so theirs are ready
    for at in order {
        let mut closure = BTreeSet::from([at]);
        for (role, _) in edges.get(at).into_iter().flatten() {
            closure.extend(closures.get(*role).into_iter().flatten());
        }
        if let Some(slot) = closures.get_mut(at) {
            *slot = closure;
        }
    }
    let subject = |name: &Arc<str>, closure: BTreeSet<usize>| {
        let user = draft.users.users.get(name.as_ref());
        let mut reached: Vec<Arc<str>> = closure.iter().filter_map(|i| names.get(*i).cloned()).collect();
        reached.sort();
        Subject {
            name: Arc::clone(name),
            user: user.is_some(),
            closure: closure.into_iter().collect(),
            names: reached,
            values: user.map(|u| u.attributes.clone()).unwrap_or_default(),
            rules: HashMap::new(),
            creates: vec![],
            drops: vec![],
            admins: vec![],
            queries: vec![],
            memo: RwLock::default(),
        }
    };
    names.iter().zip(closures).map(|(name, closure)| subject(name, closure)).collect()
}

/// Subjects that are neither users nor roles, roles without members or rules, users with members.
pub(super) fn judge(draft: &Draft, subjects: &[Subject], by_name: &HashMap<Arc<str>, usize>, report: &mut Report) {
    let file = draft.policy_file.as_str();
    let roles: BTreeSet<&str> = draft.lines.members.iter().map(|m| m.role.text.as_str()).collect();
    let users = &draft.users.users;
    let known: Vec<&str> = users.keys().map(String::as_str).chain(roles.iter().copied()).collect();
    let stranger = |f: &Field| !users.contains_key(&f.text) && !roles.contains(f.text.as_str());
    let say = |f: &Field| format!("`{}` is neither a user nor a role{}", f.text, did_you_mean(&f.text, &known));

    let lines = &draft.lines;
    for permit in lines.permits.iter().filter(|p| stranger(&p.subject)) {
        let list = if permit.allow { &mut report.warnings } else { &mut report.faults };
        list.push(file, permit.subject.line, permit.subject.column, say(&permit.subject));
    }
    let restricting = lines.filters.iter().map(|l| &l.subject).chain(lines.masks.iter().map(|l| &l.subject));
    for subject in restricting.filter(|s| stranger(s)) {
        report.faults.push(file, subject.line, subject.column, say(subject));
    }

    for (name, role) in draft.users.roles.iter().filter(|(name, _)| !roles.contains(name.as_str())) {
        let known: Vec<&str> = roles.iter().copied().collect();
        let what = format!("`{name}` is not a role of policy.csv{}", did_you_mean(name, &known));
        report.warnings.push(&role.file, role.line, role.column, what);
    }

    let restricted: BTreeSet<&str> = restricted_subjects(draft);
    let closure =
        |name: &str| by_name.get(name).and_then(|i| subjects.get(*i)).map(|s| s.names.as_slice()).unwrap_or_default();
    for Membership { member, role } in lines.members.iter().filter(|m| stranger(&m.member)) {
        // a role that hides something must not lose a member to a typing mistake
        let hides = closure(&role.text).iter().any(|name| restricted.contains(name.as_ref()));
        let list = if hides { &mut report.faults } else { &mut report.warnings };
        list.push(file, member.line, member.column, say(member));
    }
    judge_roles(draft, subjects, by_name, report);
}

fn judge_roles(draft: &Draft, subjects: &[Subject], by_name: &HashMap<Arc<str>, usize>, report: &mut Report) {
    let file = draft.policy_file.as_str();
    let lines = &draft.lines;
    let ruled: BTreeSet<&str> = lines
        .permits
        .iter()
        .map(|l| &l.subject)
        .chain(lines.filters.iter().map(|l| &l.subject))
        .chain(lines.masks.iter().map(|l| &l.subject))
        .map(|f| f.text.as_str())
        .collect();
    let reached: BTreeSet<usize> = subjects.iter().filter(|s| s.user).flat_map(|s| s.closure.iter().copied()).collect();
    let first_uses: BTreeMap<&str, &Field> =
        lines.members.iter().rev().map(|m| (m.role.text.as_str(), &m.role)).collect();
    for (name, field) in first_uses {
        let Some((at, subject)) = by_name.get(name).and_then(|i| Some((*i, subjects.get(*i)?))) else { continue };
        let has_rule = subject.names.iter().any(|n| ruled.contains(n.as_ref()));
        let what = match (subject.user, has_rule, reached.contains(&at)) {
            (true, ..) => format!("`{name}` is a user and has members; were the two sides swapped?"),
            (false, false, _) => format!("role `{name}` has no rule"),
            (false, true, false) => format!("role `{name}` has no members"),
            (false, true, true) => continue,
        };
        report.warnings.push(file, field.line, field.column, what);
    }
}

/// Who has a deny, a filter or a mask of its own.
fn restricted_subjects(draft: &Draft) -> BTreeSet<&str> {
    let lines = &draft.lines;
    let denies = lines.permits.iter().filter(|p| !p.allow).map(|p| &p.subject);
    let filters = lines.filters.iter().map(|l| &l.subject);
    let masks = lines.masks.iter().map(|l| &l.subject);
    denies.chain(filters).chain(masks).map(|f| f.text.as_str()).collect()
}

fn names(draft: &Draft) -> Vec<Arc<str>> {
    let lines = &draft.lines;
    let fields = lines.permits.iter().map(|l| &l.subject);
    let fields = fields.chain(lines.filters.iter().map(|l| &l.subject)).chain(lines.masks.iter().map(|l| &l.subject));
    let fields = fields.chain(lines.members.iter().flat_map(|m| [&m.member, &m.role]));
    let users = draft.users.users.keys().map(String::as_str);
    let all: BTreeSet<&str> = users.chain(fields.map(|f| f.text.as_str())).collect();
    all.into_iter().map(Arc::from).collect()
}

/// Member → (role, line's place in the draft).
type Edges = Vec<Vec<(usize, usize)>>;

fn edges(draft: &Draft, number: &HashMap<&str, usize>) -> Edges {
    let mut edges = vec![vec![]; number.len()];
    for (line, Membership { member, role }) in draft.lines.members.iter().enumerate() {
        if let (Some(member), Some(role)) = (number.get(member.text.as_str()), number.get(role.text.as_str()))
            && let Some(list) = edges.get_mut(*member)
        {
            list.push((*role, line));
        }
    }
    edges
}

/// Roles before their members; whoever stands in a ring, or below one, is left out.
fn order(edges: &Edges) -> Vec<usize> {
    let mut members = vec![vec![]; edges.len()];
    let mut open: Vec<usize> = edges.iter().map(Vec::len).collect();
    for (member, roles) in edges.iter().enumerate() {
        for (role, _) in roles {
            if let Some(list) = members.get_mut(*role) {
                list.push(member);
            }
        }
    }
    let mut ready: Vec<usize> = open.iter().enumerate().filter(|(_, n)| **n == 0).map(|(i, _)| i).collect();
    let mut order = vec![];
    while let Some(role) = ready.pop() {
        order.push(role);
        for member in members.get(role).into_iter().flatten() {
            if let Some(n) = open.get_mut(*member) {
                *n -= 1;
                if *n == 0 {
                    ready.push(*member);
                }
            }
        }
    }
    order
}

fn depths(edges: &Edges, order: &[usize]) -> Vec<usize> {
    let mut depths = vec![0; edges.len()];
    for at in order {
        let above = edges.get(*at).into_iter().flatten().filter_map(|(role, _)| depths.get(*role).map(|d| d + 1));
        let depth = above.max().unwrap_or(0);
        if let Some(slot) = depths.get_mut(*at) {
            *slot = depth;
        }
    }
    depths
}

fn report_rings(draft: &Draft, names: &[Arc<str>], edges: &Edges, order: &[usize], report: &mut Report) {
    let mut left: BTreeSet<usize> = (0..edges.len()).collect();
    order.iter().for_each(|i| {
        left.remove(i);
    });
    let onward = |at: usize, left: &BTreeSet<usize>| {
        edges.get(at).into_iter().flatten().find(|(role, _)| left.contains(role)).copied()
    };
    while let Some(start) = left.first().copied() {
        // every name left over has a role left over, so the walk comes back to where it was
        let mut path: Vec<(usize, usize)> = vec![];
        let mut at = start;
        while let Some((role, line)) = onward(at, &left).filter(|_| !path.iter().any(|(seen, _)| *seen == at)) {
            path.push((at, line));
            at = role;
        }
        let ring: Vec<(usize, usize)> = path.iter().copied().skip_while(|(seen, _)| *seen != at).collect();
        if let Some(member) = ring.iter().map(|(_, line)| *line).min().and_then(|l| draft.lines.members.get(l)) {
            let mut shown: Vec<&str> = ring.iter().filter_map(|(i, _)| names.get(*i)).map(AsRef::as_ref).collect();
            shown.extend(shown.first().copied());
            let what = format!("the roles go in a ring: {}", shown.join(" → "));
            report.faults.push(&draft.policy_file, member.member.line, member.member.column, what);
        }
        path.iter().for_each(|(seen, _)| {
            left.remove(seen);
        });
        left.remove(&start);
    }
}

fn report_chains(draft: &Draft, names: &[Arc<str>], edges: &Edges, depths: &[usize], report: &mut Report) {
    let depth = |at: &usize| depths.get(*at).copied().unwrap_or(0);
    let has_longer = |at: usize| {
        let member_of = |roles: &Vec<(usize, usize)>| roles.iter().any(|(role, _)| *role == at);
        edges.iter().enumerate().any(|(m, roles)| member_of(roles) && depth(&m) == depth(&at) + 1)
    };
    // only where the chain begins: its middle is not another fault
    for start in (0..edges.len()).filter(|i| depth(i) + 1 > CHAIN_MAX).filter(|i| !has_longer(*i)) {
        let mut chain = vec![];
        let mut first = None;
        let mut at = start;
        while let Some((role, line)) = edges.get(at).into_iter().flatten().max_by_key(|(role, _)| depth(role)) {
            chain.extend(names.get(at).map(AsRef::as_ref));
            first = first.or(draft.lines.members.get(*line));
            at = *role;
        }
        chain.extend(names.get(at).map(AsRef::as_ref));
        if let Some(line) = first {
            let count = chain.len();
            let what = format!("a chain of {count} names, at most {CHAIN_MAX} are allowed: {}", chain.join(" → "));
            report.faults.push(&draft.policy_file, line.member.line, line.member.column, what);
        }
    }
}
