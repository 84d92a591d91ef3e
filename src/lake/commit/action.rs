//! What a commit does to its table, as a list of actions, and what must hold for each on whatever base it meets: Iceberg's
//! own requirements, and which files must be as they were. The commit loop asks; it knows no kinds.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use iceberg::spec::{
    DataFile, FormatVersion, MAIN_BRANCH, Operation, Schema, SnapshotReference, SnapshotRetention, UnboundPartitionSpec,
};
use iceberg::{TableRequirement, TableUpdate};

use super::super::maintain::retain;
use super::super::manifest::{Entry, FileKey};
use super::super::write::{Deleted, LiveFile, Loose};
use super::super::{Lake, Table, Written};
use super::create::partition_spec;
use crate::error::Result;

/// One thing that a commit does. Several make one snapshot.
#[derive(Clone, Debug)]
pub enum Action {
    /// Rows are added. Holds on every newer base with the same columns.
    Append(Written),
    /// Rows are deleted by position; an update is this and an append. Holds while nobody else deletes rows of the same
    /// files or removes these (snapshot isolation: rows that others add meanwhile stay).
    Delete(Deleted),
    /// Files leave the table and others, with other rows, come in their place. Holds as a deletion does.
    Overwrite { removed: Vec<LiveFile>, added: Written },
    /// The same, with the same rows, which bring their lineage: readers that follow the table's changes need not look.
    Rewrite { removed: Vec<LiveFile>, added: Written },
    /// Other columns, see [`Action::evolve`]. Holds while the table has the columns that it had; where rows were looked at,
    /// while they are the same.
    Evolve { schema: Box<Schema>, judges_rows: bool },
    /// Table properties that go.
    Unset(Vec<String>),
    /// New files are of these partitions, see [`Action::partition_by`]; files that are there stay as they are.
    PartitionBy(Box<UnboundPartitionSpec>),
    /// The table comes to format version 3: row ids, deletion vectors. There is no way back.
    Upgrade,
    /// A name for a snapshot. Holds while the name stands for `was`.
    SetRef { name: String, was: Option<i64>, snapshot: i64, kind: RefKind },
    /// Holds while the name stands for `was`.
    RemoveRef { name: String, was: i64 },
    /// Snapshots, and names that are too old with what they stand for, leave the table. Holds while nothing else stands for
    /// one of the snapshots and nothing came from one.
    Expire { snapshots: Vec<i64>, refs: Vec<(String, i64)> },
    /// All small manifests are put together, however few they are.
    MergeManifests,
}

/// What a snapshot's name is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefKind {
    /// Commits move it.
    Branch,
    Tag,
}

/// The files that a commit's actions bring and take, all together.
#[derive(Clone, Debug, Default)]
pub(super) struct Change {
    /// With their partition spec.
    pub data: Vec<(i32, DataFile)>,
    pub deletes: Vec<(i32, DataFile)>,
    pub removed: HashMap<FileKey, Arc<Entry>>,
    pub replaces: bool,
    pub merges: bool,
}

impl Change {
    pub(super) fn of(actions: &[Action], spec_id: i32) -> Self {
        let mut change = Self::default();
        for action in actions {
            match action {
                Action::Append(added) => change.add(added, spec_id),
                Action::Delete(deleted) => {
                    deleted.loose.iter().for_each(Loose::keep);
                    change.deletes.extend(deleted.files.iter().cloned());
                    change.remove(deleted.replaced.iter());
                }
                Action::Overwrite { removed, added } | Action::Rewrite { removed, added } => {
                    change.replaces |= matches!(action, Action::Rewrite { .. });
                    for file in removed {
                        // A delete file of a data file that is gone would apply to nothing.
                        change.remove(file.own_deletes().iter().chain([&file.0.entry]));
                    }
                    change.add(added, spec_id);
                }
                Action::MergeManifests => (change.replaces, change.merges) = (true, true),
                Action::Evolve { .. }
                | Action::Unset(_)
                | Action::PartitionBy(_)
                | Action::Upgrade
                | Action::SetRef { .. }
                | Action::RemoveRef { .. }
                | Action::Expire { .. } => (),
            }
        }
        change
    }

