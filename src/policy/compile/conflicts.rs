//! What would be answered by chance: one table under two names, two masks of one strictness. It binds nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Bound, BoundObject, Report, Subject};
use crate::policy::file::Draft;
use crate::types::ObjectId;

/// Objects by identity. One table under two names, or two tables under one, have lines that cannot be told apart: which
/// hold would be chance, so neither is readable.
pub(super) fn by_id(objects: &[BoundObject], file: &str, report: &mut Report) -> HashMap<ObjectId, usize> {
    let mut by_id: HashMap<ObjectId, usize> = HashMap::new();
    let mut by_name: HashMap<(u32, u32), usize> = HashMap::new();
    let mut unclear = BTreeSet::new();
    for (i, object) in objects.iter().enumerate() {
        let same_table = by_id.insert(object.id, i).map(|other| (other, "one table under two names"));
        let same_name = by_name.insert(object.key, i).map(|other| (other, "two tables under one name"));
        for (other, what) in same_table.into_iter().chain(same_name) {
            let Some(other) = objects.get(other) else { continue };
            let what = format!("`{}` and `{}` are {what}; neither can be read", other.name, object.name);
            report.warnings.push(file, 1, 1, what);
            unclear.extend([other.id, object.id]);
        }
    }
    by_id.retain(|id, _| !unclear.contains(id));
    by_id
}

/// Two masks of one rank that differ, on one column, for one user: which holds would be chance, so none of them does and
/// the column is NULL. A fault in lines that are new; where all of them are in force, a table came that both are about.
pub(super) fn masks(
    draft: &Draft,
    known: &HashSet<u64>,
    subjects: &[Subject],
    objects: &[BoundObject],
    bound: &Bound,
    report: &mut Report,
) {
    let is_known = |line: u32| draft.print(line).is_some_and(|print| known.contains(&print));
    let same_roles = draft.lines.members.iter().all(|m| is_known(m.member.line));
    let masks = &draft.lines.masks;
    let mut by_subject: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for (i, line) in (0u32..).zip(masks) {
        by_subject.entry(&line.subject.text).or_default().push(i);
    }
    let mut by_mask: HashMap<u32, Vec<(usize, usize)>> = HashMap::new();
    for ((mask, at), columns) in &bound.masks {
        by_mask.entry(*mask).or_default().extend(columns.iter().map(|(column, _)| (*at, *column)));
    }
    let mut judged = HashSet::new();
    let mut told = HashSet::new();
    for user in subjects.iter().filter(|s| s.user) {
        // users with the same masking roles meet the same conflicts
        let masking: Vec<&str> = user.names.iter().map(AsRef::as_ref).filter(|n| by_subject.contains_key(n)).collect();
        if !judged.insert(masking.clone()) {
            continue;
        }
        let mut seen: HashMap<(usize, usize, u8), u32> = HashMap::new();
        let mut lines: Vec<u32> = masking.iter().filter_map(|n| by_subject.get(n)).flatten().copied().collect();
        lines.sort_unstable();
        for i in lines {
            let Some(line) = masks.get(i as usize) else { continue };
            for (at, column) in by_mask.get(&i).into_iter().flatten() {
                let before = *seen.entry((*at, *column, line.mask.rank())).or_insert(i);
                let Some(other) = masks.get(before as usize).filter(|other| other.mask != line.mask) else { continue };
                let Some(object) = objects.get(*at).filter(|_| told.insert((before, i))) else { continue };
                let column = object.schema.fields().get(*column).map(|f| f.name().as_str()).unwrap_or_default();
                let what = format!(
                    "user `{}` meets two masks of one strictness on `{}/{column}`: line {} says `{}`, this line `{}`",
                    user.name, object.name, other.text.line, other.text.text, line.text.text
                );
                let in_force = same_roles && is_known(line.text.line) && is_known(other.text.line);
                let list = if in_force { &mut report.warnings } else { &mut report.faults };
                list.push(&draft.policy_file, line.text.line, line.text.column, what);
            }
        }
    }
}
