//! Which snapshots and names of a table expire: pure. Branches keep their newest snapshots, tags theirs, as the
//! specification has it under "Snapshot Retention Policy". It deletes nothing.

use std::collections::{BTreeMap, HashSet};

use iceberg::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention, TableMetadata};

use super::properties::Properties;
use crate::error::{Error, Result};

/// What is to expire. What is left out is as the table's properties say.
#[derive(Clone, Debug, Default)]
pub struct Expiry {
    /// Snapshots from before this moment, in milliseconds since 1970.
    pub older_than: Option<i64>,
    /// But so many of each branch stay.
    pub retain_last: Option<usize>,
    /// And no more than so many of main, however young.
    pub keep_at_most: Option<usize>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::lake) struct Expiring {
    pub snapshots: Vec<i64>,
    /// Names that are too old, and what they stand for.
    pub refs: Vec<(String, i64)>,
}

impl Expiring {
    pub(super) fn is_nothing(&self) -> bool {
        self.snapshots.is_empty() && self.refs.is_empty()
    }
}

/// A table's branches and tags; the crate has no list of them.
pub(in crate::lake) fn refs(metadata: &TableMetadata) -> Result<BTreeMap<String, SnapshotReference>> {
    let unreadable = |e: serde_json::Error| Error::internal("a table's references as JSON").with_source(e);
    let mut json = serde_json::to_value(metadata).map_err(unreadable)?;
    let named = json.get_mut("refs").map(serde_json::Value::take);
    let mut refs: BTreeMap<String, SnapshotReference> = match named {
        Some(named) if !named.is_null() => serde_json::from_value(named).map_err(unreadable)?,
        _ => BTreeMap::new(),
    };
    if let Some(current) = metadata.current_snapshot_id() {
        let main = || SnapshotReference::new(current, SnapshotRetention::branch(None, None, None));
        refs.entry(MAIN_BRANCH.to_string()).or_insert_with(main);
    }
    Ok(refs)
}

pub(super) fn expiring(metadata: &TableMetadata, expiry: &Expiry, now: i64) -> Result<Expiring> {
    let properties = Properties(metadata.properties());
    let cutoff = expiry.older_than.unwrap_or_else(|| now.saturating_sub(properties.snapshot_age_ms()));
    let min = expiry.retain_last.unwrap_or_else(|| properties.snapshots_min()).max(1);
    let mut kept = Kept { metadata, retained: HashSet::new(), referenced: HashSet::new() };
    let mut aged = vec![];
    for (name, reference) in refs(metadata)? {
        let (is_main, id) = (name == MAIN_BRANCH, reference.snapshot_id);
        let (is_branch, own_min, own_age, ref_age) = match reference.retention {
            SnapshotRetention::Branch { min_snapshots_to_keep, max_snapshot_age_ms, max_ref_age_ms } => {
                (true, min_snapshots_to_keep, max_snapshot_age_ms, max_ref_age_ms)
            }
            SnapshotRetention::Tag { max_ref_age_ms } => (false, None, None, max_ref_age_ms),
        };
        let age = metadata.snapshot_by_id(id).map_or(0, |s| now.saturating_sub(s.timestamp_ms()));
        if !is_main && age > ref_age.unwrap_or_else(|| properties.ref_age_ms()) {
            aged.push((name, id));
            continue;
        }
        if is_branch {
            let min = own_min.and_then(|n| usize::try_from(n).ok()).unwrap_or(min).max(1);
            let cutoff = own_age.map_or(cutoff, |age| now.saturating_sub(age));
            let most = expiry.keep_at_most.filter(|_| is_main).unwrap_or(usize::MAX).max(1);
            kept.branch(id, min, cutoff, most);
        } else {
            kept.retained.insert(id);
            kept.referenced.insert(id);
        }
    }
    let expires = |id: &i64, at: i64| {
        let unnamed_and_young = !kept.referenced.contains(id) && at >= cutoff;
        !kept.retained.contains(id) && !unnamed_and_young
    };
    let all = metadata.snapshots().filter(|s| expires(&s.snapshot_id(), s.timestamp_ms()));
    let mut snapshots: Vec<i64> = all.map(|s| s.snapshot_id()).collect();
    snapshots.sort_unstable();
    Ok(Expiring { snapshots, refs: aged })
}

