//! Two states of one table → what a REST catalog is asked for, so that it makes the second of the first: Iceberg's
//! requirements and updates. The rest of the lake makes metadata; only here are they taken apart again. It sends nothing.

use std::collections::{HashMap, HashSet};

use iceberg::spec::{FormatVersion, MAIN_BRANCH, SnapshotRef, TableMetadata};
use iceberg::{TableRequirement, TableUpdate};

use super::super::super::maintain::retain;
use crate::error::Result;

/// The last one that was added, whatever number the server gave it.
const LAST: i32 = -1;

/// What must hold so that the updates mean what they meant: everything but the properties is as in `base`.
pub(super) fn requirements(base: &TableMetadata) -> Vec<TableRequirement> {
    vec![
        TableRequirement::UuidMatch { uuid: base.uuid() },
        TableRequirement::RefSnapshotIdMatch {
            r#ref: MAIN_BRANCH.to_string(),
            snapshot_id: base.current_snapshot_id(),
        },
        TableRequirement::CurrentSchemaIdMatch { current_schema_id: base.current_schema_id() },
        TableRequirement::LastAssignedFieldIdMatch { last_assigned_field_id: base.last_column_id() },
        TableRequirement::DefaultSpecIdMatch { default_spec_id: base.default_partition_spec_id() },
        TableRequirement::LastAssignedPartitionIdMatch { last_assigned_partition_id: base.last_partition_id() },
        TableRequirement::DefaultSortOrderIdMatch { default_sort_order_id: base.default_sort_order_id() },
    ]
}

/// Of names that are moved or taken away, besides main: they stand where they stood.
pub(super) fn of_refs(base: &TableMetadata, new: &TableMetadata) -> Result<Vec<TableRequirement>> {
    let (was, now) = (retain::refs(base)?, retain::refs(new)?);
    let names: HashSet<&String> = was.keys().chain(now.keys()).collect();
    let moved = names.into_iter().filter(|name| *name != MAIN_BRANCH && was.get(*name) != now.get(*name));
    let stands = |name: &String| TableRequirement::RefSnapshotIdMatch {
        r#ref: name.clone(),
        snapshot_id: was.get(name).map(|reference| reference.snapshot_id),
    };
    Ok(moved.map(stands).collect())
}

/// Everything that makes a new table.
pub(super) fn from_nothing(new: &TableMetadata) -> Result<Vec<TableUpdate>> {
    let mut updates = vec![
        TableUpdate::AssignUuid { uuid: new.uuid() },
        TableUpdate::UpgradeFormatVersion { format_version: new.format_version() },
        TableUpdate::SetLocation { location: new.location().to_string() },
        TableUpdate::AddSchema { schema: new.current_schema().as_ref().clone() },
        TableUpdate::SetCurrentSchema { schema_id: LAST },
        TableUpdate::AddSpec { spec: new.default_partition_spec().as_ref().clone().into_unbound() },
        TableUpdate::SetDefaultSpec { spec_id: LAST },
        TableUpdate::AddSortOrder { sort_order: new.default_sort_order().as_ref().clone() },
        TableUpdate::SetDefaultSortOrder { sort_order_id: LAST.into() },
        TableUpdate::SetProperties { updates: new.properties().clone() },
    ];
    snapshots(None, new, &mut updates)?;
    Ok(updates)
}

/// Nothing where the two say the same, whenever it was said.
pub(super) fn updates(base: &TableMetadata, new: &TableMetadata) -> Result<Vec<TableUpdate>> {
    let mut updates = vec![];
    if number(base) < number(new) {
        updates.push(TableUpdate::UpgradeFormatVersion { format_version: new.format_version() });
    }
    if base.location() != new.location() {
        updates.push(TableUpdate::SetLocation { location: new.location().to_string() });
    }
    columns(base, new, &mut updates);
    snapshots(Some(base), new, &mut updates)?;
    properties(base.properties(), new.properties(), &mut updates);
    Ok(updates)
}

