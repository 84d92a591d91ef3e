//! Columns that came after a table was restricted. A rule names columns, or means all that there are; whoever wrote it did
//! not know of one that was added later. It is hidden from those whom a line restricts there, until a line of theirs names
//! it or an administrator accepts it. Where the baselines are kept is the engine's business.

use std::collections::{BTreeMap, BTreeSet};

use super::compile::{BoundObject, Policies, Report};
use super::decide::Gathered;
use super::file::object::{Segment, Target};
use super::language::Mask;
use super::{Action, Object};
use crate::types::{ObjectId, TableName};

/// Object → what told its columns apart when it became restricted, and of those accepted since.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baselines(BTreeMap<ObjectId, BTreeSet<String>>);

impl Baselines {
    pub fn insert(&mut self, object: ObjectId, columns: BTreeSet<String>) {
        self.0.insert(object, columns);
    }

    pub fn get(&self, object: ObjectId) -> Option<&BTreeSet<String>> {
        self.0.get(&object)
    }

    /// By their place in the schema; a column is new as soon as a field within it is.
    pub(in crate::policy) fn new_columns(&self, object: &Object) -> BTreeSet<usize> {
        let Some(known) = self.get(object.id) else { return BTreeSet::new() };
        let columns = object.column_ids.iter().enumerate();
        columns.filter(|(_, ids)| !ids.iter().all(|id| known.contains(id))).map(|(at, _)| at).collect()
    }
}

/// A table with columns that are not in its baseline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewColumns {
    pub object: ObjectId,
    pub table: TableName,
    pub columns: Vec<String>,
    /// Of all its columns: the baseline once they are accepted.
    pub ids: BTreeSet<String>,
}

impl Policies {
    /// What each table has now that a line restricts for somebody; one that has no baseline yet gets this one.
    pub fn restricted(&self) -> impl Iterator<Item = (ObjectId, BTreeSet<String>)> {
        let objects = self.bound.restricted.keys().filter_map(|at| self.objects.get(*at));
        objects.map(|object| (object.id, object.column_ids.iter().flatten().cloned().collect()))
    }

    /// A line restricts the table for somebody.
    pub fn is_restricted(&self, id: ObjectId) -> bool {
        self.by_id.get(&id).is_some_and(|at| self.bound.restricted.contains_key(at))
    }

    pub fn new_columns(&self) -> Vec<NewColumns> {
        let objects = self.objects.iter().filter(|object| !object.new_columns.is_empty());
        let one = |object: &BoundObject| NewColumns {
            object: object.id,
            table: object.name.clone(),
            columns: object.new_columns.iter().map(|at| column(object, *at)).collect(),
            ids: object.column_ids.iter().flatten().cloned().collect(),
        };
        objects.map(one).collect()
    }
}

/// New columns of `object` that stay hidden from whom `gathered` is about.
pub(in crate::policy) fn unnamed(policies: &Policies, object: &BoundObject, gathered: &Gathered) -> BTreeSet<String> {
    if object.new_columns.is_empty() || !restricts(policies, gathered) {
        return BTreeSet::new();
    }
    let hidden = object.new_columns.iter().filter(|at| !names(policies, gathered, **at));
    hidden.map(|at| column(object, *at)).collect()
}

/// A warning where somebody does not see a column because it is new.
pub(in crate::policy) fn warn(policies: &Policies, report: &mut Report) {
    for (at, object) in policies.objects.iter().enumerate().filter(|(_, object)| !object.new_columns.is_empty()) {
        let Some((line, place)) = policies.bound.restricted.get(&at) else { continue };
        let gathered = policies.subjects.iter().map(|subject| Gathered::of(policies, subject, at, object));
        let hidden: BTreeSet<String> = gathered.flat_map(|gathered| unnamed(policies, object, &gathered)).collect();
        if hidden.is_empty() {
            continue;
        }
        let list: Vec<String> = hidden.iter().map(|name| format!("`{name}`")).collect();
        let what = format!(
            "`{table}` has columns that came after it was restricted, hidden from whoever a line restricts there: {}; \
             name each in a `p` or `p3` line, or run `lakegate policy accept-columns {table}`",
            list.join(", "),
            table = object.name,
        );
        report.warnings.push(&policies.draft.policy_file, *line, *place, what);
    }
}

/// A filter, a mask or a denied column: the same that [`super::compile::Bound::restricted`] counts, for one subject.
fn restricts(policies: &Policies, gathered: &Gathered) -> bool {
    let lines = &policies.draft.lines;
    let filtered = || gathered.filters.iter().filter_map(|l| lines.filters.get(*l as usize));
    let masked = || gathered.masks.iter().filter(|l| policies.bound.masks.contains_key(&(**l, gathered.object)));
    let masked = || masked().filter_map(|l| lines.masks.get(*l as usize));
    let permits = || gathered.columns.iter().filter_map(|(_, l)| lines.permits.get(*l as usize));
    filtered().any(|filter| filter.condition.hides_rows())
        || masked().any(|mask| mask.mask != Mask::Unmasked)
        || permits().any(|permit| permit.denies_select())
}

/// A line that writes the column out, itself or through a tag that is on this very column; `*` names nothing.
fn names(policies: &Policies, gathered: &Gathered, at: usize) -> bool {
    let lines = &policies.draft.lines;
    let permitted = gathered.columns.range((at, 0)..=(at, u32::MAX));
    let permitted = permitted.filter_map(|(_, line)| lines.permits.get(*line as usize)).any(|permit| {
        let written = match &permit.target {
            Target::Tables(pattern) => matches!(pattern.column, Some(Segment::Exact(_))),
            Target::Tag(_) => true,
            Target::Source(_) | Target::Admin => false,
        };
        permit.action == Action::Select && permit.allow && written
    });
    let masked = gathered.masks.iter().any(|line| {
        let exact = lines.masks.get(*line as usize).is_some_and(|mask| matches!(mask.column, Segment::Exact(_)));
        let columns = policies.bound.masks.get(&(*line, gathered.object));
        exact && columns.into_iter().flatten().any(|(column, _)| *column == at)
    });
    permitted || masked
}

fn column(object: &BoundObject, at: usize) -> String {
    object.schema.fields().get(at).map(|field| field.name().clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