    fn add(&mut self, added: &Written, spec_id: i32) {
        added.loose.iter().for_each(Loose::keep);
        self.data.extend(added.files.iter().map(|file| (spec_id, file.clone())));
    }

    fn remove<'a>(&mut self, entries: impl Iterator<Item = &'a Arc<Entry>>) {
        self.removed.extend(entries.map(|e| (e.key(), Arc::clone(e))));
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.data.is_empty() && self.deletes.is_empty() && self.removed.is_empty() && !self.merges
    }

    /// The specification's word for it ("Snapshots", `operation`).
    pub(super) fn operation(&self) -> Operation {
        match (self.replaces, self.data.is_empty(), self.deletes.is_empty() && self.removed.is_empty()) {
            (true, _, _) => Operation::Replace,
            (false, _, true) => Operation::Append,
            (false, true, false) => Operation::Delete,
            (false, false, false) => Operation::Overwrite,
        }
    }
}

impl Action {
    /// Partitions by columns and the format's transforms of them, `identity`, `bucket[16]`, `day` and so on; by none for a
    /// table without.
    pub fn partition_by(table: &Table, fields: &[(&str, &str)]) -> Result<Self> {
        let spec = partition_spec(table.metadata.current_schema(), &table.shown(), fields.iter().copied())?;
        Ok(Self::PartitionBy(Box::new(spec)))
    }