struct Kept<'a> {
    metadata: &'a TableMetadata,
    retained: HashSet<i64>,
    /// Retained, or behind something that is.
    referenced: HashSet<i64>,
}

impl Kept<'_> {
    /// Its newest snapshots without a gap: a history that has an end is understood, one with holes is not.
    fn branch(&mut self, head: i64, min: usize, cutoff: i64, most: usize) {
        let (mut at, mut count, mut goes_on) = (self.metadata.snapshot_by_id(head), 0, true);
        while let Some(snapshot) = at {
            goes_on &= count < most && (count < min || snapshot.timestamp_ms() >= cutoff);
            if goes_on {
                self.retained.insert(snapshot.snapshot_id());
                count += 1;
            }
            if !self.referenced.insert(snapshot.snapshot_id()) && !goes_on {
                // The rest is another branch's as well.
                break;
            }
            at = snapshot.parent_snapshot_id().and_then(|id| self.metadata.snapshot_by_id(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten snapshots, one a second from 1000 s on, the last one main's.
    fn metadata(refs: serde_json::Value) -> TableMetadata {
        let snapshots: Vec<_> = (1..=10)
            .map(|id: i64| {
                let mut snapshot = serde_json::json!({
                    "snapshot-id": id, "sequence-number": id, "timestamp-ms": 1_000_000 + id * 1000,
                    "manifest-list": format!("l{id}"), "summary": { "operation": "append" }, "schema-id": 0,
                });
                if id > 1 {
                    snapshot["parent-snapshot-id"] = (id - 1).into();
                }
                snapshot
            })
            .collect();
        let mut all = serde_json::json!({ "main": { "snapshot-id": 10, "type": "branch" } });
        for (name, reference) in refs.as_object().unwrap() {
            all[name] = reference.clone();
        }
        serde_json::from_value(serde_json::json!({
            "format-version": 2, "table-uuid": uuid::Uuid::nil().to_string(), "location": "file:///t",
            "last-sequence-number": 10, "last-updated-ms": 1_010_000, "last-column-id": 1,
            "schemas": [{ "type": "struct", "schema-id": 0,
                "fields": [{ "id": 1, "name": "x", "type": "long", "required": false }] }],
            "current-schema-id": 0, "partition-specs": [{ "spec-id": 0, "fields": [] }], "default-spec-id": 0,
            "last-partition-id": 999, "sort-orders": [{ "order-id": 0, "fields": [] }], "default-sort-order-id": 0,
            "current-snapshot-id": 10, "snapshots": snapshots, "refs": all,
        }))
        .unwrap()
    }

    #[test]
    fn branches_keep_their_newest_and_tags_their_own() {
        let tag = serde_json::json!({ "kept": { "snapshot-id": 2, "type": "tag" } });
        let old = serde_json::json!({ "b": { "snapshot-id": 4, "type": "branch", "max-ref-age-ms": 1 } });
        let branch = serde_json::json!({ "b": { "snapshot-id": 4, "type": "branch", "min-snapshots-to-keep": 2 } });
        let none = || serde_json::json!({});
        let by = |older_than, retain_last, keep_at_most| Expiry { older_than, retain_last, keep_at_most };
        for (refs, expiry, expect) in [
            (none(), by(Some(0), None, None), vec![]),
            (none(), by(Some(1_008_000), None, None), vec![1, 2, 3, 4, 5, 6, 7]),
            (none(), by(Some(i64::MAX), None, None), vec![1, 2, 3, 4, 5, 6, 7, 8, 9]),
            (none(), by(Some(i64::MAX), Some(3), None), vec![1, 2, 3, 4, 5, 6, 7]),
            (none(), by(Some(0), None, Some(4)), vec![1, 2, 3, 4, 5, 6]),
            (tag, by(Some(i64::MAX), Some(1), None), vec![1, 3, 4, 5, 6, 7, 8, 9]),
            (branch, by(Some(i64::MAX), Some(1), None), vec![1, 2, 5, 6, 7, 8, 9]),
            (old.clone(), by(Some(i64::MAX), Some(1), None), vec![1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ] {
            assert_eq!(expiring(&metadata(refs), &expiry, 2_000_000).unwrap().snapshots, expect, "{expiry:?}");
        }
        let aged = expiring(&metadata(old), &by(Some(0), None, None), 2_000_000).unwrap();
        assert_eq!((aged.refs, aged.snapshots), (vec![("b".to_string(), 4)], vec![]));
    }
}