fn columns(base: &TableMetadata, new: &TableMetadata, updates: &mut Vec<TableUpdate>) {
    let mut schemas: Vec<_> = new.schemas_iter().filter(|s| base.schema_by_id(s.schema_id()).is_none()).collect();
    schemas.sort_by_key(|schema| schema.schema_id());
    let last = schemas.last().map(|schema| schema.schema_id());
    updates.extend(schemas.into_iter().map(|s| TableUpdate::AddSchema { schema: s.as_ref().clone() }));
    if base.current_schema_id() != new.current_schema_id() {
        let id = new.current_schema_id();
        let schema_id = if last == Some(id) { LAST } else { id };
        updates.push(TableUpdate::SetCurrentSchema { schema_id });
    }
    let mut specs: Vec<_> =
        new.partition_specs_iter().filter(|s| base.partition_spec_by_id(s.spec_id()).is_none()).collect();
    specs.sort_by_key(|spec| spec.spec_id());
    let last = specs.last().map(|spec| spec.spec_id());
    updates.extend(specs.into_iter().map(|s| TableUpdate::AddSpec { spec: s.as_ref().clone().into_unbound() }));
    if base.default_partition_spec_id() != new.default_partition_spec_id() {
        let id = new.default_partition_spec_id();
        let spec_id = if last == Some(id) { LAST } else { id };
        updates.push(TableUpdate::SetDefaultSpec { spec_id });
    }
    let mut orders: Vec<_> = new.sort_orders_iter().filter(|o| base.sort_order_by_id(o.order_id).is_none()).collect();
    orders.sort_by_key(|order| order.order_id);
    let last = orders.last().map(|order| order.order_id);
    updates.extend(orders.into_iter().map(|o| TableUpdate::AddSortOrder { sort_order: o.as_ref().clone() }));
    if base.default_sort_order_id() != new.default_sort_order_id() {
        let id = new.default_sort_order_id();
        let sort_order_id = if last == Some(id) { LAST.into() } else { id };
        updates.push(TableUpdate::SetDefaultSortOrder { sort_order_id });
    }
}

/// Snapshots that come, names that move, snapshots that go; in this order, since a name needs its snapshot.
fn snapshots(base: Option<&TableMetadata>, new: &TableMetadata, updates: &mut Vec<TableUpdate>) -> Result<()> {
    let known = |id: i64| base.is_some_and(|base| base.snapshot_by_id(id).is_some());
    let mut came: Vec<&SnapshotRef> = new.snapshots().filter(|s| !known(s.snapshot_id())).collect();
    came.sort_by_key(|snapshot| (snapshot.sequence_number(), snapshot.timestamp_ms()));
    updates.extend(came.into_iter().map(|s| TableUpdate::AddSnapshot { snapshot: s.as_ref().clone() }));
    let was = base.map(retain::refs).transpose()?.unwrap_or_default();
    let now = retain::refs(new)?;
    for (name, reference) in &now {
        if was.get(name) != Some(reference) {
            let (ref_name, reference) = (name.clone(), reference.clone());
            updates.push(TableUpdate::SetSnapshotRef { ref_name, reference });
        }
    }
    let gone = was.keys().filter(|name| !now.contains_key(*name));
    updates.extend(gone.map(|name| TableUpdate::RemoveSnapshotRef { ref_name: name.clone() }));
    let Some(base) = base else { return Ok(()) };
    let statistics = base.statistics_iter().map(|s| s.snapshot_id);
    let statistics = statistics.filter(|id| new.statistics_for_snapshot(*id).is_none());
    updates.extend(statistics.map(|snapshot_id| TableUpdate::RemoveStatistics { snapshot_id }));
    let statistics = base.partition_statistics_iter().map(|s| s.snapshot_id);
    let statistics = statistics.filter(|id| new.partition_statistics_for_snapshot(*id).is_none());
    updates.extend(statistics.map(|snapshot_id| TableUpdate::RemovePartitionStatistics { snapshot_id }));
    let mut gone: Vec<i64> =
        base.snapshots().map(|s| s.snapshot_id()).filter(|id| new.snapshot_by_id(*id).is_none()).collect();
    if !gone.is_empty() {
        gone.sort_unstable();
        updates.push(TableUpdate::RemoveSnapshots { snapshot_ids: gone });
    }
    Ok(())
}

fn properties(base: &HashMap<String, String>, new: &HashMap<String, String>, updates: &mut Vec<TableUpdate>) {
    let changed = new.iter().filter(|(key, value)| base.get(*key) != Some(value));
    let changed: HashMap<String, String> = changed.map(|(key, value)| (key.clone(), value.clone())).collect();
    if !changed.is_empty() {
        updates.push(TableUpdate::SetProperties { updates: changed });
    }
    let mut removals: Vec<String> = base.keys().filter(|key| !new.contains_key(*key)).cloned().collect();
    if !removals.is_empty() {
        removals.sort_unstable();
        updates.push(TableUpdate::RemoveProperties { removals });
    }
}

fn number(metadata: &TableMetadata) -> u8 {
    match metadata.format_version() {
        FormatVersion::V1 => 1,
        FormatVersion::V2 => 2,
        FormatVersion::V3 => 3,
    }
}