    /// What must be true of any base, put down from the one that the caller validated.
    pub(super) fn requirements(&self, base: &Table) -> Vec<TableRequirement> {
        let metadata = &base.metadata;
        let same_columns = || {
            vec![
                TableRequirement::CurrentSchemaIdMatch { current_schema_id: metadata.current_schema_id() },
                TableRequirement::DefaultSpecIdMatch { default_spec_id: metadata.default_partition_spec_id() },
            ]
        };
        let stands = |name: &str, snapshot_id| {
            vec![TableRequirement::RefSnapshotIdMatch { r#ref: name.to_string(), snapshot_id }]
        };
        match self {
            Action::Append(_) | Action::Overwrite { .. } | Action::Rewrite { .. } | Action::PartitionBy(_) => {
                same_columns()
            }
            Action::Evolve { judges_rows, .. } => {
                let mut required = same_columns();
                required.push(TableRequirement::LastAssignedFieldIdMatch {
                    last_assigned_field_id: metadata.last_column_id(),
                });
                if *judges_rows {
                    required.extend(stands(MAIN_BRANCH, metadata.current_snapshot_id()));
                }
                required
            }
            // Positions do not depend on columns.
            Action::Delete(_) | Action::Upgrade | Action::Unset(_) | Action::MergeManifests => vec![],
            Action::Expire { refs, .. } => refs.iter().flat_map(|(name, was)| stands(name, Some(*was))).collect(),
            Action::SetRef { name, was, .. } => stands(name, *was),
            Action::RemoveRef { name, was } => stands(name, Some(*was)),
        }
    }

    /// What it changes besides the table's files.
    pub(super) fn updates(&self) -> Vec<TableUpdate> {
        match self {
            Action::Append(_)
            | Action::Delete(_)
            | Action::Overwrite { .. }
            | Action::Rewrite { .. }
            | Action::MergeManifests => vec![],
            Action::Evolve { schema, .. } => vec![
                TableUpdate::AddSchema { schema: schema.as_ref().clone() },
                // The one just added.
                TableUpdate::SetCurrentSchema { schema_id: -1 },
            ],
            Action::Unset(names) => vec![TableUpdate::RemoveProperties { removals: names.clone() }],
            Action::Expire { snapshots, refs } => {
                let names = refs.iter().map(|(name, _)| TableUpdate::RemoveSnapshotRef { ref_name: name.clone() });
                let statistics = snapshots.iter().flat_map(|id| {
                    let snapshot_id = *id;
                    [
                        TableUpdate::RemoveStatistics { snapshot_id },
                        TableUpdate::RemovePartitionStatistics { snapshot_id },
                    ]
                });
                let gone = TableUpdate::RemoveSnapshots { snapshot_ids: snapshots.clone() };
                names.chain(statistics).chain([gone]).collect()
            }
            Action::PartitionBy(spec) => vec![
                TableUpdate::AddSpec { spec: spec.as_ref().clone() },
                // The one just added.
                TableUpdate::SetDefaultSpec { spec_id: -1 },
            ],
            Action::Upgrade => vec![TableUpdate::UpgradeFormatVersion { format_version: FormatVersion::V3 }],
            Action::SetRef { name, snapshot, kind, .. } => {
                let retention = match kind {
                    RefKind::Branch => SnapshotRetention::branch(None, None, None),
                    RefKind::Tag => SnapshotRetention::Tag { max_ref_age_ms: None },
                };
                let reference = SnapshotReference::new(*snapshot, retention);
                vec![TableUpdate::SetSnapshotRef { ref_name: name.clone(), reference }]
            }
            Action::RemoveRef { name, .. } => vec![TableUpdate::RemoveSnapshotRef { ref_name: name.clone() }],
        }
    }

    /// Nothing came of it: the files it brought are nobody's again.
    pub(super) fn let_go(&self) {
        match self {
            Action::Append(added) | Action::Overwrite { added, .. } | Action::Rewrite { added, .. } => {
                added.loose.iter().for_each(Loose::let_go);
            }
            Action::Delete(deleted) => deleted.loose.iter().for_each(Loose::let_go),
            Action::Evolve { .. }
            | Action::Unset(_)
            | Action::PartitionBy(_)
            | Action::Upgrade
            | Action::SetRef { .. }
            | Action::RemoveRef { .. }
            | Action::Expire { .. }
            | Action::MergeManifests => (),
        }
    }

    /// The data files that must be live, with the deletes that they had.
    fn stands_on(&self) -> &[LiveFile] {
        match self {
            Action::Delete(deleted) => &deleted.of,
            Action::Overwrite { removed, .. } | Action::Rewrite { removed, .. } => removed,
            Action::Append(_)
            | Action::Evolve { .. }
            | Action::Unset(_)
            | Action::PartitionBy(_)
            | Action::Upgrade
            | Action::SetRef { .. }
            | Action::RemoveRef { .. }
            | Action::Expire { .. }
            | Action::MergeManifests => &[],
        }
    }

    /// Whether nothing that came since `made_on` needs a snapshot that is to expire.
    pub(super) fn needed_by_nothing(&self, made_on: &Table, now: &Table) -> Result<bool> {
        let Action::Expire { snapshots, refs } = self else { return Ok(true) };
        let gone: HashSet<i64> = snapshots.iter().copied().collect();
        for (name, reference) in retain::refs(&now.metadata)? {
            if gone.contains(&reference.snapshot_id) && !refs.contains(&(name, reference.snapshot_id)) {
                return Ok(false);
            }
        }
        let came = now.metadata.snapshots().filter(|s| made_on.metadata.snapshot_by_id(s.snapshot_id()).is_none());
        Ok(came.into_iter().all(|new| {
            let follows = new
                .parent_snapshot_id()
                .is_none_or(|parent| !gone.contains(&parent) && now.metadata.snapshot_by_id(parent).is_some());
            // Taken over from a snapshot that need not be its parent, files and all.
            let said = &new.summary().additional_properties;
            follows && !TAKEN_OVER.iter().any(|key| said.contains_key(*key))
        }))
    }
}

/// What other writers say of a snapshot whose files were another one's before.
const TAKEN_OVER: [&str; 2] = ["source-snapshot-id", "published-wap-id"];

impl Lake {
    /// Whether every file that the actions stand on is in the table as it was when they were made.
    pub(super) async fn files_stand(&self, actions: &[Action], now: &Table) -> Result<bool> {
        let wanted: Vec<&LiveFile> = actions.iter().flat_map(Action::stands_on).collect();
        if wanted.is_empty() {
            return Ok(true);
        }
        let live = self.files(now).await?;
        let live: HashMap<FileKey, &LiveFile> = live.iter().map(|f| (f.0.entry.key(), f)).collect();
        let stands = |file: &LiveFile| live.get(&file.0.entry.key()).is_some_and(|now| deletes(now) == deletes(file));
        Ok(wanted.into_iter().all(stands))
    }
}

fn deletes(file: &LiveFile) -> HashSet<FileKey> {
    file.0.deletes.entries().map(|e| e.key()).collect()
}
